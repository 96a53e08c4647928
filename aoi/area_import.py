"""Areas out of whatever file a user has: outlines and lines of any vector format, as an area document.

Polygons become the boundary, lines become tracks; points are left out. Everything is brought to WGS84. A file
that already is an area file (its features have roles) isn't changed here.
"""

from __future__ import annotations

import logging
import re
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyproj
import shapely
from pyproj.exceptions import ProjError
from shapely import LineString, MultiPolygon, Polygon
from shapely.errors import ShapelyError
from shapely.geometry import mapping, shape
from shapely.geometry.base import BaseGeometry

from aoi.check import slugify
from aoi.errors import AreaError, InputError
from aoi.files import decoded, parse_json, read_bytes
from aoi.geodesy import datum_doubt, has_no_place

_log = logging.getLogger(__name__)

_WGS84 = "OGC:CRS84"
_BBOX = re.compile(r"\s*[-+]?[\d.]+(?:\s*,\s*[-+]?[\d.]+){3}\s*")
_WKT = re.compile(
    r"\s*(?:SRID\s*=\s*(?P<srid>\d+)\s*;)?\s*"
    r"(?P<wkt>(?:MULTI)?(?:POLYGON|LINESTRING|POINT)|GEOMETRYCOLLECTION)\b",
    re.IGNORECASE,
)
_JSON = frozenset({".geojson", ".json"})
_PARQUET = frozenset({".parquet", ".geoparquet"})
_TEXT = frozenset({".kml", ".gml", ".gpx", ".wkt", ".txt", ".geojson", ".json"})
# Seven decimals of a degree are a centimetre.
_DECIMALS = 7
_MOST_POLYGONS = 1000
_NAMES = ("name", "Name", "NAME", "title", "id", "ID", "fid", "osm_id", "@id", "full_id")


@dataclass
class _Shapes:
    """What a file holds, in longitude and latitude."""

    polygons: list[tuple[BaseGeometry, Mapping[str, Any]]] = field(default_factory=list)
    lines: list[tuple[LineString, Mapping[str, Any]]] = field(default_factory=list)
    others: int = 0

    def add(self, geometry: BaseGeometry, properties: Mapping[str, Any]) -> None:
        for part in _simple(shapely.force_2d(geometry)):
            if isinstance(part, Polygon):
                self.polygons.append((part, properties))
            elif isinstance(part, LineString):
                self.lines.append((part, properties))
            else:
                self.others += 1


def has_roles(document: Mapping[str, Any]) -> bool:
    """Whether a GeoJSON document is an area file: a FeatureCollection, one of whose features has a role."""
    features = document.get("features")
    if document.get("type") != "FeatureCollection" or not isinstance(features, list):
        return False
    return any(
        isinstance(one, Mapping)
        and isinstance(one.get("properties"), Mapping)
        and one["properties"].get("role") not in (None, "")
        for one in features
    )


def is_bbox(text: str) -> bool:
    """Whether a text is a box: four numbers with commas between them.

    Example:
        >>> is_bbox("130.59,42.41,130.62,42.43"), is_bbox("tumangang")
        (True, False)
    """
    return _BBOX.fullmatch(text) is not None


def bbox_document(text: str, name: str | None = None) -> dict[str, Any]:
    """An area document of a box.

    Args:
        text: West, south, east, north in degrees, with commas.
        name: A slug; made of the numbers if not given.

    Raises:
        AreaError: It isn't such a box.

    Example:
        >>> bbox_document("130.59,42.41,130.62,42.43")["name"]
        'bbox-130-59-42-41-130-62-42-43'
    """
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        raise AreaError(f"{text}: isn't a box of four numbers, west,south,east,north in degrees") from None
    if abs(south) > 90 or abs(north) > 90:
        exchanged = abs(west) <= 90 and abs(east) <= 90
        way_out = "latitude and longitude are exchanged: give west,south,east,north"
        raise AreaError(f"{text}: {way_out if exchanged else 'a latitude lies between -90 and 90'}")
    if not (-180 <= west <= 180 and -180 <= east <= 180):
        raise AreaError(f"{text}: a longitude lies between -180 and 180")
    if west > east:
        raise AreaError(
            f"{text}: its west is east of its east: exchange them; a box across the antimeridian (180 "
            "degrees) isn't possible"
        )
    if not (south < north and west < east):
        raise AreaError(f"{text}: its south has to be south of its north, and it needs an extent")
    slug = name or slugify(f"bbox {west:g} {south:g} {east:g} {north:g}".replace("-", "m"))
    box = shapely.box(west, south, east, north)
    return _document([box], [], slug, f"Box {text.strip()}", "Given as a box")


def area_document_of(path: Path, name: str | None = None) -> dict[str, Any]:
    """Read an area out of any file.

    Args:
        path: GeoJSON of any shape, KML, KMZ, GeoPackage, Shapefile (zipped or not), GeoParquet, WKT, and what
            else GDAL reads as vectors; in any CRS, in UTF-8 or UTF-16.
        name: A slug for the area; that of an area file or the file's name if not given.

    Returns:
        An area document (see `aoi.check.check_document`); an area file as it is, but for the name.

    Raises:
        AreaError: The file can't be read, has no polygon, or isn't tied to the Earth.
    """
    if path.is_dir() and path.suffix.lower() != ".gdb":
        raise AreaError(f"{path}: is a folder, not a file")
    text = None if path.is_dir() else _text(path)
    stripped = "" if text is None else text.lstrip()
    if stripped[:1] in ("{", "[") or path.suffix.lower() in _JSON:
        document = parse_json(read_bytes(path, AreaError), path, AreaError)
        if not isinstance(document, dict):
            raise AreaError(f"{path}: is no GeoJSON object, not a FeatureCollection")
        if "elements" in document and "type" not in document:
            raise AreaError(f"{path}: is an answer of Overpass; its railway lines go to 'aoi tracks --from'")
        if has_roles(document):
            return _in_wgs84(document if name is None else {**document, "name": name}, path)
        if document.get("type") != "Topology":
            return _made(_of_geojson(document, path), path, name)
    if stripped and _WKT.match(stripped):
        return _made(_of_wkt(stripped, path), path, name)
    return _made(_of_vectors(path, text), path, name)


def _text(path: Path) -> str | None:
    """The text of a file of a text format, None for others."""
    with path.open("rb") as stream:
        head = stream.read(4096)
    if not head.strip():
        raise AreaError(f"{path}: is empty")
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    wide = head[:2] in (b"\xff\xfe", b"\xfe\xff")
    if path.suffix.lower() not in _TEXT and start not in (b"{", b"[") and not wide:
        return None
    try:
        return decoded(read_bytes(path, AreaError))
    except UnicodeError:
        return None


# ---- reading ---------------------------------------------------------------------------------------


def _of_geojson(document: Mapping[str, Any], path: Path) -> _Shapes:
    """A Feature, a bare geometry, or a collection of either."""
    move = _mover(_declared_crs(document, path), path)
    shapes = _Shapes()
    for raw, properties in _geometries(document):
        try:
            geometry = shape(raw)
        except (ShapelyError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
            raise AreaError(f"{path}: has a broken geometry ({error})") from error
        if not geometry.is_empty:
            shapes.add(move(geometry), properties)
    return shapes


def _in_wgs84(document: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """An area file whose older GeoJSON names another CRS, brought to WGS84."""
    crs = document.get("crs")
    named = crs.get("properties", {}).get("name") if isinstance(crs, Mapping) else None
    features = document.get("features")
    if not isinstance(named, str) or not isinstance(features, list):
        return dict(document)  # what is wrong with it the check says
    move = _mover(_declared_crs(document, path), path)
    moved = []
    for feature in features:
        try:
            geometry = mapping(move(shape(feature["geometry"])))
        except (ShapelyError, ValueError, TypeError, AttributeError, IndexError, KeyError):
            geometry = feature.get("geometry") if isinstance(feature, Mapping) else None
        moved.append({**feature, "geometry": geometry} if isinstance(feature, Mapping) else feature)
    return {**{key: value for key, value in document.items() if key != "crs"}, "features": moved}


def _geometries(node: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    kind = node.get("type")
    if kind == "FeatureCollection":
        listed = node.get("features")
        for one in listed if isinstance(listed, list) else ():
            if isinstance(one, Mapping):
                yield from _geometries(one)
    elif kind == "Feature":
        geometry, properties = node.get("geometry"), node.get("properties")
        if isinstance(geometry, Mapping):
            given = dict(properties) if isinstance(properties, Mapping) else {}
            if node.get("id") is not None:
                given.setdefault("id", node["id"])
            yield geometry, given
    elif isinstance(kind, str):
        yield node, {}


def _declared_crs(document: Mapping[str, Any], path: Path) -> pyproj.CRS | None:
    """The CRS that an older GeoJSON file names; a linked one isn't followed."""
    crs = document.get("crs")
    if crs is None:
        return None
    properties = crs.get("properties") if isinstance(crs, Mapping) else None
    named = properties.get("name") if isinstance(properties, Mapping) else None
    if not isinstance(named, str):
        raise AreaError(f"{path}: declares its CRS in a form that can't be read: reproject it to WGS84")
    try:
        return pyproj.CRS.from_user_input(named)
    except ProjError as error:
        raise AreaError(f"{path}: declares the CRS {named!r}, which isn't known") from error


def _of_wkt(text: str, path: Path) -> _Shapes:
    shapes = _Shapes()
    for line in re.split(r";\s*\n|\n(?=\s*(?:SRID|MULTI|POLYGON|LINESTRING|POINT|GEOMETRY))", text.strip()):
        match = _WKT.match(line)
        if match is None:
            continue
        try:
            crs = pyproj.CRS.from_epsg(int(match["srid"])) if match["srid"] else None
            geometry = shapely.from_wkt(line[match.start("wkt") :].strip().rstrip(";"))
        except (ShapelyError, ProjError) as error:
            raise AreaError(f"{path}: isn't well-known text that can be read ({error})") from error
        shapes.add(_mover(crs, path)(geometry), {})
    return shapes


def _of_vectors(path: Path, text: str | None) -> _Shapes:
    """The layers of any vector file."""
    from aoi.gdal import attribute_rows, list_layers, read_vector

    shapes = _Shapes()
    with tempfile.TemporaryDirectory(prefix="railwatch-") as folder:
        source = path
        if text is not None and b"\0" in read_bytes(path, AreaError)[:64]:
            # XML in UTF-16, as Windows writes it, is read by hardly any program.
            source = Path(folder) / path.name
            source.write_text(re.sub(r'encoding="[^"]*"', 'encoding="UTF-8"', text, count=1), "utf-8")
        try:
            if path.suffix.lower() in _PARQUET:
                import geopandas

                frames = [geopandas.read_parquet(path)]
            else:
                frames = [
                    read_vector(source, layer=name) for name, kind in list_layers(source) if kind is not None
                ]
        except Exception as error:  # GDAL, Arrow, PROJ and GEOS raise many kinds, which mean the same here
            if isinstance(error, InputError):
                raise
            raise AreaError(f"{path}: can't be read as an area or a vector file") from error
        for frame in frames:
            move = _mover(frame.crs, path)
            for row, geometry in zip(attribute_rows(frame), frame.geometry, strict=True):
                if geometry is not None and not geometry.is_empty:
                    shapes.add(move(geometry), row)
    return shapes


def _mover(crs: Any, path: Path) -> Any:
    """What brings geometries of a CRS to WGS84; without one, degrees are taken for WGS84's."""
    if crs is None:
        return lambda geometry: geometry
    system = pyproj.CRS.from_user_input(crs)
    if has_no_place(system):
        raise AreaError(f"{path}: has a local coordinate reference system, which has no place on Earth")
    if system.equals(pyproj.CRS.from_user_input(_WGS84), ignore_axis_order=True):
        return lambda geometry: geometry
    try:
        transformer = pyproj.Transformer.from_crs(system, _WGS84, always_xy=True)
    except ProjError as error:
        raise AreaError(f"{path}: its coordinate reference system can't be brought to WGS84") from error
    told: set[str] = set()

    def move(geometry: BaseGeometry) -> BaseGeometry:
        x, y = shapely.get_coordinates(geometry)[0]
        doubt = datum_doubt(system, float(x), float(y))
        if doubt is not None and not doubt.tolerable:
            raise AreaError(f"{path}: {doubt.sentence}, too far for an area: give it its right one")
        if doubt is not None and doubt.sentence not in told:
            told.add(doubt.sentence)
            _log.warning("%s: %s", path, doubt.sentence)
        return shapely.transform(geometry, transformer.transform, interleaved=False)

    return move


# ---- making ----------------------------------------------------------------------------------------


def _made(shapes: _Shapes, path: Path, name: str | None) -> dict[str, Any]:
    """The document of what a file holds."""
    polygons, lines = shapes.polygons, shapes.lines
    if not polygons:
        # An outline that was drawn as a closed line.
        closed = [(line, row) for line, row in lines if line.is_ring and len(line.coords) > 3]
        polygons = [(Polygon(line.coords), row) for line, row in closed]
        lines = [(line, row) for line, row in lines if not line.is_ring]
    if not polygons:
        held = f"{len(lines)} lines" if lines else f"{shapes.others} points" if shapes.others else "nothing"
        raise AreaError(
            f"{path}: has no polygon for a boundary, but {held}: draw one, or give a box "
            "(railwatch aoi new NAME --bbox W,S,E,N)"
        )
    if len(polygons) > _MOST_POLYGONS:
        raise AreaError(
            f"{path}: has {len(polygons)} polygons, which is no outline of a yard: keep those that are its"
        )
    if len(polygons) > 1:
        _log.warning("%s: its %d polygons are taken together as the boundary", path, len(polygons))
    if shapes.others:
        _log.warning("%s: %d points are left out", path, shapes.others)
    slug = name or slugify(_ascii(path.stem.removesuffix(".shp")))
    if not slug:
        raise AreaError(
            f"{path}: its name can't be made a name for the area: use 'railwatch aoi new NAME --from FILE'"
        )
    title = next((text for _, row in polygons if (text := _named(row))), path.stem)
    outlines = [polygon for polygon, _ in polygons]
    return _document(outlines, list(_tracks(lines, outlines, slug)), slug, title, f"Drawn in {path.name}")


def _document(
    outlines: list[BaseGeometry], tracks: list[tuple[str, LineString]], name: str, title: str, source: str
) -> dict[str, Any]:
    valid = all(one.is_valid for one in outlines)
    boundary = shapely.union_all(outlines) if valid and len(outlines) > 1 else MultiPolygon(outlines)
    parts = shapely.get_parts(boundary)
    only = parts[0] if len(parts) == 1 else boundary
    features = [_feature(only, role="boundary")]
    features += [_feature(line, role="track", id=identity) for identity, line in tracks]
    return {
        "type": "FeatureCollection",
        "name": name,
        "title": title,
        "sources": [{"title": source}],
        "features": features,
    }


def _feature(geometry: BaseGeometry, **properties: Any) -> dict[str, Any]:
    rounded = shapely.transform(geometry, lambda xy: xy.round(_DECIMALS))
    return {"type": "Feature", "properties": properties, "geometry": mapping(rounded)}


def _tracks(
    lines: Iterable[tuple[LineString, Mapping[str, Any]]], outlines: list[BaseGeometry], name: str
) -> Iterator[tuple[str, LineString]]:
    """Lines as tracks: cut at the boundary, each with an id of its own."""
    from aoi.railway_lines import RailLine, clip

    if not all(one.is_valid for one in outlines):
        return  # whoever checks the boundary says so
    boundary = shapely.union_all(outlines)
    used: set[str] = set()
    for number, (line, row) in enumerate(lines, start=1):
        identity = slugify(_ascii(_named(row) or "")) or f"{name}-{number}"
        if identity in used:
            identity = f"{identity}-{number}"
        for part in clip([RailLine(identity, line)], boundary):
            used.add(part.id)
            yield part.id, part.line


def _named(row: Mapping[str, Any]) -> str | None:
    for key in _NAMES:
        value = row.get(key)
        if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
            return str(value).strip()
    return None


def _ascii(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def _simple(geometry: BaseGeometry) -> Iterator[BaseGeometry]:
    for part in shapely.get_parts(geometry):
        if part.geom_type.startswith("Multi") or part.geom_type == "GeometryCollection":
            yield from _simple(part)
        elif not part.is_empty:
            yield part
