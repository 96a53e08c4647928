"""The pixels of one 10 m acquisition over one area: what every reader of a product hands on."""

from __future__ import annotations

import datetime as dt
import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from aoi.errors import AreaError
from geo.errors import SceneError
from geo.grid import Grid

if TYPE_CHECKING:
    from aoi import AreaOfInterest


PIXEL_M = 10.0
"""Side of a pixel of the bands that wagons are looked for in, metres."""

MARGIN_M = 400.0
"""Ground beside an area that its chips show: what dates are laid over each other by, and judged clear by."""


def chip_grid(area: AreaOfInterest, margin_m: float = MARGIN_M) -> Grid:
    """The 10 m pixels over an area (in longitude and latitude) that every acquisition of it is read on.

    North-up in the UTM zone (WGS84) of the area's middle, its corner on a whole multiple of 10 m: there the
    grids of all Sentinel-2 tiles of the zone coincide, so that a chip is a plain window of the product.

    Args:
        area: The area.
        margin_m: Ground around it.

    Raises:
        SceneError: The area lies beyond the latitudes that UTM and Sentinel-2 cover (84 N, 80 S).
    """
    middle = area.boundary.centroid
    if not -80.0 <= middle.y <= 84.0:
        raise SceneError(f"area {area.name} lies beyond the latitudes that Sentinel-2 covers")
    zone = min(int((middle.x + 180.0) // 6.0), 59) + 1
    crs = CRS.from_epsg((32600 if middle.y >= 0 else 32700) + zone)
    west, south, east, north = area.to_crs(crs).boundary.bounds
    left = math.floor((west - margin_m) / PIXEL_M) * PIXEL_M
    top = math.ceil((north + margin_m) / PIXEL_M) * PIXEL_M
    columns = math.ceil((east + margin_m - left) / PIXEL_M)
    rows = math.ceil((top - south + margin_m) / PIXEL_M)
    return Grid((rows, columns), Affine(PIXEL_M, 0.0, left, 0.0, -PIXEL_M, top), crs)


@dataclass(frozen=True)
class Chip:
    """Reflectance of one Sentinel-2 acquisition over one area, on the 10 m grid of the product.

    Attributes:
        id: of the acquisition (platform, sensing time, relative orbit): the same whichever product of it
            was read.
        datetime: UTC sensing time.
        platform: for example "Sentinel-2A".
        relative_orbit: 1 to 143, or None where the product doesn't tell.
        bands: names of the planes: "B02", "B03", "B04", "B08" and, where the product has it, "B11" (20 m,
            brought to the 10 m grid) after them.
        reflectance: float32 (bands, H, W), 0 to about 1 (above 1 on bright slopes and clouds); NaN where
            there is no data.
        transform: of the 10 m grid, pixel-aligned with the product.
        crs: UTM.
        scl: uint8 (H, W) scene classification on the same grid; 0 where there is no data; None where the
            product has none, as in L1C.
        sun_azimuth_deg: clockwise from north, or None.
        sun_elevation_deg: above the horizon, or None.
        level: "L1C", "L2A" or "unknown".
        baseline: processing baseline such as "05.09", or None.
        provenance: file, product, tile, offset and quantification applied, and the like; JSON-ready.
    """

    id: str
    datetime: dt.datetime
    platform: str
    relative_orbit: int | None
    bands: tuple[str, ...]
    reflectance: NDArray[np.float32]
    transform: Affine
    crs: CRS
    scl: NDArray[np.uint8] | None = None
    sun_azimuth_deg: float | None = None
    sun_elevation_deg: float | None = None
    level: str = "unknown"
    baseline: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse planes that don't fit together."""
        if self.reflectance.ndim != 3 or self.reflectance.shape[0] != len(self.bands):
            raise SceneError(
                f"{self.id}: {len(self.bands)} bands are named but the pixels have the shape "
                f"{self.reflectance.shape}."
            )
        if self.scl is not None and self.scl.shape != self.shape:
            raise SceneError(
                f"{self.id}: the scene classification has the shape {self.scl.shape}, the bands {self.shape}."
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.reflectance.shape[1]), int(self.reflectance.shape[2])

    @property
    def valid(self) -> NDArray[np.bool_]:
        """(H, W) where every 10 m band has a value."""
        ten = [index for index, name in enumerate(self.bands) if name != "B11"]
        return np.asarray(np.isfinite(self.reflectance[ten]).all(axis=0))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that an answer can depend on."""
        about = (
            f"{self.id} {self.datetime.isoformat()} {self.bands} {self.sun_azimuth_deg} "
            f"{self.sun_elevation_deg}"
        )
        content = hashlib.sha256(about.encode())
        content.update(np.ascontiguousarray(self.reflectance).tobytes())
        if self.scl is not None:
            content.update(self.scl.tobytes())
        return content.hexdigest()

    def load(self) -> Chip:
        """The chip itself, which is in memory already; see `ChipSource`."""
        return self

    def band(self, name: str) -> NDArray[np.float32]:
        """One plane, (H, W).

        Raises:
            SceneError: the chip doesn't have the band.
        """
        if name not in self.bands:
            raise SceneError(f"{self.id}: there is no band {name}, only {', '.join(self.bands)}.")
        return np.asarray(self.reflectance[self.bands.index(name)])


@dataclass(frozen=True)
class ChipOnDisk:
    """A chip that is read when it is needed, so that a series of years takes no more memory than one date.

    Attributes:
        id: Of the acquisition.
        datetime: UTC sensing time.
        grid: That it lies on.
        sun_azimuth_deg: Clockwise from north, or None.
        sun_elevation_deg: Above the horizon, or None.
        digest: Of all that an answer can depend on.
        reader: Reads it.
    """

    id: str
    datetime: dt.datetime
    grid: Grid
    sun_azimuth_deg: float | None
    sun_elevation_deg: float | None
    digest: str
    reader: Callable[[], Chip] = field(repr=False, compare=False)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.grid.shape

    @property
    def transform(self) -> Affine:
        """Of the 10 m grid."""
        return self.grid.transform

    def load(self) -> Chip:
        """Read it.

        Raises:
            Whatever its reader raises where it can't be read.
        """
        return self.reader()


ChipSource = Chip | ChipOnDisk
"""A chip before its pixels are read, or in memory."""


def boundary_in(crs: CRS, area: AreaOfInterest) -> shapely.Geometry | None:
    """An area's boundary in a CRS, None where the CRS doesn't reach it."""
    key = (area.digest, area.crs, crs.to_wkt())
    if key not in _boundaries:
        if len(_boundaries) >= _MOST_BOUNDARIES:
            _boundaries.clear()
        _boundaries[key] = _transformed(crs, area)
    return _boundaries[key]


# An archive has hundreds of products in the same two zones; a transformation takes 30 ms to set up.
_boundaries: dict[tuple[str, str, str], shapely.Geometry | None] = {}
_MOST_BOUNDARIES = 64


def _transformed(crs: CRS, area: AreaOfInterest) -> shapely.Geometry | None:
    try:
        boundary = area.to_crs(crs).boundary
    except AreaError:
        return None
    return boundary if np.isfinite(boundary.bounds).all() and boundary.area > 0 else None
