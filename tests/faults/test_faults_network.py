"""No input makes a request: a listener on this machine hears nothing, whatever a file points to."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from valid_files import YARD, area_file, geotiff, read_image, read_tracks

from aoi.errors import InputError
from aoi.gdal import RASTERS, VECTORS


class Listener:
    """A web server that writes down what it is asked for."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                connection.settimeout(2)
                with connection, contextlib.suppress(OSError):
                    self.heard.append(connection.recv(200))
                    connection.sendall(b"HTTP/1.0 404 Not found\r\nContent-Length: 0\r\n\r\n")

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    one = Listener()
    yield one
    one.close()


def _vrt(source: str, *, srs: str = "EPSG:32652", more: str = "") -> str:
    return (
        f'<VRTDataset rasterXSize="64" rasterYSize="64"><SRS>{srs}</SRS>'
        f"<GeoTransform>631700,0.5,0,4697000,0,-0.5</GeoTransform>{more}"
        f'<VRTRasterBand dataType="Byte" band="1"><SimpleSource><SourceFilename relativeToVRT="0">{source}'
        "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )


_WMS = (
    "<GDAL_WMS><Service name='TMS'><ServerUrl>{url}/${{z}}/${{x}}/${{y}}.png</ServerUrl></Service>"
    "<DataWindow>"
    "<UpperLeftX>0</UpperLeftX><UpperLeftY>1</UpperLeftY>"
    "<LowerRightX>1</LowerRightX><LowerRightY>0</LowerRightY>"
    "<SizeX>64</SizeX><SizeY>64</SizeY></DataWindow><BandsCount>1</BandsCount></GDAL_WMS>"
)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _file(name: str, text: Callable[[str], str]) -> Callable[[Path, str], Path]:
    def made(folder: Path, url: str) -> Path:
        (folder / name).write_text(text(url))
        return folder / name

    return made


def _with_side(ending: str, text: Callable[[str], str]) -> Callable[[Path, str], Path]:
    def made(folder: Path, url: str) -> Path:
        path = geotiff(folder / "yard.tif")
        path.with_name(path.name + ending).write_text(text(url))
        return path

    return made


def _nested(folder: Path, url: str) -> Path:
    (folder / "inner.vrt").write_text(_vrt(f"/vsicurl/{url}/a.tif"))
    (folder / "outer.vrt").write_text(_vrt(str(folder / "inner.vrt")))
    return folder / "outer.vrt"


def _zipped(folder: Path, url: str) -> Path:
    with zipfile.ZipFile(folder / "order.zip", "w") as archive:
        archive.writestr("mosaic.vrt", _vrt(f"/vsicurl/{url}/a.tif"))
        archive.writestr("yard.tif", _vrt(f"/vsicurl/{url}/a.tif"))
    return folder / "order.zip"


def _overview_tag(folder: Path, url: str) -> Path:
    import rasterio

    path = geotiff(folder / "yard.tif")
    with rasterio.open(path, "r+") as image:
        image.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=_WMS.format(url=url))
    return path


IMAGES: dict[str, Callable[[Path, str], Path]] = {
    "VRT to http": _file("a.vrt", lambda url: _vrt(f"{url}/a.tif")),
    "VRT to vsicurl": _file("a.vrt", lambda url: _vrt(f"/vsicurl/{url}/a.tif")),
    "VRT to a zip far away": _file("a.vrt", lambda url: _vrt(f"/vsizip/vsicurl/{url}/a.zip/b.tif")),
    "VRT to a stream": _file("a.vrt", lambda url: _vrt(f"/vsicurl_streaming/{url}/a.tif")),
    "VRT to a bucket": _file("a.vrt", lambda url: _vrt("/vsis3/bucket/a.tif")),
    "VRT with a service inside": _file("a.vrt", lambda url: _vrt(_escaped(_WMS.format(url=url)))),
    "VRT to WMTS": _file("a.vrt", lambda url: _vrt(f"WMTS:{url}/wmts")),
    "VRT to STACIT": _file("a.vrt", lambda url: _vrt(f'STACIT:"{url}/search"')),
    "VRT with a CRS far away": _file("a.vrt", lambda url: _vrt("a.tif", srs=f"{url}/srs")),
    "VRT named as an image": _file("yard.tif", lambda url: _vrt(f"{url}/a.tif")),
    "VRT in a VRT": _nested,
    "VRT in a zip": _zipped,
    "a service": _file("yard.tif", lambda url: _WMS.format(url=url)),
    "a STAC answer": _file(
        "a.json", lambda url: json.dumps({"type": "FeatureCollection", "stac_version": "1.0.0"})
    ),
    "overviews by side file": _with_side(
        ".aux.xml",
        lambda url: (
            '<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">/vsicurl/'
            f"{url}/o.tif</MDI></Metadata></PAMDataset>"
        ),
    ),
    "overviews by tag": _overview_tag,
    "overviews that are a VRT": _with_side(".ovr", lambda url: _vrt(f"/vsicurl/{url}/o.tif")),
    "a mask that is a VRT": _with_side(".msk", lambda url: _vrt(f"/vsicurl/{url}/m.tif")),
}

VECTORS_FAR: dict[str, Callable[[Path, str], Path]] = {
    "OGR VRT": _file(
        "lines.geojson",
        lambda url: (
            f'<OGRVRTDataSource><OGRVRTLayer name="x"><SrcDataSource>/vsicurl/{url}/a.geojson</SrcDataSource>'
            "</OGRVRTLayer></OGRVRTDataSource>"
        ),
    ),
    "WFS": _file("lines.xml", lambda url: f"<OGRWFSDataSource><URL>{url}/wfs</URL></OGRWFSDataSource>"),
    "GDALG": _file(
        "lines.gdalg.json",
        lambda url: json.dumps(
            {
                "type": "gdal_streamed_alg",
                "command_line": f"gdal vector pipeline ! read /vsicurl/{url}/a.geojson ! select --fields x",
            }
        ),
    ),
    "GeoJSON with a linked CRS": _file(
        "lines.geojson",
        lambda url: json.dumps(
            {
                "type": "FeatureCollection",
                "crs": {"type": "link", "properties": {"href": f"{url}/crs", "type": "ogcwkt"}},
                "features": [],
            }
        ),
    ),
    "GeoJSON with an escaped linked CRS": _file(
        "lines.geojson",
        lambda url: (
            '{"type": "FeatureCollection", "c\\u0072s": {"type": "\\u006cink", "properties": {"href": "'
            f'{url}/crs"}}}}, "features": []}}'
        ),
    ),
}


def refused(read: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read(path)
    assert path.name in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_that_points_elsewhere_is_refused_by_name(listener, tmp_path, survived, name):
    refused(read_image, IMAGES[name](tmp_path, listener.url))
    assert not listener.heard
    survived()


@pytest.mark.parametrize("name", VECTORS_FAR)
def test_a_vector_file_that_points_elsewhere_is_refused_by_name(listener, tmp_path, survived, name):
    refused(read_tracks, VECTORS_FAR[name](tmp_path, listener.url))
    assert not listener.heard
    survived()


@pytest.mark.parametrize("target", ["{other}/part.tif", "../part.tif", "/etc/passwd"])
def test_a_vrt_leads_nowhere_out_of_its_folder(tmp_path, survived, target):
    inner = tmp_path / "inner"
    inner.mkdir()
    geotiff(tmp_path / "part.tif")
    path = inner / "a.vrt"
    path.write_text(_vrt(target.format(other=tmp_path)).replace('relativeToVRT="0"', 'relativeToVRT="1"'))
    assert "outside its own folder" in refused(read_image, path)
    survived()


def test_a_vrt_beside_its_parts_is_read(tmp_path, survived):
    (tmp_path / "parts").mkdir()
    geotiff(tmp_path / "parts" / "part.tif")
    path = tmp_path / "a.vrt"
    for source in ("parts/part.tif", str(tmp_path / "parts" / "part.tif")):
        path.write_text(_vrt(source).replace('relativeToVRT="0"', 'relativeToVRT="1"'))
        read_image(path)
    path.write_text(_vrt("a.vrt").replace('relativeToVRT="0"', 'relativeToVRT="1"'))
    assert "refers to itself" in refused(read_image, path)
    survived(3)


def test_a_program_in_a_vrt_does_not_run(tmp_path, survived, monkeypatch):
    monkeypatch.setenv("GDAL_VRT_ENABLE_PYTHON", "YES")
    mark = tmp_path / "ran"
    code = f"<![CDATA[\nopen({str(mark)!r}, 'w')\ndef f(*a, **k): pass\n]]>"
    band = (
        '<VRTRasterBand dataType="Byte" band="1" subClass="VRTDerivedRasterBand"><PixelFunctionType>f'
        "</PixelFunctionType><PixelFunctionLanguage>Python</PixelFunctionLanguage><PixelFunctionCode>"
        f"{code}</PixelFunctionCode></VRTRasterBand>"
    )
    path = tmp_path / "a.vrt"
    path.write_text(f'<VRTDataset rasterXSize="64" rasterYSize="64">{band}</VRTDataset>')
    assert "program" in refused(read_image, path)
    assert not mark.exists()
    survived()


def test_the_commands_hear_of_no_other_drivers_and_reach_out_to_nothing(
    listener, tmp_path, repository, survived
):
    """In a process of its own, as a user's: what the environment says of Python and proxies isn't asked."""
    area = area_file(tmp_path)
    vrt = IMAGES["VRT to vsicurl"](tmp_path, listener.url)
    lines = VECTORS_FAR["OGR VRT"](tmp_path, listener.url)
    program = (
        "import sys\nfrom aoi.gdal import shut_gdal\nshut_gdal()\nimport pyogrio, rasterio\n"
        "from rasterio.env import Env\nfrom railwatch.cli import main\n"
        "with Env() as env: rasters = list(env.drivers())\n"
        f"codes = [main(['detect', {str(vrt)!r}])]\n"
        f"codes += [main(['aoi', 'tracks', {str(area)!r}, '--from', {str(lines)!r}])]\n"
        "print('\\n'.join([*rasters, *pyogrio.list_drivers()]), file=sys.stdout)\n"
        "sys.exit(0 if codes == [2, 2] else 1)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=repository,
        env={**os.environ, "GDAL_VRT_ENABLE_PYTHON": "YES"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "unload" not in done.stderr
    there = {line for line in done.stdout.splitlines() if line}
    assert {"GTiff", "GeoJSON"} <= there
    needed = {"MEM", "Memory", "COG", "DERIVED"}  # for writing, for warping and in memory
    assert there <= {*RASTERS, *VECTORS, *needed}, "a driver that nobody has judged"
    assert not listener.heard
    survived(2)


def test_a_track_file_on_disk_is_still_read(tmp_path):
    from valid_files import READERS

    for reader in READERS:
        if reader.name.startswith("tracks in"):
            folder = tmp_path / reader.name
            folder.mkdir()
            reader.read(reader.make(folder))
    assert YARD.is_valid
