"""A place's own calibration between two counting methods, from dates that both have seen.

Sentinel-2 occupancy and a count by eye differ by a gain and an offset that depend on the yard: its
ballast, its tracks, its wagons. Where the two have met within a few days often enough, the line between
them is fitted and used; where they haven't, methods meet with their whole systematic error unknown.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import combinations
from typing import Any

import numpy as np

from railwatch.history.record import FloatArray, Record
from railwatch.history.settings import VerdictSettings

METHODS_BY_PRECISION = ("reviewed", "published", "wagons", "occupancy", "occupancy-planetscope")
"""The more precise of two methods is the line's x axis."""

_GAIN_PRIOR_SD = 0.5
_OFFSET_PRIOR_SD = 10.0
_ROUNDS = 50


@dataclass(frozen=True)
class Calibration:
    """The line ``count = gain * reference + offset`` between two methods at one place.

    Attributes:
        method: The method whose counts are put on the other's scale.
        reference: The other method.
        gain: Cars of ``method`` for each car of ``reference``.
        offset: Cars of ``method`` where ``reference`` has none.
        gain_sd: Standard error of the gain.
        offset_sd: Standard error of the offset.
        scatter_cars: Scatter of a pair about the line beyond both methods' own errors, in cars of
            ``method`` (trains come and go between the two observations).
        pairs: Pairs of observations behind it.
        first: Day of the first pair.
        last: Day of the last.
    """

    method: str
    reference: str
    gain: float
    offset: float
    gain_sd: float
    offset_sd: float
    scatter_cars: float
    pairs: int
    first: date
    last: date

    def apply(self, record: Record) -> Record:
        """Return a record of ``method`` on the scale of ``reference``, the line's own error added."""
        level = (record.cars - self.offset) / self.gain
        sd = math.hypot(self.gain_sd * level, self.offset_sd, self.scatter_cars) / abs(self.gain)
        return record.rescaled(self.gain, self.offset, sd)

    def inverse(self) -> Calibration:
        """Return the line read the other way."""
        return replace(
            self,
            method=self.reference,
            reference=self.method,
            gain=1.0 / self.gain,
            offset=-self.offset / self.gain,
            gain_sd=self.gain_sd / self.gain**2,
            offset_sd=self.offset_sd / self.gain,
            scatter_cars=self.scatter_cars / self.gain,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the line as plain JSON values."""
        return {
            "method": self.method,
            "reference": self.reference,
            "gain": round(self.gain, 4),
            "gain_sd": round(self.gain_sd, 4),
            "offset": round(self.offset, 3),
            "offset_sd": round(self.offset_sd, 3),
            "scatter_cars": round(self.scatter_cars, 3),
            "pairs": self.pairs,
            "first": self.first.isoformat(),
            "last": self.last.isoformat(),
        }


@dataclass(frozen=True)
class Matchup:
    """What two methods have said about one place within a few days of each other.

    Attributes:
        method: The less precise method.
        reference: The more precise one.
        pairs: The observations, ``method`` first, sorted by time.
        line: The calibration, or None where the pairs don't support one.
        reason: Why there is none, in one sentence; empty where there is one.
    """

    method: str
    reference: str
    pairs: tuple[tuple[Record, Record], ...]
    line: Calibration | None
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "method": self.method,
            "reference": self.reference,
            "pairs": [
                {
                    "datetime": one.when.isoformat(),
                    "count": one.value,
                    "reference_datetime": other.when.isoformat(),
                    "reference_count": other.value,
                }
                for one, other in self.pairs
            ],
            "line": None if self.line is None else self.line.to_json(),
            "reason": self.reason,
        }


def calibrate(records: Iterable[Record], settings: VerdictSettings) -> dict[tuple[str, str], Calibration]:
    """Fit the lines between every two methods that have met often enough at one place.

    Args:
        records: Records of one place; only counts take part.
        settings: Days that may lie between two observations of a pair, and the fewest pairs.

    Returns:
        By (method, reference), each line in both directions.
    """
    lines: dict[tuple[str, str], Calibration] = {}
    for one in matchups(records, settings):
        if one.line is not None:
            lines[one.method, one.reference] = one.line
            lines[one.reference, one.method] = one.line.inverse()
    return lines


def matchups(records: Iterable[Record], settings: VerdictSettings) -> list[Matchup]:
    """Pair the observations of every two methods at one place, and fit a line where there are enough.

    Args:
        records: Records of one place; only counts take part.
        settings: Days that may lie between two observations of a pair, and the fewest pairs.

    Returns:
        One for each two methods that both have counts, the most precise reference first.
    """
    counts = [record for record in records if record.kind == "count"]
    present = {record.method for record in counts}
    found = []
    for reference, method in combinations(METHODS_BY_PRECISION, 2):
        if {reference, method} <= present:
            pairs = pairs_of(counts, method, reference, settings.calibration_days)
            line, reason = _calibration(pairs, settings)
            found.append(Matchup(method, reference, tuple(pairs), line, reason))
    return found


def _calibration(
    pairs: Sequence[tuple[Record, Record]], settings: VerdictSettings
) -> tuple[Calibration | None, str]:
    if len(pairs) < settings.calibration_pairs:
        few = f"{len(pairs)} {'pair' if len(pairs) == 1 else 'pairs'} of observations within"
        return None, f"{few} {settings.calibration_days:g} days, fewer than {settings.calibration_pairs:g}"
    line = _line(pairs)
    # A line that hardly rises, or that the pairs leave open, calibrates nothing.
    if line.gain < 0.25:
        return None, f"the one hardly follows the other (gain {line.gain:.2f})"
    if line.gain_sd > 0.5 * line.gain:
        figures = f"gain {line.gain:.2f}, standard error {line.gain_sd:.2f}"
        return None, f"the pairs leave the line open ({figures})"
    return line, ""


def pairs_of(
    counts: Sequence[Record], method: str, reference: str, days: float
) -> list[tuple[Record, Record]]:
    """Return pairs of observations of two methods within some days, each observation in at most one pair.

    Args:
        counts: Records with a count.
        method: The first of each pair.
        reference: The second.
        days: Longest time between the two.

    Returns:
        Closest first in the choosing; sorted by time.
    """
    others = sorted((one for one in counts if one.method == reference), key=lambda one: one.when)
    times = [one.when for one in others]
    reach = timedelta(days=days)
    options = []
    for one in counts:
        if one.method == method:
            near = slice(bisect_left(times, one.when - reach), bisect_right(times, one.when + reach))
            options += [(abs(one.when - other.when), one.id, other.id, one, other) for other in others[near]]
    options.sort(key=lambda option: option[:3])
    taken: set[str] = set()
    pairs = []
    for _, one_id, other_id, one, other in options:
        if one_id not in taken and other_id not in taken:
            taken |= {one_id, other_id}
            pairs.append((one, other))
    return sorted(pairs, key=lambda pair: (pair[0].when, pair[0].id))


def _line(pairs: Sequence[tuple[Record, Record]]) -> Calibration:
    """Fit a line with errors on both axes and scatter about it (effective variance, York 1966).

    A weak prior (gain 1 with an error of a half, offset 0 with an error of ten cars) keeps pairs that
    are all of one level from turning the line about.
    """
    y = np.array([one.value for one, _ in pairs], dtype=np.float64)
    x = np.array([other.value for _, other in pairs], dtype=np.float64)
    y_variance = np.array([one.variance for one, _ in pairs])
    x_variance = np.array([other.variance for _, other in pairs])
    gain, offset, scatter = 1.0, 0.0, 0.0
    covariance: FloatArray = np.eye(2)
    prior = np.array([_GAIN_PRIOR_SD**-2, _OFFSET_PRIOR_SD**-2])
    for _ in range(_ROUNDS):
        weights = 1.0 / (y_variance + gain**2 * x_variance + scatter)
        # The noisy reading is weighed by the best guess of the truth: by itself it would shrink the gain.
        residual = y - offset - gain * x
        truth = np.stack([x + gain * x_variance * weights * residual, np.ones_like(x)], axis=1)
        weighted = truth * weights[:, None]
        precision = weighted.T @ np.stack([x, np.ones_like(x)], axis=1) + np.diag(prior)
        new_gain, new_offset = np.linalg.solve(precision, weighted.T @ y + prior * np.array([1.0, 0.0]))
        covariance = _covariance(precision, weighted, y - new_offset - new_gain * x)
        new_scatter = _scatter(y - new_offset - new_gain * x, y_variance + new_gain**2 * x_variance)
        done = abs(new_gain - gain) + abs(new_offset - offset) + abs(new_scatter - scatter) < 1e-6
        gain, offset, scatter = float(new_gain), float(new_offset), new_scatter
        if done:
            break
    days = [one.day for one, _ in pairs]
    return Calibration(
        method=pairs[0][0].method,
        reference=pairs[0][1].method,
        gain=gain,
        offset=offset,
        gain_sd=float(covariance[0, 0] ** 0.5),
        offset_sd=float(covariance[1, 1] ** 0.5),
        scatter_cars=scatter**0.5,
        pairs=len(pairs),
        first=min(days),
        last=max(days),
    )


def _covariance(precision: FloatArray, weighted: FloatArray, residual: FloatArray) -> FloatArray:
    """Covariance of gain and offset from the residuals themselves (a sandwich, for few pairs widened)."""
    inverse = np.linalg.inv(precision)
    spread = (weighted * residual[:, None] ** 2).T @ weighted
    widened = residual.size / max(residual.size - 4, 1)
    return np.asarray(inverse @ spread @ inverse.T * widened, dtype=np.float64)


def _scatter(residual: FloatArray, variance: FloatArray) -> float:
    """Variance about the line beyond the known errors (a moment estimate, not below 0)."""
    free = max(residual.size - 2, 1)
    return max(float((residual**2 - variance).sum()) / free, 0.0)
