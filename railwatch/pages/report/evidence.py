"""Evidence on the page: the image without drawings, and outlines over it that a reader can switch off."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely
from affine import Affine
from markupsafe import Markup, escape
from numpy.typing import NDArray
from PIL import Image

from aoi import AreaOfInterest
from detector.wagons.rakes import rakes_of
from geo.ground_metric import apply_affine
from railwatch import words
from railwatch.history.history import is_sentinel
from railwatch.pages.pictures import rings, scale_bar
from railwatch.pages.report.graphics import element, grouped, rounded
from railwatch.store.georeference import Georeference, georeference_of
from railwatch.store.store import EVIDENCE, IMAGE, Store

if TYPE_CHECKING:
    from datetime import date

    import geopandas as gpd

    from railwatch.pages.report.gather import Card
    from railwatch.pages.report.graphics import EncodedPicture
    from railwatch.store.observation import Observation


_MOST_CALLOUTS = 8
_LEAST_CARS = 3
_STEPS = tuple(0.4 * sign * step for step in range(4, 31) for sign in (-1, 1))
"""How far above and below a rake its words may stand, in sizes of the type, the nearest first."""
_KINDS = ("freight", "locomotive", "coach")


@dataclass(frozen=True)
class EvidenceFile:
    """The picture of an observation.

    Attributes:
        path: The file.
        georeference: Where it lies, if that is known.
        clean: Whether it is the image without drawings.
    """

    path: Path
    georeference: Georeference | None
    clean: bool


def evidence_file(store: Store, id: str) -> EvidenceFile | None:
    """Return an observation's picture: without drawings where the store has it so, else as it was drawn."""
    path = store.asset(id, EVIDENCE)
    if path is None:
        return None
    image = store.asset(id, IMAGE)
    try:
        with Image.open(path, formats=("PNG", "WEBP")) as opened:
            drawn = georeference_of(opened)
        if drawn is None or image is None:
            return EvidenceFile(path, drawn, False)
        with Image.open(image, formats=("PNG", "WEBP")) as opened:
            size = opened.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return EvidenceFile(path, None, False)
    return EvidenceFile(image, _inner(drawn, size), True)


def _inner(drawn: Georeference, size: tuple[int, int]) -> Georeference:
    """Where the image inside a drawn picture lies, for a picture of that image alone."""
    left, top, right, below = drawn.image
    width, height = size
    to_map = (
        Affine(*drawn.transform)
        @ Affine.translation(left, top)
        @ Affine.scale((right - left) / width, (below - top) / height)
    )
    transform = tuple(float(one) for one in to_map[:6])
    return replace(drawn, transform=transform, image=(0.0, 0.0, float(width), float(height)), size=size)


# ---- what is drawn over a picture ----------------------------------------------------------------


def overlay(
    card: Card,
    georeference: Georeference,
    boxes: gpd.GeoDataFrame | None,
    area: AreaOfInterest | None,
    *,
    callouts: bool,
) -> Markup:
    """Return the outlines of what was counted, with scale, north, date and credit, as an SVG over a picture.

    Args:
        card: What the picture is evidence of.
        georeference: Where the picture lies.
        boxes: As the store keeps them, or None.
        area: For boundary and tracks.
        callouts: Name the longest rakes with their counts.
    """
    drawn: list[Markup] = []
    if area is not None:
        drawn.append(area_outlines(area, georeference))
    if boxes is not None and len(boxes):
        placed = boxes.to_crs(georeference.crs) if boxes.crs is not None else boxes
        drawn.append(grouped("outlines", _outlines(placed, georeference)))
        if callouts:
            drawn.append(grouped("callouts", _callouts(placed, georeference)))
    width, height = georeference.size
    attributes = {"class": "overlay", "viewBox": f"0 0 {width} {height}", "aria-hidden": "true"}
    return element(
        "svg", attributes, Markup("").join([*drawn, furniture(georeference), _credit(card, georeference)])
    )


def _outlines(boxes: gpd.GeoDataFrame, georeference: Georeference) -> Iterator[Markup]:
    kinds = boxes["category"].astype(str).to_numpy(object)
    counted = boxes["counted"].to_numpy(bool) if "counted" in boxes else np.ones(len(boxes), bool)
    kinds = np.where((kinds == "freight") & ~counted, "uncounted", kinds)
    for kind in sorted(set(kinds)):
        name = kind if kind in _KINDS else "uncounted"
        shapes = boxes.geometry.to_numpy()[kinds == kind]
        yield element("path", {"class": f"box {name}", "d": _path(shapes, georeference)})


def _callouts(boxes: gpd.GeoDataFrame, georeference: Georeference) -> Iterator[Markup]:
    """The longest rakes with their number of cars, above or below; off the cars where there is room."""
    width, height = georeference.size
    size = width / 52.0
    back = ~Affine(*georeference.transform)
    # The credit and the scale bar stand below, the arrow in the upper right corner.
    taken = [
        (0.0, height - 2.0 * size, float(width), float(height)),
        (width - 3.4 * size, 0.0, width, 4.4 * size),
    ]
    cars = [_bounds(shape, back) for shape in boxes.geometry]
    leaders: list[tuple[float, float, float, float]] = []
    for rake in [one for one in rakes_of(boxes) if one.cars >= _LEAST_CARS][:_MOST_CALLOUTS]:
        x, y = back @ rake.middle
        text = f"{words.plural(rake.cars, 'car')}, {words.metres(rake.length_m)}"
        wide = size * 0.56 * len(text)
        left = min(max(x - wide / 2.0, 4.0), width - wide - 4.0)
        # Off cars and lines; if that can't be, on cars; if it must be, on the line to another rake.
        for step, (obstacles, lines) in (
            *itertools.product(_STEPS, [([*taken, *cars], leaders)]),
            *itertools.product(_STEPS, [(taken, leaders)]),
            *itertools.product(_STEPS, [(taken, [])]),
        ):
            base = y + step * size
            box = (left, base - size, left + wide, base + size * 0.35)
            end = base + size * 0.3 if base < y else base - size
            leader = (x - 2.0, min(y, end), x + 2.0, max(y, end))
            inside = box[1] > 0 and box[3] < height
            if (
                inside
                and not any(_meet(box, other) for other in (*obstacles, *lines))
                and not (lines and any(_meet(leader, other) for other in taken))
            ):
                taken.append(box)
                leaders.append(leader)
                yield element(
                    "path",
                    {"class": "leader", "d": f"M{rounded(x)},{rounded(y)}L{rounded(x)},{rounded(end)}"},
                )
                yield _text(text, left, base, size)
                break


def _bounds(shape: shapely.Geometry, back: Affine) -> tuple[float, float, float, float]:
    """The rectangle of a shape in the picture's pixels."""
    corners = apply_affine(back, shapely.get_coordinates(shape))
    (left, top), (right, below) = corners.min(axis=0), corners.max(axis=0)
    return float(left), float(top), float(right), float(below)


def _meet(one: Sequence[float], other: Sequence[float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def area_outlines(area: AreaOfInterest, georeference: Georeference, *, names: bool = False) -> Markup:
    """Return boundary, tracks and zones of an area over a picture.

    Args:
        area: In longitude and latitude.
        georeference: Where the picture lies.
        names: Name the zones too.
    """
    plane = area.to_crs(georeference.crs)
    shapes = {
        "tracks": [one.line for one in plane.tracks],
        "zones": [one.polygon for one in plane.zones],
        "boundary": [plane.boundary],
    }
    drawn = [
        element("path", {"class": kind, "d": _path(each, georeference)}) for kind, each in shapes.items()
    ]
    if names:
        back, size = ~Affine(*georeference.transform), georeference.size[0] / 60.0
        for zone in plane.zones:
            middle = zone.polygon.representative_point()
            x, y = back @ (middle.x, middle.y)
            drawn.append(_text(zone.title, x, y, size, "zone-name", "middle"))
    return grouped("area", drawn)


def furniture(georeference: Georeference) -> Markup:
    """Return a scale bar and an arrow to the north, for the lower right and the upper right corner."""
    width, height = georeference.size
    size = width / 60.0
    metres_a_pixel, up = metres_and_north(georeference)
    length, label = scale_bar(width * metres_a_pixel / 5.0)
    long = length / metres_a_pixel
    right, base = width - size, height - size
    bar = [
        element("path", {"class": "bar", "d": f"M{rounded(right - long)},{rounded(base)}H{rounded(right)}"}),
        _text(label, right - long / 2, base - size * 0.5, size, anchor="middle"),
    ]
    x, y = width - 2.0 * size, 2.4 * size
    tail, head = np.array([x, y]) - up * size, np.array([x, y]) + up * size
    side = np.array([-up[1], up[0]]) * size * 0.35
    wing = head - up * size * 0.7
    d = (
        f"M{rounded(tail[0])},{rounded(tail[1])}L{rounded(head[0])},{rounded(head[1])}"
        f"M{rounded(wing[0] + side[0])},{rounded(wing[1] + side[1])}L{rounded(head[0])},{rounded(head[1])}"
        f"L{rounded(wing[0] - side[0])},{rounded(wing[1] - side[1])}"
    )
    at = np.array([x, y]) + up * size * 1.7
    letter = _text("N", at[0], at[1] + size * 0.35, size, anchor="middle")
    return grouped("furniture", [*bar, element("path", {"class": "north", "d": d}), letter])


def metres_and_north(georeference: Georeference) -> tuple[float, NDArray[np.float64]]:
    """Return the metres of a pixel, and the direction (2,) in pixels in which one goes north.

    Args:
        georeference: Where a picture lies; both are those at its middle.
    """
    from pyproj import Transformer

    width, height = georeference.size
    to_map = Affine(*georeference.transform)
    corners = [
        to_map @ point
        for point in ((width / 2, height / 2), (width / 2 + 1, height / 2), (width / 2, height / 2 + 1))
    ]
    degrees = Transformer.from_crs(georeference.crs, "OGC:CRS84", always_xy=True)
    (lon, lat), right, down = [degrees.transform(*corner) for corner in corners]
    degree = math.pi / 180.0 * 6_371_008.8
    scale = np.array([degree * math.cos(math.radians(lat)), degree])
    east, south = (np.array(right) - (lon, lat)) * scale, (np.array(down) - (lon, lat)) * scale
    # The picture's axes in metres, turned around.
    up = np.linalg.solve(np.column_stack([east, south]), np.array([0.0, 1.0]))
    return math.hypot(*east), up / max(float(np.hypot(*up)), 1e-12)


def _credit(card: Card, georeference: Georeference) -> Markup:
    one = card.observation
    parts = [words.moment(one.datetime), one.sensor_named, reviewer_of(one)]
    if is_sentinel(one.sensor):
        parts.append(f"contains modified Copernicus Sentinel data {one.datetime.year}")
    width, height = georeference.size
    size = width / 62.0
    text = "  ·  ".join(part for part in parts if part)
    return _text(text, size * 0.6, height - size * 0.7, size, "credit")


def _text(text: str, x: float, y: float, size: float, kind: str = "", anchor: str = "") -> Markup:
    given = {
        "class": kind,
        "x": rounded(x),
        "y": rounded(y),
        "font-size": rounded(size),
        "text-anchor": anchor,
    }
    return element("text", given, escape(text))


def reviewer_of(observation: Observation) -> str:
    """Return who reviewed an observation's outlines and when, or an empty text."""
    review = observation.provenance.get("review")
    if not isinstance(review, Mapping) or not review.get("reviewer"):
        return ""
    when = f", {review['date']}" if review.get("date") else ""
    return f"outlines reviewed by {review['reviewer']}{when}"


def _path(shapes: Iterable[shapely.Geometry], georeference: Georeference) -> str:
    """Geometries of the map as a path in the picture's pixels, in tenths."""
    back = ~Affine(*georeference.transform)
    drawn = []
    for part in shapely.get_parts(list(shapes)):
        closed = isinstance(part, shapely.Polygon)
        for ring in rings(part):
            points = [f"{x:.1f},{y:.1f}" for x, y in apply_affine(back, shapely.get_coordinates(ring))]
            if len(points) > 1:
                drawn.append(f"M{'L'.join(points[:-1])}Z" if closed else f"M{'L'.join(points)}")
    return "".join(drawn)


def map_sheet(
    title: str,
    area: AreaOfInterest,
    day: date,
    picture: EncodedPicture,
    georeference: Georeference,
    *,
    clean: bool,
) -> Markup:
    """Return a map sheet: boundary, tracks and zones over an image, with scale bar and north arrow.

    Args:
        title: Of the area.
        area: Its outlines, in longitude and latitude.
        day: Of the image.
        picture: The image, encoded; of a drawn picture the image inside it is shown.
        georeference: Where the picture lies.
        clean: Whether nothing was drawn into it.
    """
    left, top, right, below = georeference.image
    width, height = georeference.size
    shown = _inner(georeference, (round(right - left), round(below - top)))
    drawn = [
        Markup('<image href="{}" x="{}" y="{}" width="{}" height="{}" preserveAspectRatio="none"/>').format(
            picture.uri, rounded(-left), rounded(-top), width, height
        ),
        area_outlines(area, shown, names=True),
        # A picture that was drawn into has a scale bar and an arrow already.
        *([furniture(shown)] if clean else []),
    ]
    said = f"Map sheet of {title}: boundary, tracks and zones over the image of {words.day(day)}"
    attributes = {
        "class": "sheet",
        "viewBox": f"0 0 {shown.size[0]} {shown.size[1]}",
        "role": "img",
        "aria-label": said,
    }
    return element("svg", attributes, Markup("").join(drawn))


def boxes_of(store: Store, card: Card) -> gpd.GeoDataFrame | None:
    """Return the boxes behind a card: the reviewer's where there are some, else the machine's."""
    for one in (card.observation, card.corrected):
        boxes = None if one is None else store.readable_detections(one.id)
        if boxes is not None and "category" in boxes:
            return boxes
    return None
