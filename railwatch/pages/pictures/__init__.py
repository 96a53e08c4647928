"""Pictures that show what was counted, and what they share: type, the length of a scale bar, rings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib as mpl
import shapely
from PIL import ImageFont


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, which matplotlib brings along, in a size in pixels."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts" / "ttf" / name, size)


def scale_bar(most_m: float) -> tuple[float, str]:
    """Return the longest of 1, 2, 5 times a power of ten metres that isn't longer, and how it is written.

    >>> scale_bar(260.0), scale_bar(1999.0)
    ((200.0, '200 m'), (1000.0, '1 km'))
    """
    power = 10.0 ** math.floor(math.log10(max(most_m, 1e-6)))
    length = max(step * power for step in (1.0, 2.0, 5.0) if step * power <= most_m * (1 + 1e-9))
    return length, f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"


def rings(part: shapely.Geometry) -> Sequence[shapely.Geometry]:
    """Return the lines that a simple shape is drawn with: itself, or the outline and holes of a polygon."""
    return [part.exterior, *part.interiors] if isinstance(part, shapely.Polygon) else [part]
