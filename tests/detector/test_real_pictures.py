"""Scores on a folder of real pictures, and what of it may be learned from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from painted import paint, painted_detector
from PIL import Image

from benchmarks.open_pictures import asides, open_pictures
from benchmarks.real_pictures import score
from detector.labels import read_labels
from detector.wagons.boxes import as_boxes

YARD = as_boxes([[60, 50, 30, 6, 0], [120, 50, 30, 6, 0], [200, 60, 40, 6, 90], [260, 120, 30, 6, 0]])
SIZE = (160, 300)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A yard of four cars of which one label is missing, an open picture, a false alarm, one too coarse."""
    root = tmp_path / "real"
    (root / "negative").mkdir(parents=True)
    for name, boxes in (("yard", YARD), ("negative/bus", YARD[:1]), ("negative/far", YARD)):
        Image.fromarray(paint(boxes, SIZE)).save(root / f"{name}.png")
    rows = [
        "file,gsd_m,labelled,n_freight,category,dataset,licence",
        "yard.png,0.5,yes,4,a yard,ours,A open: free",
        "negative/bus.png,0.5,,0,buses,theirs,evaluation only",
        "negative/far.png,1.8,,0,coarse,theirs,A open: free",
    ]
    (root / "index.csv").write_text("\n".join(rows), encoding="utf-8")
    strings = [
        {"x0": 45, "y0": 50, "x1": 75, "y1": 50, "n": 1, "w": 6, "kind": "freight"},
        {"x0": 105, "y0": 50, "x1": 135, "y1": 50, "n": 1, "w": 6, "kind": "loco"},
        {"x0": 200, "y0": 40, "x1": 200, "y1": 80, "n": 1, "w": 6, "kind": "freight"},
        {"x0": 20, "y0": 140, "x1": 50, "y1": 140, "n": 1, "w": 6, "kind": "freight"},
    ]
    labels = {"yard.png": {"gsd_m": 0.5, "strings": strings, "ignore": []}}
    (root / "labels.json").write_text(json.dumps(labels), encoding="utf-8")
    return root


def test_freight_cars_are_scored_with_the_empty_pictures_counted_in(folder):
    found = score(painted_detector(threshold=0.5), folder, {"yard": 100})
    # Of three labelled freight cars two are found; the locomotive counts neither way, an unlabelled car and
    # the bus are false.
    every = found["all"]
    assert every["cars"] == 3
    assert every["recall"] == pytest.approx(2 / 3)
    assert every["precision"] == pytest.approx(2 / 4)
    assert (every["pictures_without"], every["false_there"]) == (1, 1)
    assert every["false_per_km2"] == pytest.approx(1e6 / (150 * 80))
    assert found["pictures"]["bus"] == {"cars": 0, "found": 0, "false": 1, "what": "buses"}
    assert "far" not in found["pictures"]
    aside = found["yard, kept aside"]  # left of column 100: one found, one missed
    assert (aside["cars"], aside["recall"], aside["precision"]) == (2, 0.5, 1.0)
    assert found["not learned from"]["cars"] == 2
    assert found["not learned from"]["false_there"] == 1


def test_a_higher_threshold_draws_fewer(folder):
    assert score(painted_detector(threshold=0.5), folder, {}, threshold=0.9999)["all"]["recall"] == 0.0


def test_the_worst_pictures_are_drawn_what_is_false_in_red(folder, tmp_path):
    score(painted_detector(threshold=0.5), folder, {}, sheet=tmp_path / "sheet.png")
    yard, bus = np.split(np.array(Image.open(tmp_path / "sheet.png")).astype(int), 2, axis=1)
    for cell, missed in ((yard, True), (bus, False)):
        red, green, blue = cell[30:].reshape(-1, 3).T
        assert (red - np.maximum(green, blue) > 100).any()
        assert bool((green - np.maximum(red, blue) > 100).any()) == missed


def test_only_open_pictures_are_taken_and_what_is_kept_aside_is_cut_off(folder, tmp_path):
    assert open_pictures(folder, tmp_path / "open", asides(["yard=100"])) == 2
    taken = {item.image.name: item for item in read_labels(tmp_path / "open" / "labels.json")}
    assert sorted(taken) == ["far.png", "yard.png"]
    yard = taken["yard.png"]
    assert yard.size_px == (200, 160)
    assert np.allclose(yard.boxes[:, :2], [[20, 50], [100, 60]])
    assert len(taken["far.png"].boxes) == 0
    assert taken["far.png"].labelled
