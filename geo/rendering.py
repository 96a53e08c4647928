"""From a source of pixels to the 8-bit picture that the wagon detector and people see: stretch, rendering.

A format is a `PixelSource`: a small frozen description that can be opened, as often and in as many threads as
wanted, into a `PixelReader` with a handle of its own. It is the wall between formats and everything else.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from geo.resample import ReadSource, Resampler, Window

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

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that the pixels come from, the main one first."""


LOW_PERCENTILE = 1.0
HIGH_PERCENTILE = 99.0
# An 8-bit picture whose percentiles lie at least this far apart was made for the eye already (aerial pictures
# of bare fields and forests span 49 to 60). Below it (an unstretched export of 11-bit data) the wagons would
# sit in a handful of grey levels.
EIGHT_BIT_SPAN = 48.0
# The least that becomes the full range: more gain would only show how numbers were rounded.
EIGHT_BIT_LEAST, INTEGER_LEAST, FLOAT_LEAST_SHARE = 32.0, 16.0, 1e-3
# OpenCV counts in single precision, which is exact up to here.
_EXACT = 1 << 24


@dataclass(frozen=True)
class Stretch:
    """A linear stretch, band by band: ``low`` becomes 0, ``high`` becomes 255, values beyond are clipped.

    Attributes:
        low: The digital number that becomes 0; one value a band, or one for all bands.
        high: The digital number that becomes 255; as many values as ``low``, each greater than its partner.
        rule: How the limits came about, for the provenance of a count: ``declared``, ``identity`` or
            ``percentile 1-99``.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    rule: str = "declared"

    def __post_init__(self) -> None:
        """Refuse limits that would divide by nothing."""
        if not self.low or len(self.low) != len(self.high):
            raise ValueError(f"a stretch needs as many low as high limits, not {self.low} and {self.high}")
        if not all(
            np.isfinite(a) and np.isfinite(b) and a < b for a, b in zip(self.low, self.high, strict=True)
        ):
            raise ValueError(
                f"each low limit of a stretch must be less than its high limit: {self.low}, {self.high}"
            )

    @classmethod
    def identity(cls) -> Stretch:
        """The stretch that leaves 8-bit numbers as they are."""
        return cls((0.0,), (255.0,), "identity")

    @classmethod
    def fixed(cls, low: float, high: float) -> Stretch:
        """One declared pair of limits for all bands, for example 0 and 3000 for scaled reflectance."""
        return cls((float(low),), (float(high),))

    @classmethod
    def robust(cls, values: npt.NDArray[Any]) -> Stretch:
        """The percentile stretch of a sample of a scene's valid pixels.

        Each band gets its own 1st and 99th percentile, which also takes off the blue of haze. An 8-bit
        picture whose percentiles (over all bands) span 48 levels or more is left alone. Limits closer than 32
        levels of 8 bits, 16 of other integers or a thousandth of floating-point numbers are moved apart to
        that, so that a band of one value becomes mid-grey.

        Args:
            values: The sample, shape (bands, n), n at least 1, in digital numbers.
        """
        if values.dtype == np.uint8:
            counts = np.stack([_counts(band) for band in values])
            low, high = _percentiles(counts.sum(axis=0))
            if high - low >= EIGHT_BIT_SPAN:
                return cls.identity()
            lows, highs = np.transpose([_percentiles(band) for band in counts])
        else:
            sample = values.astype(np.float64, copy=False)
            lows, highs = np.percentile(sample, (LOW_PERCENTILE, HIGH_PERCENTILE), axis=1)
        widen = np.maximum(_least(values.dtype, highs) - (highs - lows), 0.0) / 2
        rule = f"percentile {LOW_PERCENTILE:g}-{HIGH_PERCENTILE:g}"
        return cls(tuple(map(float, lows - widen)), tuple(map(float, highs + widen)), rule)

    @property
    def is_identity(self) -> bool:
        """Whether 8-bit numbers pass unchanged."""
        return all(a == 0.0 for a in self.low) and all(b == 255.0 for b in self.high)

    def limits(self, band: int) -> tuple[float, float]:
        """The (low, high) pair of a band, counted from 0."""
        index = band if len(self.low) > 1 else 0
        return self.low[index], self.high[index]

    def check_bands(self, count: int) -> None:
        """Raise ValueError unless the stretch fits that many bands."""
        if len(self.low) not in (1, count):
            raise ValueError(f"a stretch of {len(self.low)} bands doesn't fit {count}")

    def apply(self, plane: npt.NDArray[Any], band: int) -> npt.NDArray[np.uint8]:
        """Stretch one band.

        Args:
            plane: Digital numbers of one band, any shape and real type.
            band: Which band it is, counted from 0.

        Returns:
            The same shape in uint8, rounded to nearest (half to even).
        """
        if plane.dtype == np.uint8 and self.is_identity:
            return plane
        low, high = self.limits(band)
        out = plane.astype(np.float32)
        if not self.is_identity:
            out -= np.float32(low)
            out *= np.float32(255.0 / (high - low))
        np.rint(out, out=out)
        np.clip(out, 0, 255, out=out)
        return out.astype(np.uint8)


def _counts(band: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """How often each 8-bit number occurs; numpy would write each of them out in 64 bits first."""
    counts = np.zeros(256, np.int64)
    for low in range(0, len(band), _EXACT):
        part = np.ascontiguousarray(band[low : low + _EXACT])
        counts += cv2.calcHist([part], [0], None, [256], [0, 256]).ravel().astype(np.int64)
    return counts


def _percentiles(counts: npt.NDArray[np.int64]) -> tuple[float, float]:
    """The low and the high percentile, as numpy's, of numbers 0, 1, 2 ... that occur so often."""
    up_to = np.cumsum(counts)
    found = []
    for fraction in (LOW_PERCENTILE, HIGH_PERCENTILE):
        place = (up_to[-1] - 1) * fraction / 100.0
        below, above = np.searchsorted(up_to, [np.floor(place), np.ceil(place)], side="right")
        found.append(float(below + (above - below) * (place - np.floor(place))))
    return found[0], found[1]


def _least(dtype: np.dtype[Any], highs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The least distance between the limits of each band."""
    if np.issubdtype(dtype, np.integer):
        return np.full(highs.shape, EIGHT_BIT_LEAST if dtype == np.uint8 else INTEGER_LEAST)
    return FLOAT_LEAST_SHARE * np.maximum(np.abs(highs), 1e-6)


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
        # Merged in place: numpy would write every third byte, band by band, at five times the cost.
        cv2.merge(shown * (3 // len(shown)), image[place])
        if piece.valid is not None:
            image[place][~piece.valid] = 0
        valid[place] = True if piece.valid is None else piece.valid
    return image, valid
