"""A simulated yard through the shipped network: its track map and wagons lie where its tracks are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import shapely
import torch
from PIL import Image
from simulated_yard import SIZE_M, SimulatedYard, write_yard

from aoi import Mask
from detector.wagons.detector import WagonDetector
from detector.wagons.track_map import look_for_tracks
from geo import SceneError, open_scene
from geo.tracks import PlaneGrid, TrackObservation


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


@dataclass(frozen=True)
class Seen:
    yard: SimulatedYard
    grid: PlaneGrid
    observation: TrackObservation
    truth: shapely.Geometry  # in the frame


@pytest.fixture(scope="module")
def detector() -> WagonDetector:
    return WagonDetector.load(device="cpu")


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, detector: WagonDetector) -> Seen:
    yard = write_yard(tmp_path_factory.mktemp("yard") / "yard.tif")
    grid = PlaneGrid.around(yard.area)
    # several tiles, whose maps must fit together
    observation = look_for_tracks(detector, yard.scene, yard.area, grid, tile_px=256)
    return Seen(yard, grid, observation, grid.shape_in_frame(yard.tracks))


def test_the_map_is_high_on_the_tracks_and_low_elsewhere(seen: Seen):
    assert seen.observation.likelihood is not None
    assert seen.observation.seen is not None
    rows, columns = np.nonzero(seen.observation.seen)
    places = shapely.points(np.column_stack([columns, rows]) + 0.5)
    apart = shapely.distance(places, seen.truth)
    values = seen.observation.likelihood[seen.observation.seen]
    assert values[apart < 0.5].mean() > 0.5
    assert values[apart > 12].mean() < 0.15
    # it lies where it belongs to half a cell of the network
    near = apart < 1.0
    beside = (apart > 3.0) & (apart < 4.0)
    assert values[near].mean() > values[beside].mean() + 0.2


def test_what_the_picture_doesnt_show_is_unseen(seen: Seen):
    assert seen.observation.seen is not None
    picture = seen.grid.shape_in_frame(seen.yard.box(0, 0, *SIZE_M))
    rows, columns = np.nonzero(seen.observation.seen)
    assert shapely.contains_xy(picture.buffer(1.0), columns + 0.5, rows + 0.5).all()
    assert seen.observation.seen.sum() == pytest.approx(picture.area, rel=0.02)


def test_wagons_stand_on_the_tracks(seen: Seen):
    sightings = seen.observation.sightings
    sure = sightings.take(sightings.score > 0.6)
    assert len(sure.score) > 40
    assert np.median(shapely.distance(shapely.points(sure.xy), seen.truth)) < 1.0
    assert ((sure.length_m > 6) & (sure.length_m < 32)).all()


def test_a_roof_that_is_there_on_the_day_hides_tracks_and_wagons(detector: WagonDetector, seen: Seen):
    roof = Mask(seen.yard.box(0, 0, 120, SIZE_M[1]), "roof", start=date(2024, 1, 1))
    area = replace(seen.yard.area, masks=(roof, replace(roof, start=date(2025, 1, 1))))
    observation = look_for_tracks(detector, seen.yard.scene, area, seen.grid, tile_px=256)
    hidden = seen.grid.shape_in_frame(roof.polygon)
    assert observation.seen is not None
    rows, columns = np.nonzero(observation.seen)
    assert not shapely.contains_xy(hidden, columns + 0.5, rows + 0.5).any()
    assert not shapely.covers(hidden, shapely.points(observation.sightings.xy)).any()
    assert observation.seen.any()


def test_an_image_elsewhere_or_nowhere_is_refused(detector: WagonDetector, seen: Seen, tmp_path: Path):
    far = replace(seen.yard.area, boundary=seen.yard.box(3000, 10, 3150, 110))
    with pytest.raises(SceneError, match="doesn't touch the scene"):
        look_for_tracks(detector, seen.yard.scene, far, PlaneGrid.around(far))
    path = tmp_path / "nowhere.png"
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(path)
    with pytest.raises(SceneError, match="has no position"):
        look_for_tracks(detector, open_scene(path, gsd_m=0.5), seen.yard.area, seen.grid)
