"""Railway lines in OpenStreetMap's forms: extracts (XML, PBF), Overpass JSON, and the tags on them."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from shapely import LineString
from shapely.geometry.base import BaseGeometry

from aoi.errors import AreaError

_log = logging.getLogger(__name__)

DEFAULT_STATES = frozenset({"rail", "narrow_gauge"})
"""The `track_state` of lines that carry freight wagons today: sidings and yard tracks are among them."""

OPTIONAL_STATES = frozenset({
    "abandoned", "construction", "dismantled", "disused", "light_rail", "preserved", "proposed", "razed",
    "subway", "tram", "tunnel",
})  # fmt: skip
"""States that are left out unless asked for."""

_LIFE_CYCLE = ("razed", "dismantled", "abandoned", "disused", "construction", "proposed")
_NO = frozenset({"", "no", "false", "0", "f"})
_GAUGE = re.compile(r"\d{3,4}")
_GAUGE_RANGE_MM = (300, 2200)
# What GDAL says when a file ends too early or is damaged; it goes on with what it has.
_DAMAGE = re.compile(r"error|invalid|cannot|corrupt|truncated|failed", re.IGNORECASE)


TaggedLine = tuple[str, LineString, Mapping[str, Any]]
"""A line's stable id (a way in several pieces gives several lines of one id), its course in longitude and
latitude, and its tags."""


def track_state(tags: Mapping[str, Any]) -> str | None:
    """What kind of track a line is, or what keeps it from being one.

    Args:
        tags: OpenStreetMap tags.

    Returns:
        The value of ``railway``, unless another tag says that the line is disused, abandoned, not yet
        built or under ground: then that word. None for what is no railway line at all.
    """
    railway = tags.get("railway")
    if not railway:
        return None
    if railway in DEFAULT_STATES:
        for state in _LIFE_CYCLE:
            if _is_set(tags.get(state)):
                return state
        # a culvert of a road under the tracks is no tunnel of theirs, but is not tagged on them either
        if _is_set(tags.get("tunnel")):
            return "tunnel"
    return str(railway)


def gauge_mm(text: object) -> int | None:
    """The gauge in an OpenStreetMap ``gauge`` tag, such as "1520" or "1520;1435".

    Args:
        text: The tag's value.

    Returns:
        Millimetres; the widest of several, whose rails lie outside; None where there is no number.
    """
    low, high = _GAUGE_RANGE_MM
    if isinstance(text, int | float) and not isinstance(text, bool):
        text = f"{text:.0f}"
    if not isinstance(text, str):
        return None
    if text.strip().lower() == "standard":
        return 1435
    widths = [int(digits) for digits in _GAUGE.findall(text)]
    return max((width for width in widths if low <= width <= high), default=None)


def osm_credit(dated: str | None, file_name: str) -> dict[str, str]:
    """The source entry that OpenStreetMap's licence asks for."""
    entry = {
        "title": "© OpenStreetMap contributors",
        "url": "https://www.openstreetmap.org/copyright",
        "licence": "Open Database License (ODbL) 1.0",
        "used_for": f"track lines, from {file_name}",
    }
    return {**entry, "date": dated} if dated else entry


def has_osm_driver() -> bool:
    """Whether the installed GDAL reads OpenStreetMap extracts."""
    import pyogrio

    return "OSM" in pyogrio.list_drivers()


def read_extract(path: Path, area: BaseGeometry) -> list[TaggedLine]:
    """The railway lines of an extract (.osm or .osm.pbf) that come near an area.

    Args:
        path: The extract.
        area: Where to look, in longitude and latitude; lines outside its bounding box are left out.

    Returns:
        One way a line, in the file's order, whatever its state (see `track_state`).

    Raises:
        AreaError: If GDAL lacks the driver, or the file is damaged or isn't an extract.
    """
    from pyogrio.errors import DataLayerError, DataSourceError

    from aoi.gdal import read_vector
    from aoi.references import RefusedFileError

    if not has_osm_driver():
        raise AreaError(
            f"{path}: the installed GDAL has no OSM driver; convert the extract first, for example with "
            "'osmium export' to GeoJSON"
        )
    with (
        resources.as_file(resources.files("aoi").joinpath("osmconf.ini")) as settings,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        try:
            frame = read_vector(
                path,
                layer="lines",
                bbox=area.bounds,
                where="railway IS NOT NULL",
                CONFIG_FILE=str(settings),
            )
        except RefusedFileError:
            raise
        except (DataSourceError, DataLayerError, ValueError) as error:
            raise AreaError(f"{path}: can't be read as an OpenStreetMap extract ({error})") from error
    for warning in caught:
        message = str(warning.message)
        if issubclass(warning.category, RuntimeWarning) and _DAMAGE.search(message):
            raise AreaError(f"{path}: is damaged or cut short ({message})")
        _log.info("%s: %s", path, message)
    columns = [column for column in frame.columns if column not in ("osm_id", "geometry")]
    return [
        (
            f"osm-{int(record['osm_id'])}",
            record["geometry"],
            # a missing value is None or NaN, depending on the release of pandas
            {key: record[key] for key in columns if isinstance(record[key], str) and record[key]},
        )
        for record in frame.to_dict("records")
        if record["geometry"] is not None
    ]


def read_overpass(document: Mapping[str, Any], path: Path) -> tuple[list[TaggedLine], str | None]:
    """The railway lines in an answer of the Overpass API in JSON.

    Both forms are understood: ``out geom;`` with the positions in each way, and ``out body; >; out skel;``
    with nodes beside the ways. Where a way leaves the part that was asked for it is cut there.

    Args:
        document: The decoded answer.
        path: Its file, for messages.

    Returns:
        The ways, each once, in the answer's order and whatever their state; and the time of the data as
        the answer gives it.

    Raises:
        AreaError: If the answer is incomplete, or holds ways without positions.
    """
    remark = document.get("remark")
    if isinstance(remark, str) and "error" in remark.lower():
        raise AreaError(f"{path}: Overpass stopped before the end ({remark.strip()}): ask for less, or again")
    elements = document.get("elements")
    if not isinstance(elements, list):
        raise AreaError(f"{path}: has 'elements' that are no list, so it is no Overpass answer")
    known = [element for element in elements if isinstance(element, Mapping)]
    dropped = len(elements) - len(known)
    elements = known
    nodes: dict[int, tuple[float, float]] = {}
    for element in elements:
        if element.get("type") != "node" or not {"lon", "lat"} <= element.keys():
            continue
        try:
            nodes[int(element["id"])] = _position(element)
        except (KeyError, TypeError, ValueError, OverflowError):
            dropped += 1
    if dropped:
        _log.warning("%s: %d elements that can't be read are left out", path, dropped)
    ways: dict[int, list[TaggedLine]] = {}
    railways = missing = 0
    for element in elements:
        tags = element.get("tags")
        try:
            if element.get("type") != "way" or not isinstance(tags, Mapping) or not track_state(tags):
                continue
            railways += 1
            number = int(element["id"])
            pieces = list(_pieces(element, nodes))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise AreaError(f"{path}: holds a way that can't be read ({error!r})") from error
        if pieces:
            ways[number] = [(f"osm-{number}", piece, dict(tags)) for piece in pieces]
        else:
            missing += 1
    if railways and missing == railways:
        raise AreaError(f"{path}: its railway ways have no positions: ask Overpass for 'out geom;'")
    timestamp = document.get("osm3s")
    dated = timestamp.get("timestamp_osm_base") if isinstance(timestamp, Mapping) else None
    return [way for parts in ways.values() for way in parts], dated if isinstance(dated, str) else None


def _position(point: Mapping[str, Any]) -> tuple[float, float]:
    """Longitude and latitude of a point."""
    lon, lat = float(point["lon"]), float(point["lat"])
    if not (-180 <= lon <= 180 and -90 <= lat <= 90):
        raise ValueError(f"{lon}, {lat} is no position")
    return lon, lat


def _pieces(element: Mapping[str, Any], nodes: Mapping[Any, tuple[float, float]]) -> Iterator[LineString]:
    """The connected pieces of an Overpass way; an unknown position ends a piece."""
    if isinstance(element.get("geometry"), list):
        positions = [
            _position(point) if isinstance(point, Mapping) else None for point in element["geometry"]
        ]
    else:
        positions = [nodes.get(reference) for reference in element.get("nodes") or ()]
    piece: list[tuple[float, float]] = []
    for position in [*positions, None]:
        if position is not None:
            piece.append((float(position[0]), float(position[1])))
            continue
        if len(piece) > 1:
            yield LineString(piece)
        piece = []


def _is_set(value: object) -> bool:
    return value is not None and str(value).strip().lower() not in _NO
