"""What a file's name and tags say about the time and the sensor of an acquisition."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping

_MONTHS = {
    name: number
    for number, name in enumerate(
        ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"), start=1
    )
}
_EARLIEST_YEAR, _LATEST_YEAR = 1970, 2099

# Most telling first; a date alone comes last. Each is kept apart from neighbouring digits, so that no piece
# of a longer number is read as a date.
_TIMES = (
    # 20231005T021001, 20231005_021001_55 (Planet, SkySat), 2023-10-05T02:10:01Z, 2023-10-05T02-10-01
    re.compile(
        r"(?<!\d)(?P<year>\d{4})(?P<sep>[-_.]?)(?P<month>\d\d)(?P=sep)(?P<day>\d\d)[T_ -]"
        r"(?P<hour>\d\d)[-:_.]?(?P<minute>\d\d)[-:_.]?(?P<second>\d\d)(?!\d)"
    ),
    # IMG_PHR1A_PMS_202310050210012_... (Pleiades, SPOT: a tenth of a second at the end) and plain
    # 20231005021001
    re.compile(
        r"(?<!\d)(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)(?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)\d?(?!\d)"
    ),
    # 23OCT05021001-M2AS-... (Maxar)
    re.compile(
        r"(?<![A-Za-z0-9])(?P<yy>\d\d)(?P<mon>[A-Z]{3})(?P<day>\d\d)"
        r"(?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)(?!\d)"
    ),
    # 2023-10-05, 2023_10_05, 2023.10.05, 20231005
    re.compile(r"(?<!\d)(?P<year>\d{4})(?P<sep>[-_.]?)(?P<month>\d\d)(?P=sep)(?P<day>\d\d)(?!\d)"),
    # 5OCT2023, 05-Oct-2023
    re.compile(r"(?<!\d)(?P<day>\d{1,2})[-_ ]?(?P<mon>[A-Za-z]{3})[-_ ]?(?P<year>\d{4})(?!\d)"),
)

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


def find_datetime(text: str) -> dt.datetime | None:
    """The first acquisition time in a name, in UTC; midnight where only a date is given; None without one."""
    for pattern in _TIMES:
        for match in pattern.finditer(text):
            found = _as_datetime(match.groupdict())
            if found is not None:
                return found
    return None


def _as_datetime(parts: Mapping[str, str | None]) -> dt.datetime | None:
    year = int(parts.get("year") or 2000 + int(parts.get("yy") or 0))
    name = parts.get("mon")
    month = _MONTHS.get(name.upper(), 0) if name else int(parts.get("month") or 0)
    hour, minute, second = (int(parts.get(key) or 0) for key in ("hour", "minute", "second"))
    if not _EARLIEST_YEAR <= year <= _LATEST_YEAR:
        return None
    try:
        return dt.datetime(year, month, int(parts.get("day") or 0), hour, minute, second, tzinfo=dt.UTC)
    except ValueError:
        return None


def acquisition_time(
    stem: str, tags: Mapping[str, str], tiff_datetime: str | None = None
) -> dt.datetime | None:
    """When an image was taken, in UTC.

    Tags that name the acquisition come first, then the file's name, then TIFFTAG_DATETIME (which many
    programs set to the time of processing). A name that gives only the day takes its time of day from
    TIFFTAG_DATETIME if that is on the same day.

    Args:
        stem: The file's name without its ending.
        tags: The image's metadata.
        tiff_datetime: TIFFTAG_DATETIME, "2023:10:05 02:10:01".
    """
    upper = {key.upper(): value for key, value in tags.items()}
    for key in _TIME_TAGS:
        if key in upper and (tagged := _parse_tag(upper[key])) is not None:
            return tagged
    named, written = find_datetime(stem), _parse_tag(tiff_datetime or "")
    if named is None:
        return written
    day_only = named.time() == dt.time(0)
    return written if day_only and written is not None and written.date() == named.date() else named


def _parse_tag(text: str) -> dt.datetime | None:
    """An ISO 8601 or TIFF time; one without a zone is UTC."""
    clean = re.sub(r"^(\d{4}):(\d\d):(\d\d)", r"\1-\2-\3", text.strip())
    try:
        value = dt.datetime.fromisoformat(clean)
    except ValueError:
        return find_datetime(clean)
    if not _EARLIEST_YEAR <= value.year <= _LATEST_YEAR:
        return None
    return value.astimezone(dt.UTC) if value.tzinfo else value.replace(tzinfo=dt.UTC)


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
