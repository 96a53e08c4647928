"""Scenes on disk: in their place on the map, with labels that come back as they were; the command line."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio

from detector.labels import read_labels
from detector.simulators import Rendered, random_scene, render
from detector.simulators.write import simulate_folder, write_scene
from geo import boxes_to_map, open_scene
from geo.boxes import map_to_boxes
from railwatch.cli import main


@pytest.fixture(scope="module")
def seen() -> Rendered:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rendered = render(random_scene(rng, split="test", size_m=80.0, kind="yard"), rng, 0.5)
        if (rendered.visibility > 0.5).sum() > 6:
            return rendered
    raise AssertionError("no yard with wagons in 20 scenes")


def test_a_written_scene_lies_where_it_was_put(seen: Rendered, tmp_path: Path) -> None:
    when = datetime(2023, 10, 5, 2, 17, tzinfo=UTC)
    row = write_scene(seen, tmp_path / "a", crs="EPSG:32652", origin_m=(632_000.0, 4_697_000.0), when=when)
    assert row.n_freight > 5
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.crs.to_epsg() == 32652
        assert file.bounds.left == 632_000.0
        assert file.bounds.top == 4_697_000.0
        assert file.tags()["SIMULATED"] == "yes"
    scene = open_scene(tmp_path / "a.tif")
    assert scene.datetime == when
    # A metre of UTM is within 0.1% of a metre on the ground.
    assert scene.gsd_m == pytest.approx(seen.gsd_m, rel=1.2e-3)
    placed = boxes_to_map(scene, seen.boxes)
    assert placed.length_m == pytest.approx(seen.boxes[:, 2] * seen.gsd_m, rel=1.2e-3)


def test_labels_come_back_as_they_were(seen: Rendered, tmp_path: Path) -> None:
    write_scene(seen, tmp_path / "b.tif")
    labels = json.loads((tmp_path / "b.geojson").read_text())
    properties = [f["properties"] for f in labels["features"]]
    assert [p["pixel_box"] for p in properties] == pytest.approx(np.round(seen.boxes, 3))
    assert [p["wagon_type"] for p in properties] == seen.wagon_type
    scene = open_scene(tmp_path / "b.tif")
    import geopandas as gpd

    frame = gpd.read_file(tmp_path / "b.geojson", engine="pyogrio").to_crs(scene.crs.to_wkt())
    back = map_to_boxes(scene, frame.geometry.to_numpy())
    assert back[:, :4] == pytest.approx(seen.boxes[:, :4], abs=0.02)
    (image,) = read_labels(tmp_path / "b.geojson")
    assert image.boxes[:, :4] == pytest.approx(seen.boxes[:, :4], abs=0.02)
    assert np.array_equal(image.category, seen.category)
    assert np.array_equal(image.ignored, seen.visibility < 0.35)
    for track in labels["tracks"]["features"]:
        assert track["geometry"]["type"] == "LineString"
        assert track["properties"]["gauge_mm"] in (1435, 1520)


def test_a_folder_of_scenes_repeats_by_seed(tmp_path: Path) -> None:
    rows = simulate_folder(tmp_path / "one", 3, seed=5, size_m=40.0, split="val")
    assert simulate_folder(tmp_path / "two", 3, seed=5, size_m=40.0, split="val") == rows
    assert simulate_folder(tmp_path / "three", 3, seed=6, size_m=40.0, split="val") != rows
    for name in (p.name for p in (tmp_path / "one").iterdir()):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    boxes = []
    for row in rows:
        with rasterio.open(tmp_path / "one" / row.file) as file:
            boxes.append(file.bounds)
    for i, a in enumerate(boxes):  # side by side, not on top of each other
        for b in boxes[i + 1 :]:
            assert a.right <= b.left or a.left >= b.right or a.top <= b.bottom or a.bottom >= b.top


def test_simulate_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "scenes"
    arguments = ["simulate", "--out", str(out), "--scenes", "2", "--size-m", "40", "--gsd", "0.5"]
    assert main([*arguments, "--split", "test", "--kind", "yard", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["scenes"] == 2
    assert document["freight"] == sum(row["n_freight"] for row in document["images"])
    with (out / "index.csv").open(newline="") as handle:
        listed = list(csv.DictReader(handle))
    assert [row["file"] for row in listed] == ["scene-00000.tif", "scene-00001.tif"]
    assert all(float(row["gsd_m"]) == pytest.approx(0.5, rel=0.01) for row in listed)
    assert sum(int((~image.ignored).sum()) for image in read_labels(out)) == sum(
        int(row["n_freight"]) + int(row["n_locomotive"]) + int(row["n_coach"]) for row in listed
    )


@pytest.mark.parametrize(
    ("simulator", "kind"), [("collage", "yard"), ("solids", "rakes"), ("relief", "trains")]
)
def test_every_simulator_writes_scenes_that_are_read_back(
    simulator: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "scenes"
    arguments = ["simulate", "--out", str(out), "--scenes", "2", "--size-m", "60", "--gsd", "0.5"]
    assert main([*arguments, "--simulator", simulator, "--kind", kind, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["freight"] > 0
    images = read_labels(out)
    assert sum(int((~image.ignored & (image.category == 0)).sum()) for image in images) == document["freight"]
    with (out / "index.csv").open(newline="") as handle:
        listed = list(csv.DictReader(handle))
    assert {row["sensor"] for row in listed} == {simulator}
    assert {row["kind"] for row in listed} == {kind}
    assert {row["snow"] for row in listed} == {""}  # not said rather than none
    labels = json.loads((out / "scene-00000.geojson").read_text())
    assert labels["tracks"]["features"]
    assert labels["scene"]["simulator"] == simulator


def test_faults_of_the_user_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "x")
    assert main(["simulate", "--out", out, "--kind", "castle"]) == 2
    assert "must be one of yard" in capsys.readouterr().err
    assert main(["simulate", "--out", out, "--simulator", "relief", "--kind", "yard"]) == 2
    assert "must be one of trains" in capsys.readouterr().err
    assert main(["simulate", "--out", out, "--simulator", "relief", "--shards", "1"]) == 2
    assert "nothing learns from the relief" in capsys.readouterr().err
    assert main(["simulate", "--out", out, "--simulator", "solids", "--shards", "1"]) == 2
    assert "wagons are not learned from the solids" in capsys.readouterr().err
    assert main(["simulate", "--out", out, "--backgrounds", str(tmp_path / "none")]) == 2
    assert "doesn't exist" in capsys.readouterr().err
    assert main(["simulate", "--out", out, "--kind", "background"]) == 2
    assert "--backgrounds" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["simulate", "--out", str(tmp_path / "file")]) == 2
    assert "is a file" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
