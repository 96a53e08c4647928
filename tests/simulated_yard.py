"""A small simulated yard on disk that the shipped detector sees well: for tests of what is built on it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import shapely
from pyproj import Transformer

from aoi import AreaOfInterest
from detector.simulators import random_scene, render
from detector.simulators.write import write_scene
from geo import Scene, open_scene

SIZE_M = (240.0, 140.0)
SEED = 21


@dataclass(frozen=True)
class SimulatedYard:
    """The picture, its area (all but a rim of 10 m) and its true track lines in longitude and latitude."""

    scene: Scene
    area: AreaOfInterest
    tracks: shapely.MultiLineString

    @property
    def path(self) -> Path:
        """The picture's file."""
        return self.scene.path

    def box(self, *bounds_m: float) -> shapely.Polygon:
        """A box in metres from the picture's north-west corner, in longitude and latitude."""
        return _box(self.scene, *bounds_m)

    def write_area(self, path: Path, *features: dict[str, object]) -> Path:
        """The area as a file, with further features."""
        boundary = {
            "type": "Feature",
            "properties": {"role": "boundary"},
            "geometry": json.loads(shapely.to_geojson(self.area.boundary)),
        }
        document = {
            "type": "FeatureCollection",
            "name": self.area.name,
            "title": self.area.title,
            "sources": ["simulated"],
            "features": [boundary, *features],
        }
        path.write_text(json.dumps(document), encoding="utf-8")
        return path


def write_yard(path: Path) -> SimulatedYard:
    """Draw the yard into a .tif file and its labels beside it."""
    rng = np.random.default_rng([4, SEED])
    spec = random_scene(rng, split="test", size_m=SIZE_M, kind="yard")
    write_scene(render(spec, rng, 0.5), path, when=datetime(2024, 5, 1, tzinfo=UTC))
    scene = open_scene(path)
    area = AreaOfInterest("yard", "Yard", _box(scene, 10, 10, SIZE_M[0] - 10, SIZE_M[1] - 10))
    labels = json.loads(path.with_suffix(".geojson").read_text(encoding="utf-8"))
    lines = [feature["geometry"]["coordinates"] for feature in labels["tracks"]["features"]]
    return SimulatedYard(scene, area, shapely.MultiLineString(lines))


def _box(scene: Scene, *bounds_m: float) -> shapely.Polygon:
    back = Transformer.from_crs(scene.crs, "OGC:CRS84", always_xy=True)
    box = shapely.transform(shapely.box(*bounds_m), lambda xy: scene.pixel_to_map(xy / scene.gsd_xy_m))
    return shapely.transform(box, back.transform, interleaved=False)
