"""Cutting a scene into tiles at the detector's ground sampling distance.

The scene is resampled to square "work pixels" (`geo.resample`), anchored at the outer corner of its first
pixel. Tiles have a core and a halo around it. Cores partition the work raster, and an object belongs to the
tile whose core holds its centre; the halo lets the network see all of an object near the edge of a core. So
nothing is counted twice or missed, whatever the tiling.

All windows of a grid have one shape, so that tiles stack into batches: where a window reaches beyond the
scene, pixels are 0 and invalid. Cores start on a lattice of ``align_px`` work pixels that is fixed to the
scene: with the stride of the network, the network sees every place in the same phase, however the tiling is
    shifted.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import shapely

from geo.boxes import scale_boxes
from geo.coverage import area_in_pixels
from geo.errors import SceneError
from geo.ground_metric import FloatArray
from geo.pixels import PixelReader
from geo.rendering import Stretch, paint
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
        row: Its row on the grid's lattice.
        col: Its column.
        core: The work pixels that it owns, (x0, y0, x1, y1) in the whole scene; x1 and y1 belong to its
            neighbours.
        window: The work pixels that it shows: core, halo and padding.
    """

    index: int
    row: int
    col: int
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
class TileGrid:
    """The tiles of a scene, as a sequence that is worked out on demand. Make one with `TileGrid.over`.

    Attributes:
        width: Work pixels across the scene.
        height: Work pixels down.
        scale_xy: Source pixels per work pixel along x and y.
        gsd_m: Ground sampling distance of the work pixels.
        core_px: (width, height) of a core that isn't cut by the edge of the scene.
        halo_px: Work pixels shown on each side of a core.
        start: Work pixel at which the lattice's first core starts; 0 or negative.
        cells: Lattice cells of the tiles of an area, ascending, counted row by row; None for all.
    """

    width: int
    height: int
    scale_xy: tuple[float, float]
    gsd_m: float
    core_px: tuple[int, int]
    halo_px: int
    start: tuple[int, int] = (0, 0)
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
            core_px: Side of a core in work pixels. A scene smaller than that gets smaller cores.
            halo_px: Work pixels shown around a core.
            align_px: ``core_px``, ``halo_px`` and ``origin`` are multiples of this (the network's stride).
            area: Keep only the tiles whose core touches its boundary. The ground sampling distance is then
                that at the area, not at the centre of the scene (they differ in scenes of many kilometres in
                degrees or Web Mercator).
            origin: Shift of the tiling in work pixels. Counts don't depend on it; tests do.

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
        width, height = Axis(scale_x, scene.width).out_size, Axis(scale_y, scene.height).out_size
        cores = tuple(min(core_px, math.ceil(size / align_px) * align_px) for size in (width, height))
        start = tuple(
            shift % core - core if shift % core else 0 for shift, core in zip(origin, cores, strict=True)
        )
        grid = cls(
            width, height, (scale_x, scale_y), gsd_m, (cores[0], cores[1]), halo_px, (start[0], start[1])
        )
        if outline is None:
            return grid
        to_work = shapely.transform(outline, lambda xy: xy / np.array([scale_x, scale_y]))
        return grid._restricted(to_work)

    def _restricted(self, outline: shapely.Geometry) -> TileGrid:
        """The same grid with only those tiles whose core touches an outline in work pixels."""
        left, top, right, bottom = outline.bounds
        columns = np.arange(self._cell(left, 0), self._cell(right, 0) + 1)
        rows = np.arange(self._cell(top, 1), self._cell(bottom, 1) + 1)
        cells = (rows[:, None] * self._lattice[0] + columns[None, :]).ravel()
        shapely.prepare(outline)
        cores = np.array([self._core(*divmod(int(cell), self._lattice[0])) for cell in cells])
        touched = shapely.intersects(outline, shapely.box(*cores.T.astype(np.float64)))
        kept = tuple(int(cell) for cell in cells[touched])
        return TileGrid(
            self.width, self.height, self.scale_xy, self.gsd_m, self.core_px, self.halo_px, self.start, kept
        )

    @property
    def window_px(self) -> tuple[int, int]:
        """(width, height) of every tile's window."""
        return self.core_px[0] + 2 * self.halo_px, self.core_px[1] + 2 * self.halo_px

    @property
    def _lattice(self) -> tuple[int, int]:
        """(columns, rows) of the lattice."""
        columns, rows = (
            math.ceil((size - start) / core)
            for size, start, core in zip((self.width, self.height), self.start, self.core_px, strict=True)
        )
        return columns, rows

    def _cell(self, position: float, axis: int) -> int:
        """Column (axis 0) or row (axis 1) at a work coordinate, kept on the lattice."""
        cell = math.floor((position - self.start[axis]) / self.core_px[axis])
        return min(max(cell, 0), self._lattice[axis] - 1)

    def _core(self, row: int, col: int) -> Window:
        x, y = self.start[0] + col * self.core_px[0], self.start[1] + row * self.core_px[1]
        return (
            max(x, 0),
            max(y, 0),
            min(x + self.core_px[0], self.width),
            min(y + self.core_px[1], self.height),
        )

    def __len__(self) -> int:
        """Number of tiles."""
        return self._lattice[0] * self._lattice[1] if self.cells is None else len(self.cells)

    def __getitem__(self, index: int) -> TileSpec:
        """The tile of an index (negative ones count from the end)."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"tile {index} of {len(self)}")
        index %= len(self)
        row, col = divmod(index if self.cells is None else self.cells[index], self._lattice[0])
        x, y = self.start[0] + col * self.core_px[0], self.start[1] + row * self.core_px[1]
        halo = self.halo_px
        window = (x - halo, y - halo, x + self.core_px[0] + halo, y + self.core_px[1] + halo)
        return TileSpec(index, row, col, self._core(row, col), window)

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
        return Tile(spec.index, spec.row, spec.col, spec.core, spec.window, image, valid)


def tiles(scene: Scene, grid: TileGrid, *, ahead: int = 2) -> Iterator[Tile]:
    """The tiles of a grid with their pixels, in the grid's order.

    Tiles without a valid pixel in their core are left out.

    A thread with a handle of its own reads up to ``ahead`` tiles before they are asked for; it ends when the
    consumer stops. Memory depends on the tile's size and ``ahead``, not on the scene.

    Raises:
        SceneError: Pixels can't be read, or (with a grid over the whole scene) none is valid.

    Example:
        >>> from importlib.resources import files
        >>> from geo import open_scene
        >>> scene = open_scene(files("sample_tiles") / "sample-yard_20250918T103700Z.tif")
        >>> [tile.image.shape for tile in tiles(scene, TileGrid.over(scene, 0.5))]
        [(608, 832, 3)]
    """
    stretch = scene.stretch
    ready: queue.Queue[Tile | BaseException | None] = queue.Queue(maxsize=max(1, ahead))
    stopped = threading.Event()

    def work() -> None:
        try:
            with scene.open_pixels() as reader:
                for spec in grid:
                    tile = grid.read_tile(reader, scene, spec, stretch)
                    if _core_of(tile).any():
                        ready.put(tile)
                    if stopped.is_set():
                        return
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
            yield item
    finally:
        stopped.set()
        while thread.is_alive():
            _drain(ready)
            thread.join(timeout=0.02)
    if seen == 0 and grid.cells is None:
        raise SceneError(f"{scene.path}: has no valid pixel: all of it is nodata or masked")


def _core_of(tile: Tile) -> npt.NDArray[np.bool_]:
    x0, y0 = tile.window[:2]
    return tile.valid[tile.core[1] - y0 : tile.core[3] - y0, tile.core[0] - x0 : tile.core[2] - x0]


def _drain(waiting: queue.Queue[Any]) -> None:
    """Make room, so that a thread that waits to put something can go on and end."""
    while not waiting.empty():
        waiting.get_nowait()
