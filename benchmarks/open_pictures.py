"""What may be learned from in a folder of real pictures, as pictures with labels for `railwatch train`.

    python -m benchmarks.open_pictures FOLDER OUT --aside swissimage_muttenz_yard=750

FOLDER has `index.csv` (file, gsd_m, labelled, n_freight, category, dataset, licence) and `labels.json` (rows
of wagons, see `detector/labels/strings.py`). Taken are the pictures whose licence allows it: public domain
and open government data. Of a picture named with `--aside NAME=X` only the columns from X on are taken; the
rest is kept for scoring, by `benchmarks/real_pictures.py` with the same option.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import cv2

OPEN = ("A open", "A public domain", "USGS")
"""How the licences of what may be learned from begin."""


def open_pictures(folder: Path, out: Path, aside: dict[str, int]) -> int:
    """Write the pictures that may be learned from and their `labels.json`; gives their number."""
    labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    out.mkdir(parents=True, exist_ok=True)
    taken: dict[str, Any] = {}
    with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if not row["licence"].startswith(OPEN):
                continue
            path = folder / row["file"]
            left = aside.get(path.stem, 0)
            picture = cv2.imread(str(path))
            if picture is None:
                raise SystemExit(f"{path}: no picture")
            height, width = picture.shape[:2]
            cv2.imwrite(str(out / path.name), picture[:, left:])
            record = labels.get(row["file"], {"strings": [], "ignore": []})
            if row["n_freight"] not in ("", "0") and row["file"] not in labels:
                raise SystemExit(f"{path}: has freight cars and no labels")
            taken[path.name] = {
                "gsd_m": float(row["gsd_m"]),
                "strings": [
                    {**string, "x0": string["x0"] - left, "x1": string["x1"] - left}
                    for string in record["strings"]
                    if _reaches(string, left, width, height)
                ],
                "ignore": [[[x - left, y] for x, y in area] for area in record["ignore"]],
            }
    (out / "labels.json").write_text(json.dumps(taken, indent=1), encoding="utf-8")
    return len(taken)


def _reaches(string: dict[str, Any], left: float, width: float, height: float) -> bool:
    """Whether a row of wagons reaches into the columns from `left` on."""
    low, high = sorted((string["x0"], string["x1"]))
    top, bottom = sorted((string["y0"], string["y1"]))
    half = string["w"] / 2
    return bool(high > left + half and low < width and bottom > 0 and top < height)


def asides(names: list[str]) -> dict[str, int]:
    """`NAME=X` as a table."""
    return {name: int(column) for name, _, column in (text.partition("=") for text in names)}


def main() -> None:
    """Run as a command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--aside", action="append", default=[], metavar="NAME=X")
    options = parser.parse_args()
    number = open_pictures(options.folder, options.out, asides(options.aside))
    print(f"{number} pictures in {options.out}")


if __name__ == "__main__":
    main()
