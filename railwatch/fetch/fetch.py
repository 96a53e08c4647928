"""Fetch what a plan says, several scenes at once; what fails doesn't stop the rest."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from aoi.errors import InputError
from geo.catalogue.cog import EmptyScene
from geo.catalogue.network import Network, RequestTally
from geo.catalogue.profiles import profile_of, signer_of
from geo.catalogue.remote_scene import RemoteScene
from geo.errors import UnavailableError
from railwatch.errors import StoreError, said
from railwatch.fetch.plan import FetchOptions, Plan, SceneFolder
from railwatch.pipeline.engine import Threads
from railwatch.pipeline.find_scenes import unexpected
from railwatch.store.observation import iso

if TYPE_CHECKING:
    from aoi import AreaOfInterest
    from railwatch.pipeline.engine import Engine

__all__ = ["FetchResult", "Fetched", "fetch"]

log = logging.getLogger(__name__)

_GIVE_UP_AFTER = 5
"""Scenes one after the other that a server doesn't answer for: then the rest waits for another run."""


@dataclass(frozen=True)
class Fetched:
    """One scene that was asked for.

    Attributes:
        id: The archive's.
        stem: Name of its files.
        datetime: UTC.
        size: Bytes kept, 0 if it failed.
        requests: That it took.
        bytes: That it took.
        seconds: That it took.
        reason: Why it wasn't kept, or None.
        passing: Whether another run may succeed.
    """

    id: str
    stem: str
    datetime: datetime
    size: int = 0
    requests: int = 0
    bytes: int = 0
    seconds: float = 0.0
    reason: str | None = None
    passing: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "id": self.id,
            "file": f"{self.stem}.json",
            "datetime": iso(self.datetime),
            "size": self.size,
            "requests": self.requests,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "reason": self.reason,
        }


@dataclass(frozen=True)
class FetchResult:
    """What came of fetching an area.

    Attributes:
        plan: What was to be done.
        scenes: The scenes that were asked for, by time.
        seconds: That it took.
    """

    plan: Plan
    scenes: tuple[Fetched, ...]
    seconds: float

    @property
    def new(self) -> tuple[Fetched, ...]:
        """The scenes that were fetched."""
        return tuple(one for one in self.scenes if one.reason is None)

    @property
    def failed(self) -> tuple[Fetched, ...]:
        """The scenes that weren't."""
        return tuple(one for one in self.scenes if one.reason is not None)

    @property
    def unavailable(self) -> bool:
        """Whether another run may fetch more."""
        return any(one.passing for one in self.scenes)

    @property
    def traffic(self) -> RequestTally:
        """Requests and bytes of search and scenes."""
        return self.plan.traffic + RequestTally(
            sum(one.requests for one in self.scenes), sum(one.bytes for one in self.scenes)
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as ``railwatch fetch --json`` prints it."""
        traffic = self.traffic
        return {
            "aoi": self.plan.area.name,
            "source": self.plan.options.source,
            "since": iso(self.plan.options.since),
            "until": iso(self.plan.options.until),
            "out": self.plan.folder.location,
            "found": self.plan.found,
            "held": len(self.plan.held),
            "scenes": [one.to_json() for one in self.new],
            "failed": [one.to_json() | {"temporary": one.passing} for one in self.failed],
            "skipped": [{"id": one.id, "reason": one.reason} for one in self.plan.left],
            "requests": traffic.requests,
            "bytes": traffic.bytes,
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True)
class FetchTask:
    """One scene of one area, its items and where it goes: what a worker needs to know."""

    scenes: tuple[RemoteScene, ...]
    area: AreaOfInterest
    folder: SceneFolder
    options: FetchOptions


def fetch(
    planned: Plan,
    *,
    engine: Engine | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    arrived: Callable[[Fetched], None] = lambda one: None,
) -> FetchResult:
    """Fetch what a plan says, several scenes at once.

    Args:
        planned: By `plan`.
        engine: Where; by default threads of this process.
        progress: Told of every scene.
        arrived: Told what came of it.

    Returns:
        What came of it; a scene that fails doesn't stop the others. A server that has stopped answering isn't
        asked for the rest.
    """
    started = time.monotonic()
    tasks = [FetchTask(one, planned.area, planned.folder, planned.options) for one in planned.scenes]
    used = engine or Threads()
    results: dict[int, Fetched] = {}
    numbers = {id(task): number for number, task in enumerate(tasks)}
    in_a_row = 0
    progress(0, len(tasks))
    for done in used.each(take, tasks):
        one = done.value
        if one is None:
            error = done.error if isinstance(done.error, Exception) else RuntimeError("stopped")
            if isinstance(error, StoreError):
                raise error
            one = _not_had(done.task, str(error) if isinstance(error, InputError) else unexpected(error))
        results[numbers[id(done.task)]] = one
        progress(len(results), len(tasks))
        arrived(one)
        in_a_row = in_a_row + 1 if one.passing else 0
        if in_a_row >= _GIVE_UP_AFTER:
            log.warning("the server has stopped answering; what is missing is left for another run")
            break
    for number, task in enumerate(tasks):
        if number not in results:
            results[number] = _not_had(task, "it wasn't asked for.")
    return FetchResult(
        planned, tuple(results[number] for number in sorted(results)), time.monotonic() - started
    )


def _not_had(task: FetchTask, reason: str) -> Fetched:
    first = task.scenes[0]
    return Fetched(first.id, first.stem, first.datetime, reason=reason, passing=True)


def take(task: FetchTask) -> Fetched:
    """Fetch one scene: the work of a worker.

    Raises:
        StoreError: The folder can't be written.
    """
    first = task.scenes[0]
    started = time.monotonic()
    network, sign = _connection(task.options)
    made: dict[str, Any] = {}
    try:
        cut = task.folder.take(network, task.scenes, task.area, sign)
        made = {"size": cut.bytes, "requests": cut.traffic.requests, "bytes": cut.traffic.bytes}
    except StoreError:
        raise
    except EmptyScene as error:
        made = {"reason": f"{error}."}
    except UnavailableError as error:
        made = {"reason": f"{said(error)}.", "passing": True}
    except InputError as error:
        made = {"reason": f"{said(error)}."}
    return Fetched(first.id, first.stem, first.datetime, seconds=time.monotonic() - started, **made)


_connections: dict[tuple[Any, ...], tuple[Network, Callable[[str], str]]] = {}
_connections_lock = threading.Lock()


def _connection(options: FetchOptions) -> tuple[Network, Callable[[str], str]]:
    """One way to servers a process, shared by its scenes: connections and tokens are used again."""
    key = (
        options.source, options.allowed_hosts, options.connections, options.attempts, options.backoff_s,
        options.read_s,
    )  # fmt: skip
    with _connections_lock:
        if key not in _connections:
            network = options.network()
            _connections[key] = (network, signer_of(profile_of(options.source), network))
        return _connections[key]
