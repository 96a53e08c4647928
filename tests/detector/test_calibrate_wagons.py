"""Rescorer, threshold and count model, fitted to labelled tiles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from painted import bright_net, bright_wagons

from detector.training.calibrate_wagons import (
    best_threshold,
    count_model_of,
    detect_tiles,
    finish,
    fit,
    score,
    truth_of,
    untrained,
)
from detector.training.metrics import Scored
from detector.training.shards import LabelledTile
from detector.wagons import weights
from detector.wagons.boxes import as_boxes
from detector.wagons.detector import WagonDetector

SIZE = (160, 224)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


def draft() -> weights.Weights:
    """A network that sees bright spots, with a judge that knows nothing."""
    torch.manual_seed(0)
    return weights.Weights(untrained(), {"name": "draft"}, "", Path("draft.safetensors"), bright_net())


def tile(seed: int, *, meta=None, ignored=()) -> LabelledTile:
    """Bright wagons in strings, and lone bright spots that aren't any."""
    rng = np.random.default_rng(seed)
    string = [(26 + 36 * k, 42 + 40 * int(rng.integers(0, 2))) for k in range(int(rng.integers(2, 6)))]
    spots = (
        [(int(rng.integers(5, 50)) * 4 + 2, 126 + 4 * int(rng.integers(0, 4)))] if rng.random() < 0.6 else []
    )
    image = bright_wagons(string + spots, SIZE)
    for x, y in spots:  # round and small
        image[y - 5 : y + 5, : x - 6] = np.minimum(image[y - 5 : y + 5, : x - 6], 20)
        image[y - 5 : y + 5, x + 6 :] = np.minimum(image[y - 5 : y + 5, x + 6 :], 20)
    boxes = as_boxes([[x, y, 30, 6, 0] for x, y in string])
    return LabelledTile(
        image=image,
        boxes=boxes,
        category=np.zeros(len(boxes), int),
        ignored=np.isin(np.arange(len(boxes)), ignored),
        track=np.zeros((SIZE[0] // 4, SIZE[1] // 4), np.uint8),
        meta={"name": f"tile {seed}", "gsd_m": 0.4, **(meta or {})},
    )


def test_candidates_on_wagons_are_wagons_and_on_ignored_ones_nothing():
    source = tile(0, ignored=[0])
    pictured = detect_tiles(WagonDetector(draft(), "cpu"), [source])[0]
    real, skip = truth_of(pictured)
    x, y = pictured.candidates.boxes[:, 0], pictured.candidates.boxes[:, 1]
    assert real.sum() == len(source.boxes) - 1
    for box, is_ignored in zip(source.boxes, source.ignored, strict=True):
        at = np.hypot(x - box[0], y - box[1]) < 3
        assert real[at].any() != is_ignored
        assert skip[at].any() == is_ignored
    assert not (real & skip).any()


def test_looking_crops_to_the_network_s_stride():
    source = tile(1)
    odd = LabelledTile(
        np.pad(source.image, ((0, 5), (0, 9), (0, 0))),
        source.boxes,
        source.category,
        source.ignored,
        source.track,
        source.meta,
    )
    a, b = detect_tiles(WagonDetector(draft(), "cpu"), [source, odd])
    np.testing.assert_array_equal(a.candidates.boxes, b.candidates.boxes)


def test_the_fitted_judge_tells_wagons_from_spots():
    detector = WagonDetector(draft(), "cpu")
    judge = fit(detect_tiles(detector, [tile(seed) for seed in range(24)]))
    fresh = detect_tiles(detector, [tile(seed) for seed in range(100, 112)])
    judged = WagonDetector(weights.Weights(judge, {}, "", Path("x"), bright_net()), "cpu")
    wagons, others = [], []
    for item in score(judged, fresh):
        hit = item.boxes[:, 1] < 100
        wagons += item.probability[hit].tolist()
        others += item.probability[~hit].tolist()
    assert np.mean(wagons) > 0.85
    assert np.mean(others) < 0.3


def test_everything_is_fitted_and_judged_on_other_tiles():
    said = []
    finished, figures = finish(
        draft(),
        [tile(seed) for seed in range(16)],
        [tile(seed) for seed in range(50, 66)],
        device="cpu",
        report=said.append,
    )
    assert 0.2 <= finished.card["threshold"] <= 0.8
    assert finished.card["name"] == "draft"
    assert figures["f1_0.5"] > 0.95
    assert figures["count_mae"] < 0.2
    assert figures["interval_coverage"] > 0.8
    assert len(said) == 2
    detector = WagonDetector(finished, "cpu")
    assert detector.count_model.to_json() == finished.card["count_model"]


def test_the_odds_of_freight_and_coach_come_from_tiles_of_their_own():
    judged, counted = [tile(seed) for seed in range(4)], [tile(seed) for seed in range(50, 54)]
    # The tiles for counts hold freight cars alone. Half of these are coaches, in which the network sees no
    # difference: the odds must become even.
    mixed = [replace(one, category=one.category + 2 * (k % 2)) for k, one in enumerate([*counted, *counted])]
    other, _ = finish(draft(), judged, counted, for_odds=mixed, device="cpu")
    item = detect_tiles(WagonDetector(other, "cpu"), [tile(60)])[0]
    freight = WagonDetector(other, "cpu").judge(item.candidates, 0.4).freight
    np.testing.assert_allclose(freight, 0.5, atol=0.1)


def test_a_network_that_sees_nothing_can_be_finished_too():
    blind = draft()
    with torch.no_grad():
        blind.network.place_head[-1].bias[0] = -50.0
    finished, figures = finish(blind, [tile(0)], [tile(1)], device="cpu")
    assert figures["recall_0.5"] == 0
    assert all(np.isfinite(v) for v in finished.card["count_model"].values())
    # And it isn't sure of what it then may see.
    assert WagonDetector(finished, "cpu")._judge.probability(np.zeros((1, 17))).max() < 0.05


def test_wagons_beyond_the_frame_count_neither_way():
    # The picture's own size is smaller than the tile, and a centre lies beyond it.
    source = tile(2, meta={"size_px": (180, 150)})
    scored = score(WagonDetector(draft(), "cpu"), detect_tiles(WagonDetector(draft(), "cpu"), [source]))[0]
    assert scored.size_px == (180.0, 150.0)
    beyond = source.boxes[:, 0] >= 180
    np.testing.assert_array_equal(scored.ignored, beyond)
    assert (scored.boxes[:, 0] < 180).all()
    assert scored.name == "tile 2"


def scored(probability, hit, true: int, ignored: int = 0) -> Scored:
    """Predictions that hit wagons or the empty ground beside them."""
    n = len(probability)
    boxes = as_boxes([[30 + 50 * k, 30 if h else 200, 30, 6, 0] for k, h in enumerate(hit)])
    wagons = as_boxes([[30 + 50 * k, 30, 30, 6, 0] for k in range(true)])
    skip = np.arange(true) < ignored
    return Scored(
        "s",
        boxes,
        np.asarray(probability, float),
        np.zeros(n, int),
        wagons,
        np.zeros(true, int),
        skip,
        (999, 300),
        0.5,
    )


def test_the_threshold_is_where_f1_is_highest():
    # Right above 0.55, wrong below.
    items = [scored([0.9, 0.7, 0.6, 0.5, 0.4], [True, True, True, False, False], 3)]
    assert 0.5 < best_threshold(items) <= 0.6
    # All of them right: take what one can get.
    assert best_threshold([scored([0.9, 0.3, 0.25], [True] * 3, 3)]) <= 0.25


def test_of_thresholds_that_are_as_good_it_is_the_highest():
    # Between 0.3 and 0.6 lie one hit and one wrong box of a thousand: F1 moves by less than it can be told.
    sure = [scored([0.9], [True], 1) for _ in range(1000)]
    assert 0.5 < best_threshold([*sure, scored([0.55, 0.31], [False, True], 1)]) <= 0.8
    # Ten missed of a thousand can be told.
    missed = [scored([0.4], [True], 1) for _ in range(10)]
    assert best_threshold([*sure, *missed]) == 0.4


def test_the_count_model_leaves_out_what_is_ignored():
    # Each picture has four wagons, one of them ignored, and finds all of them.
    items = [scored([0.99] * 4, [True] * 4, 4, ignored=1) for _ in range(30)]
    model = count_model_of(items)
    assert model.unseen == pytest.approx(1 / 0.99 - 1, abs=1e-6)
    found = model.interval(np.full(20, 0.99), np.zeros(0))
    assert found.low <= 20 <= found.high
