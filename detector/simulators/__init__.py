"""Procedural rail yards with labels: the detector's training data, and demonstration scenes.

A `SceneSpec` says in metres what is there; `render_scene` draws it finely; `degrade` looks at the drawing
through a sensor. `random_scene` makes descriptions by chance, reproducibly by seed.
"""

from __future__ import annotations

from detector.simulators.backgrounds import BackgroundLibrary
from detector.simulators.images import render
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
from detector.simulators.procedural.spec import CATEGORY_NAMES, COACH, FREIGHT, LOCOMOTIVE, SPLITS, SceneSpec

__all__ = [
    "CATEGORY_NAMES",
    "COACH",
    "EMPTY_KINDS",
    "FREIGHT",
    "GSD_RANGE_M",
    "KINDS",
    "KIND_WEIGHTS",
    "LOCOMOTIVE",
    "RAIL_FREE_KINDS",
    "SPLITS",
    "WAGON_KINDS",
    "BackgroundLibrary",
    "FineScene",
    "Rendered",
    "SceneSpec",
    "Sensor",
    "degrade",
    "random_scene",
    "random_sensor",
    "render",
    "render_scene",
    "sensors",
    "yard_series",
]
