"""Areas of interest: what to watch.

`load_area` gives an `AreaOfInterest` from a bundled name or a GeoJSON file, strictly checked;
`check_area` lists everything that is wrong with a file. ``aoi/README.md`` describes the format and how
the bundled areas were drawn.

The names below are looked up when first used: importing ``aoi.errors`` (which the command line does
before it knows what it will be asked) then costs no geometry library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aoi.errors import AreaError, InputError

if TYPE_CHECKING:
    from aoi.check import CheckResult, Problem
    from aoi.io import area_names, check_area, load_area, new_area
    from aoi.model import WGS84, AreaOfInterest, Mask, Source, Track, Zone

__all__ = [
    "WGS84",
    "AreaError",
    "AreaOfInterest",
    "CheckResult",
    "InputError",
    "Mask",
    "Problem",
    "Source",
    "Track",
    "Zone",
    "area_names",
    "check_area",
    "load_area",
    "new_area",
]

_HOMES = {
    "aoi.check": ("CheckResult", "Problem"),
    "aoi.io": ("area_names", "check_area", "load_area", "new_area"),
    "aoi.model": ("WGS84", "AreaOfInterest", "Mask", "Source", "Track", "Zone"),
}


def __getattr__(name: str) -> Any:
    home = next((module for module, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value
