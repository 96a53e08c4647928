"""Figures of merit of detections and counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from detector.wagons.boxes import Boxes, Matches, as_boxes, box_corners, match, rotated_iou


@dataclass(frozen=True)
class Scored:
    """One picture's predictions beside its truth, in pixels of one frame.

    Attributes:
        name: Of the picture.
        boxes: ``(N, 5)`` predictions, all candidates down to a low probability.
        probability: ``(N,)``.
        category: ``(N,)`` predicted, index into CATEGORIES.
        true_boxes: ``(M, 5)``.
        true_category: ``(M,)``.
        ignored: ``(M,)`` bool: true boxes that are neither hits nor misses.
        ignore_areas: Polygons in which predictions don't count either way.
        size_px: ``(width, height)`` of the frame.
        gsd_m: Of the frame.
        interval: 90% interval of the freight count, if one was given.
        freight: ``(N,)`` probability that a prediction is a freight car if it is a rail vehicle; as sure as
            its category if not given.
        meta: What to group by.
    """

    name: str
    boxes: Boxes
    probability: NDArray[np.float64]
    category: NDArray[np.int64]
    true_boxes: Boxes
    true_category: NDArray[np.int64]
    ignored: NDArray[np.bool_]
    size_px: tuple[float, float]
    gsd_m: float
    ignore_areas: tuple[Any, ...] = ()
    interval: tuple[int, int] | None = None
    freight: NDArray[np.float64] | None = None
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def area_km2(self) -> float:
        """Ground area of the picture."""
        return self.size_px[0] * self.size_px[1] * self.gsd_m**2 / 1e6


def clip_boxes(boxes: Boxes, width: float, height: float) -> Boxes:
    """Boxes cut to a frame along their long axis; a box wholly outside keeps its shape."""
    boxes = as_boxes(boxes).copy()
    if not len(boxes):
        return boxes
    angle = np.deg2rad(boxes[:, 4])
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    half = boxes[:, 2] / 2
    low, high = -half.copy(), half.copy()
    for axis, limit in ((0, width), (1, height)):
        d, c = direction[:, axis], boxes[:, axis]
        with np.errstate(divide="ignore", invalid="ignore"):
            a, b = (0 - c) / d, (limit - c) / d
        moving = np.abs(d) > 1e-9
        low = np.where(moving, np.maximum(low, np.minimum(a, b)), low)
        high = np.where(moving, np.minimum(high, np.maximum(a, b)), high)
    cut = high - low > 1e-6
    middle = (low + high) / 2
    boxes[cut, :2] += direction[cut] * middle[cut, None]
    boxes[cut, 2] = (high - low)[cut]
    return boxes


@dataclass(frozen=True)
class Judged:
    """A picture's predictions after matching.

    Attributes:
        probability: ``(K,)`` of the predictions that count.
        hit: ``(K,)`` bool.
        true: Number of true boxes that count.
        pairs: ``(P, 2)`` predicted and true category of the hits.
        counts: ``(N,)`` bool: predictions that count, of all; the others lie where nothing counts either way.
        found: ``(M,)`` probability with which each true box was found (0 if it was not, nan if it is
            ignored).
    """

    probability: NDArray[np.float64]
    hit: NDArray[np.bool_]
    true: int
    pairs: NDArray[np.int64]
    counts: NDArray[np.bool_]
    found: NDArray[np.float64]


def judge_picture(item: Scored, minimum_iou: float) -> Judged:
    """Match one picture's predictions to its truth, whatever the category."""
    width, height = item.size_px
    predicted = clip_boxes(item.boxes, width, height)
    true = clip_boxes(item.true_boxes, width, height)
    wanted = ~item.ignored
    result: Matches = match(predicted, item.probability, true[wanted], minimum_iou)
    hit = np.zeros(len(predicted), bool)
    hit[result.predicted] = True
    counts = hit | ~_excused(predicted, true[item.ignored], item.ignore_areas)
    found = np.where(wanted, 0.0, np.nan)
    rows = np.flatnonzero(wanted)[result.true]
    found[rows] = item.probability[result.predicted]
    pairs = np.column_stack([item.category[result.predicted], item.true_category[rows]]).astype(np.int64)
    return Judged(item.probability[counts], hit[counts], int(wanted.sum()), pairs, counts, found)


def counting_rows(item: Scored) -> NDArray[np.bool_]:
    """Predictions that bear on the count: all but those on ignored boxes and in ignored areas, ``(N,)``."""
    if not item.ignored.any() and not item.ignore_areas:
        return np.ones(len(item.boxes), bool)
    return judge_picture(item, 0.3).counts


def _excused(predicted: Boxes, ignored: Boxes, areas: Sequence[Any]) -> NDArray[np.bool_]:
    excused = np.zeros(len(predicted), bool)
    if len(predicted) and len(ignored):
        excused |= (rotated_iou(predicted, ignored) > 0.1).any(axis=1)
    if len(predicted) and areas:
        polygons = shapely.polygons(box_corners(predicted))
        union = shapely.union_all(shapely.make_valid(list(areas)))
        excused |= shapely.area(shapely.intersection(polygons, union)) > 0.5 * shapely.area(polygons)
    return excused


def average_precision(probability: NDArray[np.float64], hit: NDArray[np.bool_], true: int) -> float:
    """Area under the precision envelope over recall, at all points as in Pascal VOC; nan without truth."""
    if not true:
        return float("nan")
    order = np.argsort(-probability, kind="stable")
    hits = np.cumsum(hit[order])
    precision = hits / np.arange(1, len(order) + 1)
    recall = hits / true
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.diff(np.concatenate([[0.0], recall]))
    return float((envelope * steps).sum())


def summarise(items: Sequence[Scored], threshold: float, *, seed: int = 0) -> dict[str, Any]:
    """Detection and count figures of a set of pictures.

    Precision, recall and F1 are of all rail vehicles at the threshold; counts are of freight cars. The
    interval of the signed bias is a bootstrap over pictures (2,000 draws, 90%).

    Returns:
        A flat mapping, ready for JSON; nan where a figure has no meaning.
    """
    area = sum(i.area_km2 for i in items)
    out: dict[str, Any] = {"pictures": len(items), "area_km2": round(area, 4)}
    for iou in (0.5, 0.3):
        judged = [judge_picture(i, iou) for i in items]
        probability = np.concatenate([j.probability for j in judged]) if judged else np.zeros(0)
        hit = np.concatenate([j.hit for j in judged]) if judged else np.zeros(0, bool)
        true = sum(j.true for j in judged)
        sure = probability >= threshold
        hits, drawn = int((hit & sure).sum()), int(sure.sum())
        precision = hits / drawn if drawn else float("nan")
        recall = hits / true if true else float("nan")
        key = f"{iou:g}"
        out |= {
            f"ap_{key}": average_precision(probability, hit, true),
            f"precision_{key}": precision,
            f"recall_{key}": recall,
            f"f1_{key}": 2 * hits / (drawn + true) if drawn + true else float("nan"),
        }
        out["true"] = true
        if iou == 0.3:
            empty = [(i, j) for i, j in zip(items, judged, strict=True) if not len(i.true_boxes)]
            false = sum(int(((~j.hit) & (j.probability >= threshold)).sum()) for _, j in empty)
            ground = sum(i.area_km2 for i, _ in empty)
            out |= {
                "empty_pictures": len(empty),
                "empty_km2": round(ground, 4),
                "false_on_empty": false,
                "false_per_empty_km2": false / ground if ground else float("nan"),
                "false_per_km2": (drawn - hits) / area if area else float("nan"),
            }
            pairs = np.concatenate([j.pairs for j in judged]) if judged else np.zeros((0, 2), np.int64)
            out["category_accuracy"] = (
                float((pairs[:, 0] == pairs[:, 1]).mean()) if len(pairs) else float("nan")
            )
    out |= count_figures(items, threshold, seed=seed)
    return out


def count_figures(items: Sequence[Scored], threshold: float, *, seed: int = 0) -> dict[str, Any]:
    """Errors of the freight counts: absolute, signed with its interval, weighted; interval coverage."""
    if not items:
        return {}
    true = np.array([int(((i.true_category == 0) & ~i.ignored).sum()) for i in items], float)
    drawn = [counting_rows(i) & (i.category == 0) & (i.probability >= threshold) for i in items]
    counted = np.array([int(rows.sum()) for rows in drawn], float)
    error = counted - true
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(items), size=(2000, len(items)))
    low, high = np.quantile(error[draws].mean(axis=1), [0.05, 0.95])
    out: dict[str, Any] = {
        "count_true": int(true.sum()),
        "count_found": int(counted.sum()),
        "count_mae": float(np.abs(error).mean()),
        "count_bias": float(error.mean()),
        "count_bias_low": float(low),
        "count_bias_high": float(high),
        "count_wape": float(np.abs(error).sum() / true.sum()) if true.sum() else float("nan"),
    }
    bounded = [(i, t) for i, t in zip(items, true, strict=True) if i.interval is not None]
    if bounded:
        out["interval_coverage"] = float(
            np.mean([i.interval[0] <= t <= i.interval[1] for i, t in bounded if i.interval])
        )
        out["interval_width"] = float(
            np.mean([i.interval[1] - i.interval[0] for i, _ in bounded if i.interval])
        )
    return out
