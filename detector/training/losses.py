"""What the wagon network should answer, boxes and track lines drawn as maps, and how wrong it is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, smooth_l1_loss

from detector.wagons.boxes import Boxes
from detector.wagons.decode import STRIDE, TYPICAL_LENGTH_PX, TYPICAL_WIDTH_PX, Maps

WEIGHTS = {
    "heat": 1.0,  # of the heatmap; the names stand in logs and cards
    "offset": 0.6,
    "across": 2.0,  # on a wagon 3 m wide, what is lost of the overlap is lost across
    "angle": 1.0,
    "size": 3.0,  # the length is learned late; a small weight leaves it constant
    "category": 1.0,  # with 0.3 passenger trains were counted as freight
    "mask": 0.6,
    "track": 0.8,
}


def centre_focal_loss(logit: Tensor, heatmap: Tensor, weight: Tensor) -> Tensor:
    """Penalty-reduced focal loss (Law & Deng 2018, CornerNet, eq. 1): a sum over cells per positive cell."""
    probability = logit.sigmoid().clamp(1e-4, 1 - 1e-4)
    positive = (heatmap >= 0.999).float() * weight
    gain = positive * (1 - probability) ** 2 * torch.log(probability)
    pain = (1 - positive) * weight * (1 - heatmap) ** 4 * probability**2 * torch.log(1 - probability)
    return -(gain + pain).sum() / positive.sum().clamp(min=8.0)


def losses(maps: Maps[Tensor], target: Targets) -> dict[str, Tensor]:
    """The unweighted terms of the loss, by name; the total is their sum with WEIGHTS."""
    regression = target.regression
    total = regression.sum().clamp(min=1.0)

    def mean(value: Tensor) -> Tensor:
        return (value * regression).sum() / total

    def smooth(said: Tensor, wanted: Tensor, beta: float) -> Tensor:
        return smooth_l1_loss(said, wanted, reduction="none", beta=beta).sum(1, keepdim=True)

    def covered(logit: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(logit, wanted, reduction="none") * weight

    miss = maps.offset - target.offset
    # The angle is stored doubled; half of it is the direction across which neighbouring tracks lie.
    theta = torch.atan2(target.angle[:, 1:2], target.angle[:, 0:1]) / 2
    across = -torch.sin(theta) * miss[:, 0:1] + torch.cos(theta) * miss[:, 1:2]
    track_total = target.track_weight.sum().clamp(min=1.0)
    return {
        "heat": centre_focal_loss(maps.heatmap, target.heatmap, target.weight),
        "offset": mean(smooth(maps.offset, target.offset, beta=0.5)),
        "across": mean(smooth(across, torch.zeros_like(across), beta=0.1)),
        "angle": mean(smooth(maps.angle, target.angle, beta=0.1)),
        "size": mean(smooth(maps.size, target.size, beta=0.1)),
        "category": mean(cross_entropy(maps.category, target.category, reduction="none")[:, None]),
        "mask": covered(maps.mask, target.mask, target.weight).mean() * 4,
        "track": covered(maps.track, target.track, target.track_weight).sum() / track_total * 4,
    }


def total_loss(terms: dict[str, Tensor]) -> Tensor:
    """The weighted sum that is minimised."""
    return torch.stack([WEIGHTS[name] * value for name, value in terms.items()]).sum()


REGRESSION_HEATMAP = 0.35
IGNORED = 255


class Targets(NamedTuple):
    """Training targets of one tile; maps are ``(C, H / 4, W / 4)`` float32."""

    heatmap: Tensor  # C=1, 0 to 1, 1 at the cell of a centre
    weight: Tensor  # C=1, 0 where the answer doesn't matter (half-hidden wagons)
    regression: Tensor  # C=1, weight of offset, angle, size and category
    offset: Tensor  # C=2
    angle: Tensor  # C=2
    size: Tensor  # C=2
    category: Tensor  # int64 (H / 4, W / 4)
    mask: Tensor  # C=1
    track: Tensor  # C=1, 0 or 1
    track_weight: Tensor  # C=1


def draw(
    boxes: Boxes, category: np.ndarray, ignored: np.ndarray, track: np.ndarray, shape: tuple[int, int]
) -> Targets:
    """Targets of a tile.

    Args:
        boxes: ``(N, 5)`` in work pixels of the tile.
        category: ``(N,)`` index into CATEGORIES.
        ignored: ``(N,)`` bool, boxes that count neither as wagons nor as background.
        track: ``(H / 4, W / 4)`` uint8: 1 on a track, 0 off it, 255 unknown.
        shape: ``(H, W)`` of the tile in work pixels.

    The heatmap is a Gaussian stretched along the wagon (sigma 0.14 of its length and 0.3 of its width, at
    least 0.6 of a cell), so that a cell beside the centre on the same wagon is a smaller error than one on
    the next track.
    """
    h, w = shape[0] // STRIDE, shape[1] // STRIDE
    n = len(boxes)
    unknown = torch.from_numpy(track == IGNORED)
    track_map = torch.from_numpy((track == 1).astype(np.float32))[None]
    track_weight = (~unknown).float()[None]
    zeros = torch.zeros((1, h, w))

    def empty(weight: Tensor) -> Targets:
        pair, category = torch.zeros((2, h, w)), torch.zeros((h, w), dtype=torch.int64)
        return Targets(zeros, weight, zeros, pair, pair, pair, category, zeros, track_map, track_weight)

    if not n:
        return empty(zeros + 1)
    b = torch.from_numpy(boxes.astype(np.float32))
    centre = b[:, :2] / STRIDE - 0.5  # in cell indices
    length, width = b[:, 2] / STRIDE, b[:, 3] / STRIDE
    theta = torch.deg2rad(b[:, 4])
    ys, xs = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    dx = xs[None] - centre[:, 0, None, None]
    dy = ys[None] - centre[:, 1, None, None]
    cos, sin = torch.cos(theta)[:, None, None], torch.sin(theta)[:, None, None]
    along, across = dx * cos + dy * sin, -dx * sin + dy * cos
    sigma_along = (0.14 * length).clamp(min=0.6)[:, None, None]
    sigma_across = (0.30 * width).clamp(min=0.6)[:, None, None]
    bell = torch.exp(-0.5 * ((along / sigma_along) ** 2 + (across / sigma_across) ** 2))
    # The cell that holds the centre is a full positive wherever in the cell the centre lies.
    cell = torch.round(centre).long()
    inside = (cell[:, 0] >= 0) & (cell[:, 0] < w) & (cell[:, 1] >= 0) & (cell[:, 1] < h)
    rows = torch.arange(n)[inside]
    bell[rows, cell[inside, 1], cell[inside, 0]] = 1.0
    covers = (along.abs() <= (0.5 * length - 0.15).clamp(min=0.5)[:, None, None]) & (
        across.abs() <= (0.5 * width).clamp(min=0.5)[:, None, None]
    )

    skip = torch.from_numpy(ignored.astype(bool))
    weight = zeros + 1
    if skip.any():
        weight = 1.0 - (covers[skip].any(dim=0) | (bell[skip] > 0.1).any(dim=0)).float()[None]
    keep = ~skip
    if not keep.any():
        return empty(weight)
    heatmap, owner = bell[keep].max(dim=0)
    kept = torch.nonzero(keep)[:, 0][owner]  # (h, w): which box each cell belongs to
    offset = -torch.stack([dx.gather(0, kept[None])[0], dy.gather(0, kept[None])[0]])
    angle = torch.stack([torch.cos(2 * theta)[kept], torch.sin(2 * theta)[kept]])
    size = torch.stack(
        [torch.log(b[:, 2] / TYPICAL_LENGTH_PX)[kept], torch.log(b[:, 3] / TYPICAL_WIDTH_PX)[kept]]
    )
    mask = covers[keep].any(dim=0).float()[None]
    heatmap = heatmap[None]
    # A real wagon that is drawn wins over an ignored one beside it.
    weight = torch.where(heatmap >= 0.99, torch.ones_like(weight), weight)
    return Targets(
        heatmap=heatmap,
        weight=weight,
        regression=torch.where(heatmap > REGRESSION_HEATMAP, heatmap, zeros) * weight,
        offset=offset,
        angle=angle,
        size=size,
        category=torch.from_numpy(category.astype(np.int64))[kept],
        mask=mask,
        track=track_map,
        track_weight=track_weight,
    )


def stack(targets: list[Targets]) -> Targets:
    """A batch of targets: each field gets a leading batch axis."""
    return Targets(*(torch.stack(field) for field in zip(*targets, strict=True)))
