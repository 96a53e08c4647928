"""How much a window really saw: effective observations, gaps, months never seen.

Two observations a day apart see much the same wagons, so that fifty observations in two months say less than
fifty in five years. The time that a state of the yard lasts is estimated from the observations themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from railwatch.history.record import FloatArray
from railwatch.history.settings import VerdictSettings

_DWELL_GRID = np.exp(np.linspace(np.log(0.25), np.log(30.0), 40))
_DWELL_PRIOR_SD = 1.0
_NEIGHBOUR_DAYS = 60
_FEWEST_NEIGHBOURS = 5
_PAIR_VARIANCE = 2.0


@dataclass(frozen=True)
class Coverage:
    """What the looks inside a window cover.

    Attributes:
        observations: Days with a clear observation that says how many cars there were at most ("at least 4"
            doesn't).
        n_effective: How many independent observations they are worth.
        dwell_days: Time over which the yard's state is forgotten (to 1/e), as estimated.
        longest_gap_days: Longest time without a clear observation, the window's ends included.
        months_never_seen: Months of the year (1-12) without a clear observation in any year.
        abstained: Observations of the window without an answer (clouds, snow, an unsure detector).
        first: Day of the first clear observation, or None.
        last: Day of the last.
        published: How many of the observations are published counts of others alone.
    """

    observations: int
    n_effective: float
    dwell_days: float
    longest_gap_days: int
    months_never_seen: tuple[int, ...]
    abstained: int
    first: date | None
    last: date | None
    published: int = 0

    @property
    def record_chance(self) -> float:
        """Probability that one more observation is the highest if nothing has changed: 1 / (n_eff + 1)."""
        return 1.0 / (self.n_effective + 1.0)


def coverage(
    days: Sequence[date],
    counts: FloatArray,
    variances: FloatArray,
    *,
    start: date,
    end: date,
    abstained: int,
    settings: VerdictSettings,
    published: int = 0,
) -> Coverage:
    """Return what the observations of a window cover.

    Args:
        days: Day of each clear observation, ascending, without repetition.
        counts: Best count of each observation; NaN where only a bound is known, (n,).
        variances: Error variance of each, (n,).
        start: First day of the window.
        end: Last day of the window.
        abstained: Observations without an answer.
        settings: The expected dwell time.
        published: How many of the observations are published counts alone.
    """
    ordinals = np.array([day.toordinal() for day in days], dtype=np.float64)
    dwell = dwell_days(ordinals, counts, variances, settings.dwell_days)
    effective = effective_observations(ordinals, dwell)
    marks = np.concatenate([[start.toordinal()], ordinals, [end.toordinal()]])
    return Coverage(
        observations=len(days),
        n_effective=effective,
        dwell_days=dwell,
        longest_gap_days=int(np.diff(marks).max()),
        months_never_seen=tuple(sorted(set(range(1, 13)) - {day.month for day in days})),
        abstained=abstained,
        first=days[0] if days else None,
        last=days[-1] if days else None,
        published=published,
    )


def effective_observations(ordinals: FloatArray, dwell: float) -> float:
    """Return how many independent observations a series is worth.

    Each observation adds (1 - r) / (1 + r), where r = exp(-days since the observation before / dwell): for
    even spacing that is n (1 - r) / (1 + r), and a second observation on the same day adds nothing.

    Args:
        ordinals: Days, ascending, (n,).
        dwell: Time over which the state is forgotten, days.
    """
    if ordinals.size == 0:
        return 0.0
    kept = np.exp(-np.diff(ordinals) / dwell)
    return float(1.0 + ((1.0 - kept) / (1.0 + kept)).sum())


def dwell_days(ordinals: FloatArray, counts: FloatArray, variances: FloatArray, expected: float) -> float:
    """Estimate how long the yard keeps its state.

    Products of neighbouring observations' residuals are matched to exp(-days / dwell), with a log-normal
    prior around the expected value. Residuals are taken from the local mean, so that a season or a new level
    of traffic isn't mistaken for wagons standing still; measuring noise, which would hide the
    correlation, is taken out of the variance.

    Args:
        ordinals: Days, ascending, (n,).
        counts: Counts, NaN where unknown, (n,).
        variances: Error variances, (n,).
        expected: The prior's median, days.

    Returns:
        Between a quarter of a day and 30 days.
    """
    known = np.isfinite(counts)
    t, y, v = ordinals[known], counts[known], variances[known]
    prior = ((np.log(_DWELL_GRID) - np.log(expected)) / _DWELL_PRIOR_SD) ** 2
    cost = prior / 2.0
    if t.size >= 2 * _FEWEST_NEIGHBOURS:
        # Winsorised: one surge must not set the scale for all.
        y = np.clip(y, *np.quantile(y, [0.025, 0.975]))
        residual = y - _local_mean(t, y)
        variance = float(residual.var())
        if variance > 0.0:
            signal = max(variance - float(v.mean()), 0.3 * variance)
            gaps = np.diff(t)
            near = gaps <= _NEIGHBOUR_DAYS
            products = residual[:-1][near] * residual[1:][near] / signal
            expected_products = np.exp(-gaps[near][:, None] / _DWELL_GRID[None, :])
            misfit = (products[:, None] - expected_products) ** 2
            cost = cost + misfit.sum(axis=0) / (2.0 * _PAIR_VARIANCE)
    return float(_DWELL_GRID[int(np.argmin(cost))])


def _local_mean(t: FloatArray, y: FloatArray) -> FloatArray:
    """Mean of the counts within 60 days of each; of all where there are too few."""
    first = np.searchsorted(t, t - _NEIGHBOUR_DAYS, side="left")
    last = np.searchsorted(t, t + _NEIGHBOUR_DAYS, side="right")
    sums = np.concatenate([[0.0], np.cumsum(y)])
    number = last - first
    local = (sums[last] - sums[first]) / number
    return np.asarray(np.where(number >= _FEWEST_NEIGHBOURS, local, y.mean()), dtype=np.float64)
