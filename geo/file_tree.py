"""Files below one place, whether it is a folder or a zip; images in zips have a path through the zip.

``order.zip/files/visual.tif`` names a file in a zip as other paths name files in folders.
"""

from __future__ import annotations

import logging
import os
import re
import zipfile
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

from aoi.files import real_path
from geo.errors import SceneError

log = logging.getLogger(__name__)

_HIDDEN = re.compile(r"(^|/)(__MACOSX/|[.~])")
# No image packs so well; and unpacking so much to see what it is takes minutes.
_LARGEST_RATIO, _LARGE = 200, 1 << 30


@dataclass(frozen=True)
class ZipMember:
    """A file in a zip.

    Attributes:
        archive: The zip.
        name: As the zip spells it (some write backslashes).
    """

    archive: Path
    name: str

    @property
    def path(self) -> Path:
        """The path through the zip."""
        return self.archive / self.name.replace("\\", "/")

    @property
    def gdal(self) -> str:
        """The name that GDAL opens it by; the braces keep it from guessing where the zip's name ends."""
        return f"/vsizip/{{{self.archive}}}/{self.name.replace(chr(92), '/')}"


def zip_member(path: Path) -> ZipMember | None:
    """The member that a path through a zip means; None for any other path."""
    if path.exists():
        return None
    for folder in path.parents:
        if folder.suffix.lower() == ".zip" and folder.is_file():
            wanted = path.relative_to(folder).as_posix()
            for name in _listed(folder):
                if name.replace("\\", "/") == wanted:
                    return ZipMember(folder, name)
            return None
    return None


def images_in_zip(archive: Path, suffixes: frozenset[str]) -> list[ZipMember]:
    """The visible files of a zip whose name ends like an image's, sorted by name.

    Raises:
        SceneError: It isn't a zip, is cut short, needs a password, or unpacks to far more than images do.
    """
    found = (ZipMember(archive, name) for name in sorted(_listed(archive)))
    return [one for one in found if one.path.suffix.lower() in suffixes]


def entries(archive: Path) -> list[zipfile.ZipInfo]:
    """What a zip lists but for folders.

    Raises:
        SceneError: It isn't a zip, is cut short, or needs a password.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            found = [one for one in opened.infolist() if not one.is_dir() and not one.filename.endswith("\\")]
    except zipfile.BadZipFile as error:
        raise SceneError(f"{archive}: isn't a zip file, or is cut short") from error
    except (OSError, NotImplementedError) as error:
        raise SceneError(f"{archive}: can't be read as a zip file: {error}") from error
    if any(one.flag_bits & 1 for one in found):
        raise SceneError(f"{archive}: needs a password: unpack it first")
    return found


def _listed(archive: Path) -> list[str]:
    visible = [one for one in entries(archive) if not _HIDDEN.search(one.filename.replace("\\", "/"))]
    for one in visible:
        if one.file_size > _LARGE and one.file_size > _LARGEST_RATIO * max(one.compress_size, 1):
            raise SceneError(
                f"{archive}: {one.filename} unpacks to {one.file_size / _LARGE:.0f} GB from "
                f"{one.compress_size / (1 << 20):.0f} MB, which no image does"
            )
    return [one.filename for one in visible]


@contextmanager
def open_binary(path: Path) -> Iterator[tuple[IO[bytes], int]]:
    """A file, or a member of a zip, opened for reading, with its size in bytes.

    Raises:
        OSError: It can't be read.
    """
    member = zip_member(path)
    if member is None:
        with path.open("rb") as stream:
            yield stream, path.stat().st_size
        return
    try:
        with zipfile.ZipFile(member.archive) as archive, archive.open(member.name) as stream:
            yield stream, archive.getinfo(member.name).file_size
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise OSError(f"the zip is damaged ({error})") from error


LARGEST_TEXT = 32 * 2**20
"""The most bytes of XML, JSON or TOML that are read: the real ones have less than one million."""

_UNFINISHED = re.compile(r"^[.~]|~$|\.(part|partial|tmp|crdownload|download)$", re.IGNORECASE)
STORE_KEY = "railwatch:store_version"
"""What the collection of a store of observations is known by: its own chips and items are not input."""


@dataclass(frozen=True)
class FolderFileTree:
    """The files in a folder, with relative names, their parts joined by slashes.

    Attributes:
        path: The folder.
        deep: Whether files at any depth count, or only those in the folder itself.
    """

    path: Path
    deep: bool = True

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Relative names of the files; links are followed, but no folder is entered twice."""
        return self._walked[0]

    @cached_property
    def folders(self) -> tuple[str, ...]:
        """Relative names of the visible folders at any depth, sorted."""
        return self._walked[1]

    @cached_property
    def _walked(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        seen: set[tuple[int, int]] = set()
        names: list[str] = []
        entered: list[str] = []
        for place, folders, files in os.walk(self.path, followlinks=True):
            about = Path(place).stat()
            real = about.st_dev, about.st_ino
            if real in seen or ("collection.json" in files and is_store(Path(place))):
                folders.clear()
                continue
            seen.add(real)
            folders[:] = sorted(each for each in folders if not each.startswith(".")) if self.deep else []
            folder = Path(place).relative_to(self.path).as_posix()
            start = "" if folder == "." else f"{folder}/"
            entered += (start + each for each in folders)
            names += (start + each for each in files if not is_unfinished(each))
        return tuple(sorted(names)), tuple(sorted(entered))

    def has(self, name: str) -> bool:
        """Whether the file is on disk."""
        return (self.path / name).is_file()

    def read(self, name: str) -> bytes:
        """The content of a small file.

        Raises:
            SceneError: It can't be read, or is far larger than metadata are.
        """
        path = self.path / name
        try:
            if path.stat().st_size > LARGEST_TEXT:
                raise SceneError(f"{path}: is too large for metadata")
            return path.read_bytes()
        except OSError as error:
            raise SceneError(f"{path}: can't be read: {error.strerror}") from error

    def gdal(self, name: str) -> str:
        """The name that GDAL opens the file by: its path."""
        return str(self.file(name))

    def file(self, name: str) -> Path:
        """The file's path; a name may lead out of the folder."""
        path = self.path / name
        return real_path(path) if name.startswith(("../", "/")) else path


@dataclass(frozen=True)
class ZipFileTree:
    """The files in a zip.

    Attributes:
        path: The zip.
    """

    path: Path

    @cached_property
    def _members(self) -> dict[str, zipfile.ZipInfo]:
        # Some programs of Windows write backslashes, which the format doesn't know; GDAL takes them for
        # slashes.
        return {one.filename.replace("\\", "/"): one for one in entries(self.path)}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the files, but for hidden ones (such as __MACOSX holds), sorted.

        Raises:
            SceneError: It isn't a zip, is cut short, or needs a password.
        """
        return tuple(
            sorted(
                name
                for name in self._members
                if not name.startswith("__MACOSX/")
                and not any(is_unfinished(part) for part in name.split("/"))
            )
        )

    def has(self, name: str) -> bool:
        """Whether the zip holds the file."""
        return name in self._members

    def read(self, name: str) -> bytes:
        """The content of a small file; see `FolderFileTree.read`."""
        try:
            member = self._members[name]
            if member.file_size > LARGEST_TEXT:
                raise SceneError(f"{self.path}: {name} is too large for metadata")
            with zipfile.ZipFile(self.path) as archive:
                return archive.read(member.filename)
        except SceneError:
            raise
        except (zipfile.BadZipFile, OSError, KeyError, NotImplementedError, EOFError) as error:
            raise SceneError(f"{self.path}: {name} can't be read: the zip is damaged or cut short") from error
        except Exception as error:  # zlib.error and its like, which zipfile lets through
            raise SceneError(f"{self.path}: {name} can't be unpacked: the zip is damaged") from error

    def gdal(self, name: str) -> str:
        """The file by GDAL's view into zips; the braces keep it from guessing where the zip's name ends."""
        return f"/vsizip/{{{self.path}}}/{name}"

    def file(self, name: str) -> Path:
        """The file on disk that holds it: the zip."""
        return self.path


FileTree = FolderFileTree | ZipFileTree


def is_unfinished(name: str) -> bool:
    """Whether a file's name is that of a hidden one, or of one that is still being written."""
    return _UNFINISHED.search(name) is not None


def is_store(folder: Path) -> bool:
    """Whether a folder is a store of observations, whose chips and items are results and not input."""
    collection = folder / "collection.json"
    try:
        with collection.open("rb") as stream:
            return f'"{STORE_KEY}"'.encode() in stream.read(LARGEST_TEXT)
    except OSError:
        return False


def real_paths(paths: Iterable[Path]) -> set[Path]:
    """The paths of many files without links: what lies in one folder is looked up once.

    Example:
        >>> real_paths([Path("a/b"), Path("a/../a/b")]) == {Path.cwd() / "a" / "b"}
        True
    """
    folders: dict[Path, Path] = {}
    found = set()
    for path in paths:
        if path.name in ("", "..") or path.is_symlink():
            found.add(real_path(path))
            continue
        if path.parent not in folders:
            folders[path.parent] = real_path(path.parent)
        found.add(folders[path.parent] / path.name)
    return found


def parent(name: str) -> str:
    """The folder of a relative name, "" at the top."""
    return name.rpartition("/")[0]


def joined(folder: str, name: str) -> str:
    """A name below a folder; "" is the top."""
    return f"{folder}/{name}" if folder else name


def below(names: tuple[str, ...], folder: str) -> tuple[str, ...]:
    """The names below a folder, relative to it; all of them for "".

    Args:
        names: Sorted, as a tree gives them: an archive of hundreds of products is looked up and not searched.
        folder: In it.
    """
    if not folder:
        return names
    start = f"{folder}/"
    end = f"{folder}{chr(ord('/') + 1)}"
    return tuple(name[len(start) :] for name in names[bisect_left(names, start) : bisect_left(names, end)])
