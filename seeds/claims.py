"""The table of public claims about what was moved: reading it and holding it to its description.

``seeds/README.md`` describes the columns. A claim is what somebody said, never a count of ours.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

from seeds.errors import PublishedError
from seeds.published import read_bundled_or_given
from seeds.row import RowError, _day, _one_of, _read_by, _slug, _url, _whole

__all__ = [
    "CLAIM_STATEMENTS",
    "CLAIM_UNITS",
    "ROUTES",
    "ClaimRow",
    "load_claims",
    "parse_claim",
    "read_claims",
]

CLAIM_UNITS = ("containers", "shells_152mm", "shells", "tonnes", "wagons", "trains")
CLAIM_STATEMENTS = ("exact", "approximate", "interval", "at_least", "up_to")
ROUTES = ("sea", "rail", "sea_and_rail", "unknown")

_TABLE = "published_claims.csv"
_DATES = ("published", "period_start", "period_end")
_QUANTITIES = ("quantity_low", "quantity_high")


def _text(text: str) -> str:
    return text


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

    id: str = field(metadata=_read_by(_slug))
    made_by: str = field(metadata=_read_by(_text))
    published: date = field(metadata=_read_by(_day))
    period_start: date | None = field(default=None, metadata=_read_by(_day))
    period_end: date = field(metadata=_read_by(_day))
    statement: str = field(metadata=_read_by(_one_of(*CLAIM_STATEMENTS)))
    quantity_low: int | None = field(default=None, metadata=_read_by(_whole))
    quantity_high: int | None = field(default=None, metadata=_read_by(_whole))
    unit: str = field(metadata=_read_by(_one_of(*CLAIM_UNITS)))
    route: str = field(default="unknown", metadata=_read_by(_one_of(*ROUTES)))
    with_claim: str = field(default="", metadata=_read_by(_slug))
    corroboration: str = field(metadata=_read_by(_one_of("primary", "secondary")))
    via: str = field(default="", metadata=_read_by(_text))
    title: str = field(metadata=_read_by(_text))
    url: str = field(metadata=_read_by(_url))
    note: str = field(default="", metadata=_read_by(_text))
    site: str = field(default="", metadata=_read_by(_text))

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


_COLUMNS = {"with" if each.name == "with_claim" else each.name: each for each in fields(ClaimRow)}


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
    records: list[dict[str, Any]] = [asdict(row) for row in read_claims(path)]
    frame = pd.DataFrame.from_records(records, columns=[each.name for each in fields(ClaimRow)])
    for column in _DATES:
        frame[column] = pd.to_datetime(frame[column]).astype("datetime64[s]")
    for column in _QUANTITIES:
        frame[column] = frame[column].astype("float64")
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
    name = _TABLE if path is None else str(path)
    needed = [column for column, each in _COLUMNS.items() if each.default is MISSING]
    table = read_bundled_or_given(path, _TABLE, needed)
    _check_header(name, list(table.columns))
    rows: dict[str, ClaimRow] = {}
    lines: dict[str, int] = {}
    for cells in table:
        try:
            row = parse_claim(dict(cells))
            if row.id in rows:
                raise RowError(f"its id {row.id!r} is taken already, in line {lines[row.id]}")
        except RowError as error:
            raise PublishedError(f"{name}: line {cells.line}: {error}") from error
        rows[row.id], lines[row.id] = row, cells.line
    for row in rows.values():
        if not row.with_claim:
            continue
        other = rows.get(row.with_claim)
        if other is None or other is row or other.with_claim or other.made_by != row.made_by:
            raise PublishedError(
                f"{name}: line {lines[row.id]}: its 'with' names {row.with_claim!r}, which is no first claim "
                "of the same speaker"
            )
    return list(rows.values())


def parse_claim(cells: Mapping[str, str]) -> ClaimRow:
    """Reads a row.

    Args:
        cells: Text by column; columns with a default may be missing or empty.

    Raises:
        RowError: At the first thing that is wrong with it.
    """
    values: dict[str, Any] = {}
    for column, each in _COLUMNS.items():
        text = (cells.get(column) or "").strip()
        if text:
            try:
                values[each.name] = each.metadata["read"](text)
            except RowError as error:
                raise RowError(f"its {column} {error}") from error
        elif each.default is MISSING:
            raise RowError(f"it has no {column}")
    return ClaimRow(**values)


def _check_header(name: str, header: list[str]) -> None:
    for column in header:
        if column not in _COLUMNS:
            near = difflib.get_close_matches(column, _COLUMNS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise PublishedError(f"{name}: has an unknown column {column!r}{hint}")
