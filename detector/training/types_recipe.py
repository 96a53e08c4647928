"""The making of type weights from one settings file: simulate, fit, calibrate, write with a card."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from detector.tensor_file import save_tensors
from detector.training.calibrate_types import figures, fit_odds, typed_scenes
from detector.training.config import TypesData, TypesRecipe, as_json, background_folder
from detector.training.loop import fit, load_average, read_log
from detector.training.shards import Shard, find_shards, write_shard
from detector.training.tiles import simulate_tiles
from detector.training.type_task import TypeNet, TypeTask
from detector.wagons.detector import WagonDetector
from detector.wagons.type_network import FORMAT, TypeNetwork

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
    log = read_log(out / "log.jsonl")
    card = {
        "name": recipe.name,
        "version": recipe.version,
        "task": "type of each freight car that the wagon detector draws",
        "trained": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "settings": as_json(recipe),
        "boxes_of": {"name": detector.name, "version": detector.version, "sha256": detector.checksum},
        "training": {"steps": log[-1]["step"], "last_losses": log[-1]} if log else {},
        "type_odds": list(odds),
        "figures": {"validation": figures(check, odds), "relief": figures(relief, odds)},
    }
    path = out / f"{recipe.name}.safetensors"
    save_tensors(path, arrays, card, FORMAT)
    return path
