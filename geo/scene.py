"""One acquisition of one sensor, opened lazily and read by window."""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import math
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
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

from aoi.geodesy import DatumDoubt
from geo.errors import SceneError
from geo.file_tree import open_binary
from geo.ground_metric import FloatArray, GroundMetric, apply_affine, doubt_at, to_lonlat
from geo.rendering import PixelReader, PixelSource, RawPixels, Stretch, paint
from geo.resample import Axis, Resampler, Window

log = logging.getLogger(__name__)

# The sample that a percentile stretch is computed from: 16 patches of 64 pixels each way.
_PATCHES, _PATCH_PX = 16, 64
# Up to this width the patches of a row are cut out of all of it: one read instead of sixteen, of blocks (512
# pixels wide at most, usually) that have nearly all to be decoded either way.
_WHOLE_ROWS_PX = 8192
# Rows of pixels held at once when a whole scene has to be searched for a valid one.
_SEARCH_PIXELS = 4_000_000
_SHA_BLOCK = 1 << 20
_LIKE_GSD = 1.2  # scenes whose resolutions differ by no larger a factor are as fine as each other


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
        day_only: Whether ``datetime`` is the midnight of a day whose hour isn't known.
        time_fault: Why there is no ``datetime`` though something seemed to tell it, or None.
        datum: What is doubtful about the place on the Earth, or None.
        warnings: Sentences that whoever reads a count made on the scene should know.
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
    day_only: bool = False
    time_fault: str | None = None
    datum: DatumDoubt | None = None
    warnings: tuple[str, ...] = ()
    _held: dict[int, PixelReader] = field(init=False, repr=False, compare=False, default_factory=dict)

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
        warnings: tuple[str, ...] = (),
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
        datum: DatumDoubt | None = None
        if crs is None:
            if given_gsd_m is None:
                raise SceneError(
                    f"{path}: has no position: give its ground sampling distance in metres (--gsd)"
                )
            gsd_xy_m = (float(given_gsd_m), float(given_gsd_m))
        else:
            gsd_xy_m = GroundMetric(path, crs, transform, (0.0, 0.0)).gsd_xy_at((width / 2, height / 2))
            if not all(math.isfinite(gsd) and gsd > 0 for gsd in gsd_xy_m) or transform.determinant == 0:
                raise SceneError(f"{path}: its transform gives pixels of no size on the ground")
            datum = doubt_at(crs, apply_affine(transform, [(width / 2, height / 2)])[0], path)
            warnings = (*warnings, *([] if datum is None else [datum.sentence]))
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
            datum=datum,
            warnings=warnings,
            **values,
        )

    @property
    def georeferenced(self) -> bool:
        """Whether pixels have a place on the map."""
        return self.crs is not None

    @property
    def channels(self) -> int:
        """Number of planes that reading gives: one (grey) or three."""
        return self.source.channels

    def like(self, other: Scene) -> bool:
        """Whether two scenes can be laid together: of the same bands, type of numbers and fineness."""
        alike = (self.channels, self.dtype) == (other.channels, other.dtype)
        return alike and 1 / _LIKE_GSD <= self.gsd_m / other.gsd_m <= _LIKE_GSD

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
        return Polygon(to_lonlat(self.crs, corners, self.path))

    def pixel_to_map(self, xy: npt.ArrayLike) -> FloatArray:
        """Pixel coordinates (N, 2) as coordinates in the scene's CRS (unchanged without position)."""
        return apply_affine(self.transform, xy)

    def map_to_pixel(self, xy: npt.ArrayLike) -> FloatArray:
        """Coordinates (N, 2) in the scene's CRS as pixel coordinates: the inverse of `pixel_to_map`."""
        return apply_affine(~self.transform, xy)

    def ground_metrics(self) -> GroundMetric:
        """Lengths and directions on the ground, anywhere in the scene."""
        return GroundMetric(self.path, self.crs, self.transform, self.gsd_xy_m)

    def open_pixels(self) -> AbstractContextManager[PixelReader]:
        """Open a handle on the pixels, for one thread: the one that `held_open` holds, or a new one."""
        held = self._held.get(threading.get_ident())
        return self.source.open() if held is None else nullcontext(held)

    @contextmanager
    def held_open(self) -> Iterator[None]:
        """Read through one handle whatever this thread reads of the scene inside the block.

        Example:
            >>> from importlib.resources import files
            >>> from geo import open_scene
            >>> scene = open_scene(files("sample_tiles") / "sample-yard_20250918T103700Z.tif")
            >>> with scene.held_open():  # the file is opened once for the stretch and both windows
            ...     [scene.read(window)[0].shape for window in ((0, 0, 9, 9), (9, 9, 20, 29))]
            [(9, 9, 3), (20, 11, 3)]
        """
        with self.open_pixels() as reader:
            outer = self._held.get(threading.get_ident())
            self._held[threading.get_ident()] = reader
            try:
                yield
            finally:
                if outer is None:
                    del self._held[threading.get_ident()]

    def read(
        self, window_px: Window | None = None, *, max_px: int | None = None
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """The picture in a window, stretched as the detector sees it.

        Args:
            window_px: (x0, y0, x1, y1) in pixels, which may reach beyond the scene; None for the whole scene.
            max_px: Average so many pixels into one that neither side is longer than this: a pixel of the
                picture then covers ``max(1, longest side of the window / max_px)`` pixels of the scene, from
                the window's corner on. None for every pixel.

        Returns:
            (h, w, 3) uint8, 0 where invalid, and (h, w) bool.

        Raises:
            SceneError: The pixels can't be read.
        """
        left, top, right, bottom = window_px or (0, 0, self.width, self.height)
        width, height = right - left, bottom - top
        if width <= 0 or height <= 0:
            raise ValueError(f"a window needs an extent, not {window_px}")
        scale = 1.0 if max_px is None else max(1.0, max(width, height) / max_px)
        resampler = Resampler(Axis(scale, width), Axis(scale, height))
        stretch = self.stretch
        with self.open_pixels() as reader:

            def read(window: Window) -> RawPixels:
                x0, y0, x1, y1 = window
                return self._padded(reader, (x0 + left, y0 + top, x1 + left, y1 + top))

            return paint(resampler, read, (0, 0, resampler.x.out_size, resampler.y.out_size), stretch)

    def _padded(self, reader: PixelReader, window: Window) -> RawPixels:
        """A window that may reach beyond the scene, where pixels are 0 and invalid."""
        x0, y0, x1, y1 = window
        inner = max(x0, 0), max(y0, 0), min(x1, self.width), min(y1, self.height)
        if inner == window:
            return reader.read(window)
        channels = self.channels
        if inner[0] >= inner[2] or inner[1] >= inner[3]:
            return np.zeros((channels, y1 - y0, x1 - x0), np.uint8), np.zeros((y1 - y0, x1 - x0), np.bool_)
        numbers, valid = reader.read(inner)
        rows, columns = (inner[1] - y0, y1 - inner[3]), (inner[0] - x0, x1 - inner[2])
        return np.pad(numbers, ((0, 0), rows, columns)), np.pad(valid, (rows, columns))

    def check_files(self) -> None:
        """Make sure that every file with its pixels is there and can be read.

        Raises:
            SceneError: One isn't (of a mosaic, say), so that the scene has no fingerprint.
        """
        for name in self.source.files:
            try:
                with open_binary(name) as (stream, _):
                    stream.read(1)
            except OSError as error:
                said = "" if name == self.path else f" {name}, of which it is made,"
                raise SceneError(f"{self.path}:{said} can't be read ({error.strerror or error})") from error

    def sha256(self) -> str:
        """The SHA-256 of the file, in hexadecimal; computed once, a megabyte at a time.

        Of a source of several files (a VRT) it is the SHA-256 of all their contents, one after the other.
        """
        return self._sha256

    @cached_property
    def _sha256(self) -> str:
        digest = hashlib.sha256()
        for name in self.source.files:
            try:
                with open_binary(name) as (file, _):
                    while block := file.read(_SHA_BLOCK):
                        digest.update(block)
            except OSError as error:
                raise SceneError(f"{name}: can't be read ({error.strerror})") from error
        return digest.hexdigest()

    def _sample(self) -> npt.NDArray[Any]:
        """Digital numbers of valid pixels from all over the scene, (bands, n).

        A small scene is read whole, of a large one a regular pattern of patches (a decimated read would have
        to decode nearly every block of a file without overviews).

        Raises:
            SceneError: There is no valid pixel.
        """
        with self.open_pixels() as reader:
            found = [
                numbers.reshape(len(numbers), -1) if valid.all() else numbers[:, valid]
                for numbers, valid in self._patches(reader)
                if valid.any()
            ]
            if found:
                return np.concatenate(found, axis=1)
            # The patches may have missed what little there is.
            step = max(1, _SEARCH_PIXELS // self.width)
            for top in range(0, self.height, step):
                numbers, valid = reader.read((0, top, self.width, min(top + step, self.height)))
                if valid.any():
                    return numbers[:, valid]
        raise SceneError(f"{self.path}: has no valid pixel: all of it is nodata or masked")

    def _patches(self, reader: PixelReader) -> Iterator[RawPixels]:
        """The numbers of a regular pattern of patches, row by row.

        From the bottom up: the first tiles are cut at the top, whose blocks then lie decoded in GDAL's cache.
        """
        columns = _spread(self.width)
        for y0, y1 in reversed(_spread(self.height)):
            if self.width > _WHOLE_ROWS_PX:
                yield from (reader.read((x0, y0, x1, y1)) for x0, x1 in columns)
                continue
            numbers, valid = reader.read((0, y0, self.width, y1))
            yield (
                np.concatenate([numbers[:, :, x0:x1] for x0, x1 in columns], axis=2),
                np.concatenate([valid[:, x0:x1] for x0, x1 in columns], axis=1),
            )


def _spread(size: int) -> list[tuple[int, int]]:
    """Evenly spread intervals along an axis, or all of a short one."""
    if size <= _PATCHES * _PATCH_PX:
        return [(0, size)]
    starts = np.linspace(0, size - _PATCH_PX, _PATCHES).round().astype(int)
    return [(int(start), int(start) + _PATCH_PX) for start in starts]


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
        try:
            with open_binary(part) as (file, size):
                digest.update(str(size).encode())
                digest.update(file.read(1 << 16))
                for block in range(1, 33):
                    file.seek(max(0, block * size // 32 - 4096))
                    digest.update(file.read(4096))
        except (FileNotFoundError, IsADirectoryError):
            continue
    name = re.sub(r"[^\w.-]+", "-", path.stem)
    return f"{name}-{digest.hexdigest()[:8]}"
