"""Resampled windows as the 8-bit pictures that the detector and people see."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from geo.rendering import Stretch
from geo.resample import ReadSource, Resampler, Window


def paint(
    resampler: Resampler, read: ReadSource, window: Window, stretch: Stretch
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Read, resample and stretch a window.

    Args:
        resampler: The source's resampler.
        read: Reads the source.
        window: Output pixels wanted, (x0, y0, x1, y1); may reach beyond the source.
        stretch: How numbers become 8 bits.

    Returns:
        (h, w, 3) uint8, a grey source three times over, 0 where invalid; and validity, (h, w).
    """
    shape = window[3] - window[1], window[2] - window[0]
    image, valid = np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.bool_)
    for piece in resampler.pieces(read, window):
        height, width = piece.planes[0].shape
        place = slice(piece.top, piece.top + height), slice(piece.left, piece.left + width)
        shown = [stretch.apply(plane, band) for band, plane in enumerate(piece.planes)]
        # Merged at once: numpy would write every third byte, band by band, at five times the cost.
        image[place] = cv2.merge(shown * (3 // len(shown)))
        if piece.valid is not None:
            image[place][~piece.valid] = 0
        valid[place] = True if piece.valid is None else piece.valid
    return image, valid
