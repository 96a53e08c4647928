"""Folders behind URLs, by fsspec (``s3://``, ``gs://``, ``az://``, ``memory://``), and their mirrors here.

A mirror is a folder on this machine that stands for one behind a URL: what changes here goes there, so that
all that works on a folder works on a bucket too. Object stores have no renaming and no locks, but an object
is there as a whole or not at all: an item's pictures and boxes are put there before its JSON, by which it is
known.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

import filelock

from aoi.files import write_bytes
from railwatch.errors import StoreError, said

__all__ = ["CACHE", "Mirror", "as_url", "filesystem", "folder_here", "is_url", "mirror_folder", "shown"]

log = logging.getLogger(__name__)

CACHE = "RAILWATCH_CACHE"
"""Environment variable with the folder for mirrors; by default that of the user's caches."""

_STATE = ".mirror.json"
_LOCK = ".mirror.lock"
_PATIENCE_S = 300
_SERVERS = {"botocore", "aiobotocore", "aiohttp", "gcsfs", "azure"}  # whose errors are no OSErrors

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


def mirror_folder(url: str) -> Path:
    """The folder on this machine for a URL: the same in every process of a user."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "railwatch"
    top = Path(os.environ.get(CACHE) or default)
    name = sha256(url.encode()).hexdigest()[:16]
    return top / "mirrors" / f"{PurePosixPath(url.partition('://')[2]).name or 'store'}-{name}"


@dataclass
class Mirror:
    """A remote folder and the local one that stands for it."""

    url: str
    folder: Path

    @classmethod
    def open(cls, url: str) -> Mirror:
        """Make the local folder.

        Raises:
            StoreError: The URL can't be opened, or the folder can't be made.
        """
        found = cls(url, mirror_folder(url))
        filesystem(url)
        try:
            found.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{found.folder}, which stands for {shown(url)} here, can't be made.") from error
        return found

    def pull(self, wanted: Iterable[str] = ("",), *, endings: tuple[str, ...] = ("",)) -> int:
        """Bring here what is new or has changed there.

        Args:
            wanted: Names of files or folders below the top; "" is all.
            endings: Only files with these.

        Returns:
            The number of files.

        Raises:
            StoreError: They can't be read.
        """
        with self._state() as state, self._explained("read"):
            there = self._listed(wanted, endings)
            new = {
                name: tag
                for name, tag in there.items()
                if state.get(name, {}).get("there") != tag or not (self.folder / name).exists()
            }
            fs, top = filesystem(self.url)
            names = sorted(new)
            for name in names:
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            for start in range(0, len(names), 200):
                part = names[start : start + 200]
                contents = fs.cat([f"{top}/{name}" for name in part])
                for name in part:
                    write_bytes(self.folder / name, contents[f"{top}/{name}"])
                    state[name] = {"there": new[name], "here": _tag(self.folder / name)}
            return len(names)

    def push(self) -> int:
        """Put there what is new or has changed here, and remove there what was removed here.

        Returns:
            The number of files.

        Raises:
            StoreError: They can't be written; run again, what is missing is put there.
        """
        with self._state() as state, self._explained("write to"):
            fs, top = filesystem(self.url)
            changed = 0
            for path in sorted(self._local(), key=_assets_first):
                name = path.relative_to(self.folder).as_posix()
                tag = _tag(path)
                if state.get(name, {}).get("here") == tag:
                    continue
                if name.startswith("items/") and name not in state and fs.exists(f"{top}/{name}"):
                    log.debug("%s is there already", name)  # the same work, done by another writer
                else:
                    fs.pipe_file(f"{top}/{name}", path.read_bytes())
                    changed += 1
                state[name] = {"there": _remote_tag(fs.info(f"{top}/{name}")), "here": tag}
            # Items are never removed; one that isn't here wasn't fetched.
            gone = [one for one in state if not (self.folder / one).exists()]
            for name in [one for one in gone if not one.startswith("items/")]:
                with suppress(FileNotFoundError):
                    fs.rm_file(f"{top}/{name}")
                    changed += 1
                del state[name]
            return changed

    def _listed(self, wanted: Iterable[str], endings: tuple[str, ...]) -> dict[str, str]:
        fs, top = filesystem(self.url)
        fs.invalidate_cache()
        found: dict[str, str] = {}
        for name in wanted:
            try:
                listed: dict[str, Any] = fs.find(f"{top}/{name}".rstrip("/"), detail=True)
            except FileNotFoundError:
                continue
            for path, info in listed.items():
                below = str(path).removeprefix(top).lstrip("/")
                if _is_safe(below) and below.endswith(endings):
                    found[below] = _remote_tag(info)
        return found

    def _local(self) -> Iterator[Path]:
        for place, folders, files in os.walk(self.folder):
            folders[:] = sorted(one for one in folders if not one.startswith("."))
            yield from (Path(place) / one for one in sorted(files) if not one.startswith("."))

    @contextmanager
    def _state(self) -> Iterator[dict[str, dict[str, str]]]:
        """What was the same here and there when it was last looked at; one process at a time."""
        path = self.folder / _STATE
        try:
            lock = filelock.FileLock(self.folder / _LOCK, timeout=_PATIENCE_S)
            with lock:
                try:
                    state = json.loads(path.read_bytes())
                except (OSError, ValueError):
                    state = {}
                state = state if isinstance(state, dict) else {}
                try:
                    yield state
                finally:
                    write_bytes(path, json.dumps(state).encode())
        except filelock.Timeout as error:
            raise StoreError(f"{self.folder} is in use by another process of railwatch.") from error

    @contextmanager
    def _explained(self, verb: str) -> Iterator[None]:
        """Turn a refusal of the store's server, whose libraries have errors of their own, into a sentence."""
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            if not isinstance(error, OSError) and type(error).__module__.partition(".")[0] not in _SERVERS:
                raise
            raise StoreError(f"Can't {verb} the store {shown(self.url)}: {said(error)[:200]}.") from error


def folder_here(location: str | Path, wanted: Iterable[str] = ("",)) -> Path:
    """Return a folder on this machine: that of a path, or the mirror of a URL with what is wanted of it.

    Args:
        location: A path or an fsspec URL.
        wanted: As of `Mirror.pull`.

    Raises:
        StoreError: It can't be read.
    """
    url = as_url(location)
    if url is None:
        return Path(location)
    mirror = Mirror.open(url)
    mirror.pull(wanted)
    return mirror.folder


def _assets_first(path: Path) -> tuple[bool, bool, str]:
    """Pixels before items, an item's files before its JSON, and the index last."""
    item = path.suffix == ".json"
    return item and path.parent.parent.name != "items", item, path.as_posix()


def _tag(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns}"


def _remote_tag(info: dict[str, Any]) -> str:
    changed = info.get("ETag") or info.get("etag") or info.get("md5Hash") or info.get("LastModified")
    changed = changed or info.get("created") or info.get("mtime") or ""
    # One file system gives a time in one answer, and seconds in another.
    seconds = changed.timestamp() if isinstance(changed, datetime) else changed
    return f"{info.get('size')} {round(seconds, 3) if isinstance(seconds, float) else seconds}"


def _is_safe(name: str) -> bool:
    """Whether a name from a server stays below the folder."""
    parts = PurePosixPath(name).parts
    return bool(parts) and not name.startswith("/") and not any(one.startswith(".") for one in parts)
