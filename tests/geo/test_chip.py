"""The pixels of one 10 m acquisition."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS

from aoi import AreaOfInterest
from geo.errors import SceneError
from geo.sentinel2.chip import Chip, chip_grid

BANDS = ("B02", "B03", "B04", "B08", "B11")


def chip(**changes: Any) -> Chip:
    values: dict[str, Any] = {
        "id": "S2A_20231005T022551_R046",
        "datetime": dt.datetime(2023, 10, 5, 2, 25, 51, tzinfo=dt.UTC),
        "platform": "Sentinel-2A",
        "relative_orbit": 46,
        "bands": BANDS,
        "reflectance": np.arange(5 * 3 * 4, dtype=np.float32).reshape(5, 3, 4) / 100,
        "transform": Affine(10, 0, 632_000, 0, -10, 4_698_000),
        "crs": CRS.from_epsg(32652),
    }
    return Chip(**(values | changes))


def test_bands_by_name_and_where_all_of_them_are_valid():
    one = chip()
    assert one.shape == (3, 4)
    assert one.band("B08")[0, 0] == pytest.approx(0.36)
    assert one.valid.all()
    holed = one.reflectance.copy()
    holed[2, 1, 1] = np.nan  # B04
    holed[4, 0, 0] = np.nan  # B11 is an extra: its gaps are no gaps
    valid = chip(reflectance=holed).valid
    assert not valid[1, 1]
    assert valid.sum() == 11


def test_planes_that_dont_fit_are_refused():
    with pytest.raises(SceneError, match="4 bands are named but the pixels have the shape"):
        chip(bands=BANDS[:4])
    with pytest.raises(SceneError, match=r"the scene classification has the shape \(2, 2\)"):
        chip(scl=np.zeros((2, 2), np.uint8))
    with pytest.raises(SceneError, match="there is no band B12, only B02"):
        chip().band("B12")


def square(longitude: float, latitude: float, name: str = "yard") -> AreaOfInterest:
    """An area of about a kilometre by 400 m."""
    wide = 0.005 / math.cos(math.radians(latitude))
    return AreaOfInterest(
        name, name, shapely.box(longitude - wide, latitude - 0.002, longitude + wide, latitude + 0.002)
    )


@given(st.floats(-179.9, 179.9), st.floats(-79.0, 83.0), st.floats(0.0, 900.0))
@settings(max_examples=12)
def test_a_grid_lies_on_the_lattice_of_the_products_and_covers_the_area(longitude, latitude, margin):
    area = square(longitude, latitude)
    grid = chip_grid(area, margin)
    a = grid.transform
    assert (a.a, a.b, a.d, a.e) == (10, 0, 0, -10)
    assert a.c % 10 == 0
    assert a.f % 10 == 0
    west, south, east, north = area.to_crs(grid.crs).boundary.bounds
    left, bottom, right, top = grid.bounds
    for inner, outer in ((west, left), (south, bottom), (right, east), (top, north)):
        assert 0 <= inner - outer - margin + 1e-6 < 10.001
    assert (right - left, top - bottom) == (10 * grid.shape[1], 10 * grid.shape[0])


@pytest.mark.parametrize(
    ("longitude", "latitude", "epsg"),
    [
        (131.9, 42.7, 32652),
        (-0.1, 51.5, 32630),
        (0.1, 51.5, 32631),
        (-179.9, 60.0, 32601),
        (179.9, 60.0, 32660),
        (151.2, -33.9, 32756),
        (-58.4, -34.6, 32721),
    ],
)
def test_the_zone_is_that_of_the_middle(longitude, latitude, epsg):
    grid = chip_grid(square(longitude, latitude))
    assert grid.crs == CRS.from_epsg(epsg)
    # Southern zones count from ten thousand kilometres down.
    north = grid.transform.f - (1e7 if latitude < 0 else 0)
    assert north == pytest.approx(latitude * 111_000, rel=0.01)


@pytest.mark.parametrize("latitude", [84.5, 89.0, -80.5])
def test_the_poles_are_refused(latitude):
    with pytest.raises(SceneError, match="area icy-yard lies beyond the latitudes that Sentinel-2 covers"):
        chip_grid(square(15.0, latitude, "icy-yard"))
