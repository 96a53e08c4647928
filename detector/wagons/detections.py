"""Detections: the wagons of one scene as a table, and the files they are written to."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError

from aoi.errors import InputError
from aoi.files import replacing, whole_database, whole_parquet, write_text
from detector.wagons.boxes import Boxes, as_boxes
from detector.wagons.count_interval import CountInterval, CountModel
from detector.wagons.network import CATEGORIES
from geo import box_corners

COLUMNS = (
    "score",
    "category",
    "length_m",
    "width_m",
    "azimuth_deg",
    "track",
    "image",
    "gsd_m",
    "pixel_box",
)
WRITERS = (".geojson", ".json", ".gpkg", ".parquet", ".geoparquet")


@dataclass(frozen=True)
class Detections:
    """What the detector found in one scene.

    Attributes:
        frame: One row a wagon (see COLUMNS); geometry is the oriented rectangle in the scene's CRS, or null
            for a scene without position. Sorted by score, best first.
        doubtful: The same table of candidates under the threshold: not wagons, but part of the interval.
        scene_id: The scene's id.
        gsd_m: Ground sampling distance of the picture, metres.
        valid_fraction: Share of the area (or of the scene) with valid pixels.
        warnings: What a reader should know before trusting the count.
        count_model: How probabilities become intervals.
        widening: Factor on the interval's half-width (unsure ground sampling distance...).
    """

    frame: gpd.GeoDataFrame
    doubtful: gpd.GeoDataFrame
    scene_id: str
    gsd_m: float
    valid_fraction: float
    warnings: tuple[str, ...] = ()
    count_model: CountModel = field(default_factory=CountModel)
    widening: float = 1.0

    @property
    def interval(self) -> CountInterval:
        """Freight cars of the whole scene, with the 90% interval."""
        return self.count_in(np.ones(len(self.frame), bool), np.ones(len(self.doubtful), bool))

    @property
    def count(self) -> int:
        """Freight cars."""
        return self.interval.count

    @property
    def count_low(self) -> int:
        """Lower end of the 90% interval of the freight cars."""
        return self.interval.low

    @property
    def count_high(self) -> int:
        """Upper end of the 90% interval of the freight cars."""
        return self.interval.high

    def count_in(self, rows: NDArray[np.bool_], doubtful: NDArray[np.bool_] | None = None) -> CountInterval:
        """Freight cars among some rows, such as those of a zone.

        Args:
            rows: ``(len(frame),)`` mask.
            doubtful: ``(len(doubtful),)`` mask of the same place; without it the doubtful candidates of the
                scene count in proportion to the rows chosen.
        """
        sure = self.frame[np.asarray(rows, bool) & (self.frame["category"] == "freight").to_numpy()]
        unsure_freight = (self.doubtful["category"] == "freight").to_numpy()
        if doubtful is not None:
            unsure = self.doubtful["score"].to_numpy(np.float64)[np.asarray(doubtful, bool) & unsure_freight]
        else:
            share = len(sure) / max(1, int((self.frame["category"] == "freight").sum()))
            unsure = self.doubtful["score"].to_numpy(np.float64)[unsure_freight] * min(1.0, share)
        return self.count_model.interval(sure["score"].to_numpy(np.float64), unsure, widening=self.widening)

    def write(self, path: str | Path) -> Path:
        """Write the wagons to a file; see :func:`write`."""
        return write([self], path)


def frame_of(
    geometry: Iterable[Any],
    crs: Any,
    *,
    score: NDArray[np.float64],
    category: NDArray[np.int64],
    length_m: NDArray[np.float64],
    width_m: NDArray[np.float64],
    azimuth_deg: NDArray[np.float64],
    pixel_box: Boxes,
    image: str,
    gsd_m: float,
) -> gpd.GeoDataFrame:
    """The table of detections with its documented columns; an empty one has them too."""
    n = len(score)
    return gpd.GeoDataFrame(
        {
            "score": np.asarray(score, np.float64),
            "category": pd.Series([CATEGORIES[c] for c in category], dtype=object),
            "length_m": np.asarray(length_m, np.float64),
            "width_m": np.asarray(width_m, np.float64),
            "azimuth_deg": np.asarray(azimuth_deg, np.float64),
            "track": pd.Series([None] * n, dtype=object),
            "image": pd.Series([image] * n, dtype=object),
            "gsd_m": np.full(n, gsd_m),
            "pixel_box": pd.Series([[float(v) for v in box] for box in as_boxes(pixel_box)], dtype=object),
        },
        geometry=gpd.GeoSeries(list(geometry), crs=crs),
        crs=crs,
    )


def check_target(path: str | Path) -> Path:
    """Refuse a file that wagons can't be written to: for before the work rather than after it.

    Raises:
        InputError: The ending isn't one of WRITERS, or the folder is missing or can't be written to.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in WRITERS:
        raise InputError(
            f"{path}: can't write {suffix or 'a file without an ending'}; use one of {', '.join(WRITERS)}"
        )
    folder = path.absolute().parent
    if not folder.is_dir():
        raise InputError(f"{path}: the folder {folder} doesn't exist")
    if path.is_dir():
        raise InputError(f"{path}: is a folder, not a file")
    if not os.access(folder, os.W_OK):
        raise InputError(f"{path}: the folder {folder} is read-only")
    return path


def write(detections: Sequence[Detections], path: str | Path) -> Path:
    """Write the wagons of one or more scenes.

    GeoJSON is in WGS84 longitude and latitude; GeoPackage and GeoParquet keep the images' CRS (WGS84 when the
    images differ). Wagons of images without position have a null geometry, and in a GeoPackage or GeoParquet
    file of such images alone that of the picture: see `joined`.

    Raises:
        InputError: The ending isn't one of .geojson, .json, .gpkg, .parquet, .geoparquet, or the file can't
            be written; what was there before is still there then.
    """
    path = check_target(path)
    suffix = path.suffix.lower()
    table = joined(detections, lonlat=suffix in {".geojson", ".json"})
    try:
        if suffix in {".geojson", ".json"}:
            write_text(path, _geojson(table))
        elif suffix == ".gpkg":
            flat = table.assign(pixel_box=table["pixel_box"].map(json.dumps).astype(str))
            with replacing(path, whole_database) as temporary, warnings.catch_warnings():
                # Images without position have no CRS to give.
                warnings.filterwarnings("ignore", "'crs' was not provided", UserWarning)
                flat.to_file(temporary, layer="detections", driver="GPKG", engine="pyogrio")
        else:
            with replacing(path, whole_parquet) as temporary:
                table.to_parquet(temporary)
    except (OSError, DataSourceError, DataLayerError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: can't be written ({reason})") from error
    return path


def joined(detections: Sequence[Detections], *, lonlat: bool = False) -> gpd.GeoDataFrame:
    """Return the wagons of one or more scenes as one table.

    Args:
        detections: Of any scenes.
        lonlat: In longitude and latitude, whatever the images' CRS.

    Returns:
        In the images' CRS, in longitude and latitude where they differ. Where no image has a position, the
        rectangles are in pixels, x to the right and -y down, which is how QGIS lays such a picture out, and
        there is no CRS; with ``lonlat``, or among images with a position, they have no geometry.
    """
    frames = [d.frame for d in detections]
    systems = {f.crs.to_wkt() for f in frames if f.crs is not None}
    if lonlat or len(systems) > 1:
        frames = [f if f.crs is None else f.to_crs("OGC:CRS84") for f in frames]
    crs = next((f.crs for f in frames if f.crs is not None), None)
    frames = [f if f.crs is not None or crs is None else f.set_crs(crs) for f in frames]
    filled = [f for f in frames if len(f)] or frames[:1]
    if not filled:
        filled = [
            frame_of(
                [],
                None,
                score=np.zeros(0),
                category=np.zeros(0, np.int64),
                length_m=np.zeros(0),
                width_m=np.zeros(0),
                azimuth_deg=np.zeros(0),
                pixel_box=as_boxes([]),
                image="",
                gsd_m=0.0,
            )
        ]
    table = gpd.GeoDataFrame(pd.concat(filled, ignore_index=True), geometry="geometry", crs=crs)
    if crs is None and not lonlat and len(table):
        corners = box_corners(np.array(table["pixel_box"].to_list(), np.float64)) * (1.0, -1.0)
        table = table.set_geometry(list(shapely.polygons(corners)))
    return table


def _geojson(table: gpd.GeoDataFrame) -> str:
    """RFC 7946 text: longitude and latitude to 1e-8 degree (a millimetre)."""
    features = []
    for row in table.itertuples(index=False):
        geometry = None
        if row.geometry is not None:
            # RFC 7946 wants outer rings counter-clockwise.
            outline = shapely.orient_polygons(row.geometry).exterior
            ring = np.round(np.asarray(outline.coords)[:, :2], 8).tolist()
            geometry = {"type": "Polygon", "coordinates": [ring]}
        properties = {
            "score": round(float(row.score), 4),
            "category": row.category,
            "length_m": round(float(row.length_m), 2),
            "width_m": round(float(row.width_m), 2),
            "azimuth_deg": round(float(row.azimuth_deg), 2),
            "track": row.track,
            "image": row.image,
            "gsd_m": float(row.gsd_m),
            "pixel_box": [round(float(v), 3) for v in row.pixel_box],
        }
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    return json.dumps({"type": "FeatureCollection", "features": features}, indent=1, ensure_ascii=False)
