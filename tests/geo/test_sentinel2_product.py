"""Products read on grids: windows, edges, other zones; how much of an area they show."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest
import rasterio.warp
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from sentinel2_products import area_at, countryside, write_safe

from geo.errors import SceneError
from geo.grid import Grid
from geo.sentinel2.chip import chip_grid
from geo.sentinel2.formats.find import find_products
from geo.sentinel2.formats.product import Product, acquisition_id

WHEN = dt.datetime(2023, 10, 5, 2, 10, 1, tzinfo=dt.UTC)
TRANSFORM = Affine(10, 0, 631_000, 0, -10, 4_698_800)
SHAPE = (40, 60)
UTM = CRS.from_epsg(32652)


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Product:
    folder = tmp_path_factory.mktemp("product")
    scl = np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE) % 11 + 1
    write_safe(folder, countryside(SHAPE), TRANSFORM, 32652, WHEN, scl=scl.astype(np.uint8), driver="GTiff")
    return find_products([folder])[0][0]


def grid_at(row: int, column: int, shape: tuple[int, int]) -> Grid:
    transform = Affine(10, 0, TRANSFORM.c + 10 * column, 0, -10, TRANSFORM.f - 10 * row)
    return Grid(shape, transform, UTM)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    row=st.integers(-50, 50),
    column=st.integers(-70, 70),
    height=st.integers(1, 60),
    width=st.integers(1, 80),
)
def test_a_window_is_the_whole_cut_to_it(
    product: Product, row: int, column: int, height: int, width: int
) -> None:
    """Whatever the window: inside, across an edge, around all of it or beside it."""
    whole = product.read(grid_at(0, 0, SHAPE))
    chip = product.read(grid_at(row, column, (height, width)))
    assert chip.shape == (height, width)
    rows, columns = np.mgrid[row : row + height, column : column + width]
    inside = (rows >= 0) & (rows < SHAPE[0]) & (columns >= 0) & (columns < SHAPE[1])
    for index, band in enumerate(chip.bands):
        plane = chip.reflectance[index]
        if band != "B11":  # whose kernel reaches over the edge
            assert np.isnan(plane[~inside]).all()
        np.testing.assert_allclose(
            plane[inside], whole.reflectance[index][rows[inside], columns[inside]], atol=1e-6
        )
    assert chip.scl is not None
    assert whole.scl is not None
    assert (chip.scl[~inside] == 0).all()
    np.testing.assert_array_equal(chip.scl[inside], whole.scl[rows[inside], columns[inside]])


def test_the_neighbouring_zone_is_brought_to_the_grid(tmp_path: Path) -> None:
    """An area in the overlap of two zones is read on the grid of its own, from tiles of both."""
    area = area_at(
        (499_000, 4_699_000, 499_400, 4_699_300), 32653
    )  # 132 degrees east: the edge of zones 52 and 53
    grid = chip_grid(area, 100.0)
    assert grid.crs.to_epsg() == 32653
    west, south, east, north = rasterio.warp.transform_bounds(32653, 32652, *grid.bounds)
    transform = Affine(10, 0, west // 20 * 20 - 100, 0, -10, north // 20 * 20 + 100)
    shape = (round((transform.f - south) / 20 + 6) * 2, round((east - transform.c) / 20 + 6) * 2)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    planes = {
        band: (0.05 * number + 0.1 + 0.001 * rows + 0.0005 * columns).astype(np.float32)
        for number, band in enumerate(("B02", "B03", "B04", "B08"))
    }
    write_safe(tmp_path, planes, transform, 32652, WHEN)
    (product,) = find_products([tmp_path])[0]
    assert product.shown(area) == pytest.approx(1.0)
    chip = product.read(grid)
    assert chip.provenance["resampled"] == ["B02", "B03", "B04", "B08"]
    x = grid.transform.c + 10 * (np.arange(grid.shape[1]) + 0.5)
    y = grid.transform.f - 10 * (np.arange(grid.shape[0]) + 0.5)
    across, down = np.meshgrid(x, y)
    there = rasterio.warp.transform(32653, 32652, across.ravel(), down.ravel())
    column = (np.array(there[0]) - transform.c) / 10 - 0.5
    row = (transform.f - np.array(there[1])) / 10 - 0.5
    expected = (0.1 + 0.001 * row + 0.0005 * column).reshape(grid.shape)
    np.testing.assert_allclose(chip.band("B02"), expected, atol=1.5e-4)  # a step of the numbers, and some


def test_no_data_does_not_bleed_into_what_is_interpolated(tmp_path: Path) -> None:
    planes = countryside(SHAPE)
    for plane in planes.values():
        plane[:] = 0.2
        plane[:, :30] = np.nan
    write_safe(tmp_path, planes, TRANSFORM, 32652, WHEN)
    (product,) = find_products([tmp_path])[0]
    shifted = Grid((20, 30), Affine(10, 0, TRANSFORM.c + 103.7, 0, -10, TRANSFORM.f - 96.1), UTM)
    chip = product.read(shifted)
    values = chip.reflectance[np.isfinite(chip.reflectance)]
    assert np.isnan(chip.band("B02")[:, :17]).all()
    np.testing.assert_allclose(values, 0.2, atol=1e-4)


def test_how_much_of_an_area_is_shown(product: Product, tmp_path: Path) -> None:
    whole = area_at((631_100, 4_698_500, 631_300, 4_698_700))
    half = area_at((630_900, 4_698_500, 631_100, 4_698_700))
    beside = area_at((632_000, 4_698_500, 632_100, 4_698_700))
    elsewhere = area_at((400_000, 5_000_000, 401_000, 5_001_000), 32733)
    assert product.shown(whole) == pytest.approx(1.0)
    assert product.shown(half) == pytest.approx(0.5, abs=0.01)
    assert product.shown(beside) == 0.0
    assert product.shown(elsewhere) == 0.0
    assert product.edge_distance_m(whole) == pytest.approx(100.0, abs=0.5)
    assert product.edge_distance_m(half) == pytest.approx(-100.0, abs=0.5)
    assert product.filled(whole) == 1.0
    assert product.filled(half) == pytest.approx(0.5, abs=0.06)

    planes = countryside(SHAPE)
    for plane in planes.values():
        plane[:, :20] = np.nan  # beside the swath
    write_safe(tmp_path, planes, TRANSFORM, 32652, WHEN)
    (empty,) = find_products([tmp_path])[0]
    assert empty.shown(whole) == pytest.approx(1.0)
    assert empty.filled(whole) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("zipped", [True, False])
def test_an_image_that_is_cut_short_is_an_error_of_its_product(tmp_path: Path, zipped: bool) -> None:
    root = write_safe(tmp_path, countryside((200, 200)), TRANSFORM, 32652, WHEN)
    path = next(root.rglob("*_B03_10m.jp2"))
    path.write_bytes(path.read_bytes()[:300])
    (product,) = find_products([tmp_path])[0]
    with pytest.raises(SceneError, match="band B03 can't be read") as caught:
        product.read(grid_at(10, 10, (50, 50)))
    assert str(caught.value).startswith(str(root))


def test_ids() -> None:
    assert acquisition_id("Sentinel-2A", WHEN, 3, "datatake") == "S2A_20231005T021001_R003"
    assert acquisition_id("Sentinel-2", WHEN, None, "tile") == "S2_20231005T021001"
    assert acquisition_id("Sentinel-2", WHEN, None, "day") == "S2_20231005"
