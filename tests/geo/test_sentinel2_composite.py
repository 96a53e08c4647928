"""A place's usual appearance, and which dates it is made of."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geo.sentinel2.composite import QUANTILES, choose_history, composite

values = st.one_of(st.floats(0, 1.5, width=32), st.just(float("nan")))


@given(st.integers(1, 9).flatmap(lambda n: arrays(np.float32, (n, 2, 2, 3), elements=values)))
@settings(max_examples=60)
def test_quantiles_are_numpys(stack):
    found = composite(list(stack))
    known = np.isfinite(stack).any(axis=0)
    filled = np.where(known[None], stack, 0.0)
    expected = np.nanquantile(filled.astype(np.float64), QUANTILES, axis=0)
    for ours, theirs in zip((found.low, found.median, found.high), expected, strict=True):
        assert ours[known] == pytest.approx(theirs[known], abs=1e-6)
        assert np.isnan(ours[~known]).all()
    assert found.dates == len(stack)
    assert (found.count == np.isfinite(stack).sum(axis=0).min(axis=0)).all()
    assert (found.spread[known] >= 0).all()


def test_the_order_of_dates_makes_no_difference():
    stack = np.random.default_rng(0).random((7, 4, 5, 6)).astype(np.float32)
    stack[stack > 0.9] = np.nan
    one, other = composite(list(stack)), composite(list(stack[::-1]))
    assert np.array_equal(one.median, other.median, equal_nan=True)
    assert np.array_equal(one.spread, other.spread, equal_nan=True)


def test_a_single_cloud_or_wagon_leaves_the_middle_alone():
    stack = [np.full((4, 3, 3), 0.1, np.float32) for _ in range(6)]
    stack[2][:, 1, 1] = 0.8
    assert composite(stack).median == pytest.approx(0.1)


NOW = dt.datetime(2024, 6, 15, 10, tzinfo=dt.UTC)


def days_ago(*days: float) -> list[dt.datetime]:
    return [NOW - dt.timedelta(days=d) for d in days]


def test_the_same_season_is_preferred():
    # Half a year ago, a year ago, a week ago: of two, the year and the week.
    dates = days_ago(183, 365, 7)
    assert choose_history(NOW, dates, most=2) == [1, 2]
    # The same week of five years ago is worth as much as another season of this year, and not more.
    assert choose_history(NOW, days_ago(5 * 365, 120), most=1) == [1]
    assert choose_history(NOW, days_ago(3 * 365, 120), most=1) == [0]


def test_among_equal_seasons_the_latest():
    assert choose_history(NOW, days_ago(3 * 365.2425, 365.2425, 2 * 365.2425), most=1) == [1]


def test_no_more_than_wanted_in_the_order_given():
    dates = days_ago(*range(1, 60))
    assert choose_history(NOW, dates) == list(range(30))
    assert choose_history(NOW, dates[::-1], most=3) == [56, 57, 58]
    assert choose_history(NOW, []) == []


def test_later_dates_count_like_earlier_ones_and_ties_are_settled():
    dates = [NOW + dt.timedelta(days=20), NOW - dt.timedelta(days=20), NOW + dt.timedelta(days=300)]
    assert choose_history(NOW, dates, most=2) == [0, 1]
    assert choose_history(NOW, dates, most=1) == [0]
    same = [NOW - dt.timedelta(days=5)] * 3
    assert choose_history(NOW, same, most=2) == [0, 1]


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=60, unique=True), st.integers(1, 40))
@settings(max_examples=40)
def test_the_choice_doesnt_hang_on_the_order(ages, most):
    dates = days_ago(*[a + 0.01 for a in ages])
    chosen = {dates[i] for i in choose_history(NOW, dates, most=most)}
    turned = dates[::-1]
    assert len(chosen) == min(most, len(dates))
    costs = []
    for age in ages:
        season = (age + 0.01) % 365.2425
        costs.append(round(min(season, 365.2425 - season) + 0.1 * (age + 0.01), 6))
    if len(set(costs)) == len(costs):
        assert {turned[i] for i in choose_history(NOW, turned, most=most)} == chosen
