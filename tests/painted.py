"""Painted wagons, and two real networks made by hand that know them.

Nothing here is trained, so that tests of the machinery don't hang on trained weights:

* `PaintedNet` reads wagons painted by `paint` off their colours to within half a pixel, at any angle and
  length.
* `bright_net` is a `WagonNet` whose weights are set by hand to answer on bright spots; it goes through the
  weights file like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, max_pool2d, pad

from detector.wagons import weights
from detector.wagons.boxes import as_boxes
from detector.wagons.categories import CATEGORIES
from detector.wagons.decode import MAP_FEATURES, STRIDE, TYPICAL_LENGTH_PX, TYPICAL_WIDTH_PX, Maps
from detector.wagons.detector import WagonDetector
from detector.wagons.network import WagonNet
from detector.wagons.rescoring import FEATURES, Rescorer, shapes
from detector.wagons.weights import TorchMaps

WIDTH_PX = 6.0
LENGTHS_PX = (20.0, 56.0)
GROUND = (0, 128, 128)


def paint(
    boxes: ArrayLike, shape: tuple[int, int], scale_xy: tuple[float, float] = (1.0, 1.0)
) -> NDArray[np.uint8]:
    """A picture of wagons, each in the colours that tell its centre, angle and length.

    Red falls from the centre to the ends and sides; green and blue turn with twice the angle, the further
    from grey the longer the wagon.

    Args:
        boxes: ``(N, 5)`` in work pixels, 6 wide and 20 to 56 long.
        shape: ``(H, W)`` of the picture.
        scale_xy: Pixels of the picture per work pixel.
    """
    whole = np.empty((*shape, 3), np.uint8)
    whole[:] = GROUND
    for cx, cy, length, width, angle in as_boxes(boxes):
        reach = (length + width) / 2
        left, right = (int(np.clip((cx + r) * scale_xy[0], 0, shape[1])) for r in (-reach, reach))
        top, bottom = (int(np.clip((cy + r) * scale_xy[1], 0, shape[0])) for r in (-reach, reach))
        x = ((np.arange(left, right) + 0.5) / scale_xy[0])[None, :]
        y = ((np.arange(top, bottom) + 0.5) / scale_xy[1])[:, None]
        image = whole[top:bottom, left:right]
        cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
        along = np.abs((x - cx) * cos + (y - cy) * sin) / (length / 2)
        across = np.abs((y - cy) * cos - (x - cx) * sin) / (width / 2)
        inside = (along <= 1) & (across <= 1)
        ridge = 1.0 - 0.4 * along - 0.3 * across
        strength = 0.15 + 0.3 * (length - LENGTHS_PX[0]) / (LENGTHS_PX[1] - LENGTHS_PX[0])
        turned = np.deg2rad(2 * angle)
        image[inside, 0] = np.round(255 * ridge[inside])
        image[inside, 1] = round(255 * (0.5 + strength * np.cos(turned)))
        image[inside, 2] = round(255 * (0.5 + strength * np.sin(turned)))
    return whole


class PaintedNet(nn.Module):
    """Finds the wagons of `paint`: the centre where red peaks, angle and length from the colour there.

    It looks only two pixels around a place, so that what it says of a place is the same in any tile.
    """

    def forward(self, image: Tensor) -> Maps[Tensor]:
        rgb = (image.float() * 255).round() / 255
        line = torch.tensor([0.25, 0.5, 0.25], device=rgb.device)
        kernel = (line[:, None] * line[None, :]).expand(3, 1, 3, 3)
        smooth = conv2d(pad(rgb, (1, 1, 1, 1), mode="replicate"), kernel, groups=3)
        peak, where = max_pool2d(smooth[:, :1], STRIDE, return_indices=True)
        height, width = rgb.shape[-2:]
        row, column = where // width, where % width
        cell_row = torch.arange(height // STRIDE)[:, None]
        cell_column = torch.arange(width // STRIDE)[None, :]
        offset = torch.cat(
            [
                (column + 0.5) / STRIDE - (cell_column + 0.5),
                (row + 0.5) / STRIDE - (cell_row + 0.5),
            ],
            dim=1,
        )
        flat = rgb[:, 1:].flatten(2)
        colour = torch.gather(flat, 2, where.flatten(2).expand(-1, 2, -1)).unflatten(2, peak.shape[-2:])
        chroma = colour - GROUND[1] / 255
        strength = chroma.norm(dim=1, keepdim=True).clamp(min=1e-6)
        length = LENGTHS_PX[0] + (strength - 0.15) / 0.3 * (LENGTHS_PX[1] - LENGTHS_PX[0])
        size = torch.cat(
            [
                torch.log(length.clamp(min=LENGTHS_PX[0]) / TYPICAL_LENGTH_PX),
                torch.full_like(length, WIDTH_PX / TYPICAL_WIDTH_PX).log(),
            ],
            dim=1,
        )
        covered = (avg_pool2d(rgb[:, :1], STRIDE) - 0.3) * 10
        category = torch.zeros(len(rgb), len(CATEGORIES), *peak.shape[-2:])
        category[:, 0] = 5.0
        return Maps((peak - 0.5) * 10, offset.float(), chroma / strength, size, category, covered, covered)


def heat_judge() -> Rescorer:
    """A judge that goes by the heat alone: a logit of 0 is an even chance."""
    arrays = {name: np.zeros(shape, np.float32) for name, shape in shapes(16).items()}
    arrays["deviation"][:] = 1.0
    arrays["layers.0.weight"][0, FEATURES.index(MAP_FEATURES[0])] = 0.3
    arrays["layers.2.weight"][0, 0] = 6.0
    return Rescorer.from_arrays(arrays)


def painted_detector(**card: Any) -> WagonDetector:
    """A whole detector, in single precision, that finds the wagons of `paint`."""
    card = {"name": "painted", **card}
    head = weights.WeightsHead(heat_judge(), card, "0" * 64, Path("painted"))
    return WagonDetector(head, network=TorchMaps(PaintedNet(), "cpu", torch.float32))


def bright_net() -> WagonNet:
    """A `WagonNet` that answers where 4 x 4 pixels are bright: 15 m x 3 m, lying east to west, freight."""
    network = WagonNet()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.zero_()
                if module.bias is not None:
                    module.bias.zero_()
        # Brightness goes through the first channel of every layer. Stem and shortcut average
        # it over 10 x 10 pixels about the middle of a cell, so that even a saturated wagon has a peak.
        network.stem[0][0].weight[0] = 1 / 48
        network.stem[1][0].weight[0, 0] = 1 / 9
        network.stages[0][0].downsample[1].weight[0, 0, 0, 0] = 1.0
        network.pyramid.inner_blocks[0][0].weight[0, 0, 0, 0] = 1.0
        network.pyramid.layer_blocks[0][0].weight[0, 0, 1, 1] = 1.0
        for head in (network.place_head, network.shape_head, network.track_head):
            head[0][0].weight[0, 0, 1, 1] = 1.0
        place, shape, track = network.place_head[-1], network.shape_head[-1], network.track_head[-1]
        # Brightness over 0.4 comes out as (brightness - 0.4) / 0.2: 3 is white.
        place.weight[0, 0, 0, 0], place.bias[0] = 4.0, -3.5
        place.bias[3] = 1.0
        place.weight[5, 0, 0, 0], place.bias[5] = 4.0, -4.0
        shape.bias[2] = 5.0
        track.weight[0, 0, 0, 0], track.bias[0] = 4.0, -4.0
    return network.eval()


def bright_weights(folder: Path, **card: Any) -> Path:
    """A weights file with `bright_net` and its card."""
    path = folder / "bright.safetensors"
    weights.save(path, bright_net(), heat_judge(), {"name": "bright", "version": "1", **card})
    return path


def bright_wagons(
    centres: Sequence[tuple[float, float]], shape: tuple[int, int] = (160, 224)
) -> NDArray[np.uint8]:
    """A picture at 0.5 m of dark ground with bright wagons, brightest in the middle, for `bright_net`.

    The centres should be those of cells of 4 x 4 pixels, such as (42, 42).
    """
    ridge = paint([(x, y, 30.0, 6.0, 0.0) for x, y in centres], shape)[..., :1]
    return np.repeat(20 + (ridge * 0.92).astype(np.uint8), 3, axis=2)
