"""What network and trees say of stored looks, in one table: to calibrate on, and to score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from detector.occupancy.classical import Trees, features, metres
from detector.occupancy.inputs import Inputs
from detector.occupancy.network import OccupancyNet, Past
from detector.training.occupancy_samples import FIGURES, Sample, StoredSite, sample_of

_BATCH = 8


@torch.inference_mode()
def answers(
    sites: Sequence[StoredSite],
    network: OccupancyNet,
    trees: Trees | None = None,
    *,
    tracks: bool = True,
    device: str = "cpu",
    rows: Callable[[StoredSite], Sequence[int]] | None = None,
    progress: Callable[[int, int], Any] | None = None,
) -> pd.DataFrame:
    """Raw answers to the looks of stored sites.

    Args:
        sites: Simulated sites.
        network: The network.
        trees: The classical estimator, or None to leave it out.
        tracks: Whether the track lines are shown.
        device: Where the network runs.
        rows: Which looks of a site; all by default.
        progress: Called with sites done and in all.

    Returns:
        A row a look: ``site`` (a number), ``row``, the columns of `FIGURES`, and in metres ``said``,
        ``below``, ``above`` and ``classical`` (NaN without trees).
    """
    found = []
    for number, site in enumerate(sites):
        if progress is not None:
            progress(number, len(sites))
        chosen = list(range(len(site.looks))) if rows is None else list(rows(site))
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
                values["classical"] = float("nan")
                if trees is not None:
                    x = site_features(site, row, tracks=tracks, sample=samples[k])
                    values["classical"] = float(metres(trees, x[None])[0])
                found.append(values)
    if progress is not None:
        progress(len(sites), len(sites))
    return pd.DataFrame(found)


def site_features(
    site: StoredSite, row: int, *, tracks: bool = True, sample: Sample | None = None
) -> NDArray[np.float64]:
    """The classical features of a stored look, (len(FEATURES),); a sample of it spares making one."""
    sample = sample or sample_of(site, row, tracks=tracks)
    stored = np.asarray(site.looks[row], dtype=np.float32)
    known = np.asarray(np.isfinite(stored[:16]).all(axis=0))
    given = Inputs(sample.planes, sample.region, known, sample.past)
    return features(stored[0:4], stored[4:8], stored[8:12], stored[12:16], given)
