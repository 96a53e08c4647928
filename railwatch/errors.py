"""Errors about stores, settings and outputs."""

from __future__ import annotations

from aoi.errors import InputError


def said(error: BaseException) -> str:
    """Return an error's own words on one line, without the path that its reader is told anyway.

    Example:
        >>> said(FileNotFoundError(2, "No such file", "yard.tif")), said(KeyError())
        ('No such file', 'KeyError')
    """
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()).rstrip(".") or type(error).__name__


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
