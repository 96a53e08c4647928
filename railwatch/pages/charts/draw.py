"""One chart of one area, of any kind, as command line and Python ask for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

from railwatch.history.history import Event, History
from railwatch.pages.charts import ChartKind
from railwatch.pages.charts.calendar import draw_calendar
from railwatch.pages.charts.series import GAP_DAYS, draw_series
from railwatch.pages.charts.style import PAGE, ChartError, PageStyle
from railwatch.pages.charts.tracks import draw_tracks, track_lengths, track_occupations
from railwatch.pages.charts.types import draw_types
from railwatch.pages.charts.zones import draw_zones

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from railwatch.history.sources import Sources


@dataclass(frozen=True)
class DrawnChart:
    """A chart that is drawn and not yet written.

    Attributes:
        figure: The figure.
        aoi: The area's name.
        history: What it was drawn from.
        notes: What its reader should know, a sentence each.
    """

    figure: Figure
    aoi: str
    history: History
    notes: tuple[str, ...]


def draw_chart(
    sources: Sources,
    kind: ChartKind = "series",
    style: PageStyle = PAGE,
    *,
    events: Sequence[Event] = (),
    since: date | None = None,
    until: date | None = None,
    show_published: bool = True,
    gap_days: float = GAP_DAYS,
    day: date | None = None,
) -> DrawnChart:
    """Draw the history of an area.

    Args:
        sources: Of one area.
        kind: ``series`` counts over time; ``zones`` the same by zone; ``calendar`` what was seen when;
            ``tracks`` which stretches of track were occupied; ``types`` which types of cars stood there.
        style: Size and type.
        events: What happened when.
        since: First day to draw.
        until: Last day to draw.
        show_published: Draw the published counts that belong to the history.
        gap_days: Longest time between two observations that a line may cross.
        day: The day that the chart is about; by default the foremost one.

    Raises:
        InputError: If nothing was counted on the day.
        ChartError: If the sources are about several areas or none, or don't hold what this kind shows.
    """
    if len(sources.names) != 1:
        listed = ", ".join(sources.names) or "none yet"
        raise ChartError(f"a chart is about one area; choose it with --aoi (the store has {listed})")
    name = sources.names[0]
    area = sources.areas.get(name)
    whole = sources.histories[name]
    history = replace(
        whole if show_published else whole.without_published(),
        events=tuple(sorted(events)),
        since=since,
        until=until,
        day=day,
    )
    if day is not None:
        sources.verdicts_on(day)
    notes = list(sources.notes)
    if kind == "zones" and not any(one.zones for one in history.observations):
        raise ChartError(f"no count of {name} is given by zone: use --kind series, or give its area zones")
    if kind == "types" and not any(one.count_by_type and one.count for one in history.observations):
        raise ChartError(
            f"no count of {name} is given by type of car: images of a metre and finer are, counted by this "
            "version; use --kind series"
        )
    if kind == "tracks":
        history, left_out = history.wagon_by_wagon()
        if left_out and not history.observations:
            raise ChartError(
                f"--kind tracks needs images on which wagons are counted one by one, and all {left_out} "
                f"dates of {name} are answered at 10 m: use --kind zones, series or calendar"
            )
        if left_out:
            notes.append(f"{left_out} dates at 10 m aren't drawn: they say nothing about single tracks.")
    if kind == "calendar":
        figure = draw_calendar(history, style)
    elif kind == "zones":
        titles = {zone.id: zone.title for zone in area.zones} if area is not None and area.zones else None
        figure = draw_zones(history, titles, style, gap_days=gap_days)
    elif kind == "tracks":
        if area is None:
            raise ChartError(f"the tracks of {name} aren't known here: give its area file with --aoi FILE")
        observations = track_occupations(area, history, sources.store)
        figure = draw_tracks(history, track_lengths(area), observations, style)
    elif kind == "types":
        figure = draw_types(history, style)
    else:
        figure = draw_series(history, style, gap_days=gap_days)
    return DrawnChart(figure, name, history, tuple(notes))
