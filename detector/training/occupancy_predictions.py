"""What the network says of stored images, in one table: to calibrate on, and to score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from detector.occupancy.network import OccupancyNet, Past
from detector.training.occupancy_samples import FIGURES, StoredSite, sample_of

_BATCH = 8


@torch.inference_mode()
def answers(
    sites: Sequence[StoredSite],
    network: OccupancyNet,
    *,
    tracks: bool = True,
    device: str = "cpu",
    rows: Callable[[StoredSite], Sequence[int]] | None = None,
    progress: Callable[[int, int], Any] | None = None,
) -> pd.DataFrame:
    """Raw answers to the images of stored sites.

    Args:
        sites: Simulated sites.
        network: The network.
        tracks: Whether the track lines are shown.
        device: Where the network runs.
        rows: Which images of a site; all by default.
        progress: Called with sites done and in all.

    Returns:
        A row an image: ``site`` (a number), ``row``, the columns of `FIGURES`, and in metres ``said``,
        ``below`` and ``above``.
    """
    found = []
    for number, site in enumerate(sites):
        if progress is not None:
            progress(number, len(sites))
        chosen = list(range(len(site.images))) if rows is None else list(rows(site))
        for start in range(0, len(chosen), _BATCH):
            part = chosen[start : start + _BATCH]
            samples = [sample_of(site, row, tracks=tracks) for row in part]
            planes = torch.from_numpy(np.stack([s.planes for s in samples])).to(device)
            region = torch.from_numpy(np.stack([s.region for s in samples])).to(device)
            past = Past.of([s.past for s in samples])
            said = network(planes, region, past and past.to(device))
            lengths = [x.double().cpu().numpy() for x in (said.length_m, said.below_m, said.above_m)]
            for k, row in enumerate(part):
                values = dict(zip(FIGURES, site.figures[row].tolist(), strict=True))
                values |= {"site": number, "row": row}
                values |= dict(zip(("said", "below", "above"), (float(x[k]) for x in lengths), strict=True))
                found.append(values)
    if progress is not None:
        progress(len(sites), len(sites))
    return pd.DataFrame(found)
