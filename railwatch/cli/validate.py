"""`railwatch validate`: the detectors held to their thresholds on the bundled samples."""

from __future__ import annotations

from railwatch.cli import _common, _tables
from railwatch.cli._options import DeviceOption, JsonOption, WeightsOption


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
