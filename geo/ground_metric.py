"""Metres on the ground, at the place: the one path from pixels to lengths and azimuths.

A metre of a map is a metre on the ground only near the true-scale lines of its projection: at 42 degrees
north a metre of Web Mercator is 0.74 m on the ground, and a degree of longitude is three quarters of a degree
of latitude. So lengths are geodesics on the WGS84 ellipsoid (pyproj.Geod, Karney's algorithms), taken where
the thing lies.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from affine import Affine
from pyproj import CRS as ProjCRS
from pyproj import Geod, Transformer
from pyproj.exceptions import ProjError
from rasterio.crs import CRS

from aoi.geodesy import DatumDoubt, datum_doubt, has_no_place
from geo.errors import SceneError

FloatArray = npt.NDArray[np.float64]

_WGS84 = Geod(ellps="WGS84")
# Half of the distance, in pixels, over which a derivative is taken: long against the nanometres of a
# geodesic, short against the scale on which any projection bends.
_STEP_PX = 8.0
_per_thread = threading.local()
_SAME_PX = 1e-3  # rasters whose pixels lie this near to each other have one lattice


def apply_affine(transform: Affine, xy: npt.ArrayLike) -> FloatArray:
    """An affine transform of points (N, 2)."""
    points = np.asarray(xy, np.float64).reshape(-1, 2)
    x, y = points[:, 0], points[:, 1]
    a, b, c, d, e, f = tuple(transform)[:6]
    return np.column_stack([a * x + b * y + c, d * x + e * y + f])


def lattice_shift(own: Affine, other: Affine) -> tuple[int, int] | None:
    """Column and row in a raster of another one's first pixel, if their pixels are the same ones."""
    size = math.sqrt(abs(other.determinant))
    if any(abs(getattr(own, name) - getattr(other, name)) > size * 1e-9 for name in "abde"):
        return None
    x, y = apply_affine(~own, [(other.c, other.f)])[0]
    near = abs(x - round(x)) <= _SAME_PX and abs(y - round(y)) <= _SAME_PX
    return (round(x), round(y)) if near else None


def pixels_around(
    bounds: tuple[float, float, float, float], transform: Affine, size: tuple[int, int], beside: int
) -> tuple[int, int, int, int] | None:
    """The window of a raster that holds some bounds, and so many pixels beside them; None if they don't meet.

    Args:
        bounds: Least x, least y, greatest x, greatest y in the raster's map coordinates.
        transform: Of the raster, pixels to map.
        size: Its width and height.
        beside: Pixels that a kernel may reach into.

    Returns:
        Left, top, and one past right and bottom.
    """
    west, south, east, north = bounds
    x, y = apply_affine(~transform, [(west, south), (west, north), (east, south), (east, north)]).T
    left, top = max(math.floor(x.min()) - beside, 0), max(math.floor(y.min()) - beside, 0)
    right, bottom = min(math.ceil(x.max()) + beside, size[0]), min(math.ceil(y.max()) + beside, size[1])
    return (left, top, right, bottom) if left < right and top < bottom else None


def to_lonlat(crs: CRS, xy: FloatArray, path: Path) -> FloatArray:
    """Map coordinates (N, 2) in a CRS as WGS84 longitude and latitude in degrees, (N, 2).

    Raises:
        SceneError: The CRS has no place on the Earth (a local or engineering CRS) or the points lie outside
            its domain.
    """
    lon, lat = _transformer(crs, path).transform(xy[:, 0], xy[:, 1])
    lonlat = np.column_stack([lon, lat]).astype(np.float64)
    if not np.isfinite(lonlat).all() or (np.abs(lonlat[:, 1]) > 90).any():
        raise SceneError(f"{path}: its coordinates lie outside the domain of its coordinate reference system")
    return lonlat


def _transformer(crs: CRS, path: Path) -> Transformer:
    """The transformation to longitude and latitude; pyproj wants one a thread."""
    cache: dict[str, Transformer] = _per_thread.__dict__.setdefault("transformers", {})
    wkt = crs.to_wkt()
    if wkt not in cache:
        try:
            cache[wkt] = Transformer.from_crs(_proj_crs(wkt), "OGC:CRS84", always_xy=True)
        except ProjError as error:
            raise SceneError(
                f"{path}: its coordinate reference system has no known place on Earth"
            ) from error
    return cache[wkt]


@lru_cache(16)
def _proj_crs(wkt: str) -> ProjCRS:
    """A CRS as pyproj knows it; several questions are asked of one."""
    return ProjCRS.from_wkt(wkt)


def is_local(crs: CRS) -> bool:
    """Whether a CRS is a local or engineering one, without a place on the Earth."""
    return has_no_place(_proj_crs(crs.to_wkt()))


def doubt_at(crs: CRS, xy: npt.ArrayLike, path: Path) -> DatumDoubt | None:
    """What is doubtful about the WGS84 place of a point, see `aoi.geodesy.datum_doubt`.

    Raises:
        SceneError: The CRS can't be brought to WGS84.
    """
    x, y = np.asarray(xy, np.float64)
    try:
        return datum_doubt(_proj_crs(crs.to_wkt()), float(x), float(y))
    except ProjError as error:
        raise SceneError(f"{path}: its coordinate reference system has no known place on Earth") from error


@dataclass(frozen=True)
class GroundMetric:
    """How far apart the pixels of a scene are on the ground, and which way.

    Attributes:
        path: The scene's file, for error messages.
        crs: The scene's CRS, or None without position.
        transform: Pixels (pixel-corner origin) to map; used with a CRS only.
        gsd_xy_m: Ground sampling distance in metres along x and y; used without a CRS only.
    """

    path: Path
    crs: CRS | None
    transform: Affine
    gsd_xy_m: tuple[float, float]

    def jacobian(self, xy: npt.ArrayLike) -> FloatArray:
        """The ground's derivative by pixel coordinates at some places.

        Args:
            xy: Pixel coordinates, (N, 2).

        Returns:
            (N, 2, 2): [[right per x, right per y], [up per x, up per y]] in metres per pixel. "Up" is grid
            north, the y axis of the map (the upper side of an image without position); "right" is 90 degrees
            clockwise from it on the ground.
        """
        places = np.asarray(xy, np.float64).reshape(-1, 2)
        if self.crs is None:
            still = np.array([[self.gsd_xy_m[0], 0.0], [0.0, -self.gsd_xy_m[1]]])
            return np.broadcast_to(still, (len(places), 2, 2)).copy()
        if not len(places):
            return np.zeros((0, 2, 2))
        along_x = self._east_north(places, np.array([_STEP_PX, 0.0]))
        along_y = self._east_north(places, np.array([0.0, _STEP_PX]))
        north = self._grid_north(places)
        sin, cos = np.sin(north), np.cos(north)
        turn = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)
        turned: FloatArray = turn @ np.stack([along_x, along_y], axis=-1)
        return turned

    def gsd_xy_at(self, xy: npt.ArrayLike) -> tuple[float, float]:
        """Ground sampling distance in metres along x and y at one place (pixel coordinates)."""
        jacobian = self.jacobian(np.asarray(xy, np.float64)[None])[0]
        x, y = float(np.hypot(*jacobian[:, 0])), float(np.hypot(*jacobian[:, 1]))
        # Square pixels should be square to the last bit, whatever the rounding of two geodesics.
        return (x, x) if abs(x - y) <= 1e-7 * x else (x, y)

    def _east_north(self, places: FloatArray, step: FloatArray) -> FloatArray:
        """Metres east and north per pixel along a direction, (N, 2), by a central difference."""
        azimuth, distance = self._geodesic(
            apply_affine(self.transform, places - step), apply_affine(self.transform, places + step)
        )
        metres = distance / (2.0 * _STEP_PX)
        return np.column_stack([metres * np.sin(azimuth), metres * np.cos(azimuth)])

    def _grid_north(self, places: FloatArray) -> FloatArray:
        """True azimuth of the map's y axis, in radians."""
        centre = apply_affine(self.transform, places)
        up = np.array([0.0, _STEP_PX * np.sqrt(abs(self.transform.determinant))])
        return self._geodesic(centre - up, centre + up)[0]

    def _geodesic(self, start: FloatArray, end: FloatArray) -> tuple[FloatArray, FloatArray]:
        assert self.crs is not None
        a, b = (to_lonlat(self.crs, ends, self.path) for ends in (start, end))
        azimuth, _, distance = _WGS84.inv(a[:, 0], a[:, 1], b[:, 0], b[:, 1])
        return np.radians(np.asarray(azimuth)), np.asarray(distance)
