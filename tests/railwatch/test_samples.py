from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from yards import TruthDetector

from aoi import check_area
from aoi.errors import InputError
from geo import open_scene, valid_fraction
from railwatch.pipeline.count_area import count_area
from railwatch.selftest.samples import Samples, bundled
from sample_tiles import make


@pytest.fixture(scope="module")
def samples() -> Samples:
    with bundled() as found:
        return found


def test_the_series_tells_a_build_up(samples: Samples) -> None:
    counts = [tile.count for tile in samples.tiles]
    assert counts == [14, 18, 9, 16, 20, 12, 17, 11, 19, 15, 73, 69]
    assert [tile.count for tile in samples.tiles if tile.shown < 0.5] == [15]


def test_the_tiles_are_small_and_placed(samples: Samples) -> None:
    assert sum(tile.path.stat().st_size for tile in samples.tiles) < 5e6
    for tile in samples.tiles:
        scene = open_scene(tile.path)
        assert scene.datetime == tile.datetime
        assert scene.sensor.startswith("simulated")
        assert scene.footprint().intersects(samples.area.boundary)
        assert 0.35 < scene.gsd_m < 0.65
        assert valid_fraction(scene, samples.area) == pytest.approx(tile.shown, abs=0.02)


def test_the_truth_counts_to_the_truth(samples: Samples) -> None:
    """Boxes, boundary, tracks and counts of the manifest agree by the rules of a run."""
    detector = TruthDetector(samples)
    for tile in samples.tiles:
        if tile.shown < 1.0:
            continue
        counted = count_area(detector.detect(open_scene(tile.path)), samples.area, tile.datetime.date())
        assert counted.total.count == tile.count
        assert sum(zone.count for zone in counted.zones.values()) == tile.count
        assert sum(track.count for track in counted.tracks.values()) == tile.count


def test_wagons_are_where_the_manifest_says(samples: Samples) -> None:
    """Pixels on the boxes of visible wagons differ from the ground beside them, on every tile."""
    for tile in samples.tiles:
        scene = open_scene(tile.path)
        image, _ = scene.read()
        grey = image.astype(float).mean(axis=-1)
        steps = []
        for box in tile.boxes[tile.visible & tile.inside]:
            cx, cy = box[:2]
            middle = grey[round(cy) - 1 : round(cy) + 2, round(cx) - 3 : round(cx) + 4].mean()
            around = grey[round(cy) - 8 : round(cy) + 9, round(cx) - 3 : round(cx) + 4]
            steps.append(abs(middle - around.mean()))
        assert np.mean(steps) > 5.0


def test_a_changed_tile_is_noticed(samples: Samples, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(samples.tiles[0].path.parent, tmp_path / "tiles"))
    assert Samples.read(folder).thresholds == samples.thresholds
    tile = folder / samples.tiles[3].path.name
    tile.write_bytes(tile.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match=f"{tile.name}: isn't the tile that its manifest describes"):
        Samples.read(folder)
    tile.unlink()
    with pytest.raises(InputError, match=f"{tile.name}: this part of the sample tiles is missing"):
        Samples.read(folder)
    (folder / "manifest.json").write_text('{"tiles": 3}')
    with pytest.raises(InputError, match="isn't a manifest of sample tiles"):
        Samples.read(folder)


def test_they_can_be_made_anew(tmp_path: Path) -> None:
    images = [make.SAMPLE_DATES[0], make.SAMPLE_DATES[9]]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "old.tif").write_bytes(b"from before")
        make.make(tmp_path / name, images)
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two")
    )
    assert first == second
    assert len(first) == 4
    made = Samples.read(tmp_path / "one")
    assert [tile.count for tile in made.tiles] == [14, 15]
    assert check_area(tmp_path / "one" / "area.geojson").problems == ()
    assert made.area.name == "sample-yard"
    assert (len(made.area.tracks), len(made.area.zones)) == (8, 2)
    manifest = json.loads((tmp_path / "one" / "manifest.json").read_text())
    assert manifest["made_by"]["command"] == "python -m sample_tiles.make"
    assert manifest["thresholds"] == make.THRESHOLDS
    # The half that is missing hides its wagons.
    hidden = made.tiles[1]
    assert hidden.visible.sum() < len(hidden.boxes)
