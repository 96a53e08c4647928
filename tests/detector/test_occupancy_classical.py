"""The classical estimator: filters that see change on tracks, and trees that answer like the library's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import GradientBoostingRegressor
from stored_yards import plain_trees, small_trees, stored_yard

from detector.occupancy.classical import FEATURES, Trees, features, fit_trees, metres
from detector.occupancy.inputs import make_inputs
from detector.training.occupancy_predictions import site_features


def look(wagons: int, *, bright: float = 0.05, seed: int = 0, wet: float = 0.0):
    """Current, low, median, high and inputs of a yard on which so many cells are bright."""
    rng = np.random.default_rng(seed)
    h, w = 34, 60
    tracks = np.zeros((4, h, w), np.float32)
    tracks[:, 15:18, 10:50] = 0.6
    region = np.zeros((h, w), np.float32)
    region[14:19, 9:51] = 1.0
    median = (0.12 + 0.02 * rng.standard_normal((4, h, w))).astype(np.float32)
    low, high = median - 0.006, median + np.where(tracks.max(axis=0) > 0, 0.03, 0.006).astype(np.float32)
    current = median + 0.004 * rng.standard_normal((4, h, w)).astype(np.float32) + np.float32(wet)
    flat = current.reshape(4, -1)
    places = np.flatnonzero(tracks.max(axis=0).ravel() > 0)[:wagons]
    flat[:, places] += bright
    planes = (flat.reshape(4, h, w), low, median, high)
    given = make_inputs(
        *planes, tracks, region, has_tracks=True, shadow=(0.2, -0.8), past_shadow=(0.1, -0.5), dates=12
    )
    return (*planes, given)


def feature(values, name):
    return values[FEATURES.index(name)]


def test_more_wagons_give_stronger_filters():
    found = [features(*look(n)) for n in (0, 20, 60, 110)]
    assert all(len(values) == len(FEATURES) for values in found)
    for name in ("energy", "matched", "brighter", "position", "change_B04"):
        values = [feature(one, name) for one in found]
        assert values == sorted(values), name
        assert values[-1] > values[0] + 0.1, name
    dark = features(*look(60, bright=-0.05))
    assert feature(dark, "darker") > feature(found[2], "darker")
    assert feature(dark, "change_B04") < 0
    assert feature(found[0], "dates") == pytest.approx(12 / 30)
    assert feature(found[0], "track_m") > 0
    assert feature(found[0], "has_tracks") == 1


def test_a_wet_day_alone_is_no_wagon():
    plain, wet = features(*look(0)), features(*look(0, wet=-0.03))
    for name in ("energy", "matched", "change_B02", "change_B08"):
        assert feature(wet, name) == pytest.approx(feature(plain, name), abs=0.2)


def test_missing_cells_leave_finite_features():
    current, low, median, high, given = look(40)
    current = current.copy()
    current[:, :, 20:30] = np.nan
    tracks = given.planes[20:24]
    holed = make_inputs(
        current,
        low,
        median,
        high,
        tracks,
        given.region,
        has_tracks=True,
        shadow=None,
        past_shadow=None,
        dates=9,
    )
    values = features(current, low, median, high, holed)
    assert np.isfinite(values).all()
    assert feature(values, "energy") < feature(features(*look(40)), "energy")
    everywhere = replace_region(given, np.ones_like(given.region))
    assert np.isfinite(features(current, low, median, high, everywhere)).all()


def replace_region(given, region):
    return given._replace(region=region)


def test_features_of_a_stored_look_grow_with_its_cars(tmp_path):
    site = stored_yard(tmp_path)
    found = np.stack([site_features(site, row) for row in range(len(site.looks))])
    cars = site.figure("count")
    assert np.corrcoef(found[:, FEATURES.index("matched")], cars)[0, 1] > 0.8
    assert not np.array_equal(site_features(site, 3), site_features(site, 3, tracks=False))


@given(st.integers(0, 1000), st.integers(1, 4))
@settings(max_examples=8)
def test_exported_trees_answer_exactly_like_the_library(seed, depth):
    rng = np.random.default_rng(seed)
    x = np.round(rng.standard_normal((120, 5)), 2)  # with ties, as counts of cells have
    y = 40 * np.abs(x[:, 0]) + 10 * (x[:, 1] > 0.3) + rng.standard_normal(120)
    ours = fit_trees(x, y, seed=seed, trees=12, depth=depth)
    theirs = GradientBoostingRegressor(
        n_estimators=12, max_depth=depth, learning_rate=0.06, subsample=0.5, random_state=seed
    ).fit(x, y)
    fresh = np.concatenate([x, rng.standard_normal((200, 5)), x + 1e-9])
    expected = np.maximum(theirs.predict(fresh), 0.0)
    assert ours.predict(fresh) == pytest.approx(expected, abs=1e-9)
    # Written with 32 bits and read again, every split falls as before.
    stored = {name: values.astype(np.float32) for name, values in ours.arrays().items()}
    again = Trees.from_arrays(stored)
    assert (again.threshold == ours.threshold).all()
    assert again.predict(fresh) == pytest.approx(expected, abs=1e-3)


def test_trees_are_fitted_to_the_root_of_a_length():
    x = np.zeros((2, len(FEATURES)))
    assert metres(plain_trees(20.0), x) == pytest.approx([400, 400])
    assert metres(plain_trees(-3.0), x) == pytest.approx([0, 0])


def test_trees_never_answer_below_nothing():
    assert plain_trees(-5.0).predict(np.zeros((3, len(FEATURES)))) == pytest.approx([0, 0, 0])
    assert plain_trees(30.0).predict(np.zeros((2, len(FEATURES)))) == pytest.approx([30, 30])
    trees = small_trees()
    assert trees.predict(np.zeros((1, len(FEATURES)))).shape == (1,)
    raised = replace(trees, base=trees.base + 10)
    x = np.random.default_rng(1).standard_normal((5, len(FEATURES)))
    assert raised.predict(x) == pytest.approx(trees.predict(x) + 10)
