"""Whether a publisher has taken the 1000 off again: what the pixels say.

From processing baseline 04.00 on every number has 1000 added to it, so that a reflectance slightly below zero
can be written. Some publishers take it off again and keep declaring it, or don't and say that they have. The
pixels know: where the 1000 is still in, no clear pixel stands much below it, and the darkest ground (water,
shadow, vegetation in red and blue) stands just above, in several bands alike; where it has been taken off,
the darkest ground stands near zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geo.sentinel2.images import sample
from geo.sentinel2.product import SATURATED, Band

SHIFT = 1000.0
"""What ESA adds to every number from baseline 04.00 on."""

_DARKEST_PERCENT = 1.0
# The darkest hundredth of a band below this: it can't have 1000 in it, since that would be reflectances under
# -0.01, which atmospheric correction gives over a little water but not over a hundredth of a picture.
_REMOVED_BELOW = 900.0
# The darkest hundredth of several visible bands below this: the common floor of numbers with 1000 in them. It
# would otherwise take ground that is nowhere darker than 0.09 and as dark as 0.14 in several colours.
_FLOOR_BELOW = 1400.0
_FLOOR_BANDS = 2
# With 1000 in them numbers whose darkest are above this show nothing but cloud, snow or sand.
_BRIGHT = 2400.0
_VISIBLE = ("B02", "B03", "B04")
# Classes of ground that is seen clearly: dark, vegetation, bare, water.
_CLEAR_CLASSES = (2, 4, 5, 6)
_FEWEST_PIXELS = 100


@dataclass(frozen=True)
class Floors:
    """How dark the darkest clear hundredth of each 10 m band is, in numbers as they lie in the file.

    Attributes:
        by_band: Empty if there is no data.
        clear: Whether cloud and snow were left out by the scene classification.
    """

    by_band: Mapping[str, float]
    clear: bool

    @property
    def lowest(self) -> float:
        """Of the darkest band; infinite without data."""
        return min(self.by_band.values(), default=float("inf"))

    @property
    def removed(self) -> bool:
        """Whether the numbers certainly don't have 1000 added to them."""
        return self.lowest < _REMOVED_BELOW

    @property
    def kept(self) -> bool:
        """Whether the numbers very likely have 1000 added to them."""
        floors = [value for name, value in self.by_band.items() if name in _VISIBLE]
        return not self.removed and sum(value < _FLOOR_BELOW for value in floors) >= _FLOOR_BANDS

    @property
    def bright(self) -> bool:
        """Whether even the darkest pixels would be as bright as cloud, snow or sand with 1000 in them."""
        return self.lowest >= _BRIGHT

    def say(self) -> str:
        """For a sentence: where the darkest pixels stand."""
        if not self.by_band:
            return "there is no data"
        name = min(self.by_band, key=lambda band: self.by_band[band])
        return f"the darkest hundredth of {name} stands at {self.by_band[name]:.0f}"


def floors(bands: Mapping[str, Band], classes: Band | None = None) -> Floors:
    """Measure how dark the darkest pixels of the 10 m bands are, from a sample all over the files.

    Args:
        bands: By name.
        classes: The scene classification; without it cloud isn't left out.

    Raises:
        SceneError: A file can't be read.
    """
    numbers = {name: sample(band.path, band.index) for name, band in bands.items()}
    valid = {name: (plane > 0) & (plane < SATURATED) for name, plane in numbers.items()}
    clear = False
    if classes is not None:
        seen = np.isin(sample(classes.path, classes.index), _CLEAR_CLASSES)
        chosen = {name: mask & _stretched(seen, mask.shape) for name, mask in valid.items()}
        if all(mask.sum() >= _FEWEST_PIXELS for mask in chosen.values()):
            valid, clear = chosen, True
    found = {
        name: float(np.percentile(plane[valid[name]], _DARKEST_PERCENT))
        for name, plane in numbers.items()
        if valid[name].sum() >= _FEWEST_PIXELS
    }
    return Floors(found, clear)


def _stretched(mask: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """A mask of the same ground in another number of pixels, by the nearest."""
    rows = (np.arange(shape[0]) * mask.shape[0]) // shape[0]
    columns = (np.arange(shape[1]) * mask.shape[1]) // shape[1]
    return np.asarray(mask[np.ix_(rows, columns)])


@dataclass(frozen=True)
class Decision:
    """Whether numbers have 1000 added to them.

    Attributes:
        offset: To be added to a number: 0 or -1000; None if it can't be told.
        why: One clause.
    """

    offset: float | None
    why: str


def decide(found: Floors, *, said_removed: bool | None, declared: float | None) -> Decision:
    """Weigh what the pixels show against what the metadata say, for a product of baseline 04.00 or later.

    The pixels overrule the metadata wherever they are telling. Where they aren't, the metadata have to agree
    with each other and be possible; otherwise nothing is decided, for a wrong offset is worse than none: it
    is twice the contrast of a wagon's whole pixel.

    Args:
        found: On the pixels.
        said_removed: A flag that the 1000 has been taken off; None if there is none.
        declared: The offset declared beside the bands, in numbers (-1000 or 0); None if there is none.
    """
    said = {True: "the flag says that it was", False: "the flag says that it wasn't", None: "no flag tells"}
    where = found.say()
    if found.removed:
        return Decision(0.0, f"1000 was taken off: {where} ({said[said_removed]})")
    if not found.by_band:
        return Decision(None, "the files hold no data that could tell whether 1000 was taken off")
    if said_removed:
        if found.kept:
            return Decision(-SHIFT, f"1000 is still in: {where}, and other bands' too ({said[True]})")
        if found.bright:
            return Decision(
                0.0, f"1000 was taken off by the flag, which the pixels don't contradict: {where}"
            )
        return Decision(None, f"the flag says that 1000 was taken off, but {where}")
    if found.bright:
        return Decision(None, f"nothing dark is seen that could tell whether 1000 was taken off: {where}")
    if found.kept or declared is None or declared == -SHIFT:
        return Decision(-SHIFT, f"1000 is still in: {where} ({said[said_removed]})")
    return Decision(None, f"the offset {declared:g} is declared where -1000 is due, and {where}")
