"""What is written in a format is read back the same."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from labelling import Pictures, areas, assert_same, label_sets, labelled, make_pictures

from detector.labels import LabelledImage, read_labels, write_labels
from detector.wagons.boxes import box_corners

NAMES = {
    "geojson": "x.geojson",
    "coco": "x.json",
    "label-studio": "x.json",
    "voc": "x",
    "yolo-obb": "x",
    "dota": "x",
}
COUNTER = itertools.count()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    return make_pictures(tmp_path_factory.mktemp("labels") / "images")


def fresh(pictures: Pictures, format: str) -> Path:
    folder = pictures.folder.parent / f"{format}-{next(COUNTER)}"
    folder.mkdir()
    return folder / NAMES[format]


def images_of(pictures: Pictures, drawn, unknown=(), gsd_m: float | None = 0.5) -> list[LabelledImage]:
    """Three images with labels, sorted by name as `read_labels` gives them."""
    paths = (pictures.degrees, pictures.metric, pictures.plain)
    return [
        labelled(path, *labels, gsd_m=gsd_m if path == pictures.plain else None, areas=tuple(unknown))
        for path, labels in zip(paths, drawn, strict=True)
    ]


def test_what_is_written_as_geojson_is_geojson(pictures: Pictures) -> None:
    images = images_of(
        pictures, [([[40.0, 30.0, 28.0, 6.0, 20.0]], [0], [False])] * 3, [shapely.box(1, 1, 9, 9)]
    )
    path = write_labels(images, fresh(pictures, "geojson"), "geojson")
    features = json.loads(path.read_text("utf-8"))["features"]
    assert {one["type"] for one in features} == {"Feature"}
    alone = fresh(pictures, "geojson")
    alone.write_text(json.dumps(features[0]))
    (found,) = read_labels(alone, images=pictures.degrees)
    assert len(found.boxes) == 1


@pytest.mark.parametrize("format", ["geojson", "coco", "label-studio", "voc", "dota"])
@settings(max_examples=15)
@given(drawn=label_sets(), unknown=st.lists(areas(), max_size=2))
def test_all_is_kept(pictures: Pictures, format: str, drawn, unknown) -> None:
    images = images_of(pictures, drawn, unknown)
    path = write_labels(images, fresh(pictures, format), format)
    found = read_labels(path, images=pictures.folder)
    # GeoJSON goes over longitude and latitude, and back through the projection.
    assert_same(found, images, 0.05)
    assert [i.gsd_m for i in found] == [None, None, 0.5]


@settings(max_examples=25)
@given(drawn=label_sets(inside=True))
def test_yolo_keeps_boxes_and_turns_ignored_ones_into_areas(pictures: Pictures, drawn) -> None:
    images = images_of(pictures, drawn)
    path = write_labels(images, fresh(pictures, "yolo-obb"), "yolo-obb")
    expected = [
        labelled(
            i.image,
            i.boxes[~i.ignored].tolist(),
            i.category[~i.ignored].tolist(),
            areas=tuple(shapely.polygons(box_corners(i.boxes[i.ignored]))),
        )
        for i in images
    ]
    assert_same(read_labels(path, images=pictures.folder), expected)


@settings(max_examples=25)
@given(drawn=label_sets())
def test_yolo_numbers_lie_within_the_image(pictures: Pictures, drawn) -> None:
    """Other programs refuse a whole file over one number outside."""
    images = images_of(pictures, drawn)
    path = write_labels(images, fresh(pictures, "yolo-obb"), "yolo-obb")
    for image in images:
        lines = (path / f"{image.image.stem}.txt").read_text().splitlines()
        assert len(lines) == len(image.boxes)
        numbers = np.array([[float(v) for v in line.split()[1:]] for line in lines])
        assert ((numbers >= 0) & (numbers <= 1)).all()


def test_yolo_keeps_the_visible_part_of_a_box_cut_by_the_border(pictures: Pictures) -> None:
    image = labelled(pictures.plain, [[395, 150, 30, 6, 0]])
    path = write_labels([image], fresh(pictures, "yolo-obb"), "yolo-obb")
    (found,) = read_labels(path, images=pictures.folder)
    # 380 to 410 becomes 380 to 400.
    np.testing.assert_allclose(found.boxes, [[390, 150, 20, 6, 0]], atol=1e-4)


@pytest.mark.parametrize("format", ["geojson", "coco", "label-studio", "voc", "dota", "yolo-obb"])
def test_negatives_are_kept(pictures: Pictures, format: str) -> None:
    images = images_of(pictures, [([], [], [])] * 3)
    found = read_labels(write_labels(images, fresh(pictures, format), format), images=pictures.folder)
    assert_same(found, images)
    assert all(i.labelled for i in found)


@pytest.mark.parametrize("format", ["geojson", "label-studio"])
def test_what_nobody_has_looked_at_is_kept_apart(pictures: Pictures, format: str) -> None:
    images = [labelled(pictures.metric, [], gsd_m=None), labelled(pictures.plain, [], seen=False)]
    found = read_labels(write_labels(images, fresh(pictures, format), format), images=pictures.folder)
    assert_same(found, images)


@pytest.mark.parametrize("format", ["coco", "voc", "dota", "yolo-obb"])
def test_other_formats_leave_out_what_nobody_has_looked_at(pictures: Pictures, format: str) -> None:
    images = [labelled(pictures.metric, [], gsd_m=None), labelled(pictures.plain, [], seen=False)]
    found = read_labels(write_labels(images, fresh(pictures, format), format), images=pictures.folder)
    assert_same(found, images[:1])


@pytest.mark.parametrize("format", ["geojson", "coco", "label-studio", "voc"])
def test_images_are_found_from_the_file_alone(pictures: Pictures, format: str) -> None:
    images = images_of(pictures, [([[100, 100, 30, 6, 20]], [1], [True])] * 3)
    path = write_labels(images, fresh(pictures, format), format)
    assert_same(read_labels(path), images, 0.05)


def test_what_is_written_twice_is_the_same(pictures: Pictures) -> None:
    images = images_of(pictures, [([[100, 100, 30, 6, 20]], [1], [True])] * 3)
    for format in NAMES:
        path = write_labels(images, fresh(pictures, format), format)
        files = [path] if path.is_file() else sorted(path.iterdir())
        first = {file.name: file.read_bytes() for file in files}
        write_labels(images, path, format)
        assert {file.name: file.read_bytes() for file in files} == first


def test_a_declared_distance_is_never_invented(pictures: Pictures) -> None:
    images = [labelled(pictures.plain, [[100, 100, 30, 6, 20]], gsd_m=None)]
    for format in NAMES:
        (found,) = read_labels(write_labels(images, fresh(pictures, format), format), images=pictures.folder)
        assert found.gsd_m is None


@given(turn=st.floats(0, 180, exclude_max=True))
@settings(max_examples=20)
def test_label_studio_turns_in_pixels_not_in_percent(pictures: Pictures, turn: float) -> None:
    """The image isn't square: a turn in percent would shear the box."""
    image = labelled(pictures.plain, [[200, 150, 80, 10, turn]])
    path = write_labels([image], fresh(pictures, "label-studio"), "label-studio")
    (found,) = read_labels(path)
    assert math.isclose(found.boxes[0, 2], 80, abs_tol=1e-4)
    assert math.isclose(found.boxes[0, 3], 10, abs_tol=1e-4)
