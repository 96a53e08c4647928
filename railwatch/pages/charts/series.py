"""Counts over time: intervals, methods told apart, published counts, the look-back, gaps left open.

The one drawing of a history: `railwatch chart` writes it to a file, and the report takes the same drawing as
SVG. Every artist that a reader of the report can point at, hide or move has a ``gid``:

=====================  =================================================================================
``mark.N.PART``        of record number N of the history (from 1): ``shape``, ``interval``, ``ring``,
                       ``outer``, ``arrow``, ``label``, ``leader``
``look.N``             its tick in the strip of images
``join.METHOD``        the line through images of a method; ``filtered.line.I``, ``filtered.band.I``
``window.PART``        the look-back of the headline: ``area``, ``max``; ``expected``; ``unseen.I``
``ceiling.N.PART``     a published ceiling: ``area``, ``edge``; ``flag.I.PART`` an event
=====================  =================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.path import Path as Outline

from railwatch import words
from railwatch.history.words import headline
from railwatch.pages.charts.frame import Page, event_key, number_events, strip_of_images
from railwatch.pages.charts.labels import Box, place_labels, text_width
from railwatch.pages.charts.legend import Key, keys_of
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
    SMALL_PT,
    MarkerStyle,
    PageStyle,
    count_axis,
    date_axis,
    drawing,
    number_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    from railwatch.history import Record, Verdict
    from railwatch.history.filter import Filtered
    from railwatch.pages.charts.history import History

__all__ = [
    "GAP_DAYS",
    "SeriesFrame",
    "draw_series",
    "frame_of",
    "legend_keys",
    "mark_of",
    "publisher_marks",
    "window_label",
]

COMBINED = "occupancy"
"""The method whose images are combined."""
GAP_DAYS = 21.0
"""No line is drawn across a longer time without an image."""

_BODY_MM, _STRIP_MM, _STRIP_ROOM_MM = 82.0, 7.0, 17.0
_RING_PT, _OUTER_PT = 11.0, 14.5
_CROWDED = 120
_LABEL_ROOM_PT = 150.0
_ARROW = Outline([(0, 4), (0, 13), (-2.6, 9.6), (0, 13), (2.6, 9.6)], [1, 2, 1, 2, 2])
"""From a mark upwards, in points; turned over for an upper bound."""


@dataclass(frozen=True)
class SeriesFrame:
    """Where the axes of a drawn series lie, in points from the page's upper left corner.

    Attributes:
        width: Of the page.
        height: Of the page.
        left: Of the count axis.
        right: End of the time axis.
        top: Where ``top_value`` is.
        floor: Where 0 is.
        strip: Middle of the strip of images.
        ticks: Where the time axis is.
        first: Days since 1970 at the left.
        last: Days since 1970 at the right.
        top_value: Freight cars at the top.
    """

    width: float
    height: float
    left: float
    right: float
    top: float
    floor: float
    strip: float
    ticks: float
    first: float
    last: float
    top_value: float


@dataclass
class _Series:
    """What is drawn, gathered once."""

    history: History
    records: list[Record]
    marks: dict[str, MarkerStyle]
    verdicts: dict[str, Verdict]
    numbers: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.numbers = {record.id: number for number, record in enumerate(self.history.records, start=1)}

    def gid(self, record: Record, part: str) -> str:
        return f"mark.{self.numbers[record.id]}.{part}"


def draw_series(history: History, style: PageStyle | None = None, *, gap_days: float = GAP_DAYS) -> Figure:
    """Draw the counts of a place over time.

    Args:
        history: What to draw.
        style: Size and type.
        gap_days: Longest time between two images that a line may cross.
    """
    chosen = style or PageStyle()
    first, last = history.span()
    series = _Series(
        history, history.shown(), publisher_marks(history), {one.record.id: one for one in history.verdicts}
    )
    ceilings = history.ceilings()
    opening = _opening(history)
    with drawing(chosen):
        page = _page(series, opening, chosen)
        height = page.body_mm
        axes = page.axes(0.0, height - _STRIP_ROOM_MM)
        strip = page.axes(height - _STRIP_ROOM_MM + 3.0, _STRIP_MM, share=axes)
        most = max(3, round(chosen.width_mm / 19.0))
        count_axis(axes, _highest(series, ceilings))
        date_axis(axes, first, last, most)
        axes.tick_params(axis="x", labelbottom=False, length=0)
        axes.spines["bottom"].set_color(LIGHT)
        if opening is not None:
            _draw_window(axes, opening, chosen)
        for number, (start, end) in enumerate(history.unseen()):
            _draw_unseen(axes, number_of(start), number_of(end), f"unseen.{number}")
        for ceiling in ceilings:
            _draw_ceiling(axes, ceiling, f"ceiling.{series.numbers[ceiling.id]}")
        number_events(axes, history.events, first, last)
        _draw_combined(axes, history.combined(), gap_days)
        _draw_records(axes, series, gap_days)
        for record in series.records:
            _draw_ring(axes, series, record)
        strip_of_images(strip, series.records, first, last, series.numbers)
        date_axis(strip, first, last, most)
        if not series.records:
            axes.text(
                0.5,
                0.5,
                "no dated count in this period",
                transform=axes.transAxes,
                ha="center",
                va="center",
                color=GREY,
            )
        _draw_labels(axes, series, opening, chosen)
        return page.figure


def frame_of(figure: Figure) -> SeriesFrame:
    """Return where the axes of a series that `draw_series` drew lie."""
    axes, strip = figure.axes[:2]
    width, height = (float(inches) * 72.0 for inches in figure.get_size_inches())
    box, below = axes.get_position(), strip.get_position()
    first, last = axes.get_xlim()
    return SeriesFrame(
        width=width,
        height=height,
        left=box.x0 * width,
        right=box.x1 * width,
        top=(1.0 - box.y1) * height,
        floor=(1.0 - box.y0) * height,
        strip=(1.0 - (below.y0 + below.y1) / 2.0) * height,
        ticks=(1.0 - below.y0) * height,
        first=float(first),
        last=float(last),
        top_value=float(axes.get_ylim()[1]),
    )


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


def _opening(history: History) -> Verdict | None:
    """The headline's verdict, where it has a look-back worth showing."""
    verdict = history.foremost()
    return verdict if verdict is not None and verdict.probability_exceedance is not None else None


def legend_keys(history: History) -> list[Key]:
    """Return the legend of a history's series, as the chart and the page show it."""
    return keys_of(history, publisher_marks(history), _opening(history))


def _page(series: _Series, opening: Verdict | None, style: PageStyle) -> Page:
    if style.bare:
        body = min(max(style.width_mm * 0.42, 72.0), 108.0)
        return Page(style, body, "", "", [], legend_mm=4.0)
    history = series.history
    key = event_key(history.events, *history.span())
    handles = [one.handle for one in legend_keys(history)]
    columns = _columns(handles, style.width_pt - 50.0)
    rows = -(-len(handles) // columns)
    foremost = history.foremost()
    title = history.title if foremost is None else f"{history.title}: {headline(foremost)}"
    page = Page(
        style,
        _BODY_MM,
        title,
        _subtitle(series.records),
        [key, "" if foremost is None else foremost.sentence, history.credits()],
        legend_mm=rows * 4.1 + 3.0 + (4.0 if key else 0.0),
    )
    page.legend(handles, columns)
    return page


def _columns(handles: Sequence[Line2D | Patch], room_pt: float) -> int:
    """Return in how many columns a legend fits; matplotlib fills one column after the other."""
    wide = [text_width(str(one.get_label()), SMALL_PT + 0.2) + 33.0 for one in handles]
    for columns in (4, 3, 2):
        rows = -(-len(wide) // columns)
        if sum(max(wide[at : at + rows]) for at in range(0, len(wide), rows)) <= room_pt:
            return columns
    return 1


def _subtitle(records: Sequence[Record]) -> str:
    counted = [one for one in records if one.clear]
    silent = len(records) - len(counted)
    if not counted:
        return "Freight cars"
    days = len({one.day for one in counted})
    span = f"{counted[0].day}" if days == 1 else f"{counted[0].day} to {counted[-1].day}"
    text = f"Freight cars on {words.plural(days, 'day')}, {span}"
    if any(one.low is not None and one.high is not None and one.high > one.low for one in counted):
        text += "; bars are 90% intervals"
    return text + (f"; {words.plural(silent, 'image')} without an answer" if silent else "")


def _highest(series: _Series, ceilings: Sequence[Record]) -> float:
    values = [one.high if one.high is not None else one.value for one in (*series.records, *ceilings)]
    values += [one.high for one in series.history.combined()]
    return max((value for value in values if value is not None), default=0.0)


# ---- what lies behind the counts -----------------------------------------------------------------


def window_label(record: Record) -> str:
    """Return what is written into the shade of a look-back."""
    return f"look-back of {record.day}"


def _draw_window(axes: Axes, verdict: Verdict, style: PageStyle) -> None:
    """Shade the look-back window of a verdict and, inside, what it lets one expect."""
    start, end = (number_of(day) for day in verdict.window)
    first, last = axes.get_xlim()
    if (end - max(start, first)) / (last - first) * style.width_pt > _LABEL_ROOM_PT:
        text = axes.annotate(
            window_label(verdict.record),
            (max(start, first), 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(4.0, -4.0),
            textcoords="offset points",
            ha="left",
            va="top",
            fontsize=SMALL_PT,
            color=GREY,
        )
        text.set_gid("window.label")
    area = axes.axvspan(start, end + 1.0, facecolor=PALE, linewidth=0, zorder=0.1)
    area.set_gid("window.area")
    if verdict.maximum is not None:
        (line,) = axes.plot(
            [start, number_of(verdict.datetime)],
            [verdict.maximum.value] * 2,
            color=BLACK,
            linewidth=0.8,
            linestyle=(0, (5, 2)),
            zorder=2,
        )
        line.set_gid("window.max")
    if verdict.expected_low is not None and verdict.expected_high is not None:
        bar = axes.vlines(
            number_of(verdict.datetime),
            verdict.expected_low,
            max(verdict.expected_high, 0.5),
            color=SKY,
            linewidth=5.0,
            alpha=0.7,
            zorder=1.5,
        )
        bar.set_gid("expected")


def _draw_unseen(axes: Axes, start: float, end: float, gid: str) -> None:
    """Hatch a part of the look-back that no image shows."""
    axes.axvspan(
        start, end, facecolor="none", edgecolor=LIGHT, hatch="\\\\\\", linewidth=0, zorder=0.2
    ).set_gid(gid)


def _draw_ceiling(axes: Axes, ceiling: Record, gid: str) -> None:
    """Draw a published ceiling as a bar that the counts of its period stayed under."""
    value = ceiling.value or 0.0
    start, end = number_of(ceiling.day), number_of(ceiling.until)
    axes.fill_between(
        [start, end],
        0.0,
        value,
        facecolor="none",
        edgecolor=PUBLISHED_COLOUR,
        hatch="////",
        alpha=0.45,
        linewidth=0,
        zorder=0.7,
    ).set_gid(f"{gid}.area")
    (edge,) = axes.plot([start, end], [value, value], color=PUBLISHED_COLOUR, linewidth=1.6, zorder=2.5)
    edge.set_gid(f"{gid}.edge")


def _draw_combined(axes: Axes, combined: Sequence[Filtered], gap_days: float) -> None:
    """Draw what several images say together: a thin line in its band, broken where no image is near."""
    if not combined:
        return
    x = np.array([number_of(one.when) for one in combined])
    breaks = np.flatnonzero(np.diff(x) > gap_days) + 1
    colour = METHOD_MARKS[COMBINED].colour
    for number, part in enumerate(np.split(np.arange(len(combined)), breaks)):
        members = [combined[index] for index in part]
        low, high = [one.low for one in members], [one.high for one in members]
        band = axes.fill_between(x[part], low, high, color=colour, alpha=0.13, linewidth=0, zorder=1.2)
        band.set_gid(f"filtered.band.{number}")
        (line,) = axes.plot(x[part], [one.value for one in members], color=colour, linewidth=1.0, zorder=1.8)
        line.set_gid(f"filtered.line.{number}")


# ---- the counts ----------------------------------------------------------------------------------


def _draw_records(axes: Axes, series: _Series, gap_days: float) -> None:
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
    breaks = np.flatnonzero(np.diff(x) > gap_days) + 1
    (line,) = axes.plot(
        np.insert(x, breaks, np.nan),
        np.insert(y, breaks, np.nan),
        color=METHOD_MARKS.get(members[0].method, OTHER_METHOD).colour,
        linewidth=0.5 if crowded else 0.7,
        alpha=0.3 if crowded else 0.55,
        zorder=2,
    )
    line.set_gid(f"join.{members[0].method}")


def _draw_point(axes: Axes, series: _Series, record: Record, scale: float) -> None:
    mark = mark_of(record, series.marks)
    x, value = number_of(record.when), record.value or 0.0
    bound = record.kind in ("at least", "at most")
    if bound:
        arrow = _ARROW if record.kind == "at least" else Outline(_ARROW.vertices * (1, -1), _ARROW.codes)
        (drawn,) = axes.plot([x], [value], marker=arrow, markersize=26.0, color=mark.colour, zorder=3)
        drawn.set(markerfacecolor="none", markeredgewidth=0.9, linestyle="none")
        drawn.set_gid(series.gid(record, "arrow"))
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
    (point,) = axes.plot(
        [x],
        [value],
        mark.marker,
        color=mark.colour,
        markerfacecolor="white" if bound else mark.face,
        markersize=mark.size * (0.85 if bound else scale),
        markeredgewidth=0.9 * scale,
        zorder=4,
        clip_on=value > 0,
    )
    point.set_gid(series.gid(record, "shape"))


def _draw_ring(axes: Axes, series: _Series, record: Record) -> None:
    """Ring a date that stands out: twice if it is unprecedented, in dashes if it is low."""
    verdict = series.verdicts.get(record.id)
    if verdict is None or verdict.count is None or verdict.verdict not in _RINGS:
        return
    for part, size, width, dash in _RINGS[verdict.verdict]:
        # matplotlib draws no dashed markers: a ring is an arc of many points.
        ring = Outline.circle() if not dash else _dashed_circle()
        (drawn,) = axes.plot(
            [number_of(record.when)],
            [verdict.count],
            marker=ring,
            markersize=size,
            markerfacecolor="none",
            markeredgecolor=BLACK,
            markeredgewidth=width,
            linestyle="none",
            zorder=5,
        )
        drawn.set_gid(series.gid(record, part))


_RINGS: Mapping[str, tuple[tuple[str, float, float, bool], ...]] = {
    "unprecedented": (("ring", _RING_PT, 1.3, False), ("outer", _OUTER_PT, 0.6, False)),
    "elevated": (("ring", _RING_PT, 0.8, False),),
    "low": (("ring", _RING_PT, 0.8, True),),
}


def _dashed_circle(dashes: int = 12) -> Outline:
    arcs = [Outline.arc(start, start + 180.0 / dashes) for start in np.arange(dashes) * 360.0 / dashes]
    return Outline.make_compound_path(*arcs)


# ---- labels --------------------------------------------------------------------------------------


def _draw_labels(axes: Axes, series: _Series, opening: Verdict | None, style: PageStyle) -> None:
    """Write count and word beside the foremost marks: the headline's first, and none on another mark."""
    labelled = _labelled(
        series, opening, most=1 if style.width_pt < 300 else 3 if style.width_pt < 450 else 6
    )
    if not labelled:
        return
    scale = 72.0 / axes.figure.dpi

    def at(record: Record, value: float) -> tuple[float, float]:
        x, y = axes.transData.transform((number_of(record.when), value)) * scale
        return float(x), float(y)

    (x0, y0), (x1, y1) = (axes.transAxes.transform(corner) * scale for corner in ((0, 0), (1, 1)))
    obstacles, lines = [], []
    for record in series.records:
        if record.value is None:
            continue
        (x, y), radius = at(record, record.value), _radius(series, record)
        obstacles.append(Box(x - radius, y - radius, x + radius, y + radius))
        if record.kind in ("at least", "at most"):
            up, down = (14.0, 0.0) if record.kind == "at least" else (0.0, 14.0)
            obstacles.append(Box(x - 3.0, y - down, x + 3.0, y + up))
        elif record.low is not None and record.high is not None:
            obstacles.append(Box(x - 1.0, at(record, record.low)[1], x + 1.0, at(record, record.high)[1]))
    if opening is not None:
        x, low = at(opening.record, opening.expected_low or 0.0)
        obstacles.append(Box(x - 3.5, low, x + 3.5, at(opening.record, opening.expected_high or 0.0)[1]))
        obstacles.append(Box(float(x0), float(y1) - 14.0, float(x0) + 120.0, float(y1) + 2.0))
        if opening.maximum is not None:
            line = at(opening.record, opening.maximum.value)
            lines.append(Box(x0, line[1] - 0.5, line[0], line[1] + 0.5))
    texts = [_label(one, short=style.width_pt < 300) for one in labelled]
    anchors = [(*at(one.record, one.count or 0.0), _radius(series, one.record)) for one in labelled]
    frame = Box(float(x0), float(y0) + 1.0, float(x1) + 8.0, float(y1) + 2.0)
    for label in place_labels(anchors, texts, SMALL_PT, obstacles, lines, frame):
        verdict = labelled[label.index]
        text = axes.annotate(
            texts[label.index],
            (number_of(verdict.datetime), verdict.count or 0.0),
            xytext=(label.dx, label.dy),
            textcoords="offset points",
            ha=label.align,
            va="center",
            fontsize=SMALL_PT,
            fontweight="bold" if verdict is labelled[0] else "normal",
            color=BLACK,
            zorder=6,
            parse_math=False,
        )
        text.set_gid(series.gid(verdict.record, "label"))
        if label.far:
            _draw_leader(axes, series, verdict, label.dx, label.dy)


def _draw_leader(axes: Axes, series: _Series, verdict: Verdict, dx: float, dy: float) -> None:
    """Lead from a mark to a label that stands off, as a marker so that it moves with them."""
    length = float(np.hypot(dx, dy)) or 1.0
    start = min(_radius(series, verdict.record) / length, 0.9)
    path = Outline([(dx * start, dy * start), (dx * 0.96, dy * 0.96)])
    (line,) = axes.plot(
        [number_of(verdict.datetime)],
        [verdict.count or 0.0],
        marker=path,
        markersize=2.0 * float(np.abs(path.vertices).max()),
        markeredgecolor=GREY,
        markeredgewidth=0.5,
        linestyle="none",
        zorder=5.5,
    )
    line.set_gid(series.gid(verdict.record, "leader"))


def _radius(series: _Series, record: Record) -> float:
    """How far a mark reaches, with its rings, in points."""
    verdict = series.verdicts.get(record.id)
    rings = _RINGS.get(verdict.verdict, ()) if verdict is not None and verdict.count is not None else ()
    return max([mark_of(record, series.marks).size, *(size for _, size, _, _ in rings)]) / 2.0 + 1.0


def _labelled(series: _Series, opening: Verdict | None, most: int) -> list[Verdict]:
    """Return the verdicts to name: the headline's, then the foremost ones, one a day, our own before others'."""
    shown = {one.id for one in series.records}
    notable = [
        one
        for one in series.verdicts.values()
        if one.record.id in shown and one.count is not None and one.verdict in ("unprecedented", "elevated")
    ]
    notable.sort(
        key=lambda one: (
            one.verdict != "unprecedented",
            -(one.count or 0.0),
            one.record.method == "published",
            one.datetime,
        )
    )
    first = [] if opening is None or opening.count is None else [opening]
    found = {one.record.day: one for one in reversed([*first, *notable])}
    ordered = [one for one in [*first, *notable] if found[one.record.day] is one]
    return (
        list(dict.fromkeys(ordered))[:most] if not first else [first[0], *_others(ordered, first[0])][:most]
    )


def _others(ordered: Sequence[Verdict], first: Verdict) -> list[Verdict]:
    return [one for one in ordered if one is not first and one.record.day != first.record.day]


def _label(verdict: Verdict, *, short: bool) -> str:
    bound = {"at least": "\u2265 ", "at most": "\u2264 "}.get(verdict.record.kind, "")
    word = verdict.verdict if short else verdict.label
    return f"{bound}{words.number(verdict.count or 0.0)}  {word}"
