"""Scores against labels by the path that users take, tables, and pictures of the failures."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
import torch
from affine import Affine
from painted import paint, painted_detector
from PIL import Image

from detector.errors import LabelError
from detector.labels import LabelledImage
from detector.training.evaluate_wagons import (
    SHEET_CELL_PX,
    Case,
    failure_sheet,
    on_images,
    on_simulated,
    tables,
)
from detector.training.metrics import Scored
from detector.wagons.boxes import as_boxes
from detector.wagons.detector import WagonDetector
from geo import SceneError

WAGONS = as_boxes([[60, 50, 30, 6, 0], [110, 60, 40, 6, 30], [160, 100, 50, 6, 100]])


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def detector() -> WagonDetector:
    return painted_detector(threshold=0.5)


def labelled(folder: Path, name: str, painted, *, true=None, gsd_m: float = 0.5, **fields) -> LabelledImage:
    """An image of painted wagons, given in work pixels, with the labels of the same ones or of others."""
    scale = 0.5 / gsd_m
    size = round(220 * scale), round(160 * scale)
    pixels = paint(painted, (size[1], size[0]), (scale, scale))
    Image.fromarray(pixels).save(folder / name)
    true = as_boxes(painted if true is None else true).copy()
    true[:, :4] *= scale
    values = {
        "category": np.zeros(len(true), int),
        "ignored": np.zeros(len(true), bool),
        **fields,
    }
    return LabelledImage(image=folder / name, name=name, size_px=size, gsd_m=gsd_m, boxes=true, **values)


@pytest.fixture
def images(tmp_path) -> list[LabelledImage]:
    """All found; one missed and one false; and an empty picture with a false alarm."""
    return [
        labelled(tmp_path, "all.png", WAGONS),
        labelled(tmp_path, "some.png", WAGONS[1:], true=WAGONS[:2], gsd_m=0.8),
        labelled(tmp_path, "none.png", WAGONS[:1], true=[]),
    ]


def test_images_are_scored_from_file_to_boxes(detector, images):
    steps = []
    cases = on_images(detector, images, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert [c.scored.name for c in cases] == ["all.png", "some.png", "none.png"]
    out = tables(cases, 0.5)["all"].iloc[0]
    assert (out["pictures"], out["true"]) == (3, 5)
    # Found: 3 of 3, 1 of 2 and a false one, a false one.
    assert out["recall_0.3"] == pytest.approx(4 / 5)
    assert out["precision_0.3"] == pytest.approx(4 / 6)
    assert out["false_on_empty"] == 1
    assert out["count_found"] == 6
    # Areas are those of the pictures on the ground, whatever their pixels.
    assert out["area_km2"] == pytest.approx(3 * 220 * 160 / 4e6, abs=1e-3)
    assert cases[1].scored.interval is not None
    picture = cases[1].picture()
    assert picture.shape == (100, 138, 3)
    assert picture.dtype == np.uint8


def test_a_positioned_image_is_scored_in_its_own_pixels(detector, tmp_path):
    pixels = paint(WAGONS, (160, 220))
    profile = {"width": 220, "height": 160, "count": 3, "dtype": "uint8", "crs": "EPSG:32652"}
    transform = Affine(0.5, 0, 632_000, 0, -0.5, 4_698_000)
    with rasterio.open(tmp_path / "yard.tif", "w", driver="GTiff", transform=transform, **profile) as file:
        file.write(np.moveaxis(pixels, 2, 0))
    item = LabelledImage(
        image=tmp_path / "yard.tif",
        name="yard",
        size_px=(220, 160),
        gsd_m=None,
        boxes=WAGONS,
        category=np.zeros(3, int),
        ignored=np.array([True, False, False]),
    )
    case = on_images(detector, [item])[0]
    out = tables([case], 0.5)["all"].iloc[0]
    assert out["recall_0.5"] == 1
    assert (out["true"], out["count_true"], out["count_found"]) == (2, 2, 2)
    # The interval is of what counts, too.
    assert case.scored.interval[0] <= 2 <= case.scored.interval[1] < 4


def test_a_label_beyond_the_border_counts_neither_way(detector, tmp_path):
    item = labelled(tmp_path, "cut.png", WAGONS, true=[*WAGONS.tolist(), [-4, 100, 30, 6, 0]])
    out = tables(on_images(detector, [item]), 0.5)["all"].iloc[0]
    assert (out["true"], out["recall_0.3"]) == (3, 1)


def test_an_image_that_cannot_be_used_is_skipped_or_raised(detector, images, tmp_path):
    (tmp_path / "some.png").write_bytes(b"")
    skipped = []
    cases = on_images(detector, images, skipped=skipped)
    assert [c.scored.name for c in cases] == ["all.png", "none.png"]
    assert [Path(s["path"]).name for s in skipped] == ["some.png"]
    assert "some.png" in skipped[0]["reason"]
    with pytest.raises(SceneError, match=r"some\.png"):
        on_images(detector, images)


def test_unlabelled_images_are_passed_over(detector, images, tmp_path):
    nobody = labelled(tmp_path, "unseen.png", WAGONS, labelled=False)
    assert len(on_images(detector, [nobody, images[0]])) == 1
    with pytest.raises(LabelError, match="none of the images is labelled"):
        on_images(detector, [nobody])


def test_simulated_scenes_are_the_same_each_time(detector):
    first, second = (on_simulated(detector, 1, split="test", seed=3) for _ in range(2))
    assert len(first) == 1
    np.testing.assert_array_equal(first[0].picture(), second[0].picture())
    assert first[0].scored.meta["split"] == "test"
    assert not np.array_equal(
        first[0].picture(), on_simulated(detector, 1, split="test", seed=4)[0].picture()
    )


def case(name: str, hits: int, missed: int, false: int, **meta) -> Case:
    """A picture with so many hits, misses and false alarms, 30 pixels apart."""
    places = as_boxes(
        [[30 + 50 * (k % 8), 30 + 30 * (k // 8), 30, 6, 0] for k in range(hits + missed + false)]
    )
    drawn = np.concatenate([places[:hits], places[hits + missed :]])
    scored = Scored(
        name=name,
        boxes=drawn,
        probability=np.full(len(drawn), 0.9),
        category=np.zeros(len(drawn), int),
        true_boxes=places[: hits + missed],
        true_category=np.zeros(hits + missed, int),
        ignored=np.zeros(hits + missed, bool),
        size_px=(440.0, 300.0),
        gsd_m=0.5,
        meta=meta,
    )
    return Case(scored, lambda: np.full((300, 440, 3), 90, np.uint8))


def test_tables_by_group():
    cases = [
        case(
            "a",
            4,
            0,
            0,
            gsd_m=0.4,
            kind="yard",
            sun_elevation_deg=15,
            types=["tank"] * 4,
            box_contrast=[0.02] * 4,
        ),
        case(
            "b",
            1,
            3,
            1,
            gsd_m=0.8,
            kind="yard",
            sun_elevation_deg=60,
            types=["box"] * 4,
            box_contrast=[0.27] * 4,
        ),
        case("c", 0, 0, 2, gsd_m=0.8, kind="empty", sun_elevation_deg=60, types=[], box_contrast=[]),
    ]
    found = tables(cases, 0.5)
    assert set(found) == {"all", "gsd", "density", "sun", "kind", "type", "contrast"}
    assert found["all"]["pictures"].tolist() == [3]
    gsd = found["gsd"].set_index("gsd")
    assert gsd["pictures"].tolist() == [1, 2]
    assert gsd["recall_0.3"].tolist() == [1.0, 0.25]
    assert list(gsd.index) == ["0.3-0.5 m", "0.7-0.9 m"]
    assert found["kind"].set_index("kind").loc["empty", "false_on_empty"] == 2
    types = found["type"].set_index("type")
    assert types.loc["tank", "recall_0.3"] == 1.0
    assert types.loc["box", "recall_0.3"] == 0.25
    assert types["true"].tolist() == [4, 4]
    assert found["contrast"]["contrast"].tolist() == ["<10 grey levels", ">=60 grey levels"]


def test_groups_that_say_nothing_are_left_out():
    found = tables([case("a", 2, 0, 0)], 0.5)
    assert set(found) == {"all"}
    assert isinstance(found["all"], pd.DataFrame)
    assert math.isnan(found["all"]["false_per_empty_km2"].iloc[0])


def test_the_failure_sheet_shows_the_worst_first(tmp_path):
    cases = [case("good", 4, 0, 0), case("bad", 1, 5, 2), case("so-so", 3, 1, 0)]
    path = failure_sheet(cases, 0.5, tmp_path / "new" / "sheet.png")
    with Image.open(path) as sheet:
        pixels = np.asarray(sheet)
    side = 2 * SHEET_CELL_PX
    assert pixels.shape == (side, 2 * side, 3)

    def share(cell: int, colour: tuple[int, int, int]) -> int:
        part = pixels[:, cell * side : (cell + 1) * side].astype(int)
        return int((np.abs(part - colour).max(axis=2) < 30).sum())

    green, red = (60, 220, 60), (230, 60, 60)
    # Six true wagons in the first cell, five of them missed; four in the second, one missed.
    assert share(0, green) > share(1, green) > 0
    assert share(0, red) > 0
    # At most so many cells.
    path = failure_sheet(cases, 0.5, tmp_path / "one.png", most=1)
    with Image.open(path) as sheet:
        assert sheet.size == (side, side)


def test_the_sheet_shows_the_corner_where_it_went_wrong(tmp_path):
    wide = case("wide", 0, 1, 0)
    picture = np.full((1000, 3000, 3), 90, np.uint8)
    scored = wide.scored
    moved = Scored(
        **{**scored.__dict__, "true_boxes": as_boxes([[2900, 900, 30, 6, 0]]), "size_px": (3000.0, 1000.0)}
    )
    path = failure_sheet([Case(moved, lambda: picture)], 0.5, tmp_path / "sheet.png")
    with Image.open(path) as sheet:
        pixels = np.asarray(sheet).astype(int)
    assert (np.abs(pixels - (60, 220, 60)).max(axis=2) < 30).sum() > 100


def test_nothing_wrong_gives_no_sheet(tmp_path):
    assert failure_sheet([case("good", 4, 0, 0)], 0.5, tmp_path / "sheet.png") is None
    assert not (tmp_path / "sheet.png").exists()
