"""Labelled images as the network sees them: at 0.5 m, cut into tiles to train on or whole to score.

Labelled images are few. Cut in order they give a handful of tiles whose tracks all run one way; turned,
scaled and blurred (`turned_tiles`) they teach what a car looks like rather than where it stood.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import MultiPolygon, Polygon

from detector.errors import LabelError
from detector.labels.image import MINIMUM_VISIBILITY, LabelledImage, normal
from detector.training.config import TILE_PX
from detector.training.losses import IGNORED
from detector.training.shards import LabelledTile, compressed, transform_boxes, warped
from detector.wagons.boxes import Boxes, as_boxes
from detector.wagons.decode import STRIDE
from geo import Scene, TileGrid, TileSpec, open_scene
from geo.resample import resample_image
from geo.tiles import WORK_GSD_M

logger = logging.getLogger(__name__)

ALIGN_PX = 32
# Areas in which nothing is known are covered by ignored boxes a strip of this height at a time.
_STRIP_PX = 16.0
# Of a box that shows less than this there is nothing to see.
_TRACE = 0.02


def tiles_of(labelled: LabelledImage, *, size_px: int = TILE_PX) -> list[LabelledTile]:
    """Training tiles of an image.

    The scene is resampled to 0.5 m as prediction does it and cut into tiles that lie within it; where its
    sides are no multiples of the tile's, neighbours overlap. A box cut by a tile's border is ignored there
    when less than 35% of it is visible. Where the tracks are isn't known (255 everywhere). Areas in which
    nothing is known are covered by ignored boxes.

    Args:
        labelled: An image with labels. One that nobody has looked at has no tiles.
        size_px: Side of a tile in work pixels, a multiple of 32.

    Raises:
        SceneError: The image can't be read, or has neither a position nor a declared ground sampling
            distance.
    """
    if size_px < ALIGN_PX or size_px % ALIGN_PX:
        raise ValueError(f"a tile's side must be a multiple of {ALIGN_PX} work pixels, not {size_px}")
    if not labelled.labelled:
        logger.info("%s: nobody has labelled it: no tiles", labelled.image)
        return []
    work = _ResampledImage(labelled)
    out = []
    for top in _starts(work.grid.height, size_px):
        for left in _starts(work.grid.width, size_px):
            tile = work.tile((left, top, left + size_px, top + size_px), cover_areas=True)
            if tile is not None:
                out.append(tile)
    return out


def whole_tile(labelled: LabelledImage) -> LabelledTile:
    """The whole image as one tile, for evaluation; what is beyond it is black, as in prediction.

    Its sides are the image's rounded up to multiples of 32; ``meta["size_px"]`` is the image's own size in
    work pixels, and `ignore_areas` gives the areas in which nothing counts.

    Raises:
        LabelError: Nobody has labelled it.
        SceneError: The image can't be read, or has neither a position nor a declared ground sampling
            distance.
    """
    if not labelled.labelled:
        raise LabelError(f"{labelled.image}: nobody has labelled it, so that it can't be scored")
    work = _ResampledImage(labelled)
    width, height = (math.ceil(size / ALIGN_PX) * ALIGN_PX for size in (work.grid.width, work.grid.height))
    tile = work.tile((0, 0, width, height), cover_areas=False)
    if tile is None:
        raise LabelError(f"{labelled.image}: has no valid pixel")
    return tile


def ignore_areas(tile: LabelledTile) -> tuple[Polygon, ...]:
    """The areas of a tile in which nothing is known, in its work pixels."""
    return tuple(Polygon(ring) for ring in tile.meta.get("ignore_areas", ()))


class _ResampledImage:
    """A labelled image in work pixels."""

    def __init__(self, labelled: LabelledImage) -> None:
        self.labelled = labelled
        self.scene: Scene = open_scene(labelled.image, gsd_m=labelled.gsd_m)
        self.grid = TileGrid.over(self.scene, gsd_m=WORK_GSD_M)
        self.boxes: Boxes = self.grid.source_to_work(labelled.boxes)
        scale = np.asarray(self.grid.scale_xy)
        self.areas = [
            shapely.transform(_valid(area), lambda xy: xy / scale) for area in labelled.ignore_areas
        ]

    def tile(self, window: tuple[int, int, int, int], *, cover_areas: bool) -> LabelledTile | None:
        """What a window shows, or None if it has no valid pixel."""
        spec = TileSpec(0, window, window)
        with self.scene.open_pixels() as reader:
            read = self.grid.read_tile(reader, self.scene, spec, self.scene.stretch)
        if not read.valid.any():
            return None
        left, top = window[:2]
        height, width = read.valid.shape
        boxes = self.boxes - np.array([left, top, 0, 0, 0])
        share = visible_fraction(boxes, read.valid)
        seen = share > _TRACE
        areas = [shapely.transform(area, lambda xy: xy - [left, top]) for area in self.areas]
        cover = as_boxes([])
        if cover_areas:
            cover = np.concatenate([cover, *(strips(area, width, height) for area in areas)])
        rows = int(seen.sum())
        return LabelledTile(
            image=read.image,
            boxes=np.concatenate([boxes[seen], cover]),
            category=np.concatenate([self.labelled.category[seen], np.zeros(len(cover), np.int64)]),
            ignored=np.concatenate(
                [(self.labelled.ignored | (share < MINIMUM_VISIBILITY))[seen], np.ones(len(cover), np.bool_)]
            ),
            track=np.full((height // STRIDE, width // STRIDE), IGNORED, np.uint8),
            meta={
                "name": self.labelled.name,
                "image": str(self.labelled.image),
                "kind": "labelled" if rows else "negative",
                "gsd_m": self.scene.gsd_m,
                "origin_px": [left, top],
                "size_px": [min(width, self.grid.width - left), min(height, self.grid.height - top)],
                "ignore_areas": [
                    np.round(part.exterior.coords, 3).tolist() for part in _parts(areas, width, height)
                ],
            },
        )


def _valid(area: Polygon) -> Polygon | MultiPolygon:
    """The same area without crossings of its own outline."""
    return area if area.is_valid else area.buffer(0)


def _parts(areas: list[Polygon | MultiPolygon], width: int, height: int) -> Iterator[Polygon]:
    """The pieces of areas that touch a tile, whole; holes are small and count as unknown too."""
    frame = shapely.box(0, 0, width, height)
    for area in areas:
        for part in shapely.get_parts(area):
            if isinstance(part, Polygon) and part.intersects(frame):
                yield part


def _starts(size: int, tile: int) -> list[int]:
    """Where tiles start along a side: as few as cover it, evenly spread, none beyond a longer side."""
    count = max(1, math.ceil(size / tile))
    return [round(i * (size - tile) / (count - 1)) for i in range(count)] if count > 1 else [0]


def visible_fraction(boxes: Boxes, valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Share of each box that lies on valid pixels of a tile, from 21 x 5 points spread over it.

    Args:
        boxes: ``(N, 5)`` in the tile's work pixels.
        valid: ``(H, W)``.
    """
    along, across = np.meshgrid(np.linspace(-0.5, 0.5, 21), np.linspace(-0.4, 0.4, 5))
    angle = np.deg2rad(boxes[:, 4:5])
    u, v = along.ravel()[None] * boxes[:, 2:3], across.ravel()[None] * boxes[:, 3:4]
    column = np.floor(boxes[:, 0:1] + u * np.cos(angle) - v * np.sin(angle)).astype(np.int64)
    row = np.floor(boxes[:, 1:2] + u * np.sin(angle) + v * np.cos(angle)).astype(np.int64)
    height, width = valid.shape
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    seen = inside & valid[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
    return np.asarray(seen.mean(axis=1), dtype=np.float64)


def strips(area: Polygon | MultiPolygon, width: int, height: int) -> Boxes:
    """Upright boxes over the part of an area inside a tile, a strip of 16 work pixels (8 m) at a time."""
    inside = area.intersection(shapely.box(0, 0, width, height))
    if inside.is_empty:
        return as_boxes([])
    low = math.floor(inside.bounds[1] / _STRIP_PX) * _STRIP_PX
    out = []
    while low < inside.bounds[3]:
        strip = inside.intersection(shapely.box(0, low, width, low + _STRIP_PX))
        for part in shapely.get_parts(strip):
            x0, y0, x1, y1 = part.bounds
            if x1 > x0 and y1 > y0:
                out.append([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0, 0.0])
        low += _STRIP_PX
    return normal(as_boxes(out))


SCALES = (0.88, 1.15)
COARSEST_GSD_M = 0.95
MOST_SHIFTED_PX = 40.0
LEAST_VISIBLE = 0.6
"""A car of which less is seen is ignored: where the image ends it is cut, and its length isn't known."""
_TURNED_TRACE = 0.05


def turned_tiles(
    whole: LabelledTile, number: int, rng: np.random.Generator, *, size_px: int = TILE_PX
) -> list[LabelledTile]:
    """Tiles of a labelled image at random turns, places, scales and resolutions.

    Args:
        whole: The image as one tile at 0.5 m, as `whole_tile` gives it.
        number: How many tiles.
        rng: Source of chance.
        size_px: Side of a tile in work pixels.

    Returns:
        Tiles that are black beyond the image, as in prediction; where tracks are isn't known.
    """
    height, width = whole.image.shape[:2]
    unknown = [strips(area, width, height) for area in ignore_areas(whole)]
    cover = np.concatenate([np.zeros((0, 5)), *unknown])
    covered = replace(
        whole,
        boxes=np.concatenate([whole.boxes, cover]),
        category=np.concatenate([whole.category, np.zeros(len(cover), np.int64)]),
        ignored=np.concatenate([whole.ignored, np.ones(len(cover), np.bool_)]),
    )
    return [_turned(covered, rng, size_px) for _ in range(number)]


def _turned(whole: LabelledTile, rng: np.random.Generator, size_px: int) -> LabelledTile:
    gsd_m = rng.uniform(WORK_GSD_M, COARSEST_GSD_M) if rng.random() < 0.6 else WORK_GSD_M
    width, height = (int(v) for v in whole.meta.get("size_px", whole.image.shape[1::-1]))
    image = _as_seen(whole.image[:height, :width], gsd_m, rng)
    turn, scale = rng.uniform(0.0, 2 * math.pi), rng.uniform(*SCALES)
    linear = scale * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    middle = rng.uniform(0.0, 1.0, 2) * (width, height)
    place = size_px / 2 + rng.uniform(-MOST_SHIFTED_PX, MOST_SHIFTED_PX, 2)
    matrix = np.column_stack([linear, place - linear @ middle])
    size = (size_px, size_px)
    picture = warped(image, matrix, size, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT)
    there = np.ones((height, width), np.uint8)
    valid = warped(there, matrix, size, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT) > 0
    picture[~valid] = 0
    boxes = transform_boxes(whole.boxes, matrix)
    share = visible_fraction(boxes, valid)
    seen = share > _TURNED_TRACE
    return replace(
        whole,
        image=picture,
        boxes=boxes[seen],
        category=whole.category[seen],
        ignored=(whole.ignored | (share < LEAST_VISIBLE))[seen],
        track=np.full((size_px // STRIDE, size_px // STRIDE), IGNORED, np.uint8),
        meta={**whole.meta, "gsd_m": gsd_m, "size_px": [size_px, size_px], "ignore_areas": []},
    )


def _as_seen(image: NDArray[np.uint8], gsd_m: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The image as a coarser sensor shows it, with noise or compression at times."""
    height, width = image.shape[:2]
    sigma = rng.uniform(0.35, 0.6) * gsd_m / WORK_GSD_M
    soft = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)
    if gsd_m > WORK_GSD_M:
        soft = resample_image(soft, WORK_GSD_M, gsd_m)
        soft = np.asarray(cv2.resize(soft, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    if rng.random() < 0.5:
        noise = rng.normal(0.0, rng.uniform(0.5, 4.0), soft.shape)
        soft = np.clip(soft + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        soft = compressed(soft, int(rng.integers(45, 92)))
    return soft
