"""The loss of the occupancy network seeks the mean, everywhere alike."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.occupancy.network import Occupied
from detector.training.occupancy_recipe import WEIGHTS, losses, total_loss

SIZE = (12, 24)


def said(length_m: torch.Tensor, below: float = 30.0, above: float = 30.0) -> Occupied:
    """An answer spread evenly over all cells."""
    density = (length_m / (SIZE[0] * SIZE[1]))[:, None, None].expand(-1, *SIZE)
    return Occupied(density, length_m, torch.full_like(length_m, below), torch.full_like(length_m, above))


def cells(*lengths_m: float) -> torch.Tensor:
    return torch.tensor(lengths_m)[:, None, None].expand(-1, *SIZE) / (SIZE[0] * SIZE[1])


ONES = torch.ones(2, *SIZE)


@given(st.floats(0, 2500), st.floats(0, 60))
@settings(max_examples=25)
def test_the_best_answer_to_an_uncertain_truth_is_its_mean(middle, spread):
    """The gradient on one shared answer to two equally likely truths vanishes at their mean."""
    low, high = max(middle - spread, 0.0), max(middle - spread, 0.0) + 2 * spread
    truths = cells(low, high)
    answer = torch.tensor([(low + high) / 2], requires_grad=True)
    terms = losses(said(answer.expand(2)), ONES, truths)
    for name in ("length", "cells", "stretches"):
        (gradient,) = torch.autograd.grad(terms[name], answer, retain_graph=True)
        assert abs(float(gradient)) < 1e-4, name


@pytest.mark.parametrize("name", ["length", "cells", "stretches"])
def test_below_the_truth_it_pulls_up_and_above_it_down(name):
    for length, sign in ((200.0, -1), (700.0, 1)):
        answer = torch.full((2,), length, requires_grad=True)
        terms = losses(said(answer), ONES, cells(450.0, 450.0))
        (gradient,) = torch.autograd.grad(terms[name], answer)
        assert (torch.sign(gradient) == sign).all()


def test_a_right_answer_costs_nothing_but_doubt():
    length = torch.tensor([0.0, 600.0])
    terms = losses(said(length), ONES, cells(0.0, 600.0))
    assert float(terms["length"]) == pytest.approx(0.0, abs=1e-6)
    assert float(terms["cells"]) == pytest.approx(0.0, abs=1e-6)
    assert float(terms["stretches"]) == pytest.approx(0.0, abs=1e-6)
    assert float(terms["doubt"]) > 0
    assert set(terms) == set(WEIGHTS)
    expected = sum(WEIGHTS[k] * float(v) for k, v in terms.items())
    assert float(total_loss(terms)) == pytest.approx(expected, rel=1e-5)


def test_wild_misses_are_tamed_without_a_jump():
    """From a miss of 50 scaled squares on the term grows with its root; both halves meet there."""
    base = torch.tensor([150.0, 150.0])
    values = []
    for extra in (0.0, 1e-3):
        scale = 150.0 / 15 + 4
        truth = 150.0 + 15 * (50 * scale) ** 0.5 + extra
        values.append(float(losses(said(base), ONES, cells(truth, truth))["length"]))
    assert values[0] == pytest.approx(50.0, abs=0.05)
    assert values[1] == pytest.approx(50.0, abs=0.05)


def test_misplaced_wagons_cost_even_where_their_number_is_right():
    region = ONES[:1]
    truth = torch.zeros(1, *SIZE)
    truth[0, 3, 2:8] = 10.0
    there, elsewhere = truth.clone(), torch.flip(truth, (1, 2))
    length = truth.sum(dim=(1, 2))
    plain = torch.tensor([30.0])

    def cost(density):
        return losses(Occupied(density, length, plain, plain), region, truth)

    assert float(cost(there)["cells"]) < 1e-6
    assert float(cost(elsewhere)["cells"]) > 0.1
    assert float(cost(elsewhere)["length"]) == pytest.approx(0.0, abs=1e-6)


def test_what_lies_outside_the_region_costs_nothing():
    region = ONES[:1].clone()
    region[:, :, 16:] = 0
    density = torch.zeros(1, *SIZE)
    density[:, :, 17:] = 9.0
    plain = torch.tensor([30.0])
    terms = losses(Occupied(density, torch.tensor([0.0]), plain, plain), region, torch.zeros(1, *SIZE))
    assert float(terms["cells"]) == pytest.approx(0.0, abs=1e-6)


def test_doubt_seeks_the_outer_twentieths():
    """Over many truths the cheapest sides are those that one in twenty truths lies beyond."""
    generator = torch.Generator().manual_seed(0)
    rest = torch.randn(4000, generator=generator) * 100.0
    best = {}
    for side in ("below", "above"):
        costs = {}
        for width in range(60, 300, 10):
            answer = torch.full((4000,), 5000.0)
            truth = (5000.0 + rest)[:, None, None].expand(-1, 2, 2) / 4
            other = torch.full_like(answer, 164.0)
            wide = torch.full_like(answer, float(width))
            below, above = (wide, other) if side == "below" else (other, wide)
            made = Occupied(torch.full((4000, 2, 2), 1250.0), answer, below, above)
            costs[width] = float(losses(made, torch.ones(4000, 2, 2), truth)["doubt"])
        best[side] = min(costs, key=costs.__getitem__)
    assert best == {"below": pytest.approx(164, abs=15), "above": pytest.approx(164, abs=15)}
