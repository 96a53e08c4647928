"""A whole training from one settings file: simulate, fit, calibrate, write the weights with their card."""

from __future__ import annotations

import dataclasses
import json
import logging
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from time import sleep
from typing import Any

import torch

from detector.errors import LabelError
from detector.labels import read_labels, tiles_of
from detector.training.calibrate_wagons import finish
from detector.training.hard_negatives import make_hard_shards
from detector.training.loop import TrainConfig, load_average, train
from detector.training.model_item import write_item
from detector.training.shards import TILE_PX, LabelledTile, Shard, find_shards, write_shard
from detector.training.tiles import make_shards
from detector.wagons import weights as weights_file
from detector.wagons.network import WagonNet
from detector.wagons.rescoring import Rescorer

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], Any]

KINDS = {int: "a whole number", float: "a number", str: "text", tuple: "a list"}
LEAST = {
    "data.shards": 0,
    "start_share": 0,
    "data.coarse_share": 0,
    "data.collage_share": 0,
    "data.seed": 0,
    "data.workers": 1,
    "data.first_shards": 1,
    "data.check_shards": 1,
    "data.hard_shards": 0,
    "data.train_sites": 1,
    "data.check_sites": 1,
    "data.first_sites": 1,
    "data.dates": 6,
    "train.seed": 0,
    "train.steps": 1,
    "train.batch_size": 1,
    "train.view_px": 32,
    "train.threads": 1,
    "train.log_steps": 1,
}
MOST = {"data.coarse_share": 1, "data.collage_share": 1}


@dataclass(frozen=True)
class DataConfig:
    """The ``[data]`` table: what to learn from."""

    shards: int = 60
    """Training shards of 200 simulated scenes, each seen twice."""
    seed: int = 1
    coarse_share: float = 0.0
    """Share of the pictures drawn from the coarse end of the range of ground sampling distances."""
    collage_share: float = 0.0
    """Share of the scenes, training and validation ones, that the second simulator paints."""
    workers: int = 1
    first_shards: int = 3
    """The training starts when so many shards are there; the rest are made beside it."""
    backgrounds: str = ""
    """Folder of rail-free pictures at 0.3 m for the ground of half of the scenes; empty for none."""
    labels: tuple[str, ...] = ()
    """Own label files, to fine-tune with."""
    images: str = ""
    """Folder of the images of the own labels, where the label files don't say."""
    gsd_m: float = 0.0
    """Ground sampling distance of the own images without position, metres; 0 when they say it themselves."""
    hard_shards: int = 0
    """Shards of hard negatives mined with the weights that the training starts from."""
    check_shards: int = 4
    """Validation shards: half for the judge, half for threshold and intervals."""


@dataclass(frozen=True)
class Recipe:
    """Settings of a whole training."""

    name: str = "wagon"
    version: str = "0"
    start: str = ""
    """Weights to start from: a .safetensors file, ``shipped``, or empty for a fresh start."""
    start_share: float = 0.0
    """Share of the start's weights in the result, the rest being the trained ones': it keeps more of what the
    start could do elsewhere (M. Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022)."""
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    @classmethod
    def from_toml(cls, path: Path) -> Recipe:
        """Read a settings file; unknown keys are refused.

        Raises:
            LabelError: The file can't be read, or a key or a type is wrong.
        """
        document = read_document(path)
        data: DataConfig = read_table(path, DataConfig, document.pop("data", {}), "data.")
        fit: TrainConfig = read_table(path, TrainConfig, document.pop("train", {}), "train.")
        if fit.view_px % 32 or fit.view_px > TILE_PX:
            raise LabelError(
                f"{path}: train.view_px must be a multiple of 32 and at most {TILE_PX}, not {fit.view_px}"
            )
        recipe: Recipe = read_table(path, cls, {**document, "data": data, "train": fit}, "")
        if recipe.start_share > 1 or (recipe.start_share and not recipe.start):
            raise LabelError(
                f"{path}: start_share must be at most 1, and needs weights to start from (start)"
            )
        return recipe


def read_document(path: Path) -> dict[str, Any]:
    """A TOML file of training settings as a dictionary.

    Raises:
        LabelError: It can't be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise LabelError(f"{path}: can't read the training settings ({error})") from error


def read_table(path: Path, kind: Any, values: Any, prefix: str) -> Any:
    """A settings dataclass from a TOML table, strictly."""
    if not isinstance(values, dict):
        raise LabelError(f"{path}: {prefix[:-1]} must be a table")
    defaults = {f.name: getattr(kind(), f.name) for f in dataclasses.fields(kind)}
    given: dict[str, Any] = {}
    for key, value in values.items():
        if key not in defaults:
            raise LabelError(f"{path}: unknown key {prefix}{key}; known are {', '.join(defaults)}")
        wanted = type(defaults[key])
        if wanted is tuple and isinstance(value, list):
            value = tuple(value)
        elif wanted is float and type(value) is int:
            value = float(value)
        if type(value) is not wanted:
            raise LabelError(f"{path}: {prefix}{key} must be {KINDS[wanted]}, not {value!r}")
        least = LEAST.get(prefix + key)
        if least is not None and value < least:
            raise LabelError(f"{path}: {prefix}{key} must be at least {least}, not {value}")
        most = MOST.get(prefix + key)
        if most is not None and value > most:
            raise LabelError(f"{path}: {prefix}{key} must be at most {most}, not {value}")
        given[key] = value
    return kind(**given)


def follow(
    recipe: Recipe,
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
    backgrounds = Path(recipe.data.backgrounds) if recipe.data.backgrounds else None
    if backgrounds is not None and not backgrounds.is_dir():
        raise LabelError(f"{backgrounds}: no such folder of background pictures")
    start = None
    if recipe.start:
        start = weights_file.load(None if recipe.start == "shipped" else recipe.start)
    own = _own_shards(recipe, out / "own")
    simulated, hard = out / "shards", out / "hard"
    worker = None
    if recipe.data.shards:
        # Spawned: a forked child would inherit torch's threads in an unknown state.
        worker = get_context("spawn").Process(
            target=_make_data, args=(recipe.data, simulated, hard, start, device)
        )
        worker.start()
    try:
        _wait_for(simulated, min(recipe.data.first_shards, recipe.data.shards), worker)
        train(
            [simulated] if simulated.is_dir() else [],
            out,
            recipe.train,
            own=own,
            hard=hard if recipe.data.hard_shards else None,
            start=start.network.state_dict() if start else None,
            device=device,
            stop=stop,
            progress=progress,
        )
    finally:
        if worker is not None:
            worker.terminate()
            worker.join()
    network = load_average(out / "checkpoint.pt")
    if start is not None and recipe.start_share:
        blend(network, start.network, recipe.start_share)
    return write_weights(recipe, network, out, start=start, device=device)


@torch.no_grad()
def blend(network: WagonNet, other: WagonNet, share: float) -> None:
    """Move a network's weights towards another's by a share of the way."""
    theirs = other.state_dict()
    for name, value in network.state_dict().items():
        if value.dtype.is_floating_point:
            value.lerp_(theirs[name], share)


def _make_data(
    data: DataConfig, simulated: Path, hard: Path, start: weights_file.Weights | None, device: str
) -> None:
    """All shards, those without which the training can't begin first."""
    backgrounds = Path(data.backgrounds) if data.backgrounds else None
    plain = partial(
        make_shards,
        simulated,
        seed=data.seed,
        backgrounds=backgrounds,
        coarse_share=data.coarse_share,
        collage_share=data.collage_share,
        workers=data.workers,
    )
    plain(min(data.first_shards, data.shards))
    if data.hard_shards and start is not None:
        torch.set_num_threads(1)  # the other cores are the training's
        make_hard_shards(
            hard,
            data.hard_shards,
            weights=start,
            seed=data.seed,
            backgrounds=backgrounds,
            collage_share=data.collage_share,
            device=device,
        )
    plain(data.shards)


def write_weights(
    recipe: Recipe,
    network: WagonNet,
    out: Path,
    *,
    start: weights_file.Weights | None = None,
    device: str = "auto",
) -> Path:
    """Calibrate a trained network on validation scenes and write weights, card and STAC item."""
    backgrounds = Path(recipe.data.backgrounds) if recipe.data.backgrounds else None
    check = out / "check"
    make_shards(
        check,
        recipe.data.check_shards,
        seed=recipe.data.seed + 10_000,
        split="val",
        backgrounds=backgrounds,
        collage_share=recipe.data.collage_share,
    )
    paths = find_shards(check)
    half = max(1, len(paths) // 2)
    card = {
        **(start.card if start else {}),
        "name": recipe.name,
        "version": recipe.version,
        "trained": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "settings": dataclasses.asdict(recipe),
    }
    draft = weights_file.Weights(network, Rescorer(), card, "", out / f"{recipe.name}.safetensors")
    finished, figures = finish(draft, _tiles(paths[:half]), _tiles(paths[half:] or paths), device=device)
    log = [json.loads(line) for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    training = {"steps": log[-1]["step"], "last_losses": log[-1]} if log else {}
    card = {**finished.card, "training": training, "figures": {"validation": figures}}
    path = out / f"{recipe.name}.safetensors"
    checksum = weights_file.save(path, finished.network, finished.judge, card)
    write_item({**card, "sha256": checksum}, path, finished.network, finished.judge)
    return path


def _tiles(paths: Iterable[Path]) -> Iterable[LabelledTile]:
    return chain.from_iterable(Shard(p) for p in paths)


def _own_shards(recipe: Recipe, folder: Path) -> Path | None:
    """The user's own labels as a shard."""
    if not recipe.data.labels:
        return None
    images = Path(recipe.data.images) if recipe.data.images else None
    tiles = [
        tile
        for source in recipe.data.labels
        for image in read_labels(Path(source), images=images, gsd_m=recipe.data.gsd_m or None)
        if image.labelled
        for tile in tiles_of(image)
    ]
    if not tiles:
        raise LabelError(f"{recipe.data.labels[0]}: no labelled image in it")
    write_shard(folder / "shard-00000", tiles)
    return folder


def _wait_for(folder: Path, shards: int, worker: Any) -> None:
    """Wait until the simulator has made the first shards."""
    while True:
        # Asked in this order: the last shard may come between the two questions.
        at_work = worker is not None and worker.is_alive()
        if len(find_shards(folder)) >= shards:
            return
        if not at_work:
            raise LabelError(
                f"{folder}: the simulator stopped before it had made {shards} shards; see the messages above"
            )
        sleep(1.0)
