"""The chart's geometry: where marks, ticks and bands stand in the drawing that needs no JavaScript.

`static/report.js` does the same sums when a reader zooms or turns the phone; a test in the browser holds
the two together. Times are days since 1970-01-01 UTC, values freight cars, places SVG user units.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from railwatch.pages.charts.series import GAP_DAYS

if TYPE_CHECKING:
    from railwatch.history import Record
    from railwatch.history.events import Event
    from railwatch.history.filter import Filtered
    from railwatch.pages.report.gather import Entry, ReportedArea

__all__ = [
    "MISSING",
    "SHAPES",
    "Flag",
    "Key",
    "Label",
    "Plot",
    "PlotBand",
    "PlotMark",
    "Tick",
    "days_of",
    "plot_of",
]

WIDTH, HEIGHT = 960.0, 440.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 22.0, 34.0, 62.0
STRIP = 30.0
"""From the bottom of the drawing to the middle of the strip of looks is ``BOTTOM - STRIP / 2``."""

DAY_WIDTH, MONTH_WIDTH, YEAR_WIDTH = 84.0, 66.0, 50.0
"""Room that a label of the time axis needs: ``2023-10-05``, ``2023-10``, ``2023``."""

CROWDED, DENSE = 9.0, 3.0
"""With less room for a mark than this, marks are drawn smaller, and intervals fainter."""

SHAPES: Mapping[str, str] = {
    "wagons": "M-4.6,0a4.6,4.6 0 1,0 9.2,0a4.6,4.6 0 1,0 -9.2,0Z",
    "occupancy": "M-4,-4h8v8h-8Z",
    "reviewed": "M0,-6L6,0L0,6L-6,0Z",
    "other": "M-2.7,-4.7h5.4L5.4,0L2.7,4.7H-2.7L-5.4,0Z",
}
"""Outlines of the marks by method, around their middle; no two methods share one."""

PUBLISHER_SHAPES = (
    "M0,-6.2L5.7,4.2H-5.7Z",
    "M-1.9,-5.7h3.8v3.8h3.8v3.8h-3.8v3.8h-3.8v-3.8h-3.8v-3.8h3.8Z",
    "M0,6.2L5.7,-4.2H-5.7Z",
    "M-6.2,0L4.2,-5.7V5.7Z",
    "M6.2,0L-4.2,-5.7V5.7Z",
    "M-5.4,-3.2L-3.2,-5.4L0,-2.2L3.2,-5.4L5.4,-3.2L2.2,0L5.4,3.2L3.2,5.4L0,2.2L-3.2,5.4L-5.4,3.2L-2.2,0Z",
    "M0,-6.4L1.5,-2L6.1,-2L2.4,0.8L3.8,5.2L0,2.5L-3.8,5.2L-2.4,0.8L-6.1,-2L-1.5,-2Z",
)
"""Outlines of published counts: one for each publisher, in order of appearance."""

MISSING = "M-3,-3L3,3M-3,3L3,-3"
"""A look without an answer."""

_MOST_LABELS = 5


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: its place and what is written there."""

    at: float
    label: str


@dataclass(frozen=True)
class PlotMark:
    """One record on the chart.

    Attributes:
        entry: What it stands for.
        t: Days since 1970.
        x: ReportedArea across.
        y: ReportedArea down; of the strip of looks for one without an answer.
        y_low: ReportedArea of the interval's lower end, relative to ``y``; None without an interval.
        y_high: The same for the upper end.
        shape: Outline.
        kind: Class of the method: ``wagons``, ``occupancy``, ``reviewed``, ``published``, ``other``.
        word: ``unprecedented``, ``elevated``, ``low`` or empty.
        label: What is written beside it, if it is among the foremost.
    """

    entry: Entry
    t: float
    x: float
    y: float
    y_low: float | None
    y_high: float | None
    shape: str
    kind: str
    word: str
    label: str

    @property
    def record(self) -> Record:
        """What was said about the place."""
        return self.entry.record

    @property
    def missing(self) -> bool:
        """Whether it is a look without an answer."""
        return self.record.value is None


@dataclass(frozen=True)
class Label:
    """Text beside a mark; ``anchor`` is SVG's ``text-anchor``, None where there is no room for it."""

    mark: PlotMark
    x: float
    y: float
    anchor: str | None


@dataclass(frozen=True)
class PlotBand:
    """Something that covers a time, up to a value."""

    start: float
    end: float
    value: float | None
    entry: Entry | None = None


@dataclass(frozen=True)
class Flag:
    """An event on the chart, with its number in the key."""

    number: int
    t: float
    event: Event


@dataclass(frozen=True)
class Key:
    """A line of the legend: what a mark means, and the class it is drawn and hidden by."""

    kind: str
    shape: str
    label: str


@dataclass(frozen=True)
class Plot:
    """The drawing of a place's history over its whole time.

    Attributes:
        first: Left end, days since 1970.
        last: Right end.
        top_value: Cars at the top.
        marks: The records, oldest first.
        labels: What is written beside the foremost of them.
        ceilings: Published ceilings.
        window: The look-back of the headline's verdict with its maximum, or None.
        expected: What was expected on the headline's date: (t, low, high), or None.
        flags: The events in view.
        x_ticks: Of the time axis.
        y_ticks: Of the count axis.
        joins: Lines between looks of a method that are near in time: (class, path).
        filtered: What several looks say together: the path of its line, and of its band.
        keys: The legend.
        window_label: What is written into the window.
        x_of_headline: Time of the headline's record, days since 1970.
        words: The other words that have a ring, joined.
        crowding: ``crowded`` where the marks must be small, ``crowded dense`` where intervals must be faint
            too, else empty.
        has_intervals: Whether any mark has an interval.
        has_missing: Whether there are looks without an answer.
        has_bounds: Whether there are lower or upper bounds.
    """

    first: float
    last: float
    top_value: float
    marks: tuple[PlotMark, ...]
    labels: tuple[Label, ...]
    ceilings: tuple[PlotBand, ...]
    window: PlotBand | None
    expected: tuple[float, float, float] | None
    flags: tuple[Flag, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    joins: tuple[tuple[str, str], ...]
    filtered: tuple[str, str]
    keys: tuple[Key, ...]
    window_label: str
    x_of_headline: float
    words: str
    crowding: str
    has_intervals: bool
    has_missing: bool
    has_bounds: bool
    gap_days: float = GAP_DAYS
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    right: float = RIGHT
    top: float = TOP
    bottom: float = BOTTOM
    strip: float = STRIP

    def x(self, t: float) -> float:
        """Return the place of a time, kept inside the drawing."""
        share = (t - self.first) / (self.last - self.first)
        return self.left + min(max(share, 0.0), 1.0) * (self.width - self.left - self.right)

    def y(self, value: float) -> float:
        """Return the place of a value, kept inside the drawing."""
        return _y(min(max(value, 0.0), self.top_value), self.top_value)


def plot_of(place: ReportedArea) -> Plot:
    """Return the drawing of a place."""
    history = place.history
    first_day, last_day = history.span()
    first, last = days_of(first_day), days_of(last_day) + 1.0
    shown = [one for one in place.entries if first <= days_of(one.record.when) <= last]
    ceilings = tuple(
        PlotBand(days_of(one.record.when), days_of(one.record.until), one.record.value, one)
        for one in place.ceilings
        if days_of(one.record.when) <= last and days_of(one.record.until) >= first
    )
    records = [one.record for one in shown]
    combined = [one.high for one in history.combined()]
    top_value = _top([*records, *(one.record for one in place.ceilings)], combined)
    shapes = _publisher_shapes(records)
    labelled = _labelled(place)
    marks = tuple(_mark(one, first, last, top_value, shapes, one.key in labelled) for one in shown)
    labels = tuple(_labels(marks))
    verdict = place.headline.verdict if place.headline is not None else None
    window = expected = None
    if verdict is not None and place.headline in shown:
        start, end = (days_of(one) for one in verdict.window)
        window = PlotBand(start, end + 1.0, None if verdict.maximum is None else verdict.maximum.value)
        if verdict.expected_low is not None and verdict.expected_high is not None:
            expected = (days_of(verdict.datetime), verdict.expected_low, verdict.expected_high)
    flags = [
        Flag(number, days_of(event.day), event)
        for number, event in enumerate(
            (event for event in history.events if first_day <= event.day <= last_day), start=1
        )
    ]
    return Plot(
        first=first,
        last=last,
        top_value=top_value,
        marks=marks,
        labels=labels,
        ceilings=ceilings,
        window=window,
        expected=expected,
        flags=tuple(flags),
        x_ticks=tuple(
            Tick(_x(at, first, last), label) for at, label in time_ticks(first, last, WIDTH - LEFT - RIGHT)
        ),
        y_ticks=tuple(Tick(_y(value, top_value), f"{value:.0f}") for value in count_ticks(top_value)),
        joins=tuple(_joins(marks)),
        filtered=_filtered(history.combined(), first, last, top_value),
        keys=tuple(_keys(records, shapes)),
        window_label="" if window is None or place.headline is None else window_label(place.headline),
        x_of_headline=0.0 if place.headline is None else days_of(place.headline.record.when),
        words=" or ".join(word for word in ("elevated", "low") if any(one.word == word for one in marks)),
        has_intervals=any(one.y_high is not None for one in marks),
        crowding=_crowding(len(marks)),
        has_missing=any(one.missing for one in marks),
        has_bounds=any(one.kind in ("at least", "at most") for one in records),
    )


def window_label(entry: Entry) -> str:
    """Return what is written into a shaded look-back."""
    return f"look-back of {entry.record.day}"


def days_of(when: date | datetime) -> float:
    """Return a time as days since 1970-01-01 UTC."""
    if not isinstance(when, datetime):
        when = datetime(when.year, when.month, when.day, tzinfo=UTC)
    return when.timestamp() / 86400.0


def _x(t: float, first: float, last: float) -> float:
    return LEFT + (t - first) / (last - first) * (WIDTH - LEFT - RIGHT)


def _y(value: float, top_value: float) -> float:
    return HEIGHT - BOTTOM - value / top_value * (HEIGHT - BOTTOM - TOP)


def _top(records: Sequence[Record], more: Sequence[float] = ()) -> float:
    values = [*more, *(one.high if one.high is not None else one.value for one in records)]
    return max(max((value for value in values if value is not None), default=0.0) * 1.08, 5.0)


def _crowding(marks: int) -> str:
    room = WIDTH - LEFT - RIGHT
    if marks > room / DENSE:
        return "crowded dense"
    return "crowded" if marks > room / CROWDED else ""


def _labelled(place: ReportedArea) -> set[str]:
    """Return the entries to name: the foremost ones, one a day, and of a day's our own."""
    by_day: dict[date, Entry] = {}
    for one in place.notable:
        other = by_day.get(one.record.day)
        if other is None or (other.observation is None and one.observation is not None):
            by_day[one.record.day] = one
    return {one.key for one in list(by_day.values())[:_MOST_LABELS]}


def _kind(record: Record) -> str:
    return record.method if record.method in SHAPES or record.method == "published" else "other"


def _publisher_shapes(records: Sequence[Record]) -> dict[str, str]:
    publishers = dict.fromkeys(one.source for one in records if one.method == "published")
    return {name: PUBLISHER_SHAPES[number % len(PUBLISHER_SHAPES)] for number, name in enumerate(publishers)}


def _mark(
    entry: Entry, first: float, last: float, top_value: float, shapes: Mapping[str, str], labelled: bool
) -> PlotMark:
    record, verdict = entry.record, entry.verdict
    t = days_of(record.when)
    y = HEIGHT - BOTTOM + STRIP / 2 if record.value is None else _y(record.value, top_value)
    low, high = record.low, record.high
    has_interval = record.value is not None and low is not None and high is not None and high > low
    word = "" if verdict is None or record.value is None else verdict.verdict
    return PlotMark(
        entry=entry,
        t=t,
        x=_x(t, first, last),
        y=y,
        y_low=_y(low, top_value) - y if has_interval and low is not None else None,
        y_high=_y(high, top_value) - y if has_interval and high is not None else None,
        shape=shapes.get(record.source, "") if record.method == "published" else SHAPES[_kind(record)],
        kind=_kind(record),
        word=word if word in ("unprecedented", "elevated", "low") else "",
        label=f"{record.value:.0f} {verdict.verdict}" if labelled and verdict and record.value else "",
    )


def _labels(marks: Sequence[PlotMark]) -> Iterator[Label]:
    """Place each label left or right of its mark or above it, where it covers neither marks nor labels."""
    points = [(one.x, one.y, 15.0 if one.label else 7.0) for one in marks if not one.missing]
    taken: list[tuple[float, float, float, float]] = []
    for mark in sorted((one for one in marks if one.label), key=lambda one: -(one.record.value or 0.0)):
        wide = 7.2 * len(mark.label)
        options = (
            (mark.x - 19.0, mark.y + 4.0, "end", mark.x - 19.0 - wide),
            (mark.x + 19.0, mark.y + 4.0, "start", mark.x + 19.0),
            (mark.x, mark.y - 20.0, "middle", mark.x - wide / 2.0),
        )
        for x, y, anchor, left in options:
            box = (left, left + wide, y - 12.0, y + 4.0)
            inside = box[0] >= LEFT and box[1] <= WIDTH - RIGHT and box[2] >= 0.0
            others = [(px - r, px + r, py - r, py + r) for px, py, r in points] + taken
            if inside and not any(_overlap(box, other) for other in others):
                taken.append(box)
                yield Label(mark, x, y, anchor)
                break
        else:
            yield Label(mark, mark.x, mark.y, None)


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]


def _joins(marks: Sequence[PlotMark]) -> Iterator[tuple[str, str]]:
    """Join counts of one method where they are near enough in time."""
    for kind in SHAPES:
        path, before = "", -math.inf
        members = [
            one for one in marks if one.kind == kind and one.record.kind in ("count", "range", "missing")
        ]
        for mark in members:
            if mark.missing:
                continue
            path += f"{'L' if mark.t - before <= GAP_DAYS else 'M'}{mark.x:.1f},{mark.y:.1f}"
            before = mark.t
        if "L" in path:
            yield kind, path


def _filtered(combined: Sequence[Filtered], first: float, last: float, top_value: float) -> tuple[str, str]:
    """Return the line through filtered looks and the outline of their intervals, broken at long gaps."""
    parts: list[list[Filtered]] = []
    for one in combined:
        if not parts or days_of(one.when) - days_of(parts[-1][-1].when) > GAP_DAYS:
            parts.append([])
        parts[-1].append(one)
    line = band = ""
    for part in parts:
        x = [f"{_x(days_of(one.when), first, last):.1f}" for one in part]
        line += "M" + "L".join(
            f"{at},{_y(one.value, top_value):.1f}" for at, one in zip(x, part, strict=True)
        )
        there = [f"{at},{_y(one.high, top_value):.1f}" for at, one in zip(x, part, strict=True)]
        back = [f"{at},{_y(one.low, top_value):.1f}" for at, one in zip(x, part, strict=True)][::-1]
        band += "M" + "L".join([*there, *back]) + "Z"
    return line, band


def _keys(records: Sequence[Record], shapes: Mapping[str, str]) -> Iterator[Key]:
    from railwatch.pages.report.words import METHODS

    for kind in ("wagons", "occupancy", "reviewed", "other"):
        if any(_kind(one) == kind and one.value is not None for one in records):
            yield Key(kind, SHAPES[kind], METHODS.get(kind, "other method"))
    for publisher, shape in shapes.items():
        yield Key("published", shape, f"published by {publisher}" if publisher else "published")


# ---- ticks ---------------------------------------------------------------------------------------


def count_ticks(top_value: float, most: int = 5) -> list[float]:
    """Return at most about so many round whole numbers from 0 up to a value."""
    step = 1.0
    for power in range(12):
        for factor in (1.0, 2.0, 5.0):
            step = factor * 10.0**power
            if top_value / step <= most:
                return [step * number for number in range(int(top_value / step) + 1)]
    return [0.0, top_value]


def time_ticks(first: float, last: float, room: float) -> list[tuple[float, str]]:
    """Return round days between two times, as fine as there is room for their labels.

    Args:
        first: Days since 1970.
        last: Days since 1970.
        room: Length of the axis.
    """
    most = room / DAY_WIDTH
    for step in (1, 2, 5, 10):
        if (last - first) / step <= 2 * most:
            ticks = [
                (days_of(day), str(day))
                for day in _every_day(first, last)
                if (day.day - 1) % step == 0 and (step == 1 or day.day + step <= 32)
            ]
            if len(ticks) <= most:
                return ticks
    most = room / MONTH_WIDTH
    for step in (1, 3, 6):
        if (last - first) / (30 * step) <= 2 * most:
            ticks = [
                (days_of(day), f"{day:%Y-%m}")
                for day in _every_month(first, last)
                if (day.month - 1) % step == 0
            ]
            if len(ticks) <= most:
                return ticks
    most = room / YEAR_WIDTH
    for step in (1, 2, 5, 10, 25, 50):
        years = range(_date(first).year, _date(last).year + 1)
        ticks = [
            (days_of(date(year, 1, 1)), f"{year}")
            for year in years
            if year % step == 0 and first <= days_of(date(year, 1, 1)) <= last
        ]
        if len(ticks) <= most:
            return ticks
    return []


def _date(t: float) -> date:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=t)).date()


def _every_day(first: float, last: float) -> Iterator[date]:
    for ordinal in range(math.ceil(first), math.floor(last) + 1):
        yield _date(ordinal)


def _every_month(first: float, last: float) -> Iterator[date]:
    year, month = _date(first).year, _date(first).month
    while days_of(date(year, month, 1)) <= last:
        if days_of(date(year, month, 1)) >= first:
            yield date(year, month, 1)
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
