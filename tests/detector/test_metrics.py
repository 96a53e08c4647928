"""Figures of merit, checked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from detector.training.metrics import (
    Scored,
    average_precision,
    clip_boxes,
    count_figures,
    counting_rows,
    judge_picture,
    summarise,
)
from detector.wagons.boxes import as_boxes, box_corners


def picture(predicted, true, *, category=None, true_category=None, ignored=None, name="p", **rest) -> Scored:
    """``predicted`` are rows of a box and its probability."""
    rows = np.asarray(predicted, float).reshape(-1, 6)
    true = as_boxes(true)
    values = {
        "size_px": (400.0, 300.0),
        "gsd_m": 0.5,
        **rest,
    }
    return Scored(
        name=name,
        boxes=rows[:, :5],
        probability=rows[:, 5],
        category=np.zeros(len(rows), int) if category is None else np.asarray(category),
        true_boxes=true,
        true_category=np.zeros(len(true), int) if true_category is None else np.asarray(true_category),
        ignored=np.zeros(len(true), bool) if ignored is None else np.asarray(ignored),
        **values,
    )


A, B, C, D = ([x, 100, 30, 6, 0] for x in (50, 100, 150, 200))
FAR = [300, 250, 30, 6, 0]


class TestAveragePrecision:
    def test_by_hand(self):
        # hit, miss, hit of two: precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1.
        p, hit = np.array([0.9, 0.8, 0.7]), np.array([True, False, True])
        assert average_precision(p, hit, 2) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)

    def test_the_envelope_lifts_an_early_false_alarm(self):
        # miss, hit, hit of two: precision 0, 1/2, 2/3; the best from each recall on is 2/3.
        p, hit = np.array([0.9, 0.8, 0.7]), np.array([False, True, True])
        assert average_precision(p, hit, 2) == pytest.approx(2 / 3)

    def test_what_is_never_found_is_lost(self):
        assert average_precision(np.array([0.9]), np.array([True]), 4) == pytest.approx(0.25)

    def test_order_in_the_arrays_plays_no_part(self):
        rng = np.random.default_rng(0)
        p, hit = rng.random(40), rng.random(40) < 0.5
        turn = rng.permutation(40)
        assert average_precision(p, hit, 30) == pytest.approx(average_precision(p[turn], hit[turn], 30))

    def test_all_or_nothing(self):
        assert average_precision(np.array([0.9, 0.5]), np.array([True, True]), 2) == 1.0
        assert average_precision(np.zeros(0), np.zeros(0, bool), 2) == 0.0
        assert average_precision(np.array([0.9]), np.array([False]), 2) == 0.0
        assert math.isnan(average_precision(np.array([0.9]), np.array([False]), 0))


class TestClipping:
    @pytest.mark.parametrize(
        ("box", "expected"),
        [
            ([5, 100, 30, 6, 0], [10, 100, 20, 6, 0]),
            ([395, 100, 30, 6, 180 - 1e-12], [390, 100, 20, 6, 180 - 1e-12]),
            ([200, -3, 30, 6, 90], [200, 6, 12, 6, 90]),
            ([200, 310, 30, 6, 90], [200, 297.5, 5, 6, 90]),
            ([200, 150, 30, 6, 45], [200, 150, 30, 6, 45]),
            ([-60, 100, 30, 6, 0], [-60, 100, 30, 6, 0]),  # wholly outside: as it was
            ([200, -60, 30, 6, 0], [200, -60, 30, 6, 0]),
        ],
    )
    def test_a_box_ends_where_its_axis_leaves_the_frame(self, box, expected):
        np.testing.assert_allclose(clip_boxes(as_boxes([box]), 400, 300), [expected], atol=1e-6)

    @given(
        st.floats(-10, 410),
        st.floats(-10, 310),
        st.floats(20, 56),
        st.floats(0, 179.9),
    )
    def test_a_clipped_axis_lies_inside_on_the_old_one(self, x, y, length, angle):
        before = as_boxes([[x, y, length, 6, angle]])
        after = clip_boxes(before, 400, 300)
        frame = shapely.box(-1e-6, -1e-6, 400 + 1e-6, 300 + 1e-6)
        axis = shapely.LineString(box_corners(before)[0].reshape(2, 2, 2).mean(axis=1))
        cut = shapely.LineString(box_corners(after)[0].reshape(2, 2, 2).mean(axis=1))
        if axis.intersection(frame).length > 1e-3:
            assert cut.length == pytest.approx(axis.intersection(frame).length, abs=1e-3)
            assert cut.within(frame.buffer(1e-3))
        assert after[0, 4] == angle
        assert before[0, 0] == x  # the argument is left alone

    def test_no_boxes(self):
        assert clip_boxes(as_boxes([]), 400, 300).shape == (0, 5)


class TestOnePicture:
    def test_hits_misses_and_false_alarms(self):
        found = judge_picture(picture([[*A, 0.9], [*FAR, 0.8], [*B, 0.3]], [A, B, C]), 0.5)
        assert found.probability.tolist() == [0.9, 0.8, 0.3]
        assert found.hit.tolist() == [True, False, True]
        assert found.true == 3
        assert found.found.tolist() == [0.9, 0.3, 0.0]

    def test_the_second_box_on_a_wagon_is_a_false_alarm(self):
        found = judge_picture(picture([[*A, 0.9], [51, 100, 30, 6, 0, 0.8]], [A]), 0.5)
        assert found.hit.tolist() == [True, False]

    def test_what_lies_on_ignored_boxes_counts_neither_way(self):
        item = picture([[*A, 0.9], [*B, 0.8], [*FAR, 0.7]], [A, B], ignored=[False, True])
        found = judge_picture(item, 0.5)
        assert found.probability.tolist() == [0.9, 0.7]
        assert found.hit.tolist() == [True, False]
        assert found.true == 1
        assert found.found[0] == 0.9
        assert math.isnan(found.found[1])
        assert found.counts.tolist() == [True, False, True]
        assert counting_rows(item).tolist() == [True, False, True]

    def test_a_hit_beside_an_ignored_box_is_a_hit(self):
        # Two wagons side by side, one of them ignored; the box lies between them.
        item = picture(
            [[50, 102, 30, 6, 0, 0.9]],
            [[50, 100, 30, 6, 0], [50, 105, 30, 6, 0]],
            ignored=[False, True],
        )
        assert judge_picture(item, 0.3).hit.tolist() == [True]

    def test_what_lies_in_ignored_areas_counts_neither_way(self):
        areas = (shapely.box(280, 230, 310, 270),)
        item = picture([[*A, 0.9], [*FAR, 0.8], [280, 100, 30, 6, 0, 0.7]], [A], ignore_areas=areas)
        found = judge_picture(item, 0.5)
        # More than half of the second lies in the area, nothing of the third.
        assert found.probability.tolist() == [0.9, 0.7]
        assert counting_rows(item).tolist() == [True, False, True]

    def test_an_area_that_crosses_itself_is_an_area_too(self):
        bow = shapely.Polygon([(280, 230), (330, 270), (330, 230), (280, 270)])
        assert not bow.is_valid
        both = [[287, 250, 14, 6, 0, 0.8], [323, 250, 14, 6, 0, 0.8]]
        item = picture([*both, [305, 235, 14, 6, 0, 0.7]], [], ignore_areas=(bow,))
        assert judge_picture(item, 0.5).probability.tolist() == [0.7]

    def test_at_the_border_only_the_visible_part_has_to_agree(self):
        # Half of the wagon is outside; the detector saw the rest and guessed another length.
        true, guess = [2, 100, 40, 6, 0], [10, 100, 24, 6, 0, 0.9]
        assert judge_picture(picture([guess], [true]), 0.5).hit.tolist() == [True]
        away = [202, 100, 40, 6, 0], [210, 100, 24, 6, 0, 0.9]
        assert judge_picture(picture([away[1]], [away[0]]), 0.65).hit.tolist() == [False]

    def test_nothing_predicted_and_nothing_true(self):
        assert judge_picture(picture([], [A]), 0.5).found.tolist() == [0.0]
        assert judge_picture(picture([[*A, 0.9]], []), 0.5).hit.tolist() == [False]
        empty = judge_picture(picture([], []), 0.5)
        assert (len(empty.hit), empty.true, empty.pairs.shape) == (0, 0, (0, 2))

    def test_categories_of_the_hits_are_paired(self):
        item = picture([[*A, 0.9], [*B, 0.8]], [A, B], category=[0, 1], true_category=[0, 2])
        assert judge_picture(item, 0.5).pairs.tolist() == [[0, 0], [1, 2]]


def pictures() -> list[Scored]:
    """Three pictures of 0.03 km2: one with a miss and a false alarm, one perfect, one empty with two."""
    return [
        picture(
            [[*A, 0.9], [*B, 0.6], [*FAR, 0.7], [*C, 0.1]],
            [A, B, C],
            category=[0, 1, 0, 0],
            true_category=[0, 1, 0],
            interval=(1, 3),
        ),
        picture([[*A, 0.8], [*D, 0.8]], [A, D], interval=(3, 4)),
        picture([[*FAR, 0.9], [*A, 0.6], [*B, 0.2]], [], interval=(0, 1)),
    ]


class TestSummary:
    def test_by_hand(self):
        out = summarise(pictures(), 0.5)
        # Drawn: A B FAR, A D, FAR A: seven, four of them hits, of five wagons.
        assert out["pictures"] == 3
        assert out["true"] == 5
        assert out["precision_0.5"] == pytest.approx(4 / 7)
        assert out["recall_0.5"] == pytest.approx(4 / 5)
        assert out["f1_0.5"] == pytest.approx(2 * 4 / 12)
        assert out["area_km2"] == pytest.approx(0.09)
        assert out["false_per_km2"] == pytest.approx(3 / 0.09)
        assert (out["empty_pictures"], out["false_on_empty"]) == (1, 2)
        assert out["false_per_empty_km2"] == pytest.approx(2 / 0.03)
        assert out["category_accuracy"] == 1.0
        # .9 hit .9 miss .8 hit .8 hit .7 miss .6 hit .6 miss .2 miss .1 hit; ties by order of the pictures.
        assert out["ap_0.5"] == pytest.approx((1 + 3 / 4 + 3 / 4 + 4 / 6 + 5 / 9) / 5)

    def test_counts_are_of_freight_cars(self):
        out = count_figures(pictures(), 0.5)
        # Freight drawn: A FAR, A D, FAR A; freight true: A C, A D, none.
        assert (out["count_found"], out["count_true"]) == (6, 4)
        assert out["count_mae"] == pytest.approx(2 / 3)
        assert out["count_bias"] == pytest.approx(2 / 3)
        assert out["count_bias_low"] <= 2 / 3 <= out["count_bias_high"]
        assert out["count_wape"] == pytest.approx(2 / 4)
        # 2 in [1, 3], 2 not in [3, 4], 0 in [0, 1].
        assert out["interval_coverage"] == pytest.approx(2 / 3)
        assert out["interval_width"] == pytest.approx((2 + 1 + 1) / 3)

    def test_ignored_wagons_are_in_neither_count(self):
        item = picture([[*A, 0.9], [*B, 0.9]], [A, B], ignored=[False, True])
        out = count_figures([item], 0.5)
        assert (out["count_found"], out["count_true"], out["count_mae"]) == (1, 1, 0)

    def test_a_looser_overlap_finds_more(self):
        item = picture([[50 + 12, 100, 30, 6, 0, 0.9]], [A])
        out = summarise([item], 0.5)
        assert out["recall_0.5"] == 0
        assert out["recall_0.3"] == 1

    def test_figures_without_meaning_are_not_numbers(self):
        out = summarise([picture([], [])], 0.5)
        for key in ("precision_0.5", "recall_0.5", "f1_0.5", "ap_0.5", "count_wape", "category_accuracy"):
            assert math.isnan(out[key]), key
        assert out["false_per_empty_km2"] == 0
        assert summarise([], 0.5)["pictures"] == 0

    def test_a_small_picture_has_its_true_area(self):
        tiny = picture([[*A, 0.9]], [], size_px=(30.0, 30.0))
        assert summarise([tiny], 0.5)["false_per_km2"] == pytest.approx(1 / (225 / 1e6))

    def test_the_same_seed_gives_the_same_interval_of_the_bias(self):
        a, b = (count_figures(pictures(), 0.5, seed=3) for _ in range(2))
        assert a == b
