"""A calendar of coverage: how often each month was seen, and which never."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.patches import Patch, Rectangle

from railwatch.pages.charts.frame import Page
from railwatch.pages.charts.style import BLACK, BLUE, GREY, LIGHT, PAGE, SMALL_PT, PageStyle, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from railwatch.history.history import History

_ROW_MM = 7.0
_MONTHS = tuple(f"{month:02d}" for month in range(1, 13))


def draw_calendar(history: History, style: PageStyle = PAGE) -> Figure:
    """Draw a table of months and years: days with a clear observation, and observations without an answer.

    Args:
        history: What to draw; published counts are observations too, lower bounds and ceilings aren't.
        style: Size and type.
    """
    records = history.shown()
    days = [one.day for one in records]
    drawn, drawn_until = history.span()
    first = history.since or min(days, default=drawn)
    last = history.until or max(days, default=drawn_until)
    seen = Counter((day.year, day.month) for day in {one.day for one in records if one.bounded})
    known = {one.day for one in records if one.bounded}
    silent = Counter(
        (day.year, day.month) for day in {one.day for one in records if one.kind == "missing"} - known
    )
    years = list(range(first.year, last.year + 1))
    most = max(seen.values(), default=1)
    shades = LinearSegmentedColormap.from_list("looks", ["#dceaf4", BLUE])
    never = [month for month in range(1, 13) if not any(seen[year, month] for year in years)]
    with drawing(style):
        page = Page(
            style,
            len(years) * _ROW_MM + 8.0,
            history,
            f"Days with a clear image in each month: {sum(seen.values())} in all, "
            f"{sum(silent.values())} without an answer",
            [_never(never)],
            legend_mm=6.0,
        )
        axes = page.axes(5.0, page.body_mm - 6.0)
        axes.set_xlim(0.0, 12.0)
        axes.set_ylim(len(years), 0.0)
        for row, year in enumerate(years):
            for column in range(12):
                if (first.year, first.month) <= (year, column + 1) <= (last.year, last.month):
                    number, blind = seen[year, column + 1], silent[year, column + 1]
                    _draw_month(axes, column, row, number, blind, shades, most)
        axes.set_xticks([column + 0.5 for column in range(12)])
        axes.set_xticklabels(_MONTHS)
        axes.xaxis.tick_top()
        step = -(-len(years) // 40)
        axes.set_yticks([row + 0.5 for row in range(0, len(years), step)])
        axes.set_yticklabels([str(year) for year in years[::step]])
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        handles = [
            Patch(facecolor=shades(0.6), label="days with a clear image"),
            Patch(facecolor="white", edgecolor=GREY, hatch="////", linewidth=0.5, label="not seen"),
        ]
        if silent:
            handles.append(
                Patch(facecolor="none", edgecolor="none", label="3\u00d7  images without an answer")
            )
        page.legend(handles, 3)
        return page.figure


def _draw_month(
    axes: Axes, column: int, row: int, number: int, blind: int, shades: Colormap, most: int
) -> None:
    """Draw a month as a cell: its days with a clear image, and its images without an answer."""
    colour, hatch = (shades(0.15 + 0.85 * number / most), None) if number else ("white", "////")
    cell = Rectangle((column + 0.03, row + 0.05), 0.94, 0.9, facecolor=colour, edgecolor=LIGHT, hatch=hatch)
    cell.set_linewidth(0.5)
    axes.add_patch(cell)
    ink = "white" if number / most > 0.45 else BLACK
    if number:
        at = column + 0.5, row + 0.5
        axes.text(*at, str(number), ha="center", va="center", fontsize=SMALL_PT + 0.4, color=ink)
    if blind:
        at = column + 0.9, row + 0.88
        axes.text(*at, f"{blind}\u00d7", ha="right", va="bottom", fontsize=SMALL_PT - 1.4, color=ink)


def _never(months: list[int]) -> str:
    if not months:
        return "Every month of the year was seen in at least one year."
    if len(months) == 12:
        return "No month was ever seen."
    listed = ", ".join(_MONTHS[month - 1] for month in months)
    return f"Months never seen in any year: {listed}. A verdict on a date in them leans on other seasons."
