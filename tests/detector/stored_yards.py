"""Made-up images of yards on disk as the simulator would keep them: made in no time, true by construction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from detector.occupancy import weights
from detector.occupancy.estimate import ConformalScaling
from detector.occupancy.network import OccupancyNet
from detector.training.occupancy_samples import FIGURES, StoredSite

PITCH_M = 15.0
SEEDS = {"train": 1, "val": 2, "test": 3}
CARD = {
    "name": "untrained",
    "version": "7",
    "pitch_m": [PITCH_M, 1.0],
    "length_stretch": {"at": [1.0, 50.0], "below": [1.0, 1.2], "above": [1.1, 1.3]},
    "count_stretch": {"at": [1.0, 50.0], "below": [1.1, 1.3], "above": [1.2, 1.4]},
    "trusted_to": 150.0,
}


def write_yard(
    folder: Path,
    split: str,
    number: int,
    *,
    images: int = 8,
    size: tuple[int, int] = (34, 60),
    early: int = 5,
) -> None:
    """A yard of three rows of track that brighten with the wagons on them; the first image is empty."""
    rng = np.random.default_rng([17, number, len(split)])
    h, w = size
    tracks = np.zeros((4, h, w), np.float32)
    tracks[:, 15:18, 14 : w - 14] = 0.6
    region = np.zeros((h, w), np.float32)
    region[14:19, 13 : w - 13] = 1.0
    boundary = region.copy()
    usual = 0.12 + 0.02 * rng.standard_normal((4, h, w))
    stacks, rows = [], []
    for k in range(images):
        cells = np.zeros((h, w), np.float32)
        n = int(rng.integers(0, 20)) if k else 0
        for _ in range(n):
            row, column = int(rng.integers(15, 18)), int(rng.integers(14, w - 16))
            cells[row, column : column + 2] += PITCH_M / 2
        current = usual + 0.004 * cells + 0.004 * rng.standard_normal((4, h, w))
        low, high = usual - 0.005, usual + 0.005 + 0.02 * (tracks.max(axis=0) > 0)
        stacks.append(np.concatenate([current, low, usual, high, cells[None]]))
        values = dict.fromkeys(FIGURES, 0.0) | {
            "count": n,
            "length_m": n * PITCH_M,
            "dates": 5 + k,
            "shadow_across": -0.7,
            "past_shadow_across": -0.5,
            "sun_elevation_deg": 45.0,
            "residual_m": 0.5,
        }
        rows.append([values[name] for name in FIGURES])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{split}-{SEEDS[split]}-{number:05d}"
    np.save(path.with_suffix(".npy"), np.stack(stacks).astype(np.float16))
    np.savez(
        path.with_suffix(".npz"),
        figures=np.array(rows, np.float32),
        tracks=tracks.astype(np.float16),
        region=region.astype(np.float16),
        boundary=boundary.astype(np.float16),
        early=np.repeat(stacks[0][None, :4], early, axis=0).astype(np.float16),
        early_sun=np.tile(np.float32([0.2, -0.5]), (early, 1)),
    )


def stored_yard(folder: Path, number: int = 0, split: str = "train") -> StoredSite:
    """One of them, opened."""
    write_yard(folder, split, number)
    return StoredSite.open(folder / f"{split}-{SEEDS[split]}-{number:05d}.npz")


def untrained_weights(folder: Path, **card: object) -> Path:
    """A weights file of a network with random weights."""
    torch.manual_seed(0)
    path = folder / "untrained.safetensors"
    weights.save(path, OccupancyNet(), CARD | card)
    return path


def stretch(name: str = "count_stretch") -> ConformalScaling:
    """The made-up calibration of the card."""
    return ConformalScaling.from_json(CARD[name])  # type: ignore[arg-type]
