"""The table of published counts: reading it, and the rows that bear on a whole facility."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd

from aoi.tables import Table, read_table
from seeds.errors import PublishedError
from seeds.row import COLUMNS, COVERS, REQUIRED, PublishedRow, RowError, parse_row

__all__ = ["comparable", "load_published", "read_rows"]

_TABLE = "published_counts.csv"
_DATES = ("image_date_start", "image_date_end")
_NUMBERS = ("count_low", "count_high", "length_m_low", "length_m_high")


def load_published(site: str | None = None, *, path: Path | None = None) -> pd.DataFrame:
    """The published counts, one row a statement.

    Args:
        site: Only the rows about this site, those about it and others together included; a site that
            nobody has published about gives no rows.
        path: Another table in the same form; the bundled one by default.

    Returns:
        A frame sorted by date and id, with the columns of `seeds.row.PublishedRow`: the two image dates
        as timestamps without a zone (NaT where unknown), counts and lengths as floats (NaN where the
        statement sets none), ``comparable`` as bool, all else as text (empty where there is none); in
        ``site`` several sites are joined by ``;``.

    Raises:
        PublishedError: If the table can't be read or a row is wrong.
    """
    rows = [row for row in read_rows(path) if site is None or site in row.site]
    return _frame(rows)


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
    name = _TABLE if path is None else str(path)
    table = read_bundled_or_given(path, _TABLE, REQUIRED)
    _check_header(name, list(table.columns))
    rows: dict[str, PublishedRow] = {}
    lines: dict[str, int] = {}
    for cells in table:
        try:
            row = parse_row(dict(cells))
            if row.id in rows:
                raise RowError(f"its id {row.id!r} is taken already, in line {lines[row.id]}")
        except RowError as error:
            raise PublishedError(f"{name}: line {cells.line}: {error}") from error
        rows[row.id], lines[row.id] = row, cells.line
    for row in rows.values():
        fault = _reference_fault(row, rows)
        if fault:
            raise PublishedError(f"{name}: line {lines[row.id]}: {fault}")
    return list(rows.values())


def read_bundled_or_given(path: Path | None, bundled: str, required: Sequence[str]) -> Table:
    """A table of this package, or one that a user gives in its place.

    Raises:
        PublishedError: It can't be read; see `aoi.tables.read_table`.
    """
    content = None
    if path is None:
        content = resources.files("seeds").joinpath(bundled).read_bytes()
    return read_table(path or Path(bundled), required, PublishedError, content=content)


def _check_header(name: str, header: list[str]) -> None:
    for column in header:
        if column not in COLUMNS:
            near = difflib.get_close_matches(column, COLUMNS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise PublishedError(f"{name}: has an unknown column {column!r}{hint}")


def _reference_fault(row: PublishedRow, rows: dict[str, PublishedRow]) -> str | None:
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


def _frame(rows: list[PublishedRow]) -> pd.DataFrame:
    records: list[dict[str, Any]] = [{**asdict(row), "site": ";".join(row.site)} for row in rows]
    frame = pd.DataFrame.from_records(records, columns=list(COLUMNS))
    for column in COLUMNS:
        if column in _DATES:
            frame[column] = pd.to_datetime(frame[column]).astype("datetime64[s]")
        elif column in _NUMBERS:
            frame[column] = frame[column].astype("float64")
        elif column == "comparable":
            frame[column] = frame[column].astype(bool)
    return frame.sort_values(["image_date_start", "id"], na_position="last", ignore_index=True)
