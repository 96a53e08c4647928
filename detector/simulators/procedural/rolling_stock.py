"""The catalogue of rolling stock: sizes, paints and designs, dealt to train, val and test.

Lengths are taken over coupler faces, as rolling-stock tables give them; the body is shorter by the couplers.
Sizes follow published dimensions of 1520 mm, Chinese, European and North American stock: 12 m two-axle tanks
and 13.9 m gondolas to 28.5 m autoracks.

Each type has `STYLES_PER_TYPE` styles (proportions, paint, roof furniture), made once from a fixed seed and
dealt to the splits, so that no style that a test scene shows was ever trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np

from detector.simulators.procedural.spec import Colour, rgb
from detector.wagons.categories import COACH, FREIGHT, LOCOMOTIVE

STYLES_PER_TYPE = 60
T = TypeVar("T")


@dataclass(frozen=True)
class StockType:
    """What is common to all styles of a type."""

    name: str
    category: int
    lengths_m: tuple[tuple[float, float, float], ...]  # (low, high, weight), over couplers
    width_m: tuple[float, float]
    height_m: tuple[float, float]
    paints: tuple[tuple[str, float], ...]
    loads: tuple[tuple[str, float], ...] = (("none", 1.0),)
    weight: float = 1.0


def weighted(text: str) -> tuple[tuple[str, float], ...]:
    """A table of names and weights from text: "rust 4 brown 3"."""
    words = text.split()
    return tuple((name, float(weight)) for name, weight in zip(words[::2], words[1::2], strict=True))


_FREIGHT_PAINTS = weighted(
    "rust 4 red_oxide 4 brown 3 black 3 grey_dark 3 grey 2 green 2 green_dark 2 blue 2 blue_dark 1.5 "
    "rust_bright 1.5 tan 0.7 maroon 1 yellow 0.5 orange 0.5 grey_light 0.8 soot 2"
)
_ROOF_PAINTS = weighted(
    "galvanised 4 grey 4 grey_light 3 grey_dark 3 white 2 brown 2.5 rust 2.5 red_oxide 2 green 1.5 "
    "silver 2 soot 1.5 blue 1 cream 0.7 blue_light 0.5 teal 0.5 tan 0.5"
)
_BULK = weighted(
    "coal 5 ore 2 ore_red 1.5 aggregate 2 scrap 2 sand 1.5 gravel 1.5 timber 1 soil 0.8 slush 0.2"
)
_TARPS = weighted("tarp_blue 2 tarp_green 3 tarp_grey 3 tarp_white 2 tarp_black 2 tarp_brown 2")
CONTAINER_PAINTS = weighted(
    "maroon 3 red_oxide 2 blue 3 blue_dark 2 green 2 white 2.5 grey_light 2.5 grey 2 orange 1.5 yellow "
    "0.8 teal 1 brown 1.5 red 1 rust 1 silver 1 cream 0.5"
)
CAR_PAINTS = weighted(
    "white 5 silver 4 grey 3 grey_dark 4 black 4.5 red 1.5 maroon 0.8 blue_dark 1.5 blue 0.8 tan 0.7 "
    "green_dark 0.6 yellow 0.2"
)
TRAILER_PAINTS = weighted(
    "white 12 grey_light 4 silver 3 cream 1 blue 0.8 grey 1.5 red 0.5 green 0.5 yellow 0.4 orange 0.4 "
    "grey_dark 0.8"
)

_TYPES = (
    StockType("gondola_empty", FREIGHT, lengths_m=((11.0, 14.8, 6.0), (15.0, 17.5, 2.0), (18.0, 23.2, 0.7)),
        width_m=(2.85, 3.25), height_m=(2.3, 3.8), paints=_FREIGHT_PAINTS, weight=2.0),
    StockType("gondola_loaded", FREIGHT, lengths_m=((11.0, 14.8, 6.0), (15.0, 17.5, 2.0), (18.0, 23.2, 0.7)),
        width_m=(2.85, 3.25), height_m=(2.3, 3.8), paints=_FREIGHT_PAINTS, loads=_BULK, weight=3.0),
    StockType("box", FREIGHT, lengths_m=((13.8, 17.1, 5.0), (17.2, 19.5, 2.0), (20.0, 27.5, 0.8)),
        width_m=(2.75, 3.3), height_m=(3.9, 5.2), paints=_ROOF_PAINTS, weight=2.6),
    StockType("autorack", FREIGHT, lengths_m=((21.5, 25.0, 1.0), (26.5, 28.6, 4.0)), width_m=(2.95, 3.25),
        height_m=(4.6, 5.8),
        paints=weighted("white 4 grey_light 4 galvanised 3 cream 1.5 tan 1 silver 2 yellow 0.6"), weight=1.6),
    StockType("flat", FREIGHT, lengths_m=((12.5, 16.0, 4.0), (18.0, 20.5, 2.0), (21.0, 27.2, 1.0)),
        width_m=(2.7, 3.2), height_m=(1.1, 1.4),
        paints=weighted("wood_deck 4 rust 3 brown 2 grey_dark 2 soot 1.5 steel 1"),
        loads=weighted("none 4 timber 1 logs 1 pipes 0.8 steel 0.8 vehicles 1.2 crates 1"), weight=1.2),
    StockType("container_flat", FREIGHT, lengths_m=((13.9, 15.1, 3.0), (18.4, 20.5, 3.0), (24.5, 26.5, 1.5)),
        width_m=(2.5, 2.9), height_m=(1.1, 1.3), paints=weighted("rust 3 black 2 grey_dark 2 soot 2"),
        loads=weighted("containers 1"), weight=1.8),
    StockType("well", FREIGHT, lengths_m=((16.0, 19.0, 3.0), (20.0, 23.5, 2.0)), width_m=(2.8, 3.1),
        height_m=(1.0, 1.6), paints=weighted("yellow 2 red_oxide 2 rust 2 grey_dark 2 tan 1"),
        loads=weighted("containers 1"), weight=0.9),
    StockType("tank", FREIGHT,
        lengths_m=((10.0, 12.6, 5.0), (12.7, 16.0, 2.5), (16.5, 20.5, 2.0), (23.5, 24.5, 0.3)),
        width_m=(2.7, 3.25), height_m=(3.8, 4.8),
        paints=weighted("black 5 grey_dark 2 grey 2.5 grey_light 2 white 2.5 soot 3 orange 0.8 yellow 0.6 "
            "green 1 blue 1 rust 1.5 silver 1.5"),
        weight=2.2),
    StockType("hopper", FREIGHT, lengths_m=((10.0, 13.5, 4.0), (14.0, 17.5, 3.0)), width_m=(2.85, 3.25),
        height_m=(3.2, 4.4), paints=_FREIGHT_PAINTS,
        loads=weighted("none 2 coal 3 aggregate 1.5 ore 1 sand 0.5"), weight=1.6),
    StockType("covered_hopper", FREIGHT, lengths_m=((12.0, 15.0, 4.0), (15.5, 18.5, 3.0), (18.6, 20.5, 1.0)),
        width_m=(2.9, 3.3), height_m=(4.1, 4.9),
        paints=weighted("grey_light 4 grey 4 white 2 tan 1 silver 1.5 green 1 yellow 0.6 grey_dark 1.5 "
            "cream 1 rust 1 blue 0.6"),
        weight=1.8),
    StockType("tarp", FREIGHT, lengths_m=((12.0, 15.0, 4.0), (15.5, 19.5, 2.0)), width_m=(2.85, 3.25),
        height_m=(2.6, 4.3), paints=_TARPS, loads=weighted("tarp 1"), weight=1.3),
    StockType("locomotive", LOCOMOTIVE, lengths_m=((10.5, 14.0, 1.0), (15.5, 18.5, 3.0), (19.0, 23.5, 2.5)),
        width_m=(2.7, 3.2), height_m=(4.0, 4.8),
        paints=weighted("green 2 green_dark 2 red 2 blue 2 orange 1.5 yellow 1.2 grey_dark 1.5 black 1.5 "
            "maroon 1.2 grey 1 blue_dark 1.5"),
        weight=0.0),
    StockType("coach", COACH, lengths_m=((17.0, 20.5, 1.0), (23.0, 26.9, 5.0)), width_m=(2.75, 3.2),
        height_m=(3.6, 4.5),
        paints=weighted("grey 3 grey_light 2.5 silver 2 green_dark 2 grey_dark 3 white 1.5 blue_dark 1 "
            "red_oxide 0.8 brown 1"),
        weight=0.0),
    StockType("multiple_unit", COACH, lengths_m=((12.5, 16.5, 1.0), (17.0, 20.5, 3.0), (21.5, 26.5, 3.0)),
        width_m=(2.5, 3.25), height_m=(3.4, 4.6),
        paints=weighted("silver 3 grey 3 grey_light 3 white 3 grey_dark 2 cream 1 blue 1 blue_dark 1 "
            "blue_light 1 red 1 maroon 0.7 green 0.8 green_dark 0.7 teal 0.5 orange 0.5 yellow 0.5 black "
            "0.7 tan 0.5"),
        weight=0.0),
)  # fmt: skip
STOCK: dict[str, StockType] = {t.name: t for t in _TYPES}

FREIGHT_TYPES = tuple(t.name for t in STOCK.values() if t.category == FREIGHT)


@dataclass(frozen=True)
class Style:
    """One design of a type. `detail` feeds the roof painter: equal styles look alike, whatever their dirt."""

    index: int
    type: str
    length_m: float  # over coupler faces
    body_m: float
    width_m: float
    height_m: float
    material: str
    tint: Colour
    detail: int


def pick(rng: np.random.Generator, table: Sequence[tuple[T, float]]) -> T:
    """One of some things, drawn by weight."""
    weights = np.array([w for _, w in table])
    return table[int(rng.choice(len(table), p=weights / weights.sum()))][0]


def one_of(rng: np.random.Generator, names: str) -> str:
    """One of some names, which stand in one text."""
    return str(rng.choice(names.split()))


def split_of_style(index: int) -> str:
    """The split a style belongs to: 60% train, 15% val, 25% test."""
    slot = (index * 7) % 20
    return "train" if slot < 12 else "val" if slot < 15 else "test"


@cache
def styles(type_name: str, split: str) -> tuple[Style, ...]:
    """The styles of a type that scenes of a split may show."""
    stock = STOCK[type_name]
    out = []
    for index in range(STYLES_PER_TYPE):
        if split_of_style(index) != split:
            continue
        rng = np.random.default_rng([71, index, *type_name.encode()])
        weights = np.array([w for _, _, w in stock.lengths_m])
        low, high, _ = stock.lengths_m[int(rng.choice(len(weights), p=weights / weights.sum()))]
        length = rng.uniform(low, high)
        overhang = rng.uniform(0.75, 1.35)
        if type_name == "multiple_unit":  # gangways instead of couplers and buffers
            overhang *= 0.45
        tint = np.clip(rng.normal(1.0, 0.07, 3) * rng.uniform(0.75, 1.25), 0.5, 1.5)
        out.append(
            Style(
                index=index,
                type=type_name,
                length_m=length,
                body_m=length - overhang,
                width_m=rng.uniform(*stock.width_m),
                height_m=rng.uniform(*stock.height_m),
                material=pick(rng, stock.paints),
                tint=(float(tint[0]), float(tint[1]), float(tint[2])),
                detail=int(rng.integers(1 << 30)),
            )
        )
    return tuple(out)


def tinted(material: str, tint: Colour, rng: np.random.Generator, spread: float = 0.08) -> Colour:
    """A material's colour under a tint, with a little individual variation (paint age, dust)."""
    base = (
        np.asarray(rgb(material))
        * np.asarray(tint)
        * rng.normal(1.0, spread)
        * rng.normal(1.0, spread / 3, 3)
    )
    r, g, b = np.clip(base, 0.01, 0.9)
    return (float(r), float(g), float(b))
