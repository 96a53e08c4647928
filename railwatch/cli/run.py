"""`railwatch run`: the main job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from railwatch.cli import _common, _tables
from railwatch.cli._options import (
    AlertCommandOption,
    AlertTimeoutOption,
    AoiOption,
    Backend,
    ConfigOption,
    JsonOption,
    SchedulerOption,
    SettingsDeviceOption,
    StoreOption,
    WeightsOption,
    WorkersOption,
)
from railwatch.cli._tables import telling

if TYPE_CHECKING:
    from railwatch.pipeline.run import RunResult
    from railwatch.store.observation import Observation


def run(
    scenes: Annotated[
        list[Path],
        typer.Argument(
            metavar="SCENES",
            help="Images, products of Sentinel-2 and PlanetScope, and folders, searched at any depth.",
        ),
    ],
    config: ConfigOption = None,
    aoi: AoiOption = None,
    store: StoreOption = None,
    dates: Annotated[
        Path | None,
        typer.Option(
            "--dates",
            metavar="CSV",
            help="When images were taken that don't tell: columns file, datetime and optionally sensor and "
            "gsd_m.",
        ),
    ] = None,
    gsd: Annotated[
        float | None,
        typer.Option(
            "--gsd",
            metavar="METRES",
            help="Metres a pixel of images without a position (screenshots): all freight cars in them are "
            "counted, though not by zone or track.",
        ),
    ] = None,
    bbox: Annotated[
        str | None,
        typer.Option("--bbox", metavar="W,S,E,N", help="The area as a box in degrees, instead of --aoi."),
    ] = None,
    device: SettingsDeviceOption = None,
    backend: Annotated[
        Backend | None,
        typer.Option("--backend", help="What runs the network; by default what the settings say."),
    ] = None,
    weights: WeightsOption = None,
    hindcast: Annotated[
        bool,
        typer.Option(
            "--hindcast", help="Sentinel-2: set a date against clear dates after it, too, not only before it."
        ),
    ] = False,
    alert_command: AlertCommandOption = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    alert_timeout: AlertTimeoutOption = 60.0,
    as_json: JsonOption = False,
) -> None:
    """Count the freight cars of an area on [bold]every scene[/bold], store, compare, report.

    Images of about a metre and finer are counted wagon by wagon. Sentinel-2 dates (10 m) and PlanetScope's
    (3 m) are answered by how much track is occupied, each against its sensor's own clear past of the place;
    their pixels are kept in the store.

    The chart and the page of the area's whole history are made afresh at the end. Run again, it counts
    only what is new; stopped half-way, it goes on where it was.
    """
    if aoi is not None and bbox is not None:
        _common.fail("--aoi and --bbox exclude each other")
    if not as_json and not any(_may_be_there(path) for path in scenes):
        # Said before anything heavy is imported; with --json the result lists them.
        missing = "; ".join(f"{path}: there is no such file or folder." for path in scenes[:3])
        _common.fail(f"none of the scenes could be used: {missing}")
    from railwatch import api
    from railwatch.pipeline.many import load_areas
    from railwatch.store.remote import as_url
    from railwatch.store.store import Store

    if alert_command is not None:
        from railwatch.pipeline.alerts import split_command

        split_command(alert_command)  # better now than after a night's work
    # A folder of area files is many areas.
    chosen = load_areas(aoi) if aoi is not None and Path(aoi).is_dir() else aoi
    with _common.progress("looking") as progress:
        results = api.run_areas(
            scenes,
            aoi=chosen if bbox is None else bbox,
            store=store,
            gsd_m=gsd,
            config=config,
            dates=dates,
            device=device,
            backend=backend,
            weights=weights,
            hindcast=hindcast,
            workers=workers,
            scheduler=scheduler,
            progress=progress,
        )
    verdicts = [verdict for one in results for verdict in one.verdicts]
    alerts = []
    if alert_command is not None:
        from railwatch.pipeline.alerts import send_alerts

        alerts = send_alerts(verdicts, alert_command, results[0].store, timeout_s=alert_timeout)
    url = None if store is None else as_url(store)
    if url is not None and alerts:
        Store.open(url).push()
    if as_json:
        document = together(results) | {"alerts": [one.to_json() for one in alerts]}
        _common.emit_json(document if url is None else document | {"store": url})
    if not any(result.read for result in results):
        reasons = "; ".join(f"{one.path}: {one.reason}" for one in results[0].skipped[:3])
        _common.fail(f"none of the scenes could be used: {reasons}")
    if not as_json:
        for result in results:
            say(result)
        for alert in alerts:
            _common.tell(alert.sentence)


_MOST_ROWS = 40


def _may_be_there(path: Path) -> bool:
    """Whether a path is there, or lies in a zip or elsewhere, where it is looked for later."""
    return ":/" in str(path) or path.exists() or any(one.suffix.lower() == ".zip" for one in path.parents)


def together(results: Sequence[RunResult]) -> dict[str, Any]:
    """The JSON of one area's run; of several areas' runs the lists are joined, and ``areas`` names them."""
    documents = [one.to_json() for one in results]
    if len(documents) == 1:
        return documents[0]
    lists = ("observations", "verdicts", "charts", "warnings")
    joined: dict[str, Any] = {name: [each for one in documents for each in one[name]] for name in lists}
    # A scene that one area has no use for may show another one.
    skipped = {(each["path"], each["reason"]): each for one in documents for each in one["skipped"]}
    reports = [one["report"] for one in documents if one["report"] is not None]
    return joined | {
        "skipped": list(skipped.values()),
        "report": reports[0] if reports else None,
        "reports": reports,
        "areas": [one.area for one in results],
    }


def say(result: RunResult) -> None:
    """Print a run's result for people."""
    if result.observations:
        lengths = any(one.method == "occupancy" for one in result.observations)
        names = (
            "date",
            "sensor",
            *(("occupied m", "90%") if lengths else ()),
            "freight cars",
            "90%",
            "seen",
            "",
        )
        _tables.table(names, _rows(result, lengths=lengths))
    told = telling(result.verdicts)
    for verdict in told:
        _common.tell(verdict.sentence)
    hidden = max(len(result.observations) - _MOST_ROWS, 0)
    if hidden or len(told) < len(result.verdicts):
        rows = f"{hidden} earlier images and " if hidden else ""
        _common.say(f"{rows}all verdicts: railwatch compare --store {result.store}")
    for warning in result.warnings:
        _common.tell(f"note: {warning}")
    for skipped in result.skipped:
        _common.tell(f"skipped {skipped.path}: {skipped.reason}")
    new = len(result.new)
    known = len(result.observations) - new
    _common.say(f"{new} new, {known} known already, {len(result.skipped)} skipped; store: {result.store}")
    for chart in result.charts:
        _common.say(f"chart: {chart}")
    if result.report is not None:
        _common.say(f"report: {result.report}")


def _rows(result: RunResult, *, lengths: bool) -> Sequence[Sequence[Any]]:
    # Worth telling only beside new ones, and where the line has room for it.
    marked = bool(result.new) and not lengths
    known = {one.id for one in result.observations} - set(result.new) if marked else set()
    return [
        (
            f"{one.datetime:%Y-%m-%d %H:%M}",
            one.sensor,
            *(_length(one) if lengths else ()),
            _figure(one.count, one.lower_bound),
            _interval(one.count_low, one.count_high),
            f"{one.clear_fraction:.0%}",
            one.reason if one.abstained else ("known" if one.id in known else ""),
        )
        for one in result.observations[-_MOST_ROWS:]
    ]


def _figure(value: float | None, lower_bound: bool) -> int | str | None:
    if value is None:
        return None
    return f"at least {value:.0f}" if lower_bound else round(value)


def _length(one: Observation) -> tuple[int | str | None, str | None]:
    """Return the occupied length with its interval, for observations that measure it."""
    if one.method != "occupancy":
        return None, None
    ends = _interval(one.occupied_length_low_m, one.occupied_length_high_m)
    return _figure(one.occupied_length_m, one.lower_bound), ends


def _interval(low: float | None, high: float | None) -> str | None:
    return None if low is None or high is None else f"{low:.0f} to {high:.0f}"
