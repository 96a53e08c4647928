"""What the training loop must be told of the wagon detector: its views, its network, its losses."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from detector.errors import LabelError
from detector.training.augment import random_view
from detector.training.config import WagonTraining
from detector.training.loop import AheadOfTime
from detector.training.losses import losses, total_loss
from detector.training.shards import LabelledTile, Shard, find_shards, take_up
from detector.training.targets import Targets, draw, stack
from detector.wagons.network import WagonNet


class Batch(NamedTuple):
    """Views for one step."""

    image: Tensor  # (B, 3, H, W) uint8
    targets: Targets


class Views:
    """Seeded batches of views drawn from the shards of some folders.

    Shards that appear while the training runs are taken up, so that the simulator can work beside the
    network.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        config: WagonTraining,
        *,
        own: Path | None = None,
        hard: Path | None = None,
    ):
        self.folders = folders
        self.config = config
        self.shards: list[Shard] = []
        self.hard_folder = hard
        self.hard: list[Shard] = []
        self.own = [Shard(p) for p in find_shards(own)] if own is not None else []
        self._searched = -math.inf

    def _search(self) -> None:
        if time.monotonic() - self._searched < 60 and (self.shards or self.own):
            return
        self._searched = time.monotonic()
        for folder in self.folders:
            take_up(self.shards, folder)
        if self.hard_folder is not None:
            take_up(self.hard, self.hard_folder)
        if not self.shards and not self.own:
            names = ", ".join(str(f) for f in self.folders)
            raise LabelError(f"{names}: no training shards here")

    def batch(self, step: int) -> Batch:
        """Return the batch of a step: the same shards, step and seed give the same one.

        Raises:
            LabelError: There are no shards.
        """
        self._search()
        config = self.config
        rng = np.random.default_rng([config.seed, step])
        images, targets = [], []
        for _ in range(config.batch_size):
            view = random_view(self._tile(rng), rng, config.view_px)
            images.append(torch.from_numpy(np.ascontiguousarray(view.image.transpose(2, 0, 1))))
            targets.append(
                draw(view.boxes, view.category, view.ignored, view.track, (config.view_px, config.view_px))
            )
        return Batch(torch.stack(images), stack(targets))

    def _tile(self, rng: np.random.Generator) -> LabelledTile:
        mine = rng.random() < self.config.own_share
        shards = self.own if self.own and (mine or not self.shards) else self.shards
        if self.hard and shards is self.shards and rng.random() < self.config.hard_share:
            shards = self.hard
        tile = _one_of(shards, rng)
        if shards is self.shards and not len(tile.boxes) and rng.random() < self.config.empty_redrawn:
            tile = _one_of(shards, rng)
        return tile


def _one_of(shards: list[Shard], rng: np.random.Generator) -> LabelledTile:
    """By tile and not by shard, so that a small shard's tiles aren't seen more often than others."""
    number = int(rng.integers(sum(len(s) for s in shards)))
    for shard in shards:
        if number < len(shard):
            return shard[number]
        number -= len(shard)
    raise AssertionError("a tile number beyond the last shard")


@dataclass(frozen=True)
class WagonTask:
    """The wagon detector for `detector.training.loop.fit`.

    Attributes:
        folders: Where the shards lie.
        config: Settings of the training.
        own: Folder of shards of the user's own tiles.
        hard: Folder of shards of hard negatives, searched again and again like ``folders``.
        check: Folder of validation shards, for the held-out score; it may come to be while the training runs.
    """

    folders: Sequence[Path]
    config: WagonTraining
    own: Path | None = None
    hard: Path | None = None
    check: Path | None = None

    def network(self) -> WagonNet:
        """Return a network at its random start."""
        return WagonNet()

    def batches(self, first_step: int) -> Iterator[Batch]:
        """Return an endless stream of batches.

        Raises:
            LabelError: There is nothing to train on.
        """
        return iter(
            AheadOfTime(Views(self.folders, self.config, own=self.own, hard=self.hard).batch, first_step)
        )

    def held_out(self, number: int) -> list[Batch]:
        """Return batches of validation shards; none before there is one."""
        if self.check is None or not find_shards(self.check):
            return []
        views = Views([self.check], self.config)
        return [views.batch(step) for step in range(number)]

    def losses(
        self, network: WagonNet, batch: Batch, device: torch.device, dtype: torch.dtype
    ) -> dict[str, Tensor]:
        """Return the terms of the loss."""
        image = batch.image.to(device, non_blocking=True).float().div_(255)
        targets = Targets(*(t.to(device, non_blocking=True) for t in batch.targets))
        with torch.autocast(device.type, dtype, enabled=dtype is not torch.float32):
            maps = network(image.contiguous(memory_format=torch.channels_last))
        return losses(maps, targets)

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """Return the weighted sum of the terms."""
        return total_loss(terms)
