"""The occupancy weights: network and calibration in one file with a card beside it.

`load_head` reads what lies around the network without importing torch; `load` reads the network too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector.errors import WeightsError
from detector.occupancy.conformal import ConformalScaling
from detector.occupancy.estimate import Pitch
from detector.tensor_file import load_tensors, located, save_tensors

if TYPE_CHECKING:
    from detector.occupancy.network import OccupancyNet

FORMAT = "railwatch-occupancy-2"
SHIPPED = "occupancy"


@dataclass(frozen=True)
class OccupancyHead:
    """All of a weights file but the network.

    Attributes:
        length: Calibration of the length's interval.
        count: Of the count's.
        pitch: Track length a car.
        trusted_to: Count above which answers are lower bounds.
        card: Data, training and figures.
        checksum: SHA-256 of the file.
        path: The file.
    """

    length: ConformalScaling
    count: ConformalScaling
    pitch: Pitch
    trusted_to: float
    card: dict[str, Any]
    checksum: str
    path: Path


@dataclass(frozen=True)
class OccupancyWeights:
    """A network and what belongs to it, as loaded.

    Attributes:
        network: Ready to answer.
        head: All else.
    """

    network: OccupancyNet
    head: OccupancyHead


def save(path: Path, network: OccupancyNet, card: dict[str, Any]) -> str:
    """Write the weights; the card holds what `detector.training.occupancy_recipe.calibration` gives.

    Returns:
        The file's sha256.
    """
    from detector.state_dict import arrays_of

    tensors = arrays_of(network, "network.")
    return save_tensors(path, tensors, card, FORMAT)


def load(path: str | Path | None = None) -> OccupancyWeights:
    """Load the shipped weights, or those of a file.

    Raises:
        WeightsError: The file is missing, damaged, not ours, or its card lacks something.
    """
    from detector.occupancy.network import OccupancyNet
    from detector.state_dict import fill

    with located(path, SHIPPED) as file:
        tensors, card, checksum = load_tensors(file, FORMAT, "occupancy")
        network = OccupancyNet()
        try:
            fill(network, tensors, "network.")
        except (KeyError, RuntimeError) as error:
            raise _unfit(file, error) from error
        return OccupancyWeights(network.eval(), _head(card, checksum, file))


def load_head(path: str | Path | None = None) -> OccupancyHead:
    """Load everything but the network.

    Raises:
        WeightsError: As `load` does.
    """
    with located(path, SHIPPED) as file:
        # No array has such a name: the card and the checksum are all that is wanted.
        _, card, checksum = load_tensors(file, FORMAT, "occupancy", beginning="none.")
        return _head(card, checksum, file)


def _head(card: dict[str, Any], checksum: str, path: Path) -> OccupancyHead:
    try:
        mean, sd = card["pitch_m"]
        return OccupancyHead(
            ConformalScaling.from_json(card["length_stretch"]),
            ConformalScaling.from_json(card["count_stretch"]),
            Pitch(float(mean), float(sd)),
            float(card["trusted_to"]),
            card,
            checksum,
            path,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _unfit(path, error) from error


def _unfit(path: Path, error: Exception) -> WeightsError:
    return WeightsError(f"{path}: its tensors or its card don't fit this version ({error})")
