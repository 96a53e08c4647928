from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from aoi.errors import InputError
from seeds import PublishedError, load_claims, read_claims
from seeds.claims import CLAIM_STATEMENTS, CLAIM_UNITS, ROUTES, ClaimRow
from seeds.tables import RowError, parse_row

GOOD = {
    "id": "me-2024-02-01-containers",
    "made_by": "Me",
    "published": "2024-02-01",
    "period_start": "2023-09-01",
    "period_end": "2024-01-31",
    "statement": "at_least",
    "quantity_low": "100",
    "quantity_high": "",
    "unit": "containers",
    "corroboration": "primary",
    "title": "A text",
    "url": "https://example.org/a",
}


def write(path: Path, *rows: dict[str, str], header: list[str] | None = None) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, header or sorted({key for row in rows for key in row}))
        table.writeheader()
        table.writerows(rows)
    return path


def test_the_bundled_table_is_whole_and_right(repository: Path) -> None:
    rows = read_claims()
    assert all(row.url and row.note and row.title for row in rows)
    assert all(len(row.note) < 300 for row in rows)
    assert {row.unit for row in rows} <= set(CLAIM_UNITS)
    assert {row.route for row in rows} <= set(ROUTES)
    assert {row.statement for row in rows} <= set(CLAIM_STATEMENTS)
    # nothing read at second hand goes without the hand
    assert all(row.via for row in rows if row.corroboration == "secondary")
    # every number of shells goes with the containers that were said to hold them
    units = {row.id: row.unit for row in rows}
    assert all(units[row.with_claim] == "containers" for row in rows if row.with_claim)
    assert f"{len(rows)} lines, each with its source" in (repository / "seeds/README.md").read_text("utf-8")


def test_the_claim_that_started_it_is_there() -> None:
    frame = load_claims().set_index("id")
    claim = frame.loc["rok-mnd-2024-02-26-containers"]
    assert (claim["quantity_low"], claim["quantity_high"], claim["unit"]) == (6700, 6700, "containers")
    shells = frame.loc["rok-mnd-2024-02-26-shells"]
    assert 440 < shells["quantity_low"] / claim["quantity_low"] < 460


def test_the_frame_is_typed_and_sorted() -> None:
    frame = load_claims()
    assert frame["published"].is_monotonic_increasing
    assert all(pd.api.types.is_datetime64_dtype(frame[name]) for name in ("published", "period_start"))
    assert frame["quantity_low"].dtype == frame["quantity_high"].dtype == float
    assert frame["period_start"].isna().any()
    assert not frame["period_end"].isna().any()


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.csv", GOOD)
    frame = load_claims(path)
    assert frame["quantity_low"].tolist() == [100.0]
    assert frame["route"].tolist() == ["unknown"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "Not A Slug"}, "id 'Not A Slug' is no slug"),
        ({"published": "2024-02-30"}, "published '2024-02-30' is no date"),
        ({"period_start": "2024-01-31", "period_end": "2024-01-30"}, "before it starts"),
        ({"period_end": "2024-02-02"}, "after it was published"),
        ({"quantity_low": "-5"}, "no whole number"),
        ({"quantity_low": "0"}, "claim of nothing"),
        ({"quantity_high": "200"}, "don't go with the statement 'at_least'"),
        ({"statement": "up_to"}, "don't go with the statement 'up_to'"),
        ({"statement": "interval", "quantity_high": "100"}, "don't go with"),
        ({"statement": "roughly"}, "is none of"),
        ({"unit": "boats"}, "is none of"),
        ({"route": "air"}, "is none of"),
        ({"corroboration": "secondary"}, "by whom it was reported"),
        ({"url": "example.org"}, "no web address"),
        ({"made_by": ""}, "has no made_by"),
        ({"with": "nobody"}, "no first claim"),
        ({"with": "me-2024-02-01-containers"}, "no first claim"),
    ],
)
def test_wrong_rows_are_refused_with_their_line(tmp_path: Path, change: dict[str, str], message: str) -> None:
    path = write(tmp_path / "mine.csv", GOOD | {"id": "fine"}, GOOD | change, header=[*GOOD, "route", "with"])
    with pytest.raises(PublishedError, match=message) as refused:
        read_claims(path)
    assert str(path) in str(refused.value)
    assert "line 3" in str(refused.value)
    assert isinstance(refused.value, InputError)


def test_tables_that_cant_be_read(tmp_path: Path) -> None:
    def refused(path: Path) -> str:
        with pytest.raises(PublishedError) as error:
            read_claims(path)
        return str(error.value)

    assert "can't be read" in refused(tmp_path / "gone.csv")
    empty = tmp_path / "empty.csv"
    empty.write_text(" ")
    assert "is empty" in refused(empty)
    assert "taken already, in line 2" in refused(write(tmp_path / "twice.csv", GOOD, GOOD))
    assert "no column url" in refused(
        write(tmp_path / "short.csv", {k: v for k, v in GOOD.items() if k != "url"})
    )
    assert "did you mean 'route'" in refused(write(tmp_path / "odd.csv", GOOD | {"routes": "sea"}))
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in refused(binary)


def test_a_row_alone() -> None:
    row = parse_row(ClaimRow, GOOD)
    assert row.quantity_high is None
    cells: dict[str, Any] = GOOD | {"period_start": ""}
    assert parse_row(ClaimRow, cells).period_start is None
    with pytest.raises(RowError, match="no period_end"):
        parse_row(ClaimRow, GOOD | {"period_end": ""})
