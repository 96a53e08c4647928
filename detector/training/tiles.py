"""Training tiles from the simulators: render, resample to 0.5 m, write shards; and hard negatives among them.

Most empty ground teaches nothing any more. For hard negatives scenes without a wagon are drawn afresh from
the training split, simulated ones and rail-free pictures alike; those with the most confident false boxes are
kept as shards of their own, from which the training draws more often than their number would give.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from detector.labels.image import MINIMUM_VISIBILITY
from detector.simulators import BackgroundLibrary, Rendered, pictures
from detector.simulators.collage import scene as collage
from detector.simulators.procedural.scenes import EMPTY_KINDS, RAIL_FREE_KINDS
from detector.training.calibrate_wagons import detect_tiles
from detector.training.config import TILE_PX
from detector.training.shards import LabelledTile, track_map, write_shard
from detector.wagons.detector import WagonDetector
from detector.wagons.weights import Weights
from geo.resample import resample_image
from geo.tiles import WORK_GSD_M

logger = logging.getLogger(__name__)

SCENES_A_SHARD = 200
SCENE_M = TILE_PX * WORK_GSD_M
COARSE_GSD_M = (0.65, 1.05)
"""Where wagons are a few pixels wide and most is left to learn."""


def to_tile(rendered: Rendered, size_px: int | None = TILE_PX) -> LabelledTile:
    """A rendered scene as a labelled tile at 0.5 m.

    Args:
        rendered: At any ground sampling distance.
        size_px: Side of the tile; the picture is cut or its border repeated. None keeps the picture's own
            size, rounded down to multiples of 32.
    """
    image = resample_image(rendered.image, rendered.gsd_m, WORK_GSD_M)
    scale = rendered.gsd_m / WORK_GSD_M
    height, width = (size_px, size_px) if size_px else (d // 32 * 32 for d in image.shape[:2])
    image = image[:height, :width]
    missing = ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0))
    image = np.pad(image, missing, mode="edge")
    boxes = np.asarray(rendered.boxes, np.float64).reshape(-1, 5).copy()
    boxes[:, :4] *= scale
    meta = {**rendered.meta, "gsd_m": float(rendered.gsd_m), "types": list(rendered.wagon_type)}
    return LabelledTile(
        image=np.ascontiguousarray(image),
        boxes=boxes,
        category=np.asarray(rendered.category, np.int64),
        ignored=np.asarray(rendered.visibility, np.float64) < MINIMUM_VISIBILITY,
        track=track_map(
            [np.asarray(line) * scale for line in rendered.tracks],
            (height, width),
            complete=bool(rendered.meta.get("track_labels_complete", True)),
        ),
        meta=meta,
    )


def simulate_tiles(
    seed: int,
    number: int,
    scenes: int,
    *,
    split: str,
    backgrounds: Path | None,
    views: int = 2,
    kinds: Sequence[str] = (),
    coarse_share: float = 0.0,
    simulator: str = "main",
    collage_share: float = 0.0,
) -> list[LabelledTile]:
    """Tiles of scenes, each seen under ``views`` sensors and lights; the same for the same seed.

    Args:
        seed: With the number and the scene's it decides everything in a scene.
        number: Of the shard.
        scenes: How many.
        split: ``train``, ``val`` or ``test``.
        backgrounds: Folder of rail-free pictures at 0.3 m used as ground.
        views: Sensors and lights a scene is seen under.
        kinds: Kinds of scenes, drawn evenly; all of them by their usual weights when there are none.
        coarse_share: Share of the views whose ground sampling distance is drawn from `COARSE_GSD_M`; that of
            the others is their sensor's own.
        simulator: Who draws the scenes.
        collage_share: Share of the scenes that the collage draws in its stead, by kinds of its own.
    """
    library = BackgroundLibrary(backgrounds) if backgrounds is not None else None
    tiles: list[LabelledTile] = []
    for scene in range(scenes):
        rng = np.random.default_rng([seed, number, scene])
        drawer = simulator
        if collage_share > 0 and rng.random() < collage_share:
            drawer = "collage"
        seen = pictures(
            rng,
            simulator=drawer,
            split=split,
            size_m=SCENE_M,
            kind=str(rng.choice(kinds)) if kinds and drawer == simulator else None,
            backgrounds=library,
            gsd_m=(_coarse(rng, coarse_share) for _ in range(views)),
        )
        tiles += [to_tile(one) for one in seen]
    return tiles


def _coarse(rng: np.random.Generator, share: float) -> float | None:
    """A coarse ground sampling distance for a share of the pictures, None for the others."""
    return rng.uniform(*COARSE_GSD_M) if share > 0 and rng.random() < share else None


def _write(
    out: Path,
    seed: int,
    split: str,
    backgrounds: Path | None,
    views: int,
    coarse_share: float,
    collage_share: float,
    number: int,
) -> int:
    path = out / f"shard-{number:05d}"
    if path.with_suffix(".labels.npz").exists():
        return 0
    tiles = simulate_tiles(
        seed,
        number,
        SCENES_A_SHARD,
        split=split,
        backgrounds=backgrounds,
        views=views,
        coarse_share=coarse_share,
        collage_share=collage_share,
    )
    write_shard(path, tiles)
    return len(tiles)


def make_shards(
    out: Path,
    shards: int,
    *,
    seed: int,
    split: str = "train",
    backgrounds: Path | None = None,
    views: int = 2,
    coarse_share: float = 0.0,
    collage_share: float = 0.0,
    workers: int = 1,
    first: int = 0,
    progress: Callable[[int, int], Any] | None = None,
) -> int:
    """Make training shards of 200 scenes each; those already there are left alone.

    Args:
        out: Folder.
        shards: How many.
        seed: With the shard's number and the scene's it decides everything in a scene.
        split: ``train``, ``val`` or ``test``: which assets, backgrounds and degradations are used.
        backgrounds: Folder of rail-free pictures at 0.3 m used as ground.
        views: Sensors and lights a scene is seen under.
        coarse_share: As in `simulate_tiles`.
        collage_share: As in `simulate_tiles`.
        workers: Processes.
        first: Number of the first shard.
        progress: Called with shards done and shards in all.

    Returns:
        Number of tiles made.
    """
    out.mkdir(parents=True, exist_ok=True)
    job = partial(_write, out, seed, split, backgrounds, views, coarse_share, collage_share)
    numbers = range(first, first + shards)
    made = 0
    with ExitStack() as stack:
        run: Any = map
        if workers > 1:
            run = stack.enter_context(ProcessPoolExecutor(workers, mp_context=get_context("spawn"))).map
        for done, count in enumerate(run(job, numbers), start=1):
            made += count
            if progress is not None:
                progress(done, shards)
    return made


HARD_SCENES = 600
HARD_VIEWS = 3
HARD_TILES = 400
MOST_SEEN = 5.0  # wagons seen on empty ground; where there are more, an analyst would see a train too
LEAST_DOUBT = 0.1  # a box of a lower probability disturbs neither the boxes drawn nor the count
_SEED_OFFSET = 50_000  # scenes of their own, not those of the plain shards


def hardness(detector: WagonDetector, tile: LabelledTile) -> float:
    """Sum of the probabilities, from 0.1 on, of what the detector takes for wagons on an empty tile."""
    ((_, found),) = detect_tiles(detector, [tile])
    probability = detector.judge(found, float(tile.meta.get("gsd_m", 0.5))).probability
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
    scenes: int = HARD_SCENES,
    keep: int = HARD_TILES,
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
            logger.info("hard negatives: %d of %d tiles kept", len(tiles), scenes * HARD_VIEWS)
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
            views=HARD_VIEWS,
            simulator="collage" if painted else "main",
            kinds=collage.EMPTY if painted else kinds,
        )
