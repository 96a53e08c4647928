"""How often the verdict's rule is wrong: a simulation study with a table and a figure to show for it.

Yards are simulated by another distribution than the one the rule fits: trains arrive at random, more of them
in some seasons, each with its own number of cars and its own time of stay. So the yard's state lasts from
observation to observation, as it does in the world. Clouds hide it for days on end, more in the monsoon,
and more often when it is full (a yard of white containers looks like cloud). Each observation has the error
of its sensor.

False alarms are counted on yards where nothing happens; power on yards that never held more than 20 cars
before the event. Beside the rule stand the two that people use without one: "higher than ever seen", and
a z-score above 3.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import chi2

from detector.intervals import Z90
from railwatch.history.judge import PlaceHistory, corrected, finished
from railwatch.history.record import FloatArray, Record, utc
from railwatch.history.settings import VerdictSettings
from railwatch.history.verdict import Verdict

REPORT_SEED = 20231005
"""The published table is made with this seed; the rule's thresholds were chosen with another one (1)."""

RULES = ("unprecedented", "confirmed", "elevated", "together", "record", "z_score")
"""Ours: the word, the word confirmed by a second observation, elevated or higher, a word that only
images together gave; and the two bare rules."""

_WITHIN_RULES = ("unprecedented_within", "elevated_within")

WITHIN = 3
"""An event's first observations, of which one must be called so for the columns *within three*."""
_APART_DAYS = 5.0

_START = date(2000, 1, 1)
_YEAR = 365.25
# Chance that a day is clear, by month, relative to the year's mean: a monsoon coast.
_CLEAR_BY_MONTH = np.array([1.5, 1.5, 1.2, 1.0, 0.9, 0.6, 0.35, 0.4, 0.9, 1.3, 1.3, 1.4])
_CLOUD_SPELL_DAYS = 4.0
_HIDDEN_WHEN_FULL = 0.3
_STEP_DAYS = 90
_RULE = VerdictSettings()


@dataclass(frozen=True)
class StudyYard:
    """A simulated yard where nothing out of the ordinary happens.

    Attributes:
        name: For the table.
        mean_cars: Long-term mean number of cars.
        train_cars: Mean cars a train brings.
        stay_days: Mean stay of a train (exponential): the yard's dwell.
        season: Amplitude of the yearly wave of arrivals (0-1).
        most_cars: The yard never holds more, or None.
    """

    name: str = "usual"
    mean_cars: float = 8.0
    train_cars: float = 5.0
    stay_days: float = 3.0
    season: float = 0.5
    most_cars: float | None = None

    def cars(self, days: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return the true number of cars at some times.

        Args:
            days: Days since the start, ascending, (n,).
            rng: Source of randomness.
        """
        rate = self.mean_cars / (self.train_cars * self.stay_days)
        first, last = days[0] - 20.0 * self.stay_days, days[-1] + 1.0
        number = rng.poisson(rate * (1.0 + self.season) * (last - first))
        arrival = rng.uniform(first, last, number)
        wave = 1.0 + self.season * np.cos(2.0 * np.pi * (arrival - 300.0) / _YEAR)
        arrival = np.sort(arrival[rng.uniform(0.0, 1.0 + self.season, number) < wave])
        size = 1.0 + rng.negative_binomial(1.0, 1.0 / self.train_cars, arrival.size)
        departure = arrival + rng.exponential(self.stay_days, arrival.size)
        order = np.argsort(departure)
        come = np.concatenate([[0.0], np.cumsum(size)])[np.searchsorted(arrival, days)]
        gone = np.concatenate([[0.0], np.cumsum(size[order])])[np.searchsorted(departure[order], days)]
        present = come - gone
        most = np.inf if self.most_cars is None else self.most_cars
        return np.asarray(np.minimum(present, most), dtype=np.float64)


@dataclass(frozen=True)
class StudySensor:
    """How a simulated sensor errs.

    Attributes:
        name: For the table.
        method: The method whose errors it has.
        sd_cars: Standard deviation that doesn't depend on the count.
        sd_share: Part that grows with the count.
        drift_cars: Part of ``sd_cars`` that drifts over about 60 days (background, snow, sun) instead of
            changing from observation to observation. The sensor's stated interval knows nothing of it.
        yard_share: Standard deviation of the logarithm of a yard's own scale: one yard is always counted too
            high and another too low. The stated interval allows for it.
        scale: Of the yard at hand; see `at_a_yard`.
    """

    name: str
    method: str
    sd_cars: float
    sd_share: float = 0.0
    drift_cars: float = 0.0
    yard_share: float = 0.0
    scale: float = 1.0

    def at_a_yard(self, rng: np.random.Generator) -> StudySensor:
        """Return the sensor as it counts at one yard."""
        return replace(self, scale=math.exp(self.yard_share * rng.standard_normal()))

    def stated(self, counts: FloatArray) -> FloatArray:
        """Return the standard deviation that its intervals state, at observed counts."""
        return np.asarray(np.hypot(self.sd(counts), self.yard_share * counts), dtype=np.float64)

    def sd(self, cars: FloatArray) -> FloatArray:
        """Return the standard deviation at true or observed counts."""
        return np.asarray(np.hypot(self.sd_cars, self.sd_share * cars), dtype=np.float64)

    def observe(self, days: FloatArray, cars: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return counts as the sensor gives them, never below 0."""
        cars = self.scale * cars
        sudden = np.sqrt(np.maximum(self.sd(cars) ** 2 - self.drift_cars**2, 0.0))
        error = sudden * rng.standard_normal(days.size)
        if self.drift_cars:
            drift = np.empty(days.size)
            state = rng.standard_normal()
            last = days[0]
            for index, day in enumerate(days):
                kept = math.exp(-(day - last) / 60.0)
                state = kept * state + math.sqrt(1.0 - kept**2) * rng.standard_normal()
                drift[index], last = state, day
            error += self.drift_cars * drift
        return np.maximum(np.round(cars + error), 0.0)


USUAL = StudyYard()
BURSTY = StudyYard(name="bursty, 15 cars a train", train_cars=15.0)
VHR = StudySensor("very high resolution", "wagons", sd_cars=1.0, sd_share=0.04)
SENTINEL_2 = StudySensor("Sentinel-2, sd 10", "occupancy", sd_cars=10.0)
SENTINEL_2_DRIFT = StudySensor("Sentinel-2, sd 10, half drifting", "occupancy", sd_cars=10.0, drift_cars=7.0)
SENTINEL_2_MEASURED = StudySensor(
    "Sentinel-2, as measured", "occupancy", sd_cars=7.0, sd_share=0.29, yard_share=0.15
)
"""With the errors of occupancy weights 2 on simulated yards by true count (``docs/occupancy.md``)."""
SENSORS = (VHR, SENTINEL_2, SENTINEL_2_DRIFT, SENTINEL_2_MEASURED)


@dataclass(frozen=True)
class StudyPlan:
    """What to simulate.

    Attributes:
        observations: Clear observations in the five years before a date.
        target_observations: Those that the target is about (70 a year): longer series, and a bursty yard too.
        sensors: The sensors.
        quiet_years: Years to judge for each row of the false-alarm table.
        target_years: The same at ``target_observations``.
        events: Cars present in the event.
        histories: Yards for each row of the power table.
        seed: Source of all randomness.
    """

    observations: tuple[int, ...] = (20, 60, 150, 350, 400)
    target_observations: int = 350
    sensors: tuple[StudySensor, ...] = SENSORS
    quiet_years: int = 100
    target_years: int = 200
    events: tuple[int, ...] = (25, 30, 40, 50, 73, 100)
    histories: int = 200
    seed: int = REPORT_SEED

    @classmethod
    def quick(cls) -> StudyPlan:
        """A plan of seconds, to see that everything runs; its figures mean little."""
        return cls(
            observations=(20,),
            target_observations=20,
            sensors=(VHR,),
            quiet_years=10,
            target_years=10,
            events=(73,),
            histories=3,
        )


def clear_days(
    yard: StudyYard, observations_a_year: float, years: float, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Return the days of the clear observations and the true number of cars on them.

    A satellite passes every second day (every day where more observations are wanted than that can give).
    Clouds come in spells, follow the month, and are seen more often when the yard is full.

    Args:
        yard: The yard.
        observations_a_year: Clear observations a year, on average.
        years: Length of the series.
        rng: Source of randomness.

    Returns:
        Days since the start and cars, both (n,).
    """
    passes = np.arange(0.0, years * _YEAR, 2.0 if observations_a_year <= 90 else 1.0) + 0.1
    cars = yard.cars(passes, rng)
    kept = math.exp(-(passes[1] - passes[0]) / _CLOUD_SPELL_DAYS)
    noise = rng.standard_normal(passes.size) * math.sqrt(1.0 - kept**2)
    noise[0] /= math.sqrt(1.0 - kept**2)
    for index in range(1, passes.size):
        noise[index] += kept * noise[index - 1]
    month = ((passes % _YEAR) / _YEAR * 12.0).astype(int) % 12
    fullness = np.clip(cars / (3.0 * yard.mean_cars), 0.0, 1.0)
    chance = _CLEAR_BY_MONTH[month] * (1.0 - _HIDDEN_WHEN_FULL * fullness)
    # The spells' uniform rank against the chance; the scale gives the wanted number a year.
    rank = pd.Series(noise).rank(pct=True).to_numpy()
    wanted = observations_a_year * years / passes.size
    scale = wanted / chance.mean()
    for _ in range(8):
        scale *= wanted / max(np.minimum(scale * chance, 0.98).mean(), 1e-9)
    clear = rank < np.minimum(scale * chance, 0.98)
    return passes[clear], cars[clear]


def records_of(
    days: FloatArray, counts: FloatArray, sensor: StudySensor, prefix: str = "look"
) -> list[Record]:
    """Return simulated counts as the records that a verdict is made from."""
    spread = sensor.stated(counts)
    growth = _RULE.method(sensor.method).growth if sensor.sd_share else 0.0
    records = []
    for index, (day, count, sd) in enumerate(zip(days, counts, spread, strict=True)):
        when = utc(_START + timedelta(days=int(day)))
        low = max(count - Z90 * sd, 0.0)
        below = sd if low > 0.0 else max(count / Z90, sd)
        records.append(
            Record(
                id=f"{prefix}-{index:05d}",
                aoi="yard",
                when=when,
                until=when,
                kind="count",
                method=sensor.method,
                value=float(count),
                low=float(low),
                high=float(count + Z90 * sd),
                sd_below=float(below),
                sd_above=float(sd),
                growth=growth,
                source=sensor.name,
            )
        )
    return records


def _naive(counts: FloatArray, days: FloatArray, first: int) -> dict[str, int]:
    """Alarms of the bare record rule and of the z-score rule from observation ``first`` on."""
    record = z_score = 0
    window = _RULE.lookback_years * _YEAR
    for index in range(first, counts.size):
        end = days[index] - _RULE.gap_days
        past = counts[(days >= end - window) & (days <= end)]
        if past.size:
            record += int(counts[index] > past.max())
            z_score += int(counts[index] > past.mean() + 3.0 * max(past.std(), 0.5))
    return {"record": record, "z_score": z_score}


def _rng(seed: int, part: str, sensor: StudySensor, observations: int) -> np.random.Generator:
    """Randomness of a row that doesn't depend on which other rows are asked for."""
    return np.random.default_rng([seed, observations, zlib.crc32(f"{part}/{sensor.name}".encode())])


def false_alarms(
    sensor: StudySensor,
    observations: int,
    years: int,
    seed: int,
    yard: StudyYard = USUAL,
) -> dict[str, Any]:
    """Count alarms on yards where nothing happens.

    Args:
        sensor: The sensor.
        observations: Clear observations in the look-back window.
        years: Years to judge, in series of ten.
        seed: Source of randomness.
        yard: The yard.

    Returns:
        One row of the table: alarms in ten years of one area, rule by rule.
    """
    rng = _rng(seed, f"false alarms/{yard.name}", sensor, observations)
    a_year = observations / _RULE.lookback_years
    burn_in = _RULE.lookback_years + _RULE.gap_days / _YEAR + 0.3
    tally: Counter[str] = Counter()
    series = max(round(years / 10), 1)
    for _ in range(series):
        _, days, counts, records = _watched(yard, sensor, a_year, burn_in + 10.0, rng)
        first = int(np.searchsorted(days, burn_in * _YEAR))
        place = PlaceHistory(records, (), "yard", _RULE, _STEP_DAYS)
        drafts = corrected([place.figures(record) for record in records[first:]], _RULE)
        for draft in drafts:
            tally.update(_called(finished(draft, place.second_observation, _RULE)), judged=1)
        tally.update(_naive(counts, days, first))
    decades = float(series)
    return {
        "part": "false alarms",
        "sensor": sensor.name,
        "yard": yard.name,
        "looks": observations,
        "looks_a_year": tally["judged"] / (10.0 * decades),
        "decades": series,
        **{f"{rule}_per_decade": tally[rule] / decades for rule in RULES},
        # Poisson, exact: the count that would be exceeded with 95% had the rate been so high.
        "unprecedented_per_decade_high": float(chi2.ppf(0.95, 2 * tally["unprecedented"] + 2))
        / 2.0
        / decades,
    }


def power(
    sensor: StudySensor,
    observations: int,
    events: Sequence[int],
    histories: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Measure how often an event is called by its name.

    Each yard never held more than 20 cars. The event's first observation is judged among the observations of
    its year; two more come five days apart with the same cars there, each of which has those before it as its
    past.

    Args:
        sensor: The sensor.
        observations: Clear observations in the look-back window.
        events: Cars present in the event.
        histories: Yards.
        seed: Source of randomness.

    Returns:
        One row an event size.
    """
    rng = _rng(seed, "power", sensor, observations)
    a_year = observations / _RULE.lookback_years
    tally: dict[int, Counter[str]] = {event: Counter() for event in events}
    for _ in range(histories):
        length = _RULE.lookback_years + _RULE.gap_days / _YEAR + 1.3
        here, days, counts, records = _watched(replace(USUAL, most_cars=20.0), sensor, a_year, length, rng)
        place = PlaceHistory(records, (), "yard", _RULE, _STEP_DAYS)
        event_days = days[-1] + _APART_DAYS * np.arange(1, WITHIN + 1)
        first = int(np.searchsorted(days, event_days[0] - _RULE.family_days))
        family = [place.figures(record) for record in records[first:]]
        for event in events:
            seen = here.observe(event_days, np.full(WITHIN, float(event)), rng)
            event_records = records_of(event_days, seen, here, "event")
            called: list[dict[str, bool]] = []
            drafts = list(family)
            for number, one in enumerate(event_records):
                drafts.append(place.figures(one, event_records[:number]))
                after = event_records[number + 1 :][:1]
                called.append(_called(finished(corrected(drafts, _RULE)[-1], _next_of(place, after), _RULE)))
            within = {rule: any(one[rule] for one in called) for rule in called[0]}
            tally[event].update(called[0] | {"together": within["together"]})
            tally[event].update({f"{rule}_within": within[rule] for rule in ("unprecedented", "elevated")})
            tally[event].update(
                _naive(np.append(counts, seen[0]), np.append(days, event_days[0]), counts.size)
            )
    return [
        {
            "part": "power",
            "sensor": sensor.name,
            "yard": "usual, never above 20",
            "looks": observations,
            "event": event,
            "histories": histories,
            **{f"{rule}_power": tally[event][rule] / histories for rule in (*RULES, *_WITHIN_RULES)},
        }
        for event in events
    ]


def _watched(
    yard: StudyYard, sensor: StudySensor, a_year: float, years: float, rng: np.random.Generator
) -> tuple[StudySensor, FloatArray, FloatArray, list[Record]]:
    """The sensor as it counts at a simulated yard; days, counts and records of its observations."""
    days, cars = clear_days(yard, a_year, years, rng)
    here = sensor.at_a_yard(rng)
    counts = here.observe(days, cars, rng)
    return here, days, counts, records_of(days, counts, here)


def _called(verdict: Verdict) -> dict[str, bool]:
    """Which of our rules call a verdict's date."""
    return {
        "unprecedented": verdict.verdict == "unprecedented",
        "confirmed": verdict.confirmed is True,
        "elevated": verdict.verdict in ("elevated", "unprecedented"),
        "together": verdict.rule == "images together",
    }


def _next_of(place: PlaceHistory, after: Sequence[Record]) -> Callable[[Record], Record | None]:
    """A second observation that is the next one or none."""
    return lambda record: next((one for one in after if place.agrees(record, one)), None)


def run_study(
    plan: StudyPlan | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Run the study.

    Args:
        plan: What to simulate; the published plan by default (about a quarter of an hour on one core).
        progress: Called with rows done and rows in all.

    Returns:
        One row a cell. ``part`` is ``false alarms`` (columns ``*_per_decade``: alarms in ten years of one
        area) or ``power`` (columns ``*_power``: share of events called so).
    """
    chosen = plan or StudyPlan()
    cells: list[Callable[[], list[dict[str, Any]]]] = []
    for sensor in chosen.sensors:
        for observations in sorted({*chosen.observations, chosen.target_observations}):
            target = observations == chosen.target_observations
            years = chosen.target_years if target else chosen.quiet_years
            for yard in (USUAL, BURSTY) if target else (USUAL,):
                cells.append(partial(_quiet_rows, sensor, observations, years, chosen.seed, yard=yard))
            cells.append(partial(power, sensor, observations, chosen.events, chosen.histories, chosen.seed))
    rows: list[dict[str, Any]] = []
    for number, cell in enumerate(cells):
        rows.extend(cell())
        if progress:
            progress(number + 1, len(cells))
    return pd.DataFrame(rows)


def _quiet_rows(*arguments: Any, **options: Any) -> list[dict[str, Any]]:
    return [false_alarms(*arguments, **options)]
