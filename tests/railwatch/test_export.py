from __future__ import annotations

import csv
import sqlite3
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pyogrio
import pytest
from making import abstained, observation, picture
from typer.testing import CliRunner
from yards import Yard, detections_of

from geo import open_scene
from railwatch.cli import app
from railwatch.errors import StoreError
from railwatch.pages.export import DETECTION_COLUMNS, FORMATS, OBSERVATION_COLUMNS, export
from railwatch.pipeline.count_area import count_area
from railwatch.store.store import Store

YARD = Yard()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("export")
    scene = open_scene(YARD.write(folder / "20230901.tif"))
    counted = count_area(detections_of(scene, YARD.boxes((4, 3, 2))), YARD.area(), None)
    empty = detections_of(scene, YARD.boxes((0, 0, 0)))
    store = Store.open(folder / "store")
    store.add(observation(0, tracks={"t1": {"count": 4.0}}), detections=counted.detections)
    store.add(abstained(1), evidence=picture())
    store.add(observation(2, warnings=("one, two", 'say "three"\nfour')), detections=empty)
    store.add(observation(3, aoi="other", geometry=None))
    return store


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path) if path.suffix == ".csv" else pd.DataFrame(gpd.read_parquet(path))


def test_csv_opens_in_spreadsheets(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    assert export(store, path, "csv") == 4
    raw = path.read_bytes()
    assert raw.decode("utf-8").splitlines()[0].split(",")[: len(OBSERVATION_COLUMNS)] == list(
        OBSERVATION_COLUMNS
    )
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["datetime"] for row in rows] == [
        "2023-09-01T02:15:00Z",
        "2023-09-02T02:15:00Z",
        "2023-09-03T02:15:00Z",
        "2023-09-04T02:15:00Z",
    ]
    assert [row["count"] for row in rows] == ["10.0", "", "12.0", "13.0"]
    assert [row["abstained"] for row in rows] == ["False", "True", "False", "False"]
    assert rows[1]["reason"] == "Too little is seen."
    assert rows[2]["warnings"] == 'one, two | say "three"\nfour'
    assert rows[0]["zone_north"] == "4.0"
    assert rows[0]["track_t1"] == "4.0"
    assert rows[2]["track_t1"] == ""
    assert rows[0]["gsd_m"] == "0.5"
    assert len(rows[0]["sha256"]) == 64


def test_geoparquet_keeps_types_and_places(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    assert export(store, path, "geoparquet") == 4
    table = gpd.read_parquet(path)
    assert table.crs == "OGC:CRS84"
    assert str(table["datetime"].dtype).startswith("datetime64[")
    assert table["datetime"].dt.tz is not None
    assert table["count"].dtype == "float64"
    assert table.geometry.iloc[0].bounds == (130.60, 42.41, 130.62, 42.42)
    assert table.geometry.iloc[3] is None
    boxes = tmp_path / "boxes.geoparquet"
    assert export(store, boxes, "geoparquet", what="detections") == 9
    found = gpd.read_parquet(boxes)
    assert list(found.columns) == [*DETECTION_COLUMNS, "geometry"]
    assert found["observation"].unique().tolist() == [observation(0).id]
    assert found["track"].value_counts().to_dict() == {"t1": 4, "t2": 3, "t3": 2}
    assert found["counted"].all()
    # In longitude and latitude, where the yard is.
    assert found.geometry.iloc[0].within(YARD.area().boundary)
    assert found["pixel_length"].iloc[0] == pytest.approx(28.0)


def test_a_geopackage_has_both_layers(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "out.gpkg"
    assert export(store, path, "gpkg") == 4
    assert {name for name, _ in pyogrio.list_layers(path)} == {"observations", "detections"}
    observations = gpd.read_file(path, layer="observations")
    detections = gpd.read_file(path, layer="detections")
    assert len(observations) == 4
    assert len(detections) == 9
    joined = detections.merge(observations, left_on="observation", right_on="id")
    assert len(joined) == 9
    assert observations["count"].isna().tolist() == [False, True, False, False]
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


def test_one_area_alone(store: Store, tmp_path: Path) -> None:
    assert export(store, tmp_path / "out.csv", "csv", aoi="other") == 1
    assert read(tmp_path / "out.csv")["aoi"].unique().tolist() == ["other"]
    # An area without a single box still makes a table with all its columns.
    assert export(store, tmp_path / "out.parquet", "geoparquet", aoi="other", what="detections") == 0
    assert list(gpd.read_parquet(tmp_path / "out.parquet").columns) == [*DETECTION_COLUMNS, "geometry"]
    assert export(store, tmp_path / "out.gpkg", "gpkg", aoi="other") == 1
    assert len(gpd.read_file(tmp_path / "out.gpkg", layer="detections")) == 0


@pytest.mark.parametrize("format", ["csv", "geoparquet"])
def test_twice_gives_the_same_bytes(store: Store, tmp_path: Path, format: str) -> None:
    one, two = (tmp_path / f"{name}{FORMATS[format][0]}" for name in "ab")  # type: ignore[index]
    for path in (one, two):
        export(store, path, format, what="detections")  # type: ignore[arg-type]
    assert one.read_bytes() == two.read_bytes()


def test_nothing_to_export_and_nowhere_to_put_it(store: Store, tmp_path: Path) -> None:
    empty = Store.open(tmp_path / "empty")
    with pytest.raises(StoreError, match=r"empty holds no observations: there is nothing to export\.$"):
        export(empty, tmp_path / "out.csv", "csv")
    with pytest.raises(StoreError, match="no observations of the area nowhere"):
        export(store, tmp_path / "out.csv", "csv", aoi="nowhere")
    with pytest.raises(StoreError, match=r"the folder .*missing doesn't exist"):
        export(store, tmp_path / "missing" / "out.csv", "csv")
    with pytest.raises(StoreError, match=r"a gpkg file ends in \.gpkg"):
        export(store, tmp_path / "out.csv", "gpkg")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(StoreError, match=r"folder\.csv: can't be written: "):
        export(store, tmp_path / "folder.csv", "csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "folder.csv"]


def test_an_older_file_is_replaced_whole(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "out.gpkg"
    export(store, path, "gpkg")
    assert export(store, path, "gpkg", aoi="other") == 1
    assert len(gpd.read_file(path, layer="observations")) == 1
    assert [each.name for each in tmp_path.iterdir()] == ["out.gpkg"]


def test_the_command(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    arguments = ["export", "--store", str(store.path), "--out", str(out)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert f"4 observations written to {out}" in done.output
    done = CliRunner().invoke(app, [*arguments, "--aoi", "other", "--format", "geoparquet", "--json"])
    assert '"rows": 1' in done.output
    done = CliRunner().invoke(
        app, ["export", "--store", str(store.path), "--out", str(tmp_path / "out.xlsx")]
    )
    assert "its ending tells no format" in str(done.exception)
    done = CliRunner().invoke(app, ["export", "--store", str(tmp_path / "no"), "--out", str(out)])
    assert "There is no store at" in str(done.exception)
