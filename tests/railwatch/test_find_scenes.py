from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import rasterio
from affine import Affine
from making import observation
from PIL import Image
from rasterio.shutil import copy as copy_raster
from yards import NORTH, WEST, Yard

from railwatch.config import SceneSettings
from railwatch.errors import ConfigError
from railwatch.pipeline.find_scenes import Candidate, Dates, find_scenes, read_dates, select
from railwatch.pipeline.run import look_for
from railwatch.store.store import Store

YARD = Yard(gsd_m=1.0)


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def choose(folder: Path, **options: object) -> tuple[list[Candidate], dict[str, str]]:
    found, missing = find_scenes([folder])
    settings = options.pop("settings", SceneSettings())
    dates = options.pop("dates", Dates())
    kept, skipped = select(found, YARD.area(), settings, dates, **options)  # type: ignore[arg-type]
    return kept, {one.path.name: one.reason for one in [*missing, *skipped]}


# Finding


def test_scenes_are_found_at_any_depth_once_and_in_order(tmp_path: Path) -> None:
    for name in (
        "b/c/d/2.TIF",
        "a.png",
        "b/1.jpeg",
        "b/c/x.vrt",
        "z.mbtiles",
        "b/S2A_MSIL2A_1_2.SAFE/IMG_DATA/B02.jp2",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    found, skipped = find_scenes([tmp_path / "b", tmp_path, tmp_path / "a.png"])
    assert names(found) == ["a.png", "1.jpeg", "S2A_MSIL2A_1_2.SAFE", "2.TIF", "x.vrt", "z.mbtiles"]
    assert skipped == []


def test_what_is_no_scene_is_passed_over(tmp_path: Path) -> None:
    others = (
        ".hidden.tif",
        ".cache/1.tif",
        "1.tif.part",
        "~1.tif",
        "1.tif.aux.xml",
        "1.tfw",
        "1.tif.ovr",
        "readme.txt",
        "20231005_3B_udm2.tif",
        "23OCT05-BROWSE.JPG",
        "PREVIEW_PHR1A.JPG",
        "1_thumb.png",
        "counts.csv",
    )
    for name in (*others, "1.tif"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    store = Store.open(tmp_path / "store")
    (store.path / "items" / "evidence.png").write_bytes(b"x")
    found, _ = find_scenes([tmp_path])
    assert names(found) == ["1.tif"]
    # A file that is named is tried, whatever it is called.
    found, _ = find_scenes([tmp_path / "readme.txt"])
    assert names(found) == ["readme.txt"]


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    (tmp_path / "data" / "sub").mkdir(parents=True)
    (tmp_path / "data" / "sub" / "1.tif").write_bytes(b"x")
    (tmp_path / "data" / "sub" / "up").symlink_to(tmp_path / "data")
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "link").symlink_to(tmp_path / "data" / "sub")
    found, _ = find_scenes([tmp_path / "archive"])
    assert names(found) == ["1.tif"]
    found, _ = find_scenes([tmp_path])
    assert names(found) == ["1.tif"]


def test_a_folder_is_walked_once_for_products_and_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a/1.tif", "a/b/2.png", "a/S2A_MSIL2A_1_2.SAFE/empty"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "S2B_MSIL2A_3_4.SAFE").mkdir()
    walked: list[str] = []
    walk = os.walk

    def counted(top: Path, **options: bool) -> Iterator[tuple[str, list[str], list[str]]]:
        for place in walk(top, **options):
            walked.append(str(place[0]))
            yield place

    monkeypatch.setattr(os, "walk", counted)
    found = look_for([tmp_path])
    assert sorted(walked) == sorted(
        {str(tmp_path), *(str(one) for one in tmp_path.rglob("*") if one.is_dir())}
    )
    assert names(list(found.images)) == ["S2B_MSIL2A_3_4.SAFE", "1.tif", "2.png"]


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    found, skipped = find_scenes([tmp_path / "empty", tmp_path / "gone.tif"])
    assert found == []
    assert [(one.path, one.reason) for one in skipped] == [
        (tmp_path / "empty", "the folder holds no images."),
        (tmp_path / "gone.tif", "there is no such file or folder."),
    ]


# Choosing


def test_scenes_come_by_time_and_others_with_their_reason(tmp_path: Path) -> None:
    YARD.write(tmp_path / "z_20230101.tif")
    YARD.write(tmp_path / "a_20230201.tif", seed=9)
    YARD.write(tmp_path / "no_date.tif", seed=1)
    away = Affine(1.0, 0, WEST + 5000, 0, -1.0, NORTH)
    YARD.write(tmp_path / "away_20230301.tif", transform=away)
    YARD.write(tmp_path / "coarse_20230401.tif", transform=Affine(10.0, 0, WEST - 500, 0, -10.0, NORTH + 100))
    YARD.write(tmp_path / "planet_20230402.tif", transform=Affine(3.0, 0, WEST - 100, 0, -3.0, NORTH + 100))
    Image.new("RGB", (50, 50), (90, 90, 90)).save(tmp_path / "nowhere_20230501.tif")
    (tmp_path / "broken_20230601.tif").write_bytes((tmp_path / "z_20230101.tif").read_bytes()[:300])
    (tmp_path / "foreign.tif").write_text("not an image")
    (tmp_path / "empty.tif").write_bytes(b"")
    kept, reasons = choose(tmp_path)
    assert names([one.path for one in kept]) == ["z_20230101.tif", "a_20230201.tif"]
    assert kept[0].datetime == datetime(2023, 1, 1, tzinfo=UTC)
    assert kept[0].shown == pytest.approx(1.0, abs=1e-6)
    assert set(reasons) == {
        "no_date.tif",
        "away_20230301.tif",
        "coarse_20230401.tif",
        "planet_20230402.tif",
        "nowhere_20230501.tif",
        "broken_20230601.tif",
        "foreign.tif",
        "empty.tif",
    }
    assert "--dates" in reasons["no_date.tif"]
    assert reasons["away_20230301.tif"] == "it doesn't touch the area yard."
    assert reasons["coarse_20230401.tif"].startswith("10 m a pixel is too coarse to see wagons one by one")
    assert "how much track is occupied can be told from Sentinel-2" in reasons["coarse_20230401.tif"]
    # Neither fine enough for boxes nor a product for occupancy: refused in a sentence that names both ways.
    assert reasons["planet_20230402.tif"].startswith("3 m a pixel is too coarse to see wagons one by one")
    assert "PlanetScope's surface reflectance" in reasons["planet_20230402.tif"]
    assert "no position" in reasons["nowhere_20230501.tif"]
    assert "railwatch detect" in reasons["nowhere_20230501.tif"]
    for reason in reasons.values():
        assert reason.endswith(".")
        assert str(tmp_path) not in reason
        assert "\n" not in reason


def test_usable_data_masks_are_no_scenes(tmp_path: Path) -> None:
    for name in ("20230401_021001_43_2427_3B_udm2.tif", "20230401_021001_43_2427_3B_udm2_clip.tif"):
        YARD.write(tmp_path / name)
    assert find_scenes([tmp_path])[0] == []


def test_copies_count_once(tmp_path: Path) -> None:
    YARD.write(tmp_path / "b" / "20230101.tif")
    (tmp_path / "a").mkdir()
    shutil.copy(tmp_path / "b" / "20230101.tif", tmp_path / "a" / "20230301_copy.tif")
    kept, reasons = choose(tmp_path)
    assert names([one.path for one in kept]) == ["20230301_copy.tif"]
    assert reasons == {"20230101.tif": "it has the same content as 20230301_copy.tif, and each counts once."}


def test_one_acquisition_in_two_files_counts_once(tmp_path: Path) -> None:
    """Two parts of a strip and two resamplings of one image: the one that shows most, then the finest."""
    tags = {"ACQUISITIONDATETIME": "2023-10-05T02:15:00.4Z", "SATELLITEID": "WV03"}
    part = Yard(gsd_m=1.0, width_m=160.0)
    part.write(tmp_path / "part.tif", tags=tags)
    YARD.write(tmp_path / "coarse.tif", tags=tags)
    Yard(gsd_m=0.5).write(
        tmp_path / "fine.tif", tags=tags | {"ACQUISITIONDATETIME": "2023-10-05T02:15:00.9Z"}
    )
    YARD.write(tmp_path / "other_sensor.tif", tags=tags | {"SATELLITEID": "GE01"}, seed=5)
    YARD.write(tmp_path / "later.tif", tags=tags | {"ACQUISITIONDATETIME": "2023-10-05T02:15:01Z"}, seed=6)
    kept, reasons = choose(tmp_path)
    assert sorted(names([one.path for one in kept])) == ["fine.tif", "later.tif", "other_sensor.tif"]
    same = "it is the same acquisition as fine.tif, and each counts once."
    assert reasons == {"coarse.tif": same, "part.tif": same}


def test_a_mosaic_stands_for_its_parts(tmp_path: Path) -> None:
    YARD.write(tmp_path / "left_20230101.tif")
    copy_raster(str(tmp_path / "left_20230101.tif"), str(tmp_path / "all_20230102.vrt"), driver="VRT")
    kept, reasons = choose(tmp_path)
    assert names([one.path for one in kept]) == ["all_20230102.vrt"]
    assert reasons == {"left_20230101.tif": "it is a part of all_20230102.vrt, which is counted."}


def test_an_acquisition_that_the_store_holds_is_not_counted_again(tmp_path: Path) -> None:
    YARD.write(tmp_path / "first.tif", tags={"ACQUISITIONDATETIME": "2023-10-05T02:15:00Z"})
    (first,), _ = choose(tmp_path)
    provenance = {"sha256": first.content(), "file": "first.tif"}
    stored = observation(scene=first.id, datetime=first.datetime, sensor=first.sensor, provenance=provenance)
    # A better file of the same image comes later.
    Yard(gsd_m=0.5).write(tmp_path / "better.tif", tags={"ACQUISITIONDATETIME": "2023-10-05T02:15:00Z"})
    kept, reasons = choose(tmp_path, stored=[stored])
    assert names([one.path for one in kept]) == ["first.tif"]
    (tmp_path / "first.tif").unlink()
    kept, reasons = choose(tmp_path, stored=[stored])
    assert kept == []
    assert reasons == {"better.tif": "it is the same acquisition as first.tif, which the store holds."}


def test_what_was_counted_before_needs_no_reading(tmp_path: Path) -> None:
    YARD.write(tmp_path / "20230101.tif")
    (scene,), _ = choose(tmp_path)
    stored = observation(scene=scene.id, provenance={"sha256": "known"})
    (again,), _ = choose(tmp_path, stored=[stored])
    assert again.content() == "known"
    assert len(scene.content()) == 64


# Declared dates


def test_dates_can_be_declared(tmp_path: Path) -> None:
    YARD.write(tmp_path / "north" / "a.tif", seed=1)
    YARD.write(tmp_path / "south" / "a.tif", seed=2)
    YARD.write(tmp_path / "c.tif", seed=3)
    YARD.write(tmp_path / "20200101.tif", seed=4)
    table = tmp_path / "dates.csv"
    table.write_text(
        "file,datetime,sensor\n"
        "north/a.tif,2023-10-05T11:15:00+09:00,Airbus\n"
        "south/a.tif,2023-10-06T02:15:00,\n"
        "c.tif,2023-10-07,\n"
        "20200101.tif,2021-01-01,\n",
        encoding="utf-8-sig",
    )
    kept, reasons = choose(tmp_path, dates=read_dates(table), settings=SceneSettings(sensor="Planet"))
    assert reasons == {}
    assert [(one.path.parent.name, one.datetime.isoformat(), one.sensor) for one in kept[1:]] == [
        ("north", "2023-10-05T02:15:00+00:00", "Airbus"),
        ("south", "2023-10-06T02:15:00+00:00", "Planet"),
        (tmp_path.name, "2023-10-07T00:00:00+00:00", "Planet"),
    ]
    assert kept[0].datetime.year == 2021


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is empty"),
        ("a,b\n", "no column file and no datetime"),
        ("file,date\na,b\n", "no column datetime"),
        ("file,datetime\na.tif,yesterday\n", "line 2: 'yesterday' isn't a time"),
        ("file,datetime\na.tif\n", "line 2 has 1 cells for 2 columns"),
        ("file,datetime\na.tif,05/10/2023\n", "may be 2023-05-10 or 2023-10-05"),
        ("file,datetime\na.tif,0001-01-01\n", "line 2: .*before the first satellite"),
        ("file,datetime\na.tif,2099-01-01\n", "line 2: .*in the future"),
        ("file,datetime\na.tif,2023-01-01/2023-12-31\n", "two dates"),
        ("file,datetime,gsd_m\na.tif,2023-01-01,-1\n", "not a number of metres"),
        ("file,datetime\n,2023-01-01\n", "line 2 names no file"),
        (b"\xff\xfe\x00", "isn't a CSV table in UTF-8"),
        (None, "can't be read"),
    ],
)
def test_a_wrong_table_is_one_sentence(tmp_path: Path, text: str | bytes | None, fault: str) -> None:
    table = tmp_path / "dates.csv"
    if text is not None:
        table.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=fault) as caught:
        read_dates(table)
    assert str(caught.value).startswith(str(table))


def test_the_scene_is_left_alone(tmp_path: Path) -> None:
    path = YARD.write(tmp_path / "20230101.tif")
    before = path.read_bytes()
    choose(tmp_path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["20230101.tif"]
    with rasterio.open(path) as raster:
        assert raster.count == 3
