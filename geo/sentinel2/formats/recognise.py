"""Which images are Sentinel-2's, though without ESA's metadata: told by their headers.

Every image that a user names is asked this, so that no reader of products is imported for it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass

from pyproj import Geod
from rasterio.errors import RasterioError
from rasterio.warp import transform as transform_points

from geo.errors import SceneError
from geo.file_tree import FileTree
from geo.filename_metadata import sensor_name
from geo.ground_metric import apply_affine
from geo.sentinel2.formats.band_names import ENGINE_INDEX
from geo.sentinel2.formats.gdal_tags import product_tags
from geo.sentinel2.formats.raster_band import Header, header

__all__ = ["TEN_METRES", "ExportImage", "pixel_m", "recognised"]

log = logging.getLogger(__name__)

_SUFFIXES = (".tif", ".tiff", ".jp2")
TEN_METRES = (6.0, 12.5)
"""Pixels of images that are taken to be of the 10 m bands, metres on the ground. Exports in degrees or Web
Mercator are near it and not at it."""
_WGS84 = Geod(ellps="WGS84")


@dataclass(frozen=True)
class ExportImage:
    """A raster among the files: its name in the tree, and what its header says."""

    name: str
    header: Header

    @property
    def stem(self) -> str:
        """The file's name without its ending."""
        return self.name.rpartition("/")[2].rpartition(".")[0]

    @property
    def eight_bits(self) -> bool:
        """Whether it is a picture, from which no reflectance can be had."""
        return self.header.dtypes[0] in ("uint8", "int8")


def recognised(tree: FileTree, names: Iterable[str]) -> dict[str, ExportImage]:
    """Find Sentinel-2's images among files, by their names in the tree.

    Images that can't be opened or aren't Sentinel-2's are passed over.
    """
    found = {}
    for name in names:
        if not name.lower().endswith(_SUFFIXES):
            continue
        try:
            image = ExportImage(name, header(tree.gdal(name)))
        except SceneError as error:
            log.debug("%s", error)
            continue
        if _is_ours(image):
            found[name] = image
    return found


def _is_ours(image: ExportImage) -> bool:
    """Whether an image is one of Sentinel-2's, or as coarse: nobody else could see wagons in it."""
    sensor = sensor_name(image.stem, image.header.tags)
    if product_tags(image.header.tags) is not None:
        return True
    if sensor.startswith("Sentinel-2") or ENGINE_INDEX.search(image.stem):
        return True
    if sensor != "unknown":
        return False
    side_m = pixel_m(image.header)
    return side_m is not None and TEN_METRES[0] <= side_m <= TEN_METRES[1]


def pixel_m(found: Header) -> float | None:
    """Side of the middle pixel on the ground, metres; None without a position."""
    if not found.placed:
        return None
    row, column = found.shape[0] / 2, found.shape[1] / 2
    corners = apply_affine(found.transform, [(column, row), (column + 1, row), (column, row + 1)])
    try:
        lon, lat = transform_points(found.crs, "EPSG:4326", corners[:, 0], corners[:, 1])
        _, _, across = _WGS84.inv(lon[0], lat[0], lon[1], lat[1])
        _, _, down = _WGS84.inv(lon[0], lat[0], lon[2], lat[2])
    except (RasterioError, ValueError):
        return None
    side = math.sqrt(abs(across * down))
    return side if math.isfinite(side) and side > 0 else None
