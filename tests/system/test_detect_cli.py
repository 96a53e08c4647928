"""`railwatch detect`: what it writes, and what it says when something is wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from painted import bright_wagons, bright_weights
from PIL import Image

CENTRES = [(42, 42), (82, 42), (122, 90)]


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """Weights made by hand that see bright wagons: the tests of the command don't hang on trained ones."""
    return bright_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def detect(railwatch, weights):
    """Runs the command with those weights."""

    def run(*arguments: object):
        return railwatch("detect", *arguments, "--weights", weights, "--device", "cpu")

    return run


@pytest.fixture
def picture(tmp_path) -> Path:
    """An image of three wagons without position."""
    path = tmp_path / "yard.png"
    Image.fromarray(bright_wagons(CENTRES)).save(path)
    return path


@pytest.fixture
def geotiff(tmp_path):
    """Makes an image of three wagons with a position."""

    def geotiff(name: str = "yard.tif", crs: str = "EPSG:32652", east: float = 632_000.0) -> Path:
        pixels = bright_wagons(CENTRES)
        profile = {"width": pixels.shape[1], "height": pixels.shape[0], "count": 3, "dtype": "uint8"}
        transform = Affine(0.5, 0, east, 0, -0.5, 4_698_000)
        with rasterio.open(
            tmp_path / name, "w", driver="GTiff", crs=crs, transform=transform, **profile
        ) as file:
            file.write(np.moveaxis(pixels, 2, 0))
        return tmp_path / name

    return geotiff


def test_a_careful_image_finds_them_too(detect, picture):
    done = detect(picture, "--gsd", 0.5, "--careful", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["images"][0]["count"] == len(CENTRES)


def test_the_json_is_the_documented_one(detect, geotiff, tmp_path):
    image, out = geotiff(), tmp_path / "x.geojson"
    done = detect(image, "--out", out, "--json")
    assert done.code == 0
    document = json.loads(done.out)
    assert document["out"] == str(out)
    (row,) = document["images"]
    assert set(row) >= {
        "image",
        "gsd_m",
        "count",
        "count_low",
        "count_high",
        "detections",
        "valid_fraction",
        "warnings",
    }
    assert row["image"] == str(image)
    assert row["gsd_m"] == pytest.approx(0.5, rel=1e-3)
    assert row["count"] == row["detections"] == 3
    assert row["count_low"] <= 3 <= row["count_high"]
    assert row["valid_fraction"] == 1.0
    assert row["warnings"] == []
    assert document["skipped"] == []


def test_the_geojson_is_the_documented_one(detect, geotiff, tmp_path):
    out = tmp_path / "x.geojson"
    assert detect(geotiff(), "--out", out).code == 0
    document = json.loads(out.read_text(encoding="utf-8"))
    assert len(document["features"]) == 3
    for feature in document["features"]:
        properties = feature["properties"]
        assert 0 <= properties["score"] <= 1
        assert properties["category"] in {"freight", "locomotive", "coach"}
        assert properties["length_m"] == pytest.approx(15, rel=0.02)
        assert properties["width_m"] == pytest.approx(3, rel=0.02)
        assert properties["azimuth_deg"] == pytest.approx(90, abs=0.1)
        assert len(properties["pixel_box"]) == 5
        assert properties["image"].endswith("yard.tif")
        ring = np.array(feature["geometry"]["coordinates"][0])
        assert ((ring > [130, 42]) & (ring < [131, 43])).all()
    places = sorted(tuple(np.round(f["properties"]["pixel_box"][:2])) for f in document["features"])
    assert places == CENTRES


@pytest.mark.parametrize("suffix", [".gpkg", ".parquet"])
def test_other_formats_keep_the_image_s_crs(detect, geotiff, tmp_path, suffix):
    out = tmp_path / f"x{suffix}"
    assert detect(geotiff(), "--out", out).code == 0
    found = gpd.read_file(out) if suffix == ".gpkg" else gpd.read_parquet(out)
    assert found.crs.to_epsg() == 32652
    assert len(found) == 3


def test_a_plain_picture_needs_its_resolution(detect, picture, tmp_path):
    done = detect(picture, "--gsd", 0.5, "--out", tmp_path / "x.geojson")
    assert done.code == 0
    assert "yard.png" in done.out
    features = json.loads((tmp_path / "x.geojson").read_text())["features"]
    assert [f["geometry"] for f in features] == [None] * 3
    without = detect(picture)
    assert without.code == 2
    assert "yard.png" in without.error
    assert "--gsd" in without.error


def test_text_for_people(detect, picture):
    done = detect(picture, "--gsd", 0.5)
    assert done.code == 0
    assert done.err == ""
    line = next(line for line in done.out.splitlines() if "yard.png" in line)
    assert "0.50" in line
    assert " 3 " in line
    assert " to " in line


def test_a_table_gives_each_image_its_resolution(detect, tmp_path):
    folder = tmp_path / "images"
    (folder / "a").mkdir(parents=True)
    (folder / "b").mkdir()
    # The same wagons at half a metre and, doubled, at a quarter; the names are the same.
    small = bright_wagons(CENTRES)
    Image.fromarray(small).save(folder / "a" / "same.png")
    Image.fromarray(small.repeat(2, axis=0).repeat(2, axis=1)).save(folder / "b" / "same.png")
    table = folder / "index.csv"
    table.write_text("file,gsd_m,remark\na/same.png,0.5,x\nb/same.png,0.25,y\n")
    done = detect(folder / "a" / "same.png", folder / "b" / "same.png", "--gsd-file", table, "--json")
    assert done.code == 0
    rows = json.loads(done.out)["images"]
    assert [row["gsd_m"] for row in rows] == [0.5, 0.25]
    assert [row["count"] for row in rows] == [3, 3]


def test_a_bare_name_in_the_table_is_enough(detect, picture, tmp_path):
    table = tmp_path / "elsewhere" / "gsd.csv"
    table.parent.mkdir()
    table.write_text("gsd_m,file\n0.5,yard.png\n")
    done = detect(picture, "--gsd-file", table, "--json")
    assert json.loads(done.out)["images"][0]["count"] == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("file,gsd_m\n", "has no rows"),
        ("name,gsd\nyard.png,0.5\n", "no column file and no gsd_m"),
        ("file,gsd_m\nyard.png,0,5\n", "3 cells for 2 columns"),
        ("file,gsd_m\nyard.png,half\n", "line 2: gsd_m is 'half', not a number"),
        ("file,gsd_m\nother.png,0.3\nyard.png\n", "line 3 has 1 cells for 2 columns"),
        ("file,gsd_m\nyard.png,\n", "line 2: gsd_m is '', not a number"),
        ("file,gsd_m\nyard.png,-1\n", "line 2: gsd_m is '-1', not a number"),
        ("file,gsd_m\nyard.png,nan\n", "line 2: gsd_m is 'nan', not a number"),
        ("gsd_m,file\n0.5,\n", "line 2 names no file"),
    ],
)
def test_a_bad_table_is_said_so(detect, picture, tmp_path, text, message):
    table = tmp_path / "gsd.csv"
    table.write_text(text)
    done = detect(picture, "--gsd-file", table)
    assert done.code == 2
    assert message in done.error
    assert "gsd.csv" in done.error


def test_a_table_that_cannot_be_read(detect, picture, tmp_path):
    done = detect(picture, "--gsd-file", tmp_path / "nowhere.csv")
    assert (done.code, "nowhere.csv" in done.error) == (2, True)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00file")
    done = detect(picture, "--gsd-file", tmp_path / "binary.csv")
    assert (done.code, "binary.csv" in done.error) == (2, True)


def test_an_image_that_the_table_lacks(detect, picture, tmp_path):
    (tmp_path / "gsd.csv").write_text("file,gsd_m\nother.png,0.5\n")
    done = detect(picture, "--gsd-file", tmp_path / "gsd.csv")
    assert done.code == 2
    assert "yard.png" in done.error


def test_both_ways_to_give_a_resolution_exclude_each_other(detect, picture, tmp_path):
    (tmp_path / "gsd.csv").write_text("file,gsd_m\nyard.png,0.5\n")
    done = detect(picture, "--gsd", 0.5, "--gsd-file", tmp_path / "gsd.csv")
    assert done.code == 2
    assert "--gsd and --gsd-file exclude each other" in done.error


@pytest.mark.parametrize(
    ("gsd", "message"),
    [
        (10, "too coarse to see wagons one by one"),
        (1.3, "too coarse to see wagons one by one"),
        (0.01, "finer than"),
        (-0.5, "makes no sense"),
        (0, "makes no sense"),
    ],
)
def test_a_resolution_that_cannot_be_is_refused(detect, picture, tmp_path, gsd, message):
    out = tmp_path / "x.geojson"
    done = detect(picture, "--gsd", gsd, "--out", out)
    assert done.code == 2
    assert message in done.error
    assert "yard.png" in done.error
    assert not out.exists()


def test_ten_metres_answers_with_one_sentence_and_no_boxes(railwatch, weights, tmp_path):
    # As a Sentinel-2 clip has it: reflectance in 16 bits at 10 m.
    path = tmp_path / "sentinel.tif"
    transform = Affine(10, 0, 632_000, 0, -10, 4_698_000)
    profile = {"driver": "GTiff", "width": 40, "height": 30, "count": 4, "dtype": "uint16"}
    with rasterio.open(path, "w", crs="EPSG:32652", transform=transform, **profile) as file:
        file.write(np.random.default_rng(0).integers(100, 4000, (4, 30, 40)).astype(np.uint16))
    done = railwatch("detect", path, "--weights", weights, "--json", "--out", tmp_path / "x.geojson")
    assert done.code == 2
    assert "10 m a pixel is too coarse to see wagons one by one" in done.error
    assert json.loads(done.out)["error"] == done.error
    assert not (tmp_path / "x.geojson").exists()


def bad_images(folder: Path) -> dict[str, Path]:
    whole = folder / "whole.png"
    Image.fromarray(bright_wagons(CENTRES)).save(whole)
    made = {"missing": folder / "missing.png"}
    for name, data in {
        "text": b"these are words, not an image\n" * 20,
        "empty": b"",
        "truncated": whole.read_bytes()[:-200],
    }.items():
        made[name] = folder / f"{name}.png"
        made[name].write_bytes(data)
    return made


@pytest.mark.parametrize("kind", ["missing", "text", "empty", "truncated"])
def test_a_bad_image_is_named_in_one_sentence(detect, tmp_path, kind):
    path = bad_images(tmp_path)[kind]
    done = detect(path, "--gsd", 0.5)
    assert done.code == 2
    assert path.name in done.error
    assert done.out == ""


def test_a_folder_in_place_of_an_image(detect, tmp_path):
    done = detect(tmp_path, "--gsd", 0.5)
    assert done.code == 2
    assert str(tmp_path) in done.error


def test_among_several_images_the_bad_one_is_skipped(detect, picture, tmp_path):
    bad = bad_images(tmp_path)
    out = tmp_path / "x.geojson"
    done = detect(bad["text"], picture, bad["missing"], "--gsd", 0.5, "--out", out, "--json")
    assert done.code == 0
    document = json.loads(done.out)
    assert [row["image"] for row in document["images"]] == [str(picture)]
    assert [s["path"] for s in document["skipped"]] == [str(bad["text"]), str(bad["missing"])]
    assert all(Path(s["path"]).name in s["reason"] for s in document["skipped"])
    assert len(json.loads(out.read_text())["features"]) == 3
    text = detect(bad["text"], picture, "--gsd", 0.5)
    assert text.code == 0
    assert "skipped: " in text.out


def test_when_no_image_can_be_used_nothing_is_written(detect, tmp_path):
    bad = bad_images(tmp_path)
    done = detect(bad["text"], bad["missing"], "--gsd", 0.5, "--out", tmp_path / "x.geojson")
    assert done.code == 2
    assert "none of the 2 images could be used" in done.error
    assert "text.png" in done.error
    assert not (tmp_path / "x.geojson").exists()


def test_images_of_different_systems_go_into_one_file(detect, geotiff, tmp_path):
    first = geotiff("a.tif")
    # In the next zone, at the same easting: another place.
    second = geotiff("b.tif", crs="EPSG:32653")
    out = tmp_path / "x.gpkg"
    assert detect(first, second, "--out", out).code == 0
    found = gpd.read_file(out)
    assert found.crs.is_geographic
    west = found[found["image"].str.endswith("a.tif")].total_bounds[0]
    east = found[found["image"].str.endswith("b.tif")].total_bounds[0]
    assert east - west == pytest.approx(6, abs=0.1)


@pytest.mark.parametrize("name", ["x.shp", "x.txt", "x"])
def test_an_unknown_ending_is_refused_before_the_work(detect, tmp_path, name):
    # The image doesn't exist, but the ending is looked at first.
    done = detect(tmp_path / "missing.png", "--gsd", 0.5, "--out", tmp_path / name)
    assert done.code == 2
    assert "use one of .geojson" in done.error


def test_a_file_that_cannot_be_written_is_refused_before_the_work(detect, tmp_path):
    missing = tmp_path / "missing.png"
    done = detect(missing, "--gsd", 0.5, "--out", tmp_path / "nowhere" / "x.geojson")
    assert done.code == 2
    assert "nowhere doesn't exist" in done.error
    (tmp_path / "taken.geojson").mkdir()
    done = detect(missing, "--gsd", 0.5, "--out", tmp_path / "taken.geojson")
    assert done.code == 2
    assert "is a folder" in done.error


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_refused_before_the_work(detect, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    done = detect(tmp_path / "missing.png", "--gsd", 0.5, "--out", folder / "x.geojson")
    assert done.code == 2
    assert "read-only" in done.error


def test_weights_that_are_not_ours(railwatch, picture, tmp_path):
    (tmp_path / "model.pt").write_bytes(b"anything")
    done = railwatch("detect", picture, "--gsd", 0.5, "--weights", tmp_path / "model.pt")
    assert done.code == 2
    assert "only .safetensors weights are read" in done.error
    path = bright_weights(tmp_path)
    path.write_bytes(path.read_bytes()[:5000])
    done = railwatch("detect", picture, "--gsd", 0.5, "--weights", path)
    assert done.code == 2
    assert "bright.safetensors" in done.error


@pytest.mark.parametrize(("tile", "code"), [(160, 0), (100, 2), (64, 2)])
def test_tiles_are_multiples_of_the_network_s_stride(detect, picture, tile, code):
    done = detect(picture, "--gsd", 0.5, "--tile-px", tile, "--batch-size", 1)
    assert done.code == code


def test_a_threshold_of_ones_own(detect, picture):
    counts = [
        json.loads(detect(picture, "--gsd", 0.5, "--threshold", t, "--json").out)["images"][0]["count"]
        for t in (0.5, 0.99)
    ]
    assert counts == [3, 0]
    assert detect(picture, "--gsd", 0.5, "--threshold", 1.5).code == 2


def test_pictures_of_what_was_found(detect, picture, tmp_path):
    other = tmp_path / "more" / "yard.png"
    other.parent.mkdir()
    Image.fromarray(bright_wagons(CENTRES[:1])).save(other)
    folder = tmp_path / "overlays" / "new"
    done = detect(picture, other, "--gsd", 0.5, "--overlay", folder)
    assert done.code == 0
    # Two images of one name have two pictures.
    names = sorted(p.name for p in folder.iterdir())
    assert names == sorted([f"{tmp_path.name}-yard.png", "more-yard.png"])
    for name in names:
        with Image.open(folder / name) as drawn:
            assert min(drawn.size) > 100


def test_no_image_at_all(detect):
    assert detect("--gsd", 0.5).code == 2


def test_as_a_process_of_its_own(railwatch_process, weights, picture, tmp_path):
    done = railwatch_process(
        "detect",
        picture.name,
        "--gsd",
        0.5,
        "--weights",
        weights,
        "--out",
        "x.geojson",
        "--json",
        cwd=tmp_path,
    )
    assert done.code == 0, done.err
    assert json.loads(done.out)["images"][0]["count"] == 3
    assert len(json.loads((tmp_path / "x.geojson").read_text())["features"]) == 3
