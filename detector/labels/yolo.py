"""YOLO text files, one an image, coordinates as shares of its width and height.

A line is a class number and eight numbers (the corners: YOLO-OBB), four (centre, width, height: upright
boxes) or more (an outline: YOLO-seg). Class names come from ``data.yaml``, ``dataset.yaml``, ``classes.txt``
or ``obj.names`` in the folder or up to two above; without them classes 0, 1, 2 are freight, locomotive and
coach. An empty file is a negative; an image without a file isn't labelled.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import Polygon

from detector.errors import LabelError
from detector.labels.files import LabelImage, numbers, read_text, write_text
from detector.labels.image import (
    Context,
    DrawnLabel,
    LabelledImage,
    area_boxes,
    label_files,
    polygon,
    upright,
)
from detector.wagons.boxes import box_corners
from detector.wagons.categories import CATEGORIES

logger = logging.getLogger(__name__)

NAME_FILES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml", "classes.txt", "obj.names")


def read(files: Sequence[Path], context: Context) -> list[LabelledImage]:
    """Labels of the images of some YOLO files.

    Raises:
        LabelError: A file is malformed or doesn't fit its image.
    """
    names: dict[Path, dict[int, str]] = {}
    out = []
    for path in files:
        if path.parent not in names:
            names[path.parent] = class_names(path.parent)
        picture = context.pictures.beside(path)
        lines = enumerate(read_text(path).splitlines(), start=1)
        marks = [
            _mark(f"{path}: line {i}", line, names[path.parent], picture) for i, line in lines if line.strip()
        ]
        out.append(context.image(picture, marks))
    return out


def _mark(where: str, line: str, names: dict[int, str], picture: LabelImage) -> DrawnLabel:
    fields = line.split()
    if not re.fullmatch(r"\d+", fields[0]):
        raise LabelError(f"{where}: starts with {fields[0]!r}, not with the number of a class")
    number = int(fields[0])
    if number not in names:
        raise LabelError(
            f"{where}: class {number} has no name; put a classes.txt with a name a line beside the labels"
        )
    values = np.asarray(numbers(fields[1:], where))
    if len(values) < 4 or len(values) % 2:
        raise LabelError(
            f"{where}: needs a class and 4 or 8 numbers (or a longer outline), not {len(values)} numbers"
        )
    if np.abs(values).max() > 2:
        raise LabelError(
            f"{where}: {np.abs(values).max():g} is no share of the image; YOLO's numbers lie between 0 and 1"
        )
    points = values.reshape(-1, 2) * np.asarray(picture.size_px, np.float64)
    if len(points) == 2:
        centre, half = points[0], points[1] / 2
        box = upright([*(centre - half), *(centre + half)], where)
        return DrawnLabel(names[number], where, outline=box, upright=True)
    return DrawnLabel(names[number], where, outline=polygon(points, where))


def class_names(folder: Path) -> dict[int, str]:
    """Names of the classes, from the nearest file that has them; the three categories without one.

    Raises:
        LabelError: A file that should have them hasn't.
    """
    for place in (folder, *list(folder.absolute().parents)[:2]):
        for name in NAME_FILES:
            path = place / name
            if not path.is_file():
                continue
            text = read_text(path)
            listed = (
                _yaml_names(text) if path.suffix in {".yaml", ".yml"} else dict(enumerate(text.split("\n")))
            )
            found = {number: word.strip() for number, word in listed.items() if word.strip()}
            if not found:
                raise LabelError(f"{path}: has no class names")
            return found
    logger.info("%s: no class names beside the labels: 0 is freight, 1 locomotive, 2 coach", folder)
    return dict(enumerate(CATEGORIES))


def _yaml_names(text: str) -> dict[int, str]:
    """The entry ``names`` of a data set's YAML, in any of the three ways it is written.

    Not a YAML parser: it only knows a list in brackets, a list of dashes and a mapping of numbers.
    """
    found = re.search(r"^names[ \t]*:[ \t]*(?P<rest>.*(?:\n(?![A-Za-z_]).*)*)", text, re.MULTILINE)
    if found is None:
        return {}
    body = re.sub(r"(?m)(^|\s)#.*$", "", found["rest"]).strip()
    if body.startswith(("[", "{")):
        entries = [entry.strip() for entry in body[1 : body.find("]" if body[0] == "[" else "}")].split(",")]
    else:
        entries = [line.strip() for line in body.splitlines()]
    names: dict[int, str] = {}
    for entry in filter(None, entries):
        numbered = re.fullmatch(r"(\d+)\s*:\s*(.+)", entry)
        word = numbered[2] if numbered else entry.removeprefix("-")
        names[int(numbered[1]) if numbered else len(names)] = word.strip().strip("'\"")
    return names


def write(images: Sequence[LabelledImage], path: Path) -> None:
    """Write a folder of YOLO-OBB files and ``classes.txt``.

    The format knows neither difficult boxes nor areas: both are written as a fourth class, ``ignore``. Its
    numbers must lie within the image, so that a box cut by the border loses what is outside.

    Raises:
        LabelError: It can't be written, or two images have one name.
    """
    classes = [*CATEGORIES]
    if any(image.ignored.any() or image.ignore_areas for image in images):
        classes.append("ignore")
    for image, file in label_files(images, path, ".txt"):
        areas = area_boxes(image)
        rings = box_corners(np.concatenate([image.boxes, areas]))
        ignored = np.concatenate([image.ignored, np.ones(len(areas), np.bool_)])
        category = np.concatenate([image.category, np.zeros(len(areas), np.int64)])
        numbered = np.where(ignored, len(CATEGORIES), category).tolist()
        lines = (
            _line(n, _within(ring, image.size_px), image) for n, ring in zip(numbered, rings, strict=True)
        )
        write_text(file, "".join(lines))
    write_text(path / "classes.txt", "".join(f"{name}\n" for name in classes))


def _line(number: int, ring: NDArray[np.float64], image: LabelledImage) -> str:
    shares = ring / np.asarray(image.size_px, np.float64)
    return " ".join([str(number), *(f"{v:.8f}" for v in shares.ravel())]) + "\n"


def _within(ring: NDArray[np.float64], size_px: tuple[int, int]) -> NDArray[np.float64]:
    """Four corners that lie within the image: those of the rectangle around what is visible."""
    if (ring >= 0).all() and (ring <= size_px).all():
        return ring
    seen = Polygon(ring).intersection(shapely.box(0, 0, *size_px))
    envelope = shapely.get_coordinates(shapely.oriented_envelope(seen))[:4]
    return np.clip(envelope if len(envelope) == 4 else ring, 0, size_px)
