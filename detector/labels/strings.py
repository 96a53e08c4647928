"""Our own short hand for rows of wagons: JSON with, for each image, its strings.

``{file: {"gsd_m": 0.5, "strings": [{"x0", "y0", "x1", "y1", "n", "w", "kind"}], "ignore": [[[x, y], ...],
...]}}``: a string is an unbroken row of ``n`` vehicles of equal length whose centre line runs from (x0, y0)
to (x1, y1), ``w`` its width, all in pixels. Many wagons are labelled with two clicks. A row may run past the
border of the image: vehicles wholly outside are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import shapely
from shapely import Polygon

from detector.errors import LabelError
from detector.labels.files import LabelImage, member, number, optional, read_json
from detector.labels.image import Context, DrawnLabel, LabelledImage, polygon
from detector.wagons.boxes import as_boxes, box_corners


def read(files: Sequence[Path], context: Context) -> list[LabelledImage]:
    """Labels of the images of some such files.

    Raises:
        LabelError: A file is malformed or doesn't fit its images.
    """
    return [image for path in files for image in _read(path, context)]


def _read(path: Path, context: Context) -> list[LabelledImage]:
    document = read_json(path)
    if not isinstance(document, Mapping):
        raise LabelError(f"{path}: is no JSON object with an entry for each image")
    out = []
    for name, record in document.items():
        where = f"{path}: {name}"
        rows = member(record, "strings", where)
        if not isinstance(rows, list):
            raise LabelError(f"{where}: 'strings' is no list")
        picture = context.pictures.named(name, path, optional(record.get("gsd_m"), f"{where}: gsd_m"))
        marks = [
            m for i, row in enumerate(rows, start=1) for m in _vehicles(row, f"{where}: string {i}", picture)
        ]
        areas = [
            _area(ring, f"{where}: ignore area {i}")
            for i, ring in enumerate(record.get("ignore", []), start=1)
        ]
        out.append(context.image(picture, marks, areas))
    return out


def _area(ring: Any, where: str) -> Polygon:
    return polygon(ring, where)


def _vehicles(row: Any, where: str, picture: LabelImage) -> list[DrawnLabel]:
    x0, y0, x1, y1, width, count = (
        number(member(row, key, where), f"{where}: {key}") for key in ("x0", "y0", "x1", "y1", "w", "n")
    )
    length = math.hypot(x1 - x0, y1 - y0)
    if not (count >= 1 and count == int(count)):
        raise LabelError(f"{where}: a row of {count:g} vehicles makes no sense")
    if not (length > 0 and width > 0 and math.isfinite(length * width)):
        raise LabelError(f"{where}: has no area")
    n = int(count)
    angle = math.degrees(math.atan2(y1 - y0, x1 - x0)) % 180.0
    shares = [(i + 0.5) / n for i in range(n)]
    boxes = as_boxes([[x0 + s * (x1 - x0), y0 + s * (y1 - y0), length / n, width, angle] for s in shares])
    seen = shapely.intersects(shapely.polygons(box_corners(boxes)), shapely.box(0, 0, *picture.size_px))
    if not seen.any():
        raise LabelError(f"{where}: lies outside the image {picture.name}")
    kind = str(row.get("kind", "freight"))
    return [DrawnLabel(kind, where, box=tuple(box)) for box in boxes[seen].tolist()]
