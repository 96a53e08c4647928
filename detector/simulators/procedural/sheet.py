"""Patches: pictures from above with the height of every pixel, and the sheet on which one is drawn."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.simulators.procedural import noise
from detector.simulators.procedural.materials import encode
from detector.simulators.procedural.spec import Colour

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
        blotch = noise.crop("cloudy", seed, self.h, self.w).astype(np.float32)
        amount = np.clip((blotch - 118.0) / 90.0, 0.0, 1.0)[..., None] * np.float32(strength)
        self.rgb += (encode(towards).astype(np.float32) - self.rgb) * amount
        grain = noise.crop("fine", seed >> 5, self.h, self.w).astype(np.float32) / 128.0
        self.rgb *= (1.0 + 0.16 * strength * (grain - 1.0))[..., None]

    def done(self, alpha: U8 | None = None) -> Patch:
        """The patch."""
        return Patch(np.clip(self.rgb, 0, 255).astype(np.uint8), self.height, alpha, self.scale)
