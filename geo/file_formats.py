"""Which files of a folder are images, by their names and what lies beside them; what to say of the rest."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from geo.errors import SceneError
from geo.zipped import images_in_zip

__all__ = ["ZIPPED_SUFFIXES", "foreign_format", "header_beside", "images_at", "is_image_name"]

ZIPPED_SUFFIXES = frozenset(
    {".tif", ".tiff", ".jp2", ".j2k", ".jpx", ".ntf", ".nitf", ".png", ".jpg", ".jpeg", ".webp", ".bmp"}
)
"""Endings of images that are one file each, so that they can be read where they lie in a zip."""

_SUFFIXES = ZIPPED_SUFFIXES | {".vrt", ".mbtiles", ".img", ".nsf", ".gif", ".til", ".cog", ".gtiff", ".j2c"}
# Raw numbers, which are an image only with a header beside them.
_RAW = frozenset({"", ".dat", ".bsq", ".bil", ".bip", ".raw", ".bin", ".envi"})
_DIMAP = re.compile(r"^DIM_.*\.xml$", re.IGNORECASE)
_CONVERT = "convert it to GeoTIFF (in QGIS, or with gdal_translate)"
_PICTURE = "save it as PNG or JPEG"
_UNPACK = "unpack it"
_FOREIGN = {
    ".ecw": (
        "an ECW image",
        "convert it to GeoTIFF with QGIS for Windows, which has ERDAS' reader",
    ),
    ".sid": ("a MrSID image", "convert it to GeoTIFF with LizardTech's mrsiddecode or QGIS for Windows"),
    ".kmz": (
        "a KMZ file",
        "unpack it and georeference the image inside (an area goes to --aoi)",
    ),
    ".heic": ("a HEIC photograph", _PICTURE),
    ".heif": ("a HEIF photograph", _PICTURE),
    ".avif": ("an AVIF image", _PICTURE),
    ".jxl": ("a JPEG XL image", _PICTURE),
    ".psd": ("a Photoshop file", "export it as TIFF or PNG"),
    ".xcf": ("a GIMP file", "export it as TIFF or PNG"),
    ".pdf": ("a PDF file", "export the map in it as GeoTIFF (in QGIS, or with gdal_translate)"),
    ".pix": ("a PCIDSK image", _CONVERT),
    ".ers": ("an ER Mapper header", _CONVERT),
    ".rst": ("an IDRISI image", _CONVERT),
    ".nc": ("a netCDF file", _CONVERT),
    ".hdf": ("an HDF file", _CONVERT),
    ".h5": ("an HDF5 file", _CONVERT),
    ".he5": ("an HDF-EOS file", _CONVERT),
    **dict.fromkeys(
        (".dng", ".nef", ".cr2", ".cr3", ".arw", ".orf"), ("a camera's raw photograph", _PICTURE)
    ),
    ".rar": ("a RAR archive", _UNPACK),
    ".7z": ("a 7-Zip archive", _UNPACK),
    ".tar": ("a tar archive", _UNPACK),
    ".tgz": ("a tar archive", _UNPACK),
    ".gz": ("a gzip archive", _UNPACK),
}


def is_image_name(name: str) -> bool:
    """Whether a name ends like an image's that is read, or like one's that is refused with a way out."""
    suffix = Path(name).suffix.lower()
    return suffix in _SUFFIXES or suffix in _FOREIGN


def images_at(path: Path) -> Iterator[Path]:
    """The images that a file of a folder is or holds: itself, those in a zip, or none.

    A file that holds none but should (a broken zip, a header without its data) is given itself: opening it
    says what is wrong.
    """
    suffix = path.suffix.lower()
    if suffix == ".zip":
        try:
            inside = images_in_zip(path, ZIPPED_SUFFIXES)
        except SceneError:
            inside = []
        yield from (one.path for one in inside) if inside else (path,)
    elif suffix == ".gpkg":
        if _has_raster(path):
            yield path
    elif suffix == ".hdr":
        if not _data_beside(path):
            yield path
    elif suffix in _RAW:
        if header_beside(path) is not None:
            yield path
    elif is_image_name(path.name) or _DIMAP.match(path.name):
        yield path


def foreign_format(path: Path) -> str | None:
    """What is to be said of an image in a format that isn't read: its name and the way out; else None.

    Example:
        >>> print(foreign_format(Path("yard.heic")))
        is a HEIC photograph, which railwatch can't read: save it as PNG or JPEG
    """
    suffix = path.suffix.lower()
    if suffix == ".hdr":
        beside = "" if not _data_beside(path) else f" of {_data_beside(path)}: give that file instead"
        return f"is a header (.hdr){beside or ' without its data file: put the .img, .dat or .bil beside it'}"
    if suffix not in _FOREIGN:
        return None
    name, way_out = _FOREIGN[suffix]
    return f"is {name}, which railwatch can't read: {way_out}"


def header_beside(path: Path) -> str | None:
    """The name of the header (.hdr) of raw numbers beside their file, None without one."""
    wanted = (f"{path.stem}.hdr".lower(), f"{path.name}.hdr".lower())
    for name in (f"{path.stem}.hdr", f"{path.name}.hdr", f"{path.stem}.HDR", f"{path.name}.HDR"):
        if name.lower() in wanted and path.suffix.lower() != ".hdr" and path.with_name(name).is_file():
            return name
    return None


def _data_beside(header: Path) -> str | None:
    """The name of the file that a header belongs to."""
    names = [header.stem, *(f"{header.stem}{suffix}" for suffix in (*sorted(_RAW - {""}), ".img"))]
    for name in names:
        for spelt in (name, f"{header.stem}{Path(name).suffix.upper()}"):
            if spelt != header.name and header.with_name(spelt).is_file():
                return spelt
    return None


def _has_raster(path: Path) -> bool:
    """Whether a GeoPackage holds tiles, and not vector layers alone; one that can't be read may."""
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        ) as database:
            (count,) = database.execute(
                "SELECT count(*) FROM gpkg_contents WHERE data_type NOT IN ('features', 'attributes')"
            ).fetchone()
    except (sqlite3.Error, OSError):
        return True
    return bool(count)
