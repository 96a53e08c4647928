"""What the report's script and comparison know of a place: its marks as JSON, where pictures lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import shapely
import shapely.geometry
from markupsafe import Markup

from railwatch.pages import tables
from railwatch.pages.charts.series_context import window_label
from railwatch.pages.charts.style import number_of
from railwatch.pages.report import words

if TYPE_CHECKING:
    from railwatch.history.combined import Filtered
    from railwatch.pages.report.data_uris import EncodedPicture
    from railwatch.pages.report.gather import Entry, ReportedArea
    from railwatch.store.observation import Observation

__all__ = ["ground", "place_data"]


def place_data(place: ReportedArea) -> dict[str, Any]:
    """Return what the script needs to know of a place."""
    last = max((one.record.day for one in place.entries), default=None)
    combined = {one.id: one for one in place.history.combined()}
    begins = number_of(place.history.span()[0])
    return {
        "title": place.title,
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
        "low": record.low,
        "high": record.high,
        "kind": record.kind,
        "method": record.method,
        "when": words.moment(record.when),
        "count": words.quantity(record),
        "interval": words.interval(record),
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
        between = words.between(combined.low, combined.high)
        data["filteredText"] = (
            f"estimate from several images together: {words.number(combined.value)} ({between})"
        )
    if verdict is not None and record.value is not None:
        start, end = (number_of(one) for one in verdict.window)
        data |= {
            "word": verdict.verdict,
            "verdict": verdict.label,
            "window": [start, end + 1.0],
            "windowLabel": window_label(verdict, begins),
            "max": None if verdict.maximum is None else verdict.maximum.value,
            "expected": None
            if verdict.expected_low is None
            else [verdict.expected_low, verdict.expected_high],
        }
    return data


def ground(picture: EncodedPicture, observation: Observation) -> Markup:
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
