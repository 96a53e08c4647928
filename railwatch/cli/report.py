"""``railwatch report``: one HTML file with the verdict, the chart, the evidence and the numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from railwatch.cli import _common
from railwatch.cli._common import AoiOption, ConfigOption, JsonOption, StoreOption

if TYPE_CHECKING:
    from aoi import AreaOfInterest

DEFAULT_STORE = "railwatch-store"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(report)


def report(
    out: Annotated[Path, typer.Option("--out", metavar="FILE.html", help="The file to write or replace.")],
    store: StoreOption = None,
    aoi: AoiOption = None,
    config: ConfigOption = None,
    events: Annotated[
        Path | None,
        typer.Option(
            "--events", metavar="CSV", help="What happened when, for the chart: columns date and label."
        ),
    ] = None,
    seeds: Annotated[
        bool | None,
        typer.Option(
            "--seeds/--no-seeds",
            help="Whether to take the published counts into the history; by default what the settings say.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write [bold]one HTML file[/bold] with verdict, chart, pictures and numbers, complete in itself.

    It loads nothing and sends nothing: mail it, or put it on a USB stick. SOURCE_DATE_EPOCH fixes the time
    that it gives as that of its making; all else depends on the store alone.
    """
    from railwatch.chart.events import read_events
    from railwatch.config import load_config
    from railwatch.report import write_report
    from railwatch.store import Store

    if out.suffix.lower() not in (".html", ".htm"):
        _common.fail(f"{out}: a report is an HTML file, so its name ends in .html")
    settings = load_config(config)
    area = _area(aoi or settings.aoi)
    happened = read_events(events) if events is not None else []
    kept = Store.open(store or settings.store or DEFAULT_STORE, create=False)
    with _common.progress("pictures") as progress:
        written = write_report(
            kept,
            out,
            aoi=aoi if area is None else area.name,
            areas=() if area is None else (area,),
            config=settings,
            events=happened,
            use_published=seeds,
            progress=progress,
        )
    if as_json:
        _common.emit_json(written.to_json())
        return
    for warning in written.warnings:
        _common.say(f"note: {warning}")
    observations = "observation" if written.observations == 1 else "observations"
    _common.say(
        f"{written.observations} {observations}, {written.pictures} with pictures, "
        f"{written.size_bytes / 1e6:.1f} MB; report: {written.path}"
    )


def _area(name_or_file: str | None) -> AreaOfInterest | None:
    """Return the area that is meant, or None for the name of an area that only the store knows."""
    from aoi import area_names, load_area

    if name_or_file is None:
        return None
    if name_or_file in area_names() or Path(name_or_file).is_file() or Path(name_or_file).suffix:
        return load_area(name_or_file)
    return None
