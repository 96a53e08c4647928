"""The weights file: safetensors with a card beside it, and nothing that could run code."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from detector.errors import WeightsError
from detector.tensor_file import fill, load_tensors, save_tensors
from detector.wagons.network import WagonNet
from detector.wagons.rescoring import FEATURES, Rescorer

FORMAT = "railwatch-wagon-2"
SHIPPED = "wagon"


@dataclass(frozen=True)
class Weights:
    """A network with its judge and its card, as loaded."""

    network: WagonNet
    judge: Rescorer
    card: dict[str, Any]
    checksum: str  # sha256 of the safetensors file
    path: Path


def save(path: Path, network: WagonNet, judge: Rescorer, card: dict[str, Any]) -> str:
    """Write ``path`` (.safetensors) and the card beside it (.json).

    Returns:
        The sha256 of the safetensors file, which is also written into the card.
    """
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"judge.{k}": v for k, v in judge.state_dict().items()}
    return save_tensors(path, tensors, card, FORMAT)


def load(path: str | Path | None = None) -> Weights:
    """Load weights: the shipped ones, or those of a file with its card beside it.

    Raises:
        WeightsError: The file is missing, damaged, not ours, or doesn't match the checksum in its card.
    """
    if path is None:
        with as_file(files("detector") / "weights") as folder:
            return _load(folder / f"{SHIPPED}.safetensors")
    return _load(Path(path))


def _load(path: Path) -> Weights:
    tensors, card, checksum = load_tensors(path, FORMAT, "wagon")
    network = WagonNet()
    try:
        judge = Rescorer(len(tensors["judge.layers.0.bias"]))
        fill(network, tensors, "network.")
        fill(judge, tensors, "judge.")
    except (RuntimeError, KeyError) as error:
        raise WeightsError(
            f"{path}: its tensors don't fit this version's network of {len(FEATURES)} features"
        ) from error
    return Weights(network.eval(), judge.eval(), card, checksum, path)
