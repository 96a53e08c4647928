"""What is known of a place: observations and published counts as records, events, and the history to draw.

Verdicts, charts, pages and calibrations rest on the records of `Gathered`; charts and pages are made from a
`History`.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date
from pathlib import Path
from typing import Any

import pandas as pd

from aoi.errors import InputError
from aoi.tables import read_table
from railwatch.history.combined import Filtered, filtered
from railwatch.history.record import Kind, Record, from_observation, is_simulated
from railwatch.history.settings import VerdictSettings
from railwatch.history.verdict import Verdict, foremost
from railwatch.store.observation import Observation, current

UNSEEN_DAYS = 183
"""A longer time without an image is shown as unseen: half a year."""

_SENTINEL = re.compile(r"sentinel[-_ ]?([1-6])|^s([123])[a-d](?:[-_ ]|$)", re.IGNORECASE)


@dataclass(frozen=True)
class History:
    """Everything known of one place, ready to be drawn.

    Attributes:
        title: Name of the place, for people.
        observations: What is held to be true of our own, oldest first.
        records: These and the published counts, oldest first.
        verdicts: Verdicts on them.
        events: What happened when.
        since: First day to draw, or None for the first there is.
        until: Last day to draw.
        filtered: By observation id, images of ten metres combined with those before them; drawn beside the
            single images, and in no verdict.
        day: The day that the chart and the page are about, or None for the foremost one.
        middle: Longitude and latitude of the place, or None where neither its area nor an observation tells.
    """

    title: str
    observations: tuple[Observation, ...]
    records: tuple[Record, ...]
    verdicts: tuple[Verdict, ...]
    events: tuple[Event, ...] = ()
    since: date | None = None
    until: date | None = None
    filtered: Mapping[str, Filtered] = field(default_factory=dict)
    day: date | None = None
    middle: tuple[float, float] | None = None

    @classmethod
    def of(
        cls, title: str, gathered: Gathered, verdicts: Sequence[Verdict], settings: VerdictSettings
    ) -> History:
        """Return the whole history of one place from what has been gathered of it."""
        return cls(
            title=title,
            observations=gathered.observations,
            records=gathered.records,
            verdicts=tuple(verdicts),
            filtered=filtered(gathered.observations, settings),
        )

    def without_published(self) -> History:
        """Return the history without the published counts among its records; the verdicts stay."""
        return replace(self, records=tuple(one for one in self.records if one.method != "published"))

    def wagon_by_wagon(self) -> tuple[History, int]:
        """Return the history without dates answered at 10 m, which say nothing about parts of a place.

        Returns:
            The history of the other observations, and how many are left out.
        """
        fine = tuple(one for one in self.observations if one.method != "occupancy")
        return replace(self, observations=fine), len(self.observations) - len(fine)

    def span(self) -> tuple[date, date]:
        """Return the first and last day to draw, with a little room on either side.

        The look-back of the headline's verdict is in it, seen or not: whole where a ceiling speaks about
        its unseen beginning, else half as long before the first image as the images themselves span, so that
        months of images aren't lost beside years without any. Ceilings and events don't stretch it beyond
        that and the dated counts, unless there is nothing else.
        """
        days = [record.day for record in self.records if record.kind != "ceiling"]
        foremost = self.foremost()
        if foremost is not None and foremost.probability_exceedance is not None:
            days.append(self._look_back_shown(foremost.window[0], min(days), max(days)))
        if not days:
            days = [day for one in self.records for day in (one.day, one.until.date())]
        if not days:
            days = [event.day for event in self.events]
        first, last = (min(days), max(days)) if days else (date(2020, 1, 1), date(2020, 12, 31))
        room = max(round((last - first).days * 0.05), 4)
        start = self.since or date.fromordinal(max(first.toordinal() - room, 1))
        end = self.until or date.fromordinal(last.toordinal() + room)
        if end <= start:
            end = date.fromordinal(start.toordinal() + 1)
        return start, end

    def _look_back_shown(self, begins: date, first: date, last: date) -> date:
        """Return from when on a look-back is drawn whose place was seen from ``first`` to ``last``."""
        if any(
            one.kind == "ceiling" and one.day < first and one.until.date() > begins for one in self.records
        ):
            return begins
        room = max((last - first).days // 2, UNSEEN_DAYS)
        return max(begins, date.fromordinal(max(first.toordinal() - room, 1)))

    def shown(self) -> list[Record]:
        """Return the dated records inside the span."""
        first, last = self.span()
        return [one for one in self.records if one.kind != "ceiling" and first <= one.day <= last]

    def combined(self) -> list[Filtered]:
        """Return the filtered looks inside the span, oldest first; none where they are fewer than three.

        Those of each constellation are a series of their own (`Filtered.method`).
        """
        first, last = self.span()
        inside = [one for one in self.filtered.values() if first <= one.when.date() <= last]
        return sorted(inside, key=lambda one: (one.when, one.id)) if len(inside) > 2 else []

    def ceilings(self) -> list[Record]:
        """Return the published ceilings whose period touches the span."""
        first, last = self.span()
        return [
            one
            for one in self.records
            if one.kind == "ceiling" and one.day <= last and one.until.date() >= first
        ]

    def foremost(self) -> Verdict | None:
        """Return the verdict that chart and page open with; see `railwatch.history.foremost`."""
        first, last = self.since or date.min, self.until or date.max
        return foremost((one for one in self.verdicts if first <= one.record.day <= last), self.day)

    def unseen(self) -> list[tuple[date, date]]:
        """Return the stretches of the headline's look-back, of half a year and more, that no image shows.

        Published counts are images too, and a published ceiling is a statement on its whole period.
        """
        verdict = self.foremost()
        if verdict is None or verdict.probability_exceedance is None:
            return []
        start, end = verdict.window
        seen = [(one.day, one.day) for one in self.records if one.bounded]
        seen += [(one.day, one.until.date()) for one in self.records if one.kind == "ceiling"]
        gaps, reached = [], start
        for begin, until in sorted((max(a, start), b) for a, b in seen if b >= start and a <= end):
            if (begin - reached).days >= UNSEEN_DAYS:
                gaps.append((reached, begin))
            reached = max(reached, until)
        if (end - reached).days >= UNSEEN_DAYS:
            gaps.append((reached, end))
        return gaps

    def credits(self) -> str:
        """Return the caption's line on sources and licences."""
        parts = []
        first, last = self.span()
        own = [one for one in self.observations if first <= one.datetime.date() <= last]
        sensors = sorted({one.sensor_named for one in own if one.sensor_named})
        if sensors:
            parts.append("Imagery: " + ", ".join(sensors) + ".")
        parts += [named] if (named := copernicus(own)) else []
        publishers = sorted(
            {
                one.source
                for one in (*self.shown(), *self.ceilings())
                if one.method == "published" and one.source
            }
        )
        if publishers:
            parts.append("Published counts: " + ", ".join(publishers) + ".")
        return " ".join(parts)


def is_sentinel(sensor: str) -> bool:
    """Return whether a sensor's data want the Copernicus attribution."""
    return _SENTINEL.search(sensor or "") is not None and not is_simulated(sensor)


def copernicus(observations: Iterable[Observation]) -> str:
    """Return the attribution that Copernicus asks for, with the years of the images, or an empty text."""
    years = sorted({one.datetime.year for one in observations if is_sentinel(one.sensor)})
    if not years:
        return ""
    runs: list[list[int]] = []
    for year in years:
        if runs and year == runs[-1][-1] + 1:
            runs[-1].append(year)
        else:
            runs.append([year])
    named = ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
    return f"Contains modified Copernicus Sentinel data {named}."


class EventsError(InputError):
    """An events file that can't be read."""


@dataclass(frozen=True, order=True)
class Event:
    """Something that happened on a day, in a few words."""

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


@dataclass(frozen=True)
class Gathered:
    """Observations and published counts of one or several places as records.

    Attributes:
        observations: What is held to be true of our own, oldest first: of several results for a scene the
            newest, and reviewed ones in the place of what they correct.
        own: Their records, in the same order.
        machine: Records of the newest results by machine and of the reviewed ones beside them: a machine's
            count and its reviewed one are the best pairs to calibrate methods on.
        published: Records of the published counts.
    """

    observations: tuple[Observation, ...]
    own: tuple[Record, ...]
    machine: tuple[Record, ...]
    published: tuple[Record, ...]

    @classmethod
    def of(
        cls,
        observations: Iterable[Observation],
        published: pd.DataFrame | None,
        settings: VerdictSettings,
    ) -> Gathered:
        """Turn observations, in any order, and published rows (of `seeds.comparable`) into records."""
        given = list(observations)
        held = tuple(current(given, reviewed=True))
        records = {one.id: from_observation(one, settings) for one in given}
        return cls(
            observations=held,
            own=tuple(records[one.id] for one in held),
            machine=tuple(records[one.id] for one in current(given)),
            published=() if published is None else tuple(published_records(published, settings)),
        )

    @property
    def records(self) -> tuple[Record, ...]:
        """Our own records and the published ones, oldest first."""
        return tuple(sorted((*self.own, *self.published), key=lambda one: (one.when, one.id)))


_KINDS: Mapping[str, Kind] = {
    "exact": "count",
    "approximate": "count",
    "interval": "range",
    "at_least": "at least",
    "at_most": "at most",
    "ceiling": "ceiling",
    "length_only": "at least",
}


def published_records(rows: pd.DataFrame, settings: VerdictSettings) -> list[Record]:
    """Return published rows as records.

    Rows that set no number, repeat another or have no date are passed over. Trains of which only the
    length is known are a lower bound: their length in the longest cars that are about.

    Args:
        rows: Rows in the form of `seeds.load_published`, of one site each.
        settings: The error of a published count and of a ceiling.
    """
    records = []
    for row in rows.to_dict("records"):
        kind = _KINDS.get(str(row["statement"]))
        value, low, high = _figures(row, settings)
        start, end = pd.Timestamp(row["image_date_start"]), pd.Timestamp(row["image_date_end"])
        if kind is None or value is None or row["duplicate_of"] or pd.isna(start) or ";" in str(row["site"]):
            continue
        if kind != "ceiling" and start != end:
            continue
        sd = settings.method("published").sd(value)
        if kind == "ceiling":
            sd = max(settings.ceiling_sd_share * value, 1.0)
        records.append(
            Record(
                id=str(row["id"]),
                aoi=str(row["site"]),
                when=start.to_pydatetime().replace(tzinfo=UTC),
                until=end.to_pydatetime().replace(tzinfo=UTC),
                kind=kind,
                method="published",
                value=value,
                low=low,
                high=high,
                sd_below=sd,
                sd_above=sd,
                source=str(row["publisher"]),
                scene=str(row["url"]),
                approximate=row["statement"] != "exact",
            )
        )
    return records


def _figures(
    row: Mapping[Hashable, Any], settings: VerdictSettings
) -> tuple[float | None, float | None, float | None]:
    """The value, low and high of a row; None where the statement sets none."""
    low, high = _number(row["count_low"]), _number(row["count_high"])
    if row["statement"] == "length_only":
        length = _number(row["length_m_low"])
        least = None if length is None else length / settings.car_length_m[2]
        return least, least, None
    if low is not None and high is not None:
        return (low + high) / 2.0, low, high
    return (high if low is None else low), low, high


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)
