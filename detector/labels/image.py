"""What every label format is read into and written from, and how what a file draws becomes oriented boxes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import Polygon

from detector.errors import LabelError
from detector.labels.files import LabelImage, LabelImages
from detector.labels.names import IGNORE, SKIP, ClassNames
from detector.wagons.boxes import Boxes, as_boxes, box_corners
from geo import Scene, map_to_boxes

MINIMUM_VISIBILITY = 0.35
"""A vehicle of which less is seen is neither wagon nor background: it is ignored."""


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """One image and the rail vehicles in it.

    Attributes:
        image: The image file.
        name: Short and unique among the images read together: the path below their common folder.
        size_px: ``(width, height)`` in source pixels.
        gsd_m: Declared ground sampling distance in metres, or None: the image's own position tells it.
        boxes: ``(N, 5)`` in source pixels; a vehicle cut by the border may reach beyond it.
        category: ``(N,)`` int64 index into ``detector.wagons.network.CATEGORIES``.
        ignored: ``(N,)`` bool: neither wagon nor background (hidden, doubtful).
        ignore_areas: Polygons in source pixels in which nothing is known.
        labelled: False for an image that is listed but that nobody has looked at. An image without a single
            box that is labelled is a negative: there is no rail vehicle in it.
    """

    image: Path
    name: str
    size_px: tuple[int, int]
    gsd_m: float | None
    boxes: Boxes
    category: NDArray[np.int64]
    ignored: NDArray[np.bool_]
    ignore_areas: tuple[Polygon, ...] = ()
    labelled: bool = True

    def __post_init__(self) -> None:
        """Bring the arrays to their types and refuse those that don't belong together."""
        object.__setattr__(self, "boxes", as_boxes(self.boxes))
        object.__setattr__(self, "category", np.asarray(self.category, np.int64).reshape(-1))
        object.__setattr__(self, "ignored", np.asarray(self.ignored, np.bool_).reshape(-1))
        if not len(self.boxes) == len(self.category) == len(self.ignored):
            raise ValueError(
                f"{len(self.boxes)} boxes, {len(self.category)} categories, {len(self.ignored)} ignore flags"
            )


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DrawnLabel:
    """One thing drawn on an image, in source pixels: a box or an outline.

    Attributes:
        name: Of its class.
        where: The file and the place in it, for errors.
        box: ``[cx, cy, length, width, angle_deg]``, or None.
        outline: Any polygon, or None.
        ignored: Whether it is marked as difficult, hidden or the like.
        upright: Whether the format could only say an upright rectangle.
    """

    name: str
    where: str
    box: tuple[float, ...] | None = None
    outline: Polygon | None = None
    ignored: bool = False
    upright: bool = False


@dataclass
class Context:
    """What the readers of the formats share.

    Attributes:
        pictures: Finds images.
        names: Understands classes.
        upright: Marks so far that were upright rectangles.
    """

    pictures: LabelImages
    names: ClassNames
    upright: int = field(default=0)

    def image(
        self,
        picture: LabelImage,
        marks: Sequence[DrawnLabel],
        areas: Sequence[Polygon] = (),
        *,
        labelled: bool = True,
    ) -> LabelledImage:
        """The labels of one image.

        Args:
            picture: The image.
            marks: What is drawn on it, in the order of the file.
            areas: Areas in which nothing is known, in source pixels.
            labelled: Whether somebody has looked at it.

        Raises:
            LabelError: A mark has an unknown class, has no area or lies outside the image.
        """
        frame = shapely.box(0, 0, *picture.size_px)
        meanings = [self.names.meaning(mark.name, mark.where) for mark in marks]
        kept = [(mark, meaning) for mark, meaning in zip(marks, meanings, strict=True) if meaning != SKIP]
        marks = [mark for mark, _ in kept]
        boxes = _boxes(picture.scene, marks)
        shapes = shapely.polygons(box_corners(boxes)) if marks else np.empty(0, object)
        for i in np.flatnonzero(~shapely.intersects(shapes, frame)).tolist():
            width, height = picture.size_px
            raise LabelError(
                f"{marks[i].where}: lies outside the image {picture.name} ({width} x {height} pixels): "
                f"its centre is at column {boxes[i, 0]:.0f}, row {boxes[i, 1]:.0f}"
            )
        category = np.asarray([meaning for _, meaning in kept], np.int64)
        vehicle = category != IGNORE
        self.upright += sum(mark.upright for mark, counts in zip(marks, vehicle, strict=True) if counts)
        unknown = [area for area in areas if area.intersects(frame)]
        for i in np.flatnonzero(~vehicle).tolist():
            outline = marks[i].outline
            unknown.append(outline if outline is not None and outline.is_valid else shapes[i])
        return LabelledImage(
            image=picture.path,
            name=picture.name,
            size_px=picture.size_px,
            gsd_m=picture.gsd_m,
            boxes=boxes[vehicle],
            category=category[vehicle],
            ignored=np.asarray([mark.ignored for mark in marks], np.bool_)[vehicle],
            ignore_areas=tuple(unknown),
            labelled=labelled,
        )


def polygon(points: Sequence[Sequence[float]] | NDArray[np.floating], where: str) -> Polygon:
    """A polygon through some points.

    Raises:
        LabelError: There are fewer than three, or they aren't pairs of finite numbers.
    """
    try:
        array = np.asarray(points, np.float64).reshape(-1, 2)
    except (TypeError, ValueError):
        raise LabelError(f"{where}: an outline needs pairs of numbers") from None
    if len(array) < 3 or not np.isfinite(array).all():
        raise LabelError(f"{where}: an outline needs at least three points of finite numbers")
    return Polygon(array)


def upright(ends: Sequence[float], where: str) -> Polygon:
    """An upright rectangle as an outline, by two opposite corners: (x0, y0, x1, y1)."""
    x0, y0, x1, y1 = ends
    return polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], where)


def rectangles(scene: Scene, outlines: Sequence[Polygon], wheres: Sequence[str]) -> Boxes:
    """The boxes of outlines, both in source pixels.

    Of four corners it is the rectangle with their middle line and area (which a rectangle is itself); of any
    other outline the smallest enclosing rectangle on the ground.

    Args:
        scene: The image.
        outlines: Polygons.
        wheres: The file and the place in it of each, for the error.

    Raises:
        LabelError: One has no area.
    """
    if not outlines:
        return as_boxes([])
    hulls = shapely.convex_hull(np.asarray(outlines, dtype=object))
    for i in np.flatnonzero(shapely.area(hulls) < 1e-9).tolist():
        raise LabelError(f"{wheres[i]}: has no area")
    # Smallest on the ground: pixels needn't be square.
    odd = np.flatnonzero(shapely.get_num_coordinates(hulls) != 5)
    ground = scene.ground_metrics().jacobian(shapely.get_coordinates(shapely.centroid(hulls[odd])))
    for i, metres in zip(odd.tolist(), ground, strict=True):
        points = shapely.get_coordinates(hulls[i]) @ metres.T
        enclosing = shapely.get_coordinates(shapely.oriented_envelope(shapely.MultiPoint(points)))
        hulls[i] = Polygon(enclosing @ np.linalg.inv(metres).T)
    return np.asarray(map_to_boxes(scene, shapely.transform(hulls, scene.pixel_to_map)), np.float64)


def normal(box: Boxes) -> Boxes:
    """Boxes with the length as the longer side and the angle in [0, 180)."""
    out = as_boxes(box).copy()
    tall = out[:, 3] > out[:, 2]
    out[tall, 2:4] = out[tall][:, [3, 2]]
    out[tall, 4] += 90.0
    out[:, 4] %= 180.0
    out[out[:, 4] >= 180.0, 4] = 0.0  # -1e-17 % 180 is 180
    return out


def _boxes(scene: Scene, marks: Sequence[DrawnLabel]) -> Boxes:
    """The box of each mark."""
    out = np.zeros((len(marks), 5))
    drawn = [i for i, mark in enumerate(marks) if mark.box is None]
    outlines = [outline for mark in marks if mark.box is None and (outline := mark.outline) is not None]
    out[drawn] = rectangles(scene, outlines, [marks[i].where for i in drawn])
    for i, mark in enumerate(marks):
        if mark.box is None:
            continue
        box = np.asarray(mark.box, np.float64)
        if box.shape != (5,) or not np.isfinite(box).all():
            raise LabelError(f"{mark.where}: a box needs five finite numbers")
        if box[2] <= 0 or box[3] <= 0:
            raise LabelError(f"{mark.where}: has no area")
        out[i] = box
    return normal(out)


def label_files(
    images: Sequence[LabelledImage], folder: Path, suffix: str
) -> Iterator[tuple[LabelledImage, Path]]:
    """Each labelled image with the file that its labels go to, in a folder that is made if it isn't there.

    Raises:
        LabelError: Two images have one name, or the folder can't be made.
    """
    taken: dict[str, Path] = {}
    for image in images:
        other = taken.setdefault(image.image.stem, image.image)
        if other != image.image:
            raise LabelError(
                f"{folder}: {other} and {image.image} would share the label file {image.image.stem}{suffix}"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LabelError(f"{folder}: can't make this folder ({error.strerror})") from error
    return ((image, folder / f"{image.image.stem}{suffix}") for image in images if image.labelled)


def area_boxes(image: LabelledImage) -> Boxes:
    """The smallest rectangle around each area in which nothing is known, for formats that have boxes only."""
    out = []
    for area in image.ignore_areas:
        ring = shapely.get_coordinates(shapely.oriented_envelope(area))
        if len(ring) < 5:
            continue
        side, other = ring[1] - ring[0], ring[2] - ring[1]
        angle = np.degrees(np.arctan2(side[1], side[0]))
        out.append([*ring[:4].mean(axis=0), np.hypot(*side), np.hypot(*other), angle])
    return normal(as_boxes(out))
