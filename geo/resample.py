"""Resampling to a coarser or finer grid at absolute positions.

Everything is separable: an output pixel's value is a weighted sum over a few source rows of a weighted sum
over a few source columns. The weights depend on the *absolute* index of the output pixel and on nothing else,
and each sum runs over the source in ascending order; so a pixel's value is the same, bit for bit, in
whichever tile it is computed.

* Where an axis shrinks (scale > 1), the weights are exact areas of overlap: what a sensor with that larger
  pixel would have measured.
* Where it grows (scale < 1), they are R. G. Keys' cubic convolution with a = -1/2 ("Cubic convolution
  interpolation for digital image processing", IEEE Trans. ASSP 29, 1981), edge pixels repeated beyond the
  scene's edge.
* At scale 1 pixels are copied.

Invalid source pixels have weight 0 and the rest is renormalised. An output pixel is valid if at least half of
the part of it that lies in the scene is valid; an invalid one is 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from scipy import sparse

Window = tuple[int, int, int, int]
"""A window of pixels, (x0, y0, x1, y1): x0 and y0 belong to it, x1 and y1 don't."""

FloatImage = npt.NDArray[np.float32]
BoolImage = npt.NDArray[np.bool_]
ReadSource = Callable[[Window], tuple[npt.NDArray[Any], BoolImage]]
"""Gives the source's (bands, h, w) numbers and (h, w) validity in a window that lies inside it."""

# Source pixels held at once. Fine imagery is read in bands of rows of this size, so that the memory of a tile
# doesn't grow with the square of the scale.
CHUNK_SOURCE_PIXELS = 4_000_000
# An overlap below this share of an output pixel is a rounding error of (k + 1) * scale, not a piece of a
# pixel.
_SLIVER = 1e-7
_HALF = 0.5 - 1e-6


@dataclass(frozen=True)
class Axis:
    """One axis of a resampling.

    Attributes:
        scale: Source pixels per output pixel.
        size: Number of source pixels.
    """

    scale: float
    size: int

    def __post_init__(self) -> None:
        """Refuse a scale or a size that means nothing."""
        if not (math.isfinite(self.scale) and self.scale > 0) or self.size < 1:
            raise ValueError(f"an axis needs a positive scale and a size, not {self.scale} and {self.size}")

    @property
    def out_size(self) -> int:
        """Number of output pixels that touch the source."""
        return max(1, math.ceil(self.size / self.scale - 1e-6))

    @property
    def copies(self) -> bool:
        """Whether output pixels are source pixels."""
        return self.scale == 1.0

    def weights(self, first: int, last: int) -> AxisWeights:
        """The weights of output pixels ``first`` to ``last`` (exclusive); all must touch the source."""
        index = np.arange(first, last, dtype=np.int64)[:, None]
        low, high = index * self.scale, (index + 1) * self.scale
        taps = np.floor(low).astype(np.int64) + np.arange(math.ceil(self.scale) + 1)
        overlap = np.minimum(np.minimum(taps + 1, high), self.size) - np.maximum(np.maximum(taps, low), 0)
        overlap[overlap < _SLIVER * self.scale] = 0.0
        cover = overlap / overlap.sum(axis=1, keepdims=True)
        if self.scale >= 1.0:
            start, stop = _span(taps[cover > 0])
            matrix = _rows(taps, cover, start, stop)
            return AxisWeights(start, stop, matrix, matrix, True)
        centre = (index + 0.5) * self.scale - 0.5
        nodes = np.floor(centre).astype(np.int64) + np.arange(-1, 3)
        value = _keys(centre - nodes)
        nodes = np.clip(nodes, 0, self.size - 1)
        start, stop = _span(nodes)
        return AxisWeights(
            start, stop, _rows(nodes, value, start, stop), _rows(taps, cover, start, stop), False
        )


@dataclass(frozen=True)
class AxisWeights:
    """Weights of a run of output pixels over the source pixels ``start`` to ``stop`` (exclusive).

    Attributes:
        start: First source pixel needed.
        stop: One past the last.
        value: (outputs, stop - start) weights for values; rows sum to 1.
        cover: The same for validity: shares of the output pixel's area.
        by_area: Whether both are the same.
    """

    start: int
    stop: int
    value: sparse.csr_array
    cover: sparse.csr_array
    by_area: bool


def _span(taps: npt.NDArray[np.int64]) -> tuple[int, int]:
    return int(taps.min()), int(taps.max()) + 1


def _rows(
    columns: npt.NDArray[np.int64], weights: npt.NDArray[np.float64], start: int, stop: int
) -> sparse.csr_array:
    """A sparse matrix, a row an output pixel, entries in the order given (repeated columns add up)."""
    from scipy import sparse  # slow to import, and images of the wanted resolution need none of it

    used = weights != 0
    pointers = np.concatenate(([0], np.cumsum(used.sum(axis=1))))
    entries = (
        weights[used].astype(np.float32),
        (columns[used] - start).astype(np.int32),
        pointers.astype(np.int32),
    )
    return sparse.csr_array(entries, shape=(len(columns), stop - start))


def _keys(distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Keys' cubic kernel with a = -1/2."""
    d = np.abs(distance)
    near = (1.5 * d - 2.5) * d * d + 1.0
    far = ((-0.5 * d + 2.5) * d - 4.0) * d + 2.0
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def _separable(plane: FloatImage, rows: sparse.csr_array, columns: sparse.csr_array) -> FloatImage:
    """Rows @ plane @ columns.T, as (output columns, output rows): transposed, which saves a copy."""
    half: FloatImage = rows @ plane
    out: FloatImage = columns @ cv2.transpose(half)
    return out


@dataclass(frozen=True)
class Piece:
    """Some rows of a resampled window.

    Attributes:
        top: Row of the window where the piece starts.
        left: Column of the window where it starts.
        planes: One array a band, (rows, columns): float32, or the source's own type where pixels were copied.
        valid: (rows, columns), or None where every pixel is valid.
    """

    top: int
    left: int
    planes: list[npt.NDArray[Any]]
    valid: BoolImage | None


@dataclass(frozen=True)
class Resampler:
    """Resamples windows of one source.

    Attributes:
        x: The axis of columns.
        y: The axis of rows.
    """

    x: Axis
    y: Axis

    def pieces(self, read: ReadSource, window: Window) -> Iterator[Piece]:
        """Resample a window of output pixels, a band of rows at a time.

        The window may reach beyond the source: only the part that touches it is given.

        Args:
            read: Reads the source; called once a piece, with windows that lie inside it, top to bottom.
            window: Output pixels wanted, in the whole output raster.
        """
        x0, x1 = max(window[0], 0), min(window[2], self.x.out_size)
        y0, y1 = max(window[1], 0), min(window[3], self.y.out_size)
        if x0 >= x1 or y0 >= y1:
            return
        per_row = (x1 - x0) * self.x.scale * self.y.scale
        step = max(1, int(CHUNK_SOURCE_PIXELS / max(per_row, 1.0)))
        columns = None if self.x.copies and self.y.copies else self.x.weights(x0, x1)
        for top in range(y0, y1, step):
            bottom = min(top + step, y1)
            place = (top - window[1], x0 - window[0])
            if columns is None:
                numbers, valid = read((x0, top, x1, bottom))
                yield Piece(*place, list(numbers), None if valid.all() else valid)
            else:
                yield Piece(*place, *_piece(read, columns, self.y.weights(top, bottom)))


def _piece(
    read: ReadSource, columns: AxisWeights, rows: AxisWeights
) -> tuple[list[npt.NDArray[Any]], BoolImage | None]:
    numbers, valid = read((columns.start, rows.start, columns.stop, rows.stop))
    if valid.all():
        totals = (_separable(plane.astype(np.float32), rows.value, columns.value) for plane in numbers)
        return [cv2.transpose(total) for total in totals], None
    known = valid.astype(np.float32)
    weight = _separable(known, rows.value, columns.value)
    cover = weight if rows.by_area and columns.by_area else _separable(known, rows.cover, columns.cover)
    kept = cover >= _HALF
    # Where nothing is missing the sum is left alone: the same arithmetic as in a tile without a gap. Keys'
    # weights can nearly cancel at the rim of a gap; there a valid pixel still holds most of the weight, so
    # 0.1 is never reached.
    partial = kept & (np.abs(weight - 1.0) > 1e-4)
    divisor = np.where(partial, np.maximum(weight, 0.1), 1.0).astype(np.float32)
    out: list[npt.NDArray[Any]] = []
    for plane in numbers:
        total = _separable(np.where(valid, plane, 0).astype(np.float32), rows.value, columns.value) / divisor
        total[~kept] = 0.0
        out.append(cv2.transpose(total))
    return out, np.ascontiguousarray(kept.T)


def resample_image(
    image: npt.NDArray[Any], gsd_from: float | tuple[float, float], gsd_to: float
) -> npt.NDArray[Any]:
    """Resample a picture in memory by the very arithmetic that tiles are made with.

    Args:
        image: (H, W) or (H, W, bands), any real type.
        gsd_from: Its ground sampling distance in metres, or one for x and one for y.
        gsd_to: The wanted one in metres.

    Returns:
        (ceil(H * gsd_from / gsd_to), ceil(W * gsd_from / gsd_to)[, bands]) in the type of ``image`` (integers
        rounded to nearest and clipped). Output pixel (i, j) covers the source from (i, j) to (i + 1, j + 1)
        times ``gsd_to / gsd_from``.
    """
    gsd_x, gsd_y = gsd_from if isinstance(gsd_from, tuple) else (gsd_from, gsd_from)
    height, width = image.shape[:2]
    resampler = Resampler(Axis(gsd_to / gsd_x, width), Axis(gsd_to / gsd_y, height))
    stack = image[None] if image.ndim == 2 else np.moveaxis(image, 2, 0)

    def read(window: Window) -> tuple[npt.NDArray[Any], BoolImage]:
        x0, y0, x1, y1 = window
        return stack[:, y0:y1, x0:x1], np.ones((y1 - y0, x1 - x0), np.bool_)

    shape = (resampler.y.out_size, resampler.x.out_size)
    out: npt.NDArray[Any] = np.empty((*shape, len(stack)), image.dtype)
    for piece in resampler.pieces(read, (0, 0, shape[1], shape[0])):
        for band, plane in enumerate(piece.planes):
            out[piece.top : piece.top + len(plane), :, band] = _as_type(plane, image.dtype)
    return out.reshape(shape) if image.ndim == 2 else out


def _as_type(plane: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    if plane.dtype == dtype or not np.issubdtype(dtype, np.integer):
        return plane.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    rounded: npt.NDArray[Any] = np.clip(np.rint(plane), limits.min, limits.max).astype(dtype)
    return rounded
