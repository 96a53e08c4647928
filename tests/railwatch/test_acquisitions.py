"""Files of one acquisition are one scene, copies count once, and pictures without a position count too."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import rasterio
import shapely
from affine import Affine
from PIL import Image
from rasterio.warp import calculate_default_transform, reproject
from rasterio.windows import Window
from yards import BrightDetector, Yard

from railwatch.config import RunConfig
from railwatch.errors import ConfigError
from railwatch.pipeline.find_scenes import read_dates
from railwatch.pipeline.run import RunResult, run
from railwatch.store.observation import current
from railwatch.store.store import Store

YARD = Yard()
COUNTS = (18, 16, 12)
CONFIG = RunConfig().override(baseline__use_published=False)
SKYSAT = {"SATELLITEID": "SkySat"}


def cut(source: Path, path: Path, columns: tuple[int, int], **tags: str) -> Path:
    """Some columns of an image as a file of its own."""
    with rasterio.open(source) as image:
        window = Window(columns[0], 0, columns[1] - columns[0], image.height)
        profile = image.profile | {
            "width": columns[1] - columns[0],
            "transform": image.transform @ Affine.translation(columns[0], 0),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        with rasterio.open(path, "w", **profile) as part:
            part.write(image.read(window=window))
            part.update_tags(**tags)
    return path


def moved(source: Path, path: Path, crs: str) -> Path:
    """An image brought to another CRS, as tiles of two zones are delivered."""
    with rasterio.open(source) as image:
        transform, width, height = calculate_default_transform(
            image.crs, crs, image.width, image.height, *image.bounds
        )
        profile = image.profile | {"crs": crs, "transform": transform, "width": width, "height": height}
        with rasterio.open(path, "w", **profile) as out:
            out.update_tags(**image.tags())
            for band in (1, 2, 3):
                reproject(rasterio.band(image, band), rasterio.band(out, band))
    source.unlink()
    return path


def count(paths: Path | list[Path], store: Path, config: RunConfig = CONFIG, **options: object) -> RunResult:
    given = paths if isinstance(paths, list) else [paths]
    area = YARD.area()
    return run(given, area, config, Store.open(store), BrightDetector(), **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return YARD.write(tmp_path_factory.mktemp("whole") / "whole.tif", COUNTS)


SECOND = {"ACQUISITIONDATETIME": "2025-09-18T10:37:00Z", **SKYSAT}


@pytest.mark.parametrize(
    ("names", "columns", "tags"),
    [
        # R1C1 and R1C2 side by side: the border runs through wagons
        (("IMG_PHR1A_PMS_202509181037000_ORT_1_R1C1", "IMG_PHR1A_PMS_202509181037000_ORT_1_R1C2"),
         ((0, 371), (371, 640)), ({}, {})),
        # quarters that overlap, with a day and no hour
        (("m_4207901_ne_17_060_20250918", "m_4207901_nw_17_060_20250918_20251012"),
         ((0, 400), (300, 640)), ({}, {})),
        # frames of a strip, two seconds apart, three of them
        (("20250918_103700_ssc4d1_visual", "20250918_103702_ssc4d1_visual", "20250918_103704_ssc4d1_visual"),
         ((0, 300), (200, 460), (440, 640)), ({}, {}, {})),
        (("tile_a", "tile_b"), ((0, 371), (371, 640)), (SECOND, SECOND)),
    ],
    ids=["airbus", "naip", "strip", "tagged"],
)  # fmt: skip
def test_tiles_of_one_acquisition_are_one_scene(
    tmp_path: Path,
    whole: Path,
    names: tuple[str, ...],
    columns: tuple[tuple[int, int], ...],
    tags: tuple[dict[str, str], ...],
) -> None:
    for name, part, own in zip(names, columns, tags, strict=True):
        cut(whole, tmp_path / "in" / f"{name}.tif", part, **own)
    # What is really a copy is left out as before.
    shutil.copy(tmp_path / "in" / f"{names[0]}.tif", tmp_path / "in" / "zcopy.tif")
    result = count(tmp_path / "in", tmp_path / "store")
    (one,) = result.observations
    assert (one.count, one.clear_fraction) == (sum(COUNTS), 1.0)
    assert [skipped.path.name for skipped in result.skipped] == ["zcopy.tif"]
    assert sorted(one.provenance["files"]) == sorted(f"{name}.tif" for name in names)
    again = count(tmp_path / "in", tmp_path / "store")
    assert again.new == frozenset()
    assert [each.id for each in again.observations] == [one.id]


def test_tiles_on_two_grids_are_one_scene(tmp_path: Path, whole: Path) -> None:
    """The neighbouring zone's tile is brought to the grid of the first; wagons in the overlap count once."""
    (tmp_path / "in").mkdir()
    cut(whole, tmp_path / "in" / "left.tif", (0, 400), **SECOND)
    moved(
        cut(whole, tmp_path / "right.tif", (300, 640), **SECOND), tmp_path / "in" / "right.tif", "EPSG:32651"
    )
    result = count(tmp_path / "in", tmp_path / "store")
    (one,) = result.observations
    assert one.count == sum(COUNTS)
    assert result.skipped == ()


def test_a_part_alone_says_what_it_lacks_and_gives_way_to_the_whole(tmp_path: Path, whole: Path) -> None:
    left = cut(whole, tmp_path / "in" / "a.tif", (0, 400), **SECOND)
    (part,) = count(tmp_path / "in", tmp_path / "store").observations
    assert part.clear_fraction == pytest.approx(0.63, abs=0.02)
    assert part.count is not None
    assert part.count < sum(COUNTS)
    right = cut(whole, tmp_path / "in" / "b.tif", (390, 640), **SECOND)
    result = count(tmp_path / "in", tmp_path / "store")
    assert [one.count for one in result.observations] == [sum(COUNTS)]
    # The history holds the acquisition once.
    store = Store.open(tmp_path / "store")
    assert [one.count for one in current(store.observations(superseded=True))] == [sum(COUNTS)]
    assert len(result.verdicts) == 1
    # The part alone is known: it doesn't come back.
    left.unlink()
    later = count(right, tmp_path / "store")
    assert later.observations == ()
    assert later.read
    assert "which the store holds" in later.skipped[0].reason


def test_images_that_show_everything_stay_images_of_their_own(tmp_path: Path, whole: Path) -> None:
    for second in range(3):
        YARD.write(tmp_path / "in" / f"20250918_10370{second}_ssc4_u0001.tif", COUNTS, seed=second)
    cut(whole, tmp_path / "in" / "20250918_103703_ssc4_u0001.tif", (0, 200))
    result = count(tmp_path / "in", tmp_path / "store")
    assert [one.count for one in result.observations] == [sum(COUNTS)] * 3
    assert "of the same pass as 20250918_103702_ssc4_u0001.tif" in result.skipped[0].reason


def test_a_place_that_is_a_guess_is_refused_and_a_coarse_one_is_told(tmp_path: Path) -> None:
    """Krassowsky's ellipsoid without a datum, 60 to 120 m off; and WGS84's without one."""
    for number, ellipsoid in enumerate(("krass", "WGS84"), start=1):
        crs = f"+proj=utm +zone=52 +ellps={ellipsoid}"
        YARD.write(tmp_path / "in" / f"2025090{number}.tif", COUNTS, seed=number, crs=crs)
    result = count(tmp_path / "in", tmp_path / "store")
    assert [one.datetime.day for one in result.observations] == [2]
    assert any("places may be off by up to 2 m" in text for text in result.observations[0].warnings)
    assert "too far to say which wagons stand in the area" in result.skipped[0].reason


def test_a_screenshot_counts_with_a_scale_and_a_date(tmp_path: Path) -> None:
    source = YARD.write(tmp_path / "x.tif", COUNTS)
    with rasterio.open(source) as image:
        (tmp_path / "in").mkdir()
        picture = Image.fromarray(image.read().transpose(1, 2, 0))
    picture.save(tmp_path / "in" / "Screenshot 2025-09-18 091500.png")
    refused = count(tmp_path / "in", tmp_path / "store")
    assert not refused.read
    assert "--gsd" in refused.skipped[0].reason
    result = count(tmp_path / "in", tmp_path / "store", CONFIG.override(scenes__gsd_m=0.5))
    (one,) = result.observations
    assert (one.count, one.zones, one.tracks) == (sum(COUNTS), {}, {})
    assert any("no position" in text for text in one.warnings)
    assert any("screenshot" in text for text in one.warnings)
    table = tmp_path / "dates.csv"
    table.write_text("file;datetime;gsd_m\nscreenshot 2025-09-18 091500.PNG;2024-05-01T02:00Z;0,5\n")
    (dated,) = count(tmp_path / "in", tmp_path / "other", dates=read_dates(table)).observations
    assert (dated.datetime.year, dated.count) == (2024, sum(COUNTS))
    assert not any("screenshot" in text for text in dated.warnings)


def test_a_row_that_names_no_file_stops_the_run_before_anything_is_stored(tmp_path: Path) -> None:
    YARD.write(tmp_path / "in" / "yard_20250918.tif", COUNTS)
    table = tmp_path / "dates.csv"
    table.write_text("file,datetime\nyard_20250918.tiff,2024-03-02\n")
    with pytest.raises(ConfigError, match=r"the nearest is yard_20250918\.tif"):
        count(tmp_path / "in", tmp_path / "store", dates=read_dates(table))
    assert Store.open(tmp_path / "store").observations() == []
    table.write_text("file,datetime\nIN\\YARD_20250918.TIF,2024-03-02\n")
    (one,) = count(tmp_path / "in", tmp_path / "store", dates=read_dates(table)).observations
    assert one.datetime.year == 2024


def test_an_exchanged_area_is_told(tmp_path: Path) -> None:
    path = YARD.write(tmp_path / "20250918.tif", COUNTS)
    area = YARD.area(tracks=False)
    swapped = replace(
        area,
        boundary=shapely.transform(area.boundary, lambda x, y: (y, x), interleaved=False),
        zones=(),
    )
    result = run([path], swapped, CONFIG, Store.open(tmp_path / "store"), BrightDetector())
    assert "longitude and latitude of the area are exchanged" in result.skipped[0].reason
