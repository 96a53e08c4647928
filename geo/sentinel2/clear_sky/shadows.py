"""Shadow of clouds over an area, told from wet ground, bare fields and dark wagons.

Shadow takes the same share of light from every surface, and ends within the penumbra (20 to 50 m) wherever
its edge happens to run. Moisture takes as much from soil, but changes gradually or where the soil does. So an
edge that crosses even ground, in all bands at once, is what shadow is known by; without an edge in sight only
darkness beyond that of wet soil counts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geo.sentinel2.clear_sky.inputs import BLUE, GREEN, NIR, RED, ClearSkyInputs
from geo.sentinel2.clear_sky.neighbourhood import (
    Mask,
    Neighbours,
    Plane,
    grown,
    highest,
    large_pieces,
    lowest,
    odd,
    range_of,
    touching,
)
from geo.sentinel2.clear_sky.thresholds import ClearSkyThresholds

_SCL_SHADOW = 3
# What SCL calls shadow must at least be so much darker than the background in every band.
_SAID_DEPTH = 0.15
_EDGE_M = 70.0
_DARK = 0.01
_BRIGHTER = 0.35


def find_shadows(view: ClearSkyInputs, hidden: Mask, rules: ClearSkyThresholds) -> Mask:
    """Where the shadow of a cloud lies.

    Args:
        view: the date.
        hidden: (H, W) cloud with its buffer and snow: edges of these are no edges of shadow.
        rules: thresholds.

    Returns:
        (H, W).
    """
    around = view.ring.where
    piece = view.pixels(rules.shadow_piece_m2)
    if view.past is None:
        if view.scl is None:
            return np.zeros(around.shape, bool)
        # Sen2Cor calls much dark ground shadow; water and bright ground at least it isn't.
        dark = (view.now[NIR] < 0.25) & ~_water(view.now)
        return _by_classification(view, view.scl, dark, dark, piece)
    air = _air(view.past, around)
    in_ring = _log_light(view.now, view.past, air, view.ring, view.fine)
    own = _log_light(view.now, view.past, air, view.ground, view.fine)
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
    found = _by_edges(view, in_ring, light_ring, land, rules)
    if found is not None:
        dark, middle, step = found
        mask = view.over_area(dark, middle - light_own, weak=0.0, strong=step)
    else:
        strong = large_pieces(land & (depth_ring > rules.shadow_depth), piece)
        dark = touching(land & (depth_ring > 0.7 * rules.shadow_depth), strong)
        mask = view.over_area(dark, depth_own, weak=0.5 * rules.shadow_depth, strong=rules.shadow_depth)
    if view.scl is not None:
        mask = mask | _by_classification(
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
    view: ClearSkyInputs, light: NDArray[np.float32], both: Plane, land: Mask, rules: ClearSkyThresholds
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
        rules: thresholds.

    Returns:
        The shadow, the light that divides it from the rest, and the step; None where there is no such border.
    """
    assert view.past is not None
    size = odd(_EDGE_M, view.pixel_m)
    even = lowest(land.astype(np.float32), size) > 0
    for band in (GREEN, NIR):
        before = np.log(np.maximum(view.ring.mean(view.past[band], view.fine), 0.01))
        even &= range_of(before, size) < 0.3
    for planes in (view.now, view.past):
        index = (planes[NIR] - planes[RED]) / np.maximum(planes[NIR] + planes[RED], 0.02)
        even &= range_of(view.ring.mean(index, odd(20, view.pixel_m)), size) < 0.15
    three = light[[GREEN, RED, NIR]]
    edge = even & (highest(three.min(axis=0), size) - lowest(three.max(axis=0), size) > rules.shadow_edge)
    if edge.sum() < view.pixels(rules.shadow_edge_m2):
        return None
    low = float(np.median(lowest(both, size)[edge]))
    high = float(np.median(highest(both, size)[edge]))
    middle = 0.5 * (low + high)
    dark = large_pieces(land & (both < middle), view.pixels(rules.shadow_piece_m2))
    dark = touching(dark, dark & grown(edge, 2))
    border = even & grown(dark, 1) & grown(land & ~dark, 1)
    if border.sum() < 3 or edge[border].mean() < rules.shadow_border_share:
        return None
    return dark, middle, high - low


def _by_classification(
    view: ClearSkyInputs, scl: NDArray[np.uint8], dark_ring: Mask, dark_own: Mask, piece: float
) -> Mask:
    """What SCL calls shadow in the ring and is dark; in the area where the ring beside is shadow too."""
    called = scl == _SCL_SHADOW
    believed = large_pieces(called & dark_ring & view.ring.where, piece)
    beside = view.ring.carried_across(believed.astype(np.float32), view.reaches)
    return np.asarray(believed | (called & dark_own & (beside > 0.4) & view.seen & ~view.ring.where))
