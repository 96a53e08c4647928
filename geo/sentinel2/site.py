"""A yard in its own frame: 10 m cells along and across its tracks.

Yards are long and narrow and lie in any direction. Turned so that the tracks run along its rows, a yard
takes a few thousand cells instead of tens of thousands, and what looks at them need not learn every
direction. Each acquisition is brought there by one resampling, which also undoes its shift.

Grid coordinates have their origin at the outer corner of the first cell, x along the yard, y to the right
of x (downwards), in cells of 10 m.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, map_coordinates, spline_filter

from aoi import AreaOfInterest
from geo.grid import Grid
from geo.ground_metric import apply_affine
from geo.sentinel2.chip import PIXEL_M, chip_grid

MARGIN_CELLS = 14
"""Cells of ground beside the boundary that estimators see."""

STABLE_CELLS = 12_000
"""Cells of ground outside the yard that dates are laid over each other by, where the chips show so many."""
_MOST_SURROUNDINGS = 26  # cells beside the frame: what chips show beyond its own margin

TRACK_WIDTH_M = 3.2
"""Width of what stands on a track, metres.

Centre lines are drawn with it, which on sub-cells comes to about 6 m: what the weights have learned from.
"""

TRACK_REACH_M = 16.0
"""How far from its track a wagon still brightens or darkens a cell: the point spread and the map's error."""

_FINE = 8  # sub-cells a cell, each way, in which outlines are drawn
_SHIFT = 4  # fractional bits of OpenCV's drawing


def along_and_across(frame: Grid, east: float, south: float) -> tuple[float, float]:
    """A direction on a chip's grid as (along, across) in a yard's track-aligned frame."""
    t = frame.transform
    return t.a * east + t.d * south, t.b * east + t.e * south


def shadow_of_a_metre(frame: Grid, sun_azimuth_deg: float, sun_elevation_deg: float) -> tuple[float, float]:
    """The shadow of one metre of height, metres (along, across) in a yard's track-aligned frame."""
    length = 1.0 / math.tan(math.radians(max(sun_elevation_deg, 5.0)))
    azimuth = math.radians(sun_azimuth_deg)
    return along_and_across(frame, -math.sin(azimuth) * length, math.cos(azimuth) * length)


@dataclass(frozen=True)
class TrackAlignedBands:
    """A chip made ready to be sampled anywhere: spline coefficients, and where it has values.

    Attributes:
        coefficients: (bands, H, W) of a cubic spline through the pixels.
        valid: (H, W) share of valid pixels.
    """

    coefficients: NDArray[np.float64]
    valid: NDArray[np.float32]

    @classmethod
    def of(cls, reflectance: NDArray[np.float32]) -> TrackAlignedBands:
        """Prepare planes (bands, H, W) with NaN where there is no value."""
        known = np.isfinite(reflectance)
        valid = np.asarray(known.all(axis=0), dtype=np.float32)
        filled = []
        for plane, here in zip(reflectance, known, strict=True):
            # The middle value in the gaps: a spline rings less beside it than beside zero.
            middle = float(np.median(plane[here])) if here.any() else 0.0
            filled.append(spline_filter(np.where(here, plane, middle), order=3, mode="nearest"))
        return cls(np.stack(filled), valid)

    def sample(
        self,
        frame: Grid,
        dx: float = 0.0,
        dy: float = 0.0,
        beside: Sequence[tuple[float, float]] | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Values at the frame's cells, where the image lies (dx, dy) grid pixels beside its place.

        Args:
            frame: Of the yard.
            dx: Columns.
            dy: Rows.
            beside: (dx, dy) by which each band lies beside the image, grid pixels; not at all by default.

        Returns:
            (bands, h, w) reflectance, NaN where unknown, and (h, w) whether it is known.
        """
        x, y = frame.centres()
        at = np.stack([y - 0.5 + dy, x - 0.5 + dx])
        known = map_coordinates(self.valid, at, order=1, mode="constant", cval=0.0) > 0.999
        shifts = [(0.0, 0.0)] * len(self.coefficients) if beside is None else beside
        values = np.stack(
            [
                map_coordinates(c, at + np.array([[[sy]], [[sx]]]), order=3, mode="nearest", prefilter=False)
                for c, (sx, sy) in zip(self.coefficients, shifts, strict=True)
            ]
        ).astype(np.float32)
        values[:, ~known] = np.nan
        return values, known


def sample_nearest(
    plane: NDArray[np.uint8], frame: Grid, dx: float = 0.0, dy: float = 0.0
) -> NDArray[np.uint8]:
    """Classes at the frame's cells, by nearest neighbour; 0 outside."""
    x, y = frame.centres()
    column, row = np.floor(x + dx).astype(int), np.floor(y + dy).astype(int)
    inside = (column >= 0) & (row >= 0) & (column < plane.shape[1]) & (row < plane.shape[0])
    out = np.zeros(frame.shape, np.uint8)
    out[inside] = plane[row[inside], column[inside]]
    return out


@dataclass(frozen=True)
class Site:
    """An area of interest as the estimators see it: its frame and what lies in it.

    Attributes:
        name: of the area.
        grid: the chip grid.
        frame: the yard's frame on it.
        boundary: (h, w) share of each cell inside the boundary.
        tracks: (4, h, w) share of each quarter cell (upper left, upper right, lower left, lower right) that
            lies on a track; zero without track lines.
        has_tracks: whether the area has track lines.
        zones: by zone id, (h, w) share of each cell inside the zone.
        area: the area, or None for a simulated site.
    """

    name: str
    grid: Grid
    frame: Grid
    boundary: NDArray[np.float32]
    tracks: NDArray[np.float32]
    has_tracks: bool
    zones: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    area: AreaOfInterest | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, area: AreaOfInterest) -> Site:
        """The site of an area in longitude and latitude."""
        grid = chip_grid(area)
        plane = area.to_crs(grid.crs)
        to_pixels = ~grid.transform

        def pixels(shape: shapely.Geometry) -> shapely.Geometry:
            return shapely.transform(shape, lambda xy: apply_affine(to_pixels, xy))

        outline = pixels(plane.boundary)
        lines = [pixels(track.line) for track in plane.tracks]
        frame = frame_of(outline, lines)
        zones = {zone.id: draw_polygon(pixels(zone.polygon), frame) for zone in plane.zones}
        return cls(
            name=area.name,
            grid=grid,
            frame=frame,
            boundary=draw_polygon(outline, frame),
            tracks=draw_tracks(lines, frame),
            has_tracks=bool(lines),
            zones=zones,
            area=area,
        )

    @cached_property
    def inside(self) -> NDArray[np.bool_]:
        """(h, w) cells of which half or more lie inside the boundary; of a sliver of one, all it touches."""
        half = self.boundary >= 0.5
        return half if half.any() else self.boundary > 0

    @cached_property
    def region(self) -> NDArray[np.float32]:
        """(h, w) weight with which a cell's wagons count: near a track, where there are any, and inside."""
        if not self.has_tracks:
            return self.boundary
        on_track = (self.tracks.max(axis=0) > 0).astype(np.uint8)
        away = cv2.distanceTransform(1 - on_track, cv2.DIST_L2, 5) * PIXEL_M
        near = np.clip((TRACK_REACH_M + 5.0 - away) / 10.0, 0.0, 1.0)
        return np.asarray(np.minimum(near, _grown(self.boundary)), dtype=np.float32)

    @cached_property
    def shares(self) -> Mapping[str, NDArray[np.float32]]:
        """By zone id, (h, w) share of what a cell holds that is the zone's.

        Wagons at the boundary show in cells beside it, which belong to the zones of the nearest cell inside.
        Zones that cover the boundary share everything out between them.
        """
        if not self.zones:
            return {}
        together = np.sum(list(self.zones.values()), axis=0)
        whole = np.maximum(np.maximum(self.boundary, together), 1e-6)
        nearest = distance_transform_edt(self.boundary <= 0, return_distances=False, return_indices=True)
        rows, columns = nearest
        return {
            name: np.asarray((fraction / whole)[rows, columns], dtype=np.float32)
            for name, fraction in self.zones.items()
        }

    @cached_property
    def yard(self) -> NDArray[np.bool_]:
        """(h, w) cells whose change may be wagons: never used to lay dates over each other."""
        if self.has_tracks:
            return np.asarray(self.region > 0)
        return np.asarray(self.boundary > 0)

    @cached_property
    def ring(self) -> NDArray[np.bool_]:
        """(h, w) the ground around the yard."""
        return np.asarray(_grown(self.yard.astype(np.float32)) == 0)

    @cached_property
    def area_on_grid(self) -> AreaOfInterest | None:
        """The area in the grid's CRS; None for a simulated site."""
        return None if self.area is None else self.area.to_crs(self.grid.crs)

    @cached_property
    def track_m(self) -> float | None:
        """Length of track inside the boundary, metres; None where that isn't known."""
        if self.area_on_grid is None or not self.has_tracks:
            return None
        plane = self.area_on_grid
        return float(sum(track.line.intersection(plane.boundary).length for track in plane.tracks))

    @cached_property
    def rim(self) -> int:
        """Cells by which the surroundings reach beyond the frame on each side: as many as it needs."""
        h, w = self.frame.shape
        yard = int(self.yard.sum())
        enough = (m for m in range(_MOST_SURROUNDINGS) if (h + 2 * m) * (w + 2 * m) - yard >= STABLE_CELLS)
        return next(enough, _MOST_SURROUNDINGS)

    @cached_property
    def surroundings(self) -> Grid:
        """The frame that dates are laid over each other in: the yard's with the ground around it."""
        return self.frame.grown(self.rim)

    @property
    def core(self) -> tuple[slice, slice]:
        """Where the yard's frame lies in its surroundings."""
        h, w = self.frame.shape
        return slice(self.rim, self.rim + h), slice(self.rim, self.rim + w)

    def around(self, mask: NDArray[np.bool_], *, fill: bool) -> NDArray[np.bool_]:
        """A mask (h, w) of the frame on the cells of its surroundings."""
        return np.pad(mask, self.rim, constant_values=fill)

    def hidden(self, day: dt.date) -> NDArray[np.float32]:
        """(h, w) share of each cell under a mask (a canopy) that is active on a day."""
        masks = self.area.masks if self.area is not None else ()
        active = frozenset(number for number, mask in enumerate(masks) if mask.active_on(day))
        if self.area_on_grid is None or not active:
            return np.zeros(self.frame.shape, np.float32)
        if active not in self._hidden:
            shape = self.area_on_grid.hidden_on(day)
            to_pixels = ~self.grid.transform
            self._hidden[active] = draw_polygon(
                shapely.transform(shape, lambda xy: apply_affine(to_pixels, xy)), self.frame
            )
        return self._hidden[active].copy()

    @cached_property
    def _hidden(self) -> dict[frozenset[int], NDArray[np.float32]]:
        """What masks hide, by which of them are active: the same on nearly all days."""
        return {}


def _grown(fraction: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shares spread by a cell: a wagon at the boundary shows beyond it."""
    return np.asarray(cv2.dilate(fraction, np.ones((3, 3), np.uint8)), dtype=np.float32)


def frame_of(outline: shapely.Geometry, lines: Sequence[shapely.LineString]) -> Grid:
    """The frame of a yard: along its tracks, or along its outline where it has none.

    Args:
        outline: The boundary in grid pixels.
        lines: Track centre lines in grid pixels.
    """
    turn = _direction(lines) if lines else _long_side(outline)
    u = np.array([math.cos(turn), math.sin(turn)])
    v = np.array([-u[1], u[0]])
    corners = shapely.get_coordinates(shapely.convex_hull(outline))
    along, across = corners @ u, corners @ v
    low = np.floor([along.min() - MARGIN_CELLS, across.min() - MARGIN_CELLS])
    high = np.ceil([along.max() + MARGIN_CELLS, across.max() + MARGIN_CELLS])
    origin = low[0] * u + low[1] * v
    shape = int(high[1] - low[1]), int(high[0] - low[0])
    return Grid(shape, Affine(u[0], v[0], origin[0], u[1], v[1], origin[1]))


def _direction(lines: Sequence[shapely.LineString]) -> float:
    """The mean direction of lines, radians in (-pi/2, pi/2]: of doubled angles, weighted by length."""
    total = 0j
    for line in lines:
        steps = np.diff(shapely.get_coordinates(line), axis=0)
        length = np.hypot(steps[:, 0], steps[:, 1])
        total += complex((length * np.exp(2j * np.arctan2(steps[:, 1], steps[:, 0]))).sum())
    return float(np.angle(total)) / 2


def _long_side(outline: shapely.Geometry) -> float:
    ring = shapely.get_coordinates(shapely.minimum_rotated_rectangle(outline))
    sides = np.diff(ring[:3], axis=0)
    longest = sides[np.hypot(sides[:, 0], sides[:, 1]).argmax()]
    turn = math.atan2(longest[1], longest[0])
    # A line has no head: both ways give the same frame.
    return (turn + math.pi / 2) % math.pi - math.pi / 2


def _to_fine(xy: NDArray[np.float64], frame: Grid) -> NDArray[np.int32]:
    """Grid pixel coordinates (N, 2) as OpenCV's fixed-point coordinates of sub-cells."""
    fine = apply_affine(~frame.transform, xy) * _FINE - 0.5
    return np.asarray(np.round(fine * (1 << _SHIFT)), dtype=np.int32)


def draw_polygon(shape: shapely.Geometry, frame: Grid) -> NDArray[np.float32]:
    """The share of each cell that lies in a polygon given in grid pixels, (h, w)."""
    h, w = frame.shape
    canvas = np.zeros((h * _FINE, w * _FINE), np.uint8)
    for part in shapely.get_parts(shape):
        if part.is_empty or part.geom_type != "Polygon":
            continue
        rings = [_to_fine(shapely.get_coordinates(r), frame) for r in (part.exterior, *part.interiors)]
        one = np.zeros_like(canvas)
        cv2.fillPoly(one, rings, 1, lineType=cv2.LINE_8, shift=_SHIFT)
        canvas |= one
    return np.asarray(
        cv2.resize(canvas.astype(np.float32), (w, h), interpolation=cv2.INTER_AREA), dtype=np.float32
    )


def draw_tracks(lines: Sequence[shapely.LineString], frame: Grid) -> NDArray[np.float32]:
    """The share of each quarter cell on one of the tracks, given in grid pixels, (4, h, w)."""
    h, w = frame.shape
    canvas = np.zeros((h * _FINE, w * _FINE), np.uint8)
    thick = max(1, round(TRACK_WIDTH_M / PIXEL_M * _FINE))
    for line in lines:
        points = _to_fine(shapely.get_coordinates(line), frame)
        cv2.polylines(canvas, [points], False, 1, thick, cv2.LINE_8, _SHIFT)
    halves = cv2.resize(canvas.astype(np.float32), (2 * w, 2 * h), interpolation=cv2.INTER_AREA)
    quarters = halves.reshape(h, 2, w, 2).transpose(1, 3, 0, 2).reshape(4, h, w)
    return np.ascontiguousarray(quarters, dtype=np.float32)
