"""``railwatch-sentinel2.toml``: what a user says of exported images that don't say it themselves.

It lies in the images' folder, or in the one above it::

    scale = 0.0001      # reflectance = number * scale + offset
    offset = 0.0        # a reflectance, not a number: -0.1 where 1000 was added to the numbers
    nodata = 0
    bands = ["B04", "B03", "B02", "B08"]      # in the order of the file; "" for one that isn't wanted

    [[acquisition]]     # only where a file's name doesn't tell its time, or one file holds several
    file = "clip.tif"
    datetime = 2023-10-05T02:10:01Z
    platform = "Sentinel-2A"
    bands = { B04 = 1, B03 = 2, B02 = 3, B08 = 4 }

What stands at the top holds for all images of the folder; an acquisition's own word comes first. Bands may be
given as files too: ``bands = { B02 = "blue.tif", B03 = "green.tif", ... }``. An acquisition's files may lie
elsewhere, so that images in a folder that can't be written to can be declared too.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from aoi.files import parse_toml
from aoi.settings import bind, fields_of, setting, settings_table
from geo.errors import SceneError
from geo.sentinel2.formats.product_names import CLASSES, SWIR_BAND, TEN_METRE_BANDS, iso_time, platform_of

_KNOWN = frozenset({*TEN_METRE_BANDS, SWIR_BAND, CLASSES})


@settings_table
class _FolderTable:
    """The keys at the top; `_declared` makes of them what they mean."""

    scale: float | None = setting(None, above=0)
    offset: float | None = setting(None)
    nodata: float | None = setting(None)
    bands: Any = setting(None)
    platform: str | None = setting(None)
    relative_orbit: int | None = setting(None, low=1, high=143)
    level: Literal["L1C", "L2A"] | None = setting(None)
    baseline: Any = setting(None)


@settings_table
class _AcquisitionTable(_FolderTable):
    """The keys of an [[acquisition]], which has its own word on those of the folder."""

    file: str = setting("")
    datetime: Any = setting(None)
    sun_azimuth_deg: float | None = setting(None)
    sun_elevation_deg: float | None = setting(None)


@dataclass(frozen=True)
class Declared:
    """What is said of an image, or of all of a folder; None where nothing is.

    Attributes:
        scale: Reflectance = number x scale + offset.
        offset: A reflectance.
        nodata: The number that means "nothing here".
        bands: File (or "" for the one in question) and index in it, from 1, by band.
        datetime: UTC.
        day_only: Whether only the day is given.
        platform: "Sentinel-2A" and so on.
        relative_orbit: 1 to 143.
        level: "L1C" or "L2A".
        baseline: Such as "05.09".
        sun_azimuth_deg: Clockwise from north.
        sun_elevation_deg: Above the horizon.
    """

    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None
    bands: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    datetime: dt.datetime | None = None
    day_only: bool = False
    platform: str | None = None
    relative_orbit: int | None = None
    level: str | None = None
    baseline: str | None = None
    sun_azimuth_deg: float | None = None
    sun_elevation_deg: float | None = None


@dataclass(frozen=True)
class Declaration:
    """A whole declaration.

    Attributes:
        path: Its file.
        folder: What holds for all images of the folder.
        acquisitions: Those listed, with their file ("" if all bands name theirs), in the file's order.
    """

    path: Path
    folder: Declared = field(default_factory=Declared)
    acquisitions: tuple[tuple[str, Declared], ...] = ()


def parse_declaration(content: bytes, path: Path) -> Declaration:
    """Read a declaration.

    Args:
        content: Of the file.
        path: Its path, for sentences.

    Raises:
        SceneError: It isn't TOML, or says what can't be.
    """
    table = parse_toml(content, path, SceneError)
    listed = table.pop("acquisition", [])
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise SceneError(f"{path}: acquisitions are written as [[acquisition]]")
    folder = _declared(bind(_FolderTable, table, str(path), error=SceneError), path)
    acquisitions = []
    for one in listed:
        said = bind(_AcquisitionTable, {**table, **one}, str(path), error=SceneError, prefix="acquisition.")
        declared = _declared(said, path)
        if declared.datetime is None:
            raise SceneError(f"{path}: an acquisition has no datetime")
        if not said.file and (not declared.bands or not all(name for name, _ in declared.bands.values())):
            raise SceneError(f"{path}: an acquisition names no file")
        acquisitions.append((said.file.replace("\\", "/"), declared))
    return Declaration(path, folder, tuple(acquisitions))


def _declared(said: _FolderTable, path: Path) -> Declared:
    given = {each.name: getattr(said, each.name) for each, _ in fields_of(type(said)) if each.name != "file"}
    when, day_only = _when(given.get("datetime"), path)
    given |= {
        "bands": _bands(said.bands, path),
        "datetime": when,
        "platform": None if said.platform is None else platform_of(said.platform),
        "baseline": None if said.baseline is None else str(said.baseline),
    }
    return Declared(**given, day_only=day_only)


def _when(value: Any, path: Path) -> tuple[dt.datetime | None, bool]:
    if value is None:
        return None, False
    try:
        if isinstance(value, dt.datetime):
            return (value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)), False
        if isinstance(value, dt.date):
            return dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC), True
        return iso_time(str(value)), len(str(value).strip()) <= len("2023-10-05")
    except (ValueError, OverflowError):
        raise SceneError(f"{path}: {value!r} isn't a time such as 2023-10-05T02:10:01Z") from None


def _bands(value: Any, path: Path) -> dict[str, tuple[str, int]]:
    if value is None:
        return {}
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        value = {name: index for index, name in enumerate(value, start=1) if name}
    if not isinstance(value, dict):
        raise SceneError(f"{path}: bands are a list of names or a table by name")
    bands: dict[str, tuple[str, int]] = {}
    for name, place in value.items():
        if name not in _KNOWN:
            raise SceneError(
                f"{path}: {name!r} isn't a band that is used; those are {', '.join(sorted(_KNOWN))}"
            )
        if isinstance(place, str) and place:
            bands[name] = (place.replace("\\", "/"), 1)
        elif isinstance(place, int) and not isinstance(place, bool) and place >= 1:
            bands[name] = ("", place)
        else:
            raise SceneError(f"{path}: band {name} has to be a number from 1, or the name of a file")
    return bands
