"""Bad input to `railwatch run` and its kin: the rest goes on, and nothing that is stored is lost."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from rasterio.warp import transform_geom

WEST, NORTH, EDGE_M, GSD_M = 631_000.0, 4_697_000.0, 96.0, 0.5


@pytest.fixture
def area(tmp_path) -> Path:
    """The file of an area of 96 x 96 m."""
    ring = [
        [WEST, NORTH],
        [WEST, NORTH - EDGE_M],
        [WEST + EDGE_M, NORTH - EDGE_M],
        [WEST + EDGE_M, NORTH],
        [WEST, NORTH],
    ]
    boundary = transform_geom("EPSG:32652", "OGC:CRS84", {"type": "Polygon", "coordinates": [ring]})
    feature = {"type": "Feature", "properties": {"role": "boundary"}, "geometry": boundary}
    collection = {
        "type": "FeatureCollection",
        "name": "trial-yard",
        "title": "A trial yard",
        "sources": [],
        "features": [feature],
    }
    path = tmp_path / "yard.geojson"
    path.write_text(json.dumps(collection), encoding="utf-8")
    return path


@pytest.fixture
def scene(tmp_path):
    """Makes an image of the area, taken on a day of May 2024."""
    folder = tmp_path / "scenes"
    folder.mkdir()

    def scene(day: int, *, east_m: float = 0.0, gsd_m: float = GSD_M, dated: bool = True) -> Path:
        edge = round(EDGE_M / GSD_M)
        pixels = np.random.default_rng(day).integers(60, 160, (3, edge, edge), dtype=np.uint8)
        path = folder / (f"scene_{day}.tif" if dated else f"undated_{day}.tif")
        profile = {"driver": "GTiff", "width": edge, "height": edge, "count": 3, "dtype": "uint8"}
        transform = from_origin(WEST + east_m, NORTH, gsd_m, gsd_m)
        with rasterio.open(path, "w", crs="EPSG:32652", transform=transform, **profile) as image:
            image.write(pixels)
            if dated:
                image.update_tags(TIFFTAG_DATETIME=f"2024:05:{day:02d} 02:00:00")
        return path

    return scene


@pytest.fixture
def run(railwatch, tmp_path, area):
    def run(*arguments: object):
        options = ("--store", tmp_path / "store", "--aoi", area, "--config", "vhr", "--device", "cpu")
        return railwatch("run", *options, *arguments, "--json")

    return run


def stored(store: Path) -> dict[str, bytes]:
    """Every item file of a store with its content."""
    return {str(path.relative_to(store)): path.read_bytes() for path in sorted(store.glob("items/*/*"))}


def test_the_rest_goes_on_and_the_bad_ones_are_listed(run, scene, tmp_path):
    good = scene(1)
    truncated = scene(2)
    truncated.write_bytes(truncated.read_bytes()[: truncated.stat().st_size // 2])
    elsewhere, coarse, undated = scene(3, east_m=9_000), scene(4, gsd_m=10.0), scene(5, dated=False)
    empty = tmp_path / "scenes" / "empty.tif"
    empty.touch()
    letter = tmp_path / "scenes" / "letter.tif"
    letter.write_text("Dear reader, this isn't an image.")
    missing = tmp_path / "missing.tif"
    outcome = run(tmp_path / "scenes", missing)
    assert outcome.code == 0, outcome.err
    document = json.loads(outcome.out)
    assert [one["datetime"] for one in document["observations"]] == ["2024-05-01T02:00:00Z"]
    reasons = {Path(one["path"]).name: one["reason"] for one in document["skipped"]}
    assert set(reasons) == {
        path.name for path in (truncated, elsewhere, coarse, undated, empty, letter, missing)
    }
    assert "doesn't touch the area" in reasons[elsewhere.name]
    assert "8-bit picture" in reasons[coarse.name]
    assert "--dates" in reasons[undated.name]
    assert good.name not in reasons
    for reason in reasons.values():
        assert "\n" not in reason
        assert "unexpectedly" not in reason


def test_nothing_readable_is_bad_input(run, tmp_path):
    letter = tmp_path / "letter.tif"
    letter.write_text("Dear reader, this isn't an image.")
    outcome = run(letter)
    assert outcome.code == 2
    assert "letter.tif" in outcome.error


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--aoi", "atlantis"], "atlantis"),
        (["--aoi", "broken.geojson"], "broken.geojson"),
        (["--config", "broken.toml"], "broken.toml: unknown key stroe"),
        (["--config", "none"], "none: no such settings file"),
        (["--dates", "none.csv"], "none.csv"),
        (["--dates", "letter.csv"], "letter.csv"),
        (["--store", "letter.csv"], "letter.csv is a file"),
        (["--weights", "letter.csv"], "letter.csv"),
    ],
)
def test_an_option_that_names_the_wrong_thing(railwatch, scene, area, tmp_path, monkeypatch, options, fault):
    monkeypatch.chdir(tmp_path)
    Path("broken.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    Path("broken.toml").write_text("stroe = 'x'")
    Path("letter.csv").write_text("Dear reader")
    defaults = {"--aoi": str(area), "--store": "store", "--config": "vhr"}
    defaults[options[0]] = options[1]
    words = [word for pair in defaults.items() for word in pair]
    outcome = railwatch("run", scene(1), *words, "--device", "cpu")
    assert (outcome.code, outcome.out) == (2, "")
    assert fault in outcome.error


def test_without_an_area_it_asks_for_one(railwatch, scene, tmp_path):
    outcome = railwatch("run", scene(1), "--store", tmp_path / "store")
    assert outcome.code == 2
    assert "--aoi" in outcome.error


def test_a_store_of_a_newer_railwatch_is_left_alone(run, scene, tmp_path):
    assert run(scene(1)).code == 0
    collection = tmp_path / "store" / "collection.json"
    document = json.loads(collection.read_text(encoding="utf-8"))
    (key,) = (key for key in document if key.endswith("store_version"))
    document[key] += 1
    collection.write_text(json.dumps(document), encoding="utf-8")
    before = stored(tmp_path / "store")
    outcome = run(scene(2))
    assert outcome.code == 2
    assert "written by a newer railwatch" in outcome.error
    assert stored(tmp_path / "store") == before


@pytest.mark.parametrize("command", ["export", "compare", "chart"])
def test_a_store_that_is_not_there_is_named(railwatch, tmp_path, command):
    options = {"export": ["--out", tmp_path / "x.csv"], "chart": ["--out", tmp_path / "x.png"]}
    outcome = railwatch(command, "--store", tmp_path / "nowhere", *options.get(command, []))
    assert outcome.code == 2
    assert "nowhere" in outcome.error
    assert not (tmp_path / "nowhere").exists()


def test_a_full_disk_loses_nothing(run, scene, area, tmp_path, repository):
    """On a real small disk: one sentence, exit 2, and what was stored before stays as it was."""
    if (
        not shutil.which("unshare")
        or subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode
    ):
        pytest.skip("this system doesn't let tests mount small disks")
    assert run(scene(1)).code == 0
    later, disk = scene(2), tmp_path / "disk"
    disk.mkdir()
    digest = f"(cd {disk}/store && find items -type f | sort | xargs sha256sum)"
    again = f"{sys.executable} -m railwatch run {later} --store {disk}/store --aoi {area}"
    script = (
        f"mount -t tmpfs -o size=4m tmpfs {disk} && cp -r {tmp_path / 'store'} {disk}/store || exit 99; "
        f"{digest} > {tmp_path}/before; cat /dev/zero > {disk}/other 2>/dev/null; "
        f"{again} --config vhr --device cpu; code=$?; {digest} > {tmp_path}/after; exit $code"
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 99:
        pytest.skip("mounting a tmpfs isn't allowed here")
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("railwatch: error: ")]
    assert len(errors) == 1
    assert "store" in errors[0]
    assert "Traceback" not in done.stderr
    before = (tmp_path / "before").read_text()
    assert before
    assert (tmp_path / "after").read_text() == before
