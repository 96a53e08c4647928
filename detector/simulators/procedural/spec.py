"""What a scene is, in metres, and what it is made of: the description that every renderer starts from.

The local frame has its origin in the scene's north-west corner, x to the east and y to the south, so that a
position divided by the ground sampling distance is a pixel position (pixel-corner origin). Angles of objects
are degrees clockwise from +x as seen on the image; sun and view azimuths are degrees clockwise from north.
Surfaces and paints carry material names (see `MATERIALS`), so that a 10 m renderer can look up reflectance in
other bands; colours are reflectances of the red, green and blue band, 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

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


class Material(NamedTuple):
    """Reflectances (0-1) in the blue, green, red and near-infrared band."""

    blue: float
    green: float
    red: float
    nir: float

    @property
    def rgb(self) -> Colour:
        """Reflectances in display order."""
        return (self.red, self.green, self.blue)


MATERIALS: dict[str, Material] = {
    # beds and bare ground
    "ballast_dark": Material(0.060, 0.064, 0.068, 0.080),
    "ballast_fresh": Material(0.155, 0.165, 0.172, 0.185),
    "ballast_aged": Material(0.115, 0.131, 0.148, 0.161),
    "ballast_light": Material(0.235, 0.262, 0.280, 0.300),
    "ballast_rusty": Material(0.085, 0.105, 0.142, 0.165),
    "ballast_pink": Material(0.165, 0.182, 0.225, 0.250),
    "cinder": Material(0.045, 0.048, 0.052, 0.060),
    "soil": Material(0.085, 0.115, 0.155, 0.230),
    "soil_red": Material(0.075, 0.115, 0.195, 0.270),
    "soil_light": Material(0.160, 0.210, 0.260, 0.330),
    "sand": Material(0.200, 0.260, 0.320, 0.400),
    "mud": Material(0.055, 0.072, 0.090, 0.130),
    "gravel": Material(0.190, 0.210, 0.225, 0.250),
    "gravel_dark": Material(0.110, 0.122, 0.130, 0.150),
    # plants
    "grass": Material(0.040, 0.082, 0.050, 0.480),
    "grass_lush": Material(0.030, 0.075, 0.034, 0.620),
    "grass_pale": Material(0.068, 0.108, 0.092, 0.380),
    "grass_dry": Material(0.105, 0.145, 0.190, 0.310),
    "straw": Material(0.150, 0.205, 0.265, 0.350),
    "scrub": Material(0.038, 0.060, 0.048, 0.300),
    "heath": Material(0.060, 0.080, 0.090, 0.260),
    "leaf_dark": Material(0.018, 0.036, 0.022, 0.400),
    "leaf": Material(0.028, 0.058, 0.030, 0.520),
    "leaf_light": Material(0.045, 0.088, 0.046, 0.560),
    "leaf_autumn": Material(0.035, 0.075, 0.105, 0.420),
    "twigs": Material(0.055, 0.066, 0.078, 0.180),
    # built ground
    "asphalt_new": Material(0.038, 0.040, 0.042, 0.050),
    "asphalt": Material(0.075, 0.082, 0.088, 0.100),
    "asphalt_worn": Material(0.125, 0.138, 0.148, 0.165),
    "concrete": Material(0.250, 0.285, 0.308, 0.320),
    "concrete_light": Material(0.380, 0.415, 0.440, 0.450),
    "concrete_dark": Material(0.160, 0.178, 0.190, 0.210),
    "paving": Material(0.170, 0.185, 0.205, 0.230),
    "line_white": Material(0.550, 0.580, 0.600, 0.600),
    "line_yellow": Material(0.120, 0.380, 0.520, 0.550),
    # water and snow
    "water_deep": Material(0.022, 0.024, 0.016, 0.006),
    "water_green": Material(0.030, 0.050, 0.032, 0.015),
    "water_muddy": Material(0.075, 0.100, 0.110, 0.050),
    "water_blue": Material(0.060, 0.060, 0.035, 0.010),
    "glint": Material(0.180, 0.190, 0.190, 0.180),
    "snow": Material(0.820, 0.820, 0.810, 0.780),
    "snow_old": Material(0.580, 0.590, 0.590, 0.560),
    "slush": Material(0.300, 0.300, 0.295, 0.260),
    # roofs
    "roof_white": Material(0.620, 0.650, 0.660, 0.650),
    "roof_grey": Material(0.270, 0.290, 0.300, 0.300),
    "roof_metal": Material(0.400, 0.425, 0.430, 0.410),
    "roof_dark": Material(0.070, 0.075, 0.078, 0.085),
    "roof_tar": Material(0.110, 0.115, 0.120, 0.130),
    "roof_red": Material(0.070, 0.095, 0.215, 0.280),
    "roof_brown": Material(0.075, 0.095, 0.130, 0.180),
    "roof_blue": Material(0.300, 0.180, 0.085, 0.250),
    "roof_green": Material(0.110, 0.180, 0.110, 0.220),
    "roof_rust": Material(0.085, 0.120, 0.200, 0.240),
    "roof_beige": Material(0.260, 0.320, 0.370, 0.400),
    "glass": Material(0.200, 0.220, 0.210, 0.260),
    # paints
    "rust": Material(0.055, 0.080, 0.130, 0.160),
    "rust_bright": Material(0.060, 0.100, 0.190, 0.240),
    "red_oxide": Material(0.042, 0.055, 0.150, 0.195),
    "brown": Material(0.050, 0.066, 0.105, 0.160),
    "black": Material(0.028, 0.029, 0.030, 0.035),
    "soot": Material(0.050, 0.052, 0.055, 0.060),
    "grey_dark": Material(0.095, 0.100, 0.102, 0.110),
    "grey": Material(0.210, 0.222, 0.228, 0.230),
    "grey_light": Material(0.350, 0.370, 0.375, 0.370),
    "galvanised": Material(0.292, 0.289, 0.275, 0.245),
    "white": Material(0.600, 0.620, 0.625, 0.600),
    "cream": Material(0.360, 0.440, 0.480, 0.480),
    "tan": Material(0.190, 0.260, 0.320, 0.360),
    "yellow": Material(0.060, 0.300, 0.440, 0.480),
    "orange": Material(0.045, 0.135, 0.380, 0.430),
    "red": Material(0.045, 0.050, 0.290, 0.360),
    "maroon": Material(0.035, 0.038, 0.125, 0.190),
    "green": Material(0.060, 0.130, 0.060, 0.200),
    "green_dark": Material(0.035, 0.062, 0.040, 0.150),
    "teal": Material(0.140, 0.140, 0.050, 0.200),
    "blue": Material(0.230, 0.110, 0.050, 0.200),
    "blue_light": Material(0.360, 0.290, 0.190, 0.330),
    "blue_dark": Material(0.095, 0.055, 0.035, 0.150),
    "silver": Material(0.420, 0.430, 0.430, 0.420),
    # covers and loads
    "tarp_blue": Material(0.264, 0.120, 0.081, 0.485),
    "tarp_green": Material(0.085, 0.135, 0.080, 0.500),
    "tarp_white": Material(0.560, 0.585, 0.590, 0.600),
    "tarp_grey": Material(0.190, 0.198, 0.200, 0.240),
    "tarp_black": Material(0.050, 0.050, 0.050, 0.060),
    "tarp_brown": Material(0.100, 0.135, 0.180, 0.450),
    "coal": Material(0.026, 0.027, 0.028, 0.032),
    "ore": Material(0.050, 0.062, 0.095, 0.130),
    "ore_red": Material(0.055, 0.075, 0.170, 0.230),
    "aggregate": Material(0.230, 0.250, 0.265, 0.290),
    "scrap": Material(0.120, 0.130, 0.150, 0.170),
    "timber": Material(0.190, 0.260, 0.350, 0.480),
    "logs": Material(0.090, 0.115, 0.150, 0.260),
    "grain": Material(0.150, 0.250, 0.360, 0.450),
    "wood_deck": Material(0.095, 0.115, 0.140, 0.200),
    "steel": Material(0.140, 0.150, 0.158, 0.165),
}


def rgb(name: str) -> Colour:
    """The display-order reflectances of a material."""
    return MATERIALS[name].rgb


def encode(colour: Colour | NDArray[np.float64]) -> NDArray[np.float64]:
    """Reflectance to drawing values 0-255 (square-root scale: dark tones keep their steps in 8 bits)."""
    return 255.0 * np.sqrt(np.clip(np.asarray(colour, dtype=np.float64), 0.0, 1.0))


def ramp_table(surface: Surface) -> NDArray[np.uint8]:
    """A (256, 1, 3) lookup table of drawing values along the surface's materials."""
    stops = np.array([rgb(m) for m in surface.ramp]) * np.asarray(surface.tint)
    drawn = encode(stops)
    if len(drawn) == 1:
        drawn = np.vstack([drawn * 0.85, np.minimum(drawn * 1.15, 255.0)])
    at = np.linspace(0.0, 255.0, len(drawn))
    table = np.stack([np.interp(np.arange(256), at, drawn[:, c]) for c in range(3)], axis=-1)
    return np.clip(table, 0, 255).astype(np.uint8)[:, None, :]
