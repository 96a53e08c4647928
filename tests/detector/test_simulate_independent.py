"""The second simulator of yards: what is said to stand there is what is drawn, where the grid has it."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pytest
import shapely

from detector.simulators.sentinel2.independent import BANDS, SimpleRake, SimpleWagon, StripYard
from detector.training.occupancy_samples import StoredSite, sample_of
from detector.training.occupancy_sites import STRIP_SEEDS, strip_series, write_strip_site

NOON = dt.datetime(2023, 6, 1, 2, 30, tzinfo=dt.UTC)
SUN = (160.0, 55.0)


def still(seed: int = 3, number: int = 4) -> StripYard:
    """A yard without weather, shake or wagons."""
    yard = StripYard.random(seed, number)
    yard.jitter_m, yard.wet_share = 0.0, 0.0
    return yard


def wagons(number: int, value: float) -> tuple[SimpleWagon, ...]:
    return tuple(SimpleWagon(14.0, np.full(4, value)) for _ in range(number))


def test_equal_seeds_give_equal_yards():
    one, two, other = StripYard.random(1, 2), StripYard.random(1, 2), StripYard.random(1, 3)
    for yard in (one, two):
        yard.next_date()
    assert np.array_equal(one.ground, two.ground)
    assert one.count == two.count
    assert one.length_m != other.length_m
    first, second = (yard.chip(NOON, SUN, "x") for yard in (one, two))
    assert np.array_equal(first.reflectance, second.reflectance, equal_nan=True)
    assert first.bands == BANDS
    assert first.shape == one.grid.shape
    assert 0.02 < np.nanmedian(first.reflectance) < 0.4


def test_rakes_never_overlap_and_keep_to_their_tracks():
    yard = StripYard.random(5, 1)
    yard.level = 80.0
    seen = set()
    for _ in range(30):
        yard.next_date()
        seen.add(yard.count)
        assert yard.count <= 151
        assert yard.occupied_m >= 14.0 * yard.count
        for one in yard.rakes:
            assert one.start_m >= 160.0
            assert one.end_m <= 160.0 + yard.length_m + 1e-6
            for two in yard.rakes:
                apart = one.end_m <= two.start_m or two.end_m <= one.start_m
                assert one is two or one.track != two.track or apart
    assert 0 in seen  # now and then a yard is empty
    assert max(seen) > 80


def test_as_many_stand_there_as_are_wanted():
    yard = StripYard.random(5, 1)
    yard.departing = 0.5
    for wanted in (20.0, 0.0, 73.0, 20.0):
        yard.next_date(wanted)
        assert abs(yard.count - wanted) <= 0.1 * wanted + 2


def test_what_stands_on_a_track_lies_on_its_line_and_shows_there():
    yard = still()
    track = len(yard.track_m) // 2
    yard.rakes = [SimpleRake(track, 160.0 + yard.length_m / 2 - 70.0, wagons(10, 0.6))]
    points = yard.occupied()
    assert len(points) == 140
    yard.rng = np.random.default_rng(0)
    line = yard.lines()[track]
    assert max(line.distance(shapely.Point(p)) for p in points) < 0.25  # people draw them half a metre aside
    assert yard.outline().contains(shapely.MultiPoint(points))
    images = []
    for rakes in (yard.rakes, []):
        yard.rakes, yard.rng = rakes, np.random.default_rng(1)
        images.append(np.nan_to_num(yard.chip(NOON, (160.0, 89.0), "x").reflectance))
    change = (images[0] - images[1]).mean(axis=0)
    column, row = np.floor(points).astype(int).T
    assert change[row, column].min() > 0.02
    brightest = np.argwhere(change > 0.5 * change.max())
    away = [min(np.hypot(*(points - (c + 0.5, r + 0.5)).T)) for r, c in brightest]
    assert max(away) < 1.2


@pytest.mark.parametrize("azimuth", [90.0, 200.0])
def test_shadows_fall_away_from_the_sun(azimuth):
    yard = still()
    yard.rakes = [SimpleRake(1, 160.0 + yard.length_m / 2 - 140.0, wagons(20, 0.13))]
    images = []
    for rakes in (yard.rakes, []):
        yard.rakes, yard.rng = rakes, np.random.default_rng(1)
        images.append(np.nan_to_num(yard.chip(NOON, (azimuth, 22.0), "x").reflectance[3]))
    yard.rakes = [SimpleRake(1, 160.0 + yard.length_m / 2 - 140.0, wagons(20, 0.13))]
    dark = np.clip(images[1] - images[0], 0, None)
    row, column = np.mgrid[: dark.shape[0], : dark.shape[1]] + 0.5
    centre = np.array([(dark * column).sum(), (dark * row).sum()]) / dark.sum()
    moved = centre - yard.occupied().mean(axis=0)  # east, south
    away = np.array([-math.sin(math.radians(azimuth)), math.cos(math.radians(azimuth))])
    # Along the string a shadow can't be seen to move: only what falls across it.
    across = np.array([math.cos(yard.azimuth_rad), math.sin(yard.azimuth_rad)])
    assert np.sign(moved @ across) == np.sign(away @ across)
    assert abs(moved @ across) > 0.05


def test_a_series_can_be_learned_from(tmp_path):
    series = strip_series(7, 1, dates=8)
    assert [image.reason is None for image in series.images[:5]] == [False] * 5
    for truth in series.truths:
        assert truth.cells.shape == series.site.frame.shape
        assert truth.cells.sum() == pytest.approx(truth.length_m, abs=1.0 + 0.02 * truth.length_m)
        assert truth.cells[series.site.region == 0].sum() <= 0.02 * truth.length_m
    kept = write_strip_site(tmp_path, 1, 1, "train", dates=8)
    assert 1 <= kept <= 3
    assert write_strip_site(tmp_path, 1, 1, "train", dates=8) == 0
    site = StoredSite.open(tmp_path / f"train-{STRIP_SEEDS + 1}-00001.npz")
    sample = sample_of(site, 0)
    assert sample.cells.sum() == pytest.approx(site.figure("length_m")[0], rel=0.02, abs=1.0)
    assert len(sample.past.shadow) == len(site.early_sun)
