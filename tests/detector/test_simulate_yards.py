"""Whole yards and what stands in them from date to date."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from detector.simulators.procedural.layout import clear_runs
from detector.simulators.procedural.yards import MOST_TRACKS, Traffic, Yard, random_yard
from detector.wagons.categories import FREIGHT


@pytest.fixture(scope="module")
def yards() -> list[Yard]:
    return [random_yard(np.random.default_rng([9, seed]), "train") for seed in range(4)]


def test_equal_seeds_give_equal_yards(yards):
    again = random_yard(np.random.default_rng([9, 0]), "train")
    assert again.spec == yards[0].spec
    assert again.mix == yards[0].mix
    assert again.spec != yards[1].spec


def test_a_yard_is_ground_and_tracks_without_wagons(yards):
    for yard in yards:
        spec = yard.spec
        assert spec.kind == "yard"
        assert not spec.consists
        assert 1 <= spec.notes["n_tracks"] <= MOST_TRACKS
        assert len(yard.paths) == len(spec.tracks) >= spec.notes["n_tracks"]
        assert 450 <= spec.size_m[0] <= 1350
        runs = [run for path in yard.paths for run in clear_runs(path)]
        assert yard.capacity_m == pytest.approx(sum(b - a for a, b in runs))
        assert all(0 <= x <= spec.size_m[0] for path in yard.paths for x in path.points[:, 0])
        for prop in spec.props:  # nothing stands on the tracks
            for path in yard.paths:
                away = np.hypot(path.points[:, 0] - prop.x_m, path.points[:, 1] - prop.y_m).min()
                assert away > 2.0


def test_strings_stand_apart_on_free_track(yards):
    for number, yard in enumerate(yards):
        traffic = Traffic.random(yard, np.random.default_rng(number))
        for _ in range(5):
            consists = traffic.next()
            wagons = [w for c in consists for w in c.wagons]
            assert traffic.count == sum(w.category == FREIGHT for w in wagons)
            by_track: dict[int, list[tuple[float, float]]] = {}
            for track, start, end in traffic.pieces:
                by_track.setdefault(track, []).append((start, end))
            for track, pieces in by_track.items():
                runs = clear_runs(yard.paths[track])
                assert all(any(a - 1e-6 <= s and e <= b + 1e-6 for a, b in runs) for s, e in pieces)
                assert all(e <= s for (_, e), (s, _) in pairwise(sorted(pieces)))
            # Over couplers a string is a little longer than its cars' bodies.
            length = sum(end - start for _, start, end in traffic.pieces)
            bodies = sum(w.length_m for w in wagons)
            assert bodies <= length <= 1.35 * bodies + 1e-6
            assert all(w.length_m <= yard.longest_m for w in wagons if w.category == FREIGHT)


def test_wagons_stand_on_their_tracks(yards):
    yard = yards[1]
    traffic = Traffic.random(yard, np.random.default_rng(5))
    for consist in traffic.next(target=20.0):
        points = yard.paths[consist.track].points
        for wagon in consist.wagons:
            away = np.hypot(points[:, 0] - wagon.x_m, points[:, 1] - wagon.y_m).min()
            assert away < 3.0  # the track's own points are some metres apart


def test_traffic_follows_the_number_that_is_wanted(yards):
    yard = max(yards, key=lambda one: one.capacity_m)
    traffic = Traffic.random(yard, np.random.default_rng(2))
    for wanted in (10.0, 30.0, 0.0, 20.0):
        traffic.next(target=wanted)
        assert traffic.count == pytest.approx(wanted, abs=0.15 * wanted + 4)
    traffic.next(target=0.0)
    assert traffic.count == 0
    assert traffic.pieces == []
    crowded = traffic.next(target=10_000.0)
    assert 0 < sum(len(c.wagons) for c in crowded) * 8.0 < yard.capacity_m + 30


def test_strings_stay_for_more_than_a_date(yards):
    yard = max(yards, key=lambda one: one.capacity_m)
    stays = Traffic(yard, np.random.default_rng(3), level=25.0, departure=0.0, quiet=0.0, surge=0.0)
    first = set(stays.next(target=25.0) and stays.pieces)
    stays.next(target=30.0)
    assert first <= set(stays.pieces)
    leaves = Traffic(yard, np.random.default_rng(3), level=25.0, departure=1.0)
    before = set(leaves.next(target=25.0) and leaves.pieces)
    leaves.next(target=25.0)
    assert not before & set(leaves.pieces)


def test_levels_differ_and_some_dates_are_empty(yards):
    yard = max(yards, key=lambda one: one.capacity_m)
    levels = [Traffic.random(yard, np.random.default_rng(k)).level for k in range(60)]
    assert min(levels) < 5
    assert max(levels) > 0.5 * min(300.0, 0.85 * yard.capacity_m / 15.0)
    traffic = Traffic(yard, np.random.default_rng(1), level=12.0, departure=0.4, quiet=0.4)
    counts = []
    for _ in range(30):
        traffic.next()
        counts.append(traffic.count)
    assert 3 <= counts.count(0) <= 24
    assert max(counts) > 15
