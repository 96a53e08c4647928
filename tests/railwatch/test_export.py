from __future__ import annotations

import csv
import json
import re
import sqlite3
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree as xml

import geopandas as gpd
import numpy as np
import openpyxl
import pandas as pd
import pyogrio
import pytest
import rasterio
from making import abstained, observation, picture
from typer.testing import CliRunner
from yards import Yard, detections_of

from detector.wagons.categories import TYPE_NAMES
from geo import open_scene
from railwatch.cli import app
from railwatch.config import RunConfig
from railwatch.errors import StoreError
from railwatch.pages import FORMATS
from railwatch.pages.export import export, export_images
from railwatch.pages.pictures.boxes import render
from railwatch.pages.tables import COUNT_COLUMNS, DETECTION_COLUMNS
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
    area = YARD.area()
    store.keep_area(area, RunConfig())
    types = ["tank"] * 5 + ["open"] * 2 + ["unknown"] * 2
    counted = replace(
        counted,
        detections=replace(counted.detections, frame=counted.detections.frame.assign(car_type=types)),
    )
    by_type = {"open": 2, "covered": 0, "tank": 5, "flat_or_container": 0, "unknown": 2}
    made_of = {"sha256": f"{0:064x}", "gsd_m": 0.5, "area": area.digest}
    pixels = open_scene(folder / "20230901.tif")
    shown = observation(0, provenance=made_of)
    drawn = render(pixels, counted.detections, area, shown)
    store.add(
        observation(0, provenance=made_of, tracks={"t1": {"count": 4.0}}, count_by_type=by_type),
        detections=counted.detections,
        evidence=drawn,
    )
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
    assert raw.decode("utf-8").splitlines()[0].split(",")[: len(COUNT_COLUMNS)] == list(COUNT_COLUMNS)
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["datetime"] for row in rows] == [
        "2023-09-01T02:15:00Z",
        "2023-09-02T02:15:00Z",
        "2023-09-03T02:15:00Z",
        "2023-09-04T02:15:00Z",
    ]
    assert [row["date"] for row in rows] == ["2023-09-01", "2023-09-02", "2023-09-03", "2023-09-04"]
    assert [row["count"] for row in rows] == ["10", "", "12", "13"]
    assert [row["kind"] for row in rows] == ["count", "missing", "count", "count"]
    assert [row["verdict"] for row in rows] == ["cannot say"] * 4
    assert [row["history_n"] for row in rows] == ["0"] * 4
    assert [(row["lon"], row["lat"]) for row in rows] == [("130.61", "42.415")] * 3 + [("", "")]
    assert [row["abstained"] for row in rows] == ["False", "True", "False", "False"]
    assert rows[1]["reason"] == "Too little is seen."
    assert rows[2]["warnings"] == 'one, two | say "three"\nfour'
    assert rows[0]["zone_north"] == "4"
    assert rows[0]["track_t1"] == "4"
    assert rows[2]["track_t1"] == ""
    assert [rows[0][f"count_{name}"] for name in TYPE_NAMES] == ["2", "0", "5", "0", "2"]
    assert {rows[2][f"count_{name}"] for name in TYPE_NAMES} == {""}
    assert rows[0]["gsd_m"] == "0.5"
    assert len(rows[0]["sha256"]) == 64


def test_geoparquet_keeps_types_and_places(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    assert export(store, path, "geoparquet") == 4
    table = gpd.read_parquet(path)
    assert table.crs == "EPSG:4326"
    assert str(table["datetime"].dtype).startswith("datetime64[")
    assert table["datetime"].dt.tz is not None
    assert table["count"].dtype == "Int64"
    assert table["clear_fraction"].dtype == "float64"
    assert table.geometry.iloc[0].bounds == (130.60, 42.41, 130.62, 42.42)
    assert table.geometry.iloc[3] is None
    boxes = tmp_path / "boxes.geoparquet"
    assert export(store, boxes, "geoparquet", what="detections") == 9
    found = gpd.read_parquet(boxes)
    assert list(found.columns) == [*DETECTION_COLUMNS, "geometry"]
    assert found["observation"].unique().tolist() == [observation(0).id]
    assert found["track"].value_counts().to_dict() == {"t1": 4, "t2": 3, "t3": 2}
    assert found["counted"].all()
    assert set(found["type"]) == {"freight car"}
    assert found["car_type"].value_counts().to_dict() == {"tank": 5, "open": 2, "unknown": 2}
    assert found["zone"].value_counts().to_dict() == {"west": 9}
    assert found["lon"].between(128.5, 128.7).all()
    # In longitude and latitude, where the yard is.
    assert found.geometry.iloc[0].within(YARD.area().boundary)
    assert found["pixel_length"].iloc[0] == pytest.approx(28.0)


def test_a_geopackage_has_both_layers(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "out.gpkg"
    assert export(store, path, "gpkg") == 4
    assert {name for name, _ in pyogrio.list_layers(path)} == {
        "observations",
        "detections",
        "layer_styles",
    }
    observations = gpd.read_file(path, layer="observations")
    detections = gpd.read_file(path, layer="detections")
    assert len(observations) == 4
    assert len(detections) == 9
    joined = detections.merge(observations, left_on="observation", right_on="id")
    assert len(joined) == 9
    assert observations["count"].isna().tolist() == [False, True, False, False]
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        styles = dict(database.execute("SELECT f_table_name, styleQML FROM layer_styles WHERE useAsDefault"))
        systems = dict(database.execute("SELECT table_name, srs_id FROM gpkg_geometry_columns"))
        kinds = {row[1]: row[2] for row in database.execute("PRAGMA table_info(observations)")}
    database.close()
    assert systems == {"observations": 4326, "detections": 4326}
    assert set(styles) == {"observations", "detections"}
    for name, qml in styles.items():
        root = xml.fromstring(qml.split("\n", 1)[1])
        temporal = root.find("temporal")
        assert (temporal.get("enabled"), temporal.get("mode"), temporal.get("startField")) == (
            "1",
            "1",
            "datetime",
        )
        filters = [rule.get("filter") for rule in root.iter("rule")]
        columns = set(gpd.read_file(path, layer=name).columns)
        assert {word for text in filters if text for word in re.findall('"(.*?)"', text)} <= columns
    assert kinds["datetime"] == "DATETIME"
    assert kinds["count"] in ("MEDIUMINT", "INTEGER")


def test_a_spreadsheet_has_dates_and_whole_numbers_and_runs_nothing(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "out.xlsx"
    assert export(store, path, "xlsx") == 4
    book = openpyxl.load_workbook(path)
    assert book.sheetnames == ["observations", "detections"]
    sheet = book["observations"]
    head = [cell.value for cell in sheet[1]]
    assert head[: len(COUNT_COLUMNS)] == list(COUNT_COLUMNS)
    row = dict(zip(head, sheet[2], strict=True))
    assert row["date"].value == datetime(2023, 9, 1)
    assert row["date"].is_date
    assert row["datetime"].value == datetime(2023, 9, 1, 2, 15)
    assert row["count"].value == 10
    assert isinstance(row["count"].value, int)
    assert row["abstained"].value is False
    assert sheet.freeze_panes == "A2"
    assert len(list(book["detections"].rows)) == 10
    hostile = Store.open(tmp_path / "hostile")
    hostile.add(observation(0, sensor="=1+1", warnings=("\x07bell", "+1")))
    export(hostile, path, "xlsx")
    sheet = openpyxl.load_workbook(path)["observations"]
    row = dict(zip([cell.value for cell in sheet[1]], sheet[2], strict=True))
    assert (row["sensor"].value, row["sensor"].data_type) == ("=1+1", "s")
    assert row["warnings"].value == "bell | +1"
    export(hostile, tmp_path / "out.csv", "csv")
    (found,) = csv.DictReader((tmp_path / "out.csv").read_text("utf-8").splitlines())
    assert found["sensor"] == "'=1+1"


def test_geojson_is_in_longitude_and_latitude(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "out.geojson"
    assert export(store, path, "geojson", what="detections") == 9
    document = json.loads(path.read_text("utf-8"))
    assert "crs" not in document
    assert document["name"] == "detections"  # and not that of the temporary file
    assert document["features"][0]["properties"]["date"] == "2023-09-01"
    (x, y), *_ = document["features"][0]["geometry"]["coordinates"][0]
    assert (round(x, 1), round(y, 1)) == (128.6, 42.4)


@pytest.mark.parametrize(
    ("locale", "separator", "decimal"), [("de", ";", ","), ("fr_CA", ";", ","), ("en-GB", ",", ".")]
)
def test_a_language_has_its_decimal_sign(
    store: Store, tmp_path: Path, locale: str, separator: str, decimal: str
) -> None:
    path = tmp_path / "out.csv"
    export(store, path, "csv", locale=locale)
    raw = path.read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(raw.decode("utf-8-sig").splitlines()[:2], delimiter=separator))
    assert rows[0]["clear_fraction"] == f"0{decimal}75"
    assert rows[0]["count"] == "10"
    assert pd.read_csv(path, sep=separator, decimal=decimal)["clear_fraction"].eq(0.75).all()
    with pytest.raises(StoreError, match="no language 'klingon'"):
        export(store, path, "csv", locale="klingon")


def test_pictures_lie_under_their_boxes(store: Store, tmp_path: Path) -> None:
    """The wagons are bright in the scene: they must be where the exported rectangles are."""
    (path,) = export_images(store, tmp_path / "images")
    assert (
        path.name == f"2023-09-01-{observation(0).id.rpartition('-')[0]}-{path.stem.rpartition('-')[2]}.tif"
    )
    export(store, tmp_path / "out.gpkg", "gpkg")
    boxes = gpd.read_file(tmp_path / "out.gpkg", layer="detections")
    with rasterio.open(path) as raster:
        assert raster.crs == "EPSG:32652"
        middles = boxes.to_crs(raster.crs).geometry.centroid
        values = [value[1] for value in raster.sample([(one.x, one.y) for one in middles])]
        grey = int(np.median(raster.read(2)))
    assert min(values) > grey + 60


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
    done = CliRunner().invoke(app, ["export", "--store", str(store.path), "--out", str(tmp_path / "out.shp")])
    assert "its ending tells no format" in str(done.exception)
    done = CliRunner().invoke(app, ["export", "--store", str(tmp_path / "no"), "--out", str(out)])
    assert "There is no store at" in str(done.exception)
