"""Images with a STAC item beside them: Earth Search, the Planetary Computer, the Copernicus Data Space.

An item says where its files are on the publisher's servers. What is read is what lies beside the item;
nothing is fetched. What `geo.catalogue` has fetched is an item with one image of all bands, whose offset was
decided when all of the scene could be asked (`FETCHED`).
"""

from __future__ import annotations

import datetime as dt
import json
import math
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import unquote, urlsplit

from geo.errors import Refusal, SceneError
from geo.file_tree import FileTree, joined, parent
from geo.sentinel2.formats.esa_xml import LARGEST_OFFSET
from geo.sentinel2.formats.product import QUANTIFICATION, Clock, Product, build_product, lacking
from geo.sentinel2.formats.product_names import (
    CLASSES,
    SWIR_BAND,
    TEN_METRE_BANDS,
    is_modern,
    offset_by_baseline,
    parse_datatake,
    parse_product_name,
    platform_of,
    time_or_none,
)
from geo.sentinel2.formats.radiometric_offset import decide, floors
from geo.sentinel2.formats.raster_band import NO_DATA, SATURATED, Band
from geo.sentinel2.formats.safe import ten_metre_header

Publisher = Literal[
    "Earth Search", "Earth Search c1", "Planetary Computer", "Copernicus Data Space", "unknown"
]

_COMMON_NAMES = {"blue": "B02", "green": "B03", "red": "B04", "nir": "B08", "swir16": "B11", "scl": "SCL"}
_ASSET = re.compile(r"^(b\d\d|b8a|scl)(?:_(\d\d)m)?$")
_WANTED = {**dict.fromkeys(TEN_METRE_BANDS, ("10",)), SWIR_BAND: ("20",), CLASSES: ("20", "60")}
_JP2 = "-jp2"
_SENTINEL2 = re.compile(r"^sentinel[-_ ]?(s?2)(?![0-9])", re.IGNORECASE)
_PRODUCT_ID = re.compile(r"^S2[A-D]_")
# S2A_13TDE_20231008_0_L2A
_EARTH_SEARCH_ID = re.compile(r"^S2[A-D]_\d{1,2}[A-Z]{3}_\d{8}_\d+_L(1C|2A)$")
_TILE = re.compile(r"^(?:MGRS-|T)?(\d{1,2})([A-Z]{3})$")
_BASELINE = re.compile(r"^\d\d\.\d\d$")
_SCALES = (1e-5, 1e-3)
FETCHED = "pixels"
"""Name of the asset with all bands, in the items that `geo.catalogue.cut` writes."""
# A datatake lasts up to half an hour; an item over a longer time is a composite.
_LONGEST_ITEM = dt.timedelta(hours=1)
# Metadata that Earth Search puts beside its images under the names that AWS's buckets use.
_BESIDE = ("metadata.xml", "tileInfo.json", "product_metadata.xml", "tileinfo_metadata.json")


@dataclass(frozen=True)
class Asset:
    """One image of an item.

    Attributes:
        band: "B02" and so on, or "SCL".
        key: Its name in the item.
        href: Where the item says that it is.
        scale: Declared, or None.
        offset: Declared, a reflectance, or None.
        index: Of the band in the image, from 1.
    """

    band: str
    key: str
    href: str
    scale: float | None
    offset: float | None
    index: int = 1


@dataclass(frozen=True)
class ItemMetadata:
    """What a STAC item says.

    Attributes:
        id: The item's.
        publisher: Whose habits it follows.
        level: "L1C" or "L2A".
        platform: "Sentinel-2A" and so on.
        datetime: UTC; see `clock`.
        clock: Whether the time is the "datatake"'s start or the "tile"'s.
        relative_orbit: 1 to 143, or None.
        baseline: Such as "05.09", or None.
        tile: MGRS, or None.
        product: Name of ESA's product, or "".
        generated: UTC, or None.
        seen: UTC, the item's own time.
        removed: The flag that 1000 has been taken off the numbers, or None.
        sun_azimuth_deg: Clockwise from north, or None.
        sun_elevation_deg: Above the horizon, or None.
        assets: COGs by band.
        originals: ESA's own files by band, where an item names both.
        decided: Why the declared offset is the right one, in an item that `geo.catalogue` wrote; else None.
    """

    id: str
    publisher: Publisher
    level: str
    platform: str
    datetime: dt.datetime
    clock: Clock
    relative_orbit: int | None
    baseline: str | None
    tile: str | None
    product: str
    generated: dt.datetime | None
    seen: dt.datetime | None
    removed: bool | None
    sun_azimuth_deg: float | None
    sun_elevation_deg: float | None
    assets: Mapping[str, Asset]
    originals: Mapping[str, Asset]
    decided: str | None = None

    @property
    def doubtful(self) -> bool:
        """Whether the offset of the COGs can only be known from their pixels."""
        return (
            self.decided is None
            and self.publisher == "Earth Search"
            and self.level == "L2A"
            and (self.baseline is None or is_modern(self.baseline))
        )

    def declared(self, *, originals: bool = False) -> float | None:
        """The offset declared for the 10 m bands, in numbers; None if there is none.

        Raises:
            SceneError: The bands' differ, or no publisher does such a thing.
        """
        offsets = {
            round(asset.offset / (asset.scale or 1.0 / QUANTIFICATION), 6)
            for asset in self._measured(originals)
            if asset.offset is not None
        }
        if len(offsets) > 1:
            raise SceneError(
                f"declares different offsets for its bands ({', '.join(map(str, sorted(offsets)))})"
            )
        offset = offsets.pop() if offsets else None
        if offset is not None and not -LARGEST_OFFSET * QUANTIFICATION <= offset <= 0.0:
            raise SceneError(f"declares the offset {offset:g}, which no publisher of Sentinel-2 data applies")
        return offset

    def scale(self, *, originals: bool = False) -> float:
        """What the numbers are multiplied by.

        Raises:
            SceneError: The bands' differ, or no publisher does such a thing.
        """
        scales = {one.scale for one in self._measured(originals) if one.scale is not None}
        scales = scales or {1.0 / QUANTIFICATION}
        if len(scales) > 1 or not all(_SCALES[0] <= value <= _SCALES[1] for value in scales):
            said = " and ".join(f"{value:g}" for value in sorted(scales))
            raise SceneError(f"declares the scale {said}, which no publisher of Sentinel-2 data uses")
        return scales.pop()

    def _measured(self, originals: bool) -> Iterator[Asset]:
        """The images of reflectance."""
        chosen = self.originals if originals else self.assets
        return (chosen[band] for band in (*TEN_METRE_BANDS, SWIR_BAND) if band in chosen)

    def ruled(self) -> float | None:
        """The offset in ESA's own files by the processing baseline, in numbers; None without one."""
        return None if self.baseline is None else offset_by_baseline(self.baseline)


def item_metadata(item: Mapping[str, Any]) -> ItemMetadata:
    """Understand a Sentinel-2 item.

    Args:
        item: The parsed JSON.

    Raises:
        SceneError: It isn't a whole item, or doesn't say what it is an image of. The sentence begins with a
            verb; whoever has the path puts it before.
    """
    properties, assets = item.get("properties"), item.get("assets")
    if not isinstance(properties, Mapping):
        raise SceneError("isn't a whole STAC item: it has no properties")
    if not isinstance(assets, Mapping) or not assets:
        raise SceneError(
            "isn't a whole STAC item: it has no assets (an answer cut down by a search, or an error's body)"
        )
    identifier = str(item.get("id", ""))
    product = _text(properties, "s2:product_uri") or ""
    parsed = parse_product_name(product) or parse_product_name(identifier)
    datatake = parse_datatake(_text(properties, "s2:datatake_id", "eopf:datatake_id") or "")
    seen = time_or_none(_text(properties, "datetime", "start_datetime"))
    start = datatake.start if datatake else parsed.start if parsed else None
    when = start or seen
    if when is None:
        raise SceneError("doesn't say when it was taken")
    first, last = (time_or_none(_text(properties, key)) for key in ("start_datetime", "end_datetime"))
    if start is None and first is not None and last is not None and last - first > _LONGEST_ITEM:
        raise SceneError(f"is made of several days ({first.date()} to {last.date()})")
    orbit = properties.get("sat:relative_orbit")
    if not isinstance(orbit, int) or not 1 <= orbit <= 143 or orbit is True:
        named = parsed or datatake
        orbit = named.relative_orbit if named else None
    baseline = _text(
        properties, "s2:processing_baseline", "sentinel2:processing_baseline", "processing:version"
    )
    if baseline is None or not _BASELINE.match(baseline):
        baseline = (datatake.baseline if datatake else None) or (parsed.baseline if parsed else None)
    zenith = _float(properties.get("s2:mean_solar_zenith"))
    elevation = _float(properties.get("view:sun_elevation"))
    cogs, originals = _assets(assets)
    return ItemMetadata(
        id=identifier,
        publisher=_publisher(item, properties, assets, identifier),
        level=_level(item, properties, identifier),
        platform=_platform(properties, identifier),
        datetime=when.replace(microsecond=0),
        clock="datatake" if start else "tile",
        relative_orbit=orbit,
        baseline=baseline,
        tile=_tile(properties) or (parsed.tile if parsed else None),
        product=product,
        generated=(parsed.generated if parsed else None)
        or time_or_none(_text(properties, "s2:generation_time")),
        seen=seen,
        removed=_flag(properties, "earthsearch:boa_offset_applied", "sentinel:boa_offset_applied"),
        sun_azimuth_deg=_float(properties.get("view:sun_azimuth", properties.get("s2:mean_solar_azimuth"))),
        sun_elevation_deg=elevation if elevation is not None else None if zenith is None else 90.0 - zenith,
        assets=cogs,
        originals=originals,
        decided=_text(properties, "fetch:offset_decision"),
    )


def open_items(tree: FileTree, names: Sequence[str], taken: set[str]) -> tuple[list[Product], list[Refusal]]:
    """Open all Sentinel-2 items among files as far as their metadata.

    Args:
        tree: The files.
        names: Those to look among.
        taken: Gets the names of the items and of the images that they name.

    Returns:
        The products, and what is refused.
    """
    products: list[Product] = []
    refusals: list[Refusal] = []
    for name in names:
        if not name.lower().endswith(".json"):
            continue
        for item, part in _features(tree, name):
            taken.add(name)
            taken.update(joined(parent(name), each) for each in _BESIDE)
            path = tree.file(name)
            where = path if path.suffix.lower() == ".json" else path / name
            files: tuple[Path, ...] = (path,)
            try:
                # Before it is understood: nobody else shall take up the images of an item that is refused.
                images = _images_beside(tree, name, item, str(item.get("id", "")))
                taken.update(images.values())
                files = tuple(sorted({path, *(tree.file(image) for image in images.values())}))
                metadata = item_metadata(item)
                products.append(_opened(tree, where, part, metadata, images, files))
            except Exception as error:  # one bad item must not stop the rest
                refusals.append(Refusal.of(where, error, files))
    return products, refusals


def _features(tree: FileTree, name: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Sentinel-2 items in a JSON file, each with what tells it from others in the file."""
    try:
        text = tree.read(name)
        content = json.loads(text) if b"stac_version" in text else None
    except (ValueError, RecursionError, SceneError):
        return
    if not isinstance(content, Mapping):
        return
    listed = content.get("features") if content.get("type") == "FeatureCollection" else None
    several = isinstance(listed, list)
    for item in listed if isinstance(listed, list) else [content]:
        if isinstance(item, Mapping) and _is_sentinel2(item):
            yield item, str(item.get("id", "")) if several else ""


def _is_sentinel2(item: Mapping[str, Any]) -> bool:
    properties = item.get("properties")
    if item.get("type") != "Feature" or not isinstance(properties, Mapping):
        return False
    if any(str(key).startswith("railwatch:") for key in properties):
        return False  # an observation of our own
    said = (item.get("collection"), properties.get("constellation"), properties.get("platform"))
    return any(_SENTINEL2.match(str(text)) for text in said if text) or bool(
        _PRODUCT_ID.match(str(item.get("id", ""))) and "stac_version" in item
    )


def _opened(
    tree: FileTree,
    path: Path,
    part: str,
    metadata: ItemMetadata,
    images: Mapping[str, str],
    files: tuple[Path, ...],
) -> Product:
    """Put a product together."""
    here = {
        originals: {band: asset for band, asset in assets.items() if asset.key in images}
        for originals, assets in ((False, metadata.assets), (True, metadata.originals))
    }
    whole = [one for one in (False, True) if all(band in here[one] for band in TEN_METRE_BANDS)]
    if not whole:
        raise SceneError(f"{path}: {_missing(metadata, here[False] or here[True])}")
    originals = whole[0]
    chosen = here[originals]
    scale = metadata.scale(originals=originals)
    bare = {
        band: Band(band, tree.gdal(images[asset.key]), asset.index, scale=scale, nothing=(NO_DATA, SATURATED))
        for band, asset in chosen.items()
        if band != CLASSES
    }
    first = ten_metre_header(bare["B04"].path, path)
    if first.dtypes[0] not in ("uint16", "int16"):
        raise SceneError(
            f"{path}: its images are of {first.dtypes[0]}, but those of its publisher are of uint16"
        )
    classes = next(
        (
            Band(CLASSES, tree.gdal(images[assets[CLASSES].key]), assets[CLASSES].index)
            for assets in (chosen, here[not originals])
            if CLASSES in assets
        ),
        None,
    )
    offset, decisions = _offset(metadata, {band: bare[band] for band in TEN_METRE_BANDS}, classes, originals)
    bands = {band: replace(one, offset=offset * scale) for band, one in bare.items()}
    return build_product(
        first,
        path=path,
        part=part,
        kind="STAC",
        level=metadata.level,
        platform=metadata.platform,
        datetime=metadata.datetime,
        clock=metadata.clock,
        relative_orbit=metadata.relative_orbit,
        baseline=metadata.baseline,
        tile=metadata.tile,
        bands=bands,
        classes=classes,
        sun=(metadata.sun_azimuth_deg, metadata.sun_elevation_deg),
        generated=metadata.generated,
        files=files,
        about={
            "publisher": metadata.publisher,
            "item": metadata.id,
            "product": metadata.product,
            "quantification": round(1.0 / scale, 6),
            "offset": dict.fromkeys(bands, offset),
            "tile_sensing_time": metadata.seen.isoformat() if metadata.seen else None,
        },
        decisions=decisions,
    )


def _offset(
    metadata: ItemMetadata, bands: Mapping[str, Band], classes: Band | None, originals: bool
) -> tuple[float, list[str]]:
    """The number to be added to the numbers, and why."""
    declared, ruled = metadata.declared(originals=originals), metadata.ruled()
    if metadata.decided is not None and declared is not None:
        return declared, [metadata.decided]
    if metadata.doubtful and not originals:
        decision = decide(floors(bands, classes), said_removed=metadata.removed, declared=declared)
        if decision.offset is None:
            raise SceneError(f"its offset can't be told: {decision.why}")
        return decision.offset, [decision.why]
    if metadata.publisher == "Earth Search" and not originals and metadata.level == "L2A":
        return 0.0, [f"baseline {metadata.baseline} adds no 1000"]
    if declared is None and ruled is None:
        raise SceneError(
            "names neither an offset nor a processing baseline, so its numbers can't be understood"
        )
    if declared is None and ruled is not None:
        return ruled, [f"offset {ruled:g} by baseline {metadata.baseline}"]
    if declared is not None and declared == (ruled if ruled is not None else declared):
        return declared, [f"offset {declared:g} as declared"]
    decision = decide(floors(bands, classes), said_removed=None, declared=declared)
    fits = decision.offset == 0.0 or (decision.offset is not None and ruled == decision.offset)
    if decision.offset is None or not fits:
        raise SceneError(
            f"declares the offset {declared:g}, but baseline {metadata.baseline} has {ruled:g}, and the "
            f"pixels don't tell: {decision.why}"
        )
    return decision.offset, [decision.why]


def _missing(metadata: ItemMetadata, here: Mapping[str, Asset]) -> str:
    """Why an item without its images is refused, and what it says of their numbers."""
    if metadata.doubtful:
        numbers = "its offset would be checked on the pixels"
    else:
        offset = metadata.declared()
        offset = metadata.ruled() if offset is None else offset
        numbers = "offset unknown" if offset is None else f"offset {offset:g}"
    said = f"({metadata.publisher}, {metadata.level}, baseline {metadata.baseline}, {numbers})"
    if not here:
        return f"none of the images that it names lies beside it {said}"
    return f"{lacking([band for band in TEN_METRE_BANDS if band not in here])} beside it {said}"


def _images_beside(tree: FileTree, name: str, item: Mapping[str, Any], identifier: str) -> dict[str, str]:
    """The files that lie beside an item, by the key of the asset that names them."""
    assets = item.get("assets")
    found = {}
    for key, asset in assets.items() if isinstance(assets, Mapping) else ():
        href = asset.get("href") if isinstance(asset, Mapping) else None
        image = _beside(tree, name, href, identifier) if isinstance(href, str) else None
        if image is not None:
            found[str(key)] = image
    return found


def _beside(tree: FileTree, name: str, href: str, identifier: str) -> str | None:
    """The name of the file that an item's link means, None if it isn't there.

    A relative link is followed; of a remote one the end is looked for below the item's folder: the longest
    first, and the bare file name last.
    """
    folder = parent(name)
    href = re.sub(r"^/vsi(curl|s3|gs|az)/", "", href.replace("\\", "/"))
    parts = urlsplit(href)
    if not parts.scheme and not href.startswith("/"):
        local = posixpath.normpath(joined(folder, unquote(parts.path)))
        if tree.has(local):
            return local
    if parts.scheme in ("", "file") and tree.has(unquote(parts.path)):
        return unquote(parts.path)
    pieces = [piece for piece in unquote(parts.path).split("/") if piece not in ("", ".", "..")]
    if not pieces:
        return None
    ends = ["/".join(pieces[start:]) for start in range(len(pieces))]
    for end in (*ends[:-1], f"{identifier}/{ends[-1]}", ends[-1]):
        if tree.has(joined(folder, end)):
            return joined(folder, end)
    return None


def _assets(assets: Mapping[str, Any]) -> tuple[dict[str, Asset], dict[str, Asset]]:
    """The wanted images by band: the publisher's, and ESA's own."""
    found: tuple[dict[str, Asset], dict[str, Asset]] = ({}, {})
    ranks: dict[tuple[bool, str], int] = {}
    for key, asset in assets.items():
        if not isinstance(asset, Mapping) or not isinstance(asset.get("href"), str):
            continue
        if key == FETCHED and isinstance(asset.get("bands"), list):
            return {one.band: one for one in _bands_in(asset)}, {}
        original = str(key).lower().endswith(_JP2)
        match = _ASSET.match(_band_key(str(key).lower().removesuffix(_JP2), asset))
        if match is None:
            continue
        band, metres = match[1].upper(), match[2]
        wanted = _WANTED.get(band, ())
        if not wanted or (metres is not None and metres not in wanted):
            continue
        rank = 0 if metres is None else wanted.index(metres)
        if ranks.get((original, band), 99) > rank:
            ranks[original, band] = rank
            scale, offset = _declared(asset)
            found[original][band] = Asset(band, str(key), asset["href"], scale, offset)
    return found


def _bands_in(asset: Mapping[str, Any]) -> Iterator[Asset]:
    """The bands of an image that holds all of them."""
    for index, band in enumerate(asset["bands"], start=1):
        if isinstance(band, Mapping) and (name := str(band.get("name"))) in _WANTED:
            scale, offset = _declared(band)
            yield Asset(name, FETCHED, asset["href"], scale, offset, index)


def _band_key(key: str, asset: Mapping[str, Any]) -> str:
    """An asset's key as a band's name, by the names of its bands where the key itself tells nothing."""
    if key in _COMMON_NAMES:
        return _COMMON_NAMES[key].lower()
    if _ASSET.match(key) or key in ("visual", "preview", "thumbnail", "overview"):
        return key
    listed = asset.get("eo:bands") or asset.get("bands")
    if isinstance(listed, list) and len(listed) == 1 and isinstance(listed[0], Mapping):
        name = str(listed[0].get("name", "")).lower()
        return _COMMON_NAMES.get(name, name).lower()
    return key


def _declared(asset: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Scale and offset that an asset declares: by version 1 or 2 of the raster extension."""
    places: list[Mapping[str, Any]] = [asset]
    for key in ("raster:bands", "bands"):
        listed = asset.get(key)
        if isinstance(listed, list) and listed and isinstance(listed[0], Mapping):
            places.append(listed[0])
    scale = offset = None
    for place in places:
        scale = _float(place.get("raster:scale", place.get("scale"))) if scale is None else scale
        offset = _float(place.get("raster:offset", place.get("offset"))) if offset is None else offset
    return scale, offset


def _publisher(
    item: Mapping[str, Any], properties: Mapping[str, Any], assets: Mapping[str, Any], identifier: str
) -> Publisher:
    said = _text(properties, "fetch:publisher")
    if said is not None:
        return next((one for one in get_args(Publisher) if one == said), "unknown")
    collection = str(item.get("collection", ""))
    hrefs = " ".join(str(one.get("href", "")) for one in assets.values() if isinstance(one, Mapping))
    if collection == "sentinel-2-c1-l2a" or "/sentinel-2-c1-l2a/" in hrefs:
        return "Earth Search c1"
    if (
        any(str(key).startswith(("earthsearch:", "sentinel:")) for key in properties)
        or "sentinel-cogs" in hrefs
        or _EARTH_SEARCH_ID.match(identifier)
    ):
        return "Earth Search"
    if (
        "blob.core.windows.net" in hrefs
        or "planetarycomputer" in hrefs
        or "s2:mean_solar_zenith" in properties
    ):
        return "Planetary Computer"
    if "eodata" in hrefs or "dataspace.copernicus" in hrefs or "B02_10m" in assets:
        return "Copernicus Data Space"
    return "unknown"


def _level(item: Mapping[str, Any], properties: Mapping[str, Any], identifier: str) -> str:
    said = " ".join(
        str(text).upper()
        for text in (
            properties.get("s2:product_type"),
            properties.get("product:type"),
            properties.get("processing:level"),
            identifier,
            item.get("collection"),
        )
        if text
    )
    for mark, level in (("MSI2A", "L2A"), ("MSI1C", "L1C"), ("L2A", "L2A"), ("L1C", "L1C")):
        if mark in said:
            return level
    raise SceneError("isn't a level-1C or level-2A product")


def _platform(properties: Mapping[str, Any], identifier: str) -> str:
    said = platform_of(str(properties.get("platform", "")))
    return platform_of(identifier[:3]) if said == "Sentinel-2" else said


def _tile(properties: Mapping[str, Any]) -> str | None:
    said = _text(properties, "grid:code", "s2:mgrs_tile")
    if said is None and "mgrs:utm_zone" in properties:
        keys = ("mgrs:utm_zone", "mgrs:latitude_band", "mgrs:grid_square")
        said = "".join(str(properties.get(key, "")) for key in keys)
    match = _TILE.match(said or "")
    return f"{int(match[1]):02d}{match[2]}" if match else None


def _text(properties: Mapping[str, Any], *keys: str) -> str | None:
    for key in keys:
        value = properties.get(key)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return None


def _flag(properties: Mapping[str, Any], *keys: str) -> bool | None:
    for key in keys:
        if isinstance(properties.get(key), bool):
            return bool(properties[key])
    return None


def _float(value: Any) -> float | None:
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if known else None
