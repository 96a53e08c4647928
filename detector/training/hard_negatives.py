"""Hard negatives: ground without wagons on which trained weights see some.

Most empty ground teaches nothing any more. Scenes without a wagon are drawn afresh from the training split,
simulated ones and rail-free pictures alike; those with the most confident false boxes are kept as shards of
their own, from which the training draws more often than their number would give.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from detector.simulators.collage import scene as collage
from detector.simulators.procedural.scenes import EMPTY_KINDS, RAIL_FREE_KINDS
from detector.training.shards import LabelledTile, write_shard
from detector.training.tiles import simulate_tiles
from detector.wagons.detector import WagonDetector
from detector.wagons.weights import Weights

logger = logging.getLogger(__name__)

SCENES_A_SHARD = 600
VIEWS = 3
TILES_A_SHARD = 400
MOST_SEEN = 5.0  # wagons seen on empty ground; where there are more, an analyst would see a train too
LEAST_DOUBT = 0.1  # a box of a lower probability disturbs neither the boxes drawn nor the count
_SEED_OFFSET = 50_000  # scenes of their own, not those of the plain shards


def hardness(detector: WagonDetector, tile: LabelledTile) -> float:
    """Sum of the probabilities, from 0.1 on, of what the detector takes for wagons on an empty tile."""
    height, width = (d // 32 * 32 for d in tile.image.shape[:2])
    found, _ = detector.candidates([np.ascontiguousarray(tile.image[:height, :width])])
    probability = detector.judge(found[0], float(tile.meta.get("gsd_m", 0.5))).probability
    return float(probability[probability >= LEAST_DOUBT].sum())


def hardest(detector: WagonDetector, tiles: Iterable[LabelledTile], keep: int) -> list[LabelledTile]:
    """The tiles on which the detector is most wrong, the worst first; ``meta["hardness"]`` says how wrong.

    Args:
        detector: Whose mistakes are looked for.
        tiles: Any; passed over are those with a wagon on them, be it half hidden, and those on which more
            than `MOST_SEEN` wagons are seen: dark lorries nose to tail on a road without markings, pavement
            seams as regular as couplers. Telling these from trains can only be learned at the trains' cost.
        keep: At most so many.
    """
    # The number breaks ties, so that tiles themselves are never compared.
    best: list[tuple[float, int, LabelledTile]] = []
    for number, tile in enumerate(tiles):
        if len(tile.boxes):
            continue
        wrong = hardness(detector, tile)
        if not 0.0 < wrong <= MOST_SEEN:
            continue
        entry = (wrong, -number, replace(tile, meta={**tile.meta, "hardness": wrong}))
        if len(best) < keep:
            heapq.heappush(best, entry)
        else:
            heapq.heappushpop(best, entry)
    return [tile for _, _, tile in sorted(best, key=lambda e: (-e[0], -e[1]))]


def make_hard_shards(
    out: Path,
    shards: int,
    *,
    weights: Weights,
    seed: int,
    backgrounds: Path | None = None,
    collage_share: float = 0.0,
    scenes: int = SCENES_A_SHARD,
    keep: int = TILES_A_SHARD,
    device: str = "auto",
    progress: Callable[[int, int], Any] | None = None,
) -> int:
    """Make shards of hard negatives; those already there are left alone.

    Args:
        out: Folder.
        shards: How many.
        weights: Whose mistakes are looked for.
        seed: With the shard's number it decides which scenes are looked at.
        backgrounds: Folder of rail-free pictures at 0.3 m.
        collage_share: Share of the scenes that the second simulator draws.
        scenes: Scenes without a wagon looked at for a shard, each under three sensors and lights.
        keep: Tiles a shard at most.
        device: Where to run.
        progress: Called with shards done and shards in all.

    Returns:
        Number of tiles made; a shard for which nothing hard was found isn't written.
    """
    out.mkdir(parents=True, exist_ok=True)
    detector = WagonDetector(weights, device)
    made = 0
    for number in range(shards):
        path = out / f"shard-{number:05d}"
        if not path.with_suffix(".labels.npz").exists():
            tiles = hardest(detector, _empty(seed, number, scenes, backgrounds, collage_share), keep)
            logger.info("hard negatives: %d of %d tiles kept", len(tiles), scenes * VIEWS)
            if tiles:
                write_shard(path, tiles)
            made += len(tiles)
        if progress is not None:
            progress(number + 1, shards)
    return made


def _empty(
    seed: int, number: int, scenes: int, backgrounds: Path | None, collage_share: float
) -> Iterator[LabelledTile]:
    """Tiles of scenes without a wagon, some scenes at a time, so that they needn't all be held."""
    kinds = [k for k in (*EMPTY_KINDS, *RAIL_FREE_KINDS) if k != "background" or backgrounds is not None]
    batch = 20
    for count, first in enumerate(range(0, scenes, batch)):
        painted = int((count + 1) * collage_share) > int(count * collage_share)
        yield from simulate_tiles(
            seed + _SEED_OFFSET,
            number * 1000 + count,
            min(batch, scenes - first),
            split="train",
            backgrounds=backgrounds,
            views=VIEWS,
            simulator="collage" if painted else "main",
            kinds=collage.EMPTY if painted else kinds,
        )
