from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from yards import TruthDetector

from aoi.errors import InputError
from railwatch.selftest.samples import Samples, bundled
from railwatch.selftest.validate import Measure, validate


@pytest.fixture(scope="module")
def samples() -> Samples:
    with bundled() as found:
        return found


def figures(samples: Samples, wrong: object = lambda boxes: boxes) -> dict[str, float]:
    done = validate(samples, TruthDetector(samples, wrong))  # type: ignore[arg-type]
    return {one.name: one.value for one in done.measures}


def test_the_truth_passes(samples: Samples) -> None:
    steps: list[tuple[int, int]] = []
    done = validate(samples, TruthDetector(samples), lambda *step: steps.append(step))
    assert done.passed
    found = {one.name: one.value for one in done.measures}
    assert (found["recall"], found["precision"], found["count_error_share"]) == (1.0, 1.0, 0.0)
    # The tile that shows a third of the yard is left out.
    assert len(done.tiles) == len(samples.tiles) - 1
    assert steps[-1] == (11, 11)
    assert done.model == "truth 1"
    given = json.loads(json.dumps(done.to_json()))
    assert given["passed"] is True
    assert {"name", "value", "threshold", "passed"} <= set(given["measures"][0])


def test_each_fault_is_seen_in_its_figure(samples: Samples) -> None:
    half = figures(samples, lambda boxes: boxes[::2])
    assert 0.45 < half["recall"] < 0.55
    assert half["precision"] == 1.0
    assert 0.4 < half["count_error_share"] < 0.6
    beside = figures(samples, lambda boxes: boxes + np.array([0.0, 6.0, 0, 0, 0]))
    assert beside["recall"] < 0.5
    turned = figures(samples, lambda boxes: boxes + np.array([0.0, 0, 0, 0, 90.0]))
    assert turned["recall"] < 0.2
    nothing = figures(samples, lambda boxes: boxes[:0])
    assert (nothing["recall"], nothing["precision"]) == (0.0, 0.0)
    assert nothing["count_worst_error_share"] == 1.0
    for one in (half, beside, turned, nothing):
        assert one != figures(samples)


def test_falling_short_fails(samples: Samples) -> None:
    done = validate(samples, TruthDetector(samples, lambda boxes: boxes[::2]))
    assert not done.passed
    assert {one.name for one in done.measures if not one.passed} >= {"recall", "count_error_share"}


@pytest.mark.parametrize(
    ("name", "value", "passed"),
    [
        ("recall", 0.9, True),
        ("recall", 0.8, True),
        ("recall", 0.79, False),
        ("count_error_share", 0.8, True),
        ("count_error_share", 0.81, False),
    ],
)
def test_thresholds_have_a_direction(name: str, value: float, passed: bool) -> None:
    assert Measure(name, value, 0.8).passed == passed


def test_every_threshold_is_measured(samples: Samples) -> None:
    assert set(samples.thresholds) == set(figures(samples))
    wrong = replace(samples, thresholds={"beauty": 1.0})
    with pytest.raises(InputError, match="unknown thresholds: beauty"):
        validate(wrong, TruthDetector(samples))
