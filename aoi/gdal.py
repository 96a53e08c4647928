"""The one door through which GDAL opens files that somebody else made.

GDAL reads more than two hundred formats, and some of them are no images but descriptions of where images are:
web services, catalogues, other files, programs. Nothing that a user is given may make a request or lead out
of its own folder by itself. So:

- only the drivers of an allow-list open a file, whatever it claims to be (`RASTERS`, `VECTORS`);
- a description is read by us first (`check_references`): what points to the network or out of the folder tree
  of the file is refused, with the name of the file and of what it points to;
- GDAL's remote file systems are shut for every opening (`SHUT`), and so is Python in VRT files;
- in processes of ours (the command line), the drivers that aren't allowed don't exist (`shut_gdal`), since
  GDAL opens side files (overviews, masks) with any driver that there is.

Two copies of GDAL may be loaded, those of rasterio and of pyogrio; both read the process's environment.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aoi.files import real_path
from aoi.references import RefusedFileError, check_references

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

RASTERS = (
    "GTiff", "VRT", "MBTiles", "JPEG", "PNG", "JP2OpenJPEG", "WEBP", "BMP", "GIF", "HFA", "ENVI", "NITF",
    "GPKG", "EHdr", "DIMAP", "TIL",
)  # fmt: skip
"""Drivers that open a user's image."""

VECTORS = (
    "ESRI Shapefile", "MapInfo File", "GML", "GPX", "KML", "LIBKML", "GeoJSON", "GeoJSONSeq", "ESRIJSON",
    "TopoJSON", "JSONFG", "GPKG", "SQLite", "FlatGeobuf", "OpenFileGDB", "OSM", "DXF", "DGN", "CSV",
    "OGR_GMT",
)  # fmt: skip
"""Drivers that open a user's vector file."""

# Every other driver that releases 3.8 to 3.12 of GDAL may have, as a list that GDAL_SKIP takes: it can't be
# told what to keep. A test compares it with the drivers that are there.
_SKIPPED = (
    "AAIGrid ACE2 ADBC ADRG AIG AIVector AirSAR AmigoCloud Arrow ARG AVCBin AVCE00 BAG BASISU BIGGIF "
    "BLX BSB BT BYN CAD CALS Carto CEOS COASP COSAR CPG CSW CTable2 CTG DAAS DDS DIPEx DOQ1 DOQ2 DTED "
    "ECRGTOC ECW EDIGEO EEDA EEDAI EIR Elasticsearch ELAS ELASTIC ERS ESAT ESRIC EXR FAST FIT FITS "
    "GDALG GenBin GeoRSS GFF GMLAS GNMDatabase GNMFile GPSBabel GRASS GRASSASCIIGrid GRIB GS7BG GSAG "
    "GSBG GSC GTI GTFS GTX GXF HANA HDF4 HDF4Image HDF5 HDF5Image HEIF HF2 HTTP IDA Idrisi IFC ILWIS "
    "IRIS ISCE ISG ISIS2 ISIS3 JAXAPALSAR JDEM JML JP2ECW JP2KAK JP2Lura JP2MrSID JPEGXL JPEGXR JPIPKAK "
    "KEA KMLSUPEROVERLAY KRO L1B LAN LCP Leveller LIBERTIFF LOSLAS LVBAG MAP MapML MFF MFF2 "
    "MiraMonVector MongoDBv3 MRF MrSID MSGN MSSQLSpatial MVT MySQL NAS NDF netCDF NGSGEOID NGW NOAA_B "
    "NSIDCbin NTv2 NWT_GRC NWT_GRD OAPIF OCI ODBC ODS OGCAPI OGDI OGR_GRASS OGR_PDS OGR_SDTS OGR_VRT "
    "OpenJPEG OZI PAux Parquet PCIDSK PCRaster PDF PDS PDS4 PGDUMP PGeo PLMOSAIC PLSCENES PMTiles PNM "
    "PostGISRaster PostgreSQL PRF R Rasterlite RDB RIK RMF ROI_PAC RPFTOC RRASTER RS2 RST S102 S104 "
    "S111 S57 SAFE SAGA SAR_CEOS SDTS Selafin SENTINEL2 SGI SIGDEM SNAP_TIFF SNODAS SRP SRTMHGT STACIT "
    "STACTA SXF Terragen TGA TIGER TileDB TSX USGSDEM VDV VFK VICAR WAsP WCS WEBHDFS WFS WMS WMTS XLS "
    "XLSX XODR XPM XYZ Zarr ZMap "
)
_SKIPPED_WITH_SPACES = ("Interlis 1", "Interlis 2", "UK .NTF")

SHUT: Mapping[str, Any] = {
    # The name of the one remote file that may be opened: a name that nothing has.
    "CPL_VSIL_CURL_ALLOWED_FILENAME": "none",
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    # Overviews and masks lie beside an image, not wherever its side file says.
    "OGR_SQLITE_LIST_VIRTUAL_OGR": "NO",
}
"""GDAL's options under which no file is opened but those that lie on disk."""

# Decoded blocks are kept in a cache of the whole process, by default 5% of the machine's memory. So much
# holds a row of tiles of most images, so that what tiles share isn't decoded twice, and is the same on any
# machine. In bytes: rasterio hands it on as it is, where GDAL itself takes small numbers for megabytes.
_CACHE_BYTES = 128 << 20

# Python's warning filters, and pyogrio's options of GDAL, belong to the process.
_process = threading.RLock()


def shut_gdal() -> None:
    """Set this process's environment so that no copy of GDAL in it knows other drivers or the network.

    For programs of ours, before rasterio or pyogrio are imported; a program that imports railwatch as a
    library keeps its drivers. What the environment said before is not asked, but kept for other programs that
    are started from here (`outer_environment`).
    """
    options = {
        **SHUT,
        "GDAL_SKIP": ",".join([*_SKIPPED.split(), *_SKIPPED_WITH_SPACES]),
        "PROJ_NETWORK": "OFF",
    }
    # No copy of GDAL has all of the drivers that are to be skipped, and each says so: pyogrio's on stderr, as
    # long as nobody listens, rasterio's to its logger.
    options.setdefault("CPL_LOG", os.devnull)
    logging.getLogger("rasterio._env").addFilter(lambda record: "GDAL_SKIP" not in record.getMessage())
    set_variables({name: str(value) for name, value in options.items()})
    # Where Amazon's client is installed rasterio loads it, for a file system that is shut: an eighth of a
    # second. None is Python's mark for a module that isn't there.
    sys.modules.setdefault("boto3", None)  # type: ignore[arg-type]


@contextmanager
def open_raster(
    name: str | Path,
    *,
    drivers: Sequence[str] = RASTERS,
    options: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> Iterator[DatasetReader]:
    """Open an image on disk, or in a zip by GDAL's name (``/vsizip/{...}/...``), for reading.

    Args:
        name: The file.
        drivers: What may open it, of `RASTERS`.
        options: GDAL's options for as long as it is open.
        quiet: Whether the image is known to have a position, so that rasterio won't warn of having none.

    Raises:
        RefusedFileError: It points to the network or out of its folder tree, or its name isn't UTF-8.
        rasterio.errors.RasterioError, OSError: GDAL can't open it.
    """
    import rasterio
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import NotGeoreferencedWarning, RasterioError
    from rasterio.io import DatasetReader

    check_references(name)
    # An absolute name can't be taken for an address.
    whole = name if isinstance(name, str) and name.startswith("/vsi") else os.path.abspath(name)  # noqa: PTH100
    if whole.startswith("/vsi"):  # what a description in a zip names isn't looked at
        drivers = [one for one in drivers if one != "VRT"]
    with rasterio.Env(**{**(options or {}), "GDAL_CACHEMAX": _CACHE_BYTES, **SHUT}):
        if quiet:
            image = DatasetReader(whole, driver=list(drivers))
        else:
            with _process, warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                image = DatasetReader(whole, driver=list(drivers))
        with image:
            try:
                _check_opened(image, name)
                yield image
            except CPLE_BaseError as error:  # what a side file was faulty in comes up at the next call
                raise RasterioError(str(error)) from error


def _check_opened(image: DatasetReader, name: str | Path) -> None:
    """What only GDAL can tell: overviews elsewhere, and the files of a format of several files."""
    elsewhere = raster_tags(image, "OVERVIEWS").get("OVERVIEW_FILE", "")
    if elsewhere and not elsewhere.startswith(":::BASE:::"):
        raise RefusedFileError(f"{name}: points to overviews elsewhere ({elsewhere[:200]}): make it anew")
    if image.driver not in {"GTiff", "PNG", "JPEG", "VRT"} and not str(name).startswith("/vsi"):
        path = Path(name)
        roots = {path.absolute().parent, real_path(path).parent}
        for file in image.files:
            if not any(Path(os.path.normpath(Path(file).absolute())).is_relative_to(root) for root in roots):
                raise RefusedFileError(f"{name}: refers to {file} outside its own folder")


def raster_tags(image: DatasetReader, namespace: str | None = None) -> dict[str, str]:
    """An image's tags; none where one of them isn't text in UTF-8, which rasterio can't read."""
    try:
        return dict(image.tags(ns=namespace))
    except UnicodeDecodeError:
        return {}


def raster_descriptions(image: DatasetReader) -> tuple[str | None, ...]:
    """The descriptions of an image's bands; none where one of them isn't text in UTF-8."""
    try:
        return tuple(image.descriptions)
    except UnicodeDecodeError:
        return (None,) * int(image.count)


def list_layers(path: Path) -> list[tuple[str, str | None]]:
    """The layers of a vector file: name and kind of geometry, None where it has none.

    Raises:
        RefusedFileError: As `open_raster`.
        pyogrio.errors.DataSourceError: GDAL can't read it.
    """
    import pyogrio

    with _vector(path):
        found = [(str(name), None if kind is None else str(kind)) for name, kind in pyogrio.list_layers(path)]
        driver = pyogrio.read_info(path, layer=found[0][0])["driver"] if found else None
    if driver is not None and driver not in VECTORS:
        raise RefusedFileError(f"{path}: is a {driver} file, which isn't read: convert it to GeoPackage")
    return found


def vector_info(path: Path, layer: str | None = None) -> dict[str, Any]:
    """What a layer says about itself; see ``pyogrio.read_info``.

    Raises:
        RefusedFileError: As `open_raster`.
        pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError: GDAL can't read it.
    """
    import pyogrio

    with _vector(path):
        return dict(pyogrio.read_info(path, layer=layer))


def read_vector(path: Path, layer: str | None = None, **how: Any) -> Any:
    """A layer as a GeoDataFrame, or a DataFrame where it has no geometry; see ``geopandas.read_file``.

    Args:
        path: The file.
        layer: Its name; by default the only one, or the first.
        how: Further arguments of ``geopandas.read_file``.

    Raises:
        RefusedFileError: As `open_raster`.
        pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError: GDAL can't read it.
    """
    import geopandas

    list_layers(path)
    with _vector(path):
        return geopandas.read_file(path, layer=layer, engine="pyogrio", **how)


def attribute_rows(frame: Any) -> list[dict[str, Any]]:
    """Each row of a GeoDataFrame without its geometry; an empty dictionary where there is nothing else."""
    columns = [column for column in frame.columns if column != frame.geometry.name]
    # pandas 2 makes no records of a table without columns.
    return frame[columns].to_dict("records") or [{} for _ in range(len(frame))]


@contextmanager
def _vector(path: Path) -> Iterator[None]:
    """Pyogrio's GDAL with its remote file systems shut."""
    import pyogrio

    check_references(path)
    with _process:
        before = {name: pyogrio.get_gdal_config_option(name) for name in SHUT}
        pyogrio.set_gdal_config_options(dict(SHUT))
        try:
            yield
        finally:
            pyogrio.set_gdal_config_options(before)


_before: dict[str, str | None] = {}


def set_variables(values: Mapping[str, str]) -> None:
    """Set variables that libraries read when they are loaded.

    What they were before is kept for other programs that are started from here (`outer_environment`).

    Example:
        >>> set_variables({"RAILWATCH_EXAMPLE": "1"})
        >>> os.environ["RAILWATCH_EXAMPLE"], "RAILWATCH_EXAMPLE" in outer_environment()
        ('1', False)
    """
    for name, value in values.items():
        _before.setdefault(name, os.environ.get(name))
        os.environ[name] = value


def outer_environment() -> dict[str, str]:
    """The environment as it was before `set_variables`, for programs of the user's own."""
    outer = dict(os.environ)
    for name, value in _before.items():
        if value is None:
            outer.pop(name, None)
        else:
            outer[name] = value
    return outer
