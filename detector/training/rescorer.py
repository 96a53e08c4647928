"""Fitting the re-scorer: from candidates whose truth is known to a probability for each.

By maximum likelihood, on simulated scenes and rail-free pictures that the network was not trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from detector.wagons.rescoring import FEATURES, Rescorer

HIDDEN = 16  # units of one re-scorer's hidden layer
MEMBERS = 8  # re-scorers fitted to different parts of the scenes, whose mean is kept


class RescorerNet(nn.Module):
    """A `Rescorer` that can be fitted.

    Args:
        hidden: Units of the hidden layer.
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

    def finished(self) -> Rescorer:
        """What counting uses of it."""
        return Rescorer.from_arrays({k: v.detach().cpu().numpy() for k, v in self.state_dict().items()})


def untrained(hidden: int = HIDDEN, seed: int = 0) -> Rescorer:
    """A re-scorer that has learned nothing, for drafts of weights."""
    torch.manual_seed(seed)
    return RescorerNet(hidden).finished()


def mean_judge(judges: Sequence[Rescorer]) -> Rescorer:
    """One re-scorer whose logits are the mean of several ones' (all standardise alike).

    Their hidden layers stand side by side, so that it is a re-scorer like any other, only wider.
    """
    return Rescorer(
        judges[0].mean,
        judges[0].deviation,
        np.concatenate([one.hidden_weight for one in judges]),
        np.concatenate([one.hidden_bias for one in judges]),
        (np.concatenate([one.weight for one in judges], axis=1) / len(judges)).astype(np.float32),
        np.stack([one.bias for one in judges]).mean(axis=0).astype(np.float32),
    )


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
        blank = RescorerNet()
        slopes, bias = blank.layers[-1].parameters()
        nn.init.zeros_(slopes)
        nn.init.constant_(bias, -5.0)
        return blank.finished(), RescorerFit(float("nan"), float("nan"))
    inputs, wanted = torch.from_numpy(x).float(), torch.from_numpy(y).float()
    share = torch.ones(len(y)) if weight is None else torch.from_numpy(weight).float()
    mean, deviation = torch.from_numpy(x.mean(axis=0)), torch.from_numpy(x.std(axis=0) + 1e-3)
    scenes = np.unique(scene)
    judges, fits = [], []
    for member in range(members):
        torch.manual_seed(1000 * seed + member)
        rng = np.random.default_rng(1000 * seed + member)
        judge = RescorerNet()
        judge.mean.copy_(mean)
        judge.deviation.copy_(deviation)
        apart = rng.choice(scenes, len(scenes) // 5 or int(len(scenes) > 1), replace=False)
        fits.append(_descend(judge, inputs, wanted, share, np.isin(scene, apart), epochs))
        judges.append(judge.finished())
    loss, held_out = np.mean(fits, axis=0)
    return mean_judge(judges), RescorerFit(float(loss), float(held_out))


def _descend(
    judge: RescorerNet, inputs: Tensor, wanted: Tensor, share: Tensor, held: NDArray[np.bool_], epochs: int
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
