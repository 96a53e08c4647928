"""Where the network runs, and in which precision."""

from __future__ import annotations

import torch

from aoi.errors import InputError


def choose_device(name: str = "auto") -> torch.device:
    """The device for ``auto``, ``cpu`` or ``cuda`` (also ``cuda:1``).

    Raises:
        InputError: The name is unknown, or CUDA was asked for and isn't there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind = name.split(":")[0]
    if kind not in {"cpu", "cuda"}:
        raise InputError(f"--device {name}: not a device; use auto, cpu or cuda")
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError(f"--device {name}: this machine has no usable CUDA device; use --device cpu or auto")
    return torch.device(name)


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies it natively, else float32.

    On CPUs without native bfloat16 the emulation is several times slower than float32.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    native = torch.ops.mkldnn._is_mkldnn_bf16_supported() and torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if native else torch.float32
