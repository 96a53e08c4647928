"""GeoJSON, GeoPackage, Shapefile, FlatGeobuf and GeoParquet: polygons on the map, one a vehicle.

Read are our own detections (from ``railwatch detect`` and ``railwatch simulate``) and any other layer of
polygons, in any coordinate reference system:

* ``category``, ``class``, ``class_name`` or ``label`` is the class; a layer without such a column is all
  freight cars.
* ``image``, ``file``, ``filename`` or ``file_name`` names the image. Without it the layer belongs to the
  image of the same name, or else each polygon to the image that it lies in.
* ``ignore``, ``ignored`` or ``difficult`` (1, true, yes), or a ``visibility`` under 0.35, ignores a vehicle.
* Where there is no geometry, or the image has no position, ``pixel_box`` ([cx, cy, length, width, angle])
  counts; of an area in which nothing is known, ``pixel_polygon``.
* The member ``images`` of a GeoJSON (ours) lists images with ``file``, ``gsd_m`` and ``labelled``, the
  negatives too.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely import MultiPolygon, Polygon
from shapely.errors import GEOSException
from shapely.geometry import shape

from aoi.errors import InputError
from detector.errors import LabelError
from detector.labels.files import (
    LabelImage,
    member,
    number,
    numbers,
    open_image,
    optional,
    read_json,
    relative,
    write_json,
)
from detector.labels.image import MINIMUM_VISIBILITY, Context, DrawnLabel, LabelledImage, polygon
from detector.wagons.categories import CATEGORIES
from geo import boxes_to_map

logger = logging.getLogger(__name__)

SUFFIXES = frozenset({".geojson", ".gpkg", ".shp", ".fgb", ".parquet", ".geoparquet"})
_CLASS = ("category", "class", "class_name", "label")
_IMAGE = ("image", "file", "filename", "file_name")
_IGNORE = ("ignore", "ignored", "difficult")
_NO = frozenset({"", "0", "0.0", "false", "no", "f", "n", "none", "nan", "null"})
_LONLAT = "OGC:CRS84"


@dataclass(frozen=True)
class LabelFeature:
    """One feature of a layer.

    Attributes:
        where: The file and the place in it, for errors.
        shapes: Its polygons, in the layer's CRS; none without geometry.
        properties: Its columns, by lower-case name, without nulls.
    """

    where: str
    shapes: tuple[Polygon, ...]
    properties: Mapping[str, Any]

    def first(self, keys: Sequence[str]) -> Any:
        """The value of the first of some columns that it has."""
        return next((self.properties[key] for key in keys if key in self.properties), None)


@dataclass(frozen=True)
class LabelLayer:
    """A layer of polygons.

    Attributes:
        path: The file.
        crs: Its CRS in words that pyproj understands, or None if the file doesn't tell.
        features: In the order of the file.
        images: What the file says of its images (ours only).
    """

    path: Path
    crs: str | None
    features: tuple[LabelFeature, ...]
    images: tuple[Mapping[str, Any], ...] = ()


def read(files: Sequence[Path], context: Context) -> list[LabelledImage]:
    """Labels of the images of some layers.

    Raises:
        LabelError: A file is malformed or doesn't fit its images.
    """
    layers = (_geojson(p) if p.suffix.lower() in {".geojson", ".json"} else _table(p) for p in files)
    return [image for layer in layers for image in _images(layer, context)]


def _images(layer: LabelLayer, context: Context) -> list[LabelledImage]:
    listed: dict[Path, tuple[LabelImage, list[LabelFeature], bool]] = {}
    for entry in layer.images:
        where = f"{layer.path}: images"
        gsd_m = optional(entry.get("gsd_m"), f"{where}: gsd_m")
        picture = context.pictures.named(str(member(entry, "file", where)), layer.path, gsd_m)
        listed[picture.path] = (picture, [], bool(entry.get("labelled", True)))
    homeless: list[LabelFeature] = []
    for feature in layer.features:
        name = feature.first(_IMAGE)
        if name is None:
            homeless.append(feature)
            continue
        gsd = feature.properties.get("gsd_m")
        # Outlines on a map come with the image's own position; those in pixels have only what is said here.
        said = gsd is not None and (layer.crs is None or not feature.shapes)
        gsd_m = number(gsd, f"{feature.where}: gsd_m") if said else None
        picture = context.pictures.named(str(name), layer.path, gsd_m)
        listed.setdefault(picture.path, (picture, [], True))[1].append(feature)
    if homeless or not listed:
        for picture, features in _placed(layer, homeless, context):
            listed.setdefault(picture.path, (picture, [], True))[1].extend(features)
    return [_image(layer, *entry[:2], context, labelled=entry[2]) for entry in listed.values()]


def _placed(
    layer: LabelLayer, features: list[LabelFeature], context: Context
) -> Iterable[tuple[LabelImage, list[LabelFeature]]]:
    """Features that name no image, with the image they belong to."""
    found = context.pictures.find_beside(layer.path)
    pictures = context.pictures.all() if found is None else [found]
    if len(pictures) == 1:
        return [(context.pictures.picture(pictures[0]), features)]
    if not features or not pictures:
        raise LabelError(f"{layer.path}: names no image, and there is none of its name")
    return _by_place(layer, features, [context.pictures.picture(p) for p in pictures])


def _by_place(
    layer: LabelLayer, features: list[LabelFeature], pictures: list[LabelImage]
) -> list[tuple[LabelImage, list[LabelFeature]]]:
    """Each feature with the one image that it lies in; nobody says that other images are empty."""
    owner: dict[int, LabelImage] = {}
    out = []
    for picture in pictures:
        if not picture.scene.georeferenced:
            continue
        frame = shapely.box(0, 0, *picture.size_px)
        inside = []
        for i, outlines in enumerate(_outlines(layer, features, picture)):
            if not any(outline.centroid.within(frame) for outline in outlines):
                continue
            feature, other = features[i], owner.setdefault(i, picture)
            if other is not picture:
                raise LabelError(
                    f"{feature.where}: lies in {other.path} and in {picture.path}; "
                    "a column 'image' must say which is meant"
                )
            inside.append(feature)
        if inside:
            out.append((picture, inside))
    if not out:
        raise LabelError(
            f"{layer.path}: none of its {len(features)} features lies in one of the {len(pictures)} images"
        )
    if len(owner) < len(features):
        logger.warning(
            "%s: %d of %d features lie in no image", layer.path, len(features) - len(owner), len(features)
        )
    return out


def _image(
    layer: LabelLayer, picture: LabelImage, features: list[LabelFeature], context: Context, *, labelled: bool
) -> LabelledImage:
    classed = next((key for key in _CLASS if any(key in f.properties for f in layer.features)), None)
    frame = shapely.box(0, 0, *picture.size_px)
    marks: list[DrawnLabel] = []
    areas: list[Polygon] = []
    outside = 0
    # Taken by its pixels is only what says them: where both are there and can be used, the map wins.
    placed, pixels = picture.scene.georeferenced, {"pixel_box", "pixel_polygon"}
    mapped = [f for f in features if (f.shapes and placed) or not pixels & f.properties.keys()]
    outlines = dict(zip((f.where for f in mapped), _outlines(layer, mapped, picture), strict=True))
    for feature in features:
        where, ignored = feature.where, _ignored(feature)
        name = "freight" if classed is None else feature.first(_CLASS)
        if name is None:
            raise LabelError(f"{where}: has no {classed}")
        if where in outlines:
            # A layer of a whole yard may well be larger than the image.
            seen = [outline for outline in outlines[where] if outline.intersects(frame)]
            outside += len(outlines[where]) - len(seen)
            marks += [DrawnLabel(str(name), where, outline=outline, ignored=ignored) for outline in seen]
        elif "pixel_polygon" in feature.properties:
            areas.append(polygon(_listed(feature.properties["pixel_polygon"], where), where))
        else:
            box = numbers(_listed(feature.properties["pixel_box"], where), f"{where}: pixel_box", 5)
            marks.append(DrawnLabel(str(name), where, box=tuple(box), ignored=ignored))
    if outside and not marks and not areas:
        raise LabelError(
            f"{layer.path}: none of its {outside} polygons lies in {picture.path}; "
            "is its coordinate reference system right?"
        )
    if outside:
        logger.warning("%s: %d polygons lie outside %s and are left out", layer.path, outside, picture.path)
    return context.image(picture, marks, areas, labelled=labelled)


def _outlines(layer: LabelLayer, features: list[LabelFeature], picture: LabelImage) -> list[list[Polygon]]:
    """The polygons of each feature in pixels."""
    for feature in features:
        if not feature.shapes:
            raise LabelError(f"{feature.where}: has neither a geometry nor a pixel_box")
    if not features:
        return []
    if not picture.scene.georeferenced:
        raise LabelError(f"{layer.path}: is a map, but {picture.path} has no position to lay it on")
    if layer.crs is None:
        raise LabelError(
            f"{layer.path}: has no coordinate reference system (a Shapefile keeps it in a .prj file)"
        )
    import geopandas as gpd
    from pyproj.exceptions import CRSError

    shapes = [shape for feature in features for shape in feature.shapes]
    try:
        moved = gpd.GeoSeries(shapes, crs=layer.crs).to_crs(picture.scene.crs)
    except CRSError as error:
        raise LabelError(f"{layer.path}: its coordinate reference system can't be understood") from error
    pixels = iter(shapely.transform(moved.to_numpy(), picture.scene.map_to_pixel))
    out = []
    for feature in features:
        out.append(list(itertools.islice(pixels, len(feature.shapes))))
        if not np.isfinite(shapely.get_coordinates(out[-1])).all():
            raise LabelError(
                f"{feature.where}: its coordinates lie outside the domain of the image's coordinate system"
            )
    return out


def _ignored(feature: LabelFeature) -> bool:
    if any(str(feature.properties.get(key, "")).strip().lower() not in _NO for key in _IGNORE):
        return True
    visibility = feature.properties.get("visibility")
    return visibility is not None and number(visibility, f"{feature.where}: visibility") < MINIMUM_VISIBILITY


def _listed(value: Any, where: str) -> Any:
    """A list, which formats without lists keep as JSON text."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            raise LabelError(f"{where}: {value[:40]!r} is no list of numbers") from None
    return value


def _geojson(path: Path) -> LabelLayer:
    document = read_json(path)
    kind = document.get("type") if isinstance(document, Mapping) else None
    if kind == "Feature":
        records = [document]
    elif kind == "FeatureCollection" and isinstance(document.get("features"), list):
        records = document["features"]
    else:
        raise LabelError(f"{path}: is no GeoJSON FeatureCollection")
    features = []
    for i, record in enumerate(records, start=1):
        where = f"{path}: feature {i}"
        raw = member(record, "geometry", where)
        try:
            geometry = None if raw is None else shape(raw)
        except (GEOSException, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            raise LabelError(f"{where}: its geometry is malformed") from error
        features.append(_feature(where, geometry, record.get("properties") or {}))
    images = [] if document.get("images") is None else document["images"]
    if not (isinstance(images, list) and all(isinstance(i, Mapping) for i in images)):
        raise LabelError(f"{path}: 'images' is no list of objects")
    return LabelLayer(path, _geojson_crs(path, document), tuple(features), tuple(images))


def _geojson_crs(path: Path, document: Mapping[str, Any]) -> str:
    """Longitude and latitude, unless the file follows the old standard of 2008 and names another."""
    try:
        return str(document["crs"]["properties"]["name"]) if document.get("crs") is not None else _LONLAT
    except (TypeError, KeyError):
        raise LabelError(f"{path}: its coordinate reference system can't be understood") from None


def _table(path: Path) -> LabelLayer:
    import geopandas as gpd

    from aoi.gdal import list_layers, read_vector

    try:
        if path.suffix.lower() in {".parquet", ".geoparquet"}:
            table = gpd.read_parquet(path)
        else:
            layers = [str(name) for name, kind in list_layers(path) if kind is not None]
            if len(layers) > 1:
                layers = [name for name in layers if name.lower() in {"labels", "detections"}] or layers
            if len(layers) != 1:
                raise LabelError(
                    f"{path}: has the layers {', '.join(layers) or 'none'}; call the one to read 'labels'"
                )
            table = read_vector(path, layer=layers[0])
    except InputError:
        raise
    except Exception as error:  # GDAL and Arrow raise many kinds, all of which mean the same here
        raise LabelError(
            f"{path}: can't be read as a layer of polygons ({str(error).strip().splitlines()[0]})"
        ) from error
    columns = [str(name) for name in table.columns if name != table.geometry.name]
    rows = zip(table.geometry, table[columns].itertuples(index=False, name=None), strict=True)
    features = tuple(
        _feature(f"{path}: feature {i}", geometry, dict(zip(columns, values, strict=True)))
        for i, (geometry, values) in enumerate(rows, start=1)
    )
    return LabelLayer(path, None if table.crs is None else table.crs.to_wkt(), features)


def _feature(where: str, geometry: Any, properties: Mapping[str, Any]) -> LabelFeature:
    known = {str(key).lower(): value for key, value in properties.items() if not _missing(value)}
    if geometry is None or geometry.is_empty:
        return LabelFeature(where, (), known)
    if not isinstance(geometry, Polygon | MultiPolygon):
        raise LabelError(f"{where}: is a {geometry.geom_type}; a label is a polygon")
    return LabelFeature(where, tuple(shapely.get_parts(geometry)), known)


def _missing(value: Any) -> bool:
    return (
        value is None or (isinstance(value, float) and bool(np.isnan(value))) or str(value) in {"<NA>", "NaT"}
    )


def write(images: Sequence[LabelledImage], path: Path) -> None:
    """Write a GeoJSON like that of our detections.

    Polygons are in WGS84 longitude and latitude where the image has a position, null where it hasn't;
    ``pixel_box`` is there in any case. The member ``images`` lists the images, negatives too.

    Raises:
        LabelError: It can't be written, or an image can't be opened any more.
    """
    features: list[dict[str, Any]] = []
    listed = []
    for image in images:
        file = relative(image.image, path.parent)
        listed.append({"file": file, "gsd_m": image.gsd_m, "labelled": image.labelled})
        features += _features(image, file)
    write_json(path, {"type": "FeatureCollection", "images": listed, "features": features})


def _features(image: LabelledImage, file: str) -> list[dict[str, Any]]:
    import geopandas as gpd

    scene = open_image(image.image, image.gsd_m)
    # An image without position and declared distance has no metres.
    measured = image.gsd_m is not None or scene.georeferenced
    placed = boxes_to_map(scene, image.boxes)
    shapes = [*placed.polygons, *(shapely.transform(area, scene.pixel_to_map) for area in image.ignore_areas)]
    geometry: list[Polygon | None] = [None] * len(shapes)
    if scene.georeferenced and shapes:
        geometry = list(gpd.GeoSeries(shapes, crs=scene.crs).to_crs(_LONLAT))
    out = []
    for i, box in enumerate(image.boxes):
        properties: dict[str, Any] = {"category": CATEGORIES[image.category[i]], "image": file}
        if measured:
            properties |= {
                "length_m": round(float(placed.length_m[i]), 3),
                "width_m": round(float(placed.width_m[i]), 3),
                "gsd_m": scene.gsd_m,
            }
        properties |= {
            "azimuth_deg": round(float(placed.azimuth_deg[i]), 3),
            "ignore": bool(image.ignored[i]),
            "pixel_box": [round(float(v), 6) for v in box],
        }
        out.append({"type": "Feature", "geometry": _lonlat(geometry[i]), "properties": properties})
    for area, shape_ in zip(image.ignore_areas, geometry[len(image.boxes) :], strict=True):
        ring = np.round(shapely.get_coordinates(area.exterior), 6).tolist()
        marked = {"category": "ignore", "image": file, "pixel_polygon": ring}
        out.append({"type": "Feature", "geometry": _lonlat(shape_), "properties": marked})
    return out


def _lonlat(outline: Polygon | None) -> dict[str, Any] | None:
    """A polygon to 1e-9 degree, a tenth of a millimetre."""
    if outline is None:
        return None
    ring = np.round(shapely.get_coordinates(outline.exterior), 9).tolist()
    return {"type": "Polygon", "coordinates": [ring]}
