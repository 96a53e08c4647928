from __future__ import annotations

import datetime as dt
import hashlib
import logging
import shutil
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio.shutil
import shapely
from affine import Affine
from geo_images import EAST, NORTH, UTM, placed, texture, write
from rasterio.crs import CRS

from geo import Stretch, open_scene

MERCATOR_18 = 156_543.033928 / 2**18
PALETTE = {0: (255, 0, 0, 255), 1: (0, 255, 0, 255), 2: (0, 0, 255, 255), 3: (9, 9, 9, 255)}
WORLD_FILE = f"0.5\n0\n0\n-0.5\n{EAST + 0.25}\n{NORTH - 0.25}\n"


def test_a_geotiff(tmp_path: Path) -> None:
    numbers = texture(30, 50)
    scene = open_scene(write(tmp_path / "yard_2023-10-05.tif", numbers, **placed()))
    assert (scene.width, scene.height, scene.count, scene.dtype, scene.bands) == (
        50,
        30,
        3,
        "uint8",
        (1, 2, 3),
    )
    assert scene.georeferenced
    assert scene.gsd_m == pytest.approx(0.5, rel=1e-3)
    assert scene.datetime == dt.datetime(2023, 10, 5, tzinfo=dt.UTC)
    assert scene.sensor == "unknown"
    image, valid = scene.read()
    assert (image == np.moveaxis(numbers, 0, -1)).all()
    assert valid.all()


def test_the_footprint_is_longitude_then_latitude(tmp_path: Path) -> None:
    outline = open_scene(write(tmp_path / "x.tif", texture(30, 50), **placed())).footprint()
    assert outline is not None
    west, south, east, north = outline.bounds
    assert 130.60 < west < east < 130.62
    assert 42.41 < south < north < 42.43
    assert outline.is_valid


def test_a_pixel_and_its_place(tmp_path: Path) -> None:
    scene = open_scene(write(tmp_path / "x.tif", texture(30, 50), **placed()))
    assert scene.pixel_to_map([[0, 0], [50, 30]]).tolist() == [[EAST, NORTH], [EAST + 25, NORTH - 15]]
    assert scene.map_to_pixel([[EAST + 25, NORTH - 15]]) == pytest.approx(np.array([[50, 30]]))


@pytest.mark.parametrize("driver", ["COG", "PNG", "JPEG"])
def test_other_formats_of_the_same_picture(tmp_path: Path, driver: str) -> None:
    smooth = np.tile(np.linspace(40, 200, 64).astype("uint8"), (3, 48, 1))
    position = placed() if driver == "COG" else {}
    scene = open_scene(write(tmp_path / f"x.{driver.lower()}", smooth, driver=driver, **position), gsd_m=0.5)
    assert scene.georeferenced == (driver == "COG")
    image, _ = scene.read()
    assert np.abs(image.astype(int) - np.moveaxis(smooth, 0, -1)).max() <= 6


def test_a_vrt_counts_its_files(tmp_path: Path) -> None:
    part = write(tmp_path / "part.tif", texture(30, 50), **placed())
    rasterio.shutil.copy(part, tmp_path / "whole.vrt", driver="VRT")
    scene = open_scene(tmp_path / "whole.vrt")
    assert (scene.read()[0] == open_scene(part).read()[0]).all()
    content = (tmp_path / "whole.vrt").read_bytes() + part.read_bytes()
    assert scene.sha256() == hashlib.sha256(content).hexdigest()
    # Other pixels under the same VRT are another scene.
    write(part, texture(30, 50, seed=9), **placed())
    assert open_scene(tmp_path / "whole.vrt").id != scene.id


def test_mbtiles_are_web_mercator_with_transparency(tmp_path: Path) -> None:
    size = MERCATOR_18
    place = {"crs": "EPSG:3857", "transform": Affine(size, 0, 14_539_000, 0, -size, 5_222_000)}
    numbers = np.concatenate([texture(300, 400), np.full((1, 300, 400), 255, "uint8")])
    numbers[3, :, 350:] = 0
    path = write(tmp_path / "x.mbtiles", numbers, driver="MBTiles", TILE_FORMAT="PNG", **place)
    scene = open_scene(path)
    assert scene.crs == CRS.from_epsg(3857)
    assert scene.gsd_m == pytest.approx(0.44, abs=0.002)
    assert scene.bands == (1, 2, 3)
    _, valid = scene.read()
    assert valid[:, :350].all()
    assert not valid[:, 350:].any()


def test_a_world_file_with_a_prj_beside_it(tmp_path: Path) -> None:
    path = write(tmp_path / "x.png", texture(30, 50), driver="PNG")
    path.with_suffix(".pgw").write_text(WORLD_FILE)
    path.with_suffix(".prj").write_text(pyproj.CRS(UTM).to_wkt("WKT1_ESRI"))
    scene = open_scene(path)
    assert scene.georeferenced
    assert scene.pixel_to_map([[0, 0]]).tolist() == [[EAST, NORTH]]
    assert scene.gsd_m == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("ending", [".pgw", ".wld"])
def test_a_world_file_and_a_declared_crs(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / "x.png", texture(30, 50), driver="PNG")
    path.with_suffix(ending).write_text(WORLD_FILE)
    assert open_scene(path, crs=32652).georeferenced
    # Without one nobody knows whether its numbers are metres, feet or degrees.
    scene = open_scene(path, gsd_m=0.3)
    assert not scene.georeferenced
    assert scene.gsd_xy_m == (0.3, 0.3)
    assert scene.transform == Affine.identity()
    assert scene.footprint() is None


def test_a_position_wins_over_a_given_resolution(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "x.tif", texture(30, 50), **placed())
    with caplog.at_level(logging.WARNING):
        assert open_scene(path, gsd_m=0.51).gsd_m == pytest.approx(0.5, rel=1e-3)
        assert not caplog.records
        assert open_scene(path, gsd_m=0.9).gsd_m == pytest.approx(0.5, rel=1e-3)
    assert "the position is used" in caplog.text


def test_sixteen_bits_are_stretched_and_declared_stretches_kept(tmp_path: Path) -> None:
    numbers = texture(64, 64, dtype="uint16", high=3000)
    path = write(tmp_path / "x.tif", numbers, **placed())
    image, _ = open_scene(path).read()
    assert image.min() == 0
    assert image.max() == 255
    assert 120 < image.mean() < 135
    scene = open_scene(path, stretch=Stretch.fixed(0, 6000))
    assert scene.stretch.rule == "declared"
    assert scene.read()[0].max() <= 128


def test_a_stretch_is_the_scenes_not_the_windows(tmp_path: Path) -> None:
    numbers = np.linspace(0, 4000, 100 * 80).reshape(1, 100, 80).astype("uint16")
    scene = open_scene(write(tmp_path / "x.tif", numbers, **placed()))
    whole, _ = scene.read()
    part, _ = scene.read((10, 20, 50, 60))
    assert (whole[20:60, 10:50] == part).all()


def test_a_large_scene_is_sampled_in_patches(tmp_path: Path) -> None:
    numbers = np.linspace(0, 4000, 1200 * 1500).reshape(1, 1200, 1500).astype("uint16")
    stretch = open_scene(write(tmp_path / "x.tif", numbers, tiled=True, **placed())).stretch
    assert stretch.low[0] == pytest.approx(40, abs=45)
    assert stretch.high[0] == pytest.approx(3960, abs=45)


def test_little_that_is_valid_is_found(tmp_path: Path) -> None:
    numbers = np.zeros((1, 1300, 1400), "uint16")
    numbers[0, 100:104, 90:94] = [[1000, 1100, 1200, 1300]] * 4
    scene = open_scene(write(tmp_path / "x.tif", numbers, nodata=0, **placed()))
    assert 1000 <= scene.stretch.low[0] < scene.stretch.high[0] <= 1300
    assert scene.read()[1].sum() == 16


@pytest.mark.parametrize(
    ("bands", "names", "expected"),
    [(4, ("blue", "green", "red", "nir"), (3, 2, 1)), (5, None, (1, 2, 3)), (1, None, (1,)), (2, None, (1,))],
)
def test_bands(tmp_path: Path, bands: int, names: tuple[str, ...] | None, expected: tuple[int, ...]) -> None:
    numbers = texture(20, 20, bands)
    path = write(tmp_path / "x.tif", numbers, descriptions=names, **placed())
    scene = open_scene(path)
    assert scene.bands == expected
    image, _ = scene.read()
    shown = numbers[[index - 1 for index in expected]]
    assert (image == np.moveaxis(np.broadcast_to(shown, (3, 20, 20)), 0, -1)).all()
    assert open_scene(path, bands=[1]).bands == (1,)


@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_a_palette_is_looked_up(tmp_path: Path, suffix: str) -> None:
    numbers = texture(20, 20, 1, high=4) - 1
    driver = {"tif": "GTiff", "png": "PNG"}[suffix]
    path = write(tmp_path / f"x.{suffix}", numbers, driver=driver, colours=PALETTE)
    scene = open_scene(path, gsd_m=0.5)
    assert scene.bands == (1,)
    image, valid = scene.read()
    lookup = np.array([PALETTE[index][:3] for index in range(4)])
    assert (image == lookup[numbers[0]]).all()
    assert valid.all()


def left_half_missing(numbers: np.ndarray) -> np.ndarray:
    numbers = numbers.copy()
    numbers[:, :, :10] = 0
    return numbers


def test_nodata_needs_all_bands(tmp_path: Path) -> None:
    numbers = left_half_missing(texture(20, 20))
    numbers[0, :, 15] = 0  # a pure cyan is no hole
    _, valid = open_scene(write(tmp_path / "x.tif", numbers, nodata=0, **placed())).read()
    assert not valid[:, :10].any()
    assert valid[:, 10:].all()


def test_nodata_can_be_declared_by_the_caller(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tif", left_half_missing(texture(20, 20)), **placed())
    assert open_scene(path).read()[1].all()
    scene = open_scene(path, nodata=0)
    assert scene.nodata == 0
    assert scene.read()[1].mean() == 0.5


def test_nodata_that_no_pixel_can_hold_is_harmless(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tif", texture(20, 20), **placed())
    scene = open_scene(path, nodata=-9999)
    assert scene.source.gapless
    assert scene.read()[1].all()


def test_alpha(tmp_path: Path) -> None:
    alpha = np.full((1, 20, 20), 255, "uint8")
    alpha[:, :, :10] = 0
    numbers = np.concatenate([texture(20, 20), alpha])
    scene = open_scene(write(tmp_path / "x.tif", numbers, photometric="RGB", alpha="yes", **placed()))
    assert scene.bands == (1, 2, 3)
    image, valid = scene.read()
    assert valid.mean() == 0.5
    assert (image[:, :10] == 0).all()


def test_a_mask_inside_the_file(tmp_path: Path) -> None:
    mask = np.ones((20, 20), np.bool_)
    mask[:, :10] = False
    _, valid = open_scene(write(tmp_path / "x.tif", texture(20, 20), mask=mask, **placed())).read()
    assert (valid == mask).all()


@pytest.mark.parametrize("hole", [np.nan, np.inf, -3.4e38])
@pytest.mark.parametrize("declared", [True, False])
def test_floating_point_numbers_that_are_none(tmp_path: Path, hole: float, declared: bool) -> None:
    numbers = texture(20, 20, dtype="float32") / np.float32(300)
    numbers[1, :, :10] = hole
    nodata = {"nodata": hole} if declared else {}
    scene = open_scene(write(tmp_path / "x.tif", numbers, **placed(), **nodata))
    _, valid = scene.read()
    assert valid.mean() == 0.5
    assert max(scene.stretch.high) < 1


def test_a_window_beyond_the_scene_is_padded(tmp_path: Path) -> None:
    scene = open_scene(write(tmp_path / "x.tif", texture(20, 30), **placed()))
    image, valid = scene.read((-5, -6, 40, 10))
    assert image.shape == (16, 45, 3)
    assert valid[6:, 5:35].all()
    assert valid.sum() == 10 * 30
    assert (image[6:, 5:35] == scene.read((0, 0, 30, 10))[0]).all()
    assert not scene.read((100, 100, 110, 110))[1].any()
    with pytest.raises(ValueError, match="extent"):
        scene.read((5, 5, 5, 10))


def test_a_small_picture_of_a_large_window(tmp_path: Path) -> None:
    scene = open_scene(write(tmp_path / "x.tif", texture(200, 300), **placed()))
    image, valid = scene.read((-100, 0, 300, 200), max_px=100)
    assert image.shape == (50, 100, 3)
    assert (valid[:, 25:] & True).all()
    assert not valid[:, :25].any()
    blocks = scene.read()[0].reshape(50, 4, 75, 4, 3).mean(axis=(1, 3))
    assert np.abs(image[:, 25:] - blocks).max() <= 0.51


def test_an_id_is_of_the_content_not_of_the_folder(tmp_path: Path) -> None:
    first = write(tmp_path / "yard.tif", texture(20, 20), **placed())
    for name in ("copy", "other"):
        (tmp_path / name).mkdir()
    same = Path(shutil.copy(first, tmp_path / "copy"))
    other = write(tmp_path / "other" / "yard.tif", texture(20, 20, seed=2), **placed())
    assert open_scene(first).id == open_scene(same).id
    assert open_scene(first).id != open_scene(other).id
    assert open_scene(first).id.startswith("yard-")
    # Programs that look at an image leave notes beside it.
    first.with_suffix(".tif.aux.xml").write_text("<PAMDataset></PAMDataset>")
    assert open_scene(first).id == open_scene(same).id


def test_odd_file_names(tmp_path: Path) -> None:
    path = write(tmp_path / "두만강 역 #1 (?).tif", texture(20, 20), **placed())
    scene = open_scene(path)
    assert scene.id.startswith("두만강-역-1-")
    assert scene.read()[1].all()


def test_sha256_is_the_files(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tif", texture(20, 20), **placed())
    assert open_scene(str(path)).sha256() == hashlib.sha256(path.read_bytes()).hexdigest()


def test_declared_time_and_sensor_win(tmp_path: Path) -> None:
    tags = {"TIFFTAG_DATETIME": "2023:10:05 02:10:01"}
    path = write(tmp_path / "yard_WV2_2023-10-05.tif", texture(20, 20), tags=tags, **placed())
    scene = open_scene(path)
    assert scene.datetime == dt.datetime(2023, 10, 5, 2, 10, 1, tzinfo=dt.UTC)
    assert scene.sensor == "WorldView-2"
    korea = dt.timezone(dt.timedelta(hours=9))
    scene = open_scene(path, when=dt.datetime(2024, 1, 1, 9, tzinfo=korea), sensor="drone")
    assert scene.datetime == dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    assert scene.sensor == "drone"
    assert open_scene(path, when=dt.datetime(2024, 1, 1)).datetime == dt.datetime(2024, 1, 1, tzinfo=dt.UTC)


def test_rotated_pixels_have_their_size(tmp_path: Path) -> None:
    turned = Affine.translation(EAST, NORTH) @ Affine.rotation(30) @ Affine.scale(0.5, -0.5)
    scene = open_scene(write(tmp_path / "x.tif", texture(20, 20), crs=UTM, transform=turned))
    assert scene.gsd_xy_m == pytest.approx((0.5, 0.5), rel=1e-3)
    outline = scene.footprint()
    assert outline is not None
    assert outline.envelope.area > 1.5 * outline.area


def test_a_large_image_in_strips_gets_advice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geo.opening._LARGE", 1000)
    open_scene(
        write(tmp_path / "tiles.tif", texture(64, 64), tiled=True, blockxsize=16, blockysize=16, **placed())
    )
    assert not caplog.records
    open_scene(write(tmp_path / "strips.tif", texture(64, 64), blockysize=4, **placed()))
    assert "strips.tif is stored in strips" in caplog.text
    assert "COG" in caplog.text


def test_the_real_sentinel_clip(real_imagery: Path) -> None:
    scene = open_scene(real_imagery / "sentinel2" / "clip_inn_river_2dates_rgbn.tif")
    assert scene.gsd_m == pytest.approx(10, rel=1e-3)
    outline = scene.footprint()
    assert outline is not None
    assert shapely.box(12, 47, 14, 49).contains(outline)
