"""What every label format is read into and written from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from shapely import Polygon

from detector.wagons.boxes import Boxes, as_boxes

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
