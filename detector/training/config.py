"""The settings of a training, as its TOML file has them: one set of tables a detector.

A key that means nothing for the detector that is trained is refused like any other unknown key.
"""

from __future__ import annotations

import dataclasses
from dataclasses import field
from pathlib import Path
from typing import Any

from aoi.settings import bind, read_toml, setting, settings_table
from detector.errors import LabelError

__all__ = [
    "OCCUPANCY",
    "OccupancyData",
    "OccupancyRecipe",
    "OccupancyTraining",
    "TrainSettings",
    "TypesData",
    "TypesRecipe",
    "TypesTraining",
    "WagonData",
    "WagonRecipe",
    "WagonTraining",
    "background_folder",
    "read_recipe",
]

OCCUPANCY, TYPES, WAGONS = "occupancy", "types", "wagons"
TILE_PX = 288
"""Edge of a stored training tile, pixels of 0.5 m; a view is a smaller crop of it."""


@settings_table
class TrainSettings:
    """The ``[train]`` table, as far as it is the same for every detector."""

    seed: int = setting(1, low=0)
    steps: int = setting(12_000, low=1)
    batch_size: int = setting(8, low=1)
    learning_rate: float = setting(2e-3, low=0)
    final_learning_rate: float = setting(2e-5, low=0)
    warmup_steps: int = setting(300, low=0)
    weight_decay: float = setting(0.01, low=0)
    gradient_clip: float = setting(5.0, low=0)
    ema_decay: float = setting(0.998, low=0, high=1)
    threads: int = setting(2, low=1)
    checkpoint_seconds: float = setting(120.0, low=0)
    log_steps: int = setting(50, low=1)
    score_steps: int = setting(1000, "The held-out loss is taken at such steps that are logged.", low=1)


@settings_table
class WagonTraining(TrainSettings):
    """The ``[train]`` table of the wagon detector."""

    view_px: int = setting(256, "Edge of a view, pixels of 0.5 m.", low=32, high=TILE_PX, step=32)
    own_share: float = setting(0.5, "Fraction of the views drawn from the user's own tiles.", low=0, high=1)
    empty_redrawn: float = setting(
        0.0,
        "How often a simulated tile without wagons is put back for another: empty ground is learned sooner.",
        low=0,
        high=1,
    )
    hard_share: float = setting(0.1, "Fraction of the views drawn from hard negatives.", low=0, high=1)


@settings_table
class OccupancyTraining(TrainSettings):
    """The ``[train]`` table of the occupancy network."""

    steps: int = setting(16_000, low=1)
    batch_size: int = setting(16, low=1)
    learning_rate: float = setting(1.5e-3, low=0)
    final_learning_rate: float = setting(1e-5, low=0)
    trackless: float = setting(
        0.25, "Fraction of the samples that are shown without their track lines.", low=0, high=1
    )


@settings_table
class TypesTraining(TrainSettings):
    """The ``[train]`` table of the types of freight cars."""

    steps: int = setting(3000, low=1)
    batch_size: int = setting(64, "Cut-outs a step.", low=1)


@settings_table
class WagonData:
    """The ``[data]`` table of the wagon detector: what to learn from."""

    shards: int = setting(60, "Training shards of 200 simulated scenes, each seen twice.", low=0)
    seed: int = setting(1, low=0)
    coarse_share: float = setting(
        0.0, "Fraction of the images drawn from the coarse end of the range of resolutions.", low=0, high=1
    )
    collage_share: float = setting(
        0.0, "Fraction of the scenes, training and validation ones, by the second simulator.", low=0, high=1
    )
    workers: int = setting(1, low=1)
    first_shards: int = setting(
        3, "The training starts when so many shards are there; the rest are made beside it.", low=1
    )
    backgrounds: str = setting("", "Folder of rail-free pictures at 0.3 m for half of the grounds, or none.")
    labels: tuple[str, ...] = setting((), "Own label files, to fine-tune with.")
    label_views: int = setting(
        0,
        "Tiles cut out of each own image at random turns and resolutions; 0: each place once, as it is.",
        low=0,
    )
    images: str = setting("", "Folder of the images of the own labels, where the label files don't say.")
    gsd_m: float = setting(0.0, "Metres a pixel of own images without position; 0 when they say it.", low=0)
    hard_shards: int = setting(
        0, "Shards of hard negatives, mined with the weights that the training starts from.", low=0
    )
    check_shards: int = setting(
        4, "Validation shards: half for the re-scorer, half for threshold and intervals.", low=1
    )
    odds_scenes: int = setting(
        0,
        "Scenes of the relief, never learned from, for the odds of freight car against coach; 0: the "
        "validation shards serve.",
        low=0,
    )


@settings_table
class OccupancyData:
    """The ``[data]`` table of the occupancy network: what to learn from."""

    train_sites: int = setting(1000, "Simulated yards to learn from, each on some tens of dates.", low=1)
    check_sites: int = setting(130, "Further ones for the intervals.", low=1)
    dates: int = setting(34, low=6)
    strips: float = setting(0.2, "Fraction of the yards by the independent simulator.", low=0, high=1)
    seed: int = setting(0, "Another one gives other yards in every split.", low=0)
    first_sites: int = setting(
        40, "The training starts when so many are there; the rest are made beside it.", low=1
    )


@settings_table
class TypesData:
    """The ``[data]`` table of the types of freight cars: simulated scenes, as for the wagon detector."""

    shards: int = setting(5, "Training shards of 100 simulated scenes, each seen twice.", low=1)
    seed: int = setting(5, low=0)
    coarse_share: float = setting(
        0.25, "Fraction of the images drawn from the coarse end of the range of resolutions.", low=0, high=1
    )
    backgrounds: str = setting("", "Folder of rail-free pictures at 0.3 m for half of the grounds, or none.")
    check_shards: int = setting(1, "Validation shards, for the odds and the threshold.", low=1)
    relief_scenes: int = setting(
        70, "Scenes of the relief, never learned from, on which the types are scored.", low=1
    )


@settings_table
class WagonRecipe:
    """Settings of a whole training of the wagon detector."""

    task: str = setting(WAGONS)
    name: str = setting("wagon")
    version: str = setting("0")
    start: str = setting("", "Weights to start from: a .safetensors file, `shipped`, or empty for none.")
    start_share: float = setting(
        0.0,
        "Fraction of the start's weights in the result, the rest being the trained ones': it keeps more of "
        'what the start could do elsewhere (M. Wortsman et al., "Robust fine-tuning of zero-shot models", '
        "CVPR 2022).",
        low=0,
        high=1,
    )
    data: WagonData = field(default_factory=WagonData)
    train: WagonTraining = field(default_factory=WagonTraining)


@settings_table
class OccupancyRecipe:
    """Settings of a whole training of the occupancy network."""

    task: str = setting(OCCUPANCY)
    name: str = setting("occupancy")
    version: str = setting("0")
    data: OccupancyData = field(default_factory=OccupancyData)
    train: OccupancyTraining = field(default_factory=OccupancyTraining)


@settings_table
class TypesRecipe:
    """Settings of a whole training of the types of freight cars."""

    task: str = setting(TYPES)
    name: str = setting("types")
    version: str = setting("0")
    accuracy: float = setting(
        0.95, "Fraction of the typed cars that are to be right on validation scenes.", low=0.5, high=1
    )
    data: TypesData = field(default_factory=TypesData)
    train: TypesTraining = field(default_factory=TypesTraining)


Recipe = WagonRecipe | OccupancyRecipe | TypesRecipe


def background_folder(data: WagonData | TypesData) -> Path | None:
    """The folder of rail-free pictures that settings name, None if they name none.

    Raises:
        LabelError: It isn't there.
    """
    folder = Path(data.backgrounds) if data.backgrounds else None
    if folder is not None and not folder.is_dir():
        raise LabelError(f"{folder}: no such folder of background pictures")
    return folder


def read_recipe(path: Path) -> Recipe:
    """The recipe in a settings file; its ``task`` says of which detector (wagons, where it is left out).

    Raises:
        LabelError: The file can't be read, a key is unknown for that detector, or a value isn't allowed.
    """
    table = read_toml(path, LabelError)
    task = table.get("task", WAGONS)
    if task not in (WAGONS, OCCUPANCY, TYPES):
        raise LabelError(f'{path}: task must be "{OCCUPANCY}", "{TYPES}" or "{WAGONS}", not {task!r}')
    if task == TYPES:
        return bind(TypesRecipe, table, str(path), error=LabelError)
    if task == OCCUPANCY:
        return bind(OccupancyRecipe, table, str(path), error=LabelError)
    recipe = bind(WagonRecipe, table, str(path), error=LabelError)
    if recipe.start_share and not recipe.start:
        raise LabelError(f"{path}: start_share needs weights to start from (start)")
    return recipe


def as_json(recipe: Recipe) -> dict[str, Any]:
    """The settings as plain JSON values, for the card of the weights."""
    return dataclasses.asdict(recipe)
