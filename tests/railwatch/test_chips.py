from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
import ten_metres as yard
from numpy.typing import NDArray

from aoi import AreaOfInterest
from geo.grid import Grid
from geo.sentinel2.chip import Chip, chip_grid
from railwatch.errors import StoreError
from railwatch.store.chips import ChipStore

PRODUCT = {"name": "X.SAFE", "aliases": []}


@pytest.fixture(scope="module")
def grid() -> Grid:
    return chip_grid(yard.area())


def chip(grid: Grid, seed: int = 0, *, classes: bool = True, bands: tuple[str, ...] = ("B02", "B08")) -> Chip:
    noise = np.random.default_rng(seed)
    reflectance: NDArray[np.float32] = noise.uniform(-0.09, 1.4, (len(bands), *grid.shape)).astype(np.float32)
    reflectance[:, :3] = np.nan
    return Chip(
        id=f"S2A_20230403T021001_R{seed:03d}",
        datetime=yard.when(seed),
        platform="Sentinel-2A",
        relative_orbit=3,
        bands=bands,
        reflectance=reflectance,
        transform=grid.transform,
        crs=grid.crs,
        scl=noise.integers(0, 12, grid.shape).astype(np.uint8) if classes else None,
        sun_azimuth_deg=160.0,
        sun_elevation_deg=41.5,
        level="L2A",
        baseline="05.09",
        provenance={"offset": -0.1, "files": ["a", "b"]},
    )


def store_of(folder: Path, area: AreaOfInterest | None = None) -> ChipStore:
    one = area or yard.area()
    return ChipStore.of(folder, one, chip_grid(one))


@pytest.mark.parametrize("classes", [True, False])
def test_a_chip_comes_back_to_a_ten_thousandth(tmp_path: Path, grid: Grid, classes: bool) -> None:
    store = store_of(tmp_path)
    given = chip(grid, classes=classes)
    kept = store.add(given, PRODUCT)
    ((again, back),) = store.read()
    assert again == kept
    assert store.kept() == [kept]
    np.testing.assert_allclose(back.reflectance, given.reflectance, atol=1e-4)
    assert np.array_equal(np.isnan(back.reflectance), np.isnan(given.reflectance))
    if classes:
        assert given.scl is not None
        assert back.scl is not None
        assert np.array_equal(back.scl, given.scl)
        assert back.scl.dtype == np.uint8
    else:
        assert back.scl is None
    assert back.provenance == given.provenance
    for name in (
        "id",
        "datetime",
        "platform",
        "relative_orbit",
        "bands",
        "crs",
        "transform",
        "level",
        "baseline",
    ):
        assert getattr(back, name) == getattr(given, name)
    assert (back.sun_azimuth_deg, back.sun_elevation_deg) == (160.0, 41.5)


def test_numbers_of_esa_go_through_unchanged(tmp_path: Path, grid: Grid) -> None:
    numbers = np.arange(1, 1 + grid.shape[0] * grid.shape[1]).reshape(1, *grid.shape) % 20_000 + 1
    exact = ((numbers - 1000) / 10_000).astype(np.float32)
    store = store_of(tmp_path)
    store.add(replace(chip(grid), reflectance=exact, bands=("B02",)), PRODUCT)
    assert np.array_equal(store.read()[0][1].reflectance, exact)


def test_any_gis_reads_a_chip(tmp_path: Path, grid: Grid) -> None:
    kept = store_of(tmp_path).add(chip(grid), PRODUCT)
    with rasterio.open(kept.path) as image:
        assert image.descriptions == ("B02", "B08", "SCL")
        assert image.scales == (1e-4, 1e-4, 1.0)
        assert image.offsets == (-0.1, -0.1, 0.0)
        assert image.nodata == 0
        assert image.crs == grid.crs
        assert image.tags(ns="IMAGERY")["ACQUISITIONDATETIME"] == "2023-04-03T02:10:01"
    assert kept.path.stat().st_size < 1.1 * 2 * 3 * grid.shape[0] * grid.shape[1]


def test_the_digest_is_of_what_an_answer_depends_on(tmp_path: Path, grid: Grid) -> None:
    store = store_of(tmp_path)
    first = store.add(chip(grid), PRODUCT)
    assert store.add(replace(chip(grid), provenance={}), PRODUCT).content == first.content
    assert store.add(replace(chip(grid), sun_elevation_deg=40.0), PRODUCT).content != first.content
    brighter = replace(chip(grid), reflectance=chip(grid).reflectance + np.float32(0.001))
    assert store.add(brighter, PRODUCT).content != first.content
    assert len(store.kept()) == 1


def test_what_is_no_chip_or_was_changed_is_left_out(
    tmp_path: Path, grid: Grid, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_of(tmp_path)
    good, changed = store.add(chip(grid, 1), PRODUCT), store.add(chip(grid, 2), PRODUCT)
    with rasterio.open(changed.path, "r+") as image:
        image.write(image.read(1) + 1, 1)
    (store.path / "torn.tif").write_bytes(good.path.read_bytes()[:500])
    (store.path / ".tmp-0-x.tif").write_bytes(b"half")
    assert [kept for kept, _ in store.read()] == [good]
    assert "torn.tif can't be read" in caplog.text
    with pytest.raises(StoreError, match="aren't those that were written"):
        store.read_one(changed)


def test_another_grid_is_refused(tmp_path: Path, grid: Grid) -> None:
    moved = replace(chip(grid), transform=grid.transform @ grid.transform.translation(1, 0))
    with pytest.raises(ValueError, match="doesn't lie on the grid"):
        store_of(tmp_path).add(moved, PRODUCT)


def test_chips_go_over_to_a_boundary_that_was_drawn_anew(tmp_path: Path, grid: Grid) -> None:
    before = store_of(tmp_path)
    given = chip(grid)
    before.add(given, PRODUCT)
    area = yard.area()
    west, south, east, north = area.boundary.bounds
    smaller = replace(area, boundary=shapely.box(west + 0.001, south, east, north))
    after = store_of(tmp_path, smaller)
    assert after.path != before.path
    ((kept, moved),) = after.read()
    assert kept.product == PRODUCT
    column = round((after.grid.transform.c - grid.transform.c) / 10)
    assert column > 0
    shown = given.reflectance[:, :, column : column + after.grid.shape[1]]
    np.testing.assert_allclose(moved.reflectance[:, :, : shown.shape[2]], shown, atol=1e-4)
    elsewhere = replace(area, boundary=shapely.box(west + 0.1, south, east + 0.1, north))
    assert store_of(tmp_path, elsewhere).kept() == []


def test_a_chip_that_was_replaced_is_read_anew(tmp_path: Path, grid: Grid) -> None:
    """What chips say of themselves is remembered by the state of their files."""
    store = store_of(tmp_path)
    first = store.add(chip(grid), PRODUCT)
    assert store.kept() == [first]
    second = store.add(replace(chip(grid), reflectance=chip(grid, seed=2).reflectance), PRODUCT)
    assert second.content != first.content
    assert store.kept() == [second]
