"""What the occupancy estimators look at: a look turned into planes of one scale.

All planes lie in the yard's frame (`geo.sentinel2.frame`), a cell is 10 m. Their order is part of the
weights' meaning.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geo.sentinel2.background import MOST_HISTORY

if TYPE_CHECKING:
    from geo.sentinel2.frame import Site
    from geo.sentinel2.looks import Look

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

_MEAN = np.array([0.10, 0.12, 0.14, 0.20], np.float32)[:, None, None]
_LEVEL = 10.0  # of absolute reflectance
_CHANGE = 30.0  # of differences: wagons change a pixel by a few hundredths
_LARGEST = 6.0
_LONGEST_SHADOW = 4.0  # metres a metre of height: a sun 14 degrees high


class Inputs(NamedTuple):
    """What is known of one look.

    Attributes:
        planes: (len(CHANNELS), h, w) float32.
        region: (h, w) weight with which wagons count.
        known: (h, w) whether the cell was seen.
    """

    planes: NDArray[np.float32]
    region: NDArray[np.float32]
    known: NDArray[np.bool_]


def inputs_of(look: Look, site: Site, *, tracks: bool = True) -> Inputs:
    """The planes of a look that may be answered.

    Args:
        look: With a background.
        site: The place.
        tracks: Whether to use the track lines; False answers as for an area with a boundary alone.
    """
    if look.current is None or look.background is None:
        raise ValueError(f"{look.id} has no background to compare with")
    use_tracks = tracks and site.has_tracks
    hidden = site.hidden(look.datetime.date())
    region = (site.region if use_tracks else site.boundary) * (1.0 - hidden)
    return make_inputs(
        look.current,
        look.background.low,
        look.background.median,
        look.background.high,
        site.tracks if use_tracks else np.zeros_like(site.tracks),
        region,
        has_tracks=use_tracks,
        shadow=look.sun,
        past_shadow=look.history_sun,
        dates=look.background.dates,
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
    """
    known = np.asarray(np.isfinite(current).all(axis=0) & np.isfinite(median).all(axis=0))
    size = current.shape[1:]

    def level(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray((x - _MEAN) * _LEVEL, dtype=np.float32)

    def change(x: NDArray[np.float32]) -> NDArray[np.float32]:
        # Square roots beyond one: a white tarpaulin and a brighter one are nearly the same news.
        y = x * _CHANGE
        return np.asarray(np.sign(y) * np.where(np.abs(y) > 1, 2 * np.sqrt(np.abs(y)) - 1, np.abs(y)))

    reflectance = np.concatenate(
        [level(current), change(current - median), level(median), change(low - median), change(high - median)]
    )
    reflectance[:, ~known] = 0.0
    reflectance = np.clip(np.nan_to_num(reflectance), -_LARGEST, _LARGEST)
    constant = [
        float(has_tracks),
        *_bounded(shadow),
        *_bounded(past_shadow),
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
    return Inputs(planes.astype(np.float32), region, known)


def _bounded(shadow: tuple[float, float] | None) -> tuple[float, float]:
    if shadow is None:
        return 0.0, 0.0
    return tuple(max(-_LONGEST_SHADOW, min(_LONGEST_SHADOW, s)) / 2 for s in shadow)  # type: ignore[return-value]
