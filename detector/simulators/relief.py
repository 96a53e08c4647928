"""A third simulator of rail yards: a map of heights and one of colours, lit by a sun and seen from a side.

Nothing is learned from it. It says how well a detector that learned from the two others does on pictures that
are made in a third way: bodies are surfaces whose light, own shade and cast shadows follow from their shape
(Lambert's law, and a march towards the sun), and a slanting view from a shift by height. It shares no code
that draws with the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.simulators.procedural.sensors import Rendered
from detector.wagons.categories import COACH, FREIGHT, LOCOMOTIVE

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

PX_M = 0.25
_GSD_M = (0.3, 1.0)
_MARCH_M = 0.6  # step towards the sun
_TALLEST_M = 14.0
_SHIFT = 4  # fractional bits of OpenCV's coordinates

Surface = tuple[F32, F32]
"""Height in metres, and colour, of part of a body."""


@dataclass(frozen=True)
class Body:
    """Something in local coordinates, u along and v across its axis, metres.

    Attributes:
        length_m: Along.
        width_m: Across.
        surface: Of u and v in metres: height above the ground and the colour (..., 3).
        category: Index into the detector's categories; None for all that is no rail vehicle.
        name: Type.
    """

    length_m: float
    width_m: float
    surface: Callable[[F32, F32], Surface]
    category: int | None = None
    name: str = ""


@dataclass
class Relief:
    """The ground of a square scene and what stands on it: heights (H, W) in metres, colours (H, W, 3)."""

    kind: str
    height: F32
    colour: F32
    boxes: list[tuple[float, float, float, float, float, float]] = field(default_factory=list)
    category: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    tracks: list[F64] = field(default_factory=list)

    def put(self, body: Body, x: float, y: float, angle_deg: float) -> None:
        """Put a body with its middle at (x, y), metres, its axis clockwise from x."""
        t = math.radians(angle_deg)
        reach = math.hypot(body.length_m, body.width_m) / 2 + PX_M
        size = self.height.shape[0]
        columns = np.arange(max(0, int((x - reach) / PX_M)), min(size, int((x + reach) / PX_M) + 1))
        rows = np.arange(max(0, int((y - reach) / PX_M)), min(size, int((y + reach) / PX_M) + 1))
        if body.category is not None:
            self.boxes.append((x, y, body.length_m, body.width_m, angle_deg, 0.0))
            self.category.append(body.category)
            self.names.append(body.name)
        if not len(columns) or not len(rows):
            return
        dx, dy = (columns[None, :] + 0.5) * PX_M - x, (rows[:, None] + 0.5) * PX_M - y
        u = np.asarray(dx * math.cos(t) + dy * math.sin(t), np.float32)
        v = np.asarray(-dx * math.sin(t) + dy * math.cos(t), np.float32)
        inside = (np.abs(u) <= body.length_m / 2) & (np.abs(v) <= body.width_m / 2)
        height, colour = body.surface(u, v)
        window = np.ix_(rows, columns)
        over = inside & (height > self.height[window])
        if body.category is not None:
            self.boxes[-1] = (*self.boxes[-1][:5], float(height[inside].max(initial=0.0)))
        self.height[window] = np.where(over, height, self.height[window])
        self.colour[window] = np.where(over[..., None], colour, self.colour[window])


def _fractal(rng: np.random.Generator, size: int, slope: float) -> F32:
    """A random field whose spectrum falls with frequency, deviation 1."""
    frequency = np.hypot(*np.meshgrid(np.fft.rfftfreq(size), np.fft.fftfreq(size)))
    frequency[0, 0] = 1.0
    spectrum = np.fft.rfft2(rng.standard_normal((size, size))) * frequency**-slope
    spectrum[0, 0] = 0.0
    out = np.fft.irfft2(spectrum, s=(size, size))
    return np.asarray(out / out.std(), np.float32)


def _tone(rng: np.random.Generator, low: float, high: float, warm: float = 0.12) -> F32:
    """A colour between two reflectances, with a cast."""
    level = float(np.exp(rng.uniform(math.log(low), math.log(high))))
    return np.asarray(
        np.clip(level * (1 + rng.normal(0, warm) * np.array([1, 0.2, -1])), 0.01, 0.95), np.float32
    )


def _flat(colour: F32, height: float) -> Callable[[F32, F32], Surface]:
    return lambda u, v: (np.full_like(u, height), np.broadcast_to(colour, (*u.shape, 3)))


def wagon(rng: np.random.Generator, length: float | None = None) -> Callable[[], Body]:
    """A design of wagons; each call makes one of it."""
    shape = str(rng.choice(["tub", "load", "box", "barrel", "saddle", "crates"]))
    length = length or float(rng.choice([rng.uniform(10.5, 15), rng.uniform(13, 19), rng.uniform(18, 28)]))
    width = rng.uniform(2.75, 3.2)
    top = rng.uniform(2.6, 4.6)
    paint = _tone(rng, 0.04, 0.6, 0.25)
    spread = rng.uniform(0.02, 0.35)
    pitch = rng.uniform(0.8, 3.0)
    arch = rng.uniform(0, 0.5)
    cargo = _tone(rng, 0.03, 0.4)

    def one() -> Body:
        colour = np.clip(paint * np.float32(math.exp(rng.normal(0, spread))), 0.01, 0.95)
        fill, dirt, phase = (rng.uniform(0.4, 1.1), rng.uniform(0.05, 0.3), rng.uniform(0, 9))
        seed = rng.uniform(1, 9, 4)

        def surface(u: F32, v: F32) -> Surface:
            # Open at the ends: only the coupler, low and narrow.
            end = length / 2 - np.abs(u)
            side = width / 2 - np.abs(v)
            body = (end > 0.45) & (side > 0.0)
            worn = 1 + dirt * (np.sin(seed[0] * u + phase) * np.sin(seed[1] * v + seed[2] * u) - 0.3)
            shade = (colour * worn[..., None]).astype(np.float32)
            height = np.full_like(u, top)
            if shape in {"tub", "load"}:
                inner = (side > 0.15) & (end > 0.65)
                floor = (
                    1.1
                    if shape == "tub"
                    else top * fill * 0.9
                    + 0.35
                    * np.cos(math.pi * v / width)
                    * (0.6 + 0.4 * np.cos(2 * math.pi * u / pitch / 2.5 + phase))
                )
                height = np.where(inner, floor, height)
                lump = 1 + 0.4 * np.sin(7 * u + phase) * np.sin(9 * v)
                inside = cargo * lump[..., None] if shape == "load" else shade * np.float32(0.8)
                shade = np.where(inner[..., None], inside, shade)
            elif shape == "box":
                height = (
                    top + arch * np.cos(math.pi * v / width) + 0.04 * np.sign(np.sin(2 * math.pi * u / pitch))
                )
            elif shape == "barrel":
                radius = width / 2 * 0.95
                height = top - radius + np.sqrt(np.clip(radius**2 - v**2, 0, None))
                body &= (end > 0.9) & (np.abs(v) < radius)
                dome = u**2 + v**2 < 0.5
                height = np.where(dome, top + 0.35, height)
            elif shape == "saddle":
                height = top + 0.25 * np.cos(math.pi * v / width)
                lid = (np.abs(v) < 0.4) & (np.abs(np.sin(math.pi * u / pitch)) > 0.75)
                height = np.where(lid, top + 0.4, height)
                shade = np.where(lid[..., None], shade * np.float32(1.2), shade)
            else:
                number = max(1, round(length / 6.4)) if phase < 5 else max(1, round(length / 12.6))
                part = (u / length + 0.5) * number
                crate = (np.abs(part - np.floor(part) - 0.5) < 0.5 - 0.12 / (length / number)) & (side > 0.2)
                which = np.floor(part) + 1
                there = crate & (np.sin(which * seed[3] + phase) > -0.7)
                hue = 0.5 + 0.5 * np.sin(which[..., None] * seed[:3] + phase)
                height = np.where(there, 3.8, 1.2)
                shade = np.where(there[..., None], 0.05 + 0.45 * hue, np.float32(0.12)).astype(np.float32)
            coupler = (np.abs(v) < 0.25) & ~body
            height = np.where(body, height, np.where(coupler, 1.0, 0.0))
            return np.asarray(height, np.float32), np.asarray(np.clip(shade, 0.01, 0.95), np.float32)

        return Body(length, width, surface, FREIGHT, shape)

    return one


def _coach(rng: np.random.Generator, engine: bool) -> Body:
    length = float(rng.uniform(12, 22) if engine else rng.uniform(20, 26.5))
    paint = _tone(rng, 0.05, 0.5, 0.4)
    places = rng.uniform(-length / 2, length / 2, 4)
    narrow = rng.uniform(0.9, 1.5) if engine else 1.5

    def surface(u: F32, v: F32) -> Surface:
        height = 3.9 + 0.4 * np.cos(math.pi * v / 3.0)
        height = np.where(np.abs(v) < narrow, height, 1.6)
        unit = (np.min(np.abs(u[..., None] - places), axis=-1) < 0.7) & (np.abs(v) < 0.6)
        shade = np.where(unit[..., None], np.float32(0.08), paint)
        return np.asarray(height + 0.2 * unit, np.float32), np.asarray(shade, np.float32)

    return Body(length, 3.0, surface, LOCOMOTIVE if engine else COACH, "engine" if engine else "coach")


def _crown(rng: np.random.Generator, radius: float) -> Body:
    paint = np.array([0.05, 0.08, 0.035], np.float32) * np.float32(rng.uniform(0.6, 1.8))
    a, b = rng.uniform(2, 6, 2)

    def surface(u: F32, v: F32) -> Surface:
        ball = np.clip(1 - (u**2 + v**2) / radius**2, 0, None)
        bumps = 0.8 + 0.25 * np.sin(a * u) * np.sin(b * v + u)
        return np.asarray(np.sqrt(ball) * radius * 1.9 * bumps, np.float32), np.broadcast_to(
            paint, (*u.shape, 3)
        )

    return Body(2 * radius, 2 * radius, surface)


KINDS: dict[str, float] = {"trains": 0.5, "tracks": 0.25, "no rail": 0.25}


def random_relief(rng: np.random.Generator, *, size_m: float = 144.0, kind: str | None = None) -> Relief:
    """A scene by chance: ground, tracks on an arc, trains, and what stands beside them.

    Args:
        rng: Source of chance.
        size_m: Side of the square scene.
        kind: One of `KINDS`; drawn by its weight if not given.

    Raises:
        ValueError: There is no such kind.
    """
    if kind is None:
        kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    elif kind not in KINDS:
        raise ValueError(f"no kind of scene {kind!r}; known are {', '.join(KINDS)}")
    rail, trains = kind != "no rail", kind == "trains"
    size = round(size_m / PX_M)
    mix = _fractal(rng, size, 1.6)
    first, second = _tone(rng, 0.06, 0.3), _tone(rng, 0.06, 0.3)
    if rng.random() < 0.5:
        first = first * np.array([0.8, 1.1, 0.6], np.float32)
    share = np.clip(0.5 + mix * 0.8, 0, 1)[..., None]
    ground = (first + (second - first) * share) * (
        1 + np.float32(rng.uniform(0.03, 0.12)) * _fractal(rng, size, 0.4)[..., None]
    )
    relief = Relief(
        kind,
        np.asarray(0.05 * _fractal(rng, size, 0.8), np.float32),
        np.asarray(np.clip(ground, 0.01, 0.9), np.float32),
    )
    angle = rng.uniform(0, 2 * math.pi)
    bend = 0.0 if rng.random() < 0.5 else float(rng.choice([-1, 1]) / rng.uniform(250, 1200))
    middle = rng.uniform(0.3, 0.7, 2) * size_m
    s = np.arange(-size_m, size_m, 0.2)
    heading = angle + bend * s
    axis = np.stack([np.cumsum(np.cos(heading)), np.cumsum(np.sin(heading))], axis=1) * 0.2
    axis += middle - axis[len(axis) // 2]
    right = np.stack([-np.sin(heading), np.cos(heading)], axis=1)
    number = int(rng.choice([1, 2, 3, 5, 7, 10, 13])) if rail else 0
    gaps = rng.uniform(4.3, 5.6) + np.where(rng.random(max(number, 1)) < 0.15, rng.uniform(2, 7), 0)
    offsets = (np.cumsum(gaps) - np.sum(gaps) / 2)[:number]
    for low, high, paint in _flat_strips(rng, offsets):
        _stripe(relief, axis, right, low, high, paint)
    design = wagon(rng)
    steel = _tone(rng, 0.06, 0.4)
    busy = rng.uniform(0.2, 1.0)
    for offset in offsets:
        line = axis + right * offset
        relief.tracks.append(line[::10])
        _stripe(relief, axis, right, offset - 1.3, offset + 1.3, _tone(rng, 0.1, 0.25), sleepers=True)
        for rail_at in (-0.75, 0.75):
            place = offset + rail_at
            _stripe(relief, axis, right, place - 0.1, place + 0.1, steel, 0.17)
        if trains:
            design = _train(relief, rng, line, heading, design, busy)
    _surroundings(relief, rng, axis, right, heading, offsets, size_m)
    return relief


def _flat_strips(rng: np.random.Generator, offsets: F64) -> list[tuple[float, float, F32]]:
    strips = []
    if len(offsets) and rng.random() < 0.85:
        strips.append((offsets[0] - 3.0, offsets[-1] + 3.0, _tone(rng, 0.07, 0.25)))
    edge = offsets[-1] + 3 if len(offsets) else 0.0
    for _ in range(int(rng.integers(0, 4))):
        width = rng.uniform(0.5, 12)
        at = rng.uniform(1, 40) * float(rng.choice([-1, 1])) + math.copysign(edge, rng.normal())
        strips.append((at, at + width, _tone(rng, 0.03, 0.4)))
    return strips


def _stripe(
    relief: Relief,
    axis: F64,
    right: F64,
    low: float,
    high: float,
    paint: F32,
    height: float = 0.0,
    *,
    sleepers: bool = False,
) -> None:
    """Colour (and raise) the ground between two parallels of the axis."""
    shape = np.concatenate([axis + right * low, (axis + right * high)[::-1]])
    mask = np.zeros(relief.height.shape, np.uint8)
    cv2.fillPoly(mask, [_fixed(shape)], 255, cv2.LINE_AA, _SHIFT)
    share = mask.astype(np.float32)[..., None] / 255
    grain = relief.colour.mean(axis=2, keepdims=True)
    grain = grain / cv2.GaussianBlur(grain[..., 0], (0, 0), 6)[..., None]
    relief.colour += (paint * grain - relief.colour) * share
    relief.height = np.maximum(relief.height, np.where(mask > 127, np.float32(height), relief.height))
    if sleepers:
        ends = axis[::3], right[::3]
        lines = np.stack([ends[0] + ends[1] * (low + 0.1), ends[0] + ends[1] * (high - 0.1)], axis=1)
        ties = np.zeros_like(mask)
        cv2.polylines(ties, list(_fixed(lines)), False, 255, 1, cv2.LINE_AA, _SHIFT)
        relief.colour *= 1 - 0.25 * (ties.astype(np.float32) / 255)[..., None]


def _fixed(points: F64) -> NDArray[np.int32]:
    """Metres to OpenCV's fixed-point pixel centres."""
    return np.round((points / PX_M - 0.5) * (1 << _SHIFT)).astype(np.int32)


def _train(
    relief: Relief, rng: np.random.Generator, line: F64, heading: F64, design: Callable[[], Body], busy: float
) -> Callable[[], Body]:
    """Strings along a line (points each 0.2 m of the axis); gives the last design."""
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    at = rng.uniform(0, 40)
    while at < along[-1] - 30:
        if rng.random() > busy:
            at += rng.uniform(20, 80)
            continue
        if rng.random() < 0.6:
            design = wagon(rng)
        kind = rng.random()
        gap = rng.uniform(0.2, 0.9)
        for number in range(int(rng.integers(1, 18))):
            if rng.random() < 0.12:
                design = wagon(rng)
            body = (
                _coach(rng, engine=number == 0) if kind < 0.06 or (kind < 0.2 and number == 0) else design()
            )
            place = int(np.searchsorted(along, at + body.length_m / 2))
            if place >= len(line):
                break
            relief.put(body, float(line[place, 0]), float(line[place, 1]), math.degrees(heading[place]))
            at += body.length_m + gap
        at += rng.uniform(3, 60)
    return design


def _surroundings(
    relief: Relief, rng: np.random.Generator, axis: F64, right: F64, heading: F64, offsets: F64, size_m: float
) -> None:
    """Sheds, rows of cars, lorries or trees along the tracks."""
    edges = (offsets[0] - 4, offsets[-1] + 4) if len(offsets) else (-2.0, 2.0)
    for way, edge in zip((-1, 1), edges, strict=True):
        at = edge
        for _ in range(int(rng.integers(1, 5))):
            thing = str(rng.choice(["sheds", "cars", "lorries", "trees", "gap", "heaps"]))
            depth = {
                "sheds": rng.uniform(5, 25),
                "cars": 5.0,
                "lorries": 14.0,
                "trees": rng.uniform(3, 9),
            }.get(thing, rng.uniform(3, 15))
            centre = at + way * depth / 2
            start, stop = sorted(rng.integers(0, len(axis), 2))
            step = {
                "sheds": 200,
                "cars": 13,
                "lorries": 18,
                "trees": max(8, int(depth * 3)),
                "heaps": 60,
            }.get(thing, 0)
            paint = _tone(rng, 0.05, 0.6, 0.2)
            for i in range(start, stop, step) if step else ():
                x, y = axis[i] + right[i] * centre
                turn = math.degrees(heading[i])
                if rng.random() < 0.15:
                    continue
                if thing == "sheds":
                    length = rng.uniform(10, 38)
                    relief.put(Body(length, depth, _roof(depth, rng.uniform(3, 9), paint)), x, y, turn)
                elif thing == "trees":
                    relief.put(_crown(rng, depth / 2 * rng.uniform(0.6, 1.1)), x, y, turn)
                elif thing == "heaps":
                    relief.put(_crown(rng, depth / 2), x, y, turn)
                else:
                    length, width, top = (4.4, 1.8, 1.5) if thing == "cars" else (13.0, 2.5, 3.6)
                    relief.put(Body(length, width, _flat(_tone(rng, 0.03, 0.7, 0.3), top)), x, y, turn + 90)
            at += way * (depth + rng.uniform(1, 12))


def _roof(depth: float, top: float, paint: F32) -> Callable[[F32, F32], Surface]:
    return lambda u, v: (
        np.asarray(top + (depth / 2 - np.abs(v)) * 0.2, np.float32),
        np.broadcast_to(paint, (*u.shape, 3)),
    )


def look_at(relief: Relief, rng: np.random.Generator, *, gsd_m: float | None = None) -> Rendered:
    """Light a scene, look at it from a side, sample and develop the picture.

    Args:
        relief: The scene.
        rng: Source of chance.
        gsd_m: Ground sampling distance; drawn from 0.3 to 1.0 m if not given.
    """
    elevation, azimuth = math.radians(rng.uniform(16, 65)), rng.uniform(0, 2 * math.pi)
    towards = np.array([math.cos(azimuth), math.sin(azimuth)])
    height = relief.height
    gy, gx = np.gradient(np.clip(height, -1, 30), PX_M)
    normal = 1 / np.sqrt(1 + gx**2 + gy**2)
    sun = np.array([*(towards * math.cos(elevation)), math.sin(elevation)])
    light = np.clip((-gx * sun[0] - gy * sun[1] + sun[2]) * normal, 0, None)
    dark = np.zeros_like(height)
    rise = math.tan(elevation) * _MARCH_M
    for step in range(1, int(_TALLEST_M / rise) + 2):
        shift = towards * step * _MARCH_M / PX_M
        move = np.array([[1, 0, -shift[0]], [0, 1, -shift[1]]])
        ahead = cv2.warpAffine(height, move, height.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
        dark = np.maximum(dark, np.clip((ahead - step * rise - height) * 3, 0, 1))
    sky = rng.uniform(0.12, 0.45)
    lit = sky + (1 - sky) * light / math.sin(elevation) * (1 - dark)
    radiance = relief.colour * np.asarray(lit, np.float32)[..., None]
    slant = math.tan(math.radians(min(abs(rng.normal(0, 12)), 28)))
    view = rng.uniform(0, 2 * math.pi)
    lean = np.array([math.cos(view), math.sin(view)]) * slant
    radiance = _leaning(radiance, height, lean)
    wanted = gsd_m or rng.uniform(*_GSD_M)
    side = int(height.shape[0] * PX_M / wanted)
    gsd = height.shape[0] * PX_M / side
    blurred = cv2.GaussianBlur(radiance, (0, 0), rng.uniform(0.25, 0.65) * gsd / PX_M)
    seen = cv2.resize(blurred, (side, side), interpolation=cv2.INTER_AREA)
    seen = seen + rng.normal(0, rng.uniform(0.001, 0.008), seen.shape)
    seen = seen * rng.uniform(0.8, 1) + rng.uniform(0, 0.05) * np.array([0.8, 0.9, 1.1])
    if rng.random() < 0.2:
        seen = np.repeat(seen.mean(axis=2, keepdims=True), 3, axis=2)
    white = np.quantile(seen, rng.uniform(0.97, 0.999))
    shown = np.clip(seen / max(white, 0.15), 0, 1) ** rng.uniform(0.45, 0.8) * 255
    boxes = [
        (x + lean[0] * h / 2, y + lean[1] * h / 2, length, width, a % 180)
        for x, y, length, width, a, h in relief.boxes
    ]
    array = np.array(boxes, np.float64).reshape(-1, 5)
    array[:, :4] /= gsd
    middle = array[:, :2]
    near, half = np.all(np.abs(middle - side / 2) < side / 2, axis=1), 0.4 * array[:, 2:3]
    kept = np.all((middle > -half) & (middle < side + half), axis=1).reshape(-1)
    return Rendered(
        image=np.asarray(shown, np.uint8),
        gsd_m=gsd,
        boxes=array[kept],
        category=np.array(relief.category, np.int64)[kept],
        wagon_type=[n for n, k in zip(relief.names, kept, strict=True) if k],
        visibility=np.where(near, 1.0, 0.3)[kept],
        tracks=[line / gsd for line in relief.tracks],
        track_gauge=[1435] * len(relief.tracks),
        meta={
            "kind": relief.kind,
            "sensor": "relief",
            "real_background": False,
            "sun_elevation_deg": math.degrees(elevation),
            "off_nadir_deg": math.degrees(math.atan(slant)),
        },
    )


def _leaning(radiance: F32, height: F32, lean: F64) -> F32:
    """The picture seen from a side: for each pixel the highest surface whose shift by height lands there."""
    out = radiance.copy()
    if np.hypot(*lean) < 0.02:
        return out
    for level in np.arange(0.0, _TALLEST_M, 0.4):
        shift = lean * level / PX_M
        move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]])
        moved_height = cv2.warpAffine(height, move, height.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
        # A column of ground up to its height: its side shows below its top.
        there = moved_height >= level
        if not there.any():
            break
        moved = cv2.warpAffine(radiance, move, height.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
        side = moved_height > level + 0.8
        out[there] = np.where(side[there][:, None], moved[there] * np.float32(0.5), moved[there])
    return out
