"""Occupied length first, lower bounds as such: in words, records, tables, charts and the report."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
from making import START, history_of, observation

from railwatch.config import RunConfig
from railwatch.history import VerdictSettings, compare, from_observation
from railwatch.history.combined import COLUMNS
from railwatch.history.sources import Sources
from railwatch.pages.charts.series import draw_series
from railwatch.pages.export import export
from railwatch.pages.report import write_report
from railwatch.pages.report.build import budget_rows
from railwatch.store.observation import Observation, current
from railwatch.store.store import Store


def ten_metres(number: int = 0, count: float = 30.0, **changes: Any) -> Observation:
    """An observation of ten metres, every five days."""
    values: dict[str, Any] = {
        "method": "occupancy",
        "datetime": START + timedelta(days=5 * number),
        "sensor": "Sentinel-2A",
        "count": count,
        "count_low": max(count - 12.0, 0.0),
        "count_high": count + 12.0,
        "clear_fraction": 1.0,
        "warnings": (),
        "occupied_length_m": 14.0 * count,
        "occupied_length_low_m": max(14.0 * count - 150.0, 0.0),
        "occupied_length_high_m": 14.0 * count + 150.0,
        "provenance": {
            "acquisition": f"S2A_{number}",
            "sha256": f"{number:064x}",
            "gsd_m": 10.0,
            "created": "2023-12-01T00:00:00Z",
            "history": {"dates": 12, "first": "2022-01-01", "last": "2023-08-01", "digest": "ab", "ids": []},
            "registration": {"dx_m": 3.2, "dy_m": -0.04, "residual_m": 0.4, "converged": True},
            "clear": {"clear_fraction": 1.0, "snow_fraction": 0.0, "ring_cloud_fraction": 0.02},
            "occupancy": {
                "budget": {"total": 5.5, "texture": 5.0, "pitch": 2.0, "odd": 1.0},
                "pitch_m": [14.0, 1.0],
            },
        },
    }
    return observation(number, **(values | changes))


def series() -> list[Observation]:
    return [ten_metres(number, 10.0 + number % 3) for number in range(20)] + [
        ten_metres(20, 180.0, lower_bound=True)
    ]


def test_the_headline_has_the_length_first() -> None:
    assert ten_metres().headline == "420 m of track occupied (270 to 570), 30 freight cars (18 to 42)"
    most = ten_metres(0, 180.0, lower_bound=True)
    assert most.headline == (
        "at least 2,520 m of track occupied (2,370 to 2,670), at least 180 freight cars (168 to 192)"
    )
    assert ten_metres(0, 1.0).headline.endswith("1 freight car (0 to 13)")
    assert observation().headline == "10 freight cars (8 to 13)"


def test_a_lower_bound_needs_a_count_and_is_no_field_of_older_items() -> None:
    nothing: dict[str, Any] = dict.fromkeys(("count", "count_low", "count_high"))
    with pytest.raises(ValueError, match="lower bound"):
        replace(ten_metres(), lower_bound=True, abstained=True, reason="Clouds.", **nothing)
    item = ten_metres().to_item()
    del item.properties["railwatch:lower_bound"]
    assert Observation.from_item(item) == ten_metres()
    item.properties["railwatch:lower_bound"] = "yes"
    with pytest.raises(ValueError, match="its railwatch:lower_bound is a str"):
        Observation.from_item(item)


def test_a_lower_bound_is_history_and_verdict_as_such() -> None:
    record = from_observation(ten_metres(0, 180.0, lower_bound=True), VerdictSettings())
    assert record.kind == "at least"
    assert (record.length_m, record.length_low_m, record.length_high_m) == (2520.0, 2370.0, 2670.0)
    verdict = compare(series(), settings=VerdictSettings(gap_days=5.0))[-1]
    assert verdict.verdict in ("unprecedented", "elevated")
    assert (
        "at least 2,520 m of track occupied (2,370 to 2,670), or at least 180 freight cars"
        in verdict.sentence
    )
    given = verdict.to_json()
    assert given["lower_bound"]
    assert (given["kind"], given["occupied_length_m"]) == ("at least", 2520.0)
    assert from_observation(observation(), VerdictSettings()).length_m is None


def test_results_for_one_acquisition_count_once_whatever_it_was_called() -> None:
    given = dict(ten_metres().provenance)
    first = ten_metres(provenance=given | {"archive": 3})
    renewed = ten_metres(0, 31.0, provenance=given | {"archive": 9, "sha256": "ff"})
    assert current([first, renewed]) == current([renewed, first]) == [renewed]
    # The slower process had seen less of the archive.
    late = replace(first, id="late", provenance=given | {"archive": 3, "created": "2024-05-01T00:00:00Z"})
    assert current([late, renewed]) == [renewed]
    named = ten_metres(
        0, 32.0, provenance=given | {"acquisition": "S2A_better", "acquisition_aliases": ["S2A_0"]}
    )
    vague = ten_metres(0, 29.0)
    assert len(current([vague, named])) == 1
    other = ten_metres(3)
    assert current([vague, named, other])[-1] == other


def test_tables_have_the_filtered_series_beside_the_single_observations(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    for one in [*series(), observation(2, aoi="yard")]:
        store.add(one, refresh=False)
    store.refresh()
    export(store, tmp_path / "out.csv", "csv")
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text("utf-8").splitlines()))
    ten = [row for row in rows if row["method"] == "occupancy"]
    assert all(row[name] for row in ten for name in COLUMNS)
    assert float(ten[5]["filtered_count_high"]) - float(ten[5]["filtered_count_low"]) < 20.0
    assert [row["lower_bound"] for row in ten].count("True") == 1
    (fine,) = [row for row in rows if row["method"] == "wagons"]
    assert not any(fine[name] for name in COLUMNS)
    export(store, tmp_path / "out.parquet", "geoparquet")
    assert gpd.read_parquet(tmp_path / "out.parquet")["lower_bound"].sum() == 1


def test_compare_prints_the_filtered_series_in_columns_of_its_own(tmp_path: Path, railwatch: Any) -> None:
    store = Store.open(tmp_path / "store")
    for one in series():
        store.add(one, refresh=False)
    said = railwatch("compare", "--store", tmp_path / "store", "--no-seeds", "--json")
    verdicts = json.loads(said.out)["verdicts"]
    assert all(set(COLUMNS) <= set(one) for one in verdicts)
    assert (
        verdicts[3]["filtered_count_low"] < verdicts[3]["filtered_count"] < verdicts[3]["filtered_count_high"]
    )


def test_the_chart_names_the_filtered_line() -> None:
    history = history_of("Yard", series())
    assert len(history.combined()) == 21
    labels = [text.get_text() for text in draw_series(history).legends[0].get_texts()]
    assert {"track occupancy (10 m)", "estimate from several images together", "at least so many"} <= set(
        labels
    )
    few = history_of("Yard", series()[:2])
    assert few.combined() == []
    assert history_of("Yard", [observation(0), observation(1), observation(2)]).combined() == []


def test_the_report_shows_length_bound_budget_and_filtered_line(tmp_path: Path) -> None:
    sources = Sources(("yard",), {}, tuple(series()), None)
    page = write_report(sources, tmp_path / "page.html", config=RunConfig()).path.read_text("utf-8")
    assert "<b>at least 2,520 m</b> of track occupied" in page
    assert "At least 2,520 m of track occupied, or at least 180 freight cars (168 to 192) on" in page
    assert "<b>at least 180</b> freight cars" in page
    assert "Where the width comes from" in page
    assert "Ground that looks like wagons" in page
    assert 'class="filtered-line"' in page
    assert "12 dates before it, 2022-01-01 to 2023-08-01" in page
    assert "-3.2 m east, 0.0 m north, sure to 0.4 m" in page
    assert '<th scope="col" class="num">Track occupied</th>' in page
    fine = Sources(("yard",), {}, tuple(observation(number) for number in range(5)), None)
    other = write_report(fine, tmp_path / "fine.html", config=RunConfig()).path.read_text("utf-8")
    assert "Track occupied</th>" not in other
    assert "Where the width comes from" not in other


def test_a_budget_of_somebody_elses_store_does_no_harm() -> None:
    assert budget_rows(ten_metres()) == [
        ("Ground that looks like wagons", "5.0"),
        ("How long a car is", "2.0"),
        ("odd", "1.0"),
        ("All together", "5.5"),
    ]
    for nonsense in ({"occupancy": 3}, {"occupancy": {"budget": [1]}}, {"occupancy": {"budget": {"x": "y"}}}):
        assert budget_rows(ten_metres(provenance=nonsense)) == []
