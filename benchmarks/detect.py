"""How fast wagons are found, from file to boxes: ground area a second, CPU time and peak memory.

    python benchmarks/detect.py [--side 4000] [--threads 2] [--device cpu]

The image is a sample tile in all eight orientations, at 0.5 m, tiled and deflated as archives deliver it.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
import torch
from affine import Affine

from detector.wagons.detector import WagonDetector
from geo import open_scene, resample_image
from railwatch.selftest.samples import bundled

GSD_M = 0.5


def mosaic(side_px: int) -> np.ndarray:
    """``(side, side, 3)`` uint8: a sample tile in all eight orientations, one beside the other."""
    with bundled() as samples:
        scene = open_scene(samples.tiles[0].path)
        image, _ = scene.read((0, 0, scene.width, scene.height))
        tile = resample_image(np.ascontiguousarray(image), scene.gsd_m, GSD_M)
    edge = min(tile.shape[:2])
    tile = tile[:edge, :edge]
    turned = [np.rot90(flipped, turn) for flipped in (tile, tile[:, ::-1]) for turn in range(4)]
    count = -(-side_px // edge)
    rows = [
        np.concatenate([turned[(row * 3 + column) % 8] for column in range(count)], axis=1)
        for row in range(count)
    ]
    return np.ascontiguousarray(np.concatenate(rows)[:side_px, :side_px])


def main() -> None:
    """Measure and print one JSON line a round."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=4000, help="pixels of 0.5 m")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    detector = WagonDetector.load(device=options.device)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mosaic.tif"
        profile = {
            "driver": "GTiff",
            "width": options.side,
            "height": options.side,
            "count": 3,
            "dtype": "uint8",
        }
        profile |= {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate"}
        profile |= {"crs": "EPSG:32652", "transform": Affine(GSD_M, 0, 600_000, 0, -GSD_M, 4_700_000)}
        with rasterio.open(path, "w", **profile) as raster:
            raster.write(mosaic(options.side).transpose(2, 0, 1))
        for round_number in range(options.rounds):
            began, cpu = time.perf_counter(), time.process_time()
            found = detector.detect(open_scene(path))
            wall, used = time.perf_counter() - began, time.process_time() - cpu
            area = (options.side * GSD_M / 1000) ** 2
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            line = {
                "round": round_number,
                "km2": round(area, 2),
                "boxes": len(found.frame),
                "seconds": round(wall, 2),
                "km2_per_second": round(area / wall, 2),
                "km2_per_cpu_second": round(area / used, 2),
                "peak_rss_mb": round(peak / (1 if sys.platform == "darwin" else 1024)),
            }
            sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
