"""The occupancy network's form for OpenVINO: single precision, the same answers without torch.

There is no 8-bit form: the intervals are calibrated to a few per cent, and counts rest on sums of small
numbers over thousands of cells.
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from detector.errors import WeightsError
from detector.occupancy.inputs import CHANNELS, Inputs, PastBands
from detector.occupancy.network import OccupancyNet, Past
from detector.occupancy.weights import OccupancyWeights, OpenVinoOccupancy, TorchOccupancy
from detector.training.quantise import convert, write_forms, written

__all__ = ["LIMIT", "convert_occupancy", "largest_difference"]

LIMIT = 1e-3
"""How far a length may lie from that of the weights, relative."""

# Batches, past dates, rows and columns that are compared: one date, one without a past, doubts of a date.
_CASES = ((1, 16, 40, 110), (1, 0, 33, 61), (3, 5, 47, 90))


class _Flat(nn.Module):
    """The network with plain tensors in and out."""

    def __init__(self, network: OccupancyNet) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        self.network.comparison.every = True

    def forward(
        self, planes: Tensor, region: Tensor, change: Tensor, known: Tensor, shadow: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Density (B, h, w), and length with its doubt below and above (B, 3)."""
        said = self.network(planes, region, Past(change, known, shadow))
        return said.density, torch.stack([said.length_m, said.below_m, said.above_m], dim=1)


def convert_occupancy(loaded: OccupancyWeights) -> Path:
    """Make the form of occupancy weights and write it beside the file.

    Returns:
        The list of the forms.

    Raises:
        WeightsError: It doesn't answer as the weights do.
    """
    path = loaded.path
    example = _batch(2, 3, 24, 40, seed=0)
    stacked = [np.stack([one.planes for one in example]), np.stack([one.region for one in example])]
    stacked += [np.stack([one.past[k] for one in example]) for k in range(3)]
    bands = len(CHANNELS)
    model = convert(
        _Flat(loaded.network),
        tuple(torch.from_numpy(one) for one in stacked),
        [[-1, bands, -1, -1], [-1, -1, -1], [-1, -1, 4, -1, -1], [-1, -1, -1, -1], [-1, -1, 2]],
    )
    with written(model, path.stem) as form:
        difference = largest_difference(TorchOccupancy(loaded.network, "cpu"), OpenVinoOccupancy(form))
    if difference > LIMIT:
        raise WeightsError(f"{path}: its form for OpenVINO differs by {difference:.2%} of a length")
    return write_forms(
        path,
        loaded.checksum,
        {"float32": model},
        preferred="float32",
        card={"limits": {"length": LIMIT}, "parity": {"float32": {"length": float(f"{difference:.2g}")}}},
    )


def largest_difference(ours: TorchOccupancy, theirs: OpenVinoOccupancy) -> float:
    """The largest relative difference of a length, of its doubts and of a cell, over random inputs."""
    worst = 0.0
    for seed, (number, dates, rows, columns) in enumerate(_CASES):
        batch = _batch(number, dates, rows, columns, seed=seed)
        said = zip(ours(batch), theirs(batch), strict=True)
        for a, b in ((np.asarray(x, np.float64), np.asarray(y, np.float64)) for x, y in said):
            worst = max(worst, float(np.abs(a - b).max()) / max(float(np.abs(a).max()), 1e-6))
    return worst


def _batch(number: int, dates: int, rows: int, columns: int, *, seed: int) -> list[Inputs]:
    """Inputs of about the size of real ones, with gaps in what was seen."""
    rng = np.random.default_rng(seed)

    def noise(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return rng.normal(0, 0.3, shape).astype(np.float32)

    made = []
    for _ in range(number):
        known = rng.random((dates, rows, columns)) > 0.05
        past = PastBands(noise(dates, 4, rows, columns) * known[:, None], known, noise(dates, 2))
        region = (rng.random((rows, columns)) > 0.5).astype(np.float32)
        planes = noise(len(CHANNELS), rows, columns)
        made.append(Inputs(planes, region, np.ones((rows, columns), np.bool_), past))
    return made
