"""Files below one place, whether it is a folder or a zip."""

from __future__ import annotations

import os
import re
import zipfile
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

from aoi.files import real_path
from geo.errors import SceneError
from geo.zipped import entries

LARGEST_TEXT = 32 * 2**20
"""The most bytes of XML, JSON or TOML that are read: the real ones have less than one million."""

_UNFINISHED = re.compile(r"^[.~]|~$|\.(part|partial|tmp|crdownload|download)$", re.IGNORECASE)
STORE_KEY = "railwatch:store_version"
"""What the collection of a store of observations is known by: its own chips and items are not input."""


class FileTree(Protocol):
    """Files with relative names, their parts joined by slashes."""

    @property
    def path(self) -> Path:
        """The folder or the zip."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Of all finished, visible files, sorted."""
        ...

    def has(self, name: str) -> bool:
        """Whether there is such a file, wherever ``names`` looked."""
        ...

    def read(self, name: str) -> bytes:
        """The content of a small file.

        Raises:
            SceneError: It can't be read, or is far larger than metadata are.
        """
        ...

    def gdal(self, name: str) -> str:
        """The name that GDAL opens the file by."""
        ...

    def file(self, name: str) -> Path:
        """The file on disk that holds it: itself, or the zip."""
        ...


@dataclass(frozen=True)
class FolderFileTree:
    """The files in a folder.

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
        """The content of a small file; see `FileTree.read`."""
        path = self.path / name
        try:
            if path.stat().st_size > LARGEST_TEXT:
                raise SceneError(f"{path}: is too large for metadata")
            return path.read_bytes()
        except OSError as error:
            raise SceneError(f"{path}: can't be read: {error.strerror}") from error

    def gdal(self, name: str) -> str:
        """The file's path."""
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
    _sizes: dict[str, int] = field(default_factory=dict, repr=False, compare=False)
    _spelt: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def open(cls, path: Path) -> ZipFileTree:
        """List a zip.

        Raises:
            SceneError: It isn't a zip, is cut short, or needs a password.
        """
        members = entries(path)
        # Some programs of Windows write backslashes, which the format doesn't know; GDAL takes them for
        # slashes.
        spelt = {one.filename.replace("\\", "/"): one.filename for one in members}
        return cls(path, {one.filename.replace("\\", "/"): one.file_size for one in members}, spelt)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the files, but for hidden ones (such as __MACOSX holds)."""
        return tuple(
            sorted(
                name
                for name in self._sizes
                if not name.startswith("__MACOSX/")
                and not any(is_unfinished(part) for part in name.split("/"))
            )
        )

    def has(self, name: str) -> bool:
        """Whether the zip holds the file."""
        return name in self._sizes

    def read(self, name: str) -> bytes:
        """The content of a small file; see `FileTree.read`."""
        if self._sizes.get(name, 0) > LARGEST_TEXT:
            raise SceneError(f"{self.path}: {name} is too large for metadata")
        try:
            with zipfile.ZipFile(self.path) as archive:
                return archive.read(self._spelt.get(name, name))
        except (zipfile.BadZipFile, OSError, KeyError, NotImplementedError, EOFError) as error:
            raise SceneError(f"{self.path}: {name} can't be read: the zip is damaged or cut short") from error
        except Exception as error:  # zlib.error and its like, which zipfile lets through
            raise SceneError(f"{self.path}: {name} can't be unpacked: the zip is damaged") from error

    def gdal(self, name: str) -> str:
        """The file by GDAL's view into zips; the braces keep it from guessing where the zip's name ends."""
        return f"/vsizip/{{{self.path}}}/{name}"

    def file(self, name: str) -> Path:
        """The zip."""
        return self.path


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
