"""Lines cut at the boundary of an area."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import shapely
from shapely import LineString
from shapely.geometry.base import BaseGeometry

from aoi import geodesy as ground
from aoi.railway_lines import RailLine

__all__ = ["clip"]

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
