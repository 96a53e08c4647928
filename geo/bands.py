"""Which bands of an image are the red, green and blue that the detector sees."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Names under which products describe their bands, lower case without separators: Sentinel-2 (B04, B4,
# B04_10m), Planet ("red"; SuperDove's second green is "green_i", which must not win over "green"), Maxar
# ("BAND_R").
_RED = frozenset({"red", "r", "b04", "b4", "bandr", "b0410m"})
_GREEN = frozenset({"green", "g", "b03", "b3", "bandg", "b0310m"})
_BLUE = frozenset({"blue", "b", "b02", "b2", "bandb", "b0210m"})

# Planet's analytic products of 4 bands are blue, green, red, near infrared and those of 8 bands coastal,
# blue, green I, green, yellow, red, red edge, near infrared; older files say so only in their name.
_PLANET_ANALYTIC = re.compile(r"analytic", re.IGNORECASE)
_PLANET_ORDER = {4: (3, 2, 1), 8: (6, 4, 2)}


def choose_bands(
    interpretations: Sequence[str], descriptions: Sequence[str | None], stem: str = ""
) -> tuple[int, ...]:
    """Choose the bands to show.

    The first rule that applies decides: the bands' descriptions; their colour interpretation; Planet's band
    order where the file's name says "analytic"; the first three bands; the first band alone where there are
    fewer than three.

    Args:
        interpretations: GDAL's colour interpretation of each band, for example "red", "gray", "alpha".
        descriptions: The description of each band, or None.
        stem: The file's name without its ending.

    Returns:
        One or three band indexes, from 1, in the order red, green, blue.
    """
    names = [re.sub(r"[\W_]+", "", (text or "").lower()) for text in descriptions]
    # A description may be longer than a name: "B04 2023-10-05", "B4, central wavelength 665 nm".
    first_words = [re.split(r"[\s,;:(]+", (text or "").strip().lower())[0] for text in descriptions]
    for labels in (names, first_words, [text.lower() for text in interpretations]):
        found = [_first(labels, wanted) for wanted in (_RED, _GREEN, _BLUE)]
        if None not in found:
            return tuple(index for index in found if index is not None)
    colours = [i for i, text in enumerate(interpretations, start=1) if text.lower() != "alpha"]
    if _PLANET_ANALYTIC.search(stem) and len(colours) in _PLANET_ORDER:
        return tuple(colours[index - 1] for index in _PLANET_ORDER[len(colours)])
    return tuple(colours[:3]) if len(colours) >= 3 else tuple(colours[:1])


def _first(labels: Sequence[str], wanted: frozenset[str]) -> int | None:
    return next((index for index, label in enumerate(labels, start=1) if label in wanted), None)
