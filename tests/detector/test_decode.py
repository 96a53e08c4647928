"""From maps to candidates: peaks, limits, and what the maps say around a box."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.wagons.decode import (
    F32,
    LENGTH_RANGE_PX,
    MAP_FEATURES,
    TYPICAL_LENGTH_PX,
    TYPICAL_WIDTH_PX,
    WIDTH_RANGE_PX,
    Candidates,
    Maps,
    decode,
)

CELLS = 64
COLUMN = {name: i for i, name in enumerate(MAP_FEATURES)}


def quiet(batch: int = 1) -> Maps[F32]:
    """Maps that see nothing; sizes and angles are those of a typical wagon lying east to west."""

    def flat(channels: int, value: float) -> F32:
        return np.full((batch, channels, CELLS, CELLS), value, np.float32)

    angle = np.concatenate([flat(1, 1.0), flat(1, 0.0)], axis=1)
    return Maps(
        flat(1, -10.0), flat(2, 0.0), angle, flat(2, 0.0), flat(3, 0.0), flat(1, -10.0), flat(1, -10.0)
    )


def features_of(maps: Maps[F32]) -> dict[str, float]:
    found, _ = decode(maps, minimum_centre_score=0.5, maximum=10)
    assert len(found[0].boxes) == 1
    return dict(zip(MAP_FEATURES, found[0].features[0].tolist(), strict=True))


def test_a_peak_is_a_box_at_its_offset():
    maps = quiet()
    maps.heatmap[0, 0, 20, 30] = 3.0
    maps.offset[0, :, 20, 30] = np.array([0.3, -0.4])
    maps.size[0, :, 20, 30] = np.log(np.array([44 / TYPICAL_LENGTH_PX, 6.6 / TYPICAL_WIDTH_PX]))
    maps.angle[0, :, 20, 30] = 0.5 * np.array([np.cos(np.deg2rad(250)), np.sin(np.deg2rad(250))])
    maps.category[0, :, 20, 30] = np.array([0.0, 0.0, 3.0])
    found, capped = decode(maps, minimum_centre_score=0.1, maximum=10)
    assert not capped
    np.testing.assert_allclose(found[0].boxes, [[30.8 * 4, 20.1 * 4, 44, 6.6, 125]], rtol=1e-5)
    assert found[0].category[0].argmax() == 2
    assert found[0].category[0].sum() == pytest.approx(1)
    assert found[0].centre_logit[0] == pytest.approx(3.0)
    assert found[0].boxes.dtype == np.float64


def test_only_the_highest_of_neighbours_is_a_peak():
    maps = quiet()
    maps.heatmap[0, 0, 20, 29:33] = np.array([1.0, 2.0, 1.5, 1.8])
    found, _ = decode(maps, minimum_centre_score=0.1, maximum=10)
    assert found[0].centre_logit.tolist() == pytest.approx([2.0, 1.8])


def test_candidates_come_best_first_and_the_best_stay_when_there_are_too_many():
    maps = quiet()
    for k in range(6):
        maps.heatmap[0, 0, 5 + 8 * k, 10] = 0.1 * (k * 5 % 6) + 1
    found, capped = decode(maps, minimum_centre_score=0.5, maximum=10)
    assert not capped
    everything = found[0].centre_logit
    assert (np.diff(everything) <= 0).all()
    found, capped = decode(maps, minimum_centre_score=0.5, maximum=4)
    assert capped
    np.testing.assert_array_equal(found[0].centre_logit, everything[:4])


def test_each_tile_of_a_batch_has_its_own():
    maps = quiet(3)
    maps.heatmap[0, 0, 4, 4] = 2.0
    maps.heatmap[2, 0, 10:12, 4] = np.array([2.0, 3.0])
    found, _ = decode(maps, minimum_centre_score=0.5, maximum=10)
    assert [len(f.boxes) for f in found] == [1, 0, 1]
    assert found[1].features.shape == (0, len(MAP_FEATURES))


@given(
    st.lists(st.floats(-30, 30), min_size=4, max_size=4),
    st.tuples(st.floats(-5, 5), st.floats(-5, 5)),
)
@settings(max_examples=40)
def test_whatever_the_maps_hold_boxes_stay_within_reason(values, turn):
    maps = quiet()
    maps.heatmap[0, 0, 20, 30] = 3.0
    maps.size[0, :, 20, 30] = np.array(values[:2])
    maps.offset[0, :, 20, 30] = np.array(values[2:]) / 30
    maps.angle[0, :, 20, 30] = np.array(turn)
    found, _ = decode(maps, minimum_centre_score=0.5, maximum=10)
    box = found[0].boxes[0]
    assert LENGTH_RANGE_PX[0] <= box[2] <= LENGTH_RANGE_PX[1]
    assert WIDTH_RANGE_PX[0] <= box[3] <= WIDTH_RANGE_PX[1]
    assert 0 <= box[4] < 180
    assert np.isfinite(found[0].features).all()


def test_an_angle_just_under_zero_is_not_180():
    maps = quiet()
    maps.heatmap[0, 0, 20, 30] = 3.0
    maps.angle[0, :, 20, 30] = np.array([1.0, -1e-9])
    assert decode(maps, minimum_centre_score=0.5, maximum=10)[0][0].boxes[0, 4] < 180


def test_a_wagon_on_a_track_shows_it():
    maps = quiet()
    maps.heatmap[0, 0, 32, 32] = 3.0
    maps.mask[0, 0, 32, 29:36] = 10.0
    maps.track[0, 0, 32, :] = 10.0
    seen = features_of(maps)
    assert seen["mask_inside"] > 0.8
    assert seen["mask_core"] > 0.4
    assert seen["mask_beside"] < 0.1
    assert seen["track_inside"] > 0.9
    assert seen["track_beyond_worst"] > 0.9
    assert seen["track_beside"] < 0.45
    assert seen["angle_agreement"] == pytest.approx(1.0, abs=1e-5)


def test_a_track_that_ends_is_seen_on_one_side():
    maps = quiet()
    maps.heatmap[0, 0, 32, 32] = 3.0
    maps.track[0, 0, 32, 28:] = 10.0
    seen = features_of(maps)
    assert seen["track_beyond_best"] > 0.9
    assert seen["track_beyond_worst"] < 0.1


def test_a_box_across_a_gap_has_a_dark_core():
    maps = quiet()
    maps.heatmap[0, 0, 32, 32] = 3.0
    maps.mask[0, 0, 32, 29:36] = 10.0
    maps.mask[0, 0, 32, 33] = -10.0
    seen = features_of(maps)
    assert seen["mask_core"] < 0.25
    assert seen["mask_inside"] > 0.5


def test_a_car_park_is_covered_beside_the_box_too():
    maps = quiet()
    maps.heatmap[0, 0, 32, 32] = 3.0
    maps.mask[0, 0, 26:39, 26:39] = 10.0
    assert features_of(maps)["mask_beside"] > 0.9


def test_the_surroundings_turn_with_the_box():
    maps = quiet()
    maps.heatmap[0, 0, 32, 32] = 3.0
    maps.angle[:, 0], maps.angle[:, 1] = -1.0, 0.0  # 90 degrees: up and down
    maps.mask[0, 0, 29:36, 32] = 10.0
    maps.track[0, 0, :, 32] = 10.0
    seen = features_of(maps)
    assert seen["mask_inside"] > 0.8
    assert seen["track_beyond_worst"] > 0.9
    assert seen["mask_beside"] < 0.1


def test_at_the_border_of_the_tile_the_border_speaks_for_what_is_beyond():
    maps = quiet()
    maps.heatmap[0, 0, 32, 1] = 3.0
    maps.track[0, 0, 32, :] = 10.0
    assert features_of(maps)["track_beyond_worst"] > 0.9


def test_candidates_can_be_chosen_moved_and_joined():
    maps = quiet(2)
    maps.heatmap[0, 0, 4, 4] = maps.heatmap[0, 0, 20, 20] = 2.0
    maps.heatmap[1, 0, 40, 8] = 1.0
    found, _ = decode(maps, minimum_centre_score=0.5, maximum=10)
    moved = found[1].moved(100, -8)
    np.testing.assert_allclose(moved.boxes[0, :2], found[1].boxes[0, :2] + [100, -8])
    assert found[1].boxes[0, 0] == 34  # the original stays where it was
    joined = Candidates.joined([found[0], moved, Candidates.none()])
    assert len(joined.boxes) == len(joined.category) == len(joined.features) == 3
    assert joined.take(np.array([False, False, True])).centre_logit.tolist() == [1.0]
    empty = Candidates.joined([])
    assert empty.boxes.shape == (0, 5)
    assert empty.features.shape == (0, len(MAP_FEATURES))
