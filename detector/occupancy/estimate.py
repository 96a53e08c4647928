"""What one image says about how much of a yard is occupied, and how its intervals are calibrated.

The network says how far above and below its answer the truth may lie. By band of the answer, each side is
stretched so that on held-out sites the truth lies beyond it once in twenty times (split-conformal
calibration: Y. Romano, E. Patterson, E. J. Candes, "Conformalized quantile regression", NeurIPS 2019). Dates
of one site are alike, so that no site counts more than another, however many dates it has (R. Dunn,
L. Wasserman, A. Ramdas, "Distribution-free prediction sets for two-layer hierarchical models", JASA 2023: the
pooled distributions of the sites). Within a band a site counts by its share of dates there: a yard whose
answers fall into a band once, by a rare miss, must not weigh there as much as one that is always in it. With
equal weights in every band, as until 2026-11-30, 99 of 100 intervals held the truth between 8 and 20 cars.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.intervals import LEVEL


class FigureInterval(NamedTuple):
    """A figure with its 90% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Pitch:
    """Track length that a freight car takes, coupler to coupler, metres.

    Cars of 12 to 15 m dominate the 1520 mm network, cars of 15 to 20 m Europe's and China's, longer ones
    North America's; which ones stand in a yard can't be seen at 10 m. A yard's own pitch is declared in the
    settings or comes from its fine images.

    Attributes:
        mean_m: Of a yard's cars.
        sd_m: How much yards differ from each other.
    """

    mean_m: float
    sd_m: float


@dataclass(frozen=True)
class OccupancyEstimate:
    """How much of a yard is occupied on one date.

    Attributes:
        length: Occupied track length, metres.
        count: Freight cars, by the pitch.
        at_least: Whether the figures are lower bounds: above the range in which counts can be trusted.
        trusted_to: Count from which they are.
        zones: By zone id, freight cars.
        zone_lengths: By zone id, metres.
        pitch: That the count rests on.
        budget: Standard deviation in freight cars by cause: where the width of the interval comes from.
        density: (h, w) metres of occupied track in each cell of the yard's frame.
        used_tracks: Whether track lines were used.
        warnings: Sentences for whoever reads the figures.
        uninformative: Why the figures say nothing (their interval is as wide as the yard), a sentence; None
            if they do.
    """

    length: FigureInterval
    count: FigureInterval
    at_least: bool
    trusted_to: float
    zones: Mapping[str, FigureInterval]
    zone_lengths: Mapping[str, FigureInterval]
    pitch: Pitch
    budget: Mapping[str, float]
    density: NDArray[np.float32] = field(repr=False)
    used_tracks: bool = True
    warnings: tuple[str, ...] = ()
    uninformative: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The figures as plain JSON values, without the density."""
        return {
            "length_m": [round(v, 1) for v in self.length],
            "count": [round(v, 1) for v in self.count],
            "at_least": self.at_least,
            "trusted_to": self.trusted_to,
            "pitch_m": [self.pitch.mean_m, self.pitch.sd_m],
            "budget": {name: round(sd, 2) for name, sd in self.budget.items()},
            "used_tracks": self.used_tracks,
        }


F64 = NDArray[np.float64]

EDGES = (0.0, 2.5, 8.0, 20.0, 50.0, 100.0, 150.0)
"""Answers, in cars, between which each band is calibrated by itself; the last has no upper end."""

TAIL = (1.0 - LEVEL) / 2.0
_FEWEST = 30


@dataclass(frozen=True)
class ConformalScaling:
    """How much the two sides of an interval are stretched, by answer.

    Attributes:
        at: Answers in cars, ascending.
        below: Factor of the lower side at each.
        above: Factor of the upper side.
    """

    at: tuple[float, ...]
    below: tuple[float, ...]
    above: tuple[float, ...]

    def factors(self, cars: float | F64) -> tuple[F64, F64]:
        """Factors of the lower and the upper side for answers."""
        x, knots = np.log1p(np.asarray(cars, dtype=np.float64)), np.log1p(np.asarray(self.at))
        return np.interp(x, knots, self.below), np.interp(x, knots, self.above)

    def to_json(self) -> dict[str, list[float]]:
        """As plain JSON values."""
        return {name: [round(v, 4) for v in getattr(self, name)] for name in ("at", "below", "above")}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ConformalScaling:
        """From plain JSON values."""
        return cls(*(tuple(float(v) for v in values[name]) for name in ("at", "below", "above")))


def calibration_of(card: Mapping[str, Any]) -> tuple[ConformalScaling, ConformalScaling, Pitch]:
    """Calibration of length and count, and the pitch, from a card.

    Raises:
        KeyError, TypeError, ValueError: The card lacks it.
    """
    length, count = (ConformalScaling.from_json(card[f"{name}_stretch"]) for name in ("length", "count"))
    mean, sd = card["pitch_m"]
    return length, count, Pitch(float(mean), float(sd))


def fit_stretch(
    answer: F64, below: F64, above: F64, truth: F64, site: NDArray[np.int64], *, car: float
) -> ConformalScaling:
    """Fit the factors.

    Args:
        answer: What was said, in any unit (N,).
        below: How far below it the truth may lie, uncalibrated (N,).
        above: How far above (N,).
        truth: (N,).
        site: Number of the site (N,).
        car: What a car is in the unit: 1 for counts, the pitch for metres.

    Raises:
        ValueError: There are no answers.
    """
    if not len(answer):
        raise ValueError("there are no answers to calibrate on")
    cars = answer / car
    knots, lower, upper = [], [], []
    bands = [(cars >= low) & (cars < high) for low, high in zip(EDGES, (*EDGES[1:], np.inf), strict=True)]
    bands = [rows for rows in bands if rows.sum() >= _FEWEST] or [np.ones(len(cars), np.bool_)]
    _, index = np.unique(site, return_inverse=True)
    share = 1.0 / np.bincount(index)[index]
    for rows in bands:
        weight = share[rows]
        over = (truth[rows] - answer[rows]) / np.maximum(above[rows], 1e-6)
        under = (answer[rows] - truth[rows]) / np.maximum(below[rows], 1e-6)
        knots.append(float(np.average(cars[rows], weights=weight)))
        level = min(1.0, (1 - TAIL) * (1 + 1 / int(rows.sum())))
        upper.append(max(0.05, _quantile(over, weight, level)))
        lower.append(max(0.05, _quantile(under, weight, level)))
    return ConformalScaling(tuple(knots), tuple(lower), tuple(upper))


def _quantile(values: F64, weight: F64, level: float) -> float:
    order = np.argsort(values)
    share = np.cumsum(weight[order]) / weight.sum()
    return float(values[order][min(int(np.searchsorted(share, level)), len(values) - 1)])
