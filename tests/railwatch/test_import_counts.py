"""A person's own counts: spreadsheets of any country become reviewed observations."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest
from making import observation
from yards import Yard

import railwatch as package
from aoi.io import area_document
from railwatch.config import RunConfig
from railwatch.errors import ReviewError
from railwatch.pages.export import export
from railwatch.review.import_counts import import_counts
from railwatch.store.observation import Observation
from railwatch.store.store import Store

Railwatch = Callable[..., Any]
AREA = replace(Yard().area(), name="yard", title="The yard")

PLAIN = "date,count,note\n2019-05-01,12,from the article\n2019-06-03,20+,\n2019-07-09,~7,\n"


def kept(tmp_path: Path, text: str | bytes, **options: Any) -> tuple[Store, Any]:
    path = tmp_path / "counts.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    store = Store.open(tmp_path / "store")
    options = {"reviewer": "A. Analyst"} | options
    return store, import_counts(store, path, AREA, **options)


def test_rows_become_reviewed_observations(tmp_path: Path) -> None:
    store, result = kept(tmp_path, PLAIN)
    assert result.skipped == ()
    assert len(result.new) == 3
    found = store.observations()
    assert [one.count for one in found] == [12, 20, 7]
    assert [one.lower_bound for one in found] == [False, True, False]
    first = found[0]
    assert (first.method, first.review_of, first.abstained) == ("reviewed", None, False)
    assert (first.count_low, first.count_high) == (11.0, 13.0)
    assert first.provenance["review"]["reviewer"] == "A. Analyst"
    assert first.provenance["review"]["reason"] == "from the article"
    assert first.provenance["review"]["imported_from"] == "counts.csv"
    assert str(tmp_path) not in json.dumps(first.to_json())
    # Again: nothing new. And what a store holds can be read back by everybody.
    again = import_counts(store, tmp_path / "counts.csv", AREA, reviewer="A. Analyst")
    assert not again.new
    assert Observation.from_item(store.item(first.id)) == first


def test_a_corrected_row_takes_the_place_of_the_earlier_one(tmp_path: Path) -> None:
    store, _ = kept(tmp_path, "date,count\n2019-05-01,12\n")
    kept(tmp_path, "date,count\n2019-05-01,14\n")
    assert [one.count for one in store.observations()] == [14]
    assert len(store.observations(superseded=True)) == 2


def test_bounds_and_zones_of_a_row_reach_the_review(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    machine = observation(0)
    store.add(machine)
    zone = AREA.zones[0].id
    _, result = kept(tmp_path, f"date,count,zone_{zone}\n2023-09-01,14+,4\n")
    (found,) = result.observations
    assert (found.review_of, found.count, found.lower_bound) == (machine.id, 14, True)
    assert found.zones == {zone: {"count": 4.0, "count_low": 3.0, "count_high": 5.0}}
    assert not import_counts(store, tmp_path / "counts.csv", AREA, reviewer="A. Analyst").new


def test_a_day_that_a_machine_counted_is_a_review_of_it(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    machine = observation(0)
    store.add(machine)
    store.add(observation(1, method="occupancy", occupied_length_m=140.0))
    _, result = kept(tmp_path, "date,count,low,high\n2023-09-01,14,13,15\n2023-09-02,9,,\n")
    first, second = result.observations
    assert first.review_of == machine.id
    assert (first.count, first.count_low, first.count_high) == (14, 13, 15)
    assert result.reviews == {first.id}
    # Ten metres can't be counted by eye: that row is an observation of its own.
    assert second.review_of is None


def test_of_several_images_of_a_day_a_file_or_a_time_chooses(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    for number, (hour, name) in enumerate(((2, "a.tif"), (10, "b.tif"))):
        provenance = {"sha256": f"{number:064x}", "file": name, "created": "2023-10-06T00:00:00Z"}
        when = observation(0).datetime.replace(hour=hour)
        store.add(observation(0, datetime=when, scene=name, provenance=provenance))
    rows = (
        "date,count,file",
        "2023-09-01,14,",
        "2023-09-01,15,b.tif",
        "2023-09-01T03:00:00Z,16,",
        "2023-09-01,17,c.tif",
    )
    text = "\n".join(rows)
    _, result = kept(tmp_path, text)
    assert [(one.line, one.reason[:46]) for one in result.skipped] == [
        (2, "the store has 2 images of that day: name one i")
    ]
    by_count = {one.count: one for one in result.observations}
    assert store.get(str(by_count[15].review_of)).scene == "b.tif"  # type: ignore[union-attr]
    assert store.get(str(by_count[16].review_of)).scene == "a.tif"  # type: ignore[union-attr]
    assert by_count[17].review_of is None


@pytest.mark.parametrize(
    "text",
    [
        "date;count;low;high\n2019-05-01;12,5;11;14,5\n".encode("utf-16"),
        b"\xef\xbb\xbfDate\tCars\tMin\tMax\n2019-05-01\t12.5\t11\t14.5\n",
    ],
)
def test_spreadsheets_of_other_countries(tmp_path: Path, text: bytes) -> None:
    _, result = kept(tmp_path, text)
    (one,) = result.observations
    assert (one.count, one.count_low, one.count_high) == (12.5, 11, 14.5)


def test_an_xlsx_file_has_real_dates(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    for row in (
        ("Date", "Count", "Reviewer", "zone_west"),
        (date(2019, 5, 1), 12, "B", 5),
        (datetime(2019, 6, 3, 10, 24), "20+", "B", None),
        (None, None, None, None),
        ("2019-07-01", None, "B", None),
    ):
        sheet.append(row)
    path = tmp_path / "counts.xlsx"
    book.save(path)
    store = Store.open(tmp_path / "store")
    result = import_counts(store, path, AREA)
    first, second = result.observations
    assert first.zones["west"]["count"] == 5
    assert second.datetime.hour == 10
    assert [(one.line, one.reason) for one in result.skipped] == [(5, "it has no count")]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("05/10/2019,12", "isn't a date: write it like 2023-10-05, or say how it is written, as in"),
        ("2019-05-01,many", "count"),
        ("2019-05-01,-3", "less than nothing"),
        (",12", "it has no date"),
        ("2999-01-01,12", "lies in the future"),
        ("2019-05-01,12,13,14", "doesn't lie between low 13 and high 14"),
        ("2019-05-01,12,,,1.5", "isn't a share between 0 and 1"),
        ("2019-05-01,12,,,,north,3", "has no zone 'north' (it has west, east)"),
    ],
)
def test_a_row_that_makes_no_sense_is_left_out(tmp_path: Path, row: str, fault: str) -> None:
    head = "date,count,low,high,seen,file,zone_north\n2018-01-01,3,,,,,\n"
    if "north" in row:
        row = row.replace("north", "x.tif")
    _, result = kept(tmp_path, head + row + "\n")
    (skipped,) = result.skipped
    assert skipped.line == 3
    assert fault in skipped.reason
    assert len(result.observations) == 1


def test_other_dates_with_their_format(tmp_path: Path) -> None:
    _, result = kept(tmp_path, "date,count\n05/10/2019,12\n", date_format="%d/%m/%Y")
    assert result.observations[0].datetime.date() == date(2019, 10, 5)
    _, result = kept(tmp_path, "date,count\n2019-10-05,12\n", date_format="%d/%m/%Y")
    assert "--date-format %d/%m/%Y says otherwise" in result.skipped[0].reason
    _, result = kept(tmp_path, "date,count\n2019-10-05,12\n", date_format="")
    assert "'2019-10-05' isn't a date" in result.skipped[0].reason


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("counts.csv", b"day,wagons\n", "has no rows"),
        ("counts.csv", b"date,n\n2019-01-01,3\n", "has no column count"),
        ("counts.csv", b"a,count\n2019-01-01,3\n", "has no column date"),
        ("counts.csv", b"", "is empty"),
        ("counts.xlsx", b"PK no", "isn't an XLSX file"),
        ("counts.csv", b"date,count\n2019-01-01,3\n", "who counted"),
    ],
)
def test_a_file_that_can_not_be_used_is_one_sentence(
    tmp_path: Path, name: str, content: bytes, fault: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ReviewError, match=fault):
        import_counts(Store.open(tmp_path / "store"), path, AREA)


def test_the_command_makes_history_of_old_work(tmp_path: Path, railwatch: Railwatch) -> None:
    """No image at all: twenty counts by hand, and the twenty-first is judged against them."""
    area = tmp_path / "yard.geojson"
    area.write_text(json.dumps(area_document(AREA)))
    rows = [f"2019-{1 + number // 4:02}-{1 + 7 * (number % 4):02},{4 + number % 3}" for number in range(40)]
    table = tmp_path / "counts.csv"
    table.write_text("\n".join(["date,count", *rows, "2020-01-15,60"]))
    store = tmp_path / "store"
    done = railwatch("import", table, "--store", store, "--reviewer", "Me")
    assert "which area?" in done.error
    done = railwatch("import", table, "--store", store, "--aoi", area, "--reviewer", "Me")
    assert done.code == 0, done.err
    assert done.out == "41 new, 0 known already, 0 skipped\n"
    done = railwatch("import", table, "--store", store, "--reviewer", "Me", "--json")
    assert not [one for one in json.loads(done.out)["observations"] if one["new"]]
    verdicts = package.open_store(store).verdicts()
    assert verdicts.iloc[-1]["verdict"] in ("unprecedented", "elevated")
    done = railwatch("report", "--store", store, "--out", tmp_path / "r.html")
    assert done.code == 0, done.err
    # What was exported can be imported into another store.
    export(Store.open(store), tmp_path / "again.csv", "csv")
    other = Store.open(tmp_path / "other")
    other.keep_area(AREA, RunConfig())
    result = import_counts(other, tmp_path / "again.csv", AREA, reviewer="Me")
    assert sorted(one.count or 0 for one in result.observations) == sorted(
        pd.read_csv(tmp_path / "again.csv")["count"]
    )
    table.write_text("date,count\nsoon,many\n")
    done = railwatch("import", table, "--store", store, "--reviewer", "Me")
    assert "no row could be taken: line 2: 'soon' isn't a date" in done.error
