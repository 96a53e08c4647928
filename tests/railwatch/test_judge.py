"""Verdicts: the published counts of Tumangang, the written rule, and properties that any rule must have."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import seeds
from railwatch.history import RANK, Record, Verdict, VerdictSettings, compare, judge
from railwatch.history.coverage import Coverage
from railwatch.history.history import published_records
from railwatch.history.verdict import basis_of, word_for
from railwatch.store.observation import Observation

SETTINGS = VerdictSettings()
START = datetime(2015, 1, 1, 2, tzinfo=UTC)


def record(day: float, value: float | None, sd: float = 1.0, **changes: object) -> Record:
    when = START + timedelta(days=day)
    fields: dict[str, object] = {
        "id": f"look-{day:08.2f}",
        "aoi": "yard",
        "when": when,
        "until": when,
        "kind": "count" if value is not None else "missing",
        "method": "wagons",
        "value": value,
        "low": None,
        "high": None,
        "sd_below": sd,
        "sd_above": sd,
        "reason": None if value is not None else "cloud over the yard",
    }
    return Record(**(fields | changes))  # type: ignore[arg-type]


def quiet(number: int = 60, every: float = 20.0, seed: int = 1, most: int = 20) -> list[Record]:
    """A yard that never holds more than twenty cars."""
    rng = np.random.default_rng(seed)
    counts = np.minimum(rng.negative_binomial(3.0, 3.0 / 10.0, number), most)
    return [record(index * every, float(count)) for index, count in enumerate(counts)]


def last(records: Sequence[Record], **options: object) -> Verdict:
    """The verdict on the latest record alone."""
    latest = max(records, key=lambda one: one.when)
    (found,) = judge(records, judged={latest.id}, **options)  # type: ignore[arg-type]
    return found


def on(day: float, records: Sequence[Record]) -> Verdict:
    """The verdict on the record of a day alone."""
    (found,) = judge(records, judged={f"look-{day:08.2f}"})
    return found


def figures(verdict: Verdict) -> dict[str, object]:
    """What must not change when something irrelevant does."""
    content = verdict.to_json()
    content["coverage"] = {key: value for key, value in content["coverage"].items() if key != "abstained"}
    return content


# --------------------------------------------------------------------------------------------------
# What has been published about Tumangang


@pytest.fixture(scope="module")
def tumangang() -> dict[str, Verdict]:
    rows = seeds.comparable("tumangang")
    return {str(one.record.day): one for one in compare([], rows, judge_published=True)}


def test_october_2023_is_what_csis_said(tumangang: dict[str, Verdict]) -> None:
    found = tumangang["2023-10-05"].to_json()
    assert found["verdict"] == "unprecedented"
    assert (found["count"], found["history_max"], found["history_max_kind"]) == (73, 20, "ceiling")
    assert found["ratio_to_max"] == 3.65
    assert found["probability_record"] > 0.99
    assert found["basis"] == "published ceiling"
    assert found["history_n"] == 0
    assert found["confirmed"] is False
    assert "3.65 times the ceiling of about 20" in found["sentence"]
    assert "not yet confirmed" in found["sentence"]


def test_june_2024_breaks_the_record_of_october_2023(tumangang: dict[str, Verdict]) -> None:
    found = tumangang["2024-06-17"].to_json()
    assert found["verdict"] == "unprecedented"
    assert (found["count"], found["history_max"], found["history_max_kind"]) == (255, 73, "count")
    assert found["history_max_date"] == "2023-10-05"
    assert found["basis"] == "counts and published ceiling"


def test_december_2024_is_high_but_no_record(tumangang: dict[str, Verdict]) -> None:
    found = tumangang["2024-12-03"].to_json()
    assert found["verdict"] == "elevated"
    assert (found["count"], found["history_max"]) == (225, 255)
    assert found["probability_record"] < 0.1
    assert "not a record after the 255 of 2024-06-17" in found["sentence"]


def test_single_trains_are_lower_bounds_and_get_no_word(tumangang: dict[str, Verdict]) -> None:
    found = tumangang["2022-11-30"]
    assert (found.record.kind, found.verdict) == ("at least", "cannot say")
    assert "at least 8 freight cars" in found.sentence


def test_the_dates_asked_for_dont_change_their_figures(tumangang: dict[str, Verdict]) -> None:
    (only,) = compare([], seeds.comparable("tumangang"), judge_published=True, dates=[date(2024, 6, 17)])
    assert only.to_json() == tumangang["2024-06-17"].to_json()


def test_a_date_keeps_its_word_when_later_counts_come_in(tumangang: dict[str, Verdict]) -> None:
    rows = seeds.comparable("tumangang")
    early = compare([], rows[rows["image_date_start"] < "2024-01-01"], judge_published=True)
    assert early[-1].to_json() == tumangang["2023-10-05"].to_json()


def published_row(**changes: object) -> pd.DataFrame:
    row = seeds.load_published("tumangang").iloc[[0]].copy()
    for name, value in changes.items():
        row[name] = value
    return row


def test_every_kind_of_statement_is_taken_for_what_it_is() -> None:
    day = pd.Timestamp("2023-01-02")
    common = {"image_date_start": day, "image_date_end": day, "duplicate_of": "", "site": "tumangang"}
    cases = {
        "approximate": ({"count_low": 73.0, "count_high": 73.0}, ("count", 73.0)),
        "interval": ({"count_low": 7.0, "count_high": 12.0}, ("range", 9.5)),
        "at_least": ({"count_low": 8.0, "count_high": np.nan}, ("at least", 8.0)),
        "at_most": ({"count_low": np.nan, "count_high": 5.0}, ("at most", 5.0)),
        "length_only": (
            {"count_low": np.nan, "count_high": np.nan, "length_m_low": 340.0, "length_m_high": 340.0},
            ("at least", 17.0),
        ),
    }
    for statement, (numbers, expected) in cases.items():
        (one,) = published_records(published_row(statement=statement, **common, **numbers), SETTINGS)
        assert (one.kind, one.value) == expected, statement
    assert published_records(published_row(statement="qualitative", **common), SETTINGS) == []
    assert (
        published_records(published_row(statement="approximate", **common | {"duplicate_of": "x"}), SETTINGS)
        == []
    )


# --------------------------------------------------------------------------------------------------
# The rule


def plain(kind: str = "count", n_effective: float = 60.0, **changes: object) -> Verdict:
    """A draft with the figures of a long record that is beaten."""
    judged = record(2000.0, 30.0, kind=kind)
    seen = Coverage(80, n_effective, 3.0, 40, (), 0, START.date(), START.date())
    values: dict[str, object] = {
        "basis": "counts",
        "probability_record": 0.99,
        "probability_record_margin": 0.5,
        "probability_exceedance": 0.0001,
        "q_exceedance": 0.01,
        "probability_shortfall": 0.9,
        "q_shortfall": 0.99,
    }
    return Verdict(
        record=judged,
        title="yard",
        verdict="cannot say",
        window=(START.date(), judged.day),
        coverage=seen,
        ceilings=0,
        ceiling_observations=0.0,
        maximum=None,
        **(values | changes),  # type: ignore[arg-type]
    )


FEW = {
    "probability_exceedance": 0.9,
    "q_exceedance": 1.0,
    "probability_shortfall": 0.02,
    "q_shortfall": 0.1,
}


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, "unprecedented"),
        ({"probability_record": 0.89}, "elevated"),
        ({"probability_exceedance": 0.011}, "elevated"),
        ({"q_exceedance": 0.11}, "elevated"),
        ({"q_exceedance": 0.24}, "elevated"),
        ({"q_exceedance": 0.26}, "typical"),
        ({"probability_exceedance": 0.026, "q_exceedance": 0.03}, "typical"),
        ({"n_effective": 48.0}, "elevated"),  # a short record must be beaten by a margin
        ({"n_effective": 48.0, "probability_record_margin": 0.95}, "unprecedented"),
        ({"basis": "none"}, "cannot say"),
        (FEW, "low"),
        (FEW | {"q_shortfall": 0.3}, "typical"),
        (FEW | {"basis": "published ceiling"}, "typical"),  # a ceiling says nothing about how few are usual
        ({"kind": "at least", "probability_exceedance": 0.5, "q_exceedance": 1.0}, "cannot say"),
        ({"kind": "at least"}, "unprecedented"),
    ],
)
def test_the_written_rule(changes: dict[str, object], word: str) -> None:
    assert word_for(plain(**changes), SETTINGS) == word


@pytest.mark.parametrize(
    ("n_effective", "ceiling_share", "observations", "basis"),
    [
        (5.0, 0.0, 9, "counts"),
        (4.9, 0.0, 9, "none"),
        (0.0, 0.5, 0, "published ceiling"),
        (0.0, 0.49, 0, "none"),
        (1.0, 0.8, 1, "counts and published ceiling"),
        (30.0, 0.1, 50, "counts and published ceiling"),
    ],
)
def test_what_a_verdict_rests_on(
    n_effective: float, ceiling_share: float, observations: int, basis: str
) -> None:
    assert basis_of(n_effective, ceiling_share, observations, SETTINGS) == basis


# --------------------------------------------------------------------------------------------------
# Cases


def test_an_event_far_above_a_quiet_yard() -> None:
    found = last([*quiet(), record(60 * 20.0 + 40, 73.0)])
    assert (found.verdict, found.confirmed, found.basis) == ("unprecedented", False, "counts")
    assert found.maximum is not None
    assert found.ratio_to_max == pytest.approx(73.0 / found.maximum.value)


def test_the_next_clear_observation_confirms() -> None:
    event = [*quiet(), record(1240.0, 73.0)]
    confirmed = on(1240.0, [*event, record(1245.0, 68.0)])
    assert confirmed.confirmed
    assert confirmed.confirmation is not None
    assert confirmed.confirmation.day == (START + timedelta(days=1245)).date()
    refuted = on(1240.0, [*event, record(1245.0, 9.0)])
    assert (refuted.verdict, refuted.confirmed) == ("unprecedented", False)
    too_late = on(1240.0, [*event, record(1290.0, 68.0)])
    assert too_late.confirmed is False
    # An observation without an answer isn't the next clear one.
    assert on(1240.0, [*event, record(1243.0, None), record(1245.0, 68.0)]).confirmed is True


def test_another_method_confirms_a_few_days_before_or_after() -> None:
    observations = [*quiet(), record(1240.0, 73.0), record(1238.5, 70.0, 12.0, method="occupancy")]
    assert on(1240.0, observations).confirmed is True


def test_the_window_ends_a_gap_before_the_date() -> None:
    found = last([*quiet(), record(1240.0, 8.0), record(1265.0, 8.0)])
    day = (START + timedelta(days=1265)).date()
    assert found.window == (day - timedelta(days=30) - timedelta(days=1826), day - timedelta(days=30))
    assert found.coverage.observations == 60
    nearer = last([*quiet(), record(1240.0, 8.0), record(1265.0, 8.0)], settings=VerdictSettings(gap_days=10))
    assert nearer.coverage.observations == 61


def test_a_higher_count_just_before_is_said_though_its_no_history() -> None:
    observations = [*quiet(), record(1240.0, 90.0), record(1250.0, 73.0)]
    found = last(observations)
    assert found.verdict == "unprecedented"
    assert found.maximum is not None
    assert found.maximum.value <= 20.0
    assert (found.to_json()["recent_max"], found.to_json()["recent_max_date"]) == (90.0, "2018-05-25")
    assert "though since then there were 90 on 2018-05-25" in found.sentence
    assert "since then" not in on(1240.0, observations).sentence


def test_the_window_can_begin_with_a_rebuilt_yard() -> None:
    since = VerdictSettings(not_before=(START + timedelta(days=600)).date())
    found = last([*quiet(), record(1240.0, 8.0)], settings=since)
    assert found.window[0] == since.not_before
    assert found.coverage.observations == 30


def test_too_little_history_is_said() -> None:
    found = last([record(0.0, 3.0), record(40.0, 5.0), record(100.0, 90.0)])
    assert (found.verdict, found.basis) == ("cannot say", "none")
    assert found.probability_exceedance is None
    assert found.reason is not None
    assert "2 clear images" in found.reason
    assert found.reason in found.sentence
    alone = last([record(0.0, 3.0)])
    assert alone.reason is not None
    assert "no clear image" in alone.reason


def test_observations_in_a_heap_are_worth_less_than_observations_apart() -> None:
    heap = [record(0.5 * index, one.value) for index, one in enumerate(quiet())]
    near, apart = (last([*observations, record(1240.0, 8.0)]).coverage for observations in (heap, quiet()))
    assert near.observations == 30  # two on one day are one observation
    assert near.n_effective < 0.7 * 30
    assert apart.n_effective > 0.9 * 60


def test_a_quiet_day_in_a_busy_yard_is_low() -> None:
    rng = np.random.default_rng(3)
    busy = [record(20.0 * i, float(count)) for i, count in enumerate(rng.poisson(60.0, 80))]
    found = last([*busy, record(1700.0, 12.0)])
    assert found.verdict == "low"
    assert "lower than" in found.sentence


def test_an_uncertain_count_isnt_called_a_record_that_a_sure_one_is() -> None:
    sure, unsure = (last([*quiet(), record(1240.0, 40.0, sd)]) for sd in (1.0, 25.0))
    assert sure.verdict == "unprecedented"
    assert RANK[unsure.verdict] < RANK["unprecedented"]


def test_methods_meet_with_their_bias_unless_calibrated() -> None:
    by_eye = [replace(one, method="reviewed") for one in quiet()]
    event = record(1240.0, 30.0, 2.0, method="occupancy")
    same = last([*(replace(one, method="occupancy") for one in by_eye), event])
    other = last([*by_eye, event])
    assert other.probability_record is not None
    assert same.probability_record is not None
    assert other.probability_record < same.probability_record


def test_false_discoveries_are_controlled_over_areas() -> None:
    """An observation that stands out alone may be one of a hundred where something had to stand out."""
    one_area = [*quiet(), record(1240.0, 24.0)]
    alone = last(one_area)
    many = list(one_area)
    for number in range(20):
        many += [
            replace(observation, aoi=f"yard-{number:02d}", id=f"{observation.id}-{number}")
            for observation in [*quiet(seed=50 + number), record(1240.0, 7.0)]
        ]
    that_day = {one.id for one in many if one.day == one_area[-1].day}
    among = next(one for one in judge(many, judged=that_day) if one.aoi == "yard")
    assert alone.q_exceedance is not None
    assert among.q_exceedance is not None
    assert among.probability_exceedance == alone.probability_exceedance
    assert among.q_exceedance > alone.q_exceedance
    assert among.family > alone.family


def test_an_abstained_date_gets_its_reason() -> None:
    found = last([*quiet(), record(1240.0, None)])
    assert (found.verdict, found.count, found.reason) == ("cannot say", None, "cloud over the yard")
    assert found.sentence.endswith("no verdict, because cloud over the yard.")


def test_json_is_plain_and_complete() -> None:
    content = last([*quiet(), record(1240.0, 73.0)]).to_json()
    again = json.loads(json.dumps(content, allow_nan=False))
    assert again["datetime"].endswith("Z")
    for name in (
        "verdict", "count", "count_low", "count_high", "history_max", "history_n", "n_effective",
        "probability_record", "probability_exceedance", "ratio_to_max", "window", "coverage", "confirmed",
        "basis", "method", "sentence",
    ):  # fmt: skip
        assert name in again


# --------------------------------------------------------------------------------------------------
# Properties

counts = st.lists(st.integers(0, 60), min_size=6, max_size=25)
few = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def series(values: Sequence[int], sd: float) -> list[Record]:
    return [record(35.0 * index, float(value), sd) for index, value in enumerate(values)]


@given(
    values=counts,
    low=st.integers(0, 150),
    more=st.integers(1, 100),
    sd=st.sampled_from([0.5, 3.0, 10.0]),
    kind=st.sampled_from(["count", "at least"]),
)
@few
def test_a_higher_count_never_lowers_the_verdict(
    values: list[int], low: int, more: int, sd: float, kind: str
) -> None:
    day = 35.0 * len(values) + 40.0
    one, other = (
        last([*series(values, sd), record(day, float(count), sd, kind=kind)]) for count in (low, low + more)
    )
    assert RANK[other.verdict] >= RANK[one.verdict]
    if one.probability_exceedance is not None and other.probability_exceedance is not None:
        assert other.probability_exceedance <= one.probability_exceedance + 1e-9
        assert (other.probability_record or 0.0) >= (one.probability_record or 0.0) - 1e-9


@given(values=counts, seed=st.integers(0, 1000))
@few
def test_the_order_of_the_records_doesnt_matter(values: list[int], seed: int) -> None:
    records = [*series(values, 2.0), record(20.0, None), record(35.0 * 3 + 0.4, 9.0, 8.0, method="occupancy")]
    shuffled = list(records)
    random.Random(seed).shuffle(shuffled)
    assert [one.to_json() for one in judge(records)] == [one.to_json() for one in judge(shuffled)]


@given(values=counts, day=st.floats(0.0, 1000.0))
@few
def test_an_abstained_date_changes_nothing(values: list[int], day: float) -> None:
    records = series(values, 2.0)
    with_it = [one for one in judge([*records, record(day + 0.01, None)]) if one.record.kind != "missing"]
    assert [figures(one) for one in with_it] == [figures(one) for one in judge(records)]


@given(values=counts, higher=st.integers(1, 80))
@few
def test_a_higher_history_never_makes_a_record_likelier(values: list[int], higher: int) -> None:
    day = 35.0 * len(values) + 40.0
    raised = [*values[:-1], values[-1] + higher]
    one, other = (last([*series(some, 1.0), record(day, 50.0)]) for some in (values, raised))
    if one.probability_record is not None and other.probability_record is not None:
        assert other.probability_record <= one.probability_record + 0.02


# --------------------------------------------------------------------------------------------------
# Observations


def observation(day: float, count: float | None, **changes: object) -> Observation:
    fields: dict[str, object] = {
        "id": f"yard-{day:07.2f}",
        "aoi": "yard",
        "scene": f"scene-{day:07.2f}",
        "datetime": START + timedelta(days=day),
        "sensor": "SkySat",
        "method": "wagons",
        "count": count,
        "count_low": None if count is None else max(count - 2.0, 0.0),
        "count_high": None if count is None else count + 2.0,
        "clear_fraction": 1.0,
        "abstained": count is None,
        "reason": None if count is not None else "snow on the tracks",
    }
    return Observation(**(fields | changes))  # type: ignore[arg-type]


def test_observations_are_judged_against_published_counts_of_their_place() -> None:
    own = observation(0.0, 150.0, aoi="tumangang", datetime=datetime(2023, 12, 1, 2, tzinfo=UTC))
    (found,) = compare([own], seeds.comparable("tumangang"), titles={"tumangang": "Tumangang"})
    assert (found.verdict, found.basis) == ("unprecedented", "counts and published ceiling")
    assert found.maximum is not None
    assert found.maximum.value == 73.0
    assert found.sentence.startswith(
        "Tumangang, 2023-12-01: 150 freight cars (90% interval 148 to 152, counted by"
    )


def test_a_reviewed_count_stands_in_for_the_machines() -> None:
    machine = observation(1240.0, 90.0)
    review = observation(
        1240.0, 12.0, id="yard-review", scene=machine.scene, method="reviewed", review_of=machine.id
    )
    history = [observation(20.0 * i, float(i % 9)) for i in range(60)]
    found = compare([*history, machine, review])
    assert [one.record.id for one in found if one.record.day == machine.datetime.date()] == ["yard-review"]


def test_a_length_alone_is_a_range_of_cars() -> None:
    one = observation(
        0.0, None, abstained=False, reason=None, occupied_length_m=292.0, occupied_length_low_m=280.0,
        occupied_length_high_m=330.0,
    )  # fmt: skip
    (found,) = compare([one])
    assert (found.record.kind, found.record.value) == ("range", pytest.approx(20.0))
    assert (found.record.low, found.record.high) == (pytest.approx(14.0), pytest.approx(30.0))


def test_what_wasnt_seen_widens_the_count_upwards() -> None:
    whole, half = (compare([observation(0.0, 40.0, clear_fraction=share)])[0].record for share in (1.0, 0.5))
    assert half.sd_below == whole.sd_below
    assert half.sd_above > 40.0


def test_nothing_to_compare() -> None:
    assert compare([]) == []
    assert judge([]) == []
