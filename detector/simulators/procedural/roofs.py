"""Roof pictures with heights: each vehicle, building or tree drawn from above, long axis along +x.

A patch holds drawing values (see `spec.encode`), the height of each pixel above the ground and an
opacity. Heights matter as much as colours: the renderer casts shadows and leans things over by them, so an
empty gondola gets its dark inside and a tank its round shoulder from geometry.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.simulators.procedural.rolling_stock import CAR_PAINTS, CONTAINER_PAINTS, one_of, pick
from detector.simulators.procedural.sheet import U8, Patch, Sheet, bumps, noise, paint_livery
from detector.simulators.procedural.spec import Colour, Prop, Sun, Wagon, encode, rgb

PX_PER_M = 10.0  # vehicles
COARSE_PX_PER_M = 5.0  # buildings and other large things


def _scaled(colour: Colour, factor: float) -> Colour:
    return (colour[0] * factor, colour[1] * factor, colour[2] * factor)


def _roof_profile(sun: Sun, angle_deg: float, slope_deg: float, n: int = 33) -> NDArray[np.float64]:
    """Drawing-value factors over the width of a round roof whose edge slopes by `slope_deg`.

    Lambert shading relative to a level surface, with 30% skylight; the square root turns reflectance into
    drawing values.
    """
    # +y of the patch points to the right of the long axis, i.e. heading + 90 deg clockwise in the image.
    across_azimuth = angle_deg + 90.0 + 90.0  # image angle (from east, clockwise) to azimuth from north
    side = math.cos(math.radians(sun.azimuth_deg - across_azimuth))
    tilt = np.radians(np.linspace(-slope_deg, slope_deg, n))
    e = math.radians(max(sun.elevation_deg, 12.0))
    direct = np.clip(np.cos(tilt) * math.sin(e) + np.sin(tilt) * math.cos(e) * side, 0.0, None) / math.sin(e)
    return np.asarray(np.sqrt(np.clip(0.3 + 0.7 * direct, 0.1, 2.2)))


# ---------------------------------------------------------------------------------------------- rail vehicles


def _gondola(s: Sheet, w: Wagon, rng: np.random.Generator, style: np.random.Generator, sun: Sun) -> None:
    wall = style.uniform(0.12, 0.3)
    ribs = style.uniform(1.2, 2.0)
    end = style.uniform(0.12, 0.5)
    length, width = w.length_m, w.width_m
    rim = w.height_m
    if w.type == "gondola_empty" or w.load == "none":
        floor = _scaled(w.colour, rng.uniform(0.35, 0.9))
        residue = rgb(one_of(rng, "coal rust soil aggregate ore"))
        mix = rng.uniform(0.0, 0.6)
        floor = tuple(a * (1 - mix) + b * mix for a, b in zip(floor, residue, strict=True))  # type: ignore[assignment]
        s.fill(end, length - end, wall, width - wall, floor, 1.25)
        if style.random() < 0.35:
            for x in np.arange(length / 4, length - 1, length / 4):
                s.fill(x, x + 0.15, wall, width - wall, _scaled(w.colour, 0.9), rim - 0.3)
    else:
        fill = rng.uniform(0.55, 1.08)
        at = s.box(end, length - end, wall, width - wall)
        h, n = s.height[at].shape
        tex = bumps("cloudy" if w.load != "scrap" else "fine", w.seed, h, n)
        heaps = int(rng.integers(1, 5))
        x = np.linspace(0, heaps * math.pi, n)
        along = np.abs(np.sin(x)) ** 0.5 if heaps > 1 else np.ones(n)
        across = np.cos(np.linspace(-1.1, 1.1, h))
        mound = np.outer(across, along).astype(np.float32)
        s.height[at] = 1.3 + (rim - 1.3) * fill * (0.65 + 0.45 * mound) + 0.25 * tex
        spread = 0.55 if w.load in {"scrap", "timber", "logs"} else 0.28
        s.rgb[at] = (
            encode(w.load_colour).astype(np.float32) * (1.0 + spread * tex + 0.18 * (mound - 0.6))[..., None]
        )
        if w.load in {"timber", "logs"}:
            lines = noise("grain", w.seed >> 3, h, 1).astype(np.float32) / 128.0
            s.rgb[at] *= (0.65 + 0.35 * lines)[..., None]
            for x0 in np.arange(length / 3, length - 1, length / 3):
                s.shade(x0, x0 + rng.uniform(0.1, 0.5), wall, width - wall, 0.55)
    # Outer posts show as a rhythm on the rim.
    x = style.uniform(0.3, 1.0)
    while x < length:
        s.shade(x, x + 0.15, 0.0, wall, 1.25)
        s.shade(x, x + 0.15, width - wall, width, 1.25)
        x += ribs


def _box(s: Sheet, w: Wagon, rng: np.random.Generator, style: np.random.Generator, sun: Sun) -> None:
    slope = style.uniform(6.0, 32.0)
    s.across(_roof_profile(sun, w.angle_deg, slope))
    y = np.linspace(-1, 1, s.h)
    s.height -= (0.45 * np.tan(math.radians(slope)) * y**2).astype(np.float32)[:, None]
    pitch = style.uniform(0.9, 2.4)
    if style.random() < 0.75:
        s.ribs(pitch, style.uniform(-0.22, 0.2), style.uniform(0.08, 0.25), pitch / 2)
    if style.random() < 0.45:  # running board or ridge cap
        half = style.uniform(0.1, 0.4)
        s.shade(0, w.length_m, w.width_m / 2 - half, w.width_m / 2 + half, style.uniform(0.7, 1.3))
    if style.random() < 0.4:  # ends of another colour
        d = style.uniform(0.25, 0.8)
        f = style.uniform(0.5, 1.4)
        s.shade_ends(d, f)
    if style.random() < 0.35:  # roof hatches of grain box cars
        n = int(style.integers(2, 6))
        for x in np.linspace(1.5, w.length_m - 1.5, n):
            tone, mid = _scaled(w.colour, style.uniform(0.4, 1.6)), w.width_m / 2
            s.fill(x - 0.4, x + 0.4, mid - 0.4, mid + 0.4, tone)
    if style.random() < 0.4:  # eaves
        e = style.uniform(0.1, 0.3)
        s.shade_sides(e, 0.75)


def _autorack(s: Sheet, w: Wagon, rng: np.random.Generator, style: np.random.Generator, sun: Sun) -> None:
    s.across(_roof_profile(sun, w.angle_deg, style.uniform(4.0, 18.0)))
    s.ribs(style.uniform(0.5, 1.6), style.uniform(-0.12, 0.1), 0.2)
    kind = style.random()
    if kind < 0.5:  # roof sheet brighter than the side rails or the other way round
        e = style.uniform(0.25, 0.7)
        f = float(style.uniform(0.45, 0.85) if style.random() < 0.75 else style.uniform(1.1, 1.35))
        s.shade_sides(e, f)
    elif kind < 0.75:
        half = style.uniform(0.2, 0.6)
        s.shade(0, w.length_m, w.width_m / 2 - half, w.width_m / 2 + half, style.uniform(0.6, 1.3))
    if style.random() < 0.5:
        d = style.uniform(0.3, 1.5)
        f = style.uniform(0.5, 1.2)
        s.shade_ends(d, f)
    if style.random() < 0.4:  # panels replaced over the years
        for x in np.arange(0, w.length_m, w.length_m / int(style.integers(3, 9))):
            s.shade(x, x + w.length_m / 9, 0, w.width_m, rng.uniform(0.85, 1.12))


def _container(
    s: Sheet, x0: float, x1: float, y0: float, y1: float, base_m: float, rng: np.random.Generator, tall: bool
) -> None:
    paint = rgb(pick(rng, CONTAINER_PAINTS))
    colour = _scaled(paint, rng.uniform(0.7, 1.2))
    s.fill(x0, x1, y0, y1, colour, base_m + (2.9 if tall else 2.6))
    pitch = float(rng.choice([0.28, 0.55, 1.1]))
    x = x0
    while x < x1 and rng.random() < 0.97:
        s.shade(x, x + 0.12, y0, y1, 0.9)
        x += pitch
    s.shade(x0, x0 + 0.12, y0, y1, 0.75)
    s.shade(x1 - 0.12, x1, y0, y1, 0.75)


def _container_row(s: Sheet, rng: np.random.Generator, width_m: float, base_m: float, empty: float) -> None:
    """Fill a deck with 20, 40 and 45 ft containers, some places left empty."""
    wide = 2.44
    y0 = (width_m - wide) / 2
    x = rng.uniform(0.1, 0.5)
    stacked = rng.random() < 0.35
    while True:
        size = float(rng.choice([6.1, 12.2, 13.7], p=[0.45, 0.45, 0.1]))
        if x + size > s.length_m - 0.05:
            size = 6.1
            if x + size > s.length_m + 0.15:
                return
        if rng.random() > empty:
            height = base_m + (2.6 if stacked else 0.0)
            _container(s, x, x + size, y0, y0 + wide, height, rng, bool(rng.random() < 0.5))
        x += size + rng.uniform(0.15, 0.5)


def _flat(s: Sheet, w: Wagon, rng: np.random.Generator, style: np.random.Generator, sun: Sun) -> None:
    planks = noise("fine", w.style, 1, s.w).astype(np.float32) / 128.0
    s.rgb *= (0.8 + 0.2 * planks)[..., None]
    side = style.uniform(0.08, 0.25)
    s.shade(0, w.length_m, 0, side, style.uniform(0.6, 1.3))
    s.shade(0, w.length_m, w.width_m - side, w.width_m, style.uniform(0.6, 1.3))
    bulkhead = style.random() < 0.25
    if bulkhead:
        s.fill_ends(0.35, w.colour, 3.6)
    deck = 1.25
    length, width = w.length_m, w.width_m
    if w.load in {"timber", "logs"}:
        n = int(rng.integers(2, 6))
        for x in np.linspace(0.6, length - 0.6, n + 1)[:-1]:
            d = (length - 1.2) / n - rng.uniform(0.2, 0.7)
            at = s.box(x, x + d, 0.2, width - 0.2)
            h, m = s.height[at].shape
            lines = noise("grain", w.seed + int(x * 31), h, 1).astype(np.float32) / 128.0
            s.rgb[at] = encode(w.load_colour).astype(np.float32) * (0.55 + 0.45 * lines)[..., None]
            s.height[at] = deck + rng.uniform(1.0, 2.4)
    elif w.load == "pipes":
        n = int(rng.integers(3, 8))
        step = (width - 0.4) / n
        tone = rgb(one_of(rng, "soot grey steel rust white"))
        for i in range(n):
            y = 0.2 + i * step
            s.fill(0.5, length - 0.5, y, y + step, tone, deck + 1.0)
            s.shade(0.5, length - 0.5, y + step * 0.6, y + step, 0.6)
    elif w.load == "steel":
        x = 1.0
        while x < length - 2.0:
            d = rng.uniform(1.0, 4.0)
            tone = _scaled(w.load_colour, rng.uniform(0.6, 1.5))
            s.fill(x, min(x + d, length - 0.5), 0.5, width - 0.5, tone, deck + rng.uniform(0.3, 1.6))
            x += d + rng.uniform(0.3, 2.5)
    elif w.load == "vehicles":
        x = 0.4
        heavy = rng.random() < 0.5
        while True:
            d = rng.uniform(5.5, 8.5) if heavy else rng.uniform(3.9, 4.9)
            if x + d > length - 0.2:
                break
            colour = (
                rgb(one_of(rng, "green_dark green tan grey_dark")) if heavy else rgb(pick(rng, CAR_PAINTS))
            )
            half = 1.25 if heavy else 0.9
            _vehicle_body(
                s, x, x + d, width / 2 - half, width / 2 + half, colour, deck, 2.3 if heavy else 1.5
            )
            x += d + rng.uniform(0.3, 1.0)
    elif w.load == "crates":
        x = 0.5
        while x < length - 1.5:
            d = rng.uniform(1.2, 5.0)
            tone = rgb(one_of(rng, "timber tarp_green tarp_grey tarp_blue grey_light rust tarp_brown"))
            m = rng.uniform(0.15, 0.6)
            s.fill(
                x,
                min(x + d, length - 0.3),
                m,
                width - m,
                _scaled(tone, rng.uniform(0.7, 1.2)),
                deck + rng.uniform(0.6, 2.4),
            )
            x += d + rng.uniform(0.2, 1.6)


def _container_flat(
    s: Sheet, w: Wagon, rng: np.random.Generator, style: np.random.Generator, sun: Sun
) -> None:
    s.shade(0, w.length_m, w.width_m * 0.35, w.width_m * 0.65, 0.7)  # the open frame's spine and gaps
    s.ribs(style.uniform(1.5, 3.0), 0.3, 0.25)
    empty = float(rng.choice([0.0, 0.15, 0.6], p=[0.65, 0.25, 0.1]))
    _container_row(s, rng, w.width_m, 1.25, empty)


def _well(s: Sheet, w: Wagon, rng: np.random.Generator, style: np.random.Generator, sun: Sun) -> None:
    end = style.uniform(1.4, 2.4)
    s.fill(end, w.length_m - end, 0.3, w.width_m - 0.3, (0.04, 0.04, 0.04), 0.5)
    s.shade(end, end + 0.2, 0, w.width_m, 1.3)
    room = w.length_m - 2 * end
    if rng.random() < 0.9:
        size = min(12.2 if room < 15.5 else 16.1, room)
        x = (w.length_m - size) / 2
        for level in range(2 if rng.random() < 0.6 else 1):
            _container(s, x, x + size, 0.3, w.width_m - 0.3, 0.5 + 2.7 * level, rng, True)


def _tank(s: Sheet, w: Wagon, rng: np.random.Generator, style: np.random.Generator, sun: Sun) -> None:
    # Frame and walkways show beyond the barrel.
    frame = _scaled(rgb("soot"), style.uniform(0.8, 2.0))
    body = s.rgb[0, 0].copy()
    s.rgb[:] = encode(frame)
    s.height[:] = 1.1
    end = style.uniform(0.1, 0.9)
    side = style.uniform(0.0, 0.25)
    at = s.box(end, w.length_m - end, side, w.width_m - side)
    h, n = s.height[at].shape
    y = np.linspace(-1.0, 1.0, h)
    x_m = np.linspace(0.0, n / s.scale, n)
    dome = np.clip(np.minimum(x_m, x_m[::-1]) / 0.6, 0.0, 1.0)
    reach = np.sqrt(np.clip(1.0 - (1.0 - dome) ** 2, 0.0, 1.0)) * 0.55 + 0.45
    profile = np.interp(y, np.linspace(-1, 1, 65), _roof_profile(sun, w.angle_deg, 72.0, 65))
    inside = np.abs(y)[:, None] <= reach[None, :]
    barrel = body * profile[:, None, None] * np.ones((1, n, 1))
    s.rgb[at] = np.where(inside[..., None], barrel, s.rgb[at])
    radius = (w.width_m - 2 * side) / 2
    z = w.height_m - radius + radius * np.sqrt(np.clip(1.0 - (y * 0.97) ** 2, 0.0, 1.0))
    s.height[at] = np.where(inside, z[:, None], s.height[at])
    mid = w.length_m / 2 + style.uniform(-0.5, 0.5)
    if style.random() < 0.85:  # dome, hatch, platform
        r = style.uniform(0.3, 0.75)
        tone = _scaled(w.colour, style.uniform(0.35, 1.9))
        s.fill(mid - r, mid + r, w.width_m / 2 - r, w.width_m / 2 + r, tone, w.height_m + 0.35)
    if style.random() < 0.5:
        half = style.uniform(0.2, 0.35)
        s.shade(
            end + 0.5,
            w.length_m - end - 0.5,
            w.width_m / 2 - half,
            w.width_m / 2 + half,
            style.uniform(0.6, 1.5),
        )
    if style.random() < 0.4:  # straps or a contrasting band
        for x in (w.length_m * 0.3, w.length_m * 0.7):
            s.shade(x, x + style.uniform(0.1, 0.3), side, w.width_m - side, 0.7)
    if style.random() < 0.25:
        s.shade(mid - 1.2, mid + 1.2, side, w.width_m - side, style.uniform(0.4, 0.8))  # spill stain


def _hopper(s: Sheet, w: Wagon, rng: np.random.Generator, style: np.random.Generator, sun: Sun) -> None:
    wall = style.uniform(0.12, 0.25)
    end = style.uniform(0.1, 1.2)
    bays = int(style.integers(2, 5))
    length, width = w.length_m, w.width_m
    at = s.box(end, length - end, wall, width - wall)
    h, n = s.height[at].shape
    x = np.linspace(0.0, bays, n) % 1.0
    if w.load == "none":
        depth = 1.0 - np.abs(2.0 * x - 1.0)
        y = 1.0 - np.abs(np.linspace(-1, 1, h)) ** 2
        pit = np.outer(y, depth)
        s.height[at] = w.height_m - 0.4 - (w.height_m - 1.4) * pit
        s.rgb[at] = encode(_scaled(w.colour, rng.uniform(0.5, 1.0))) * (1.0 - 0.25 * pit[..., None])
        for i in range(1, bays):
            xb = end + (length - 2 * end) * i / bays
            s.fill(xb - 0.1, xb + 0.1, wall, width - wall, w.colour, w.height_m - 0.1)
    else:
        tex = bumps("cloudy", w.seed, h, n)
        mound = np.outer(np.cos(np.linspace(-1.2, 1.2, h)), 0.6 + 0.4 * np.abs(np.sin(np.pi * x)))
        s.height[at] = w.height_m - 0.5 + 0.7 * mound + 0.2 * tex
        s.rgb[at] = encode(w.load_colour) * (1.0 + 0.3 * tex + 0.2 * (mound - 0.6))[..., None]
    if end > 0.5:  # slope sheets at the ends
        s.shade_ends(end, 0.7)
        s.height[s.box(0, end, 0, width)] = 2.0
        s.height[s.box(length - end, length, 0, width)] = 2.0


def _covered_hopper(
    s: Sheet, w: Wagon, rng: np.random.Generator, style: np.random.Generator, sun: Sun
) -> None:
    s.across(_roof_profile(sun, w.angle_deg, style.uniform(18.0, 45.0)))
    y = np.linspace(-1, 1, s.h)
    s.height -= (0.5 * y**2).astype(np.float32)[:, None]
    mid = w.width_m / 2
    tone = _scaled(w.colour, style.uniform(0.45, 1.5))
    if style.random() < 0.5:  # trough hatch
        half = style.uniform(0.25, 0.45)
        s.fill(0.8, w.length_m - 0.8, mid - half, mid + half, tone, w.height_m + 0.2)
        s.ribs(style.uniform(1.0, 3.0), -0.2, 0.12)
    else:  # round hatches in one or two rows
        n = int(style.integers(4, 11))
        rows = (mid,) if style.random() < 0.6 else (mid - 0.65, mid + 0.65)
        for x in np.linspace(1.2, w.length_m - 1.2, n):
            for r in rows:
                s.fill(x - 0.38, x + 0.38, r - 0.38, r + 0.38, tone, w.height_m + 0.15)
    off = style.uniform(0.65, 0.95)
    if style.random() < 0.7:  # roof walks
        walk = style.uniform(0.5, 0.85)
        s.shade(0.3, w.length_m - 0.3, mid - off - 0.15, mid - off + 0.15, walk)
        s.shade(0.3, w.length_m - 0.3, mid + off - 0.15, mid + off + 0.15, walk)
    end = style.uniform(0.0, 1.3)
    if end > 0.3:  # the slope sheets: darker, lower
        f = style.uniform(0.35, 0.8)
        for a, b in ((0.0, end), (w.length_m - end, w.length_m)):
            s.shade(a, b, 0, w.width_m, f)
            s.height[s.box(a, b, 0, w.width_m)] = 2.2


def _tarp(s: Sheet, w: Wagon, rng: np.random.Generator, style: np.random.Generator, sun: Sun) -> None:
    s.across(_roof_profile(sun, w.angle_deg, style.uniform(8.0, 40.0)))
    folds = bumps("cloudy", w.seed, s.h, s.w)
    s.rgb *= (1.0 + 0.25 * folds)[..., None]
    y = np.linspace(-1, 1, s.h)
    s.height += (0.25 * folds - 0.5 * (y**2)[:, None]).astype(np.float32)
    if style.random() < 0.6:  # bows or ropes
        s.ribs(style.uniform(0.9, 2.5), style.uniform(-0.2, 0.2), 0.12)
    if style.random() < 0.4:  # tied ends, the frame beyond
        d = style.uniform(0.2, 0.8)
        for a, b in ((0.0, d), (w.length_m - d, w.length_m)):
            s.fill(a, b, 0, w.width_m, rgb("rust"), 1.3)
    if style.random() < 0.3:
        e = style.uniform(0.1, 0.3)
        s.fill_sides(e, rgb("rust"), 2.0)


def _locomotive(s: Sheet, w: Wagon, rng: np.random.Generator, style: np.random.Generator, sun: Sun) -> None:
    length, width = w.length_m, w.width_m
    if style.random() < 0.5:  # hood unit: narrow long hood, walkways, a cab
        walk = style.uniform(0.35, 0.6)
        deck = _scaled(rgb("grey_dark"), style.uniform(0.6, 1.6))
        s.fill_sides(walk, deck, 1.5)
        s.fill(0, style.uniform(0.6, 1.4), 0, width, deck, 1.5)
        s.fill(length - style.uniform(0.6, 1.4), length, 0, width, deck, 1.5)
        c0 = style.uniform(1.5, length * 0.4)
        cab = style.uniform(2.0, 3.2)
        s.fill(c0, c0 + cab, 0.05, width - 0.05, _scaled(w.colour, style.uniform(0.7, 1.5)), w.height_m)
        fans = np.linspace(c0 + cab + 1.0, length - 2.0, int(style.integers(2, 6)))
    else:  # full-width body, perhaps electric
        s.across(_roof_profile(sun, w.angle_deg, style.uniform(15, 35)))
        nose = style.uniform(0.4, 1.8)
        s.shade_ends(nose, 0.75)
        roof = _scaled(rgb("grey"), style.uniform(0.4, 1.4))
        if style.random() < 0.6:
            s.fill(nose + 0.8, length - nose - 0.8, 0.35, width - 0.35, roof)
        fans = np.linspace(nose + 2.0, length - nose - 2.0, int(style.integers(2, 6)))
        if style.random() < 0.4:
            for x in (nose + 2.2, length - nose - 3.4):  # pantographs
                for d in (0.0, 0.6, 1.2):
                    s.fill(x + d, x + d + 0.1, 0.4, width - 0.4, rgb("soot"), w.height_m + 0.7)
    for x in fans:
        r = style.uniform(0.3, 0.7)
        s.fill(x - r, x + r, width / 2 - r, width / 2 + r, rgb("soot"), w.height_m)
    s.fill(length / 2 - 0.3, length / 2 + 0.3, width / 2 - 0.25, width / 2 + 0.25, rgb("black"))


def _coach(s: Sheet, w: Wagon, rng: np.random.Generator, style: np.random.Generator, sun: Sun) -> None:
    s.across(_roof_profile(sun, w.angle_deg, style.uniform(20, 50)))
    y = np.linspace(-1, 1, s.h)
    s.height -= (0.6 * y**2).astype(np.float32)[:, None]
    mid = w.width_m / 2
    tone = _scaled(w.colour, style.uniform(0.5, 1.7))
    kind = style.random()
    if kind < 0.45:  # air conditioning boxes
        for x in np.linspace(3.0, w.length_m - 3.0, int(style.integers(1, 4))):
            d = style.uniform(1.0, 2.6)
            s.fill(x - d, x + d, mid - 0.75, mid + 0.75, tone, w.height_m + 0.2)
    elif kind < 0.8:  # small vents
        for x in np.linspace(1.5, w.length_m - 1.5, int(style.integers(6, 14))):
            s.fill(x - 0.15, x + 0.15, mid - 0.2, mid + 0.2, tone, w.height_m + 0.2)
    e = style.uniform(0.2, 0.5)
    s.shade(0, w.length_m, 0, e, style.uniform(0.6, 1.1))
    s.shade(0, w.length_m, w.width_m - e, w.width_m, style.uniform(0.6, 1.1))
    s.shade_ends(0.5, 0.7)


def _multiple_unit(
    s: Sheet, w: Wagon, rng: np.random.Generator, style: np.random.Generator, sun: Sun
) -> None:
    """A metro, suburban or regional car: a smooth roof with its gear, doors and stripes at its eaves."""
    length, width, mid = w.length_m, w.width_m, w.width_m / 2
    s.across(_roof_profile(sun, w.angle_deg, style.uniform(5, 45)))
    s.height -= (style.uniform(0.2, 0.9) * np.linspace(-1, 1, s.h) ** 2).astype(np.float32)[:, None]
    roof = rgb(pick(style, CONTAINER_PAINTS)) if style.random() < 0.5 else rgb("grey")
    roof = _scaled(roof, style.uniform(0.5, 1.6))
    edge = style.uniform(0.15, 0.45)
    if style.random() < 0.6:  # the roof of another colour than the sides, whose upper rim shows
        s.fill(0, length, edge, width - edge, roof)
    if style.random() < 0.4:  # corrugated, or gutters: lines along
        for y in np.arange(edge, width - edge, style.uniform(0.25, 0.6)):
            s.shade(0, length, float(y), float(y) + 0.1, style.uniform(0.75, 1.2))
    gear = style.random()
    tone = _scaled(roof, style.uniform(0.4, 1.8))
    half = style.uniform(0.5, 0.42 * width)
    if gear < 0.4:  # air conditioning
        for x in np.linspace(3.0, length - 3.0, int(style.integers(1, 4))):
            d = style.uniform(1.0, 2.4)
            s.fill(x - d, x + d, mid - half, mid + half, tone, w.height_m + 0.25)
            for fan in (x - 0.5 * d, x + 0.5 * d):
                s.fill(fan - 0.35, fan + 0.35, mid - 0.35, mid + 0.35, rgb("soot"))
    elif gear < 0.6:  # a fairing over most of the car
        a, b = style.uniform(0.5, 4.0), length - style.uniform(0.5, 4.0)
        s.fill(a, b, mid - half, mid + half, tone, w.height_m + 0.2)
    elif gear < 0.75:  # many vents
        for x in np.arange(1.5, length - 1.0, style.uniform(1.2, 3.2)):
            s.fill(float(x) - 0.2, float(x) + 0.2, mid - 0.25, mid + 0.25, tone, w.height_m + 0.15)
    if style.random() < 0.35 and (rng.random() < 0.5 or w.load != "none"):  # pantograph with its insulators
        x = style.uniform(2.5, 6.0)
        s.shade(x - 0.8, x + 2.2, 0.4, width - 0.4, style.uniform(0.6, 0.9))
        for d in (0.0, 0.7, 1.4):
            s.fill(x + d, x + d + 0.1, 0.35, width - 0.35, rgb("soot"), w.height_m + 0.6)
    if style.random() < 0.5:  # doors, seen as breaks of the rim
        doors = np.linspace(0.15, 0.85, int(style.integers(2, 5))) * length
        look = style.uniform(0.5, 1.6)
        for x in doors:
            for y in (0.0, width - edge):
                s.shade(float(x) - 0.8, float(x) + 0.8, y, y + edge, look)
    if style.random() < 0.3:  # a band along the roof
        paint = rgb(pick(style, CONTAINER_PAINTS))
        b = style.uniform(0.2, 0.5)
        s.fill(0, length, mid - b, mid + b, paint)
    s.shade_ends(0.25, 0.75)
    if w.load.startswith("cab"):
        nose = style.uniform(0.8, 4.0)
        paint = rgb(pick(style, CONTAINER_PAINTS)) if style.random() < 0.5 else w.colour
        s.fill(0, nose, 0, width, paint)
        at = s.box(0, nose, 0, width)
        drop = np.linspace(style.uniform(0.3, 2.0), 0.0, at[1].stop).astype(np.float32)
        s.height[at] -= drop[None]
        s.fill(0.3 * nose, 0.3 * nose + 0.6, 0.3, width - 0.3, (0.02, 0.025, 0.03))


_Painter = Callable[[Sheet, Wagon, np.random.Generator, np.random.Generator, Sun], None]
_STOCK: dict[str, _Painter] = {
    "gondola_empty": _gondola,
    "gondola_loaded": _gondola,
    "box": _box,
    "autorack": _autorack,
    "flat": _flat,
    "container_flat": _container_flat,
    "well": _well,
    "tank": _tank,
    "hopper": _hopper,
    "covered_hopper": _covered_hopper,
    "tarp": _tarp,
    "locomotive": _locomotive,
    "coach": _coach,
    "multiple_unit": _multiple_unit,
}


def wagon_patch(wagon: Wagon, sun: Sun) -> Patch:
    """A rail vehicle from above; its style fixes the design, its seed the load and the dirt."""
    rng = np.random.default_rng(wagon.seed)
    style = np.random.default_rng(wagon.style)
    sheet = Sheet(wagon.length_m, wagon.width_m, wagon.colour, wagon.height_m, PX_PER_M)
    _STOCK[wagon.type](sheet, wagon, rng, style, sun)
    if wagon.livery:
        paint_livery(sheet, np.random.default_rng(wagon.livery))
    sheet.weather(wagon.seed, rng.uniform(0.05, 0.6))
    if wagon.snow > 0:
        _snow(sheet, wagon.seed, wagon.snow)
    return sheet.done()


def _snow(sheet: Sheet, seed: int, amount: float) -> None:
    field = noise("cloudy", seed >> 2, sheet.h, sheet.w).astype(np.float32)
    cover = np.clip((field - 255.0 * (1.0 - amount)) / 40.0, 0.0, 1.0)[..., None]
    sheet.rgb += (encode(rgb("snow")).astype(np.float32) - sheet.rgb) * cover


# ------------------------------------------------------------------------------------------- everything else


def _vehicle_body(
    s: Sheet, x0: float, x1: float, y0: float, y1: float, colour: Colour, base_m: float, height_m: float
) -> None:
    d = x1 - x0
    s.fill(x0, x1, y0, y1, colour, base_m + height_m * 0.62)
    s.fill(x0 + 0.24 * d, x0 + 0.92 * d, y0 + 0.1, y1 - 0.1, (0.03, 0.035, 0.04), base_m + height_m * 0.85)
    s.fill(x0 + 0.36 * d, x0 + 0.80 * d, y0 + 0.18, y1 - 0.18, _scaled(colour, 1.05), base_m + height_m)


def _car(s: Sheet, p: Prop, rng: np.random.Generator, sun: Sun) -> None:
    s.rgb[:] = encode((0.04, 0.04, 0.04))
    _vehicle_body(s, 0, p.length_m, 0.05, p.width_m - 0.05, p.colour, 0.0, p.height_m)


def _truck(s: Sheet, p: Prop, rng: np.random.Generator, sun: Sun) -> None:
    cab = rng.uniform(1.8, 3.2)
    tone = rgb(pick(rng, CAR_PAINTS)) if rng.random() < 0.7 else p.colour
    s.fill(0, cab, 0.1, p.width_m - 0.1, tone, 2.9)
    s.fill(0, 0.5, 0.1, p.width_m - 0.1, (0.03, 0.03, 0.035), 2.2)
    s.fill(cab, cab + 0.9, 0.3, p.width_m - 0.3, (0.03, 0.03, 0.03), 1.0)
    if rng.random() < 0.4:
        s.ribs(rng.uniform(0.6, 1.5), -0.1)


def _trailer(s: Sheet, p: Prop, rng: np.random.Generator, sun: Sun) -> None:
    if rng.random() < 0.5:
        s.ribs(rng.uniform(0.5, 2.0), rng.uniform(-0.15, 0.12))
    if rng.random() < 0.3:
        s.fill(0, rng.uniform(0.2, 0.8), 0.2, p.width_m - 0.2, rgb("grey_dark"), 2.6)
    s.shade_sides(0.12, 0.8)


def _bus(s: Sheet, p: Prop, rng: np.random.Generator, sun: Sun) -> None:
    s.fill(0, 0.4, 0, p.width_m, (0.03, 0.03, 0.035))
    for x in (p.length_m * 0.25, p.length_m * 0.65):
        s.fill(x, x + rng.uniform(0.6, 2.2), 0.5, p.width_m - 0.5, _scaled(p.colour, rng.uniform(0.5, 1.2)))


def _boxes(s: Sheet, p: Prop, rng: np.random.Generator, sun: Sun) -> None:
    """A single container or a stack of them."""
    pitch = float(rng.choice([0.3, 0.6]))
    s.ribs(pitch, -0.08)
    s.shade_ends(0.15, 0.75)


def _building(s: Sheet, p: Prop, rng: np.random.Generator, sun: Sun) -> None:
    kind = rng.random()
    length, width = p.length_m, p.width_m
    if kind < 0.45:  # gable
        s.across(np.repeat(_roof_profile(sun, p.angle_deg, rng.uniform(6, 32), 3)[[0, 2]], 12))
        y = 1.0 - np.abs(np.linspace(-1, 1, s.h))
        s.height += (y * min(width * 0.15, 4.0)).astype(np.float32)[:, None]
        if rng.random() < 0.6:
            s.ribs(rng.uniform(0.8, 6.0), rng.uniform(-0.12, 0.12), 0.3)
        if rng.random() < 0.35:  # skylight strips
            step = rng.uniform(5, 12)
            for x in np.arange(step, length - 2, step):
                s.shade(x, x + 1.0, width * 0.12, width * 0.42, 1.25)
                s.shade(x, x + 1.0, width * 0.58, width * 0.88, 1.25)
    elif kind < 0.6:  # several bays (saw-tooth or multi-span)
        bays = max(2, round(width / rng.uniform(8, 16)))
        prof = _roof_profile(sun, p.angle_deg, 14.0, 3)
        near = (np.linspace(0, bays, s.h) % 1.0) < 0.5
        s.rgb *= np.where(near, prof[0], prof[2]).astype(np.float32)[:, None, None]
    else:  # flat, with parapet and machines
        edge = rng.uniform(0.3, 0.9)
        s.shade_sides(edge, 1.2)
        s.shade_ends(edge, 1.2)
        for _ in range(int(rng.poisson(length * width / 220.0))):
            x, y0 = rng.uniform(1, length), rng.uniform(1, width)
            d, e = rng.uniform(0.8, 3.5), rng.uniform(0.8, 3.0)
            tone = rgb(one_of(rng, "grey_light grey grey_dark white"))
            at = s.box(x, min(x + d, length - 0.5), y0, min(y0 + e, width - 0.5))
            s.rgb[at] = encode(tone)
            s.height[at] += rng.uniform(0.8, 2.2)
        if rng.random() < 0.4:  # membrane seams
            s.ribs(rng.uniform(3, 12), rng.uniform(-0.08, 0.08), 0.25)
    if rng.random() < 0.3:  # extension of another roof
        x = length * rng.uniform(0.2, 0.8)
        s.shade(x, length, 0, width, rng.uniform(0.75, 1.3))


def _canopy(s: Sheet, p: Prop, rng: np.random.Generator, sun: Sun) -> None:
    s.across(np.repeat(_roof_profile(sun, p.angle_deg, rng.uniform(2, 15), 3)[[0, 2]], 8))
    s.ribs(rng.uniform(1.0, 12.0), rng.uniform(-0.2, 0.2), rng.uniform(0.2, 0.8))
    if rng.random() < 0.4:
        half = p.width_m * 0.06
        s.shade(0, p.length_m, p.width_m / 2 - half, p.width_m / 2 + half, rng.uniform(0.6, 1.35))
    if rng.random() < 0.35:  # dirty or replaced panels
        x = 0.0
        while x < p.length_m:
            d = rng.uniform(4, 18)
            s.shade(x, x + d, 0, p.width_m, rng.uniform(0.65, 1.2))
            x += d


def _overpass(s: Sheet, p: Prop, rng: np.random.Generator, sun: Sun) -> None:
    edge = rng.uniform(0.4, 1.2)
    s.shade_sides(edge, 1.25)
    x = 0.0
    while x < p.length_m:
        s.fill(x, x + 3.0, p.width_m / 2 - 0.1, p.width_m / 2 + 0.1, rgb("line_white"))
        x += 9.0
    for _ in range(int(rng.poisson(p.length_m / 35.0))):
        x0 = rng.uniform(0, max(p.length_m - 6, 0.1))
        y0 = p.width_m * float(rng.choice([0.25, 0.75])) - 0.9
        _vehicle_body(s, x0, x0 + 4.5, y0, y0 + 1.8, rgb(pick(rng, CAR_PAINTS)), p.height_m, 1.5)


def _greenhouse(s: Sheet, p: Prop, rng: np.random.Generator, sun: Sun) -> None:
    s.across(_roof_profile(sun, p.angle_deg, rng.uniform(15, 40)))
    s.ribs(rng.uniform(1.2, 4.0), rng.uniform(-0.15, 0.15), 0.15)


def _barge(s: Sheet, p: Prop, rng: np.random.Generator, sun: Sun) -> None:
    m = 0.6
    tone = rgb(one_of(rng, "coal aggregate rust grey sand red_oxide grey_light"))
    n = int(rng.integers(1, 7))
    for i in range(n):
        a = 2.0 + (p.length_m - 4.0) * i / n
        b = 2.0 + (p.length_m - 4.0) * (i + 1) / n - 0.3
        s.fill(a, b, m, p.width_m - m, _scaled(tone, rng.uniform(0.8, 1.2)), rng.uniform(0.5, 3.0))


def _tank_farm(s: Sheet, p: Prop, rng: np.random.Generator, sun: Sun) -> None:
    """A round storage tank."""
    y, x = np.mgrid[-1 : 1 : s.h * 1j, -1 : 1 : s.w * 1j]
    r = np.hypot(x, y)
    s.rgb *= np.where(r > 0.93, 0.8, 1.0).astype(np.float32)[..., None]


def _plain(s: Sheet, p: Prop, rng: np.random.Generator, sun: Sun) -> None:
    """A slab: walls, platforms' edges, pallets, sacks."""


def _pile(s: Sheet, p: Prop, rng: np.random.Generator, sun: Sun) -> None:
    """A heap of bulk goods."""
    y, x = np.mgrid[-1 : 1 : s.h * 1j, -1 : 1 : s.w * 1j]
    dome = np.clip(1.0 - np.hypot(x, y) ** 1.5, 0.0, 1.0).astype(np.float32)
    tex = bumps("cloudy", p.seed, s.h, s.w)
    s.height[:] = p.height_m * dome * (1.0 + 0.3 * tex)
    light = _roof_profile(sun, p.angle_deg, 30.0, s.h)[:, None]
    s.rgb *= (light * (1.0 + 0.25 * tex))[..., None].astype(np.float32)


_PropPainter = Callable[[Sheet, Prop, np.random.Generator, Sun], None]
_PROPS: dict[str, tuple[_PropPainter, float]] = {
    "car": (_car, PX_PER_M),
    "truck": (_truck, PX_PER_M),
    "trailer": (_trailer, PX_PER_M),
    "bus": (_bus, PX_PER_M),
    "container": (_boxes, PX_PER_M),
    "building": (_building, COARSE_PX_PER_M),
    "canopy": (_canopy, COARSE_PX_PER_M),
    "overpass": (_overpass, COARSE_PX_PER_M),
    "greenhouse": (_greenhouse, COARSE_PX_PER_M),
    "barge": (_barge, COARSE_PX_PER_M),
    "slab": (_plain, PX_PER_M),
    "pile": (_pile, COARSE_PX_PER_M),
    "storage_tank": (_tank_farm, COARSE_PX_PER_M),
}


def _ellipse(h: int, w: int) -> U8:
    mask = np.zeros((h, w), np.uint8)
    cv2.ellipse(
        mask, (w // 2, h // 2), (max(w // 2 - 1, 1), max(h // 2 - 1, 1)), 0, 0, 360, 255, -1, cv2.LINE_AA
    )
    return mask


def tree_patch(prop: Prop, sun: Sun) -> Patch:
    """A crown: a lumpy dome, lit on the sun's side, with gaps in its outline."""
    scale = COARSE_PX_PER_M
    n = max(5, round(prop.length_m * scale))
    y, x = np.mgrid[-1 : 1 : n * 1j, -1 : 1 : n * 1j]
    lump = bumps("cloudy", prop.seed, n, n)
    fine = bumps("fine", prop.seed >> 4, n, n)
    r = np.hypot(x, y) + 0.55 * lump + 0.25 * fine
    dome = np.sqrt(np.clip(1.0 - r**2, 0.0, 1.0)).astype(np.float32)
    height = prop.height_m * (0.4 + 0.6 * dome) + 0.5 * fine
    # Relief towards the sun, in the patch's own axes.
    t = math.radians(sun.azimuth_deg - 90.0 - prop.angle_deg)
    gy, gx = np.gradient(height)
    towards = (gx * math.cos(t) + gy * math.sin(t)) * scale
    light = np.clip(1.0 - 0.35 * towards, 0.5, 1.35) * (0.75 + 0.25 * dome) * (1.0 + 0.3 * fine)
    values = encode(prop.colour).astype(np.float32) * light[..., None]
    alpha = np.clip((1.0 - r) * 700.0, 0, 255).astype(np.uint8)
    return Patch(np.clip(values, 0, 255).astype(np.uint8), height.astype(np.float32), alpha, scale)


def prop_patch(prop: Prop, sun: Sun) -> Patch:
    """A prop from above."""
    if prop.kind == "tree":
        return tree_patch(prop, sun)
    rng = np.random.default_rng(prop.seed)
    painter, scale = _PROPS[prop.kind]
    sheet = Sheet(prop.length_m, prop.width_m, prop.colour, prop.height_m, scale)
    painter(sheet, prop, rng, sun)
    sheet.weather(prop.seed, rng.uniform(0.03, 0.35), (0.12, 0.11, 0.10))
    if prop.snow > 0:
        _snow(sheet, prop.seed, prop.snow)
    round_ones = {"storage_tank", "pile"}
    return sheet.done(_ellipse(sheet.h, sheet.w) if prop.kind in round_ones else None)
