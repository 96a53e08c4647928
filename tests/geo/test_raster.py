"""Pixels and places that lie about themselves: each kind with its right value."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from geo_images import EAST, NORTH, UTM, placed, texture, write
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS

from aoi.geodesy import datum_doubt
from geo import Scene, SceneError, TileGrid, open_scene, tiles, valid_fraction
from geo.image_files import foreign_format, images_at, parse_crs
from geo.orientation import upright
from geo.raster_source import is_mask

# ---- coordinate reference systems ------------------------------------------------------------------

BRITISH = "+proj=tmerc +lat_0=49 +lon_0=-2 +k=0.9996012717 +x_0=400000 +y_0=-100000 "
AIRY = "+ellps=airy +units=m"


def british(path: Path, crs: str) -> Scene:
    return open_scene(
        write(path, texture(20, 20), crs=crs, transform=Affine(0.5, 0, 532_414, 0, -0.5, 132_379))
    )


@pytest.mark.parametrize(
    ("crs", "error_m"),
    [
        ("EPSG:27700", None),
        (f"{BRITISH} +towgs84=446.448,-125.157,542.06,0.15,0.247,0.842,-20.489 {AIRY}", None),
        (f"{BRITISH} {AIRY}", 128),
        (f"{BRITISH} +towgs84=0,0,0 {AIRY}", 128),
        (f"{BRITISH} +ellps=WGS84 +units=m", 2),
    ],
)
def test_how_far_a_place_may_be_off_is_told(tmp_path: Path, crs: str, error_m: float | None) -> None:
    scene = british(tmp_path / "x.tif", crs)
    if error_m is None:
        assert (scene.datum, scene.warnings) == (None, ())
        return
    assert scene.datum is not None
    assert scene.datum.error_m == pytest.approx(error_m, abs=1)
    assert scene.datum.tolerable == (error_m < 30)
    assert scene.warnings == (scene.datum.sentence,)
    assert f"by up to {error_m} m" in scene.datum.sentence


def test_common_systems_are_no_doubt(tmp_path: Path) -> None:
    for number, (crs, x, y) in enumerate(
        ((UTM, EAST, NORTH), ("EPSG:3857", 14_539_000.0, 5_219_000.0), ("EPSG:5186", 200_000.0, 600_000.0))
    ):
        path = write(tmp_path / f"{number}.tif", texture(9, 9), crs=crs, transform=Affine(1, 0, x, 0, -1, y))
        assert open_scene(path).datum is None


def test_a_datum_whose_shift_nobody_publishes_is_a_guess(tmp_path: Path) -> None:
    """PROJ knows no shift for Beijing 1954 in northern China, and silently takes it for WGS84."""
    place = Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)
    scene = open_scene(write(tmp_path / "x.tif", texture(9, 9), crs="EPSG:2436", transform=place))
    assert scene.datum is not None
    assert "Beijing 1954" in scene.datum.sentence


def test_a_grid_that_is_not_there_is_named() -> None:
    crs = CRS.from_proj4(f"{BRITISH} +nadgrids=@no_such_grid.gsb {AIRY}")
    doubt = datum_doubt(crs, 532_414, 132_379)
    assert doubt is not None
    assert "names the grid no_such_grid.gsb, which isn't installed" in doubt.sentence
    assert not doubt.tolerable


def test_a_local_system_is_no_place(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.tif",
        texture(9, 9),
        crs='LOCAL_CS["site",UNIT["metre",1]]',
        transform=Affine(1, 0, 5, 0, -1, 5),
    )
    with pytest.raises(SceneError, match="local coordinate reference system"):
        open_scene(path)
    assert not open_scene(path, gsd_m=0.5).georeferenced


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        "EPSG:32652",
        "32652\n",
        "urn:ogc:def:crs:EPSG::32652",
        "+proj=utm +zone=52 +datum=WGS84 +units=m +no_defs",
        'PROJCS["WGS_1984_UTM_Zone_52N",GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984",SPHEROID["WGS_1984",6378137.0,'
        '298.257223563]],PRIMEM["Greenwich",0.0],UNIT["Degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"]'
        ',PARAMETER["False_Easting",500000.0],PARAMETER["False_Northing",0.0],PARAMETER["Central_Meridian",129.0],'
        'PARAMETER["Scale_Factor",0.9996],PARAMETER["Latitude_Of_Origin",0.0],UNIT["Meter",1.0]]',
        "Projection    UTM\nZone          52\nDatum         WGS84\nUnits         METERS\n",
    ],
)
def test_side_files_in_any_dialect_and_case(tmp_path: Path, text: str, upper: bool) -> None:
    name = "YARD.JPG" if upper else "yard.jpg"
    path = write(tmp_path / name, texture(20, 20), driver="JPEG")
    path.with_suffix(".JGW" if upper else ".jgw").write_text(f"0.5\n0\n0\n-0.5\n{EAST}\n{NORTH}\n")
    path.with_suffix(".PRJ" if upper else ".prj").write_text(text)
    scene = open_scene(path)
    assert scene.georeferenced
    (x, y), (east, north) = scene.pixel_to_map([(0.5, 0.5)])[0], (EAST, NORTH)
    assert (x, y) == pytest.approx((east, north))
    assert scene.datum is None
    assert parse_crs(text).to_epsg() in (32652, None)


@pytest.mark.parametrize("coding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_side_files_in_any_coding_and_with_a_line_end_of_one_byte(
    tmp_path: Path, coding: str, end: bytes
) -> None:
    path = write(tmp_path / "yard.jpg", texture(20, 20), driver="JPEG")
    path.with_suffix(".jgw").write_text(f"0.5\n0\n0\n-0.5\n{EAST}\n{NORTH}\n")
    text = CRS.from_epsg(32652).to_wkt("WKT1_ESRI").replace("WGS_1984_UTM", "Zürich")
    path.with_suffix(".prj").write_bytes(text.encode(coding) + end)
    scene = open_scene(path)
    assert scene.georeferenced
    assert "Zürich" in scene.crs.to_wkt()


# ---- pixels ----------------------------------------------------------------------------------------


def near_infrared(rgb: np.ndarray, kind: str) -> np.ndarray:
    if kind == "stretched":
        return np.clip(rgb[0].astype(int) * 2 - 60, 0, 255).astype(np.uint8)
    return np.clip(0.9 * rgb[0].astype(float) - 45, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("driver", ["GTiff", "PNG"])
@pytest.mark.parametrize("kind", ["stretched", "dark"])
def test_near_infrared_that_is_called_alpha_hides_nothing(tmp_path: Path, kind: str, driver: str) -> None:
    rgb = texture(120, 100)
    numbers = np.concatenate([rgb, near_infrared(rgb, kind)[None]])
    profile = placed() if driver == "GTiff" else {}
    scene = open_scene(write(tmp_path / "x.tif", numbers, driver=driver, **profile), gsd_m=0.5)
    image, valid = scene.read()
    assert valid.all()
    np.testing.assert_array_equal(image.transpose(2, 0, 1), rgb)
    assert scene.bands == (1, 2, 3)


def test_an_alpha_band_still_hides(tmp_path: Path) -> None:
    alpha = np.full((1, 120, 100), 255, np.uint8)
    alpha[0, :, :40] = 0
    alpha[0, :, 40] = 130  # the soft rim of a turned image
    scene = open_scene(write(tmp_path / "x.tif", np.concatenate([texture(120, 100), alpha]), **placed()))
    assert valid_fraction(scene) == pytest.approx(0.6, abs=0.011)
    assert not scene.read()[1][:, :40].any()


@given(st.integers(0, 255), st.floats(0, 1), st.integers(0, 3))
def test_two_numbers_are_a_mask(most: int, share: float, rims: int) -> None:
    sample = np.where(np.arange(1000) < 1000 * share, 0, most).astype(np.uint8)
    sample[:rims] = most // 2  # of a turned image
    assert is_mask(sample)


def black_wagons(size: int = 400) -> np.ndarray:
    """Ground at 0.5 m with black wagons of 14 m by 3 m, five rows side by side, specks, and no border."""
    image = texture(size, size, seed=3)
    for row in range(5):
        for wagon in range(10):
            top, left = 100 + row * 10, 40 + wagon * 31
            image[:, top : top + 7, left : left + 28] = 0
    image[:, 300, 5:9] = 0
    return image


def test_black_wagons_are_no_missing_ground(tmp_path: Path) -> None:
    image = black_wagons()
    plain = open_scene(write(tmp_path / "plain.tif", image, **placed()))
    tagged = open_scene(write(tmp_path / "tagged.tif", image, nodata=0, **placed()))
    assert tagged.read()[1].all()
    np.testing.assert_array_equal(tagged.read()[0], plain.read()[0])
    assert valid_fraction(tagged) == 1.0


def test_a_border_is_missing_ground_and_the_wagons_beside_it_are_not(tmp_path: Path) -> None:
    image = black_wagons()
    image[:, :, :20] = 0  # a strip of 10 m along the western edge
    image[:, 350:, 300:] = 0  # a corner
    image[:, 200:260, 200:260] = 0  # a gap of 30 m
    _, valid = open_scene(write(tmp_path / "x.tif", image, nodata=0, **placed())).read()
    assert not valid[:, :20].any()
    assert not valid[350:, 300:].any()
    assert not valid[200:260, 200:260].any()
    assert valid[100:180, 40:].all()


@given(st.integers(0, 330), st.integers(0, 330), st.integers(1, 70), st.integers(1, 70))
def test_what_is_missing_does_not_depend_on_the_window(x: int, y: int, width: int, height: int) -> None:
    scene, valid = WINDOWS[0]
    x1, y1 = min(x + width, scene.width), min(y + height, scene.height)
    with scene.open_pixels() as reader:
        np.testing.assert_array_equal(reader.read((x, y, x1, y1))[1], valid[y:y1, x:x1])


WINDOWS: list[tuple[Scene, np.ndarray]] = []


@pytest.fixture(scope="module", autouse=True)
def _scene_with_gaps(tmp_path_factory: pytest.TempPathFactory) -> None:
    rng = np.random.default_rng(5)
    image = texture(340, 340, seed=4)
    for _ in range(25):
        left, top, width, height = rng.integers((0, 0, 3, 3), (330, 330, 120, 120))
        image[:, top : top + height, left : left + width] = 0
    scene = open_scene(write(tmp_path_factory.mktemp("gaps") / "x.tif", image, nodata=0, **placed()))
    WINDOWS.append((scene, scene.read()[1]))


@pytest.mark.parametrize("driver", ["ENVI", "EHdr"])
def test_raw_numbers_cut_short_are_refused(tmp_path: Path, driver: str) -> None:
    name = "x.img" if driver == "ENVI" else "x.bil"
    path = write(tmp_path / name, texture(100, 90), driver=driver, **placed())
    assert open_scene(path).count == 3
    path.write_bytes(path.read_bytes()[:12_000])
    with pytest.raises(SceneError, match=r"cut short or damaged: it holds less than its header x\.hdr says"):
        open_scene(path)


# ---- storage ---------------------------------------------------------------------------------------


def stored(path: Path, image: np.ndarray, way: int) -> Path:
    """The same ground in one of the eight ways of storing a raster."""
    transform = Affine(0.5, 0, EAST, 0, -0.5, NORTH)
    height, width = image.shape[1:]
    if way & 1:
        image, transform = image[:, :, ::-1], transform @ Affine(-1, 0, width, 0, 1, 0)
    if way & 2:
        image, transform = image[:, ::-1], transform @ Affine(1, 0, 0, 0, -1, height)
    if way & 4:
        image, transform = image.swapaxes(1, 2), transform @ Affine(0, 1, 0, 1, 0, 0)
    return write(path, np.ascontiguousarray(image), crs=UTM, transform=transform)


@pytest.mark.parametrize("way", range(8))
def test_all_eight_ways_of_storage_show_one_picture(tmp_path: Path, way: int) -> None:
    image = texture(90, 130)
    scene = open_scene(stored(tmp_path / "x.tif", image, way))
    view = upright(scene)
    assert (view.scene.width, view.scene.height) == (130, 90)
    np.testing.assert_array_equal(view.scene.read()[0].transpose(2, 0, 1), image)
    (tile,) = tiles(view.scene, TileGrid.over(view.scene))
    assert tile.image[..., 0].any()
    # A box of the upright picture lies on the same ground in the stored one.
    boxes = np.array([[40.0, 20.0, 28.0, 6.0, 30.0]])
    (x, y), (east, north) = view.stored_boxes(boxes)[0, :2], view.scene.pixel_to_map(boxes[:, :2])[0]
    assert scene.pixel_to_map([(x, y)])[0] == pytest.approx((east, north))
    ends = boxes[0, :2] + 14 * np.array([np.cos(np.radians(30)), np.sin(np.radians(30))])
    angle = np.radians(view.stored_boxes(boxes)[0, 4])
    along = scene.pixel_to_map([(x, y)])[0] - view.scene.pixel_to_map([ends])[0]
    back = (
        scene.pixel_to_map([(x + 14 * np.cos(angle), y + 14 * np.sin(angle))])[0]
        - scene.pixel_to_map([(x, y)])[0]
    )
    assert abs(float(along @ back)) == pytest.approx(49.0)
    assert upright(view.scene).scene is view.scene


# ---- containers ------------------------------------------------------------------------------------


def test_an_image_in_a_zip_is_read_where_it_lies(tmp_path: Path) -> None:
    plain = write(tmp_path / "visual.tif", texture(50, 60), **placed())
    with zipfile.ZipFile(tmp_path / "order.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(plain, "files/20250918_103700_ssc4_visual.tif")
        archive.writestr("readme.txt", "x")
    (path,) = images_at(tmp_path / "order.zip")
    assert path == tmp_path / "order.zip" / "files" / "20250918_103700_ssc4_visual.tif"
    for named in (path, tmp_path / "order.zip"):
        scene = open_scene(named)
        assert scene.path == path
        np.testing.assert_array_equal(scene.read()[0], open_scene(plain).read()[0])
        assert (scene.sensor, str(scene.datetime)) == ("SkySat", "2025-09-18 10:37:00+00:00")
        assert scene.sha256() == open_scene(plain).sha256()
    shutil.copy(plain, tmp_path / "more.tif")
    with zipfile.ZipFile(tmp_path / "order.zip", "a") as archive:
        archive.write(plain, "second.tif")
    with pytest.raises(SceneError, match="holds 2 images: name one of them"):
        open_scene(tmp_path / "order.zip")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.ecw", "ECW"),
        ("a.SID", "MrSID"),
        ("a.kmz", "KMZ"),
        ("a.heic", "HEIC"),
        ("a.hdr", "header (.hdr) without its data file"),
        ("a.jxl", "JPEG XL"),
        ("a.nc", "netCDF"),
        ("a.7z", "7-Zip"),
        ("a.pdf", "PDF"),
    ],
)
def test_formats_that_are_not_read_are_named_with_the_way_out(tmp_path: Path, name: str, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"x" * 100)
    assert list(images_at(path)) == [path]
    with pytest.raises(SceneError) as caught:
        open_scene(path)
    assert words in str(caught.value)
    assert ": " in (foreign_format(path) or "")


def test_what_is_an_image_in_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "raster.gpkg", texture(20, 20), driver="GPKG", **placed())
    write(tmp_path / "a.bmp", texture(20, 20), driver="BMP")
    write(tmp_path / "b.dat", texture(20, 20), driver="ENVI", **placed())
    write(tmp_path / "c", texture(20, 20), driver="ENVI", **placed())
    (tmp_path / "DIM_PHR1A_PMS_202509181037000_ORT_1.XML").write_text("<x/>")
    (tmp_path / "other.xml").write_text("<x/>")
    (tmp_path / "d.dat").write_text("1 2 3")
    (tmp_path / "notes.txt").write_text("x")
    found = sorted(one.name for path in tmp_path.iterdir() for one in images_at(path))
    assert found == ["DIM_PHR1A_PMS_202509181037000_ORT_1.XML", "a.bmp", "b.dat", "c", "raster.gpkg"]
    for name in ("raster.gpkg", "b.dat", "c"):
        assert open_scene(tmp_path / name).georeferenced


def test_an_item_beside_an_image_tells_its_time(tmp_path: Path) -> None:
    path = write(tmp_path / "1030010052208D00-visual.tif", texture(20, 20), **placed())
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "10/120020223023/1030010052208D00",
        "properties": {"datetime": "2025-09-18T10:37:00Z", "platform": "WV02"},
        "assets": {"visual": {"href": ".\\1030010052208D00-visual.tif"}},
    }
    beside = tmp_path / "1030010052208D00.json"
    beside.write_text(json.dumps(item))
    scene = open_scene(path)
    assert (str(scene.datetime), scene.sensor) == ("2025-09-18 10:37:00+00:00", "WV02")
    item["properties"] = {"datetime": None, "start_datetime": "2025-07-01", "end_datetime": "2025-09-30"}
    beside.write_text(json.dumps(item))
    scene = open_scene(path)
    assert scene.datetime is None
    assert "taken over a time (2025-07-01 to 2025-09-30)" in (scene.time_fault or "")
    item["assets"] = {}
    beside.write_text(json.dumps(item))
    assert (open_scene(path).datetime, open_scene(path).time_fault) == (None, None)


def test_a_block_is_decoded_once_and_read_without_its_place(tmp_path: Path) -> None:
    image = texture(512, 512)
    path = write(tmp_path / "x.tif", image, **placed(), tiled=True, compress="deflate")
    scene = open_scene(path)
    with scene.open_pixels() as reader:
        before, _ = reader.read((0, 0, 200, 200))
        path.write_bytes(bytes(path.stat().st_size))
        after, _ = reader.read((56, 0, 256, 200))
        with pytest.raises(SceneError, match="cut short or damaged"):
            reader.read((300, 300, 400, 400))
    np.testing.assert_array_equal(before[:, :, 56:], after[:, :, :144])
    assert scene.crs == UTM
