"""Exports of Google Earth Engine, Sentinel Hub and others, and what users declare of them."""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from found_products import one, refused
from sentinel2_products import area_at, countryside, numbers, write_export, write_raster

from geo.errors import SceneError
from geo.sentinel2.acquisition import group
from geo.sentinel2.chip import Chip, chip_grid
from geo.sentinel2.formats.declaration import parse_declaration
from geo.sentinel2.formats.find import find_products
from geo.sentinel2.formats.product import Product
from geo.sentinel2.formats.product_names import DECLARATION

TRANSFORM = Affine(10, 0, 631_000, 0, -10, 4_698_800)
SHAPE = (120, 140)
AREA = area_at((631_500, 4_698_100, 631_900, 4_698_300))
GRID = chip_grid(AREA, 100.0)
PLANES = countryside(SHAPE)
TEN = {band: PLANES[band] for band in ("B02", "B03", "B04", "B08")}
INDEX = "20231005T021001_20231005T021003_T52TFN"
WHEN = dt.datetime(2023, 10, 5, 2, 10, 1, tzinfo=dt.UTC)


def truth(plane: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    column = round((GRID.transform.c - TRANSFORM.c) / 10)
    row = round((TRANSFORM.f - GRID.transform.f) / 10)
    return plane[row : row + GRID.shape[0], column : column + GRID.shape[1]]


def assert_reads(product: Product, planes: dict[str, Any] = TEN) -> Chip:
    chip = product.read(GRID)
    for band, plane in planes.items():
        np.testing.assert_allclose(chip.band(band), truth(plane), atol=0.51e-4)
    json.dumps(chip.provenance)
    return chip


def test_earth_engine_by_its_names_and_its_pixels(tmp_path: Path) -> None:
    scl = np.full(SHAPE, 4, np.uint8)
    path = write_export(tmp_path / f"{INDEX}.tif", PLANES, TRANSFORM, 32652, scl=scl)
    product = one(tmp_path)
    assert (product.path, product.kind, product.level, product.tile) == (path, "export", "L2A", "52TFN")
    assert (product.acquisition, product.clock, product.datetime) == ("S2_20231005T021001", "datatake", WHEN)
    chip = assert_reads(product, PLANES)
    assert chip.scl is not None
    assert set(np.unique(chip.scl)) == {4}
    assert "no 1000 is in them" in chip.provenance["decisions"][0]


def test_earth_engine_whose_metadata_say_harmonized_needs_no_dark_pixels(tmp_path: Path) -> None:
    bright = {band: plane + np.float32(0.3) for band, plane in TEN.items()}
    path = write_export(tmp_path / "said" / f"{INDEX}.tif", bright, TRANSFORM, 32652)
    with rasterio.open(path, "r+") as image:
        image.update_tags(system_id=f"COPERNICUS/S2_SR_HARMONIZED/{INDEX}")
    assert_reads(one(path.parent), bright)
    with rasterio.open(path, "r+") as image:
        image.update_tags(system_id=f"COPERNICUS/S2_SR/{INDEX} (not harmonized)")
    assert "harmonized" in refused(path.parent)


@pytest.mark.parametrize("folder", ["S2_SR_HARMONIZED", "all_not_harmonized", "S2_SR"])
def test_a_word_in_a_path_decides_nothing(tmp_path: Path, folder: str) -> None:
    """Numbers with 1000 in them, and bright ones that tell nothing: refused whatever the folder's name is."""
    for planes in (TEN, {band: plane + np.float32(0.3) for band, plane in TEN.items()}):
        shifted = {band: plane + np.float32(0.1) for band, plane in planes.items()}
        write_export(tmp_path / folder / f"{INDEX}.tif", shifted, TRANSFORM, 32652)
        reason = refused(tmp_path / folder)
        assert "harmonized" in reason
        assert DECLARATION in reason
    # What the pixels tell is taken as before.
    write_export(tmp_path / folder / f"{INDEX}.tif", TEN, TRANSFORM, 32652)
    assert_reads(one(tmp_path / folder))


STACK = ("20231005T021001_20231005T021003_T52TFN", "20231010T020651_20231010T020653_T52TFN")


def write_stack(path: Path, moments: tuple[str, ...], form: str = "{moment}_{band}") -> list[dict[str, Any]]:
    """One file with all bands of several dates, as ImageCollection.toBands() writes it."""
    dates = [
        {band: plane * np.float32(1 - 0.1 * number) for band, plane in TEN.items()}
        for number in range(len(moments))
    ]
    planes = [numbers(plane) for date in dates for plane in date.values()]
    names = [form.format(moment=moment, band=band.replace("B0", "B")) for moment in moments for band in TEN]
    write_raster(path, np.stack(planes), TRANSFORM, 32652, descriptions=names)
    return dates


@pytest.mark.parametrize(
    ("moments", "form", "ids"),
    [
        (STACK, "{moment}_{band}", ["S2_20231005T021001", "S2_20231010T020651"]),
        (("2023-10-05", "2023-10-10"), "{band}_{moment}", ["S2_20231005", "S2_20231010"]),
        (("1_20231005T021001_20231005T021003_T52TFN", f"2_{STACK[1]}"), "{moment}_{band}", None),
    ],
)
def test_a_stack_of_dates_is_as_many_acquisitions(
    tmp_path: Path, moments: tuple[str, ...], form: str, ids: list[str] | None
) -> None:
    dates = write_stack(tmp_path / "S2_SR_timeseries_20231005_20231010.tif", moments, form)
    if ids is not None and "T" not in ids[0]:  # names that aren't Earth Engine's don't tell the scale
        assert "multiplied by isn't known" in refused(tmp_path)
        declare(tmp_path, "scale = 0.0001\n")
    products, refusals = find_products([tmp_path])
    assert refusals == []
    engine = ["S2_20231005T021001", "S2_20231010T020651"]
    assert [product.acquisition for product in products] == (ids or engine)
    for product, planes in zip(products, dates, strict=True):
        assert_reads(product, planes)
    assert len(group(products, AREA)) == 2


def test_a_stack_that_tells_no_dates_is_refused(tmp_path: Path) -> None:
    write_stack(tmp_path / "S2_2023-10-05.tif", ("0", "1"))
    assert "has band B02 2 times" in refused(tmp_path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("S2_SR_20231001_20231031", "two dates (2023-10-01 and 2023-10-31)"),
        ("S2_median_20231005", "made of several days"),
        ("S2_SR_2023-10-01_to_2023-10-31", "two dates"),
    ],
)
def test_several_days_in_one_image_are_refused(tmp_path: Path, name: str, reason: str) -> None:
    write_export(tmp_path / f"{name}.tif", TEN, TRANSFORM, 32652, style="float")
    assert reason in refused(tmp_path)


@pytest.mark.parametrize(("baseline", "offset"), [("05.09", -1000.0), ("02.14", 0.0)])
def test_a_clip_made_by_gdal_knows_its_product(tmp_path: Path, baseline: str, offset: float) -> None:
    """The tags are those that GDAL 3.10 gives a clip of SENTINEL2_L2A:...:10m."""
    number = baseline.replace(".", "")
    tags = {
        "PRODUCT_URI": f"S2A_MSIL2A_20231005T021001_N{number}_R003_T52TFN_20231005T061601.SAFE",
        "DATATAKE_1_ID": f"GS2A_20231005T021001_043273_N{baseline}",
        "DATATAKE_1_DATATAKE_SENSING_START": "2023-10-05T02:10:01.024Z",
        "DATATAKE_1_SPACECRAFT_NAME": "Sentinel-2A",
        "DATATAKE_1_SENSING_ORBIT_NUMBER": "3",
        "PROCESSING_BASELINE": baseline,
        "PROCESSING_LEVEL": "Level-2A",
        "BOA_QUANTIFICATION_VALUE": "10000",
    }
    order = {"B04": 665, "B03": 560, "B02": 490, "B08": 842}
    stack = np.stack([numbers(TEN[band], offset=offset) for band in order])
    names = [f"{band.replace('B0', 'B')}, central wavelength {nm} nm" for band, nm in order.items()]
    path = tmp_path / "clip.tif"
    write_raster(path, stack, TRANSFORM, 32652, descriptions=names, tags=tags)
    product = one(path)
    assert product.acquisition == "S2A_20231005T021001_R003"
    assert (product.clock, product.level) == ("datatake", "L2A")
    assert (product.baseline, product.tile, product.datetime) == (baseline, "52TFN", WHEN)
    assert_reads(product)


def test_floats_between_0_and_1_are_reflectance(tmp_path: Path) -> None:
    planes = {band: plane.copy() for band, plane in PLANES.items()}
    planes["B02"][:, :55] = 0.0  # no data at Sentinel Hub
    name = "2023-10-05-00_00_2023-10-05-23_59_Sentinel-2_L2A_all.tif"
    write_export(tmp_path / name, planes, TRANSFORM, 32652, style="float")
    product = one(tmp_path)
    assert (product.acquisition, product.clock, product.level) == ("S2_20231005", "day", "L2A")
    chip = product.read(GRID)
    blue = truth(planes["B02"])
    np.testing.assert_array_equal(np.isnan(chip.band("B02")), blue == 0)
    np.testing.assert_allclose(chip.band("B11"), truth(planes["B11"]), atol=1e-6)


def test_a_file_a_band(tmp_path: Path) -> None:
    stem = "2023-10-05-00_00_2023-10-05-23_59_Sentinel-2_L2A_{}_(Raw).tiff"
    for band, plane in TEN.items():
        write_raster(tmp_path / stem.format(band), plane, TRANSFORM, 32652)
    product = one(tmp_path)
    assert len(product.files) == 4
    assert_reads(product)
    assert one(tmp_path / stem.format("B03")) == product


@pytest.mark.parametrize("named", [True, False])
def test_pictures_are_refused(tmp_path: Path, named: bool) -> None:
    write_export(tmp_path / f"{INDEX}.tif", TEN, TRANSFORM, 32652, style="8-bit", named=named)
    assert refused(tmp_path) == (
        "is an 8-bit picture, stretched for the eye: reflectance, which the work at 10 m needs, can't be had "
        "from it."
    )


@pytest.mark.parametrize("scale", [1.0, 1000.0, 6.5535])
def test_numbers_of_unknown_scale_are_refused(tmp_path: Path, scale: float) -> None:
    stack = np.stack([plane * 10_000 * scale for plane in TEN.values()])
    names = list(TEN)
    write_raster(
        tmp_path / "Sentinel-2_L2A_20231005T021001.tif",
        stack.clip(0, 65_535).astype(np.uint16 if scale > 1 else np.float64),
        TRANSFORM,
        32652,
        descriptions=names,
    )
    reason = refused(tmp_path)
    assert "isn't known" in reason
    assert DECLARATION in reason


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        ("no date", "tell when it was taken"),
        ("days", "several days"),
        ("coarse", "pixels of 60 m"),
        ("unplaced", "no position"),
        ("three", "lacks the band B08"),
        ("empty", "no data"),
        ("unnamed", "nothing says which they are"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, make: str, reason: str) -> None:
    names = {
        "no date": "sentinel-2.tif",
        "days": "2023-10-01-00_00_2023-10-05-23_59_Sentinel-2_L2A.tif",
    }
    path = tmp_path / names.get(make, f"{INDEX}.tif")
    stack = np.stack(list(TEN.values()))
    if make == "three":
        stack = stack[:3]
    elif make == "empty":
        stack = np.full_like(stack, np.nan)
    transform: Affine | None = TRANSFORM
    if make == "coarse":
        transform = Affine(60, 0, 631_000, 0, -60, 4_698_800)
    described = [] if make == "unnamed" else list(TEN)[: len(stack)]
    if make == "unplaced":
        with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
            write_raster(path, stack, None, None, descriptions=described)  # type: ignore[arg-type]
    else:
        assert transform is not None
        write_raster(path, stack, transform, 32652, descriptions=described)
    assert reason in refused(tmp_path)


def test_other_images_are_left_to_others(tmp_path: Path) -> None:
    fine = np.ones((4, 40, 40), np.uint16)
    write_raster(
        tmp_path / "20231005_021001_ssc1_u0001_analytic.tif", fine, Affine(0.5, 0, 0, 0, -0.5, 0), 32652
    )
    write_raster(
        tmp_path / "20231005_021001_55_2406_3B_PSScene.tif", fine, Affine(10, 0, 0, 0, -10, 0), 32652
    )
    write_raster(tmp_path / "scan.tif", fine, Affine(3, 0, 631_000, 0, -3, 4_698_800), 32652)
    (tmp_path / "notes.tif").write_bytes(b"II*\x00")
    assert find_products([tmp_path]) == ([], [])


@pytest.mark.parametrize("crs", [4326, 3857])
def test_an_export_on_another_lattice_is_brought_to_the_grid(tmp_path: Path, crs: int) -> None:
    rows, columns = np.mgrid[:200, :260]
    west, south, east, north = AREA.boundary.buffer(0.006).bounds
    if crs == 3857:
        edges = rasterio.warp.transform_bounds(4326, 3857, west, south, east, north)
        west, south, east, north = edges
    transform = rasterio.transform.from_bounds(west, south, east, north, 260, 200)
    smooth = {
        band: (0.05 + 0.02 * number + 0.0005 * rows + 0.0004 * columns).astype(np.float32)
        for number, band in enumerate(TEN)
    }
    write_export(tmp_path / f"{INDEX}.tif", smooth, transform, crs, style="float")
    chip = one(tmp_path).read(GRID)
    assert chip.provenance["resampled"] == list(TEN)
    assert np.isfinite(chip.reflectance).all()
    # The truth by another way: from the middle of each pixel of the grid back into the image.
    x = GRID.transform.c + 10 * (np.arange(GRID.shape[1]) + 0.5)
    y = GRID.transform.f - 10 * (np.arange(GRID.shape[0]) + 0.5)
    east_, north_ = np.meshgrid(x, y)
    lon, lat = rasterio.warp.transform(GRID.crs, crs, east_.ravel(), north_.ravel())
    inverse = ~transform
    column = inverse.a * np.array(lon) + inverse.c - 0.5
    row = inverse.e * np.array(lat) + inverse.f - 0.5
    expected = (0.05 + 0.0005 * row + 0.0004 * column).reshape(GRID.shape)
    np.testing.assert_allclose(chip.band("B02"), expected, atol=2e-5)


def declare(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / DECLARATION
    path.write_text(text, encoding="utf-8")
    return path


def test_a_declaration_for_a_folder(tmp_path: Path) -> None:
    for day in (5, 10):
        folder = tmp_path / f"2023-10-{day:02d}"
        stack = np.stack([numbers(plane, offset=-1000.0) for plane in TEN.values()])
        write_raster(folder / "response.tif", stack, TRANSFORM, 32652)
    declare(
        tmp_path,
        'scale = 0.0001\noffset = -0.1\nlevel = "L2A"\nplatform = "S2B"\n'
        'bands = ["B02", "B03", "B04", "B08"]\n',
    )
    products, refusals = find_products([tmp_path])
    assert refusals == []
    assert [product.acquisition for product in products] == ["S2B_20231005", "S2B_20231010"]
    for product in products:
        assert product.level == "L2A"
        assert_reads(product)
    # The same where only the folder below, or the file, is named.
    assert find_products([tmp_path / "2023-10-05"])[0] == products[:1]
    assert find_products([tmp_path / "2023-10-10" / "response.tif"])[0] == products[1:]


def test_one_file_of_two_dates(tmp_path: Path) -> None:
    later = {band: plane + np.float32(0.02) for band, plane in TEN.items()}
    order = ("B04", "B03", "B02", "B08")
    stack = np.stack([numbers(planes[band]) for planes in (TEN, later) for band in order])
    write_raster(tmp_path / "clip.tif", stack, TRANSFORM, 32652)
    assert "8 bands of 10 m pixels, but nothing says which they are" in refused(tmp_path)
    declare(
        tmp_path,
        """
        scale = 0.0001
        [[acquisition]]
        file = "clip.tif"
        datetime = 2023-10-05T02:10:01Z
        platform = "Sentinel-2A"
        relative_orbit = 3
        sun_elevation_deg = 41.0
        bands = { B04 = 1, B03 = 2, B02 = 3, B08 = 4 }
        [[acquisition]]
        file = "clip.tif"
        datetime = 2023-10-10T11:10:01+09:00
        bands = ["", "", "", "", "B04", "B03", "B02", "B08"]
        """,
    )
    products, refusals = find_products([tmp_path])
    assert refusals == []
    assert [product.acquisition for product in products] == ["S2A_20231005T021001_R003", "S2_20231010T021001"]
    assert products[0].part != products[1].part
    assert_reads(products[0])
    assert_reads(products[1], later)
    assert products[0].sun_elevation_deg == 41.0
    assert len(group(products, AREA)) == 2


def test_images_elsewhere_can_be_declared(tmp_path: Path) -> None:
    stack = np.stack([numbers(plane) for plane in TEN.values()])
    write_raster(tmp_path / "shared" / "clip.tif", stack, TRANSFORM, 32652)
    for number, file in enumerate(("../shared/clip.tif", str(tmp_path / "shared" / "clip.tif"))):
        declaration = declare(
            tmp_path / str(number),
            f"""
            scale = 0.0001
            bands = ["B02", "B03", "B04", "B08"]
            [[acquisition]]
            file = "{file}"
            datetime = 2023-10-05T02:10:01Z
            """,
        )
        for paths in ([declaration], [declaration.parent], [tmp_path / "shared", declaration]):
            product = one(*paths)
            assert product.path == tmp_path / "shared" / "clip.tif"
            assert_reads(product)


def test_bands_may_be_files(tmp_path: Path) -> None:
    for band, name in zip(TEN, ("blue", "green", "red", "nir"), strict=True):
        write_raster(tmp_path / f"{name}.tif", numbers(TEN[band]), TRANSFORM, 32652)
    declare(
        tmp_path,
        """
        [[acquisition]]
        scale = 0.0001
        datetime = 2023-10-05
        bands = { B02 = "blue.tif", B03 = "green.tif", B04 = "red.tif", B08 = "nir.tif" }
        """,
    )
    product = one(tmp_path)
    assert (product.clock, product.acquisition) == ("day", "S2_20231005")
    assert_reads(product)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("scale = 1.0", "aren't reflectances"),
        ("scale = 0.0001\noffset = -0.2", "aren't reflectances"),
        ("scale = 0.0001\nnodata = 0\ngain = 3", "unknown key gain"),
        ("scale = 'x'", "scale must be a number, not the text"),
        ("scale = -1", "scale must be above 0, not -1"),
        ("bands = ['B02', 'B99']", "'B99' isn't a band"),
        ("bands = {B02 = 0}", "a number from 1"),
        ("bands = {B02 = 1, B03 = 2, B04 = 3, B08 = 9}\nscale = 0.0001", "can't be number 9"),
        ("relative_orbit = 144", "relative_orbit must be between 1 and 143, not 144"),
        ("level = 'L3'", 'level must be one of "L1C", "L2A", not the text "L3"'),
        ("scale = ", "not a valid TOML file"),
        ("acquisition = 3", r"\[\[acquisition\]\]"),
        ("[[acquisition]]\nfile = 'x.tif'", "no datetime"),
        ("[[acquisition]]\nfile = 'x.tif'\ndatetime = 'May'", "isn't a time"),
        ("[[acquisition]]\nfile = 'x.tif'\ndatetime = 2023-10-05", "names x.tif, which isn't there"),
        ("[[acquisition]]\ndatetime = 2023-10-05", "names no file"),
    ],
)
def test_bad_declarations(tmp_path: Path, text: str, reason: str) -> None:
    write_export(tmp_path / f"{INDEX}.tif", TEN, TRANSFORM, 32652)
    path = declare(tmp_path, text)
    refusals = find_products([tmp_path])[1]
    assert any(re.search(reason, refusal.reason) for refusal in refusals), refusals
    if "names x.tif" not in reason and "reflectances" not in reason and "number 9" not in reason:
        with pytest.raises(SceneError, match=reason):
            parse_declaration(path.read_bytes(), path)


REAL = """
scale = 0.0001
platform = "Sentinel-2"

[[acquisition]]
file = "clip_inn_river_2dates_rgbn.tif"
datetime = 2021-07-01
bands = { B04 = 1, B03 = 2, B02 = 3, B08 = 4 }

[[acquisition]]
file = "clip_inn_river_2dates_rgbn.tif"
datetime = 2021-09-01
bands = { B04 = 5, B03 = 6, B02 = 7, B08 = 8 }
"""


def test_the_real_clip_of_two_dates(real_imagery: Path, tmp_path: Path) -> None:
    clip = real_imagery / "sentinel2" / "clip_inn_river_2dates_rgbn.tif"
    assert DECLARATION in refused(clip)
    shutil.copy(clip, tmp_path)
    declare(tmp_path, REAL)
    products, refusals = find_products([tmp_path])
    assert refusals == []
    assert len(products) == 2
    area = area_at((361_000, 5_349_500, 362_500, 5_350_500), 32633, "inn")
    first, second = group(products, area)
    grid = chip_grid(area)
    with rasterio.open(clip) as image:
        window = rasterio.windows.from_bounds(*grid.bounds, image.transform)
        raw = image.read(window=window)
    for acquisition, bands in ((first, raw[:4]), (second, raw[4:])):
        chip = acquisition.best.read(grid)
        assert chip.provenance["resampled"] == []
        expected = np.stack([bands[2], bands[1], bands[0], bands[3]]) / 10_000
        np.testing.assert_allclose(chip.reflectance, expected, atol=1e-6)
