"""PlanetScope scenes in every form that Planet delivers, and what of them can't be used."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
from affine import Affine
from found_products import one, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from planetscope_products import EIGHT, RADIANCE_SCALES, SUN, scene_id, write_scene, write_tiff, zipped
from sentinel2_products import area_at, countryside, write_safe

from geo.grid import Grid
from geo.sentinel2.acquisition import group
from geo.sentinel2.chip import chip_grid
from geo.sentinel2.constellation import PLANETSCOPE, constellation_of
from geo.sentinel2.formats.find import find_products
from geo.sentinel2.formats.metadata_cache import MetadataCache
from geo.sentinel2.formats.product import Product
from geo.sentinel2.formats.raster_band import Band, averaged

UTM = 32652
WHEN = dt.datetime(2023, 10, 5, 2, 10, 1, tzinfo=dt.UTC)
FINE = Affine(3, 0, 630_999, 0, -3, 4_698_801)
SHAPE = (400, 460)
AREA = area_at((631_500, 4_698_100, 631_900, 4_698_300))
GRID = chip_grid(AREA, 100.0)
BANDS = ("B02", "B03", "B04", "B08")
SLOPES = {"B02": (2e-5, 1e-5), "B03": (1e-5, -3e-5), "B04": (-2e-5, 2e-5), "B08": (4e-5, 3e-5)}


def ramp(band: str, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Reflectance that changes evenly over the ground: any even mean of it is its value at the middle."""
    east, north = SLOPES[band]
    return np.asarray(0.2 + east * (x - 631_700.0) + north * (y - 4_698_200.0))


def ramps(transform: Affine = FINE, shape: tuple[int, int] = SHAPE) -> dict[str, np.ndarray[Any, Any]]:
    x, y = Grid(shape, transform).centres()
    return {band: ramp(band, x, y) for band in BANDS}


def assert_ramps(product: Product, *, atol: float = 1e-4) -> None:
    chip = product.read(GRID)
    x, y = GRID.centres()
    assert chip.bands == BANDS
    for band in BANDS:
        np.testing.assert_allclose(chip.band(band), ramp(band, x, y), atol=atol)
    json.dumps(chip.provenance)


@pytest.mark.parametrize("bands", [4, 8])
@pytest.mark.parametrize("suffix", ["", "_harmonized_clip"])
def test_surface_reflectance(tmp_path: Path, bands: int, suffix: str) -> None:
    path = write_scene(tmp_path / "order" / "PSScene", WHEN, ramps(), FINE, UTM, bands=bands, suffix=suffix)
    product = one(tmp_path)
    assert (product.path, product.kind, product.level) == (path, "PSScene", "SR")
    assert (product.platform, product.datetime, product.clock) == ("PlanetScope 2427", WHEN, "tile")
    assert product.acquisition == "PS_2427_20231005T021001"
    assert (product.sun_elevation_deg, product.sun_azimuth_deg) == SUN
    assert product.provenance["harmonized"] == bool(suffix)
    assert_ramps(product)
    chip = product.read(GRID)
    assert chip.scl is not None
    assert set(np.unique(chip.scl)) == {5}


def test_bands_are_told_by_their_names_or_by_how_many_there_are(tmp_path: Path) -> None:
    path = write_scene(tmp_path, WHEN, ramps(), FINE, UTM, bands=8)
    numbers = np.stack([np.full(SHAPE, 100 * (k + 1), np.uint16) for k in range(8)])
    write_tiff(path, numbers, FINE, UTM)
    chip = one(tmp_path).read(GRID)
    found = [float(np.nanmean(chip.band(band))) for band in BANDS]
    np.testing.assert_allclose(found, [0.02, 0.04, 0.06, 0.08], rtol=1e-5)
    names = ("red", "green", "blue", "nir", "yellow", "rededge", "coastal_blue", "green_i")
    assert set(names) == set(EIGHT)
    write_tiff(path, numbers, FINE, UTM, names)
    chip = one(tmp_path).read(GRID)
    found = [float(np.nanmean(chip.band(band))) for band in BANDS]
    np.testing.assert_allclose(found, [0.03, 0.02, 0.01, 0.04], rtol=1e-5)


@pytest.mark.parametrize("metadata", ["json", "stac", "xml", ""])
def test_metadata_tell_where_the_sun_stood(tmp_path: Path, metadata: str) -> None:
    write_scene(tmp_path, WHEN, ramps(), FINE, UTM, metadata=metadata)
    product = one(tmp_path)
    sun = product.sun_elevation_deg, product.sun_azimuth_deg
    assert sun == (SUN if metadata else (None, None))
    assert any("where the sun stood" in said for said in product.provenance["decisions"]) == (not metadata)


def test_an_order_in_a_zip_and_a_file_named_by_itself(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "in" / "files" / "PSScene" / scene_id(WHEN), WHEN, ramps(), FINE, UTM)
    archive = zipped(tmp_path / "in", tmp_path / "order.zip")
    product = one(archive)
    assert (product.path, product.part) == (archive, scene_id(WHEN))
    assert_ramps(product)
    assert one(path).path == path


def test_radiance_becomes_reflectance_by_the_coefficients(tmp_path: Path) -> None:
    write_scene(tmp_path, WHEN, ramps(), FINE, UTM, product="AnalyticMS", bands=8)
    product = one(tmp_path)
    assert product.level == "TOA"
    assert product.bands["B08"].scale == RADIANCE_SCALES["nir"]
    assert_ramps(product)
    for xml in tmp_path.glob("*.xml"):
        xml.unlink()
    assert refused(tmp_path) == (
        "holds radiance, and no metadata XML beside it has the coefficients that make it reflectance: put "
        "the asset's XML there, or order the surface reflectance (asset ortho_analytic_4b_sr or "
        "ortho_analytic_8b_sr) with its ortho_udm2."
    )


def test_surface_reflectance_comes_before_radiance_and_pictures(tmp_path: Path) -> None:
    for product in ("Visual", "AnalyticMS", "AnalyticMS_SR"):
        write_scene(tmp_path, WHEN, ramps(), FINE, UTM, product=product)
    found = one(tmp_path)
    assert found.level == "SR"
    assert len(found.files) == len(list(tmp_path.iterdir()))


@pytest.mark.parametrize(
    ("product", "level", "reason"),
    [
        ("Visual", "3B", "is an 8-bit picture, stretched for the eye"),
        ("AnalyticMS_DN", "3B", "holds digital numbers without a scale"),
        ("AnalyticMS_SR", "1B", "has no position on the map, as a basic scene"),
    ],
)
def test_refused_with_what_to_order(tmp_path: Path, product: str, level: str, reason: str) -> None:
    write_scene(tmp_path, WHEN, ramps(), FINE, UTM, product=product, level=level)
    said = refused(tmp_path)
    assert said.startswith(reason)
    assert "ortho_analytic_4b_sr" in said


@pytest.mark.parametrize(
    ("dtype", "bands", "reason"),
    [
        ("float32", 4, "is of float32, but Planet's images are of uint16."),
        ("uint16", 3, "lacks the band B08"),
        ("uint16", 5, "has 5 bands, but PlanetScope's scenes have 4 or 8"),
    ],
)
def test_other_images_under_such_a_name(tmp_path: Path, dtype: str, bands: int, reason: str) -> None:
    path = tmp_path / f"{scene_id(WHEN)}_3B_AnalyticMS_SR.tif"
    write_tiff(path, np.ones((bands, 20, 20), dtype), FINE, UTM)
    assert refused(tmp_path).startswith(reason)


def test_a_composite_of_a_strip(tmp_path: Path) -> None:
    stack = np.ones((4, 20, 20), np.uint16)
    write_tiff(tmp_path / "2023-07-05_strip_6625124_composite.tif", stack, FINE, UTM)
    write_tiff(tmp_path / "2023-07-05_strip_6625124_composite_udm2.tif", stack.astype(np.uint8), FINE, UTM)
    assert refused(tmp_path) == (
        "is a composite, which tells neither its time of day nor what its numbers mean; order the scenes "
        "themselves, clipped: those of a strip are laid together here."
    )


def test_what_is_not_a_scene_is_passed_over(tmp_path: Path) -> None:
    stack = np.ones((4, 20, 20), np.uint16)
    for name in (
        f"{scene_id(WHEN)}_3B_udm2.tif",
        "20201211_223832_ssc4_u0001_analytic.tif",
        "20231305_021001_43_2427_3B_AnalyticMS_SR.tif",
        "20231005_021001_0001_visual.tif",
        "20231005_021001_0001_analytic.tif",
    ):
        write_tiff(tmp_path / name, stack, FINE, UTM)
    assert find_products([tmp_path]) == ([], [])


def test_usable_data_mask(tmp_path: Path) -> None:
    mask = np.zeros((8, *SHAPE), np.uint8)
    rows = 1 + np.arange(SHAPE[0]) // 50 % 7
    expected = {1: 11, 2: 3, 3: 10, 4: 9, 5: 9, 6: 5, 7: 1}
    for k in range(1, 6):
        mask[k][rows == k] = 1
    mask[0][rows >= 6] = 1
    mask[7][rows == 7] = 4  # a band is missing
    mask[7][rows == 5] = 2  # cloud by the older mask, too
    mask[:7, :, :40], mask[7, :, :40] = 0, 1
    write_scene(tmp_path, WHEN, ramps(), FINE, UTM, mask=mask)
    wide = Grid((120, 138), Affine(10, 0, FINE.c, 0, -10, FINE.f), GRID.crs)
    scl = one(tmp_path).read(wide).scl
    assert scl is not None
    assert set(np.unique(scl[:, :12])) == {0}
    centres = ((np.arange(120) + 0.5) * 10 / 3).astype(int)
    np.testing.assert_array_equal(scl[:, 60], [expected[int(rows[row])] for row in centres])


def test_without_a_mask_the_pixels_decide(tmp_path: Path) -> None:
    write_scene(tmp_path, WHEN, ramps(), FINE, UTM, udm2=False)
    product = one(tmp_path)
    assert product.read(GRID).scl is None
    assert any("no usable data mask" in said for said in product.provenance["decisions"])


def test_another_utm_zone(tmp_path: Path) -> None:
    to_other = pyproj.Transformer.from_crs(UTM, 32651, always_xy=True)
    x, y = GRID.centres()
    east, north = to_other.transform(x, y)
    corner = Affine(3, 0, float(east.min()) - 60, 0, -3, float(north.max()) + 60)
    size = (round((north.max() - north.min()) / 3) + 40, round((east.max() - east.min()) / 3) + 40)
    back = pyproj.Transformer.from_crs(32651, UTM, always_xy=True)
    there = back.transform(*Grid(size, corner).centres())
    write_scene(tmp_path, WHEN, {band: ramp(band, *there) for band in BANDS}, corner, 32651)
    product = one(tmp_path)
    assert product.shown(AREA) == pytest.approx(1.0)
    assert_ramps(product)


def test_frames_of_a_strip_are_one_acquisition(tmp_path: Path) -> None:
    planes, middle = ramps(), SHAPE[0] // 2
    later = WHEN + dt.timedelta(seconds=2)
    north = {band: plane[: middle + 20] for band, plane in planes.items()}
    south = {band: plane[middle - 20 :] for band, plane in planes.items()}
    folder = tmp_path / "PSScene"
    write_scene(folder / scene_id(WHEN), WHEN, north, FINE, UTM)
    moved = FINE @ Affine.translation(0, middle - 20)
    write_scene(folder / scene_id(later), later, south, moved, UTM)
    product = one(tmp_path)
    assert product.datetime == WHEN
    assert product.shown(AREA) == pytest.approx(1.0)
    assert product.filled(AREA) == 1.0
    assert_ramps(product, atol=2e-4)
    assert set(np.unique(product.read(GRID).scl)) == {5}  # type: ignore[arg-type]
    # Another satellite on the same day is another look.
    write_scene(folder / "other", later, planes, FINE, UTM, satellite="24b0")
    products, _ = find_products([tmp_path])
    assert [one.id for one in group(products, AREA)] == ["PS_2427_20231005T021001", "PS_24b0_20231005T021003"]


def test_a_part_of_the_area(tmp_path: Path) -> None:
    left = {band: plane[:, :230] for band, plane in ramps().items()}
    write_scene(tmp_path, WHEN, left, FINE, UTM)
    product = one(tmp_path)
    assert product.shown(AREA) == pytest.approx(0.4725, abs=0.001)
    valid = product.read(GRID).valid
    assert valid.any()
    assert not valid.all()


def test_copies_and_sentinel2_of_the_same_second(tmp_path: Path) -> None:
    planes = countryside((120, 140))
    write_safe(tmp_path, planes, Affine(10, 0, 631_000, 0, -10, 4_698_800), UTM, WHEN)
    write_scene(tmp_path / "a", WHEN, ramps(), FINE, UTM, bands=8)
    write_scene(tmp_path / "b", WHEN, ramps(), FINE, UTM)
    products, refusals = find_products([tmp_path])
    assert refusals == []
    acquisitions = group(products, AREA)
    assert sorted(constellation_of(one.best.platform).name for one in acquisitions) == [
        "PlanetScope",
        "Sentinel-2",
    ]
    (reason,) = (why for one in acquisitions for _, why in one.others)
    assert "shows the area as well" in reason


def test_listed_again_from_what_was_kept(tmp_path: Path) -> None:
    for seconds in (0, 2):
        when = WHEN + dt.timedelta(seconds=seconds)
        write_scene(tmp_path / "PSScene", when, ramps(), FINE, UTM)
    kept = tmp_path / "kept.json"
    first, _ = find_products([tmp_path / "PSScene"], cache=MetadataCache(kept))
    again, _ = find_products([tmp_path / "PSScene"], cache=MetadataCache(kept))
    assert first == again
    assert len(again[0].frames) == 1


@settings(max_examples=12, deadline=None)
@given(row=st.integers(160, 240), column=st.integers(180, 280))
def test_cells_are_gaussian_means_of_pixels(row: int, column: int, tmp_path_factory: Any) -> None:
    """A bright pixel keeps its light and its place, and gets the spread that was asked for."""
    plane = np.full(SHAPE, 1000, np.uint16)
    plane[row, column] = 21_000
    path = write_tiff(tmp_path_factory.mktemp("spot") / "spot.tif", plane[None], FINE, UTM)
    spread = PLANETSCOPE.spread_m
    # On cells of 5 m, which miss nothing of such a spread.
    fine = Grid((160, 200), Affine(5, 0, 631_300, 0, -5, 4_698_600), GRID.crs)
    light = averaged(Band("B04", str(path), nothing=()), fine, spread).astype(float) - 1000.0
    light[np.abs(light) < 0.01] = 0.0  # rounding, which far from the spot would outweigh it
    x, y = fine.centres()
    total = light.sum()
    assert total * 25.0 == pytest.approx(20_000 * 9.0, rel=0.05)
    spot = FINE @ (column + 0.5, row + 0.5)
    middle = (light * x).sum() / total, (light * y).sum() / total
    np.testing.assert_allclose(middle, spot, atol=0.5)
    sigma = np.sqrt((light * ((x - middle[0]) ** 2 + (y - middle[1]) ** 2)).sum() / total / 2)
    assert sigma * 2.3548 == pytest.approx(spread, rel=0.1)
