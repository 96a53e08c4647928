"""railwatch from Python: the same values as the command line, with the same defaults."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import geopandas as gpd
import matplotlib.figure
import pandas as pd
import pytest
import typer
from making import abstained, observation, picture
from PIL import Image
from yards import Yard

import railwatch
from aoi.errors import InputError
from railwatch.cli import app
from railwatch.config import RunConfig
from railwatch.selftest.samples import bundled
from railwatch.store.store import Store

Railwatch = Callable[..., Any]


@pytest.fixture
def call(request: pytest.FixtureRequest) -> Railwatch:
    """The command line (the fixture has the package's own name)."""
    found: Railwatch = request.getfixturevalue("railwatch")
    return found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    kept = Store.open(tmp_path_factory.mktemp("api") / "store")
    for number in range(20):
        count = 40.0 if number == 19 else 5.0 + number % 3
        kept.add(
            observation(number, count=count, count_low=count - 1, count_high=count + 2, warnings=()),
            evidence=picture(),
            refresh=False,
        )
    kept.add(abstained(20))
    kept.keep_area(Yard().area(), RunConfig().override(title="A heading", baseline__gap_days=0.0))
    return kept.path


def test_importing_costs_nothing(tmp_path: Path) -> None:
    program = (
        "import sys, railwatch; dir(railwatch); print(sorted({n.partition('.')[0] for n in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert not {"numpy", "pandas", "torch", "geopandas", "pystac"} & set(eval(done.stdout))
    assert set(railwatch.__all__) <= set(dir(railwatch))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        railwatch.nonsense  # noqa: B018


@pytest.mark.parametrize(
    ("function", "command", "names"),
    [
        (railwatch.detect, "detect", ("threshold", "careful", "tile_px", "batch_size", "device", "weights")),
        (railwatch.run, "run", ("aoi", "store", "config", "dates", "device", "weights", "hindcast")),
    ],
)
def test_the_defaults_are_those_of_the_command_line(
    function: Callable[..., Any], command: str, names: tuple[str, ...]
) -> None:
    given = {name: one.default for name, one in inspect.signature(function).parameters.items()}
    options = {one.name: one for one in typer.main.get_command(app).commands[command].params}  # type: ignore[attr-defined]
    assert {name: options[name].default for name in names} == {name: given[name] for name in names}


def test_detect_gives_what_the_command_writes(tmp_path: Path, call: Railwatch) -> None:
    with bundled() as samples:
        tile = samples.tiles[0].path
        wagons = railwatch.detect(tile, device="cpu")
        out = tmp_path / "wagons.parquet"
        done = call("detect", tile, "--out", out, "--device", "cpu", "--json")
    written = gpd.read_parquet(out)
    assert wagons.crs == written.crs
    assert wagons["score"].tolist() == written["score"].tolist()
    assert wagons.geometry.geom_equals(written.geometry).all()
    (said,) = json.loads(done.out)["images"]
    (image,) = wagons.attrs["images"]
    assert {key: image[key] for key in ("count", "count_low", "count_high")} == {
        key: said[key] for key in ("count", "count_low", "count_high")
    }


def test_a_screenshot_has_its_wagons_where_qgis_lays_it_out(tmp_path: Path) -> None:
    with bundled() as samples:
        tile = samples.tiles[0].path
        placed = railwatch.detect(tile, device="cpu")
        import rasterio

        with rasterio.open(tile) as raster:
            pixels = raster.read()
        shot = tmp_path / "shot.png"
        Image.fromarray(pixels[:3].transpose(1, 2, 0)).save(shot)
    wagons = railwatch.detect([shot], gsd_m=placed.attrs["images"][0]["gsd_m"], device="cpu")
    assert wagons.crs is None
    assert len(wagons) == len(placed) > 0
    for shape, box in zip(wagons.geometry, wagons["pixel_box"], strict=True):
        assert (shape.centroid.x, -shape.centroid.y) == pytest.approx(tuple(box[:2]))
    assert set(wagons["image"]) == {"shot.png"}


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"images": []}, "which images"),
        ({"images": "no.tif"}, "no.tif"),
        ({"images": "no.tif", "tile_px": 100}, "multiple of 32"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: dict[str, Any], fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        railwatch.detect(**arguments)


def test_run_takes_an_area_and_then_none(tmp_path: Path) -> None:
    yard = Yard()
    first = yard.write(tmp_path / "20230901_021500.tif", (0, 0, 0))
    with pytest.raises(InputError, match="which area"):
        railwatch.run(first, store=tmp_path / "store")
    result = railwatch.run(first, aoi=yard.area(), store=tmp_path / "store", device="cpu")
    assert [one.aoi for one in result.observations] == ["yard"]
    again = railwatch.run([str(first)], store=str(tmp_path / "store"))
    assert not again.new
    assert again.observations == result.observations


def test_a_store_as_tables(store: Path, call: Railwatch) -> None:
    opened = railwatch.open_store(store)
    assert opened.areas == ("yard",)
    counts = opened.counts()
    assert len(counts) == 21
    assert counts["count"].max() == 40
    assert isinstance(counts["datetime"].dtype, pd.DatetimeTZDtype)
    verdicts = opened.verdicts()
    said = json.loads(call("compare", "--store", store, "--json").out)["verdicts"]
    assert verdicts["verdict"].tolist() == [one["verdict"] for one in said]
    assert verdicts["sentence"].tolist() == [one["sentence"] for one in said]
    assert verdicts["datetime"].diff().dropna().eq(timedelta(days=1)).all()
    assert opened.detections().empty
    assert "<table" in opened._repr_html_()
    with pytest.raises(InputError, match="has no observation of khasan"):
        opened.verdicts("khasan", published=False)


def test_a_store_draws(store: Path, tmp_path: Path) -> None:
    opened = railwatch.open_store(store)
    chart = opened.chart(tmp_path / "chart.svg", kind="calendar")
    assert isinstance(chart.figure, matplotlib.figure.Figure)
    assert chart.title == "A heading"
    assert (tmp_path / "chart.svg").read_text("utf-8").startswith("<?xml")
    assert chart._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(InputError, match=r"written as \.png"):
        chart.save(tmp_path / "chart.gif")
    assert "A heading" in opened.report(tmp_path / "report.html").read_text("utf-8")


def test_no_store_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no store at"):
        railwatch.open_store(tmp_path / "no")
