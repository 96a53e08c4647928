"""Which images are Sentinel-2's: told by their headers, the names of their bands and ESA's tags.

Every image that a user names is asked this, so that no reader of products is imported for it.

GDAL's SENTINEL2 driver hands ESA's metadata on to a clip of a product (gdal_translate) as tags. The numbers
of such a clip are ESA's own; the driver takes no offset off. The tags don't tell the offset, but the
processing baseline, by which it goes.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pyproj import Geod
from rasterio.errors import RasterioError
from rasterio.warp import transform as transform_points

from geo.errors import SceneError
from geo.file_tree import FileTree
from geo.filename_metadata import date_in_name, sensor_name
from geo.ground_metric import apply_affine
from geo.sentinel2.formats.product_names import (
    CLASSES,
    SWIR_BAND,
    TEN_METRE_BANDS,
    ProductMetadata,
    iso_time,
    offset_by_baseline,
    parse_datatake,
    parse_product_name,
    platform_of,
)
from geo.sentinel2.formats.raster_band import Header, header

_BAND = re.compile(r"(?<![A-Za-z0-9])(B(?:0?[1-9]|1[0-2]|8A)|SCL)(?:_(\d\d)m)?(?![A-Za-z0-9])", re.IGNORECASE)
_COLOURS = {
    "blue": "B02",
    "green": "B03",
    "red": "B04",
    "nir": "B08",
    "swir1": "B11",
    "swir16": "B11",
    "scl": "SCL",
}
ENGINE_INDEX = re.compile(r"(?<!\d)(\d{8}T\d{6})_\d{8}T\d{6}_T\d{2}[A-Z]{3}")
"""20231005T021001_20231005T021003_T52TFN: the index of an image at Google Earth Engine, which begins with the
start of the datatake."""


def last_band(text: str) -> re.Match[str] | None:
    """The last band named in a text: names begin with a date and a tile, and end with the band."""
    matches = list(_BAND.finditer(text))
    return matches[-1] if matches else None


def band_name(text: str) -> str | None:
    """B2 and B02 as B02; None for bands that aren't used."""
    upper = text.upper()
    match = re.fullmatch(r"B0?(\d{1,2})", upper)
    name = f"B{int(match[1]):02d}" if match else upper
    return name if name in (*TEN_METRE_BANDS, SWIR_BAND, CLASSES) else None


def described(descriptions: Sequence[str]) -> dict[str, list[int]]:
    """The bands that descriptions name: their indexes from 1, several where a band is there several times."""
    found: dict[str, list[int]] = {}
    for index, description in enumerate(descriptions, start=1):
        match = last_band(description)
        name = band_name(match[1]) if match else _COLOURS.get(description.strip().lower())
        if name is not None:
            found.setdefault(name, []).append(index)
    return found


def stacked(descriptions: Sequence[str]) -> Mapping[str, Mapping[str, int]]:
    """The acquisitions of an image by the names of their dates; "" for an image of one that tells none.

    A stack has every band once a date, and its bands' names hold the date or Earth Engine's index, as
    ``ImageCollection.toBands()`` makes them.

    Args:
        descriptions: One a band.

    Returns:
        Index from 1 by band, by what is before or after the band's name; in the file's order.

    Raises:
        SceneError: A band is there several times, and the names don't tell of which dates; the sentence
            begins with a verb.

    Example:
        >>> stacked(["20230403_B4", "20230403_B8", "20230408_B4", "20230408_B8"])
        {'20230403': {'B04': 1, 'B08': 2}, '20230408': {'B04': 3, 'B08': 4}}
    """
    found = described(descriptions)
    moments: dict[str, dict[str, int]] = {}
    undated = False
    for band, indexes in found.items():
        for index in indexes:
            moment = _moment(descriptions[index - 1])
            undated |= not moment
            bands = moments.setdefault(moment, {})
            if band in bands:
                raise SceneError(
                    f"has band {band} {len(indexes)} times, and the bands' names don't tell of which dates"
                )
            bands[band] = index
    if len(moments) > 1 and undated:
        if all(len(indexes) == 1 for indexes in found.values()):
            return {"": {band: indexes[0] for band, indexes in found.items()}}
        raise SceneError("is a stack of several dates, of which not all stand in the names of its bands")
    return dict(sorted(moments.items(), key=lambda one: min(one[1].values())))


def _moment(description: str) -> str:
    """The part of a band's name that tells its date, "" without one."""
    index = ENGINE_INDEX.search(description)
    if index is not None:
        return index[0]
    match = last_band(description)
    rest = description if match is None else f"{description[: match.start()]} {description[match.end() :]}"
    rest = rest.strip(" _-.,")
    return rest if date_in_name(rest).when is not None else ""


_QUANTIFICATION = ("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE", "QUANTIFICATION_VALUE")
_LEVELS = {"Level-1C": "L1C", "Level-2A": "L2A", "Level-2Ap": "L2A"}


def product_tags(tags: Mapping[str, str]) -> ProductMetadata | None:
    """Understand the tags of an image; None if they aren't those of one product, all of it told.

    Example:
        >>> product_tags({"AREA_OR_POINT": "Area"}) is None
        True
    """
    product = tags.get("PRODUCT_URI") or tags.get("PRODUCT_URI_2A") or tags.get("PRODUCT_URI_1C") or ""
    named = parse_product_name(product)
    datatake = parse_datatake(tags.get("DATATAKE_1_ID", ""))
    level = _LEVELS.get(tags.get("PROCESSING_LEVEL", ""), named.level if named else None)
    baseline = tags.get("PROCESSING_BASELINE") or (datatake.baseline if datatake else None)
    try:
        start = datatake.start if datatake else iso_time(tags["DATATAKE_1_DATATAKE_SENSING_START"])
        quantification = float(next(tags[key] for key in _QUANTIFICATION if key in tags))
        orbit = int(tags.get("DATATAKE_1_SENSING_ORBIT_NUMBER", "0"))
    except (KeyError, ValueError, StopIteration):
        return None
    if level is None or baseline is None or not 1_000 <= quantification <= 100_000:
        return None
    return ProductMetadata(
        name=product,
        level=level,
        platform=platform_of(tags.get("DATATAKE_1_SPACECRAFT_NAME", "")),
        start=start,
        relative_orbit=orbit if 1 <= orbit <= 143 else None,
        baseline=baseline,
        quantification=quantification,
        generated=None,
        offsets=dict.fromkeys(TEN_METRE_BANDS, offset_by_baseline(baseline)),
    )


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
    if not found.georeferenced:
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
