"""The pixels of one 10 m acquisition."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from geo.chip import Chip
from geo.errors import SceneError

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
