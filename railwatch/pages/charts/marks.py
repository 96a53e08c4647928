"""The counts of a series as marks: points, intervals, bounds, rings of verdicts; and the legend of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.path import Path as Outline

from railwatch import words
from railwatch.history.words import maximum
from railwatch.pages.charts.style import (
    BLACK,
    GREY,
    LIGHT,
    METHOD_MARKS,
    OTHER_METHOD,
    PALE,
    PUBLISHED_COLOUR,
    PUBLISHER_MARKERS,
    SKY,
    VERMILION,
    MarkerStyle,
    broken_line,
    number_of,
    sign_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from railwatch.history import Record, Verdict
    from railwatch.history.history import History


_RING_PT, _OUTER_PT = 11.0, 14.5
_CROWDED = 120
_ARROW = Outline([(0, 4), (0, 13), (-2.6, 9.6), (0, 13), (2.6, 9.6)], [1, 2, 1, 2, 2])
"""From a mark upwards, in points; turned over for an upper bound."""


class DrawnSeries:
    """What is drawn, gathered once."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.records = history.shown()
        self.marks = publisher_marks(history)
        self.verdicts = {one.record.id: one for one in history.verdicts}
        self.numbers = {record.id: number for number, record in enumerate(history.records, start=1)}

    def gid(self, record: Record, part: str) -> str:
        """Return the ``gid`` of a part of a record's mark."""
        return f"mark.{self.numbers[record.id]}.{part}"

    def draw(
        self,
        axes: Axes,
        record: Record,
        part: str,
        value: float,
        marker: str | Outline,
        size: float,
        **look: Any,
    ) -> None:
        """Draw a part of a record's mark at a count; ``look`` as matplotlib's ``Line2D`` takes it."""
        at = [number_of(record.when)], [value]
        (drawn,) = axes.plot(*at, marker=marker, markersize=size, linestyle="none", **look)
        drawn.set_gid(self.gid(record, part))


def publisher_marks(history: History) -> dict[str, MarkerStyle]:
    """Return one mark for each publisher of counts in view, in order of appearance."""
    publishers = list(dict.fromkeys(one.source for one in history.shown() if one.method == "published"))
    return {
        publisher: MarkerStyle(
            PUBLISHER_MARKERS[index % len(PUBLISHER_MARKERS)],
            PUBLISHED_COLOUR,
            PUBLISHED_COLOUR,
            5.6,
            f"published: {publisher}" if publisher else "published",
        )
        for index, publisher in enumerate(publishers)
    }


def mark_of(record: Record, publishers: Mapping[str, MarkerStyle]) -> MarkerStyle:
    """Return how a record is drawn."""
    if record.method == "published":
        return publishers[record.source]
    return METHOD_MARKS.get(record.method, OTHER_METHOD)


def draw_records(axes: Axes, series: DrawnSeries, gap_days: float) -> None:
    """Draw every record: joined to its neighbours, with its interval or bound."""
    for method in dict.fromkeys(one.method for one in series.records):
        members = [one for one in series.records if one.method == method and one.value is not None]
        crowded = len(members) > _CROWDED
        if method != "published":
            _draw_line(axes, [one for one in members if one.kind in ("count", "range")], gap_days, crowded)
        for record in members:
            _draw_point(axes, series, record, 0.7 if crowded else 1.0)


def _draw_line(axes: Axes, members: Sequence[Record], gap_days: float, crowded: bool) -> None:
    """Join images of one method where they are near enough in time."""
    if len(members) < 2:
        return
    x = np.array([number_of(one.when) for one in members])
    y = np.array([one.value for one in members], dtype=float)
    line = broken_line(
        axes,
        x,
        y,
        gap_days,
        color=METHOD_MARKS.get(members[0].method, OTHER_METHOD).colour,
        linewidth=0.5 if crowded else 0.7,
        alpha=0.3 if crowded else 0.55,
        zorder=2,
    )
    line.set_gid(f"join.{members[0].method}")


def _draw_point(axes: Axes, series: DrawnSeries, record: Record, scale: float) -> None:
    mark = mark_of(record, series.marks)
    x, value = number_of(record.when), record.value or 0.0
    bound = record.kind in ("at least", "at most")
    if bound:
        down = Outline(np.asarray(_ARROW.vertices) * (1.0, -1.0), _ARROW.codes)
        arrow = _ARROW if record.kind == "at least" else down
        look = {"color": mark.colour, "markerfacecolor": "none", "markeredgewidth": 0.9, "zorder": 3}
        series.draw(axes, record, "arrow", value, arrow, 26.0, **look)
    elif record.low is not None and record.high is not None and record.high > record.low:
        bar = axes.vlines(
            x,
            record.low,
            record.high,
            color=mark.colour,
            linewidth=2.4 if record.kind == "range" else 0.9 * scale,
            alpha=0.8 if scale == 1.0 else 0.3,
            zorder=3,
        )
        bar.set_gid(series.gid(record, "interval"))
    series.draw(
        axes,
        record,
        "shape",
        value,
        mark.marker,
        mark.size * (0.85 if bound else scale),
        color=mark.colour,
        markerfacecolor="white" if bound else mark.face,
        markeredgewidth=0.9 * scale,
        zorder=4,
        clip_on=False,  # near 0 half of it would be missing
    )


def draw_ring(axes: Axes, series: DrawnSeries, record: Record) -> None:
    """Ring a date that stands out: twice if it is unprecedented, in dashes if it is low."""
    verdict = series.verdicts.get(record.id)
    if verdict is None or verdict.count is None or verdict.verdict not in _RINGS:
        return
    for part, size, width, dash in _RINGS[verdict.verdict]:
        # matplotlib draws no dashed markers: a ring is an arc of many points.
        ring = Outline.circle() if not dash else _dashed_circle()
        look = {"markerfacecolor": "none", "markeredgecolor": BLACK, "markeredgewidth": width, "zorder": 5}
        series.draw(axes, record, part, verdict.count, ring, size, **look)


_RINGS: Mapping[str, tuple[tuple[str, float, float, bool], ...]] = {
    "unprecedented": (("ring", _RING_PT, 1.3, False), ("outer", _OUTER_PT, 0.6, False)),
    "elevated": (("ring", _RING_PT, 0.8, False),),
    "low": (("ring", _RING_PT, 0.8, True),),
}


def _dashed_circle(dashes: int = 12) -> Outline:
    arcs = [Outline.arc(start, start + 180.0 / dashes) for start in np.arange(dashes) * 360.0 / dashes]
    return Outline.make_compound_path(*arcs)


def radius_of(series: DrawnSeries, record: Record) -> float:
    """How far a mark reaches, with its rings, in points."""
    verdict = series.verdicts.get(record.id)
    rings = _RINGS.get(verdict.verdict, ()) if verdict is not None and verdict.count is not None else ()
    return max([mark_of(record, series.marks).size, *(size for _, size, _, _ in rings)]) / 2.0 + 1.0


_UP = Outline([(0, -6), (0, 6), (-3, 2), (0, 6), (3, 2)], [1, 2, 1, 2, 2])


@dataclass(frozen=True)
class Key:
    """An entry of the legend.

    Attributes:
        handle: How it is drawn; its label says what it means.
        hides: The kind of marks that a reader can hide with it, or an empty text: a method, a publisher
            (``published.0`` and so on) or ``filtered``.
    """

    handle: Line2D | Patch
    hides: str = ""

    @property
    def label(self) -> str:
        """What it means."""
        return str(self.handle.get_label())


def keys_of(history: History, publishers: Mapping[str, MarkerStyle], opening: Verdict | None) -> list[Key]:
    """Return the legend of a history.

    Args:
        history: What is drawn.
        publishers: The marks of published counts.
        opening: The headline's verdict, if it has a look-back.
    """
    return [
        *_marks(history, publishers),
        *_verdict_words(history),
        *(_look_back(opening) if opening is not None else ()),
        *_ceilings(history),
        *_unseen(history),
    ]


def _marks(history: History, publishers: Mapping[str, MarkerStyle]) -> Iterator[Key]:
    records = history.shown()
    methods = dict.fromkeys(one.method for one in records if one.clear and one.method != "published")
    for method in methods:
        yield Key(sign_of(METHOD_MARKS.get(method, OTHER_METHOD)), method)
    for number, mark in enumerate(publishers.values()):
        yield Key(sign_of(mark), f"published.{number}")
    combined = history.combined()
    if combined:
        colour = METHOD_MARKS[combined[0].method].colour
        line = Line2D([], [], color=colour, linewidth=1.0, label="estimate from several images together")
        yield Key(line, "filtered")
    if any(one.kind == "at least" for one in records):
        yield Key(sign_of(MarkerStyle(_UP, GREY, "none", 9.0, "at least so many")))
    if any(one.kind == "missing" for one in records):
        yield Key(sign_of(MarkerStyle("x", VERMILION, VERMILION, 4.0, "image without an answer")))


def _verdict_words(history: History) -> Iterator[Key]:
    said = {one.verdict for one in history.verdicts if one.count is not None}
    if "unprecedented" in said:
        ring = MarkerStyle("o", BLACK, "none", 7.5, "unprecedented (two rings)")
        handle = sign_of(ring)
        handle.set_markeredgewidth(2.2)
        yield Key(handle)
    if "elevated" in said:
        yield Key(sign_of(MarkerStyle("o", BLACK, "none", 7.5, "elevated (one ring)")))
    if "low" in said:
        yield Key(sign_of(MarkerStyle("o", GREY, "none", 7.5, "low (a dashed ring)")))


def _look_back(verdict: Verdict) -> Iterator[Key]:
    start, end = verdict.window
    span = words.sentence_case(words.length_of(start, end))
    label = f"{span} that {words.day(verdict.record.day)} is compared with"
    yield Key(Patch(facecolor=PALE, edgecolor=LIGHT, linewidth=0.4, label=label))
    if verdict.maximum is not None:
        label = f"most known in that time: {maximum(verdict.maximum)}"
        yield Key(Line2D([], [], color=BLACK, linewidth=0.8, linestyle=(0, (5, 2)), label=label))
    if verdict.expected_low is not None and verdict.expected_high is not None:
        label = f"to be expected on that day: {words.interval(verdict.expected_low, verdict.expected_high)}"
        yield Key(Patch(facecolor=SKY, alpha=0.7, linewidth=0, label=label))


def _ceilings(history: History) -> Iterator[Key]:
    edge = PUBLISHED_COLOUR
    for ceiling in history.ceilings()[:2]:
        source = f" ({ceiling.source})" if ceiling.source else ""
        label = f"at most about {words.number(ceiling.value or 0.0)} on any day{source}"
        yield Key(Patch(facecolor="none", edgecolor=edge, hatch="////", linewidth=0.8, label=label))


def _unseen(history: History) -> Iterator[Key]:
    if history.unseen():
        label = "no image for half a year or more"
        yield Key(Patch(facecolor=PALE, edgecolor=LIGHT, hatch="\\\\\\", linewidth=0.4, label=label))
