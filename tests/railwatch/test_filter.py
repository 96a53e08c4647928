from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import START, abstained, observation

from railwatch.history.combined import COLUMNS, filtered, forward
from railwatch.store.observation import Observation


def ten_metres(number: int, count: float, half: float = 16.0, **changes: Any) -> Observation:
    values = {"count": count, "count_low": max(count - half, 0.0), "count_high": count + half}
    return observation(
        5 * number, method="occupancy", datetime=START + timedelta(days=5 * number), **(values | changes)
    )


def test_observations_of_a_standing_state_sharpen_it() -> None:
    noise = np.random.default_rng(5)
    truth = 40.0
    days = np.arange(0.0, 60.0, 3.0)
    errors = []
    for _ in range(60):
        counts = truth + 9.0 * noise.normal(size=days.size)
        means, sds = forward(days, counts, np.full(days.size, 9.0))
        errors.append([means[-1] - truth, counts[-1] - truth, sds[-1]])
    off, single, said = np.array(errors).T
    assert np.sqrt((off**2).mean()) < 0.65 * np.sqrt((single**2).mean())
    assert np.sqrt((off**2).mean()) == pytest.approx(said.mean(), rel=0.35)


def test_intervals_hold_the_truth_of_a_walk_nine_times_in_ten() -> None:
    noise = np.random.default_rng(6)
    days = np.cumsum(noise.integers(2, 8, 400)).astype(float)
    steps = np.diff(days, prepend=days[0])
    truth = 200.0 + np.cumsum(2.0 * np.sqrt(steps) * noise.normal(size=days.size))
    means, sds = forward(days, truth + 8.0 * noise.normal(size=days.size), np.full(days.size, 8.0))
    assert np.mean(np.abs(means - truth)[20:] < 1.645 * sds[20:]) == pytest.approx(0.9, abs=0.06)


def test_a_build_up_isnt_smoothed_away() -> None:
    counts = np.array([20.0] * 10 + [73.0, 70.0])
    means, _ = forward(np.arange(0.0, 60.0, 5.0), counts, np.full(12, 7.0))
    assert means[9] == pytest.approx(20.0, abs=3)
    assert means[10] > 65.0


@given(st.lists(st.floats(0, 300), min_size=2, max_size=20))
def test_a_later_observation_changes_no_earlier_figure(counts: list[float]) -> None:
    days = np.arange(0.0, 4.0 * len(counts), 4.0)
    every = forward(days, np.array(counts), np.full(len(counts), 8.0))
    short = forward(days[:-1], np.array(counts[:-1]), np.full(len(counts) - 1, 8.0))
    for whole, part in zip(every, short, strict=True):
        np.testing.assert_array_equal(whole[:-1], part)
        assert np.isfinite(whole).all()


def test_a_bound_only_raises_the_level() -> None:
    days, sds = np.arange(0.0, 18.0, 3.0), np.full(6, 8.0)
    bound = np.array([False] * 5 + [True])
    below, _ = forward(days, np.array([160.0] * 5 + [90.0]), sds, bound)
    assert below[5] == pytest.approx(below[4])
    above, _ = forward(days, np.array([60.0] * 5 + [150.0]), sds, bound)
    assert above[5] > 130.0


def test_only_answered_observations_of_ten_metres_take_part() -> None:
    observations = [ten_metres(number, 30.0 + number) for number in range(4)]
    others = [observation(3), abstained(7, method="occupancy"), ten_metres(9, 12.0, aoi="elsewhere")]
    found = filtered([*observations, *others][::-1])
    assert set(found) == {one.id for one in observations}
    last = found[observations[3].id]
    assert last.low < last.value < last.high
    assert last.high - last.low < 32.0
    assert tuple(last.columns()) == COLUMNS
    assert filtered([]) == {}
