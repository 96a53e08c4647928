"""The table as CSV, as the page offers it for download: the columns of `railwatch.pages.tables`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from railwatch.pages import tables

if TYPE_CHECKING:
    from railwatch.pages.report.gather import ReportedArea

__all__ = ["csv_text"]


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
