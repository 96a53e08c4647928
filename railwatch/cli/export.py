"""`railwatch export`: observations or boxes as a flat table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from railwatch.cli import _common
from railwatch.cli._options import JsonOption, StoreOption
from railwatch.pages import FORMATS, Format, What
from railwatch.store import DEFAULT_STORE


def export(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The file to write or replace.")],
    store: StoreOption = None,
    format: Annotated[
        Format | None,
        typer.Option("--format", help="Its format; by default the one that its name's ending tells."),
    ] = None,
    aoi: Annotated[
        str | None, typer.Option("--aoi", metavar="NAME", help="Only the observations of this area.")
    ] = None,
    what: Annotated[
        What, typer.Option("--what", help="The table to write; a GeoPackage and an XLSX file get both.")
    ] = "observations",
    locale: Annotated[
        str | None,
        typer.Option(
            "--locale",
            metavar="LANGUAGE",
            help="CSV for spreadsheets of a language, such as de or fr_CA: decimal commas where it has them.",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images", metavar="DIR", help="Write the evidence pictures as GeoTIFFs, to lay under the boxes."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the observations of a store, or the boxes behind them, as [bold]one flat table[/bold].

    With verdicts, by the settings that the store keeps. In QGIS a GeoPackage has its styles, and the time
    slider (temporal controller) steps through its dates.
    """
    known = {ending: name for name, endings in FORMATS.items() for ending in endings}
    chosen = format or known.get(out.suffix.lower())
    if chosen is None:
        _common.fail(f"{out}: its ending tells no format; use one of {', '.join(known)}")
    if locale is not None and chosen != "csv":
        _common.fail(f"--locale is for CSV: a {chosen} file has numbers that no language changes")
    from railwatch.store.store import Store

    opened = Store.open(store or DEFAULT_STORE, create=False)
    from railwatch.pages import export as exporting

    with _common.progress("writing") as report:
        report(0, 1)
        rows = exporting.export(opened, out, chosen, aoi=aoi, what=what, locale=locale)
        pictures = [] if images is None else exporting.export_images(opened, images, aoi=aoi)
    if as_json:
        _common.emit_json({"out": out, "format": chosen, "rows": rows, "images": pictures})
    else:
        noun = what if rows != 1 else what.removesuffix("s")
        _common.say(f"{rows} {noun} written to {out}")
        if images is not None:
            noun = "picture" if len(pictures) == 1 else "pictures"
            _common.say(f"{len(pictures)} {noun} written to {images}")
