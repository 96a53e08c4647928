from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner
from yards import TruthDetector

from railwatch.cli import app
from railwatch.config import RunConfig
from railwatch.errors import StoreError
from railwatch.selftest.demo import DemoResult, demo
from railwatch.selftest.samples import Samples, bundled
from railwatch.store.store import Store


@pytest.fixture(scope="module")
def samples() -> Samples:
    with bundled() as found:
        return found


@pytest.fixture(scope="module")
def done(samples: Samples, tmp_path_factory: pytest.TempPathFactory) -> DemoResult:
    return demo(samples, tmp_path_factory.mktemp("new") / "demo", RunConfig(), TruthDetector(samples))


def test_the_demo_tells_its_story(done: DemoResult) -> None:
    counts = [one.count for one in done.result.observations]
    assert counts == [14, 18, 9, 16, 20, 12, 17, 11, 19, None, 73, 69]
    assert done.truth == (14, 18, 9, 16, 20, 12, 17, 11, 19, 15, 73, 69)
    words = [one.verdict for one in done.result.verdicts]
    assert words[-3:] == ["cannot say", "unprecedented", "unprecedented"]
    assert not {"unprecedented", "elevated"} & set(words[:-2])
    first = done.result.verdicts[-2].to_json()
    assert (first["count"], first["history_max"], first["history_n"]) == (73, 20, 9)
    assert done.result.skipped == ()
    assert len(done.pictures) == 12
    for path in (*done.pictures, *(chart for chart in done.result.charts if chart.suffix == ".png")):
        with Image.open(path) as picture:
            assert picture.width >= 640
    assert {chart.suffix for chart in done.result.charts} == {".png", ".svg"}


def test_again_it_does_nothing_new(samples: Samples, done: DemoResult) -> None:
    again = demo(samples, done.result.store.parent, RunConfig(), TruthDetector(samples))
    assert len(done.result.new) == 12
    assert again.result.new == frozenset()
    assert again.result.observations == done.result.observations
    assert again.pictures == done.pictures


def test_nowhere_to_put_it(samples: Samples, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="Can't open the store"):
        demo(samples, tmp_path / "file", RunConfig(), TruthDetector(samples))
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "pictures").write_text("x")
    with pytest.raises(StoreError, match="demo: can't be written: File exists"):
        demo(samples, tmp_path / "demo", RunConfig(), TruthDetector(samples))


def test_the_command_with_the_shipped_detector(tmp_path: Path, repository: Path) -> None:
    arguments = ["demo", "--out", str(tmp_path / "demo"), "--device", "cpu"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "truly there" in done.stdout
    assert "unprecedented" in done.stdout
    assert str(tmp_path / "demo" / "store") in done.stdout
    again = CliRunner().invoke(app, [*arguments, "--json"])
    assert again.exit_code == 0, repr(again.exception)
    given = json.loads(again.stdout)
    wanted = {"observations", "verdicts", "skipped", "store", "charts", "report", "pictures", "truth"}
    assert wanted <= set(given)
    assert Path(given["report"]).read_text("utf-8").count("data:image/") >= 12
    assert not any(one["new"] for one in given["observations"])
    types = hashlib.sha256((repository / "detector/weights/types.safetensors").read_bytes()).hexdigest()
    stored = Store.open(tmp_path / "demo" / "store").observations()
    assert {one.provenance["types_checksum"] for one in stored} == {types}
    # Nobody must take the simulated products for the satellite's, nor credit Copernicus with them.
    page = Path(given["sentinel2"]["report"]).read_text("utf-8")
    assert "The image is simulated." in page
    assert "simulated Sentinel-2A" in page
    assert "Copernicus Sentinel data" not in page
    assert all("the image is simulated" in one["caveats"] for one in given["sentinel2"]["verdicts"])
