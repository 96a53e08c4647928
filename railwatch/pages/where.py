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
from functools import cache, lru_cache
from importlib import resources
from typing import Any

import numpy as np
import shapely
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from railwatch import words

CREDIT = "Outlines: Natural Earth, public domain"

_COLUMNS = ("ABCDEFGH", "JKLMNPQR", "STUVWXYZ")
_ROWS = "ABCDEFGHJKLMNPQRSTUV"
_BANDS = "CDEFGHJKLMNPQRSTUVWX"
_REACH_DEG = 8.0
_TOO_NEAR_DEG = 0.2
_STEPS_A_DEGREE = 50.0
_SEA, _LAND, _HOME, _BORDER, _HERE = "#e4edf3", "#efece4", "#d9d1bd", "#9a9a9a", "#d55e00"


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

    @classmethod
    def of(cls, shape: shapely.Geometry) -> Coordinates:
        """Return the middle of a shape in longitude and latitude."""
        point = shape.centroid
        return cls(float(point.x), float(point.y))

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


@cache
def _countries() -> tuple[tuple[str, shapely.MultiPolygon], ...]:
    """Names and outlines of the countries, in degrees, as they are stored: some cross themselves."""
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
        found.append((str(country["name"]), shapely.MultiPolygon(polygons)))
    return tuple(found)


def _touching(frame: shapely.Polygon) -> list[tuple[str, shapely.MultiPolygon]]:
    """Those whose bounds touch a frame."""
    listed = _countries()
    bounds = shapely.box(*shapely.bounds([shape for _, shape in listed]).T)
    return [one for one, near in zip(listed, shapely.intersects(bounds, frame), strict=True) if near]


@cache
def whereabouts(here: Coordinates) -> tuple[str, str]:
    """Return country and coordinates in two short lines, for a caption; every picture of a yard has them.

    >>> whereabouts(Coordinates(10.5, 52.2))
    ('Germany  ·  52.2000° N, 10.5000° E', '52°12′00″ N, 10°30′00″ E  ·  MGRS 32U PC 02513 84343')
    """
    near = countries_near(here)
    borders = "border" if len(near) == 2 else "borders"
    country = f"near the {borders} of {words.listed(near)}" if len(near) > 1 else "".join(near)
    grid = f"MGRS {here.mgrs}" if here.mgrs else ""
    lines = (words.sentence_case(country), here.decimal), (here.dms, grid)
    first, second = ("  ·  ".join(part for part in parts if part) for parts in lines)
    return first, second


def countries_near(here: Coordinates) -> list[str]:
    """Return the country that a point lies in, or all that are too near to tell.

    The outlines are generalised by some kilometres: within 0.2 degrees of a border they can't say on which
    side a place lies, and then every country there is named.
    """
    point = shapely.Point(here.longitude, here.latitude)
    around = _touching(point.buffer(_TOO_NEAR_DEG))
    return sorted(name for name, shape in around if shape.distance(point) < _TOO_NEAR_DEG)


@dataclass(frozen=True)
class Country:
    """A country as a map around a point shows it.

    Attributes:
        name: In English.
        home: Whether the point surely lies in it.
        rings: Its outlines (n, 2) in fractions of the map, x to the right, y down.
        name_at: Where its name may stand, if it is large enough for one.
    """

    name: str
    home: bool
    rings: tuple[NDArray[np.float64], ...]
    name_at: tuple[float, float] | None


@cache
def countries_around(here: Coordinates) -> tuple[Country, ...]:
    """Return the countries of a square map of 16 degrees of latitude around a point.

    Every picture of a yard bears the same one.
    """
    wide = _REACH_DEG / max(math.cos(math.radians(here.latitude)), 0.2)
    reach = np.array([wide, -_REACH_DEG])
    middle = np.array([here.longitude, here.latitude])
    frame = shapely.box(*(middle - abs(reach)), *(middle + abs(reach)))

    def placed(shape: shapely.Geometry) -> NDArray[np.float64]:
        return np.asarray((shapely.get_coordinates(shape) - middle) / reach / 2.0 + 0.5, np.float64)

    near = countries_near(here)
    found: list[Country] = []
    for name, shape in _touching(frame):
        part = shapely.make_valid(shape).intersection(frame)
        polygons = [one for one in shapely.get_parts(part) if isinstance(one, shapely.Polygon)]
        largest = max(polygons, key=lambda one: one.area, default=None)
        if largest is None or largest.is_empty:
            continue
        named = largest.area > 0.02 * frame.area
        at = placed(largest.representative_point())[0] if named else None
        found.append(
            Country(
                name,
                near == [name],
                tuple(placed(one.exterior) for one in polygons),
                None if at is None else (float(at[0]), float(at[1])),
            )
        )
    return tuple(found)


def locator(here: Coordinates) -> Markup:
    """Return a map of the countries around a point as an SVG element."""
    size = 220
    drawn, names = [], []
    for country in countries_around(here):
        d = "".join(
            "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in ring * size) + "Z" for ring in country.rings
        )
        kind = "land home" if country.home else "land"
        drawn.append(Markup('<path class="{}" d="{}"/>').format(kind, d))
        if country.name_at is not None:
            room = 3.1 * len(country.name)
            x, y = (size * one for one in country.name_at)
            names.append(
                Markup('<text class="country" x="{}" y="{}" text-anchor="middle">{}</text>').format(
                    f"{min(max(x, room), size - room):.1f}",
                    f"{min(max(y, 10.0), size - 6.0):.1f}",
                    country.name,
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


@lru_cache(maxsize=64)
def locator_image(here: Coordinates, size: int) -> NDArray[np.uint8]:
    """Return the same map without names as pixels (size, size, 3), for a caption; read only."""
    large = 4 * size
    image = Image.new("RGB", (large, large), _SEA)
    draw = ImageDraw.Draw(image)
    for country in countries_around(here):
        for ring in country.rings:
            corners = [(float(x), float(y)) for x, y in ring * large]
            draw.polygon(corners, fill=_HOME if country.home else _LAND)
            draw.line([*corners, corners[0]], fill=_BORDER, width=3)
    middle = large / 2.0
    for radius, colour in ((0.075, "white"), (0.055, _HERE)):
        reach = radius * large
        draw.ellipse([middle - reach, middle - reach, middle + reach, middle + reach], fill=colour)
    draw.rectangle([0, 0, large - 1, large - 1], outline=_BORDER, width=4)
    return np.asarray(image.resize((size, size), Image.Resampling.BOX), np.uint8)
