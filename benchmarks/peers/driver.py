"""One measurement of one contestant, in its own environment: a job as JSON in, a result as JSON out.

    python benchmarks/peers/driver.py '{"contestant": "sahi", "network": "retinanet", "raster": "x.tif", ...}'

Only the one call that a user makes is timed; the network is built before. Every contestant gets the same
network, tile size, overlap in pixels, thresholds and threads.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
JOB: dict[str, Any] = json.loads(sys.argv[1])
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = str(JOB["threads"])

import numpy as np  # noqa: E402
import scene as scenes  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402

TILE_PX, OVERLAP_PX, IOU, SCORE = 512, 64, 0.5, 0.3


class Oracle(nn.Module):
    """No network at all: reads the window's place off its pixels and answers with the truth in it."""

    task = "box"

    def __init__(self, truth: np.ndarray) -> None:
        super().__init__()
        self.truth, self.upright = truth, scenes.hulls(truth)
        self.score = 0.5 + 0.4 * np.random.default_rng(1).random(len(truth))
        self.anything = nn.Parameter(torch.zeros(1))

    def window(self, image: torch.Tensor) -> tuple[np.ndarray, int, int]:
        """Which boxes a window shows by at least three tenths, and where it begins."""
        # The first row and the first column tell: a stub that costs next to nothing.
        row, column = (
            (line.T * 255).round().to(torch.uint8).numpy() for line in (image[:, 0], image[:, :, 0])
        )
        x, y = scenes.origin_of(row, column)
        height, width = image.shape[1:]
        box = self.upright
        left, top = np.maximum(box[:, 0], x), np.maximum(box[:, 1], y)
        right, bottom = np.minimum(box[:, 2], x + width), np.minimum(box[:, 3], y + height)
        seen = np.clip(right - left, 0, None) * np.clip(bottom - top, 0, None)
        return seen > 0.3 * (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]), x, y

    def forward(self, images: list[torch.Tensor], targets: Any = None) -> list[dict[str, torch.Tensor]]:
        """Torchvision's answer: upright boxes in pixels of the window, cut at its edges."""
        del targets
        answers = []
        for image in images:
            shown, x, y = self.window(image)
            boxes = self.upright[shown] - [x, y, x, y]
            boxes = boxes.clip(0, [image.shape[2], image.shape[1]] * 2)
            answers.append(
                {
                    "boxes": torch.from_numpy(boxes).float(),
                    "scores": torch.from_numpy(self.score[shown]).float(),
                    "labels": torch.zeros(int(shown.sum()), dtype=torch.int64),
                }
            )
        return answers


def network() -> nn.Module:
    """The network of the job."""
    if JOB["network"] == "oracle":
        return Oracle(scenes.yards(JOB["side"], JOB.get("angle_deg", 0.0))).eval()
    from torchvision.models.detection import retinanet_resnet50_fpn

    torch.manual_seed(0)
    model = retinanet_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=2, min_size=TILE_PX, max_size=TILE_PX
    ).eval()
    model.task = "box"
    model.score_thresh = SCORE  # random weights answer about 0.01: no boxes, the network's work alone
    return model


def sahi(model: nn.Module, raster: str, setting: str) -> int:
    from sahi import AutoDetectionModel
    from sahi.predict import get_sliced_prediction

    wrapped = AutoDetectionModel.from_pretrained(
        model_type="torchvision",
        model=model,
        confidence_threshold=SCORE,
        device="cpu",
        category_mapping={"0": "car", "1": "other"},
        load_at_init=True,
    )
    guard = torch.inference_mode() if setting == "inference mode" else contextlib.nullcontext()
    with timed(), guard:
        result = get_sliced_prediction(
            image=raster,
            detection_model=wrapped,
            slice_height=TILE_PX,
            slice_width=TILE_PX,
            overlap_height_ratio=OVERLAP_PX / TILE_PX,
            overlap_width_ratio=OVERLAP_PX / TILE_PX,
            perform_standard_pred=False,
            postprocess_type=JOB.get("merge", "NMS"),
            postprocess_match_metric="IOU",
            postprocess_match_threshold=IOU,
            postprocess_class_agnostic=True,
            verbose=0,
        )
    return len(result.object_prediction_list)


def deepforest(model: nn.Module, raster: str, setting: str) -> int:
    from deepforest import main

    wrapped = main.deepforest(
        model=model,
        config_args={
            "num_classes": 1,
            "label_dict": {"car": 0},
            "batch_size": JOB.get("batch", 4),
            "workers": 0,
            "accelerator": "cpu",
            "devices": 1,
            "score_thresh": SCORE,
            "nms_thresh": IOU,
        },
    )
    wrapped.set_labels({"car": 0})
    wrapped.create_trainer(logger=False, enable_progress_bar=False)
    with timed():
        found = wrapped.predict_tile(
            path=raster,
            patch_size=TILE_PX,
            patch_overlap=OVERLAP_PX / TILE_PX,
            iou_threshold=IOU,
            dataloader_strategy=setting or "single",
        )
    return 0 if found is None else len(found)


def railwatch(model: nn.Module, raster: str, setting: str) -> int:
    """railwatch's tiles and suppression around the same network; oriented boxes from the oracle.

    Weights lie channel by channel, as `detector.wagons.weights.TorchMaps` lays them. Windows are at most
    as large as the peers', and the network takes them at their own size.
    """
    from concurrent.futures import ThreadPoolExecutor

    from detector.wagons.boxes import suppress
    from geo import TileGrid, open_scene, tiles

    halo, size = OVERLAP_PX // 2, JOB.get("batch", 4)
    oracle = model if isinstance(model, Oracle) else None
    model = model.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def answer(batch: list[Any]) -> list[tuple[np.ndarray, np.ndarray]]:
        if oracle is not None:
            out = []
            for tile in batch:  # one after the other, as SAHI does
                image, (x0, y0) = _as_tensor(tile.image), tile.window[:2]
                inside = image[:, max(0, -y0) :, max(0, -x0) :]  # beyond the raster there is no code to read
                shown, _, _ = oracle.window(inside)
                out.append((oracle.truth[shown], oracle.score[shown]))
            return out
        images = [_as_tensor(tile.image) for tile in batch]
        return [
            (_as_oriented(one["boxes"].numpy(), tile.window), one["scores"].numpy())
            for one, tile in zip(model(images), batch, strict=True)
        ]

    with timed():
        opened = open_scene(raster)
        grid = TileGrid.over(opened, gsd_m=0.5, core_px=TILE_PX - OVERLAP_PX, halo_px=halo)
        if oracle is None:
            model.transform.min_size, model.transform.max_size = (min(grid.window_px),), max(grid.window_px)
        boxes, scores = [np.zeros((0, 5))], [np.zeros(0)]
        pending: list[Any] = []
        with ThreadPoolExecutor(1) as pool:
            waiting = []

            def take(done: Any, batch: list[Any]) -> None:
                for (found, score), tile in zip(done.result(), batch, strict=True):
                    x0, y0, x1, y1 = tile.core
                    x, y = found[:, 0], found[:, 1]
                    mine = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
                    boxes.append(found[mine])
                    scores.append(score[mine])

            for tile in tiles(opened, grid):
                pending.append(tile)
                if len(pending) == size:
                    waiting.append((pool.submit(answer, pending), pending))
                    pending = []
                if len(waiting) > 1:
                    take(*waiting.pop(0))
            if pending:
                waiting.append((pool.submit(answer, pending), pending))
            for one in waiting:
                take(*one)
        kept = suppress(np.concatenate(boxes), np.concatenate(scores), IOU)
    return len(kept)


def _as_tensor(image: np.ndarray) -> torch.Tensor:
    """What a torchvision detector takes, (3, H, W) of 0 to 1, from (H, W, 3) of 0 to 255."""
    # By numpy: torch would set its threads to work on so little, and they wait for more by spinning.
    return torch.from_numpy(np.true_divide(image, np.float32(255), dtype=np.float32)).permute(2, 0, 1)


def _as_oriented(upright: np.ndarray, window: tuple[int, int, int, int]) -> np.ndarray:
    x0, y0, x1, y1 = upright.T
    return np.stack(
        [(x0 + x1) / 2 + window[0], (y0 + y1) / 2 + window[1], x1 - x0, y1 - y0, np.zeros(len(x0))], axis=1
    )


@torch.inference_mode()
def forward(model: nn.Module, raster: str, setting: str) -> int:
    """The bare forward passes of the same windows, and nothing else: what no pipeline can undercut."""
    del raster, setting
    windows = -(-(JOB["side"] - OVERLAP_PX) // (TILE_PX - OVERLAP_PX))
    batch = [torch.rand(3, TILE_PX, TILE_PX) for _ in range(JOB.get("batch", 4))]
    with timed():
        left = windows * windows
        while left > 0:
            model(batch[: min(left, len(batch))])
            left -= len(batch)
    return 0


CLOCK: dict[str, float] = {}


@contextlib.contextmanager
def timed() -> Any:
    time.sleep(JOB.get("rest_s", 0.0))
    began, cpu = time.perf_counter(), time.process_time()
    yield
    CLOCK.update(seconds=time.perf_counter() - began, cpu_seconds=time.process_time() - cpu)


def main() -> None:
    torch.set_num_threads(JOB["threads"])
    contestant = {"sahi": sahi, "deepforest": deepforest, "railwatch": railwatch, "forward": forward}
    with contextlib.redirect_stdout(sys.stderr):
        boxes = contestant[JOB["contestant"]](network(), JOB["raster"], JOB.get("setting", ""))
    sys.stdout.write(json.dumps({**CLOCK, "boxes": boxes, "peak_mb": round(scenes.peak_mb())}) + "\n")


if __name__ == "__main__":
    main()
