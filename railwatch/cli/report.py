"""`railwatch report`: everything on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from railwatch.cli import _common
from railwatch.cli._options import (
    AoiOption,
    AssumptionsOption,
    ClaimsOption,
    ConfigOption,
    DayOption,
    EventsOption,
    JsonOption,
    SeedsOnlyOption,
    SeedsOption,
    StoreOption,
    history_of,
)


def report(
    out: Annotated[Path, typer.Option("--out", metavar="FILE.html", help="The file to write or replace.")],
    store: StoreOption = None,
    aoi: AoiOption = None,
    config: ConfigOption = None,
    date: DayOption = None,
    events: EventsOption = None,
    claims: ClaimsOption = None,
    assumptions: AssumptionsOption = None,
    seeds: SeedsOption = True,
    seeds_only: SeedsOnlyOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write [bold]one HTML file[/bold] with verdict, chart, pictures and numbers, complete in itself.

    It loads nothing and sends nothing: mail it, or put it on a USB stick. SOURCE_DATE_EPOCH fixes the time
    that it gives as that of its making; all else depends on the store alone.
    """
    from railwatch.history.history import read_events
    from railwatch.pages.claims import load_assumptions
    from railwatch.pages.report import write_report
    from seeds import load_claims

    if out.suffix.lower() not in (".html", ".htm"):
        _common.fail(f"{out}: a report is an HTML file, so its name ends in .html")
    happened = read_events(events) if events is not None else []
    claimed = load_claims(claims) if claims is not None else None
    assumed = load_assumptions(assumptions) if assumptions is not None else None
    settings, sources = history_of(store, aoi, config, seeds=seeds, seeds_only=seeds_only)
    if date is not None:
        sources.verdicts_on(date.date())
    with _common.progress("pictures") as progress:
        written = write_report(
            sources,
            out,
            config=settings,
            events=happened,
            claims=claimed,
            assumptions=assumed,
            day=None if date is None else date.date(),
            progress=progress,
        )
    if as_json:
        _common.emit_json(written.to_json() | {"notes": list(sources.notes)})
        return
    _common.notes(sources.notes)
    for warning in written.warnings:
        _common.tell(f"note: {warning}")
    _common.say(
        f"{written.observations} {'observation' if written.observations == 1 else 'observations'}, "
        f"{written.pictures} with pictures, {written.size_bytes / 1e6:.1f} MB; report: {written.path}"
    )
