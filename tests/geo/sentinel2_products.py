"""Small Sentinel-2 products, written as their publishers write them, from reflectances that a test chooses.

Nothing here is imported by the code: the numbers, names and XML are written out a second time, so that a test
compares two opinions about a format and not one with itself.

All writers take the planes as ``{"B02": (H, W), ...}``: reflectance on the 10 m grid, NaN where there is no
data. B11 is brought to 20 m by averaging, a scene classification by taking every second pixel, so H and
W have to be even where they are given.
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from aoi import AreaOfInterest

Planes = Mapping[str, NDArray[Any]]

TEN_METRES = ("B02", "B03", "B04", "B08")
PHYSICAL = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")
NAMES = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
BAND_IDS = {name: index for index, name in enumerate(NAMES)}
COMMON = {"B02": "blue", "B03": "green", "B04": "red", "B08": "nir", "B11": "swir16"}
SUN = (41.0, 160.0)
"""Elevation and azimuth that products get unless told otherwise, degrees."""

JP2_OPTIONS = {"QUALITY": "100", "REVERSIBLE": "YES", "YCBCR420": "NO"}
SATURATED = 65535


def area_at(
    bounds: tuple[float, float, float, float], crs: CRS | str | int = 32652, name: str = "yard"
) -> AreaOfInterest:
    """A rectangular area, given in map coordinates.

    Args:
        bounds: West, south, east, north.
        crs: Of the bounds.
        name: The area's.
    """
    to_lonlat = pyproj.Transformer.from_crs(crs, 4326, always_xy=True).transform
    boundary = shapely.transform(
        shapely.segmentize(shapely.box(*bounds), 100.0), to_lonlat, interleaved=False
    )
    return AreaOfInterest(name, name.title(), boundary)


def countryside(
    shape: tuple[int, int], seed: int = 0, *, bands: Sequence[str] = (*TEN_METRES, "B11")
) -> dict[str, NDArray[np.float32]]:
    """Fields, a lake and a bright road: reflectances with the dark ground that nearly every scene has.

    Args:
        shape: Rows and columns at 10 m, both even.
        seed: Of the noise and of where things lie.
        bands: The planes wanted.
    """
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    lake = (rows - shape[0] * 0.7) ** 2 + (columns - shape[1] * 0.3) ** 2 < (0.18 * min(shape)) ** 2
    road = np.abs(rows - columns * 0.3 - shape[0] * 0.2) < 1.5
    fields = (rows // 16 + columns // 20 + seed) % 3
    values = {  # lake, road, and the three crops
        "B02": (0.030, 0.22, (0.035, 0.060, 0.110)),
        "B03": (0.028, 0.25, (0.060, 0.080, 0.140)),
        "B04": (0.018, 0.27, (0.035, 0.075, 0.190)),
        "B08": (0.010, 0.30, (0.420, 0.330, 0.260)),
        "B11": (0.008, 0.32, (0.180, 0.220, 0.300)),
    }
    planes = {}
    for band in bands:
        water, tar, crops = values[band]
        plane = np.choose(fields, crops)
        plane = np.where(road, tar, np.where(lake, water, plane))
        planes[band] = (plane + generator.normal(0.0, 0.004, shape)).clip(0.002).astype(np.float32)
    return planes


def numbers(
    reflectance: NDArray[Any], *, offset: float = 0.0, quantification: float = 10_000.0
) -> NDArray[np.uint16]:
    """Digital numbers: reflectance times the quantification less the offset, 0 where there is no data.

    Args:
        reflectance: With NaN where there is none.
        offset: The publisher's, to be added to a number before it is divided: -1000 from baseline 04.00 on.
        quantification: What 1.0 is written as.
    """
    scaled = np.rint(np.asarray(reflectance, float) * quantification - offset)
    return np.where(np.isfinite(scaled), np.clip(scaled, 1, SATURATED - 1), 0).astype(np.uint16)


def coarse(plane: NDArray[Any]) -> NDArray[Any]:
    """Means over 2 x 2 pixels: what a 20 m band sees of a 10 m plane."""
    height, width = plane.shape
    return np.asarray(plane, float).reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))


def twice(transform: Affine) -> Affine:
    """The transform of pixels of twice the side, from the same corner."""
    a, b, c, d, e, f = tuple(transform)[:6]
    return Affine(2 * a, 2 * b, c, 2 * d, 2 * e, f)


def write_raster(
    path: Path,
    planes: NDArray[Any],
    transform: Affine,
    crs: CRS | str | int,
    *,
    driver: str | None = None,
    descriptions: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
    nodata: float | None = None,
    overviews: bool = False,
) -> Path:
    """A raster file; JP2 (lossless) where its name ends so and no driver is given.

    Args:
        path: Where to; its folder is made.
        planes: (H, W) or (bands, H, W).
        transform: Pixels to map coordinates.
        crs: Of the map coordinates.
        driver: GDAL's; by the ending if not given.
        descriptions: Names of the bands, written into the file.
        tags: Other metadata.
        nodata: Declared in the file.
        overviews: Whether to make it a tiled GeoTIFF with overviews, as a COG is.
    """
    planes = planes[None] if planes.ndim == 2 else planes
    driver = driver or ("JP2OpenJPEG" if path.suffix == ".jp2" else "GTiff")
    path.parent.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = dict(JP2_OPTIONS) if driver == "JP2OpenJPEG" else {}
    if overviews:
        options = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
    with rasterio.open(
        path,
        "w",
        driver=driver,
        count=len(planes),
        height=planes.shape[1],
        width=planes.shape[2],
        dtype=planes.dtype,
        crs=crs,
        transform=transform,
        nodata=nodata,
        **options,
    ) as image:
        image.write(planes)
        for index, name in enumerate(descriptions, start=1):
            image.set_band_description(index, name)
        if tags:
            image.update_tags(**tags)
    if overviews:
        with rasterio.open(path, "r+") as image:
            image.build_overviews([2, 4], rasterio.enums.Resampling.average)
    return path


def stamp(when: dt.datetime) -> str:
    """A time as in product names: 20231005T021001."""
    return f"{when:%Y%m%dT%H%M%S}"


def write_safe(
    folder: Path,
    reflectance: Planes,
    transform: Affine,
    crs: CRS | str | int,
    when: dt.datetime,
    *,
    level: str = "L2A",
    baseline: str = "05.09",
    tile: str = "52TFN",
    platform: str = "S2A",
    relative_orbit: int = 3,
    zipped: bool = False,
    scl: NDArray[np.uint8] | None = None,
    sun: tuple[float, float] | None = SUN,
    offsets: Mapping[str, float] | float | None = None,
    quantification: float = 10_000.0,
    tile_seconds: float = 240.0,
    generated: dt.datetime | None = None,
    driver: str | None = None,
    old: bool = False,
    inside: str = "",
    doctype: str = "",
) -> Path:
    """A SAFE folder, or a zip that holds one.

    Args:
        folder: Where the product is put.
        reflectance: Planes on the 10 m grid.
        transform: Of the 10 m grid.
        crs: UTM.
        when: Start of the datatake, which the product's name has.
        level: "L2A" or "L1C".
        baseline: Processing baseline.
        tile: MGRS tile, without the T.
        platform: "S2A" to "S2D".
        relative_orbit: 1 to 143.
        zipped: Whether to pack it (and to leave only the zip).
        scl: Scene classification on the 10 m grid; L2A only.
        sun: Elevation and azimuth, degrees; None leaves the granule's XML out.
        offsets: To be added to numbers, one for all bands or one a band; by default as ESA does: -1000 from
            baseline 04.00 on, and no list of offsets at all before.
        quantification: What reflectance 1.0 is written as.
        tile_seconds: How long after the datatake's start the tile was seen.
        generated: Time of processing; an hour after the acquisition if not given.
        driver: Of the image files: "GTiff" makes GeoTIFF files with the ending .jp2.
        old: Whether to use the names of before December 2016 (S2A_OPER_PRD_...).
        inside: A folder in the zip that the product lies in.
        doctype: Put before the root of the product's XML.

    Returns:
        The .SAFE folder or the zip.
    """
    modern = tuple(int(part) for part in baseline.split(".")) >= (4, 0)
    if offsets is None:
        offsets = -1000.0 if modern else 0.0
        listed = modern
    else:
        listed = True
    by_band = {name: offsets if isinstance(offsets, (int, float)) else offsets.get(name) for name in NAMES}
    generated = generated or when + dt.timedelta(hours=1)
    number = baseline.replace(".", "")
    seen = when + dt.timedelta(seconds=tile_seconds)
    orbit = absolute_orbit(platform, relative_orbit)
    if old:
        rest = f"PDMC_{stamp(generated)}_R{relative_orbit:03d}_V{stamp(when)}_{stamp(when)}"
        name = f"{platform}_OPER_PRD_MSI{level}_{rest}"
        granule = f"{platform}_OPER_MSI_{level}_TL_SGS__{stamp(generated)}_A{orbit:06d}_T{tile}_N{baseline}"
        image_stem = granule.rsplit("_N", 1)[0]
        product_xml = f"{platform}_OPER_MTD_SAF{level}_{rest}.xml"
        tile_xml = f"{granule.replace('_MSI_', '_MTD_').rsplit('_N', 1)[0]}.xml"
    else:
        name = (
            f"{platform}_MSI{level}_{stamp(when)}_N{number}_R{relative_orbit:03d}_T{tile}_{stamp(generated)}"
        )
        granule = f"{level}_T{tile}_A{orbit:06d}_{stamp(seen)}"
        image_stem = f"T{tile}_{stamp(when)}"
        product_xml, tile_xml = f"MTD_MSI{level}.xml", "MTD_TL.xml"
    folder.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(dir=folder)) if zipped else folder
    root = place / f"{name}.SAFE"
    images = root / "GRANULE" / granule / "IMG_DATA"
    files = []
    for band, plane in reflectance.items():
        ten = band in TEN_METRES
        metres = 10 if ten else 20
        grid = transform if ten else twice(transform)
        values = numbers(
            plane if ten else coarse(plane), offset=by_band[band] or 0.0, quantification=quantification
        )
        stem = f"{image_stem}_{band}"
        beside = images
        if level == "L2A" and not old:
            stem, beside = f"{stem}_{metres}m", images / f"R{metres}m"
        write_raster(beside / f"{stem}.jp2", values, grid, crs, driver=driver)
        files.append((beside / stem).relative_to(root).as_posix())
    if scl is not None and level == "L2A":
        grid = twice(transform)
        write_raster(images / "R20m" / f"{image_stem}_SCL_20m.jp2", scl[::2, ::2], grid, crs, driver=driver)
        files.append((images / "R20m" / f"{image_stem}_SCL_20m").relative_to(root).as_posix())
    (root / product_xml).write_text(
        _product_xml(
            name=f"{name}.SAFE",
            level=level,
            baseline=baseline,
            platform=platform,
            when=when,
            generated=generated,
            relative_orbit=relative_orbit,
            orbit=orbit,
            granule=granule,
            files=files,
            offsets=by_band if listed else {},
            quantification=quantification,
            doctype=doctype,
        ),
        encoding="utf-8",
    )
    if sun is not None:
        shape = next(iter(reflectance.values())).shape
        (root / "GRANULE" / granule / tile_xml).write_text(
            tile_metadata_xml(
                level=level,
                tile_id=f"{platform}_OPER_MSI_{level}_TL_2APS_{stamp(generated)}_A{orbit:06d}_T{tile}_N{baseline}",
                seen=seen,
                crs=crs,
                transform=transform,
                shape=(shape[0], shape[1]),
                sun=sun,
            ),
            encoding="utf-8",
        )
    (root / "manifest.safe").write_text("<xfdu:XFDU xmlns:xfdu='urn:ccsds:schema:xfdu:1'/>", encoding="utf-8")
    if not zipped:
        return root
    packed = folder / f"{name}.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(root.rglob("*")):
            if file.is_file():
                archive.write(file, str(Path(inside) / file.relative_to(place)))
    shutil.rmtree(place)
    return packed


def absolute_orbit(platform: str, relative_orbit: int) -> int:
    """Some absolute orbit that has the given relative one."""
    return {"S2A": 140, "S2B": 26, "S2C": 0, "S2D": 0}.get(platform, 0) + 143 * 290 + relative_orbit


def _time(when: dt.datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%S}.024Z"


def _product_xml(
    *,
    name: str,
    level: str,
    baseline: str,
    platform: str,
    when: dt.datetime,
    generated: dt.datetime,
    relative_orbit: int,
    orbit: int,
    granule: str,
    files: Sequence[str],
    offsets: Mapping[str, float | None],
    quantification: float,
    doctype: str,
) -> str:
    one = level == "L1C"
    number = level[1:]
    element, group = (
        ("RADIO_ADD_OFFSET", "Radiometric_Offset_List")
        if one
        else ("BOA_ADD_OFFSET", "BOA_ADD_OFFSET_VALUES_LIST")
    )
    listed = "".join(
        f'<{element} band_id="{BAND_IDS[band]}">{value:g}</{element}>'
        for band, value in offsets.items()
        if value is not None
    )
    quantities = (
        f'<QUANTIFICATION_VALUE unit="none">{quantification:g}</QUANTIFICATION_VALUE>'
        if one
        else "<QUANTIFICATION_VALUES_LIST>"
        f'<BOA_QUANTIFICATION_VALUE unit="none">{quantification:g}</BOA_QUANTIFICATION_VALUE>'
        '<AOT_QUANTIFICATION_VALUE unit="none">1000.0</AOT_QUANTIFICATION_VALUE>'
        '<WVP_QUANTIFICATION_VALUE unit="cm">1000.0</WVP_QUANTIFICATION_VALUE></QUANTIFICATION_VALUES_LIST>'
    )
    spectral = "".join(
        f'<Spectral_Information bandId="{index}" physicalBand="{band}"><RESOLUTION>10</RESOLUTION>'
        "</Spectral_Information>"
        for index, band in enumerate(PHYSICAL)
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n{doctype}'
        f'<n1:Level-{number}_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-{number}.xsd">'
        "<n1:General_Info><Product_Info>"
        f"<PRODUCT_START_TIME>{_time(when)}</PRODUCT_START_TIME><PRODUCT_STOP_TIME>{_time(when)}</PRODUCT_STOP_TIME>"
        f"<PRODUCT_URI>{name}</PRODUCT_URI><PROCESSING_LEVEL>Level-{number}</PROCESSING_LEVEL>"
        f"<PRODUCT_TYPE>S2MSI{number}</PRODUCT_TYPE><PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>"
        f"<GENERATION_TIME>{_time(generated)}</GENERATION_TIME>"
        f'<Datatake datatakeIdentifier="G{platform}_{stamp(when)}_{orbit:06d}_N{baseline}">'
        f"<SPACECRAFT_NAME>Sentinel-{platform[1:]}</SPACECRAFT_NAME><DATATAKE_TYPE>INS-NOBS</DATATAKE_TYPE>"
        f"<DATATAKE_SENSING_START>{_time(when)}</DATATAKE_SENSING_START>"
        f"<SENSING_ORBIT_NUMBER>{relative_orbit}</SENSING_ORBIT_NUMBER>"
        "<SENSING_ORBIT_DIRECTION>DESCENDING</SENSING_ORBIT_DIRECTION></Datatake>"
        '<Product_Organisation><Granule_List><Granule datastripIdentifier="" '
        f'granuleIdentifier="{granule}" imageFormat="JPEG2000">'
        + "".join(f"<IMAGE_FILE>{file}</IMAGE_FILE>" for file in files)
        + "</Granule></Granule_List></Product_Organisation></Product_Info><Product_Image_Characteristics>"
        "<Special_Values><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT>"
        "<SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX></Special_Values>"
        "<Special_Values><SPECIAL_VALUE_TEXT>SATURATED</SPECIAL_VALUE_TEXT>"
        "<SPECIAL_VALUE_INDEX>65535</SPECIAL_VALUE_INDEX></Special_Values>"
        f"{quantities}"
        + (f"<{group}>{listed}</{group}>" if listed else "")
        + f"<Spectral_Information_List>{spectral}</Spectral_Information_List>"
        f"</Product_Image_Characteristics></n1:General_Info></n1:Level-{number}_User_Product>\n"
    )


def tile_metadata_xml(
    *,
    level: str,
    tile_id: str,
    seen: dt.datetime,
    crs: CRS | str | int,
    transform: Affine,
    shape: tuple[int, int],
    sun: tuple[float, float],
) -> str:
    """The granule's XML (MTD_TL.xml of a SAFE, metadata.xml on AWS)."""
    code = CRS.from_user_input(crs).to_epsg()
    geocoding = "".join(
        f'<Size resolution="{metres}"><NROWS>{shape[0] * 10 // metres}</NROWS>'
        f"<NCOLS>{shape[1] * 10 // metres}</NCOLS></Size>"
        f'<Geoposition resolution="{metres}"><ULX>{transform.c:g}</ULX><ULY>{transform.f:.0f}</ULY>'
        f"<XDIM>{metres}</XDIM><YDIM>-{metres}</YDIM></Geoposition>"
        for metres in (10, 20)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n'
        f'<n1:Level-{level[1:]}_Tile_ID xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/S2_PDI_Level-{level[1:]}_Tile_Metadata.xsd">'
        f'<n1:General_Info><TILE_ID metadataLevel="Brief">{tile_id}</TILE_ID>'
        f'<SENSING_TIME metadataLevel="Standard">{_time(seen)}</SENSING_TIME></n1:General_Info>'
        f'<n1:Geometric_Info><Tile_Geocoding metadataLevel="Brief"><HORIZONTAL_CS_CODE>EPSG:{code}'
        f"</HORIZONTAL_CS_CODE>{geocoding}</Tile_Geocoding>"
        '<Tile_Angles metadataLevel="Standard"><Mean_Sun_Angle>'
        f'<ZENITH_ANGLE unit="deg">{90 - sun[0]:g}</ZENITH_ANGLE>'
        f'<AZIMUTH_ANGLE unit="deg">{sun[1]:g}</AZIMUTH_ANGLE></Mean_Sun_Angle></Tile_Angles>'
        f"</n1:Geometric_Info></n1:Level-{level[1:]}_Tile_ID>\n"
    )


def write_stac(
    folder: Path,
    reflectance: Planes,
    transform: Affine,
    crs: CRS | str | int,
    when: dt.datetime,
    *,
    flavour: str = "earth-search",
    baseline: str = "05.09",
    tile: str = "52TFN",
    platform: str = "S2A",
    relative_orbit: int = 3,
    scl: NDArray[np.uint8] | None = None,
    sun: tuple[float, float] = SUN,
    pixel_offset: float | None = None,
    flag: bool | None = None,
    declared_offset: float | None = None,
    remote: bool = True,
    sequence: int = 0,
    tile_seconds: float = 240.0,
    generated: dt.datetime | None = None,
) -> Path:
    """A folder of COGs with the STAC item that their publisher writes.

    Args:
        folder: In which the product's own folder is made.
        reflectance: Planes on the 10 m grid.
        transform: Of the 10 m grid.
        crs: UTM.
        when: Start of the datatake.
        flavour: "earth-search" (sentinel-2-l2a), "c1" (sentinel-2-c1-l2a), "l1c" (sentinel-2-l1c, JP2),
            "planetary-computer" or "cdse".
        baseline: Processing baseline.
        tile: MGRS tile, without the T.
        platform: "S2A" to "S2D".
        relative_orbit: 1 to 143.
        scl: Scene classification on the 10 m grid.
        sun: Elevation and azimuth, degrees.
        pixel_offset: What has to be added to the numbers in the files: by default what the publisher does (0
            at Earth Search's sentinel-2-l2a and before baseline 04.00, else -1000).
        flag: ``earthsearch:boa_offset_applied``; None leaves it out.
        declared_offset: Of ``raster:bands`` (a reflectance, -0.1); None declares what the publisher does.
        remote: Whether the item names its files by the publisher's URLs or by relative paths.
        sequence: Of the product's id at Earth Search.
        tile_seconds: How long after the datatake's start the tile was seen.
        generated: Time of processing.

    Returns:
        The item's JSON file; the images lie beside it.
    """
    modern = tuple(int(part) for part in baseline.split(".")) >= (4, 0)
    generated = generated or when + dt.timedelta(hours=1)
    seen = when + dt.timedelta(seconds=tile_seconds)
    epsg = CRS.from_user_input(crs).to_epsg()
    orbit = absolute_orbit(platform, relative_orbit)
    level = "L1C" if flavour == "l1c" else "L2A"
    uri = (
        f"{platform}_MSI{level}_{stamp(when)}_N{baseline.replace('.', '')}_R{relative_orbit:03d}_T{tile}_"
        f"{stamp(generated)}.SAFE"
    )
    if pixel_offset is None:
        pixel_offset = -1000.0 if modern and flavour != "earth-search" else 0.0
    if declared_offset is None:
        declared_offset = -0.1 if modern else 0.0
    properties: dict[str, Any] = {
        "datetime": f"{seen:%Y-%m-%dT%H:%M:%S}.276000Z",
        "platform": f"sentinel-{platform[1:].lower()}",
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "s2:product_type": f"S2MSI{level[1:]}",
        "s2:processing_baseline": baseline,
        "s2:product_uri": uri,
        "s2:datatake_id": f"G{platform}_{stamp(when)}_{orbit:06d}_N{baseline}",
        "grid:code": f"MGRS-{tile}",
        "proj:epsg": epsg,
        "view:sun_elevation": sun[0],
        "view:sun_azimuth": sun[1],
    }
    if flavour == "earth-search":
        identifier = f"{platform}_{tile}_{when:%Y%m%d}_{sequence}_L2A"
        collection = "sentinel-2-l2a"
        base = f"https://sentinel-cogs.s3.us-west-2.amazonaws.com/sentinel-s2-l2a-cogs/{identifier}"
        if flag is not None:
            properties["earthsearch:boa_offset_applied"] = flag
    elif flavour == "c1":
        identifier, collection = f"{platform}_T{tile}_{stamp(seen)}_L2A", "sentinel-2-c1-l2a"
        base = f"https://e84-earth-search-sentinel-data.s3.us-west-2.amazonaws.com/sentinel-2-c1-l2a/{identifier}"
    elif flavour == "l1c":
        identifier, collection = f"{platform}_{tile}_{when:%Y%m%d}_{sequence}_L1C", "sentinel-2-l1c"
        base = f"s3://sentinel-s2-l1c/tiles/{when:%Y/%m/%d}/0"
    elif flavour == "planetary-computer":
        identifier, collection = (
            uri.removesuffix(".SAFE").replace(f"_N{baseline.replace('.', '')}", ""),
            "sentinel-2-l2a",
        )
        base = f"https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/{uri}/IMG_DATA"
        properties |= {
            "datetime": f"{when:%Y-%m-%dT%H:%M:%S}.024000Z",
            "platform": f"Sentinel-{platform[1:]}",
            "constellation": "Sentinel 2",
            "sat:relative_orbit": relative_orbit,
            "s2:mgrs_tile": tile,
            "s2:mean_solar_zenith": 90 - sun[0],
            "s2:mean_solar_azimuth": sun[1],
        }
        for key in ("grid:code", "view:sun_elevation", "view:sun_azimuth"):
            del properties[key]
    elif flavour == "cdse":
        identifier, collection = uri.removesuffix(".SAFE"), "sentinel-2-l2a"
        base = f"s3://eodata/Sentinel-2/MSI/L2A/{when:%Y/%m/%d}/{uri}/IMG_DATA"
        properties |= {
            "datetime": f"{when:%Y-%m-%dT%H:%M:%S}.024000Z",
            "sat:relative_orbit": relative_orbit,
            "processing:version": baseline,
            "product:type": "S2MSI2A",
        }
        for key in ("s2:product_type", "s2:processing_baseline", "s2:product_uri", "proj:epsg"):
            del properties[key]
        properties["proj:code"] = f"EPSG:{epsg}"
    else:
        raise ValueError(flavour)
    place = folder / identifier
    place.mkdir(parents=True, exist_ok=True)
    layers: dict[str, tuple[NDArray[Any], int]] = {
        band: (
            numbers(plane if band in TEN_METRES else coarse(plane), offset=pixel_offset),
            10 if band in TEN_METRES else 20,
        )
        for band, plane in reflectance.items()
    }
    if scl is not None and level == "L2A":
        layers["SCL"] = (scl[::2, ::2], 20)
    assets: dict[str, Any] = {}
    for band, (values, metres) in layers.items():
        grid = transform if metres == 10 else twice(transform)
        bare = flavour in ("planetary-computer", "cdse")
        stem = f"T{tile}_{stamp(when)}_{band}_{metres}m" if bare else band
        file = f"{stem}.jp2" if flavour in ("l1c", "cdse") else f"{stem}.tif"
        write_raster(
            place / file,
            values,
            grid,
            crs,
            nodata=None if file.endswith("jp2") else 0,
            overviews=file.endswith("tif"),
        )
        key = {"planetary-computer": band, "cdse": f"{band}_{metres}m"}.get(
            flavour, COMMON.get(band, band.lower())
        )
        asset: dict[str, Any] = {
            "href": f"{base}/{file}" if remote else f"./{file}",
            "type": "image/jp2"
            if file.endswith("jp2")
            else "image/tiff; application=geotiff; profile=cloud-optimized",
            "proj:shape": list(values.shape),
            "proj:transform": list(grid)[:6],
        }
        if flavour == "cdse" and band != "SCL":
            asset |= {
                "raster:scale": 0.0001,
                "raster:offset": declared_offset,
                "nodata": 0,
                "data_type": "uint16",
            }
        elif flavour != "planetary-computer":
            asset["raster:bands"] = [
                {"nodata": 0, "data_type": str(values.dtype), "spatial_resolution": metres}
            ]
            if band != "SCL":
                asset["raster:bands"][0] |= {"scale": 0.0001, "offset": declared_offset}
        assets[key] = asset
    item = {
        "type": "Feature",
        "stac_version": "1.1.0" if flavour == "cdse" else "1.0.0",
        "id": identifier,
        "collection": collection,
        "properties": properties,
        "geometry": None,
        "links": [],
        "assets": assets,
    }
    path = place / f"{identifier}.json"
    path.write_text(json.dumps(item), encoding="utf-8")
    return path


def write_export(
    path: Path,
    reflectance: Planes,
    transform: Affine,
    crs: CRS | str | int,
    *,
    style: str = "earth-engine",
    named: bool = True,
    scl: NDArray[np.uint8] | None = None,
    nodata: float | None = None,
) -> Path:
    """One GeoTIFF with all bands, as Google Earth Engine and Sentinel Hub export them.

    Args:
        path: The file; its name tells the date.
        reflectance: Planes on the 10 m grid, B11 among them if wanted.
        transform: Of the 10 m grid.
        crs: Of the export.
        style: "earth-engine" (uint16 times 10,000, bands B2, B3, ...), "float" (reflectance, bands B02, ...)
            or "8-bit" (a stretched picture).
        named: Whether the bands have descriptions.
        scl: Scene classification on the 10 m grid, a last band.
        nodata: Declared in the file.
    """
    planes = [np.asarray(plane) for plane in reflectance.values()]
    names = list(reflectance)
    if style == "earth-engine":
        stack = np.stack([numbers(plane) for plane in planes])
        names = [name.replace("B0", "B") for name in names]
    elif style == "float":
        stack = np.stack(planes).astype(np.float32)
    elif style == "8-bit":
        stack = np.stack([np.nan_to_num(plane * 800).clip(0, 255).astype(np.uint8) for plane in planes])
    else:
        raise ValueError(style)
    if scl is not None:
        stack, names = np.concatenate([stack, scl[None].astype(stack.dtype)]), [*names, "SCL"]
    return write_raster(path, stack, transform, crs, descriptions=names if named else (), nodata=nodata)
