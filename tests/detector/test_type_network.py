"""Types of freight cars: cut-outs, the network in numpy, what a rake says, and when a type is unknown."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from detector.errors import WeightsError
from detector.tensor_file import save_tensors
from detector.training.types_recipe import TypeNet, jittered
from detector.wagons.categories import TYPE_NAMES, TYPES, UNKNOWN, count_by_type
from detector.wagons.type_network import (
    COLUMNS,
    FORMAT,
    ROWS,
    CandidateCuts,
    TypeNetwork,
    TypeOdds,
    cut_outs,
    decided,
    planes,
    probabilities,
)
from geo.boxes import box_corners

RAKE = np.array([[20.0 + 30 * k, 20, 28, 6, 0] for k in range(5)])
ALONE = np.array([[20.0, 200, 28, 6, 0]])


def says(*kinds: int, sure: float = 0.9) -> np.ndarray:
    """Log probabilities of cars, each of which looks like one type."""
    out = np.full((len(kinds), len(TYPES)), (1 - sure) / 3)
    out[np.arange(len(kinds)), kinds] = sure
    return np.log(out)


@pytest.fixture(scope="module")
def net() -> TypeNet:
    torch.manual_seed(3)
    net = TypeNet()
    for norm in net.norms:  # as after a training, when they do something
        norm.running_mean.uniform_(-0.2, 0.2)
        norm.running_var.uniform_(0.5, 2.0)
    return net.eval()


@pytest.mark.parametrize("angle", [0, 37, 90, 140])
def test_a_cut_out_shows_the_car_along_its_rows_whatever_its_angle(angle):
    box = np.array([[60.0, 60, 30, 6, angle]])
    image = np.zeros((120, 120, 3), np.uint8)
    # OpenCV draws the outline's own pixels too: half a pixel more on each side.
    corners = np.round((box_corners(box - [0, 0, 1, 1, 0])[0] - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(image, [corners], (200, 200, 200), cv2.LINE_AA, 4)
    (cut,) = cut_outs(image, box)
    assert cut.shape == (ROWS, COLUMNS, 3)
    # The car fills four fifths of the columns and half of the rows.
    middle = cut[ROWS // 2, :, 0].astype(int)
    assert (middle[6:-6] > 150).all()
    assert (middle[[0, 1, 2, -3, -2, -1]] < 50).all()
    across = cut[:, COLUMNS // 2, 0].astype(int)
    assert (across[5:-5] > 150).all()
    assert (across[[0, 1, -2, -1]] < 50).all()


def test_a_longer_car_fills_its_cut_out_as_a_short_one_does_and_its_length_is_told():
    boxes = np.array([[60.0, 60, 24, 6, 0], [60.0, 60, 48, 6, 0]])
    cuts = cut_outs(np.random.default_rng(0).integers(0, 256, (120, 120, 3), np.uint8), boxes)
    seen = planes(cuts, boxes)
    assert seen.shape == (2, ROWS, COLUMNS, 4)
    assert (seen[0, ..., 3] < seen[1, ..., 3]).all()
    np.testing.assert_allclose(seen[..., :3].mean(axis=(1, 2, 3)), 0, atol=1e-4)


def test_cut_outs_of_many_boxes_are_those_of_each_and_of_none_there_are_none():
    rng = np.random.default_rng(1)
    image = cv2.blur(rng.integers(0, 256, (300, 300, 3), np.uint8), (3, 3))
    many = np.column_stack([rng.uniform(0, 300, (150, 2)), rng.uniform(20, 60, 150), np.full(150, 6.0)])
    many = np.column_stack([many, rng.uniform(0, 180, 150)])
    together = cut_outs(image, many).astype(int)
    each = np.concatenate([cut_outs(image, many[[k]]) for k in range(150)])
    assert np.abs(together - each).max() <= 1
    assert cut_outs(image, many[:0]).shape == (0, ROWS, COLUMNS, 3)


def test_brightness_and_contrast_of_an_image_change_nothing():
    boxes = np.array([[60.0, 60, 30, 6, 20]])
    image = np.random.default_rng(0).integers(0, 256, (120, 120, 3), np.uint8)
    dull = (40 + image * 0.5).astype(np.uint8)
    one, other = (planes(cut_outs(given, boxes), boxes) for given in (image, dull))
    np.testing.assert_allclose(one, other, atol=0.3)  # of values to 2.5: low contrast is raised a little less


def test_numpy_answers_as_torch_does(net):
    rng = np.random.default_rng(0)
    cuts = rng.integers(0, 256, (70, ROWS, COLUMNS, 3), np.uint8)
    boxes = np.column_stack([np.zeros((70, 2)), rng.uniform(20, 56, 70), rng.uniform(5, 7, 70), np.zeros(70)])
    network = TypeNetwork.from_arrays(net.arrays(), {}, "")
    with torch.inference_mode():
        seen = torch.from_numpy(planes(cuts, boxes).transpose(0, 3, 1, 2).copy())
        wanted = net(seen).log_softmax(dim=1).numpy()
    np.testing.assert_allclose(network.log_probabilities(cuts, boxes), wanted, atol=1e-4)


def test_weights_come_back_from_their_file(net, tmp_path):
    path = tmp_path / "types.safetensors"
    save_tensors(path, net.arrays(), {"type_odds": [0.5, 0.25, 0.7]}, FORMAT)
    network = TypeNetwork.load(path)
    assert network.odds == TypeOdds(0.5, 0.25, 0.7)
    cuts = np.random.default_rng(1).integers(0, 256, (3, ROWS, COLUMNS, 3), np.uint8)
    boxes = np.repeat(ALONE, 3, axis=0)
    before = TypeNetwork.from_arrays(net.arrays(), {}, "").log_probabilities(cuts, boxes)
    np.testing.assert_allclose(network.log_probabilities(cuts, boxes), before, atol=0.02)  # stored in 16 bits


@pytest.mark.parametrize("spoil", ["shape", "missing", "odds", "format"])
def test_weights_that_are_not_ours_are_refused(net, tmp_path, spoil):
    path = tmp_path / "types.safetensors"
    arrays, card = net.arrays(), {"type_odds": [1.0, 0.0, 0.5]}
    if spoil == "shape":
        arrays["convolutions.1.weight"] = arrays["convolutions.1.weight"][:, :8]
    elif spoil == "missing":
        del arrays["last.bias"]
    elif spoil == "odds":
        card["type_odds"] = ["much"]
    save_tensors(path, arrays, card, "another" if spoil == "format" else FORMAT)
    with pytest.raises(WeightsError, match=r"types\.safetensors: not "):
        TypeNetwork.load(path)


def test_the_shipped_weights_are_small_and_say_how_good_they_are():
    network = TypeNetwork.load()
    assert 0.5 <= network.odds.threshold < 1
    relief = network.card["figures"]["relief"]
    assert relief["right"] >= 0.85
    assert relief["typed"] >= 0.4
    assert network.card["figures"]["validation"]["right"] >= network.card["settings"]["accuracy"]
    assert network.card["sha256"] == network.checksum
    json.dumps(dict(network.card))


def test_a_doubtful_car_takes_the_type_of_its_rake():
    odds = TypeOdds(own=0.5, rake=1.0, threshold=0.6)
    logs = np.concatenate([says(2, 2, 2, 2), np.log([[0.3, 0.25, 0.25, 0.2]])])
    assert decided(logs, RAKE, odds).tolist() == [2] * 5
    apart = np.concatenate([RAKE[:4], ALONE])
    assert [TYPE_NAMES[k] for k in decided(logs, apart, odds)] == ["tank"] * 4 + [UNKNOWN]


def test_a_rake_may_be_mixed():
    odds = TypeOdds(own=1.0, rake=0.3, threshold=0.6)
    assert decided(says(0, 0, 2, 2, 2, sure=0.97), RAKE, odds).tolist() == [0, 0, 2, 2, 2]


def test_probabilities_add_up_and_the_threshold_decides():
    logs = says(0, 1, 2, 3, 0, sure=0.7)
    found = probabilities(logs, RAKE, TypeOdds(own=1.0))
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    assert decided(logs, RAKE, TypeOdds(1.0, 0.0, 0.69)).tolist() == [0, 1, 2, 3, 0]
    assert decided(logs, RAKE, TypeOdds(1.0, 0.0, 0.71)).tolist() == [len(TYPES)] * 5


def test_counts_by_type_add_up_and_whatever_has_no_type_is_unknown():
    counts = count_by_type(["tank", "tank", pd.NA, "open", "submarine", None, float("nan")])
    assert counts == {"open": 1, "covered": 0, "tank": 2, "flat_or_container": 0, "unknown": 4}
    assert list(counts) == list(TYPE_NAMES)


def test_jitter_moves_boxes_by_about_the_errors_of_the_detector():
    boxes = np.repeat(np.array([[100.0, 100, 28, 6, 30]]), 4000, axis=0)
    moved = jittered(boxes, np.random.default_rng(0))
    turn = np.deg2rad(30)
    delta = moved[:, :2] - boxes[:, :2]
    along, across = (
        delta[:, 0] * np.cos(turn) + delta[:, 1] * np.sin(turn),
        delta[:, 1] * np.cos(turn) - delta[:, 0] * np.sin(turn),
    )
    assert 0.8 < np.std(along) < 1.6
    assert 0.4 < np.std(across) < 0.8
    assert abs(np.mean(moved[:, 2]) / 28 - 1) < 0.02
    # Which end is the front is told by chance.
    assert 0.4 < np.mean(np.abs(moved[:, 4] - 30) > 90) < 0.6


def test_of_faint_candidates_no_cut_out_is_kept_and_their_type_is_unknown(net):
    rng = np.random.default_rng(5)
    network = TypeNetwork.from_arrays(net.arrays(), {"type_odds": [1.0, 0.0, 0.0]}, "")
    tiles = [rng.integers(0, 255, (60, 180, 3), dtype=np.uint8) for _ in range(2)]
    cuts = CandidateCuts()
    cuts.add(tiles[0], RAKE, np.array([0.5, -5.0, 3.0, 0.0, -1.0]))
    cuts.add(tiles[1], RAKE[:2], np.array([2.0, 2.0]))
    far = RAKE[:2] + np.array([1000.0, 0, 0, 0, 0])
    given = cuts.types(network, np.array([6, 1, 0, 5]), np.concatenate([far[1:], RAKE[[1, 0]], far[:1]]))
    assert TYPE_NAMES[given[1]] == UNKNOWN
    first = network.types(cut_outs(tiles[0], RAKE[:1]), RAKE[:1])
    second = network.types(cut_outs(tiles[1], RAKE[:2]), far)
    assert given[[2, 3, 0]].tolist() == [*first, *second]
    assert UNKNOWN not in [TYPE_NAMES[k] for k in (*first, *second)]
