from __future__ import annotations

import dataclasses
from datetime import date
from itertools import pairwise

import numpy as np
import pyproj
import pytest
import rasterio.crs
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely import LineString, Polygon

from aoi import WGS84, AreaError, AreaOfInterest, Mask, Source, Track, Zone
from aoi import geodesy as ground


def make_area(lon: float = 130.61, lat: float = 42.42, azimuth: float = 94.0) -> AreaOfInterest:
    line = LineString([(lon - 0.005, lat), (lon, lat + 0.0005), (lon + 0.005, lat)])
    return AreaOfInterest(
        name="yard",
        title="Yard",
        boundary=ground.rectangle((lon, lat), azimuth, 3000.0, 1500.0),
        tracks=(Track("t1", line, 1520),),
        zones=(Zone("z1", "Zone", ground.rectangle((lon, lat), azimuth, 500.0, 100.0)),),
        masks=(Mask(ground.rectangle((lon, lat), azimuth, 348.0, 26.0), "roof", date(2024, 12, 3)),),
    )


places = st.tuples(st.floats(-175, 175), st.floats(-70, 70), st.floats(0, 180))


@given(places)
def test_a_ground_rectangle_has_the_size_asked_for_anywhere(place: tuple[float, float, float]) -> None:
    lon, lat, azimuth = place
    shape = ground.rectangle((lon, lat), azimuth, 348.0, 26.0)
    assert ground.area_m2(shape) == pytest.approx(348.0 * 26.0, rel=1e-4)
    corners = list(shape.exterior.coords)
    sides = sorted(ground.distance_m(a, b)[0] for a, b in pairwise(corners))
    assert sides == pytest.approx([26, 26, 348, 348], abs=0.01)
    long_side = max(pairwise(corners), key=lambda pair: ground.distance_m(*pair)[0])
    turn = (ground.distance_m(*long_side)[1] - azimuth + 90) % 180 - 90
    assert abs(turn) < 0.02


@given(places)
def test_to_crs_and_back_is_the_same_area(place: tuple[float, float, float]) -> None:
    area = make_area(*place)
    zone_number = int((place[0] + 180) // 6) + 1
    utm = area.to_crs((32600 if place[1] >= 0 else 32700) + zone_number)
    back = utm.to_crs(WGS84)
    for before, after in (
        (area.boundary, back.boundary),
        (area.tracks[0].line, back.tracks[0].line),
        (area.zones[0].polygon, back.zones[0].polygon),
        (area.masks[0].polygon, back.masks[0].polygon),
    ):
        # the cut edges only add vertices on the straight edges
        assert before.hausdorff_distance(after) < 1e-8
    assert utm.digest == area.digest == back.digest
    # metres on the map are metres on the ground, to the scale error of UTM
    assert utm.zones[0].polygon.area == pytest.approx(500 * 100, rel=0.003)


def test_to_crs_takes_every_kind_of_crs_and_keeps_the_rest() -> None:
    area = make_area()
    moved = [
        area.to_crs(crs)
        for crs in (32652, "EPSG:32652", pyproj.CRS(32652), rasterio.crs.CRS.from_epsg(32652))
    ]
    assert {item.crs for item in moved} == {"EPSG:32652"}
    assert len({item.boundary.wkb for item in moved}) == 1
    assert moved[0].masks[0].start == date(2024, 12, 3)
    assert moved[0].tracks[0].gauge_mm == 1520
    assert moved[0].boundary.bounds[0] == pytest.approx(631_000, abs=2000)


def test_long_edges_follow_the_map_of_degrees() -> None:
    box = shapely.box(130.0, 42.0, 131.0, 43.0)
    area = AreaOfInterest("wide", "Wide", box).to_crs(32652)
    to_utm = pyproj.Transformer.from_crs(WGS84, 32652, always_xy=True)
    middle = shapely.Point(to_utm.transform(130.5, 42.0))
    straight = Polygon([to_utm.transform(x, y) for x, y in box.exterior.coords])
    assert area.boundary.exterior.distance(middle) < 0.05
    assert straight.exterior.distance(middle) > 100


@pytest.mark.parametrize("crs", ["EPSG:0", "nonsense", 999999, None])
def test_an_unknown_crs_is_said(crs: object) -> None:
    with pytest.raises(AreaError, match="area yard can't be brought to the CRS"):
        make_area().to_crs(crs)


def test_a_crs_that_doesnt_reach_the_area_is_said() -> None:
    pole = make_area(lat=-89.0, azimuth=0.0)
    with pytest.raises(AreaError, match="isn't defined"):
        # an orthographic view from the north pole doesn't show the south pole
        pole.to_crs("+proj=ortho +lat_0=90 +lon_0=0 +datum=WGS84")


def test_masks_come_and_go_with_the_day() -> None:
    roof = Mask(shapely.box(0, 0, 1, 1), "roof", date(2024, 12, 3), date(2025, 5, 28))
    shed = Mask(shapely.box(2, 0, 3, 1), "shed")
    area = AreaOfInterest("yard", "Yard", shapely.box(0, 0, 3, 1), masks=(roof, shed))
    assert area.hidden_on(date(2024, 12, 2)).equals(shed.polygon)
    assert area.hidden_on(date(2024, 12, 3)).area == 2
    assert area.hidden_on(date(2025, 5, 28)).area == 2
    assert area.hidden_on(date(2025, 5, 29)).equals(shed.polygon)
    assert area.hidden_on(None).area == 2
    assert dataclasses.replace(area, masks=()).hidden_on(None).is_empty


def test_the_digest_follows_what_bears_on_a_count_only() -> None:
    area = make_area()
    same = [
        dataclasses.replace(area, title="Another title", sources=(Source("someone"),)),
        dataclasses.replace(area, boundary=shapely.reverse(area.boundary)),
        dataclasses.replace(area, boundary=shapely.MultiPolygon([area.boundary])),
        dataclasses.replace(area, tracks=(Track("t1", shapely.reverse(area.tracks[0].line), 1520),)),
        dataclasses.replace(area, masks=(dataclasses.replace(area.masks[0], reason="another word"),)),
    ]
    assert {item.digest for item in same} == {area.digest}
    nudged = shapely.transform(area.boundary, lambda x: x + np.array([1e-6, 0.0]))
    other = [
        dataclasses.replace(area, name="yard-2"),
        dataclasses.replace(area, boundary=nudged),
        dataclasses.replace(area, tracks=()),
        dataclasses.replace(area, tracks=(Track("t2", area.tracks[0].line, 1520),)),
        dataclasses.replace(area, tracks=(Track("t1", area.tracks[0].line, 1435),)),
        dataclasses.replace(area, zones=()),
        dataclasses.replace(area, masks=(dataclasses.replace(area.masks[0], start=None),)),
    ]
    digests = {item.digest for item in [area, *other]}
    assert len(digests) == len(other) + 1
    assert all(len(digest) == 64 for digest in digests)


def test_limitations_name_what_is_lost() -> None:
    area = make_area()
    assert area.limitations == ()
    bare = dataclasses.replace(area, tracks=())
    assert len(bare.limitations) == 1
    assert "no track lines" in bare.limitations[0]
    vague = dataclasses.replace(area, zones=(Zone("z", "Z", area.boundary, {"uncertainty_m": 250}),))
    assert "250 m off" in vague.limitations[0]


def test_a_source_reads_as_a_citation() -> None:
    source = Source("Atlas", url="https://example.org", licence="CC0", date="2020")
    assert str(source) == "Atlas (2020), https://example.org, CC0"
    assert str(Source("Atlas")) == "Atlas"
