"""The words beside the marks of a series: on no other mark, on no other words, inside the drawing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path as Outline
from matplotlib.textpath import TextPath

from railwatch import words
from railwatch.pages.charts.marks import DrawnSeries, radius_of
from railwatch.pages.charts.style import BLACK, GREY, SMALL_PT, PageStyle, number_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from railwatch.history import Record, Verdict


_GAP = 4.0
_HEIGHT_PT = SMALL_PT * 1.35
_STEPS = 16
"""So many lines up and down, and to either side, a label may stand away from its mark."""


@dataclass(frozen=True)
class Box:
    """A rectangle on the page, in points from its lower left corner."""

    left: float
    bottom: float
    right: float
    top: float

    def meets(self, other: Box) -> bool:
        """Return whether two rectangles share ground."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.bottom < other.top
            and other.bottom < self.top
        )

    def holds(self, other: Box) -> bool:
        """Return whether the other one lies inside."""
        return (
            self.left <= other.left
            and other.right <= self.right
            and self.bottom <= other.bottom
            and other.top <= self.top
        )


@lru_cache(maxsize=2048)  # a page draws the same labels at four widths
def text_width(text: str, points: float) -> float:
    """Return how wide a text is in the charts' font, in points."""
    font = FontProperties(family="DejaVu Sans", size=points)
    return float(TextPath((0.0, 0.0), text, prop=font).get_extents().width) + 1.0


def _first_free(
    x: float, y: float, radius: float, width: float, obstacles: Sequence[Box], frame: Box
) -> tuple[float, float, str, Box] | None:
    """The nearest place for a text beside a mark: points to its anchor, which side that is, its ground."""
    for dx, dy, align in _candidates(radius + _GAP, width):
        left = {"left": x + dx, "right": x + dx - width, "center": x + dx - width / 2.0}[align]
        box = Box(left, y + dy - _HEIGHT_PT / 2.0, left + width, y + dy + _HEIGHT_PT / 2.0)
        if frame.holds(box) and not any(box.meets(other) for other in obstacles):
            return dx, dy, align, box
    return None


def _candidates(reach: float, width: float) -> Iterator[tuple[float, float, str]]:
    """Places around a mark, the nearest first: left, right, above, below, then further off."""
    height = _HEIGHT_PT
    yield -reach, 0.0, "right"
    yield reach, 0.0, "left"
    yield 0.0, reach + height / 2.0, "center"
    yield 0.0, -reach - height / 2.0, "center"
    offsets = [
        (side * (reach + aside * width / 4.0), up * height / 2.0, "right" if side < 0 else "left")
        for side in (-1, 1)
        for aside in range(_STEPS // 2)
        for up in range(-_STEPS, _STEPS + 1)
    ]
    offsets += [
        (0.0, up * (reach + height * step / 2.0), "center") for up in (-1, 1) for step in range(2, _STEPS)
    ]
    yield from sorted(offsets, key=lambda one: (one[0] ** 2 + (2.0 * one[1]) ** 2, one))


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
            line = at(opening.record, opening.maximum.cars)
            lines.append(Box(x0, line[1] - 0.5, line[0], line[1] + 0.5))
    frame = Box(float(x0), float(y0) + 1.0, float(x1) + 8.0, float(y1) + 2.0)
    for verdict in labelled:
        said = _label(verdict, short=short)
        radius = radius_of(series, verdict.record)
        place = (*at(verdict.record, verdict.count or 0.0), radius, text_width(said, SMALL_PT))
        # Off the lines, too, if it can be helped; a label that finds no place is left out.
        found = _first_free(*place, [*obstacles, *lines], frame) or _first_free(*place, obstacles, frame)
        if found is None:
            continue
        dx, dy, align, box = found
        obstacles.append(box)
        text = axes.annotate(
            said,
            (number_of(verdict.datetime), verdict.count or 0.0),
            xytext=(dx, dy),
            textcoords="offset points",
            ha=align,
            va="center",
            fontsize=SMALL_PT,
            fontweight="bold" if verdict is labelled[0] else "normal",
            color=BLACK,
            zorder=6,
            parse_math=False,
        )
        text.set_gid(series.gid(verdict.record, "label"))
        if abs(dy) > radius + 1.2 * _HEIGHT_PT or abs(dx) > radius + _GAP + 1.0:
            _draw_leader(axes, series, verdict, dx, dy)


def _draw_leader(axes: Axes, series: DrawnSeries, verdict: Verdict, dx: float, dy: float) -> None:
    """Lead from a mark to a label that stands off, as a marker so that it moves with them."""
    length = float(np.hypot(dx, dy)) or 1.0
    start = min(radius_of(series, verdict.record) / length, 0.9)
    path = Outline([(dx * start, dy * start), (dx * 0.96, dy * 0.96)])
    size, look = 2.0 * float(np.abs(path.vertices).max()), {"markeredgecolor": GREY, "markeredgewidth": 0.5}
    series.draw(axes, verdict.record, "leader", verdict.count or 0.0, path, size, zorder=5.5, **look)


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
