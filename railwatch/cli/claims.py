"""`railwatch claims`: what public claims would take in wagons."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from railwatch.cli import _common, _tables
from railwatch.cli._options import (
    AoiOption,
    AssumptionsOption,
    ClaimsOption,
    ConfigOption,
    JsonOption,
    StoreOption,
)

if TYPE_CHECKING:
    from railwatch.pages.claims import MedianInterval


def claims(
    store: StoreOption = None,
    aoi: AoiOption = None,
    assumptions: AssumptionsOption = None,
    table: ClaimsOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.md", help="Write the whole page, as Markdown.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what public claims would take [bold]in wagons[/bold], beside what the counts could have passed.

    Without a store the published counts of the area are taken. Arithmetic on assumptions, never a proof.
    """
    from aoi.errors import InputError
    from railwatch.history.sources import read_sources
    from railwatch.pages import write_page
    from railwatch.pages.claims import claims_page, load_assumptions
    from railwatch.store.areas import choose_settings
    from seeds import load_claims

    given = choose_settings(config, store=store, aoi=aoi)
    settings = given.config
    name = settings.aoi or (next(iter(given.kept)) if len(given.kept) == 1 else None)
    if name is None:
        _common.fail("whose counts? Give --aoi NAME_OR_FILE")
    chosen, rows = load_assumptions(assumptions), load_claims(table)
    folder = None if settings.store is None else Path(settings.store)
    sources = read_sources(folder, name, seeds_only=folder is None, chosen=given)
    page = claims_page(
        sources.titles[sources.names[0]],
        sources.observations,
        sources.published,
        rows,
        chosen,
        settings=sources.settings_of(sources.names[0]),
    )
    if out is not None:
        write_page(out, page.markdown().encode(), InputError)
    if as_json:
        _common.emit_json(page.to_json() | {"out": out, "notes": list(sources.notes)})
        return
    _common.notes(sources.notes)
    _tables.table(
        ("said on", "by", "claim", "wagons", "wagons a month", "needed / possible", "route", "counts"),
        (
            (
                one.published,
                one.made_by,
                one.quantity,
                one.wagons.text,
                _text(one.wagons_per_month),
                _text(one.ratio),
                one.route.replace("_", " "),
                one.finding,
            )
            for one in page.assessments
        ),
    )
    _common.say("90% intervals. Claims contain one another and must not be added up. " + page.disclaimer)
    _common.say(f"The page: {out}" if out is not None else "--out FILE.md writes the page with its reasons.")


def _text(interval: MedianInterval | None) -> str | None:
    return None if interval is None else interval.text
