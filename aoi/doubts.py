"""What is allowed in an area but probably not meant."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import shapely
from shapely import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from aoi import geodesy as ground
from aoi.model import AreaOfInterest, Track, Zone

__all__ = ["doubts"]

# The largest rail yards of the world cover some 10 km2.
_LARGE_AREA_M2 = 1000e6
_SMALL_AREA_M2 = 10_000.0
_OVERLAP_M2 = 1.0
# Track centres are at least 3.6 m apart, but meet at every switch: two lines this close to each other
# over this length are one track drawn twice.
_SAME_TRACK_M = 2.0
_SAME_TRACK_LENGTH_M = 60.0


def doubts(area: AreaOfInterest) -> Iterator[str]:
    """Looks an area over for what is allowed but odd.

    Args:
        area: A valid area in WGS84.

    Yields:
        One sentence a doubt, without the file's name: an odd size, overlapping zones, tracks drawn
        twice.
    """
    yield from _odd_size(area.boundary)
    yield from _overlapping(area.zones)
    yield from _drawn_twice(area.tracks)


def _odd_size(boundary: BaseGeometry) -> Iterator[str]:
    area_m2 = ground.area_m2(boundary)
    if area_m2 > _LARGE_AREA_M2:
        yield f"has a boundary of {area_m2 / 1e6:,.0f} km2, which is more than a rail yard"
    elif area_m2 < _SMALL_AREA_M2:
        yield f"has a boundary of {area_m2:,.0f} m2, which is less than a rail yard"


def _overlapping(zones: tuple[Zone, ...]) -> Iterator[str]:
    for zone, other in combinations(zones, 2):
        shared = _polygons(zone.polygon.intersection(other.polygon))
        if not shared.is_empty and ground.area_m2(shared) > _OVERLAP_M2:
            yield f"has zones {zone.id!r} and {other.id!r} overlap: a wagon there counts in both"


def _drawn_twice(tracks: tuple[Track, ...]) -> Iterator[str]:
    if len(tracks) < 2:
        return
    plane = ground.local_metres(shapely.GeometryCollection([track.line for track in tracks]))
    lines = [shapely.transform(track.line, plane.transform, interleaved=False) for track in tracks]
    near = shapely.STRtree(lines).query(lines, predicate="dwithin", distance=_SAME_TRACK_M)
    for first, second in sorted((int(a), int(b)) for a, b in near.T if a < b):
        shared_m = lines[first].intersection(lines[second].buffer(_SAME_TRACK_M)).length
        if shared_m >= _SAME_TRACK_LENGTH_M:
            yield (
                f"has tracks {tracks[first].id!r} and {tracks[second].id!r} within {_SAME_TRACK_M:g} m of "
                f"each other over {shared_m:.0f} m: probably one track drawn twice"
            )


def _polygons(geometry: BaseGeometry) -> MultiPolygon:
    """The polygons of any geometry."""
    return MultiPolygon([part for part in shapely.get_parts(geometry) if isinstance(part, Polygon)])
