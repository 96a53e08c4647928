"""`railwatch train`: weights out of simulated scenes or your own labels."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from railwatch.cli import _common
from railwatch.cli._options import DeviceOption, JsonOption, LabelledImagesOption


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
    images: LabelledImagesOption = None,
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
    follow: Callable[..., Path]
    if isinstance(recipe, OccupancyRecipe):
        if labels or images or gsd is not None or backgrounds:
            _common.fail(
                "the occupancy estimator learns from simulated yards alone: leave the image options out"
            )
        from detector.training import occupancy_recipe

        training = replace(recipe.train, steps=steps or recipe.train.steps)
        follow = partial(occupancy_recipe.follow, replace(recipe, train=training))
    elif isinstance(recipe, TypesRecipe):
        if labels or images or gsd is not None:
            _common.fail("types of cars are learned from simulated scenes alone: leave the labels out")
        types_data = replace(recipe.data, backgrounds=str(backgrounds or recipe.data.backgrounds))
        background_folder(types_data)  # refused before torch is imported
        from detector.training import types_recipe

        types_training = replace(recipe.train, steps=steps or recipe.train.steps)
        follow = partial(types_recipe.follow, replace(recipe, data=types_data, train=types_training))
    else:
        data = replace(
            recipe.data,
            labels=tuple(str(f) for f in labels) if labels else recipe.data.labels,
            images=str(images or recipe.data.images),
            gsd_m=gsd or recipe.data.gsd_m,
            backgrounds=str(backgrounds or recipe.data.backgrounds),
        )
        background_folder(data)  # refused before torch is imported
        from detector.training import wagon_recipe

        wagon_training = replace(recipe.train, steps=steps or recipe.train.steps)
        follow = partial(wagon_recipe.follow, replace(recipe, data=data, train=wagon_training))
    with _common.progress("training") as report:
        weights = follow(out, device=device, progress=report)
    if as_json:
        card = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))
        _common.emit_json({"weights": str(weights), "sha256": card["sha256"], "figures": card["figures"]})
        return
    _common.say(f"weights written to {weights}, their card beside them, curves to {out / 'curves.png'}")
