"""The table as CSV, as the page offers it for download."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aoi.tables import guarded
from railwatch.history.filter import COLUMNS as FILTERED
from railwatch.store.observation import iso

if TYPE_CHECKING:
    from railwatch.pages.report.gather import Entry, ReportedArea

__all__ = ["COLUMNS", "csv_text"]

_FIGURES = (
    "history_max",
    "history_n",
    "probability_record",
    "probability_exceedance",
    "q_exceedance",
    "expected_low",
    "expected_high",
)
# Names in the download by names in an observation's provenance.
_PROVENANCE = {
    "gsd_m": "gsd_m",
    "model": "model",
    "model_version": "model_version",
    "model_checksum": "model_sha256",
    "file": "file",
    "sha256": "file_sha256",
    "settings": "settings_sha256",
    "area": "area_sha256",
    "code_version": "code_version",
}

COLUMNS = (
    "datetime",
    "until",
    "area",
    "kind",
    "count",
    "count_low",
    "count_high",
    "method",
    "source",
    "scene",
    "verdict",
    "confirmed",
    *_FIGURES,
    "clear_fraction",
    "hidden_fraction",
    "occupied_length_m",
    "occupied_length_low_m",
    "occupied_length_high_m",
    *FILTERED,
    "reason",
    "warnings",
    *_PROVENANCE.values(),
    "url",
    "id",
)
"""The columns of the download, in order."""


def csv_text(place: ReportedArea) -> str:
    """Return a place's counts as CSV (RFC 4180), one row a mark of the chart, ceilings first.

    Text that a spreadsheet would run as a formula is given a leading apostrophe.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    combined = place.history.filtered
    for entry in (*place.ceilings, *place.entries):
        row = _row(entry) | (combined[entry.record.id].columns() if entry.record.id in combined else {})
        writer.writerow([_cell(row.get(name)) for name in COLUMNS])
    return stream.getvalue()


def _row(entry: Entry) -> dict[str, Any]:
    record, one, verdict = entry.record, entry.observation, entry.verdict
    row: dict[str, Any] = {
        "datetime": iso(record.when),
        "until": iso(record.until) if record.until != record.when else None,
        "area": record.aoi,
        "kind": record.kind,
        "count": record.value,
        "count_low": record.low,
        "count_high": record.high,
        "method": record.method,
        "source": record.source,
        "scene": record.scene if one is not None else None,
        "reason": record.reason,
        "url": entry.publication.url if entry.publication is not None else None,
        "id": record.id,
    }
    if verdict is not None:
        figures = verdict.to_json()
        row |= {"verdict": verdict.verdict, "confirmed": verdict.confirmed}
        row |= {name: figures[name] for name in _FIGURES}
    if one is not None:
        row |= {column: one.provenance.get(name) for name, column in _PROVENANCE.items()}
        row |= {
            "clear_fraction": one.clear_fraction,
            "hidden_fraction": one.hidden_fraction,
            "occupied_length_m": one.occupied_length_m,
            "occupied_length_low_m": one.occupied_length_low_m,
            "occupied_length_high_m": one.occupied_length_high_m,
            "warnings": " | ".join(one.warnings),
        }
    return row


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:.10g}"
    return guarded(_joined(value))


def _joined(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " | ".join(str(part) for part in value)
    return str(value)
