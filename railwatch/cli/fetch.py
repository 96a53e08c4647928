"""`railwatch fetch`: an area's scenes out of public archives."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from railwatch.cli import _common
from railwatch.cli._options import (
    DEFAULT_SCENES,
    AllowHostOption,
    AreasOption,
    AttemptsOption,
    CloudOption,
    CollectionOption,
    ConnectionsOption,
    JsonOption,
    SchedulerOption,
    SourceOption,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from railwatch.fetch import FetchResult, Plan

DEFAULT_SPAN_DAYS = 730


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
    ] = DEFAULT_SCENES,
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
