"""Each fault gets one sentence that names the file."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio.shutil
from affine import Affine
from geo_images import EAST, NORTH, UTM, placed, texture, write

from geo import SceneError, Stretch, TileGrid, open_scene, tiles

WEB_SERVICE = """<GDAL_WMS><Service name="TMS"><ServerUrl>http://127.0.0.1:9/${z}/${x}/${y}.png</ServerUrl></Service>
<DataWindow><UpperLeftX>-20037508.34</UpperLeftX><UpperLeftY>20037508.34</UpperLeftY>
<LowerRightX>20037508.34</LowerRightX><LowerRightY>-20037508.34</LowerRightY><TileLevel>18</TileLevel>
<TileCountX>1</TileCountX><TileCountY>1</TileCountY></DataWindow><Projection>EPSG:3857</Projection>
<BandsCount>3</BandsCount></GDAL_WMS>"""


def read_all(path: Path, **options: Any) -> int:
    scene = open_scene(path, **options)
    return sum(1 for _ in tiles(scene, TileGrid.over(scene)))


def fault(path: Path, **options: Any) -> str:
    """What opening and reading a file says, checked to be one sentence about that file."""
    with pytest.raises(SceneError) as caught:
        read_all(path, **options)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert not message.endswith(".")
    return message.removeprefix(f"{path}: ")


def test_a_sentinel2_product_is_said_to_be_one(tmp_path: Path) -> None:
    name = "S2A_MSIL2A_20231005T020651_N0509_R003_T52TFN_20231005T060402"
    (tmp_path / f"{name}.SAFE").mkdir()
    (tmp_path / f"{name}.zip").write_bytes(b"PK")
    for path in (tmp_path / f"{name}.SAFE", tmp_path / f"{name}.zip"):
        assert fault(path).startswith("is a whole Sentinel-2 product and no image")
        assert "railwatch run" in fault(path)
    (tmp_path / f"{name}.tif").write_bytes(b"no image")  # a picture made of one, broken
    assert "Sentinel-2" not in fault(tmp_path / f"{name}.tif")


def test_files_that_are_not_images(tmp_path: Path) -> None:
    assert fault(tmp_path / "missing.tif") == "there is no such file"
    assert fault(tmp_path) == "is a folder, not an image"
    (tmp_path / "empty.tif").touch()
    assert fault(tmp_path / "empty.tif") == "the file is empty"
    (tmp_path / "text.tif").write_text("not an image")
    assert "can't be read as an image" in fault(tmp_path / "text.tif")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.txt", "hello")
    assert "can't be read as an image" in fault(tmp_path / "x.zip")


def test_descriptions_of_web_services_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "basemap.tif").write_text(WEB_SERVICE)
    assert "describes a service" in fault(tmp_path / "basemap.tif")


@pytest.mark.parametrize(
    ("name", "driver", "profile"),
    [
        ("strips.tif", "GTiff", placed()),
        (
            "tiles.tif",
            "GTiff",
            {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate", **placed()},
        ),
        ("x.png", "PNG", {}),
        ("x.jpg", "JPEG", {}),
    ],
)
def test_a_file_cut_short(tmp_path: Path, name: str, driver: str, profile: dict[str, Any]) -> None:
    path = write(tmp_path / name, texture(200, 150), driver=driver, **profile)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert "cut short or damaged" in fault(path, gsd_m=0.5)
    path.write_bytes(content[:6])
    assert "cut short, damaged" in fault(path, gsd_m=0.5)


def test_damage_in_a_late_block_is_found_when_it_is_read(tmp_path: Path) -> None:
    storage = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
    path = write(tmp_path / "x.tif", texture(320, 64, 1), **storage, **placed())
    content = bytearray(path.read_bytes())
    content[-500:-100] = bytes(400)
    path.write_bytes(content)
    scene = open_scene(path, stretch=Stretch.identity())
    grid = TileGrid.over(scene, core_px=64, halo_px=0)
    reading = tiles(scene, grid, ahead=1)
    assert next(reading).index == 0
    with pytest.raises(SceneError, match="cut short or damaged"):
        list(reading)


def test_a_vrt_whose_file_is_gone(tmp_path: Path) -> None:
    part = write(tmp_path / "part.tif", texture(20, 20), **placed())
    rasterio.shutil.copy(part, tmp_path / "whole.vrt", driver="VRT")
    part.unlink()
    assert "a file that it refers to is missing" in fault(tmp_path / "whole.vrt")


def test_no_position_and_no_resolution(tmp_path: Path) -> None:
    path = write(tmp_path / "x.png", texture(20, 20), driver="PNG")
    assert "has no position" in fault(path)
    assert "--gsd" in fault(path)
    path.with_suffix(".pgw").write_text(f"0.5\n0\n0\n-0.5\n{EAST}\n{NORTH}\n")
    assert "world file but no coordinate reference system" in fault(path)
    path.with_suffix(".prj").write_text("no CRS at all")
    assert "can't be understood" in fault(path)


@pytest.mark.parametrize("gsd_m", [0.0, -0.5, math.nan, math.inf])
def test_a_resolution_of_nonsense(tmp_path: Path, gsd_m: float) -> None:
    path = write(tmp_path / "x.png", texture(20, 20), driver="PNG")
    assert "makes no sense" in fault(path, gsd_m=gsd_m)


@pytest.mark.parametrize(
    "transform",
    [Affine(0.5, 0, EAST, 0, 0, NORTH), Affine(0.5, 0, EAST, 1.0, 0, NORTH)],
    ids=["flat", "line"],
)
def test_pixels_without_a_size(tmp_path: Path, transform: Affine) -> None:
    assert "pixels of no size" in fault(
        write(tmp_path / "x.tif", texture(20, 20), crs=UTM, transform=transform)
    )


def test_a_place_outside_the_map(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tif", texture(20, 20), crs=UTM, transform=Affine(1, 0, 1e13, 0, -1, 1e13))
    assert "outside the domain" in fault(path)


@pytest.mark.parametrize("bands", [1, 3])
def test_nothing_valid(tmp_path: Path, bands: int) -> None:
    path = write(tmp_path / "x.tif", np.zeros((bands, 40, 40), "uint8"), nodata=0, **placed())
    assert "no valid pixel" in fault(path)
    assert "no valid pixel" in fault(path, stretch=Stretch.identity())


def test_complex_numbers(tmp_path: Path) -> None:
    assert "complex" in fault(write(tmp_path / "x.tif", texture(20, 20, dtype="complex64"), **placed()))


def test_alpha_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.vrt"
    write(tmp_path / "part.tif", texture(20, 20, 1), **placed())
    rasterio.shutil.copy(tmp_path / "part.tif", path, driver="VRT")
    path.write_text(path.read_text().replace("<ColorInterp>Gray", "<ColorInterp>Alpha"))
    assert "only an alpha band" in fault(path)


def test_a_container_of_images(tmp_path: Path) -> None:
    path = tmp_path / "x.gpkg"
    write(path, texture(20, 20), driver="GPKG", RASTER_TABLE="one", **placed())
    write(path, texture(20, 20), driver="GPKG", RASTER_TABLE="two", APPEND_SUBDATASET="YES", **placed())
    assert "holds 2 images inside" in fault(path)


def test_arguments_that_do_not_fit(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tif", texture(20, 20), **placed())
    for bands in ([1, 2], [0], [1, 2, 4], []):
        assert "give one or three of 1 to 3" in fault(path, bands=bands)
    assert "doesn't fit 3" in fault(path, stretch=Stretch((0.0, 0.0), (1.0, 1.0)))
    assert "can't be understood" in fault(path, crs="EPSG:0")
