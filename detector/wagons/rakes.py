"""Rakes: cars coupled one behind the other, of which what is known of one says something of the others.

A car alone is hard to tell from a coach: from above both are long boxes. A whole rake is easier: coaches run
with coaches, freight cars with freight cars. So the category is decided for the rake, and what doubt remains
goes into the count's interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from aoi.geodesy import local_metres
from detector.wagons.boxes import Boxes, near_pairs
from detector.wagons.categories import COACH, FREIGHT, LOCOMOTIVE

if TYPE_CHECKING:
    import geopandas as gpd

METRE_PX = 2.0
COUPLED_GAP_M = (-2.5, 4.0)  # between the ends of two coupled bodies, with the error of both lengths
ACROSS_M = 1.3
TURN_DEG = 9.0


def coupled(boxes: Boxes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of boxes that stand one behind the other on one track, coupled.

    Args:
        boxes: ``(N, 5)`` in work pixels of 0.5 m.
    """
    if len(boxes) < 2:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    reach = float(boxes[:, 2].max()) + (COUPLED_GAP_M[1] + 1.0) * METRE_PX
    i, j = near_pairs(boxes[:, :2], reach)
    delta = boxes[j, :2] - boxes[i, :2]
    turn = np.abs((boxes[i, 4] - boxes[j, 4] + 90.0) % 180.0 - 90.0)
    theta = np.deg2rad(boxes[i, 4])
    along = np.abs(delta[:, 0] * np.cos(theta) + delta[:, 1] * np.sin(theta))
    # On a curve each sees the other beside its own axis; seen from both the nearer one counts.
    across = np.min(
        [
            np.abs(-delta[:, 0] * np.sin(t) + delta[:, 1] * np.cos(t))
            for t in (theta, np.deg2rad(boxes[j, 4]))
        ],
        axis=0,
    )
    gap_m = (along - (boxes[i, 2] + boxes[j, 2]) / 2) / METRE_PX
    near = (
        (turn < TURN_DEG)
        & (across < ACROSS_M * METRE_PX)
        & (gap_m > COUPLED_GAP_M[0])
        & (gap_m < COUPLED_GAP_M[1])
    )
    return i[near], j[near]


def rakes(boxes: Boxes) -> NDArray[np.int64]:
    """The number of the rake of each box, ``(N,)``; a car that stands alone is a rake of its own.

    Args:
        boxes: ``(N, 5)`` in work pixels of 0.5 m.

    Example:
        >>> rakes(np.array([[0, 0, 28, 6, 0], [30, 0, 28, 6, 0], [0, 10, 28, 6, 0]], float)).tolist()
        [0, 0, 1]
    """
    return _joined(len(boxes), *coupled(boxes))


def _joined(number: int, i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.int64]:
    """The group of each of some things of which pairs belong together, ``(number,)``."""
    # Each takes the lowest number of those coupled to it, and what that one has taken, until none
    # changes. (SciPy finds such groups too, but to import it takes longer than to count.)
    lowest = np.arange(number)
    while (lowest[i] != lowest[j]).any():
        low = np.minimum(lowest[i], lowest[j])
        for ends in (i, j, lowest[i], lowest[j]):
            np.minimum.at(lowest, ends, low)
        lowest = lowest[lowest]
    return np.asarray(np.unique(lowest, return_inverse=True)[1], np.int64)


class FreightOdds(NamedTuple):
    """How a rake's log odds of freight car against coach become a probability: ``scale * odds + bias``."""

    scale: float = 1.0
    bias: float = 0.0


def category_probability(
    boxes: Boxes,
    probability: NDArray[np.float64],
    category: NDArray[np.float64],
    calibration: FreightOdds | None = None,
) -> NDArray[np.float64]:
    """Probability of each category, decided for freight car and coach by the rake as a whole, ``(N, 3)``.

    A locomotive is decided by itself, since one heads trains of either kind; what is no locomotive shares the
    odds of its rake: the mean of the log odds of freight car against coach over its boxes, each weighted by
    the probability that it is a rail vehicle at all. It is the mean and not the sum, because the cars of one
    rake look alike and err together.

    Args:
        boxes: ``(N, 5)`` in work pixels.
        probability: ``(N,)`` that each box is a rail vehicle.
        category: ``(N, 3)`` what the network says of each box by itself.
        calibration: Of the rakes' odds, fitted to scenes that the network was not trained on; none if None.
    """
    if not len(boxes):
        return category.copy()
    number = rakes(boxes)
    safe = np.clip(category, 1e-4, 1.0)
    odds = np.log(safe[:, FREIGHT]) - np.log(safe[:, COACH])
    weight = probability * (1.0 - category[:, LOCOMOTIVE]) + 1e-6
    shared = np.bincount(number, weight * odds) / np.bincount(number, weight)
    scale, bias = calibration or FreightOdds()
    freight = 1.0 / (1.0 + np.exp(-(scale * shared[number] + bias)))
    others = 1.0 - category[:, LOCOMOTIVE]
    out = category.copy()
    out[:, FREIGHT] = others * freight
    out[:, COACH] = others * (1.0 - freight)
    return out


# ---- in a table of boxes --------------------------------------------------------------------------

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
    labels = _joined(len(rows), first, second)
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
