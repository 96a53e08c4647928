"""An area out of whatever file a user has."""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyproj
import pytest
import shapely
from shapely.geometry import mapping

from aoi import AreaError, check_area, load_area, new_area
from aoi.area_import import bbox_document

YARD = shapely.box(130.60, 42.415, 130.615, 42.425)
SIDE = shapely.box(130.62, 42.415, 130.63, 42.425)
LINE = shapely.LineString([(130.59, 42.42), (130.64, 42.42)])
UTM = 32652


def frame(geometries: list[Any], crs: Any = "OGC:CRS84", **columns: Any) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(
        {"name": [f"n{i}" for i in range(len(geometries))], **columns}, geometry=geometries, crs=crs
    )


def feature(geometry: Any, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "properties": properties, "geometry": mapping(geometry)}


def collection(*geometries: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": [feature(geometry) for geometry in geometries]}


def as_json(document: Any, encoding: str = "utf-8") -> Callable[[Path], None]:
    return lambda path: path.write_text(json.dumps(document), encoding=encoding)


def as_frame(driver: str, crs: Any = "OGC:CRS84", **how: Any) -> Callable[[Path], None]:
    return lambda path: frame([YARD]).to_crs(crs).to_file(path, driver=driver, engine="pyogrio", **how)


KML = (
    '<?xml version="1.0" encoding="{encoding}"?><kml xmlns="http://www.opengis.net/kml/2.2"><Document><Folder>'
    "<Placemark><name>The yard</name><Polygon><outerBoundaryIs><LinearRing><coordinates>{ring}</coordinates>"
    "</LinearRing></outerBoundaryIs></Polygon></Placemark></Folder></Document></kml>"
)


def as_kml(encoding: str = "UTF-8") -> Callable[[Path], None]:
    ring = " ".join(f"{x},{y},12.5" for x, y in YARD.exterior.coords)
    return lambda path: path.write_text(KML.format(encoding=encoding, ring=ring), encoding=encoding)


def as_kmz(path: Path) -> None:
    as_kml()(path.with_suffix(".kml"))
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(path.with_suffix(".kml"), "doc.kml")
    path.with_suffix(".kml").unlink()


def as_zipped_shapefile(path: Path) -> None:
    folder = path.parent / "parts"
    folder.mkdir()
    as_frame("ESRI Shapefile", UTM)(folder / "yard.shp")
    with zipfile.ZipFile(path, "w") as archive:
        for part in folder.iterdir():
            archive.write(part, part.name)


TALL = shapely.force_3d(YARD, 7.0)
OLD_CRS = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{UTM}"}}
MOVED = shapely.transform(
    YARD, pyproj.Transformer.from_crs("OGC:CRS84", UTM, always_xy=True).transform, interleaved=False
)

FILES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "feature": ("yard.geojson", as_json(feature(YARD))),
    "bare geometry": ("yard.json", as_json(mapping(YARD))),
    "collection of geometries": (
        "yard.geojson",
        as_json({"type": "GeometryCollection", "geometries": [mapping(YARD)]}),
    ),
    "geojson.io": ("yard.geojson", as_json({"type": "FeatureCollection", "features": [feature(YARD)]})),
    "several polygons": (
        "yard.geojson",
        as_json(
            {"type": "FeatureCollection", "features": [feature(YARD), feature(YARD.centroid.buffer(0.001))]}
        ),
    ),
    "heights": ("yard.geojson", as_json(feature(TALL))),
    "PowerShell's UTF-16": ("yard.geojson", as_json(feature(YARD), "utf-16")),
    "byte order mark": ("yard.geojson", as_json(feature(YARD), "utf-8-sig")),
    "old GeoJSON in UTM": ("yard.geojson", as_json({**feature(MOVED), "crs": OLD_CRS})),
    "area file in UTM": (
        "yard.geojson",
        as_json({"type": "FeatureCollection", "features": [feature(MOVED, role="boundary")], "crs": OLD_CRS}),
    ),
    "closed line": ("yard.geojson", as_json(feature(YARD.exterior))),
    "KML": ("yard.kml", as_kml()),
    "KML in UTF-16": ("yard.kml", as_kml("UTF-16")),
    "KMZ": ("yard.kmz", as_kmz),
    "GeoPackage": ("yard.gpkg", as_frame("GPKG", UTM)),
    "Shapefile": ("yard.shp", as_frame("ESRI Shapefile", UTM)),
    "zipped Shapefile": ("yard.zip", as_zipped_shapefile),
    "FlatGeobuf": ("yard.fgb", as_frame("FlatGeobuf", 3857)),
    "GML": ("yard.gml", as_frame("GML", UTM)),
    "GeoParquet": ("yard.parquet", lambda path: frame([YARD]).to_crs(UTM).to_parquet(path)),
    "a GeoPackage of geometry alone": (
        "yard.gpkg",
        lambda path: frame([YARD])[["geometry"]].to_file(path, driver="GPKG"),
    ),
    "a GeoParquet of geometry alone": (
        "yard.parquet",
        lambda path: frame([YARD])[["geometry"]].to_parquet(path),
    ),
    "WKT": ("yard.wkt", lambda path: path.write_text(YARD.wkt)),
    "WKT with heights": ("yard.txt", lambda path: path.write_text(TALL.wkt)),
    "EWKT": ("yard.wkt", lambda path: path.write_text(f"SRID={UTM};{MOVED.wkt}")),
}


@pytest.mark.parametrize("kind", FILES)
def test_one_outline_in_any_format(tmp_path: Path, kind: str) -> None:
    name, write = FILES[kind]
    path = tmp_path / name
    write(path)
    area = load_area(path)
    assert area.name == "yard"
    assert not area.boundary.has_z
    assert area.boundary.symmetric_difference(YARD).area < 1e-4 * YARD.area
    assert check_area(path).area is not None


def test_a_file_in_its_own_words(tmp_path: Path) -> None:
    as_kml()(tmp_path / "Rangierbahnhof Süd.kml")
    area = load_area(tmp_path / "Rangierbahnhof Süd.kml")
    assert (area.name, area.title) == ("rangierbahnhof-sud", "The yard")


def test_lines_become_tracks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "yard.gpkg"
    frame([YARD]).to_file(path, layer="outline", driver="GPKG")
    frame([LINE, LINE]).to_file(path, layer="tracks", driver="GPKG", mode="a")
    frame([YARD.centroid]).to_file(path, layer="points", driver="GPKG", mode="a")
    with caplog.at_level(logging.WARNING):
        area = load_area(path)
    assert [track.id for track in area.tracks] == ["n0", "n1"]
    assert all(YARD.buffer(1e-6).covers(track.line) for track in area.tracks)
    assert "1 points are left out" in caplog.text


def test_several_polygons_are_one_boundary(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    as_json({"type": "FeatureCollection", "features": [feature(YARD), feature(SIDE)]})(
        tmp_path / "yard.geojson"
    )
    with caplog.at_level(logging.WARNING):
        area = load_area(tmp_path / "yard.geojson")
    assert area.boundary.equals(shapely.MultiPolygon([YARD, SIDE]))
    assert "2 polygons are taken together" in caplog.text


CROSSED = shapely.Polygon([(130.60, 42.41), (130.61, 42.42), (130.61, 42.41), (130.60, 42.42)])


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("a.geojson", feature(shapely.box(42.41, 130.60, 42.42, 130.61)), "latitude and longitude exchanged"),
        ("a.geojson", feature(MOVED), "no degrees"),
        ("a.geojson", feature(shapely.box(179.99, 42, 180.01, 42.01)), "antimeridian"),
        ("a.geojson", feature(shapely.box(-179.99, 42, 179.99, 42.01)), "antimeridian"),
        ("a.geojson", feature(LINE), "no polygon for a boundary, but 1 lines"),
        ("a.geojson", feature(YARD.centroid), "no polygon for a boundary, but 1 points"),
        ("a.geojson", {"type": "FeatureCollection", "features": []}, "no polygon for a boundary"),
        ("a.geojson", feature(CROSSED), "outline crosses itself"),
        (
            "a.geojson",
            {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": 3}},
            "broken geometry",
        ),
        ("a.geojson", {**feature(YARD), "crs": {"type": "link", "properties": {"href": "x"}}}, "CRS"),
        ("a.geojson", [1], "no GeoJSON object"),
        ("a.json", {"elements": []}, "answer of Overpass"),
        ("двор.geojson", feature(YARD), "aoi new NAME --from FILE"),
        ("a.wkt", "POLYGON ((1 2, 3", "isn't well-known text"),
        ("a.kml", "<kml>", "can't be read as an area"),
        ("a.tif", "II*\0", "can't be read as an area"),
    ],
)
def test_what_is_no_area_is_one_sentence(tmp_path: Path, name: str, content: Any, fault: str) -> None:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    with pytest.raises(AreaError, match=fault) as caught:
        load_area(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("crs", "fault"),
    [
        ("+proj=utm +zone=52 +ellps=krass", "isn't known"),
        ('LOCAL_CS["site",UNIT["metre",1]]', "no place on Earth"),
    ],
)
def test_an_outline_that_is_tied_to_nothing(tmp_path: Path, crs: str, fault: str) -> None:
    frame([MOVED], crs).to_file(tmp_path / "yard.gpkg", driver="GPKG")
    with pytest.raises(AreaError, match=fault):
        load_area(tmp_path / "yard.gpkg")


def test_a_box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    area = load_area("130.60,42.415,130.615,42.425")
    assert area.boundary.equals(YARD)
    assert load_area("-122.5,37.7,-122.4,37.8").name == "bbox-m122-5-37-7-m122-4-37-8"
    monkeypatch.chdir(tmp_path)
    made, path = new_area("my-yard", bbox="130.60,42.415,130.615,42.425")
    assert (made.name, path) == ("my-yard", Path("my-yard.geojson"))
    assert load_area(path).digest == made.digest


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("42.41,130.60,42.42,130.61", "exchanged"),
        ("130.61,42.41,130.60,42.42", "antimeridian"),
        ("130.60,42.42,130.61,42.41", "south of its north"),
        ("130.60,42.41,130.60,42.42", "needs an extent"),
        ("190,42.41,191,42.42", "between -180 and 180"),
        ("1,2,3", "four numbers"),
    ],
)
def test_a_box_that_is_none(text: str, fault: str) -> None:
    with pytest.raises(AreaError, match=fault):
        bbox_document(text)


def test_a_new_area_file(tmp_path: Path) -> None:
    as_kml()(tmp_path / "in.kml")
    out = tmp_path / "out.geojson"
    area, path = new_area("north-yard", source=tmp_path / "in.kml", out=out)
    assert (path, load_area(out).digest) == (out, area.digest)
    for arguments, fault in (
        ({"source": tmp_path / "in.kml", "out": out}, "exists already"),
        ({"source": tmp_path / "none.kml"}, "no such file"),
        ({}, "--from FILE"),
    ):
        with pytest.raises(AreaError, match=fault):
            new_area("north-yard", **arguments)  # type: ignore[arg-type]
    with pytest.raises(AreaError, match="such as 'north-yard'"):
        new_area("North Yard", bbox="1,2,3,4")
    with pytest.raises(AreaError, match="bundled area"):
        new_area("tumangang", bbox="1,2,3,4")
