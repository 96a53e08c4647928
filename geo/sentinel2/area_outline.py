"""An area's boundary in the reference systems of products."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely
from rasterio.crs import CRS

from aoi.errors import AreaError

if TYPE_CHECKING:
    from aoi import AreaOfInterest

__all__ = ["boundary_in"]


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
