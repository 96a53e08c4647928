"""Fetch what is new of some areas, then count it: one look at the archives, for cron and systemd.

What was looked at is kept in ``watch.json`` in the store. The next check goes back a month before the last
one, since scenes reach the archives days after they were taken; those that are there already cost no
request of their own.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock

from aoi.errors import InputError
from aoi.files import write_bytes
from geo.catalogue.cut import window_key
from geo.errors import UnavailableError
from railwatch.errors import LockedError, StoreError
from railwatch.fetch.count_ahead import CountAhead
from railwatch.fetch.fetch import FetchResult, fetch
from railwatch.fetch.plan import FetchOptions, plan
from railwatch.pipeline.alerts import Alert, send_alerts
from railwatch.pipeline.engine import Dask
from railwatch.pipeline.many import run_areas
from railwatch.store.observation import iso

if TYPE_CHECKING:
    from aoi import AreaOfInterest
    from railwatch.config import RunConfig
    from railwatch.pipeline.run import Progress, RunResult
    from railwatch.store.store import Store

__all__ = ["AreaCheck", "WatchResult", "watch"]

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
    """What came of a look at all areas.

    Attributes:
        checks: By area.
        store: The store's location.
    """

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
            first = since or _since(state.get(_key(area, options)), options.until)
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
                state[_key(area, options)] = {"until": iso(options.until)}
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
            with Dask(scheduler) as engine:
                fetched = fetch(planned, engine=engine, progress=shown)
        else:
            with CountAhead(planned, config, store, workers) as ahead:
                fetched = fetch(planned, progress=shown, arrived=ahead.arrived)
        said = fetched.to_json()
        event(
            "fetched",
            aoi=area.name,
            new=len(fetched.new),
            held=len(planned.held),
            failed=len(fetched.failed),
            requests=said["requests"],
            bytes=said["bytes"],
            seconds=said["seconds"],
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
        verdict=None if latest is None else latest.to_json().get("verdict"),
        report=None if result.report is None else str(result.report),
    )
    return AreaCheck(area.name, fetched, result, unavailable=fetched.unavailable)


def _key(area: AreaOfInterest, options: FetchOptions) -> str:
    """What a check was at: another boundary, archive or collection is looked at from the beginning."""
    return " ".join([area.name, window_key(area), options.source, *sorted(options.collections)])


def _since(entry: Mapping[str, str] | None, until: datetime) -> datetime:
    if entry is None:
        return until - FIRST_SPAN
    return min(datetime.fromisoformat(entry["until"].replace("Z", "+00:00")), until) - OVERLAP


def _read_state(path: Path) -> dict[str, dict[str, str]]:
    """Read what was looked at; where it can't be read, everything is looked at again."""
    try:
        found = json.loads(path.read_bytes())["areas"]
        return {str(name): {"until": iso(_moment(one["until"]))} for name, one in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("%s can't be read, so that all is looked at again: %s", path, error)
        return {}


def _moment(text: str) -> datetime:
    when = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)


def _write_state(path: Path, state: Mapping[str, Mapping[str, str]]) -> None:
    try:
        write_bytes(path, (json.dumps({"version": _VERSION, "areas": state}, indent=1) + "\n").encode())
    except OSError as error:
        raise StoreError(f"{path} can't be written: {error.strerror or error}.") from error


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
