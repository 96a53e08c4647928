"""Where a place is: coordinates, the map of countries, rakes over a picture, and two dates on one."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import geopandas as gpd
import pytest
from affine import Affine
from PIL import Image
from report_stores import observation
from shapely import Polygon, affinity, box

from detector.wagons.rakes import rakes_of
from railwatch.pages.report.facts import trust_tables
from railwatch.pages.where import Coordinates, countries_near, locator
from railwatch.store.georeference import Georeference
from railwatch.store.store import Store

CRS = "EPSG:32652"


@pytest.mark.parametrize(
    ("longitude", "latitude", "mgrs"),
    [
        # By GEOTRANS, as the package mgrs wraps it.
        (130.6081, 42.4214, "52T FM 32298 97818"),
        (5.3, 60.4, "32V KN 96191 01684"),
        (151.2, -33.87, "56H LH 33510 50800"),
        (15.6, 78.2, "33X WG 13696 80760"),
        (12.0, 85.0, ""),
    ],
)
def test_coordinates_in_the_military_grid(longitude: float, latitude: float, mgrs: str) -> None:
    assert Coordinates(longitude, latitude).mgrs == mgrs


def test_coordinates_as_people_write_them() -> None:
    here = Coordinates(-58.37, -34.6)
    assert here.decimal == "34.6000° S, 58.3700° W"
    assert here.dms == "34°36\u203200\u2033 S, 58°22\u203212\u2033 W"


def test_the_map_of_countries_says_where_only_if_it_can_tell() -> None:
    # Three kilometres from two borders the outlines, which are some kilometres off, can't tell the side.
    tumangang = Coordinates(130.6081, 42.4214)
    assert countries_near(tumangang) == ["China", "North Korea", "Russia"]
    drawn = ElementTree.fromstring(str(locator(tumangang)))
    assert not [one for one in drawn.iter("path") if "home" in one.get("class", "")]
    assert {"North Korea", "China"} <= {one.text for one in drawn.iter("text")}
    inland = Coordinates(10.5, 52.2)
    assert countries_near(inland) == ["Germany"]
    drawn = ElementTree.fromstring(str(locator(inland)))
    assert len([one for one in drawn.iter("path") if "home" in one.get("class", "")]) == 1
    assert countries_near(Coordinates(0.0, 0.0)) == []


def wagons(rows: list[tuple[float, float, int]]) -> gpd.GeoDataFrame:
    """Rows of cars of 14 m: begin of the row, its track's y, number; turned by 20 degrees."""
    shapes: list[Polygon] = []
    for begin, y, number in rows:
        shapes += [
            box(begin + 15.0 * one, y - 1.5, begin + 15.0 * one + 14.0, y + 1.5) for one in range(number)
        ]
    turned = [affinity.rotate(one, 20.0, origin=(0, 0)) for one in shapes]
    frame: dict[str, Any] = {"category": "freight", "counted": True, "track": "t1"}
    return gpd.GeoDataFrame(
        {name: [value] * len(turned) for name, value in frame.items()}, geometry=turned, crs=CRS
    )


def test_rakes_are_coupled_cars_of_one_track() -> None:
    # Two rows on neighbouring tracks 4.6 m apart, and one further on, after a gap of 30 m.
    found = rakes_of(wagons([(0.0, 0.0, 5), (0.0, 4.6, 3), (104.0, 0.0, 2)]))
    assert [one.cars for one in found] == [5, 3, 2]
    assert found[0].length_m == pytest.approx(74.0, abs=0.2)
    assert found[0].track == "t1"


def test_the_words_on_a_picture_stand_on_no_car_no_other_words_and_not_on_the_credit() -> None:
    from railwatch.pages.report.evidence import _bounds, _callouts

    rows = wagons([(0.0, 0.0, 6), (130.0, 0.0, 5), (30.0, 4.6, 4), (145.0, 4.6, 3)])
    georeference = Georeference(CRS, (0.5, 0, -60.0, 0, -0.5, 120.0), (0, 0, 640, 400), (640, 400))
    drawn = list(_callouts(rows, georeference))
    words = [ElementTree.fromstring(str(one)) for one in drawn if str(one).startswith("<text")]
    assert len(words) == 4
    boxes = []
    for one in words:
        x, y, size = (float(one.get(name, "")) for name in ("x", "y", "font-size"))
        boxes.append(box(x, y - size, x + 0.56 * size * len(one.text or ""), y + 0.3 * size))
    cars = [box(*_bounds(shape, ~Affine(*georeference.transform))) for shape in rows.geometry]
    foot = box(0, 380, 640, 400)
    for number, one in enumerate(boxes):
        assert not any(one.intersects(other) for other in (*boxes[:number], *cars, foot))


def picture(colour: tuple[int, int, int], east: float) -> tuple[bytes, bytes]:
    """An evidence picture of 320 x 200 m at 0.5 m with a caption, and the image without drawings."""
    size = (640, 440)
    placed = Georeference(CRS, (0.5, 0, east, 0, -0.5, 4_698_000.0), (0, 0, 640, 400), size)
    stream, clean = io.BytesIO(), io.BytesIO()
    Image.new("RGB", size, colour).save(stream, "PNG", pnginfo=placed.png_info())
    Image.new("RGB", (640, 400), colour).save(clean, "WEBP", lossless=True)
    return stream.getvalue(), clean.getvalue()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    kept = Store.open(tmp_path_factory.mktemp("pictures") / "store")
    for day, colour, east in ((2, (90, 90, 90), 632_000.0), (12, (160, 60, 60), 632_100.0)):
        drawn, clean = picture(colour, east)
        when = datetime(2023, 10, day, 2, 20, tzinfo=UTC)
        kept.add(observation(when, 8.0, aoi="yard"), evidence=drawn, image=clean)
    return kept


def test_two_dates_on_one_picture_show_the_same_ground(railwatch: Any, store: Store, tmp_path: Path) -> None:
    out = tmp_path / "both.png"
    said = railwatch("compare-images", "2023-10-02", "2023-10-12", "--store", store.path, "--out", out)
    assert said.code == 0, said.err
    with Image.open(out) as image:
        assert image.width > 640
        # The second picture begins 100 m (200 pixels) further east: before it there is nothing to show.
        middle = image.height // 2 + 100
        stacked = image.height > 1.2 * image.width
        left = (30, middle) if stacked else (image.width // 2 + 40, 100)
        right = (600, middle) if stacked else (image.width - 60, 100)
        assert image.getpixel(left) == (225, 225, 225)
        assert image.getpixel(right) == pytest.approx((160, 60, 60), abs=3)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("2023-10-02", "2023-10-03"), "there is no count of yard on 2023-10-03; the nearest are those of"),
        (("2023-10-02", "2023-10-12", "--out", "a.jpg"), "a.jpg: two dates are written as a PNG file"),
    ],
)
def test_two_dates_that_cant_be_compared(
    railwatch: Any, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: Any, fault: str
) -> None:
    monkeypatch.chdir(tmp_path)
    given = arguments if "--out" in arguments else (*arguments, "--out", "a.png")
    said = railwatch("compare-images", *given, "--store", store.path)
    assert said.code == 2
    assert fault in said.error


def test_outlines_lie_where_the_boxes_are(store: Store) -> None:
    from railwatch.pages.report.evidence import evidence_file, furniture

    id = store.observations()[0].id
    file = evidence_file(store, id)
    assert file is not None
    assert file.clean
    assert file.georeference is not None
    assert file.georeference.size == (640, 400)
    assert ~Affine(*file.georeference.transform) @ (632_000.0, 4_698_000.0) == pytest.approx((0.0, 0.0))
    drawn = ElementTree.fromstring(str(furniture(file.georeference)))
    bar = next(one for one in drawn.iter("path") if one.get("class") == "bar")
    begin, end = bar.get("d", "").removeprefix("M").split(",")[0], bar.get("d", "").split("H")[1]
    length = next(one.text for one in drawn.iter("text") if one.text and one.text.endswith("m"))
    assert (float(end) - float(begin)) * 0.5 == pytest.approx(float(length.split()[0]), rel=0.01)


def test_figures_of_foreign_weights_are_not_claimed() -> None:
    (table,) = trust_tables([observation(datetime(2023, 1, 1, tzinfo=UTC), 5.0)])
    assert table.rows == ()
    assert "doesn't know" in table.note


def test_figures_of_the_shipped_weights_tell_real_from_simulated() -> None:
    import json
    from importlib import resources

    card = json.loads(resources.files("detector").joinpath("weights", "wagon.json").read_text("utf-8"))
    own = observation(datetime(2023, 1, 1, tzinfo=UTC), 5.0)
    given = dict(own.provenance) | {"model_checksum": card["sha256"], "model": card["name"], "gsd_m": 0.5}
    (table,) = trust_tables([observation(own.datetime, 5.0, provenance=given)])
    kinds = {row.kind for row in table.rows}
    assert kinds == {"real", "simulated"}
    real = next(row for row in table.rows if row.kind == "real")
    assert real.size == f"{card['figures']['real_images']['count_true']:,.0f} cars"
