"""What runs a network: OpenVINO on the CPU, or torch on a GPU, for training and as the reference.

Torch is a heavy import (seconds), OpenVINO a light one. So which of them it is gets decided here, without
importing either: a GPU is asked for through its driver, and torch's own files say what it was built for.
"""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import platform
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from aoi.errors import InputError

Backend = Literal["auto", "openvino", "torch"]
BACKENDS: tuple[Backend, ...] = ("auto", "openvino", "torch")

log = logging.getLogger(__name__)

_X86 = frozenset({"x86_64", "amd64", "i686", "i386"})
# Of torch/version.py: "cuda: Optional[str] = '13.0'", or None.
_BUILT_FOR_GPU = re.compile(r"^(?:cuda|hip)\s*(?::[^=]*)?=\s*['\"]", re.MULTILINE)


class Choice(NamedTuple):
    """What a network is going to run on.

    Attributes:
        backend: openvino or torch.
        device: cpu, or cuda as torch knows it.
        form: The form of the network that OpenVINO takes, None for torch.
    """

    backend: Backend
    device: str
    form: str | None


def choose(
    backend: str, device: str, forms: Iterable[str] | None, *, weights: str, preferred: str | None = None
) -> Choice:
    """What to run on: what was asked for, else what this machine does fastest.

    A GPU that torch can use comes first, then OpenVINO (int8 where the processor multiplies it, which all
    those of Intel and AMD do), then torch on the CPU.

    Args:
        backend: auto, openvino or torch.
        device: auto, cpu or cuda (also ``cuda:1``).
        forms: The forms for OpenVINO that lie beside the weights, None or empty where there are none.
        weights: The weights file, for the words of a refusal.
        preferred: The form to take; the fastest of those that proved equal by default.

    Raises:
        InputError: What was asked for isn't to be had.
    """
    if backend not in BACKENDS:
        raise InputError(f"{backend!r} is no backend; use auto, openvino or torch")
    on_gpu = device.split(":")[0] == "cuda"
    if device not in {"auto", "cpu"} and not on_gpu:
        raise InputError(f"--device {device}: not a device; use auto, cpu or cuda")
    if backend == "openvino" and on_gpu:
        raise InputError("the backend openvino runs on the CPU; a CUDA GPU needs the backend torch")
    if on_gpu or (device == "auto" and backend != "openvino" and gpu_seen()):
        return Choice("torch", device if on_gpu else "auto", None)
    there = tuple(forms or ())
    usable = bool(there) and importlib.util.find_spec("openvino") is not None
    if backend == "torch" or (backend == "auto" and not usable):
        return Choice("torch", "cpu", None)
    if not there:
        raise InputError(
            f"{weights}: there is no form for OpenVINO beside these weights; make one with "
            "'railwatch quantise', or use the backend torch"
        )
    if not usable:
        raise InputError("OpenVINO isn't installed: pip install openvino, or use the backend torch")
    # Processors of another kind than Intel's and AMD's would compute int8 by way of wider numbers.
    native = platform.machine().lower() in _X86
    wanted = preferred if native else "float32"
    return Choice("openvino", "cpu", wanted if wanted in there else there[0])


def gpu_seen() -> bool:
    """Whether torch would find a CUDA GPU; answered by its driver, and without importing torch where not."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    if "torch" not in sys.modules:
        version = Path(spec.origin).with_name("version.py")
        try:
            built = _BUILT_FOR_GPU.search(version.read_text(encoding="utf-8")) is not None
        except OSError:
            built = True
        if not built or not (_driver_has_a_gpu() or _is_rocm(version)):
            return False
    import torch

    return bool(torch.cuda.is_available())


def _is_rocm(version: Path) -> bool:
    try:
        return re.search(r"^hip\s*(?::[^=]*)?=\s*['\"]", version.read_text("utf-8"), re.MULTILINE) is not None
    except OSError:
        return False


def _driver_has_a_gpu() -> bool:
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
        count = ctypes.c_int(0)
        if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
            return False
    except (OSError, AttributeError):
        return False
    return count.value > 0
