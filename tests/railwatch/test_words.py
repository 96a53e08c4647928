"""Words and figures that page, chart, sentence and table share, held to the figures they tell of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import observation

import seeds
from railwatch import words
from railwatch.history import compare, foremost
from railwatch.history.words import caveats, headline
from railwatch.store.observation import Observation

START = datetime(2021, 1, 4, 2, tzinfo=UTC)


def series(counts: list[float | None], **changes: Any) -> list[Observation]:
    """An image every 25 days."""
    found = []
    for number, count in enumerate(counts):
        values: dict[str, Any] = {
            "datetime": START + timedelta(days=25 * number),
            "count": count,
            "count_low": None if count is None else max(count - 2.0, 0.0),
            "count_high": None if count is None else count + 2.0,
            "abstained": count is None,
            "reason": "Clouds." if count is None else None,
            "warnings": (),
            "clear_fraction": 1.0,
            "hidden_fraction": 0.0,
        }
        last = number == len(counts) - 1
        found.append(observation(number, **(values | (changes if last else {}))))
    return found


@given(st.floats(0.0, 1000.0), st.floats(0.1, 100.0))
def test_a_figure_is_never_rounded_over_its_limit(value: float, limit: float) -> None:
    text = float(words.beside(value, limit))
    if abs(value - limit) > 1e-3 * max(value, limit):
        assert (text < limit) == (value < limit)
        assert (text > limit) == (value > limit)


@given(st.floats(0.001, 0.99))
def test_a_probability_under_its_threshold_is_not_printed_as_it(share: float) -> None:
    text = float(words.percent(share, 0.9).rstrip("%"))
    if abs(share - 0.9) > 1e-6:
        assert (text >= 90.0) == (share >= 0.9)


def test_a_headline_claims_what_the_images_can_say() -> None:
    verdicts = compare(series([5.0, 7.0, 4.0, 8.0, 6.0, 5.0, 7.0, 6.0, 60.0]))
    last = verdicts[-1]
    assert last.verdict == "unprecedented"
    assert headline(last) == (
        "60 freight cars (58 to 62) on 23 July 2021, the most in 7 images since January 2021, not yet "
        "confirmed by a second image"
    )
    assert "five years" not in headline(last)
    assert caveats(last) == ["only 7 images lie behind the comparison"]
    assert "note that only 7 images lie behind the comparison" in last.sentence


def test_a_higher_count_just_before_is_in_the_headline() -> None:
    verdicts = compare(series([5.0, 7.0, 4.0, 8.0, 6.0, 5.0, 7.0, 6.0, 70.0, 60.0]))
    assert "though there were 70 on 23 July 2021" in headline(verdicts[-1])


def test_what_confirms_is_told_with_its_own_count_day_and_verdict() -> None:
    first = compare(series([5.0, 7.0, 4.0, 8.0, 6.0, 5.0, 7.0, 6.0, 70.0, 60.0]))[-2]
    assert first.confirmed
    assert "confirmed by the image of 2021-08-17 with 60 freight cars (58 to 62), itself " in first.sentence
    assert first.to_json()["confirmed_count"] == 60.0
    assert first.to_json()["confirmed_verdict"].startswith("unprecedented")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sensor": "simulated test-pan"}, "the image is simulated"),
        ({"sensor": "simulated Sentinel-2A"}, "the image is simulated"),
        ({"clear_fraction": 0.62}, "only 62% of the area was seen"),
        ({"hidden_fraction": 0.1}, "10% of the area is hidden from above"),
        (
            {"warnings": ("The classical estimator says 3 freight cars, the network 20: observation.",)},
            "a second estimator disagrees with it",
        ),
    ],
)
def test_warnings_that_matter_stand_in_the_sentence(changes: dict[str, Any], said: str) -> None:
    last = compare(series([5.0, 7.0, 4.0, 8.0, 6.0, 5.0, 7.0], **changes))[-1]
    assert said in last.sentence
    assert said in caveats(last)
    assert said in last.to_json()["caveats"]


def test_five_images_of_the_five_that_are_needed_are_enough() -> None:
    verdicts = compare(series([5.0, 7.0, 4.0, 8.0, 6.0, 5.0, 7.0]))
    worth = verdicts[-1].to_json()["n_effective"]
    assert worth >= 5.0
    assert verdicts[-1].verdict != "cannot say"
    for one in verdicts:
        assert (one.basis == "none") == (one.to_json()["n_effective"] < 5.0)


def test_a_ceiling_heads_a_page_as_what_it_is() -> None:
    verdicts = compare([], seeds.comparable("tumangang"), judge_published=True)
    opening = foremost(verdicts, datetime(2023, 10, 5, tzinfo=UTC).date())
    assert opening is not None
    assert headline(opening).startswith(
        "About 73 freight cars on 5 October 2023, 3.65 times the ceiling of about 20"
    )
    assert headline(opening).endswith("not yet confirmed by a second image")
    assert foremost(verdicts, datetime(2023, 10, 6, tzinfo=UTC).date()) is None
