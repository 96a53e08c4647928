"""The index of a large store: quick, never wrong, and read by others."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pystac
import pytest

from railwatch.store.index import INDEX, read_index, read_stamps, write_index
from railwatch.store.observation import Observation
from railwatch.store.store import Store

YARD = {"type": "Polygon", "coordinates": [[[130.6, 42.4], [130.61, 42.4], [130.61, 42.41], [130.6, 42.4]]]}
NUMBER = 450


def observation(number):
    when = datetime(2020, 1, 1, 2, tzinfo=UTC) + timedelta(days=number // 3)
    aoi = ("yard", "yard-two", "other")[number % 3]
    return Observation(
        id=f"{aoi}-{when:%Y%m%dt%H%M%Sz}-wagons-{number:012x}",
        aoi=aoi, scene=f"scene-{number}",
        datetime=when, sensor="Pléiades", method="wagons", count=float(number % 70), count_low=0.0,
        count_high=90.0,
        clear_fraction=1.0, hidden_fraction=0.0, abstained=False, reason=None, warnings=("a warning",),
        zones={"west": {"count": 1.0}}, tracks={},
        provenance={"sha256": f"{number:064x}", "nested": {"a": [1, 2]}},
        geometry=YARD if number % 5 else None, occupied_length_m=None, occupied_length_low_m=None,
        occupied_length_high_m=None,
    )  # fmt: skip


def put(store, one):
    folder = store.path / "items" / one.id
    folder.mkdir(exist_ok=True)
    text = json.dumps(one.to_item().to_dict(include_self_link=False, transform_hrefs=False))
    (folder / f"{one.id}.json").write_text(text)


@pytest.fixture
def store(tmp_path):
    made = Store.open(tmp_path / "store")
    for number in range(NUMBER):
        put(made, observation(number))
    made.refresh()
    return Store.open(made.path)


@pytest.fixture
def read(monkeypatch):
    """Counts the items that are read one by one."""
    seen = []
    real = pystac.Item.from_dict
    monkeypatch.setattr(pystac.Item, "from_dict", lambda *a, **k: seen.append(a) or real(*a, **k))
    return seen


def test_a_large_store_is_listed_from_one_file(store, read):
    assert (store.path / INDEX).exists()
    found = store.observations(superseded=True)
    assert not read
    assert found == sorted((observation(n) for n in range(NUMBER)), key=lambda one: (one.datetime, one.id))
    assert [one.aoi for one in Store.open(store.path).observations("yard")] == ["yard"] * (NUMBER // 3)


def test_what_was_changed_or_added_is_seen(store, read):
    changed = replace(observation(0), count=50.0)
    put(store, changed)
    put(store, observation(NUMBER))
    found = {one.id: one for one in store.observations(superseded=True)}
    assert found[changed.id].count == 50.0
    assert len(found) == NUMBER + 1
    assert len(read) == 2
    (store.path / "items" / observation(1).id / f"{observation(1).id}.json").unlink()
    assert observation(1).id not in {one.id for one in store.observations(superseded=True)}


def test_a_damaged_index_costs_time_and_nothing_else(store, read, caplog):
    (store.path / INDEX).write_bytes(b"PAR1 and then nothing")
    assert len(store.observations(superseded=True)) == NUMBER
    assert len(read) == NUMBER
    assert "made anew" in caplog.text
    store.refresh()
    assert len(list(read_index(store.path / INDEX))) == NUMBER


def test_an_index_of_other_fields_is_made_anew(store, read):
    path = store.path / INDEX
    table = pq.read_table(path)
    others = {**table.schema.metadata, b"railwatch:index_version": b"2 id aoi"}
    pq.write_table(table.replace_schema_metadata(others), path)
    assert list(read_index(path)) == []
    assert read_stamps(path) == {}
    store.refresh()
    assert len(read) == NUMBER
    found = {one.id: stamp for stamp, one in read_index(path)}
    assert len(found) == NUMBER
    assert read_stamps(path) == found


def test_a_small_store_has_none(tmp_path):
    small = Store.open(tmp_path / "small")
    for number in range(5):
        put(small, observation(number))
    small.refresh()
    assert not (small.path / INDEX).exists()


def test_others_read_it_as_stac_geoparquet(tmp_path):
    rustac = pytest.importorskip("rustac")
    rows = [((1, 2), observation(number)) for number in range(1, 5)]
    assert write_index(tmp_path / "index.parquet", rows) == 4
    found = rustac.read_sync(str(tmp_path / "index.parquet"))
    items = {one["id"]: one for one in found["features"]}
    assert set(items) == {one.id for _, one in rows}
    one = items[observation(2).id]
    assert one["properties"]["railwatch:count"] == 2.0
    assert one["geometry"]["type"] == "Polygon"
    assert one["properties"]["datetime"].startswith("2020-01-01T02:00:00")
    import geopandas as gpd

    assert len(gpd.read_parquet(tmp_path / "index.parquet")) == 4
