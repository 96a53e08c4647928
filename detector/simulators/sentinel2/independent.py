"""A second, simpler simulator of yards at 10 m: what holds in one simulator only isn't to be learned.

It shares no design of wagon, no texture and no drawing with `detector.simulators.sentinel2.renderer`. A
yard is a strip of parallel tracks on an arc, drawn in cells of 2 m along and 1 m across them, blurred, and
sampled on the satellite's grid.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from geo.grid import Grid
from geo.sentinel2.chip import PIXEL_M, Chip

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
BANDS = ("B02", "B03", "B04", "B08")

_ALONG_M, _ACROSS_M = 2.0, 1.0  # of a cell
_VERGE_M, _END_M = 130.0, 160.0  # ground beside the tracks, and beyond their ends
_WAGON_WIDTH_M, _WAGON_HEIGHT_M, _GAP_M = 3.1, 3.6, 0.8
_MOST_WAGONS = 150
_FWHM_M = (11.0, 13.5)
_FWHM_SIGMAS = 2.355
_BAND_SHIFT_M = 1.0
_SIGNAL_TO_NOISE = 140.0
_LOWEST_SUN_DEG = 20.0
_CORNER = (500_000.0, 4_700_000.0)
_CRS = CRS.from_epsg(32652)

# Reflectance in blue, green, red and near infrared.
_SOIL, _BED = np.array([0.10, 0.12, 0.145, 0.20]), np.array([0.10, 0.11, 0.125, 0.15])
_PLANTS, _ROAD, _ROOF = (
    np.array([0.045, 0.07, 0.06, 0.28]),
    np.array([0.11, 0.12, 0.13, 0.15]),
    np.array([0.9, 1.0, 1.05, 1.1]),
)
_WAGONS = np.array(
    [
        [0.06, 0.06, 0.07, 0.09],  # black tanks
        [0.09, 0.10, 0.13, 0.17],  # rusty gondolas
        [0.05, 0.07, 0.12, 0.15],  # red oxide
        [0.22, 0.24, 0.25, 0.26],  # light grey hoppers
        [0.30, 0.31, 0.32, 0.33],  # white containers
        [0.08, 0.12, 0.10, 0.16],  # green
        [0.07, 0.10, 0.15, 0.12],  # brown-red
        [0.12, 0.13, 0.15, 0.18],  # weathered
        [0.16, 0.19, 0.24, 0.28],  # sand
        [0.10, 0.09, 0.09, 0.10],  # coal
        [0.18, 0.19, 0.20, 0.23],  # bare metal
    ]
)
_LONG = (4, 7)  # types of which half are 20 to 26 m long


@dataclass(frozen=True)
class SimpleWagon:
    """A wagon of a rake.

    Attributes:
        length_m: Coupler to coupler.
        reflectance: (4,) of its roof or load.
    """

    length_m: float
    reflectance: F64


@dataclass(frozen=True)
class SimpleRake:
    """Wagons coupled together: on which track, and from where along it, metres."""

    track: int
    start_m: float
    wagons: tuple[SimpleWagon, ...]

    @property
    def end_m(self) -> float:
        """Where it ends."""
        return self.start_m + sum(wagon.length_m for wagon in self.wagons)


@dataclass
class StripYard:
    """A yard and what stands in it.

    Attributes:
        rng: Of everything that happens there.
        length_m: Of its tracks.
        track_m: Where each track's middle lies across the strip.
        azimuth_rad: Direction of the tracks in the middle, clockwise from north.
        radius_m: Of the arc, negative to the other side.
        ground: (across, along, 4) reflectance on a dry day, at the height of the season.
        plants: (across, along) where something grows.
        latitude_deg: Decides the sun.
        jitter_m: Standard deviation of a date's place, an axis.
        wet_share: How often the ground is wet.
        level: Usual number of wagons.
        departing: Share of the rakes that are gone by the next date.
        mix: Share of each type of wagon.
        rakes: What stands there now.
        wet: How wet the ground was on the last date.
    """

    rng: np.random.Generator
    length_m: float
    track_m: tuple[float, ...]
    azimuth_rad: float
    radius_m: float
    ground: F32
    plants: NDArray[np.bool_]
    latitude_deg: float
    jitter_m: float
    wet_share: float
    level: float
    departing: float
    mix: F64
    rakes: list[SimpleRake] = field(default_factory=list)
    wet: float = 0.0

    @classmethod
    def random(cls, seed: int, number: int) -> StripYard:
        """A yard by chance; equal seeds and numbers give equal yards."""
        rng = np.random.default_rng([seed, number, 777])
        tracks, spacing = int(rng.integers(3, 13)), rng.uniform(4.6, 5.6)
        length = rng.uniform(600.0, 1180.0)
        middle = tuple(_VERGE_M + spacing * (k + 0.5) for k in range(tracks))
        shape = int((2 * _VERGE_M + tracks * spacing) / _ACROSS_M), int((length + 2 * _END_M) / _ALONG_M)
        ground, plants = _ground(rng, shape, middle)
        return cls(
            rng=rng,
            length_m=length,
            track_m=middle,
            azimuth_rad=rng.uniform(0.0, math.pi),
            radius_m=float(rng.uniform(1500.0, 12_000.0) * rng.choice([-1, 1])),
            ground=ground,
            plants=plants,
            latitude_deg=rng.uniform(25.0, 58.0),
            jitter_m=rng.uniform(2.0, 4.0),
            wet_share=rng.uniform(0.1, 0.5),
            level=float(np.exp(rng.uniform(math.log(2.0), math.log(110.0)))),
            departing=rng.uniform(0.15, 0.85),
            mix=rng.dirichlet(np.full(len(_WAGONS), 0.6)),
        )

    @property
    def middle_m(self) -> tuple[float, float]:
        """The middle of the strip, across and along it."""
        across, along = self.plants.shape
        return across * _ACROSS_M / 2, along * _ALONG_M / 2

    @property
    def count(self) -> int:
        """Wagons that stand there."""
        return sum(len(rake.wagons) for rake in self.rakes)

    @property
    def occupied_m(self) -> float:
        """Track length that they take, coupler to coupler."""
        return sum(rake.end_m - rake.start_m for rake in self.rakes)

    # --------------------------------------------------------------------------------------- its traffic

    def next_date(self, wanted: float | None = None) -> None:
        """Let rakes depart and arrive until the next date.

        Args:
            wanted: About how many wagons are to stand there then; by default what is usual, now and then none
                or far more.
        """
        rng = self.rng
        if wanted is None:
            wanted = self.level * math.exp(rng.normal(0.0, 0.35))
            event = rng.random()
            if event < 0.08:
                wanted = 0.0
            elif event < 0.18:
                wanted = self.level * rng.uniform(1.5, 4.0)
            wanted = min(wanted, float(_MOST_WAGONS))
        self.rakes = [one for one in self.rakes if wanted > 0 and rng.random() > self.departing]
        while self.count > wanted * 1.1 + 1:
            self.rakes.pop(int(rng.integers(len(self.rakes))))
        for _ in range(60):
            room = wanted - self.count
            if room <= 1:
                break
            rake = self._arriving(int(min(max(1, rng.poisson(10)), room + 1)))
            if rake is not None:
                self.rakes.append(rake)

    def _arriving(self, number: int) -> SimpleRake | None:
        """A rake where there is room; None if none was found."""
        rng = self.rng
        track, usual = int(rng.integers(len(self.track_m))), int(rng.choice(len(_WAGONS), p=self.mix))
        mixed, shade = rng.random() < 0.3, math.exp(rng.normal(0.0, 0.12))
        wagons = []
        for _ in range(number):
            kind = int(rng.choice(len(_WAGONS), p=self.mix)) if mixed else usual
            long = kind in _LONG and rng.random() < 0.5
            colour = _WAGONS[kind] * shade * math.exp(rng.normal(0.0, 0.16)) + rng.normal(0.0, 0.01, 4)
            wagons.append(
                SimpleWagon(
                    float(rng.uniform(20.0, 26.0) if long else rng.uniform(14.0, 15.0)),
                    np.clip(colour, 0.02, 0.6),
                )
            )
        total = sum(wagon.length_m for wagon in wagons)
        if total > self.length_m - 20.0:
            return None
        start = _END_M + rng.uniform(0.0, self.length_m - total)
        taken = (
            other.track == track and start < other.end_m + 5.0 and other.start_m < start + total + 5.0
            for other in self.rakes
        )
        return None if any(taken) else SimpleRake(track, start, tuple(wagons))

    # ---------------------------------------------------------------------------------- what is seen of it

    def chip(self, when: dt.datetime, sun: tuple[float, float], name: str) -> Chip:
        """The acquisition of a date.

        Args:
            when: UTC.
            sun: Azimuth and elevation, degrees.
            name: Id of the chip.
        """
        rng, grid = self.rng, self.grid
        sun = sun[0], max(sun[1], _LOWEST_SUN_DEG)
        image, self.wet = self._image(when, sun)
        size = grid.shape[0]
        centres = (np.arange(size) + 0.5 - size / 2) * PIXEL_M
        east, north = np.meshgrid(centres, -centres)
        shift = rng.normal(0.0, self.jitter_m, 2)
        seen = []
        for band in np.moveaxis(image, -1, 0):
            sigma = rng.uniform(*_FWHM_M) / _FWHM_SIGMAS
            soft = cv2.GaussianBlur(
                np.ascontiguousarray(band), (0, 0), sigma / _ALONG_M, sigmaY=sigma / _ACROSS_M
            )
            e, s = shift + rng.normal(0.0, _BAND_SHIFT_M, 2)
            along, across = self._in_strip(east - e, north + s)
            at = (along / _ALONG_M - 0.5).astype(np.float32), (across / _ACROSS_M - 0.5).astype(np.float32)
            seen.append(cv2.remap(soft, *at, cv2.INTER_LINEAR, borderValue=math.nan))
        haze = min(rng.exponential(0.006), 0.05)
        gain = 1 + rng.normal(0.0, 0.05) + rng.normal(0.0, 0.015, 4)
        values = np.stack(seen) * gain[:, None, None]
        values += haze * np.array([1.0, 0.75, 0.55, 0.3])[:, None, None]
        values += values / _SIGNAL_TO_NOISE * rng.standard_normal(values.shape)
        values[:, ~np.isfinite(values).all(axis=0)] = np.nan
        return Chip(
            id=name,
            datetime=when,
            platform="Sentinel-2A",
            relative_orbit=1,
            bands=BANDS,
            reflectance=np.round(values, 4).astype(np.float32),
            transform=grid.transform,
            crs=grid.crs,
            sun_azimuth_deg=sun[0],
            sun_elevation_deg=sun[1],
            level="L2A",
        )

    def _image(self, when: dt.datetime, sun: tuple[float, float]) -> tuple[F32, float]:
        """(across, along, 4) reflectance on a date, sharp, and how wet the ground is."""
        rng, shape = self.rng, self.plants.shape
        growth = 0.5 + 0.5 * math.sin(2 * math.pi * (when.timetuple().tm_yday - 110) / 365.25)
        image = self.ground.copy()
        image[self.plants] *= np.array([1.0, 1.0, 1.25 - 0.4 * growth, 0.7 + 0.5 * growth], np.float32)
        wet = float(rng.uniform(0.2, 1.0) if rng.random() < self.wet_share else rng.uniform(0.0, 0.12))
        patches = 0.55 + 0.25 * (_texture(rng, shape, 20.0) + _texture(rng, shape, 60.0))
        light = 1 - 0.42 * wet * np.clip(patches, 0.0, 1.0)
        light *= 1 + 0.02 * _texture(rng, shape, 6.0)
        across = (np.arange(shape[0]) + 0.5) * _ACROSS_M
        along = (np.arange(shape[1]) + 0.5) * _ALONG_M
        half = _WAGON_WIDTH_M / 2
        shaded = np.zeros(shape, np.bool_)
        reach, aside = self._shadow(sun)
        for rake in self.rakes:
            middle = self.track_m[rake.track]
            for height in np.linspace(0.15, 1.0, 6) * _WAGON_HEIGHT_M:
                rows = np.abs(across - middle - aside * height) < half
                columns = (along > rake.start_m + reach * height) & (along < rake.end_m + reach * height)
                shaded[np.ix_(rows, columns)] = True
        image *= np.where(shaded, 0.45 * light, light)[..., None]
        for rake in self.rakes:
            rows = np.abs(across - self.track_m[rake.track]) < half
            start = rake.start_m
            for wagon in rake.wagons:
                end = start + wagon.length_m
                columns = (along > start + _GAP_M / 2) & (along < end - _GAP_M / 2)
                image[np.ix_(rows, columns)] = wagon.reflectance
                start = end
        return image, wet

    def _shadow(self, sun: tuple[float, float]) -> tuple[float, float]:
        """Shadow of a metre of height, metres along and across the strip."""
        away, length = math.radians(sun[0] + 180.0), 1.0 / math.tan(math.radians(sun[1]))
        turn = away - self.azimuth_rad
        return length * math.cos(turn), length * math.sin(turn)

    # ------------------------------------------------------------------------------------- where it lies

    @property
    def grid(self) -> Grid:
        """The satellite's grid, with the yard in its middle."""
        size = 2 * (int(math.hypot(*self.middle_m) / PIXEL_M) + 3)
        return Grid((size, size), Affine(PIXEL_M, 0.0, _CORNER[0], 0.0, -PIXEL_M, _CORNER[1]), _CRS)

    def occupied(self) -> F64:
        """Every metre of track under wagons, (n, 2) grid pixels."""
        points = [np.empty((0, 2))]
        for one in self.rakes:
            along = np.arange(one.start_m + 0.5, one.end_m, 1.0)
            points.append(self._on_grid(along, np.full(len(along), self.track_m[one.track])))
        return np.concatenate(points)

    def lines(self) -> list[shapely.LineString]:
        """The tracks in grid pixels, as somebody draws them: half a metre or so aside."""
        along = np.linspace(_END_M, _END_M + self.length_m, 60)
        aside = self.rng.normal(0.0, 0.7, 2)
        return [shapely.LineString(self._on_grid(along, np.full(60, t), aside)) for t in self.track_m]

    def outline(self) -> shapely.Polygon:
        """A boundary around the tracks, in grid pixels."""
        along = np.linspace(_END_M - 10.0, _END_M + 10.0 + self.length_m, 60)
        low, high = np.full(60, self.track_m[0] - 8.0), np.full(60, self.track_m[-1] + 8.0)
        return shapely.Polygon(np.concatenate([self._on_grid(along, low), self._on_grid(along[::-1], high)]))

    def _in_strip(self, east: F64, north: F64) -> tuple[F64, F64]:
        """Metres from the middle of the grid to metres along and across the strip."""
        sin, cos = math.sin(self.azimuth_rad), math.cos(self.azimuth_rad)
        along, across = east * sin + north * cos, east * cos - north * sin
        middle = self.middle_m
        return along + middle[1], across + middle[0] - along**2 / (2 * self.radius_m)

    def _on_grid(self, along: F64, across: F64, aside: Sequence[float] | F64 = (0.0, 0.0)) -> F64:
        """Metres along and across the strip to (n, 2) grid pixels."""
        middle = self.middle_m
        a = along - middle[1]
        c = across - middle[0] + a**2 / (2 * self.radius_m)
        sin, cos = math.sin(self.azimuth_rad), math.cos(self.azimuth_rad)
        east, north = a * sin + c * cos + aside[0], a * cos - c * sin + aside[1]
        size = self.grid.shape[0]
        return np.column_stack([east / PIXEL_M + size / 2, size / 2 - north / PIXEL_M])


def _ground(
    rng: np.random.Generator, shape: tuple[int, int], tracks: Sequence[float]
) -> tuple[F32, NDArray[np.bool_]]:
    """Reflectance (across, along, 4) of an empty yard and its surroundings, and where something grows."""
    across, along = (np.arange(shape[0]) + 0.5) * _ACROSS_M, (np.arange(shape[1]) + 0.5) * _ALONG_M
    bed = (across > tracks[0] - 8.0) & (across < tracks[-1] + 8.0)
    plants = _texture(rng, shape, 25.0) + _texture(rng, shape, 60.0) > rng.uniform(-0.3, 0.8) * 1.4
    plants[bed] = False
    ground = np.empty((*shape, 4), np.float32)
    ground[:] = _SOIL * rng.uniform(0.8, 1.25)
    ground[plants] = _PLANTS
    ground[bed] = _BED * rng.uniform(0.75, 1.3)
    far = np.flatnonzero(np.abs(across - across.mean()) > across.mean() - tracks[0] + 25.0)
    for _ in range(int(rng.integers(2, 10))):
        size, middle = rng.uniform((10.0, 5.0), (60.0, 12.0)), across[int(rng.choice(far))]
        rows = np.abs(across - middle) < size[1]
        columns = np.abs(along - rng.uniform(0.0, along[-1])) < size[0] / 2
        ground[np.ix_(rows & ~bed, columns)] = _ROOF * rng.uniform(0.1, 0.4)
    ground[np.abs(across - rng.uniform(30.0, 100.0)) < 4.0] = _ROAD
    uneven = np.ones(shape, np.float32)
    for scale in (2.0, 6.0, 15.0, 40.0):
        uneven += 0.05 * _texture(rng, shape, scale)
    for middle in tracks:
        stains = cv2.GaussianBlur(rng.standard_normal((1, shape[1]), dtype=np.float32), (0, 0), 15.0)[0]
        uneven[np.abs(across - middle) < _WAGON_WIDTH_M / 2] *= 1 + stains
    colours = 1 + 0.02 * np.stack([_texture(rng, shape, 8.0) for _ in range(4)], axis=-1)
    return ground * uneven[..., None] * colours, plants


def _texture(rng: np.random.Generator, shape: tuple[int, int], scale_m: float) -> F32:
    """Noise of standard deviation 1 that changes over so many metres."""
    # Large grain is drawn coarsely and made larger: a wide blur of fine cells looks the same and takes long.
    step = max(1, int(scale_m / 4.0))
    few = tuple(int(n * m / step) + 4 for n, m in zip(shape, (_ACROSS_M, _ALONG_M), strict=True))
    soft = cv2.GaussianBlur(rng.standard_normal(few, dtype=np.float32), (0, 0), scale_m / step)
    fine = cv2.resize(soft[2:-2, 2:-2], shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(fine / fine.std(), dtype=np.float32)
