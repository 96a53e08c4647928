"""What a yard usually looks like: a robust composite of its own clear past."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_HISTORY = 5
"""Clear dates without which nothing is said."""

MOST_HISTORY = 30
"""Clear dates that a composite is made of, at most."""

MOST_COMPARED = 16
"""Dates that a date is compared with one by one, at most."""

QUANTILES = (0.15, 0.5, 0.85)
_YEAR_DAYS = 365.2425
# An image of the same week five years ago is as good as one of two seasons' distance: ground is rebuilt, too.
_AGE_SHARE = 0.1


@dataclass(frozen=True)
class Composite:
    """A yard's usual appearance.

    Attributes:
        low: (bands, h, w) reflectance under which 15% of the dates lie.
        median: (bands, h, w) the middle one; NaN where no date is clear.
        high: (bands, h, w) over which 15% of the dates lie.
        count: (h, w) clear dates.
        dates: How many dates went in.
    """

    low: NDArray[np.float32]
    median: NDArray[np.float32]
    high: NDArray[np.float32]
    count: NDArray[np.int64]
    dates: int

    def window(self, rows: slice, columns: slice) -> Composite:
        """A part of the cells."""
        low, median, high = (one[:, rows, columns] for one in (self.low, self.median, self.high))
        return Composite(low, median, high, self.count[rows, columns], self.dates)

    @property
    def spread(self) -> NDArray[np.float32]:
        """(bands, h, w) half the distance between the outer quantiles: about a standard deviation."""
        return np.asarray((self.high - self.low) / 2, dtype=np.float32)


def composite(stack: Sequence[NDArray[np.float32]]) -> Composite:
    """The composite of some dates.

    Args:
        stack: (bands, h, w) a date, all in one place and light, NaN where not clear.
    """
    # Sorted along the last axis, where numpy is many times faster; NaN goes to the end.
    ordered = np.sort(np.stack(stack, axis=-1), axis=-1)
    count = np.isfinite(ordered).sum(axis=-1)
    low, median, high = (_quantile(ordered, count, q) for q in QUANTILES)
    return Composite(low, median, high, count.min(axis=0), len(stack))


def _quantile(ordered: NDArray[np.float32], count: NDArray[np.int64], quantile: float) -> NDArray[np.float32]:
    """Quantiles along the last axis with linear interpolation, of as many values as there are."""
    at = quantile * np.maximum(count - 1, 0)
    lower = np.floor(at).astype(np.int64)
    upper = np.minimum(lower + 1, np.maximum(count - 1, 0))
    below = np.take_along_axis(ordered, lower[..., None], axis=-1)[..., 0]
    above = np.take_along_axis(ordered, upper[..., None], axis=-1)[..., 0]
    return np.asarray(below + (above - below) * (at - lower), dtype=np.float32)


def choose_history(when: dt.datetime, dates: Sequence[dt.datetime], *, most: int = MOST_HISTORY) -> list[int]:
    """Which of some dates a composite for one date is made of, as indexes in ascending order.

    The nearest by season come first and, among equals, the latest: a date costs its distance in the course of
    the year, in days, and a tenth of its age.

    Args:
        when: The date in question.
        dates: Those that may be used.
        most: How many at most.
    """

    def cost(index: int) -> float:
        age = abs((when - dates[index]).total_seconds()) / 86400
        season = age % _YEAR_DAYS
        return min(season, _YEAR_DAYS - season) + _AGE_SHARE * age

    return sorted(sorted(range(len(dates)), key=lambda i: (cost(i), i))[:most])
