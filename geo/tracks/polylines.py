"""Polylines with a point a metre: smoothing, directions, runs."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solveh_banded
from scipy.spatial import cKDTree

Float = NDArray[np.float64]


def stations(xy: Float) -> Float:
    """Metres along a polyline at each of its points, (N,)."""
    return np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(xy, axis=0).T))])


def resampled(xy: Float, *values: Float) -> tuple[Float, ...]:
    """A polyline with a point about a metre, and values (N,) along it brought to these points."""
    station = stations(xy)
    at = np.linspace(0.0, station[-1], max(2, round(float(station[-1])) + 1))
    placed = np.column_stack([np.interp(at, station, xy[:, axis]) for axis in (0, 1)])
    return (placed, *(np.interp(at, station, one) for one in values))


def angles(xy: Float) -> Float:
    """Direction at each point, radians from +x towards +y, in [0, pi)."""
    way = np.gradient(xy, axis=0)
    return np.asarray(np.arctan2(way[:, 1], way[:, 0]) % math.pi)


def normals(xy: Float) -> Float:
    """Unit vectors (N, 2) across a polyline at each point."""
    way = np.gradient(xy, axis=0)
    way /= np.maximum(np.hypot(way[:, 0], way[:, 1]), 1e-9)[:, None]
    return np.column_stack([-way[:, 1], way[:, 0]])


def axis_difference(a: Float, b: Float | float) -> Float:
    """How far axes are turned against each other, radians in [-pi/2, pi/2)."""
    return np.asarray((a - b + math.pi / 2) % math.pi - math.pi / 2)


def beside(xy: Float, places: Float, reach_m: float) -> tuple[NDArray[np.int64], NDArray[np.int64], Float]:
    """Which places lie beside a polyline with a point a metre.

    Args:
        xy: (N, 2) the polyline.
        places: (M, 2).
        reach_m: how far beside it they may lie.

    Returns:
        The rows of those places, the number of the point of the polyline next to each, and how far across
        it they lie, with a sign.
    """
    apart, number = cKDTree(xy).query(places, distance_upper_bound=reach_m + 1.0)
    rows = np.nonzero(np.isfinite(apart))[0]
    number = np.asarray(number, np.int64)[rows]
    offset = places[rows] - xy[number]
    aside = np.sum(offset * normals(xy)[number], axis=1)
    along = np.sqrt(np.maximum(0.0, np.sum(offset**2, axis=1) - aside**2))
    near = (np.abs(aside) <= reach_m) & (along <= 1.0)
    return rows[near], number[near], aside[near]


def smoothed(xy: Float, weight: Float, wave_m: float = 45.0) -> Float:
    """A polyline near points a metre apart whose bend changes slowly.

    Whittaker's smoother with third differences, which leave an arc as it is (P. Eilers, "A perfect
    smoother", Analytical Chemistry 75, 2003).

    Args:
        xy: (N, 2) a metre apart, at least 8 of them.
        weight: (N,) of each point; 0 where it is made up.
        wave_m: waves shorter than this are damped to less than half at a weight of 1.
    """
    count = len(xy)
    stiff = (wave_m / (2 * math.pi)) ** 6
    row = np.array([-1.0, 3.0, -3.0, 1.0])
    bands = np.zeros((4, count))
    for apart in range(4):
        for k in range(4 - apart):
            # entry (i + k, i + k + apart) of the sum over the rows i of the difference matrix
            bands[3 - apart, k + apart : count - 3 + k + apart] += stiff * row[k] * row[k + apart]
    weight = np.maximum(weight, 1e-3)
    bands[3] += weight
    # about the chord, so that large coordinates don't eat the digits
    chord = xy[0] + np.linspace(0.0, 1.0, count)[:, None] * (xy[-1] - xy[0])
    return np.asarray(chord + solveh_banded(bands, (xy - chord) * weight[:, None]))


def runs(good: NDArray[np.bool_], gap: int = 0) -> list[tuple[int, int]]:
    """First, and one past the last, of every run of good points; gaps of so many points don't end one."""
    at = np.nonzero(good)[0]
    if not len(at):
        return []
    cuts = np.nonzero(np.diff(at) > gap + 1)[0]
    firsts = np.concatenate([[at[0]], at[cuts + 1]])
    lasts = np.concatenate([at[cuts], [at[-1]]])
    return [(int(a), int(b) + 1) for a, b in zip(firsts, lasts, strict=True)]
