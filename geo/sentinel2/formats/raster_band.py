"""The image files of a product: opened, described and read by window."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.warp import reproject, transform_bounds
from rasterio.warp import transform as transform_points
from rasterio.windows import Window

from aoi.gdal import open_raster, raster_descriptions, raster_tags
from aoi.references import RefusedFileError
from geo.errors import SceneError
from geo.ground_metric import lattice_shift, pixels_around

if TYPE_CHECKING:
    from geo.grid import Grid

log = logging.getLogger(__name__)

# Only formats that hold pixels themselves. A ".jp2" of a cropped product is often a GeoTIFF.
DRIVERS = ("JP2OpenJPEG", "GTiff")
_KERNEL_PX = 4
"""Pixels beside a window that a cubic kernel may reach into, and some for the bend of a projection."""
_FWHM_A_SIGMA = 2.3548
_SAMPLES = 512
"""Rows and columns of the sample that statistics are taken from."""


NO_DATA = 0.0
SATURATED = 65535.0


@dataclass(frozen=True)
class Band:
    """Where the numbers of one band are, and what they mean.

    Attributes:
        name: "B02" and so on, or "SCL".
        path: The file, as GDAL names it.
        index: In the file, from 1.
        scale: Reflectance = number x scale + offset.
        offset: A reflectance: -0.1 where a publisher adds 1000 to every number.
        nothing: Numbers that mean that there is no value: no data, saturated.
    """

    name: str
    path: str
    index: int = 1
    scale: float = 1.0
    offset: float = 0.0
    nothing: tuple[float, ...] = (NO_DATA,)

    def reflectance(self, numbers: NDArray[np.float32]) -> NDArray[np.float32]:
        """Numbers (NaN where there are none) as reflectance, float32."""
        return np.asarray(numbers.astype(np.float64) * self.scale + self.offset, np.float32)


@dataclass(frozen=True)
class Header:
    """What an image file says about itself.

    Attributes:
        path: As GDAL names it.
        crs: None where there is none.
        transform: Pixels to map coordinates.
        shape: Rows and columns.
        dtypes: A band.
        descriptions: A band, "" where there is none.
        scales: A band; 1 where the file says nothing.
        offsets: A band; 0 where the file says nothing.
        nodata: The first band's.
        tags: Metadata of the file.
    """

    path: str
    crs: CRS | None
    transform: Affine
    shape: tuple[int, int]
    dtypes: tuple[str, ...]
    descriptions: tuple[str, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    nodata: float | None
    tags: dict[str, str]

    @property
    def georeferenced(self) -> bool:
        """Whether the file says where on the Earth it lies."""
        return self.crs is not None and self.transform != Affine.identity()

    @property
    def count(self) -> int:
        """Number of bands."""
        return len(self.dtypes)


@contextmanager
def opened(path: str) -> Iterator[DatasetReader]:
    """An open image.

    Raises:
        SceneError: It isn't there, or isn't an image in one of the formats of Sentinel-2 products.
    """
    with ExitStack() as stack:
        try:
            image = stack.enter_context(open_raster(path, drivers=DRIVERS))
        except RefusedFileError as error:
            raise SceneError(str(error)) from error
        except (RasterioError, OSError) as error:
            raise SceneError(
                f"{path}: can't be read as an image: it is cut short, damaged or missing"
            ) from error
        yield image


def header(path: str) -> Header:
    """Read what an image says about itself.

    Raises:
        SceneError: It can't be opened.
    """
    with opened(path) as image:
        return Header(
            path=path,
            crs=image.crs,
            transform=image.transform,
            shape=(image.height, image.width),
            dtypes=tuple(image.dtypes),
            descriptions=tuple(name or "" for name in raster_descriptions(image)),
            scales=tuple(float(value) for value in image.scales),
            offsets=tuple(float(value) for value in image.offsets),
            nodata=None if image.nodata is None else float(image.nodata),
            tags=raster_tags(image),
        )


def sample(band: Band) -> NDArray[np.float64]:
    """Numbers from all over a band, at most 512 x 512 of them, as (H, W): what statistics are taken from.

    Raises:
        SceneError: The pixels can't be read.
    """
    with opened(band.path) as image:
        shape = (min(image.height, _SAMPLES), min(image.width, _SAMPLES))
        return np.asarray(_numbers(image, band, out_shape=shape, resampling=Resampling.nearest), np.float64)


def on_grid(band: Band, grid: Grid, *, nearest: bool = False) -> tuple[NDArray[np.float32], bool]:
    """One band's numbers on a given grid, read by window.

    Where the file's own pixels are those of the grid they are copied. Elsewhere they are brought to it by the
    cubic kernel (or the nearest pixel); numbers that mean "nothing here" take no part in it.

    Args:
        band: The band.
        grid: North-up.
        nearest: Whether the numbers are classes, between which nothing may be interpolated.

    Returns:
        float32 (H, W), NaN where there is no value; and whether the pixels are plain copies.

    Raises:
        SceneError: The file can't be opened, has no position, or its pixels can't be read.
    """
    target = np.full(grid.shape, np.nan, np.float32)
    with _positioned(band) as image:
        shift = lattice_shift(image.transform, grid.transform) if image.crs == grid.crs else None
        if shift is not None:
            (x, y), (h, w) = shift, grid.shape
            left, top, right, bottom = max(x, 0), max(y, 0), min(x + w, image.width), min(y + h, image.height)
            if top < bottom and left < right:
                part = _read(image, band, _window(left, top, right, bottom))
                target[top - y : bottom - y, left - x : right - x] = part
            return target, True
        window = _source_window(image, grid)
        if window is None:
            return target, False
        reproject(
            _read(image, band, window),
            target,
            src_transform=image.window_transform(window),
            src_crs=image.crs,
            src_nodata=np.nan,
            dst_transform=grid.transform,
            dst_crs=grid.crs,
            dst_nodata=np.nan,
            resampling=Resampling.nearest if nearest else Resampling.cubic,
            # Positions are computed and not approximated: an eighth of a pixel is a tenth of a wagon.
            tolerance=0.0,
        )
        return target, False


def averaged(band: Band, grid: Grid, spread_m: float) -> NDArray[np.float32]:
    """One band's numbers on a grid of coarser cells, each the mean of the pixels around its centre.

    The pixels weigh by a Gaussian; numbers that mean "nothing here" take no part. A cell has a value where at
    least half of that weight lies on pixels that have one.

    Args:
        band: The band.
        grid: In metres.
        spread_m: Full width at half maximum of the Gaussian, metres.

    Returns:
        float32 (H, W), NaN where there is no value.

    Raises:
        SceneError: The file can't be opened, has no position, or its pixels can't be read.
    """
    target = np.full(grid.shape, np.nan, np.float32)
    with _positioned(band) as image:
        places = _places(image, grid)
        if places is None:
            return target
        diagonal = np.hypot(*(places[:, 1:, 1:] - places[:, :-1, :-1])).mean()
        a_metre = float(diagonal) / (grid.cell_size * math.sqrt(2.0))
        sigma = spread_m / _FWHM_A_SIGMA * a_metre
        reach = math.ceil(4.0 * sigma) + 1
        left, top = (max(math.floor(float(one.min())) - reach, 0) for one in places)
        right = min(math.ceil(float(places[0].max())) + reach, image.width)
        bottom = min(math.ceil(float(places[1].max())) + reach, image.height)
        if left >= right or top >= bottom:
            return target
        numbers = _read(image, band, _window(left, top, right, bottom))
    known = np.isfinite(numbers)
    maps = [(one - corner - 0.5).astype(np.float32) for one, corner in zip(places, (left, top), strict=True)]

    def mean(plane: NDArray[np.float32]) -> NDArray[np.float32]:
        smooth = cv2.GaussianBlur(plane, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
        return np.asarray(
            cv2.remap(smooth, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        )

    fraction = mean(known.astype(np.float32))
    total = mean(np.where(known, numbers, np.float32(0)))
    enough = fraction >= 0.5
    target[enough] = total[enough] / fraction[enough]
    return target


def _places(image: DatasetReader, grid: Grid) -> NDArray[np.float64] | None:
    """Where the centres of a grid's cells lie in an image, (2, H, W) pixels; None where it doesn't reach."""
    x, y = grid.centres()
    if image.crs != grid.crs:
        try:
            moved = transform_points(grid.crs, image.crs, x.ravel(), y.ravel())
        except (RasterioError, ValueError) as error:
            log.debug("%s: %s", image.name, error)
            return None
        x, y = (np.reshape(one, x.shape) for one in moved)
    inverse = ~image.transform
    places = np.stack([inverse.a * x + inverse.b * y + inverse.c, inverse.d * x + inverse.e * y + inverse.f])
    return places if np.isfinite(places).all() else None


def _source_window(image: DatasetReader, grid: Grid) -> Window | None:
    """The window of the image that a grid is interpolated from, None if they don't meet."""
    try:
        bounds = transform_bounds(grid.crs, image.crs, *grid.bounds, densify_pts=21)
    except (RasterioError, ValueError) as error:
        log.debug("%s: %s", image.name, error)
        return None
    if not all(map(math.isfinite, bounds)):
        return None
    found = pixels_around(bounds, image.transform, (image.width, image.height), _KERNEL_PX)
    return None if found is None else _window(*found)


def _window(left: int, top: int, right: int, bottom: int) -> Window:
    return Window(left, top, right - left, bottom - top)


@contextmanager
def _positioned(band: Band) -> Iterator[DatasetReader]:
    """A band's image, which has to lie somewhere on the Earth."""
    with opened(band.path) as image:
        if image.crs is None or band.index > image.count:
            raise SceneError(f"{band.path}: has no position on the map, or lacks band {band.index}")
        yield image


def _read(image: DatasetReader, band: Band, window: Window) -> NDArray[np.float32]:
    """A window's numbers, NaN where they mean that there is no value."""
    numbers = _numbers(image, band, window=window)
    values: NDArray[np.float32] = numbers.astype(np.float32)
    for number in band.nothing:
        values[numbers == number] = np.nan
    values[~np.isfinite(values)] = np.nan
    return values


def _numbers(image: DatasetReader, band: Band, **what: Any) -> NDArray[Any]:
    try:
        return np.asarray(image.read(band.index, **what))
    except (RasterioError, OSError) as error:
        raise SceneError(
            f"{band.path}: its pixels can't be read: the file is cut short or damaged"
        ) from error


MASK = "UDM2"
"""Name of a usable data mask among the bands of a product."""
BANDS = 8
_UNUSABLE = 8
# Band to class of Sen2Cor's scene classification; later ones stand over earlier ones.
_CLASSES = {1: 5, 2: 11, 3: 3, 4: 10, 5: 9, 6: 9}
_NOTHING, _DEFECTIVE = 0, 1
_NO_IMAGE, _CLOUD = 1, 2  # bits of the older mask


def classes_of(path: str, grid: Grid) -> NDArray[np.uint8]:
    """Scene classification (H, W) on a grid, by the nearest pixel; 0 where there is no image.

    Args:
        path: Of the mask, as GDAL names it.
        grid: The cells.

    Raises:
        SceneError: It can't be read.
    """

    def band(index: int) -> NDArray[np.uint8]:
        values, _ = on_grid(Band(MASK, path, index, nothing=()), grid, nearest=True)
        return np.nan_to_num(values).astype(np.uint8)

    found = np.full(grid.shape, _NOTHING, np.uint8)
    for index, meaning in _CLASSES.items():
        found[band(index) > 0] = meaning
    unusable = band(_UNUSABLE)
    found[(unusable & ~np.uint8(_NO_IMAGE | _CLOUD)) > 0] = _DEFECTIVE
    found[(unusable & _NO_IMAGE) > 0] = _NOTHING
    return found
