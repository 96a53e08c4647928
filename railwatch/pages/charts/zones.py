"""Counts over time, one small panel a zone, all on the same scales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D

from railwatch.history.record import method_of
from railwatch.pages.charts.frame import Page, event_key, number_events
from railwatch.pages.charts.series import GAP_DAYS
from railwatch.pages.charts.style import (
    GREY,
    LIGHT,
    METHOD_MARKS,
    OTHER_METHOD,
    PAGE,
    SMALL_PT,
    MarkerStyle,
    PageStyle,
    broken_line,
    count_axis,
    date_axis,
    drawing,
    name_panel,
    number_of,
    say_nothing,
    sign_of,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from railwatch.history.history import History
    from railwatch.store.observation import Observation

_PANEL_MM = 34.0
_ROOM_MM = 9.0


def draw_zones(
    history: History,
    titles: Mapping[str, str] | None = None,
    style: PageStyle = PAGE,
    *,
    gap_days: float = GAP_DAYS,
) -> Figure:
    """Draw the counts of each zone of a place.

    Args:
        history: What to draw; its observations carry the zones.
        titles: Names for people, by zone id; also says which zones to draw, and in which order. By
            default all that the observations know, by id.
        style: Size and type.
        gap_days: Longest time between two observations that a line may cross.
    """
    first, last = history.span()
    shown = [one for one in history.observations if first <= one.datetime.date() <= last]
    names = (
        dict(titles) if titles else {zone: zone for zone in sorted({z for one in shown for z in one.zones})}
    )
    highest = max(
        (
            values.get("count_high", values["count"])
            for one in shown
            for zone, values in one.zones.items()
            if zone in names
        ),
        default=0.0,
    )
    columns = 1 if len(names) <= 1 else 2
    rows = max(-(-len(names) // columns), 1)
    methods = list(dict.fromkeys(method_of(one) for one in shown if one.zones))
    with drawing(style):
        key = event_key(history.events, first, last)
        flags_mm = 4.0 if key else 0.0
        page = Page(
            style,
            rows * (_PANEL_MM + _ROOM_MM) + 4.0 + flags_mm,
            history,
            "Freight cars by zone; bars are 90% intervals; all panels on one scale",
            [key],
            legend_mm=6.0 if methods else 0.0,
        )
        height = (page.body_mm - 4.0 - flags_mm) / rows - _ROOM_MM
        width = (page.width_mm - 18.0 - 8.0 * (columns - 1)) / columns
        for index, (zone, title) in enumerate(names.items()):
            row, column = divmod(index, columns)
            left = 14.0 + column * (width + 8.0)
            axes = page.box(left, 5.0 + flags_mm + row * (height + _ROOM_MM), width, height)
            count_axis(axes, highest, label="")
            date_axis(axes, first, last, most=5 if columns == 2 else 9)
            _name(axes, title, width, above_flags=bool(key) and row == 0)
            number_events(axes, history.events, first, last, with_flags=index < columns)
            for method in methods:
                _draw_method(
                    axes,
                    [one for one in shown if method_of(one) == method and zone in one.zones],
                    zone,
                    gap_days,
                )
            unseen = [number_of(one.datetime) for one in shown if one.abstained]
            axes.plot(unseen, [0.0] * len(unseen), "x", color=GREY, markersize=3.0, clip_on=False)
            if column:
                axes.set_yticklabels([])
            if index + columns < len(names):
                axes.set_xticklabels([])
        if not names:
            axes = page.axes(5.0, height)
            date_axis(axes, first, last)
            axes.set_yticks([])
            say_nothing(axes, "no counts by zone")
        page.legend(_legend(methods, any(one.abstained for one in shown)), 4)
        return page.figure


def _name(axes: Axes, title: str, width_mm: float, *, above_flags: bool) -> None:
    lines = wrapped(title, width_mm, (SMALL_PT + 0.6) * 1.2)
    text = lines[0] if len(lines) == 1 else lines[0].rstrip(" ,;") + " \u2026"
    name_panel(axes, text, 2.0, 13.0 if above_flags else 2.5)
    axes.spines["bottom"].set_color(LIGHT)


def _draw_method(axes: Axes, members: list[Observation], zone: str, gap_days: float) -> None:
    if not members:
        return
    mark = METHOD_MARKS.get(method_of(members[0]), OTHER_METHOD)
    x = np.array([number_of(one.datetime) for one in members])
    y = np.array([one.zones[zone]["count"] for one in members], dtype=float)
    low = np.array([one.zones[zone].get("count_low", value) for one, value in zip(members, y, strict=True)])
    high = np.array([one.zones[zone].get("count_high", value) for one, value in zip(members, y, strict=True)])
    broken_line(axes, x, y, gap_days, color=mark.colour, linewidth=0.6, alpha=0.5)
    axes.vlines(x, low, high, color=mark.colour, linewidth=0.8, alpha=0.6)
    axes.plot(
        x,
        y,
        marker=mark.marker,
        color=mark.colour,
        markerfacecolor=mark.face,
        markersize=mark.size * 0.75,
        markeredgewidth=0.8,
        linestyle="none",
        clip_on=False,
        zorder=4,
    )


def _legend(methods: Sequence[str], abstained: bool) -> list[Line2D]:
    handles = [sign_of(METHOD_MARKS.get(method, OTHER_METHOD)) for method in methods]
    if abstained:
        handles.append(sign_of(MarkerStyle("x", GREY, GREY, 4, "no answer")))
    return handles
