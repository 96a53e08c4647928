"""The commands that make a detector: `railwatch simulate`, `train` and `quantise`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from railwatch.cli import _common, _tables
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


def simulate(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write to.")],
    scenes: Annotated[int, typer.Option("--scenes", min=1, help="How many scenes.")] = 20,
    split: Annotated[
        Literal["train", "val", "test"],
        typer.Option("--split", help="Whose wagon designs, backgrounds and sensors are used."),
    ] = "train",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Equal seeds make equal scenes.")] = 0,
    size_m: Annotated[
        float, typer.Option("--size-m", min=20.0, max=2000.0, help="Side of a scene in metres.")
    ] = 144.0,
    gsd_m: Annotated[
        float | None,
        typer.Option(
            "--gsd",
            min=0.2,
            max=3.0,
            metavar="METRES",
            help="Metres per pixel; 0.28 to 1.05 by chance if left out.",
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind", help="Only one kind of scene (yard, empty_line, lots, ...); a mixture if left out."
        ),
    ] = None,
    simulator: Annotated[
        Literal["main", "collage", "solids", "relief"],
        typer.Option("--simulator", help="Who draws the scenes; nothing learns from the relief."),
    ] = "main",
    backgrounds: Annotated[
        Path | None,
        typer.Option(
            "--backgrounds",
            metavar="DIR",
            help="Real pictures at 0.3 m (UC Merced land use: freeway07.jpg ...) as ground and as negatives.",
        ),
    ] = None,
    shards: Annotated[
        int | None,
        typer.Option(
            "--shards",
            min=1,
            help="Instead of scenes: write so many training shards of 200 scenes, for 'railwatch train'.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make [bold]labelled scenes[/bold] of simulated yards: GeoTIFFs, GeoJSON labels, an index.

    The seed and its number decide a scene. Each GeoTIFF has a GeoJSON of the same name with one oriented
    box a wagon in the columns of 'railwatch detect', and the tracks; index.csv lists them all.
    """
    if out.exists() and not out.is_dir():
        _common.fail(f"{out} is a file, not a folder")
    if shards is not None:
        if simulator == "relief":
            _common.fail("--shards are to learn from, and nothing learns from the relief")
        if simulator == "solids":
            _common.fail("--shards are to learn wagons from, and wagons are not learned from the solids")
        _shards(out, shards, seed, split, simulator, backgrounds, as_json)
        return
    from detector.simulators import SIMULATORS, BackgroundLibrary
    from detector.simulators.write import simulate_folder

    kinds = SIMULATORS[simulator]
    if kind is not None and kind not in kinds:
        _common.fail(f"--kind must be one of {', '.join(kinds)}, not {kind!r}")
    if kind == "background" and backgrounds is None:
        _common.fail("--kind background shows real pictures: name their folder with --backgrounds")
    library = BackgroundLibrary(backgrounds) if backgrounds is not None else None
    with _common.progress("scenes") as report:
        rows = simulate_folder(
            out,
            scenes,
            seed=seed,
            split=split,
            size_m=size_m,
            gsd_m=gsd_m,
            kind=kind,
            simulator=simulator,
            backgrounds=library,
            progress=report,
        )
    freight = sum(row.n_freight for row in rows)
    if as_json:
        _common.emit_json(
            {
                "out": out,
                "index": out / "index.csv",
                "scenes": len(rows),
                "freight": freight,
                "empty": sum(row.n_freight == 0 for row in rows),
                "images": rows,
            }
        )
        return
    _common.say(f"{len(rows)} scenes with {freight} freight cars in {out}")
    _common.say(f"list: {out / 'index.csv'}")


def _shards(
    out: Path, shards: int, seed: int, split: str, simulator: str, backgrounds: Path | None, as_json: bool
) -> None:
    """Training shards instead of files to look at."""
    from detector.training.tiles import make_shards

    with _common.progress("shards") as report:
        made = make_shards(
            out,
            shards,
            seed=seed,
            split=split,
            backgrounds=backgrounds,
            collage_share=float(simulator == "collage"),
            progress=report,
        )
    if as_json:
        _common.emit_json({"out": out, "shards": shards, "tiles": made})
        return
    _common.say(f"{made} new tiles in {shards} shards in {out}")


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
