from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import abstained, observation

from railwatch.config import config_names
from railwatch.errors import ConfigError
from railwatch.pages.claims import (
    DISCLAIMER,
    Assumption,
    Assumptions,
    ClaimAssessment,
    MedianInterval,
    assess,
    claims_page,
    load_assumptions,
)
from railwatch.store.observation import Observation
from seeds import comparable, load_claims


def fixed(**values: float) -> Assumptions:
    """Assumptions without any doubt, so that a claim can be worked out on paper."""
    sure = {
        "containers_per_wagon": 2.0,
        "shells_per_container": 400.0,
        "tonnes_per_wagon": 50.0,
        "wagons_per_train": 20.0,
        "share_through_place": 1.0,
        "dwell_days": 3.0,
        "outbound_share": 0.5,
        "month_variation": 1e-6,
    } | values
    return Assumptions(source="test", **{name: Assumption(one, one, one) for name, one in sure.items()})


def claim(**values: Any) -> pd.DataFrame:
    row = {
        "id": "claim",
        "made_by": "Somebody",
        "published": pd.Timestamp("2024-02-01"),
        "period_start": pd.Timestamp("2023-09-01"),
        "period_end": pd.Timestamp("2023-10-31"),
        "statement": "approximate",
        "quantity_low": 6100.0,
        "quantity_high": 6100.0,
        "unit": "containers",
        "route": "unknown",
        "with_claim": "",
        "corroboration": "primary",
        "via": "",
        "title": "",
        "url": "https://example.org",
        "note": "",
    } | values
    return pd.DataFrame([row])


def counted(day: str, count: float, **values: Any) -> Observation:
    when = datetime.fromisoformat(day).replace(tzinfo=UTC)
    given = {
        "datetime": when,
        "count": count,
        "count_low": count,
        "count_high": count,
        "clear_fraction": 1.0,
    } | values
    return observation(when.toordinal(), **given)


def one(
    observations: list[Observation], claims: pd.DataFrame, assumptions: Assumptions | None = None
) -> ClaimAssessment:
    (found,) = assess(observations, None, claims, assumptions or fixed())
    return found


# --------------------------------------------------------------------------------------------------
# On paper


@pytest.mark.parametrize(
    ("unit", "quantity", "wagons"),
    [
        ("containers", 6100, 3050),
        ("shells", 2_440_000, 3050),
        ("shells_152mm", 2_440_000, 3050),
        ("tonnes", 152_500, 3050),
        ("wagons", 3050, 3050),
        ("trains", 152.5, 3050),
    ],
)
def test_a_claim_in_wagons_and_trains(unit: str, quantity: float, wagons: float) -> None:
    found = one([], claim(unit=unit, quantity_low=quantity, quantity_high=quantity))
    assert found.wagons.median == pytest.approx(wagons)
    assert found.trains.median == pytest.approx(wagons / 20)
    # 61 days are 2.004 months of 30.4 days
    assert found.wagons_per_month is not None
    assert found.wagons_per_month.median == pytest.approx(wagons / (61 / 30.4375))


def test_what_could_have_passed_is_cars_over_dwell() -> None:
    observations = [counted("2023-10-05", 73.0), counted("2023-10-20", 27.0), counted("2023-11-02", 500.0)]
    found = one(observations, claim())
    assert [(month.month, month.days, month.observations) for month in found.months] == [("2023-10", 31, 2)]
    assert found.months_unseen == ("2023-09",)
    # 50 cars on average, half of them outbound, each three days: 31 days
    assert found.possible is not None
    assert found.possible.median == pytest.approx(50 * 0.5 * 31 / 3, rel=0.02)
    assert found.needed is not None
    assert found.needed.median == pytest.approx(3050 * 31 / 61)
    assert found.ratio is not None
    assert found.ratio.median == pytest.approx(found.needed.median / found.possible.median, rel=0.02)
    assert found.finding == "beyond"
    assert "2023-10" in found.sentence
    assert "no room here for an even share" in found.sentence


def test_room_for_a_claim_is_no_confirmation() -> None:
    found = one([counted("2023-10-05", 300.0)], claim(quantity_low=61.0, quantity_high=61.0))
    assert found.finding == "within"
    page = claims_page("Yard", [counted("2023-10-05", 300.0)], None, claim())
    text = page.markdown()
    assert DISCLAIMER in text
    assert "isn't thereby confirmed" in text
    for word in ("proves", "proof that", "confirms", "refutes"):
        assert word not in text


def test_part_of_a_month_counts_with_its_days() -> None:
    found = one(
        [counted("2023-10-05", 60.0)],
        claim(period_start=pd.Timestamp("2023-09-21"), period_end=pd.Timestamp("2023-10-10")),
    )
    assert [(month.month, month.days) for month in found.months] == [("2023-10", 10)]
    assert found.needed is not None
    assert found.needed.median == pytest.approx(3050 * 10 / 20)
    assert one([counted("2023-10-15", 60.0)], claim(period_end=pd.Timestamp("2023-10-10"))).months == ()


def test_months_without_a_count_are_named_and_not_filled_in() -> None:
    found = one([abstained(3), counted("2024-05-05", 60.0)], claim())
    assert found.finding == "no counts"
    assert found.months_unseen == ("2023-09", "2023-10")
    assert (found.needed, found.possible, found.ratio) == (None, None, None)
    assert "no count in its period" in found.sentence


def test_a_claim_without_a_beginning_is_compared_with_nothing() -> None:
    found = one([counted("2023-10-05", 60.0)], claim(period_start=pd.NaT))
    assert (found.finding, found.wagons_per_month, found.months) == ("no period", None, ())
    assert found.start is None
    assert "doesn't say from when on" in found.sentence


def test_bounds_are_said_and_taken_at_their_bound() -> None:
    least = one([], claim(statement="at_least", quantity_high=float("nan")))
    most = one([], claim(statement="up_to", quantity_low=float("nan")))
    between = one([], claim(statement="interval", quantity_low=6000.0, quantity_high=8000.0))
    assert least.quantity == "at least 6,100 containers"
    assert most.quantity == "up to 6,100 containers"
    assert between.quantity == "6,000 to 8,000 containers"
    assert least.wagons == most.wagons == MedianInterval(3050, 3050, 3050)
    assert (between.wagons.low, between.wagons.high) == pytest.approx((3050, 3950), rel=0.01)


def test_a_claim_that_went_by_sea_is_a_scale_only() -> None:
    assert "by sea, so this is a scale only" in one([], claim(route="sea")).sentence
    assert "scale only" not in one([], claim(route="rail")).sentence


def test_reviewed_counts_stand_in_for_the_machines() -> None:
    machine = counted("2023-10-05", 10.0)
    review = replace(
        machine,
        id="review",
        method="reviewed",
        review_of=machine.id,
        count=70.0,
        count_low=69.0,
        count_high=71.0,
    )
    assert one([machine, review], claim()).months[0].cars.median == pytest.approx(70, rel=0.03)


def test_published_counts_count_and_their_bounds_dont() -> None:
    published = comparable("tumangang")
    (found,) = assess([], published, claim(period_end=pd.Timestamp("2024-01-31")))
    assert [month.month for month in found.months] == ["2023-10"]
    assert found.months[0].cars.low < 73 < found.months[0].cars.high


# --------------------------------------------------------------------------------------------------
# Doubt


def test_the_same_arguments_give_the_same_figures() -> None:
    observations = [counted("2023-10-05", 73.0, count_low=66.0, count_high=82.0)]
    first = assess(observations, None, load_claims())
    assert assess(observations, None, load_claims()) == first
    # and one claim's figures don't hang on the others
    row = load_claims().iloc[[6]]
    assert assess(observations, None, row) == [first[6]]


def test_more_observations_of_a_month_say_more() -> None:
    def width(days: list[int]) -> float:
        cars = (
            one([counted(f"2023-10-{day:02d}", 50.0) for day in days], claim(), fixed(month_variation=0.6))
            .months[0]
            .cars
        )
        return cars.high - cars.low

    assert width([5, 12, 19, 26]) < 0.7 * width([5])


@settings(max_examples=15)
@given(st.floats(1, 300), st.floats(0.5, 20), st.floats(10, 1e6))
def test_figures_keep_their_order(cars: float, dwell: float, quantity: float) -> None:
    found = one(
        [counted("2023-10-05", round(cars))],
        claim(quantity_low=quantity, quantity_high=quantity),
        replace(load_assumptions(), dwell_days=Assumption(dwell, dwell, dwell)),
    )
    for interval in (found.wagons, found.trains, found.needed, found.possible, found.ratio):
        assert interval is not None
        assert 0 <= interval.low <= interval.median <= interval.high
        assert np.isfinite(interval.high)
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert document["finding"] in ("within", "open", "beyond")
    assert document["sentence"] == found.sentence


def test_a_longer_stay_lets_less_through() -> None:
    observations = [counted("2023-10-05", 73.0)]
    short, long = (one(observations, claim(), fixed(dwell_days=days)) for days in (1.0, 10.0))
    assert short.possible is not None
    assert long.possible is not None
    assert short.possible.median == pytest.approx(10 * long.possible.median)


# --------------------------------------------------------------------------------------------------
# Assumptions


def test_the_bundled_assumptions_are_ranges_with_reasons() -> None:
    assumptions = load_assumptions()
    for name, text, values in assumptions.items():
        assert 0 < values.low <= values.likely <= values.high, name
        assert text
        assert len(values.why) > 30, name
    # 6,700 containers, as the claims go: two a wagon is the middle of it
    assert assumptions.containers_per_wagon.likely == 2
    assert "claims" not in config_names(), "not the settings of a run"


def test_a_file_of_ones_own_changes_what_it_names(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[dwell_days]\nlow = 2\nlikely = 2\nhigh = 4\nwhy = "seen"\n')
    mine = load_assumptions(path)
    assert mine.dwell_days == Assumption(2, 2, 4, "seen")
    assert mine.containers_per_wagon == load_assumptions().containers_per_wagon
    assert mine.source == str(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[dwel_days]\nlow = 1", "unknown key dwel_days .did you mean dwell_days"),
        ("dwell_days = 3", "dwell_days must be a table"),
        ("[dwell_days]\nlow = 1\nhigh = 3", "dwell_days.likely is missing; it must be a number"),
        ("[dwell_days]\nlow = 1\nlikely = true\nhigh = 3", "dwell_days.likely must be a number, not true"),
        ("[dwell_days]\nlow = 1\nlikely = nan\nhigh = 3", "dwell_days.likely must be a number, not nan"),
        ("[dwell_days]\nlow = 5\nlikely = 3\nhigh = 6", "doesn't hold for 5, 3, 6"),
        (
            "[outbound_share]\nlow = 0.1\nlikely = 0.5\nhigh = 1.5",
            "outbound_share.high must be 1 or less, not 1.5",
        ),
        ("[dwell_days]\nlow = 1\nlikely = 2\nhigh = 3\nmode = 2", "unknown key dwell_days.mode"),
        ("[dwell_days", "not a valid TOML"),
    ],
)
def test_assumptions_that_make_no_sense_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as refused:
        load_assumptions(path)
    assert str(path) in str(refused.value)


# --------------------------------------------------------------------------------------------------
# The command line


def test_the_command_line_says_claims_in_wagons(tmp_path: Path, railwatch: Any) -> None:
    out = tmp_path / "new" / "claims.md"
    done = railwatch("claims", "--aoi", "tumangang", "--out", out, "--json")
    assert done.code == 0
    document = json.loads(done.out)
    assert document["disclaimer"] == DISCLAIMER
    by_id = {each["id"]: each for each in document["claims"]}
    assert set(by_id) == set(load_claims()["id"])
    first = by_id["rok-mnd-2024-02-26-containers"]
    assert first["wagons"]["low"] < 3350 < first["wagons"]["high"]
    assert [month["month"] for month in first["months"]] == ["2023-10"]
    assert "2023-12" in first["months_unseen"]
    page = out.read_text("utf-8")
    assert "| Containers a wagon | 1 | 2 | 3 |" in page
    assert page.count("Source: <http") == len(by_id)
    text = railwatch("claims", "--aoi", "tumangang")
    assert text.code == 0
    assert "must not be added up" in text.out


def test_mistakes_on_the_command_line_are_one_sentence(tmp_path: Path, railwatch: Any) -> None:
    assert "--aoi" in railwatch("claims").error
    gone = tmp_path / "gone"
    for option in ("--assumptions", "--claims"):
        outcome = railwatch("claims", "--aoi", "tumangang", option, gone)
        assert outcome.code == 2
        assert str(gone) in outcome.error
