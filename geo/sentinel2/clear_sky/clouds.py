"""Cloud and haze over an area, told from bright wagons, roofs, harvest and green-up.

The measure is B02 - 0.5 B04 (the haze-optimised transform of Zhang, Guindon and Cihlar, 2002): soil and
vegetation of any mixture lie on one line of red and blue and keep it, a white veil raises it. Against the
background of the place it also forgets the roofs and roads that stand there always.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geo.sentinel2.clear_sky.inputs import BLUE, GREEN, NIR, RED, ClearSkyInputs
from geo.sentinel2.clear_sky.neighbourhood import Mask, Neighbours, Plane, large_pieces, odd, opened, touching
from geo.sentinel2.clear_sky.thresholds import ClearSkyThresholds

_SCL_CLOUD = (8, 9, 10)  # medium and high probability, thin cirrus

# A bright roof must not outweigh its neighbourhood.
_CLIP = 0.15
_CLIP_ALONE = 0.25
_TOWN_M = 70.0
# Cloud grows into its surroundings down to this share of the threshold.
_GROW = 0.6
# Closer to the background than this in B02 - 0.5 B04 and in B02, a place is as it always is, whatever SCL
# says.
_SAME = (0.012, 0.02)


@dataclass(frozen=True)
class Clouds:
    """Where cloud lies.

    Attributes:
        mask: (H, W).
        haze: rise of B02 over the clearest fifth of the ring, 0 and more; without a background what
            B02 - 0.5 B04 has above that of clear ground.
    """

    mask: Mask
    haze: float


def blue_excess(reflectance: NDArray[np.float32]) -> Plane:
    """B02 - 0.5 B04 of (4, H, W) planes."""
    return np.asarray(reflectance[BLUE] - np.float32(0.5) * reflectance[RED])


def find_clouds(view: ClearSkyInputs, rules: ClearSkyThresholds) -> Clouds:
    """Where cloud lies, by the pixels and, where there is one, the scene classification.

    Args:
        view: the date.
        rules: thresholds.

    Returns:
        Cloud without any buffer, and the haze over all.
    """
    if not view.ring.where.any():
        return Clouds(np.zeros(view.seen.shape, bool), 0.0)
    if view.past is None:
        in_ring, own, haze = _alone(view, rules)
        piece = view.pixels(rules.cloud_piece_alone_m2)
    else:
        in_ring, own, haze = _against(view, view.past, rules)
        piece = view.pixels(rules.cloud_piece_m2)
    around = view.ring.where
    strong = large_pieces(around & (in_ring > 1), piece)
    mask = view.over_area(touching(around & (in_ring > _GROW), strong), own, weak=_GROW, strong=1.0)
    if view.scl is not None:
        mask = mask | _by_classification(view, view.scl, piece)
    return Clouds(mask, haze)


def _against(
    view: ClearSkyInputs, past: NDArray[np.float32], rules: ClearSkyThresholds
) -> tuple[Plane, Plane, float]:
    """Rise over the background in units of the threshold, in the ring and in all pixels, and the haze."""
    around = view.ring.where
    rise = np.clip(blue_excess(view.now) - blue_excess(past), -_CLIP, _CLIP)
    change = np.clip(view.now - past, -2 * _CLIP, 2 * _CLIP)
    smooth = view.ring.mean(rise, view.fine)
    water = (past[GREEN] > past[NIR]) & (past[NIR] < 0.12)  # it glints, and mud comes and goes
    land = around & ~water
    if 4 * land.sum() < around.sum():
        land = around
    lowest, middle = (float(value) for value in np.quantile(smooth[land], (0.2, 0.5)))
    clearest = land & (smooth <= lowest)
    if lowest < 0:  # a veil over the past dates lowers all of the ring, a change of some ground only that
        lowest = min(0.0, middle)
    blue, green, red = (float(np.median(change[band][clearest])) for band in (BLUE, GREEN, RED))
    # Air alone scatters blue far more than red; cirrus both alike.
    airy = blue > 0.02 and red < 0.45 * blue
    level = float(np.clip(lowest, -0.1, rules.rayleigh_allowance if airy else rules.haze_allowance))

    restless = np.clip(view.ring.mean(view.spread, view.fine) - 0.01, 0, rules.spread_allowance)
    limit = rules.cloud_rise + np.float32(0.02) * water + restless

    def strength(neighbours: Neighbours, mean_rise: Plane) -> Plane:
        lift = np.minimum(
            neighbours.mean(change[BLUE], view.fine) - np.clip(blue, -0.1, 0.05),
            neighbours.mean(change[GREEN], view.fine) - np.clip(green, -0.1, 0.04),
        )
        return np.asarray((mean_rise - level) / limit * (lift > rules.lift), np.float32)

    own = strength(view.ground, view.ground.mean(rise, view.fine))
    return strength(view.ring, smooth), own, max(0.0, blue)


def _alone(view: ClearSkyInputs, rules: ClearSkyThresholds) -> tuple[Plane, Plane, float]:
    """The same without a background: over the scene's own lowest values.

    Nothing tells which roofs always stood there. So all of a square of 70 m must be bright, which leaves out
    towns, and as bright in the infrared as in red, which leaves out rivers in flood.
    """
    excess = np.clip(blue_excess(view.now), -0.1, _CLIP_ALONE)
    smooth = view.ring.mean(excess, view.fine)
    # Clear ground has 0.01 to 0.04 in L2A and 0.065 more in L1C; a whole scene above that is under cloud.
    level = float(np.clip(np.quantile(smooth[view.ring.where], 0.1), 0.0, 0.08))

    def strength(neighbours: Neighbours) -> Plane:
        filled = neighbours.carried_across(excess, view.reaches)
        all_over = opened(filled, odd(_TOWN_M, view.pixel_m))
        blue, red, nir = (neighbours.mean(view.now[band], view.fine) for band in (BLUE, RED, NIR))
        white = (blue > 0.13) & (nir > 0.12) & (nir > 0.85 * red)
        return np.asarray((all_over - level) / rules.cloud_rise_alone * white, np.float32)

    return strength(view.ring), strength(view.ground), max(0.0, level - 0.03)


def _by_classification(view: ClearSkyInputs, scl: NDArray[np.uint8], piece: float) -> Mask:
    """What SCL calls cloud, where the ring beside is cloud too.

    Sen2Cor takes bright roofs and concrete for cloud, having no thermal band to tell them by. So SCL isn't
    asked about the yard itself, and not believed where the place looks as it always does.
    """
    called = np.isin(scl, _SCL_CLOUD)
    believed = called & view.ring.where
    if view.past is not None:
        rise = blue_excess(view.now) - blue_excess(view.past)
        same = np.abs(view.ring.mean(np.clip(rise, -_CLIP, _CLIP), view.fine)) < _SAME[0]
        change = np.clip(view.now[BLUE] - view.past[BLUE], -2 * _CLIP, 2 * _CLIP)
        same &= np.abs(view.ring.mean(change, view.fine)) < _SAME[1]
        believed &= ~same
    believed = large_pieces(believed, piece)
    beside = view.ring.carried_across(believed.astype(np.float32), view.reaches)
    return np.asarray(believed | (called & (beside > 0.4) & view.seen & ~view.ring.where))


def contrast_left(view: ClearSkyInputs) -> float | None:
    """Share of the background's contrast that the date still has on ground that hasn't changed its cover.

    The slope of the date's fine structure (B02, B03, B04, less their mean over 90 m) on the background's,
    over ring pixels whose vegetation index has about stayed. 1 is as clear as ever, opacity a leaves 1 - a.

    Returns:
        The share, or None without a background or with too little structure to tell.
    """
    if view.past is None:
        return None

    def index(planes: NDArray[np.float32]) -> Plane:
        return np.asarray((planes[NIR] - planes[RED]) / np.maximum(planes[NIR] + planes[RED], 1e-3))

    change = index(view.now) - index(view.past)  # a veil lowers the index by itself
    stable = view.ring.where & (change > -0.3) & (change < 0.15)
    if stable.sum() < 100:
        return None
    near = Neighbours(stable)
    size = odd(90, view.pixel_m)
    both = own = 0.0
    for band in (BLUE, GREEN, RED):
        fine_now, fine_past = (
            (plane - near.mean(plane, size))[stable] for plane in (view.now[band], view.past[band])
        )
        ground = np.abs(fine_past) < 0.08  # white roofs would outweigh all else
        both += float(fine_now[ground] @ fine_past[ground])
        own += float(fine_past[ground] @ fine_past[ground])
    if own < 3 * stable.sum() * 0.005**2:
        return None
    return both / own
