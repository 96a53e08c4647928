"""Events to note on a chart: what happened when, from a small CSV."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from aoi.errors import InputError


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
        path: The file, UTF-8.

    Returns:
        The events, oldest first, each once.

    Raises:
        EventsError: If the file can't be read, or a row lacks a date or a label.
    """
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise EventsError(f"{path} isn't a UTF-8 text file") from error
    except OSError as error:
        raise EventsError(f"{path} can't be read ({error.strerror})") from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    names = [(name or "").strip().lower() for name in reader.fieldnames or ()]
    if "date" not in names or "label" not in names:
        raise EventsError(f"{path} needs a first line that names the columns date and label")
    date_name = (reader.fieldnames or ())[names.index("date")]
    label_name = (reader.fieldnames or ())[names.index("label")]
    events: set[Event] = set()
    for row in reader:
        day_text, label = (row.get(date_name) or "").strip(), (row.get(label_name) or "").strip()
        if not day_text and not label:
            continue
        try:
            day = date.fromisoformat(day_text)
        except ValueError as error:
            raise EventsError(
                f"{path}, line {reader.line_num}: {day_text!r} isn't a date like 2023-09-13"
            ) from error
        if not label:
            raise EventsError(f"{path}, line {reader.line_num}: the event of {day} has no label")
        events.add(Event(day, " ".join(label.split())))
    return sorted(events)
