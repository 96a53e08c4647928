"""However a raster is stored, the detector sees the same ground and counts the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.windows import Window

from detector.wagons.detector import WagonDetector
from geo import open_scene
from railwatch.selftest.samples import bundled


def test_the_count_is_the_same_in_all_eight_ways_of_storage(tmp_path: Path) -> None:
    """A piece of a sample tile: north up, mirrored, from south to north, rows and columns exchanged."""
    with bundled() as samples, rasterio.open(samples.tiles[0].path) as tile:
        window = Window(0, 0, min(320, tile.width), min(256, tile.height))
        image, transform = tile.read(window=window), tile.transform
        profile = {key: tile.profile[key] for key in ("driver", "count", "dtype", "crs")}
    detector = WagonDetector.load(device="cpu")
    seen = []
    for way in range(8):
        stored, place = image, transform
        height, width = image.shape[1:]
        if way & 1:
            stored, place = stored[:, :, ::-1], place @ Affine(-1, 0, width, 0, 1, 0)
        if way & 2:
            stored, place = stored[:, ::-1], place @ Affine(1, 0, 0, 0, -1, height)
        if way & 4:
            stored, place = stored.swapaxes(1, 2), place @ Affine(0, 1, 0, 1, 0, 0)
        path = tmp_path / f"{way}.tif"
        with rasterio.open(
            path, "w", width=stored.shape[2], height=stored.shape[1], transform=place, **profile
        ) as out:
            out.write(np.ascontiguousarray(stored))
        found = detector.detect(open_scene(path), tile_px=512)
        centres = found.frame.geometry.centroid
        boxes = np.stack(found.frame["pixel_box"].to_list()) if len(found.frame) else np.zeros((0, 5))
        back = open_scene(path).pixel_to_map(boxes[:, :2])
        assert back == pytest.approx(np.column_stack([centres.x, centres.y]), abs=1e-3)
        places = sorted(zip(centres.x.round(2), centres.y.round(2), strict=True))
        seen.append((found.interval.to_json(), places, found.frame["length_m"].round(3).sum().round(2)))
    assert seen[0][0]["count"] > 0
    for other in seen[1:]:
        assert other[0] == seen[0][0]
        assert other[2] == pytest.approx(seen[0][2], abs=0.02)
        assert np.asarray(other[1]) == pytest.approx(np.asarray(seen[0][1]), abs=0.02)
