"""Tables that say something of files: every dialect, every way to name a file, no row passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from aoi.tables import FileTable
from railwatch.errors import ConfigError


def read(path: Path, text: str, encoding: str = "utf-8") -> FileTable[float]:
    path.write_text(text, encoding=encoding)
    return FileTable.read(path, "gsd_m", lambda row: row.number("gsd_m"), ConfigError)


def touched(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return [folder / name for name in names]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    "text", ["file,gsd_m\na.png,0.5\n", "file;gsd_m\na.png;0,5\n", "File\tGSD_M\na.png\t0,5\n"]
)
def test_every_dialect_is_read_alike(tmp_path: Path, text: str, encoding: str) -> None:
    (image,) = touched(tmp_path, "a.png")
    assert read(tmp_path / "t.csv", text, encoding).of(image) == 0.5


@pytest.mark.parametrize(
    "name",
    ["img/Yard.tif", "img\\Yard.tif", "IMG/yard.TIF", "Yard.tif", "yard.TIF", "./img/Yard.tif", "{whole}"],
)
def test_every_way_to_name_a_file(tmp_path: Path, name: str) -> None:
    (image,) = touched(tmp_path, "img/Yard.tif")
    table = read(tmp_path / "t.csv", f"file,gsd_m\n{name.format(whole=image)},0.5\n")
    assert table.of(image) == 0.5
    table.check([image])
    assert table.of(tmp_path / "img" / "other.tif") is None


def test_folders_tell_files_of_one_name_apart(tmp_path: Path) -> None:
    north, south = touched(tmp_path, "north/a.tif", "south/a.tif")
    table = read(tmp_path / "t.csv", "file,gsd_m\nnorth/a.tif,0.3\nsouth\\A.tif,0.5\n")
    assert (table.of(north), table.of(south)) == (0.3, 0.5)
    assert table.of(tmp_path / "east" / "a.tif") is None


def test_a_row_means_the_image_in_a_zip(tmp_path: Path) -> None:
    (archive,) = touched(tmp_path, "order.zip")
    table = read(tmp_path / "t.csv", "file,gsd_m\norder.zip,0.5\n")
    assert table.of(archive / "files" / "visual.tif") == 0.5
    table.check([archive / "files" / "visual.tif"])


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("yard_20250918.tiff", "yard_20250918.tif"), ("yrad_20250918.tif", "yard_20250918.tif")],
)
def test_a_row_that_means_nothing_is_named_with_the_nearest_file(
    tmp_path: Path, name: str, nearest: str
) -> None:
    images = touched(tmp_path, "img/yard_20250918.tif", "img/else.tif")
    table = read(tmp_path / "t.csv", f"file,gsd_m\n{name},0.5\n")
    with pytest.raises(
        ConfigError, match=f"line 2: names {name}, and there is no such file; the nearest is {nearest}"
    ):
        table.check(images)
    # A file that is there and isn't counted this time is no mistake.
    touched(tmp_path, name)
    table.check(images)


def test_two_rows_that_contradict_each_other(tmp_path: Path) -> None:
    (image,) = touched(tmp_path, "a.tif")
    assert read(tmp_path / "t.csv", "file,gsd_m\na.tif,0.5\na.tif,0.50\n").of(image) == 0.5
    with pytest.raises(ConfigError, match=r"line 3: says of a.tif something else than .*line 2 does"):
        read(tmp_path / "t.csv", "file,gsd_m\na.tif,0.5\na.tif,0.6\n").of(image)
