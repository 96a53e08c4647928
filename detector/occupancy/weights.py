"""The occupancy weights: network and calibration in one file with a card beside it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from detector.errors import WeightsError
from detector.occupancy.conformal import ConformalScaling
from detector.occupancy.estimate import Pitch
from detector.occupancy.network import OccupancyNet
from detector.state_dict import arrays_of, fill
from detector.tensor_file import load_tensors, save_tensors

FORMAT = "railwatch-occupancy-2"
SHIPPED = "occupancy"


@dataclass(frozen=True)
class OccupancyWeights:
    """What the estimator needs, as loaded.

    Attributes:
        network: Ready to answer.
        length: Calibration of the length's interval.
        count: Of the count's.
        pitch: Track length a car.
        trusted_to: Count above which answers are lower bounds.
        card: Data, training and figures.
        checksum: SHA-256 of the file.
        path: The file.
    """

    network: OccupancyNet
    length: ConformalScaling
    count: ConformalScaling
    pitch: Pitch
    trusted_to: float
    card: dict[str, Any]
    checksum: str
    path: Path


def save(path: Path, network: OccupancyNet, card: dict[str, Any]) -> str:
    """Write the weights; the card holds what `detector.training.occupancy_recipe.calibration` gives.

    Returns:
        The file's sha256.
    """
    tensors = arrays_of(network, "network.")
    return save_tensors(path, tensors, card, FORMAT)


def load(path: str | Path | None = None) -> OccupancyWeights:
    """Load the shipped weights, or those of a file.

    Raises:
        WeightsError: The file is missing, damaged, not ours, or its card lacks something.
    """
    if path is None:
        with as_file(files("detector") / "weights") as folder:
            return _load(folder / f"{SHIPPED}.safetensors")
    return _load(Path(path))


def _load(path: Path) -> OccupancyWeights:
    tensors, card, checksum = load_tensors(path, FORMAT, "occupancy")
    network = OccupancyNet()
    try:
        fill(network, tensors, "network.")
        mean, sd = card["pitch_m"]
        return OccupancyWeights(
            network.eval(),
            ConformalScaling.from_json(card["length_stretch"]),
            ConformalScaling.from_json(card["count_stretch"]),
            Pitch(float(mean), float(sd)),
            float(card["trusted_to"]),
            card,
            checksum,
            path,
        )
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: its tensors or its card don't fit this version ({error})") from error
