"""Products found at any depth, once each, however they are reached; and what belongs to them."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from sentinel2_products import area_at, countryside, write_export, write_raster, write_safe, write_stac

from geo.sentinel2.chip import chip_grid
from geo.sentinel2.formats.find import find_products

WHEN = dt.datetime(2023, 10, 5, 2, 10, 1, tzinfo=dt.UTC)
TRANSFORM = Affine(10, 0, 631_000, 0, -10, 4_698_800)
SHAPE = (40, 60)
PLANES = countryside(SHAPE)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One product of each kind, in folders of folders."""
    folder = tmp_path_factory.mktemp("archive")
    write_safe(folder / "a" / "b", PLANES, TRANSFORM, 32652, WHEN)
    write_safe(folder / "a", PLANES, TRANSFORM, 32652, WHEN.replace(day=10), zipped=True, inside="x/y")
    write_stac(folder / "c", PLANES, TRANSFORM, 32652, WHEN.replace(day=15), flavour="c1")
    write_stac(folder / "c" / "d", PLANES, TRANSFORM, 32652, WHEN.replace(day=20))
    write_export(folder / "e" / "20231025T021001_20231025T021003_T52TFN.tif", PLANES, TRANSFORM, 32652)
    write_raster(folder / "scan.tif", np.ones((3, 9, 9), np.uint8), Affine(0.5, 0, 0, 0, -0.5, 0), 32652)
    (folder / "notes.txt").write_text("x", encoding="utf-8")
    return folder


def test_all_of_them_at_any_depth_in_a_stable_order(archive: Path) -> None:
    products, refusals = find_products([archive])
    assert refusals == []
    assert sorted(product.datetime.day for product in products) == [5, 10, 15, 20, 25]
    assert [product.path for product in products] == sorted(product.path for product in products)
    assert find_products([archive]) == (products, [])
    # The same whichever way they are named: one by one, twice, or from folders within.
    assert find_products([archive, archive / "a", archive])[0] == products
    named = [product.path for product in products]
    assert find_products(named) == (products, [])
    assert find_products([*reversed(named), archive])[0] == products


def test_every_file_of_a_product_leads_to_it(archive: Path) -> None:
    products, _ = find_products([archive])
    for product in products:
        assert product.files
        for file in product.files:
            found, refusals = find_products([file])
            assert [one.datetime for one in found] == [product.datetime], file
            assert found[0].path.resolve() == product.path.resolve()
            assert refusals == []


def test_folders_inside_a_safe_lead_to_it(archive: Path) -> None:
    (safe,) = archive.rglob("*.SAFE")
    for folder in [safe, *(path for path in safe.rglob("*") if path.is_dir())]:
        (product,), refusals = find_products([folder])
        assert product.path == safe
        assert refusals == []


def test_relative_paths_and_links(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (safe,) = archive.rglob("*.SAFE")
    link = tmp_path / "link"
    link.symlink_to(safe, target_is_directory=True)
    (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
    products, refusals = find_products([tmp_path, safe])
    assert len(products) == 1
    assert refusals == []
    monkeypatch.chdir(safe / "GRANULE")
    (product,), _ = find_products([Path()])
    assert product.path.resolve() == safe.resolve()


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    assert find_products([]) == ([], [])
    assert find_products([tmp_path, tmp_path / "missing", tmp_path / "missing.zip"]) == ([], [])
    (tmp_path / "photos.zip").write_bytes(b"no zip")
    assert find_products([tmp_path]) == ([], [])


def test_hidden_and_unfinished_files_are_passed_over(tmp_path: Path) -> None:
    write_safe(tmp_path / ".trash", PLANES, TRANSFORM, 32652, WHEN)
    path = write_safe(tmp_path, PLANES, TRANSFORM, 32652, WHEN, zipped=True)
    path.rename(path.with_name(f"{path.name}.part"))
    assert find_products([tmp_path]) == ([], [])


def test_own_stores_are_no_input(tmp_path: Path) -> None:
    write_stac(tmp_path / "store" / "items", PLANES, TRANSFORM, 32652, WHEN)
    text = json.dumps({"type": "Collection", "railwatch:store_version": 1})
    (tmp_path / "store" / "collection.json").write_text(text, encoding="utf-8")
    assert find_products([tmp_path]) == ([], [])


def test_a_bad_product_among_good_ones(archive: Path, tmp_path: Path) -> None:
    shutil.copytree(archive, tmp_path / "all")
    (safe,) = (tmp_path / "all").rglob("*.SAFE")
    (safe / "MTD_MSIL2A.xml").write_bytes(b"")
    (packed,) = (tmp_path / "all").rglob("*.zip")
    packed.write_bytes(packed.read_bytes()[:100])
    products, refusals = find_products([tmp_path])
    assert len(products) == 3
    assert {refusal.path for refusal in refusals} == {safe, packed}
    assert all(file in refusal.files for refusal in refusals for file in [refusal.files[0]])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_refused(tmp_path: Path) -> None:
    root = write_safe(tmp_path, PLANES, TRANSFORM, 32652, WHEN)
    (root / "MTD_MSIL2A.xml").chmod(0)
    products, refusals = find_products([tmp_path])
    assert products == []
    assert "can't be read" in refusals[0].reason


def test_the_pixels_of_a_safe_count_once_beside_an_item_that_names_them(tmp_path: Path) -> None:
    root = write_safe(tmp_path, PLANES, TRANSFORM, 32652, WHEN)
    assets = {
        band: {"href": next(root.rglob(f"*_{band}_10m.jp2")).relative_to(tmp_path).as_posix()}
        for band in ("B02", "B03", "B04", "B08")
    }
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": root.stem,
        "collection": "sentinel-2-l2a",
        "properties": {"datetime": "2023-10-05T02:10:01Z", "s2:processing_baseline": "05.09"},
        "assets": assets,
    }
    (tmp_path / "item.json").write_text(json.dumps(item), encoding="utf-8")
    (product,), refusals = find_products([tmp_path])
    assert (product.kind, refusals) == ("SAFE", [])


def test_the_whole_real_folder(real_imagery: Path) -> None:
    """Whatever lies in it is understood or refused with a reason; nothing of it can be counted as it is."""
    products, refusals = find_products([real_imagery / "sentinel2"])
    assert products == []
    assert len(refusals) == 23 + 61 + 3
    for refusal in refusals:
        assert refusal.reason.endswith(".")
        assert "unexpectedly" not in refusal.reason
        assert str(real_imagery) not in refusal.reason


def test_a_zip_packed_with_backslashes_is_the_same_product(tmp_path: Path) -> None:
    """As Compress-Archive of Windows PowerShell and .NET pack it."""
    packed = write_safe(tmp_path / "plain", PLANES, TRANSFORM, 32652, WHEN, zipped=True)
    odd = tmp_path / "odd" / packed.name
    odd.parent.mkdir()
    with zipfile.ZipFile(packed) as source, zipfile.ZipFile(odd, "w") as target:
        for one in source.infolist():
            # a ZipInfo made by hand keeps its backslashes, whatever the system's separator is
            info = zipfile.ZipInfo("x")
            info.filename = one.filename.replace("/", "\\")
            target.writestr(info, source.read(one))
    (plain,), _ = find_products([packed])
    (product,), refusals = find_products([odd])
    assert refusals == []
    assert (product.acquisition, product.bands.keys()) == (plain.acquisition, plain.bands.keys())
    grid = chip_grid(area_at((631_100, 4_698_500, 631_300, 4_698_600)), 50.0)
    np.testing.assert_array_equal(product.read(grid).reflectance, plain.read(grid).reflectance)


def test_links_of_an_item_may_have_backslashes(tmp_path: Path) -> None:
    path = write_stac(tmp_path, PLANES, TRANSFORM, 32652, WHEN, remote=False)
    (before,), _ = find_products([tmp_path])
    item = next(one for one in tmp_path.rglob("*.json"))
    document = json.loads(item.read_text(encoding="utf-8"))
    for asset in document["assets"].values():
        asset["href"] = ".\\" + asset["href"].removeprefix("./").replace("/", "\\")
    item.write_text(json.dumps(document), encoding="utf-8")
    (after,), refusals = find_products([tmp_path])
    assert (after.acquisition, refusals) == (before.acquisition, [])
    assert path.exists()


def test_an_item_over_several_days_is_refused(tmp_path: Path) -> None:
    write_stac(tmp_path, PLANES, TRANSFORM, 32652, WHEN, flavour="c1")
    item = next(one for one in tmp_path.rglob("*.json"))
    document = json.loads(item.read_text(encoding="utf-8"))
    document["id"] = "S2_quarterly_mosaic_52TFN"
    properties = document["properties"]
    for key in [key for key in properties if key.startswith(("s2:", "eopf:"))]:
        del properties[key]
    properties |= {
        "datetime": None,
        "start_datetime": "2023-07-01T00:00:00Z",
        "end_datetime": "2023-09-30T23:59:59Z",
    }
    item.write_text(json.dumps(document), encoding="utf-8")
    products, (refusal,) = find_products([tmp_path])
    assert products == []
    assert "made of several days (2023-07-01 to 2023-09-30)" in refusal.reason
