"""Whole scenes by chance: kind, sun, weather, ground, tracks, wagons and surroundings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise

import numpy as np
import shapely

from detector.simulators.backgrounds import BackgroundLibrary, mosaic
from detector.simulators.procedural import layout, surroundings
from detector.simulators.procedural.layout import Curve, TrackPath
from detector.simulators.procedural.rolling_stock import TRAILER_PAINTS, one_of, pick
from detector.simulators.procedural.spec import (
    SPLITS,
    Area,
    BackgroundPatch,
    Consist,
    Marking,
    Point,
    Prop,
    SceneSpec,
    Strip,
    Sun,
    Surface,
    TrackSpec,
    ViewGeometry,
    Weather,
)
from detector.simulators.procedural.surroundings import BandTable, SceneDraft

# Kinds of scenes and how often they come. The first group holds wagons, the second tracks without any, the
# third neither tracks nor wagons; "background" is a real picture as it is and needs a folder of them.
KIND_WEIGHTS: dict[str, float] = {
    "yard": 22.0,
    "sidings": 13.0,
    "mainline": 8.0,
    "station": 4.0,
    "terminal": 6.0,
    "empty_yard": 6.0,
    "empty_line": 9.0,
    "empty_sidings": 4.0,
    "strips": 8.0,
    "lots": 8.0,
    "waterway": 4.0,
    "blocks": 4.0,
    "open": 3.0,
    "background": 9.0,
    "commuter_yard": 0.0,
}
# Passenger trains are shown more often than they come, so that freight and coaches are learned to be two.
LEARNED_WEIGHTS = {**KIND_WEIGHTS, "station": 9.0, "commuter_yard": 9.0}
WAGON_KINDS = ("yard", "sidings", "mainline", "station", "terminal", "commuter_yard")
EMPTY_KINDS = ("empty_yard", "empty_line", "empty_sidings")
RAIL_FREE_KINDS = ("strips", "lots", "waterway", "blocks", "open", "background")
KINDS = tuple(KIND_WEIGHTS)

# What track beds are made of, from the dark to the bright end of their texture.
_BEDS = (
    ("ballast_aged", "ballast_fresh"),
    ("ballast_dark", "ballast_aged"),
    ("ballast_rusty", "ballast_aged"),
    ("cinder", "ballast_dark"),
    ("ballast_fresh", "ballast_light"),
    ("ballast_rusty", "soil"),
    ("ballast_pink", "ballast_aged"),
    ("ballast_light", "gravel"),
    ("ballast_dark", "ballast_rusty"),
    ("soil", "ballast_aged"),
    ("ballast_aged", "grass_dry"),
)

# What stands beside a goods terminal's tracks, and what fills scenes without a railway.
_TERMINAL: BandTable = (
    (surroundings.car_park, 3.0), (surroundings.container_stacks, 2.0), (surroundings.trailer_rows, 2.0),
    (surroundings.warehouses, 2.0), (surroundings.trailer_line, 1.0),
)  # fmt: skip
_GREEN_WALLS: BandTable = (
    (surroundings.hedge, 2.0), (surroundings.tree_row, 2.0), (surroundings.woods, 1.0),
)  # fmt: skip
_FILLINGS: dict[str, BandTable] = {
    "lots": (
        (surroundings.car_park, 4.0), (surroundings.trailer_rows, 3.0), (surroundings.trailer_line, 2.5),
        (surroundings.container_stacks, 2.0), (surroundings.warehouses, 2.0),
        (surroundings.long_roofs, 2.0), (surroundings.greenhouses, 1.0), (surroundings.road, 1.0),
        (surroundings.storage_tanks, 0.5),
    ),
    "blocks": (
        (surroundings.houses, 3.0), (surroundings.warehouses, 2.0), (surroundings.long_roofs, 2.0),
        (surroundings.road, 4.0), (surroundings.car_park, 1.0), (surroundings.tree_row, 1.0),
        (surroundings.platform, 0.6),
    ),
    "open": (
        (surroundings.field_, 4.0), (surroundings.woods, 2.0), (surroundings.verge, 1.0),
        (surroundings.ditch, 2.0), (surroundings.service_road, 2.0), (surroundings.tree_row, 2.0),
        (surroundings.footpath, 2.0), (surroundings.canal, 1.0), (surroundings.bare_yard, 1.0),
        (surroundings.wall, 0.5),
    ),
}  # fmt: skip


def random_weather(rng: np.random.Generator, *, snow_share: float = 0.35) -> Weather:
    """Season, snow, wetness and haze; `snow_share` is how often snow lies in the brown season."""
    season = str(rng.choice(["green", "dry", "brown", "arid"], p=[0.38, 0.24, 0.22, 0.16]))
    snow = rng.uniform(0.2, 1.0) if season == "brown" and rng.random() < snow_share else 0.0
    moisture = rng.uniform(0.3, 1.0) if rng.random() < 0.2 else 0.0
    haze = float(np.clip(rng.exponential(0.08), 0.0, 0.6))
    return Weather(season, snow, moisture, haze)


def random_light(rng: np.random.Generator, *, low_share: float = 0.0) -> tuple[Sun, ViewGeometry]:
    """Where the sun stands and the sensor looks; `low_share` is how often the sun is made to stand low."""
    azimuth = rng.normal(170.0, 35.0) % 360.0 if rng.random() < 0.85 else rng.uniform(0.0, 360.0)
    elevation = float(np.clip(rng.beta(2.2, 2.2) * 62.0 + 12.0, 12.0, 74.0))
    if low_share > 0.0 and rng.random() < low_share:
        elevation = rng.uniform(10.0, 30.0)
    kind = rng.random()
    tilt = rng.uniform(0, 5) if kind < 0.42 else rng.uniform(5, 22) if kind < 0.86 else rng.uniform(22, 38)
    return Sun(azimuth, elevation), ViewGeometry(float(tilt), rng.uniform(0, 360))


def random_scene(
    rng: np.random.Generator,
    *,
    split: str,
    size_m: float | tuple[float, float] = 144.0,
    kind: str | None = None,
    backgrounds: BackgroundLibrary | None = None,
    background_share: float = 0.5,
) -> SceneSpec:
    """Describe a scene by chance.

    Args:
        rng: source of chance; equal generators give equal scenes.
        split: "train", "val" or "test": decides asset styles, background pictures and, later, sensors.
        size_m: side of the square scene, or (east-west, north-south) in metres.
        kind: one of `KINDS`; by weight if not given.
        backgrounds: real pictures for ground and negatives, if there are any.
        background_share: how often a scene lies on them.

    Raises:
        ValueError: an unknown split or kind, or kind "background" without backgrounds.

    Example:
        >>> spec = random_scene(np.random.default_rng(4), split="train", kind="yard")
        >>> spec.size_m, len(spec.wagons) > 0
        ((144.0, 144.0), True)
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, not {split!r}")
    if kind is None:
        names = [k for k in KINDS if k != "background" or backgrounds is not None]
        usual = LEARNED_WEIGHTS if split == "train" else KIND_WEIGHTS
        weights = np.array([usual[k] for k in names])
        kind = names[int(rng.choice(len(names), p=weights / weights.sum()))]
    elif kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    size = (float(size_m), float(size_m)) if isinstance(size_m, int | float) else size_m
    # What is rare but hard is shown more often than it comes; checks and tests keep to how often it comes.
    learning = split == "train"
    weather = random_weather(rng, snow_share=0.6 if learning else 0.35)
    sun, view = random_light(rng, low_share=0.2 if learning else 0.0)
    if kind == "background":
        if backgrounds is None:
            raise ValueError("kind 'background' needs a library of backgrounds")
        return _background_scene(rng, split, size, sun, weather, backgrounds)
    on_picture: tuple[BackgroundPatch, ...] = ()
    if backgrounds is not None and rng.random() < background_share:
        on_picture = mosaic(rng, backgrounds, split, size, ground=True)
        weather = replace(weather, snow=0.0, moisture=0.0)
    if kind in RAIL_FREE_KINDS:
        return _rail_free(rng, kind, split, size, sun, view, weather, on_picture)
    return _rail(rng, kind, split, size, sun, view, weather, on_picture)


def _background_scene(
    rng: np.random.Generator,
    split: str,
    size: tuple[float, float],
    sun: Sun,
    weather: Weather,
    library: BackgroundLibrary,
) -> SceneSpec:
    """A real picture, or a few of them edge to edge, with nothing added."""
    with_rail = library.of(split, rail=True)
    patches: tuple[BackgroundPatch, ...] = ()
    if with_rail and rng.random() < 0.04:
        p = with_rail[int(rng.integers(len(with_rail)))]
        side = max(size)
        n = math.ceil(side / 76.0)
        patches = tuple(
            BackgroundPatch(p.file, i * 74.0, j * 74.0, 78.0, (i + 2 * j) % 4, bool((i + j) % 2))
            for j in range(n)
            for i in range(n)
        )
    else:
        patches = mosaic(rng, library, split, size, ground=False)
    # The pictures without a known track hold none: there "no track" is a true answer that must be learned.
    hold_tracks = any(p.file in {w.file for w in with_rail} for p in patches)
    ground = Surface(("soil", "grass"), seed=int(rng.integers(1 << 30)))
    calm = replace(weather, snow=0.0, moisture=0.0, haze=weather.haze * 0.5)
    return SceneSpec(
        "background",
        split,
        int(rng.integers(1 << 31)),
        size,
        ground,
        backgrounds=patches,
        sun=sun,
        weather=calm,
        notes={"track_labels_complete": not hold_tracks},
    )


def _base(site: SceneDraft) -> Surface:
    """The ground under everything."""
    kind = site.rng.random()
    if kind > 0.8:
        site.wear(-80.0, 80.0)
        return site.hard()
    w, h = site.size_m
    if site.rng.random() < 0.5:
        site.scrub(((0.0, 0.0), (w, 0.0), (w, h), (0.0, h)), (0.0, 0.35), (0.3, 4.0))
    return site.green() if kind < 0.5 else site.bare()


def _tracks(
    rng: np.random.Generator,
    site: SceneDraft,
    paths: Sequence[TrackPath],
    gauge_mm: int,
    look: float,
    *,
    paved: bool = False,
) -> tuple[TrackSpec, ...]:
    """Give tracks their beds; `look` 0-1 from neglected to main-line, `paved` for rails let into a yard."""
    bed_ramps = [_BEDS[int(rng.integers(len(_BEDS)))] for _ in range(2)]
    beds = [
        site.surface(r, (0.5, 1.3), site.curve.heading_deg if rng.random() < 0.4 else None) for r in bed_ramps
    ]
    sleepers = one_of(rng, "concrete wood wood steel hidden")
    contrast = {"concrete": 0.28, "wood": -0.22, "steel": -0.1, "hidden": 0.0}[sleepers] * rng.uniform(
        0.3, 1.2
    )
    width = rng.uniform(2.8, 4.6)
    rail = str(rng.choice(["shiny", "used", "rusty"], p=[0.25 + 0.3 * look, 0.4, 0.35 - 0.3 * look]))
    weeds = rng.uniform(0.05, 0.45) if rng.random() < 0.35 * (1.2 - look) else 0.0
    stain = rng.uniform(0.0, 0.35)
    blotchy = rng.uniform(0.2, 1.0) if rng.random() < 0.35 else 0.0
    if paved:
        beds = [site.hard() for _ in beds]
        sleepers, contrast, weeds, stain = "hidden", 0.0, 0.0, 0.6 * stain
    out = []
    for i, path in enumerate(paths):
        own = rng.random() < 0.25
        out.append(
            TrackSpec(
                id=i,
                line=layout.as_points(path.points),
                gauge_mm=gauge_mm,
                ballast=beds[1] if own else beds[0],
                ballast_width_m=width,
                sleepers=sleepers,
                sleeper_contrast=contrast,
                rail=one_of(rng, "shiny used rusty") if own else rail,
                stain=float(np.clip(stain + rng.normal(0, 0.08), 0.0, 0.6)),
                overgrown=float(np.clip(weeds * rng.uniform(0.0, 2.2), 0.0, 0.85)),
                blotchy=blotchy,
            )
        )
    return tuple(out)


def _rail(
    rng: np.random.Generator,
    kind: str,
    split: str,
    size: tuple[float, float],
    sun: Sun,
    view: ViewGeometry,
    weather: Weather,
    pictures: tuple[BackgroundPatch, ...],
) -> SceneSpec:
    """A scene with tracks."""
    shape = kind.removeprefix("empty_")
    n = {
        "yard": lambda: int(np.clip(round(float(np.exp(rng.normal(2.1, 0.5)))), 3, 20)),
        "terminal": lambda: int(rng.integers(2, 10)),
        "sidings": lambda: int(rng.integers(1, 5)),
        "mainline": lambda: int(rng.choice([1, 2, 2, 3, 4])),
        "line": lambda: int(rng.choice([1, 1, 2, 2, 3, 4])),
        "station": lambda: int(rng.integers(2, 7)),
        "commuter_yard": lambda: int(rng.integers(2, 15)),
    }[shape]()
    curve = layout.random_curve(rng, size, straight=0.6 if n > 3 else 0.45, half_width_m=2.6 * n)
    site = SceneDraft(rng, size, curve, sun, weather)
    ladders = None if n > 1 else 0
    if shape in {"mainline", "line"} and rng.random() < 0.75:
        ladders = 0
    paths = layout.parallel_tracks(rng, curve, n, ladders=ladders)
    offsets = np.array([p.offset_m for p in paths])
    low, high = float(offsets.min()) - 2.4, float(offsets.max()) + 2.4
    corridor = [curve.band(low, high)]
    if shape in {"sidings", "yard", "line", "mainline"} and rng.random() < 0.16:
        branch = layout.spur(rng, curve, paths)
        paths.append(branch)
        around = shapely.LineString(branch.points).buffer(2.4)
        corridor.append(layout.as_points(shapely.get_coordinates(around.exterior)))
    paved = shape in {"terminal", "sidings", "yard"} and rng.random() < 0.12
    gauge = int(rng.choice([1435, 1520], p=[0.6, 0.4]))
    look = 0.8 if shape in {"mainline", "line", "station", "commuter_yard"} else 0.35
    ground = _base(site)
    # Some railways cut across what was there before them instead of giving it its direction.
    askew = not pictures and shape != "station" and rng.random() < 0.25
    if askew:
        site.curve = layout.random_curve(rng, size, straight=0.6)
        for side in (1.0, -1.0):
            surroundings.fill_side(site, side, 0.0, 0.75 * math.hypot(*size))
        site.curve = curve
    tracks = _tracks(rng, site, paths, gauge, look, paved=paved)
    _yard_floor(site, low, high, offsets, paved=paved)
    if split == "train":
        _rhythms(site, offsets, low, high)
    _beside(site, shape, low, high, sparse=askew or (bool(pictures) and rng.random() < 0.75))
    _clear_the_way(site, corridor)
    if shape == "station" or (shape == "commuter_yard" and rng.random() < 0.35):
        _island_platforms(site, offsets)
    if shape == "commuter_yard" and rng.random() < 0.5:
        _third_rails(site, offsets)
    _catenary(site, offsets, shape)
    _spanning(site, pictures)
    bed = layout.mean_colour(tracks[0].ballast.ramp)
    consists: list[Consist] = []
    if kind in WAGON_KINDS:
        mix = layout.random_mix(rng, bed, weather.snow)
        if split == "train":
            mix = layout.loosened(rng, mix)
        usual = rng.beta(2.4, 1.2)
        passenger = {"station": 0.5, "mainline": 0.12, "commuter_yard": 0.94}.get(shape, 0.02)
        if shape == "commuter_yard" or split == "train":
            mix = replace(mix, fleets=layout.random_fleets(rng, split))
        if split == "train" and shape in {"station", "mainline"}:
            passenger *= 1.5
        if shape == "commuter_yard":
            mix = replace(mix, dullness=0.3 * mix.dullness, european=False)
        for i, path in enumerate(paths):
            occupancy = 0.0 if rng.random() < 0.14 else float(np.clip(rng.normal(usual, 0.2), 0.05, 0.98))
            consists += layout.fill_track(rng, path, i, mix, split, occupancy=occupancy, passenger=passenger)
        consists = [
            Consist(c.track, kept)
            for c in consists
            if (kept := tuple(w for w in c.wagons if layout.visible_in(w, size)))
        ]
    notes = {"n_tracks": len(paths), "n_freight": sum(w.category == 0 for c in consists for w in c.wagons)}
    return SceneSpec(
        kind=kind,
        split=split,
        seed=int(rng.integers(1 << 31)),
        size_m=size,
        ground=ground,
        cover=tuple(site.cover),
        tracks=tracks,
        crossings=tuple(site.crossings),
        consists=tuple(consists),
        props=tuple(site.props),
        backgrounds=pictures,
        corridor=tuple(corridor),
        sun=sun,
        view=view,
        weather=weather,
        notes=notes,
    )


def _beside(site: SceneDraft, shape: str, low: float, high: float, *, sparse: bool) -> None:
    """What lies on both sides of the tracks; sparse: only a few metres of it, the rest is there already."""
    rng = site.rng
    reach = 0.75 * math.hypot(*site.size_m)
    for side, start in ((1.0, high), (-1.0, -low)):
        if sparse:
            surroundings.fill_side(site, side, start, start + rng.uniform(0.0, 14.0), thin=3)
        elif shape == "station" and rng.random() < 0.6:
            surroundings.fill_side(site, side, start + surroundings.platform(site, side, start), reach)
        elif (
            shape == "sidings" and rng.random() < 0.3
        ):  # a shed close by the track, for loading under its eaves
            d = start + rng.uniform(-0.5, 2.0)
            surroundings.fill_side(site, side, d + surroundings.warehouses(site, side, d), reach)
        elif shape == "terminal":
            first = pick(rng, _TERMINAL)
            d = start + pick(rng, surroundings.THIN)(site, side, start)
            surroundings.fill_side(site, side, d + first(site, side, d), reach)
        else:
            surroundings.fill_side(site, side, start, reach)


def _clear_the_way(site: SceneDraft, corridor: Sequence[tuple[Point, ...]]) -> None:
    """Take away what stands on the tracks."""
    way = shapely.union_all([shapely.Polygon(ring).buffer(0.0) for ring in corridor])
    bodies = [
        shapely.Polygon(layout.footprint(p.x_m, p.y_m, p.angle_deg, p.length_m, p.width_m))
        for p in site.props
    ]
    if bodies:
        hit = shapely.intersects(bodies, way)
        site.props = [p for p, gone in zip(site.props, hit, strict=True) if p.over or not gone]


def _yard_floor(site: SceneDraft, low: float, high: float, offsets: np.ndarray, *, paved: bool) -> None:
    """The ground between and under tracks, with its long stains, weeds and worn lanes."""
    rng = site.rng
    middle, width = (low + high) / 2.0, high - low
    if paved:
        site.strip("floor", middle, width + rng.uniform(0.0, 12.0), site.hard())
        site.wear(low, high)
        return
    if rng.random() < (0.8 if len(offsets) > 2 else 0.45):
        ramp = _BEDS[int(rng.integers(len(_BEDS)))]
        streak = site.curve.heading_deg if rng.random() < 0.5 else None
        floor = site.surface(ramp, (0.5, 1.4), streak)
        site.strip("floor", middle, width + rng.uniform(-1.0, 3.0), floor, rng.uniform(0.3, 1.5))
    # Stripes between tracks: drains, cable ducts, walkways, spilt coal, weeds, old beds without rails.
    for a, b in pairwise(offsets):
        if rng.random() < 0.4:
            w = rng.uniform(0.3, min(2.4, max(0.5, b - a - 2.6)))
            kind = rng.random()
            surface = (
                site.green()
                if kind < 0.3
                else site.bare()
                if kind < 0.7
                else site.surface(("cinder", "ballast_dark"))
            )
            start, end = site.part(20.0)
            site.cover.append(
                Strip(
                    "stripe",
                    site.curve.line(float((a + b) / 2 + rng.normal(0, 0.3)), start, end),
                    w,
                    surface,
                    0.4,
                )
            )
    if rng.random() < 0.2:  # a lifted track: its bed remains
        d = rng.uniform(low, high)
        site.strip(
            "old_bed", d, rng.uniform(2.0, 3.6), site.surface(_BEDS[int(rng.integers(len(_BEDS)))]), 0.8
        )


def _rhythms(site: SceneDraft, offsets: np.ndarray, low: float, high: float) -> None:
    """What repeats along a track and is no wagon: ramps, drains, stacks of sleepers, hedges' shadows."""
    rng = site.rng
    gaps = [(float(a + b) / 2, float(b - a)) for a, b in pairwise(offsets)]
    places = [*gaps, (low - 0.4, 5.0), (high + 0.4, 5.0)]
    for middle, gap in places:
        if rng.random() > 0.14:
            continue
        tone = float(rng.choice([0.02, 0.04, 0.08, 0.3, 0.5]))
        dash = 0.0 if rng.random() < 0.25 else float(np.exp(rng.uniform(math.log(0.5), math.log(14.0))))
        rest = dash * rng.uniform(0.05, 1.5)
        wide = rng.uniform(0.4, max(0.6, min(2.6, gap - 2.9)))
        colour = (tone * 1.05, tone, tone * rng.uniform(0.8, 1.0))
        strength = rng.uniform(0.25, 0.95)
        line = site.curve.line(middle + rng.normal(0.0, 0.2), *site.part(25.0))
        site.crossings.append(Marking(line, wide, colour, dash, rest, strength))
    for side, start in ((1.0, high), (-1.0, -low)):
        if rng.random() < 0.12:
            pick(rng, _GREEN_WALLS)(site, side, start + rng.uniform(-0.8, 3.0))


def _island_platforms(site: SceneDraft, offsets: np.ndarray) -> None:
    """Platforms in wide gaps between tracks."""
    for a, b in pairwise(offsets):
        gap = float(b - a)
        if gap > 7.0:
            start, end = site.part(60.0)
            band = site.curve.band(float(a) + 1.7, float(b) - 1.7, start, end)
            site.cover.append(Area("platform", band, site.concrete(), 0.0, 0.9))
            if site.rng.random() < 0.7:
                surroundings.canopy_roofs(site, float(a + b) / 2, gap - 4.0, start, end)


def _third_rails(site: SceneDraft, offsets: np.ndarray) -> None:
    """A conductor rail under its cover beside each track, as metros and some suburban lines have."""
    rng = site.rng
    tone = float(rng.choice([0.1, 0.3, 0.6, 0.75]))
    wide, strength = rng.uniform(0.12, 0.3), rng.uniform(0.4, 0.95)
    for offset in offsets:
        beside = float(offset) + float(rng.choice([-1.0, 1.0])) * 1.5
        line = site.curve.line(beside, *site.part(60.0))
        site.crossings.append(Marking(line, wide, (tone, tone, tone), 0.0, 0.0, strength))


def _catenary(site: SceneDraft, offsets: np.ndarray, shape: str) -> None:
    """Masts beside electrified tracks, light masts in yards."""
    rng = site.rng
    if rng.random() < (0.5 if shape in {"mainline", "line", "station", "commuter_yard"} else 0.25):
        arm = 3.0
        pitch = rng.uniform(35.0, 65.0)
        surroundings.masts(site, float(offsets.min()) - 2.9, pitch, 7.5, arm)
        if len(offsets) > 1:
            surroundings.masts(site, float(offsets.max()) + 2.9, pitch, 7.5, -arm)
    elif rng.random() < 0.3:
        gaps = [float(a + b) / 2 for a, b in pairwise(offsets) if b - a > 5.2]
        if gaps:
            surroundings.masts(
                site, gaps[int(rng.integers(len(gaps)))], rng.uniform(40, 90), rng.uniform(10, 25), 0.5
            )


def _spanning(site: SceneDraft, pictures: tuple[BackgroundPatch, ...]) -> None:
    """Overpasses, footbridges and level crossings."""
    rng = site.rng
    if rng.random() < 0.07:
        s = rng.uniform(-50, 50)
        wide = float(rng.choice([2.5, 4.0, 9.0, 13.0])) * rng.uniform(0.9, 1.2)
        site.prop(
            "overpass",
            s,
            0.0,
            rng.uniform(55, 125),
            (320.0, wide, rng.uniform(5.5, 8.0)),
            one_of(rng, "asphalt concrete_dark concrete asphalt_worn"),
            over=True,
        )
    if rng.random() < 0.08:
        s = rng.uniform(-60, 60)
        x, y = site.curve.at(np.array([s]), 0.0)[0]
        across = Curve(float(x), float(y), site.curve.angle_deg(s) + rng.uniform(55, 125), 0.0, 160.0)
        wide = rng.uniform(3.5, 10.0)
        site.crossings.append(Strip("crossing", across.line(0.0), wide, site.asphalt(across.heading_deg)))
        if wide > 6.0:
            site.crossings.append(Marking(across.line(0.0), 0.15, (0.5, 0.5, 0.5), 3.0, 6.0, 0.6))


def _rail_free(
    rng: np.random.Generator,
    kind: str,
    split: str,
    size: tuple[float, float],
    sun: Sun,
    view: ViewGeometry,
    weather: Weather,
    pictures: tuple[BackgroundPatch, ...],
) -> SceneSpec:
    """A scene without a railway: everything else in bands."""
    curve = layout.random_curve(rng, size, straight=0.6)
    site = SceneDraft(rng, size, curve, sun, weather)
    ground = _base(site)
    reach = 0.8 * math.hypot(*size)
    s = surroundings
    table = _FILLINGS.get(kind)
    start = 0.0
    if kind == "waterway":
        start = s.canal(site, 1.0, 0.0)
    elif kind == "strips":
        start = s.road(site, 1.0, 0.0) if rng.random() < 0.5 else pick(rng, s.THIN)(site, 1.0, 0.0)
    limit = reach if not pictures else rng.uniform(10.0, 60.0)
    for side, d in ((1.0, start), (-1.0, 0.0)):
        if table is None:
            s.fill_side(site, side, d, limit, thin=int(rng.integers(2, 7)) if kind == "strips" else None)
            continue
        while d < limit:
            d += pick(rng, table)(site, side, d) + float(rng.choice([0.0, 0.0, 3.0, 10.0]))
    if rng.random() < 0.25:  # a second road across everything
        across = layout.random_curve(rng, size, straight=0.8)
        site.curve = across
        s.road(site, 1.0, 0.0)
    if rng.random() < 0.15:
        _loose_boxes(site)
    return SceneSpec(
        kind=kind,
        split=split,
        seed=int(rng.integers(1 << 31)),
        size_m=size,
        ground=ground,
        cover=tuple(site.cover),
        props=tuple(site.props),
        backgrounds=pictures,
        sun=sun,
        view=view,
        weather=weather,
        notes={"n_tracks": 0, "n_freight": 0},
    )


def _loose_boxes(site: SceneDraft) -> None:
    """Trailers and containers dropped without order."""
    rng = site.rng
    for _ in range(int(rng.integers(3, 25))):
        x, y = rng.uniform(0, site.size_m[0]), rng.uniform(0, site.size_m[1])
        kind = one_of(rng, "trailer container truck bus")
        site.put(
            kind,
            x,
            y,
            rng.uniform(0, 360),
            (float(rng.choice([6.1, 12.2, 13.6])), 2.5, 3.0),
            pick(rng, TRAILER_PAINTS),
        )


def yard_series(
    seed: int,
    counts: Sequence[int],
    dates: Sequence[datetime],
    *,
    size_m: tuple[float, float] = (320.0, 200.0),
    split: str = "test",
    n_tracks: int = 8,
    latitude_deg: float = 42.4,
    snow_months: Sequence[int] = (),
) -> list[SceneSpec]:
    """One yard on many dates: the same tracks, ground and surroundings, other consists, sun and season.

    Args:
        seed: fixes the yard.
        counts: freight wagons per date; all of them lie wholly inside the scene.
        dates: when; day of the year and UTC hour set the sun.
        size_m: east-west and north-south extent.
        split: whose asset styles are used.
        n_tracks: tracks of the yard.
        latitude_deg: for the sun.
        snow_months: months (1-12) in which snow lies.

    Raises:
        ValueError: lengths differ, or a count exceeds what the yard can hold.
    """
    if len(counts) != len(dates):
        raise ValueError(f"{len(counts)} counts for {len(dates)} dates")
    rng = np.random.default_rng([seed, 41])
    w, h = size_m
    curve = Curve(w / 2, h / 2, rng.uniform(-7, 7), 0.0, 0.75 * math.hypot(w, h))
    calm = Weather("dry", 0.0, 0.0, 0.05)
    site = SceneDraft(rng, size_m, curve, Sun(165.0, 40.0), calm)
    paths = layout.parallel_tracks(rng, curve, n_tracks, spacing_m=(4.6, 5.6), ladders=0)
    tracks = _tracks(rng, site, paths, 1520, 0.35)
    offsets = np.array([p.offset_m for p in paths])
    low, high = float(offsets.min()) - 2.6, float(offsets.max()) + 2.6
    ground = site.surface(("soil", "grass_dry", "grass_pale"))
    site.strip(
        "floor", (low + high) / 2, high - low + 2.0, site.surface(("ballast_dark", "ballast_aged")), 1.0
    )
    d = high + surroundings.service_road(site, 1.0, high)
    d += surroundings.verge(site, 1.0, d)
    d += surroundings.warehouses(site, 1.0, d)
    surroundings.fill_side(site, 1.0, d, 0.6 * h)
    d = -low + surroundings.verge(site, -1.0, -low)
    d += surroundings.ditch(site, -1.0, d)
    d += surroundings.road(site, -1.0, d)
    surroundings.fill_side(site, -1.0, d, 0.6 * h)
    base = SceneSpec(
        kind="yard",
        split=split,
        seed=seed,
        size_m=size_m,
        ground=ground,
        cover=tuple(site.cover),
        tracks=tracks,
        props=tuple(site.props),
        corridor=(curve.band(low, high),),
        weather=calm,
    )
    bed = layout.mean_colour(tracks[0].ballast.ramp)
    out = []
    for i, (count, date) in enumerate(zip(counts, dates, strict=True)):
        own = np.random.default_rng([seed, 43, i])
        sun = sun_at(date, latitude_deg)
        view = ViewGeometry(own.uniform(1.0, 14.0), own.uniform(0, 360))
        snow = own.uniform(0.3, 0.7) if date.month in snow_months else 0.0
        moisture = own.uniform(0.2, 0.8) if own.random() < 0.2 else 0.0
        season = "brown" if date.month in (11, 12, 1, 2, 3) else "green" if date.month in (6, 7, 8) else "dry"
        weather = Weather(season, snow, moisture, own.uniform(0.02, 0.12))
        mix = replace(layout.random_mix(own, bed, snow), dullness=own.uniform(0.0, 0.2), flush=None)
        consists = _exactly(own, paths, mix, split, count, size_m)
        out.append(
            replace(
                base,
                ground=_in_season(base.ground, season),
                cover=tuple(
                    replace(c, surface=_in_season(c.surface, season)) if isinstance(c, Area | Strip) else c
                    for c in base.cover
                ),
                props=tuple(replace(p, snow=0.8 * snow) for p in base.props if not _left_today(own, p)),
                consists=consists,
                sun=sun,
                view=view,
                weather=weather,
                notes={"n_tracks": len(paths), "n_freight": count, "date": date.isoformat()},
            )
        )
    return out


# What grows, as it looks in another season.
_WINTER = {
    "grass": "heath",
    "grass_lush": "grass_dry",
    "grass_pale": "grass_dry",
    "leaf": "twigs",
    "leaf_light": "heath",
    "leaf_dark": "twigs",
    "straw": "grass_dry",
}
_SUMMER = {"grass_dry": "grass_pale", "straw": "grass", "heath": "grass", "twigs": "leaf"}


def _in_season(surface: Surface, season: str) -> Surface:
    """A surface with its plants in their winter or summer state; unchanged when dry."""
    table = {"brown": _WINTER, "green": _SUMMER}.get(season, {})
    return replace(surface, ramp=tuple(table.get(m, m) for m in surface.ramp))


def _left_today(rng: np.random.Generator, prop: Prop) -> bool:
    """Whether something that comes and goes isn't there today."""
    return prop.kind in {"car", "truck", "bus", "trailer"} and bool(rng.random() < 0.5)


def _exactly(
    rng: np.random.Generator,
    paths: Sequence[TrackPath],
    mix: layout.Mix,
    split: str,
    count: int,
    size_m: tuple[float, float],
) -> tuple[Consist, ...]:
    """Consists with `count` freight wagons in all, spread over the tracks.

    Raises:
        ValueError: the yard holds fewer.
    """
    box = (2.0, 2.0, size_m[0] - 2.0, size_m[1] - 2.0)
    for occupancy in (0.55, 0.8, 0.97, 1.0):
        consists: list[Consist] = []
        found = 0
        for k in rng.permutation(len(paths)):
            track = int(k)
            for c in layout.fill_track(
                rng, paths[track], track, mix, split, occupancy=occupancy, passenger=0.0, keep_inside=box
            ):
                kept = []
                for wagon in c.wagons:
                    if wagon.category == 0:
                        if found == count:
                            continue
                        found += 1
                    elif found == count:
                        continue
                    kept.append(wagon)
                if kept:
                    consists.append(Consist(c.track, tuple(kept)))
        if found == count:
            return tuple(consists)
    raise ValueError(f"the yard holds {found} wagons, not {count}: give it more tracks or a larger scene")


def sun_at(date: datetime, latitude_deg: float) -> Sun:
    """Where the sun stands on a day at half past ten local time, when imaging satellites pass.

    Cooper's formula for the declination, 23.45 sin(360 (284 + n) / 365).
    """
    day = date.timetuple().tm_yday
    declination = math.radians(23.45 * math.sin(math.radians(360.0 * (284 + day) / 365.0)))
    hour_angle = math.radians(15.0 * (10.75 - 12.0))
    lat = math.radians(latitude_deg)
    up = math.sin(lat) * math.sin(declination) + math.cos(lat) * math.cos(declination) * math.cos(hour_angle)
    elevation = math.asin(up)
    east = -math.cos(declination) * math.sin(hour_angle)
    north = math.cos(lat) * math.sin(declination) - math.sin(lat) * math.cos(declination) * math.cos(
        hour_angle
    )
    return Sun(math.degrees(math.atan2(east, north)) % 360.0, max(math.degrees(elevation), 8.0))
