"""Clouds, their shadows and veils over an image of 10 m pixels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]

_CUMULUS = np.array([0.62, 0.60, 0.60, 0.64], np.float32)
_CIRRUS = np.array([0.45, 0.43, 0.42, 0.44], np.float32)
_SHADE = np.array([0.45, 0.38, 0.33, 0.28], np.float32)


def _blobs(rng: np.random.Generator, shape: tuple[int, int], size_px: float) -> F32:
    field = rng.standard_normal(shape).astype(np.float32)
    smooth = cv2.GaussianBlur(field, (0, 0), size_px) + 0.35 * cv2.GaussianBlur(
        rng.standard_normal(shape).astype(np.float32), (0, 0), size_px / 3
    ) * (1 / 3)
    return np.asarray((smooth - smooth.mean()) / max(float(smooth.std()), 1e-6), dtype=np.float32)


def cumulus(
    reflectance: F32,
    rng: np.random.Generator,
    cover: float,
    *,
    shadow_px: tuple[float, float] = (12.0, -18.0),
) -> tuple[F32, NDArray[np.bool_]]:
    """Bright clouds with soft edges, and the shadows they throw.

    Args:
        reflectance: (4, H, W): blue, green, red, near infrared.
        rng: Source of chance.
        cover: Share of the image under cloud, 0 to 1.
        shadow_px: Where a cloud's shadow lies, pixels to the right and down.

    Returns:
        The clouded image, and (H, W) where cloud is.
    """
    shape = reflectance.shape[1:]
    field = _blobs(rng, shape, 14.0)
    edge = float(np.quantile(field, 1 - cover))
    thick = np.clip((field - edge) * 2.5 + 0.4, 0.0, 1.0)
    move = np.array([[1, 0, shadow_px[0]], [0, 1, shadow_px[1]]], np.float64)
    shade = cv2.warpAffine(thick, move, shape[::-1], borderMode=cv2.BORDER_CONSTANT)
    out = reflectance * (1 - shade[None] * (1 - _SHADE[:, None, None]))
    out = out * (1 - thick[None]) + _CUMULUS[:, None, None] * thick[None]
    return out.astype(np.float32), thick > 0.3


def cirrus(reflectance: F32, rng: np.random.Generator, strength: float) -> F32:
    """A thin veil, denser here than there.

    Args:
        reflectance: (4, H, W).
        rng: Source of chance.
        strength: Mean share of the light that comes from the veil, 0 to 1.
    """
    veil = np.clip(strength * (1 + 0.6 * _blobs(rng, reflectance.shape[1:], 22.0)), 0.0, 0.9)
    return np.asarray(reflectance * (1 - veil) + _CIRRUS[:, None, None] * veil, dtype=np.float32)


def shadow_only(reflectance: F32, rng: np.random.Generator, cover: float) -> F32:
    """Shadows of clouds that aren't in the picture."""
    field = _blobs(rng, reflectance.shape[1:], 16.0)
    shade = np.clip((field - float(np.quantile(field, 1 - cover))) * 2.5 + 0.4, 0.0, 1.0)
    return np.asarray(reflectance * (1 - shade * (1 - _SHADE[:, None, None])), dtype=np.float32)
