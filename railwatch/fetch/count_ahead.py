"""Counting what has come while the rest is still being fetched.

A fetch waits for servers and leaves a core free. A date rests on those before it alone, so all dates before
the first one that hasn't come yet can be answered already, in a process of their own. What fails there, or
isn't reached, is left to the run that comes after the fetch: it finds what is there and does the rest.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from railwatch.errors import StoreError
from railwatch.pipeline.engine import end_with_parent
from railwatch.pipeline.run import FoundInputs, look_for, run
from railwatch.store.remote import is_url
from railwatch.store.store import Store

if TYPE_CHECKING:
    from aoi import AreaOfInterest
    from railwatch.config import RunConfig
    from railwatch.fetch.fetch import Fetched
    from railwatch.fetch.plan import Plan

__all__ = ["CountAhead"]

log = logging.getLogger(__name__)

_WORTH = 64
"""Scenes to fetch from which on a process beside is worth its start."""
_AT_ONCE = 32
"""Dates that are answered together: the store is read anew for each time."""


@dataclass(frozen=True)
class _DatesBefore:
    """What the process beside is to answer: an area's dates before a time."""

    folder: str
    before: datetime
    area: AreaOfInterest
    config: RunConfig
    store: str


class CountAhead(AbstractContextManager["CountAhead"]):
    """Answers Sentinel-2 dates as they come, oldest first; at the end the last of them are waited for.

    Nothing is done where it isn't worth it, where scenes or store aren't on this machine, or where the store
    has dates after the first scene to come: those would have to be answered again and again.

    Args:
        planned: What is being fetched, by time.
        config: The settings of the run.
        store: Where observations go.
        workers: Processes that may be used, as many as there are cores by default.
    """

    def __init__(self, planned: Plan, config: RunConfig, store: Store, workers: int | None = None) -> None:
        self._planned, self._config, self._store = planned, config, store
        self._waiting = [one[0] for one in planned.scenes]
        self._come: set[str] = set()
        self._passed = 0
        self._running: Future[None] | None = None
        self._pool: ProcessPoolExecutor | None = None
        if (workers or os.cpu_count() or 1) < 2 or not self._is_worth_it():
            self._waiting = []

    def _is_worth_it(self) -> bool:
        if len(self._waiting) < _WORTH or any(one.metadata is None for one in self._waiting):
            return False
        if is_url(self._store.location) or is_url(self._planned.folder.location):
            return False
        known = self._store.observations(self._planned.area.name, superseded=True)
        return all(one.datetime < self._waiting[0].datetime for one in known)

    def arrived(self, one: Fetched) -> None:
        """Take note of a scene that was fetched, or that can't be."""
        if not self._waiting:
            return
        self._come.add(one.stem)
        while self._waiting and self._waiting[0].stem in self._come:
            self._come.discard(self._waiting.pop(0).stem)
            self._passed += 1
        free = self._running is None or self._running.done()
        if self._waiting and free and self._passed >= _AT_ONCE:
            self._passed = 0
            self._answer(self._waiting[0].datetime)

    def _answer(self, before: datetime) -> None:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=end_with_parent)
        task = _DatesBefore(
            self._planned.folder.location, before, self._planned.area, self._config, self._store.location
        )
        try:
            self._running = self._pool.submit(_work, task)
        except RuntimeError as error:  # the process has ended: what is left is done after the fetch
            log.debug("nothing more is counted ahead: %s", error)
            self._waiting = []

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for what is being answered; after a fault or an interrupt too, so that no process stays."""
        if self._pool is None:
            return
        self._pool.shutdown(wait=True, cancel_futures=True)
        fault = None if self._running is None or self._running.cancelled() else self._running.exception()
        if fault is not None:
            log.debug("what was counted ahead is tried again", exc_info=fault)


def _work(task: _DatesBefore) -> None:
    """Answer what is there: the work of the process beside."""
    try:
        store = Store.open(task.store)
        found = look_for([Path(task.folder)], store)
        products = tuple(one for one in found.products if one.datetime < task.before)
        run((), task.area, task.config, store, inputs=FoundInputs(products), conclude=False)
    except StoreError as error:
        log.debug("%s", error)
