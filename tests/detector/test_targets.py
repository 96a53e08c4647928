"""What the network is asked to answer, and that decoding the answer gives the wagons back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from best_match import match_best
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.training.losses import IGNORED, REGRESSION_HEATMAP, Targets, draw, stack
from detector.wagons.boxes import as_boxes, rotated_iou
from detector.wagons.decode import STRIDE, Maps, decode

SIZE = 256
CELLS = SIZE // STRIDE


def drawn(boxes, category=None, ignored=None, track=None) -> Targets:
    boxes = as_boxes(boxes)
    n = len(boxes)
    return draw(
        boxes,
        np.zeros(n, np.int64) if category is None else np.asarray(category),
        np.zeros(n, bool) if ignored is None else np.asarray(ignored),
        np.zeros((CELLS, CELLS), np.uint8) if track is None else track,
        (SIZE, SIZE),
    )


def perfect(target: Targets) -> Maps:
    """The maps of a network that answers exactly what it is asked."""
    one_hot = torch.nn.functional.one_hot(target.category, 3).permute(2, 0, 1)
    maps = Maps(
        torch.logit(target.heatmap, eps=1e-5),
        target.offset,
        target.angle,
        target.size,
        one_hot.float() * 20 - 10,
        torch.logit(target.mask, eps=1e-4),
        torch.logit(target.track, eps=1e-4),
    )
    return Maps(*(m[None] for m in maps))


@st.composite
def strings(draw_: st.DrawFn) -> np.ndarray:
    """Wagons that don't overlap: strings on parallel tracks at any angle, with gaps and wagons left out."""
    angle = draw_(st.floats(0, 179.9))
    spacing = draw_(st.floats(8.5, 14.0))  # 4.25 to 7 m between tracks
    rng = np.random.default_rng(draw_(st.integers(0, 10_000)))
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    boxes = []
    for track in range(draw_(st.integers(1, 5))):
        across = (track - 2) * spacing
        along = rng.uniform(-110, -80)
        while along < 90:
            length, width = rng.uniform(20, 56), rng.uniform(5.2, 6.6)
            along += length / 2
            if rng.random() < 0.8:
                boxes.append(
                    [128 + along * cos - across * sin, 128 + along * sin + across * cos, length, width, angle]
                )
            along += length / 2 + rng.uniform(1.5, 3.0)
    boxes = as_boxes(boxes)
    inside = ((boxes[:, :2] > 4) & (boxes[:, :2] < SIZE - 4)).all(axis=1)
    return boxes[inside]


@given(strings())
@settings(max_examples=40)
def test_decoding_the_targets_gives_the_wagons_back(boxes):
    found, capped = decode(
        Maps(*(field.numpy() for field in perfect(drawn(boxes)))), minimum_centre_score=0.9, maximum=500
    )
    assert not capped
    assert len(found[0].boxes) == len(boxes)
    matched = match_best(found[0].boxes, boxes, 0.1)
    assert len(matched.true) == len(boxes)
    a, b = found[0].boxes[matched.predicted], boxes[matched.true]
    np.testing.assert_allclose(a[:, :2], b[:, :2], atol=0.3)
    np.testing.assert_allclose(a[:, 2:4], b[:, 2:4], rtol=0.03)
    turn = np.abs((a[:, 4] - b[:, 4] + 90) % 180 - 90)
    assert (turn < 1.0).all()


def test_heat_is_one_at_the_cell_of_the_centre_and_falls_faster_across():
    heatmap = drawn([[130, 90, 40, 6, 0]]).heatmap[0]
    row, column = 90 // STRIDE, 130 // STRIDE
    assert heatmap[row, column] == 1
    assert (heatmap == 1).sum() == 1
    assert heatmap[row, column + 1] > heatmap[row + 1, column]
    assert heatmap[row, column + 6] < 0.05


@pytest.mark.parametrize("x", [128.0, 129.9, 130.0, 131.99])
def test_a_centre_anywhere_in_a_cell_is_a_full_positive(x):
    target = drawn([[x, 128.0, 30, 6, 33]])
    assert target.heatmap.max() == 1
    row, column = np.argwhere(target.heatmap[0].numpy() == 1)[0]
    # The offset leads from the cell's centre to the wagon's.
    offset = target.offset[:, row, column].numpy()
    np.testing.assert_allclose((np.array([column, row]) + 0.5 + offset) * STRIDE, [x, 128.0], atol=1e-4)


def test_each_cell_belongs_to_the_wagon_whose_heat_is_highest():
    target = drawn([[60, 60, 30, 6, 0], [180, 190, 50, 6, 90]], category=[1, 2])
    assert target.category[60 // STRIDE, 60 // STRIDE] == 1
    assert target.category[190 // STRIDE, 180 // STRIDE] == 2
    np.testing.assert_allclose(target.angle[:, 47, 45], [-1, 0], atol=1e-6)


def test_ignored_wagons_are_neither_wagons_nor_background():
    target = drawn([[62, 62, 40, 6, 0], [182, 182, 40, 6, 0]], ignored=[True, False])
    assert target.heatmap[0, 15, 15] == 0
    assert target.weight[0, 15, 15] == 0
    assert target.mask[0, 15, 15] == 0
    assert target.regression[0, 10:20, 10:20].sum() == 0
    assert target.weight[0, 45, 45] == 1
    assert target.heatmap[0, 45, 45] == 1
    # Far from it, background is background.
    assert target.weight[0, 40:50, 5:15].min() == 1


def test_only_ignored_wagons_leave_the_rest_as_background():
    target = drawn([[62, 62, 40, 6, 0]], ignored=[True])
    assert target.heatmap.max() == 0
    assert target.weight[0, 15, 15] == 0
    assert target.weight[0, 50, 50] == 1
    assert target.regression.sum() == 0


def test_a_wagon_beside_an_ignored_one_still_counts():
    target = drawn([[62, 62, 40, 6, 0], [62, 68, 40, 6, 0]], ignored=[True, False])
    heatmap, weight = target.heatmap[0], target.weight[0]
    assert weight[heatmap == 1].tolist() == [1.0]


def test_an_empty_tile_is_all_background():
    target = drawn([])
    assert target.heatmap.max() == 0
    assert target.weight.min() == 1
    assert target.regression.sum() == 0


def test_a_wagon_cut_by_the_border_shows_what_is_inside():
    # Its centre lies outside: no positive, but the cells that it covers say so.
    target = drawn([[-6, 100, 40, 6, 0]])
    assert (target.heatmap < 0.999).all()
    assert target.mask[0, 25, :3].tolist() == [1, 1, 1]


def test_the_mask_covers_the_wagon():
    box = [[128.3, 127.1, 48, 6.4, 25]]
    mask = drawn(box).mask[0].numpy().astype(bool)
    rows, columns = np.nonzero(mask)
    cells = np.column_stack([(columns + 0.5) * STRIDE, (rows + 0.5) * STRIDE, *[np.full(len(rows), 4.0)] * 2])
    overlap = rotated_iou(np.column_stack([cells, np.zeros(len(rows))]), as_boxes(box))
    assert (overlap > 0).all()
    assert 12 <= len(rows) <= 26


def test_regression_is_asked_where_the_heat_is_high():
    target = drawn([[128, 128, 40, 6, 70]])
    asked = target.regression > 0
    assert torch.equal(asked, target.heatmap > REGRESSION_HEATMAP)
    assert torch.equal(target.regression[asked], target.heatmap[asked])


def test_track_is_one_off_track_zero_and_unknown_weighs_nothing():
    track = np.zeros((CELLS, CELLS), np.uint8)
    track[10] = 1
    track[20] = IGNORED
    for boxes in ([], [[128, 128, 40, 6, 0]]):
        target = drawn(boxes, track=track)
        assert target.track[0, 10].min() == 1
        assert target.track[0, 20].max() == 0
        assert target.track[0, 30].max() == 0
        assert target.track_weight[0, 20].max() == 0
        assert target.track_weight[0, [10, 30]].min() == 1


def test_batches_stack_field_by_field():
    batch = stack([drawn([]), drawn([[128, 128, 40, 6, 0]])])
    assert batch.heatmap.shape == (2, 1, CELLS, CELLS)
    assert batch.category.shape == (2, CELLS, CELLS)
    assert batch.category.dtype == torch.int64
    assert batch.heatmap.amax(dim=(1, 2, 3)).tolist() == [0, 1]
