"""What a user declares of images in a table: when they were taken, by what, and how fine they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from aoi.tables import Row
from geo.filename_metadata import parse_time
from railwatch.errors import ConfigError
from railwatch.file_table import FileTable

__all__ = ["Dates", "DeclaredScene"]


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


class Dates:
    """Acquisition times that a user declares in a CSV file.

    The columns are ``file`` and ``datetime`` (ISO 8601; UTC unless it says otherwise; a date alone is
    midnight UTC), and optionally ``sensor`` and ``gsd_m``. `FileTable` says how a row names its file.
    """

    def __init__(self, table: FileTable[DeclaredScene] | None = None) -> None:
        self._table = table or FileTable()

    @classmethod
    def read(cls, path: Path) -> Dates:
        """Read the table.

        Raises:
            ConfigError: If it can't be read, lacks a column, or a row isn't a time.
        """
        return cls(FileTable.read(path, "datetime", _declared, ConfigError))

    def of(self, path: Path) -> DeclaredScene:
        """Return what is declared of a file."""
        return self._table.of(path) or DeclaredScene()

    def check(self, files: Iterable[Path]) -> None:
        """Refuse a row that means none of some files, nor another one that is there.

        Raises:
            ConfigError: There is one.
        """
        self._table.check(files)


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
