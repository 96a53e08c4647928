"""`railwatch chart`: a place's history as a picture for a page."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from railwatch.cli import _common
from railwatch.cli._common import AoiOption, ConfigOption, JsonOption, StoreOption

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from railwatch.history.sources import Sources
    from railwatch.pages.charts import History, PageStyle

Kind = Literal["series", "zones", "calendar", "tracks"]
SvgText = Literal["path", "text"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(chart)


def chart(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to: a .png, .svg or .pdf file.")],
    store: StoreOption = None,
    aoi: AoiOption = None,
    kind: Annotated[
        Kind,
        typer.Option(
            "--kind",
            help="series: counts over time; zones: the same by zone; calendar: what was seen when; "
            "tracks: which stretches of track were occupied.",
        ),
    ] = "series",
    events: Annotated[
        Path | None,
        typer.Option("--events", metavar="CSV", help="Events to mark: columns date and label."),
    ] = None,
    seeds: Annotated[bool, typer.Option("--seeds/--no-seeds", help="Draw the published counts too.")] = True,
    seeds_only: Annotated[
        bool, typer.Option("--seeds-only", help="Draw the published counts alone, without a store.")
    ] = False,
    since: Annotated[
        datetime | None,
        typer.Option("--since", metavar="YYYY-MM-DD", formats=["%Y-%m-%d"], help="First day to draw."),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option("--until", metavar="YYYY-MM-DD", formats=["%Y-%m-%d"], help="Last day to draw."),
    ] = None,
    line_days: Annotated[
        float,
        typer.Option("--line-days", metavar="DAYS", min=0, help="No line is drawn over a longer gap."),
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
    from railwatch.config import load_config
    from railwatch.history.sources import read_sources
    from railwatch.pages.charts import History, PageStyle, format_of, read_events, write_chart

    format_of(out)
    first, last = (None if one is None else one.date() for one in (since, until))
    if first is not None and last is not None and first >= last:
        _common.fail(f"--since {first} isn't before --until {last}")
    settings = load_config(config).override(aoi=aoi, store=store)
    sources = read_sources(
        Path(settings.store) if settings.store else None,
        settings.aoi,
        seeds_only=seeds_only,
        with_seeds=seeds and settings.chart.show_published,
    )
    if len(sources.names) != 1:
        listed = ", ".join(sources.names) or "none yet"
        _common.fail(f"a chart is about one area; choose it with --aoi (the store has {listed})")
    name = sources.names[0]
    chosen = settings.baseline.verdict_settings()
    history = History.gather(
        sources.titles[name],
        sources.observations,
        sources.published,
        sources.verdicts(chosen) if kind == "series" else (),
        events=read_events(events) if events is not None else (),
        since=first,
        until=last,
        settings=chosen,
    )
    style = PageStyle(width_mm=width_mm, dpi=settings.chart.dpi, svg_text=svg_text)
    figure = _draw(kind, history, sources, style, line_days)
    write_chart(figure, out, style, title=history.title)
    if as_json:
        _common.emit_json({"out": out, "kind": kind, "aoi": name, "observations": len(history.shown())})
    else:
        _common.say(f"{kind} of {name} written to {out}")


def _draw(kind: Kind, history: History, sources: Sources, style: PageStyle, line_days: float) -> Figure:
    from railwatch.pages import charts as charts

    area = sources.areas.get(sources.names[0])
    if kind == "calendar":
        return charts.draw_calendar(history, style)
    if kind == "zones":
        titles = {zone.id: zone.title for zone in area.zones} if area is not None and area.zones else None
        return charts.draw_zones(history, titles, style, gap_days=line_days)
    if kind == "tracks":
        if area is None:
            _common.fail(
                f"the tracks of {sources.names[0]} aren't known here: give its area file with --aoi FILE"
            )
        looks = charts.track_looks(area, history, sources.store)
        return charts.draw_tracks(history.title, charts.track_lengths(area), looks, history.credits(), style)
    return charts.draw_series(history, style, gap_days=line_days)
