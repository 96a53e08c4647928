from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from yards import Yard

from railwatch.cli import main
from railwatch.selftest.samples import Samples, bundled
from railwatch.store.store import Store


@pytest.fixture(scope="module")
def samples() -> Samples:
    with bundled() as found:
        return found


@pytest.fixture
def area(samples: Samples) -> str:
    return str(samples.area.path)


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    output = capsys.readouterr()
    return code, output.out, output.err


def coarse(path: Path) -> Path:
    """A 10 m image around the sample yard."""
    from affine import Affine

    return Yard(gsd_m=10.0, width_m=640, height_m=640).write(
        path, (0, 0, 0), crs="EPSG:32631", transform=Affine(10, 0, 499_900, 0, -10, 20_100)
    )


def test_pictures_of_ten_metres_are_skipped_with_the_reason(
    area: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = coarse(tmp_path / "scenes" / "20230901.tif")
    code, out, _ = call(capsys, "run", path, "--aoi", area, "--store", tmp_path / "store", "--json")
    given = json.loads(out)
    assert code == 2  # nothing that is of use
    assert given["observations"] == given["verdicts"] == []
    assert [one["path"] for one in given["skipped"]] == [str(path)]
    assert given["skipped"][0]["reason"].startswith("it is an 8-bit picture, stretched for the eye")
    code, out, err = call(capsys, "run", path, "--aoi", area, "--store", tmp_path / "store")
    assert code == 2
    assert "it is an 8-bit picture" in out + err


def test_nothing_readable_is_bad_input(area: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "scenes").mkdir()
    (tmp_path / "scenes" / "20230901.tif").write_text("no image")
    store = tmp_path / "store"
    code, out, err = call(capsys, "run", tmp_path / "scenes", "--aoi", area, "--store", store)
    assert code == 2
    assert out == ""
    assert "none of the scenes could be used" in err
    assert "20230901.tif" in err
    assert "Traceback" not in err
    code, out, err = call(capsys, "run", tmp_path / "scenes", "--aoi", area, "--store", store, "--json")
    assert code == 2
    assert [Path(one["path"]).name for one in json.loads(out)["skipped"]] == ["20230901.tif"]


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["x.tif"], "which area? Give --aoi"),
        (["x.tif", "--aoi", "atlantis"], "atlantis"),
        (["x.tif", "--config", "nothing.toml"], "nothing.toml: no such settings file"),
        (["x.tif", "--aoi", "khasan", "--dates", "no.csv"], "no.csv: can't be read"),
        (["x.tif", "--aoi", "khasan", "--bbox", "1,2,3,4"], "--aoi and --bbox exclude each other"),
        (["x.tif", "--aoi", "khasan", "--device", "abacus"], "abacus"),
        (["x.tif", "--aoi", "khasan", "--store", "file"], "file is a file"),
        (["--aoi", "khasan"], "SCENES"),
    ],
)
def test_bad_usage_is_one_sentence(
    arguments: list[str],
    fault: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    Image.new("RGB", (4, 4)).save(tmp_path / "x.tif")
    code, out, err = call(capsys, "run", *arguments)
    assert code == 2
    assert fault in err
    assert out == ""
    assert len(err.strip().splitlines()) == 1


def test_the_main_job(
    samples: Samples, area: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Real tiles, the shipped detector, the real store: counted once, then known."""
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    for tile in samples.tiles[:2]:
        shutil.copy(tile.path, scenes)
    shutil.copy(samples.tiles[0].path, scenes / "copy.tif")
    (scenes / "broken_20240101.tif").write_bytes(samples.tiles[0].path.read_bytes()[:900])
    arguments = ("run", scenes, "--aoi", area, "--store", tmp_path / "store", "--device", "cpu")
    code, out, err = call(capsys, *arguments, "--json")
    assert code == 0, err
    given: dict[str, Any] = json.loads(out)
    assert [one["datetime"] for one in given["observations"]] == [
        "2024-04-09T10:31:00Z",
        "2024-06-02T10:24:00Z",
    ]
    assert all(one["new"] and one["count"] is not None for one in given["observations"])
    assert sorted(Path(one["path"]).name for one in given["skipped"]) == [
        "broken_20240101.tif",
        samples.tiles[0].path.name,
    ]
    assert all(Path(chart).is_file() for chart in given["charts"])
    assert len(Store.open(given["store"]).observations()) == 2
    code, out, err = call(capsys, *arguments)
    assert code == 0, err
    assert "0 new, 2 known already, 2 skipped" in out
    assert "chart: " in out
    assert f"report: {given['report']}" in out
