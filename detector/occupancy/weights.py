"""The occupancy weights: network and calibration in one file with a card, and what runs the network.

`load_head` reads what lies around the network without importing torch; `load` reads the network too;
`load_runner` gives what runs it, prepared inputs to raw answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from detector.backends import Form, OpenVinoNetwork, choose_device, choose_form
from detector.errors import WeightsError
from detector.occupancy.estimate import ConformalScaling, Pitch, calibration_of
from detector.occupancy.inputs import Inputs, PastBands, past_planes
from detector.tensor_file import arrays_of, fill, load_tensors, located, save_tensors

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
class OccupancyWeights(OccupancyHead):
    """A network, ready to answer, with all that belongs to it."""

    network: OccupancyNet


def save(path: Path, network: OccupancyNet, card: dict[str, Any]) -> str:
    """Write the weights; the card holds what `detector.training.occupancy_recipe.calibration` gives.

    Returns:
        The file's sha256.
    """
    return save_tensors(path, arrays_of(network, "network."), card, FORMAT)


def load(path: str | Path | None = None) -> OccupancyWeights:
    """Load the shipped weights, or those of a file.

    Raises:
        WeightsError: The file is missing, damaged, not ours, or its card lacks something.
    """
    from detector.occupancy.network import OccupancyNet

    with located(path, SHIPPED) as file:
        tensors, card, checksum = load_tensors(file, FORMAT, "occupancy")
        network = OccupancyNet()
        try:
            fill(network, tensors, "network.")
        except (KeyError, RuntimeError) as error:
            raise _unfit(file, error) from error
        return OccupancyWeights(**vars(_head(card, checksum, file)), network=network.eval())


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
        return OccupancyHead(*calibration_of(card), float(card["trusted_to"]), card, checksum, path)
    except (KeyError, TypeError, ValueError) as error:
        raise _unfit(path, error) from error


def _unfit(path: Path, error: Exception) -> WeightsError:
    return WeightsError(f"{path}: its tensors or its card don't fit this version ({error})")


class RawAnswer(NamedTuple):
    """What the network says of a batch, before calibration.

    Attributes:
        density: (B, h, w) metres of track under wagons in each cell.
        length_m: (B,) its sum over the region.
        below_m: (B,) how far under the length the truth lies once in twenty times.
        above_m: (B,) how far over it.
    """

    density: NDArray[np.float32]
    length_m: NDArray[np.float64]
    below_m: NDArray[np.float64]
    above_m: NDArray[np.float64]


class OccupancyRunner(Protocol):
    """Something that answers prepared inputs."""

    @property
    def name(self) -> str:
        """What runs, for the record: "openvino float32"."""

    def __call__(self, batch: Sequence[Inputs]) -> RawAnswer:
        """Raw answers to inputs of one size, with equally many past dates each."""


class OpenVinoOccupancy:
    """The network as OpenVINO runs it, on the CPU.

    Attributes:
        name: What runs.

    Args:
        form: The form of the network.
        threads: Processor cores to use; all by default.
    """

    def __init__(self, form: Form, threads: int | None = None) -> None:
        self._network = OpenVinoNetwork(form, threads)
        self.name = self._network.name

    def __call__(self, batch: Sequence[Inputs]) -> RawAnswer:
        """Raw answers to a batch."""
        planes = np.stack([one.planes for one in batch])
        region = np.stack([one.region for one in batch]).astype(np.float32)
        pasts = [_some(one.past) for one in batch]
        density, lengths = self._network(
            planes, region, *(np.stack([one[k] for one in pasts]) for k in range(3))
        )
        return RawAnswer(density, *lengths.astype(np.float64).T)


class TorchOccupancy:
    """The network as torch runs it, in single precision.

    Attributes:
        name: What runs.
        device: Where.

    Args:
        network: With its weights.
        device: auto, cpu or cuda.

    Raises:
        InputError: The device isn't there.
    """

    def __init__(self, network: OccupancyNet, device: str = "auto") -> None:
        self.device = choose_device(device)
        self.name = f"torch {self.device.type} float32"
        self._network = network.to(self.device).eval()

    def __call__(self, batch: Sequence[Inputs]) -> RawAnswer:
        """Raw answers to a batch."""
        import torch

        from detector.occupancy.network import Past

        with torch.inference_mode():
            planes = torch.from_numpy(np.stack([one.planes for one in batch])).to(self.device)
            region = torch.from_numpy(np.stack([one.region for one in batch]).astype(np.float32))
            past = Past.of([one.past for one in batch])
            said = self._network(planes, region.to(self.device), past and past.to(self.device))
            return RawAnswer(
                said.density.cpu().numpy(),
                *(part.double().cpu().numpy() for part in (said.length_m, said.below_m, said.above_m)),
            )


def _some(past: PastBands) -> PastBands:
    """The past dates, or where there are none one that saw nothing, which the network passes over."""
    if len(past.shadow):
        return past
    empty = np.full((1, *past.change.shape[1:]), np.nan, np.float32)
    return past_planes(empty, [None], np.zeros_like(empty[0]))


def load_runner(
    path: str | Path | None = None, device: str = "auto", backend: str = "auto"
) -> tuple[OccupancyHead, OccupancyRunner]:
    """Weights and what runs their network.

    Args:
        path: A .safetensors file, None for the shipped one.
        device: auto, cpu or cuda.
        backend: auto, openvino or torch.

    Raises:
        WeightsError: The weights or their form are missing, damaged or not ours.
        InputError: The device or the backend isn't to be had.
    """
    with located(path, SHIPPED) as file:
        head = load_head(file)
        device, form = choose_form(file, head.checksum, device, backend)
        if form is not None:
            return head, OpenVinoOccupancy(form)
        return head, TorchOccupancy(load(file).network, device)
