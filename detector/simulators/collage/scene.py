"""A second simulator of rail yards, cutouts pasted on a canvas: what holds in one only isn't to be learned.

It shares no drawing with `detector.simulators.procedural`: no materials, no layout, no sensor. Everything is
painted in display values, from the ground up: ground, beds, sleepers and rails, roads and water, shadows,
vehicles and buildings with their leaning sides, trees. Only the pictures a user brings as ground are shared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.simulators.backgrounds import PICTURE_GSD_M, BackgroundLibrary, BackgroundPicture
from detector.simulators.collage.canvas import (
    PX_M,
    SHIFT,
    Canvas,
    Vehicle,
    fixed,
    noise_field,
    rectangle,
    right_of,
)
from detector.simulators.collage.cutouts import WEIGHTS, Cutout, Paint, body_colour, cutout, random_paint

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

ROWS: dict[str, float] = {
    "hedge": 0.18,
    "trees": 0.14,
    "cars": 0.12,
    "lorries": 0.12,
    "sheds": 0.12,
    "containers": 0.10,
    "houses": 0.09,
    "stacks": 0.06,
    "nothing": 0.07,
}
"""What stands in rows beside a railway, or in its place."""

KINDS: dict[str, float] = {
    "yard": 0.38,
    "line": 0.26,
    "empty yard": 0.10,
    "empty line": 0.10,
    "no rail": 0.16,
    "passengers": 0.0,
}
LEARNED_KINDS = {**KINDS, "passengers": 0.16}
"""How often a training scene is of each kind: passenger trains more often than they come by chance."""
EMPTY = ("empty yard", "empty line", "no rail")
"""Kinds without a wagon."""


GROUNDS = np.array(
    [
        [0.36, 0.33, 0.27], [0.45, 0.40, 0.33], [0.30, 0.34, 0.22], [0.24, 0.30, 0.17], [0.40, 0.40, 0.38],
        [0.30, 0.30, 0.31], [0.55, 0.54, 0.50], [0.62, 0.56, 0.45], [0.36, 0.40, 0.26], [0.48, 0.44, 0.40],
        [0.22, 0.21, 0.20], [0.42, 0.33, 0.27],
    ],
    np.float32,
)  # fmt: skip
BEDS = np.array(
    [
        [0.42, 0.40, 0.38], [0.52, 0.50, 0.47], [0.33, 0.30, 0.28], [0.40, 0.34, 0.29], [0.27, 0.26, 0.26],
        [0.58, 0.53, 0.46], [0.46, 0.38, 0.33], [0.36, 0.36, 0.33],
    ],
    np.float32,
)  # fmt: skip


def _jitter(rng: np.random.Generator, colour: F32, spread: float = 0.06) -> F32:
    moved = colour * rng.normal(1.0, 1.5 * spread) + rng.normal(0, spread / 4, 3)
    return np.clip(moved, 0.01, 0.98).astype(np.float32)


def _grey(level: float) -> F32:
    return np.full(3, level, np.float32)


def _drawn(rng: np.random.Generator, weights: dict[str, float]) -> str:
    """One of the names, by its weight."""
    share = np.array(list(weights.values()))
    return str(rng.choice(list(weights), p=share / share.sum()))


def _any(rng: np.random.Generator, colours: F32) -> F32:
    return _jitter(rng, colours[int(rng.integers(len(colours)))])


def _ground(
    rng: np.random.Generator, shape: tuple[int, int], split: str, library: BackgroundLibrary | None
) -> tuple[F32, bool]:
    """Pictures of one class side by side, or patches of two or three materials; and which of the two."""
    pictures = library.of(split, ground=True, rail=False) if library is not None else ()
    if library is not None and pictures and rng.random() < 0.6:
        return _pictured(rng, shape, pictures, library), True
    ground = np.ones((*shape, 3), np.float32) * _any(rng, GROUNDS)
    for _ in range(int(rng.integers(1, 4))):
        other = noise_field(rng, shape, [rng.uniform(40, 300), rng.uniform(15, 60)])
        share = 1 / (1 + np.exp(-(other - rng.uniform(-0.5, 1.5)) * rng.uniform(1, 8)))
        ground += (_any(rng, GROUNDS) - ground) * share[..., None].astype(np.float32)
    rough = noise_field(rng, shape, [12, 5, 2]) * np.float32(rng.uniform(0.01, 0.09))
    return np.asarray(ground * (1 + rough[..., None]), np.float32), False


def _pictured(
    rng: np.random.Generator,
    shape: tuple[int, int],
    pictures: Sequence[BackgroundPicture],
    library: BackgroundLibrary,
) -> F32:
    """Pictures of one class edge to edge, each turned by chance."""
    kind = pictures[int(rng.integers(len(pictures)))].kind
    same = [p for p in pictures if p.kind == kind]
    side = round(256 * PICTURE_GSD_M / PX_M * rng.uniform(0.95, 1.25))
    number = max(shape) // side + 2
    sheet = np.empty((number * side, number * side, 3), np.uint8)
    for row in range(number):
        for column in range(number):
            picture = np.rot90(library.load(same[int(rng.integers(len(same)))].file), int(rng.integers(4)))
            sheet[row * side : (row + 1) * side, column * side : (column + 1) * side] = cv2.resize(
                np.ascontiguousarray(picture), (side, side), interpolation=cv2.INTER_CUBIC
            )
    y, x = rng.integers(0, side, 2)
    ground = sheet[y : y + shape[0], x : x + shape[1]].astype(np.float32) / 255
    return np.asarray(np.clip(ground * np.float32(rng.uniform(0.75, 1.1)), 0, 1), np.float32)


@dataclass(frozen=True)
class _Spine:
    """The line all tracks are parallel to: straight or an arc through the scene."""

    origin: F64
    angle: float
    curvature: float

    def line(self, offset: F64 | float, reach: float, step: float = 3.0) -> tuple[F64, F64]:
        """Points at a distance to the right, and where along they are."""
        s = np.arange(-reach, reach + step, step)
        return self.at(s, offset)[0], s

    def at(self, s: F64 | float, offset: F64 | float) -> tuple[F64, F64]:
        """Points (..., 2) so far along and to the right, and the headings there in radians."""
        s = np.asarray(s, np.float64)
        heading = np.asarray(self.angle + self.curvature * s)
        if self.curvature:
            x = (np.sin(heading) - math.sin(self.angle)) / self.curvature
            y = (math.cos(self.angle) - np.cos(heading)) / self.curvature
        else:
            x, y = s * math.cos(self.angle), s * math.sin(self.angle)
        right = np.stack([-np.sin(heading), np.cos(heading)], axis=-1)
        return self.origin + np.stack([x, y], axis=-1) + right * np.asarray(offset)[..., None], heading

    def place(self, s: float, offset: float) -> tuple[F64, float]:
        """A point along and beside the spine, and the direction there in degrees."""
        place, heading = self.at(s, offset)
        return place, math.degrees(float(heading))


def random_collage(
    rng: np.random.Generator,
    *,
    split: str = "train",
    size_m: float = 144.0,
    kind: str | None = None,
    backgrounds: BackgroundLibrary | None = None,
) -> Canvas:
    """Paint a scene by chance, reproducibly by the generator's seed.

    Args:
        rng: Source of chance.
        split: Which background pictures may lie below; ``train`` has yards of one trade too.
        size_m: Side of the square scene.
        kind: One of `KINDS`; drawn by its weight if not given.
        backgrounds: Pictures at 0.3 m for the ground of some scenes.

    Raises:
        ValueError: There is no such kind.
    """
    if kind is None:
        kind = _drawn(rng, LEARNED_KINDS if split == "train" else KINDS)
    elif kind not in KINDS:
        raise ValueError(f"no kind of scene {kind!r}; known are {', '.join(KINDS)}")
    side = round(size_m / PX_M)
    elevation = rng.uniform(14, 68)
    azimuth, lean_azimuth = rng.uniform(0, 2 * math.pi, 2)
    lean = min(math.tan(math.radians(abs(rng.normal(0, 13)))), 0.6)
    ground, pictured = _ground(rng, (side, side), split, backgrounds)
    scene = Canvas(
        rgb=ground,
        hidden=np.zeros((side, side), bool),
        lean=np.array([math.cos(lean_azimuth), math.sin(lean_azimuth)]) * lean,
        sun_elevation_deg=elevation,
        shade=(np.array([0.95, 1.0, 1.08]) * rng.uniform(0.28, 0.72)).astype(np.float32).clip(0, 1),
        shadow=np.array([math.cos(azimuth), math.sin(azimuth)])
        * min(3.5, 1 / math.tan(math.radians(elevation))),
        kind=kind,
        pictured=pictured,
    )
    spine = _Spine(
        rng.uniform(0.2, 0.8, 2) * size_m,
        rng.uniform(0, 2 * math.pi),
        0.0 if rng.random() < 0.55 else float(rng.choice([-1, 1]) / rng.uniform(180, 1500)),
    )
    low, high = _railway(scene, rng, spine, size_m, split) if kind != "no rail" else (-2.0, 2.0)
    _beside(scene, rng, spine, size_m, low, high)
    if rng.random() < 0.08:
        _snow(scene, rng)
    return scene


def _snow(scene: Canvas, rng: np.random.Generator) -> None:
    share = noise_field(rng, scene.hidden.shape, [60, 20, 6]) * 0.5 + rng.uniform(-0.3, 1.5)
    white = np.array([0.86, 0.88, 0.92], np.float32) * np.float32(rng.uniform(0.8, 1.05))
    bare = 1 / (1 + np.exp(-4 * share))
    # Shadows show on snow too: what was dark stays darker.
    level = np.clip(scene.rgb.mean(axis=2, keepdims=True) / 0.4, 0.4, 1.0)
    scene.rgb += (white * level - scene.rgb) * (bare * rng.uniform(0.5, 0.95))[..., None].astype(np.float32)


def _offsets(rng: np.random.Generator, number: int) -> F64:
    """Distances of tracks from the spine: even, with wider gaps here and there."""
    step = rng.uniform(4.2, 6.2)
    gaps = np.where(rng.random(number) < 0.12, rng.uniform(2, 9, number), 0.0) + step
    offsets = np.cumsum(gaps)
    return np.asarray(offsets - offsets.mean() + rng.uniform(-15, 15))


def _railway(
    scene: Canvas, rng: np.random.Generator, spine: _Spine, size_m: float, split: str
) -> tuple[float, float]:
    """Beds, tracks and trains; gives the outermost tracks' distances from the spine."""
    most = {"line": 4, "empty line": 4, "passengers": 13}.get(scene.kind, 17)
    number = int(rng.integers(3 if most == 17 else 1, most))
    offsets = _offsets(rng, number)
    reach = size_m * 1.1
    low, high = float(offsets[0]), float(offsets[-1])
    bed = _any(rng, BEDS)
    axis, s = spine.line(0.0, reach)
    if rng.random() < (0.92 if "yard" in scene.kind else 0.7):
        margin = rng.uniform(1.8, 6)
        ground = bed if rng.random() < 0.6 else _any(rng, GROUNDS)
        scene.strip(axis, low - margin, high + margin, ground, rng.uniform(0.02, 0.09), rng)
    lines: list[tuple[F64, F64, float, float]] = []
    for i, offset in enumerate(offsets):
        first, last = -reach, reach
        shift = np.zeros(len(s))
        if number > 2 and i and rng.random() < 0.35:  # joins its neighbour
            at, way = rng.uniform(-0.6, 0.6) * size_m, float(rng.choice([-1.0, 1.0]))
            along = np.clip((s - at) * way / rng.uniform(35, 70), 0, 1)
            shift = (offsets[i - 1] - offset) * along**2 * (3 - 2 * along)
            first, last = (first, at) if way > 0 else (at, last)
        lines.append((spine.line(offset + shift, reach)[0], s, first, last))
    _permanent_way(scene, rng, [line for line, *_ in lines], bed)
    scene.tracks = [line for line, *_ in lines]
    scene.offsets = offsets
    if rng.random() < 0.3:
        _stains(scene, rng, scene.tracks)
    _painted_strips(scene, rng, axis, low, high)
    if not scene.kind.startswith("empty"):
        trade = _OneTrade.random(rng, bed) if split == "train" and rng.random() < 0.25 else None
        if scene.kind == "passengers":
            trade = None
            _platforms(scene, rng, axis, offsets)
        _trains(scene, rng, lines, size_m, bed, trade)
    return low, high


def _permanent_way(scene: Canvas, rng: np.random.Generator, lines: list[F64], bed: F32) -> None:
    """Ballast, sleepers, rails."""
    gauge = float(rng.choice([1.435, 1.52]))
    scene.gauge_mm = round(1000 * gauge)
    paved = rng.random() < 0.12  # rails in asphalt or weeds
    width = rng.uniform(2.3, 3.6)
    sleeper = _jitter(rng, bed * np.float32(rng.uniform(0.55, 1.35)))
    rail = _jitter(rng, _grey(rng.uniform(0.12, 0.85)))
    spacing = rng.uniform(0.55, 0.7)
    with_sleepers = rng.random() < 0.6
    for line in lines:
        if not paved:
            scene.strip(line, -width / 2, width / 2, _jitter(rng, bed, 0.05), 0.07, rng)
    sheet = np.ascontiguousarray(np.clip(scene.rgb * 255, 0, 255).astype(np.uint8))
    before = sheet.copy()
    for line in lines:
        normal = right_of(line)
        if with_sleepers and not paved:
            track = _CollageTrack.of(line)
            at = np.arange(0, track.length[-1], spacing)
            middle, across = track.at(at), track.at(at, normal)
            pieces = [fixed(e) for e in np.stack([middle - across * 1.25, middle + across * 1.25], axis=1)]
            cv2.polylines(sheet, pieces, False, _bytes(sleeper), 1, cv2.LINE_AA, SHIFT)
        for way in (-0.5, 0.5):
            side = fixed(line + normal * gauge * way)
            cv2.polylines(sheet, [side], False, _bytes(rail), 1, cv2.LINE_AA, SHIFT)
    # Rails are 7 cm wide and sleepers lie half under the stones: they show faintly at 0.2 m.
    share = np.float32(rng.uniform(0.25, 0.8)) / 255
    scene.rgb += (sheet.astype(np.float32) - before.astype(np.float32)) * share


def _bytes(colour: F32) -> tuple[float, float, float]:
    r, g, b = (float(c) * 255 for c in colour)
    return r, g, b


def _stains(scene: Canvas, rng: np.random.Generator, lines: list[F64]) -> None:
    """Oil, coal dust or spilt grain along tracks, in pieces about as long as a wagon or longer."""
    for line in lines:
        for _ in range(int(rng.integers(0, 5))):
            start, length = int(rng.integers(0, len(line) - 2)), int(rng.integers(2, 14))
            piece = line[start : start + length + 1]
            if len(piece) > 2:
                half = rng.uniform(0.3, 1.7)
                tone = _jitter(rng, _grey(rng.choice([0.15, 0.25, 0.6])))
                mean = scene.rgb.mean(axis=(0, 1))
                scene.strip(piece, -half, half, (tone + 2 * mean) / 3, 0.08, rng)


def _painted_strips(scene: Canvas, rng: np.random.Generator, axis: F64, low: float, high: float) -> None:
    """What runs flat beside a railway: service roads, ditches, verges, paths, walls, water."""
    for way in (-1, 1):
        edge = high if way > 0 else -low
        at = edge + rng.uniform(2.5, 8)
        for _ in range(int(rng.integers(0, 4))):
            width = float(rng.choice([0.4, 1.5, 3.0, 4.5, 7.0, 14.0]) * rng.uniform(0.8, 1.3))
            tone = _any(rng, GROUNDS) * np.float32(rng.choice([0.35, 0.7, 1.0, 1.5]))
            near, far = sorted((way * at, way * (at + width)))
            scene.strip(axis, near, far, np.clip(tone, 0.02, 0.95), rng.uniform(0.01, 0.12), rng)
            at += width + rng.uniform(0, 9)


@dataclass(frozen=True)
class _OneTrade:
    """A yard of long rakes of one kind in one tone, mostly a dark one: coal trains, car carriers, tanks."""

    kind: str
    tone: F32

    @classmethod
    def random(cls, rng: np.random.Generator, near: F32) -> _OneTrade:
        kind = str(rng.choice(["tub", "heap", "heap", "van", "long van", "cylinder", "hatches"]))
        tone = _grey(rng.uniform(0.08, 0.3))
        which = rng.random()
        if which < 0.3:
            tone = near * np.float32(rng.uniform(0.3, 1.3))
        elif which < 0.5:
            tone = body_colour(rng)
        return cls(kind, tone)


def _platforms(scene: Canvas, rng: np.random.Generator, axis: F64, offsets: F64) -> None:
    """Paved strips in the wide gaps between tracks."""
    tone = _jitter(rng, _grey(rng.uniform(0.3, 0.75)))
    for a, b in pairwise(offsets):
        if b - a > 6.5:
            scene.strip(axis, float(a) + 1.7, float(b) - 1.7, tone, 0.04, rng)


def _engine(rng: np.random.Generator, near: F32, lit: float) -> list[tuple[Cutout, float]]:
    return [(cutout(rng, "engine", random_paint(rng, "engine", near, lit)), 0.0)]


def _formation(
    rng: np.random.Generator, near: F32, lit: float, room: float, paints: list[Paint]
) -> list[tuple[Cutout, float]]:
    """A passenger train: equal cars at equal gaps, at times behind an engine."""
    paint = replace(paints[int(rng.integers(len(paints)))], lit=lit)
    kind = "unit" if paint.style % 4 else "carriage"
    gap = float(rng.uniform(0.0, 0.35) if kind == "unit" else rng.uniform(0.3, 0.9))
    out = _engine(rng, near, lit) if kind == "carriage" and rng.random() < 0.5 else []
    used = sum(engine.size_m[0] for engine, _ in out)
    for _ in range(int(rng.integers(2, 13))):
        if used + gap + paint.length_m > room:
            break
        out.append((cutout(rng, kind, paint), gap))
        used += gap + paint.length_m
    return out


def _string(
    rng: np.random.Generator, near: F32, lit: float, room: float, trade: _OneTrade | None
) -> list[tuple[Cutout, float]]:
    """Vehicles one behind the other until the room is used, each with the gap before it."""
    if trade is not None and rng.random() < 0.15:  # a guest in this yard
        trade = None
    kind = _drawn(rng, WEIGHTS) if trade is None else trade.kind
    mixed = trade is None and rng.random() < 0.4
    paint = random_paint(rng, kind, near, lit)
    if trade is not None:
        paint = replace(paint, hue=_jitter(rng, trade.tone))
    gap = rng.uniform(0.3, 1.3)
    out = _engine(rng, near, lit) if rng.random() < 0.15 else []
    used = sum(engine.size_m[0] for engine, _ in out)
    while True:
        if mixed and rng.random() < 0.5:
            kind = _drawn(rng, WEIGHTS)
            paint = random_paint(rng, kind, near, lit)
        elif trade is None and rng.random() < 0.25:  # another livery, the same design
            paint = replace(paint, hue=body_colour(rng, near))
        if used + gap + paint.length_m > room:
            return out
        out.append((cutout(rng, kind, paint), gap))
        used += gap + paint.length_m


def _trains(
    scene: Canvas,
    rng: np.random.Generator,
    lines: list[tuple[F64, F64, float, float]],
    size_m: float,
    near: F32,
    trade: _OneTrade | None,
) -> None:
    """Strings of vehicles on the tracks, shadows first."""
    full = rng.beta(1.3, 1.0)
    sun = scene.shadow / np.linalg.norm(scene.shadow)
    margin = 25.0
    fleets: list[Paint] = []
    if scene.kind == "passengers":
        fleets = [random_paint(rng, "unit", near, 0.0) for _ in range(int(rng.integers(1, 4)))]
    parked: list[tuple[Cutout, Vehicle]] = []
    for line, s, first, last in lines:
        track = _CollageTrack.of(line)
        reach = 0.85 * size_m
        at, last = (float(np.interp(e, s, track.length)) for e in (max(first, -reach), min(last, reach)))
        at += rng.uniform(0, 30)
        while at < last - 12:
            if rng.random() > full:
                at += rng.uniform(15, 90)
                continue
            long = 2 * size_m
            short = long if trade or fleets else rng.uniform(14, 60)
            room = min(last - at, float(rng.choice([short, long])))
            lit = float(np.clip(track.at(at, right_of(line)) @ sun, -1, 1))
            if fleets and rng.random() >= 0.06:
                train = _formation(rng, near, lit, room, fleets)
            else:  # a freight train, now and then among passenger trains
                train = _string(rng, near, lit, room, trade)
            for piece, gap in train:
                length, width = piece.size_m
                middle = track.at(at + gap + length / 2)
                ahead = track.at(at + gap + length) - track.at(at + gap)
                x, y = (float(v) for v in middle)
                angle = math.degrees(math.atan2(ahead[1], ahead[0]))
                if -margin < min(x, y) and max(x, y) < size_m + margin:
                    where = Vehicle(x, y, angle, length, width, piece.height_m, piece.category, piece.name)
                    parked.append((piece, where))
                at += gap + length
            at += rng.uniform(2, 50)
    bases = [rectangle(v.centre, v.length_m, v.width_m, v.angle_deg) for _, v in parked]
    scene.dim(*(scene.cast(base, v.height_m) for base, (_, v) in zip(bases, parked, strict=True)))
    for piece, vehicle in parked:
        scene.park(piece, vehicle, rng.uniform(0.4, 0.95))


@dataclass(frozen=True)
class _CollageTrack:
    """A line and how far along it its points are, metres."""

    line: F64
    length: F64

    @classmethod
    def of(cls, line: F64) -> _CollageTrack:
        return cls(line, np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))]))

    def at(self, length: float | F64, values: F64 | None = None) -> F64:
        """The places (..., 2) so far along, or what a value has there."""
        wanted = self.line if values is None else values
        return np.stack([np.interp(length, self.length, wanted[:, k]) for k in (0, 1)], axis=-1)


def _beside(
    scene: Canvas, rng: np.random.Generator, spine: _Spine, size_m: float, low: float, high: float
) -> None:
    """Things that stand beside (and over) the tracks, each kind by chance; more where there is no railway."""
    without = scene.kind == "no rail"
    axis, _ = spine.line(0.0, size_m * 1.1)
    if without:
        _painted_strips(scene, rng, axis, low, high)
    boxes: list[tuple[F64, float, F32]] = []
    spans: list[tuple[F64, float, F32]] = []
    crowns: list[tuple[F64, float, float]] = []
    for way in (-1, 1):
        at = (high if way > 0 else -low) + rng.uniform(3, 9)
        for _ in range(int(rng.integers(1, 5))):
            if at > size_m * 0.8:
                break
            thing = _drawn(rng, ROWS)
            depth = _row(rng, spine, way, at, thing, size_m, boxes, crowns)
            at += depth + rng.uniform(0.5, 14)
    if rng.random() < 0.08 and not without:
        across = rectangle(
            spine.origin, size_m * 3, rng.uniform(7, 16), math.degrees(spine.angle) + rng.uniform(60, 120)
        )
        spans.append((across, rng.uniform(5.5, 8), _jitter(rng, np.array([0.5, 0.5, 0.5], np.float32))))
    if rng.random() < 0.25 and not without:
        spans += _masts(rng, spine, low, high, size_m)
    if rng.random() < 0.12:
        boxes += _canopies(rng, spine, np.linspace(-20, 20, 5) if without else scene.offsets, size_m)
    scene.dim(*(scene.cast(base, height) for base, height, _ in boxes))
    for base, height, roof in boxes:
        scene.block(base, height, roof, seed=int(rng.integers(1 << 30)))
    _trees(scene, rng, crowns)
    # What spans the tracks has light below it: neither its shadow nor its side reaches the ground.
    scene.dim(*(base + scene.shadow * height for base, height, _ in spans))
    for base, height, top in spans:
        scene.fill(base + scene.lean * height, top, seed=int(rng.integers(1 << 30)))
        scene.hide(base + scene.lean * height)


def _row(
    rng: np.random.Generator,
    spine: _Spine,
    way: int,
    at: float,
    thing: str,
    size_m: float,
    boxes: list[tuple[F64, float, F32]],
    crowns: list[tuple[F64, float, float]],
) -> float:
    """A row of one kind of thing along the tracks; gives how deep it is."""
    reach = size_m * 0.9
    start, stop = sorted(rng.uniform(-reach, reach, 2))
    if thing == "nothing":
        return rng.uniform(4, 25)
    if thing in {"trees", "hedge"}:
        # A hedge has no gaps: what it throws on the ground beside it is one dark strip.
        hedge = thing == "hedge"
        radius = float(rng.uniform(0.7, 2.4) if hedge else rng.uniform(0.8, 4.5))
        dense = rng.uniform(0.4, 0.9) if hedge else rng.uniform(0.5, 2.5)
        for s in np.arange(start, stop, radius * dense):
            place, _ = spine.place(s, way * (at + radius + rng.normal(0, radius / 3)))
            crowns.append((place, radius * rng.uniform(0.6, 1.3), radius * rng.uniform(1.2, 4.0)))
        return 2 * radius
    if thing in {"cars", "lorries"}:
        lorry = thing == "lorries"
        length = rng.uniform(6, 16.5) if lorry else 4.5
        width, height = (2.5, rng.uniform(2.6, 4.0)) if lorry else (1.8, 1.5)
        turned = rng.random() < 0.7  # side by side, else one behind the other
        rows = int(rng.integers(1, 4 if lorry else 9))
        pitch = (width + rng.uniform(0.5, 1.2)) if turned else length + rng.uniform(0.8, 3)
        depth = (length if turned else width) + rng.uniform(0.6, 6)
        one = body_colour(rng)
        for row in range(rows):
            same = rng.random() < 0.3
            for s in np.arange(start, stop, pitch):
                if rng.random() < 0.2:
                    continue
                place, angle = spine.place(s, way * (at + depth * (row + 0.5)))
                shape = rectangle(place, length, width, angle + (90 if turned else 0) + rng.normal(0, 1.5))
                boxes.append((shape, height, one if same else body_colour(rng)))
        return rows * depth
    if thing == "containers":
        length = float(rng.choice([6.06, 12.19]))
        rows = int(rng.integers(2, 7))  # a single one could as well stand on wagons
        for row in range(rows):
            for s in np.arange(start, stop, length + rng.uniform(0.2, 1.2)):
                if rng.random() < 0.25:
                    continue
                place, angle = spine.place(s, way * (at + 2.6 * (row + 0.5)))
                tall = 2.6 * int(rng.integers(1, 4))
                boxes.append((rectangle(place, length, 2.44, angle), tall, body_colour(rng)))
        return rows * 2.6
    if thing == "stacks":  # pipes, timber, bales, heaps: low and long
        width, length = rng.uniform(1.5, 4), rng.uniform(4, 25)
        tone = body_colour(rng)
        for s in np.arange(start, stop, length + rng.uniform(3, 9)):
            place, angle = spine.place(s, way * (at + width / 2))
            boxes.append((rectangle(place, length, width, angle), rng.uniform(0.4, 2), _jitter(rng, tone)))
        return width
    long = thing == "sheds"
    width = rng.uniform(3.5, 30) if long else rng.uniform(7, 14)
    at_m, tone = start, body_colour(rng)
    while at_m < stop:
        length = rng.uniform(15, 120) if long else rng.uniform(8, 20)
        place, angle = spine.place(at_m + length / 2, way * (at + width / 2))
        turn = 0.0 if long or rng.random() < 0.6 else rng.uniform(-45, 45)
        height = rng.uniform(3, 11)
        roof = _jitter(rng, tone) if rng.random() < 0.6 else body_colour(rng)
        boxes.append((rectangle(place, length, width, angle + turn), height, roof))
        if rng.random() < 0.5:  # a ridge: one half darker
            half, _ = spine.place(at_m + length / 2, way * (at + width * 0.75))
            if turn == 0.0:
                darker = roof * np.float32(rng.uniform(0.7, 1.2))
                boxes.append((rectangle(half, length, width / 2, angle), height, darker))
        at_m += length + rng.uniform(1, 30)
    return width


def _masts(
    rng: np.random.Generator, spine: _Spine, low: float, high: float, size_m: float
) -> list[tuple[F64, float, F32]]:
    """Portals of an overhead line: thin beams across all tracks."""
    beams = []
    tone = _grey(rng.uniform(0.3, 0.75))
    for s in np.arange(-size_m, size_m, rng.uniform(35, 65)):
        place, angle = spine.place(float(s), (low + high) / 2)
        beams.append((rectangle(place, high - low + 6, rng.uniform(0.25, 0.5), angle + 90), 7.5, tone))
    return beams


def _canopies(
    rng: np.random.Generator, spine: _Spine, offsets: F64, size_m: float
) -> list[tuple[F64, float, F32]]:
    """Roofs over platforms: long, wider than a wagon, in pieces with seams between them."""
    roofs = []
    tone, piece, height = body_colour(rng), rng.uniform(5, 28), rng.uniform(3.5, 7)
    width = rng.uniform(4.0, 9.0)
    start, stop = sorted(rng.uniform(-size_m, size_m, 2))
    for offset in offsets[rng.random(len(offsets)) < 0.6]:
        for s in np.arange(start, stop, piece):
            place, angle = spine.place(float(s), float(offset) + width / 2)
            roof = _jitter(rng, tone, 0.04)
            roofs.append((rectangle(place, piece - rng.uniform(0, 0.5), width, angle), height, roof))
    return roofs


def _trees(scene: Canvas, rng: np.random.Generator, crowns: list[tuple[F64, float, float]]) -> None:
    """Crowns as heaps of round tufts, the sunny side lighter."""
    angles = np.linspace(0, 2 * math.pi, 11)[:-1]
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    side = scene.hidden.shape[0] * PX_M
    crowns = [c for c in crowns if c[0].min() > -20 and c[0].max() < side + 20]
    scene.dim(*(scene.cast(c + ring * r, h) for c, r, h in crowns))
    bare = rng.random() < 0.15
    green = np.array([rng.uniform(0.12, 0.34), rng.uniform(0.2, 0.38), rng.uniform(0.08, 0.22)], np.float32)
    if bare:
        green = np.array([0.33, 0.29, 0.25], np.float32)
    sun = -scene.shadow / np.linalg.norm(scene.shadow)
    for centre, radius, height in crowns:
        top = centre + scene.lean * height
        tufts = rng.normal(0, 0.45, (int(np.clip(radius * 6, 4, 22)), 2))
        tufts = tufts[np.argsort(tufts @ sun)]
        for tuft in tufts:
            light = np.float32(np.clip(0.85 + 0.45 * tuft @ sun + rng.normal(0, 0.12), 0.3, 1.7))
            scene.fill(top + (tuft + ring * rng.uniform(0.3, 0.6)) * radius, np.clip(green * light, 0, 1))
        if not bare:
            scene.hide(top + ring * radius * 0.8)
