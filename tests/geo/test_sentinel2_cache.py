"""Products that haven't changed aren't opened again; those that have are."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
from pathlib import Path

import pytest
from affine import Affine
from sentinel2_products import countryside, write_export, write_safe, write_stac

from geo.sentinel2.formats import raster_band
from geo.sentinel2.formats.find import find_products
from geo.sentinel2.formats.metadata_cache import MetadataCache

WHEN = dt.datetime(2023, 10, 5, 2, 10, 1, tzinfo=dt.UTC)
TRANSFORM = Affine(10, 0, 631_000, 0, -10, 4_698_800)
PLANES = countryside((24, 30))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """One product of each kind."""
    folder = tmp_path / "archive"
    write_safe(folder / "a", PLANES, TRANSFORM, 32652, WHEN)
    write_safe(folder / "b", PLANES, TRANSFORM, 32652, WHEN.replace(day=10), zipped=True)
    write_stac(folder / "c", PLANES, TRANSFORM, 32652, WHEN.replace(day=15), flavour="c1")
    write_export(folder / "d" / "20231025T021001_20231025T021003_T52TFN.tif", PLANES, TRANSFORM, 32652)
    return folder


class Opened:
    """Counts the images whose header is read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths: list[str] = []
        true = raster_band.opened

        def counted(path: str) -> object:
            self.paths.append(path)
            return true(path)

        monkeypatch.setattr(raster_band, "opened", counted)

    def since(self) -> list[str]:
        found, self.paths = self.paths, []
        return found


def test_an_unchanged_archive_isnt_opened_again(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, headers = tmp_path / "store" / ".products.json", Opened(monkeypatch)
    file.parent.mkdir()
    plain = find_products([archive])
    assert plain[1] == []
    assert len(plain[0]) == 4
    headers.since()
    assert find_products([archive], cache=MetadataCache(file, "1")) == plain
    assert headers.since()
    assert find_products([archive], cache=MetadataCache(file, "1")) == plain
    assert headers.since() == []
    # Another version of the program may understand them in another way.
    assert find_products([archive], cache=MetadataCache(file, "2")) == plain
    assert headers.since()
    assert str(archive) not in file.read_text("utf-8")


def test_what_has_changed_is_read_again(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, headers = tmp_path / ".products.json", Opened(monkeypatch)
    find_products([archive], cache=MetadataCache(file))
    # The item tells another sun: its size may stay, its time doesn't.
    item = next((archive / "c").rglob("*.json"))
    content = json.loads(item.read_text("utf-8"))
    content["properties"]["view:sun_elevation"] = 12.5
    item.write_text(json.dumps(content), "utf-8")
    headers.since()
    products, _ = find_products([archive], cache=MetadataCache(file))
    assert [one.sun_elevation_deg for one in products if one.kind == "STAC"] == [12.5]
    assert {path.partition("/c/")[1] for path in headers.since()} == {"/c/"}
    # An image of the export is replaced by one of the same size.
    image = next((archive / "d").glob("*.tif"))
    about = image.stat()
    os.utime(image, ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    find_products([archive], cache=MetadataCache(file))
    assert [Path(path).name for path in headers.since()][:1] == [image.name]
    # A band disappears, and what is left can't be used; then it comes back.
    band = next((archive / "a").rglob("*B04_10m.jp2"))
    aside = tmp_path / band.name
    shutil.move(band, aside)
    products, refusals = find_products([archive], cache=MetadataCache(file))
    assert len(products) == 3
    assert "B04" in refusals[0].reason
    shutil.move(aside, band)
    assert len(find_products([archive], cache=MetadataCache(file))[0]) == 4
    # A product more costs its own opening alone.
    headers.since()
    write_safe(archive / "e", PLANES, TRANSFORM, 32652, WHEN.replace(day=28))
    assert len(find_products([archive], cache=MetadataCache(file))[0]) == 5
    assert {path.partition("/e/")[1] for path in headers.since()} == {"/e/"}
    shutil.rmtree(archive / "e")
    (archive / "b").rename(archive / "f")
    assert len(find_products([archive], cache=MetadataCache(file))[0]) == 4


def test_a_cache_that_cant_be_read_or_written_costs_a_reading(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = find_products([archive])
    nowhere = tmp_path / "missing" / ".products.json"
    assert find_products([archive], cache=MetadataCache(nowhere)) == plain
    assert not nowhere.exists()
    file = tmp_path / ".products.json"
    for content in (b"\xff", b"[]", b"{}", b'{"made_by": "1 ", "parts": 3}'):
        file.write_bytes(content)
        assert find_products([archive], cache=MetadataCache(file)) == plain
    # An entry that another hand has changed doesn't end a run.
    whole = json.loads(file.read_text("utf-8"))
    for damage in ({"crs": "x"}, {"datetime": 3}, {"bands": [[1]]}, {"files": []}):
        broken = json.loads(json.dumps(whole))
        for part in broken["parts"].values():
            for product in part["products"]:
                product.update(damage)
        file.write_text(json.dumps(broken), "utf-8")
        assert find_products([archive], cache=MetadataCache(file)) == plain, damage
    # As in a folder that can't be written to, whoever runs the tests.
    monkeypatch.setattr("geo.sentinel2.formats.metadata_cache.write_bytes", _refused)
    file.unlink()
    assert find_products([archive], cache=MetadataCache(file)) == plain
    assert not file.exists()


def _refused(path: Path, content: bytes) -> None:
    raise PermissionError(13, "Permission denied", str(path))
