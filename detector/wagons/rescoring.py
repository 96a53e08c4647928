"""From candidates to probabilities: strings of wagons, railways and sizes as evidence.

A wagon seldom stands alone in a field. Whether a candidate is one is judged from the heat together with what
is around it: track before and behind it, collinear neighbours of the same length, tracks beside it. The judge
is a small network fitted to simulated scenes and rail-free pictures that the detector was not trained on, so
that its answer is a probability that can be summed to a count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor, nn

from detector.wagons.boxes import Boxes
from detector.wagons.decode import MAP_FEATURES, Candidates

METRE_PX = 2.0
HIDDEN = 16  # units of one judge's hidden layer
MEMBERS = 8  # judges fitted to different parts of the scenes, whose mean judges
STRING_FEATURES = (
    "string_ahead",  # heat of the best collinear neighbour on the better side
    "string_behind",  # and on the other side
    "string_length",  # how well their lengths agree
    "parallel",  # heat of the best neighbour on an adjacent track
    "crowding",  # heat of the best neighbour that overlaps or crosses: two things can't stand in one place
    "length",  # log of the length over 15 m
    "width",  # log of the width over 3 m
    "source_gsd",  # log of the picture's ground sampling distance over 0.5 m
)
FEATURES = MAP_FEATURES + STRING_FEATURES


def string_features(candidates: Candidates, source_gsd_m: float) -> NDArray[np.float64]:
    """Features of each candidate among the others of the scene, ``(N, len(STRING_FEATURES))``.

    Args:
        candidates: All of one scene, in work pixels of one origin.
        source_gsd_m: Ground sampling distance of the picture before resampling, metres.
    """
    boxes, heat = candidates.boxes, candidates.heat
    n = len(boxes)
    out = np.zeros((n, len(STRING_FEATURES)))
    if not n:
        return out
    out[:, 5] = np.log(boxes[:, 2] / (15.0 * METRE_PX))
    out[:, 6] = np.log(boxes[:, 3] / (3.0 * METRE_PX))
    out[:, 7] = np.log(source_gsd_m / 0.5)
    i, j = _near_pairs(boxes)
    if not len(i):
        return out
    theta = np.deg2rad(boxes[i, 4])
    delta = boxes[j, :2] - boxes[i, :2]
    along = delta[:, 0] * np.cos(theta) + delta[:, 1] * np.sin(theta)
    across = -delta[:, 0] * np.sin(theta) + delta[:, 1] * np.cos(theta)
    turn = np.abs((boxes[i, 4] - boxes[j, 4] + 90) % 180 - 90)
    mean_length = (boxes[i, 2] + boxes[j, 2]) / 2
    strength = 1 / (1 + np.exp(-heat[j]))
    ratio = np.abs(np.log(boxes[j, 2] / boxes[i, 2]))

    gap = np.abs(along) - mean_length
    collinear = (np.abs(across) < 1.6 * METRE_PX) & (gap > -3 * METRE_PX) & (gap < 6 * METRE_PX) & (turn < 12)
    sides = np.zeros((n, 2))
    for side, sign in enumerate((1, -1)):
        rows = collinear & (along * sign > 0)
        np.maximum.at(sides[:, side], i[rows], strength[rows])
    out[:, 0], out[:, 1] = sides.max(axis=1), sides.min(axis=1)
    np.maximum.at(out[:, 2], i[collinear], (strength * np.exp(-4 * ratio))[collinear])

    lateral = np.abs(across) / METRE_PX
    beside = (lateral > 3.4) & (lateral < 7.0) & (np.abs(along) < mean_length) & (turn < 12)
    np.maximum.at(out[:, 3], i[beside], strength[beside])
    # Crossing or overlapping, judged on the axes: nearer than the sum of what both need.
    crossing = (np.abs(along) < 0.4 * mean_length) & (lateral < 3.0)
    np.maximum.at(out[:, 4], i[crossing], strength[crossing])
    return out


def _near_pairs(boxes: Boxes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    reach = float(boxes[:, 2].max()) + 6 * METRE_PX
    pairs = cKDTree(boxes[:, :2]).query_pairs(reach, output_type="ndarray").astype(np.int64)
    return np.concatenate([pairs[:, 0], pairs[:, 1]]), np.concatenate([pairs[:, 1], pairs[:, 0]])


def features(candidates: Candidates, source_gsd_m: float) -> NDArray[np.float64]:
    """All features of one scene's candidates, ``(N, len(FEATURES))``."""
    return np.concatenate([candidates.features, string_features(candidates, source_gsd_m)], axis=1)


class Rescorer(nn.Module):
    """Features to a probability: standardised, one hidden layer.

    Args:
        hidden: Units of the hidden layer; the mean of several judges has all of theirs.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(len(FEATURES)))
        self.register_buffer("deviation", torch.ones(len(FEATURES)))
        self.layers = nn.Sequential(nn.Linear(len(FEATURES), hidden), nn.Tanh(), nn.Linear(hidden, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(N,)`` of features ``(N, F)``."""
        return torch.as_tensor(self.layers((x - self.mean) / self.deviation)[:, 0])

    @torch.no_grad()
    def probability(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability ``(N,)`` that each candidate is a wagon."""
        return np.asarray(self(torch.from_numpy(x).float()).sigmoid().double().numpy())


def mean_judge(judges: Sequence[Rescorer]) -> Rescorer:
    """One judge whose logits are the mean of several ones' (all standardise alike).

    Their hidden layers stand side by side, so that it is a judge like any other, only wider.
    """
    states = [j.state_dict() for j in judges]
    joined = Rescorer(sum(len(s["layers.0.bias"]) for s in states))
    joined.load_state_dict(
        {
            **states[0],
            "layers.0.weight": torch.cat([s["layers.0.weight"] for s in states]),
            "layers.0.bias": torch.cat([s["layers.0.bias"] for s in states]),
            "layers.2.weight": torch.cat([s["layers.2.weight"] for s in states], dim=1) / len(states),
            "layers.2.bias": torch.stack([s["layers.2.bias"] for s in states]).mean(dim=0),
        }
    )
    return joined.eval()


class RescorerFit(NamedTuple):
    """How well judges fit what they were fitted to and what they weren't, on average."""

    loss: float
    held_out_loss: float


def fit_judge(
    x: NDArray[np.float64],
    y: NDArray[np.bool_],
    scene: NDArray[np.int64],
    *,
    weight: NDArray[np.float64] | None = None,
    seed: int = 0,
    epochs: int = 400,
    members: int = MEMBERS,
) -> tuple[Rescorer, RescorerFit]:
    """Fit judges by maximum likelihood and take their mean.

    Each holds out another fifth of the scenes, to stop in time. One judge's start and held-out scenes move
    the counts of single pictures by some wagons; the mean of several is steadier.

    Args:
        x: Features ``(N, F)``.
        y: Whether each candidate is a wagon.
        scene: Scene of each candidate: candidates of one scene are never split.
        weight: Weight of each candidate.
        seed: Of the splits and the starts.
        epochs: Full-batch steps at most.
        members: How many judges.
    """
    if not len(x):
        # A network that has seen nothing yet raises no candidates; what nobody has judged isn't believed.
        torch.manual_seed(seed)
        judge = Rescorer()
        slopes, bias = judge.layers[-1].parameters()
        nn.init.zeros_(slopes)
        nn.init.constant_(bias, -5.0)
        return judge.eval(), RescorerFit(float("nan"), float("nan"))
    inputs, wanted = torch.from_numpy(x).float(), torch.from_numpy(y).float()
    share = torch.ones(len(y)) if weight is None else torch.from_numpy(weight).float()
    mean, deviation = torch.from_numpy(x.mean(axis=0)), torch.from_numpy(x.std(axis=0) + 1e-3)
    scenes = np.unique(scene)
    judges, fits = [], []
    for member in range(members):
        torch.manual_seed(1000 * seed + member)
        rng = np.random.default_rng(1000 * seed + member)
        judge = Rescorer()
        judge.mean.copy_(mean)
        judge.deviation.copy_(deviation)
        apart = rng.choice(scenes, len(scenes) // 5 or int(len(scenes) > 1), replace=False)
        fits.append(_descend(judge, inputs, wanted, share, np.isin(scene, apart), epochs))
        judges.append(judge)
    loss, held_out = np.mean(fits, axis=0)
    return mean_judge(judges), RescorerFit(float(loss), float(held_out))


def _descend(
    judge: Rescorer, inputs: Tensor, wanted: Tensor, share: Tensor, held: NDArray[np.bool_], epochs: int
) -> RescorerFit:
    """Train a judge on the rows that aren't held out, and leave it where the held-out ones fit best."""
    fit_rows, held_rows = torch.from_numpy(~held), torch.from_numpy(held)

    def loss(rows: Tensor) -> Tensor:
        each = nn.functional.binary_cross_entropy_with_logits(
            judge(inputs[rows]), wanted[rows], reduction="none"
        )
        return (each * share[rows]).sum() / share[rows].sum()

    optimiser = torch.optim.AdamW(judge.parameters(), lr=0.02, weight_decay=1e-3)
    best, best_state = np.inf, {k: v.clone() for k, v in judge.state_dict().items()}
    for _ in range(epochs):
        optimiser.zero_grad()
        value = loss(fit_rows)
        value.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        with torch.no_grad():
            now = float(loss(held_rows)) if held.any() else float(value)
        if now < best:
            best, best_state = now, {k: v.clone() for k, v in judge.state_dict().items()}
    judge.load_state_dict(best_state)
    with torch.no_grad():
        return RescorerFit(float(loss(fit_rows)), best)
