"""Bad input to `railwatch detect`: exit code 2 and one sentence that names the file and the fault."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import from_origin

from detector.wagons.weights import SHIPPED

GROUND = np.random.default_rng(5).integers(60, 160, (3, 256, 256), dtype=np.uint8)


def geotiff(path: Path, *, pixels: np.ndarray = GROUND, gsd_m: float = 0.5, **profile: object) -> Path:
    """A small GeoTIFF in UTM zone 52N, near Tumangang."""
    settings: dict[str, object] = {
        "driver": "GTiff",
        "count": pixels.shape[0],
        "height": pixels.shape[1],
        "width": pixels.shape[2],
        "dtype": pixels.dtype,
        "crs": "EPSG:32652",
        "transform": from_origin(631_000, 4_697_000, gsd_m, gsd_m),
    }
    with rasterio.open(path, "w", **(settings | profile)) as image:
        image.write(pixels)
    return path


def png(path: Path) -> Path:
    Image.fromarray(np.moveaxis(GROUND, 0, 2)).save(path)
    return path


def truncated(path: Path) -> Path:
    geotiff(path, compress="deflate", tiled=True, blockxsize=128, blockysize=128)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


# name of the input -> how it is made, what the sentence must say
IMAGES = {
    "missing.tif": (lambda path: path, "no such file"),
    "empty.tif": (lambda path: written(path, b""), "empty"),
    "truncated.tif": (truncated, "cut short or damaged"),
    "text.tif": (lambda path: written(path, b"Dear reader, this is a letter.\n" * 50), "image"),
    "archive.zip": (lambda path: written(path, b"PK\x03\x04" + bytes(500)), "image"),
    "folder.tif": (folder, "folder"),
    "plain.png": (png, "--gsd"),
    "black.tif": (lambda path: geotiff(path, pixels=np.zeros_like(GROUND), nodata=0), "valid pixel"),
    "coarse.tif": (lambda path: geotiff(path, gsd_m=10.0), "too coarse to see wagons one by one"),
    "fine.tif": (lambda path: geotiff(path, gsd_m=0.02), "finer than"),
    "complex.tif": (lambda path: geotiff(path, pixels=GROUND.astype(np.complex64)), "complex"),
}


def judged(outcome, name: str, fault: str) -> None:
    assert outcome.code == 2, outcome
    assert outcome.out == ""
    assert name in outcome.error
    assert fault in outcome.error


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_that_cannot_be_used_is_named_with_its_fault(railwatch, tmp_path, name):
    make, fault = IMAGES[name]
    out = tmp_path / "out.geojson"
    judged(railwatch("detect", make(tmp_path / name), "--out", out, "--device", "cpu"), name, fault)
    assert not out.exists()


def test_bad_images_among_good_ones_are_listed_and_the_rest_goes_on(railwatch, tmp_path):
    good = geotiff(tmp_path / "good.tif")
    bad = [make(tmp_path / name) for name, (make, _) in IMAGES.items()]
    out = tmp_path / "out.geojson"
    outcome = railwatch("detect", *bad, good, "--out", out, "--device", "cpu", "--json")
    assert outcome.code == 0, outcome.err
    document = json.loads(outcome.out)
    assert [Path(row["image"]).name for row in document["images"]] == ["good.tif"]
    reasons = {Path(row["path"]).name: row["reason"] for row in document["skipped"]}
    assert set(reasons) == set(IMAGES)
    for name, (_, fault) in IMAGES.items():
        assert fault in reasons[name]
    assert json.loads(out.read_text(encoding="utf-8"))["type"] == "FeatureCollection"


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--out", "wagons.shp"], "wagons.shp"),
        (["--out", "no/such/folder/wagons.gpkg"], "wagons.gpkg"),
        (["--gsd", "0"], "ground sampling distance"),
        (["--gsd", "nan"], "ground sampling distance"),
        (["--gsd", "-1"], "ground sampling distance"),
        (["--gsd-file", "none.csv"], "none.csv"),
        (["--gsd-file", "empty.csv"], "empty.csv"),
        (["--gsd-file", "columns.csv"], "columns.csv"),
        (["--gsd-file", "words.csv"], "words.csv"),
        (["--gsd", "0.5", "--gsd-file", "columns.csv"], "--gsd"),
        (["--tile-px", "100"], "--tile-px"),
        (["--batch-size", "0"], "--batch-size"),
        (["--threshold", "7"], "--threshold"),
        (["--device", "tpu"], "--device"),
    ],
)
def test_an_option_that_makes_no_sense_is_named(railwatch, tmp_path, monkeypatch, options, fault):
    monkeypatch.chdir(tmp_path)
    png(tmp_path / "plain.png")
    written(tmp_path / "empty.csv", b"")
    written(tmp_path / "columns.csv", b"name,scale\nplain.png,0.5\n")
    written(tmp_path / "words.csv", b"file,gsd_m\nplain.png,about half\n")
    judged(railwatch("detect", "plain.png", *options), fault, "")


def test_a_gpu_that_is_not_there_is_said(railwatch, tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    judged(railwatch("detect", geotiff(tmp_path / "a.tif"), "--device", "cuda"), "--device", "CUDA")


# ---- weights -------------------------------------------------------------------------------------


@pytest.fixture
def weights(tmp_path, repository) -> Path:
    """A copy of the shipped weights with their card."""
    for suffix in (".safetensors", ".json"):
        shutil.copy(repository / "detector" / "weights" / f"{SHIPPED}{suffix}", tmp_path / f"mine{suffix}")
    return tmp_path / "mine.safetensors"


def pickled(path: Path) -> Path:
    import torch

    torch.save({"a": torch.zeros(3)}, path.with_suffix(".pt"))
    return path.with_suffix(".pt")


def renamed_pickle(path: Path) -> Path:
    shutil.copy(pickled(path), path)
    return path


def foreign(path: Path) -> Path:
    import torch
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(3)}, path)
    return path


def flipped(path: Path) -> Path:
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    return written(path, bytes(content))


def halved(path: Path) -> Path:
    return written(path, path.read_bytes()[: path.stat().st_size // 2])


def without_card(path: Path) -> Path:
    path.with_suffix(".json").unlink()
    return path


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda path: path.with_name("none.safetensors"), "no such"),
        (pickled, "only .safetensors"),
        (renamed_pickle, "safetensors"),
        (foreign, "not railwatch"),
        (flipped, "checksum"),
        (halved, "damaged"),
        (without_card, "card"),
    ],
)
def test_weights_that_are_not_ours_or_are_damaged_are_refused(railwatch, tmp_path, weights, spoil, fault):
    spoiled = spoil(weights)
    image = geotiff(tmp_path / "a.tif")
    judged(railwatch("detect", image, "--weights", spoiled, "--device", "cpu"), spoiled.name, fault)


def test_a_copy_of_the_shipped_weights_works(railwatch, tmp_path, weights):
    image = geotiff(tmp_path / "a.tif")
    assert railwatch("detect", image, "--weights", weights, "--device", "cpu").code == 0


# ---- disks ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def private_mounts() -> list[str]:
    """The command that runs another in a mount namespace of its own, where the system lets us have one."""
    for command in (["unshare", "--mount"], ["unshare", "--mount", "--map-root-user"]):
        if shutil.which("unshare") and not subprocess.run([*command, "true"], capture_output=True).returncode:
            return command
    pytest.skip("this system doesn't let tests mount small or read-only disks")


@pytest.mark.parametrize(
    ("ending", "mount", "fault"),
    [
        # each ending is written by another library, with errors of its own
        ("geojson", "size=8k", "full|No space"),
        ("gpkg", "size=8k", "full|No space"),
        ("parquet", "size=8k", "full|No space"),
        ("geojson", "size=1m,ro", "[Rr]ead-only"),
    ],
)
def test_a_disk_that_takes_no_more(private_mounts, tmp_path, repository, ending, mount, fault):
    """On real small and read-only disks: one sentence that names the output, whatever library writes it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    image = geotiff(tmp_path / "a.tif")
    out = disk / f"wagons.{ending}"
    # Something is on the disk already, so that even a small file of results finds no room.
    fill = f"head -c 8192 /dev/zero > {disk}/other; " if "ro" not in mount else ""
    script = (
        f"mount -t tmpfs -o {mount} tmpfs {disk} || exit 99; {fill}"
        f"{sys.executable} -m railwatch detect {image} --out {out} --device cpu; code=$?; "
        f"rm -f {disk}/other; ls -A {disk} >&2; exit $code"
    )
    done = subprocess.run(
        [*private_mounts, "sh", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 99:
        pytest.skip("mounting a tmpfs isn't allowed here")
    assert done.returncode == 2, done.stderr
    error, *left = done.stderr.splitlines()
    assert error.startswith("railwatch: error: ")
    assert "wagons" in error
    assert re.search(fault, error)
    assert not left, "nothing half-written stays"
