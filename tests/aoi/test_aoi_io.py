from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from area_files import boundary, document, full_document, write

import aoi
from aoi import AreaError, area_names, check_area, load_area
from aoi.io import read_document, write_document


def test_areas_load_by_name_and_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert area_names() == ["khasan", "tumangang"]
    assert load_area("tumangang").name == "tumangang"
    path = write(tmp_path / "yard.geojson", full_document())
    assert load_area(path).path == path
    assert load_area(str(path)).digest == load_area(path).digest
    # a bundled name means the bundled area, whatever lies in the current folder
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "khasan", "nonsense")
    assert load_area("khasan").title == "Khasan station, Russia"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("{", "is not JSON .* line 1"),
        ("type: FeatureCollection", "is not JSON"),
        ('{"a": NaN}', "is not JSON .NaN is no JSON number"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "not a FeatureCollection"),
        ("3", "not a FeatureCollection"),
    ],
)
def test_files_that_are_no_area(tmp_path: Path, content: str, message: str) -> None:
    path = write(tmp_path / "bad.geojson", content)
    with pytest.raises(AreaError, match=message) as caught:
        load_area(path)
    assert str(caught.value).startswith(f"{path}: ")
    (problem,) = check_area(path).problems
    assert f"{path}: {problem.message}" == str(caught.value)


def test_a_binary_file_and_a_folder_are_no_area(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    path.write_bytes(b"II*\x00\xff\xfe" * 100)
    with pytest.raises(AreaError, match=r"can.t be read as an area or a vector file"):
        load_area(path)
    with pytest.raises(AreaError, match="is a folder"):
        load_area(tmp_path)


def test_names_that_are_none_get_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AreaError, match="did you mean 'tumangang'"):
        load_area("tumengang")
    with pytest.raises(AreaError, match="bundled areas are khasan, tumangang"):
        load_area("xyz")
    with pytest.raises(AreaError, match=r"yards.one\.geojson: there is no such file"):
        load_area("yards/one.geojson")
    assert not check_area("xyz").errors[0].message.startswith("xyz")


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "bom.geojson"
    path.write_text(json.dumps(full_document()), encoding="utf-8-sig")
    assert load_area(path).name == "test-yard"


def test_written_files_read_back_and_stay_readable(tmp_path: Path) -> None:
    content = document(boundary(), note="[\n 1,\n 2\n]", title="두만강")
    path = tmp_path / "out.geojson"
    write_document(content, path)
    assert read_document(path) == content
    text = path.read_text("utf-8")
    assert "[130.6, 42.41],\n" in text
    assert "두만강" in text
    assert text.endswith("}\n")
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.geojson"]


def test_a_replaced_file_keeps_its_mode(tmp_path: Path) -> None:
    path = write(tmp_path / "out.geojson", full_document())
    path.chmod(0o640)
    write_document(full_document(), path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_folder_that_isnt_there_is_said(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "out.geojson"
    with pytest.raises(AreaError, match=r"out\.geojson: can't be written"):
        write_document(full_document(), path)


def test_every_public_name_is_there() -> None:
    assert all(getattr(aoi, name) is not None for name in aoi.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = aoi.Nothing


def test_the_error_classes_cost_no_geometry_library() -> None:
    code = "import sys, aoi.errors; sys.exit(any(m in sys.modules for m in ('shapely', 'pyproj', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code], env=dict(os.environ), check=False).returncode == 0
