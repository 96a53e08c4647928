"""`railwatch export`: the store for QGIS, pandas and spreadsheets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from railwatch.cli import _common
from railwatch.cli._common import JsonOption

Format = Literal["gpkg", "geoparquet", "csv"]
What = Literal["observations", "detections"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(export)


def export(
    store: Annotated[
        Path, typer.Option("--store", metavar="DIR", help="The folder that holds the observations.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The file to write or replace.")],
    format: Annotated[
        Format | None,
        typer.Option("--format", help="Its format; by default the one that its name's ending tells."),
    ] = None,
    aoi: Annotated[
        str | None, typer.Option("--aoi", metavar="NAME", help="Only the observations of this area.")
    ] = None,
    what: Annotated[
        What, typer.Option("--what", help="The table to write; a GeoPackage gets both, as layers.")
    ] = "observations",
    as_json: JsonOption = False,
) -> None:
    """Write the observations of a store, or the boxes behind them, as [bold]one flat table[/bold]."""
    from railwatch.pages import export as exporting
    from railwatch.store.store import Store

    known = {ending: name for name, endings in exporting.FORMATS.items() for ending in endings}
    chosen = format or known.get(out.suffix.lower())
    if chosen is None:
        _common.fail(f"{out}: its ending tells no format; use one of {', '.join(known)}")
    rows = exporting.export(Store.open(store, create=False), out, chosen, aoi=aoi, what=what)
    if as_json:
        _common.emit_json({"out": out, "format": chosen, "rows": rows})
    else:
        noun = what if rows != 1 else what.removesuffix("s")
        _common.say(f"{rows} {noun} written to {out}")
