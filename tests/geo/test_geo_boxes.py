from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine
from geo_images import EAST, NORTH, UTM, placed, texture, write
from hypothesis import given, settings
from hypothesis import strategies as st

from geo import Scene, box_corners, boxes_to_map, map_to_boxes, open_scene, scale_boxes
from geo.boxes import as_boxes

ROTATED = Affine.translation(EAST, NORTH) @ Affine.rotation(33) @ Affine.scale(0.5, -0.5)
MIRRORED = Affine.translation(EAST, NORTH) @ Affine.scale(-0.5, -0.5)
UPSIDE_DOWN = Affine.translation(EAST, NORTH) @ Affine.scale(0.5, 0.5)
PLACES = {
    "plain": placed(),
    "rotated": {"crs": UTM, "transform": ROTATED},
    "mirrored": {"crs": UTM, "transform": MIRRORED},
    "upside down": {"crs": UTM, "transform": UPSIDE_DOWN},
    "sheared": {"crs": UTM, "transform": ROTATED @ Affine.shear(9, 0)},
    "oblong": {"crs": UTM, "transform": Affine(0.4, 0, EAST, 0, -0.7, NORTH)},
    "mercator": {"crs": "EPSG:3857", "transform": Affine(0.6, 0, 14_539_000, 0, -0.6, 5_222_000)},
    "degrees": {"crs": "EPSG:4326", "transform": Affine(5e-6, 0, 130.6, 0, -5e-6, 42.42)},
    "nowhere": {},
}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scene]:
    folder = tmp_path_factory.mktemp("boxes")
    made = {}
    for name, profile in PLACES.items():
        path: Path = write(folder / f"{name.replace(' ', '_')}.tif", texture(8, 8), **profile)
        made[name] = open_scene(path, gsd_m=None if profile else 0.5)
    return made


# Longer than wide on the ground too, where pixels aren't square: which side is the axis is beyond doubt.
boxes = st.lists(
    st.builds(
        lambda x, y, length, slimness, angle: (x, y, length, length * slimness, angle),
        st.floats(-300, 3000),
        st.floats(-300, 3000),
        st.floats(12, 80),
        st.floats(0.1, 0.45),
        st.floats(0, 179.999),
    ),
    min_size=1,
    max_size=4,
)


def assert_same_boxes(one: np.ndarray, other: np.ndarray) -> None:
    assert np.abs(one[:, :4] - other[:, :4]).max() < 1e-6
    turn = np.abs(one[:, 4] - other[:, 4])
    assert np.minimum(turn, 180 - turn).max() < 1e-5
    # An axis at 0 and one at 179.999999 degrees start their corners at opposite ends.
    corners, others = box_corners(one), box_corners(other)
    apart = [np.abs(corners - turned).max(axis=(1, 2)) for turned in (others, np.roll(others, 2, axis=1))]
    assert np.minimum(*apart).max() < 1e-5


@pytest.mark.parametrize("place", PLACES)
@settings(max_examples=25)
@given(wanted=boxes)
def test_there_and_back_again(scenes: dict[str, Scene], place: str, wanted: list[tuple[float, ...]]) -> None:
    array = as_boxes(wanted)
    on_map = boxes_to_map(scenes[place], array)
    assert all(polygon.is_valid for polygon in on_map.polygons)
    assert_same_boxes(map_to_boxes(scenes[place], on_map.polygons), array)


@pytest.mark.parametrize("place", PLACES)
def test_ring_order_and_start_do_not_matter(scenes: dict[str, Scene], place: str) -> None:
    array = as_boxes([[100, 120, 28, 6, 35]])
    ring = shapely.get_coordinates(boxes_to_map(scenes[place], array).polygons[0])[:-1]
    for turned in (np.roll(ring, 1, axis=0), np.roll(ring, 2, axis=0), ring[::-1]):
        assert_same_boxes(map_to_boxes(scenes[place], [shapely.Polygon(turned)]), array)


@pytest.mark.parametrize("angle", [0, 30, 90, 135])
def test_sizes_and_azimuth_on_a_plain_map(scenes: dict[str, Scene], angle: float) -> None:
    scene = scenes["plain"]
    found = boxes_to_map(scene, [[200, 100, 28, 6, angle]])
    assert found.length_m[0] == pytest.approx(28 * scene.gsd_m, rel=1e-6)
    assert found.width_m[0] == pytest.approx(6 * scene.gsd_m, rel=1e-6)
    # +x is east: 90 degrees from north; both turn clockwise.
    assert found.azimuth_deg[0] == pytest.approx((angle + 90) % 180, abs=1e-3)
    centre = found.polygons[0].centroid
    assert (centre.x, centre.y) == pytest.approx((EAST + 100, NORTH - 50))


@pytest.mark.parametrize(
    ("place", "azimuth"),
    [("plain", 120), ("mirrored", 60), ("upside down", 60), ("rotated", 87), ("nowhere", 120)],
)
def test_azimuths_follow_the_map_not_the_picture(
    scenes: dict[str, Scene], place: str, azimuth: float
) -> None:
    found = boxes_to_map(scenes[place], [[10, 10, 28, 6, 30]])
    assert found.azimuth_deg[0] == pytest.approx(azimuth, abs=1e-3)
    ring = shapely.get_coordinates(found.polygons[0])
    if place != "nowhere":
        axis = ring[0] + ring[1] - ring[2] - ring[3]
        assert np.degrees(np.arctan2(axis[0], axis[1])) % 180 == pytest.approx(azimuth, abs=1e-3)


@pytest.mark.parametrize("place", ["mercator", "degrees", "oblong", "rotated"])
def test_a_wagon_measures_the_same_on_every_map(scenes: dict[str, Scene], place: str) -> None:
    """A rectangle of 14 m by 3 m on the ground, drawn by geodesics, comes back with these sizes."""
    scene = scenes[place]
    ground = scene.ground_metrics().jacobian([[50.0, 60.0]])[0]
    for azimuth in (0.0, 20.0, 45.0, 90.0, 160.0):
        heading = np.radians(azimuth)
        along = np.array([np.sin(heading), np.cos(heading)])
        across = np.array([along[1], -along[0]])
        corners = [7 * a * along + 1.5 * b * across for a, b in ((1, 1), (1, -1), (-1, -1), (-1, 1))]
        pixels = np.array([50.0, 60.0]) + np.array(corners) @ np.linalg.inv(ground).T
        boxes = map_to_boxes(scene, [shapely.Polygon(scene.pixel_to_map(pixels))])
        found = boxes_to_map(scene, boxes)
        assert found.length_m[0] == pytest.approx(14, rel=1e-5)
        assert found.width_m[0] == pytest.approx(3, rel=1e-5)
        assert min(abs(found.azimuth_deg[0] - azimuth), 180 - abs(found.azimuth_deg[0] - azimuth)) < 1e-3
        assert box_corners(boxes).shape == (1, 4, 2)
        same = shapely.get_coordinates(found.polygons[0])[:-1]
        drawn = scene.pixel_to_map(pixels)
        distances = np.linalg.norm(
            scene.map_to_pixel(same)[:, None] - scene.map_to_pixel(drawn)[None], axis=2
        )
        assert distances.min(axis=1).max() < 1e-3


def test_other_polygons_get_their_smallest_rectangle(scenes: dict[str, Scene]) -> None:
    scene = scenes["plain"]
    outline = box_corners([[100, 80, 28, 6, 20]])[0]
    with_more_corners = np.vstack([outline[0], outline[:2].mean(axis=0), outline[1:]])
    found = map_to_boxes(scene, [shapely.Polygon(scene.pixel_to_map(with_more_corners))])
    assert found[0] == pytest.approx([100, 80, 28, 6, 20], abs=1e-4)


def test_none_and_one_box(scenes: dict[str, Scene]) -> None:
    for scene in scenes.values():
        nothing = boxes_to_map(scene, [])
        assert len(nothing.polygons) == len(nothing.length_m) == len(nothing.azimuth_deg) == 0
        assert map_to_boxes(scene, nothing.polygons).shape == (0, 5)
        assert len(boxes_to_map(scene, [4, 4, 20, 5, 10]).polygons) == 1
    assert box_corners([]).shape == (0, 4, 2)


def test_corners_of_a_box() -> None:
    # Long axis down (90 degrees), so "right-hand side" is to the left of the picture.
    corners = box_corners([[10, 20, 8, 2, 90]])[0]
    assert corners == pytest.approx(np.array([[11, 24], [9, 24], [9, 16], [11, 16]]))


@given(wanted=boxes, scale_x=st.floats(0.2, 5), scale_y=st.floats(0.2, 5))
def test_boxes_on_another_grid_and_back(
    wanted: list[tuple[float, ...]], scale_x: float, scale_y: float
) -> None:
    array = as_boxes(wanted)
    there = scale_boxes(array, (scale_x, scale_y))
    assert ((there[:, 4] >= 0) & (there[:, 4] < 180)).all()
    assert there[:, 2] * there[:, 3] == pytest.approx(array[:, 2] * array[:, 3] * scale_x * scale_y)
    assert_same_boxes(scale_boxes(there, (1 / scale_x, 1 / scale_y)), array)
