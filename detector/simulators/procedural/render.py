"""Draw a scene finely: colours and heights from above, then sun shadows and lean from the heights."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.simulators.procedural.roofs import prop_patch, wagon_patch
from detector.simulators.procedural.sheet import Patch, noise, streaks
from detector.simulators.procedural.spec import (
    Area,
    Colour,
    Ground,
    Marking,
    Point,
    Prop,
    SceneSpec,
    Sun,
    Surface,
    TrackSpec,
    ViewGeometry,
    encode,
    ramp_table,
    rgb,
)

if TYPE_CHECKING:
    from detector.simulators.backgrounds import BackgroundLibrary

FINE_M = 0.2  # metres per pixel of the fine drawing
_WHITE = (255.0, 255.0, 255.0, 255.0)

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]


@dataclass(frozen=True)
class FineScene:
    """A finely drawn scene before any sensor saw it.

    Attributes:
        rgb: (H, W, 3) uint8 drawing values (square root of reflectance, see `spec.encode`).
        metres_per_px: size of a pixel.
        spec: what was drawn.
        lean_m: image displacement (x, y) in metres per metre of height.
        visibility: (N,) share of each vehicle's outline that shows in the picture, in the order of
            `spec.wagons`.
    """

    rgb: U8
    metres_per_px: float
    spec: SceneSpec
    lean_m: tuple[float, float]
    visibility: NDArray[np.float64]


def _mask(condition: NDArray[np.bool_]) -> U8:
    """A condition as the mask OpenCV wants."""
    return condition.view(np.uint8)


_BLOCK = 120  # pixels


def _blocks(mask: U8) -> Iterator[tuple[slice, slice]]:
    """Windows that hold all that is set in a mask: a diagonal strip fills little of its rectangle."""
    h, w = mask.shape
    for y in range(0, h, _BLOCK):
        for x in range(0, w, _BLOCK):
            window = (slice(y, min(y + _BLOCK, h)), slice(x, min(x + _BLOCK, w)))
            if cv2.countNonZero(mask[window]):
                yield window


class _Texture:
    """A surface over a rectangle, drawn part by part: noise (or streaks) looked up in its ramp."""

    def __init__(self, surface: Surface, h: int, w: int) -> None:
        self.coarse = noise("patchy", surface.seed, h, w)
        if surface.streak_deg is not None:
            self.fine = streaks(surface.streak_deg, surface.seed, h, w)
        else:
            self.fine = noise("rough", surface.seed >> 7, h, w)
        c = 1.6 * surface.contrast
        self.weights = (c * surface.coarse, c * (1.0 - surface.coarse), 128.0 * (1.0 - c))
        self.table = ramp_table(surface)

    def part(self, window: tuple[slice, slice]) -> U8:
        """The drawing values in a window."""
        a, b, c = self.weights
        index = cv2.addWeighted(self.coarse[window], a, self.fine[window], b, c)
        return np.asarray(cv2.applyColorMap(index, self.table), dtype=np.uint8)


class _Fitted(NamedTuple):
    """A patch at about the canvas's resolution, with its pixels per metre along and across.

    `rgba` has a border of one transparent pixel, so that its edge is anti-aliased when it is turned.
    """

    rgba: U8
    height: F32
    px_per_m_x: float
    px_per_m_y: float


def _fit(patch: Patch, metres_per_px: float) -> _Fitted:
    """Shrink a patch by area average to the canvas's resolution, so that turning it doesn't alias."""
    h, w = patch.height.shape
    shrink = patch.px_per_m * metres_per_px
    alpha = np.full((h, w), 255, np.uint8) if patch.alpha is None else patch.alpha
    size = (w, h)
    if shrink > 1.5 and min(h, w) > 3:
        size = (max(2, round(w / shrink)), max(2, round(h / shrink)))

    def fit(values: NDArray[Any]) -> NDArray[Any]:
        small = values if size == (w, h) else cv2.resize(values, size, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.copyMakeBorder(small, 1, 1, 1, 1, cv2.BORDER_REPLICATE))

    opacity = fit(alpha)
    opacity[[0, -1]] = 0
    opacity[:, [0, -1]] = 0
    rgba = np.concatenate([fit(patch.rgb), opacity[..., None]], axis=2)
    return _Fitted(rgba, fit(patch.height), patch.px_per_m * size[0] / w, patch.px_per_m * size[1] / h)


class _FineCanvas:
    """Colours, heights and owners of the pixels of a scene."""

    def __init__(self, size_m: tuple[float, float], metres_per_px: float, sun: Sun) -> None:
        self.mpp = metres_per_px
        self.sun = sun
        self.w = max(8, round(size_m[0] / metres_per_px))
        self.h = max(8, round(size_m[1] / metres_per_px))
        self.rgb: U8 = np.zeros((self.h, self.w, 3), np.uint8)
        self.height: F32 = np.zeros((self.h, self.w), np.float32)
        self.owner: NDArray[np.int16] = np.full((self.h, self.w), -1, np.int16)

    # ------------------------------------------------------------------ ground

    def px(self, points: tuple[Point, ...] | NDArray[np.float64]) -> NDArray[np.int32]:
        """Metres to fixed-point pixel indices (4 fractional bits) as OpenCV draws them."""
        return np.rint((np.asarray(points) / self.mpp - 0.5) * 16.0).astype(np.int32)

    def texture(self, surface: Surface, h: int, w: int) -> U8:
        """A piece of a surface."""
        return _Texture(surface, h, w).part(np.s_[0:h, 0:w])

    def fill(
        self, mask: U8, x: int, y: int, surface: Surface, rough_m: float = 0.0, height_m: float = 0.0
    ) -> None:
        """Lay a surface where a mask with its corner at (x, y) is set; a rough edge is frayed by noise."""
        h, w = mask.shape
        if rough_m > 0.0:
            k = 2 * math.ceil(rough_m / self.mpp) + 1
            soft = cv2.blur(mask, (k, k), borderType=cv2.BORDER_REPLICATE)
            edge = noise("cloudy", surface.seed >> 3, h, w)
            mask = _mask(np.asarray(cv2.addWeighted(soft, 1.0, edge, 0.6, -76.0)) > 127)
        texture = _Texture(surface, h, w)
        for block in _blocks(mask):
            rows, cols = block
            target = np.s_[y + rows.start : y + rows.stop, x + cols.start : x + cols.stop]
            cv2.copyTo(texture.part(block), mask[block], self.rgb[target])
            # Also back to level ground: what grew here is gone, and so is its shadow.
            self.height[target][mask[block] > 0] = height_m

    def window(self, points: NDArray[np.int32], pad_px: int) -> tuple[int, int, int, int] | None:
        """The part of the canvas (x, y, width, height) that holds some fixed-point points and a margin."""
        low = points.min(axis=0) // 16 - pad_px
        high = points.max(axis=0) // 16 + pad_px + 2
        x0, y0 = max(int(low[0]), 0), max(int(low[1]), 0)
        x1, y1 = min(int(high[0]), self.w), min(int(high[1]), self.h)
        return (x0, y0, x1 - x0, y1 - y0) if x1 > x0 and y1 > y0 else None

    def draw(self, item: Ground) -> None:
        """One piece of ground."""
        if isinstance(item, Marking):
            self.mark(item)
            return
        pad = math.ceil(item.rough_m / self.mpp)
        area = isinstance(item, Area)
        points = self.px(item.polygon if isinstance(item, Area) else item.line)
        thick = 1 if isinstance(item, Area) else max(1, round(item.width_m / self.mpp))
        at = self.window(points, pad + thick // 2 + 1)
        if at is None:
            return
        x, y, w, h = at
        mask = np.zeros((h, w), np.uint8)
        points = points - np.array([x * 16, y * 16], dtype=np.int32)
        if area:
            cv2.fillPoly(mask, [points], _WHITE, cv2.LINE_8, 4)
        else:
            cv2.polylines(mask, [points], False, _WHITE, thick, cv2.LINE_8, 4)
        if isinstance(item, Area) and item.bump_m > 0.0:
            self.grow(mask, x, y, item)
        else:
            self.fill(mask, x, y, item.surface, item.rough_m, item.height_m)

    def grow(self, mask: U8, x: int, y: int, item: Area) -> None:
        """Crowns or scrub over part of an area, with the relief's own light and shade."""
        h, w = mask.shape
        lumps = noise("lumps", item.surface.seed, h, w)
        texture = _Texture(item.surface, h, w)
        level = 128.0 + 105.0 * (0.5 - item.cover)
        rise = np.sqrt(np.clip((np.arange(256) - level) / 60.0, 0.0, 1.0)).astype(np.float32)
        azimuth = math.radians(self.sun.azimuth_deg)
        ox, oy = round(2.0 * math.sin(azimuth)), round(-2.0 * math.cos(azimuth))  # towards the sun
        slope = np.float32(0.55 * item.bump_m / (math.hypot(ox, oy) * self.mpp))
        for block in _blocks(mask):
            part = np.asarray(cv2.LUT(lumps[block], rise), dtype=np.float32)
            there = _mask((part > 0.0) & (mask[block] > 0))
            if not cv2.countNonZero(there):
                continue
            sunward = part.copy()
            to, source = _overlap(part.shape[0], part.shape[1], -ox, -oy)
            sunward[to] = part[source]
            light = np.minimum(np.maximum((part - sunward) * slope + 1.0, 0.45), 1.4) * (part * 0.28 + 0.72)
            tone = np.asarray(light * np.float32(128.0), dtype=np.uint8)
            leaves = cv2.multiply(texture.part(block), cv2.merge([tone, tone, tone]), scale=1.0 / 128.0)
            rows, cols = block
            target = np.s_[y + rows.start : y + rows.stop, x + cols.start : x + cols.stop]
            cv2.copyTo(leaves, there, self.rgb[target])
            height = self.height[target]
            cv2.copyTo(np.maximum(height, part * np.float32(item.bump_m)), there, height)

    def mark(self, item: Marking) -> None:
        """A thin line, solid or dashed."""
        points = np.asarray(item.line)
        thick = max(1, round(item.width_m / self.mpp))
        pieces: list[NDArray[np.float64]] = [points]
        if item.dash_m > 0.0:
            pieces = _dashes(points, item.dash_m, item.gap_m)
        if not pieces:
            return
        drawn = [self.px(p) for p in pieces]
        at = self.window(np.vstack(drawn), thick)
        if at is None:
            return
        x, y, w, h = at
        mask = np.zeros((h, w), np.uint8)
        corner = np.array([x * 16, y * 16], dtype=np.int32)
        cv2.polylines(mask, [p - corner for p in drawn], False, _WHITE, thick, cv2.LINE_AA, 4)
        self.blend(mask, item.colour, item.strength, x, y)

    def blend(self, mask: U8, colour: Colour, strength: float, x: int = 0, y: int = 0) -> None:
        """Mix a colour in where a mask with its corner at (x, y) is set."""
        h, w = mask.shape
        part = self.rgb[y : y + h, x : x + w]
        tone = encode(colour).astype(np.float32)
        for block in _blocks(mask):
            rows, cols = np.nonzero(mask[block])
            piece = part[block]
            alpha = (mask[block][rows, cols].astype(np.float32) * np.float32(strength / 255.0))[:, None]
            old = piece[rows, cols].astype(np.float32)
            piece[rows, cols] = (old + (tone - old) * alpha).astype(np.uint8)

    # ------------------------------------------------------------------ tracks

    def track_beds(self, tracks: tuple[TrackSpec, ...]) -> None:
        """Ballast, weeds, stains and sleepers of all tracks."""
        groups: dict[int, list[TrackSpec]] = {}
        for track in tracks:
            groups.setdefault(track.ballast.seed, []).append(track)
        for group in groups.values():
            mask = np.zeros((self.h, self.w), np.uint8)
            for track in group:
                thick = max(1, round(track.ballast_width_m / self.mpp))
                cv2.polylines(mask, [self.px(track.line)], False, _WHITE, thick, cv2.LINE_8, 4)
            self.fill(mask, 0, 0, group[0].ballast, 0.5)
        tone = np.full((self.h, self.w), 128, np.uint8)
        for track in tracks:
            rng = np.random.default_rng([track.ballast.seed, track.id, 5])
            for piece in _chunks(np.asarray(track.line), rng):
                value = 128.0 * (1.0 - track.stain * rng.uniform(0.4, 1.1))
                value *= 1.0 + track.blotchy * rng.uniform(-0.5, 0.5)
                wide = rng.uniform(0.7, 1.2 + track.blotchy)
                width = max(1, round(track.gauge_mm / 1000.0 * wide / self.mpp))
                cv2.polylines(
                    tone, [self.px(piece)], False, int(np.clip(value, 30, 250)), width, cv2.LINE_8, 4
                )
        tone = np.asarray(cv2.blur(tone, (3, 3)), dtype=np.uint8)
        for track in tracks:
            if track.sleepers == "hidden" or abs(track.sleeper_contrast) < 0.04:
                continue
            rng = np.random.default_rng([track.ballast.seed, track.id, 6])
            half = rng.uniform(1.2, 1.4) * (track.gauge_mm / 1435.0)
            pitch = rng.uniform(0.54, 0.66)
            centres, normals = _along(np.asarray(track.line), pitch, (self.w * self.mpp, self.h * self.mpp))
            ends = np.stack([centres - normals * half, centres + normals * half], axis=1)
            value = int(np.clip(128.0 * (1.0 + track.sleeper_contrast), 20, 250))
            cv2.polylines(tone, list(self.px(ends)), False, value, 1, cv2.LINE_AA, 4)
        x, y, w, h = cv2.boundingRect(_mask(tone != 128))
        if w and h:
            at = np.s_[y : y + h, x : x + w]
            cv2.multiply(self.rgb[at], cv2.merge([tone[at]] * 3), self.rgb[at], 1.0 / 128.0)
        for track in tracks:
            if track.overgrown > 0.0:
                self.weeds(track)

    def weeds(self, track: TrackSpec) -> None:
        """Plants over the bed."""
        mask = np.zeros((self.h, self.w), np.uint8)
        thick = max(1, round(track.ballast_width_m / self.mpp))
        cv2.polylines(mask, [self.px(track.line)], False, _WHITE, thick, cv2.LINE_8, 4)
        x, y, w, h = cv2.boundingRect(mask)
        if w == 0 or h == 0:
            return
        at = np.s_[y : y + h, x : x + w]
        field = noise("cloudy", track.ballast.seed + 77 * track.id, h, w)
        cover = _mask((mask[at] > 0) & (field > 255.0 * (1.0 - track.overgrown)))
        weeds = Surface(
            ("grass_pale", "scrub", "grass"), 1.0, 0.5, None, (1.0, 1.0, 1.0), track.ballast.seed + 3
        )
        cv2.copyTo(self.texture(weeds, h, w), cover, self.rgb[at])

    def rails(self, tracks: tuple[TrackSpec, ...]) -> None:
        """Rails over everything else on the bed, each with the thin shadow of its web."""
        for track in tracks:
            rng = np.random.default_rng([track.ballast.seed, track.id, 7])
            line = np.asarray(track.line)
            normal = _normals(line)
            half = track.gauge_mm / 2000.0 + 0.035
            if track.rail == "shiny":
                colour: Colour = (0.45, 0.45, 0.46)
                strength = rng.uniform(0.2, 0.7)
            elif track.rail == "used":
                colour = (0.24, 0.23, 0.23)
                strength = rng.uniform(0.15, 0.55)
            else:
                colour = (0.085, 0.060, 0.045)
                strength = rng.uniform(0.3, 0.8)
            strength *= 1.0 - 0.6 * track.overgrown
            mask = np.zeros((self.h, self.w), np.uint8)
            sides = [self.px(line + normal * half), self.px(line - normal * half)]
            cv2.polylines(mask, [p + 12 for p in sides], False, _WHITE, 1, cv2.LINE_AA, 4)
            self.blend(mask, (0.02, 0.02, 0.02), 0.3 * strength)
            mask[:] = 0
            cv2.polylines(mask, sides, False, _WHITE, 1, cv2.LINE_AA, 4)
            self.blend(mask, colour, strength)

    # ------------------------------------------------------------------ objects

    def paste(self, patch: _Fitted, x_m: float, y_m: float, angle_deg: float, owner: int = -1) -> None:
        """Put a patch down, its centre at a place, its +x turned by the angle."""
        rgba, height, scale_x, scale_y = patch
        h, w = height.shape
        sx, sy = 1.0 / (scale_x * self.mpp), 1.0 / (scale_y * self.mpp)
        t = math.radians(angle_deg)
        a, b, c, d = math.cos(t) * sx, -math.sin(t) * sy, math.sin(t) * sx, math.cos(t) * sy
        cx, cy = x_m / self.mpp - 0.5, y_m / self.mpp - 0.5
        u, v = (w - 1) / 2.0, (h - 1) / 2.0
        ex = abs(a) * (u + 1) + abs(b) * (v + 1)
        ey = abs(c) * (u + 1) + abs(d) * (v + 1)
        x0, x1 = max(math.floor(cx - ex), 0), min(math.ceil(cx + ex) + 1, self.w)
        y0, y1 = max(math.floor(cy - ey), 0), min(math.ceil(cy + ey) + 1, self.h)
        if x1 <= x0 or y1 <= y0:
            return
        matrix = np.array([[a, b, cx - a * u - b * v - x0], [c, d, cy - c * u - d * v - y0]])
        size = (x1 - x0, y1 - y0)
        turned = cv2.warpAffine(rgba, matrix, size, borderMode=cv2.BORDER_REPLICATE)
        colours, cover = turned[..., :3], turned[..., 3]
        heights = cv2.warpAffine(height, matrix, size, borderMode=cv2.BORDER_REPLICATE)
        at = np.s_[y0:y1, x0:x1]
        solid = cover > 127
        if size[0] * size[1] < 20000:
            old = self.rgb[at].astype(np.float32)
            old += (colours - old) * (cover * np.float32(1.0 / 255.0))[..., None]
            self.rgb[at] = old.astype(np.uint8)
        else:
            cv2.copyTo(colours, _mask(solid), self.rgb[at])
        np.copyto(self.height[at], heights, where=solid)
        self.owner[at][solid] = owner

    def couplers(self, spec: SceneSpec) -> None:
        """Dark drawbars between coupled vehicles, so that a gap isn't clean ground."""
        for consist in spec.consists:
            for first, second in zip(consist.wagons, consist.wagons[1:], strict=False):
                line = ((first.x_m, first.y_m), (second.x_m, second.y_m))
                if math.hypot(line[0][0] - line[1][0], line[0][1] - line[1][1]) > 40.0:
                    continue
                p = self.px(line)
                cv2.line(self.rgb, tuple(p[0]), tuple(p[1]), (48, 44, 42), 3, cv2.LINE_AA, 4)
                cv2.line(self.height, tuple(p[0]), tuple(p[1]), 0.9, 2, cv2.LINE_8, 4)

    # ------------------------------------------------------------------ light and view

    def shadows(self, sun: Sun, haze: float, seed: int) -> None:
        """Darken what the sun can't see, by doubling steps over the height map.

        After k steps each pixel knows the highest obstacle within 2^k pixels towards the sun, lowered by the
        sun's slope; where that exceeds its own height it lies in shadow, on the ground as on a neighbour's
        roof.
        """
        slope = math.tan(math.radians(sun.elevation_deg))
        top = float(self.height.max())
        if top <= 0.1:
            return
        azimuth = math.radians(sun.azimuth_deg)
        dx, dy = -math.sin(azimuth), math.cos(azimuth)  # direction in which shadows fall
        reach = self.height.copy()
        step = 1.0
        while step * self.mpp * slope < top:
            ox, oy = round(dx * step), round(dy * step)
            drop = np.float32(math.hypot(ox, oy) * self.mpp * slope)
            to, source = _overlap(self.h, self.w, ox, oy)
            np.maximum(reach[to], reach[source] - drop, out=reach[to])
            step *= 2.0
        amount = np.clip((reach - self.height - 0.06) * 5.0, 0.0, 1.0)
        shade = cv2.blur((amount * 255.0).astype(np.uint8), (3, 3))
        rng = np.random.default_rng([seed, 3])
        sky = np.clip(rng.uniform(0.10, 0.26) + 0.35 * haze, 0.0, 0.8)
        tints = np.sqrt(np.array([sky * 0.88, sky, sky * 1.22]))
        levels = np.arange(256)[:, None] / 255.0
        table = (255.0 * (1.0 - levels * (1.0 - tints[None, :]))).astype(np.uint8)[:, None, :]
        cv2.multiply(self.rgb, cv2.applyColorMap(shade, table), self.rgb, 1.0 / 255.0)

    def lean(self, view: ViewGeometry, sun: Sun) -> tuple[float, float]:
        """Lean everything over as an oblique view does; returns the displacement in metres per metre."""
        tangent = math.tan(math.radians(view.off_nadir_deg))
        azimuth = math.radians(view.azimuth_deg)
        vx, vy = math.sin(azimuth) * tangent, -math.cos(azimuth) * tangent
        top = float(self.height.max())
        if tangent * top < self.mpp:
            return (vx, vy)
        rise = self.mpp / tangent  # height over which the image shifts by one pixel
        level = np.clip(np.rint(self.height / rise), 0, 250).astype(np.uint8)
        facing = -math.cos(math.radians(sun.azimuth_deg - view.azimuth_deg))
        e = math.radians(max(sun.elevation_deg, 15.0))
        light = math.sqrt(min(0.28 + 0.72 * max(facing, 0.0) / math.tan(e), 1.3))
        side = cv2.convertScaleAbs(self.rgb, alpha=light * 0.92)
        out, owners = self.rgb.copy(), self.owner.copy()
        # A pixel with no height is seen only where nothing stands before it: start from the ground.
        for k in range(1, int(level.max()) + 1):
            ox, oy = round(vx / tangent * k), round(vy / tangent * k)
            to, source = _overlap(self.h, self.w, ox, oy)
            part = level[source]
            wall = _mask(part > k)
            roof = _mask(part == k)
            cv2.copyTo(side[source], wall, out[to])
            cv2.copyTo(self.rgb[source], roof, out[to])
            cv2.copyTo(self.owner[source], _mask(part >= k), owners[to])
        self.rgb, self.owner = out, owners
        return (vx, vy)


def _overlap(h: int, w: int, ox: int, oy: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Target and source windows for a shift by (ox, oy) pixels."""
    to = (slice(max(oy, 0), min(h, h + oy)), slice(max(ox, 0), min(w, w + ox)))
    source = (slice(max(-oy, 0), min(h, h - oy)), slice(max(-ox, 0), min(w, w - ox)))
    return to, source


def _normals(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit normals at the points of a polyline."""
    tangent = np.gradient(line, axis=0)
    tangent /= np.maximum(np.hypot(tangent[:, 0], tangent[:, 1]), 1e-9)[:, None]
    return np.stack([-tangent[:, 1], tangent[:, 0]], axis=-1)


def _resample(line: NDArray[np.float64], s: NDArray[np.float64]) -> NDArray[np.float64]:
    steps = np.hypot(*np.diff(line, axis=0).T)
    chain = np.concatenate([[0.0], np.cumsum(steps)])
    return np.stack([np.interp(s, chain, line[:, 0]), np.interp(s, chain, line[:, 1])], axis=-1)


def _length(line: NDArray[np.float64]) -> float:
    return float(np.hypot(*np.diff(line, axis=0).T).sum())


def _along(
    line: NDArray[np.float64], pitch: float, size_m: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points at a pitch along a line, with normals, those outside the scene left out."""
    points = _resample(line, np.arange(0.0, _length(line), pitch))
    normals = _normals(points) if len(points) > 1 else np.zeros_like(points)
    keep = (points > -2.0).all(axis=1) & (points[:, 0] < size_m[0] + 2.0) & (points[:, 1] < size_m[1] + 2.0)
    return points[keep], normals[keep]


def _chunks(line: NDArray[np.float64], rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """Cut a line into pieces of 12 to 60 m."""
    total = _length(line)
    cuts = [0.0]
    while cuts[-1] < total:
        cuts.append(cuts[-1] + rng.uniform(12.0, 60.0))
    return [_resample(line, np.linspace(a, min(b, total), 6)) for a, b in itertools.pairwise(cuts)]


def _dashes(line: NDArray[np.float64], dash: float, gap: float) -> list[NDArray[np.float64]]:
    starts = np.arange(0.0, _length(line), dash + gap)
    return [_resample(line, np.array([s, s + dash])) for s in starts]


def _snow_cover(canvas: _FineCanvas, spec: SceneSpec, share: float) -> None:
    """Snow where a noise field is high; `share` 0-1."""
    if share <= 0.02:
        return
    field = noise("patchy", spec.seed >> 4, canvas.h, canvas.w)
    fine = noise("cloudy", spec.seed >> 9, canvas.h, canvas.w)
    mixed = cv2.addWeighted(field, 0.5, fine, 0.5, 0.0)
    # Thin at its edges: the ground shows through where the field is little above the level.
    depth = np.clip((np.arange(256) - 255.0 * (1.0 - share) * 0.92) / 26.0, 0.0, 1.0).astype(np.float32)
    cover = np.asarray(cv2.LUT(mixed, depth), dtype=np.float32)
    snow = Surface(("snow_old", "snow", "snow"), 1.0, 0.6, None, (1.0, 1.0, 1.0), spec.seed & 0xFFFFF)
    white = canvas.texture(snow, canvas.h, canvas.w)
    canvas.rgb = np.asarray(cv2.blendLinear(white, canvas.rgb, cover, 1.0 - cover), dtype=np.uint8)


def render_scene(
    spec: SceneSpec, *, metres_per_px: float = FINE_M, backgrounds: BackgroundLibrary | None = None
) -> FineScene:
    """Draw a scene at a fine resolution, lit and seen from its view, without any sensor effect.

    Args:
        spec: the scene.
        metres_per_px: pixel size of the drawing.
        backgrounds: the folder the scene's background pictures lie in; needed only if it names some.

    Raises:
        LabelError: the scene names background pictures and no library, or one without them, is given.
    """
    canvas = _FineCanvas(spec.size_m, metres_per_px, spec.sun)
    canvas.rgb[:] = canvas.texture(spec.ground, canvas.h, canvas.w)
    if spec.backgrounds:
        from detector.simulators.backgrounds import lay

        lay(canvas.rgb, spec, metres_per_px, backgrounds)
    for item in spec.cover:
        canvas.draw(item)
    wet = 1.0 - 0.3 * spec.weather.moisture
    if wet < 0.99:
        canvas.rgb = np.asarray(cv2.convertScaleAbs(canvas.rgb, alpha=math.sqrt(wet)), dtype=np.uint8)
    snow = spec.weather.snow
    _snow_cover(canvas, spec, snow)
    canvas.track_beds(spec.tracks)
    for item in spec.crossings:
        canvas.draw(item)
    if snow > 0.5:
        _snow_cover(canvas, spec, snow - 0.45)
    canvas.rails(spec.tracks)
    canvas.couplers(spec)
    for i, wagon in enumerate(spec.wagons):
        patch = _fit(wagon_patch(wagon, spec.sun), metres_per_px)
        canvas.paste(patch, wagon.x_m, wagon.y_m, wagon.angle_deg, i)
    _paste_props(canvas, spec)
    canvas.shadows(spec.sun, spec.weather.haze, spec.seed)
    lean = canvas.lean(spec.view, spec.sun)
    return FineScene(canvas.rgb, metres_per_px, spec, lean, _visibility(canvas, spec))


def _paste_props(canvas: _FineCanvas, spec: SceneSpec) -> None:
    """Props in order of height class: what spans tracks comes last."""
    cache: dict[tuple[Any, ...], _Fitted] = {}
    for prop in sorted(spec.props, key=lambda p: p.over):
        r = 0.5 * math.hypot(prop.length_m, prop.width_m)
        if not (-r < prop.x_m < spec.size_m[0] + r and -r < prop.y_m < spec.size_m[1] + r):
            continue
        if prop.kind == "mast":
            _mast(canvas, prop)
            continue
        key = (prop.kind, prop.seed, prop.length_m, prop.width_m, prop.colour, round(prop.angle_deg / 10.0))
        patch = cache.get(key)
        if patch is None:
            patch = cache[key] = _fit(prop_patch(prop, spec.sun), canvas.mpp)
        canvas.paste(patch, prop.x_m, prop.y_m, prop.angle_deg)


def _mast(canvas: _FineCanvas, prop: Prop) -> None:
    """A catenary or lighting mast: a dot with an arm, tall enough for a long thin shadow."""
    t = math.radians(prop.angle_deg)
    arm = np.array(
        [
            [prop.x_m, prop.y_m],
            [prop.x_m + math.cos(t) * prop.length_m, prop.y_m + math.sin(t) * prop.length_m],
        ]
    )
    p = canvas.px(arm)
    tone = tuple(float(v) for v in encode(prop.colour))
    cv2.line(canvas.rgb, tuple(p[0]), tuple(p[1]), tone, 1, cv2.LINE_AA, 4)
    cv2.line(canvas.height, tuple(p[0]), tuple(p[1]), prop.height_m * 0.9, 1, cv2.LINE_8, 4)
    cv2.circle(canvas.height, tuple(np.asarray(p[0]) // 16), 1, prop.height_m, -1)


def _visibility(canvas: _FineCanvas, spec: SceneSpec) -> NDArray[np.float64]:
    """Share of each vehicle's outline that shows."""
    wagons = spec.wagons
    if not wagons:
        return np.zeros(0)
    seen = np.bincount((canvas.owner[canvas.owner >= 0]).ravel(), minlength=len(wagons))[: len(wagons)]
    full = np.array([w.length_m * w.width_m for w in wagons]) / canvas.mpp**2
    return np.minimum(seen / np.maximum(full, 1.0), 1.0)


__all__ = ["FINE_M", "FineScene", "render_scene", "rgb"]
