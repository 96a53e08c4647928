"""Scene descriptions: reproducible, split cleanly, wagons on their tracks, counts as asked."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.simulators import (
    EMPTY_KINDS,
    KINDS,
    RAIL_FREE_KINDS,
    SPLITS,
    WAGON_KINDS,
    random_scene,
    sensors,
    yard_series,
)
from detector.simulators.backgrounds import RESERVED, is_reserved, split_of
from detector.simulators.procedural import layout
from detector.simulators.procedural.layout import Curve, footprint, parallel_tracks
from detector.simulators.procedural.rolling_stock import STOCK, STYLES_PER_TYPE, styles
from detector.simulators.procedural.scenes import sun_at
from detector.simulators.procedural.spec import MATERIALS, Area, SceneSpec, Strip, Surface

DRAWN_KINDS = [k for k in KINDS if k != "background"]


def scene(kind: str | None, seed: int = 1, split: str = "train", size_m: float = 90.0) -> SceneSpec:
    return random_scene(np.random.default_rng([seed, 5]), split=split, size_m=size_m, kind=kind)


@pytest.mark.parametrize("kind", [None, *DRAWN_KINDS])
def test_equal_seeds_make_equal_scenes(kind: str | None) -> None:
    assert scene(kind) == scene(kind)
    assert scene(kind) != scene(kind, seed=2)


@pytest.mark.parametrize("kind", WAGON_KINDS)
def test_wagons_stand_on_tracks_and_apart(kind: str) -> None:
    found = 0
    for seed in range(4):
        spec = scene(kind, seed, size_m=120.0)
        lines = {t.id: shapely.LineString(t.line) for t in spec.tracks}
        bodies = []
        for consist in spec.consists:
            for w in consist.wagons:
                body = shapely.Polygon(footprint(w.x_m, w.y_m, w.angle_deg, w.length_m, w.width_m))
                # On a curve of 170 m radius the middle of a 28 m wagon is 0.5 m off its track.
                assert lines[consist.track].distance(shapely.Point(w.x_m, w.y_m)) < 0.7
                bodies.append(body)
        found += len(bodies)
        if not bodies:
            continue
        for i, j in shapely.STRtree(bodies).query(bodies, predicate="intersects").T:
            if i < j:
                assert bodies[i].intersection(bodies[j]).area < 0.02 * bodies[i].area
    assert found > 10


@pytest.mark.parametrize("kind", [*EMPTY_KINDS, *(k for k in RAIL_FREE_KINDS if k != "background")])
def test_scenes_without_wagons_have_none(kind: str) -> None:
    for seed in range(3):
        spec = scene(kind, seed)
        assert spec.wagons == ()
        assert bool(spec.tracks) == (kind in EMPTY_KINDS)
        assert bool(spec.corridor) == (kind in EMPTY_KINDS)


def test_the_mixture_holds_what_training_needs() -> None:
    rng = np.random.default_rng(3)
    drawn = [random_scene(rng, split="train", size_m=60.0) for _ in range(120)]
    empty_tracks = sum(s.kind in EMPTY_KINDS for s in drawn) / len(drawn)
    rail_free = sum(s.kind in RAIL_FREE_KINDS for s in drawn) / len(drawn)
    assert 0.12 < empty_tracks < 0.3
    assert 0.18 < rail_free < 0.45
    wagons = [w for s in drawn for w in s.wagons]
    lengths = np.array([w.length_m for w in wagons])
    assert lengths.min() < 11.0
    assert lengths.max() > 26.0
    assert {w.type for w in wagons} == set(STOCK)
    assert {t.gauge_mm for s in drawn for t in s.tracks} == {1435, 1520}
    assert max(len(s.tracks) for s in drawn) >= 12
    assert {len(s.tracks) for s in drawn} >= {0, 1, 2, 3, 5}
    assert any(s.weather.snow > 0 for s in drawn)
    assert max(s.view.off_nadir_deg for s in drawn) > 25
    assert min(s.sun.elevation_deg for s in drawn) < 20


def test_surfaces_name_known_materials() -> None:
    for kind in DRAWN_KINDS:
        spec = scene(kind)
        surfaces: list[Surface] = [spec.ground, *(t.ballast for t in spec.tracks)]
        surfaces += [c.surface for c in (*spec.cover, *spec.crossings) if isinstance(c, Area | Strip)]
        assert {m for s in surfaces for m in s.ramp} <= set(MATERIALS)
        assert {w.material for w in spec.wagons} <= set(MATERIALS)
        assert {p.material for p in spec.props} <= set(MATERIALS)


def test_styles_are_dealt_to_the_splits_without_overlap() -> None:
    for name in STOCK:
        dealt = [{s.index for s in styles(name, split)} for split in SPLITS]
        assert sum(len(d) for d in dealt) == STYLES_PER_TYPE == len(set.union(*dealt))
        details = [{s.detail for s in styles(name, split)} for split in SPLITS]
        assert details[0].isdisjoint(details[2])
        assert all(len(d) >= 9 for d in dealt)


def test_scenes_use_their_splits_styles() -> None:
    for split in SPLITS:
        allowed = {s.detail for name in STOCK for s in styles(name, split)}
        for seed in range(3):
            assert {w.style for w in scene("yard", seed, split).wagons} <= allowed


def test_no_sensor_of_the_test_split_is_trained_on() -> None:
    names = {split: {s.name for s in sensors(split)} for split in SPLITS}
    assert names["test"].isdisjoint(names["train"] | names["val"])
    looks = {split: {(s.tone, s.kernel, s.shape) for s in sensors(split)} for split in SPLITS}
    assert looks["test"].isdisjoint(looks["train"])


def test_backgrounds_are_split_by_blocks_of_numbers() -> None:
    for kind in ("freeway", "river", "buildings", "storagetanks"):
        splits = {n: split_of(kind, n) for n in range(100)}
        for block in range(10):
            assert len({splits[n] for n in range(10 * block, 10 * block + 10)} - {None}) <= 1
        for n in range(99):  # across the seam of two blocks nobody stands next to another split
            pair = {splits[n], splits[n + 1]} - {None}
            assert len(pair) <= 1


def test_pictures_kept_for_evaluation_never_enter_training() -> None:
    for kind, number in RESERVED:
        for n in range(number - 2, number + 3):
            assert is_reserved(kind, n)
            assert split_of(kind, n) != "train"


@settings(max_examples=12, deadline=None)
@given(n=st.integers(1, 20), seed=st.integers(0, 10_000), bend=st.sampled_from([0.0, 1 / 300, -1 / 800]))
def test_parallel_tracks_keep_their_distance_where_wagons_stand(n: int, seed: int, bend: float) -> None:
    rng = np.random.default_rng(seed)
    paths = parallel_tracks(rng, Curve(70, 70, 30.0, bend, 120.0), n)
    assert 1 <= len(paths) <= n  # a ladder may swallow whole tracks
    assert len(parallel_tracks(rng, Curve(70, 70, 30.0, bend, 120.0), n, ladders=0)) == n
    assert (np.diff([p.offset_m for p in paths]) >= 4.1 - 1e-9).all()
    lines = [shapely.LineString(p.points) for p in paths]
    for i, path in enumerate(paths):
        for point in path.points[path.clear][::7]:
            for j, other in enumerate(lines):
                if j != i:
                    assert other.distance(shapely.Point(point)) > 3.3


def test_a_yard_series_keeps_its_place_and_has_the_asked_counts() -> None:
    counts = [0, 12, 40, 76]
    dates = [datetime(2023, m, 5, 2, 0, tzinfo=UTC) for m in (1, 5, 9, 12)]
    series = yard_series(7, counts, dates, snow_months=(1,))
    assert [s.n_freight for s in series] == counts
    assert len({(s.tracks, s.corridor, tuple(type(c) for c in s.cover)) for s in series}) == 1
    standing = [{p.seed for p in s.props if p.kind == "building"} for s in series]
    assert standing[0] == standing[1] == standing[2] != set()
    assert len({s.sun for s in series}) == len(series)
    assert series[0].weather.snow > 0 == series[1].weather.snow
    assert series[1].sun.elevation_deg > series[3].sun.elevation_deg
    for spec in series:
        w, h = spec.size_m
        for wagon in spec.wagons:
            body = footprint(wagon.x_m, wagon.y_m, wagon.angle_deg, wagon.length_m, wagon.width_m)
            assert (body > 0).all()
            assert (body < [w, h]).all()
    assert series == yard_series(7, counts, dates, snow_months=(1,))


def test_a_yard_series_refuses_more_than_it_holds() -> None:
    with pytest.raises(ValueError, match="holds"):
        yard_series(7, [5000], [datetime(2023, 5, 5, tzinfo=UTC)])
    with pytest.raises(ValueError, match="2 counts for 1 dates"):
        yard_series(7, [1, 2], [datetime(2023, 5, 5, tzinfo=UTC)])


def test_the_sun_of_a_date() -> None:
    june = sun_at(datetime(2024, 6, 21, tzinfo=UTC), 42.4)
    december = sun_at(datetime(2024, 12, 21, tzinfo=UTC), 42.4)
    # At local noon it would stand at 71.0 and 24.2 degrees; an hour and a quarter before, lower.
    assert 60 < june.elevation_deg < 71.1
    assert 19 < december.elevation_deg < 24.2
    assert 90 < june.azimuth_deg < 180
    assert 140 < december.azimuth_deg < 180


def test_wrong_words_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="split must be"):
        random_scene(rng, split="training")
    with pytest.raises(ValueError, match="kind must be"):
        random_scene(rng, split="train", kind="station yard")
    with pytest.raises(ValueError, match="backgrounds"):
        random_scene(rng, split="train", kind="background")


def test_only_training_scenes_wear_random_liveries_and_lengths() -> None:
    worn: dict[str, int] = {}
    for split in SPLITS:
        wagons = [w for seed in range(8) for w in scene("yard", seed, split).wagons]
        assert len(wagons) > 40
        worn[split] = sum(w.livery != 0 for w in wagons)
        known = {(s.type, s.body_m) for name in STOCK for s in styles(name, split)}
        assert all((w.type, w.length_m) in known for w in wagons) == (split != "train")
    assert worn["train"] > 0
    assert worn["val"] == worn["test"] == 0


def test_the_sun_stands_lower_and_snow_lies_more_often_in_training() -> None:
    low, snow = {}, {}
    for split in ("train", "val"):
        scenes = [scene("open", seed, split, 40.0) for seed in range(150)]
        low[split] = sum(s.sun.elevation_deg < 25 for s in scenes)
        snow[split] = sum(s.weather.snow > 0 for s in scenes)
    assert low["train"] > low["val"]
    assert snow["train"] > snow["val"] > 0


def test_mixes_to_learn_from_are_mixtures_and_some_are_dark():
    rng = np.random.default_rng(5)
    bed = (0.2, 0.2, 0.2)
    mixes = [layout.loosened(rng, layout.random_mix(rng, bed, 0.0)) for _ in range(120)]
    assert all(sum(m.weights) == pytest.approx(1.0) for m in mixes)
    dark = [m for m in mixes if m.bed != bed]
    assert 10 <= len(dark) <= 40
    for mix in dark:
        assert max(mix.bed) <= 0.1
        assert mix.dullness >= 0.5
        assert mix.liveries == 0.0
