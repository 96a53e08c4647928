"""Errors about scenes, each one a user's to mend, and what is passed over for one."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from aoi.errors import InputError

log = logging.getLogger(__name__)


class SceneError(InputError):
    """A scene that can't be opened, placed or read."""


class NetworkError(SceneError):
    """A server's address or answer that is refused, in one sentence without tokens."""


class UnavailableError(NetworkError):
    """A server that can't be reached, or fails again and again: it may do later."""


@dataclass(frozen=True)
class Refusal:
    """A product that can't be used, in a list that goes on without it.

    Attributes:
        path: The product, or the file at fault.
        reason: Why not: one sentence that doesn't name the path again.
        files: The files on disk that are out of use by it, as far as they are known.
    """

    path: Path
    reason: str
    files: tuple[Path, ...] = ()

    @classmethod
    def of(cls, path: Path, error: Exception, files: tuple[Path, ...] = ()) -> Refusal:
        """From an error, whose sentence may begin with the path; one that nobody foresaw is named as such."""
        if not isinstance(error, SceneError):
            log.debug("%s", path, exc_info=error)
            error = SceneError(f"it failed unexpectedly ({type(error).__name__}: {error})")
        text = " ".join(str(error).split()).removeprefix(f"{path}: ").removeprefix(f"{path}/")
        return cls(path, text if text.endswith(".") else f"{text}.", files)
