"""From the fine drawing to what a user holds: optics, sampling, processing, file.

Order of effects: atmosphere and gain in reflectance, optical blur, sampling by area average, the sensor's
noise and bit depth, pan-sharpening, resampling by the provider, and the display chain (stretch, tone curve,
colour cast, sharpening, JPEG). A product seldom holds the detail of its grid: the blur is drawn in units of
the grid, up to 1.2 pixels, and some products are resampled once more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from detector.simulators.procedural.layout import footprint
from detector.simulators.procedural.render import FineScene
from detector.simulators.procedural.spec import SceneSpec

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

GSD_RANGE_M = (0.28, 1.05)
PICTURE_BLUR_M = 0.19  # of the background pictures, standard deviation


@dataclass(frozen=True)
class Rendered:
    """A picture with its truth.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        gsd_m: metres per pixel.
        boxes: (N, 5) float64 pixel boxes [cx, cy, length, width, angle], pixel-corner origin; full physical
            size, also where the border cuts the vehicle.
        category: (N,) 0 freight, 1 locomotive, 2 coach.
        wagon_type: N type names.
        visibility: (N,) share of the vehicle that shows, 0-1.
        tracks: centre lines (M, 2) in pixels.
        track_gauge: gauge of each track in mm.
        corridor: polygons (M, 2) in pixels of the ground given over to tracks.
        meta: how the picture came about.
    """

    image: U8
    gsd_m: float
    boxes: NDArray[np.float64]
    category: NDArray[np.int64]
    wagon_type: list[str]
    visibility: NDArray[np.float64]
    tracks: list[NDArray[np.float64]]
    track_gauge: list[int]
    corridor: list[NDArray[np.float64]] = field(default_factory=list)
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sensor:
    """A family of products.

    `blur` is the range of the optical blur (Gaussian sigma in grid pixels), `colour` the ratio of the colour
    bands' grid to the grid (1: as sharp as the rest), `grey` the share of panchromatic copies, `noise` the
    range of noise in reflectance, `jpeg` the range of quality (0: uncompressed), `tone` the display curve,
    `kernel` how the provider resampled.
    """

    name: str
    splits: tuple[str, ...]
    weight: float
    gsd_m: tuple[float, float]
    blur: tuple[float, float]
    colour: tuple[float, float]
    grey: float
    noise: tuple[float, float]
    jpeg: tuple[int, int]
    sharpen: tuple[float, float]
    tone: str = "gamma"  # "gamma", "s-curve", "log"
    kernel: str = "none"  # "none", "cubic", "linear", "lanczos", "nearest", "shrunk"
    shape: str = "gauss"  # "gauss", "box", "defocus"


_LEARNED = ("train", "val")
SENSORS: tuple[Sensor, ...] = (
    Sensor(name="satellite-pansharp", splits=_LEARNED, weight=3.0, gsd_m=(0.28, 0.75),
        blur=(0.3, 0.7), colour=(3.0, 4.5), grey=0.05, noise=(0.001, 0.006), jpeg=(0, 0), sharpen=(0.0, 0.9)),
    Sensor(name="satellite-pan", splits=_LEARNED, weight=1.6, gsd_m=(0.28, 1.05), blur=(0.3, 0.75),
        colour=(1.0, 1.0), grey=1.0, noise=(0.001, 0.008), jpeg=(0, 0), sharpen=(0.0, 0.8)),
    Sensor(name="web-mosaic", splits=_LEARNED, weight=3.5, gsd_m=(0.28, 1.05), blur=(0.35, 1.0),
        colour=(1.0, 4.0), grey=0.03, noise=(0.001, 0.006), jpeg=(45, 92), sharpen=(0.0, 1.3),
        kernel="cubic"),
    Sensor(name="smallsat", splits=_LEARNED, weight=2.0, gsd_m=(0.45, 1.05), blur=(0.7, 1.2),
        colour=(1.0, 1.6), grey=0.05, noise=(0.004, 0.014), jpeg=(0, 95), sharpen=(0.2, 1.6),
        kernel="linear"),
    Sensor(name="aerial", splits=_LEARNED, weight=1.6, gsd_m=(0.28, 0.65), blur=(0.25, 0.5),
        colour=(1.0, 1.0), grey=0.05, noise=(0.001, 0.005), jpeg=(70, 97), sharpen=(0.0, 0.8),
        tone="s-curve"),
    # A finer picture shown smaller: sharper than its grid can hold, with the jagged edges of quick shrinking.
    Sensor(name="web-shrunk", splits=_LEARNED, weight=2.2, gsd_m=(0.45, 1.05), blur=(0.1, 0.4),
        colour=(1.0, 3.0), grey=0.03, noise=(0.001, 0.008), jpeg=(50, 95), sharpen=(0.0, 1.0),
        kernel="shrunk"),
    # What only tests see: other optics, other curves, other resampling.
    Sensor(name="test-satellite", splits=("test",), weight=3.0, gsd_m=(0.28, 0.75), blur=(0.3, 0.75),
        colour=(3.6, 4.2), grey=0.05, noise=(0.002, 0.007), jpeg=(0, 0), sharpen=(0.0, 0.8), shape="box"),
    Sensor(name="test-pan", splits=("test",), weight=1.5, gsd_m=(0.28, 1.05), blur=(0.3, 0.75),
        colour=(1.0, 1.0), grey=1.0, noise=(0.002, 0.009), jpeg=(0, 0), sharpen=(0.0, 0.8), tone="log",
        shape="box"),
    Sensor(name="test-mosaic", splits=("test",), weight=3.5, gsd_m=(0.28, 1.05), blur=(0.35, 1.0),
        colour=(1.0, 3.6), grey=0.03, noise=(0.001, 0.006), jpeg=(40, 90), sharpen=(0.1, 1.2), tone="s-curve",
        kernel="lanczos", shape="defocus"),
    Sensor(name="test-smallsat", splits=("test",), weight=2.0, gsd_m=(0.5, 1.05), blur=(0.7, 1.15),
        colour=(1.0, 1.6), grey=0.05, noise=(0.005, 0.014), jpeg=(0, 95), sharpen=(0.2, 1.5), tone="log",
        kernel="cubic"),
)  # fmt: skip


def sensors(split: str) -> tuple[Sensor, ...]:
    """The sensors whose pictures a split may hold."""
    return tuple(s for s in SENSORS if split in s.splits)


def random_sensor(rng: np.random.Generator, split: str, gsd_m: float | None = None) -> Sensor:
    """A sensor drawn by weight among those that can have the wanted ground sampling distance."""
    options = [s for s in sensors(split) if gsd_m is None or s.gsd_m[0] <= gsd_m <= s.gsd_m[1]]
    if not options:  # outside every range (deliberately coarse or fine scenes): any sensor, stretched
        options = list(sensors(split))
    weights = np.array([s.weight for s in options])
    return options[int(rng.choice(len(options), p=weights / weights.sum()))]


_SQUARE = (np.arange(256, dtype=np.float64) / 255.0) ** 2
# Drawing values to reflectance, 16 bits.
_LINEAR = np.rint(_SQUARE * 60000.0).astype(np.uint16)


def _blur(
    image: NDArray[np.uint16], sigma_px: float, shape: str, rng: np.random.Generator
) -> NDArray[np.uint16]:
    """Optical blur of a standard deviation in fine pixels; slightly different along and across the scan."""
    if sigma_px < 0.3:
        return image
    stretch, rim = rng.uniform(0.85, 1.18), cv2.BORDER_REFLECT
    if shape == "box":
        sigmas = sigma_px * stretch, sigma_px / stretch
        kx, ky = (max(1, 2 * round((sigma * math.sqrt(12.0) - 1.0) / 2.0) + 1) for sigma in sigmas)
        return np.asarray(cv2.blur(image, (kx, ky), borderType=rim))
    if shape == "defocus":
        radius = max(1, round(2.0 * sigma_px))
        y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
        kernel = np.clip(2.0 * sigma_px + 0.5 - np.hypot(x / stretch, y * stretch), 0.0, 1.0)
        kernel = (kernel / kernel.sum()).astype(np.float32)
        return np.asarray(cv2.filter2D(image, -1, kernel, borderType=rim))
    sigma_y = sigma_px / stretch
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px * stretch, sigmaY=sigma_y, borderType=rim))


_KERNELS = {
    "cubic": cv2.INTER_CUBIC,
    "linear": cv2.INTER_LINEAR,
    "lanczos": cv2.INTER_LANCZOS4,
    "nearest": cv2.INTER_NEAREST,
}


def _sample(image: NDArray[np.uint16], size: tuple[int, int], kernel: str, rng: np.random.Generator) -> F32:
    """Area-average to the grid; some providers resample from a native grid of another pitch."""
    if kernel == "shrunk":
        ratio = rng.uniform(0.35, 0.9)
        native = (round(size[0] / ratio), round(size[1] / ratio))
        first = cv2.resize(image, native, interpolation=cv2.INTER_AREA)
        how = (cv2.INTER_LINEAR, cv2.INTER_AREA, cv2.INTER_NEAREST)[int(rng.choice(3, p=[0.55, 0.3, 0.15]))]
        out = cv2.resize(first, size, interpolation=how)
    elif kernel != "none" and rng.random() < 0.7:
        ratio = rng.uniform(0.75, 1.4)  # native pitch over product pitch
        native = (max(8, round(size[0] / ratio)), max(8, round(size[1] / ratio)))
        first = cv2.resize(image, native, interpolation=cv2.INTER_AREA)
        how = _KERNELS[kernel] if ratio >= 1.0 else cv2.INTER_AREA
        out = cv2.resize(first, size, interpolation=how)
    else:
        out = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(out, dtype=np.float32) / np.float32(60000.0)


def _pansharpen(image: F32, ratio: float, rng: np.random.Generator) -> F32:
    """Detail from a panchromatic band, colour from a grid `ratio` times coarser: colours bleed over edges."""
    weights = np.array([0.45, 0.35, 0.20]) * rng.uniform(0.8, 1.2, 3)
    weights = (weights / weights.sum()).astype(np.float32)
    pan = image @ weights
    h, w = pan.shape
    small = (max(4, round(w / ratio)), max(4, round(h / ratio)))
    coarse = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    colour = cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC)
    matrix = np.column_stack([np.eye(2), rng.normal(0.0, 0.35, 2)])
    colour = cv2.warpAffine(colour, matrix, (w, h), borderMode=cv2.BORDER_REPLICATE)
    low = np.maximum(colour @ weights, 1e-3)
    factor, rest = np.clip(pan / low, 0.2, 4.0)[..., None], (pan - low)[..., None]
    out = colour * factor if rng.random() < 0.6 else colour + rest
    return np.asarray(np.clip(out, 0.0, 1.0), dtype=np.float32)


def _display(image: F32, sensor: Sensor, rng: np.random.Generator) -> F32:
    """Stretch and tone curve: reflectance to 0-1 display values."""
    low_share = float(rng.choice([0.0, 0.1, 0.5, 1.0, 2.0]))
    high_share = float(rng.choice([0.05, 0.3, 1.0, 2.0]))
    axis = None if rng.random() < 0.88 else (0, 1)  # all bands together, or each by itself
    low, high = np.percentile(image[::3, ::3], [low_share, 100.0 - high_share], axis=axis)
    keep = rng.uniform(0.0, 0.6)  # many providers stretch to fixed reflectances instead
    low = low * (1.0 - keep)
    high = np.maximum(high, 0.12) * (1.0 - keep) + keep * rng.uniform(0.30, 0.65)
    out = np.clip((image - low) / np.maximum(high - low, 0.02), 0.0, 1.0).astype(np.float32)
    if sensor.tone == "log":
        k = rng.uniform(6.0, 30.0)
        out = np.log1p(out * np.float32(k)) / np.float32(math.log1p(k))
    else:
        out = np.power(out, np.float32(1.0 / rng.uniform(1.3, 2.4)))
        if sensor.tone == "s-curve":
            mix = np.float32(rng.uniform(0.2, 0.9))
            out = out * (1 - mix) + (out * out * (3.0 - 2.0 * out)) * mix
    return np.asarray(out, dtype=np.float32)


def degrade(
    fine: FineScene, rng: np.random.Generator, *, gsd_m: float | None = None, sensor: Sensor | None = None
) -> Rendered:
    """Look at a finely drawn scene through a sensor.

    Args:
        fine: the drawing.
        rng: source of chance.
        gsd_m: ground sampling distance; drawn from the sensor's range, 0.28 to 1.05 m, if not given.
        sensor: the product family; drawn among those of the scene's split if not given.

    Returns:
        The picture with its labels; `gsd_m` is exact for the returned pixels.
    """
    spec = fine.spec
    sensor = sensor or random_sensor(rng, spec.split, gsd_m)
    wanted = gsd_m if gsd_m is not None else rng.uniform(*sensor.gsd_m)
    mpp = fine.metres_per_px
    h, w = fine.rgb.shape[:2]
    # A whole number of pixels over a (nearly) whole number of fine pixels keeps the grid exact.
    out_w, out_h = max(8, int(w * mpp / wanted + 1e-6)), max(8, int(h * mpp / wanted + 1e-6))
    cut_w, cut_h = min(w, round(out_w * wanted / mpp)), min(h, round(out_h * wanted / mpp))
    gsd_x, gsd_y = cut_w * mpp / out_w, cut_h * mpp / out_h
    gsd = math.sqrt(gsd_x * gsd_y)

    linear = np.asarray(cv2.LUT(np.ascontiguousarray(fine.rgb[:cut_h, :cut_w]), _LINEAR), dtype=np.uint16)
    sigma = sensor.blur[0] + (sensor.blur[1] - sensor.blur[0]) * rng.beta(1.2, 1.7)
    if spec.backgrounds:
        # Real pictures bring a blur of their own; drawn things must not stand out by being sharper.
        sigma = max(sigma, PICTURE_BLUR_M / gsd)
    if sigma * gsd / mpp > 2.2:  # a strong blur costs a quarter on half the pixels, and looks the same
        linear = np.asarray(
            cv2.resize(linear, (cut_w // 2, cut_h // 2), interpolation=cv2.INTER_AREA), dtype=np.uint16
        )
        mpp *= 2.0
    grey = rng.random() < sensor.grey
    # The drawing itself is sharp to about a third of its pixel; sampling adds its own box.
    linear = _blur(linear, sigma * gsd / mpp, sensor.shape, rng)
    image = _sample(linear, (out_w, out_h), sensor.kernel, rng)

    haze = spec.weather.haze
    veil = np.array([0.010, 0.018, 0.035], dtype=np.float32) * np.float32(0.3 + 3.5 * haze)
    image = image * np.float32(1.0 - 0.45 * haze) + veil
    ratio = rng.uniform(*sensor.colour)
    if grey:
        weights = np.array([0.42, 0.36, 0.22]) * rng.uniform(0.6, 1.4, 3)
        pan = image @ (weights / weights.sum()).astype(np.float32)
        image = np.repeat(pan[..., None], 3, axis=2)
    elif ratio > 1.4:
        image = _pansharpen(image, ratio, rng)
    noise_level = rng.uniform(*sensor.noise)
    planes = 1 if grey or rng.random() < 0.5 else 3
    grain = rng.standard_normal((out_h, out_w, planes), dtype=np.float32)
    if rng.random() < 0.4:
        softened = cv2.GaussianBlur(grain, (0, 0), rng.uniform(0.4, 0.8))
        grain = np.asarray(softened, dtype=np.float32).reshape(out_h, out_w, planes)
    image = image + grain * np.float32(noise_level) * np.sqrt(np.float32(0.3) + image * np.float32(3.0))
    levels = 2047.0 if rng.random() < 0.7 else 255.0
    image = np.clip(np.rint(image * np.float32(levels)) / np.float32(levels), 0.0, 1.0)

    if not grey and rng.random() < 0.8:
        # Providers balance colours towards grey; what is left is a cast of some per cent.
        mean = image[::4, ::4].reshape(-1, 3).mean(axis=0)
        gain = (mean.mean() / np.maximum(mean, 1e-3)) ** np.float32(rng.uniform(0.35, 0.9))
        image = image * np.clip(gain, 0.8, 1.2).astype(np.float32)  # a wood must stay green
    shown = _display(image, sensor, rng)
    if not grey:
        saturation = rng.uniform(0.35, 1.45)
        mean = shown.mean(axis=2, keepdims=True)
        shown = mean + (shown - mean) * np.float32(saturation)
        shown = shown * rng.normal(1.0, 0.045, 3).astype(np.float32) + rng.normal(0.0, 0.012, 3).astype(
            np.float32
        )
    shown = shown * np.float32(rng.uniform(0.8, 1.1)) + np.float32(rng.uniform(-0.04, 0.06))
    amount = rng.uniform(*sensor.sharpen)
    if amount > 0.05:
        soft = cv2.GaussianBlur(shown, (0, 0), rng.uniform(0.6, 1.4))
        shown = shown + (shown - soft) * np.float32(amount)
    out = np.clip(shown * 255.0 + 0.5, 0, 255).astype(np.uint8)
    quality = 0
    if sensor.jpeg[1] > 0 and (sensor.jpeg[0] > 0 or rng.random() < 0.5):
        quality = int(rng.integers(max(sensor.jpeg[0], 40), sensor.jpeg[1] + 1))
        code = cv2.imencode(".jpg", out[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        out = np.ascontiguousarray(
            np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), dtype=np.uint8)[..., ::-1]
        )
    boxes, category, names, visibility = _labels(fine, gsd_x, gsd_y, (out_w, out_h))
    scale = np.array([1.0 / gsd_x, 1.0 / gsd_y])
    return Rendered(
        image=out,
        gsd_m=gsd,
        boxes=boxes,
        category=category,
        wagon_type=names,
        visibility=visibility,
        tracks=[np.asarray(t.line) * scale for t in spec.tracks],
        track_gauge=[t.gauge_mm for t in spec.tracks],
        corridor=[np.asarray(p) * scale for p in spec.corridor],
        meta={
            **_scene_meta(spec),
            "sensor": sensor.name,
            "gsd_xy_m": (gsd_x, gsd_y),
            "blur_m": sigma * gsd,
            "noise": noise_level,
            "jpeg_quality": quality,
            "panchromatic": bool(grey),
            "box_contrast": _contrast(out, boxes),
        },
    )


def _scene_meta(spec: SceneSpec) -> dict[str, Any]:
    return {
        "kind": spec.kind,
        "split": spec.split,
        "seed": spec.seed,
        "sun_azimuth_deg": spec.sun.azimuth_deg,
        "sun_elevation_deg": spec.sun.elevation_deg,
        "off_nadir_deg": spec.view.off_nadir_deg,
        "view_azimuth_deg": spec.view.azimuth_deg,
        "season": spec.weather.season,
        "snow": spec.weather.snow,
        "moisture": spec.weather.moisture,
        "haze": spec.weather.haze,
        "real_background": bool(spec.backgrounds),
        # False where a real picture holds tracks that nobody has drawn: losses on tracks should skip those.
        "track_labels_complete": True,
        **spec.notes,
    }


def _labels(
    fine: FineScene, gsd_x: float, gsd_y: float, size: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.int64], list[str], NDArray[np.float64]]:
    """Pixel boxes of the vehicles that touch the picture; a leaning body's box sits at its half height."""
    boxes, kept = [], []
    lx, ly = fine.lean_m
    gsd = math.sqrt(gsd_x * gsd_y)
    frame = shapely.box(0.0, 0.0, *size)
    shapely.prepare(frame)
    for wagon, seen in zip(fine.spec.wagons, fine.visibility, strict=True):
        cx = (wagon.x_m + lx * wagon.height_m * 0.5) / gsd_x
        cy = (wagon.y_m + ly * wagon.height_m * 0.5) / gsd_y
        length, width = wagon.length_m / gsd, wagon.width_m / gsd
        corners = footprint(cx, cy, wagon.angle_deg, length, width)
        if not shapely.Polygon(corners).intersects(frame):
            continue
        boxes.append((cx, cy, length, width, wagon.angle_deg % 180.0))
        kept.append((wagon, seen))
    return (
        np.array(boxes, dtype=np.float64).reshape(-1, 5),
        np.array([wagon.category for wagon, _ in kept], dtype=np.int64),
        [wagon.type for wagon, _ in kept],
        np.array([seen for _, seen in kept], dtype=np.float64),
    )


def _contrast(image: U8, boxes: NDArray[np.float64]) -> list[float]:
    """Difference of grey values between each box's middle and the ground 1.2 widths beside it, 0-1 each."""
    if not len(boxes):
        return []
    grey = image.mean(axis=2, dtype=np.float32)
    h, w = grey.shape

    t = np.radians(boxes[:, 4])
    along = np.linspace(-0.35, 0.35, 5)[None, :] * boxes[:, 2:3]
    out = []
    for side in (0.0, -0.85, 0.85):
        across = side * boxes[:, 3:4]
        x = boxes[:, 0:1] + np.cos(t)[:, None] * along - np.sin(t)[:, None] * across
        y = boxes[:, 1:2] + np.sin(t)[:, None] * along + np.cos(t)[:, None] * across
        seen = grey[np.clip(y.astype(int), 0, h - 1), np.clip(x.astype(int), 0, w - 1)]
        out.append(seen.mean(axis=1, dtype=np.float64))
    contrast = np.abs(out[0] - 0.5 * (out[1] + out[2])) / 255.0
    return [round(float(c), 3) for c in contrast]
