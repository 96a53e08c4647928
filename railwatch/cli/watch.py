"""`railwatch watch`: what is new, fetched, counted and judged, for cron and systemd."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from railwatch.cli import _common
from railwatch.cli._options import (
    DEFAULT_SCENES,
    AlertCommandOption,
    AlertTimeoutOption,
    AllowHostOption,
    AreasOption,
    AttemptsOption,
    CloudOption,
    CollectionOption,
    ConfigOption,
    ConnectionsOption,
    JsonOption,
    SchedulerOption,
    SettingsDeviceOption,
    SourceOption,
    WeightsOption,
    WorkersOption,
)
from railwatch.cli._tables import telling

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from railwatch.fetch.watch import WatchResult
    from railwatch.history import Verdict

_MOST = 5
"""Verdicts, and scenes that weren't fetched or counted, that are printed of an area."""


def watch(
    aoi: AreasOption,
    store: Annotated[
        str, typer.Option("--store", metavar="DIR_OR_URL", help="Where the observations are kept.")
    ],
    config: ConfigOption = "sentinel2",
    scenes: Annotated[
        str, typer.Option("--scenes", metavar="DIR_OR_URL", help="Where the fetched scenes are kept.")
    ] = DEFAULT_SCENES,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="DATE", help="The first day; by default the last check's, or two years ago."
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="DATE", help="The last day; today by default.")
    ] = None,
    cloud: CloudOption = 80.0,
    source: SourceOption = "earth-search",
    collection: CollectionOption = None,
    connections: ConnectionsOption = 8,
    attempts: AttemptsOption = 6,
    allow_host: AllowHostOption = None,
    alert_command: AlertCommandOption = None,
    alert_timeout: AlertTimeoutOption = 60.0,
    device: SettingsDeviceOption = None,
    weights: WeightsOption = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    log: Annotated[
        str | None,
        typer.Option(
            "--log", metavar="FILE", help="Append what happens, one JSON document a line; '-' is stderr."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check once for [bold]new scenes[/bold] of one or many areas, count them, judge them, and end.

    Goes back to the last check. Only one watch at a time works on a store: a second one ends with code 75.
    Code 69 says that a server didn't answer, so that the next check will bring more.
    """
    from railwatch.pipeline.many import load_areas

    areas = load_areas(aoi)  # told if it is wrong before what speaks to archives is imported
    from railwatch.config import load_config
    from railwatch.fetch import FetchOptions
    from railwatch.fetch.plan import parse_hosts, parse_period
    from railwatch.fetch.watch import watch as watch_areas
    from railwatch.pipeline.alerts import split_command
    from railwatch.store.store import Store

    if alert_command is not None:
        split_command(alert_command)
    settings = load_config(config).override(
        detector__device=device, detector__weights=weights, occupancy__device=device
    )
    first, last = parse_period(since, until)
    options = FetchOptions(
        source=source,
        since=last,
        until=last,
        cloud=cloud,
        collections=tuple(collection or ()),
        allowed_hosts=parse_hosts(allow_host or ()),
        connections=connections,
        attempts=attempts,
    )
    kept = Store.open(store)
    with ExitStack() as stack:
        stream = _opened(log, stack)
        progress = stack.enter_context(_common.progress("watching"))
        result = watch_areas(
            areas,
            options,
            settings,
            kept,
            scenes,
            since=first,
            scheduler=scheduler,
            workers=workers,
            alert_command=alert_command,
            alert_timeout_s=alert_timeout,
            progress=progress,
            event=_event(stream),
        )
    if as_json:
        _common.emit_json(result.to_json())
    elif len(result.checks) > 1 or result.checks[0].error is None or result.unavailable:
        _say_watched(result)
    if result.unavailable:
        raise typer.Exit(_common.EXIT_UNAVAILABLE)
    if all(one.error is not None for one in result.checks):
        _common.fail(str(result.checks[0].error))


def _opened(log: str | None, stack: ExitStack) -> IO[str] | None:
    if log is None:
        return None
    if log == "-":
        return sys.stderr
    return stack.enter_context(Path(log).open("a", encoding="utf-8"))


def _event(stream: IO[str] | None) -> Callable[..., None]:
    """What writes one line of JSON for each thing that happens."""

    def event(name: str, **said: Any) -> None:
        if stream is not None:
            when = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            stream.write(json.dumps({"time": when, "event": name, **said}, ensure_ascii=False) + "\n")
            stream.flush()

    return event


def _news(verdicts: Sequence[Verdict], counted: Collection[str]) -> Sequence[Verdict]:
    """What to tell: of the new images those that stand out, the newest count, and why the newest has none."""
    told = telling([one for one in verdicts if one.record.id in counted], _MOST) or telling(verdicts, 1)
    newest = verdicts[-1:]
    return [*told, *(one for one in newest if one not in told)]


def _say_watched(result: WatchResult) -> None:
    for one in result.checks:
        if one.error is not None:
            _common.say(f"{one.area}: {one.error}")
            continue
        new = 0 if one.fetched is None else len(one.fetched.new)
        counted = frozenset[str]() if one.run is None else one.run.new
        _common.say(f"{one.area}: {new} new scenes, {len(counted)} new observations")
        for scene in () if one.fetched is None else one.fetched.failed[:_MOST]:
            _common.tell(f"not fetched {scene.id}: {scene.reason}")
        if one.run is not None:
            for skipped in [each for each in one.run.skipped if not each.readable][:_MOST]:
                _common.tell(f"skipped {skipped.path}: {skipped.reason}")
            for verdict in _news(one.run.verdicts, counted):
                _common.tell(verdict.sentence)
            if one.run.report is not None:
                _common.say(f"report: {one.run.report}")
        for alert in one.alerts:
            _common.tell(alert.sentence)
    _common.say(f"store: {result.store}")
