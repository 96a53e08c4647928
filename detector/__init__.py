"""Pixels to wagons: the networks, their training and evaluation, and the simulator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detector.wagons.detections import Detections
    from detector.wagons.detector import WagonDetector

__all__ = ["Detections", "WagonDetector"]

_HOMES = {"Detections": "detector.wagons.detections", "WagonDetector": "detector.wagons.detector"}


def __getattr__(name: str) -> Any:
    """Import torch only when the detector itself is asked for: the simulator and the errors don't need it."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'detector' has no attribute {name!r}")
