"""One acquisition of one sensor, opened lazily and read by window."""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import math
import re
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.crs import CRS
from shapely import Polygon, segmentize
from shapely.geometry import box

from geo.errors import SceneError
from geo.ground import FloatArray, GroundMetric, apply_affine, to_lonlat
from geo.pixels import PixelReader, PixelSource, RawPixels
from geo.resample import Window
from geo.stretch import Stretch

log = logging.getLogger(__name__)

# The sample that a percentile stretch is computed from: at most this many pixels each way.
_SAMPLE_PX = 1024
# Rows of pixels held at once when a whole scene has to be searched for a valid one.
_SEARCH_PIXELS = 4_000_000
_SHA_BLOCK = 1 << 20


@dataclass(frozen=True)
class OpenOptions:
    """What the caller of `geo.open_scene` declares about an image; None means "as the image says"."""

    gsd_m: float | None = None
    when: dt.datetime | None = None
    sensor: str | None = None
    bands: Sequence[int] | None = None
    stretch: Stretch | None = None
    nodata: float | None = None
    crs: str | int | None = None


@dataclass(frozen=True)
class Scene:
    """One acquisition of one sensor. Opening reads metadata only; pixels are read by window.

    Pixel coordinates have their origin at the outer corner of the first pixel, x right, y down.

    Attributes:
        path: The file or folder.
        id: The file's name and a fingerprint of its content: the same file has the same id in any folder, two
            files of one name in two folders have two.
        datetime: Acquisition time in UTC, or None if nothing tells it.
        sensor: The sensor, or "unknown".
        crs: The coordinate reference system, or None without position.
        transform: Pixels to map coordinates; the identity without position.
        width: Pixels across.
        height: Pixels down.
        count: Bands in the file.
        dtype: Type of the digital numbers.
        bands: The bands shown to the detector, from 1: one (grey or palette) or three (red, green, blue).
        gsd_m: Ground sampling distance in metres: geometric mean of both axes, on the ground at the scene's
            centre.
        gsd_xy_m: The same along x and along y.
        nodata: The number that means "nothing here" where all shown bands hold it, or None.
        declared_stretch: The stretch given by the caller, or None for the robust one.
        source: Where the pixels come from.
    """

    path: Path
    id: str
    datetime: dt.datetime | None
    sensor: str
    crs: CRS | None
    transform: Affine
    width: int
    height: int
    count: int
    dtype: str
    bands: tuple[int, ...]
    gsd_m: float
    gsd_xy_m: tuple[float, float]
    nodata: float | None
    declared_stretch: Stretch | None
    source: PixelSource = field(repr=False, compare=False)

    @classmethod
    def build(
        cls,
        *,
        path: Path,
        crs: CRS | None,
        transform: Affine,
        width: int,
        height: int,
        given_gsd_m: float | None,
        **values: Any,
    ) -> Scene:
        """Make a scene, working out its ground sampling distance at its centre.

        A position decides the ground sampling distance; a given one serves images without position, and is
        compared with the position's otherwise.

        Raises:
            SceneError: The ground sampling distance is not a positive number, or the position is nonsense.
        """
        if given_gsd_m is not None and not (math.isfinite(given_gsd_m) and given_gsd_m > 0):
            raise SceneError(f"{path}: a ground sampling distance of {given_gsd_m:g} m makes no sense")
        if crs is None:
            if given_gsd_m is None:
                raise SceneError(
                    f"{path}: has no position: give its ground sampling distance in metres (--gsd)"
                )
            gsd_xy_m = (float(given_gsd_m), float(given_gsd_m))
        else:
            try:
                gsd_xy_m = GroundMetric(crs, transform, (0.0, 0.0)).gsd_xy_at((width / 2, height / 2))
            except SceneError as error:
                raise SceneError(f"{path}: {error}") from error
            if not all(math.isfinite(gsd) and gsd > 0 for gsd in gsd_xy_m) or transform.determinant == 0:
                raise SceneError(f"{path}: its transform gives pixels of no size on the ground")
        gsd_m = math.sqrt(gsd_xy_m[0] * gsd_xy_m[1])
        if given_gsd_m is not None and abs(given_gsd_m / gsd_m - 1) > 0.05:
            log.warning(
                "%s: its position says %.3g m a pixel, not the given %.3g m; the position is used",
                path,
                gsd_m,
                given_gsd_m,
            )
        return cls(
            path=path,
            crs=crs,
            transform=transform,
            width=width,
            height=height,
            gsd_m=gsd_m,
            gsd_xy_m=gsd_xy_m,
            **values,
        )

    @property
    def georeferenced(self) -> bool:
        """Whether pixels have a place on the map."""
        return self.crs is not None

    @cached_property
    def stretch(self) -> Stretch:
        """How digital numbers become the 8-bit picture: declared, or computed once from a decimated read.

        Raises:
            SceneError: The scene has no valid pixel, or can't be read.
        """
        return self.declared_stretch or Stretch.robust(self._sample())

    def footprint(self) -> Polygon | None:
        """The outline of the raster in WGS84 longitude and latitude, or None without position."""
        if self.crs is None:
            return None
        outline = segmentize(box(0, 0, self.width, self.height), max(self.width, self.height) / 8)
        corners = self.pixel_to_map(np.asarray(outline.exterior.coords))
        return Polygon(to_lonlat(self.crs, corners))

    def pixel_to_map(self, xy: npt.ArrayLike) -> FloatArray:
        """Pixel coordinates (N, 2) as coordinates in the scene's CRS (unchanged without position)."""
        return apply_affine(self.transform, xy)

    def map_to_pixel(self, xy: npt.ArrayLike) -> FloatArray:
        """Coordinates (N, 2) in the scene's CRS as pixel coordinates: the inverse of `pixel_to_map`."""
        return apply_affine(~self.transform, xy)

    def ground_metrics(self) -> GroundMetric:
        """Lengths and directions on the ground, anywhere in the scene."""
        return GroundMetric(self.crs, self.transform, self.gsd_xy_m)

    def open_pixels(self) -> AbstractContextManager[PixelReader]:
        """Open a handle on the pixels, for one thread."""
        return self.source.open()

    def read_raw(self, window_px: Window, shape: tuple[int, int] | None = None) -> RawPixels:
        """Digital numbers (bands, h, w) and validity (h, w) of a window that lies inside the scene.

        Args:
            window_px: (x0, y0, x1, y1) in pixels.
            shape: (h, w) to decimate to by nearest neighbour, or None.
        """
        with self.open_pixels() as reader:
            return reader.read(window_px, shape)

    def read(
        self, window_px: Window | None = None, *, max_px: int | None = None
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """The picture in a window, stretched as the detector sees it.

        Args:
            window_px: (x0, y0, x1, y1) in pixels, which may reach beyond the scene; None for the whole scene.
            max_px: Decimate (nearest neighbour) so that neither side is longer than this; None for every
                pixel.

        Returns:
            (h, w, 3) uint8, 0 where invalid, and (h, w) bool.

        Raises:
            SceneError: The pixels can't be read.
        """
        x0, y0, x1, y1 = window_px or (0, 0, self.width, self.height)
        if x1 <= x0 or y1 <= y0:
            raise ValueError(f"a window needs an extent, not {window_px}")
        step = 1.0 if max_px is None else max(1.0, max(x1 - x0, y1 - y0) / max_px)
        shape = max(1, round((y1 - y0) / step)), max(1, round((x1 - x0) / step))
        image, valid = np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.bool_)
        inner = max(x0, 0), max(y0, 0), min(x1, self.width), min(y1, self.height)
        if inner[0] >= inner[2] or inner[1] >= inner[3]:
            return image, valid
        left, right = (min(round((x - x0) / step), shape[1]) for x in (inner[0], inner[2]))
        top, bottom = (min(round((y - y0) / step), shape[0]) for y in (inner[1], inner[3]))
        if left == right or top == bottom:
            return image, valid
        stretch = self.stretch
        numbers, known = self.read_raw(inner, (bottom - top, right - left))
        for band in range(3):
            plane = numbers[band if len(numbers) == 3 else 0]
            image[top:bottom, left:right, band] = stretch.apply(plane, band if len(numbers) == 3 else 0)
        valid[top:bottom, left:right] = known
        image[~valid] = 0
        return image, valid

    def sha256(self) -> str:
        """The SHA-256 of the file, in hexadecimal; computed once, a megabyte at a time.

        Of a source of several files (a VRT) it is the SHA-256 of all their contents, one after the other.
        """
        return self._sha256

    @cached_property
    def _sha256(self) -> str:
        digest = hashlib.sha256()
        for name in self.source.files():
            try:
                with Path(name).open("rb") as file:
                    while block := file.read(_SHA_BLOCK):
                        digest.update(block)
            except OSError as error:
                raise SceneError(f"{name}: can't be read ({error.strerror})") from error
        return digest.hexdigest()

    def _sample(self) -> npt.NDArray[Any]:
        """Digital numbers of valid pixels all over the scene, (bands, n).

        Raises:
            SceneError: There is no valid pixel.
        """
        shape = min(self.height, _SAMPLE_PX), min(self.width, _SAMPLE_PX)
        with self.open_pixels() as reader:
            numbers, valid = reader.read((0, 0, self.width, self.height), shape)
            if valid.any():
                return numbers[:, valid]
            # Decimation may have stepped over what little there is.
            step = max(1, _SEARCH_PIXELS // self.width)
            for top in range(0, self.height, step):
                numbers, valid = reader.read((0, top, self.width, min(top + step, self.height)))
                if valid.any():
                    return numbers[:, valid]
        raise SceneError(f"{self.path}: has no valid pixel: all of it is nodata or masked")


def scene_id(path: Path, files: Iterable[Path]) -> str:
    """A stable id: the name of the file and a fingerprint of what is in it.

    The fingerprint takes each file's size, its beginning and blocks all over it, so that an id costs a few
    reads however large the image is. (`Scene.sha256` is the full one.)

    Args:
        path: The file that names the scene.
        files: The files with its pixels.
    """
    digest = hashlib.sha256()
    for part in files:
        size = part.stat().st_size
        digest.update(str(size).encode())
        with part.open("rb") as file:
            digest.update(file.read(1 << 16))
            for block in range(1, 33):
                file.seek(max(0, block * size // 32 - 4096))
                digest.update(file.read(4096))
    name = re.sub(r"[^\w.-]+", "-", path.stem)
    return f"{name}-{digest.hexdigest()[:8]}"
