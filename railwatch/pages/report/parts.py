"""What the page is put together from beside its words: evidence, map sheet, downloads, the script's data."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import pandas as pd
import shapely
import shapely.geometry
from markupsafe import Markup

from railwatch import words
from railwatch.config import RunConfig
from railwatch.history.sources import Sources
from railwatch.history.words import interval, quantity
from railwatch.pages import tables
from railwatch.pages.charts.series import draw_series, window_label
from railwatch.pages.charts.style import PageStyle, number_of, to_bytes
from railwatch.pages.report import words as page_words
from railwatch.pages.report.evidence import EvidenceFile, boxes_of, evidence_file, map_sheet, overlay
from railwatch.pages.report.graphics import encode
from railwatch.pages.where import Coordinates
from railwatch.version import __version__
from seeds import load_claims

if TYPE_CHECKING:
    from railwatch.history.combined import Filtered
    from railwatch.pages.claims import Assumptions, ClaimsPage
    from railwatch.pages.report.gather import Entry, ReportedArea
    from railwatch.store.georeference import Georeference
    from railwatch.store.observation import Observation
    from railwatch.store.store import Store


_SHEET_BYTES = 400_000
_MOST_KEY_CARDS = 6
_CLEAR = 0.95


def evidence_files(store: Store | None, places: Sequence[ReportedArea]) -> dict[str, EvidenceFile]:
    """Return the pictures that belong on a card, by observation id."""
    if store is None:
        return {}
    wanted = [card.picture_of for place in places for card in place.cards if card.picture_of is not None]
    found = {id: evidence_file(store, id) for id in dict.fromkeys(wanted)}
    return {id: file for id, file in found.items() if file is not None}


def overlays_of(
    store: Store | None, places: Sequence[ReportedArea], files: Mapping[str, EvidenceFile]
) -> dict[str, Markup]:
    """Return the outlines over the pictures that have none of their own, by key of the entry."""
    found: dict[str, Markup] = {}
    for place in places:
        for card in place.cards:
            file = files.get(card.picture_of or "")
            if store is None or file is None or not file.clean or file.georeference is None:
                continue
            foremost = place.headline is not None and card.entry.key == place.headline.key
            boxes = boxes_of(store, card)
            found[card.entry.key] = overlay(card, file.georeference, boxes, place.area, callouts=foremost)
    return found


def sheet_of(place: ReportedArea, files: Mapping[str, EvidenceFile]) -> Markup:
    """Return the map sheet of a place: its outlines over the newest clear image, or an empty text."""
    if place.area is None:
        return Markup("")
    clear = [
        card for card in place.cards if card.observation.clear_fraction >= _CLEAR and card.picture_of in files
    ]
    for card in clear:
        file = files[str(card.picture_of)]
        if file.georeference is None:
            continue
        picture = encode({"sheet": file.path}, _SHEET_BYTES, ["sheet"], printed=["sheet"]).get("sheet")
        if picture is not None:
            day = card.observation.datetime.date()
            return map_sheet(place.title, place.area, day, picture, file.georeference, clean=file.clean)
    return Markup("")


def where_is(place: ReportedArea) -> Coordinates | None:
    """Return where a place is, if its outline or that of an observation tells."""
    return None if place.history.middle is None else Coordinates(*place.history.middle)


def downloads_of(place: ReportedArea) -> list[tuple[str, str, str]]:
    """Return the chart as files that the page itself holds: label, file name, data URI."""
    style = PageStyle(dpi=200)
    figure = draw_series(place.history, style)
    stem = f"railwatch-{place.key}"
    found = []
    for name, media in (("png", "image/png"), ("svg", "image/svg+xml")):
        content = base64.b64encode(to_bytes(figure, name, style, title=place.title)).decode("ascii")
        found.append((f"Chart as {name.upper()}", f"{stem}.{name}", f"data:{media};base64,{content}"))
    return found


def citation_of(place: ReportedArea) -> str:
    """Return how to cite the page: what, when, with what, from which store."""
    last = max((one.record.day for one in place.entries), default=None)
    made = "" if last is None else f", data to {words.day(last)}"
    models = sorted(
        {
            f"{one.provenance['model']} {one.provenance.get('model_version', '')}".strip()
            + f" (weights {str(one.provenance.get('model_checksum', ''))[:12]})"
            for one in place.observations
            if one.provenance.get("model")
        }
    )
    digest = hashlib.sha256("\n".join(sorted(one.id for one in place.observations)).encode()).hexdigest()
    parts = [
        f"{place.title}: freight cars on satellite images. Report made with railwatch {__version__}{made}",
        *([f"counted by {words.listed(models)}"] if models else []),
        f"store {digest[:16]} ({words.plural(len(place.observations), 'observation')})",
    ]
    return "; ".join(parts) + "."


def key_cards_of(place: ReportedArea) -> set[str]:
    """Return the keys of the cards that stand unfolded: what the headline rests on, then what stands out."""
    verdict = place.headline.verdict if place.headline is not None else None
    wanted = [place.headline.key] if place.headline is not None else []
    other = verdict.confirmation if verdict is not None else None
    related = {other.id} if other is not None else set()
    top = verdict.maximum if verdict is not None else None
    wanted += [one.key for one in place.entries if one.record.id in related]
    wanted += [one.key for one in place.notable]
    wanted += [place.latest.key] if place.latest is not None else []
    if top is not None and top.kind != "ceiling":
        wanted += [
            one.key for one in place.entries if one.record.day == top.day and one.record.value == top.value
        ]
    wanted += [card.entry.key for card in place.cards]
    cards = {card.entry.key for card in place.cards}
    if len(cards) <= _MOST_KEY_CARDS + 2:
        return cards
    return set([key for key in dict.fromkeys(wanted) if key in cards][:_MOST_KEY_CARDS])


def printed_pictures(places: Sequence[ReportedArea]) -> set[str]:
    """Return the ids of the pictures that appear on paper: those of the cards that stand unfolded."""
    keys = {place.key: key_cards_of(place) for place in places}
    cards = [(place, card) for place in places for card in place.cards]
    return {str(card.picture_of) for place, card in cards if card.entry.key in keys[place.key]}


def days_of(places: Sequence[ReportedArea]) -> dict[str, str]:
    """Return by key of an entry the address of its day, for the first card of each day of a single place."""
    if len(places) != 1:
        return {}
    days: dict[date, str] = {}
    for card in sorted(places[0].cards, key=lambda card: card.observation.datetime):
        days.setdefault(card.observation.datetime.date(), card.entry.key)
    return {key: day.isoformat() for day, key in days.items()}


def claims_of(
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
            from railwatch.pages.claims import claims_page

            pages[place.key] = claims_page(
                place.title,
                place.observations,
                sources.published_of(place.name),
                rows,
                assumptions,
                settings=config.baseline.verdict_settings(),
            )
    return pages


def place_data(place: ReportedArea) -> dict[str, Any]:
    """Return what the script needs to know of a place."""
    last = max((one.record.day for one in place.entries), default=None)
    combined = {one.id: one for one in place.history.combined()}
    begins = number_of(place.history.span()[0])
    return {
        "csv": csv_text(place),
        "file": f"railwatch-{place.key}{f'-{last}' if last else ''}.csv",
        "marks": [_mark_data(one, combined.get(one.record.id), begins) for one in place.entries],
    }


def _mark_data(entry: Entry, combined: Filtered | None, begins: float) -> dict[str, Any]:
    record, verdict = entry.record, entry.verdict
    data: dict[str, Any] = {
        "key": entry.key,
        "t": round(number_of(record.when), 6),
        "v": record.value,
        "high": record.high,
        "kind": record.kind,
        "when": words.moment(record.when),
        "count": quantity(record),
        "interval": interval(record),
        "how": page_words.method(record),
        "source": record.source,
        "scene": record.scene if entry.observation else "",
        "reason": record.reason or "",
        "target": entry.target,
    }
    if record.length_m is not None:
        data["lengthText"] = f"{page_words.occupied(record)} of track occupied"
    if combined is not None:
        data["filtered"] = [round(one, 2) for one in (combined.value, combined.low, combined.high)]
        between = words.interval(combined.low, combined.high)
        data["filteredText"] = (
            f"estimate from several images together: {words.number(combined.value)} ({between})"
        )
    if verdict is not None and record.value is not None:
        start, end = (number_of(one) for one in verdict.window)
        data |= {
            "verdict": verdict.label,
            "window": [start, end + 1.0],
            "windowLabel": window_label(verdict, begins),
            "max": None if verdict.maximum is None else verdict.maximum.value,
            "expected": None
            if verdict.expected_low is None
            else [verdict.expected_low, verdict.expected_high],
        }
    return data


def ground(georeference: Georeference | None, observation: Observation) -> Markup:
    """Return the attributes that say where a picture lies, for laying two of a place over each other."""
    if georeference is None or observation.geometry is None:
        return Markup("")
    try:
        # Any point will do that all pictures of a place share.
        place = shapely.geometry.shape(observation.geometry).centroid
        numbers = georeference.on_ground(round(place.x, 2), round(place.y, 2))
    except (ValueError, TypeError, KeyError, shapely.errors.ShapelyError):
        return Markup("")
    width, height = georeference.size
    left, top, right, below = georeference.image
    insets = (top / height, 1 - right / width, 1 - below / height, left / width)
    return Markup(' data-ground="{}" data-insets="{}"').format(
        " ".join(f"{one + 0.0:.3f}" for one in numbers),
        " ".join(f"{100 * min(1.0, max(0.0, one)):.2f}%" for one in insets),
    )


def csv_text(place: ReportedArea) -> str:
    """Return a place's counts as CSV (RFC 4180), one row a mark of the chart, ceilings first.

    Args:
        place: One area of the report.
    """
    combined = place.history.filtered
    rows = [
        tables.count_row(
            entry.record,
            entry.observation,
            entry.verdict,
            title=place.title,
            url=entry.publication.url if entry.publication is not None else None,
            combined=combined[entry.record.id].columns() if entry.record.id in combined else None,
        )
        for entry in (*place.ceilings, *place.entries)
    ]
    return tables.csv_text(rows, tables.columns_of(rows))
