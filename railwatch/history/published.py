"""Published statements as records: what `seeds.comparable` gives, in the terms of the comparison."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from datetime import UTC
from typing import Any

import pandas as pd

from railwatch.history.record import Kind, Record
from railwatch.history.settings import VerdictSettings

_KINDS: Mapping[str, Kind] = {
    "exact": "count",
    "approximate": "count",
    "interval": "range",
    "at_least": "at least",
    "at_most": "at most",
    "ceiling": "ceiling",
    "length_only": "at least",
}


def published_records(rows: pd.DataFrame, settings: VerdictSettings) -> list[Record]:
    """Return published rows as records.

    Rows that set no number, repeat another or have no date are passed over. Trains of which only the
    length is known are a lower bound: their length in the longest cars that are about.

    Args:
        rows: Rows in the form of `seeds.load_published`, of one site each.
        settings: The error of a published count and of a ceiling.
    """
    records = []
    for row in rows.to_dict("records"):
        kind = _KINDS.get(str(row["statement"]))
        value, low, high = _figures(row, settings)
        start, end = pd.Timestamp(row["image_date_start"]), pd.Timestamp(row["image_date_end"])
        if kind is None or value is None or row["duplicate_of"] or pd.isna(start) or ";" in str(row["site"]):
            continue
        if kind != "ceiling" and start != end:
            continue
        sd = settings.method("published").sd(value)
        if kind == "ceiling":
            sd = max(settings.ceiling_sd_share * value, 1.0)
        records.append(
            Record(
                id=str(row["id"]),
                aoi=str(row["site"]),
                when=start.to_pydatetime().replace(tzinfo=UTC),
                until=end.to_pydatetime().replace(tzinfo=UTC),
                kind=kind,
                method="published",
                value=value,
                low=low,
                high=high,
                sd_below=sd,
                sd_above=sd,
                source=str(row["publisher"]),
                scene=str(row["url"]),
                approximate=row["statement"] != "exact",
            )
        )
    return records


def _figures(
    row: Mapping[Hashable, Any], settings: VerdictSettings
) -> tuple[float | None, float | None, float | None]:
    """The value, low and high of a row; None where the statement sets none."""
    low, high = _number(row["count_low"]), _number(row["count_high"])
    if row["statement"] == "length_only":
        length = _number(row["length_m_low"])
        least = None if length is None else length / settings.car_length_m[2]
        return least, least, None
    if low is not None and high is not None:
        return (low + high) / 2.0, low, high
    return (high if low is None else low), low, high


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)
