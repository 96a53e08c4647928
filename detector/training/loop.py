"""Fit a network: one plain loop for every detector, which anyone can repeat, stop and resume.

What is particular to a detector is a `Task`: its network, its stream of batches and the terms of its loss.
`WagonTask`, `OccupancyTask` and `TypeTask` of the recipes are those there are.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from aoi.files import replacing, whole_archive, write_text
from detector.backends import choose_device, fast_dtype
from detector.errors import LabelError
from detector.training.config import Recipe, TrainSettings, as_json

logger = logging.getLogger(__name__)

Net = TypeVar("Net", bound=nn.Module)
Batch = TypeVar("Batch")
Parts = dict[str, nn.Module | torch.optim.Optimizer]
"""What a checkpoint holds: the network, its moving average, the optimiser."""

HELD_OUT_BATCHES = 8
"""Batches of the held-out score: the same ones each time, so that its values compare."""


class Task(Protocol[Net, Batch]):
    """What the loop must be told of a detector."""

    def network(self) -> Net:
        """Return a network at its random start."""

    def batches(self, first_step: int) -> Iterator[Batch]:
        """Return an endless, seeded stream of batches, beginning with that of a step.

        Raises:
            LabelError: There is nothing to train on.
        """

    def held_out(self, number: int) -> Sequence[Batch]:
        """Return so many batches of what isn't learned from; none where there is nothing held out (yet)."""

    def losses(
        self, network: Net, batch: Batch, device: torch.device, dtype: torch.dtype
    ) -> dict[str, Tensor]:
        """Return the unweighted terms of the loss, by name."""

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """Return the weighted sum of the terms, which is minimised."""


class AheadOfTime(Generic[Batch]):
    """An endless stream of the batches that a function makes for each step, three of them made in advance.

    Args:
        make: Gives the batch of a step; called in a thread, one step after the other.
        first_step: Where the stream begins.
    """

    def __init__(self, make: Callable[[int], Batch], first_step: int = 0) -> None:
        self.make, self.step = make, first_step

    def __iter__(self) -> Iterator[Batch]:
        with ThreadPoolExecutor(1) as ahead:
            pending = [ahead.submit(self.make, self.step + k) for k in range(3)]
            while True:
                self.step += 1
                pending.append(ahead.submit(self.make, self.step + 2))
                yield pending.pop(0).result()


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move the exponential moving average of all weights and buffers one step."""
    state = model.state_dict()
    for name, value in average.state_dict().items():
        if value.dtype.is_floating_point:
            value.lerp_(state[name], 1.0 - decay)
        else:
            value.copy_(state[name])


def learning_rate(step: int, config: TrainSettings) -> float:
    """Linear warm-up, then cosine down to the final rate."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    low, high = config.final_learning_rate, config.learning_rate
    return low + 0.5 * (high - low) * (1 + math.cos(math.pi * min(1.0, progress)))


def fit(
    task: Task[Net, Any],
    out: Path,
    config: TrainSettings,
    *,
    start: dict[str, Tensor] | None = None,
    strict: bool = True,
    device: str = "auto",
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] | None = None,
) -> Net:
    """Train, or go on with the training in ``out``.

    Args:
        task: The detector's side: network, batches, losses.
        out: Folder for ``checkpoint.pt``, ``log.jsonl`` and ``curves.png``.
        config: Settings; a resumed training may have more steps than before.
        start: Weights to start from (fine-tuning) when there is no checkpoint.
        strict: Whether ``start`` must hold every weight; otherwise what it lacks starts at random.
        device: ``auto``, ``cpu`` or ``cuda``.
        stop: Asked after every step; true ends the training early with a checkpoint.
        progress: Called with the step and the number of steps.

    Returns:
        The averaged network.

    Raises:
        LabelError: There is nothing to train on, the checkpoint is damaged, or the loss is no longer finite.
    """
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    place = choose_device(device)
    dtype = fast_dtype(place)
    model = task.network().to(place).to(memory_format=torch.channels_last)
    if start is not None:
        model.load_state_dict(start, strict=strict)
    average = task.network().to(place).to(memory_format=torch.channels_last)
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
    batches = iter(task.batches(step))
    held_out: Sequence[Any] = ()
    running: dict[str, float] = {}
    summed = 0
    began = saved = time.monotonic()
    cpu = time.process_time()
    model.train()
    with (out / "log.jsonl").open("a", encoding="utf-8") as log:
        while step < config.steps and not stop():
            batch = next(batches)
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(step, config)
            terms = task.losses(model, batch, place, dtype)
            loss = task.total(terms)
            _finite(loss, terms, step, checkpoint)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            norm = nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip)
            _finite(norm, {"gradient": norm}, step, checkpoint)
            optimiser.step()
            # A short memory at first, or the average keeps the random start for thousands of steps.
            update_average(average, model, min(config.ema_decay, (1 + step) / (10 + step)))
            step += 1
            for name, value in {"total": loss, **terms}.items():
                running[name] = running.get(name, 0.0) + float(value.detach())
            summed += 1
            if step % config.log_steps == 0 or step == config.steps:
                record = {"step": step, "lr": learning_rate(step, config)}
                record |= {name: round(value / summed, 5) for name, value in running.items()}
                record |= {
                    "seconds": round(time.monotonic() - began, 1),
                    "cpu_s": round(time.process_time() - cpu, 1),
                }
                if step % config.score_steps == 0 or step == config.steps:
                    held_out = held_out or task.held_out(HELD_OUT_BATCHES)
                    record |= score(task, average, held_out, place, dtype)
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


def _finite(value: Tensor, terms: dict[str, Tensor], step: int, checkpoint: Path) -> None:
    """Stop before what isn't a number reaches the weights and, through them, the moving average."""
    if torch.isfinite(value):
        return
    bad = ", ".join(name for name, term in terms.items() if not torch.isfinite(term)) or "the sum"
    raise LabelError(
        f"{checkpoint.parent}: the training stopped at step {step + 1}, since {bad} isn't finite any more; "
        f"start again from the last checkpoint with a smaller train.learning_rate"
    )


@torch.no_grad()
def score(
    task: Task[Net, Any], network: Net, batches: Sequence[Any], device: torch.device, dtype: torch.dtype
) -> dict[str, float]:
    """Mean loss of a network over held-out batches, as ``{"held_out": value}``; empty without batches."""
    if not batches:
        return {}
    network.eval()
    losses = [float(task.total(task.losses(network, batch, device, dtype))) for batch in batches]
    return {"held_out": round(sum(losses) / len(losses), 5)}


def optimiser_of(model: nn.Module, config: TrainSettings) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices and kernels, and none on biases and normalisation."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return torch.optim.AdamW(
        [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=config.learning_rate,
    )


def save_checkpoint(path: Path, step: int, parts: Parts) -> None:
    """Write a training's state to a temporary name and rename it, so that a kill leaves the old one whole."""
    with replacing(path, whole_archive) as temporary:
        torch.save({"step": step, **{name: one.state_dict() for name, one in parts.items()}}, temporary)


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
    kept = [record for record in read_log(path) if record["step"] <= step]
    write_text(path, "".join(json.dumps(record) + "\n" for record in kept))


def read_log(path: Path) -> list[dict[str, Any]]:
    """The whole records of a training's log, none where there is none; a line torn by a kill is left out."""
    if not path.exists():
        return []
    records = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
            int(record["step"])
        except (ValueError, KeyError, TypeError):
            continue
        records.append(record)
    return records


def card_of(recipe: Recipe, out: Path) -> dict[str, Any]:
    """What the card of any weights says of their training, from its settings and its log in ``out``."""
    log = read_log(out / "log.jsonl")
    return {
        "name": recipe.name,
        "version": recipe.version,
        "trained": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "settings": as_json(recipe),
        "training": {"steps": log[-1]["step"], "last_losses": log[-1]} if log else {},
    }


@contextmanager
def beside(
    job: Callable[..., object], *arguments: object, until: Callable[[], bool]
) -> Iterator[SpawnProcess]:
    """A process that makes what is trained on while the training runs, and is ended with it.

    Args:
        job: What it does, importable by name.
        arguments: For the job.
        until: Whether there is enough to begin with; waited for as long as the process lives.
    """
    # Spawned: a forked child would inherit torch's threads in an unknown state.
    worker = get_context("spawn").Process(target=job, args=arguments)
    worker.start()
    try:
        while worker.is_alive() and not until():
            worker.join(1.0)
        yield worker
    finally:
        worker.terminate()
        worker.join()


def load_average(path: Path, network: Net) -> Net:
    """A network with the averaged weights of a checkpoint, ready for inference.

    Raises:
        LabelError: The checkpoint is missing or damaged.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict(state["average"])
    except Exception as error:  # as above
        raise LabelError(f"{path}: missing, damaged or not a checkpoint of ours") from error
    return network.eval()


def draw_curves(log: Path, picture: Path) -> None:
    """Draw the terms of the loss over the steps."""
    from matplotlib.figure import Figure

    records = read_log(log)
    if not records:
        return
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    names = [k for k in records[-1] if k not in {"step", "lr", "seconds", "cpu_s", "held_out"}]
    for name in names:
        axes.plot([r["step"] for r in records], [r.get(name, np.nan) for r in records], label=name, lw=1)
    scored = [(r["step"], r["held_out"]) for r in records if "held_out" in r]
    if scored:
        axes.plot(*zip(*scored, strict=True), "ko-", label="held out", lw=1.5, ms=3)
    axes.set(xlabel="step", ylabel="loss", yscale="log", title="Training losses")
    axes.legend(ncols=3, fontsize=8)
    with replacing(picture) as temporary:
        figure.savefig(temporary, dpi=120)
