"""Whole freight yards over the years: the ground once, and the wagons that stand there on each date.

A yard is a `SceneSpec` without wagons, some hundred metres to two kilometres long with its tracks along x,
and a `Traffic` that fills it: rakes come and go from date to date around a level that is the yard's own.
Each date's scene is again a `SceneSpec`, so that a fine or a coarse renderer can draw the same day.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import shapely

from detector.simulators.procedural import layout, surroundings
from detector.simulators.procedural.layout import WITHOUT_MATERIAL, Curve, Mix, TrackPath, clear_runs
from detector.simulators.procedural.rolling_stock import STOCK, Style, pick, styles, tinted
from detector.simulators.procedural.spec import (
    Area,
    Colour,
    Consist,
    Marking,
    SceneSpec,
    Sun,
    TrackSpec,
    Wagon,
    Weather,
)
from detector.simulators.procedural.surroundings import SceneDraft
from detector.wagons.categories import FREIGHT

MOST_TRACKS = 20
_BEDS = (
    ("ballast_aged", "ballast_fresh"),
    ("ballast_dark", "ballast_aged"),
    ("ballast_rusty", "ballast_aged"),
    ("cinder", "ballast_dark"),
    ("ballast_fresh", "ballast_light"),
    ("ballast_rusty", "soil"),
    ("ballast_pink", "ballast_aged"),
    ("soil", "ballast_aged"),
    ("ballast_light", "gravel"),
)


@dataclass(frozen=True)
class Yard:
    """A yard without its wagons.

    Attributes:
        spec: The ground, tracks and surroundings; no consists.
        paths: Its tracks, by id.
        mix: What stands there.
        split: Whose wagon designs may be used.
        season_peak: Day of the year on which plants are greenest.
        longest_m: Longest freight cars of the network it belongs to.
    """

    spec: SceneSpec
    paths: tuple[TrackPath, ...]
    mix: Mix
    split: str
    season_peak: float
    longest_m: float = 30.0

    @property
    def capacity_m(self) -> float:
        """Length of track on which wagons may stand, metres."""
        return sum(b - a for path in self.paths for a, b in clear_runs(path))


def random_yard(
    rng: np.random.Generator, split: str, *, ground_m: float = 160.0, length_m: float | None = None
) -> Yard:
    """Lay out a yard by chance: 1 to 20 tracks, straight or curved, with or without ladders.

    Args:
        rng: Source of chance.
        split: "train", "val" or "test".
        ground_m: Ground beside the tracks on either side.
        length_m: Of the scene, along the tracks; by chance if not given.
    """
    n = int(np.clip(round(float(np.exp(rng.normal(1.75, 0.62)))), 1, MOST_TRACKS))
    by_chance = rng.uniform(450.0, 1350.0)
    length = by_chance if length_m is None else length_m
    width = 5.2 * n + 2.0 * ground_m
    size = (length, width)
    curvature = 0.0
    if rng.random() < 0.5:
        radius = float(np.exp(rng.uniform(math.log(1200.0), math.log(12000.0))))
        curvature = float(rng.choice([-1.0, 1.0])) / radius
    sag = curvature * length**2 / 16.0
    curve = Curve(
        length / 2, width / 2 - sag, rng.normal(0.0, 1.0), curvature, length / 2 - rng.uniform(5.0, 90.0)
    )
    season = str(rng.choice(["green", "dry", "brown", "arid"], p=[0.5, 0.25, 0.1, 0.15]))
    weather = Weather(season, 0.0, 0.0, 0.05)
    site = SceneDraft(rng, size, curve, Sun(160.0, 45.0), weather)
    ladders = int(rng.choice([0, 1, 2], p=[0.35, 0.35, 0.3])) if n > 1 else 0
    paths = layout.parallel_tracks(rng, curve, n, spacing_m=(4.5, 5.6), ladders=ladders)
    offsets = [p.offset_m for p in paths]
    low, high = min(offsets) - 2.4, max(offsets) + 2.4
    ground = site.green() if rng.random() < 0.6 else site.bare()
    for side, start in ((1.0, high), (-1.0, -low)):
        surroundings.fill_side(site, side, start, width / 2 + abs(sag) + 10.0)
    _break_up(site, low, high)
    tracks = _tracks(rng, site, paths)
    _floor(rng, site, low, high)
    way = shapely.union_all([shapely.LineString(p.points).buffer(2.6) for p in paths])
    props = tuple(
        p
        for p in site.props
        if not p.over
        and (
            p.kind != "car" or rng.random() < 0.3  # few cars: at 10 m a hundred of them are one grey surface
        )
        and not way.intersects(shapely.Point(p.x_m, p.y_m).buffer(0.5 * min(p.length_m, p.width_m) + 0.5))
    )
    spec = SceneSpec(
        kind="yard",
        split=split,
        seed=int(rng.integers(1 << 31)),
        size_m=size,
        ground=ground,
        cover=tuple(c for c in site.cover if not isinstance(c, Marking)),
        tracks=tracks,
        props=props,
        weather=weather,
        notes={"n_tracks": n},
    )
    mix = layout.random_mix(rng, layout.mean_colour(tracks[0].ballast.ramp), 0.0)
    # Most networks' freight cars are 12 to 17 m long; long ones come with a few of them.
    longest = 17.6 if rng.random() < 0.7 else 30.0
    return Yard(spec, tuple(paths), replace(mix, flush=None), split, rng.normal(190.0, 20.0), longest)


def _break_up(site: SceneDraft, low: float, high: float) -> None:
    """Lay patches over the bands: real surroundings don't run on for a kilometre."""
    rng = site.rng
    w = site.size_m[0]
    for _ in range(int(rng.poisson(w / 90.0))):
        surface = [site.green, site.bare, site.hard, site.leaves][int(rng.integers(4))]()
        s = rng.uniform(-w / 2, w / 2)
        side = float(rng.choice([-1.0, 1.0]))
        d = (high if side > 0 else -low) + rng.exponential(60.0) + 3.0
        length, width = float(np.exp(rng.normal(4.0, 0.6))), float(np.exp(rng.normal(3.3, 0.6)))
        band = site.curve.band(side * d, side * (d + width), s, s + length)
        site.cover.append(Area("patch", band, surface, rough_m=rng.uniform(0.0, 3.0)))


def _floor(rng: np.random.Generator, site: SceneDraft, low: float, high: float) -> None:
    """The ground of the yard itself, and what lies on it here and there: weeds, old beds, spills."""
    if rng.random() < 0.8:
        ramp = _BEDS[int(rng.integers(len(_BEDS)))]
        site.strip("floor", (low + high) / 2, high - low + rng.uniform(-1.0, 6.0), site.surface(ramp), 1.0)
    w = site.size_m[0]
    for _ in range(int(rng.poisson(w / 110.0))):
        surface = [site.green, site.bare, site.hard][int(rng.choice(3, p=[0.4, 0.4, 0.2]))]()
        s, d = rng.uniform(-w / 2, w / 2), rng.uniform(low - 6.0, high + 6.0)
        length, width = float(np.exp(rng.normal(3.6, 0.7))), float(np.exp(rng.normal(1.6, 0.6)))
        band = site.curve.band(d - width / 2, d + width / 2, s, s + length)
        site.cover.append(Area("spot", band, surface, rough_m=1.0, cover=rng.uniform(0.5, 1.0)))


def _tracks(rng: np.random.Generator, site: SceneDraft, paths: list[TrackPath]) -> tuple[TrackSpec, ...]:
    """Beds: mostly alike in a yard, some tracks with another."""
    beds = [site.surface(_BEDS[int(rng.integers(len(_BEDS)))], (0.5, 1.3)) for _ in range(2)]
    gauge = int(rng.choice([1435, 1520]))
    width = rng.uniform(3.0, 4.6)
    stain = rng.uniform(0.0, 0.35)
    weeds = rng.uniform(0.0, 0.5) if rng.random() < 0.4 else 0.0
    return tuple(
        TrackSpec(
            id=i,
            line=layout.as_points(path.points),
            gauge_mm=gauge,
            ballast=beds[int(rng.random() < 0.25)],
            ballast_width_m=width,
            sleepers="concrete",
            sleeper_contrast=0.1,
            rail="used",
            stain=float(np.clip(stain + rng.normal(0, 0.1), 0.0, 0.6)),
            overgrown=float(np.clip(weeds * rng.uniform(0.0, 2.0), 0.0, 0.85)),
            blotchy=rng.uniform(0.0, 0.6),
        )
        for i, path in enumerate(paths)
    )


@dataclass
class _Rake:
    """A rake that stands on a track from chainage to chainage."""

    track: int
    start_m: float
    end_m: float
    wagons: tuple[Wagon, ...]
    length_m: float  # over couplers


@dataclass
class Traffic:
    """The wagons of a yard from date to date.

    Attributes:
        yard: The yard.
        rng: Source of chance.
        level: Freight cars that usually stand there.
        departure: Probability that a rake has left by the next date.
        quiet: Share of dates on which the yard is empty.
        surge: Share of dates with many more wagons than usual.
    """

    yard: Yard
    rng: np.random.Generator
    level: float
    departure: float
    quiet: float = 0.1
    surge: float = 0.12
    most: float = 330.0
    rakes: list[_Rake] = field(default_factory=list)
    _drift: float = 0.0

    @classmethod
    def random(cls, yard: Yard, rng: np.random.Generator) -> Traffic:
        """Traffic with a level between 1 and what the yard holds."""
        # A yard works only while tracks are free: 60% full is about the most that is usual.
        most = min(200.0, 0.6 * yard.capacity_m / 15.0)
        # Small yards are common, but the figures for large ones must be learned as well.
        if rng.random() < 0.7:
            level = float(np.exp(rng.uniform(math.log(1.0), math.log(max(most, 2.0)))))
        else:
            level = rng.uniform(1.0, max(most, 2.0))
        return cls(yard, rng, level, rng.uniform(0.15, 0.85), quiet=rng.uniform(0.03, 0.3))

    def next(self, target: float | None = None) -> tuple[Consist, ...]:
        """Move on to the next date and say what stands there.

        Args:
            target: Freight cars wanted, about; by the yard's level if not given.
        """
        rng = self.rng
        wanted = self._wanted() if target is None else target
        self.rakes = [s for s in self.rakes if rng.random() > self.departure]
        if wanted < 1:
            self.rakes = []
        while self.rakes and self.count > max(wanted * 1.1, wanted + 3):
            self.rakes.pop(int(rng.integers(len(self.rakes))))
        tries = 0
        while self.count < wanted - 0.5 and tries < 60:
            tries += 1
            self._arrive(wanted - self.count)
        by_track: dict[int, list[Wagon]] = {}
        for one in sorted(self.rakes, key=lambda s: (s.track, s.start_m)):
            by_track.setdefault(one.track, []).extend(one.wagons)
        return tuple(Consist(track, tuple(wagons)) for track, wagons in by_track.items())

    @property
    def count(self) -> int:
        """Freight cars that stand there now."""
        return sum(w.category == FREIGHT for s in self.rakes for w in s.wagons)

    @property
    def pieces(self) -> list[tuple[int, float, float]]:
        """Occupied stretches of track: (track id, from, to) in metres of chainage, over couplers."""
        return [(s.track, s.start_m, s.end_m) for s in self.rakes]

    def _wanted(self) -> float:
        rng = self.rng
        kind = rng.random()
        self._drift = 0.7 * self._drift + rng.normal(0.0, 0.35)
        if kind < self.quiet:
            return 0.0
        if kind < self.quiet + self.surge:
            return float(min(self.level * rng.uniform(1.8, 5.0) + rng.uniform(0, 60), self.most))
        return float(min(self.level * math.exp(self._drift), self.most))

    def _arrive(self, room: float) -> None:
        """Put one more rake on a free stretch."""
        rng, yard = self.rng, self.yard
        gaps = [
            (track, a, b)
            for track, path in enumerate(yard.paths)
            for a, b in self._free(track, path)
            if b - a > 16.0
        ]
        if not gaps:
            return
        weights = np.array([b - a for _, a, b in gaps])
        track, a, b = gaps[int(rng.choice(len(gaps), p=weights / weights.sum()))]
        size = rng.random()
        n = 1 if size < 0.08 else int(rng.integers(2, 9)) if size < 0.45 else int(rng.integers(8, 45))
        n = max(1, min(n, math.ceil(room)))
        start = a + rng.uniform(0.0, max(0.0, (b - a) - 15.0 * n)) if rng.random() < 0.7 else a + 1.0
        wagons: list[Wagon] = []
        s = start
        for style, load in _composition(rng, n, yard):
            if s + style.length_m > b:
                break
            wagons.append(_wagon(rng, style, load, yard.mix, yard.paths[track], s))
            s += style.length_m + rng.uniform(0.0, 0.2)
        if wagons:
            self.rakes.append(_Rake(track, start, s, tuple(wagons), s - start))

    def _free(self, track: int, path: TrackPath) -> list[tuple[float, float]]:
        taken = sorted((s.start_m - 2.0, s.end_m + 2.0) for s in self.rakes if s.track == track)
        out = []
        for a, b in clear_runs(path):
            at = a
            for start, end in taken:
                if end < a or start > b:
                    continue
                if start > at:
                    out.append((at, start))
                at = max(at, end)
            if b > at:
                out.append((at, b))
        return out


def _composition(rng: np.random.Generator, n: int, yard: Yard) -> list[tuple[Style, str]]:
    """Styles and loads of a rake: of one kind, in blocks, or mixed; now and then with an engine."""
    mixed = rng.random() < 0.3
    style, load = _choose(rng, yard)
    out: list[tuple[Style, str]] = []
    for _ in range(n):
        if mixed and rng.random() < 0.4:
            style, load = _choose(rng, yard)
        out.append((style, load))
    if n >= 6 and rng.random() < 0.08:
        engines = styles("locomotive", yard.split)
        out[0] = (engines[int(rng.integers(len(engines)))], "none")
    return out


def _choose(rng: np.random.Generator, yard: Yard) -> tuple[Style, str]:
    """A freight car and its load, of those that run on the yard's network."""
    kind = str(rng.choice(yard.mix.types, p=yard.mix.weights))
    options = [s for s in styles(kind, yard.split) if s.length_m <= yard.longest_m]
    if not options:  # a type that is too long for the network: a short box car stands in
        kind = "box"
        options = [s for s in styles(kind, yard.split) if s.length_m <= yard.longest_m]
    return options[int(rng.integers(len(options)))], pick(rng, STOCK[kind].loads)


def _wagon(rng: np.random.Generator, style: Style, load: str, mix: Mix, path: TrackPath, s: float) -> Wagon:
    a, b = path.place(s + 0.18 * style.length_m), path.place(s + 0.82 * style.length_m)
    pull = mix.dullness * rng.uniform(0.5, 1.0)
    bed = np.asarray(mix.bed) * rng.uniform(0.7, 1.2)
    colour = np.asarray(tinted(style.material, style.tint, rng)) * (1.0 - pull) + bed * pull
    paint: Colour = (float(colour[0]), float(colour[1]), float(colour[2]))
    return Wagon(
        type=style.type,
        category=STOCK[style.type].category,
        x_m=(a[0] + b[0]) / 2,
        y_m=(a[1] + b[1]) / 2,
        angle_deg=math.degrees(math.atan2(b[1] - a[1], b[0] - a[0])) % 360.0,
        length_m=style.body_m,
        width_m=style.width_m,
        height_m=style.height_m,
        colour=paint,
        material=style.material,
        load=load,
        load_colour=tinted("steel" if load in WITHOUT_MATERIAL else load, (1.0, 1.0, 1.0), rng),
        style=style.detail,
        seed=int(rng.integers(1 << 31)),
    )
