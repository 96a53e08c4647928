"""What ingredients of the simulator and terms of the loss are worth: short trainings with one left out.

    python benchmarks/ablate.py --shards runs/wagon/shards --hard runs/wagon/hard --check runs/wagon/check \\
        --test runs/test [--start wagon-2.safetensors] [--old runs/old/shards] [--steps 200] [--only NAME ...]

Every variant goes on from the same weights for the same few steps with the same seeds; then a judge and a
threshold are fitted to half of the check tiles each, and all is measured on the test tiles. A few hundred
steps show the sign of an ingredient and the order of its size, not what it is worth after a whole training.
Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from detector.training import losses
from detector.training import shards as views
from detector.training.calibrate_wagons import detect_tiles, finish, score
from detector.training.config import WagonTraining
from detector.training.loop import fit as fit_network
from detector.training.metrics import summarise
from detector.training.shards import LabelledTile, Shard, find_shards, write_shard
from detector.training.wagon_recipe import WagonTask
from detector.wagons import weights as weights_file
from detector.wagons.detector import WagonDetector


@dataclass(frozen=True)
class Variant:
    """One training: what is different from the full one.

    Attributes:
        keep: Which tiles it learns from.
        config: Changed settings.
        weights: Changed weights of the loss.
        old: Learn from the shards of ``--old`` instead.
        reprocess: Whether views are sharpened, blurred and compressed once more.
    """

    keep: Callable[[LabelledTile], bool] | None = None
    config: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    old: bool = False
    reprocess: bool = True


VARIANTS: dict[str, Variant] = {
    "everything": Variant(),
    "scenes of wagon 2: no liveries, lengths, rhythms, low sun, shrunk pictures": Variant(old=True),
    "loss: across the track counts little": Variant(weights={"across": 0.2}),
    "no real pictures as ground": Variant(keep=lambda t: not t.meta["real_background"]),
    "no hard negatives": Variant(config={"hard_share": 0.0}),
    "loss: no map of tracks": Variant(weights={"track": 0.0}),
    "no sun below 30 degrees": Variant(keep=lambda t: t.meta["sun_elevation_deg"] >= 30.0),
    "no sharpening, blur and JPEG of finished pictures": Variant(reprocess=False),
    "loss: no map of covered ground": Variant(weights={"mask": 0.0}),
    "loss: length and width count little": Variant(weights={"size": 0.5}),
    "empty ground as often as it comes": Variant(config={"empty_redrawn": 0.0}),
    "no snow": Variant(keep=lambda t: t.meta["snow"] <= 0.0),
    "no oblique images (15 degrees and more)": Variant(keep=lambda t: t.meta["off_nadir_deg"] < 15.0),
}
FIGURES = ("ap_0.5", "ap_0.3", "precision_0.3", "recall_0.3", "f1_0.3", "false_per_empty_km2", "count_wape")


def tiles_of(folder: Path, most: int | None = None) -> list[LabelledTile]:
    """All tiles of a folder of shards, or the first of them."""
    return [tile for path in find_shards(folder) for tile in Shard(path)][:most]


def filtered(folder: Path, keep: Callable[[LabelledTile], bool], out: Path) -> Path:
    """The shards of a folder with some tiles left out."""
    for path in find_shards(folder):
        tiles = [tile for tile in Shard(path) if keep(tile)]
        if tiles:
            write_shard(out / path.name, tiles)
    return out


def fit(variant: Variant, options: argparse.Namespace, start: weights_file.Weights) -> dict[str, Any]:
    """Train a variant and measure it."""
    config = WagonTraining(
        seed=5,
        steps=options.steps,
        view_px=options.view_px,
        learning_rate=3e-4,
        final_learning_rate=3e-5,
        warmup_steps=20,
        ema_decay=0.97,
        threads=options.threads,
        empty_redrawn=0.5,
        hard_share=0.1,
    )
    kept_weights, kept_reprocess = dict(losses.WEIGHTS), views._reprocess
    with tempfile.TemporaryDirectory() as scratch:
        shards = options.old if variant.old else options.shards
        if variant.keep is not None:
            shards = filtered(shards, variant.keep, Path(scratch) / "kept")
        try:
            losses.WEIGHTS.update(variant.weights)
            if not variant.reprocess:
                views._reprocess = lambda image, rng: image
            settings = replace(config, **variant.config)
            network = fit_network(
                WagonTask([shards], settings, hard=options.hard),
                Path(scratch) / "out",
                settings,
                start=start.network.state_dict(),
            )
        finally:
            losses.WEIGHTS.update(kept_weights)
            views._reprocess = kept_reprocess
    check = tiles_of(options.check, options.tiles)
    half = len(check) // 2
    finished, _ = finish(replace(start, network=network), check[:half], check[half:])
    detector = WagonDetector(finished)
    found = summarise(
        score(detector, detect_tiles(detector, tiles_of(options.test, options.tiles))), detector.threshold
    )
    return {name: found[name] for name in FIGURES}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("shards", "hard", "check", "test"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="folder of shards")
    parser.add_argument("--old", type=Path, help="shards of an earlier simulator")
    parser.add_argument("--start", type=Path, help="weights to go on from; the shipped ones by default")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--view-px", type=int, default=192)
    parser.add_argument("--tiles", type=int, default=400, help="check and test tiles used")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="*", help="names of variants, or the beginning of them")
    parser.add_argument("--log", type=Path, help="a JSON line for each variant; those there are left out")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    start = weights_file.load(options.start)
    done: dict[str, Any] = {}
    if options.log is not None and options.log.exists():
        done = dict(json.loads(line) for line in options.log.read_text(encoding="utf-8").splitlines())
    print("| variant | " + " | ".join(FIGURES) + " |")
    print("|---" * (len(FIGURES) + 1) + "|")
    for name, variant in VARIANTS.items():
        if options.only and not any(name.startswith(o) for o in options.only):
            continue
        if variant.old and options.old is None:
            continue
        found = done.get(name) or fit(variant, options, start)
        if options.log is not None and name not in done:
            with options.log.open("a", encoding="utf-8") as log:
                log.write(json.dumps([name, found]) + "\n")
        print(f"| {name} | " + " | ".join(f"{found[f]:.3g}" for f in FIGURES) + " |", flush=True)


if __name__ == "__main__":
    main()
