"""Intervals of occupancy hold on sites that nothing was fitted to."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.occupancy.estimate import EDGES, ConformalScaling, fit_stretch


def world(seed: int, sites: int, *, images: int = 30, width: float = 1.0, site_sd: float = 0.3):
    """Answers with an error that grows with the truth, shared in part by the dates of a site."""
    rng = np.random.default_rng(seed)
    level = np.exp(rng.uniform(0, 5, sites))
    site = np.repeat(np.arange(sites), images)
    truth = np.clip(level[site] * np.exp(rng.normal(0, 0.5, len(site))), 0, 300)
    sd = 1.0 + 0.15 * truth
    own = rng.normal(0, site_sd, sites)[site]
    answer = np.clip(truth + sd * (own + rng.normal(0, 1, len(site))), 0.05, None)
    # What the network says of its doubt: right in shape, wrong by a factor, and lopsided.
    said = 1.0 + 0.15 * answer
    return answer, width * said, 2.0 * width * said, truth, site


def covered(stretch: ConformalScaling, answer, below, above, truth, site):
    lower, upper = stretch.factors(answer)
    return (truth >= answer - lower * below) & (truth <= answer + upper * above)


@given(st.integers(0, 1000), st.floats(0.2, 5.0))
@settings(max_examples=6)
def test_new_sites_are_covered_nine_times_in_ten(seed, width):
    stretch = fit_stretch(*world(seed, 120, width=width), car=1.0)
    fresh = world(seed + 5000, 120, width=width)
    inside = covered(stretch, *fresh)
    # On the safe side: sites and not dates are counted, and there are few of them in a band.
    assert 0.88 <= inside.mean() <= 0.96
    for low, high in zip(EDGES, (*EDGES[1:], np.inf), strict=True):
        rows = (fresh[0] >= low) & (fresh[0] < high)
        if rows.sum() > 300:
            assert inside[rows].mean() > 0.80


def test_the_unit_makes_no_difference():
    answer, below, above, truth, site = world(3, 60)
    cars = fit_stretch(answer, below, above, truth, site, car=1.0)
    metres = fit_stretch(answer * 15, below * 15, above * 15, truth * 15, site, car=15.0)
    assert cars.at == pytest.approx(metres.at)
    assert cars.below == pytest.approx(metres.below)
    assert cars.above == pytest.approx(metres.above)


def test_every_site_counts_the_same():
    """One site with a thousand bad dates doesn't decide for sixty others."""
    rng = np.random.default_rng(0)
    good = 60
    site = np.concatenate([np.repeat(np.arange(good), 10), np.full(1000, good)])
    answer = np.full(len(site), 30.0)
    truth = answer + np.where(site == good, 60.0, rng.normal(0, 1, len(site)))
    one = np.ones(len(site))
    stretch = fit_stretch(answer, one, one, truth, site, car=1.0)
    assert stretch.above[0] < 10  # of 61 sites one lies at 60, which is less than one in twenty


def test_few_answers_are_calibrated_together():
    answer = np.array([1.0, 30.0, 70.0, 200.0])
    one = np.ones(4)
    stretch = fit_stretch(answer, one, one, answer + 2.0, np.arange(4), car=1.0)
    assert len(stretch.at) == 1
    assert stretch.above == (2.0,)
    assert stretch.below == (0.05,)
    with pytest.raises(ValueError, match="no answers to calibrate on"):
        fit_stretch(*(np.zeros(0),) * 4, np.zeros(0, np.int64), car=1.0)


def test_factors_run_between_the_bands_and_end_flat():
    stretch = ConformalScaling((1.0, 10.0, 100.0), (1.0, 2.0, 4.0), (0.5, 1.0, 3.0))
    below, above = stretch.factors(np.array([0.0, 1.0, 10.0, 100.0, 500.0]))
    assert below == pytest.approx([1, 1, 2, 4, 4])
    assert above == pytest.approx([0.5, 0.5, 1, 3, 3])
    low, high = stretch.factors(4.0)
    assert 1 < float(low) < 2
    assert 0.5 < float(high) < 1
    again = ConformalScaling.from_json(json.loads(json.dumps(stretch.to_json())))
    assert again == stretch
