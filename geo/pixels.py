"""The wall between formats and everything else: a source of pixels, read by window.

A format (a GeoTIFF, later a SAFE folder or a STAC item) is a `PixelSource`: a small frozen description that
can be opened, as often and in as many threads as wanted, into a `PixelReader` with a handle of its own.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from geo.resample import Window

RawPixels = tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]
"""(bands, h, w) digital numbers and (h, w) validity."""


class PixelReader(Protocol):
    """An open handle on a source, for one thread."""

    def read(self, window: Window, shape: tuple[int, int] | None = None) -> RawPixels:
        """Read the bands to be shown in a window that lies inside the source.

        Args:
            window: Source pixels (x0, y0, x1, y1).
            shape: (h, w) to decimate to by nearest neighbour (through overviews where there are any), or None
                for every pixel.

        Raises:
            SceneError: The pixels can't be read.
        """


class PixelSource(Protocol):
    """Something that pixels can be read from."""

    @property
    def channels(self) -> int:
        """Number of planes that reading gives: one (grey) or three (red, green, blue)."""

    @property
    def gapless(self) -> bool:
        """Whether every pixel is known to be valid without reading it."""

    def open(self) -> AbstractContextManager[PixelReader]:
        """Open a handle of its own.

        Raises:
            SceneError: The source is gone or damaged.
        """

    def files(self) -> tuple[str, ...]:
        """The files that the pixels come from, the main one first."""
