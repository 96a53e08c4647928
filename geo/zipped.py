"""Images in zips, named by a path that goes through the zip: ``order.zip/files/visual.tif``."""

from __future__ import annotations

import logging
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from geo.errors import SceneError

__all__ = ["ZipMember", "entries", "images_in_zip", "members", "open_binary", "zip_member"]

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


def members(archive: Path) -> list[ZipMember]:
    """The visible files of a zip, sorted by name.

    Raises:
        SceneError: It isn't a zip, is cut short, needs a password, or unpacks to far more than images do.
    """
    return [ZipMember(archive, name) for name in sorted(_listed(archive))]


def images_in_zip(archive: Path, suffixes: frozenset[str]) -> list[ZipMember]:
    """The files of a zip whose name ends like an image's; see `members`."""
    return [one for one in members(archive) if one.path.suffix.lower() in suffixes]


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
