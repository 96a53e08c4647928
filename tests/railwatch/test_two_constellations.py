"""Occupancy from Sentinel-2 and from PlanetScope at one place: two series, which are never simply pooled."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from importlib.resources import files

import making
import pytest

from detector.tensor_file import read_card
from railwatch.history import VerdictSettings
from railwatch.history.combined import filtered
from railwatch.history.judge import PlaceHistory, compare
from railwatch.history.record import from_observation, method_of, stored_method
from railwatch.pages.charts.series import draw_series, legend_keys
from railwatch.pages.report.facts import trust_tables
from railwatch.pages.tables import count_row
from railwatch.store.observation import Observation

SETTINGS = VerdictSettings()


def look(number: int, count: float, sensor: str, hours: float = 0.0) -> Observation:
    when = making.START + timedelta(days=5 * number, hours=hours)
    return making.observation(
        number, datetime=when, sensor=sensor, method="occupancy", scene=f"{sensor}-{number}", zones={},
        count=count, count_low=max(count - 12.0, 0.0), count_high=count + 12.0, clear_fraction=1.0,
        provenance={"sha256": f"{sensor}-{number}", "gsd_m": 10.0, "created": "2023-10-06T00:00:00Z"},
    )  # fmt: skip


def series(offset: float = 15.0, number: int = 12) -> list[Observation]:
    """Sentinel-2 and, hours later, PlanetScope, which reads higher by an offset."""
    counts = [8.0 + 3.0 * (k % 4) for k in range(number)]
    return [
        *(look(k, count, "Sentinel-2A") for k, count in enumerate(counts)),
        *(look(k, count + offset, "PlanetScope", hours=3.0) for k, count in enumerate(counts)),
    ]


def test_a_series_each() -> None:
    first, other = look(0, 5.0, "Sentinel-2A"), look(0, 5.0, "simulated PlanetScope")
    assert (method_of(first), method_of(other)) == ("occupancy", "occupancy-planetscope")
    assert method_of(making.observation(sensor="PlanetScope", method="reviewed")) == "reviewed"
    assert from_observation(other, SETTINGS).method == "occupancy-planetscope"
    assert stored_method("occupancy-planetscope") == stored_method("occupancy") == "occupancy"


def test_the_filtered_lines_are_apart() -> None:
    found = filtered(series(offset=40.0))
    ends = {one.method: one.value for one in sorted(found.values(), key=lambda one: one.when)}
    assert ends["occupancy"] < 25.0
    assert ends["occupancy-planetscope"] > 40.0


def test_pairs_of_the_two_calibrate_one_by_the_other() -> None:
    records = [from_observation(one, SETTINGS) for one in series()]
    place = PlaceHistory(records, records, "Yard", SETTINGS, 1)
    line = place.calibrations["occupancy-planetscope", "occupancy"]
    assert line.offset == pytest.approx(15.0, abs=5.0)
    # Few pairs calibrate nothing: then the other's counts are taken with an unknown bias.
    few = [from_observation(one, SETTINGS) for one in series(number=4)]
    assert PlaceHistory(few, few, "Yard", SETTINGS, 1).calibrations == {}


def test_one_estimator_on_two_instruments_is_no_second_opinion() -> None:
    events = [look(80, 90.0, "Sentinel-2A"), look(80, 95.0, "PlanetScope", hours=3.0)]
    quiet = [look(k, 8.0 + k % 3, "Sentinel-2A") for k in range(70)]
    verdicts = {one.record.source: one for one in compare([*quiet, *events])}
    assert not verdicts["Sentinel-2A"].confirmed
    wagons = making.observation(
        400, method="wagons", sensor="SkySat", count=88.0, count_low=84.0, count_high=92.0, clear_fraction=1.0
    )
    verdicts = {one.record.source: one for one in compare([*quiet, *events, wagons])}
    assert verdicts["Sentinel-2A"].confirmed


def test_what_others_read_names_the_method_as_the_store_does() -> None:
    observations = series()
    assert {one.to_json()["method"] for one in compare(observations)} == {"occupancy"}
    rows = [count_row(from_observation(one, SETTINGS), one, None, title="Yard") for one in observations]
    assert {row["method"] for row in rows} == {"occupancy"}


def test_the_chart_tells_them_apart() -> None:
    history = making.history_of("Yard", series(), None, compare(series()))
    labels = [key.label for key in legend_keys(history)]
    assert {"track occupancy (10 m)", "track occupancy (PlanetScope)"} <= set(labels)
    axes = draw_series(history).axes[0]
    joined = [line.get_gid() for line in axes.get_lines() if str(line.get_gid()).startswith("filtered.line")]
    assert joined == ["filtered.line.0", "filtered.line.1"]


def test_the_report_says_of_which_sensor_its_figures_are() -> None:
    checksum = read_card(files("detector") / "weights" / "occupancy.safetensors")["sha256"]
    given = {"model": "occupancy", "model_version": "2", "model_checksum": checksum}
    own = [replace(one, provenance={**one.provenance, **given}) for one in series(number=2)]
    (both,) = trust_tables(own)
    (alone,) = trust_tables([one for one in own if one.sensor == "Sentinel-2A"])
    assert "PlanetScope" in both.note
    assert "PlanetScope" not in alone.note
