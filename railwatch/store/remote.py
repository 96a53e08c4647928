"""Folders that aren't on this machine, by fsspec: ``s3://``, ``gs://``, ``az://``, ``memory://``."""

from __future__ import annotations

import re
from typing import Any

from railwatch.errors import StoreError

__all__ = ["as_url", "filesystem", "is_url", "shown"]

# A path class makes one slash of the two; a scheme of one letter is a drive of Windows.
_SCHEME = re.compile(r"^([a-z][a-z0-9+.-]+):[/\\]{1,2}(.*)$", re.IGNORECASE | re.DOTALL)
_LIBRARIES = {"s3": "s3fs (pip install 'railwatch[s3]')", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs"}


def as_url(location: object) -> str | None:
    """The fsspec URL that a location is, None for a path.

    Args:
        location: As a user gave it, also as a `pathlib.Path`.

    Example:
        >>> from pathlib import Path
        >>> as_url(Path("s3://bucket/store")), as_url("C:/store"), as_url("my/store")
        ('s3://bucket/store', None, None)
    """
    match = _SCHEME.match(str(location))
    if match is None:
        return None
    rest = match[2].replace("\\", "/").lstrip("/").rstrip("/")
    return f"{match[1].lower()}://{rest}"


def is_url(location: object) -> bool:
    """Whether a location is an fsspec URL, and not a path."""
    return as_url(location) is not None


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
        library = _LIBRARIES.get(scheme, f"an fsspec library for {scheme}")
        raise StoreError(f"{shown(url)} needs {library}") from error
    except (ValueError, OSError) as error:
        raise StoreError(f"{shown(url)} can't be opened: {error}") from error
    return fs, str(path)


def shown(url: str) -> str:
    """A URL without a password in it."""
    return re.sub(r"://[^/@]*@", "://", url)
