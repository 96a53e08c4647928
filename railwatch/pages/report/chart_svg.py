"""The series chart inside the page: matplotlib's own SVG, made fit to live in HTML.

`railwatch.pages.charts.series` draws; here the drawing is taken apart by the ``gid`` of its parts and put
together again so that a page can hold it: no style attributes (the page's policy forbids them), colours as
the page's own, so that they turn with light and dark, marks as links to their evidence, and groups that the
script can stretch and move. Nothing is computed anew: every place and outline is matplotlib's.

The chart is drawn at three widths, and the style sheet shows the one that fits.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from railwatch import words
from railwatch.pages.charts import style as chart_style
from railwatch.pages.charts.marks import Key, publisher_marks
from railwatch.pages.charts.series import SeriesFrame, draw_series, frame_of, legend_keys
from railwatch.pages.charts.style import to_bytes
from railwatch.pages.report import words as page_words
from railwatch.pages.report.graphics import Drawing, Part, element, grouped, numbers_of, rounded

if TYPE_CHECKING:
    from railwatch.pages.report.gather import Entry, ReportedArea


WIDTHS_PT: Mapping[str, tuple[float, int]] = {
    "narrow": (235.0, 0),
    "medium": (430.0, 470),
    "wide": (730.0, 820),
}
"""Width of each drawing in points, and from which width of its container, in pixels, it is shown."""

_HALO_PT = 9.0


def plots_of(place: ReportedArea) -> Markup:
    """Return the chart of a place at every width, as SVG elements one after the other."""
    return Markup("\n").join(_plot(place, name, *width) for name, width in WIDTHS_PT.items())


def legend_of(place: ReportedArea) -> list[tuple[Markup, Key]]:
    """Return the legend of a place's chart, each entry with the very symbol that the chart has."""
    return [(_icon(one.handle), one) for one in legend_keys(place.history)]


# ---- the whole -----------------------------------------------------------------------------------


def _plot(place: ReportedArea, name: str, width_pt: float, least_px: int) -> Markup:
    style = chart_style.PageStyle(width_mm=width_pt / 72.0 / chart_style.MM, svg_text="text", bare=True)
    with chart_style.drawing(style):
        figure = draw_series(place.history, style)
        drawing = _SeriesDrawing(to_bytes(figure, "svg", style), frame_of(figure))
    return drawing.svg(place, name, least_px)


class _SeriesDrawing(Drawing):
    """A drawn series, taken apart."""

    def __init__(self, svg: bytes, frame: SeriesFrame) -> None:
        super().__init__(svg)
        self.frame = frame

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
            "viewBox": f"0 0 {rounded(frame.width)} {rounded(frame.height)}",
            "role": "group",
            "aria-label": said,
            "data-from": str(least_px),
            **{f"data-{one}": f"{value:.10g}" for one, value in data.items()},
        }
        clip, loose = f"url(#clip-{key})", f"url(#loose-{key})"
        inside = [
            self._definitions(key),
            grouped("clipped", self._stretched(("window.area", "unseen."), key), clip=clip),
            self._y_axis(),
            self._x_axis(),
            self._spines(),
            grouped("clipped", self._stretched(_IN_FRONT, key), clip=clip),
            grouped("clipped", [self._flags(), self._looks(place)], clip=loose),
            self._window_label(),
            grouped("marks", list(self._marks(place)), hidden=False),
            grouped("labels", list(self._labels(place))),
        ]
        return element("svg", attributes, Markup("\n").join(inside))

    def _definitions(self, key: str) -> Markup:
        frame = self.frame
        left, wide = frame.left, frame.right - frame.left
        return Markup(
            '<defs><clipPath id="clip-{0}"><rect x="{1}" y="{2}" width="{3}" height="{4}"/></clipPath>'
            '<clipPath id="loose-{0}"><rect x="{5}" y="0" width="{6}" height="{7}"/></clipPath>'
            '<pattern id="hatch-{0}" width="4" height="4" patternUnits="userSpaceOnUse">'
            '<path class="hatch" d="M-1,1L1,-1M0,4L4,0M3,5L5,3"/></pattern>'
            '<pattern id="unseen-{0}" width="6" height="6" patternUnits="userSpaceOnUse">'
            '<path class="hatch-unseen" d="M-1,5L1,7M0,0L6,6M5,-1L7,1"/></pattern></defs>'
        ).format(
            key,
            *map(rounded, (left, frame.top, wide, frame.floor - frame.top)),
            *map(rounded, (left - 6.0, wide + 12.0, frame.height)),
        )

    def _stretched(self, beginnings: Sequence[str], key: str) -> list[Markup]:
        """Parts whose geometry is time and count: the script stretches their group as one."""
        found = []
        for beginning in beginnings:
            for gid, group in self.named(beginning):
                # The parts of a look-back are kinds of their own.
                kind, more = gid.replace(".", "-") if gid.startswith("window") else gid.split(".")[0], {}
                if kind == "ceiling":
                    kind = "ceiling-area" if gid.endswith(".area") else "ceiling-edge"
                if kind in _HATCHED:
                    more = {"fill": f"url(#{_HATCHED[kind]}-{key})"}
                elif kind == "filtered":
                    kind, more = f"filtered-{gid.split('.')[1]}", {"data-kind": "filtered"}
                elif kind == "join":
                    more = {"data-kind": gid.split(".")[1]}
                found += [part.markup(kind, more=more) for part in self.parts(group)]
        return [grouped("stretch", found)]

    # -- axes

    def _ticks(self, axis: str) -> Iterator[list[Part]]:
        for group in self.groups[axis]:
            yield list(self.parts(group))

    def _y_axis(self) -> Markup:
        frame = self.frame
        ticks = []
        for parts in self._ticks("matplotlib.axis_2"):
            label = next((one for one in parts if one.text), None)
            at = next((one.y for one in parts if not one.text and one.x), frame.floor)
            if label is None:
                continue
            line = element("path", {"d": f"M{rounded(frame.left)},0H{rounded(frame.right)}"})
            drawn = line + label.markup("", dy=-at)
            ticks.append(element("g", {"class": "tick", "transform": f"translate(0,{rounded(at)})"}, drawn))
        title = element(
            "text",
            {"class": "axis-title", "x": rounded(frame.left), "y": rounded(frame.top - 13.0)},
            Markup("freight cars"),
        )
        return grouped("y-axis", [title, *ticks])

    def _x_axis(self) -> Markup:
        ticks = []
        for parts in self._ticks("matplotlib.axis_3"):
            label = next((one for one in parts if one.text), None)
            if label is not None:
                at = f"translate({rounded(label.x)},{rounded(self.frame.ticks)})"
                drawn = element("path", {"d": "M0,0V3.5"}) + label.markup("", -label.x, -self.frame.ticks)
                ticks.append(element("g", {"class": "tick", "transform": at}, drawn))
        names = [
            part.markup("strip-title")
            for parts in self._ticks("matplotlib.axis_4")
            for part in parts
            if part.text
        ]
        return grouped("x-axis", ticks) + grouped("strip", names)

    def _spines(self) -> Markup:
        frame = self.frame
        d = f"M{rounded(frame.left)},{rounded(frame.top)}V{rounded(frame.floor)}H{rounded(frame.right)}"
        ruler = f"M{rounded(frame.left)},{rounded(frame.ticks)}H{rounded(frame.right)}"
        return element("path", {"class": "spine", "d": d + ruler, "aria-hidden": "true"})

    # -- what moves sideways alone

    def _flags(self) -> Markup:
        flags: dict[str, list[Markup]] = {}
        places: dict[str, float] = {}
        for gid, group in self.named("flag."):
            _, number, part = gid.split(".")
            for one in self.parts(group):
                kind = "flag-line" if part.startswith("line") else "flag-text" if one.text else "flag-sign"
                flags.setdefault(number, []).append(one.markup(kind))
                if kind == "flag-line":
                    places.setdefault(number, numbers_of(one.d)[0] + one.x)
        drawn = [
            element("g", {"class": "flag", "data-x": rounded(places[number])}, Markup("").join(parts))
            for number, parts in flags.items()
        ]
        return grouped("flags", drawn)

    def _looks(self, place: ReportedArea) -> Markup:
        ticks = []
        for number, entry in enumerate(place.numbered, start=1):
            for part in self.parts(self.groups.get(f"look.{number}")):
                ticks.append(part.markup("look", more={"data-key": entry.key}))
        return grouped("looks", ticks)

    def _window_label(self) -> Markup:
        parts = list(self.parts(self.groups.get("window.label")))
        if not parts:
            at = {"class": "window-label", "x": rounded(self.frame.left + 4.0), "display": "none"}
            return element("text", at | {"y": rounded(self.frame.top + 9.0), "font-size": "6.8"})
        return parts[-1].markup("window-label", more={"aria-hidden": "true"})

    # -- marks

    def _marks(self, place: ReportedArea) -> Iterator[Markup]:
        publishers = list(publisher_marks(place.history))
        for number, entry in enumerate(place.numbered, start=1):
            shape = next(self._drawn(number, "shape"), None)
            if shape is not None:
                yield self._mark(number, entry, shape, publishers)

    def _drawn(self, number: int, part: str) -> Iterator[Part]:
        """What is drawn of a part of a mark."""
        return self.parts(self.groups.get(f"mark.{number}.{part}"))

    def _mark(self, number: int, entry: Entry, shape: Part, publishers: Sequence[str]) -> Markup:
        record, verdict = entry.record, entry.verdict
        x, y = shape.x, shape.y
        kind = (
            record.method
            if record.method in chart_style.METHOD_MARKS or record.method == "published"
            else "other"
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
            "data-x": rounded(x),
            "data-y": rounded(y),
            "transform": f"translate({rounded(x)},{rounded(y)})",
            "aria-label": page_words.spoken(record, verdict),
        }
        drawn = [element("circle", {"class": "halo", "r": rounded(_HALO_PT)})]
        for part in ("ring", "outer", "interval", "arrow"):
            for one in self._drawn(number, part):
                kind_of_part = "ring outer" if part == "outer" else part
                ends = numbers_of(one.d)[1::2] if part == "interval" else []
                more = {"data-span": " ".join(rounded(end - y) for end in ends)} if ends else {}
                drawn.append(one.markup(kind_of_part, dx=-x, dy=-y, more=more))
        drawn.append(shape.markup("shape", dx=-x, dy=-y))
        return element("a", attributes, Markup("").join(drawn))

    def _labels(self, place: ReportedArea) -> Iterator[Markup]:
        """The words beside the foremost marks, which move with them but are no part of their links."""
        for number, entry in enumerate(place.numbered, start=1):
            shape = next(self._drawn(number, "shape"), None)
            if shape is None:
                continue
            drawn = [
                one.markup(kind, dx=-shape.x, dy=-shape.y)
                for kind in ("leader", "label")
                for one in self._drawn(number, kind)
                if one.text or kind == "leader"
            ]
            if drawn:
                at = f"translate({rounded(shape.x)},{rounded(shape.y)})"
                given = {"class": "named", "data-key": entry.key, "transform": at}
                yield element("g", given, Markup("").join(drawn))


_IN_FRONT = ("ceiling.", "filtered.", "window.max", "join.", "expected")
_HATCHED: Mapping[str, str] = {"unseen": "unseen", "ceiling-area": "hatch"}


# ---- the legend's symbols ------------------------------------------------------------------------


def _icon(handle: Line2D | Patch) -> Markup:
    """Return a legend's symbol as a small picture, drawn by matplotlib like the marks themselves."""
    width, height = 20.0, 13.0
    style = chart_style.PageStyle(svg_text="text")
    with chart_style.drawing(style):
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
    drawing = Drawing(content.getvalue())
    parts = []
    for part in drawing.parts(drawing.groups["icon"]):
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
    return element("svg", attributes, Markup("").join(parts))


def _hatching(hatch: str, width: float, height: float) -> Markup:
    """The strokes of a hatched symbol; a pattern would need a name of its own on the page."""
    rising = hatch.startswith("/")
    left, right, top, below = 0.05 * width, 0.95 * width, 0.14 * height, 0.86 * height
    strokes = []
    for start in range(int(left), int(right), 5):
        begin, end = float(start), min(float(start) + (below - top), right)
        ends = (below, below - (end - begin)) if rising else (top, top + (end - begin))
        strokes.append(f"M{rounded(begin)},{rounded(ends[0])}L{rounded(end)},{rounded(ends[1])}")
    kind = "hatch" if rising else "hatch-unseen"
    return element("path", {"class": kind, "d": "".join(strokes)})
