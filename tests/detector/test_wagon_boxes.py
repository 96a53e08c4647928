"""Overlap, suppression and matching of oriented boxes, against shapely and brute force."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from best_match import match_best
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.wagons.boxes import (
    as_boxes,
    box_corners,
    match,
    near_pairs,
    overlapping_pairs,
    pair_iou,
    rotated_iou,
    suppress,
)

SEEDS = st.integers(0, 2**32 - 1)


def scatter(rng: np.random.Generator, n: int, span: float, centre: float = 0.0) -> np.ndarray:
    """Boxes of all shapes within a square."""
    return np.column_stack(
        [
            centre + rng.uniform(0, span, (n, 2)),
            rng.uniform(5, 60, n),
            rng.uniform(3, 25, n),
            rng.uniform(0, 180, n),
        ]
    )


def iou_by_shapely(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    first, second = shapely.polygons(box_corners(a)), shapely.polygons(box_corners(b))
    common = shapely.area(shapely.intersection(first[:, None], second[None]))
    return common / (shapely.area(first)[:, None] + shapely.area(second)[None] - common)


def greedy(boxes: np.ndarray, scores: np.ndarray, limit: float) -> list[int]:
    """Suppression as the textbook has it."""
    overlap = rotated_iou(boxes, boxes)
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        if all(overlap[k, i] <= limit for k in kept):
            kept.append(int(i))
    return kept


@pytest.mark.parametrize("centre", [0.0, -500.0, 40_000.0, 5_000_000.0])
def test_overlap_agrees_with_shapely_however_far_from_the_origin(centre):
    rng = np.random.default_rng(3)
    a, b = scatter(rng, 60, 80, centre), scatter(rng, 50, 80, centre)
    np.testing.assert_allclose(rotated_iou(a, b), iou_by_shapely(a, b), atol=1e-5)


def test_overlap_of_strings_of_wagons_agrees_with_shapely():
    turns = np.deg2rad(np.linspace(0, 180, 40))
    boxes = np.column_stack(
        [30 * np.cos(turns), 30 * np.sin(turns), np.full(40, 30.0), np.full(40, 6.0), np.rad2deg(turns) % 180]
    )
    np.testing.assert_allclose(rotated_iou(boxes, boxes), iou_by_shapely(boxes, boxes), atol=1e-5)


@given(
    st.floats(-200, 200),
    st.floats(-200, 200),
    st.floats(4, 60),
    st.floats(2, 30),
    st.floats(0, 179.99),
)
@settings(max_examples=60)
def test_one_box_written_in_other_ways_overlaps_itself_wholly(x, y, length, width, angle):
    box = as_boxes([[x, y, length, width, angle]])
    ways = as_boxes(
        [
            [x, y, length, width, angle + 180],
            [x, y, length, width, angle - 180],
            [x, y, width, length, angle + 90],
            [x, y, width, length, angle - 90],
        ]
    )
    np.testing.assert_allclose(rotated_iou(box, ways), 1.0, atol=1e-9)


@pytest.mark.parametrize("step", [0.0, 1e-12, 1e-9, 1e-7, 1e-6, 1e-4])
def test_nearly_equal_boxes_overlap_nearly_wholly(step):
    # As one wagon is seen in two tiles: kernels that collect corners fall over such pairs.
    rng = np.random.default_rng(11)
    boxes = scatter(rng, 400, 300)
    boxes[:200, 4] = rng.choice([0, 45, 90, 135], 200)
    again = boxes + rng.normal(0, step, boxes.shape)
    again[::3, 4] += 180
    assert pair_iou(boxes, again).min() > 1 - 1e-9 - 10 * step
    assert suppress(np.concatenate([boxes[:50], again[:50]]), np.ones(100), 0.9).max() < 50


@pytest.mark.parametrize("angle", [0.0, 30.0, 90.0, 163.0])
def test_boxes_that_share_an_edge_or_a_part(angle):
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    first = as_boxes([[0, 0, 30, 6, angle]])
    along = [30 * cos, 30 * sin, 30, 6, angle]  # end to end
    half = [15 * cos, 15 * sin, 30, 6, angle]  # half over each other
    inner = [2 * cos, 2 * sin, 10, 3, angle]
    np.testing.assert_allclose(
        rotated_iou(first, as_boxes([along, half, inner])), [[0, 1 / 3, 30 / 180]], atol=1e-9
    )


def test_angles_turn_clockwise_on_the_image():
    # A box along the diagonal that falls to the right (y down) is at 45 degrees, and covers (8, 8).
    falling, spot = as_boxes([[0, 0, 40, 4, 45]]), as_boxes([[8, 8, 3, 3, 0]])
    assert rotated_iou(falling, spot)[0, 0] > 0.04
    assert rotated_iou(falling, spot * [1, -1, 1, 1, 1])[0, 0] == 0


def test_nothing_overlaps_nothing():
    none, one = as_boxes([]), as_boxes([[0, 0, 30, 6, 0]])
    assert rotated_iou(none, one).shape == (0, 1)
    assert rotated_iou(one, none).shape == (1, 0)
    assert [len(x) for x in overlapping_pairs(none, 0.1)] == [0, 0]
    assert [len(x) for x in overlapping_pairs(one, 0.1)] == [0, 0]
    assert suppress(none, np.zeros(0), 0.3).tolist() == []
    assert suppress(one, np.ones(1), 0.3).tolist() == [0]


@pytest.mark.parametrize("chunk", [1, 7, 20_000])
def test_pairs_are_the_same_whatever_the_chunks(chunk, monkeypatch):
    boxes = scatter(np.random.default_rng(5), 150, 400, -130.0)
    overlap = np.triu(iou_by_shapely(boxes, boxes), 1)
    expected = set(zip(*(axis.tolist() for axis in np.nonzero(overlap > 0.05)), strict=True))
    monkeypatch.setattr("detector.wagons.boxes._CHUNK_PAIRS", chunk)
    first, second = overlapping_pairs(boxes, 0.05)
    assert set(zip(first.tolist(), second.tolist(), strict=True)) == expected
    assert len(expected) > 25
    np.testing.assert_allclose(rotated_iou(boxes, boxes), iou_by_shapely(boxes, boxes), atol=1e-5)


@given(SEEDS, st.integers(0, 90), st.sampled_from([1.0, 3.0, 40.0]))
@settings(max_examples=40)
def test_near_points_are_those_of_all_pairs(seed, number, reach):
    rng = np.random.default_rng(seed)
    # On whole numbers, so that points coincide and lie just as far apart as the reach.
    places = rng.integers(-25, 25, (number, 2)).astype(np.float64)
    apart = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))
    expected = set(zip(*(axis.tolist() for axis in np.nonzero(np.triu(apart <= reach, 1))), strict=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("detector.wagons.boxes._CHUNK_POINTS", 7)
        pairs = np.sort(near_pairs(places, reach), axis=0).T.tolist()
    assert len(pairs) == len(expected)
    assert {(i, j) for i, j in pairs} == expected


def test_fat_boxes_that_touch_at_their_corners_are_a_pair():
    # Their centres are further apart than either is long.
    boxes = as_boxes([[0, 0, 20, 20, 45], [27, 0, 20, 20, 45]])
    first, second = overlapping_pairs(boxes, 0.0)
    assert (first.tolist(), second.tolist()) == ([0], [1])


@given(SEEDS, st.sampled_from([0.1, 0.25, 0.5]))
@settings(max_examples=20)
def test_suppression_equals_brute_force(seed, limit):
    rng = np.random.default_rng(seed)
    boxes = scatter(rng, 60, 300)
    # Few distinct scores, so that there are ties.
    scores = rng.integers(0, 12, 60) / 12
    assert suppress(boxes, scores, limit).tolist() == greedy(boxes, scores, limit)


def test_of_equals_the_first_is_kept():
    boxes = as_boxes([[0, 0, 30, 6, 0]] * 3 + [[100, 0, 30, 6, 0]] * 2)
    assert suppress(boxes, np.ones(5), 0.3).tolist() == [0, 3]


def test_the_kept_come_best_first_and_a_beaten_box_beats_nobody():
    # The second beats the third, but is itself beaten by the first, which the third only touches.
    boxes = as_boxes([[0, 0, 30, 6, 0], [12, 0, 30, 6, 0], [24, 0, 30, 6, 0]])
    assert suppress(boxes, np.array([0.7, 0.6, 0.5]), 0.25).tolist() == [0, 2]
    assert suppress(boxes, np.array([0.5, 0.6, 0.7]), 0.25).tolist() == [2, 0]


@given(SEEDS)
@settings(max_examples=20)
def test_matches_are_one_to_one_and_overlap_enough(seed):
    rng = np.random.default_rng(seed)
    predicted, true = scatter(rng, 25, 120), scatter(rng, 20, 120)
    scores = rng.random(25)
    overlap = rotated_iou(predicted, true)
    for found in (match(predicted, scores, true, 0.2), match_best(predicted, true, 0.2)):
        assert len(set(found.predicted.tolist())) == len(found.predicted)
        assert len(set(found.true.tolist())) == len(found.true)
        np.testing.assert_allclose(found.iou, overlap[found.predicted, found.true])
        assert (found.iou >= 0.2).all()
    best = match_best(predicted, true, 0.2)
    assert best.iou.sum() >= match(predicted, scores, true, 0.2).iou.sum() - 1e-9


def test_the_surest_prediction_chooses_first():
    true = as_boxes([[0, 0, 30, 6, 0]])
    exact, shifted = [0, 0, 30, 6, 0], [6, 0, 30, 6, 0]
    found = match(as_boxes([exact, shifted]), np.array([0.5, 0.9]), true, 0.3)
    assert found.predicted.tolist() == [1]
    # Without scores, the closest one has it.
    assert match_best(as_boxes([shifted, exact]), true, 0.3).predicted.tolist() == [1]


def test_a_prediction_falls_back_on_a_free_box():
    true = as_boxes([[0, 0, 30, 6, 0], [14, 0, 30, 6, 0]])
    twice = as_boxes([[2, 0, 30, 6, 0], [3, 0, 30, 6, 0]])
    found = match(twice, np.array([0.9, 0.8]), true, 0.3)
    assert found.predicted.tolist() == [0, 1]
    assert found.true.tolist() == [0, 1]


def test_nothing_matches_nothing():
    none, one = as_boxes([]), as_boxes([[0, 0, 30, 6, 0]])
    for a, b in ((none, one), (one, none), (none, none)):
        assert len(match(a, np.ones(len(a)), b, 0.3).predicted) == 0
        assert len(match_best(a, b, 0.3).predicted) == 0
