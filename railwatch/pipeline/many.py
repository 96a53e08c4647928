"""Many areas and thousands of scenes: one task an area and scene, on as many workers as there are.

Each worker writes what it has made into the store itself. What is left for the end is quick: everything is
known by then, and the history of each area is judged and drawn once. So a worker that is lost costs its task,
and a run that is killed goes on where it was.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from aoi import AreaOfInterest, load_area
from aoi.errors import AreaError
from railwatch.errors import EngineError, StoreError
from railwatch.pipeline import Progress
from railwatch.pipeline.engine import Dask, Processes, Serial, engine_of
from railwatch.pipeline.find_scenes import Dates, Skipped, select
from railwatch.pipeline.run import FoundInputs, RunResult, look_for, run
from railwatch.store.remote import folder_here
from railwatch.store.store import Store

if TYPE_CHECKING:
    from geo.sentinel2.formats.product import Product
    from railwatch.config import RunConfig
    from railwatch.pipeline.engine import Engine

__all__ = ["WorkerTask", "load_areas", "run_areas", "run_many", "tasks_of", "work"]

log = logging.getLogger(__name__)


def load_areas(name_or_path: str | Path) -> list[AreaOfInterest]:
    """Load the area that a name or a file means, or all of a folder of area files.

    Args:
        name_or_path: A bundled name, a GeoJSON file, or a folder of them.

    Returns:
        The areas, by the names of their files.

    Raises:
        AreaError: One can't be found or trusted, the folder holds none, or two have the same name.

    Example:
        >>> [area.name for area in load_areas("tumangang")]
        ['tumangang']
    """
    folder = Path(name_or_path)
    if not folder.is_dir():
        return [load_area(name_or_path)]
    files = sorted(path for path in folder.glob("*.geojson") if not path.name.startswith("."))
    if not files:
        raise AreaError(f"{folder}: the folder holds no area files (.geojson)")
    areas = [load_area(path) for path in files]
    twice = [name for name, number in Counter(one.name for one in areas).items() if number > 1]
    if twice:
        raise AreaError(f"{folder}: several of its files name their area {twice[0]}; names tell areas apart")
    return areas


@dataclass(frozen=True)
class WorkerTask:
    """What a worker does at one time.

    Attributes:
        area: The area.
        config: The settings.
        store: Path or URL of the store.
        dates: Declared acquisition times.
        images: An image to count on.
        products: The products of one acquisition, whose pixels are to be kept.
        answer: Answer the area's Sentinel-2 dates, instead of only keeping their pixels.
    """

    area: AreaOfInterest
    config: RunConfig
    store: str
    dates: Dates
    images: tuple[Path, ...] = ()
    products: tuple[Product, ...] = ()
    answer: bool = False

    @property
    def paths(self) -> frozenset[Path]:
        """The files and folders that it is about."""
        return frozenset([*self.images, *(one.path for one in self.products)])


def tasks_of(
    inputs: FoundInputs, areas: Sequence[AreaOfInterest], config: RunConfig, store: Store, dates: Dates
) -> tuple[list[WorkerTask], list[WorkerTask]]:
    """Cut the work into tasks.

    Args:
        inputs: What was found.
        areas: The areas.
        config: The settings.
        store: Where observations go.
        dates: Declared acquisition times.

    Returns:
        The tasks of one scene each, and those that come after them: one for each area with Sentinel-2 dates,
        since each of these is answered against the ones before it.
    """
    first, then = [], []
    for area in areas:
        base = WorkerTask(area, config, store.location, dates)
        stored = store.observations(area.name, superseded=True)
        candidates, _ = select(inputs.images, area, config.scenes, dates, stored)
        first += [replace(base, images=(one.path,)) for one in candidates]
        products = [one for one in inputs.products if one.shown(area) > 0.0]
        if not products:
            continue
        known = _known_states(area, store)
        acquisitions: dict[str, list[Product]] = {}
        for one in products:
            acquisitions.setdefault(one.acquisition, []).append(one)
        missing = [ones for ones in acquisitions.values() if not all(_state(one) in known for one in ones)]
        first += [replace(base, products=tuple(ones)) for ones in missing]
        answered = {one.scene for one in stored if one.method == "occupancy"}
        if missing or len(answered) < len(acquisitions):
            then.append(replace(base, products=tuple(products), answer=True))
    return first, then


def _state(product: Product) -> str:
    from railwatch.pipeline.ingest_chips import described, state_of

    return state_of(described(product))


def _known_states(area: AreaOfInterest, store: Store) -> frozenset[str]:
    """The products whose pixels the store holds already."""
    from geo.sentinel2.chip import chip_grid
    from geo.sentinel2.constellation import CONSTELLATIONS
    from railwatch.pipeline.ingest_chips import state_of
    from railwatch.store.chips import ChipStore

    grid = chip_grid(area)
    stores = [ChipStore.of(store.path, area, grid, sensor) for sensor in CONSTELLATIONS]
    return frozenset(state_of(kept.product) for chips in stores for kept in chips.kept())


def run_areas(
    paths: Sequence[str | Path],
    areas: Sequence[AreaOfInterest],
    config: RunConfig,
    store: Store,
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    dates: Dates | None = None,
    progress: Progress | None = None,
) -> list[RunResult]:
    """Count on every scene, on as many workers as a user asks for or as the work is worth.

    The arguments are those of `run_many`; paths may also be fsspec URLs of folders of scenes. ``scheduler``
    is the address of a Dask scheduler, ``workers`` the number of processes on this machine.

    Returns:
        What came of each area.

    Raises:
        StoreError: If the store can't be read or written.
        EngineError: If the workers can't be reached.
    """
    here = [folder_here(path) for path in paths]
    store.pull()
    inputs = look_for(here, store)
    tasks = (len(inputs.images) + len(inputs.products)) * len(areas)
    engine = engine_of(scheduler, workers, tasks)
    try:
        if isinstance(engine, Serial):
            found = [
                run(here, area, config, store, dates=dates, progress=progress, inputs=inputs)
                for area in areas
            ]
        else:
            found = run_many(
                here, areas, config, store, engine, dates=dates, progress=progress, inputs=inputs
            )
    finally:
        if isinstance(engine, Dask):
            engine.close()
        store.push()
    return found


def run_many(
    paths: Sequence[str | Path],
    areas: Sequence[AreaOfInterest],
    config: RunConfig,
    store: Store,
    engine: Engine,
    *,
    dates: Dates | None = None,
    progress: Progress | None = None,
    inputs: FoundInputs | None = None,
) -> list[RunResult]:
    """Count the freight cars of areas on every scene that shows them.

    Args:
        paths: Images and Sentinel-2 products, and folders that are searched for both.
        areas: In longitude and latitude.
        config: The settings.
        store: Where observations are kept; every worker has to reach it.
        engine: Where the work is done.
        dates: Acquisition times for images that don't tell theirs.
        progress: Told of every task.
        inputs: What `look_for` has found under the paths, where that is known already.

    Returns:
        What came of each area, as of `railwatch.pipeline.run.run`. Scenes that ended their workers are listed
        among those that were left out.

    Raises:
        StoreError: If the store can't be written.
        EngineError: If the workers can't be reached.
    """
    declared = dates or Dates()
    found = inputs or look_for(paths, store)
    lost: dict[Path, str] = {}
    done = 0
    first, then = tasks_of(found, areas, config, store, declared)
    if len(then) == 1 and isinstance(engine, Processes):
        then = []  # `run` answers it below: another process here would only read all of it once more
    for phase in (first, then):
        for one in engine.each(work, phase):
            done += 1
            if progress is not None:
                progress(done, len(first) + len(then))
            if isinstance(one.error, StoreError):
                raise one.error
            if isinstance(one.error, EngineError):
                log.warning("%s: %s", ", ".join(map(str, sorted(one.task.paths)))[:300], one.error)
                # Here it would end this process too.
                lost |= dict.fromkeys(one.task.paths, f"{one.error}.")
            elif one.error is not None:
                log.debug("a task failed and is tried again here", exc_info=one.error)
    left = FoundInputs(
        tuple(one for one in found.products if one.path not in lost),
        tuple(one for one in found.images if one not in lost),
        (*found.skipped, *(Skipped(path, reason) for path, reason in lost.items())),
    )
    store.pull()
    return [run(paths, area, config, store, dates=declared, progress=progress, inputs=left) for area in areas]


_one_at_a_time = threading.Lock()


def work(task: WorkerTask) -> int:
    """Do one task: the work of a worker.

    Returns:
        The number of observations that were made.

    Raises:
        StoreError: The store can't be opened or written.
    """
    # A Dask worker may have several threads; GDAL's datasets and PyTorch's settings belong to a process.
    with _one_at_a_time:
        store = Store.open(task.store)
        if task.products and not task.answer:
            _keep_pixels(task, store)
            made = 0
        else:
            inputs = FoundInputs(task.products, task.images)
            result = run((), task.area, task.config, store, dates=task.dates, inputs=inputs, conclude=False)
            made = len(result.new)
        store.push()
        return made


def _keep_pixels(task: WorkerTask, store: Store) -> None:
    from geo.sentinel2.chip import chip_grid
    from railwatch.pipeline.ingest_chips import by_constellation, gather
    from railwatch.store.chips import ChipStore

    for sensor, own in by_constellation(task.products):
        gather(own, task.area, ChipStore.of(store.path, task.area, chip_grid(task.area), sensor))
