"""Weights on disk: safetensors with a card beside them, and nothing that could run code.

Arrays are numpy's, so that reading them needs no tensor library; `arrays_of` and `fill` carry them out of and
into a network of torch's.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aoi.files import parse_json, read_bytes, write_bytes, write_text
from detector.errors import WeightsError

if TYPE_CHECKING:
    import torch


Arrays = dict[str, NDArray[np.float32]]


def save_tensors(path: Path, tensors: Mapping[str, NDArray[Any]], card: dict[str, Any], format: str) -> str:
    """Write arrays and the card beside them.

    Convolutions are stored as float16, which halves the file at no measurable cost; the small rest stays as
    it is. Counters of integers, which no inference needs, are left out.

    Args:
        path: Of the .safetensors file.
        tensors: By name.
        card: Data, training and figures.
        format: Name of the kind of weights.

    Returns:
        The sha256 of the safetensors file, which is also written into the card.
    """
    from safetensors.numpy import save as tensor_bytes

    compact = {
        name: np.ascontiguousarray(values, np.float16 if values.ndim == 4 else values.dtype)
        for name, values in tensors.items()
        if np.issubdtype(values.dtype, np.floating)
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    content = tensor_bytes(compact, metadata={"format": format})
    checksum = hashlib.sha256(content).hexdigest()
    write_bytes(path, content)
    write_card(path, {**card, "format": format, "sha256": checksum})
    return checksum


def write_card(path: Path, card: Mapping[str, Any]) -> None:
    """Write the card that lies beside a weights file; a figure that isn't finite is written as null."""
    text = json.dumps(_finite(card), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path.with_suffix(".json"), text + "\n")


def _finite(value: Any) -> Any:
    """JSON values with None for what JSON has no number for: a figure that couldn't be measured."""
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def located(path: str | Path | None, shipped: str) -> Iterator[Path]:
    """The path of a weights file, or of the one of a name that railwatch brings along."""
    if path is not None:
        yield Path(path)
        return
    with as_file(files("detector") / "weights") as folder:
        yield folder / f"{shipped}.safetensors"


def format_of(path: Path) -> str | None:
    """The kind of weights in a file, as `save_tensors` wrote it; None where it doesn't tell."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return (file.metadata() or {}).get("format")
    except (OSError, SafetensorError):
        return None


def load_tensors(
    path: Path, format: str, kind: str, *, beginning: str = ""
) -> tuple[Arrays, dict[str, Any], str]:
    """Read arrays and the card beside them.

    Args:
        path: Of the .safetensors file.
        format: The kind of weights that is wanted, as `save_tensors` wrote it.
        kind: The same for people: "wagon".
        beginning: Only arrays whose names begin with this.

    Returns:
        The arrays as float32, the card, and the file's sha256.

    Raises:
        WeightsError: The file is missing, damaged, not of this kind, doesn't match its card's checksum, or
            holds numbers that aren't finite.
    """
    from safetensors import SafetensorError, safe_open

    if path.suffix != ".safetensors":
        raise WeightsError(
            f"{path}: only .safetensors weights are read, since other formats can run code when loaded"
        )
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    card_path = path.with_suffix(".json")
    card = read_card(path)
    try:
        checksum = hashlib.sha256(path.read_bytes()).hexdigest()
        with safe_open(path, framework="numpy") as file:
            found = (file.metadata() or {}).get("format")
            if found != format:
                raise WeightsError(
                    f"{path}: not railwatch {kind} weights (format {found!r}, expected {format!r})"
                )
            names = [name for name in file.keys() if name.startswith(beginning)]  # noqa: SIM118 (not a dict)
            tensors = {name: np.asarray(file.get_tensor(name), np.float32) for name in names}
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: damaged or not a safetensors file ({error})") from error
    if checksum != card.get("sha256"):
        raise WeightsError(
            f"{path}: its checksum differs from the one in {card_path.name}: damaged or exchanged"
        )
    for name, values in tensors.items():
        if not np.isfinite(values).all():
            raise WeightsError(f"{path}: its tensor {name} holds numbers that aren't finite: train it again")
    return tensors, card, checksum


def read_card(path: Path) -> dict[str, Any]:
    """The card beside a weights file.

    Raises:
        WeightsError: It is missing or not a card.
    """
    card_path = path.with_suffix(".json")
    if not card_path.exists():
        raise WeightsError(f"{path}: the card {card_path.name} that belongs beside it is missing")
    card = parse_json(read_bytes(card_path, WeightsError), card_path, WeightsError, strict=False)
    if not isinstance(card, dict):
        raise WeightsError(f"{card_path}: not a card of weights")
    return card


def arrays_of(module: torch.nn.Module, beginning: str = "") -> Arrays:
    """The floating-point tensors of a module as arrays, their names after a beginning such as "network."."""
    return {
        beginning + name: values.detach().cpu().float().numpy()
        for name, values in module.state_dict().items()
        if values.dtype.is_floating_point
    }


def fill(module: torch.nn.Module, arrays: Mapping[str, NDArray[np.float32]], beginning: str = "") -> None:
    """Give a module its tensors, whose names begin with a prefix.

    Raises:
        KeyError, RuntimeError: One is missing or has another shape.
    """
    import torch

    own = module.state_dict()
    # The counters of batch normalisation play no part in inference and aren't stored.
    state = {
        name: torch.tensor(arrays[beginning + name]) if values.dtype.is_floating_point else values
        for name, values in own.items()
    }
    module.load_state_dict(state)
