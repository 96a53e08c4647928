"""Oriented boxes: overlap, suppression and matching.

A box is ``[cx, cy, length, width, angle_deg]``; x right, y down, the angle of the long axis clockwise from +x
as seen on the image, in [0, 180). Units are those of the caller (pixels or metres); arrays are float64
``(N, 5)``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geo.boxes import as_boxes, box_corners

__all__ = [
    "Boxes",
    "Matches",
    "as_boxes",
    "box_corners",
    "match",
    "near_pairs",
    "overlapping_pairs",
    "pair_iou",
    "rotated_iou",
    "suppress",
]

Boxes = NDArray[np.float64]

_CHUNK_PAIRS = 20_000
_CHUNK_POINTS = 8_192


def pair_iou(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    """Intersection over union of ``a[i]`` with ``b[i]``, ``(N,)``.

    Each edge of ``a`` is followed in the frame of ``b`` and drawn to the nearest point of ``b``. That leaves
    the way around unchanged as seen from any point inside ``b``, so the area that it encloses is the common
    area; it is a sum over straight pieces and changes smoothly with the boxes. (torchvision 0.29's kernel,
    which collects corners, can answer 0 for boxes that differ by a millionth, such as those of a wagon seen
    in two tiles.)
    """
    half_a, half_b = a[:, 2:4] / 2, b[:, 2:4] / 2
    theta = np.deg2rad(b[:, 4])
    x, y = a[:, 0] - b[:, 0], a[:, 1] - b[:, 1]
    centre = np.column_stack([x * np.cos(theta) + y * np.sin(theta), y * np.cos(theta) - x * np.sin(theta)])
    turn = np.deg2rad(a[:, 4] - b[:, 4])
    along = half_a[:, :1] * np.column_stack([np.cos(turn), np.sin(turn)])
    across = half_a[:, 1:] * np.column_stack([-np.sin(turn), np.cos(turn)])
    start = centre[:, None] + np.stack(
        [along - across, along + across, across - along, -along - across], axis=1
    )
    step = np.roll(start, -1, axis=1) - start  # (N, 4 edges, 2)
    limit = half_b[:, None]
    # Where along each edge it crosses the four lines that b's sides lie on.
    with np.errstate(divide="ignore", invalid="ignore"):
        cuts = np.concatenate([(limit - start) / step, (-limit - start) / step], axis=2)
    cuts = np.sort(np.clip(np.nan_to_num(cuts), 0.0, 1.0), axis=2)
    ends = np.zeros((*cuts.shape[:2], 1))
    place = np.concatenate([ends, cuts, ends + 1], axis=2)[..., None]
    way = np.clip(start[:, :, None] + place * step[:, :, None], -limit[:, :, None], limit[:, :, None])
    x, y = way[..., 0], way[..., 1]
    twice = (x[..., :-1] * y[..., 1:] - x[..., 1:] * y[..., :-1]).sum(axis=(1, 2))
    common = np.abs(twice) / 2
    total = a[:, 2] * a[:, 3] + b[:, 2] * b[:, 3] - common
    return np.asarray(common / np.where(total > 0, total, 1.0), dtype=np.float64)


def rotated_iou(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    """Intersection over union of each pair, ``(len(a), len(b))``."""
    out = np.zeros((len(a), len(b)))
    if out.size:
        reach = (_diagonal(a)[:, None] + _diagonal(b)[None]) / 2
        near = np.hypot(a[:, None, 0] - b[None, :, 0], a[:, None, 1] - b[None, :, 1]) < reach
        first, second = np.nonzero(near)
        out[first, second] = _in_chunks(a, b, first, second)
    return out


def near_pairs(places: NDArray[np.float64], reach: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Index pairs ``(i, j)`` of points that are no further apart than ``reach``, each pair once.

    By a grid of squares as wide as the reach: partners lie in the same square or in one of the eight around
    it. A tree of SciPy's finds the same, but to import it takes as long as to read a square kilometre.

    Args:
        places: ``(N, 2)``, finite.
        reach: More than 0.

    Example:
        >>> first, second = near_pairs(np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 2.0]]), 3.0)
        >>> sorted((int(first[0]), int(second[0])))
        [0, 2]
    """
    # A hair wider than the reach: points just as far apart must not be two squares apart by rounding.
    square = np.floor((places - places.min(axis=0, initial=np.inf)) / (reach * (1 + 1e-9))).astype(np.int64)
    column = int(square[:, 1].max(initial=0)) + 2  # numbers of a column, the last of which no square has
    key = square[:, 0] * column + square[:, 1]
    order = np.argsort(key, kind="stable")
    key, (x, y) = key[order], places[order].T.copy()
    found = []
    for low in range(0, len(key), _CHUNK_POINTS):  # so many at once that memory stays bounded
        rows = np.arange(low, min(low + _CHUNK_POINTS, len(key)))
        own, beside = key[rows], key[rows] + column
        for start, end in (
            (rows + 1, np.searchsorted(key, own + 1, "right")),  # in its square and the next of its column
            (np.searchsorted(key, beside - 1), np.searchsorted(key, beside + 1, "right")),
        ):
            first = np.repeat(rows, end - start)
            second = np.arange(len(first)) + np.repeat(end - np.cumsum(end - start), end - start)
            near = (x[first] - x[second]) ** 2 + (y[first] - y[second]) ** 2 <= reach * reach
            found.append(order[np.stack([first[near], second[near]])])
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    first, second = np.concatenate(found, axis=1)
    return first, second


def overlapping_pairs(boxes: Boxes, minimum_iou: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Index pairs ``(i, j), i < j``, whose overlap exceeds ``minimum_iou``.

    Time and memory grow with the number of boxes that are near each other and not with its square.
    """
    if len(boxes) < 2:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    diagonal = _diagonal(boxes)
    first, second = np.sort(near_pairs(boxes[:, :2], float(diagonal.max()) or 1.0), axis=0)
    apart = np.linalg.norm(boxes[first, :2] - boxes[second, :2], axis=1)
    near = apart < (diagonal[first] + diagonal[second]) / 2
    first, second = first[near], second[near]
    near = _iou_at_most(boxes[first], boxes[second]) > minimum_iou
    first, second = first[near], second[near]
    kept = _in_chunks(boxes, boxes, first, second) > minimum_iou
    return first[kept], second[kept]


def _iou_at_most(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    """An upper bound of `pair_iou`, cheap to have: from the box around ``a`` in the frame of ``b``.

    Wagons beside and behind each other, which are most of the neighbours in a yard, are told apart by it.
    """
    theta, turn = np.deg2rad(b[:, 4]), np.deg2rad(a[:, 4] - b[:, 4])
    x, y = a[:, 0] - b[:, 0], a[:, 1] - b[:, 1]
    along = np.abs(x * np.cos(theta) + y * np.sin(theta))
    across = np.abs(y * np.cos(theta) - x * np.sin(theta))
    cos, sin = np.abs(np.cos(turn)), np.abs(np.sin(turn))
    common = np.ones(len(a))
    for apart, reach, limit in (
        (along, a[:, 2] * cos + a[:, 3] * sin, b[:, 2]),
        (across, a[:, 2] * sin + a[:, 3] * cos, b[:, 3]),
    ):
        common *= np.clip((reach + limit) / 2 - apart, 0.0, np.minimum(reach, limit))
    areas = a[:, 2] * a[:, 3], b[:, 2] * b[:, 3]
    common = np.minimum(common, np.minimum(*areas))
    total = areas[0] + areas[1] - common
    # A hair more: equal boxes must not fall under it by rounding.
    return np.asarray(common / np.where(total > 0, total, 1.0) + 1e-9)


def _diagonal(boxes: Boxes) -> NDArray[np.float64]:
    return np.asarray(np.hypot(boxes[:, 2], boxes[:, 3]), dtype=np.float64)


def _in_chunks(
    a: Boxes, b: Boxes, first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The overlap of chosen pairs, so many at once that memory stays bounded."""
    out = np.zeros(len(first))
    for low in range(0, len(first), _CHUNK_PAIRS):
        rows = slice(low, low + _CHUNK_PAIRS)
        out[rows] = pair_iou(a[first[rows]], b[second[rows]])
    return out


def suppress(boxes: Boxes, scores: NDArray[np.floating], maximum_iou: float) -> NDArray[np.int64]:
    """Greedy non-maximum suppression of oriented boxes.

    Returns:
        Indices of the boxes kept, best score first; ties fall to the lower index, so that two runs agree.
    """
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    rank = np.empty(len(boxes), dtype=np.int64)
    rank[order] = np.arange(len(boxes))
    first, second = overlapping_pairs(boxes, maximum_iou)
    swap = rank[second] < rank[first]
    winner, loser = np.where(swap, second, first), np.where(swap, first, second)
    beats: dict[int, list[int]] = {}
    for i, j in zip(winner.tolist(), loser.tolist(), strict=True):
        beats.setdefault(i, []).append(j)
    gone = np.zeros(len(boxes), dtype=bool)
    for i in order.tolist():
        if not gone[i] and i in beats:
            gone[beats[i]] = True
    return order[~gone[order]]


class Matches(NamedTuple):
    """A one-to-one match of predictions and truth."""

    predicted: NDArray[np.int64]
    true: NDArray[np.int64]
    iou: NDArray[np.float64]


def match(predicted: Boxes, scores: NDArray[np.floating], true: Boxes, minimum_iou: float) -> Matches:
    """Match predictions to truth one to one as average precision does.

    In order of falling score each prediction takes the free true box it overlaps most, if by at least
    ``minimum_iou``.
    """
    overlap = rotated_iou(predicted, true)
    taken = np.zeros(len(true), dtype=bool)
    found: list[tuple[int, int, float]] = []
    for i in np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable").tolist():
        row = np.where(taken, -1.0, overlap[i])
        if len(row) and row.max() >= minimum_iou:
            j = int(row.argmax())
            taken[j] = True
            found.append((i, j, float(row[j])))
    if not found:
        empty = np.zeros(0, np.int64)
        return Matches(empty, empty, np.zeros(0))
    p, t, iou = zip(*found, strict=True)
    return Matches(np.asarray(p, np.int64), np.asarray(t, np.int64), np.asarray(iou, np.float64))
