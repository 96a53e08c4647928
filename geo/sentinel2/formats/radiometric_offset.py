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

from geo.sentinel2.formats.product_names import SHIFT
from geo.sentinel2.formats.raster_band import SATURATED, Band, sample

_DARKEST_PERCENT = 1.0
# The darkest hundredth of a band below this: it can't have 1000 in it, since that would be reflectances under
# -0.01, which atmospheric correction gives over a little water but not over a hundredth of a picture.
_REMOVED_BELOW = 900.0
# Likewise for the darkest two thousandths, of which more may be over-corrected.
_DEEPEST_PERCENT = 0.2
_REMOVED_DEEPEST_BELOW = 800.0
# The darkest hundredth of visible bands between that and this: the common floor of numbers with 1000 in them.
# It would otherwise take ground that is nowhere darker than 0.09 and yet as dark as 0.14 in these colours;
# sand may be so in blue, but hardly in red.
_FLOOR_BELOW = 1400.0
# How many of the three visible bands have to stand at the floor for 1000 to be taken off: the more, the more
# the metadata are against it.
_BANDS_AGAINST_FLAG, _BANDS_WITHOUT_FLAG, _BANDS_WITH_FLAG = 3, 2, 1
# Where the metadata agree that 1000 is in, the darkest hundredth may be as bright as dry grass and soil in
# winter have it; without 1000 it would be ground that is nowhere darker than 0.18.
_DULL_BELOW = 1800.0
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
        deepest: The same for the darkest two thousandths of all bands; infinite without data.
    """

    by_band: Mapping[str, float]
    deepest: float = float("inf")

    @property
    def lowest(self) -> float:
        """Of the darkest band; infinite without data."""
        return min(self.by_band.values(), default=float("inf"))

    @property
    def removed(self) -> bool:
        """Whether the numbers certainly don't have 1000 added to them."""
        return self.lowest < _REMOVED_BELOW or self.deepest < _REMOVED_DEEPEST_BELOW

    @property
    def at_floor(self) -> int:
        """How many visible bands look as if they had 1000 added to them; 0 if they can't have."""
        if self.removed:
            return 0
        return sum(value < _FLOOR_BELOW for name, value in self.by_band.items() if name in _VISIBLE)

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
    numbers = {name: sample(band) for name, band in bands.items()}
    valid = {name: (plane > 0) & (plane < SATURATED) for name, plane in numbers.items()}
    if classes is not None:
        ground = np.isin(sample(classes), _CLEAR_CLASSES)
        chosen = {name: mask & _stretched(ground, mask.shape) for name, mask in valid.items()}
        if all(mask.sum() >= _FEWEST_PIXELS for mask in chosen.values()):
            valid = chosen
    seen = {name: plane[valid[name]] for name, plane in numbers.items()}
    found = {
        name: np.percentile(values, (_DARKEST_PERCENT, _DEEPEST_PERCENT))
        for name, values in seen.items()
        if values.size >= _FEWEST_PIXELS
    }
    return Floors(
        {name: float(pair[0]) for name, pair in found.items()},
        min((float(pair[1]) for pair in found.values()), default=float("inf")),
    )


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

    The pixels overrule the metadata wherever they are telling, and have to be the more telling the more the
    metadata are against them. Where they tell nothing, nothing is decided, for a wrong offset is worse than
    none; but for a flag that is set over cloud, snow or sand, since publishers err on the other side.

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
    needed = {True: _BANDS_AGAINST_FLAG, False: _BANDS_WITH_FLAG, None: _BANDS_WITHOUT_FLAG}[said_removed]
    agreed = said_removed is False and declared != 0.0 and found.lowest < _DULL_BELOW
    if found.at_floor >= needed or agreed:
        return Decision(-SHIFT, f"1000 is still in: {where} ({said[said_removed]})")
    if said_removed and found.bright:
        return Decision(0.0, f"1000 was taken off by the flag, which the pixels don't contradict: {where}")
    claim = said[said_removed] + ("" if declared is None else f", the offset {declared:g} is declared")
    nothing = "nothing dark enough is seen to tell whether 1000 was taken off"
    return Decision(None, f"{nothing}: {where} ({claim})")
