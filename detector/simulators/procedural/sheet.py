"""Patches, pictures from above with heights; the sheet on which one is drawn; noise and liveries on it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.simulators.procedural.rolling_stock import CONTAINER_PAINTS, pick
from detector.simulators.procedural.spec import Colour, encode, rgb

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]


class Patch(NamedTuple):
    """A picture from above."""

    rgb: U8  # (H, W, 3) drawing values
    height: F32  # (H, W) metres above ground
    alpha: U8 | None  # (H, W) opacity; None: opaque
    px_per_m: float


class Sheet:
    """A patch in the making, addressed in metres from its west end (x) and north edge (y)."""

    def __init__(
        self, length_m: float, width_m: float, colour: Colour, height_m: float, scale: float
    ) -> None:
        self.scale = scale
        self.w = max(3, round(length_m * scale))
        self.h = max(3, round(width_m * scale))
        self.length_m = length_m
        self.width_m = width_m
        self.rgb: F32 = np.empty((self.h, self.w, 3), np.float32)
        self.rgb[:] = encode(colour)
        self.height: F32 = np.full((self.h, self.w), height_m, np.float32)

    def box(self, x0: float, x1: float, y0: float, y1: float) -> tuple[slice, slice]:
        """Index of a rectangle, at least one pixel wide."""
        a = min(max(round(x0 * self.scale), 0), self.w - 1)
        b = max(min(round(x1 * self.scale), self.w), a + 1)
        c = min(max(round(y0 * self.scale), 0), self.h - 1)
        d = max(min(round(y1 * self.scale), self.h), c + 1)
        return slice(c, d), slice(a, b)

    def fill(
        self, x0: float, x1: float, y0: float, y1: float, colour: Colour, height_m: float | None = None
    ) -> None:
        """Paint a rectangle."""
        at = self.box(x0, x1, y0, y1)
        self.rgb[at] = encode(colour)
        if height_m is not None:
            self.height[at] = height_m

    def shade(self, x0: float, x1: float, y0: float, y1: float, factor: float) -> None:
        """Brighten or darken a rectangle (factor on drawing values)."""
        at = self.box(x0, x1, y0, y1)
        self.rgb[at] *= factor

    def shade_ends(self, depth_m: float, factor: float) -> None:
        """Brighten or darken both ends."""
        self.shade(0, depth_m, 0, self.width_m, factor)
        self.shade(self.length_m - depth_m, self.length_m, 0, self.width_m, factor)

    def shade_sides(self, depth_m: float, factor: float) -> None:
        """Brighten or darken both long sides."""
        self.shade(0, self.length_m, 0, depth_m, factor)
        self.shade(0, self.length_m, self.width_m - depth_m, self.width_m, factor)

    def fill_ends(self, depth_m: float, colour: Colour, height_m: float) -> None:
        """Paint both ends."""
        self.fill(0, depth_m, 0, self.width_m, colour, height_m)
        self.fill(self.length_m - depth_m, self.length_m, 0, self.width_m, colour, height_m)

    def fill_sides(self, depth_m: float, colour: Colour, height_m: float) -> None:
        """Paint both long sides."""
        self.fill(0, self.length_m, 0, depth_m, colour, height_m)
        self.fill(0, self.length_m, self.width_m - depth_m, self.width_m, colour, height_m)

    def across(self, profile: NDArray[np.float64] | F32) -> None:
        """Multiply by a profile over the width."""
        y = np.linspace(0.0, len(profile) - 1.0, self.h)
        self.rgb *= np.interp(y, np.arange(len(profile)), profile).astype(np.float32)[:, None, None]

    def ribs(self, pitch_m: float, depth: float, width_m: float = 0.12, phase_m: float = 0.0) -> None:
        """Transverse lines at a pitch."""
        x = phase_m
        while x < self.length_m:
            self.shade(x, x + width_m, 0.0, self.width_m, 1.0 + depth)
            x += pitch_m

    def weather(self, seed: int, strength: float, towards: Colour = (0.13, 0.09, 0.06)) -> None:
        """Dirt: cloudy blotches towards a rust or dust colour, and fine grain."""
        blotch = noise("cloudy", seed, self.h, self.w).astype(np.float32)
        amount = np.clip((blotch - 118.0) / 90.0, 0.0, 1.0)[..., None] * np.float32(strength)
        self.rgb += (encode(towards).astype(np.float32) - self.rgb) * amount
        grain = noise("fine", seed >> 5, self.h, self.w).astype(np.float32) / 128.0
        self.rgb *= (1.0 + 0.16 * strength * (grain - 1.0))[..., None]

    def done(self, alpha: U8 | None = None) -> Patch:
        """The patch."""
        return Patch(np.clip(self.rgb, 0, 255).astype(np.uint8), self.height, alpha, self.scale)


_SIZE = 1024  # pixels; the fields wrap around
# Spectral slope of each field: 0 is white, 2 is large soft patches.
_SLOPES = {"grain": 0.35, "fine": 0.95, "cloudy": 1.45, "patchy": 2.1}


@cache
def _field(name: str) -> NDArray[np.uint8]:
    """A (2048, 2048) field, two periods each way, with mean 128 and standard deviation 42."""
    if name == "rough":  # blotches of a few metres and grain of a few decimetres together
        return _sum(("cloudy", 0.75, 0), ("fine", 0.75, 0))
    if name == "lumps":  # crowns and bushes
        return _sum(("cloudy", 0.85, 0), ("patchy", 0.45, 311))
    rng = np.random.default_rng([2611, sum(name.encode())])
    fy = np.fft.fftfreq(_SIZE)[:, None]
    fx = np.fft.rfftfreq(_SIZE)[None, :]
    if name == "streaks":
        # Features twenty times longer than wide.
        radius = np.sqrt((fx * 20.0) ** 2 + fy**2)
        slope = 1.1
    else:
        radius = np.sqrt(fx**2 + fy**2)
        slope = _SLOPES[name]
    radius[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((_SIZE, _SIZE))) / np.maximum(radius, 1.0 / 300.0) ** slope
    values = np.fft.irfft2(spectrum, s=(_SIZE, _SIZE))
    values = (values - values.mean()) / values.std()
    tile = np.clip(128.0 + 42.0 * values, 0, 255).astype(np.uint8)
    return np.tile(tile, (2, 2))  # so that a crop of up to one period is a plain slice


def _sum(*parts: tuple[str, float, int]) -> NDArray[np.uint8]:
    """Fields added up around their mean: (name, weight, roll)."""
    total = sum(weight * (np.roll(_field(name), roll) - np.float32(128.0)) for name, weight, roll in parts)
    return np.clip(128.0 + np.asarray(total), 0, 255).astype(np.uint8)


def noise(name: str, seed: int, height: int, width: int) -> NDArray[np.uint8]:
    """A (height, width) piece of a field, at an offset and mirroring that follow from the seed."""
    base = _field(name)
    if seed & 1:
        base = base[::-1]
    if seed & 2:
        base = base[:, ::-1]
    if seed & 4 and name != "streaks":
        base = base.T
    y = (seed >> 3) % _SIZE
    x = (seed >> 13) % _SIZE
    if height <= _SIZE and width <= _SIZE:
        return base[y : y + height, x : x + width]
    rows = (np.arange(y, y + height)) % _SIZE
    cols = (np.arange(x, x + width)) % _SIZE
    return base[rows[:, None], cols[None, :]]


def bumps(name: str, seed: int, height: int, width: int) -> F32:
    """The same as numbers from -1 to 1."""
    return noise(name, seed, height, width).astype(np.float32) / 128.0 - 1.0


def streaks(angle_deg: float, seed: int, height: int, width: int) -> NDArray[np.uint8]:
    """Streaky noise drawn out along a direction (degrees clockwise from +x)."""
    matrix = cv2.getRotationMatrix2D((0.0, 0.0), angle_deg, 1.0)
    matrix[0, 2] = seed % 997
    matrix[1, 2] = (seed // 997) % 991
    out = cv2.warpAffine(
        _field("streaks"),
        matrix,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_WRAP,
    )
    return np.asarray(out, dtype=np.uint8)


def paint_livery(sheet: Sheet, rng: np.random.Generator) -> None:
    """Paint one to three patterns over a vehicle from above; heights stay as they are."""
    for k in rng.choice(len(_PATTERNS), size=int(rng.integers(1, 4)), replace=False):
        _PATTERNS[int(k)](sheet, rng)


def _touch(sheet: Sheet, x: tuple[float, float], y: tuple[float, float], look: _Repaint) -> None:
    """Give a rectangle, in metres, a look."""
    at = sheet.box(*x, *y)
    part = sheet.rgb[at]
    if look.colour is None:
        part *= look.factor
    else:
        part += (look.colour - part) * look.cover


class _Repaint:
    """A factor on the paint that is there, or another paint over it."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.factor = np.float32(np.exp(rng.uniform(np.log(0.4), np.log(1.9))))
        self.colour: np.ndarray | None = None
        self.cover = np.float32(rng.uniform(0.4, 1.0))
        if rng.random() < 0.4:
            self.colour = encode(rgb(pick(rng, CONTAINER_PAINTS))).astype(np.float32)


def _halves(sheet: Sheet, rng: np.random.Generator) -> None:
    """One end of another paint."""
    end = sheet.length_m * rng.uniform(0.1, 0.6)
    x = (0.0, end) if rng.random() < 0.5 else (sheet.length_m - end, sheet.length_m)
    _touch(sheet, x, (0.0, sheet.width_m), _Repaint(rng))


def _lengthwise(sheet: Sheet, rng: np.random.Generator) -> None:
    """Stripes along, the same on both sides of the middle."""
    look = _Repaint(rng)
    wide = rng.uniform(0.15, 1.1)
    middle = float(rng.choice([0.0, rng.uniform(0.0, 0.5)])) * sheet.width_m
    for sign in (-1.0, 1.0) if middle > 0.0 else (1.0,):
        y = sheet.width_m / 2 + sign * middle
        _touch(sheet, (0.0, sheet.length_m), (y - wide / 2, y + wide / 2), look)


def _crosswise(sheet: Sheet, rng: np.random.Generator) -> None:
    """Bands across at a pitch."""
    look = _Repaint(rng)
    pitch = float(np.exp(rng.uniform(np.log(0.8), np.log(8.0))))
    wide = pitch * rng.uniform(0.1, 0.6)
    for x in np.arange(rng.uniform(0.0, pitch), sheet.length_m, pitch):
        _touch(sheet, (float(x), float(x) + wide), (0.0, sheet.width_m), look)


def _blocks(sheet: Sheet, rng: np.random.Generator) -> None:
    """Hatches, patches and lettering: a few rectangles."""
    look = _Repaint(rng)
    for _ in range(int(rng.integers(1, 9))):
        if rng.random() < 0.3:
            look = _Repaint(rng)
        long, wide = rng.uniform(0.4, 5.0), rng.uniform(0.3, 2.5)
        x = rng.uniform(0.0, sheet.length_m - 0.5)
        y = rng.uniform(-0.3, sheet.width_m - 0.3)
        _touch(sheet, (x, x + long), (y, y + wide), look)


def _fading(sheet: Sheet, rng: np.random.Generator) -> None:
    """Lighter towards one end, or towards the middle."""
    a, b = rng.uniform(0.6, 1.4, 2)
    along = np.linspace(0.0, 1.0, sheet.w)
    if rng.random() < 0.5:
        along = np.abs(2.0 * along - 1.0)
    sheet.rgb *= (a + (b - a) * along).astype(np.float32)[None, :, None]


def _recoloured(sheet: Sheet, rng: np.random.Generator) -> None:
    """Any hue at all, over everything."""
    colour = rng.uniform(0.0, 255.0, 3).astype(np.float32)
    sheet.rgb += (colour - sheet.rgb) * np.float32(rng.uniform(0.2, 0.8))


def _rims(sheet: Sheet, rng: np.random.Generator) -> None:
    """The border of another tone all around: a rim, a walkway, eaves."""
    look = _Repaint(rng)
    wide = rng.uniform(0.12, 0.5)
    for y in (0.0, sheet.width_m - wide):
        _touch(sheet, (0.0, sheet.length_m), (y, y + wide), look)
    if rng.random() < 0.6:
        end = wide * rng.uniform(1.0, 4.0)
        for x in (0.0, sheet.length_m - end):
            _touch(sheet, (x, x + end), (0.0, sheet.width_m), look)


_PATTERNS: tuple[Callable[[Sheet, np.random.Generator], None], ...] = (
    _halves,
    _lengthwise,
    _crosswise,
    _blocks,
    _fading,
    _recoloured,
    _rims,
)
