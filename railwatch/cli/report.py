"""``railwatch report``: one HTML file with the verdict, the chart, the evidence and the numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from railwatch.cli import _common
from railwatch.cli._common import AoiOption, ConfigOption, DayOption, JsonOption, StoreOption


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(report)


def report(
    out: Annotated[Path, typer.Option("--out", metavar="FILE.html", help="The file to write or replace.")],
    store: StoreOption = None,
    aoi: AoiOption = None,
    config: ConfigOption = None,
    date: DayOption = None,
    events: Annotated[
        Path | None,
        typer.Option(
            "--events", metavar="CSV", help="What happened when, for the chart: columns date and label."
        ),
    ] = None,
    claims: Annotated[
        Path | None,
        typer.Option("--claims", metavar="CSV", help="Public claims of your own; see seeds/README.md."),
    ] = None,
    assumptions: Annotated[
        Path | None,
        typer.Option(
            "--assumptions", metavar="TOML", help="What turns claims into wagons; see configs/claims.toml."
        ),
    ] = None,
    seeds: Annotated[
        bool, typer.Option("--seeds/--no-seeds", help="Take the published counts into the history.")
    ] = True,
    seeds_only: Annotated[
        bool, typer.Option("--seeds-only", help="The published counts alone, without a store.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write [bold]one HTML file[/bold] with verdict, chart, pictures and numbers, complete in itself.

    It loads nothing and sends nothing: mail it, or put it on a USB stick. SOURCE_DATE_EPOCH fixes the time
    that it gives as that of its making; all else depends on the store alone.
    """
    from railwatch.history.history import read_events
    from railwatch.history.sources import read_sources
    from railwatch.pages.claims import load_assumptions
    from railwatch.pages.report import write_report
    from railwatch.store.areas import choose_settings
    from seeds import load_claims

    if out.suffix.lower() not in (".html", ".htm"):
        _common.fail(f"{out}: a report is an HTML file, so its name ends in .html")
    given = choose_settings(
        config,
        store=None if seeds_only else _common.history_of(store, config),
        aoi=aoi,
        baseline__use_published=None if seeds else False,
    )
    settings = given.config
    happened = read_events(events) if events is not None else []
    claimed = load_claims(claims) if claims is not None else None
    assumed = load_assumptions(assumptions) if assumptions is not None else None
    sources = read_sources(
        Path(settings.store) if settings.store else None,
        settings.aoi,
        seeds_only=seeds_only,
        chosen=given,
    )
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
