"""Observations of a standing state combined: a filtered series beside that of the single observations.

Wagons stand for days, and observations of ten metres come every few days with errors of many cars. What the
observations before a date say of it is carried on to it by a local-level model (a random walk; Harvey 1989,
Forecasting, Structural Time Series Models and the Kalman Filter) and joined with the date's own observation.
How fast the walk goes isn't fixed: filters of several speeds run side by side, weighted by how well each has
foretold the observations so far. An observation that no walk explains begins anew: between two observations
the yard may have been emptied and filled, so that a build-up isn't smoothed away.

The filter runs forward: a later observation never changes what it says of an earlier date. Verdicts don't use
it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from detector import Z90
from railwatch.history import VerdictSettings
from railwatch.history.record import errors_of, method_of
from railwatch.store.observation import Observation

__all__ = ["COLUMNS", "METHOD", "Filtered", "filtered", "forward"]

METHOD = "occupancy"
"""Only the observations of this method are combined: their errors are large and their dates near."""

_SPEEDS = np.geomspace(0.3, 10.0, 8)  # of the walk, cars after a day
_STAND_DAYS = 30.0  # a state that is as old as this has been replaced with a probability of 1 - 1/e
_NEW_SD = 40.0  # how far a new state may be from the one before, cars


@dataclass(frozen=True)
class Filtered:
    """What the looks up to a date say together of the cars on it.

    Attributes:
        id: Of the date's observation.
        method: Of the series; see `railwatch.history.record.method_of`.
        when: UTC.
        value: Freight cars.
        low: Lower end of the 90% interval.
        high: Upper end.
    """

    id: str
    method: str
    when: datetime
    value: float
    low: float
    high: float

    def columns(self) -> dict[str, float]:
        """Return it as columns of tables and JSON."""
        return {
            "filtered_count": round(self.value, 1),
            "filtered_count_low": round(self.low, 1),
            "filtered_count_high": round(self.high, 1),
        }


COLUMNS = ("filtered_count", "filtered_count_low", "filtered_count_high")
"""Names of the columns of `Filtered.columns`."""


def filtered(
    observations: Iterable[Observation], settings: VerdictSettings | None = None
) -> dict[str, Filtered]:
    """Filter the observations of each area and constellation.

    Args:
        observations: Of any areas and methods, superseded ones left out, in any order.
        settings: Gives the least error of an observation.

    Returns:
        By observation id, for every observation of ten metres with a count; none for a series of a single
        one.
    """
    error = (settings or VerdictSettings()).method(METHOD)
    areas: dict[tuple[str, str], list[Observation]] = {}
    for one in observations:
        if one.method == METHOD and one.count is not None:
            areas.setdefault((one.aoi, method_of(one)), []).append(one)
    found = {}
    for (_, method), series in areas.items():
        series.sort(key=lambda one: (one.datetime, one.id))
        if len(series) < 2:
            continue
        days = np.array([one.datetime.timestamp() / 86400.0 for one in series])
        counts = np.array([one.count for one in series], dtype=np.float64)
        sds = np.array(
            [sum(errors_of(one.count or 0.0, one.count_low, one.count_high, error)) / 2 for one in series]
        )
        bounds = np.array([one.lower_bound for one in series])
        means, spreads = forward(days, counts, sds, bounds)
        for one, mean, sd in zip(series, means.tolist(), spreads.tolist(), strict=True):
            value = max(mean, 0.0)
            found[one.id] = Filtered(
                one.id, method, one.datetime, value, max(mean - Z90 * sd, 0.0), max(mean + Z90 * sd, value)
            )
    return found


def forward(
    days: NDArray[np.float64],
    counts: NDArray[np.float64],
    sds: NDArray[np.float64],
    bounds: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Filter one series forward.

    Args:
        days: Time of each observation, ascending, (n,).
        counts: Cars, (n,).
        sds: Standard error of each, over 0, (n,).
        bounds: Whether a count is the least there can be; such a look only ever raises the level, (n,).

    Returns:
        Mean and standard deviation of the level at each observation, given it and those before, (n,) each.
    """
    least = np.zeros(len(counts), bool) if bounds is None else bounds
    means, deviations = np.empty(len(counts)), np.empty(len(counts))
    level = np.full(len(_SPEEDS), counts[0] if len(counts) else 0.0)
    variance = np.full(len(_SPEEDS), sds[0] ** 2 if len(sds) else 0.0)
    log_weight = np.zeros(len(_SPEEDS))
    for i, (count, sd) in enumerate(zip(counts, sds, strict=True)):
        if i:
            gap = days[i] - days[i - 1]
            prior = variance + _SPEEDS**2 * gap
            new = 1.0 - np.exp(-gap / _STAND_DAYS)
            stays = _updated(level, prior, count, sd, bound=bool(least[i]))
            anew = _updated(level, prior + _NEW_SD**2, count, sd, bound=bool(least[i]))
            likely = np.log1p(-new) + stays[2], np.log(max(new, 1e-12)) + anew[2]
            total = np.logaddexp(*likely)
            share = np.exp(likely[1] - total)
            level = (1 - share) * stays[0] + share * anew[0]
            variance = (1 - share) * (stays[1] + (stays[0] - level) ** 2) + share * (
                anew[1] + (anew[0] - level) ** 2
            )
            log_weight = log_weight + total
        weight = np.exp(log_weight - log_weight.max())
        weight /= weight.sum()
        means[i] = (weight * level).sum()
        deviations[i] = np.sqrt((weight * (variance + (level - means[i]) ** 2)).sum())
    return means, deviations


def _updated(
    level: NDArray[np.float64], variance: NDArray[np.float64], count: float, sd: float, *, bound: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Level and variance after an observation, and the logarithm of how likely it was."""
    spread = variance + sd**2
    rest = count - level
    if bound:
        rest = np.maximum(rest, 0.0)  # a bound below the level says nothing
    gain = np.where(bound & (rest <= 0.0), 0.0, variance / spread)
    log_likelihood = -0.5 * (rest**2 / spread + np.log(2 * np.pi * spread))
    return level + gain * rest, (1 - gain) * variance, log_likelihood
