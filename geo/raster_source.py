"""Files as GDAL opens them, their pixels by window, and which of these are missing ground.

Some of an image only looks like missing ground. Programs that write four bands of bytes without being told
what they are call the fourth one alpha, though it may be near infrared; and a picture stretched for the eye
holds the number that a file calls nodata wherever something is black. Both would take dark wagons out of the
picture.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterioWindow

from aoi.gdal import open_raster
from aoi.references import RefusedFileError
from geo.errors import SceneError
from geo.file_tree import zip_member
from geo.image_files import foreign_format, header_beside
from geo.rendering import RawPixels
from geo.resample import Window
from geo.sentinel2.formats.product_names import parse_product_name

# Those that are made of other files.
MOSAICS = ("VRT", "DIMAP", "TIL")

_GDAL_OPTIONS = {
    # A JPEG cut short is an error, not a grey area.
    "GDAL_ERROR_ON_LIBJPEG_WARNING": True,
    # The short cut for reading a whole PNG at once doesn't notice that the file has been cut short.
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": False,
    # A raw file (ENVI, .bil) shorter than its header says is an error, not black ground.
    "RAW_CHECK_FILE_SIZE": True,
}


@contextmanager
def opened(path: Path, *, quiet: bool = False, georeferenced: bool = True) -> Iterator[DatasetReader]:
    """An open image, with GDAL set up in this thread.

    Args:
        path: The file.
        quiet: Whether the image is known to have a position, so that rasterio won't warn of having none.
        georeferenced: Whether its position is wanted. Without, PROJ opens no database for this thread, which
            takes longer than to open the image.
    """
    options = _GDAL_OPTIONS if georeferenced else {**_GDAL_OPTIONS, "GDAL_GEOREF_SOURCES": "NONE"}
    member = zip_member(path)
    name = path if member is None else member.gdal
    with ExitStack() as stack:
        try:
            image = stack.enter_context(open_raster(name, options=options, quiet=quiet and georeferenced))
        except RefusedFileError as error:
            raise SceneError(str(error)) from error
        except (RasterioError, OSError) as error:
            raise SceneError(_unreadable(path)) from error
        yield image


def _unreadable(path: Path) -> str:
    broken = f"{path}: can't be read as an image: it is cut short, damaged or in a format that isn't an image"
    if zip_member(path) is not None:
        return broken
    if not path.exists():
        return f"{path}: there is no such file"
    if parse_product_name(path.name) is not None and (path.is_dir() or path.suffix.lower() == ".zip"):
        return (
            f"{path}: is a whole Sentinel-2 product and no image; single wagons can't be seen at 10 m, but "
            "railwatch run estimates from it how much of an area's tracks is occupied"
        )
    if path.is_dir():
        return f"{path}: is a folder, not an image"
    if path.stat().st_size == 0:
        return f"{path}: the file is empty"
    known = foreign_format(path)
    if known is not None:
        return f"{path}: {known}"
    header = header_beside(path)
    if header is not None:
        return f"{path}: the file is cut short or damaged: it holds less than its header {header} says"
    return broken


def first_line(error: Exception) -> str:
    """What GDAL said, for the middle of a sentence."""
    cause = error.__cause__ or error
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0].rstrip(".")


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
        files: The files that the pixels come from, the main one first.
        hole: Pixels across and down of the largest hole that isn't missing ground, where ``nodata`` is also a
            colour; None where it isn't. See `geo.raster_source`.
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
    files: tuple[Path, ...]
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
        with opened(self.path, quiet=self.positioned, georeferenced=not self.self_contained) as image:
            yield RasterReader(self, image)


@dataclass
class RasterReader:
    """An open handle on a `RasterSource`, for one thread."""

    source: RasterSource
    image: DatasetReader

    def read(self, window: Window, shape: tuple[int, int] | None = None) -> RawPixels:
        """Read a window that lies inside the image; see `geo.rendering.PixelReader`."""
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
            file = "the file is" if len(source.files) == 1 else "a file that it refers to is missing,"
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


LARGEST_HOLE_M = 20.0
"""Nodata that no square of this side, metres, fits into isn't missing ground: wagons, shadows, and specks.

Gaps in images (borders, the space between strips) are hundreds of metres wide; a wagon is 3 m wide, three
black rows of wagons side by side are 13 m."""

# The share of a mask's pixels that are wholly shown or wholly not. The rest are the rims of a turned image.
# Near infrared that was stretched for the eye has 2 to 25% of its pixels at the ends.
_AT_THE_ENDS = 0.9


def is_mask(alpha: npt.NDArray[Any]) -> bool:
    """Whether a band that a file calls alpha is one, by a sample of its pixels.

    A mask holds two numbers (0, and 1 or 255 or whatever is the most), or one of them; a picture holds many.

    Args:
        alpha: Numbers from all over the band.

    Example:
        >>> is_mask(np.array([0, 255, 255, 255]))
        True
        >>> is_mask(np.arange(256))
        False
    """
    values, counts = np.unique(alpha, return_counts=True)
    if len(values) <= 2:
        return True
    ends = counts[0] * (values[0] == 0) + counts[-1]
    return bool(ends >= _AT_THE_ENDS * alpha.size)


def may_be_a_colour(nodata: float | None, dtype: np.dtype[Any]) -> bool:
    """Whether a nodata number also is one that a picture holds: the darkest or brightest of its type."""
    if nodata is None or not np.issubdtype(dtype, np.unsignedinteger):
        return False
    return nodata in (0.0, 255.0, float(np.iinfo(dtype).max))


def hole_px(gsd_xy_m: tuple[float, float], step: tuple[float, float] = (1.0, 1.0)) -> tuple[int, int]:
    """`LARGEST_HOLE_M` in pixels across and down, for pixels ``step`` times as large: odd, at least 3."""
    x, y = (
        max(3, 2 * math.ceil(LARGEST_HOLE_M / (2 * gsd * size)) + 1)
        for gsd, size in zip(gsd_xy_m, step, strict=True)
    )
    return x, y


def missing_ground(
    nodata: npt.NDArray[np.bool_], hole: tuple[int, int], beyond: tuple[bool, bool, bool, bool]
) -> npt.NDArray[np.bool_]:
    """Of pixels that hold the nodata number, those that are missing ground: what a hole's square fits into.

    Args:
        nodata: (h, w), with ``hole - 1`` pixels more around what is asked about, as far as the image reaches.
        hole: Width and height of the square, pixels.
        beyond: Whether the image ends at the left, top, right and bottom side: what lies beyond has no data
            either, so that a narrow border is missing ground.

    Returns:
        (h, w). What it says of a pixel doesn't depend on where the window lies.
    """
    if not nodata.any():
        return nodata
    left, top, right, bottom = (side * each for side, each in zip(beyond, hole * 2, strict=True))
    padded = cv2.copyMakeBorder(
        nodata.astype(np.uint8), top, bottom, left, right, cv2.BORDER_CONSTANT, value=1
    )
    # An opening by a square. Outside the padded window nothing is known: taken as shown for what needs it, so
    # that a pixel inside is decided by its own surroundings.
    kernel = np.ones((hole[1], hole[0]), np.uint8)
    opened = cv2.morphologyEx(padded, cv2.MORPH_OPEN, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    height, width = nodata.shape
    return np.asarray(opened[top : top + height, left : left + width] > 0)
