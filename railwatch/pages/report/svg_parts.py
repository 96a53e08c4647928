"""matplotlib's SVG as parts that a page can hold: no style attributes, and the page's own colours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from xml.etree import ElementTree

from markupsafe import Markup, escape

from railwatch.pages.charts import style as chart_style

__all__ = ["Drawing", "Part", "element", "grouped", "numbers_of", "rounded"]

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
    """Return the declarations of a style attribute."""
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
