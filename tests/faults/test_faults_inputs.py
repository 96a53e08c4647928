"""Inputs that mean harm or are in a muddle: each is named with its reason, and the rest goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from valid_files import area_document, geotiff, ground, overpass, read_image, read_tracks, store_of

from aoi.errors import InputError
from aoi.files import parse_json, parse_toml
from aoi.references import check_zip
from aoi.tables import guarded, parse_number, read_table

posix = pytest.mark.skipif(os.name != "posix", reason="links and pipes of POSIX systems")


def bomb(path: Path, megabytes: int = 300) -> Path:
    name = "yard_20240101T020000Z.tif"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w") as stream:
        for _ in range(megabytes):
            stream.write(bytes(1 << 20))
    return path


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip of 300 KB that unpacks to 300 MB."""
    return bomb(tmp_path_factory.mktemp("bomb") / "bomb.zip")


@posix
def test_a_night_goes_on_past_everything(railwatch, tmp_path, survived, big):
    """One good image among links to themselves, pipes, names of all kinds, bombs and deep settings."""
    folder = tmp_path / "night"
    folder.mkdir()
    area = tmp_path / "area.geojson"
    area.write_text(json.dumps(area_document(tracks=False)))
    good = geotiff(folder / "yard_20240501T020000Z.tif")
    content = good.read_bytes()
    (folder / "loop.tif").symlink_to("loop.tif")
    (folder / "self").symlink_to(".")
    (folder / "nowhere.tif").symlink_to("gone.tif")
    os.mkfifo(folder / "pipe.tif")
    Path(os.fsdecode(os.fsencode(folder) + b"/yard-\xff_20240502T020000Z.tif")).write_bytes(content)
    (folder / "evil\x1b[31m\x07.tif").write_bytes(b"II*\0 nothing")
    (folder / "gone_20240503T020000Z.vrt").write_text(
        '<VRTDataset rasterXSize="64" rasterYSize="64"><SRS>EPSG:32652</SRS>'
        "<GeoTransform>631700,0.5,0,4697000,0,-0.5</GeoTransform>"
        '<VRTRasterBand dataType="Byte" band="1"><SimpleSource><SourceFilename relativeToVRT="1">none.tif'
        "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    shutil.copy(big, folder / "order.zip")
    bomb(folder / "S2A_MSIL2A_20180408T022101_N0509_R003_T52TFM_20240713T054548.zip", 1)
    deep = folder / "deep"
    deep.mkdir()
    (deep / "railwatch-sentinel2.toml").write_text("a = " + "[" * 5000 + "]" * 5000)
    (deep / "item.json").write_text('{"stac_version": "1.0.0", "a": ' + "[" * 9999 + "]" * 9999 + "}")
    geotiff(deep / "other_20240504T020000Z.tif", ground(seed=1))
    options = ("--config", "vhr", "--aoi", area, "--store", tmp_path / "store", "--device", "cpu")
    outcome = railwatch("run", folder, *options, "--json")
    assert outcome.code == 0, outcome.err
    document = json.loads(outcome.out)
    scenes = {one["scene"].rpartition("-")[0] for one in document["observations"]}
    assert "yard_20240501T020000Z" in scenes
    reasons = {Path(one["path"]).name: one["reason"] for one in document["skipped"]}
    assert "\x1b" not in outcome.err
    for name, said in {
        "pipe.tif": "no ordinary file",
        "yard-\\xff_20240502T020000Z.tif": "isn't UTF-8",
        "gone_20240503T020000Z.vrt": "none.tif",
        "S2A_MSIL2A_20180408T022101_N0509_R003_T52TFM_20240713T054548.zip": "",
    }.items():
        assert said in reasons[name], reasons
        survived()
    for name, reason in reasons.items():
        assert "unexpectedly" not in reason, (name, reason)
    survived(6)


def test_a_zip_that_unpacks_to_far_more_than_it_holds_is_refused(tmp_path, survived, big):
    with pytest.raises(InputError, match=r"bomb\.zip: .* which no image does"):
        check_zip(big)
    (tmp_path / "half.zip").write_bytes(big.read_bytes()[:2000])
    with pytest.raises(InputError, match="isn't a zip file, or is cut short"):
        check_zip(tmp_path / "half.zip")
    survived(2)


def test_tags_and_band_names_in_latin_1_are_left_out(tmp_path, survived):
    path = geotiff(tmp_path / "yard_20240501T020000Z.tif")
    import rasterio

    with rasterio.open(path, "r+") as image:
        image.set_band_description(1, "Gr\u00fcn!")
        image.update_tags(CITY="M\u00fcnchen!")
    content = path.read_bytes().replace("\u00fc".encode(), b"\xfcx")
    path.write_bytes(content)
    footprint, when, _ = read_image(path)
    assert footprint is not None
    assert when is not None
    survived(2)


# ---- documents -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parse", "content"),
    [
        (parse_json, b"[" * 200_000),
        (parse_json, b'{"a": NaN}'),
        (parse_json, b"\xff\xfe\x00"),
        (parse_json, b""),
        (parse_toml, b"a = " + b"[" * 5000 + b"]" * 5000),
        (parse_toml, b"a = " + b"{b = " * 900 + b"1" + b"}" * 900),
        (parse_toml, b"a." * 3000 + b"b = 1"),
        (parse_toml, b"a = " + b"9" * 9000),
        (parse_toml, b"\xff"),
    ],
)
def test_documents_that_are_none_are_one_sentence(parse, content, survived):
    with pytest.raises(InputError, match=r"^mine: ") as caught:
        parse(content, "mine")
    assert "\n" not in str(caught.value)
    survived()


def test_documents_of_windows_are_read():
    assert parse_json('{"a": "é"}'.encode("utf-16"), "x") == {"a": "é"}
    assert parse_json('{"a": 1}'.encode("utf-8-sig"), "x") == {"a": 1}
    assert parse_toml("a = 1".encode("utf-16"), "x") == {"a": 1}


@pytest.mark.parametrize(
    "element",
    [
        {"id": {"a": 1}},
        {"id": None},
        {"geometry": [{"lon": "x", "lat": 1}, {"lon": 2, "lat": 1}]},
        {"geometry": [{"lat": 1}]},
        {"geometry": 7},
        {"nodes": 7, "geometry": None},
        {"tags": {"railway": {"a": 1}}},
        {"type": ["way"]},
        {"geometry": [{"lon": 1e999, "lat": 42.4}, {"lon": 130.6, "lat": 42.4}]},
    ],
)
def test_an_overpass_answer_in_a_muddle(tmp_path, survived, element):
    path = overpass(tmp_path, **element)
    for text in (path.read_text(), path.read_text().replace('"id": 1,', '"id": {"a": 1},')):
        path.write_text(text)
        # an element that is no railway at all any more leaves nothing to complain of
        with suppress(InputError):
            assert not read_tracks(path).lines
        survived()


def test_elements_that_are_left_out_are_counted_aloud(tmp_path, survived, caplog):
    path = overpass(tmp_path)
    path.write_text(path.read_text().replace('"id": 1,', '"id": {"a": 1},'))
    assert len(read_tracks(path).lines) == 1
    assert "1 elements that can't be read are left out" in caplog.text
    survived()


# ---- tables: one reader, the right values -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("file,gsd_m\na.png,1.5\n", 1.5),
        ("file;gsd_m\na.png;1,5\n", 1.5),
        ("file\tgsd_m\na.png\t1,5\n", 1.5),
        ('file,gsd_m\na.png,"1,5"\n', 1.5),
        ("sep=;\nfile;gsd_m\na.png;0,5\n", 0.5),
        ("GSD_M;File\n1.234,5;a.png\n", 1234.5),
        ("file,gsd_m,note\r\n\r\na.png, 0.5 ,\r\n,,\r\n", 0.5),
        ("file|gsd_m\na.png|5e-1\n", 0.5),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_table_of_any_spreadsheet(tmp_path, survived, text, value, encoding):
    path = tmp_path / "gsd.csv"
    path.write_bytes(text.encode(encoding))
    (row,) = read_table(path, ("file", "gsd_m"))
    assert (row["file"], row.number("gsd_m")) == ("a.png", value)
    survived()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,gsd_m\na.png,1,5\n", "line 2 has 3 cells for 2 columns"),
        ('file,gsd_m\na.png,"1,234"\n', "line 2: gsd_m is '1,234', which may be 1234 or 1.234"),
        ("file,gsd_m\na.png,NaN\n", "line 2: gsd_m is 'NaN', not a number"),
        ("file,gsd_m\na.png,1e999\n", "not a number"),
        ("file,gsd_m\na.png\n", "line 2 has 1 cells for 2 columns"),
        ("file,gsd\na.png,1\n", "has no column gsd_m"),
        ("file,gsd_m,file\na.png,1,b.png\n", "has the column file twice"),
        ('file,gsd_m\n"a.png,1\n', "is no right CSV"),
        ("", "is empty"),
    ],
)
def test_a_table_that_can_be_read_in_two_ways_is_refused(tmp_path, survived, text, said):
    path = tmp_path / "gsd.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        [row.number("gsd_m") for row in read_table(path, ("file", "gsd_m"))]
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    survived()


def test_numbers_as_people_write_them():
    for text, value in {
        "1\u202f234,5": 1234.5,
        "1'234.5": 1234.5,
        "\u22120,5": -0.5,
        "1,234,567": 1234567,
    }.items():
        assert parse_number(text) == value
    for text in ("", "0.5 m", "1.2.3", "1,23,4", "0x10", "1_000"):
        with pytest.raises(ValueError, match="not a number"):
            parse_number(text)


def test_no_cell_of_a_table_is_run():
    for text in ("=1+1", "+1", "-1", "@a", " =1", "\ufeff=1", "\t=1"):
        assert guarded(text) == f"'{text}"
    assert guarded("yard") == "yard"


# ---- the process ------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("delay_s", [0.4, 1.0])
def test_ctrl_c_is_one_line_at_any_time(repository, tmp_path, survived, delay_s):
    store = store_of(tmp_path / "store")
    # Python itself needs some time before it runs anything of ours, which says when it does.
    program = (
        "import sys; from railwatch import __main__, interrupt; interrupt.expect(); "
        "print('ready', flush=True); sys.exit(__main__.main())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, "compare", "--store", str(store)],
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(delay_s)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode in (0, 130), err
    assert "Traceback" not in err
    if process.returncode == 130:
        assert err.splitlines()[-1] == "railwatch: interrupted"
        assert len(err.splitlines()) == 1
    survived()


@posix
def test_a_reader_that_goes_away_is_no_error(repository, survived):
    for arguments in ("--help", "run --help"):
        command = f'"{sys.executable}" -m railwatch {arguments} | true'
        done = subprocess.run(
            ["sh", "-c", command], cwd=repository, capture_output=True, text=True, check=False
        )
        assert done.stderr == ""
        survived()


def test_a_name_that_a_terminal_would_obey_is_shown_harmlessly(railwatch, tmp_path, survived):
    outcome = railwatch("detect", tmp_path / "a\x1b]0;title\x07\u202e.tif")
    assert outcome.code == 2
    assert "\\x1b]0;title\\x07\\u202e" in outcome.err
    assert "\x1b" not in outcome.err
    survived()
