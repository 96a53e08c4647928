"""Counts over time: what lies behind them, intervals, methods told apart, published counts, gaps left open.

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

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.patheffects import withStroke

from railwatch import words
from railwatch.history.words import headline
from railwatch.pages.charts.frame import Page, event_key, number_events, strip_of_images
from railwatch.pages.charts.labels import draw_labels, text_width
from railwatch.pages.charts.marks import DrawnSeries, Key, draw_records, draw_ring, keys_of, publisher_marks
from railwatch.pages.charts.style import (
    BLACK,
    GREY,
    LIGHT,
    METHOD_MARKS,
    PAGE,
    PALE,
    PUBLISHED_COLOUR,
    SKY,
    SMALL_PT,
    PageStyle,
    count_axis,
    date_axis,
    drawing,
    number_of,
    say_nothing,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    from railwatch.history import Record, Verdict
    from railwatch.history.combined import Filtered
    from railwatch.history.history import History


GAP_DAYS = 21.0
"""No line is drawn across a longer time without an image."""

_BODY_MM, _STRIP_MM, _STRIP_ROOM_MM = 82.0, 7.0, 17.0
_LEGEND_MM = 29.0
"""What a legend's entry has beside its words: margins and sign."""


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
    ticks: float
    first: float
    last: float
    top_value: float


def draw_series(history: History, style: PageStyle = PAGE, *, gap_days: float = GAP_DAYS) -> Figure:
    """Draw the counts of a place over time.

    Args:
        history: What to draw.
        style: Size and type.
        gap_days: Longest time between two images that a line may cross.
    """
    first, last = history.span()
    series = DrawnSeries(history)
    ceilings = history.ceilings()
    opening = _opening(history)
    with drawing(style):
        page = _page(series, opening, style)
        height = page.body_mm
        axes = page.axes(0.0, height - _STRIP_ROOM_MM)
        strip = page.axes(height - _STRIP_ROOM_MM + 3.0, _STRIP_MM, share=axes)
        most = max(3, round(style.width_mm / 19.0))
        count_axis(axes, _highest(series, ceilings))
        date_axis(axes, first, last, most)
        axes.tick_params(axis="x", labelbottom=False, length=0)
        axes.spines["bottom"].set_color(LIGHT)
        if opening is not None:
            draw_window(axes, opening, style)
        for number, (start, end) in enumerate(history.unseen()):
            draw_unseen(axes, number_of(start), number_of(end), f"unseen.{number}")
        for ceiling in ceilings:
            draw_ceiling(axes, ceiling, f"ceiling.{series.numbers[ceiling.id]}")
        number_events(axes, history.events, first, last)
        draw_combined(axes, history.combined(), gap_days)
        draw_records(axes, series, gap_days)
        for record in series.records:
            draw_ring(axes, series, record)
        strip_of_images(strip, series.records, first, last, series.numbers)
        date_axis(strip, first, last, most)
        if not series.records:
            say_nothing(axes, "no dated count in this period")
        draw_labels(axes, series, opening, style)
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
        ticks=(1.0 - below.y0) * height,
        first=float(first),
        last=float(last),
        top_value=float(axes.get_ylim()[1]),
    )


def _opening(history: History) -> Verdict | None:
    """The headline's verdict, where it has a look-back worth showing."""
    verdict = history.foremost()
    return verdict if verdict is not None and verdict.probability_exceedance is not None else None


def legend_keys(history: History) -> list[Key]:
    """Return the legend of a history's series, as the chart and the page show it."""
    return keys_of(history, publisher_marks(history), _opening(history))


def _page(series: DrawnSeries, opening: Verdict | None, style: PageStyle) -> Page:
    if style.bare:
        body = min(max(style.width_mm * 0.42, 72.0), 108.0)
        return Page(style, body, None, "", legend_mm=4.0)
    history = series.history
    key = event_key(history.events, *history.span())
    handles = [one.handle for one in legend_keys(history)]
    columns = _columns(handles, style.width_pt - 50.0)
    rows = -(-len(handles) // columns)
    if columns == 1:
        for handle in handles:
            # As wide as a line of the notes, which leaves room for the sign.
            lines = wrapped(str(handle.get_label()), style.width_mm - _LEGEND_MM, SMALL_PT + 0.2)
            handle.set_label("\n".join(lines))
        rows = sum(str(handle.get_label()).count("\n") + 1 for handle in handles)
    foremost = history.foremost()
    page = Page(
        style,
        _BODY_MM,
        history,
        _subtitle(series.records),
        [key, "" if foremost is None else foremost.sentence],
        title="" if foremost is None else f"{history.title}: {headline(foremost)}",
        legend_mm=rows * 4.1 + 3.0 + (4.0 if key else 0.0),
    )
    page.legend(handles, columns)
    return page


def _columns(handles: Sequence[Line2D | Patch], room_pt: float) -> int:
    """Return in how many columns a legend fits; matplotlib fills one column after the other."""
    if not handles:
        return 1
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


def _highest(series: DrawnSeries, ceilings: Sequence[Record]) -> float:
    values = [one.high if one.high is not None else one.value for one in (*series.records, *ceilings)]
    values += [one.high for one in series.history.combined()]
    return max((value for value in values if value is not None), default=0.0)


_LABEL_ROOM_PT = 150.0


def window_label(verdict: Verdict, first: float) -> str:
    """Return what is written into the shade of a look-back; its beginning where the drawing starts later."""
    begins = verdict.window[0]
    since = f", from {begins} on" if number_of(begins) < first else ""
    return f"look-back of {verdict.record.day}{since}"


def draw_window(axes: Axes, verdict: Verdict, style: PageStyle) -> None:
    """Shade the look-back window of a verdict and, inside, what it lets one expect."""
    start, end = (number_of(day) for day in verdict.window)
    first, last = axes.get_xlim()
    if (end - max(start, first)) / (last - first) * style.width_pt > _LABEL_ROOM_PT:
        text = axes.annotate(
            window_label(verdict, first),
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
        if not style.bare:
            # Hatching may lie under it; the page has the same in its style sheet.
            text.set_path_effects([withStroke(linewidth=2.4, foreground=PALE)])
    area = axes.axvspan(start, end + 1.0, facecolor=PALE, linewidth=0, zorder=0.1)
    area.set_gid("window.area")
    if verdict.maximum is not None:
        (line,) = axes.plot(
            [start, number_of(verdict.datetime)],
            [verdict.maximum.cars] * 2,
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


def draw_unseen(axes: Axes, start: float, end: float, gid: str) -> None:
    """Hatch a part of the look-back that no image shows."""
    axes.axvspan(
        start, end, facecolor="none", edgecolor=LIGHT, hatch="\\\\\\", linewidth=0, zorder=0.2
    ).set_gid(gid)


def draw_ceiling(axes: Axes, ceiling: Record, gid: str) -> None:
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


def draw_combined(axes: Axes, combined: Sequence[Filtered], gap_days: float) -> None:
    """Draw what several images say together: a thin line in its band, broken where no image is near.

    The images of each constellation have a line of their own.
    """
    pieces: list[list[Filtered]] = []
    for one in sorted(combined, key=lambda one: (one.method, one.when, one.id)):
        last = pieces[-1][-1] if pieces else None
        if last is None or last.method != one.method or number_of(one.when) - number_of(last.when) > gap_days:
            pieces.append([])
        pieces[-1].append(one)
    for number, members in enumerate(pieces):
        colour = METHOD_MARKS[members[0].method].colour
        x = np.array([number_of(one.when) for one in members])
        low, high = [one.low for one in members], [one.high for one in members]
        band = axes.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0, zorder=1.2)
        band.set_gid(f"filtered.band.{number}")
        (line,) = axes.plot(x, [one.value for one in members], color=colour, linewidth=1.0, zorder=1.8)
        line.set_gid(f"filtered.line.{number}")
