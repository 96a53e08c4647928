"""Whole files, for all packages: written so that they appear whole or not at all, and documents read safely.

Everything that is kept is first written under a temporary name in the folder where it will live, closed,
checked, flushed to the disk and then renamed. A kill, a full disk or a power cut at any moment leaves the old
file, the new file, or a stray temporary one, and never half of one.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import socket
import tomllib
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from aoi.errors import InputError

_PREFIX = ".tmp-"
_STALE_AFTER_S = 7 * 24 * 3600
_LONGEST_NAME = 120
LARGEST_DOCUMENT = 256 * 2**20
"""The most bytes of a table, a JSON or a TOML document that are read."""
_DEEPEST = 200

# ---- writing -------------------------------------------------------------------------------------------


@contextmanager
def replacing(path: Path, check: Callable[[Path], object] | None = None) -> Iterator[Path]:
    """Give a temporary path beside ``path``; when the block ends well, it takes the place of ``path``.

    If the block or the check raises, the temporary file is removed and ``path`` stays as it was.

    Args:
        path: The file to write or replace. Where it is a symbolic link, what it points to is replaced.
        check: Reads the closed temporary file back and raises if it isn't what was to be written. Writers
            that report a failed write late or not at all (GDAL, SQLite) need one.

    Yields:
        The path to write to; it has the suffix of ``path``.

    Raises:
        OSError: The file can't be written, flushed or renamed.
    """
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    temporary = temporary_beside(target)
    try:
        yield temporary
        fsync_file(temporary)
        if check is not None:
            check(temporary)
        if target.exists():
            with suppress(OSError):  # some file systems have no modes
                temporary.chmod(target.stat().st_mode & 0o777)
        temporary.replace(target)
        fsync_folder(target.parent)
    finally:
        # Libraries leave files beside the one that they write: SQLite its journals, GDAL its side files.
        for ending in ("", "-journal", "-wal", "-shm", ".aux.xml"):
            with suppress(OSError):
                temporary.with_name(temporary.name + ending).unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file, replacing the one that may be there.

    Raises:
        OSError: It can't be written; the old file is then untouched.
    """

    def check(temporary: Path) -> None:
        size = temporary.stat().st_size
        if size != len(content):
            raise OSError(5, f"only {size} of {len(content)} bytes were written", str(path))

    with replacing(path, check) as temporary, temporary.open("wb") as stream:
        stream.write(content)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file in UTF-8 with the line breaks that the text has.

    Raises:
        OSError: It can't be written; the old file is then untouched.
    """
    write_bytes(path, text.encode())


def whole_database(path: Path) -> None:
    """Check that a SQLite file (a GeoPackage) is whole, for `replacing`.

    Raises:
        OSError: It isn't.
    """
    import sqlite3

    try:
        with sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True) as database:
            (said,) = database.execute("PRAGMA integrity_check(1)").fetchone()
        database.close()
    except sqlite3.Error as error:
        raise _not_whole(path, error) from error
    if said != "ok":
        raise _not_whole(path, said)


def whole_archive(path: Path) -> None:
    """Check that a zip file (NumPy's .npz, a PyTorch checkpoint) is whole, for `replacing`.

    Raises:
        OSError: It isn't.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except zipfile.BadZipFile as error:
        raise _not_whole(path, error) from error
    if damaged is not None:
        raise _not_whole(path, damaged)


def whole_parquet(path: Path) -> None:
    """Check that a Parquet file is whole, for `replacing`: all of it is read.

    Raises:
        OSError: It isn't.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        pq.read_table(path)
    except pa.ArrowException as error:
        raise _not_whole(path, error) from error


def _not_whole(path: Path, said: object) -> OSError:
    return OSError(5, f"what was written can't be read back ({said})", str(path))


def temporary_beside(path: Path) -> Path:
    """An unused hidden name beside ``path``, which says who writes it and keeps the end of its name.

    Writers such as GDAL choose their format by the suffix; `sweep` needs to know who wrote.
    """
    name = path.name[-_LONGEST_NAME:]
    while len(os.fsencode(name)) > _LONGEST_NAME:
        name = name[1:]
    return path.with_name(f"{_PREFIX}{_writer()}.{os.getpid()}-{secrets.token_hex(4)}-{name}")


def sweep(folder: Path) -> list[Path]:
    """Remove the temporary files and folders that killed writers left in a folder.

    What a process of this machine and process namespace has left that has ended goes at once. All else may
    belong to a living writer elsewhere, and stays until it is a week old by the clock of the file system.

    Returns:
        What was removed.
    """
    removed = []
    with suppress(OSError):
        found = sorted(folder.glob(f"{_PREFIX}*"))
        now = _now_on(folder) if found else 0.0
        for entry in found:
            with suppress(OSError):
                if not _is_abandoned(entry, now):
                    continue
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry, ignore_errors=True)
                else:
                    entry.unlink(missing_ok=True)
                removed.append(entry)
    return removed


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
    """Flush a file's content to the disk; what the disk couldn't take is reported here at the latest.

    Raises:
        OSError: It couldn't.
    """
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@cache
def _writer() -> str:
    """A short name of this machine since its start and of this process namespace, without separators.

    A process number means something only there: two containers on one disk may each have one 17.
    """
    said = [socket.gethostname()]
    try:
        said += [
            Path("/proc/sys/kernel/random/boot_id").read_text(),
            str(Path("/proc/self/ns/pid").readlink()),
        ]
    except OSError:
        said.append(f"{uuid.getnode():x}")
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:8]


def _now_on(folder: Path) -> float:
    """The time by the clock that stamps the files of a folder, which may be another machine's."""
    probe = folder / f"{_PREFIX}{_writer()}.{os.getpid()}-{secrets.token_hex(4)}-now"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:  # a folder that can't be written to can't be swept either
        return 0.0
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def _is_abandoned(entry: Path, now: float) -> bool:
    writer, _, process = entry.name.removeprefix(_PREFIX).split("-")[0].partition(".")
    if writer == _writer() and process.isdigit() and not _alive(int(process)):
        return True
    return now - entry.lstat().st_mtime > _STALE_AFTER_S


def _alive(process: int) -> bool:
    if os.name == "nt":  # os.kill would end the process there
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass
    return True


# ---- reading -------------------------------------------------------------------------------------------


def safe_name(path: Path | str) -> str:
    r"""A path as text that can be stored and shown: a byte that isn't UTF-8 becomes ``\xff`` in four letters.

    Example:
        >>> safe_name(os.fsdecode(b"yard-\xff.tif")) == "yard-" + chr(92) + "xff.tif"
        True
    """
    try:
        return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        return str(path).encode("utf-8", "backslashreplace").decode()


def real_path(path: Path | str) -> Path:
    """A path without links; of a link to itself, where `pathlib.Path.resolve` raises, as far as it goes."""
    return Path(os.path.realpath(path))


def read_bytes(path: Path, error: type[InputError] = InputError) -> bytes:
    """The content of a document that isn't larger than documents are.

    Raises:
        InputError: It can't be read, is no file, or is far larger than documents are.
    """
    try:
        if path.is_dir():
            raise error(f"{path}: is a folder, not a file")
        if not path.is_file() and path.exists():
            raise error(f"{path}: is no ordinary file")
        if path.stat().st_size > LARGEST_DOCUMENT:
            raise error(f"{path}: is too large for a document ({path.stat().st_size / 2**20:.0f} MB)")
        return path.read_bytes()
    except FileNotFoundError as fault:
        raise error(f"{path}: can't be read (there is no such file)") from fault
    except OSError as fault:
        raise error(f"{path}: can't be read ({fault.strerror or fault})") from fault


def parse_json(
    content: bytes, name: Path | str, error: type[InputError] = InputError, *, strict: bool = True
) -> Any:
    """A JSON document; see RFC 8259. Text in UTF-16 is taken too, as Windows PowerShell writes it.

    Args:
        content: Of the file.
        name: The file, for messages.
        error: What is raised.
        strict: Whether NaN and infinity, which JSON hasn't got, are refused.

    Raises:
        InputError: It isn't JSON, or is nested too deep.
    """

    def no_such_number(text: str) -> float:
        raise ValueError(f"{text} is no JSON number")

    if not content.strip():
        raise error(f"{name}: is empty")
    try:
        return json.loads(decoded(content), parse_constant=no_such_number if strict else None)
    except json.JSONDecodeError as fault:
        where = f"line {fault.lineno}, column {fault.colno}"
        raise error(f"{name}: is not JSON ({fault.msg} at {where})") from fault
    except RecursionError as fault:
        raise error(f"{name}: is not JSON (it is nested too deep)") from fault
    except ValueError as fault:  # not text, or NaN
        said = "it isn't text in UTF-8" if isinstance(fault, UnicodeError) else str(fault)
        raise error(f"{name}: is not JSON ({said})") from fault


def parse_toml(content: bytes, name: Path | str, error: type[InputError] = InputError) -> dict[str, Any]:
    """A TOML document; see https://toml.io.

    Raises:
        InputError: It isn't TOML, or is nested too deep.
    """
    try:
        table = tomllib.loads(decoded(content))
        if _depth(table) > _DEEPEST:
            raise RecursionError
        return table
    except UnicodeError as fault:
        raise error(f"{name}: not a TOML file: it isn't text in UTF-8") from fault
    except tomllib.TOMLDecodeError as fault:
        raise error(f"{name}: not a valid TOML file: {fault}") from fault
    except RecursionError as fault:
        raise error(f"{name}: not a TOML file that can be read: it is nested too deep") from fault
    except ValueError as fault:  # a number of thousands of digits
        raise error(f"{name}: not a TOML file that can be read: {fault}") from fault


def _depth(value: Any) -> int:
    deepest, pending = 0, [(value, 1)]
    while pending:
        one, level = pending.pop()
        deepest = max(deepest, level)
        inside = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        pending += [(each, level + 1) for each in inside]
    return deepest


def decoded(content: bytes) -> str:
    """Text in UTF-8 or UTF-16, with or without a byte order mark.

    Raises:
        UnicodeError: It is in neither.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16")
    if content[1:2] == b"\0":
        return content.decode("utf-16-le")
    if content[:1] == b"\0":
        return content.decode("utf-16-be")
    return content.decode("utf-8-sig")
