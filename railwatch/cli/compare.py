"""`railwatch compare`: counts against the history of their place."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from railwatch import words
from railwatch.cli import _common, _tables
from railwatch.cli._common import AoiOption, ConfigOption, JsonOption, StoreOption

if TYPE_CHECKING:
    from railwatch.history import Verdict, VerdictSettings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(compare)


def compare(
    store: StoreOption = None,
    aoi: AoiOption = None,
    seeds_only: Annotated[
        bool, typer.Option("--seeds-only", help="Judge the published counts, without a store.")
    ] = False,
    seeds: Annotated[
        bool, typer.Option("--seeds/--no-seeds", help="Take the published counts into the history.")
    ] = True,
    date: Annotated[
        datetime | None,
        typer.Option(
            "--date", metavar="YYYY-MM-DD", formats=["%Y-%m-%d"], help="Only the verdict on this day."
        ),
    ] = None,
    lookback_years: Annotated[
        float | None,
        typer.Option("--lookback-years", metavar="YEARS", help="Length of the look-back window; 5."),
    ] = None,
    gap_days: Annotated[
        float | None,
        typer.Option(
            "--gap-days", metavar="DAYS", help="Days between the window's end and the date judged; 30."
        ),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say for each date whether its count is [bold]unprecedented, elevated, typical or low[/bold].

    Each count is set against a look-back window that ends some days before it. The rule behind the words
    is written in docs/verdicts.md; --json gives all its figures.
    """
    from railwatch.history.combined import COLUMNS, filtered
    from railwatch.history.sources import read_sources
    from railwatch.store.areas import choose_settings
    from railwatch.store.observation import current

    given = choose_settings(
        config,
        store=None if seeds_only else _common.history_of(store, config),
        aoi=aoi,
        baseline__lookback_years=lookback_years,
        baseline__gap_days=gap_days,
        baseline__use_published=None if seeds else False,
    )
    settings = given.config
    folder = Path(settings.store) if settings.store else None
    sources = read_sources(folder, settings.aoi, seeds_only=seeds_only, chosen=given)
    chosen = settings.baseline.verdict_settings()
    verdicts = sources.verdicts() if date is None else sources.verdicts_on(date.date())
    calibrations = sources.calibrations()
    if as_json:
        combined = filtered(current(sources.observations, reviewed=True), chosen)
        nothing = dict.fromkeys(COLUMNS)
        _common.emit_json(
            {
                "verdicts": [
                    one.to_json()
                    | (combined[one.record.id].columns() if one.record.id in combined else nothing)
                    for one in verdicts
                ],
                "calibrations": calibrations,
                "settings": _window(chosen),
                "notes": list(sources.notes),
            }
        )
        return
    if not verdicts:
        _common.say("There is nothing to compare yet.")
        return
    several = len({one.aoi for one in verdicts}) > 1
    named = ("place",) if several else ()
    _tables.table(
        ("date", *named, "cars", "verdict", "most before", "record", "by chance", "images"),
        (_row(one, several) for one in verdicts),
    )
    for one in verdicts:
        _common.tell(one.sentence)
    _common.notes(sources.notes)
    for line in calibrations:
        equation = f"{line['gain']:.2f} x {line['reference']} + {line['offset']:.1f}"
        _common.say(f"{line['aoi']}: {line['method']} = {equation}, from {line['pairs']} pairs of images.")


def _row(verdict: Verdict, several: bool) -> tuple[object, ...]:
    """Return a line of the table, which fits 80 columns where there is one place."""
    bound = {"at least": "\u2265 ", "at most": "\u2264 "}.get(verdict.record.kind, "")
    maximum = verdict.maximum
    ceiling = "\u2264 " if maximum is not None and maximum.kind == "ceiling" else ""
    return (
        verdict.record.day,
        *((verdict.aoi,) if several else ()),
        None if verdict.count is None else f"{bound}{words.number(verdict.count)}",
        verdict.label.replace(" (", "\n("),
        None if maximum is None else f"{ceiling}{words.number(maximum.value)}",
        _chance(verdict.probability_record),
        _chance(verdict.probability_exceedance),
        verdict.coverage.observations,
    )


def _chance(probability: float | None) -> str | None:
    if probability is None:
        return None
    return words.percent(probability).replace("under", "<").replace("over", ">")


def _window(settings: VerdictSettings) -> dict[str, float | date | None]:
    return {
        "lookback_years": settings.lookback_years,
        "gap_days": settings.gap_days,
        "not_before": settings.not_before,
        "min_looks": settings.min_looks,
    }
