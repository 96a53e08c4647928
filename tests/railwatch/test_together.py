"""Several images of one build-up add up: what joins, what doesn't, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from railwatch.history import VerdictSettings
from railwatch.history.combined import pooled
from railwatch.history.judge import judge
from railwatch.history.record import Record, upper_tail
from railwatch.history.verdict import RANK, Verdict
from railwatch.history.words import finding

START = datetime(2020, 1, 6, 10, tzinfo=UTC)
LAST = 1200.0


def image(day: float, count: float, **changes: object) -> Record:
    sd = float(np.hypot(7.0, 0.33 * count))
    fields: dict[str, object] = {
        "id": f"image-{day:07.1f}",
        "aoi": "yard",
        "when": START + timedelta(days=day),
        "until": START + timedelta(days=day),
        "kind": "count",
        "method": "occupancy",
        "value": count,
        "low": max(count - 1.645 * sd, 0.0),
        "high": count + 1.645 * sd,
        "sd_below": sd,
        "sd_above": sd,
        "growth": 0.047,
        "source": "Sentinel-2A",
    }
    return Record(**(fields | changes))  # type: ignore[arg-type]


def quiet(number: int = 75) -> list[Record]:
    """About 8 cars, seen with an error of 7, until a month and more before the event."""
    rng = np.random.default_rng(3)
    counts = np.minimum(rng.negative_binomial(3.0, 0.3, number), 20) + rng.normal(0.0, 7.0, number)
    return [image(15.0 * k, max(round(float(count)), 0)) for k, count in enumerate(counts)]


def judged(event: Sequence[Record], chosen: VerdictSettings | None = None) -> list[Verdict]:
    """The verdicts on an event after the quiet years."""
    records = [*quiet(), *event]
    return judge(records, judged={one.id for one in event}, settings=chosen)


def event(counts: Sequence[float]) -> list[Record]:
    """One image every five days."""
    return [image(LAST + 5.0 * k, count) for k, count in enumerate(counts)]


def test_three_high_images_say_more_than_each() -> None:
    first, second, third = judged(event([24, 24, 25]))
    assert (first.verdict, first.rule, first.joint) == ("typical", "one image", None)
    assert (second.verdict, second.alone, second.rule) == ("elevated", "typical", "images together")
    assert third.joint is not None
    assert [one.value for one in third.joint.records] == [24, 24, 25]
    said = third.to_json()
    assert (said["rule"], said["alone"], said["together"]["counts"]) == (
        "images together",
        "typical",
        [24, 24, 25],
    )
    assert said["together"]["probability_exceedance"] < 0.025 < said["probability_exceedance"]
    assert finding(third).startswith("with the 2 images before it (mean 24) more than 75 images since")
    assert "elevated together with the 24 of 2023-04-20 and the 24 of 2023-04-25" in third.sentence
    assert "by itself this image is typical" in third.sentence
    # One image at a time they say nothing.
    alone = judged(event([24, 24, 25]), replace(VerdictSettings(), together_images=1))
    assert [one.verdict for one in alone] == ["typical"] * 3


def test_an_unprecedented_build_up_names_the_image_that_it_rests_on() -> None:
    first, second, _ = judged(event([40, 41, 42]))
    assert (first.verdict, first.rule) == ("elevated", "one image")
    assert (second.verdict, second.alone, second.confirmed) == ("unprecedented", "elevated", True)
    assert second.confirmation is not None
    assert second.confirmation.id == first.record.id
    assert second.to_json()["confirmed_verdict"] == "elevated"
    assert "with the image before it (mean 40) the most in 75 images" in finding(second)
    assert "1.4 times the 29 of 2021-09-27, the most known" in second.sentence


@pytest.mark.parametrize(
    "broken",
    [
        [image(LAST, 24), image(LAST + 5, 4), image(LAST + 10, 25)],
        [image(LAST, 24), image(LAST + 31, 25)],
        # Another method that saw an ordinary yard in between.
        [image(LAST, 24), image(LAST + 3, 6, method="wagons", sd_below=1.0, sd_above=1.0, growth=0.0),
         image(LAST + 5, 25)],
        [replace(one, method="wagons") for one in event([24, 24, 25])],
    ],
    ids=["a low one between", "a month apart", "another method between", "fine images"],
)  # fmt: skip
def test_what_doesnt_join(broken: list[Record]) -> None:
    assert all(one.together is None for one in judged(broken))


@given(st.lists(st.integers(0, 90), min_size=2, max_size=4), st.integers(1, 40))
@settings(max_examples=6, deadline=None)
def test_joining_never_lowers_a_word_and_a_higher_count_doesnt_either(counts: list[int], more: int) -> None:
    def word(values: list[int], chosen: VerdictSettings | None = None) -> int:
        return RANK[judged(event(values), chosen)[-1].verdict]

    together = word(counts)
    assert together >= word(counts, replace(VerdictSettings(), together_images=1))
    assert word([*counts[:-1], counts[-1] + more]) >= together


def test_a_mean_errs_by_what_its_images_have_in_common() -> None:
    records = [image(0.0, 40, sd_below=10.0, sd_above=10.0), image(5.0, 60, sd_below=10.0, sd_above=10.0)]
    mean = pooled(records, replace(VerdictSettings(), common_error_share=0.0))
    assert (mean.value, mean.sd_above) == (50.0, pytest.approx(10.0 / np.sqrt(2)))
    assert pooled(records, replace(VerdictSettings(), common_error_share=1.0)).sd_above == pytest.approx(10.0)
    assert mean.when == records[-1].when


def test_few_cars_err_by_few() -> None:
    """An image of 70 cars that errs by 25 leaves an ordinary yard less likely than one error for all says."""
    cars = np.arange(0.0, 150.0)
    steady, growing = image(0.0, 70, growth=0.0), image(0.0, 70)
    assert growing.error_at(np.array([70.0]))[0] == pytest.approx(1.0)
    assert growing.error_at(np.array([0.0]))[0] * growing.sd_above == pytest.approx(7.0, rel=0.05)
    assert upper_tail(growing, cars)[10] < upper_tail(steady, cars)[10] / 100
    assert upper_tail(growing, cars)[70] == pytest.approx(0.5, abs=0.02)
    like = np.exp(growing.log_likelihood(cars))
    assert 50 < cars[like.argmax()] <= 70
