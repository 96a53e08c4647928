"""Draws the outlines of the bundled areas from published positions, distances and sizes.

No survey of either yard is published, so the outlines are simple shapes around what is: a few positions,
a bearing, the size of a roof. The positions stand in the files as ``reference_points``, and each feature says
in ``basis`` what it rests on and in ``uncertainty_m`` how far off it may lie. ``python -m aoi.draw FOLDER``
writes the files with their outlines drawn anew; a test holds the bundled ones to it. Nothing here draws a
track: see ``aoi/README.md``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import shapely
from shapely import Polygon
from shapely.geometry import mapping

from aoi import geodesy as ground
from aoi.io import area_names, bundled_folder, read_document, write_document

Position = tuple[float, float]

_CANOPY_LENGTH_M = 348.0
_CANOPY_WIDTH_M = 26.0
# The line through Khasan station keeps one bearing over 892 m.
_KHASAN_AXIS_DEG = 172.0


def _tumangang(at: Mapping[str, Position]) -> dict[str, Polygon]:
    """Tumangang station and its freight yards, on the Korean side of the border."""
    station = at["tumangang-station"]
    _, line_axis_deg = ground.distance_m(at["hongui-station"], station)
    approach = [
        (130.628, 42.411),
        (130.640, 42.411),
        (130.640, 42.4165),
        (130.628, 42.421),
        (130.628, 42.411),
    ]
    return {
        "boundary": shapely.box(130.595, 42.409, 130.640, 42.430),
        "station-yard": ground.rectangle(station, line_axis_deg, 1500.0, 300.0),
        "secured-freight-area": shapely.box(130.618, 42.417, 130.628, 42.421),
        "bridge-approach": Polygon(approach),
        "mask": ground.rectangle(station, line_axis_deg, _CANOPY_LENGTH_M, _CANOPY_WIDTH_M),
    }


def _khasan(at: Mapping[str, Position]) -> dict[str, Polygon]:
    """Khasan station, on the Russian side of the border."""
    one, other = at["khasan-station"], at["khasan-station-other"]
    middle = round((one[0] + other[0]) / 2, 6), round((one[1] + other[1]) / 2, 6)
    return {
        "boundary": shapely.box(130.641, 42.418, 130.650, 42.440),
        "station-yard": ground.rectangle(middle, _KHASAN_AXIS_DEG, 1000.0, 160.0),
    }


_OUTLINES = {"khasan": _khasan, "tumangang": _tumangang}


def bundled_documents() -> Mapping[str, dict[str, Any]]:
    """Every bundled area's document by its name, its outlines drawn anew."""
    return {name: _drawn(read_document(bundled_folder() / f"{name}.geojson")) for name in area_names()}


def _drawn(document: dict[str, Any]) -> dict[str, Any]:
    at = {point["id"]: (point["lon"], point["lat"]) for point in document["reference_points"]}
    outlines = _OUTLINES[document["name"]](at)
    for feature in document["features"]:
        properties = feature["properties"]
        drawn = mapping(outlines.pop(properties.get("id", properties["role"])))
        rings = [[list(position) for position in ring] for ring in drawn["coordinates"]]
        feature["geometry"] = {"type": drawn["type"], "coordinates": rings}
    return document


if __name__ == "__main__":
    for name, content in bundled_documents().items():
        write_document(content, Path(sys.argv[1]) / f"{name}.geojson")
