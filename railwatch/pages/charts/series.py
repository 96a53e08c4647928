"""Counts over time: intervals, methods told apart, published counts, the look-back, gaps left open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from railwatch.pages.charts.frame import Page, event_key, number_events, strip_of_looks
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
    cars,
    count_axis,
    date_axis,
    drawing,
    number_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from railwatch.history import Record, Verdict
    from railwatch.history.filter import Filtered
    from railwatch.history.history import History

COMBINED = "occupancy"
"""The method whose looks are combined."""
GAP_DAYS = 21.0
"""No line is drawn across a longer time without a look."""

_MOST_LABELS = 8


def draw_series(history: History, style: PageStyle | None = None, *, gap_days: float = GAP_DAYS) -> Figure:
    """Draw the counts of a place over time.

    Args:
        history: What to draw.
        style: Size and type.
        gap_days: Longest time between two looks that a line may cross.
    """
    chosen = style or PageStyle()
    first, last = history.span()
    records = history.shown()
    ceilings = history.ceilings()
    headline = history.headline()
    marks = publisher_marks(history)
    with drawing(chosen):
        handles = _legend(records, ceilings, marks, history, headline)
        key = event_key(history.events, first, last)
        columns = 3
        rows = -(-len(handles) // columns)
        page = Page(
            chosen,
            82.0,
            history.title,
            _subtitle(records),
            [key, _explained(headline), history.credits()],
            legend_mm=rows * 4.1 + 3.0 + (4.0 if key else 0.0),
        )
        height = page.body_mm
        axes = page.axes(0.0, height - 17.0)
        strip = page.axes(height - 14.0, 7.0, share=axes)
        count_axis(axes, _highest(records, ceilings))
        date_axis(axes, first, last)
        axes.tick_params(axis="x", labelbottom=False, length=0)
        axes.spines["bottom"].set_color(LIGHT)
        if headline is not None:
            _draw_window(axes, headline)
        for ceiling in ceilings:
            _draw_ceiling(axes, ceiling)
        number_events(axes, history.events, first, last)
        _draw_combined(axes, history.combined(), gap_days)
        _draw_records(axes, records, marks, gap_days)
        _draw_verdicts(axes, [one for one in history.verdicts if first <= one.record.day <= last])
        strip_of_looks(strip, records, first, last)
        date_axis(strip, first, last)
        if not records:
            axes.text(
                0.5,
                0.5,
                "no dated count in this period",
                transform=axes.transAxes,
                ha="center",
                va="center",
                color=GREY,
            )
        page.legend(handles, columns)
        return page.figure


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


def mark_of(record: Record, publishers: dict[str, MarkerStyle]) -> MarkerStyle:
    """Return how a record is drawn."""
    if record.method == "published":
        return publishers[record.source]
    return METHOD_MARKS.get(record.method, OTHER_METHOD)


def _subtitle(records: Sequence[Record]) -> str:
    counted = [one for one in records if one.clear]
    silent = len(records) - len(counted)
    if not counted:
        return "Freight cars"
    looks = len({one.day for one in counted})
    days = f"{counted[0].day}" if looks == 1 else f"{counted[0].day} to {counted[-1].day}"
    text = f"Freight cars on {looks} {'day' if looks == 1 else 'days'}, {days}"
    if any(one.low is not None and one.high is not None and one.high > one.low for one in counted):
        text += "; bars are 90% intervals"
    return text + (f"; {silent} {'look' if silent == 1 else 'looks'} without an answer" if silent else "")


def _explained(headline: Verdict | None) -> str:
    return "" if headline is None else headline.sentence


def _highest(records: Sequence[Record], ceilings: Sequence[Record]) -> float:
    values = [one.high if one.high is not None else one.value for one in (*records, *ceilings)]
    return max((value for value in values if value is not None), default=0.0)


def _draw_window(axes: Axes, verdict: Verdict) -> None:
    """Shade the look-back window of a verdict and, inside, what it lets one expect."""
    start, end = (number_of(day) for day in verdict.window)
    axes.axvspan(start, end, facecolor=PALE, alpha=0.55, linewidth=0, zorder=0.1)
    maximum = verdict.maximum
    if maximum is not None:
        axes.plot(
            [start, number_of(verdict.record.day)],
            [maximum.value] * 2,
            color=BLACK,
            linewidth=0.8,
            linestyle=(0, (5, 2)),
            zorder=2,
        )
    if verdict.expected_low is not None and verdict.expected_high is not None:
        axes.vlines(
            number_of(verdict.datetime),
            verdict.expected_low,
            max(verdict.expected_high, 0.5),
            color=SKY,
            linewidth=5.0,
            alpha=0.7,
            zorder=1.5,
        )


def _draw_ceiling(axes: Axes, ceiling: Record) -> None:
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
        zorder=0.5,
    )
    axes.plot([start, end], [value, value], color=PUBLISHED_COLOUR, linewidth=1.6, zorder=2.5)


def _draw_combined(axes: Axes, combined: Sequence[Filtered], gap_days: float) -> None:
    """Draw what several looks say together: a thin line in its band, broken where no look is near."""
    if not combined:
        return
    x = np.array([number_of(one.when) for one in combined])
    breaks = np.flatnonzero(np.diff(x) > gap_days) + 1
    colour = METHOD_MARKS[COMBINED].colour
    for part in np.split(np.arange(len(combined)), breaks):
        members = [combined[index] for index in part]
        low, high = [one.low for one in members], [one.high for one in members]
        axes.fill_between(x[part], low, high, color=colour, alpha=0.13, linewidth=0, zorder=1.2)
        axes.plot(x[part], [one.value for one in members], color=colour, linewidth=1.0, zorder=1.8)


def _draw_records(
    axes: Axes, records: Sequence[Record], publishers: dict[str, MarkerStyle], gap_days: float
) -> None:
    for method in dict.fromkeys(one.method for one in records):
        members = [one for one in records if one.method == method and one.value is not None]
        crowded = len(members) > 120
        if method != "published":
            _draw_line(axes, [one for one in members if one.kind in ("count", "range")], gap_days, crowded)
        for record in members:
            mark = mark_of(record, publishers)
            _draw_point(axes, record, mark, 0.7 if crowded else 1.0)


def _draw_line(axes: Axes, members: Sequence[Record], gap_days: float, crowded: bool) -> None:
    """Join looks of one method where they are near enough in time."""
    if len(members) < 2:
        return
    x = np.array([number_of(one.when) for one in members])
    y = np.array([one.value for one in members], dtype=float)
    breaks = np.flatnonzero(np.diff(x) > gap_days) + 1
    colour = METHOD_MARKS.get(members[0].method, OTHER_METHOD).colour
    axes.plot(
        np.insert(x, breaks, np.nan),
        np.insert(y, breaks, np.nan),
        color=colour,
        linewidth=0.5 if crowded else 0.7,
        alpha=0.3 if crowded else 0.55,
        zorder=2,
    )


def _draw_point(axes: Axes, record: Record, mark: MarkerStyle, scale: float) -> None:
    x = number_of(record.when)
    value = record.value or 0.0
    if record.kind in ("at least", "at most"):
        up = record.kind == "at least"
        axes.annotate(
            "",
            xy=(x, value),
            xytext=(0, 13 if up else -13),
            textcoords="offset points",
            arrowprops={
                "arrowstyle": "<-",
                "color": mark.colour,
                "linewidth": 0.9,
                "shrinkA": 0,
                "shrinkB": 0,
            },
            zorder=3,
            annotation_clip=True,
        )
        axes.plot(
            [x],
            [value],
            mark.marker,
            color=mark.colour,
            markerfacecolor="white",
            markersize=mark.size * 0.85,
            markeredgewidth=0.9,
            zorder=4,
        )
        return
    if record.low is not None and record.high is not None and record.high > record.low:
        thick = record.kind == "range"
        axes.vlines(
            x,
            record.low,
            record.high,
            color=mark.colour,
            linewidth=2.4 if thick else 0.9 * scale,
            alpha=0.8 if scale == 1.0 else 0.3,
            zorder=3,
        )
    axes.plot(
        [x],
        [value],
        mark.marker,
        color=mark.colour,
        markerfacecolor=mark.face,
        markersize=mark.size * scale,
        markeredgewidth=0.9 * scale,
        zorder=4,
        clip_on=value > 0,
    )


def _draw_verdicts(axes: Axes, verdicts: Sequence[Verdict]) -> None:
    """Ring the dates that stand out, and name the foremost of them."""
    notable = [
        one for one in verdicts if one.verdict in ("unprecedented", "elevated") and one.count is not None
    ]
    for verdict in notable:
        x, y = number_of(verdict.datetime), verdict.count or 0.0
        unprecedented = verdict.verdict == "unprecedented"
        axes.plot(
            [x],
            [y],
            "o",
            markersize=11.0,
            markerfacecolor="none",
            zorder=5,
            markeredgecolor=BLACK,
            markeredgewidth=1.3 if unprecedented else 0.8,
            linestyle="none",
        )
        if unprecedented:
            axes.plot(
                [x],
                [y],
                "o",
                markersize=14.0,
                markerfacecolor="none",
                markeredgecolor=BLACK,
                markeredgewidth=0.6,
                zorder=5,
            )
    ranked = sorted(
        notable, key=lambda one: (one.verdict != "unprecedented", -(one.count or 0.0), one.datetime)
    )
    _label_verdicts(axes, ranked[:_MOST_LABELS])


def _label_verdicts(axes: Axes, verdicts: Sequence[Verdict]) -> None:
    """Write count and word beside each point, on the side with more room, without overlaps."""
    scale = 72.0 / axes.figure.dpi
    left_edge, right_edge = (axes.transAxes.transform((x, 0.0))[0] * scale for x in (0.0, 1.0))
    taken: list[tuple[float, float, float, float]] = []
    for verdict in sorted(verdicts, key=lambda one: -(one.count or 0.0)):
        x, y = axes.transData.transform((number_of(verdict.datetime), verdict.count or 0.0)) * scale
        at_least = "\u2265 " if verdict.record.kind == "at least" else ""
        text = f"{at_least}{cars(verdict.count or 0.0)}  {verdict.label}"
        width, height = len(text) * SMALL_PT * 0.56, SMALL_PT * 1.5
        leftward = x - left_edge > right_edge - x
        begin = x - 10.0 - width if leftward else x + 10.0
        shift = 0.0
        for low, high, bottom, top in sorted(taken, key=lambda box: -box[3]):
            middle = y + shift
            if (
                begin < high
                and begin + width > low
                and middle - height / 2 < top
                and middle + height / 2 > bottom
            ):
                shift = bottom - height / 2 - y
        taken.append((begin, begin + width, y + shift - height / 2, y + shift + height / 2))
        axes.annotate(
            text,
            (number_of(verdict.datetime), verdict.count or 0.0),
            xytext=(-10.0 if leftward else 10.0, shift),
            textcoords="offset points",
            ha="right" if leftward else "left",
            va="center",
            fontsize=SMALL_PT,
            color=BLACK,
            zorder=6,
            bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.85},
            arrowprops=(
                {"arrowstyle": "-", "color": GREY, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 5}
                if abs(shift) > height / 2
                else None
            ),
        )


def _legend(
    records: Sequence[Record],
    ceilings: Sequence[Record],
    publishers: dict[str, MarkerStyle],
    history: History,
    headline: Verdict | None,
) -> list[Line2D | Patch]:
    handles: list[Line2D | Patch] = []
    methods = dict.fromkeys(one.method for one in records if one.clear and one.method != "published")
    marks = [METHOD_MARKS.get(method, OTHER_METHOD) for method in methods] + list(publishers.values())
    for mark in marks:
        handles.append(
            Line2D(
                [],
                [],
                linestyle="none",
                marker=mark.marker,
                color=mark.colour,
                markerfacecolor=mark.face,
                markersize=mark.size,
                label=mark.label,
            )
        )
    if history.combined():
        handles.append(
            Line2D(
                [],
                [],
                color=METHOD_MARKS[COMBINED].colour,
                linewidth=1.0,
                label="filtered from several looks",
            )
        )
    if any(one.kind == "at least" for one in records):
        handles.append(
            Line2D(
                [],
                [],
                linestyle="none",
                marker="$\u2191$",
                color=GREY,
                markersize=6,
                label="at least so many",
            )
        )
    for ceiling in ceilings[:2]:
        handles.append(
            Patch(
                facecolor="none",
                edgecolor=PUBLISHED_COLOUR,
                hatch="////",
                linewidth=0.8,
                label=f"at most about {cars(ceiling.value or 0.0)} ({ceiling.source})",
            )
        )
    if headline is not None:
        handles.append(
            Patch(facecolor=PALE, edgecolor="none", label=f"look-back window of {headline.record.day}")
        )
        if headline.maximum is not None:
            handles.append(
                Line2D(
                    [],
                    [],
                    color=BLACK,
                    linewidth=0.8,
                    linestyle=(0, (5, 2)),
                    label=f"highest in it: {cars(headline.maximum.value)}",
                )
            )
        if headline.expected_low is not None and headline.expected_high is not None:
            handles.append(
                Patch(
                    facecolor=SKY,
                    alpha=0.7,
                    linewidth=0,
                    label=f"expected then: {cars(headline.expected_low)} to {cars(headline.expected_high)}",
                )
            )
    words = {one.verdict for one in history.verdicts}
    if "unprecedented" in words:
        handles.append(
            Line2D(
                [],
                [],
                linestyle="none",
                marker="o",
                markersize=7.5,
                markerfacecolor="none",
                markeredgecolor=BLACK,
                markeredgewidth=2.2,
                label="unprecedented",
            )
        )
    if "elevated" in words:
        handles.append(
            Line2D(
                [],
                [],
                linestyle="none",
                marker="o",
                markersize=7.5,
                markerfacecolor="none",
                markeredgecolor=BLACK,
                markeredgewidth=0.8,
                label="elevated",
            )
        )
    return handles
