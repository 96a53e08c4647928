"""Simulated rail yards with labels: the detector's training data, and demonstration scenes.

`pictures` asks any of the simulators for images of a random scene. In the main one, `procedural`, a
`SceneSpec` says in metres what is there; `render_scene` draws it finely; `degrade` looks at the drawing
through a sensor. `random_scene` makes descriptions by chance, reproducibly by seed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from detector.simulators import relief
from detector.simulators.backgrounds import BackgroundLibrary
from detector.simulators.collage import scene as collage
from detector.simulators.collage.canvas import photograph
from detector.simulators.procedural.render import FineScene, render_scene
from detector.simulators.procedural.scenes import (
    EMPTY_KINDS,
    KIND_WEIGHTS,
    KINDS,
    RAIL_FREE_KINDS,
    WAGON_KINDS,
    random_scene,
    yard_series,
)
from detector.simulators.procedural.sensors import (
    GSD_RANGE_M,
    Rendered,
    Sensor,
    degrade,
    random_sensor,
    sensors,
)
from detector.simulators.procedural.spec import SPLITS, SceneSpec
from detector.simulators.solids import strip as solids

__all__ = [
    "EMPTY_KINDS",
    "GSD_RANGE_M",
    "KINDS",
    "KIND_WEIGHTS",
    "RAIL_FREE_KINDS",
    "SIMULATORS",
    "SPLITS",
    "WAGON_KINDS",
    "BackgroundLibrary",
    "FineScene",
    "Rendered",
    "SceneSpec",
    "Sensor",
    "degrade",
    "pictures",
    "random_scene",
    "random_sensor",
    "render",
    "render_scene",
    "sensors",
    "yard_series",
]

SIMULATORS: dict[str, tuple[str, ...]] = {
    "main": tuple(KINDS),
    "collage": tuple(collage.KINDS),
    "solids": solids.KINDS,
    "relief": tuple(relief.KINDS),
}
"""Who draws scenes, and which kinds: two that training uses, the solids, from which types alone are learned,
and the relief, which no training uses."""


def pictures(
    rng: np.random.Generator,
    *,
    simulator: str = "main",
    split: str = "train",
    size_m: float = 144.0,
    kind: str | None = None,
    backgrounds: BackgroundLibrary | None = None,
    gsd_m: Iterable[float | None] = (None,),
) -> list[Rendered]:
    """A random scene, seen once for each ground sampling distance.

    Args:
        rng: Source of chance; the same state gives the same pictures.
        simulator: One of `SIMULATORS`.
        split: ``train``, ``val`` or ``test``: which designs, backgrounds and sensors are used. Only the main
            simulator keeps all three apart; the collage does so with backgrounds, and has yards of one trade
            in ``train`` only; the relief makes no difference.
        size_m: Side of the square scene.
        kind: One of the simulator's kinds; drawn by its weight if not given.
        backgrounds: Pictures at 0.3 m for the ground of some scenes.
        gsd_m: Ground sampling distance of each picture, metres; None has the sensor's own.

    Raises:
        ValueError: There is no such simulator or kind.
    """
    if simulator == "main":
        spec = random_scene(rng, split=split, size_m=size_m, kind=kind, backgrounds=backgrounds)
        fine = render_scene(spec, backgrounds=backgrounds)
        return [degrade(fine, rng, gsd_m=gsd) for gsd in gsd_m]
    if simulator == "collage":
        scene = collage.random_collage(rng, split=split, size_m=size_m, kind=kind, backgrounds=backgrounds)
        seen = [photograph(scene, rng, gsd_m=gsd) for gsd in gsd_m]
    elif simulator == "solids":
        seen = [solids.random_solids(rng, size_m=size_m, kind=kind, gsd_m=gsd) for gsd in gsd_m]
    elif simulator == "relief":
        ground = relief.random_relief(rng, size_m=size_m, kind=kind)
        seen = [relief.look_at(ground, rng, gsd_m=gsd) for gsd in gsd_m]
    else:
        raise ValueError(f"no simulator {simulator!r}; known are {', '.join(SIMULATORS)}")
    return [replace(one, meta={**one.meta, "simulator": simulator, "split": split}) for one in seen]


def render(
    spec: SceneSpec,
    rng: np.random.Generator,
    gsd_m: float | None = None,
    sensor: Sensor | None = None,
    *,
    backgrounds: BackgroundLibrary | None = None,
) -> Rendered:
    """Draw a described scene and look at it through a sensor; see `render_scene` and `degrade`.

    Example:
        >>> from detector.simulators import random_scene
        >>> rng = np.random.default_rng(4)
        >>> image = render(random_scene(rng, split="train", kind="yard"), rng, gsd_m=0.5)
        >>> image.image.shape, len(image.boxes) > 0
        ((288, 288, 3), True)
    """
    return degrade(render_scene(spec, backgrounds=backgrounds), rng, gsd_m=gsd_m, sensor=sensor)
