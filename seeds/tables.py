"""What the two tables of this package share: how a cell is read, and a table held to the columns of its rows.

A kind of row is a frozen dataclass whose fields have the metadata of a `cell`.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from aoi.errors import InputError
from aoi.tables import read_table

R = TypeVar("R")


class PublishedError(InputError):
    """A table of published counts or claims that can't be read or contradicts itself."""


class RowError(ValueError):
    """What is wrong with one row, without the file and the line."""


# ---- cells ---------------------------------------------------------------------------------------------


def cell(read: Callable[[str], Any], *, name: str = "", may_be_empty: bool = False) -> dict[str, Any]:
    """The metadata of a field of a row.

    Args:
        read: Makes a value of the text in a cell, or raises a `RowError` whose sentence begins with the text.
        name: The column's name where it is not the field's.
        may_be_empty: Whether an empty cell is None, though a table has to have the column. Columns that a
            table may leave out are fields with a default.
    """
    return {"read": read, "name": name, "may_be_empty": may_be_empty}


def _matching(pattern: str, wanted: str, make: Callable[[str], Any] = str) -> Callable[[str], Any]:
    """A reader of texts of one pattern."""

    def read(text: str) -> Any:
        if not re.fullmatch(pattern, text):
            raise RowError(f"{text!r} is no {wanted}")
        return make(text)

    return read


read_slug = _matching(r"[a-z0-9]+(-[a-z0-9]+)*", "slug (lower-case letters, digits, hyphens)")
read_whole = _matching(r"\d+", "whole number", int)
read_metres = _matching(r"\d+(\.\d+)?", "length in metres", float)
read_url = _matching(r"https?://\S+", "web address")


def read_day(text: str) -> date:
    """A day such as 2023-10-05."""
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            return date.fromisoformat(text)
    except ValueError:
        pass  # the pattern is right but there is no such day
    raise RowError(f"{text!r} is no date like 2023-10-05")


def one_of(*words: str) -> Callable[[str], str]:
    """A reader of one of some words."""

    def read(text: str) -> str:
        if text not in words:
            raise RowError(f"{text!r} is none of {', '.join(words)}")
        return text

    return read


# ---- rows ----------------------------------------------------------------------------------------------


def columns_of(kind: Any) -> dict[str, dataclasses.Field[Any]]:
    """The columns of a kind of row, in order."""
    return {each.metadata["name"] or each.name: each for each in dataclasses.fields(kind)}


def parse_row(kind: type[R], cells: Mapping[str, str]) -> R:
    """Reads a row of a table.

    Args:
        kind: Of row.
        cells: Text by column; columns with a default may be missing or empty.

    Returns:
        The row, checked.

    Raises:
        RowError: At the first thing that is wrong with it.
    """
    values: dict[str, Any] = {}
    for name, each in columns_of(kind).items():
        if text := cells.get(name, ""):
            try:
                values[each.name] = each.metadata["read"](text)
            except RowError as error:
                raise RowError(f"its {name} {error}") from error
        elif each.metadata["may_be_empty"]:
            values[each.name] = None
        elif each.default is MISSING:
            raise RowError(f"it has no {name}")
    return kind(**values)


def read_checked(
    kind: type[R],
    path: Path | None,
    bundled: str,
    reference_fault: Callable[[R, Mapping[str, R]], str | None],
) -> list[R]:
    """The rows of a table, checked one by one and against each other.

    Args:
        kind: Of row; it has an ``id``.
        path: The table, or None for the bundled one.
        bundled: The name of that in this package.
        reference_fault: What is wrong with a row's references to others (by id), or None.

    Returns:
        The rows in the table's order.

    Raises:
        PublishedError: At the first thing that is wrong; the message names the file and the line.
    """
    columns = columns_of(kind)
    content = resources.files("seeds").joinpath(bundled).read_bytes() if path is None else None
    where = path or Path(bundled)
    required = [name for name, each in columns.items() if each.default is MISSING]
    table = read_table(where, required, PublishedError, content=content)
    for name in table.columns:
        if name not in columns:
            near = difflib.get_close_matches(name, columns, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise PublishedError(f"{where}: has an unknown column {name!r}{hint}")
    rows: dict[str, R] = {}
    lines: dict[str, int] = {}
    for cells in table:
        try:
            row: Any = parse_row(kind, cells)
            if row.id in rows:
                raise RowError(f"its id {row.id!r} is taken already, in line {lines[row.id]}")
        except RowError as error:
            raise PublishedError(f"{where}: line {cells.line}: {error}") from error
        rows[row.id], lines[row.id] = row, cells.line
    for identity, one in rows.items():
        if (fault := reference_fault(one, rows)) is not None:
            raise PublishedError(f"{where}: line {lines[identity]}: {fault}")
    return list(rows.values())


def as_frame(kind: Any, rows: Sequence[Any], *, dates: Sequence[str], numbers: Sequence[str]) -> pd.DataFrame:
    """Rows as a frame: dates as timestamps without a zone, numbers as floats, all else as it is."""
    records: list[dict[str, Any]] = [asdict(row) for row in rows]
    frame = pd.DataFrame.from_records(records, columns=[each.name for each in dataclasses.fields(kind)])
    for name in dates:
        frame[name] = pd.to_datetime(frame[name]).astype("datetime64[s]")
    return frame.astype(dict.fromkeys(numbers, "float64"))
