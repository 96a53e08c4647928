"""The commands that write what people read: `railwatch chart`, `report`, `overview` and `compare-images`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from railwatch.cli import _common, _tables
from railwatch.cli._options import (
    AoiOption,
    AssumptionsOption,
    ClaimsOption,
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


def report(
    out: Annotated[Path, typer.Option("--out", metavar="FILE.html", help="The file to write or replace.")],
    store: StoreOption = None,
    aoi: AoiOption = None,
    config: ConfigOption = None,
    date: DayOption = None,
    events: EventsOption = None,
    claims: ClaimsOption = None,
    assumptions: AssumptionsOption = None,
    seeds: SeedsOption = True,
    seeds_only: SeedsOnlyOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write [bold]one HTML file[/bold] with verdict, chart, pictures and numbers, complete in itself.

    It loads nothing and sends nothing: mail it, or put it on a USB stick. SOURCE_DATE_EPOCH fixes the time
    that it gives as that of its making; all else depends on the store alone.
    """
    from railwatch.history.history import read_events
    from railwatch.pages.claims import load_assumptions
    from railwatch.pages.report import write_report
    from seeds import load_claims

    if out.suffix.lower() not in (".html", ".htm"):
        _common.fail(f"{out}: a report is an HTML file, so its name ends in .html")
    happened = read_events(events) if events is not None else []
    claimed = load_claims(claims) if claims is not None else None
    assumed = load_assumptions(assumptions) if assumptions is not None else None
    settings, sources = history_of(store, aoi, config, seeds=seeds, seeds_only=seeds_only)
    if date is not None:
        sources.verdicts_on(date.date())
    with _common.progress("pictures") as progress:
        written = write_report(
            sources,
            out,
            config=settings,
            events=happened,
            claims=claimed,
            assumptions=assumed,
            day=None if date is None else date.date(),
            progress=progress,
        )
    if as_json:
        _common.emit_json(written.to_json() | {"notes": list(sources.notes)})
        return
    _common.notes(sources.notes)
    for warning in written.warnings:
        _common.tell(f"note: {warning}")
    _common.say(
        f"{written.observations} {'observation' if written.observations == 1 else 'observations'}, "
        f"{written.pictures} with pictures, {written.size_bytes / 1e6:.1f} MB; report: {written.path}"
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
        write_overview(yards, out)
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


def compare_images(
    before: Annotated[
        datetime, typer.Argument(metavar="BEFORE", formats=["%Y-%m-%d"], help="The earlier day.")
    ],
    after: Annotated[datetime, typer.Argument(metavar="AFTER", formats=["%Y-%m-%d"], help="The later day.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.png", help="The file to write or replace.")],
    store: StoreOption = None,
    aoi: AoiOption = None,
    outlines: Annotated[
        bool, typer.Option("--outlines/--no-outlines", help="Outline what was counted.")
    ] = True,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write two dates on the [bold]same ground at the same scale[/bold], with counts and credits, as PNG."""
    from aoi.errors import InputError
    from railwatch.pages import write_page
    from railwatch.pages.pictures.before_after import before_after

    if out.suffix.lower() != ".png":
        _common.fail(f"{out}: two dates are written as a PNG file, so its name ends in .png")
    _, sources = history_of(store, aoi, config)
    if len(sources.names) != 1 or sources.store is None:
        listed = ", ".join(sources.names) or "none yet"
        _common.fail(f"two dates of one area are compared; choose it with --aoi (the store has {listed})")
    chosen = []
    for day in (before.date(), after.date()):
        own = [one for one in sources.verdicts_on(day) if one.record.method != "published"]
        if not own:
            _common.fail(f"{day} has a published count but no image in the store {sources.store.path}")
        chosen.append(own[0])
    content = before_after(sources.store, chosen[0], chosen[1], outlines=outlines)
    write_page(out, content, InputError)
    if as_json:
        _common.emit_json({"out": out, "verdicts": [one.to_json() for one in chosen]})
        return
    for one in chosen:
        _common.tell(one.sentence)
    _common.say(f"both on one picture: {out}")
