"""Merging the boxes of overlapping windows, by one contestant: python merging.py WHO NUMBER."""

from __future__ import annotations

import json
import sys
import time

import numpy as np

IOU = 0.3


def boxes(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Wagons in rows, ``(N, 5)``, half of them seen twice a little differently; and their scores."""
    rng = np.random.default_rng(0)
    once = (number + 1) // 2
    place = np.arange(once)
    single = np.stack(
        [place % 1000 * 32.0, place // 1000 * 10.0, np.full(once, 28.0), np.full(once, 6.0), np.zeros(once)],
        axis=1,
    )
    again = single + rng.normal(0, 0.5, single.shape) * [1, 1, 1, 0.1, 1]
    return np.concatenate([single, again])[:number], rng.random(number)


def main() -> None:
    """Time the merge alone, once warm, and print it."""
    who, number = sys.argv[1], int(sys.argv[2])
    oriented, scores = boxes(number)
    half = oriented[:, 2:4] / 2
    upright = np.concatenate([oriented[:, :2] - half, oriented[:, :2] + half], axis=1)
    if who == "railwatch":
        from detector.wagons.boxes import suppress

        def merge() -> int:
            return len(suppress(oriented, scores, IOU))
    elif who == "sahi":
        from sahi.postprocess.combine import NMSPostprocess
        from sahi.prediction import ObjectPrediction

        listed = [
            ObjectPrediction(bbox=box.tolist(), category_id=0, category_name="car", score=float(score))
            for box, score in zip(upright, scores, strict=True)
        ]
        process = NMSPostprocess(match_threshold=IOU, match_metric="IOU", class_agnostic=True)

        def merge() -> int:
            return len(process(listed))
    else:
        import torch
        from torchvision.ops import nms

        # What DeepForest's mosaic does in the end, without the table around it.
        tensor, weights = torch.from_numpy(upright).float(), torch.from_numpy(scores).float()

        def merge() -> int:
            return len(nms(tensor, weights, IOU))

    merge()
    began, cpu = time.perf_counter(), time.process_time()
    kept = merge()
    clock = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu, "boxes": kept}
    sys.stdout.write(json.dumps(clock) + "\n")


if __name__ == "__main__":
    main()
