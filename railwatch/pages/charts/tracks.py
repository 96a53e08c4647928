"""Which stretch of which track was occupied on which date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import shapely
from matplotlib.patches import Patch

from aoi.geodesy import local_metres
from railwatch.pages.charts.frame import Page
from railwatch.pages.charts.style import (
    BLUE,
    GREY,
    LIGHT,
    PAGE,
    PALE,
    SMALL_PT,
    PageStyle,
    drawing,
    name_panel,
    say_nothing,
    wrapped,
)

if TYPE_CHECKING:
    import geopandas as gpd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from aoi import AreaOfInterest
    from railwatch.history.history import History
    from railwatch.store.store import Store

Stretch = tuple[float, float]

COUPLED_M = 4.0
"""Wagons closer than this stand in one stretch: two couplers are about a metre, boxes are a little off."""

_ROW_MM = 3.0
_MOST_BODY_MM = 215.0
_ROOM_MM = 10.5


@dataclass(frozen=True)
class TrackOccupation:
    """What one observation saw on the tracks.

    Attributes:
        when: Time of the scene, UTC.
        stretches: Occupied stretches by track id, metres from the track's beginning; a track that was
            seen empty has none. None when the observation gave no answer.
    """

    when: datetime
    stretches: Mapping[str, tuple[Stretch, ...]] | None


def track_lengths(area: AreaOfInterest) -> dict[str, float]:
    """Return the length of each track in metres on the ground, by id."""
    plane = area.to_crs(local_metres(area.boundary).target_crs)
    return {track.id: float(track.line.length) for track in plane.tracks}


def occupied_stretches(area: AreaOfInterest, boxes: gpd.GeoDataFrame) -> dict[str, tuple[Stretch, ...]]:
    """Return the stretches of track that the boxes of a scene occupy.

    Args:
        area: With tracks, in longitude and latitude.
        boxes: As a store keeps them: rectangles with a CRS, their ``track``, and whether each ``counted``.

    Returns:
        For every track of the area its stretches in metres from its beginning, in order.
    """
    plane = area.to_crs(local_metres(area.boundary).target_crs)
    found: dict[str, tuple[Stretch, ...]] = {track.id: () for track in plane.tracks}
    if boxes.empty or boxes.crs is None:
        return found
    counted = boxes[boxes["counted"].astype(bool)] if "counted" in boxes else boxes
    moved = counted.to_crs(plane.crs)
    for track in plane.tracks:
        shapes = moved.geometry[moved["track"] == track.id].to_numpy()
        ends = [_shadow(shape, track.line) for shape in shapes]
        found[track.id] = _joined(ends)
    return found


def track_occupations(area: AreaOfInterest, history: History, store: Store | None) -> list[TrackOccupation]:
    """Return what each observation in view saw on the tracks of an area.

    Observations that kept no boxes say nothing about single tracks and are left out; those without an
    answer are in, as such.

    Args:
        area: With tracks.
        history: Its observations.
        store: Where the boxes are kept.
    """
    if store is None or not area.tracks:
        return []
    first, last = history.span()
    observations = []
    for one in history.observations:
        if not first <= one.datetime.date() <= last:
            continue
        if one.abstained:
            observations.append(TrackOccupation(one.datetime, None))
            continue
        boxes = store.readable_detections(one.id)
        if boxes is not None:
            observations.append(TrackOccupation(one.datetime, occupied_stretches(area, boxes)))
    return observations


def _shadow(shape: shapely.Geometry, line: shapely.LineString) -> Stretch:
    """From where to where a rectangle reaches along a line."""
    corners = shapely.points(shapely.get_coordinates(shape))
    along = np.asarray(shapely.line_locate_point(line, corners))
    return float(along.min()), float(along.max())


def _joined(stretches: Sequence[Stretch]) -> tuple[Stretch, ...]:
    joined: list[list[float]] = []
    for begin, end in sorted(stretches):
        if joined and begin - joined[-1][1] <= COUPLED_M:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([begin, end])
    return tuple((begin, end) for begin, end in joined)


def draw_tracks(
    history: History,
    lengths: Mapping[str, float],
    observations: Sequence[TrackOccupation],
    style: PageStyle = PAGE,
) -> Figure:
    """Draw a panel a track: along it the metres, down it the observations, dark where cars stood.

    Args:
        history: Of the place, for the page around the drawing.
        lengths: Length of each track, metres, in the order of drawing.
        observations: In any order.
        style: Size and type.
    """
    ordered = sorted(observations, key=lambda observation: observation.when)
    columns = 1 if len(lengths) <= 2 else 2
    rows = max(-(-len(lengths) // columns), 1)
    room = _MOST_BODY_MM / rows - _ROOM_MM
    most = max(int(room / 1.5), 3)
    left_out = max(len(ordered) - most, 0)
    ordered = ordered[left_out:]
    panel = min(max(len(ordered) * _ROW_MM, 9.0), max(room, 9.0))
    notes = [
        "Metres are counted along each track from the beginning of its line in the area's file.",
        f"The latest {len(ordered)} of {len(ordered) + left_out} images are drawn." if left_out else "",
    ]
    with drawing(style):
        page = Page(
            style,
            rows * (panel + _ROOM_MM) + 3.0,
            history,
            "Stretches of track where freight cars stood, by date",
            notes,
            legend_mm=6.0,
        )
        left, between = 19.0, 20.0
        width = (page.width_mm - left - 4.0 - between * (columns - 1)) / columns
        height = (page.body_mm - 3.0) / rows - _ROOM_MM
        for index, (track, length) in enumerate(lengths.items()):
            row, column = divmod(index, columns)
            axes = page.box(left + column * (width + between), 4.0 + row * (height + _ROOM_MM), width, height)
            _draw_track(axes, track, length, ordered, width, height)
        if not lengths or not ordered:
            axes = page.axes(4.0, height)
            axes.axis("off")
            say_nothing(axes, "no image in this period" if lengths else "the area has no track lines")
        page.legend(
            [
                Patch(facecolor=BLUE, label="freight cars"),
                Patch(facecolor=PALE, edgecolor=LIGHT, linewidth=0.4, label="track seen, nothing there"),
                Patch(facecolor="white", edgecolor=GREY, hatch="////", linewidth=0.4, label="no answer"),
            ],
            3,
        )
        return page.figure


def _draw_track(
    axes: Axes,
    track: str,
    length: float,
    observations: Sequence[TrackOccupation],
    width_mm: float,
    height_mm: float,
) -> None:
    axes.set_xlim(0.0, max(length, 1.0))
    axes.set_ylim(max(len(observations), 1), 0.0)
    for row, observation in enumerate(observations):
        whole, place = [(0.0, length)], (row + 0.12, 0.76)
        if observation.stretches is None:
            axes.broken_barh(whole, place, facecolor="white", edgecolor=LIGHT, hatch="////", linewidth=0.3)
            continue
        axes.broken_barh(whole, place, facecolor=PALE, linewidth=0)
        bars = [(begin, end - begin) for begin, end in observation.stretches.get(track, ())]
        axes.broken_barh(bars, place, facecolor=BLUE, linewidth=0)
    step = max(-(-len(observations) * 100 // max(int(height_mm / 2.6 * 100), 1)), 1)
    axes.set_yticks([row + 0.5 for row in range(0, len(observations), step)])
    axes.set_yticklabels(
        [f"{observation.when:%Y-%m-%d}" for observation in observations[::step]], fontsize=SMALL_PT - 0.8
    )
    axes.tick_params(axis="y", length=0, pad=2)
    axes.tick_params(axis="x", labelsize=SMALL_PT - 0.4)
    axes.locator_params(axis="x", nbins=6)
    axes.spines["left"].set_visible(False)
    name_panel(axes, wrapped(f"{track}, {length:.0f} m", width_mm, SMALL_PT + 0.6)[0], 0.0, 2.0)
