"""Track lines out of drawn evidence: straight, curved, side by side, with ladders, and none where none is."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from aoi import AreaOfInterest
from aoi.geodesy import distance_m
from geo.tracks import (
    Evidence,
    FitRules,
    PlaneGrid,
    Sightings,
    TrackObservation,
    combine,
    fit_centre_lines,
)
from geo.tracks.evidence import align, line_layer
from geo.tracks.polylines import beside, resampled, runs, smoothed, stations
from geo.tracks.ridges import find_ridges, trace

AREA = AreaOfInterest("yard", "Yard", shapely.box(8.5, 47.4, 8.503, 47.402))
SIZE = (140, 200)


def grid(shape: tuple[int, int] = SIZE) -> PlaneGrid:
    return replace(PlaneGrid.around(AREA), shape=shape)


def drawn(lines: list[np.ndarray], shape: tuple[int, int] = SIZE, width_m: float = 3.2) -> np.ndarray:
    """The map that a good network would give of lines, on cells of 1 m."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    apart = shapely.distance(
        shapely.points(np.column_stack([x.ravel(), y.ravel()])), shapely.MultiLineString(lines)
    )
    return np.clip((width_m / 2 + 0.5 - apart).reshape(shape), 0.0, 1.0).astype(np.float32)


def evidence_of(lines: list[np.ndarray], sightings: Sightings | None = None, high: float = 0.9) -> Evidence:
    seen = np.ones(SIZE, bool)
    return combine(grid(), [TrackObservation(sightings or Sightings.none(), high * drawn(lines), seen)])


def straight(angle_deg: float, aside_m: float = 0.0, length_m: float = 400.0) -> np.ndarray:
    """A line through the middle of the map, or beside it."""
    way = np.array([math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))])
    middle = np.array([SIZE[1] / 2, SIZE[0] / 2]) + aside_m * np.array([-way[1], way[0]])
    return middle + np.linspace(-length_m / 2, length_m / 2, 100)[:, None] * way


def arc(radius_m: float, aside_m: float = 0.0) -> np.ndarray:
    """A curve across the map."""
    turn = np.linspace(-1.2, 1.2, 400) * min(1.0, 200.0 / radius_m)
    far = radius_m + aside_m
    return np.column_stack([SIZE[1] / 2 + far * np.sin(turn), 70.0 + radius_m - far * np.cos(turn)])


def string(line: np.ndarray, observation: int = 0, start_m: float = 30.0, count: int = 8) -> Sightings:
    """Wagons of 13 m, 15 m apart, on a line."""
    path = shapely.LineString(line)
    at = start_m + 15.0 * np.arange(count)
    ends = [
        shapely.get_coordinates(shapely.line_interpolate_point(path, at + step)) for step in (-6.5, 0, 6.5)
    ]
    way = ends[2] - ends[0]
    return Sightings(
        ends[1],
        np.arctan2(way[:, 1], way[:, 0]) % math.pi,
        np.full(count, 13.0),
        np.full(count, 0.95),
        np.full(count, observation),
    )


def apart(line: np.ndarray, others: list[np.ndarray]) -> np.ndarray:
    """How far the points of a line lie from the nearest of others."""
    return np.asarray(shapely.distance(shapely.points(line), shapely.MultiLineString(others)))


def shown(lines: list[np.ndarray]) -> shapely.Geometry:
    """The parts of lines on the map."""
    return shapely.MultiLineString(lines).intersection(shapely.box(0, 0, SIZE[1], SIZE[0]))


def covered(true: list[np.ndarray], found: list[np.ndarray], reach_m: float) -> float:
    """Share of the true lines near a found one."""
    parts = shown(true)
    if not found:
        return 0.0
    return float(parts.intersection(shapely.MultiLineString(found).buffer(reach_m)).length / parts.length)


# -- lines ---------------------------------------------------------------------------------------------


@settings(max_examples=5)
@given(angle=st.floats(0, 180), aside=st.floats(-3, 3))
def test_a_straight_track_is_one_line_on_its_middle(angle, aside):
    true = [straight(angle, aside)]
    found = fit_centre_lines(evidence_of(true))
    assert len(found) == 1
    assert apart(found[0].xy, true).max() < 0.5
    assert covered(true, [found[0].xy], 0.5) > 0.9


@settings(max_examples=4)
@given(radius=st.floats(170, 1500))
def test_a_curve_is_one_line(radius):
    true = [arc(radius)]
    found = fit_centre_lines(evidence_of(true))
    assert len(found) == 1
    assert apart(found[0].xy, true).max() < 0.6
    assert covered(true, [found[0].xy], 0.6) > 0.9


@settings(max_examples=4)
@given(angle=st.floats(0, 180), count=st.integers(2, 7))
def test_tracks_side_by_side_are_a_line_each(angle, count):
    true = [straight(angle, 4.6 * (number - (count - 1) / 2)) for number in range(count)]
    found = fit_centre_lines(evidence_of(true))
    assert len(found) == count
    nearest = {int(np.argmin([apart(line.xy, [one]).mean() for one in true])) for line in found}
    assert len(nearest) == count
    assert max(apart(line.xy, true).max() for line in found) < 0.7


@pytest.mark.parametrize("radius", [250.0, 800.0])
def test_curves_side_by_side_dont_change_tracks(radius):
    true = [arc(radius, 4.6 * number) for number in range(4)]
    found = fit_centre_lines(evidence_of(true))
    assert len(found) == 4
    for line in found:
        assert min(apart(line.xy, [one]).max() for one in true) < 0.8


def ladder() -> list[np.ndarray]:
    """Five tracks drawn together by a lead at 1 in 8."""
    along = np.arange(-200.0, 200.0, 2.0)
    lines = []
    for number in range(5):
        aside = np.minimum(4.8 * number, np.maximum(0.0, (40.0 - along) / 8))
        aside = np.convolve(np.pad(aside, 6, mode="edge"), np.ones(13) / 13, mode="valid")
        lines.append(np.column_stack([SIZE[1] / 2 + along, 50.0 + aside]))
    return lines


def test_a_ladder_gives_lines_where_tracks_are_told_apart_and_none_beside_them():
    true = ladder()
    found = [line.xy for line in fit_centre_lines(evidence_of(true))]
    assert max(np.quantile(apart(line, true), 0.9) for line in found) < 0.9
    assert covered(true, found, 1.5) > 0.85


def test_wagons_alone_make_a_line_and_draw_it_together_over_several_observations():
    true = [straight(25.0), straight(25.0, 4.6)]
    observations = [
        TrackObservation(string(true[0], count=9, start_m=110.0 + 2 * number)) for number in range(2)
    ] + [TrackObservation(string(true[1], count=9, start_m=125.0))]
    found = fit_centre_lines(combine(grid(), observations))
    assert len(found) == 2
    assert max(apart(line.xy, true).max() for line in found) < 0.5
    longest = max(found, key=lambda line: line.sightings)
    assert (longest.sightings, longest.observations, longest.likelihood) == (18, (0, 1), None)
    assert longest.scatter_m is not None
    assert longest.uncertainty_m < 1.2
    assert longest.uncertainty_m < min(found, key=lambda line: line.sightings).uncertainty_m


def test_the_map_fills_in_between_two_strings():
    true = [straight(10.0)]
    wagons = Sightings.joined(
        [string(true[0], start_m=112.0, count=4), string(true[0], start_m=238.0, count=4)]
    )
    plateau = 0.6 * drawn(true, width_m=16.0)
    alone = fit_centre_lines(combine(grid(), [TrackObservation(wagons)]), FitRules(group_m=30.0))
    together = fit_centre_lines(combine(grid(), [TrackObservation(wagons, plateau, np.ones(SIZE, bool))]))
    assert len(alone) == 2
    assert len(together) == 1
    assert together[0].bridged_share > 0.2
    assert apart(together[0].xy, true).max() < 1.0


def test_wagons_say_where_on_a_blurred_map_the_track_is():
    true = [straight(70.0, 1.2)]
    blurred = 0.7 * drawn([straight(70.0)], width_m=6.0)
    wagons = string(true[0], start_m=130.0, count=10)
    found = fit_centre_lines(combine(grid(), [TrackObservation(wagons, blurred, np.ones(SIZE, bool))]))
    assert len(found) == 1
    under = found[0].xy[np.abs(found[0].xy[:, 1] - 70) < 40]
    assert apart(under, true).max() < 0.8


# -- what is no track ----------------------------------------------------------------------------------


def test_nothing_gives_nothing():
    assert fit_centre_lines(evidence_of([straight(0.0)], high=0.0)) == []
    assert fit_centre_lines(combine(grid(), [TrackObservation(Sightings.none())])) == []


def test_noise_is_no_track():
    noise = np.random.default_rng(3).uniform(0.0, 0.6, SIZE).astype(np.float32)
    assert (
        fit_centre_lines(combine(grid(), [TrackObservation(Sightings.none(), noise, np.ones(SIZE, bool))]))
        == []
    )


def test_a_short_row_apart_from_the_railway_is_left_out():
    true = [straight(0.0, -50.0)]
    row = straight(0.0, 50.0, length_m=50.0)
    assert len(fit_centre_lines(evidence_of([*true, row], high=0.7))) == 1


def test_wagons_of_one_observation_among_many_make_no_line():
    true = straight(0.0)
    mistake = straight(0.0, 9.0)
    observations = [TrackObservation(string(true, start_m=90.0 + number, count=10)) for number in range(5)]
    observations[2] = TrackObservation(
        Sightings.joined([observations[2].sightings, string(mistake, start_m=95.0, count=9)])
    )
    found = fit_centre_lines(combine(grid(), observations))
    assert len(found) == 1
    assert apart(found[0].xy, [true]).max() < 0.5


def test_a_line_sharper_than_any_railway_is_cut():
    corner = np.array([[10.0, 10.0], [120.0, 70.0], [10.0, 130.0]])
    for line in fit_centre_lines(evidence_of([corner])):
        turn = np.diff(np.unwrap(2 * np.arctan2(*np.diff(line.xy, axis=0)[:, ::-1].T)) / 2)
        assert abs(turn.sum()) < 0.6


# -- several observations
# -------------------------------------------------------------------------------------


def test_observations_are_moved_over_each_other_across_the_tracks():
    lines = [straight(0.0, 4.6 * number) for number in range(3)]
    base = Sightings.joined([string(line, start_m=90.0, count=9) for line in lines])
    off = [np.array([0.0, 0.0]), np.array([0.0, 1.6]), np.array([0.0, -1.0])]
    layers = [line_layer(base.xy + move, base.angle, base.length_m, base.score) for move in off]
    moves = align(layers, SIZE, 1.0)
    across = np.array([move[1] for move in moves]) + [move[1] for move in off]
    assert np.ptp(across) < 0.5
    assert np.abs(moves[:, 0]).max() < 0.5
    assert np.abs(moves.mean(axis=0)).max() < 0.05


def test_displaced_observations_still_give_a_line_a_track():
    lines = [straight(30.0, 4.6 * number) for number in range(3)]
    observations = []
    for number, move in enumerate([(0.0, 0.0), (-0.8, 1.3), (0.6, -1.0), (0.3, 0.6)]):
        wagons = Sightings.joined([string(line, start_m=95.0 + 3 * number, count=9) for line in lines])
        observations.append(TrackObservation(wagons._replace(xy=wagons.xy + np.array(move))))
    evidence = combine(grid(), observations)
    assert max(evidence.moved_m) > 0.8
    found = fit_centre_lines(evidence)
    assert len(found) == 3
    assert max(apart(line.xy, lines).max() for line in found) < 1.0


def test_a_part_that_an_image_doesnt_show_is_taken_from_the_other():
    true = [straight(0.0)]
    full = 0.9 * drawn(true)
    left, right = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    left[:, :110], right[:, 90:] = True, True
    observations = [
        TrackObservation(Sightings.none(), np.where(seen, full, 0), seen) for seen in (left, right)
    ]
    evidence = combine(grid(), observations)
    assert evidence.seen is not None
    assert evidence.seen[2:-2, 2:-2].all()
    assert max(evidence.moved_m) < 0.5
    found = fit_centre_lines(evidence)
    assert len(found) == 1
    assert found[0].length_m > 185


# -- parts ---------------------------------------------------------------------------------------------


@settings(max_examples=10)
@given(lon=st.floats(-170, 170), lat=st.floats(-60, 70))
def test_a_grid_lies_on_the_ground(lon, lat):
    area = AreaOfInterest("there", "There", shapely.box(lon, lat, lon + 0.01, lat + 0.004))
    plane = PlaneGrid.around(area, margin_m=20.0)
    places = np.array([[30.0, 40.0], [130.0, 40.0]])
    a, b = plane.lonlat(places).tolist()
    assert distance_m(tuple(a), tuple(b))[0] == pytest.approx(100.0, abs=0.01)
    back = plane.shape_in_frame(shapely.LineString([a, b]))
    assert shapely.get_coordinates(back) == pytest.approx(places, abs=1e-6)
    inside = plane.shape_in_frame(area.boundary)
    assert shapely.box(0, 0, plane.shape[1], plane.shape[0]).covers(inside.buffer(19.0))


def test_the_centres_of_cells_in_another_crs():
    plane = PlaneGrid.around(AREA, cell_m=2.0)
    centres = plane.centres_in("EPSG:32632")
    assert centres.shape == (*plane.shape, 2)
    corner = np.array([[plane.shape[1] * 2.0 - 1.0, plane.shape[0] * 2.0 - 1.0]])
    placed = shapely.Point(*plane.lonlat(corner)[0])
    known = AreaOfInterest("p", "P", placed.buffer(1e-9)).to_crs("EPSG:32632").boundary.centroid
    assert centres[-1, -1] == pytest.approx([known.x, known.y], abs=0.01)


def test_rectangles_become_sightings_whatever_their_first_corner():
    plane = grid()
    box = shapely.affinity.rotate(shapely.box(0, 0, 14, 3), 30)
    moved = shapely.transform(box, lambda xy: xy + plane.to_plane(np.array([[50.0, 60.0]])))
    ring = shapely.get_coordinates(moved)[:-1]
    for start in range(4):
        turned = shapely.Polygon(np.roll(ring, start, axis=0))
        seen = Sightings.from_polygons([turned], np.array([0.9]), plane)
        assert seen.length_m[0] == pytest.approx(14.0)
        # 30 degrees counter-clockwise on the map is 150 clockwise from +x with y down
        assert math.degrees(seen.angle[0]) == pytest.approx(150.0)


def test_lines_that_cross_go_on():
    true = [straight(20.0), straight(110.0)]
    found = trace(find_ridges(drawn(true), 1.0, 0.15), 0.35, 12.0)
    long = [one for one in found if stations(one.xy)[-1] > 110]
    assert len(long) == 2


def test_blocks_have_no_seams():
    shape = (40, 1100)
    line = np.array([[0.0, 12.0], [1100.0, 28.0]])
    found = trace(find_ridges(drawn([line], shape), 1.0, 0.15), 0.35, 12.0)
    assert stations(found[0].xy)[-1] > 1050
    assert apart(found[0].xy, [line]).max() < 0.4


def test_smoothing_keeps_an_arc_and_damps_waves():
    x = np.arange(200.0)
    bow = np.column_stack([x, x**2 / 1000.0])
    assert smoothed(bow, np.ones(200)) == pytest.approx(bow, abs=0.05)
    wavy = bow + np.column_stack([np.zeros(200), 0.8 * np.sin(2 * np.pi * x / 12)])
    assert np.abs(smoothed(wavy, np.ones(200)) - bow)[20:-20].max() < 0.1


def test_runs_and_places_beside_a_line():
    assert runs(np.array([1, 1, 0, 1, 0, 0, 0, 1], bool), 1) == [(0, 4), (7, 8)]
    assert runs(np.zeros(3, bool)) == []
    line = resampled(np.array([[0.0, 0.0], [20.0, 0.0]]))[0]
    rows, number, aside = beside(line, np.array([[5.2, 1.5], [5.0, -2.5], [24.0, 0.0]]), 2.0)
    assert (rows.tolist(), number.tolist()) == ([0], [5])
    assert aside == pytest.approx([1.5])
