"""Grids of cells: their shape, where their cells lie, and in which reference system."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from shapely.geometry.base import BaseGeometry

from aoi.geodesy import local_metres

if TYPE_CHECKING:
    from aoi import AreaOfInterest


@dataclass(frozen=True)
class Grid:
    """Rows and columns of cells, and the affine map from them to the coordinates they lie in.

    Cell coordinates have their origin at the outer corner of the first cell, x along the columns, y along the
    rows. What they are mapped to are coordinates of a map, or those of another grid (an area's track-aligned
    grid lies on the grid of its chips).

    Attributes:
        shape: rows and columns.
        transform: cell coordinates to the coordinates that the grid lies in.
        crs: reference system of those (rasterio's or pyproj's), or None where they are another grid's.

    Example:
        >>> grid = Grid((2, 3), Affine(10, 0, 500, 0, -10, 900))
        >>> grid.bounds, grid.cell_size
        ((500.0, 880.0, 530.0, 900.0), 10.0)
        >>> grid.grown(1).shape
        (4, 5)
    """

    shape: tuple[int, int]
    transform: Affine
    crs: Any = None

    @property
    def cell_size(self) -> float:
        """Length of a cell's side along its row, in units of the coordinates that the grid lies in."""
        return math.hypot(self.transform.a, self.transform.d)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Least x, least y, greatest x, greatest y of the grid's corners."""
        h, w = self.shape
        x, y = zip(*(self.transform @ corner for corner in ((0, 0), (w, 0), (0, h), (w, h))), strict=True)
        return float(min(x)), float(min(y)), float(max(x)), float(max(y))

    @property
    def turn_deg(self) -> float:
        """Direction of the rows, degrees from the x axis of the coordinates towards their y axis."""
        return math.degrees(math.atan2(self.transform.d, self.transform.a))

    def grown(self, cells: int) -> Self:
        """The grid with so many more cells on each side; its own are a window of it."""
        h, w = self.shape
        return type(self)(
            (h + 2 * cells, w + 2 * cells), self.transform @ Affine.translation(-cells, -cells), self.crs
        )

    def centres(self) -> NDArray[np.float64]:
        """Where the centres of the cells lie, (2, rows, columns): x, y."""
        rows, columns = np.mgrid[0 : self.shape[0], 0 : self.shape[1]] + 0.5
        t = self.transform
        return np.stack([t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f])


Float = NDArray[np.float64]

_LONLAT = "OGC:CRS84"
# Between nodes this far apart a map projection is a plane to better than a millimetre.
_NODES_M = 64.0


@dataclass(frozen=True)
class PlaneGrid:
    """Square cells around an area, north up, in a projection that keeps distances about its middle.

    The *frame* of the grid has its origin at the outer corner of the first cell, x to the east and y to the
    south, in metres: the convention of pixels, with metres for pixels.

    Attributes:
        crs: azimuthal equidistant about the area.
        left: easting of the frame's origin.
        top: northing of it.
        cell_m: side of a cell.
        shape: rows and columns.
    """

    crs: CRS
    left: float
    top: float
    cell_m: float
    shape: tuple[int, int]

    @classmethod
    def around(cls, area: AreaOfInterest, *, margin_m: float = 40.0, cell_m: float = 1.0) -> PlaneGrid:
        """The grid over an area (in longitude and latitude) and some ground around it."""
        plane = local_metres(area.boundary)
        west, south, east, north = area.to_crs(plane.target_crs).boundary.bounds
        left, top = west - margin_m, north + margin_m
        shape = (
            math.ceil((top - south + margin_m) / cell_m),
            math.ceil((east + margin_m - left) / cell_m),
        )
        return cls(CRS.from_user_input(plane.target_crs), left, top, cell_m, shape)

    def to_frame(self, xy: Float) -> Float:
        """Positions (N, 2) in the grid's CRS as metres in its frame."""
        return np.asarray((np.asarray(xy, np.float64) - (self.left, self.top)) * (1.0, -1.0))

    def to_plane(self, xy: Float) -> Float:
        """The inverse of `to_frame`."""
        return np.asarray(np.asarray(xy, np.float64) * (1.0, -1.0) + (self.left, self.top))

    def lonlat(self, xy: Float) -> Float:
        """Positions (N, 2) in the frame as longitude and latitude."""
        x, y = self._to_lonlat.transform(*self.to_plane(xy).T)
        return np.column_stack([x, y])

    def shape_in_frame(self, geometry: BaseGeometry) -> BaseGeometry:
        """A geometry in longitude and latitude in the frame."""
        move = Transformer.from_crs(_LONLAT, self.crs, always_xy=True)
        placed = shapely.transform(geometry, move.transform, interleaved=False)
        return shapely.transform(placed, self.to_frame)

    def centres_in(self, crs: Any) -> Float:
        """The centres of all cells in another CRS, (H, W, 2)."""
        move = Transformer.from_crs(self.crs, crs, always_xy=True)
        height, width = self.shape
        rows = _nodes(height * self.cell_m)
        columns = _nodes(width * self.cell_m)
        mesh = np.stack(np.meshgrid(columns, rows), axis=-1)
        x, y = move.transform(*self.to_plane(mesh.reshape(-1, 2)).T)
        nodes = np.stack([x, y], axis=-1).reshape(mesh.shape)
        down = _weights(rows, height, self.cell_m)
        across = _weights(columns, width, self.cell_m)
        return np.asarray(np.einsum("hr,rcd,wc->hwd", down, nodes, across, optimize=True))

    @cached_property
    def _to_lonlat(self) -> Transformer:
        return Transformer.from_crs(self.crs, _LONLAT, always_xy=True)


def _nodes(size_m: float) -> Float:
    return np.linspace(0.0, size_m, max(2, math.ceil(size_m / _NODES_M) + 1), dtype=np.float64)


def _weights(nodes: Float, cells: int, cell_m: float) -> Float:
    """How much each node counts in the linear interpolation at each cell's centre, (cells, nodes)."""
    at = (np.arange(cells) + 0.5) * cell_m
    weights: Float = np.maximum(0.0, 1.0 - np.abs(at[:, None] - nodes[None, :]) / (nodes[1] - nodes[0]))
    return weights
