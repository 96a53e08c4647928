"""Stores under attack: disks that fill up, two writers, killed writers, damage, links, clocks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from valid_files import chip, chip_store, observation, store_of

from aoi.errors import InputError
from aoi.files import replacing, sweep, temporary_beside, write_bytes
from railwatch.store.check import check_store
from railwatch.store.observation import current, latest_reviews
from railwatch.store.store import EVIDENCE, Store

resource = pytest.importorskip("resource", reason="limits of POSIX systems")

posix = pytest.mark.skipif(os.name != "posix", reason="limits and links of POSIX systems")


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A disk that takes no byte more than this into a file, whatever library writes it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def sizes(largest: int, number: int = 24) -> list[int]:
    return sorted({0, 1, 8, largest - 1, *np.linspace(0, largest, number).astype(int).tolist()})


@posix
def test_a_stored_chip_survives_every_size_of_a_disk(tmp_path, survived):
    """GDAL tells of a flush that failed when it closes a file, or not at all."""
    store = chip_store(tmp_path)
    old = store.add(chip(seed=1), {"baseline": "04.00"})
    whole = old.path.stat().st_size
    for size in sizes(2 * whole):
        failed = False
        with files_of_at_most(size):
            try:
                store.add(chip(seed=2), {"baseline": "05.09"})
            except InputError as error:
                failed = str(old.path) in str(error)
        ((kept, pixels),) = store.read()
        assert (kept.content == old.content) == failed, size
        assert np.isfinite(pixels.reflectance).all()
        assert [one.name for one in old.path.parent.iterdir()] == [old.path.name]
        if not failed:
            store.add(chip(seed=1), {"baseline": "04.00"})
        survived()
    assert not failed


def _geojson(path: Path, number: int) -> None:
    from aoi.io import write_document

    write_document(
        {"type": "FeatureCollection", "features": [], "number": "x" * 3000, "version": number}, path
    )


def _boxes(path: Path, number: int) -> None:
    from valid_files import _lines

    from aoi.files import whole_database, whole_parquet

    table = _lines().assign(version=number)
    if path.suffix == ".gpkg":
        with replacing(path, whole_database) as temporary:
            table.to_file(temporary, layer="boxes", engine="pyogrio")
    else:
        with replacing(path, whole_parquet) as temporary:
            table.to_parquet(temporary)


def _weights(path: Path, number: int) -> None:
    from detector.tensor_file import save_tensors

    save_tensors(path, {"a": np.full((64, 64), number, np.float32)}, {}, "trial")


def _json_of(path: Path) -> int:
    return int(json.loads(path.read_bytes())["version"])


def _table_of(path: Path) -> int:
    import geopandas as gpd

    table = gpd.read_parquet(path) if path.suffix == ".parquet" else gpd.read_file(path)
    return int(table["version"].iloc[0])


def _tensors_of(path: Path) -> int:
    from safetensors.numpy import load_file

    return int(load_file(path)["a"][0, 0])


@posix
@pytest.mark.parametrize(
    ("name", "write", "read"),
    [
        ("area.geojson", _geojson, _json_of),
        ("boxes.gpkg", _boxes, _table_of),
        ("boxes.parquet", _boxes, _table_of),
        ("mine.safetensors", _weights, _tensors_of),
    ],
)
def test_a_file_survives_every_size_of_a_disk(
    tmp_path: Path,
    survived: Callable[..., None],
    name: str,
    write: Callable[[Path, int], None],
    read: Callable[[Path], int],
) -> None:
    path = tmp_path / name
    write(path, 1)
    largest = path.stat().st_size
    for size in sizes(largest + 1024, 8 if path.suffix == ".gpkg" else 16):
        done = False
        # each library raises its own; the commands turn them into sentences
        with files_of_at_most(size), suppress(Exception):
            write(path, 2)
            done = True
        assert read(path) == (2 if done else 1), size
        assert not list(tmp_path.glob(".tmp-*"))
        if done:
            write(path, 1)
        survived()


@posix
def test_a_store_takes_the_whole_observation_or_none(tmp_path, survived):
    store_of(tmp_path)
    before = {one.id for one in Store.open(tmp_path).observations()}
    largest = max(path.stat().st_size for path in tmp_path.rglob("*.json"))
    for number, size in enumerate(sizes(largest + 512, 16), start=10):
        store = Store.open(tmp_path)
        with files_of_at_most(size), suppress(InputError):
            store.add(observation(number))
            before.add(observation(number).id)
        again = Store.open(tmp_path)
        assert {one.id for one in again.observations()} == before
        assert not again.damaged
        survived()


PROGRAM = """
import os, subprocess, sys
sys.path[:0] = [{repository!r}, {tests!r}]
from pathlib import Path
from valid_files import chip, chip_store
from aoi.errors import InputError
disk = Path({disk!r})
tried = 0
for spare in range(0, 65, 4):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], check=True)
    store = chip_store(disk)
    old = store.add(chip(seed=1), {{}})
    fill, content = disk / "fill", b"x" * 4096
    with fill.open("wb", buffering=0) as stream:
        try:
            while stream.write(content) == len(content):
                pass
        except OSError:
            pass
    os.truncate(fill, max(0, fill.stat().st_size - spare * 1024))
    try:
        store.add(chip(seed=2), {{}})
        wanted = None
    except InputError as error:
        wanted = old.content
    ((kept, pixels),) = store.read()
    assert wanted in (None, kept.content), spare
    subprocess.run(["umount", disk], check=True)
    tried += 1
print(tried)
"""


def test_a_stored_chip_survives_on_a_small_file_system(tmp_path, repository, survived):
    """A real one that is full but for 0 to 64 KB."""
    command = ["unshare", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("this system doesn't let tests mount small disks")
    disk = tmp_path / "disk"
    disk.mkdir()
    program = PROGRAM.format(repository=str(repository), tests=str(Path(__file__).parent), disk=str(disk))
    done = subprocess.run(
        [*command, sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    if "permission denied" in done.stderr.lower() and "mount" in done.stderr:
        pytest.skip("mounting a tmpfs isn't allowed here")
    assert done.returncode == 0, done.stderr
    survived(int(done.stdout))


def test_a_full_disk_is_said_by_the_export(railwatch, tmp_path, survived):
    store_of(tmp_path / "store")
    for ending in ("gpkg", "parquet", "csv"):
        out = tmp_path / f"out.{ending}"
        out.write_bytes(b"old")
        with files_of_at_most(300):
            outcome = railwatch("export", "--store", tmp_path / "store", "--out", out)
        assert outcome.code == 2, outcome
        assert out.name in outcome.error
        assert out.read_bytes() == b"old"
        survived()


# ---- writers that were killed, or are elsewhere ----------------------------------------------------------


def test_another_hosts_writer_is_left_alone(tmp_path, survived):
    mine = temporary_beside(tmp_path / "items" / "mine")
    mine.parent.mkdir()
    ours, _, rest = mine.name.removeprefix(".tmp-").partition(".")
    dead = mine.with_name(f".tmp-{ours}.99999999-{rest.partition('-')[2]}")
    there = mine.with_name(f".tmp-{'0' * 8}.99999999-{rest.partition('-')[2]}")
    ancient = mine.with_name(f".tmp-{'0' * 8}.1-aa-ancient")
    for folder in (mine, dead, there, ancient):
        folder.mkdir()
    yesterday = there.stat().st_mtime - 2 * 24 * 3600
    os.utime(there, (yesterday, yesterday))
    os.utime(ancient, (0, 0))
    assert set(sweep(mine.parent)) == {dead, ancient}
    assert set(mine.parent.iterdir()) == {mine, there}
    survived(2)


def test_repairing_sweeps_all_folders(tmp_path, survived):
    store = store_of(tmp_path)
    left = []
    for folder in (".", "items", "charts", "reports", "chips/yard-00000000"):
        (store / folder).mkdir(parents=True, exist_ok=True)
        left.append(store / folder / ".tmp-00000000.1-aa-x.png")
        left[-1].touch()
        os.utime(left[-1], (0, 0))
    assert check_store(store).sound
    assert all(path.exists() for path in left)
    assert len(check_store(store, repair=True).swept) + 4 >= len(left)
    assert not any(path.exists() for path in left)
    survived(len(left))


# ---- damage ----------------------------------------------------------------------------------------------


def _items(store: Path) -> list[Path]:
    return sorted(store.glob("items/*/*.json"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_text("{"),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("[" * 100_000),
        lambda path: path.write_text(path.read_text().replace('"Feature"', '"Featurd"')),
        lambda path: path.write_text(path.read_text().replace("2023-09-08", "0001-01-01")),
        lambda path: path.write_text(path.read_text().replace("2023-09-08", "9999-12-31")),
        lambda path: path.write_text(path.read_text().replace('"count": 4.0', '"count": "4"')),
        lambda path: path.write_text(path.read_text().replace('"Polygon"', '"Point"')),
        lambda path: path.unlink(),
    ],
)
def test_a_damaged_item_is_named_left_out_and_set_aside(railwatch, tmp_path, survived, damage):
    store = store_of(tmp_path / "store")
    path = _items(store)[1]
    damage(path)
    outcome = railwatch("compare", "--store", store, "--json")
    assert outcome.code == 0, outcome.err
    assert len(json.loads(outcome.out)["verdicts"]) == 3
    assert path.stem in outcome.err
    checked = railwatch("store", "check", store, "--json")
    assert checked.code == 1
    assert path.stem in json.loads(checked.out)["damaged"][0]["path"]
    assert railwatch("store", "check", store, "--repair").code == 0
    sound = railwatch("store", "check", store, "--json")
    assert (sound.code, json.loads(sound.out)["items"]) == (0, 3)
    assert path.stem not in railwatch("compare", "--store", store).err
    assert [one.name for one in (store / "items").iterdir() if one.name.startswith(".damaged-")]
    survived()


def test_a_picture_that_rotted_is_found_by_its_hash(tmp_path, survived):
    store = store_of(tmp_path)
    picture = sorted(store.glob("items/*/evidence.png"))[0]
    content = bytearray(picture.read_bytes())
    content[-20] ^= 1
    picture.write_bytes(content)
    (fault,) = check_store(store).faults
    assert (fault.path, fault.aside) == (picture, None)
    assert "hash" in fault.reason
    assert check_store(store, repair=True).sound
    assert check_store(store).sound
    assert len(Store.open(store).observations()) == 4
    survived()


def test_a_chip_that_rotted_is_found(tmp_path, survived):
    store = store_of(tmp_path)
    kept = chip_store(store).add(chip(), {})
    content = bytearray(kept.path.read_bytes())
    content[len(content) // 2] ^= 0x55
    kept.path.write_bytes(content)
    (fault,) = check_store(store, repair=True).faults
    assert fault.path == kept.path
    assert chip_store(store).read() == []
    survived()


@posix
def test_a_link_out_of_the_store_is_not_followed(tmp_path, survived, caplog):
    store = store_of(tmp_path / "store")
    secret = tmp_path / "secret.png"
    shutil.copy(sorted(store.glob("items/*/evidence.png"))[0], secret)
    picture = sorted(store.glob("items/*/evidence.png"))[1]
    picture.unlink()
    picture.symlink_to(secret)
    opened = Store.open(store)
    assert opened.asset(picture.parent.name, EVIDENCE) is None
    assert "link out of the store" in caplog.text
    elsewhere = tmp_path / "elsewhere"
    shutil.move(picture.parent, elsewhere)
    picture.parent.symlink_to(elsewhere)
    again = Store.open(store)
    assert len(again.observations()) == 3
    assert "link out of the store" in again.damaged[0].reason
    survived(2)


# ---- reviews ---------------------------------------------------------------------------------------------


def test_reviews_go_by_what_they_supersede_and_not_by_clocks(survived):
    machine = observation(1)

    def review(number: int, created: str, supersedes: str | None):
        provenance = {"sha256": machine.provenance["sha256"], "created": created}
        details = {"by": str(number), "supersedes": supersedes}
        return observation(
            1, method="reviewed", review_of=machine.id, count=9.0, provenance=provenance | {"review": details}
        )

    first = review(1, "2024-05-02T12:00:00Z", None)
    second = review(2, "2024-05-01T12:00:00Z", first.id)  # the clock was set back
    third = review(3, "2023-01-01T00:00:00Z", second.id)
    for order in ([machine, first, second, third], [third, second, first, machine]):
        assert [one.id for one in current(order, reviewed=True)] == [third.id]
        assert [one.id for one in current([one for one in order if one is not third], reviewed=True)] == [
            second.id
        ]
    assert {one.id for one in latest_reviews([first, third])} == {first.id, third.id}
    survived(2)


def test_a_write_goes_through_a_link_and_keeps_the_mode(tmp_path):
    target = tmp_path / "target"
    target.write_bytes(b"old")
    target.chmod(0o640)
    (tmp_path / "link").symlink_to(target)
    write_bytes(tmp_path / "link", b"new")
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "link").is_symlink()
