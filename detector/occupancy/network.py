"""The occupancy network: torchvision blocks on 10 m cells, metres of occupied track in each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, pad, softplus
from torchvision.models.resnet import BasicBlock

from detector.occupancy.inputs import CHANNELS, PastBands, bent, straight

WIDTHS = (40, 64, 96)
BLOCKS = (2, 4, 4)
STRIDE = 4
"""Rows and columns are padded to multiples of this."""

_LENGTH_SCALE_M = 100.0
_HEADS = 3
_LOOK_WIDTH = 24
_DIFFERENCE = slice(CHANNELS.index("difference_B02"), CHANNELS.index("difference_B08") + 1)
_BACKGROUND = slice(CHANNELS.index("median_B02"), CHANNELS.index("high_B08") + 1)
_TRACKS = slice(CHANNELS.index("track_upper_left"), CHANNELS.index("track_lower_right") + 1)
_REGION = CHANNELS.index("boundary")
_UNKNOWN = -1e4  # a logit that no softmax gives weight


class Past(NamedTuple):
    """The dates of a background, one by one.

    Attributes:
        change: (B, K, 4, h, w) what each differs from the background's median by, in the inputs' scale and
            straight; 0 where unknown.
        known: (B, K, h, w) whether the cell was seen; nowhere for a date that isn't there.
        shadow: (B, K, 2) of each, along and across, in the inputs' scale.
    """

    change: Tensor
    known: Tensor
    shadow: Tensor

    @classmethod
    def of(cls, samples: Sequence[PastBands]) -> Past | None:
        """The pasts of a batch, with room for the longest; None where there are none at all."""
        longest = max(len(one.shadow) for one in samples)
        if not longest:
            return None
        return cls(*(_stacked([one[k] for one in samples], longest) for k in range(3)))

    def to(self, device: torch.device | str) -> Past:
        """The same on a device."""
        return Past(*(one.to(device) for one in self))


def _stacked(arrays: Sequence[NDArray[Any]], longest: int) -> Tensor:
    """Arrays that differ in their first length as one tensor (B, longest, ...), filled with zeros."""
    out = np.zeros((len(arrays), longest, *arrays[0].shape[1:]), arrays[0].dtype)
    for whole, one in zip(out, arrays, strict=True):
        whole[: len(one)] = one
    return torch.from_numpy(out)


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


class Comparison(nn.Module):
    """The date beside each date of its past.

    A composite forgets what was seen together on which date, and that of a yard that is nearly always full
    shows it full. Here each past date is looked at on its own, and the date is compared with averages of the
    past whose weights, cell by cell, are learned: one may take the emptiest dates, another those with like
    shadows.

    Args:
        outputs: Channels of the result.

    Attributes:
        every: Whether dates that aren't there are computed too, and given no weight: for a graph in which
            there may not be none. In training many dates of a padded batch aren't there.
    """

    def __init__(self, outputs: int):
        super().__init__()
        self.every = False
        self.look = nn.Sequential(_join(24, _LOOK_WIDTH, 3), BasicBlock(_LOOK_WIDTH, _LOOK_WIDTH))
        self.around = _join(_LOOK_WIDTH, _LOOK_WIDTH, 3)
        self.choice = nn.Conv2d(2 * _LOOK_WIDTH, _HEADS, 1)
        self.result = nn.Conv2d(_HEADS * 4 + 2 * _LOOK_WIDTH, outputs, 3, padding=1)

    def start(self) -> None:
        """Begin as if there were no past dates."""
        nn.init.normal_(self.choice.weight, std=0.01)
        nn.init.zeros_(self.result.weight)
        for one in (self.choice, self.result):
            if one.bias is not None:
                nn.init.zeros_(one.bias)

    def forward(self, planes: Tensor, past: Past) -> Tensor:
        """Features (B, outputs, h, w)."""
        b, k, _, h, w = past.change.shape
        present = past.known.flatten(2).any(dim=2)
        rows = torch.ones_like(present) if self.every else present
        now = straight(planes[:, _DIFFERENCE])
        where = torch.cat(
            [planes[:, _TRACKS].mean(dim=1, keepdim=True), planes[:, [_REGION]], planes[:, _BACKGROUND]],
            dim=1,
        )
        change, known = past.change[rows], past.known[rows][:, None]
        of = rows.nonzero()[:, 0]
        each = torch.cat(
            [
                bent(change),
                bent(now[of] - change) * known,
                past.shadow[rows][:, :, None, None].expand(-1, 2, h, w),
                where[of],
            ],
            dim=1,
        )
        room = (0, -w % STRIDE, 0, -h % STRIDE)
        # Strings of wagons are long: half the cells along the tracks will do to see on which date they stood.
        halves = avg_pool2d(pad(each, room), (1, 2)).contiguous(memory_format=torch.channels_last)
        seen = self.look(halves)
        around = interpolate(self.around(avg_pool2d(seen, (4, 2))), scale_factor=(4.0, 2.0), mode="nearest")
        logits = self.choice(torch.cat([seen, around], dim=1)).float()

        def laid(values: Tensor, rest: float) -> Tensor:
            whole = values.repeat_interleave(2, dim=-1)[..., :h, :w]
            out = whole.new_full((b, k, *whole.shape[1:]), rest)
            out[rows] = whole
            return out

        logits = torch.where(past.known[:, :, None], laid(logits, _UNKNOWN), _UNKNOWN)
        share = logits.softmax(dim=1) * past.known.any(dim=1)[:, None, None]  # (B, K, heads, h, w)
        chosen = torch.stack(
            [(share[:, :, m, None] * past.change).sum(dim=1) for m in range(_HEADS)], dim=1
        )  # (B, heads, bands, h, w)
        features = laid(seen, 0.0)
        weight = present.to(features.dtype)[:, :, None, None, None]
        mean = (features * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1.0)
        picked = (share[:, :, 0, None] * features).sum(dim=1)
        compared = bent(now[:, None] - chosen).flatten(1, 2)
        said: Tensor = self.result(torch.cat([compared, mean, picked], dim=1))
        return said * present.any(dim=1).float()[:, None, None, None]


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
        self.comparison = Comparison(a)
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
        # Set when a trained network is calibrated (`detector.training.occupancy_recipe.level`).
        self.gain: Tensor
        self.register_buffer("gain", torch.ones(()))
        self.comparison.start()
        nn.init.normal_(self.density_head.weight, std=0.01)
        if self.density_head.bias is not None:
            nn.init.constant_(self.density_head.bias, -1.0)

    def forward(self, planes: Tensor, region: Tensor, past: Past | None = None) -> Occupied:
        """Look at a batch.

        Args:
            planes: (B, channels, h, w), see `detector.occupancy.inputs`.
            region: (B, h, w) weight with which a cell counts.
            past: The dates of the background, or None to look at the background alone.
        """
        h, w = planes.shape[-2:]
        room = (0, -w % STRIDE, 0, -h % STRIDE)
        first = self.stem(pad(planes, room))
        if past is not None:
            first = first + pad(self.comparison(planes, past), room)
        fine = self.fine(first)
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
        return Occupied(
            density * self.gain, length * self.gain, spread[:, 0] * self.gain, spread[:, 1] * self.gain
        )
