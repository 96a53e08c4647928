"""The main job: find scenes, count, store, compare."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, date, datetime
from typing import Any, Protocol

from aoi import AreaOfInterest
from railwatch.store.observation import iso
from railwatch.version import __version__

__all__ = ["Model", "Progress", "Silent", "hidden_warning", "key_of", "provenance_of"]


class Model(Protocol):
    """What counts. Name, version and checksum are part of an observation's id: another is other work."""

    name: str
    version: str
    checksum: str


def key_of(content: str, model: Model, area: AreaOfInterest, settings: str) -> dict[str, Any]:
    """Return what tells the work on a scene from other work, as `observation_id` takes it.

    Args:
        content: Digest of the scene's content.
        model: What counts.
        area: Of the count.
        settings: Digest of those that the count depends on.
    """
    named = [model.name, model.version, model.checksum]
    return {"scene": content, "area": area.digest, "settings": settings, "model": named}


def provenance_of(model: Model, area: AreaOfInterest, settings: str) -> dict[str, Any]:
    """Return what an observation of now says of the model, area, settings and code that made it."""
    return {
        "model": model.name,
        "model_version": model.version,
        "model_checksum": model.checksum,
        "settings": settings,
        "area": area.digest,
        "area_limitations": list(area.limitations),
        "code_version": __version__,
        "created": iso(datetime.now(UTC)),
    }


def hidden_warning(area: AreaOfInterest, day: date, fraction: str) -> tuple[str, ...]:
    """Return what to say where masks hide a share of an area on a day, such as ``12%``."""
    reasons = sorted({mask.reason for mask in area.masks if mask.active_on(day)})
    return (
        f"{fraction} of the area can't be seen ({'; '.join(reasons)}): wagons there aren't counted, so the "
        "true count may be higher.",
    )


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
