"""What lies behind the counts of a series: look-back, unseen stretches, ceilings, filtered estimate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.patheffects import withStroke

from railwatch.pages.charts.style import (
    BLACK,
    GREY,
    LIGHT,
    METHOD_MARKS,
    PALE,
    PUBLISHED_COLOUR,
    SKY,
    SMALL_PT,
    PageStyle,
    number_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from railwatch.history import Record, Verdict
    from railwatch.history.combined import Filtered

__all__ = ["draw_ceiling", "draw_combined", "draw_unseen", "draw_window", "window_label"]

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
