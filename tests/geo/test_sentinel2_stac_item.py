"""STAC items with their images beside them: whose numbers mean what."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from found_products import one, refused
from sentinel2_products import area_at, countryside, numbers, write_raster, write_stac

from geo.errors import SceneError
from geo.sentinel2.chip import Chip, chip_grid
from geo.sentinel2.formats.find import find_products
from geo.sentinel2.formats.product import Product
from geo.sentinel2.formats.radiometric_offset import Floors, decide
from geo.sentinel2.formats.stac_item import item_metadata

WHEN = dt.datetime(2023, 10, 5, 2, 10, 1, tzinfo=dt.UTC)
TRANSFORM = Affine(10, 0, 631_000, 0, -10, 4_698_800)
SHAPE = (120, 140)
AREA = area_at((631_500, 4_698_100, 631_900, 4_698_300))
GRID = chip_grid(AREA, 100.0)
PLANES = countryside(SHAPE)
PUBLISHERS = {
    "earth-search": "Earth Search",
    "c1": "Earth Search c1",
    "l1c": "Earth Search",
    "planetary-computer": "Planetary Computer",
    "cdse": "Copernicus Data Space",
}


def truth(plane: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    column = round((GRID.transform.c - TRANSFORM.c) / 10)
    row = round((TRANSFORM.f - GRID.transform.f) / 10)
    return plane[row : row + GRID.shape[0], column : column + GRID.shape[1]]


def assert_reads(product: Product, planes: dict[str, Any] = PLANES) -> Chip:
    chip = product.read(GRID)
    for band in ("B02", "B03", "B04", "B08"):
        np.testing.assert_allclose(chip.band(band), truth(planes[band]), atol=0.51e-4)
    json.dumps(chip.provenance)
    return chip


@pytest.mark.parametrize("flavour", list(PUBLISHERS))
@pytest.mark.parametrize("baseline", ["02.12", "05.09"])
@pytest.mark.parametrize("remote", [True, False])
def test_every_publisher(tmp_path: Path, flavour: str, baseline: str, remote: bool) -> None:
    scl = np.full(SHAPE, 5, np.uint8)
    item = write_stac(
        tmp_path, PLANES, TRANSFORM, 32652, WHEN, flavour=flavour, baseline=baseline, scl=scl, remote=remote
    )
    product = one(tmp_path)
    assert (product.path, product.kind, product.tile, product.baseline) == (item, "STAC", "52TFN", baseline)
    assert product.level == ("L1C" if flavour == "l1c" else "L2A")
    assert product.provenance["publisher"] == PUBLISHERS[flavour]
    # The item's own time is the tile's at some and the datatake's at others; the acquisition is the same.
    assert (product.acquisition, product.clock, product.datetime) == (
        "S2A_20231005T021001_R003",
        "datatake",
        WHEN,
    )
    chip = assert_reads(product)
    assert (chip.sun_elevation_deg, chip.sun_azimuth_deg) == (41.0, 160.0)
    assert chip.bands[-1] == "B11"
    assert (chip.scl is None) == (flavour == "l1c")
    assert len(chip.provenance["decisions"]) == 1


@pytest.mark.parametrize("flag", [True, False, None])
@pytest.mark.parametrize("declared", [-0.1, 0.0])
@pytest.mark.parametrize("pixel_offset", [0.0, -1000.0])
@pytest.mark.parametrize("classified", [True, False])
def test_earth_search_by_the_pixels_whatever_it_says(
    tmp_path: Path, flag: bool | None, declared: float, pixel_offset: float, classified: bool
) -> None:
    write_stac(
        tmp_path,
        PLANES,
        TRANSFORM,
        32652,
        WHEN,
        flag=flag,
        declared_offset=declared,
        pixel_offset=pixel_offset,
        scl=np.full(SHAPE, 5, np.uint8) if classified else None,
    )
    chip = assert_reads(one(tmp_path))
    (why,) = chip.provenance["decisions"]
    assert ("was taken off:" if pixel_offset == 0 else "is still in:") in why
    assert "darkest hundredth" in why


@pytest.mark.parametrize("pixel_offset", [0.0, -1000.0])
def test_a_bright_scene_is_never_read_with_the_wrong_offset(tmp_path: Path, pixel_offset: float) -> None:
    """Nothing in it is darker than 0.16: it is read as the flag says if that is possible, or refused."""
    bright = {band: plane + np.float32(0.16) for band, plane in PLANES.items()}
    for flag in (True, False, None):
        for declared in (0.0, -0.1):
            folder = tmp_path / f"{flag}{declared}"
            write_stac(
                folder, bright, TRANSFORM, 32652, WHEN, flag=flag, declared_offset=declared,
                pixel_offset=pixel_offset,
            )  # fmt: skip
            products, refusals = find_products([folder])
            honest = flag == (pixel_offset == 0.0)
            if flag is not None and not honest:
                continue  # the flag lies and the pixels can't tell: see the unit tests of `decide`
            assert len(products) + len(refusals) == 1
            for product in products:
                assert_reads(product, bright)


def test_clouds_do_not_hide_the_floor(tmp_path: Path) -> None:
    """Haze lifts the darkest pixels to where 1000 would put them: only clear classes are asked."""
    planes = {band: plane.copy() for band, plane in PLANES.items()}
    for plane in planes.values():
        plane[:, :100] = np.maximum(plane[:, :100], 0.1) + 0.01
    scl = np.full(SHAPE, 9, np.uint8)
    scl[:, 100:] = 4
    write_stac(tmp_path, planes, TRANSFORM, 32652, WHEN, flag=True, scl=scl)
    chip = assert_reads(one(tmp_path), planes)
    assert chip.provenance["offset"]["B02"] == 0


def floors(blue: float, green: float, red: float) -> Floors:
    return Floors({"B02": blue, "B03": green, "B04": red, "B08": 3000.0})


@pytest.mark.parametrize("declared", [None, 0.0, -1000.0])
def test_the_decision(declared: float | None) -> None:
    def offsets(found: Floors) -> list[float | None]:
        return [decide(found, said_removed=flag, declared=declared).offset for flag in (True, None, False)]

    assert offsets(floors(200, 300, 900)) == [0, 0, 0]  # a lake
    assert offsets(floors(1050, 1080, 1040)) == [-1000, -1000, -1000]  # the same with 1000
    # The more the metadata are against it, the more bands have to stand at the floor.
    assert offsets(floors(1100, 1300, 1700)) == [None, -1000, -1000]
    assert offsets(floors(1200, 1700, 2200)) == [None, None, -1000]  # sand without 1000, or steppe with it
    # Winter with it, if all metadata say so; without it, nothing would be darker than 0.16.
    assert offsets(floors(1600, 1900, 2300)) == [None, None, None if declared == 0.0 else -1000]
    assert offsets(floors(1900, 2100, 2300)) == [None, None, None]
    assert offsets(floors(4500, 4600, 4700)) == [0, None, None]  # cloud
    assert offsets(Floors({})) == [None, None, None]
    shadows = Floors({"B02": 1050.0, "B03": 1300.0, "B04": 1500.0, "B08": 2000.0}, deepest=700.0)
    assert offsets(shadows) == [0, 0, 0]  # bare ground without 1000: a reflectance of -0.03 isn't one


@pytest.mark.parametrize("flavour", ["c1", "cdse"])
def test_a_declared_offset_that_the_baseline_denies_is_settled_on_the_pixels(
    tmp_path: Path, flavour: str
) -> None:
    for name, pixel_offset in (("harmonised", 0.0), ("raw", -1000.0)):
        write_stac(
            tmp_path / name, PLANES, TRANSFORM, 32652, WHEN, flavour=flavour, declared_offset=0.0,
            pixel_offset=pixel_offset,
        )  # fmt: skip
        assert_reads(one(tmp_path / name))


def test_earth_search_keeps_esas_files_too(tmp_path: Path) -> None:
    """The "-jp2" assets have ESA's own numbers, whatever was done to the COGs."""
    path = write_stac(tmp_path, PLANES, TRANSFORM, 32652, WHEN, flag=True)
    item = json.loads(path.read_text(encoding="utf-8"))
    for key, asset in list(item["assets"].items()):
        name = asset["href"].rpartition("/")[2]
        (path.parent / name).unlink()
        item["assets"][f"{key}-jp2"] = {**asset, "href": f"s3://bucket/{name.replace('.tif', '.jp2')}"}
    path.write_text(json.dumps(item), encoding="utf-8")
    assert "none of the images" in refused(tmp_path)
    for band in ("B02", "B03", "B04", "B08"):
        write_raster(path.parent / f"{band}.jp2", numbers(PLANES[band], offset=-1000.0), TRANSFORM, 32652)
    chip = assert_reads(one(tmp_path))
    assert chip.provenance["offset"]["B02"] == -1000


def test_an_answer_of_a_search_saved_whole(tmp_path: Path) -> None:
    items = []
    for day in (5, 10):
        path = write_stac(tmp_path, PLANES, TRANSFORM, 32652, WHEN.replace(day=day), flavour="c1")
        items.append(json.loads(path.read_text(encoding="utf-8")))
        path.unlink()
    content = {"type": "FeatureCollection", "features": [*items, {"type": "Feature", "id": "other"}]}
    (tmp_path / "search.json").write_text(json.dumps(content), encoding="utf-8")
    products, refusals = find_products([tmp_path])
    assert refusals == []
    assert [product.part for product in products] == [item["id"] for item in items]
    assert len({product.acquisition for product in products}) == 2


def test_two_dates_cannot_have_the_same_pixels(tmp_path: Path) -> None:
    first = write_stac(tmp_path, PLANES, TRANSFORM, 32652, WHEN, flavour="c1")
    second = write_stac(tmp_path, PLANES, TRANSFORM, 32652, WHEN.replace(day=10), flavour="c1")
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in (first, second):
        path.rename(flat / path.name)
    for image in first.parent.glob("*.tif"):
        image.rename(flat / image.name)
    products, refusals = find_products([flat])
    assert products == []
    assert len(refusals) == 2
    assert all("same image files" in refusal.reason for refusal in refusals)


@pytest.mark.parametrize("style", ["relative", "absolute", "file", "signed"])
def test_links(tmp_path: Path, style: str) -> None:
    path = write_stac(tmp_path, PLANES, TRANSFORM, 32652, WHEN, flavour="c1", remote=False)
    item = json.loads(path.read_text(encoding="utf-8"))
    elsewhere = tmp_path / "somewhere else"
    path.parent.rename(elsewhere)
    for asset in item["assets"].values():
        name = asset["href"].removeprefix("./")
        asset["href"] = {
            "relative": f"../somewhere else/{name}",
            "absolute": str(elsewhere / name),
            "file": (elsewhere / name).as_uri(),
            "signed": f"/vsicurl/https://example.org/somewhere%20else/{name}?sig=a%2Fb#x",
        }[style]
    place = tmp_path if style == "signed" else tmp_path / "items"
    place.mkdir(exist_ok=True)
    (elsewhere / path.name).unlink()
    (place / "item.json").write_text(json.dumps(item), encoding="utf-8")
    assert_reads(one(place / "item.json"))
    assert_reads(one(tmp_path))


def test_an_item_copied_twice_counts_once(tmp_path: Path) -> None:
    path = write_stac(tmp_path, PLANES, TRANSFORM, 32652, WHEN, flavour="c1")
    (path.parent / "copy.json").write_bytes(path.read_bytes())
    assert one(tmp_path).provenance["item"] == path.stem


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"assets": None}, "isn't a whole STAC item: it has no assets"),
        ({"assets": {}}, "isn't a whole STAC item: it has no assets"),
        ({"assets": {"red": {}, "nir": 3}}, "none of the images that it names lies beside it"),
    ],
)
def test_fragments(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    path = write_stac(tmp_path, PLANES, TRANSFORM, 32652, WHEN)
    item = json.loads(path.read_text(encoding="utf-8")) | change
    if change["assets"] is None:
        del item["assets"]
    path.write_text(json.dumps(item), encoding="utf-8")
    assert reason in find_products([path])[1][0].reason


def test_odd_properties_stop_nothing(tmp_path: Path) -> None:
    good = write_stac(tmp_path / "good", PLANES, TRANSFORM, 32652, WHEN, flavour="c1")
    item = json.loads(good.read_text(encoding="utf-8"))
    odd: dict[str, Any] = {
        "datetime": 5, "platform": None, "s2:processing_baseline": [], "grid:code": {},
        "view:sun_elevation": "x",
    }  # fmt: skip
    for number, (key, value) in enumerate(odd.items()):
        place = tmp_path / str(number)
        place.mkdir()
        changed = {**item, "properties": {**item["properties"], key: value}}
        (place / "item.json").write_text(json.dumps(changed), encoding="utf-8")
    products, refusals = find_products([tmp_path])
    assert len(products) == 1
    assert len(refusals) == len(odd)
    assert not any("unexpectedly" in refusal.reason for refusal in refusals)


def test_missing_bands_and_damaged_images(tmp_path: Path) -> None:
    path = write_stac(tmp_path, PLANES, TRANSFORM, 32652, WHEN, flavour="c1")
    red = path.parent / "B04.tif"
    content = red.read_bytes()
    red.unlink()
    assert "lacks the band B04" in refused(tmp_path)
    assert "offset -1000" in refused(tmp_path)
    red.write_bytes(content[:100])
    assert "B04 can't be read" in refused(tmp_path)


def test_foreign_json_is_passed_over(tmp_path: Path) -> None:
    for name, content in {
        "list.json": "[1, 2]",
        "broken.json": '{"stac_version": "1.0.0", ',
        "deep.json": '{"stac_version":' + "[" * 100_000,
        "landsat.json": '{"type": "Feature", "stac_version": "1.0.0", "id": "LC08", "collection": "landsat",'
        ' "properties": {"platform": "landsat-8"}, "assets": {}}',
        "own.json": '{"type": "Feature", "stac_version": "1.0.0", "id": "S2A_x", "properties":'
        ' {"platform": "sentinel-2a", "railwatch:count": 3}}',
    }.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    assert find_products([tmp_path]) == ([], [])


# Publisher, level, offset of what the real items say; None: by the pixels.
EXPECTED = {
    "sentinel-2-c1-l2a": ("Earth Search c1", "L2A", -1000),
    "sentinel-2-l1c": ("Earth Search", "L1C", -1000),
    "sentinel-2-l2a__S2A_MSIL2A_2019": ("Planetary Computer", "L2A", 0),
    "sentinel-2-l2a": ("Earth Search", "L2A", None),
}


def test_every_real_item(real_imagery: Path) -> None:
    folder = real_imagery / "sentinel2" / "stac_items"
    seen = dict.fromkeys((*EXPECTED, "fragment"), 0)
    for path in sorted(folder.glob("*.json")):
        item = json.loads(path.read_text(encoding="utf-8"))
        if "assets" not in item:
            with pytest.raises(SceneError, match="whole STAC item"):
                item_metadata(item)
            seen["fragment"] += 1
            continue
        kind = max((key for key in EXPECTED if path.name.startswith(key)), key=len)
        seen[kind] += 1
        publisher, level, offset = EXPECTED[kind]
        found = item_metadata(item)
        assert (found.publisher, found.level, found.clock) == (publisher, level, "datatake"), path.name
        assert found.relative_orbit is not None
        assert found.sun_elevation_deg is not None
        assert found.tile is not None
        assert f"T{found.tile}" in found.product
        assert {"B02", "B03", "B04", "B08", "B11"} <= found.assets.keys()
        if offset is None:
            assert found.doubtful
            assert found.removed is True
            assert found.declared() == -1000  # still declared, though it has been taken off
        else:
            declared = found.declared()
            assert (found.ruled() if declared is None else declared) == offset
            assert found.ruled() == offset
    assert seen == {
        "sentinel-2-c1-l2a": 6,
        "sentinel-2-l1c": 5,
        "sentinel-2-l2a__S2A_MSIL2A_2019": 33,
        "sentinel-2-l2a": 7,
        "fragment": 10,
    }


def test_the_real_items_without_images_are_refused(real_imagery: Path) -> None:
    products, refusals = find_products([real_imagery / "sentinel2" / "stac_items"])
    assert products == []
    assert len(refusals) == 61
    assert sum("none of the images" in refusal.reason for refusal in refusals) == 51
