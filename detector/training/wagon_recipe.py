"""A whole training from one settings file: simulate, fit, calibrate, write the weights with their card."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from detector.errors import LabelError
from detector.labels import read_labels
from detector.training.calibrate_wagons import finish, untrained
from detector.training.config import WagonData, WagonRecipe, WagonTraining, background_folder
from detector.training.label_tiles import tiles_of, turned_tiles, whole_tile
from detector.training.loop import AheadOfTime, beside, card_of, fit, load_average
from detector.training.losses import Targets, draw, losses, stack, total_loss
from detector.training.model_item import write_wagon_item
from detector.training.shards import LabelledTile, Shard, find_shards, random_view, take_up, write_shard
from detector.training.tiles import make_hard_shards, make_shards, simulate_tiles
from detector.wagons import weights as weights_file
from detector.wagons.network import WagonNet

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], Any]


def follow(
    recipe: WagonRecipe,
    out: Path,
    *,
    device: str = "auto",
    progress: Progress | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Path:
    """Carry out a recipe, or go on with one that was stopped.

    Args:
        recipe: The settings.
        out: Folder of shards, checkpoint, log, curves and at last ``NAME.safetensors`` with its card.
        device: ``auto``, ``cpu`` or ``cuda``.
        progress: Called with the step and the number of steps.
        stop: Asked after every step; true ends the training early (a later call goes on).

    Returns:
        The weights file.

    Raises:
        LabelError: Something about the data or the checkpoint is wrong.
        WeightsError: The weights to start from can't be read.
    """
    if recipe.data.hard_shards and not recipe.start:
        raise LabelError(
            "data.hard_shards needs weights to start from: the mistakes to learn from are theirs"
        )
    if not recipe.data.shards and not recipe.data.labels:
        raise LabelError("the settings name neither simulated shards (data.shards) nor labels to learn from")
    background_folder(recipe.data)  # refused now, not by the process that draws
    start = None
    if recipe.start:
        start = weights_file.load(None if recipe.start == "shipped" else recipe.start)
    own = _own_shards(recipe, out / "own")
    simulated = out / "shards"
    wanted = min(recipe.data.first_shards, recipe.data.shards)

    def enough() -> bool:
        return len(find_shards(simulated)) >= wanted

    with (
        beside(_make_data, recipe.data, out, start, device, until=enough)
        if recipe.data.shards
        else nullcontext()
    ):
        if not enough():
            raise LabelError(
                f"{simulated}: the simulator stopped before it had made {wanted} shards; "
                "see the messages above"
            )
        task = WagonTask(
            [simulated] if simulated.is_dir() else [],
            recipe.train,
            own=own,
            hard=out / "hard" if recipe.data.hard_shards else None,
            check=out / "check",
        )
        first = start.network.state_dict() if start else None
        fit(task, out, recipe.train, start=first, device=device, stop=stop, progress=progress)
    network = load_average(out / "checkpoint.pt", WagonNet())
    if start is not None and recipe.start_share:
        network = mean_of([(1 - recipe.start_share, network), (recipe.start_share, start.network)])
    return write_weights(recipe, network, out, start=start, device=device)


@torch.no_grad()
def mean_of(networks: Sequence[tuple[float, WagonNet]]) -> WagonNet:
    """The mean of the weights and batch statistics of some networks, each with its share.

    Args:
        networks: Shares, which needn't add up to one, and networks that have come from one start.

    Raises:
        ValueError: A share is negative, or all of them are zero.
    """
    total = sum(share for share, _ in networks)
    if total <= 0 or any(share < 0 for share, _ in networks):
        raise ValueError("the shares of a mean must be positive")
    states = [(share / total, network.state_dict()) for share, network in networks]
    mean = WagonNet(networks[0][1].widths, networks[0][1].pyramid_channels)
    for name, value in mean.state_dict().items():
        if value.dtype.is_floating_point:
            value.copy_(sum((share * state[name] for share, state in states), torch.zeros_like(value)))
    return mean.eval()


def _make_data(data: WagonData, out: Path, start: weights_file.Weights | None, device: str) -> None:
    """All shards, those without which the training can't begin first."""
    backgrounds = background_folder(data)
    plain = partial(
        make_shards,
        out / "shards",
        seed=data.seed,
        backgrounds=backgrounds,
        coarse_share=data.coarse_share,
        collage_share=data.collage_share,
        workers=data.workers,
    )
    plain(min(data.first_shards, data.shards))
    make_check_shards(data, out / "check", 1)
    if data.hard_shards and start is not None:
        torch.set_num_threads(1)  # the other cores are the training's
        make_hard_shards(
            out / "hard",
            data.hard_shards,
            weights=start,
            seed=data.seed,
            backgrounds=backgrounds,
            collage_share=data.collage_share,
            device=device,
        )
    plain(data.shards)


def make_check_shards(data: WagonData, folder: Path, number: int) -> None:
    """Make so many shards of the validation split; those that are there are left alone."""
    make_shards(
        folder,
        number,
        seed=data.seed + 10_000,
        split="val",
        backgrounds=background_folder(data),
        collage_share=data.collage_share,
    )


def write_weights(
    recipe: WagonRecipe,
    network: WagonNet,
    out: Path,
    *,
    start: weights_file.Weights | None = None,
    device: str = "auto",
) -> Path:
    """Calibrate a trained network on validation scenes and write weights, card and STAC item."""
    check = out / "check"
    make_check_shards(recipe.data, check, recipe.data.check_shards)
    paths = find_shards(check)
    half = max(1, len(paths) // 2)
    card = {**(start.card if start else {}), **card_of(recipe, out)}
    draft = weights_file.Weights(untrained(), card, "", out / f"{recipe.name}.safetensors", network)
    unlearned = simulate_tiles(
        recipe.data.seed + 10_001,
        0,
        recipe.data.odds_scenes,
        split="val",
        backgrounds=None,
        views=1,
        simulator="relief",
    )
    finished, figures = finish(
        draft, _tiles(paths[:half]), _tiles(paths[half:] or paths), for_odds=unlearned, device=device
    )
    card = {**finished.card, "figures": {"validation": figures}}
    path = out / f"{recipe.name}.safetensors"
    checksum = weights_file.save(path, finished.network, finished.judge, card)
    write_wagon_item({**card, "sha256": checksum}, path, finished.network, finished.judge)
    return path


def _tiles(paths: Iterable[Path]) -> Iterable[LabelledTile]:
    return chain.from_iterable(Shard(p) for p in paths)


def _own_shards(recipe: WagonRecipe, folder: Path) -> Path | None:
    """The user's own labels as a shard."""
    if not recipe.data.labels:
        return None
    images = Path(recipe.data.images) if recipe.data.images else None
    views, rng = recipe.data.label_views, np.random.default_rng([recipe.data.seed, 97])
    tiles = [
        tile
        for source in recipe.data.labels
        for image in read_labels(Path(source), images=images, gsd_m=recipe.data.gsd_m or None)
        if image.labelled
        for tile in (tiles_of(image) if not views else turned_tiles(whole_tile(image), views, rng))
    ]
    if not tiles:
        raise LabelError(f"{recipe.data.labels[0]}: no labelled image in it")
    write_shard(folder / "shard-00000", tiles)
    return folder


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
