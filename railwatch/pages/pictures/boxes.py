"""Pictures that show what was counted: the image with boxes, boundary, zones and masks drawn on it.

Kinds of boxes differ in colour (a palette that colour-blind readers can tell apart: Okabe and Ito 2008)
and in the style of their line, so that a grey print is readable too. The pictures are PNG files of at most
`MAX_BYTES`; memory depends on the picture and not on the scene.
"""

from __future__ import annotations

import io
import math
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
import shapely
from affine import Affine
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from PIL import Image
from pyproj import Transformer

from aoi import AreaOfInterest
from geo import Scene, box_corners
from railwatch.pages.pictures import rings, scale_bar
from railwatch.pages.where import Coordinates, locator_image, whereabouts
from railwatch.store.georeference import Georeference, georeference_of

if TYPE_CHECKING:
    from detector.wagons.detections import Detections
    from railwatch.store.observation import Observation


MAX_BYTES = 1_000_000
"""The largest picture, in bytes."""

_SEARCH_SAVES = 1.15  # a PNG this much too large may fit when it is packed with more care
_LONGEST_PX = 1600
_MOST_PIXELS = 1_700_000  # of a busy image, about as much as fits MAX_BYTES
_SHORTEST_PX = 640
_LARGEST_ZOOM = 6.0
_MARGIN = 0.04
_DPI = 100
_CAPTION_LINE_PX = 24
_HALO = [withStroke(linewidth=2.5, foreground="#000000A0")]


class _PictureStyle(NamedTuple):
    label: str
    colour: str
    style: Any


_STYLES = {
    "freight": _PictureStyle("freight car", "#E69F00", "solid"),
    "locomotive": _PictureStyle("locomotive", "#56B4E9", (0, (4, 1.5))),
    "coach": _PictureStyle("coach", "#CC79A7", (0, (1, 1))),
    "": _PictureStyle("freight car, not counted", "#F0F0F0", (0, (1, 2))),
}


@dataclass(frozen=True)
class _SceneWindow:
    """A window of the scene and the size of the picture of it."""

    window: tuple[int, int, int, int]
    width: int
    height: int

    @property
    def zoom(self) -> float:
        """Picture pixels per scene pixel."""
        return self.width / (self.window[2] - self.window[0])


def render(
    scene: Scene,
    detections: Detections | None = None,
    area: AreaOfInterest | None = None,
    observation: Observation | None = None,
) -> bytes:
    """Draw what was found in a scene.

    Args:
        scene: The image.
        detections: The boxes; a column ``counted`` in their table tells those that count.
        area: Its surroundings are shown, in longitude and latitude. Without one (or without a position),
            all of the image.
        observation: Gives the words below the picture.

    Returns:
        A PNG file.

    Raises:
        SceneError: If the image can't be read.
    """
    placed = area if scene.georeferenced else None
    window = _window(scene, placed)
    here = _where(scene, placed)
    caption = _caption(scene, detections, area, observation)
    caption += [] if here is None else whereabouts(here)
    longest = float(_LONGEST_PX)
    while True:
        view = _view(window, longest)
        pixels = _draw(scene, view, detections, placed, caption, here)
        picture = _png(pixels, _georeference(scene, view, (pixels.shape[1], pixels.shape[0])))
        if len(picture) <= MAX_BYTES or longest < _SHORTEST_PX:
            return picture
        longest *= max(0.5, min(0.9, math.sqrt(MAX_BYTES / len(picture))))


def without_drawings(scene: Scene, evidence: bytes, area: AreaOfInterest | None = None) -> bytes | None:
    """Return the ground that an evidence picture shows as it is, without drawings and caption.

    Args:
        scene: The image that the picture was made of.
        evidence: The picture, as `render` made it.
        area: As it was given to `render`.

    Returns:
        A WebP of the size of the image inside the picture, or None where the picture has no position.

    Raises:
        SceneError: If the image can't be read.
    """
    georeference = georeference_of(evidence)
    if georeference is None:
        return None
    left, top, right, below = georeference.image
    view = _SceneWindow(_window(scene, area), round(right - left), round(below - top))
    stream = io.BytesIO()
    Image.fromarray(_read(scene, view)).save(stream, "WEBP", quality=85, method=2)
    return stream.getvalue()


def _window(scene: Scene, area: AreaOfInterest | None) -> tuple[int, int, int, int]:
    """Give the part of a scene that shows an area with a margin, or all of it."""
    whole = (0, 0, scene.width, scene.height)
    if area is None:
        return whole
    outline = _to_pixels(scene, area.to_crs(scene.crs).boundary)
    left, top, right, bottom = outline.bounds
    margin = _MARGIN * max(right - left, bottom - top)
    window = (
        max(0, math.floor(left - margin)),
        max(0, math.floor(top - margin)),
        min(scene.width, math.ceil(right + margin)),
        min(scene.height, math.ceil(bottom + margin)),
    )
    return window if window[0] < window[2] and window[1] < window[3] else whole


def _view(window: tuple[int, int, int, int], longest: float) -> _SceneWindow:
    width, height = window[2] - window[0], window[3] - window[1]
    most = _MOST_PIXELS * (longest / _LONGEST_PX) ** 2
    zoom = min(longest / max(width, height), math.sqrt(most / (width * height)), _LARGEST_ZOOM)
    return _SceneWindow(window, max(1, round(width * zoom)), max(1, round(height * zoom)))


def _read(scene: Scene, view: _SceneWindow) -> NDArray[np.uint8]:
    """Read the window at the picture's size; what isn't valid is light grey."""
    # Scenes decimate by nearest neighbour. Twice the size, averaged, is quiet enough to look at.
    image, valid = scene.read(view.window, max_px=2 * max(view.width, view.height))
    image[~valid] = 225
    shrinks = image.shape[1] > view.width
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (view.width, view.height), interpolation=how), np.uint8)


def _draw(
    scene: Scene,
    view: _SceneWindow,
    detections: Detections | None,
    area: AreaOfInterest | None,
    caption: Sequence[str],
    here: Coordinates | None,
) -> NDArray[np.uint8]:
    """Draw the picture and its caption; returns (h, w, 3)."""
    boxes = _boxes(detections)
    used = [kind for kind in _STYLES if kind in boxes]
    width = max(view.width, _SHORTEST_PX)
    lines = len(caption) + (1 if used else 0)
    below = round(_CAPTION_LINE_PX * (lines + 0.5))
    height = view.height + below
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="none")
    canvas = FigureCanvasAgg(figure)
    left = (width - view.width) // 2
    axes = figure.add_axes(
        (left / width, below / height, view.width / width, view.height / height), frameon=False
    )
    x0, y0, x1, y1 = view.window
    axes.set(xlim=(x0, x1), ylim=(y1, y0), xticks=[], yticks=[], autoscale_on=False)
    if area is not None:
        _draw_area(axes, scene, view, area)
    line_width = float(np.clip(1.6 * view.zoom, 1.0, 2.2))
    for kind in reversed(used):
        style = _STYLES[kind]
        collection = PolyCollection(
            list(box_corners(boxes[kind])),
            facecolors="none",
            edgecolors=style.colour,
            linewidths=line_width,
            linestyles=[style.style],
        )
        collection.set_path_effects([withStroke(linewidth=line_width + 1.0, foreground="#00000090")])
        axes.add_collection(collection, autolim=False)
    _draw_scale(axes, scene, view)
    if scene.georeferenced:
        _draw_north(axes, scene, view)
    inset = 0 if here is None else below - 12
    _draw_caption(figure, caption, used, boxes, height, inset)
    with warnings.catch_warnings():
        # A title in a script that the bundled font lacks is drawn as boxes; that is no reason to speak up.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        # The image goes onto the canvas as it is: `imshow` would resample it again to the size that it has.
        renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]
        pixels = np.asarray(renderer.buffer_rgba())
        pixels[:] = 255
        pixels[: view.height, left : left + view.width, :3] = _read(scene, view)
        figure.draw(renderer)
    picture = np.array(pixels[..., :3])
    if here is not None:
        picture[height - below + 8 : height - 4, width - inset - 6 : width - 6] = locator_image(here, inset)
    return picture


def _boxes(detections: Detections | None) -> dict[str, NDArray[np.float64]]:
    """Group the pixel boxes by how they are drawn; freight that doesn't count goes by the empty name."""
    if detections is None or not len(detections.frame):
        return {}
    frame = detections.frame
    kinds = frame["category"].to_numpy(object)
    if "counted" in frame:
        kinds = np.where((kinds == "freight") & ~frame["counted"].to_numpy(bool), "", kinds)
    pixels = np.array(frame["pixel_box"].to_list(), np.float64).reshape(-1, 5)
    return {str(kind): pixels[kinds == kind] for kind in sorted(set(kinds))}


def _draw_area(axes: Axes, scene: Scene, view: _SceneWindow, area: AreaOfInterest) -> None:
    """Draw an area's boundary, zones, tracks and masks; what lies outside is dimmed."""
    mapped = area.to_crs(scene.crs)
    frame = shapely.box(*view.window)
    boundary = _to_pixels(scene, mapped.boundary)
    halo = [withStroke(linewidth=2.4, foreground="#00000080")]
    _fill(axes, frame.difference(boundary), facecolor="#00000058", edgecolor="none")
    day = scene.datetime.date() if scene.datetime else None
    hidden = _to_pixels(scene, mapped.hidden_on(day)).intersection(frame)
    _fill(axes, hidden, facecolor="#80808050", edgecolor="#FFFFFFC0", hatch="///", linewidth=0.8)
    for track in mapped.tracks:
        line = _to_pixels(scene, track.line).intersection(frame)
        for part in getattr(line, "geoms", [line]):
            if isinstance(part, shapely.LineString) and not part.is_empty:
                axes.plot(*part.xy, color="#FFFFFF80", linewidth=0.6)
    for zone in mapped.zones:
        shape = _to_pixels(scene, zone.polygon).intersection(frame)
        _fill(axes, shape, facecolor="none", edgecolor="#F0E442", linestyle=(0, (1, 2)), linewidth=1.1)
        if not shape.is_empty:
            style = {"va": "top", "fontsize": 8, "path_effects": halo, "clip_on": True}
            _write(axes, zone.title, shape.bounds[:2], (4, -4), color="#F0E442", **style)
    style = {"linestyle": (0, (6, 3)), "linewidth": 1.3, "path_effects": halo}
    _fill(axes, boundary, facecolor="none", edgecolor="white", **style)


def _write(axes: Axes, text: str, at: Sequence[float], offset: tuple[float, float], **style: Any) -> None:
    """Write beside a point; the offset in points."""
    style = {"color": "white", "path_effects": _HALO} | style
    axes.annotate(text, (at[0], at[1]), xytext=offset, textcoords="offset points", **style)


def _fill(axes: Axes, shape: shapely.Geometry, **style: Any) -> None:
    for part in getattr(shape, "geoms", [shape]):
        if not isinstance(part, shapely.Polygon) or part.is_empty:
            continue
        outline = Outline.make_compound_path(
            *(Outline(np.asarray(ring.coords)[:, :2], closed=True) for ring in rings(part))
        )
        axes.add_patch(PathPatch(outline, **style))


def _draw_scale(axes: Axes, scene: Scene, view: _SceneWindow) -> None:
    """Draw a scale bar of a round length in the lower right corner."""
    x0, y0, x1, y1 = view.window
    gsd = scene.ground_metrics().gsd_xy_at(((x0 + x1) / 2, (y0 + y1) / 2))[0]
    length, label = scale_bar((x1 - x0) * gsd / 5)
    pixels = length / gsd
    gap = 14 / view.zoom
    right, y = x1 - gap, y1 - gap
    halo = [withStroke(linewidth=5.0, foreground="#000000A0")]
    axes.plot(
        [right - pixels, right], [y, y], color="white", linewidth=3, solid_capstyle="butt", path_effects=halo
    )
    _write(axes, label, (right - pixels / 2, y), (0, 4), ha="center", va="bottom", fontsize=9)


def _draw_north(axes: Axes, scene: Scene, view: _SceneWindow) -> None:
    """Draw an arrow to grid north in the upper right corner."""
    x0, y0, x1, y1 = view.window
    ground = scene.ground_metrics().jacobian([((x0 + x1) / 2, (y0 + y1) / 2)])[0]
    north = np.linalg.solve(ground, np.array([0.0, 1.0]))
    north = north / np.hypot(*north)
    centre = np.array([x1, y0]) + np.array([-30.0, 34.0]) / view.zoom
    tail, head = centre - north * 16 / view.zoom, centre + north * 16 / view.zoom
    halo = [withStroke(linewidth=3.5, foreground="#000000A0")]
    axes.annotate(
        "",
        xy=tuple(head),
        xytext=tuple(tail),
        arrowprops={"arrowstyle": "-|>", "color": "white", "linewidth": 1.8, "path_effects": halo},
    )
    beside = centre - north * 24 / view.zoom
    _write(axes, "N", beside, (0, 0), ha="center", va="center", fontsize=9, fontweight="bold")


def _caption(
    scene: Scene, detections: Detections | None, area: AreaOfInterest | None, observation: Observation | None
) -> list[str]:
    """Return the lines below the picture: what, when, how many, how made."""
    when = "" if scene.datetime is None else f"{scene.datetime:%Y-%m-%d %H:%M} UTC"
    sensor = "" if scene.sensor == "unknown" else scene.sensor
    name = scene.path.name if area is None else area.title
    first = "  ·  ".join(part for part in (name, when, sensor) if part)
    if observation is None:
        if detections is None:
            return [first]
        interval = detections.interval
        noun = "freight car" if interval.count == 1 else "freight cars"
        count = f"{interval.count} {noun} (90% interval {interval.low} to {interval.high})"
        return [first, f"{count}  ·  {scene.gsd_m:.2f} m a pixel"]
    if observation.abstained:
        return [first, f"No count: {observation.reason}"]
    count = observation.headline.replace("(", "(90% interval ")
    parts = [f"{observation.clear_fraction:.0%} of the visible area seen", f"{scene.gsd_m:.2f} m a pixel"]
    if observation.hidden_fraction:
        parts.insert(0, f"{observation.hidden_fraction:.0%} of the area hidden")
    if observation.provenance.get("model"):
        parts.append(f"{observation.provenance['model']} {observation.provenance.get('model_version', '')}")
    return [first, count, "  ·  ".join(parts)]


def _draw_caption(
    figure: Figure,
    caption: Sequence[str],
    used: Sequence[str],
    boxes: dict[str, NDArray[np.float64]],
    height: int,
    inset: int,
) -> None:
    lines = len(caption) + (1 if used else 0)
    width = figure.get_figwidth() * _DPI
    room = width - inset - 20
    for number, text in enumerate(caption):
        y = (lines - number - 0.25) * _CAPTION_LINE_PX / height
        size = 11.0 if number < 2 else 9.0
        # About 0.6 of the font's size a letter: long lines get smaller letters rather than lose their end.
        size = max(5.0, min(size, room / max(1, len(text)) / 0.6 * 72 / _DPI))
        weight = "bold" if number == 1 else "normal"
        figure.text(
            10 / width,
            y,
            text,
            fontsize=size,
            fontweight=weight,
            color="#222222",
            va="center",
            parse_math=False,
        )
    if used:
        handles = [
            Line2D([], [], color=_shown(style.colour), linestyle=style.style, linewidth=2.2)
            for style in (_STYLES[kind] for kind in used)
        ]
        labels = [f"{_STYLES[kind].label} ({len(boxes[kind])})" for kind in used]
        figure.legend(
            handles,
            labels,
            loc="center left",
            bbox_to_anchor=(2 / width, 0.75 * _CAPTION_LINE_PX / height),
            ncols=len(used),
            frameon=False,
            fontsize=9,
            handlelength=2.6,
            borderpad=0,
            columnspacing=1.6,
        )


def _shown(colour: str) -> str:
    """Return a box's colour as it can be seen on the white caption."""
    return "#909090" if colour == _STYLES[""].colour else colour


def _where(scene: Scene, area: AreaOfInterest | None) -> Coordinates | None:
    """Where the middle of the area, or of the image, lies."""
    if area is not None:
        return Coordinates.of(area.boundary)
    if scene.crs is None or not scene.georeferenced:
        return None
    middle = shapely.Point(scene.transform @ (scene.width / 2.0, scene.height / 2.0))
    degrees = Transformer.from_crs(scene.crs, "OGC:CRS84", always_xy=True).transform
    return Coordinates.of(shapely.transform(middle, degrees, interleaved=False))


def _georeference(scene: Scene, view: _SceneWindow, size: tuple[int, int]) -> Georeference | None:
    """Return where a picture of a view lies, or None without a position."""
    if scene.crs is None or not scene.georeferenced:
        return None
    x0, y0, x1, y1 = view.window
    left = (max(view.width, _SHORTEST_PX) - view.width) // 2
    to_map = (
        scene.transform
        @ Affine.translation(x0, y0)
        @ Affine.scale((x1 - x0) / view.width, (y1 - y0) / view.height)
        @ Affine.translation(-left, 0)
    )
    code = scene.crs.to_epsg()
    crs = scene.crs.to_wkt() if code is None else f"EPSG:{code}"
    image = (float(left), 0.0, float(left + view.width), float(view.height))
    return Georeference(crs, tuple(float(one) for one in to_map[:6]), image, size)


def _png(pixels: NDArray[np.uint8], georeference: Georeference | None = None) -> bytes:
    """Return a PNG, with a palette of 256 colours (a third of the size) if all colours are too many."""
    image = Image.fromarray(pixels)
    info = None if georeference is None else georeference.png_info()

    def saved(shown: Image.Image, **how: int) -> bytes:
        stream = io.BytesIO()
        shown.save(stream, "PNG", pnginfo=info, **how)
        return stream.getvalue()

    # Of a photograph, run lengths take a quarter of the time and 6% more room than a search for repetitions.
    picture = saved(image, compress_type=zlib.Z_RLE)
    if MAX_BYTES < len(picture) <= _SEARCH_SAVES * MAX_BYTES:
        picture = saved(image, compress_level=6)
    if len(picture) > MAX_BYTES:
        colours = image.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        picture = saved(colours, compress_level=6)
    return picture


def _to_pixels(scene: Scene, geometry: shapely.Geometry) -> shapely.Geometry:
    return shapely.transform(geometry, scene.map_to_pixel)
