from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
from area_files import (
    BOX,
    boundary,
    document,
    feature,
    full_document,
    line,
    mask,
    polygon,
    track,
    write,
    zone,
)
from hypothesis import given
from hypothesis import strategies as st

from aoi import AreaError, check_area, load_area
from aoi.check import check_document, slugify

BOW_TIE = {
    "type": "Polygon",
    "coordinates": [[[130.60, 42.41], [130.62, 42.42], [130.62, 42.41], [130.60, 42.42], [130.60, 42.41]]],
}
UTM_BOX = polygon(631000.0, 4697000.0, 634000.0, 4699000.0)
CRS84 = {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}
MERCATOR = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::3857"}}


def errors(content: Any) -> list[str]:
    return [str(problem) for problem in check_document(content).errors]


def test_a_right_document_has_no_problem() -> None:
    result = check_document(full_document())
    assert result.problems == ()
    assert result.area is not None
    area = result.area
    assert (area.name, area.title, area.crs) == ("test-yard", "Test yard", "OGC:CRS84")
    assert area.tracks[0].gauge_mm == 1520
    assert str(area.masks[0].start) == "2024-12-03"
    assert str(area.masks[0].end) == "2025-05-28"
    assert [str(source) for source in area.sources] == ["drawn for a test"]


FAULTS: dict[str, tuple[Any, str]] = {
    "list": ([], "no GeoJSON object, not a FeatureCollection"),
    "bare polygon": (polygon(*BOX), "a GeoJSON Polygon, not a FeatureCollection"),
    "no features": (document(), "has no boundary"),
    "features no list": ({**document(), "features": {}}, "no list of features"),
    "no boundary": (document(track()), "has no boundary"),
    "two boundaries": (document(boundary(), boundary()), r"2 boundaries \(features 1 and 2\)"),
    "declared crs": (document(boundary(), crs=MERCATOR), "EPSG::3857.*reproject it to EPSG:4326"),
    "linked crs": (document(boundary(), crs={"type": "link"}), "form that can't be read"),
    "metres": (document(feature("boundary", UTM_BOX)), r"\(631000, 4.697e\+06\), which are no degrees"),
    "swapped": (document(feature("boundary", polygon(42.41, 130.6, 42.42, 130.62))), "longitude first"),
    "bow tie": (document(feature("boundary", BOW_TIE)), r"crosses itself at \(130.610000, 42.415000\)"),
    "track leaves": (
        document(boundary(), track("out", (130.61, 42.415), (130.63, 42.415))),
        r"the track 'out' reaches 8\d\d m outside the boundary",
    ),
    "track elsewhere": (document(boundary(), track("far", (10.0, 50.0), (10.1, 50.0))), "lies outside"),
    "zone leaves": (
        document(boundary(), feature("zone", polygon(130.59, 42.41, 130.61, 42.42), id="z", title="Z")),
        "the zone 'z' reaches 8.. m outside",
    ),
    "same track twice": (document(boundary(), track("a"), track("a")), "'a' is taken already, by feature 2"),
    "number and text id": (document(boundary(), track("7"), track(7)), "'7' is taken already"),  # type: ignore[arg-type]
    "same zone twice": (document(boundary(), zone("z"), zone("z")), "zone id 'z' is taken"),
    "unknown role": (document(boundary(), feature("tracks", line((130.61, 42.41)))), "did you mean 'track'"),
    "odd role": (document(boundary(), feature("gantry", None)), "a role is boundary, track, zone or mask"),
    "no role": (document(boundary(), feature(None, polygon(*BOX))), "feature 2: has no role"),
    "role of another type": (document(boundary(), feature(["zone"], None)), "unknown role"),  # type: ignore[arg-type]
    "no properties": (document({"type": "Feature", "geometry": polygon(*BOX)}), "has no role"),
    "no feature": (document(boundary(), {"type": "Polygon"}), "feature 2: is no GeoJSON Feature"),
    "track without id": (document(boundary(), track("")), "the track has no id"),
    "odd id": (document(boundary(), track(1.5)), "neither text nor a whole number"),  # type: ignore[arg-type]
    "zone as line": (
        document(boundary(), feature("zone", line((130.61, 42.41)), id="z")),
        "zone needs a Polygon",
    ),
    "no geometry": (document(feature("boundary", None)), "this one has none"),
    "track in parts": (
        document(boundary(), feature("track", {"type": "MultiLineString", "coordinates": []}, id="m")),
        "split it, one feature a line",
    ),
    "no positions": (document(feature("boundary", {"type": "Polygon"})), "broken geometry"),
    "text positions": (
        document(feature("boundary", {"type": "Polygon", "coordinates": [[["a", "b"]] * 4]})),
        "broken geometry",
    ),
    "empty polygon": (
        document(feature("boundary", {"type": "Polygon", "coordinates": []})),
        "empty geometry",
    ),
    "two positions": (
        document(feature("boundary", {"type": "Polygon", "coordinates": [[[1, 2], [3, 4]]]})),
        "broken geometry",
    ),
    "infinite": (
        document(feature("boundary", polygon(1.0, 1.0, float("inf"), 2.0))),
        "coordinates that are no",
    ),
    "point track": (
        document(boundary(), track("p", (130.61, 42.415), (130.61, 42.415))),
        "no valid LineString",
    ),
    "gauge in metres": (document(boundary(), track(gauge_mm=1.52)), "whole number of millimetres"),
    "gauge as text": (document(boundary(), track(gauge_mm="1520")), "whole number of millimetres"),
    "gauge true": (document(boundary(), track(gauge_mm=True)), "whole number of millimetres"),
    "date in words": (document(boundary(), mask(**{"from": "December 2024"})), "no date like 2024-12-03"),
    "no such day": (document(boundary(), mask(to="2023-02-29")), "'to' = '2023-02-29'"),
    "week date": (document(boundary(), mask(to="2023-W05-1")), "no date like"),
    "year": (document(boundary(), mask(to=2024)), "no date like"),
    "dates reversed": (
        document(boundary(), mask(**{"from": "2025-01-01", "to": "2024-01-01"})),
        r"ends \(2024-01-01\) before it starts",
    ),
    "mask without reason": (document(boundary(), mask(reason=" ")), "the mask has no reason"),
    "odd uncertainty": (document(boundary(), zone(uncertainty_m="much")), "which is no distance"),
    "negative uncertainty": (document(boundary(), zone(uncertainty_m=-1)), "which is no distance"),
    "name of another type": (document(boundary(), name=3), "a name that is no text"),
    "name without letters": (document(boundary(), name="두만강"), "no name that can be made a slug"),
    "title of another type": (document(boundary(), title=[]), "a title that is no text"),
    "sources no list": (document(boundary(), sources="me"), "sources that are no list"),
    "source without title": (document(boundary(), sources=[{"url": "x"}]), r"source \(number 1\)"),
}


@pytest.mark.parametrize(("content", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_each_fault_is_named(content: Any, message: str) -> None:
    result = check_document(content)
    assert result.area is None
    found = errors(content)
    assert re.search(message, found[0]), found
    assert "\n" not in "".join(found)


def test_all_faults_are_found_at_once() -> None:
    content = document(
        boundary(),
        track("a", (130.61, 42.415), (130.63, 42.415)),
        track("a"),
        zone(title=None, uncertainty_m="?"),
        mask(reason=None, to="soon"),
        feature("gantry", None),
    )
    result = check_document(content)
    assert len(result.errors) == 6
    assert [problem.feature for problem in result.errors] == [6, 2, 3, 4, 5, 5]
    assert [problem.message for problem in result.warnings] == ["the zone 'z1' has no title: its id is used"]


def test_a_swapped_track_is_recognised_where_its_numbers_are_in_range() -> None:
    home = feature("boundary", polygon(44.0, 42.0, 46.0, 43.0))
    content = document(home, track("s", (42.5, 45.0), (42.6, 45.0)))
    assert errors(content) == [
        "feature 2: the track 's' has latitude and longitude exchanged: GeoJSON wants longitude first"
    ]


@pytest.mark.parametrize("member", [None, CRS84, {"type": "name", "properties": {"name": "EPSG:4326"}}])
def test_wgs84_may_be_declared(member: object) -> None:
    assert check_document(document(boundary(), crs=member)).area is not None


def test_nulls_of_a_table_are_missing_values() -> None:
    """QGIS writes every column of the layer into every feature."""
    columns: dict[str, Any] = dict.fromkeys(
        ("id", "title", "gauge_mm", "reason", "from", "to", "uncertainty_m")
    )
    content = document(
        feature("boundary", polygon(*BOX), **columns),
        feature(
            "track", line((130.602, 42.415), (130.618, 42.416)), **{**columns, "id": 1, "gauge_mm": 1520.0}
        ),
    )
    result = check_document(content)
    assert result.problems == ()
    assert result.area is not None
    assert (result.area.tracks[0].id, result.area.tracks[0].gauge_mm) == ("1", 1520)


def test_heights_are_dropped_and_the_id_may_stand_on_the_feature() -> None:
    course = {"type": "LineString", "coordinates": [[130.602, 42.415, 12.0], [130.618, 42.416, 13.0]]}
    content = document(boundary(), {**feature("track", course), "id": "t9"})
    area = check_document(content).area
    assert area is not None
    assert area.tracks[0].id == "t9"
    assert not area.tracks[0].line.has_z


def test_what_is_odd_is_a_warning() -> None:
    parallel = track("b", (130.602, 42.415005), (130.618, 42.416005))
    away = feature("mask", polygon(131.0, 42.0, 131.1, 42.1), reason="a roof")
    content = document(
        boundary(),
        track("a"),
        parallel,
        zone("z1"),
        zone("z2", title=""),
        away,
        name="Test Yard!",
        title=None,
        sources=[],
    )
    result = check_document(content)
    assert result.area is not None
    text = " / ".join(problem.message for problem in result.problems)
    assert all(problem.level == "warning" for problem in result.problems)
    for words in (
        "'Test Yard!', which is no slug: 'test-yard' is used",
        "has no title",
        "names no sources",
        "the mask 'a roof' lies outside the boundary and hides nothing",
        "zones 'z1' and 'z2' overlap",
        "tracks 'a' and 'b' within 2 m of each other over 13",
    ):
        assert words in text, text
    assert result.area.title == "Test yard"


@pytest.mark.parametrize(("size", "words"), [(1e-5, "less than a rail yard"), (2.0, "more than a rail yard")])
def test_an_odd_size_is_a_warning(size: float, words: str) -> None:
    content = document(feature("boundary", polygon(130.0, 42.0, 130.0 + size, 42.0 + size)))
    (warning,) = check_document(content).warnings
    assert words in warning.message


def test_tracks_that_meet_at_a_switch_are_no_doubles() -> None:
    branch = track("b", (130.610, 42.4155), (130.618, 42.4165))
    assert check_document(document(boundary(), track("a"), branch)).problems == ()


def test_a_missing_name_is_taken_from_the_file(tmp_path: Path) -> None:
    content = document(boundary())
    del content["name"]
    result = check_area(write(tmp_path / "North Yard_2.geojson", content))
    assert result.area is not None
    assert result.area.name == "north-yard-2"
    assert "'north-yard-2' is used, after the file" in str(result.warnings[0])


# A value of any JSON type.
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-200, 200) | st.floats(-200, 200) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
def test_no_document_breaks_the_check(data: st.DataObject) -> None:
    """Any member of a right document may hold anything: the answer is an area or an error."""
    content: Any = copy.deepcopy(full_document())
    holder: Any = content
    while True:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = data.draw(st.sampled_from(keys))
        deeper = isinstance(holder[key], dict | list) and holder[key] and data.draw(st.booleans())
        if not deeper:
            break
        holder = holder[key]
    holder[key] = data.draw(json_values)
    result = check_document(content, Path("fuzz.geojson"))
    assert (result.area is None) == bool(result.errors)


@given(st.text())
def test_a_slug_stays_a_slug(text: str) -> None:
    slug = slugify(text)
    assert slugify(slug) == slug
    assert set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_loading_raises_the_first_fault_with_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.geojson", document(track("")))
    with pytest.raises(AreaError) as caught:
        load_area(path)
    assert str(caught.value).startswith(f"{path}: ")
