"""Training tiles on disk: made once from the simulator, then read by memory map.

A shard is ``NAME.images.npy`` (``(n, 288, 288, 3)`` uint8 at 0.5 m) and ``NAME.labels.npz`` (boxes of all
tiles one after the other with their offsets, track maps, and a JSON line a tile). Tiles are larger than what
the network sees, so that each view can be another crop at another scale.
"""

from __future__ import annotations

import json
import logging
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from aoi.files import replacing, whole_archive
from detector.errors import LabelError
from detector.training.losses import IGNORED
from detector.wagons.boxes import Boxes, as_boxes
from detector.wagons.decode import STRIDE
from geo.tiles import WORK_GSD_M

logger = logging.getLogger(__name__)

TRACK_WIDTH_M = 3.2


@dataclass(frozen=True)
class LabelledTile:
    """One picture with its truth, in work pixels.

    Attributes:
        image: ``(H, W, 3)`` uint8 at 0.5 m.
        boxes: ``(N, 5)`` in work pixels.
        category: ``(N,)`` int64 index into CATEGORIES.
        ignored: ``(N,)`` bool.
        track: ``(H / 4, W / 4)`` uint8: 1 track, 0 none, 255 unknown.
        meta: What the evaluation groups by: gsd_m, kind, split, sun...
    """

    image: NDArray[np.uint8]
    boxes: Boxes
    category: NDArray[np.int64]
    ignored: NDArray[np.bool_]
    track: NDArray[np.uint8]
    meta: dict[str, Any]


def track_map(
    lines: Iterable[NDArray[np.floating]], shape: tuple[int, int], *, complete: bool = True
) -> NDArray[np.uint8]:
    """Draw track centre lines as a map of cells.

    Args:
        lines: Polylines ``(M, 2)`` in work pixels.
        shape: ``(H, W)`` in work pixels.
        complete: Whether every track of the picture is among the lines; if not, the rest is unknown.

    Returns:
        ``(H / 4, W / 4)`` uint8: 1 on a track (3.2 m wide), 0 off it, 255 unknown.
    """
    canvas = np.zeros(shape, np.uint8)
    for line in lines:
        points = np.round(np.asarray(line) * 16 - 8).astype(np.int32)
        thickness = max(1, round(TRACK_WIDTH_M / WORK_GSD_M))
        cv2.polylines(canvas, [points.reshape(-1, 1, 2)], False, 255, thickness, cv2.LINE_8, shift=4)
    cells = cv2.resize(canvas, (shape[1] // STRIDE, shape[0] // STRIDE), interpolation=cv2.INTER_AREA)
    on = cells > 100
    if complete:
        return on.astype(np.uint8)
    return np.where(on, 1, IGNORED).astype(np.uint8)


def write_shard(path: Path, tiles: list[LabelledTile]) -> None:
    """Write tiles of one size as a shard; the labels come last, so that a shard with labels is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path.with_suffix(".images.npy")) as temporary:
        np.save(temporary, np.stack([t.image for t in tiles]))
    offsets = np.cumsum([0] + [len(t.boxes) for t in tiles])
    with replacing(path.with_suffix(".labels.npz"), whole_archive) as temporary:
        np.savez_compressed(
            temporary,
            boxes=np.concatenate([as_boxes(t.boxes) for t in tiles]),
            category=np.concatenate([t.category for t in tiles]).astype(np.int64),
            ignored=np.concatenate([t.ignored for t in tiles]).astype(bool),
            offsets=offsets,
            track=np.stack([t.track for t in tiles]),
            meta=np.array([json.dumps(t.meta, default=float) for t in tiles]),
        )


class Shard:
    """A shard opened for reading; images stay on disk until asked for."""

    def __init__(self, path: Path):
        self.path = path
        try:
            self.images = np.load(path.with_suffix(".images.npy"), mmap_mode="r")
            # numpy leaves a file of its own open when it turns out to be no archive.
            with path.with_suffix(".labels.npz").open("rb") as file, np.load(file) as labels:
                self.boxes = labels["boxes"]
                self.category = labels["category"]
                self.ignored = labels["ignored"]
                self.offsets = labels["offsets"]
                self.track = labels["track"]
                self.meta = [json.loads(str(m)) for m in labels["meta"]]
            if not len(self.images) == len(self.track) == len(self.meta) == len(self.offsets) - 1:
                raise ValueError("its images and its labels differ in number")
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise LabelError(f"{path}: not a whole training shard ({error})") from error

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> LabelledTile:
        rows = slice(self.offsets[i], self.offsets[i + 1])
        return LabelledTile(
            np.asarray(self.images[i]),
            self.boxes[rows],
            self.category[rows],
            self.ignored[rows],
            self.track[i],
            self.meta[i],
        )

    def __iter__(self) -> Iterator[LabelledTile]:
        return (self[i] for i in range(len(self)))


def find_shards(folder: Path) -> list[Path]:
    """Whole shards under a folder, sorted, without their suffixes; not those that are being written."""
    return sorted(p.with_name(p.name.removesuffix(".labels.npz")) for p in folder.glob("[!.]*.labels.npz"))


def take_up(shards: list[Shard], folder: Path) -> None:
    """Add the shards of a folder that aren't among them yet: some may come to be while a training runs."""
    known = {shard.path for shard in shards}
    shards += [Shard(path) for path in find_shards(folder) if path not in known]
