"""One value for a grid of cells: its shape, where its cells lie, and in which reference system."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from affine import Affine
from numpy.typing import NDArray

__all__ = ["Grid"]


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
