"""Metadata in XML: what a Sentinel-2 product and its tiles are, and how their numbers become reflectance."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import defusedxml.ElementTree
from defusedxml.common import DefusedXmlException

from geo.errors import SceneError
from geo.sentinel2.formats.product_names import (
    Datatake,
    ProductMetadata,
    ProductName,
    baseline_in,
    parse_datatake,
    parse_product_name,
    platform_of,
    time_or_none,
)

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element, ParseError
else:
    from xml.etree.ElementTree import Element

    from defusedxml.ElementTree import ParseError


class XmlTexts:
    """Elements of a tree by name, whatever their namespace: each generation of a format has another one."""

    def __init__(self, root: Element) -> None:
        self._by_name: dict[str, list[Element]] = {}
        for element in root.iter():
            if isinstance(element.tag, str):
                self._by_name.setdefault(local_name(element.tag), []).append(element)

    def elements(self, name: str) -> Iterator[Element]:
        """All elements of a name, in the order of the document."""
        yield from self._by_name.get(name, ())

    def first(self, name: str) -> str | None:
        """The text of the first element of a name that has one; None where there is none."""
        for element in self.elements(name):
            if element.text and element.text.strip():
                return element.text.strip()
        return None


def parsed_xml(content: bytes, where: Path) -> Element:
    """The root of a document.

    Args:
        content: Of the file.
        where: Its path, for sentences.

    Raises:
        SceneError: It isn't XML, or defines entities of its own.
    """
    try:
        root: Element = defusedxml.ElementTree.fromstring(content, forbid_dtd=True)
    except DefusedXmlException as error:
        raise SceneError(
            f"{where}: defines entities of its own, which is no product's habit; not read"
        ) from error
    except (ParseError, ValueError, LookupError) as error:
        raise SceneError(f"{where}: isn't well-formed XML ({error})") from error
    return root


def local_name(tag: str) -> str:
    """An element's name without its namespace."""
    return tag.rpartition("}")[2]


def finite_number(text: str | None) -> float | None:
    """A finite number: real granules have NaN for the sun over tiles that are nearly empty."""
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


BAND_NAMES = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
"""Names by ESA's band ids, 0 to 12, for XML that doesn't list them itself."""

LARGEST_OFFSET = 0.2
"""No publisher has shifted reflectances by more than this; an offset beyond it is an error in the XML."""
_QUANTIFICATIONS = (1_000.0, 65_535.0)


@dataclass(frozen=True)
class TileMetadata:
    """What MTD_TL.xml (metadata.xml on AWS) says.

    Attributes:
        tile_id: The granule's identifier.
        level: "L1C" or "L2A".
        seen: UTC sensing time of the tile, or None.
        baseline: Such as "05.09", or None.
        sun_elevation_deg: Mean over the tile, or None.
        sun_azimuth_deg: Mean over the tile, clockwise from north, or None.
    """

    tile_id: str
    level: str
    seen: dt.datetime | None
    baseline: str | None
    sun_elevation_deg: float | None
    sun_azimuth_deg: float | None


def product_metadata(content: bytes, where: Path) -> ProductMetadata:
    """Read a product's XML.

    Args:
        content: Of the file.
        where: Its path, for sentences.

    Raises:
        SceneError: It isn't well-formed, isn't a Sentinel-2 product's, has entities of its own, or lacks what
            numbers are understood by.
    """
    root = parsed_xml(content, where)
    if "User_Product" not in local_name(root.tag):
        raise SceneError(f"{where}: isn't the XML of a Sentinel-2 product")
    texts = XmlTexts(root)
    name = texts.first("PRODUCT_URI") or texts.first("PRODUCT_URI_2A") or texts.first("PRODUCT_URI_1C") or ""
    parsed = parse_product_name(name) or parse_product_name(where.name)
    takes = [one.get("datatakeIdentifier", "") for one in texts.elements("Datatake")]
    datatake = parse_datatake(" ".join(takes))
    level = _level(texts, root, parsed, where)
    quantification = _quantification(texts, level, where)
    return ProductMetadata(
        level=level,
        platform=_platform(texts, parsed),
        start=_start(texts, parsed, datatake, where),
        relative_orbit=_orbit(texts, parsed),
        baseline=_baseline(texts, parsed),
        name=name,
        generated=time_or_none(texts.first("GENERATION_TIME")),
        quantification=quantification,
        offsets=_offsets(texts, quantification, where),
    )


def tile_metadata(content: bytes, where: Path) -> TileMetadata:
    """Read a granule's XML.

    Args:
        content: Of the file.
        where: Its path, for sentences.

    Raises:
        SceneError: It isn't well-formed, isn't a granule's, or has entities of its own.
    """
    root = parsed_xml(content, where)
    if "Tile_ID" not in local_name(root.tag):
        raise SceneError(f"{where}: isn't the XML of a Sentinel-2 tile")
    texts = XmlTexts(root)
    tile_id = texts.first("TILE_ID") or texts.first("TILE_ID_2A") or ""
    sun = next(texts.elements("Mean_Sun_Angle"), None)
    zenith = azimuth = None
    if sun is not None:
        inside = XmlTexts(sun)
        zenith, azimuth = (
            finite_number(inside.first("ZENITH_ANGLE")),
            finite_number(inside.first("AZIMUTH_ANGLE")),
        )
    return TileMetadata(
        tile_id=tile_id,
        level="L1C" if "1C" in local_name(root.tag) else "L2A",
        seen=time_or_none(texts.first("SENSING_TIME")),
        baseline=baseline_in(tile_id),
        sun_elevation_deg=None if zenith is None else 90.0 - zenith,
        sun_azimuth_deg=azimuth,
    )


def _level(texts: XmlTexts, root: Element, parsed: ProductName | None, where: Path) -> str:
    said = " ".join(
        filter(None, (texts.first("PROCESSING_LEVEL"), texts.first("PRODUCT_TYPE"), local_name(root.tag)))
    )
    if "1C" in said:
        return "L1C"
    if "2A" in said:
        return "L2A"
    if parsed is not None:
        return parsed.level
    raise SceneError(f"{where}: isn't a level-1C or level-2A product")


def _platform(texts: XmlTexts, parsed: ProductName | None) -> str:
    said = platform_of(texts.first("SPACECRAFT_NAME") or "")
    return parsed.platform if said == "Sentinel-2" and parsed is not None else said


def _start(
    texts: XmlTexts, parsed: ProductName | None, datatake: Datatake | None, where: Path
) -> dt.datetime:
    """The datatake's start, to the second, as product names have it: the same in all products of a pass."""
    for when in (time_or_none(texts.first("DATATAKE_SENSING_START")), datatake.start if datatake else None):
        if when is not None:
            return when.replace(microsecond=0)
    if parsed is not None:
        return parsed.start
    when = time_or_none(texts.first("PRODUCT_START_TIME"))
    if when is None:
        raise SceneError(f"{where}: doesn't say when it was sensed")
    return when.replace(microsecond=0)


def _orbit(texts: XmlTexts, parsed: ProductName | None) -> int | None:
    text = texts.first("SENSING_ORBIT_NUMBER")
    if text is not None and text.isdigit() and 1 <= int(text) <= 143:
        return int(text)
    return parsed.relative_orbit if parsed is not None else None


def _baseline(texts: XmlTexts, parsed: ProductName | None) -> str | None:
    text = texts.first("PROCESSING_BASELINE")
    if text is not None and re.fullmatch(r"\d\d\.\d\d", text):
        return text
    return parsed.baseline if parsed is not None else None


def _quantification(texts: XmlTexts, level: str, where: Path) -> float:
    names = (
        ("QUANTIFICATION_VALUE",)
        if level == "L1C"
        else ("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE", "QUANTIFICATION_VALUE")
    )
    value = next((found for name in names if (found := finite_number(texts.first(name))) is not None), None)
    if value is None:
        raise SceneError(f"{where}: doesn't say what its numbers are divided by (no {names[0]})")
    if not _QUANTIFICATIONS[0] <= value <= _QUANTIFICATIONS[1]:
        raise SceneError(f"{where}: divides its numbers by {value:g}, which no Sentinel-2 product does")
    return value


def _offsets(texts: XmlTexts, quantification: float, where: Path) -> dict[str, float]:
    physical = {
        one.get("bandId", ""): _band_name(one.get("physicalBand", ""))
        for one in texts.elements("Spectral_Information")
    }
    offsets: dict[str, float] = {}
    for element in (*texts.elements("BOA_ADD_OFFSET"), *texts.elements("RADIO_ADD_OFFSET")):
        identifier, value = element.get("band_id", ""), finite_number(element.text)
        name = physical.get(identifier)
        if name is None and identifier.isdigit() and int(identifier) < len(BAND_NAMES):
            name = BAND_NAMES[int(identifier)]
        if name is None or value is None:
            raise SceneError(f"{where}: has an offset for an unknown band ({identifier!r})")
        if offsets.setdefault(name, value) != value:
            raise SceneError(f"{where}: has two offsets for band {name}")
        if not -LARGEST_OFFSET <= value / quantification <= 0.0:
            raise SceneError(
                f"{where}: has the offset {value:g} for band {name}, which would shift reflectances by "
                f"{value / quantification:g}; no processing baseline does that (it is 0 or -1000), so its "
                "numbers can't be trusted"
            )
    return offsets


def _band_name(physical: str) -> str | None:
    """B2 as B02."""
    match = re.fullmatch(r"B(\d{1,2})(A?)", physical)
    if match is None:
        return None
    return f"B{int(match[1])}A" if match[2] else f"B{int(match[1]):02d}"
