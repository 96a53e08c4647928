"""Make the page: collect, encode the pictures, fill the templates, write the file."""

from __future__ import annotations

import base64
import hashlib
import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import pandas as pd

from railwatch import words
from railwatch.config import RunConfig
from railwatch.errors import ReportError
from railwatch.history.history import Event, copernicus
from railwatch.history.sources import Sources
from railwatch.pages import write_page
from railwatch.pages.charts.frame import numbered
from railwatch.pages.charts.series import GAP_DAYS
from railwatch.pages.report import words as page_words
from railwatch.pages.report.chart_svg import legend_of, plots_of
from railwatch.pages.report.facts import (
    budget_rows,
    count_rows,
    imagery,
    limitations,
    made_with,
    metres,
    provenance_rows,
    trust_tables,
    zone_titles,
)
from railwatch.pages.report.gather import ReportedArea, gather
from railwatch.pages.report.graphics import EncodedPicture, encode
from railwatch.pages.report.parts import (
    citation_of,
    claims_of,
    days_of,
    downloads_of,
    evidence_files,
    ground,
    key_cards_of,
    overlays_of,
    place_data,
    printed_pictures,
    sheet_of,
    where_is,
)
from railwatch.pages.where import CREDIT, countries_near, locator
from railwatch.store.observation import iso
from railwatch.version import __version__

if TYPE_CHECKING:
    from railwatch.pages.claims import Assumptions


log = logging.getLogger(__name__)

WARN_BYTES = 15_000_000
"""A larger page is hard to mail, and a warning says so."""

_PICTURE_BYTES = 6_000_000


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
    day: date | None = None,
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
        day: What the page is about; by default each area's foremost date.
        progress: Told of every picture.

    Returns:
        What was written.

    Raises:
        ReportError: If there is nothing to report, or the file can't be written.
        StoreError: If the store can't be read.
    """
    settings = config or RunConfig()
    places = gather(sources, events, day)
    if not places:
        whose = sources.store.path if sources.store is not None else ", ".join(sources.names)
        raise ReportError(f"There is nothing to report: {whose} has no observation and no published count.")
    files = evidence_files(sources.store, places)
    paths = {id: one.path for id, one in files.items()}
    printed = printed_pictures(places)
    pictures = encode(paths, _PICTURE_BYTES, _by_importance(places), progress, printed=printed)
    single = len(places) == 1
    css, js = _asset("report.css"), _asset("report.js")
    title = (
        page_words.headline(places[0]) if single else f"Freight cars at {words.spelled(len(places))} places"
    )
    observations = [one for place in places for one in place.observations]
    page = (
        _environment()
        .get_template("page.html")
        .render(
            places=places,
            plots={place.key: plots_of(place) for place in places},
            legends={place.key: legend_of(place) for place in places},
            files=files,
            pictures=pictures,
            overlays=overlays_of(sources.store, places, files),
            sheets={place.key: sheet_of(place, files) for place in places},
            where={place.key: where_is(place) for place in places},
            downloads={place.key: downloads_of(place) for place in places},
            citations={place.key: citation_of(place) for place in places},
            trust=trust_tables(observations),
            key_cards={place.key: key_cards_of(place) for place in places},
            first_of_day=days_of(places),
            left_out={place.key: _missing_pictures(place, pictures) for place in places},
            single=single,
            level=1 if single else 2,
            title=f"{places[0].title}: {title}" if single else title,
            description=_description(places),
            config_title=settings.title,
            css=css,
            js=js,
            policy=_policy(css, js),
            version=__version__,
            generated=generated_at(),
            data={place.key: place_data(place) for place in places},
            occupied={
                place.key: any(one.record.length_m is not None for one in place.entries) for place in places
            },
            settings=settings.baseline.verdict_settings(),
            claims=claims_of(sources, places, claims, assumptions, settings),
            methods={one.record.method for place in places for one in (*place.entries, *place.ceilings)},
            calibrations=[page_words.calibration(line) for place in places for line in place.calibrations],
            limitations=limitations(places),
            imagery=imagery(observations),
            copernicus=copernicus(observations),
            made_with=made_with(observations),
        )
    )
    # A lone surrogate in a name from a foreign store has no UTF-8; it becomes a question mark.
    content = page.encode("utf-8", "replace")
    write_page(out, content, ReportError)
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


def _by_importance(places: Sequence[ReportedArea]) -> list[str]:
    """Return the observations whose pictures must be shown first: those that stand out, then the newest."""
    cards = [card for place in places for card in place.cards if card.picture_of is not None]
    foremost = {place.headline.key for place in places if place.headline is not None}
    latest = {place.latest.key for place in places if place.latest is not None}
    cards.sort(key=lambda card: (-card.entry.rank, -card.observation.datetime.timestamp()))
    cards.sort(key=lambda card: (card.entry.key not in foremost, card.entry.key not in latest))
    return list(dict.fromkeys(str(card.picture_of) for card in cards))


def _missing_pictures(place: ReportedArea, pictures: Mapping[str, EncodedPicture]) -> int:
    wanted = {card.picture_of for card in place.cards if card.picture_of is not None}
    return len(wanted - set(pictures))


def _description(places: Sequence[ReportedArea]) -> str:
    entries = [place.headline for place in places if place.headline is not None]
    return " ".join(one.verdict.sentence for one in entries if one.verdict is not None)[:600]


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
        g=lambda value: f"{value:g}", metres=metres, unbracketed=lambda text: text.strip("[]")
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "allow_nan": False}
    environment.globals.update(
        words=words,
        say=page_words,
        iso=iso,
        events_of=_events,
        gap_days=GAP_DAYS,
        locator=locator,
        countries_near=countries_near,
        locator_credit=CREDIT,
        contents=_contents,
        zone_titles=zone_titles,
        count_rows=count_rows,
        ground=ground,
        provenance_rows=provenance_rows,
        budget_rows=budget_rows,
        default_comparison=_default_comparison,
    )
    return environment


def _events(place: ReportedArea) -> list[tuple[int, Event]]:
    """Return the events on a place's chart with their numbers."""
    return numbered(place.history.events, *place.history.span())


@cache
def _asset(name: str) -> str:
    return resources.files("railwatch.pages.report").joinpath("static", name).read_text("utf-8")


def _policy(css: str, js: str) -> str:
    """Return the content security policy: nothing from the network, only our own style and script."""
    return (
        f"default-src 'none'; img-src data:; style-src {_source_hash(css)}; script-src {_source_hash(js)}; "
        "base-uri 'none'; form-action 'none'"
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


def _default_comparison(place: ReportedArea) -> tuple[str, str]:
    """Return the keys of the two dates to compare first: the headline and the observation before it."""
    with_picture = [card.entry for card in reversed(place.cards) if card.picture_of is not None]
    keys = [one.key for one in with_picture]
    foremost = place.headline.key if place.headline is not None else ""
    position = keys.index(foremost) if foremost in keys else len(keys) - 1
    if position == 0:
        return keys[0], keys[min(1, len(keys) - 1)]
    before = [one for one in with_picture[:position] if one.record.value is not None]
    return (before[-1].key if before else keys[position - 1]), keys[position]
