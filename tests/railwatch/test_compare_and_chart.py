"""`railwatch compare` and `railwatch chart` as their user types them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from railwatch.store.observation import Observation
from railwatch.store.store import Store

START = datetime(2021, 1, 4, 2, tzinfo=UTC)

Railwatch = Callable[..., Any]


def observation(number: int, count: float | None, **changes: Any) -> Observation:
    fields: dict[str, Any] = {
        "id": f"yard-{number:04d}-{changes.get('method', 'wagons')}",
        "aoi": "yard",
        "scene": f"scene-{number}",
        "datetime": START + timedelta(days=25 * number),
        "sensor": "SkySat",
        "method": "wagons",
        "count": count,
        "count_low": None if count is None else max(count - 2.0, 0.0),
        "count_high": None if count is None else count + 2.0,
        "clear_fraction": 1.0,
        "abstained": count is None,
        "reason": None if count is not None else "Too little is seen.",
        "zones": {}
        if count is None
        else {"north": {"count": count, "count_low": count, "count_high": count}},
    }
    return Observation(**(fields | changes))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty quiet observations, one without an answer, and an event that a second observation confirms."""
    folder = tmp_path_factory.mktemp("history") / "store"
    kept = Store.open(folder)
    rng = np.random.default_rng(2)
    for number, count in enumerate(rng.integers(0, 15, 30)):
        kept.add(observation(number, float(count)))
    kept.add(observation(30, None))
    event = START + timedelta(days=25 * 32)
    kept.add(observation(32, 73.0, datetime=event))
    kept.add(observation(33, 70.0, datetime=event + timedelta(days=4)))
    return folder


def test_the_published_counts_give_the_csis_finding(railwatch: Railwatch) -> None:
    outcome = railwatch("compare", "--aoi", "tumangang", "--seeds-only", "--date", "2023-10-05", "--json")
    assert outcome.code == 0
    assert outcome.err == ""
    (found,) = json.loads(outcome.out)["verdicts"]
    assert (found["verdict"], found["count"], found["history_max"]) == ("unprecedented", 73, 20)
    assert (found["history_max_kind"], found["ratio_to_max"]) == ("ceiling", 3.65)


def test_all_published_dates_are_judged_oldest_first(railwatch: Railwatch) -> None:
    outcome = railwatch("compare", "--aoi", "tumangang", "--seeds-only")
    assert outcome.code == 0
    sentences = [line for line in outcome.out.splitlines() if line.startswith("Tumangang rail facility")]
    assert len(sentences) == 10
    assert "2024-12-03: 225 freight cars" in sentences[-1]
    assert "elevated" in sentences[-1]


def test_the_table_fits_a_terminal_of_80_columns(
    railwatch: Railwatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = railwatch("compare", "--aoi", "tumangang", "--seeds-only").out.splitlines()
    (row,) = (number for number, line in enumerate(lines) if line.strip().startswith("2023-10-05"))
    assert lines[row].split() == [
        "2023-10-05",
        "73",
        "unprecedented",
        "≤",
        "20",
        ">",
        "99%",
        "<",
        "0.1%",
        "0",
    ]
    assert lines[row + 1].strip() == "(unconfirmed)"


def test_a_store_is_compared_with_itself(railwatch: Railwatch, store: Path) -> None:
    outcome = railwatch("compare", "--store", store, "--json")
    document = json.loads(outcome.out)
    verdicts = document["verdicts"]
    assert len(verdicts) == 33
    assert [one["datetime"] for one in verdicts] == sorted(one["datetime"] for one in verdicts)
    event, again = verdicts[-2:]
    assert (event["verdict"], event["confirmed"], event["basis"]) == ("unprecedented", True, "counts")
    assert again["verdict"] == "unprecedented"
    assert next(one for one in verdicts if one["count"] is None)["reason"] == "Too little is seen."
    assert document["settings"]["lookback_years"] == 5
    assert document["calibrations"] == []


def test_without_a_store_option_it_is_that_of_a_run_without_one(
    railwatch: Railwatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "which history?" in railwatch("compare").error
    for number in range(3):
        Store.open(tmp_path / "railwatch-store").add(observation(number, 5.0))
    outcome = railwatch("compare", "--json")
    assert outcome.code == 0, outcome.err
    assert len(json.loads(outcome.out)["verdicts"]) == 3
    # What is asked of published counts alone has nothing to do with it.
    alone = railwatch("compare", "--aoi", "tumangang", "--seeds-only", "--json")
    assert {one["aoi"] for one in json.loads(alone.out)["verdicts"]} == {"tumangang"}


def test_the_window_is_an_option(railwatch: Railwatch, store: Path) -> None:
    day = (START + timedelta(days=25 * 32)).date()
    outcome = railwatch(
        "compare", "--store", store, "--date", day, "--lookback-years", 1, "--gap-days", 60, "--json"
    )
    (found,) = json.loads(outcome.out)["verdicts"]
    assert found["window"]["end"] == str(day - timedelta(days=60))
    assert found["history_n"] == 15
    assert "confirmed by the image of" in found["sentence"]


def test_calibrations_are_shown(railwatch: Railwatch, tmp_path: Path) -> None:
    kept = Store.open(tmp_path / "store")
    for number in range(20):
        kept.add(observation(number, 4.0 * number))
        near = START + timedelta(days=25 * number + 1)
        seen = 2.0 * number + 6.0
        kept.add(
            observation(
                number,
                seen,
                method="occupancy",
                sensor="Sentinel-2A",
                datetime=near,
                scene=f"s2-{number}",
                count_low=max(seen - 9.0, 0.0),
                count_high=seen + 9.0,
            )
        )
    outcome = railwatch("compare", "--store", tmp_path / "store", "--json")
    (line,) = json.loads(outcome.out)["calibrations"]
    assert (line["method"], line["reference"], line["pairs"]) == ("occupancy", "wagons", 20)
    assert line["gain"] == pytest.approx(0.5, abs=0.05)
    assert "occupancy = 0.5" in railwatch("compare", "--store", tmp_path / "store").out


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (
            ("--aoi", "tumangang", "--seeds-only", "--date", "2023-10-06"),
            "no count of tumangang on 2023-10-06; the nearest are those of 2023-09-22, 2023-09-24",
        ),
        (("--seeds-only",), "--seeds-only needs --aoi"),
        ((), "which history? Give --store DIR"),
        (("--store", "nowhere"), "no store at nowhere"),
        (("--aoi", "tumangang", "--seeds-only", "--lookback-years", "0"), "lookback_years"),
        (("--aoi", "tumangang", "--seeds-only", "--date", "5.10.2023"), "5.10.2023"),
    ],
)
def test_bad_questions_get_one_sentence(railwatch: Railwatch, arguments: tuple[str, ...], fault: str) -> None:
    outcome = railwatch("compare", *arguments)
    assert outcome.code == 2
    assert fault in outcome.error


def test_an_area_that_the_store_hasnt(railwatch: Railwatch, store: Path) -> None:
    assert (
        "has no observation of khasan; it has yard"
        in railwatch("compare", "--store", store, "--aoi", "khasan", "--no-seeds").error
    )


@pytest.mark.parametrize("kind", ["series", "zones", "calendar"])
def test_charts_of_a_store(railwatch: Railwatch, store: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / f"{kind}.png"
    outcome = railwatch("chart", "--store", store, "--out", out, "--kind", kind, "--width", 120, "--json")
    assert outcome.code == 0, outcome.err
    document = json.loads(outcome.out)
    assert (document["kind"], document["aoi"], document["observations"]) == (kind, "yard", 33)
    with Image.open(out) as picture:
        assert picture.format == "PNG"
        assert len(picture.convert("RGB").getcolors(1 << 20) or ()) > 20  # more than a blank page


def test_charts_without_a_store(railwatch: Railwatch, tmp_path: Path) -> None:
    events = tmp_path / "events.csv"
    events.write_text("date,label\n2023-09-13,a summit\n", "utf-8")
    out = tmp_path / "new folder" / "chart.svg"
    outcome = railwatch(
        "chart", "--aoi", "tumangang", "--seeds-only", "--out", out, "--events", events, "--svg-text", "text",
        "--since", "2023-01-01", "--until", "2024-12-31",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    text = out.read_text("utf-8")
    assert "a summit" in text
    assert "published: CSIS Beyond Parallel" in text
    assert "38 North" not in text  # before --since


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("--out", "chart.jpg"), "chart.jpg: a chart is written as .png, .svg or .pdf"),
        (("--out", "c.png", "--since", "2024-01-02", "--until", "2024-01-01"), "isn't before"),
        (("--out", "c.png", "--events", "none.csv"), "none.csv: can't be read"),
        (("--out", "c.png", "--kind", "tracks"), "the area file"),
        (("--out", "c.png", "--kind", "types"), "no count of yard is given by type of car"),
        (("--out", "c.png", "--kind", "pie"), "pie"),
    ],
)
def test_charts_that_cant_be_drawn(
    railwatch: Railwatch, store: Path, arguments: tuple[str, ...], fault: str
) -> None:
    outcome = railwatch("chart", "--store", store, *arguments)
    assert outcome.code == 2
    assert fault in outcome.error.replace("its area file", "the area file")
