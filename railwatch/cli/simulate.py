"""`railwatch simulate`: simulated scenes, to look at or to train on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from railwatch.cli import _common
from railwatch.cli._options import JsonOption


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
