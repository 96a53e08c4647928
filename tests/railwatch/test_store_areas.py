"""A store that remembers: the area, its title and the settings of its verdicts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pystac
import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import YARD, abstained, observation
from yards import Yard

from aoi import AreaOfInterest, Mask, Track, Zone, load_area
from aoi.io import area_document, area_from_document
from railwatch.config import RunConfig, config_names, load_config
from railwatch.errors import StoreError
from railwatch.history.sources import read_sources
from railwatch.store.areas import area_version, choose_settings, keep_area, kept_settings, stored_areas
from railwatch.store.store import Store

Railwatch = Callable[..., Any]

AREA = replace(
    Yard().area(masks=(Mask(YARD, "a roof", date(2023, 9, 5)),)), name="yard", title="The yard of the tests"
)
SHORT = RunConfig().override(
    title="A heading",
    baseline__lookback_years=0.5,
    baseline__gap_days=0.0,
    baseline__not_before=date(2020, 1, 1),
)


def filled(path: Path, area: AreaOfInterest = AREA, config: RunConfig = SHORT) -> Store:
    """A store of a steady yard with one high count at the end."""
    store = Store.open(path)
    for number in range(30):
        count = 40.0 if number == 29 else 5.0 + number % 3
        changes = {"count": count, "count_low": count - 1, "count_high": count + 2, "aoi": area.name}
        provenance = {"sha256": f"{number:064x}", "gsd_m": 0.5, "area": area.digest}
        store.add(observation(number, provenance=provenance, zones={}, warnings=(), **changes), refresh=False)
    store.keep_area(area, config)
    return store


@pytest.mark.parametrize("name", ["tumangang", "khasan"])
def test_an_area_keeps_its_digest_through_a_store(tmp_path: Path, name: str) -> None:
    area = load_area(name)
    keep_area(tmp_path, area, RunConfig())
    kept = stored_areas(tmp_path)[name]
    assert kept.area.digest == area.digest
    assert kept.area.title == kept.title == area.title
    assert [str(one) for one in kept.area.sources] == [str(one) for one in area.sources]
    assert [one.properties for one in kept.area.tracks] == [
        {"id": one.id, "role": "track", **one.properties} for one in area.tracks
    ]


PART = '{"railwatch:settings_version": %d, "aoi": "yard", "area": "x", "title": "", "settings": %s}'

COORDINATES = st.tuples(
    st.floats(-170, 170, allow_nan=False), st.floats(-70, 70, allow_nan=False), st.floats(0.001, 0.02)
)


@given(COORDINATES)
def test_any_area_comes_back_from_its_document(place: tuple[float, float, float]) -> None:
    import shapely

    x, y, size = place
    box = shapely.box(x, y, x + size, y + size / 2)
    line = shapely.LineString([(x + size / 8, y + size / 4), (x + size / 1.3, y + size / 3)])
    area = AreaOfInterest("any", "Any", box, (Track("1", line, 1520),), (Zone("z", "Z", box),))
    assert area_from_document(area_document(area), Path("any.geojson")).digest == area.digest


@pytest.mark.parametrize("name", [None, "tumangang", "vhr", "sentinel2"])
def test_settings_come_back_but_for_paths_and_the_device(tmp_path: Path, name: str | None) -> None:
    assert name is None or name in config_names()
    config = load_config(name).override(
        store=tmp_path / "elsewhere", detector__device="cpu", detector__weights="secret/weights.safetensors"
    )
    keep_area(tmp_path, AREA, config)
    kept = stored_areas(tmp_path)["yard"]
    assert kept_settings(kept.config) == kept_settings(config)
    assert kept.config.counting_digest == config.counting_digest
    assert kept.config.occupancy_digest == config.occupancy_digest
    assert kept.config.baseline == config.baseline
    text = (tmp_path / "areas" / "yard" / "settings.json").read_text("utf-8")
    assert str(tmp_path) not in text
    assert "secret" not in text


def test_a_day_comes_back(tmp_path: Path) -> None:
    keep_area(tmp_path, AREA, SHORT)
    assert stored_areas(tmp_path)["yard"].config.baseline.not_before == date(2020, 1, 1)


def test_what_changed_is_said_and_the_version_before_is_kept(tmp_path: Path) -> None:
    assert keep_area(tmp_path, AREA, SHORT) == (True, ())
    before = (tmp_path / "areas" / "yard" / "settings.json").read_bytes()
    assert keep_area(tmp_path, AREA, SHORT) == (False, ())
    assert (tmp_path / "areas" / "yard" / "settings.json").read_bytes() == before
    smaller = replace(AREA, masks=())
    written, said = keep_area(tmp_path, smaller, SHORT.override(baseline__lookback_years=3.0))
    assert written
    assert said[0] == (
        "baseline.lookback_years is 3, and 0.5 in the store; from now on the store keeps the new value."
    )
    assert "yard has changed since the last run" in said[1]
    assert stored_areas(tmp_path)["yard"].area.digest == smaller.digest
    old = area_version(tmp_path, "yard", AREA.digest)
    assert old is not None
    assert old.digest == AREA.digest
    assert area_version(tmp_path, "yard", None).digest == smaller.digest  # type: ignore[union-attr]
    assert area_version(tmp_path, "yard", "0" * 64) is None
    assert area_version(tmp_path, "elsewhere", None) is None


def test_versions_are_assets_of_the_collection(tmp_path: Path) -> None:
    store = filled(tmp_path / "store")
    collection = pystac.Collection.from_file(str(store.path / "collection.json"))
    (asset,) = collection.assets.values()
    assert asset.media_type == "application/geo+json"
    assert load_area(store.path / asset.href).digest == AREA.digest


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("nonsense", "isn't what railwatch wrote"),
        ("{}", "isn't what railwatch wrote"),
        (PART % (99, "{}"), "newer"),
        (PART % (1, '{"a": 1}'), "unknown key a"),
        (PART % (1, "{}"), "can't be read"),
    ],
)
def test_a_damaged_part_is_one_sentence(tmp_path: Path, text: str, fault: str) -> None:
    keep_area(tmp_path, AREA, SHORT)
    (tmp_path / "areas" / "yard" / "settings.json").write_text(text)
    with pytest.raises(StoreError, match=fault):
        stored_areas(tmp_path)


def test_looking_back_needs_no_flag(tmp_path: Path, railwatch: Railwatch) -> None:
    store = filled(tmp_path / "store")
    expected = [one.to_json() for one in read_sources(store.path).verdicts()]
    # The same as the pipeline's own way: the area's title, the settings of the run.
    assert expected[-1]["sentence"].count("A heading")
    assert expected[-1]["window"]["end"] == "2023-09-29"
    done = railwatch("compare", "--store", store.path, "--json")
    given = json.loads(done.out)
    plain = [{key: one[key] for key in expected[0]} for one in given["verdicts"]]
    assert plain == json.loads(json.dumps(expected))
    assert given["notes"] == []
    assert given["settings"]["lookback_years"] == 0.5
    chart = railwatch("chart", "--store", store.path, "--out", tmp_path / "chart.svg", "--json")
    assert chart.code == 0
    assert json.loads(chart.out)["notes"] == []
    report = railwatch("report", "--store", store.path, "--out", tmp_path / "report.html", "--json")
    assert json.loads(report.out)["notes"] == []
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "A heading" in page
    # Masks come from the store's area: nobody gave its file.
    tracks = railwatch("chart", "--store", store.path, "--kind", "tracks", "--out", tmp_path / "tracks.png")
    assert tracks.code == 0, tracks.err


def test_a_flag_that_differs_is_said_aloud(tmp_path: Path, railwatch: Railwatch) -> None:
    store = filled(tmp_path / "store")
    done = railwatch("compare", "--store", store.path, "--lookback-years", 2)
    note = "note: yard: baseline.lookback_years is 2, and 0.5 in the store: verdicts may differ from"
    assert note in done.out
    done = railwatch("chart", "--store", store.path, "--config", "vhr", "--out", tmp_path / "c.png", "--json")
    assert "baseline.gap_days is 30, and 0 in the store" in json.loads(done.out)["notes"][0]
    done = railwatch("report", "--store", store.path, "--no-seeds", "--out", tmp_path / "r.html", "--quiet")
    assert "baseline.use_published is false, and true in the store" in done.out
    smaller = tmp_path / "smaller.geojson"
    smaller.write_text(json.dumps(area_document(replace(AREA, masks=()))))
    done = railwatch("compare", "--store", store.path, "--aoi", smaller, "--json")
    assert "differs from the area yard that the store keeps" in json.loads(done.out)["notes"][0]
    # The same area by its file or its name differs in nothing.
    same = tmp_path / "same.geojson"
    same.write_text(json.dumps(area_document(AREA)))
    for aoi in (same, "yard"):
        done = railwatch("compare", "--store", store.path, "--aoi", aoi, "--json")
        assert json.loads(done.out)["notes"] == []


def test_each_area_of_a_store_has_its_own_settings(tmp_path: Path) -> None:
    store = filled(tmp_path / "store")
    alone = {one.record.id: one.to_json() for one in read_sources(store.path).verdicts()}
    other = replace(AREA, name="other", title="The other")
    filled(tmp_path / "store", other, RunConfig())
    sources = read_sources(store.path)
    assert sources.names == ("other", "yard")
    assert sources.settings_of("yard").lookback_years == 0.5
    assert sources.settings_of("other").lookback_years == 5.0
    assert sources.titles == {"other": "The other", "yard": "A heading"}
    both = {one.record.id: one.to_json() for one in sources.verdicts() if one.aoi == "yard"}
    assert both == alone
    chosen = choose_settings(store=store.path, baseline__gap_days=10.0)
    assert set(chosen.areas) == {"other", "yard"}
    assert len(chosen.notes) == 2


def test_a_store_of_an_older_railwatch_works_as_before(tmp_path: Path, railwatch: Railwatch) -> None:
    store = Store.open(tmp_path / "store")
    store.add(observation(0))
    store.add(abstained(1))
    assert stored_areas(store.path) == {}
    sources = read_sources(store.path)
    assert (sources.names, dict(sources.areas), sources.titles) == (("yard",), {}, {"yard": "yard"})
    done = railwatch("chart", "--store", store.path, "--kind", "tracks", "--out", tmp_path / "c.png")
    assert "aren't known here: give its area file" in done.error


def test_tracks_are_not_drawn_from_ten_metres(tmp_path: Path, railwatch: Railwatch) -> None:
    store = Store.open(tmp_path / "store")
    coarse = {"method": "occupancy", "occupied_length_m": 140.0, "sensor": "Sentinel-2 L2A"}
    store.add(observation(0, zones={}, **coarse))
    store.add(abstained(1, **{key: coarse[key] for key in ("method", "sensor")}))
    store.keep_area(AREA, RunConfig())
    out = tmp_path / "chart.png"
    done = railwatch("chart", "--store", store.path, "--kind", "tracks", "--out", out)
    assert "--kind tracks needs images on which wagons are counted one by one, and all 2 dates" in done.error
    done = railwatch("chart", "--store", store.path, "--kind", "zones", "--out", out)
    assert "no count of yard is given by zone: use --kind series" in done.error
    assert not out.exists()
    store.add(observation(2, zones={"west": {"count": 3.0, "count_low": 2.0, "count_high": 4.0}}))
    done = railwatch("chart", "--store", store.path, "--kind", "tracks", "--out", out)
    assert done.code == 0, done.err
    assert "note: 2 dates at 10 m aren't drawn: they say nothing about single tracks." in done.out
    # Metres of track are given by zone, so that zones are drawn from ten metres too.
    done = railwatch("chart", "--store", store.path, "--kind", "zones", "--out", out, "--json")
    assert json.loads(done.out)["observations"] == 3


def test_a_run_needs_no_flag_the_second_time(tmp_path: Path, railwatch: Railwatch) -> None:
    """The shipped detector on a small scene without wagons: what counts is what the run is about."""
    yard = Yard()
    area = tmp_path / "yard.geojson"
    area.write_text(json.dumps(area_document(yard.area())))
    store = tmp_path / "store"
    first = yard.write(tmp_path / "20230901_021500.tif", (1, 0, 0))
    second = yard.write(tmp_path / "20230902_021500.tif", (1, 1, 0), 5)
    done = railwatch("run", first, "--store", store, "--json")
    assert "which area?" in done.error
    done = railwatch("run", first, "--store", store, "--aoi", area, "--device", "cpu", "--json")
    assert done.code == 0, done.err
    area.unlink()
    done = railwatch("run", second, "--store", store, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert [one["aoi"] for one in found["observations"]] == ["yard"]
    assert not [one for one in found["warnings"] if "store keeps" in one]
    days = [one.datetime.date() for one in Store.open(store).observations()]
    assert days[1] - days[0] == timedelta(days=1)
    # A review is counted by the version that the machine counted by.
    id = found["observations"][0]["id"]
    done = railwatch("review", "export", id, "--store", store, "--out", tmp_path / "r.gpkg")
    assert done.code == 0, done.err
