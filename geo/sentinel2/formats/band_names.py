"""Bands of an image by their descriptions: one acquisition, or a stack of several dates."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from geo.dates_in_names import date_in_name
from geo.errors import SceneError
from geo.sentinel2.formats.product_names import CLASSES, SWIR_BAND, TEN_METRE_BANDS

__all__ = ["ENGINE_INDEX", "band_name", "described", "last_band", "stacked"]

_BAND = re.compile(r"(?<![A-Za-z0-9])(B(?:0?[1-9]|1[0-2]|8A)|SCL)(?:_(\d\d)m)?(?![A-Za-z0-9])", re.IGNORECASE)
_COLOURS = {
    "blue": "B02",
    "green": "B03",
    "red": "B04",
    "nir": "B08",
    "swir1": "B11",
    "swir16": "B11",
    "scl": "SCL",
}
ENGINE_INDEX = re.compile(r"(?<!\d)(\d{8}T\d{6})_\d{8}T\d{6}_T\d{2}[A-Z]{3}")
"""20231005T021001_20231005T021003_T52TFN: the index of an image at Google Earth Engine, which begins with the
start of the datatake."""


def last_band(text: str) -> re.Match[str] | None:
    """The last band named in a text: names begin with a date and a tile, and end with the band."""
    matches = list(_BAND.finditer(text))
    return matches[-1] if matches else None


def band_name(text: str) -> str | None:
    """B2 and B02 as B02; None for bands that aren't used."""
    upper = text.upper()
    match = re.fullmatch(r"B0?(\d{1,2})", upper)
    name = f"B{int(match[1]):02d}" if match else upper
    return name if name in (*TEN_METRE_BANDS, SWIR_BAND, CLASSES) else None


def described(descriptions: Sequence[str]) -> dict[str, list[int]]:
    """The bands that descriptions name: their indexes from 1, several where a band is there several times."""
    found: dict[str, list[int]] = {}
    for index, description in enumerate(descriptions, start=1):
        match = last_band(description)
        name = band_name(match[1]) if match else _COLOURS.get(description.strip().lower())
        if name is not None:
            found.setdefault(name, []).append(index)
    return found


def stacked(descriptions: Sequence[str]) -> Mapping[str, Mapping[str, int]]:
    """The acquisitions of an image by the names of their dates; "" for an image of one that tells none.

    A stack has every band once a date, and its bands' names hold the date or Earth Engine's index, as
    ``ImageCollection.toBands()`` makes them.

    Args:
        descriptions: One a band.

    Returns:
        Index from 1 by band, by what is before or after the band's name; in the file's order.

    Raises:
        SceneError: A band is there several times, and the names don't tell of which dates; the sentence
            begins with a verb.

    Example:
        >>> stacked(["20230403_B4", "20230403_B8", "20230408_B4", "20230408_B8"])
        {'20230403': {'B04': 1, 'B08': 2}, '20230408': {'B04': 3, 'B08': 4}}
    """
    found = described(descriptions)
    moments: dict[str, dict[str, int]] = {}
    undated = False
    for band, indexes in found.items():
        for index in indexes:
            moment = _moment(descriptions[index - 1])
            undated |= not moment
            bands = moments.setdefault(moment, {})
            if band in bands:
                raise SceneError(
                    f"has band {band} {len(indexes)} times, and the bands' names don't tell of which dates"
                )
            bands[band] = index
    if len(moments) > 1 and undated:
        if all(len(indexes) == 1 for indexes in found.values()):
            return {"": {band: indexes[0] for band, indexes in found.items()}}
        raise SceneError("is a stack of several dates, of which not all stand in the names of its bands")
    return dict(sorted(moments.items(), key=lambda one: min(one[1].values())))


def _moment(description: str) -> str:
    """The part of a band's name that tells its date, "" without one."""
    index = ENGINE_INDEX.search(description)
    if index is not None:
        return index[0]
    match = last_band(description)
    rest = description if match is None else f"{description[: match.start()]} {description[match.end() :]}"
    rest = rest.strip(" _-.,")
    return rest if date_in_name(rest).when is not None else ""
