"""A store of very many observations: what listing, comparing, charting and an overview of it take.

A made-up store of some yards with the same number of observations each is written, indexed once, and asked
through the command line, each command in a process of its own. Processor seconds are given beside wall
seconds: they mean something on a machine that does other work too.

    python benchmarks/large_store.py --yards 100 --dates 1000
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from railwatch.store.observation import Observation  # noqa: E402
from railwatch.store.store import Store  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--yards", type=int, default=100)
    parser.add_argument("--dates", type=int, default=1000)
    parser.add_argument("--folder", type=Path, help="make the store here and keep it")
    given = parser.parse_args()
    with TemporaryDirectory(prefix="large-store-") as name:
        path = (given.folder or Path(name)) / "store"
        if not (path / "items").is_dir():
            timed("write the items", lambda: write(path, given.yards, given.dates))
        number = given.yards * given.dates
        timed("index them for the first time", lambda: Store.open(path).refresh())
        timed(f"list all {number:,}", lambda: Store.open(path).observations())
        timed(f"list one yard's {given.dates:,}", lambda: Store.open(path).observations("yard-000"))
        for words in (
            ["compare", "--aoi", "yard-000", "--store", str(path), "--json"],
            ["chart", "--aoi", "yard-000", "--store", str(path), "--out", str(path.parent / "chart.png")],
            ["overview", "--stores", str(path), "--out", str(path.parent / "overview.html")],
        ):
            timed(f"railwatch {words[0]}", lambda words=words: command(words))  # type: ignore[misc]


def write(path: Path, yards: int, dates: int) -> None:
    """Items as `Store.add` writes them, without its care for each: a killed benchmark begins anew."""
    store = Store.open(path)
    random_ = random.Random(0)
    for yard in range(yards):
        west = 10.0 + yard / 10
        ring = [[west, 50.0], [west + 0.01, 50.0], [west + 0.01, 50.01], [west, 50.01], [west, 50.0]]
        for date in range(dates):
            when = datetime(2010, 1, 1, 2, tzinfo=UTC) + timedelta(days=5 * date)
            count = float(random_.randint(0, 30) + 40 * (date == dates - 1))
            one = Observation(
                id=f"yard-{yard:03d}-{when:%Y%m%dt%H%M%Sz}-wagons-{yard * dates + date:012x}",
                aoi=f"yard-{yard:03d}", scene=f"scene-{date}.tif", datetime=when, sensor="Pléiades",
                method="wagons", count=count, count_low=max(0.0, count - 3), count_high=count + 3,
                clear_fraction=1.0, hidden_fraction=0.0, abstained=False, reason=None, warnings=(),
                zones={}, tracks={}, provenance={"sha256": f"{yard * dates + date:064x}"},
                geometry={"type": "Polygon", "coordinates": [ring]}, occupied_length_m=None,
                occupied_length_low_m=None, occupied_length_high_m=None,
            )  # fmt: skip
            folder = store.path / "items" / one.id
            folder.mkdir(parents=True)
            item = one.to_item().to_dict(include_self_link=False, transform_hrefs=False)
            (folder / f"{one.id}.json").write_text(json.dumps(item), encoding="utf-8")


def command(words: list[str]) -> None:
    subprocess.run([sys.executable, "-m", "railwatch", *words], stdout=subprocess.DEVNULL, check=True)


def timed(what: str, work: Callable[[], object]) -> None:
    """Do it, and print the seconds of processor and of the wall, and the largest memory so far."""
    started, before = time.monotonic(), _processor_s()
    work()
    largest = max(
        resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(
        f"{what}: {_processor_s() - before:.1f} s of processor, {time.monotonic() - started:.1f} s, "
        f"at most {largest / 1e3:.0f} MB so far",
        flush=True,
    )


def _processor_s() -> float:
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


if __name__ == "__main__":
    main()
