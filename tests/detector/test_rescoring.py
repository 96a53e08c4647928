"""Strings, neighbours and sizes as evidence, and the judge that weighs it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.training.calibrate_wagons import RescorerNet, fit_judge, mean_judge
from detector.training.shards import transform_boxes
from detector.wagons import rescoring
from detector.wagons.boxes import as_boxes
from detector.wagons.decode import MAP_FEATURES, Candidates
from detector.wagons.rescoring import FEATURES, RAKE_FEATURES, Rescorer, features, rake_features

COLUMN = {name: i for i, name in enumerate(RAKE_FEATURES)}


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


def candidates(boxes, centre_logit=2.0) -> Candidates:
    boxes = as_boxes(boxes)
    maps = np.zeros((len(boxes), len(MAP_FEATURES)))
    maps[:, 0] = centre_logit
    return Candidates(boxes, np.full((len(boxes), 3), 1 / 3), maps)


def string(n: int, y: float = 100.0, gap: float = 2.0, length: float = 30.0) -> list[list[float]]:
    return [[50 + k * (length + gap), y, length, 6.0, 0.0] for k in range(n)]


def seen(boxes, centre_logit=2.0, gsd_m=0.5) -> np.ndarray:
    return rake_features(candidates(boxes, centre_logit), gsd_m)


def probability(logit: float) -> float:
    return 1 / (1 + np.exp(-logit))


def test_a_wagon_in_a_string_has_neighbours_ahead_and_behind():
    out = seen(string(4))
    assert out[1, COLUMN["rake_ahead"]] == pytest.approx(probability(2))
    assert out[1, COLUMN["rake_behind"]] == pytest.approx(probability(2))
    assert out[0, COLUMN["rake_ahead"]] == pytest.approx(probability(2))
    assert out[0, COLUMN["rake_behind"]] == 0
    assert out[1, COLUMN["rake_length"]] == pytest.approx(probability(2))


def test_the_best_side_counts_as_ahead():
    boxes = string(3)
    out = seen(boxes, centre_logit=np.array([-1.0, 0.0, 3.0]))
    assert out[1, COLUMN["rake_ahead"]] == pytest.approx(probability(3))
    assert out[1, COLUMN["rake_behind"]] == pytest.approx(probability(-1))


def test_many_candidates_are_judged_part_by_part(monkeypatch):
    rng = np.random.default_rng(0)
    boxes = np.column_stack(
        [rng.uniform(0, 300, (60, 2)), rng.uniform(20, 40, 60), np.full(60, 6.0), rng.uniform(0, 180, 60)]
    )
    judge = RescorerNet(8).finished()
    whole = seen(boxes), judge.logits(features(candidates(boxes), 0.5))
    monkeypatch.setattr(rescoring, "_PAIRS_AT_ONCE", 7)
    monkeypatch.setattr(rescoring, "_ROWS_AT_ONCE", 11)
    assert (seen(boxes) == whole[0]).all()
    np.testing.assert_allclose(judge.logits(features(candidates(boxes), 0.5)), whole[1], rtol=1e-12)


def test_another_length_agrees_less():
    same, other = string(2), string(2)
    other[1][2], other[1][0] = 50.0, 50 + 15 + 2 + 25
    assert seen(other)[0, COLUMN["rake_length"]] < seen(same)[0, COLUMN["rake_length"]] / 2


@pytest.mark.parametrize(
    "other",
    [
        [50 + 60, 100, 30, 6, 0],  # too far ahead
        [50 + 32, 106, 30, 6, 0],  # off the line
        [50 + 32, 100, 30, 6, 40],  # at an angle
    ],
)
def test_what_is_not_in_line_is_no_string(other):
    out = seen([[50, 100, 30, 6, 0], other])
    assert out[0, COLUMN["rake_ahead"]] == 0


def test_neighbours_on_the_next_track_are_parallel():
    out = seen([[50, 100, 30, 6, 0], [55, 110, 30, 6, 1]])  # 5 m away
    assert out[0, COLUMN["parallel"]] == pytest.approx(probability(2))
    assert out[0, COLUMN["rake_ahead"]] == 0
    assert seen([[50, 100, 30, 6, 0], [55, 120, 30, 6, 1]])[0, COLUMN["parallel"]] == 0


def test_two_in_one_place_crowd_each_other():
    out = seen([[50, 100, 30, 6, 0], [52, 101, 30, 6, 90]])
    assert (out[:, COLUMN["crowding"]] > 0.8).all()
    assert (seen(string(3))[:, COLUMN["crowding"]] == 0).all()


def test_sizes_and_resolution_are_logarithms():
    out = seen([[0, 0, 60, 3, 0]], gsd_m=1.0)
    assert out[0, COLUMN["length"]] == pytest.approx(np.log(2))
    assert out[0, COLUMN["width"]] == pytest.approx(np.log(0.5))
    assert out[0, COLUMN["source_gsd"]] == pytest.approx(np.log(2))


def test_nothing_and_one_have_features_too():
    assert features(Candidates.none(), 0.5).shape == (0, len(FEATURES))
    alone = features(candidates([[0, 0, 30, 6, 0]]), 0.5)
    assert alone.shape == (1, len(FEATURES))
    assert np.isfinite(alone).all()


@given(st.integers(0, 10_000), st.floats(0, 360), st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
@settings(max_examples=25)
def test_features_depend_neither_on_place_nor_direction_nor_order(seed, turn, x, y):
    rng = np.random.default_rng(seed)
    # Strings with some noise; not at the limits of the rules, where rounding would decide.
    boxes = as_boxes(string(5) + string(4, y=111.3, gap=3.1) + string(2, y=141.7, length=41.0))
    boxes[:, :2] += rng.uniform(-0.3, 0.3, (len(boxes), 2))
    centre_logit = rng.normal(0, 2, len(boxes))
    before = seen(boxes, centre_logit)
    radians = np.deg2rad(turn)
    matrix = np.array([[np.cos(radians), -np.sin(radians), x], [np.sin(radians), np.cos(radians), y]])
    order = rng.permutation(len(boxes))
    after = seen(transform_boxes(boxes, matrix)[order], centre_logit[order])
    np.testing.assert_allclose(after, before[order], atol=1e-6)


def toy(n: int = 1200, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Candidates whose first feature decides, with some noise, in 60 scenes."""
    rng = np.random.default_rng(seed)
    x = rng.normal(2.0, 3.0, (n, len(FEATURES)))
    y = rng.random(n) < 1 / (1 + np.exp(-1.5 * (x[:, 0] - 2)))
    return x, y, rng.integers(0, 60, n)


def test_the_judge_learns_probabilities():
    judge, quality = fit_judge(*toy())
    x, y, _ = toy(6000, seed=1)
    p = judge.probability(x)
    assert ((p > 0) & (p < 1)).all()
    # Fresh candidates of each band of probability are wagons that often.
    for low in (0.0, 0.25, 0.5, 0.75):
        band = (p >= low) & (p < low + 0.25)
        assert abs(y[band].mean() - p[band].mean()) < 0.08
    assert quality.loss < 0.6
    assert quality.held_out_loss < 0.6


def test_the_same_seed_gives_the_same_judge():
    x, y, scene = toy(300)
    first, _ = fit_judge(x, y, scene, seed=4, epochs=50)
    second, _ = fit_judge(x, y, scene, seed=4, epochs=50)
    np.testing.assert_array_equal(first.probability(x), second.probability(x))


def test_the_mean_of_judges_has_the_mean_of_their_logits():
    x, y, scene = toy(300)
    judges = [fit_judge(x, y, scene, seed=s, epochs=30, members=1)[0] for s in range(3)]
    rows = toy(40, seed=2)[0]
    mean = np.mean([judge.logits(rows) for judge in judges], axis=0)
    np.testing.assert_allclose(mean_judge(judges).logits(rows), mean, rtol=1e-4, atol=1e-5)


def test_what_is_fitted_answers_as_it_did_while_it_was_fitted():
    torch.manual_seed(5)
    net = RescorerNet(7)
    net.mean.uniform_(-1, 1)
    net.deviation.uniform_(0.5, 2)
    rows = toy(40, seed=2)[0]
    with torch.no_grad():
        logits = net(torch.from_numpy(rows).float()).numpy()
    finished = net.finished()
    np.testing.assert_allclose(finished.logits(rows), logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(finished.probability(rows), 1 / (1 + np.exp(-logits)), rtol=1e-4)


def test_several_judges_are_steadier_than_one():
    x, y, scene = toy(400)
    fresh = toy(500, seed=9)[0]
    spread = {
        members: np.std(
            [
                fit_judge(x, y, scene, seed=s, epochs=80, members=members)[0].probability(fresh)
                for s in range(6)
            ],
            axis=0,
        ).mean()
        for members in (1, 6)
    }
    assert spread[6] < 0.7 * spread[1]


def test_heavier_candidates_pull_more():
    x, y, scene = toy(600)
    x[:] = 0
    y[:] = np.arange(600) % 2 == 0
    weight = np.where(y, 9.0, 1.0)
    judge, _ = fit_judge(x, y, scene, weight=weight, epochs=200)
    assert judge.probability(x[:1])[0] == pytest.approx(0.9, abs=0.03)


def test_one_scene_is_enough_to_fit():
    x, y, _ = toy(300)
    judge, quality = fit_judge(x, y, np.zeros(300, int), epochs=100)
    assert np.isfinite(quality.loss)
    assert judge.probability(x)[y].mean() > judge.probability(x)[~y].mean() + 0.3


def test_without_candidates_nothing_is_believed():
    judge, _ = fit_judge(np.zeros((0, len(FEATURES))), np.zeros(0, bool), np.zeros(0, int))
    x, _, _ = toy(50)
    assert (judge.probability(x) < 0.02).all()


def test_judges_differ_only_by_what_is_saved():
    judge, _ = fit_judge(*toy(300), epochs=30)
    other = Rescorer.from_arrays(judge.arrays())
    x, _, _ = toy(40, seed=3)
    np.testing.assert_array_equal(judge.probability(x), other.probability(x))
