"""Textured ground that can be seen a fraction of a pixel beside its place, and a small yard on it.

The ground is a sum of waves, so that an image displaced by any distance is exact.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from geo.grid import Grid
from geo.sentinel2.chip import Chip
from geo.sentinel2.clear_sky import ClearSkyAssessment
from geo.sentinel2.site import Site, draw_polygon, draw_tracks, frame_of

BANDS = ("B02", "B03", "B04", "B08")
LEVEL = np.array([0.09, 0.11, 0.13, 0.17])
SHAPE = (74, 104)
OUTLINE = shapely.box(30.0, 33.5, 74.0, 39.5)
LINES = (
    shapely.LineString([(30.5, 35.2), (73.5, 35.2)]),
    shapely.LineString([(30.5, 36.5), (73.5, 36.5)]),
    shapely.LineString([(30.5, 37.8), (73.5, 37.8)]),
)
START = dt.datetime(2023, 5, 3, 2, 10, tzinfo=dt.UTC)
PLAIN_GAIN = (1.0, 1.0, 1.0, 1.0)


def ground(
    seed: int = 0, shift_px: tuple[float, float] = (0.0, 0.0), *, contrast: float = 1.0
) -> NDArray[np.float32]:
    """(4, H, W) reflectance whose content lies a shift (right, down) beside its place."""
    rng = np.random.default_rng(seed)
    n = 90
    length = np.exp(rng.uniform(np.log(4.0), np.log(40.0), n))
    angle, phase = rng.uniform(0, np.pi, n), rng.uniform(0, 2 * np.pi, n)
    tall = rng.uniform(0.3, 1.0, n) * 0.008 * contrast
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.5
    x, y = columns.ravel() - shift_px[0], rows.ravel() - shift_px[1]
    turns = 2 * np.pi / length
    waves = np.sin(np.outer(turns * np.cos(angle), x) + np.outer(turns * np.sin(angle), y) + phase[:, None])
    own = 1.0 + 0.3 * rng.standard_normal((4, n))
    planes = LEVEL[:, None] + (own * tall) @ waves
    return planes.reshape(4, *SHAPE).clip(0.01).astype(np.float32)


def with_wagons(
    image: NDArray[np.float32], pieces: Sequence[tuple[int, float, float]]
) -> NDArray[np.float32]:
    """Bright wagons on a track from pixel to pixel."""
    out = image.copy()
    for track, start, end in pieces:
        row = int(LINES[track].coords[0][1])
        share = np.clip(
            np.minimum(np.arange(SHAPE[1]) + 1.0, end) - np.maximum(np.arange(SHAPE[1]), start), 0, 1
        )
        out[:, row] = out[:, row] * (1 - 0.3 * share) + 0.3 * 0.4 * share
    return out


def site() -> Site:
    """The yard: three tracks of 430 m."""
    grid = Grid(SHAPE, Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 4_700_000.0), CRS.from_epsg(32652))
    frame = frame_of(OUTLINE, LINES)
    return Site(
        name="siding",
        grid=grid,
        frame=frame,
        boundary=draw_polygon(OUTLINE, frame),
        tracks=draw_tracks(LINES, frame),
        has_tracks=True,
    )


def chip(
    number: int,
    image: NDArray[np.float32],
    *,
    noise: float = 0.001,
    gain: Sequence[float] = PLAIN_GAIN,
    days: float = 5.0,
) -> Chip:
    """An acquisition of the yard, one every five days."""
    grain = np.random.default_rng([7, number]).standard_normal(image.shape) * noise
    planes = image * np.asarray(gain)[:, None, None] + grain
    return Chip(
        id=f"S2A-{number:03d}",
        datetime=START + dt.timedelta(days=days * number),
        platform="Sentinel-2A",
        relative_orbit=61,
        bands=BANDS,
        reflectance=planes.astype(np.float32),
        transform=site().grid.transform,
        crs=site().grid.crs,
        sun_azimuth_deg=150.0,
        sun_elevation_deg=45.0,
        level="L2A",
    )


def archive(dates: int, *, seed: int = 3, jitter_px: float = 0.3) -> list[Chip]:
    """Dates of the yard, each a little beside its place, with other wagons each time."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(dates):
        shift = tuple(rng.normal(0.0, jitter_px, 2)) if number else (0.0, 0.0)
        start = float(rng.uniform(31, 50))
        pieces = [(int(rng.integers(3)), start, start + float(rng.uniform(3, 20)))]
        gain = 1.0 + rng.normal(0, 0.03, 4)
        found.append(chip(number, with_wagons(ground(1, (shift[0], shift[1])), pieces), gain=gain))
    return found


def all_clear(
    bands: tuple[str, ...],
    reflectance: NDArray[np.float32],
    scl: NDArray[np.uint8] | None,
    inside: NDArray[np.bool_],
    ring: NDArray[np.bool_],
    **_: object,
) -> ClearSkyAssessment:
    """Judges a date clear wherever it has values: these tests are about places, not about clouds."""
    seen = np.asarray(np.isfinite(reflectance[:4]).all(axis=0))
    nothing = np.zeros_like(seen)
    share = float(seen[inside].mean())
    reason = None if share >= 0.8 else "Too little of the area can be seen."
    return ClearSkyAssessment(seen, nothing, nothing, nothing, share, 0.0, 0.0, reason)
