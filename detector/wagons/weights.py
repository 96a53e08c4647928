"""The weights of the wagon detector: network, re-scorer and card, on disk and as torch or OpenVINO runs them.

`load_head` reads what lies around the network without importing torch; `load` reads the network too;
`load_network` gives what runs it, images to maps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from detector.backends import Form, OpenVinoNetwork, choose_device, choose_form, fast_dtype
from detector.errors import WeightsError
from detector.tensor_file import arrays_of, fill, load_tensors, located, save_tensors
from detector.wagons.decode import F32, Maps, split
from detector.wagons.rescoring import FEATURES, Rescorer

if TYPE_CHECKING:
    import torch

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
class Weights(WeightsHead):
    """A network with its judge and its card, as loaded."""

    network: WagonNet


def save(path: Path, network: WagonNet, judge: Rescorer, card: dict[str, Any]) -> str:
    """Write ``path`` (.safetensors) and the card beside it (.json).

    Returns:
        The sha256 of the safetensors file, which is also written into the card.
    """
    tensors = arrays_of(network, "network.")
    tensors |= {f"judge.{name}": values for name, values in judge.arrays().items()}
    return save_tensors(path, tensors, card, FORMAT)


def load(path: str | Path | None = None) -> Weights:
    """Load weights: the shipped ones, or those of a file with its card beside it.

    Raises:
        WeightsError: The file is missing, damaged, not ours, or doesn't match the checksum in its card.
    """
    from detector.wagons.network import WagonNet

    with located(path, SHIPPED) as file:
        tensors, card, checksum = load_tensors(file, FORMAT, "wagon")
        network = WagonNet()
        judge = _judge(tensors, file)
        try:
            fill(network, tensors, "network.")
        except (RuntimeError, KeyError) as error:
            raise _unfit(file) from error
        return Weights(judge, card, checksum, file, network.eval())


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


class MapNetwork(Protocol):
    """Something that answers pictures with maps."""

    @property
    def name(self) -> str:
        """What runs, for the record: "openvino int8"."""

    def prepare(self) -> None:
        """Do what has to be done once, which the first pictures would do otherwise."""

    def maps(self, images: NDArray[np.uint8]) -> Maps[F32]:
        """Maps of pictures ``(B, H, W, 3)`` at 0.5 m, H and W multiples of 32."""


class OpenVinoMaps:
    """The network as OpenVINO runs it, on the CPU.

    Attributes:
        name: What runs.

    Args:
        form: The form of the network.
        threads: Processor cores to use; all by default.
        later: Load it when it is first needed, by the thread that needs it. What is wrong with it is then
            said there.

    Raises:
        WeightsError: The form is damaged.
    """

    def __init__(self, form: Form, threads: int | None = None, *, later: bool = False) -> None:
        self.name = form.runs_as
        self._network = cache(partial(OpenVinoNetwork, form, threads))
        if not later:
            self._network()

    def prepare(self) -> None:
        """Load the network and compile it."""
        self._network().prepare()

    def maps(self, images: NDArray[np.uint8]) -> Maps[F32]:
        """Maps of pictures ``(B, H, W, 3)``."""
        (whole,) = self._network()(images)
        return split(whole)


class TorchMaps:
    """The network as torch runs it.

    Attributes:
        name: What runs.
        device: Where.
        dtype: In which precision.

    Args:
        network: Gives maps of ``(B, 3, H, W)``, values 0 to 1.
        device: auto, cpu or cuda.
        dtype: Precision; the fastest that the hardware multiplies natively by default.

    Raises:
        InputError: The device isn't there.
    """

    def __init__(self, network: torch.nn.Module, device: str = "auto", dtype: torch.dtype | None = None):
        import torch

        self.device = choose_device(device)
        self.dtype = dtype or fast_dtype(self.device)
        self.name = f"torch {self.device.type} {str(self.dtype).removeprefix('torch.')}"
        placed: Any = network.to(self.device, self.dtype)
        self._network = placed.to(memory_format=torch.channels_last)

    def prepare(self) -> None:
        """Nothing: torch compiles nothing."""

    def maps(self, images: NDArray[np.uint8]) -> Maps[F32]:
        """Maps of pictures ``(B, H, W, 3)``."""
        import torch

        with torch.inference_mode():
            # A copy where the pixels may only be read, as those of a memory map.
            batch = torch.from_numpy(np.require(images, requirements="W"))
            if self.device.type == "cuda":
                # From pinned memory the copy runs beside the work that the GPU still has to do.
                batch = batch.pin_memory().to(self.device, non_blocking=True)
            batch = batch.permute(0, 3, 1, 2).to(self.dtype).div_(255)
            answer = self._network(batch.contiguous(memory_format=torch.channels_last))
            whole = torch.cat([field.float() for field in answer], dim=1)
            return split(whole.cpu().numpy())


def load_network(
    path: str | Path | None = None, device: str = "auto", backend: str = "auto", *, later: bool = False
) -> tuple[WeightsHead, MapNetwork]:
    """Weights and what runs their network.

    Args:
        path: A .safetensors file, None for the shipped one.
        device: auto, cpu or cuda.
        backend: auto, openvino or torch.
        later: Let OpenVINO load the network when it is first needed.

    Raises:
        WeightsError: The weights or their form are missing, damaged or not ours.
        InputError: The device or the backend isn't to be had.
    """
    with located(path, SHIPPED) as file:
        head = load_head(file)
        device, form = choose_form(file, head.checksum, device, backend)
        if form is not None:
            return head, OpenVinoMaps(form, later=later)
        return head, torch_maps(load(file), device)


def torch_maps(loaded: Weights, device: str = "auto") -> TorchMaps:
    """The network of whole weights as torch runs it.

    Raises:
        InputError: The device isn't there.
    """
    from detector.wagons.network import fused

    return TorchMaps(fused(loaded.network), device)
