"""`railwatch chart`: the history of a place as a picture."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from railwatch.cli import _common
from railwatch.cli._options import (
    AoiOption,
    ConfigOption,
    DayOption,
    EventsOption,
    JsonOption,
    SeedsOnlyOption,
    SeedsOption,
    StoreOption,
    history_of,
)
from railwatch.pages.charts import ChartKind

SvgText = Literal["path", "text"]


def chart(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to: a .png, .svg or .pdf file.")],
    store: StoreOption = None,
    aoi: AoiOption = None,
    kind: Annotated[
        ChartKind,
        typer.Option(
            "--kind",
            help="series: counts over time; zones: the same by zone; calendar: what was seen when; "
            "tracks: which stretches of track were occupied; types: which types of cars stood there.",
        ),
    ] = "series",
    date: DayOption = None,
    events: EventsOption = None,
    seeds: SeedsOption = True,
    seeds_only: SeedsOnlyOption = False,
    since: Annotated[
        datetime | None,
        typer.Option("--since", metavar="YYYY-MM-DD", formats=["%Y-%m-%d"], help="First day to draw."),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option("--until", metavar="YYYY-MM-DD", formats=["%Y-%m-%d"], help="Last day to draw."),
    ] = None,
    line_days: Annotated[
        float, typer.Option("--line-days", metavar="DAYS", min=0, help="No line is drawn over a longer gap.")
    ] = 21.0,
    width_mm: Annotated[
        float, typer.Option("--width", metavar="MM", min=80, max=1000, help="Width of the page's text.")
    ] = 170.0,
    svg_text: Annotated[
        SvgText,
        typer.Option("--svg-text", help="Letters in an SVG as shapes, or as text that needs the font."),
    ] = "path",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw the history of a place as [bold]PNG, SVG or PDF[/bold], for print and for colour-blind readers."""
    from railwatch.history.history import read_events
    from railwatch.pages.charts.draw import draw_chart
    from railwatch.pages.charts.style import PageStyle, format_of, write_chart

    format_of(out)
    first, last = (None if one is None else one.date() for one in (since, until))
    if first is not None and last is not None and first >= last:
        _common.fail(f"--since {first} isn't before --until {last}")
    settings, sources = history_of(store, aoi, config, seeds=seeds, seeds_only=seeds_only)
    style = PageStyle(width_mm=width_mm, dpi=settings.chart.dpi, svg_text=svg_text)
    drawn = draw_chart(
        sources,
        kind,
        style,
        events=read_events(events) if events is not None else (),
        since=first,
        until=last,
        show_published=seeds_only or settings.chart.show_published,
        gap_days=line_days,
        day=None if date is None else date.date(),
    )
    write_chart(drawn.figure, out, style, title=drawn.history.title)
    if as_json:
        _common.emit_json(
            {
                "out": out,
                "kind": kind,
                "aoi": drawn.aoi,
                "observations": len(drawn.history.shown()),
                "notes": drawn.notes,
            }
        )
    else:
        _common.notes(drawn.notes)
        _common.say(f"{kind} of {drawn.aoi} written to {out}")
