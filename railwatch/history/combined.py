"""Images of 10 m combined: those of one build-up judged as one, and a filtered series beside the single ones.

Wagons stand for days, and images of 10 m come every few days, each with an error of 20 cars and more.

**Judged as one** (`Together`): images of one method within a month, each of them high by itself, are taken
together, with the smaller error of their mean, against the same history. How much their errors have in common
(the yard, its cars' colours) doesn't shrink with their number. The study in ``docs/verdict-study.md`` counts
the false alarms of this rule with those of single images.

**Filtered** (`filtered`): what the observations before a date say of it is carried on to it by a local-level
model (a random walk; Harvey 1989, Forecasting, Structural Time Series Models and the Kalman Filter) and
joined with the date's own observation. How fast the walk goes isn't fixed: filters of several speeds run side
by side, weighted by how well each has foretold the observations so far. An observation that no walk explains
begins anew: between two observations the yard may have been emptied and filled, so that a build-up isn't
smoothed away. The filter runs forward: a later observation never changes what it says of an earlier date.
Verdicts don't use it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.intervals import Z90
from railwatch.history.record import OCCUPANCY, PLANETSCOPE_OCCUPANCY, Record, errors_of, method_of, rounded
from railwatch.history.settings import VerdictSettings
from railwatch.store.observation import Observation

__all__ = ["COLUMNS", "METHODS", "Filtered", "Together", "filtered", "forward", "pooled"]

METHODS = (OCCUPANCY, PLANETSCOPE_OCCUPANCY)
"""Only images of one of these methods are joined: their errors are large and their dates near."""


@dataclass(frozen=True)
class Together:
    """The mean of a run of images that ends with the date judged, and what the history says to it.

    Attributes:
        records: The images, oldest first, the date's own last.
        mean: Their mean count as a record of the date, with the mean's error.
        record: Probability that the true count is above the window's true maximum.
        record_margin: That it is above it by the factor asked of a short record.
        exceedance: Probability that a mean of so many images is as high, if nothing has changed.
        q_exceedance: The same, corrected for the dates of its family; None until that is done.
    """

    records: tuple[Record, ...]
    mean: Record
    record: float
    record_margin: float
    exceedance: float
    q_exceedance: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values (days ISO, counts in cars)."""
        return {
            "ids": [one.id for one in self.records],
            "dates": [one.day.isoformat() for one in self.records],
            "counts": [one.value for one in self.records],
            "mean": rounded(self.mean.value, 1),
            "mean_low": rounded(self.mean.low, 1),
            "mean_high": rounded(self.mean.high, 1),
            "probability_record": rounded(self.record),
            "probability_record_margin": rounded(self.record_margin),
            "probability_exceedance": rounded(self.exceedance),
            "q_exceedance": rounded(self.q_exceedance),
        }


def pooled(records: Sequence[Record], settings: VerdictSettings) -> Record:
    """Return the mean of some images as one record of the last one's date.

    Args:
        records: Counts with errors (see `Record.as_point`), oldest first.
        settings: Gives the share of the error variance that the images have in common.
    """
    common, number = settings.common_error_share, len(records)
    shrunk = math.sqrt(common + (1.0 - common) / number)

    def error(sds: Sequence[float]) -> float:
        return shrunk * math.sqrt(math.fsum(sd * sd for sd in sds) / number)

    value = math.fsum(one.value or 0.0 for one in records) / number
    below, above = error([one.sd_below for one in records]), error([one.sd_above for one in records])
    return replace(
        records[-1],
        kind="count",
        value=value,
        low=max(value - Z90 * below, 0.0),
        high=value + Z90 * above,
        sd_below=below,
        sd_above=above,
    )


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
    error = (settings or VerdictSettings()).method(OCCUPANCY)
    areas: dict[tuple[str, str], list[Observation]] = {}
    for one in observations:
        if one.method == OCCUPANCY and one.count is not None:
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
