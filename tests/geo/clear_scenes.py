"""A yard among fields at 10 m, in every weather, made from a seed: what the tests of clear sky look at."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

BANDS = ("B02", "B03", "B04", "B08", "B11")
SHAPE = (90, 160)

Plane = NDArray[np.float32]

# B02, B03, B04, B08, B11
_SOIL = np.array([0.10, 0.125, 0.16, 0.23, 0.30], np.float32)
_LEAVES = np.array([0.035, 0.075, 0.035, 0.45, 0.20], np.float32)
_STUBBLE = np.array([0.11, 0.15, 0.20, 0.30, 0.34], np.float32)
_BALLAST = np.array([0.10, 0.115, 0.13, 0.145, 0.18], np.float32)
_ROOFS = np.array(
    [[0.48, 0.52, 0.51, 0.46, 0.40], [0.09, 0.09, 0.08, 0.07, 0.10], [0.06, 0.08, 0.17, 0.21, 0.30]],
    np.float32,
)
WHITE = np.array([0.65, 0.66, 0.70, 0.70, 0.55], np.float32)
RUST = np.array([0.063, 0.087, 0.149, 0.168, 0.30], np.float32)
CLOUD = np.array([0.70, 0.69, 0.68, 0.69, 0.50], np.float32)
SNOW = np.array([0.75, 0.75, 0.74, 0.66, 0.10], np.float32)
FROST = np.array([0.31, 0.31, 0.31, 0.29, 0.20], np.float32)


def texture(rng: np.random.Generator, reach_px: float, shape: tuple[int, int] = SHAPE) -> Plane:
    """Smooth noise of mean 0 and standard deviation 1."""
    noise = cv2.GaussianBlur(rng.standard_normal(shape).astype(np.float32), (0, 0), reach_px)
    return np.asarray((noise - noise.mean()) / noise.std(), np.float32)


def blobs(rng: np.random.Generator, cover: float, reach_px: float, soft_px: float = 2.0) -> Plane:
    """Clouds' opacity, 0 to 1, with soft edges, over so much of the ground."""
    noise = texture(rng, reach_px)
    inner = (noise > np.quantile(noise, 1 - cover)).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(inner, (0, 0), soft_px))


@dataclass
class Place:
    """One yard and its surroundings; `day` is how it looks on some day."""

    seed: int
    azimuth_deg: float = 10.0
    half_width_px: float = 4.0
    inside: NDArray[np.bool_] = field(init=False)
    ring: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        rows, columns = np.indices(SHAPE, np.float32)
        rows, columns = rows - SHAPE[0] / 2 + 0.5, columns - SHAPE[1] / 2 + 0.5
        turn = np.deg2rad(self.azimuth_deg)
        self.along = columns * np.cos(turn) + rows * np.sin(turn)
        self.across = rows * np.cos(turn) - columns * np.sin(turn)
        self.inside = (np.abs(self.across) < self.half_width_px) & (np.abs(self.along) < 38)
        self.ring = ~self.inside
        seeds = rng.uniform((0, 0), SHAPE, (20, 2)) - np.array(SHAPE) / 2
        self.cell = ((rows[..., None] - seeds[:, 0]) ** 2 + (columns[..., None] - seeds[:, 1]) ** 2).argmin(
            axis=-1
        )
        self.tint = np.exp(rng.normal(0, 0.15, 20))[self.cell]
        self.rough = 1 + 0.06 * texture(rng, 0.7) + 0.06 * texture(rng, 4)
        self.vigour = rng.uniform(0.4, 1, 20)[self.cell]
        self.roofs = np.full((5, *SHAPE), np.nan, np.float32)
        for _ in range(25):
            top, left = rng.integers((0, 0), SHAPE)
            high, wide = rng.integers(1, 5, 2)
            self.roofs[:, top : top + high, left : left + wide] = rng.choice(_ROOFS)[:, None, None]
        self.roofs[:, self.inside] = np.nan

    def day(
        self,
        rng: np.random.Generator,
        *,
        green: float = 0.5,
        wet: float = 0.0,
        fill: float = 0.3,
        wagon: Plane = RUST,
        stubble: float = 0.0,
    ) -> Plane:
        """(5, H, W) without weather.

        Args:
            green: how far the fields are grown, 0 to 1.
            wet: share of the light that moisture takes from soil.
            fill: share of the tracks that is occupied.
            wagon: spectrum of the wagons.
            stubble: share of the fields that are newly cut.
        """
        leaves = np.clip(green * self.vigour * self.rough, 0, 1)
        bare = _SOIL[:, None, None] * self.tint * (1 - wet * np.clip(0.85 + 0.15 * texture(rng, 8), 0, 1))
        field_ = bare * (1 - leaves) + _LEAVES[:, None, None] * leaves
        cut = np.isin(self.cell, np.flatnonzero(rng.random(20) < stubble))
        planes = np.where(cut, _STUBBLE[:, None, None], field_) * self.rough
        planes[:, self.inside] = (_BALLAST[:, None, None] * self.rough * (1 - wet))[:, self.inside]
        for track in np.arange(0.5 - self.half_width_px, self.half_width_px - 0.4, 0.5):
            start = rng.uniform(-38, 38 - 76 * fill)
            on = (self.along > start) & (self.along < start + 76 * fill) & self.inside
            share = 0.31 * np.exp(-2 * (self.across - track) ** 2) / 1.25 * on
            planes = planes * (1 - share) + wagon[:, None, None] * share
        planes = np.where(np.isnan(self.roofs), planes, self.roofs)
        return np.asarray(planes * rng.normal(1, 0.02, (5, 1, 1)), np.float32)

    def seen(self, rng: np.random.Generator, planes: NDArray[Any], haze: float = 0.0) -> Plane:
        """A day as the sensor sees it: point spread, a shift of some metres, haze, noise."""
        shift = np.array([[1, 0, rng.normal(0, 0.3)], [0, 1, rng.normal(0, 0.3)]], np.float32)
        veil = haze * np.array([1.0, 0.8, 0.6, 0.3, 0.1])
        return np.stack(
            [
                cv2.warpAffine(
                    cv2.GaussianBlur(plane.astype(np.float32), (0, 0), 0.5),
                    shift,
                    SHAPE[::-1],
                    borderMode=cv2.BORDER_REPLICATE,
                )
                * (1 - haze)
                + veil[band]
                + rng.normal(0, 0.002, SHAPE)
                for band, plane in enumerate(planes)
            ]
        ).astype(np.float32)

    def past(self, *, green: float = 0.5, days: int = 5) -> tuple[Plane, Plane]:
        """Median and spread of some clear days."""
        median, spread = _past(self.seed, self.azimuth_deg, green, days)
        return median.copy(), spread.copy()

    def _past(self, green: float, days: int) -> tuple[Plane, Plane]:
        rng = np.random.default_rng([self.seed, 1])
        stack = np.stack(
            [
                self.seen(
                    rng,
                    self.day(
                        rng, green=float(np.clip(rng.normal(green, 0.1), 0, 1)), wet=rng.uniform(0, 0.2)
                    ),
                )
                for _ in range(days)
            ]
        )
        median = np.median(stack, axis=0)
        return median, np.asarray(1.48 * np.median(np.abs(stack - median), axis=0), np.float32)

    def scl(self, planes: Plane) -> NDArray[np.uint8]:
        """The scene classification of a clear day: bright things are cloud to it."""
        classes = np.where(planes[3] > 2.3 * planes[2], 4, 5).astype(np.uint8)
        classes[planes[0] > 0.25] = 9
        classes[planes[3] < 0.09] = 2
        return classes


@cache
def _past(seed: int, azimuth_deg: float, green: float, days: int) -> tuple[Plane, Plane]:
    return Place(seed, azimuth_deg)._past(green, days)
