"""A yard as Sentinel-2 sees it: reflectance on 10 m pixels, rendered from the same scene descriptions.

The ground is drawn once a yard on 2.5 m cells in four bands (B02, B03, B04, B08). Each date adds what that
day brings: the season's plants, moisture, wagons with their shadows under that day's sun, haze, the
instrument's point spread, where the image really lies, noise and quantisation. Orders of magnitude follow
the mission's published figures: point spread 11 to 13.5 m full width at half maximum, geolocation 2 to 4 m a
date and axis, noise 0.002, steps of 0.0001.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
from affine import Affine
from numpy.typing import NDArray

from detector.simulators.procedural.layout import footprint
from detector.simulators.procedural.sheet import bumps, noise
from detector.simulators.procedural.spec import (
    MATERIALS,
    Area,
    Consist,
    Prop,
    SceneSpec,
    Strip,
    Surface,
    Wagon,
)
from detector.simulators.procedural.yards import Yard
from geo.grid import Grid

F32 = NDArray[np.float32]

BANDS = ("B02", "B03", "B04", "B08")
CELL_M = 2.5
_DRAW_M = 1.25  # ground is drawn on cells of this and averaged
_SHADE_M = 0.5  # shadows and roofs
_PIXEL_M = 10.0
_MOST_SHADOWS = 250
_LUSH = np.array([0.030, 0.075, 0.034, 0.520], np.float32)
_DEAD = np.array([0.105, 0.145, 0.190, 0.300], np.float32)
_SHADOW_LIGHT = np.array([0.32, 0.26, 0.22, 0.18], np.float32)  # share of light left: skylight is blue
_CONTAINERS = ("maroon", "red_oxide", "blue", "blue_dark", "green", "white", "grey_light", "orange", "brown")


@dataclass(frozen=True)
class Ground:
    """The ground of a yard, on cells of 2.5 m.

    Attributes:
        bare: (4, h, w) reflectance of what isn't a plant, times its share.
        plants: (h, w) share of plants, times their brightness.
        phase: (h, w) days by which they are greenest later than the yard's usual.
        vigour: (h, w) how green they get, 0 to 1.
        thirst: (h, w) how much wet weather darkens the ground, 0 to 1.
        tall: What throws shadows.
    """

    bare: F32
    plants: F32
    phase: F32
    vigour: F32
    thirst: F32
    tall: tuple[Prop, ...]


def _spectrum(name: str) -> F32:
    m = MATERIALS[name]
    return np.array([m.blue, m.green, m.red, m.nir], np.float32)


def _greenness(spectrum: F32) -> float:
    ndvi = (spectrum[3] - spectrum[2]) / max(float(spectrum[3] + spectrum[2]), 0.02)
    return float(np.clip((ndvi - 0.15) / 0.5, 0.0, 1.0))


class _GroundSheet:
    """The ground while it is drawn."""

    def __init__(self, size_m: tuple[float, float]) -> None:
        self.shape = round(size_m[1] / CELL_M) * 2, round(size_m[0] / CELL_M) * 2
        self.bare = np.zeros((4, *self.shape), np.float32)
        self.plants = np.zeros(self.shape, np.float32)
        self.phase = np.zeros(self.shape, np.float32)
        self.vigour = np.ones(self.shape, np.float32)
        self.thirst = np.ones(self.shape, np.float32)

    def points(self, xy: Sequence[tuple[float, float]]) -> NDArray[np.int32]:
        return np.round((np.asarray(xy) / _DRAW_M - 0.5) * 16).astype(np.int32)

    def lay(self, mask: NDArray[np.uint8], surface: Surface, cover: float = 1.0) -> None:
        """Lay a surface where a mask (0 to 255) is set."""
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            return
        at = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        share = mask[at].astype(np.float32) * (cover / 255.0)
        h, w = share.shape
        field = noise("patchy" if surface.coarse > 0.5 else "cloudy", surface.seed, h, w)
        # Fine texture averages out within a pixel; what is left is a fraction of the drawn contrast.
        level = np.clip(0.5 + (field.astype(np.float32) - 128.0) / 128.0 * 0.8 * surface.contrast, 0.0, 1.0)
        stops = [_spectrum(name) for name in surface.ramp]
        if len(stops) == 1:
            stops = [stops[0] * 0.85, stops[0] * 1.15]
        tint = np.array([*surface.tint[::-1], float(np.mean(surface.tint))], np.float32)
        green = np.array([_greenness(s) for s in stops], np.float32)
        place = level * (len(stops) - 1)
        lower = np.minimum(place.astype(np.int32), len(stops) - 2)
        t = place - lower
        table = np.stack(stops) * tint
        g = green[lower] * (1 - t) + green[lower + 1] * t
        for b in range(4):
            value = table[lower, b] * (1 - t) + table[lower + 1, b] * t
            # Where plants grow the season decides the colour; what is between them is soil.
            bare = value * (1 - g)
            self.bare[b][at] += share * (bare - self.bare[b][at])
        bright = float(np.clip(np.mean(surface.tint), 0.7, 1.3))
        self.plants[at] += share * (g * bright - self.plants[at])
        if green.max() > 0:
            rng = np.random.default_rng(surface.seed)
            self.phase[at] += share * (rng.normal(0, 18) - self.phase[at])
            self.vigour[at] += share * (rng.uniform(0.35, 1.0) - self.vigour[at])
        sealed = any(n.startswith(("asphalt", "concrete", "roof", "paving", "water")) for n in surface.ramp)
        self.thirst[at] += share * ((0.35 if sealed else 1.0) - self.thirst[at])


def draw_ground(yard: Yard, rng: np.random.Generator) -> Ground:
    """Draw the ground of a yard."""
    spec = yard.spec
    sheet = _GroundSheet(spec.size_m)
    sheet.lay(np.full(sheet.shape, 255, np.uint8), spec.ground)
    for item in spec.cover:
        if isinstance(item, Area | Strip):  # markings have no surface
            sheet.lay(_mask(sheet, item), item.surface, item.cover if isinstance(item, Area) else 1.0)
    for track in spec.tracks:
        mask = np.zeros(sheet.shape, np.uint8)
        thick = max(1, round(track.ballast_width_m / _DRAW_M))
        cv2.polylines(mask, [sheet.points(track.line)], False, 255, thick, cv2.LINE_AA, 4)
        sheet.lay(mask, track.ballast)
        here = mask > 0
        dirt = bumps("patchy", track.ballast.seed ^ 0x55AA, *sheet.shape)
        shade = 1.0 - 0.5 * track.stain - 0.3 * track.blotchy * dirt
        sheet.bare[:, here] *= np.clip(shade[here], 0.35, 1.5)
        if track.overgrown > 0:
            weeds = (dirt[here] > 1.0 - 2.0 * track.overgrown).astype(np.float32) * 0.6
            sheet.plants[here] += weeds * (1 - sheet.plants[here])
            sheet.bare[:, here] *= 1 - weeds
    for prop in spec.props:
        _stand(sheet, prop)
    size = sheet.shape[1] // 2, sheet.shape[0] // 2

    def half(plane: F32) -> F32:
        return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), dtype=np.float32)

    # Materials of one name differ from place to place by a sixth, each band a little on its own.
    tone = np.exp(rng.normal(0.0, 0.10) + rng.normal(0.0, 0.03, 4)).astype(np.float32)
    return Ground(
        bare=np.stack([half(b) for b in sheet.bare]) * tone[:, None, None],
        plants=half(sheet.plants),
        phase=half(sheet.phase),
        vigour=half(sheet.vigour) * rng.uniform(0.5, 1.0),
        thirst=half(sheet.thirst),
        tall=tuple(_tallest(spec.props)),
    )


def on_picture(ground: Ground, yard: Yard, picture: F32, rng: np.random.Generator) -> Ground:
    """Lay a yard's own bed on a real picture: real texture beside the tracks, a simulated bed under them.

    Args:
        ground: The simulated ground.
        yard: The yard.
        picture: (4, H, W) real reflectance in the four bands on pixels of 10 m, without clouds.
        rng: Chooses the piece and how it is turned.

    Raises:
        ValueError: The picture is smaller than 20 pixels a side.
    """
    h, w = ground.plants.shape
    need = math.ceil(h * CELL_M / _PIXEL_M), math.ceil(w * CELL_M / _PIXEL_M)
    turned = np.rot90(picture, int(rng.integers(4)), axes=(1, 2))
    if min(turned.shape[1:]) < 20:
        raise ValueError("a picture needs 20 pixels a side or more")
    if rng.random() < 0.5:
        turned = turned[:, ::-1]
    # Mirrored at its borders where the yard is longer than the picture.
    rows, columns = (
        np.abs((start + np.arange(n) + size) % (2 * size) - size + 0.5).astype(int).clip(0, size - 1)
        for n, size, start in (
            (need[0], turned.shape[1], int(rng.integers(turned.shape[1]))),
            (need[1], turned.shape[2], int(rng.integers(turned.shape[2]))),
        )
    )
    piece = turned[:, rows[:, None], columns[None, :]]
    size = need[1] * 4, need[0] * 4
    real = np.stack([cv2.resize(p, size, interpolation=cv2.INTER_CUBIC)[:h, :w] for p in piece])
    corridor = np.zeros((h, w), np.uint8)
    for path in yard.paths:
        points = np.round((path.points / CELL_M - 0.5) * 16).astype(np.int32)
        cv2.polylines(corridor, [points], False, 255, max(1, round(7.0 / CELL_M)), cv2.LINE_AA, 4)
    bed = corridor.astype(np.float32) / 255.0
    return Ground(
        bare=(ground.bare * bed + np.clip(real, 0.001, 1.2) * (1 - bed)).astype(np.float32),
        plants=(ground.plants * bed).astype(np.float32),
        phase=ground.phase,
        vigour=ground.vigour,
        thirst=ground.thirst * bed + 0.6 * (1 - bed),
        tall=(),
    )


def _tallest(props: Sequence[Prop]) -> list[Prop]:
    """What throws the shadows that a pixel of 10 m shows."""
    tall = [p for p in props if p.height_m > 2.2]
    return sorted(tall, key=lambda p: -p.height_m * max(p.length_m, p.width_m))[:_MOST_SHADOWS]


def _mask(sheet: _GroundSheet, item: Area | Strip) -> NDArray[np.uint8]:
    mask = np.zeros(sheet.shape, np.uint8)
    if isinstance(item, Area):
        cv2.fillPoly(mask, [sheet.points(item.polygon)], 255, cv2.LINE_AA, 4)
    else:
        thick = max(1, round(item.width_m / _DRAW_M))
        value = int(255 * min(1.0, item.width_m / _DRAW_M))
        cv2.polylines(mask, [sheet.points(item.line)], False, value, thick, cv2.LINE_AA, 4)
    return mask


def _stand(sheet: _GroundSheet, prop: Prop) -> None:
    """A roof, vehicle, stack or crown: covers the ground under it."""
    value = _painted(prop.material, prop.colour, 0.5, 2.0)
    corners = footprint(prop.x_m, prop.y_m, prop.angle_deg, prop.length_m, prop.width_m)
    x0, y0 = np.floor(corners.min(axis=0) / _DRAW_M).astype(int) - 1
    x1, y1 = np.ceil(corners.max(axis=0) / _DRAW_M).astype(int) + 2
    x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, sheet.shape[1]), min(y1, sheet.shape[0])
    if x0 >= x1 or y0 >= y1:
        return
    local = np.zeros((y1 - y0, x1 - x0), np.uint8)
    points = sheet.points([tuple(c) for c in corners]) - np.array([x0, y0]) * 16
    cv2.fillConvexPoly(local, points, 255, cv2.LINE_AA, 4)
    share = local.astype(np.float32) / 255.0
    at = slice(y0, y1), slice(x0, x1)
    g = _greenness(_spectrum(prop.material)) if prop.kind in {"tree", "bush", "hedge"} else 0.0
    for b in range(4):
        sheet.bare[b][at] += share * (value[b] * (1 - g) - sheet.bare[b][at])
    sheet.plants[at] += share * (g - sheet.plants[at])
    sheet.thirst[at] += share * (0.3 - sheet.thirst[at])


# ---------------------------------------------------------------------------------------- a date


@dataclass(frozen=True)
class AcquisitionConditions:
    """What one date brings besides the wagons.

    Attributes:
        when: UTC.
        sun_azimuth_deg: Clockwise from north.
        sun_elevation_deg: Above the horizon.
        wet: How wet the ground is, 0 to 1.
        gain: By band, what reflectance is multiplied by.
        haze: By band, what is added.
        shift_m: Where the image's content lies beside its place, metres east and south.
        band_shift_m: (4, 2) the same for each band beside that.
        fwhm_m: Point spread by band, full width at half maximum.
        snow: Share of the ground under snow, 0 to 1.
        seed: Of what is different everywhere: local change, noise.
        noise: Of the instrument, times that of Sentinel-2.
    """

    when: dt.datetime
    sun_azimuth_deg: float
    sun_elevation_deg: float
    wet: float
    gain: tuple[float, ...]
    haze: tuple[float, ...]
    shift_m: tuple[float, float]
    band_shift_m: tuple[tuple[float, float], ...]
    fwhm_m: tuple[float, ...]
    snow: float
    seed: int
    noise: float = 1.0


@dataclass(frozen=True)
class SiteParameters:
    """What is a site's own in all its dates.

    Attributes:
        latitude_deg: Decides the sun.
        jitter_m: Standard deviation of a date's place, an axis.
        fwhm_m: Usual point spread by band.
        climate: How often the ground is wet, 0 to 1.
        change: Local change from date to date, relative.
        patchiness: How unevenly moisture lies, 0 to 1.
    """

    latitude_deg: float
    jitter_m: float
    fwhm_m: tuple[float, ...]
    climate: float
    change: float
    patchiness: float

    @classmethod
    def random(cls, rng: np.random.Generator) -> SiteParameters:
        """The parameters of a site by chance."""
        return cls(
            latitude_deg=rng.uniform(25.0, 60.0),
            jitter_m=rng.uniform(1.0, 4.0),
            fwhm_m=tuple(float(f) for f in np.sort(rng.uniform(11.0, 13.5, 4))),
            climate=rng.uniform(0.1, 0.5),
            change=float(np.exp(rng.uniform(math.log(0.008), math.log(0.03)))),
            patchiness=rng.uniform(0.2, 1.0),
        )


def sun_at(when: dt.datetime, latitude_deg: float, hour_deg: float = -18.0) -> tuple[float, float]:
    """Azimuth and elevation of the sun, degrees (J. Meeus, Astronomical Algorithms; low precision).

    Args:
        when: The day.
        latitude_deg: Of the place.
        hour_deg: Hour angle, 15 degrees an hour after noon; that of Sentinel-2, about 10:45, if not given.
    """
    day = when.timetuple().tm_yday
    declination = math.radians(23.44) * math.sin(2 * math.pi * (day - 81) / 365.25)
    latitude, hour = math.radians(latitude_deg), math.radians(hour_deg)
    up = math.sin(latitude) * math.sin(declination) + math.cos(latitude) * math.cos(declination) * math.cos(
        hour
    )
    elevation = math.asin(up)
    south = math.sin(latitude) * math.cos(declination) * math.cos(hour) - math.cos(latitude) * math.sin(
        declination
    )
    west = math.cos(declination) * math.sin(hour)
    return (180.0 + math.degrees(math.atan2(west, south))) % 360.0, math.degrees(elevation)


def random_sky(
    rng: np.random.Generator, parameters: SiteParameters, when: dt.datetime, *, snow: float = 0.0
) -> AcquisitionConditions:
    """The sky and the instrument of one clear date."""
    azimuth, elevation = sun_at(when, parameters.latitude_deg)
    wet = rng.uniform(0.2, 1.0) if rng.random() < parameters.climate else rng.uniform(0.0, 0.15)
    haze = float(np.clip(rng.exponential(0.006), 0.0, 0.05))
    return AcquisitionConditions(
        when=when,
        sun_azimuth_deg=azimuth + rng.normal(0, 2.0),
        sun_elevation_deg=max(elevation, 14.0),
        wet=wet,
        gain=tuple(float(g) for g in (1 + rng.normal(0, 0.05) + rng.normal(0, 0.015, 4)) * (1 - haze)),
        haze=tuple(float(h) for h in haze * np.array([1.0, 0.75, 0.55, 0.3])),
        shift_m=tuple(float(s) for s in rng.normal(0, parameters.jitter_m, 2)),  # type: ignore[arg-type]
        band_shift_m=tuple(tuple(float(s) for s in p) for p in rng.normal(0, 0.8, (4, 2))),  # type: ignore[misc]
        fwhm_m=tuple(f * rng.uniform(0.97, 1.03) for f in parameters.fwhm_m),
        snow=snow,
        seed=int(rng.integers(1 << 31)),
    )


def lattice_over(size_m: tuple[float, float], turn_deg: float, offset_m: tuple[float, float]) -> Grid:
    """A lattice of 10 m that covers a scene, turned against it.

    Args:
        size_m: The scene's size.
        turn_deg: Direction of the lattice's x axis in the scene, degrees clockwise from the scene's x axis.
        offset_m: Where its corner lies, within a pixel.
    """
    t = math.radians(turn_deg)
    u, v = np.array([math.cos(t), math.sin(t)]), np.array([-math.sin(t), math.cos(t)])
    corners = np.array([(0, 0), (size_m[0], 0), (0, size_m[1]), size_m], float)
    low = np.floor([(corners @ u).min(), (corners @ v).min()]) - offset_m
    high = np.array([(corners @ u).max(), (corners @ v).max()])
    columns, rows = np.ceil((high - low) / _PIXEL_M).astype(int)
    origin = low[0] * u + low[1] * v
    step = _PIXEL_M
    return Grid(
        (int(rows), int(columns)),
        Affine(u[0] * step, v[0] * step, origin[0], u[1] * step, v[1] * step, origin[1]),
    )


@dataclass(frozen=True)
class CoarseYard:
    """A yard ready to be seen on many dates.

    Attributes:
        yard: The yard.
        parameters: The site's own weather and instrument.
        ground: Its ground.
        lattice: Where the pixels lie.
    """

    yard: Yard
    parameters: SiteParameters
    ground: Ground
    lattice: Grid

    @classmethod
    def random(cls, yard: Yard, rng: np.random.Generator, picture: F32 | None = None) -> CoarseYard:
        """Give a yard a place: direction, latitude, climate, and real ground (4, H, W) if there is any."""
        lattice = lattice_over(
            yard.spec.size_m, rng.uniform(-180, 180), (rng.uniform(0, 10), rng.uniform(0, 10))
        )
        parameters, ground = SiteParameters.random(rng), draw_ground(yard, rng)
        if picture is not None:
            ground = on_picture(ground, yard, picture, rng)
        return cls(yard, parameters, ground, lattice)

    @cached_property
    def size(self) -> tuple[int, int]:
        """Rows and columns of 2.5 m cells."""
        h, w = self.ground.plants.shape
        return int(h), int(w)

    def scene(self, consists: tuple[Consist, ...]) -> SceneSpec:
        """The whole description of one date, as the fine renderer takes it."""
        return replace(self.yard.spec, consists=consists)

    def render(self, consists: Sequence[Consist], sky: AcquisitionConditions) -> F32:
        """Reflectance of one date, (4, rows, columns) of the lattice; NaN outside the scene."""
        rng = np.random.default_rng(sky.seed)
        values = self._season(sky)
        values *= self._moisture(sky, rng)
        wagons = [w for c in consists for w in c.wagons]
        shade, roofs = self._shade(wagons, sky)
        if sky.snow > 0:
            values = self._snowed(values, sky, rng)
        values *= 1.0 - shade[None] * (1.0 - _SHADOW_LIGHT[:, None, None])
        values = values * (1.0 - roofs.cover) + roofs.light
        return self._measure(values, sky, rng)

    def _season(self, sky: AcquisitionConditions) -> F32:
        g = self.ground
        day = sky.when.timetuple().tm_yday - self.yard.season_peak - g.phase
        green = np.clip(0.5 + 0.5 * np.cos(2 * np.pi * day / 365.25), 0.0, 1.0) ** 1.5 * g.vigour
        lush, dead = _LUSH[:, None, None], _DEAD[:, None, None]
        return np.asarray(g.bare + g.plants * (dead + green * (lush - dead)), dtype=np.float32)

    def _moisture(self, sky: AcquisitionConditions, rng: np.random.Generator) -> F32:
        h, w = self.size
        lasting = bumps("patchy", self.yard.spec.seed, h, w)
        today = bumps("patchy", int(rng.integers(1 << 24)), h, w)
        uneven = self.parameters.patchiness * (0.6 * lasting + 0.4 * today)
        dark = 0.35 * sky.wet * np.clip(1.0 + uneven, 0.0, 1.8) * self.ground.thirst
        # Small things move: dust, oil, tyres, stacks. Patches of twenty to sixty metres, each band alike.
        local = bumps("cloudy", int(rng.integers(1 << 24)), h, w)
        return np.asarray(np.clip(1.0 - dark, 0.3, 1.0) * np.exp(3.0 * self.parameters.change * local))[None]

    def _snowed(self, values: F32, sky: AcquisitionConditions, rng: np.random.Generator) -> F32:
        h, w = self.size
        patches = noise("patchy", int(rng.integers(1 << 24)), h, w).astype(np.float32) / 255.0
        cover = np.clip((sky.snow * 1.3 - patches) * 4.0 + 0.2, 0.0, 1.0)
        white = np.array([0.75, 0.75, 0.74, 0.70], np.float32)[:, None, None]
        return np.asarray(values * (1 - cover) + white * cover, dtype=np.float32)

    def _shade(self, wagons: Sequence[Wagon], sky: AcquisitionConditions) -> tuple[F32, _Roofs]:
        """Share of each cell in shadow, and the roofs of wagons."""
        h, w = self.size
        factor = round(CELL_M / _SHADE_M)
        shadow = np.zeros((h * factor, w * factor), np.uint8)
        # The sun's azimuth is from north; the lattice says where north is in the scene.
        azimuth = math.radians(sky.sun_azimuth_deg + self.lattice.turn_deg)
        reach = 1.0 / math.tan(math.radians(sky.sun_elevation_deg))
        throw = np.array([-math.sin(azimuth), math.cos(azimuth)]) * reach
        roofs = _Roofs.of(wagons, (h, w), sky.snow)
        tall: list[Prop | Wagon] = [*self.ground.tall, *wagons]
        for thing in tall:
            length, width = thing.length_m - _SHADE_M, max(thing.width_m - _SHADE_M, 0.3)
            body = footprint(thing.x_m, thing.y_m, thing.angle_deg, length, width)
            hull = cv2.convexHull(np.vstack([body, body + throw * thing.height_m]).astype(np.float32))
            points = np.round((hull[:, 0] / _SHADE_M - 0.5) * 16).astype(np.int32)
            cv2.fillConvexPoly(shadow, points, 1, cv2.LINE_8, 4)
        for one in wagons:
            length, width = one.length_m - _SHADE_M, one.width_m - _SHADE_M
            body = footprint(one.x_m, one.y_m, one.angle_deg, length, width)
            points = np.round((body / _SHADE_M - 0.5) * 16).astype(np.int32)
            cv2.fillConvexPoly(shadow, points, 0, cv2.LINE_8, 4)
        share = cv2.resize(shadow.astype(np.float32), (w, h), interpolation=cv2.INTER_AREA)
        return np.asarray(share, dtype=np.float32), roofs

    def _measure(self, values: F32, sky: AcquisitionConditions, rng: np.random.Generator) -> F32:
        out = np.empty((4, *self.lattice.shape), np.float32)
        rows, columns = self.lattice.shape
        t = math.radians(self.lattice.turn_deg)
        # Scene metres of a shift given in metres east and south of the lattice.
        c, s = math.cos(t), math.sin(t)
        ramp_x, ramp_y = np.meshgrid(np.linspace(-0.5, 0.5, columns), np.linspace(-0.5, 0.5, rows))
        slope = rng.normal(0, 0.004, 2)
        for b in range(4):
            sigma = sky.fwhm_m[b] / 2.3548 / CELL_M
            blurred = cv2.GaussianBlur(values[b], (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
            east = sky.shift_m[0] + sky.band_shift_m[b][0]
            south = sky.shift_m[1] + sky.band_shift_m[b][1]
            # Content displaced by e shows, at a pixel, what lies at that pixel's place minus e.
            m = np.array(self.lattice.transform[:6], float).reshape(2, 3)
            m[:, 2] -= (c * east - s * south, s * east + c * south)
            m /= CELL_M
            m[:, 2] += m[:, :2] @ (0.5, 0.5) - 0.5  # pixel corners to OpenCV's centres
            out[b] = cv2.warpAffine(
                blurred,
                m,
                (columns, rows),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_CONSTANT,
                borderValue=float("nan"),
            )
            out[b] = out[b] * sky.gain[b] + sky.haze[b] + (slope[0] * ramp_x + slope[1] * ramp_y)
        strength = sky.noise * (0.0015 + 0.006 * np.clip(out, 0, 1))
        sun = math.sin(math.radians(45.0)) / max(math.sin(math.radians(sky.sun_elevation_deg)), 0.2)
        out += rng.standard_normal(out.shape).astype(np.float32) * strength * np.float32(sun**0.5)
        return np.asarray(np.round(np.clip(out, 0.0001, 1.6) * 1e4) / 1e4, dtype=np.float32)


class _Roofs(NamedTuple):
    """Wagons from above: share of each cell, and their light.

    Attributes:
        cover: (1, h, w) share under roofs.
        light: (4, h, w) reflectance of the roofs times their share.
    """

    cover: F32
    light: F32

    @classmethod
    def of(cls, wagons: Sequence[Wagon], shape: tuple[int, int], snow: float) -> _Roofs:
        h, w = shape
        planes = np.zeros((5, h * w))
        if wagons:
            xs, ys, shares, spectra = [], [], [], []
            for one in wagons:
                n, k = max(2, round(one.length_m)), 4
                along = (np.arange(n) + 0.5) / n - 0.5
                across = (np.arange(k) + 0.5) / k - 0.5
                a, c = np.meshgrid(along * one.length_m, across * one.width_m)
                t = math.radians(one.angle_deg)
                xs.append((one.x_m + a * math.cos(t) - c * math.sin(t)).ravel())
                ys.append((one.y_m + a * math.sin(t) + c * math.cos(t)).ravel())
                shares.append(np.full(n * k, one.length_m * one.width_m / (n * k) / CELL_M**2))
                spectrum = roof_spectrum(one)
                spectra.append(np.repeat(spectrum[:, None], n * k, axis=1))
            x = np.concatenate(xs) / CELL_M - 0.5
            y = np.concatenate(ys) / CELL_M - 0.5
            share, light = np.concatenate(shares), np.concatenate(spectra, axis=1)
            if snow > 0:
                light = light * (1 - 0.8 * snow) + 0.7 * 0.8 * snow
            x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
            fx, fy = x - x0, y - y0
            for ox, oy, weight in (
                (0, 0, (1 - fx) * (1 - fy)),
                (1, 0, fx * (1 - fy)),
                (0, 1, (1 - fx) * fy),
                (1, 1, fx * fy),
            ):
                column, row = x0 + ox, y0 + oy
                ok = (column >= 0) & (row >= 0) & (column < w) & (row < h)
                at = (row * w + column)[ok]
                part = (share * weight)[ok]
                planes[0] += np.bincount(at, part, h * w)
                for b in range(4):
                    planes[1 + b] += np.bincount(at, part * light[b][ok], h * w)
        cover = planes[0].reshape(1, h, w)
        over = np.maximum(cover, 1.0)
        light_planes = planes[1:].reshape(4, h, w)
        return cls((cover / over).astype(np.float32), (light_planes / over).astype(np.float32))


def roof_spectrum(wagon: Wagon) -> F32:
    """What a wagon reflects upwards in the four bands, its body's and load's light together."""
    rng = np.random.default_rng(wagon.seed)
    paint = _painted(wagon.material, wagon.colour)
    if wagon.type == "gondola_empty":
        value = 0.45 * paint + 0.55 * paint * 0.55  # the floor lies in the shade of the walls
    elif wagon.load == "containers":
        boxes = [_spectrum(_CONTAINERS[int(rng.integers(len(_CONTAINERS)))]) for _ in range(2)]
        value = 0.85 * np.mean(boxes, axis=0) + 0.15 * paint * 0.5
    elif wagon.load not in {"none", "vehicles", "pipes", "crates", "tarp"} and wagon.load in MATERIALS:
        value = 0.8 * _painted(wagon.load, wagon.load_colour) + 0.2 * paint
    elif wagon.load in {"vehicles", "crates", "pipes"}:
        value = 0.5 * _spectrum("grey") + 0.5 * paint
    elif wagon.type == "tank":
        value = 0.8 * paint + 0.2 * paint * 0.4
    else:
        value = paint
    dust = 0.5 * _spectrum("soil") + 0.5 * _spectrum("rust")
    dirty = rng.uniform(0.1, 0.5)
    value = (1 - dirty) * value + dirty * dust
    return np.asarray(value * math.exp(rng.normal(0, 0.16)), dtype=np.float32)


def _painted(material: str, colour: tuple[float, float, float], least: float = 0.4, most: float = 2.5) -> F32:
    """Four bands of a painted thing: its own colours, and the material's infrared in proportion."""
    spectrum = _spectrum(material if material in MATERIALS else "grey")
    own = np.array([colour[2], colour[1], colour[0]], np.float32)
    scale = float(own.mean() / max(float(spectrum[:3].mean()), 0.01))
    return np.array([*own, spectrum[3] * np.clip(scale, least, most)], np.float32)
