"""Products with ESA's own XML: SAFE folders, old and new, in zips or not, and folders on AWS's pattern."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from geo.errors import Refusal, SceneError
from geo.file_tree import FileTree, ZipFileTree, below, joined, parent
from geo.sentinel2.formats.esa_xml import TileMetadata, product_metadata, tile_metadata
from geo.sentinel2.formats.product import EIGHT_BITS, QUANTIFICATION, Product, build_product, lacking
from geo.sentinel2.formats.product_names import (
    AWS_INFO,
    AWS_TILE,
    CLASSES,
    SWIR_BAND,
    TEN_METRE_BANDS,
    ProductMetadata,
    aws_roots,
    is_modern,
    offset_by_baseline,
    parse_product_name,
    platform_of,
    safe_roots,
    tile_in,
)
from geo.sentinel2.formats.radiometric_offset import floors
from geo.sentinel2.formats.raster_band import NO_DATA, SATURATED, Band, Header, header

log = logging.getLogger(__name__)

_TILE_XML = re.compile(r"^(MTD_TL|S2[A-Z]_\w{4}_MTD_L(1C|2A)_TL_.*)\.xml$", re.IGNORECASE)
_IMAGE = re.compile(r"(?:^|[_/])(B\d\d|B8A|SCL)(?:_(\d\d)m)?\.(jp2|tiff?)$", re.IGNORECASE)
# Files of a SAFE lie in IMG_DATA and name their tile; a B04.tif that lies beside the XML is someone else's.
_SAFE_IMAGE = re.compile(r"(?:^|_)T\d{2}[A-Z]{3}_[^/]*$", re.IGNORECASE)
_RESOLUTION_FOLDER = re.compile(r"(?:^|/)R(\d\d)m/")
_GRANULE = re.compile(r"^GRANULE/([^/]+)/")
_AWS_PRODUCT = "product_metadata.xml"
# Resolution of the files that bands are taken from, metres, the best first.
_WANTED = {**dict.fromkeys(TEN_METRE_BANDS, (10,)), SWIR_BAND: (20,), CLASSES: (20, 60)}


def open_safe(tree: FileTree, root: str, xml: str | None) -> tuple[list[Product], list[Refusal]]:
    """Open a SAFE product as far as its metadata; one product a granule.

    Args:
        tree: The files.
        root: The product's folder in it.
        xml: The product's XML, None if it is missing.

    Returns:
        The products, and what is refused.
    """
    path = _path(tree, root)
    names = below(tree.names, root)
    files = tuple(sorted({tree.file(joined(root, name)) for name in names}))
    if xml is None:
        reason = "its XML (MTD_MSIL1C.xml or MTD_MSIL2A.xml) is missing, which says what its numbers mean."
        return [], [Refusal(path, reason, files)]
    try:
        metadata = product_metadata(tree.read(xml), tree.path / xml)
    except Exception as error:
        return [], [Refusal.of(path, error, files)]
    granules = _granules(names)
    if not granules:
        return [], [Refusal(path, f"holds no images, only metadata ({_understood(metadata)}).", files)]
    products, refusals = [], []
    for granule, images in granules.items():
        part = _part(tree, root, granule if len(granules) > 1 else "")
        try:
            product = _assembled(
                tree,
                root,
                metadata,
                images,
                tile_xml=_tile_xml(names, granule),
                path=path,
                part=part,
                kind="SAFE",
                tile=tile_in(f"{granule}_") or _tile_of(images) or tile_in(metadata.name),
                files=files,
            )
            products.append(product)
        except Exception as error:  # one bad product must not stop the rest
            refusals.append(Refusal.of(path, error, files))
    return products, refusals


def open_aws(tree: FileTree, root: str) -> tuple[list[Product], list[Refusal]]:
    """Open a folder on the pattern of AWS's buckets as far as its metadata.

    Args:
        tree: The files.
        root: The folder in it.

    Returns:
        The product, or why it is refused.
    """
    path = _path(tree, root)
    names = tuple(
        name for name in below(tree.names, root) if "/" not in name or _RESOLUTION_FOLDER.match(name)
    )
    files = tuple(sorted({tree.file(joined(root, name)) for name in names}))
    try:
        metadata, tile_id, notes = aws_metadata(tree, root)
        images = _images(name for name in names if name.lower().endswith(".jp2"))
        if not images:
            raise SceneError(
                f"{path}: holds no JP2 images (B02.jp2 or R10m/B02.jp2), only metadata "
                f"({_understood(metadata)})"
            )
        product = _assembled(
            tree,
            root,
            metadata,
            images,
            tile_xml=AWS_TILE,
            notes=notes,
            path=path,
            part=_part(tree, root, ""),
            kind="AWS",
            tile=tile_in(tile_id) or tile_in(metadata.name),
            files=files,
        )
    except Exception as error:  # one bad product must not stop the rest
        return [], [Refusal.of(path, error, files)]
    return [product], []


def aws_metadata(tree: FileTree, root: str) -> tuple[ProductMetadata, str, tuple[str, ...]]:
    """Understand a folder on AWS's pattern.

    The tile's XML there doesn't tell the offset. Where the product's XML lies beside it that one does;
    otherwise it follows from the processing baseline, which the tile's identifier ends with.

    Args:
        tree: The files.
        root: The folder in it.

    Returns:
        The product's metadata, the tile's identifier, and what was decided.

    Raises:
        SceneError: The metadata can't be read or contradict each other.
    """
    where = tree.path / joined(root, AWS_TILE)
    tile = tile_metadata(tree.read(joined(root, AWS_TILE)), where)
    name = _aws_product_name(tree, root)
    beside = joined(root, _AWS_PRODUCT)
    if tree.has(beside):
        return product_metadata(tree.read(beside), tree.path / beside), tile.tile_id, ()
    parsed = parse_product_name(name)
    if parsed is None:
        raise SceneError(f"{where}: {AWS_INFO} beside it doesn't name the product")
    baselines = {one for one in (tile.baseline, parsed.baseline) if one is not None}
    if len(baselines) != 1:
        said = " and ".join(sorted(baselines)) or "nothing"
        raise SceneError(
            f"{where}: the processing baseline is needed to understand its numbers, but its names say {said}"
        )
    baseline = baselines.pop()
    offset = offset_by_baseline(baseline)
    metadata = ProductMetadata(
        level=tile.level,
        platform=parsed.platform if parsed.platform != "Sentinel-2" else platform_of(tile.tile_id[:3]),
        start=parsed.start,
        relative_orbit=parsed.relative_orbit,
        baseline=baseline,
        name=name,
        generated=parsed.generated,
        quantification=QUANTIFICATION,
        offsets=dict.fromkeys((*TEN_METRE_BANDS, SWIR_BAND), offset),
    )
    note = f"{_AWS_PRODUCT} is missing: offset {offset:g} and quantification by baseline {baseline}"
    return metadata, tile.tile_id, (note,)


def _aws_product_name(tree: FileTree, root: str) -> str:
    try:
        info: Any = json.loads(tree.read(joined(root, AWS_INFO)))
        return str(info["datastrip"]["path"]).split("/datastrip/")[0].rpartition("/")[2]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def _assembled(
    tree: FileTree,
    root: str,
    metadata: ProductMetadata,
    images: Mapping[str, str],
    *,
    tile_xml: str | None,
    path: Path,
    notes: Sequence[str] = (),
    **known: Any,
) -> Product:
    """Put a product together; `known` are the fields of it that its files' names tell."""
    missing = [name for name in TEN_METRE_BANDS if name not in images]
    if missing:
        raise SceneError(f"{path}: {lacking(missing)} ({_understood(metadata)})")
    paths = {name: tree.gdal(joined(root, image)) for name, image in images.items()}
    first = ten_metre_header(paths["B04"], path)
    offsets, offset_notes = _offsets(metadata, paths, path)
    bands = {
        name: Band(
            name=name,
            path=paths[name],
            scale=1.0 / metadata.quantification,
            offset=offsets[name] / metadata.quantification,
            nothing=(NO_DATA, SATURATED),
        )
        for name in (*TEN_METRE_BANDS, SWIR_BAND)
        if name in paths
    }
    granule, tile_notes = _tile(tree, root, tile_xml)
    return build_product(
        first,
        path=path,
        level=metadata.level,
        platform=metadata.platform,
        datetime=metadata.start,
        clock="datatake",
        relative_orbit=metadata.relative_orbit,
        baseline=metadata.baseline,
        bands=bands,
        classes=Band(CLASSES, paths[CLASSES]) if CLASSES in paths else None,
        sun=(granule.sun_azimuth_deg, granule.sun_elevation_deg) if granule else (None, None),
        generated=metadata.generated,
        about={
            "product": metadata.name or path.name,
            "quantification": metadata.quantification,
            "offset": {name: offsets[name] for name in bands},
            "tile_sensing_time": granule.seen.isoformat() if granule and granule.seen else None,
        },
        decisions=[*notes, *offset_notes, *tile_notes],
        **known,
    )


def _offsets(
    metadata: ProductMetadata, paths: Mapping[str, str], path: Path
) -> tuple[dict[str, float], list[str]]:
    """Numbers to add by band, and what was decided."""
    wanted = [name for name in (*TEN_METRE_BANDS, SWIR_BAND) if name in paths]
    if metadata.offsets:
        untold = [name for name in wanted if name not in metadata.offsets]
        if untold:
            raise SceneError(f"{path}: its XML lists offsets, but none for {' and '.join(untold)}")
        return {name: metadata.offsets[name] for name in wanted}, []
    if metadata.baseline is None or not is_modern(metadata.baseline):
        return dict.fromkeys(wanted, 0.0), []
    found = floors({name: Band(name, paths[name]) for name in TEN_METRE_BANDS})
    if found.removed:
        note = f"baseline {metadata.baseline} without offsets in the XML, but {found.say()}: none is due"
        return dict.fromkeys(wanted, 0.0), [note]
    raise SceneError(
        f"{path}: its XML lists no offsets, which baseline {metadata.baseline} needs, and {found.say()}, so "
        "that its numbers can't be understood"
    )


def _tile(tree: FileTree, root: str, xml: str | None) -> tuple[TileMetadata | None, list[str]]:
    """The granule's XML; it gives only the sun, so that a fault in it costs no more than that."""
    if xml is None:
        return None, ["the granule's XML is missing: the sun's place isn't known"]
    name = joined(root, xml)
    try:
        return tile_metadata(tree.read(name), tree.path / name), []
    except SceneError as error:
        log.debug("%s", error)
        return None, ["the granule's XML can't be read: the sun's place isn't known"]


def ten_metre_header(image: str, path: Path) -> Header:
    """What the image of a 10 m band says of itself.

    Raises:
        SceneError: It can't be opened, has no position, isn't on a 10 m grid, or is an 8-bit picture.
    """
    try:
        found = header(image)
    except SceneError as error:
        raise SceneError(f"{path}: band B04 can't be read: its file is cut short or damaged") from error
    if not found.georeferenced:
        raise SceneError(f"{path}: its images have no position on the map")
    if found.dtypes[0] in ("uint8", "int8"):
        raise SceneError(f"{path}: {EIGHT_BITS}")
    if found.crs is not None and found.crs.is_projected and not 9.5 <= abs(found.transform.a) <= 10.5:
        raise SceneError(
            f"{path}: its bands have pixels of {abs(found.transform.a):g} m, but wagons need those of 10 m"
        )
    return found


def _understood(metadata: ProductMetadata) -> str:
    """What the metadata say of the numbers, for those who have only them."""
    offsets = {metadata.offsets.get(name, 0.0) for name in TEN_METRE_BANDS}
    said = " or ".join(f"{value:g}" for value in sorted(offsets))
    divided = f"divided by {metadata.quantification:g}"
    return f"{metadata.level}, baseline {metadata.baseline}, offset {said}, {divided}"


def _granules(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Images by band by granule; "" is the granule of images that lie in no GRANULE folder."""
    sorted_out: dict[str, list[str]] = {}
    for name in names:
        file = name.rpartition("/")[2]
        if not _IMAGE.search(name) or "QI_DATA/" in name:
            continue
        if "IMG_DATA/" not in name and not _SAFE_IMAGE.search(file):
            continue
        match = _GRANULE.match(name)
        sorted_out.setdefault(match[1] if match else "", []).append(name)
    return {granule: _images(images) for granule, images in sorted_out.items()}


def _images(names: Iterable[str]) -> dict[str, str]:
    """The best file by band: the wanted resolution, JP2 before its conversions."""
    best: dict[str, tuple[tuple[int, bool, int, str], str]] = {}
    for name in names:
        match = _IMAGE.search(name)
        if match is None:
            continue
        band, folder = match[1].upper(), _RESOLUTION_FOLDER.search(name)
        wanted = _WANTED.get(band)
        if wanted is None:
            continue
        told = match[2] or (folder[1] if folder else None)
        metres = int(told) if told else wanted[0]
        if metres not in wanted:
            continue
        rank = (wanted.index(metres), match[3].lower() != "jp2", len(name), name)
        if band not in best or rank < best[band][0]:
            best[band] = (rank, name)
    return {band: name for band, (_, name) in best.items()}


def _tile_xml(names: Iterable[str], granule: str) -> str | None:
    """The XML of a granule: in its folder, or beside the product's."""
    folders = (f"GRANULE/{granule}", "") if granule else ("",)
    listed = [name for name in names if _TILE_XML.match(name.rpartition("/")[2])]
    for folder in folders:
        found = next((name for name in listed if parent(name) == folder), None)
        if found is not None:
            return found
    return None


def _tile_of(images: Mapping[str, str]) -> str | None:
    for name in images.values():
        tile = tile_in(name.rpartition("/")[2])
        if tile is not None:
            return tile
    return None


def _path(tree: FileTree, root: str) -> Path:
    return tree.path if isinstance(tree, ZipFileTree) else tree.path / root


def _part(tree: FileTree, root: str, granule: str) -> str:
    """What of the path: a zip may hold several products, a product several granules."""
    if isinstance(tree, ZipFileTree) and len(safe_roots(tree.names)) + len(aws_roots(tree.names)) > 1:
        return joined(root, granule)
    return granule
