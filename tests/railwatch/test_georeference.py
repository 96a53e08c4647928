"""Where pictures lie."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pyproj import Geod

from railwatch.store.georeference import KEYWORD, Georeference, georeference_of

# Pixels of 0.8 m, the corner at the yard of Tumangang; 60 px of caption below.
PLACED = Georeference(
    "EPSG:32652", (0.8, 0.0, 633000.0, 0.0, -0.8, 4698000.0), (0.0, 0.0, 640.0, 300.0), (640, 360)
)


def png(info: PngInfo | None = None, size: tuple[int, int] = (640, 360)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size).save(stream, "PNG", pnginfo=info)
    return stream.getvalue()


def test_a_picture_tells_where_it_lies():
    assert georeference_of(png(PLACED.png_info())) == PLACED
    fields = PLACED.stac_fields()
    assert fields["proj:code"] == "EPSG:32652"
    assert fields["proj:shape"] == [360, 640]
    assert fields["proj:transform"] == [0.8, 0.0, 633000.0, 0.0, -0.8, 4698000.0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"crs": 3}',
        json.dumps({"crs": "EPSG:4326", "transform": [1, 2], "image": [], "size": [640, 360]}),
    ],
)
def test_what_makes_no_sense_is_no_place(text):
    info = PngInfo()
    info.add_itxt(KEYWORD, text)
    assert georeference_of(png(info)) is None


def test_a_picture_of_another_size_has_lost_its_place():
    assert georeference_of(png()) is None
    assert georeference_of(png(PLACED.png_info(), (320, 180))) is None


def test_the_ground_is_in_metres():
    numbers = PLACED.on_ground(130.61, 42.42)
    across, down = np.hypot(numbers[0], numbers[3]), np.hypot(numbers[1], numbers[4])
    assert across == pytest.approx(640 * 0.8, rel=4e-3)
    assert down == pytest.approx(640 * 0.8, rel=4e-3)
    moved = PLACED.on_ground(130.62, 42.42)
    assert numbers[2] - moved[2] == pytest.approx(
        Geod(ellps="WGS84").inv(130.61, 42.42, 130.62, 42.42)[2], rel=4e-3
    )


@pytest.mark.parametrize("crs", ["nowhere", "EPSG:999999"])
def test_an_unknown_reference_has_no_ground(crs):
    with pytest.raises(ValueError, match=r".+"):
        replace(PLACED, crs=crs).on_ground(130.6, 42.4)
