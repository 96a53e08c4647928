"""The occupancy weights as a STAC Item of the machine learning model extension."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detector.occupancy.inputs import CHANNELS
from detector.occupancy.network import OccupancyNet
from detector.training.model_item import save_item, weights_item

_ANY = -1  # of a shape: whatever comes


def write_item(card: Mapping[str, Any], weights: Path, network: OccupancyNet) -> Path:
    """Write the item beside the weights as ``NAME.stac.json``.

    Args:
        card: Of the weights, with ``sha256``.
        weights: The file.
        network: What it fills.
    """
    name = f"railwatch-{card['name']}-{card['version']}"
    properties: dict[str, Any] = {
        "title": f"railwatch {card['name']} {card['version']}",
        "description": str(card.get("task", "")),
        "license": "Apache-2.0",
        "mlm:name": name,
        "mlm:architecture": "residual blocks at 10, 20 and 40 m with one dense head",
        "mlm:tasks": ["regression"],
        "mlm:framework": "PyTorch",
        "mlm:total_parameters": sum(each.numel() for each in network.parameters()),
        "mlm:pretrained": False,
        "mlm:pretrained_source": None,
        "mlm:accelerator": None,
        "mlm:accelerator_constrained": False,
        "mlm:batch_size_suggestion": 1,
        "mlm:input": [
            {
                "name": "a date, its background and the tracks in the yard's frame, cells of 10 m",
                "bands": [{"name": band} for band in ("B02", "B03", "B04", "B08")],
                "input": {
                    "shape": [_ANY, len(CHANNELS), _ANY, _ANY],
                    "dim_order": ["batch", "channel", "height", "width"],
                    "data_type": "float32",
                },
                "description": ", ".join(CHANNELS),
                "pre_processing_function": {
                    "format": "python",
                    "expression": "detector.occupancy.inputs:inputs_of",
                },
            }
        ],
        "mlm:output": [
            {
                "name": "metres of occupied track in each cell",
                "tasks": ["regression"],
                "result": {
                    "shape": [_ANY, _ANY, _ANY],
                    "dim_order": ["batch", "height", "width"],
                    "data_type": "float32",
                },
                "post_processing_function": {
                    "format": "python",
                    "expression": "detector.occupancy.estimator:OccupancyEstimator.estimate",
                },
            }
        ],
        "mlm:hyperparameters": {
            "pitch_m": card.get("pitch_m"),
            "trusted_to": card.get("trusted_to"),
            "steps": card.get("training", {}).get("steps"),
        },
    }
    return save_item(weights_item(card, weights, properties, "Network"), weights)
