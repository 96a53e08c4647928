"""The parts of a verdict: likelihoods, distributions, coverage, calibration; against figures by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import nbinom, norm

from railwatch.errors import ConfigError
from railwatch.history import Record, VerdictSettings, calibrate
from railwatch.history.coverage import coverage, dwell_days, effective_observations
from railwatch.history.posterior import ObservedCounts, distributions_for
from railwatch.history.record import errors_of, lower_tail, observations_of, upper_tail

SETTINGS = VerdictSettings()
START = datetime(2015, 1, 1, 2, tzinfo=UTC)


def record(day: float, value: float | None, sd: float = 1.0, **changes: object) -> Record:
    when = START + timedelta(days=day)
    fields: dict[str, object] = {
        "id": f"look-{day:08.2f}",
        "aoi": "yard",
        "when": when,
        "until": when,
        "kind": "count",
        "method": "wagons",
        "value": value,
        "low": None,
        "high": None,
        "sd_below": sd,
        "sd_above": sd,
    }
    return Record(**(fields | changes))  # type: ignore[arg-type]


# --------------------------------------------------------------------------------------------------
# Records


def test_a_count_is_a_two_piece_normal_law() -> None:
    cars = np.array([4.0, 10.0, 16.0])
    log_like = record(0, 10.0, sd_below=2.0, sd_above=3.0).log_likelihood(cars)
    assert log_like == pytest.approx([-4.5, 0.0, -2.0])


def test_a_range_is_the_chance_to_fall_inside_it() -> None:
    one = record(0, 9.5, kind="range", low=7.0, high=12.0, sd_below=2.0, sd_above=2.0)
    expected = [norm.cdf((12.5 - n) / 2) - norm.cdf((6.5 - n) / 2) for n in (0.0, 9.0, 40.0)]
    assert np.exp(one.log_likelihood(np.array([0.0, 9.0, 40.0]))) == pytest.approx(expected, rel=1e-9)


def test_bounds_allow_what_lies_beyond_them() -> None:
    cars = np.array([0.0, 8.0, 500.0])
    least = np.exp(record(0, 8.0, kind="at least").log_likelihood(cars))
    most = np.exp(record(0, 8.0, kind="at most").log_likelihood(cars))
    assert least == pytest.approx([norm.cdf(-7.5), norm.cdf(0.5), 1.0])
    assert most == pytest.approx([norm.cdf(8.5), norm.cdf(0.5), 0.0], abs=1e-12)


def test_a_count_of_nothing_stands_for_everything_at_or_under_it() -> None:
    assert np.exp(record(0, 0.0, sd=10.0).log_likelihood(np.array([0.0, 10.0]))) == pytest.approx(
        [0.5, norm.cdf(-1.0)]
    )


@pytest.mark.parametrize("kind", ["missing", "ceiling"])
def test_what_is_about_no_single_observation_has_no_likelihood(kind: str) -> None:
    with pytest.raises(ValueError, match="no likelihood"):
        record(0, 20.0, kind=kind).log_likelihood(np.array([1.0]))


@given(
    kind=st.sampled_from(["count", "at least", "range"]),
    low=st.floats(0, 200),
    step=st.floats(0.1, 100),
    below=st.floats(0.5, 20),
    above=st.floats(0.5, 20),
)
@settings(max_examples=60, deadline=None)
def test_a_higher_statement_speaks_for_more_cars(
    kind: str, low: float, step: float, below: float, above: float
) -> None:
    """Monotone likelihood ratio: what makes every figure of a verdict monotone in its count."""
    cars = np.arange(0.0, 400.0)

    def at(value: float) -> Record:
        return record(0, value, kind=kind, low=value, high=value + 5.0, sd_below=below, sd_above=above)

    difference = at(low + step).log_likelihood(cars) - at(low).log_likelihood(cars)
    known = np.isfinite(difference)
    assert (np.diff(difference[known]) >= -1e-6).all()


def test_tails_are_those_of_the_observations_error() -> None:
    one = record(0, 20.0, sd=4.0)
    cars = np.array([10.0, 20.0])
    assert upper_tail(one, cars) == pytest.approx([norm.sf(9.5 / 4), norm.sf(-0.5 / 4)])
    assert lower_tail(one, cars) == pytest.approx([norm.cdf(10.5 / 4), norm.cdf(0.5 / 4)])


def test_an_interval_cut_off_at_zero_isnt_taken_for_precision() -> None:
    error = SETTINGS.method("occupancy")
    below, above = errors_of(2.0, 0.0, 18.0, error)
    assert below == above == pytest.approx(16.0 / 1.6449, rel=1e-4)
    assert errors_of(40.0, 30.0, 56.0, error) == pytest.approx((10.0 / 1.6449, 16.0 / 1.6449), rel=1e-4)


def test_records_of_one_day_are_one_observation() -> None:
    observations = observations_of(
        [
            record(3, 5.0),
            record(1, 4.0),
            record(3.2, 6.0, method="occupancy"),
            record(2, None, kind="missing"),
        ]
    )
    assert [[one.value for one in observation] for observation in observations] == [[4.0], [5.0, 6.0]]


@pytest.mark.parametrize("values", [{"lookback_years": 0}, {"lookback_years": 101}, {"gap_days": -1}])
def test_settings_that_make_no_sense(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="isn't between"):
        VerdictSettings(**values)  # type: ignore[arg-type]


# --------------------------------------------------------------------------------------------------
# Distributions and fits


def test_the_grid_holds_negative_binomial_laws() -> None:
    distributions = distributions_for(100.0)
    u, k = 60, 12
    mean = math.exp(distributions.log_mean[u])
    size = float(np.exp(np.linspace(math.log(0.1), math.log(60.0), 24))[k])
    exact = nbinom.pmf(np.arange(60), size, size / (size + mean))
    assert distributions.mass[u, k, :60] == pytest.approx(exact, rel=2e-3, abs=1e-9)
    assert distributions.mass.sum(axis=-1) == pytest.approx(1.0)


def test_the_grid_grows_with_the_counts() -> None:
    assert distributions_for(100.0).cars[-1] < distributions_for(5000.0).cars[-1]
    assert distributions_for(5000.0).cars[-1] > 15_000


def fit_of(counts: list[float], sd: float = 0.5, every: float = 30.0, information: float = 1.0):  # type: ignore[no-untyped-def]
    observations = observations_of([record(index * every, count, sd) for index, count in enumerate(counts)])
    return ObservedCounts(observations, distributions_for(300.0)).fit(
        0, len(observations), [], information, SETTINGS
    )


def test_long_precise_histories_give_back_their_law() -> None:
    rng = np.random.default_rng(4)
    fits = [fit_of(list(rng.negative_binomial(3.0, 3.0 / 11.0, 200).astype(float))) for _ in range(12)]
    for level in (10.0, 20.0, 30.0):
        exact = nbinom.sf(level - 1, 3.0, 3.0 / 11.0)
        found = np.mean([fit.exceedance(record(0, level, 0.5), every_observation=True) for fit in fits])
        assert found == pytest.approx(exact, rel=0.3)


def test_a_short_history_is_less_sure_than_a_long_one_with_the_same_counts() -> None:
    counts = [4.0, 7.0, 12.0, 2.0, 9.0, 15.0, 6.0, 3.0]
    short, long = fit_of(counts), fit_of(counts * 12)
    far = record(0, 60.0)
    assert short.exceedance(far) > 5 * long.exceedance(far)


def test_observations_that_share_their_information_tell_less() -> None:
    counts = [4.0, 7.0, 12.0, 2.0, 9.0, 15.0, 6.0, 3.0] * 4
    assert fit_of(counts, information=0.3).exceedance(record(0, 45.0)) > fit_of(counts).exceedance(
        record(0, 45.0)
    )


def test_a_season_is_found_only_where_there_is_one() -> None:
    rng = np.random.default_rng(8)
    days = np.arange(0.0, 5 * 365.25, 10.0)
    wave = 12.0 * np.exp(0.8 * np.cos(2 * np.pi * (days - 15.0) / 365.25))
    seasonal = observations_of(
        [record(day, float(n)) for day, n in zip(days, rng.poisson(wave), strict=True)]
    )
    steady = observations_of(
        [record(day, float(n)) for day, n in zip(days, rng.poisson(12.0, days.size), strict=True)]
    )
    with_season = ObservedCounts(seasonal, distributions_for(100.0)).fit(0, len(seasonal), [], 1.0, SETTINGS)
    without = ObservedCounts(steady, distributions_for(100.0)).fit(0, len(steady), [], 1.0, SETTINGS)
    assert with_season.season_weight > 0.99
    assert without.season_weight < 0.3
    january, july = (with_season.quantiles(month, (0.5,))[0] for month in (1, 7))
    assert january == pytest.approx(12.0 * math.exp(0.8), rel=0.2)
    assert july == pytest.approx(12.0 * math.exp(-0.8), rel=0.35)


def test_a_past_anomaly_is_weighed_down_and_shown_both_ways() -> None:
    fit = fit_of([5.0, 6.0, 4.0, 7.0, 5.0, 3.0, 6.0, 5.0, 4.0, 6.0] * 4 + [80.0])
    assert fit.outliers >= 1
    again = record(0, 60.0)
    assert fit.exceedance(again) < fit.exceedance(again, every_observation=True)
    # Yet the record it set still stands.
    assert fit.record_probability(again, SETTINGS.surprise) < 0.01


def test_a_record_of_exact_counts_is_a_comparison() -> None:
    fit = fit_of([3.0, 8.0, 20.0, 11.0, 6.0, 9.0])
    below, above = record(0, 15.0, 0.5), record(0, 24.0, 0.5)
    assert fit.record_probability(below, 0.5) < 0.001
    assert fit.record_probability(above, 0.5) > 0.99
    assert fit.record_probability(above, 0.5, margin=1.5) < 0.01


def test_errors_of_both_sides_blur_a_record() -> None:
    """21 after 20, each within 3: the true counts are as likely in one order as in the other, or nearly."""
    fit = fit_of([2.0, 3.0, 20.0, 2.0, 3.0], sd=3.0)
    assert 0.3 < fit.record_probability(record(0, 21.0, 3.0), 0.5) < 0.75


def test_a_ceiling_bounds_the_maximum_of_many_observations() -> None:
    empty = ObservedCounts([], distributions_for(100.0))
    ceiling = record(0, 20.0, 2.0, kind="ceiling", until=START + timedelta(days=1800))
    few = empty.fit(0, 0, [(ceiling, 5.0)], 1.0, SETTINGS)
    many = empty.fit(0, 0, [(ceiling, 60.0)], 1.0, SETTINGS)
    assert many.exceedance(record(0, 20.0)) < few.exceedance(record(0, 20.0)) < 0.3
    assert many.record_probability(record(0, 73.0, 4.0), 0.5) > 0.99
    assert many.record_probability(record(0, 18.0), 0.5) < 0.3


# --------------------------------------------------------------------------------------------------
# Coverage


def test_effective_observations_of_even_spacing() -> None:
    r = math.exp(-5.0 / 3.0)
    expected = 1.0 + 99 * (1 - r) / (1 + r)
    assert effective_observations(np.arange(0.0, 500.0, 5.0), 3.0) == pytest.approx(expected)
    assert effective_observations(np.array([4.0, 4.0, 4.0]), 3.0) == 1.0
    assert effective_observations(np.array([]), 3.0) == 0.0


@pytest.mark.parametrize("truth", [1.0, 6.0, 15.0])
def test_the_dwell_is_found_from_the_observations(truth: float) -> None:
    rng = np.random.default_rng(int(truth))
    days = np.cumsum(rng.uniform(1.0, 6.0, 500))
    state = np.empty(days.size)
    state[0] = rng.standard_normal()
    for index in range(1, days.size):
        kept = math.exp(-(days[index] - days[index - 1]) / truth)
        state[index] = kept * state[index - 1] + math.sqrt(1 - kept**2) * rng.standard_normal()
    season = 10.0 * np.cos(2 * np.pi * days / 365.25)
    noisy = 30.0 + 6.0 * state + season + 3.0 * rng.standard_normal(days.size)
    found = dwell_days(days, noisy, np.full(days.size, 9.0), 3.0)
    assert found == pytest.approx(truth, rel=0.6)


def test_coverage_counts_gaps_and_months() -> None:
    days = [date(2020, 1, 10), date(2020, 2, 10), date(2020, 8, 1)]
    seen = coverage(
        days,
        np.array([3.0, 4.0, 5.0]),
        np.ones(3),
        start=date(2020, 1, 1),
        end=date(2020, 12, 31),
        abstained=2,
        settings=SETTINGS,
    )
    assert seen.observations == 3
    assert seen.longest_gap_days == (date(2020, 8, 1) - date(2020, 2, 10)).days
    assert seen.months_never_seen == (3, 4, 5, 6, 7, 9, 10, 11, 12)
    assert seen.record_chance == pytest.approx(1 / (seen.n_effective + 1))
    assert seen.abstained == 2


def test_coverage_of_nothing() -> None:
    nothing = np.array([])
    seen = coverage(
        [], nothing, nothing, start=date(2020, 1, 1), end=date(2020, 12, 31), abstained=0, settings=SETTINGS
    )
    assert (seen.observations, seen.n_effective, seen.record_chance, seen.longest_gap_days) == (
        0,
        0.0,
        1.0,
        365,
    )


# --------------------------------------------------------------------------------------------------
# Calibration


def pairs(number: int, make: Callable[[float], float], rng: np.random.Generator) -> list[Record]:
    records = []
    for index in range(number):
        truth = float(rng.uniform(0, 80))
        records.append(record(10 * index, truth + rng.normal(), 1.0, method="reviewed"))
        records.append(
            record(10 * index + 1, max(make(truth) + 5 * rng.normal(), 0.0), 5.0, method="occupancy")
        )
    return records


def test_a_line_between_methods_is_found_and_undone() -> None:
    rng = np.random.default_rng(2)
    lines = calibrate(pairs(60, lambda truth: 0.6 * truth + 10.0, rng), SETTINGS)
    line = lines["occupancy", "reviewed"]
    assert line.gain == pytest.approx(0.6, abs=0.06)
    assert line.offset == pytest.approx(10.0, abs=3.0)
    assert line.pairs == 60
    corrected = line.apply(record(0, 40.0, 5.0, method="occupancy"))
    assert corrected.value == pytest.approx(50.0, abs=4.0)
    assert corrected.sd_above > 5.0 / 0.65
    there_and_back = lines["reviewed", "occupancy"].apply(record(0, 50.0, method="reviewed"))
    assert there_and_back.value == pytest.approx(40.0, abs=3.0)


def test_the_gain_isnt_shrunk_by_noise_in_the_reference() -> None:
    """Plain regression would answer 0.68: the reference's own scatter is half of the truth's variance."""
    rng = np.random.default_rng(3)
    lines = []
    for _ in range(12):
        records = []
        for index in range(150):
            truth = float(rng.uniform(10, 40))
            records.append(record(10 * index, truth + 6 * rng.normal(), 6.0, method="wagons"))
            records.append(record(10 * index + 1, truth + 6 * rng.normal(), 6.0, method="occupancy"))
        lines.append(calibrate(records, SETTINGS)["occupancy", "wagons"])
    gains = np.array([line.gain for line in lines])
    assert gains.mean() == pytest.approx(1.0, abs=0.12)
    assert np.mean([line.gain_sd for line in lines]) == pytest.approx(gains.std(ddof=1), rel=0.6)


def test_too_few_pairs_or_too_far_apart_calibrate_nothing() -> None:
    rng = np.random.default_rng(2)
    records = pairs(SETTINGS.calibration_pairs - 1, lambda truth: truth, rng)
    assert calibrate(records, SETTINGS) == {}
    apart = [record(20 * i, 30.0, method="reviewed") for i in range(20)]
    apart += [record(20 * i + 9, 30.0, method="occupancy") for i in range(20)]
    assert calibrate(apart, SETTINGS) == {}


def test_pairs_without_relation_calibrate_nothing() -> None:
    rng = np.random.default_rng(9)
    assert ("occupancy", "reviewed") not in calibrate(pairs(20, lambda truth: 30.0, rng), SETTINGS)
