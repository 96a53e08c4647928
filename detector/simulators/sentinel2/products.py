"""Simulated acquisitions under clouds, and as products: what a user downloads, cut to a small window.

COGs with the STAC item of Earth Search's collection ``sentinel-2-c1-l2a`` (1000 added to every number, as
since baseline 04.00), and SAFE folders in a zip as ESA packs them. Both hold the 10 m bands and the scene
classification, and name a "simulated Sentinel-2A" as platform, so that no page credits the satellite with
them.
"""

from __future__ import annotations

import datetime as dt
import json
import zipfile
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import cv2
import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from aoi.files import replacing, write_text
from geo.sentinel2.chip import Chip

_OFFSET, _QUANTIFICATION = -1000, 10_000
_COMMON = {"B02": "blue", "B03": "green", "B04": "red", "B08": "nir"}
_PHYSICAL = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")
_TILE_SECONDS = 240.0  # after the start of the datatake


def write_item(folder: Path, chip: Chip, *, tile: str, baseline: str) -> Path:
    """Write a date as COGs with their STAC item.

    Args:
        folder: In which the item's own folder is made.
        chip: The acquisition, with its scene classification; its time is the start of the datatake.
        tile: MGRS tile without the T, as "31NAA".
        baseline: Processing baseline from 04.00 on.

    Returns:
        The item's JSON file; the images lie beside it.
    """
    unit, seen = _unit(chip), chip.datetime + dt.timedelta(seconds=_TILE_SECONDS)
    name = f"{unit}_T{tile}_{_stamp(seen)}_L2A"
    if baseline != "05.11":
        name += f"_N{baseline.replace('.', '')}"
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    assets: dict[str, Any] = {}
    for band, numbers, transform in _layers(chip):
        file = f"{band}.tif"
        _write(place / file, numbers, transform, chip)
        about: dict[str, Any] = {"nodata": 0, "data_type": str(numbers.dtype)}
        if band != "SCL":
            about |= {"scale": 1 / _QUANTIFICATION, "offset": _OFFSET / _QUANTIFICATION}
        assets[_COMMON.get(band, band.lower())] = {
            "href": f"./{file}",
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
            "roles": ["data"],
            "proj:shape": list(numbers.shape),
            "proj:transform": list(transform)[:6],
            "raster:bands": [about],
        }
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": "sentinel-2-c1-l2a",
        "geometry": None,
        "properties": {
            "datetime": f"{seen:%Y-%m-%dT%H:%M:%S}.000000Z",
            "platform": f"simulated-sentinel-{unit[1:].lower()}",
            "constellation": "sentinel-2",
            "instruments": ["msi"],
            "s2:product_type": "S2MSI2A",
            "s2:processing_baseline": baseline,
            "s2:product_uri": f"{_product(chip, tile, baseline)}.SAFE",
            "s2:datatake_id": f"G{unit}_{_stamp(chip.datetime)}_{_absolute_orbit(chip):06d}_N{baseline}",
            "grid:code": f"MGRS-{tile}",
            "proj:epsg": chip.crs.to_epsg(),
            "view:sun_elevation": chip.sun_elevation_deg,
            "view:sun_azimuth": chip.sun_azimuth_deg,
        },
        "links": [],
        "assets": assets,
    }
    path = place / f"{name}.json"
    write_text(path, json.dumps(item, indent=1) + "\n")
    return path


def write_safe(folder: Path, chip: Chip, *, tile: str, baseline: str) -> Path:
    """Write a date as a SAFE in a zip, its images JPEG 2000.

    Args:
        folder: Where the zip is put.
        chip: The acquisition, with its scene classification; its time is the start of the datatake.
        tile: MGRS tile without the T.
        baseline: Processing baseline from 04.00 on.

    Returns:
        The zip.
    """
    unit, name = _unit(chip), _product(chip, tile, baseline)
    seen = chip.datetime + dt.timedelta(seconds=_TILE_SECONDS)
    granule = f"L2A_T{tile}_A{_absolute_orbit(chip):06d}_{_stamp(seen)}"
    stem = f"T{tile}_{_stamp(chip.datetime)}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.SAFE.zip"
    files = []
    with zipfile.ZipFile(path, "w") as archive:

        def put(inside: str, content: bytes | str) -> None:
            # A fixed time: the same date gives the same bytes.
            entry = zipfile.ZipInfo(f"{name}.SAFE/{inside}", (2020, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)

        for band, numbers, transform in _layers(chip):
            metres = 20 if band == "SCL" else 10
            image = f"GRANULE/{granule}/IMG_DATA/R{metres}m/{stem}_{band}_{metres}m"
            put(f"{image}.jp2", _jp2(numbers, transform, chip))
            files.append(image)
        put("MTD_MSIL2A.xml", _product_xml(chip, name, granule, files, baseline))
        put(f"GRANULE/{granule}/MTD_TL.xml", _tile_xml(chip, f"{unit}_{granule}", seen))
        put("manifest.safe", "<xfdu:XFDU xmlns:xfdu='urn:ccsds:schema:xfdu:1'/>\n")
    return path


def _layers(chip: Chip) -> list[tuple[str, NDArray[Any], Affine]]:
    """Digital numbers of the bands, and of the classification on 20 m (every second pixel)."""
    if chip.scl is None:
        raise ValueError(f"{chip.id} has no scene classification")
    layers: list[tuple[str, NDArray[Any], Affine]] = []
    for band, plane in zip(chip.bands, chip.reflectance, strict=True):
        numbers = np.rint(plane.astype(np.float64) * _QUANTIFICATION - _OFFSET)
        known = np.where(np.isfinite(numbers), np.clip(numbers, 1, 65534), 0).astype(np.uint16)
        layers.append((band, known, chip.transform))
    layers.append(("SCL", chip.scl[::2, ::2], chip.transform @ Affine.scale(2.0)))
    return layers


def profile_of(layers: NDArray[Any], transform: Affine, crs: Any) -> dict[str, Any]:
    """What rasterio has to know of an image (layers, H, W) that it writes."""
    count, height, width = layers.shape
    return {
        "count": count,
        "height": height,
        "width": width,
        "dtype": layers.dtype,
        "crs": crs,
        "transform": transform,
    }


def _write(path: Path, numbers: NDArray[Any], transform: Affine, chip: Chip) -> None:
    profile = profile_of(numbers[None], transform, chip.crs)
    profile |= {"driver": "COG", "nodata": 0, "overviews": "none", "blocksize": 256}
    profile |= {"compress": "deflate", "predictor": "standard", "level": 9}
    with replacing(path) as temporary, rasterio.open(temporary, "w", **profile) as image:
        image.write(numbers, 1)


def _jp2(numbers: NDArray[Any], transform: Affine, chip: Chip) -> bytes:
    with MemoryFile(ext=".jp2") as memory:
        lossless = {"QUALITY": "100", "REVERSIBLE": "YES", "YCBCR420": "NO"}
        profile = profile_of(numbers[None], transform, chip.crs)
        with memory.open(driver="JP2OpenJPEG", **profile, **lossless) as image:
            image.write(numbers, 1)
        return bytes(memory.read())


def _unit(chip: Chip) -> str:
    return chip.platform.removeprefix("simulated ").replace("Sentinel-2", "S2")


def _stamp(when: dt.datetime) -> str:
    return f"{when:%Y%m%dT%H%M%S}"


def _product(chip: Chip, tile: str, baseline: str) -> str:
    generated = chip.datetime + dt.timedelta(hours=2)
    orbit = chip.relative_orbit or 0
    return (
        f"{_unit(chip)}_MSIL2A_{_stamp(chip.datetime)}_N{baseline.replace('.', '')}_R{orbit:03d}_T{tile}_"
        f"{_stamp(generated)}"
    )


def _absolute_orbit(chip: Chip) -> int:
    """One with the right relative orbit: the offsets of the units are ESA's."""
    return {"S2A": 140, "S2B": 26}.get(_unit(chip), 0) + 143 * 290 + (chip.relative_orbit or 0)


def _time(when: dt.datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%S}.024Z"


def _product_xml(chip: Chip, name: str, granule: str, files: list[str], baseline: str) -> str:
    unit, generated = _unit(chip), chip.datetime + dt.timedelta(hours=2)
    datatake = f"G{unit}_{_stamp(chip.datetime)}_{_absolute_orbit(chip):06d}_N{baseline}"
    offsets = "".join(
        f'<BOA_ADD_OFFSET band_id="{number}">{_OFFSET}</BOA_ADD_OFFSET>' for number in range(13)
    )
    spectral = "".join(
        f'<Spectral_Information bandId="{index}" physicalBand="{band}"/>'
        for index, band in enumerate(_PHYSICAL)
    )
    images = "".join(f"<IMAGE_FILE>{escape(file)}</IMAGE_FILE>" for file in files)
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n'
        '<n1:Level-2A_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-2A.xsd">'
        "<n1:General_Info><Product_Info>"
        f"<PRODUCT_START_TIME>{_time(chip.datetime)}</PRODUCT_START_TIME>"
        f"<PRODUCT_STOP_TIME>{_time(chip.datetime)}</PRODUCT_STOP_TIME>"
        f"<PRODUCT_URI>{name}.SAFE</PRODUCT_URI><PROCESSING_LEVEL>Level-2A</PROCESSING_LEVEL>"
        f"<PRODUCT_TYPE>S2MSI2A</PRODUCT_TYPE><PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>"
        f"<GENERATION_TIME>{_time(generated)}</GENERATION_TIME>"
        f'<Datatake datatakeIdentifier="{datatake}">'
        f"<SPACECRAFT_NAME>simulated Sentinel-{unit[1:]}</SPACECRAFT_NAME>"
        "<DATATAKE_TYPE>INS-NOBS</DATATAKE_TYPE>"
        f"<DATATAKE_SENSING_START>{_time(chip.datetime)}</DATATAKE_SENSING_START>"
        f"<SENSING_ORBIT_NUMBER>{chip.relative_orbit or 0}</SENSING_ORBIT_NUMBER>"
        "<SENSING_ORBIT_DIRECTION>DESCENDING</SENSING_ORBIT_DIRECTION></Datatake>"
        '<Product_Organisation><Granule_List><Granule datastripIdentifier="" '
        f'granuleIdentifier="{granule}" imageFormat="JPEG2000">{images}'
        "</Granule></Granule_List></Product_Organisation></Product_Info><Product_Image_Characteristics>"
        "<Special_Values><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT>"
        "<SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX></Special_Values>"
        "<Special_Values><SPECIAL_VALUE_TEXT>SATURATED</SPECIAL_VALUE_TEXT>"
        "<SPECIAL_VALUE_INDEX>65535</SPECIAL_VALUE_INDEX></Special_Values>"
        "<QUANTIFICATION_VALUES_LIST>"
        f'<BOA_QUANTIFICATION_VALUE unit="none">{_QUANTIFICATION}</BOA_QUANTIFICATION_VALUE>'
        "</QUANTIFICATION_VALUES_LIST>"
        f"<BOA_ADD_OFFSET_VALUES_LIST>{offsets}</BOA_ADD_OFFSET_VALUES_LIST>"
        f"<Spectral_Information_List>{spectral}</Spectral_Information_List>"
        "</Product_Image_Characteristics></n1:General_Info></n1:Level-2A_User_Product>\n"
    )


def _tile_xml(chip: Chip, tile_id: str, seen: dt.datetime) -> str:
    geocoding = "".join(
        f'<Size resolution="{metres}"><NROWS>{chip.shape[0] * 10 // metres}</NROWS>'
        f"<NCOLS>{chip.shape[1] * 10 // metres}</NCOLS></Size>"
        f'<Geoposition resolution="{metres}"><ULX>{chip.transform.c:.0f}</ULX>'
        f"<ULY>{chip.transform.f:.0f}</ULY><XDIM>{metres}</XDIM><YDIM>-{metres}</YDIM></Geoposition>"
        for metres in (10, 20)
    )
    zenith = 90.0 - (chip.sun_elevation_deg or 0.0)
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n'
        '<n1:Level-2A_Tile_ID xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/S2_PDI_Level-2A_Tile_Metadata.xsd">'
        f'<n1:General_Info><TILE_ID metadataLevel="Brief">{tile_id}</TILE_ID>'
        f'<SENSING_TIME metadataLevel="Standard">{_time(seen)}</SENSING_TIME></n1:General_Info>'
        '<n1:Geometric_Info><Tile_Geocoding metadataLevel="Brief"><HORIZONTAL_CS_CODE>'
        f"EPSG:{chip.crs.to_epsg()}</HORIZONTAL_CS_CODE>{geocoding}</Tile_Geocoding>"
        '<Tile_Angles metadataLevel="Standard"><Mean_Sun_Angle>'
        f'<ZENITH_ANGLE unit="deg">{zenith:.4f}</ZENITH_ANGLE>'
        f'<AZIMUTH_ANGLE unit="deg">{chip.sun_azimuth_deg or 0.0:.4f}</AZIMUTH_ANGLE></Mean_Sun_Angle>'
        "</Tile_Angles></n1:Geometric_Info></n1:Level-2A_Tile_ID>\n"
    )


F32 = NDArray[np.float32]

_CUMULUS = np.array([0.62, 0.60, 0.60, 0.64], np.float32)
_CIRRUS = np.array([0.45, 0.43, 0.42, 0.44], np.float32)
_SHADE = np.array([0.45, 0.38, 0.33, 0.28], np.float32)


def _blobs(rng: np.random.Generator, shape: tuple[int, int], size_px: float) -> F32:
    field = rng.standard_normal(shape).astype(np.float32)
    smooth = cv2.GaussianBlur(field, (0, 0), size_px) + 0.35 * cv2.GaussianBlur(
        rng.standard_normal(shape).astype(np.float32), (0, 0), size_px / 3
    ) * (1 / 3)
    return np.asarray((smooth - smooth.mean()) / max(float(smooth.std()), 1e-6), dtype=np.float32)


def cumulus(
    reflectance: F32,
    rng: np.random.Generator,
    cover: float,
    *,
    shadow_px: tuple[float, float] = (12.0, -18.0),
) -> tuple[F32, NDArray[np.bool_]]:
    """Bright clouds with soft edges, and the shadows they throw.

    Args:
        reflectance: (4, H, W): blue, green, red, near infrared.
        rng: Source of chance.
        cover: Share of the image under cloud, 0 to 1.
        shadow_px: Where a cloud's shadow lies, pixels to the right and down.

    Returns:
        The clouded image, and (H, W) where cloud is.
    """
    shape = reflectance.shape[1:]
    field = _blobs(rng, shape, 14.0)
    edge = float(np.quantile(field, 1 - cover))
    thick = np.clip((field - edge) * 2.5 + 0.4, 0.0, 1.0)
    move = np.array([[1, 0, shadow_px[0]], [0, 1, shadow_px[1]]], np.float64)
    shade = cv2.warpAffine(thick, move, shape[::-1], borderMode=cv2.BORDER_CONSTANT)
    out = reflectance * (1 - shade[None] * (1 - _SHADE[:, None, None]))
    out = out * (1 - thick[None]) + _CUMULUS[:, None, None] * thick[None]
    return out.astype(np.float32), thick > 0.3


def cirrus(reflectance: F32, rng: np.random.Generator, strength: float) -> F32:
    """A thin veil, denser here than there.

    Args:
        reflectance: (4, H, W).
        rng: Source of chance.
        strength: Mean share of the light that comes from the veil, 0 to 1.
    """
    veil = np.clip(strength * (1 + 0.6 * _blobs(rng, reflectance.shape[1:], 22.0)), 0.0, 0.9)
    return np.asarray(reflectance * (1 - veil) + _CIRRUS[:, None, None] * veil, dtype=np.float32)


def shadow_only(reflectance: F32, rng: np.random.Generator, cover: float) -> F32:
    """Shadows of clouds that aren't in the picture."""
    field = _blobs(rng, reflectance.shape[1:], 16.0)
    shade = np.clip((field - float(np.quantile(field, 1 - cover))) * 2.5 + 0.4, 0.0, 1.0)
    return np.asarray(reflectance * (1 - shade * (1 - _SHADE[:, None, None])), dtype=np.float32)
