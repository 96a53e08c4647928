"""One published statement: its columns, their meaning and what they allow together.

``seeds/README.md`` describes the columns for readers; this module holds a table to that description.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import date
from typing import Any

__all__ = ["COLUMNS", "COVERS", "PRECISIONS", "STATEMENTS", "UNITS", "PublishedRow", "RowError", "parse_row"]

PRECISIONS = ("day", "month", "period", "unknown")
COVERS = ("facility", "zone", "one_train", "subset", "passing")
UNITS = ("cars", "trains", "containers")
STATEMENTS = (
    "exact",
    "approximate",
    "interval",
    "at_least",
    "at_most",
    "ceiling",
    "length_only",
    "qualitative",
)
_VALUES = ("exact", "approximate")
_UPPER_BOUNDS = ("at_most", "ceiling")

_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_PARTIAL_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")
_WHOLE = re.compile(r"\d+")
_DECIMAL = re.compile(r"\d+(\.\d+)?")
_URL = re.compile(r"https?://\S+")


class RowError(ValueError):
    """What is wrong with one row, without the file and the line."""


def _slug(text: str) -> str:
    if not _SLUG.fullmatch(text):
        raise RowError(f"{text!r} is no slug (lower-case letters, digits, hyphens)")
    return text


def _sites(text: str) -> tuple[str, ...]:
    sites = tuple(_slug(part.strip()) for part in text.split(";"))
    if len(set(sites)) < len(sites):
        raise RowError(f"{text!r} names a site twice")
    return sites


def _day(text: str) -> date:
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass  # the pattern is right but there is no such day
    raise RowError(f"{text!r} is no date like 2023-10-05")


def _partial_date(text: str) -> str:
    if not _PARTIAL_DATE.fullmatch(text):
        raise RowError(f"{text!r} is no date like 2023-10-05, 2023-10 or 2023")
    if len(text) == len("2023-10-05"):
        _day(text)
    return text


def _whole(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise RowError(f"{text!r} is no whole number")
    return int(text)


def _metres(text: str) -> float:
    if not _DECIMAL.fullmatch(text):
        raise RowError(f"{text!r} is no length in metres")
    return float(text)


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise RowError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def _url(text: str) -> str:
    if not _URL.fullmatch(text):
        raise RowError(f"{text!r} is no web address")
    return text


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise RowError(f"{text!r} is none of {', '.join(words)}")
        return text

    return read


def _read_by(read: Callable[[str], Any]) -> dict[str, Callable[[str], Any]]:
    """The metadata of a column: how its text in the table is read."""
    return {"read": read}


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

    id: str = field(metadata=_read_by(_slug))
    site: tuple[str, ...] = field(metadata=_read_by(_sites))
    image_date_start: date | None = field(metadata=_read_by(_day))
    image_date_end: date | None = field(metadata=_read_by(_day))
    precision: str = field(metadata=_read_by(_one_of(*PRECISIONS)), default="day")
    covers: str = field(metadata=_read_by(_one_of(*COVERS)))
    unit: str = field(metadata=_read_by(_one_of(*UNITS)), default="cars")
    statement: str = field(metadata=_read_by(_one_of(*STATEMENTS)))
    count_low: int | None = field(metadata=_read_by(_whole))
    count_high: int | None = field(metadata=_read_by(_whole))
    length_m_low: float | None = field(metadata=_read_by(_metres), default=None)
    length_m_high: float | None = field(metadata=_read_by(_metres), default=None)
    comparable: bool = field(metadata=_read_by(_flag))
    duplicate_of: str = field(metadata=_read_by(_slug), default="")
    part_of: str = field(metadata=_read_by(_slug), default="")
    corroboration: str = field(metadata=_read_by(_one_of("primary", "secondary")), default="primary")
    imagery: str = field(metadata=_read_by(str), default="")
    publisher: str = field(metadata=_read_by(str))
    via: str = field(metadata=_read_by(str), default="")
    title: str = field(metadata=_read_by(str), default="")
    published: str = field(metadata=_read_by(_partial_date), default="")
    url: str = field(metadata=_read_by(_url), default="")
    note: str = field(metadata=_read_by(str), default="")

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


COLUMNS: tuple[str, ...] = tuple(column.name for column in fields(PublishedRow))
"""The columns of a table, in order."""

REQUIRED: tuple[str, ...] = tuple(column.name for column in fields(PublishedRow) if column.default is MISSING)
"""Those that a table can't do without (their cells may be empty where a row has no value)."""

_MAY_BE_EMPTY = {"image_date_start", "image_date_end", "count_low", "count_high"}


def parse_row(cells: Mapping[str, str]) -> PublishedRow:
    """Reads a row of a table.

    Args:
        cells: Text by column; columns with a default may be missing or empty.

    Returns:
        The row, checked.

    Raises:
        RowError: At the first thing that is wrong with it.
    """
    values: dict[str, Any] = {}
    for column in fields(PublishedRow):
        text = (cells.get(column.name) or "").strip()
        if text:
            try:
                values[column.name] = column.metadata["read"](text)
            except RowError as error:
                raise RowError(f"its {column.name} {error}") from error
        elif column.name in _MAY_BE_EMPTY:
            values[column.name] = None
        elif column.default is MISSING:
            raise RowError(f"it has no {column.name}")
    return PublishedRow(**values)
