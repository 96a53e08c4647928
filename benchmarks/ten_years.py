"""Ten years of one yard, from a public archive on this machine to a chart, killed again and again.

An archive is made (a STAC API by rustac's server and an HTTP server with range requests, each in a process
of its own) with one item every five days. `railwatch watch` fetches and counts all of it three times:
undisturbed, killed at random moments and started again, and on two Dask workers of which one is killed. The
three stores have to hold the same observations.

    python benchmarks/ten_years.py --dates 700 --kills 10
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "railwatch")]

import ten_metres as yard  # noqa: E402
from local_archive import Archive, archive, dask_cluster  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dates", type=int, default=700)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--longest", type=float, default=60.0, help="seconds that a run lives at most")
    parser.add_argument("--no-dask", action="store_true")
    parser.add_argument("--folder", type=Path, help="keep everything here")
    given = parser.parse_args()
    with TemporaryDirectory(prefix="ten-years-") as name:
        folder = given.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        area = yard.write_area(folder / "siding.geojson")
        started = time.monotonic()
        with archive(folder / "archive", lambda place: list(products(place, given.dates))) as there:
            print(f"archive of {given.dates} items made in {time.monotonic() - started:.0f} s", flush=True)
            plain = undisturbed(there, area, folder / "plain")
            killed = disturbed(there, area, folder / "killed", given.kills, given.longest)
            print("killed run: the same observations" if killed == plain else "killed run: DIFFERENT")
            if not given.no_dask:
                shared = on_dask(there, area, folder / "dask")
                print("Dask run: the same observations" if shared == plain else "Dask run: DIFFERENT")


def products(folder: Path, number: int) -> Iterator[Path]:
    """One item every five days: a yard that fills up now and then, every fifth date under clouds."""
    random_ = random.Random(0)
    for date in range(number):
        wagons = random_.choice((0, 5, 10, 10, 15, 20)) + (40 if date == number - 2 else 0)
        yield yard.write(folder, date, wagons, how="c1", cloudy=date % 5 == 4)


def command(there: Archive, area: Path, folder: Path, *more: str) -> list[str]:
    where = ["--store", str(folder / "store"), "--scenes", str(folder / "scenes")]
    span = ["--since", "2023-01-01", "--until", "2035-01-01"]
    words = ["watch", "--aoi", str(area), *where, *span, *there.options, *more, "--json"]
    return [sys.executable, "-m", "railwatch", *words]


def undisturbed(there: Archive, area: Path, folder: Path) -> dict[str, Any]:
    started, before = time.monotonic(), processor_s()
    done = subprocess.run(command(there, area, folder), stdout=subprocess.PIPE, check=True)
    seconds, worked = time.monotonic() - started, processor_s() - before
    (one,) = json.loads(done.stdout)["areas"]
    fetched, scenes = one["fetch"], one["fetch"]["scenes"]
    each = {
        name: sum(scene[name] for scene in scenes) / len(scenes) for name in ("requests", "bytes", "size")
    }
    print(
        f"undisturbed: {len(scenes)} scenes, {len(one['run']['observations'])} observations in "
        f"{seconds:.0f} s, of which fetching {fetched['seconds']:.0f} s, "
        f"{fetched['seconds'] / len(scenes):.2f} s a scene; {worked:.0f} s of processor"
    )
    print(
        f"  a scene: {each['requests']:.1f} requests, {each['bytes'] / 1e3:.0f} kB read, "
        f"{each['size'] / 1e3:.0f} kB kept",
        flush=True,
    )
    return observations(folder / "store")


def processor_s() -> float:
    """Processor time of the ended children, seconds: what the run takes where nothing else is at work."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def disturbed(there: Archive, area: Path, folder: Path, kills: int, longest: float) -> dict[str, Any]:
    random_ = random.Random(1)
    started = time.monotonic()
    for number in range(kills):
        process = subprocess.Popen(
            command(there, area, folder), stdout=subprocess.DEVNULL, start_new_session=True
        )
        lived = random_.uniform(5.0, longest)
        try:
            process.wait(lived)
            print(f"  run {number + 1} had ended by itself", flush=True)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    subprocess.run(command(there, area, folder), stdout=subprocess.PIPE, check=True)
    print(f"killed {kills} times: {time.monotonic() - started:.0f} s in all", flush=True)
    return observations(folder / "store")


def on_dask(there: Archive, area: Path, folder: Path) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with dask_cluster(folder) as (address, workers):
        process = subprocess.Popen(
            command(there, area, folder, "--scheduler", address),
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        time.sleep(20.0)
        os.killpg(workers[0].pid, signal.SIGKILL)
        process.communicate()
    print(f"on two Dask workers, one killed: {time.monotonic() - started:.0f} s", flush=True)
    return observations(folder / "store")


def observations(store: Path) -> dict[str, Any]:
    """By id, what doesn't depend on when it was made."""
    from railwatch.store.store import Store

    return {one.id: (one.scene, one.count, one.count_low, one.count_high, one.abstained, one.reason)
            for one in Store.open(store, create=False).observations()}  # fmt: skip


if __name__ == "__main__":
    main()
