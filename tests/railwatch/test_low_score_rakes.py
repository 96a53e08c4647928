"""Rows of boxes that the detector doubts are proposed, whatever the verdict."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from making import observation
from yards import UTM, Yard, detections_of

from detector.wagons.rakes import rakes_of
from geo import open_scene
from railwatch.history.sources import read_sources
from railwatch.pipeline.count_area import count_area
from railwatch.review import set_count
from railwatch.review.next_review import looked_for, low_score_observations, reviewable
from railwatch.store.store import Store

YARD = Yard()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Three images: one all sure, one with a doubtful rake on the second track, one with two lone doubts."""
    scene = open_scene(YARD.write(tmp_path / "20230901.tif"))
    kept = Store.open(tmp_path / "store")
    scores = ([0.95] * 9, [0.95] * 4 + [0.5] * 3 + [0.95] * 2, [0.45, *[0.95] * 7, 0.45])
    for number, given_scores in enumerate(scores):
        sure = detections_of(scene, YARD.boxes((4, 3, 2)))
        found = replace(sure, frame=sure.frame.assign(score=np.array(given_scores)))
        counted = count_area(found, YARD.area(), None)
        kept.add(
            observation(number, count=9.0, count_low=8.0, count_high=10.0), detections=counted.detections
        )
    kept.add(observation(3, method="occupancy", occupied_length_m=100.0))
    return kept


def test_a_doubtful_rake_is_found_and_lone_doubts_are_not(store: Store) -> None:
    (found,) = low_score_observations(read_sources(store.path))
    assert found.observation.id == observation(1).id
    (rake,) = found.rakes
    assert (rake.boxes, rake.mean_score, rake.track) == (3, pytest.approx(0.5), "t2")
    assert (round(rake.lon, 1), round(rake.lat, 1)) == (128.6, 42.4)
    assert "3 boxes in a row on track t2 have a mean score of 0.50 (42.4" in found.sentence


def test_what_a_person_has_reviewed_is_not_proposed(store: Store) -> None:
    set_count(store, observation(1).id, 9, reviewer="A")
    sources = read_sources(store.path)
    assert low_score_observations(sources) == []
    assert len(reviewable(sources.observations)) == 2


@given(
    st.integers(1, 12),
    st.floats(0, 180),
    st.sampled_from([(0.8, 1), (2.0, 1), (9.0, 0)]),
    st.floats(4.4, 6.0),
)
def test_wagons_end_to_end_are_a_rake_and_those_beside_are_another(
    number: int, azimuth: float, gap: tuple[float, int], apart: float
) -> None:
    """Two parallel tracks at any angle: coupled wagons are one rake a track, loose ones one each."""
    boxes = [
        shapely.affinity.rotate(
            shapely.box(x := (14.0 + gap[0]) * index, y := apart * track, x + 14.0, y + 3.0),
            azimuth,
            origin=(0, 0),
        )
        for track in range(2)
        for index in range(number)
    ]
    placed = [shapely.affinity.translate(box, 467_000.0, 4_696_000.0) for box in boxes]
    found = rakes_of(gpd.GeoDataFrame(geometry=placed, crs=UTM))
    assert sorted(position for rake in found for position in rake.rows) == list(range(2 * number))
    assert len(found) == (2 if gap[1] else 2 * number)
    assert rakes_of(gpd.GeoDataFrame(geometry=[], crs=UTM)) == []


def test_the_command_says_what_it_looked_for(store: Store, railwatch: Callable[..., Any]) -> None:
    done = railwatch("review", "next", "--store", store.path)
    assert done.code == 0, done.err
    assert "2023-09-02 02:15 is doubtful whatever the verdict: 3 boxes in a row on track t2" in done.out
    assert (
        "Of 3 counts that nobody has reviewed, none is expected to change a verdict when reviewed" in done.out
    )
    found = json.loads(railwatch("review", "next", "--store", store.path, "--json").out)
    assert found["looked_at"] == 3
    assert [one["id"] for one in found["doubted"]] == [observation(1).id]
    assert found["doubted"][0]["doubtful_rakes"][0]["boxes"] == 3


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ((0, 0, 0), "No count is left to review."),
        (
            (1, 1, 0),
            "Of 1 count that nobody has reviewed, 1 is expected to change a verdict when reviewed, and none",
        ),
        (
            (5, 0, 2),
            "none is expected to change a verdict when reviewed, and 2 of the others have",
        ),
    ],
)
def test_the_sentence(figures: tuple[int, int, int], words: str) -> None:
    assert words in looked_for(*figures)
