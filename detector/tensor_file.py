"""Tensors in a safetensors file with a card beside it: nothing that could run code, and no network."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as tensor_bytes
from torch import Tensor

from aoi.files import write_bytes, write_text
from detector.errors import WeightsError


def save_tensors(path: Path, tensors: dict[str, Tensor], card: dict[str, Any], format: str) -> str:
    """Write tensors and the card beside them.

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
    compact = {
        k: (v.half() if v.ndim == 4 else v).contiguous().cpu()
        for k, v in tensors.items()
        if v.dtype.is_floating_point
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    content = tensor_bytes(compact, metadata={"format": format})
    checksum = hashlib.sha256(content).hexdigest()
    write_bytes(path, content)
    text = json.dumps({**card, "format": format, "sha256": checksum}, indent=2, ensure_ascii=False)
    write_text(path.with_suffix(".json"), text + "\n")
    return checksum


def load_tensors(path: Path, format: str, kind: str) -> tuple[dict[str, Tensor], dict[str, Any], str]:
    """Read tensors and the card beside them.

    Args:
        path: Of the .safetensors file.
        format: The kind of weights that is wanted, as `save_tensors` wrote it.
        kind: The same for people: "wagon".

    Returns:
        The tensors as float32, the card, and the file's sha256.

    Raises:
        WeightsError: The file is missing, damaged, not of this kind, or doesn't match its card's checksum.
    """
    if path.suffix != ".safetensors":
        raise WeightsError(
            f"{path}: only .safetensors weights are read, since other formats can run code when loaded"
        )
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    card_path = path.with_suffix(".json")
    try:
        card = json.loads(card_path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: the card {card_path.name} that belongs beside it is missing") from error
    except (OSError, ValueError) as error:
        raise WeightsError(f"{card_path}: not a readable card ({error})") from error
    if not isinstance(card, dict):
        raise WeightsError(f"{card_path}: not a card of weights")
    try:
        checksum = hashlib.sha256(path.read_bytes()).hexdigest()
        with safe_open(path, framework="pt") as file:
            found = (file.metadata() or {}).get("format")
            if found != format:
                raise WeightsError(
                    f"{path}: not railwatch {kind} weights (format {found!r}, expected {format!r})"
                )
            tensors = {k: file.get_tensor(k).float() for k in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: damaged or not a safetensors file ({error})") from error
    if checksum != card.get("sha256"):
        raise WeightsError(
            f"{path}: its checksum differs from the one in {card_path.name}: damaged or exchanged"
        )
    return tensors, card, checksum


def fill(module: torch.nn.Module, tensors: dict[str, Tensor], prefix: str) -> None:
    """Give a module its tensors, whose names begin with a prefix.

    Raises:
        KeyError, RuntimeError: One is missing or has another shape.
    """
    own = module.state_dict()
    # The counters of batch normalisation play no part in inference and aren't stored.
    state = {k: tensors[prefix + k] if v.dtype.is_floating_point else v for k, v in own.items()}
    module.load_state_dict(state)
