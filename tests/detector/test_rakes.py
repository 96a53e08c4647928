"""Rakes: which cars are coupled, and what they are together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.wagons.rakes import FreightOdds, category_probability, coupled, rakes


def row(n: int, *, angle_deg: float = 0.0, pitch: float = 30.0, y: float = 0.0) -> np.ndarray:
    """Cars of 14 m, a metre apart, in work pixels."""
    theta = np.deg2rad(angle_deg)
    along = np.arange(n) * pitch
    x = along * np.cos(theta) - y * np.sin(theta)
    return np.column_stack(
        [
            x,
            along * np.sin(theta) + y * np.cos(theta),
            np.full(n, 28.0),
            np.full(n, 6.0),
            np.full(n, angle_deg % 180.0),
        ]
    )


@given(st.floats(0.0, 179.0), st.integers(1, 12))
def test_a_row_is_one_rake_whatever_its_direction(angle_deg, n):
    assert len(set(rakes(row(n, angle_deg=angle_deg)).tolist())) == 1


@given(st.floats(0.0, 179.0))
def test_rows_on_neighbouring_tracks_are_two(angle_deg):
    both = np.concatenate([row(5, angle_deg=angle_deg), row(5, angle_deg=angle_deg, y=9.0)])
    number = rakes(both)
    assert len(set(number.tolist())) == 2
    assert len(set(number[:5].tolist())) == 1


def test_a_gap_parts_a_row():
    cars = row(6)
    cars[3:, 0] += 10.0  # 5 m more
    assert rakes(cars).tolist() == [0, 0, 0, 1, 1, 1]


def test_a_curve_is_one_rake():
    heading = np.arange(10) * 4.0
    steps = np.column_stack([np.cos(np.deg2rad(heading)), np.sin(np.deg2rad(heading))]) * 30.0
    place = np.cumsum(steps, axis=0) - steps / 2
    cars = np.column_stack([place, np.full(10, 28.0), np.full(10, 6.0), heading])
    assert len(set(rakes(cars).tolist())) == 1


def test_a_rake_is_one_whatever_the_order_of_its_cars():
    order = np.random.default_rng(3).permutation(120)
    cars = np.concatenate([row(60), row(60, y=9.0)])[order]
    assert rakes(cars).tolist() == [int((number < 60) != (order[0] < 60)) for number in order]


def test_no_box_and_one():
    assert len(coupled(np.zeros((0, 5)))[0]) == 0
    assert rakes(row(1)).tolist() == [0]
    assert category_probability(np.zeros((0, 5)), np.zeros(0), np.zeros((0, 3))).shape == (0, 3)


def test_one_car_seen_as_freight_is_outvoted_by_its_rake():
    category = np.tile([0.2, 0.0, 0.8], (5, 1))
    category[2] = [0.7, 0.0, 0.3]
    found = category_probability(row(5), np.full(5, 0.9), category)
    assert (found.argmax(axis=1) == 2).all()
    alone = row(5)
    alone[:, 1] = np.arange(5) * 40.0  # five tracks
    found = category_probability(alone, np.full(5, 0.9), category)
    assert found.argmax(axis=1).tolist() == [2, 2, 0, 2, 2]
    assert found == pytest.approx(category, abs=2e-4)


def test_a_locomotive_stays_one_whatever_it_pulls():
    category = np.array([[0.1, 0.8, 0.1], [0.9, 0.0, 0.1], [0.9, 0.0, 0.1]])
    assert category_probability(row(3), np.ones(3), category).argmax(axis=1).tolist() == [1, 0, 0]


@given(
    st.lists(
        st.tuples(st.floats(0.01, 1.0), st.floats(0.01, 1.0), st.floats(0.01, 1.0)), min_size=1, max_size=9
    )
)
def test_probabilities_stay_probabilities(weights):
    category = np.array(weights)
    category /= category.sum(axis=1, keepdims=True)
    found = category_probability(row(len(category)), np.full(len(category), 0.5), category)
    assert found.sum(axis=1) == pytest.approx(np.ones(len(category)))
    assert (found >= 0).all()
    assert found[:, 1] == pytest.approx(category[:, 1])


def test_what_is_hardly_a_vehicle_hardly_votes():
    category = np.array([[0.9, 0.0, 0.1], [0.1, 0.0, 0.9]])
    found = category_probability(row(2), np.array([0.02, 0.95]), category)
    assert found.argmax(axis=1).tolist() == [2, 2]


def test_calibrated_odds_move_the_border_between_freight_and_coach():
    category = np.tile([0.45, 0.0, 0.55], (4, 1))
    plain = category_probability(row(4), np.ones(4), category)
    moved = category_probability(row(4), np.ones(4), category, FreightOdds(0.5, 1.0))
    assert (plain.argmax(axis=1) == 2).all()
    assert (moved.argmax(axis=1) == 0).all()
    assert moved[:, 0] == pytest.approx(1 / (1 + np.exp(-(0.5 * np.log(0.45 / 0.55) + 1.0))))
