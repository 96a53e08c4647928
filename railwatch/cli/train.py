"""`railwatch train`: fit the wagon detector's weights, from the simulator or to your own labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from railwatch.cli import _common
from railwatch.cli._common import DeviceOption, JsonOption

if TYPE_CHECKING:
    from detector.training.config import OccupancyRecipe, TypesRecipe


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(train)


def train(
    out: Annotated[
        Path,
        typer.Option("--out", help="Folder of the training; the same folder again goes on.", metavar="DIR"),
    ],
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Settings (TOML); the shipped recipe by default.", metavar="FILE"),
    ] = None,
    labels: Annotated[
        list[Path] | None,
        typer.Option(
            "--labels", help="Your own labels: fine-tune the shipped weights on them.", metavar="FILE"
        ),
    ] = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder of the labelled images.", metavar="DIR")
    ] = None,
    gsd: Annotated[
        float | None,
        typer.Option(
            "--gsd", help="Ground sampling distance of images without position, metres.", metavar="METRES"
        ),
    ] = None,
    backgrounds: Annotated[
        Path | None,
        typer.Option("--backgrounds", help="Rail-free pictures at 0.3 m as ground.", metavar="DIR"),
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Training steps.")] = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train the [bold]wagon detector[/bold] on simulated scenes, or fine-tune it on your own labels.

    Settings with the line task = "occupancy" fit the estimator for Sentinel-2 instead, with task = "types"
    the types of freight cars. Stop it whenever you like: the same command goes on from the last checkpoint.
    """
    from importlib.resources import as_file, files

    from detector.training.config import OccupancyRecipe, TypesRecipe, background_folder, read_recipe

    if config is not None:
        recipe = read_recipe(config)
    else:
        name = "finetune-wagon.toml" if labels else "train-wagon.toml"
        with as_file(files("configs") / name) as path:
            recipe = read_recipe(path)
    if isinstance(recipe, OccupancyRecipe):
        if labels or images or gsd is not None or backgrounds:
            _common.fail(
                "the occupancy estimator learns from simulated yards alone: leave the image options out"
            )
        _train_occupancy(recipe, out, steps, device, as_json)
        return
    if isinstance(recipe, TypesRecipe):
        if labels or images or gsd is not None:
            _common.fail("types of cars are learned from simulated scenes alone: leave the labels out")
        _train_types(recipe, out, backgrounds, steps, device, as_json)
        return
    data = replace(
        recipe.data,
        labels=tuple(str(f) for f in labels) if labels else recipe.data.labels,
        images=str(images) if images else recipe.data.images,
        gsd_m=gsd or recipe.data.gsd_m,
        backgrounds=str(backgrounds) if backgrounds else recipe.data.backgrounds,
    )
    recipe = replace(recipe, data=data, train=replace(recipe.train, steps=steps) if steps else recipe.train)
    background_folder(recipe.data)  # refused before torch is imported
    from detector.training.wagon_recipe import follow

    with _common.progress("training") as report:
        weights = follow(recipe, out, device=device, progress=report)
    _report(weights, out, as_json)


def _train_occupancy(
    recipe: OccupancyRecipe, out: Path, steps: int | None, device: str, as_json: bool
) -> None:
    from detector.training.occupancy_recipe import follow

    if steps:
        recipe = replace(recipe, train=replace(recipe.train, steps=steps))
    with _common.progress("training") as report:
        weights = follow(recipe, out, device=device, progress=report)
    _report(weights, out, as_json)


def _train_types(
    recipe: TypesRecipe, out: Path, backgrounds: Path | None, steps: int | None, device: str, as_json: bool
) -> None:
    from detector.training.config import background_folder

    if backgrounds:
        recipe = replace(recipe, data=replace(recipe.data, backgrounds=str(backgrounds)))
    background_folder(recipe.data)  # refused before torch is imported
    from detector.training.types_recipe import follow

    if steps:
        recipe = replace(recipe, train=replace(recipe.train, steps=steps))
    with _common.progress("training") as report:
        weights = follow(recipe, out, device=device, progress=report)
    _report(weights, out, as_json)


def _report(weights: Path, out: Path, as_json: bool) -> None:
    if as_json:
        import json

        card = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))
        _common.emit_json({"weights": str(weights), "sha256": card["sha256"], "figures": card["figures"]})
        return
    _common.say(f"weights written to {weights}, their card beside them, curves to {out / 'curves.png'}")
