"""``railwatch aoi tracks --from-image`` and ``--from-store``: lines into the area file, with evidence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import torch
from making import START, abstained, observation
from PIL import Image
from simulated_yard import SimulatedYard, write_yard
from yards import Yard, detections_of

from aoi import load_area
from aoi.geodesy import local_metres
from geo import open_scene
from railwatch.store.store import Store

Run = Callable[..., Any]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> SimulatedYard:
    return write_yard(tmp_path_factory.mktemp("yard") / "vhr.tif")


def off_m(path: Path, truth: shapely.Geometry) -> list[float]:
    """How far each track of an area file lies from the truth at most, nine points in ten."""
    area = load_area(path)
    plane = local_metres(area.boundary)
    true = shapely.transform(truth, plane.transform, interleaved=False)
    lines = [shapely.transform(track.line, plane.transform, interleaved=False) for track in area.tracks]
    return [
        float(np.quantile(shapely.distance(shapely.points(line.segmentize(1.0).coords), true), 0.9))
        for line in lines
    ]


def track(identity: str, line: shapely.LineString, **properties: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "properties": {"role": "track", "id": identity, **properties},
        "geometry": json.loads(shapely.to_geojson(line)),
    }


# -- images --------------------------------------------------------------------------------------------


def test_lines_are_fitted_to_an_image_and_again(railwatch: Run, yard: SimulatedYard, tmp_path: Path) -> None:
    file = yard.write_area(tmp_path / "yard.geojson")
    # a second image that can't be used, and one given twice, are said and don't stop the rest
    elsewhere = Yard().write(tmp_path / "elsewhere.tif")
    again = Path(shutil.copy(yard.path, tmp_path / "vhr.tif"))
    outcome = railwatch("aoi", "tracks", file, "--from-image", yard.path, elsewhere, again, "--json")
    assert outcome.code == 0, outcome.err
    done = json.loads(outcome.out)
    assert (done["area"], done["out"], done["replaced"], done["kept"]) == ("yard", str(file), 0, 0)
    assert done["added"] >= 4
    assert done["length_m"] > 700
    assert [observation["name"] for observation in done["looks"]] == ["vhr.tif"]
    reasons = {Path(one["path"]).name: one["reason"] for one in done["skipped"]}
    assert reasons["elsewhere.tif"] == "the area yard doesn't touch the scene."
    assert "same image" in reasons["vhr.tif"]
    assert railwatch("aoi", "check", file).code == 0
    assert max(off_m(file, yard.tracks)) < 1.5
    area = load_area(file)
    told = area.tracks[0].properties
    assert (told["origin"], told["id"]) == ("fitted", "fitted-1")
    assert told["images"] == [{"name": "vhr.tif", "datetime": "2024-05-01T00:00:00Z", "moved_m": 0.0}]
    assert told["method"] == "fitted to wagons and track surface on images"
    assert told["sightings"] == done["tracks"][0]["sightings"] > 5
    assert 0.3 < told["track_likelihood"] <= 1.0
    assert 0.3 < told["uncertainty_m"] < 3.0
    assert str(area.sources[-1]) == "Fitted by railwatch to 1 image (2024-05-01)"

    # a second fit takes the place of the first
    outcome = railwatch("aoi", "tracks", file, "--from-image", yard.path)
    assert outcome.code == 0, outcome.err
    assert f"{done['added']} of the same origin replaced, 0 kept." in outcome.out
    assert "fitted-1" in outcome.out
    assert len(load_area(file).tracks) == done["added"]


def test_tracks_of_others_stay_and_arent_drawn_twice(
    railwatch: Run, yard: SimulatedYard, tmp_path: Path
) -> None:
    inside = [line.intersection(yard.area.boundary) for line in yard.tracks.geoms]
    drawn = max(
        (line for line in inside if isinstance(line, shapely.LineString)), key=lambda line: line.length
    )
    plain = yard.write_area(tmp_path / "plain.geojson")
    file = yard.write_area(tmp_path / "yard.geojson", track("fitted-1", drawn))
    before = file.read_bytes()
    target = tmp_path / "new.geojson"
    without = json.loads(railwatch("aoi", "tracks", plain, "--from-image", yard.path, "--json").out)
    outcome = railwatch("aoi", "tracks", file, "--from-image", yard.path, "--out", target)
    assert outcome.code == 0, outcome.err
    assert "none replaced, 1 kept." in outcome.out
    assert "tracks of another origin run there" in outcome.out
    assert file.read_bytes() == before
    area = load_area(target)
    assert area.tracks[0].line.equals_exact(drawn, 1e-9)
    assert len({one.id for one in area.tracks}) == len(area.tracks)
    assert len(area.tracks) <= without["added"] + 1
    checked = json.loads(railwatch("aoi", "check", target, "--json").out)["files"][0]
    assert not [one for one in checked["problems"] if "drawn twice" in one["message"]]


def test_images_that_cant_be_used_are_one_sentence(
    railwatch: Run, yard: SimulatedYard, tmp_path: Path
) -> None:
    file = yard.write_area(tmp_path / "yard.geojson")
    before = file.read_bytes()
    elsewhere = Yard().write(tmp_path / "elsewhere.tif")
    outcome = railwatch("aoi", "tracks", file, "--from-image", elsewhere)
    assert (outcome.code, outcome.error) == (2, f"{elsewhere}: the area yard doesn't touch the scene")
    nowhere = tmp_path / "nowhere.png"
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(nowhere)
    outcome = railwatch("aoi", "tracks", file, "--from-image", nowhere)
    assert outcome.code == 2
    assert outcome.error == f"{nowhere}: has no position, so tracks can't be laid on the map from it"
    both = railwatch("aoi", "tracks", file, "--from-image", nowhere, "--from-image", elsewhere)
    assert both.code == 2
    assert both.error.startswith("none of the 2 images could be used: ")
    missing = railwatch("aoi", "tracks", file, "--from-image", tmp_path / "no.tif")
    assert missing.code == 2
    assert str(tmp_path / "no.tif") in missing.error
    assert file.read_bytes() == before


def test_an_image_without_tracks_changes_nothing(railwatch: Run, yard: SimulatedYard, tmp_path: Path) -> None:
    bare = Yard(width_m=100.0).write(tmp_path / "bare.tif", counts=(0, 0, 0))
    area = Yard(width_m=100.0).area(tracks=False)
    file = replace(yard, area=area).write_area(tmp_path / "yard.geojson")
    before = file.read_bytes()
    outcome = railwatch("aoi", "tracks", file, "--from-image", bare)
    assert outcome.code == 2
    assert outcome.error.startswith(f"{bare}: no track can be made out in the boundary of yard")
    assert file.read_bytes() == before


def test_one_source_at_a_time(railwatch: Run, yard: SimulatedYard, tmp_path: Path) -> None:
    file = yard.write_area(tmp_path / "yard.geojson")
    for arguments, words in (
        ((), "give one of --from FILE, --from-image IMAGE and --from-store DIR"),
        (("--from-image", "a.tif", "--from-store", "s"), "exclude each other"),
        (("b.tif", "--from-store", "s"), "b.tif: a further file is taken after --from-image only"),
        (("--from-store", "s", "--include", "tram"), "--include goes with --from"),
    ):
        outcome = railwatch("aoi", "tracks", file, *arguments)
        assert outcome.code == 2
        assert words in outcome.error


# -- a store -------------------------------------------------------------------------------------------


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Store, Path, Yard]:
    """A store with four observations of a yard, and its area file without tracks."""
    yard = Yard(width_m=300.0)
    scene = open_scene(yard.write(tmp_path / "scene.tif"))
    store = Store.open(tmp_path / "store")
    for number, counts in enumerate([(16, 12, 0), (14, 16, 4), (10, 0, 15), (16, 9, 12)]):
        boxes = yard.boxes(counts)
        boxes[:, 0] += 4.0 * number
        store.add(observation(number), detections=detections_of(scene, boxes))
    store.add(abstained(7))
    area = yard.area(tracks=False)
    file = SimulatedYard(scene, area, shapely.MultiLineString()).write_area(tmp_path / "yard.geojson")
    return store, file, yard


def test_lines_are_fitted_to_what_a_store_remembers(railwatch: Run, stored: tuple[Store, Path, Yard]) -> None:
    store, file, yard = stored
    outcome = railwatch("aoi", "tracks", file, "--from-store", store.path, "--json")
    assert outcome.code == 0, outcome.err
    done = json.loads(outcome.out)
    assert (done["added"], done["skipped"]) == (3, [])
    assert [observation["name"] for observation in done["looks"]] == [
        one.id for one in store.observations("yard") if not one.abstained
    ]
    truth = shapely.MultiLineString([one.line for one in yard.area().tracks])
    assert max(off_m(file, truth)) < 0.3
    area = load_area(file)
    told = area.tracks[0].properties
    assert told["method"] == "fitted to wagons of the observations in a store"
    assert told["observations"][0]["datetime"] == "2023-09-01T02:15:00Z"
    assert told["observations_with_wagons"] == 4
    assert "track_likelihood" not in told
    last = (START + timedelta(days=3)).date()
    assert str(area.sources[-1]) == f"Fitted by railwatch to 4 observations ({START.date()} to {last})"


def test_a_store_without_wagons_of_the_area_is_one_sentence(
    railwatch: Run, stored: tuple[Store, Path, Yard], tmp_path: Path
) -> None:
    store, file, _ = stored
    empty = Store.open(tmp_path / "empty")
    outcome = railwatch("aoi", "tracks", file, "--from-store", empty.path)
    assert outcome.code == 2
    assert outcome.error == f"The store {empty.path} holds no wagons of yard; 'railwatch run' looks for them."
    missing = railwatch("aoi", "tracks", file, "--from-store", tmp_path / "none")
    assert missing.code == 2
    assert "There is no store at" in missing.error
    assert railwatch("aoi", "tracks", "tumangang", "--from-store", store.path).code == 2
