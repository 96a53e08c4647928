"""Where a place is: its coordinates as people write them, and a small map of the countries around it.

The outlines are Natural Earth's (1:50m, public domain, naturalearthdata.com), made small: simplified to 0.04
degrees and kept as steps of 1/50 degree in ``countries.json.gz``. They show borders as they are held, take no
side, and are for finding a place on the globe, not for measuring.
"""

from __future__ import annotations

import gzip
import json
import math
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from markupsafe import Markup

if TYPE_CHECKING:
    from aoi import AreaOfInterest

__all__ = ["CREDIT", "Coordinates", "countries_near", "locator", "middle_of"]

CREDIT = "Outlines: Natural Earth, public domain"

_COLUMNS = ("ABCDEFGH", "JKLMNPQR", "STUVWXYZ")
_ROWS = "ABCDEFGHJKLMNPQRSTUV"
_BANDS = "CDEFGHJKLMNPQRSTUVWX"
_REACH_DEG = 8.0
_TOO_NEAR_DEG = 0.2
_STEPS_A_DEGREE = 50.0


@dataclass(frozen=True)
class Coordinates:
    """A point on the globe.

    Attributes:
        longitude: Degrees east (WGS84).
        latitude: Degrees north.

    >>> here = Coordinates(130.6081, 42.4214)
    >>> here.decimal, here.dms, here.mgrs
    ('42.4214° N, 130.6081° E', '42°25′17″ N, 130°36′29″ E', '52T FM 32298 97818')
    """

    longitude: float
    latitude: float

    @property
    def decimal(self) -> str:
        """Latitude and longitude in decimal degrees, to about ten metres."""
        north, east = "N" if self.latitude >= 0 else "S", "E" if self.longitude >= 0 else "W"
        return f"{abs(self.latitude):.4f}° {north}, {abs(self.longitude):.4f}° {east}"

    @property
    def dms(self) -> str:
        """The same in degrees, minutes and seconds."""

        def written(value: float, positive: str, negative: str) -> str:
            seconds = round(abs(value) * 3600)
            side = positive if value >= 0 else negative
            degrees, minutes = seconds // 3600, seconds // 60 % 60
            return f"{degrees}°{minutes:02d}\u2032{seconds % 60:02d}\u2033 {side}"

        return f"{written(self.latitude, 'N', 'S')}, {written(self.longitude, 'E', 'W')}"

    @property
    def mgrs(self) -> str:
        """The Military Grid Reference, to a metre; empty near the poles, where it has another form."""
        from pyproj import Transformer

        if not -80.0 <= self.latitude < 84.0:
            return ""
        zone = _zone(self.longitude, self.latitude)
        hemisphere = 326 if self.latitude >= 0 else 327
        to_utm = Transformer.from_crs("OGC:CRS84", f"EPSG:{hemisphere}{zone:02d}", always_xy=True)
        east, north = to_utm.transform(self.longitude, self.latitude)
        band = _BANDS[min(int((self.latitude + 80.0) // 8.0), len(_BANDS) - 1)]
        column = _COLUMNS[(zone - 1) % 3][int(east // 100_000) - 1]
        row = _ROWS[(int(north // 100_000) + (5 if zone % 2 == 0 else 0)) % 20]
        return f"{zone}{band} {column}{row} {int(east % 100_000):05d} {int(north % 100_000):05d}"


def _zone(longitude: float, latitude: float) -> int:
    """The UTM zone, with the exceptions of Norway and Svalbard."""
    if 56.0 <= latitude < 64.0 and 3.0 <= longitude < 12.0:
        return 32
    if 72.0 <= latitude < 84.0 and 0.0 <= longitude < 42.0:
        return 31 + 2 * int((longitude + 3.0) // 12.0)
    return int((longitude + 180.0) // 6.0) % 60 + 1


def middle_of(area: AreaOfInterest) -> Coordinates:
    """Return the middle of an area."""
    point = area.boundary.centroid
    return Coordinates(float(point.x), float(point.y))


@cache
def _countries() -> tuple[tuple[str, shapely.Geometry], ...]:
    """Names and outlines of the countries, in degrees."""
    content = resources.files("railwatch.pages").joinpath("countries.json.gz").read_bytes()
    data: dict[str, Any] = json.loads(gzip.decompress(content))
    arcs = [np.cumsum(np.array(arc).reshape(-1, 2), axis=0) / _STEPS_A_DEGREE for arc in data["arcs"]]

    def ring(numbers: list[int]) -> np.ndarray:
        parts = [arcs[one] if one >= 0 else arcs[~one][::-1] for one in numbers]
        return np.concatenate([parts[0], *(part[1:] for part in parts[1:])])

    found = []
    for country in data["countries"]:
        polygons = []
        for rings in country["rings"]:
            outer, *holes = [ring(numbers) for numbers in rings]
            if len(outer) >= 4:
                polygons.append(shapely.Polygon(outer, [hole for hole in holes if len(hole) >= 4]))
        found.append((str(country["name"]), shapely.make_valid(shapely.MultiPolygon(polygons))))
    return tuple(found)


def countries_near(here: Coordinates) -> list[str]:
    """Return the country that a point lies in, or all that are too near to tell.

    The outlines are generalised by some kilometres: within 0.2 degrees of a border they can't say on which
    side a place lies, and then every country there is named.
    """
    point = shapely.Point(here.longitude, here.latitude)
    return sorted(name for name, shape in _countries() if shape.distance(point) < _TOO_NEAR_DEG)


def locator(here: Coordinates, size: int = 220) -> Markup:
    """Return a map of the countries around a point as an SVG element.

    Args:
        here: The point.
        size: Width and height of the drawing's own units.
    """
    reach = _REACH_DEG
    wide = reach / max(math.cos(math.radians(here.latitude)), 0.2)
    frame = shapely.box(
        here.longitude - wide, here.latitude - reach, here.longitude + wide, here.latitude + reach
    )

    def placed(xy: np.ndarray) -> np.ndarray:
        x = (xy[:, 0] - here.longitude + wide) / (2.0 * wide) * size
        y = (here.latitude + reach - xy[:, 1]) / (2.0 * reach) * size
        return np.column_stack([x, y])

    drawn, names = [], []
    near = countries_near(here)
    for name, shape in _countries():
        part = shape.intersection(frame)
        if part.is_empty:
            continue
        polygons = [one for one in shapely.get_parts(part) if isinstance(one, shapely.Polygon)]
        d = "".join(
            "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in placed(shapely.get_coordinates(one.exterior))) + "Z"
            for one in polygons
        )
        kind = "land home" if near == [name] else "land"
        drawn.append(Markup('<path class="{}" d="{}"/>').format(kind, d))
        largest = max(polygons, key=lambda one: one.area, default=None)
        if largest is not None and largest.area > 0.02 * frame.area:
            point = shapely.get_coordinates(largest.representative_point())
            x, y = placed(point)[0]
            left = min(max(float(x), 3.1 * len(name)), size - 3.1 * len(name))
            names.append(
                Markup('<text class="country" x="{}" y="{}" text-anchor="middle">{}</text>').format(
                    f"{left:.1f}", f"{min(max(float(y), 10.0), size - 6.0):.1f}", name
                )
            )
    middle = size / 2.0
    point_mark = Markup(
        '<circle class="here-ring" cx="{0}" cy="{0}" r="7"/><circle class="here" cx="{0}" cy="{0}" r="2.6"/>'
    ).format(f"{middle:g}")
    label = f"Map of the countries around {here.decimal}"
    return Markup('<svg class="locator" viewBox="0 0 {0} {0}" role="img" aria-label="{1}">{2}</svg>').format(
        size, label, Markup("").join([*drawn, *names, point_mark])
    )
