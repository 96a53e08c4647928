"""What the wagon network answers, whatever computes it: seven maps with a cell for every 4 x 4 work pixels.

Nothing here imports a tensor library, so that counting needs none.
"""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

STRIDE = 4
CATEGORIES = ("freight", "locomotive", "coach")
# Regression starts from a typical wagon, so that the first predictions are sensible: 15 m x 3 m.
TYPICAL_LENGTH_PX = 30.0
TYPICAL_WIDTH_PX = 6.0

Array = TypeVar("Array")
F32 = NDArray[np.float32]


class Maps(NamedTuple, Generic[Array]):
    """The network's output; every map is ``(B, C, H / 4, W / 4)``, float32 logits unless said otherwise.

    Tensors where the network is trained, numpy arrays where wagons are counted.
    """

    heat: Array  # C=1, logit of a wagon's centre in this cell
    offset: Array  # C=2, centre minus cell centre, in cells (x, y)
    angle: Array  # C=2, cos and sin of twice the angle of the long axis
    size: Array  # C=2, log of length and width over the typical ones
    category: Array  # C=3, logits
    mask: Array  # C=1, logit of a cell covered by a wagon
    track: Array  # C=1, logit of a cell on a railway track


CHANNELS = (1, 2, 2, 2, len(CATEGORIES), 1, 1)
"""Channels of each of the maps, in their order."""


def split(whole: F32) -> Maps[F32]:
    """The maps of one array ``(B, 12, h, w)`` that holds them one after the other; views, no copies."""
    ends = np.cumsum(CHANNELS)
    return Maps(*(whole[:, end - size : end] for size, end in zip(CHANNELS, ends, strict=True)))


def mirrored(maps: Maps[F32], *axes: int) -> Maps[F32]:
    """What the maps of a picture say of its mirror image.

    Args:
        maps: Of the picture.
        axes: 3 to swap left and right, 2 to swap up and down, both for half a turn.
    """
    for axis in axes:
        flipped = Maps(*(np.flip(field, axis) for field in maps))
        # Along the axis the offset changes its sign, and so does the sine of twice the angle.
        sign = np.array([-1.0 if axis == 3 else 1.0, -1.0 if axis == 2 else 1.0], np.float32)
        turn = np.array([1.0, -1.0], np.float32)
        maps = flipped._replace(
            offset=flipped.offset * sign[:, None, None], angle=flipped.angle * turn[:, None, None]
        )
    return maps
