"""Types of freight cars: a bar an image, as long as its count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from railwatch.pages.charts.frame import Page
from railwatch.pages.charts.style import BLACK, BLUE, GREY, ORANGE, PAGE, SKY, SMALL_PT, PageStyle, drawing
from railwatch.words import CAR_TYPES, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from railwatch.history.history import History

MOST_IMAGES = 40
_ROW_MM = 4.6
# Face, hatch and the colour of a number on it, so that grey prints and colour-blind readers tell them apart.
_LOOK = {
    "open": (ORANGE, "", BLACK),
    "covered": (BLUE, "", "white"),
    "tank": (BLACK, "", "white"),
    "flat_or_container": (SKY, "////", BLACK),
    "unknown": ("white", "", GREY),
}


def draw_types(history: History, style: PageStyle = PAGE) -> Figure:
    """Draw how many cars of each type stood there, on the newest forty images that tell, newest first.

    Args:
        history: What to draw; its observations carry the counts by type.
        style: Size and type.
    """
    told = sorted(
        (
            one
            for one in history.observations
            if one.count_by_type
            and one.count
            and (history.since is None or one.datetime.date() >= history.since)
            and (history.until is None or one.datetime.date() <= history.until)
        ),
        key=lambda one: one.datetime,
    )
    shown = told[: -MOST_IMAGES - 1 : -1]
    longest = max((float(one.count or 0) for one in shown), default=1.0)
    with drawing(style):
        page = Page(
            style,
            max(len(shown), 2) * _ROW_MM + 6.0,
            history,
            f"Freight cars by type on {_images(len(shown), len(told))}",
            ["A type is told from above by a small network; a car that can't be told is unknown."],
            legend_mm=6.0,
        )
        axes = page.axes(0.0, page.body_mm - 6.0, left_mm=22.0)
        # A number in a bar needs some room.
        room = longest / (page.width_mm - 26.0) * SMALL_PT * 0.3528 * 0.7
        for row, one in enumerate(shown):
            at = 0.0
            for name, (face, hatch, ink) in _LOOK.items():
                cars = (one.count_by_type or {}).get(name, 0)
                if not cars:
                    continue
                axes.barh(row, cars, left=at, height=0.72, color=face, hatch=hatch, edgecolor=GREY, lw=0.5)
                if cars > room * (len(number(cars)) + 1):
                    box = {"facecolor": face, "edgecolor": "none", "pad": 0.6}
                    axes.text(
                        at + cars / 2, row, number(cars), ha="center", va="center_baseline",
                        fontsize=SMALL_PT - 0.6, color=ink, bbox=box if hatch else None,
                    )  # fmt: skip
                at += cars
        axes.set_xlim(0.0, longest * 1.02)
        axes.set_ylim(max(len(shown), 2) - 0.4, -0.6)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.set_yticks(range(len(shown)))
        axes.set_yticklabels([f"{one.datetime:%Y-%m-%d}" for one in shown])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        page.legend(
            [
                Patch(facecolor=face, hatch=hatch, edgecolor=GREY, linewidth=0.5, label=CAR_TYPES[name])
                for name, (face, hatch, _) in _LOOK.items()
            ],
            5,
        )
        return page.figure


def _images(shown: int, told: int) -> str:
    if shown < told:
        return f"the newest {shown} of {told} images"
    return "one image" if shown == 1 else f"{shown} images"
