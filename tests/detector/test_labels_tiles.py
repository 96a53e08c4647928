"""Labelled images as tiles at 0.5 m: the boxes lie where the wagons are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from labelling import Pictures, labelled, make_pictures, write_tif
from PIL import Image

from detector.errors import LabelError
from detector.labels import LabelledImage
from detector.training.label_tiles import (
    ignore_areas,
    strips,
    tiles_of,
    turned_tiles,
    visible_fraction,
    whole_tile,
)
from detector.training.shards import Shard, write_shard
from detector.wagons.boxes import box_corners
from geo import SceneError

WAGONS = [
    [200.0, 150.0, 90.0, 24.0, 30.0],
    [420.0, 300.0, 80.0, 20.0, 135.0],
    [590.0, 60.0, 100.0, 20.0, 0.0],
]


def paint(path: Path, width: int, height: int, boxes: list[list[float]]) -> Path:
    """White wagons on dark ground, drawn by other means than the code under test: by pixel centres."""
    y, x = np.mgrid[:height, :width] + 0.5
    pixels = np.full((height, width), 30, np.uint8)
    for cx, cy, length, breadth, angle in boxes:
        cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        along, across = (x - cx) * cos + (y - cy) * sin, (y - cy) * cos - (x - cx) * sin
        pixels[(np.abs(along) <= length / 2) & (np.abs(across) <= breadth / 2)] = 230
    Image.fromarray(pixels).save(path)
    return path


def agreement(image: np.ndarray, boxes: np.ndarray) -> float:
    """Intersection over union of the white pixels and the boxes."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    union = shapely.union_all(shapely.polygons(box_corners(boxes)))
    drawn = shapely.contains_xy(union, x, y)
    white = image[..., 0] > 130
    return float((drawn & white).sum() / (drawn | white).sum())


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> LabelledImage:
    path = paint(tmp_path_factory.mktemp("yard") / "yard.png", 640, 400, WAGONS)
    # 0.3 m: 384 x 240 work pixels.
    return labelled(path, WAGONS, [0, 1, 2], gsd_m=0.3, size_px=(640, 400))


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    return make_pictures(tmp_path / "images")


class TestWholeTile:
    def test_the_picture_is_padded_and_the_boxes_lie_on_the_wagons(self, yard: LabelledImage) -> None:
        tile = whole_tile(yard)
        assert tile.image.shape == (256, 384, 3)
        assert tile.track.shape == (64, 96)
        assert (tile.track == 255).all()
        assert tile.meta["size_px"] == [384, 240]
        assert (tile.image[240:] == 0).all()
        np.testing.assert_allclose(tile.boxes[:, :4], np.array(WAGONS)[:, :4] * 0.6)
        assert tile.category.tolist() == [0, 1, 2]
        assert not tile.ignored.any()
        assert agreement(tile.image[:240], tile.boxes) > 0.9

    @pytest.mark.parametrize("gsd_m", [0.25, 0.5, 0.85])
    def test_at_any_distance(self, tmp_path: Path, gsd_m: float) -> None:
        boxes = [[100.0, 80.0, 60.0, 14.0, 20.0]]
        path = paint(tmp_path / "a.png", 200, 160, boxes)
        tile = whole_tile(labelled(path, boxes, gsd_m=gsd_m, size_px=(200, 160)))
        np.testing.assert_allclose(tile.boxes[0, :4], np.array(boxes[0][:4]) * gsd_m / 0.5)
        assert agreement(tile.image, tile.boxes) > 0.8

    def test_ignored_vehicles_and_areas(self, yard: LabelledImage) -> None:
        area = shapely.box(100, 50, 200, 150)
        marked = replace(yard, ignored=np.array([True, False, False]), ignore_areas=(area,))
        tile = whole_tile(marked)
        assert tile.ignored.tolist() == [True, False, False]
        assert len(tile.boxes) == 3
        (seen,) = ignore_areas(tile)
        assert seen.equals(shapely.box(60, 30, 120, 90))
        assert ignore_areas(whole_tile(yard)) == ()

    def test_a_wagon_that_the_border_hides_is_ignored(self, yard: LabelledImage) -> None:
        boxes = [[640 - 12, 200, 100, 20, 0], [640 + 20, 300, 100, 20, 0]]
        tile = whole_tile(labelled(yard.image, boxes, gsd_m=0.3, size_px=(640, 400)))
        # 62 and 30 of 100 pixels are within the image.
        assert tile.ignored.tolist() == [False, True]

    def test_what_nobody_has_looked_at_cannot_be_scored(self, yard: LabelledImage) -> None:
        with pytest.raises(LabelError, match="nobody has labelled it"):
            whole_tile(labelled(yard.image, [], gsd_m=0.3, size_px=(640, 400), seen=False))

    def test_without_a_distance_it_is_refused(self, yard: LabelledImage) -> None:
        with pytest.raises(SceneError, match="ground sampling distance"):
            whole_tile(labelled(yard.image, [], gsd_m=None, size_px=(640, 400)))

    def test_a_position_tells_the_distance(self, pictures: Pictures) -> None:
        tile = whole_tile(labelled(pictures.metric, [[100, 100, 50, 10, 0]], gsd_m=None))
        assert tile.meta["gsd_m"] == pytest.approx(0.4, rel=1e-3)
        np.testing.assert_allclose(tile.boxes[0, :4], [80, 80, 40, 8], rtol=1e-3)


class TestTiles:
    def test_they_cover_the_image_and_stay_within_it(self, yard: LabelledImage) -> None:
        tiles = tiles_of(yard, size_px=160)
        assert [t.meta["origin_px"] for t in tiles] == [[x, y] for y in (0, 80) for x in (0, 112, 224)]
        assert all(t.image.shape == (160, 160, 3) and t.track.shape == (40, 40) for t in tiles)
        assert all(t.image.any(axis=2).all() for t in tiles)
        whole = whole_tile(yard).image
        for tile in tiles:
            left, top = tile.meta["origin_px"]
            np.testing.assert_array_equal(tile.image, whole[top : top + 160, left : left + 160])

    def test_boxes_lie_on_the_wagons_in_each(self, yard: LabelledImage) -> None:
        tiles = tiles_of(yard, size_px=160)
        assert sum(len(t.boxes) for t in tiles) > 3
        for tile in tiles:
            if len(tile.boxes):
                assert agreement(tile.image, tile.boxes) > 0.85
            else:
                assert not (tile.image > 130).any()

    def test_a_box_cut_by_a_tile_is_ignored_when_little_is_visible(self, yard: LabelledImage) -> None:
        # In work pixels 60 long and centred at x = 240 + offset, cut at 288 by the first tile.
        for x, ignored in ((288 - 10, False), (288 + 15, True)):
            image = labelled(yard.image, [[x / 0.6, 200, 100, 20, 0]], gsd_m=0.3, size_px=(640, 400))
            first = tiles_of(image)[0]
            assert first.ignored.tolist() == [ignored]
            np.testing.assert_allclose(first.boxes[0, :3], [x, 120, 60])

    def test_a_box_of_which_nothing_is_visible_is_left_out(self, yard: LabelledImage) -> None:
        image = labelled(yard.image, [[620, 200, 40, 10, 0]], gsd_m=0.3, size_px=(640, 400))
        assert [len(t.boxes) for t in tiles_of(image)] == [0, 1]

    def test_a_small_image_is_one_tile(self, pictures: Pictures) -> None:
        image = labelled(pictures.plain, [[100, 100, 50, 10, 0]], gsd_m=0.25)
        (tile,) = tiles_of(image)
        assert tile.image.shape == (288, 288, 3)
        assert (tile.image[150:] == 0).all()
        assert tile.meta["size_px"] == [200, 150]

    def test_areas_are_covered_by_ignored_boxes(self, yard: LabelledImage) -> None:
        triangle = shapely.Polygon([(100, 50), (300, 100), (150, 300)])
        tiles = tiles_of(replace(yard, boxes=[], category=[], ignored=[], ignore_areas=(triangle,)))
        assert tiles[0].ignored.all()
        cover = shapely.union_all(shapely.polygons(box_corners(tiles[0].boxes)))
        wanted = shapely.transform(triangle, lambda xy: xy * 0.6)
        assert cover.buffer(1e-6).covers(wanted)
        assert cover.area < 1.5 * wanted.area

    def test_a_negative_is_all_background(self, pictures: Pictures) -> None:
        (tile,) = tiles_of(labelled(pictures.plain, [], gsd_m=0.3))
        assert len(tile.boxes) == len(tile.ignored) == len(tile.category) == 0
        assert tile.meta["kind"] == "negative"

    def test_what_nobody_has_looked_at_has_none(self, pictures: Pictures) -> None:
        assert tiles_of(labelled(pictures.plain, [], seen=False)) == []

    def test_tiles_without_a_valid_pixel_are_left_out(self, tmp_path: Path) -> None:
        pixels = np.full((300, 600, 3), 90, np.uint8)
        pixels[:, 300:] = 0
        path = tmp_path / "half.tif"
        write_tif(path, pixels, "EPSG:32652", Affine(0.5, 0, 640_000, 0, -0.5, 4_700_000), nodata=0)
        boxes = [[298, 100, 40, 8, 0], [315, 200, 40, 8, 0]]
        image = labelled(path, boxes, gsd_m=None, size_px=(600, 300))
        tile = whole_tile(image)
        # 22 of 40 pixels of the first are valid, 5 of the second.
        assert tile.ignored.tolist() == [False, True]
        origins = {tuple(t.meta["origin_px"]) for t in tiles_of(image, size_px=96)}
        assert origins
        assert all(left < 300 for left, _ in origins)

    def test_they_are_shards(self, yard: LabelledImage, tmp_path: Path) -> None:
        area = shapely.box(10, 10, 60, 60)
        tiles = tiles_of(replace(yard, ignore_areas=(area,)))
        write_shard(tmp_path / "own", tiles)
        shard = Shard(tmp_path / "own")
        assert len(shard) == len(tiles)
        np.testing.assert_allclose(shard[0].boxes, tiles[0].boxes)
        assert shard[0].meta["name"] == "yard.png"

    def test_the_side_must_fit_the_network(self, yard: LabelledImage) -> None:
        with pytest.raises(ValueError, match="multiple of 32"):
            tiles_of(yard, size_px=100)


@given(
    x=st.floats(-60, 160),
    y=st.floats(-60, 160),
    length=st.floats(10, 80),
    width=st.floats(4, 12),
    angle=st.floats(0, 179),
)
def test_the_visible_share_is_that_of_the_area(
    x: float, y: float, length: float, width: float, angle: float
) -> None:
    box = np.array([[x, y, length, width, angle]])
    shape = shapely.polygons(box_corners(box))[0]
    share = shape.intersection(shapely.box(0, 0, 100, 100)).area / shape.area
    assert abs(visible_fraction(box, np.ones((100, 100), bool))[0] - share) < 0.13


@given(points=st.lists(st.tuples(st.floats(-50, 350), st.floats(-50, 350)), min_size=3, max_size=8))
def test_strips_cover_an_area_and_stay_in_the_tile(points: list[tuple[float, float]]) -> None:
    area = shapely.convex_hull(shapely.MultiPoint(points))
    boxes = strips(area, 288, 288)
    inside = area.intersection(shapely.box(0, 0, 288, 288))
    if inside.area > 1e-3:
        cover = shapely.union_all(shapely.polygons(box_corners(boxes)))
        assert cover.buffer(1e-3).covers(inside)
    corners = box_corners(boxes)
    assert ((corners > -1e-6) & (corners < 288 + 1e-6)).all()


class TestTurned:
    def test_boxes_turn_with_the_image(self, yard: LabelledImage) -> None:
        tiles = turned_tiles(whole_tile(yard), 12, np.random.default_rng(3), size_px=320)
        angles = np.concatenate([tile.boxes[:, 4] for tile in tiles])
        assert np.ptp(angles) > 90
        for tile in tiles:
            shown = tile.boxes
            if len(shown) and tile.meta["gsd_m"] == 0.5:
                assert agreement(tile.image, shown) > 0.75
        assert sum(len(tile.boxes) for tile in tiles) > 12

    def test_what_is_cut_or_unknown_is_ignored(self, yard: LabelledImage) -> None:
        area = shapely.box(360, 240, 480, 360)
        tiles = turned_tiles(
            whole_tile(replace(yard, ignore_areas=(area,))), 12, np.random.default_rng(4), size_px=320
        )
        plain = turned_tiles(whole_tile(yard), 12, np.random.default_rng(4), size_px=320)
        assert sum(t.ignored.sum() for t in tiles) > sum(t.ignored.sum() for t in plain)
        assert all((t.track == 255).all() for t in tiles)

    def test_the_same_chance_gives_the_same_tiles(self, yard: LabelledImage) -> None:
        one, two = (turned_tiles(whole_tile(yard), 3, np.random.default_rng(5)) for _ in range(2))
        assert all((a.image == b.image).all() for a, b in zip(one, two, strict=True))
