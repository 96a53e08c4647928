"""From the boxes of a scene to the count of an area.

What counts: a freight car whose centre lies inside the boundary, outside the masks that are active on the
day, and on a track of the area where the area has tracks. "On a track" means within `TRACK_REACH_M` of its
centre line, plus what the area file says the line may be off. Distances are measured on the ground, in an
azimuthal projection about the area.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray

from aoi import AreaOfInterest
from aoi.geodesy import local_metres
from detector.wagons.categories import count_by_type

if TYPE_CHECKING:
    import geopandas as gpd

    from detector.wagons.count_interval import CountInterval
    from detector.wagons.detections import Detections

__all__ = ["TRACK_REACH_M", "AreaCount", "count_area", "hidden_fraction", "visible_area"]

TRACK_REACH_M = 4.0
"""How far a box's centre may lie from the centre line of its track, metres.

Tracks of a yard lie 4.5 to 5.3 m apart, so half of that would do for perfect lines and pictures taken
straight from above. A wagon 4 m high seen 25 degrees off the vertical leans by 2 m, and a line drawn by
hand is off by 1 or 2 m. A wagon near several tracks goes to the nearest.
"""

ALL_SEEN = 0.7
"""Share of the tracks' length from which on an image shows the yard: the network misses some of any."""


@dataclass(frozen=True)
class AreaCount:
    """The freight cars of an area in one scene.

    Attributes:
        total: Of the area.
        zones: By zone id.
        tracks: By track id.
        detections: The boxes, with their ``track`` filled in and a column ``counted``.
        length_m: Sum of the lengths of the counted cars, metres.
        by_type: Counted cars of each type, "unknown" last; they add up to the total's count.
        seen: Share (0 to 1) of the tracks' length along which the image shows a railway, for an area without
            tracks 1 or 0; None if nobody looked.
        warnings: What a reader of the count should know.
    """

    total: CountInterval
    zones: Mapping[str, CountInterval]
    tracks: Mapping[str, CountInterval]
    detections: Detections
    length_m: float
    by_type: Mapping[str, int]
    seen: float | None
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Places:
    """Where each row of a table of boxes lies."""

    counted: NDArray[np.bool_]
    off_track: NDArray[np.bool_]
    track: NDArray[np.int64]
    zones: NDArray[np.bool_]


def count_area(detections: Detections, area: AreaOfInterest, day: date | None) -> AreaCount:
    """Count the freight cars of an area.

    Args:
        detections: The boxes of a scene with a position.
        area: In longitude and latitude.
        day: The scene's day: some masks have dates.

    Returns:
        The counts with their 90% intervals.
    """
    plane = area.to_crs(local_metres(area.boundary).target_crs)
    sure = _places(detections.frame, plane, day)
    below_threshold = _places(detections.below_threshold, plane, day)

    seen = _seen(detections, area)
    # Only where so much of the tracks isn't seen that the interval must say so.
    sight = detections.tracks if area.tracks and seen is not None and seen < ALL_SEEN else None

    def count(
        rows: NDArray[np.bool_], unsure: NDArray[np.bool_], points: NDArray[np.bool_] | slice
    ) -> CountInterval:
        counted = detections.count_in(rows & sure.counted, unsure & below_threshold.counted)
        if sight is None:
            return counted
        return replace(counted, high=counted.high + _cars_on(sight.unseen_m(points)))

    named = [area.tracks[number].id if number >= 0 else None for number in sure.track]
    freight = (detections.frame["category"] == "freight").to_numpy()
    frame = detections.frame.assign(track=np.array(named, dtype=object), counted=sure.counted & freight)
    off_track = int((sure.off_track & freight).sum())
    warnings = list(detections.warnings)
    if off_track:
        noun = "box lies" if off_track == 1 else "boxes lie"
        warnings.append(f"{off_track} {noun} inside the boundary but on none of its tracks, and not counted.")
    if sight is not None:
        warnings.append(
            f"A railway is seen along only {sight.share:.0%} of the tracks' length: clouds, snow or darkness "
            "may hide the rest, or the image lies aside. Up to "
            f"{_cars_on(sight.unseen_m())} more freight cars have room there."
        )
    places = None if sight is None else shapely.points(sight.lonlat)
    return AreaCount(
        total=count(sure.counted, below_threshold.counted, slice(None)),
        zones={
            zone.id: count(
                sure.zones[:, number],
                below_threshold.zones[:, number],
                slice(None) if places is None else shapely.covers(zone.polygon, places),
            )
            for number, zone in enumerate(area.zones)
        },
        tracks={
            track.id: count(
                sure.track == number,
                below_threshold.track == number,
                slice(None) if sight is None else sight.track == number,
            )
            for number, track in enumerate(area.tracks)
        },
        detections=replace(detections, frame=frame),
        length_m=float(frame.loc[frame["counted"], "length_m"].sum()),
        by_type=count_by_type(frame.loc[frame["counted"], "car_type"]),
        seen=seen,
        warnings=tuple(warnings),
    )


def _seen(detections: Detections, area: AreaOfInterest) -> float | None:
    """The share of the tracks along which a railway is seen."""
    if area.tracks:
        return None if detections.tracks is None else detections.tracks.share
    return None if detections.railway is None else float(detections.railway)


def _cars_on(metres: float) -> int:
    """Freight cars that have room on a length of track."""
    # Its package takes pandas and scipy in, and few images need it.
    from railwatch.history.settings import CAR_LENGTH_M

    return int(metres / CAR_LENGTH_M[0])


def _places(frame: gpd.GeoDataFrame, area: AreaOfInterest, day: date | None) -> _Places:
    """Tell where the boxes' centres lie, for an area in metres."""
    centres = np.asarray(shapely.centroid(frame.geometry.to_crs(area.crs).to_numpy()))
    inside = shapely.covers(area.boundary, centres) & ~shapely.covers(area.hidden_on(day), centres)
    nearest, on_track = _tracks(centres, area)
    zones = np.zeros((len(centres), len(area.zones)), bool)
    for number, zone in enumerate(area.zones):
        zones[:, number] = shapely.covers(zone.polygon, centres)
    return _Places(
        counted=inside & on_track,
        off_track=inside & ~on_track,
        track=np.where(inside & on_track, nearest, -1),
        zones=zones,
    )


def _tracks(
    centres: NDArray[np.object_], area: AreaOfInterest
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Give each centre its nearest track within reach (an index, -1 for none), and whether it may count."""
    if not area.tracks or not len(centres):
        return np.full(len(centres), -1), np.full(len(centres), not area.tracks)
    lines = np.array([track.line for track in area.tracks], dtype=object)
    reach = np.array([TRACK_REACH_M + (track.uncertainty_m or 0.0) for track in area.tracks])
    distance = shapely.distance(centres[:, None], lines[None, :])
    distance = np.where(distance <= reach[None, :], distance, np.inf)
    nearest = distance.argmin(axis=1)
    on_track = np.isfinite(distance.min(axis=1))
    return np.where(on_track, nearest, -1), on_track


def hidden_fraction(area: AreaOfInterest, day: date | None) -> float:
    """Return the share (0-1) of the area that masks hide on a day."""
    hidden = area.hidden_on(day).intersection(area.boundary)
    return min(1.0, float(hidden.area / area.boundary.area))


def visible_area(area: AreaOfInterest, day: date | None) -> AreaOfInterest | None:
    """Return the area less what masks hide on a day, or None if nothing is left."""
    visible = area.boundary.difference(area.hidden_on(day))
    return None if visible.is_empty else replace(area, boundary=visible)
