"""`railwatch validate`: the detector held to the sample tiles' thresholds."""

from __future__ import annotations

import typer

from railwatch.cli import _common
from railwatch.cli._common import DeviceOption, JsonOption, WeightsOption


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(validate)


def validate(
    weights: WeightsOption = None, device: DeviceOption = "auto", as_json: JsonOption = False
) -> None:
    """Run the detector on the sample tiles; [bold]exit with 1[/bold] if it falls short of a threshold."""
    from detector import WagonDetector
    from railwatch.selftest.samples import bundled
    from railwatch.selftest.validate import validate as run_validation

    detector = WagonDetector.load(weights, device)
    with bundled() as samples, _common.progress("tiles") as progress:
        done = run_validation(samples, detector, progress)
    if as_json:
        _common.emit_json(done.to_json())
    else:
        _common.table(
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
        _common.table(
            ("figure", "value", "wanted", ""),
            (
                (one.name, one.value, one.wanted, "passed" if one.passed else "FAILED")
                for one in done.measures
            ),
        )
    if not done.passed:
        _common.below_threshold()
