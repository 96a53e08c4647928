"""Errors about scenes, each one a user's to mend."""

from __future__ import annotations

from aoi.errors import InputError


class SceneError(InputError):
    """A scene that can't be opened, placed or read."""
