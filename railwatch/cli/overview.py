"""`railwatch overview`: many yards on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from railwatch.cli import _common, _tables
from railwatch.cli._options import (
    ConfigOption,
    JsonOption,
)


def overview(
    stores: Annotated[
        list[str], typer.Option("--stores", "--store", metavar="DIR_OR_URL", help="A store; may be repeated.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The page (.html) to write or replace.")
    ] = None,
    days: Annotated[
        int, typer.Option("--days", min=1, help="Sort yards by their foremost verdict of so many days.")
    ] = 90,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="DATE", help="Count the days back from here, not from today."),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put many yards on [bold]one page[/bold], the most remarkable first, with small charts and links."""
    from railwatch.config import load_config
    from railwatch.fetch.plan import parse_time
    from railwatch.pages.overview import gather_yards, write_overview

    # Each yard is judged as its own store says, unless other settings are asked for.
    settings = None if config is None else load_config(config).baseline.verdict_settings()
    last = None if until is None else parse_time(until, end=True)
    yards = gather_yards(stores, days=days, until=last, settings=settings)
    if out is not None:
        write_overview(yards, out, days=days, until=last)
    if as_json:
        _common.emit_json({"yards": [one.to_json() for one in yards], "out": out})
        return
    rows = [
        (
            one.title,
            "no observation" if (judged := one.foremost or one.latest) is None else judged.verdict,
            None if judged is None else f"{judged.datetime:%Y-%m-%d}",
            None if judged is None or judged.count is None else round(judged.count),
            one.observations,
        )
        for one in yards
    ]
    _tables.table(("place", "verdict", "date", "freight cars", "observations"), rows)
    if out is not None:
        _common.say(f"overview: {out}")
