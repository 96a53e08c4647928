"""What a file's name and tags say about the time and the sensor of an acquisition."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from geo.dates_in_names import NameTime, date_in_name, parse_time

# Templates for re.Match.expand.
_SENSORS = (
    (re.compile(r"(?:^|[_-])ssc?\d{1,2}(?:d\d)?(?:[_-]|$)", re.IGNORECASE), "SkySat"),
    (re.compile(r"skysat", re.IGNORECASE), "SkySat"),
    (re.compile(r"planetscope|_3[AB]_|PSScene|PSB\.SD|PS2\.SD", re.IGNORECASE), "PlanetScope"),
    (re.compile(r"PNEO|pleiades[-_ ]?neo", re.IGNORECASE), "Pleiades Neo"),
    (re.compile(r"(?:^|_)PHR1([AB])"), r"Pleiades-1\1"),
    (re.compile(r"pleiades|pléiades", re.IGNORECASE), "Pleiades"),
    (re.compile(r"(?:^|[_-])SPOT-?([67])", re.IGNORECASE), r"SPOT-\1"),
    (re.compile(r"(?:^|[_-])(?:WV|WorldView-?)0?([1-4])(?:[_-]|$)", re.IGNORECASE), r"WorldView-\1"),
    (re.compile(r"(?:^|[_-])(?:GE|GeoEye-?)0?1(?:[_-]|$)", re.IGNORECASE), "GeoEye-1"),
    (re.compile(r"-[MPS][123]AS[-_]|maxar", re.IGNORECASE), "Maxar"),
    (re.compile(r"(?:^|[_-])(KOMPSAT-?|K)3A?(?:[_-]|$)", re.IGNORECASE), "KOMPSAT-3"),
    (re.compile(r"(?:^|[_-])S2([ABCD])(?:[_-]|$)"), r"Sentinel-2\1"),
    (re.compile(r"sentinel-?2", re.IGNORECASE), "Sentinel-2"),
    (re.compile(r"(?:^|[_-])naip(?:[_-]|$)|^m_\d{7}_(?:ne|nw|se|sw)_", re.IGNORECASE), "NAIP"),
)
_SENSOR_TAGS = ("SATELLITEID", "SATELLITE", "PLATFORM", "SENSOR", "SENSOR_ID", "INSTRUMENT", "MISSION")
_TIME_TAGS = (
    "ACQUISITIONDATETIME",
    "ACQUISITION_DATETIME",
    "ACQUIRED",
    "SENSING_TIME",
    "DATETIME",
    "DATE_ACQUIRED",
)
_TIFF_TIME, _SOFTWARE = "TIFFTAG_DATETIME", "TIFFTAG_SOFTWARE"
# Programs that set TIFFTAG_DATETIME to the time of saving.
_EDITORS = re.compile(
    r"adobe|photoshop|lightroom|gimp|paint|imagemagick|graphicsmagick|irfan|xnview|affinity|corel|acdsee|"
    r"capture one|darktable|faststone|snagit|greenshot|qgis|arcgis|arcmap|esri|global mapper|gdal|erdas|envi|"
    r"pillow|python|matlab|opencv|vips",
    re.IGNORECASE,
)


def acquisition_time(stem: str, tags: Mapping[str, str]) -> NameTime:
    """When an image was taken.

    Tags that name the acquisition come first, then the file's name (see `geo.dates_in_names`), then
    TIFFTAG_DATETIME, which many programs set to the time of writing: it is used with a doubt. A name with
    only the day takes its time of day from there if that is on the same day and no image editor
    wrote it.

    Args:
        stem: The file's name without its ending.
        tags: The image's metadata.

    Returns:
        The time with its doubt, or why there is none.

    Example:
        >>> acquisition_time("yard", {"acquired": "2023-10-05T11:10:01+0900"}).when.isoformat()
        '2023-10-05T02:10:01+00:00'
    """
    upper = {key.upper(): value for key, value in tags.items()}
    fault = None
    for key in _TIME_TAGS:
        tagged = parse_time(upper[key]) if key in upper else NameTime()
        if tagged.when is not None:
            return tagged
        if tagged.fault is not None:
            fault = fault or f"its tag {key} can't be used: {tagged.fault}"
    named, written = date_in_name(stem), parse_time(upper.get(_TIFF_TIME, ""))
    software = upper.get(_SOFTWARE, "").strip()
    edited = _EDITORS.search(software) is not None
    if named.when is not None:
        same_day = written.when is not None and written.when.date() == named.when.date()
        if named.day_only and same_day and not edited and not written.day_only:
            return replace(written, doubt=named.doubt)
        return named
    if named.fault is None and fault is None and written.when is not None:
        by = f"the program {software!r}" if software else "many programs"
        return replace(
            written,
            doubt=f"only its {_TIFF_TIME} tells when it was taken, which {by} may set on saving",
        )
    return NameTime(fault=named.fault or fault)


def sensor_name(stem: str, tags: Mapping[str, str]) -> str:
    """The sensor by the image's tags, else by its file name, else "unknown"."""
    upper = {key.upper(): value.strip() for key, value in tags.items()}
    for key in _SENSOR_TAGS:
        if upper.get(key):
            return upper[key]
    for pattern, sensor in _SENSORS:
        match = pattern.search(stem)
        if match:
            return match.expand(sensor)
    return "unknown"
