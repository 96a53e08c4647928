"""From the network's maps to candidate wagons, each with what the maps say around it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample, max_pool2d

from detector.wagons.boxes import Boxes
from detector.wagons.network import CATEGORIES, STRIDE, TYPICAL_LENGTH_PX, TYPICAL_WIDTH_PX, Maps

LENGTH_RANGE_PX = (12.0, 64.0)  # 6 m to 32 m: nothing on rails that we count is shorter or longer
WIDTH_RANGE_PX = (4.0, 9.0)
EXTENSION_M = (3.0, 40.0)
MAP_FEATURES = (
    "heat",  # logit
    "mask_inside",
    "mask_core",  # the darkest cell along the middle line: a box across a gap has a low one
    "mask_beside",  # at 1 m from either side: neighbours are separate, a road is not
    "track_inside",
    "track_beyond_best",  # along the axis, 3 to 40 m beyond the better end
    "track_beyond_worst",
    "track_beside",  # 2.3 m to the side, between two tracks: a surface that is track everywhere is none
    "angle_agreement",  # of the angle map along the middle line with the box
)


class Candidates(NamedTuple):
    """Possible wagons, best heat first."""

    boxes: Boxes  # (N, 5)
    category: NDArray[np.float64]  # (N, 3) probabilities
    features: NDArray[np.float64]  # (N, len(MAP_FEATURES))

    @property
    def heat(self) -> NDArray[np.float64]:
        """Logit of the heat."""
        return self.features[:, 0]

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Candidates:
        """Some of them."""
        return Candidates(self.boxes[rows], self.category[rows], self.features[rows])

    def moved(self, x: float, y: float) -> Candidates:
        """The same ones seen from another origin."""
        boxes = self.boxes.copy()
        boxes[:, :2] += (x, y)
        return self._replace(boxes=boxes)

    @classmethod
    def none(cls) -> Candidates:
        """No candidates, with the right shapes."""
        return cls(np.zeros((0, 5)), np.zeros((0, len(CATEGORIES))), np.zeros((0, len(MAP_FEATURES))))

    @classmethod
    def joined(cls, parts: list[Candidates]) -> Candidates:
        """All of several tiles."""
        if not parts:
            return cls.none()
        return cls(*(np.concatenate(field) for field in zip(*parts, strict=True)))


def decode(maps: Maps, *, minimum_heat: float, maximum: int) -> tuple[list[Candidates], bool]:
    """Peaks of the heat of each tile as boxes in the tile's work pixels.

    Args:
        maps: Output of the network for a batch.
        minimum_heat: Lowest heat (0 to 1) of a candidate.
        maximum: Most candidates a tile.

    Returns:
        Candidates a tile, and whether a tile had more than ``maximum``.
    """
    heat = maps.heat.sigmoid()
    peak = (heat == max_pool2d(heat, 3, 1, 1)) & (heat >= minimum_heat)
    surfaces = torch.cat([maps.mask.sigmoid(), maps.track.sigmoid(), maps.angle], dim=1)
    found: list[Candidates] = []
    capped = False
    for b in range(len(heat)):
        row, column = torch.nonzero(peak[b, 0], as_tuple=True)
        order = torch.argsort(heat[b, 0, row, column], descending=True, stable=True)
        capped |= len(order) > maximum
        order = order[:maximum]
        row, column = row[order], column[order]
        if not len(row):
            found.append(Candidates.none())
            continue
        at = (b, slice(None), row, column)
        offset, angle, size = maps.offset[at], maps.angle[at], maps.size[at]
        centre = (torch.stack([column, row]) + 0.5 + offset) * STRIDE
        theta = torch.rad2deg(torch.atan2(angle[1], angle[0]) / 2) % 180.0
        theta = torch.where(theta < 180.0, theta, 0.0)  # -1e-9 % 180 is 180 in floating point
        length = (size[0].clamp(-3, 3).exp() * TYPICAL_LENGTH_PX).clamp(*LENGTH_RANGE_PX)
        width = (size[1].clamp(-3, 3).exp() * TYPICAL_WIDTH_PX).clamp(*WIDTH_RANGE_PX)
        boxes = torch.stack([centre[0], centre[1], length, width, theta], dim=1)
        logit = maps.heat[b, 0, row, column]
        features = torch.cat([logit[:, None], _surroundings(boxes, surfaces[b])], dim=1)
        probability = maps.category[at].softmax(dim=0).T
        found.append(Candidates(*(t.double().cpu().numpy() for t in (boxes, probability, features))))
    return found, capped


def _surroundings(boxes: Tensor, surfaces: Tensor) -> Tensor:
    """Features read off the maps in the frame of each box, ``(N, len(MAP_FEATURES) - 1)``.

    Args:
        boxes: ``(N, 5)`` in work pixels.
        surfaces: ``(4, h, w)``: mask, track, cos and sin of twice the angle.
    """
    metre = 2.0  # work pixels
    theta = torch.deg2rad(boxes[:, 4])
    length, width = boxes[:, 2], boxes[:, 3]
    inside = torch.linspace(-0.42, 0.42, 9, device=boxes.device)[None] * length[:, None]
    beyond = (
        torch.linspace(EXTENSION_M[0], EXTENSION_M[1], 13, device=boxes.device)[None] * metre
        + length[:, None] / 2
    )
    zero = torch.zeros_like(inside)

    def sample(along: Tensor, across: Tensor) -> Tensor:
        x = boxes[:, 0:1] + along * theta.cos()[:, None] - across * theta.sin()[:, None]
        y = boxes[:, 1:2] + along * theta.sin()[:, None] + across * theta.cos()[:, None]
        h, w = surfaces.shape[-2:]
        grid = torch.stack([x / (w * STRIDE) * 2 - 1, y / (h * STRIDE) * 2 - 1], dim=-1)
        # Outside the tile the border speaks: a wagon cut by the picture's edge isn't a wagon off the rails.
        return grid_sample(surfaces[None], grid[None], padding_mode="border", align_corners=False)[0]

    middle = sample(inside, zero)
    side = width[:, None] / 2
    rims = [sample(inside, sign * (side + 1.0 * metre) + zero)[0] for sign in (-1, 1)]
    between = [sample(inside, sign * (side + 0.8 * metre) + zero)[1] for sign in (-1, 1)]
    ends = torch.stack([sample(sign * beyond, torch.zeros_like(beyond))[1].mean(dim=1) for sign in (-1, 1)])
    agreement = middle[2] * (2 * theta).cos()[:, None] + middle[3] * (2 * theta).sin()[:, None]
    return torch.stack(
        [
            middle[0].mean(dim=1),
            middle[0].amin(dim=1),
            (rims[0].mean(dim=1) + rims[1].mean(dim=1)) / 2,
            middle[1].mean(dim=1),
            ends.amax(dim=0),
            ends.amin(dim=0),
            (between[0].mean(dim=1) + between[1].mean(dim=1)) / 2,
            agreement.mean(dim=1),
        ],
        dim=1,
    )
