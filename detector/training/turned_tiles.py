"""Many tiles out of one labelled image: at any angle, place and size, and as coarser sensors would show it.

Labelled images are few. Cut in order they give a handful of tiles whose tracks all run one way; turned,
scaled and blurred they teach what a car looks like rather than where it stood.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.training.augment import transform_boxes
from detector.training.config import TILE_PX
from detector.training.label_tiles import ignore_areas, strips, visible_share
from detector.training.shards import LabelledTile
from detector.training.targets import IGNORED
from detector.wagons.maps import STRIDE
from geo.resample import resample_image
from geo.tiles import WORK_GSD_M

SCALES = (0.88, 1.15)
COARSEST_GSD_M = 0.95
MOST_SHIFTED_PX = 40.0
LEAST_VISIBLE = 0.6
"""A car of which less is seen is ignored: where the image ends it is cut, and its length isn't known."""
_TRACE = 0.05


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
    gsd_m = float(rng.uniform(WORK_GSD_M, COARSEST_GSD_M)) if rng.random() < 0.6 else WORK_GSD_M
    width, height = (int(v) for v in whole.meta.get("size_px", whole.image.shape[1::-1]))
    image = _as_seen(whole.image[:height, :width], gsd_m, rng)
    turn, scale = float(rng.uniform(0.0, 2 * math.pi)), float(rng.uniform(*SCALES))
    linear = scale * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    middle = rng.uniform(0.0, 1.0, 2) * (width, height)
    place = size_px / 2 + rng.uniform(-MOST_SHIFTED_PX, MOST_SHIFTED_PX, 2)
    matrix = np.column_stack([linear, place - linear @ middle])
    # OpenCV's positions are those of pixel centres, ours of pixel corners.
    centred = matrix.copy()
    centred[:, 2] += linear @ np.array([0.5, 0.5]) - 0.5
    size = (size_px, size_px)
    picture = cast(NDArray[np.uint8], cv2.warpAffine(image, centred, size, flags=cv2.INTER_LINEAR))
    valid = cv2.warpAffine(np.ones((height, width), np.uint8), centred, size, flags=cv2.INTER_NEAREST) > 0
    picture[~valid] = 0
    boxes = transform_boxes(whole.boxes, matrix)
    share = visible_share(boxes, valid)
    seen = share > _TRACE
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
    sigma = float(rng.uniform(0.35, 0.6)) * gsd_m / WORK_GSD_M
    soft = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)
    if gsd_m > WORK_GSD_M:
        soft = resample_image(soft, WORK_GSD_M, gsd_m)
        soft = np.asarray(cv2.resize(soft, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    if rng.random() < 0.5:
        noise = rng.normal(0.0, rng.uniform(0.5, 4.0), soft.shape)
        soft = np.clip(soft + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        code = cv2.imencode(".jpg", soft, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(45, 92))])[1]
        soft = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)
    return soft
