"""The loss: least for the right answer, blind where the answer doesn't matter."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from detector.training.losses import (
    IGNORED,
    WEIGHTS,
    Targets,
    centre_focal_loss,
    draw,
    losses,
    stack,
    total_loss,
)
from detector.wagons.boxes import as_boxes
from detector.wagons.decode import Maps

SIZE = 128


def wanted(boxes, ignored=None, track=None) -> Targets:
    boxes = as_boxes(boxes)
    n = len(boxes)
    track = np.zeros((SIZE // 4, SIZE // 4), np.uint8) if track is None else track
    skip = np.zeros(n, bool) if ignored is None else np.asarray(ignored)
    return stack([draw(boxes, np.zeros(n, np.int64), skip, track, (SIZE, SIZE))])


def answer(target: Targets) -> Maps:
    """The right answer."""
    category = torch.nn.functional.one_hot(target.category, 3).permute(0, 3, 1, 2).float() * 20 - 10
    heatmap = torch.where(target.heatmap >= 0.999, 12.0, -12.0)
    mask, track = target.mask * 24 - 12, target.track * 24 - 12
    return Maps(heatmap, target.offset, target.angle, target.size, category, mask, track)


WAGON = [[66, 66, 40, 6, 30]]


def test_the_right_answer_costs_next_to_nothing():
    target = wanted(WAGON)
    terms = losses(answer(target), target)
    assert set(terms) == set(WEIGHTS)
    for name, value in terms.items():
        assert float(value) < 1e-3, name
        assert float(value) >= 0, name


@pytest.mark.parametrize(
    ("field", "term", "change"),
    [
        ("heatmap", "heat", lambda m: -m),
        ("offset", "offset", lambda m: m + 0.4),
        ("angle", "angle", lambda m: -m),
        ("size", "size", lambda m: m + 0.3),
        ("category", "category", lambda m: m.flip(1)),
        ("mask", "mask", lambda m: -m),
        ("track", "track", lambda m: -m),
    ],
)
def test_each_fault_is_charged_to_its_own_term(field, term, change):
    target = wanted(WAGON)
    right = answer(target)
    wrong = losses(right._replace(**{field: change(getattr(right, field))}), target)
    fine = losses(right, target)
    for name in WEIGHTS:
        if name == term:
            assert float(wrong[name]) > float(fine[name]) + 0.05
        elif (field, name) != ("offset", "across"):
            assert float(wrong[name]) == pytest.approx(float(fine[name]))


@pytest.mark.parametrize("angle", [0.0, 30.0, 75.0, 140.0])
def test_a_miss_across_the_track_costs_more_than_one_along_it(angle):
    target = wanted([[66, 66, 40, 6, angle]])
    right = answer(target)
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))

    def moved(x: float, y: float) -> dict[str, Tensor]:
        shift = torch.tensor([x, y])[None, :, None, None]
        return losses(right._replace(offset=right.offset + shift), target)

    along, across = moved(0.5 * cos, 0.5 * sin), moved(-0.5 * sin, 0.5 * cos)
    assert float(along["across"]) == pytest.approx(0, abs=1e-5)
    assert float(across["across"]) > 0.1
    assert float(total_loss(across)) > float(total_loss(along)) + 0.05


def test_ignored_wagons_draw_no_gradient():
    target = wanted([[66, 66, 40, 6, 0]], ignored=[True])
    maps = answer(target)
    loud = maps._replace(
        heatmap=torch.zeros_like(maps.heatmap, requires_grad=True),
        mask=torch.zeros_like(maps.mask, requires_grad=True),
    )
    total_loss(losses(loud, target)).backward()
    hidden = target.weight == 0
    assert hidden.sum() > 5
    for field in (loud.heatmap, loud.mask):
        assert field.grad[hidden].abs().max() == 0
        assert field.grad[~hidden].abs().min() > 0


def test_unknown_tracks_draw_no_gradient():
    track = np.full((SIZE // 4, SIZE // 4), IGNORED, np.uint8)
    track[:, :10] = 0
    track[:, 4] = 1
    target = wanted(WAGON, track=track)
    guess = torch.zeros_like(target.track, requires_grad=True)
    losses(answer(target)._replace(track=guess), target)["track"].backward()
    assert guess.grad[..., 10:].abs().max() == 0
    assert guess.grad[..., :10].abs().min() > 0


def test_an_empty_tile_has_a_finite_loss_that_falls_with_the_heat():
    target = wanted([])
    maps = answer(target)
    high, low = (
        float(total_loss(losses(maps._replace(heatmap=torch.full_like(maps.heatmap, v)), target)))
        for v in (0, -4)
    )
    assert math.isfinite(high)
    assert low < high


def test_the_focal_loss_by_hand():
    # One positive at p = 0.5, one cell of the heatmap 0.5 at p = 0.5, one background cell at p = 0.2.
    logit = torch.tensor([0.0, 0.0, math.log(0.25)]).reshape(1, 1, 1, 3)
    heatmap = torch.tensor([1.0, 0.5, 0.0]).reshape(1, 1, 1, 3)
    by_hand = -(0.25 * math.log(0.5) + 0.5**4 * 0.25 * math.log(0.5) + 0.2**2 * math.log(0.8))
    # The divisor is at least 8, so that a tile with a single wagon doesn't outweigh the rest.
    assert float(centre_focal_loss(logit, heatmap, torch.ones_like(heatmap))) == pytest.approx(by_hand / 8)
    many = torch.ones(1, 1, 4, 4)
    half = -0.25 * math.log(0.5)
    assert float(centre_focal_loss(torch.zeros_like(many), many, many)) == pytest.approx(half)


def test_the_total_is_the_weighted_sum():
    terms = {name: torch.tensor(float(k + 1)) for k, name in enumerate(WEIGHTS)}
    expected = sum(WEIGHTS[name] * (k + 1) for k, name in enumerate(WEIGHTS))
    assert float(total_loss(terms)) == pytest.approx(expected)
