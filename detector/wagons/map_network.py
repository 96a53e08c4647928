"""Pictures to maps: the wagon network as torch or OpenVINO runs it."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from detector.openvino_forms import Form, OpenVinoNetwork, choose_form
from detector.tensor_file import located
from detector.wagons import weights as weights_file
from detector.wagons.maps import F32, Maps, split
from detector.wagons.weights import Weights, WeightsHead

if TYPE_CHECKING:
    import torch


class MapNetwork(Protocol):
    """Something that answers pictures with maps."""

    @property
    def name(self) -> str:
        """What runs, for the record: "openvino int8"."""

    def prepare(self, shape: tuple[int, int, int, int]) -> None:
        """Do what has to be done once before pictures of this shape, (B, H, W, 3)."""

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

    def prepare(self, shape: tuple[int, int, int, int]) -> None:
        """Load the network and compile it for pictures of this shape."""
        self._network().prepare(shape)

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

        from detector.device import choose_device, fast_dtype

        self.device = choose_device(device)
        self.dtype = dtype or fast_dtype(self.device)
        self.name = f"torch {self.device.type} {str(self.dtype).removeprefix('torch.')}"
        placed: Any = network.to(self.device, self.dtype)
        self._network = placed.to(memory_format=torch.channels_last)

    def prepare(self, shape: tuple[int, int, int, int]) -> None:
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


def load(
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
    with located(path, weights_file.SHIPPED) as file:
        head = weights_file.load_head(file)
        choice, form = choose_form(file, head.checksum, device, backend)
        if form is not None:
            return head, OpenVinoMaps(form, later=later)
        return head, torch_maps(weights_file.load(file), choice.device)


def torch_maps(loaded: Weights, device: str = "auto") -> TorchMaps:
    """The network of whole weights as torch runs it.

    Raises:
        InputError: The device isn't there.
    """
    from detector.wagons.network import fused

    return TorchMaps(fused(loaded.network), device)
