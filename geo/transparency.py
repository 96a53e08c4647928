"""What of an image is missing ground, and what only looks like it: alpha bands and nodata numbers.

Programs that write four bands of bytes without being told what they are call the fourth one alpha, though it
may be near infrared; and a picture stretched for the eye holds the number that a file calls nodata wherever
something is black. Both would take dark wagons out of the picture.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["LARGEST_HOLE_M", "hole_px", "is_mask", "may_be_a_colour", "missing_ground"]

LARGEST_HOLE_M = 20.0
"""Nodata that no square of this side, metres, fits into isn't missing ground: wagons, shadows, and specks.

Gaps in images (borders, the space between strips) are hundreds of metres wide; a wagon is 3 m wide, three
black rows of wagons side by side are 13 m."""

# The share of a mask's pixels that are wholly shown or wholly not. The rest are the rims of a turned image.
# Near infrared that was stretched for the eye has 2 to 25% of its pixels at the ends.
_AT_THE_ENDS = 0.9


def is_mask(alpha: npt.NDArray[Any]) -> bool:
    """Whether a band that a file calls alpha is one, by a sample of its pixels.

    A mask holds two numbers (0, and 1 or 255 or whatever is the most), or one of them; a picture holds many.

    Args:
        alpha: Numbers from all over the band.

    Example:
        >>> is_mask(np.array([0, 255, 255, 255]))
        True
        >>> is_mask(np.arange(256))
        False
    """
    values, counts = np.unique(alpha, return_counts=True)
    if len(values) <= 2:
        return True
    ends = counts[0] * (values[0] == 0) + counts[-1]
    return bool(ends >= _AT_THE_ENDS * alpha.size)


def may_be_a_colour(nodata: float | None, dtype: np.dtype[Any]) -> bool:
    """Whether a nodata number also is one that a picture holds: the darkest or brightest of its type."""
    if nodata is None or not np.issubdtype(dtype, np.unsignedinteger):
        return False
    return nodata in (0.0, 255.0, float(np.iinfo(dtype).max))


def hole_px(gsd_xy_m: tuple[float, float], step: tuple[float, float] = (1.0, 1.0)) -> tuple[int, int]:
    """`LARGEST_HOLE_M` in pixels across and down, for pixels ``step`` times as large: odd, at least 3."""
    x, y = (
        max(3, 2 * math.ceil(LARGEST_HOLE_M / (2 * gsd * size)) + 1)
        for gsd, size in zip(gsd_xy_m, step, strict=True)
    )
    return x, y


def missing_ground(
    nodata: npt.NDArray[np.bool_], hole: tuple[int, int], beyond: tuple[bool, bool, bool, bool]
) -> npt.NDArray[np.bool_]:
    """Of pixels that hold the nodata number, those that are missing ground: what a hole's square fits into.

    Args:
        nodata: (h, w), with ``hole - 1`` pixels more around what is asked about, as far as the image reaches.
        hole: Width and height of the square, pixels.
        beyond: Whether the image ends at the left, top, right and bottom side: what lies beyond has no data
            either, so that a narrow border is missing ground.

    Returns:
        (h, w). What it says of a pixel doesn't depend on where the window lies.
    """
    if not nodata.any():
        return nodata
    left, top, right, bottom = (side * each for side, each in zip(beyond, hole * 2, strict=True))
    padded = cv2.copyMakeBorder(
        nodata.astype(np.uint8), top, bottom, left, right, cv2.BORDER_CONSTANT, value=1
    )
    # An opening by a square. Outside the padded window nothing is known: taken as shown for what needs it, so
    # that a pixel inside is decided by its own surroundings.
    kernel = np.ones((hole[1], hole[0]), np.uint8)
    opened = cv2.morphologyEx(padded, cv2.MORPH_OPEN, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    height, width = nodata.shape
    return np.asarray(opened[top : top + height, left : left + width] > 0)
