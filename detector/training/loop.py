"""Fit the wagon network: a plain loop that anyone can repeat, stop and resume."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from detector.device import choose_device, fast_dtype
from detector.errors import LabelError
from detector.training.augment import random_view
from detector.training.losses import losses, total_loss
from detector.training.shards import LabelledTile, Shard, find_shards
from detector.training.targets import Targets, draw, stack
from detector.wagons.network import WagonNet

logger = logging.getLogger(__name__)

Parts = dict[str, nn.Module | torch.optim.Optimizer]
"""What a checkpoint holds: the network, its moving average, the optimiser."""


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training, as read from a TOML file's ``[train]`` table."""

    seed: int = 1
    steps: int = 12_000
    batch_size: int = 8
    view_px: int = 256
    learning_rate: float = 2e-3
    final_learning_rate: float = 2e-5
    warmup_steps: int = 300
    weight_decay: float = 0.01
    gradient_clip: float = 5.0
    ema_decay: float = 0.998
    threads: int = 2
    checkpoint_seconds: float = 120.0
    log_steps: int = 50
    own_share: float = 0.5
    """Share of the views drawn from the user's own tiles, where there are any."""
    empty_redrawn: float = 0.0
    """How often a simulated tile without wagons is put back for another: empty ground is learned sooner."""
    hard_share: float = 0.1
    """Share of the views drawn from mined hard negatives, where there are any."""


class Batch(NamedTuple):
    """Views for one step."""

    image: Tensor  # (B, 3, H, W) uint8
    targets: Targets


class Views:
    """An endless, seeded stream of batches drawn from the shards of some folders.

    Shards that appear while the training runs are taken up, so that the simulator can work beside the
    network.
    """

    def __init__(
        self,
        folders: list[Path],
        config: TrainConfig,
        *,
        own: Path | None = None,
        hard: Path | None = None,
        start_step: int = 0,
    ):
        self.folders = folders
        self.config = config
        self.step = start_step
        self.shards: list[Shard] = []
        self.hard_folder = hard
        self.hard: list[Shard] = []
        self.own = [Shard(p) for p in find_shards(own)] if own is not None else []
        self._looked = -math.inf

    def _look(self) -> None:
        if time.monotonic() - self._looked < 60 and (self.shards or self.own):
            return
        self._looked = time.monotonic()
        for folder in self.folders:
            _take_up(self.shards, folder)
        if self.hard_folder is not None:
            _take_up(self.hard, self.hard_folder)
        if not self.shards and not self.own:
            names = ", ".join(str(f) for f in self.folders)
            raise LabelError(f"{names}: no training shards here")

    def __iter__(self) -> Iterator[Batch]:
        with ThreadPoolExecutor(1) as ahead:
            pending = [ahead.submit(self._batch, self.step + k) for k in range(3)]
            while True:
                self.step += 1
                pending.append(ahead.submit(self._batch, self.step + 2))
                yield pending.pop(0).result()

    def _batch(self, step: int) -> Batch:
        self._look()
        config = self.config
        rng = np.random.default_rng([config.seed, step])
        images, targets = [], []
        for _ in range(config.batch_size):
            tile = self._tile(rng)
            view = random_view(tile, rng, config.view_px)
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


def _take_up(shards: list[Shard], folder: Path) -> None:
    """Add the shards of a folder that aren't among them yet."""
    known = {s.path for s in shards}
    shards += [Shard(p) for p in find_shards(folder) if p not in known]


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move the exponential moving average of all weights and buffers one step."""
    state = model.state_dict()
    for name, value in average.state_dict().items():
        if value.dtype.is_floating_point:
            value.lerp_(state[name], 1.0 - decay)
        else:
            value.copy_(state[name])


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then cosine down to the final rate."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    low, high = config.final_learning_rate, config.learning_rate
    return low + 0.5 * (high - low) * (1 + math.cos(math.pi * min(1.0, progress)))


def train(
    folders: list[Path],
    out: Path,
    config: TrainConfig,
    *,
    own: Path | None = None,
    hard: Path | None = None,
    start: dict[str, Tensor] | None = None,
    device: str = "auto",
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] | None = None,
) -> WagonNet:
    """Train, or go on with the training in ``out``.

    Args:
        folders: Where the shards lie.
        out: Folder for ``checkpoint.pt``, ``log.jsonl`` and ``curves.png``.
        config: Settings; a resumed training may have more steps than before.
        own: Folder of shards of the user's own tiles.
        hard: Folder of shards of hard negatives, looked into again and again like ``folders``.
        start: Weights to start from (fine-tuning) when there is no checkpoint.
        device: ``auto``, ``cpu`` or ``cuda``.
        stop: Asked after every step; true ends the training early with a checkpoint.
        progress: Called with the step and the number of steps.

    Returns:
        The averaged network.

    Raises:
        LabelError: There is nothing to train on, or the checkpoint is damaged.
    """
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    place = choose_device(device)
    dtype = fast_dtype(place)
    model = WagonNet().to(place).to(memory_format=torch.channels_last)
    if start is not None:
        model.load_state_dict(start)
    average = WagonNet().to(place).to(memory_format=torch.channels_last)
    average.load_state_dict(model.state_dict())
    optimiser = optimiser_of(model, config)
    parts: Parts = {"model": model, "average": average, "optimiser": optimiser}
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "checkpoint.pt"
    step = 0
    if checkpoint.exists():
        step = resume_checkpoint(checkpoint, parts)
        logger.info("resumed at step %d", step)
    _keep_log(out / "log.jsonl", step)
    views = iter(Views(folders, config, own=own, hard=hard, start_step=step))
    running: dict[str, float] = {}
    summed = 0
    began = saved = time.monotonic()
    cpu = time.process_time()
    model.train()
    with (out / "log.jsonl").open("a", encoding="utf-8") as log:
        while step < config.steps and not stop():
            batch = next(views)
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(step, config)
            image = batch.image.to(place, non_blocking=True).float().div_(255)
            targets = Targets(*(t.to(place, non_blocking=True) for t in batch.targets))
            with torch.autocast(place.type, dtype, enabled=dtype is not torch.float32):
                maps = model(image.contiguous(memory_format=torch.channels_last))
            terms = losses(maps, targets)
            loss = total_loss(terms)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip)
            optimiser.step()
            # A short memory at first, or the average keeps the random start for thousands of steps.
            update_average(average, model, min(config.ema_decay, (1 + step) / (10 + step)))
            step += 1
            for name, value in {"total": loss, **terms}.items():
                running[name] = running.get(name, 0.0) + float(value.detach())
            summed += 1
            if step % config.log_steps == 0 or step == config.steps:
                line = {k: round(v / summed, 5) for k, v in running.items()}
                record = {"step": step, "lr": learning_rate(step, config), **line}
                record |= {
                    "seconds": round(time.monotonic() - began, 1),
                    "cpu_s": round(time.process_time() - cpu, 1),
                }
                log.write(json.dumps(record) + "\n")
                log.flush()
                logger.info("%s", record)
                running.clear()
                summed = 0
            if time.monotonic() - saved > config.checkpoint_seconds:
                save_checkpoint(checkpoint, step, parts)
                saved = time.monotonic()
            if progress is not None:
                progress(step, config.steps)
    save_checkpoint(checkpoint, step, parts)
    draw_curves(out / "log.jsonl", out / "curves.png")
    return average.eval()


def optimiser_of(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices and kernels, and none on biases and normalisation."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return torch.optim.AdamW(
        [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=config.learning_rate,
    )


def save_checkpoint(path: Path, step: int, parts: Parts) -> None:
    """Write a training's state to a temporary name and rename it, so that a kill leaves the old one whole."""
    part = path.with_suffix(".part")
    torch.save({"step": step, **{name: one.state_dict() for name, one in parts.items()}}, part)
    part.replace(path)


def resume_checkpoint(path: Path, parts: Parts) -> int:
    """Bring a training's state back; gives the step.

    Raises:
        LabelError: The checkpoint is damaged.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        for name, one in parts.items():
            one.load_state_dict(state[name])
        return int(state["step"])
    except Exception as error:  # torch.load raises half a dozen unrelated types for a damaged file
        raise LabelError(f"{path}: a damaged checkpoint; delete it to start afresh") from error


def _keep_log(path: Path, step: int) -> None:
    """Keep the log's lines up to a step: those after the checkpoint come again, the last may be torn."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue
    part = path.with_suffix(".part")
    part.write_text("".join(kept), encoding="utf-8")
    part.replace(path)


def load_average(path: Path) -> WagonNet:
    """The averaged network of a checkpoint, ready for inference.

    Raises:
        LabelError: The checkpoint is missing or damaged.
    """
    model = WagonNet()
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(state["average"])
    except Exception as error:  # as above
        raise LabelError(f"{path}: missing, damaged or not a checkpoint of ours") from error
    return model.eval()


def draw_curves(log: Path, picture: Path) -> None:
    """Draw the terms of the loss over the steps."""
    from matplotlib.figure import Figure

    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not records:
        return
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    names = [k for k in records[-1] if k not in {"step", "lr", "seconds", "cpu_s"}]
    for name in names:
        axes.plot([r["step"] for r in records], [r.get(name, np.nan) for r in records], label=name, lw=1)
    axes.set(xlabel="step", ylabel="loss", yscale="log", title="Training losses")
    axes.legend(ncols=3, fontsize=8)
    figure.savefig(picture, dpi=120)
