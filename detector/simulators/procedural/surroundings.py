"""What lies beside railways and, without them, looks like trains: laid in bands along a curve.

Each band function takes a `SceneDraft` and the side (+1 right, -1 left of the heading) and offset at which it
begins, adds ground and props, and returns its width. The same bands run along tracks, roads and canals, so
that every strip-like or box-like thing is seen both with and without wagons near it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from detector.simulators.procedural.layout import Curve, as_points
from detector.simulators.procedural.rolling_stock import (
    CAR_PAINTS,
    CONTAINER_PAINTS,
    TRAILER_PAINTS,
    one_of,
    pick,
    tinted,
    weighted,
)
from detector.simulators.procedural.spec import (
    Area,
    Colour,
    Ground,
    Marking,
    Point,
    Prop,
    Strip,
    Sun,
    Surface,
    Weather,
    rgb,
)

# Materials of open ground by season.
_Ramps = dict[str, tuple[tuple[str, ...], ...]]
_GREEN: _Ramps = {
    "green": (
        ("grass", "grass_lush", "grass_pale"),
        ("grass_pale", "grass", "grass_dry"),
        ("scrub", "grass", "grass_pale"),
    ),
    "dry": (
        ("grass_dry", "straw", "grass_pale"),
        ("soil", "grass_dry", "straw"),
        ("scrub", "grass_dry", "soil"),
    ),
    "brown": (("heath", "grass_dry", "twigs"), ("mud", "heath", "grass_dry"), ("twigs", "heath", "soil")),
    "arid": (("soil_light", "sand", "soil"), ("soil", "soil_light", "sand"), ("scrub", "soil_light", "sand")),
}
_BARE: _Ramps = {
    "green": (("soil", "soil_light"), ("gravel_dark", "gravel"), ("mud", "soil", "grass_pale")),
    "dry": (("soil", "soil_light", "straw"), ("gravel", "soil_light"), ("soil_red", "soil")),
    "brown": (("mud", "soil"), ("gravel_dark", "soil"), ("cinder", "mud", "soil")),
    "arid": (("sand", "soil_light"), ("soil_light", "gravel"), ("soil_red", "soil_light")),
}
_LEAVES = {
    "green": ("leaf", "leaf_dark", "leaf_light"),
    "dry": ("leaf_dark", "leaf", "scrub"),
    "brown": ("twigs", "leaf_autumn", "heath"),
    "arid": ("scrub", "leaf_dark", "leaf"),
}


_POOLED = frozenset({"car", "truck", "trailer", "bus", "container"})


@dataclass
class SceneDraft:
    """A scene in the making, with what its bands share."""

    rng: np.random.Generator
    size_m: tuple[float, float]
    curve: Curve
    sun: Sun
    weather: Weather
    cover: list[Ground] = field(default_factory=list)
    crossings: list[Ground] = field(default_factory=list)
    props: list[Prop] = field(default_factory=list)
    pool: dict[tuple[str, int], int] = field(default_factory=dict)
    paints: dict[tuple[str, int], Colour] = field(default_factory=dict)

    # ------------------------------------------------------------------ surfaces

    def seed(self) -> int:
        """A fresh seed."""
        return int(self.rng.integers(1 << 30))

    def surface(
        self,
        ramp: tuple[str, ...],
        contrast: tuple[float, float] = (0.7, 1.7),
        streak_deg: float | None = None,
    ) -> Surface:
        """A surface of given materials with a chance tint."""
        rng = self.rng
        level = float(np.exp(rng.normal(0.0, 0.16)))
        r, g, b = np.clip(rng.normal(level, 0.045, 3), 0.4, 1.8).tolist()
        spread, coarse = rng.uniform(*contrast), rng.uniform(0.15, 0.85)
        return Surface(ramp, spread, coarse, streak_deg, (r, g, b), self.seed())

    def _one(self, table: _Ramps) -> tuple[str, ...]:
        options = table[self.weather.season]
        return options[int(self.rng.integers(len(options)))]

    def green(self) -> Surface:
        """Grass, scrub or heath of the season."""
        return self.surface(self._one(_GREEN))

    def leaves(self) -> Surface:
        """Crowns and bushes of the season."""
        leaf = _LEAVES[self.weather.season]
        return self.surface((leaf[1], leaf[0], leaf[2]), (0.5, 1.1))

    def bare(self) -> Surface:
        """Soil, gravel, sand."""
        return self.surface(self._one(_BARE))

    def asphalt(self, streak_deg: float | None = None) -> Surface:
        """A road or yard surface."""
        ramp = (("asphalt_new", "asphalt"), ("asphalt", "asphalt_worn"), ("asphalt_worn", "paving"))
        return self.surface(ramp[int(self.rng.integers(3))], (0.45, 1.3), streak_deg)

    def concrete(self) -> Surface:
        """Concrete or paving."""
        ramp = (("concrete_dark", "concrete"), ("concrete", "concrete_light"), ("paving", "concrete"))
        return self.surface(ramp[int(self.rng.integers(3))], (0.45, 1.3))

    def hard(self) -> Surface:
        """Any paved surface."""
        return self.asphalt() if self.rng.random() < 0.65 else self.concrete()

    def water(self) -> Surface:
        """Water of some colour."""
        ramp = (
            ("water_deep", "water_deep", "water_blue"),
            ("water_green", "water_green", "water_muddy"),
            ("water_muddy", "mud"),
            ("water_blue", "water_green"),
            ("water_deep", "water_green", "glint"),
        )
        return self.surface(ramp[int(self.rng.integers(len(ramp)))], (0.05, 0.35))

    # ------------------------------------------------------------------ placing

    def strip(
        self,
        kind: str,
        d: float,
        width_m: float,
        surface: Surface,
        rough_m: float = 0.0,
        height_m: float = 0.0,
    ) -> None:
        """A strip along the curve at offset `d` (its middle)."""
        self.cover.append(Strip(kind, self.curve.line(d), width_m, surface, rough_m, height_m))

    def prop(
        self,
        kind: str,
        s: float,
        d: float,
        turn_deg: float,
        size: tuple[float, float, float],
        material: str,
        colour: Colour | None = None,
        *,
        over: bool = False,
        seed: int | None = None,
    ) -> None:
        """A prop at station `s`, offset `d`, turned against the curve's heading."""
        x, y = self.curve.xy(s, d)
        self.put(kind, x, y, self.curve.angle_deg(s) + turn_deg, size, material, colour, over=over, seed=seed)

    def put(
        self,
        kind: str,
        x: float,
        y: float,
        angle_deg: float,
        size: tuple[float, float, float],
        material: str,
        colour: Colour | None = None,
        *,
        over: bool = False,
        seed: int | None = None,
    ) -> None:
        """A prop at a place in the scene, left out where it can't show."""
        if seed is None and kind in _POOLED:
            # Vehicles and boxes of a place come from a few designs, which saves drawing each one anew.
            k = int(self.rng.integers(6))
            seed = self.pool.setdefault((kind, k), self.seed())
            colour = colour or self.paints.setdefault((material, k), self.paint(material))
        r = 0.5 * math.hypot(size[0], size[1]) + size[2]
        if not (-r < x < self.size_m[0] + r and -r < y < self.size_m[1] + r):
            return
        snow = self.weather.snow * self.rng.uniform(0.4, 1.0) if self.weather.snow > 0 else 0.0
        colour = colour or self.paint(material)
        seed = self.seed() if seed is None else seed
        self.props.append(Prop(kind, x, y, angle_deg, *size, colour, material, seed, over, snow))

    def paint(self, material: str) -> Colour:
        """A material's colour with a chance tint."""
        return tinted(material, (1.0, 1.0, 1.0), self.rng, 0.12)

    def near(self, s: float, d: float, margin_m: float = 12.0) -> bool:
        """Whether a place along the curve is in or near the scene."""
        x, y = self.curve.xy(s, d)
        return bool(-margin_m < x < self.size_m[0] + margin_m and -margin_m < y < self.size_m[1] + margin_m)

    def span(self) -> tuple[float, float]:
        """The range of stations that can lie in the scene."""
        return (-self.curve.reach_m, self.curve.reach_m)

    def mark(self, d: float, width_m: float, colour: Colour, strength: float) -> None:
        """A line along the curve at offset `d`."""
        self.cover.append(Marking(self.curve.line(d), width_m, colour, strength=strength))

    def scrub(
        self, polygon: tuple[Point, ...], cover: tuple[float, float], height_m: tuple[float, float]
    ) -> None:
        """Bushes or crowns over part of a polygon."""
        leaves, bump = self.leaves(), self.rng.uniform(*height_m)
        self.cover.append(Area("scrub", polygon, leaves, bump_m=bump, cover=self.rng.uniform(*cover)))

    def wear(self, d0: float, d1: float, per_m2: float = 1 / 500) -> None:
        """Repairs, stains, tyre marks and cracks on a hard band between two offsets."""
        rng = self.rng
        low, high = min(d0, d1), max(d0, d1)
        a, b = self.span()
        n = min(int(rng.poisson(max((high - low) * (b - a), 0.0) * per_m2)), 40)
        for _ in range(n):
            s, d = rng.uniform(a, b), rng.uniform(low, high)
            if not self.near(s, d, 5.0):
                continue
            kind = rng.random()
            if kind < 0.4:  # a patch of other asphalt or concrete
                e, f = rng.uniform(1.0, 14.0), rng.uniform(0.8, 6.0)
                band = self.curve.band(d, min(d + f, high), s, s + e)
                self.cover.append(Area("patch", band, self.hard(), 0.3))
            else:
                dark = kind < 0.8
                turn = rng.normal(0.0, 0.35) + (math.pi / 2 if rng.random() < 0.3 else 0.0)
                reach = rng.uniform(3.0, 40.0)
                s1 = float(np.clip(s + reach * math.cos(turn), a, b))
                d1_ = float(np.clip(d + reach * math.sin(turn), low, high))
                tone = (0.03, 0.03, 0.03) if dark else (0.35, 0.34, 0.33)
                line = self.curve.xy(s, d), self.curve.xy(s1, d1_)
                wide = float(rng.choice([0.2, 0.4, 1.0, 2.5]))
                self.cover.append(Marking(line, wide, tone, strength=rng.uniform(0.08, 0.4)))

    def band(self, kind: str, d0: float, d1: float, surface: Surface, rough_m: float = 0.0) -> None:
        """An area between two offsets, as long as the curve."""
        self.cover.append(Area(kind, self.curve.band(d0, d1), surface, rough_m))

    def part(self, shortest_m: float) -> tuple[float, float]:
        """A chance stretch of stations, often the whole."""
        a, b = self.span()
        if self.rng.random() < 0.5:
            return a, b
        n = self.rng.uniform(shortest_m, 1.2 * (b - a))
        start = self.rng.uniform(a, max(a + 1.0, b - n))
        return start, min(start + n, b)


# ----------------------------------------------------------------------------------------------- plain strips


def verge(site: SceneDraft, side: float, d: float) -> float:
    """Grass, weeds or dirt of uneven width."""
    w = site.rng.uniform(1.5, 8.0)
    surface = site.green() if site.rng.random() < 0.6 else site.bare()
    site.strip("verge", side * (d + w / 2), w, surface, site.rng.uniform(0.3, 2.0))
    if site.rng.random() < 0.4:
        site.scrub(site.curve.band(side * d, side * (d + w)), (0.05, 0.5), (0.4, 2.5))
    if site.rng.random() < 0.35:  # a mown or worn edge inside it
        site.strip("verge", side * (d + w * 0.7), site.rng.uniform(0.6, 1.6), site.bare(), 0.4)
    return w


def ditch(site: SceneDraft, side: float, d: float) -> float:
    """A ditch: one lit and one shaded slope, wet or weedy in the middle."""
    w = site.rng.uniform(1.8, 5.0)
    deep = site.rng.uniform(0.4, 1.6)
    slope = site.green() if site.rng.random() < 0.6 else site.bare()
    bright, dark = _slopes(site, side)
    site.strip("ditch", side * (d + w * 0.22), w * 0.5, _tone(slope, bright), 0.4, -deep * 0.4)
    site.strip("ditch", side * (d + w * 0.78), w * 0.5, _tone(slope, dark), 0.4, -deep * 0.4)
    if site.rng.random() < 0.75:
        middle = site.water() if site.rng.random() < 0.45 else _tone(site.green(), site.rng.uniform(0.5, 1.0))
        site.strip("ditch", side * (d + w * 0.5), w * site.rng.uniform(0.2, 0.5), middle, 0.3, -deep)
    return w


def _slopes(site: SceneDraft, side: float) -> tuple[float, float]:
    """Brightness of the near and the far slope of a cut on a side, from the sun."""
    # The near slope faces away from the curve: its normal points along `side` times the right-hand normal.
    normal = site.curve.heading_deg + 90.0 + (0.0 if side > 0 else 180.0) + 90.0  # as azimuth
    facing = math.cos(math.radians(site.sun.azimuth_deg - normal))
    strength = 0.35 * facing / math.tan(math.radians(max(site.sun.elevation_deg, 20.0)))
    return float(np.clip(1.0 + strength, 0.45, 1.5)), float(np.clip(1.0 - strength, 0.45, 1.5))


def _tone(surface: Surface, factor: float) -> Surface:
    r, g, b = surface.tint
    return replace(surface, tint=(r * factor, g * factor, b * factor))


def embankment(site: SceneDraft, side: float, d: float) -> float:
    """A slope up or down beside the bed, lit or shaded as a whole."""
    w = site.rng.uniform(2.0, 7.0)
    bright, dark = _slopes(site, side)
    surface = site.green() if site.rng.random() < 0.6 else site.bare()
    lit = bright if site.rng.random() < 0.5 else dark
    site.strip("embankment", side * (d + w / 2), w, _tone(surface, lit), 0.8)
    return w


def service_road(site: SceneDraft, side: float, d: float) -> float:
    """A narrow road of gravel, dirt or asphalt, sometimes with wheel tracks and a vehicle."""
    rng = site.rng
    w = rng.uniform(2.6, 5.0)
    gap = rng.uniform(0.0, 2.0)
    middle = side * (d + gap + w / 2)
    paved = rng.random() < 0.35
    surface = site.asphalt(site.curve.heading_deg) if paved else site.bare()
    site.strip("service_road", middle, w, surface, 0.0 if paved else 0.5)
    if not paved and rng.random() < 0.7:
        tone = rgb(one_of(rng, "soil_light gravel sand mud"))
        for offset in (-0.85, 0.85):
            site.mark(middle + offset, 0.55, tone, rng.uniform(0.2, 0.6))
    for s in _stations(site, 0.02):
        _road_vehicle(site, s, middle, bool(rng.random() < 0.4))
    return gap + w


def footpath(site: SceneDraft, side: float, d: float) -> float:
    """A path of 1 to 2.5 m, bright or dark."""
    rng = site.rng
    gap = rng.uniform(0.5, 4.0)
    w = rng.uniform(0.9, 2.6)
    surface = site.bare() if rng.random() < 0.5 else site.hard()
    site.strip("footpath", side * (d + gap + w / 2), w, surface, 0.25)
    return gap + w + rng.uniform(0.2, 2.0)


def wall(site: SceneDraft, side: float, d: float) -> float:
    """A wall, noise barrier, fence or hedge: thin, tall, with its shadow."""
    rng = site.rng
    w = rng.uniform(0.2, 0.6)
    h = rng.uniform(1.2, 4.5)
    tone = one_of(rng, "concrete concrete_dark grey_dark brown leaf_dark concrete_light")
    a, b = site.part(30.0)
    line = site.curve.line(side * (d + 0.5 + w / 2), a, b)
    site.cover.append(Strip("wall", line, w, site.surface((tone, tone), (0.1, 0.5)), 0.0, h))
    return w + 1.0 + rng.uniform(0.0, 1.5)


def fence(site: SceneDraft, side: float, d: float) -> float:
    """A fence: a faint line with posts."""
    rng = site.rng
    at = side * (d + rng.uniform(0.3, 1.5))
    site.mark(at, 0.2, rgb(one_of(rng, "grey_light grey_dark brown")), rng.uniform(0.45, 1.3))
    return 2.0


def pipes(site: SceneDraft, side: float, d: float) -> float:
    """Parallel pipelines or cable troughs."""
    rng = site.rng
    n = int(rng.integers(1, 5))
    tone = one_of(rng, "grey_light galvanised white rust grey concrete")
    for i in range(n):
        w, surface = rng.uniform(0.3, 0.7), site.surface((tone, tone), (0.05, 0.3))
        site.strip("pipe", side * (d + 1.0 + 0.9 * i), w, surface, 0.0, 0.8)
    return n * 0.9 + 1.5


def canal(site: SceneDraft, side: float, d: float) -> float:
    """A canal or river arm with banks of concrete, stone or grass, perhaps a towpath."""
    rng = site.rng
    bank = rng.uniform(0.6, 3.5)
    w = float(np.exp(rng.uniform(math.log(4.0), math.log(45.0))))
    stone = site.concrete() if rng.random() < 0.5 else site.bare()
    bright, dark = _slopes(site, side)
    rough = 0.0 if rng.random() < 0.5 else rng.uniform(0.4, 1.8)
    site.strip("bank", side * (d + bank / 2), bank, _tone(stone, bright), rough * 0.5)
    site.strip("bank", side * (d + bank + w + bank / 2), bank, _tone(stone, dark), rough * 0.5)
    site.strip("water", side * (d + bank + w / 2), w + 0.4, site.water(), rough, -1.0)
    if rng.random() < 0.5:
        site.strip("bank", side * (d + bank), rng.uniform(0.3, 0.8), site.concrete())
    if w > 12.0 and rng.random() < 0.5:
        for s in _stations(site, 0.012):
            length, wide = rng.uniform(18.0, 75.0), rng.uniform(4.5, 11.0)
            if wide < w * 0.7:
                lane = side * (d + bank + wide / 2 + 0.6 + rng.uniform(0.0, w - wide - 1.0))
                paint = pick(rng, weighted("rust 2 grey 1 red_oxide 1 soot 1"))
                site.prop("barge", s, lane, 0.0, (length, wide, 2.0), paint)
    return 2 * bank + w


# --------------------------------------------------------------------------------------------- roads and lots


def _stations(site: SceneDraft, per_m: float) -> list[float]:
    """Chance stations at a density."""
    a, b = site.span()
    n = int(site.rng.poisson((b - a) * per_m))
    return sorted(float(s) for s in site.rng.uniform(a, b, n))


def _road_vehicle(site: SceneDraft, s: float, d: float, heavy: bool, turn: float = 0.0) -> None:
    rng = site.rng
    if not site.near(s, d):
        return
    if not heavy:
        size = rng.uniform(3.8, 5.2), rng.uniform(1.7, 2.0), rng.uniform(1.4, 1.9)
        site.prop("car", s, d, turn, size, pick(rng, CAR_PAINTS))
    elif rng.random() < 0.25:
        site.prop("bus", s, d, turn, (rng.uniform(10.5, 14.5), 2.55, 3.1), pick(rng, TRAILER_PAINTS))
    else:
        size = rng.uniform(12.0, 16.5), rng.uniform(2.4, 2.6), rng.uniform(3.4, 4.1)
        paint = pick(rng, TRAILER_PAINTS if rng.random() < 0.6 else CONTAINER_PAINTS)
        site.prop("truck", s, d, turn, size, paint)


def road(site: SceneDraft, side: float, d: float) -> float:
    """A road of one to six lanes with markings, kerbs and traffic, trucks nose to tail included."""
    rng = site.rng
    lanes = int(rng.choice([1, 2, 2, 3, 4, 6]))
    lane = rng.uniform(2.9, 3.7)
    shoulder = rng.uniform(0.2, 2.2)
    gap = rng.uniform(0.0, 3.0)
    w = lanes * lane + 2 * shoulder
    middle = side * (d + gap + w / 2)
    if rng.random() < 0.5:  # kerb or gravel shoulder
        wide = w + rng.uniform(0.5, 3.0)
        site.strip("kerb", middle, wide, site.concrete() if rng.random() < 0.5 else site.bare(), 0.2)
    surface = site.asphalt(site.curve.heading_deg) if rng.random() < 0.85 else site.concrete()
    site.strip("road", middle, w, surface)
    site.wear(middle - w / 2, middle + w / 2, 1 / 300)
    white = rgb("line_white")
    strength = rng.uniform(0.2, 0.9)
    if rng.random() < 0.7:
        for e in (-1.0, 1.0):
            site.mark(middle + e * lanes * lane / 2, 0.15, white, strength)
    for i in range(1, lanes):
        tone = rgb("line_yellow") if 2 * i == lanes and rng.random() < 0.5 else white
        solid = 2 * i == lanes and rng.random() < 0.5
        line = site.curve.line(middle + (i - lanes / 2) * lane)
        site.cover.append(Marking(line, 0.15, tone, 0.0 if solid else 3.0, 9.0, strength))
    if lanes >= 4 and rng.random() < 0.5:  # a median
        wide, surface = rng.uniform(0.6, 3.0), site.green() if rng.random() < 0.6 else site.concrete()
        site.strip("median", middle, wide, surface, 0.0, 0.2)
    trees = rng.random()
    if trees < 0.35:  # an avenue, or a planted median
        rows = (middle,) if trees < 0.12 and lanes >= 4 else (middle - w / 2 - 1.0, middle + w / 2 + 1.0)
        pitch = rng.uniform(5.0, 18.0)
        for s in np.arange(*site.span(), pitch):
            for row in rows:
                if rng.random() < 0.8:
                    tree(site, float(s) + rng.normal(0.0, pitch / 8), row)
    for i in range(lanes):
        at = middle + (i + 0.5 - lanes / 2) * lane
        turn = 0.0 if i * 2 < lanes else 180.0
        if rng.random() < 0.12:  # a queue of trucks, nose to tail: the closest a road comes to a train
            a, b = site.part(60.0)
            s = a
            while s < b:
                _road_vehicle(site, s, at, bool(rng.random() < 0.85), turn)
                s += rng.uniform(16.5, 22.0)
        else:
            for s in _stations(site, float(rng.choice([0.003, 0.012, 0.04]))):
                _road_vehicle(site, s, at, bool(rng.random() < 0.25), turn)
    return gap + w + 0.5


def trailer_rows(site: SceneDraft, side: float, d: float) -> float:
    """Parked semi-trailers, trucks or buses side by side, in one or two rows."""
    rng = site.rng
    rows = int(rng.choice([1, 1, 2, 3]))
    turn = float(rng.choice([90.0, 90.0, 90.0, 60.0, 45.0]))
    kind = one_of(rng, "trailer trailer trailer truck bus")
    length = float(
        rng.choice([6.5, 9.0, 12.2, 13.6, 14.6, 16.2]) if kind == "trailer" else rng.uniform(9.0, 16.5)
    )
    pitch = rng.uniform(2.9, 4.4) / math.sin(math.radians(turn))
    depth = length * math.sin(math.radians(turn)) + 2.6 * math.cos(math.radians(turn))
    total = 0.0
    fleet = pick(rng, TRAILER_PAINTS)
    uniform = rng.random() < 0.5
    fill = float(rng.choice([0.5, 0.75, 0.95]))
    deep = rows * depth + (rows + 1) * rng.uniform(1.0, 14.0)
    _lot(site, side, d, deep)
    a, b = site.part(40.0)
    aisle = (deep - rows * depth) / (rows + 1)
    total = aisle
    for _ in range(rows):
        at = side * (d + total + depth / 2)
        s = a + rng.uniform(0, 5)
        while s < b:
            if rng.random() < fill:
                if site.near(s, at):
                    paint = fleet if uniform else pick(rng, TRAILER_PAINTS)
                    size = (
                        length * float(rng.choice([1.0, 1.0, 1.0, 0.85])),
                        2.55,
                        3.2 if kind == "bus" else 3.9,
                    )
                    site.prop(kind, s, at + rng.normal(0, 0.35), turn + rng.normal(0, 1.0), size, paint)
                s += pitch * rng.uniform(0.95, 1.08)
            else:
                s += pitch * rng.uniform(1.0, 6.0)
        total += depth + aisle
    return deep


def trailer_line(site: SceneDraft, side: float, d: float) -> float:
    """Trailers, containers on chassis or buses parked end to end: a false train."""
    rng = site.rng
    lines = int(rng.choice([1, 2, 3]))
    w = lines * 3.6 + 4.0
    _lot(site, side, d, w)
    for i in range(lines):
        at = side * (d + 3.5 + i * 3.6)
        kind = one_of(rng, "trailer truck container bus")
        size = float(rng.choice([6.1, 12.2, 13.6, 14.6])), 2.5, 2.7 if kind == "container" else 3.8
        paints = CONTAINER_PAINTS if kind == "container" else TRAILER_PAINTS
        a, b = site.part(30.0)
        s = a
        while s < b:
            if rng.random() < 0.85 and site.near(s, at):
                site.prop(kind, s, at + rng.normal(0, 0.15), rng.normal(0, 0.8), size, pick(rng, paints))
            s += size[0] + rng.uniform(0.4, 4.0)
    return w


def _lot(site: SceneDraft, side: float, d: float, width_m: float) -> None:
    """A paved or gravelled area under parked things."""
    hard = site.rng.random() < 0.75
    surface = site.hard() if hard else site.bare()
    site.band("lot", side * d, side * (d + width_m), surface)
    if hard:
        site.wear(side * d, side * (d + width_m))


def car_park(site: SceneDraft, side: float, d: float) -> float:
    """Rows of parked cars: a customers' car park with aisles, or new cars packed bumper to bumper."""
    rng = site.rng
    dense = rng.random() < 0.45
    modules = int(rng.choice([2, 3, 4] if dense else [1, 2, 3]))
    slot = rng.uniform(4.7, 5.3) if dense else rng.uniform(4.8, 5.6)
    pitch = rng.uniform(2.05, 2.5) if dense else rng.uniform(2.35, 2.8)
    aisle = float(rng.choice([0.6, 3.5, 6.5])) if dense else rng.uniform(5.5, 8.0)
    rows = 2 * modules
    w = modules * (2 * slot + aisle) + 2.0
    _lot(site, side, d, w)
    along = rng.random() < (0.35 if dense else 0.15)  # cars parallel to the curve instead of across
    fill = float(rng.choice([0.85, 0.97, 1.0] if dense else [0.15, 0.5, 0.8, 0.97]))
    paints: tuple[tuple[str, float], ...] = CAR_PAINTS
    if dense and rng.random() < 0.5:
        paints = (("white", 4.0), ("silver", 3.0), ("black", 3.0), (pick(rng, CAR_PAINTS), 3.0))
    bank = [(pick(rng, paints), site.seed()) for _ in range(9)]
    colours = {m: tinted(m, (1.0, 1.0, 1.0), rng, 0.1) for m, _ in bank}
    a, b = site.part(30.0)
    white = rgb("line_white")
    lined = rng.random() < 0.6
    at = d + 1.0
    for r in range(rows):
        middle = side * (at + slot / 2)
        step = slot if along else pitch
        tracks = (middle - 1.2, middle + 1.2) if along else (middle,)
        marks: list[tuple[Point, ...]] = []
        for lane in tracks:
            s = a
            while s < b:
                if site.near(s, lane, 3.0):
                    if rng.random() < fill:
                        m, seed = bank[int(rng.integers(len(bank)))]
                        turn = (0.0 if along else 90.0) + (180.0 if rng.random() < 0.5 else 0.0)
                        at_d = lane + rng.normal(0, 0.15)
                        site.prop("car", s, at_d, turn, (4.5, 1.8, 1.5), m, colours[m], seed=seed)
                    if lined and not along:
                        ends = np.array([middle - slot / 2, middle + slot / 2])
                        marks.append(as_points(site.curve.at(np.full(2, s + step / 2), ends)))
                s += step
        site.cover += [Marking(line, 0.12, white, strength=0.45) for line in marks]
        at += slot + (aisle if r % 2 == 0 else 0.0)
    return w


def container_stacks(site: SceneDraft, side: float, d: float) -> float:
    """Blocks of containers, one to four high, long axes along or across."""
    rng = site.rng
    rows = int(rng.integers(1, 7))
    gap = rng.uniform(0.3, 1.2)
    w = rows * (2.45 + gap) + 4.0
    lane = rng.uniform(2.0, 12.0)
    _lot(site, side, d, w + lane)
    size = float(rng.choice([6.06, 12.19, 12.19]))
    fill = float(rng.choice([0.5, 0.8, 0.95]))
    high = int(rng.choice([1, 2, 3, 4]))
    a, b = site.part(25.0)
    bank = [pick(rng, CONTAINER_PAINTS) for _ in range(int(rng.integers(1, 8)))]
    for r in range(rows):
        at = side * (d + lane + 2.0 + r * (2.45 + gap))
        s = a
        while s < b:
            if rng.random() < fill and site.near(s, at):
                stack = size, 2.44, 2.6 * int(rng.integers(1, high + 1))
                site.prop("container", s, at, 0.0, stack, bank[int(rng.integers(len(bank)))])
            s += size + rng.uniform(0.45, 1.3) + (6.0 if rng.random() < 0.04 else 0.0)
    return w + lane


# ----------------------------------------------------------------------------------------------- built things


_ROOFS = weighted(
    "roof_white 3 roof_grey 4 roof_metal 3 roof_dark 2 roof_tar 2.5 roof_red 1.5 roof_brown 1.5 "
    "roof_blue 1 roof_green 1 roof_rust 1.5 roof_beige 2"
)


def warehouses(site: SceneDraft, side: float, d: float) -> float:
    """Large halls parallel to the curve, with docks and trailers before them."""
    rng = site.rng
    apron = float(rng.choice([0.5, 3.0, 16.0, 22.0])) * rng.uniform(0.8, 1.2)
    deep = rng.uniform(12.0, 55.0)
    _lot(site, side, d, apron + deep + 2.0)
    a, b = site.span()
    s = a + rng.uniform(0.0, 40.0)
    paint = pick(rng, _ROOFS)
    while s < b:
        n = rng.uniform(20.0, 130.0)
        if rng.random() < 0.3:
            paint = pick(rng, _ROOFS)
        at = side * (d + apron + deep / 2)
        size = n, deep * rng.uniform(0.75, 1.0), rng.uniform(5.0, 11.0)
        site.prop("building", s + n / 2, at, 0.0, size, paint)
        if apron > 10.0:
            for q in np.arange(s + 3.0, s + n - 3.0, rng.uniform(3.5, 5.0)):
                if rng.random() < 0.5 and site.near(float(q), at):
                    dock = side * (d + apron - 6.9)
                    site.prop("trailer", float(q), dock, 90.0, (13.0, 2.5, 3.9), pick(rng, TRAILER_PAINTS))
        s += n + float(rng.choice([1.0, 6.0, 15.0, 35.0]))
    return apron + deep + 2.0


def long_roofs(site: SceneDraft, side: float, d: float) -> float:
    """Rows of long narrow roofs, wagon-like in width: garages, self-storage, poultry sheds, row houses."""
    rng = site.rng
    rows = int(rng.integers(1, 6))
    deep = rng.uniform(3.0, 12.0)
    gap = rng.uniform(2.0, 9.0)
    _lot(site, side, d, rows * (deep + gap) + 1.0)
    paint = pick(rng, _ROOFS)
    h = rng.uniform(2.4, 5.0)
    a, b = site.part(40.0)
    unit = float(rng.choice([8.0, 14.0, 30.0, 90.0])) * rng.uniform(0.8, 1.3)
    for r in range(rows):
        at = side * (d + gap / 2 + r * (deep + gap) + deep / 2)
        s = a + rng.uniform(0, 8)
        while s < b:
            if site.near(s + unit / 2, at, unit / 2 + 10) and rng.random() < 0.92:
                roof = paint if rng.random() < 0.85 else pick(rng, _ROOFS)
                site.prop("building", s + unit / 2, at, 0.0, (unit, deep, h), roof)
            s += unit + float(rng.choice([0.4, 1.5, 4.0]))
    return rows * (deep + gap) + 1.0


def sheds(site: SceneDraft, side: float, d: float) -> float:
    """Small huts, kiosks, relay boxes, pallets and sacks scattered beside the line."""
    rng = site.rng
    w = rng.uniform(4.0, 14.0)
    if rng.random() < 0.6:
        site.strip("yard", side * (d + w / 2), w, site.bare(), 0.8)
    for s in _stations(site, 0.03):
        at = side * (d + rng.uniform(1.5, w - 1.0))
        kind = rng.random()
        if kind < 0.5:
            turn = float(rng.choice([0.0, 90.0, rng.uniform(0, 180)]))
            size = rng.uniform(2.5, 13.0), rng.uniform(2.2, 6.0), rng.uniform(2.2, 4.0)
            site.prop("building", s, at, turn, size, pick(rng, _ROOFS))
        elif kind < 0.8:
            tone = one_of(rng, "timber concrete tarp_white tarp_blue rust logs grey_light ballast_light")
            n = int(rng.integers(1, 9))
            size = (rng.uniform(1.0, 8.0), rng.uniform(0.8, 2.6), rng.uniform(0.4, 2.0))
            for i in range(n):
                site.prop("slab", s + i * (size[0] + 0.4), at, rng.normal(0, 1.5), size, tone)
        else:
            tone = one_of(rng, "coal aggregate sand soil ballast_fresh ore_red snow_old")
            r = rng.uniform(3.0, 12.0)
            site.prop("pile", s, at, rng.uniform(0, 180), (r * 1.6, r, r * 0.25), tone)
    return w


def houses(site: SceneDraft, side: float, d: float) -> float:
    """A street of houses with gardens."""
    rng = site.rng
    w = rng.uniform(14.0, 28.0)
    band = site.curve.band(side * d, side * (d + w))
    site.cover.append(Area("gardens", band, site.green(), 1.0))
    if rng.random() < 0.7:
        site.scrub(band, (0.05, 0.4), (1.0, 7.0))
    pitch = rng.uniform(11.0, 24.0)
    a, b = site.span()
    for s in np.arange(a, b, pitch):
        if rng.random() < 0.88:
            size = (rng.uniform(8.0, min(pitch - 1.0, 18.0)), rng.uniform(7.0, 11.0), rng.uniform(3.0, 7.0))
            at = side * (d + w * 0.5 + rng.normal(0, 1.0))
            turn = float(rng.choice([0.0, 90.0])) + rng.normal(0, 2.0)
            site.prop("building", float(s), at, turn, size, pick(rng, _ROOFS))
        if rng.random() < 0.5:
            tree(site, float(s) + pitch / 2, side * (d + w * rng.uniform(0.1, 0.9)))
    return w


def greenhouses(site: SceneDraft, side: float, d: float) -> float:
    """Glass or foil houses in dense rows, along or across."""
    rng = site.rng
    w = rng.uniform(20.0, 60.0)
    site.cover.append(Area("lot", site.curve.band(side * d, side * (d + w)), site.bare(), 0.5))
    wide = float(rng.choice([3.2, 6.5, 8.0, 9.5]))
    paint = pick(rng, weighted("roof_white 3 glass 2 roof_grey 1 concrete_light 1"))
    gap = rng.uniform(0.2, 2.0)
    if rng.random() < 0.5:
        for s in np.arange(*site.span(), wide + gap):
            if rng.random() < 0.95:
                site.prop("greenhouse", float(s), side * (d + w / 2), 90.0, (w - 3.0, wide, 3.0), paint)
    else:
        a, b = site.part(40.0)
        for q in np.arange(d + 1.0 + wide / 2, d + w - wide / 2, wide + gap):
            site.prop("greenhouse", (a + b) / 2, side * float(q), 0.0, (b - a, wide, 3.0), paint)
    return w


def platform(site: SceneDraft, side: float, d: float) -> float:
    """A platform along the track: pale, sharp edges, a line, often a long canopy."""
    rng = site.rng
    w = rng.uniform(3.0, 10.0)
    a, b = site.part(60.0)
    h = rng.uniform(0.2, 1.2)
    surface = site.concrete() if rng.random() < 0.7 else site.asphalt(site.curve.heading_deg)
    site.cover.append(Area("platform", site.curve.band(side * d, side * (d + w), a, b), surface, 0.0, h))
    for e in (0.4, w - 0.4):
        tone = rgb(one_of(rng, "line_white line_yellow concrete_light"))
        site.cover.append(
            Marking(site.curve.line(side * (d + e), a, b), 0.2, tone, strength=rng.uniform(0.2, 0.9))
        )
    if rng.random() < 0.65:
        canopy_roofs(site, side * (d + w / 2), min(w - 0.6, rng.uniform(2.6, 9.0)), a, b)
    return w + 0.3


def canopy_roofs(site: SceneDraft, d: float, width_m: float, a: float, b: float) -> None:
    """Roofs in line over a platform, in panels or one piece."""
    rng = site.rng
    paint = pick(rng, _ROOFS)
    piece = float(rng.choice([12.0, 24.0, 60.0, 200.0])) * rng.uniform(0.8, 1.2)
    piece = min(piece, 30.0 if site.curve.curvature else 200.0)
    gap = float(rng.choice([0.0, 0.4, 3.0, 12.0]))
    s = a + rng.uniform(0, 20)
    while s < b:
        site.prop("canopy", s + piece / 2, d, 0.0, (piece, width_m, rng.uniform(3.5, 6.0)), paint, over=True)
        s += piece + gap


def storage_tanks(site: SceneDraft, side: float, d: float) -> float:
    """Round tanks behind a bund."""
    rng = site.rng
    r = rng.uniform(4.0, 16.0)
    w = 2 * r + 8.0
    site.cover.append(
        Area(
            "lot",
            site.curve.band(side * d, side * (d + w)),
            site.bare() if rng.random() < 0.6 else site.hard(),
            0.5,
        )
    )
    paint = pick(rng, weighted("white 4 grey_light 2 rust 0.5 cream 1 green 0.5"))
    for s in np.arange(*site.span(), 2 * r + rng.uniform(3.0, 15.0)):
        if rng.random() < 0.85:
            site.prop(
                "storage_tank",
                float(s),
                side * (d + w / 2),
                0.0,
                (2 * r, 2 * r, rng.uniform(6.0, 14.0)),
                paint,
            )
    return w


# ------------------------------------------------------------------------------------------------ nature


def tree(site: SceneDraft, s: float, d: float, big: float = 1.0) -> None:
    """One tree or bush."""
    rng = site.rng
    size = float(np.exp(rng.normal(1.55, 0.45))) * big
    leaf = str(rng.choice(_LEAVES[site.weather.season]))
    site.prop(
        "tree",
        s,
        d,
        0.0,
        (size, size, size * rng.uniform(0.6, 1.4)),
        leaf,
        seed=int(rng.integers(24)) * 7919 + 3,
    )


def tree_row(site: SceneDraft, side: float, d: float) -> float:
    """Trees or bushes in a row."""
    rng = site.rng
    w = rng.uniform(3.0, 8.0)
    if rng.random() < 0.7:
        site.strip("verge", side * (d + w / 2), w, site.green(), 1.0)
    pitch = rng.uniform(2.0, 14.0)
    for s in np.arange(*site.span(), pitch):
        if rng.random() < 0.8:
            tree(site, float(s) + rng.normal(0, pitch / 6), side * (d + w / 2 + rng.normal(0, 0.5)))
    return w


def hedge(site: SceneDraft, side: float, d: float) -> float:
    """A hedge or a strip of bushes, nearly closed, whose shadow lies on what is beside it."""
    rng = site.rng
    w = rng.uniform(1.5, 6.0)
    if rng.random() < 0.6:
        site.strip("verge", side * (d + w / 2), w, site.green(), 0.8)
    band = site.curve.band(side * d, side * (d + w), *site.part(25.0))
    site.scrub(band, (0.45, 0.95), (1.0, 7.0))
    return w


def woods(site: SceneDraft, side: float, d: float) -> float:
    """A wood, dense or open, with some crowns of its own on top."""
    rng = site.rng
    w = rng.uniform(10.0, 40.0)
    band = site.curve.band(side * d, side * (d + w))
    floor = site.green() if rng.random() < 0.7 else site.leaves()
    site.cover.append(Area("woods", band, floor, 2.5))
    for _ in range(int(rng.integers(1, 3))):
        site.scrub(band, (0.4, 0.95), (3.0, 12.0))
    a, b = site.span()
    for _ in range(int(rng.integers(0, 25))):
        s, q = rng.uniform(a, b), side * (d + rng.uniform(0, w))
        if site.near(s, q, 4.0):
            tree(site, s, q, 1.2)
    return w


def field_(site: SceneDraft, side: float, d: float) -> float:
    """A meadow or a ploughed field with furrows along or across."""
    rng = site.rng
    w = rng.uniform(15.0, 70.0)
    angle = site.curve.heading_deg + float(rng.choice([0.0, 90.0, rng.uniform(0, 180)]))
    ramp = site._one(_GREEN if rng.random() < 0.6 else _BARE)
    band = site.curve.band(side * d, side * (d + w))
    site.cover.append(
        Area("field", band, site.surface(ramp, (0.7, 1.7), angle if rng.random() < 0.6 else None), 0.8)
    )
    if rng.random() < 0.45:
        site.scrub(band, (0.02, 0.3), (0.5, 4.0))
    return w


def bare_yard(site: SceneDraft, side: float, d: float) -> float:
    """Open dirt, cinder or gravel with stains, tyre marks and weeds."""
    w = site.rng.uniform(5.0, 30.0)
    band = site.curve.band(side * d, side * (d + w))
    site.cover.append(Area("yard", band, site.bare(), 1.0))
    site.wear(side * d, side * (d + w), 1 / 250)
    if site.rng.random() < 0.5:
        site.scrub(band, (0.02, 0.3), (0.2, 1.5))
    return w


Band = Callable[[SceneDraft, float, float], float]
BandTable = tuple[tuple[Band, float], ...]

THIN: BandTable = (
    (verge, 4.0), (ditch, 3.0), (embankment, 2.0), (service_road, 3.5), (footpath, 2.5), (wall, 1.5),
    (fence, 1.5), (pipes, 0.6), (tree_row, 1.6), (hedge, 2.2), (platform, 0.8),
)  # fmt: skip
WIDE: BandTable = (
    (road, 3.0), (canal, 1.6), (trailer_rows, 1.8), (trailer_line, 1.2), (car_park, 2.2),
    (container_stacks, 1.3), (warehouses, 2.6), (long_roofs, 1.4), (sheds, 2.0), (houses, 1.2),
    (greenhouses, 0.5), (storage_tanks, 0.5), (woods, 1.2), (field_, 2.4), (bare_yard, 1.8),
)  # fmt: skip


def fill_side(
    site: SceneDraft, side: float, start_m: float, reach_m: float, *, thin: int | None = None
) -> None:
    """Lay bands outward from an offset until the scene's border.

    Near the middle come `thin` thin bands (verge, ditch, path ...), then wide ones, with thin ones between.
    """
    rng = site.rng
    d = start_m
    left = int(rng.integers(0, 4)) if thin is None else thin
    while d < reach_m:
        d += pick(rng, THIN if left > 0 else WIDE)(site, side, d)
        left = left - 1 if left > 0 else int(rng.integers(0, 3))


def masts(site: SceneDraft, d: float, pitch_m: float, height_m: float, arm_m: float) -> None:
    """Catenary or light masts in a row."""
    rng = site.rng
    tone = one_of(rng, "grey_light grey grey_dark")
    colour = rgb(tone)
    for s in np.arange(-site.curve.reach_m + rng.uniform(0, pitch_m), site.curve.reach_m, pitch_m):
        site.prop(
            "mast", float(s), d, 90.0 if arm_m > 0 else -90.0, (abs(arm_m), 0.3, height_m), tone, colour
        )
