from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import shapely
from area_files import (
    BOX,
    boundary,
    document,
    feature,
    full_document,
    line,
    mask,
    osm_pbf,
    overpass,
    track,
    write,
    zone,
)
from hypothesis import given
from hypothesis import strategies as st
from shapely import LineString, Polygon

from aoi import AreaError, load_area
from aoi import geodesy as ground
from aoi.check import check_document
from aoi.io import bundled_folder
from aoi.railway_lines import RailLine, Railways, clip
from aoi.track_import import import_tracks, with_tracks

AREA = shapely.box(*BOX)
OSM = ("openstreetmap", {"title": "© OpenStreetMap contributors", "licence": "ODbL"})


def railways(*lines: RailLine, origin: str = "openstreetmap") -> Railways:
    return Railways(origin, {"title": f"credit of {origin}"}, lines, {})


coordinate = st.tuples(st.floats(130.58, 130.64), st.floats(42.40, 42.43))
lines = st.lists(coordinate, min_size=2, max_size=8).map(LineString).filter(lambda item: item.length > 1e-4)
# Convex outlines of any slant inside the same window: their edges lie on no round number.
outlines = st.lists(coordinate, min_size=3, max_size=8).map(
    lambda xy: shapely.convex_hull(shapely.MultiPoint(xy))
)
boundaries = outlines.filter(lambda hull: isinstance(hull, Polygon) and hull.area > 1e-6 and hull.is_valid)


@given(lines, boundaries)
def test_clipping_keeps_tracks_inside_and_whole(course: LineString, edge: Polygon) -> None:
    parts = list(clip([RailLine("x", course, 1520, {"a": 1})], edge))
    kept = sum(ground.length_m(part.line) for part in parts)
    # a course may run over itself, where a whole intersection would count once
    inside = sum(ground.length_m(LineString(pair).intersection(edge)) for pair in pairwise(course.coords))
    # rounding to a centimetre a vertex; stretches under a metre are dropped
    assert kept == pytest.approx(inside, abs=0.03 * len(course.coords) + 1.0 * len(course.coords))
    grown = edge.buffer(2e-7, join_style="mitre")
    assert all(grown.covers(part.line) for part in parts)
    assert all(part.gauge_mm == 1520 and part.properties == {"a": 1} for part in parts)
    assert len({part.id for part in parts}) == len(parts)
    starts = [course.project(shapely.Point(part.line.coords[0])) for part in parts]
    if course.is_simple:
        assert starts == sorted(starts)


@given(lines, boundaries)
def test_what_was_clipped_passes_the_check_and_comes_again_the_same(
    course: LineString, edge: Polygon
) -> None:
    ring = [list(position) for position in edge.exterior.coords]
    home = document(feature("boundary", {"type": "Polygon", "coordinates": [ring]}))
    changed, added, _ = with_tracks(home, edge, [railways(RailLine("x", course))])
    assert check_document(changed).errors == ()
    again, _, replaced = with_tracks(changed, edge, [railways(RailLine("x", course))])
    assert again == changed
    assert replaced == len(added)


def test_one_part_keeps_the_id_and_several_are_numbered_along_the_line() -> None:
    zigzag = LineString(
        [(130.59, 42.412), (130.61, 42.412), (130.63, 42.413), (130.61, 42.414), (130.59, 42.414)]
    )
    parts = list(clip([RailLine("osm-5", zigzag)], AREA))
    assert [part.id for part in parts] == ["osm-5-1", "osm-5-2"]
    assert parts[0].line.coords[0] == (130.6, 42.412)
    assert parts[1].line.coords[-1] == (130.6, 42.414)
    (whole,) = clip([RailLine("osm-6", LineString([(130.605, 42.415), (130.63, 42.415)]))], AREA)
    assert whole.id == "osm-6"
    # a line that crosses itself is one part, not three
    loop = LineString(
        [(130.602, 42.412), (130.61, 42.416), (130.61, 42.412), (130.602, 42.416), (130.59, 42.416)]
    )
    assert [part.id for part in clip([RailLine("osm-7", loop)], AREA)] == ["osm-7"]


def test_lines_that_only_touch_leave_nothing() -> None:
    corner = LineString([(130.59, 42.42), (130.61, 42.43)])
    touching = LineString([(130.59, 42.42), (130.60, 42.42), (130.60, 42.43)])
    assert list(clip([RailLine("a", corner), RailLine("a", touching)], AREA)) == []


def test_an_import_leaves_all_else_as_it_is(tmp_path: Path) -> None:
    own = {**full_document(), "reference_points": [1, 2], "title": "두만강"}
    own["features"][2]["properties"]["remark"] = {"kept": True}
    path = write(tmp_path / "yard.geojson", own)
    before = json.loads(path.read_text("utf-8"))
    done = import_tracks(path, [osm_pbf(tmp_path / "a.osm.pbf")])
    after = json.loads(path.read_text("utf-8"))
    assert (done.added, done.replaced, done.kept) == (3, 0, 1)
    assert done.out == done.base == path
    assert done.left_out == {"abandoned": 1, "disused": 1}
    assert after["features"][:4] == before["features"]
    assert {key: after[key] for key in ("reference_points", "title", "name")} == {
        key: before[key] for key in ("reference_points", "title", "name")
    }
    assert after["sources"][0] == before["sources"][0]
    assert after["sources"][1]["licence"].startswith("Open Database License")
    area = load_area(path)
    assert [item.id for item in area.tracks] == ["t1", "osm-101", "osm-102", "osm-107"]
    assert area.tracks[1].gauge_mm == 1520
    assert area.digest == done.area.digest
    assert done.length_m == pytest.approx(sum(ground.length_m(item.line) for item in area.tracks[1:]))
    # the main line runs 2.5 km beyond the area on both sides
    assert ground.length_m(area.tracks[1].line) == pytest.approx(1648, abs=10)


def test_a_second_import_replaces_the_first_of_its_origin(tmp_path: Path) -> None:
    path = write(tmp_path / "yard.geojson", document(boundary(), track("drawn"), zone(), mask()))
    osm = osm_pbf(tmp_path / "a.osm.pbf")
    traced = write(
        tmp_path / "traced.geojson",
        {
            "type": "FeatureCollection",
            "features": [feature(None, line((130.603, 42.411), (130.617, 42.411)))],
        },
    )
    import_tracks(path, [osm])
    import_tracks(path, [traced])
    once = path.read_text()
    assert [item.id for item in load_area(path).tracks][:1] == ["drawn"]
    assert len(load_area(path).tracks) == 5
    done = import_tracks(path, [osm])
    assert (done.added, done.replaced, done.kept) == (3, 3, 2)
    import_tracks(path, [traced])
    assert path.read_text() == once
    # a newer extract under another name is the same origin
    newer = overpass(tmp_path / "b.json", ways=[(102, [5, 6], {"railway": "rail"})])
    done = import_tracks(path, [newer])
    assert (done.added, done.replaced, done.kept) == (1, 3, 2)
    titles = [source.title for source in done.area.sources]
    assert titles == ["drawn for a test", "Track lines from traced.geojson", "© OpenStreetMap contributors"]
    assert done.area.sources[2].date == "2026-11-01T00:00:00Z"


def test_two_extracts_that_share_a_way_bring_it_once(tmp_path: Path) -> None:
    path = write(tmp_path / "yard.geojson", document(boundary()))
    west = overpass(tmp_path / "w.json", ways=[(1, [1, 2, 3, 4], {"railway": "rail"})])
    east = overpass(
        tmp_path / "e.json", ways=[(1, [1, 2, 3, 4], {"railway": "rail"}), (2, [5, 6], {"railway": "rail"})]
    )
    done = import_tracks(path, [west, east])
    assert [item.id for item in done.area.tracks] == ["osm-1", "osm-2"]
    credits = [source.used_for for source in done.area.sources[1:]]
    assert credits == ["track lines, from w.json", "track lines, from e.json"]


def test_a_bundled_area_goes_to_a_copy_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    packaged = (bundled_folder() / "tumangang.geojson").read_bytes()
    osm = osm_pbf(tmp_path / "a.osm.pbf")
    done = import_tracks("tumangang", [osm])
    assert done.out == Path("tumangang.geojson")
    assert done.base != done.out
    assert len(load_area("tumangang.geojson").tracks) == 3
    assert load_area("tumangang").tracks == ()
    # an own line drawn into the copy stays at the next import
    copy = json.loads(Path("tumangang.geojson").read_text("utf-8"))
    copy["features"].append(track("own"))
    write(Path("tumangang.geojson"), copy)
    again = import_tracks("tumangang", [osm])
    assert again.base == again.out
    assert (again.replaced, again.kept) == (3, 1)
    elsewhere = import_tracks("tumangang", [osm], out=tmp_path / "other.geojson")
    assert (elsewhere.added, elsewhere.kept) == (3, 0)
    assert (bundled_folder() / "tumangang.geojson").read_bytes() == packaged


def test_nothing_is_written_over_what_it_shouldnt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    osm = osm_pbf(tmp_path / "a.osm.pbf")
    foreign = write(tmp_path / "khasan.geojson", full_document())
    before = foreign.read_bytes()
    with pytest.raises(AreaError, match=r"khasan\.geojson: is another area \(test-yard\)"):
        import_tracks("khasan", [osm])
    assert foreign.read_bytes() == before
    bundled = bundled_folder() / "tumangang.geojson"
    packaged = bundled.read_bytes()
    with pytest.raises(AreaError, match="is a bundled area, which isn't changed"):
        import_tracks(bundled, [osm])
    with pytest.raises(AreaError, match="is a bundled area, which isn't changed"):
        import_tracks(foreign, [osm], out=bundled)
    assert bundled.read_bytes() == packaged


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda folder: overpass(folder / "a.json", ways=[(1, [7, 8], {"railway": "rail"})]),
            "no working railway",
        ),
        (
            lambda folder: overpass(folder / "a.json", ways=[(1, [5, 6], {"railway": "razed"})]),
            "no working railway",
        ),
        (
            lambda folder: write(
                folder / "a.geojson",
                {"type": "FeatureCollection", "features": [feature(None, line((1.0, 1.0), (2.0, 2.0)))]},
            ),
            "no line lies within the boundary of test-yard",
        ),
        (lambda folder: folder / "none.osm", "there is no such file"),
    ],
)
def test_an_import_that_finds_nothing_changes_nothing(tmp_path: Path, make: Any, message: str) -> None:
    path = write(tmp_path / "yard.geojson", full_document())
    before = path.read_bytes()
    with pytest.raises(AreaError, match=message):
        import_tracks(path, [make(tmp_path)])
    assert path.read_bytes() == before
    assert not [entry for entry in tmp_path.iterdir() if entry.name.startswith(".")]


def test_an_id_that_a_drawn_track_has_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "yard.geojson", document(boundary(), track("osm-102")))
    with pytest.raises(AreaError, match="the track id 'osm-102' is taken already, by feature 2"):
        import_tracks(path, [overpass(tmp_path / "a.json")])
