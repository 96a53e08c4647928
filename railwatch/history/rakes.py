"""Rakes: freight cars that stand coupled in a row, found from their boxes alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from aoi.geodesy import local_metres

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["CountedRake", "rakes_of"]

_COUPLED_M = 4.0
"""Boxes of one row with a smaller gap are coupled: two couplers take a metre, boxes are a little off."""
_SLIM = 0.6
"""So much of a box's width is looked at, so that cars on the next track aren't neighbours."""


@dataclass(frozen=True)
class CountedRake:
    """A row of coupled cars.

    Attributes:
        cars: How many.
        length_m: From end to end, metres.
        track: The track that most of them stand on, or an empty text.
        rows: Their rows in the table of boxes.
        middle: Centre of the car in its middle, in the table's CRS.
    """

    cars: int
    length_m: float
    track: str
    rows: tuple[int, ...]
    middle: tuple[float, float]


def rakes_of(boxes: gpd.GeoDataFrame) -> list[CountedRake]:
    """Return the rakes of counted freight cars, the longest first; every car is in one.

    Args:
        boxes: As a store keeps them: rectangles with a CRS; the columns ``category``, ``counted`` and
            ``track`` are heeded where they are there.
    """
    chosen = np.ones(len(boxes), np.bool_)
    if "category" in boxes:
        chosen &= boxes["category"].to_numpy(object) == "freight"
    if "counted" in boxes:
        chosen &= boxes["counted"].to_numpy(bool)
    rows = np.flatnonzero(chosen)
    if not len(rows):
        return []
    given = boxes.geometry.iloc[rows]
    plane = local_metres(given.iloc[[0]].to_crs("EPSG:4326").iloc[0]).target_crs
    shapes = given.to_crs(plane).to_numpy()
    axes = [_axis(shape) for shape in shapes]
    slim = np.array([_stretched(axis) for axis in axes], dtype=object)
    first, second = shapely.STRtree(slim).query(slim, predicate="intersects")
    links = coo_array((np.ones(len(first)), (first, second)), shape=(len(rows), len(rows)))
    _, labels = connected_components(links, directed=False)
    tracks = boxes["track"].to_numpy(object)[rows] if "track" in boxes else np.full(len(rows), "")
    found = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        corners = np.concatenate([shapely.get_coordinates(shapes[one]) for one in members])
        centre, along, _, _ = axes[members[0]]
        reach = (corners - centre) @ along
        names = [name for name in tracks[members] if isinstance(name, str) and name]
        order = sorted(members, key=lambda one: float((axes[one][0] - centre) @ along))
        middle = shapely.centroid(given.iloc[order[len(order) // 2]])
        found.append(
            CountedRake(
                cars=len(members),
                length_m=float(reach.max() - reach.min()),
                track=max(sorted(set(names)), key=names.count, default=""),
                rows=tuple(int(rows[one]) for one in members),
                middle=(middle.x, middle.y),
            )
        )
    return sorted(found, key=lambda one: (-one.cars, -one.length_m, one.rows))


_Axis = tuple[np.ndarray, np.ndarray, float, float]


def _axis(shape: shapely.Geometry) -> _Axis:
    """Centre, direction of the long side, half length and half width of a rectangle."""
    corners = shapely.get_coordinates(shapely.minimum_rotated_rectangle(shape))[:4]
    sides = corners[1] - corners[0], corners[2] - corners[1]
    lengths = [float(np.hypot(*side)) for side in sides]
    long = int(lengths[1] > lengths[0])
    along = sides[long] / max(lengths[long], 1e-9)
    return corners.mean(axis=0), along, lengths[long] / 2.0, lengths[1 - long] / 2.0


def _stretched(axis: _Axis) -> shapely.Geometry:
    """A slim box that reaches half a coupling further at both ends."""
    centre, along, half, width = axis
    reach, aside = along * (half + _COUPLED_M / 2.0), np.array([-along[1], along[0]]) * width * _SLIM
    return shapely.Polygon(
        [centre + reach + aside, centre + reach - aside, centre - reach - aside, centre - reach + aside]
    )
