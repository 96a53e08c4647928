"""Errors about scenes, each one a user's to mend."""

from __future__ import annotations

from aoi.errors import InputError


class SceneError(InputError):
    """A scene that can't be opened, placed or read."""


class NetworkError(SceneError):
    """A server's address or answer that is refused, in one sentence without tokens."""


class UnavailableError(NetworkError):
    """A server that can't be reached, or fails again and again: it may do later."""
