"""Where many tasks are worked on: in this process, in a pool of processes, or on a Dask cluster.

A task is one area and one scene, and writes its own result into the store. So nothing is lost with a worker
but the task at hand: it is given to another one, and a task that ends its worker twice is given up with its
reason.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    as_completed,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from railwatch.errors import EngineError

__all__ = ["Dask", "Done", "Engine", "Processes", "Serial", "Threads", "engine_of", "pool_of"]

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

_CONNECT_S = 30
_TASKS_A_WORKER = 32
"""Tasks from which on a further process is worth its start."""


@dataclass(frozen=True)
class Done(Generic[T, R]):
    """A task that has been worked on, and what came of it or went wrong."""

    task: T
    value: R | None = None
    error: BaseException | None = None


class Engine(Protocol):
    """Works on tasks."""

    def each(self, work: Callable[[T], R], tasks: Sequence[T]) -> Iterator[Done[T, R]]:
        """Work on every task once and give the results as they come.

        Args:
            work: A function of a module, so that another process finds it.
            tasks: Picklable where they leave this process.
        """
        ...


class Serial:
    """One task after the other, here."""

    def each(self, work: Callable[[T], R], tasks: Sequence[T]) -> Iterator[Done[T, R]]:
        """See `Engine.each`."""
        for task in tasks:
            try:
                yield Done(task, work(task))
            except Exception as error:
                yield Done(task, error=error)


@dataclass(frozen=True)
class Threads:
    """Some tasks at one time in this process: for those that wait for servers."""

    workers: int = 4

    def each(self, work: Callable[[T], R], tasks: Sequence[T]) -> Iterator[Done[T, R]]:
        """See `Engine.each`."""
        pool = ThreadPoolExecutor(max(1, min(self.workers, len(tasks))))
        futures = {pool.submit(work, task): task for task in tasks}
        try:
            for one in as_completed(futures):
                yield _settled(futures[one], one)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True)
class Processes:
    """A pool of processes on this machine."""

    workers: int

    def each(self, work: Callable[[T], R], tasks: Sequence[T]) -> Iterator[Done[T, R]]:
        """See `Engine.each`."""
        left = list(range(len(tasks)))
        while left:
            pool = pool_of(min(self.workers, len(left)))
            broken, begun = False, set[int]()
            # As many at a time as are worked on, so that a lost worker costs nobody else an attempt.
            running: dict[Future[R], int] = {}
            queue = list(left)
            try:
                while (queue or running) and not broken:
                    while queue and len(running) < self.workers:
                        number = queue.pop(0)
                        begun.add(number)
                        running[pool.submit(work, tasks[number])] = number
                    ready, _ = wait(running, return_when=FIRST_COMPLETED)
                    for one in ready:
                        number = running.pop(one)
                        if isinstance(one.exception(), BrokenProcessPool):
                            broken = True
                        else:
                            left.remove(number)
                            yield _settled(tasks[number], one)
            finally:
                pool.shutdown(wait=not broken, cancel_futures=True)
            if broken:
                log.warning("a worker process ended unexpectedly; its task is given to another one")
                # Who of those at work it was can't be told: each is tried again by itself.
                for number in [one for one in left if one in begun]:
                    with pool_of(1) as alone:
                        future = alone.submit(work, tasks[number])
                        if isinstance(future.exception(), BrokenProcessPool):
                            yield Done(tasks[number], error=EngineError(_LOST))
                        else:
                            yield _settled(tasks[number], future)
                    left.remove(number)


def pool_of(workers: int) -> ProcessPoolExecutor:
    """Return a pool of processes that end with this one; not forked, which GDAL and PyTorch don't survive."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(max(1, workers), mp_context=context, initializer=_end_with_parent)


def _end_with_parent() -> None:
    """Let this process end when the one that started it does, be it killed: else it waits for ever."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait_for_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait_for_parent, daemon=True, name="end with parent").start()


_LOST = "its worker ended unexpectedly twice (out of memory, or killed)"


def _settled(task: T, future: Future[R]) -> Done[T, R]:
    error = future.exception()
    return Done(task, error=error) if error is not None else Done(task, future.result())


class Dask:
    """A Dask cluster that runs already.

    Args:
        address: Of its scheduler, such as ``tcp://10.0.0.5:8786``.

    Raises:
        EngineError: `distributed` isn't installed, or the scheduler can't be reached.
    """

    def __init__(self, address: str) -> None:
        try:
            import distributed
        except ImportError as error:
            raise EngineError("--scheduler needs Dask: pip install 'railwatch[cluster]'") from error
        try:
            client: Any = distributed.Client
            self._client = client(address, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise EngineError(f"the Dask scheduler at {address} can't be reached: {error}") from error

    def each(self, work: Callable[[T], R], tasks: Sequence[T]) -> Iterator[Done[T, R]]:
        """See `Engine.each`."""
        import distributed
        from distributed.scheduler import KilledWorker

        completed: Any = distributed.as_completed

        if not tasks:
            return
        # Not pure: a task writes, so that an equal one of an earlier run doesn't stand for it.
        futures = self._client.map(work, tasks, pure=False, batch_size=100)
        places = {one.key: task for one, task in zip(futures, tasks, strict=True)}
        try:
            for future in completed(futures, loop=self._client.loop):
                task = places[future.key]
                if isinstance(future.exception(), KilledWorker):
                    yield Done(task, error=EngineError(_LOST))
                else:
                    yield _settled(task, future)
                future.release()
        finally:
            self._client.cancel(futures, force=True)

    def close(self) -> None:
        """Leave the cluster; it goes on running."""
        self._client.close()


def engine_of(scheduler: str | None, workers: int | None, tasks: int) -> Engine:
    """Choose where to work.

    Args:
        scheduler: Address of a Dask scheduler, or None.
        workers: Processes on this machine; None leaves the number to the machine and the work.
        tasks: How many there are.

    Returns:
        The cluster, a pool of processes, or this process where a pool would cost more than it brings.
    """
    if scheduler is not None:
        return Dask(scheduler)
    most = workers if workers is not None else min(os.cpu_count() or 1, tasks // _TASKS_A_WORKER)
    return Processes(most) if most > 1 and tasks > 1 else Serial()
