"""The detector against labels: tables, groups, and pictures of where it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aoi.errors import InputError
from aoi.files import write_bytes
from detector.errors import LabelError
from detector.labels import LabelledImage
from detector.training.calibrate_wagons import detect_tiles, score
from detector.training.metrics import Scored, counting_rows, judge_picture, summarise
from detector.training.tiles import simulate_tiles
from detector.wagons.boxes import as_boxes, box_corners
from detector.wagons.categories import CATEGORIES
from detector.wagons.detections import Detections
from detector.wagons.detector import WagonDetector
from geo import Scene, open_scene, resample_image
from geo.tiles import WORK_GSD_M

SHEET_CELL_PX = 288


@dataclass(frozen=True)
class Case:
    """A scored picture, and the picture itself when somebody wants to see it."""

    scored: Scored
    picture: Callable[[], NDArray[np.uint8]]  # (H, W, 3) in the frame of the boxes


def on_images(
    detector: WagonDetector,
    labelled: Sequence[LabelledImage],
    *,
    skipped: list[dict[str, str]] | None = None,
    careful: bool = False,
    progress: Callable[[int, int], Any] | None = None,
) -> list[Case]:
    """Detect on labelled images by the path that users take, from file to boxes.

    Args:
        detector: To be scored.
        labelled: Images; those that nobody has labelled are passed over.
        skipped: Takes the path and the reason of images that can't be used; without it the first one raises.
        careful: As in `WagonDetector.detect`.
        progress: Called with images done and images in all.

    Raises:
        LabelError: No image is labelled.
        InputError: An image can't be read or is outside the detector's range.
    """
    wanted = [item for item in labelled if item.labelled]
    if not wanted:
        raise LabelError("none of the images is labelled, so that nothing can be scored")
    cases = []
    for number, item in enumerate(wanted):
        try:
            scene = open_scene(item.image, gsd_m=item.gsd_m)
            cases.append(_case(item, scene, detector.detect(scene, careful=careful)))
        except InputError as error:
            if skipped is None:
                raise
            skipped.append({"path": str(item.image), "reason": str(error)})
        if progress is not None:
            progress(number + 1, len(wanted))
    return cases


def _case(item: LabelledImage, scene: Scene, found: Detections) -> Case:
    table = pd.concat([found.frame, found.below_threshold])
    x, y = item.boxes[:, 0], item.boxes[:, 1]
    outside = (x < 0) | (x >= item.size_px[0]) | (y < 0) | (y >= item.size_px[1])
    scored = Scored(
        name=item.name,
        boxes=as_boxes(table["pixel_box"].tolist()),
        probability=table["score"].to_numpy(np.float64),
        category=np.array([CATEGORIES.index(c) for c in table["category"]], np.int64),
        true_boxes=item.boxes,
        true_category=item.category,
        ignored=item.ignored | outside,
        size_px=(float(item.size_px[0]), float(item.size_px[1])),
        gsd_m=scene.gsd_m,
        ignore_areas=item.ignore_areas,
        meta={"gsd_m": scene.gsd_m},
        freight=table["freight_score"].to_numpy(np.float64),
    )
    rows = counting_rows(scored)
    interval = found.count_in(rows[: len(found.frame)], rows[len(found.frame) :])
    return Case(replace(scored, interval=(interval.low, interval.high)), lambda: scene.read()[0])


def on_simulated(
    detector: WagonDetector,
    scenes: int,
    *,
    split: str = "test",
    seed: int = 7,
    backgrounds: Path | None = None,
    simulator: str = "main",
    careful: bool = False,
    progress: Callable[[int, int], Any] | None = None,
) -> list[Case]:
    """Detect on fresh simulated scenes of a split; the same seed gives the same scenes.

    Args:
        detector: Whose answers are scored.
        scenes: How many.
        split: Whose wagon designs, backgrounds and sensors are used.
        seed: Of the scenes.
        backgrounds: Folder of rail-free pictures at 0.3 m used as ground.
        simulator: Who draws them.
        careful: As in `WagonDetector.detect`.
        progress: Called with scenes done and scenes in all.
    """
    cases: list[Case] = []
    for number in range(scenes):
        tiles = simulate_tiles(
            seed, number, 1, split=split, backgrounds=backgrounds, views=1, simulator=simulator
        )
        pictured = detect_tiles(detector, tiles, careful=careful)
        for tile, scored in zip(tiles, score(detector, pictured), strict=True):
            cases.append(Case(scored, lambda tile=tile: tile.image))  # type: ignore[misc]
        if progress is not None:
            progress(number + 1, scenes)
    return cases


def tables(cases: Iterable[Case], threshold: float) -> dict[str, pd.DataFrame]:
    """Figures of all pictures and by group.

    Returns:
        ``all`` (a row), ``gsd``, ``density``, ``sun`` and ``kind`` (figures of the pictures of each group),
        and ``type`` and ``contrast`` (recall of the true boxes of each group); groups the pictures say
        nothing about are left out.
    """
    scored = [c.scored for c in cases]
    out = {"all": pd.DataFrame([summarise(scored, threshold)])}
    groups: dict[str, Callable[[Scored], str | None]] = {
        "gsd": lambda s: _band(s.meta.get("gsd_m"), (0.3, 0.5, 0.7, 0.9, 1.2), " m"),
        "density": lambda s: _band(len(s.true_boxes), (1, 6, 16, 31, 61), " wagons"),
        "sun": lambda s: _band(s.meta.get("sun_elevation_deg"), (20, 35, 50), " deg"),
        "kind": lambda s: s.meta.get("kind"),
    }
    for name, key in groups.items():
        members: dict[str, list[Scored]] = {}
        for item in scored:
            group = key(item)
            if group is not None:
                members.setdefault(group, []).append(item)
        if len(members) > 1:
            rows = [{name: _named(g), **summarise(m, threshold)} for g, m in sorted(members.items())]
            out[name] = pd.DataFrame(rows)
    boxes = _box_table(scored)
    if len(boxes):
        boxes["found"] = boxes["probability"] >= threshold
        for name in ("type", "contrast"):
            if boxes[name].nunique() > 1:
                table = boxes.groupby(name)["found"].agg(["size", "mean"]).reset_index()
                table[name] = table[name].map(_named)
                out[name] = table.rename(columns={"size": "true", "mean": "recall_0.3"})
    return out


def _band(value: float | None, edges: tuple[float, ...], unit: str) -> str | None:
    if value is None:
        return None
    number = int(np.searchsorted(edges, value, side="right"))
    low = f"{edges[number - 1]:g}" if number else ""
    high = f"{edges[number]:g}" if number < len(edges) else ""
    # The leading letter keeps the bands in order when they are sorted as text.
    return (
        f"{'abcdefgh'[number]}: {low}-{high}{unit}"
        if low and high
        else f"{'abcdefgh'[number]}: {'<' + high if high else '>=' + low}{unit}"
    )


def _named(group: str) -> str:
    """A group's name without the letter that put it in order."""
    return group[3:] if group[1:3] == ": " else group


def _box_table(scored: Sequence[Scored]) -> pd.DataFrame:
    rows = []
    for item in scored:
        types, contrasts = item.meta.get("types"), item.meta.get("box_contrast")
        found = judge_picture(item, 0.3).found
        for i, probability in enumerate(found):
            if not np.isnan(probability):
                rows.append(
                    {
                        "probability": probability,
                        "type": types[i] if types else CATEGORIES[int(item.true_category[i])],
                        "contrast": _band(255.0 * contrasts[i], (10, 20, 35, 60), " grey levels")
                        if contrasts
                        else "unknown",
                    }
                )
    return pd.DataFrame(rows)


def failure_sheet(cases: Sequence[Case], threshold: float, path: Path, *, most: int = 24) -> Path | None:
    """Draw the pictures with the most wrong boxes: truth green, thick where missed; the detector's red.

    Returns:
        The PNG, or None when nothing went wrong.
    """
    wrong = []
    for case in cases:
        judged = judge_picture(case.scored, 0.3)
        false = int(((~judged.hit) & (judged.probability >= threshold)).sum())
        missed = int((judged.found < threshold).sum())
        if false + missed:
            wrong.append((false + missed, false, missed, case))
    if not wrong:
        return None
    wrong.sort(key=lambda w: (-w[0], w[3].scored.name))
    cells = [
        _cell(case, threshold, f"{false} false, {missed} missed") for _, false, missed, case in wrong[:most]
    ]
    columns = min(6, len(cells))
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % columns)
    rows = [np.concatenate(cells[i : i + columns], axis=1) for i in range(0, len(cells), columns)]
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet = np.concatenate(rows, axis=0)
    ok, data = cv2.imencode(".png", sheet[..., ::-1])
    if ok:
        write_bytes(path, data.tobytes())
    return path


def _cell(case: Case, threshold: float, caption: str) -> NDArray[np.uint8]:
    """One picture of the sheet, drawn at 0.25 m a pixel and cut or padded to one size."""
    item = case.scored
    scale = item.gsd_m / (WORK_GSD_M / 2)
    picture = np.ascontiguousarray(resample_image(case.picture(), item.gsd_m, WORK_GSD_M / 2))
    size = 2 * SHEET_CELL_PX
    # The worst corner of a large picture: where the most wrong boxes are.
    judged = judge_picture(item, 0.3)
    sure = item.probability >= threshold
    missed = np.nan_to_num(judged.found, nan=1.0) < threshold
    places = np.concatenate([item.boxes[sure][:, :2], item.true_boxes[missed][:, :2]]) * scale
    x0, y0 = 0, 0
    if len(places):
        x0 = int(np.clip(np.median(places[:, 0]) - size / 2, 0, max(0, picture.shape[1] - size)))
        y0 = int(np.clip(np.median(places[:, 1]) - size / 2, 0, max(0, picture.shape[0] - size)))
    for boxes, colour, thick in (
        (item.true_boxes, (60, 220, 60), 1),
        (item.true_boxes[missed], (60, 220, 60), 3),
        (item.boxes[sure], (230, 60, 60), 1),
    ):
        for corners in box_corners(boxes) * scale:
            cv2.polylines(picture, [np.round(corners).astype(np.int32)], True, colour, thick, cv2.LINE_AA)
    cell = picture[y0 : y0 + size, x0 : x0 + size]
    cell = np.pad(cell, ((0, size - cell.shape[0]), (0, size - cell.shape[1]), (0, 0)), constant_values=255)
    cell = np.ascontiguousarray(cell)
    cv2.rectangle(cell, (0, 0), (size, 22), (255, 255, 255), -1)
    text = f"{Path(item.name).name[:28]}  {item.meta.get('gsd_m', item.gsd_m):.2f} m  {caption}"
    cv2.putText(cell, text, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return np.asarray(cell, dtype=np.uint8)
