"""A fine grid in metres over one area, on which what several images say of it is laid together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from shapely.geometry.base import BaseGeometry

from aoi.geodesy import local_metres

if TYPE_CHECKING:
    from aoi import AreaOfInterest

__all__ = ["PlaneGrid"]

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

    def shape_in_frame(self, geometry: BaseGeometry, crs: Any = _LONLAT) -> BaseGeometry:
        """A geometry of any CRS in the frame."""
        move = Transformer.from_crs(crs, self.crs, always_xy=True)
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
