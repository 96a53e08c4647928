"""The commands on the history of a place: `railwatch compare`, `calibrate` and `claims`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from railwatch import words
from railwatch.cli import _common, _tables
from railwatch.cli._options import (
    AoiOption,
    AssumptionsOption,
    ClaimsOption,
    ConfigOption,
    JsonOption,
    SeedsOnlyOption,
    SeedsOption,
    StoreOption,
    history_of,
)

if TYPE_CHECKING:
    from railwatch.history import Verdict
    from railwatch.history.matchups import Matchup
    from railwatch.pages.claims import MedianInterval


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


def calibrate(
    store: StoreOption = None,
    aoi: AoiOption = None,
    seeds: SeedsOption = True,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Draw the pairs of each two methods into this folder."),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the line between [bold]two counting methods[/bold] at a place, from observations of the same days.

    Verdicts put both methods on one scale by it. With too few pairs, or pairs that leave it open, there is
    no line: then the methods meet with the systematic error of each added.
    """
    settings, sources = history_of(store, aoi, config, seeds=seeds)
    chosen = settings.baseline.verdict_settings()
    found = sources.matchups()
    pictures = {} if out is None else _draw(out, found, sources.titles, settings.chart.dpi)
    if as_json:
        rule = {"days": chosen.calibration_days, "pairs": chosen.calibration_pairs}
        calibrations = [
            {"aoi": name, **one.to_json(), "picture": pictures.get((name, one.method, one.reference))}
            for name, one in found
        ]
        _common.emit_json({"calibrations": calibrations, "wanted": rule, "notes": list(sources.notes)})
        return
    _common.notes(sources.notes)
    if not found:
        _common.say("No place has counts of two methods, so there is nothing to calibrate.")
        return
    _tables.table(
        ("place", "method", "against", "pairs", "line", "scatter"), (_matchup_row(*one) for one in found)
    )
    for name, one in found:
        if one.line is None:
            _common.say(f"{name}: no line from {one.method} to {one.reference}: {one.reason}.")
    for path in pictures.values():
        _common.say(f"picture: {path}")


def _matchup_row(name: str, matchup: Matchup) -> tuple[object, ...]:
    line = matchup.line
    return (
        name,
        matchup.method,
        matchup.reference,
        len(matchup.pairs),
        "none" if line is None else f"{line.gain:.2f} (sd {line.gain_sd:.2f}) x + {line.offset:.1f}",
        None if line is None else f"{line.scatter_cars:.1f} cars",
    )


def _draw(
    folder: Path, found: list[tuple[str, Matchup]], titles: dict[str, str], dpi: int
) -> dict[tuple[str, str, str], Path]:
    from railwatch.pages.charts.matchups import draw_matchup
    from railwatch.pages.charts.style import PageStyle, write_chart
    from railwatch.store.observation import slug

    style = PageStyle(width_mm=110.0, dpi=dpi)
    pictures = {}
    for name, one in found:
        if one.pairs:
            path = folder / f"{slug(name)}-{one.method}-{one.reference}.png"
            title = titles.get(name, name)
            pictures[name, one.method, one.reference] = write_chart(
                draw_matchup(title, one, style), path, style, title=title
            )
    return pictures


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
    from aoi.files import write_bytes
    from railwatch.history.sources import read_sources
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
        write_bytes(out, page.markdown().encode())
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
