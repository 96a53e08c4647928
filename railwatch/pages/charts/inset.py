"""The small map of countries beside the notes of a chart, which says where the place is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.patches import Circle, PathPatch
from matplotlib.path import Path as Outline
from matplotlib.patheffects import withStroke

from railwatch.pages.charts.labels import Box, text_width
from railwatch.pages.charts.style import BLACK, GREY, LIGHT, VERMILION
from railwatch.pages.where import Coordinates, countries_around

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_inset"]

_NAME_PT = 4.6
_STEPS = [(0.08 * aside, 0.08 * down) for aside in (0, -1, 1, -2, 2) for down in (0, 1, -1, 2, -2, 3, -3)]
"""How far a name may move from the middle of its country."""
_SEA, _LAND, _HOME = "#eef3f6", "#faf9f5", "#e6dfcd"


def draw_inset(axes: Axes, here: Coordinates, size_pt: float) -> None:
    """Draw the countries around a point.

    Args:
        axes: Square and empty.
        here: The point, which is marked in the middle.
        size_pt: The side of the axes in points; names that would cross the mark or each other are left out.
    """
    axes.set(xlim=(0.0, 1.0), ylim=(1.0, 0.0), xticks=[], yticks=[], facecolor=_SEA)
    axes.set_gid("locator")
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_edgecolor(LIGHT)
    taken = [Box(0.42, 0.42, 0.58, 0.58)]
    for country in countries_around(here):
        outline = Outline.make_compound_path(
            *(Outline(np.vstack([ring, ring[:1]]), closed=True) for ring in country.rings)
        )
        axes.add_patch(
            PathPatch(outline, facecolor=_HOME if country.home else _LAND, edgecolor=GREY, linewidth=0.35)
        )
        if country.name_at is None:
            continue
        wide, high = text_width(country.name, _NAME_PT) / size_pt, 1.3 * _NAME_PT / size_pt
        room = np.array([wide / 2.0 + 0.02, high / 2.0 + 0.02])
        for step in _STEPS:
            x, y = np.clip(np.add(country.name_at, step), room, 1.0 - room)
            box = Box(x - wide / 2.0, y - high / 2.0, x + wide / 2.0, y + high / 2.0)
            if outline.contains_point((x, y)) and not any(box.meets(other) for other in taken):
                break
        else:
            continue
        taken.append(box)
        axes.text(
            float(x),
            float(y),
            country.name,
            fontsize=_NAME_PT,
            color=BLACK,
            ha="center",
            va="center",
            path_effects=[withStroke(linewidth=1.0, foreground="white")],
            parse_math=False,
        )
    axes.add_patch(Circle((0.5, 0.5), 0.065, facecolor="none", edgecolor=VERMILION, linewidth=0.9))
    axes.add_patch(Circle((0.5, 0.5), 0.024, facecolor=VERMILION, linewidth=0))
