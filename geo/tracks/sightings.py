"""Wagons as evidence of the track under them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from geo.tracks.plane import PlaneGrid

__all__ = ["Sightings", "heap"]

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
        whole = [cls.none(), *parts]
        return cls(
            np.concatenate([part.xy for part in whole]),
            np.concatenate([part.angle for part in whole]),
            np.concatenate([part.length_m for part in whole]),
            np.concatenate([part.score for part in whole]),
            np.concatenate([part.observation for part in whole]),
        )

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
        return Sightings(
            self.xy[rows], self.angle[rows], self.length_m[rows], self.score[rows], self.observation[rows]
        )


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
