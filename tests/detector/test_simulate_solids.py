"""The solids: what makes a type is in their shape, and pictures show cars where their labels are."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest

from detector.simulators import pictures
from detector.simulators.solids.cars import LENGTHS_M, PX_M, car_solid
from detector.simulators.solids.strip import RailStrip, lit, photographed, random_solids, random_strip
from detector.wagons.categories import TYPES
from geo.boxes import box_corners

SEEDS = range(60)


def solids(kind: str) -> list[np.ndarray]:
    """Heights of cars of a type, all 14 m long."""
    return [car_solid(kind, seed, np.random.default_rng(seed), 14.0, 3.0)[0] for seed in SEEDS]


def across(height: np.ndarray) -> np.ndarray:
    """Median height of each row of a car between its ends."""
    return np.median(height[:, 15:-15], axis=1)


def test_every_type_is_drawn_and_colours_are_reflectances():
    assert set(LENGTHS_M) == set(TYPES)
    for kind in TYPES:
        for seed in SEEDS:
            height, colour = car_solid(kind, seed, np.random.default_rng(seed), 14.0, 3.0)
            assert height.shape == (15, 70)
            assert colour.shape == (15, 70, 3)
            assert 0.8 < height.max() < 8
            assert height.min() >= 0
            assert colour.min() > 0
            assert colour.max() < 1


def test_an_open_car_has_a_rim_above_its_floor_unless_it_is_heaped_full():
    hollow = [across(h)[7] < across(h)[0] - 0.2 for h in solids("open")]
    assert 0.5 < np.mean(hollow) < 1


def test_a_tank_falls_off_to_both_sides_and_a_roof_hardly_does():
    tanks, roofs = ([across(h) for h in solids(kind)] for kind in ("tank", "covered"))
    fall = np.median([h[7] - h[[1, -2]].mean() for h in tanks])
    assert fall > 0.4
    assert np.median([h[7] - h[[1, -2]].mean() for h in roofs]) < fall / 2
    for h in tanks:
        assert h[7] >= h[2] - 1e-3
        np.testing.assert_allclose(h, h[::-1], atol=0.25)


def test_what_a_flat_car_carries_stands_on_a_low_deck():
    cars = solids("flat_or_container")
    assert all(0.7 < h[h > 0].min() < 1.6 for h in cars)
    assert 0.4 < np.mean([(h > 3.0).any() for h in cars]) < 1


def test_cars_of_a_design_are_alike_and_paints_are_of_all_types():
    def paint(kind: str, design: int, own: int) -> np.ndarray:
        return car_solid(kind, design, np.random.default_rng(own), 14.0, 3.0)[1].mean(axis=(0, 1))

    apart = [np.abs(paint("covered", d, 1) - paint("covered", d, 2)).sum() for d in range(40)]
    other = [np.abs(paint("covered", d, 1) - paint("covered", d + 40, 1)).sum() for d in range(40)]
    assert np.median(apart) < np.median(other) / 2
    level = {kind: [paint(kind, d, 1).mean() for d in SEEDS] for kind in TYPES}
    for kind in TYPES:
        assert np.quantile(level[kind], 0.1) < 0.15
        assert np.quantile(level[kind], 0.9) > 0.2


def slab(at: tuple[float, float], height: float = 4.0, paint: float = 0.9) -> RailStrip:
    """A strip of dark ground, 100 x 60 m, with one bright car of 20 x 3 m."""
    shape = (300, 500)
    strip = RailStrip(np.zeros(shape, np.float32), np.full((*shape, 3), 0.06, np.float32), tracks=[30.0])
    size = (15, 100)
    body = np.full(size, height, np.float32), np.full((*size, 3), paint, np.float32)
    strip.place(*body, at[0] - 10, at[1] - 1.5)
    strip.cars.append((*at, 20.0, 3.0, height))
    strip.types.append("covered")
    return strip


@pytest.mark.parametrize("seed", range(12))
def test_a_picture_shows_a_car_where_its_label_is(seed):
    rng = np.random.default_rng(seed)
    seen = photographed(slab((50 + 8.0, 30 - 6.0), height=1.0), rng, size_m=60.0, gsd_m=0.4)
    assert seen.gsd_m == pytest.approx(0.4)
    assert seen.wagon_type == ["covered"]
    grey = seen.image.mean(axis=2)
    grey = cv2.blur(grey, (3, 3))  # of its noise
    bright = grey > (grey.max() + np.median(grey)) / 2
    rows, columns = np.nonzero(bright)
    middle = np.array([columns.mean() + 0.5, rows.mean() + 0.5])
    assert middle == pytest.approx(seen.boxes[0, :2], abs=1.5)
    assert seen.boxes[0, 2:4] == pytest.approx([50, 7.5])
    ends = box_corners(seen.boxes * [1, 1, 0.9, 0.5, 1])[0].astype(int)
    assert all(bright[y, x] for x, y in ends)


def test_a_car_throws_its_shadow_to_one_side():
    strip = slab((50.0, 30.0), paint=0.06)
    both = 0
    for seed in range(20):
        radiance, elevation, lean = lit(strip, np.random.default_rng(seed))
        if np.hypot(*lean) > 0.03 or elevation > 55:
            continue
        ground = np.median(radiance)
        up, down = (radiance[row, 230:270].mean() for row in (138, 162))
        assert max(up, down) > 0.9 * ground
        both += min(up, down) < 0.7 * ground
    assert both


def test_the_lean_moves_high_things_by_their_height():
    strip = slab((50.0, 30.0))
    for seed in range(40):
        radiance, _, lean = lit(strip, np.random.default_rng(seed))
        if np.hypot(*lean) < 0.15:
            continue
        rows, columns = np.nonzero(radiance.mean(axis=2) > radiance.max() * 0.7)
        middle = np.array([columns.mean() + 0.5, rows.mean() + 0.5]) * PX_M
        assert middle == pytest.approx(np.array([50.0, 30.0]) + lean * 4.0, abs=0.6)
        return
    raise AssertionError("no slanting view among forty")


def test_cars_stand_on_the_tracks_of_their_strip_and_do_not_overlap():
    strip = random_strip(np.random.default_rng(3), 200.0, 60.0)
    assert strip.cars
    assert len(strip.cars) == len(strip.types)
    assert {y for _, y, *_ in strip.cars} <= set(strip.tracks)
    for track in strip.tracks:
        spans = sorted((x - length / 2, x + length / 2) for x, y, length, *_ in strip.cars if y == track)
        assert all(a[1] < b[0] for a, b in pairwise(spans))


def test_all_types_come_about_equally_often():
    names = [n for s in range(30) for n in random_solids(np.random.default_rng(s), gsd_m=0.8).wagon_type]
    shares = [names.count(kind) / len(names) for kind in TYPES]
    assert min(shares) > 0.15


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="harbour"):
        pictures(np.random.default_rng(1), simulator="solids", kind="harbour")
