"""The Earth: distances, sizes and shapes on the ground, and how well a reference system is tied to WGS84.

Distances and sizes are geodesic (on the ellipsoid), so they hold anywhere and need no projection.

PROJ always gives coordinates. Where it knows no transformation between two datums it takes the one for the
other (a "ballpark" transformation), and where the grid file of the best one is missing it takes a coarser
one. Both happen silently, and move a yard by anything from centimetres to half a kilometre. `datum_doubt`
asks PROJ which operation it used, and says what that may be off by.
"""

from __future__ import annotations

import logging
import math
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import shapely
from pyproj import CRS, Geod, Transformer
from pyproj.aoi import AreaOfInterest as Extent
from pyproj.database import query_crs_info
from pyproj.enums import PJType
from pyproj.exceptions import CRSError, ProjError
from pyproj.transformer import TransformerGroup
from shapely import LineString, Polygon
from shapely.geometry.base import BaseGeometry

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


_log = logging.getLogger(__name__)

NEGLIGIBLE_M = 3.0
"""What a place may be off without a word, metres: as much as an image's own position."""
TOLERABLE_M = 30.0
"""Beyond this, metres, nothing can be said to lie in a yard or not."""

_WGS84 = "OGC:CRS84"
_EARTH_M, _GEOCENTRIC_FLATTENINGS = 6_378_137.0, (298.257223563, 298.257222101)
# National systems on the ellipsoids of WGS84 and GRS80 are geocentric: plate motion has carried them up to
# this far from WGS84 (NAD83 and GDA94 are the worst).
_GEOCENTRIC_M = 2.0
# Datums of one ellipsoid at a place differ from WGS84 by 60 to 600 m; where none is known, this is said.
_SOME_M = 500.0
_MOST_CANDIDATES = 3
_per_thread = threading.local()


@dataclass(frozen=True)
class DatumDoubt:
    """Why a place in a CRS isn't exactly known.

    Attributes:
        error_m: How far off it may lie, metres.
        why: A clause that follows on "its coordinate reference system".
    """

    error_m: float
    why: str

    @property
    def tolerable(self) -> bool:
        """Whether things can still be said to lie in a yard or not, by and large."""
        return self.error_m <= TOLERABLE_M

    @property
    def sentence(self) -> str:
        """The doubt for a list of warnings."""
        return f"its coordinate reference system {self.why}: places may be off by up to {self.error_m:.0f} m"


def has_no_place(crs: CRS) -> bool:
    """Whether a CRS is a local or engineering one, which has no place on the Earth.

    Example:
        >>> has_no_place(CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1]]'))
        True
        >>> has_no_place(CRS.from_epsg(32652))
        False
    """
    horizontal = _horizontal(crs)
    if horizontal.is_bound and horizontal.source_crs is not None:
        horizontal = horizontal.source_crs
    return horizontal.type_name.startswith(("Engineering", "Vertical", "Temporal", "Parametric", "Other"))


def datum_doubt(crs: CRS, x: float, y: float) -> DatumDoubt | None:
    """What is doubtful about the WGS84 place of coordinates.

    Args:
        crs: Of the coordinates; not one that `has_no_place`.
        x: Easting or longitude, in the units of the CRS.
        y: Northing or latitude.

    Returns:
        The doubt, or None if PROJ's transformation there is good to `NEGLIGIBLE_M`.

    Raises:
        ProjError: The CRS can't be transformed at all, as where the grid file that it names is missing.

    Example:
        >>> datum_doubt(CRS.from_epsg(32652), 632_000, 4_698_000) is None
        True
        >>> unknown = CRS.from_proj4("+proj=tmerc +lat_0=49 +lon_0=-2 +x_0=400000 +y_0=-100000 +ellps=airy")
        >>> round(datum_doubt(unknown, 532_414, 132_379).error_m)
        128
    """
    key = _horizontal(crs).to_wkt()
    return _doubt(key, float(x), float(y))


@lru_cache(maxsize=256)
def _doubt(wkt: str, x: float, y: float) -> DatumDoubt | None:
    crs = CRS.from_wkt(wkt)
    transformer = _transformer(wkt)
    lon, lat = transformer.transform(x, y)
    if not (math.isfinite(lon) and math.isfinite(lat)):
        return None  # outside its domain, which whoever transforms says
    try:
        used = transformer.get_last_used_operation()
    except ProjError:
        used = transformer  # nothing to be done, or only one way to do it
    missing = sorted(
        grid.short_name
        for step in (used, *(used.operations or ()))
        for grid in getattr(step, "grids", ())
        if not grid.available and "null" not in grid.short_name
    )
    datum = crs.datum.name if crs.datum is not None else "unknown"
    if missing:
        return DatumDoubt(
            _SOME_M, f"names the grid {missing[0].lstrip('@')}, which isn't installed (datum {datum})"
        )
    if _is_zero_shift(crs):
        return _guess(
            crs, lon, lat, f"declares no shift (TOWGS84 of zeros) for a datum that needs one ({datum})"
        )
    if "allpark" in used.description:
        return _guess(
            crs, lon, lat, f"has the datum {datum!r}, whose shift to WGS84 at this place isn't known"
        )
    accuracy = used.accuracy
    if accuracy is None or accuracy <= NEGLIGIBLE_M:
        return None
    finer = _missing_grid(crs)
    hint = f", since the grid {finer} of the finer one isn't installed" if finer else ""
    return DatumDoubt(float(accuracy), f"({datum}) is brought to WGS84 by a coarse transformation{hint}")


def _transformer(wkt: str) -> Transformer:
    """To WGS84; pyproj wants one a thread."""
    cache: dict[str, Transformer] = _per_thread.__dict__.setdefault("transformers", {})
    if wkt not in cache:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pyproj's of missing grids are said in our own words
            cache[wkt] = Transformer.from_crs(CRS.from_wkt(wkt), _WGS84, always_xy=True)
    return cache[wkt]


def _missing_grid(crs: CRS) -> str | None:
    """A grid file whose want keeps PROJ from its best transformation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        unavailable = TransformerGroup(crs, _WGS84, always_xy=True).unavailable_operations
    return next((grid.short_name for one in unavailable for grid in one.grids if not grid.available), None)


def _guess(crs: CRS, lon: float, lat: float, why: str) -> DatumDoubt | None:
    axis, flattening = _ellipsoid(crs)
    if abs(axis - _EARTH_M) < 1.0 and flattening == 0.0:
        return None  # the sphere of Web Mercator, on which latitudes are those of WGS84
    if _is_geocentric(axis, flattening):
        return DatumDoubt(_GEOCENTRIC_M, f"{why}, and is taken for WGS84, whose ellipsoid it has")
    known = sorted(_candidates(axis, flattening, lon, lat), reverse=True)
    if not known:
        return DatumDoubt(_SOME_M, why)
    names = ", ".join(f"{name} (EPSG:{code}) {error:.0f} m" for error, name, code in known[:_MOST_CANDIDATES])
    return DatumDoubt(known[0][0], f"{why}; datums of its ellipsoid here: {names}")


def _candidates(axis: float, flattening: float, lon: float, lat: float) -> Iterator[tuple[float, str, str]]:
    """The datums in use at a place that have an ellipsoid: metres from WGS84, name, EPSG code."""
    here = Extent(lon, lat, lon, lat)
    for info in query_crs_info("EPSG", PJType.GEOGRAPHIC_2D_CRS, area_of_interest=here, contains=True):
        try:
            crs = CRS.from_authority("EPSG", info.code)
            own_axis, own_flattening = _ellipsoid(crs)
            if abs(own_axis - axis) > 0.5 or abs(own_flattening - flattening) > 1e-3:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                transformer = Transformer.from_crs(crs, _WGS84, always_xy=True)
                moved = transformer.transform(lon, lat)
                if "allpark" in transformer.get_last_used_operation().description:
                    continue
        except (ProjError, CRSError) as error:
            _log.debug("EPSG:%s: %s", info.code, error)
            continue
        yield float(_GEOD.inv(lon, lat, *moved)[2]), info.name, info.code


def _ellipsoid(crs: CRS) -> tuple[float, float]:
    """Semi-major axis in metres, and inverse flattening (0 for a sphere)."""
    ellipsoid = crs.ellipsoid
    if ellipsoid is None:
        return 0.0, 0.0
    return float(ellipsoid.semi_major_metre), float(ellipsoid.inverse_flattening or 0.0)


def _is_zero_shift(crs: CRS) -> bool:
    """Whether a CRS claims that its datum is WGS84, though it has another ellipsoid."""
    if not crs.is_bound or crs.coordinate_operation is None:
        return False
    shift = [*crs.coordinate_operation.towgs84]
    return bool(shift) and not any(shift) and not _is_geocentric(*_ellipsoid(crs))


def _is_geocentric(axis: float, flattening: float) -> bool:
    """Whether an ellipsoid is that of WGS84 or GRS80, or the sphere of Web Mercator."""
    return abs(axis - _EARTH_M) < 1.0 and any(
        abs(flattening - one) < 1e-3 for one in (0.0, *_GEOCENTRIC_FLATTENINGS)
    )


def _horizontal(crs: CRS) -> CRS:
    """The horizontal part of a compound CRS."""
    return crs.sub_crs_list[0] if crs.is_compound and crs.sub_crs_list else crs
