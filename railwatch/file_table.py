"""CSV tables that say something of files: which row means which file, and which rows mean none."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Generic, TypeVar

from aoi.errors import InputError
from aoi.files import real_path
from aoi.tables import Row, read_table
from geo.filename_metadata import parse_time
from railwatch.errors import ConfigError

__all__ = ["Dates", "DeclaredScene", "FileTable", "read_dates"]

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
            path: The table; see `aoi.tables.read_table`.
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
        for name in (path, *(folder for folder in path.parents if folder.suffix.lower() == ".zip")):
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
        used = {
            id(row)
            for path in listed
            for name in (path, *(folder for folder in path.parents if folder.suffix.lower() == ".zip"))
            for row in self._meant(name)
        }
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


@dataclass(frozen=True)
class DeclaredScene:
    """What a row says of a file; None where it says nothing.

    Attributes:
        when: Acquisition time, UTC.
        sensor: The sensor.
        gsd_m: Ground sampling distance in metres, for an image without a position.
    """

    when: datetime | None = None
    sensor: str | None = None
    gsd_m: float | None = None


Dates = FileTable[DeclaredScene]
"""Acquisition times that a user declares."""


def read_dates(path: Path) -> Dates:
    """Read acquisition times from a CSV file.

    The columns are ``file`` and ``datetime`` (ISO 8601; UTC unless it says otherwise; a date alone is
    midnight UTC), and optionally ``sensor`` and ``gsd_m``. `FileTable` says how a row names its file.

    Raises:
        ConfigError: If it can't be read, lacks a column, or a row isn't a time.
    """
    return FileTable.read(path, "datetime", _declared, ConfigError)


def _declared(row: Row) -> DeclaredScene:
    text = row["datetime"]
    found = parse_time(text)
    if found.when is None:
        if found.fault is None:
            raise ConfigError(f"{row.where}: {text!r} isn't a time such as 2023-10-05T02:15:00Z")
        raise ConfigError(f"{row.where}: the time {text!r} can't be used: {found.fault}")
    gsd_m = row.number("gsd_m") if row.get("gsd_m") else None
    if gsd_m is not None and gsd_m <= 0:
        raise ConfigError(f"{row.where}: gsd_m is {row['gsd_m']!r}, not a number of metres")
    return DeclaredScene(found.when, row.get("sensor") or None, gsd_m)
