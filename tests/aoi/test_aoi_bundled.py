"""The bundled areas against the published figures that they were drawn from."""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from typing import Any

import pytest
import shapely
from shapely import Point

from aoi import area_names, check_area, load_area
from aoi import geodesy as ground
from aoi.draw import bundled_documents
from aoi.io import read_document


@pytest.fixture(params=area_names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def points(name: str) -> dict[str, Any]:
    path = load_area(name).path
    assert path is not None
    return {entry["id"]: (entry["lon"], entry["lat"]) for entry in read_document(path)["reference_points"]}


def test_the_files_are_what_the_drawing_makes(name: str) -> None:
    path = load_area(name).path
    assert path is not None
    assert read_document(path) == bundled_documents()[name]


def test_nothing_is_wrong_or_odd_with_them(name: str) -> None:
    assert check_area(name).problems == ()
    assert load_area(name).name == name


def test_no_track_is_invented(name: str) -> None:
    area = load_area(name)
    assert area.tracks == ()
    assert "no track lines" in area.limitations[0]


def test_every_feature_says_what_it_rests_on(name: str) -> None:
    area = load_area(name)
    features = bundled_documents()[name]["features"]
    assert all(len(feature["properties"]["basis"]) > 80 for feature in features)
    assert all(item.uncertainty_m for item in (*area.zones, *area.masks))
    assert all(source.title and source.used_for for source in area.sources)


def test_zones_lie_inside_with_room_for_their_error(name: str) -> None:
    area = load_area(name)
    plane = ground.local_metres(area.boundary)
    boundary = shapely.transform(area.boundary, plane.transform, interleaved=False)
    for zone in area.zones:
        outline = shapely.transform(zone.polygon, plane.transform, interleaved=False)
        assert boundary.buffer(1).covers(outline)
        if zone.id != "bridge-approach":  # which ends where the area does
            assert zone.uncertainty_m is not None
            assert boundary.exterior.distance(outline) > zone.uncertainty_m - 60


def test_the_station_is_as_far_from_the_bridge_as_measured() -> None:
    at = points("tumangang")
    distance, azimuth = ground.distance_m(at["tumangang-station"], at["mid-bridge"])
    assert distance == pytest.approx(2815, abs=15)
    assert azimuth == pytest.approx(104, abs=0.5)
    # the bridge's middle is the edge of the area, give or take the last hundred metres
    edge = load_area("tumangang").boundary.exterior.distance(Point(at["mid-bridge"]))
    assert 50 < edge * 111_320 * 0.738 < 150


def test_the_through_line_keeps_its_bearing() -> None:
    at = points("tumangang")
    _, azimuth = ground.distance_m(at["hongui-station"], at["tumangang-station"])
    assert azimuth == pytest.approx(94, abs=0.5)


def test_the_canopy_has_the_published_size_and_day() -> None:
    area = load_area("tumangang")
    (mask,) = area.masks
    corners = list(mask.polygon.exterior.coords)
    sides = sorted(ground.distance_m(a, b)[0] for a, b in pairwise(corners))
    assert sides == pytest.approx([26, 26, 348, 348], abs=0.1)
    assert mask.polygon.covers(Point(points("tumangang")["tumangang-station"]))
    assert not mask.active_on(date(2024, 12, 2))
    assert mask.active_on(date(2024, 12, 3))
    assert mask.active_on(date(2026, 11, 22))
    assert mask.uncertainty_m == 150
    (yard,) = (zone for zone in area.zones if zone.id == "station-yard")
    assert yard.polygon.covers(mask.polygon)


def test_the_freight_area_is_where_the_published_distances_meet() -> None:
    at = points("tumangang")
    zones = {zone.id: zone for zone in load_area("tumangang").zones}
    assert sorted(zones) == ["bridge-approach", "secured-freight-area", "station-yard"]
    middle = zones["secured-freight-area"].polygon.centroid
    from_station, _ = ground.distance_m(at["tumangang-station"], (middle.x, middle.y))
    to_bridge, _ = ground.distance_m((middle.x, middle.y), at["mid-bridge"])
    assert from_station == pytest.approx(1200, abs=500)
    assert 1000 - 500 < to_bridge < 2000
    assert not zones["station-yard"].polygon.intersects(zones["secured-freight-area"].polygon)


def test_both_published_positions_of_khasan_lie_in_its_yard() -> None:
    at = points("khasan")
    (yard,) = load_area("khasan").zones
    assert yard.polygon.covers(Point(at["khasan-station"]))
    assert yard.polygon.covers(Point(at["khasan-station-other"]))
    distance, azimuth = ground.distance_m(at["khasan-station"], at["khasan-station-other"])
    assert distance == pytest.approx(220, abs=5)
    assert azimuth == pytest.approx(172, abs=1)


def test_the_two_areas_share_no_ground() -> None:
    assert not load_area("khasan").boundary.intersects(load_area("tumangang").boundary)
