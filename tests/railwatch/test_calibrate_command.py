"""`railwatch calibrate` as its user types it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from making import observation
from PIL import Image

from railwatch.store.store import Store

START = datetime(2021, 1, 4, 2, tzinfo=UTC)


def observations(folder: Path, number: int, gain: float) -> Path:
    """A store of as many days, each seen in detail and a day later at 10 m."""
    kept = Store.open(folder / "store")
    for index in range(number):
        when, truth = START + timedelta(days=25 * index), 4.0 * index
        fine: dict[str, Any] = {"scene": f"fine-{index}", "datetime": when, "id": f"yard-fine-{index}"}
        kept.add(observation(index, count=truth, count_low=max(truth - 2, 0), count_high=truth + 2, **fine))
        seen = gain * truth + 6.0
        coarse: dict[str, Any] = {
            "scene": f"s2-{index}",
            "datetime": when + timedelta(days=1),
            "id": f"yard-coarse-{index}",
            "method": "occupancy",
            "sensor": "Sentinel-2A",
        }
        kept.add(
            observation(100 + index, count=seen, count_low=max(seen - 9, 0), count_high=seen + 9, **coarse)
        )
    return kept.path


def test_the_line_its_pairs_and_its_picture(railwatch: Any, tmp_path: Path) -> None:
    store = observations(tmp_path, 20, 0.5)
    outcome = railwatch("calibrate", "--store", store, "--out", tmp_path / "lines", "--json")
    assert outcome.code == 0
    given = json.loads(outcome.out)
    (found,) = given["calibrations"]
    assert (found["aoi"], found["method"], found["reference"]) == ("yard", "occupancy", "wagons")
    assert len(found["pairs"]) == found["line"]["pairs"] == 20
    assert found["pairs"][3] == {
        "datetime": "2021-03-21T02:00:00+00:00",
        "count": 12.0,
        "reference_datetime": "2021-03-20T02:00:00+00:00",
        "reference_count": 12.0,
    }
    assert found["line"]["gain"] == pytest.approx(0.5, abs=0.05)
    assert found["reason"] == ""
    with Image.open(found["picture"]) as picture:
        assert picture.width == picture.height > 600
    said = railwatch("calibrate", "--store", store)
    assert "0.5" in said.out
    assert "no line" not in said.out


def test_where_there_is_no_line_it_says_why(railwatch: Any, tmp_path: Path) -> None:
    few = railwatch("calibrate", "--store", observations(tmp_path / "few", 5, 0.5))
    assert few.code == 0
    assert "no line from occupancy to wagons: 5 pairs of observations within 3 days, fewer than 8." in few.out
    flat = railwatch("calibrate", "--store", observations(tmp_path / "flat", 20, 0.0), "--json")
    (found,) = json.loads(flat.out)["calibrations"]
    assert found["line"] is None
    assert "hardly follows" in found["reason"]


def test_one_method_alone_has_nothing_to_calibrate(railwatch: Any, tmp_path: Path) -> None:
    Store.open(tmp_path / "store").add(observation(0))
    outcome = railwatch("calibrate", "--store", tmp_path / "store")
    assert (outcome.code, outcome.err) == (0, "")
    assert "nothing to calibrate" in outcome.out
    outcome = railwatch("calibrate")
    assert outcome.code == 2
    assert "which history? Give --store DIR" in outcome.error


def test_without_a_store_option_it_is_that_of_a_run_without_one(
    railwatch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Store.open(tmp_path / "railwatch-store").add(observation(0))
    assert "nothing to calibrate" in railwatch("calibrate").out
