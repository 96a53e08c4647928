"""The wheel holds everything and works from any folder, without the working copy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PACKAGES = ("aoi", "geo", "detector", "railwatch", "seeds", "configs", "sample_tiles")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory, repository) -> Path:
    """The wheel, built from the working copy with the build tools that are installed."""
    out = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(out),
        str(repository),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def site(tmp_path_factory, wheel) -> Path:
    """The wheel installed in a folder of its own; what it needs comes from the environment of the tests."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    command += ["--disable-pip-version-check", "--target", str(folder), str(wheel)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return folder


@pytest.fixture
def run(site, tmp_path):
    """Runs Python in an empty folder with the installed wheel before everything else."""

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(site)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_wheel_holds_every_file_of_the_packages(wheel, repository):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--", *PACKAGES],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    if tracked.returncode:
        pytest.skip("not a git working copy")
    wanted = {name for name in tracked.stdout.split("\0") if name and (repository / name).exists()}
    assert wanted <= held, sorted(wanted - held)
    assert {name.partition("/")[0] for name in held} == set(PACKAGES)
    assert not [name for name in held if name.endswith((".pyc", ".log", ".pt"))]


def test_the_wheel_says_where_it_comes_from(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        text = archive.read(metadata).decode()
        (entry,) = (name for name in archive.namelist() if name.endswith("/entry_points.txt"))
        assert "railwatch = railwatch.__main__:main" in archive.read(entry).decode()
    assert "License-Expression: Apache-2.0" in text
    assert "Requires-Python: >=3.11" in text


def test_the_wheel_is_small(wheel):
    assert wheel.stat().st_size < 40_000_000


def test_all_data_is_found_from_another_folder(run, site):
    program = """
import json
from importlib import resources
from pathlib import Path
import aoi, railwatch, seeds
from detector import WagonDetector
from railwatch.config import config_names, load_config

print(json.dumps({
    "package": str(Path(railwatch.__file__)),
    "areas": {name: aoi.load_area(name).name for name in aoi.area_names()},
    "configs": {name: load_config(name).title for name in config_names()},
    "seeds": len(seeds.load_published()),
    "detector": WagonDetector.load(device="cpu").name,
    "tiles": sorted(entry.name for entry in resources.files("sample_tiles").iterdir()),
}))
"""
    found = json.loads(run("-c", program))
    assert Path(found["package"]).is_relative_to(site)
    assert {"tumangang", "khasan"} <= set(found["areas"])
    assert {"tumangang", "vhr", "sentinel2"} <= set(found["configs"])
    assert found["seeds"] > 0
    assert found["detector"]
    assert "manifest.json" in found["tiles"]


def test_the_command_runs_from_another_folder(run):
    assert "Usage: railwatch" in run("-m", "railwatch", "--help")
    areas = json.loads(run("-m", "railwatch", "aoi", "list", "--json"))
    assert "tumangang" in json.dumps(areas)
