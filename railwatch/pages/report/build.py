"""Make the page: collect, encode the pictures, fill the templates, write the file."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import shapely
import shapely.geometry
from markupsafe import Markup

from aoi.files import write_bytes
from railwatch.config import RunConfig
from railwatch.history import RANK
from railwatch.history.events import Event
from railwatch.history.filter import Filtered
from railwatch.history.history import is_sentinel
from railwatch.history.sources import Sources
from railwatch.pages.claims import FINDINGS, Assumptions, ClaimsPage, claims_page
from railwatch.pages.report import words
from railwatch.pages.report.data_uris import EncodedPicture, encode
from railwatch.pages.report.errors import ReportError
from railwatch.pages.report.gather import Entry, ReportedArea, gather
from railwatch.pages.report.plot import MISSING, days_of, plot_of, window_label
from railwatch.pages.report.table import csv_text
from railwatch.store.observation import Observation, iso
from railwatch.store.store import EVIDENCE, Store
from railwatch.version import __version__
from seeds import load_claims

__all__ = ["Written", "build_report", "write_report"]

log = logging.getLogger(__name__)

WARN_BYTES = 15_000_000
"""A larger page is hard to mail, and a warning says so."""

_PICTURE_BYTES = 13_500_000

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


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        path: The file.
        size_bytes: Its size.
        places: Names of the areas in it.
        observations: How many observations it shows.
        pictures: How many pictures it holds.
        pictures_left_out: How many the store has that didn't fit or couldn't be read.
        warnings: What its reader should know.
    """

    path: Path
    size_bytes: int
    places: tuple[str, ...]
    observations: int
    pictures: int
    pictures_left_out: int
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as ``railwatch report --json`` prints it."""
        return {
            "out": str(self.path),
            "bytes": self.size_bytes,
            "areas": list(self.places),
            "observations": self.observations,
            "pictures": self.pictures,
            "pictures_left_out": self.pictures_left_out,
            "warnings": list(self.warnings),
        }


def write_report(
    sources: Sources,
    out: Path,
    *,
    config: RunConfig | None = None,
    events: Sequence[Event] = (),
    claims: pd.DataFrame | None = None,
    assumptions: Assumptions | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Written:
    """Write the report of one or several areas.

    Args:
        sources: Observations with the store that holds their pictures, and published counts; see
            `railwatch.history.sources.read_sources`.
        out: The HTML file to write or replace.
        config: The settings of the verdicts.
        events: What happened when.
        claims: Public claims to set beside the counts of their areas, as `seeds.load_claims` gives them; by
            default the bundled ones, if published counts are wanted.
        assumptions: What turns claims into wagons; the bundled ones by default.
        progress: Told of every picture.

    Returns:
        What was written.

    Raises:
        ReportError: If there is nothing to report, or the file can't be written.
        StoreError: If the store can't be read.
    """
    settings = config or RunConfig()
    places = gather(sources, events)
    if not places:
        whose = sources.store.path if sources.store is not None else ", ".join(sources.names)
        raise ReportError(f"There is nothing to report: {whose} has no observation and no published count.")
    paths = _evidence(sources.store, places)
    pictures = encode(paths, _PICTURE_BYTES, _by_importance(places), progress)
    # A lone surrogate in a name from a foreign store has no UTF-8; it becomes a question mark.
    pages = _claims(sources, places, claims, assumptions, settings)
    page = build_report(places, pictures, settings, claims=pages, generated=generated_at())
    content = page.encode("utf-8", "replace")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(out, content)
    except OSError as error:
        raise ReportError(f"{out} can't be written ({error.strerror or error})") from error
    return Written(
        path=out,
        size_bytes=len(content),
        places=tuple(place.name for place in places),
        observations=sum(len(place.observations) for place in places),
        pictures=len(pictures),
        pictures_left_out=len(paths) - len(pictures),
        warnings=tuple(_warnings(sources, places, len(paths) - len(pictures), len(content))),
    )


def _warnings(
    sources: Sources, places: Sequence[ReportedArea], left_out: int, size_bytes: int
) -> Iterator[str]:
    for one in sources.store.damaged if sources.store is not None else ():
        yield f"{one.path} is left out: {one.reason}."
    for place in places:
        if not place.observations and sources.store is not None:
            yield f"The store has no observation of {place.name}: its part rests on published counts alone."
    if left_out:
        are = "is" if left_out == 1 else "are"
        yield f"{words.plural(left_out, 'picture')} {are} left out to keep the file small."
    if size_bytes > WARN_BYTES:
        yield f"The report is {size_bytes / 1e6:.0f} MB, which some mail servers refuse."


def build_report(
    places: Sequence[ReportedArea],
    pictures: Mapping[str, EncodedPicture],
    config: RunConfig,
    *,
    claims: Mapping[str, ClaimsPage] | None = None,
    generated: datetime | None = None,
) -> str:
    """Return the page.

    Args:
        places: What it is about, at least one.
        pictures: The evidence by observation id.
        config: The settings, for the title.
        claims: Public claims beside the counts, by key of the place.
        generated: When it was made; the only thing that isn't in the store.

    Returns:
        HTML; the same input gives the same text.
    """
    single = len(places) == 1
    css, js = _asset("report.css"), _asset("report.js")
    title = words.headline(places[0]) if single else f"Freight cars at {words.spelled(len(places))} places"
    observations = [one for place in places for one in place.observations]
    return (
        _environment()
        .get_template("page.html")
        .render(
            places=places,
            plots={place.key: plot_of(place) for place in places},
            pictures=pictures,
            left_out={place.key: _missing_pictures(place, pictures) for place in places},
            single=single,
            level=1 if single else 2,
            title=f"{places[0].title}: {title}" if single else title,
            description=_description(places),
            config_title=config.title,
            css=css,
            js=js,
            policy=_policy(css, js),
            version=__version__,
            generated=generated,
            generated_iso="" if generated is None else iso(generated),
            data={place.key: _data(place) for place in places},
            occupied={
                place.key: any(one.record.length_m is not None for one in place.entries) for place in places
            },
            settings=config.baseline.verdict_settings(),
            claims=claims or {},
            methods={one.record.method for place in places for one in (*place.entries, *place.ceilings)},
            calibrations=[words.calibration(line) for place in places for line in place.calibrations],
            limitations=_limitations(places),
            imagery=_imagery(observations),
            copernicus=_copernicus(observations),
            made_with=_made_with(observations),
        )
    )


def generated_at() -> datetime:
    """Return the time to declare as that of making: now, or what ``SOURCE_DATE_EPOCH`` says.

    The variable is that of reproducible-builds.org: seconds since 1970.
    """
    fixed = os.environ.get("SOURCE_DATE_EPOCH", "")
    if fixed:
        try:
            return datetime.fromtimestamp(int(fixed), UTC)
        except (ValueError, OverflowError, OSError):
            raise ReportError(f"SOURCE_DATE_EPOCH is {fixed!r}, not seconds since 1970") from None
    return datetime.now(UTC).replace(microsecond=0)


# ---- what goes in --------------------------------------------------------------------------------


def _claims(
    sources: Sources,
    places: Sequence[ReportedArea],
    claims: pd.DataFrame | None,
    assumptions: Assumptions | None,
    config: RunConfig,
) -> dict[str, ClaimsPage]:
    """Return the page on public claims of each place that some are about."""
    if claims is None:
        if sources.published is None:
            return {}
        claims = load_claims()
    pages = {}
    for place in places:
        rows = claims[[not site or place.name in site.split(";") for site in claims["site"]]]
        if not rows.empty:
            pages[place.key] = claims_page(
                place.title,
                place.observations,
                sources.published_of(place.name),
                rows,
                assumptions,
                settings=config.baseline.verdict_settings(),
            )
    return pages


def _evidence(store: Store | None, places: Sequence[ReportedArea]) -> dict[str, Path]:
    """Return the files of the pictures that belong on a card, by observation id."""
    if store is None:
        return {}
    wanted = [card.picture_of for place in places for card in place.cards if card.picture_of is not None]
    found = {id: store.asset(id, EVIDENCE) for id in dict.fromkeys(wanted)}
    return {id: path for id, path in found.items() if path is not None}


def _by_importance(places: Sequence[ReportedArea]) -> list[str]:
    """Return the observations whose pictures must be shown first: those that stand out, then the newest."""
    cards = [card for place in places for card in place.cards if card.picture_of is not None]
    foremost = {place.headline.key for place in places if place.headline is not None}
    latest = {place.latest.key for place in places if place.latest is not None}
    cards.sort(key=lambda card: card.observation.datetime, reverse=True)
    cards.sort(key=lambda card: -rank(card.entry))
    cards.sort(key=lambda card: (card.entry.key not in foremost, card.entry.key not in latest))
    return list(dict.fromkeys(str(card.picture_of) for card in cards))


def _missing_pictures(place: ReportedArea, pictures: Mapping[str, EncodedPicture]) -> int:
    wanted = {card.picture_of for card in place.cards if card.picture_of is not None}
    return len(wanted - set(pictures))


def _data(place: ReportedArea) -> dict[str, Any]:
    """Return what the script needs to know of a place."""
    last = max((one.record.day for one in place.entries), default=None)
    combined = {one.id: one for one in place.history.combined()}
    return {
        "title": place.title,
        "csv": csv_text(place),
        "file": f"railwatch-{place.key}{f'-{last}' if last else ''}.csv",
        "marks": [_mark_data(one, combined.get(one.record.id)) for one in place.entries],
    }


def _mark_data(entry: Entry, combined: Filtered | None) -> dict[str, Any]:
    record, verdict = entry.record, entry.verdict
    data: dict[str, Any] = {
        "key": entry.key,
        "t": round(days_of(record.when), 6),
        "v": record.value,
        "low": record.low,
        "high": record.high,
        "kind": record.kind,
        "method": record.method,
        "when": words.moment(record.when),
        "count": words.quantity(record),
        "interval": words.interval(record.low, record.high) if record.low != record.high else "",
        "how": words.method(record),
        "source": record.source,
        "scene": record.scene if entry.observation else "",
        "reason": record.reason or "",
        "target": entry.target,
    }
    if record.length_m is not None:
        data["lengthText"] = f"{words.occupied(record)} of track occupied"
    if combined is not None:
        data["filtered"] = [round(one, 2) for one in (combined.value, combined.low, combined.high)]
        between = words.interval(combined.low, combined.high)
        data["filteredText"] = f"filtered from several looks: {words.number(combined.value)} ({between})"
    if verdict is not None and record.value is not None:
        start, end = (days_of(one) for one in verdict.window)
        data |= {
            "word": verdict.verdict,
            "verdict": verdict.label,
            "window": [start, end + 1.0],
            "windowLabel": window_label(entry),
            "max": None if verdict.maximum is None else verdict.maximum.value,
            "expected": None
            if verdict.expected_low is None
            else [verdict.expected_low, verdict.expected_high],
        }
    return data


def _ground(picture: EncodedPicture, observation: Observation) -> Markup:
    """Return the attributes that say where a picture lies, for laying two of a place over each other."""
    placement = picture.placement
    if placement is None or observation.geometry is None:
        return Markup("")
    try:
        # Any point will do that all pictures of a place share.
        place = shapely.geometry.shape(observation.geometry).centroid
        numbers = placement.on_ground(round(place.x, 2), round(place.y, 2))
    except (ValueError, TypeError, KeyError, shapely.errors.ShapelyError):
        return Markup("")
    width, height = placement.size
    left, top, right, below = placement.image
    insets = (top / height, 1 - right / width, 1 - below / height, left / width)
    return Markup(' data-ground="{}" data-insets="{}"').format(
        " ".join(f"{one + 0.0:.3f}" for one in numbers),
        " ".join(f"{100 * min(1.0, max(0.0, one)):.2f}%" for one in insets),
    )


def rank(entry: Entry) -> int:
    """Return how high a verdict an entry has, for sorting; -2 for none."""
    return RANK[entry.verdict.verdict] if entry.verdict is not None and entry.record.value is not None else -2


def _description(places: Sequence[ReportedArea]) -> str:
    entries = [place.headline for place in places if place.headline is not None]
    return " ".join(one.verdict.sentence for one in entries if one.verdict is not None)[:600]


def _limitations(places: Sequence[ReportedArea]) -> list[str]:
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


def _imagery(observations: Sequence[Observation]) -> list[dict[str, Any]]:
    """Return a row for each sensor: scenes, first and last day, size of its pixels."""
    sensors: dict[str, list[Observation]] = {}
    for one in observations:
        sensors.setdefault(one.sensor, []).append(one)
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


def _copernicus(observations: Sequence[Observation]) -> str:
    """Return the attribution that Copernicus asks for, or an empty text."""
    years = sorted({one.datetime.year for one in observations if is_sentinel(one.sensor)})
    if not years:
        return ""
    runs: list[list[int]] = []
    for year in years:
        if runs and year == runs[-1][-1] + 1:
            runs[-1].append(year)
        else:
            runs.append([year])
    named = ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
    return f"Contains modified Copernicus Sentinel data {named}."


def _made_with(observations: Sequence[Observation]) -> list[tuple[str, str]]:
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


# ---- templates -----------------------------------------------------------------------------------


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("railwatch.pages.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        n=_coordinate, g=lambda value: f"{value:g}", metres=metres, unbracketed=lambda text: text.strip("[]")
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "allow_nan": False}
    environment.globals.update(
        words=words,
        findings=FINDINGS,
        iso=iso,
        rank=rank,
        missing_shape=MISSING,
        contents=_contents,
        zone_titles=_zone_titles,
        count_rows=_count_rows,
        ground=_ground,
        provenance_rows=_provenance_rows,
        budget_rows=budget_rows,
        default_comparison=_default_comparison,
    )
    return environment


@cache
def _asset(name: str) -> str:
    """Return a style sheet or script of ours."""
    return resources.files("railwatch.pages.report").joinpath("static", name).read_text("utf-8")


def _policy(css: str, js: str) -> str:
    """Return the content security policy: nothing from the network, only our own style and script."""
    return "; ".join(
        (
            "default-src 'none'",
            "img-src data:",
            f"style-src {_source_hash(css)}",
            f"script-src {_source_hash(js)}",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _source_hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
    return f"'sha256-{digest}'"


def _contents(place: ReportedArea, claims: Collection[str]) -> list[tuple[str, str]]:
    """Return the parts of a place's article: anchor, label."""
    parts = [("chart", "Chart")]
    if place.cards:
        parts.append(("scenes", "Scenes"))
    parts.append(("table", "Numbers"))
    return [*parts, ("claims", "Claims")] if place.key in claims else parts


def _zone_titles(place: ReportedArea) -> dict[str, str]:
    return {zone.id: zone.title for zone in place.area.zones} if place.area is not None else {}


def _count_rows(
    counts: Mapping[str, Any], titles: Mapping[str, str]
) -> list[tuple[str, float, float | None, float | None]]:
    """Return name, count, low and high of zones or tracks; what isn't a count is passed over."""
    rows = []
    for id, given in counts.items():
        numbers = [_number(given.get(name)) for name in _COUNT] if isinstance(given, Mapping) else [None]
        if numbers[0] is not None:
            rows.append((titles.get(id, id), numbers[0], numbers[1], numbers[2]))
    return rows


_COUNT = ("count", "count_low", "count_high")


def _provenance_rows(observation: Observation) -> list[tuple[str, str]]:
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
        value = given[name]
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
        rows.append((name, text))
    if observation.review_of is not None:
        rows.append(("Corrects", observation.review_of))
    return rows


_TOLD = frozenset(
    {"area_limitations", "occupancy", "history", "registration", "clear", "acquisition_aliases"}
)
"""What of a provenance is told in words of its own."""


def _ten_metre_rows(given: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what a look of ten metres rests on, as far as it says so."""
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
    return [(words.CAUSES.get(name, name), f"{value:.1f}") for name, value in known]


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _default_comparison(place: ReportedArea) -> tuple[str, str]:
    """Return the keys of the two dates to compare first: the headline and the look before it."""
    with_picture = [card.entry for card in reversed(place.cards) if card.picture_of is not None]
    keys = [one.key for one in with_picture]
    foremost = place.headline.key if place.headline is not None else ""
    position = keys.index(foremost) if foremost in keys else len(keys) - 1
    if position == 0:
        return keys[0], keys[min(1, len(keys) - 1)]
    before = [one for one in with_picture[:position] if one.record.value is not None]
    return (before[-1].key if before else keys[position - 1]), keys[position]


def _coordinate(value: float) -> str:
    """Return a coordinate with two decimals at most."""
    return f"{float(value):.2f}".rstrip("0").rstrip(".") or "0"


def metres(value: Any) -> str:
    """Return a length in metres: ``0.5 m``; what is no number as it is."""
    size = _number(value)
    return str(value) if size is None else f"{size:.3g} m"


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
