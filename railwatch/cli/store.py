"""The commands on a store itself: `railwatch store check`, `export`, and `import` of a person's counts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from railwatch.cli import _common
from railwatch.cli._options import AoiOption, JsonOption, StoreOption
from railwatch.pages import FORMATS, Format, What
from railwatch.store import DEFAULT_STORE

app = typer.Typer(no_args_is_help=True, help="Look after the folder that holds the observations.")


@app.command()
def check(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="The folder that holds the observations.")],
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Set what is damaged aside (nothing is deleted), remove what killed writers left, and make "
            "the index anew.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Read every item, box, picture and chip of a store and [bold]list what is damaged[/bold].

    Exit code 1 tells that something damaged is still in its place.
    """
    from railwatch.store.check import check_store

    found = check_store(store, repair=repair)
    if as_json:
        _common.emit_json(found.to_json())
    else:
        for one in found.faults:
            aside = "" if one.aside is None else f"; set aside as {one.aside.name}"
            _common.say(f"damaged: {one.path}: {one.reason}{aside}")
        for path in found.swept:
            _common.say(f"removed: {path}")
        nouns = (
            f"{found.items} observation{'s' * (found.items != 1)}",
            f"{found.chips} chip{'s' * (found.chips != 1)}",
        )
        _common.say(f"{' and '.join(nouns)} are as they were written; {len(found.faults)} damaged")
    if not found.sound:
        _common.below_threshold()


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


def import_counts(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A CSV or XLSX table with the columns date and count.")
    ],
    store: StoreOption = None,
    aoi: AoiOption = None,
    reviewer: Annotated[
        str | None,
        typer.Option(
            "--reviewer",
            metavar="NAME",
            envvar="RAILWATCH_REVIEWER",
            help="Who counted, if no column says it.",
        ),
    ] = None,
    date_format: Annotated[
        str | None,
        typer.Option("--date-format", metavar="FORMAT", help="How its dates are written, such as %d/%m/%Y."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Take [bold]a person's own counts[/bold] from a spreadsheet into the history of a place.

    Columns date and count; also low, high, note, reviewer, sensor, file, clear_fraction, zone_ID. A count may
    be 20+ (at least) or ~20. Where the store has a machine's count of that day, the person's takes its place
    in charts and verdicts; the machine's stays beside it.
    """
    if not file.exists():
        # Said before anything heavy is imported.
        _common.fail(f"{file}: can't be read (there is no such file)")
    from railwatch import api

    result = api.import_counts(file, store=store, aoi=aoi, reviewer=reviewer, date_format=date_format)
    if as_json:
        _common.emit_json(result.to_json())
    if not result.observations:
        reasons = "; ".join(f"line {one.line}: {one.reason}" for one in result.skipped[:3])
        _common.fail(f"{file}: no row could be taken: {reasons}")
    if as_json:
        return
    for row in result.skipped:
        _common.tell(f"skipped line {row.line}: {row.reason}")
    known = len(result.observations) - len(result.new)
    stand = f"{len(result.reviews)} of them in the machine's place" if result.reviews else ""
    _common.say(
        f"{len(result.new)} new, {known} known already, {len(result.skipped)} skipped"
        f"{'; ' if stand else ''}{stand}"
    )
