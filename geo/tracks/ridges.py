"""Bright lines in a map of evidence: how strongly a line runs through each cell, in which direction.

The map is filtered with a bank of long, narrow second derivatives of a Gaussian, one a direction: across the
line it weighs a band of a track's width against what lies beside it, along the line it averages over some
twenty metres, which is what tells tracks 4.5 m apart from each other on a map of 2 m cells. What is left are
ridge points: the cells where the answer is the largest across the line and among the directions, placed to a
fraction of a cell by a parabola. Lines that cross or branch keep a point each, since their directions differ.

Formulas: T. Lindeberg, "Edge detection and ridge detection with automatic scale selection", IJCV 30 (1998),
for the derivative as a measure of ridges; the filters are written down in the frequency domain, where a
Gaussian and its derivatives are known exactly.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.spatial import cKDTree

from geo.tracks.polylines import axis_difference

Float = NDArray[np.float64]

_BLOCK = 512
_ROW = 256


# The bank of filters: the width of a line of evidence (an ideal one of height 1 is answered with 1), standard
# deviations across the line and along it, and how many directions half a turn is cut into.
_BAND_M, _ACROSS_M, _ALONG_M = 3.2, 1.1, 10.0
_DIRECTIONS = 48
_REACH_M = 3.0 * _ALONG_M  # how far a cell is felt
_HALF = _BAND_M / 2 / _ACROSS_M
_GAIN = 1.0 / (2.0 * _HALF * math.exp(-(_HALF**2) / 2) / math.sqrt(2.0 * math.pi))
_ANGLES = np.linspace(0.0, math.pi, _DIRECTIONS, endpoint=False, dtype=np.float64)


class Ridges(NamedTuple):
    """Ridge points, strongest first.

    Attributes:
        xy: (N, 2) metres in the map's frame: origin at the outer corner of the first cell, x right, y down.
        angle: (N,) radians from +x towards +y, in [0, pi).
        strength: (N,) answer of the filter.
    """

    xy: Float
    angle: Float
    strength: Float

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Ridges:
        """Some of them."""
        return Ridges(*(field[rows] for field in self))


def find_ridges(evidence: NDArray[np.floating], cell_m: float, minimum: float) -> Ridges:
    """The ridge points of a map.

    Args:
        evidence: (H, W); 0 where there is none.
        cell_m: side of a cell in metres.
        minimum: weakest answer that is a point.

    Returns:
        The points. The map is worked through in blocks, and blocks without evidence cost nothing.
    """
    halo = math.ceil(_REACH_M / cell_m)
    height, width = evidence.shape
    padded = np.pad(np.asarray(evidence, np.float64), halo)
    parts: list[tuple[Float, Float, Float]] = []
    for top, left in itertools.product(range(0, height, _BLOCK), range(0, width, _BLOCK)):
        rows, columns = min(_BLOCK, height - top), min(_BLOCK, width - left)
        window = padded[top : top + rows + 2 * halo, left : left + columns + 2 * halo]
        if window.max() <= 0.0:
            continue
        xy, angle, strength = _points(window, halo, cell_m, minimum)
        parts.append((xy + np.array([left, top]) * cell_m, angle, strength))
    if not parts:
        return Ridges(np.zeros((0, 2)), np.zeros(0), np.zeros(0))
    xy, angle, strength = (np.concatenate(values) for values in zip(*parts, strict=True))
    # ties in a fixed order, so that two runs trace the same lines
    order = np.lexsort((xy[:, 0], xy[:, 1], -strength))
    return Ridges(xy[order], angle[order], strength[order])


def _points(window: Float, halo: int, cell_m: float, minimum: float) -> tuple[Float, Float, Float]:
    """Ridge points of a block in the frame of its core, the halo taken off."""
    stack = _answers(window, cell_m)
    core = (slice(halo, window.shape[0] - halo), slice(halo, window.shape[1] - halo))
    step = math.pi / _DIRECTIONS
    found: list[Float] = []
    for number, angle in enumerate(_ANGLES):
        here = stack[number]
        before, after = stack[number - 1], stack[(number + 1) % _DIRECTIONS]
        peak = (here > minimum) & (here >= before) & (here > after)
        row, column = np.nonzero(peak[core])
        row, column = row + halo, column + halo
        # y down: the normal of (cos, sin) is (-sin, cos)
        left, right = (
            _between(here, column - sign * math.sin(angle), row + sign * math.cos(angle)) for sign in (-1, 1)
        )
        top = (here[row, column] >= left) & (here[row, column] > right)
        row, column, left, right = row[top], column[top], left[top], right[top]
        if not len(row):
            continue
        at = (row, column)
        across = np.clip(_parabola(left, here[at], right), -0.75, 0.75)
        turned = angle + step * np.clip(_parabola(before[at], here[at], after[at]), -0.5, 0.5)
        x = (column - halo + 0.5 - math.sin(angle) * across) * cell_m
        y = (row - halo + 0.5 + math.cos(angle) * across) * cell_m
        found.append(np.column_stack([x, y, turned % math.pi, here[at]]))
    if not found:
        return np.zeros((0, 2)), np.zeros(0), np.zeros(0)
    table = np.concatenate(found)
    return table[:, :2], table[:, 2], table[:, 3]


def _answers(window: Float, cell_m: float) -> NDArray[np.float32]:
    """What every filter answers to a window, (directions, H, W)."""
    shape = (fft.next_fast_len(window.shape[0], real=True), fft.next_fast_len(window.shape[1], real=True))
    spectrum = fft.rfft2(window, shape)
    wy = 2 * math.pi * fft.fftfreq(shape[0], cell_m)[:, None]
    wx = 2 * math.pi * fft.rfftfreq(shape[1], cell_m)[None, :]
    out = np.empty((_DIRECTIONS, *window.shape), np.float32)
    for number, angle in enumerate(_ANGLES):
        along = (wx * math.cos(angle) + wy * math.sin(angle)) * _ALONG_M
        across = (wy * math.cos(angle) - wx * math.sin(angle)) * _ACROSS_M
        kernel = _GAIN * across**2 * np.exp(-(across**2 + along**2) / 2)
        out[number] = fft.irfft2(spectrum * kernel, shape)[: window.shape[0], : window.shape[1]]
    return out


def _between(
    values: NDArray[np.float32], x: NDArray[np.floating], y: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Values at places (N,) between cells, whose centres have whole numbers."""
    if not len(x):
        return np.zeros(0, np.float32)
    # OpenCV takes places as a picture of them, none of whose sides may be long
    size = (math.ceil(len(x) / _ROW), _ROW)
    at = [np.resize(np.asarray(one, np.float32), size) for one in (x, y)]
    found = cv2.remap(values, at[0], at[1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.float32).ravel()[: len(x)]


def _parabola(
    low: NDArray[np.float32], middle: NDArray[np.float32], high: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Where the parabola through three values at -1, 0 and 1 has its top."""
    bend = np.asarray(low, np.float64) - 2.0 * middle + high
    slope = (np.asarray(low, np.float64) - high) / 2.0
    return np.asarray(np.divide(slope, bend, out=np.zeros_like(bend), where=bend < -1e-9))


# How a line is followed: how far ahead the next point is looked for, how far beside the way ahead it may lie,
# and within what points in its direction are part of it, metres; how much its direction may differ.
_STEP_M, _ASIDE_M, _OWN_M = 1.6, 0.7, 1.6
_TURN_DEG = 6.0
_MEMORY = 24  # so many of the last points say where a line heads


class Trace(NamedTuple):
    """A line as followed: points about a step apart, with the strength of each."""

    xy: Float
    strength: Float


def trace(ridges: Ridges, seed_strength: float, gap_m: float) -> list[Trace]:
    """Follow all lines, the strongest first.

    A point belongs to one line. Where a line runs into another it ends at it, as a track does at a switch.

    Args:
        ridges: The points.
        seed_strength: Of a point at which a line may begin.
        gap_m: Longest stretch without a point that is stepped over.
    """
    if not len(ridges.strength):
        return []
    follower = _Follower(ridges, gap_m)
    found = []
    for seed in range(len(ridges.strength)):
        if ridges.strength[seed] < seed_strength:
            break
        if follower.free[seed]:
            found.append(follower.line(seed))
    return [one for one in found if len(one.xy) > 1]


class _Follower:
    """The points that no line has taken yet."""

    def __init__(self, ridges: Ridges, gap_m: float):
        self.ridges, self.gap_m = ridges, gap_m
        self.tree = cKDTree(ridges.xy)
        self.way = np.column_stack([np.cos(ridges.angle), np.sin(ridges.angle)])
        self.free = np.ones(len(ridges.strength), bool)
        self.turn = math.cos(math.radians(_TURN_DEG))

    def line(self, seed: int) -> Trace:
        """The line through a point."""
        ahead = self._follow([seed], self.way[seed])
        # the other half begins with what the first one has learned about the direction
        chain = self._follow(ahead[::-1], -self.way[seed])
        self._take(chain)
        return Trace(self.ridges.xy[chain], self.ridges.strength[chain])

    def _follow(self, chain: list[int], way: Float) -> list[int]:
        """A line drawn out at its end, which heads about the given way."""
        chain = list(chain)
        reach = _STEP_M
        while reach <= self.gap_m:
            here, heading = self._ahead(chain, way)
            following = self._next(here, heading, reach)
            if following is None or following in chain[-8:]:
                reach *= 1.6
                continue
            if not self.free[following]:
                break
            chain.append(following)
            reach = _STEP_M
        return chain

    def _ahead(self, chain: list[int], way: Float) -> tuple[Float, Float]:
        """Where the last stretch of a line ends and heads, by a parabola through its points.

        The way of a single point wavers, and a line that believes every one of them changes tracks.
        """
        last = chain[-_MEMORY:]
        points = self.ridges.xy[last]
        if len(last) < 4:
            own = self.way[last[-1]]
            return points[-1], own if own @ way > 0 else -own
        axis = points[-1] - points[0]
        axis /= np.hypot(*axis)
        normal = np.array([-axis[1], axis[0]])
        u, v = (points - points[-1]) @ axis, (points - points[-1]) @ normal
        slopes = np.tan(axis_difference(self.ridges.angle[last], math.atan2(axis[1], axis[0])))
        # positions and directions together; a short stretch says nothing about how it bends
        bend = min(1.0, len(last) / _MEMORY) ** 2
        place = np.column_stack([np.ones_like(u), u, u**2 * bend])
        turn = np.column_stack([np.zeros_like(u), np.ones_like(u), 2 * u * bend])
        weight = 4.0
        design = np.vstack([place, weight * turn, [[0.0, 0.0, 60.0]]])
        goal = np.concatenate([v, weight * slopes, [0.0]])
        (offset, slope, _), *_ = np.linalg.lstsq(design, goal, rcond=None)
        heading = axis + slope * normal
        return points[-1] + offset * normal, heading / np.hypot(*heading)

    def _next(self, here: Float, way: Float, reach: float) -> int | None:
        """The best point about so far ahead."""
        near = np.asarray(self.tree.query_ball_point(here + reach * way, 0.75 * reach + 0.3), np.int64)
        if not len(near):
            return None
        offset = self.ridges.xy[near] - here
        along = offset @ way
        aside = np.abs(offset @ np.array([-way[1], way[0]]))
        agreement = np.abs(self.way[near] @ way)
        fits = (along > 0.4) & (aside < _ASIDE_M) & (agreement > self.turn)
        if not fits.any():
            return None
        near, along, aside, agreement = near[fits], along[fits], aside[fits], agreement[fits]
        worth = self.ridges.strength[near] - 0.6 * aside - 4.0 * (1.0 - agreement) - 0.05 * along
        return int(near[int(worth.argmax())])

    def _take(self, chain: list[int]) -> None:
        own = self.tree.query_ball_point(self.ridges.xy[chain], _OWN_M)
        for here, others in zip(chain, own, strict=True):
            near = np.asarray(others, np.int64)
            alike = np.abs(self.way[near] @ self.way[here]) > math.cos(math.radians(2 * _TURN_DEG))
            self.free[near[alike]] = False
