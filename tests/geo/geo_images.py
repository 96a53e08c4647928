"""Small images and areas for the tests of geo, built in code."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import shapely
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

from aoi import AreaOfInterest, Mask
from geo import Scene
from geo.ground_metric import to_lonlat

UTM = "EPSG:32652"
EAST, NORTH = 632_000.0, 4_698_000.0


def placed(gsd_m: float = 0.5) -> dict[str, Any]:
    """The position of an image with its upper left corner near Tumangang station."""
    return {"crs": UTM, "transform": Affine(gsd_m, 0, EAST, 0, -gsd_m, NORTH)}


def texture(
    height: int, width: int, bands: int = 3, seed: int = 1, dtype: str = "uint8", high: int = 255
) -> npt.NDArray[Any]:
    return np.random.default_rng(seed).integers(1, high, (bands, height, width)).astype(dtype)


def write(
    path: Path,
    numbers: npt.NDArray[Any],
    *,
    driver: str = "GTiff",
    mask: npt.NDArray[np.bool_] | None = None,
    colours: dict[int, tuple[int, int, int, int]] | None = None,
    descriptions: tuple[str, ...] | None = None,
    tags: dict[str, str] | None = None,
    **profile: Any,
) -> Path:
    """Write (bands, H, W) numbers as an image."""
    bands, height, width = numbers.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(
                path,
                "w",
                driver=driver,
                width=width,
                height=height,
                count=bands,
                dtype=numbers.dtype,
                **profile,
            ) as image,
        ):
            image.write(numbers)
            if mask is not None:
                image.write_mask(mask)
            if colours is not None:
                image.write_colormap(1, colours)
            if descriptions is not None:
                image.descriptions = descriptions
            if tags is not None:
                image.update_tags(**tags)
    return path


def area_at(
    scene: Scene, pixels: shapely.Geometry, hidden: tuple[shapely.Geometry, ...] = (), name: str = "yard"
) -> AreaOfInterest:
    """An area drawn in a scene's pixels."""

    def to_earth(geometry: shapely.Geometry) -> shapely.Geometry:
        return shapely.transform(
            geometry, lambda xy: to_lonlat(scene.crs, scene.pixel_to_map(xy), scene.path)
        )

    masks = tuple(Mask(to_earth(outline), "canopy") for outline in hidden)
    return AreaOfInterest(name=name, title=name, boundary=to_earth(pixels), masks=masks)
