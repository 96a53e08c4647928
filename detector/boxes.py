"""Oriented boxes: overlap, suppression and matching.

A box is ``[cx, cy, length, width, angle_deg]``; x right, y down, the angle of the long axis clockwise from +x
as seen on the image, in [0, 180). Units are those of the caller (pixels or metres); arrays are float64
``(N, 5)``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree
from torchvision.ops import box_iou

from geo.boxes import as_boxes, box_corners

__all__ = [
    "Boxes",
    "Matches",
    "as_boxes",
    "box_corners",
    "match",
    "match_best",
    "overlapping_pairs",
    "rotated_iou",
    "suppress",
]

Boxes = NDArray[np.float64]


def rotated_iou(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    """Intersection over union of each pair, ``(len(a), len(b))``.

    torchvision's rotated boxes turn counter-clockwise with y up; ours turn clockwise with y down, hence the
    sign.
    """
    if not len(a) or not len(b):
        return np.zeros((len(a), len(b)))
    # Close to the origin, so that the kernel's float32 keeps its digits on large scenes.
    shift = a[:, :2].mean(axis=0)
    first, second = (
        torch.from_numpy(np.column_stack([x[:, :2] - shift, x[:, 2:4], -x[:, 4]])) for x in (a, b)
    )
    return np.asarray(box_iou(first, second, fmt="cxcywhr").numpy(), dtype=np.float64)


def overlapping_pairs(
    boxes: Boxes, minimum_iou: float, cell: float = 128.0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Index pairs ``(i, j), i != j`` whose overlap exceeds ``minimum_iou``.

    Works cell by cell with a margin of one box diagonal: time and memory grow with the number of boxes
    and not with its square.
    """
    if len(boxes) < 2:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    reach = float(np.hypot(boxes[:, 2], boxes[:, 3]).max())
    size = max(cell, reach)
    key = np.floor(boxes[:, :2] / size).astype(np.int64)
    order = np.lexsort((key[:, 0], key[:, 1]))
    tree = cKDTree(boxes[:, :2])
    rows: list[NDArray[np.int64]] = []
    columns: list[NDArray[np.int64]] = []
    breaks = np.flatnonzero(np.any(np.diff(key[order], axis=0) != 0, axis=1)) + 1
    for members in np.split(order, breaks):
        centre = boxes[members, :2].mean(axis=0)
        radius = np.linalg.norm(boxes[members, :2] - centre, axis=1).max() + reach
        near = np.sort(np.asarray(tree.query_ball_point(centre, radius), dtype=np.int64))
        i, j = np.nonzero(rotated_iou(boxes[members], boxes[near]) > minimum_iou)
        rows.append(members[i])
        columns.append(near[j])
    first, second = np.concatenate(rows), np.concatenate(columns)
    different = first != second
    return first[different], second[different]


def suppress(boxes: Boxes, scores: NDArray[np.floating], maximum_iou: float) -> NDArray[np.int64]:
    """Greedy non-maximum suppression of oriented boxes.

    Returns:
        Indices of the boxes kept, best score first; ties fall to the lower index, so that two runs agree.
    """
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    rank = np.empty(len(boxes), dtype=np.int64)
    rank[order] = np.arange(len(boxes))
    first, second = overlapping_pairs(boxes, maximum_iou)
    loser = rank[second] > rank[first]
    beats: dict[int, list[int]] = {}
    for i, j in zip(first[loser].tolist(), second[loser].tolist(), strict=True):
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


def match_best(predicted: Boxes, true: Boxes, minimum_iou: float) -> Matches:
    """The one-to-one match with the most total overlap, whatever the scores (Hungarian method)."""
    overlap = rotated_iou(predicted, true)
    gain = np.where(overlap >= minimum_iou, overlap, 0.0)
    p, t = linear_sum_assignment(-gain)
    kept = gain[p, t] > 0
    return Matches(p[kept].astype(np.int64), t[kept].astype(np.int64), overlap[p, t][kept])
