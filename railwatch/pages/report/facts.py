"""What the report says of its sources: imagery, provenance, parts of a count, error budgets, limits.

And how far to trust the counts: the model card's figures for the methods and resolutions of a page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from railwatch import words
from railwatch.history.record import PLANETSCOPE_OCCUPANCY, method_of
from railwatch.pages.report import words as page_words
from railwatch.store.observation import Observation
from railwatch.version import __version__

if TYPE_CHECKING:
    from railwatch.pages.report.gather import ReportedArea
    from railwatch.store.observation import Observation


_PROVENANCE = {
    "file": "Image file",
    "sha256": "Image SHA-256",
    "gsd_m": "Pixel on the ground",
    "acquisition": "Acquisition",
    "level": "Product level",
    "baseline": "Processing baseline",
    "relative_orbit": "Relative orbit",
    "chip": "Pixels in the store",
    "archive": "Dates in the store then",
    "model": "Model",
    "model_version": "Model version",
    "model_checksum": "Weights SHA-256",
    "threshold": "Threshold",
    "settings": "Settings SHA-256",
    "area": "Area SHA-256",
    "code_version": "railwatch version",
    "created": "Counted",
}

_COUNT = ("count", "count_low", "count_high")

_TOLD = frozenset(
    {"area_limitations", "occupancy", "history", "registration", "clear", "acquisition_aliases"}
)
"""What of a provenance is told in words of its own."""


def limitations(places: Sequence[ReportedArea]) -> list[str]:
    """Return what the areas themselves lack, each once."""
    found: dict[str, None] = {}
    for place in places:
        for one in place.observations:
            said = one.provenance.get("area_limitations")
            found |= dict.fromkeys(str(text) for text in said) if isinstance(said, list) else {}
        if place.area is not None:
            for mask in place.area.masks:
                since = f" from {words.day(mask.start)}" if mask.start else ""
                until = f" to {words.day(mask.end)}" if mask.end else ""
                found[f"Part of {place.title} can't be seen{since}{until}: {mask.reason}."] = None
    return list(found)


def imagery(observations: Sequence[Observation]) -> list[dict[str, Any]]:
    """Return a row for each sensor: scenes, first and last day, size of its pixels."""
    sensors: dict[str, list[Observation]] = {}
    for one in observations:
        sensors.setdefault(one.sensor_named, []).append(one)
    rows = []
    for sensor, members in sorted(sensors.items()):
        sizes = [value for value in (_number(one.provenance.get("gsd_m")) for one in members) if value]
        low, high = (metres(min(sizes)), metres(max(sizes))) if sizes else ("", "")
        rows.append(
            {
                "sensor": sensor,
                "scenes": len({one.scene for one in members}),
                "first": min(one.datetime for one in members).date(),
                "last": max(one.datetime for one in members).date(),
                "gsd": low if low == high else f"{low} to {high}",
            }
        )
    return rows


def made_with(observations: Sequence[Observation]) -> list[tuple[str, str]]:
    """Return what counted, each combination once, and what made the page."""
    rows = [("This page", f"railwatch {__version__}")]
    models: dict[tuple[str, ...], int] = {}
    for one in observations:
        given = one.provenance
        if given.get("model"):
            names = ("model", "model_version", "model_checksum", "code_version")
            key = tuple(str(given.get(name, "")) for name in names)
            models[key] = models.get(key, 0) + 1
    for (model, version, checksum, code), number in sorted(models.items()):
        text = f"{model} {version}".strip()
        text += f", weights {checksum}" if checksum else ""
        text += f", run by railwatch {code}" if code else ""
        rows.append((words.plural(number, "count"), text))
    return rows


def zone_titles(place: ReportedArea) -> dict[str, str]:
    """Return the names of a place's zones by id."""
    return {zone.id: zone.title for zone in place.area.zones} if place.area is not None else {}


def count_rows(
    counts: Mapping[str, Any], titles: Mapping[str, str]
) -> list[tuple[str, float, float | None, float | None]]:
    """Return name, count, low and high of zones or tracks; what isn't a count is passed over."""
    rows = []
    for id, given in counts.items():
        numbers = [_number(given.get(name)) for name in _COUNT] if isinstance(given, Mapping) else [None]
        if numbers[0] is not None:
            rows.append((titles.get(id, id), numbers[0], numbers[1], numbers[2]))
    return rows


def provenance_rows(observation: Observation) -> list[tuple[str, str]]:
    """Return the provenance in words, what we have no words for under its own name."""
    given = observation.provenance
    rows = [("Observation", observation.id), ("Scene", observation.scene)]
    for name, label in _PROVENANCE.items():
        value = given.get(name)
        if value not in (None, ""):
            size = _number(value) if name == "gsd_m" else None
            rows.append((label, metres(size) if size is not None else str(value)))
    review = given.get("review")
    if isinstance(review, Mapping):
        labels = {"reviewer": "Reviewed by", "date": "Reviewed on", "reason": "Reason"}
        rows += [(label, str(review[name])) for name, label in labels.items() if review.get(name)]
    rows += _ten_metre_rows(given)
    for name in sorted(set(given) - set(_PROVENANCE) - _TOLD):
        if given[name] is not None:
            rows.append((words.sentence_case(name.replace("_", " ")), _plain(given[name])))
    if observation.review_of is not None:
        rows.append(("Corrects", observation.review_of))
    return rows


def _ten_metre_rows(given: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what an observation of ten metres rests on, as far as it says so."""
    rows = []
    history, place, clear = (_mapping(given.get(name)) for name in ("history", "registration", "clear"))
    if history.get("dates"):
        sides = "before and after it" if history.get("hindcast") is True else "before it"
        text = f"{history['dates']} dates {sides}, {history.get('first')} to {history.get('last')}"
        rows += [("Set against", text), ("History SHA-256", str(history.get("digest", "")))]
    east, south, error = (_number(place.get(name)) for name in ("dx_m", "dy_m", "residual_m"))
    if east is not None and south is not None:
        sure = "" if error is None else f", sure to {error:.1f} m"
        # What lies to the east or south is moved back.
        moved = f"{0.0 - east:.1f} m east, {south + 0.0:.1f} m north".replace("-0.0", "0.0")
        rows.append(("Image moved to fit them by", moved + sure))
    snow, cloud = (_number(clear.get(name)) for name in ("snow_fraction", "ring_cloud_fraction"))
    if snow is not None and cloud is not None:
        rows.append(("Around the yard", f"{cloud:.0%} cloud, {snow:.0%} snow"))
    estimate = _mapping(given.get("occupancy"))
    pitch = estimate.get("pitch_m")
    if isinstance(pitch, list) and len(pitch) == 2 and all(_number(one) is not None for one in pitch):
        rows.append(("Track a car takes", f"{pitch[0]:.1f} m (standard deviation {pitch[1]:.1f} m)"))
    trusted = _number(estimate.get("trusted_to"))
    if trusted is not None:
        rows.append(("Counts trusted up to", f"{words.number(trusted)} cars; above it, at least so many"))
    return rows


def budget_rows(observation: Observation) -> list[tuple[str, str]]:
    """Return where the width of an estimate comes from: cause, standard deviation in cars.

    The largest comes first, the whole last.
    """
    budget = _mapping(_mapping(observation.provenance.get("occupancy")).get("budget"))
    known = [(str(name), value) for name, given in budget.items() if (value := _number(given)) is not None]
    known.sort(key=lambda row: (row[0] == "total", -row[1], row[0]))
    return [(page_words.CAUSES.get(name, name), f"{value:.1f}") for name, value in known]


def _plain(value: object) -> str:
    """A value of any shape on one line, without the signs of a programming language."""
    if isinstance(value, Mapping):
        told = [(name, _plain(each)) for name, each in sorted(value.items())]
        return "; ".join(f"{name} {text}" for name, text in told if text)
    if isinstance(value, list | tuple):
        return ", ".join(_plain(each) for each in value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def metres(value: Any) -> str:
    """Return a length in metres: ``0.5 m``; what is no number as it is."""
    size = _number(value)
    return str(value) if size is None else f"{size:.3g} m"


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


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
            if one.provenance.get("model_checksum") != card["sha256"]
        }
        name = f"{card['name']} {card['version']}"
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
    figures = card["figures"]
    sizes = [
        float(one.provenance["gsd_m"]) for one in own if isinstance(one.provenance.get("gsd_m"), int | float)
    ]
    for base, (kind, name) in _SETS.items():
        key, span = _finest_set(figures, base, sizes)
        if key in figures:
            given = figures[key]
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
    for row in card["figures"]["validation"]:
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
