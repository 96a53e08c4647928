"""DOTA text files, one an image: eight numbers (corners in pixels), a class and whether it is difficult.

The header lines ``imagesource:`` and ``gsd:`` may be there; ``gsd`` is the ground sampling distance in
metres. An empty file is a negative; an image without a file isn't labelled.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detector.errors import LabelError
from detector.labels.files import number, numbers, read_text, write_text
from detector.labels.image import Context, DrawnLabel, LabelledImage, area_boxes, label_files, polygon
from detector.wagons.boxes import box_corners
from detector.wagons.categories import CATEGORIES

HEADERS = ("imagesource:", "gsd:", "acquisition dates:")


def read(files: Sequence[Path], context: Context) -> list[LabelledImage]:
    """Labels of the images of some DOTA files.

    Raises:
        LabelError: A file is malformed or doesn't fit its image.
    """
    return [_image(path, context) for path in files]


def _image(path: Path, context: Context) -> LabelledImage:
    gsd_m: float | None = None
    marks = []
    for row, line in enumerate(read_text(path).splitlines(), start=1):
        where = f"{path}: line {row}"
        text = line.strip()
        if text.lower().startswith(HEADERS):
            key, _, value = text.partition(":")
            if key.lower() == "gsd" and value.strip().lower() not in {"", "null", "none", "nan"}:
                gsd_m = number(value, where)
        elif text:
            marks.append(_mark(where, text))
    return context.image(context.pictures.beside(path, gsd_m), marks)


def _mark(where: str, text: str) -> DrawnLabel:
    fields = text.split()
    if len(fields) not in (9, 10):
        raise LabelError(f"{where}: needs eight numbers, a class and 0 or 1, not {len(fields)} words")
    difficult = len(fields) == 10 and number(fields[9], f"{where}: difficult") != 0
    points = np.reshape(numbers(fields[:8], where), (4, 2))
    return DrawnLabel(fields[8], where, outline=polygon(points, where), ignored=difficult)


def write(images: Sequence[LabelledImage], path: Path) -> None:
    """Write a folder of DOTA files.

    An area in which nothing is known becomes its enclosing rectangle, of class ``ignore``.

    Raises:
        LabelError: It can't be written, or two images have one name.
    """
    for image, file in label_files(images, path, ".txt"):
        areas = area_boxes(image)
        names = [*(CATEGORIES[c] for c in image.category), *["ignore"] * len(areas)]
        difficult = [*image.ignored.astype(int).tolist(), *[1] * len(areas)]
        header = "" if image.gsd_m is None else f"imagesource:unknown\ngsd:{image.gsd_m:.10g}\n"
        rings = box_corners(np.concatenate([image.boxes, areas]))
        lines = (
            " ".join([*(f"{v:.4f}" for v in ring.ravel()), name, str(flag)]) + "\n"
            for ring, name, flag in zip(rings, names, difficult, strict=True)
        )
        write_text(file, header + "".join(lines))
