"""Weights as STAC Items of the machine learning model extension, so that catalogues can list them.

https://github.com/stac-extensions/mlm, version 1.4.0: what goes in, what comes out, how it was made.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pystac
from torch import nn

from aoi.files import write_text
from detector.occupancy.inputs import CHANNELS
from detector.occupancy.network import OccupancyNet
from detector.wagons.categories import CATEGORIES
from detector.wagons.decode import STRIDE
from detector.wagons.rescoring import Rescorer
from geo.tiles import WORK_GSD_M

MLM = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
FILE = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
_ANY = -1  # of a shape: whatever comes
_FIGURES = ("ap_0.5", "ap_0.3", "precision_0.3", "recall_0.3", "f1_0.3", "count_wape", "interval_coverage")


def model_item(card: Mapping[str, Any], weights: Path, parameters: int) -> pystac.Item:
    """Describe weights as a STAC Item without a place.

    Args:
        card: Of the weights, with ``sha256``.
        weights: The file, beside which the item is going to lie.
        parameters: Number of the network's and the judge's weights.
    """
    batch = ["batch", "channel", "height", "width"]
    properties: dict[str, Any] = {
        **_described(card, "object-detection", parameters, batch_size=2),
        "mlm:architecture": "residual blocks with a feature pyramid and dense heads at stride 4",
        "mlm:input": [
            {
                "name": f"image of {WORK_GSD_M:g} m a pixel, grey images three times",
                "bands": [{"name": name} for name in ("red", "green", "blue")],
                "input": {"shape": [_ANY, 3, _ANY, _ANY], "dim_order": batch, "data_type": "uint8"},
                "resize_type": "interpolation-area",
                "pre_processing_function": {"format": "python", "expression": "geo.tiles:tiles"},
            }
        ],
        "mlm:output": [
            {
                "name": "oriented boxes in pixels: centre, length, width, angle, probability, category",
                "tasks": ["object-detection"],
                "result": {"shape": [_ANY, 7], "dim_order": ["box", "value"], "data_type": "float64"},
                "classification:classes": [
                    {"value": number, "name": name} for number, name in enumerate(CATEGORIES)
                ],
                "post_processing_function": {
                    "format": "python",
                    "expression": "detector.wagons.detector:WagonDetector.detect",
                },
            }
        ],
        "mlm:hyperparameters": {
            "threshold": card.get("threshold"),
            "stride": STRIDE,
            "gsd_range_m": card.get("gsd_range_m"),
            **{name: value for name, value in card.get("training", {}).items() if name != "settings"},
        },
        "railwatch:figures": {
            name: {key: given[key] for key in _FIGURES if key in given and math.isfinite(given[key])}
            for name, given in card.get("figures", {}).items()
        },
    }
    return weights_item(card, weights, properties, "Weights of the network and of its judge")


def _described(card: Mapping[str, Any], task: str, parameters: int, *, batch_size: int) -> dict[str, Any]:
    """What the items of both networks say alike."""
    return {
        "title": f"railwatch {card['name']} {card['version']}",
        "description": str(card.get("task", "")),
        "license": "Apache-2.0",
        "mlm:name": f"railwatch-{card['name']}-{card['version']}",
        "mlm:tasks": [task],
        "mlm:framework": "PyTorch",
        "mlm:total_parameters": parameters,
        "mlm:pretrained": False,
        "mlm:pretrained_source": None,
        "mlm:accelerator": None,
        "mlm:accelerator_constrained": False,
        "mlm:batch_size_suggestion": batch_size,
    }


def weights_item(
    card: Mapping[str, Any], weights: Path, properties: dict[str, Any], title: str
) -> pystac.Item:
    """A STAC Item without a place for a weights file and its card.

    Args:
        card: With ``name``, ``version``, ``trained`` and ``sha256``.
        weights: The file, beside which the item is going to lie.
        properties: Of the item.
        title: Of the weights' asset.
    """
    item = pystac.Item(
        id=f"railwatch-{card['name']}-{card['version']}",
        geometry=None,
        bbox=None,
        datetime=datetime.fromisoformat(str(card["trained"])).replace(tzinfo=UTC),
        properties=properties,
        stac_extensions=[MLM, FILE],
    )
    item.add_asset(
        "weights",
        pystac.Asset(
            href=f"./{weights.name}",
            title=title,
            media_type="application/octet-stream; application=safetensors",
            roles=["mlm:model", "mlm:weights"],
            extra_fields={
                # A multihash: 12 for SHA-256, 20 for its 32 bytes, both hexadecimal.
                "file:checksum": f"1220{card['sha256']}",
                "file:size": weights.stat().st_size,
                "mlm:artifact_type": "safetensors",
            },
        ),
    )
    item.add_asset(
        "card",
        pystac.Asset(
            href=f"./{weights.with_suffix('.json').name}",
            title="Settings and all figures",
            media_type=pystac.MediaType.JSON,
            roles=["metadata"],
        ),
    )
    return item


def write_wagon_item(card: Mapping[str, Any], weights: Path, network: nn.Module, judge: Rescorer) -> Path:
    """Write the item beside the weights as ``NAME.stac.json``, for what the weights fill."""
    fitted = (values for name, values in judge.arrays().items() if name.startswith("layers."))
    parameters = sum(each.numel() for each in network.parameters()) + sum(each.size for each in fitted)
    return save_item(model_item(card, weights, parameters), weights)


def save_item(item: pystac.Item, weights: Path) -> Path:
    """Write an item beside the weights as ``NAME.stac.json``."""
    path = weights.with_suffix(".stac.json")
    document = item.to_dict(include_self_link=False, transform_hrefs=False)
    write_text(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return path


def write_occupancy_item(card: Mapping[str, Any], weights: Path, network: OccupancyNet) -> Path:
    """Write the item beside the weights as ``NAME.stac.json``.

    Args:
        card: Of the weights, with ``sha256``.
        weights: The file.
        network: What it fills.
    """
    properties: dict[str, Any] = {
        **_described(card, "regression", sum(each.numel() for each in network.parameters()), batch_size=1),
        "mlm:architecture": "residual blocks at 10, 20 and 40 m with one dense head",
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
