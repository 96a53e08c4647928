"""`railwatch run` over a folder of Sentinel-2 products, as its user does it."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import ten_metres as yard

COUNTS = (3, 0, 6, 2, 4, 1, 5, 45)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight dates as SAFE zips, SAFE folders and COGs with STAC items, and one twice."""
    top = tmp_path_factory.mktemp("archive")
    kinds = ("zip", "safe", "cog")
    for number, wagons in enumerate(COUNTS):
        yard.write(top / "products" / kinds[number % 3], number, wagons, how=kinds[number % 3])
    yard.write(top / "products" / "again", 2, COUNTS[2], how="zip", level="L1C")
    yard.write_area(top / "siding.geojson")
    return top


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> yard.BrightEstimator:
    """The tiny estimator in place of the shipped one, which answers these made-up scenes in its own way."""
    estimator = yard.BrightEstimator()
    monkeypatch.setattr("railwatch.pipeline.run._load_estimator", lambda config: estimator)
    return estimator


def test_a_folder_of_products(
    archive: Path, tiny: yard.BrightEstimator, railwatch: Callable[..., Any], tmp_path: Path
) -> None:
    arguments = (
        "run",
        archive / "products",
        "--aoi",
        archive / "siding.geojson",
        "--store",
        tmp_path / "store",
    )
    done = railwatch(*arguments, "--config", "sentinel2", "--json")
    assert done.code == 0, done.err
    given = json.loads(done.out)
    assert [one["method"] for one in given["observations"]] == ["occupancy"] * len(COUNTS)
    assert [one["abstained"] for one in given["observations"]] == [True] * 5 + [False] * 3
    assert all("too few clear earlier dates" in one["reason"] for one in given["observations"][:5])
    last = given["observations"][-1]
    assert last["occupied_length_low_m"] < last["occupied_length_m"] < last["occupied_length_high_m"]
    assert last["count_low"] < last["count"] < last["count_high"]
    assert last["count"] == pytest.approx(COUNTS[-1], rel=0.3)
    assert last["lower_bound"] is False
    assert last["provenance"]["history"]["dates"] == 7
    (double,) = given["skipped"]
    assert "same acquisition" in double["reason"]
    assert len(tiny.asked) == 3

    again = railwatch(*arguments, "--config", "sentinel2")
    assert again.code == 0
    assert "0 new, 8 known already, 1 skipped" in again.out
    assert "occupied m" in again.out
    assert "m of track occupied (" in again.out
    assert len(tiny.asked) == 3
    page = (tmp_path / "store" / "reports" / "siding.html").read_text("utf-8")
    assert "Where the width comes from" in page
    assert "Contains modified Copernicus Sentinel data 2023." in page

    both = railwatch(*arguments, "--hindcast", "--json")
    found = json.loads(both.out)["observations"]
    assert not any(one["abstained"] for one in found)
    assert all(one["provenance"]["history"]["hindcast"] for one in found)


def test_detect_still_refuses(archive: Path, railwatch: Callable[..., Any]) -> None:
    for product in (
        *(archive / "products" / "zip").glob("*.zip"),
        *(archive / "products" / "cog").glob("*/B04.tif"),
    ):
        done = railwatch("detect", product)
        assert done.code == 2
        assert "too coarse" in done.error or "isn't an image" in done.error or "can't be" in done.error, (
            done.error
        )


def test_a_wide_area_without_tracks_isnt_answered(
    archive: Path, tiny: yard.BrightEstimator, railwatch: Callable[..., Any], tmp_path: Path
) -> None:
    bare = yard.write_area(tmp_path / "bare.geojson", yard.area("bare", tracks=False))
    done = railwatch("run", archive / "products", "--aoi", bare, "--store", tmp_path / "store", "--json")
    given = json.loads(done.out)
    assert [one["count"] for one in given["observations"]] == [None] * len(COUNTS)
    assert given["observations"][-1]["reason"] == "The area bare has no track lines."


@pytest.mark.skipif(
    not files("detector").joinpath("weights", "occupancy.safetensors").is_file(), reason="no weights yet"
)
def test_the_shipped_weights(archive: Path, railwatch: Callable[..., Any], tmp_path: Path) -> None:
    arguments = (
        "run",
        archive / "products",
        "--aoi",
        archive / "siding.geojson",
        "--store",
        tmp_path / "store",
    )
    done = railwatch(*arguments, "--device", "cpu", "--json")
    assert done.code == 0, done.err
    answered = [one for one in json.loads(done.out)["observations"] if not one["abstained"]]
    assert len(answered) == 3
    for one in answered:
        assert one["count_low"] <= one["count"] <= one["count_high"]
        assert one["occupied_length_low_m"] <= one["occupied_length_m"] <= one["occupied_length_high_m"]
        assert one["provenance"]["occupancy"]["budget"]
    assert answered[-1]["count"] > answered[0]["count"]
