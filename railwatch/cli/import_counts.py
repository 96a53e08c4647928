"""`railwatch import`: a person's own counts out of a spreadsheet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from railwatch.cli import _common
from railwatch.cli._options import AoiOption, JsonOption, StoreOption


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
