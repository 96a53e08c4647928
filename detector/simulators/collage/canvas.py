"""The canvas of the second simulator: display values at 0.2 m a pixel, painted, then photographed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.simulators.collage.cutouts import PX_M as CUTOUT_M
from detector.simulators.collage.cutouts import Cutout
from detector.simulators.procedural.sensors import Rendered

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

PX_M = 0.2
SHIFT = 4
"""Fractional bits of OpenCV's coordinates, as `fixed` gives them."""
_FINE = 1 << SHIFT


@dataclass(frozen=True)
class Vehicle:
    """A rail vehicle on the ground, metres from the scene's top left corner, angle clockwise from x."""

    x_m: float
    y_m: float
    angle_deg: float
    length_m: float
    width_m: float
    height_m: float
    category: int
    name: str

    @property
    def centre(self) -> F64:
        """Of the ground under it, (x, y) in metres."""
        return np.array([self.x_m, self.y_m])


@dataclass
class Canvas:
    """A painted scene.

    Attributes:
        rgb: (H, W, 3) float32 display values 0 to 1 at 0.2 m.
        hidden: (H, W) bool: under trees, roofs or bridges.
        lean: Shift on the picture per metre of height, x and y.
        sun_elevation_deg: Above the horizon.
        shade: (3,) What a shadow leaves of the light.
        shadow: Unit vector away from the sun, times the shadow's length per metre of height.
        vehicles: Rail vehicles.
        tracks: Centre lines (M, 2), metres.
        offsets: Distance of each track to the right of the line all are parallel to, metres.
        gauge_mm: Of the tracks.
        kind: Of the scene.
        pictured: Whether real pictures are the ground.
    """

    rgb: F32
    hidden: NDArray[np.bool_]
    lean: F64
    sun_elevation_deg: float
    shade: F32
    shadow: F64
    kind: str
    vehicles: list[Vehicle] = field(default_factory=list)
    tracks: list[F64] = field(default_factory=list)
    offsets: F64 = field(default_factory=lambda: np.zeros(0))
    gauge_mm: int = 1435
    pictured: bool = False

    def area(self, *shapes: F64) -> NDArray[np.bool_]:
        """Pixels inside polygons given in metres."""
        mask = np.zeros(self.rgb.shape[:2], np.uint8)
        for shape in shapes:
            cv2.fillPoly(mask, [fixed(shape)], 255, cv2.LINE_8, SHIFT)
        return mask > 0

    def hide(self, shape: F64) -> None:
        """What lies under a polygon is seen no more."""
        # In place: a mask of the whole canvas for each of hundreds of crowns would be most of their cost.
        cv2.fillPoly(self.hidden.view(np.uint8), [fixed(shape)], 1, cv2.LINE_8, SHIFT)

    def fill(self, shape: F64, colour: F32, *, grain: float = 0.03, seed: int = 0) -> None:
        """Paint a polygon with some grain."""
        box = _window(shape, self.rgb.shape)
        if box is None:
            return
        part, mask = self._part(box, shape)
        noise = np.random.default_rng(seed).normal(1.0, grain, mask.shape).astype(np.float32)
        painted = colour * noise[..., None]
        part += (painted - part) * mask[..., None]

    def dim(self, *shapes: F64) -> None:
        """Lay shadows; where two overlap it is no darker."""
        mask = np.zeros(self.rgb.shape[:2], np.uint8)
        for shape in shapes:
            cv2.fillPoly(mask, [fixed(shape)], 255, cv2.LINE_AA, SHIFT)
        soft = cv2.GaussianBlur(mask, (0, 0), 0.8).astype(np.float32)[..., None] / 255
        self.rgb *= 1 - soft * (1 - self.shade)

    def strip(
        self, line: F64, low: float, high: float, colour: F32, grain: float, rng: np.random.Generator
    ) -> None:
        """Paint a ribbon along a line, between two distances to its right, metres."""
        self.fill(ribbon(line, low, high), colour, grain=grain, seed=int(rng.integers(1 << 30)))

    def block(self, base: F64, height: float, roof: F32, *, seed: int = 0) -> None:
        """A building, stack or lorry: side faces, then the roof, moved by the lean."""
        top = base + self.lean * height
        side = _hull(base, top)
        self.fill(side, roof * np.float32(0.55), seed=seed)
        self.fill(top, roof, seed=seed)
        self.hide(side)

    def cast(self, base: F64, height: float) -> F64:
        """A body's shadow on flat ground."""
        return _hull(base, base + self.shadow * height)

    def park(self, piece: Cutout, vehicle: Vehicle, side: float = 0.6) -> None:
        """Paste a rail vehicle: its leaning side, then the vehicle from above.

        Args:
            piece: What it looks like.
            vehicle: Where it stands.
            side: Brightness of the side, as a share of the roof's mean.
        """
        base = rectangle(vehicle.centre, vehicle.length_m, vehicle.width_m, vehicle.angle_deg)
        roof = base + self.lean * vehicle.height_m
        if np.hypot(*self.lean) * vehicle.height_m > 0.15:
            self.fill(_hull(base, roof), piece.colour.mean(axis=(0, 1)) * np.float32(side))
        self.vehicles.append(vehicle)
        box = _window(roof, self.rgb.shape)
        if box is None:
            return
        t = math.radians(vehicle.angle_deg)
        # From the canvas to the cutout, in the pixel centres of both.
        turn = np.array([[math.cos(t), math.sin(t)], [-math.sin(t), math.cos(t)]])
        rows, columns = piece.solid.shape
        corner = (np.array([box[1].start, box[0].start]) + 0.5) * PX_M
        shift = turn @ (corner - roof.mean(axis=0)) / CUTOUT_M + np.array([columns, rows]) / 2 - 0.5
        matrix = np.column_stack([turn * PX_M / CUTOUT_M, shift])
        size = (box[1].stop - box[1].start, box[0].stop - box[0].start)
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        smooth = cv2.blur(piece.colour, (2, 2))
        colour = cv2.warpAffine(smooth, matrix, size, flags=how, borderMode=cv2.BORDER_REPLICATE)
        solid = cv2.warpAffine(piece.solid, matrix, size, flags=how)
        self.rgb[box] += (colour - self.rgb[box]) * solid[..., None]

    def _part(self, box: tuple[slice, slice], shape: F64) -> tuple[F32, F32]:
        mask = np.zeros((box[0].stop - box[0].start, box[1].stop - box[1].start), np.uint8)
        corner = np.array([box[1].start, box[0].start]) * PX_M
        cv2.fillPoly(mask, [fixed(shape - corner)], 255, cv2.LINE_AA, SHIFT)
        return self.rgb[box], np.asarray(mask, np.float32) / np.float32(255)


def _hull(one: F64, other: F64) -> F64:
    """Convex hull of the corners of two polygons."""
    return np.asarray(cv2.convexHull(np.concatenate([one, other]).astype(np.float32))[:, 0], np.float64)


def fixed(points: F64) -> NDArray[np.int32]:
    """Metres to OpenCV's fixed-point pixel centres."""
    return np.round((np.asarray(points) / PX_M - 0.5) * _FINE).astype(np.int32).reshape(-1, 1, 2)


def _window(shape: F64, size: Sequence[int]) -> tuple[slice, slice] | None:
    low = np.floor(shape.min(axis=0) / PX_M).astype(int) - 2
    high = np.ceil(shape.max(axis=0) / PX_M).astype(int) + 3
    x0, y0 = max(low[0], 0), max(low[1], 0)
    x1, y1 = min(high[0], size[1]), min(high[1], size[0])
    return (slice(y0, y1), slice(x0, x1)) if x1 > x0 and y1 > y0 else None


def ribbon(line: F64, low: float, high: float) -> F64:
    """Polygon between two parallels of a line; distances are to its right, metres."""
    normal = right_of(line)
    return np.concatenate([line + normal * low, (line + normal * high)[::-1]])


def right_of(line: F64) -> F64:
    """Unit vectors (M, 2) to the right of a line at each of its points."""
    along = np.gradient(line, axis=0)
    along /= np.maximum(np.hypot(along[:, :1], along[:, 1:]), 1e-9)
    return np.stack([-along[:, 1], along[:, 0]], axis=1)


def rectangle(centre: F64, length: float, width: float, angle_deg: float) -> F64:
    """Corners (4, 2) of a rectangle about a centre."""
    t = math.radians(angle_deg)
    along, across = np.array([math.cos(t), math.sin(t)]), np.array([-math.sin(t), math.cos(t)])
    corners = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    return np.array([centre + along * a * length / 2 + across * b * width / 2 for a, b in corners])


def noise_field(rng: np.random.Generator, shape: tuple[int, int], cells_px: Sequence[float]) -> F32:
    """Sum of smooth random fields, one a scale, about 0 with a deviation of 1."""
    out = np.zeros(shape, np.float32)
    for scale in cells_px:
        small = rng.normal(0, 1, (max(2, int(shape[0] / scale) + 2), max(2, int(shape[1] / scale) + 2)))
        out += cv2.resize(small.astype(np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(out / (out.std() + 1e-6), np.float32)


GSD_M = (0.28, 1.05)


def photograph(scene: Canvas, rng: np.random.Generator, *, gsd_m: float | None = None) -> Rendered:
    """Look at a painted scene: blur, sampling, tone, colours, sharpening, noise, compression.

    Args:
        scene: What to look at.
        rng: Source of chance.
        gsd_m: Ground sampling distance; drawn from 0.28 to 1.05 m, finer ones more often, if not given.

    Returns:
        The picture with its labels, boxes at half the height of a leaning body.
    """
    wanted = gsd_m if gsd_m is not None else float(np.exp(rng.uniform(*np.log(GSD_M))))
    height, width = scene.rgb.shape[:2]
    size = (max(8, int(width * PX_M / wanted + 1e-6)), max(8, int(height * PX_M / wanted + 1e-6)))
    cut = (min(width, round(size[0] * wanted / PX_M)), min(height, round(size[1] * wanted / PX_M)))
    gsd = math.sqrt(cut[0] * PX_M / size[0] * cut[1] * PX_M / size[1])
    fine = np.clip(scene.rgb[: cut[1], : cut[0]], 0, 1)
    blur_m = rng.uniform(0.22, 0.75) * gsd
    seen = cv2.resize(cv2.GaussianBlur(fine, (0, 0), blur_m / PX_M), size, interpolation=cv2.INTER_AREA)
    seen = developed(np.asarray(seen, np.float32), rng)
    out = np.clip(seen * 255 + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < 0.6:
        code = cv2.imencode(".jpg", out[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 96))])[1]
        out = np.ascontiguousarray(np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])
    vehicles = [(v, share) for v in scene.vehicles if (share := _seen(scene, v)) > 0.02]
    boxes = [
        (*((v.centre + scene.lean * v.height_m / 2) / gsd), v.length_m / gsd, v.width_m / gsd,
         v.angle_deg % 180.0)
        for v, _ in vehicles
    ]  # fmt: skip
    return Rendered(
        image=out,
        gsd_m=gsd,
        boxes=np.array(boxes, np.float64).reshape(-1, 5),
        category=np.array([v.category for v, _ in vehicles], np.int64),
        wagon_type=[v.name for v, _ in vehicles],
        visibility=np.array([share for _, share in vehicles], np.float64),
        tracks=[line / gsd for line in scene.tracks],
        track_gauge=[scene.gauge_mm] * len(scene.tracks),
        meta={
            "kind": scene.kind,
            "sensor": "collage",
            "sun_elevation_deg": scene.sun_elevation_deg,
            "off_nadir_deg": math.degrees(math.atan(float(np.hypot(*scene.lean)))),
            "blur_m": blur_m,
            "real_background": scene.pictured,
        },
    )


def developed(seen: F32, rng: np.random.Generator) -> F32:
    """The chain from what the sensor saw to what is shown, (H, W, 3) display values about 0 to 1."""
    grain = rng.normal(0, rng.uniform(0.002, 0.022), (*seen.shape[:2], 1 if rng.random() < 0.5 else 3))
    seen = seen + grain.astype(np.float32)
    if rng.random() < 0.2:  # panchromatic
        seen = np.repeat(seen @ rng.dirichlet([4, 4, 3]).astype(np.float32)[:, None], 3, axis=2)
    elif rng.random() < 0.35:  # colours of a coarser sensor
        soft = cv2.GaussianBlur(seen, (0, 0), rng.uniform(1.0, 2.2))
        level = seen.mean(axis=2, keepdims=True) - soft.mean(axis=2, keepdims=True)
        seen = soft + level
    low, high = np.quantile(seen[::4, ::4], [rng.uniform(0.0, 0.02), rng.uniform(0.98, 1.0)])
    if rng.random() < 0.5:
        seen = (seen - low) / max(high - low, 0.4)
    seen = np.clip(seen, 0, 1.2) ** np.float32(math.exp(rng.normal(0, 0.2)))
    mean = seen.mean(axis=2, keepdims=True)
    seen = mean + (seen - mean) * np.float32(rng.uniform(0.3, 1.25))
    seen = seen * rng.normal(1.0, 0.05, 3).astype(np.float32)
    haze = np.float32(rng.beta(1, 6))
    seen = seen * (1 - haze) + haze * np.float32(rng.uniform(0.5, 0.75))
    seen = (seen - 0.5) * np.float32(rng.uniform(0.7, 1.25)) + np.float32(rng.uniform(0.4, 0.58))
    if rng.random() < 0.5:
        soft = cv2.GaussianBlur(seen, (0, 0), rng.uniform(0.6, 1.5))
        seen = seen + (seen - soft) * np.float32(rng.uniform(0.2, 1.6))
    return np.asarray(seen, np.float32)


def _seen(scene: Canvas, vehicle: Vehicle) -> float:
    """Share of a vehicle inside the scene and not below trees or roofs, from a grid of 21 x 3 points."""
    x, y = vehicle.centre + scene.lean * vehicle.height_m / 2
    t = math.radians(vehicle.angle_deg)
    along, across = np.meshgrid(
        np.linspace(-0.5, 0.5, 21) * vehicle.length_m, np.array([-0.3, 0, 0.3]) * vehicle.width_m
    )
    px = ((x + along * math.cos(t) - across * math.sin(t)) / PX_M).astype(int).ravel()
    py = ((y + along * math.sin(t) + across * math.cos(t)) / PX_M).astype(int).ravel()
    height, width = scene.hidden.shape
    inside = (px >= 0) & (px < width) & (py >= 0) & (py < height)
    clear = ~scene.hidden[py[inside], px[inside]]
    return float(clear.sum() / len(px))
