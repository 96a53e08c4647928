"""Forms of a trained network for OpenVINO, and what they change: 8-bit numbers and single precision.

Post-training quantisation (B. Jacob et al., "Quantization and training of neural networks for efficient
integer-arithmetic-only inference", CVPR 2018) as the Neural Network Compression Framework does it: the ranges
of the activations come from some pictures. The weights have been put on 8-bit steps before, so that each
layer answers as the trained one does (`detector.training.rounding`).

A form is good enough if it draws the boxes that the weights themselves draw in single precision.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aoi.errors import InputError
from aoi.files import write_bytes, write_text
from detector.backends import FORMAT, Form, import_openvino, left_out, list_path
from detector.training.calibrate_wagons import detect_tiles, score, whole_cells
from detector.training.metrics import Scored, summarise
from detector.training.rounding import EXACT, on_steps
from detector.training.shards import LabelledTile
from detector.training.tiles import simulate_tiles
from detector.wagons.boxes import match
from detector.wagons.detector import WagonDetector
from detector.wagons.weights import OpenVinoMaps, TorchMaps, Weights

__all__ = [
    "LIMITS",
    "USABLE",
    "Parity",
    "compare",
    "convert",
    "images_for",
    "quantise_wagons",
    "write_forms",
    "written",
]

logger = logging.getLogger(__name__)

SAME_BOX_IOU = 0.5


@dataclass(frozen=True)
class Parity:
    """How the boxes of a form compare with those of the weights in single precision, on the same pictures.

    Attributes:
        pictures: Looked at.
        boxes: That the weights draw at their threshold.
        differing: Boxes that only one of the two draws, of which a pair makes two.
        count_differences: Pictures by how far their counts of freight cars lie apart, "0", "1", "2" ....
        f1_reference: F1 at an overlap of 0.3 of the weights, in single precision.
        f1: Of the form.
        logit_error: Mean absolute difference of the heatmap's logits.
    """

    pictures: int
    boxes: int
    differing: int
    count_differences: dict[str, int]
    f1_reference: float
    f1: float
    logit_error: float

    @property
    def share(self) -> float:
        """Differing boxes among all that either draws."""
        return self.differing / max(1, 2 * self.boxes)

    @property
    def usable(self) -> bool:
        """Whether it finds as much of the truth as the weights do, within `USABLE`."""
        return self.share <= USABLE["share"] and self.f1 >= self.f1_reference - USABLE["f1"]

    @property
    def equal(self) -> bool:
        """Whether it is within `LIMITS`."""
        worst = max(map(int, self.count_differences), default=0)
        return (
            self.share <= LIMITS["share"]
            and worst <= LIMITS["count"]
            and self.f1 >= self.f1_reference - LIMITS["f1"]
        )

    def to_json(self) -> dict[str, Any]:
        """For the list of forms."""
        return asdict(self) | {
            "share_differing": round(self.share, 5),
            "equal": self.equal,
            "usable": self.usable,
        }


LIMITS = {"share": 0.005, "count": 1, "f1": 0.003}
"""What a form may differ by: share of the boxes, cars a picture, F1."""

USABLE = {"share": 0.01, "f1": 0.003}
"""What a form may differ by to be used by default although it isn't `equal`: as many hits, other doubts."""


class _Whole(nn.Module):
    """A wagon network from pictures as they come, ``(B, H, W, 3)`` uint8, to all maps in one tensor."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """All maps, ``(B, 12, H / 4, W / 4)``."""
        return torch.cat(list(self.network(image.permute(0, 3, 1, 2).float() / 255)), dim=1)


def convert(network: nn.Module, example: Tensor | tuple[Tensor, ...], shapes: Sequence[Sequence[int]]) -> Any:
    """A torch network as a graph of OpenVINO's.

    Args:
        network: Any that torch can trace.
        example: An input, or several.
        shapes: Of each input, -1 where any size will do.
    """
    openvino = import_openvino()
    # Its converter would report its use to its maker.
    # It still traces by the way that torch means to give up, and says so.
    with left_out("openvino_telemetry"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from openvino.tools.ovc import convert_model

        model = convert_model(network.eval(), example_input=example)
    model.reshape(dict(zip(model.inputs, (openvino.PartialShape(list(one)) for one in shapes), strict=True)))
    return model


def _quantised(model: Any, samples: Iterable[Any]) -> Any:
    """The graph of a network whose weights lie on steps (`on_steps`) with 8-bit layers.

    Raises:
        InputError: NNCF isn't installed.
    """
    with left_out("openvino_telemetry"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import nncf
        except ImportError as error:
            raise InputError("quantising needs NNCF: pip install nncf") from error
        from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet

        logging.getLogger("nncf").setLevel(logging.ERROR)
        data = list(samples)
        return nncf.quantize(
            model,
            nncf.Dataset(data),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(data),
            # Ranges that cut nothing off: percentiles of them moved three times as many boxes. Biases have
            # been fitted already.
            advanced_parameters=AdvancedQuantizationParameters(
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
                overflow_fix=OverflowFix.FIRST_LAYER,  # see `detector.training.rounding.FIRST_LEVELS`
                disable_bias_correction=True,
            ),
            ignored_scope=nncf.IgnoredScope(patterns=[rf".*{re.escape(name)}/.*" for name in EXACT]),
        )


def images_for(
    samples: int, checks: int, *, seed: int, progress: Callable[[int, int], None] | None = None
) -> tuple[list[NDArray[np.uint8]], list[LabelledTile]]:
    """Simulated images to quantise with and to compare on, two thirds of each of the main simulator.

    Args:
        samples: Of the validation split, for the ranges of activations.
        checks: Of the test split, with their labels.
        seed: Of both.
        progress: Called with images done and images in all.
    """
    drawn: list[list[LabelledTile]] = [[], []]
    for kind, (split, wanted) in enumerate((("val", samples), ("test", checks))):
        for number in range(wanted):
            drawn[kind] += simulate_tiles(
                seed + kind,
                number,
                1,
                split=split,
                backgrounds=None,
                views=1,
                simulator="collage" if number % 3 == 2 else "main",
            )
            if progress is not None:
                progress(sum(map(len, drawn)), samples + checks)
    return [tile.image for tile in drawn[0]], drawn[1]


def compare(reference: WagonDetector, other: WagonDetector, tiles: Sequence[LabelledTile]) -> Parity:
    """How the boxes of two detectors with the same weights compare on labelled tiles."""
    seen = [detect_tiles(detector, tiles) for detector in (reference, other)]
    scored = [score(detector, pictured) for detector, pictured in zip((reference, other), seen, strict=True)]
    differing = boxes = 0
    differences: dict[str, int] = {}
    for ours, theirs in zip(*scored, strict=True):
        a, b = (_sure(one, reference.threshold) for one in (ours, theirs))
        same = len(match(a.boxes, a.probability, b.boxes, SAME_BOX_IOU).iou)
        boxes += len(a.boxes)
        differing += len(a.boxes) + len(b.boxes) - 2 * same
        apart = str(abs(int((a.category == 0).sum()) - int((b.category == 0).sum())))
        differences[apart] = differences.get(apart, 0) + 1
    f1 = [float(summarise(one, reference.threshold)["f1_0.3"]) for one in scored]
    return Parity(
        pictures=len(tiles),
        boxes=boxes,
        differing=differing,
        count_differences=dict(sorted(differences.items())),
        f1_reference=round(f1[0], 5),
        f1=round(f1[1], 5),
        logit_error=round(_logit_error(reference, other, tiles), 5),
    )


def _sure(scored: Scored, threshold: float) -> Scored:
    rows = scored.probability >= threshold
    return replace(
        scored, boxes=scored.boxes[rows], probability=scored.probability[rows], category=scored.category[rows]
    )


def _logit_error(reference: WagonDetector, other: WagonDetector, tiles: Sequence[LabelledTile]) -> float:
    errors = [
        float(np.abs(reference.maps([picture]).heatmap - other.maps([picture]).heatmap).mean())
        for picture in (whole_cells(tile.image) for tile in tiles[:20])
    ]
    return float(np.mean(errors)) if errors else 0.0


def quantise_wagons(
    loaded: Weights,
    samples: Sequence[NDArray[np.uint8]],
    checks: Sequence[LabelledTile],
    *,
    report: Callable[[str], None] = logger.info,
) -> Path:
    """Make the forms of wagon weights and write them beside the file.

    Args:
        loaded: The weights.
        samples: Pictures ``(H, W, 3)`` at 0.5 m, from which the ranges of activations come.
        checks: Labelled tiles on which the forms are compared with the weights.
        report: Told what is going on.

    Returns:
        The list of the forms.
    """
    example = torch.zeros(1, 256, 256, 3, dtype=torch.uint8)
    report("converting")
    plain = convert(_Whole(loaded.network), example, [[-1, -1, -1, 3]])
    reference = WagonDetector(loaded, network=TorchMaps(loaded.network, "cpu", dtype=torch.float32))

    def parity(model: Any) -> Parity:
        with written(model, loaded.path.stem) as form:
            return compare(reference, WagonDetector(loaded, network=OpenVinoMaps(form)), checks)

    pictures = [whole_cells(image)[None] for image in samples]
    models, found = {"float32": plain}, {"float32": parity(plain)}
    report("fitting the layers to 8-bit steps")
    stepped = convert(_Whole(on_steps(loaded.network, pictures)), example, [[-1, -1, -1, 3]])
    models["int8"] = _quantised(stepped, pictures)
    found["int8"] = parity(models["int8"])
    report(f"int8: {found['int8']}")
    preferred = "int8" if found["int8"].equal or found["int8"].usable else "float32"
    return write_forms(
        loaded.path,
        loaded.checksum,
        models,
        preferred=preferred,
        card={
            "samples": len(pictures),
            "limits": LIMITS,
            "usable_limits": USABLE,
            "parity": {name: one.to_json() for name, one in found.items()},
        },
    )


def write_forms(
    weights: Path, checksum: str, models: dict[str, Any], *, preferred: str, card: dict[str, Any]
) -> Path:
    """Write forms beside a weights file, and the list of them last.

    Args:
        weights: The .safetensors file.
        checksum: Its SHA-256.
        models: Graphs by the names of their forms.
        preferred: The form to take by default.
        card: What else the list says.
    """
    openvino = import_openvino()
    forms = {}
    for name, model in models.items():
        with written(model, weights.stem, name) as form:
            sha256 = {}
            for path in (form.graph, form.numbers):
                content = path.read_bytes()
                target = weights.with_suffix(f".{name}{path.suffix}")
                write_bytes(target, content)
                sha256[target.name] = hashlib.sha256(content).hexdigest()
        forms[name] = {"sha256": sha256}
    document = {
        "format": FORMAT,
        "weights_sha256": checksum,
        "preferred": preferred,
        "made": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "openvino": str(openvino.__version__),
        "forms": forms,
        **card,
    }
    path = list_path(weights)
    write_text(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return path


@contextmanager
def written(model: Any, stem: str, name: str = "form") -> Iterator[Form]:
    """A graph as a form in a temporary folder."""
    openvino = import_openvino()
    with tempfile.TemporaryDirectory() as folder:
        graph, numbers = (Path(folder) / f"{stem}.{name}{ending}" for ending in (".xml", ".bin"))
        openvino.save_model(model, str(graph), compress_to_fp16=True)
        sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (graph, numbers)}
        yield Form(name, graph, numbers, sums)
