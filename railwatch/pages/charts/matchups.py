"""Two methods at one place against each other: the pairs of observations, and the line between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from detector.intervals import Z90
from railwatch.pages.charts.style import (
    BLACK,
    BLUE,
    GREY,
    LIGHT,
    METHOD_MARKS,
    PAGE,
    SMALL_PT,
    PageStyle,
    drawing,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from railwatch.history import Record
    from railwatch.history.matchups import Matchup


def draw_matchup(title: str, matchup: Matchup, style: PageStyle = PAGE) -> Figure:
    """Draw the pairs of observations of two methods, with their 90% intervals.

    Args:
        title: Name of the place, for people.
        matchup: The pairs and, where they support one, the line.
        style: Size and type; the figure is square.
    """
    with drawing(style):
        figure = style.figure(style.width_mm)
        axes = figure.add_axes((0.14, 0.13, 0.82, 0.75))
        reach = 1.08 * max((high for pair in matchup.pairs for _, _, high in map(_span, pair)), default=10.0)
        axes.plot([0, reach], [0, reach], color=LIGHT, lw=0.8, ls=(0, (4, 3)), label="one car for one")
        if matchup.line is not None:
            line = matchup.line
            along = np.linspace(0.0, reach, 60)
            level = line.offset + line.gain * along
            middle = float(np.mean([other.value or 0.0 for _, other in matchup.pairs]))
            # The error of gain and offset taken as independent at the middle of the pairs.
            error = np.hypot(line.gain_sd * (along - middle), np.hypot(line.offset_sd, line.scatter_cars))
            axes.fill_between(along, level - Z90 * error, level + Z90 * error, color=BLUE, alpha=0.12, lw=0)
            axes.plot(along, level, color=BLUE, lw=1.1, label=f"{line.gain:.2f} x + {line.offset:.1f}")
        for one, other in matchup.pairs:
            (y0, y, y1), (x0, x, x1) = _span(one), _span(other)
            axes.plot([x0, x1], [y, y], color=GREY, lw=0.6)
            axes.plot([x, x], [y0, y1], color=GREY, lw=0.6)
            axes.plot(x, y, "o", color=BLACK, ms=3.2)
        axes.set(xlim=(0, reach), ylim=(0, reach), aspect="equal")
        axes.set_xlabel(f"Freight cars: {_name(matchup.reference)}")
        axes.set_ylabel(f"Freight cars: {_name(matchup.method)}")
        axes.legend(loc="upper left", frameon=False, fontsize=SMALL_PT)
        axes.set_title(title, pad=14)
        said = f"{len(matchup.pairs)} pairs of observations" if matchup.line is not None else matchup.reason
        axes.text(0.0, 1.02, said, transform=axes.transAxes, fontsize=SMALL_PT, color=GREY, va="bottom")
    return figure


def _span(record: Record) -> tuple[float, float, float]:
    value = record.value or 0.0
    return max(value - Z90 * record.sd_below, 0.0), value, value + Z90 * record.sd_above


def _name(method: str) -> str:
    return METHOD_MARKS[method].label if method in METHOD_MARKS else method
