"""Write an observation as a GeoPackage to correct in QGIS.

Layers: ``boxes`` (to edit), ``boundary``, ``zones``, ``tracks``, ``masks`` (to look at), the table
``facts`` (which observation this is, the area's file in full, so that the correction is counted by the
same rules), and the styles. Beside it lies the image.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pyproj

from aoi import AreaOfInterest
from aoi.files import replacing, whole_database, write_bytes
from aoi.io import area_document
from geo import Scene
from geo.boxes import box_corners
from railwatch.errors import ReviewError, said
from railwatch.pages.qgis_style import SymbolStyle, box_style, plain_style, write_styles
from railwatch.review.corrections import AREA_LAYERS, BOXES, FACTS, FORMAT, GEOMETRY
from railwatch.review.find import area_of, find_observation, find_scene, reviewed_by_hand, write_cut
from railwatch.store.observation import Observation, iso
from railwatch.store.store import EVIDENCE, Store
from railwatch.version import __version__

__all__ = ["Exported", "export_review", "pixel_transform"]

log = logging.getLogger(__name__)

_LONLAT = "OGC:CRS84"
_STYLES = {
    "boundary": (SymbolStyle((255, 255, 255), 0, "dash", 0.5), "fill"),
    "zones": (SymbolStyle((240, 228, 66), 0, "dot", 0.4), "fill"),
    "tracks": (SymbolStyle((200, 200, 200), 0, "solid", 0.2), "line"),
    "masks": (SymbolStyle((170, 170, 170), 0, "solid", 0.3, "f_diagonal"), "fill"),
}


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: The GeoPackage.
        observation: The machine's observation.
        boxes: Boxes in it.
        boxes_of: Id of the observation that the boxes are from: the machine's, or its last review.
        image: The image beside it, or None.
        georeferenced: Whether the image has a position, so that QGIS shows it under the boxes.
    """

    path: Path
    observation: Observation
    boxes: int
    boxes_of: str
    image: Path | None
    georeferenced: bool

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "out": str(self.path),
            "observation": self.observation.id,
            "boxes": self.boxes,
            "boxes_of": self.boxes_of,
            "image": None if self.image is None else str(self.image),
            "image_has_position": self.georeferenced,
        }


def export_review(
    store: Store,
    id: str,
    path: str | Path,
    *,
    aoi: str | Path | None = None,
    scenes: Iterable[str | Path] = (),
    overwrite: bool = False,
) -> Exported:
    """Write an observation's boxes, area and picture for correction.

    Args:
        store: Where the observation is.
        id: Its id, or the beginning of it. Of a review, its corrected boxes are exported again.
        path: The GeoPackage to write.
        aoi: The area's file, if the area isn't a bundled one.
        scenes: Images or folders among which the scene is; then its cut, with position, lies beside the
            GeoPackage. Without them it is the evidence picture, which has none.
        overwrite: Replace a file that is there already.

    Raises:
        ReviewError: If there is no such observation, or the file is there, or isn't named ``.gpkg``.
        StoreError: If the store can't be read.
    """
    path = Path(path)
    if path.suffix.lower() != ".gpkg":
        raise ReviewError(f"{path}: a review is a GeoPackage; name it .gpkg")
    if path.exists() and not overwrite:
        raise ReviewError(
            f"{path}: is there already, and may hold corrections; choose another name, or --overwrite it"
        )
    if not path.absolute().parent.is_dir():
        raise ReviewError(f"{path}: the folder {path.absolute().parent} doesn't exist")
    observation = find_observation(store, id)
    machine = reviewed_by_hand(observation, store)
    if machine.method == "occupancy":
        raise ReviewError(
            f"{machine.id} is of an image of 10 m, on which wagons can't be seen one by one: there is "
            "nothing to correct by eye"
        )
    area = area_of(store, machine, aoi)
    given = list(scenes)
    scene = find_scene(given, machine) if given else None
    stored = store.detections(observation.id)
    boxes = _boxes(stored, machine.id, area, scene)
    transform = scene.transform if scene is not None else pixel_transform(stored)
    facts = _facts(observation, machine, area, transform)
    try:
        with replacing(path, whole_database) as temporary:
            _write(temporary, boxes, area, facts, machine.id)
        image, georeferenced = _image(path, scene, area, store, observation, machine)
    except (OSError, sqlite3.Error, pyogrio.errors.DataSourceError) as error:
        raise ReviewError(f"{path}: can't be written ({said(error)})") from error
    return Exported(path, machine, len(boxes), observation.id, image, georeferenced)


def pixel_transform(boxes: gpd.GeoDataFrame | None) -> tuple[float, ...] | None:
    """Return the affine map from a scene's pixels to its CRS, as its boxes show it; None without boxes.

    Each box is known in pixels and on the map: its four corners are enough.

    Returns:
        (a, b, c, d, e, f) of ``x = a * column + b * row + c``, ``y = d * column + e * row + f``.
    """
    if boxes is None or not len(boxes):
        return None
    pixels = box_corners(np.array(boxes["pixel_box"].tolist(), np.float64))
    shapes = [np.asarray(shape.exterior.coords)[:4, :2] for shape in boxes.geometry]
    known = np.asarray(np.isfinite(pixels).all(axis=(1, 2)), dtype=np.bool_)
    if not known.any():
        return None
    columns = pixels[known].reshape(-1, 2)
    places = np.concatenate([shape for shape, kept in zip(shapes, known, strict=True) if kept])
    # About their means, so that coordinates of millions of metres don't cost digits.
    middle, centre = columns.mean(axis=0), places.mean(axis=0)
    solution = np.linalg.lstsq(columns - middle, places - centre, rcond=None)[0].T
    offset = centre - solution @ middle
    (a, b), (d, e) = solution.tolist()
    return a, b, float(offset[0]), d, e, float(offset[1])


def _boxes(
    stored: gpd.GeoDataFrame | None, machine: str, area: AreaOfInterest, scene: Scene | None
) -> gpd.GeoDataFrame:
    """The layer to edit: the stored boxes, numbered, all of them kept."""
    if stored is None:
        crs = (
            scene.crs if scene is not None else gpd.GeoSeries([area.boundary], crs=_LONLAT).estimate_utm_crs()
        )
        stored = gpd.GeoDataFrame({"category": pd.Series(dtype=object)}, geometry=[], crs=crs)
    count = len(stored)

    def column(name: str, dtype: Any, missing: object) -> pd.Series:
        return stored[name].astype(dtype) if name in stored else pd.Series([missing] * count, dtype=dtype)

    number = stored["box"] if "box" in stored else pd.Series(np.arange(1, count + 1))
    columns = {
        "keep": pd.Series(np.ones(count, bool)),
        "category": stored["category"].astype(object),
        "note": column("note", object, None),
        "box": number.astype("Int32"),
        "counted": column("counted", bool, True),
        "track": column("track", object, None),
        "observation": pd.Series([machine] * count, dtype=object),
    }
    for name in ("score", "length_m", "width_m", "azimuth_deg"):
        columns[name] = column(name, np.float64, 0.0).round(3)
    return gpd.GeoDataFrame(columns, geometry=list(stored.geometry), crs=stored.crs)


def _facts(
    observation: Observation,
    machine: Observation,
    area: AreaOfInterest,
    transform: Iterable[float] | None,
) -> pd.DataFrame:
    rows: dict[str, object] = {
        "format": FORMAT,
        "observation": machine.id,
        "boxes_of": observation.id,
        "aoi": machine.aoi,
        "scene": machine.scene,
        "datetime": iso(machine.datetime),
        "sensor": machine.sensor,
        "method": machine.method,
        "count": machine.headline,
        "clear_fraction": machine.clear_fraction,
        "hidden_fraction": machine.hidden_fraction,
        "warnings": " | ".join(machine.warnings),
        "model": " ".join(str(machine.provenance.get(name, "")) for name in ("model", "model_version")),
        "exported": iso(datetime.now(UTC)),
        "railwatch": __version__,
        "pixel_to_map": "" if transform is None else json.dumps([float(value) for value in transform][:6]),
        "area": json.dumps(area_document(area), ensure_ascii=False),
    }
    return pd.DataFrame({"key": list(rows), "value": [str(value) for value in rows.values()]})


def _write(
    path: Path, boxes: gpd.GeoDataFrame, area: AreaOfInterest, facts: pd.DataFrame, machine: str
) -> None:
    layers = {BOXES: boxes, **_area_layers(area)}
    kinds = {"tracks": "LineString", BOXES: "Polygon"}
    for name, frame in layers.items():
        pyogrio.write_dataframe(
            frame,
            path,
            layer=name,
            driver="GPKG",
            geometry_type=kinds.get(name, "MultiPolygon"),
            promote_to_multi=name not in kinds,
            append=path.exists(),
            # GDAL's newest version of the format makes QGIS 3.22 warn.
            dataset_options=None if path.exists() else {"VERSION": "1.2"},
            layer_options={"GEOMETRY_NAME": GEOMETRY},
        )
    pyogrio.write_dataframe(facts, path, layer=FACTS, driver="GPKG", append=True)
    styles = {BOXES: box_style(machine)}
    styles |= {name: plain_style(*_STYLES[name]) for name in layers if name != BOXES}
    write_styles(path, styles, dict.fromkeys(styles, GEOMETRY))


def _area_layers(area: AreaOfInterest) -> dict[str, gpd.GeoDataFrame]:
    """The area's layers that have something in them."""

    def dated(day: Any) -> str | None:
        return None if day is None else day.isoformat()

    columns: dict[str, tuple[dict[str, list[Any]], list[Any]]] = {
        "boundary": ({"name": [area.name], "title": [area.title]}, [area.boundary]),
        "zones": (
            {"id": [one.id for one in area.zones], "title": [one.title for one in area.zones]},
            [one.polygon for one in area.zones],
        ),
        "tracks": (
            {"id": [one.id for one in area.tracks], "gauge_mm": [one.gauge_mm for one in area.tracks]},
            [one.line for one in area.tracks],
        ),
        "masks": (
            {
                "reason": [one.reason for one in area.masks],
                "from": [dated(one.start) for one in area.masks],
                "to": [dated(one.end) for one in area.masks],
            },
            [one.polygon for one in area.masks],
        ),
    }
    return {
        name: gpd.GeoDataFrame(columns[name][0], geometry=columns[name][1], crs=pyproj.CRS(_LONLAT))
        for name in AREA_LAYERS
        if columns[name][1]
    }


def _image(
    path: Path,
    scene: Scene | None,
    area: AreaOfInterest,
    store: Store,
    observation: Observation,
    machine: Observation,
) -> tuple[Path | None, bool]:
    """Put an image beside the GeoPackage: the scene's cut, or else the evidence picture."""
    if scene is not None and scene.georeferenced:
        return write_cut(scene, area, path.with_suffix(".tif")), True
    for one in (observation, machine):
        evidence = store.asset(one.id, EVIDENCE)
        if evidence is not None:
            target = path.with_suffix(evidence.suffix)
            write_bytes(target, evidence.read_bytes())
            return target, False
    return None, False
