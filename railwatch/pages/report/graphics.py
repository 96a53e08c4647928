"""Graphics as the page can hold them: matplotlib's SVG in parts, and pictures as data URIs.

The parts have no style attributes, and the page's own colours. Pictures are encoded anew so that the whole
page stays small enough to mail.
"""

from __future__ import annotations

import base64
import io
import logging
import math
import re
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

from markupsafe import Markup, escape
from PIL import Image

from railwatch.pages.charts import style as chart_style

_COLOURS: Mapping[str, str] = {
    chart_style.BLACK: "var(--ink)",
    chart_style.GREY: "var(--muted)",
    chart_style.LIGHT: "var(--rule)",
    chart_style.GRID: "var(--grid)",
    chart_style.PALE: "var(--window)",
    chart_style.BLUE: "var(--wagons)",
    chart_style.VERMILION: "var(--occupancy)",
    chart_style.ORANGE: "var(--occupancy-planetscope)",
    chart_style.PUBLISHED_COLOUR: "var(--published)",
    chart_style.SKY: "var(--expected)",
    "#ffffff": "var(--paper)",
}
_KEPT = {"fill", "stroke", "stroke-width", "stroke-dasharray", "fill-opacity", "stroke-opacity", "opacity"}
_TEXT_KEPT = {"font-size", "font-weight", "text-anchor", "fill"}
_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")


@dataclass(frozen=True)
class Part:
    """A path or a text of the drawing, with its place and its presentation attributes."""

    d: str
    text: str
    x: float
    y: float
    attributes: Mapping[str, str]

    def markup(
        self, kind: str, dx: float = 0.0, dy: float = 0.0, more: Mapping[str, str] | None = None
    ) -> Markup:
        """Return it as an element of a class, moved, with more attributes."""
        given = {"class": kind, **self.attributes, **(more or {})}
        if self.text:
            given |= {"x": rounded(self.x + dx), "y": rounded(self.y + dy)}
            return element("text", given, escape(self.text))
        return element("path", {**given, "d": _moved(self.d, self.x + dx, self.y + dy)})


class Drawing:
    """An SVG of matplotlib's, taken apart by the ``gid`` of its groups.

    Attributes:
        groups: Its groups by ``gid``.
    """

    def __init__(self, svg: bytes) -> None:
        """Parse it.

        Args:
            svg: What matplotlib wrote with ``svg.fonttype`` none.
        """
        root = ElementTree.fromstring(svg)
        self._outlines = {
            f"#{path.get('id')}": path
            for defs in root.iter(f"{_SVG}defs")
            for path in defs.findall(f"{_SVG}path")
        }
        self.groups = {str(one.get("id")): one for one in root.iter(f"{_SVG}g") if one.get("id")}

    def named(self, *beginnings: str) -> Iterator[tuple[str, ElementTree.Element]]:
        """Return the groups whose ``gid`` begins with one of some texts."""
        for gid, group in self.groups.items():
            if gid.startswith(beginnings):
                yield gid, group

    def parts(self, group: ElementTree.Element | None) -> Iterator[Part]:
        """Return the paths and texts of a group, what is used from definitions among them."""
        for node in group.iter() if group is not None else ():
            if node.tag == f"{_SVG}use":
                outline = self._outlines[str(node.get(_HREF))]
                given = _declared(outline) | _declared(node)
                x, y = float(node.get("x", 0)), float(node.get("y", 0))
                yield Part(str(outline.get("d")), "", x, y, _presentation(given))
            elif node.tag == f"{_SVG}path" and node not in self._outlines.values():
                yield Part(str(node.get("d")), "", 0.0, 0.0, _presentation(_declared(node)))
            elif node.tag == f"{_SVG}text":
                text = "".join(node.itertext())
                x, y = float(node.get("x", 0)), float(node.get("y", 0))
                yield Part("", text, x, y, _written(_declared(node)))


def _declared(node: ElementTree.Element) -> dict[str, str]:
    pairs = (one.split(":", 1) for one in (node.get("style") or "").split(";") if ":" in one)
    return {name.strip(): value.strip() for name, value in pairs}


def _presentation(given: Mapping[str, str]) -> dict[str, str]:
    found = {name: _COLOURS.get(value, value) for name, value in given.items() if name in _KEPT}
    if found.get("fill", "").startswith("url("):  # a hatch of matplotlib's; the page has its own
        found["fill"] = "none"
    if "stroke" in found:
        found.setdefault("stroke-width", "1")
    return found if "fill" in found or "stroke" not in found else {"fill": "none", **found}


def _written(given: Mapping[str, str]) -> dict[str, str]:
    found = {name: _COLOURS.get(value, value) for name, value in given.items() if name in _TEXT_KEPT}
    found["font-size"] = found.get("font-size", "8").removesuffix("px")
    return found | {"fill": found.get("fill", "var(--ink)")}


def _moved(d: str, dx: float, dy: float) -> str:
    """Return a path of absolute coordinates (all that matplotlib writes) moved and written shortly."""
    numbers = iter(_NUMBER.findall(d))
    commands = re.findall(r"[A-Za-z]", _NUMBER.sub("", d))
    written = []
    for command in commands:
        points = [
            f"{rounded(float(next(numbers)) + dx)},{rounded(float(next(numbers)) + dy)}"
            for _ in range(_POINTS[command])
        ]
        written.append(f"{command.upper()}{' '.join(points)}")
    return "".join(written)


_POINTS: Mapping[str, int] = {"M": 1, "L": 1, "Q": 2, "C": 3, "z": 0, "Z": 0}


def numbers_of(d: str) -> list[float]:
    """Return the numbers of a path."""
    return [float(one) for one in _NUMBER.findall(d)]


def rounded(value: float) -> str:
    """Return a coordinate with two decimals at most."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def element(name: str, attributes: Mapping[str, str], inside: Markup | None = None) -> Markup:
    """Return an element; attributes without a value are left out, all others escaped."""
    given = Markup("").join(
        Markup(' {}="{}"').format(key, value) for key, value in attributes.items() if value
    )
    if inside is None and name != "text":
        return Markup("<{}{}/>").format(name, given)
    return Markup("<{0}{1}>{2}</{0}>").format(name, given, inside or Markup(""))


def grouped(kind: str, parts: Iterable[Markup], *, clip: str = "", hidden: bool = True) -> Markup:
    """Return a group of a class, by default one that screen readers pass over."""
    attributes = {"class": kind, "clip-path": clip, "aria-hidden": "true" if hidden else ""}
    return element("g", attributes, Markup("").join(parts))


log = logging.getLogger(__name__)

_LONGEST_PX = 1600
_SHORTEST_PX = 640
_QUALITY = 80
# Evidence of a busy yard takes this much of WebP at that quality; only the first guess rests on it.
_BYTES_PER_PX = 0.11
# Three letters carry four: what base64 adds.
_BASE64 = 4.0 / 3.0


@dataclass(frozen=True)
class EncodedPicture:
    """A picture as the page holds it.

    Attributes:
        uri: ``data:image/webp;base64,...``, or ``image/jpeg``.
        width: Pixels.
        height: Pixels.
    """

    uri: str
    width: int
    height: int


def encode(
    paths: Mapping[str, Path],
    budget_bytes: int,
    priority: Sequence[str],
    progress: Callable[[int, int], None] | None = None,
    *,
    printed: Collection[str] = (),
) -> dict[str, EncodedPicture]:
    """Encode pictures so that they fit a budget together.

    All get the same reduction, so that two of them can be laid side by side. Where even small pictures
    don't fit, those last in priority are left out.

    Args:
        paths: The files (PNG or WebP) by name.
        budget_bytes: What the data URIs may take together.
        priority: All names, those that must be shown first.
        progress: Told of every picture.
        printed: Names that appear on paper. A browser puts a JPEG into a PDF as it is, and a WebP without
            loss, which takes ten times the room.

    Returns:
        By name. A file that can't be read is left out, with a warning in the log.
    """
    names = [name for name in priority if name in paths]
    longest = _first_guess(len(names), budget_bytes)
    while True:
        encoded: dict[str, EncodedPicture] = {}
        total = 0
        for number, name in enumerate(names):
            picture = _encoded(paths[name], longest, "jpeg" if name in printed else "webp")
            if picture is not None:
                encoded[name] = picture
                total += len(picture.uri)
            if progress is not None:
                progress(number + 1, len(names))
            if total > budget_bytes and longest <= _SHORTEST_PX:
                return _what_fits(encoded, budget_bytes)
        if total <= budget_bytes:
            return encoded
        names = list(encoded)  # those that can't be read have been named once
        longest = max(_SHORTEST_PX, int(longest * max(0.5, min(0.9, math.sqrt(budget_bytes / total)))))


def _first_guess(number: int, budget_bytes: int) -> int:
    """Return a longest edge at which so many pictures should fit."""
    if number == 0:
        return _LONGEST_PX
    pixels = budget_bytes / number / _BASE64 / _BYTES_PER_PX
    # Yards are longer than wide: a picture of edge e has about 0.7 e^2 pixels.
    return int(max(_SHORTEST_PX, min(_LONGEST_PX, math.sqrt(pixels / 0.7))))


def _what_fits(encoded: Mapping[str, EncodedPicture], budget_bytes: int) -> dict[str, EncodedPicture]:
    """Keep pictures in their order as long as they fit."""
    kept: dict[str, EncodedPicture] = {}
    total = 0
    for name, picture in encoded.items():
        total += len(picture.uri)
        if total > budget_bytes:
            break
        kept[name] = picture
    return kept


def _encoded(path: Path, longest: int, kind: Literal["jpeg", "webp"]) -> EncodedPicture | None:
    """Read one file and encode it, or None when it is no picture.

    The store may come from somebody else: what isn't a picture of a sane size isn't passed on, and
    encoding anew drops whatever else a file carries.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG", "WEBP")) as opened:
                image = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        log.warning("%s isn't a picture that can be shown; it is left out of the report", path)
        return None
    scale = min(1.0, longest / max(image.size))
    if scale < 1.0:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    if kind == "jpeg":
        image.save(stream, "JPEG", quality=_QUALITY, optimize=True, subsampling=0)
    else:
        image.save(stream, "WEBP", quality=_QUALITY, method=4)
    content = base64.b64encode(stream.getvalue()).decode("ascii")
    return EncodedPicture(f"data:image/{kind};base64,{content}", image.width, image.height)
