"""What each command may import: start-up is mostly imports, and one careless line brings back seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from shutil import copyfile

import numpy as np
import pytest
from PIL import Image

TABLES = {"pandas", "geopandas", "pyarrow", "pyogrio"}
CHARTS = {"matplotlib"}
NETWORKS = {"torch", "torchvision", "openvino"}
REPORTING = {"openvino_telemetry"}
PIXELS = {"rasterio", "cv2", "scipy"}
NUMBERS = {"numpy", "shapely", "pyproj"}
SENTINEL = {
    "geo.sentinel2.chip",
    "geo.sentinel2.clear_sky",
    "geo.sentinel2.formats.export",
    "geo.sentinel2.formats.planetscope",
    "geo.sentinel2.formats.product",
    "geo.sentinel2.time_series",
    "detector.occupancy.estimator",
}
SAMPLES = Path(__file__).parents[2] / "sample_tiles"

# The command line after "railwatch", its exit code, and what it may not import. IMAGE is a picture of 96 by
# 64 pixels without position, 20240409T103100Z.tif one of the sample tiles, alone in its folder.
CASES = {
    "help": (["--help"], 0, TABLES | CHARTS | NETWORKS | PIXELS | NUMBERS),
    "help of a command": (["detect", "--help"], 0, TABLES | CHARTS | NETWORKS | PIXELS | NUMBERS),
    "an unknown option": (["detect", "--nope"], 2, TABLES | CHARTS | NETWORKS | PIXELS | NUMBERS),
    "a missing file": (["detect", "nowhere.tif"], 2, TABLES | CHARTS | NETWORKS | PIXELS | NUMBERS),
    "a wrong ending": (
        ["detect", "IMAGE", "--gsd", "0.5", "--out", "x.doc"],
        2,
        TABLES | CHARTS | NETWORKS | PIXELS | NUMBERS,
    ),
    "missing weights": (
        ["detect", "IMAGE", "--gsd", "0.5", "--weights", "none.safetensors"],
        2,
        TABLES | CHARTS | NETWORKS | PIXELS | NUMBERS,
    ),
    "missing settings of a training": (
        ["train", "--config", "none.toml", "--out", "run"],
        2,
        NETWORKS | PIXELS,
    ),
    "missing backgrounds of a training": (
        ["train", "--out", "run", "--backgrounds", "nowhere"],
        2,
        NETWORKS | PIXELS,
    ),
    "nothing to score on": (["evaluate", "wagons"], 2, NETWORKS | PIXELS),
    "missing labels": (["evaluate", "wagons", "none.json"], 2, {"torch", "torchvision"}),
    "no scale": (["detect", "IMAGE"], 2, TABLES | CHARTS | NETWORKS | {"scipy"}),
    "a count": (
        ["detect", "IMAGE", "--gsd", "0.5", "--json"],
        0,
        TABLES | CHARTS | REPORTING | SENTINEL | {"scipy", "botocore"},
    ),
    "a count to a file": (
        ["detect", "IMAGE", "--gsd", "0.5", "--out", "OUT.geojson"],
        0,
        TABLES | CHARTS | REPORTING | SENTINEL,
    ),
    "areas": (["aoi", "list"], 0, TABLES | CHARTS | NETWORKS),
    "a verdict": (["compare", "--aoi", "tumangang", "--seeds-only", "--json"], 0, CHARTS | NETWORKS),
    "a run of nothing": (
        ["run", "nowhere", "--aoi", "tumangang", "--store", "STORE"],
        2,
        CHARTS | NETWORKS | SENTINEL,
    ),
    "a run of a fine image": (
        [
            "run",
            "20240409T103100Z.tif",
            "--aoi",
            str(SAMPLES / "area.geojson"),
            "--config",
            "vhr",
            "--store",
            "STORE",
        ],
        0,
        SENTINEL,
    ),
}

PROBE = """
import json, sys
sys.argv[1:] = json.loads(sys.argv[1])
from railwatch.__main__ import main
code = main()
sys.stderr.write("MODULES " + json.dumps([code, sorted(sys.modules)]))
"""


@pytest.mark.parametrize("name", CASES)
def test_a_command_imports_no_more_than_it_needs(name: str, tmp_path: Path) -> None:
    line, wanted, forbidden = CASES[name]
    noise = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "IMAGE.png")
    copyfile(SAMPLES / "sample-yard_20240409T103100Z.tif", tmp_path / "20240409T103100Z.tif")
    arguments = [one if one != "IMAGE" else "IMAGE.png" for one in line]
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(arguments)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    code, modules = json.loads(done.stderr.rpartition("MODULES ")[2])
    assert code == wanted, done.stderr
    assert not forbidden & set(modules)


def test_counting_on_the_cpu_needs_no_torch(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "image.png")
    # Torch made impossible to import.
    code = (
        "import sys; sys.modules['torch'] = None; "
        "from railwatch.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "detect", "image.png", "--gsd", "0.5", "--json", "--device", "cpu"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"][0]["gsd_m"] == 0.5


def test_counting_needs_no_history() -> None:
    """A worker counts and a watch fetches before anything is judged."""
    code = "import railwatch.pipeline.many, railwatch.fetch.watch, sys; print(*sys.modules)"
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300, check=True)
    assert not (TABLES | CHARTS | {"scipy", "railwatch.history"}) & set(done.stdout.split())
