"""The making of occupancy weights from one settings file: simulate, fit, calibrate, write with a card."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from detector.errors import LabelError
from detector.occupancy import weights as weights_file
from detector.occupancy.estimate import Pitch, calibration_of, fit_stretch
from detector.occupancy.network import OccupancyNet, Occupied
from detector.training import occupancy_scores as scores
from detector.training.config import OccupancyRecipe, OccupancyTraining
from detector.training.loop import AheadOfTime, beside, card_of, fit, load_average
from detector.training.model_item import write_occupancy_item
from detector.training.occupancy_samples import CAR_M, Batches, SampleBatch, stored_sites
from detector.training.occupancy_scores import answers
from detector.training.occupancy_sites import STRIP_SEEDS, site_path, write_site, write_strip_site

logger = logging.getLogger(__name__)

_MANY_CARS = 30  # on all images of a site: so many tell its pitch
_HELD_OUT_SITES = 8
_SEEDS = {"train": 1, "val": 2, "test": 3}


def make_sites(
    folder: Path,
    split: str,
    number: int,
    *,
    seed: int = 0,
    dates: int = 34,
    first: int = 0,
    strips: float = 0.0,
) -> None:
    """Simulate the sites of a split; those that are there are left alone.

    Args:
        folder: Where they are put.
        split: ``train``, ``val`` or ``test``.
        number: How many there are to be.
        seed: Another one gives other yards.
        dates: Of each.
        first: Number of the first one to make.
        strips: Share of those that are of the second simulator, evenly among the others.
    """
    for k in range(first, number):
        write = write_strip_site if _is_strip(k, strips) else write_site
        write(folder, _seed(split, seed), k, split, dates=dates)


def _is_strip(number: int, share: float) -> bool:
    return int((number + 1) * share) > int(number * share)


def _seed(split: str, seed: int) -> int:
    """Far apart: no split of one seed is another split, or the yards of the study, of another."""
    return _SEEDS[split] + 1000 * seed


def follow(
    recipe: OccupancyRecipe,
    out: Path,
    *,
    device: str = "auto",
    progress: Callable[[int, int], Any] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Path:
    """Carry out a recipe, or go on with one that was stopped.

    Args:
        recipe: The settings.
        out: Folder of sites, checkpoint, log and at last ``NAME.safetensors`` with its card.
        device: ``auto``, ``cpu`` or ``cuda``.
        progress: Called with the step and the number of steps.
        stop: Asked after every step; true ends the training early (a later call goes on).

    Returns:
        The weights file.

    Raises:
        LabelError: Something about the data or the checkpoint is wrong.
    """
    data, folder = recipe.data, out / "sites"
    first = min(data.first_sites, data.train_sites)
    seed = _seed("train", data.seed)
    wanted = (
        site_path(folder, seed + STRIP_SEEDS * _is_strip(k, data.strips), k, "train")
        for k in range(data.train_sites)
    )
    task = OccupancyTask(folder, recipe.train)
    settings: dict[str, Any] = {"seed": data.seed, "dates": data.dates, "strips": data.strips}
    if all(path.exists() for path in wanted):
        fit(task, out, recipe.train, device=device, stop=stop, progress=progress)
    else:
        job = partial(_make_all, **settings)
        held_out = min(_HELD_OUT_SITES, data.check_sites)

        def enough() -> bool:
            return len(list(folder.glob("train-*[0-9].npz"))) >= first

        with beside(job, folder, first, held_out, data.train_sites, until=enough) as worker:
            _look_after(worker, folder)
            fit(task, out, recipe.train, device=device, stop=stop, progress=progress)
            worker.join()
            _look_after(worker, folder)
    make_sites(folder, "val", data.check_sites, **settings)
    return write_weights(recipe, load_average(out / "checkpoint.pt", OccupancyNet()), folder, out)


def _make_all(folder: Path, first: int, held_out: int, number: int, **settings: Any) -> None:
    """Make the sites without which the training can't begin, those of the held-out score, then all others."""
    for split, wanted in (("train", first), ("val", held_out), ("train", number)):
        make_sites(folder, split, wanted, **settings)


def _look_after(worker: SpawnProcess, folder: Path) -> None:
    """Raise if the simulator has failed."""
    if worker.exitcode:
        raise LabelError(f"{folder}: the simulator stopped; see the messages above")


def write_weights(recipe: OccupancyRecipe, network: OccupancyNet, folder: Path, out: Path) -> Path:
    """Calibrate on the sites of the split "val", and write weights and card.

    Raises:
        LabelError: There are no sites to calibrate on.
    """
    learned, check = stored_sites(folder, "train"), stored_sites(folder, "val")
    if not learned or not check:
        raise LabelError(f"{folder}: simulated sites are missing, or none has enough dates to be answered")
    table = level(answers(check, network), network)
    card = {
        **card_of(recipe, out),
        "task": "occupied track length of freight yards on Sentinel-2 images",
        "data": {
            "training": f"{len(learned)} simulated yards, {sum(len(s.images) for s in learned)} images",
            "intervals": f"{len(check)} further simulated yards, {len(table)} images",
        },
        **calibration(table),
    }
    length, count, pitch = calibration_of(card)
    seen = scores.intervals(table, length, count, pitch)
    card["figures"] = {"validation": scores.by_count(seen).to_dict("records"), "slope": scores.slope(seen)}
    path = out / f"{recipe.name}.safetensors"
    checksum = weights_file.save(path, network, card)
    write_occupancy_item({**card, "sha256": checksum}, path, network)
    return path


def level(table: pd.DataFrame, network: OccupancyNet) -> pd.DataFrame:
    """Take out by how much answers are too high in all (or low): training shows fuller yards than there are.

    Args:
        table: Raw answers on held-out sites.
        network: Whose gain is set.

    Returns:
        The answers that the network gives from now on.
    """
    said, true = float(table["said"].sum()), float(table["length_m"].sum())
    gain = min(max(true / said, 0.5), 2.0) if said > 0 and true > 0 else 1.0
    network.gain.mul_(gain)
    return table.assign(**{name: table[name] * gain for name in ("said", "below", "above")})


def calibration(table: pd.DataFrame) -> dict[str, Any]:
    """What raw answers on held-out sites say of pitch, intervals and the range that can be trusted.

    Returns:
        ``pitch_m``, ``length_stretch``, ``count_stretch`` and ``trusted_to`` for a card.

    Raises:
        LabelError: No site holds a car.
    """
    sums = table.groupby("site")[["length_m", "count"]].sum()
    most = float(sums["count"].max())
    if not most:
        raise LabelError("the simulated sites to calibrate on hold no freight cars at all")
    pitches = (sums["length_m"] / sums["count"])[sums["count"] >= min(_MANY_CARS, most)]
    # Yards and not cars are drawn by whoever asks: the mean of yards.
    spread = float(pitches.std()) if len(pitches) > 1 else 0.0
    pitch = Pitch(round(float(pitches.mean()), 2), round(spread, 2))
    said, below, above = (table[name].to_numpy(float) for name in ("said", "below", "above"))
    site = table["site"].to_numpy(np.int64)
    length = fit_stretch(said, below, above, table["length_m"].to_numpy(float), site, car=pitch.mean_m)
    count = fit_stretch(
        said / pitch.mean_m,
        below / pitch.mean_m,
        above / pitch.mean_m,
        table["count"].to_numpy(float),
        site,
        car=1.0,
    )
    return {
        "pitch_m": [pitch.mean_m, pitch.sd_m],
        "length_stretch": length.to_json(),
        "count_stretch": count.to_json(),
        "trusted_to": trusted_range(scores.intervals(table, length, count, pitch)),
    }


def trusted_range(table: pd.DataFrame, *, most: float = 300.0, bias: float = 0.12) -> float:
    """The count up to which answers don't fall short of the truth by more than a share on average.

    In steps of 25. Beyond it they are lower bounds; answers that are too high are no such thing: that is for
    their interval to say.
    """
    trusted = 50.0
    for low in np.arange(50.0, most, 25.0):
        part = table[(table["count"] > low) & (table["count"] <= low + 25)]
        if len(part) < 20 or (part["count"] - part["cars"]).mean() > bias * (low + 12.5):
            break
        trusted = float(low) + 25.0
    return trusted


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


WEIGHTS = {"length": 1.0, "cells": 1.0, "stretches": 0.5, "doubt": 0.2}
_TAIL = 0.05  # of either side of a 90% interval


def losses(said: Occupied, region: Tensor, cells: Tensor) -> dict[str, Tensor]:
    """The unweighted terms of the loss, by name.

    The length term is a square, so that it seeks the mean. It is scaled by what the network itself says and
    not by the truth: dividing by the truth would reward answers below the mean.

    Args:
        said: By the network.
        region: (B, h, w) weight with which a cell counts.
        cells: (B, h, w) metres of occupied track.
    """
    truth = cells.sum(dim=(1, 2)) / CAR_M
    length = said.length_m / CAR_M
    scale = length.detach() + 4.0
    miss = (length - truth) ** 2 / scale
    terms = {"length": torch.where(miss > 50.0, 10.0 * miss.clamp(min=1e-6).sqrt() - 20.7, miss).mean()}
    shown = said.density * (region > 0)
    for name, window in (("cells", 3), ("stretches", 9)):
        terms[name] = _cells(shown, cells, (region > 0).float(), window)
    rest = (cells.sum(dim=(1, 2)) - said.length_m.detach()) / CAR_M
    above, below = rest - said.above_m / CAR_M, rest + said.below_m / CAR_M
    upper = torch.maximum((1 - _TAIL) * above, -_TAIL * above)
    lower = torch.maximum(_TAIL * below, -(1 - _TAIL) * below)
    terms["doubt"] = ((upper + lower) / scale.sqrt()).mean()
    return terms


def _cells(shown: Tensor, cells: Tensor, where: Tensor, window: int) -> Tensor:
    """How wrong the sums over windows are, in cars."""
    difference = _sums(shown - cells, window) / CAR_M
    level = _sums(shown.detach(), window) / CAR_M
    weight = (_sums(where, window) > 0).float()
    each = weight * difference**2 / (level + 0.3)
    return each.sum() / weight.sum().clamp(min=1.0) * 4.0


def _sums(plane: Tensor, window: int) -> Tensor:
    """Sums over square windows of cells, every second window."""
    pooled = avg_pool2d(
        plane[:, None], window, stride=max(1, window // 3), padding=window // 2, count_include_pad=True
    )
    return pooled[:, 0] * window * window


def total_loss(terms: dict[str, Tensor]) -> Tensor:
    """The weighted sum that is minimised."""
    return torch.stack([WEIGHTS[name] * value for name, value in terms.items()]).sum()
