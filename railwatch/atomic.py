"""Files that appear whole or not at all.

Everything railwatch keeps is first written under a temporary name in the folder where it will live,
flushed to the disk and then renamed: a kill or a power cut at any moment leaves the old file, the new
file, or a stray temporary one, and never half of one.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = ".tmp-"
_STALE_AFTER_S = 24 * 3600


def temporary_beside(path: Path) -> Path:
    """Return an unused hidden name beside ``path``, which says who writes it and keeps its suffix.

    Writers such as GDAL choose their format by the suffix; `sweep` needs to know who wrote.
    """
    return path.with_name(f"{_PREFIX}{_host()}.{os.getpid()}-{secrets.token_hex(4)}-{path.name}")


def sweep(folder: Path) -> None:
    """Remove the temporary files and folders that killed writers left in a folder.

    What belongs to a living process of this machine stays, and so does what may belong to one of
    another machine, until it is a day old.
    """
    with suppress(OSError):
        for entry in folder.glob(f"{_PREFIX}*"):
            if not _is_abandoned(entry):
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)


def fsync_folder(folder: Path) -> None:
    """Flush a folder's own entries (its names) to the disk, where the system can do that."""
    if os.name == "nt":  # Windows can't open a folder; its renames are journaled
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems refuse to flush a folder; the rename itself is still atomic there.
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_file(path: Path) -> None:
    """Flush a file's content to the disk."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; when the block ends well, it takes the place of ``path``.

    If the block raises, the temporary file is removed and ``path`` stays as it was.

    Args:
        path: The file to write or replace.

    Yields:
        The path to write to.

    Raises:
        OSError: If the file can't be flushed or renamed.
    """
    temporary = temporary_beside(path)
    try:
        yield temporary
        fsync_file(temporary)
        temporary.replace(path)
        fsync_folder(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file, replacing the one that may be there.

    Raises:
        OSError: If it can't be written; the old file is then untouched.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _host() -> str:
    """Return a short name of this machine that holds no separators."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _is_abandoned(entry: Path) -> bool:
    """Return whether a temporary name belongs to a process of this machine that has ended, or is old."""
    if time.time() - entry.stat().st_mtime > _STALE_AFTER_S:
        return True
    host, _, process = entry.name.removeprefix(_PREFIX).split("-")[0].partition(".")
    return host == _host() and process.isdigit() and not _alive(int(process))


def _alive(process: int) -> bool:
    if os.name == "nt":  # os.kill would end the process there
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
