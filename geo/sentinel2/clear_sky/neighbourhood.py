"""Means and extremes over a neighbourhood of a picture with gaps: what the tests for cloud are made of.

All functions take (H, W) planes and masks and work in a time that doesn't depend on the reach. What lies
beyond the edge is a gap.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]


def odd(length_m: float, pixel_m: float) -> int:
    """The odd number of pixels nearest to a length, at least 1."""
    return max(1, 2 * round((length_m / pixel_m - 1) / 2) + 1)


def _window_sum(plane: Plane, size: int) -> Plane:
    """Sum under a triangular window: two passes of a box of `size` pixels."""
    for _ in range(2):
        plane = np.asarray(
            cv2.boxFilter(plane, -1, (size, size), normalize=False, borderType=cv2.BORDER_CONSTANT)
        )
    return plane


class Neighbours:
    """The pixels of a mask as neighbours of every pixel: local means over them, at any reach.

    The weights of a window depend on the mask alone and are computed once.
    """

    def __init__(self, where: Mask) -> None:
        self.where = where
        self._weights: dict[int, Plane] = {}

    def share(self, size: int) -> Plane:
        """(H, W) share of the window around every pixel that lies in the mask, 0 to 1."""
        if size not in self._weights:
            self._weights[size] = _window_sum(self.where.astype(np.float32), size) / np.float32(size**4)
        return self._weights[size]

    def mean(self, plane: NDArray[np.generic], size: int) -> Plane:
        """Mean of the mask's pixels around every pixel, under a triangular window of two boxes of `size`.

        Args:
            plane: (H, W); outside the mask it may hold anything finite.
            size: side of the box in pixels.

        Returns:
            (H, W), 0 where no pixel of the mask is in reach.
        """
        share = self.share(size)
        total = _window_sum(np.where(self.where, plane, 0).astype(np.float32), size) / np.float32(size**4)
        # Sums of float32 leave crumbs where there is nothing; half a pixel at the window's rim is size**-4.
        none = np.float32(0.5 / size**4)
        return np.where(share > none, total / np.maximum(share, none), np.float32(0))

    def carried_across(self, plane: NDArray[np.generic], sizes: tuple[int, ...]) -> Plane:
        """The local mean of the mask's pixels, carried on into the gaps between them.

        The narrowest window with a tenth of its weight in the mask decides; where none has, the mean of all.

        Args:
            plane: (H, W).
            sizes: sides of the boxes in pixels, ascending.

        Returns:
            (H, W), finite everywhere; 0 where the mask is empty.
        """
        overall = float(plane[self.where].mean()) if self.where.any() else 0.0
        result = np.full(plane.shape, overall, np.float32)
        for size in reversed(sizes):
            result = np.where(self.share(size) >= 0.1, self.mean(plane, size), result)
        return result


def opened(plane: Plane, size: int) -> Plane:
    """Grey opening with a square: what is brighter only in strips or spots narrower than it is taken off."""
    square = np.ones((size, size), np.uint8)
    return np.asarray(cv2.morphologyEx(plane, cv2.MORPH_OPEN, square, borderType=cv2.BORDER_REPLICATE))


def lowest(plane: Plane, size: int) -> Plane:
    """Least value in the square of `size` pixels around every pixel."""
    return np.asarray(cv2.erode(plane, np.ones((size, size), np.uint8)))


def highest(plane: Plane, size: int) -> Plane:
    """Largest value in the square of `size` pixels around every pixel."""
    return np.asarray(cv2.dilate(plane, np.ones((size, size), np.uint8)))


def range_of(plane: Plane, size: int) -> Plane:
    """Largest less least value in the square of `size` pixels around every pixel."""
    return highest(plane, size) - lowest(plane, size)


def width_px(mask: Mask) -> float:
    """How wide a mask is at its widest place, in pixels."""
    inner = np.pad(mask, 1).astype(np.uint8)
    return 2.0 * float(cv2.distanceTransform(inner, cv2.DIST_L2, 3).max())


def grown(mask: Mask, reach: int) -> Mask:
    """The mask and everything within `reach` pixels of it."""
    if reach < 1 or not mask.any():
        return mask
    rows, columns = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    disc = (np.hypot(rows, columns) < reach + 0.5).astype(np.uint8)
    return np.asarray(cv2.dilate(mask.astype(np.uint8), disc) > 0)


def large_pieces(mask: Mask, pixels: float) -> Mask:
    """The connected pieces (eight neighbours) of a mask that have at least so many pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= pixels
    keep[0] = False
    return np.asarray(keep[labels])


def touching(weak: Mask, strong: Mask) -> Mask:
    """The connected pieces of `weak` and `strong` together that hold a pixel of `strong`."""
    count, labels = cv2.connectedComponents((weak | strong).astype(np.uint8), connectivity=8)
    keep = np.zeros(count, bool)
    keep[labels[strong]] = True
    keep[0] = False
    return np.asarray(keep[labels])
