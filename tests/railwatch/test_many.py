"""Many areas and scenes on pools, on a Dask cluster and in a bucket: the same observations everywhere."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import ten_metres as tm
from local_archive import dask_cluster, s3_server

from railwatch.config import RunConfig
from railwatch.errors import EngineError
from railwatch.pages.overview import gather_yards, write_overview
from railwatch.pipeline.engine import Dask, Processes, Serial, Threads, engine_of
from railwatch.pipeline.many import load_areas, run_areas, run_many, tasks_of
from railwatch.pipeline.run import look_for
from railwatch.store.areas import choose_settings
from railwatch.store.remote import CACHE, Mirror
from railwatch.store.store import PRODUCTS, Store

DATES = 7
TEN = RunConfig().override(baseline__min_looks=10.0)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    for number in range(DATES):
        tm.write(folder, number, 10, how="c1")
    return folder


@pytest.fixture(scope="module")
def serial(scenes, tmp_path_factory):
    """What one process makes of them."""
    store = Store.open(tmp_path_factory.mktemp("serial") / "store")
    run_areas([scenes], [tm.area()], RunConfig(), store)
    return said(store)


def said(store):
    return {
        one.id: (one.scene, one.count, one.count_low, one.count_high, one.reason)
        for one in store.observations()
    }


def test_a_pool_of_processes_makes_what_one_makes(scenes, serial, tmp_path):
    store = Store.open(tmp_path / "store")
    found = look_for([scenes])
    first, then = tasks_of(found, [tm.area()], RunConfig(), store, _no_dates())
    assert (len(first), len(then)) == (DATES, 1)
    (result,) = run_areas([scenes], [tm.area()], RunConfig(), store, workers=2)
    assert said(store) == serial
    assert result.report is not None
    assert tasks_of(found, [tm.area()], RunConfig(), store, _no_dates()) == ([], [])


def _no_dates():
    from railwatch.pipeline.find_scenes import Dates

    return Dates()


def test_a_cluster_that_loses_a_worker_and_a_bucket_with_two_writers(scenes, serial, tmp_path, monkeypatch):
    """Two Dask workers write one store in a bucket; one of them is killed in the middle of it."""
    with s3_server(tmp_path) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
        with dask_cluster(tmp_path) as (address, workers):
            store = Store.open("s3://railwatch/store")
            with closing(Dask(address)) as engine:
                seen = Counting(engine, lambda: os.killpg(workers[0].pid, signal.SIGKILL), after=2)
                run_many([scenes], [tm.area()], TEN, store, seen)
            assert seen.killed
            store.push()
        assert said(store) == serial
        # Somebody else, on another machine.
        monkeypatch.setenv(CACHE, str(tmp_path / "elsewhere"))
        other = Store.open("s3://railwatch/store", create=False)
        assert said(other) == serial
        assert other.location == "s3://railwatch/store"
        evidence = other.asset(sorted(serial)[0], "evidence")
        assert evidence is not None
        assert evidence.stat().st_size > 1000
        # Whoever looks back on it has the settings of its last run.
        monkeypatch.setenv(CACHE, str(tmp_path / "third"))
        chosen = choose_settings(store="s3://railwatch/store")
        assert list(chosen.kept) == ["siding"]
        assert chosen.config.baseline.min_looks == TEN.baseline.min_looks


class Counting:
    """An engine that does something once so many tasks are done."""

    name = "counting"

    def __init__(self, engine, what, after):
        self.engine, self.what, self.after, self.done, self.killed = engine, what, after, 0, False

    def each(self, work, tasks):
        for one in self.engine.each(work, tasks):
            self.done += 1
            if self.done == self.after:
                self.what()
                self.killed = True
            yield one


# ---- engines ---------------------------------------------------------------------------------------


def double(number):
    if number == 3:
        raise ValueError("three")
    return 2 * number


def die_on_five(number):
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("engine", [Serial(), Threads(3), Processes(2)])
def test_every_task_is_done_once(engine):
    found = {
        one.task: one.value if one.error is None else str(one.error) for one in engine.each(double, range(8))
    }
    assert found == {**{number: 2 * number for number in range(8)}, 3: "three"}
    assert list(engine.each(double, [])) == []


def test_a_task_that_kills_its_worker_costs_no_other(caplog):
    found = {one.task: one for one in Processes(2).each(die_on_five, list(range(9)))}
    assert sorted(found) == list(range(9))
    assert isinstance(found[5].error, EngineError)
    assert all(one.value == number for number, one in found.items() if number != 5)


def test_workers_of_a_killed_run_end():
    code = (
        "import os, sys, time; from railwatch.pipeline.engine import Processes; import test_many\n"
        "if __name__ == '__main__': list(Processes(1).each(test_many.tell_and_wait, [0]))"
    )
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parent.parent), *sys.path])
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": paths}
    )
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    for _ in range(100):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    else:
        os.kill(worker, signal.SIGKILL)
        pytest.fail("the worker is still there")


def tell_and_wait(number):
    sys.stdout.write(f"{os.getpid()}\n")
    sys.stdout.flush()
    time.sleep(60)


def test_where_work_is_done():
    assert isinstance(engine_of(None, None, 3), Serial)
    assert isinstance(engine_of(None, 1, 1000), Serial)
    assert isinstance(engine_of(None, 3, 2), Processes)
    with pytest.raises(EngineError, match="can't be reached"):
        Dask("not-an-address://x")


def test_a_folder_of_areas(tmp_path, railwatch):
    tm.write_area(tmp_path / "a.geojson", tm.area("one"))
    tm.write_area(tmp_path / "b.geojson", tm.area("two"))
    assert [one.name for one in load_areas(tmp_path)] == ["one", "two"]
    tm.write_area(tmp_path / "c.geojson", tm.area("two"))
    done = railwatch("run", "--aoi", tmp_path, "--store", tmp_path / "store", tmp_path)
    assert done.code == 2
    assert "names tell areas apart" in done.error


# ---- mirrors ---------------------------------------------------------------------------------------


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    return Mirror.open(f"memory://{tmp_path.name}/store")


def test_a_mirror_carries_changes_both_ways(mirror, tmp_path, monkeypatch):
    (mirror.folder / "chips").mkdir()
    (mirror.folder / "chips" / "a.tif").write_bytes(b"one")
    (mirror.folder / "chips" / "b.tif").write_bytes(b"two")
    (mirror.folder / "chips" / ".tmp-x").write_bytes(b"half")
    (mirror.folder / PRODUCTS).write_bytes(b"{}")  # what is known of this machine's folders stays here
    assert mirror.push() == 2
    assert mirror.push() == 0
    monkeypatch.setenv(CACHE, str(tmp_path / "elsewhere"))
    other = Mirror.open(mirror.url)
    assert other.pull(["chips"]) == 2
    assert (other.folder / "chips" / "a.tif").read_bytes() == b"one"
    (other.folder / "chips" / "a.tif").unlink()
    (other.folder / "chips" / "b.tif").write_bytes(b"three")
    assert other.push() == 2
    assert other.pull() == 0
    assert sorted(one.name for one in (other.folder / "chips").iterdir()) == ["b.tif"]


def test_a_store_in_a_bucket_that_is_none(tmp_path, monkeypatch, railwatch):
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    done = railwatch("compare", "--store", f"memory://{tmp_path.name}/none")
    assert done.code == 2
    assert "There is no store at memory://" in done.error
    done = railwatch("compare", "--store", "https://example.org/store")
    assert "can't hold a store" in done.error
    done = railwatch("compare", "--store", "nosuch://x/store")
    assert done.code == 2


# ---- overview --------------------------------------------------------------------------------------


def test_an_overview_of_stores(scenes, tmp_path, railwatch):
    for name in ("one", "two"):
        run_areas([scenes], [tm.area(name)], RunConfig(), Store.open(tmp_path / name))
    page = tmp_path / "overview.html"
    done = railwatch(
        "overview", "--stores", tmp_path / "one", "--stores", tmp_path / "two", "--out", page,
        "--until", "2023-06-01", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    yards = json.loads(done.out)["yards"]
    assert sorted(one["aoi"] for one in yards) == ["one", "two"]
    assert all(one["verdict"]["verdict"] for one in yards)
    text = page.read_text()
    assert 'href="one/reports/one.html"' in text
    assert text.count("<svg") == 2
    assert "<script" not in text


def test_an_overview_is_sorted_and_escaped(scenes, tmp_path):
    run_areas([scenes], [tm.area()], RunConfig(), Store.open(tmp_path / "store"))
    (yard,) = gather_yards([tmp_path / "store"], until=tm.when(DATES))
    from dataclasses import replace

    nasty = replace(yard, title="<script>alert(1)</script>", counts=())
    text = write_overview([nasty, yard], tmp_path / "x" / "page.html").read_text()
    assert "<script>" not in text
    assert "no count" in text
    assert "2 places, 0 of them above what is typical in the 90 days to " in text
