from __future__ import annotations

import json
import logging
import multiprocessing
import os
import random
import resource
import shutil
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import pystac
import pytest
from making import abstained, observation, picture
from pystac.stac_object import STACObjectType
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from aoi.files import replacing, temporary_beside, write_bytes
from geo.file_tree import is_store
from railwatch.errors import StoreError
from railwatch.store.observation import FORMAT_VERSION
from railwatch.store.store import DETECTIONS, EVIDENCE, Store

SPAWN = multiprocessing.get_context("spawn")
posix = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX systems")


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_observation_comes_back_as_it_went_in(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "deep" / "store")
    given = [observation(2), abstained(1), observation(0, aoi="other")]
    for one in given:
        assert store.add(one, evidence=picture())
        assert store.has(one.id)
    for read in (store, Store.open(store.path, create=False)):
        assert read.observations() == given[::-1]
        assert read.observations("yard") == [given[1], given[0]]
        assert read.observations("nowhere") == []


def test_doing_the_same_work_again_changes_nothing(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    assert store.add(observation(), evidence=picture())
    before = content(tmp_path)
    assert not store.add(observation(), evidence=picture("WEBP"))
    assert not Store.open(tmp_path).add(observation())
    assert content(tmp_path) == before


def test_older_work_is_kept_and_left_out(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    old = observation()
    new = observation(
        provenance=dict(old.provenance) | {"settings": "other", "created": "2024-01-01T00:00:00Z"}
    )
    store.add(new)
    store.add(old)
    assert store.observations() == [new]
    assert {one.id for one in store.observations(superseded=True)} == {old.id, new.id}


def test_a_review_lies_beside_what_it_corrects(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    machine = observation()
    review = observation(method="reviewed", review_of=machine.id, count=12.0)
    with pytest.raises(StoreError, match=r"has no observation .* to correct"):
        store.review(review)
    store.add(machine)
    before = content(tmp_path / "items" / machine.id)
    assert store.review(review)
    assert content(tmp_path / "items" / machine.id) == before
    assert {one.id for one in store.observations()} == {machine.id, review.id}
    link = store.item(review.id).get_single_link("derived_from")
    assert link is not None
    assert (tmp_path / "items" / review.id / link.href).resolve().is_file()
    with pytest.raises(StoreError, match="doesn't say which one"):
        store.review(machine)


def test_other_stac_readers_can_walk_it(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    for number in range(3):
        store.add(observation(number), evidence=picture())
    collection = pystac.Collection.from_file(str(tmp_path / "collection.json"))
    items = list(collection.get_items())
    assert [item.id for item in items] == [one.id for one in store.observations()]
    assert all(item.get_collection() is collection and item.get_root() is collection for item in items)
    for item in items:
        asset = item.assets[EVIDENCE]
        assert asset.media_type == "image/png"
        assert Path(asset.get_absolute_href() or "").stat().st_size == asset.extra_fields["file:size"]
    interval = collection.extent.temporal.intervals[0]
    assert interval == [items[0].datetime, items[-1].datetime]
    assert collection.extent.spatial.bboxes == [[130.60, 42.41, 130.62, 42.42]]
    assert collection.summaries.lists["railwatch:aoi"] == ["yard"]


@pytest.mark.parametrize("number", [0, 2])
def test_it_satisfies_the_stac_core_schemas(tmp_path: Path, number: int) -> None:
    store = Store.open(tmp_path)
    for each in range(number):
        store.add(observation(each), evidence=picture("WEBP"))
    validator = JsonSchemaSTACValidator()
    index = json.loads((tmp_path / "collection.json").read_text())
    validator.validate_core(index, STACObjectType.COLLECTION, index["stac_version"])
    paths = sorted((tmp_path / "items").glob("*/*.json"))
    assert len(paths) == number
    for path in paths:
        item = json.loads(path.read_text())
        validator.validate_core(item, STACObjectType.ITEM, item["stac_version"])


def test_assets(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    store.add(observation(0), evidence=picture("WEBP"))
    store.add(observation(1))
    path = store.asset(observation(0).id, EVIDENCE)
    assert path is not None
    assert path.suffix == ".webp"
    assert path.read_bytes() == picture("WEBP")
    assert store.asset(observation(1).id, EVIDENCE) is None
    assert store.detections(observation(0).id) is None
    with pytest.raises(StoreError, match="no observation nothing"):
        store.asset("nothing", DETECTIONS)
    with pytest.raises(ValueError, match="neither PNG nor WebP"):
        store.add(observation(2), evidence=b"GIF89a")
    assert {path.name for path in (tmp_path / "items").iterdir()} == {observation(0).id, observation(1).id}


def test_an_asset_can_not_point_out_of_its_item(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(picture())
    store = Store.open(tmp_path / "store")
    store.add(observation(), evidence=picture("WEBP"))
    path = store.path / "items" / observation().id / f"{observation().id}.json"
    item = json.loads(path.read_text())
    item["assets"][EVIDENCE]["href"] = str(secret)
    path.write_text(json.dumps(item))
    assert store.asset(observation().id, EVIDENCE) is None


# What is wrong with a store


def test_a_missing_store_is_only_made_when_asked(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no store at .*missing; 'railwatch run' makes one"):
        Store.open(tmp_path / "missing", create=False)
    assert not (tmp_path / "missing").exists()
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="is a file"):
        Store.open(tmp_path / "file")
    with pytest.raises(StoreError, match=r"Can't open the store .*Not a directory"):
        Store.open(tmp_path / "file" / "store")


def test_a_collection_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "collection.json").write_text('{"type": "Collection"}')
    with pytest.raises(StoreError, match="railwatch didn't write it"):
        Store.open(tmp_path)
    assert content(tmp_path) == {"collection.json": b'{"type": "Collection"}'}
    assert not is_store(tmp_path)


@pytest.mark.parametrize("index", ["newer", "gone"])
def test_a_store_of_a_newer_railwatch_is_refused(tmp_path: Path, index: str) -> None:
    store = Store.open(tmp_path)
    store.add(observation())
    path = tmp_path / "collection.json"
    if index == "newer":
        text = path.read_text().replace('store_version": 1', f'store_version": {FORMAT_VERSION + 1}')
        path.write_text(text)
    else:
        path.unlink()
        item = next(tmp_path.glob("items/*/*.json"))
        item.write_text(item.read_text().replace('railwatch:version": 1', 'railwatch:version": 9'))
    before = content(tmp_path)
    with pytest.raises(StoreError, match=r"newer railwatch \(format .*upgrade"):
        Store.open(tmp_path)
    assert content(tmp_path) == before


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_lost_index_loses_nothing(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    store = Store.open(tmp_path)
    store.add(observation(0))
    index = tmp_path / "collection.json"
    whole = index.read_bytes()
    if damage == "missing":
        index.unlink()
    else:
        index.write_bytes(whole[:100])
    again = Store.open(tmp_path)
    assert again.observations() == [observation(0)]
    again.refresh()
    assert index.read_bytes() == whole
    assert ("only an index" in caplog.text) == (damage == "truncated")


DAMAGE = {
    "not json": lambda text: "{" + text[:50],
    "binary": lambda text: "\0" * 40,
    "not an item": lambda text: "[]",
    "foreign": lambda text: text.replace('"railwatch:version": 1,', ""),
    "newer": lambda text: text.replace('"railwatch:version": 1,', '"railwatch:version": 2,'),
    "contradiction": lambda text: text.replace('"railwatch:count": 11.0', '"railwatch:count": 99.0'),
    "no properties": lambda text: text.replace('"properties"', '"fields"'),
    "bad time": lambda text: text.replace('"datetime": "2023', '"datetime": "noon 2023'),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_item_is_named_and_the_rest_goes_on(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store.open(tmp_path)
    for number in range(3):
        store.add(observation(number), evidence=picture())
    victim = observation(1)
    path = tmp_path / "items" / victim.id / f"{victim.id}.json"
    path.write_text(DAMAGE[damage](path.read_text()))
    broken = path.read_bytes()

    again = Store.open(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert again.observations() == [observation(0), observation(2)]
        again.observations()
    assert caplog.text.count(f"{path} is left out") == 1
    assert [one.path for one in again.damaged] == [path]
    assert again.damaged[0].reason
    assert not again.has(victim.id)
    if damage in ("not json", "binary", "not an item", "no properties", "bad time"):
        with pytest.raises(StoreError, match=f"{victim.id}.json can't be read: "):
            again.item(victim.id)

    # Doing the work again mends it, and what was there is set aside rather than thrown away.
    assert again.add(victim, evidence=picture())
    assert again.observations() == [observation(number) for number in range(3)]
    assert again.damaged == ()
    aside = list((tmp_path / "items").glob(f".damaged-{victim.id}-*"))
    assert [one.joinpath(path.name).read_bytes() for one in aside] == [broken]


def test_an_item_in_the_wrong_folder_is_damaged(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    store.add(observation())
    folder = tmp_path / "items" / observation().id
    folder.rename(folder.with_name("elsewhere"))
    (tmp_path / "items" / "elsewhere" / f"{observation().id}.json").rename(
        tmp_path / "items" / "elsewhere" / "elsewhere.json"
    )
    store = Store.open(tmp_path)
    assert store.observations() == []
    assert "not its folder's name" in store.damaged[0].reason


# Kills, crowds, full disks


def _add_many(path: str, numbers: list[int]) -> None:
    store = Store.open(path)
    for number in numbers:
        store.add(observation(number), evidence=picture())


def test_many_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    """Overlapping work in shuffled orders: every item once and whole, and a complete index at the end."""
    orders = []
    for seed in range(3):
        numbers = list(range(seed * 4, seed * 4 + 12))
        random.Random(seed).shuffle(numbers)
        orders.append(numbers)
    Store.open(tmp_path)
    writers = [SPAWN.Process(target=_add_many, args=(str(tmp_path), numbers)) for numbers in orders]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(600)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    expected = [observation(number) for number in range(20)]
    store = Store.open(tmp_path)
    assert store.observations() == expected
    assert store.damaged == ()
    index = pystac.Collection.from_file(str(tmp_path / "collection.json"))
    assert [item.id for item in index.get_items()] == [one.id for one in expected]
    assert [path.name for path in (tmp_path / "items").glob(".*")] == []


def _add_forever(path: str) -> None:
    store = Store.open(path)
    for number in range(100_000):
        store.add(observation(number), evidence=picture() + os.urandom(50_000))


@posix
@pytest.mark.parametrize("seed", range(3))
def test_a_kill_leaves_whole_items_or_none(tmp_path: Path, seed: int) -> None:
    victim = SPAWN.Process(target=_add_forever, args=(str(tmp_path),))
    victim.start()
    deadline = time.monotonic() + 600
    while len(list(tmp_path.glob("items/[!.]*"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(random.Random(seed).uniform(0, 0.05))
    victim.kill()
    victim.join()
    assert victim.exitcode == -9

    store = Store.open(tmp_path)
    found = store.observations()
    assert len(found) >= 3
    assert store.damaged == ()
    assert found == [observation(number) for number in range(len(found))]
    for one in found:
        asset = store.item(one.id).assets[EVIDENCE]
        path = store.asset(one.id, EVIDENCE)
        assert path is not None
        assert path.stat().st_size == asset.extra_fields["file:size"]
    assert list(tmp_path.rglob(".tmp-*")) == []
    # The next run goes on where this one was.
    assert store.add(observation(len(found)), evidence=picture())
    index = pystac.Collection.from_file(str(tmp_path / "collection.json"))
    assert len(list(index.get_items())) == len(found) + 1


def _add_within(path: str, limit: int, answer: multiprocessing.connection.Connection) -> None:
    store = Store.open(path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        store.add(observation(1), evidence=picture() + bytes(1_000_000))
    except StoreError as error:
        answer.send(str(error))
    else:
        answer.send(None)


@posix
@pytest.mark.parametrize("limit", [0, 1000, 500_000])
def test_a_disk_that_takes_no_more_is_one_sentence(tmp_path: Path, limit: int) -> None:
    """The system refuses to write on at different places; a file size limit stands in for a full disk."""
    store = Store.open(tmp_path)
    store.add(observation(0), evidence=picture())
    before = content(tmp_path)
    ours, theirs = SPAWN.Pipe()
    writer = SPAWN.Process(target=_add_within, args=(str(tmp_path), limit, theirs))
    writer.start()
    theirs.close()
    said = ours.recv() if ours.poll(600) else "nothing"
    writer.join()
    assert said is not None
    assert said.startswith(f"Can't write to the store {tmp_path}: ")
    assert "what it holds is untouched" in said
    assert content(tmp_path) == before
    assert [path.name for path in (tmp_path / "items").iterdir()] == [observation(0).id]


def _add_as_nobody(path: str, answer: multiprocessing.connection.Connection) -> None:
    store = Store.open(path)
    assert store.observations()  # imports what reading needs, while this user still may
    store = Store.open(path)
    if os.getuid() == 0:
        os.setuid(65534)
    try:
        store.add(observation(1))
    except StoreError as error:
        answer.send((str(error), len(store.observations())))
    else:
        answer.send(("written", 0))


@posix
def test_a_read_only_store_can_be_read_and_says_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    # Root may write anywhere, so the writer drops to a user who must be able to reach the folder.
    folder = tmp_path_factory.mktemp("readonly")
    # Each parallel worker of pytest has a folder more.
    top = Path(tempfile.gettempdir()).resolve()
    for parent in (folder, *(one for one in folder.resolve().parents if top in one.parents)):
        parent.chmod(0o755)
    store = Store.open(folder / "store")
    store.add(observation(0))
    for path in (store.path, *store.path.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        ours, theirs = SPAWN.Pipe()
        writer = SPAWN.Process(target=_add_as_nobody, args=(str(store.path), theirs))
        writer.start()
        theirs.close()
        said, readable = ours.recv() if ours.poll(600) else ("nothing", 0)
        writer.join()
    finally:
        for path in (store.path, *store.path.rglob("*")):
            path.chmod(0o755)
    assert said == f"Can't write to the store {store.path}: Permission denied; what it holds is untouched."
    assert readable == 1


def test_only_abandoned_temporary_files_are_swept(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    mine = temporary_beside(store.path / "items" / "mine")
    mine.mkdir()
    dead = mine.with_name(mine.name.replace(f".{os.getpid()}-", ".99999999-"))
    dead.mkdir()
    (dead / "half.json").write_text("{")
    foreign = mine.with_name(f".tmp-deadbeef.{os.getpid()}-aa-x")
    foreign.mkdir()
    ancient = mine.with_name(".tmp-deadbeef.1-aa-y")
    ancient.mkdir()
    os.utime(ancient, (0, 0))
    dead_file = tmp_path / dead.name
    dead_file.write_text("half an index")
    Store.open(tmp_path)
    assert mine.is_dir()
    assert foreign.is_dir()
    assert not dead.exists()
    assert not ancient.exists()
    assert not dead_file.exists()
    for path in (mine, foreign):
        shutil.rmtree(path)


def test_a_failed_replacement_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_bytes(path, b"old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_bytes(b"half of the n")
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        fail()
    assert content(tmp_path) == {"file.txt": b"old"}


def test_stores_are_recognised(tmp_path: Path) -> None:
    assert not is_store(tmp_path)
    Store.open(tmp_path)
    assert is_store(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="counts open files in /proc")
def test_reading_leaves_no_file_open(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    for number in range(3):
        store.add(observation(number), evidence=picture())
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    Store.open(tmp_path).observations()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_times_keep_their_microseconds(tmp_path: Path) -> None:
    when = datetime.fromisoformat("2023-10-05T02:15:00.123456+00:00")
    Store.open(tmp_path).add(observation(datetime=when))
    assert Store.open(tmp_path).observations()[0].datetime == when
