"""The series chart inside the page: matplotlib's own SVG, made fit to live in HTML.

`railwatch.pages.charts.series` draws; here the drawing is taken apart by the ``gid`` of its parts and put together
again so that a page can hold it: no style attributes (the page's policy forbids them), colours as the page's
own, so that they turn with light and dark, marks as links to their evidence, and groups that the script can
stretch and move. Nothing is computed anew: every place and outline is matplotlib's.

The chart is drawn at three widths, and the style sheet shows the one that fits.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from markupsafe import Markup, escape
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from railwatch.pages.charts import style as look
from railwatch.pages.charts.output import to_bytes
from railwatch.pages.charts.series import SeriesFrame, draw_series, frame_of, legend_keys, publisher_marks
from railwatch.pages.report import words

if TYPE_CHECKING:
    from railwatch.pages.report.gather import Entry, ReportedArea

__all__ = ["LegendEntry", "legend_of", "plots_of"]

WIDTHS_PT: Mapping[str, tuple[float, int]] = {
    "narrow": (235.0, 0),
    "medium": (430.0, 470),
    "wide": (730.0, 820),
}
"""Width of each drawing in points, and the least width of its container, in pixels, from which it is shown."""

_COLOURS: Mapping[str, str] = {
    look.BLACK: "var(--ink)",
    look.GREY: "var(--muted)",
    look.LIGHT: "var(--rule)",
    look.GRID: "var(--grid)",
    look.PALE: "var(--window)",
    look.BLUE: "var(--wagons)",
    look.VERMILION: "var(--occupancy)",
    look.PUBLISHED_COLOUR: "var(--published)",
    look.SKY: "var(--expected)",
    "#ffffff": "var(--paper)",
}
_KEPT = {"fill", "stroke", "stroke-width", "stroke-dasharray", "fill-opacity", "stroke-opacity", "opacity"}
_TEXT_KEPT = {"font-size", "font-weight", "text-anchor", "fill"}
_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")
_HALO_PT = 9.0


@dataclass(frozen=True)
class LegendEntry:
    """An entry of the page's legend: what a mark looks like, what it means, and what it hides."""

    icon: Markup
    label: str
    hides: str


@dataclass(frozen=True)
class _Part:
    """A path or a text of the drawing, with its place and its presentation attributes."""

    d: str
    text: str
    x: float
    y: float
    attributes: Mapping[str, str]

    def markup(self, kind: str, dx: float = 0.0, dy: float = 0.0, **more: str) -> Markup:
        """Return it as an element of a class, moved."""
        given = {"class": kind, **self.attributes, **more}
        if self.text:
            given |= {"x": _round(self.x + dx), "y": _round(self.y + dy)}
            return _element("text", given, escape(self.text))
        return _element("path", {**given, "d": _moved(self.d, self.x + dx, self.y + dy)})


def plots_of(place: ReportedArea) -> Markup:
    """Return the chart of a place at every width, as SVG elements one after the other."""
    return Markup("\n").join(_plot(place, name, *width) for name, width in WIDTHS_PT.items())


def legend_of(place: ReportedArea) -> list[LegendEntry]:
    """Return the legend of a place's chart, with the very symbols that the chart has."""
    return [LegendEntry(_icon(one.handle), one.label, one.hides) for one in legend_keys(place.history)]


# ---- the whole -----------------------------------------------------------------------------------


def _plot(place: ReportedArea, name: str, width_pt: float, least_px: int) -> Markup:
    style = look.PageStyle(width_mm=width_pt / 72.0 / look.MM, svg_text="text", bare=True)
    with look.drawing(style):
        figure = draw_series(place.history, style)
        drawing = _Drawing(to_bytes(figure, "svg", style), frame_of(figure))
    return drawing.svg(place, name, least_px)


class _Drawing:
    """A drawn series, taken apart."""

    def __init__(self, svg: bytes, frame: SeriesFrame) -> None:
        root = ElementTree.fromstring(svg)
        self.frame = frame
        self.outlines = {
            f"#{path.get('id')}": path
            for defs in root.iter(f"{_SVG}defs")
            for path in defs.findall(f"{_SVG}path")
        }
        self.groups = {str(one.get("id")): one for one in root.iter(f"{_SVG}g") if one.get("id")}

    def svg(self, place: ReportedArea, name: str, least_px: int) -> Markup:
        """Return the drawing as the page holds it."""
        frame, key = self.frame, f"{place.key}-{name}"
        marks = words.plural(len(place.entries), "mark")
        said = (
            f"Freight cars at {place.title} over time: {marks}, each a link to its evidence or its row in "
            "the table. The same figures are in the table below."
        )
        data = {
            "left": frame.left, "right": frame.right, "top": frame.top, "floor": frame.floor,
            "ticks": frame.ticks, "first": frame.first, "last": frame.last, "max": frame.top_value,
        }  # fmt: skip
        attributes = {
            "class": f"plot plot-{name}",
            "viewBox": f"0 0 {_round(frame.width)} {_round(frame.height)}",
            "role": "group",
            "aria-label": said,
            "data-from": str(least_px),
            **{f"data-{one}": f"{value:.10g}" for one, value in data.items()},
        }
        clip, loose = f"url(#clip-{key})", f"url(#loose-{key})"
        inside = [
            self._definitions(key),
            _group("clipped", self._stretched(("window.area", "unseen."), key), clip=clip),
            self._y_axis(),
            self._x_axis(),
            self._spines(),
            _group("clipped", self._stretched(_IN_FRONT, key), clip=clip),
            _group("clipped", [self._flags(), self._looks(place)], clip=loose),
            self._window_label(),
            _group("marks", list(self._marks(place)), hidden=False),
        ]
        return _element("svg", attributes, Markup("\n").join(inside))

    def _definitions(self, key: str) -> Markup:
        frame = self.frame
        wide, x, y = frame.right - frame.left, _round(frame.left), _round(frame.top)
        return Markup(
            '<defs><clipPath id="clip-{0}"><rect x="{1}" y="{2}" width="{3}" height="{4}"/></clipPath>'
            '<clipPath id="loose-{0}"><rect x="{5}" y="0" width="{6}" height="{7}"/></clipPath>'
            '<pattern id="hatch-{0}" width="4" height="4" patternUnits="userSpaceOnUse">'
            '<path class="hatch" d="M-1,1L1,-1M0,4L4,0M3,5L5,3"/></pattern>'
            '<pattern id="unseen-{0}" width="6" height="6" patternUnits="userSpaceOnUse">'
            '<path class="hatch-unseen" d="M-1,5L1,7M0,0L6,6M5,-1L7,1"/></pattern></defs>'
        ).format(
            key, x, y, _round(wide), _round(frame.floor - frame.top), _round(frame.left - 6.0), _round(wide + 12.0), _round(frame.height)
        )  # fmt: skip

    def _named(self, *beginnings: str) -> Iterator[tuple[str, ElementTree.Element]]:
        for gid, group in self.groups.items():
            if gid.startswith(beginnings):
                yield gid, group

    def _stretched(self, beginnings: Sequence[str], key: str) -> list[Markup]:
        """Parts whose geometry is time and count: the script stretches their group as one."""
        found = []
        for beginning in beginnings:
            for gid, group in self._named(beginning):
                kind, more = _KINDS.get(gid) or _KINDS[gid.split(".")[0]], {}
                if kind == "ceiling":
                    kind = "ceiling-area" if gid.endswith(".area") else "ceiling-edge"
                if kind in _HATCHED:
                    more = {"fill": f"url(#{_HATCHED[kind]}-{key})"}
                elif kind == "filtered":
                    kind, more = f"filtered-{gid.split('.')[1]}", {"data-kind": "filtered"}
                elif kind == "join":
                    more = {"data-kind": gid.split(".")[1]}
                found += [part.markup(kind, **more) for part in self._parts(group)]
        return [_group("stretch", found)]

    # -- axes

    def _ticks(self, axis: str) -> Iterator[list[_Part]]:
        for group in self.groups[axis]:
            yield list(self._parts(group))

    def _y_axis(self) -> Markup:
        frame = self.frame
        ticks = []
        for parts in self._ticks("matplotlib.axis_2"):
            label = next((one for one in parts if one.text), None)
            at = next((one.y for one in parts if not one.text and one.x), frame.floor)
            if label is None:
                continue
            line = _element("path", {"d": f"M{_round(frame.left)},0H{_round(frame.right)}"})
            drawn = line + label.markup("", dy=-at)
            ticks.append(_element("g", {"class": "tick", "transform": f"translate(0,{_round(at)})"}, drawn))
        title = _element(
            "text",
            {"class": "axis-title", "x": _round(frame.left), "y": _round(frame.top - 13.0)},
            Markup("freight cars"),
        )
        return _group("y-axis", [title, *ticks])

    def _x_axis(self) -> Markup:
        ticks = []
        for parts in self._ticks("matplotlib.axis_3"):
            label = next((one for one in parts if one.text), None)
            if label is not None:
                at = f"translate({_round(label.x)},{_round(self.frame.ticks)})"
                drawn = _element("path", {"d": "M0,0V3.5"}) + label.markup("", -label.x, -self.frame.ticks)
                ticks.append(_element("g", {"class": "tick", "transform": at}, drawn))
        names = [
            part.markup("strip-title")
            for parts in self._ticks("matplotlib.axis_4")
            for part in parts
            if part.text
        ]
        return _group("x-axis", ticks) + _group("strip", names)

    def _spines(self) -> Markup:
        frame = self.frame
        d = f"M{_round(frame.left)},{_round(frame.top)}V{_round(frame.floor)}H{_round(frame.right)}"
        ruler = f"M{_round(frame.left)},{_round(frame.ticks)}H{_round(frame.right)}"
        return _element("path", {"class": "spine", "d": d + ruler, "aria-hidden": "true"})

    # -- what moves sideways alone

    def _flags(self) -> Markup:
        flags: dict[str, list[Markup]] = {}
        places: dict[str, float] = {}
        for gid, group in self._named("flag."):
            _, number, part = gid.split(".")
            for one in self._parts(group):
                kind = "flag-line" if part.startswith("line") else "flag-text" if one.text else "flag-sign"
                flags.setdefault(number, []).append(one.markup(kind))
                if kind == "flag-line":
                    places.setdefault(number, _numbers(one.d)[0] + one.x)
        drawn = [
            _element("g", {"class": "flag", "data-x": _round(places[number])}, Markup("").join(parts))
            for number, parts in flags.items()
        ]
        return _group("flags", drawn)

    def _looks(self, place: ReportedArea) -> Markup:
        ticks = []
        for number, entry in enumerate(place.numbered, start=1):
            group = self.groups.get(f"look.{number}")
            for part in self._parts(group) if group is not None else ():
                ticks.append(part.markup("look", **{"data-key": entry.key}))
        return _group("looks", ticks)

    def _window_label(self) -> Markup:
        group = self.groups.get("window.label")
        parts = list(self._parts(group)) if group is not None else []
        if not parts:
            at = {"class": "window-label", "x": _round(self.frame.left + 4.0), "display": "none"}
            return _element("text", at | {"y": _round(self.frame.top + 9.0), "font-size": "6.8"})
        return parts[-1].markup("window-label", **{"aria-hidden": "true"})

    # -- marks

    def _marks(self, place: ReportedArea) -> Iterator[Markup]:
        publishers = list(publisher_marks(place.history))
        for number, entry in enumerate(place.numbered, start=1):
            shape = self.groups.get(f"mark.{number}.shape")
            if shape is None:
                continue
            parts = list(self._parts(shape))
            if parts:
                yield self._mark(number, entry, parts[0], publishers)

    def _mark(self, number: int, entry: Entry, shape: _Part, publishers: Sequence[str]) -> Markup:
        record, verdict = entry.record, entry.verdict
        x, y = shape.x, shape.y
        kind = (
            record.method if record.method in look.METHOD_MARKS or record.method == "published" else "other"
        )
        word = "" if verdict is None or record.value is None else verdict.verdict
        names = ["mark", kind]
        names += ["missing"] if record.value is None else []
        names += [f"is-{word}"] if word in ("unprecedented", "elevated", "low") else []
        names += ["bound"] if record.kind in ("at least", "at most") else []
        source = publishers.index(record.source) if record.source in publishers else 0
        attributes = {
            "class": " ".join(names),
            "href": f"#{entry.target}",
            "data-key": entry.key,
            "data-kind": f"published.{source}" if kind == "published" else kind,
            "data-x": _round(x),
            "data-y": _round(y),
            "transform": f"translate({_round(x)},{_round(y)})",
            "aria-label": words.spoken(record, verdict),
        }
        drawn = [_element("circle", {"class": "halo", "r": _round(_HALO_PT)})]
        for part in ("ring", "outer", "interval", "arrow", "leader"):
            group = self.groups.get(f"mark.{number}.{part}")
            for one in self._parts(group) if group is not None else ():
                kind_of_part = "ring outer" if part == "outer" else part
                ends = _numbers(one.d)[1::2] if part == "interval" else []
                more = {"data-span": " ".join(_round(end - y) for end in ends)} if ends else {}
                drawn.append(one.markup(kind_of_part, dx=-x, dy=-y, **more))
        drawn.append(shape.markup("shape", dx=-x, dy=-y))
        label = self.groups.get(f"mark.{number}.label")
        for one in self._parts(label) if label is not None else ():
            if one.text:
                drawn.append(one.markup("label", dx=-x, dy=-y, **{"aria-hidden": "true"}))
        return _element("a", attributes, Markup("").join(drawn))

    # -- reading

    def _parts(self, group: ElementTree.Element) -> Iterator[_Part]:
        """Return the paths and texts of a group, what is used from definitions among them."""
        for node in group.iter():
            if node.tag == f"{_SVG}use":
                outline = self.outlines[str(node.get(_HREF))]
                given = _declared(outline) | _declared(node)
                x, y = float(node.get("x", 0)), float(node.get("y", 0))
                yield _Part(str(outline.get("d")), "", x, y, _presentation(given))
            elif node.tag == f"{_SVG}path" and node not in self.outlines.values():
                yield _Part(str(node.get("d")), "", 0.0, 0.0, _presentation(_declared(node)))
            elif node.tag == f"{_SVG}text":
                given = _declared(node)
                text = "".join(node.itertext())
                yield _Part("", text, float(node.get("x", 0)), float(node.get("y", 0)), _written(given))


_KINDS: Mapping[str, str] = {
    "window.area": "window-area",
    "window.max": "window-max",
    "unseen": "unseen",
    "ceiling": "ceiling",
    "filtered": "filtered",
    "join": "join",
    "expected": "expected",
}
_IN_FRONT = ("ceiling.", "filtered.", "window.max", "join.", "expected")
_HATCHED: Mapping[str, str] = {"unseen": "unseen", "ceiling-area": "hatch"}


# ---- the legend's symbols ------------------------------------------------------------------------


def _icon(handle: Line2D | Patch) -> Markup:
    """Return a legend's symbol as a small picture, drawn by matplotlib like the marks themselves."""
    width, height = 20.0, 13.0
    style = look.PageStyle(svg_text="text")
    with look.drawing(style):
        figure = Figure(figsize=(width / 72.0, height / 72.0))
        if isinstance(handle, Line2D):
            line = Line2D([], [])
            line.update_from(handle)
            lone = handle.get_linestyle() == "None"
            line.set_data([0.5] if lone else [0.05, 0.95], [0.5] if lone else [0.5, 0.5])
            line.set_gid("icon")
            figure.add_artist(line)
        else:
            box = Rectangle((0.05, 0.14), 0.9, 0.72)
            box.update_from(handle)
            box.set_gid("icon")
            figure.add_artist(box)
        content = io.BytesIO()
        figure.savefig(content, format="svg", transparent=True, metadata={"Date": None})
    hatched = isinstance(handle, Patch) and handle.get_hatch()
    drawing = _Drawing(content.getvalue(), _NO_FRAME)
    parts = []
    for part in drawing._parts(drawing.groups["icon"]):
        parts.append(part.markup("swatch"))
        if hatched:
            parts.append(_hatching(str(hatched), width, height))
    attributes = {
        "class": "icon",
        "viewBox": f"0 0 {width:g} {height:g}",
        "width": "30",
        "height": "20",
        "aria-hidden": "true",
        "focusable": "false",
    }
    return _element("svg", attributes, Markup("").join(parts))


_NO_FRAME = SeriesFrame(*(0.0,) * 11)


def _hatching(hatch: str, width: float, height: float) -> Markup:
    """The strokes of a hatched symbol; a pattern would need a name of its own on the page."""
    rising = hatch.startswith("/")
    left, right, top, below = 0.05 * width, 0.95 * width, 0.14 * height, 0.86 * height
    strokes = []
    for start in range(int(left), int(right), 5):
        begin, end = float(start), min(float(start) + (below - top), right)
        ends = (below, below - (end - begin)) if rising else (top, top + (end - begin))
        strokes.append(f"M{_round(begin)},{_round(ends[0])}L{_round(end)},{_round(ends[1])}")
    kind = "hatch" if rising else "hatch-unseen"
    return _element("path", {"class": kind, "d": "".join(strokes)})


# ---- small things --------------------------------------------------------------------------------


def _declared(node: ElementTree.Element) -> dict[str, str]:
    """Return the declarations of a style attribute."""
    pairs = (one.split(":", 1) for one in (node.get("style") or "").split(";") if ":" in one)
    return {name.strip(): value.strip() for name, value in pairs}


def _presentation(given: Mapping[str, str]) -> dict[str, str]:
    found = {name: _COLOURS.get(value, value) for name, value in given.items() if name in _KEPT}
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
            f"{_round(float(next(numbers)) + dx)},{_round(float(next(numbers)) + dy)}"
            for _ in range(_POINTS[command])
        ]
        written.append(f"{command.upper()}{' '.join(points)}")
    return "".join(written)


_POINTS: Mapping[str, int] = {"M": 1, "L": 1, "Q": 2, "C": 3, "z": 0, "Z": 0}


def _numbers(d: str) -> list[float]:
    return [float(one) for one in _NUMBER.findall(d)]


def _round(value: float) -> str:
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _element(name: str, attributes: Mapping[str, str], inside: Markup | None = None) -> Markup:
    given = Markup("").join(
        Markup(' {}="{}"').format(key, value) for key, value in attributes.items() if value
    )
    if inside is None and name != "text":
        return Markup("<{}{}/>").format(name, given)
    return Markup("<{0}{1}>{2}</{0}>").format(name, given, inside or Markup(""))


def _group(kind: str, parts: Iterable[Markup], *, clip: str = "", hidden: bool = True) -> Markup:
    attributes = {"class": kind, "clip-path": clip, "aria-hidden": "true" if hidden else ""}
    return _element("g", attributes, Markup("").join(parts))
