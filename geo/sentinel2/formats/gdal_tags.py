"""ESA's metadata as GDAL's SENTINEL2 driver hands them on to a clip of a product (gdal_translate).

The numbers of such a clip are ESA's own; the driver takes no offset off. The tags don't tell the offset, but
the processing baseline, by which it goes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from geo.sentinel2.formats.product_names import (
    SHIFT,
    is_modern,
    iso_time,
    parse_datatake,
    parse_product_name,
    platform_of,
)

__all__ = ["ProductTags", "product_tags"]

_QUANTIFICATION = ("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE", "QUANTIFICATION_VALUE")
_LEVELS = {"Level-1C": "L1C", "Level-2A": "L2A", "Level-2Ap": "L2A"}


@dataclass(frozen=True)
class ProductTags:
    """What the tags of a clip say of the product that it was made from.

    Attributes:
        product: Its name.
        level: "L1C" or "L2A".
        platform: "Sentinel-2A" and so on.
        datetime: UTC start of the datatake.
        relative_orbit: 1 to 143, or None.
        baseline: Such as "05.09".
        quantification: What numbers are divided by.
        tile: MGRS, or None.
    """

    product: str
    level: str
    platform: str
    datetime: dt.datetime
    relative_orbit: int | None
    baseline: str
    quantification: float
    tile: str | None

    @property
    def offset(self) -> float:
        """What is to be added to a number: -1000 from baseline 04.00 on."""
        return -SHIFT if is_modern(self.baseline) else 0.0


def product_tags(tags: Mapping[str, str]) -> ProductTags | None:
    """Understand the tags of an image; None if they aren't those of one product, all of it told.

    Example:
        >>> product_tags({"AREA_OR_POINT": "Area"}) is None
        True
    """
    product = tags.get("PRODUCT_URI") or tags.get("PRODUCT_URI_2A") or tags.get("PRODUCT_URI_1C") or ""
    named = parse_product_name(product)
    datatake = parse_datatake(tags.get("DATATAKE_1_ID", ""))
    level = _LEVELS.get(tags.get("PROCESSING_LEVEL", ""), named.level if named else None)
    baseline = tags.get("PROCESSING_BASELINE") or (datatake.baseline if datatake else None)
    try:
        start = datatake.start if datatake else iso_time(tags["DATATAKE_1_DATATAKE_SENSING_START"])
        quantification = float(next(tags[key] for key in _QUANTIFICATION if key in tags))
        orbit = int(tags.get("DATATAKE_1_SENSING_ORBIT_NUMBER", "0"))
    except (KeyError, ValueError, StopIteration):
        return None
    if level is None or baseline is None or not 1_000 <= quantification <= 100_000:
        return None
    return ProductTags(
        product=product,
        level=level,
        platform=platform_of(tags.get("DATATAKE_1_SPACECRAFT_NAME", "")),
        datetime=start,
        relative_orbit=orbit if 1 <= orbit <= 143 else None,
        baseline=baseline,
        quantification=quantification,
        tile=named.tile if named else None,
    )
