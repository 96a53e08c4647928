"""Training tiles: scenes rendered, degraded and brought to the detector's ground sampling distance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np

from detector.simulate.backgrounds import BackgroundLibrary
from detector.simulate.degrade import Rendered, Sensor, degrade
from detector.simulate.render import render_scene
from detector.simulate.scenes import random_scene
from detector.simulate.spec import SceneSpec

WORK_GSD_M = 0.5


def render(
    spec: SceneSpec,
    rng: np.random.Generator,
    gsd_m: float | None = None,
    sensor: Sensor | None = None,
    *,
    backgrounds: BackgroundLibrary | None = None,
) -> Rendered:
    """Draw a scene and look at it through a sensor; see `render_scene` and `degrade`."""
    return degrade(render_scene(spec, backgrounds=backgrounds), rng, gsd_m=gsd_m, sensor=sensor)


def resampled(rendered: Rendered, gsd_m: float = WORK_GSD_M) -> Rendered:
    """The picture at another ground sampling distance: area average when shrinking, else cubic."""
    h, w = rendered.image.shape[:2]
    factor = rendered.gsd_m / gsd_m
    size = (max(1, round(w * factor)), max(1, round(h * factor)))
    how = cv2.INTER_AREA if factor < 1.0 else cv2.INTER_CUBIC
    image = cv2.resize(rendered.image, size, interpolation=how)
    sx, sy = size[0] / w, size[1] / h
    boxes = rendered.boxes.copy()
    boxes[:, 0] *= sx
    boxes[:, 1] *= sy
    boxes[:, 2:4] *= factor
    scale = np.array([sx, sy])
    return replace(
        rendered,
        image=np.asarray(image, dtype=np.uint8),
        gsd_m=gsd_m,
        boxes=boxes,
        tracks=[t * scale for t in rendered.tracks],
        corridor=[c * scale for c in rendered.corridor],
        meta={**rendered.meta, "source_gsd_m": rendered.gsd_m},
    )


def cropped(rendered: Rendered, x0: int, y0: int, size_px: int) -> Rendered:
    """A square part; vehicles that don't touch it are dropped, those its border cuts lose visibility."""
    h, w = rendered.image.shape[:2]
    image = rendered.image[y0 : y0 + size_px, x0 : x0 + size_px]
    pad = (size_px - image.shape[0], size_px - image.shape[1])
    if pad[0] > 0 or pad[1] > 0:
        image = np.pad(image, ((0, pad[0]), (0, pad[1]), (0, 0)))
    shift = np.array([x0, y0], dtype=np.float64)
    boxes = rendered.boxes.copy()
    boxes[:, :2] -= shift
    before = _inside_share(rendered.boxes, 0.0, 0.0, float(w), float(h))
    after = _inside_share(rendered.boxes, float(x0), float(y0), float(x0 + size_px), float(y0 + size_px))
    visibility = rendered.visibility * after / np.maximum(before, 1e-6)
    keep = after > 0.0
    return replace(
        rendered,
        image=np.ascontiguousarray(image),
        boxes=boxes[keep],
        category=rendered.category[keep],
        wagon_type=[t for t, k in zip(rendered.wagon_type, keep, strict=True) if k],
        visibility=np.minimum(visibility[keep], 1.0),
        tracks=[t - shift for t in rendered.tracks],
        corridor=[c - shift for c in rendered.corridor],
        meta={
            **rendered.meta,
            "box_contrast": [
                c for c, k in zip(rendered.meta.get("box_contrast", []), keep, strict=True) if k
            ],
        },
    )


def _inside_share(boxes: np.ndarray, x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    """Share of each box inside a window, from a grid of 15 x 3 points."""
    if not len(boxes):
        return np.zeros(0)
    along, across = np.meshgrid((np.arange(15) + 0.5) / 15 - 0.5, (np.arange(3) + 0.5) / 3 - 0.5)
    u, v = along.ravel()[None, :] * boxes[:, 2:3], across.ravel()[None, :] * boxes[:, 3:4]
    t = np.radians(boxes[:, 4:5])
    x = boxes[:, 0:1] + np.cos(t) * u - np.sin(t) * v
    y = boxes[:, 1:2] + np.sin(t) * u + np.cos(t) * v
    inside = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
    return np.asarray(inside.mean(axis=1))


def training_tiles(
    rng: np.random.Generator,
    *,
    split: str = "train",
    size_px: int = 256,
    size_m: float = 144.0,
    variants: int = 2,
    backgrounds: BackgroundLibrary | None = None,
    background_share: float = 0.5,
    kind: str | None = None,
) -> Iterator[Rendered]:
    """Tiles without end: `variants` looks (sensors, crops) at each scene, `size_px` square at 0.5 m."""
    while True:
        spec = random_scene(
            rng,
            split=split,
            size_m=size_m,
            kind=kind,
            backgrounds=backgrounds,
            background_share=background_share,
        )
        fine = render_scene(spec, backgrounds=backgrounds)
        for _ in range(variants):
            seen = resampled(degrade(fine, rng))
            h, w = seen.image.shape[:2]
            x0 = int(rng.integers(0, max(w - size_px, 0) + 1))
            y0 = int(rng.integers(0, max(h - size_px, 0) + 1))
            yield cropped(seen, x0, y0, size_px)
