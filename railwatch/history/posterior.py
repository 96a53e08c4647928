"""The distribution of a place's past: a negative binomial with season, seen through each observation's error.

The number of cars on a day is N ~ NegBin(mean mu(month), dispersion k), with
log mu = a + A cos(2 pi (month - phase) / 12). The posterior over (a, k, A, phase) is summed over a grid,
so that what a short history doesn't know about its own distribution widens what it expects. "No season" (A =
0) has half of the prior, so that a season counts as far as the observations support it.

The distributions are tabulated once a process. Then each past observation costs one row, and every window's
posterior is a weighted sum of rows: no optimiser, no random numbers, the same answer on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln, ndtr, ndtri

from railwatch.history.record import FloatArray, Record, lower_tail, most_precise, upper_tail
from railwatch.history.settings import VerdictSettings

LOG_MEAN_STEP = 0.06
_LOG_MEAN_LOW = math.log(0.05)
_SIZES = np.exp(np.linspace(math.log(0.1), math.log(60.0), 24))
_SINGLE = 96
_GROWTH = 0.025

# A yard's mean is somewhere between a car and a few hundred: wide, but not so wide that a ceiling alone
# would mean an empty yard.
_PRIOR_MEAN, _PRIOR_MEAN_SD = math.log(10.0), 1.5
# Counts of parked vehicles scatter more than Poisson; k near 2 with a factor of e either way.
_PRIOR_SIZE, _PRIOR_SIZE_SD = math.log(2.0), 1.0


@dataclass(frozen=True, eq=False)
class CountDistributions:
    """Negative binomial distributions over a grid of parameters.

    Attributes:
        cars: Numbers of cars that stand for the bins: every number up to 96, then bins 2.5% wide, (B,).
        log_mean: Grid of log means, (U,), in steps of ``LOG_MEAN_STEP``.
        log_prior: Log prior over (log mean, log dispersion), (U, K).
        mass: Probability of each bin under each distribution, (U, K, B); the last bin holds all beyond.
        vague: A distribution that knows nothing: probability falls as 1 / (n + 1), (B,).
    """

    cars: FloatArray
    log_mean: FloatArray
    log_prior: FloatArray
    mass: FloatArray
    vague: FloatArray


def distributions_for(highest: float) -> CountDistributions:
    """Return the distributions whose grid reaches well past the highest count of a series.

    The grid grows in steps of four, so that a verdict doesn't hang on the exact highest count.
    """
    top = 4000
    while top < 4.0 * highest:
        top *= 4
    return _tabulated(top)


@lru_cache(maxsize=2)
def _tabulated(top: int) -> CountDistributions:
    edges = [float(n) - 0.5 for n in range(_SINGLE + 1)]
    while edges[-1] < top:
        edges.append(edges[-1] + max(1.0, round(_GROWTH * edges[-1])))
    borders = np.array(edges)
    width = np.diff(borders)
    cars = (borders[:-1] + borders[1:]) / 2.0
    log_mean = np.arange(_LOG_MEAN_LOW, math.log(top / 2.0), LOG_MEAN_STEP)
    mean = np.exp(log_mean)[:, None, None]
    size = _SIZES[None, :, None]
    n = cars[None, None, :]
    log_mass = (
        gammaln(n + size)
        - gammaln(size)
        - gammaln(n + 1.0)
        + size * np.log(size / (size + mean))
        + n * np.log(mean / (size + mean))
        + np.log(width)
    )
    mass = np.exp(log_mass)
    mass[..., -1] += np.clip(1.0 - mass.sum(axis=-1), 0.0, None)
    mass /= mass.sum(axis=-1, keepdims=True)
    log_prior = (
        -0.5 * ((log_mean[:, None] - _PRIOR_MEAN) / _PRIOR_MEAN_SD) ** 2
        - 0.5 * ((np.log(_SIZES)[None, :] - _PRIOR_SIZE) / _PRIOR_SIZE_SD) ** 2
    )
    vague = width / (cars + 1.0)
    return CountDistributions(
        cars=cars,
        log_mean=log_mean,
        log_prior=log_prior,
        mass=mass,
        vague=vague / vague.sum(),
    )


IntArray = npt.NDArray[np.int64]

_TINY = 1e-300
# Rows of the grid that can matter: those within this log-likelihood of the best ...
_KEEP_LOG = 25.0
# ... and so many steps beside them, because a seasonal distribution's geometric mean lies under its mean.
_KEEP_STEPS = 8
# Dispersions with less posterior weight than this don't take part in the maximum.
_NEGLIGIBLE = 1e-3
_AMPLITUDES = (0.2, 0.4, 0.6, 0.8, 1.0)
_AMPLITUDE_SD = 0.6


def _seasons() -> tuple[IntArray, FloatArray]:
    """Return each seasonal shape as steps of log mean a month, (S, 12), and its log prior, (S,)."""
    months = np.arange(12)
    waves = [(amplitude, phase) for amplitude in _AMPLITUDES for phase in range(12)]
    shapes = [np.zeros(12), *(a * np.cos(2.0 * np.pi * (months - phase) / 12.0) for a, phase in waves)]
    weights = [0.0, *(math.exp(-0.5 * (a / _AMPLITUDE_SD) ** 2) for a, _ in waves)]
    prior = np.array(weights) / sum(weights)
    prior[0] = 1.0
    return np.rint(np.array(shapes) / LOG_MEAN_STEP).astype(np.int64), np.log(prior / 2.0)


_SHIFTS, _SEASON_LOG_PRIOR = _seasons()
_WIDEST = int(np.abs(_SHIFTS).max())


@dataclass(frozen=True, eq=False)
class _Distribution:
    """Posterior of a window's distribution.

    Attributes:
        by_size: Predictive distribution for each dispersion and month, times its weight, (K, 12, B).
        size_weights: Posterior of the dispersion, (K,).
        season_weight: Posterior probability of a season.
    """

    by_size: FloatArray
    size_weights: FloatArray
    season_weight: float

    @property
    def expected(self) -> FloatArray:
        """Predictive distribution of each month, (12, B)."""
        return np.asarray(self.by_size.sum(axis=0), dtype=np.float64)


class ObservedCounts:
    """The clear observations of one place, tabulated once; every window of them is then cheap.

    Attributes:
        distributions: The grid.
        ordinals: Day of each observation, (n,).
        months: Month of each, 0-11, (n,).
        counts: Best count of each, NaN where only a bound is known, (n,).
        like: Likelihood of each number of cars, its largest value 1, (n, B).
        log_like: Log-likelihood under each distribution, (n, U, K).
        tail: Probability of a look at least as high, for each true number; NaN for bounds, (n, B).
    """

    def __init__(self, observations: Sequence[Sequence[Record]], distributions: CountDistributions) -> None:
        """Tabulates the observations.

        Args:
            observations: The records of each observation, oldest first, all on the scale of one method.
            distributions: The grid of distributions.
        """
        self.distributions = distributions
        size = distributions.cars.size
        days = [observation[0].day for observation in observations]
        self.ordinals = np.array([day.toordinal() for day in days], dtype=np.float64)
        self.months: IntArray = np.array([day.month - 1 for day in days], dtype=np.int64)
        number = len(observations)
        self.counts = np.full(number, np.nan)
        self.like, self.tail = np.empty((number, size)), np.full((number, size), np.nan)
        for row, observation in enumerate(observations):
            log_like = np.sum([record.log_likelihood(distributions.cars) for record in observation], axis=0)
            self.like[row] = np.exp(log_like - log_like.max())
            best = most_precise(observation)
            if best is not None and best.value is not None:
                self.counts[row] = best.value
                self.tail[row] = upper_tail(best, distributions.cars)
        flat = distributions.mass.reshape(-1, size)
        log_like = np.log(np.maximum(self.like @ flat.T, _TINY))
        self.log_like = log_like.reshape(number, *distributions.log_prior.shape)

    def fit(
        self,
        first: int,
        last: int,
        ceilings: Sequence[tuple[Record, float]],
        information: float,
        settings: VerdictSettings,
    ) -> Posterior:
        """Fit the observations ``first`` up to, and without, ``last``.

        Args:
            first: Index of the first observation in the window.
            last: Index after the last one.
            ceilings: Published ceilings that overlap the window, each with the observations assumed behind it
                inside the window.
            information: How much of an observation's information is its own (0-1): effective observations /
                observations.
            settings: The thresholds for season and outliers.
        """
        window = slice(first, last)
        months = self.months[window]
        seasonal = (
            last - first >= settings.season_looks and int(np.unique(months).size) >= settings.season_months
        )
        ceiling_rows = [
            (observations, self._log_under((record.value or 0.0) + record.sd_above))
            for record, observations in ceilings
        ]
        equal = np.full(last - first, information)
        every = distribution = self._fitted(window, equal, ceiling_rows, seasonal)
        residual = self._residuals(window, every.expected)
        outlying = (settings.outlier_z / np.maximum(residual, settings.outlier_z)) ** 2
        if (outlying < 1.0).any():
            distribution = self._fitted(window, equal * outlying, ceiling_rows, seasonal)
        return Posterior(
            distributions=self.distributions,
            expected=distribution.expected,
            expected_all=every.expected,
            season_weight=distribution.season_weight,
            outliers=int((outlying < 1.0).sum()),
            log_maximum=self._log_maximum(window, distribution, ceilings, settings.past_surprise),
        )

    def _log_under(self, cars: float) -> FloatArray:
        """Log probability of at most so many cars under each distribution, (U, K)."""
        bins = int(np.searchsorted(self.distributions.cars, cars, side="right"))
        under = self.distributions.mass[..., :bins].sum(axis=-1)
        return np.asarray(np.log(np.maximum(under, _TINY)), dtype=np.float64)

    def _fitted(
        self,
        window: slice,
        weights: FloatArray,
        ceilings: Sequence[tuple[float, FloatArray]],
        seasonal: bool,
    ) -> _Distribution:
        """The posterior of the past's distribution."""
        distributions = self.distributions
        states = distributions.log_prior.shape
        # What the observations of each month say about each distribution; a ceiling speaks for all months
        # alike.
        by_month = np.zeros((12, *states))
        log_like = self.log_like[window]
        for month in np.unique(self.months[window]):
            chosen = self.months[window] == month
            by_month[month] = np.tensordot(weights[chosen], log_like[chosen], axes=1)
        for observations, under in ceilings:
            by_month += observations / 12.0 * under
        level = by_month.sum(axis=0) + distributions.log_prior
        if not seasonal:
            weight = np.exp(level - level.max())
            weight /= weight.sum()
            by_size = np.einsum("uk,ukb->kb", weight, distributions.mass)
            return _Distribution(np.repeat(by_size[:, None, :], 12, axis=1), weight.sum(axis=0), 0.0)
        rows = np.flatnonzero((level > level.max() - _KEEP_LOG).any(axis=1))
        low = max(int(rows[0]) - _KEEP_STEPS, 0)
        high = min(int(rows[-1]) + _KEEP_STEPS + 1, states[0])
        size = high - low
        # The rows that a season can shift these to; a distribution beyond the grid's end is the distribution
        # at its end.
        reached = np.clip(np.arange(low - _WIDEST, high + _WIDEST), 0, states[0] - 1)
        says = by_month[:, reached]
        log_posterior = np.empty((len(_SHIFTS), size, states[1]))
        for season, (shift, log_prior) in enumerate(zip(_SHIFTS, _SEASON_LOG_PRIOR, strict=True)):
            log_posterior[season] = distributions.log_prior[low:high] + log_prior
            for month, begin in enumerate(_WIDEST + shift):
                log_posterior[season] += says[month, begin : begin + size]
        posterior = np.exp(log_posterior - log_posterior.max())
        posterior /= posterior.sum()
        spread = np.zeros((12, reached.size, states[1]))
        for season, shift in enumerate(_SHIFTS):
            for month, begin in enumerate(_WIDEST + shift):
                spread[month, begin : begin + size] += posterior[season]
        by_size = np.einsum("muk,ukb->kmb", spread, distributions.mass[reached], optimize=True)
        return _Distribution(by_size, posterior.sum(axis=(0, 1)), float(1.0 - posterior[0].sum()))

    def _residuals(self, window: slice, expected: FloatArray) -> FloatArray:
        """Normal residual of each observation against the expectation of its month; 0 for bounds, (n,)."""
        tail = np.nansum(expected[self.months[window]] * self.tail[window], axis=1)
        known = np.isfinite(self.counts[window])
        return np.where(known, -ndtri(np.clip(tail, 1e-12, 1.0 - 1e-12)), 0.0)

    def _log_maximum(
        self,
        window: slice,
        distribution: _Distribution,
        ceilings: Sequence[tuple[Record, float]],
        surprise: float,
    ) -> FloatArray:
        """Log probability that no true count of the window is above each number of cars, (B,).

        The observations share one distribution. Averaging over what isn't known about its dispersion
        observation by observation would give some observation a heavy-tailed one for sure, so the average is
        taken over whole windows.
        """
        cars = self.distributions.cars
        months = self.months[window]
        like = self._under_ceilings(window, ceilings)
        shares = distribution.size_weights / distribution.size_weights.sum()
        maximum = np.zeros(cars.size)
        for size in np.flatnonzero(shares > _NEGLIGIBLE):
            expected = distribution.by_size[size] / distribution.size_weights[size]
            prior = (1.0 - surprise) * expected + surprise * self.distributions.vague
            under = np.cumsum(like * prior[months], axis=1)
            under /= under[:, -1:]
            maximum += shares[size] * np.exp(np.log(np.maximum(under, _TINY)).sum(axis=0))
        log_maximum = np.log(np.maximum(maximum / maximum[-1], _TINY))
        for record, _ in ceilings:
            log_maximum = log_maximum + np.log(
                np.maximum(ndtr((cars + 0.5 - (record.value or 0.0)) / record.sd_above), _TINY)
            )
        return np.asarray(log_maximum, dtype=np.float64)

    def _under_ceilings(self, window: slice, ceilings: Sequence[tuple[Record, float]]) -> FloatArray:
        """Likelihoods of the window, where those known only as "at least" stay under their ceilings."""
        like = self.like[window]
        open_above = ~np.isfinite(self.counts[window])
        for record, _ in ceilings:
            days = self.ordinals[window]
            inside = (days >= record.day.toordinal()) & (days <= record.until.date().toordinal())
            room = ndtr(((record.value or 0.0) + 0.5 - self.distributions.cars) / record.sd_above)
            like = np.where((inside & open_above)[:, None], like * np.maximum(room, _TINY), like)
        return like


@dataclass(frozen=True, eq=False)
class Posterior:
    """What the past of a window lets one expect.

    Attributes:
        distributions: The grid of distributions.
        expected: Posterior predictive distribution of the true number of cars for each month, past anomalies
            down-weighted, (12, B).
        expected_all: The same with every past look at full weight.
        season_weight: Posterior probability that the place has a season (0-1).
        outliers: Past observations that were down-weighted.
        log_maximum: Log probability that no true count of the window is above each number, (B,).
    """

    distributions: CountDistributions
    expected: FloatArray
    expected_all: FloatArray
    season_weight: float
    outliers: int
    log_maximum: FloatArray

    def exceedance(self, record: Record, *, every_observation: bool = False) -> float:
        """Return the probability that one more observation gives a count at least as high as the record's.

        The observation's own error is inside, and so is what is not known about the distribution.

        Args:
            record: The count judged (a point with an error).
            every_observation: Past anomalies at full weight.
        """
        expected = self.expected_all if every_observation else self.expected
        return _share(expected[record.when.month - 1] @ upper_tail(record, self.distributions.cars))

    def shortfall(self, record: Record) -> float:
        """Return the probability that one more observation gives a count at most as high as the record's."""
        return _share(self.expected[record.when.month - 1] @ lower_tail(record, self.distributions.cars))

    def record_probability(self, record: Record, surprise: float, margin: float = 1.0) -> float:
        """Return the probability that the true count is above the window's true maximum.

        Args:
            record: The count judged (a point with an error).
            surprise: Prior probability that the date has nothing to do with the past's distribution.
            margin: Ask for more than so many times the maximum.
        """
        cars = self.distributions.cars
        prior = (1.0 - surprise) * self.expected[record.when.month - 1] + surprise * self.distributions.vague
        log_like = record.log_likelihood(cars)
        truth = np.exp(log_like - log_like.max()) * prior
        # Strictly above: the highest bin that lies under n / margin.
        below = np.searchsorted(cars, cars / margin - 1e-9, side="left") - 1
        beaten = np.where(below >= 0, np.exp(self.log_maximum[np.maximum(below, 0)]), 0.0)
        return _share(float(truth @ beaten) / float(truth.sum()))

    def quantiles(self, month: int, shares: Sequence[float]) -> list[float]:
        """Return quantiles (of shares between 0 and 1) of the number of cars expected in a month (1-12)."""
        under = np.cumsum(self.expected[month - 1])
        bins = np.minimum(np.searchsorted(under, shares), self.distributions.cars.size - 1)
        return [float(self.distributions.cars[index]) for index in bins]


def _share(value: float) -> float:
    return float(min(max(value, 0.0), 1.0))
