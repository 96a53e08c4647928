"""How wrong the network is."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, smooth_l1_loss

from detector.training.targets import Targets
from detector.wagons.maps import Maps

WEIGHTS = {
    "heat": 1.0,
    "offset": 0.6,
    "across": 2.0,  # on a wagon 3 m wide, what is lost of the overlap is lost across
    "angle": 1.0,
    "size": 3.0,  # the length is learned late; a small weight leaves it constant
    "category": 1.0,  # with 0.3 passenger trains were counted as freight
    "mask": 0.6,
    "track": 0.8,
}


def centre_focal_loss(logit: Tensor, heat: Tensor, weight: Tensor) -> Tensor:
    """Penalty-reduced focal loss (Law & Deng 2018, CornerNet, eq. 1): a sum over cells per positive cell."""
    probability = logit.sigmoid().clamp(1e-4, 1 - 1e-4)
    positive = (heat >= 0.999).float() * weight
    gain = positive * (1 - probability) ** 2 * torch.log(probability)
    pain = (1 - positive) * weight * (1 - heat) ** 4 * probability**2 * torch.log(1 - probability)
    return -(gain + pain).sum() / positive.sum().clamp(min=8.0)


def losses(maps: Maps[Tensor], target: Targets) -> dict[str, Tensor]:
    """The unweighted terms of the loss, by name; the total is their sum with WEIGHTS."""
    regression = target.regression
    total = regression.sum().clamp(min=1.0)

    def mean(value: Tensor) -> Tensor:
        return (value * regression).sum() / total

    miss = maps.offset - target.offset
    # The angle is stored doubled; half of it is the direction across which neighbouring tracks lie.
    theta = torch.atan2(target.angle[:, 1:2], target.angle[:, 0:1]) / 2
    across = -torch.sin(theta) * miss[:, 0:1] + torch.cos(theta) * miss[:, 1:2]
    track_total = target.track_weight.sum().clamp(min=1.0)
    return {
        "heat": centre_focal_loss(maps.heat, target.heat, target.weight),
        "offset": mean(
            smooth_l1_loss(maps.offset, target.offset, reduction="none", beta=0.5).sum(1, keepdim=True)
        ),
        "across": mean(smooth_l1_loss(across, torch.zeros_like(across), reduction="none", beta=0.1)),
        "angle": mean(
            smooth_l1_loss(maps.angle, target.angle, reduction="none", beta=0.1).sum(1, keepdim=True)
        ),
        "size": mean(smooth_l1_loss(maps.size, target.size, reduction="none", beta=0.1).sum(1, keepdim=True)),
        "category": mean(cross_entropy(maps.category, target.category, reduction="none")[:, None]),
        "mask": (
            binary_cross_entropy_with_logits(maps.mask, target.mask, reduction="none") * target.weight
        ).mean()
        * 4,
        "track": (
            binary_cross_entropy_with_logits(maps.track, target.track, reduction="none") * target.track_weight
        ).sum()
        / track_total
        * 4,
    }


def total_loss(terms: dict[str, Tensor]) -> Tensor:
    """The weighted sum that is minimised."""
    return torch.stack([WEIGHTS[name] * value for name, value in terms.items()]).sum()
