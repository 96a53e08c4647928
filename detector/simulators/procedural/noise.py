"""A bank of periodic noise fields, made once a process and cropped from then on."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

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


def crop(name: str, seed: int, height: int, width: int) -> NDArray[np.uint8]:
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
