"""Prepared inputs to raw answers: the occupancy network as torch or OpenVINO runs it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from detector.occupancy import weights as weights_file
from detector.occupancy.inputs import Inputs, PastBands, past_planes
from detector.occupancy.weights import OccupancyHead
from detector.openvino_forms import Form, OpenVinoNetwork, choose_form
from detector.tensor_file import located

if TYPE_CHECKING:
    from detector.occupancy.network import OccupancyNet

__all__ = ["OccupancyRunner", "OpenVinoOccupancy", "RawAnswer", "TorchOccupancy", "load"]


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
        self._network = OpenVinoNetwork(form, threads, any_shape=True)
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
        from detector.device import choose_device

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


def load(
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
    with located(path, weights_file.SHIPPED) as file:
        head = weights_file.load_head(file)
        choice, form = choose_form(file, head.checksum, device, backend)
        if form is not None:
            return head, OpenVinoOccupancy(form)
        return head, TorchOccupancy(weights_file.load(file).network, choice.device)
