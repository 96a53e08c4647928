"""A person's own counts, from a spreadsheet, as reviewed observations: old work becomes history.

A row is a date and a number of freight cars. Where the store has a machine's count of that day, the row is a
review of it and takes its place in charts and verdicts, as any review does; else it is an observation of its
own. Nothing is written over, and a second import of the same rows writes nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from aoi import AreaOfInterest
from aoi.errors import InputError
from aoi.files import read_bytes
from aoi.tables import parse_number, read_table
from railwatch.errors import ReviewError
from railwatch.history.record import count_interval
from railwatch.review.apply import Applied, set_count
from railwatch.store.observation import (
    IMPORTED_SENSOR,
    Observation,
    geometry_json,
    interval_json,
    iso,
    observation_id,
)
from railwatch.store.store import Store
from railwatch.version import __version__

__all__ = ["ImportResult", "SkippedRow", "import_counts"]

_DATE = ("date", "datetime", "day", "time")
_COUNT = ("count", "cars", "freight cars", "wagons")
_LOW = ("low", "count_low", "min")
_HIGH = ("high", "count_high", "max")
_NOTE = ("note", "reason", "comment", "remark")
_REVIEWER = ("reviewer", "counted by", "by")
_SENSOR = ("sensor", "image", "satellite")
_FILE = ("file", "scene")
_SEEN = ("clear_fraction", "seen")

_AT_LEAST = re.compile(r"^(?:>=|\u2265|at least)\s*(.+)$|^(.+?)\s*\+$", re.IGNORECASE)
_ABOUT = re.compile(r"^(?:~|\u2248|about|approx\.?|approximately|c\.|ca\.?|circa)\s*(.+)$", re.IGNORECASE)


@dataclass(frozen=True)
class SkippedRow:
    """A row that wasn't taken, by its line in the file (from 1), and why."""

    line: int
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class ImportResult:
    """What an import did.

    Attributes:
        path: The file.
        observations: One a row that was taken, by time.
        new: Ids of those written now.
        reviews: Ids of those that stand in for a machine's count.
        skipped: The rows that weren't taken.
    """

    path: Path
    observations: tuple[Observation, ...]
    new: frozenset[str]
    reviews: frozenset[str]
    skipped: tuple[SkippedRow, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as ``railwatch import --json`` prints it."""
        return {
            "file": str(self.path),
            "observations": [
                one.to_json() | {"new": one.id in self.new, "review": one.id in self.reviews}
                for one in self.observations
            ],
            "skipped": [one.to_json() for one in self.skipped],
        }


@dataclass(frozen=True)
class _CountRow:
    """What a row says."""

    when: datetime
    timed: bool
    count: float
    low: float
    high: float
    at_least: bool
    note: str | None
    reviewer: str
    sensor: str
    file: str | None
    seen: float
    zones: Mapping[str, float]

    @property
    def content(self) -> dict[str, Any]:
        """All that makes the row what it is, as plain JSON values."""
        said = asdict(self) | {"when": iso(self.when)}
        del said["timed"]
        return said


def import_counts(
    store: Store,
    path: str | Path,
    area: AreaOfInterest,
    *,
    reviewer: str | None = None,
    date_format: str | None = None,
) -> ImportResult:
    """Keep the counts of a spreadsheet.

    Args:
        store: Where to.
        path: A CSV or XLSX file. Columns ``date`` and ``count``, and, if there are any, ``low`` and ``high``
            (90 % interval), ``note``, ``reviewer``, ``sensor``, ``file`` (the image's name),
            ``clear_fraction`` (share of the area seen, 0 to 1) and ``zone_<id>``. A count may be ``20+`` or
            ``>= 20`` (at least) and ``~20``.
        area: What was counted.
        reviewer: Who counted, where no column says it.
        date_format: How dates are written that aren't ISO 8601, as ``strptime`` takes it: ``%d/%m/%Y``.

    Returns:
        What was taken and what not. A row that can't be taken doesn't stop the others.

    Raises:
        ReviewError: The file can't be read, lacks a column, or nobody is named as the one who counted.
        StoreError: The store can't be written. What it holds stays.
    """
    path = Path(path)
    taken: list[Observation] = []
    new, reviews = set[str](), set[str]()
    skipped: list[SkippedRow] = []
    machines = [one for one in store.observations(area.name) if one.method == "wagons"]
    known = {one.id for one in store.observations(area.name, superseded=True)}
    for line, cells in _rows(path):
        try:
            row = _parsed(cells, area, reviewer, date_format)
            machine = _machine(row, machines)
            if machine is not None:
                done = _review(store, machine, row)
                kept, written = done.observation, done.written
                reviews.add(kept.id)
            else:
                kept = _observation(row, area, path.name)
                written = kept.id not in known and store.add(kept, refresh=False)
        except _BadRow as error:
            skipped.append(SkippedRow(line, str(error)))
            continue
        known.add(kept.id)
        taken.append(kept)
        if written:
            new.add(kept.id)
    if new:
        store.refresh()
    ordered = tuple(sorted(taken, key=lambda one: (one.datetime, one.id)))
    return ImportResult(path, ordered, frozenset(new), frozenset(reviews), tuple(skipped))


class _BadRow(InputError):
    """A row that can't be taken."""


# ---- reading -------------------------------------------------------------------------------------------


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a table with their lines; column names in small letters."""
    if path.suffix.lower() in (".xlsx", ".xlsm"):
        rows = list(_sheet_rows(path))
        columns = set(rows[0][1]) if rows else set()
    else:
        table = read_table(path, (), ReviewError)
        rows = [(row.line, {name.casefold(): cell for name, cell in row.items()}) for row in table]
        columns = {name.casefold() for name in table.columns}
    for wanted in (_DATE, _COUNT):
        if not columns & set(wanted):
            raise ReviewError(f"{path}: the table has no column {wanted[0]}")
    if not rows:
        raise ReviewError(f"{path}: the table has no rows")
    yield from rows


def _sheet_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of an XLSX file's first sheet, each cell as the text that a CSV file would have."""
    import io
    import zipfile

    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    content = read_bytes(path, ReviewError)
    try:
        book = load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        sheet = [tuple(row) for row in book.worksheets[0].iter_rows(values_only=True)]
    except (InvalidFileException, zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise ReviewError(f"{path}: isn't an XLSX file: save it as CSV, or as XLSX again") from error
    filled = [(line, row) for line, row in enumerate(sheet, start=1) if any(cell is not None for cell in row)]
    if not filled:
        raise ReviewError(f"{path}: is empty")
    (_, head), *rest = filled
    names = [("" if cell is None else str(cell)).strip().casefold() for cell in head]
    for line, row in rest:
        yield line, {name: _cell(cell) for name, cell in zip(names, row, strict=False) if name}


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == datetime.min.time() else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return f"{value:.15g}" if isinstance(value, float) else str(value).strip()


def _parsed(
    cells: Mapping[str, str], area: AreaOfInterest, reviewer: str | None, date_format: str | None
) -> _CountRow:
    """What a row says."""
    text = _first(cells, _COUNT)
    if text is None:
        raise _BadRow("it has no count")
    when, timed = _when(_first(cells, _DATE), date_format)
    count, at_least = _count(text)
    usual_low, usual_high = count_interval(count)
    low, high = _optional(cells, _LOW), _optional(cells, _HIGH)
    low = min(usual_low, count) if low is None else low
    high = max(usual_high, count) if high is None else high
    if not 0 <= low <= count <= high:
        raise _BadRow(f"the count {count:g} doesn't lie between low {low:g} and high {high:g}")
    seen = _optional(cells, _SEEN)
    if seen is not None and not 0 < seen <= 1:
        raise _BadRow(f"clear_fraction {seen:g} isn't a share between 0 and 1")
    who = " ".join((_first(cells, _REVIEWER) or reviewer or "").split())
    if not who:
        raise ReviewError("who counted? Give --reviewer NAME, or a column reviewer")
    zones = {}
    for name, cell in cells.items():
        if name.startswith("zone_") and cell:
            zones[_zone(name.removeprefix("zone_"), area)] = _number(cell, name)
    return _CountRow(
        when=when,
        timed=timed,
        count=count,
        low=low,
        high=high,
        at_least=at_least,
        note=_first(cells, _NOTE),
        reviewer=who,
        sensor=_first(cells, _SENSOR) or IMPORTED_SENSOR,
        file=None if (file := _first(cells, _FILE)) is None else Path(file).name,
        seen=1.0 if seen is None else seen,
        zones=zones,
    )


def _first(cells: Mapping[str, str], names: Sequence[str]) -> str | None:
    return next((cells[name] for name in names if cells.get(name)), None)


def _when(text: str | None, date_format: str | None) -> tuple[datetime, bool]:
    """The time of a row, and whether it is more than a day."""
    if text is None:
        raise _BadRow("it has no date")
    try:
        found = datetime.fromisoformat(text) if date_format is None else datetime.strptime(text, date_format)
    except ValueError:
        hint = (
            f"--date-format {date_format} says otherwise"
            if date_format
            else "write it like 2023-10-05, or say how it is written, as in --date-format %d/%m/%Y"
        )
        raise _BadRow(f"{text!r} isn't a date: {hint}") from None
    moment = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    if moment > datetime.now(UTC):
        raise _BadRow(f"{text} lies in the future")
    return moment, found.time() != datetime.min.time()


def _count(text: str) -> tuple[float, bool]:
    """The number of cars, and whether there were at least so many."""
    found = _AT_LEAST.match(text)
    if found is not None:
        return _number(found[1] or found[2], "count"), True
    about = _ABOUT.match(text)
    return _number(about[1] if about is not None else text, "count"), False


def _number(text: str, column: str) -> float:
    try:
        value = parse_number(text)
    except ValueError as error:
        raise _BadRow(f"{column} {error}") from None
    if value < 0 or not math.isfinite(value):
        raise _BadRow(f"{column} {text} can't be: it is less than nothing")
    return value


def _optional(cells: Mapping[str, str], names: Sequence[str]) -> float | None:
    text = _first(cells, names)
    return None if text is None else _number(text, names[0])


def _zone(name: str, area: AreaOfInterest) -> str:
    for zone in area.zones:
        if zone.id.casefold() == name:
            return zone.id
    known = ", ".join(zone.id for zone in area.zones) or "none"
    raise _BadRow(f"the area {area.name} has no zone {name!r} (it has {known})")


# ---- keeping -------------------------------------------------------------------------------------------


def _machine(row: _CountRow, machines: Sequence[Observation]) -> Observation | None:
    """The machine's count of the image that a row is about, or None if the store has none of that day."""
    days = [one for one in machines if one.datetime.date() == row.when.date()]
    if row.file is not None:
        named = [one for one in days if one.provenance.get("file") == row.file or one.scene == row.file]
        return named[0] if named else None
    if row.timed:
        return min(days, key=lambda one: abs((one.datetime - row.when).total_seconds()), default=None)
    if len(days) > 1:
        names = ", ".join(str(one.provenance.get("file") or one.scene) for one in days[:3])
        raise _BadRow(f"the store has {len(days)} images of that day: name one in a column file ({names})")
    return days[0] if days else None


def _review(store: Store, machine: Observation, row: _CountRow) -> Applied:
    try:
        return set_count(
            store,
            machine.id,
            row.count,
            reviewer=row.reviewer,
            reason=row.note,
            low=row.low,
            high=row.high,
            at_least=row.at_least,
            zones=row.zones,
        )
    except ReviewError as error:
        raise _BadRow(str(error)) from error


def _observation(row: _CountRow, area: AreaOfInterest, file: str) -> Observation:
    """A person's count of an image that no machine has counted."""
    digest = hashlib.sha256(json.dumps(row.content, sort_keys=True).encode()).hexdigest()
    id = observation_id(aoi=area.name, when=row.when, method="reviewed", key={"import": digest})
    return Observation(
        id=id,
        aoi=area.name,
        scene=row.file or f"{area.name} {iso(row.when)}",
        datetime=row.when,
        sensor=row.sensor,
        method="reviewed",
        count=row.count,
        count_low=row.low,
        count_high=row.high,
        lower_bound=row.at_least,
        clear_fraction=row.seen,
        zones={name: interval_json(value, *count_interval(value)) for name, value in row.zones.items()},
        provenance={
            **({"file": row.file} if row.file is not None else {}),
            "area": area.digest,
            "area_limitations": list(area.limitations),
            "code_version": __version__,
            "created": iso(datetime.now(UTC)),
            "review": {
                "reviewer": row.reviewer,
                "reason": row.note,
                "date": datetime.now(UTC).date().isoformat(),
                "kind": "import",
                "imported_from": file,
                "machine_count": None,
                "supersedes": None,
                "content": digest,
            },
        },
        geometry=geometry_json(area.boundary),
    )
