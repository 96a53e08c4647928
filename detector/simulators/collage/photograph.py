"""From the canvas of the second simulator to a picture with labels, by a sensor of its own."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.simulators.collage.canvas import PX_M, Canvas, Vehicle
from detector.simulators.procedural.sensors import Rendered

F32 = NDArray[np.float32]

GSD_M = (0.28, 1.05)


def photograph(scene: Canvas, rng: np.random.Generator, *, gsd_m: float | None = None) -> Rendered:
    """Look at a painted scene: blur, sampling, tone, colours, sharpening, noise, compression.

    Args:
        scene: What to look at.
        rng: Source of chance.
        gsd_m: Ground sampling distance; drawn from 0.28 to 1.05 m, finer ones more often, if not given.

    Returns:
        The picture with its labels, boxes at half the height of a leaning body.
    """
    wanted = gsd_m if gsd_m is not None else float(np.exp(rng.uniform(*np.log(GSD_M))))
    height, width = scene.rgb.shape[:2]
    size = (max(8, int(width * PX_M / wanted + 1e-6)), max(8, int(height * PX_M / wanted + 1e-6)))
    cut = (min(width, round(size[0] * wanted / PX_M)), min(height, round(size[1] * wanted / PX_M)))
    gsd = math.sqrt(cut[0] * PX_M / size[0] * cut[1] * PX_M / size[1])
    fine = np.clip(scene.rgb[: cut[1], : cut[0]], 0, 1)
    blur_m = float(rng.uniform(0.22, 0.75)) * gsd
    seen = cv2.resize(cv2.GaussianBlur(fine, (0, 0), blur_m / PX_M), size, interpolation=cv2.INTER_AREA)
    seen = developed(np.asarray(seen, np.float32), rng)
    out = np.clip(seen * 255 + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < 0.6:
        code = cv2.imencode(".jpg", out[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 96))])[1]
        out = np.ascontiguousarray(np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])
    vehicles = [(v, share) for v in scene.vehicles if (share := _seen(scene, v)) > 0.02]
    boxes = [
        (*((v.centre + scene.lean * v.height_m / 2) / gsd), v.length_m / gsd, v.width_m / gsd,
         v.angle_deg % 180.0)
        for v, _ in vehicles
    ]  # fmt: skip
    return Rendered(
        image=out,
        gsd_m=gsd,
        boxes=np.array(boxes, np.float64).reshape(-1, 5),
        category=np.array([v.category for v, _ in vehicles], np.int64),
        wagon_type=[v.name for v, _ in vehicles],
        visibility=np.array([share for _, share in vehicles], np.float64),
        tracks=[line / gsd for line in scene.tracks],
        track_gauge=[scene.gauge_mm] * len(scene.tracks),
        meta={
            "kind": scene.kind,
            "sensor": "collage",
            "sun_elevation_deg": scene.sun_elevation_deg,
            "off_nadir_deg": math.degrees(math.atan(float(np.hypot(*scene.lean)))),
            "blur_m": blur_m,
            "real_background": scene.pictured,
        },
    )


def developed(seen: F32, rng: np.random.Generator) -> F32:
    """The chain from what the sensor saw to what is shown, (H, W, 3) display values about 0 to 1."""
    grain = rng.normal(0, rng.uniform(0.002, 0.022), (*seen.shape[:2], 1 if rng.random() < 0.5 else 3))
    seen = seen + grain.astype(np.float32)
    if rng.random() < 0.2:  # panchromatic
        seen = np.repeat(seen @ rng.dirichlet([4, 4, 3]).astype(np.float32)[:, None], 3, axis=2)
    elif rng.random() < 0.35:  # colours of a coarser sensor
        soft = cv2.GaussianBlur(seen, (0, 0), float(rng.uniform(1.0, 2.2)))
        level = seen.mean(axis=2, keepdims=True) - soft.mean(axis=2, keepdims=True)
        seen = soft + level
    low, high = np.quantile(seen[::4, ::4], [rng.uniform(0.0, 0.02), rng.uniform(0.98, 1.0)])
    if rng.random() < 0.5:
        seen = (seen - low) / max(high - low, 0.4)
    seen = np.clip(seen, 0, 1.2) ** np.float32(math.exp(rng.normal(0, 0.2)))
    mean = seen.mean(axis=2, keepdims=True)
    seen = mean + (seen - mean) * np.float32(rng.uniform(0.3, 1.25))
    seen = seen * rng.normal(1.0, 0.05, 3).astype(np.float32)
    haze = np.float32(rng.beta(1, 6))
    seen = seen * (1 - haze) + haze * np.float32(rng.uniform(0.5, 0.75))
    seen = (seen - 0.5) * np.float32(rng.uniform(0.7, 1.25)) + np.float32(rng.uniform(0.4, 0.58))
    if rng.random() < 0.5:
        soft = cv2.GaussianBlur(seen, (0, 0), float(rng.uniform(0.6, 1.5)))
        seen = seen + (seen - soft) * np.float32(rng.uniform(0.2, 1.6))
    return np.asarray(seen, np.float32)


def _seen(scene: Canvas, vehicle: Vehicle) -> float:
    """Share of a vehicle inside the scene and not below trees or roofs, from a grid of 21 x 3 points."""
    x, y = vehicle.centre + scene.lean * vehicle.height_m / 2
    t = math.radians(vehicle.angle_deg)
    along, across = np.meshgrid(
        np.linspace(-0.5, 0.5, 21) * vehicle.length_m, np.array([-0.3, 0, 0.3]) * vehicle.width_m
    )
    px = ((x + along * math.cos(t) - across * math.sin(t)) / PX_M).astype(int).ravel()
    py = ((y + along * math.sin(t) + across * math.cos(t)) / PX_M).astype(int).ravel()
    height, width = scene.hidden.shape
    inside = (px >= 0) & (px < width) & (py >= 0) & (py < height)
    clear = ~scene.hidden[py[inside], px[inside]]
    return float(clear.sum() / len(px))
