"""Freight cars as solids of chance, for learning their types: shape and light alone, any paint on any type.

The two simulators that the wagon detector learns from draw cars as they are painted: a load has the texture
of coal or scrap, a container a paint of its own. A network that tells types from their pictures learns those
textures, which carry over to nothing else. Here a car is a height above the rail and a colour at each point,
both drawn by chance within what makes its type: walls around a floor or a load, a roof, a cylinder on a
frame, things on a deck. All types take their colours from the same palette, and most surfaces are smooth.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.simulators.collage.canvas import noise_field

F32 = NDArray[np.float32]

PX_M = 0.2
LENGTHS_M = {
    "open": (9.0, 19.0),
    "covered": (10.0, 28.0),
    "tank": (9.5, 20.0),
    "flat_or_container": (11.0, 27.0),
}
"""Of the freight cars of each type, shortest and longest."""
_CONTAINERS_M = (6.06, 6.06, 7.45, 9.12, 12.19, 12.19, 13.72, 16.15)
_DECK_M = (0.9, 1.45)


@dataclass
class _Solid:
    """A car being shaped; metres, rows across it and columns along it.

    Attributes:
        design: Chance that all cars of a rake share.
        rng: Chance of its own.
        u: (1, n) from its middle along it.
        v: (m, 1) from its axis.
        height: (m, n) above the rail; 0 where the ground shows.
        colour: (m, n, 3) reflectance.
    """

    design: np.random.Generator
    rng: np.random.Generator
    length: float
    width: float
    u: F32
    v: F32
    height: F32
    colour: F32

    @classmethod
    def blank(cls, seed: int, rng: np.random.Generator, length: float, width: float) -> _Solid:
        design = np.random.default_rng(seed)
        n, m = round(length / PX_M), round(width / PX_M)
        u = ((np.arange(n) + 0.5) / n - 0.5) * length
        v = ((np.arange(m) + 0.5) / m - 0.5) * width
        paint = tone(design) * np.float32(math.exp(rng.normal(0, design.uniform(0.0, 0.35))))
        return cls(
            design, rng, length, width,
            u.astype(np.float32)[None], v.astype(np.float32)[:, None],
            np.zeros((m, n), np.float32), np.ones((m, n, 3), np.float32) * np.clip(paint, 0.015, 0.95),
        )  # fmt: skip

    def box(self, u0: float, u1: float, half: float) -> NDArray[np.bool_]:
        """Where between two places along the car and so far from its axis."""
        return np.asarray((self.u >= u0) & (self.u <= u1) & (np.abs(self.v) <= half))

    def put(self, where: NDArray[np.bool_], height: F32 | float, colour: F32 | None = None) -> None:
        """A body on part of the car, where it is higher than what is there."""
        where = where & (np.broadcast_to(height, self.height.shape) > self.height)
        self.height = np.where(where, height, self.height).astype(np.float32)
        if colour is not None:
            self.colour = np.where(where[..., None], colour, self.colour).astype(np.float32)

    def grain(self, depth: float, cells_m: tuple[float, ...]) -> F32:
        """A random field about 0 of a deviation, over the car."""
        return noise_field(self.rng, self.height.shape, [c / PX_M for c in cells_m]) * np.float32(depth)

    def wave(self, period: float, square: bool, phase: float = 0.0) -> F32:
        """-1 to 1 along the car."""
        wave = np.sin(2 * np.pi * self.u / period + phase)
        return np.asarray(np.sign(wave) if square else wave, np.float32)


def tone(rng: np.random.Generator, low: float = 0.035, high: float = 0.75) -> F32:
    """A reflectance of any brightness and hue; the same palette for paints, loads and roofs."""
    level = math.exp(rng.uniform(math.log(low), math.log(high)))
    saturation = float(rng.choice([rng.uniform(0, 0.15), rng.uniform(0.1, 0.5), rng.uniform(0.4, 0.95)]))
    return np.asarray(colorsys.hsv_to_rgb(rng.random(), saturation, level), np.float32)


def _open(car: _Solid) -> None:
    d, rng = car.design, car.rng
    rim, wall, end = d.uniform(1.9, 3.9), d.uniform(0.06, 0.32), d.uniform(0.06, 0.6)
    car.put(car.box(-99, 99, 99), float(rim))
    if d.random() < 0.4:  # posts
        car.colour *= (1 + d.uniform(-0.3, 0.3) * (car.wave(d.uniform(0.8, 2.5), False) > 0.5))[..., None]
    inside = car.box(-car.length / 2 + end, car.length / 2 - end, car.width / 2 - wall)
    if d.random() < 0.4:  # the rim of another tone than the sides
        car.colour *= np.float32(d.uniform(0.6, 1.6))
    floor = np.full_like(car.height, d.uniform(1.0, 1.6))
    shape = d.random()
    if shape < 0.25:  # slopes towards outlets
        bays = int(d.integers(1, 5))
        floor += np.abs(np.sin(np.pi * bays * (car.u / car.length + 0.5) + np.pi / 2)) * d.uniform(
            0.3, rim - 1.2
        )
    elif shape < 0.35:  # or towards the sides
        floor += np.clip(d.uniform(0.2, 1.0) - np.abs(car.v), 0, None) * d.uniform(0.5, 1.2)
    floor = np.minimum(floor, rim - 0.1).astype(np.float32)
    own = car.colour * np.float32(d.uniform(0.4, 1.2))
    if d.random() < 0.5:
        own = (
            own
            + (tone(d) - own)
            * np.clip(d.uniform(0, 1) + car.grain(d.uniform(0, 0.4), (1.0, 4.0)), 0, 1)[..., None]
        )
    loaded = d.random() < 0.55 and rng.random() < 0.93
    if loaded:
        level, own = _load(car, float(rim), floor, own)
        floor = np.maximum(floor, level)
    car.height = np.where(inside, floor, car.height).astype(np.float32)
    car.colour = np.where(inside[..., None], own, car.colour).astype(np.float32)
    if d.random() < 0.2:  # bars across
        for at in np.linspace(-0.5, 0.5, int(d.integers(3, 7)))[1:-1] * car.length:
            car.put(car.box(at - 0.12, at + 0.12, 99), float(rim) - 0.05, tone(d))


def _load(car: _Solid, rim: float, floor: F32, bare: F32) -> tuple[F32, F32]:
    """Height and colour of what lies in an open car: heaps lower or higher than its rim, smooth or lumpy."""
    d, rng = car.design, car.rng
    across = np.abs(car.v) / (car.width / 2)
    profile = [
        np.ones_like(across), 1 - across, np.cos(across * np.pi / 2) ** d.uniform(0.4, 1.5),
        np.clip((1 - across) * d.uniform(1.5, 4), 0, 1),
    ][int(d.integers(4))]  # fmt: skip
    along = np.ones_like(car.u)
    kind = d.random()
    if kind < 0.5:  # as it fell through a chute or off a shovel
        heaps = d.uniform(0.5, 6.0)
        wave = 0.5 + 0.5 * np.cos(2 * np.pi * (car.u / car.length * heaps + d.uniform(0, 1)))
        along = 1 - d.uniform(0.2, 1.0) * wave ** d.uniform(0.5, 2)
    elif kind < 0.65:
        along = 1 + d.uniform(-0.8, 0.8) * car.u / car.length
    if d.random() < 0.6:  # it slopes down to the ends
        along = along * np.clip((car.length / 2 - np.abs(car.u)) / d.uniform(0.5, 3.5), 0, 1)
    crown = d.uniform(0.0, 1.1)
    level = 1.1 + (rim - 1.1) * float(np.clip(d.uniform(0.15, 1.05) + rng.normal(0, 0.06), 0.05, 1.1))
    top = level + crown * (profile * along - 0.5)
    lumps = float(d.choice([0.0, 0.0, d.uniform(0.0, 0.08), d.uniform(0.05, 0.25)]))
    if lumps:
        top = top + car.grain(lumps, (d.uniform(0.4, 2.0), d.uniform(1.0, 5.0)))
    colour = tone(d, 0.02, 0.75) * np.ones_like(bare)
    texture = float(d.choice([0.0, 0.0, d.uniform(0.0, 0.15), d.uniform(0.1, 0.4)]))
    if texture:
        colour = colour * (1 + car.grain(texture, (0.3, d.uniform(0.4, 1.5))))[..., None]
    if d.random() < 0.15:  # logs, pipes, rails
        colour = colour * (1 + d.uniform(0.1, 0.5) * np.sin(car.v * d.uniform(8, 25)))[..., None]
    part = np.ones(car.height.shape, bool)
    if rng.random() < 0.2:  # a part of the car only
        low, high = np.sort(rng.uniform(-0.5, 0.5, 2)) * car.length
        part &= (car.u > low) & (car.u < high)
    top = np.where(part, top, 0)
    over = top > floor
    return top.astype(np.float32), np.where(over[..., None], colour, bare).astype(np.float32)


def _roof(car: _Solid, where: NDArray[np.bool_], top: float, half: float) -> None:
    """A closed top on part of a car."""
    d = car.design
    across = np.clip(np.abs(car.v) / half, 0, 1)
    drop = float(d.choice([0.0, d.uniform(0.02, 0.2), d.uniform(0.1, 0.9)]))
    shape = int(d.integers(4))
    if shape == 0:
        fall = across**2
    elif shape == 1:
        fall = across
    elif shape == 2:
        fall = np.clip((across - d.uniform(0.4, 0.85)) * 3, 0, 1)
    else:
        fall = 1 - np.sqrt(np.clip(1 - (across * d.uniform(0.6, 0.97)) ** 2, 0, 1))
    height = np.asarray(top - drop * fall, np.float32) * np.ones_like(car.height)
    if d.random() < 0.6:  # seams, ribs, the bows under a sheet
        height = height + d.choice([0.02, 0.05, 0.1]) * d.random() * car.wave(
            d.uniform(0.3, 3.0), bool(d.random() < 0.5), d.uniform(0, 6)
        )
    car.put(where, height)
    if d.random() < 0.35:
        factor = 1 + d.uniform(-0.2, 0.2) * car.wave(d.uniform(0.4, 4.0), bool(d.random() < 0.6))
        car.colour = np.where(where[..., None], car.colour * factor[..., None], car.colour)


def _covered(car: _Solid) -> None:
    d = car.design
    top = d.uniform(3.1, 5.4)
    end = float(d.choice([0.0, 0.0, d.uniform(0.1, 1.6)]))
    if end:
        car.put(car.box(-99, 99, 99), d.uniform(1.0, 1.6))
    middle = car.length / 2 - end
    _roof(car, car.box(-middle, middle, 99), top, car.width / 2)
    if d.random() < 0.25:  # a catwalk, a trough hatch, or a ridge
        half = d.uniform(0.1, 0.6)
        colour = car.colour * np.float32(d.uniform(0.6, 1.5))
        car.put(car.box(-middle + 0.2, middle - 0.2, half), top + d.uniform(0.02, 0.3), colour)
    if d.random() < 0.45:  # hatches, round or square, in one row or two
        number, size, row = int(d.integers(2, 9)), d.uniform(0.25, 0.7), d.choice([0.0, d.uniform(0.4, 0.9)])
        colour = car.colour * np.float32(d.uniform(0.5, 1.7))
        for at in (np.arange(number) + 0.5) / number * 2 * middle - middle:
            du, dv = np.abs(car.u - at), np.abs(np.abs(car.v) - row)
            lid = np.hypot(du, dv) < size if number % 2 else (du < size) & (dv < size * 0.8)
            car.put(lid, top + d.uniform(0.02, 0.35), colour)
    if d.random() < 0.3:  # eaves of another tone
        car.colour *= np.where(
            np.abs(car.v) > car.width / 2 * d.uniform(0.7, 0.95), d.uniform(0.5, 1.5), 1.0
        )[..., None].astype(np.float32)


def _barrel(car: _Solid, u0: float, u1: float, radius: float, top: float) -> None:
    """A lying cylinder with bulging ends."""
    d = car.design
    middle, half, bulge = (u0 + u1) / 2, (u1 - u0) / 2, d.uniform(0.0, 0.9)
    past = np.clip(np.abs(car.u - middle) - (half - bulge), 0, None) / max(bulge, 0.05)
    r = radius * np.sqrt(np.clip(1 - past**2, 0, 1))
    square = np.clip(r**2 - car.v**2, 0, None)
    height = np.where(square > 0, top - radius + np.sqrt(square), 0)
    car.put(car.box(u0, u1, 99), height)


def _tank(car: _Solid) -> None:
    d = car.design
    top, radius = d.uniform(3.1, 4.7), car.width / 2 * d.uniform(0.8, 1.0)
    end = d.uniform(0.25, 1.7)
    paint = car.colour.copy()
    if d.random() < 0.85:  # the frame
        car.colour[:] = tone(d, 0.02, 0.3)
        car.put(car.box(-99, 99, d.uniform(0.6, 1.6)), d.uniform(0.9, 1.4))
    before = car.height.copy()
    _barrel(car, -car.length / 2 + end, car.length / 2 - end, radius, top)
    body = car.height > before
    car.colour = np.where(body[..., None], paint, car.colour)
    middle = d.uniform(-0.05, 0.05) * car.length
    for k in range(int(d.choice([0, 1, 1, 1, 2, 3]))):
        at = middle + (k - 0.5 * (k > 0)) * (-1) ** k * car.length * 0.2
        dome = np.hypot(car.u - at, car.v) < d.uniform(0.25, 0.8)
        car.put(dome, top + d.uniform(0.05, 0.6), paint * np.float32(d.uniform(0.6, 1.3)))
    if d.random() < 0.3:  # a walkway along it, or a platform across
        along = d.random() < 0.5
        where = car.box(-0.3 * car.length, 0.3 * car.length, 0.35) if along else car.box(-0.9, 0.9, radius)
        car.put(where, top + 0.1, paint * np.float32(d.uniform(0.5, 1.3)))
    if d.random() < 0.3:  # straps
        straps = car.wave(d.uniform(1.2, 4.0), False) > 0.93
        car.colour *= np.where(straps, d.uniform(0.6, 1.2), 1.0)[..., None].astype(np.float32)
    if car.rng.random() < 0.3:  # spilt at the dome
        spot = np.exp(-((car.u - middle) ** 2) / d.uniform(0.2, 1.5)) * np.ones_like(car.v)
        car.colour *= (1 - spot * car.rng.uniform(0.1, 0.6))[..., None].astype(np.float32)


def _flat(car: _Solid) -> None:
    d, rng = car.design, car.rng
    deck = d.uniform(*_DECK_M)
    car.put(car.box(-99, 99, 99), deck)
    car.colour[:] = tone(d, 0.03, 0.45)
    if d.random() < 0.3:  # planks
        car.colour *= (1 + d.uniform(0.05, 0.3) * car.wave(d.uniform(0.3, 2.5), True))[..., None]
    if d.random() < 0.45:  # a frame that one sees through: a spine, cross-members, perhaps beams at the sides
        spine, beams, ends = d.uniform(0.25, 0.9), d.choice([0.0, d.uniform(0.1, 0.3)]), d.uniform(0.4, 2.5)
        bars = car.wave(d.uniform(1.2, 5.0), False, d.uniform(0, 6)) > d.uniform(0.3, 0.95)
        side = np.abs(car.v)
        gap = (side > spine) & (side < car.width / 2 - beams) & (np.abs(car.u) < car.length / 2 - ends)
        car.height[gap & ~bars] = 0.0
        bogie = np.abs(np.abs(car.u) - car.length / 2 + d.uniform(1.5, 3.0)) < d.uniform(0.7, 1.4)
        car.put(bogie & (side < 1.1), 0.75, tone(d, 0.02, 0.12))
    if d.random() < 0.15:  # bulkheads
        for low in (-car.length / 2, car.length / 2 - 0.4):
            car.put(car.box(low, low + 0.4, 99), deck + 2.2, tone(d))
    cargo = d.random()
    if cargo < 0.62:
        _containers(car, deck)
    elif cargo < 0.77:
        for _ in range(int(rng.integers(1, 6))):  # single pieces: coils, machines, bundles, lorries
            middle, half = rng.uniform(-0.45, 0.45) * car.length, rng.uniform(0.5, 3.0)
            height, broad = deck + rng.uniform(0.4, 2.4), rng.uniform(0.4, 1.3)
            if rng.random() < 0.3:
                _barrel(car, middle - half, middle + half, broad, height)
            car.put(car.box(middle - half, middle + half, broad), height, tone(rng))


def _containers(car: _Solid, deck: float) -> None:
    d, rng = car.design, car.rng
    sizes = [s for s in _CONTAINERS_M if s < car.length - 0.2]
    kinds = [float(d.choice(sizes)) for _ in range(int(d.integers(1, 3)))]
    gap, filled = float(d.choice([d.uniform(0.05, 0.3), d.uniform(0.2, 1.2)])), d.uniform(0.45, 1.05)
    same, paint = d.random() < 0.3, tone(d)
    lengths: list[float] = []
    while True:
        size = float(rng.choice(kinds))
        if sum(lengths) + size + gap * len(lengths) > car.length - 0.1:
            break
        lengths.append(size)
    used = sum(lengths) + gap * max(0, len(lengths) - 1)
    slack = car.length - used
    at = -car.length / 2 + slack * float(d.choice([0.5, d.uniform(0.1, 0.9)]))
    for size in lengths:
        if rng.random() < filled:
            colour = (paint if same else tone(rng)) * np.ones_like(car.colour)
            where = car.box(at, at + size, d.uniform(1.15, 1.32))
            top = deck + float(rng.choice([2.44, 2.6, 2.9])) * (2 if d.random() < 0.1 else 1)
            if rng.random() < 0.06:  # a tank in a frame
                _barrel(car, at + 0.2, at + size - 0.2, 1.15, top)
                car.put(where, deck + 0.3, tone(rng, 0.03, 0.3))
            else:
                if rng.random() < 0.4:
                    colour = (
                        colour
                        * (1 + rng.uniform(0.02, 0.2) * car.wave(0.3 * float(rng.choice([1, 2, 4])), True))[
                            ..., None
                        ]
                    )
                car.put(where, top, colour)
        at += size + gap


_SHAPE: dict[str, Callable[[_Solid], None]] = {
    "open": _open,
    "covered": _covered,
    "tank": _tank,
    "flat_or_container": _flat,
}


def car_solid(kind: str, seed: int, rng: np.random.Generator, length: float, width: float) -> tuple[F32, F32]:
    """Height (m, n) in metres and reflectance (m, n, 3) of a car at 0.2 m, its columns along it.

    Args:
        kind: One of the types of `detector.wagons.categories.TYPES`.
        seed: Of the design that a rake has in common.
        rng: Of what is its own.
        length: Over its ends, metres.
        width: Metres.

    Example:
        >>> height, colour = car_solid("tank", 1, np.random.default_rng(2), 12.0, 3.0)
        >>> height.shape, colour.shape
        ((15, 60), (15, 60, 3))
    """
    car = _Solid.blank(seed, rng, length, width)
    _SHAPE[kind](car)
    depth = float(rng.choice([0.0, rng.uniform(0, 0.08), rng.uniform(0.05, 0.25)]))
    if depth:  # dirt: patches, or streaks along or across
        car.colour *= (1 + car.grain(depth, (1.5, 5.0)))[..., None]
    if rng.random() < 0.2:
        spread, shape = rng.uniform(0.02, 0.12), [1, 1, 1]
        axis = int(rng.integers(2))
        shape[axis] = car.height.shape[axis]
        car.colour *= rng.normal(1, spread, shape).astype(np.float32)
    return car.height, np.clip(car.colour, 0.01, 0.95).astype(np.float32)
