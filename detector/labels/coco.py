"""COCO JSON: boxes, outlines and masks of many images in one file.

``segmentation`` (polygons or a run-length mask) gives an oriented box; so does ``bbox`` with the attribute
``rotation`` (degrees clockwise about the box's centre, as CVAT writes it); a bare ``bbox`` only gives an
upright one. ``iscrowd`` marks an area in which nothing is known, ``ignore`` a vehicle that doesn't count. An
image without annotations is a negative. ``gsd_m`` of an image is ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import Polygon

from detector.errors import LabelError
from detector.labels.files import (
    LabelImage,
    member,
    number,
    numbers,
    optional,
    read_json,
    relative,
    write_json,
)
from detector.labels.image import Context, DrawnLabel, LabelledImage, polygon, upright
from detector.wagons.boxes import box_corners
from detector.wagons.categories import CATEGORIES


def read(files: Sequence[Path], context: Context) -> list[LabelledImage]:
    """Labels of the images of some COCO files.

    Raises:
        LabelError: A file is malformed or doesn't fit its images.
    """
    return [image for path in files for image in _read(path, context)]


def _read(path: Path, context: Context) -> list[LabelledImage]:
    document = read_json(path)
    names = {
        member(record, "id", f"{path}: categories"): str(member(record, "name", f"{path}: categories"))
        for record in _records(document, "categories", path)
    }
    images = {member(r, "id", f"{path}: image"): r for r in _records(document, "images", path)}
    drawn: dict[Any, list[Mapping[str, Any]]] = {key: [] for key in images}
    for annotation in _records(document, "annotations", path):
        owner = member(annotation, "image_id", f"{path}: annotation {annotation.get('id')}")
        if owner not in drawn:
            raise LabelError(
                f"{path}: annotation {annotation.get('id')} belongs to image {owner}, which isn't listed"
            )
        drawn[owner].append(annotation)
    return [_image(path, context, record, drawn[key], names) for key, record in images.items()]


def _records(document: Any, key: str, path: Path) -> list[Any]:
    records = document.get(key, []) if isinstance(document, Mapping) else None
    if not isinstance(records, list) or not all(isinstance(r, Mapping) for r in records):
        raise LabelError(f"{path}: {key!r} is no list of objects, as COCO has it")
    return records


def _image(
    path: Path,
    context: Context,
    record: Mapping[str, Any],
    annotations: Sequence[Mapping[str, Any]],
    names: Mapping[Any, str],
) -> LabelledImage:
    file_name = str(member(record, "file_name", f"{path}: image {record['id']}"))
    gsd_m = optional(record.get("gsd_m"), f"{path}: gsd_m of {file_name}")
    picture = context.pictures.named(file_name, path, gsd_m)
    said = [record[key] for key in ("width", "height") if record.get(key)]
    if len(said) == 2:
        width, height = numbers(said, f"{path}: size of {file_name}")
        picture.expect_size(width, height, f"{path}: {file_name}")
    marks: list[DrawnLabel] = []
    areas: list[Polygon] = []
    for annotation in annotations:
        where = f"{path}: annotation {annotation.get('id')}"
        category = member(annotation, "category_id", where)
        if category not in names:
            raise LabelError(f"{where}: category {category} isn't listed")
        if annotation.get("iscrowd"):
            areas += _crowd(annotation, where)
        else:
            marks.append(_mark(annotation, names[category], picture, where))
    return context.image(picture, marks, areas)


def _mark(annotation: Mapping[str, Any], name: str, picture: LabelImage, where: str) -> DrawnLabel:
    ignored = bool(annotation.get("ignore", 0))
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, Mapping):
        return DrawnLabel(name, where, outline=_mask_outline(segmentation, picture, where), ignored=ignored)
    if segmentation:
        points = [p for ring in _rings(segmentation, where) for p in shapely.get_coordinates(ring).tolist()]
        hull = shapely.convex_hull(shapely.MultiPoint(points))
        if not isinstance(hull, Polygon):
            raise LabelError(f"{where}: has no area")
        return DrawnLabel(name, where, outline=hull, ignored=ignored)
    x, y, width, height = numbers(member(annotation, "bbox", where), f"{where}: bbox", 4)
    attributes = annotation.get("attributes")
    rotation = attributes.get("rotation", 0) if isinstance(attributes, Mapping) else 0
    turn = number(rotation or 0, f"{where}: rotation")
    if turn:
        return DrawnLabel(
            name, where, box=(x + width / 2, y + height / 2, width, height, turn), ignored=ignored
        )
    return DrawnLabel(
        name, where, outline=upright((x, y, x + width, y + height), where), ignored=ignored, upright=True
    )


def _rings(segmentation: Any, where: str) -> list[Polygon]:
    if not isinstance(segmentation, list):
        raise LabelError(f"{where}: segmentation is neither polygons nor a mask")
    rings = segmentation if isinstance(segmentation[0], list) else [segmentation]
    return [polygon(_pairs(numbers(ring, f"{where}: segmentation"), where), where) for ring in rings]


def _pairs(values: list[float], where: str) -> list[tuple[float, float]]:
    if len(values) % 2:
        raise LabelError(f"{where}: segmentation has an odd count of numbers")
    return list(zip(values[::2], values[1::2], strict=True))


def _crowd(annotation: Mapping[str, Any], where: str) -> list[Polygon]:
    segmentation = annotation.get("segmentation")
    if segmentation and not isinstance(segmentation, Mapping):
        return _rings(segmentation, where)
    x, y, width, height = numbers(member(annotation, "bbox", where), f"{where}: bbox", 4)
    return [upright((x, y, x + width, y + height), where)]


def _mask_outline(mask: Mapping[str, Any], picture: LabelImage, where: str) -> Polygon:
    """The convex outline of a run-length mask: runs of 0 and 1 in turn, column by column."""
    height, width = (int(v) for v in numbers(member(mask, "size", where), f"{where}: size", 2))
    if (width, height) != picture.size_px:
        raise LabelError(f"{where}: a mask of {width} x {height} pixels doesn't fit {picture.name}")
    counts = member(mask, "counts", where)
    runs = (
        _unpacked(counts)
        if isinstance(counts, str)
        else [int(v) for v in numbers(counts, f"{where}: counts")]
    )
    if min(runs, default=0) < 0 or sum(runs) != width * height:
        raise LabelError(f"{where}: the runs of the mask don't fill {width} x {height} pixels")
    values = np.arange(len(runs)) % 2 == 1
    inside = np.flatnonzero(np.repeat(values, runs))
    if not len(inside):
        raise LabelError(f"{where}: has no area")
    pixel: NDArray[np.float64] = np.column_stack([inside // height, inside % height]).astype(np.float64)
    cells = np.concatenate([pixel + step for step in ((0, 0), (1, 0), (1, 1), (0, 1))])
    hull = shapely.convex_hull(shapely.MultiPoint(cells))
    assert isinstance(hull, Polygon)
    return hull


def _unpacked(text: str) -> list[int]:
    """Runs out of COCO's packed text: six bits a character, five of them payload, low first.

    From the fourth run on each is the difference to the run two before it.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs


def write(images: Sequence[LabelledImage], path: Path) -> None:
    """Write one COCO file; images that nobody has looked at are left out.

    Raises:
        LabelError: It can't be written.
    """
    records: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number_, image in enumerate((i for i in images if i.labelled), start=1):
        width, height = image.size_px
        record = {
            "id": number_,
            "file_name": relative(image.image, path.parent),
            "width": width,
            "height": height,
        }
        records.append(record if image.gsd_m is None else {**record, "gsd_m": image.gsd_m})
        rings = box_corners(image.boxes)
        for ring, category, ignored in zip(rings, image.category, image.ignored, strict=True):
            annotation = _annotation(len(annotations) + 1, number_, int(category), ring)
            annotations.append({**annotation, "ignore": 1} if ignored else annotation)
        for area in image.ignore_areas:
            ring = shapely.get_coordinates(area.exterior)[:-1]
            annotations.append({**_annotation(len(annotations) + 1, number_, 0, ring), "iscrowd": 1})
    categories = [
        {"id": i + 1, "name": name, "supercategory": "rail vehicle"} for i, name in enumerate(CATEGORIES)
    ]
    write_json(path, {"images": records, "annotations": annotations, "categories": categories})


def _annotation(identity: int, image: int, category: int, ring: NDArray[np.float64]) -> dict[str, Any]:
    low, high = ring.min(axis=0), ring.max(axis=0)
    return {
        "id": identity,
        "image_id": image,
        "category_id": category + 1,
        "segmentation": [[round(float(v), 4) for v in ring.ravel()]],
        "bbox": [round(float(v), 4) for v in (*low, *(high - low))],
        "area": round(float(Polygon(ring).area), 4),
        "iscrowd": 0,
    }
