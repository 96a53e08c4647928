"""Pictures that show what was counted."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import matplotlib as mpl
from PIL import ImageFont

__all__ = ["font"]


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, which matplotlib brings along, in a size in pixels."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts" / "ttf" / name, size)
