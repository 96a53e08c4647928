"""Railway lines out of whatever file a user has, cut at the boundary of an area."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import shapely
from shapely import LineString
from shapely.geometry.base import BaseGeometry

from aoi import geodesy as ground
from aoi.errors import AreaError, InputError
from aoi.files import parse_json, read_bytes
from aoi.gdal import attribute_rows, list_layers, read_vector, vector_info
from aoi.osm import (
    DEFAULT_STATES,
    OPTIONAL_STATES,
    TaggedLine,
    gauge_mm,
    osm_credit,
    read_extract,
    read_overpass,
    track_state,
)

_log = logging.getLogger(__name__)

OSM_ORIGIN = "openstreetmap"

# Tags worth keeping on a track.
_KEPT = ("railway", "service", "usage", "gauge", "name", "ref", "electrified", "covered", "bridge", "tunnel")
_LINES = {"LineString", "MultiLineString", "Unknown", "Geometry", "GeometryCollection"}
# Where files that began as OpenStreetMap data keep the way's number, and how they write it.
_OSM_ID_COLUMNS = ("osm_id", "@id", "full_id", "osm_way_id", "id")
_OSM_ID = re.compile(r"(?:way/|w)?(\d+)")
_OSM_WAY_ID = re.compile(r"(?:way/|w)(\d+)")
# Geofabrik's shapefiles have the value of `railway` under this name.
_KIND_COLUMNS = ("railway", "fclass")
_HSTORE_PAIR = re.compile(r'"((?:[^"\\]|\\.)*)"=>"((?:[^"\\]|\\.)*)"')
_PARQUET = {".parquet", ".geoparquet"}


@dataclass(frozen=True)
class RailLine:
    """One line that may become a track.

    Attributes:
        id: Stable: the same line of the same origin has it again at the next import.
        line: Its course in longitude and latitude.
        gauge_mm: Rail gauge where known.
        properties: What else is worth keeping.
    """

    id: str
    line: LineString
    gauge_mm: int | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Railways:
    """The railway lines of one file around one area.

    Attributes:
        origin: Whose lines they are: ``openstreetmap``, or ``file:`` and the file's name.
        credit: The entry for the area's sources.
        lines: The lines, those outside the area not among them; not yet clipped.
        left_out: How many lines in the area were left out, by their state.
        filtered: Whether the file says which lines are railways; if not, all were taken.
    """

    origin: str
    credit: Mapping[str, str]
    lines: tuple[RailLine, ...]
    left_out: Mapping[str, int]
    filtered: bool = True


def read_railways(path: Path, boundary: BaseGeometry, *, include: Collection[str] = ()) -> Railways:
    """Reads the railway lines around an area.

    Args:
        path: An OpenStreetMap extract (.osm, .osm.pbf), an Overpass answer in JSON, GeoParquet, or any
            vector file that GDAL reads, in any CRS.
        boundary: The area in longitude and latitude.
        include: States of `aoi.osm.OPTIONAL_STATES` to take beside working tracks.

    Returns:
        The lines and where they come from.

    Raises:
        AreaError: If the file can't be read, has no lines, or a wanted state doesn't exist.
    """
    unknown = sorted(set(include) - OPTIONAL_STATES - DEFAULT_STATES)
    if unknown:
        raise AreaError(
            f"there is no railway state {unknown[0]!r}; {', '.join(sorted(OPTIONAL_STATES))} are known"
        )
    head, dated, filtered, is_osm = _head(path), None, True, True
    is_json = head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")
    if b"OSMHeader" in head or b"<osm" in head:
        ways = read_extract(path, boundary)
    elif is_json and (answer := _overpass_answer(path)) is not None:
        ways, dated = read_overpass(answer, path)
    else:
        ways, filtered, is_osm = _read_vector(path, boundary)
    wanted = DEFAULT_STATES | set(include)
    lines: list[RailLine] = []
    left_out: Counter[str] = Counter()
    shapely.prepare(boundary)
    for identity, line, tags in ways:
        if not boundary.intersects(line):
            continue
        state = track_state(tags)
        if filtered and state not in wanted:
            if state in OPTIONAL_STATES:
                left_out[state] += 1
            continue
        kept = {key: tags[key] for key in _KEPT if tags.get(key) not in (None, "")}
        gauge = gauge_mm(tags.get("gauge_mm")) or gauge_mm(tags.get("gauge"))
        lines.append(RailLine(identity, line, gauge, kept))
    credit = osm_credit(dated, path.name) if is_osm else {"title": f"Track lines from {path.name}"}
    origin = OSM_ORIGIN if is_osm else f"file:{path.name}"
    return Railways(origin, credit, tuple(lines), dict(sorted(left_out.items())), filtered)


def _head(path: Path) -> bytes:
    """The first bytes of a file; nothing for a folder, which may be a data set of its own (.gdb)."""
    if path.is_dir():
        return b""
    try:
        with path.open("rb") as stream:
            head = stream.read(4096)
    except FileNotFoundError as error:
        raise AreaError(f"{path}: there is no such file") from error
    except OSError as error:
        raise AreaError(f"{path}: can't be read ({error.strerror})") from error
    if not head:
        raise AreaError(f"{path}: is empty")
    return head


def _overpass_answer(path: Path) -> Mapping[str, Any] | None:
    """The document of an Overpass answer; None for other JSON, which GDAL may know."""
    document = parse_json(read_bytes(path, AreaError), path, AreaError)
    return document if isinstance(document, dict) and "elements" in document else None


def _read_vector(path: Path, boundary: BaseGeometry) -> tuple[list[TaggedLine], bool, bool]:
    """The lines of any vector file; whether it says which are railways; whether it is OpenStreetMap's."""
    lines: list[TaggedLine] = []
    filtered = is_osm = False
    frames = _frames(path, boundary)
    for layer, frame in frames:
        columns = [column for column in frame.columns if column != frame.geometry.name]
        kind = next((column for column in _KIND_COLUMNS if column in columns), None)
        osm_ids = _osm_ids(frame, columns) if kind else None
        filtered = filtered or kind is not None
        is_osm = is_osm or osm_ids is not None
        own_ids = None if osm_ids else _own_ids(frame, columns)
        prefix = path.stem if len(frames) == 1 else f"{path.stem}-{layer}"
        records = attribute_rows(frame)
        for position, (fid, geometry) in enumerate(frame.geometry.items()):
            tags = _tags(records[position])
            if kind and kind != "railway":
                tags["railway"] = tags.get(kind)
            if osm_ids:
                identity = f"osm-{osm_ids[position]}"
            else:
                identity = f"{prefix}-{own_ids[position] if own_ids else fid}"
            lines.extend((identity, part, tags) for part in _line_parts(geometry))
    return lines, filtered, is_osm


def _frames(path: Path, boundary: BaseGeometry) -> list[tuple[str, Any]]:
    """The layers of a file that may hold lines, as GeoDataFrames in WGS84, cut to a box roughly."""
    import geopandas

    near = geopandas.GeoSeries([shapely.box(*boundary.bounds)], crs="OGC:CRS84")
    try:
        if path.suffix.lower() in _PARQUET:
            found = [(path.stem, geopandas.read_parquet(path))]
        else:
            layers = [
                (str(name), str(kind).removeprefix("2.5D ").removeprefix("3D ").split(" ")[0])
                for name, kind in list_layers(path)
            ]
            kept = [name for name, kind in layers if kind in _LINES]
            if not kept:
                kinds = ", ".join(sorted({kind for _, kind in layers} - {"None"})) or "no geometry"
                raise AreaError(f"{path}: has no lines, but {kinds}")
            found = []
            for name in kept:
                # before the box is laid over it, since that needs the file's own CRS
                if vector_info(path, layer=name)["crs"] is None:
                    raise _without_crs(path)
                frame = read_vector(path, layer=name, bbox=near, fid_as_index=True)
                found.append((name, frame))
        for _, frame in found:
            if frame.crs is None:
                raise _without_crs(path)
        return [(name, frame.to_crs("OGC:CRS84")) for name, frame in found]
    except InputError:
        raise
    except Exception as error:  # GDAL, Arrow, PROJ and GEOS raise many kinds, which mean the same here
        said = " ".join(str(error).split())
        raise AreaError(f"{path}: can't be read as a vector file ({said})") from error


def _without_crs(path: Path) -> AreaError:
    return AreaError(
        f"{path}: has no coordinate reference system, so its lines have no place; give it one first"
    )


def _osm_ids(frame: Any, columns: list[str]) -> list[int] | None:
    """The way numbers of a table that came from OpenStreetMap; None for any other."""
    for column in _OSM_ID_COLUMNS:
        if column not in columns:
            continue
        # a bare number in a column called id may be anything
        pattern = _OSM_WAY_ID if column == "id" else _OSM_ID
        found = [pattern.fullmatch(_as_text(value)) for value in frame[column]]
        if found and all(found):
            return [int(match.group(1)) for match in found if match]
    return None


def _own_ids(frame: Any, columns: list[str]) -> list[str] | None:
    """The ids that a table gives its lines, where each has one of its own."""
    if "id" not in columns:
        return None
    ids = [_as_text(value) for value in frame["id"]]
    return ids if all(ids) and len(set(ids)) == len(ids) else None


def _as_text(value: Any) -> str:
    """A table's value as text; empty where it has none."""
    import pandas

    if pandas.api.types.is_scalar(value) and pandas.isna(value):
        return ""
    # a column of whole numbers with a gap in it comes as floats
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _tags(record: Mapping[str, Any]) -> dict[str, Any]:
    """The members of a record that have a value, those packed in GDAL's ``other_tags`` unpacked."""
    tags = {key: value for key, value in record.items() if _as_text(value)}
    packed = tags.pop("other_tags", None)
    if isinstance(packed, str):
        for key, value in _HSTORE_PAIR.findall(packed):
            tags.setdefault(_unescaped(key), _unescaped(value))
    return {key: value if isinstance(value, str | int | float) else str(value) for key, value in tags.items()}


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _line_parts(geometry: BaseGeometry | None) -> list[LineString]:
    if geometry is None:
        return []
    parts = shapely.get_parts(shapely.force_2d(geometry))
    flat = [inner for part in parts for inner in shapely.get_parts(part)]
    return [part for part in flat if isinstance(part, LineString) and not part.is_empty]


# Seven decimals of a degree are a centimetre.
_DECIMALS = 7
# What is left of a line that only touches the boundary's edge is no track.
_SHORTEST_M = 1.0


def clip(pieces: Sequence[RailLine], boundary: BaseGeometry) -> Iterator[RailLine]:
    """The parts of one line that lie within a boundary.

    Args:
        pieces: The line, in one or several pieces of the same id.
        boundary: Where to cut, in longitude and latitude like the line.

    Yields:
        The parts in the line's order. A single part keeps the id, several are numbered: ``osm-5-1``,
        ``osm-5-2``.
    """
    parts = [
        (piece, part)
        for piece in pieces
        for part in _inner_parts(piece.line, boundary)
        if ground.length_m(part) >= _SHORTEST_M
    ]
    for number, (piece, part) in enumerate(parts, start=1):
        identity = piece.id if len(parts) == 1 else f"{piece.id}-{number}"
        yield RailLine(identity, part, piece.gauge_mm, piece.properties)


def _inner_parts(line: LineString, boundary: BaseGeometry) -> list[LineString]:
    """A line's parts within a boundary, rounded, in the line's order.

    The line is cut segment by segment and the pieces are joined again in its order: the intersection of
    the whole line would fall apart wherever it crosses itself.
    """
    segments = shapely.linestrings([list(pair) for pair in pairwise(line.coords)])
    runs: list[list[tuple[float, float]]] = []
    for segment, inside in zip(segments, shapely.intersection(segments, boundary), strict=True):
        start = shapely.Point(segment.coords[0])
        pieces = [part for part in shapely.get_parts(inside) if isinstance(part, LineString) and part.length]
        for piece in sorted(pieces, key=start.distance):
            first, last = sorted(piece.coords, key=lambda xy: start.distance(shapely.Point(xy)))
            if runs and runs[-1][-1] == first:
                runs[-1].append(last)
            else:
                runs.append([first, last])
    return [_rounded(LineString(run)) for run in runs]


def _rounded(line: LineString) -> LineString:
    positions = [
        (round(x, _DECIMALS), round(y, _DECIMALS)) for x, y in shapely.get_coordinates(line).tolist()
    ]
    unlike = [positions[0], *(b for a, b in pairwise(positions) if a != b)]
    return LineString(unlike if len(unlike) > 1 else positions[:1] * 2)
