"""Cloud, haze and the shadow of clouds over an area.

Cloud is told from bright wagons, roofs, harvest and green-up by B02 - 0.5 B04 (the haze-optimised transform
of Zhang, Guindon and Cihlar, 2002): soil and vegetation of any mixture lie on one line of red and blue and
keep it, a white veil raises it. Against the background of the place it also forgets the roofs and roads that
stand there always.

Shadow is told from wet ground, bare fields and dark wagons. It takes the same share of light from every
surface, and ends within the penumbra (20 to 50 m) wherever its edge happens to run. Moisture takes as much
from soil, but changes gradually or where the soil does. So an edge that crosses even ground, in all bands at
once, is what shadow is known by; without an edge in sight only darkness beyond that of wet soil counts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geo.sentinel2.clear_sky_inputs import (
    BLUE,
    FINE,
    GREEN,
    NIR,
    RED,
    ClearSkyInputs,
    Mask,
    Neighbours,
    Plane,
    grown,
    highest,
    large_pieces,
    lowest,
    odd,
    opened,
    pixels,
    range_of,
    touching,
)

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


def blue_excess(reflectance: NDArray[np.float32]) -> Plane:
    """B02 - 0.5 B04 of (4, H, W) planes."""
    return np.asarray(reflectance[BLUE] - np.float32(0.5) * reflectance[RED])


def find_clouds(view: ClearSkyInputs) -> tuple[Mask, float]:
    """Where cloud lies, by the pixels and, where there is one, the scene classification.

    Args:
        view: the date.

    Returns:
        (H, W) cloud without any buffer; and the haze, 0 and more: rise of B02 over the clearest fifth of the
        ring, or without a background what B02 - 0.5 B04 has above that of clear ground.
    """
    if not view.ring.where.any():
        return np.zeros(view.seen.shape, bool), 0.0
    if view.past is None:
        in_ring, own, haze = _alone(view)
        piece = pixels(view.rules.cloud_piece_alone_m2)
    else:
        in_ring, own, haze = _against(view, view.past)
        piece = pixels(view.rules.cloud_piece_m2)
    around = view.ring.where
    strong = large_pieces(around & (in_ring > 1), piece)
    mask = view.over_area(touching(around & (in_ring > _GROW), strong), own, weak=_GROW, strong=1.0)
    if view.scl is not None:
        mask = mask | _clouds_by_classification(view, view.scl, piece)
    return mask, haze


def _against(view: ClearSkyInputs, past: NDArray[np.float32]) -> tuple[Plane, Plane, float]:
    """Rise over the background in units of the threshold, in the ring and in all pixels, and the haze."""
    around = view.ring.where
    rise = np.clip(blue_excess(view.now) - blue_excess(past), -_CLIP, _CLIP)
    change = np.clip(view.now - past, -2 * _CLIP, 2 * _CLIP)
    smooth = view.ring.mean(rise, FINE)
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
    level = float(np.clip(lowest, -0.1, view.rules.rayleigh_allowance if airy else view.rules.haze_allowance))

    restless = np.clip(view.ring.mean(view.spread, FINE) - 0.01, 0, view.rules.spread_allowance)
    limit = view.rules.cloud_rise + np.float32(0.02) * water + restless

    def strength(neighbours: Neighbours, mean_rise: Plane) -> Plane:
        lift = np.minimum(
            neighbours.mean(change[BLUE], FINE) - np.clip(blue, -0.1, 0.05),
            neighbours.mean(change[GREEN], FINE) - np.clip(green, -0.1, 0.04),
        )
        return np.asarray((mean_rise - level) / limit * (lift > view.rules.lift), np.float32)

    own = strength(view.ground, view.ground.mean(rise, FINE))
    return strength(view.ring, smooth), own, max(0.0, blue)


def _alone(view: ClearSkyInputs) -> tuple[Plane, Plane, float]:
    """The same without a background: over the scene's own lowest values.

    Nothing tells which roofs always stood there. So all of a square of 70 m must be bright, which leaves out
    towns, and as bright in the infrared as in red, which leaves out rivers in flood.
    """
    excess = np.clip(blue_excess(view.now), -0.1, _CLIP_ALONE)
    smooth = view.ring.mean(excess, FINE)
    # Clear ground has 0.01 to 0.04 in L2A and 0.065 more in L1C; a whole scene above that is under cloud.
    level = float(np.clip(np.quantile(smooth[view.ring.where], 0.1), 0.0, 0.08))

    def strength(neighbours: Neighbours) -> Plane:
        filled = neighbours.carried_across(excess)
        all_over = opened(filled, odd(_TOWN_M))
        blue, red, nir = (neighbours.mean(view.now[band], FINE) for band in (BLUE, RED, NIR))
        white = (blue > 0.13) & (nir > 0.12) & (nir > 0.85 * red)
        return np.asarray((all_over - level) / view.rules.cloud_rise_alone * white, np.float32)

    return strength(view.ring), strength(view.ground), max(0.0, level - 0.03)


def _clouds_by_classification(view: ClearSkyInputs, scl: NDArray[np.uint8], piece: float) -> Mask:
    """What SCL calls cloud, where the ring beside is cloud too.

    Sen2Cor takes bright roofs and concrete for cloud, having no thermal band to tell them by. So SCL isn't
    asked about the yard itself, and not believed where the place looks as it always does.
    """
    called = np.isin(scl, _SCL_CLOUD)
    believed = called & view.ring.where
    if view.past is not None:
        rise = blue_excess(view.now) - blue_excess(view.past)
        same = np.abs(view.ring.mean(np.clip(rise, -_CLIP, _CLIP), FINE)) < _SAME[0]
        change = np.clip(view.now[BLUE] - view.past[BLUE], -2 * _CLIP, 2 * _CLIP)
        same &= np.abs(view.ring.mean(change, FINE)) < _SAME[1]
        believed &= ~same
    believed = large_pieces(believed, piece)
    beside = view.ring.carried_across(believed.astype(np.float32))
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
    size = odd(90)
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


_SCL_SHADOW = 3
# What SCL calls shadow must at least be so much darker than the background in every band.
_SAID_DEPTH = 0.15
_EDGE_M = 70.0
_DARK = 0.01
_BRIGHTER = 0.35


def find_shadows(view: ClearSkyInputs, hidden: Mask) -> Mask:
    """Where the shadow of a cloud lies.

    Args:
        view: the date.
        hidden: (H, W) cloud with its buffer and snow: edges of these are no edges of shadow.

    Returns:
        (H, W).
    """
    around = view.ring.where
    piece = pixels(view.rules.shadow_piece_m2)
    if view.past is None:
        if view.scl is None:
            return np.zeros(around.shape, bool)
        # Sen2Cor calls much dark ground shadow; water and bright ground at least it isn't.
        dark = (view.now[NIR] < 0.25) & ~_water(view.now)
        return _shadows_by_classification(view, view.scl, dark, dark, piece)
    air = _air(view.past, around)
    in_ring = _log_light(view.now, view.past, air, view.ring, FINE)
    own = _log_light(view.now, view.past, air, view.ground, FINE)
    # Without the light of the air: shadow in L1C is as blue and dark as water.
    bare = air[:, None, None]
    land = around & ~hidden & ~_water(view.now - bare) & ~_water(view.past - bare)
    # Drier or later in the year than the background, even the lit ground of a date can be brighter than it.
    lit = np.zeros((4, 1, 1), np.float32)
    if land.any():
        brighter = np.quantile(in_ring[:, land], 0.8, axis=1)
        lit = np.clip(brighter, 0.0, _BRIGHTER).astype(np.float32)[:, None, None]
    depth_ring, depth_own = _depth(in_ring - lit), _depth(own - lit)
    # Green and infrared together: leaves coming or going move them against each other.
    light_ring, light_own = (0.5 * (light[GREEN] + light[NIR]) for light in (in_ring, own))
    found = _by_edges(view, in_ring, light_ring, land)
    if found is not None:
        dark, middle, step = found
        mask = view.over_area(dark, middle - light_own, weak=0.0, strong=step)
    else:
        strong = large_pieces(land & (depth_ring > view.rules.shadow_depth), piece)
        dark = touching(land & (depth_ring > 0.7 * view.rules.shadow_depth), strong)
        mask = view.over_area(
            dark, depth_own, weak=0.5 * view.rules.shadow_depth, strong=view.rules.shadow_depth
        )
    if view.scl is not None:
        mask = mask | _shadows_by_classification(
            view, view.scl, land & (depth_ring > _SAID_DEPTH), depth_own > 0.1, piece
        )
    return mask & ~hidden


def _water(planes: NDArray[np.float32]) -> Mask:
    return np.asarray((planes[GREEN] > planes[NIR]) & (planes[NIR] < 0.1))


def _air(past: NDArray[np.float32], around: Mask) -> NDArray[np.float32]:
    """Light of the air in each band (L1C), which no shadow takes: what B02 - 0.5 B04 has above the ground."""
    excess = float(np.quantile((past[BLUE] - 0.5 * past[RED])[around], 0.1))
    return np.float32(np.clip(excess - 0.015, 0.0, 0.09)) * np.array([1.0, 0.5, 0.25, 0.1], np.float32)


def _log_light(
    now: NDArray[np.float32],
    past: NDArray[np.float32],
    air: NDArray[np.float32],
    neighbours: Neighbours,
    size: int,
) -> NDArray[np.float32]:
    """(4, H, W) logarithm of the local mean over that of the background."""
    light = np.empty_like(now)
    for band in range(4):
        today = neighbours.mean(now[band], size) - air[band]
        before = neighbours.mean(past[band], size) - air[band]
        # The hundredth keeps noise and relief in dark forest from looking like steps.
        light[band] = np.log((np.maximum(today, 0.0) + _DARK) / (np.maximum(before, 0.0) + _DARK))
    return light


def _depth(light: NDArray[np.float32]) -> Plane:
    """Share of the light that is missing in every band; the sky still lights shadows in blue, by a third."""
    missing = 1 - np.exp(light)
    missing[BLUE] *= 1.5
    return np.asarray(missing.min(axis=0))


def _by_edges(
    view: ClearSkyInputs, light: NDArray[np.float32], both: Plane, land: Mask
) -> tuple[Mask, float, float] | None:
    """The dark side of steps of the light that cross even ground.

    Even is what varies little over 70 m in the background, and in vegetation today. Where fields change each
    in its own way there are such steps too, but only here and there: around a shadow they are all along its
    border.

    Args:
        view: the date.
        light: (4, H, W) logarithm of the light.
        both: (H, W) of green and infrared together.
        land: (H, W) where to look.

    Returns:
        The shadow, the light that divides it from the rest, and the step; None where there is no such border.
    """
    assert view.past is not None
    size = odd(_EDGE_M)
    even = lowest(land.astype(np.float32), size) > 0
    for band in (GREEN, NIR):
        before = np.log(np.maximum(view.ring.mean(view.past[band], FINE), 0.01))
        even &= range_of(before, size) < 0.3
    for planes in (view.now, view.past):
        index = (planes[NIR] - planes[RED]) / np.maximum(planes[NIR] + planes[RED], 0.02)
        even &= range_of(view.ring.mean(index, odd(20)), size) < 0.15
    three = light[[GREEN, RED, NIR]]
    edge = even & (
        highest(three.min(axis=0), size) - lowest(three.max(axis=0), size) > view.rules.shadow_edge
    )
    if edge.sum() < pixels(view.rules.shadow_edge_m2):
        return None
    low = float(np.median(lowest(both, size)[edge]))
    high = float(np.median(highest(both, size)[edge]))
    middle = 0.5 * (low + high)
    dark = large_pieces(land & (both < middle), pixels(view.rules.shadow_piece_m2))
    dark = touching(dark, dark & grown(edge, 2))
    border = even & grown(dark, 1) & grown(land & ~dark, 1)
    if border.sum() < 3 or edge[border].mean() < view.rules.shadow_border_share:
        return None
    return dark, middle, high - low


def _shadows_by_classification(
    view: ClearSkyInputs, scl: NDArray[np.uint8], dark_ring: Mask, dark_own: Mask, piece: float
) -> Mask:
    """What SCL calls shadow in the ring and is dark; in the area where the ring beside is shadow too."""
    called = scl == _SCL_SHADOW
    believed = large_pieces(called & dark_ring & view.ring.where, piece)
    beside = view.ring.carried_across(believed.astype(np.float32))
    return np.asarray(believed | (called & dark_own & (beside > 0.4) & view.seen & ~view.ring.where))
