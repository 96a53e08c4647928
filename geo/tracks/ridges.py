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

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

__all__ = ["RidgeFilter", "Ridges", "find_ridges"]

Float = NDArray[np.float64]

_BLOCK = 512
_ROW = 256


@dataclass(frozen=True)
class RidgeFilter:
    """The bank of filters.

    Attributes:
        band_m: width of a line of evidence; an ideal one of height 1 is answered with 1.
        across_m: standard deviation across the line.
        along_m: standard deviation along it.
        directions: how many directions half a turn is cut into.
    """

    band_m: float = 3.2
    across_m: float = 1.1
    along_m: float = 10.0
    directions: int = 48

    @property
    def reach_m(self) -> float:
        """How far a cell is felt."""
        return 3.0 * self.along_m

    @property
    def gain(self) -> float:
        """Factor that makes the answer to the ideal band 1."""
        half = self.band_m / 2 / self.across_m
        return 1.0 / (2.0 * half * math.exp(-(half**2) / 2) / math.sqrt(2.0 * math.pi))

    def angles(self) -> Float:
        """The directions, radians from +x towards +y, in [0, pi)."""
        return np.linspace(0.0, math.pi, self.directions, endpoint=False, dtype=np.float64)


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


def find_ridges(
    evidence: NDArray[np.floating], cell_m: float, minimum: float, bank: RidgeFilter | None = None
) -> Ridges:
    """The ridge points of a map.

    Args:
        evidence: (H, W); 0 where there is none.
        cell_m: side of a cell in metres.
        minimum: weakest answer that is a point.
        bank: the filters.

    Returns:
        The points. The map is worked through in blocks, and blocks without evidence cost nothing.
    """
    bank = bank or RidgeFilter()
    halo = math.ceil(bank.reach_m / cell_m)
    height, width = evidence.shape
    padded = np.pad(np.asarray(evidence, np.float64), halo)
    parts: list[tuple[Float, Float, Float]] = []
    for top, left in _blocks(height, width):
        rows, columns = min(_BLOCK, height - top), min(_BLOCK, width - left)
        window = padded[top : top + rows + 2 * halo, left : left + columns + 2 * halo]
        if window.max() <= 0.0:
            continue
        xy, angle, strength = _points(window, halo, cell_m, minimum, bank)
        parts.append((xy + np.array([left, top]) * cell_m, angle, strength))
    if not parts:
        return Ridges(np.zeros((0, 2)), np.zeros(0), np.zeros(0))
    xy, angle, strength = (np.concatenate(values) for values in zip(*parts, strict=True))
    # ties in a fixed order, so that two runs trace the same lines
    order = np.lexsort((xy[:, 0], xy[:, 1], -strength))
    return Ridges(xy[order], angle[order], strength[order])


def _blocks(height: int, width: int) -> Iterator[tuple[int, int]]:
    return ((top, left) for top in range(0, height, _BLOCK) for left in range(0, width, _BLOCK))


def _points(
    window: Float, halo: int, cell_m: float, minimum: float, bank: RidgeFilter
) -> tuple[Float, Float, Float]:
    """Ridge points of a block in the frame of its core, the halo taken off."""
    stack = _answers(window, cell_m, bank)
    core = (slice(halo, window.shape[0] - halo), slice(halo, window.shape[1] - halo))
    step = math.pi / bank.directions
    found: list[Float] = []
    for number, angle in enumerate(bank.angles()):
        here = stack[number]
        before, after = stack[number - 1], stack[(number + 1) % bank.directions]
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


def _answers(window: Float, cell_m: float, bank: RidgeFilter) -> NDArray[np.float32]:
    """What every filter answers to a window, (directions, H, W)."""
    shape = (fft.next_fast_len(window.shape[0], real=True), fft.next_fast_len(window.shape[1], real=True))
    spectrum = fft.rfft2(window, shape)
    wy = 2 * math.pi * fft.fftfreq(shape[0], cell_m)[:, None]
    wx = 2 * math.pi * fft.rfftfreq(shape[1], cell_m)[None, :]
    out = np.empty((bank.directions, *window.shape), np.float32)
    for number, angle in enumerate(bank.angles()):
        along = (wx * math.cos(angle) + wy * math.sin(angle)) * bank.along_m
        across = (wy * math.cos(angle) - wx * math.sin(angle)) * bank.across_m
        kernel = bank.gain * across**2 * np.exp(-(across**2 + along**2) / 2)
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
