"""Reads every tile of a large image and holds the memory to a bound.

    python benchmarks/read_tiles.py [--size 20000] [--gsd 0.4] [--layout tiled] [--max-rss-mb 400]

Writes an image of that size to a temporary folder (in a process of its own, whose memory doesn't count),
reads it the way the detector does, and prints how fast that was and the most memory that the process ever
held. Exits 1 if that is above the bound.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.windows import Window

from geo import TileGrid, open_scene, tiles

BLOCK_PX = 512
LAYOUTS = {
    "tiled": {"tiled": True, "blockxsize": BLOCK_PX, "blockysize": BLOCK_PX},
    "strips": {"tiled": False, "blockysize": 1},
}


def make_image(path: Path, size: int, gsd_m: float, layout: str) -> None:
    """Write a compressed image of three bands: one textured block, repeated, with nodata down the middle."""
    rng = np.random.default_rng(2)
    coarse = rng.integers(40, 220, (3, BLOCK_PX // 8, BLOCK_PX // 8), dtype=np.uint8)
    grain = rng.integers(0, 4, (3, BLOCK_PX, BLOCK_PX), dtype=np.uint8)
    block = coarse.repeat(8, axis=1).repeat(8, axis=2) + grain
    row = np.tile(block, (1, 1, -(-size // BLOCK_PX)))[:, :, :size]
    row[:, :, size // 2 : size // 2 + 700] = 0
    profile = {"driver": "GTiff", "width": size, "height": size, "count": 3, "dtype": "uint8", "nodata": 0}
    place = {"crs": "EPSG:32652", "transform": Affine(gsd_m, 0, 632_000, 0, -gsd_m, 4_698_000)}
    storage = {"compress": "lzw", "interleave": "pixel", "photometric": "RGB", "BIGTIFF": "IF_SAFER"}
    with rasterio.open(path, "w", **profile, **place, **storage, **LAYOUTS[layout]) as image:
        for top in range(0, size, BLOCK_PX):
            height = min(BLOCK_PX, size - top)
            image.write(row[:, :height], window=Window(0, top, size, height))


def peak_rss_mb() -> float:
    """The most memory this process ever held. Linux counts it in KiB, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20) if sys.platform == "darwin" else peak / (1 << 10)


def main() -> int:
    parser = argparse.ArgumentParser(description="Reads every tile of a large image under a memory bound.")
    parser.add_argument("--size", type=int, default=20_000, help="pixels each way (default 20000)")
    parser.add_argument("--gsd", type=float, default=0.4, help="metres a pixel (default 0.4)")
    parser.add_argument("--layout", choices=sorted(LAYOUTS), default="tiled")
    parser.add_argument("--max-rss-mb", type=float, default=400.0, help="the bound on memory (default 400)")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        make_image(options.make, options.size, options.gsd, options.layout)
        return 0

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.tif"
        started = time.perf_counter()
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--make", str(path)], check=True)
        made, megabytes = time.perf_counter() - started, path.stat().st_size / 1e6
        before = peak_rss_mb()
        started, busy = time.perf_counter(), time.process_time()
        scene = open_scene(path)
        grid = TileGrid.over(scene)
        read = valid = 0
        for tile in tiles(scene, grid):
            read += tile.valid.size
            valid += int(tile.valid.sum())
        seconds, busy = time.perf_counter() - started, time.process_time() - busy
    peak = peak_rss_mb()
    print(
        f"image: {options.size} x {options.size}, {options.layout}, {megabytes:.0f} MB, made in {made:.1f} s"
    )
    print(f"tiles: {len(grid)} of {grid.window_px[0]} x {grid.window_px[1]} work pixels of {grid.gsd_m} m")
    share, speed = valid / read, read / seconds / 1e6
    print(f"speed: {speed:.1f} Mpx/s of work pixels, {share:.0%} of them valid ({seconds:.1f} s)")
    print(f"       {read / busy / 1e6:.1f} Mpx per second of processor time")
    print(f"memory: peak {peak:.0f} MB ({before:.0f} MB before reading), bound {options.max_rss_mb:.0f} MB")
    return 0 if peak <= options.max_rss_mb else 1


if __name__ == "__main__":
    sys.exit(main())
