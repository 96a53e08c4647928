"""How charts look and what files they are: sizes, type, colours and marks, and PNG, SVG or PDF.

Colours are Okabe and Ito's (Color Universal Design, 2008), which survive print and colour blindness. No two
things are told apart by colour alone: each has its own mark, line or hatch as well.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import matplotlib as mpl
import matplotlib.dates as mdates
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.path import Path as Outline
from matplotlib.ticker import FuncFormatter, MaxNLocator

from aoi.errors import InputError
from railwatch import words
from railwatch.pages import write_page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from railwatch.history.record import FloatArray

MM = 1 / 25.4

BLACK, GREY, LIGHT, GRID, PALE = "#1a1a1a", "#6b6b6b", "#c8c8c8", "#dcdcdc", "#f1f0ec"
"""Ink, second ink, lines, the grid, and the shade of a look-back, under which the grid still shows."""
BLUE, ORANGE, GREEN, VERMILION = "#0072b2", "#e69f00", "#009e73", "#d55e00"
PURPLE, SKY = "#cc79a7", "#56b4e9"

FONT_PT = 8.0
SMALL_PT = 6.8

SvgText = Literal["path", "text"]


@dataclass(frozen=True)
class MarkerStyle:
    """How a kind of point is drawn.

    Attributes:
        marker: Matplotlib marker.
        colour: Of the line and edge.
        face: Fill.
        size: Marker size, points.
        label: For the legend.
    """

    marker: str | Outline
    colour: str
    face: str
    size: float
    label: str


METHOD_MARKS: dict[str, MarkerStyle] = {
    "wagons": MarkerStyle("o", BLUE, BLUE, 4.2, "wagon detector"),
    "occupancy": MarkerStyle("s", VERMILION, "white", 4.4, "track occupancy (10 m)"),
    "occupancy-planetscope": MarkerStyle("8", ORANGE, "white", 4.8, "track occupancy (PlanetScope)"),
    "reviewed": MarkerStyle("D", BLACK, BLACK, 4.4, "reviewed by eye"),
}
OTHER_METHOD = MarkerStyle("h", GREY, GREY, 4.5, "other method")

PUBLISHER_MARKERS = ("^", "P", "v", "X", "<", "*", ">", "p")
"""Published counts: one shape a publisher, all in one colour."""
PUBLISHED_COLOUR = PURPLE


@dataclass(frozen=True)
class PageStyle:
    """Size and type of a chart.

    Attributes:
        width_mm: Width; 170 mm is the text width of an A4 page.
        dpi: Resolution of a PNG.
        svg_text: ``path`` draws letters as shapes (looks the same everywhere); ``text`` keeps them as
            text (searchable, smaller, needs the font).
        bare: Only the drawing, for a page that has a title, a legend and notes of its own.
    """

    width_mm: float = 170.0
    dpi: int = 200
    svg_text: SvgText = "path"
    bare: bool = False

    @property
    def width_pt(self) -> float:
        """Width in points, which are the units of an SVG."""
        return self.width_mm * MM * 72.0

    def figure(self, height_mm: float) -> Figure:
        """Return an empty figure of the style's width and a height."""
        return Figure(figsize=(self.width_mm * MM, height_mm * MM), dpi=self.dpi, facecolor="white")


PAGE = PageStyle()
"""A page of A4."""


@contextmanager
def drawing(style: PageStyle) -> Iterator[None]:
    """Sets type and lines for the drawing inside, and puts everything back."""
    settings: dict[str, Any] = {
        "font.family": ["DejaVu Sans"],
        "font.size": FONT_PT,
        "axes.titlesize": FONT_PT + 1.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": FONT_PT,
        "axes.edgecolor": GREY,
        "axes.labelcolor": BLACK,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.labelsize": FONT_PT - 0.5,
        "ytick.labelsize": FONT_PT - 0.5,
        "xtick.color": BLACK,
        "ytick.color": BLACK,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "grid.color": GRID,
        "grid.linewidth": 0.6,
        "legend.fontsize": SMALL_PT + 0.2,
        "legend.frameon": False,
        "hatch.linewidth": 0.4,
        "svg.fonttype": "path" if style.svg_text == "path" else "none",
        "svg.hashsalt": "railwatch",
        "pdf.fonttype": 42,
        "figure.dpi": style.dpi,
        "savefig.dpi": style.dpi,
        "path.simplify": False,
    }
    with mpl.rc_context(cast(Any, settings)):
        yield


def date_axis(axes: Axes, first: date, last: date, most: int = 9) -> None:
    """Give an axes a time axis from one day to another with ISO dates, at most so many of them."""
    axes.set_xlim(number_of(first), number_of(last))
    days = (last - first).days
    ticks, form = _date_ticks(first, last, days, most)
    # A label is centred on its tick: the last one must not run off the page.
    ticks = [day for day in ticks if (last - day).days >= 0.03 * days or form == "%Y"]
    axes.set_xticks([number_of(day) for day in ticks])
    axes.set_xticklabels([f"{day:{form}}" for day in ticks])


def _date_ticks(first: date, last: date, days: int, most: int) -> tuple[list[date], str]:
    """At most so many round days between two, and how to write them."""
    if days > most * 366:
        step = max(-(-days // (366 * most)), 1)
        years = range(first.year + (first != date(first.year, 1, 1)), last.year + 1)
        return [date(year, 1, 1) for year in years if year % step == 0], "%Y"
    months = np.arange(np.datetime64(first, "M"), np.datetime64(last, "M") + 1).astype(object)
    for step in (1, 2, 3, 6, 12):
        ticks = [day for day in months if day >= first and (day.month - 1) % step == 0]
        if 3 <= len(ticks) <= most:
            return ticks, "%Y-%m"
        if len(ticks) < 3:
            break
    if days > 366:
        return ticks, "%Y-%m"
    step = max(-(-days // max(most - 3, 2)), 1)
    return [first + timedelta(days=offset) for offset in range(step // 2, days + 1, step)], "%Y-%m-%d"


def count_axis(axes: Axes, highest: float, label: str = "cars") -> None:
    """Give an axes a count axis from 0 to a little above the highest value, in whole numbers.

    The label stands above the axis, where it needs no room beside long numbers.
    """
    axes.set_ylim(0.0, max(highest * 1.08, 5.0))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=3))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: words.number(value)))
    axes.annotate(
        label,
        (0.0, 1.0),
        xycoords="axes fraction",
        xytext=(-2.0, 4.0),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=SMALL_PT,
        color=GREY,
        annotation_clip=False,
    )
    axes.grid(axis="y", zorder=0)
    axes.set_axisbelow(True)


def say_nothing(axes: Axes, reason: str) -> None:
    """Write into an empty drawing why it is empty."""
    axes.text(0.5, 0.5, reason, transform=axes.transAxes, ha="center", va="center", color=GREY)


def name_panel(axes: Axes, title: str, right_pt: float, up_pt: float) -> None:
    """Write a panel's name above its upper left corner."""
    axes.annotate(
        title,
        (0.0, 1.0),
        xycoords="axes fraction",
        xytext=(right_pt, up_pt),
        textcoords="offset points",
        fontsize=SMALL_PT + 0.6,
        fontweight="bold",
        va="bottom",
        annotation_clip=False,
        parse_math=False,
    )


def sign_of(mark: MarkerStyle) -> Line2D:
    """Return a mark as a legend shows it."""
    return Line2D(
        [],
        [],
        linestyle="none",
        marker=mark.marker,
        color=mark.colour,
        markerfacecolor=mark.face,
        markersize=mark.size,
        label=mark.label,
    )


def broken_line(axes: Axes, x: FloatArray, y: FloatArray, gap_days: float, **line: Any) -> Line2D:
    """Draw a line that is interrupted where two of its times lie further apart; x in days."""
    breaks = np.flatnonzero(np.diff(x) > gap_days) + 1
    (drawn,) = axes.plot(np.insert(x, breaks, np.nan), np.insert(y, breaks, np.nan), **line)
    return drawn


def number_of(day: date) -> float:
    """Return a day's or a time's place on a date axis (days since 1970, UTC)."""
    return float(mdates.date2num(day))  # type: ignore[no-untyped-call]


def wrapped(text: str, width_mm: float, points: float) -> list[str]:
    """Return text in lines that fit a width.

    Args:
        text: One paragraph.
        width_mm: The room.
        points: Size of the type; a letter is about half as wide.
    """
    letters = max(int(width_mm / (points * 0.3528 * 0.53)), 20)
    return textwrap.wrap(text, letters, break_long_words=True, break_on_hyphens=False) or [""]


FORMATS = ("png", "svg", "pdf")


class ChartError(InputError):
    """A chart that can't be drawn or written as asked."""


def format_of(path: Path) -> str:
    """Return the format that a file's name asks for.

    Raises:
        ChartError: If it is none that charts are written in.
    """
    name = path.suffix.lower().lstrip(".")
    if name not in FORMATS:
        raise ChartError(f"{path}: a chart is written as .png, .svg or .pdf")
    return name


def to_bytes(figure: Figure, name: str, style: PageStyle = PAGE, *, title: str = "") -> bytes:
    """Return a figure as a file's content; the same figure gives the same bytes.

    Args:
        figure: The figure.
        name: ``png``, ``svg`` or ``pdf``.
        style: As it was drawn with.
        title: For the file's metadata.
    """
    by_format: dict[str, dict[str, Any]] = {
        "png": {"Title": title, "Software": "railwatch"},
        "svg": {"Title": title, "Creator": "railwatch", "Date": None},
        "pdf": {"Title": title, "Creator": "railwatch", "CreationDate": None, "ModDate": None},
    }
    content = io.BytesIO()
    with drawing(style):
        figure.savefig(content, format=name, dpi=style.dpi, metadata=by_format[name])
    return content.getvalue()


def write_chart(figure: Figure, path: Path, style: PageStyle = PAGE, *, title: str = "") -> Path:
    """Write a figure.

    Args:
        figure: The figure.
        path: Where to; the suffix gives the format.
        style: As it was drawn with.
        title: For the file's metadata.

    Returns:
        The path.

    Raises:
        ChartError: If the suffix is none of png, svg, pdf, or the file can't be written.
    """
    return write_page(path, to_bytes(figure, format_of(path), style, title=title), ChartError)
