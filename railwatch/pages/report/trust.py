"""How far to trust the counts: the model card's figures for the methods and resolutions of a page."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from railwatch import words
from railwatch.history.record import PLANETSCOPE_OCCUPANCY, method_of

if TYPE_CHECKING:
    from railwatch.store.observation import Observation

__all__ = ["TrustRow", "TrustTable", "trust_tables"]

_WEIGHTS: Mapping[str, str] = {"wagons": "wagon.json", "occupancy": "occupancy.json"}
_SETS: Mapping[str, tuple[str, str]] = {
    "real_images": ("real", "real images"),
    "simulated_test": ("simulated", "simulated scenes, of the simulator that it learned from"),
    "collage_test": ("simulated", "collages, which it learned from too"),
    "relief_test": ("simulated", "simulated scenes of a simulator that it never learned from"),
}
_RANGE = re.compile(r"^(.*)_gsd_([\d.]+)_([\d.]+)$")


@dataclass(frozen=True)
class TrustRow:
    """What was measured on one set.

    Attributes:
        kind: ``real`` or ``simulated``.
        name: The set in words.
        size: How large it is.
        found: Of the wagons that are there, found; or what stands for it.
        right: Of the boxes, right.
        error: How far counts were off.
        coverage: How often the 90% interval held the truth.
    """

    kind: str
    name: str
    size: str
    found: str
    right: str
    error: str
    coverage: str


@dataclass(frozen=True)
class TrustTable:
    """The figures of one method's model.

    Attributes:
        method: ``wagons`` or ``occupancy``.
        model: Name and version.
        rows: The sets, real ones first.
        note: What a reader should know of them.
    """

    method: str
    model: str
    rows: tuple[TrustRow, ...]
    note: str


def trust_tables(observations: Sequence[Observation]) -> list[TrustTable]:
    """Return the card's figures of the models that counted, for the resolutions that they counted at.

    Args:
        observations: The page's own.

    Returns:
        One table a method. A model that isn't the shipped one has a note and no rows: its figures aren't
        known here.
    """
    tables = []
    for method, file in _WEIGHTS.items():
        own = [one for one in observations if one.method == method and one.provenance.get("model")]
        if not own:
            continue
        card = _card(file)
        foreign = {
            f"{one.provenance['model']} {one.provenance.get('model_version', '')}".strip()
            for one in own
            if one.provenance.get("model_checksum") != card.get("sha256")
        }
        name = f"{card.get('name')} {card.get('version')}"
        if foreign:
            listed = words.listed(sorted(foreign))
            note = f"Counted with {listed}, whose figures this railwatch (which ships {name}) doesn't know."
            tables.append(TrustTable(method, listed, (), note))
            continue
        rows = _wagon_rows(card, own) if method == "wagons" else _occupancy_rows(card)
        note = _NOTES[method]
        if any(method_of(one) == PLANETSCOPE_OCCUPANCY for one in own):
            note += _PLANETSCOPE
        tables.append(TrustTable(method, name, tuple(rows), note))
    return tables


_NOTES = {
    "wagons": (
        "The model learned from simulated scenes and one real yard. The set of real images is small and was "
        "looked at during development: take its figures as a hint. Other places, seasons and sensors may "
        "do worse."
    ),
    "occupancy": (
        "No real Sentinel-2 image with counted cars was to be had: all figures are of simulated yards, and "
        "errors on real yards are larger."
    ),
}

_PLANETSCOPE = (
    " They are of Sentinel-2: PlanetScope scenes, averaged to 10 m, were tried on few simulated yards, with "
    "about the same errors."
)


def _wagon_rows(card: Mapping[str, Any], own: Sequence[Observation]) -> Iterator[TrustRow]:
    figures = card.get("figures")
    if not isinstance(figures, Mapping):
        return
    sizes = [
        float(one.provenance["gsd_m"]) for one in own if isinstance(one.provenance.get("gsd_m"), int | float)
    ]
    for base, (kind, name) in _SETS.items():
        key, span = _finest_set(figures, base, sizes)
        given = figures.get(key)
        if isinstance(given, Mapping):
            yield TrustRow(
                kind=kind,
                name=name + span,
                size=f"{words.number(given['count_true'])} cars",
                found=words.percent(given["recall_0.3"]),
                right=words.percent(given["precision_0.3"]),
                error=words.percent(given["count_wape"]),
                coverage=words.percent(given["interval_coverage"]),
            )


def _finest_set(figures: Mapping[str, Any], base: str, sizes: Sequence[float]) -> tuple[str, str]:
    """Return the part of a set that has just the page's resolutions, if there is one, else all of it."""
    for key in figures:
        match = _RANGE.match(key)
        if match and match[1] == base and sizes:
            low, high = float(match[2]), float(match[3])
            if all(low <= one <= high for one in sizes):
                return key, f", {low:g} to {high:g} m a pixel"
    return base, ""


def _occupancy_rows(card: Mapping[str, Any]) -> Iterator[TrustRow]:
    figures = card.get("figures", {})
    for row in figures.get("test") or figures.get("validation") or ():
        if not isinstance(row, Mapping) or not math.isfinite(float(row.get("coverage", math.nan))):
            continue
        name = "simulated yards" if row["true"] == "all" else f"simulated yards with {row['true']} cars"
        yield TrustRow(
            kind="simulated",
            name=name,
            size=words.plural(int(row["looks"]), "image"),
            found="",
            right="",
            error=f"{float(row['rmse']):.1f} cars",
            coverage=words.percent(float(row["coverage"])),
        )


@cache
def _card(file: str) -> Mapping[str, Any]:
    text = resources.files("detector").joinpath("weights", file).read_text("utf-8")
    content: Mapping[str, Any] = json.loads(text)
    return content
