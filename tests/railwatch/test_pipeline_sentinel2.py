"""Sentinel-2 products through the main job: real files, the real store, a tiny estimator."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import ten_metres as yard
from affine import Affine
from yards import BrightDetector, Yard

from railwatch.config import RunConfig
from railwatch.pipeline.run import RunResult, run
from railwatch.store.observation import Observation
from railwatch.store.store import EVIDENCE, PRODUCTS, Store

COUNTS = (3, 0, 8, 5, 2, 0, 4, 40, 42, 110)
CLOUDY = 3


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Ten dates in four formats, each in a folder of its own."""
    top = tmp_path_factory.mktemp("archive")
    kinds = ("zip", "safe", "cog", "c1")
    found = {}
    for number, wagons in enumerate(COUNTS):
        folder = top / f"{number}"
        yard.write(folder, number, wagons, how=kinds[number % 4], cloudy=number == CLOUDY)
        found[number] = folder
    return found


def go(
    paths: Iterable[Path], store: Path, estimator: yard.BrightEstimator | None = None, **settings: Any
) -> RunResult:
    config = RunConfig().override(chart__formats=("svg",), baseline__use_published=False, **settings)
    tiny = estimator or yard.BrightEstimator()
    return run(list(paths), yard.area(), config, Store.open(store), BrightDetector(), estimator=tiny)


def standing(store: Path) -> list[tuple[str, float | None]]:
    """What the store now holds to be true."""
    return [(one.id, one.count) for one in Store.open(store).observations()]


@pytest.fixture(scope="module")
def whole(archive: dict[int, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult]:
    """All dates in one run."""
    store = tmp_path_factory.mktemp("whole") / "store"
    return store, go(archive.values(), store)


def by_day(result: RunResult) -> dict[int, Observation]:
    return {
        round((one.datetime - yard.START).total_seconds() / 86400 / 5): one for one in result.observations
    }


def test_every_date_is_answered_or_says_why_not(whole: tuple[Path, RunResult]) -> None:
    _, result = whole
    found = by_day(result)
    assert sorted(found) == list(range(len(COUNTS)))
    assert result.skipped == ()
    assert [number for number, one in found.items() if not one.abstained] == [6, 7, 8, 9]
    assert all(one.method == "occupancy" and one.sensor == "Sentinel-2A" for one in found.values())
    assert found[CLOUDY].reason
    assert "too few clear earlier dates" in str(found[0].reason)
    assert found[CLOUDY].provenance["history"]["dates"] < 5
    for number in (6, 7, 8):
        assert found[number].count == pytest.approx(COUNTS[number], abs=0.3 * COUNTS[number] + 3)


def test_length_comes_first_and_the_rest_follows(whole: tuple[Path, RunResult]) -> None:
    store, result = whole
    one = by_day(result)[7]
    given = one.to_json()
    assert given["occupied_length_low_m"] < given["occupied_length_m"] < given["occupied_length_high_m"]
    assert given["count"] == pytest.approx(given["occupied_length_m"] / yard.PITCH.mean_m, abs=0.1)
    assert one.headline.startswith(f"{one.occupied_length_m:.0f} m of track occupied (")
    assert set(one.zones) == {"west", "east"}
    by_zone = sum(zone["occupied_length_m"] for zone in one.zones.values())
    assert by_zone == pytest.approx(one.occupied_length_m, rel=0.02)
    said = one.provenance
    assert said["history"]["dates"] == len(said["history"]["ids"]) == 6
    assert (said["history"]["first"], said["history"]["last"]) == ("2023-04-03", "2023-05-03")
    assert said["registration"]["converged"]
    assert set(said["occupancy"]["budget"]) == {"texture", "pitch"}
    assert said["gsd_m"] == 10.0
    assert (store / said["chip"]).is_file()
    assert Store.open(store).get(one.id) == one
    picture = Store.open(store).item(one.id).assets[EVIDENCE]
    assert picture.extra_fields["proj:code"] == yard.UTM


def test_above_the_trusted_range_it_is_at_least(whole: tuple[Path, RunResult]) -> None:
    _, result = whole
    most = by_day(result)[9]
    assert most.lower_bound
    assert most.headline.startswith("at least ")
    (verdict,) = [one for one in result.verdicts if one.record.id == most.id]
    assert verdict.record.kind == "at least"
    assert verdict.to_json()["lower_bound"]
    assert "at least" in verdict.sentence
    assert "m of track occupied" in verdict.sentence


def test_a_second_run_writes_nothing(
    archive: dict[int, Path], whole: tuple[Path, RunResult], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(whole[0], store)

    def files() -> dict[Path, tuple[int, int]]:
        tops = [store / "collection.json", store / PRODUCTS]
        inside = [*store.glob("items/**/*"), *store.glob("chips/**/*"), *tops]
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in inside if path.is_file()}

    before = files()
    assert store / PRODUCTS in before  # the products' metadata are kept, too
    tiny = yard.BrightEstimator()
    again = go(archive.values(), store, tiny)
    assert again.new == frozenset()
    assert tiny.asked == []
    assert [one.id for one in again.observations] == [one.id for one in whole[1].observations]
    assert files() == before


def test_the_originals_are_needed_only_once(archive: dict[int, Path], tmp_path: Path) -> None:
    store = tmp_path / "store"
    go([archive[number] for number in range(6)], store)
    tiny = yard.BrightEstimator()
    later = go([archive[7]], store, tiny)
    (one,) = later.observations
    assert one.provenance["history"]["dates"] == 5
    assert not one.abstained
    assert len(tiny.asked) == 1


@pytest.mark.parametrize("order", [(range(0, 10, 2), range(1, 10, 2)), ((9, 8, 7), (0, 3, 6), (5, 4, 2, 1))])
def test_the_order_of_runs_doesnt_change_what_stands(
    archive: dict[int, Path], whole: tuple[Path, RunResult], tmp_path: Path, order: tuple[Iterable[int], ...]
) -> None:
    store = tmp_path / "store"
    for part in order:
        last = go([archive[number] for number in part], store)
    assert standing(store) == standing(whole[0])
    # Answers that other dates changed stay in the store, superseded.
    assert len(Store.open(store).observations(superseded=True)) > len(COUNTS)
    assert any("answered anew" in warning for warning in last.warnings)


def test_a_cloudy_date_changes_no_other_answer(
    archive: dict[int, Path], whole: tuple[Path, RunResult], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    go([folder for number, folder in archive.items() if number != CLOUDY], store)
    tiny = yard.BrightEstimator()
    last = go([archive[CLOUDY]], store, tiny)
    assert [one.scene for one in last.observations] == ["S2A_20230418T021001_R003"]
    assert tiny.asked == []
    assert {(one.id, one.count) for one in Store.open(store).observations()} == set(standing(whole[0]))


def test_stopped_at_any_date_it_goes_on(
    archive: dict[int, Path], whole: tuple[Path, RunResult], tmp_path: Path
) -> None:
    class Impatient(yard.BrightEstimator):
        def estimate(self, *given: Any, **more: Any) -> Any:
            if len(self.asked) == 2:
                raise KeyboardInterrupt
            return super().estimate(*given, **more)

    store = tmp_path / "store"
    with pytest.raises(KeyboardInterrupt):
        go(archive.values(), store, Impatient())
    there = Store.open(store).observations()
    assert 6 <= len(there) < len(COUNTS)
    tiny = yard.BrightEstimator()
    rest = go(archive.values(), store, tiny)
    assert len(tiny.asked) == 2
    assert rest.new == {one.id for one in rest.observations} - {one.id for one in there}
    assert standing(store) == standing(whole[0])


def test_a_store_whose_state_was_lost_makes_it_anew(
    archive: dict[int, Path], whole: tuple[Path, RunResult], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(whole[0], store)
    (state,) = store.glob("chips/*/looks-*.json")
    text = state.read_bytes()
    state.write_bytes(text[: len(text) // 2])
    tiny = yard.BrightEstimator()
    assert go([archive[0]], store, tiny).new == frozenset()
    assert tiny.asked == []
    assert state.read_bytes() == text


def test_one_acquisition_counts_once(archive: dict[int, Path], tmp_path: Path) -> None:
    scenes = tmp_path / "scenes"
    best = yard.write(scenes / "a", 0, 3, how="zip")
    yard.write(scenes / "b", 0, 3, how="zip", level="L1C")
    yard.write(scenes / "c", 0, 3, how="safe", baseline="02.14")
    yard.write(scenes / "d", 0, 3, how="c1")
    (scenes / "copies").mkdir()
    shutil.copy(best, scenes / "copies")
    result = go([scenes], tmp_path / "store")
    (one,) = result.observations
    assert one.scene == "S2A_20230403T021001_R003"
    assert one.provenance["level"] == "L2A"
    assert len(result.skipped) == 4
    assert all("same" in skipped.reason for skipped in result.skipped), result.skipped
    again = go([scenes], tmp_path / "store")
    assert again.new == frozenset()
    assert [(one.path, one.reason) for one in again.skipped] == [
        (one.path, one.reason) for one in result.skipped
    ]


@pytest.mark.parametrize("first", [0, 1])
def test_a_better_product_takes_over_whichever_came_first(tmp_path: Path, first: int) -> None:
    poor = yard.write(tmp_path / "poor", 0, 3, how="zip", level="L1C")
    good = yard.write(tmp_path / "good", 0, 3, how="cog")
    more = [yard.write(tmp_path / "more", number, 2) for number in range(1, 7)]
    products = [poor, good]
    go([products[first], *more], tmp_path / "store")
    go([products[1 - first]], tmp_path / "store")
    together = go([poor, good, *more], tmp_path / "other")
    assert standing(tmp_path / "store") == standing(tmp_path / "other")
    assert len(together.observations) == 7
    assert by_day(together)[0].provenance["level"] == "L2A"


def test_hindcast_takes_both_sides_and_says_so(archive: dict[int, Path], tmp_path: Path) -> None:
    store = tmp_path / "store"
    result = go(archive.values(), store, occupancy__hindcast=True)
    found = by_day(result)
    assert [number for number, one in found.items() if one.abstained] == [CLOUDY]
    assert all(one.provenance["history"]["hindcast"] for one in found.values())
    assert found[0].provenance["history"]["first"] == "2023-04-08"
    assert go(archive.values(), store, occupancy__hindcast=True).new == frozenset()
    forward = go(archive.values(), store)
    assert len(forward.new) == len(COUNTS)


def test_a_place_that_cant_be_answered_says_why(archive: dict[int, Path], tmp_path: Path) -> None:
    config = RunConfig().override(baseline__use_published=False, chart__formats=("svg",))
    area = yard.area("bare", tracks=False)
    paths = [archive[number] for number in range(8) if number != CLOUDY]
    result = run(paths, area, config, Store.open(tmp_path / "store"), estimator=yard.BrightEstimator())
    assert all(one.abstained and one.count is None for one in result.observations)
    assert result.observations[-1].reason == "The area bare has no track lines."


def test_the_pitch_of_the_settings_makes_the_count(archive: dict[int, Path], tmp_path: Path) -> None:
    paths = [archive[number] for number in range(8)]
    usual = by_day(go(paths, tmp_path / "usual"))[7]
    longer = by_day(go(paths, tmp_path / "longer", occupancy__pitch_mean_m=28.0))[7]
    assert longer.id != usual.id
    assert longer.occupied_length_m == usual.occupied_length_m
    assert usual.count is not None
    assert longer.count == pytest.approx(usual.count / 2, abs=0.2)


def test_fine_images_and_sentinel_in_one_folder(archive: dict[int, Path], tmp_path: Path) -> None:
    scenes = tmp_path / "scenes"
    for number in (0, 1, 2):
        shutil.copytree(archive[number], scenes / f"{number}")
    fine = Yard(width_m=700, height_m=120, tracks_y_m=(40.0, 55.0, 70.0))
    corner = Affine(0.5, 0, yard.WEST + 620, 0, -0.5, yard.NORTH - 680)
    fine.write(scenes / "fine" / "20230404.tif", (4, 3, 2), transform=corner)
    result = go([scenes], tmp_path / "store")
    assert sorted(one.method for one in result.observations) == ["occupancy"] * 3 + ["wagons"]
    assert result.skipped == ()
    assert result.scenes == 4
    assert next(one.count for one in result.observations if one.method == "wagons") == 9


def test_what_doesnt_show_the_area_or_cant_be_read_is_listed(
    archive: dict[int, Path], tmp_path: Path
) -> None:
    away = yard.products.write_safe(
        tmp_path / "away",
        yard.planes(0, 0),
        Affine(10, 0, 300_000, 0, -10, 4_600_000),
        yard.UTM,
        yard.when(0),
    )
    torn = yard.write(tmp_path / "torn", 1, 0, how="zip")
    torn.write_bytes(torn.read_bytes()[:2000])
    damaged = yard.write(tmp_path / "damaged", 2, 0, how="cog")
    band = next(damaged.parent.glob("B04*"))
    band.write_bytes(band.read_bytes()[: band.stat().st_size // 3])
    result = go([tmp_path, archive[5]], tmp_path / "store")
    assert [one.scene for one in result.observations] == ["S2A_20230428T021001_R003"]
    reasons = {one.path.name: one.reason for one in result.skipped}
    assert reasons[away.name] == "it doesn't touch the area siding."
    assert reasons[torn.name]
    assert len(reasons) == 3, reasons


def test_an_export_that_tells_but_the_day_gives_way_to_the_product(
    archive: dict[int, Path], whole: tuple[Path, RunResult], tmp_path: Path
) -> None:
    export = tmp_path / "exports" / "sentinel2_2023-04-28.tif"
    yard.products.write_export(export, yard.planes(COUNTS[5], 5), yard.TRANSFORM, yard.UTM)
    store = tmp_path / "store"
    first = go([export.parent, *(archive[number] for number in (0, 1, 2))], store)
    assert len(first.observations) == 4, first.skipped
    rest = go(archive.values(), store)
    assert rest.skipped == ()
    assert standing(store) == standing(whole[0])
    assert len(list(store.glob("chips/*/*.tif"))) == len(COUNTS)
    # And the other way round: the export adds nothing.
    again = go([export.parent], store)
    assert again.new == frozenset()
    assert "same acquisition" in again.skipped[0].reason


def test_a_date_that_was_declared_wrongly_is_mended(archive: dict[int, Path], tmp_path: Path) -> None:
    export = tmp_path / "exports" / "sentinel2_2023-04-28.tif"
    yard.products.write_export(export, yard.planes(4, 5), yard.TRANSFORM, yard.UTM)
    store = tmp_path / "store"
    paths = [archive[number] for number in (0, 1, 2)]
    go([export, *paths], store)
    export = export.rename(export.with_name("sentinel2_2023-06-30.tif"))
    last = go([export, *paths], store)
    assert [f"{one.datetime:%Y-%m-%d}" for one in Store.open(store).observations()] == [
        "2023-04-03",
        "2023-04-08",
        "2023-04-13",
        "2023-06-30",
    ]
    assert last.observations[-1].provenance["history"]["dates"] == 3
    assert go([export, *paths], store).new == frozenset()


def test_a_copied_image_under_two_dates_is_neither(archive: dict[int, Path], tmp_path: Path) -> None:
    for day in ("2023-05-13", "2023-06-30"):
        export = tmp_path / "exports" / f"sentinel2_{day}.tif"
        yard.products.write_export(export, yard.planes(4, 5), yard.TRANSFORM, yard.UTM)
    store = tmp_path / "store"
    for _ in range(2):
        result = go([tmp_path / "exports", archive[0], archive[1]], store)
        assert [f"{one.datetime:%Y-%m-%d}" for one in Store.open(store).observations()] == [
            "2023-04-03",
            "2023-04-08",
        ]
        assert sorted(one.path.name for one in result.skipped) == [
            "sentinel2_2023-05-13.tif",
            "sentinel2_2023-06-30.tif",
        ]
        assert "same pixels as sentinel2_2023-06-30.tif of 2023-06-30" in result.skipped[0].reason
    assert len(list(store.glob("chips/*/*.tif"))) == 2


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import ten_metres as yard
from geo.sentinel2.formats.find import find_products
from railwatch.config import RunConfig
from railwatch.pipeline.sentinel2 import answer
from railwatch.store.store import Store
products, _ = find_products([Path(one) for one in sys.argv[3:]])
answer(products, yard.area(), RunConfig(), Store.open(sys.argv[2]), yard.BrightEstimator)
"""


def start(store: Path, paths: Iterable[Path]) -> subprocess.Popen[bytes]:
    here = str(Path(__file__).parent)
    return subprocess.Popen([sys.executable, "-c", SCRIPT, here, store, *paths], stdout=subprocess.DEVNULL)


def test_two_processes_and_one_that_is_killed_leave_what_one_would(
    archive: dict[int, Path], whole: tuple[Path, RunResult], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    killed = start(store, archive.values())
    deadline = time.monotonic() + 120
    while not list(store.glob("items/[!.]*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    assert [one for one in Store.open(store).observations() if one.id not in dict(standing(whole[0]))] == []
    both = [start(store, [archive[n] for n in part]) for part in ((0, 2, 4, 6, 8), (1, 3, 5, 7, 9))]
    assert [one.wait() for one in both] == [0, 0]
    assert standing(store) == standing(whole[0])
