"""Errors about stores, settings and outputs."""

from __future__ import annotations

from aoi.errors import InputError


class StoreError(InputError):
    """A store that can't be opened, read or written."""


class ConfigError(InputError):
    """Settings that can't be read or don't make sense."""


class EngineError(InputError):
    """Workers that can't be reached, or that were lost."""


class ReportError(InputError):
    """A report that can't be made or written as asked."""


class ReviewError(InputError):
    """A review that can't be exported, read or kept."""


class LockedError(InputError):
    """Work that another process is doing already."""
