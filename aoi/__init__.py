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
    "WGS84": "aoi.model",
    "AreaOfInterest": "aoi.model",
    "CheckResult": "aoi.check",
    "Mask": "aoi.model",
    "Problem": "aoi.check",
    "Source": "aoi.model",
    "Track": "aoi.model",
    "Zone": "aoi.model",
    "area_names": "aoi.io",
    "check_area": "aoi.io",
    "load_area": "aoi.io",
    "new_area": "aoi.io",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value
