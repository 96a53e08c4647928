"""The catalogue of rolling stock and road vehicles: sizes, paints and styles, split between train, val and test.

Lengths are taken over coupler faces, as rolling-stock tables give them; the body is shorter by the couplers.
Sizes follow published dimensions of 1520 mm, Chinese, European and North American stock: 12 m two-axle tanks
and 13.9 m gondolas to 28.5 m autoracks.

Each type has `STYLES_PER_TYPE` styles (proportions, paint, roof furniture), made once from a fixed seed and
dealt to the splits, so that no style that a test scene shows was ever trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from detector.simulate.materials import rgb
from detector.simulate.spec import COACH, FREIGHT, LOCOMOTIVE, Colour

STYLES_PER_TYPE = 60


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


_FREIGHT_PAINTS = (
    ("rust", 4.0), ("red_oxide", 4.0), ("brown", 3.0), ("black", 3.0), ("grey_dark", 3.0), ("grey", 2.0),
    ("green", 2.0), ("green_dark", 2.0), ("blue", 2.0), ("blue_dark", 1.5), ("rust_bright", 1.5), ("tan", 0.7),
    ("maroon", 1.0), ("yellow", 0.5), ("orange", 0.5), ("grey_light", 0.8), ("soot", 2.0),
)  # fmt: skip
_ROOF_PAINTS = (
    ("galvanised", 4.0), ("grey", 4.0), ("grey_light", 3.0), ("grey_dark", 3.0), ("white", 2.0), ("brown", 2.5),
    ("rust", 2.5), ("red_oxide", 2.0), ("green", 1.5), ("silver", 2.0), ("soot", 1.5), ("blue", 1.0),
    ("cream", 0.7), ("blue_light", 0.5), ("teal", 0.5), ("tan", 0.5),
)  # fmt: skip
_BULK = (
    ("coal", 5.0), ("ore", 2.0), ("ore_red", 1.5), ("aggregate", 2.0), ("scrap", 2.0), ("sand", 1.5),
    ("gravel", 1.5), ("timber", 1.0), ("soil", 0.8), ("slush", 0.2),
)  # fmt: skip
_TARPS = (
    ("tarp_blue", 2.0), ("tarp_green", 3.0), ("tarp_grey", 3.0), ("tarp_white", 2.0), ("tarp_black", 2.0),
    ("tarp_brown", 2.0),
)  # fmt: skip

CONTAINER_PAINTS = (
    ("maroon", 3.0), ("red_oxide", 2.0), ("blue", 3.0), ("blue_dark", 2.0), ("green", 2.0), ("white", 2.5),
    ("grey_light", 2.5), ("grey", 2.0), ("orange", 1.5), ("yellow", 0.8), ("teal", 1.0), ("brown", 1.5),
    ("red", 1.0), ("rust", 1.0), ("silver", 1.0), ("cream", 0.5),
)  # fmt: skip
CAR_PAINTS = (
    ("white", 5.0), ("silver", 4.0), ("grey", 3.0), ("grey_dark", 4.0), ("black", 4.5), ("red", 1.5),
    ("maroon", 0.8), ("blue_dark", 1.5), ("blue", 0.8), ("tan", 0.7), ("green_dark", 0.6), ("yellow", 0.2),
)  # fmt: skip
TRAILER_PAINTS = (
    ("white", 12.0), ("grey_light", 4.0), ("silver", 3.0), ("cream", 1.0), ("blue", 0.8), ("grey", 1.5),
    ("red", 0.5), ("green", 0.5), ("yellow", 0.4), ("orange", 0.4), ("grey_dark", 0.8),
)  # fmt: skip

STOCK: dict[str, StockType] = {
    t.name: t
    for t in (
        StockType("gondola_empty", FREIGHT, ((11.0, 14.8, 6.0), (15.0, 17.5, 2.0), (18.0, 23.2, 0.7)),
                  (2.85, 3.25), (2.3, 3.8), _FREIGHT_PAINTS, weight=2.0),
        StockType("gondola_loaded", FREIGHT, ((11.0, 14.8, 6.0), (15.0, 17.5, 2.0), (18.0, 23.2, 0.7)),
                  (2.85, 3.25), (2.3, 3.8), _FREIGHT_PAINTS, _BULK, weight=3.0),
        StockType("box", FREIGHT, ((13.8, 17.1, 5.0), (17.2, 19.5, 2.0), (20.0, 27.5, 0.8)),
                  (2.75, 3.3), (3.9, 5.2), _ROOF_PAINTS, weight=2.6),
        StockType("autorack", FREIGHT, ((21.5, 25.0, 1.0), (26.5, 28.6, 4.0)),
                  (2.95, 3.25), (4.6, 5.8), (("white", 4.0), ("grey_light", 4.0), ("galvanised", 3.0),
                                             ("cream", 1.5), ("tan", 1.0), ("silver", 2.0), ("yellow", 0.6)),
                  weight=1.6),
        StockType("flat", FREIGHT, ((12.5, 16.0, 4.0), (18.0, 20.5, 2.0), (21.0, 27.2, 1.0)),
                  (2.7, 3.2), (1.1, 1.4), (("wood_deck", 4.0), ("rust", 3.0), ("brown", 2.0), ("grey_dark", 2.0),
                                          ("soot", 1.5), ("steel", 1.0)),
                  (("none", 4.0), ("timber", 1.0), ("logs", 1.0), ("pipes", 0.8), ("steel", 0.8), ("vehicles", 1.2),
                   ("crates", 1.0)), weight=1.2),
        StockType("container_flat", FREIGHT, ((13.9, 15.1, 3.0), (18.4, 20.5, 3.0), (24.5, 26.5, 1.5)),
                  (2.5, 2.9), (1.1, 1.3), (("rust", 3.0), ("black", 2.0), ("grey_dark", 2.0), ("soot", 2.0)),
                  (("containers", 1.0),), weight=1.8),
        StockType("well", FREIGHT, ((16.0, 19.0, 3.0), (20.0, 23.5, 2.0)),
                  (2.8, 3.1), (1.0, 1.6), (("yellow", 2.0), ("red_oxide", 2.0), ("rust", 2.0), ("grey_dark", 2.0),
                                          ("tan", 1.0)),
                  (("containers", 1.0),), weight=0.9),
        StockType("tank", FREIGHT, ((10.0, 12.6, 5.0), (12.7, 16.0, 2.5), (16.5, 20.5, 2.0), (23.5, 24.5, 0.3)),
                  (2.7, 3.25), (3.8, 4.8), (("black", 5.0), ("grey_dark", 2.0), ("grey", 2.5), ("grey_light", 2.0),
                                          ("white", 2.5), ("soot", 3.0), ("orange", 0.8), ("yellow", 0.6),
                                          ("green", 1.0), ("blue", 1.0), ("rust", 1.5), ("silver", 1.5)), weight=2.2),
        StockType("hopper", FREIGHT, ((10.0, 13.5, 4.0), (14.0, 17.5, 3.0)), (2.85, 3.25), (3.2, 4.4),
                  _FREIGHT_PAINTS, (("none", 2.0), ("coal", 3.0), ("aggregate", 1.5), ("ore", 1.0), ("sand", 0.5)),
                  weight=1.6),
        StockType("covered_hopper", FREIGHT, ((12.0, 15.0, 4.0), (15.5, 18.5, 3.0), (18.6, 20.5, 1.0)),
                  (2.9, 3.3), (4.1, 4.9), (("grey_light", 4.0), ("grey", 4.0), ("white", 2.0), ("tan", 1.0),
                                          ("silver", 1.5), ("green", 1.0), ("yellow", 0.6), ("grey_dark", 1.5),
                                          ("cream", 1.0), ("rust", 1.0), ("blue", 0.6)), weight=1.8),
        StockType("tarp", FREIGHT, ((12.0, 15.0, 4.0), (15.5, 19.5, 2.0)), (2.85, 3.25), (2.6, 4.3),
                  _TARPS, (("tarp", 1.0),), weight=1.3),
        StockType("locomotive", LOCOMOTIVE, ((10.5, 14.0, 1.0), (15.5, 18.5, 3.0), (19.0, 23.5, 2.5)),
                  (2.7, 3.2), (4.0, 4.8), (("green", 2.0), ("green_dark", 2.0), ("red", 2.0), ("blue", 2.0),
                                         ("orange", 1.5), ("yellow", 1.2), ("grey_dark", 1.5), ("black", 1.5),
                                         ("maroon", 1.2), ("grey", 1.0), ("blue_dark", 1.5)), weight=0.0),
        StockType("coach", COACH, ((17.0, 20.5, 1.0), (23.0, 26.9, 5.0)), (2.75, 3.2), (3.6, 4.5),
                  (("grey", 3.0), ("grey_light", 2.5), ("silver", 2.0), ("green_dark", 2.0), ("grey_dark", 3.0),
                   ("white", 1.5), ("blue_dark", 1.0), ("red_oxide", 0.8), ("brown", 1.0)), weight=0.0),
    )
}  # fmt: skip

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


def pick(rng: np.random.Generator, table: tuple[tuple[str, float], ...]) -> str:
    """A name drawn by weight."""
    weights = np.array([w for _, w in table])
    return table[int(rng.choice(len(table), p=weights / weights.sum()))][0]


def split_of_style(index: int) -> str:
    """The split a style belongs to: 60% train, 15% val, 25% test."""
    slot = (index * 7) % 20
    return "train" if slot < 12 else "val" if slot < 15 else "test"


@lru_cache(maxsize=None)
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
        length = float(rng.uniform(low, high))
        overhang = float(rng.uniform(0.75, 1.35))
        tint = np.clip(rng.normal(1.0, 0.10, 3) * rng.uniform(0.75, 1.25), 0.5, 1.5)
        out.append(
            Style(
                index=index,
                type=type_name,
                length_m=length,
                body_m=length - overhang,
                width_m=float(rng.uniform(*stock.width_m)),
                height_m=float(rng.uniform(*stock.height_m)),
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
