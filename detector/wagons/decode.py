"""The wagon network's maps, and from them to candidate wagons, each with what the maps say around it.

Nothing here imports a tensor library, so that counting needs none.
"""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.wagons.boxes import Boxes
from detector.wagons.categories import CATEGORIES
from geo import Tile

LENGTH_RANGE_PX = (12.0, 64.0)  # 6 m to 32 m: nothing on rails that we count is shorter or longer
WIDTH_RANGE_PX = (4.0, 9.0)
EXTENSION_M = (3.0, 40.0)
MAP_FEATURES = (
    "centre",  # logit of the heatmap
    "mask_inside",
    "mask_core",  # the darkest cell along the middle line: a box across a gap has a low one
    "mask_beside",  # at 1 m from either side: neighbours are separate, a road is not
    "track_inside",
    "track_beyond_best",  # along the axis, 3 to 40 m beyond the better end
    "track_beyond_worst",
    "track_beside",  # 2.3 m to the side, between two tracks: a surface that is track everywhere is none
    "angle_agreement",  # of the angle map along the middle line with the box
)


_NEIGHBOURS = np.ones((3, 3), np.uint8)


class Candidates(NamedTuple):
    """Possible wagons, best centre first."""

    boxes: Boxes  # (N, 5)
    category: NDArray[np.float64]  # (N, 3) probabilities
    features: NDArray[np.float64]  # (N, len(MAP_FEATURES))

    @property
    def centre_logit(self) -> NDArray[np.float64]:
        """Logit at the centre of each, the value of the heatmap there, ``(N,)``."""
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


def decode(maps: Maps[F32], *, minimum_centre_score: float, maximum: int) -> tuple[list[Candidates], bool]:
    """Peaks of the heatmap of each tile as boxes in the tile's work pixels.

    Args:
        maps: Output of the network for a batch.
        minimum_centre_score: Lowest score (0 to 1) of the heatmap of a candidate.
        maximum: Most candidates a tile.

    Returns:
        Candidates a tile, and whether a tile had more than ``maximum``.
    """
    found: list[Candidates] = []
    capped = False
    # As a logit: the maps are large, and nearly all of their cells are no peak.
    least = np.float32(np.log(minimum_centre_score / (1.0 - minimum_centre_score)))
    for b in range(len(maps.heatmap)):
        heatmap = np.ascontiguousarray(maps.heatmap[b, 0], np.float32)
        row, column = np.nonzero((heatmap >= least) & (heatmap == cv2.dilate(heatmap, _NEIGHBOURS)))
        order = np.argsort(-heatmap[row, column], kind="stable")
        capped |= len(order) > maximum
        row, column = row[order[:maximum]], column[order[:maximum]]
        if not len(row):
            found.append(Candidates.none())
            continue
        offset, angle, size, category = (
            np.asarray(field[b][:, row, column], np.float64)
            for field in (maps.offset, maps.angle, maps.size, maps.category)
        )
        centre = (np.stack([column, row]) + 0.5 + offset) * STRIDE
        theta = np.rad2deg(np.arctan2(angle[1], angle[0]) / 2) % 180.0
        theta[theta >= 180.0] = 0.0  # -1e-17 % 180 is 180 in floating point
        length, width = (
            np.clip(np.exp(np.clip(values, -3, 3)) * typical, *limits)
            for values, typical, limits in zip(
                size, (TYPICAL_LENGTH_PX, TYPICAL_WIDTH_PX), (LENGTH_RANGE_PX, WIDTH_RANGE_PX), strict=True
            )
        )
        boxes = np.stack([centre[0], centre[1], length, width, theta], axis=1)
        surfaces = [maps.mask[b, 0], maps.track[b, 0], maps.angle[b, 0], maps.angle[b, 1]]
        features = np.concatenate(
            [heatmap[row, column].astype(np.float64)[:, None], _surroundings(boxes, surfaces)], axis=1
        )
        found.append(Candidates(boxes, _softmax(category).T, features))
    return found, capped


def _surroundings(boxes: Boxes, surfaces: list[F32]) -> NDArray[np.float64]:
    """Features read off the maps in the frame of each box, ``(N, len(MAP_FEATURES) - 1)``.

    Args:
        boxes: ``(N, 5)`` in work pixels.
        surfaces: Four maps ``(h, w)``: logits of mask and track, cos and sin of twice the angle.
    """
    metre = 2.0  # work pixels
    theta = np.deg2rad(boxes[:, 4:5])
    cos, sin = np.cos(theta), np.sin(theta)
    length, width = boxes[:, 2:3], boxes[:, 3:4]
    inside = np.linspace(-0.42, 0.42, 9)[None] * length
    beyond = np.linspace(EXTENSION_M[0], EXTENSION_M[1], 13)[None] * metre + length / 2
    mask, track, cos_twice, sin_twice = surfaces

    def sample(
        surface: F32,
        along: NDArray[np.float64],
        across: NDArray[np.float64] | float,
        *,
        probability: bool = True,
    ) -> NDArray[np.float64]:
        x = boxes[:, 0:1] + along * cos - across * sin
        y = boxes[:, 1:2] + along * sin + across * cos
        return _bilinear(surface, x / STRIDE - 0.5, y / STRIDE - 0.5, probability=probability)

    side = width / 2
    middle_mask, middle_track = sample(mask, inside, 0.0), sample(track, inside, 0.0)
    rims = [sample(mask, inside, sign * (side + 1.0 * metre)) for sign in (-1, 1)]
    between = [sample(track, inside, sign * (side + 0.8 * metre)) for sign in (-1, 1)]
    ends = np.stack([sample(track, sign * beyond, 0.0).mean(axis=1) for sign in (-1, 1)])
    agreement = sample(cos_twice, inside, 0.0, probability=False) * np.cos(2 * theta) + sample(
        sin_twice, inside, 0.0, probability=False
    ) * np.sin(2 * theta)
    return np.stack(
        [
            middle_mask.mean(axis=1),
            middle_mask.min(axis=1),
            (rims[0].mean(axis=1) + rims[1].mean(axis=1)) / 2,
            middle_track.mean(axis=1),
            ends.max(axis=0),
            ends.min(axis=0),
            (between[0].mean(axis=1) + between[1].mean(axis=1)) / 2,
            agreement.mean(axis=1),
        ],
        axis=1,
    )


def _sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -500, 500))))


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of classes along the first axis."""
    powers = np.exp(logits - logits.max(axis=0))
    return np.asarray(powers / powers.sum(axis=0))


def _bilinear(
    surface: F32, x: NDArray[np.float64], y: NDArray[np.float64], *, probability: bool
) -> NDArray[np.float64]:
    """Values of a map between the centres of its cells, those of its rim beyond them.

    Outside the tile the border speaks: a wagon cut by the picture's edge isn't a wagon off the rails.

    Args:
        surface: ``(h, w)``.
        x: Columns, 0 the centre of the first.
        y: Rows.
        probability: Turn the map's logits into probabilities before they are mixed.
    """
    height, width = surface.shape
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    corners = (surface[r, c].astype(np.float64) for r in (top, bottom) for c in (left, right))
    a, b, c, d = (_sigmoid(one) if probability else one for one in corners)
    across, down = x - left, y - top
    return np.asarray((a + (b - a) * across) * (1 - down) + (c + (d - c) * across) * down)


def owned_by(tile: Tile, candidates: Candidates) -> Candidates:
    """The candidates that a tile answers for, in work pixels of the scene.

    A wagon belongs to the tile whose core holds its centre. Two tiles may see a centre on their common border
    a little differently; each core therefore reaches one cell over its border, and what both then claim is
    one wagon in the suppression that follows.
    """
    x0, y0, x1, y1 = tile.core
    left, top = tile.window[0], tile.window[1]
    moved = candidates.moved(left, top)
    x, y = moved.boxes[:, 0], moved.boxes[:, 1]
    inside = (x >= x0 - STRIDE) & (x < x1 + STRIDE) & (y >= y0 - STRIDE) & (y < y1 + STRIDE)
    column = np.clip((x - left).astype(int), 0, tile.valid.shape[1] - 1)
    row = np.clip((y - top).astype(int), 0, tile.valid.shape[0] - 1)
    return moved.take(inside & tile.valid[row, column])


STRIDE = 4
# Regression starts from a typical wagon, so that the first predictions are sensible: 15 m x 3 m.
TYPICAL_LENGTH_PX = 30.0
TYPICAL_WIDTH_PX = 6.0

Array = TypeVar("Array")
F32 = NDArray[np.float32]


class Maps(NamedTuple, Generic[Array]):
    """The network's output; every map is ``(B, C, H / 4, W / 4)``, float32 logits unless said otherwise.

    Tensors where the network is trained, numpy arrays where wagons are counted.
    """

    heatmap: Array  # C=1, logit of a wagon's centre in this cell
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
