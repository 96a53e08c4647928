from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aoi import area_names
from aoi.errors import InputError
from seeds import COLUMNS, PublishedError, comparable, load_published, read_rows
from seeds.published import COVERS, PRECISIONS, STATEMENTS, UNITS, PublishedRow
from seeds.tables import RowError, parse_row

GOOD = {
    "id": "yard-2024-01-02-me",
    "site": "my-yard",
    "image_date_start": "2024-01-02",
    "image_date_end": "2024-01-02",
    "covers": "facility",
    "statement": "exact",
    "count_low": "5",
    "count_high": "5",
    "comparable": "true",
    "publisher": "Me",
}


def write(path: Path, *rows: dict[str, str], header: list[str] | None = None) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, header or sorted({key for row in rows for key in row}))
        table.writeheader()
        table.writerows(rows)
    return path


# --------------------------------------------------------------------------------------------------
# The bundled table


def test_the_bundled_table_is_whole_and_right() -> None:
    rows = read_rows()
    assert len(rows) == 43
    assert {site for row in rows for site in row.site} == {"tumangang", "khasan", "rajin"}
    assert {"tumangang", "khasan"} <= set(area_names())
    # nothing is held back, and nothing let through, by hand
    assert [row.id for row in rows if row.comparable != (row.why_not_comparable() is None)] == []
    assert all(row.url and row.note for row in rows)
    assert all(len(row.note) < 400 for row in rows)
    # the vocabulary is used, not only declared
    assert {row.covers for row in rows} == set(COVERS)
    assert {row.unit for row in rows} == set(UNITS)
    assert {row.precision for row in rows} == set(PRECISIONS)
    assert {row.statement for row in rows} == set(STATEMENTS) - {"at_most"}


def test_the_frame_is_typed_and_sorted() -> None:
    frame = load_published()
    assert list(frame.columns) == list(COLUMNS)
    assert len(frame) == 43
    dated = frame["image_date_start"].dropna()
    assert dated.is_monotonic_increasing
    assert frame["image_date_start"].isna().tolist().index(True) == 42
    assert frame["comparable"].dtype == bool
    for column in ("count_low", "count_high", "length_m_low", "length_m_high"):
        assert frame[column].dtype == "float64"
    for column in ("image_date_start", "image_date_end"):
        assert pd.api.types.is_datetime64_dtype(frame[column])
    texts = frame.drop(columns=["image_date_start", "image_date_end"]).select_dtypes(
        exclude=["number", "bool"]
    )
    assert all(isinstance(value, str) for column in texts for value in texts[column])
    pd.testing.assert_frame_equal(frame, load_published())


def test_rows_about_two_sites_belong_to_both_and_compare_with_neither() -> None:
    (both,) = [row for row in read_rows() if len(row.site) == 2]
    for site in ("tumangang", "khasan"):
        assert both.id in set(load_published(site)["id"])
        assert both.id not in set(comparable(site)["id"])
    counts = {site: len(load_published(site)) for site in ("tumangang", "khasan", "rajin", "elsewhere")}
    assert counts == {"tumangang": 37, "khasan": 5, "rajin": 2, "elsewhere": 0}


def test_what_a_count_at_tumangang_is_compared_with() -> None:
    frame = comparable("tumangang")
    day = frame["image_date_start"].dt.strftime("%Y-%m-%d")
    facility = frame[frame["covers"] == "facility"].assign(day=day)
    ceiling = facility.iloc[0]
    assert (ceiling["statement"], ceiling["count_high"]) == ("ceiling", 20)
    assert pd.isna(ceiling["count_low"])
    assert str(ceiling["image_date_start"].date()) == "2018-10-01"
    assert str(ceiling["image_date_end"].date()) == "2023-09-30"
    values = facility.iloc[1:]
    assert dict(zip(values["day"], values["count_low"], strict=True)) == {
        "2023-10-05": 73,
        "2024-06-17": 255,
        "2024-12-03": 225,
    }
    assert (values["count_low"] == values["count_high"]).all()
    bounds = frame[frame["covers"] != "facility"].assign(day=day)
    assert set(bounds["statement"]) == {"at_least"}
    assert bounds["count_high"].isna().all()
    assert dict(zip(bounds["day"], bounds["count_low"], strict=True)) == {
        "2022-11-04": 3,
        "2022-11-18": 5,
        "2022-11-30": 8,
        "2023-02-03": 3,
        "2023-09-22": 4,
        "2023-09-24": 2,
        "2024-10-21": 8,
    }
    assert frame["image_date_start"].is_unique
    assert (frame["duplicate_of"] == "").all()
    assert (frame["part_of"] == "").all()


def test_october_2023_is_one_count_told_four_times() -> None:
    frame = load_published("tumangang")
    october = frame[frame["image_date_start"] == "2023-10-05"]
    assert len(october) == 4
    assert set(october["duplicate_of"]) == {"", "tumangang-2023-10-05-csis"}
    assert not frame["image_date_start"].eq(pd.Timestamp("2023-10-11")).any()


def test_the_empty_depot_is_no_empty_facility() -> None:
    frame = load_published("tumangang")
    (depot,) = frame[frame["image_date_start"] == "2023-09-14"].to_dict("records")
    assert (depot["covers"], depot["count_low"], depot["count_high"]) == ("zone", 0, 0)
    assert not depot["comparable"]
    assert depot["id"] not in set(comparable("tumangang")["id"])
    assert depot["id"] in set(comparable("tumangang", scope="zone")["id"])


def test_the_parts_of_june_2024_make_its_whole() -> None:
    frame = load_published("tumangang").set_index("id")
    parts = frame[frame["part_of"] == "tumangang-2024-06-17-csis"]
    assert parts["count_low"].sum() == frame.loc["tumangang-2024-06-17-csis", "count_low"] == 255
    assert comparable("khasan").set_index("id").loc["khasan-2024-06-17-csis", "count_low"] == 149


def test_other_scopes_are_given_as_they_are() -> None:
    trains = comparable("tumangang", scope="one_train")
    assert set(trains["covers"]) == {"one_train"}
    assert set(trains["unit"]) == {"cars"}
    assert "exact" in set(trains["statement"])
    assert comparable("rajin").empty
    assert comparable("elsewhere").empty
    with pytest.raises(ValueError, match="'yard' is none of the scopes"):
        comparable("tumangang", scope="yard")


# --------------------------------------------------------------------------------------------------
# A user's table


def test_a_users_table_needs_the_required_columns_only(tmp_path: Path) -> None:
    more = {**GOOD, "id": "b", "image_date_start": "2023-01-01", "image_date_end": "2023-12-31"}
    ceiling = {**more, "precision": "period", "statement": "ceiling", "count_low": "", "count_high": "9"}
    path = write(tmp_path / "mine.csv", {**GOOD, "precision": "day"}, ceiling)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    frame = load_published("my-yard", path=path)
    assert frame["id"].tolist() == ["b", "yard-2024-01-02-me"]
    assert frame["unit"].tolist() == ["cars", "cars"]
    assert comparable("my-yard", path=path)["count_high"].tolist() == [9, 5]
    assert load_published(path=write(tmp_path / "none.csv", header=list(GOOD))).empty


FAULTS: dict[str, tuple[dict[str, str], str]] = {
    "slug": ({"id": "My Row"}, "its id 'My Row' is no slug"),
    "site": ({"site": "a;a"}, "names a site twice"),
    "no id": ({"id": ""}, "it has no id"),
    "no publisher": ({"publisher": " "}, "it has no publisher"),
    "no date": ({"image_date_start": ""}, "lacks an image date"),
    "german date": ({"image_date_start": "02.01.2024"}, "'02.01.2024' is no date like"),
    "no such day": ({"image_date_end": "2024-02-30"}, "'2024-02-30' is no date"),
    "reversed": ({"image_date_end": "2023-12-31"}, "end .2023-12-31. before they start"),
    "two days": ({"image_date_end": "2024-01-03"}, "precision is day, yet"),
    "one day": ({"precision": "period"}, "precision is period, yet it is about one day"),
    "half a month": (
        {"precision": "month", "image_date_start": "2024-02-01", "image_date_end": "2024-02-28"},
        "aren't those of one month",
    ),
    "unknown date": ({"precision": "unknown"}, "precision is unknown, yet"),
    "covers": ({"covers": "yard"}, "'yard' is none of facility, zone"),
    "statement": ({"statement": "about"}, "'about' is none of exact"),
    "count": ({"count_low": "5.5"}, "'5.5' is no whole number"),
    "negative": ({"count_low": "-1"}, "'-1' is no whole number"),
    "reversed counts": ({"statement": "interval", "count_low": "9"}, "count_high .5. is under"),
    "exact without": ({"count_high": ""}, "statement exact needs count_low and count_high, equal"),
    "interval": ({"statement": "interval"}, "interval needs count_low under count_high"),
    "at least": ({"statement": "at_least"}, "at_least needs count_low alone"),
    "at most": ({"statement": "at_most"}, "at_most needs count_high alone"),
    "ceiling of a day": ({"statement": "ceiling", "count_low": ""}, "ceiling needs a period"),
    "at most of a period": (
        {"statement": "at_most", "count_low": "", "precision": "period", "image_date_end": "2024-02-01"},
        "at_most needs a day",
    ),
    "no length": ({"statement": "length_only", "count_low": "", "count_high": ""}, "needs a length"),
    "cars by length": (
        {"statement": "length_only", "length_m_low": "9", "length_m_high": "9"},
        "may have a count of trains, not of cars",
    ),
    "words": ({"statement": "qualitative"}, "qualitative has no count"),
    "half a length": ({"length_m_low": "100"}, "one of length_m_low and length_m_high"),
    "reversed length": ({"length_m_low": "100", "length_m_high": "90"}, "is under its length_m_low"),
    "length in words": ({"length_m_low": "100 m"}, "'100 m' is no length"),
    "flag": ({"comparable": "yes"}, "'yes' is neither true nor false"),
    "url": ({"url": "www.example.org"}, "is no web address"),
    "published": ({"published": "May 2024"}, "'May 2024' is no date like 2023-10-05, 2023-10 or 2023"),
    "trains": ({"unit": "trains"}, "marked comparable, but it counts trains"),
    "both": ({"site": "a;b"}, "marked comparable, but it is about several sites"),
    "zero of a part": ({"covers": "zone", "count_low": "0", "count_high": "0"}, "gives no least number"),
    "passing": ({"covers": "passing"}, "don't stand there together"),
    "month": (
        {"precision": "month", "image_date_start": "2024-02-01", "image_date_end": "2024-02-29"},
        "its image date is a month",
    ),
    "nobody": ({"duplicate_of": "x", "comparable": "false"}, "duplicate_of names 'x', which is no row"),
    "itself": ({"part_of": GOOD["id"], "comparable": "false"}, "no count of its own"),
    "another date": ({"id": "b", "image_date_start": "2024-01-03", "image_date_end": "2024-01-03",
                      "part_of": GOOD["id"], "comparable": "false"}, "another site or date"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_a_wrong_row_is_named_with_its_line(tmp_path: Path, change: dict[str, str], message: str) -> None:
    rows = [{**GOOD, **change}] if change.get("id") != "b" else [GOOD, {**GOOD, **change}]
    path = write(tmp_path / "mine.csv", *rows)
    with pytest.raises(PublishedError, match=message) as caught:
        load_published(path=path)
    assert str(caught.value).startswith(f"{path}: line {len(rows) + 1}: ")
    assert isinstance(caught.value, InputError)


def test_chains_of_duplicates_and_ids_taken_twice_are_refused(tmp_path: Path) -> None:
    second = {**GOOD, "id": "b", "duplicate_of": GOOD["id"], "comparable": "false"}
    third = {**second, "id": "c", "duplicate_of": "b"}
    assert len(load_published(path=write(tmp_path / "two.csv", GOOD, second))) == 2
    with pytest.raises(
        PublishedError, match="line 4: its duplicate_of names 'b', which is no count of its own"
    ):
        load_published(path=write(tmp_path / "three.csv", GOOD, second, third))
    with pytest.raises(
        PublishedError, match="line 3: its id 'yard-2024-01-02-me' is taken already, in line 2"
    ):
        load_published(path=write(tmp_path / "twice.csv", GOOD, GOOD))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\xff\xfe\x00", "isn't a CSV table in UTF-8"),
        (b"id;site;covers\n1;2;3\n", "has no column image_date_start and no "),
        (b"a,b\n1,2\n", "has no column id and no "),
        (",".join([*GOOD, "precison"]).encode(), "unknown column 'precison'; did you mean 'precision'"),
        (",".join([*GOOD, "id"]).encode(), "has the column id twice"),
        ((",".join(GOOD) + "\na,b\n").encode(), "line 2 has 2 cells for "),
        ((",".join(GOOD) + '\n"a,b\n').encode(), "is no right CSV"),
    ],
)
def test_files_that_are_no_table(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(content)
    with pytest.raises(PublishedError, match=message) as caught:
        load_published(path=path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(PublishedError, match=r"none\.csv: can't be read"):
        load_published(path=tmp_path / "none.csv")


words = st.sampled_from(["", "5", "0", "9", "true", "false", "2024-01-02", "2024-01-31", "x", "day", "month"])
cells = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(COLUMNS, words),
        "statement": st.sampled_from(STATEMENTS),
        "covers": st.sampled_from(COVERS),
        "precision": st.sampled_from(PRECISIONS),
        "unit": st.sampled_from(UNITS),
    },
)


@given(cells)
def test_a_row_is_right_or_refused_in_words(change: dict[str, str]) -> None:
    values: dict[str, Any] = {**GOOD, **change}
    try:
        row = parse_row(PublishedRow, values)
    except RowError:
        return
    if row.count_low is not None and row.count_high is not None:
        assert row.count_low <= row.count_high
    assert not row.comparable or row.why_not_comparable() is None
