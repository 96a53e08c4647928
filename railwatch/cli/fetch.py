"""The commands on public archives: `railwatch fetch`, and `railwatch watch` for cron and systemd."""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from railwatch.cli import _common
from railwatch.cli._options import (
    AlertCommandOption,
    AlertTimeoutOption,
    ConfigOption,
    JsonOption,
    SchedulerOption,
    SettingsDeviceOption,
    WeightsOption,
    WorkersOption,
)
from railwatch.cli._tables import telling

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from railwatch.fetch import FetchResult, Plan
    from railwatch.fetch.watch import WatchResult
    from railwatch.history import Verdict

DEFAULT_OUT = "railwatch-scenes"
DEFAULT_SPAN_DAYS = 730

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


def fetch(
    aoi: AreasOption,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="DATE", help="The first day; two years before the last by default."),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="DATE", help="The last day; today by default.")
    ] = None,
    cloud: CloudOption = 80.0,
    source: SourceOption = "earth-search",
    collection: CollectionOption = None,
    out: Annotated[
        str,
        typer.Option("--out", metavar="DIR_OR_URL", help="Where the scenes are kept, for 'railwatch run'."),
    ] = DEFAULT_OUT,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=1, help="Fetch only the N latest missing scenes."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many scenes, requests and bytes it would be.")
    ] = False,
    connections: ConnectionsOption = 8,
    attempts: AttemptsOption = 6,
    allow_host: AllowHostOption = None,
    scheduler: SchedulerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Get an area's scenes out of [bold]public archives[/bold]: its own pixels only, a small file a scene.

    Sentinel-2 by default, from Earth Search. Doubles are left out before a pixel is read. Run again, it
    gets only what is missing. This command and 'watch' are the only ones that use the network, and what
    leaves this machine are their requests.
    """
    from railwatch.pipeline.many import load_areas

    areas = load_areas(aoi)  # told if it is wrong before what speaks to archives is imported
    from railwatch.fetch import FetchOptions, plan
    from railwatch.fetch import fetch as fetch_scenes
    from railwatch.fetch.plan import parse_hosts, parse_period
    from railwatch.pipeline.engine import Dask

    first, last = parse_period(since, until)
    options = FetchOptions(
        source=source,
        since=first or last - timedelta(days=DEFAULT_SPAN_DAYS),
        until=last,
        cloud=cloud,
        collections=tuple(collection or ()),
        allowed_hosts=parse_hosts(allow_host or ()),
        connections=connections,
        attempts=attempts,
        limit=limit,
    )
    results: list[FetchResult] = []
    plans: list[tuple[Plan, dict[str, Any]]] = []
    with ExitStack() as stack:
        engine = stack.enter_context(closing(Dask(scheduler))) if scheduler is not None else None
        progress = stack.enter_context(_common.progress("searching"))
        for area in areas:
            planned = plan(area, options, out)
            if dry_run:
                from railwatch.fetch.plan import estimate

                plans.append((planned, estimate(planned)))
                continue
            progress.label(area.name)
            results.append(fetch_scenes(planned, engine=engine, progress=with_rate(progress, area.name)))
    if dry_run:
        _say_plans(plans, as_json=as_json)
        return
    if as_json:
        documents = [one.to_json() for one in results]
        _common.emit_json(documents[0] if len(areas) == 1 else {"areas": documents})
    else:
        for one in results:
            _say_fetched(one)
    if any(one.unavailable for one in results):
        raise typer.Exit(_common.EXIT_UNAVAILABLE)
    if all(one.failed and not one.new and not one.plan.held for one in results):
        _common.fail(f"none of the scenes could be fetched: {results[0].failed[0].reason}")


def with_rate(progress: _common.Reporter, label: str) -> Callable[[int, int], None]:
    """A reporter that also says how fast it goes."""
    started = time.monotonic()

    def report(done: int, total: int) -> None:
        passed = time.monotonic() - started
        if done and passed > 1.0:
            progress.label(f"{label}, {60.0 * done / passed:.0f} scenes a minute")
        progress(done, total)

    return report


def _say_plans(plans: list[tuple[Plan, dict[str, Any]]], *, as_json: bool) -> None:
    documents = [
        {
            "aoi": planned.area.name,
            "source": planned.options.source,
            "out": planned.folder.location,
            "found": planned.found,
            "held": len(planned.held),
            "skipped": [{"id": one.id, "reason": one.reason} for one in planned.left],
            **estimated,
        }
        for planned, estimated in plans
    ]
    if as_json:
        _common.emit_json(documents[0] if len(documents) == 1 else {"areas": documents})
        return
    for one in documents:
        size = "an unknown number of" if one["bytes"] is None else f"about {one['bytes'] / 1e6:,.0f}"
        _common.say(
            f"{one['aoi']}: {one['scenes']} scenes to fetch ({one['held']} are there, "
            f"{len(one['skipped'])} left out), about {one['requests'] or '?'} requests and {size} MB"
        )


def _say_nothing(plan: Plan) -> None:
    if not plan.found:
        options = plan.options
        cloud = "" if options.cloud is None else f" with at most {options.cloud:g}% cloud"
        _common.say(
            f"{plan.area.name}: the archive has no scene of {options.since:%Y-%m-%d} to "
            f"{options.until:%Y-%m-%d}{cloud}"
        )
    for one in plan.left[:3]:
        _common.say(f"left out {one.id or 'an item without an id'}: {one.reason}")


def _say_fetched(result: FetchResult) -> None:
    for one in result.failed[:20]:
        _common.say(f"not fetched {one.id}: {one.reason}")
    if len(result.failed) > 20:
        _common.say(f"... and {len(result.failed) - 20} more")
    plan = result.plan
    if not (result.new or result.failed or plan.held):
        _say_nothing(plan)
    traffic = result.traffic
    kept = sum(one.size for one in result.new)
    _common.say(
        f"{plan.area.name}: {len(result.new)} new, {len(plan.held)} known already, "
        f"{len(result.failed)} not fetched, {len(plan.left)} left out; {traffic.requests:,} requests, "
        f"{traffic.bytes / 1e6:,.1f} MB, kept {kept / 1e6:,.1f} MB in {result.seconds:,.0f} s"
    )
    _common.say(f"scenes: {plan.folder.location}")
    if result.unavailable:
        _common.say("the server didn't answer for all of them: run it again to get the rest")


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
    ] = DEFAULT_OUT,
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
