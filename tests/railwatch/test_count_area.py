from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from yards import Yard, detections_of

from aoi import AreaOfInterest, Mask
from detector.wagons.track_sight import TrackSight
from geo import Scene, open_scene
from railwatch.pipeline.count_area import TRACK_REACH_M, count_area, hidden_fraction, visible_area

YARD = Yard()
DAY = date(2023, 10, 5)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return open_scene(YARD.write(tmp_path_factory.mktemp("yard") / "20231005_021500.tif", (0, 0, 0)))


def box(x_m: float, y_m: float) -> list[float]:
    return [x_m / 0.5, y_m / 0.5, 28.0, 6.0, 0.0]


def test_each_track_and_zone_gets_its_own(scene: Scene) -> None:
    counted = count_area(detections_of(scene, YARD.boxes((12, 3, 0))), YARD.area(), DAY)
    assert counted.total.count == 15
    assert {name: one.count for name, one in counted.tracks.items()} == {"t1": 12, "t2": 3, "t3": 0}
    # The ninth wagon of the first track ends at 148 m, the tenth is centred at 164 m: past the middle.
    assert {name: one.count for name, one in counted.zones.items()} == {"west": 12, "east": 3}
    assert counted.total.low <= 15 <= counted.total.high
    assert counted.detections.frame["track"].to_list() == ["t1"] * 12 + ["t2"] * 3
    assert counted.detections.frame["counted"].all()
    assert counted.length_m == pytest.approx(15 * 14.0, rel=2e-3)
    assert counted.warnings == ()


@pytest.mark.parametrize("number", [0, 1, 2])
def test_none_and_one_are_counts_too(scene: Scene, number: int) -> None:
    counted = count_area(detections_of(scene, YARD.boxes((number, 0, 0))), YARD.area(), DAY)
    assert counted.total.count == number
    assert counted.zones["east"].count == 0
    assert list(counted.detections.frame.columns).count("counted") == 1


def test_only_freight_counts(scene: Scene) -> None:
    found = detections_of(scene, YARD.boxes((3, 0, 0)), [0, 1, 2])
    counted = count_area(found, YARD.area(), DAY)
    assert counted.total.count == 1
    assert counted.detections.frame["counted"].to_list() == [True, False, False]
    assert counted.detections.frame["track"].to_list() == ["t1"] * 3


@pytest.mark.parametrize(
    ("off_m", "expected"), [(0.0, 1), (TRACK_REACH_M - 0.1, 1), (TRACK_REACH_M + 0.1, 0)]
)
def test_a_wagon_stands_on_a_track_where_there_are_tracks(scene: Scene, off_m: float, expected: int) -> None:
    found = detections_of(scene, np.array([box(60.0, 40.0 + off_m)]))
    counted = count_area(found, YARD.area(), DAY)
    assert counted.total.count == expected
    assert any("on none of its tracks" in text for text in counted.warnings) == (expected == 0)
    assert count_area(found, YARD.area(tracks=False), DAY).total.count == 1


def test_an_uncertain_line_reaches_further(scene: Scene) -> None:
    found = detections_of(scene, np.array([box(60.0, 46.0)]))
    area = YARD.area()
    assert count_area(found, area, DAY).total.count == 0
    unsure = replace(area, tracks=tuple(replace(one, properties={"uncertainty_m": 3}) for one in area.tracks))
    assert count_area(found, unsure, DAY).tracks["t3"].count == 1


def test_what_lies_outside_or_under_a_mask_does_not_count(scene: Scene) -> None:
    found = detections_of(scene, np.array([box(2.0, 20.0), box(60.0, 20.0), box(120.0, 20.0)]))
    roof = Mask(shapely.box(100, 10, 140, 30), "canopy", start=date(2024, 12, 3))
    area = YARD.area(masks=(roof,))
    assert count_area(found, area, date(2024, 12, 2)).total.count == 2
    assert count_area(found, area, date(2024, 12, 3)).total.count == 1
    assert hidden_fraction(area, date(2024, 12, 2)) == 0.0
    assert hidden_fraction(area, date(2024, 12, 3)) == pytest.approx(40 * 20 / (310 * 70), rel=1e-3)
    everything = YARD.area(masks=(Mask(shapely.box(0, 0, 400, 100), "snow"),))
    assert visible_area(everything, DAY) is None
    assert hidden_fraction(everything, DAY) == pytest.approx(1.0)


def test_doubtful_boxes_of_the_same_place_widen_the_interval(scene: Scene) -> None:
    found = detections_of(scene, YARD.boxes((5, 5, 0)))
    below_threshold = found.frame.iloc[5:].assign(score=0.4)
    unsure = replace(found, frame=found.frame.iloc[:5], below_threshold=below_threshold)
    counted = count_area(unsure, YARD.area(), DAY)
    sure = count_area(replace(unsure, below_threshold=below_threshold.iloc[:0]), YARD.area(), DAY)
    assert counted.total.count == sure.total.count == 5
    assert counted.total.high > sure.total.high
    assert counted.tracks["t2"].high > sure.tracks["t2"].high
    assert counted.tracks["t1"] == sure.tracks["t1"]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 320), st.floats(0, 80)), max_size=30))
def test_the_parts_never_exceed_the_whole(scene: Scene, centres: list[tuple[float, float]]) -> None:
    boxes = np.array([box(x, y) for x, y in centres]).reshape(-1, 5)
    found = detections_of(scene, boxes)
    area = YARD.area()
    counted = count_area(found, area, DAY)
    free = count_area(found, YARD.area(tracks=False), DAY)
    assert sum(one.count for one in counted.tracks.values()) == counted.total.count <= free.total.count
    inside = sum(5 < x < 315 and 5 < y < 75 for x, y in centres)
    assert abs(free.total.count - inside) <= sum(
        min(abs(x - 5), abs(x - 315), abs(y - 5), abs(y - 75)) < 0.1 for x, y in centres
    )


def test_counted_cars_by_type_add_up_to_the_count(scene: Scene) -> None:
    found = detections_of(scene, YARD.boxes((4, 1, 0)), [0, 0, 0, 2, 0])
    types = ["tank", "tank", "unknown", None, "open"]
    typed = replace(found, frame=found.frame.assign(car_type=types))
    counted = count_area(typed, YARD.area(), DAY)
    assert counted.total.count == 4
    assert counted.by_type == {"open": 1, "covered": 0, "tank": 2, "flat_or_container": 0, "unknown": 1}
    assert typed.count_by_type == counted.by_type
    none = replace(typed, frame=typed.frame.iloc[:0])
    assert sum(count_area(none, YARD.area(), DAY).by_type.values()) == 0


def test_a_car_off_the_tracks_is_in_no_type(scene: Scene) -> None:
    found = detections_of(scene, np.array([box(60.0, 20.0), box(60.0, 70.0)]))
    typed = replace(found, frame=found.frame.assign(car_type=["covered", "tank"]))
    counted = count_area(typed, YARD.area(), DAY)
    assert (counted.by_type["covered"], counted.by_type["tank"]) == (1, 0)


def seen_until(scene: Scene, area: AreaOfInterest, share: float) -> TrackSight:
    """Points along the area's tracks, of each of which the first share is seen."""
    points, track, seen = [], [], []
    for number, one in enumerate(area.tracks):
        at = (np.arange(50) + 0.5) / 50
        points.append(shapely.get_coordinates(shapely.line_interpolate_point(one.line, at, normalized=True)))
        track += [number] * 50
        seen += (at < share).tolist()
    return TrackSight(np.concatenate(points), np.array(track), np.array(seen))


def test_tracks_that_cant_be_seen_have_room_for_cars(scene: Scene) -> None:
    area = YARD.area()
    found = replace(detections_of(scene, YARD.boxes((4, 0, 0))), tracks=seen_until(scene, area, 0.5))
    plain = count_area(detections_of(scene, YARD.boxes((4, 0, 0))), area, DAY)
    half = count_area(found, area, DAY)
    assert half.seen == 0.5
    assert half.total.count == plain.total.count
    assert half.total.low == plain.total.low
    assert half.total.high == plain.total.high + 75 * 4 // 15
    assert half.tracks["t2"].high == plain.tracks["t2"].high + 25 * 4 // 15
    # The west is seen, the east isn't.
    assert half.zones["west"].high == plain.zones["west"].high
    assert half.zones["east"].high > plain.zones["east"].high + 10
    assert any("only 50% of the tracks' length" in text and "Up to 20 more" in text for text in half.warnings)


@pytest.mark.parametrize("share", [0.7, 1.0])
def test_tracks_that_are_mostly_seen_change_nothing(scene: Scene, share: float) -> None:
    area = YARD.area()
    found = detections_of(scene, YARD.boxes((4, 0, 0)))
    counted = count_area(replace(found, tracks=seen_until(scene, area, share)), area, DAY)
    assert counted.total == count_area(found, area, DAY).total
    assert counted.warnings == ()


def test_an_area_without_tracks_shows_a_railway_or_none(scene: Scene) -> None:
    area = replace(YARD.area(), tracks=())
    found = detections_of(scene, YARD.boxes((0, 0, 0)))
    said = [count_area(replace(found, railway=value), area, DAY).seen for value in (None, False, True)]
    assert said == [None, 0.0, 1.0]
