from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import pytest
import shapely
from area_files import BOX, NODES, WAYS, line, osm_pbf, osm_xml, overpass, write
from hypothesis import given
from hypothesis import strategies as st
from shapely import LineString

from aoi import AreaError
from aoi.osm import gauge_mm, track_state
from aoi.railway_lines import Railways, read_railways

AREA = shapely.box(*BOX)


def ids(railways: Railways) -> list[str]:
    return sorted(item.id for item in railways.lines)


MAKERS = {
    "xml": lambda folder: osm_xml(folder / "extract.osm"),
    "pbf": lambda folder: osm_pbf(folder / "extract.osm.pbf"),
    "overpass geom": lambda folder: overpass(folder / "answer.json"),
    "overpass nodes": lambda folder: overpass(folder / "answer.json", geometry=False),
    "xml, another name": lambda folder: osm_xml(folder / "interpreter"),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_every_form_of_openstreetmap_gives_the_same_lines(tmp_path: Path, make: Any) -> None:
    railways = read_railways(make(tmp_path), AREA)
    assert railways.origin == "openstreetmap"
    assert railways.credit["title"] == "© OpenStreetMap contributors"
    assert "ODbL" in railways.credit["licence"]
    assert ids(railways) == ["osm-101", "osm-102", "osm-107"]
    assert railways.left_out == {"abandoned": 1, "disused": 1}
    by_id = {item.id: item for item in railways.lines}
    main = by_id["osm-101"]
    assert main.gauge_mm == 1520
    assert main.properties == {
        "railway": "rail",
        "usage": "main",
        "gauge": "1520;1435",
        "name": "Tumen line",
    }
    drawn = LineString([NODES[number] for number in WAYS[0][1]])
    assert main.line.equals_exact(drawn, tolerance=1e-9)
    assert by_id["osm-102"].properties["service"] == "yard"
    assert by_id["osm-107"].gauge_mm == 762


def test_states_come_in_when_asked_for(tmp_path: Path) -> None:
    path = osm_pbf(tmp_path / "extract.osm.pbf")
    railways = read_railways(path, AREA, include=["disused", "abandoned"])
    assert ids(railways) == ["osm-101", "osm-102", "osm-104", "osm-106", "osm-107"]
    assert railways.left_out == {}
    with pytest.raises(AreaError, match="no railway state 'platform'"):
        read_railways(path, AREA, include=["platform"])


def test_the_date_of_an_overpass_answer_goes_into_the_credit(tmp_path: Path) -> None:
    assert read_railways(overpass(tmp_path / "a.json"), AREA).credit["date"] == "2026-11-01T00:00:00Z"


def test_a_way_cut_by_overpass_comes_in_pieces(tmp_path: Path) -> None:
    path = overpass(tmp_path / "a.json", ways=[(5, [5, 6, 10, 9, 2], {"railway": "rail"})])
    answer = json.loads(path.read_text())
    answer["elements"][0]["geometry"][2] = None
    railways = read_railways(write(path, answer), AREA)
    assert [item.id for item in railways.lines] == ["osm-5", "osm-5"]
    assert [len(item.line.coords) for item in railways.lines] == [2, 2]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"elements": 3}, "no Overpass answer"),
        ({"elements": [], "remark": "runtime error: Query timed out"}, "stopped before the end"),
        (
            {"elements": [{"type": "way", "id": 1, "tags": {"railway": "rail"}, "nodes": [1, 2]}]},
            "no positions: ask Overpass for 'out geom;'",
        ),
        (
            {"elements": [{"type": "way", "tags": {"railway": "rail"}, "geometry": []}]},
            "a way that can't be read",
        ),
        (
            {"elements": [{"type": "way", "id": 1, "tags": {"railway": "rail"}, "geometry": [{"lat": 1}]}]},
            "a way that can't be read",
        ),
    ],
)
def test_overpass_answers_that_are_none(tmp_path: Path, answer: Any, message: str) -> None:
    with pytest.raises(AreaError, match=message):
        read_railways(write(tmp_path / "a.json", answer), AREA)


def plain_lines(crs: object = "OGC:CRS84", **columns: Any) -> geopandas.GeoDataFrame:
    lines = [
        LineString([(130.602, 42.415), (130.618, 42.416)]),
        LineString([(130.602, 42.413), (130.618, 42.414)]),
        LineString([(131.0, 42.0), (131.1, 42.0)]),
    ]
    return geopandas.GeoDataFrame(columns, geometry=lines, crs="OGC:CRS84").to_crs(crs)


@pytest.mark.parametrize("name", ["lines.gpkg", "lines.shp", "lines.fgb", "lines.geojson", "lines.parquet"])
def test_any_vector_file_in_any_crs(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    table = plain_lines("OGC:CRS84" if name.endswith("json") else "EPSG:32652", gauge=[1520, 1435, 1435])
    if name.endswith("parquet"):
        table.to_parquet(path)
    else:
        table.to_file(path)
    railways = read_railways(path, AREA)
    assert railways.origin == f"file:{name}"
    assert not railways.filtered
    assert "licence" not in railways.credit
    assert len(railways.lines) == 2
    assert sorted(item.gauge_mm or 0 for item in railways.lines) == [1435, 1520]
    first = min(railways.lines, key=lambda item: item.gauge_mm != 1520)
    assert list(first.line.coords) == [
        pytest.approx((130.602, 42.415), abs=1e-8),
        pytest.approx((130.618, 42.416), abs=1e-8),
    ]
    assert ids(railways) == ids(read_railways(path, AREA))


def test_ids_of_the_file_are_kept_where_they_are_its_own(tmp_path: Path) -> None:
    plain_lines(id=["north", "south", "far"]).to_file(tmp_path / "a.gpkg")
    assert ids(read_railways(tmp_path / "a.gpkg", AREA)) == ["a-north", "a-south"]
    plain_lines(id=["same", "same", "same"]).to_file(tmp_path / "b.gpkg")
    first, second = ids(read_railways(tmp_path / "b.gpkg", AREA))
    assert first != second


def test_a_table_of_openstreetmap_is_recognised_and_filtered(tmp_path: Path) -> None:
    table = plain_lines(osm_id=[11, 12, 13], railway=["rail", "abandoned", "rail"])
    table["other_tags"] = ['"gauge"=>"1520","note"=>"a \\"quoted\\" word"', None, None]
    table.to_file(tmp_path / "roads.gpkg")
    railways = read_railways(tmp_path / "roads.gpkg", AREA)
    assert railways.origin == "openstreetmap"
    assert ids(railways) == ["osm-11"]
    assert railways.lines[0].gauge_mm == 1520
    assert railways.left_out == {"abandoned": 1}


def test_geofabriks_shapefile_and_overpass_turbos_geojson(tmp_path: Path) -> None:
    plain_lines(osm_id=["21", "22", "23"], fclass=["rail", "tram", "rail"], tunnel=["F", "F", "F"]).to_file(
        tmp_path / "gis_osm_railways_free_1.shp"
    )
    shapefile = read_railways(tmp_path / "gis_osm_railways_free_1.shp", AREA)
    assert (ids(shapefile), shapefile.left_out) == (["osm-21"], {"tram": 1})
    course = line((130.602, 42.415), (130.618, 42.416))
    turbo = {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "id": "way/31",
                "properties": {"@id": "way/31", "railway": "rail", "tunnel": tunnel},
                "geometry": course,
            }
            for tunnel in ("no", "yes")
        ],
    }
    railways = read_railways(write(tmp_path / "export.geojson", turbo), AREA)
    assert railways.origin == "openstreetmap"
    assert (ids(railways), railways.left_out) == (["osm-31"], {"tunnel": 1})


def test_layers_without_lines_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "both.gpkg"
    points = geopandas.GeoDataFrame(geometry=[shapely.Point(130.61, 42.415)], crs=4326)
    points.to_file(path, layer="points")
    with pytest.raises(AreaError, match=r"both\.gpkg: has no lines, but Point"):
        read_railways(path, AREA)
    plain_lines().to_file(path, layer="lines")
    assert len(read_railways(path, AREA).lines) == 2


def test_a_file_without_crs_has_no_place(tmp_path: Path) -> None:
    plain_lines().to_file(tmp_path / "bare.shp")
    (tmp_path / "bare.prj").unlink()
    with pytest.raises(AreaError, match=r"bare\.shp: has no coordinate reference system"):
        read_railways(tmp_path / "bare.shp", AREA)
    plain_lines().set_crs(None, allow_override=True).to_parquet(tmp_path / "bare.parquet")
    with pytest.raises(AreaError, match=r"bare\.parquet: has no coordinate reference system"):
        read_railways(tmp_path / "bare.parquet", AREA)


def broken_files(folder: Path) -> dict[str, Path]:
    whole = osm_pbf(folder / "whole.osm.pbf").read_bytes()
    contents = {
        "empty.osm": b"",
        "cut.osm.pbf": whole[:-30],
        "cut.osm": osm_xml(folder / "whole.osm").read_bytes()[:-60],
        "noise.osm.pbf": whole[:60] + b"\x07" * 200,
        "cut.json": b'{"elements": [',
        "text.gpkg": b"not a geopackage",
        "text.parquet": b"not parquet",
        "table.csv": b"a,b\n1,2\n",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in contents}


def test_broken_files_are_named(tmp_path: Path) -> None:
    for name, path in broken_files(tmp_path).items():
        with pytest.raises(AreaError) as caught:
            read_railways(path, AREA)
        assert str(caught.value).startswith(f"{path}: "), name
        assert len(str(caught.value).splitlines()) == 1, name
    with pytest.raises(AreaError, match="there is no such file"):
        read_railways(tmp_path / "nowhere.osm", AREA)


@pytest.mark.parametrize(
    ("tag", "gauge"),
    [
        ("1520", 1520),
        ("1435;1520", 1520),
        ("1520 mm", 1520),
        ("standard", 1435),
        ("broad", None),
        (None, None),
        (1520.0, 1520),
        (True, None),
        ("5", None),
        ("9999", None),
    ],
)
def test_gauge_tags(tag: object, gauge: int | None) -> None:
    assert gauge_mm(tag) == gauge


@given(st.text())
def test_a_gauge_is_none_or_plausible(text: str) -> None:
    gauge = gauge_mm(text)
    assert gauge is None or 300 <= gauge <= 2200


@pytest.mark.parametrize(
    ("tags", "state"),
    [
        ({}, None),
        ({"highway": "primary"}, None),
        ({"railway": "rail"}, "rail"),
        ({"railway": "rail", "abandoned": "no"}, "rail"),
        ({"railway": "rail", "abandoned": "yes"}, "abandoned"),
        ({"railway": "construction", "construction": "rail"}, "construction"),
        ({"railway": "rail", "tunnel": "building_passage"}, "tunnel"),
        ({"railway": "platform"}, "platform"),
    ],
)
def test_track_states(tags: dict[str, str], state: str | None) -> None:
    assert track_state(tags) == state
