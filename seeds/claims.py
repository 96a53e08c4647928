"""The table of public claims about what was moved: reading it and holding it to its description.

``seeds/README.md`` describes the columns. A claim is what somebody said, never a count of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pandas as pd

from seeds.tables import (
    RowError,
    as_frame,
    cell,
    one_of,
    read_checked,
    read_day,
    read_slug,
    read_url,
    read_whole,
)

CLAIM_UNITS = ("containers", "shells_152mm", "shells", "tonnes", "wagons", "trains")
CLAIM_STATEMENTS = ("exact", "approximate", "interval", "at_least", "up_to")
ROUTES = ("sea", "rail", "sea_and_rail", "unknown")

_TABLE = "published_claims.csv"
_DATES = ("published", "period_start", "period_end")
_QUANTITIES = ("quantity_low", "quantity_high")


@dataclass(frozen=True, kw_only=True)
class ClaimRow:
    """Something that was publicly said to have been moved.

    Attributes:
        id: Unique slug: who, when, what.
        made_by: Who says so.
        published: When it was said.
        period_start: First day that it is about; None where that isn't said.
        period_end: Last day that it is about.
        statement: How the quantity is meant.
        quantity_low: The least that the statement allows; None if it sets no lower limit.
        quantity_high: The most; None if it sets no upper limit.
        unit: What is counted.
        route: How it is said to have left the country.
        with_claim: The claim that this one is another expression of (the same containers, in shells).
        corroboration: ``primary`` if the speaker's own text was read, ``secondary`` if a report of it.
        via: Who reported it, where that is another.
        title: Of the text read; in square brackets where it is our paraphrase.
        url: Where it was read.
        note: What else matters, in our words.
        site: Names of the areas whose counts it may be set beside, separated by semicolons; empty for any.
    """

    id: str = field(metadata=cell(read_slug))
    made_by: str = field(metadata=cell(str))
    published: date = field(metadata=cell(read_day))
    period_start: date | None = field(metadata=cell(read_day), default=None)
    period_end: date = field(metadata=cell(read_day))
    statement: str = field(metadata=cell(one_of(*CLAIM_STATEMENTS)))
    quantity_low: int | None = field(metadata=cell(read_whole), default=None)
    quantity_high: int | None = field(metadata=cell(read_whole), default=None)
    unit: str = field(metadata=cell(one_of(*CLAIM_UNITS)))
    route: str = field(metadata=cell(one_of(*ROUTES)), default="unknown")
    with_claim: str = field(metadata=cell(read_slug, name="with"), default="")
    corroboration: str = field(metadata=cell(one_of("primary", "secondary")))
    via: str = field(metadata=cell(str), default="")
    title: str = field(metadata=cell(str))
    url: str = field(metadata=cell(read_url))
    note: str = field(metadata=cell(str), default="")
    site: str = field(metadata=cell(str), default="")

    def __post_init__(self) -> None:
        if self.period_start is not None and self.period_end < self.period_start:
            raise RowError(f"its period ends ({self.period_end}) before it starts ({self.period_start})")
        if self.period_end > self.published:
            raise RowError(f"its period ends ({self.period_end}) after it was published ({self.published})")
        low, high = self.quantity_low, self.quantity_high
        wanted = {
            "exact": low is not None and low == high,
            "approximate": low is not None and low == high,
            "interval": low is not None and high is not None and low < high,
            "at_least": low is not None and high is None,
            "up_to": low is None and high is not None,
        }
        if not wanted[self.statement]:
            raise RowError(f"its quantities ({low} to {high}) don't go with the statement {self.statement!r}")
        if 0 in (low, high):
            raise RowError("a claim of nothing is no claim")
        if self.corroboration == "secondary" and not self.via:
            raise RowError("it is secondary, yet doesn't say by whom it was reported")


def load_claims(path: Path | None = None) -> pd.DataFrame:
    """The public claims, one row a claimed quantity.

    Claims of one speaker mostly count on from the beginning: they contain one another, and must not be
    added up.

    Args:
        path: Another table in the same form; the bundled one by default.

    Returns:
        A frame sorted by publication and id with the columns of `ClaimRow`: dates as timestamps without a
        zone (NaT where not said), quantities as floats (NaN where no limit is set), all else as text.

    Raises:
        PublishedError: If the table can't be read or a row is wrong.
    """
    frame = as_frame(ClaimRow, read_claims(path), dates=_DATES, numbers=_QUANTITIES)
    return frame.sort_values(["published", "id"], ignore_index=True)


def read_claims(path: Path | None = None) -> list[ClaimRow]:
    """The rows of a table of claims, checked one by one and against each other.

    Args:
        path: The table; the bundled one by default.

    Returns:
        The rows in the table's order.

    Raises:
        PublishedError: At the first thing that is wrong; the message names the file and the line.
    """
    return read_checked(ClaimRow, path, _TABLE, _reference_fault)


def _reference_fault(row: ClaimRow, rows: Mapping[str, ClaimRow]) -> str | None:
    other = rows.get(row.with_claim)
    if row.with_claim and (other is None or other is row or other.with_claim or other.made_by != row.made_by):
        return f"its 'with' names {row.with_claim!r}, which is no first claim of the same speaker"
    return None
