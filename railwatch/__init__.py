"""Wagons to decisions: pipeline, observations, baseline, charts, report and command line.

From Python, with the defaults of the command line::

    import railwatch

    wagons = railwatch.detect("yard.tif")                            # a GeoDataFrame, a row a wagon
    result = railwatch.run("images", aoi="yard.geojson", store="my_store")
    store = railwatch.open_store("my_store")
    store.counts()                                                   # a pandas DataFrame
    store.verdicts()
    store.chart("chart.png")

The functions are looked up when first used, so that ``import railwatch`` costs nothing; see `railwatch.api`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from railwatch.version import __version__

if TYPE_CHECKING:
    from railwatch.api import Chart, StoreReader, detect, import_counts, open_store, run

__all__ = ["Chart", "StoreReader", "__version__", "detect", "import_counts", "open_store", "run"]

_API = frozenset({"Chart", "StoreReader", "detect", "import_counts", "open_store", "run"})


def __getattr__(name: str) -> Any:
    if name not in _API:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module("railwatch.api"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
