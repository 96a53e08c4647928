"""Negative binomial distributions on a grid: numbers of cars, all means and dispersions they may have.

A verdict must count in how little a short history says about its own distribution. With the distribution
tabulated over a grid of means and dispersions once a process, each past observation costs one row, and every
window's posterior is a weighted sum of rows: no optimiser, no random numbers, the same answer on every
machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import gammaln

from railwatch.history.record import FloatArray

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
        width: Numbers in each bin, (B,).
        log_mean: Grid of log means, (U,), in steps of ``LOG_MEAN_STEP``.
        log_prior: Log prior over (log mean, log dispersion), (U, K).
        mass: Probability of each bin under each distribution, (U, K, B); the last bin holds all beyond.
        vague: A distribution that knows nothing: probability falls as 1 / (n + 1), (B,).
    """

    cars: FloatArray
    width: FloatArray
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
    return _laws(top)


@lru_cache(maxsize=2)
def _laws(top: int) -> CountDistributions:
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
    log_size = np.log(_SIZES)
    log_prior = (
        -0.5 * ((log_mean[:, None] - _PRIOR_MEAN) / _PRIOR_MEAN_SD) ** 2
        - 0.5 * ((log_size[None, :] - _PRIOR_SIZE) / _PRIOR_SIZE_SD) ** 2
    )
    vague = width / (cars + 1.0)
    return CountDistributions(
        cars=cars,
        width=width,
        log_mean=log_mean,
        log_prior=log_prior,
        mass=mass,
        vague=vague / vague.sum(),
    )
