"""SAFE folders and zips, old and new, and folders on AWS's pattern."""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from found_products import one, refused
from sentinel2_products import (
    area_at,
    countryside,
    numbers,
    tile_metadata_xml,
    twice,
    write_raster,
    write_safe,
)

from geo.grid import Grid
from geo.sentinel2.chip import Chip, chip_grid
from geo.sentinel2.formats.find import find_products
from geo.sentinel2.formats.product import Product

WHEN = dt.datetime(2023, 10, 5, 2, 10, 1, tzinfo=dt.UTC)
TRANSFORM = Affine(10, 0, 631_000, 0, -10, 4_698_800)
SHAPE = (120, 140)
AREA = area_at((631_500, 4_698_100, 631_900, 4_698_300))
PLANES = countryside(SHAPE)
SCL = np.where(np.arange(SHAPE[1]) < 60, 4, 5).astype(np.uint8)[None].repeat(SHAPE[0], 0)
# A number is reflectance to a ten-thousandth.
STEP = 0.51e-4


def truth(grid: Grid, plane: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The part of a plane that a grid inside it sees."""
    column = round((grid.transform.c - TRANSFORM.c) / 10)
    row = round((TRANSFORM.f - grid.transform.f) / 10)
    return plane[row : row + grid.shape[0], column : column + grid.shape[1]]


def assert_reads(product: Product, planes: dict[str, Any] = PLANES, margin_m: float = 100.0) -> Chip:
    """That the 10 m bands of a product are the planes, to the step of the numbers."""
    grid = chip_grid(AREA, margin_m)
    chip = product.read(grid)
    assert chip.shape == grid.shape
    for band in ("B02", "B03", "B04", "B08"):
        np.testing.assert_allclose(chip.band(band), truth(grid, planes[band]), atol=STEP)
    assert chip.provenance["resampled"] == []
    json.dumps(chip.provenance)
    return chip


@pytest.mark.parametrize("baseline", ["02.09", "03.01", "04.00", "05.09"])
@pytest.mark.parametrize("level", ["L1C", "L2A"])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_product_of_any_baseline(tmp_path: Path, baseline: str, level: str, zipped: bool) -> None:
    path = write_safe(
        tmp_path, PLANES, TRANSFORM, 32652, WHEN, level=level, baseline=baseline, zipped=zipped, scl=SCL
    )
    product = one(tmp_path)
    assert product.path == path
    assert (product.kind, product.level, product.baseline, product.tile) == ("SAFE", level, baseline, "52TFN")
    assert (product.platform, product.datetime, product.clock) == ("Sentinel-2A", WHEN, "datatake")
    assert product.relative_orbit == 3
    assert (product.crs.to_epsg(), product.transform, product.shape) == (32652, TRANSFORM, SHAPE)
    chip = assert_reads(product)
    assert chip.id == "S2A_20231005T021001_R003"
    assert (chip.sun_elevation_deg, chip.sun_azimuth_deg) == (41.0, 160.0)
    assert chip.bands == ("B02", "B03", "B04", "B08", "B11")
    offset = 0 if baseline < "04" else -1000
    assert chip.provenance["offset"] == dict.fromkeys(chip.bands, offset)
    assert chip.provenance["tile_sensing_time"] == "2023-10-05T02:14:01.024000+00:00"
    if level == "L1C":
        assert chip.scl is None
    else:
        assert chip.scl is not None
        np.testing.assert_array_equal(chip.scl, truth(chip_grid(AREA, 100.0), SCL))


def test_the_offset_is_the_xmls_and_not_the_dates(tmp_path: Path) -> None:
    early = dt.datetime(2016, 3, 18, 3, 15, 32, tzinfo=dt.UTC)  # reprocessed: collection 1
    write_safe(tmp_path, PLANES, TRANSFORM, 32652, early, baseline="05.00")
    assert_reads(one(tmp_path))


def test_an_offset_a_band(tmp_path: Path) -> None:
    offsets = {"B02": -1000.0, "B03": -900.0, "B04": 0.0, "B08": -400.0, "B11": -1000.0}
    write_safe(tmp_path, PLANES, TRANSFORM, 32652, WHEN, offsets=offsets, quantification=5000.0)
    product = one(tmp_path)
    grid = chip_grid(AREA, 100.0)
    for band in ("B02", "B03", "B04", "B08"):
        np.testing.assert_allclose(product.read(grid).band(band), truth(grid, PLANES[band]), atol=1.01e-4)
    assert product.provenance["offset"] == offsets
    assert product.bands["B03"].offset == pytest.approx(-0.18)


def test_no_data_and_saturation_have_no_value(tmp_path: Path) -> None:
    planes = {band: plane.copy() for band, plane in PLANES.items()}
    planes["B02"][60, 60] = np.nan
    planes["B03"][:, :70] = np.nan
    root = write_safe(tmp_path, planes, TRANSFORM, 32652, WHEN)
    (path,) = root.rglob("*_B04_10m.jp2")
    with rasterio.open(path) as image:
        red = image.read(1)
    red[61, 62] = 65535
    path.unlink()
    write_raster(path, red, TRANSFORM, 32652)
    grid = chip_grid(AREA, 100.0)
    chip = one(tmp_path).read(grid)
    assert np.isnan(truth(grid, planes["B02"])).sum() == np.isnan(chip.band("B02")).sum() == 1
    np.testing.assert_array_equal(np.isnan(chip.band("B03")), np.isnan(truth(grid, planes["B03"])))
    assert np.isnan(chip.band("B04")).sum() == 1


@pytest.mark.parametrize("inside", ["", "delivery", "a/b/c"])
def test_a_zip_may_hold_the_product_at_any_depth(tmp_path: Path, inside: str) -> None:
    path = write_safe(tmp_path, PLANES, TRANSFORM, 32652, WHEN, zipped=True, inside=inside)
    renamed = path.rename(tmp_path / "order {7}.zip")
    product = one(renamed)
    assert (product.path, product.files) == (renamed, (renamed,))
    assert_reads(product)


def test_a_zip_of_several_products(tmp_path: Path) -> None:
    for tile in ("52TFM", "52TFN"):
        write_safe(tmp_path / "in", PLANES, TRANSFORM, 32652, WHEN, tile=tile)
    packed = tmp_path / "both.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for file in sorted((tmp_path / "in").rglob("*.*")):
            if file.is_file():
                archive.write(file, file.relative_to(tmp_path / "in"))
    products, refusals = find_products([packed])
    assert refusals == []
    assert [product.tile for product in products] == ["52TFM", "52TFN"]
    assert len({product.part for product in products}) == 2
    for product in products:
        assert_reads(product)


def test_old_products_have_a_granule_a_tile(tmp_path: Path) -> None:
    write_safe(
        tmp_path, PLANES, TRANSFORM, 32652, WHEN, level="L1C", baseline="02.01", old=True, tile="52TFN"
    )
    (root,) = tmp_path.glob("*.SAFE")
    assert root.name.startswith("S2A_OPER_PRD_MSIL1C_PDMC_")
    (granule,) = (root / "GRANULE").iterdir()
    twin = root / "GRANULE" / granule.name.replace("52TFN", "52TFM")
    shutil.copytree(granule, twin)
    for file in [*twin.rglob("*.jp2"), *twin.glob("*.xml")]:
        file.rename(file.with_name(file.name.replace("52TFN", "52TFM")))
    products, refusals = find_products([tmp_path])
    assert refusals == []
    assert [product.tile for product in products] == ["52TFM", "52TFN"]
    assert {product.baseline for product in products} == {"02.01"}
    for product in products:
        chip = assert_reads(product)
        assert chip.sun_elevation_deg == 41.0


def test_a_cropped_product_of_geotiffs_called_jp2(tmp_path: Path) -> None:
    bare = {band: PLANES[band] for band in ("B02", "B03", "B04", "B08")}
    write_safe(tmp_path, bare, TRANSFORM, 32652, WHEN, level="L1C", baseline="05.00", driver="GTiff")
    chip = assert_reads(one(tmp_path))
    assert chip.bands == ("B02", "B03", "B04", "B08")


def test_without_the_granules_xml_only_the_sun_is_missing(tmp_path: Path) -> None:
    write_safe(tmp_path / "a", PLANES, TRANSFORM, 32652, WHEN, sun=None)
    root = write_safe(tmp_path / "b", PLANES, TRANSFORM, 32652, WHEN)
    next(root.rglob("MTD_TL.xml")).write_text("<broken", encoding="utf-8")
    products, refusals = find_products([tmp_path])
    assert refusals == []
    for product, said in zip(products, ("missing", "can't be read"), strict=True):
        chip = assert_reads(product)
        assert chip.sun_elevation_deg is chip.sun_azimuth_deg is None
        assert said in chip.provenance["decisions"][0]


def test_b11_is_smooth_and_the_20_m_classes_are_not(tmp_path: Path) -> None:
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    planes = {**PLANES, "B11": (0.1 + 0.001 * rows + 0.002 * columns).astype(np.float32)}
    scl = ((rows // 2 * 7 + columns // 2) % 11 + 1).astype(np.uint8)
    write_safe(tmp_path, planes, TRANSFORM, 32652, WHEN, scl=scl)
    grid = chip_grid(AREA, 100.0)
    chip = one(tmp_path).read(grid)
    np.testing.assert_allclose(chip.band("B11"), truth(grid, planes["B11"]), atol=2e-4)
    assert chip.scl is not None
    np.testing.assert_array_equal(chip.scl, truth(grid, scl))


def test_only_coarse_bands_are_not_enough(tmp_path: Path) -> None:
    root = write_safe(tmp_path, PLANES, TRANSFORM, 32652, WHEN)
    (folder,) = root.rglob("R10m")
    folder.rename(folder.with_name("R60m"))
    for file in root.rglob("*_10m.jp2"):
        file.rename(file.with_name(file.name.replace("10m", "60m")))
    assert "lacks the bands B02, B03, B04 and B08" in refused(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        ("no xml", "its XML .* is missing"),
        ("no images", "holds no images, only metadata .*offset -1000"),
        ("no red", "lacks the band B04"),
        ("bad xml", "MTD_MSIL2A.xml: isn't well-formed"),
        ("damaged image", "B04 can't be read"),
        ("picture", "8-bit picture"),
        ("coarse", "pixels of 20 m"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(tmp_path: Path, spoil: str, reason: str) -> None:
    root = write_safe(tmp_path, PLANES, TRANSFORM, 32652, WHEN)
    (red,) = root.rglob("*_B04_10m.jp2")
    if spoil == "no xml":
        (root / "MTD_MSIL2A.xml").unlink()
    elif spoil == "no images":
        shutil.rmtree(next(root.rglob("IMG_DATA")))
    elif spoil == "no red":
        red.unlink()
    elif spoil == "bad xml":
        (root / "MTD_MSIL2A.xml").write_bytes((root / "MTD_MSIL2A.xml").read_bytes()[:2000])
    elif spoil == "damaged image":
        red.write_bytes(b"not an image")
    elif spoil == "picture":
        write_raster(red, np.ones(SHAPE, np.uint8), TRANSFORM, 32652, driver="GTiff")
    elif spoil == "coarse":
        write_raster(red, np.ones(SHAPE, np.uint16), twice(TRANSFORM), 32652, driver="GTiff")
    assert re.search(reason, refused(tmp_path))


def test_some_offsets_are_not_enough(tmp_path: Path) -> None:
    offsets = {"B02": -1000.0, "B03": -1000.0, "B04": -1000.0, "B11": -1000.0}
    root = write_safe(tmp_path, PLANES, TRANSFORM, 32652, WHEN, offsets={**offsets, "B08": -1000.0})
    xml = root / "MTD_MSIL2A.xml"
    text = xml.read_text(encoding="utf-8")
    xml.write_text(text.replace('<BOA_ADD_OFFSET band_id="7">-1000</BOA_ADD_OFFSET>', ""), encoding="utf-8")
    assert "none for B08" in refused(tmp_path)


@pytest.mark.parametrize("removed", [True, False])
def test_a_modern_product_without_offsets_is_held_against_its_pixels(tmp_path: Path, removed: bool) -> None:
    offset = 0.0 if removed else -1000.0
    root = write_safe(tmp_path, PLANES, TRANSFORM, 32652, WHEN, offsets=offset)
    xml = root / "MTD_MSIL2A.xml"
    head, _, tail = xml.read_text(encoding="utf-8").partition("<BOA_ADD_OFFSET_VALUES_LIST>")
    xml.write_text(head + tail.partition("</BOA_ADD_OFFSET_VALUES_LIST>")[2], encoding="utf-8")
    if removed:
        chip = assert_reads(one(tmp_path))
        assert "darkest hundredth" in chip.provenance["decisions"][0]
    else:
        assert "lists no offsets" in refused(tmp_path)


@pytest.mark.parametrize("fault", ["cut", "garbage", "damaged inside", "password"])
def test_bad_zips(tmp_path: Path, fault: str) -> None:
    path = write_safe(tmp_path, PLANES, TRANSFORM, 32652, WHEN, zipped=True)
    content = bytearray(path.read_bytes())
    if fault == "cut":
        del content[len(content) // 2 :]
    elif fault == "garbage":
        content[:] = b"PK\x03\x04" + bytes(100)
    elif fault == "damaged inside":
        with zipfile.ZipFile(path) as archive:
            (xml,) = [entry for entry in archive.infolist() if entry.filename.endswith("MTD_MSIL2A.xml")]
        start = xml.header_offset + 30 + len(xml.filename) + 40
        content[start : start + 200] = bytes(200)
    else:
        content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert ("password" if fault == "password" else "zip") in refused(path)


def test_a_zip_in_a_zip_has_to_be_unpacked(tmp_path: Path) -> None:
    path = write_safe(tmp_path / "in", PLANES, TRANSFORM, 32652, WHEN, zipped=True)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(path, path.name)
    assert "unpack the outer one" in refused(tmp_path / "all.zip")


def write_aws(folder: Path, *, baseline: str, layout: str, named: str | None = None) -> Path:
    """A folder as in the buckets sentinel-s2-l1c and sentinel-s2-l2a."""
    level = "L1C" if layout == "flat" else "L2A"
    offset = 0.0 if baseline < "04" else -1000.0
    for band in ("B02", "B03", "B04", "B08"):
        place = folder if layout == "flat" else folder / "R10m"
        write_raster(place / f"{band}.jp2", numbers(PLANES[band], offset=offset), TRANSFORM, 32652)
    tile_id = f"S2B_OPER_MSI_{level}_TL_2BPS_20231005T061601_A034000_T52TFN_N{baseline}"
    (folder / "metadata.xml").write_text(
        tile_metadata_xml(
            level=level,
            tile_id=tile_id,
            seen=WHEN,
            crs=32652,
            transform=TRANSFORM,
            shape=SHAPE,
            sun=(41, 160),
        ),
        encoding="utf-8",
    )
    number = (named or baseline).replace(".", "")
    name = f"S2B_MSI{level}_20231005T021001_N{number}_R003_T52TFN_20231005T061601"
    path = f"products/2023/10/5/{name}/datastrip/0"
    (folder / "tileInfo.json").write_text(json.dumps({"datastrip": {"path": path}}), encoding="utf-8")
    return folder


@pytest.mark.parametrize("baseline", ["02.14", "05.09"])
@pytest.mark.parametrize("layout", ["flat", "R10m"])
def test_aws_folders_follow_the_baseline(tmp_path: Path, baseline: str, layout: str) -> None:
    write_aws(tmp_path / "0", baseline=baseline, layout=layout)
    product = one(tmp_path)
    assert (product.path, product.kind, product.tile) == (tmp_path / "0", "AWS", "52TFN")
    assert product.level == ("L1C" if layout == "flat" else "L2A")
    assert product.datetime == WHEN
    chip = assert_reads(product)
    assert chip.id == "S2B_20231005T021001_R003"
    assert "by baseline" in chip.provenance["decisions"][0]


def test_aws_folders_that_contradict_themselves(tmp_path: Path) -> None:
    folder = write_aws(tmp_path, baseline="02.14", layout="flat", named="05.00")
    assert "02.14 and 05.00" in refused(folder)
    (folder / "tileInfo.json").write_text("{}", encoding="utf-8")
    assert "doesn't name the product" in refused(folder)


def test_the_real_cropped_product(real_imagery: Path) -> None:
    """It has blue and red only, so that it is refused, with the offset understood."""
    folder = real_imagery / "sentinel2" / "safe_l1c_cropped"
    reason = refused(folder)
    assert "lacks the bands B03 and B08" in reason
    assert "L1C, baseline 05.00, offset -1000" in reason


def test_the_real_metadata_without_images(real_imagery: Path) -> None:
    products, refusals = find_products([real_imagery / "sentinel2" / "safe_metadata"])
    assert products == []
    assert len(refusals) == 23
    for refusal in refusals:
        assert "only metadata (L" in refusal.reason or "offset -7000" in refusal.reason, refusal
