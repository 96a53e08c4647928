"""The table of published counts: its rows and what they allow together, and those that bear on a facility.

``seeds/README.md`` describes the columns for readers; this module holds a table to that description.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
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
    read_metres,
    read_slug,
    read_url,
    read_whole,
)

PRECISIONS = ("day", "month", "period", "unknown")
COVERS = ("facility", "zone", "one_train", "subset", "passing")
UNITS = ("cars", "trains", "containers")
STATEMENTS = (
    "exact", "approximate", "interval", "at_least", "at_most", "ceiling", "length_only", "qualitative",
)  # fmt: skip
_VALUES = ("exact", "approximate")
_UPPER_BOUNDS = ("at_most", "ceiling")

_TABLE = "published_counts.csv"
_DATES = ("image_date_start", "image_date_end")
_NUMBERS = ("count_low", "count_high", "length_m_low", "length_m_high")


def _sites(text: str) -> tuple[str, ...]:
    sites = tuple(read_slug(part.strip()) for part in text.split(";"))
    if len(set(sites)) < len(sites):
        raise RowError(f"{text!r} names a site twice")
    return sites


def _partial_date(text: str) -> str:
    if not re.fullmatch(r"\d{4}(-\d{2}(-\d{2})?)?", text):
        raise RowError(f"{text!r} is no date like 2023-10-05, 2023-10 or 2023")
    if len(text) == len("2023-10-05"):
        read_day(text)
    return text


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise RowError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """A published statement about how many cars stood where and when.

    Attributes:
        id: Unique slug: site, date, publisher.
        site: One site, or several where a statement is about them together.
        image_date_start: First day that it is about, as published; None if unknown.
        image_date_end: Last day that it is about.
        precision: Whether the two are one day, one month, another period, or unknown.
        covers: What was counted: the whole ``facility``, a ``zone`` of it, ``one_train``, a ``subset``
            picked out of more, or trains ``passing`` in the time.
        unit: What the count counts.
        statement: How the figures are meant, see the README.
        count_low: Lowest count that the statement allows; None if it sets no lower limit.
        count_high: Highest count that the statement allows; None if it sets no upper limit.
        length_m_low: Shortest length of the trains named, all together, in metres.
        length_m_high: Longest length of the trains named, all together, in metres.
        comparable: Whether it says something about the count of the whole facility.
        duplicate_of: The row whose count this one repeats; empty if it is its own.
        part_of: The row whose count contains this one's; empty if there is none.
        corroboration: ``primary`` if the publisher's own text was read, ``secondary`` if another's report.
        imagery: What was looked at.
        publisher: Who counted.
        via: Who reported it, where the publisher's own text wasn't read.
        title: Of the publication; in square brackets where it is our paraphrase.
        published: When, as far as it is known.
        url: Where the text was read.
        note: In our words.
    """

    id: str = field(metadata=cell(read_slug))
    site: tuple[str, ...] = field(metadata=cell(_sites))
    image_date_start: date | None = field(metadata=cell(read_day, may_be_empty=True))
    image_date_end: date | None = field(metadata=cell(read_day, may_be_empty=True))
    precision: str = field(metadata=cell(one_of(*PRECISIONS)), default="day")
    covers: str = field(metadata=cell(one_of(*COVERS)))
    unit: str = field(metadata=cell(one_of(*UNITS)), default="cars")
    statement: str = field(metadata=cell(one_of(*STATEMENTS)))
    count_low: int | None = field(metadata=cell(read_whole, may_be_empty=True))
    count_high: int | None = field(metadata=cell(read_whole, may_be_empty=True))
    length_m_low: float | None = field(metadata=cell(read_metres), default=None)
    length_m_high: float | None = field(metadata=cell(read_metres), default=None)
    comparable: bool = field(metadata=cell(_flag))
    duplicate_of: str = field(metadata=cell(read_slug), default="")
    part_of: str = field(metadata=cell(read_slug), default="")
    corroboration: str = field(metadata=cell(one_of("primary", "secondary")), default="primary")
    imagery: str = field(metadata=cell(str), default="")
    publisher: str = field(metadata=cell(str))
    via: str = field(metadata=cell(str), default="")
    title: str = field(metadata=cell(str), default="")
    published: str = field(metadata=cell(_partial_date), default="")
    url: str = field(metadata=cell(read_url), default="")
    note: str = field(metadata=cell(str), default="")

    def __post_init__(self) -> None:
        self._check_dates()
        self._check_statement()
        self._check_lengths()
        self._check_comparable()

    def _check_dates(self) -> None:
        start, end = self.image_date_start, self.image_date_end
        if self.precision == "unknown":
            if start is not None or end is not None:
                raise RowError("its precision is unknown, yet it has an image date")
            return
        if start is None or end is None:
            raise RowError("it lacks an image date; where there is none, say precision unknown")
        if end < start:
            raise RowError(f"its image dates end ({end}) before they start ({start})")
        if self.precision == "day" and start != end:
            raise RowError("its precision is day, yet its image dates differ")
        if self.precision == "period" and start == end:
            raise RowError("its precision is period, yet it is about one day")
        last = date(start.year, start.month, calendar.monthrange(start.year, start.month)[1])
        if self.precision == "month" and (start.day != 1 or end != last):
            raise RowError("its precision is month, yet its image dates aren't those of one month")

    def _check_statement(self) -> None:
        low, high, statement = self.count_low, self.count_high, self.statement
        if low is not None and high is not None and high < low:
            raise RowError(f"its count_high ({high}) is under its count_low ({low})")
        faults = {
            statement in _VALUES and (low is None or low != high): "needs count_low and count_high, equal",
            statement == "interval" and (low is None or high is None or low == high): (
                "needs count_low under count_high"
            ),
            statement == "at_least" and (low is None or high is not None): "needs count_low alone",
            statement in _UPPER_BOUNDS and (high is None or low is not None): "needs count_high alone",
            statement == "ceiling" and self.precision not in ("month", "period"): "needs a period",
            statement == "at_most" and self.precision != "day": "needs a day; over a period it is a ceiling",
            statement == "length_only" and self.length_m_low is None: "needs a length",
            statement == "length_only" and low is not None and self.unit != "trains": (
                "may have a count of trains, not of " + self.unit
            ),
            statement == "qualitative" and (low is not None or high is not None): "has no count",
        }
        if True in faults:
            raise RowError(f"the statement {statement} {faults[True]}")

    def _check_lengths(self) -> None:
        low, high = self.length_m_low, self.length_m_high
        if (low is None) != (high is None):
            raise RowError("it has one of length_m_low and length_m_high without the other")
        if low is not None and high is not None and high < low:
            raise RowError(f"its length_m_high ({high:g}) is under its length_m_low ({low:g})")

    def _check_comparable(self) -> None:
        if not self.comparable:
            return
        reason = self.why_not_comparable()
        if reason:
            raise RowError(f"it is marked comparable, but {reason}")

    def why_not_comparable(self) -> str | None:
        """Why the row says nothing about the count of a whole facility; None if it does.

        A count of a part is a lower bound on the whole, unless it is zero; an upper bound on a part is
        none on the whole.
        """
        if self.unit != "cars":
            return f"it counts {self.unit}"
        if len(self.site) > 1:
            return "it is about several sites together"
        if self.duplicate_of:
            return f"it repeats {self.duplicate_of}"
        if self.part_of:
            return f"it is contained in {self.part_of}"
        if self.statement in ("length_only", "qualitative"):
            return f"its statement is {self.statement}"
        if self.covers == "facility":
            dated = self.precision == "day" or self.statement == "ceiling"
            return None if dated else f"its image date is a {self.precision}"
        if self.covers == "passing":
            return "cars that pass don't stand there together"
        if self.precision != "day":
            return f"it is about a part, and its image date is a {self.precision}"
        return (
            None if self.count_low else f"it covers only a {self.covers}, of which it gives no least number"
        )


COLUMNS: tuple[str, ...] = tuple(each.name for each in fields(PublishedRow))
"""The columns of a table, in order."""


def load_published(site: str | None = None, *, path: Path | None = None) -> pd.DataFrame:
    """The published counts, one row a statement.

    Args:
        site: Only the rows about this site, those about it and others together included; a site that
            nobody has published about gives no rows.
        path: Another table in the same form; the bundled one by default.

    Returns:
        A frame sorted by date and id, with the columns of `PublishedRow`: the two image dates
        as timestamps without a zone (NaT where unknown), counts and lengths as floats (NaN where the
        statement sets none), ``comparable`` as bool, all else as text (empty where there is none); in
        ``site`` several sites are joined by ``;``.

    Raises:
        PublishedError: If the table can't be read or a row is wrong.
    """
    rows = [row for row in read_rows(path) if site is None or site in row.site]
    frame = as_frame(PublishedRow, rows, dates=_DATES, numbers=_NUMBERS)
    frame["site"] = frame["site"].map(";".join)
    frame["comparable"] = frame["comparable"].astype(bool)
    return frame.sort_values(["image_date_start", "id"], na_position="last", ignore_index=True)


def comparable(site: str, scope: str = "facility", *, path: Path | None = None) -> pd.DataFrame:
    """The published rows to set against a count of one's own; no count occurs twice.

    For the whole facility (the default) these are the counts and ceilings of the facility, and counts of
    parts of it for what they are to the whole: lower bounds. So in the frame given back the statement of
    such a row reads ``at_least`` and its ``count_high`` is NaN, while ``covers`` still tells the part. A
    part seen empty says nothing about the whole and isn't among them.

    Args:
        site: The site's name.
        scope: ``facility``, or another value of ``covers``: then the rows that cover just that, as they
            are.
        path: Another table in the same form; the bundled one by default.

    Returns:
        A frame like that of `load_published`.

    Raises:
        PublishedError: If the table can't be read or a row is wrong.
        ValueError: If there is no such scope.
    """
    if scope not in COVERS:
        raise ValueError(f"{scope!r} is none of the scopes {', '.join(COVERS)}")
    frame = load_published(site, path=path)
    if scope != "facility":
        own = (frame["site"] == site) & (frame["unit"] == "cars") & (frame["duplicate_of"] == "")
        counted = frame["count_low"].notna() | frame["count_high"].notna()
        return frame[own & counted & (frame["covers"] == scope)].reset_index(drop=True)
    frame = frame[frame["comparable"]].reset_index(drop=True)
    part = frame["covers"] != "facility"
    frame.loc[part, "statement"] = "at_least"
    frame.loc[part, "count_high"] = float("nan")
    return frame


def read_rows(path: Path | None = None) -> list[PublishedRow]:
    """The rows of a table, checked one by one and against each other.

    Args:
        path: The table; the bundled one by default.

    Returns:
        The rows in the table's order.

    Raises:
        PublishedError: At the first thing that is wrong; the message names the file and the line.
    """
    return read_checked(PublishedRow, path, _TABLE, _reference_fault)


def _reference_fault(row: PublishedRow, rows: Mapping[str, PublishedRow]) -> str | None:
    """What is wrong with a row's references to others, or None."""
    for column, target in (("duplicate_of", row.duplicate_of), ("part_of", row.part_of)):
        if not target:
            continue
        other = rows.get(target)
        if other is None:
            return f"its {column} names {target!r}, which is no row"
        if other is row or other.duplicate_of:
            return f"its {column} names {target!r}, which is no count of its own"
        if other.site != row.site or other.image_date_start != row.image_date_start:
            return f"its {column} names {target!r}, which is about another site or date"
    return None
