"""Folders that aren't on this machine, by fsspec: ``s3://``, ``gs://``, ``az://``, ``memory://``."""

from __future__ import annotations

import re
from typing import Any

from railwatch.errors import StoreError

__all__ = ["filesystem", "is_url", "shown"]

_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_HINTS = {
    "s3": "s3fs: pip install 'railwatch[s3]'",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
}


def is_url(location: object) -> bool:
    """Whether a location is an fsspec URL, and not a path."""
    text = str(location)
    return _SCHEME.match(text) is not None


def filesystem(url: str) -> tuple[Any, str]:
    """Open the file system of a URL; its keys come from where its own tools look for them.

    Args:
        url: Such as ``s3://bucket/folder``.

    Returns:
        The fsspec file system, and the path on it.

    Raises:
        StoreError: Nothing that is installed knows such URLs, or it is wrongly written.
    """
    import fsspec

    scheme = url.partition("://")[0].lower()
    if scheme in ("http", "https", "file", "ftp", "local"):
        raise StoreError(f"{shown(url)} can't hold a store; use a path, or a URL such as s3://bucket/folder")
    try:
        fs, path = fsspec.core.url_to_fs(url.rstrip("/"))
    except ImportError as error:
        raise StoreError(
            f"{shown(url)} needs {_HINTS.get(scheme, f'an fsspec library for {scheme}')}"
        ) from error
    except (ValueError, OSError) as error:
        raise StoreError(f"{shown(url)} can't be opened: {error}") from error
    return fs, str(path)


def shown(url: str) -> str:
    """A URL without a password in it."""
    return re.sub(r"://[^/@]*@", "://", url)
