"""What a file's name and tags say about the time and the sensor of an acquisition.

Dates in names are read by a strict grammar: what is ambiguous is refused and not guessed.
A name's date becomes the place of a count in a history, so a wrong one is worse than none. Read are ISO
dates and the compact ones of satellite operators, with or without a time and a zone, and dates with the
month's name. Not read are days and months in figures that could be exchanged, two-digit years that could be
days, ranges and names with two dates (but for the names of products whose second date is that of the
processing), and what lies outside the age of satellites.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

EARLIEST = dt.date(1957, 10, 4)
"""The first satellite's start: nothing was seen from space before."""

# A clock that is ahead, and the day that it is already on the other side of the world.
_AHEAD = dt.timedelta(days=2)
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1
    )
}
_MONTH = (
    r"(?P<mon>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|"
    r"oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
# Hours from UTC of zones whose abbreviation stands for one alone (or, in practice, for one alone).
_ZONES = {
    **dict.fromkeys(("Z", "UTC", "GMT"), 0.0),
    **{"WET": 0, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3, "MSK": 3, "SAMT": 4, "YEKT": 5, "OMST": 6},
    **{"KRAT": 7, "IRKT": 8, "YAKT": 9, "VLAT": 10, "KST": 9, "JST": 9, "HKT": 8, "SGT": 8, "AWST": 8},
    **{"AEST": 10, "AEDT": 11, "NZST": 12, "NZDT": 13, "EST": -5, "EDT": -4, "CDT": -5, "MDT": -6},
    **{"PST": -8, "PDT": -7, "AKST": -9, "AKDT": -8, "HST": -10, "SAST": 2, "EAT": 3, "PKT": 5},
}
_AMBIGUOUS_ZONES = ("CST", "IST", "BST", "AST", "GST", "MST", "LOCAL", "LT")
_ZONE = (
    r"(?:[ _]?(?P<zone>(?:UTC|GMT)?[+-](?:0\d|1[0-4])(?:[:_]?(?:00|15|30|45))|(?:UTC|GMT)[+-]\d{1,2}|"
    + "|".join([*sorted(_ZONES, key=len, reverse=True), *_AMBIGUOUS_ZONES])
    + r")(?![A-Za-z0-9]))?"
)
_CLOCK = (
    r"(?P<hour>\d{1,2})(?P<csep>[-:._h])(?P<minute>\d\d)(?:(?:(?P=csep)|m)(?P<second>\d\d))?s?(?:[.,]\d+)?"
    r"(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?"
)
_COMPACT_CLOCK = r"(?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)(?:[.,]\d+)?"
_YEAR = r"(?P<year>(?:19|20)\d\d)"
_ISO = rf"(?<!\d){_YEAR}(?P<sep>[-_.:/ ]?)(?P<month>\d\d)(?P=sep)(?P<day>\d\d)"
# What may stand between a date and its time: "at", "um", "à" of screenshots in several languages.
_BETWEEN = r"(?:T|[ _-]|,? (?:at|um|om|kl\.?|alle|à|a las|às|в) )"

_GRAMMAR = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # 2023-10-05T02:10:01+09:00, 2023-10-05 02.10.01, 2023_10_05_02_10_01
        rf"{_ISO}{_BETWEEN}{_CLOCK}{_ZONE}(?!\d)",
        # 20231005T021001Z, 20231005_021001_ssc4, 2023-10-05T021001
        rf"{_ISO}{_BETWEEN}{_COMPACT_CLOCK}{_ZONE}(?!\d)",
        # 20231005_1110 KST; without a zone or a T four digits may be anything
        rf"{_ISO}{_BETWEEN}(?P<hour>\d\d)(?P<minute>\d\d){_ZONE[:-1]}(?!\d)",
        # 20231005T0210
        rf"{_ISO}T(?P<hour>\d\d)(?P<minute>\d\d){_ZONE}(?!\d)",
        # 202310050210012 (Pleiades, SPOT: a tenth of a second at the end), 20231005021001
        rf"(?<!\d){_YEAR}(?P<month>\d\d)(?P<day>\d\d){_COMPACT_CLOCK}\d{{0,3}}{_ZONE}(?!\d)",
        rf"{_ISO}(?!\d)",
        # 5 Oct 2023 02:10:01 UTC
        rf"(?<!\d)(?P<day>\d{{1,2}})[-_ .]*{_MONTH}[-_ .,]*{_YEAR}{_BETWEEN}{_CLOCK}{_ZONE}(?!\d)",
        # 5OCT2023, 05-Oct-2023, 5 October 2023
        rf"(?<!\d)(?P<day>\d{{1,2}})[-_ .]*{_MONTH}[-_ .,]*{_YEAR}(?!\d)",
        # 2023Oct05, Oct 5, 2023
        rf"(?<!\d){_YEAR}[-_ .]*{_MONTH}[-_ .]*(?P<day>\d{{1,2}})(?!\d)",
        rf"(?<![A-Za-z]){_MONTH}[-_ .]*(?P<day>\d{{1,2}})[-_ .,]+{_YEAR}(?!\d)",
        # 23OCT05021001-M2AS-... (Maxar)
        rf"(?<![A-Za-z0-9])(?P<yy>\d\d){_MONTH}(?P<day>\d\d){_COMPACT_CLOCK}(?=-[A-Z]\d[A-Z]{{2}}(?![A-Za-z]))",
        # 05OCT23, 23OCT05021001: year or day first?
        rf"(?<![A-Za-z0-9])(?P<first>\d\d)[-_ ]?{_MONTH}[-_ ]?(?P<last>\d\d)(?:\d{{6}})?(?!\d)",
        # 05-10-2023: day or month first?
        rf"(?<!\d)(?P<one>\d{{1,2}})(?P<sep>[-_./ ])(?P<two>\d{{1,2}})(?P=sep){_YEAR}(?!\d)",
    )
)
# Products whose name holds a second date, that of the processing: the first one counts.
_PRODUCTS = (
    re.compile(r"_MSIL[12][AC]p?_(\d{8}T\d{6})_"),
    re.compile(r"S2[A-D]_(?:OPER|USER)_.*_V(\d{8}T\d{6})_"),
    re.compile(r"(?<!\d)(\d{8}T\d{6})_\d{8}T\d{6}_T\d{2}[A-Z]{3}"),
    re.compile(r"^L[A-Z]\d\d_L\w{3}_\d{6}_(\d{8})_\d{8}_"),
    re.compile(r"^m_\d{7}_(?:ne|nw|se|sw)_\d{1,2}_(?:\d{3}|1|h)_(\d{8})_\d{8}(?!\d)", re.IGNORECASE),
)
# Whose date isn't that of the acquisition: pictures of a screen, of a telephone, of a chat.
_SCREEN = re.compile(
    r"screen[-_ ]?(?:shot|cap|grab|clip)|bildschirmfoto|capture|captura|schermafbeelding|schermata|skärm|"
    r"skjerm|zrzut|ekran|снимок|скриншот|スクリーンショット|截图|截屏|屏幕|擷取|스크린샷|snip|clipboard|whatsapp|"
    r"telegram|signal-|^photo_|^img_\d{8}_|^pxl_|^dsc|^vlcsnap",
    re.IGNORECASE,
)
_COMPOSITE = re.compile(
    r"(?<![A-Za-z])(?:basemap|composite|median|monthly|quarterly|annual|yearly|weekly|seasonal|latest)(?![A-Za-z])",
    re.IGNORECASE,
)
# 2023-10-01 to 05, 20231001..05
_RANGE = re.compile(r"\d[-_ ]?(?:to|until|till|thru|through|bis|\.\.|…)[-_ ]?\d", re.IGNORECASE)
_WORKED_ON = re.compile(
    r"(?<![A-Za-z])(?:download(?:ed)?|export(?:ed)?|processed|created|modified|edited|accessed|printed|scan(?:ned)?|"
    r"saved|uploaded|published|retrieved|as[-_ ]of|generated|delivered|ordered?)(?![A-Za-z])",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class NameTime:
    """What a text says about the time of an acquisition.

    Attributes:
        when: UTC; midnight where only a day is given; None where nothing can be told.
        day_only: Whether only the day is known.
        doubt: Why the date may be another's than the acquisition's, or None.
        fault: Why a date that stands there isn't used, or None.
        composite: Whether the doubt is that several days were made one image.
    """

    when: dt.datetime | None = None
    day_only: bool = False
    doubt: str | None = None
    fault: str | None = None
    composite: bool = False


@dataclass(frozen=True)
class _Found:
    """One date in a text: its readings in UTC, and their days as they are written; there should be one."""

    readings: tuple[dt.datetime, ...]
    days: frozenset[dt.date]
    day_only: bool
    text: str
    zone: str | None = None


def absurd(when: dt.datetime | dt.date) -> str | None:
    """Why a time can't be that of an acquisition, as a clause; None if it can.

    Example:
        >>> absurd(dt.date(1945, 8, 10))
        'before the first satellite (1957)'
        >>> absurd(dt.date(2023, 10, 5)) is None
        True
    """
    day = when.date() if isinstance(when, dt.datetime) else when
    if day < EARLIEST:
        return "before the first satellite (1957)"
    if day > dt.datetime.now(dt.UTC).date() + _AHEAD:
        return "in the future"
    return None


def date_in_name(name: str) -> NameTime:
    """When an image was taken, by its name.

    Args:
        name: A file's name without its ending.

    Returns:
        The time, or why there is none.

    Example:
        >>> date_in_name("20231005_021001_ssc4_visual").when.isoformat()
        '2023-10-05T02:10:01+00:00'
        >>> date_in_name("NAIP_2023-01-01_2023-12-31").fault
        'its name holds two dates (2023-01-01 and 2023-12-31)'
    """
    for pattern in _PRODUCTS:
        match = pattern.search(name)
        if match is not None and (known := _agreed(match[1], "its name")).when is not None:
            return known
    found = _agreed(name, "its name")
    if found.when is None:
        return found
    if _RANGE.search(name):
        return NameTime(fault="its name holds a range of dates")
    if _SCREEN.search(name):
        return NameTime(
            found.when, found.day_only, "the date in its name is that of a screenshot or photograph of it"
        )
    if (worked := _WORKED_ON.search(name)) is not None:
        return NameTime(
            found.when, found.day_only, f"its name says {worked[0]!r}, which the date may be that of"
        )
    if (made := _COMPOSITE.search(name)) is not None:
        doubt = f"its name says {made[0]!r}, so it may be made of several days"
        return NameTime(found.when, found.day_only, doubt, composite=True)
    return found


def parse_time(text: str) -> NameTime:
    """A time as metadata write it: ISO 8601, the form of TIFF, and what the grammar of names knows."""
    clean = re.sub(r"^(\d{4}):(\d\d):(\d\d)", r"\1-\2-\3", text.strip())
    try:
        value = dt.datetime.fromisoformat(clean)
    except ValueError:
        return _agreed(clean, repr(text.strip()))
    when = value.astimezone(dt.UTC) if value.tzinfo and value.year > 1 else value.replace(tzinfo=dt.UTC)
    fault = absurd(when)
    if fault is not None:
        return NameTime(fault=f"{when.date()} lies {fault}")
    return NameTime(when, len(clean) <= len("2023-10-05"))


def _agreed(text: str, whose: str) -> NameTime:
    """What the dates in a text say together."""
    found = list(_scan(text))
    usable = [one for one in found if one.readings and not all(absurd(each) for each in one.readings)]
    if not usable:
        for one in found:
            if one.readings:
                return NameTime(
                    fault=f"{whose} gives {one.readings[0].date()}, which lies {absurd(one.readings[0])}"
                )
        return NameTime()
    sure = [one for one in usable if len(one.days) == 1]
    for one in usable:
        if len(one.days) > 1 and not any(other.days & one.days for other in sure):
            first, second = sorted(one.days)[:2]
            return NameTime(fault=f"{whose} gives {one.text!r}, which may be {first} or {second}")
    days = sorted({day for one in sure for day in one.days})
    moments = sorted({reading for one in sure if not one.day_only for reading in one.readings})
    if len(days) > 1:
        first, last = days[0], days[-1]
        return NameTime(fault=f"{whose} holds two dates ({first} and {last})")
    for one in sure:
        if one.zone in _AMBIGUOUS_ZONES:
            return NameTime(fault=f"{whose} gives the time in {one.zone}, which stands for several zones")
    if len(moments) == 1:
        return NameTime(moments[0])
    return NameTime(dt.datetime.combine(days[0], dt.time(0), dt.UTC), True)


def _scan(text: str) -> Iterator[_Found]:
    """The dates in a text from left to right, no piece of it read twice."""
    place = 0
    while place < len(text):
        matches = [match for pattern in _GRAMMAR if (match := pattern.search(text, place)) is not None]
        # The leftmost, of these the first in the grammar; but only one that is a date.
        for match in sorted(matches, key=lambda one: one.start()):
            found = _readings(match)
            if found is not None:
                yield found
                place = match.end()
                break
        else:
            return


def _readings(match: re.Match[str]) -> _Found | None:
    parts = {key: value for key, value in match.groupdict().items() if value is not None}
    month = _MONTHS[parts["mon"][:3].lower()] if "mon" in parts else int(parts.get("month", 0))
    if "first" in parts:
        first, last = int(parts["first"]), int(parts["last"])
        options = [(2000 + last, month, first), (2000 + first, month, last)]
    elif "one" in parts:
        one, two, year = int(parts["one"]), int(parts["two"]), int(parts["year"])
        options = [(year, two, one), (year, one, two)]
    else:
        year = int(parts["year"]) if "year" in parts else 2000 + int(parts["yy"])
        options = [(year, month, int(parts["day"]))]
    clock = _clock(parts)
    if clock is None:
        return None
    readings = {}
    for option in options:
        try:
            local = dt.datetime(*option, *clock, tzinfo=dt.UTC)
        except ValueError:
            continue
        readings[local - _offset(parts.get("zone"))] = local.date()
    usable = {one: day for one, day in readings.items() if absurd(one) is None} or readings
    if not usable:
        return None
    zone = parts["zone"].upper() if "zone" in parts else None
    return _Found(tuple(usable), frozenset(usable.values()), "hour" not in parts, match[0], zone)


def _clock(parts: dict[str, str]) -> tuple[int, int, int] | None:
    """Hour, minute, second; zeros without a time; None if they are none."""
    hour, minute, second = (int(parts.get(key, 0)) for key in ("hour", "minute", "second"))
    half = parts.get("half", "").lower()
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half == "p" else 0)
    return (hour, minute, second) if hour < 24 and minute < 60 and second < 60 else None


def _offset(zone: str | None) -> dt.timedelta:
    if zone is None or zone.upper() in _AMBIGUOUS_ZONES:
        return dt.timedelta(0)
    if zone.upper() in _ZONES:
        return dt.timedelta(hours=_ZONES[zone.upper()])
    match = re.fullmatch(r"(?:UTC|GMT)?([+-])(\d{1,2})(?:[:_]?(\d\d))?", zone, re.IGNORECASE)
    assert match is not None  # by the grammar
    size = dt.timedelta(hours=int(match[2]), minutes=int(match[3] or 0))
    return size if match[1] == "+" else -size


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

    Tags that name the acquisition come first, then the file's name (see `geo.filename_metadata`), then
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
