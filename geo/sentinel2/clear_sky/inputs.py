"""One date over one area and what was there before: what the tests for cloud, shadow and snow look at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geo.sentinel2.clear_sky.neighbourhood import Mask, Neighbours, Plane, grown, odd, opened, width_px
from geo.sentinel2.clear_sky.thresholds import ClearSkyThresholds

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
        fine: side in pixels of the box that evidence is averaged over (30 m).
        reaches: sides of the boxes that carry evidence across the area.
        patch: side of the square within which all must be bright for the area's own pixels to be cloud: wider
            than the yard, which wagons can fill.
        pixel_m: side of a pixel.
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
    fine: int
    reaches: tuple[int, ...]
    patch: int
    pixel_m: float

    def pixels(self, square_metres: float) -> float:
        """An area in pixels."""
        return square_metres / self.pixel_m**2

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
        beside = self.ring.carried_across(found.astype(np.float32), self.reaches)
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
    pixel_m: float,
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

    around = ring & ~grown(inside, round(rules.apart_m / pixel_m)) & seen
    if around.sum() * pixel_m**2 < _LEAST_RING_M2:
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
    width_m = width_px(inside) * pixel_m
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
        fine=odd(30, pixel_m),
        reaches=(odd(30, pixel_m), odd(90, pixel_m), odd(250, pixel_m)),
        patch=odd(min(max(width_m + 40, 150), 300), pixel_m),
        pixel_m=pixel_m,
    )
