"""Whether an image shows a railway where the tracks of an area run.

A cloud shows no wagons, and no railway either. An image without wagons on tracks that can be seen is an empty
yard; one on which no tracks can be seen says nothing of it. The network answers both in one pass: its map of
railways, covered by wagons or not, comes with the one of wagons.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Transformer

from aoi import AreaOfInterest
from aoi.geodesy import local_metres
from detector.wagons.decode import F32, STRIDE, Maps
from geo import Scene, Tile, TileGrid

__all__ = ["STEP_M", "RailwayWatch", "TrackSight"]

STEP_M = 4.0
"""Distance of the points on a track that are looked at."""

_BESIDE_M = np.arange(-6.0, 6.1, 2.0)  # a line drawn from a map and an orthorectified image lie so far apart
_ALONG = 7  # points: a railway goes on for 28 m, what looks like one in noise doesn't
_LEAST_RAILWAY_M2 = 100.0  # 20 m of one track
# On labelled real pictures 98 to 100% of the tracks under wagons reach this, under a closed cloud none does.
_PROBABILITY = 0.3


@dataclass(frozen=True, eq=False)
class TrackSight:
    """At which points of an area's tracks an image shows a railway or a wagon.

    Attributes:
        lonlat: ``(N, 2)`` points every `STEP_M` along the tracks, inside the boundary and on valid pixels.
        track: ``(N,)`` index of the area's track that each lies on.
        seen: ``(N,)`` whether a railway or wagons are seen along 28 m of it, within 6 m to either side.

    Example:
        >>> sight = TrackSight(np.zeros((4, 2)), np.zeros(4, int), np.array([True, False, False, False]))
        >>> sight.share, sight.unseen_m()
        (0.25, 12.0)
    """

    lonlat: NDArray[np.float64]
    track: NDArray[np.int64]
    seen: NDArray[np.bool_]

    @property
    def share(self) -> float | None:
        """Share (0 to 1) of the tracks' length along which a railway is seen; None without a track to see."""
        return float(self.seen.mean()) if len(self.seen) else None

    def unseen_m(self, rows: NDArray[np.bool_] | slice = slice(None)) -> float:
        """Metres of track along which none is seen, of all points or of some rows of them."""
        return float((~self.seen[rows]).sum()) * STEP_M


class RailwayWatch:
    """Sees the maps of all tiles of a scene, and remembers where there was a railway.

    Args:
        scene: The scene with north up.
        grid: Its tiles.
        area: Whose tracks are looked for, in longitude and latitude; None for no tracks.
    """

    def __init__(self, scene: Scene, grid: TileGrid, area: AreaOfInterest | None) -> None:
        self._railway_m2 = 0.0
        self._cell_m2 = (STRIDE * grid.gsd_m) ** 2
        self._points = _Points.of(area)
        count = len(self._points.part)
        self._said = np.full((count, len(_BESIDE_M)), np.nan)
        self._work = np.zeros((count, len(_BESIDE_M), 2))
        if count:
            place = Transformer.from_crs("OGC:CRS84", scene.crs, always_xy=True)
            xy = np.column_stack(place.transform(*self._points.lonlat.reshape(-1, 2).T))
            self._work = (scene.map_to_pixel(xy) / np.asarray(grid.scale_xy)).reshape(self._work.shape)

    def take(self, tile: Tile, maps: Maps[F32]) -> None:
        """Look at the maps of a tile, a batch of one."""
        logit = np.maximum(maps.track[0, 0], maps.mask[0, 0])
        some, seen = tile.image[::4, ::4], tile.valid[::4, ::4]
        some = (some.reshape(-1, 3) if seen.all() else some[seen]).astype(np.int16)
        # Of a picture of one colour, but for rounding, a network says anything.
        if (np.abs(some - some[:1]) <= 1).all():
            logit = np.full_like(logit, -np.inf)
        left, top = tile.window[:2]
        x0, y0, x1, y1 = tile.core
        rows = slice(max(0, (y0 - top) // STRIDE), -(-(y1 - top) // STRIDE))
        columns = slice(max(0, (x0 - left) // STRIDE), -(-(x1 - left) // STRIDE))
        railway = logit[rows, columns] >= np.log(_PROBABILITY / (1 - _PROBABILITY))
        self._railway_m2 += float(railway.sum()) * self._cell_m2
        x, y = self._work[..., 0], self._work[..., 1]
        mine = np.nonzero((x >= x0) & (x < x1) & (y >= y0) & (y < y1))
        column, row = (x[mine] - left).astype(np.int64), (y[mine] - top).astype(np.int64)
        with np.errstate(over="ignore"):
            said = 1 / (1 + np.exp(-logit[row // STRIDE, column // STRIDE].astype(np.float64)))
        self._said[mine] = np.where(tile.valid[row, column], said, np.nan)

    @property
    def found(self) -> bool:
        """Whether the tiles show a railway, or wagons, at all."""
        return self._railway_m2 >= _LEAST_RAILWAY_M2

    def tracks(self) -> TrackSight | None:
        """What was seen of the area's tracks; None without any on valid pixels."""
        known = np.isfinite(self._said)
        middle = known[:, len(_BESIDE_M) // 2]
        if not middle.any():
            return None
        seen = np.zeros(len(known), np.bool_)
        window = np.ones(_ALONG)
        for part in np.unique(self._points.part):
            rows = self._points.part == part
            each = zip(np.nan_to_num(self._said[rows]).T, known[rows].T.astype(np.float64), strict=True)
            means = [
                _along(values, window) / np.maximum(_along(there, window), 1.0) for values, there in each
            ]
            seen[rows] = np.max(means, axis=0) >= _PROBABILITY
        lonlat = self._points.lonlat[:, len(_BESIDE_M) // 2]
        return TrackSight(lonlat[middle], self._points.track[middle], seen[middle])


def _along(values: NDArray[np.float64], window: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums over the neighbours along a track, as many values as there are points."""
    return np.convolve(np.pad(values, len(window) // 2), window, mode="valid")


@dataclass(frozen=True, eq=False)
class _Points:
    """Points along tracks and beside them.

    Attributes:
        lonlat: ``(N, len(_BESIDE_M), 2)``, the middle one on the track.
        track: ``(N,)`` index of the area's track.
        part: ``(N,)`` number of the unbroken piece of track inside the boundary.
    """

    lonlat: NDArray[np.float64]
    track: NDArray[np.int64]
    part: NDArray[np.int64]

    @classmethod
    def of(cls, area: AreaOfInterest | None) -> _Points:
        """Those of an area, inside its boundary."""
        points, tracks, parts = [np.zeros((0, len(_BESIDE_M), 2))], [], []
        if area is not None and area.tracks:
            lay = local_metres(area.boundary)
            plane = area.to_crs(lay.target_crs)
            for number, track in enumerate(plane.tracks):
                for piece in shapely.get_parts(track.line.intersection(plane.boundary)):
                    at = np.arange(STEP_M / 2, piece.length, STEP_M)
                    if piece.geom_type != "LineString" or not len(at):
                        continue
                    xy, ahead = (
                        shapely.get_coordinates(shapely.line_interpolate_point(piece, at + step))
                        for step in (-0.5, 0.5)
                    )
                    beside = (ahead - xy)[:, ::-1] * (-1.0, 1.0)
                    beside /= np.maximum(np.hypot(*beside.T), 1e-9)[:, None]
                    xy = ((xy + ahead) / 2)[:, None] + beside[:, None] * _BESIDE_M[None, :, None]
                    east, north = xy.reshape(-1, 2).T
                    lonlat = lay.transform(east, north, direction="INVERSE")
                    points.append(np.column_stack(lonlat).reshape(xy.shape))
                    tracks += [number] * len(at)
                    parts += [len(points)] * len(at)
        return cls(np.concatenate(points), np.array(tracks, np.int64), np.array(parts, np.int64))
