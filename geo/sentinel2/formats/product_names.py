"""What names tell: of Sentinel-2 products, granules, datatakes and their files, and of PlanetScope's files.

A scene of PlanetScope is known by its name, ``20231005_021001_43_2427``: UTC time and satellite. What lies
beside it in its folder begins alike (https://docs.planet.com/data/imagery/planetscope/psscene/).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from geo.file_tree import joined, parent

TEN_METRE_BANDS = ("B02", "B03", "B04", "B08")
"""The bands that wagons are looked for in."""
SWIR_BAND = "B11"
CLASSES = "SCL"
"""The scene classification of a level-2A product."""
SHIFT = 1000.0
"""What ESA adds to every number from baseline 04.00 on."""
DECLARATION = "railwatch-sentinel2.toml"
"""The file beside exported images that tells what their numbers mean: see `declaration` beside this."""

# S2A_MSIL2A_20231005T021001_N0509_R003_T52TFN_20231005T061601; the Planetary Computer leaves the N out.
_PRODUCT = re.compile(
    r"(?P<unit>S2[A-Z])_MSI(?P<level>L1C|L2A)p?_(?P<start>\d{8}T\d{6})_(?:N(?P<baseline>\d{4})_)?"
    r"R(?P<orbit>\d{3})_T(?P<tile>\d{2}[A-Z]{3})_(?P<generated>\d{8}T\d{6})"
)
# S2A_OPER_PRD_MSIL1C_PDMC_20160318T145513_R008_V20160318T031532_20160318T031532, until December 2016
_OLD_PRODUCT = re.compile(
    r"(?P<unit>S2[A-Z])_(?:OPER|USER)_(?:PRD_MSI|MTD_SAF)(?P<level>L1C|L2A)_\w{4}_(?P<generated>\d{8}T\d{6})_"
    r"R(?P<orbit>\d{3})_V(?P<start>\d{8}T\d{6})_"
)
_DATATAKE = re.compile(
    r"G(?P<unit>S2[A-Z])_(?P<start>\d{8}T\d{6})_(?P<orbit>\d{6})_N(?P<baseline>\d\d\.\d\d)"
)
_TILE = re.compile(r"(?:^|[_-])T(?P<tile>\d{2}[C-HJ-NP-X][A-HJ-NP-Z]{2})(?:[_.-]|$)")
_BASELINE = re.compile(r"_N(\d\d)\.?(\d\d)(?:[_.]|$)")
_ORBITS_A_CYCLE = 143
_PRODUCT_XML = re.compile(r"^(MTD_MSI(L1C|L2A)|S2[A-Z]_\w{4}_MTD_SAFL(1C|2A)_.*)\.xml$", re.IGNORECASE)
_SAFE = re.compile(r"\.SAFE$", re.IGNORECASE)
AWS_TILE, AWS_INFO = "metadata.xml", "tileInfo.json"
"""Side by side in a folder on the pattern of AWS's buckets."""
# Absolute orbit of relative orbit 0 (that is, 143), modulo a cycle; from products that name both. The first
# satellite left its place in the constellation in 2025, so that the rule holds up to then.
_ORBIT_ORIGIN = {"Sentinel-2A": (140, 49_500), "Sentinel-2B": (26, 10**9)}


@dataclass(frozen=True)
class ProductName:
    """What a product's name tells.

    Attributes:
        platform: "Sentinel-2A" and so on.
        level: "L1C" or "L2A".
        start: UTC start of the datatake.
        baseline: Such as "05.09", or None.
        relative_orbit: 1 to 143.
        tile: MGRS, without the T, or None in old products, which have many.
        generated: UTC time of processing.
    """

    platform: str
    level: str
    start: dt.datetime
    baseline: str | None
    relative_orbit: int
    tile: str | None
    generated: dt.datetime


def parse_product_name(text: str) -> ProductName | None:
    """The first product name in a text, old or new style."""
    match = _PRODUCT.search(text) or _OLD_PRODUCT.search(text)
    if match is None:
        return None
    parts = match.groupdict()
    number = parts.get("baseline")
    try:
        return ProductName(
            platform=platform_of(parts["unit"]),
            level=parts["level"],
            start=compact_time(parts["start"]),
            baseline=f"{number[:2]}.{number[2:]}" if number else None,
            relative_orbit=int(parts["orbit"]),
            tile=parts.get("tile"),
            generated=compact_time(parts["generated"]),
        )
    except ValueError:
        return None


@dataclass(frozen=True)
class Datatake:
    """What a datatake's identifier tells.

    Attributes:
        platform: "Sentinel-2A" and so on.
        start: UTC.
        relative_orbit: 1 to 143, or None where it can't be had from the absolute one.
        baseline: Such as "05.09".
    """

    platform: str
    start: dt.datetime
    relative_orbit: int | None
    baseline: str


@dataclass(frozen=True)
class ProductMetadata:
    """What a product's metadata say of all its bands: its XML, or the tags of a clip of it.

    Attributes:
        level: "L1C" or "L2A".
        platform: "Sentinel-2A" and so on.
        start: UTC start of the datatake.
        relative_orbit: 1 to 143, or None.
        baseline: Such as "05.09", or None.
        name: The product's, or "".
        generated: UTC, or None.
        quantification: What reflectance 1 is written as.
        offsets: Numbers to be added by band name before the division; empty if none are listed.
    """

    level: str
    platform: str
    start: dt.datetime
    relative_orbit: int | None
    baseline: str | None
    name: str
    generated: dt.datetime | None
    quantification: float
    offsets: Mapping[str, float]


def parse_datatake(text: str) -> Datatake | None:
    """The first datatake identifier in a text: GS2A_20231005T021001_043273_N05.09."""
    match = _DATATAKE.search(text)
    if match is None:
        return None
    platform = platform_of(match["unit"])
    try:
        start = compact_time(match["start"])
    except ValueError:
        return None
    return Datatake(platform, start, relative_orbit(platform, int(match["orbit"])), match["baseline"])


def relative_orbit(platform: str, absolute: int) -> int | None:
    """The relative orbit of an absolute one, None where the rule isn't known."""
    origin, until = _ORBIT_ORIGIN.get(platform, (0, 0))
    if not 0 < absolute < until:
        return None
    return (absolute - origin - 1) % _ORBITS_A_CYCLE + 1


def tile_in(text: str) -> str | None:
    """The MGRS tile named in a text (after a T), without the T."""
    match = _TILE.search(text)
    return match["tile"] if match else None


def baseline_in(text: str) -> str | None:
    """The processing baseline at the end of a tile's identifier: ..._T52TFN_N05.09."""
    match = _BASELINE.search(text)
    return f"{match[1]}.{match[2]}" if match else None


def platform_of(text: str) -> str:
    """A platform as it is written here, "Sentinel-2A", from S2A, sentinel-2a and the like.

    Plain "Sentinel-2" where the unit isn't told. A simulated product says so before the name, and so does
    what is made of it: no reader must take it for the satellite's.

    >>> platform_of("S2A"), platform_of("simulated-sentinel-2a")
    ('Sentinel-2A', 'simulated Sentinel-2A')
    """
    match = re.fullmatch(r"(simulated[-_ ])?(?:S|sentinel)[-_ ]?2[-_ ]?([A-D])", text.strip(), re.IGNORECASE)
    if match is None:
        return "Sentinel-2"
    return f"{'simulated ' if match[1] else ''}Sentinel-2{match[2].upper()}"


def compact_time(text: str) -> dt.datetime:
    """A time such as 20231005T021001, UTC.

    Raises:
        ValueError: It isn't one.
    """
    return dt.datetime.strptime(text, "%Y%m%dT%H%M%S").replace(tzinfo=dt.UTC)


def iso_time(text: str) -> dt.datetime:
    """An ISO 8601 time as a UTC one; without a zone it is UTC.

    Raises:
        ValueError: It isn't one.
    """
    when = dt.datetime.fromisoformat(text.strip())
    return when.replace(tzinfo=dt.UTC) if when.tzinfo is None else when.astimezone(dt.UTC)


def time_or_none(text: str | None) -> dt.datetime | None:
    """The time that `iso_time` reads; None where there is none, or none that can be read."""
    try:
        return iso_time(text) if text else None
    except ValueError:
        return None


def is_modern(baseline: str) -> bool:
    """Whether numbers of a processing baseline have 1000 added to them: from 04.00 on.

    Not by the date: the archive since 2015 has been processed again with baseline 05.
    """
    major, _, _ = baseline.partition(".")
    return major.isdigit() and int(major) >= 4


def offset_by_baseline(baseline: str) -> float:
    """What is to be added to ESA's numbers of a processing baseline: 0 or -1000."""
    return -SHIFT if is_modern(baseline) else 0.0


def safe_roots(names: Sequence[str]) -> dict[str, str | None]:
    """Find the SAFE products among files.

    Args:
        names: Relative names, as a `FileTree` lists them.

    Returns:
        The product's XML (None if it is missing) by the product's folder; "" is the top.
    """
    roots: dict[str, str | None] = {}
    for name in names:
        folder, _, file = name.rpartition("/")
        if _PRODUCT_XML.match(file) and "GRANULE/" not in f"{folder}/":
            roots.setdefault(folder, name)
        parts = folder.split("/")
        for depth, part in enumerate(parts, start=1):
            if _SAFE.search(part):
                roots.setdefault("/".join(parts[:depth]), None)
    for folder in [one for one, xml in roots.items() if xml is None]:
        xml = next((one for one in roots if roots[one] and one.startswith(f"{folder}/")), None)
        if xml is not None:  # a .SAFE folder around another one: an unpacker's habit
            del roots[folder]
    for name in names:
        folder, _, file = name.rpartition("/")
        if folder in roots and roots[folder] is None and _PRODUCT_XML.match(file):
            roots[folder] = name
    return roots


def aws_roots(names: Sequence[str]) -> list[str]:
    """Find the folders on the pattern of AWS's buckets: metadata.xml and tileInfo.json side by side."""
    listed = set(names)
    return [
        parent(name)
        for name in names
        if name.rpartition("/")[2] == AWS_TILE and joined(parent(name), AWS_INFO) in listed
    ]


_FILE = re.compile(
    r"^(?P<id>(?P<time>\d{8}_\d{6})(?:_\d{1,3})?_(?P<satellite>[0-9a-f]{4}))(?P<rest>(?:_[^/]*)?)\.(?P<ending>\w+)$"
)
# What Planet's composite tool makes of a strip: 2023-07-05_strip_6625124_composite.tif
_COMPOSITE = re.compile(
    r"^(?P<id>(?P<time>\d{4}-\d\d-\d\d)_strip_(?P<satellite>\w+?)_composite)(?P<rest>(?:_[^/]*)?)\.(?P<ending>\w+)$"
)
_LEVEL = re.compile(r"_[13][AB]_|_composite", re.IGNORECASE)
_IMAGES = ("tif", "tiff")
_TIMES = ("%Y%m%d_%H%M%S", "%Y-%m-%d")
_STRIP = dt.timedelta(seconds=60)


class _SceneFile(NamedTuple):
    """A file of a scene.

    Attributes:
        name: In its tree.
        words: What its name says after the scene's id, in lower case.
        ending: In lower case.
    """

    name: str
    words: tuple[str, ...]
    ending: str


@dataclass(frozen=True)
class SceneFiles:
    """The files of one scene in one folder.

    Attributes:
        folder: In its tree.
        id: As its files' names begin.
        when: UTC, to the second; of a composite the day alone.
        satellite: Its number, in hexadecimal digits.
        files: Images, masks and metadata.
    """

    folder: str
    id: str
    when: dt.datetime
    satellite: str
    files: tuple[_SceneFile, ...]

    @property
    def composite(self) -> bool:
        """Whether it is what Planet's composite tool makes of scenes."""
        return self.id.endswith("_composite")

    def ranked(self) -> list[_SceneFile]:
        """Its images, the one to be used first; pictures only where there are no others."""
        images = self.images("analyticms") or self.images("analytic") or self.images("visual")
        if self.composite:
            images = self.images(without=("udm2", "udm"))
        return images

    @property
    def root(self) -> str:
        """The folder of its order: each scene may have one of its own below it."""
        parts = self.folder.split("/")
        return "/".join(parts[: parts.index(self.id)] if self.id in parts else parts)

    def images(self, *words: str, without: Sequence[str] = ()) -> list[_SceneFile]:
        """GeoTIFFs whose names hold some words and not others, the one to be used first."""
        found = (
            one
            for one in self.files
            if one.ending in _IMAGES and set(words) <= set(one.words) and not set(without) & set(one.words)
        )
        return sorted(found, key=_rank)


def strips(names: Sequence[str]) -> list[list[SceneFiles]]:
    """Find scenes among files, and which are of one strip: taken by one satellite within a minute.

    Args:
        names: Of files, as a tree gives them.

    Returns:
        The scenes of each strip, by satellite and time.

    Example:
        >>> one = "20231005_021001_43_2427_3B_AnalyticMS_SR.tif"
        >>> [[scene.id for scene in strip] for strip in strips([one, "yard.tif"])]
        [['20231005_021001_43_2427']]
    """
    found: dict[tuple[str, str], list[tuple[re.Match[str], _SceneFile]]] = {}
    for name in names:
        folder, _, last = name.rpartition("/")
        match = _FILE.match(last) or _COMPOSITE.match(last)
        if match and match["ending"].lower() in _IMAGES and not _LEVEL.search(last):
            continue  # somebody else's image, taken at such a time
        if match is None:
            continue
        words = tuple(word for word in match["rest"].lower().split("_") if word)
        file = _SceneFile(name, words, match["ending"].lower())
        found.setdefault((folder, match["id"]), []).append((match, file))
    scenes = []
    for (folder, id), files in found.items():
        try:
            text = files[0][0]["time"]
            when = dt.datetime.strptime(text, _TIMES["-" in text]).replace(tzinfo=dt.UTC)
        except ValueError:
            continue
        scene = SceneFiles(folder, id, when, files[0][0]["satellite"], tuple(file for _, file in files))
        if scene.ranked():
            scenes.append(scene)
    grouped: list[list[SceneFiles]] = []
    for scene in sorted(scenes, key=lambda one: (one.satellite, one.root, one.when, one.id)):
        first = grouped[-1][0] if grouped else None
        if (
            first is not None
            and (first.satellite, first.root) == (scene.satellite, scene.root)
            and grouped[-1][-1].id != scene.id
            and scene.when - first.when <= _STRIP
        ):
            grouped[-1].append(scene)
        else:
            grouped.append([scene])
    return grouped


def _rank(file: _SceneFile) -> tuple[bool, bool, bool, bool, bool, str]:
    """What is chosen of several images of a scene: surface reflectance, made alike to Sentinel-2's, first."""
    return (
        not {"3b", "3a"} & set(file.words),
        "dn" in file.words,
        "sr" not in file.words,
        "harmonized" not in file.words,
        "8b" in file.words,
        file.name,
    )
