"""What runs a network: OpenVINO on the CPU, or torch on a GPU, for training and as the reference.

Torch is a heavy import (seconds), OpenVINO a light one. So which of them it is gets decided here, without
importing either: a GPU is asked for through its driver, and torch's own files say what it was built for.

For OpenVINO there lie beside ``NAME.safetensors`` forms of the network: ``NAME.openvino.json`` lists them
(``int8``, ``float32``) and says how true they are; each is a graph of OpenVINO's own operations
(``NAME.FORM.xml``) with its numbers (``NAME.FORM.bin``). Neither can run code. Both are held to their
SHA-256, the list to that of the weights that it was made from, and numbers that aren't finite are refused.
`detector.training.quantise` makes them; `OpenVinoNetwork` runs one.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import json
import logging
import os
import platform
import re
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aoi.errors import InputError
from detector.errors import WeightsError

if TYPE_CHECKING:
    import torch


Backend = Literal["auto", "openvino", "torch"]
BACKENDS: tuple[Backend, ...] = ("auto", "openvino", "torch")

log = logging.getLogger(__name__)

_X86 = frozenset({"x86_64", "amd64", "i686", "i386"})
# Of torch/version.py: "cuda: Optional[str] = '13.0'", or None.
_BUILT_FOR = re.compile(r"^(cuda|hip)\s*(?::[^=]*)?=\s*['\"]", re.MULTILINE)


class Choice(NamedTuple):
    """What a network is going to run on.

    Attributes:
        device: cpu, or cuda as torch knows it.
        form: The form of the network that OpenVINO takes, None where torch runs it.
    """

    device: str
    form: str | None


def choose(backend: str, device: str, forms: Sequence[str], *, weights: str) -> Choice:
    """What to run on: what was asked for, else what this machine does fastest.

    A GPU that torch can use comes first, then OpenVINO (int8 where the processor multiplies it, which all
    those of Intel and AMD do), then torch on the CPU.

    Args:
        backend: auto, openvino or torch.
        device: auto, cpu or cuda (also ``cuda:1``).
        forms: The forms for OpenVINO that lie beside the weights, the fastest first.
        weights: The weights file, for the words of a refusal.

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
        return Choice(device if on_gpu else "auto", None)
    usable = bool(forms) and importlib.util.find_spec("openvino") is not None
    if backend == "torch" or (backend == "auto" and not usable):
        return Choice("cpu", None)
    if not forms:
        raise InputError(
            f"{weights}: there is no form for OpenVINO beside these weights; make one with "
            "'railwatch quantise', or use the backend torch"
        )
    if not usable:
        raise InputError("OpenVINO isn't installed: pip install openvino, or use the backend torch")
    # Processors of another kind than Intel's and AMD's would compute int8 by way of wider numbers.
    native = platform.machine().lower() in _X86
    return Choice("cpu", forms[0] if native or "float32" not in forms else "float32")


def gpu_seen() -> bool:
    """Whether torch would find a CUDA GPU; answered by its driver, and without importing torch where not."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    if "torch" not in sys.modules:
        try:
            built = _BUILT_FOR.findall(Path(spec.origin).with_name("version.py").read_text(encoding="utf-8"))
        except OSError:
            built = ["cuda"]
        if not built or not ("hip" in built or _driver_has_a_gpu()):
            return False
    import torch

    return bool(torch.cuda.is_available())


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


def choose_device(name: str = "auto") -> torch.device:
    """The device for ``auto``, ``cpu`` or ``cuda`` (also ``cuda:1``).

    Raises:
        InputError: The name is unknown, or CUDA was asked for and isn't there.
    """
    import torch

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
    import torch

    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    native = torch.ops.mkldnn._is_mkldnn_bf16_supported() and torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if native else torch.float32


FORMAT = "railwatch-openvino-1"


@dataclass(frozen=True)
class Form:
    """One form of a network.

    Attributes:
        name: int8 or float32.
        graph: Its .xml.
        numbers: Its .bin.
        sha256: Of both, by file name.
    """

    name: str
    graph: Path
    numbers: Path
    sha256: Mapping[str, str]

    @property
    def runs_as(self) -> str:
        """What runs, for the record: "openvino int8"."""
        return f"openvino {self.name}"

    def read(self) -> tuple[bytes, bytes]:
        """Graph and numbers, as listed.

        Raises:
            WeightsError: One is missing or isn't what the list says.
        """
        contents = []
        for path in (self.graph, self.numbers):
            try:
                content = path.read_bytes()
            except OSError as error:
                raise WeightsError(f"{path}: can't be read ({error.strerror}); {_AGAIN}") from error
            if hashlib.sha256(content).hexdigest() != self.sha256.get(path.name):
                raise WeightsError(
                    f"{path}: its checksum differs from the one in its list: damaged or exchanged; {_AGAIN}"
                )
            contents.append(content)
        return contents[0], contents[1]


_AGAIN = "make it again with 'railwatch quantise', or use the backend torch"


def list_path(weights: Path) -> Path:
    """The list of the forms beside a weights file."""
    return weights.with_suffix(".openvino.json")


def find(weights: Path, checksum: str) -> dict[str, Form]:
    """The forms beside a weights file by name, the preferred one first; none if they are of other weights.

    Args:
        weights: The .safetensors file.
        checksum: Its SHA-256.

    Raises:
        WeightsError: The list is damaged.
    """
    path = list_path(weights)
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: not a readable list of forms ({error}); {_AGAIN}") from error
    try:
        if card["format"] != FORMAT:
            raise WeightsError(f"{path}: not a list of forms of this version ({card['format']!r}); {_AGAIN}")
        if card["weights_sha256"] != checksum:
            log.warning(
                "%s: was made from other weights than %s and isn't used; make it again with "
                "'railwatch quantise'",
                path,
                weights.name,
            )
            return {}
        order = sorted(card["forms"], key=lambda name: name != card["preferred"])
        return {
            name: Form(
                name,
                graph=weights.with_suffix(f".{name}.xml"),
                numbers=weights.with_suffix(f".{name}.bin"),
                sha256=dict(card["forms"][name]["sha256"]),
            )
            for name in order
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(f"{path}: not a list of forms ({error!r}); {_AGAIN}") from error


def choose_form(weights: Path, checksum: str, device: str, backend: str) -> tuple[str, Form | None]:
    """Where the network of a weights file runs, and the form that OpenVINO takes; None if it is torch.

    Args:
        weights: The .safetensors file.
        checksum: Its SHA-256.
        device: auto, cpu or cuda.
        backend: auto, openvino or torch.

    Raises:
        WeightsError: The list of the forms is damaged.
        InputError: The device or the backend isn't to be had.
    """
    forms = find(weights, checksum)
    choice = choose(backend, device, tuple(forms), weights=str(weights))
    return choice.device, None if choice.form is None else forms[choice.form]


class OpenVinoNetwork:
    """A form, ready to run on the CPU.

    Sums are kept in single precision whatever the processor offers, so that all of them answer alike: where a
    processor has bfloat16, OpenVINO would take that by itself. It is compiled once for any shape of input.
    Made for one shape the 8-bit form would run 5% faster and give other numbers, so that a count would depend
    on the images before it.

    Attributes:
        name: What runs, for the record.

    Args:
        form: Which.
        threads: Processor cores to use; all by default.
    """

    def __init__(self, form: Form, threads: int | None = None) -> None:
        self.name = form.runs_as
        openvino = import_openvino()
        self._core = openvino.Core()
        graph, numbers = form.read()
        try:
            self._model = self._core.read_model(graph, openvino.Tensor(np.frombuffer(numbers, np.uint8)))
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise WeightsError(f"{form.graph}: OpenVINO can't read it ({reason}); {_AGAIN}") from error
        _check_finite(self._model, form)
        self._settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads or os.cpu_count() or 1,
        }
        self._alone = threading.Lock()  # a request serves one thread at a time

    def prepare(self) -> None:
        """Compile the network, which the first call would do otherwise."""
        with self._alone:
            _ = self._request

    @cached_property
    def _request(self) -> Any:
        # Not before it is needed: it takes 0.1 to 0.2 s, and whoever only asks for a card runs nothing.
        return self._core.compile_model(self._model, "CPU", self._settings).create_infer_request()

    def __call__(self, *inputs: NDArray[Any]) -> tuple[NDArray[np.float32], ...]:
        """All outputs for some inputs, in the graph's order."""
        with self._alone:
            # By itself OpenVINO would copy what goes in and what comes out.
            answer = self._request.infer(dict(enumerate(inputs)), share_inputs=True, share_outputs=True)
            # Copies: it writes the next answer into the same memory.
            return tuple(np.array(answer[number], np.float32) for number in range(len(answer)))


def _check_finite(model: Any, form: Form) -> None:
    for node in model.get_ops():
        if node.get_type_name() != "Constant" or not node.get_element_type().is_real():
            continue
        if not np.isfinite(node.get_data()).all():
            raise WeightsError(
                f"{form.numbers}: holds numbers that aren't finite: train the network again, or use other "
                "weights"
            )


def import_openvino() -> Any:
    """OpenVINO's runtime alone.

    Its package also brings a converter of other formats, which brings a client that reports usage to its
    maker. Neither is loaded here: the first costs time, the second would talk to the network.
    """
    if "openvino" in sys.modules:
        return sys.modules["openvino"]
    with left_out("openvino_telemetry", "openvino.tools.ovc"):
        import openvino
    return openvino


@contextmanager
def left_out(*names: str) -> Iterator[None]:
    """Let imports of some modules fail, as they do where these aren't installed."""
    before = {name: sys.modules.get(name) for name in names}
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]  # None is Python's mark for it
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
