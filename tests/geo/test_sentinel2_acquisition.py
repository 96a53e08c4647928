"""Products grouped into acquisitions: each look at the ground counts once."""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS
from sentinel2_products import area_at, countryside, write_export, write_safe, write_stac

from geo.sentinel2.acquisition import Acquisition, group
from geo.sentinel2.formats.find import find_products
from geo.sentinel2.formats.product import Product

WHEN = dt.datetime(2023, 10, 5, 2, 10, 1, tzinfo=dt.UTC)
UTM = CRS.from_epsg(32652)
AREA = area_at((632_000, 4_697_000, 632_800, 4_697_400))
WIDE = Affine(10, 0, 600_000, 0, -10, 4_700_040)


def product(path: str, **changes: Any) -> Product:
    """A product without files, over the area: for what is decided without its pixels."""
    values: dict[str, Any] = {
        "path": Path(path),
        "part": "",
        "kind": "SAFE",
        "level": "L2A",
        "platform": "Sentinel-2A",
        "datetime": WHEN,
        "clock": "datatake",
        "relative_orbit": 3,
        "baseline": "05.09",
        "tile": path,
        "crs": UTM,
        "transform": WIDE,
        "shape": (10_980, 10_980),
        "bands": {},
    }
    return Product(**(values | changes))


def only(products: list[Product]) -> Acquisition:
    (acquisition,) = group(products, AREA)
    assert acquisition.candidates()[0] == acquisition.best
    assert len(acquisition.candidates()) == len(products)
    for one, reason in acquisition.others:
        assert reason.startswith(f"it is the same acquisition as {acquisition.best.name}, which ")
        assert reason.endswith(".")
        assert one.acquisition == acquisition.id == acquisition.best.acquisition
    return acquisition


def test_level_2a_comes_before_1c_and_the_newer_baseline_before_the_older() -> None:
    old, new = product("old", baseline="02.14", tile="T"), product("new", tile="T")
    raw = product("raw", level="L1C", baseline="05.11", tile="T")
    acquisition = only([raw, old, new])
    assert [one.path.name for one in acquisition.candidates()] == ["new", "old", "raw"]
    assert [reason.partition("which ")[2] for _, reason in acquisition.others] == [
        "has the newer processing baseline 05.09.",
        "is of level 2A.",
    ]
    assert (acquisition.id, acquisition.best.datetime) == ("S2A_20231005T021001_R003", WHEN)


def test_what_shows_more_of_the_area_comes_before_all() -> None:
    cut = product("cut", tile="T", transform=Affine(10, 0, 632_400, 0, -10, 4_700_040), baseline="05.11")
    whole = product("whole", tile="T", level="L1C", baseline="02.01")
    acquisition = only([cut, whole])
    assert acquisition.best.path.name == "whole"
    assert "shows more of the area (100% against 50%)" in acquisition.others[0][1]


@pytest.mark.parametrize(
    "changes",
    [
        {"platform": "Sentinel-2C"},  # in tandem: half a minute behind on the same orbit
        {"relative_orbit": 46},
        {"datetime": WHEN + dt.timedelta(days=5)},
        {"datetime": WHEN + dt.timedelta(minutes=100)},
        {"datetime": WHEN - dt.timedelta(minutes=2)},
    ],
)
def test_other_satellites_orbits_and_times_are_other_acquisitions(changes: dict[str, Any]) -> None:
    acquisitions = group([product("a"), product("b", **changes)], AREA)
    assert len(acquisitions) == 2
    assert len({one.id for one in acquisitions}) == 2
    assert acquisitions == sorted(acquisitions, key=lambda one: one.best.datetime)


def test_what_one_product_does_not_know_another_does() -> None:
    """A tile's own time is up to half an hour after its datatake's start."""
    vague = product(
        "vague", tile="T", platform="Sentinel-2", relative_orbit=None, clock="tile", baseline="05.11",
        datetime=WHEN + dt.timedelta(minutes=27),
    )  # fmt: skip
    day = product(
        "day", tile="T", platform="Sentinel-2", relative_orbit=None, clock="day", baseline=None,
        datetime=WHEN.replace(hour=0, minute=0, second=0),
    )  # fmt: skip
    acquisition = only([day, vague, product("exact", tile="T")])
    assert acquisition.best.path.name == "vague"
    assert acquisition.id == "S2A_20231005T021001_R003"
    for one in acquisition.candidates():
        assert (one.platform, one.relative_orbit, one.datetime, one.clock) == (
            "Sentinel-2A", 3, WHEN, "datatake",
        )  # fmt: skip


def test_a_vague_product_joins_no_two_that_are_at_odds() -> None:
    later = WHEN + dt.timedelta(seconds=28)
    leading = product("a", tile="T")
    trailing = product("c", tile="T", platform="Sentinel-2C", datetime=later)
    vague = product(
        "v", tile="T", platform="Sentinel-2", relative_orbit=None, clock="tile", datetime=later, baseline=None
    )
    acquisitions = group([vague, leading, trailing], AREA)
    assert [one.best.platform for one in acquisitions] == ["Sentinel-2A", "Sentinel-2C"]
    assert sum(len(one.candidates()) for one in acquisitions) == 3


def test_starts_of_one_datatake_may_differ_by_seconds() -> None:
    late = product("late", tile="T", datetime=WHEN + dt.timedelta(seconds=3), baseline="02.09")
    assert only([late, product("early", tile="T")]).id == "S2A_20231005T021001_R003"


def test_products_elsewhere_are_left_out() -> None:
    far = product("far", transform=Affine(10, 0, 300_000, 0, -10, 4_700_040))
    assert group([far], AREA) == []
    assert group([], AREA) == []


POOL = [
    product(f"{name}{platform[-1]}{day}", tile="T", level=level, baseline=baseline, kind=kind,
            platform=platform, relative_orbit=orbit, clock=clock,
            datetime=WHEN + dt.timedelta(days=day, seconds=extra))
    for day in (0, 5)
    for platform in ("Sentinel-2A", "Sentinel-2B")
    for name, level, baseline, kind, orbit, clock, extra in (
        ("new", "L2A", "05.09", "SAFE", 3, "datatake", 0),
        ("old", "L1C", "02.09", "SAFE", 3, "datatake", 2),
        ("item", "L2A", "05.00", "STAC", None, "tile", 600),
    )
]  # fmt: skip


@given(st.sets(st.sampled_from(range(len(POOL))), min_size=1), st.randoms(use_true_random=False))
def test_the_order_of_products_changes_nothing(chosen: set[int], generator: random.Random) -> None:
    products = [POOL[index] for index in sorted(chosen)]
    expected = group(products, AREA)
    assert {one for each in expected for one in (c.path for c in each.candidates())} == {
        one.path for one in products
    }
    generator.shuffle(products)
    assert group(products, AREA) == expected


def write_tiles(folder: Path) -> tuple[Path, Path]:
    """The same pass on two tiles; the area lies nearer to the middle of the second."""
    planes = countryside((120, 160))
    north = Affine(10, 0, 631_500, 0, -10, 4_697_500)
    south = Affine(10, 0, 631_500, 0, -10, 4_697_900)
    return (
        write_safe(folder, planes, north, 32652, WHEN, tile="52TFN", tile_seconds=240),
        write_safe(folder, planes, south, 32652, WHEN, tile="52TFM", tile_seconds=255),
    )


def test_of_two_tiles_the_one_in_whose_middle_the_area_lies(tmp_path: Path) -> None:
    _, south = write_tiles(tmp_path)
    acquisition = only(find_products([tmp_path])[0])
    assert acquisition.best.path == south
    assert "further from the edge of its tile (52TFM)" in acquisition.others[0][1]


def test_a_tile_that_is_empty_over_the_area_is_not_the_best(tmp_path: Path) -> None:
    """Both rasters cover the area, but one of them has no data there."""
    planes = countryside((120, 160))
    empty = {band: np.full_like(plane, np.nan) for band, plane in planes.items()}
    for plane in empty.values():
        plane[:20] = 0.1
    north = Affine(10, 0, 631_500, 0, -10, 4_697_500)
    south = Affine(10, 0, 631_500, 0, -10, 4_697_900)
    full = write_safe(tmp_path, planes, north, 32652, WHEN, tile="52TFN")
    write_safe(tmp_path, empty, south, 32652, WHEN, tile="52TFM")
    acquisition = only(find_products([tmp_path])[0])
    assert acquisition.best.path == full
    assert "(100% against 0%)" in acquisition.others[0][1]


def test_the_two_halves_of_a_tile(tmp_path: Path) -> None:
    """A tile across the end of a datastrip comes as two products of the same time, tile and baseline."""
    planes = countryside((160, 200))
    transform = Affine(10, 0, 631_500, 0, -10, 4_697_900)
    halves = []
    for number, part in enumerate((np.s_[:30], np.s_[30:])):
        half = {band: plane.copy() for band, plane in planes.items()}
        for plane in half.values():
            plane[part] = np.nan
        path = write_stac(tmp_path, half, transform, 32652, WHEN, flavour="earth-search", sequence=number)
        halves.append(path)
    acquisition = only(find_products([tmp_path])[0])
    assert acquisition.best.path == halves[0]  # whose first 300 m are empty: north of the area


def test_every_kind_of_one_image(tmp_path: Path) -> None:
    planes = countryside((120, 160))
    transform = Affine(10, 0, 631_500, 0, -10, 4_697_900)
    put = (planes, transform, 32652, WHEN)
    best = write_safe(tmp_path / "safe", *put)
    write_safe(tmp_path / "zip", *put, zipped=True, baseline="02.09")
    write_safe(tmp_path / "raw", *put, level="L1C")
    for flavour in ("earth-search", "c1", "l1c", "planetary-computer", "cdse"):
        write_stac(tmp_path / flavour, *put, flavour=flavour)
    write_export(tmp_path / "gee" / "20231005T021001_20231005T021003_T52TFN.tif", planes, transform, 32652)
    acquisition = only(find_products([tmp_path])[0])
    assert acquisition.best.path == best
    assert len(acquisition.others) == 8
    levels = [one.level for one in acquisition.candidates()]
    assert levels == sorted(levels, key=["L2A", "L1C", "unknown"].index)


def test_grouping_again_changes_nothing(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    (first,) = group(find_products([tmp_path])[0], AREA)
    assert group(first.candidates(), AREA) == [first]
    assert replace(first.best) == first.best
