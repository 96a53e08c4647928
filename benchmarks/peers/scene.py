"""The rasters that all contestants read, and the truth in them; numpy and rasterio only.

Every pixel says where it lies: blocks of 16 by 16 pixels carry their column and row. A network that is made
of nothing (`driver.Oracle`) reads off them which window it is shown and answers from the truth, so that
everything but the network can be timed, and the count scored.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

BLOCK_PX = 16
GSD_M = 0.5
CAR_PX = (28.0, 6.0)  # 14 m by 3 m
SPACING_PX = 30.0
TRACK_PX = 9.6  # 4.8 m between tracks


def position_code(side: int) -> np.ndarray:
    """``(3, side, side)`` uint8, in which each block carries its column and row."""
    block = np.arange(side, dtype=np.int64) // BLOCK_PX
    column, row = np.broadcast_to(block[None, :], (side, side)), np.broadcast_to(block[:, None], (side, side))
    high = (column >> 8) | ((row >> 8) << 4)
    return np.stack([column & 255, row & 255, high]).astype(np.uint8)


def origin_of(row: np.ndarray, column: np.ndarray) -> tuple[int, int]:
    """Where a window of such a raster begins, (x, y), by its first row and column of pixels, each (n, 3).

    They are at least two blocks long.
    """

    def begins(high: np.ndarray, line: np.ndarray, band: int) -> int:
        block = line[:, band].astype(np.int64) | (high << 8)
        return int(block[0]) * BLOCK_PX + (BLOCK_PX - int(np.argmax(block != block[0]))) % BLOCK_PX

    x = begins(row[:, 2].astype(np.int64) & 15, row, 0)
    return x, begins(column[:, 2].astype(np.int64) >> 4, column, 1)


def yards(side: int, angle_deg: float, *, tracks: int = 12, cars: int = 24, seed: int = 0) -> np.ndarray:
    """Full yards all over a raster: boxes ``(N, 5)`` of centre, length, width and angle in pixels.

    One yard of ``tracks`` by ``cars`` in each square of 1,024 pixels, a tenth of the places empty.
    """
    rng = np.random.default_rng(seed)
    along = (np.arange(cars) - (cars - 1) / 2) * SPACING_PX
    across = (np.arange(tracks) - (tracks - 1) / 2) * TRACK_PX
    u, v = (grid.ravel() for grid in np.meshgrid(along, across))
    cos, sin = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    found = []
    for y in range(512, side, 1024):
        for x in range(512, side, 1024):
            kept = rng.random(len(u)) > 0.1
            centre = np.stack([x + u * cos - v * sin, y + u * sin + v * cos], axis=1)[kept]
            found.append(np.column_stack([centre, np.tile([*CAR_PX, angle_deg], (len(centre), 1))]))
    return np.concatenate(found) if found else np.zeros((0, 5))


def hulls(boxes: np.ndarray) -> np.ndarray:
    """The upright rectangles ``(N, 4)`` around oriented boxes: x0, y0, x1, y1."""
    turn = np.deg2rad(boxes[:, 4])
    cos, sin = np.abs(np.cos(turn)), np.abs(np.sin(turn))
    half = (
        np.stack([boxes[:, 2] * cos + boxes[:, 3] * sin, boxes[:, 2] * sin + boxes[:, 3] * cos], axis=1) / 2
    )
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def write_raster(path: str, image: np.ndarray) -> None:
    """A tiled, deflated GeoTIFF of half a metre, as archives deliver it."""
    profile = {
        "driver": "GTiff",
        "count": len(image),
        "height": image.shape[1],
        "width": image.shape[2],
        "dtype": "uint8",
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "compress": "deflate",
        "photometric": "RGB",
        "crs": "EPSG:32652",
        "transform": Affine(GSD_M, 0, 600_000, 0, -GSD_M, 4_700_000),
    }
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(image)


def peak_mb() -> float:
    """The most memory that this process has held.

    On Linux ``ru_maxrss`` begins at what the parent held when it started this process, so that a small
    contestant would be charged with the benchmark's own rasters.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
