"""Other views of a tile: the labels go where the pixels go."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.training.shards import (
    SCALES,
    LabelledTile,
    random_view,
    track_map,
    transform_boxes,
    visible_fraction,
)
from detector.wagons.boxes import as_boxes, box_corners

SIZE = 160


def tile(boxes, ignored=None, size: int = SIZE) -> LabelledTile:
    """White wagons on black ground, on tracks along their axes."""
    boxes = as_boxes(boxes)
    image = np.zeros((size, size, 3), np.uint8)
    for corners in box_corners(boxes):
        points = np.round((corners - 0.5) * 256).astype(np.int32)
        cv2.fillConvexPoly(image, points, (255, 255, 255), cv2.LINE_AA, 8)
    ends = box_corners(boxes).reshape(-1, 2, 2, 2).mean(axis=2)
    return LabelledTile(
        image=image,
        boxes=boxes,
        category=np.arange(len(boxes)) % 3,
        ignored=np.zeros(len(boxes), bool) if ignored is None else np.asarray(ignored),
        track=track_map(list(ends), (size, size)),
        meta={"name": "made up"},
    )


WAGONS = [[60, 50, 40, 6, 20], [100, 110, 30, 6, 100], [80, 80, 24, 6, 0]]


@given(
    st.floats(-200, 200),
    st.floats(-200, 200),
    st.floats(10, 60),
    st.floats(2, 9),
    st.floats(0, 179.9),
    st.floats(0, 360),
    st.floats(0.5, 2),
    st.booleans(),
)
@settings(max_examples=50)
def test_boxes_move_as_their_corners_do(x, y, length, width, angle, turn, scale, mirror):
    box = as_boxes([[x, y, length, width, angle]])
    cos, sin = scale * np.cos(np.deg2rad(turn)), scale * np.sin(np.deg2rad(turn))
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1.0 if mirror else 1.0, 1.0])
    matrix = np.column_stack([linear, [7.0, -3.0]])
    moved = transform_boxes(box, matrix)
    expected = box_corners(box)[0] @ linear.T + matrix[:, 2]
    distance = np.linalg.norm(box_corners(moved)[0][:, None] - expected[None], axis=2)
    assert distance.min(axis=1).max() < 1e-6
    assert distance.min(axis=0).max() < 1e-6
    assert 0 <= moved[0, 4] <= 180


@pytest.mark.parametrize(
    ("box", "share"),
    [
        ([80, 80, 40, 6, 30], 1.0),
        ([0, 80, 40, 6, 0], 0.5),
        ([160, 80, 40, 6, 180], 0.5),
        ([-5, 80, 40, 6, 0], 8 / 21),
        ([-100, 80, 40, 6, 0], 0.0),
        ([80, 170, 40, 6, 90], 0.25),
    ],
)
def test_the_visible_share_is_of_the_axis(box, share):
    assert visible_fraction(as_boxes([box]), SIZE, SIZE)[0] == pytest.approx(share, abs=0.04)


@given(st.integers(0, 100_000))
@settings(max_examples=30)
def test_wagons_stay_under_their_boxes(seed):
    view = random_view(tile(WAGONS), np.random.default_rng(seed), 128)
    assert view.image.shape == (128, 128, 3)
    assert view.image.dtype == np.uint8
    under = np.zeros((128, 128), np.uint8)
    for corners in box_corners(view.boxes):
        cv2.fillConvexPoly(under, np.round((corners - 0.5) * 256).astype(np.int32), 255, cv2.LINE_8, 8)
    grey = view.image.astype(float).mean(axis=2)
    bright = grey > (grey.min() + grey.max()) / 2
    overlap = (bright & (under > 0)).sum() / max(1, (bright | (under > 0)).sum())
    assert overlap > 0.75


@given(st.integers(0, 100_000))
@settings(max_examples=30)
def test_tracks_stay_under_their_wagons(seed):
    view = random_view(tile(WAGONS), np.random.default_rng(seed), 128)
    assert view.track.shape == (32, 32)
    inside = ((view.boxes[:, :2] > 4) & (view.boxes[:, :2] < 124)).all(axis=1)
    for x, y in view.boxes[inside, :2]:
        row, column = int(y // 4), int(x // 4)
        assert view.track[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2].any()
    # No more of it than there are wagons.
    assert view.track.sum() <= 6 + 2 * (view.boxes[:, 2] * view.boxes[:, 3]).sum() / 16


@given(st.integers(0, 100_000))
@settings(max_examples=30)
def test_sizes_change_by_the_scale_alone(seed):
    view = random_view(tile(WAGONS[2:]), np.random.default_rng(seed), 128)
    assert len(view.boxes) == 1
    scale = view.boxes[0, 2] / 24
    assert SCALES[0] - 1e-9 <= scale <= SCALES[1] + 1e-9
    assert view.boxes[0, 3] == pytest.approx(6 * scale)
    assert view.category.tolist() == [0]
    assert view.meta == {"name": "made up"}


def test_cut_wagons_are_ignored_and_lost_ones_left_out():
    # Wagons all over: whatever the crop, some are whole, some cut, some outside.
    wagons = [[x, y, 40, 6, 0] for x in range(5, 160, 10) for y in range(20, 160, 40)]
    seen_cut = seen_lost = False
    for seed in range(40):
        view = random_view(tile(wagons), np.random.default_rng(seed), 96)
        share = visible_fraction(view.boxes, 96, 96)
        assert (share > 0.02).all()
        np.testing.assert_array_equal(view.ignored, share < 0.35)
        assert len(view.boxes) == len(view.category) == len(view.ignored)
        seen_cut |= bool(view.ignored.any())
        seen_lost |= len(view.boxes) < len(wagons)
    assert seen_cut
    assert seen_lost


def test_what_was_ignored_stays_ignored():
    for seed in range(10):
        view = random_view(tile(WAGONS, ignored=[True] * 3), np.random.default_rng(seed), 128)
        assert view.ignored.all()


def test_a_tile_without_wagons_has_views_too():
    view = random_view(tile([]), np.random.default_rng(0), 128)
    assert view.boxes.shape == (0, 5)
    assert view.track.max() == 0


def test_a_tile_of_just_the_size_of_the_view_is_enough():
    for seed in range(8):
        view = random_view(tile([[64, 64, 30, 6, 45]], size=128), np.random.default_rng(seed), 128)
        assert view.image.shape == (128, 128, 3)
        assert len(view.boxes) == 1


def test_the_same_chance_gives_the_same_view_and_another_another():
    first, second, other = (random_view(tile(WAGONS), np.random.default_rng(seed), 128) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.boxes, second.boxes)
    assert not np.array_equal(first.image, other.image)


def test_the_tile_itself_is_left_alone():
    source = tile(WAGONS)
    image, boxes = source.image.copy(), source.boxes.copy()
    random_view(source, np.random.default_rng(1), 128)
    np.testing.assert_array_equal(source.image, image)
    np.testing.assert_array_equal(source.boxes, boxes)
