from __future__ import annotations

import datetime as dt

import pytest

from geo.filename_metadata import acquisition_time, find_datetime, sensor_name


def utc(*parts: int) -> dt.datetime:
    return dt.datetime(*parts, tzinfo=dt.UTC)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("S2B_MSIL2A_20231005T021001_N0509_R003_T52TFN_20231005T040000", utc(2023, 10, 5, 2, 10, 1)),
        ("20231005_021001_12_2413_3B_AnalyticMS", utc(2023, 10, 5, 2, 10, 1)),
        ("20231005_021001_ssc1_u0001_visual", utc(2023, 10, 5, 2, 10, 1)),
        ("23OCT05021001-M2AS-012345678010_01_P001", utc(2023, 10, 5, 2, 10, 1)),
        ("IMG_PHR1A_PMS_202310050210012_ORT_1", utc(2023, 10, 5, 2, 10, 1)),
        ("yard 2023-10-05T02-10-01Z", utc(2023, 10, 5, 2, 10, 1)),
        ("tumangang_2023-10-05", utc(2023, 10, 5)),
        ("tumangang_2023_10_05_crop", utc(2023, 10, 5)),
        ("tumangang20231005", utc(2023, 10, 5)),
        ("Tumangang 5 Oct 2023", utc(2023, 10, 5)),
        ("yard_05OCT2023", utc(2023, 10, 5)),
        # Numbers that look like dates.
        ("tile_20231345", None),
        ("order_1234567890123", None),
        ("order_012023100599", None),
        ("18810101", None),
        ("yard_2023", None),
        ("yard", None),
    ],
)
def test_times_in_names(name: str, expected: dt.datetime | None) -> None:
    assert find_datetime(name) == expected


def test_what_names_the_acquisition_wins() -> None:
    tags = {"ACQUISITIONDATETIME": "2023-10-05 02:10:01"}
    assert acquisition_time("yard_2020-01-01", tags, "2024:01:01 00:00:00") == utc(2023, 10, 5, 2, 10, 1)
    assert acquisition_time("yard_2020-01-01", {}, "2024:01:01 00:00:00") == utc(2020, 1, 1)
    assert acquisition_time("yard", {}, "2024:01:01 10:00:00") == utc(2024, 1, 1, 10)
    assert acquisition_time("yard", {}, None) is None


def test_a_day_takes_its_time_from_the_tiff_tag_of_that_day() -> None:
    assert acquisition_time("yard_2023-10-05", {}, "2023:10:05 02:10:01") == utc(2023, 10, 5, 2, 10, 1)


def test_a_zone_in_a_tag_is_honoured() -> None:
    assert acquisition_time("yard", {"acquired": "2023-10-05T11:10:01+09:00"}) == utc(2023, 10, 5, 2, 10, 1)


@pytest.mark.parametrize("tag", ["not a time", "0000:00:00 00:00:00", "0001-01-01T00:00:00", ""])
def test_nonsense_in_a_tag_is_no_time(tag: str) -> None:
    assert acquisition_time("yard", {}, tag) is None


@pytest.mark.parametrize(
    ("stem", "tags", "expected"),
    [
        ("x", {"satelliteid": "WV03"}, "WV03"),
        ("20231005_021001_ssc1_u0001_visual", {}, "SkySat"),
        ("20231005_021001_12_2413_3B_AnalyticMS", {}, "PlanetScope"),
        ("IMG_PHR1B_PMS_202310050210012_ORT_1", {}, "Pleiades-1B"),
        ("IMG_01_PNEO3_PMS-FS", {}, "Pleiades Neo"),
        ("DIM_SPOT7_PMS_2023", {}, "SPOT-7"),
        ("yard_WV3_2023", {}, "WorldView-3"),
        ("23OCT05021001-M2AS-012345678010", {}, "Maxar"),
        ("S2B_MSIL2A_20231005T021001", {}, "Sentinel-2B"),
        ("m_4207901_ne_17_060_20230505", {}, "NAIP"),
        ("yard", {}, "unknown"),
    ],
)
def test_sensors(stem: str, tags: dict[str, str], expected: str) -> None:
    assert sensor_name(stem, tags) == expected
