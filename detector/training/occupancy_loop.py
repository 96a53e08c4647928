"""Fit the occupancy network: the same plain loop as for wagons, on simulated sites."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from detector.device import choose_device, fast_dtype
from detector.errors import LabelError
from detector.occupancy.network import OccupancyNet
from detector.training.loop import (
    Parts,
    TrainConfig,
    learning_rate,
    optimiser_of,
    resume_checkpoint,
    save_checkpoint,
    update_average,
)
from detector.training.occupancy_losses import losses, total_loss
from detector.training.occupancy_samples import Batches

logger = logging.getLogger(__name__)

SIZE = (32, 128)
"""Rows and columns of a training sample, cells of 10 m."""


@dataclass(frozen=True)
class OccupancyTrainConfig(TrainConfig):
    """Settings of a training, as read from a TOML file's ``[train]`` table."""

    steps: int = 16_000
    batch_size: int = 16
    learning_rate: float = 1.5e-3
    final_learning_rate: float = 1e-5
    warmup_steps: int = 300
    trackless: float = 0.25
    """Share of the samples that are shown without their track lines."""


def train(
    folder: Path,
    out: Path,
    config: OccupancyTrainConfig,
    *,
    start: dict[str, torch.Tensor] | None = None,
    device: str = "auto",
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] | None = None,
) -> OccupancyNet:
    """Train, or go on with the training in ``out``.

    Args:
        folder: Where the simulated sites lie (`detector.training.occupancy_sites.write_site`).
        out: Folder for ``checkpoint.pt`` and ``log.jsonl``.
        config: Settings.
        start: Weights to start from when there is no checkpoint; what they lack starts at random.
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
    model = OccupancyNet().to(place).to(memory_format=torch.channels_last)
    if start is not None:
        model.load_state_dict(start, strict=False)
    average = OccupancyNet().to(place).to(memory_format=torch.channels_last)
    average.load_state_dict(model.state_dict())
    optimiser = optimiser_of(model, config)
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "checkpoint.pt"
    parts: Parts = {
        "model": model,
        "average": average,
        "optimiser": optimiser,
    }
    step = resume_checkpoint(checkpoint, parts) if checkpoint.exists() else 0
    batches = iter(
        Batches(
            folder,
            batch_size=config.batch_size,
            size=SIZE,
            seed=config.seed,
            start_step=step,
            trackless=config.trackless,
        )
    )
    began = saved = time.monotonic()
    running: dict[str, float] = {}
    summed = 0
    model.train()
    with (out / "log.jsonl").open("a", encoding="utf-8") as log:
        while step < config.steps and not stop():
            batch = next(batches)
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(step, config)
            planes = batch.planes.to(place).contiguous(memory_format=torch.channels_last)
            region, cells = batch.region.to(place), batch.cells.to(place)
            with torch.autocast(place.type, dtype, enabled=dtype is not torch.float32):
                said = model(planes, region, batch.past and batch.past.to(place))
            terms = losses(said, region, cells)
            loss = total_loss(terms)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip)
            optimiser.step()
            update_average(average, model, min(config.ema_decay, (1 + step) / (10 + step)))
            step += 1
            for name, value in {"total": loss, **terms}.items():
                running[name] = running.get(name, 0.0) + float(value.detach())
            summed += 1
            if step % config.log_steps == 0 or step == config.steps:
                record = {"step": step, "lr": learning_rate(step, config)}
                record |= {k: round(v / summed, 5) for k, v in running.items()}
                record["seconds"] = round(time.monotonic() - began, 1)
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
    return average.eval()


def load_average(path: Path) -> OccupancyNet:
    """The averaged network of a checkpoint, ready to answer.

    Raises:
        LabelError: The checkpoint is missing or damaged.
    """
    network = OccupancyNet()
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["average"])
    except Exception as error:  # as above
        raise LabelError(f"{path}: missing, damaged or not a checkpoint of ours") from error
    return network.eval()
