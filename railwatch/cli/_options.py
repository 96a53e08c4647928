"""Options that several commands have.

Use them as parameter types, with the default as usual::

    def detect(..., as_json: JsonOption = False, device: DeviceOption = "auto") -> None:
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from railwatch.store import DEFAULT_STORE

if TYPE_CHECKING:
    from railwatch.config import RunConfig
    from railwatch.history.sources import Sources

Device = Literal["auto", "cpu", "cuda"]

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout instead of text.")
]
DeviceOption = Annotated[
    Device, typer.Option("--device", help="Where the network runs; auto takes a CUDA GPU when there is one.")
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
SeedsOption = Annotated[
    bool, typer.Option("--seeds/--no-seeds", help="Take the published counts into the history.")
]
SeedsOnlyOption = Annotated[
    bool, typer.Option("--seeds-only", help="The published counts alone, without a store.")
]
EventsOption = Annotated[
    Path | None,
    typer.Option("--events", metavar="CSV", help="Events to mark in the chart: columns date and label."),
]
ClaimsOption = Annotated[
    Path | None,
    typer.Option("--claims", metavar="CSV", help="Public claims of your own; see seeds/README.md."),
]
AssumptionsOption = Annotated[
    Path | None,
    typer.Option(
        "--assumptions", metavar="TOML", help="What turns claims into wagons; see configs/claims.toml."
    ),
]
SettingsDeviceOption = Annotated[
    Device | None, typer.Option("--device", help="Where the network runs; by default what the settings say.")
]
AlertCommandOption = Annotated[
    str | None,
    typer.Option(
        "--alert-command",
        metavar="CMD",
        help="Run this when a verdict is elevated or higher, with its JSON on stdin: once a date, and again "
        "if the verdict gets higher. No shell is used.",
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        min=1,
        help="Processes on this machine; by default as many as its cores and the work ask for.",
    ),
]
SchedulerOption = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        metavar="ADDRESS",
        help="Work on the Dask cluster of this scheduler; its workers have to reach the same folders.",
    ),
]
AlertTimeoutOption = Annotated[
    float, typer.Option("--alert-timeout", metavar="SECONDS", min=0.1, help="How long that command may take.")
]
LabelledImagesOption = Annotated[
    Path | None, typer.Option("--images", help="Folder of the labelled images.", metavar="DIR")
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
DEFAULT_SCENES = "railwatch-scenes"
SourceOption = Annotated[
    str,
    typer.Option(
        "--source",
        metavar="NAME_OR_URL",
        help="The archive: earth-search, planetary-computer, cdse, or the URL of a STAC API or catalogue.",
    ),
]
AreasOption = Annotated[
    str,
    typer.Option(
        "--aoi",
        metavar="NAME_FILE_OR_FOLDER",
        help="The area: a bundled name, a GeoJSON file, a folder of such files, or a box W,S,E,N in degrees.",
    ),
]
CloudOption = Annotated[
    float,
    typer.Option(
        "--cloud",
        metavar="PERCENT",
        min=0.0,
        max=100.0,
        help="Leave out items with more cloud than this over all of their 110 km.",
    ),
]
CollectionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--collection", metavar="NAME", help="Search this collection instead (naip, ...); may be repeated."
    ),
]
AllowHostOption = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-host",
        metavar="HOST[:PORT]",
        help="Let links lead to this host even if it is private or not encrypted; may be repeated.",
    ),
]
ConnectionsOption = Annotated[
    int, typer.Option("--connections", metavar="N", min=1, max=64, help="Requests at one time, at most.")
]
AttemptsOption = Annotated[
    int, typer.Option("--attempts", metavar="N", min=1, max=20, help="How often a request is tried.")
]


def history_of(
    store: Path | None,
    aoi: str | None,
    config: str | None,
    *,
    seeds: bool = True,
    seeds_only: bool = False,
    **overrides: object,
) -> tuple[RunConfig, Sources]:
    """What a command looks back on: its settings, and the history by them.

    Without --store and --config that is the history of a run without them.
    """
    from railwatch.history.sources import read_sources
    from railwatch.store.areas import choose_settings

    if store is None and config is None and not seeds_only and Path(DEFAULT_STORE).is_dir():
        store = Path(DEFAULT_STORE)
    given = choose_settings(
        config,
        store=None if seeds_only else store,
        aoi=aoi,
        baseline__use_published=None if seeds else False,
        **overrides,
    )
    folder = Path(given.config.store) if given.config.store else None
    return given.config, read_sources(folder, given.config.aoi, seeds_only=seeds_only, chosen=given)
