"""`railwatch demo`: the main job on the bundled samples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from railwatch.cli import _common, _tables
from railwatch.cli._options import DeviceOption, JsonOption


def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for what it makes.")] = Path(
        "demo"
    ),
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Count, store, compare and draw [bold]the bundled samples[/bold]: fine images and Sentinel-2."""
    from railwatch.config import RunConfig
    from railwatch.selftest.demo import demo as run_demo
    from railwatch.selftest.samples import bundled, bundled_products
    from railwatch.selftest.validate import estimates, run_on

    config = RunConfig().override(detector__device=device)
    with bundled() as samples, _common.progress("tiles") as progress:
        done = run_demo(samples, out, config, progress=progress)
    with bundled_products() as products, _common.progress("dates") as progress:
        coarse = run_on(products, out / "sentinel2" / "store", progress=progress)
        dates = estimates(products, coarse)
    if as_json:
        given = coarse.to_json() | {"truth": [date.truth for date in dates]}
        _common.emit_json(done.to_json() | {"sentinel2": given})
        return
    rows = [
        (
            f"{one.datetime:%Y-%m-%d}",
            truth,
            None if one.count is None else int(one.count),
            None if one.count_low is None else f"{one.count_low:.0f} to {one.count_high:.0f}",
            one.reason or "",
        )
        for one, truth in zip(done.result.observations, done.truth, strict=True)
    ]
    _tables.table(("date", "truly there", "counted", "90% interval", ""), rows, title=samples.title)
    _tables.table(
        ("date", "truly there", "estimated", "90% interval", ""),
        (
            (
                date.datetime[:10],
                date.truth,
                None if date.count is None else round(date.count),
                None if date.count_low is None else f"{date.count_low:.0f} to {date.count_high:.0f}",
                date.reason or "",
            )
            for date in dates
        ),
        title=products.title,
    )
    for verdict in (*done.result.verdicts, *coarse.verdicts):
        if verdict.verdict in ("unprecedented", "elevated", "low"):
            _common.tell(verdict.sentence)
    _common.say()
    for name, result in (("fine images", done.result), ("Sentinel-2", coarse)):
        _common.say(f"{name}:")
        for chart in result.charts:
            _common.say(f"chart:     {chart}")
        _common.say(f"report:    {result.report}")
    _common.say(f"pictures:  {out / 'pictures'}")
    _common.say(f"store:     {done.result.store}")
    _common.say(f"store:     {coarse.store}")
