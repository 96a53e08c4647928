"""What all cuts share: the window of an image, and writing what was read of it as a COG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.io import DatasetReader
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from geo.catalogue.remote_scene import RemoteScene
from geo.errors import SceneError
from geo.ground_metric import pixels_around

BESIDE_PX = 8
"""Pixels beside a window that a kernel may reach into where the image lies on another grid."""

Bounds = tuple[float, float, float, float]
"""West, south, east, north."""


class EmptyScene(SceneError):
    """A scene that has no pixel in the area."""


def window_in(opened: DatasetReader, crs: CRS, bounds: Bounds) -> Window | None:
    """The pixels of an image that hold some bounds and what a kernel reaches beside them, or None."""
    around = bounds if opened.crs == crs else transform_bounds(crs, opened.crs, *bounds, densify_pts=21)
    if not all(map(math.isfinite, around)):
        return None
    beside = 0 if opened.crs != crs and crs.is_geographic else BESIDE_PX
    found = pixels_around(around, opened.transform, (opened.width, opened.height), beside)
    if found is None:
        return None
    left, top, right, bottom = found
    return Window(left, top, right - left, bottom - top)


def write_cog(
    path: Path,
    pixels: NDArray[Any],
    crs: CRS,
    transform: Affine,
    *,
    nodata: float | None,
    bands: Sequence[Mapping[str, Any]],
    tags: Mapping[str, str],
    colours: Sequence[Any] = (),
) -> None:
    """Write a COG."""
    with rasterio.open(
        path,
        "w",
        driver="COG",
        count=len(pixels),
        height=pixels.shape[1],
        width=pixels.shape[2],
        dtype=pixels.dtype,
        crs=crs,
        transform=transform,
        nodata=nodata,
        compress="DEFLATE",
        level=9,
        predictor="YES",
        blocksize=256,
        overviews="NONE" if max(pixels.shape[1:]) <= 1024 else "AUTO",
    ) as made:
        made.write(pixels)
        made.descriptions = tuple(str(one["name"]) for one in bands)
        if colours:
            made.colorinterp = tuple(colours)
        if any("raster:scale" in one for one in bands):
            made.scales = tuple(float(one.get("raster:scale", 1.0)) for one in bands)
            made.offsets = tuple(float(one.get("raster:offset", 0.0)) for one in bands)
        made.update_tags(**tags)


def tags_of(scene: RemoteScene) -> dict[str, str]:
    """When and by what an image was taken, as readers of GeoTIFF look for it."""
    return {
        "ACQUISITIONDATETIME": f"{scene.datetime:%Y-%m-%dT%H:%M:%S}Z",
        "SATELLITEID": scene.platform,
        "TIFFTAG_COPYRIGHT": scene.attribution,
    }
