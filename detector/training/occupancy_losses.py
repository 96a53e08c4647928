"""How wrong an occupancy is."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from detector.occupancy.network import Occupied
from detector.training.occupancy_samples import CAR_M

WEIGHTS = {"length": 1.0, "cells": 1.0, "stretches": 0.5, "doubt": 0.2}
_TAIL = 0.05  # of either side of a 90% interval


def losses(said: Occupied, region: Tensor, cells: Tensor) -> dict[str, Tensor]:
    """The unweighted terms of the loss, by name.

    The length term is a square, so that it seeks the mean. It is scaled by what the network itself says and
    not by the truth: dividing by the truth would reward answers below the mean.

    Args:
        said: By the network.
        region: (B, h, w) weight with which a cell counts.
        cells: (B, h, w) metres of occupied track.
    """
    truth = cells.sum(dim=(1, 2)) / CAR_M
    length = said.length_m / CAR_M
    scale = length.detach() + 4.0
    miss = (length - truth) ** 2 / scale
    terms = {"length": torch.where(miss > 50.0, 10.0 * miss.clamp(min=1e-6).sqrt() - 20.7, miss).mean()}
    shown = said.density * (region > 0)
    for name, window in (("cells", 3), ("stretches", 9)):
        terms[name] = _cells(shown, cells, (region > 0).float(), window)
    rest = (cells.sum(dim=(1, 2)) - said.length_m.detach()) / CAR_M
    above, below = rest - said.above_m / CAR_M, rest + said.below_m / CAR_M
    upper = torch.maximum((1 - _TAIL) * above, -_TAIL * above)
    lower = torch.maximum(_TAIL * below, -(1 - _TAIL) * below)
    terms["doubt"] = ((upper + lower) / scale.sqrt()).mean()
    return terms


def _cells(shown: Tensor, cells: Tensor, where: Tensor, window: int) -> Tensor:
    """How wrong the sums over windows are, in cars."""
    difference = _sums(shown - cells, window) / CAR_M
    level = _sums(shown.detach(), window) / CAR_M
    weight = (_sums(where, window) > 0).float()
    each = weight * difference**2 / (level + 0.3)
    return each.sum() / weight.sum().clamp(min=1.0) * 4.0


def _sums(plane: Tensor, window: int) -> Tensor:
    """Sums over square windows of cells, every second window."""
    pooled = avg_pool2d(
        plane[:, None], window, stride=max(1, window // 3), padding=window // 2, count_include_pad=True
    )
    return pooled[:, 0] * window * window


def total_loss(terms: dict[str, Tensor]) -> Tensor:
    """The weighted sum that is minimised."""
    return torch.stack([WEIGHTS[name] * value for name, value in terms.items()]).sum()
