"""The weights file of the wagon detector: the network, its re-scorer, and the card beside them.

`load_head` reads what lies around the network without importing torch; `load` reads the network too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector.errors import WeightsError
from detector.tensor_file import load_tensors, located, save_tensors
from detector.wagons.rescoring import FEATURES, Rescorer

if TYPE_CHECKING:
    from detector.wagons.network import WagonNet

FORMAT = "railwatch-wagon-2"
SHIPPED = "wagon"


@dataclass(frozen=True)
class WeightsHead:
    """All of a weights file but the network.

    Attributes:
        judge: The re-scorer.
        card: Data, training and figures.
        checksum: SHA-256 of the safetensors file.
        path: The safetensors file.
    """

    judge: Rescorer
    card: dict[str, Any]
    checksum: str
    path: Path


@dataclass(frozen=True)
class Weights:
    """A network with its judge and its card, as loaded."""

    network: WagonNet
    judge: Rescorer
    card: dict[str, Any]
    checksum: str  # sha256 of the safetensors file
    path: Path

    @property
    def head(self) -> WeightsHead:
        """All of it but the network."""
        return WeightsHead(self.judge, self.card, self.checksum, self.path)


def save(path: Path, network: WagonNet, judge: Rescorer, card: dict[str, Any]) -> str:
    """Write ``path`` (.safetensors) and the card beside it (.json).

    Returns:
        The sha256 of the safetensors file, which is also written into the card.
    """
    from detector.state_dict import arrays_of

    tensors = arrays_of(network, "network.")
    tensors |= {f"judge.{name}": values for name, values in judge.arrays().items()}
    return save_tensors(path, tensors, card, FORMAT)


def load(path: str | Path | None = None) -> Weights:
    """Load weights: the shipped ones, or those of a file with its card beside it.

    Raises:
        WeightsError: The file is missing, damaged, not ours, or doesn't match the checksum in its card.
    """
    from detector.state_dict import fill
    from detector.wagons.network import WagonNet

    with located(path, SHIPPED) as file:
        tensors, card, checksum = load_tensors(file, FORMAT, "wagon")
        network = WagonNet()
        judge = _judge(tensors, file)
        try:
            fill(network, tensors, "network.")
        except (RuntimeError, KeyError) as error:
            raise _unfit(file) from error
        return Weights(network.eval(), judge, card, checksum, file)


def load_head(path: str | Path | None = None) -> WeightsHead:
    """Load everything but the network.

    Raises:
        WeightsError: As `load` does.
    """
    with located(path, SHIPPED) as file:
        tensors, card, checksum = load_tensors(file, FORMAT, "wagon", beginning="judge.")
        return WeightsHead(_judge(tensors, file), card, checksum, file)


def _judge(tensors: dict[str, Any], path: Path) -> Rescorer:
    start = "judge."
    try:
        return Rescorer.from_arrays(
            {name.removeprefix(start): values for name, values in tensors.items() if name.startswith(start)}
        )
    except (KeyError, ValueError) as error:
        raise _unfit(path) from error


def _unfit(path: Path) -> WeightsError:
    return WeightsError(f"{path}: its tensors don't fit this version's network of {len(FEATURES)} features")
