"""A yard as PlanetScope sees it, on pixels of 3 m, and its scenes as Planet delivers them.

The ground, the cars and the weather are those of `detector.simulators.sentinel2.renderer`; the instrument is
another: a finer point spread, more noise a pixel, other hours of the day, a place that is known less well,
and satellites that each see colours a little differently. Assumed are a point spread of 5 to 8 m (full width
at half maximum: pixels of 3.7 to 4.2 m resampled to 3 m), 2 to 6 m of error a date and axis (by
specification under 10 m together), 1 m between bands, and light from 9:30 to 11:30 local time.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

from aoi.files import replacing, write_text
from detector.simulators.procedural.spec import Consist
from detector.simulators.sentinel2.products import profile_of
from detector.simulators.sentinel2.renderer import (
    AcquisitionConditions,
    CoarseYard,
    SiteParameters,
    random_sky,
    sun_at,
)
from geo.grid import Grid

__all__ = ["PIXEL_M", "conditions_of", "render_fine", "write_scene"]

F32 = NDArray[np.float32]

PIXEL_M = 3.0
_FINER = 0.3  # of a pixel of 10 m
_NOISE = 2.5  # times that of Sentinel-2, a pixel
_FOUR = ("blue", "green", "red", "nir")
_EIGHT = ("coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir")
_UDM2 = ("clear", "snow", "shadow", "haze_light", "haze_heavy", "cloud", "confidence", "udm1")
_CLEAR, _SNOW, _LIGHT_HAZE, _CLOUD, _CONFIDENCE, _UNUSABLE = 0, 1, 3, 5, 6, 7


def conditions_of(
    rng: np.random.Generator, parameters: SiteParameters, when: dt.datetime, *, snow: float = 0.0
) -> AcquisitionConditions:
    """Sky and instrument of one date: a satellite of its own, at an hour of its own."""
    usual = random_sky(rng, parameters, when, snow=snow)
    azimuth, elevation = sun_at(when, parameters.latitude_deg, hour_deg=rng.uniform(-37.0, -8.0))
    jitter = float(np.interp(parameters.jitter_m, (1.0, 4.0), (2.0, 6.0)))
    fwhm = float(np.interp(parameters.fwhm_m[0], (11.0, 13.5), (5.0, 8.0)) * rng.uniform(0.9, 1.1))
    return replace(
        usual,
        sun_azimuth_deg=azimuth,
        sun_elevation_deg=max(elevation, 14.0),
        gain=tuple(float(g * f) for g, f in zip(usual.gain, 1 + rng.normal(0, 0.03, 4), strict=True)),
        shift_m=(rng.normal(0, jitter), rng.normal(0, jitter)),
        band_shift_m=tuple((float(x), float(y)) for x, y in rng.normal(0, 1.0, (4, 2))),
        fwhm_m=tuple(float(fwhm * rng.uniform(0.95, 1.05)) for _ in range(4)),
        noise=_NOISE,
    )


def render_fine(yard: CoarseYard, consists: Sequence[Consist], sky: AcquisitionConditions) -> F32:
    """Reflectance of one date on pixels of 3 m, (4, rows, columns); the corner is that of the lattice."""
    rows, columns = yard.lattice.shape
    shape = math.floor(rows / _FINER), math.floor(columns / _FINER)
    lattice = Grid(shape, yard.lattice.transform @ Affine.scale(_FINER), yard.lattice.crs)
    return replace(yard, lattice=lattice).render(consists, sky)


def write_scene(
    folder: Path,
    reflectance: F32,
    transform: Affine,
    crs: Any,
    sky: AcquisitionConditions,
    *,
    hidden: str = "clear",
    cloud: NDArray[np.bool_] | None = None,
    satellite: str = "24a1",
    eight: bool = False,
    later_s: int = 0,
) -> Path:
    """Write a scene: surface reflectance, usable data mask and metadata, as in an order's folder.

    Args:
        folder: Of the scenes, such as ``PSScene``.
        reflectance: (4, H, W) blue, green, red, near infrared; NaN where there is none.
        transform: Of the pixels.
        crs: Of the pixels.
        sky: When, and where the sun stands.
        hidden: "clear", "cloud" (where ``cloud`` says), "veil" or "snow" (where it is white).
        cloud: (H, W).
        satellite: Four hexadecimal digits.
        eight: Whether the product has all eight bands.
        later_s: Seconds after the sky's time: the next scene of a strip.

    Returns:
        The image.
    """
    when = sky.when + dt.timedelta(seconds=later_s)
    item = f"{when:%Y%m%d_%H%M%S}_43_{satellite}"
    names = _EIGHT if eight else _FOUR
    known = np.isfinite(reflectance).all(axis=0)
    four = np.where(known, np.clip(np.rint(np.nan_to_num(reflectance) * 1e4), 1, 65535), 0).astype(np.uint16)
    between = {"coastal_blue": 0, "green_i": 1, "yellow": 2, "rededge": 3}
    stack = np.stack([four[_FOUR.index(name) if name in _FOUR else between[name]] for name in names])
    mask = np.zeros((len(_UDM2), *known.shape), np.uint8)
    where = {
        "cloud": (_CLOUD, np.zeros(known.shape, bool) if cloud is None else cloud),
        "veil": (_LIGHT_HAZE, np.ones(known.shape, bool)),
        "snow": (_SNOW, np.nan_to_num(reflectance[0]) > 0.35),
    }
    mask[_CLEAR] = 1
    if hidden in where:
        layer, there = where[hidden]
        mask[layer], mask[_CLEAR] = there, ~there
    mask[:, ~known] = 0
    mask[_CONFIDENCE], mask[_UNUSABLE] = 90 * known, ~known
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{item}_3B_AnalyticMS_SR{'_8b' if eight else ''}_harmonized_clip.tif"
    _write(path, stack, transform, crs, names, nodata=0)
    _write(folder / f"{item}_3B_udm2_clip.tif", mask, transform, crs, _UDM2)
    about = {
        "type": "Feature",
        "id": item,
        "geometry": None,
        "properties": {
            "acquired": f"{when:%Y-%m-%dT%H:%M:%S}.436000Z",
            "satellite_id": f"simulated {satellite}",
            "instrument": "PSB.SD",
            "provider": "planetscope",
            "item_type": "PSScene",
            "pixel_resolution": 3,
            "strip_id": f"{sky.when:%y%m%d%H}",
            "sun_azimuth": round(sky.sun_azimuth_deg, 1),
            "sun_elevation": round(sky.sun_elevation_deg, 1),
            "ground_control": True,
            "quality_category": "standard",
        },
    }
    write_text(folder / f"{item}_metadata.json", json.dumps(about, indent=1) + "\n")
    return path


def _write(
    path: Path,
    stack: NDArray[Any],
    transform: Affine,
    crs: Any,
    names: Sequence[str],
    nodata: float | None = None,
) -> None:
    profile = profile_of(stack, transform, crs)
    profile |= {"driver": "GTiff", "nodata": nodata, "compress": "deflate"}
    profile |= {"tiled": True, "blockxsize": 256, "blockysize": 256}
    with replacing(path) as temporary, rasterio.open(temporary, "w", **profile) as image:
        image.write(stack)
        image.descriptions = tuple(names)
