"""The making of type weights from one settings file: simulate, fit, calibrate, write with a card."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.fusion import fuse_conv_bn_eval

from detector.errors import LabelError
from detector.tensor_file import Arrays, arrays_of, save_tensors
from detector.training.calibrate_types import figures, fit_odds, type_numbers, typed_scenes
from detector.training.config import TypesData, TypesRecipe, TypesTraining, background_folder
from detector.training.loop import AheadOfTime, card_of, fit, load_average
from detector.training.shards import LabelledTile, Shard, find_shards, random_view, take_up, write_shard
from detector.training.tiles import simulate_tiles
from detector.wagons.boxes import Boxes
from detector.wagons.categories import NOT_TYPED, TYPES
from detector.wagons.detector import WagonDetector
from detector.wagons.type_network import FEATURES, FORMAT, LAYERS, TypeNetwork, cut_outs, planes

logger = logging.getLogger(__name__)

KINDS = {
    "main": ("yard", "yard", "sidings", "mainline", "terminal"),
    "collage": ("yard", "line"),
    "solids": ("rakes",),
}
"""Kinds of scenes with freight cars, by the simulators that may be learned from."""
SCENES = {"main": 50, "collage": 50, "solids": 150}
"""In a shard, each seen twice."""
RELIEF_SEED = 7


def follow(
    recipe: TypesRecipe,
    out: Path,
    *,
    device: str = "auto",
    progress: Callable[[int, int], Any] | None = None,
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
    """
    data = recipe.data
    logger.info("simulating %d shards", data.shards + data.check_shards)
    make_type_shards(out / "shards", data.shards, data)
    make_type_shards(out / "check", data.check_shards, data, split="val")
    make_relief(out / "relief", data.relief_scenes)
    task = TypeTask(out / "shards", recipe.train, out / "check")
    fit(task, out, recipe.train, device=device, stop=stop, progress=progress)
    return write_weights(recipe, load_average(out / "checkpoint.pt", TypeNet()), out, device=device)


def make_type_shards(folder: Path, shards: int, data: TypesData, *, split: str = "train") -> None:
    """Make shards of scenes with wagons, most of them by the solids; those already there are left alone.

    Args:
        folder: Where.
        shards: How many.
        data: Settings.
        split: ``train`` or ``val``.

    Raises:
        LabelError: The folder of background pictures isn't there.
    """
    backgrounds = background_folder(data)
    for number in range(shards):
        path = folder / f"shard-{number:05d}"
        if path.with_suffix(".labels.npz").exists():
            continue
        tiles = []
        for simulator, kinds in KINDS.items():
            tiles += simulate_tiles(
                data.seed + 10_000 * (split == "val"),
                number,
                SCENES[simulator],
                split=split,
                backgrounds=backgrounds,
                kinds=kinds,
                coarse_share=data.coarse_share,
                simulator=simulator,
            )
        write_shard(path, tiles)


def make_relief(folder: Path, scenes: int) -> None:
    """Make the shard of relief scenes with trains on which types are scored, unless it is there."""
    path = folder / "shard-00000"
    if not path.with_suffix(".labels.npz").exists():
        tiles = simulate_tiles(
            RELIEF_SEED,
            1,
            scenes,
            split="test",
            backgrounds=None,
            views=1,
            kinds=("trains",),
            simulator="relief",
        )
        write_shard(path, tiles)


def write_weights(recipe: TypesRecipe, trained: TypeNet, out: Path, *, device: str = "auto") -> Path:
    """Set odds and threshold on validation scenes, score them on the relief, and write weights and card."""
    arrays = trained.arrays()
    network = TypeNetwork.from_arrays(arrays, {}, "")
    detector = WagonDetector.load(device=device)
    check, relief = (
        typed_scenes(detector, network, chain.from_iterable(map(Shard, find_shards(out / name))))
        for name in ("check", "relief")
    )
    odds = fit_odds(check, recipe.accuracy)
    card = {
        **card_of(recipe, out),
        "task": "type of each freight car that the wagon detector draws",
        "boxes_of": {"name": detector.name, "version": detector.version, "sha256": detector.checksum},
        "type_odds": list(odds),
        "figures": {"validation": figures(check, odds), "relief": figures(relief, odds)},
    }
    path = out / f"{recipe.name}.safetensors"
    save_tensors(path, arrays, card, FORMAT)
    return path


_VIEW_PX = 192
_CARS_A_VIEW = 8  # of one tile they look alike: a batch is of many tiles
_SEARCH_STEPS = 50


class TypeBatch(NamedTuple):
    """Cut-outs for one step."""

    planes: Tensor  # (B, 4, 16, 48)
    type: Tensor  # (B,)


class TypeNet(nn.Module):
    """The network of `detector.wagons.type_network.TypeNetwork`, to be trained."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False) for inputs, outputs, stride in LAYERS
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(outputs) for _, outputs, _ in LAYERS)
        self.dropout = nn.Dropout(0.2)
        self.last = nn.Linear(FEATURES, len(TYPES))

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, 4)`` of cut-outs ``(B, 4, 16, 48)``."""
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = torch.relu(norm(convolution(x)))
        pooled = torch.cat([x.mean(dim=3), x.amax(dim=3)], dim=1).transpose(1, 2)  # (B, bands, 2 * channels)
        answer: Tensor = self.last(self.dropout(pooled.flatten(1)))
        return answer

    def arrays(self) -> Arrays:
        """What a weights file holds: each convolution with its normalisation folded in."""
        fused = [
            fuse_conv_bn_eval(cast(nn.Conv2d, convolution).eval(), cast(nn.BatchNorm2d, norm).eval())
            for convolution, norm in zip(self.convolutions, self.norms, strict=True)
        ]
        return arrays_of(nn.ModuleList(fused), "convolutions.") | arrays_of(self.last, "last.")


def jittered(boxes: Boxes, rng: np.random.Generator) -> Boxes:
    """Boxes with errors such as the detector's, work pixels of 0.5 m."""
    n = len(boxes)
    along, across = rng.normal(0, 1.0, n) * (1 + 2 * (rng.random(n) < 0.1)), rng.normal(0, 0.6, n)
    angle = boxes[:, 4] + rng.normal(0, 1.5, n)
    turn = np.deg2rad(angle)
    out = boxes.copy()
    out[:, 0] += along * np.cos(turn) - across * np.sin(turn)
    out[:, 1] += along * np.sin(turn) + across * np.cos(turn)
    out[:, 2] *= np.exp(rng.normal(0, 0.05, n))
    out[:, 3] *= np.exp(rng.normal(0, 0.08, n))
    out[:, 4] = (angle + 180.0 * (rng.random(n) < 0.5)) % 360.0
    return out


class CutOuts:
    """Seeded batches of cut-outs from the shards of a folder, as many of each type as of the others.

    Shards that appear while the training runs are taken up, so that the simulator can work beside it.

    Args:
        folder: Of shards whose tiles name the types of their vehicles.
        config: Settings.

    Raises:
        LabelError: No tile has a freight car of a known type.
    """

    def __init__(self, folder: Path, config: TypesTraining) -> None:
        self.folder = folder
        self.config = config
        self.shards: list[Shard] = []
        # Which tiles have which types: (shard, tile) pairs.
        self.tiles: list[list[tuple[int, int]]] = [[] for _ in TYPES]
        self._search()
        if not any(self.tiles):
            raise LabelError(f"{folder}: no tile with a freight car of a known type")

    def _search(self) -> None:
        """Take up the shards that aren't known yet."""
        first = len(self.shards)
        take_up(self.shards, self.folder)
        for number, shard in enumerate(self.shards[first:], first):
            for tile, meta in enumerate(shard.meta):
                for kind in set(type_numbers(meta.get("types", ()))) - {NOT_TYPED}:
                    self.tiles[kind].append((number, tile))

    def batch(self, step: int) -> TypeBatch:
        """Return the batch of a step: the same shards, step and seed give the same one."""
        if step % _SEARCH_STEPS == 0:
            self._search()
        rng = np.random.default_rng([self.config.seed, step])
        found: list[NDArray[np.float32]] = []
        kinds: list[NDArray[np.int64]] = []
        missing = self.config.batch_size
        while missing > 0:
            # A tile that holds a type drawn evenly; of its cars half are of that type where there are such.
            wanted = int(rng.choice([kind for kind, tiles in enumerate(self.tiles) if tiles]))
            shard, tile = self.tiles[wanted][int(rng.integers(len(self.tiles[wanted])))]
            view = random_view(of_types(self.shards[shard][tile]), rng, _VIEW_PX)
            rows = np.flatnonzero((view.category != NOT_TYPED) & ~view.ignored)
            if not len(rows):
                continue
            weight = np.where(view.category[rows] == wanted, 3.0, 1.0)
            some = rng.choice(
                rows, min(len(rows), _CARS_A_VIEW, missing), replace=False, p=weight / weight.sum()
            )
            boxes = jittered(view.boxes[some], rng)
            seen = planes(cut_outs(view.image, boxes), boxes)
            mirrored = rng.random(len(seen)) < 0.5
            seen[mirrored] = seen[mirrored, ::-1]
            if rng.random() < 0.5:  # other paints: shape and shade are to be learned, not colour
                seen[..., :3] = seen[..., :3] @ (np.eye(3) + rng.normal(0, 0.4, (3, 3))).astype(np.float32)
                seen[..., :3] /= seen[..., :3].std(axis=(1, 2, 3), keepdims=True) + 0.05
            if rng.random() < 0.5:  # smooth along the car: its profile is to be learned, not texture alone
                size = (int(rng.choice([1, 3, 5, 9])), int(rng.choice([1, 1, 3])))
                seen = np.stack([cv2.blur(one, size) for one in seen])
            found.append(seen)
            kinds.append(view.category[some])
            missing -= len(some)
        return TypeBatch(
            torch.from_numpy(np.ascontiguousarray(np.concatenate(found).transpose(0, 3, 1, 2))),
            torch.from_numpy(np.concatenate(kinds)),
        )


def of_types(tile: LabelledTile) -> LabelledTile:
    """The same tile with types in place of categories."""
    return replace(tile, category=type_numbers(tile.meta["types"]))


@dataclass(frozen=True)
class TypeTask:
    """The types of freight cars for `detector.training.loop.fit`.

    Attributes:
        folder: Where the shards lie.
        config: Settings of the training.
        check: Folder of validation shards, for the held-out score.
    """

    folder: Path
    config: TypesTraining
    check: Path

    def network(self) -> TypeNet:
        """Return a network at its random start."""
        return TypeNet()

    def batches(self, first_step: int) -> Iterator[TypeBatch]:
        """Return an endless stream of batches.

        Raises:
            LabelError: There is nothing to train on.
        """
        return iter(AheadOfTime(CutOuts(self.folder, self.config).batch, first_step))

    def held_out(self, number: int) -> list[TypeBatch]:
        """Return batches of validation shards."""
        cuts = CutOuts(self.check, self.config)
        return [cuts.batch(step) for step in range(number)]

    def losses(
        self, network: TypeNet, batch: TypeBatch, device: torch.device, dtype: torch.dtype
    ) -> dict[str, Tensor]:
        """Return the terms of the loss."""
        with torch.autocast(device.type, dtype, enabled=dtype is not torch.float32):
            said = network(batch.planes.to(device))
        smooth = 0.05 if network.training else 0.0
        return {"type": cross_entropy(said.float(), batch.type.to(device), label_smoothing=smooth)}

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """Return the loss."""
        return terms["type"]
