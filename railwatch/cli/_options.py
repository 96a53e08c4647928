"""Options that several commands have.

Use them as parameter types, with the default as usual::

    def detect(..., as_json: JsonOption = False, device: DeviceOption = "auto") -> None:
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from railwatch.store import DEFAULT_STORE

Device = Literal["auto", "cpu", "cuda"]

JsonOption = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON document on stdout instead of text."),
]
DeviceOption = Annotated[
    Device,
    typer.Option("--device", help="Where the network runs; auto takes a CUDA GPU when there is one."),
]
Backend = Literal["auto", "openvino", "torch"]
BackendOption = Annotated[
    Backend,
    typer.Option(
        "--backend", help="What runs the network: openvino (CPU) or torch (GPU, CPU); auto takes the fastest."
    ),
]
AoiOption = Annotated[
    str | None,
    typer.Option(
        "--aoi",
        metavar="NAME_OR_FILE",
        help="The area: a bundled name (see 'railwatch aoi list'), an area file, or an outline in GeoJSON, "
        "KML, GeoPackage, Shapefile, WKT, ...",
    ),
]
StoreOption = Annotated[
    Path | None,
    typer.Option(
        "--store", metavar="DIR", help=f"The folder that holds the observations; {DEFAULT_STORE} by default."
    ),
]
DayOption = Annotated[
    datetime | None,
    typer.Option(
        "--date",
        metavar="YYYY-MM-DD",
        formats=["%Y-%m-%d"],
        help="The day that it is about; by default the foremost one.",
    ),
]
ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="NAME_OR_FILE",
        help="Settings of the run: a bundled name (tumangang, vhr, sentinel2) or a TOML file.",
    ),
]
CarefulOption = Annotated[
    bool,
    typer.Option(
        "--careful",
        help="Look at each tile and its three mirror images: a little better, four times as slow.",
    ),
]
WeightsOption = Annotated[
    Path | None,
    typer.Option("--weights", metavar="FILE", help="Other weights (safetensors) than the shipped ones."),
]


def history_of(store: Path | None, config: str | None) -> Path | None:
    """The store that a command looks back on: without --store and --config that of a run without them."""
    known = store is not None or config is not None or not Path(DEFAULT_STORE).is_dir()
    return store if known else Path(DEFAULT_STORE)
