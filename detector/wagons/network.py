"""The wagon network: torchvision blocks, one output cell for every 4 x 4 work pixels (2 m x 2 m).

Every cell says: is a wagon's centre here (heatmap), where exactly, how long and wide, at what angle, of which
category; is the cell covered by a wagon (mask); and does a railway run here (track), covered or not. The last
one is what keeps wagons off roads, canals and car parks.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.resnet import BasicBlock
from torchvision.ops import FeaturePyramidNetwork

from detector.wagons.categories import CATEGORIES
from detector.wagons.decode import Maps

WIDTHS = (32, 64, 128, 192, 256)
PYRAMID_CHANNELS = 64


def _conv(inputs: int, outputs: int) -> nn.Sequential:
    return _normed(nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False))


def _halving(inputs: int, outputs: int) -> nn.Conv2d:
    """A convolution to half the size, whose window lies evenly about the pixels that become one.

    A window of three over every second pixel is lopsided: what lies on odd rows was seen otherwise than what
    lies on even ones, and a whole rake of wagons along the rows was found or missed by the parity of its
    row (up to 15 of 18 against 5).
    """
    return nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False)


def _normed(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU(inplace=True))


def _stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    # The mean of four pixels, not the first of them: see `_halving`.
    shortcut = nn.Sequential(
        nn.AvgPool2d(2), nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
    )
    first = BasicBlock(inputs, outputs, 2, shortcut)
    first.conv1 = _halving(inputs, outputs)
    return nn.Sequential(first, *[BasicBlock(outputs, outputs) for _ in range(blocks - 1)])


class WagonNet(nn.Module):
    """Anchor-free detector of oriented wagons.

    Args:
        widths: Channels of the stem and of the four stages (strides 4, 8, 16, 32).
        pyramid_channels: Channels of the feature pyramid and of the heads.
    """

    def __init__(
        self, widths: tuple[int, int, int, int, int] = WIDTHS, pyramid_channels: int = PYRAMID_CHANNELS
    ):
        super().__init__()
        self.widths, self.pyramid_channels = widths, pyramid_channels
        stem, *stages = widths
        self.stem = nn.Sequential(_normed(_halving(3, stem)), _conv(stem, stem))
        self.stages = nn.ModuleList(
            _stage(i, o, n) for i, o, n in zip([stem, *stages[:-1]], stages, (2, 2, 2, 1), strict=True)
        )
        self.pyramid = FeaturePyramidNetwork(stages, pyramid_channels)
        c = pyramid_channels
        self.place_head = nn.Sequential(_conv(c, c), nn.Conv2d(c, 6, 1))  # heatmap, offset, angle, mask
        self.shape_head = nn.Sequential(_conv(c, c), nn.Conv2d(c, 2 + len(CATEGORIES), 1))  # size, category
        self.track_head = nn.Sequential(_conv(c, c), nn.Conv2d(c, 1, 1))
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        # Rare positives: start from the prior, or the first steps only unlearn (focal loss paper, 4.1).
        rare: dict[nn.Sequential, dict[int, float]] = {
            self.place_head: {0: -4.0, 5: -3.0},
            self.shape_head: {},
            self.track_head: {0: -2.0},
        }
        for head, priors in rare.items():
            last = cast(nn.Conv2d, head[-1])
            nn.init.normal_(last.weight, std=0.01)
            for channel, logit in priors.items():
                cast(Tensor, last.bias).data[channel] = logit

    def forward(self, image: Tensor) -> Maps[Tensor]:
        """Maps of a batch of tiles.

        Args:
            image: ``(B, 3, H, W)``, values 0 to 1, 0.5 m a pixel, H and W multiples of 32.
        """
        x = self.stem((image - 0.4) / 0.2)
        levels: OrderedDict[str, Tensor] = OrderedDict()
        for i, stage in enumerate(self.stages):
            x = stage(x)
            levels[str(i)] = x
        fine = _finest_level(self.pyramid, levels)
        place = self.place_head(fine).float()
        shape = self.shape_head(fine).float()
        track = self.track_head(fine).float()
        return Maps(
            heatmap=place[:, 0:1],
            offset=place[:, 1:3],
            angle=place[:, 3:5],
            size=shape[:, 0:2],
            category=shape[:, 2:],
            mask=place[:, 5:6],
            track=track,
        )


def _finest_level(pyramid: FeaturePyramidNetwork, levels: OrderedDict[str, Tensor]) -> Tensor:
    """The pyramid's finest map only; its own ``forward`` also smooths coarse maps, which nobody reads."""
    maps = list(levels.values())
    inner = pyramid.inner_blocks[-1](maps[-1])
    for block, level in zip(reversed(pyramid.inner_blocks[:-1]), reversed(maps[:-1]), strict=True):
        lateral = block(level)
        inner = lateral + nn.functional.interpolate(inner, size=lateral.shape[-2:], mode="nearest")
    return torch.as_tensor(pyramid.layer_blocks[0](inner))


def fused(model: WagonNet) -> WagonNet:
    """A copy for inference with each batch normalisation folded into the convolution before it."""
    copy = WagonNet(model.widths, model.pyramid_channels)
    copy.load_state_dict(model.state_dict())
    copy.eval()
    for parent in copy.modules():
        for (name, convolution), (norm_name, norm) in pairwise(list(parent.named_children())):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, name, fuse_conv_bn_eval(convolution, norm))
                setattr(parent, norm_name, nn.Identity())
        if isinstance(parent, BasicBlock):  # its children stand as conv1, bn1, relu, conv2, bn2
            for k in ("1", "2"):
                if isinstance(norm := getattr(parent, f"bn{k}"), nn.BatchNorm2d):
                    setattr(parent, f"conv{k}", fuse_conv_bn_eval(getattr(parent, f"conv{k}"), norm))
                    setattr(parent, f"bn{k}", nn.Identity())
    return copy
