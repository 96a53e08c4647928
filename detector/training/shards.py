"""Training tiles on disk, made once and read by memory map, and the random views that a network is shown.

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
from detector.labels.image import MINIMUM_VISIBILITY
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


SCALES = (0.89, 1.18)


def transform_boxes(boxes: Boxes, matrix: NDArray[np.float64]) -> Boxes:
    """Boxes under a similarity transform (mirror allowed).

    Args:
        boxes: ``(N, 5)``.
        matrix: ``(2, 3)`` from old to new pixel-corner coordinates.
    """
    boxes = as_boxes(boxes)
    linear = matrix[:, :2]
    scale = float(np.sqrt(abs(np.linalg.det(linear))))
    angle = np.deg2rad(boxes[:, 4])
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=1) @ linear.T
    out = boxes.copy()
    out[:, :2] = boxes[:, :2] @ linear.T + matrix[:, 2]
    out[:, 2:4] *= scale
    out[:, 4] = np.rad2deg(np.arctan2(direction[:, 1], direction[:, 0])) % 180.0
    return out


def visible_fraction(boxes: Boxes, width: float, height: float) -> NDArray[np.float64]:
    """Share of each box's long axis that lies inside the frame, from 21 points along it."""
    angle = np.deg2rad(boxes[:, 4])
    step = np.linspace(-0.5, 0.5, 21)[None]
    x = boxes[:, 0:1] + np.cos(angle)[:, None] * boxes[:, 2:3] * step
    y = boxes[:, 1:2] + np.sin(angle)[:, None] * boxes[:, 2:3] * step
    return np.asarray(((x >= 0) & (x <= width) & (y >= 0) & (y <= height)).mean(axis=1))


def random_view(tile: LabelledTile, rng: np.random.Generator, size: int) -> LabelledTile:
    """A random crop of ``size`` pixels at a random scale, mirrored or turned, in another light."""
    source = tile.image.shape[0]
    low = max(SCALES[0], size / source)
    scale = rng.uniform(low, SCALES[1]) if rng.random() < 0.6 else max(1.0, low)
    slack = source - size / scale
    # Crops start on whole cells of the target grid, so that the track map needs no resampling of its own
    # phase.
    x0, y0 = rng.uniform(0, slack, 2) if slack > 0 else (0.0, 0.0)
    linear = np.eye(2)
    if rng.random() < 0.5:
        linear = linear @ np.diag([-1.0, 1.0])
    turn = int(rng.integers(4))
    quarter = np.array([[0.0, -1.0], [1.0, 0.0]])
    linear = np.linalg.matrix_power(quarter, turn) @ linear * scale
    middle = np.array([x0, y0]) + size / scale / 2
    matrix = np.column_stack([linear, size / 2 - linear @ middle])
    image = warped(tile.image, matrix, (size, size), cv2.INTER_LINEAR)
    cells = matrix.copy()
    cells[:, 2] /= STRIDE
    track = warped(tile.track, cells, (size // STRIDE, size // STRIDE), cv2.INTER_NEAREST)
    boxes = transform_boxes(tile.boxes, matrix)
    share = visible_fraction(boxes, size, size)
    seen = share > 0.02
    return LabelledTile(
        _relight(image, rng),
        boxes[seen],
        tile.category[seen],
        tile.ignored[seen] | (share[seen] < MINIMUM_VISIBILITY),
        track,
        tile.meta,
    )


def warped(
    image: NDArray[np.uint8],
    matrix: NDArray[np.float64],
    size: tuple[int, int],
    interpolation: int,
    border: int = cv2.BORDER_REPLICATE,
) -> NDArray[np.uint8]:
    """An image resampled under a matrix in pixel-corner coordinates (OpenCV's own are pixel centres)."""
    centred = matrix.copy()
    centred[:, 2] += matrix[:, :2] @ np.array([0.5, 0.5]) - 0.5
    return np.asarray(cv2.warpAffine(image, centred, size, flags=interpolation, borderMode=border), np.uint8)


def _relight(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Change gain, offset and gamma, sometimes the colours; one look-up table a channel keeps it cheap."""
    if rng.random() < 0.15:
        image = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    elif rng.random() < 0.15:
        image = image[..., rng.permutation(3)]
    level = np.arange(256, dtype=np.float64) / 255
    gain, offset, gamma = rng.normal(1.0, 0.12), rng.normal(0.0, 0.05), np.exp(rng.normal(0.0, 0.15))
    cast = rng.normal(1.0, 0.04, 3)
    table = np.stack([np.clip((level**gamma) * gain * c + offset, 0, 1) for c in cast], axis=-1)
    out = cv2.LUT(np.ascontiguousarray(image), (table * 255).round().astype(np.uint8).reshape(1, 256, 3))
    out = _reprocess(np.asarray(out, dtype=np.uint8), rng)
    if rng.random() < 0.25:
        sigma = rng.uniform(1, 7)
        noise = rng.normal(0, sigma, out.shape[:2])[..., None]
        out = np.clip(out + noise, 0, 255).astype(np.uint8)
    return np.asarray(out, dtype=np.uint8)


def _reprocess(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """What providers do to a finished picture: sharpen, blur, compress it once more."""
    kind = rng.random()
    if kind < 0.12:
        soft = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.7, 1.5))
        amount = rng.uniform(0.4, 1.8)
        image = np.asarray(cv2.addWeighted(image, 1.0 + amount, soft, -amount, 0.0), dtype=np.uint8)
    elif kind < 0.20:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 0.9)), dtype=np.uint8)
    if rng.random() < 0.12:
        image = compressed(image, int(rng.integers(35, 85)))
    return image


def compressed(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """An image after it was kept as a JPEG."""
    code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)
