"""The table of wagons, and the files it is written to."""

from __future__ import annotations

import json
import resource
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from PIL import Image
from pyproj import Transformer

from aoi.errors import InputError
from detector.wagons import WRITERS
from detector.wagons.boxes import as_boxes
from detector.wagons.count_interval import CountModel
from detector.wagons.detections import COLUMNS, Detections, check_target, frame_of, write
from geo import Scene, boxes_to_map, open_scene

BOXES = [[60.0, 40.0, 28.0, 6.0, 20.0], [30.0, 70.0, 40.0, 6.0, 90.0], [100.0, 20.0, 30.0, 6.0, 170.0]]


def scene_at(folder: Path, name: str, crs: str | None, transform: Affine | None = None) -> Scene:
    """An image of 160 x 96 pixels of half a metre."""
    pixels = np.random.default_rng(1).integers(0, 255, (96, 160, 3), dtype=np.uint8)
    if crs is None:
        Image.fromarray(pixels).save(folder / f"{name}.png")
        return open_scene(folder / f"{name}.png", gsd_m=0.5)
    profile = {"driver": "GTiff", "width": 160, "height": 96, "count": 3, "dtype": "uint8"}
    with rasterio.open(folder / f"{name}.tif", "w", crs=crs, transform=transform, **profile) as file:
        file.write(np.moveaxis(pixels, 2, 0))
    return open_scene(folder / f"{name}.tif")


def found(scene: Scene, boxes=BOXES, category=(0, 1, 0), doubts=()) -> Detections:
    """Detections as the detector makes them."""

    def table(boxes, score, category):
        boxes = as_boxes(boxes)
        placed = boxes_to_map(scene, boxes)
        return frame_of(
            placed.polygons if scene.georeferenced else [None] * len(boxes),
            scene.crs if scene.georeferenced else None,
            score=np.asarray(score, float),
            category=np.asarray(category, int),
            length_m=placed.length_m,
            width_m=placed.width_m,
            azimuth_deg=placed.azimuth_deg,
            pixel_box=boxes,
            image=str(scene.path),
            gsd_m=scene.gsd_m,
        )

    n = len(boxes)
    return Detections(
        frame=table(boxes, np.linspace(0.9, 0.7, n), list(category)[:n]),
        below_threshold=table([[10, 10, 30, 6, 0]] * len(doubts), doubts, [0] * len(doubts)),
        scene_id=scene.id,
        gsd_m=scene.gsd_m,
        valid_fraction=1.0,
    )


@pytest.fixture
def utm(tmp_path) -> Scene:
    return scene_at(tmp_path, "utm", "EPSG:32652", Affine(0.5, 0, 632_000, 0, -0.5, 4_698_000))


@pytest.fixture
def plain(tmp_path) -> Scene:
    return scene_at(tmp_path, "plain", None)


def test_geojson_is_longitude_and_latitude(utm, tmp_path):
    detections = found(utm)
    path = detections.write(tmp_path / "x.geojson")
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["type"] == "FeatureCollection"
    assert "crs" not in document
    to_map = Transformer.from_crs("OGC:CRS84", "EPSG:32652", always_xy=True)
    assert len(document["features"]) == 3
    for feature, row in zip(document["features"], detections.frame.itertuples(), strict=True):
        lonlat = shapely.geometry.shape(feature["geometry"])
        assert 130.5 < lonlat.centroid.x < 130.7
        assert 42.3 < lonlat.centroid.y < 42.5
        assert shapely.is_ccw(lonlat.exterior)  # RFC 7946
        back = shapely.transform(lonlat, lambda xy: np.column_stack(to_map.transform(*xy.T)))
        assert back.symmetric_difference(row.geometry).area < 0.01 * row.geometry.area
        properties = feature["properties"]
        assert set(properties) == set(COLUMNS)
        assert properties["category"] == row.category
        assert properties["length_m"] == pytest.approx(row.length_m, abs=0.006)
        np.testing.assert_allclose(properties["pixel_box"], row.pixel_box, atol=1e-3)
        assert properties["image"] == str(utm.path)
        assert properties["gsd_m"] == pytest.approx(0.5, rel=1e-3)


def test_types_go_with_their_cars_into_every_file(utm, tmp_path):
    detections = found(utm)
    assert detections.frame["car_type"].tolist() == ["unknown", None, "unknown"]  # a locomotive has none
    typed = replace(detections, frame=detections.frame.assign(car_type=["tank", None, "open"]))
    assert typed.count_by_type == {"open": 1, "covered": 0, "tank": 1, "flat_or_container": 0, "unknown": 0}
    assert sum(typed.count_by_type.values()) == typed.count
    features = json.loads(typed.write(tmp_path / "x.geojson").read_text())["features"]
    assert [one["properties"]["car_type"] for one in features] == ["tank", None, "open"]
    back = gpd.read_file(typed.write(tmp_path / "x.gpkg"))
    assert back["car_type"].fillna("").tolist() == ["tank", "", "open"]


def test_the_table_says_what_was_found(utm):
    frame = found(utm).frame
    assert list(frame["category"]) == ["freight", "locomotive", "freight"]
    assert frame.crs == utm.crs
    np.testing.assert_allclose(frame["length_m"], [14, 20, 15], rtol=2e-3)
    np.testing.assert_allclose(frame["width_m"], 3, rtol=2e-3)
    # 20 degrees clockwise from east on the image is an azimuth of 110.
    turn = (frame["azimuth_deg"] - [110, 0, 80] + 90) % 180 - 90
    np.testing.assert_allclose(turn, 0, atol=1e-3)


@pytest.mark.parametrize("suffix", [".gpkg", ".parquet", ".geoparquet"])
def test_geopackage_and_geoparquet_keep_the_crs(utm, tmp_path, suffix):
    detections = found(utm)
    path = detections.write(tmp_path / f"x{suffix}")
    back = gpd.read_file(path) if suffix == ".gpkg" else gpd.read_parquet(path)
    assert back.crs.to_epsg() == 32652
    assert set(back.columns) == {*COLUMNS, "geometry"}
    assert back.geometry.geom_equals_exact(detections.frame.geometry, 1e-6).all()
    np.testing.assert_array_equal(back["score"], detections.frame["score"])
    boxes = [json.loads(b) if isinstance(b, str) else list(b) for b in back["pixel_box"]]
    np.testing.assert_array_equal(boxes, BOXES)


@pytest.mark.parametrize("suffix", WRITERS)
def test_without_a_position_the_geometry_is_null_or_that_of_the_picture(plain, tmp_path, suffix):
    path = found(plain).write(tmp_path / f"x{suffix}")
    if suffix in {".geojson", ".json"}:
        features = json.loads(path.read_text())["features"]
        assert [f["geometry"] for f in features] == [None] * 3
        np.testing.assert_allclose([f["properties"]["pixel_box"] for f in features], BOXES)
        return
    back = gpd.read_file(path) if suffix == ".gpkg" else gpd.read_parquet(path)
    assert len(back) == 3
    assert back.crs is None or suffix == ".gpkg"
    assert list(back["category"]) == ["freight", "locomotive", "freight"]
    # x to the right, -y down: where QGIS lays a picture without a position.
    middles = back.geometry.centroid
    np.testing.assert_allclose(np.c_[middles.x, -middles.y], np.array(BOXES)[:, :2], atol=1e-6)
    np.testing.assert_allclose(back.geometry.area, np.array(BOXES)[:, 2] * np.array(BOXES)[:, 3], rtol=1e-6)


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("placed", [True, False])
def test_a_scene_without_wagons_gives_a_table_with_all_columns(utm, plain, tmp_path, suffix, placed):
    path = found(utm if placed else plain, []).write(tmp_path / f"x{suffix}")
    if suffix in {".geojson", ".json"}:
        assert json.loads(path.read_text()) == {"type": "FeatureCollection", "features": []}
        return
    back = gpd.read_file(path) if suffix == ".gpkg" else gpd.read_parquet(path)
    assert len(back) == 0
    assert set(COLUMNS) <= set(back.columns)
    if placed:
        assert back.crs.to_epsg() == 32652


@pytest.mark.parametrize("suffix", WRITERS)
def test_no_scene_at_all_gives_an_empty_file(tmp_path, suffix):
    path = write([], tmp_path / f"x{suffix}")
    assert path.is_file()


@pytest.mark.parametrize("suffix", [".gpkg", ".parquet"])
def test_images_of_two_systems_meet_in_wgs84(utm, tmp_path, suffix):
    other = scene_at(tmp_path, "web", "EPSG:3857", Affine(0.7, 0, 14_540_000, 0, -0.7, 5_220_000))
    path = write([found(utm), found(other)], tmp_path / f"x{suffix}")
    back = gpd.read_file(path) if suffix == ".gpkg" else gpd.read_parquet(path)
    assert len(back) == 6
    assert back.crs.is_geographic
    bounds = back.total_bounds
    assert 130 < bounds[0] < bounds[2] < 131
    assert 42 < bounds[1] < bounds[3] < 43
    assert back["image"].nunique() == 2


def test_images_of_one_system_keep_it(utm, tmp_path):
    more = scene_at(tmp_path, "more", "EPSG:32652", Affine(0.5, 0, 633_000, 0, -0.5, 4_698_000))
    back = gpd.read_parquet(write([found(utm), found(more)], tmp_path / "x.parquet"))
    assert back.crs.to_epsg() == 32652
    assert len(back) == 6


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("empty", [True, False])
def test_with_and_without_position_go_into_one_file(utm, plain, tmp_path, suffix, empty):
    both = [found(plain), found(utm, [] if empty else BOXES)]
    path = write(both, tmp_path / f"x{suffix}")
    if suffix in {".geojson", ".json"}:
        shapes = [f["geometry"] for f in json.loads(path.read_text())["features"]]
    else:
        back = gpd.read_file(path) if suffix == ".gpkg" else gpd.read_parquet(path)
        shapes = list(back.geometry)
        assert back.crs.to_epsg() == 32652
    assert [s is None for s in shapes] == [True] * 3 + [False] * (0 if empty else 3)


def test_an_old_file_is_replaced(utm, tmp_path):
    path = tmp_path / "x.gpkg"
    found(utm).write(path)
    found(utm, BOXES[:1]).write(path)
    assert len(gpd.read_file(path)) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["utm.tif", "x.gpkg"]


@pytest.mark.parametrize("name", ["x.shp", "x.csv", "x"])
def test_an_unknown_ending_is_refused(utm, tmp_path, name):
    with pytest.raises(InputError, match=r"use one of \.geojson"):
        found(utm).write(tmp_path / name)


def test_a_target_is_checked_before_the_work(tmp_path):
    assert check_target(str(tmp_path / "x.GeoJSON")) == tmp_path / "x.GeoJSON"
    with pytest.raises(InputError, match=r"x\.gpkg: the folder .*nowhere doesn't exist"):
        check_target(tmp_path / "nowhere" / "x.gpkg")
    (tmp_path / "folder.gpkg").mkdir()
    with pytest.raises(InputError, match=r"folder\.gpkg: is a folder"):
        check_target(tmp_path / "folder.gpkg")


@contextmanager
def files_of_at_most(size: int):
    """As if the disk had no more room than this for a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_full_disk_leaves_the_old_file(utm, tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    found(utm).write(path)
    before = path.read_bytes()
    many = found(utm, BOXES * 200, category=[0] * 600)
    with files_of_at_most(4096), pytest.raises(InputError, match=rf"x\{suffix}: can't be written"):
        many.write(path)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["utm.tif", f"x{suffix}"]


def test_the_count_is_of_freight_cars(utm):
    detections = found(utm, doubts=[0.4, 0.1])
    assert detections.count == 2
    assert detections.count_low <= 2 <= detections.count_high
    assert detections.interval.count == 2
    expected = CountModel().interval(np.array([0.9, 0.7]), np.array([0.4, 0.1]))
    assert detections.interval == expected


def test_a_part_of_the_wagons_has_its_own_interval(utm):
    detections = found(utm, doubts=[0.4, 0.1])
    part = detections.count_in(np.array([True, True, False]), np.array([False, True]))
    assert part == CountModel().interval(np.array([0.9]), np.array([0.1]))
    # Without knowing where the doubtful ones lie, half of the wagons have half of the doubt.
    shared = detections.count_in(np.array([True, True, False]))
    assert shared == CountModel().interval(np.array([0.9]), np.array([0.2, 0.05]))
    nothing = detections.count_in(np.zeros(3, bool), np.zeros(2, bool))
    assert (nothing.count, nothing.low) == (0, 0)


def test_a_doubtful_picture_has_a_wider_interval(utm):
    boxes = BOXES * 8
    usual = found(utm, boxes, category=[0] * 24)
    wide = replace(usual, widening=2.0)
    assert wide.count == usual.count
    assert wide.count_high - wide.count_low > usual.count_high - usual.count_low


def test_a_coach_that_may_be_a_freight_car_widens_the_interval(utm):
    sure, unsure = found(utm), found(utm)
    assert (unsure.frame["category"] == "locomotive").any()
    doubt = np.where(unsure.frame["category"] == "freight", 1.0, 0.4)
    unsure = replace(unsure, frame=unsure.frame.assign(freight_score=doubt))
    assert unsure.count == sure.count
    assert unsure.count_high >= sure.count_high
    everything = np.ones(len(sure.frame), bool)
    wide, narrow = (
        d.count_model.moments(d.frame["score"] * d.frame["freight_score"]) for d in (unsure, sure)
    )
    assert wide[1] > narrow[1]
    assert unsure.count_in(everything).count == sure.count
