"""Events to note on a chart: what happened when, from a small CSV."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from aoi.errors import InputError
from aoi.tables import read_table


class EventsError(InputError):
    """An events file that can't be read."""


@dataclass(frozen=True, order=True)
class Event:
    """Something that happened.

    Attributes:
        day: When.
        label: What, in a few words.
    """

    day: date
    label: str


def read_events(path: Path) -> list[Event]:
    """Read events from a CSV with the columns ``date`` (ISO) and ``label``.

    Args:
        path: The file; see `aoi.tables.read_table`.

    Returns:
        The events, oldest first, each once.

    Raises:
        EventsError: If the file can't be read, or a row lacks a date or a label.
    """
    events: set[Event] = set()
    for row in read_table(path, ("date", "label"), EventsError):
        label = row["label"]
        if not row["date"] and not label:
            continue
        try:
            day = date.fromisoformat(row["date"])
        except ValueError as error:
            raise EventsError(f"{row.where}: {row['date']!r} isn't a date like 2023-09-13") from error
        if not label:
            raise EventsError(f"{row.where}: the event of {day} has no label")
        events.add(Event(day, " ".join(label.split())))
    return sorted(events)
