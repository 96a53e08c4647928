"""What the training loop must be told of the occupancy network: its samples, its network, its losses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from detector.occupancy.network import OccupancyNet
from detector.training.config import OccupancyTraining
from detector.training.loop import AheadOfTime
from detector.training.occupancy_losses import losses, total_loss
from detector.training.occupancy_samples import Batches, SampleBatch

SIZE = (32, 128)
"""Rows and columns of a training sample, cells of 10 m."""


@dataclass(frozen=True)
class OccupancyTask:
    """The occupancy network for `detector.training.loop.fit`.

    Attributes:
        folder: Where the simulated sites lie (`detector.training.occupancy_sites.write_site`).
        config: Settings of the training.
    """

    folder: Path
    config: OccupancyTraining

    def network(self) -> OccupancyNet:
        """Return a network at its random start."""
        return OccupancyNet()

    def _samples(self, split: str) -> Batches:
        return Batches(
            self.folder,
            split,
            batch_size=self.config.batch_size,
            size=SIZE,
            seed=self.config.seed,
            trackless=self.config.trackless,
        )

    def batches(self, first_step: int) -> Iterator[SampleBatch]:
        """Return an endless stream of batches.

        Raises:
            LabelError: There is nothing to train on.
        """
        return iter(AheadOfTime(self._samples("train").batch, first_step))

    def held_out(self, number: int) -> list[SampleBatch]:
        """Return batches of validation sites; none before there is one."""
        if not any(self.folder.glob("val-*[0-9].npz")):
            return []
        samples = self._samples("val")
        return [samples.batch(step) for step in range(number)]

    def losses(
        self, network: OccupancyNet, batch: SampleBatch, device: torch.device, dtype: torch.dtype
    ) -> dict[str, Tensor]:
        """Return the terms of the loss."""
        planes = batch.planes.to(device).contiguous(memory_format=torch.channels_last)
        region, cells = batch.region.to(device), batch.cells.to(device)
        with torch.autocast(device.type, dtype, enabled=dtype is not torch.float32):
            said = network(planes, region, batch.past and batch.past.to(device))
        return losses(said, region, cells)

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """Return the weighted sum of the terms."""
        return total_loss(terms)
