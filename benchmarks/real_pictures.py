"""How well weights count freight cars on real pictures, and where their false boxes lie.

    python -m benchmarks.real_pictures FOLDER --weights wagon.safetensors --aside swissimage_muttenz_yard=750

FOLDER has `index.csv` (file, gsd_m, labelled, n_freight, category, dataset, licence) and `labels.json` (rows
of wagons, see `detector/labels/strings.py`). A picture counts as labelled where `labels.json` has it, as one
without freight cars where `n_freight` is 0; what is coarser than the detector takes is left out. Scored are
freight cars at rotated IoU 0.3: what is called a coach or a locomotive isn't counted as one, and what is
labelled a locomotive is neither hit nor miss. Columns left of X of a picture named with `--aside NAME=X`
weren't learned from (see `benchmarks/open_pictures.py`) and are scored once more by themselves. `--sheet`
draws the worst pictures, what is missed green and what is drawn red: what lies under a box is told by looking
only.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.open_pictures import OPEN, asides
from detector.labels import read_labels
from detector.labels.image import LabelledImage
from detector.training.evaluate_wagons import failure_sheet, on_images
from detector.training.metrics import Scored, average_precision, judge_picture
from detector.wagons.boxes import as_boxes
from detector.wagons.categories import CATEGORIES
from detector.wagons.detector import WagonDetector

IOU = 0.3
FREIGHT = CATEGORIES.index("freight")


def real_pictures(folder: Path, coarsest_m: float) -> tuple[list[LabelledImage], dict[str, dict[str, str]]]:
    """The pictures of a folder that can be scored, and the index's row of each by the picture's name."""
    with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
        rows = {Path(row["file"]).stem: row for row in csv.DictReader(file)}
    labelled = {Path(item.image).stem: item for item in read_labels(folder / "labels.json", images=folder)}
    out = []
    for stem, row in rows.items():
        if float(row["gsd_m"]) > coarsest_m:
            continue
        if stem in labelled:
            out.append(labelled[stem])
        elif row["n_freight"] == "0":
            path = folder / row["file"]
            (item,) = read_labels(path, format="negatives", gsd_m=float(row["gsd_m"]))
            out.append(item)
    return out, rows


def of_freight(scored: Scored) -> Scored:
    """The same picture with only what is called a freight car, and nothing but freight cars to find."""
    keep = scored.category == FREIGHT
    return replace(
        scored,
        boxes=scored.boxes[keep],
        probability=scored.probability[keep],
        category=scored.category[keep],
        freight=None if scored.freight is None else scored.freight[keep],
        ignored=scored.ignored | (scored.true_category != FREIGHT),
    )


def beside(scored: Scored, column: float, *, left: bool) -> Scored:
    """One side of a picture: what has its centre there."""
    side = (scored.boxes[:, 0] < column) == left
    true = (scored.true_boxes[:, 0] < column) == left
    return replace(
        scored,
        boxes=as_boxes(scored.boxes[side]),
        probability=scored.probability[side],
        category=scored.category[side],
        freight=None,
        ignored=scored.ignored | ~true,
    )


def figures(pictures: Sequence[Scored], threshold: float) -> dict[str, Any]:
    """Recall, precision with pictures without freight cars counted in, F1, average precision, false boxes."""
    judged = [judge_picture(item, IOU) for item in pictures]
    probability = np.concatenate([one.probability for one in judged])
    hit = np.concatenate([one.hit for one in judged])
    true = sum(one.true for one in judged)
    drawn = probability >= threshold
    hits = int((hit & drawn).sum())
    empty = [
        (item, one)
        for item, one in zip(pictures, judged, strict=True)
        if not len(item.true_boxes) and not item.ignore_areas
    ]
    false = sum(int((one.probability >= threshold).sum()) for _, one in empty)
    ground = sum(item.area_km2 for item, _ in empty)
    return {
        "cars": true,
        "recall": hits / max(1, true),
        "precision": hits / max(1, int(drawn.sum())),
        "f1": 2 * hits / max(1, int(drawn.sum()) + true),
        "ap_0.3": average_precision(probability, hit, true),
        "pictures_without": len(empty),
        "false_there": false,
        "false_per_km2": false / ground if ground else float("nan"),
    }


def score(
    detector: WagonDetector,
    folder: Path,
    aside: dict[str, int],
    threshold: float | None = None,
    sheet: Path | None = None,
) -> dict[str, Any]:
    """All figures of a folder: of all pictures, of those not learned from, and of each.

    Args:
        detector: To be scored.
        folder: As this module's description has it.
        aside: Pictures of which the columns left of one weren't learned from.
        threshold: Probability from which a box is drawn; the detector's own by default.
        sheet: Where to draw the worst pictures (PNG), if anywhere.
    """
    items, rows = real_pictures(folder, detector.gsd_range_m[1])
    seen = [replace(case, scored=of_freight(case.scored)) for case in on_images(detector, items)]
    cases = [case.scored for case in seen]
    least = detector.threshold if threshold is None else threshold
    if sheet is not None:
        failure_sheet(seen, least, sheet)
    out: dict[str, Any] = {"threshold": least, "all": figures(cases, least)}
    unlearned, by_picture = [], {}
    for item, scored in zip(items, cases, strict=True):
        stem = item.image.stem
        one = judge_picture(scored, IOU)
        drawn = one.probability >= least
        by_picture[stem] = {
            "cars": one.true,
            "found": int((one.hit & drawn).sum()),
            "false": int((~one.hit & drawn).sum()),
            "what": rows[stem]["category"],
        }
        if stem in aside:
            part = beside(scored, aside[stem], left=True)
            out[f"{stem}, kept aside"] = figures([part], least)
            unlearned.append(part)
        elif not rows[stem]["licence"].startswith(OPEN):
            unlearned.append(scored)
    out["not learned from"] = figures(unlearned, least)
    out["pictures"] = by_picture
    return out


def main() -> None:
    """Run as a command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--threshold", type=float)
    parser.add_argument("--aside", action="append", default=[], metavar="NAME=X")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args()
    detector = WagonDetector.load(options.weights, backend=options.backend)
    result = score(detector, options.folder, asides(options.aside), options.threshold, options.sheet)
    if options.as_json:
        print(json.dumps(result, indent=1))
        return
    pictures = result.pop("pictures")
    print(f"{detector.name} {detector.version}, {detector.backend}, threshold {result.pop('threshold')}")
    for name, part in result.items():
        print(name, ", ".join(f"{key} {value:.3g}" for key, value in part.items()))
    for name, one in pictures.items():
        if one["cars"] or one["false"]:
            print(f"{name}: {one['found']} of {one['cars']}, {one['false']} false ({one['what']})")


if __name__ == "__main__":
    main()
