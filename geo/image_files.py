"""Files of images: which of a folder are images, what lies beside one, and what to say of the rest.

Beside an image may lie its coordinate reference system (.prj), the header of raw numbers (.hdr), and its time
and platform in a STAC item.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from rasterio.crs import CRS
from rasterio.errors import CRSError

import aoi.files
from geo.errors import SceneError
from geo.file_tree import images_in_zip, zip_member
from geo.filename_metadata import NameTime, parse_time

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
    ".ecw": ("an ECW image", "convert it to GeoTIFF with QGIS for Windows, which has ERDAS' reader"),
    ".sid": ("a MrSID image", "convert it to GeoTIFF with LizardTech's mrsiddecode or QGIS for Windows"),
    ".kmz": ("a KMZ file", "unpack it and georeference the image inside (an area goes to --aoi)"),
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
    if path.suffix.lower() == ".hdr":
        return None
    names = (f"{name}.{ending}" for ending in ("hdr", "HDR") for name in (path.stem, path.name))
    return next((name for name in names if path.with_name(name).is_file()), None)


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


log = logging.getLogger(__name__)

_CRS_SUFFIXES = (".prj", ".qpj")
_LARGEST_TEXT = 1 << 22
# A folder of an archive may hold thousands of items; those named like the image are looked at first.
_MOST_OTHERS = 64
_SHORTEST_RANGE = dt.timedelta(hours=1)
_ZONE = re.compile(r"^\s*zone\s+(-?\d{1,2})", re.IGNORECASE | re.MULTILINE)


# ---- coordinate reference systems ------------------------------------------------------------------


def crs_beside(path: Path) -> CRS | None:
    """The CRS that a .prj (or .qpj) file beside an image gives, in upper or lower case; None without one.

    Raises:
        SceneError: It can't be understood.
    """
    for suffix in _CRS_SUFFIXES:
        for sidecar in _named_like(path, suffix):
            try:
                return parse_crs(decoded(sidecar.read_bytes()[:_LARGEST_TEXT]))
            except OSError as error:
                raise SceneError(f"{sidecar}: can't be read: {error.strerror}") from error
            except CRSError as error:
                cause = (str(error).strip().splitlines() or [""])[0].rstrip(".")
                raise SceneError(
                    f"{path}: the coordinate reference system in {sidecar.name} can't be understood ({cause})"
                ) from error
    return None


def parse_crs(text: str) -> CRS:
    """A CRS in any dialect that .prj files are written in.

    These are WKT (ESRI's, GDAL's, the newest), EPSG codes with or without words around them, PROJ strings and
    the lines of Arc/Info coverages.

    Raises:
        CRSError: None of them.

    Example:
        >>> parse_crs("urn:ogc:def:crs:EPSG::32631").to_epsg()
        32631
    """
    clean = text.strip().strip("\ufeff\0")
    code = re.fullmatch(r"(?:.*?epsg\s*[:/]*)?\s*(?:[\d.]*[:/])?(\d{4,6})", clean, re.IGNORECASE)
    if code is not None:
        return CRS.from_epsg(int(code[1]))
    if clean.upper().startswith("PROJECTION ") or re.match(r"(?i)projection\s", clean):
        return _coverage(clean)
    if re.match(r"[A-Z_]+\s*[\[(]", clean, re.IGNORECASE):
        esri = "D_" in clean or "GCS_" in clean
        return CRS.from_wkt(clean, morph_from_esri_dialect=esri)
    return CRS.from_user_input(clean)


def _coverage(text: str) -> CRS:
    """The .prj of an Arc/Info coverage: a parameter a line; UTM and degrees on WGS84, NAD83 or NAD27."""
    table = {
        words[0].upper(): words[1].upper()
        for line in text.splitlines()
        if len(words := line.split(None, 1)) == 2
    }
    datum = re.sub(r"[^A-Z0-9]", "", table.get("DATUM", table.get("SPHEROID", "")))
    bases = {"WGS84": (4326, 32600, 32700), "NAD83": (4269, 26900, None), "NAR": (4269, 26900, None)}
    bases |= {"NAD27": (4267, 26700, None), "NAS": (4267, 26700, None)}
    degrees, north, south = bases.get(datum, (None, None, None))
    kind = table.get("PROJECTION", "").strip()
    zone = _ZONE.search(text)
    if kind.startswith("GEOGRAPHIC") and degrees is not None:
        return CRS.from_epsg(degrees)
    if kind == "UTM" and zone is not None and 1 <= abs(int(zone[1])) <= 60:
        base = north if int(zone[1]) > 0 and not table.get("YSHIFT", "0").startswith("-1") else south
        if base is not None:
            return CRS.from_epsg(base + abs(int(zone[1])))
    raise CRSError("an Arc/Info projection that isn't known here")


def decoded(content: bytes) -> str:
    """Text in UTF-8 or UTF-16, with or without a byte order mark; what is neither is read as Latin-1.

    UTF-16 to which some program has put a single byte, such as a line's end, stays UTF-16.
    """
    try:
        return aoi.files.decoded(content)
    except UnicodeDecodeError as error:
        if error.encoding.startswith("utf-16"):
            return content.decode(error.encoding, "replace").removeprefix("\ufeff")
        return content.decode("latin-1")


def _named_like(path: Path, suffix: str) -> list[Path]:
    """Files of a suffix, in any case, that are named as an image is: ``a.prj`` or ``a.tif.prj``."""
    if zip_member(path) is not None:
        return []  # GDAL looks inside a zip by itself
    wanted = (f"{path.stem}{suffix}".lower(), f"{path.name}{suffix}".lower())
    exact = path.with_suffix(suffix)
    if exact.is_file():
        return [exact]
    try:
        return sorted(one for one in path.parent.iterdir() if one.name.lower() in wanted and one.is_file())
    except OSError:
        return []


# ---- STAC items ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ItemBeside:
    """What a STAC item, or a publisher's metadata in JSON, says of an image that it names.

    Attributes:
        path: Its file.
        time: When the image was taken.
        sensor: Its platform, or None.
    """

    path: Path
    time: NameTime
    sensor: str | None


def item_beside(path: Path) -> ItemBeside | None:
    """The STAC item (or Planet's ``..._metadata.json``) in an image's folder that speaks of it; None without.

    An item speaks of an image if one of its assets names a file of that name. Nothing is fetched.
    """
    if zip_member(path) is not None:
        return None
    for sidecar, item in _items(path):
        properties = item.get("properties")
        if isinstance(properties, Mapping):
            return ItemBeside(sidecar, _time(properties), _sensor(properties))
    return None


def _items(path: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    try:
        stamp = path.parent.stat().st_mtime_ns
    except OSError:
        return
    listed = _json_files(path.parent, stamp)
    stem = path.stem.lower()
    near = [one for one in listed if _alike(one.stem.lower(), stem)]
    others = [one for one in listed if one not in near] if len(listed) <= _MOST_OTHERS else []
    for sidecar in (*near, *others):
        document = _read_json(sidecar, _stamp(sidecar))
        for item in _features(document):
            if path.name in _assets(item) or _is_planets(sidecar, path, item):
                yield sidecar, item


def _alike(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one) or one.removesuffix("_metadata") in other


@lru_cache(maxsize=32)
def _json_files(folder: Path, stamp: int) -> tuple[Path, ...]:
    del stamp  # of the folder, so that one that has changed is listed again
    try:
        return tuple(sorted(one for one in folder.iterdir() if one.suffix.lower() == ".json"))
    except OSError:
        return ()


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=256)
def _read_json(path: Path, stamp: int) -> Any:
    del stamp
    try:
        if path.stat().st_size > _LARGEST_TEXT:
            return None
        return json.loads(decoded(path.read_bytes()))
    except (OSError, ValueError, RecursionError) as error:
        log.debug("%s: %s", path, error)
        return None


def _features(document: Any) -> Iterator[Mapping[str, Any]]:
    if not isinstance(document, Mapping):
        return
    listed = document.get("features")
    for one in listed if isinstance(listed, list) else [document]:
        if isinstance(one, Mapping) and one.get("type") == "Feature":
            properties = one.get("properties")
            # Our own stores are static STAC too, and their pictures no images.
            if isinstance(properties, Mapping) and not any(
                str(key).startswith("railwatch:") for key in properties
            ):
                yield one


def _assets(item: Mapping[str, Any]) -> set[str]:
    """Bare names of the files that an item's assets link to."""
    assets = item.get("assets")
    names = set()
    for asset in assets.values() if isinstance(assets, Mapping) else ():
        href = asset.get("href") if isinstance(asset, Mapping) else None
        if isinstance(href, str):
            names.add(unquote(urlsplit(href.replace("\\", "/")).path).rpartition("/")[2])
    return names


def _is_planets(sidecar: Path, path: Path, item: Mapping[str, Any]) -> bool:
    identity = str(item.get("id", ""))
    return (
        sidecar.stem.lower().endswith("_metadata")
        and bool(identity)
        and path.name.startswith(identity)
        and "acquired" in item.get("properties", {})
    )


def _time(properties: Mapping[str, Any]) -> NameTime:
    for key in ("datetime", "acquired"):
        value = properties.get(key)
        if isinstance(value, str) and value.strip():
            found = parse_time(value)
            return NameTime(fault=f"its item's time can't be used: {found.fault}") if found.fault else found
    first, last = (
        parse_time(value) if isinstance(value := properties.get(key), str) else NameTime()
        for key in ("start_datetime", "end_datetime")
    )
    if first.when is None or last.when is None:
        return NameTime()
    if last.when - first.when > _SHORTEST_RANGE:
        span = f"{first.when.date()} to {last.when.date()}"
        return NameTime(fault=f"its item says that it was taken over a time ({span})")
    return first


def _sensor(properties: Mapping[str, Any]) -> str | None:
    for key in ("platform", "satellite_id", "vehicle_name", "constellation"):
        value = properties.get(key)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return None
