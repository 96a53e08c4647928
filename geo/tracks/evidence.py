"""What all looks at an area say together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geo.tracks.alignment import align, line_layer, map_layer
from geo.tracks.plane import PlaneGrid
from geo.tracks.sightings import Sightings

__all__ = ["Evidence", "TrackObservation", "combine"]

Float = NDArray[np.float64]


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
    """Lay looks over each other (`geo.tracks.alignment`) and take them together.

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
