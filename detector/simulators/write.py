"""Scenes on disk: GeoTIFFs with GeoJSON labels and an index.

Simulated places lie in the Gulf of Guinea around 3 degrees east on the equator (UTM zone 31N), side by side,
so that nobody takes them for real ones; `origin_m` and `crs` put a scene anywhere else.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.transform import Affine

from aoi.files import replacing, write_text
from detector.simulators import pictures
from detector.simulators.backgrounds import BackgroundLibrary
from detector.simulators.procedural.sensors import Rendered
from detector.wagons.categories import CATEGORIES, FREIGHT
from geo import boxes_to_map, open_scene

DEFAULT_CRS = "EPSG:32631"
DEFAULT_ORIGIN_M = (500_000.0, 20_000.0)
# Vehicles of which less shows than this are neither asked for nor held against anyone.
COUNTED_VISIBILITY = 0.35
_LONLAT = "OGC:CRS84"


@dataclass(frozen=True)
class WrittenScene:
    """One scene on disk, as a row of the index. `n_freight` counts wagons of which enough shows."""

    file: str
    labels: str
    gsd_m: float
    width_px: int
    height_px: int
    kind: str
    split: str
    seed: int | None
    n_freight: int
    n_locomotive: int
    n_coach: int
    n_hidden: int
    n_tracks: int
    sensor: str
    sun_elevation_deg: float
    off_nadir_deg: float
    snow: float | None
    haze: float | None
    real_background: bool
    datetime: str


def write_scene(
    rendered: Rendered,
    path: Path,
    *,
    crs: str = DEFAULT_CRS,
    origin_m: tuple[float, float] = DEFAULT_ORIGIN_M,
    when: datetime | None = None,
) -> WrittenScene:
    """Write a picture as GeoTIFF and its labels beside it as GeoJSON of the same name.

    The labels are a FeatureCollection in longitude and latitude with the detector's own columns (score 1),
    plus `wagon_type` and `visibility`; foreign members hold the tracks (`tracks`, a FeatureCollection of its
    own), the corridor and how the scene came about (`scene`). An empty scene has an empty list: labelled,
    without wagons.

    Args:
        rendered: the picture.
        path: where to; the ending becomes .tif.
        crs: a projected CRS in metres.
        origin_m: easting and northing of the picture's north-west corner.
        when: acquisition time, written into the image's tags.

    Returns:
        What was written, with file names relative to the folder.

    Raises:
        ValueError: `when` has no time zone.
    """
    if when is not None and when.tzinfo is None:
        raise ValueError(f"{when} has no time zone")
    path = path.with_suffix(".tif")
    labels = path.with_suffix(".geojson")
    _write_image(rendered, path, crs, origin_m, when)
    write_text(labels, _labels(rendered, path, crs))
    shown = rendered.visibility >= COUNTED_VISIBILITY
    count = [int(np.sum(shown & (rendered.category == c))) for c in range(3)]
    h, w = rendered.image.shape[:2]
    meta = rendered.meta
    return WrittenScene(
        file=path.name,
        labels=labels.name,
        gsd_m=round(rendered.gsd_m, 5),
        width_px=w,
        height_px=h,
        kind=str(meta["kind"]),
        split=str(meta["split"]),
        seed=meta.get("seed"),
        n_freight=count[0],
        n_locomotive=count[1],
        n_coach=count[2],
        n_hidden=int(np.sum(~shown)),
        n_tracks=len(rendered.tracks),
        sensor=str(meta["sensor"]),
        sun_elevation_deg=round(float(meta["sun_elevation_deg"]), 1),
        off_nadir_deg=round(float(meta["off_nadir_deg"]), 1),
        snow=round(float(meta["snow"]), 2) if "snow" in meta else None,
        haze=round(float(meta["haze"]), 2) if "haze" in meta else None,
        real_background=bool(meta["real_background"]),
        datetime="" if when is None else _iso(when),
    )


def _iso(when: datetime) -> str:
    return when.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _write_image(
    rendered: Rendered, path: Path, crs: str, origin_m: tuple[float, float], when: datetime | None
) -> None:
    image = rendered.image
    grey = bool((image[..., :1] == image).all())
    bands = image[..., :1] if grey else image
    gsd_x, gsd_y = rendered.meta.get("gsd_xy_m", (rendered.gsd_m, rendered.gsd_m))
    transform = Affine(gsd_x, 0.0, origin_m[0], 0.0, -gsd_y, origin_m[1])
    with (
        replacing(path) as temporary,
        rasterio.open(
            temporary,
            "w",
            driver="GTiff",
            width=image.shape[1],
            height=image.shape[0],
            count=bands.shape[2],
            dtype="uint8",
            crs=crs,
            transform=transform,
            compress="deflate",
            predictor=2,
            tiled=True,
            blockxsize=256,
            blockysize=256,
            photometric="MINISBLACK" if grey else "RGB",
        ) as out,
    ):
        out.write(np.moveaxis(bands, -1, 0))
        tags = {"SENSOR": "simulated", "SIMULATED": "yes"}
        if when is not None:
            tags["ACQUISITIONDATETIME"] = _iso(when)
        out.update_tags(**tags)


def _labels(rendered: Rendered, path: Path, crs: str) -> str:
    """The label file's text; geometry comes from the written file by the same path as detections."""
    scene = open_scene(path)
    placed = boxes_to_map(scene, rendered.boxes)
    to_lonlat = Transformer.from_crs(crs, _LONLAT, always_xy=True)

    def lonlat(xy: NDArray[np.float64]) -> list[list[float]]:
        x, y = to_lonlat.transform(xy[:, 0], xy[:, 1])
        return [[round(float(a), 8), round(float(b), 8)] for a, b in zip(x, y, strict=True)]

    features = [
        {
            "type": "Feature",
            "geometry": {
                "type": "Polygon",
                "coordinates": [lonlat(shapely.get_coordinates(placed.polygons[i]))],
            },
            "properties": {
                "score": 1.0,
                "category": CATEGORIES[int(rendered.category[i])],
                "length_m": round(float(placed.length_m[i]), 3),
                "width_m": round(float(placed.width_m[i]), 3),
                "azimuth_deg": round(float(placed.azimuth_deg[i]), 3),
                "track": None,
                "image": path.name,
                "gsd_m": round(rendered.gsd_m, 5),
                "pixel_box": [round(float(v), 3) for v in rendered.boxes[i]],
                "wagon_type": rendered.wagon_type[i],
                "visibility": round(float(rendered.visibility[i]), 3),
            },
        }
        for i in range(len(rendered.boxes))
    ]
    frame = shapely.box(0, 0, rendered.image.shape[1], rendered.image.shape[0])
    tracks = []
    for number, (line, gauge) in enumerate(zip(rendered.tracks, rendered.track_gauge, strict=True)):
        seen = shapely.intersection(shapely.LineString(line), frame)
        for part in shapely.get_parts(seen):
            if shapely.get_type_id(part) != 1:
                continue
            tracks.append(
                {
                    "type": "Feature",
                    "geometry": {
                        "type": "LineString",
                        "coordinates": lonlat(scene.pixel_to_map(shapely.get_coordinates(part))),
                    },
                    "properties": {"role": "track", "id": f"t{number}", "gauge_mm": gauge},
                }
            )
    document = {
        "type": "FeatureCollection",
        "features": features,
        "images": [{"file": path.name, "gsd_m": round(rendered.gsd_m, 5), "labelled": True}],
        "tracks": {"type": "FeatureCollection", "features": tracks},
        "corridor": [lonlat(scene.pixel_to_map(ring)) for ring in rendered.corridor],
        "scene": {k: _plain(v) for k, v in rendered.meta.items() if k != "box_contrast"},
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return value


def write_index(folder: Path, rows: Sequence[WrittenScene]) -> Path:
    """Write `index.csv`, one line a scene; `file` and `gsd_m` suit `railwatch detect --gsd-file`."""
    path = folder / "index.csv"
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
        names = list(WrittenScene.__dataclass_fields__)
        table = csv.DictWriter(handle, names, lineterminator="\n")
        table.writeheader()
        table.writerows(asdict(row) for row in rows)
    return path


def simulate_folder(
    out: Path,
    scenes: int,
    *,
    seed: int = 0,
    split: str = "train",
    size_m: float = 144.0,
    gsd_m: float | None = None,
    kind: str | None = None,
    simulator: str = "main",
    backgrounds: BackgroundLibrary | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[WrittenScene]:
    """Make a folder of scenes with labels and an index; equal arguments give equal files.

    Args:
        out: the folder; made if it isn't there.
        scenes: how many.
        seed: with a scene's number it decides everything in it.
        split: "train", "val" or "test".
        size_m: side of each square scene.
        gsd_m: ground sampling distance; each scene its own, 0.28 to 1.05 m, if not given.
        kind: what the scenes show, one of the simulator's kinds; a mixture if not given.
        simulator: who draws them (`pictures.SIMULATORS`).
        backgrounds: real pictures for ground and negatives.
        progress: called with (done, total).
    """
    out.mkdir(parents=True, exist_ok=True)
    columns = max(1, math.ceil(math.sqrt(scenes)))
    pitch = math.ceil(size_m * 1.25)
    rows = []
    for i in range(scenes):
        rng = np.random.default_rng([seed, i])
        (seen,) = pictures(
            rng,
            simulator=simulator,
            split=split,
            size_m=size_m,
            kind=kind,
            backgrounds=backgrounds,
            gsd_m=[gsd_m],
        )
        origin = (DEFAULT_ORIGIN_M[0] + pitch * (i % columns), DEFAULT_ORIGIN_M[1] - pitch * (i // columns))
        rows.append(write_scene(seen, out / f"scene-{i:05d}", origin_m=origin))
        if progress is not None:
            progress(i + 1, scenes)
    write_index(out, rows)
    return rows


__all__ = ["COUNTED_VISIBILITY", "FREIGHT", "WrittenScene", "simulate_folder", "write_index", "write_scene"]
