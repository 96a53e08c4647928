"""Pixels to wagons: the networks, their training and evaluation, and the simulator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detector.wagons.detections import Detections
    from detector.wagons.detector import WagonDetector

__all__ = ["LEVEL", "Z90", "Detections", "WagonDetector"]

LEVEL = 0.9
"""How often an interval should hold the truth. The calibrations of the shipped weights were made for it."""

Z90 = 1.6448536269514722
"""Half the width of a normal distribution's interval of that level, in standard deviations."""

_HOMES = {"Detections": "detector.wagons.detections", "WagonDetector": "detector.wagons.detector"}


def __getattr__(name: str) -> Any:
    """Import the detector itself, and what it is made of, only when it is asked for."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'detector' has no attribute {name!r}")
