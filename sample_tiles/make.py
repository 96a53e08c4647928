"""Makes the sample tiles anew: ``python -m sample_tiles.make [FOLDER]``.

One simulated yard on a dozen dates: nine ordinary images, an image that misses most of the yard, and a
build-up that a second image confirms. Wagon designs, backgrounds and sensors are those that the simulator
keeps for testing, so the detector wasn't trained on any of them. The yard lies in the sea off West Africa,
so that nobody takes it for a real one.

The folder gets the tiles (GeoTIFF), ``area.geojson`` and ``manifest.json``: what is on each tile, how the
tiles were made, and the thresholds that ``railwatch validate`` holds the detector to.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
import shapely.affinity
import shapely.ops
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer

from aoi.files import write_text
from detector.simulators import Rendered, SceneSpec, render, sensors, yard_series
from detector.simulators.write import COUNTED_VISIBILITY
from detector.wagons.categories import CATEGORIES

SEED = 20261122
SIZE_M = (320.0, 200.0)
N_TRACKS = 8
CRS = "EPSG:32631"
WEST_M, NORTH_M = 500_000.0, 20_000.0
_TO_LONLAT = Transformer.from_crs(CRS, "OGC:CRS84", always_xy=True)
# The boundary keeps this far from the outer tracks, and the area's tracks this far from the tiles' edges.
_RIM_M = 8.0

THRESHOLDS = {
    "recall": 0.93,
    "precision": 0.93,
    "count_error_share": 0.09,
    "count_worst_error_share": 0.35,
    "interval_coverage": 0.90,
}
"""What the detector must reach on these tiles; `railwatch.selftest.validate` says how each is measured.

They catch a broken detector (a wrong stretch, a shifted box, damaged weights), with room for the small
differences between machines: weights version 4 reaches 0.88, 0.92, 0.12, 0.50 and 0.82 (version 2, which took
the shadows of the lowest sun for wagons, 0.88, 0.77, 0.21, 0.80 and 0.82). How good it is on many scenes is
another question: see its model card.
"""


@dataclass(frozen=True)
class SampleDate:
    """One date of the series.

    Attributes:
        when: Day and time, UTC.
        count: Freight cars in the yard.
        gsd_m: Metres a pixel.
        sensor: Which of the simulator's test sensors.
        missing: Share of the tile, from the east, that the image doesn't show.
    """

    when: datetime
    count: int
    gsd_m: float
    sensor: int
    missing: float = 0.0


def _at(year: int, month: int, day: int, minute: int) -> datetime:
    return datetime(year, month, day, 10, minute, tzinfo=UTC)


SAMPLE_DATES = (
    SampleDate(_at(2024, 4, 9, 31), 14, 0.5, 0),
    SampleDate(_at(2024, 6, 2, 24), 18, 0.4, 1),
    SampleDate(_at(2024, 7, 28, 38), 9, 0.5, 2),
    SampleDate(_at(2024, 9, 21, 22), 16, 0.6, 0),
    SampleDate(_at(2024, 11, 15, 40), 20, 0.5, 1),
    SampleDate(_at(2025, 1, 11, 27), 12, 0.4, 0),
    SampleDate(_at(2025, 3, 8, 35), 17, 0.5, 2),
    SampleDate(_at(2025, 5, 3, 29), 11, 0.5, 1),
    SampleDate(_at(2025, 6, 27, 33), 19, 0.6, 2),
    SampleDate(_at(2025, 8, 12, 26), 15, 0.5, 0, missing=0.65),
    SampleDate(_at(2025, 9, 18, 37), 73, 0.5, 0),
    SampleDate(_at(2025, 9, 24, 30), 69, 0.5, 2),
)


def make(folder: Path, samples: Sequence[SampleDate] = SAMPLE_DATES, seed: int = SEED) -> dict[str, Any]:
    """Make the tiles, the area and the manifest.

    Args:
        folder: Where to; made if it isn't there. Older tiles in it are removed.
        samples: The series.
        seed: Decides everything that ``samples`` leaves open.

    Returns:
        The manifest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.tif"):
        old.unlink()
    specs = yard_series(
        seed,
        [sample.count for sample in samples],
        [sample.when for sample in samples],
        size_m=SIZE_M,
        n_tracks=N_TRACKS,
        snow_months=(1,),
    )
    area = _area(specs[0])
    _write_json(folder / "area.geojson", area)
    boundary = _boundary(specs[0])
    tiles = []
    for number, (sample, spec) in enumerate(zip(samples, specs, strict=True)):
        rng = np.random.default_rng([seed, number])
        family = sensors("test")
        seen = render(spec, rng, sample.gsd_m, family[sample.sensor % len(family)])
        tiles.append(_tile(folder, sample, seen, boundary))
    manifest = {
        "title": "Sample tiles: a simulated yard, a quiet year and a half, and a build-up",
        "made_by": {"command": "python -m sample_tiles.make", "seed": seed, "split": "test"},
        "area": "area.geojson",
        "counted_visibility": COUNTED_VISIBILITY,
        "tiles": tiles,
        "thresholds": THRESHOLDS,
    }
    _write_json(folder / "manifest.json", manifest)
    return manifest


def _tile(folder: Path, sample: SampleDate, seen: Rendered, boundary: shapely.Polygon) -> dict[str, Any]:
    """Write one tile and describe it."""
    gsd_x, gsd_y = seen.meta.get("gsd_xy_m", (seen.gsd_m, seen.gsd_m))
    path = folder / f"sample-yard_{sample.when:%Y%m%dT%H%M%S}Z.tif"
    width = seen.image.shape[1]
    shown = width - round(sample.missing * width)
    _write_image(path, seen.image, shown, Affine(gsd_x, 0, WEST_M, 0, -gsd_y, NORTH_M), sample, seen)
    centres = seen.boxes[:, :2]
    inside = shapely.contains_xy(boundary, centres[:, 0] * gsd_x, centres[:, 1] * gsd_y)
    clear = seen.visibility >= COUNTED_VISIBILITY
    visible = clear & (centres[:, 0] < shown)
    boxes = [
        {
            "pixel_box": [round(float(value), 2) for value in seen.boxes[row]],
            "category": CATEGORIES[int(seen.category[row])],
            "type": seen.wagon_type[row],
            "inside": bool(inside[row]),
            "visible": bool(visible[row]),
        }
        for row in range(len(seen.boxes))
    ]
    return {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "datetime": sample.when.isoformat().replace("+00:00", "Z"),
        "sensor": str(seen.meta["sensor"]),
        "gsd_m": round(seen.gsd_m, 4),
        "shown": round(1.0 - sample.missing, 3),
        "count": int((inside & clear & (seen.category == 0)).sum()),
        "boxes": boxes,
    }


def _write_image(
    path: Path, image: NDArray[np.uint8], shown: int, transform: Affine, sample: SampleDate, seen: Rendered
) -> None:
    """Write a GeoTIFF as data providers do: tiled, JPEG-compressed, with a mask of what is missing."""
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path,
            "w",
            driver="GTiff",
            width=image.shape[1],
            height=image.shape[0],
            count=3,
            dtype="uint8",
            crs=CRS,
            transform=transform,
            tiled=True,
            blockxsize=256,
            blockysize=256,
            compress="jpeg",
            jpeg_quality=92,
            photometric="ycbcr",
        ) as out,
    ):
        picture = image.copy()
        picture[:, shown:] = 0
        out.write(np.moveaxis(picture, -1, 0))
        if shown < image.shape[1]:
            mask = np.zeros(image.shape[:2], np.uint8)
            mask[:, :shown] = 255
            out.write_mask(mask)
        out.update_tags(
            ACQUISITIONDATETIME=sample.when.isoformat(),
            SENSOR=f"simulated {seen.meta['sensor']}",
            SIMULATED="yes",
        )


def _boundary(spec: SceneSpec) -> shapely.Polygon:
    """The yard's outline in metres from the north-west corner, y down: the tracks and a rim."""
    lines = shapely.MultiLineString([track.line for track in spec.tracks])
    inside = shapely.box(_RIM_M, _RIM_M, SIZE_M[0] - _RIM_M, SIZE_M[1] - _RIM_M)
    return shapely.simplify(lines.intersection(inside).buffer(_RIM_M - 1.0, cap_style="flat"), 0.5)


def _area(spec: SceneSpec) -> dict[str, Any]:
    """The yard as an area of interest: boundary, its tracks, and two zones of half the tracks each."""
    boundary = _boundary(spec)
    tracks = [shapely.LineString(track.line).intersection(boundary) for track in spec.tracks]
    order = sorted(range(len(tracks)), key=lambda number: tracks[number].centroid.y)
    half = len(order) // 2
    features = [_feature("boundary", boundary, {})]
    # A line between the two middle tracks parts the yard.
    above, below = (np.asarray(tracks[order[number]].coords) for number in (half - 1, half))
    middle = (above[[0, -1]] + below[[0, -1]]) / 2
    cut = shapely.affinity.scale(shapely.LineString(middle), 2.0, 2.0)
    parts = sorted(shapely.get_parts(shapely.ops.split(boundary, cut)), key=lambda part: part.centroid.y)
    for part, id, title in zip(
        parts, ("north", "south"), ("Northern tracks", "Southern tracks"), strict=True
    ):
        features.append(_feature("zone", part, {"id": id, "title": title}))
    for rank, number in enumerate(order, start=1):
        properties = {"id": f"t{rank}", "gauge_mm": spec.tracks[number].gauge_mm}
        features.append(_feature("track", shapely.simplify(tracks[number], 0.05), properties))
    return {
        "type": "FeatureCollection",
        "name": "sample-yard",
        "title": "Sample yard (simulated)",
        "sources": [{"title": "Drawn by sample_tiles.make; the yard doesn't exist"}],
        "features": features,
    }


def _feature(role: str, shape: shapely.Geometry, properties: dict[str, Any]) -> dict[str, Any]:
    def place(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        lon, lat = _TO_LONLAT.transform(WEST_M + xy[:, 0], NORTH_M - xy[:, 1])
        return np.round(np.column_stack([lon, lat]), 8)

    placed = shapely.transform(shapely.orient_polygons(shape), place)
    placed = shapely.orient_polygons(placed)
    return {
        "type": "Feature",
        "properties": {"role": role, **properties},
        "geometry": json.loads(shapely.to_geojson(placed)),
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON with one box or position a line, so that a change can be read."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def main(arguments: Sequence[str]) -> int:
    """Make the tiles in the folder given, or beside this file."""
    folder = Path(arguments[0]) if arguments else Path(__file__).parent
    manifest = make(folder)
    size = sum(path.stat().st_size for path in folder.glob("*.tif"))
    counts = " ".join(str(tile["count"]) for tile in manifest["tiles"])
    sys.stdout.write(
        f"{len(manifest['tiles'])} tiles, {size / 1e6:.1f} MB in {folder}; freight cars: {counts}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
