"""Where tracks run and wagons stand: curves, parallel tracks, ladders, consists."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import shapely
from numpy.typing import NDArray

from detector.simulators.procedural.rolling_stock import FREIGHT_TYPES, STOCK, Style, pick, styles, tinted
from detector.simulators.procedural.spec import Colour, Consist, Point, Wagon, rgb
from detector.wagons.categories import FREIGHT

STEP_M = 3.0  # spacing of polyline points
WITHOUT_MATERIAL = {"none", "containers", "pipes", "vehicles", "crates", "tarp", "cab", "cab_behind"}


@dataclass(frozen=True)
class Curve:
    """A reference arc: everything beside a railway, road or canal is laid at offsets from one of these.

    `heading_deg` is clockwise from +x at s = 0; positive offsets lie to the right of the heading (y is down).
    """

    x_m: float
    y_m: float
    heading_deg: float
    curvature: float  # 1/m, positive turns clockwise
    reach_m: float  # s runs over [-reach, reach]

    def stations(self, start: float | None = None, end: float | None = None) -> NDArray[np.float64]:
        """Evenly spaced stations, about `STEP_M` apart on an arc and few on a straight."""
        a = -self.reach_m if start is None else start
        b = self.reach_m if end is None else end
        n = 2 if self.curvature == 0.0 else max(2, math.ceil((b - a) / STEP_M))
        return np.linspace(a, b, n)

    def at(self, s: NDArray[np.float64], d: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """Points (N, 2) at stations `s`, offset `d`."""
        theta = math.radians(self.heading_deg)
        k = self.curvature
        if k == 0.0:
            x = self.x_m + s * math.cos(theta)
            y = self.y_m + s * math.sin(theta)
            angle = np.full_like(s, theta)
        else:
            angle = theta + k * s
            x = self.x_m + (np.sin(angle) - math.sin(theta)) / k
            y = self.y_m - (np.cos(angle) - math.cos(theta)) / k
        return np.stack([x - np.sin(angle) * d, y + np.cos(angle) * d], axis=-1)

    def xy(self, s: float, d: float) -> Point:
        """One point at a station and offset."""
        theta = math.radians(self.heading_deg)
        k = self.curvature
        angle = theta + k * s
        if k == 0.0:
            x, y = self.x_m + s * math.cos(theta), self.y_m + s * math.sin(theta)
        else:
            x = self.x_m + (math.sin(angle) - math.sin(theta)) / k
            y = self.y_m - (math.cos(angle) - math.cos(theta)) / k
        return (x - math.sin(angle) * d, y + math.cos(angle) * d)

    def angle_deg(self, s: float) -> float:
        """Heading at a station, degrees clockwise from +x."""
        return self.heading_deg + math.degrees(self.curvature * s)

    def line(self, d: float, start: float | None = None, end: float | None = None) -> tuple[Point, ...]:
        """The parallel at offset `d`."""
        return as_points(self.at(self.stations(start, end), d))

    def band(
        self, d0: float, d1: float, start: float | None = None, end: float | None = None
    ) -> tuple[Point, ...]:
        """The polygon between two offsets."""
        s = self.stations(start, end)
        return as_points(np.vstack([self.at(s, d0), self.at(s[::-1], d1)]))


def as_points(array: NDArray[np.float64]) -> tuple[Point, ...]:
    """An (N, 2) array as a tuple of points."""
    return tuple((x, y) for x, y in array.tolist())


def random_curve(
    rng: np.random.Generator,
    size_m: tuple[float, float],
    *,
    straight: float = 0.6,
    half_width_m: float = 60.0,
) -> Curve:
    """A reference arc through the middle part of a scene."""
    w, h = size_m
    heading = rng.uniform(0, 360)
    curvature = 0.0
    if rng.random() > straight:
        radius = float(np.exp(rng.uniform(math.log(max(170.0, 2.2 * half_width_m)), math.log(1500.0))))
        curvature = float(rng.choice([-1.0, 1.0])) / radius
    reach = 0.75 * math.hypot(w, h) + 30.0
    if curvature:
        reach = min(reach, 1.2 / abs(curvature))
    return Curve(
        float(w * rng.uniform(0.3, 0.7)), float(h * rng.uniform(0.3, 0.7)), heading, curvature, reach
    )


@dataclass(frozen=True)
class TrackPath:
    """One track along a curve: its points, and where along it wagons may stand."""

    points: NDArray[np.float64]  # (N, 2)
    chainage: NDArray[np.float64]  # (N,) metres along the track
    clear: NDArray[np.bool_]  # (N,) no other track fouls it here
    offset_m: float

    def place(self, s: float) -> Point:
        """The point at a chainage."""
        return (
            float(np.interp(s, self.chainage, self.points[:, 0])),
            float(np.interp(s, self.chainage, self.points[:, 1])),
        )


def parallel_tracks(
    rng: np.random.Generator,
    curve: Curve,
    n: int,
    *,
    spacing_m: tuple[float, float] = (4.1, 6.5),
    ladders: int | None = None,
) -> list[TrackPath]:
    """`n` tracks beside each other, at one or both ends drawn together by ladders of turnouts.

    In a ladder each track keeps its offset until it meets a slanting lead towards one of the tracks; beyond,
    only the lead goes on. Wagons keep clear of the stretch where another track is nearer than 3.7 m.
    """
    usual = float(np.clip(rng.normal(4.9, 0.45), *spacing_m))
    gaps = np.clip(rng.normal(usual, 0.12, max(n - 1, 0)), *spacing_m)
    if n > 3 and rng.random() < 0.6:
        for i in rng.choice(n - 1, size=max(1, (n - 1) // 4), replace=False):
            gaps[i] = rng.uniform(5.2, 13.0)  # lighting masts, service paths, a platform
    offsets = np.concatenate([[0.0], np.cumsum(gaps)])
    offsets -= offsets.mean()
    s = np.arange(-curve.reach_m, curve.reach_m + 1e-6, STEP_M)
    lateral = np.repeat(offsets[:, None], len(s), axis=1)
    if n > 1:
        count = int(rng.choice([0, 1, 2], p=[0.45, 0.4, 0.15])) if ladders is None else ladders
        ends = [1.0, -1.0]
        rng.shuffle(ends)
        for end in ends[:count]:
            lead = int(rng.choice([0, n - 1, n // 2]))
            slope = rng.uniform(1 / 10, 1 / 6.5)
            reach = np.abs(offsets - offsets[lead]).max() / slope
            # The throat lies anywhere from inside the scene to its far border.
            tip = rng.uniform(0.15, 0.75) * curve.reach_m + 0.5 * reach
            room = np.maximum(0.0, (tip - end * s) * slope)
            delta = lateral - offsets[lead]
            lateral = offsets[lead] + np.sign(delta) * np.minimum(np.abs(delta), room)
        kernel = np.ones(9) / 9.0
        padded = np.pad(lateral, ((0, 0), (4, 4)), mode="edge")
        lateral = np.stack([np.convolve(row, kernel, mode="valid") for row in padded])
    out = []
    for k in range(n):
        clear = np.ones(len(s), dtype=bool)
        for j in range(n):
            if j != k:
                clear &= np.abs(lateral[j] - lateral[k]) >= 3.7
        points = curve.at(s, lateral[k])
        steps = np.hypot(*np.diff(points, axis=0).T)
        chainage = np.concatenate([[0.0], np.cumsum(steps)])
        merged = np.zeros(len(s), dtype=bool)
        for j in range(k):
            merged |= np.abs(lateral[j] - lateral[k]) < 0.05
        if merged.any():  # the common stem is drawn once
            keep = ~merged
            keep[1:] |= ~merged[:-1]  # up to the point of the switch itself
            keep[:-1] |= ~merged[1:]
            runs = np.flatnonzero(keep)
            points, chainage, clear = points[runs], chainage[runs], clear[runs]
        if len(points) >= 2:
            out.append(TrackPath(points, chainage, clear, float(offsets[k])))
    return out


def spur(rng: np.random.Generator, curve: Curve, paths: list[TrackPath]) -> TrackPath:
    """A track that leaves the outermost of some parallel tracks on a curve of its own."""
    side = float(rng.choice([-1.0, 1.0]))
    outer = max(paths, key=lambda p: side * p.offset_m)
    s0 = rng.uniform(-70.0, 40.0)
    x, y = curve.xy(s0, outer.offset_m)
    own = Curve(x, y, curve.angle_deg(s0), curve.curvature + side / rng.uniform(190.0, 450.0), 190.0)
    way = float(rng.choice([-1.0, 1.0]))
    chainage = np.arange(0.0, 175.0, STEP_M)
    points = own.at(way * chainage, 0.0)
    others = shapely.MultiLineString([p.points for p in paths])
    clear = shapely.distance(shapely.points(points), others) >= 3.9
    return TrackPath(points, chainage, clear, outer.offset_m + 2.0 * side)


@dataclass(frozen=True)
class Mix:
    """What a yard's wagons are drawn from."""

    types: tuple[str, ...]
    weights: tuple[float, ...]
    dullness: float  # 0-1: how far colours are pulled to `bed`
    flush: float | None  # station at which rakes end side by side, for yards filled in blocks
    bed: Colour
    snow: float
    liveries: float = 0.0  # how often a consist's wagons of a style wear a random pattern
    stretch: float = 0.0  # spread of lengths and widths around the styles' own, as a share
    european: bool = False  # lengths as they were measured in a European yard, whatever the style
    fleets: tuple[Style, ...] = ()  # the passenger cars of the place; of any style where there are none


def random_mix(rng: np.random.Generator, bed: Colour, snow: float) -> Mix:
    """A yard's character: few types dominate; some yards are dull (dark on dark)."""
    weights = np.array([STOCK[t].weight for t in FREIGHT_TYPES]) * rng.gamma(0.7, 1.0, len(FREIGHT_TYPES))
    dull = rng.uniform(0.35, 0.8) if rng.random() < 0.3 else rng.uniform(0.0, 0.25)
    if rng.random() < 0.2:  # one trade: a colliery, a car works, a grain terminal
        weights = weights**4
    flush = rng.normal(0.0, 40.0) if rng.random() < 0.22 else None
    return Mix(FREIGHT_TYPES, tuple(float(w) for w in weights / weights.sum()), dull, flush, bed, snow)


MEASURED_LENGTHS_M = (
    2.8, 9.7, 11.0, 11.9, 12.9, 13.2, 13.4, 13.7, 13.9, 14.2, 14.5, 14.8, 15.2, 15.8, 17.0, 18.5,
    18.7, 18.9, 19.1, 22.1, 31.7,
)  # fmt: skip
"""Lengths of 503 rail vehicles in the yard of Muttenz (Switzerland), every twentieth part: from two-axle
vans to articulated units (outlines by Reichel, Lopez and Vogel, 2022, on SWISSIMAGE, (c) swisstopo)."""

# Long wagons without features of their own, whose ends hardly show at 0.8 m.
_PLAIN = ("autorack", "box", "covered_hopper", "tarp", "tank")


def loosened(rng: np.random.Generator, mix: Mix) -> Mix:
    """A mix for learning from: any pattern and any length; at times one plain type, or all in one dark tone.

    The catalogue's styles are few; what a detector learns shall not hang on their looks.
    """
    mix = replace(mix, liveries=float(rng.choice([0.0, 0.25, 0.7])), stretch=0.06)
    if rng.random() < 0.25:
        return replace(mix, european=True, flush=None)
    if rng.random() < 0.3:
        plain = str(rng.choice(_PLAIN, p=[0.4, 0.2, 0.15, 0.1, 0.15]))
        weights = tuple(float(t == plain) for t in mix.types)
        flush = rng.normal(0.0, 50.0) if rng.random() < 0.6 else mix.flush
        mix = replace(mix, weights=weights, flush=flush)
    if rng.random() < 0.2:
        # Few types in one dark tone: coal trains, dirty car carriers. Learning to pass over shadows, hedges
        # and ditches must not cost them.
        tone = rng.uniform(0.02, 0.1)
        few = np.array(mix.weights) ** 3
        mix = replace(
            mix,
            weights=tuple(few / few.sum()),
            dullness=rng.uniform(0.5, 0.95),
            bed=(tone, tone, tone),
            liveries=0.0,
        )
    return mix


def _wagon(
    rng: np.random.Generator,
    style: Style,
    mix: Mix,
    load: str,
    tint: Colour,
    centre: Point,
    angle_deg: float,
    livery: int = 0,
) -> Wagon:
    """One vehicle of a style at a place."""
    stock = STOCK[style.type]
    colour = np.asarray(tinted(style.material, tint, rng))
    pull = mix.dullness * rng.uniform(0.5, 1.0)
    colour = colour * (1.0 - pull) + np.asarray(mix.bed) * rng.uniform(0.7, 1.2) * pull
    load_material = load if load not in WITHOUT_MATERIAL else "steel"
    snow = mix.snow * rng.uniform(0.3, 1.0) if mix.snow > 0 and rng.random() < 0.8 else 0.0
    return Wagon(
        type=style.type,
        category=stock.category,
        x_m=centre[0],
        y_m=centre[1],
        angle_deg=angle_deg % 360.0,
        length_m=style.body_m,
        width_m=style.width_m,
        height_m=style.height_m,
        colour=(float(colour[0]), float(colour[1]), float(colour[2])),
        material=style.material,
        load=load,
        load_colour=tinted(load_material, (1.0, 1.0, 1.0), rng),
        style=style.detail,
        seed=int(rng.integers(1 << 31)),
        snow=snow,
        livery=livery,
    )


def _stretched(rng: np.random.Generator, style: Style, mix: Mix) -> Style:
    """A style a little longer or shorter, wider or narrower, or of a measured length."""
    spread = mix.stretch
    if spread <= 0.0:
        return style
    if mix.european and STOCK[style.type].category == FREIGHT:
        steps = np.linspace(0.0, 1.0, len(MEASURED_LENGTHS_M))
        body = float(np.clip(np.interp(rng.random(), steps, MEASURED_LENGTHS_M), 7.0, 28.6))
        width = float(np.clip(rng.normal(2.85, 0.17), 2.4, 3.2))
        return replace(style, length_m=body + rng.uniform(0.9, 1.4), body_m=body, width_m=width)
    along, across = (float(np.clip(v, 0.85, 1.15)) for v in rng.normal(1.0, (spread, 0.5 * spread)))
    return replace(
        style, length_m=style.length_m * along, body_m=style.body_m * along, width_m=style.width_m * across
    )


def _composition(
    rng: np.random.Generator, n: int, mix: Mix, split: str, passenger: float
) -> list[tuple[Style, str]]:
    """The styles and loads of a consist of up to `n` vehicles, engine first where there is one."""
    variety = float(rng.choice([0.04, 0.2, 0.7]))  # how often the next wagon is of another style
    if rng.random() < passenger:
        if mix.fleets:
            return _unit(rng, n, mix.fleets[int(rng.integers(len(mix.fleets)))], split)
        style = _choose(rng, "coach", split)
        return [(style, "none")] * n
    mode = rng.random()
    out: list[tuple[Style, str]] = []
    while len(out) < n:
        kind = str(rng.choice(mix.types, p=mix.weights))
        style = _choose(rng, kind, split)
        load = pick(rng, STOCK[kind].loads)
        if mode < 0.5:
            block = n
        elif mode < 0.8:
            block = int(rng.integers(2, 8))
        else:
            block = int(rng.integers(1, 3))
        for _ in range(min(block, n - len(out))):
            if rng.random() < variety:
                style = _choose(rng, kind, split)
            out.append((style, load))
    if n >= 3 and rng.random() < 0.16:
        engine = _choose(rng, "locomotive", split)
        lead = [(engine, "none")] * int(rng.choice([1, 2], p=[0.7, 0.3]))
        out = lead + out[: n - len(lead)]
    elif n <= 2 and rng.random() < 0.06:
        out = [(_choose(rng, "locomotive", split), "none")] * n
    return out


def _unit(rng: np.random.Generator, n: int, style: Style, split: str) -> list[tuple[Style, str]]:
    """A train of passenger cars: fixed formations of equal cars with a cab at both ends, or hauled ones."""
    if style.type == "coach":
        engine = [(_choose(rng, "locomotive", split), "none")] if rng.random() < 0.4 else []
        return engine + [(style, "none")] * max(1, min(n, 14))
    cars = int(rng.choice([2, 3, 4, 5, 6, 8]))
    unit = [(style, "cab"), *[(style, "none")] * (cars - 2), (style, "cab_behind")]
    return unit * max(1, min(n // cars, 3))


def random_fleets(rng: np.random.Generator, split: str) -> tuple[Style, ...]:
    """One to three designs of passenger cars that a place has, most of them multiple units."""
    kinds = rng.choice(["multiple_unit", "coach"], size=int(rng.choice([1, 1, 2, 3])), p=[0.75, 0.25])
    return tuple(_choose(rng, str(kind), split) for kind in kinds)


def _choose(rng: np.random.Generator, kind: str, split: str) -> Style:
    options = styles(kind, split)
    return options[int(rng.integers(len(options)))]


def clear_runs(path: TrackPath) -> list[tuple[float, float]]:
    """Stretches of chainage (start, end) where wagons may stand."""
    runs = []
    start: float | None = None
    for s, ok in zip(path.chainage, path.clear, strict=True):
        if ok and start is None:
            start = float(s)
        if not ok and start is not None:
            runs.append((start, float(s) - STEP_M))
            start = None
    if start is not None:
        runs.append((start, float(path.chainage[-1])))
    return [(a, b) for a, b in runs if b - a > 12.0]


def fill_track(
    rng: np.random.Generator,
    path: TrackPath,
    track: int,
    mix: Mix,
    split: str,
    *,
    occupancy: float,
    passenger: float = 0.02,
    keep_inside: tuple[float, float, float, float] | None = None,
    limit: int | None = None,
) -> list[Consist]:
    """Consists along one track.

    Args:
        rng: source of chance.
        path: the track.
        track: its id.
        mix: what stands in the yard.
        split: whose styles may be used.
        occupancy: about which share of the clear length is covered, 0-1.
        passenger: probability that a consist is of coaches.
        keep_inside: a box (x0, y0, x1, y1) in metres; vehicles that don't lie wholly within are left out.
        limit: at most so many vehicles.
    """
    out: list[Consist] = []
    left = limit if limit is not None else 10_000
    for start, end in clear_runs(path):
        s = start + rng.uniform(0.0, 15.0)
        if mix.flush is not None and occupancy > 0.0:
            # Strings begin (or end) side by side at the stop blocks or a loading dock.
            middle = float(path.chainage[-1]) / 2.0 + mix.flush + rng.normal(0.0, 0.6)
            s = max(start, middle)
            occupancy = max(occupancy, 0.93)
        while s < end and left > 0:
            if rng.random() > occupancy:
                s += rng.exponential(32.0) + 4.0
                continue
            size = rng.random()
            if size < 0.16:
                n = 1
            elif size < 0.48:
                n = int(rng.integers(2, 7))
            else:
                n = int(rng.integers(6, 40))
            if mix.flush is not None:
                n = int(rng.integers(3, 16))
            wagons: list[Wagon] = []
            base_gap = rng.uniform(0.0, 0.25)
            common: dict[int, Colour] = {}
            patterns: dict[str, int] = {}
            sizes: dict[tuple[str, int], Style] = {}
            for known, load in _composition(rng, n, mix, split, passenger):
                key = (known.type, known.index)
                if key not in sizes:
                    sizes[key] = _stretched(rng, known, mix)
                style = sizes[key]
                if mix.liveries > 0.0 and style.type not in patterns:
                    worn = rng.random() < mix.liveries
                    patterns[style.type] = int(rng.integers(1, 1 << 31)) if worn else 0
                if s + style.length_m > end or left <= 0:
                    break
                # The couplers' share of the length is the gap; slack adds a little.
                a = path.place(s + 0.18 * style.length_m)
                b = path.place(s + 0.82 * style.length_m)
                centre = ((a[0] + b[0]) / 2.0, (a[1] + b[1]) / 2.0)
                angle = math.degrees(math.atan2(b[1] - a[1], b[0] - a[0]))
                if load.startswith("cab"):  # drawn at the start of a car
                    angle += 180.0 if load == "cab_behind" else 0.0
                elif rng.random() < 0.3:
                    angle += 180.0
                one_load = load
                if load != "none" and not load.startswith("cab") and rng.random() < 0.08:
                    one_load = pick(rng, STOCK[style.type].loads)
                tint = common.setdefault(style.index, style.tint)
                livery = patterns.get(style.type, 0)
                if livery and rng.random() < 0.15:  # one of another owner
                    livery = int(rng.integers(1, 1 << 31))
                wagon = _wagon(rng, style, mix, one_load, tint, centre, angle, livery)
                if keep_inside is None or _inside(wagon, keep_inside):
                    wagons.append(wagon)
                    left -= 1
                s += style.length_m + base_gap * rng.uniform(0.5, 1.5)
            if wagons:
                out.append(Consist(track, tuple(wagons)))
            s += rng.exponential(13.0) + 1.5
    return out


def _inside(wagon: Wagon, box: tuple[float, float, float, float]) -> bool:
    corners = footprint(wagon.x_m, wagon.y_m, wagon.angle_deg, wagon.length_m, wagon.width_m)
    return bool(
        corners[:, 0].min() >= box[0]
        and corners[:, 1].min() >= box[1]
        and corners[:, 0].max() <= box[2]
        and corners[:, 1].max() <= box[3]
    )


def footprint(
    x_m: float, y_m: float, angle_deg: float, length_m: float, width_m: float
) -> NDArray[np.float64]:
    """The corners (4, 2) of an oriented rectangle."""
    t = math.radians(angle_deg)
    u = np.array([math.cos(t), math.sin(t)]) * length_m / 2.0
    v = np.array([-math.sin(t), math.cos(t)]) * width_m / 2.0
    c = np.array([x_m, y_m])
    return np.stack([c + u + v, c + u - v, c - u - v, c - u + v])


def visible_in(wagon: Wagon, size_m: tuple[float, float]) -> bool:
    """Whether any part of a vehicle may show in a scene of this size."""
    r = wagon.length_m / 2.0 + 3.0
    return -r < wagon.x_m < size_m[0] + r and -r < wagon.y_m < size_m[1] + r


def mean_colour(materials: Sequence[str]) -> Colour:
    """The average colour of some materials."""
    c = np.mean([rgb(m) for m in materials], axis=0)
    return (float(c[0]), float(c[1]), float(c[2]))
