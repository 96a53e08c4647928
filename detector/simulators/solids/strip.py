"""A strip of railway with cars of `cars`, lit by a sun, seen from a side and photographed.

Tracks are straight, and cars lie along the rows until the picture is turned. Light, shade and a slanting view
follow from the heights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.simulators.collage.canvas import developed, noise_field
from detector.simulators.procedural.sensors import Rendered
from detector.simulators.solids.cars import LENGTHS_M, PX_M, car_solid, tone
from detector.wagons.categories import FREIGHT

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

GSD_M = (0.28, 1.05)
KINDS = ("rakes",)


@dataclass
class RailStrip:
    """A straight strip of railway, its tracks along the rows, 0.2 m a pixel.

    Attributes:
        height: (H, W) metres.
        colour: (H, W, 3) reflectance.
        cars: Middle (x, y), length, width and height of each, metres from the top left corner.
        types: Of each car.
        tracks: Distance of each from the top, metres.
    """

    height: F32
    colour: F32
    cars: list[tuple[float, float, float, float, float]] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    tracks: list[float] = field(default_factory=list)

    def place(self, height: F32, colour: F32, x: float, y: float) -> None:
        """Put a body with its top left corner at (x, y), metres; what lies outside is left out."""
        row, column = round(y / PX_M), round(x / PX_M)
        rows = slice(max(row, 0), min(row + height.shape[0], self.height.shape[0]))
        columns = slice(max(column, 0), min(column + height.shape[1], self.height.shape[1]))
        part = (
            slice(rows.start - row, rows.stop - row),
            slice(columns.start - column, columns.stop - column),
        )
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return
        over = height[part] > np.maximum(self.height[rows, columns], 0.4)
        self.height[rows, columns] = np.where(over, height[part], self.height[rows, columns])
        self.colour[rows, columns] = np.where(over[..., None], colour[part], self.colour[rows, columns])


def random_strip(rng: np.random.Generator, length_m: float, width_m: float) -> RailStrip:
    """Ground, tracks, rakes and what stands beside them, by chance."""
    shape = (round(width_m / PX_M), round(length_m / PX_M))
    mix = np.clip(0.5 + 0.6 * noise_field(rng, shape, [8, 30, 120]), 0, 1)[..., None]
    first, second = tone(rng, 0.06, 0.4), tone(rng, 0.06, 0.4)
    grey = first.mean()
    colour = first + ((grey + (second - grey) * np.float32(rng.uniform(0, 0.6))) - first) * mix
    colour *= 1 + np.float32(rng.uniform(0.02, 0.12)) * noise_field(rng, shape, [1.5, 3])[..., None]
    strip = RailStrip(np.zeros(shape, np.float32), np.asarray(colour, np.float32))
    number = int(rng.integers(1, 8))
    pitch = rng.uniform(4.1, 5.8)
    at = (width_m - pitch * (number - 1)) / 2
    bed, steel = tone(rng, 0.06, 0.35), tone(rng, 0.05, 0.4)
    y = (np.arange(shape[0], dtype=np.float32)[:, None] + 0.5) * PX_M
    ties = 1 - 0.25 * (np.sin(2 * np.pi * np.arange(shape[1]) * PX_M / 0.62) > 0.3)[None]
    for _ in range(number):
        strip.tracks.append(at)
        share = np.clip((rng.uniform(1.4, 2.6) - np.abs(y - at)) * 2, 0, 1)[..., None]
        strip.colour += (bed * np.float32(rng.uniform(0.7, 1.3)) - strip.colour) * share * np.float32(0.9)
        near = np.abs(y - at) < 1.3
        strip.colour *= np.where(near, ties, 1.0)[..., None].astype(np.float32)
        for side in (-0.75, 0.75):
            strip.colour[min(round((at + side) / PX_M), shape[0] - 1)] = steel
        at += pitch + float(rng.choice([0, 0, 0, rng.uniform(1, 5)]))
    _beside(strip, rng)
    busy = rng.uniform(0.35, 1.0)
    for middle in strip.tracks:
        _rakes(strip, rng, middle, busy)
    return strip


def _beside(strip: RailStrip, rng: np.random.Generator) -> None:
    """Sheds, lorries or piles along the outer tracks: clutter, and shadows on the cars."""
    for edge, way in ((strip.tracks[0] - 3, -1), (strip.tracks[-1] + 3, 1)):
        x = rng.uniform(-20, 40)
        while x < strip.height.shape[1] * PX_M and rng.random() < 0.8:
            length, depth, top = rng.uniform(3, 40), rng.uniform(2, 10), rng.uniform(1.5, 8)
            y = edge + rng.uniform(0, 4) * way - depth * (way < 0)
            size = (round(depth / PX_M), round(length / PX_M))
            strip.place(
                np.full(size, top, np.float32), tone(rng) * np.ones((*size, 3), np.float32), x, float(y)
            )
            x += length + rng.uniform(0.5, 60)


def _rakes(strip: RailStrip, rng: np.random.Generator, middle: float, busy: float) -> None:
    x = rng.uniform(-20, 10)
    end = strip.height.shape[1] * PX_M
    types = list(LENGTHS_M)
    while x < end:
        if rng.random() > busy:
            x += rng.uniform(10, 60)
            continue
        kind = str(rng.choice(types))
        mixed = float(rng.choice([0.0, 0.1, 0.6]))
        seed, gap = int(rng.integers(1 << 31)), rng.uniform(0.2, 1.1)
        length, width = rng.uniform(*LENGTHS_M[kind]), rng.uniform(2.7, 3.3)
        for _ in range(int(rng.integers(1, 9))):
            if rng.random() < mixed:
                kind, seed = str(rng.choice(types)), int(rng.integers(1 << 31))
                length, width = rng.uniform(*LENGTHS_M[kind]), rng.uniform(2.7, 3.3)
            height, colour = car_solid(kind, seed, rng, length, width)
            strip.place(height, colour, x, middle - width / 2)
            strip.cars.append((x + length / 2, middle, length, width, float(height.max())))
            strip.types.append(kind)
            coupler = (round(0.5 / PX_M), round((gap + 1) / PX_M))
            strip.place(
                np.full(coupler, 0.9, np.float32),
                np.full((*coupler, 3), 0.05, np.float32),
                x + length - 0.5,
                middle - 0.25,
            )
            x += length + gap
            if x > end:
                break
        x += rng.uniform(2, 40)


def lit(strip: RailStrip, rng: np.random.Generator) -> tuple[F32, float, F64]:
    """Radiance (H, W, 3) of a strip under a sun and seen from a side, the sun's elevation, and the lean.

    Returns:
        Radiance, elevation in degrees, and the shift (x, y) in metres per metre of height.
    """
    height, shape = strip.height, strip.height.shape[::-1]
    elevation, azimuth = math.radians(rng.uniform(14, 72)), rng.uniform(0, 2 * math.pi)
    way = np.array([math.cos(azimuth), math.sin(azimuth)])
    gy, gx = np.gradient(height)
    gx, gy = np.clip(gx / PX_M, -4, 4), np.clip(gy / PX_M, -4, 4)
    facing = (math.sin(elevation) - (gx * way[0] + gy * way[1]) * math.cos(elevation)) / np.sqrt(
        1 + gx**2 + gy**2
    )
    # The surface below which the sun doesn't reach, by doubling the distance looked towards it.
    blocked, reach = height, PX_M
    while reach * math.tan(elevation) < 9.0:
        move = np.array([[1, 0, way[0] * reach / PX_M], [0, 1, way[1] * reach / PX_M]])
        ahead = cv2.warpAffine(
            blocked,
            move,
            shape,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        blocked = np.maximum(blocked, ahead - reach * math.tan(elevation))
        reach *= 2
    sunlit = 1 - np.clip((blocked - height) * 4 - 0.2, 0, 1)
    # Less sky is seen from inside a car or between two.
    sky = rng.uniform(0.1, 0.5) * np.exp(
        -rng.uniform(0.05, 0.5) * np.clip(cv2.blur(height, (9, 9)) - height, 0, None)
    )
    light = sky + (1 - sky) * np.clip(facing, 0, None) / math.sin(elevation) * sunlit
    gloss = float(rng.choice([0.0, 0.0, rng.uniform(0, 0.4)]))
    radiance = (
        strip.colour * light[..., None]
        + np.float32(gloss) * (np.clip(facing, 0, 1) ** 20 * sunlit)[..., None]
    )
    slope = math.tan(math.radians(min(abs(rng.normal(0, 13)), 30)))
    turn = rng.uniform(0, 2 * math.pi)
    lean = np.array([math.cos(turn), math.sin(turn)]) * slope
    return (
        _leaning(np.asarray(radiance, np.float32), height, lean, rng.uniform(0.3, 0.8)),
        math.degrees(elevation),
        lean,
    )


def _leaning(radiance: F32, height: F32, lean: F64, side: float) -> F32:
    """A slanting view: at each pixel the highest point whose shift by its height lands there."""
    if np.hypot(*lean) < 0.03:
        return radiance
    level = np.zeros_like(height)
    tall = np.zeros_like(height)
    for one in np.arange(0.5, 8.0, 0.25):
        move = np.array([[1, 0, -lean[0] * one / PX_M], [0, 1, -lean[1] * one / PX_M]])
        there = cv2.warpAffine(
            height,
            move,
            height.shape[::-1],
            flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        reached = there >= one
        level[reached], tall[reached] = one, there[reached]
    y, x = np.indices(height.shape, np.float32)
    back = (x - np.float32(lean[0] / PX_M) * level, y - np.float32(lean[1] / PX_M) * level)
    out = cv2.remap(radiance, *back, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    wall = tall > level + 0.6  # a side is seen, not the top
    return np.asarray(np.where(wall[..., None], out * np.float32(side), out), np.float32)


def random_solids(
    rng: np.random.Generator, *, size_m: float = 144.0, kind: str | None = None, gsd_m: float | None = None
) -> Rendered:
    """A picture of a random strip of railway through the middle of a square, at any angle.

    Args:
        rng: Source of chance.
        size_m: Side of the square.
        kind: The one in `KINDS`, or none.
        gsd_m: Ground sampling distance; drawn from 0.28 to 1.05 m if not given.

    Raises:
        ValueError: There is no such kind.
    """
    if kind not in (None, *KINDS):
        raise ValueError(f"no kind of scene {kind!r}; known are {', '.join(KINDS)}")
    return photographed(random_strip(rng, size_m * 1.42, min(size_m, 60.0)), rng, size_m=size_m, gsd_m=gsd_m)


def photographed(
    strip: RailStrip, rng: np.random.Generator, *, size_m: float, gsd_m: float | None = None
) -> Rendered:
    """Light a strip, look at it from a side, turn it by chance and sample it.

    Args:
        strip: What is looked at; its middle is that of the picture.
        rng: Source of chance.
        size_m: Side of the picture.
        gsd_m: Ground sampling distance; drawn from 0.28 to 1.05 m if not given.
    """
    width, length = (n * PX_M for n in strip.height.shape)
    radiance, elevation, lean = lit(strip, rng)
    wanted = gsd_m or float(np.exp(rng.uniform(*np.log(GSD_M))))
    side = max(8, int(size_m / wanted))
    gsd = size_m / side
    # A pixel's own square and the optics together.
    blur_m = math.hypot(rng.uniform(0.2, 0.75), 0.29) * gsd
    radiance = np.asarray(cv2.GaussianBlur(radiance, (0, 0), blur_m / PX_M), np.float32)
    white = max(float(np.quantile(radiance[::4, ::4], rng.uniform(0.95, 1.0))), 0.08)
    shown = np.sqrt(np.clip(radiance / white, 0, 1.1))
    angle = rng.uniform(0, 2 * math.pi)
    axes = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    middle = np.array([length, width]) / 2
    # From pixel centres of the picture to those of the strip.
    back = axes.T * gsd / PX_M
    shift = middle / PX_M - 0.5 - back @ np.full(2, side / 2 - 0.5)
    seen = cv2.warpAffine(
        shown.astype(np.float32), np.column_stack([back, shift]), (side, side),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    if rng.random() < 0.6:
        seen = developed(np.asarray(seen, np.float32), rng)
    else:
        seen = np.clip(seen, 0, 1) ** rng.uniform(0.8, 1.3) + rng.normal(
            0, rng.uniform(0.002, 0.012), seen.shape
        )
        if rng.random() < 0.2:
            seen = np.repeat(seen.mean(axis=2, keepdims=True), 3, axis=2)
    image = np.clip(seen * 255 + 0.5, 0, 255).astype(np.uint8)
    cars = np.array(strip.cars, np.float64).reshape(-1, 5)
    centres = ((cars[:, :2] + lean * cars[:, 4:] / 2 - middle) @ axes.T + size_m / 2) / gsd
    turned = np.full((len(cars), 1), math.degrees(angle) % 180.0)
    inside = (np.abs(centres - side / 2) < side / 2 + 10 / gsd).all(axis=1)
    near = (np.abs(centres - side / 2) < side / 2).all(axis=1)
    ends = [np.array([[0.0, t], [length, t]]) for t in strip.tracks]
    return Rendered(
        image=image,
        gsd_m=gsd,
        boxes=np.hstack([centres, cars[:, 2:4] / gsd, turned])[inside],
        category=np.full(int(inside.sum()), FREIGHT, np.int64),
        wagon_type=[t for t, k in zip(strip.types, inside, strict=True) if k],
        visibility=np.where(near, 1.0, 0.3)[inside],
        tracks=[((line - middle) @ axes.T + size_m / 2) / gsd for line in ends],
        track_gauge=[1435] * len(ends),
        meta={
            "kind": KINDS[0],
            "sensor": "solids",
            "real_background": False,
            "sun_elevation_deg": elevation,
            "off_nadir_deg": math.degrees(math.atan(float(np.hypot(*lean)))),
            "blur_m": blur_m,
        },
    )
