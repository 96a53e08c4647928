r"""The mean of the weights of several trainings that went on from one start, calibrated anew.

    python -m benchmarks.mean_of_weights runs/wagon --config configs/train-wagon.toml --name mixed \
        shipped=0.5 runs/wagon/checkpoint.pt=0.5

Each of the networks is a weights file or a training's checkpoint, with its share; "shipped" are the weights
that are shipped. Re-scorer, threshold and intervals are fitted to the validation shards of the training's
folder (made by the settings if there are none), and `NAME.safetensors` with its card is written there.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from detector.training.config import OccupancyRecipe, read_recipe
from detector.training.loop import load_average
from detector.training.wagon_recipe import mean_of, write_weights
from detector.wagons import weights as weights_file
from detector.wagons.network import WagonNet


def network_of(name: str) -> WagonNet:
    """The network of a weights file, of a checkpoint (``.pt``), or the shipped one."""
    if name.endswith(".pt"):
        return load_average(Path(name), WagonNet())
    return weights_file.load(None if name == "shipped" else name).network


def main() -> None:
    """Run as a command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("networks", nargs="+", metavar="FILE=SHARE")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--name", default="wagon")
    options = parser.parse_args()
    recipe = read_recipe(options.config)
    if isinstance(recipe, OccupancyRecipe):
        raise SystemExit(f"{options.config}: settings of the wagon detector are needed")
    parts = [text.rpartition("=") for text in options.networks]
    network = mean_of([(float(share), network_of(name)) for name, _, share in parts])
    start = weights_file.load(None if recipe.start in ("", "shipped") else recipe.start)
    path = write_weights(replace(recipe, name=options.name), network, options.folder, start=start)
    print(path)


if __name__ == "__main__":
    main()
