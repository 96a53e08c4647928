"""What all looks at an area say together: wagons and maps of track, moved over each other.

Images of a metre and finer lie some metres off each other on the map, and the wagons of an oblique one lean
away from their rails. Tracks are 4.5 m apart, so that a mean over observations that are 2 m off is a blur.
Each layer (the track map of an observation, or its wagons) is moved to where it fits the sum of all others
best. Across the tracks this is sharp; along them nothing is known, and a layer stays where it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from geo.grid import PlaneGrid

Float = NDArray[np.float64]

# Standard deviation of the soft line that a wagon's middle leaves, metres: about what a middle is off.
_MIDDLE_M = 0.8


class Sightings(NamedTuple):
    """Wagons seen, in the frame of a grid.

    Attributes:
        xy: (N, 2) middles, metres.
        angle: (N,) of the long axis, radians from +x towards +y, in [0, pi).
        length_m: (N,).
        score: (N,) probability of being a wagon, 0 to 1.
        observation: (N,) which image or observation saw it, counted from 0.
    """

    xy: Float
    angle: Float
    length_m: Float
    score: Float
    observation: NDArray[np.int64]

    @classmethod
    def none(cls) -> Sightings:
        """No sightings, with the right shapes."""
        nothing = np.zeros(0)
        return cls(np.zeros((0, 2)), nothing, nothing, nothing, np.zeros(0, np.int64))

    @classmethod
    def joined(cls, parts: Sequence[Sightings]) -> Sightings:
        """Those of several observations."""
        fields: list[Any] = [np.concatenate(one) for one in zip(cls.none(), *parts, strict=True)]
        return cls(*fields)

    @classmethod
    def from_polygons(
        cls, polygons: Sequence[shapely.Polygon], score: NDArray[np.floating], grid: PlaneGrid
    ) -> Sightings:
        """Rectangles in the grid's CRS as sightings of observation 0.

        The corners come in the order of `geo.boxes.MapBoxes`; of any other shape the smallest rectangle
        around it is taken.
        """
        if not len(polygons):
            return cls.none()
        corners = np.stack([_corners(polygon) for polygon in polygons])
        corners = grid.to_frame(corners.reshape(-1, 2)).reshape(corners.shape)
        along = (corners[:, 0] + corners[:, 1] - corners[:, 2] - corners[:, 3]) / 2
        across = (corners[:, 1] + corners[:, 2] - corners[:, 3] - corners[:, 0]) / 2
        longer = np.hypot(*across.T) > np.hypot(*along.T)
        axis = np.where(longer[:, None], across, along)
        return cls(
            corners.mean(axis=1),
            np.arctan2(axis[:, 1], axis[:, 0]) % math.pi,
            np.hypot(axis[:, 0], axis[:, 1]),
            np.asarray(score, np.float64),
            np.zeros(len(polygons), np.int64),
        )

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Sightings:
        """Some of them."""
        fields: list[Any] = [field[rows] for field in self]
        return Sightings(*fields)


def _corners(polygon: shapely.Polygon) -> Float:
    corners = shapely.get_coordinates(polygon.exterior)[:-1]
    if len(corners) != 4:
        corners = shapely.get_coordinates(shapely.oriented_envelope(polygon))[:4]
    return np.asarray(corners, np.float64)


def heap(sightings: Sightings, grid: PlaneGrid) -> Float:
    """Wagons heaped on the grid, (H, W): each a soft line along its middle, as high as its score."""
    out = np.zeros(grid.shape)
    cell = grid.cell_m
    for (x, y), angle, length, score in zip(
        sightings.xy, sightings.angle, sightings.length_m, sightings.score, strict=True
    ):
        reach = length / 2 + 3.0
        left, right = max(0, int((x - reach) / cell)), min(grid.shape[1], int((x + reach) / cell) + 2)
        top, bottom = max(0, int((y - reach) / cell)), min(grid.shape[0], int((y + reach) / cell) + 2)
        if left >= right or top >= bottom:
            continue
        dx, dy = np.meshgrid(
            (np.arange(left, right) + 0.5) * cell - x, (np.arange(top, bottom) + 0.5) * cell - y
        )
        along = np.abs(dx * math.cos(angle) + dy * math.sin(angle))
        across = dy * math.cos(angle) - dx * math.sin(angle)
        ends = np.clip(length / 2 + 0.7 - along, 0.0, 1.0)
        out[top:bottom, left:right] += score * ends * np.exp(-(across**2) / (2 * _MIDDLE_M**2))
    return out


REACH_M = 2.5
"""How far a layer is moved at most, metres: a little over half of the way to the next track.

Wagons on a track where no other observation has seen any must not be drawn to the neighbouring one.
"""

_STEP_M = 0.5
_PASSES = 3
# A layer of fewer points than this doesn't know where it is.
_FEWEST = 30
_MOST = 20_000
# Moves are expected to be of this size: of places that fit alike the nearer one is meant.
_USUAL_M = 2.0
_SOFT_M = 0.5
# What a layer that fits nowhere has to gain by a move before it makes one, of a perfect fit with one other.
_INERTIA = 0.3


class TrackPoints(NamedTuple):
    """Points where an observation sees track.

    Attributes:
        xy: (N, 2) metres in the frame of the grid.
        weight: (N,) how surely.
    """

    xy: Float
    weight: Float


def line_layer(xy: Float, angle: Float, length_m: Float, weight: Float) -> TrackPoints:
    """Wagons as points along their middle lines, a metre apart; arguments as in `Sightings`."""
    points, weights = [np.zeros((0, 2))], [np.zeros(0)]
    for place, turn, length, value in zip(xy, angle, length_m, weight, strict=True):
        at = np.linspace(-length / 2, length / 2, max(2, round(length) + 1))
        points.append(place + at[:, None] * np.array([math.cos(turn), math.sin(turn)]))
        weights.append(np.full(len(at), value))
    return TrackPoints(np.concatenate(points), np.concatenate(weights))


def map_layer(likelihood: NDArray[np.floating], cell_m: float) -> TrackPoints:
    """A map of likelihood as points, where it is higher than around."""
    values = np.asarray(likelihood, np.float64)
    sharp = ndimage.gaussian_filter(values, 0.7 / cell_m) - ndimage.gaussian_filter(values, 3.0 / cell_m)
    row, column = np.nonzero(sharp > 0.03)
    weight = sharp[row, column]
    if len(row) > _MOST:
        best = np.sort(np.argsort(-weight, kind="stable")[:_MOST])
        row, column, weight = row[best], column[best], weight[best]
    places = np.column_stack([column, row]).astype(np.float64)
    return TrackPoints((places + 0.5) * cell_m, weight)


def align(layers: Sequence[TrackPoints], shape: tuple[int, int], cell_m: float) -> Float:
    """How far each layer is to be moved.

    Args:
        layers: of all observations.
        shape: rows and columns of the grid.
        cell_m: side of a cell.

    Returns:
        (len(layers), 2) metres, with a mean of 0 over the layers, weighted by what they hold: where all
        together lie can't be told.
    """
    moves = np.zeros((len(layers), 2))
    able = [number for number, layer in enumerate(layers) if len(layer.xy) >= _FEWEST]
    if len(able) < 2:
        return moves
    drawn = {number: _drawn(layers[number], moves[number], shape, cell_m) for number in able}
    total = np.zeros(shape)
    for window, values in drawn.values():
        total[window] += values
    # nothing has moved yet, so that a window's corner is the place of its values
    own = {
        number: _fit(layers[number], -_corner(window, cell_m), values, cell_m)
        for number, (window, values) in drawn.items()
    }
    for _ in range(_PASSES):
        for number in able:
            window, values = drawn[number]
            total[window] -= values
            moves[number] = _best_move(layers[number], total, own[number], cell_m)
            window, values = drawn[number] = _drawn(layers[number], moves[number], shape, cell_m)
            total[window] += values
    weight = np.array([layer.weight.sum() for layer in layers])
    weight[[number for number in range(len(layers)) if number not in able]] = 0.0
    moves[able] -= np.average(moves, axis=0, weights=weight)
    return moves


_Window = tuple[slice, slice]


def _drawn(layer: TrackPoints, move: Float, shape: tuple[int, int], cell_m: float) -> tuple[_Window, Float]:
    """A layer as a map, softened, none of it heavier than the others; and the window that it fills."""
    cell = np.floor((layer.xy + move) / cell_m).astype(np.int64)
    inside = (cell >= 0).all(axis=1) & (cell[:, 0] < shape[1]) & (cell[:, 1] < shape[0])
    if not inside.any():
        return (slice(0, 0), slice(0, 0)), np.zeros((0, 0))
    cell = cell[inside]
    rim = math.ceil(4 * _SOFT_M / cell_m)
    left, top = np.maximum(cell.min(axis=0) - rim, 0)
    right, bottom = np.minimum(cell.max(axis=0) + rim + 1, shape[::-1])
    out = np.zeros((bottom - top, right - left))
    np.add.at(out, (cell[:, 1] - top, cell[:, 0] - left), layer.weight[inside])
    soft = ndimage.gaussian_filter(out, _SOFT_M / cell_m) / max(1e-9, layer.weight.mean())
    return (slice(int(top), int(bottom)), slice(int(left), int(right))), np.asarray(soft)


def _best_move(layer: TrackPoints, others: Float, own: float, cell_m: float) -> Float:
    """Where a layer fits the others best.

    Args:
        layer: the layer.
        others: (H, W) all others, as drawn.
        own: its fit with itself.
        cell_m: side of a cell.
    """
    offsets = np.arange(-REACH_M, REACH_M + _STEP_M / 2, _STEP_M)
    fit = np.empty((len(offsets), len(offsets)))
    for row, column in np.ndindex(*fit.shape):
        move = np.array([offsets[column], offsets[row]])
        usual = math.exp(-float(move @ move) / (2 * _USUAL_M**2))
        fit[row, column] = (_fit(layer, move, others, cell_m) + _INERTIA * own) * usual
    row, column = (int(index) for index in np.unravel_index(int(fit.argmax()), fit.shape))
    between = np.array([_top(fit[row], column), _top(fit[:, column], row)])
    return np.array([offsets[column], offsets[row]]) + _STEP_M * between


def _corner(window: _Window, cell_m: float) -> Float:
    """Where a window of the grid begins, metres."""
    return np.array([window[1].start, window[0].start], np.float64) * cell_m


def _fit(layer: TrackPoints, move: Float, drawn: Float, cell_m: float) -> float:
    """How much a layer finds under it."""
    at = ((layer.xy + move) / cell_m - 0.5).T[::-1]
    return float(layer.weight @ ndimage.map_coordinates(drawn, at, order=1, mode="constant"))


def _top(values: Float, at: int) -> float:
    """Where between its neighbours the largest of some values lies, in steps."""
    if not 0 < at < len(values) - 1:
        return 0.0
    low, middle, high = values[at - 1 : at + 2]
    bend = low - 2 * middle + high
    return float(np.clip((low - high) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0


class TrackObservation(NamedTuple):
    """What one image or observation says.

    Attributes:
        sightings: wagons, in the grid's frame.
        likelihood: (H, W) that a track runs through a cell, 0 to 1; None where there are only wagons.
        seen: (H, W) where there is such a likelihood; None with it.
    """

    sightings: Sightings
    likelihood: NDArray[np.float32] | None = None
    seen: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Evidence:
    """What several observations say, laid over each other.

    Attributes:
        grid: where it lies.
        sightings: wagons of all observations.
        likelihood: (H, W) mean of the maps; where nothing was seen, the nearest value. None without maps.
        seen: (H, W) where there is a map; None without.
        moved_m: how far the layers of each observation were moved to lie over the others: the larger of its
            map's and its wagons' move, metres.
    """

    grid: PlaneGrid
    sightings: Sightings
    likelihood: Float | None
    seen: NDArray[np.bool_] | None
    moved_m: tuple[float, ...]


def combine(grid: PlaneGrid, observations: Sequence[TrackObservation]) -> Evidence:
    """Lay looks over each other (`geo.tracks.evidence`) and take them together.

    Either all of them have a map or none has.
    """
    maps = [observation.likelihood for observation in observations if observation.likelihood is not None]
    masks = [observation.seen for observation in observations if observation.seen is not None]
    layers = [line_layer(*observation.sightings[:4]) for observation in observations]
    layers += [map_layer(one, grid.cell_m) for one in maps]
    moves = align(layers, grid.shape, grid.cell_m) if len(observations) > 1 else np.zeros((len(layers), 2))
    own, of_maps = moves[: len(observations)], moves[len(observations) :]
    sightings = Sightings.joined(
        [
            observation.sightings._replace(
                xy=observation.sightings.xy + move,
                observation=np.full(len(observation.sightings.score), number, np.int64),
            )
            for number, (observation, move) in enumerate(zip(observations, own, strict=True))
        ]
    )
    size = [math.hypot(*move) for move in own.tolist()]
    if not maps:
        return Evidence(grid, sightings, None, None, tuple(size))
    size = [max(a, math.hypot(*move)) for a, move in zip(size, of_maps.tolist(), strict=True)]
    total, known = np.zeros(grid.shape), np.zeros(grid.shape)
    for likelihood, valid, move in zip(maps, masks, of_maps, strict=True):
        total += _moved(np.where(valid, likelihood, 0.0), move / grid.cell_m)
        known += _moved(valid, move / grid.cell_m)
    seen = known >= 0.5
    mean = np.divide(total, known, out=np.zeros(grid.shape), where=known > 0)
    return Evidence(grid, sightings, _filled(mean, seen), seen, tuple(size))


def _moved(values: NDArray[Any], move: Float) -> Float:
    """Values (H, W) moved by (x, y) cells; 0 comes in at the rim."""
    moved = ndimage.shift(np.asarray(values, np.float64), move[::-1], order=1, mode="constant")
    return np.asarray(moved, np.float64)


def _filled(likelihood: Float, seen: NDArray[np.bool_]) -> Float:
    """The map with the nearest value where nothing was seen: a picture's edge is no edge of the track."""
    if seen.all() or not seen.any():
        return likelihood
    nearest = ndimage.distance_transform_edt(~seen, return_distances=False, return_indices=True)
    return np.asarray(likelihood[tuple(nearest)])
