"""`railwatch quantise`: the forms of weights that OpenVINO runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from railwatch.cli import _common, _tables
from railwatch.cli._options import JsonOption


def quantise(
    weights: Annotated[
        Path,
        typer.Argument(
            help="Weights of the wagon detector, or of Sentinel-2 occupancy (.safetensors).",
            metavar="WEIGHTS",
        ),
    ],
    samples: Annotated[
        int, typer.Option("--samples", min=1, help="Simulated images from which ranges of numbers come.")
    ] = 40,
    checks: Annotated[
        int,
        typer.Option("--checks", min=1, help="Simulated test images on which boxes and counts are compared."),
    ] = 120,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of these images.")] = 7000,
    as_json: JsonOption = False,
) -> None:
    """Make the [bold]8-bit and single-precision forms[/bold] that counting on a CPU uses.

    They are written beside the weights, with checksums and with what they change: the boxes that only one of
    the two draws, the counts and F1 on simulated test images. The 8-bit form becomes the one that is used if
    it is within the limits; else the single-precision form does. Run it again whenever the weights change.
    Occupancy weights get a single-precision form alone, compared on random inputs.
    """
    if not weights.is_file():
        _common.fail(f"{weights}: no such weights file")
    with _common.progress("images") as report:
        from detector.occupancy import weights as occupancy
        from detector.tensor_file import format_of

        if format_of(weights) == occupancy.FORMAT:
            from detector.training.convert_occupancy import convert_occupancy

            report.label("converting")
            listed = convert_occupancy(occupancy.load(weights))
        else:
            from detector.wagons.weights import load, load_head

            load_head(weights)  # a wrong file is told before torch is imported
            from detector.training.quantise import images_for, quantise_wagons

            loaded = load(weights)
            pictures, labelled = images_for(samples, checks, seed=seed, progress=report)
            report.label("quantising")
            listed = quantise_wagons(loaded, pictures, labelled)
    card = json.loads(listed.read_text(encoding="utf-8"))
    if as_json:
        _common.emit_json({"forms": str(listed), **card})
        return
    if "length" in card["limits"]:
        _common.say(f"{listed}: lengths differ by {card['parity']['float32']['length']:.1g} of themselves")
        return
    rows = [
        [name, one["boxes"], one["differing"], f"{one['f1_reference']:.4f}", f"{one['f1']:.4f}", one["equal"]]
        for name, one in card["parity"].items()
    ]
    _tables.table(["form", "boxes", "differing", "F1 of the weights", "F1", "within limits"], rows)
    _common.say(f"{listed}: {card['preferred']} is used")
