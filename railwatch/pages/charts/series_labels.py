"""Words beside the marks of a series: the headline's first, none on another mark."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.path import Path as Outline

from railwatch import words
from railwatch.pages.charts.labels import Box, place_labels
from railwatch.pages.charts.marks import DrawnSeries, radius_of
from railwatch.pages.charts.style import BLACK, GREY, SMALL_PT, PageStyle, number_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from railwatch.history import Record, Verdict

__all__ = ["draw_labels"]

_SHORT_PT, _MIDDLE_PT = 300.0, 450.0
"""Narrower charts label one mark, and three."""


def draw_labels(axes: Axes, series: DrawnSeries, opening: Verdict | None, style: PageStyle) -> None:
    """Write count and word beside the foremost marks: the headline's first, and none on another mark."""
    short = style.width_pt < _SHORT_PT
    labelled = _labelled(series, opening, most=1 if short else 3 if style.width_pt < _MIDDLE_PT else 6)
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
        (x, y), radius = at(record, record.value), radius_of(series, record)
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
    texts = [_label(one, short=short) for one in labelled]
    anchors = [(*at(one.record, one.count or 0.0), radius_of(series, one.record)) for one in labelled]
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


def _draw_leader(axes: Axes, series: DrawnSeries, verdict: Verdict, dx: float, dy: float) -> None:
    """Lead from a mark to a label that stands off, as a marker so that it moves with them."""
    length = float(np.hypot(dx, dy)) or 1.0
    start = min(radius_of(series, verdict.record) / length, 0.9)
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


def _labelled(series: DrawnSeries, opening: Verdict | None, most: int) -> list[Verdict]:
    """Return the verdicts to name: the headline's, then the foremost ones, one a day, ours before others'."""
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
    by_day: dict[date, Verdict] = {}
    for one in (*first, *notable):
        by_day.setdefault(one.record.day, one)
    return list(by_day.values())[:most]


def _label(verdict: Verdict, *, short: bool) -> str:
    bound = {"at least": "\u2265 ", "at most": "\u2264 "}.get(verdict.record.kind, "")
    word = verdict.verdict if short else verdict.label
    return f"{bound}{words.number(verdict.count or 0.0)}  {word}"
