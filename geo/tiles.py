"""Cutting a scene into tiles at the detector's ground sampling distance.

The scene is resampled to square "work pixels" (`geo.resample`), anchored at the outer corner of its first
pixel. Tiles have a core and a halo around it. Cores partition the work raster, and an object belongs to the
tile whose core holds its centre; the halo lets the network see all of an object near the edge of a core. So
nothing is counted twice or missed, whatever the tiling.

All windows of a grid have one shape, so that tiles stack into batches. They divide what is wanted (the scene,
or the bounds of an area) evenly, and none reaches beyond the scene by more than its size needs to be a
multiple of ``align_px`` times the number of tiles; pixels out there are 0 and invalid. Windows start at
multiples of ``align_px`` work pixels of the scene: with the stride of the network, the network sees every
place in the same phase, however the tiling is shifted.
"""

from __future__ import annotations

import itertools
import logging
import math
import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import shapely

from geo.boxes import scale_boxes
from geo.coverage import area_in_pixels
from geo.errors import SceneError
from geo.ground_metric import FloatArray
from geo.rendering import PixelReader, Stretch, paint
from geo.resample import Axis, Resampler, Window
from geo.scene import Scene

if TYPE_CHECKING:
    from aoi import AreaOfInterest

log = logging.getLogger(__name__)

WORK_GSD_M = 0.5
# 48 m: longer than the diagonal of the longest wagon (28.6 m by 3.2 m), with room for the network to look
# around it.
HALO_PX = 96
CORE_PX = 832
ALIGN_PX = 32
# A scene within half a percent of the wanted ground sampling distance is taken as it is: the difference over
# a wagon is a seventh of a pixel, and resampling by so little would only blur.
_SAME_SCALE = 0.005


@dataclass(frozen=True)
class TileSpec:
    """Where a tile lies.

    Attributes:
        index: Its place in its grid.
        core: The work pixels that it owns, (x0, y0, x1, y1) in the whole scene; x1 and y1 belong to its
            neighbours.
        window: The work pixels that it shows: core, halo and padding.
    """

    index: int
    core: Window
    window: Window


@dataclass(frozen=True)
class Tile(TileSpec):
    """A tile with its pixels.

    Attributes:
        image: (H, W, 3) uint8, stretched; a grey scene three times over; 0 where invalid.
        valid: (H, W) bool.
    """

    image: npt.NDArray[np.uint8]
    valid: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class AxisCut:
    """How one axis of a scene is cut into windows of one length.

    Attributes:
        low: First work pixel that belongs to a core.
        high: One past the last.
        first: Where the first window starts.
        step: From the start of a window to that of the next.
        window: Length of a window.
        count: Number of windows.

    Example:
        1,000 work pixels in cores of at most 416, shown with 96 more on each side within the scene:

        >>> cut = AxisCut.of((0, 1000), 1000, core_px=416, halo_px=96, align_px=32)
        >>> [(cut.window_of(k), cut.core_of(k)) for k in range(cut.count)]
        [((0, 608), (0, 512)), ((416, 1024), (512, 1000))]
    """

    low: int
    high: int
    first: int
    step: int
    window: int
    count: int

    @classmethod
    def of(
        cls, wanted: tuple[int, int], size: int, *, core_px: int, halo_px: int, align_px: int, shift: int = 0
    ) -> AxisCut:
        """Cut the part ``wanted`` (from, to) of an axis of ``size`` work pixels; see `TileGrid.over`."""
        low, high = wanted
        first = max(0, low // align_px * align_px - halo_px)
        last = min(_aligned(size, align_px), _aligned(high, align_px) + halo_px)
        length = last - first
        if length <= core_px + 2 * halo_px:
            return cls(low, high, first, length, length, 1)
        step = length - 2 * halo_px  # what the cores share
        step = _aligned(math.ceil(step / math.ceil(step / core_px)), align_px)
        first -= -shift % step
        count = math.ceil((last - first - 2 * halo_px) / step)
        return cls(low, high, first, step, step + 2 * halo_px, count)

    def window_of(self, number: int) -> tuple[int, int]:
        """The work pixels that a window shows, (from, to)."""
        start = self.first + number * self.step
        return start, start + self.window

    def core_of(self, number: int) -> tuple[int, int]:
        """The work pixels that a window's tile owns: to the middle of what it shares with its neighbours."""
        halo = (self.window - self.step) // 2
        start = self.first + number * self.step + halo
        return (
            self.low if number == 0 else start,
            self.high if number == self.count - 1 else start + self.step,
        )


def _aligned(size: int, align_px: int) -> int:
    return math.ceil(size / align_px) * align_px


@dataclass(frozen=True)
class TileGrid:
    """The tiles of a scene, as a sequence that is worked out on demand. Make one with `TileGrid.over`.

    Attributes:
        width: Work pixels across the scene.
        height: Work pixels down.
        scale_xy: Source pixels per work pixel along x and y.
        gsd_m: Ground sampling distance of the work pixels.
        columns: How the scene is cut across.
        rows: How it is cut down.
        cells: Lattice cells of the tiles of an area, ascending, counted row by row; None for all.
    """

    width: int
    height: int
    scale_xy: tuple[float, float]
    gsd_m: float
    columns: AxisCut
    rows: AxisCut
    cells: tuple[int, ...] | None = None

    @classmethod
    def over(
        cls,
        scene: Scene,
        gsd_m: float = WORK_GSD_M,
        *,
        core_px: int = CORE_PX,
        halo_px: int = HALO_PX,
        align_px: int = ALIGN_PX,
        area: AreaOfInterest | None = None,
        origin: tuple[int, int] = (0, 0),
    ) -> TileGrid:
        """The grid over a scene, or over the part of it that an area of interest touches.

        Args:
            scene: The scene.
            gsd_m: Wanted ground sampling distance.
            core_px: Largest side of a core in work pixels, but for the halo that a core takes along where
                the scene or the area ends.
            halo_px: Work pixels shown around a core, within the scene.
            align_px: ``core_px``, ``halo_px`` and ``origin`` are multiples of this (the network's stride).
            area: Only its bounds are cut, and only the tiles kept whose core touches its boundary. The ground
                sampling distance is then that at the area, not at the centre of the scene (they differ in
                scenes of many kilometres in degrees or Web Mercator).
            origin: Shift of several tiles in work pixels. Counts don't depend on it; tests do.

        Raises:
            SceneError: The area doesn't touch the scene, or the scene has no position to lay it on.
            ValueError: A size isn't a multiple of ``align_px``.
        """
        if core_px < align_px or any(size % align_px for size in (core_px, halo_px, *origin)) or halo_px < 0:
            raise ValueError(
                f"core ({core_px}), halo ({halo_px}) and origin {origin} must be multiples "
                f"of {align_px} work pixels"
            )
        outline = None if area is None else area_in_pixels(scene, area)
        gsd_x, gsd_y = scene.gsd_xy_m
        if outline is not None and scene.georeferenced:
            centre = outline.intersection(shapely.box(0, 0, scene.width, scene.height)).envelope.centroid
            gsd_x, gsd_y = scene.ground_metrics().gsd_xy_at((centre.x, centre.y))
        scale_x, scale_y = gsd_m / gsd_x, gsd_m / gsd_y
        if abs(scale_x - 1) < _SAME_SCALE and abs(scale_y - 1) < _SAME_SCALE:
            scale_x = scale_y = 1.0
        size = Axis(scale_x, scene.width).out_size, Axis(scale_y, scene.height).out_size
        bounds = (0.0, 0.0, float(size[0]), float(size[1]))
        if outline is not None:
            outline = shapely.transform(outline, lambda xy: xy / np.array([scale_x, scale_y]))
            bounds = outline.bounds
        columns, rows = (
            AxisCut.of(
                _inside(bounds[axis], bounds[axis + 2], size[axis]),
                size[axis],
                core_px=core_px,
                halo_px=halo_px,
                align_px=align_px,
                shift=origin[axis],
            )
            for axis in (0, 1)
        )
        grid = cls(*size, (scale_x, scale_y), gsd_m, columns, rows)
        return grid if outline is None else grid._restricted(outline)

    def _restricted(self, outline: shapely.Geometry) -> TileGrid:
        """The same grid with only those tiles whose core touches an outline in work pixels."""
        shapely.prepare(outline)
        cores = np.array([spec.core for spec in self], np.float64)
        touched = np.nonzero(shapely.intersects(outline, shapely.box(*cores.T)))[0]
        return replace(self, cells=tuple(int(cell) for cell in touched))

    @property
    def window_px(self) -> tuple[int, int]:
        """(width, height) of every tile's window."""
        return self.columns.window, self.rows.window

    def __len__(self) -> int:
        """Number of tiles."""
        return self.columns.count * self.rows.count if self.cells is None else len(self.cells)

    def __getitem__(self, index: int) -> TileSpec:
        """The tile of an index (negative ones count from the end)."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"tile {index} of {len(self)}")
        index %= len(self)
        row, col = divmod(index if self.cells is None else self.cells[index], self.columns.count)
        (x0, x1), (y0, y1) = self.columns.core_of(col), self.rows.core_of(row)
        (left, right), (top, bottom) = self.columns.window_of(col), self.rows.window_of(row)
        return TileSpec(index, (x0, y0, x1, y1), (left, top, right, bottom))

    def __iter__(self) -> Iterator[TileSpec]:
        """The tiles, row by row."""
        return (self[index] for index in range(len(self)))

    def work_to_source(self, boxes: npt.ArrayLike) -> FloatArray:
        """Pixel boxes (N, 5) in work pixels as boxes in source pixels."""
        return scale_boxes(boxes, self.scale_xy)

    def source_to_work(self, boxes: npt.ArrayLike) -> FloatArray:
        """Pixel boxes (N, 5) in source pixels as boxes in work pixels: the inverse of `work_to_source`."""
        return scale_boxes(boxes, (1 / self.scale_xy[0], 1 / self.scale_xy[1]))

    def read_tile(self, reader: PixelReader, scene: Scene, spec: TileSpec, stretch: Stretch) -> Tile:
        """Read one tile through an open handle."""
        resampler = Resampler(Axis(self.scale_xy[0], scene.width), Axis(self.scale_xy[1], scene.height))
        image, valid = paint(resampler, reader.read, spec.window, stretch)
        if valid.all():  # said without an array of its own
            valid = np.broadcast_to(np.True_, valid.shape)
        return Tile(spec.index, spec.core, spec.window, image, valid)


def _inside(low: float, high: float, size: int) -> tuple[int, int]:
    """The pixels of an axis that an interval touches."""
    first = min(max(math.floor(low), 0), size - 1)
    return first, max(first + 1, min(math.ceil(high), size))


def tiles(scene: Scene, grid: TileGrid, *, ahead: int = 2) -> Iterator[Tile]:
    """The tiles of a grid with their pixels, in the grid's order.

    Tiles without a valid pixel in their core are left out.

    A thread with a handle of its own reads up to ``ahead`` tiles before they are asked for; it ends when the
    consumer stops. Memory depends on the tile's size and ``ahead``, not on the scene.

    Args:
        scene: The scene.
        grid: Its tiles.
        ahead: At least 1.

    Raises:
        SceneError: Pixels can't be read, or (with a grid over the whole scene) none is valid.

    Example:
        >>> from importlib.resources import files
        >>> from geo import open_scene
        >>> scene = open_scene(files("sample_tiles") / "sample-yard_20250918T103700Z.tif")
        >>> [tile.image.shape for tile in tiles(scene, TileGrid.over(scene, 0.5))]
        [(416, 640, 3)]
    """
    ready: queue.Queue[Tile | BaseException | None] = queue.Queue()
    room, stopped = threading.Semaphore(ahead), threading.Event()

    def work() -> None:
        try:
            # One handle for both: blocks that the stretch looks into lie decoded in GDAL's cache.
            with scene.held_open(), scene.open_pixels() as reader:
                stretch = scene.stretch
                for spec in grid:
                    room.acquire()
                    if stopped.is_set():
                        return
                    tile = grid.read_tile(reader, scene, spec, stretch)
                    if _core_of(tile).any():
                        ready.put(tile)
                    else:
                        room.release()
                    del tile
            ready.put(None)
        except BaseException as error:  # carried over to the consumer, whatever it is
            ready.put(error)

    thread = threading.Thread(target=work, name=f"tiles of {scene.id}", daemon=True)
    thread.start()
    seen = 0
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            seen += 1
            room.release()
            yield item
    finally:
        stopped.set()
        room.release()
        thread.join()
    if seen == 0 and grid.cells is None:
        raise SceneError(f"{scene.path}: has no valid pixel: all of it is nodata or masked")


def _core_of(tile: Tile) -> npt.NDArray[np.bool_]:
    x0, y0 = tile.window[:2]
    return tile.valid[tile.core[1] - y0 : tile.core[3] - y0, tile.core[0] - x0 : tile.core[2] - x0]


def batches(ordered: Iterable[Tile], size: int) -> Iterator[list[Tile]]:
    """Tiles of one grid, so many at a time, in the order in which they come."""
    rest = iter(ordered)
    while batch := list(itertools.islice(rest, size)):
        yield batch
