"""Area documents and OpenStreetMap files for the tests, built in code."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Position = tuple[float, float]

# A yard of about 1.6 km by 1.1 km.
BOX = (130.60, 42.41, 130.62, 42.42)


def polygon(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def line(*positions: Position) -> dict[str, Any]:
    return {"type": "LineString", "coordinates": [list(position) for position in positions]}


def feature(role: str | None, geometry: Mapping[str, Any] | None, **properties: Any) -> dict[str, Any]:
    roles = {} if role is None else {"role": role}
    return {"type": "Feature", "properties": {**roles, **properties}, "geometry": geometry}


def boundary() -> dict[str, Any]:
    return feature("boundary", polygon(*BOX))


def track(identity: str = "t1", *positions: Position, **properties: Any) -> dict[str, Any]:
    course = positions or ((130.602, 42.415), (130.618, 42.416))
    return feature("track", line(*course), id=identity, **properties)


def zone(identity: str = "z1", **properties: Any) -> dict[str, Any]:
    properties = {"title": "A zone", **properties}
    return feature("zone", polygon(130.605, 42.412, 130.610, 42.418), id=identity, **properties)


def mask(**properties: Any) -> dict[str, Any]:
    properties = {"reason": "a roof", **properties}
    return feature("mask", polygon(130.606, 42.414, 130.609, 42.415), **properties)


def document(*features: Mapping[str, Any], **members: Any) -> dict[str, Any]:
    return {
        "type": "FeatureCollection",
        "name": "test-yard",
        "title": "Test yard",
        "sources": ["drawn for a test"],
        **members,
        "features": list(features),
    }


def full_document() -> dict[str, Any]:
    return document(
        boundary(),
        track("t1", gauge_mm=1520),
        zone(),
        mask(**{"from": "2024-12-03", "to": "2025-05-28"}),
    )


def write(path: Path, content: Any) -> Path:
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    path.write_text(text, encoding="utf-8")
    return path


# --------------------------------------------------------------------------------------------------
# OpenStreetMap: the same nodes and ways as XML, PBF and Overpass JSON

Way = tuple[int, Sequence[int], Mapping[str, str]]

NODES: dict[int, Position] = {
    1: (130.590, 42.415),  # west of the box
    2: (130.605, 42.415),
    3: (130.615, 42.416),
    4: (130.630, 42.416),  # east of the box
    5: (130.604, 42.413),
    6: (130.612, 42.4135),
    7: (130.700, 42.500),
    8: (130.710, 42.500),
    9: (130.606, 42.418),
    10: (130.613, 42.4185),
}
WAYS: list[Way] = [
    (101, [1, 2, 3, 4], {"railway": "rail", "gauge": "1520;1435", "usage": "main", "name": "Tumen line"}),
    (102, [5, 6], {"railway": "rail", "service": "yard", "gauge": "1435"}),
    (103, [7, 8], {"railway": "rail"}),  # elsewhere
    (104, [9, 10], {"railway": "abandoned"}),
    (105, [9, 6], {"highway": "track"}),
    (106, [5, 9], {"railway": "rail", "disused": "yes"}),
    (107, [6, 10], {"railway": "narrow_gauge", "gauge": "762", "service": "siding"}),
]


def osm_xml(path: Path) -> Path:
    nodes = "".join(f'<node id="{i}" lat="{lat}" lon="{lon}"/>' for i, (lon, lat) in NODES.items())
    ways = "".join(
        f'<way id="{i}">'
        + "".join(f'<nd ref="{ref}"/>' for ref in refs)
        + "".join(f'<tag k="{key}" v="{value}"/>' for key, value in tags.items())
        + "</way>"
        for i, refs, tags in WAYS
    )
    return write(path, f'<?xml version="1.0"?><osm version="0.6">{nodes}{ways}</osm>')


def overpass(path: Path, *, geometry: bool = True, ways: Iterable[Way] = WAYS, **members: Any) -> Path:
    elements: list[dict[str, Any]] = []
    for identity, refs, tags in ways:
        element: dict[str, Any] = {"type": "way", "id": identity, "nodes": list(refs), "tags": dict(tags)}
        if geometry:
            element["geometry"] = [{"lat": NODES[ref][1], "lon": NODES[ref][0]} for ref in refs]
        elements.append(element)
    if not geometry:
        elements += [{"type": "node", "id": i, "lon": lon, "lat": lat} for i, (lon, lat) in NODES.items()]
    answer = {
        "version": 0.6,
        "osm3s": {"timestamp_osm_base": "2026-11-01T00:00:00Z"},
        "elements": elements,
        **members,
    }
    return write(path, answer)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _signed(value: int) -> bytes:
    return _varint(value << 1 if value >= 0 else (-value << 1) - 1)


def _number(field: int, encoded: bytes) -> bytes:
    return _varint(field << 3) + encoded


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _blob(kind: bytes, content: bytes) -> bytes:
    blob = _bytes(1, content)
    header = _bytes(1, kind) + _number(3, _varint(len(blob)))
    return struct.pack(">I", len(header)) + header + blob


def osm_pbf(path: Path) -> Path:
    """The nodes and ways in OpenStreetMap's binary format (uncompressed blobs, plain nodes)."""
    strings = [b""]

    def text(value: str) -> int:
        encoded = value.encode()
        if encoded not in strings:
            strings.append(encoded)
        return strings.index(encoded)

    nodes = b"".join(
        _bytes(
            1,
            _number(1, _signed(i))
            + _number(8, _signed(round(lat * 1e7)))
            + _number(9, _signed(round(lon * 1e7))),
        )
        for i, (lon, lat) in NODES.items()
    )
    ways = b""
    for identity, refs, tags in WAYS:
        keys = b"".join(_varint(text(key)) for key in tags)
        values = b"".join(_varint(text(value)) for value in tags.values())
        steps = b"".join(_signed(b - a) for a, b in zip([0, *refs], refs, strict=False))
        ways += _bytes(
            3, _number(1, _varint(identity)) + _bytes(2, keys) + _bytes(3, values) + _bytes(8, steps)
        )
    table = _bytes(1, b"".join(_bytes(1, entry) for entry in strings))
    header = _bytes(4, b"OsmSchema-V0.6")
    blobs = [
        _blob(b"OSMHeader", header),
        _blob(b"OSMData", table + _bytes(2, nodes)),
        _blob(b"OSMData", table + _bytes(2, ways)),
    ]
    path.write_bytes(b"".join(blobs))
    return path
