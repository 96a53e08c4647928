"""The main job on the bundled sample tiles, to see what railwatch does before trusting it with anything."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from railwatch.config import RunConfig
from railwatch.errors import StoreError
from railwatch.pipeline import Progress
from railwatch.pipeline.run import Detector, RunResult, run
from railwatch.selftest.samples import Samples
from railwatch.store.store import EVIDENCE, Store


@dataclass(frozen=True)
class DemoResult:
    """What the demo made.

    Attributes:
        result: Of the main job.
        truth: Freight cars truly there, for each observation.
        pictures: The evidence pictures by day, for each observation.
    """

    result: RunResult
    truth: tuple[int, ...]
    pictures: tuple[Path, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as ``railwatch demo --json`` prints it."""
        return self.result.to_json() | {
            "truth": list(self.truth),
            "pictures": [str(path) for path in self.pictures],
        }


def demo(
    samples: Samples,
    out: Path,
    config: RunConfig,
    detector: Detector | None = None,
    progress: Progress | None = None,
) -> DemoResult:
    """Count, store, judge and draw the sample tiles.

    Args:
        samples: The tiles.
        out: Folder for the store (``store/``) and the pictures (``pictures/``); made if it isn't there.
        config: The settings; their area and published counts aren't used.
        detector: The wagon detector; the shipped one by default.
        progress: Told of every tile.

    Raises:
        StoreError: If the folder can't be written.
    """
    settings = config.override(title=config.title or samples.area.title, baseline__use_published=False)
    store = Store.open(out / "store")
    tiles = [tile.path for tile in samples.tiles]
    truth = {tile.datetime: tile.count for tile in samples.tiles}
    with _writing(out):
        (out / "pictures").mkdir(exist_ok=True)  # said now, and not after a minute of counting
    result = run(tiles, samples.area, settings, store, detector, progress=progress)
    pictures = []
    with _writing(out):
        for one in result.observations:
            evidence = store.asset(one.id, EVIDENCE)
            if evidence is not None:
                name = f"{one.datetime:%Y-%m-%d}{evidence.suffix}"
                pictures.append(Path(shutil.copyfile(evidence, out / "pictures" / name)))
    return DemoResult(result, tuple(truth[one.datetime] for one in result.observations), tuple(pictures))


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """What the disk refuses, in a sentence."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{out}: can't be written: {error.strerror}.") from error
