"""Where one date lies beside the others, to a fraction of a pixel, and how its brightness compares.

A translation, found on stable ground outside the tracks by least squares on image gradients (B. D. Lucas and
T. Kanade, "An iterative image registration technique with an application to stereo vision", IJCAI 1981), with
a gain and an offset a band. All bands are taken together with the covariance of what remains (moisture and
haze change them alike, so that colours tell more than brightness), slow change over the ground is filtered
out, and each cell weighs by how well its own value repeats from date to date; weights forgive what has
changed (J. W. Tukey's biweight, iteratively: P. J. Huber 1964). What is known of a date's place before
looking, the product's geolocation, is part of the solution (maximum a posteriori), so that where the ground
shows little the uncertainty is that of the product and not more. Then each band's own displacement beside
it: the instrument sees a place band after band, and by specification the 10 m bands lie within 3 m of each
other (ESA, GSC Sentinel-2 PDGS Operations Concept Document).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from geo.grid import Grid
from geo.sentinel2.chip import PIXEL_M
from geo.sentinel2.constellation import SENTINEL2
from geo.sentinel2.site import TrackAlignedBands

Bands = NDArray[np.float32]

_STEPS = 8
_CONVERGED_PX = 0.01
_HUBER = 1.5
_TUKEY = 3.0
# Neighbouring residuals are alike over about 30 m, so that nine cells tell as much as one alone.
_CELLS_A_FACT = 9.0
# Shadows that move with the season pull all one way: what the residuals say of the place's error is too
# little by so much (variance; from simulated series with known places).
_SHARED_ERROR = 12.0
_SMOOTH_CELLS = 2.0  # change that is wider than this is moisture, haze or season, and not displacement
_SHRINK = 0.05  # of the bands' covariance towards independent bands
_LEAST_NOISE = 5e-4
_LEAST_LIKENESS = 0.2  # correlation of fine texture below which an image shows other ground
PRIOR_SD_M = SENTINEL2.prior_sd_m
"""How far a date usually lies from the others, metres an axis, before looking at its ground."""
# What is known of a date's gain and offset before looking: a tenth, and 0.03 of reflectance.
_GAIN_SD, _OFFSET_SD = 0.1, 0.03
# How far a band is expected to lie beside the others, grid pixels, and how many cells tell as much as one
# alone of that: what pulls all bands alike isn't in it (both from simulated series with known places: 0.70 m
# of a band's error became 0.37 m).
_BAND_SD_PX = 0.1
_CELLS_A_BAND_FACT = 3.0
_FEWEST_CELLS = 150
_GREENEST = 0.35  # NDVI from which ground is left out of gain and offset: plants change by season
_FURTHEST_PX = 3.0


@dataclass(frozen=True)
class Registration:
    """Where a date lies beside the place's other dates.

    Attributes:
        dx_m: Displacement of the image's content to the east, metres.
        dy_m: To the south, metres.
        residual_m: Standard error of the displacement, metres.
        converged: Whether the iteration came to rest in sight of the start.
        gain: By band: what reflectance of the composite was multiplied by on this date.
        offset: By band: and what was added.
        noise: By band: robust spread of what remains on stable ground, reflectance.
        band_shift_m: By band: its displacement beside the image's, metres east and south.
    """

    dx_m: float
    dy_m: float
    residual_m: float
    converged: bool
    gain: tuple[float, ...]
    offset: tuple[float, ...]
    noise: tuple[float, ...]
    band_shift_m: tuple[tuple[float, float], ...]

    def sample(
        self, planes: TrackAlignedBands, frame: Grid, middle_m: tuple[float, float] = (0.0, 0.0)
    ) -> tuple[Bands, NDArray[np.bool_]]:
        """The date's values at a frame's cells, and where they are known.

        Args:
            planes: Of the bands that were registered.
            frame: Of the yard.
            middle_m: Where the cells are to lie, metres east and south of the frame's place.
        """
        beside = [(x / PIXEL_M, y / PIXEL_M) for x, y in self.band_shift_m]
        return planes.sample(frame, *self.displacement_px(middle_m), beside)

    def displacement_px(self, middle_m: tuple[float, float] = (0.0, 0.0)) -> tuple[float, float]:
        """Where the image lies beside that place, grid pixels."""
        return (self.dx_m - middle_m[0]) / PIXEL_M, (self.dy_m - middle_m[1]) / PIXEL_M

    def level(self, values: Bands) -> Bands:
        """Reflectances (bands, h, w) of this date as they would read under the composite's light."""
        gain = np.asarray(self.gain, np.float32)[:, None, None]
        offset = np.asarray(self.offset, np.float32)[:, None, None]
        return np.asarray((values - offset) / gain, dtype=np.float32)

    @classmethod
    def first(cls, bands: int) -> Registration:
        """The place of the first date, beside which the others are laid."""
        return cls(0.0, 0.0, 0.0, True, (1.0,) * bands, (0.0,) * bands, (0.0,) * bands, ((0.0, 0.0),) * bands)


def register(
    planes: TrackAlignedBands,
    frame: Grid,
    reference: Bands,
    stable: NDArray[np.bool_],
    *,
    spread: Bands | None = None,
    near: NDArray[np.bool_] | None = None,
    prior_sd_m: float = PRIOR_SD_M,
    start_m: tuple[float, float] = (0.0, 0.0),
) -> Registration:
    """Find the displacement, gain and offset of a date against a composite.

    Args:
        planes: The date's chip; its bands are those of the reference, B04 and B08 last.
        frame: Of the cells to compare; may be wider than the yard's.
        reference: (bands, h, w) composite, NaN where unknown.
        stable: (h, w) cells to compare: clear, and outside the yard.
        spread: (bands, h, w) standard deviation of the composite's dates in each cell: what repeats badly
            weighs little. Alike everywhere by default.
        near: (h, w) cells that gain, offset and noise are taken from in the end; all that are compared by
            default. Haze differs over a kilometre, the place doesn't.
        prior_sd_m: How far from the start the date may lie before looking, standard deviation an axis.
        start_m: Where to begin, metres east and south.
    """
    texture = _CompositeTexture.of(reference, stable, spread)
    starts = [start_m, *((start_m[0] + e, start_m[1] + s) for e, s in ((12, 0), (-12, 0), (0, 12), (0, -12)))]
    first = _descend(planes, frame, texture, starts[0], start_m, prior_sd_m)
    if not first.converged:
        tries = [first, *(_descend(planes, frame, texture, at, start_m, prior_sd_m) for at in starts[1:])]
        first = min(tries, key=lambda one: (not one.converged, float(np.mean(one.noise)), one.residual_m))
    if not first.converged or not _same_ground(planes, frame, texture, first):
        return replace(first, converged=False)
    return _band_by_band(planes, frame, texture, near, first)


class _CompositeTexture(NamedTuple):
    """A composite prepared to be compared with.

    Attributes:
        reference: (bands, h, w).
        known: (h, w) cells to compare.
        slope_x: (bands, h, w) along the rows, a cell.
        slope_y: Along the columns.
        fine_x: The same without what changes slowly over the ground.
        fine_y: The same.
        variance: (bands, h, w) of the composite's dates; 0 where that isn't known.
    """

    reference: Bands
    known: NDArray[np.bool_]
    slope_x: Bands
    slope_y: Bands
    fine_x: Bands
    fine_y: Bands
    variance: Bands

    @classmethod
    def of(cls, reference: Bands, stable: NDArray[np.bool_], spread: Bands | None) -> _CompositeTexture:
        """Prepare a composite."""
        slope_y, slope_x = (np.asarray(slope) for slope in np.gradient(reference, axis=(1, 2)))
        known = stable & np.isfinite(reference).all(axis=0)
        known = known & np.isfinite(slope_x).all(axis=0) & np.isfinite(slope_y).all(axis=0)
        variance = np.zeros_like(reference) if spread is None else np.nan_to_num(spread) ** 2
        return cls(reference, known, slope_x, slope_y, _fine(slope_x, known), _fine(slope_y, known), variance)


def _fine(planes: Bands, known: NDArray[np.bool_]) -> Bands:
    """Planes (bands, h, w) without what changes slowly over the known cells."""
    weight = np.maximum(cv2.GaussianBlur(known.astype(np.float32), (0, 0), _SMOOTH_CELLS), 1e-3)
    filled = np.where(known, planes, 0).astype(np.float32)
    slow = np.stack([cv2.GaussianBlur(one, (0, 0), _SMOOTH_CELLS) for one in filled]) / weight
    return np.asarray(filled - slow, dtype=np.float32)


def _same_ground(
    planes: TrackAlignedBands, frame: Grid, texture: _CompositeTexture, found: Registration
) -> bool:
    """Whether an image shows the composite's ground: whether any of its fine texture is the same."""
    current, here = found.sample(planes, frame)
    use = texture.known & here
    ours = _fine(current, use)[:, use].astype(np.float64)
    theirs = _fine(texture.reference, use)[:, use].astype(np.float64)
    # Clipped, so that one bright roof that has come or gone doesn't decide.
    a, b = (np.clip(one, *np.quantile(one, (0.02, 0.98), axis=1)[..., None]) for one in (ours, theirs))
    a, b = (one - one.mean(axis=1, keepdims=True) for one in (a, b))
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    alike = (a * b).sum(axis=1) / np.maximum(scale, 1e-12)
    return float(alike.mean()) >= _LEAST_LIKENESS


def _band_by_band(
    planes: TrackAlignedBands,
    frame: Grid,
    texture: _CompositeTexture,
    near: NDArray[np.bool_] | None,
    whole: Registration,
) -> Registration:
    """Each band's own place beside that of all: one step of least squares, held back by what is usual."""
    reference, known = texture.reference, texture.known
    current, here = whole.sample(planes, frame)
    use = known & here
    r, c = reference[:, use].astype(np.float64), current[:, use].astype(np.float64)
    gain, offset, noise, weight = _light(r, c)
    t = frame.transform
    shifts = []
    for b in range(len(reference)):
        rest = c[b] - gain[b] * r[b] - offset[b]
        slopes = gain[b] * np.stack([texture.slope_x[b][use], texture.slope_y[b][use]])
        w = weight[b] / noise[b] ** 2 / _CELLS_A_BAND_FACT
        normal = (w * slopes) @ slopes.T + np.eye(2) / _BAND_SD_PX**2
        e = -np.linalg.solve(normal, (w * slopes) @ rest)
        shifts.append((float(t.a * e[0] + t.b * e[1]) * PIXEL_M, float(t.d * e[0] + t.e * e[1]) * PIXEL_M))
    placed = replace(whole, band_shift_m=tuple(shifts))
    current, here = placed.sample(planes, frame)
    use = known & here
    if near is not None and (use & near).sum() >= _FEWEST_CELLS:
        use &= near
    gain, offset, noise, _ = _light(reference[:, use].astype(np.float64), current[:, use].astype(np.float64))
    return replace(
        placed, gain=tuple(gain.tolist()), offset=tuple(offset.tolist()), noise=tuple(noise.tolist())
    )


def _descend(
    planes: TrackAlignedBands,
    frame: Grid,
    texture: _CompositeTexture,
    start_m: tuple[float, float],
    expected_m: tuple[float, float],
    prior_sd_m: float,
) -> Registration:
    reference, bands = texture.reference, len(texture.reference)
    dx, dy = start_m[0] / PIXEL_M, start_m[1] / PIXEL_M
    t = frame.transform
    turn = np.array([[t.a, t.b], [t.d, t.e]])
    expected = np.array(expected_m) / PIXEL_M
    prior = np.eye(2) * (PIXEL_M / prior_sd_m) ** 2
    gain, offset, noise = np.ones(bands), np.zeros(bands), np.full(bands, 0.02)
    step, error = math.inf, math.inf
    for _ in range(_STEPS):
        current, here = planes.sample(frame, dx, dy)
        use = texture.known & here
        if use.sum() < _FEWEST_CELLS:
            break
        r, c = reference[:, use].astype(np.float64), current[:, use].astype(np.float64)
        gain, offset, noise, _ = _light(r, c)
        rest = current - (gain[:, None, None] * reference + offset[:, None, None]).astype(np.float32)
        normal, pull = _equations(_fine(rest, use)[:, use], texture, use, gain)
        if np.linalg.cond(normal) > 1e6:
            break
        # An image moved by e shows at x what the composite shows at x - e.
        away = np.linalg.solve(turn, np.array([dx, dy]) - expected)
        e = -np.linalg.solve(normal + prior, pull + prior @ away)
        error = math.sqrt(float(np.trace(np.linalg.inv(normal + prior))))
        move = turn @ e
        step = float(np.hypot(*move))
        scale = min(1.0, 1.0 / step) if step else 1.0
        dx, dy = dx + scale * move[0], dy + scale * move[1]
        if step < _CONVERGED_PX or math.hypot(dx, dy) > 2 * _FURTHEST_PX:
            break
    far = math.hypot(dx - start_m[0] / PIXEL_M, dy - start_m[1] / PIXEL_M)
    return Registration(
        dx_m=float(dx) * PIXEL_M,
        dy_m=float(dy) * PIXEL_M,
        residual_m=error * PIXEL_M,
        converged=bool(step < 5 * _CONVERGED_PX and far <= _FURTHEST_PX),
        gain=tuple(gain.tolist()),
        offset=tuple(offset.tolist()),
        noise=tuple(noise.tolist()),
        band_shift_m=((0.0, 0.0),) * bands,
    )


def _equations(
    rest: Bands, texture: _CompositeTexture, use: NDArray[np.bool_], gain: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Normal matrix (2, 2) and right side (2,) of a step, in cells of the frame.

    Args:
        rest: (bands, n) what remains in the compared cells, without what changes slowly.
        texture: Of the composite.
        use: (h, w) the compared cells.
        gain: By band.
    """
    noise = np.maximum(
        1.4826 * np.median(np.abs(rest - np.median(rest, axis=1, keepdims=True)), axis=1), _LEAST_NOISE
    )[:, None]
    # What repeats badly weighs little: variance in units of the date's own noise, all bands together.
    own = np.sqrt(1.0 + (texture.variance[:, use] / noise**2).mean(axis=0))
    z = (rest / noise / own).astype(np.float64)
    slopes = gain[:, None] * np.stack([texture.fine_x[:, use], texture.fine_y[:, use]]) / noise / own
    size = (z**2).mean(axis=0)
    weight = np.clip(1.0 - size / (_TUKEY**2 * max(float(np.median(size)), 1e-6)), 0.0, None) ** 2
    covariance = (weight * z) @ z.T / max(float(weight.sum()), 1.0) + 1e-6 * np.eye(len(z))
    covariance += _SHRINK * (np.diag(np.diag(covariance)) - covariance)
    told = np.einsum("bc,kcn->kbn", np.linalg.inv(covariance), slopes) * weight
    told /= _CELLS_A_FACT * _SHARED_ERROR
    return np.einsum("kbn,lbn->kl", told, slopes), np.einsum("kbn,bn->k", told, z)


def _light(
    reference: NDArray[np.float64], current: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Gain, offset and robust spread of each band, and the weight (bands, n) of each cell."""
    bands, n = reference.shape
    gain, offset, noise = np.ones(bands), np.zeros(bands), np.ones(bands)
    weight = np.ones((bands, n))
    red, nir = reference[-2], reference[-1]
    plants = (nir - red) / np.maximum(nir + red, 0.02) > _GREENEST
    bare = np.where(plants, 0.05, 1.0)
    for b in range(bands):
        x, y = reference[b], current[b]
        w = bare.copy()
        for _ in range(4):
            rest = y - gain[b] * x - offset[b]
            middle = np.median(rest[bare > 0.5]) if (bare > 0.5).any() else np.median(rest)
            noise[b] = max(1.4826 * float(np.median(np.abs(rest - middle))), 0.001)
            far = np.abs(rest) / (_HUBER * noise[b])
            robust = 1.0 / np.maximum(far, 1.0)
            w = bare * robust
            k = 1.0 / (_CELLS_A_FACT * noise[b] ** 2)
            a11 = k * (w * x * x).sum() + 1 / _GAIN_SD**2
            a12 = k * (w * x).sum()
            a22 = k * w.sum() + 1 / _OFFSET_SD**2
            b1 = k * (w * x * y).sum() + 1 / _GAIN_SD**2
            b2 = k * (w * y).sum()
            determinant = a11 * a22 - a12 * a12
            gain[b] = (a22 * b1 - a12 * b2) / determinant
            offset[b] = (a11 * b2 - a12 * b1) / determinant
        # What has changed for good (a shadow that has moved with the season, a new roof) must not pull at
        # all.
        weight[b] = np.clip(1.0 - (np.abs(rest - middle) / (_TUKEY * noise[b])) ** 2, 0.0, None) ** 2
    return gain, offset, noise, weight
