"""Distances, sizes and simple shapes on the ground, for WGS84 longitudes and latitudes.

All figures are geodesic (on the ellipsoid), so they hold anywhere and need no projection.
"""

from __future__ import annotations

import math

import shapely
from pyproj import CRS, Geod, Transformer
from shapely import LineString, Polygon
from shapely.geometry.base import BaseGeometry

__all__ = ["area_m2", "distance_m", "extent_m", "length_m", "local_metres", "rectangle"]

_GEOD = Geod(ellps="WGS84")

# A hundred-millionth of a degree is a millimetre: finer than anything drawn here.
_DECIMALS = 8


def distance_m(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
    """The way from one place to another.

    Args:
        a: Longitude and latitude of the start.
        b: Longitude and latitude of the end.

    Returns:
        The distance in metres and the azimuth at the start, clockwise from true north, in [0, 360).
    """
    azimuth, _, distance = _GEOD.inv(*a, *b)
    return float(distance), float(azimuth) % 360.0


def length_m(line: LineString) -> float:
    """The length of a line in metres."""
    return float(_GEOD.geometry_length(line))


def area_m2(shape: BaseGeometry) -> float:
    """The area of a polygon or of several, holes taken off, in square metres."""
    area, _ = _GEOD.geometry_area_perimeter(shapely.orient_polygons(shape))
    return abs(float(area))


def extent_m(shape: BaseGeometry) -> tuple[float, float]:
    """How far a shape reaches from west to east and from south to north, in metres."""
    west, south, east, north = shape.bounds
    middle_lon, middle_lat = (west + east) / 2, (south + north) / 2
    width, _ = distance_m((west, middle_lat), (east, middle_lat))
    height, _ = distance_m((middle_lon, south), (middle_lon, north))
    return width, height


def rectangle(centre: tuple[float, float], azimuth_deg: float, length: float, width: float) -> Polygon:
    """A rectangle on the ground.

    Args:
        centre: Longitude and latitude of its middle.
        azimuth_deg: Direction of its long side, clockwise from true north.
        length: Metres along that direction.
        width: Metres across it.

    Returns:
        The polygon in longitude and latitude, counter-clockwise, rounded to a millimetre.
    """
    half = math.hypot(length, width) / 2
    tilt = math.degrees(math.atan2(width, length))
    corners = []
    for turn in (tilt, -tilt, 180 + tilt, 180 - tilt):
        lon, lat, _ = _GEOD.fwd(*centre, azimuth_deg + turn, half)
        corners.append((round(lon, _DECIMALS), round(lat, _DECIMALS)))
    return Polygon(corners)


def local_metres(shape: BaseGeometry) -> Transformer:
    """A transformer from longitude and latitude to metres around a shape.

    The target is azimuthal equidistant about the shape's middle: exact there, and within a millionth
    over the few kilometres of a rail yard.
    """
    west, south, east, north = shape.bounds
    lon, lat = (west + east) / 2, (south + north) / 2
    plane = CRS.from_proj4(f"+proj=aeqd +lon_0={lon} +lat_0={lat} +datum=WGS84 +units=m +no_defs")
    return Transformer.from_crs("OGC:CRS84", plane, always_xy=True)
