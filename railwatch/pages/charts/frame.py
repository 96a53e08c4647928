"""The parts around a drawing: title, caption, map of countries, the strip of images, numbered events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Patch, PathPatch
from matplotlib.path import Path as Outline
from matplotlib.patheffects import withStroke

from railwatch.pages.charts.labels import Box, text_width
from railwatch.pages.charts.style import (
    BLACK,
    FONT_PT,
    GREY,
    LIGHT,
    MM,
    SMALL_PT,
    VERMILION,
    PageStyle,
    number_of,
    wrapped,
)
from railwatch.pages.where import CREDIT, Coordinates, countries_around, whereabouts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from railwatch.history import Record
    from railwatch.history.history import Event, History


_LINE_MM = SMALL_PT * 0.3528 * 1.35
_LEFT_MM = 14.0
_RIGHT_MM = 4.0
_INSET_MM = 22.0


class Page:
    """A figure with room kept for a title above and notes below the drawing.

    Attributes:
        figure: The figure.
        width_mm: Its width.
        height_mm: Its height.
        top_mm: Where the drawing may begin, from the top.
        bottom_mm: Where it must end, from the bottom.
    """

    def __init__(
        self,
        style: PageStyle,
        body_mm: float,
        history: History | None,
        subtitle: str,
        notes: Sequence[str] = (),
        *,
        title: str = "",
        legend_mm: float = 0.0,
    ) -> None:
        """Lay out the page.

        Args:
            style: Width and type.
            body_mm: Height wanted for the drawing itself.
            history: Of the place, for title and credits, its coordinates and a small map; none without these.
            subtitle: A line under the title; may be long, then it is wrapped.
            notes: Paragraphs under the drawing, before the credits.
            title: In bold, in the place of the history's own.
            legend_mm: Room between the heading and the drawing.
        """
        width = style.width_mm - _LEFT_MM - _RIGHT_MM
        title = title or ("" if history is None else history.title)
        title_lines = wrapped(title, width, (FONT_PT + 1.5) * 1.12) if title else []
        heading = wrapped(subtitle, width, FONT_PT) if subtitle else []
        place = None if history is None or history.middle is None else Coordinates(*history.middle)
        credits = "" if history is None else history.credits()
        located = "" if place is None else "  ·  ".join((*whereabouts(place), CREDIT)) + "."
        beside = 0.0 if place is None else _INSET_MM + 4.0
        paragraphs = [note for note in (*notes, credits, located) if note]
        lines = [line for note in paragraphs for line in wrapped(note, width - beside, SMALL_PT)]
        above = 3.0 + len(title_lines) * 4.8 + len(heading) * 3.9 + legend_mm + 2.0
        below = 3.0 + max(len(lines) * _LINE_MM, beside)
        self.height_mm = max(above + body_mm + below, above + below + 12.0)
        self.width_mm = style.width_mm
        self.figure: Figure = style.figure(self.height_mm)
        self.top_mm = above
        self.legend_top_mm = above - legend_mm - 1.0
        self.bottom_mm = below
        y = 3.0
        for line in title_lines:
            self._write(_LEFT_MM, y, line, FONT_PT + 1.5, BLACK, bold=True)
            y += 4.8
        for line in heading:
            self._write(_LEFT_MM, y, line, FONT_PT, BLACK)
            y += 3.9
        y = self.height_mm - below + 1.0
        for line in lines:
            self._write(_LEFT_MM, y, line, SMALL_PT, GREY)
            y += _LINE_MM
        if place is not None:
            axes = self.figure.add_axes(
                (
                    (self.width_mm - _RIGHT_MM - _INSET_MM) / self.width_mm,
                    (below - _INSET_MM - 1.0) / self.height_mm,
                    _INSET_MM / self.width_mm,
                    _INSET_MM / self.height_mm,
                )
            )
            draw_inset(axes, place, _INSET_MM * MM * 72.0)

    def _write(self, x: float, y: float, text: str, size: float, colour: str, *, bold: bool = False) -> None:
        self.figure.text(
            x / self.width_mm,
            1.0 - y / self.height_mm,
            text,
            fontsize=size,
            color=colour,
            fontweight="bold" if bold else "normal",
            ha="left",
            va="top",
            parse_math=False,
        )

    @property
    def body_mm(self) -> float:
        """Height left for the drawing."""
        return self.height_mm - self.top_mm - self.bottom_mm

    def axes(
        self, top_mm: float, height_mm: float, *, left_mm: float = _LEFT_MM, share: Axes | None = None
    ) -> Axes:
        """Add axes across the page.

        Args:
            top_mm: From the top of the drawing's room.
            height_mm: Height.
            left_mm: Room for the axis labels.
            share: Axes whose time axis it shares.
        """
        return self.box(left_mm, top_mm, self.width_mm - left_mm - _RIGHT_MM, height_mm, share=share)

    def box(
        self, left_mm: float, top_mm: float, width_mm: float, height_mm: float, *, share: Axes | None = None
    ) -> Axes:
        """Add axes anywhere in the drawing's room; lengths in mm from the page's left and the room's top."""
        bottom = self.height_mm - self.top_mm - top_mm - height_mm
        return self.figure.add_axes(
            (
                left_mm / self.width_mm,
                bottom / self.height_mm,
                width_mm / self.width_mm,
                height_mm / self.height_mm,
            ),
            sharex=share,
        )

    def legend(self, handles: Sequence[Line2D | Patch], columns: int) -> None:
        """Put a legend between the heading and the drawing."""
        self.figure.legend(
            handles=list(handles),
            loc="upper left",
            bbox_to_anchor=((_LEFT_MM - 1.5) / self.width_mm, 1.0 - self.legend_top_mm / self.height_mm),
            ncols=columns,
            borderpad=0.2,
            borderaxespad=0.0,
            handlelength=1.8,
            handletextpad=0.5,
            columnspacing=1.6,
            labelspacing=0.35,
        )


def strip_of_images(
    axes: Axes, records: Sequence[Record], first: date, last: date, numbers: Mapping[str, int]
) -> None:
    """Draw when the place was seen: a tick a clear image, a cross an image without an answer.

    Args:
        axes: A low strip under the drawing.
        records: Dated records.
        first: First day shown.
        last: Last day shown.
        numbers: Each record's number, by id, for the ``gid`` of its tick or cross.
    """
    seen = {one.day for one in records if one.clear}
    for record in records:
        x, number = number_of(record.when), numbers[record.id]
        if record.clear:
            axes.vlines(x, 0.55, 0.95, color=BLACK, linewidth=0.7).set_gid(f"look.{number}")
            continue
        if record.day in seen:
            continue
        (cross,) = axes.plot([x], [0.22], "x", color=VERMILION, markersize=3.0, markeredgewidth=0.8)
        cross.set_gid(f"mark.{number}.shape")
    axes.set_ylim(0.0, 1.0)
    axes.set_yticks([0.75, 0.22])
    axes.set_yticklabels(["seen", "no answer"], fontsize=SMALL_PT - 0.6, color=GREY)
    axes.tick_params(axis="y", length=0, pad=2)
    axes.spines["left"].set_visible(False)
    axes.set_xlim(number_of(first), number_of(last))


def number_events(
    axes: Axes, events: Sequence[Event], first: date, last: date, *, with_flags: bool = True
) -> None:
    """Draw the events inside the span as numbered lines; events too close to tell apart share a flag."""
    near = 0.035 * (last - first).days
    flags: list[list[tuple[int, Event]]] = []
    for number, event in numbered(events, first, last):
        if flags and (event.day - flags[-1][-1][1].day).days < near:
            flags[-1].append((number, event))
        else:
            flags.append([(number, event)])
    for order, flag in enumerate(flags):
        for number, event in flag:
            line = axes.axvline(
                number_of(event.day), color=GREY, linewidth=0.7, linestyle=(0, (1, 2)), zorder=1
            )
            line.set_gid(f"flag.{order}.line{number}")
        if not with_flags:
            continue
        (begin, one), (end, other) = flag[0], flag[-1]
        sign = axes.annotate(
            f"{begin}" if begin == end else f"{begin}-{end}",
            ((number_of(one.day) + number_of(other.day)) / 2.0, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 2.0),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=SMALL_PT - 0.5,
            color=BLACK,
            bbox={"boxstyle": "round,pad=0.18", "facecolor": "white", "edgecolor": GREY, "linewidth": 0.5},
            annotation_clip=False,
        )
        sign.set_gid(f"flag.{order}.sign")


def numbered(events: Sequence[Event], first: date, last: date) -> list[tuple[int, Event]]:
    """Return the events inside a span with their numbers."""
    return list(enumerate((event for event in events if first <= event.day <= last), start=1))


def event_key(events: Sequence[Event], first: date, last: date) -> str:
    """Return the key to the numbers of `number_events`."""
    return "     ".join(
        f"[{number}] {event.day} {event.label}" for number, event in numbered(events, first, last)
    )


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
