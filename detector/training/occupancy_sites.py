"""Simulated yards over the years, and what the estimators are to say of each date.

A site is drawn, seen on some tens of clear dates through the coarse renderer, and brought through the very
steps that a real archive goes through: chips, registration, light, background.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from aoi.files import replacing, whole_archive
from detector.simulators.procedural.spec import Consist
from detector.simulators.procedural.yards import Traffic, random_yard
from detector.simulators.sentinel2.independent import StripYard
from detector.simulators.sentinel2.renderer import (
    BANDS,
    AcquisitionConditions,
    CoarseYard,
    random_sky,
    sun_at,
)
from detector.wagons.categories import FREIGHT
from geo.grid import Grid
from geo.ground_metric import apply_affine
from geo.sentinel2.chip import Chip
from geo.sentinel2.clear_sky import ClearSkyAssessment
from geo.sentinel2.site import Site, draw_polygon, draw_tracks, frame_of
from geo.sentinel2.time_series import DatedImage, dated_images

_CORNER = (500_000.0, 4_700_000.0)
_CRS = 32652
F32 = NDArray[np.float32]


@dataclass(frozen=True)
class Truth:
    """What really stands in a yard on a date.

    Attributes:
        count: Freight cars inside the boundary.
        length_m: Track length they take, coupler to coupler.
        cells: (h, w) metres of it in each cell of the frame.
    """

    count: int
    length_m: float
    cells: F32


@dataclass(frozen=True)
class SimulatedSite:
    """A yard with its place and its traffic.

    Attributes:
        name: Of the site.
        coarse: The yard as the satellite sees it.
        site: The area as the estimators see it, its track lines a little off.
        traffic: What stands there.
        outline: Its boundary in grid pixels.
    """

    name: str
    coarse: CoarseYard
    site: Site
    traffic: Traffic
    outline: shapely.Polygon

    @classmethod
    def random(cls, seed: int, number: int, split: str, picture: F32 | None = None) -> SimulatedSite:
        """A site by chance, on real ground (4, H, W) if there is any; equal seeds give equal sites."""
        rng = np.random.default_rng([seed, number, 4711])
        yard = random_yard(rng, split)
        coarse = CoarseYard.random(yard, rng, picture)
        to_pixels = ~coarse.lattice.transform
        lines = [shapely.LineString(apply_affine(to_pixels, p.points)) for p in yard.paths]
        body = shapely.union_all([shapely.LineString(p.points) for p in yard.paths])
        loose = rng.uniform(5.0, 30.0)
        shape = body.buffer(loose, cap_style="flat") if rng.random() < 0.5 else body.convex_hull.buffer(loose)
        w, h = yard.spec.size_m
        cut = rng.uniform(5.0, 60.0)
        shape = shape.intersection(shapely.box(cut, 15.0, w - cut, h - 15.0)).simplify(1.0)
        if shape.geom_type != "Polygon":
            shape = max(shape.geoms, key=lambda part: part.area)
        outline = shapely.transform(shapely.Polygon(shape.exterior), lambda xy: apply_affine(to_pixels, xy))
        # Lines drawn by people, or taken from a map, lie a metre or two off.
        off = rng.normal(0, 0.12, 2)
        drawn = [
            shapely.transform(
                line, lambda xy: xy + off + np.cumsum(rng.normal(0, 0.02, xy.shape), axis=0).clip(-0.2, 0.2)
            )
            for line in lines
        ]
        corner = Affine(10.0, 0.0, _CORNER[0], 0.0, -10.0, _CORNER[1])
        grid = Grid(coarse.lattice.shape, corner, CRS.from_epsg(_CRS))
        site = _site(f"sim-{seed}-{number}", grid, outline, drawn)
        return cls(f"sim-{seed}-{number}", coarse, site, Traffic.random(yard, rng), outline)

    def truth(self, pieces: Sequence[tuple[int, float, float]], consists: Sequence[Consist]) -> Truth:
        """What stands inside the boundary."""
        yard = self.coarse.yard
        to_pixels = ~self.coarse.lattice.transform
        wagons = [wagon for consist in consists for wagon in consist.wagons]
        freight = [(wagon.x_m, wagon.y_m) for wagon in wagons if wagon.category == FREIGHT]
        if not freight:
            return Truth(0, 0.0, np.zeros(self.site.frame.shape, np.float32))
        count = int(shapely.contains_xy(self.outline, apply_affine(to_pixels, freight)).sum())
        points = []
        for track, start, end in pieces:
            s = np.arange(start + 0.5, end, 1.0)
            path = yard.paths[track]
            points.append(np.column_stack([np.interp(s, path.chainage, one) for one in path.points.T]))
        scene = np.concatenate(points)
        pixels = apply_affine(to_pixels, scene)
        inside = shapely.contains_xy(self.outline, pixels)
        share = np.float32(len(freight) / len(wagons))
        return Truth(count, float(inside.sum() * share), _cells(pixels[inside], self.site.frame) * share)

    def chip(self, sky: AcquisitionConditions, consists: Sequence[Consist], number: int) -> Chip:
        """The acquisition of one date."""
        return Chip(
            id=f"{self.name}-{number:03d}",
            datetime=sky.when,
            platform="Sentinel-2A",
            relative_orbit=1,
            bands=BANDS,
            reflectance=self.coarse.render(consists, sky),
            transform=self.site.grid.transform,
            crs=self.site.grid.crs,
            sun_azimuth_deg=sky.sun_azimuth_deg,
            sun_elevation_deg=sky.sun_elevation_deg,
            level="L2A",
        )


def _site(name: str, grid: Grid, outline: shapely.Polygon, lines: Sequence[shapely.LineString]) -> Site:
    """A place with track lines, its outlines in grid pixels."""
    frame = frame_of(outline, lines)
    return Site(
        name=name,
        grid=grid,
        frame=frame,
        boundary=draw_polygon(outline, frame),
        tracks=draw_tracks(lines, frame),
        has_tracks=True,
    )


def _cells(pixels: NDArray[np.float64], frame: Grid) -> F32:
    """How many of some points (n, 2), grid pixels, lie in each cell of a frame."""
    h, w = frame.shape
    x, y = apply_affine(~frame.transform, pixels).T
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    ok = (column >= 0) & (row >= 0) & (column < w) & (row < h)
    return np.bincount((row * w + column)[ok], minlength=h * w).reshape(h, w).astype(np.float32)


def clear_dates(rng: np.random.Generator, number: int, *, years: float | None = None) -> list[dt.datetime]:
    """Dates of clear acquisitions, ascending."""
    span = 365.0 * (rng.uniform(0.5, 3.0) if years is None else years)
    start = dt.datetime(2019, 1, 1, 2, 30, tzinfo=dt.UTC) + dt.timedelta(days=rng.uniform(0, 365))
    days = np.sort(rng.choice(max(int(span / 2.5), number), number, replace=False)) * 2.5
    return [start + dt.timedelta(days=float(d)) for d in days]


@dataclass(frozen=True)
class Series:
    """A simulated yard's dates with what the estimators see and what is true.

    Attributes:
        site: The place.
        images: Its images, oldest first.
        truths: What is true on each.
        wet: How wet the ground was on each.
        about: What is kept of the yard itself.
    """

    site: Site
    images: tuple[DatedImage, ...]
    truths: tuple[Truth, ...]
    wet: tuple[float, ...]
    about: dict[str, object]


def everything_clear(
    bands: tuple[str, ...], reflectance: F32, scl: object, inside: NDArray[np.bool_], *_: object, **__: object
) -> ClearSkyAssessment:
    """A judge for simulated clear dates: every pixel with a value is clear."""
    known = np.asarray(np.isfinite(reflectance[:4]).all(axis=0))
    none = np.zeros_like(known)
    share = float(known[inside].mean()) if inside.any() else 1.0
    return ClearSkyAssessment(
        usable=known,
        snow=none,
        cloud=none,
        shadow=none,
        clear_fraction=share,
        snow_fraction=0.0,
        ring_cloud_fraction=0.0,
        reason=None,
    )


def simulate_series(
    seed: int,
    number: int,
    split: str,
    *,
    dates: int = 34,
    targets: Callable[[int], float | None] = lambda index: None,
    judge: Callable[..., ClearSkyAssessment] = everything_clear,
    picture: F32 | None = None,
) -> Series:
    """Simulate one site on some clear dates.

    Args:
        seed: Of the whole set.
        number: Of the site.
        split: Whose wagon designs stand there.
        dates: How many.
        targets: Freight cars wanted on the date of an index, or None for what the traffic brings.
        judge: Says what of a date is clear.
        picture: (4, H, W) real reflectance that the yard is laid on.
    """
    simulated = SimulatedSite.random(seed, number, split, picture)
    rng = np.random.default_rng([seed, number, 4712])
    chips, truths, wet = [], [], []
    for index, when in enumerate(clear_dates(rng, dates)):
        consists = simulated.traffic.next(targets(index))
        sky = random_sky(rng, simulated.coarse.parameters, when)
        chips.append(simulated.chip(sky, consists, index))
        truths.append(simulated.truth(simulated.traffic.pieces, consists))
        wet.append(sky.wet)
    seen = tuple(dated_images(chips, simulated.site, judge=judge))
    about = {"tracks": simulated.coarse.yard.spec.notes["n_tracks"], "turn": simulated.site.frame.turn_deg}
    return Series(simulated.site, seen, tuple(truths), tuple(wet), about)


def strip_series(
    seed: int, number: int, *, dates: int = 26, targets: Callable[[int], float | None] = lambda index: None
) -> Series:
    """Simulate a yard of the independent simulator on some clear dates; equal seeds give equal ones.

    Args:
        seed: Of the whole set.
        number: Of the yard.
        dates: How many.
        targets: Freight cars wanted on the date of an index, or None for what the traffic brings.
    """
    yard = StripYard.random(seed, number)
    site = _site(f"strip-{seed}-{number}", yard.grid, yard.outline(), yard.lines())
    chips, truths, wet = [], [], []
    for index, when in enumerate(clear_dates(yard.rng, dates)):
        yard.next_date(targets(index))
        chips.append(yard.chip(when, sun_at(when, yard.latitude_deg), f"{site.name}-{index:03d}"))
        truths.append(Truth(yard.count, yard.occupied_m, _cells(yard.occupied(), site.frame)))
        wet.append(yard.wet)
    seen = tuple(dated_images(chips, site, judge=everything_clear))
    return Series(site, seen, tuple(truths), tuple(wet), {"simulator": "strips"})


# -------------------------------------------------------------------------------- training material

STRIP_SEEDS = 500
"""Added to the seeds of the splits for yards of the second simulator."""


def site_path(folder: Path, seed: int, number: int, split: str) -> Path:
    """Where the masks and figures of a site are kept; its images lie beside them."""
    return folder / f"{split}-{seed}-{number:05d}.npz"


def write_site(folder: Path, seed: int, number: int, split: str, *, dates: int = 34) -> int:
    """Simulate a site and keep the images that may be answered; gives their number (0 if there already).

    ``NAME.npy`` is float16 (images, 17, h, w): the four planes of current, low, median and high reflectance
    in ten-thousandths over 1 (reflectance itself), then metres of occupied track a cell. ``NAME.npz`` holds
    masks and figures, and of the first dates, which have too little history to be answered, what later ones
    compare themselves with: ``early`` (dates, 4, h, w) and ``early_sun`` (dates, 2).
    """
    path = site_path(folder, seed, number, split)
    if path.exists():
        return 0
    return _store(path, simulate_series(seed, number, split, dates=dates))


def write_strip_site(folder: Path, seed: int, number: int, split: str, *, dates: int = 34) -> int:
    """The same for a yard of the second simulator."""
    path = site_path(folder, STRIP_SEEDS + seed, number, split)
    if path.exists():
        return 0
    return _store(path, strip_series(STRIP_SEEDS + seed, number, dates=dates))


def _store(path: Path, series: Series) -> int:
    stacks, rows = [], []
    early: list[F32] = []
    early_sun: list[tuple[float, float]] = []
    for image, truth, wetness in zip(series.images, series.truths, series.wet, strict=True):
        if image.reason is not None or image.current is None or image.background is None:
            if image.known_shift is not None and image.known_shift.accepted and image.current is not None:
                early.append(image.current)
                early_sun.append(image.sun or (0.0, 0.0))
            continue
        b = image.background
        stacks.append(
            np.concatenate([image.current, b.low, b.median, b.high, truth.cells[None]]).astype(np.float16)
        )
        rows.append(
            [
                truth.count,
                truth.length_m,
                b.dates,
                *(image.sun or (0.0, 0.0)),
                *(image.history_sun or (0.0, 0.0)),
                wetness,
                image.chip.sun_elevation_deg or 0.0,
                image.registration.residual_m if image.registration else 0.0,
            ]
        )
    if not stacks:
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path.with_suffix(".npy")) as temporary:
        np.save(temporary, np.stack(stacks))
    with replacing(path, whole_archive) as temporary:
        np.savez(
            temporary,
            figures=np.array(rows, np.float32),
            tracks=series.site.tracks.astype(np.float16),
            region=series.site.region.astype(np.float16),
            boundary=series.site.boundary.astype(np.float16),
            early=np.stack(early).astype(np.float16),
            early_sun=np.array(early_sun, np.float32),
            about=json.dumps(series.about),
        )
    return len(stacks)
