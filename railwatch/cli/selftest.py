"""The commands on the bundled samples: `railwatch demo` and `railwatch validate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from railwatch.cli import _common, _tables
from railwatch.cli._options import DeviceOption, JsonOption, WeightsOption


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


def validate(
    weights: WeightsOption = None, device: DeviceOption = "auto", as_json: JsonOption = False
) -> None:
    """Run both detectors on the bundled samples; [bold]exit with 1[/bold] if one falls short of a threshold.

    The wagon detector on fine images, and the occupancy estimator on Sentinel-2 products.
    """
    from detector.occupancy.estimator import OccupancyEstimator
    from detector.wagons.detector import WagonDetector
    from railwatch.selftest.samples import bundled, bundled_products
    from railwatch.selftest.validate import validate as run_validation
    from railwatch.selftest.validate import validate_occupancy

    detector = WagonDetector.load(weights, device)
    with bundled() as samples, _common.progress("tiles") as progress:
        done = run_validation(samples, detector, progress)
    estimator = OccupancyEstimator.load(device=device)
    with bundled_products() as products, _common.progress("dates") as progress:
        ten_metres = validate_occupancy(products, estimator, progress)
    if as_json:
        both = {"passed": done.passed and ten_metres.passed, "sentinel2": ten_metres.to_json()}
        _common.emit_json(done.to_json() | both)
    else:
        _tables.table(
            ("tile", "truly there", "counted", "90% interval", "vehicles", "boxes", "hits"),
            (
                (
                    tile.datetime[:10],
                    tile.truth,
                    tile.count,
                    f"{tile.count_low} to {tile.count_high}",
                    tile.vehicles,
                    tile.boxes,
                    tile.hits,
                )
                for tile in done.tiles
            ),
            title=f"{done.model} on the sample tiles",
        )
        _tables.table(
            ("date", "sky", "truly there", "estimated", "90% interval", "verdict"),
            (
                (
                    date.datetime[:10],
                    date.sky,
                    date.truth,
                    None if date.count is None else round(date.count),
                    None if date.count_low is None else f"{date.count_low:.0f} to {date.count_high:.0f}",
                    date.verdict,
                )
                for date in ten_metres.dates
            ),
            title=f"{ten_metres.model} on the Sentinel-2 samples",
        )
        _tables.table(
            ("figure", "value", "wanted", ""),
            (
                (one.name, one.value, one.wanted, "passed" if one.passed else "FAILED")
                for one in (*done.measures, *ten_metres.measures)
            ),
        )
    if not (done.passed and ten_metres.passed):
        _common.below_threshold()
