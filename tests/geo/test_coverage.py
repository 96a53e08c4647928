from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
import shapely
from geo_images import area_at, placed, texture, write
from hypothesis import given, settings
from hypothesis import strategies as st

from aoi import AreaOfInterest, Mask
from geo import Scene, SceneError, coverage, open_scene, valid_fraction


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """200 x 100 pixels whose left half is missing."""
    numbers = texture(100, 200)
    numbers[:, :, :100] = 0
    return open_scene(write(tmp_path_factory.mktemp("quality") / "half.tif", numbers, nodata=0, **placed()))


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return open_scene(write(tmp_path_factory.mktemp("quality") / "full.tif", texture(100, 200), **placed()))


def test_of_a_whole_scene(half: Scene, full: Scene) -> None:
    assert valid_fraction(half) == 0.5
    assert valid_fraction(full) == 1.0


@pytest.mark.parametrize(
    ("outline", "expected"),
    [
        (shapely.box(110, 10, 190, 90), 1.0),
        (shapely.box(10, 10, 90, 90), 0.0),
        (shapely.box(80, 10, 120, 90), 0.5),
        (shapely.box(150, 10, 250, 90), 0.5),  # half of it beyond the scene
        (shapely.box(50, -100, 150, 100), 0.25),
        (shapely.box(120.2, 20.3, 120.4, 20.5), 1.0),  # smaller than a pixel
    ],
)
def test_of_an_area(half: Scene, outline: shapely.Polygon, expected: float) -> None:
    assert valid_fraction(half, area_at(half, outline)) == pytest.approx(expected, abs=0.02)


def test_an_area_wholly_seen_is_exactly_one(full: Scene, half: Scene) -> None:
    triangle = shapely.Polygon([(110, 10), (190, 20), (150, 90)])
    for scene in (full, half):
        assert valid_fraction(scene, area_at(scene, triangle)) == 1.0


@settings(max_examples=40)
@given(
    x=st.floats(-50, 230),
    y=st.floats(-50, 130),
    width=st.floats(20, 200),
    height=st.floats(20, 200),
    angle=st.floats(0, 90),
)
def test_against_geometry(half: Scene, x: float, y: float, width: float, height: float, angle: float) -> None:
    outline = shapely.affinity.rotate(shapely.box(x - width, y - height, x + width, y + height), angle)
    if outline.intersection(shapely.box(0, 0, 200, 100)).area < 1:
        return
    expected = outline.intersection(shapely.box(100, 0, 200, 100)).area / outline.area
    assert valid_fraction(half, area_at(half, outline)) == pytest.approx(expected, abs=0.03)


def test_what_a_canopy_hides_is_unseen(full: Scene) -> None:
    yard = shapely.box(100, 10, 180, 90)
    area = area_at(full, yard, hidden=(shapely.box(100, 10, 120, 90),))
    assert valid_fraction(full, area) == pytest.approx(0.75, abs=1e-3)


def test_a_canopy_hides_from_its_first_day_on(full: Scene) -> None:
    drawn = area_at(full, shapely.box(100, 10, 180, 90), hidden=(shapely.box(0, 0, 140, 100),))
    mask = Mask(drawn.masks[0].polygon, "canopy", start=date(2024, 12, 1))
    area = AreaOfInterest(name="yard", title="yard", boundary=drawn.boundary, masks=(mask,))
    for day, expected in ((datetime(2023, 10, 5, tzinfo=UTC), 1.0), (datetime(2025, 1, 1, tzinfo=UTC), 0.5)):
        scene = open_scene(full.path, when=day)
        assert valid_fraction(scene, area) == pytest.approx(expected, abs=1e-3)


def test_large_areas_are_decimated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = texture(300, 400, 1)
    numbers[:, :150] = 0
    scene = open_scene(write(tmp_path / "x.tif", numbers, nodata=0, **placed()))
    monkeypatch.setattr(coverage, "_MAX_PX", 50)
    monkeypatch.setattr(coverage, "_STRIP_PX", 7)
    assert valid_fraction(scene) == pytest.approx(0.5, abs=0.03)
    assert valid_fraction(scene, area_at(scene, shapely.box(0, 75, 400, 300))) == pytest.approx(
        2 / 3, abs=0.03
    )


def test_a_gapless_image_is_not_read(full: Scene, tmp_path: Path) -> None:
    copy = tmp_path / "copy.tif"
    copy.write_bytes(full.path.read_bytes())
    scene = open_scene(copy)
    copy.unlink()
    assert valid_fraction(scene) == 1.0


def test_an_area_elsewhere(full: Scene) -> None:
    with pytest.raises(SceneError, match="doesn't touch"):
        valid_fraction(full, area_at(full, shapely.box(-90, -90, -50, -50)))


def test_an_image_without_position(full: Scene, tmp_path: Path) -> None:
    picture = open_scene(write(tmp_path / "x.png", texture(20, 20), driver="PNG"), gsd_m=0.5)
    assert valid_fraction(picture) == 1.0
    with pytest.raises(SceneError, match="has no position"):
        valid_fraction(picture, area_at(full, shapely.box(0, 0, 9, 9)))
    assert np.isfinite(picture.gsd_m)
