r"""Tables: one reader for every CSV file, as spreadsheets of any country save them.

Cells stand between commas, semicolons, tabs or bars; the text is in UTF-8 or UTF-16 with or without a byte
order mark; numbers have a decimal point or a decimal comma.

Example:
    >>> table = read_table(Path("gsd.csv"), ["file", "gsd_m"], content=b"file;gsd_m\nyard.png;0,5\n")
    >>> table.rows[0]["file"], table.rows[0].number("gsd_m")
    ('yard.png', 0.5)
"""

from __future__ import annotations

import csv
import difflib
import io
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from aoi.errors import InputError
from aoi.files import decoded, read_bytes, real_path

_SEPARATORS = (",", ";", "\t", "|")
_SPACES = re.compile(r"[\s'\u2019]+")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")


class Row(dict[str, str]):
    """A row of a table: text by column, stripped, empty where the row has none.

    Attributes:
        line: Where it ends in the file, from 1, as text editors count.
        where: The file and the line, for messages.
        error: What is raised for a cell that can't be read.
    """

    def __init__(
        self, cells: Mapping[str, str], path: Path, line: int, separator: str, error: type[InputError]
    ) -> None:
        super().__init__(cells)
        self.line, self.where = line, f"{path}: line {line}"
        self.error, self._separator = error, separator

    def number(self, column: str) -> float:
        """The number in a cell; see `parse_number`.

        Raises:
            InputError: There is none, or nobody can tell which one it is.
        """
        try:
            return parse_number(self[column], decimal_comma=self._separator != ",")
        except ValueError as fault:
            raise self.error(f"{self.where}: {column} {fault}") from None


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        columns: Their names as the file spells them.
        rows: In the file's order, without empty ones.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


def read_table(
    path: Path,
    required: Iterable[str] = (),
    error: type[InputError] = InputError,
    *,
    content: bytes | None = None,
) -> Table:
    """Read a CSV file (RFC 4180) in any of the dialects that spreadsheets save.

    The separator is the one with which the first line names the required columns. Letter case and spaces
    around a column's name don't matter where it is a required one.

    Args:
        path: The file.
        required: Columns that there must be.
        error: What is raised.
        content: The file's content, if it is at hand.

    Raises:
        InputError: It can't be read, isn't text, lacks a column, has one twice, or a row has more cells than
            there are columns.
    """
    wanted = list(required)
    data = read_bytes(path, error) if content is None else content
    try:
        text = decoded(data)
    except UnicodeError as fault:
        raise error(f"{path}: isn't a CSV table in UTF-8: save it as CSV with that encoding") from fault
    if "\0" in text:
        raise error(f"{path}: isn't a CSV table: it holds bytes that no text has")
    if not text.strip():
        raise error(f"{path}: is empty")
    first = text.split("\n", 1)[0].strip()
    declared = re.fullmatch(r'"?sep=(.)"?', first, re.IGNORECASE)
    skipped = 0
    if declared:  # the line by which Excel is told
        text, skipped = text.split("\n", 1)[1] if "\n" in text else "", 1
    separators = (declared[1],) if declared else _SEPARATORS
    separator = max(separators, key=lambda one: _fit(text, one, wanted))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[Row] = []
    columns: tuple[str, ...] | None = None
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if columns is None:
                columns = _columns(cells, wanted, path, error)
                continue
            where = f"{path}: line {reader.line_num + skipped}"
            while len(cells) > len(columns) and not cells[-1]:
                cells.pop()
            if len(cells) > len(columns) or any(name in wanted for name in columns[len(cells) :]):
                quotes = '; a number with a decimal comma needs quotes ("0,5") or another separator'
                hint = quotes if len(cells) > len(columns) and separator == "," else ""
                raise error(f"{where} has {len(cells)} cells for {len(columns)} columns{hint}")
            padded = [*cells, *[""] * (len(columns) - len(cells))]
            named = {name: cell for name, cell in zip(columns, padded, strict=True) if name}
            rows.append(Row(named, path, reader.line_num + skipped, separator, error))
    except csv.Error as fault:
        raise error(f"{path}: line {reader.line_num + skipped}: is no right CSV ({fault})") from fault
    return Table(tuple(name for name in columns or () if name), tuple(rows))


def _fit(text: str, separator: str, wanted: list[str]) -> tuple[int, int]:
    """How well a separator fits: columns of the first line that are wanted, and columns in all."""
    try:
        header = next(csv.reader(io.StringIO(text.lstrip(), newline=""), delimiter=separator), [])
    except csv.Error:
        return 0, 0
    names = {cell.strip().casefold() for cell in header}
    return len(names & {name.casefold() for name in wanted}), len(header)


def _columns(header: list[str], wanted: list[str], path: Path, error: type[InputError]) -> tuple[str, ...]:
    spelt = {name.casefold(): name for name in wanted}
    columns = tuple(spelt.get(name.casefold(), name) for name in header)
    missing = [name for name in wanted if name not in columns]
    if missing:
        raise error(f"{path}: the table has no column {' and no '.join(missing)}")
    named = [name for name in columns if name]
    if len(set(named)) < len(named):
        twice = next(name for name in named if named.count(name) > 1)
        raise error(f"{path}: the table has the column {twice} twice")
    return columns


def guarded(text: str) -> str:
    """A cell that no spreadsheet runs: text that begins like a formula gets an apostrophe (CWE-1236).

    Example:
        >>> guarded("=1+1"), guarded("yard")
        ("'=1+1", 'yard')
    """
    return f"'{text}" if text.lstrip(" \ufeff").startswith(("=", "+", "-", "@", "\t", "\r")) else text


def parse_number(text: str, *, decimal_comma: bool = True) -> float:
    """A finite number as people write it: ``1.5``, ``1,5``, ``1 234,5``, ``1,234.5``.

    Args:
        text: The number.
        decimal_comma: Whether a lone comma is taken for a decimal sign even where three digits follow it.
            Otherwise ``1,234`` may be either of two numbers.

    Raises:
        ValueError: It isn't a number, or may be either of two.

    Example:
        >>> parse_number("1,5"), parse_number("1.234,5"), parse_number("0.5")
        (1.5, 1234.5, 0.5)
    """
    bare = _SPACES.sub("", text).replace("\u2212", "-")  # the minus of typesetters
    comma, point = bare.rfind(","), bare.rfind(".")
    if comma >= 0 and point >= 0:
        bare = bare.replace(",", "") if point > comma else bare.replace(".", "").replace(",", ".")
    elif bare.count(",") > 1:
        bare = bare.replace(",", "") if _THOUSANDS.fullmatch(bare) else "x"
    elif comma >= 0:
        if not decimal_comma and _THOUSANDS.fullmatch(bare):
            raise ValueError(f"is {text!r}, which may be {bare.replace(',', '')} or {bare.replace(',', '.')}")
        bare = bare.replace(",", ".")
    try:
        value = float(bare) if re.fullmatch(r"[+-]?[\d.]+([eE][+-]?\d+)?", bare) else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"is {text!r}, not a number")
    return value


# ---- tables that say something of files -----------------------------------------------------------

Value = TypeVar("Value")


@dataclass(frozen=True)
class _Named(Generic[Value]):
    """A row: how it names its file, and what it says of it."""

    file: str
    parts: tuple[str, ...]
    value: Value
    where: str

    @property
    def path(self) -> Path:
        """As it stands, with this system's separators."""
        return Path(self.file.replace("\\", "/"))


@dataclass(frozen=True)
class FileTable(Generic[Value]):
    """Values that a table gives for files.

    A row names its file in the column ``file``: by a path, relative to the table's folder or to the current
    one or any end of it, or by its name alone where the table has that name once. Letter case and the kind of
    slash don't matter.

    Attributes:
        path: The table; None for an empty one.
        error: What is raised for rows that can't be used.
    """

    path: Path | None = None
    error: type[InputError] = InputError
    _rows: tuple[_Named[Value], ...] = field(default=(), repr=False)

    @classmethod
    def read(
        cls,
        path: Path,
        column: str,
        value: Callable[[Row], Value],
        error: type[InputError] = InputError,
    ) -> FileTable[Value]:
        """Read a table with the columns ``file`` and another one.

        Args:
            path: The table; see `read_table`.
            column: The other column that there must be.
            value: Makes a row's value; raises ``error`` where it can't.
            error: What is raised.

        Raises:
            InputError: The table can't be read, lacks a column, or has a row that can't be used.
        """
        rows = []
        for row in read_table(path, ("file", column), error):
            parts = _parts(row["file"])
            if not parts:
                raise error(f"{row.where} names no file")
            rows.append(_Named(row["file"], parts, value(row), row.where))
        if not rows:
            raise error(f"{path}: the table has no rows")
        return cls(path, error, tuple(rows))

    def of(self, path: Path) -> Value | None:
        """What the table says of a file, or of the zip that it lies in; None if nothing.

        Raises:
            InputError: Two rows say different things of it.
        """
        for name in _or_its_zip(path):
            found = self._meant(name)
            if found:
                if any(one.value != found[0].value for one in found[1:]):
                    raise self.error(
                        f"{found[1].where}: says of {path.name} something else than {found[0].where} does"
                    )
                return found[0].value
        return None

    def by_path(self) -> dict[str, Value]:
        """The values by absolute path, and by bare name where that is unique."""
        names = [row.path.name for row in self._rows]
        found = {str(real_path(base / row.path)): row.value for row in self._rows for base in self._bases}
        return found | {row.path.name: row.value for row in self._rows if names.count(row.path.name) == 1}

    def check(self, files: Iterable[Path]) -> None:
        """Refuse rows that mean none of some files, and nothing else that is there: they are misspelt.

        Args:
            files: All that were found.

        Raises:
            InputError: There is such a row; the sentence names it and the file that is nearest to it.
        """
        listed = list(files)
        used = {id(row) for path in listed for name in _or_its_zip(path) for row in self._meant(name)}
        for row in self._rows:
            there = any((base / row.path).exists() for base in self._bases)
            if id(row) not in used and not there:
                names = {path.name.lower(): path.name for path in listed}
                near = difflib.get_close_matches(row.parts[-1], names, n=1, cutoff=0.5)
                hint = f"; the nearest is {names[near[0]]}" if near else ""
                raise self.error(f"{row.where}: names {row.file}, and there is no such file{hint}")

    @property
    def _bases(self) -> tuple[Path, ...]:
        return (Path(), *(() if self.path is None else (self.path.parent,)))

    def _meant(self, path: Path) -> list[_Named[Value]]:
        """The rows that mean a file, all equally well."""
        names = _parts(str(path.absolute())), _parts(str(real_path(path)))
        ends = [row for row in self._rows if any(one[-len(row.parts) :] == row.parts for one in names)]
        longest = max((len(row.parts) for row in ends), default=0)
        if longest > 1:
            return [row for row in ends if len(row.parts) == longest]
        same = [row for row in self._rows if row.parts[-1] == names[0][-1]]
        if len(same) > 1 and any(len(row.parts) > 1 for row in same):
            return []
        return [row for row in same if row.path.name == path.name] or same


def _parts(text: str) -> tuple[str, ...]:
    """A path's parts, from the drive or root down, in lower case."""
    pieces = text.strip().replace("\\", "/").split("/")
    return tuple(piece.casefold() for piece in pieces if piece not in ("", "."))


def _or_its_zip(path: Path) -> list[Path]:
    """A file, and the zip that it lies in."""
    return [path, *(folder for folder in path.parents if folder.suffix.lower() == ".zip")]
