"""Small PlanetScope scenes, written as Planet delivers them, from reflectances that a test chooses.

Like `sentinel2_products`, nothing here is imported by the code: names, band orders, masks and metadata are
written out a second time.
"""

from __future__ import annotations

import datetime as dt
import json
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

PIXEL_M = 3.0
SUN = (41.3, 158.2)
"""Elevation and azimuth, degrees."""
UDM2 = ("clear", "snow", "shadow", "haze_light", "haze_heavy", "cloud", "confidence", "udm1")
FOUR = ("blue", "green", "red", "nir")
EIGHT = ("coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir")
OURS = {"blue": "B02", "green": "B03", "red": "B04", "nir": "B08"}
RADIANCE_SCALES = {"blue": 2.05e-5, "green": 2.18e-5, "red": 2.45e-5, "nir": 3.69e-5}
"""Reflectance coefficients of the XML, by band."""


def finer(plane: NDArray[Any], transform: Affine) -> tuple[NDArray[Any], Affine]:
    """A plane of 10 m pixels as one of 2.5 m: each pixel four times four."""
    return np.kron(np.asarray(plane), np.ones((4, 4), plane.dtype)), transform @ Affine.scale(0.25)


def numbers(reflectance: NDArray[Any], scale: float = 1e-4) -> NDArray[np.uint16]:
    """Digital numbers, 0 where there is no data."""
    scaled = np.rint(np.asarray(reflectance, float) / scale)
    return np.where(np.isfinite(scaled), np.clip(scaled, 1, 65535), 0).astype(np.uint16)


def write_tiff(
    path: Path,
    stack: NDArray[Any],
    transform: Affine | None,
    crs: str | int | None,
    names: tuple[str, ...] = (),
    nodata: float | None = None,
) -> Path:
    """A GeoTIFF; one without position where there is no transform."""
    path.parent.mkdir(parents=True, exist_ok=True)
    place = {} if transform is None else {"transform": transform, "crs": crs}
    with warnings.catch_warnings():
        if transform is None:
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
        _write_tiff(path, stack, names, nodata, place)
    return path


def _write_tiff(
    path: Path, stack: NDArray[Any], names: tuple[str, ...], nodata: float | None, place: dict[str, Any]
) -> None:
    with rasterio.open(
        path, "w", driver="GTiff", count=len(stack), height=stack.shape[1], width=stack.shape[2],
        dtype=stack.dtype, nodata=nodata, compress="deflate", tiled=True, blockxsize=256, blockysize=256,
        **place,
    ) as out:  # fmt: skip
        out.write(stack)
        if names:
            out.descriptions = names


def scene_id(when: dt.datetime, satellite: str = "2427") -> str:
    """The id of a scene: 20231005_021001_43_2427."""
    return f"{when:%Y%m%d_%H%M%S}_43_{satellite}"


def write_scene(
    folder: Path,
    when: dt.datetime,
    planes: Mapping[str, NDArray[Any]],
    transform: Affine,
    crs: str | int,
    *,
    satellite: str = "2427",
    product: str = "AnalyticMS_SR",
    bands: int = 4,
    suffix: str = "",
    mask: NDArray[np.uint8] | None = None,
    udm2: bool = True,
    metadata: str = "json",
    strip: str = "6653128",
    level: str = "3B",
) -> Path:
    """A scene with what lies beside it.

    Args:
        folder: Of the scene's files.
        when: UTC.
        planes: Reflectance by "B02", "B03", "B04", "B08", NaN where there is none.
        transform: Of the planes.
        crs: Of the planes.
        satellite: Four hexadecimal digits.
        product: "AnalyticMS_SR", "AnalyticMS" (radiance), "AnalyticMS_DN" or "Visual".
        bands: 4 or 8.
        suffix: What stands after that, such as "_harmonized_clip".
        mask: (8, H, W) usable data mask; all clear if not given.
        udm2: Whether there is one.
        metadata: "json", "stac", "xml" or "".
        strip: The strip's id.
        level: "3B", or "1B" for a basic scene, which has no position.

    Returns:
        The image.
    """
    item = scene_id(when, satellite)
    names = FOUR if bands == 4 else EIGHT
    radiance = product == "AnalyticMS"
    some = next(iter(planes.values()))
    filler = np.where(np.isfinite(some), 0.07, np.nan)
    stack = np.stack(
        [
            numbers(
                planes.get(OURS.get(name, ""), filler), RADIANCE_SCALES.get(name, 3e-5) if radiance else 1e-4
            )
            for name in names
        ]
    )
    if product == "Visual":
        stack = np.clip(stack[[2, 1, 0]] // 12, 1, 255).astype(np.uint8)
        names = ("red", "green", "blue")
    clip = "_clip" if suffix.endswith("_clip") else ""
    place = (transform, crs) if level == "3B" else (None, None)
    eight = "_8b" if bands == 8 and product != "Visual" else ""
    path = write_tiff(
        folder / f"{item}_{level}_{product}{eight}{suffix}.tif", stack, *place, names=names, nodata=0
    )
    if udm2:
        if mask is None:
            mask = np.zeros((8, *some.shape), np.uint8)
            mask[0] = np.isfinite(some)
            mask[6] = 95
            mask[7] = ~np.isfinite(some)
        write_tiff(folder / f"{item}_{level}_udm2{clip}.tif", mask, *place, names=UDM2)
    if metadata in ("json", "stac"):
        write_json(folder, item, when, satellite, strip, stac=metadata == "stac")
    if metadata == "xml" or radiance:
        kind = product.removesuffix("_SR")
        (folder / f"{item}_{level}_{kind}{eight}_metadata{clip}.xml").write_text(xml(when, satellite, names))
    return path


def write_json(
    folder: Path, item: str, when: dt.datetime, satellite: str, strip: str, *, stac: bool = False
) -> None:
    """The scene's metadata as the Orders API writes them: its own JSON, or a STAC item."""
    if stac:
        content: dict[str, Any] = {
            "type": "Feature", "stac_version": "1.0.0", "id": item,
            "geometry": None, "links": [], "collection": "PSScene",
            "stac_extensions": ["https://planetlabs.github.io/stac-extension/v1.0.0-beta.1/schema.json"],
            "properties": {
                "datetime": f"{when:%Y-%m-%dT%H:%M:%S}.436000Z", "constellation": "planetscope",
                "platform": satellite, "instruments": ["PSB.SD"], "gsd": 3.9,
                "view:sun_elevation": SUN[0], "view:sun_azimuth": SUN[1], "pl:item_type": "PSScene",
                "pl:strip_id": strip, "pl:ground_control": True, "pl:quality_category": "standard",
            },
            "assets": {},
        }  # fmt: skip
        path = folder / f"{item}.json"
    else:
        content = {
            "type": "Feature", "id": item, "geometry": None,
            "properties": {
                "acquired": f"{when:%Y-%m-%dT%H:%M:%S}.436000Z", "satellite_id": satellite,
                "instrument": "PSB.SD", "provider": "planetscope", "item_type": "PSScene", "gsd": 3.9,
                "pixel_resolution": 3, "strip_id": strip, "sun_azimuth": SUN[1], "sun_elevation": SUN[0],
                "ground_control": True, "quality_category": "standard", "clear_percent": 100,
                "published": f"{when + dt.timedelta(hours=8):%Y-%m-%dT%H:%M:%SZ}",
            },
        }  # fmt: skip
        path = folder / f"{item}_metadata.json"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), "utf-8")


def xml(when: dt.datetime, satellite: str, names: tuple[str, ...]) -> str:
    """The metadata of a radiance product."""
    bands = "".join(
        f"<ps:bandSpecificMetadata><ps:bandNumber>{number}</ps:bandNumber>"
        "<ps:radiometricScaleFactor>0.01</ps:radiometricScaleFactor>"
        f"<ps:reflectanceCoefficient>{RADIANCE_SCALES.get(name, 3e-5)}</ps:reflectanceCoefficient>"
        "</ps:bandSpecificMetadata>"
        for number, name in enumerate(names, start=1)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<ps:EarthObservation xmlns:opt="http://earth.esa.int/opt" xmlns:eop="http://earth.esa.int/eop" '
        'xmlns:gml="http://www.opengis.net/gml" '
        'xmlns:ps="http://schemas.planet.com/ps/v1/planet_product_metadata_geocorrected_level">'
        "<gml:using><eop:EarthObservationEquipment><eop:platform><eop:Platform>"
        f"<eop:shortName>PlanetScope</eop:shortName><eop:serialIdentifier>{satellite}</eop:serialIdentifier>"
        "</eop:Platform></eop:platform><eop:acquisitionParameters><ps:Acquisition>"
        f'<opt:illuminationAzimuthAngle uom="deg">{SUN[1]}</opt:illuminationAzimuthAngle>'
        f'<opt:illuminationElevationAngle uom="deg">{SUN[0]}</opt:illuminationElevationAngle>'
        f"<ps:acquisitionDateTime>{when:%Y-%m-%dT%H:%M:%S}+00:00</ps:acquisitionDateTime>"
        "</ps:Acquisition></eop:acquisitionParameters></eop:EarthObservationEquipment></gml:using>"
        f"<gml:resultOf><ps:EarthObservationResult>{bands}</ps:EarthObservationResult></gml:resultOf>"
        "</ps:EarthObservation>\n"
    )


def zipped(folder: Path, path: Path) -> Path:
    """All files of a folder in a zip, as an order is delivered."""
    with zipfile.ZipFile(path, "w") as archive:
        for one in sorted(folder.rglob("*")):
            if one.is_file():
                archive.write(one, one.relative_to(folder).as_posix())
    return path
