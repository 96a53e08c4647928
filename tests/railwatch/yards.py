"""Scenes of a made-up yard for tests: grey ground with bright wagons, in UTM zone 52 north."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rasterio
import shapely
from affine import Affine
from pyproj import Transformer

from aoi import AreaOfInterest, Mask, Track, Zone
from detector.wagons.categories import CATEGORIES
from detector.wagons.detections import Detections, frame_of
from geo import Scene, boxes_to_map, valid_fraction
from railwatch.selftest.samples import Samples

UTM = "EPSG:32652"
WEST, NORTH = 467_000.0, 4_696_000.0


@dataclass
class Yard:
    """Three straight tracks, 300 m long, 10 m apart, and wagons on them."""

    gsd_m: float = 0.5
    width_m: float = 320.0
    height_m: float = 80.0
    tracks_y_m: tuple[float, ...] = (20.0, 30.0, 40.0)
    length_m: float = 14.0
    wagon_width_m: float = 3.0

    def boxes(self, counts: tuple[int, ...]) -> np.ndarray:
        """Pixel boxes of so many wagons on each track."""
        rows = [
            [
                (20.0 + 16.0 * number) / self.gsd_m,
                y / self.gsd_m,
                self.length_m / self.gsd_m,
                3.0 / self.gsd_m,
                0.0,
            ]
            for y, count in zip(self.tracks_y_m, counts, strict=True)
            for number in range(count)
        ]
        return np.array(rows, np.float64).reshape(-1, 5)

    def write(self, path: Path, counts: tuple[int, ...] = (4, 3, 2), seed: int = 0, **profile: Any) -> Path:
        """Write a GeoTIFF; `blank` pixels on the left have no data."""
        blank = int(profile.pop("blank", 0))
        tags = profile.pop("tags", {})
        noise = np.random.default_rng(seed)
        shape = round(self.height_m / self.gsd_m), round(self.width_m / self.gsd_m)
        image = noise.integers(60, 90, (*shape, 3)).astype(np.uint8)
        for cx, cy, length, width, _ in self.boxes(counts):
            rows = slice(round(cy - width / 2), round(cy + width / 2))
            columns = slice(round(cx - length / 2), round(cx + length / 2))
            image[rows, columns] = (230, 225, 215)
        image[:, :blank] = 0
        settings = {
            "driver": "GTiff",
            "height": shape[0],
            "width": shape[1],
            "count": 3,
            "dtype": "uint8",
            "crs": UTM,
            "transform": Affine(self.gsd_m, 0, WEST, 0, -self.gsd_m, NORTH),
            "nodata": 0,
            "compress": "deflate",
        } | profile
        path.parent.mkdir(parents=True, exist_ok=True)
        with rasterio.open(path, "w", **settings) as raster:
            raster.write(image.transpose(2, 0, 1))
            raster.update_tags(**tags)
        return path

    def area(self, *, tracks: bool = True, masks: tuple[Mask, ...] = ()) -> AreaOfInterest:
        """The area: all but a rim of 5 m, two zones (west and east halves) and the tracks."""
        back = Transformer.from_crs(UTM, "OGC:CRS84", always_xy=True)

        def place(geometry: shapely.Geometry) -> Any:
            moved = shapely.transform(geometry, lambda xy: xy * (1, -1) + (WEST, NORTH))
            return shapely.transform(moved, lambda x, y: back.transform(x, y), interleaved=False)

        middle = self.width_m / 2
        return AreaOfInterest(
            name="yard",
            title="Test yard",
            boundary=place(shapely.box(5, 5, self.width_m - 5, self.height_m - 5)),
            tracks=tuple(
                Track(f"t{number}", place(shapely.LineString([(5, y), (self.width_m - 5, y)])))
                for number, y in enumerate(self.tracks_y_m, start=1)
            )
            if tracks
            else (),
            zones=(
                Zone("west", "West", place(shapely.box(5, 5, middle, self.height_m - 5))),
                Zone("east", "East", place(shapely.box(middle, 5, self.width_m - 5, self.height_m - 5))),
            ),
            masks=tuple(replace(mask, polygon=place(mask.polygon)) for mask in masks),
        )


def detections_of(
    scene: Scene, boxes: np.ndarray, kinds: list[int] | None = None, **values: Any
) -> Detections:
    """Detections of given pixel boxes: freight unless `kinds` says otherwise, all of probability 0.95."""
    placed = boxes_to_map(scene, boxes)

    def table(rows: slice) -> Any:
        count = len(boxes[rows])
        return frame_of(
            placed.polygons[rows] if scene.georeferenced else [None] * count,
            scene.crs,
            score=np.full(count, 0.95),
            category=np.array(kinds or [0] * len(boxes), np.int64)[rows],
            length_m=placed.length_m[rows],
            width_m=placed.width_m[rows],
            azimuth_deg=placed.azimuth_deg[rows],
            pixel_box=boxes[rows],
            image=str(scene.path),
            gsd_m=scene.gsd_m,
        )

    given = {"valid_fraction": 1.0, "scene_id": scene.id, "gsd_m": scene.gsd_m} | values
    return Detections(frame=table(slice(None)), below_threshold=table(slice(0)), **given)


class BrightDetector:
    """A detector for these scenes: bright spots of a wagon's size are wagons. It needs no training."""

    name, version, checksum, threshold = "bright", "1", "0" * 64, 0.5

    def __init__(self) -> None:
        self.scenes: list[str] = []

    def detect(self, scene: Scene, area: AreaOfInterest | None = None, **options: Any) -> Detections:
        self.scenes.append(scene.path.name)
        with scene.open_pixels() as reader:
            numbers = reader.read((0, 0, scene.width, scene.height))[0][0]
        _, _, stats, centres = cv2.connectedComponentsWithStats((numbers > 150).astype(np.uint8))
        rows = [
            [cx + 0.5, cy + 0.5, float(width), float(height), 0.0]
            for (_, _, width, height, size), (cx, cy) in zip(stats[1:], centres[1:], strict=True)
            if size * scene.gsd_m**2 > 15.0
        ]
        boxes = np.array(rows, np.float64).reshape(-1, 5)
        found = detections_of(scene, boxes, valid_fraction=valid_fraction(scene, area))
        return replace(found, frame=found.frame.assign(car_type="open"))  # to it they all are


class TruthDetector:
    """A detector that knows what is on the sample tiles; `wrong` lets it err on purpose."""

    name, version, checksum, threshold = "truth", "1", "1" * 64, 0.5

    def __init__(
        self, samples: Samples, wrong: Callable[[np.ndarray], np.ndarray] = lambda boxes: boxes
    ) -> None:
        self.tiles = {tile.path.name: tile for tile in samples.tiles}
        self.wrong = wrong

    def detect(self, scene: Scene, area: AreaOfInterest | None = None, **options: Any) -> Detections:
        tile = self.tiles[scene.path.name]
        kinds = [
            CATEGORIES.index(name) for name, seen in zip(tile.category, tile.visible, strict=True) if seen
        ]
        boxes = self.wrong(tile.boxes[tile.visible])
        return detections_of(scene, boxes, kinds[: len(boxes)])
