"""Is the area clear on this date? Cloud, shadow, snow, haze, gaps, low sun; whether it may be answered.

Cloud is decided on the ground around the area rather than on the area: a yard full of white containers or
tarpaulins is bright and white and must not delete its own observation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geo.sentinel2.chip import PIXEL_M
from geo.sentinel2.clear_sky_inputs import (
    BLUE,
    RED,
    ClearSkyInputs,
    ClearSkyThresholds,
    Mask,
    grown,
    prepared_inputs,
)
from geo.sentinel2.clear_sky_masks import blue_excess, contrast_left, find_clouds, find_shadows

_SCL_SNOW = 11
_DEFAULT = ClearSkyThresholds()


@dataclass(frozen=True)
class ClearSkyAssessment:
    """What hides an area on a date.

    Attributes:
        usable: (H, W) data, and no cloud (with its buffer), shadow, snow or saturation: what may enter
            backgrounds, of dates that have no `reason`.
        snow: (H, W).
        cloud: (H, W) without the buffer.
        shadow: (H, W) of clouds.
        clear_fraction: share of the area that is usable, 0 to 1.
        snow_fraction: share of area and ring that is snow.
        ring_cloud_fraction: share of the ring that is cloud.
        reason: why the date must not be answered, a full sentence, or None.
        haze: rise of B02 over all of the ring, reflectance; an even veil that gain and offset take out.
        contrast: share of the background's contrast that is left, about 1 on a clear date; None where it
            can't be told.
    """

    usable: Mask
    snow: Mask
    cloud: Mask
    shadow: Mask
    clear_fraction: float
    snow_fraction: float
    ring_cloud_fraction: float
    reason: str | None
    haze: float = 0.0
    contrast: float | None = None


def assess(
    bands: tuple[str, ...],
    reflectance: NDArray[np.float32],
    scl: NDArray[np.uint8] | None,
    inside: Mask,
    ring: Mask,
    *,
    background: NDArray[np.float32] | None = None,
    spread: NDArray[np.float32] | None = None,
    sun_elevation_deg: float | None = None,
    rules: ClearSkyThresholds = _DEFAULT,
) -> ClearSkyAssessment:
    """Find what hides an area on a date.

    Without a background, roofs can't be told from small clouds and shadows are known from the scene
    classification only; the date is then judged for the sake of later backgrounds.

    Args:
        bands: names of the planes, in any order: "B02", "B03", "B04", "B08", and "B11" where there is one.
        reflectance: float32 (B, H, W), NaN where there is no data.
        scl: (H, W) scene classification of Sen2Cor on the same grid, or None.
        inside: (H, W) the area.
        ring: (H, W) the ground around it, a few hundred metres wide.
        background: (B, H, W) composite of the place's clear, snow-free dates, or None.
        spread: (B, H, W) robust standard deviation of those dates, or None.
        sun_elevation_deg: above the horizon, or None.
        rules: thresholds.

    Returns:
        Masks, shares, and the reason against the date.

    Raises:
        ValueError: a 10 m band is missing, the shapes differ, or no pixel is inside.
    """
    view = prepared_inputs(bands, reflectance, scl, inside, ring, background, spread, rules)
    around = view.ring.where
    cloud, haze = find_clouds(view)
    snow, cloud = _snow(view, cloud)
    near_cloud = grown(cloud, round(rules.buffer_m / PIXEL_M))
    shadow = find_shadows(view, near_cloud | snow)
    usable = view.seen & ~near_cloud & ~shadow & ~snow
    judged = (inside & view.seen) | around
    found = ClearSkyAssessment(
        usable=usable,
        snow=snow,
        cloud=cloud,
        shadow=shadow,
        clear_fraction=float(usable[inside].mean()),
        snow_fraction=_fraction(snow, judged),
        ring_cloud_fraction=_fraction(cloud, around),
        reason=None,
        haze=haze,
        contrast=contrast_left(view),
    )
    hidden = _fraction(cloud | shadow | snow, around)
    reason = _reason(found, float(view.seen[inside].mean()), hidden, sun_elevation_deg, rules)
    return replace(found, reason=reason)


def _fraction(mask: Mask, of: Mask) -> float:
    return float(mask[of].mean()) if of.any() else 0.0


def _snow(view: ClearSkyInputs, cloud: Mask) -> tuple[Mask, Mask]:
    """Where snow lies, and what is left of the cloud."""
    blue, green, red, nir = view.now
    snow = np.zeros(view.seen.shape, bool)
    change = None if view.past is None else blue - view.past[BLUE]
    if view.scl is not None:
        snow = view.seen & (view.scl == _SCL_SNOW) & (green > 0.1)
        if change is not None:
            snow &= (change > 0.03) | ~view.known  # a white roof is there on every date
    if view.swir is not None:
        # Comparisons with NaN are False. Water has a high index too but is dark in the infrared.
        index_high = (green - view.swir) > np.float32(view.rules.ndsi) * (green + view.swir)
        snow |= view.seen & index_high & (green > 0.12) & (nir > 0.11)
    elif view.past is not None and change is not None:
        rise = blue_excess(view.now) - blue_excess(view.past)
        mean = (blue + green + red) / 3
        even = np.ptp(view.now[: RED + 1], axis=0) < 0.3 * mean
        white = view.known & (change > view.rules.white_rise) & (rise > 0.4 * view.rules.white_rise) & even
        around = white & view.ring.where
        # White wagons are no snow: in the area it is believed only where the ground beside is white too.
        beside = view.ring.carried_across(around.astype(np.float32))
        white &= view.ring.where | (beside > 0.3)
        # Cloud is as bright in the infrared as in blue, snow a tenth darker. That is little to go by, so it
        # is asked only of a landscape that is white for the most part.
        if _fraction(around, view.ring.where) > 0.3 and np.median(nir[around]) < 0.96 * np.median(
            blue[around]
        ):
            snow |= white
        else:
            snow |= white & ~cloud
    return snow, cloud & ~snow


def _reason(
    found: ClearSkyAssessment,
    data: float,
    ring_hidden: float,
    sun_elevation_deg: float | None,
    rules: ClearSkyThresholds,
) -> str | None:
    """Why the date must not be answered: the first rule that it breaks."""
    if data < rules.min_clear_fraction:
        return f"Only {_percent(data)} of the area has data on this date."
    if sun_elevation_deg is not None and sun_elevation_deg < rules.min_sun_elevation_deg:
        return (
            f"The sun stands {sun_elevation_deg:.1f} degrees above the horizon, "
            f"under the {rules.min_sun_elevation_deg:g} degrees from which shadows leave enough to see."
        )
    if found.snow_fraction > rules.max_snow_fraction:
        return f"Snow lies on {_percent(found.snow_fraction)} of the area and the ground around it."
    if found.ring_cloud_fraction > rules.max_ring_cloud_fraction:
        return f"Cloud or snow covers {_percent(found.ring_cloud_fraction)} of the ground around the area."
    if ring_hidden > rules.max_ring_hidden_fraction:
        return f"Cloud and its shadow cover {_percent(ring_hidden)} of the ground around the area."
    if found.clear_fraction < rules.min_clear_fraction:
        return f"Only {_percent(found.clear_fraction)} of the area is clear of cloud, shadow, snow and gaps."
    if found.haze > rules.max_haze:
        return f"Haze brightens all of the surroundings by {found.haze:.2f} in blue, too much to see through."
    veiled = found.haze > 0.4 * rules.max_haze  # texture also changes by itself, without a veil
    if veiled and found.contrast is not None and found.contrast < rules.min_contrast:
        return f"Haze leaves only {_percent(found.contrast)} of the contrast that the ground otherwise has."
    return None


def _percent(fraction: float) -> str:
    """A fraction in whole percent; under one it says so rather than 0."""
    return f"{100 * fraction:.0f}%" if fraction >= 0.01 or fraction == 0 else "less than 1%"
