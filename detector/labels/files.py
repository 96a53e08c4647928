"""Reading and writing label files, faults told in one sentence, and finding the images that they speak of."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from aoi import files
from aoi.files import real_path
from detector.errors import LabelError
from geo import Scene, SceneError, open_scene


def read_text(path: Path) -> str:
    """A text file.

    Raises:
        LabelError: It can't be read or isn't UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise LabelError(f"{path}: can't be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise LabelError(f"{path}: is not text in UTF-8") from error


def read_json(path: Path) -> Any:
    """A JSON document.

    Raises:
        LabelError: It can't be read or isn't JSON.
    """
    text = read_text(path)
    if not text.strip():
        raise LabelError(
            f"{path}: is empty; a picture without wagons is written as a document without features"
        )
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise LabelError(
            f"{path}: is not JSON ({error.msg} at line {error.lineno}, column {error.colno})"
        ) from error
    except RecursionError as error:
        raise LabelError(f"{path}: is not JSON (nested too deep)") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all.

    Raises:
        LabelError: It can't be written.
    """
    try:
        files.write_text(path, text)
    except OSError as error:
        raise LabelError(f"{path}: can't be written ({error.strerror})") from error


def write_json(path: Path, document: Any) -> None:
    """Write a JSON document, whole or not at all.

    Raises:
        LabelError: It can't be written.
    """
    write_text(path, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def relative(image: Path, folder: Path) -> str:
    """An image's path as seen from the folder of its labels, with forward slashes."""
    try:
        return Path(os.path.relpath(image.absolute(), folder.absolute())).as_posix()
    except ValueError:  # another drive
        return image.absolute().as_posix()


def member(record: Any, key: str, where: str) -> Any:
    """A member that a JSON object must have.

    Raises:
        LabelError: It hasn't, or it is no object.
    """
    if not isinstance(record, Mapping):
        raise LabelError(f"{where}: is no JSON object")
    if key not in record:
        raise LabelError(f"{where}: has no {key!r}")
    return record[key]


def numbers(values: Any, where: str, count: int | None = None) -> list[float]:
    """A list of numbers.

    Args:
        values: What should be one.
        where: The file and the place in it, for the error.
        count: How many there must be.

    Raises:
        LabelError: It isn't.
    """
    try:
        out = [float(value) for value in values]
    except (TypeError, ValueError):
        raise LabelError(f"{where}: {_short(values)} is not a list of numbers") from None
    if count is not None and len(out) != count:
        raise LabelError(f"{where}: needs {count} numbers, not {len(out)}")
    return out


def number(value: Any, where: str) -> float:
    """A number.

    Raises:
        LabelError: It isn't one.
    """
    try:
        return float(value)
    except (TypeError, ValueError):
        raise LabelError(f"{where}: {_short(value)} is not a number") from None


def optional(value: Any, where: str) -> float | None:
    """A number, or None where there is none.

    Raises:
        LabelError: It is something else.
    """
    return None if value is None else number(value, where)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


logger = logging.getLogger(__name__)

SUFFIXES = frozenset({
    ".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2", ".webp", ".bmp", ".gif", ".vrt", ".mbtiles", ".img",
    ".ntf", ".nitf",
})  # fmt: skip
# How data sets call the folder with the labels, and the one beside it with the images.
_LABEL_FOLDERS = frozenset({"labels", "labeltxt", "annotations", "annfiles"})
_IMAGE_FOLDERS = ("images", "JPEGImages", "imgs")


@dataclass(frozen=True)
class LabelImage:
    """An image that labels speak of.

    Attributes:
        path: The file.
        name: Its path below the folder it was looked for in.
        scene: The image, opened. Without position and declared ground sampling distance, metres are pixels.
        gsd_m: The declared ground sampling distance, or None.
    """

    path: Path
    name: str
    scene: Scene
    gsd_m: float | None

    @property
    def size_px(self) -> tuple[int, int]:
        """``(width, height)``."""
        return self.scene.width, self.scene.height

    def expect_size(self, width: float, height: float, where: str) -> None:
        """Refuse labels that were made on a picture of another size.

        Raises:
            LabelError: ``(width, height)`` isn't the image's.
        """
        if (width, height) != self.size_px:
            raise LabelError(
                f"{where}: was labelled at {width:g} x {height:g} pixels, "
                f"but {self.path} has {self.size_px[0]} x {self.size_px[1]}"
            )


class LabelImages:
    """The images beside some labels.

    Args:
        source: The label file or folder.
        images: The image, or the folder with the images; None to look beside the labels.
        gsd_m: Ground sampling distance of the images.
        gsd_table: Ground sampling distance of single images, by path or by the end of a path (``a/b.png``,
            ``b.png``); wins over ``gsd_m``.

    Raises:
        LabelError: ``images`` doesn't exist.
    """

    def __init__(
        self,
        source: Path,
        images: Path | None = None,
        gsd_m: float | None = None,
        gsd_table: Mapping[str, float] | None = None,
    ) -> None:
        if images is not None and not images.exists():
            raise LabelError(f"{images}: there is no such image or folder of images")
        self.source = source
        self.folder = source if source.is_dir() else source.parent
        self.only = images if images is not None and images.is_file() else None
        self._images = images if images is not None and images.is_dir() else None
        self._gsd_m = gsd_m
        self._gsd_table = {_posix(key): float(value) for key, value in (gsd_table or {}).items()}
        self._open: dict[Path, LabelImage] = {}
        self._listed: dict[Path, dict[str, list[Path]]] = {}
        self._all: list[Path] | None = None

    def named(self, name: str, label_file: Path, gsd_m: float | None = None) -> LabelImage:
        """The image that a label file names.

        Looked for in the folder of images, then from the label file's folder and the one above, then as it
        stands; each time with as much of its path as fits.

        Args:
            name: Its path or name there, with slashes of either kind.
            label_file: The file.
            gsd_m: The ground sampling distance that the file gives.

        Raises:
            LabelError: There is no such image, or there are several, or it can't be opened.
        """
        wanted = PurePosixPath(_posix(name))
        if self.only is not None:
            if self.only.name == wanted.name:
                return self._picture(self.only, gsd_m)
            raise LabelError(f"{label_file}: speaks of {name!r}, not of {self.only.name}")
        bases = [
            b for b in (self._images, label_file.parent, label_file.parent.parent, Path()) if b is not None
        ]
        for base in bases:
            for first in range(len(wanted.parts)):
                # The first round may be an absolute path, which then stands for itself.
                path = base.joinpath(*wanted.parts[first:])
                if path.is_file():
                    return self._picture(path, gsd_m)
        found = [p for p in self.all() if p.name == wanted.name]
        if len(found) > 1:
            raise LabelError(f"{label_file}: {name!r} could be {found[0]} or {found[1]}")
        if not found:
            raise LabelError(f"{label_file}: the image {name!r} is not there (looked in {_list(bases[:-1])})")
        return self._picture(found[0], gsd_m)

    def beside(self, label_file: Path, gsd_m: float | None = None) -> LabelImage:
        """The image of the same name as a label file.

        Looked for in the folder of images (at the same place below it), beside the file, in the folder
        ``images`` that belongs to a folder ``labels``, then anywhere in the folder of images.

        Raises:
            LabelError: There is no such image, or there are several, or it can't be opened.
        """
        found = self.find_beside(label_file)
        if found is None:
            raise LabelError(
                f"{label_file}: no image called {label_file.stem} with an ending such as .tif or .png"
            )
        return self._picture(found, gsd_m)

    def find_beside(self, label_file: Path) -> Path | None:
        """The path of the same, or None.

        Raises:
            LabelError: There are several.
        """
        if self.only is not None:
            if self.only.stem == label_file.stem or not self.source.is_dir():
                return self.only
            return None
        for folder in self._places(label_file):
            for stem in (label_file.stem, PurePosixPath(label_file.stem).stem):
                if found := _one(self._in(folder).get(stem, []), label_file):
                    return found
        return _one([p for p in self.all() if p.stem == label_file.stem], label_file)

    def all(self) -> list[Path]:
        """Every image in the folder of images (or in that of the labels), sorted; sub-folders included."""
        if self.only is not None:
            return [self.only]
        if self._all is None:
            self._all = _images_under(self._images or self.folder)
        return self._all

    def picture(self, path: Path) -> LabelImage:
        """An image, opened.

        Raises:
            LabelError: It can't be.
        """
        return self._picture(path, None)

    def _places(self, label_file: Path) -> Iterator[Path]:
        if self._images is not None:
            if self.source.is_dir() and label_file.is_relative_to(self.source):
                yield self._images / label_file.parent.relative_to(self.source)
            yield self._images
        yield label_file.parent
        parts = label_file.parent.parts
        for level in range(len(parts) - 1, -1, -1):
            if parts[level].lower() in _LABEL_FOLDERS:
                for sibling in _IMAGE_FOLDERS:
                    yield Path(*parts[:level], sibling, *parts[level + 1 :])
                return

    def _in(self, folder: Path) -> dict[str, list[Path]]:
        """The images in a folder by their names without ending."""
        if folder not in self._listed:
            listed: dict[str, list[Path]] = {}
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                if path.suffix.lower() in SUFFIXES:
                    listed.setdefault(path.stem, []).append(path)
            self._listed[folder] = listed
        return self._listed[folder]

    def _picture(self, path: Path, told_gsd_m: float | None) -> LabelImage:
        if path not in self._open:
            gsd_m = self._declared(path, told_gsd_m)
            self._open[path] = LabelImage(path, self._name(path), open_image(path, gsd_m), gsd_m)
        return self._open[path]

    def _declared(self, path: Path, told: float | None) -> float | None:
        for key in (path.as_posix(), real_path(path).as_posix()):
            parts = PurePosixPath(key).parts
            for first in range(len(parts)):
                tail = str(PurePosixPath(*parts[first:]))
                if tail in self._gsd_table:
                    return self._gsd_table[tail]
        return self._gsd_m if self._gsd_m is not None else told

    def _name(self, path: Path) -> str:
        for base in (self._images, self.folder):
            if base is not None and real_path(path).is_relative_to(real_path(base)):
                return real_path(path).relative_to(real_path(base)).as_posix()
        return path.name


def open_image(path: Path, gsd_m: float | None) -> Scene:
    """An image, opened even where nothing tells its ground sampling distance: a pixel is then a metre.

    Labels in pixels need the image's size only; who needs metres asks `geo.open_scene` for them.

    Raises:
        LabelError: It can't be opened.
    """
    try:
        try:
            return open_scene(path, gsd_m=gsd_m)
        except SceneError:
            if gsd_m is not None:
                raise
            return open_scene(path, gsd_m=1.0)
    except SceneError as error:
        raise LabelError(str(error)) from error


def _images_under(folder: Path) -> list[Path]:
    hidden = (p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    return sorted(p for p in hidden if not any(part.startswith(".") for part in p.relative_to(folder).parts))


def _one(found: list[Path], label_file: Path) -> Path | None:
    if len(found) > 1:
        raise LabelError(f"{label_file}: belongs to {found[0]} or to {found[1]}: two images have its name")
    return found[0] if found else None


def _posix(name: str) -> str:
    return PurePosixPath(str(name).replace("\\", "/")).as_posix()


def _list(folders: list[Path]) -> str:
    return " and ".join(dict.fromkeys(str(folder) for folder in folders))
