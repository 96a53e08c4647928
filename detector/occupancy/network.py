"""The occupancy network: torchvision blocks on 10 m cells, metres of occupied track in each."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad, softplus
from torchvision.models.resnet import BasicBlock

from detector.occupancy.inputs import CHANNELS

WIDTHS = (40, 64, 96)
BLOCKS = (2, 2, 2)
STRIDE = 4
"""Rows and columns are padded to multiples of this."""

_LENGTH_SCALE_M = 100.0


class Occupied(NamedTuple):
    """What the network says of a batch.

    Attributes:
        density: (B, h, w) metres of track under wagons in each cell.
        length_m: (B,) its sum over the region.
        below_m: (B,) how far under the length the truth lies once in twenty times, before calibration.
        above_m: (B,) how far over it.
    """

    density: Tensor
    length_m: Tensor
    below_m: Tensor
    above_m: Tensor


def _join(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    first = BasicBlock(inputs, outputs, stride, shortcut if stride > 1 else None)
    return nn.Sequential(first, *[BasicBlock(outputs, outputs) for _ in range(blocks - 1)])


class OccupancyNet(nn.Module):
    """Metres of occupied track in each cell of a yard, and how sure that is.

    Args:
        channels: Planes of the input.
        widths: Channels at 10, 20 and 40 m.
        blocks: Residual blocks at each.
    """

    def __init__(
        self,
        channels: int = len(CHANNELS),
        widths: tuple[int, int, int] = WIDTHS,
        blocks: tuple[int, int, int] = BLOCKS,
    ):
        super().__init__()
        a, b, c = widths
        self.stem = _join(channels, a, 3)
        self.fine = _stage(a, a, blocks[0], 1)
        self.middle = _stage(a, b, blocks[1], 2)
        self.coarse = _stage(b, c, blocks[2], 2)
        self.from_coarse = _join(c, b, 1)
        self.from_middle = _join(b, a, 1)
        self.merge = BasicBlock(a, a)
        self.density_head = nn.Conv2d(a, 1, 1)
        # Pooled features, the length itself and the size of the region decide how sure the length is.
        self.doubt = nn.Sequential(nn.Linear(2 * a + 2, 48), nn.ReLU(inplace=True), nn.Linear(48, 2))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.density_head.weight, std=0.01)
        if self.density_head.bias is not None:
            nn.init.constant_(self.density_head.bias, -1.0)

    def forward(self, planes: Tensor, region: Tensor) -> Occupied:
        """Look at a batch.

        Args:
            planes: (B, channels, h, w), see `detector.occupancy.inputs`.
            region: (B, h, w) weight with which a cell counts.
        """
        h, w = planes.shape[-2:]
        x = pad(planes, (0, -w % STRIDE, 0, -h % STRIDE))
        fine = self.fine(self.stem(x))
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        middle = middle + interpolate(self.from_coarse(coarse), scale_factor=2.0, mode="nearest")
        fine = fine + interpolate(self.from_middle(middle), scale_factor=2.0, mode="nearest")
        features = self.merge(fine)[..., :h, :w].float()
        with torch.autocast(planes.device.type, enabled=False):
            density = softplus(self.density_head(features))[:, 0]
            length = (density * region).sum(dim=(1, 2))
            weight = region[:, None]
            total = weight.sum(dim=(2, 3)).clamp(min=1.0)
            mean = (features * weight).sum(dim=(2, 3)) / total
            busy = (features * weight * density[:, None]).sum(dim=(2, 3)) / (length[:, None] + 10.0)
            size = torch.stack([torch.log1p(length / _LENGTH_SCALE_M), torch.log(total[:, 0] / 100.0)], dim=1)
            # The doubt learns from what the network sees and doesn't bend it.
            said = self.doubt(torch.cat([mean.detach(), busy.detach(), size.detach()], dim=1))
            spread = softplus(said) * (_LENGTH_SCALE_M * 0.3 + 0.3 * length.detach()[:, None])
        return Occupied(density, length, spread[:, 0], spread[:, 1])
