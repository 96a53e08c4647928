"""What a scene is, in metres: the description that every renderer starts from.

The local frame has its origin in the scene's north-west corner, x to the east and y to the south, so that a
position divided by the ground sampling distance is a pixel position (pixel-corner origin). Angles of objects
are degrees clockwise from +x as seen on the image; sun and view azimuths are degrees clockwise from north.
Surfaces and paints carry material names (see `materials`), so that a 10 m renderer can look up reflectance in
other bands; colours are reflectances of the red, green and blue band, 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from detector.wagons.categories import FREIGHT

Point = tuple[float, float]
Colour = tuple[float, float, float]

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Surface:
    """A ground cover: materials blended by a noise field.

    `ramp` names materials from the low to the high end of the noise. `coarse` (0-1) is the share of large
    patches against fine texture, `contrast` the spread over the ramp, `streak_deg` a direction along which
    the texture is drawn out (None: isotropic), `tint` multiplies the reflectances.
    """

    ramp: tuple[str, ...]
    contrast: float = 1.0
    coarse: float = 0.5
    streak_deg: float | None = None
    tint: Colour = (1.0, 1.0, 1.0)
    seed: int = 0


@dataclass(frozen=True)
class Area:
    """A polygon of one surface.

    `rough_m` frays its edge, `height_m` lifts it (platforms, decks), `bump_m` is the height of what grows or
    lies on it (tree crowns, scrub), `cover` the share of the polygon that this covers.
    """

    kind: str
    polygon: tuple[Point, ...]
    surface: Surface
    rough_m: float = 0.0
    height_m: float = 0.0
    bump_m: float = 0.0
    cover: float = 1.0


@dataclass(frozen=True)
class Strip:
    """A line of constant width: roads, paths, ditches, banks, walls. Negative heights are cuts."""

    kind: str
    line: tuple[Point, ...]
    width_m: float
    surface: Surface
    rough_m: float = 0.0
    height_m: float = 0.0


@dataclass(frozen=True)
class Marking:
    """A thin painted or worn line; dashed where `dash_m` > 0."""

    line: tuple[Point, ...]
    width_m: float
    colour: Colour
    dash_m: float = 0.0
    gap_m: float = 0.0
    strength: float = 1.0


Ground = Area | Strip | Marking


@dataclass(frozen=True)
class TrackSpec:
    """One railway track: centre line, gauge and the look of its bed."""

    id: int
    line: tuple[Point, ...]
    gauge_mm: int
    ballast: Surface
    ballast_width_m: float
    sleepers: str  # "concrete", "wood", "steel" or "hidden"
    sleeper_contrast: float
    rail: str  # "shiny", "used" or "rusty"
    stain: float  # darkening of the middle of the track by oil and brake dust, 0-1
    overgrown: float  # share hidden by weeds, 0-1
    blotchy: float = (
        0.0  # how much stretches of 12 to 60 m differ in brightness: dirt, new ballast, shade, 0-1
    )


@dataclass(frozen=True)
class Wagon:
    """One rail vehicle; `length_m` is the body's, without couplers, (x_m, y_m) its footprint's centre."""

    type: str
    category: int
    x_m: float
    y_m: float
    angle_deg: float
    length_m: float
    width_m: float
    height_m: float
    colour: Colour
    material: str
    load: str
    load_colour: Colour
    style: int
    seed: int
    snow: float = 0.0
    livery: int = 0  # seed of a random pattern over the style's own paint; 0: none


@dataclass(frozen=True)
class Consist:
    """Coupled vehicles on one track, in order along it."""

    track: int
    wagons: tuple[Wagon, ...]


@dataclass(frozen=True)
class Prop:
    """Anything that stands on the ground and is no rail vehicle; `over` marks what spans tracks."""

    kind: str
    x_m: float
    y_m: float
    angle_deg: float
    length_m: float
    width_m: float
    height_m: float
    colour: Colour
    material: str
    seed: int
    over: bool = False
    snow: float = 0.0


@dataclass(frozen=True)
class Sun:
    """Where the sun stands."""

    azimuth_deg: float
    elevation_deg: float


@dataclass(frozen=True)
class ViewGeometry:
    """How far off nadir the sensor looks, and towards which azimuth tall things lean in the image."""

    off_nadir_deg: float
    azimuth_deg: float


@dataclass(frozen=True)
class Weather:
    """Season ("green", "dry", "brown", "arid"), snow cover, wetness and haze (each 0-1)."""

    season: str
    snow: float
    moisture: float
    haze: float


@dataclass(frozen=True)
class BackgroundPatch:
    """A real picture under the scene: file name, north-west corner, side, quarter turns, flip."""

    file: str
    x_m: float
    y_m: float
    size_m: float
    turns: int
    flipped: bool


@dataclass(frozen=True)
class SceneSpec:
    """A whole scene. Drawing order: ground, backgrounds, `cover`, tracks, crossings, wagons, props."""

    kind: str
    split: str
    seed: int
    size_m: tuple[float, float]  # east-west, north-south
    ground: Surface
    cover: tuple[Ground, ...] = ()
    tracks: tuple[TrackSpec, ...] = ()
    crossings: tuple[Ground, ...] = ()
    consists: tuple[Consist, ...] = ()
    props: tuple[Prop, ...] = ()
    backgrounds: tuple[BackgroundPatch, ...] = ()
    corridor: tuple[tuple[Point, ...], ...] = ()
    sun: Sun = Sun(160.0, 45.0)
    view: ViewGeometry = ViewGeometry(0.0, 0.0)
    weather: Weather = Weather("green", 0.0, 0.0, 0.1)
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def wagons(self) -> tuple[Wagon, ...]:
        """All rail vehicles, in the order in which boxes are reported."""
        return tuple(w for c in self.consists for w in c.wagons)

    @property
    def n_freight(self) -> int:
        """The number of freight wagons described, seen or not."""
        return sum(w.category == FREIGHT for w in self.wagons)
