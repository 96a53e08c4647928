"""`railwatch calibrate`: the line between two counting methods at a place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from railwatch.cli import _common, _tables
from railwatch.cli._options import (
    AoiOption,
    ConfigOption,
    JsonOption,
    SeedsOption,
    StoreOption,
    history_of,
)

if TYPE_CHECKING:
    from railwatch.history.matchups import Matchup


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
