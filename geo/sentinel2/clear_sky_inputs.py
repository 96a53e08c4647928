"""One date over one area and what was there before, with the means and thresholds of the tests for cloud.

The tests for cloud, shadow and snow are made of means and extremes over a neighbourhood of a picture with
gaps: functions that take (H, W) planes and masks and work in a time that doesn't depend on the reach. What
lies beyond the edge is a gap.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from geo.sentinel2.chip import PIXEL_M


@dataclass(frozen=True)
class ClearSkyThresholds:
    """What is called cloud, shadow and snow, and how much of them a date may have.

    Reflectances run from 0 to 1. The thresholds follow from a plain model: cloud of opacity a lays
    a (0.6 - ground) on the ground, nearly the same in every band; shadow takes the same share of the light
    from every surface; moisture takes up to 42 % from soil and nothing from the near infrared of leaves.

    Attributes:
        min_clear_fraction: share of the area that must be usable.
        max_ring_cloud_fraction: share of the ring around the area that may be cloud: with cloud all around,
            thin edges and shadows lie over the area that nothing in its own pixels shows.
        max_ring_hidden_fraction: the same for cloud and shadow together.
        max_snow_fraction: share of area and ring that may be snow. A few white roofs are under 0.02.
        min_sun_elevation_deg: under it shadows are five times as long as things are high, and the
            atmospheric correction of L2A is outside its range.
        cloud_rise: rise of B02 - 0.5 B04 over the background, above that of the clearest fifth of the ring,
            from which a place is cloud. Soil and vegetation of any mixture and wetness keep that difference
            within about 0.02, so that harvest and green-up don't count; opacity 0.12 raises it by 0.035.
        cloud_rise_alone: the same over the scene's own lowest tenth, for dates without a background;
            opacity 0.2.
        spread_allowance: how much the spread of a restless place may raise `cloud_rise`, at most.
        lift: rise of both B02 and B03 that cloud must show as well; green-up lowers B03.
        haze_allowance: level of the veil over all of the ring, in B02 - 0.5 B04, that counts as haze and not
            as cloud, because gain and offset of the date take it out.
        rayleigh_allowance: the same where the veil has the colour of clear air (L1C among L2A): it hides
            nothing.
        max_haze: rise of B02 over all of the ring from which the date is refused.
        min_contrast: share of the background's contrast that must be left under a veil.
        cloud_piece_m2: a piece of cloud is at least so large. Smaller ones are new roofs and plastic sheets.
        cloud_piece_alone_m2: the same without a background: there the old roofs are in the way as well.
        shadow_edge: step of the logarithm of reflectance within 70 m, in every band, over ground that is even
            in the background: the edge of a cloud's shadow. Moisture changes gradually, or where the soil
            does.
        shadow_edge_m2: ground with such a step from which shadow is believed.
        shadow_border_share: share of a shadow's border on even ground that must have such a step.
        shadow_depth: share of the light that must be missing in every band where no edge is in sight. Wet
            soil loses 0.42 at most.
        shadow_piece_m2: a piece of shadow is at least so large.
        ndsi: (B03 - B11) / (B03 + B11) of snow (Hall et al. 1995; Sen2Cor and Fmask use it likewise).
        white_rise: rise of B02 over the background by which snow is seen without B11.
        saturated_reflectance: no surface sends so much; such pixels aren't used.
        buffer_m: distance from cloud that isn't used.
        apart_m: the ring begins so far from the area: the light of white wagons spreads into the pixels
            beside.
    """

    min_clear_fraction: float = 0.8
    max_ring_cloud_fraction: float = 0.25
    max_ring_hidden_fraction: float = 0.5
    max_snow_fraction: float = 0.1
    min_sun_elevation_deg: float = 12.0
    cloud_rise: float = 0.035
    cloud_rise_alone: float = 0.06
    spread_allowance: float = 0.005
    lift: float = 0.02
    haze_allowance: float = 0.03
    rayleigh_allowance: float = 0.08
    max_haze: float = 0.1
    min_contrast: float = 0.4
    cloud_piece_m2: float = 6_000.0
    cloud_piece_alone_m2: float = 40_000.0
    shadow_edge: float = 0.3
    shadow_edge_m2: float = 1_000.0
    shadow_border_share: float = 0.3
    shadow_depth: float = 0.45
    shadow_piece_m2: float = 4_000.0
    ndsi: float = 0.4
    white_rise: float = 0.1
    saturated_reflectance: float = 2.0
    buffer_m: float = 30.0
    apart_m: float = 20.0


Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]


def odd(length_m: float) -> int:
    """The odd number of pixels nearest to a length, at least 1."""
    return max(1, 2 * round((length_m / PIXEL_M - 1) / 2) + 1)


FINE = odd(30.0)
"""Side in pixels of the box that evidence is averaged over."""
REACHES = (FINE, odd(90.0), odd(250.0))
"""Sides of the boxes that carry evidence across the area."""


def pixels(square_metres: float) -> float:
    """An area in pixels."""
    return square_metres / PIXEL_M**2


def _window_sum(plane: Plane, size: int) -> Plane:
    """Sum under a triangular window: two passes of a box of `size` pixels."""
    for _ in range(2):
        plane = np.asarray(
            cv2.boxFilter(plane, -1, (size, size), normalize=False, borderType=cv2.BORDER_CONSTANT)
        )
    return plane


class Neighbours:
    """The pixels of a mask as neighbours of every pixel: local means over them, at any reach.

    The weights of a window depend on the mask alone and are computed once.
    """

    def __init__(self, where: Mask) -> None:
        self.where = where
        self._weights: dict[int, Plane] = {}

    def fraction(self, size: int) -> Plane:
        """(H, W) share of the window around every pixel that lies in the mask, 0 to 1."""
        if size not in self._weights:
            self._weights[size] = _window_sum(self.where.astype(np.float32), size) / np.float32(size**4)
        return self._weights[size]

    def mean(self, plane: NDArray[np.generic], size: int) -> Plane:
        """Mean of the mask's pixels around every pixel, under a triangular window of two boxes of `size`.

        Args:
            plane: (H, W); outside the mask it may hold anything finite.
            size: side of the box in pixels.

        Returns:
            (H, W), 0 where no pixel of the mask is in reach.
        """
        fraction = self.fraction(size)
        total = _window_sum(np.where(self.where, plane, 0).astype(np.float32), size) / np.float32(size**4)
        # Sums of float32 leave crumbs where there is nothing; half a pixel at the window's rim is size**-4.
        none = np.float32(0.5 / size**4)
        return np.where(fraction > none, total / np.maximum(fraction, none), np.float32(0))

    def carried_across(self, plane: NDArray[np.generic]) -> Plane:
        """The local mean of the mask's pixels, carried on into the gaps between them.

        The narrowest of `REACHES` with a tenth of its weight in the mask decides, or else the mean of all.

        Args:
            plane: (H, W).

        Returns:
            (H, W), finite everywhere; 0 where the mask is empty.
        """
        overall = float(plane[self.where].mean()) if self.where.any() else 0.0
        result = np.full(plane.shape, overall, np.float32)
        for size in reversed(REACHES):
            result = np.where(self.fraction(size) >= 0.1, self.mean(plane, size), result)
        return result


def opened(plane: Plane, size: int) -> Plane:
    """Grey opening with a square: what is brighter only in strips or spots narrower than it is taken off."""
    square = np.ones((size, size), np.uint8)
    return np.asarray(cv2.morphologyEx(plane, cv2.MORPH_OPEN, square, borderType=cv2.BORDER_REPLICATE))


def lowest(plane: Plane, size: int) -> Plane:
    """Least value in the square of `size` pixels around every pixel."""
    return np.asarray(cv2.erode(plane, np.ones((size, size), np.uint8)))


def highest(plane: Plane, size: int) -> Plane:
    """Largest value in the square of `size` pixels around every pixel."""
    return np.asarray(cv2.dilate(plane, np.ones((size, size), np.uint8)))


def range_of(plane: Plane, size: int) -> Plane:
    """Largest less least value in the square of `size` pixels around every pixel."""
    return highest(plane, size) - lowest(plane, size)


def width_px(mask: Mask) -> float:
    """How wide a mask is at its widest place, in pixels."""
    inner = np.pad(mask, 1).astype(np.uint8)
    return 2.0 * float(cv2.distanceTransform(inner, cv2.DIST_L2, 3).max())


def grown(mask: Mask, reach: int) -> Mask:
    """The mask and everything within `reach` pixels of it."""
    if reach < 1 or not mask.any():
        return mask
    rows, columns = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    disc = (np.hypot(rows, columns) < reach + 0.5).astype(np.uint8)
    return np.asarray(cv2.dilate(mask.astype(np.uint8), disc) > 0)


def large_pieces(mask: Mask, pixels: float) -> Mask:
    """The connected pieces (eight neighbours) of a mask that have at least so many pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= pixels
    keep[0] = False
    return np.asarray(keep[labels])


def touching(weak: Mask, strong: Mask) -> Mask:
    """The connected pieces of `weak` and `strong` together that hold a pixel of `strong`."""
    count, labels = cv2.connectedComponents((weak | strong).astype(np.uint8), connectivity=8)
    keep = np.zeros(count, bool)
    keep[labels[strong]] = True
    keep[0] = False
    return np.asarray(keep[labels])


BLUE, GREEN, RED, NIR = range(4)
TEN_M = ("B02", "B03", "B04", "B08")

# With less ground than this around the area there is no ring to judge by, and the area is judged by itself.
_LEAST_RING_M2 = 5_000.0


@dataclass(frozen=True)
class ClearSkyInputs:
    """The planes of a date, brought into order.

    Attributes:
        now: (4, H, W) B02, B03, B04, B08; 0 where unseen.
        past: (4, H, W) the background, or None where there is none for half of the ring.
        spread: (H, W) spread of B02 over the past dates, 0 where unknown.
        swir: (H, W) B11 with NaN where there is none, or None.
        scl: (H, W) scene classification, or None.
        seen: (H, W) data, and not saturated.
        known: (H, W) seen, and the background too.
        ring: the pixels around the area, apart from it, by which the date is judged.
        ground: all pixels that are seen (and known where there is a background).
        patch: side of the square within which all must be bright for the area's own pixels to be cloud: wider
            than the yard, which wagons can fill.
        rules: the thresholds.
    """

    now: NDArray[np.float32]
    past: NDArray[np.float32] | None
    spread: Plane
    swir: Plane | None
    scl: NDArray[np.uint8] | None
    seen: Mask
    known: Mask
    ring: Neighbours
    ground: Neighbours
    patch: int
    rules: ClearSkyThresholds

    def over_area(self, found: Mask, own: Plane, *, weak: float, strong: float) -> Mask:
        """Carry what was found in the ring on over the area.

        The yard's own pixels change with every train, so they decide little: where the ring beside is mostly
        hidden the yard is too; where it is partly hidden the yard's own evidence counts; without the ring
        only evidence that fills a square wider than the yard does.

        Args:
            found: (H, W) in the ring.
            own: (H, W) the evidence in all pixels.
            weak: own evidence beside a ring that is partly hidden.
            strong: own evidence all over a square.

        Returns:
            (H, W) what was found, in and outside the ring.
        """
        beside = self.ring.carried_across(found.astype(np.float32))
        inner = (beside > 0.6) | ((own > weak) & (beside > 0.3)) | (opened(own, self.patch) > strong)
        return found | (inner & self.seen & ~self.ring.where)


def prepared_inputs(
    bands: tuple[str, ...],
    reflectance: NDArray[np.float32],
    scl: NDArray[np.uint8] | None,
    inside: Mask,
    ring: Mask,
    background: NDArray[np.float32] | None,
    spread: NDArray[np.float32] | None,
    rules: ClearSkyThresholds,
) -> ClearSkyInputs:
    """Bring the planes of a date into order.

    Raises:
        ValueError: a 10 m band is missing, the shapes differ, or no pixel is inside.
    """
    missing = [name for name in TEN_M if name not in bands]
    if missing:
        raise ValueError(f"the bands {', '.join(missing)} are missing")
    shape = inside.shape
    planes = {"reflectance": reflectance, "background": background, "spread": spread}
    for name, plane in planes.items():
        if plane is not None and plane.shape != (len(bands), *shape):
            raise ValueError(f"{name} has the shape {plane.shape}, not {(len(bands), *shape)}")
    if ring.shape != shape or (scl is not None and scl.shape != shape):
        raise ValueError(f"ring and scene classification must have the shape {shape} of the area")
    if not inside.any():
        raise ValueError("no pixel is inside the area")

    ten = [bands.index(name) for name in TEN_M]
    now = reflectance[ten].astype(np.float32)
    seen: Mask = np.asarray(np.isfinite(now).all(axis=0))
    now = np.where(seen, now, np.float32(0))
    seen &= (now < rules.saturated_reflectance).all(axis=0)
    if scl is not None:
        seen &= scl > 1  # 0 no data, 1 saturated or defective

    around = ring & ~grown(inside, round(rules.apart_m / PIXEL_M)) & seen
    if around.sum() < pixels(_LEAST_RING_M2):
        around = seen.copy()
    past = None
    known: Mask = np.zeros(shape, bool)
    if background is not None:
        past = background[ten].astype(np.float32)
        known = np.asarray(np.isfinite(past).all(axis=0) & seen)
        past = np.where(known, past, np.float32(0))
        if (known & around).sum() * 2 < around.sum() or not known.any():
            past = None
    drift = np.zeros(shape, np.float32)
    ground = seen
    if past is not None:
        around, ground = around & known, known
        if spread is not None:
            drift = np.nan_to_num(spread[ten[BLUE]]).astype(np.float32)
    width_m = width_px(inside) * PIXEL_M
    return ClearSkyInputs(
        now=now,
        past=past,
        spread=drift,
        swir=reflectance[bands.index("B11")].astype(np.float32) if "B11" in bands else None,
        scl=scl,
        seen=seen,
        known=known,
        ring=Neighbours(around),
        ground=Neighbours(ground),
        patch=odd(min(max(width_m + 40, 150), 300)),
        rules=rules,
    )
