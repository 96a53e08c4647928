"""What an image says about where tracks run: the network's track map and the wagons, on a grid of the area.

Both come out of the pass that `WagonDetector.detect` makes anyway. The network answers in cells of 2 m, in
which tracks 4.5 m apart are hardly told from each other; asked again about the same picture moved by half a
cell, it answers for the cells between, so that a tile costs four passes and the map has cells of 1 m.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from aoi import AreaOfInterest
from detector.wagons.decode import F32, STRIDE, Maps
from detector.wagons.detector import WagonDetector
from geo import Scene, Tile, TileGrid
from geo.orientation import upright
from geo.tiles import HALO_PX, WORK_GSD_M
from geo.tracks import PlaneGrid, Sightings, TrackObservation

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["MARGIN_M", "look_for_tracks", "sightings_of"]

MARGIN_M = 30.0
"""How far beyond an area's boundary tracks are looked for, so that lines don't wither at its edge."""

# Candidates under this probability are something else more often than not.
_MINIMUM_SCORE = 0.3


@dataclass(frozen=True)
class _TrackGrid:
    """Where the tiles of one scene lie on the grid, and what they said."""

    work: NDArray[np.float64]  # (H, W, 2) work pixels under each cell's centre
    logit: NDArray[np.float32]
    seen: NDArray[np.bool_]

    def take(self, tile: Tile, fine: NDArray[np.float32]) -> None:
        """Lay the 1 m map of a tile on the cells that the tile owns."""
        x0, y0, x1, y1 = tile.core
        x, y = self.work[..., 0], self.work[..., 1]
        mine = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
        rows, columns = np.nonzero(mine.any(axis=1))[0], np.nonzero(mine.any(axis=0))[0]
        if not len(rows):
            return
        part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        local = self.work[part] - tile.window[:2]
        # cell i of the fine map has its centre i half strides, and one more, from the tile's edge
        at = (local / (STRIDE / 2) - 1.0).astype(np.float32)
        values = cv2.remap(fine, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        height, width = tile.valid.shape
        column = np.clip(local[..., 0], 0, width - 1).astype(np.int64)
        row = np.clip(local[..., 1], 0, height - 1).astype(np.int64)
        mine = mine[part]
        self.logit[part][mine] = np.asarray(values, np.float32)[mine]
        self.seen[part][mine] = tile.valid[row, column][mine]


def look_for_tracks(
    detector: WagonDetector,
    scene: Scene,
    area: AreaOfInterest,
    grid: PlaneGrid,
    *,
    tile_px: int = 1024,
    progress: Callable[[int, int], None] | None = None,
) -> TrackObservation:
    """The track map and the wagons of a scene.

    Args:
        detector: the wagon detector.
        scene: an opened scene with a position, of 1.2 m or finer.
        area: where to look, in longitude and latitude. What its masks hide on the scene's day counts as
            unseen.
        grid: where to lay the answer, `PlaneGrid.around` the area.
        tile_px: core of a tile in work pixels (0.5 m), a multiple of 32.
        progress: called with tiles done and tiles in all.

    Raises:
        ResolutionError: the scene is too coarse or too fine.
        SceneError: the scene can't be read or has no position, or the area doesn't touch it.
    """
    detector.check_resolution(scene)
    scene = upright(scene).scene
    wide = _widened(area, grid)
    tiling = TileGrid.over(scene, gsd_m=WORK_GSD_M, core_px=tile_px, halo_px=HALO_PX, area=wide)
    pixels = scene.map_to_pixel(grid.centres_in(scene.crs).reshape(-1, 2))
    work = (pixels / np.asarray(tiling.scale_xy)).reshape(*grid.shape, 2)
    canvas = _TrackGrid(work, np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.bool_))
    found = detector.detect(
        scene,
        wide,
        tile_px=tile_px,
        progress=progress,
        watch=lambda tile, maps: canvas.take(tile, _fine_map(detector, tile, maps)),
    )
    day = scene.datetime.date() if scene.datetime else None
    hidden = grid.shape_in_frame(area.hidden_on(day))
    seen = canvas.seen & ~_cells_in(hidden, grid)
    likelihood = np.where(seen, 1.0 / (1.0 + np.exp(-canvas.logit)), 0.0).astype(np.float32)
    sure_enough = found.below_threshold[found.below_threshold["score"] >= _MINIMUM_SCORE]
    frames = [frame for frame in (found.frame, sure_enough) if len(frame)]
    sightings = sightings_of(pd.concat(frames), grid) if frames else Sightings.none()
    outline = grid.shape_in_frame(wide.boundary)
    places = shapely.points(sightings.xy)
    kept = shapely.covers(outline, places) & ~shapely.covers(hidden, places)
    return TrackObservation(sightings.take(np.asarray(kept, np.bool_)), likelihood, seen)


def sightings_of(frame: gpd.GeoDataFrame, grid: PlaneGrid) -> Sightings:
    """The wagons of a table of detections in the frame of a grid; those without a place are left out."""
    placed = frame[frame.geometry.notna()]
    if not len(placed):
        return Sightings.none()
    polygons = placed.geometry.to_crs(grid.crs).to_numpy()
    return Sightings.from_polygons(list(polygons), placed["score"].to_numpy(np.float64), grid)


def _fine_map(detector: WagonDetector, tile: Tile, maps: Maps[F32]) -> NDArray[np.float32]:
    """The logit of a track in cells of 1 m, over a tile's window."""
    rows, columns = maps.track.shape[-2:]
    fine = np.empty((2 * rows, 2 * columns), np.float32)
    fine[::2, ::2] = maps.track[0, 0]
    half = STRIDE // 2
    for down, right in ((0, 1), (1, 0), (1, 1)):
        moved = tile.image[down * half :, right * half :]
        padding = ((0, down * half), (0, right * half), (0, 0))
        track = detector.maps([np.pad(moved, padding, mode="edge")]).track
        fine[down::2, right::2] = track[0, 0]
    return fine


def _widened(area: AreaOfInterest, grid: PlaneGrid) -> AreaOfInterest:
    """The area with its margin."""
    outline = grid.shape_in_frame(area.boundary).buffer(MARGIN_M)
    return replace(area, boundary=shapely.transform(outline, grid.lonlat))


def _cells_in(shape: shapely.Geometry, grid: PlaneGrid) -> NDArray[np.bool_]:
    """(H, W) cells whose centre lies in a shape of the frame."""
    out = np.zeros(grid.shape, np.bool_)
    if shape.is_empty:
        return out
    left, top, right, bottom = shape.bounds
    rows = slice(max(0, int(top / grid.cell_m)), max(0, int(bottom / grid.cell_m) + 1))
    columns = slice(max(0, int(left / grid.cell_m)), max(0, int(right / grid.cell_m) + 1))
    part = out[rows, columns]
    if part.size:
        shapely.prepare(shape)
        y = (np.arange(part.shape[0]) + rows.start + 0.5) * grid.cell_m
        x = (np.arange(part.shape[1]) + columns.start + 0.5) * grid.cell_m
        part[:] = shapely.contains_xy(shape, x[None, :], y[:, None])
    return out
