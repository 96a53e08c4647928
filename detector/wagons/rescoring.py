"""From candidates to probabilities: rakes of wagons, railways and sizes as evidence.

A wagon seldom stands alone in a field. Whether a candidate is one is judged from the heatmap and by what is
around it: track before and behind it, collinear neighbours of the same length, tracks beside it. The judge
is a small network fitted to simulated scenes and rail-free pictures that the detector was not trained on, so
that its answer is a probability that can be summed to a count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.wagons.boxes import Boxes, near_pairs
from detector.wagons.decode import MAP_FEATURES, Candidates

METRE_PX = 2.0
_PAIRS_AT_ONCE, _ROWS_AT_ONCE = 50_000, 8_192
RAKE_FEATURES = (
    "rake_ahead",  # score of the best collinear neighbour on the better side
    "rake_behind",  # and on the other side
    "rake_length",  # how well their lengths agree
    "parallel",  # score of the best neighbour on an adjacent track
    "crowding",  # score of the best neighbour that overlaps or crosses: two things can't stand in one place
    "length",  # log of the length over 15 m
    "width",  # log of the width over 3 m
    "source_gsd",  # log of the picture's ground sampling distance over 0.5 m
)
FEATURES = MAP_FEATURES + RAKE_FEATURES


def rake_features(candidates: Candidates, source_gsd_m: float) -> NDArray[np.float64]:
    """Features of each candidate among the others of the scene, ``(N, len(RAKE_FEATURES))``.

    Args:
        candidates: All of one scene, in work pixels of one origin.
        source_gsd_m: Ground sampling distance of the picture before resampling, metres.
    """
    boxes, centre_logit = candidates.boxes, candidates.centre_logit
    n = len(boxes)
    out = np.zeros((n, len(RAKE_FEATURES)))
    if not n:
        return out
    out[:, 5] = np.log(boxes[:, 2] / (15.0 * METRE_PX))
    out[:, 6] = np.log(boxes[:, 3] / (3.0 * METRE_PX))
    out[:, 7] = np.log(source_gsd_m / 0.5)
    sides = np.zeros((n, 2))
    for i, j in _neighbours(boxes):
        theta = np.deg2rad(boxes[i, 4])
        delta = boxes[j, :2] - boxes[i, :2]
        along = delta[:, 0] * np.cos(theta) + delta[:, 1] * np.sin(theta)
        across = -delta[:, 0] * np.sin(theta) + delta[:, 1] * np.cos(theta)
        turn = np.abs((boxes[i, 4] - boxes[j, 4] + 90) % 180 - 90)
        mean_length = (boxes[i, 2] + boxes[j, 2]) / 2
        strength = 1 / (1 + np.exp(-centre_logit[j]))
        ratio = np.abs(np.log(boxes[j, 2] / boxes[i, 2]))

        gap = np.abs(along) - mean_length
        level = (np.abs(across) < 1.6 * METRE_PX) & (turn < 12)
        collinear = level & (gap > -3 * METRE_PX) & (gap < 6 * METRE_PX)
        for side, sign in enumerate((1, -1)):
            rows = collinear & (along * sign > 0)
            np.maximum.at(sides[:, side], i[rows], strength[rows])
        np.maximum.at(out[:, 2], i[collinear], (strength * np.exp(-4 * ratio))[collinear])

        lateral = np.abs(across) / METRE_PX
        beside = (lateral > 3.4) & (lateral < 7.0) & (np.abs(along) < mean_length) & (turn < 12)
        np.maximum.at(out[:, 3], i[beside], strength[beside])
        # Crossing or overlapping, judged on the axes: nearer than the sum of what both need.
        crossing = (np.abs(along) < 0.4 * mean_length) & (lateral < 3.0)
        np.maximum.at(out[:, 4], i[crossing], strength[crossing])
    out[:, 0], out[:, 1] = sides.max(axis=1), sides.min(axis=1)
    return out


def _neighbours(boxes: Boxes) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Boxes that may be neighbours, each pair both ways round, so many at once that memory stays bounded."""
    first, second = near_pairs(boxes[:, :2], float(boxes[:, 2].max()) + 6 * METRE_PX)
    for low in range(0, len(first), _PAIRS_AT_ONCE):
        i, j = first[low : low + _PAIRS_AT_ONCE], second[low : low + _PAIRS_AT_ONCE]
        yield np.concatenate([i, j]), np.concatenate([j, i])


def features(candidates: Candidates, source_gsd_m: float) -> NDArray[np.float64]:
    """All features of one scene's candidates, ``(N, len(FEATURES))``."""
    return np.concatenate([candidates.features, rake_features(candidates, source_gsd_m)], axis=1)


@dataclass(frozen=True, eq=False)
class Rescorer:
    """Features to a probability: one hidden layer. `detector.training.calibrate_wagons` fits it.

    Attributes:
        mean: ``(F,)`` of the features.
        deviation: ``(F,)`` of the features.
        hidden_weight: ``(units, F)``.
        hidden_bias: ``(units,)``.
        weight: ``(1, units)``.
        bias: ``(1,)``.

    >>> arrays = {name: np.ones(shape) * (name == "deviation") for name, shape in shapes(4).items()}
    >>> blind = Rescorer.from_arrays(arrays)
    >>> blind.probability(np.zeros((2, len(FEATURES)))).tolist()
    [0.5, 0.5]
    """

    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]
    hidden_weight: NDArray[np.float32]
    hidden_bias: NDArray[np.float32]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.float32]]) -> Rescorer:
        """One from its arrays by their names in a weights file.

        Raises:
            KeyError: One is missing.
            ValueError: One has another shape.
        """
        units = len(arrays["layers.0.bias"])
        for name, shape in shapes(units).items():
            if arrays[name].shape != shape:
                raise ValueError(f"{name} has the shape {arrays[name].shape}, not {shape}")
        return cls(*(np.asarray(arrays[name], np.float32) for name in shapes(units)))

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Its arrays by their names in a weights file."""
        values = (self.mean, self.deviation, self.hidden_weight, self.hidden_bias, self.weight, self.bias)
        return dict(zip(shapes(len(self.hidden_bias)), values, strict=True))

    def logits(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Logits ``(N,)`` of features ``(N, F)``."""
        first, last = self.hidden_weight.T.astype(np.float64), self.weight.T.astype(np.float64)
        out = np.empty(len(x))
        for low in range(0, len(x), _ROWS_AT_ONCE):  # the hidden layer of all would be ten times the features
            rows = slice(low, low + _ROWS_AT_ONCE)
            hidden = np.tanh((x[rows] - self.mean) / self.deviation @ first + self.hidden_bias)
            out[rows] = (hidden @ last + self.bias)[:, 0]
        return out

    def probability(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability ``(N,)`` that each candidate is a wagon."""
        return np.asarray(1 / (1 + np.exp(-np.clip(self.logits(x), -500, 500))))


def shapes(units: int) -> dict[str, tuple[int, ...]]:
    """The arrays of a `Rescorer` of so many hidden units: their names in a weights file, and their shapes."""
    n = len(FEATURES)
    return {
        "mean": (n,),
        "deviation": (n,),
        "layers.0.weight": (units, n),
        "layers.0.bias": (units,),
        "layers.2.weight": (1, units),
        "layers.2.bias": (1,),
    }
