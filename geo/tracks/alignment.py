"""Several looks at one place, moved so that what they say of its tracks lies one over the other.

Images of a metre and finer lie some metres off each other on the map, and the wagons of an oblique one lean
away from their rails. Tracks are 4.5 m apart, so that a mean over observations that are 2 m off is a blur.
Each layer (the track map of an observation, or its wagons) is moved to where it fits the sum of all others
best. Across the tracks this is sharp; along them nothing is known, and a layer stays where it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["REACH_M", "TrackPoints", "align", "line_layer", "map_layer"]

Float = NDArray[np.float64]

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
