"""What a file points to, read before GDAL opens it: nothing may lead to the network or out of a folder.

Some formats hold no pixels or lines themselves, but say where they are (VRT, OGR VRT, GDALG, WMS), and some
have side files or members that do: overviews named by an ``.aux.xml``, the linked coordinate reference system
of GeoJSON 2008. All that is looked at here is text, or the names in a zip.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aoi.errors import InputError
from aoi.files import decoded, real_path, safe_name

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


MOST_UNPACKED = 64 * 2**30
"""The most bytes that a zip may unpack to; a Sentinel-2 product has one or two GB."""
_BOMB_RATIO, _BOMB_BYTES = 200, 256 * 2**20
_MOST_MEMBERS = 100_000
_HEAD = 1 << 16
_LARGEST_DESCRIPTION = 64 * 2**20
_DEEPEST = 8

_REMOTE_VSI = re.compile(r"/vsi(curl|s3|gs|az|adls|oss|swift|webhdfs|hdfs)(_streaming)?[/?]", re.IGNORECASE)
_ADDRESS = re.compile(r"(?<![\w+.-])(https?|ftps?|s3|gs|az|abfss?|wss?|file)://", re.IGNORECASE)
_ARCHIVE = re.compile(r"/vsizip/(?:\{(.+?)\}(?=/|$)|(.+?\.zip))(?:/|$)", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
# Descriptions of services or other files, by what GDAL's drivers look for in a file's beginning.
_SERVICES = re.compile(
    rb"<(GDAL_WMS|WMT_MS_Capabilities|WMS_Tile_Service|Capabilities|GDAL_WMTS|WMTS|OGRWFSDataSource|"
    rb"OGROAPIFDataSource|OGRCSWDataSource|OGRWCSDataSource|WCS_GDAL|MRF_META|GDALTileIndexDataset)\b"
)
_VRT, _OGR_VRT = re.compile(rb"<VRTDataset\b"), re.compile(rb"<OGRVRTDataSource\b")
# Elements of a VRT that name a file; see GDAL's documentation of the format.
_NAMING = frozenset({"sourcefilename", "sourcedataset", "srcdatasource", "dempath", "srcdsname"})
_NAMING_KEYS = frozenset({"X_DATASET", "Y_DATASET", "OVERVIEW_FILE", "RPC_DEM", "GEOLOC_DATASET"})
_NO_REFERENCE = frozenset({"mdi", "description", "category", "unittype", "abstract", "title"})


class RefusedFileError(InputError):
    """A file that points to the network or out of its own folder tree, or that unpacks to far too much."""


def check_references(name: str | Path) -> None:
    """Refuse a file that leads to the network or out of its own folder tree.

    Args:
        name: A file on disk, or GDAL's name of one in a zip (``/vsizip/{...}/...``).

    Raises:
        RefusedFileError: In one sentence that names the file and what it points to.
    """
    text = str(name)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise RefusedFileError(
            f"{safe_name(text)}: its name isn't UTF-8, so it can't be opened: rename it"
        ) from None
    if text.startswith("/vsi"):
        inside = _ARCHIVE.match(text)
        archive = Path(next(filter(None, inside.groups()))) if inside else None
        if archive is None or not archive.is_file():
            raise RefusedFileError(f"{text}: isn't a file on disk")
        return
    path = Path(text)
    if path.exists() and not path.is_file() and not path.is_dir():
        raise RefusedFileError(f"{path}: is no ordinary file")
    if path.is_file():
        _check(path, (path.absolute().parent, Path(os.path.realpath(path)).parent), ())


def check_zip(path: Path) -> None:
    """Refuse a zip that unpacks to far more than any product does.

    Raises:
        RefusedFileError: It does, has very many members, or isn't a zip that can be listed.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        raise RefusedFileError(f"{path}: isn't a zip file, or is cut short ({error})") from error
    if len(members) > _MOST_MEMBERS:
        raise RefusedFileError(f"{path}: holds {len(members)} files, far more than a product does")
    unpacked = sum(one.file_size for one in members)
    if unpacked > MOST_UNPACKED:
        raise RefusedFileError(f"{path}: unpacks to {unpacked / 2**30:.0f} GB, far more than a product does")
    for one in members:
        if one.file_size > _BOMB_BYTES and one.file_size > _BOMB_RATIO * max(one.compress_size, 1):
            raise RefusedFileError(
                f"{path}: {one.filename} unpacks to {one.file_size / 2**30:.1f} GB from "
                f"{one.compress_size / 2**20:.1f} MB, which no image does"
            )


def _check(path: Path, roots: tuple[Path, ...], above: tuple[Path, ...]) -> None:
    """Look at one file and its side files; ``above`` are the descriptions that led to it."""
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError:
        return  # whoever opens it says so
    _check_side_files(path, roots)
    if head.startswith(b"PK\x03\x04"):
        _check_members(path)
        return
    if head.startswith(b"SQLite format 3\0"):
        _check_tables(path)
        return
    if _SERVICES.search(head):
        raise RefusedFileError(
            f"{path}: describes a service on the network, and no input may reach out to it"
        )
    if _OGR_VRT.search(head):
        said = ", ".join(one.text or "" for one in _parsed(path).iter() if one.tag.lower() == "srcdatasource")
        raise RefusedFileError(f"{path}: only points to other files ({said[:200]}): give those themselves")
    if _VRT.search(head):
        real = real_path(path)
        if real in above or len(above) >= _DEEPEST:
            raise RefusedFileError(f"{path}: refers to itself")
        for other in _named_files(path, _parsed(path), roots):
            if other.is_file():
                try:
                    _check(other, roots, (*above, real))
                except RefusedFileError as error:
                    raise RefusedFileError(f"{path}: refers to {error}") from error
        return
    if _is_json(head):
        _check_json(path)
    elif head[:64].lstrip().lower().startswith((b"!table", b"stacit:", b"vrt://")):
        remote = _REMOTE_VSI.search(head.decode("latin-1")) or _ADDRESS.search(head.decode("latin-1"))
        if remote:
            raise _network(path, remote[0])


def _check_side_files(path: Path, roots: tuple[Path, ...]) -> None:
    """The overviews, mask and metadata that GDAL looks for beside an image."""
    for ending in (".ovr", ".msk", ".msk.ovr"):
        side = path.with_name(path.name + ending)
        if side.is_file():
            with side.open("rb") as stream:
                head = stream.read(_HEAD)
            if head[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"EHFA", b"\x89PNG") and head:
                raise RefusedFileError(
                    f"{path}: its side file {side.name} isn't an image: remove it, or make it anew"
                )
    side = path.with_name(path.name + ".aux.xml")
    if side.is_file():
        try:
            tree = _parsed(side)
        except RefusedFileError:
            return  # GDAL leaves out a side file that is no XML
        for _ in _named_files(side, tree, roots, side=True):
            pass


def _named_files(path: Path, tree: Element, roots: tuple[Path, ...], *, side: bool = False) -> Iterator[Path]:
    """The files that a description names, each inside the folder tree of the first one.

    Of a side file only what names a file is looked at: the rest may quote any address.
    """
    pending = [(tree, False)]
    while pending:
        element, quoted = pending.pop()
        tag = element.tag.rpartition("}")[2].lower()
        key = element.get("key", element.get("name", ""))
        value = (element.text or "").strip()
        naming = (
            tag in _NAMING
            or (tag == "mdi" and key.upper() in _NAMING_KEYS)
            or (tag in {"argument", "option"} and re.search("filename|dataset|cutline", key, re.IGNORECASE))
        )
        if tag == "pixelfunctioncode" or (tag == "pixelfunctionlanguage" and value.lower() == "python"):
            raise RefusedFileError(f"{path}: holds a program, and no input may bring its own")
        if naming or not (quoted or side or tag in _NO_REFERENCE):
            for said in (value, *element.attrib.values()):
                if _REMOTE_VSI.search(said) or (_ADDRESS.search(said) and said == value):
                    raise _network(path, said)
        if naming and value:
            yield from _inside(path, value, element.get("relativeToVRT", "1"), roots)
        pending += [(each, quoted or tag == "metadata") for each in element]


def _inside(path: Path, said: str, relative: str, roots: tuple[Path, ...]) -> Iterator[Path]:
    """The files on disk that a reference may mean."""
    if said.startswith("<"):
        if _SERVICES.search(said.encode()):
            raise _network(path, said)
        yield from _named_files(path, _parse(path, said.encode()), roots)
        return
    said = said.removeprefix(":::BASE:::")
    archive = _ARCHIVE.match(said)
    if archive:
        said = next(filter(None, archive.groups()))
    elif said.startswith("/vsi") or (re.match(r"[A-Za-z0-9_]{2,}:", said) and not _DRIVE.match(said)):
        raise RefusedFileError(f"{path}: refers to {said[:200]}, which isn't a file in its folder")
    places = [path.absolute().parent / said]
    if relative != "1" and (Path.cwd() / said).exists():
        places.append(Path.cwd() / said)
    for place in (Path(os.path.normpath(one)) for one in places):
        if not any(place.is_relative_to(root) for root in roots):
            raise RefusedFileError(
                f"{path}: refers to {said[:200]} outside its own folder: put the two together, or give that "
                "file itself"
            )
        yield place


def _check_members(path: Path) -> None:
    """The text files of a zip that a vector driver might open."""
    check_zip(path)
    with zipfile.ZipFile(path) as archive:
        for one in archive.infolist():
            suffix = Path(one.filename).suffix.lower()
            if suffix not in {".json", ".geojson", ".vrt", ".xml", ".topojson", ".geojsonl"}:
                continue
            if one.file_size > _LARGEST_DESCRIPTION or one.flag_bits & 1:
                continue
            try:
                content = archive.read(one)
            except Exception:  # zlib.error and its like: whoever opens it says so
                continue
            head = content[:_HEAD]
            if _SERVICES.search(head) or _OGR_VRT.search(head) or _VRT.search(head):
                raise RefusedFileError(
                    f"{path}: {one.filename} inside points to other files: unpack the zip first"
                )
            if _is_json(head):
                _check_document(content, f"{path}: {one.filename}")


def _check_tables(path: Path) -> None:
    """A SQLite file may hold tables that are made of other files."""
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        ) as database:
            made = [
                str(sql)
                for (sql,) in database.execute("SELECT sql FROM sqlite_master WHERE sql LIKE '%VIRTUAL%'")
            ]
    except sqlite3.Error:
        return  # damaged: whoever opens it says so
    for sql in made:
        if re.search(r"USING\s+\W?Virtual(OGR|Shape|Text|Dbf|XL|GeoJSON|FDO|XPath)", sql, re.IGNORECASE):
            raise RefusedFileError(
                f"{path}: has a table that is made of another file ({' '.join(sql.split())[:120]})"
            )


def _is_json(head: bytes) -> bool:
    start = head.lstrip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n\x1e")[:1]
    return start in (b"{", b"[")


def _check_json(path: Path) -> None:
    try:
        content = path.read_bytes()
    except OSError:
        return  # whoever opens it says so
    _check_document(content, str(path))


def _check_document(content: bytes, name: str) -> None:
    """GeoJSON of 2008 may name a coordinate reference system by a link; GDALG is a program of GDAL's."""
    if not re.search(rb"crs|gdal_streamed_alg|\\u", content):
        return  # nothing to parse a large file for
    try:
        text = decoded(content)
    except UnicodeError:
        return  # GDAL reads JSON in UTF-8 alone

    def look(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        for key, value in pairs:
            kind = str(value.get("type")).lower() if key == "crs" and isinstance(value, dict) else ""
            if kind.startswith(("link", "url")):
                said = json.dumps(value.get("properties"))[:120]
                raise RefusedFileError(
                    f"{name}: names its coordinate reference system by a link ({said}), and no input may "
                    "reach out to the network"
                )
            if value == "gdal_streamed_alg":
                raise RefusedFileError(f"{name}: holds a command of GDAL, and no input may bring its own")
        return dict(pairs)

    try:
        json.loads(text, object_pairs_hook=look)
    except RecursionError as error:
        raise RefusedFileError(f"{name}: isn't JSON that can be read: it is nested too deep") from error
    except json.JSONDecodeError as error:
        lines = [line for line in text.split("\n") if line.strip(" \r\x1e")]
        try:
            for line in lines:
                json.loads(line.strip(" \r\x1e"), object_pairs_hook=look)
        except (json.JSONDecodeError, RecursionError):
            raise RefusedFileError(f"{name}: is no complete JSON ({error})") from error


def _parsed(path: Path) -> Element:
    try:
        if path.stat().st_size > _LARGEST_DESCRIPTION:
            raise RefusedFileError(f"{path}: is too large for a description of an image")
        content = path.read_bytes()
    except OSError as error:
        raise RefusedFileError(f"{path}: can't be read ({error.strerror})") from error
    return _parse(path, content)


def _parse(path: Path, content: bytes) -> Element:
    import defusedxml.ElementTree
    from defusedxml.common import DefusedXmlException

    try:
        tree: Element = defusedxml.ElementTree.fromstring(content, forbid_dtd=True)
    except (defusedxml.ElementTree.ParseError, DefusedXmlException, RecursionError, ValueError) as error:
        raise RefusedFileError(f"{path}: isn't XML that can be read ({error})") from error
    return tree


def _network(path: Path, said: str) -> RefusedFileError:
    return RefusedFileError(
        f"{path}: points to the network ({' '.join(said.split())[:200]}), and no input may reach out to it"
    )
