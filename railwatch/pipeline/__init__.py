"""The main job: find scenes, count, store, compare."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

__all__ = ["Progress", "Silent"]


class Progress(Protocol):
    """Where a run reports to; `railwatch.cli._common.Reporter` is one."""

    def __call__(self, done: int, total: int) -> None:
        """Scenes done and scenes in all."""

    def label(self, text: str) -> None:
        """What is being done."""

    def bar(self, label: str) -> AbstractContextManager[Callable[[int, int], None]]:
        """A further bar, for the steps inside one scene."""


class Silent:
    """Progress that nobody looks at."""

    def __call__(self, done: int, total: int) -> None:
        """Say nothing."""

    def label(self, text: str) -> None:
        """Say nothing."""

    def bar(self, label: str) -> AbstractContextManager[Callable[[int, int], None]]:
        """Say nothing."""
        return nullcontext(self)
