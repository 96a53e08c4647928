"""What the history is made of: one record a statement about a place, whoever made it.

An observation of our own, a published count, "at least 8 cars", "a train of 170 m" and "about 20 at most
in five years" say different things. A `Record` keeps what was said, and `log_likelihood` says how well a
true number of cars agrees with it. Nothing here decides anything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import log_ndtr, ndtr

from detector.intervals import Z90
from railwatch import words
from railwatch.history.settings import MethodError, VerdictSettings

if TYPE_CHECKING:
    from railwatch.store.observation import Observation

FloatArray = npt.NDArray[np.float64]

Kind = Literal["count", "range", "at least", "at most", "ceiling", "missing"]


@dataclass(frozen=True, kw_only=True)
class Record:
    """One statement about the number of freight cars at a place.

    Attributes:
        id: Id of the observation or of the published row.
        aoi: The place.
        when: Time it is about, UTC; for a ceiling the beginning of its period.
        until: End of the period (only a ceiling's differs from ``when``).
        kind: ``count`` a number with an error; ``range`` two ends between which the truth lies;
            ``at least`` and ``at most`` bounds on this one observation; ``ceiling`` a bound on the highest of
            many observations in a period; ``missing`` no answer (clouds, an abstained detector).
        method: How it was counted: ``wagons``, ``occupancy``, ``reviewed`` or ``published``.
        value: The count, the middle of a range or the bound; None when missing.
        low: Lower end of the 90% interval or of the range.
        high: Upper end.
        sd_below: Standard deviation of the truth below ``value`` (a two-piece normal distribution), in cars.
        sd_above: The same above it. For bounds both are the error of the bound itself.
        growth: How the error grows with the true number n, for each car: both standard deviations are those
            at ``value``, and at n they are hypot(1, growth n) / hypot(1, growth value) of that. A few cars at
            10 m err by a few, whatever a full yard errs by.
        source: Who says so: the publisher, or the sensor of our own observation.
        scene: Id of the scene, or the published article's address.
        reason: Why there is no answer, if there is none.
        length_m: Occupied track, metres, where that was measured first and the count follows from it.
        length_low_m: Lower end of its 90% interval.
        length_high_m: Upper end.
        approximate: Whether it was published as an approximate figure ("about 73").
        caveats: What a reader of the count must know, as clauses that can follow "note that".
    """

    id: str
    aoi: str
    when: datetime
    until: datetime
    kind: Kind
    method: str
    value: float | None
    low: float | None
    high: float | None
    sd_below: float = 1.0
    sd_above: float = 1.0
    growth: float = 0.0
    source: str = ""
    scene: str = ""
    reason: str | None = None
    length_m: float | None = None
    length_low_m: float | None = None
    length_high_m: float | None = None
    approximate: bool = False
    caveats: tuple[str, ...] = ()

    @property
    def day(self) -> date:
        """The day (UTC) it is about."""
        return self.when.date()

    @property
    def clear(self) -> bool:
        """Whether it says something about the number of cars on its day."""
        return self.kind not in ("missing", "ceiling")

    @property
    def bounded(self) -> bool:
        """Whether it says how many cars there were at most, so that it counts as an observation."""
        return self.kind in ("count", "range", "at most")

    @property
    def cars(self) -> float:
        """The count, or the bound, of a record that isn't missing."""
        if self.value is None:
            raise ValueError("a missing record has no number of cars")
        return self.value

    @property
    def variance(self) -> float:
        """The error's variance, of both sides together, in cars squared."""
        return ((self.sd_below + self.sd_above) / 2.0) ** 2

    def log_likelihood(self, cars: FloatArray) -> FloatArray:
        """Return the log-likelihood of true numbers of cars, up to a constant.

        Args:
            cars: True numbers, any shape.

        Returns:
            The same shape; each kind's likelihood is log-concave in the distance to the statement, so
            that a higher statement always speaks for more cars.

        Raises:
            ValueError: If the record is missing or a ceiling, which speak of no single observation.
        """
        if self.value is None or not self.clear:
            raise ValueError(f"a record of kind {self.kind!r} has no likelihood of its own")
        if self.kind == "range" and self.low is not None and self.high is not None:
            scale = self.sd_below
            return _log_between((self.low - 0.5 - cars) / scale, (self.high + 0.5 - cars) / scale)
        if self.kind == "at least":
            return np.asarray(log_ndtr((cars - self.value + 0.5) / self.sd_below), dtype=np.float64)
        if self.kind == "at most":
            return np.asarray(log_ndtr((self.value + 0.5 - cars) / self.sd_above), dtype=np.float64)
        if self.value <= 0.0:
            # An estimate can't go below 0, so that 0 stands for everything at or under it.
            return np.asarray(log_ndtr(-cars / self.sd_above), dtype=np.float64)
        distance, at = cars - self.value, self.error_at(cars)
        scales = np.where(distance > 0, self.sd_above, self.sd_below) * at
        return np.asarray(-0.5 * (distance / scales) ** 2 - np.log(at), dtype=np.float64)

    def error_at(self, cars: FloatArray) -> FloatArray:
        """Return the error at true numbers of cars as a multiple of that at the count."""
        if self.growth == 0.0 or self.value is None:
            return np.ones_like(cars)
        return np.hypot(1.0, self.growth * cars) / math.hypot(1.0, self.growth * self.value)

    def as_point(self) -> Record:
        """Return the record as a count with an error, which is how a date is judged.

        A range becomes its middle with its ends as a 90% interval. A lower bound stands for itself:
        the least the count can be, so that a verdict on it is careful on the high side.
        """
        if self.kind != "range" or self.low is None or self.high is None or self.value is None:
            return self if self.kind == "count" else replace(self, kind="count")
        below = math.hypot((self.value - self.low) / Z90, self.sd_below)
        above = math.hypot((self.high - self.value) / Z90, self.sd_above)
        return replace(self, kind="count", sd_below=below, sd_above=above)

    def widened(self, bias_share: float) -> Record:
        """Return the record with an unknown systematic error, a share of the count, added to its own."""
        bias = bias_share * max(self.cars, 1.0)
        return replace(
            self, sd_below=math.hypot(self.sd_below, bias), sd_above=math.hypot(self.sd_above, bias)
        )

    def rescaled(self, gain: float, offset: float, sd: float) -> Record:
        """Return the record on another method's scale, undoing ``count = gain * truth + offset``.

        Args:
            gain: Cars of this method for each car of the other.
            offset: Cars of this method where the other counts none.
            sd: Further error of a single pair that the line leaves, in cars of the other method.
        """

        def back(count: float | None) -> float | None:
            return None if count is None else max((count - offset) / gain, 0.0)

        return replace(
            self,
            value=back(self.value),
            low=back(self.low),
            high=back(self.high),
            sd_below=math.hypot(self.sd_below / gain, sd),
            sd_above=math.hypot(self.sd_above / gain, sd),
        )


def _log_between(lower: FloatArray, upper: FloatArray) -> FloatArray:
    """Return log(Phi(upper) - Phi(lower)) without losing the tails."""
    flip = lower > 0
    low, high = np.where(flip, -upper, lower), np.where(flip, -lower, upper)
    log_low, log_high = log_ndtr(low), log_ndtr(high)
    return np.asarray(log_high + np.log1p(-np.exp(np.minimum(log_low - log_high, -1e-12))), dtype=np.float64)


def upper_tail(record: Record, cars: FloatArray) -> FloatArray:
    """Return P(an observation with this record's error is at least as high as it | true cars)."""
    return _two_piece_cdf(
        (cars - record.cars + 0.5) / record.error_at(cars), record.sd_below, record.sd_above
    )


def lower_tail(record: Record, cars: FloatArray) -> FloatArray:
    """Return P(an observation with this record's error is at most as high as it | true cars)."""
    return 1.0 - _two_piece_cdf(
        (cars - record.cars - 0.5) / record.error_at(cars), record.sd_below, record.sd_above
    )


def _two_piece_cdf(x: FloatArray, below: float, above: float) -> FloatArray:
    """Distribution function of the two-piece normal distribution with its mode at 0 (John 1982)."""
    total = below + above
    left = 2.0 * below / total * ndtr(x / below)
    right = below / total + 2.0 * above / total * (ndtr(x / above) - 0.5)
    return np.asarray(np.where(x < 0, left, right), dtype=np.float64)


# --------------------------------------------------------------------------------------------------
# Where records come from


OCCUPANCY = "occupancy"
PLANETSCOPE_OCCUPANCY = "occupancy-planetscope"
"""The method of a history's records of occupancy on PlanetScope scenes: the same estimator has another level
by another instrument, so that its series is one of its own."""


def method_of(observation: Observation) -> str:
    """An observation's method in a history, where each constellation's occupancy is one by itself."""
    if observation.method == OCCUPANCY and "PlanetScope" in observation.sensor:
        return PLANETSCOPE_OCCUPANCY
    return observation.method


def stored_method(method: str) -> str:
    """A record's method as observations in a store name it.

    Example:
        >>> stored_method("occupancy-planetscope")
        'occupancy'
    """
    return OCCUPANCY if method == PLANETSCOPE_OCCUPANCY else method


def from_observation(observation: Observation, settings: VerdictSettings) -> Record:
    """Return an observation of our own as a record.

    A count takes its error from its own 90% interval, and from the method's where it has none; the part
    of the area that wasn't seen widens it upwards. Above the range in which a count can be trusted it is a
    lower bound. An observation that gives only an occupied length is a range of cars of the declared lengths.
    """
    method = method_of(observation)
    error = settings.method(method)
    common: dict[str, Any] = {
        "id": observation.id,
        "aoi": observation.aoi,
        "when": observation.datetime,
        "until": observation.datetime,
        "method": method,
        "source": observation.sensor_named,
        "growth": error.growth,
        "scene": observation.scene,
        "caveats": caveats_of(observation),
    }
    if observation.count is not None and not observation.abstained:
        count = float(observation.count)
        low, high = observation.count_low, observation.count_high
        below, above = errors_of(count, low, high, error)
        seen = observation.clear_fraction * (1.0 - observation.hidden_fraction)
        if 0.0 < seen < 1.0:
            # What wasn't seen may hold cars as densely as what was.
            above = math.hypot(above, (1.0 - seen) / seen * max(count, 1.0))
        if observation.method == "occupancy":
            common |= {
                "length_m": observation.occupied_length_m,
                "length_low_m": observation.occupied_length_low_m,
                "length_high_m": observation.occupied_length_high_m,
            }
        kind: Kind = "at least" if observation.lower_bound else "count"
        return Record(kind=kind, value=count, low=low, high=high, sd_below=below, sd_above=above, **common)
    if observation.occupied_length_m is not None and not observation.abstained:
        shortest = observation.occupied_length_low_m or observation.occupied_length_m
        longest = observation.occupied_length_high_m or observation.occupied_length_m
        middle, least, most = settings.car_length_m
        return Record(
            kind="range",
            value=observation.occupied_length_m / middle,
            low=shortest / most,
            high=longest / least,
            sd_below=error.sd_cars,
            sd_above=error.sd_cars,
            **common,
        )
    reason = observation.reason or "no count"
    return Record(kind="missing", value=None, low=None, high=None, reason=reason, **common)


_SEEN_WHOLE = 0.95
"""A smaller part of the area seen is told wherever the count is."""

_CROSS_CHECK = re.compile(r"classical estimator|cross-check", re.IGNORECASE)


def is_simulated(sensor: str) -> bool:
    """Return whether a sensor's images are simulated, as those of the samples are and say."""
    return sensor.lower().startswith("simulated")


def caveats_of(observation: Observation) -> tuple[str, ...]:
    """Return what a reader of an observation's count must know, as clauses that can follow "note that".

    A simulated image, an area that was seen in part or is hidden in part, and a cross-check that disagrees;
    the observation's other warnings stay with its evidence.
    """
    found = []
    if is_simulated(observation.sensor):
        found.append("the image is simulated")
    if observation.clear_fraction < _SEEN_WHOLE:
        found.append(f"only {words.fraction_seen(observation.clear_fraction)} of the area was seen")
    if observation.hidden_fraction > 0.0:
        found.append(f"{words.fraction_seen(observation.hidden_fraction)} of the area is hidden from above")
    if any(_CROSS_CHECK.search(warning) for warning in observation.warnings):
        found.append("a second estimator disagrees with it")
    return tuple(found)


def errors_of(count: float, low: float | None, high: float | None, error: MethodError) -> tuple[float, float]:
    """Return the standard deviations below and above a count.

    Args:
        count: Freight cars.
        low: Lower end of the count's 90% interval, if it has one.
        high: Upper end.
        error: The method's own error, used where there is no interval and as the least of one.
    """
    above = error.sd(count) if high is None else max((high - count) / Z90, error.sd_cars)
    below = error.sd(count) if low is None else max((count - low) / Z90, error.sd_cars)
    if low is not None and low <= 0.0:
        below = max(below, above)  # the interval was cut off at 0
    return below, above


def count_interval(count: float) -> tuple[float, float]:
    """Return the 90% interval of a reviewer's count where the reviewer gives none, in whole cars."""
    half = Z90 * VerdictSettings().method("reviewed").sd(count)
    return float(max(0, math.ceil(count - half - 0.5))), float(math.floor(count + half + 0.5))


def most_precise(observation: Iterable[Record]) -> Record | None:
    """Return the record that says most precisely how many there were, as a point; None if all are bounds."""
    points = [record.as_point() for record in observation if record.kind in ("count", "range")]
    return min(points, key=lambda one: (one.sd_below + one.sd_above, one.id), default=None)


def observations_of(records: Iterable[Record]) -> list[list[Record]]:
    """Return the clear records grouped by day, oldest first: what was seen on one day is one observation.

    Two methods that look at the yard on the same day see the same cars, so that their records speak
    about one number, not two.
    """
    days: dict[date, list[Record]] = {}
    for record in records:
        if record.clear:
            days.setdefault(record.day, []).append(record)
    return [sorted(days[day], key=lambda record: record.id) for day in sorted(days)]


def rounded(value: float | None, digits: int = 6) -> float | None:
    """Return a figure as JSON has it."""
    return None if value is None else round(float(value), digits)


def utc(day: date) -> datetime:
    """Return the beginning of a day, UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
