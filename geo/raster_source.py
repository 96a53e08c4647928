"""The pixels of one file that GDAL reads, by window, and which of them are valid."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterioWindow

from geo.dataset import first_line, opened
from geo.errors import SceneError
from geo.pixels import RawPixels
from geo.resample import Window
from geo.transparency import hole_px, missing_ground

log = logging.getLogger(__name__)

# Floating-point numbers beyond this measure nothing: they are infinities or the large numbers that stand for
# nodata, which a file and its metadata don't always spell alike.
ABSURD = 1e30


@dataclass(frozen=True)
class RasterSource:
    """The pixels of one file that GDAL reads.

    Attributes:
        path: The file.
        bands: Indexes of the bands to show, from 1: one or three.
        palette: Whether the one band holds indexes into a colour table.
        alpha: Index of the alpha band, if any: a pixel of alpha 0 is invalid.
        mask: Whether the file has a mask of its own (inside or beside it).
        nodata: The number that means "nothing here" if all shown bands hold it; None if there is none that
            they can hold.
        floating: Whether the numbers are floating-point, so that there may be infinities and not-a-numbers.
        positioned: Whether the file has an affine transform of its own.
        self_contained: Whether its pixels can be read without asking for its position, which some mosaics
            lay their parts by.
        parts: The files that the pixels come from.
        hole: Pixels across and down of the largest hole that isn't missing ground, where ``nodata`` is also a
            colour; None where it isn't. See `geo.transparency`.
    """

    path: Path
    bands: tuple[int, ...]
    palette: bool
    alpha: int | None
    mask: bool
    nodata: float | None
    floating: bool
    positioned: bool
    self_contained: bool
    parts: tuple[str, ...]
    hole: tuple[float, float] | None = None

    @property
    def channels(self) -> int:
        """Number of planes that reading gives."""
        return 3 if self.palette else len(self.bands)

    @property
    def gapless(self) -> bool:
        """Whether every pixel is known to be valid without reading it."""
        return not (self.palette or self.alpha or self.mask or self.floating) and self.nodata is None

    @contextmanager
    def open(self) -> Iterator[RasterReader]:
        """Open a handle of its own."""
        with opened(self.path, quiet=self.positioned, placed=not self.self_contained) as image:
            yield RasterReader(self, image)

    def files(self) -> tuple[str, ...]:
        """The files that the pixels come from, the main one first."""
        return self.parts


@dataclass
class RasterReader:
    """An open handle on a `RasterSource`, for one thread."""

    source: RasterSource
    image: DatasetReader

    def read(self, window: Window, shape: tuple[int, int] | None = None) -> RawPixels:
        """Read a window that lies inside the image; see `geo.pixels.PixelReader`."""
        source = self.source
        x0, y0, x1, y1 = window
        area = RasterioWindow(x0, y0, x1 - x0, y1 - y0)
        indexes = [*source.bands, *([source.alpha] if source.alpha else [])]
        height, width = shape or (y1 - y0, x1 - x0)
        try:
            numbers = self.image.read(indexes, window=area, out_shape=(len(indexes), height, width))
            valid = np.ones((height, width), np.bool_)
            if source.mask:
                valid &= self.image.read_masks(source.bands[0], window=area, out_shape=(height, width)) > 0
        except (RasterioError, OSError) as error:
            log.debug("%s: %s", source.path, first_line(error))
            file = "the file is" if len(source.parts) == 1 else "a file that it refers to is missing,"
            raise SceneError(
                f"{source.path}: pixels can't be read around column {x0}, row {y0}: "
                f"{file} cut short or damaged"
            ) from error
        if source.alpha:
            valid &= numbers[-1] > 0
            numbers = numbers[:-1]
        if source.floating:
            known = np.abs(numbers) < ABSURD  # false for not-a-number too
            if not known.all():
                valid &= known.all(axis=0)
                numbers = np.where(known, numbers, 0)
        if source.nodata is not None:
            nothing = _nothing(numbers, source.nodata)
            if source.hole is not None and nothing.any():
                nothing = self._missing(window, (height, width), source.hole)
            valid &= ~nothing
        if source.palette:
            table = _colour_table(self.image, source.bands[0])
            colours = table[np.clip(numbers[0], 0, len(table) - 1)]
            valid &= colours[..., 3] > 0
            numbers = np.ascontiguousarray(np.moveaxis(colours[..., :3], -1, 0))
        return numbers, valid

    def _missing(
        self, window: Window, shape: tuple[int, int], gsd_xy_m: tuple[float, float]
    ) -> npt.NDArray[np.bool_]:
        """Where a window holds nodata that is missing ground and not something dark, (h, w)."""
        assert self.source.nodata is not None
        x0, y0, x1, y1 = window
        step = (x1 - x0) / shape[1], (y1 - y0) / shape[0]
        hole = hole_px(gsd_xy_m, step)
        wanted = [math.ceil((size - 1) * each) for size, each in zip(hole, step, strict=True)]
        left, top = max(0, x0 - wanted[0]), max(0, y0 - wanted[1])
        right, bottom = min(self.image.width, x1 + wanted[0]), min(self.image.height, y1 + wanted[1])
        around = RasterioWindow(left, top, right - left, bottom - top)
        before = round((x0 - left) / step[0]), round((y0 - top) / step[1])
        after = round((right - x1) / step[0]), round((bottom - y1) / step[1])
        height, width = before[1] + shape[0] + after[1], before[0] + shape[1] + after[0]
        bands = list(self.source.bands)
        try:
            numbers = self.image.read(bands, window=around, out_shape=(len(bands), height, width))
        except (RasterioError, OSError) as error:
            raise SceneError(
                f"{self.source.path}: pixels can't be read around column {x0}, row {y0}: the file is cut "
                "short or damaged"
            ) from error
        ends = (left == 0, top == 0, right == self.image.width, bottom == self.image.height)
        missing = missing_ground(_nothing(numbers, self.source.nodata), hole, ends)
        return missing[before[1] : before[1] + shape[0], before[0] : before[0] + shape[1]]


def _nothing(numbers: npt.NDArray[Any], nodata: float) -> npt.NDArray[np.bool_]:
    """Where all bands hold nodata: one black channel is a colour, all of them black may be a hole."""
    number = numbers.dtype.type(nodata)
    nothing: npt.NDArray[np.bool_] = numbers[0] == number
    for plane in numbers[1:]:
        nothing &= plane == number
    return nothing


def _colour_table(image: DatasetReader, band: int) -> npt.NDArray[np.uint8]:
    entries = image.colormap(band)
    table = np.zeros((max(entries) + 1, 4), np.uint8)
    for index, colour in entries.items():
        table[index] = colour
    return table
