"""Scores of occupancy on tables whose answers are known, the page made of them, and the targets."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from detector.occupancy.estimate import ConformalScaling, Pitch
from detector.training import occupancy_scores as scores
from detector.training.occupancy_recipe import trusted_range
from detector.training.occupancy_scores import (
    BY_COUNT,
    BY_COUNT_BLIND,
    Study,
    missed_targets,
    page,
    to_markdown,
    write_study,
)


def table(counts, cars, width: float = 5.0, **more) -> pd.DataFrame:
    counts, cars = np.asarray(counts, float), np.asarray(cars, float)
    return pd.DataFrame(
        {
            "site": np.arange(len(counts)) % 4,
            "count": counts,
            "length_m": counts * 15,
            "cars": cars,
            "cars_low": np.maximum(cars - width, 0),
            "cars_high": cars + width,
            "length_low": np.maximum(cars - width, 0) * 15,
            "length_high": (cars + width) * 15,
        }
        | more
    )


def test_raw_answers_become_calibrated_intervals():
    raw = pd.DataFrame({"said": [150.0, 15.0], "below": [30.0, 30.0], "above": [60.0, 60.0]})
    length = ConformalScaling((1.0, 10.0), (1.0, 2.0), (1.0, 1.0))
    count = ConformalScaling((1.0, 10.0), (0.5, 0.5), (2.0, 1.0))
    found = scores.intervals(raw, length, count, Pitch(15.0, 1.0))
    assert found["cars"].tolist() == [10.0, 1.0]
    assert found["cars_low"].tolist() == pytest.approx([9.0, 0.0])
    assert found["cars_high"].tolist() == pytest.approx([14.0, 9.0])
    assert found["length_low"].tolist() == pytest.approx([90.0, 0.0])
    assert found["length_high"].tolist() == pytest.approx([210.0, 75.0])


def test_errors_by_true_count():
    found = scores.by_count(table([0, 0, 10, 20, 30], [1, 3, 12, 18, 40])).set_index("true")
    assert list(found.index) == ["0", "6 to 20", "21 to 50", "all"]
    assert found.at["0", "mean"] == 2
    assert found.at["0", "rmse"] == pytest.approx(math.sqrt(5))
    assert (found.at["6 to 20", "bias"], found.at["6 to 20", "mae"]) == (0, 2)
    assert found.at["6 to 20", "to_bound"] == pytest.approx(2 / 5.4)
    assert found.at["21 to 50", "coverage"] == 0
    assert found.at["all", "coverage"] == pytest.approx(0.8)
    assert found.at["all", "length_coverage"] == pytest.approx(0.8)
    assert found.at["all", "looks"] == 5
    assert math.isnan(found.at["0", "to_bound"])
    other = scores.by_count(table([5.0], [1.0], other_cars=[5.0]), "other_cars")
    assert other.at[0, "bias"] == 0
    assert "coverage" not in other.columns


def test_a_constant_answer_has_no_slope_and_a_true_one_has_one():
    counts = np.arange(0, 120)
    true = scores.slope(table(counts, counts))
    assert (true["slope"], true["correlation"]) == pytest.approx((1, 1))
    assert true["site_slope_median"] == pytest.approx(1)
    flat = scores.slope(table(counts, 40 + 0.01 * counts))
    assert flat["slope"] == pytest.approx(0.01)
    half = scores.slope(table(counts, 10 + 0.5 * counts))
    assert (half["slope"], half["intercept"]) == pytest.approx((0.5, 10))
    # What lies above the range that is judged doesn't count.
    capped = scores.slope(table([*counts, 300], [*counts, 0]))
    assert capped["slope"] == pytest.approx(1)
    few = scores.slope(table([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]))
    assert math.isnan(few["site_slope_median"])


def test_groups():
    rows = table([10, 10, 20], [12, 8, 29])
    found = scores.grouped(rows, pd.Series(["a", "a", "b"]), "kind").set_index("kind")
    assert (found.at["a", "looks"], found.at["a", "bias"], found.at["a", "rmse"]) == (2, 0, 2)
    assert (found.at["a", "coverage"], found.at["b", "coverage"]) == (1, 0)


def test_detection_against_an_empty_yard():
    empty = np.linspace(0, 4, 41)
    rows = table([0] * 41 + [2] * 10 + [20] * 10, [*empty, *[3.0] * 5, *[9.0] * 5, *[20.0] * 10])
    found = scores.detection(rows).set_index("true")
    assert found["threshold"].iloc[0] == pytest.approx(3.8)
    assert found.at["1 to 2", "seen"] == 0.5
    assert found.at["18 to 25", "seen"] == 1
    assert scores.detection(table([0, 5], [0, 5])).empty


def test_a_build_up_is_judged_at_one_false_alarm_a_year():
    rng = np.random.default_rng(0)
    usual = {site: rng.normal(20, 3, 70) for site in range(5)}
    found = scores.build_up(usual, {site: [73.0, 73.0, 73.0] for site in range(5)})
    assert 25 < found["threshold"] < 30
    pooled = np.concatenate(list(usual.values()))
    assert (pooled > found["threshold"]).mean() == pytest.approx(1 / 70, abs=0.01)
    assert found["seen_in_one_look"] == found["seen_within_three"] == 1
    assert (found["usual_looks"], found["event_looks"]) == (350, 15)
    late = scores.build_up(usual, {site: [10.0, 10.0, 80.0, 80.0] for site in range(5)})
    assert late["seen_in_one_look"] == 0.5
    assert late["seen_within_three"] == 1
    # Yards of very different usual levels need thresholds of their own.
    apart = {0: rng.normal(5, 1, 70), 1: rng.normal(100, 3, 70)}
    found = scores.build_up(apart, {0: [40.0], 1: [150.0]})
    assert found["seen_in_one_look"] == 0.5
    assert found["rise_seen_in_one_look"] == 1


def test_the_range_that_can_be_trusted():
    counts = np.repeat(np.arange(51, 300), 2)
    assert trusted_range(table(counts, counts)) == 300
    pulled = np.where(counts > 150, 150 + 0.3 * (counts - 150), counts)
    assert 150 <= trusted_range(table(counts, pulled)) <= 200
    assert trusted_range(table(counts, 0.5 * counts)) == 50
    assert trusted_range(table(counts, 1.3 * counts)) == 300  # too high is no lower bound
    assert trusted_range(table([60.0], [60.0])) == 50  # too few to tell


def study(scale: float = 1.0, offset: float = 0.0, width: float = 8.5) -> Study:
    rng = np.random.default_rng(1)
    counts = np.concatenate([np.zeros(60), rng.integers(1, 151, 900)]).astype(float)
    cars = np.maximum(
        scale * counts + offset + rng.normal(0, 1, len(counts)) * 0.02 * np.maximum(counts, 20), 0
    )
    rows = table(counts, cars)
    error = np.abs(cars - counts)
    half = np.where(rng.random(len(counts)) < 0.9, error + 0.5, 0.5 * error) * width / 8.5
    rows = rows.assign(
        cars_low=cars - half,
        cars_high=cars + half,
        length_low=15 * (cars - half),
        length_high=15 * (cars + half),
    )
    figures = {f"with_tracks_{k}": v for k, v in scores.slope(rows).items()}
    figures |= {"build_up_seen_in_one_look": 0.97, "build_up_seen_within_three": 1.0}
    return Study(figures, {BY_COUNT: scores.by_count(rows), BY_COUNT_BLIND: scores.by_count(rows)}, rows)


def test_targets_that_are_met_and_missed():
    assert missed_targets(study()) == []
    short = missed_targets(study(scale=0.6))
    assert any(s.startswith("slope 0.6") for s in short)
    assert any(s.startswith("bias -") and "101 to 150" in s for s in short)
    high = missed_targets(study(offset=12.0))
    assert any("an empty yard is answered with 12" in s for s in high)
    assert any(s.startswith("boundary alone: error") for s in high)
    narrow = missed_targets(study(width=2.0))
    assert any("coverage" in s and "over all" in s for s in narrow)
    unseen = study()
    unseen.figures["build_up_seen_in_one_look"] = 0.5
    assert any("with probability 0.50, below 0.93" in s for s in missed_targets(unseen))


def test_the_page_shows_figures_and_tables(tmp_path):
    one = study()
    text = page(one)
    assert "| slope of answer on truth, 0 to 150 cars | 1.0" in text
    assert f"### {BY_COUNT}" in text
    assert "| 21 to 50 |" in text
    paths = write_study(one, tmp_path / "new")
    assert [p.name for p in paths] == ["occupancy-study.md", "occupancy-study.png", "occupancy-looks.csv"]
    assert paths[0].read_text() == text
    assert paths[1].stat().st_size > 5000
    assert len(pd.read_csv(paths[2])) == len(one.points)


def test_markdown_of_a_table():
    found = to_markdown(
        pd.DataFrame({"kind_of": ["a"], "coverage": [0.876], "bias": [1.26], "to_bound": [math.nan]})
    )
    assert found.splitlines() == [
        "| kind of | coverage | bias | to bound |",
        "|---|---:|---:|---:|",
        "| a | 0.88 | 1.3 |  |",
    ]
