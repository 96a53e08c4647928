"""``railwatch aoi`` as its users meet it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from area_files import boundary, document, full_document, osm_pbf, overpass, track, write, zone

Run = Callable[..., Any]


def test_list_and_show(railwatch: Run) -> None:
    listed = railwatch("aoi", "list")
    assert listed.code == 0
    assert "tumangang" in listed.out
    assert "khasan" in listed.out
    areas = json.loads(railwatch("aoi", "list", "--json").out)["areas"]
    assert [area["name"] for area in areas] == ["khasan", "tumangang"]
    shown = railwatch("aoi", "show", "tumangang")
    for words in ("Station yard (station-yard)", "from 2024-12-03, position within 150 m", "no track lines"):
        assert words in shown.out
    described = json.loads(railwatch("aoi", "show", "tumangang", "--json").out)
    assert described == areas[1]
    assert described["masks"][0]["from"] == "2024-12-03"
    assert described["masks"][0]["area_m2"] == pytest.approx(348 * 26, rel=1e-3)
    assert [item["id"] for item in described["zones"]] == [
        "station-yard",
        "secured-freight-area",
        "bridge-approach",
    ]


def test_a_bundled_file_can_be_copied_out(railwatch: Run, tmp_path: Path) -> None:
    shown = railwatch("aoi", "show", "khasan", "--geojson")
    copy = write(tmp_path / "mine.geojson", shown.out)
    checked = json.loads(railwatch("aoi", "check", copy, "--json").out)["files"][0]
    original = json.loads(railwatch("aoi", "show", "khasan", "--json").out)
    assert checked["area"]["digest"] == original["digest"]


def test_check_passes_a_right_file_and_names_every_fault(railwatch: Run, tmp_path: Path) -> None:
    right = write(tmp_path / "right.geojson", full_document())
    assert railwatch("aoi", "check", right).code == 0
    wrong = write(
        tmp_path / "wrong.geojson", document(boundary(), track(gauge_mm=1.5), zone(title=""), track("t1"))
    )
    outcome = railwatch("aoi", "check", right, wrong, "tumangang")
    assert outcome.code == 2
    lines = outcome.out.splitlines()
    assert f"{right}: usable: 1.829 km2, 1 track, 1 zone, 1 mask" in lines
    assert sum(entry.startswith(f"{wrong}: error: feature ") for entry in lines) == 2
    assert sum(entry.startswith(f"{wrong}: warning: ") for entry in lines) == 1
    assert outcome.error == f"{wrong}: 2 errors; can't be used as an area"
    report = railwatch("aoi", "check", wrong, right, "--json")
    assert report.code == 2
    bad, good = json.loads(report.out)["files"]
    assert (bad["ok"], bad["area"], good["ok"]) == (False, None, True)
    assert [problem["level"] for problem in bad["problems"]] == ["error", "error", "warning"]
    assert bad["problems"][0]["feature"] == 2


@pytest.mark.parametrize("command", ["show", "check"])
def test_a_missing_area_is_one_sentence(railwatch: Run, command: str) -> None:
    outcome = railwatch("aoi", command, "tumengang")
    assert outcome.code == 2
    assert "did you mean 'tumangang'?" in outcome.error + outcome.out


def test_tracks_are_written_into_a_copy_of_a_bundled_area(railwatch_process: Run, tmp_path: Path) -> None:
    osm = osm_pbf(tmp_path / "north-korea-latest.osm.pbf")
    outcome = railwatch_process("aoi", "tracks", "tumangang", "--from", osm)
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines() == [
        "tumangang.geojson: 3 tracks (4.11 km) in tumangang, none replaced, 0 kept.",
        "Left out: 1 abandoned, 1 disused (see --include).",
        "Credit to keep with the file: © OpenStreetMap contributors, "
        "https://www.openstreetmap.org/copyright, Open Database License (ODbL) 1.0.",
    ]
    report = railwatch_process(
        "aoi",
        "tracks",
        "tumangang.geojson",
        "--from",
        osm,
        "--include",
        "disused",
        "--out",
        "b.geojson",
        "--json",
    )
    assert report.code == 0, report.err
    done = json.loads(report.out)
    assert (done["added"], done["replaced"], done["kept"], done["out"]) == (4, 3, 0, "b.geojson")
    assert done["left_out"] == {"abandoned": 1}
    assert (tmp_path / "b.geojson").exists()


def test_tracks_says_what_is_wrong(railwatch: Run, tmp_path: Path) -> None:
    area = write(tmp_path / "yard.geojson", full_document())
    far = overpass(tmp_path / "far.json", ways=[(1, [7, 8], {"railway": "rail"})])
    outcome = railwatch("aoi", "tracks", area, "--from", far)
    assert outcome.code == 2
    assert outcome.error == f"{far}: no working railway line lies within the boundary of test-yard"
    assert railwatch("aoi", "tracks", area).code == 2
    unknown = railwatch("aoi", "tracks", area, "--from", far, "--include", "canal")
    assert "no railway state 'canal'" in unknown.error
