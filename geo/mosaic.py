"""Several files of one acquisition as one scene: each piece of ground once, from the first that has it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.warp import reproject, transform_bounds

from geo.coverage import area_in_pixels
from geo.errors import SceneError
from geo.ground_metric import apply_affine, lattice_shift, pixels_around
from geo.rendering import PixelReader, RawPixels
from geo.resample import Window
from geo.scene import Scene, scene_id

if TYPE_CHECKING:
    from aoi import AreaOfInterest


# Pixels beside a window that interpolation may reach into.
_KERNEL_PX = 4
# What is kept beside the area, metres: for the detector's halo, and for pictures.
_MARGIN_M = 150.0


def mosaic(scenes: Sequence[Scene], area: AreaOfInterest) -> Scene:
    """Lay scenes of one acquisition together around an area.

    The first scene gives the grid. Where its pixels are missing those of the next are taken: copied if they
    lie on the same grid, else brought to it by the cubic kernel.

    Args:
        scenes: With a position, in the order of preference; all `Scene.like` one another.
        area: In longitude and latitude; touched by the scenes. What lies further than 150 m from it is left
            out.

    Returns:
        One scene; its id and content are those of all files together.

    Raises:
        SceneError: They don't touch the area, or their coordinates can't be brought to one CRS.
    """
    first = scenes[0]
    assert first.crs is not None
    outlines = np.array([_bounds_px(first, one) for one in scenes])
    whole = (*outlines[:, :2].min(axis=0), *outlines[:, 2:].max(axis=0))
    wanted = area_in_pixels(first, area).bounds
    margin = [_MARGIN_M / gsd for gsd in first.gsd_xy_m]
    left = math.floor(max(whole[0], wanted[0] - margin[0]))
    top = math.floor(max(whole[1], wanted[1] - margin[1]))
    right = math.ceil(min(whole[2], wanted[2] + margin[0]))
    bottom = math.ceil(min(whole[3], wanted[3] + margin[1]))
    if left >= right or top >= bottom:
        raise SceneError(f"{first.path}: the area {area.name} doesn't touch the scene")
    transform = first.transform @ Affine.translation(left, top)
    source = MosaicSource(tuple(scenes), first.crs, transform, right - left, bottom - top, first.channels)
    return Scene.build(
        path=first.path,
        id=scene_id(first.path, source.files),
        datetime=min((one.datetime for one in scenes if one.datetime is not None), default=None),
        day_only=first.day_only,
        warnings=tuple(dict.fromkeys(text for one in scenes for text in _own_warnings(one))),
        sensor=first.sensor,
        crs=first.crs,
        transform=transform,
        width=source.width,
        height=source.height,
        count=first.count,
        dtype=first.dtype,
        bands=first.bands,
        nodata=None,
        given_gsd_m=None,
        declared_stretch=first.declared_stretch,
        source=source,
    )


def _own_warnings(scene: Scene) -> tuple[str, ...]:
    """A scene's warnings but for that of its CRS, which the whole gets again."""
    return tuple(text for text in scene.warnings if scene.datum is None or text != scene.datum.sentence)


@dataclass(frozen=True)
class MosaicSource:
    """The pixels of several files on one grid; see `mosaic`.

    Attributes:
        members: The files, in the order of preference.
        crs: Of the grid.
        transform: Of the grid.
        width: Of the grid, pixels.
        height: Of the grid, pixels.
        channels: Number of planes that reading gives.
    """

    members: tuple[Scene, ...]
    crs: CRS
    transform: Affine
    width: int
    height: int
    channels: int

    @property
    def gapless(self) -> bool:
        """Whether every pixel is known to be valid without reading it: never, files may leave corners out."""
        return False

    @contextmanager
    def open(self) -> Iterator[MosaicReader]:
        """Open a handle of its own; a file is opened when its pixels are first wanted."""
        with ExitStack() as stack:
            yield MosaicReader(self, stack)

    @property
    def files(self) -> tuple[Path, ...]:
        """All files of all members, the first member's first."""
        return tuple(dict.fromkeys(name for member in self.members for name in member.source.files))


@dataclass
class MosaicReader:
    """An open handle on a `MosaicSource`, for one thread."""

    source: MosaicSource
    stack: ExitStack
    readers: dict[int, PixelReader] = field(default_factory=dict)

    def read(self, window: Window, shape: tuple[int, int] | None = None) -> RawPixels:
        """Read a window that lies inside the mosaic; see `geo.rendering.PixelReader`."""
        x0, y0, x1, y1 = window
        numbers: npt.NDArray[Any] | None = None
        valid = np.zeros((y1 - y0, x1 - x0), np.bool_)
        for index in range(len(self.source.members)):
            found = self._of(index, window)
            if found is None:
                continue
            more, there = found
            if numbers is None:
                numbers = np.zeros((self.source.channels, *valid.shape), more.dtype)
            fresh = there & ~valid
            numbers[:, fresh] = more[:, fresh]
            valid |= there
            if valid.all():
                break
        if numbers is None:
            numbers = np.zeros((self.source.channels, *valid.shape), np.uint8)
        if shape is None:
            return numbers, valid
        rows = ((np.arange(shape[0]) + 0.5) * valid.shape[0] / shape[0]).astype(int)
        columns = ((np.arange(shape[1]) + 0.5) * valid.shape[1] / shape[1]).astype(int)
        return numbers[:, rows[:, None], columns], valid[rows[:, None], columns]

    def _of(self, index: int, window: Window) -> RawPixels | None:
        """What one file has in a window, None if it doesn't reach there."""
        member = self.source.members[index]
        same = member.crs == self.source.crs
        shift = lattice_shift(member.transform, self.source.transform) if same else None
        if shift is None:
            return self._warped(index, window)
        x0, y0, x1, y1 = (value + shift[number % 2] for number, value in enumerate(window))
        inner = max(x0, 0), max(y0, 0), min(x1, member.width), min(y1, member.height)
        if inner[0] >= inner[2] or inner[1] >= inner[3]:
            return None
        numbers, valid = self._reader(index).read(inner)
        rows, columns = (inner[1] - y0, y1 - inner[3]), (inner[0] - x0, x1 - inner[2])
        return np.pad(numbers, ((0, 0), rows, columns)), np.pad(valid, (rows, columns))

    def _warped(self, index: int, window: Window) -> RawPixels | None:
        """The same for a file on another grid: interpolated."""
        member, source = self.source.members[index], self.source
        x0, y0, x1, y1 = window
        transform = source.transform @ Affine.translation(x0, y0)
        corners = apply_affine(transform, [(0, 0), (x1 - x0, 0), (0, y1 - y0), (x1 - x0, y1 - y0)])
        bounds = transform_bounds(
            source.crs, member.crs, *corners.min(axis=0), *corners.max(axis=0), densify_pts=21
        )
        inner = pixels_around(bounds, member.transform, (member.width, member.height), _KERNEL_PX)
        if inner is None:
            return None
        numbers, valid = self._reader(index).read(inner)
        shape = y1 - y0, x1 - x0
        places: dict[str, Any] = {
            "src_transform": member.transform @ Affine.translation(*inner[:2]),
            "src_crs": member.crs,
            "dst_transform": transform,
            "dst_crs": source.crs,
        }
        try:
            there = np.zeros(shape, np.uint8)
            reproject(valid.astype(np.uint8), there, resampling=Resampling.nearest, **places)
            out = np.zeros((len(numbers), *shape), numbers.dtype)
            reproject(numbers, out, resampling=Resampling.cubic, **places)
        except RasterioError as error:
            raise SceneError(f"{member.path}: can't be brought to the grid of its neighbours") from error
        return out, there > 0

    def _reader(self, index: int) -> PixelReader:
        if index not in self.readers:
            self.readers[index] = self.stack.enter_context(self.source.members[index].source.open())
        return self.readers[index]


def _bounds_px(grid: Scene, member: Scene) -> tuple[float, float, float, float]:
    """A file's bounds in the pixels of a scene."""
    corners = apply_affine(
        member.transform, [(0, 0), (member.width, 0), (0, member.height), (member.width, member.height)]
    )
    if member.crs != grid.crs:
        try:
            west, south, east, north = transform_bounds(
                member.crs, grid.crs, *corners.min(axis=0), *corners.max(axis=0), densify_pts=21
            )
        except RasterioError as error:
            raise SceneError(f"{member.path}: can't be brought to the grid of its neighbours") from error
        corners = np.array([(west, south), (west, north), (east, south), (east, north)])
    pixels = grid.map_to_pixel(corners)
    (left, top), (right, bottom) = pixels.min(axis=0), pixels.max(axis=0)
    return float(left), float(top), float(right), float(bottom)
