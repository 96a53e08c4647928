"""Rail vehicles of the second simulator: pictures from above, made of a body, a profile and what repeats.

They share no design, colour or drawing with `detector.simulators.procedural`. A cutout is a body colour times
the light on a cross-section (flat, ridged, round, a tub with walls) times a pattern along it (ribs, panels,
hatches, gaps between loads) times dirt.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.wagons.categories import COACH, FREIGHT, LOCOMOTIVE

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
PX_M = 0.1


@dataclass(frozen=True)
class Cutout:
    """A vehicle from straight above.

    Attributes:
        colour: (H, W, 3) display values 0 to 1 at 0.1 m, columns along the vehicle.
        solid: (H, W) share of each pixel that isn't open to the ground below, 0 to 1.
        height_m: Of the roof above the rail.
        category: Index into the detector's categories.
        name: Type.
    """

    colour: F32
    solid: F32
    height_m: float
    category: int
    name: str

    @property
    def size_m(self) -> tuple[float, float]:
        """Length over the buffers and width."""
        return self.colour.shape[1] * PX_M, self.colour.shape[0] * PX_M


@dataclass(frozen=True)
class Paint:
    """What the vehicles of one rake have in common.

    Attributes:
        hue: Of the body, (3,) display values 0 to 1.
        length_m: Over the buffers.
        lit: Light on the side at the start of the rows less that on the other, -1 to 1.
        rib_m: Period of ribs along the body.
        style: Seed of what else is of one design.
    """

    hue: F32
    length_m: float
    lit: float
    rib_m: float
    style: int


def body_colour(rng: np.random.Generator, near: F32 | None = None) -> F32:
    """A weathered body colour; in a third of the cases close to the ground's, where that is given."""
    kind = rng.random()
    if kind < 0.35:  # grey, from soot to white
        value = rng.beta(1.1, 1.3)
        hsv = rng.random(), rng.uniform(0, 0.12), value
    elif kind < 0.65:  # rust, oxide, wood, sand
        hsv = rng.uniform(0.0, 0.12), rng.uniform(0.1, 0.6), rng.uniform(0.12, 0.65)
    else:
        hsv = rng.random(), rng.uniform(0.1, 0.55), rng.uniform(0.15, 0.75)
    rgb = np.array(colorsys.hsv_to_rgb(*hsv))
    if near is not None and rng.random() < 0.35:
        rgb = rgb + (near * rng.uniform(0.75, 1.3) - rgb) * rng.uniform(0.5, 0.95)
    return np.asarray(np.clip(rgb, 0.02, 0.97), np.float32)


def random_paint(rng: np.random.Generator, kind: str, near: F32, lit: float) -> Paint:
    """The design of a rake of vehicles of one kind."""
    _, low, high, _ = VEHICLES[kind]
    return Paint(
        body_colour(rng, near), rng.uniform(low, high), lit, rng.uniform(0.5, 2.6), int(rng.integers(1 << 30))
    )


def cutout(rng: np.random.Generator, kind: str, paint: Paint) -> Cutout:
    """A vehicle of a kind and design, with dirt of its own."""
    design = np.random.default_rng(paint.style)
    body = _VehicleDrawing(design, rng, paint)
    height = VEHICLES[kind][0](body)
    body.dirt()
    # Between the vehicles are couplers over the track: dark, and only partly there.
    end = design.uniform(0.25, 0.6) if kind != "unit" else design.uniform(0.05, 0.3)
    ends = (body.along < end) | (body.along > paint.length_m - end)
    body.solid[ends & (np.abs(body.across) > 0.25)] = 0.0
    category = {"carriage": COACH, "unit": COACH, "engine": LOCOMOTIVE}.get(kind, FREIGHT)
    return Cutout(np.clip(body.colour, 0.0, 1.0), body.solid, height, category, kind)


@dataclass
class _VehicleDrawing:
    """A vehicle being drawn."""

    design: np.random.Generator
    rng: np.random.Generator
    paint: Paint

    def __post_init__(self) -> None:
        rows, columns = round(self.design.uniform(2.65, 3.25) / PX_M), round(self.paint.length_m / PX_M)
        self.across = np.linspace(-1.0, 1.0, rows, dtype=np.float32)[:, None]
        self.along = (np.arange(columns, dtype=np.float32) + 0.5)[None, :] * np.float32(PX_M)
        self.colour = np.ones((rows, columns, 3), np.float32) * self.paint.hue
        self.solid = np.ones((rows, columns), np.float32)

    def times(self, factor: NDArray[Any]) -> None:
        """Multiply light or shade into the picture; a row or a column of them goes for all of it."""
        self.colour *= np.asarray(factor, np.float32)[..., None]

    def dim(self, where: NDArray[np.bool_], factor: float) -> None:
        """Multiply light or shade into an area."""
        self.colour[np.broadcast_to(where, self.solid.shape)] *= np.float32(factor)

    def fill(self, where: NDArray[np.bool_], colour: F32 | float, share: float = 1.0) -> None:
        """Paint an area."""
        where = np.broadcast_to(where, self.solid.shape)
        self.colour[where] += (np.asarray(colour, np.float32) - self.colour[where]) * np.float32(share)

    def ribs(self, depth: float) -> None:
        """Light and dark across the body at the rake's period."""
        wave = np.sin(2 * np.pi * self.along / np.float32(self.paint.rib_m))
        sharp = np.tanh(wave * np.float32(self.design.uniform(1, 5)))
        self.times(1.0 + np.float32(depth) * sharp)

    def panels(self, depth: float) -> None:
        """Steps of brightness along the body."""
        number = max(1, round(self.paint.length_m / self.design.uniform(1.5, 5.0)))
        level = self.design.normal(1.0, depth, number).astype(np.float32)
        pick = np.minimum((self.along / np.float32(self.paint.length_m) * number).astype(int), number - 1)
        self.times(level[pick])

    def profile(self, shape: str, depth: float) -> None:
        """Light on a roof: brighter towards the sun, by shape."""
        v, lit = self.across, np.float32(self.paint.lit * depth)
        if shape == "ridge":
            self.times(1.0 - lit * np.sign(v))
        elif shape == "round":
            self.times(1.0 - lit * np.sin(v * np.float32(np.pi / 2)) - np.float32(depth * 0.35) * v**4)

    def ends(self, length: float, level: float) -> None:
        """Platforms at both ends, darker and partly open."""
        far = (self.along < length) | (self.along > self.paint.length_m - length)
        self.dim(far, level)
        self.solid[:, far[0]] *= np.float32(self.design.uniform(0.5, 1.0))

    def from_nearest(self, number: int) -> F32:
        """Metres along to the nearest of a number of things spread evenly."""
        at = (np.arange(number) + 0.5) * self.paint.length_m / number
        return np.asarray(np.min(np.abs(self.along[..., None] - at.astype(np.float32)), axis=-1))

    def dirt(self) -> None:
        """Patches, streaks and grain."""
        rows, columns = self.colour.shape[:2]
        coarse = self.rng.normal(1.0, self.rng.uniform(0.02, 0.14), (4, max(4, columns // 20)))
        patches = cv2.resize(coarse.astype(np.float32), (columns, rows), interpolation=cv2.INTER_CUBIC)
        self.times(patches)
        self.times(self.rng.normal(1.0, 0.04, (rows, columns)))
        if self.rng.random() < 0.3:
            streak = np.asarray(self.rng.normal(1.0, 0.08, columns), np.float32)
            soft = np.convolve(streak, np.array([0.25, 0.5, 0.25], np.float32), "same")
            self.times(soft)
        self.colour *= np.float32(self.rng.normal(1.0, 0.06))


def _inside(body: _VehicleDrawing, wall: float) -> NDArray[np.bool_]:
    end = wall * 1.5
    return (np.abs(body.across) < 1 - wall) & (body.along > end) & (body.along < body.paint.length_m - end)


def _tub(body: _VehicleDrawing) -> float:
    wall = body.design.uniform(0.06, 0.16)
    inside = _inside(body, wall)
    floor = body_colour(body.design)
    depth = body.design.uniform(0.25, 0.8)
    body.fill(~inside, np.clip(body.paint.hue * np.float32(body.design.uniform(0.9, 1.5)), 0, 1))
    body.fill(inside, floor * np.float32(depth), body.design.uniform(0.3, 1.0))
    # The wall towards the sun throws its shade on the floor.
    reach = body.design.uniform(0.1, 1.0)
    toward = body.across * np.float32(np.sign(body.paint.lit) or 1.0)
    shaded = inside & (toward < -1 + wall + reach)
    body.dim(shaded, body.rng.uniform(0.35, 0.8))
    if body.rng.random() < 0.3:  # something left in it
        at = body.rng.uniform(2, body.paint.length_m - 2)
        rest = np.abs(body.along - at) < body.rng.uniform(0.5, 3)
        body.fill(inside & rest, body_colour(body.rng), 0.7)
    if body.design.random() < 0.5:
        body.ribs(body.design.uniform(0.02, 0.12))
    return body.design.uniform(2.4, 3.8)


def _heap(body: _VehicleDrawing) -> float:
    wall = body.design.uniform(0.05, 0.14)
    inside = _inside(body, wall)
    dark = body.design.random() < 0.5  # coal, ore, against stone, sand, scrap, grain
    load = body.design.uniform(0.05, 0.22) if dark else body_colour(body.design)
    body.fill(inside, load)
    cones = int(body.design.integers(1, 6))
    wave = np.abs(np.sin(np.pi * body.along / body.paint.length_m * cones))
    bump = (1 - np.abs(body.across)) * (0.6 + 0.4 * wave)
    shade = 0.8 + 0.35 * bump - np.float32(body.paint.lit * 0.2) * np.sign(body.across) * bump
    light = np.where(inside, shade, np.float32(1.0))
    grain = body.rng.normal(1.0, body.design.uniform(0.03, 0.3), light.shape)
    body.times(light * np.where(inside, cv2.blur(grain, (3, 3)), 1.0))
    return body.design.uniform(2.2, 3.8)


def _van(body: _VehicleDrawing) -> float:
    body.profile(str(body.design.choice(["flat", "ridge", "round"])), body.design.uniform(0.05, 0.3))
    if body.design.random() < 0.5:
        body.ribs(body.design.uniform(0.02, 0.15))
    if body.design.random() < 0.5:
        body.panels(body.design.uniform(0.02, 0.12))
    if body.design.random() < 0.35:
        body.fill(np.abs(body.across) < 0.12, body.design.uniform(0.2, 0.8), 0.5)
    if body.design.random() < 0.4:  # sides darker or lighter than the roof
        body.dim(np.abs(body.across) > body.design.uniform(0.7, 0.9), body.design.uniform(0.5, 1.4))
    return body.design.uniform(3.5, 5.8 if body.paint.length_m > 19 else 4.6)


def _cylinder(body: _VehicleDrawing) -> float:
    length = body.paint.length_m
    end = body.design.uniform(0.4, 1.3)
    narrow = body.design.uniform(0.78, 1.0)
    frame = (np.abs(body.across) > narrow) | (body.along < end) | (body.along > length - end)
    curve = np.sqrt(np.clip(1 - (body.across / np.float32(narrow)) ** 2, 0, 1))
    side = np.float32(body.paint.lit * body.design.uniform(0.1, 0.5)) * body.across / np.float32(narrow)
    shiny = np.exp(-(((body.across + np.float32(0.35 * body.paint.lit)) / 0.18) ** 2))
    body.times(0.45 + 0.6 * curve - side + shiny * body.design.uniform(0, 0.6))
    body.fill(frame, body.design.uniform(0.08, 0.4), 0.8)
    body.solid[frame] *= np.float32(body.design.uniform(0.4, 1.0))
    dome = ((body.along - length / 2) / body.design.uniform(0.4, 1.3)) ** 2 + (body.across / 0.35) ** 2 < 1
    body.fill(dome, body.design.uniform(0.1, 0.9), 0.6)
    for _ in range(int(body.design.integers(0, 4))):  # bands
        at = body.design.uniform(0.1, 0.9) * length
        body.dim(np.abs(body.along - at) < 0.15, 0.75)
    if body.rng.random() < 0.4:  # spilt about the dome
        spot = np.abs(body.along - length / 2) < body.rng.uniform(0.6, 2)
        body.dim(spot, body.rng.uniform(0.5, 0.9))
    return body.design.uniform(3.8, 4.7)


def _hatches(body: _VehicleDrawing) -> float:
    body.profile(str(body.design.choice(["flat", "round", "ridge"])), body.design.uniform(0.05, 0.25))
    number = int(body.design.integers(2, 9))
    size = body.design.uniform(0.3, 0.9)
    tone = body.design.uniform(0.4, 1.6)
    row = float(body.design.choice([0.0, 0.45]))
    lid = (body.from_nearest(number) < size) & (np.abs(np.abs(body.across) - row) < 0.22)
    body.dim(lid, tone)
    body.ends(body.design.uniform(0.3, 1.5), body.design.uniform(0.4, 0.9))
    if body.design.random() < 0.4:
        body.dim(np.abs(np.abs(body.across) - 0.8) < 0.08, body.design.uniform(0.6, 1.4))
    return body.design.uniform(3.6, 4.7)


def _deck(body: _VehicleDrawing) -> float:
    floor = body_colour(body.design)
    body.fill(body.solid > 0, floor, body.design.uniform(0, 1))
    body.ribs(body.design.uniform(0.0, 0.2))
    top = 1.3
    load = body.rng.random()
    inside = (np.abs(body.across) < 0.8) & (body.along > 0.8) & (body.along < body.paint.length_m - 0.8)
    if load < 0.25:  # timber, pipes, rails
        period = body.design.uniform(0.15, 0.6)
        stripe = 1 + 0.3 * np.sin(2 * np.pi * body.across / period)
        body.fill(inside, body_colour(body.design), 0.9)
        body.times(np.where(inside, stripe, 1.0))
        top = 2.8
    elif load < 0.45:  # single pieces
        for _ in range(int(body.rng.integers(1, 6))):
            at, half = body.rng.uniform(1.5, body.paint.length_m - 1.5), body.rng.uniform(0.4, 2.4)
            wide = body.rng.uniform(0.4, 0.85)
            piece = (np.abs(body.along - at) < half) & (np.abs(body.across) < wide)
            body.fill(inside & piece, body_colour(body.rng), 0.95)
        top = 2.4
    elif load < 0.55:  # open in the middle: a spine or a well
        gap = inside & (np.abs(body.across) > 0.25)
        body.solid[gap] = np.float32(body.design.uniform(0.0, 0.4))
    return top


def _boxes(body: _VehicleDrawing) -> float:
    body.fill(body.solid > 0, body.design.uniform(0.1, 0.35))
    left = body.design.uniform(0.3, 1.0)
    room = body.paint.length_m - 2 * left
    top = 1.2
    at = left
    while at + 5.5 < left + room:
        length = min(float(body.rng.choice([6.06, 6.06, 12.19, 12.19, 13.7])), left + room - at)
        if body.rng.random() < 0.85:
            place = (np.abs(body.across) < 0.9) & (body.along > at + 0.06) & (body.along < at + length - 0.06)
            colour = body_colour(body.rng)
            body.fill(place, colour)
            wave = 1 + np.float32(body.rng.uniform(0, 0.12)) * np.sin(2 * np.pi * body.along / 0.5)
            body.times(np.where(place, wave, 1.0))
            top = 3.9
        at += length + body.rng.uniform(0.05, 0.6)
    return top


def _sheet(body: _VehicleDrawing) -> float:
    hoops = int(body.design.integers(3, 9))
    sag = np.cos(2 * np.pi * hoops * body.along / body.paint.length_m)
    sag *= np.float32(body.design.uniform(0.03, 0.15))
    body.profile(str(body.design.choice(["ridge", "round", "flat"])), body.design.uniform(0.1, 0.3))
    body.times(1 + sag)
    crease = cv2.GaussianBlur(body.rng.normal(0, 1, body.solid.shape), (0, 0), 2.5)
    body.times(1 + crease * body.rng.uniform(0.1, 0.5))
    return body.design.uniform(3.0, 4.4)


def _carriage(body: _VehicleDrawing) -> float:
    body.profile("round", body.design.uniform(0.1, 0.3))
    for _ in range(int(body.design.integers(0, 4))):
        at = body.design.uniform(1.5, body.paint.length_m - 1.5)
        unit = (np.abs(body.along - at) < body.design.uniform(0.6, 2.2)) & (np.abs(body.across) < 0.55)
        body.dim(unit, body.design.uniform(0.5, 1.5))
    body.fill(np.abs(body.across) > 0.86, body_colour(body.design), 0.6)
    return body.design.uniform(3.7, 4.5)


def _unit(body: _VehicleDrawing) -> float:
    """A car of a multiple unit: one smooth roof, its gear in a pattern that all cars of the train share."""
    length, design = body.paint.length_m, body.design
    body.profile(str(design.choice(["round", "flat", "round"])), design.uniform(0.0, 0.25))
    side = np.abs(body.across)
    if design.random() < 0.6:
        body.fill(side < design.uniform(0.7, 0.92), body_colour(design))
    if design.random() < 0.35:  # lines along
        wave = np.sin(np.pi * body.across * int(design.integers(3, 9)))
        body.times(1 + np.float32(design.uniform(0.05, 0.2)) * np.sign(wave))
    tone = design.uniform(0.3, 1.7)
    wide = design.uniform(0.3, 0.85)
    if design.random() < 0.65:  # units on the roof, evenly
        number = int(design.integers(1, 6))
        body.dim((body.from_nearest(number) < design.uniform(0.3, 2.4)) & (side < wide), tone)
    elif design.random() < 0.5:  # one along all the car
        ends = design.uniform(0.3, 3.0)
        body.dim((body.along > ends) & (body.along < length - ends) & (side < wide), tone)
    if design.random() < 0.4 and body.rng.random() < 0.5:  # a current collector
        at_m = design.uniform(2.0, 6.0)
        for step in (0.0, 0.8, 1.6):
            body.fill((np.abs(body.along - at_m - step) < 0.08) & (side < 0.8), 0.08, 0.9)
    if design.random() < 0.5:  # a stripe at the eaves, with the doors in it
        rim = side > design.uniform(0.8, 0.95)
        body.fill(rim, body_colour(design), 0.8)
        doors = np.sin(np.pi * body.along / length * int(design.integers(3, 9))) > 0.8
        body.dim(rim & doors, design.uniform(0.5, 1.5))
    body.dim((body.along < 0.3) | (body.along > length - 0.3), 0.75)
    return design.uniform(3.4, 4.6)


def _engine(body: _VehicleDrawing) -> float:
    length = body.paint.length_m
    narrow = body.design.uniform(0.45, 1.0)
    body.fill(np.abs(body.across) > narrow, body.design.uniform(0.1, 0.4), 0.9)
    cab = body.design.uniform(0.05, 0.5) * length
    cabin = (np.abs(body.along - cab) < 1.3) & (np.abs(body.across) < 0.97)
    body.fill(cabin, body.paint.hue * np.float32(body.design.uniform(0.7, 1.4)))
    for _ in range(int(body.design.integers(1, 5))):  # fans
        at = body.design.uniform(0.3, 0.95) * length
        fan = ((body.along - at) / 0.75) ** 2 + (body.across / 0.5) ** 2 < 1
        body.fill(fan, body.design.uniform(0.02, 0.3), 0.9)
    if body.design.random() < 0.5:
        body.fill((body.along > length - 1.2) | (body.along < 1.2), body_colour(body.design), 0.7)
    return body.design.uniform(3.9, 4.8)


VEHICLES: dict[str, tuple[Callable[[_VehicleDrawing], float], float, float, float]] = {
    "tub": (_tub, 10.0, 17.0, 0.15),
    "heap": (_heap, 10.0, 17.0, 0.14),
    "van": (_van, 12.0, 19.0, 0.12),
    "long van": (_van, 19.0, 28.5, 0.12),
    "cylinder": (_cylinder, 10.5, 19.5, 0.12),
    "hatches": (_hatches, 11.0, 19.0, 0.10),
    "deck": (_deck, 12.0, 24.0, 0.06),
    "boxes": (_boxes, 12.5, 26.0, 0.10),
    "sheet": (_sheet, 12.0, 20.0, 0.05),
    "carriage": (_carriage, 18.0, 26.5, 0.04),
    "engine": (_engine, 11.0, 22.5, 0.0),
    "unit": (_unit, 12.5, 26.5, 0.0),
}  # how it is drawn, its shortest and greatest length in metres, its share among single vehicles
WEIGHTS = {kind: weight for kind, (*_, weight) in VEHICLES.items() if weight}
