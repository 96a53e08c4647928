"""Pascal VOC XML: one file an image.

``bndbox`` is upright. ``robndbox`` (roLabelImg) is oriented: centre, width, height and the angle of the
width's side, clockwise, in radians; files with angles beyond a full turn of radians are read as degrees.
``robndbox`` with four named corners (DIOR-R) and ``polygon`` with x1, y1, x2, y2... are read too.
``difficult`` boxes are ignored. VOC's own coordinates count pixels from 1 and those of most tools from 0;
they are taken as they are, which is half a pixel at most from either.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import defusedxml.ElementTree as ElementTree
import numpy as np
from defusedxml.common import DefusedXmlException

from detector.errors import LabelError
from detector.labels.files import number, optional, read_text, write_text
from detector.labels.image import Context, DrawnLabel, LabelledImage, polygon, upright
from detector.wagons.boxes import box_corners
from detector.wagons.categories import CATEGORIES

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

logger = logging.getLogger(__name__)

_FULL_TURN = 2 * math.pi + 1e-3
_CORNERS = ("left_top", "right_top", "right_bottom", "left_bottom")


def read(files: Sequence[Path], context: Context) -> list[LabelledImage]:
    """Labels of the images of some VOC files.

    Raises:
        LabelError: A file is malformed or doesn't fit its image.
    """
    trees = [(path, parse(path)) for path in files]
    angles = [number(e.text, f"{path}: angle") for path, tree in trees for e in tree.iter("angle")]
    degrees = any(abs(angle) > _FULL_TURN for angle in angles)
    if degrees:
        logger.warning("%s: angles beyond a full turn of radians: all are read as degrees", files[0].parent)
    return [_image(path, tree, context, degrees) for path, tree in trees]


def parse(path: Path) -> Element:
    """The root of an XML file.

    Raises:
        LabelError: It isn't XML, or tries tricks with entities.
    """
    try:
        return ElementTree.fromstring(read_text(path))  # type: ignore[no-any-return]
    except ElementTree.ParseError as error:
        raise LabelError(f"{path}: is not whole XML ({error})") from error
    except DefusedXmlException as error:
        raise LabelError(f"{path}: declares entities, which label files don't need") from error
    except ValueError as error:  # an encoding declared inside a text
        raise LabelError(f"{path}: is not XML in UTF-8 ({error})") from error


def _image(path: Path, root: Element, context: Context, degrees: bool) -> LabelledImage:
    if root.tag != "annotation":
        raise LabelError(f"{path}: is no Pascal VOC file: its root is <{root.tag}>, not <annotation>")
    gsd_m = optional(root.findtext("gsd_m"), f"{path}: gsd_m")
    named = (root.findtext("path") or root.findtext("filename") or "").strip()
    if context.pictures.find_beside(path) is not None or not named:
        picture = context.pictures.beside(path, gsd_m)
    else:
        picture = context.pictures.named(named, path, gsd_m)
    width, height = (
        number(root.findtext(f"size/{key}") or 0, f"{path}: {key}") for key in ("width", "height")
    )
    if width and height:
        picture.expect_size(width, height, str(path))
    objects = enumerate(root.iter("object"), start=1)
    return context.image(picture, [_mark(path, element, i, degrees) for i, element in objects])


def _mark(path: Path, element: Element, index: int, degrees: bool) -> DrawnLabel:
    where = f"{path}: object {index}"
    name = (element.findtext("name") or "").strip()
    if not name:
        raise LabelError(f"{where}: has no name")
    ignored = (element.findtext("difficult") or "0").strip() not in {"0", "", "Unspecified"}
    oriented, upright_box, outline = (element.find(tag) for tag in ("robndbox", "bndbox", "polygon"))
    if oriented is not None and oriented.find("cx") is not None:
        cx, cy, width, height, angle = _values(oriented, ("cx", "cy", "w", "h", "angle"), where)
        return DrawnLabel(
            name,
            where,
            box=(cx, cy, width, height, angle if degrees else math.degrees(angle)),
            ignored=ignored,
        )
    if oriented is not None:
        keys = [f"{axis}_{corner}" for corner in _CORNERS for axis in ("x", "y")]
        points = np.reshape(_values(oriented, keys, where), (4, 2))
        return DrawnLabel(name, where, outline=polygon(points, where), ignored=ignored)
    if outline is not None:
        count = sum(1 for child in outline if child.tag.startswith("x"))
        keys = [f"{axis}{i}" for i in range(1, count + 1) for axis in ("x", "y")]
        points = np.reshape(_values(outline, keys, where), (-1, 2))
        return DrawnLabel(name, where, outline=polygon(points, where), ignored=ignored)
    if upright_box is not None:
        box = upright(_values(upright_box, ("xmin", "ymin", "xmax", "ymax"), where), where)
        return DrawnLabel(name, where, outline=box, ignored=ignored, upright=True)
    raise LabelError(f"{where}: has neither bndbox nor robndbox nor polygon")


def _values(element: Element, keys: Sequence[str], where: str) -> list[float]:
    return [number(element.findtext(key), f"{where}: {key}") for key in keys]


def write(images: Sequence[LabelledImage], path: Path) -> None:
    """Write a folder of VOC files with ``robndbox`` (roLabelImg), one a labelled image.

    An area in which nothing is known becomes its enclosing rectangle, of class ``ignore``.

    Raises:
        LabelError: It can't be written, or two images have one name.
    """
    from detector.labels.image import label_files

    for image, file in label_files(images, path, ".xml"):
        write_text(file, _document(image))


def _document(image: LabelledImage) -> str:
    from xml.etree.ElementTree import Element, SubElement, indent, tostring

    from detector.labels.image import area_boxes

    def add(parent: Element, values: dict[str, Any]) -> None:
        for key, value in values.items():
            SubElement(parent, key).text = f"{value:.10g}" if isinstance(value, float) else str(value)

    root = Element("annotation")
    add(root, {"filename": image.image.name, "path": image.image.absolute().as_posix()})
    if image.gsd_m is not None:
        add(root, {"gsd_m": float(image.gsd_m)})
    width, height = image.size_px
    add(SubElement(root, "size"), {"width": width, "height": height, "depth": 3})
    names = [CATEGORIES[c] for c in image.category]
    areas = area_boxes(image)
    for name, box, ignored in zip(
        [*names, *["ignore"] * len(areas)],
        np.concatenate([image.boxes, areas]),
        [*image.ignored.tolist(), *[False] * len(areas)],
        strict=True,
    ):
        element = SubElement(root, "object")
        add(element, {"type": "robndbox", "name": name, "truncated": 0, "difficult": int(ignored)})
        cx, cy, length, breadth, angle = (float(v) for v in box)
        add(
            SubElement(element, "robndbox"),
            {"cx": cx, "cy": cy, "w": length, "h": breadth, "angle": math.radians(angle)},
        )
        ring = box_corners(box[None])[0]
        low, high = ring.min(axis=0), ring.max(axis=0)
        add(
            SubElement(element, "bndbox"),
            dict(zip(("xmin", "ymin", "xmax", "ymax"), (float(v) for v in (*low, *high)), strict=True)),
        )
    indent(root)
    return tostring(root, encoding="unicode") + "\n"
