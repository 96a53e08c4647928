"""Formats with one label file an image: which file, and what they can't say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import shapely

from detector.errors import LabelError
from detector.labels.image import LabelledImage
from detector.labels.oriented_boxes import normal
from detector.wagons.boxes import Boxes, as_boxes


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
