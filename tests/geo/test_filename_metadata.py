from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo.filename_metadata import absurd, acquisition_time, date_in_name, parse_time, sensor_name


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
        ("m_4207901_ne_17_060_20230505_20231012", utc(2023, 5, 5)),
        ("LC08_L1TP_113030_20231005_20231010_02_T1", utc(2023, 10, 5)),
        ("WV03_20231005021001_104001008AB12300_23OCT05021001-P2AS_1", utc(2023, 10, 5, 2, 10, 1)),
        ("20230403T021001_20230403T021403_T52TFN", utc(2023, 4, 3, 2, 10, 1)),
        ("20231005T111001+0900", utc(2023, 10, 5, 2, 10, 1)),
        ("2023-10-05T11:10:01+09:00", utc(2023, 10, 5, 2, 10, 1)),
        ("20231005T233001-0500", utc(2023, 10, 6, 4, 30, 1)),
        ("2023-10-05 11:10 KST", utc(2023, 10, 5, 2, 10)),
        ("2023-10-05_1110 KST", utc(2023, 10, 5, 2, 10)),
        ("2023-10-05-00_00_2023-10-05-23_59_Sentinel-2_L2A_all", utc(2023, 10, 5)),
        ("20231005_2413", utc(2023, 10, 5)),
        ("20231005-0001", utc(2023, 10, 5)),
        ("25-10-2023", utc(2023, 10, 25)),
        ("31OCT23", utc(2023, 10, 31)),
        ("October 5, 2023", utc(2023, 10, 5)),
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
    found = date_in_name(name)
    assert (found.when, found.fault, found.doubt) == (expected, None, None)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("NAIP_2023-01-01_2023-12-31", "its name holds two dates (2023-01-01 and 2023-12-31)"),
        ("S2_timeseries_20230403_20230513", "two dates (2023-04-03 and 2023-05-13)"),
        ("yard_20231001 to 05", "a range of dates"),
        ("05-10-2023", "'05-10-2023', which may be 2023-05-10 or 2023-10-05"),
        ("05.10.2023_101500", "may be 2023-05-10 or 2023-10-05"),
        # A piece of it, 2023-10-15, would be a date too.
        ("05-10-2023-10-15-30", "may be 2023-05-10 or 2023-10-05"),
        ("23OCT05", "may be 2005-10-23 or 2023-10-05"),
        ("23OCT05021001", "may be 2005-10-23 or 2023-10-05"),
        ("2023-10-05 11-10 CST", "CST, which stands for several zones"),
        ("yard_19450810", "1945-08-10, which lies before the first satellite (1957)"),
        ("yard_20991231", "2099-12-31, which lies in the future"),
    ],
)
def test_what_is_ambiguous_is_not_read(name: str, fault: str) -> None:
    found = date_in_name(name)
    assert found.when is None
    assert fault in (found.fault or "")


@pytest.mark.parametrize(
    ("name", "expected", "doubt"),
    [
        ("Screenshot 2024-11-02 091500_modified", utc(2024, 11, 2, 9, 15), "a screenshot"),
        ("Screen Shot 2023-10-05 at 3.10.00 PM", utc(2023, 10, 5, 15, 10), "a screenshot"),
        ("Bildschirmfoto 2023-10-05 um 15.10.00", utc(2023, 10, 5, 15, 10), "a screenshot"),
        ("IMG_20231005_101500", utc(2023, 10, 5, 10, 15), "a screenshot or photograph"),
        ("yard_20231005_downloaded", utc(2023, 10, 5), "'downloaded'"),
        ("planet_basemap_2023-10-05", utc(2023, 10, 5), "several days"),
    ],
)
def test_doubtful_dates_are_used_with_a_doubt(name: str, expected: dt.datetime, doubt: str) -> None:
    found = date_in_name(name)
    assert found.when == expected
    assert doubt in (found.doubt or "")


@given(st.datetimes(dt.datetime(1960, 1, 1), dt.datetime(2025, 12, 31)), st.integers(-11, 13))
def test_what_is_written_with_a_zone_is_read_back(when: dt.datetime, hours: int) -> None:
    local = when.replace(microsecond=0, tzinfo=dt.timezone(dt.timedelta(hours=hours)))
    for text in (
        f"yard_{local:%Y%m%dT%H%M%S%z}",
        f"{local:%Y-%m-%d %H.%M.%S}{local:%z} cut",
        local.isoformat(),
    ):
        assert date_in_name(text).when == local
        assert parse_time(text).when == local


@given(
    st.dates(dt.date(1960, 1, 1), dt.date(2025, 12, 31)), st.dates(dt.date(1960, 1, 1), dt.date(2025, 12, 31))
)
def test_two_days_are_never_one(first: dt.date, second: dt.date) -> None:
    for form in ("%Y-%m-%d", "%Y%m%d", "%Y_%m_%d", "%d%b%Y"):
        found = date_in_name(f"yard_{first.strftime(form)}_{second.strftime(form)}")
        assert (found.when is None) == (first != second)


def test_the_age_of_satellites() -> None:
    now = dt.datetime.now(dt.UTC)
    assert absurd(now) is None
    assert absurd(now + dt.timedelta(days=5)) == "in the future"
    assert absurd(dt.date(1, 1, 1)) == "before the first satellite (1957)"
    assert absurd(dt.date(1957, 10, 4)) is None


def test_what_names_the_acquisition_wins() -> None:
    tags = {"ACQUISITIONDATETIME": "2023-10-05 02:10:01"}
    tiff = {"TIFFTAG_DATETIME": "2024:01:01 10:00:00"}
    assert acquisition_time("yard_2020-01-01", tags | tiff).when == utc(2023, 10, 5, 2, 10, 1)
    assert acquisition_time("yard_2020-01-01", tiff).when == utc(2020, 1, 1)
    assert acquisition_time("yard", {}).when is None
    written = acquisition_time("yard", tiff)
    assert (written.when, written.day_only) == (utc(2024, 1, 1, 10), False)
    assert "only its TIFFTAG_DATETIME" in (written.doubt or "")
    edited = acquisition_time("yard", tiff | {"TIFFTAG_SOFTWARE": "Adobe Photoshop 24.0"})
    assert "Adobe Photoshop" in (edited.doubt or "")
    # A name that can't be read isn't helped by when the file was written.
    assert acquisition_time("yard_05-10-2023", tiff).when is None


def test_a_tag_that_is_ambiguous_leaves_the_name_to_tell() -> None:
    assert acquisition_time("yard_2023-10-05", {"acquired": "05/10/2023"}).when == utc(2023, 10, 5)
    fault = acquisition_time("yard", {"acquired": "05/10/2023"}).fault
    assert "tag ACQUIRED" in (fault or "")
    assert "two dates" in (acquisition_time("yard", {"acquired": "2023-01-01/2023-12-31"}).fault or "")


def test_a_day_takes_its_time_from_the_tiff_tag_of_that_day() -> None:
    tiff = {"TIFFTAG_DATETIME": "2023:10:05 02:10:01"}
    assert acquisition_time("yard_2023-10-05", tiff).when == utc(2023, 10, 5, 2, 10, 1)
    edited = tiff | {"TIFFTAG_SOFTWARE": "GIMP 2.10"}
    assert acquisition_time("yard_2023-10-05", edited).when == utc(2023, 10, 5)


@pytest.mark.parametrize(
    "text",
    [
        "2023-10-05T11:10:01+09:00",
        "2023-10-05T11:10:01+0900",
        "2023:10:05 11:10:01 +0900",
        "Thu, 05 Oct 2023 11:10:01 +0900",
        "2023-10-05 11:10:01 KST",
    ],
)
def test_a_zone_in_a_tag_is_honoured(text: str) -> None:
    assert acquisition_time("yard", {"acquired": text}).when == utc(2023, 10, 5, 2, 10, 1)


@pytest.mark.parametrize("tag", ["not a time", "0000:00:00 00:00:00", "0001-01-01T00:00:00", ""])
def test_nonsense_in_a_tag_is_no_time(tag: str) -> None:
    assert acquisition_time("yard", {"TIFFTAG_DATETIME": tag}).when is None


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
