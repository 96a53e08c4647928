"""Counts and their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.wagons.count_interval import CountInterval, CountModel, fit_count_model

PROBABILITIES = st.lists(st.floats(0.5, 1.0), max_size=60).map(np.array)
DOUBTS = st.lists(st.floats(0.02, 0.5), max_size=60).map(np.array)
MODELS = st.builds(
    CountModel,
    unseen=st.floats(-0.3, 0.5),
    floor=st.floats(0.01, 1.0),
    doubt=st.floats(0.2, 5.0),
    below=st.floats(0.1, 4.0),
    above=st.floats(0.1, 4.0),
)


@given(MODELS, PROBABILITIES, DOUBTS, st.floats(1.0, 4.0))
def test_the_interval_holds_the_count_and_is_of_whole_wagons(model, sure, unsure, widening):
    found = model.interval(sure, unsure, widening=widening)
    assert found.count == len(sure)
    assert 0 <= found.low <= found.count <= found.high
    assert all(isinstance(v, int) for v in (found.count, found.low, found.high))


@given(MODELS, PROBABILITIES, DOUBTS, st.floats(1.0, 3.0))
def test_a_wider_doubt_never_narrows_the_interval(model, sure, unsure, widening):
    narrow, wide = model.interval(sure, unsure), model.interval(sure, unsure, widening=widening)
    assert wide.low <= narrow.low
    assert wide.high >= narrow.high


@given(PROBABILITIES, DOUBTS, st.floats(0.02, 0.5))
def test_one_more_doubtful_candidate_never_lowers_the_upper_end(sure, unsure, more):
    model = CountModel()
    before = model.interval(sure, unsure)
    after = model.interval(sure, np.append(unsure, more))
    assert after.high >= before.high
    assert after.count == before.count


@given(PROBABILITIES, st.floats(0.5, 1.0))
def test_one_more_wagon_raises_count_and_upper_end(sure, more):
    model = CountModel()
    before, after = model.interval(sure, np.zeros(0)), model.interval(np.append(sure, more), np.zeros(0))
    assert after.count == before.count + 1
    assert after.high >= before.high


def test_the_moments_by_hand():
    model = CountModel(unseen=0.1, floor=0.05, doubt=1.5)
    mean, deviation = model.moments(np.array([0.9, 0.8, 0.5]))
    assert mean == pytest.approx(1.1 * 2.2)
    assert deviation**2 == pytest.approx(0.05 + (1.5 * (0.09 + 0.16 + 0.25)) ** 2)


def test_wagons_missed_by_strings_widen_small_counts_most():
    few, many = np.full(2, 0.5), np.full(80, 0.5)
    alone, strings = CountModel(0.0, 0.01, 1.0), CountModel(0.0, 0.01, 1.0, cluster=4.0)
    _, deviation = strings.moments(few)
    assert deviation**2 == pytest.approx(0.01 + 4.0 * 0.5 + 0.5**2)
    wider = [strings.moments(p)[1] / alone.moments(p)[1] for p in (few, many)]
    assert wider[0] > 2.0 > 1.15 > wider[1] > 1.0
    assert CountModel.from_json({"doubt": 1.5}).cluster == 0.0  # cards of weights fitted without it


def test_an_empty_quiet_picture_is_surely_empty():
    assert CountModel().interval(np.zeros(0), np.zeros(0)) == CountInterval(0, 0, 0)


def test_as_json_and_back():
    model = CountModel(0.1, 0.2, 0.8, 1.4, 1.9)
    assert CountModel.from_json(model.to_json()) == model
    assert CountModel.from_json({}) == CountModel()
    assert CountInterval(3, 2, 5).to_json() == {"count": 3, "count_low": 2, "count_high": 5}


def pictures(n: int, rng: np.random.Generator) -> list[tuple[np.ndarray, int]]:
    """Pictures of empty to full yards: some wagons raise no candidate, clutter raises some, and the light of
    a picture makes all its probabilities too high or too low together."""
    out = []
    for _ in range(n):
        wagons = int(rng.choice([0, 0, rng.poisson(4), rng.poisson(15), rng.poisson(40)]))
        seen = rng.random(wagons) < 0.96
        clutter = rng.poisson(3)
        true = np.concatenate([seen[seen], np.zeros(clutter, bool)])
        # Candidates with log odds that mean what they say, but for the picture's own shift.
        strength = np.where(true, rng.normal(3.0, 1.7, len(true)), rng.normal(-3.0, 1.7, len(true)))
        odds = strength * 2 * 3.0 / 1.7**2 + rng.normal(0, 0.8)
        out.append((1 / (1 + np.exp(-odds)), wagons))
    return out


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nine_in_ten_fresh_counts_fall_into_the_interval(seed):
    rng = np.random.default_rng(seed)
    model = fit_count_model(pictures(500, rng))
    held = []
    for p, true in pictures(1500, rng):
        found = model.interval(p[p >= 0.5], p[p < 0.5])
        held.append((found.low <= true <= found.high, true, found.high - found.low))
    inside, true, width = (np.array(v) for v in zip(*held, strict=True))
    # Nine in ten where wagons stand; empty ground is held more often, since ends are whole numbers.
    assert 0.86 <= inside[true >= 5].mean() <= 0.94
    assert inside[true == 0].mean() >= 0.9
    # And the intervals say something.
    assert np.median(width[true >= 10] / true[true >= 10]) < 0.25


def test_unseen_wagons_raise_the_mean():
    rng = np.random.default_rng(0)
    scenes = [(np.full(n, 1 / 1.1), n) for n in rng.integers(5, 40, 200)]
    assert fit_count_model(scenes).unseen == pytest.approx(0.1)


def test_a_level_that_holds_more_is_wider():
    scenes = pictures(400, np.random.default_rng(9))
    usual, wide = fit_count_model(scenes, 0.80), fit_count_model(scenes, 0.98)
    assert wide.below >= usual.below
    assert wide.above > usual.above


@pytest.mark.parametrize(
    "scenes",
    [
        [(np.zeros(0), 0)] * 5,
        [(np.zeros(0), 3)] * 5,
        [(np.array([0.9]), 1)],
        [(np.full(10, 0.95), 10)] * 30,
    ],
)
def test_odd_scenes_give_a_model_that_works(scenes):
    model = fit_count_model(scenes)
    found = model.interval(np.full(4, 0.9), np.full(2, 0.2))
    assert found.low <= 4 <= found.high
    assert all(np.isfinite(v) for v in model.to_json().values())


class TestBands:
    def scenes(self, seed: int) -> list[tuple[np.ndarray, int]]:
        """Small counts err twice as much as their doubts say, large ones as much."""
        rng = np.random.default_rng(seed)
        out = []
        for _ in range(600):
            n = int(rng.choice([4, 25, 80]))
            p = np.full(n, 0.9)
            spread = np.sqrt(n * 0.09) * (2.0 if n == 4 else 1.0)
            out.append((p, max(0, round(float(rng.normal(0.9 * n, spread))))))
        return out

    def test_each_band_holds_nine_in_ten(self):
        model = fit_count_model(self.scenes(1))
        assert len(model.bands) == 3
        for n in (4, 25, 80):
            fresh = [(p, true) for p, true in self.scenes(2) if len(p) == n]
            found = [model.interval(p, np.zeros(0)) for p, _ in fresh]
            held = np.mean([one.low <= true <= one.high for one, (_, true) in zip(found, fresh, strict=True)])
            assert 0.85 <= held <= 0.97, n

    def test_factors_are_interpolated_and_level_off(self):
        model = CountModel(bands=((10.0, 2.0, 3.0), (30.0, 1.0, 2.0)))
        assert model.factors(20.0) == pytest.approx((1.5, 2.5))
        assert model.factors(0.0) == (2.0, 3.0)
        assert model.factors(500.0) == (1.0, 2.0)

    def test_the_card_keeps_them(self):
        model = CountModel(bands=((10.0, 2.0, 3.0), (30.0, 1.0, 2.0)))
        assert CountModel.from_json(model.to_json()) == model
        old = {"unseen": 0.1, "floor": 0.1, "doubt": 1.0, "below": 1.0, "above": 2.0, "cluster": 1.0}
        assert CountModel.from_json(old).factors(7.0) == (1.0, 2.0)
