"""A yardstick for the greedy matching: the best one there is."""

from __future__ import annotations

import numpy as np

from detector.wagons.boxes import Boxes, Matches, rotated_iou


def match_best(predicted: Boxes, true: Boxes, minimum_iou: float) -> Matches:
    """The one-to-one match with the most total overlap, whatever the scores (Hungarian method)."""
    from scipy.optimize import linear_sum_assignment

    overlap = rotated_iou(predicted, true)
    gain = np.where(overlap >= minimum_iou, overlap, 0.0)
    p, t = linear_sum_assignment(-gain)
    kept = gain[p, t] > 0
    return Matches(p[kept].astype(np.int64), t[kept].astype(np.int64), overlap[p, t][kept])
