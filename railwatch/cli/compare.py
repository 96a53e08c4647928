"""`railwatch compare`: the verdicts."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from railwatch import words
from railwatch.cli import _common, _tables
from railwatch.cli._options import (
    AoiOption,
    ConfigOption,
    JsonOption,
    SeedsOnlyOption,
    SeedsOption,
    StoreOption,
    history_of,
)

if TYPE_CHECKING:
    from railwatch.history import Verdict

_WINDOW = ("lookback_years", "gap_days", "not_before", "min_looks")


def compare(
    store: StoreOption = None,
    aoi: AoiOption = None,
    seeds_only: SeedsOnlyOption = False,
    seeds: SeedsOption = True,
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
    from railwatch.store.observation import current

    settings, sources = history_of(
        store,
        aoi,
        config,
        seeds=seeds,
        seeds_only=seeds_only,
        baseline__lookback_years=lookback_years,
        baseline__gap_days=gap_days,
    )
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
                "settings": {name: getattr(chosen, name) for name in _WINDOW},
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
        None if maximum is None else f"{ceiling}{words.number(maximum.cars)}",
        _chance(verdict.probability_record),
        _chance(verdict.probability_exceedance),
        verdict.coverage.observations,
    )


def _chance(probability: float | None) -> str | None:
    if probability is None:
        return None
    return words.percent(probability).replace("under", "<").replace("over", ">")
