"""Evidence pictures as data URIs, encoded anew so that the whole page stays small enough to mail."""

from __future__ import annotations

import base64
import io
import logging
import math
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image

from railwatch.store.georeference import Georeference, placement_of

__all__ = ["EncodedPicture", "encode"]

log = logging.getLogger(__name__)

_LONGEST_PX = 1600
_SHORTEST_PX = 640
_QUALITY = 80
# Evidence of a busy yard takes this much of WebP at that quality; only the first guess rests on it.
_BYTES_PER_PX = 0.11
# Three letters carry four: what base64 adds.
_BASE64 = 4.0 / 3.0


@dataclass(frozen=True)
class EncodedPicture:
    """A picture as the page holds it.

    Attributes:
        uri: ``data:image/webp;base64,...``, or ``image/jpeg``.
        width: Pixels.
        height: Pixels.
        placement: Where the file that it was made of lies, if that says so.
    """

    uri: str
    width: int
    height: int
    placement: Georeference | None = None


def encode(
    paths: Mapping[str, Path],
    budget_bytes: int,
    priority: Sequence[str],
    progress: Callable[[int, int], None] | None = None,
    *,
    printed: Collection[str] = (),
) -> dict[str, EncodedPicture]:
    """Encode pictures so that they fit a budget together.

    All get the same reduction, so that two of them can be laid side by side. Where even small pictures
    don't fit, those last in priority are left out.

    Args:
        paths: The files (PNG or WebP) by name.
        budget_bytes: What the data URIs may take together.
        priority: All names, those that must be shown first.
        progress: Told of every picture.
        printed: Names that appear on paper. A browser puts a JPEG into a PDF as it is, and a WebP without
            loss, which takes ten times the room.

    Returns:
        By name. A file that can't be read is left out, with a warning in the log.
    """
    names = [name for name in priority if name in paths]
    longest = _first_guess(len(names), budget_bytes)
    while True:
        encoded: dict[str, EncodedPicture] = {}
        total = 0
        for number, name in enumerate(names):
            picture = _encoded(paths[name], longest, "jpeg" if name in printed else "webp")
            if picture is not None:
                encoded[name] = picture
                total += len(picture.uri)
            if progress is not None:
                progress(number + 1, len(names))
            if total > budget_bytes and longest <= _SHORTEST_PX:
                return _what_fits(encoded, budget_bytes)
        if total <= budget_bytes:
            return encoded
        names = list(encoded)  # those that can't be read have been named once
        longest = max(_SHORTEST_PX, int(longest * max(0.5, min(0.9, math.sqrt(budget_bytes / total)))))


def _first_guess(number: int, budget_bytes: int) -> int:
    """Return a longest edge at which so many pictures should fit."""
    if number == 0:
        return _LONGEST_PX
    pixels = budget_bytes / number / _BASE64 / _BYTES_PER_PX
    # Yards are longer than wide: a picture of edge e has about 0.7 e^2 pixels.
    return int(max(_SHORTEST_PX, min(_LONGEST_PX, math.sqrt(pixels / 0.7))))


def _what_fits(encoded: Mapping[str, EncodedPicture], budget_bytes: int) -> dict[str, EncodedPicture]:
    """Keep pictures in their order as long as they fit."""
    kept: dict[str, EncodedPicture] = {}
    total = 0
    for name, picture in encoded.items():
        total += len(picture.uri)
        if total > budget_bytes:
            break
        kept[name] = picture
    return kept


def _encoded(path: Path, longest: int, kind: Literal["jpeg", "webp"]) -> EncodedPicture | None:
    """Read one file and encode it, or None when it is no picture.

    The store may come from somebody else: what isn't a picture of a sane size isn't passed on, and
    encoding anew drops whatever else a file carries.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG", "WEBP")) as opened:
                placement = placement_of(opened)
                image = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        log.warning("%s isn't a picture that can be shown; it is left out of the report", path)
        return None
    scale = min(1.0, longest / max(image.size))
    if scale < 1.0:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    if kind == "jpeg":
        image.save(stream, "JPEG", quality=_QUALITY, optimize=True, subsampling=0)
    else:
        image.save(stream, "WEBP", quality=_QUALITY, method=4)
    content = base64.b64encode(stream.getvalue()).decode("ascii")
    return EncodedPicture(f"data:image/{kind};base64,{content}", image.width, image.height, placement)
