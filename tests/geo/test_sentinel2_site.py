"""A yard in its own frame: directions, sampling, what lies where."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from dated_ground import LINES, OUTLINE, SHAPE, ground, site
from hypothesis import given, settings
from hypothesis import strategies as st

from aoi import AreaOfInterest, Mask, Track, Zone
from geo.grid import Grid
from geo.ground_metric import apply_affine
from geo.sentinel2.site import (
    MARGIN_CELLS,
    Site,
    TrackAlignedBands,
    along_and_across,
    draw_polygon,
    draw_tracks,
    frame_of,
    sample_nearest,
    shadow_of_a_metre,
)

UTM = 32652
angles = st.floats(-89.0, 89.0)


def turned_box(
    angle_deg: float, length: float = 50.0, width: float = 8.0, middle: tuple[float, float] = (60.3, 41.7)
) -> tuple[shapely.Polygon, shapely.LineString]:
    t = math.radians(angle_deg)
    turn = (math.cos(t), -math.sin(t), math.sin(t), math.cos(t), *middle)
    box = shapely.box(-length / 2, -width / 2, length / 2, width / 2)
    line = shapely.LineString([(-length / 2, 0), (length / 2, 0)])
    return shapely.affinity.affine_transform(box, turn), shapely.affinity.affine_transform(line, turn)


@given(angles)
@settings(max_examples=25)
def test_rows_run_along_the_tracks_whichever_way_they_are_drawn(angle):
    outline, line = turned_box(angle)
    frame = frame_of(outline, [line])
    assert frame.turn_deg == pytest.approx(angle, abs=1e-6)
    assert frame_of(outline, [shapely.reverse(line)]).turn_deg == pytest.approx(angle, abs=1e-6)
    a = frame.transform
    assert a.determinant == pytest.approx(1.0)
    assert (a.a, a.b) == pytest.approx((a.e, -a.d))
    # The outline lies inside with the margin all around, and the frame isn't larger than need be.
    x, y = apply_affine(~a, shapely.get_coordinates(outline)).T
    h, w = frame.shape
    for low, high, size in ((x.min(), x.max(), w), (y.min(), y.max(), h)):
        assert MARGIN_CELLS <= low + 1e-9 < MARGIN_CELLS + 1.001
        assert MARGIN_CELLS <= size - high + 1e-9 < MARGIN_CELLS + 1.001


@given(angles)
@settings(max_examples=20)
def test_without_tracks_the_long_side_gives_the_direction(angle):
    outline, _ = turned_box(angle)
    assert frame_of(outline, []).turn_deg == pytest.approx(angle, abs=1e-6)


@given(angles, st.floats(0, 500), st.floats(-300, 300))
@settings(max_examples=30)
def test_frame_and_grid_coordinates_go_there_and_back(angle, x, y):
    outline, line = turned_box(angle)
    frame = frame_of(outline, [line])
    there = apply_affine(~frame.transform, [(x, y)])
    assert apply_affine(frame.transform, there)[0] == pytest.approx((x, y), abs=1e-6)
    # Directions turn with the frame and keep their length.
    along, across = along_and_across(frame, 3.0, -4.0)
    assert math.hypot(along, across) == pytest.approx(5.0)
    moved = apply_affine(~frame.transform, [(x + 3.0, y - 4.0)]) - there
    assert moved[0] == pytest.approx((along, across), abs=1e-6)


@given(angles, st.floats(-1, 1), st.floats(-1, 1))
@settings(max_examples=8)
def test_an_even_slope_is_sampled_exactly(angle, dx, dy):
    rows, columns = np.mgrid[:110, :130] + 0.5
    plane = (0.1 + 0.002 * columns - 0.001 * rows).astype(np.float32)
    outline, line = turned_box(angle, 34.0, 6.0, (65.0, 55.0))
    frame = frame_of(outline, [line])
    values, known = TrackAlignedBands.of(np.stack([plane, 2 * plane])).sample(frame, dx, dy)
    x, y = frame.centres()
    far = known & (x > 15) & (x < 115) & (y > 15) & (y < 95)
    assert far.sum() > 500
    expected = 0.1 + 0.002 * (x + dx) - 0.001 * (y + dy)
    assert values[0][far] == pytest.approx(expected[far], abs=2e-6)
    assert values[1][far] == pytest.approx(2 * expected[far], abs=4e-6)
    assert np.isnan(values[:, ~known]).all()


def test_a_displaced_image_is_sampled_where_it_lies():
    frame = site().frame
    plain, known = TrackAlignedBands.of(ground(5)).sample(frame)
    moved, known_too = TrackAlignedBands.of(ground(5, (0.7, -1.3))).sample(frame, 0.7, -1.3)
    both = known & known_too
    assert both.mean() > 0.9
    error = (moved - plain)[:, both]
    assert np.sqrt((error**2).mean()) < 0.1 * plain[:, both].std()
    apart = np.stack([ground(5, (0.7, -1.3))[0], ground(5, (0.9, -1.2))[1]])
    laid, _ = TrackAlignedBands.of(apart).sample(frame, 0.7, -1.3, [(0.0, 0.0), (0.2, 0.1)])
    assert np.nanmax(np.abs(laid - plain[:2])) <= np.nanmax(np.abs(moved - plain)) * 1.5
    wrong, _ = TrackAlignedBands.of(ground(5, (0.7, -1.3))).sample(frame, -0.7, 1.3)
    assert np.sqrt(np.nanmean((wrong - plain)[:, both] ** 2)) > 5 * np.sqrt((error**2).mean())


def test_what_is_missing_in_any_band_stays_missing_and_doesnt_spread():
    image = ground(2)
    holed = image.copy()
    holed[1, 40:43, 50:53] = np.nan
    frame = Grid((30, 60), Affine(1, 0, 20, 0, 1, 30))
    whole, _ = TrackAlignedBands.of(image).sample(frame)
    values, known = TrackAlignedBands.of(holed).sample(frame)
    assert (~known).sum() == 9
    assert not known[10:13, 30:33].any()
    assert np.isnan(values[:, ~known]).all()
    assert values[0, known] == pytest.approx(whole[0, known], abs=1e-6)  # the other bands don't notice
    assert np.abs(values[1, known] - whole[1, known]).max() < 0.02
    nothing, seen = TrackAlignedBands.of(np.full((2, 40, 40), np.nan, np.float32)).sample(frame)
    assert not seen.any()
    assert np.isnan(nothing).all()


def test_outside_the_grid_nothing_is_known():
    frame = Grid((10, 12), Affine(1, 0, -5, 0, 1, -5))
    image = ground(1)
    values, known = TrackAlignedBands.of(image).sample(frame)
    assert known[5:, 5:].all()
    assert not known[:5].any()
    assert values[:, 5:, 5:] == pytest.approx(image[:, :5, :7], abs=1e-6)
    classes = np.arange(SHAPE[0] * SHAPE[1], dtype=np.int64).reshape(SHAPE) % 11 + 1
    nearest = sample_nearest(classes.astype(np.uint8), frame)
    assert (nearest[:5] == 0).all()
    assert (nearest[5:, 5:] == classes[:5, :7]).all()
    shifted = sample_nearest(classes.astype(np.uint8), frame, 2.0, 1.0)
    assert (shifted[5:, 5:] == classes[1:6, 2:9]).all()


@given(angles, st.floats(8.0, 60.0), st.floats(2.0, 12.0), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=30)
def test_polygons_keep_their_area(angle, length, width, dx, dy):
    outline, _ = turned_box(angle, length, width, (50 + dx, 40 + dy))
    frame = frame_of(outline, [])
    share = draw_polygon(outline, frame)
    assert share.min() >= 0
    assert share.max() <= 1
    # The outline is drawn on sub-cells of an eighth, those that it touches with it.
    assert -0.02 * outline.length < share.sum() - outline.area < 0.12 * outline.length + 0.2
    x, y = frame.centres()
    middle = np.average(x, weights=share), np.average(y, weights=share)
    assert middle == pytest.approx((outline.centroid.x, outline.centroid.y), abs=0.1)


def test_holes_and_parts():
    frame = Grid((40, 40), Affine.identity())
    ring = shapely.box(5, 5, 25, 25).difference(shapely.box(10, 10, 20, 20))
    share = draw_polygon(ring, frame)
    assert share[15, 15] == 0
    assert share[7, 15] == 1
    two = shapely.MultiPolygon([shapely.box(2, 2, 6, 6), shapely.box(30, 30, 36, 34)])
    share = draw_polygon(two, frame)
    assert share[4, 4] == share[32, 33] == 1
    assert share.sum() == pytest.approx(40.0, rel=0.2)
    assert draw_polygon(shapely.Polygon(), frame).sum() == 0


@given(angles, st.floats(10.0, 60.0))
@settings(max_examples=30)
def test_tracks_keep_their_length(angle, length):
    outline, line = turned_box(angle, length, 10.0)
    frame = frame_of(outline, [line])
    tracks = draw_tracks([line], frame)
    assert tracks.shape == (4, *frame.shape)
    width = tracks.mean(axis=0).sum() / (length + 0.5)  # cells; the ends are round
    assert 0.55 <= width <= 0.7


def test_quarters_say_where_in_its_cell_a_track_lies():
    frame = Grid((10, 10), Affine.identity())
    ul, ur, ll, lr = draw_tracks([shapely.LineString([(0, 4.25), (10, 4.25)])], frame)
    assert min(ul[4].min(), ur[4].min()) > 2 * max(ll.max(), lr.max())
    assert ul.sum() == ur.sum()
    ul, ur, ll, lr = draw_tracks([shapely.LineString([(4.75, 0), (4.75, 10)])], frame)
    assert min(ur[:, 4].min(), lr[:, 4].min()) > 2 * max(ul.max(), ll[:, 4].max())
    assert draw_tracks([], frame).sum() == 0


@given(angles, st.floats(0, 360), st.floats(10, 80))
@settings(max_examples=30)
def test_shadows_fall_away_from_the_sun(angle, azimuth, elevation):
    outline, line = turned_box(angle)
    frame = frame_of(outline, [line])
    along, across = shadow_of_a_metre(frame, azimuth, elevation)
    assert math.hypot(along, across) == pytest.approx(1 / math.tan(math.radians(elevation)))
    east = frame.transform.a * along + frame.transform.b * across
    south = frame.transform.d * along + frame.transform.e * across
    bearing = math.degrees(math.atan2(east, -south))
    assert (bearing - azimuth) % 360 == pytest.approx(180.0, abs=1e-6)


def test_a_sun_at_the_horizon_throws_no_endless_shadow():
    along, across = shadow_of_a_metre(site().frame, 180.0, -3.0)
    assert along == pytest.approx(0, abs=1e-9)
    assert across == pytest.approx(-1 / math.tan(math.radians(5.0)))


def test_wagons_count_near_tracks_inside_and_nothing_of_the_yard_places_a_date():
    one = site()
    assert one.region[one.tracks.max(axis=0) > 0].min() == 1
    x, y = one.frame.centres()
    away = np.min([shapely.distance(line, shapely.points(x, y)) for line in LINES], axis=0) * 10
    assert (one.region[away > 32] == 0).all()
    outside = shapely.distance(OUTLINE, shapely.points(x, y)) * 10
    assert (one.region[outside > 16] == 0).all()
    assert one.inside.sum() == pytest.approx(OUTLINE.area, rel=0.2)
    assert (one.yard == (one.region > 0)).all()
    assert not (one.yard & one.ring).any()
    assert one.ring.sum() > one.yard.sum()


def area(**more) -> AreaOfInterest:
    """The same yard on the ground, in longitude and latitude."""
    back = pyproj.Transformer.from_crs(UTM, "OGC:CRS84", always_xy=True)

    def place(shape):
        metres = shapely.transform(shape, lambda xy: xy * (10, -10) + (500_000, 4_700_000))
        return shapely.transform(metres, lambda x, y: back.transform(x, y), interleaved=False)

    values = {
        "boundary": place(OUTLINE),
        "tracks": tuple(Track(f"t{k}", place(line)) for k, line in enumerate(LINES)),
        "zones": (
            Zone("west", "West", place(shapely.box(30, 33.5, 52, 39.5))),
            Zone("east", "East", place(shapely.box(52, 33.5, 74, 39.5))),
        ),
        "masks": (
            Mask(place(shapely.box(40, 33, 50, 40)), "canopy", start=dt.date(2024, 3, 1)),
            Mask(place(shapely.box(60, 33, 65, 40)), "works", end=dt.date(2023, 12, 31)),
        ),
    }
    return AreaOfInterest("siding", "Siding", **(values | more))


def test_a_site_from_an_area():
    one = Site.of(area())
    assert one.has_tracks
    assert one.frame.turn_deg == pytest.approx(0.0, abs=0.1)
    assert one.boundary.sum() == pytest.approx(OUTLINE.area, rel=0.08)
    assert one.tracks.mean(axis=0).sum() == pytest.approx(3 * 43 * 0.63, rel=0.05)
    assert set(one.zones) == {"west", "east"}
    # The frame lies on the chip grid: its middle is the yard's.
    h, w = one.frame.shape
    x, y = apply_affine(one.frame.transform, [(w / 2, h / 2)])[0]
    east, north = one.grid.transform.c + 10 * x, one.grid.transform.f - 10 * y
    assert (east, north) == pytest.approx((500_520, 4_699_635), abs=8)


def test_zones_share_out_all_that_counts():
    one = Site.of(area())
    together = one.shares["west"] + one.shares["east"]
    assert together[one.region > 0] == pytest.approx(1.0, abs=1e-6)
    columns = np.arange(one.frame.shape[1]) - one.frame.shape[1] / 2
    assert (one.shares["west"][:, columns > 2] == 0).all()
    assert (one.shares["east"][:, columns < -2] == 0).all()
    # Half of the boundary in a zone is half of what counts.
    half = Site.of(area(zones=area().zones[:1]))
    assert (half.shares["west"] * half.region).sum() == pytest.approx(half.region.sum() / 2, rel=0.03)
    assert Site.of(area(zones=())).shares == {}


def test_without_tracks_the_whole_boundary_counts():
    one = Site.of(area(tracks=()))
    assert not one.has_tracks
    assert one.tracks.sum() == 0
    assert (one.region == one.boundary).all()
    assert (one.yard == (one.boundary > 0)).all()


def test_a_sliver_of_a_boundary_still_has_an_inside():
    back = pyproj.Transformer.from_crs(UTM, "OGC:CRS84", always_xy=True)
    sliver = shapely.LineString([(500_300, 4_699_642), (500_700, 4_699_671)]).buffer(1.5, cap_style="flat")
    one = Site.of(
        area(boundary=shapely.transform(sliver, lambda x, y: back.transform(x, y), interleaved=False))
    )
    assert one.boundary.max() < 0.5
    assert one.inside.any()


def test_masks_hide_on_their_days():
    one = Site.of(area())
    works, both = one.hidden(dt.date(2023, 6, 1)), one.hidden(dt.date(2024, 1, 15))
    canopy = one.hidden(dt.date(2024, 3, 1))
    assert works.sum() == pytest.approx(35, rel=0.15)
    assert both.sum() == 0
    assert canopy.sum() == pytest.approx(70, rel=0.1)
    assert (works * canopy).sum() == 0
    canopy[:] = 0  # what is handed out is the caller's own
    assert one.hidden(dt.date(2024, 5, 1)).sum() == pytest.approx(70, rel=0.1)
    assert site().hidden(dt.date(2024, 5, 1)).sum() == 0  # a site without an area
