"""Random patterns over a vehicle's roof, so that what is learned doesn't hang on a catalogue of designs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from detector.simulators.procedural.materials import encode, rgb
from detector.simulators.procedural.rolling_stock import CONTAINER_PAINTS, pick
from detector.simulators.procedural.sheet import Sheet


def paint_livery(sheet: Sheet, rng: np.random.Generator) -> None:
    """Paint one to three patterns over a vehicle from above; heights stay as they are."""
    for k in rng.choice(len(_PATTERNS), size=int(rng.integers(1, 4)), replace=False):
        _PATTERNS[int(k)](sheet, rng)


def _touch(sheet: Sheet, x: tuple[float, float], y: tuple[float, float], look: _Repaint) -> None:
    """Give a rectangle, in metres, a look."""
    at = sheet.box(*x, *y)
    part = sheet.rgb[at]
    if look.colour is None:
        part *= look.factor
    else:
        part += (look.colour - part) * look.cover


class _Repaint:
    """A factor on the paint that is there, or another paint over it."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.factor = np.float32(np.exp(rng.uniform(np.log(0.4), np.log(1.9))))
        self.colour: np.ndarray | None = None
        self.cover = np.float32(rng.uniform(0.4, 1.0))
        if rng.random() < 0.4:
            self.colour = encode(rgb(pick(rng, CONTAINER_PAINTS))).astype(np.float32)


def _halves(sheet: Sheet, rng: np.random.Generator) -> None:
    """One end of another paint."""
    end = sheet.length_m * float(rng.uniform(0.1, 0.6))
    x = (0.0, end) if rng.random() < 0.5 else (sheet.length_m - end, sheet.length_m)
    _touch(sheet, x, (0.0, sheet.width_m), _Repaint(rng))


def _lengthwise(sheet: Sheet, rng: np.random.Generator) -> None:
    """Stripes along, the same on both sides of the middle."""
    look = _Repaint(rng)
    wide = float(rng.uniform(0.15, 1.1))
    middle = float(rng.choice([0.0, rng.uniform(0.0, 0.5)])) * sheet.width_m
    for sign in (-1.0, 1.0) if middle > 0.0 else (1.0,):
        y = sheet.width_m / 2 + sign * middle
        _touch(sheet, (0.0, sheet.length_m), (y - wide / 2, y + wide / 2), look)


def _crosswise(sheet: Sheet, rng: np.random.Generator) -> None:
    """Bands across at a pitch."""
    look = _Repaint(rng)
    pitch = float(np.exp(rng.uniform(np.log(0.8), np.log(8.0))))
    wide = pitch * float(rng.uniform(0.1, 0.6))
    for x in np.arange(float(rng.uniform(0.0, pitch)), sheet.length_m, pitch):
        _touch(sheet, (float(x), float(x) + wide), (0.0, sheet.width_m), look)


def _blocks(sheet: Sheet, rng: np.random.Generator) -> None:
    """Hatches, patches and lettering: a few rectangles."""
    look = _Repaint(rng)
    for _ in range(int(rng.integers(1, 9))):
        if rng.random() < 0.3:
            look = _Repaint(rng)
        long, wide = float(rng.uniform(0.4, 5.0)), float(rng.uniform(0.3, 2.5))
        x = float(rng.uniform(0.0, sheet.length_m - 0.5))
        y = float(rng.uniform(-0.3, sheet.width_m - 0.3))
        _touch(sheet, (x, x + long), (y, y + wide), look)


def _fading(sheet: Sheet, rng: np.random.Generator) -> None:
    """Lighter towards one end, or towards the middle."""
    a, b = rng.uniform(0.6, 1.4, 2)
    along = np.linspace(0.0, 1.0, sheet.w)
    if rng.random() < 0.5:
        along = np.abs(2.0 * along - 1.0)
    sheet.rgb *= (a + (b - a) * along).astype(np.float32)[None, :, None]


def _recoloured(sheet: Sheet, rng: np.random.Generator) -> None:
    """Any hue at all, over everything."""
    colour = rng.uniform(0.0, 255.0, 3).astype(np.float32)
    sheet.rgb += (colour - sheet.rgb) * np.float32(rng.uniform(0.2, 0.8))


def _rims(sheet: Sheet, rng: np.random.Generator) -> None:
    """The border of another tone all around: a rim, a walkway, eaves."""
    look = _Repaint(rng)
    wide = float(rng.uniform(0.12, 0.5))
    for y in (0.0, sheet.width_m - wide):
        _touch(sheet, (0.0, sheet.length_m), (y, y + wide), look)
    if rng.random() < 0.6:
        end = wide * float(rng.uniform(1.0, 4.0))
        for x in (0.0, sheet.length_m - end):
            _touch(sheet, (x, x + end), (0.0, sheet.width_m), look)


_PATTERNS: tuple[Callable[[Sheet, np.random.Generator], None], ...] = (
    _halves,
    _lengthwise,
    _crosswise,
    _blocks,
    _fading,
    _recoloured,
    _rims,
)
