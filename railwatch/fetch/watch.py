"""Fetch what is new of some areas, then count it: one look at the archives, for cron and systemd.

What was looked at is kept in ``watch.json`` in the store. The next check goes back a month before the last
one, since scenes reach the archives days after they were taken; those that are there already cost no
request of their own.

What has come is counted while the rest is still being fetched (`CountAhead`): a fetch waits for servers and
leaves a core free. A date rests on those before it alone, so all dates before the first one that hasn't come
yet can be answered already, in a process of their own. What fails there, or isn't reached, is left to the run
that comes after the fetch: it finds what is there and does the rest.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import filelock

from aoi.errors import InputError
from aoi.files import write_bytes
from geo.catalogue.cut import window_key
from geo.errors import UnavailableError
from railwatch.errors import LockedError, StoreError, said
from railwatch.fetch.fetch import FetchResult, fetch
from railwatch.fetch.plan import FetchOptions, parse_time, plan
from railwatch.pipeline.alerts import Alert, send_alerts
from railwatch.pipeline.engine import Dask, pool_of
from railwatch.pipeline.many import run_areas
from railwatch.pipeline.run import FoundInputs, look_for, run
from railwatch.store.observation import iso
from railwatch.store.remote import is_url
from railwatch.store.store import Store

if TYPE_CHECKING:
    from aoi import AreaOfInterest
    from railwatch.config import RunConfig
    from railwatch.fetch.fetch import Fetched
    from railwatch.fetch.plan import Plan
    from railwatch.pipeline import Progress
    from railwatch.pipeline.run import RunResult

__all__ = ["AreaCheck", "CountAhead", "WatchResult", "watch"]

log = logging.getLogger(__name__)

STATE = "watch.json"
"""Name of the file in the store."""

OVERLAP = timedelta(days=30)
"""How far a check goes back before the last one."""

FIRST_SPAN = timedelta(days=730)
"""How far the first check goes back if nothing else is said."""

_VERSION = 1

Event = Callable[..., None]


@dataclass(frozen=True)
class AreaCheck:
    """What came of one area.

    Attributes:
        area: Its name.
        fetched: What was fetched, None if the search failed.
        run: What was counted, None if there was nothing to count or it failed.
        alerts: That were sent.
        error: What went wrong, or None.
        unavailable: Whether another check may succeed.
    """

    area: str
    fetched: FetchResult | None = None
    run: RunResult | None = None
    alerts: tuple[Alert, ...] = ()
    error: str | None = None
    unavailable: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "aoi": self.area,
            "fetch": None if self.fetched is None else self.fetched.to_json(),
            "run": None if self.run is None else self.run.to_json(),
            "alerts": [one.to_json() for one in self.alerts],
            "error": self.error,
        }


@dataclass(frozen=True)
class WatchResult:
    """What came of a look at all areas, and the store's location."""

    checks: tuple[AreaCheck, ...]
    store: str

    @property
    def unavailable(self) -> bool:
        """Whether another check may bring more."""
        return any(one.unavailable for one in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Return it as ``railwatch watch --json`` prints it."""
        return {"areas": [one.to_json() for one in self.checks], "store": self.store}


def watch(
    areas: Sequence[AreaOfInterest],
    options: FetchOptions,
    config: RunConfig,
    store: Store,
    out: str | Path,
    *,
    since: datetime | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
    alert_command: str | None = None,
    alert_timeout_s: float = 60.0,
    progress: Progress | None = None,
    event: Event = lambda name, **said: None,
) -> WatchResult:
    """Fetch what is new since the last check, and count it.

    Args:
        areas: In longitude and latitude.
        options: What to fetch; its ``since`` doesn't matter.
        config: The settings of the run.
        store: Where observations are kept; only one watch at a time works on it.
        out: Where scenes are kept: a path or an fsspec URL.
        since: The first day; by default the last check's, or two years ago.
        scheduler: Address of a Dask scheduler.
        workers: Processes on this machine.
        alert_command: Run when a verdict is elevated or higher; see `railwatch.pipeline.alerts`.
        alert_timeout_s: How long it may take.
        progress: Told of scenes.
        event: Told of what happens, by name, for a log.

    Returns:
        What came of it. An area that fails doesn't stop the others.

    Raises:
        LockedError: Another watch is at work on the store.
        StoreError: The store can't be read or written.
    """
    checks = []
    with _lock(store):
        state = _read_state(store.path / STATE)
        for area in areas:
            known = state.get(_key(area, options))
            last = options.until - FIRST_SPAN if known is None else min(known, options.until) - OVERLAP
            first = since or last
            event("start", aoi=area.name, since=iso(first), until=iso(options.until))
            check = _check_area(
                area, replace(options, since=first), config, store, out, scheduler, workers, progress, event
            )
            if check.run is not None and alert_command is not None:
                sent = send_alerts(check.run.verdicts, alert_command, store.path, timeout_s=alert_timeout_s)
                for one in sent:
                    event("alert", **one.to_json())
                check = replace(check, alerts=tuple(sent))
            if check.error is None and not check.unavailable:
                state[_key(area, options)] = options.until
                _write_state(store.path / STATE, state)
            store.push()
            event("done", aoi=area.name, ok=check.error is None and not check.unavailable)
            checks.append(check)
    return WatchResult(tuple(checks), store.location)


def _check_area(
    area: AreaOfInterest,
    options: FetchOptions,
    config: RunConfig,
    store: Store,
    out: str | Path,
    scheduler: str | None,
    workers: int | None,
    progress: Progress | None,
    event: Event,
) -> AreaCheck:
    fetched: FetchResult | None = None
    try:
        planned = plan(area, options, out)
        before = {one.id for one in store.observations(area.name, superseded=True)}
        shown = progress or (lambda done, total: None)
        if scheduler is not None:
            with closing(Dask(scheduler)) as engine:
                fetched = fetch(planned, engine=engine, progress=shown)
        else:
            with CountAhead(planned, config, store, workers) as ahead:
                fetched = fetch(planned, progress=shown, arrived=ahead.arrived)
        event(
            "fetched",
            aoi=area.name,
            new=len(fetched.new),
            held=len(planned.held),
            failed=len(fetched.failed),
            requests=fetched.traffic.requests,
            bytes=fetched.traffic.bytes,
            seconds=round(fetched.seconds, 3),
        )
        if not fetched.new and not planned.held:
            reason = next((one.reason for one in fetched.failed), None)
            event("nothing", aoi=area.name, reason=reason)
            return AreaCheck(area.name, fetched, error=reason, unavailable=fetched.unavailable)
        (result,) = run_areas(
            [planned.folder.location],
            [area],
            config,
            store,
            scheduler=scheduler,
            workers=workers,
            progress=progress,
        )
    except StoreError:
        raise
    except InputError as error:
        text = " ".join(str(error).split())
        event("error", aoi=area.name, error=text)
        return AreaCheck(area.name, fetched, error=text, unavailable=isinstance(error, UnavailableError))
    # Workers and what was counted ahead have made observations that this process only finds.
    made = frozenset(one.id for one in result.observations if one.id not in before)
    result = replace(result, new=result.new | made)
    latest = result.verdicts[-1] if result.verdicts else None
    event(
        "counted",
        aoi=area.name,
        new=len(result.new),
        skipped=len(result.skipped),
        verdict=None if latest is None else latest.verdict,
        report=None if result.report is None else str(result.report),
    )
    return AreaCheck(area.name, fetched, result, unavailable=fetched.unavailable)


def _key(area: AreaOfInterest, options: FetchOptions) -> str:
    """What a check was at: another boundary, archive or collection is looked at from the beginning."""
    return " ".join([area.name, window_key(area), options.source, *sorted(options.collections)])


def _read_state(path: Path) -> dict[str, datetime]:
    """Read until when was looked; where it can't be read, everything is looked at again."""
    try:
        found = json.loads(path.read_bytes())["areas"]
        return {str(name): parse_time(one["until"]) for name, one in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("%s can't be read, so that all is looked at again: %s", path, error)
        return {}


def _write_state(path: Path, state: Mapping[str, datetime]) -> None:
    areas = {name: {"until": iso(until)} for name, until in state.items()}
    try:
        write_bytes(path, (json.dumps({"version": _VERSION, "areas": areas}, indent=1) + "\n").encode())
    except OSError as error:
        raise StoreError(f"{path} can't be written: {said(error)}.") from error


@contextmanager
def _lock(store: Store) -> Iterator[None]:
    """One watch a store: the second one goes away at once, as cron would start a third."""
    lock = filelock.FileLock(store.path / ".watch.lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise LockedError(f"another 'railwatch watch' is at work on the store {store.location}") from None
    try:
        yield
    finally:
        lock.release()


_WORTH = 64
"""Scenes to fetch from which on a process beside is worth its start."""
_AT_ONCE = 32
"""Dates that are answered together: the store is read anew for each time."""


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
            self._pool = pool_of(1)
        folder, area = self._planned.folder.location, self._planned.area
        try:
            self._running = self._pool.submit(
                _answer_before, before, folder, area, self._config, self._store.location
            )
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


def _answer_before(
    before: datetime, folder: str, area: AreaOfInterest, config: RunConfig, location: str
) -> None:
    """Answer an area's dates before a time, as far as they are there: the work of the process beside."""
    try:
        store = Store.open(location)
        found = look_for([Path(folder)], store)
        products = tuple(one for one in found.products if one.datetime < before)
        run((), area, config, store, inputs=FoundInputs(products), conclude=False)
    except StoreError as error:
        log.debug("%s", error)
