"""The network that tells the types of freight cars, and what a rake says to them.

A small network of its own looks at a cut-out of each counted car, turned so that the car lies along the rows.
It is a few convolutions in numpy: the same numbers whatever runs the wagon network, and nothing to load for
an image without cars. What stands coupled together is mostly of one kind, so that a car's neighbours in its
rake have a say; each car is decided by itself all the same, since a rake may be mixed. What remains doubtful
is called unknown.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from detector.errors import WeightsError
from detector.tensor_file import load_tensors, located
from detector.wagons.boxes import Boxes
from detector.wagons.categories import TYPES
from detector.wagons.rakes import rakes

FORMAT = "railwatch-types-1"
SHIPPED = "types"

ROWS, COLUMNS = 16, 48
"""Of a cut-out: 6 m across the car, and a quarter more than its length along it."""
_ACROSS_PX = 0.75  # work pixels a row
_ALONG = 1.25 / COLUMNS  # lengths of the car a column
LAYERS: tuple[tuple[int, int, tuple[int, int]], ...] = (
    (4, 16, (1, 2)),
    (16, 32, (2, 2)),
    (32, 48, (1, 2)),
    (48, 64, (2, 1)),
    (64, 64, (1, 1)),
)
"""Channels in and out, and strides across and along the car, of each 3 x 3 convolution."""
_BANDS = 4  # of the last map, across the car: pooled along it, each by itself
_AT_ONCE = 64
# Log odds of a candidate. Of 1,300 boxes drawn on the sample tiles and real pictures none has less than -1.7.
_FAINTEST = -2.0
_FLAT_CONTRAST = 4.0  # grey levels of 255: noise isn't blown up to full contrast

FEATURES = _BANDS * 2 * LAYERS[-1][1]
"""Numbers that the last layer sees of a car."""

F32 = NDArray[np.float32]


class TypeOdds(NamedTuple):
    """How what the network says of a car and of its rake become a probability, and from which it is told.

    Attributes:
        own: Weight of the car's own log probabilities.
        rake: Weight of the mean of those of the cars coupled with it, nearer ones first.
        threshold: Probability of the likeliest type below which it is unknown.
    """

    own: float = 1.0
    rake: float = 0.0
    threshold: float = 0.5


REACH_PX = 80.0
"""Distance along a rake, work pixels (40 m), at which another car's say has fallen to 1/e."""


def cut_outs(image: NDArray[np.uint8], boxes: Boxes) -> NDArray[np.uint8]:
    """Cut-outs ``(N, 16, 48, 3)`` of boxes, each turned so that the car lies along the rows and fills them.

    Args:
        image: ``(H, W, 3)`` at 0.5 m.
        boxes: ``(N, 5)`` in its pixels.

    >>> cut_outs(np.zeros((40, 40, 3), np.uint8), np.array([[20.0, 20, 28, 6, 90]])).shape
    (1, 16, 48, 3)
    """
    out = np.empty((len(boxes), ROWS, COLUMNS, 3), np.uint8)
    for low in range(0, len(boxes), _AT_ONCE):
        rows = slice(low, low + _AT_ONCE)
        out[rows] = _cut_at_once(image, boxes[rows])
    return out


def _cut_at_once(image: NDArray[np.uint8], boxes: Boxes) -> NDArray[np.uint8]:
    # OpenCV counts from pixel centres, boxes from pixel corners.
    middle_x, middle_y, length = (boxes[:, k, None, None].astype(np.float32) for k in range(3))
    cos, sin = (wave(np.deg2rad(boxes[:, 4, None, None])).astype(np.float32) for wave in (np.cos, np.sin))
    along = length * np.float32(_ALONG) * (np.arange(COLUMNS, dtype=np.float32) + 0.5 - COLUMNS / 2)
    across = np.float32(_ACROSS_PX) * (np.arange(ROWS, dtype=np.float32)[:, None] + 0.5 - ROWS / 2)
    x = cos * along - sin * across + (middle_x - 0.5)
    y = sin * along + cos * across + (middle_y - 0.5)
    places = x.reshape(-1, COLUMNS), y.reshape(-1, COLUMNS)
    cuts = cv2.remap(image, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cuts, np.uint8).reshape(-1, ROWS, COLUMNS, 3)


def planes(cuts: NDArray[np.uint8], boxes: Boxes) -> F32:
    """What the network looks at, ``(N, 16, 48, 4)``: colours at a common contrast, and the car's length."""
    colours = cuts.astype(np.float32)
    colours -= colours.mean(axis=(1, 2, 3), keepdims=True)
    colours /= colours.std(axis=(1, 2, 3), keepdims=True) + _FLAT_CONTRAST
    out = np.empty((*cuts.shape[:3], 4), np.float32)
    out[..., :3] = colours
    out[..., 3] = ((boxes[:, 2] - 30.0) / 15.0)[:, None, None]
    return out


@dataclass(frozen=True, eq=False)
class TypeNetwork:
    """Cut-outs to log probabilities of each type.

    Attributes:
        kernels: Of each convolution, ``(9 * inputs, outputs)``.
        biases: Of each convolution, ``(outputs,)``.
        weight: ``(features, 4)`` of the last, linear layer, on mean and maximum along the car, band by band.
        bias: ``(4,)``.
        odds: How answers become decisions.
        card: Data, training and figures.
        checksum: SHA-256 of the weights file.
    """

    kernels: tuple[F32, ...]
    biases: tuple[F32, ...]
    weight: F32
    bias: F32
    odds: TypeOdds
    card: Mapping[str, Any]
    checksum: str

    @classmethod
    def load(cls, path: str | Path | None = None) -> TypeNetwork:
        """The shipped weights, or those of a .safetensors file with its card beside it.

        Raises:
            WeightsError: The file is missing, damaged or not ours.
        """
        with located(path, SHIPPED) as file:
            arrays, card, checksum = load_tensors(file, FORMAT, "type")
            try:
                return cls.from_arrays(arrays, card, checksum)
            except (KeyError, TypeError, ValueError) as error:
                raise WeightsError(f"{file}: not the weights of this version's network ({error})") from error

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, F32], card: Mapping[str, Any], checksum: str) -> TypeNetwork:
        """A network from arrays by name, as a weights file holds them.

        Raises:
            KeyError, TypeError, ValueError: Something is missing or has another shape.
        """
        kernels, biases = [], []
        for number, (inputs, outputs, _) in enumerate(LAYERS):
            kernel = arrays[f"convolutions.{number}.weight"]
            if kernel.shape != (outputs, inputs, 3, 3):
                raise ValueError(f"convolution {number} has the shape {kernel.shape}")
            kernels.append(np.ascontiguousarray(kernel.transpose(2, 3, 1, 0).reshape(9 * inputs, outputs)))
            biases.append(arrays[f"convolutions.{number}.bias"].reshape(outputs))
        weight = np.ascontiguousarray(arrays["last.weight"].reshape(len(TYPES), FEATURES).T)
        odds = TypeOdds(*(float(v) for v in card.get("type_odds", TypeOdds())))
        return cls(
            tuple(kernels),
            tuple(biases),
            weight,
            arrays["last.bias"].reshape(len(TYPES)),
            odds,
            card,
            checksum,
        )

    def log_probabilities(self, cuts: NDArray[np.uint8], boxes: Boxes) -> NDArray[np.float64]:
        """Log probability of each type of each car by itself, ``(N, 4)``.

        Args:
            cuts: As `cut_outs` gives them.
            boxes: ``(N, 5)`` in work pixels.
        """
        parts = [slice(low, low + _AT_ONCE) for low in range(0, len(boxes), _AT_ONCE)]
        # The wagon network has done its work by now, so that all cores are free.
        with ThreadPoolExecutor(os.cpu_count() or 1, "types") as pool:
            answers = list(pool.map(lambda rows: self._logits(planes(cuts[rows], boxes[rows])), parts))
        out = np.concatenate([np.zeros((0, len(TYPES))), *answers])
        out -= out.max(axis=1, keepdims=True)
        return np.asarray(out - np.log(np.exp(out).sum(axis=1, keepdims=True)))

    def _logits(self, x: F32) -> F32:
        for kernel, bias, (_, _, stride) in zip(self.kernels, self.biases, LAYERS, strict=True):
            x = _convolved(x, kernel, bias, stride)
        pooled = np.concatenate([x.mean(axis=2), x.max(axis=2)], axis=2)  # (N, bands, 2 * channels)
        return pooled.reshape(len(x), FEATURES) @ self.weight + self.bias

    def types(self, cuts: NDArray[np.uint8], boxes: Boxes) -> NDArray[np.int64]:
        """The type of each car, ``(N,)`` indices of `TYPE_NAMES`; see `decided`."""
        if not len(boxes):
            return np.zeros(0, np.int64)
        return decided(self.log_probabilities(cuts, boxes), boxes, self.odds)


class CandidateCuts:
    """Cut-outs of an image's candidates, taken tile by tile: types are told when all that is drawn is known.

    Of most candidates, which are too faint to be drawn, none is kept: a large yard has several for each car.
    """

    def __init__(self) -> None:
        self._rows: list[NDArray[np.int64]] = []
        self._cuts: list[NDArray[np.uint8]] = []
        self._taken = 0

    def add(self, image: NDArray[np.uint8], boxes: Boxes, centre_logit: NDArray[np.floating[Any]]) -> None:
        """Take those of a tile.

        Args:
            image: ``(H, W, 3)`` at 0.5 m.
            boxes: ``(N, 5)`` in its pixels.
            centre_logit: ``(N,)`` log odds that the network gives them.
        """
        clear = np.flatnonzero(centre_logit >= _FAINTEST)
        self._rows.append(self._taken + clear)
        self._cuts.append(cut_outs(image, boxes[clear]))
        self._taken += len(boxes)

    def types(self, network: TypeNetwork, rows: NDArray[np.int64], boxes: Boxes) -> NDArray[np.int64]:
        """The type of some of them, ``(N,)`` indices of `TYPE_NAMES`; what was too faint is unknown.

        Args:
            network: Tells types.
            rows: ``(N,)`` which of all candidates, in the order of `add`.
            boxes: ``(N, 5)`` theirs, in pixels of the whole image at 0.5 m.
        """
        out = np.full(len(rows), len(TYPES), np.int64)
        known = np.flatnonzero(np.isin(rows, np.concatenate([np.zeros(0, np.int64), *self._rows])))
        cuts = np.empty((len(known), ROWS, COLUMNS, 3), np.uint8)
        for held, tile in zip(self._rows, self._cuts, strict=True):
            _, here, there = np.intersect1d(rows[known], held, assume_unique=True, return_indices=True)
            cuts[here] = tile[there]
        if len(known):
            out[known] = network.types(cuts, boxes[known])
        return out


@cache
def shipped_types() -> TypeNetwork:
    """The shipped network, read when the first freight car is found.

    Raises:
        WeightsError: The weights are missing or damaged.
    """
    return TypeNetwork.load()


def _convolved(x: F32, kernel: F32, bias: F32, stride: tuple[int, int]) -> F32:
    """A 3 x 3 convolution of ``(N, H, W, C)`` with zeros around it, and what is negative set to 0."""
    down, along = stride
    count, rows, columns, channels = x.shape
    padded = np.zeros((count, rows + 2, columns + 2, channels), np.float32)
    padded[:, 1:-1, 1:-1] = x
    # Three neighbours along a row lie one after the other: a window is three runs of 3 * C numbers.
    shape = (count, -(-rows // down), -(-columns // along), 3, 3 * channels)
    steps = padded.strides
    windows = as_strided(padded, shape, (steps[0], steps[1] * down, steps[2] * along, steps[1], steps[3]))
    out = windows.reshape(-1, len(kernel)) @ kernel
    out += bias
    np.maximum(out, 0, out=out)
    return np.asarray(out.reshape(*shape[:3], -1), np.float32)


def of_rakes(logs: NDArray[np.float64], boxes: Boxes) -> NDArray[np.float64]:
    """What the network says of each car's surroundings in its rake: a mean of log probabilities, ``(N, 4)``.

    Args:
        logs: ``(N, 4)`` log probabilities of each car by itself.
        boxes: ``(N, 5)`` in work pixels.
    """
    out = logs.copy()
    number = rakes(boxes)
    for rake in np.flatnonzero(np.bincount(number) > 1):
        rows = np.flatnonzero(number == rake)
        middle = boxes[rows, :2]
        apart = np.linalg.norm(middle[:, None] - middle[None], axis=2)
        say = np.exp(-apart / REACH_PX)
        out[rows] = say @ logs[rows] / say.sum(axis=1, keepdims=True)
    return out


def probabilities(logs: NDArray[np.float64], boxes: Boxes, odds: TypeOdds) -> NDArray[np.float64]:
    """Probability of each type of each car, with what its rake says, ``(N, 4)``."""
    together = odds.own * logs + odds.rake * of_rakes(logs, boxes)
    together = np.exp(together - together.max(axis=1, keepdims=True))
    return np.asarray(together / together.sum(axis=1, keepdims=True))


def decided(logs: NDArray[np.float64], boxes: Boxes, odds: TypeOdds) -> NDArray[np.int64]:
    """The type of each car, ``(N,)`` indices of `TYPE_NAMES`: unknown where none is likely enough."""
    probability = probabilities(logs, boxes, odds)
    best = probability.argmax(axis=1)
    return np.where(probability.max(axis=1) >= odds.threshold, best, len(TYPES)).astype(np.int64)
