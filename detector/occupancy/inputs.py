"""What the occupancy estimators look at: an image turned into planes of one scale.

All planes lie in the yard's frame (`geo.sentinel2.site`), a cell is 10 m. Their order is part of the
weights' meaning.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from geo.sentinel2.composite import MOST_HISTORY

if TYPE_CHECKING:
    from torch import Tensor

    from geo.sentinel2.site import Site
    from geo.sentinel2.time_series import DatedImage

# Arrays in an inference, tensors in a training: the same few operations.
N = TypeVar("N", NDArray[np.float32], "Tensor")

CHANNELS = (
    *(f"current_{b}" for b in ("B02", "B03", "B04", "B08")),
    *(f"difference_{b}" for b in ("B02", "B03", "B04", "B08")),
    *(f"median_{b}" for b in ("B02", "B03", "B04", "B08")),
    *(f"low_{b}" for b in ("B02", "B03", "B04", "B08")),
    *(f"high_{b}" for b in ("B02", "B03", "B04", "B08")),
    *(f"track_{q}" for q in ("upper_left", "upper_right", "lower_left", "lower_right")),
    "boundary",
    "has_tracks",
    "shadow_along",
    "shadow_across",
    "past_shadow_along",
    "past_shadow_across",
    "history",
)
"""Names of the planes; reflectance is scaled so that a texture of a hundredth is some tenths."""

FIRST_MASK = CHANNELS.index("track_upper_left")
"""The planes before it hold reflectance, and 0 where the date wasn't seen."""

_MEAN = np.array([0.10, 0.12, 0.14, 0.20], np.float32)[:, None, None]
_LEVEL = 10.0  # of absolute reflectance
CHANGE = 30.0
"""Scale of differences: wagons change a pixel by a few hundredths."""
_LARGEST = 6.0
_LARGEST_STRAIGHT = ((_LARGEST + 1) / 2) ** 2  # what is bent to the largest
_LONGEST_SHADOW = 4.0  # metres a metre of height: a sun 14 degrees high


class PastBands(NamedTuple):
    """The dates of a background, one by one.

    Attributes:
        change: (K, 4, h, w) float32, what each differs from the background's median by, times `CHANGE`; 0
            where unknown.
        known: (K, h, w) whether the cell was seen.
        shadow: (K, 2) float32, along and across.
    """

    change: NDArray[np.float32]
    known: NDArray[np.bool_]
    shadow: NDArray[np.float32]

    def window(self, rows: slice, columns: slice) -> PastBands:
        """A part of the cells."""
        return PastBands(self.change[..., rows, columns], self.known[..., rows, columns], self.shadow)

    def last(self, number: int) -> PastBands:
        """The last of the dates."""
        return PastBands(self.change[-number:], self.known[-number:], self.shadow[-number:])


class Inputs(NamedTuple):
    """What is known of one image.

    Attributes:
        planes: (len(CHANNELS), h, w) float32.
        region: (h, w) weight with which wagons count.
        known: (h, w) whether the cell was seen.
        past: The dates of the background.
    """

    planes: NDArray[np.float32]
    region: NDArray[np.float32]
    known: NDArray[np.bool_]
    past: PastBands


def inputs_of(image: DatedImage, site: Site, *, tracks: bool = True) -> Inputs:
    """The planes of an image that may be answered.

    Args:
        image: With a background.
        site: The place.
        tracks: Whether to use the track lines; False answers as for an area with a boundary alone.
    """
    if image.current is None or image.background is None:
        raise ValueError(f"{image.id} has no background to compare with")
    use_tracks = tracks and site.has_tracks
    hidden = site.hidden(image.datetime.date())
    region = (site.region if use_tracks else site.boundary) * (1.0 - hidden)
    return make_inputs(
        image.current,
        image.background.low,
        image.background.median,
        image.background.high,
        site.tracks if use_tracks else np.zeros_like(site.tracks),
        region,
        has_tracks=use_tracks,
        shadow=image.sun,
        past_shadow=image.history_sun,
        dates=image.background.dates,
        past=past_planes(
            np.stack([one.reflectance for one in image.past]) if image.past else None,
            [one.sun for one in image.past],
            image.background.median,
        ),
    )


def make_inputs(
    current: NDArray[np.float32],
    low: NDArray[np.float32],
    median: NDArray[np.float32],
    high: NDArray[np.float32],
    tracks: NDArray[np.float32],
    region: NDArray[np.float32],
    *,
    has_tracks: bool,
    shadow: tuple[float, float] | None,
    past_shadow: tuple[float, float] | None,
    dates: int,
    past: PastBands | None = None,
) -> Inputs:
    """Planes from reflectances (4, h, w) and masks; see `CHANNELS`.

    Args:
        current: The date; NaN where unknown or not clear.
        low: The background's lower quantile.
        median: Its middle.
        high: Its upper quantile.
        tracks: (4, h, w) shares of quarter cells on tracks; zero without track lines.
        region: (h, w) weight with which a cell's wagons count.
        has_tracks: Whether track lines are used.
        shadow: Shadow of a metre of height, metres (along, across); planes of 0 where the sun isn't known.
        past_shadow: The same, mean over the history.
        dates: How many dates the background is made of.
        past: Those that the date is compared with one by one; none by default.
    """
    known = np.asarray(np.isfinite(current).all(axis=0) & np.isfinite(median).all(axis=0))
    size = current.shape[1:]

    def level(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray((x - _MEAN) * _LEVEL, dtype=np.float32)

    def change(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return bent(x * np.float32(CHANGE))

    reflectance = np.concatenate(
        [level(current), change(current - median), level(median), change(low - median), change(high - median)]
    )
    reflectance[:, ~known] = 0.0
    reflectance = np.clip(np.nan_to_num(reflectance), -_LARGEST, _LARGEST)
    constant = [
        float(has_tracks),
        *shadow_planes(shadow),
        *shadow_planes(past_shadow),
        math.log(max(dates, 1) / MOST_HISTORY),
    ]
    planes = np.concatenate(
        [
            reflectance,
            tracks,
            region[None],
            np.broadcast_to(np.array(constant, np.float32)[:, None, None], (len(constant), *size)),
        ]
    )
    return Inputs(
        planes.astype(np.float32), region, known, past_planes(None, [], median) if past is None else past
    )


def past_planes(
    stack: NDArray[np.float32] | None, suns: Sequence[tuple[float, float] | None], median: NDArray[np.float32]
) -> PastBands:
    """Planes of past dates.

    Args:
        stack: (K, 4, h, w) reflectance; NaN where unknown or not clear. None for no dates.
        suns: Shadow of a metre of height on each, metres (along, across); None where unknown.
        median: (4, h, w) of the background.
    """
    if stack is None:
        size = median.shape[1:]
        return PastBands(
            np.zeros((0, 4, *size), np.float32), np.zeros((0, *size), np.bool_), np.zeros((0, 2), np.float32)
        )
    change = (stack - median) * np.float32(CHANGE)
    known = np.asarray(np.isfinite(change).all(axis=1))
    change = np.where(known[:, None], np.clip(change, -_LARGEST_STRAIGHT, _LARGEST_STRAIGHT), np.float32(0))
    return PastBands(change, known, np.array([shadow_planes(sun) for sun in suns], np.float32))


def bent(change: N) -> N:
    """Square roots beyond one: a white tarpaulin and a brighter one are nearly the same news."""
    size = abs(change).clip(min=1.0)
    small: N = change.clip(-1.0, 1.0)
    more: N = 2 * (change / size) * (size**0.5 - 1)
    return small + more


def straight(change: N) -> N:
    """What `bent` has bent."""
    size = abs(change).clip(min=1.0)
    small: N = change.clip(-1.0, 1.0)
    more: N = (change / size) * (((size + 1) / 2) ** 2 - 1)
    return small + more


def shadow_planes(shadow: tuple[float, float] | None) -> tuple[float, float]:
    """A shadow in the scale of the planes; 0 where the sun isn't known."""
    if shadow is None:
        return 0.0, 0.0
    return tuple(max(-_LONGEST_SHADOW, min(_LONGEST_SHADOW, s)) / 2 for s in shadow)  # type: ignore[return-value]
