"""Draws the bundled areas from published positions, distances and sizes.

No survey of either yard is published, so the outlines are simple shapes around what is: a few positions,
a bearing, the size of a roof. Each feature says in ``basis`` what it rests on and in ``uncertainty_m``
how far off it may lie. ``python -m aoi.draw FOLDER`` writes the files again; a test holds the bundled
ones to it. Nothing here draws a track: see ``aoi/README.md``.
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
from aoi.io import write_document

Position = tuple[float, float]

# Longitude, latitude. The README says where each comes from and which others were left out.
TUMANGANG_STATION: Position = (130.6081, 42.4214)
HONGUI_STATION: Position = (130.5366, 42.4255)
MID_BRIDGE: Position = (130.641266, 42.415204)
KHASAN_STATION_A: Position = (130.644917, 42.430056)
KHASAN_STATION_B: Position = (130.6453, 42.4281)

_CANOPY_LENGTH_M = 348.0
_CANOPY_WIDTH_M = 26.0

# The line through Khasan station keeps one bearing over 892 m.
_KHASAN_AXIS_DEG = 172.0


def tumangang() -> dict[str, Any]:
    """The area file of Tumangang station and its freight yards, on the Korean side of the border."""
    _, line_axis_deg = ground.distance_m(HONGUI_STATION, TUMANGANG_STATION)
    features = [
        _feature(
            "boundary",
            shapely.box(130.595, 42.409, 130.640, 42.430),
            basis="A chosen box, no surveyed limit: it holds the station, every published position of the "
            "freight areas with its error, and the line up to 100 m before the middle of the bridge; the "
            "Russian line lies outside. Published counts may be drawn around less.",
        ),
        _feature(
            "zone",
            ground.rectangle(TUMANGANG_STATION, line_axis_deg, 1500.0, 300.0),
            id="station-yard",
            title="Station yard",
            uncertainty_m=250,
            basis="Centred on the station's position (one origin, four decimals) along the bearing from "
            "the next station west, 94 degrees. Length and width are assumed, to hold platforms, five "
            "tracks and the servicing shops south of the eastern throat: no yard limit is published.",
        ),
        _feature(
            "zone",
            shapely.box(130.618, 42.417, 130.628, 42.421),
            id="secured-freight-area",
            title="Secured freight area",
            uncertainty_m=500,
            basis="Where published distances meet: 1.2 km from the station, about 1 km straight and 2 km "
            "along the track from the bridge, a storage yard 700 m further east. They contradict each "
            "other by some hundred metres; one report puts the depot only 700 m from the bridge.",
        ),
        _feature(
            "zone",
            Polygon(
                [
                    (130.628, 42.411),
                    (130.640, 42.411),
                    (130.640, 42.4165),
                    (130.628, 42.421),
                    (130.628, 42.411),
                ]
            ),
            id="bridge-approach",
            title="Bridge approach",
            uncertainty_m=300,
            basis="Between the secured freight area and the bridge, wide enough for the curve from the "
            "bridge's bearing (236 degrees) to the station. The middle of the bridge is known to some "
            "metres, its length is not: 400 to 800 m are published.",
        ),
        _feature(
            "mask",
            ground.rectangle(TUMANGANG_STATION, line_axis_deg, _CANOPY_LENGTH_M, _CANOPY_WIDTH_M),
            reason="Canopy over the station's platforms and tracks",
            **{"from": "2024-12-03", "to": None},
            uncertainty_m=150,
            basis="The size, 348 m by 26 m, is published. The position is not: the roof is centred on the "
            "station's position and turned to the line's bearing, so it may lie 150 m off along the line, "
            "60 m across it and be 10 degrees off in bearing. First seen under construction on the day "
            "given; the station reopened under it on 2025-05-28.",
        ),
    ]
    return {
        "type": "FeatureCollection",
        "name": "tumangang",
        "title": "Tumangang rail facility, North Korea",
        "sources": [
            {
                "title": "Wikipedia, Tumangang station, as copied on jablog.org and other sites",
                "licence": "CC BY-SA 4.0",
                "used_for": "position of the station, number of tracks, servicing shops",
            },
            {
                "title": "OpenStreetMap contributors, ways 42510186 and 1475326893",
                "url": "https://www.openstreetmap.org/copyright",
                "licence": "ODbL 1.0",
                "used_for": "position and bearing of the bridge",
            },
            {
                "title": "38 North, first traffic on the railway link seen in several years",
                "date": "2022-11-04",
                "url": "https://www.38north.org/2022/11/first-traffic-observed-on-north-korea-russia-railway-link-in-several-years/",
                "used_for": "the secured freight area: what it is, when it was rebuilt",
            },
            {
                "title": "VOA, quoted by cdnk.co.kr",
                "date": "2023-02-07",
                "url": "http://cdnk.co.kr/board/bbs/board.php?bo_table=news&page=196&wr_id=10542",
                "used_for": "distance of the freight area from the bridge, storage yard further east",
            },
            {
                "title": "RFA, quoted by News1",
                "date": "2023-10-05",
                "url": "https://v.daum.net/v/20231005092032882",
                "used_for": "distance of the depot from the station",
            },
            {
                "title": "KBS, report on tank cars at Tumangang",
                "url": "https://news.kbs.co.kr/news/mobile/view/view.do?ncd=7833285",
                "used_for": "another distance of the depot from the bridge",
            },
            {
                "title": "CSIS Beyond Parallel, quoted by YTN",
                "date": "2024-12-18",
                "url": "https://vntv.net/video/x9b2hlg",
                "used_for": "size and first sight of the canopy",
            },
        ],
        "reference_points": [
            _point("tumangang-station", TUMANGANG_STATION, 50),
            _point("mid-bridge", MID_BRIDGE, 10),
            _point("hongui-station", HONGUI_STATION, 50),
        ],
        "features": features,
    }


def khasan() -> dict[str, Any]:
    """The area file of Khasan station, on the Russian side of the border."""
    middle = (
        round((KHASAN_STATION_A[0] + KHASAN_STATION_B[0]) / 2, 6),
        round((KHASAN_STATION_A[1] + KHASAN_STATION_B[1]) / 2, 6),
    )
    features = [
        _feature(
            "boundary",
            shapely.box(130.641, 42.418, 130.650, 42.440),
            basis="A chosen box, no surveyed limit: it holds the station and the line on both sides of it; "
            "the bridge and its ramp lie outside. Published counts may be drawn around less.",
        ),
        _feature(
            "zone",
            ground.rectangle(middle, _KHASAN_AXIS_DEG, 1000.0, 160.0),
            id="station-yard",
            title="Station yard",
            uncertainty_m=150,
            basis="Centred between two published positions of the station, 220 m apart, along the bearing "
            "that the line keeps there over 892 m. Length and width are assumed, to hold a platform and "
            "six tracks: no yard limit is published.",
        ),
    ]
    return {
        "type": "FeatureCollection",
        "name": "khasan",
        "title": "Khasan station, Russia",
        "sources": [
            {
                "title": "Wikipedia, Khasan station: Polish page, copy of the Russian page",
                "licence": "CC BY-SA 4.0",
                "used_for": "two positions of the station, number of tracks",
            },
            {
                "title": "OpenStreetMap contributors, by way of trolleway/russian-railways-simplegeodata",
                "date": "2020-04-04",
                "url": "https://www.openstreetmap.org/copyright",
                "licence": "ODbL 1.0",
                "used_for": "bearing of the line through the station; the line itself is not included",
            },
        ],
        "reference_points": [
            _point("khasan-station", KHASAN_STATION_A, 10),
            _point("khasan-station-other", KHASAN_STATION_B, 20),
            _point("mid-bridge", MID_BRIDGE, 10),
        ],
        "features": features,
    }


def bundled_documents() -> Mapping[str, dict[str, Any]]:
    """Every bundled area's document by its name."""
    return {document["name"]: document for document in (khasan(), tumangang())}


def _feature(role: str, polygon: Polygon, **properties: object) -> dict[str, Any]:
    geometry = mapping(polygon)
    rings = [[list(position) for position in ring] for ring in geometry["coordinates"]]
    return {
        "type": "Feature",
        "properties": {"role": role, **properties},
        "geometry": {"type": geometry["type"], "coordinates": rings},
    }


def _point(identity: str, position: Position, uncertainty_m: float) -> dict[str, Any]:
    return {"id": identity, "lon": position[0], "lat": position[1], "uncertainty_m": uncertainty_m}


if __name__ == "__main__":
    for name, content in bundled_documents().items():
        write_document(content, Path(sys.argv[1]) / f"{name}.geojson")
