"""Label Studio's JSON export: rectangles with a rotation, and polygons, in percent of the image.

A rectangle's x and y are its corner before the rotation, which turns clockwise about that corner; width is in
percent of the image's width and height of its height whatever the rotation, so that the turn must be done in
pixels. A task without an annotation (or with a cancelled one) isn't labelled; one whose annotation is empty
is a negative. Of several annotations the ground truth is taken, else the latest. A choice or a second label
"difficult" on a region ignores it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import shapely

from detector.errors import LabelError
from detector.labels.files import (
    SUFFIXES,
    LabelImage,
    member,
    number,
    numbers,
    optional,
    read_json,
    relative,
    write_json,
)
from detector.labels.image import Context, DrawnLabel, LabelledImage, polygon
from detector.labels.names import says_ignored
from detector.wagons.boxes import box_corners
from detector.wagons.categories import CATEGORIES

LOCAL_FILES = "/data/local-files/?d="
_UPLOAD = re.compile(r"^[0-9a-f]{8}-(.+)$")


def read(files: Sequence[Path], context: Context) -> list[LabelledImage]:
    """Labels of the images of some exports.

    Raises:
        LabelError: A file is malformed or doesn't fit its images.
    """
    return [image for path in files for image in _read(path, context)]


def _read(path: Path, context: Context) -> list[LabelledImage]:
    tasks = read_json(path)
    if not isinstance(tasks, list):
        raise LabelError(f"{path}: is no list of tasks, as Label Studio's JSON export is")
    return [_image(path, task, i, context) for i, task in enumerate(tasks, start=1)]


def _image(path: Path, task: Any, index: int, context: Context) -> LabelledImage:
    where = f"{path}: task {task.get('id', index) if isinstance(task, Mapping) else index}"
    data = member(task, "data", where)
    gsd = data.get("gsd_m") if isinstance(data, Mapping) else None
    picture = _picture(path, data, where, context, optional(gsd, f"{where}: gsd_m"))
    annotation = _chosen(member(task, "annotations", where), where)
    if annotation is None:
        return context.image(picture, [], labelled=False)
    regions: dict[str, list[Mapping[str, Any]]] = {}
    for i, item in enumerate(annotation.get("result", [])):
        if not isinstance(item, Mapping):
            raise LabelError(f"{where}: a result is no JSON object")
        regions.setdefault(str(item.get("id", f"#{i}")), []).append(item)
    marks = [_mark(items, f"{where}: region {key}", picture) for key, items in regions.items()]
    return context.image(picture, [m for m in marks if m is not None])


def _chosen(annotations: Any, where: str) -> Mapping[str, Any] | None:
    if not isinstance(annotations, list) or not all(isinstance(a, Mapping) for a in annotations):
        raise LabelError(f"{where}: 'annotations' is no list of objects; export as JSON, not as JSON-MIN")
    done = [a for a in annotations if not a.get("was_cancelled")]
    times = [
        (bool(a.get("ground_truth")), str(a.get("updated_at") or a.get("created_at") or "")) for a in done
    ]
    return done[max(range(len(done)), key=lambda i: (*times[i], i))] if done else None


def _picture(path: Path, data: Any, where: str, context: Context, gsd_m: float | None) -> LabelImage:
    texts = (
        {key: value for key, value in data.items() if isinstance(value, str)}
        if isinstance(data, Mapping)
        else {}
    )
    names = [_file_name(value) for _, value in sorted(texts.items(), key=lambda item: item[0] != "image")]
    names = [name for name in names if PurePosixPath(name).suffix.lower() in SUFFIXES]
    if not names:
        raise LabelError(f"{where}: its data names no image file")
    uploaded = _UPLOAD.match(PurePosixPath(names[0]).name)
    try:
        return context.pictures.named(names[0], path, gsd_m)
    except LabelError:
        # An upload gets eight characters in front of its name.
        if uploaded is None:
            raise
        return context.pictures.named(uploaded[1], path, gsd_m)


def _file_name(reference: str) -> str:
    """The path in a reference: a local file, an upload, a cloud store's or a web address, or a plain path."""
    parts = urlsplit(reference)
    local = parse_qs(parts.query).get("d")
    if local:
        return local[0]
    if parts.scheme in {"http", "https", "s3", "gs", "azure-blob"}:
        return unquote(parts.path).lstrip("/")
    return reference.removeprefix("/data/")


def _mark(items: Sequence[Mapping[str, Any]], where: str, picture: LabelImage) -> DrawnLabel | None:
    """One region: its shape and its labels may come as several results of one id."""
    words: list[str] = []
    mark: DrawnLabel | None = None
    for item in items:
        value = item.get("value")
        if not isinstance(value, Mapping):
            continue
        for key, entry in value.items():
            if key.endswith("labels") or key == "choices":
                words += [str(word) for word in (entry if isinstance(entry, list) else [entry])]
        kind = str(item.get("type")).removesuffix("labels")
        if kind in {"brush", "ellipse", "keypoint"}:
            raise LabelError(f"{where}: is a {kind}; use rectangles or polygons")
        if "points" in value or "width" in value:
            mark = _shape(item, value, where, picture)
    if mark is None:  # a remark about the whole image
        return None
    if not words:
        raise LabelError(f"{where}: has no label")
    kinds = [word for word in words if not says_ignored(word)]
    ignored = bool(kinds) and len(kinds) < len(words)
    return DrawnLabel((kinds or words)[0], where, box=mark.box, outline=mark.outline, ignored=ignored)


def _shape(item: Mapping[str, Any], value: Mapping[str, Any], where: str, picture: LabelImage) -> DrawnLabel:
    width, height = picture.size_px
    said = item.get("original_width", width), item.get("original_height", height)
    said_width, said_height = numbers(said, f"{where}: original size", 2)
    picture.expect_size(said_width, said_height, where)
    if number(item.get("image_rotation") or 0, where) % 360:
        raise LabelError(f"{where}: was drawn on a turned view of the image; turn it back and export again")
    size = np.asarray(picture.size_px, np.float64)
    if "points" in value:
        points = polygon(value["points"], where)
        return DrawnLabel("", where, outline=shapely.transform(points, lambda xy: xy / 100 * size))
    keys = ("x", "y", "width", "height")
    x, y, w, h = (number(member(value, key, where), f"{where}: {key}") for key in keys)
    turn = number(value.get("rotation") or 0, f"{where}: rotation")
    corner, sides = np.array([x, y]) / 100 * size, np.array([w, h]) / 100 * size
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    centre = corner + np.array([[cos, -sin], [sin, cos]]) @ (sides / 2)
    return DrawnLabel("", where, box=(*centre.tolist(), *sides.tolist(), turn))


def write(images: Sequence[LabelledImage], path: Path) -> None:
    """Write tasks with annotations that Label Studio imports; images are named as files of its local storage.

    An image that nobody has looked at becomes a task without annotation.

    Raises:
        LabelError: It can't be written.
    """
    tasks = []
    for task_id, image in enumerate(images, start=1):
        data: dict[str, Any] = {"image": LOCAL_FILES + relative(image.image, path.parent)}
        if image.gsd_m is not None:
            data["gsd_m"] = image.gsd_m
        annotations = [{"result": _results(image, task_id)}] if image.labelled else []
        tasks.append({"id": task_id, "data": data, "annotations": annotations})
    write_json(path, tasks)


def _results(image: LabelledImage, task_id: int) -> list[dict[str, Any]]:
    size = np.asarray(image.size_px, np.float64)
    common = {
        "to_name": "image",
        "from_name": "label",
        "original_width": image.size_px[0],
        "original_height": image.size_px[1],
        "image_rotation": 0,
    }
    out: list[dict[str, Any]] = []
    first = box_corners(image.boxes)[:, 3] / size * 100
    for corner, box, category, ignored in zip(first, image.boxes, image.category, image.ignored, strict=True):
        sides = box[2:4] / size * 100
        value = {
            "x": round(float(corner[0]), 8),
            "y": round(float(corner[1]), 8),
            "width": round(float(sides[0]), 8),
            "height": round(float(sides[1]), 8),
            "rotation": round(float(box[4]), 8),
            "rectanglelabels": [CATEGORIES[category], *(["difficult"] if ignored else [])],
        }
        out.append({"id": f"t{task_id}r{len(out)}", "type": "rectanglelabels", **common, "value": value})
    for area in image.ignore_areas:
        ring = np.round(shapely.get_coordinates(area.exterior)[:-1] / size * 100, 8)
        outline = {"points": ring.tolist(), "closed": True, "polygonlabels": ["ignore"]}
        out.append({"id": f"t{task_id}r{len(out)}", "type": "polygonlabels", **common, "value": outline})
    return out
