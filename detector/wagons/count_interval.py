"""Counts with intervals, from calibrated probabilities."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.intervals import Z90

CLUSTER = 1.0
"""Wagons that are found or missed together, besides what all doubts of a scene have in common.

Of 0, 1, 2, 4 and 8, 1 gave the best intervals (interval score, Gneiting and Raftery 2007) over scenes
of few and of many wagons; left to likelihood it vanishes, since half of the scenes hold none.
"""


_ENOUGH_SCENES = 30  # with wagons, to set the interval's ends by them alone
BANDS = (0.0, 15.0, 40.0)
"""Expected counts at which bands of scenes begin whose intervals are set by themselves."""
_ENOUGH_IN_BAND = 60  # scenes, for one end in twenty to be three of them
_POOLED = 30.0  # scenes that the ends of all bands together weigh in those of one


@dataclass(frozen=True)
class CountInterval:
    """A count and its 90% interval.

    Attributes:
        count: Wagons drawn as boxes.
        low: Lower end of the interval of the true count.
        high: Upper end.
    """

    count: int
    low: int
    high: int

    def to_json(self) -> dict[str, int]:
        """As a mapping."""
        return {"count": self.count, "count_low": self.low, "count_high": self.high}


@dataclass(frozen=True)
class CountModel:
    """What the probabilities of a scene say about its true count.

    The true count of a set of candidates with probabilities p has the mean ``(1 + unseen) * sum(p)``, since
    some wagons raise no candidate at all, and the standard deviation
    ``sqrt(floor + cluster * d + (doubt * d) ** 2)`` with ``d = sum(p * (1 - p))``. The candidates' doubts add
    up and don't cancel: what makes one wagon doubtful (snow, blur, a low sun) makes its neighbours doubtful
    too. On simulated scenes this explains the errors far better than independent doubts or an error in
    proportion to the count. ``cluster * d`` is what is left to chance where few stand: 1 if each wagon were
    found or missed by itself, more if by rakes (the design effect of cluster sampling).
    The interval's ends are the mean less ``below`` and plus ``above`` standard deviations, set on scenes that
    the probabilities were not fitted to so that nine in ten true counts fall between them. What holds nine in
    ten of all scenes may hold fewer of those with few wagons; ``bands`` gives other factors by the expected
    count: rows of (expected count, below, above), between which they are interpolated.
    """

    unseen: float = 0.0
    floor: float = 0.05
    doubt: float = 1.0
    below: float = Z90
    above: float = Z90
    cluster: float = 0.0
    bands: tuple[tuple[float, float, float], ...] = ()

    def interval(
        self, probability: NDArray[np.float64], below_threshold: NDArray[np.float64], *, widening: float = 1.0
    ) -> CountInterval:
        """The count and its interval.

        Args:
            probability: Of the wagons drawn.
            below_threshold: Of the candidates not drawn.
            widening: Factor on the interval's half-widths, for a picture outside what was calibrated.
        """
        count = len(probability)
        mean, deviation = self.moments(np.concatenate([probability, below_threshold]))
        below, above = self.factors(mean)
        low = min(float(count), mean - below * widening * deviation)
        high = max(float(count), mean + above * widening * deviation)
        return CountInterval(count, max(0, int(np.ceil(low - 0.5))), int(np.floor(high + 0.5)))

    def factors(self, mean: float) -> tuple[float, float]:
        """Standard deviations below and above the mean, for an expected count."""
        if not self.bands:
            return self.below, self.above
        at, below, above = np.array(sorted(self.bands)).T
        return float(np.interp(mean, at, below)), float(np.interp(mean, at, above))

    def moments(self, probability: NDArray[np.float64]) -> tuple[float, float]:
        """Mean and standard deviation of the true count."""
        mean = (1 + self.unseen) * float(probability.sum())
        doubts = float((probability * (1 - probability)).sum())
        return mean, float(np.sqrt(self.floor + self.cluster * doubts + (self.doubt * doubts) ** 2))

    def to_json(self) -> dict[str, Any]:
        """As a mapping, for the weights' card."""
        out = asdict(self)
        bands = [list(band) for band in out.pop("bands")]
        return {**out, "bands": bands} if bands else out

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> CountModel:
        """From the weights' card."""
        bands = tuple((float(at), float(low), float(high)) for at, low, high in value.get("bands", ()))
        return cls(**{k: float(v) for k, v in value.items() if k != "bands"}, bands=bands)


def fit_count_model(scenes: list[tuple[NDArray[np.float64], int]], level: float = 0.90) -> CountModel:
    """Fit the count model to scenes with a known count.

    Args:
        scenes: Probabilities of all candidates, and the true count, a scene.
        level: Share of true counts that the interval shall hold.

    The mean is fitted by the ratio of totals; doubt and floor by maximum likelihood under Student's t with
    four degrees of freedom, so that a few scenes gone wrong don't widen the interval of all others; the
    ends by the empirical quantiles of the standardised errors with the finite-sample correction of split
    conformal prediction (Vovk et al. 2005), which answers for those few. Only scenes on which wagons are seen
    set the ends: empty ground is nearly always counted right, and hides that others are held less often.
    Where there are enough of them they are set for bands of the expected count apart (conditional conformal
    prediction; Vovk 2012), since small counts are else held less often than large ones.
    """
    # Only training fits; counting needn't import what it fits with.
    from scipy.optimize import minimize
    from scipy.stats import t as student_t

    true = np.array([n for _, n in scenes], dtype=np.float64)
    total = np.array([p.sum() for p, _ in scenes])
    doubts = np.array([(p * (1 - p)).sum() for p, _ in scenes])
    unseen = float(np.clip(true.sum() / max(total.sum(), 1e-9) - 1.0, -0.3, 0.5))
    mean = (1 + unseen) * total

    def unlikely(logs: NDArray[np.float64]) -> float:
        floor, doubt = np.exp(logs)
        scale = np.sqrt(floor + CLUSTER * doubts + (doubt * doubts) ** 2)
        return float(-student_t.logpdf((true - mean) / scale, 4).sum() + np.log(scale).sum())

    bounds = [(np.log(0.01), np.log(4.0)), (np.log(0.05), np.log(20.0))]
    best = minimize(unlikely, np.log([0.1, 1.0]), bounds=bounds, method="L-BFGS-B")
    floor, doubt = (float(v) for v in np.exp(best.x))
    draft = CountModel(unseen, floor, doubt, cluster=CLUSTER)
    deviation = np.array([draft.moments(p)[1] for p, _ in scenes])
    seen = mean >= 1.0
    if seen.sum() >= _ENOUGH_SCENES:
        true, mean, deviation = true[seen], mean[seen], deviation[seen]
    error = (true - mean) / deviation
    # The reported ends are whole numbers; half a wagon of rounding is part of the interval.
    slack = 0.5 / deviation
    n = len(error)
    share = (1 + level) / 2
    below, above = _ends(error, slack, min(1.0, share * (n + 1) / n))
    bands = []
    for first, last in zip(BANDS, (*BANDS[1:], np.inf), strict=True):
        rows = (mean >= first) & (mean < last)
        if rows.sum() >= _ENOUGH_IN_BAND:
            own = _ends(error[rows], slack[rows], share)
            trust = float(rows.sum() / (rows.sum() + _POOLED))
            ends = (trust * mine + (1 - trust) * all_ for mine, all_ in zip(own, (below, above), strict=True))
            low, high = ends
            bands.append((float(np.median(mean[rows])), low, high))
    return replace(draft, below=below, above=above, bands=tuple(bands) if len(bands) > 1 else ())


def _ends(error: NDArray[np.float64], slack: NDArray[np.float64], share: float) -> tuple[float, float]:
    """Standard deviations below and above the mean, each of which holds a share of the true counts."""
    below, above = (float(np.quantile(np.maximum(sign * error - slack, 0), share)) for sign in (-1.0, 1.0))
    return max(below, 0.1), max(above, 0.1)
