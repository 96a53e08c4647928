from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import time
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.io
import shapely
from rasterio.warp import calculate_default_transform, reproject
from yards import BrightDetector, Yard

from aoi import AreaOfInterest, Mask
from detector.errors import ResolutionError
from detector.wagons.detections import Detections
from detector.wagons.track_sight import TrackSight
from geo import Scene
from geo.tiles import TileGrid, tiles
from railwatch.config import RunConfig
from railwatch.errors import StoreError
from railwatch.history.sources import read_sources
from railwatch.pipeline.find_scenes import read_dates
from railwatch.pipeline.run import RunResult, run
from railwatch.store.areas import choose_settings
from railwatch.store.observation import Observation
from railwatch.store.store import DETECTIONS, EVIDENCE, Store

SPAWN = multiprocessing.get_context("spawn")
YARD = Yard()
CONFIG = RunConfig().override(baseline__use_published=False)
COUNTS = {"20230901_021500": (4, 3, 2), "20230905_021500": (5, 5, 5), "20231005_021500": (18, 16, 12)}


def series(folder: Path) -> Path:
    for seed, (name, counts) in enumerate(COUNTS.items()):
        YARD.write(folder / f"{name}.tif", counts, seed)
    return folder


def count(
    paths: Path | list[Path],
    store: Path,
    area: AreaOfInterest | None = None,
    config: RunConfig = CONFIG,
    **options: Any,
) -> RunResult:
    given = paths if isinstance(paths, list) else [paths]
    options.setdefault("detector", BrightDetector())
    options.setdefault("conclude", False)  # verdicts, charts and page cost a second: where they are looked at
    return run(given, area or YARD.area(), config, Store.open(store), **options)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_scene_becomes_an_observation(tmp_path: Path) -> None:
    result = count(series(tmp_path / "scenes"), tmp_path / "store")
    assert [one.count for one in result.observations] == [9, 15, 46]
    assert len(result.new) == result.scenes == 3
    last = result.observations[-1]
    assert last.count_low <= 46 <= last.count_high
    assert {name: track["count"] for name, track in last.tracks.items()} == {"t1": 18, "t2": 16, "t3": 12}
    assert sum(zone["count"] for zone in last.zones.values()) == 46
    assert (last.aoi, last.method, last.clear_fraction, last.hidden_fraction) == ("yard", "wagons", 1.0, 0.0)
    assert last.datetime.isoformat() == "2023-10-05T02:15:00+00:00"
    assert last.occupied_length_m == pytest.approx(46 * 14, rel=0.02)
    assert last.provenance["file"] == "20231005_021500.tif"
    assert last.provenance["model"] == "bright"
    assert last.provenance["gsd_m"] == pytest.approx(0.5, rel=1e-3)
    assert len(last.provenance["sha256"]) == 64
    for key in ("model_version", "model_checksum", "settings", "area", "code_version", "created"):
        assert last.provenance[key]

    store = Store.open(tmp_path / "store")
    assert store.observations() == list(result.observations)
    boxes = store.detections(last.id)
    assert len(boxes) == 46
    assert set(boxes["track"]) == {"t1", "t2", "t3"}
    assert set(boxes["image"]) == {"20231005_021500.tif"}
    assert boxes["counted"].all()
    assert boxes.crs == "EPSG:32652"
    evidence = store.asset(last.id, EVIDENCE)
    assert evidence is not None
    assert 10_000 < evidence.stat().st_size < 1_000_000


def test_the_history_is_gathered_and_judged_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verdicts, chart and page rest on one gathering and one judging of the history."""
    from railwatch.history import history, record

    # The package's own name "judge" is the function.
    judge = importlib.import_module("railwatch.history.judge")

    calls: dict[str, int] = {"gathered": 0, "judged": 0}
    records: list[str] = []

    def counted(name: str, real: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            calls[name] += 1
            return real(*args, **options)

        return call

    def noted(one: Observation, *args: Any) -> Any:
        records.append(one.id)
        return record.from_observation(one, *args)

    monkeypatch.setattr(history.Gathered, "of", counted("gathered", history.Gathered.of))
    monkeypatch.setattr(judge, "judge", counted("judged", judge.judge))
    monkeypatch.setattr(history, "from_observation", noted)
    result = count(series(tmp_path / "scenes"), tmp_path / "store", conclude=True)
    assert result.charts
    assert result.report is not None
    assert calls == {"gathered": 1, "judged": 1}
    assert sorted(records) == sorted(one.id for one in result.observations)


def test_an_image_is_opened_twice_to_be_recognised_and_twice_to_be_counted_and_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two finders read a header each; tiles have a thread of their own, all else goes through one handle."""

    class TileReader(BrightDetector):
        def detect(self, scene: Scene, area: AreaOfInterest | None = None, **options: Any) -> Detections:
            assert list(tiles(scene, TileGrid.over(scene, 0.5, area=area)))
            return super().detect(scene, area, **options)

    opened: Counter[str] = Counter()

    class CountedReader(rasterio.io.DatasetReader):  # type: ignore[misc]
        def __init__(self, name: str, **options: Any) -> None:
            opened[Path(name).name] += 1
            super().__init__(name, **options)

    monkeypatch.setattr(rasterio.io, "DatasetReader", CountedReader)
    result = count(series(tmp_path / "scenes"), tmp_path / "store", detector=TileReader())
    assert len(result.new) == 3
    assert opened == dict.fromkeys((f"{name}.tif" for name in COUNTS), 4)


@pytest.mark.parametrize(
    ("tracks", "words"), [(True, "along 10% of the tracks' length only"), (False, "No rail")]
)
def test_an_image_that_shows_no_railway_isnt_an_empty_yard(tmp_path: Path, tracks: bool, words: str) -> None:
    class UnderCloud(BrightDetector):
        def detect(self, scene: Scene, area: AreaOfInterest | None = None, **options: Any) -> Detections:
            found = super().detect(scene, area, **options)
            sight = TrackSight(np.zeros((10, 2)), np.zeros(10, np.int64), np.arange(10) == 4)
            return replace(found, railway=False, tracks=sight if area and area.tracks else None)

    area = YARD.area() if tracks else replace(YARD.area(), tracks=())
    scenes = series(tmp_path / "scenes")
    result = count(scenes, tmp_path / "store", area, detector=UnderCloud())
    for one in result.observations:
        assert one.abstained
        assert one.count is None
        assert one.reason is not None
        assert words in one.reason
        assert one.clear_fraction == pytest.approx(0.1 if tracks else 0.0)
    always = CONFIG.override(scenes__min_tracks_seen=0.0)
    answered = count(scenes, tmp_path / "other", area, always, detector=UnderCloud())
    assert [one.count for one in answered.observations] == [9, 15, 46]


def test_a_second_run_does_only_what_is_new(tmp_path: Path) -> None:
    scenes, store = series(tmp_path / "scenes"), tmp_path / "store"
    first = count(scenes, store)
    before = content(store / "items")
    detector = BrightDetector()
    again = count(scenes, store, detector=detector)
    assert detector.scenes == []
    assert again.new == frozenset()
    assert again.observations == first.observations
    assert content(store / "items") == before
    YARD.write(scenes / "more" / "20231101.tif", (1, 0, 0), 9)
    third = count(scenes, store, detector=detector)
    assert detector.scenes == ["20231101.tif"]
    assert len(third.observations) == 4
    assert len(third.new) == 1


def test_moved_files_are_known_again(tmp_path: Path) -> None:
    scenes, store = series(tmp_path / "scenes"), tmp_path / "store"
    count(scenes, store)
    moved = scenes.rename(tmp_path / "elsewhere")
    (moved / "20230901_021500.tif").rename(moved / "renamed_20230901_021500.tif")
    again = count(moved, store)
    assert again.new == frozenset()
    assert len(again.observations) == 3
    assert len(Store.open(store).observations(superseded=True)) == 3


@pytest.mark.parametrize("change", ["setting", "area", "model", "device"])
def test_a_changed_setting_is_other_work(tmp_path: Path, change: str) -> None:
    scenes, store = series(tmp_path / "scenes"), tmp_path / "store"
    first = count(scenes, store)
    options: dict[str, Any] = {}
    if change == "setting":
        options["config"] = CONFIG.override(detector__threshold=0.7)
    if change == "area":
        options["area"] = YARD.area(tracks=False)
    if change == "model":
        options["detector"] = BrightDetector()
        options["detector"].checksum = "1" * 64
    if change == "device":  # the same work on another machine
        options["config"] = CONFIG.override(detector__device="cpu")
    again = count(scenes, store, **options)
    assert len(again.new) == (0 if change == "device" else 3)
    kept = Store.open(store)
    assert len(kept.observations(superseded=True)) == (3 if change == "device" else 6)
    # The time series holds each scene once: the work done last.
    assert {one.id for one in kept.observations()} == {one.id for one in again.observations}
    assert first.observations[0].scene == again.observations[0].scene
    # Going back to the first settings finds the first results.
    back = count(scenes, store, conclude=change == "setting")
    assert back.new == frozenset()
    assert back.observations == first.observations
    assert len(back.verdicts) == (3 if change == "setting" else 0)


def test_bad_scenes_do_not_stop_the_rest(tmp_path: Path) -> None:
    scenes = series(tmp_path / "scenes")
    whole = (scenes / "20230901_021500.tif").read_bytes()
    (scenes / "20230910.tif").write_bytes(whole[: len(whole) // 2])
    (scenes / "20230911.tif").write_text("not an image at all")
    YARD.write(scenes / "20230912.tif", (1, 1, 1), blank=700)
    result = count([scenes, tmp_path / "missing"], tmp_path / "store")
    assert [one.count for one in result.observations] == [9, 15, 46]
    reasons = {one.path.name: one.reason for one in result.skipped}
    assert set(reasons) == {"20230910.tif", "20230911.tif", "20230912.tif", "missing"}
    assert "no valid pixel" in reasons["20230912.tif"]
    assert result.read


class OftenFails(BrightDetector):
    """A detector that fails on chosen scenes, as a real one does on odd input."""

    def __init__(self, faults: dict[str, Exception]) -> None:
        super().__init__()
        self.faults = faults

    def detect(self, scene: Any, area: Any = None, **options: Any) -> Any:
        if scene.path.stem in self.faults:
            raise self.faults[scene.path.stem]
        return super().detect(scene, area, **options)


def test_a_fault_nobody_foresaw_is_listed_and_an_interruption_ends_the_run(tmp_path: Path) -> None:
    scenes, store = series(tmp_path / "scenes"), tmp_path / "store"
    path = scenes / "20230901_021500.tif"
    faults: dict[str, Exception] = {
        "20230901_021500": ResolutionError(f"{path}: too fine"),
        "20230905_021500": ZeroDivisionError("by zero"),
    }
    result = count(scenes, store, detector=OftenFails(faults))
    assert [one.count for one in result.observations] == [46]
    assert [one.reason for one in result.skipped] == [
        "too fine.",
        "it failed unexpectedly (ZeroDivisionError: by zero).",
    ]
    with pytest.raises(KeyboardInterrupt):
        count(
            scenes,
            store,
            detector=OftenFails({"20230905_021500": KeyboardInterrupt()}),  # type: ignore[dict-item]
        )
    assert [one.count for one in Store.open(store).observations()] == [9, 46]


def test_nothing_is_an_answer_too(tmp_path: Path) -> None:
    YARD.write(tmp_path / "scenes" / "20231005.tif", (0, 0, 0))
    result = count(tmp_path / "scenes", tmp_path / "store")
    (one,) = result.observations
    assert (one.count, one.abstained) == (0, False)
    assert one.count_low == 0
    assert len(Store.open(tmp_path / "store").detections(one.id)) == 0


def test_it_abstains_where_too_little_is_seen(tmp_path: Path) -> None:
    YARD.write(tmp_path / "scenes" / "20231005.tif", (6, 6, 6), blank=400)
    YARD.write(tmp_path / "scenes" / "20231006.tif", (6, 6, 6), blank=100)
    detector = BrightDetector()
    result = count(tmp_path / "scenes", tmp_path / "store", detector=detector, conclude=True)
    poor, good = result.observations
    assert poor.abstained
    assert (poor.count, poor.count_low, poor.count_high) == (None, None, None)
    assert poor.clear_fraction == pytest.approx((315 - 200) / 310, abs=0.01)
    assert poor.reason == "Only 37% of the area is seen; the settings ask for 50%."
    assert detector.scenes == ["20231006.tif"]
    assert good.clear_fraction == pytest.approx((315 - 50) / 310, abs=0.01)
    assert good.count == 12
    store = Store.open(tmp_path / "store")
    assert store.detections(poor.id) is None
    assert store.asset(poor.id, EVIDENCE) is not None
    assert [one.verdict for one in result.verdicts] == ["cannot say", "cannot say"]


def test_masks_hide_what_is_under_them(tmp_path: Path) -> None:
    YARD.write(tmp_path / "scenes" / "20241101.tif", (6, 6, 6))
    YARD.write(tmp_path / "scenes" / "20241204.tif", (6, 6, 6), seed=2)
    roof = Mask(shapely.box(0, 15, 160, 25), "Canopy over the first track", start=date(2024, 12, 3))
    result = count(tmp_path / "scenes", tmp_path / "store", YARD.area(masks=(roof,)))
    before, after = result.observations
    assert (before.count, before.hidden_fraction, before.warnings) == (18, 0.0, ())
    assert after.count == 12
    assert after.hidden_fraction == pytest.approx(155 * 10 / (310 * 70), rel=0.01)
    assert after.clear_fraction == pytest.approx(1.0, abs=0.01)
    assert after.warnings == (
        "7% of the area can't be seen (Canopy over the first track): wagons there aren't counted, so the "
        "true count may be higher.",
    )
    everything = YARD.area(masks=(Mask(shapely.box(0, 0, 400, 100), "tent"),))
    hidden = count(tmp_path / "scenes", tmp_path / "store", everything)
    assert {one.reason for one in hidden.observations} == {"All of the area is hidden on that day."}


def test_dates_and_coarse_scenes(tmp_path: Path) -> None:
    YARD.write(tmp_path / "scenes" / "undated.tif", (2, 0, 0))
    Yard(gsd_m=10.0, width_m=640, height_m=160, tracks_y_m=(20.0, 30.0, 40.0)).write(
        tmp_path / "scenes" / "S2_20231005.tif", (0, 0, 0)
    )
    result = count(tmp_path / "scenes", tmp_path / "store")
    assert result.observations == ()
    assert not result.read
    assert [one.path.name for one in result.skipped] == ["S2_20231005.tif", "undated.tif"]
    assert result.skipped[0].reason.startswith("it is an 8-bit picture")
    table = tmp_path / "dates.csv"
    table.write_text("file,datetime\nscenes/undated.tif,2023-10-05T02:15:00Z\n")
    result = count(tmp_path / "scenes", tmp_path / "store", dates=read_dates(table))
    assert [(one.count, one.datetime.isoformat()) for one in result.observations] == [
        (2, "2023-10-05T02:15:00+00:00")
    ]


def test_nothing_readable_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "x.tif").write_text("no image")
    result = count([tmp_path / "x.tif", tmp_path / "gone"], tmp_path / "store")
    assert not result.read
    assert len(result.skipped) == 2


def test_the_json_has_the_shape_that_scripts_rely_on(tmp_path: Path) -> None:
    scenes = series(tmp_path / "scenes")
    (scenes / "bad.tif").write_text("x")
    given = json.loads(json.dumps(count(scenes, tmp_path / "store", conclude=True).to_json()))
    assert {"observations", "verdicts", "skipped", "store"} <= set(given)
    promised = (
        "id aoi scene datetime sensor method count count_low count_high occupied_length_m "
        "occupied_length_low_m occupied_length_high_m clear_fraction abstained reason warnings"
    )
    assert set(promised.split()) <= set(given["observations"][0])
    assert given["observations"][0]["datetime"] == "2023-09-01T02:15:00Z"
    wanted = {"datetime", "verdict", "count", "history_max", "history_n", "probability_record"}
    assert wanted <= set(given["verdicts"][0])
    assert set(given["skipped"][0]) == {"path", "reason"}
    assert given["store"] == str(tmp_path / "store")


def test_verdicts_rest_on_the_whole_store(tmp_path: Path) -> None:
    folder, store = tmp_path / "scenes", tmp_path / "store"
    for number in range(12):
        YARD.write(
            folder / f"2023{number // 2 + 1:02}{1 + 14 * (number % 2):02}.tif", (1, 1 + number % 3, 2), number
        )
    count(folder, store)
    YARD.write(tmp_path / "now" / "20231005.tif", (18, 18, 18), 99)
    result = count(tmp_path / "now", store, conclude=True)
    assert [one.record.id for one in result.verdicts] == [result.observations[0].id]
    (verdict,) = result.verdicts
    assert verdict.verdict in ("unprecedented", "elevated")
    assert verdict.to_json()["history_n"] == 12
    assert verdict.to_json()["history_max"] == 6
    assert (
        len(
            read_sources(store, chosen=choose_settings(store=store, baseline__use_published=False)).verdicts()
        )
        == 13
    )


def test_run_and_compare_give_the_same_figures(tmp_path: Path) -> None:
    """Published counts belong to the history, and to the family of dates that is judged together."""
    area = replace(YARD.area(), name="tumangang")
    result = count(series(tmp_path / "scenes"), tmp_path / "store", area, RunConfig(), conclude=True)
    sources = read_sources(tmp_path / "store")
    compared = {one.record.id: one.to_json() for one in sources.verdicts()}
    assert len(compared) > len(result.verdicts) == 3
    for verdict in result.verdicts:
        assert verdict.to_json() == compared[verdict.record.id]


def test_a_run_ends_with_a_page(tmp_path: Path) -> None:
    result = count(series(tmp_path / "scenes"), tmp_path / "store", conclude=True)
    assert result.report == tmp_path / "store" / "reports" / "yard.html"
    page = result.report.read_text("utf-8")
    assert page.count('<img class="evidence"') == 3 or page.count("data:image/") >= 3
    assert result.to_json()["report"] == str(result.report)
    YARD.write(tmp_path / "more" / "20231010_021500.tif", (18, 17, 12), 7)
    count(tmp_path / "more", tmp_path / "store", conclude=True)
    assert "2023-10-10" in result.report.read_text("utf-8")


def test_a_store_that_can_not_be_written_ends_the_run(tmp_path: Path) -> None:
    scenes = series(tmp_path / "scenes")
    store = Store.open(tmp_path / "store")
    (store.path / "items").rmdir()
    (store.path / "items").write_text("in the way")
    with pytest.raises(StoreError, match="Can't write to the store"):
        run([scenes], YARD.area(), CONFIG, store, BrightDetector())


class Watching:
    """Notes what a run reports."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int]] = []
        self.labels: list[str] = []

    def __call__(self, done: int, total: int) -> None:
        self.steps.append((done, total))

    def label(self, text: str) -> None:
        self.labels.append(text)

    def bar(self, label: str) -> AbstractContextManager[Any]:
        return nullcontext(lambda done, total: None)


def test_it_reports_how_far_it_is(tmp_path: Path) -> None:
    watching = Watching()
    count(series(tmp_path / "scenes"), tmp_path / "store", progress=watching)
    assert watching.steps[-1] == (3, 3)
    assert watching.labels[-1] == "20231005_021500.tif"


class Slow(BrightDetector):
    def detect(self, scene: Any, area: Any = None, **options: Any) -> Any:
        time.sleep(0.2)
        return super().detect(scene, area, **options)


def _run_slowly(scenes: str, store: str) -> None:
    run([scenes], YARD.area(), CONFIG, Store.open(store), Slow())


def same(observations: list[Observation]) -> list[dict[str, Any]]:
    """What doesn't depend on when the work was done."""
    plain = [one.to_json() for one in observations]
    for one in plain:
        del one["provenance"]["created"]
    return plain


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX systems")
def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    scenes = tmp_path / "scenes"
    for day in range(1, 9):
        YARD.write(scenes / f"2023090{day}.tif", (day, 1, 0), day)
    store = tmp_path / "store"
    victim = SPAWN.Process(target=_run_slowly, args=(str(scenes), str(store)))
    victim.start()
    deadline = time.monotonic() + 600
    while victim.is_alive() and len(list(store.glob("items/[!.]*"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    victim.kill()
    victim.join()
    done = Store.open(store).observations()
    assert 3 <= len(done) < 8

    detector = BrightDetector()
    result = count(scenes, store, detector=detector)
    assert len(detector.scenes) == 8 - len(done)
    assert [one.count for one in result.observations] == [day + 1 for day in range(1, 9)]
    undisturbed = count(scenes, tmp_path / "other")
    assert same(Store.open(store).observations()) == same(list(undisturbed.observations))
    assert list(store.rglob(".tmp-*")) == []


def test_two_runs_at_once_share_the_work_of_one_store(tmp_path: Path) -> None:
    scenes, store = series(tmp_path / "scenes"), tmp_path / "store"
    Store.open(store)
    runs = [SPAWN.Process(target=_run_slowly, args=(str(scenes), str(store))) for _ in range(2)]
    for one in runs:
        one.start()
    for one in runs:
        one.join(600)
    assert [one.exitcode for one in runs] == [0, 0]
    kept = Store.open(store)
    assert [one.count for one in kept.observations(superseded=True)] == [9, 15, 46]
    assert all(kept.asset(one.id, DETECTIONS) is not None for one in kept.observations())


@pytest.mark.parametrize("crs", ["EPSG:3857", "EPSG:4326", "EPSG:32653"])
def test_the_count_does_not_depend_on_the_map(tmp_path: Path, crs: str) -> None:
    """The same ground in other map projections: turned, stretched, in degrees."""
    source = YARD.write(tmp_path / "utm.tif", (4, 3, 2))
    target = tmp_path / "scenes" / "20231005.tif"
    target.parent.mkdir()
    with rasterio.open(source) as raster:
        transform, width, height = calculate_default_transform(
            raster.crs, crs, raster.width, raster.height, *raster.bounds
        )
        profile = raster.profile | {"crs": crs, "transform": transform, "width": width, "height": height}
        image = np.zeros((3, height, width), np.uint8)
        reproject(
            raster.read(),
            image,
            src_transform=raster.transform,
            src_crs=raster.crs,
            dst_transform=transform,
            dst_crs=crs,
            src_nodata=0,
            dst_nodata=0,
        )
        with rasterio.open(target, "w", **profile) as out:
            out.write(image)
    (one,) = count(target, tmp_path / "store").observations
    assert {name: track["count"] for name, track in one.tracks.items()} == {"t1": 4, "t2": 3, "t3": 2}
    assert one.count == 9
    assert one.clear_fraction == pytest.approx(1.0, abs=0.01)
    assert one.provenance["gsd_m"] == pytest.approx(0.5, rel=0.2)
