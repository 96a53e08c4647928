"""PlanetScope scenes through the main job: a history of their own beside that of Sentinel-2."""

from __future__ import annotations

import datetime as dt
import importlib.util
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import ten_metres as yard
from yards import BrightDetector

from railwatch.config import RunConfig
from railwatch.pipeline.run import RunResult, run
from railwatch.store.observation import Observation
from railwatch.store.store import Store

_SCENES = Path(__file__).resolve().parent.parent / "geo" / "planetscope_products.py"
_spec = importlib.util.spec_from_file_location("planetscope_products", _SCENES)
assert _spec is not None
assert _spec.loader is not None
scenes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(scenes)

COUNTS = (3, 0, 8, 5, 2, 0, 4, 40)


def write_scene(folder: Path, number: int, wagons: int, *, product: str = "AnalyticMS_SR") -> Path:
    """A date as a PlanetScope scene: a day after Sentinel-2's, on pixels of 2.5 m."""
    fine = {band: scenes.finer(plane, yard.TRANSFORM) for band, plane in yard.planes(wagons, number).items()}
    transform = next(iter(fine.values()))[1]
    planes = {band: plane for band, (plane, _) in fine.items()}
    when = yard.when(number) + dt.timedelta(days=1)
    return Path(scenes.write_scene(folder, when, planes, transform, yard.UTM, product=product))


def go(paths: Iterable[Path], store: Path) -> RunResult:
    config = RunConfig().override(chart__formats=("svg",), baseline__use_published=False)
    return run(
        list(paths),
        yard.area(),
        config,
        Store.open(store),
        BrightDetector(),
        estimator=yard.BrightEstimator(),
    )


def of(result: RunResult, sensor: str) -> list[Observation]:
    return [one for one in result.observations if one.sensor.startswith(sensor)]


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder of Sentinel-2 products, and an order of PlanetScope scenes."""
    top = tmp_path_factory.mktemp("orders")
    for number, wagons in enumerate(COUNTS):
        yard.write(top / "s2" / f"{number}", number, wagons, how="cog")
        write_scene(top / "order" / "PSScene", number, wagons)
    return top / "s2", top / "order"


def test_each_sensor_is_compared_with_its_own_past(tmp_path: Path, orders: tuple[Path, Path]) -> None:
    alone = go([orders[0]], tmp_path / "store")
    both = go(orders, tmp_path / "store")
    assert both.skipped == ()
    # What Sentinel-2 says doesn't change when PlanetScope comes in.
    assert of(both, "Sentinel-2") == list(alone.observations)
    planet = of(both, "PlanetScope")
    assert len(planet) == len(COUNTS)
    assert {one.sensor for one in planet} == {"PlanetScope"}
    assert {one.method for one in planet} == {"occupancy"}
    for number, one in enumerate(planet):
        history = one.provenance["history"]["ids"]
        assert all(id.startswith("PS_") for id in history)
        assert len(history) <= number
        assert one.provenance["gsd_m"] == 2.5
        assert one.provenance["pixels"]["satellite"] == "2427"
    for number in (6, 7):
        assert planet[number].count == pytest.approx(COUNTS[number], abs=0.4 * COUNTS[number] + 3)
    folders = sorted(path.name for path in (tmp_path / "store" / "chips").iterdir())
    assert len(folders) == 2
    assert folders[1] == f"{folders[0]}-planetscope"
    again = go(orders, tmp_path / "store")
    assert again.new == frozenset()
    assert again.observations == both.observations


def test_what_cannot_be_used_says_what_to_order(tmp_path: Path) -> None:
    path = write_scene(tmp_path, 0, 3, product="Visual")
    result = go([tmp_path], tmp_path / "store")
    assert result.observations == ()
    (skipped,) = result.skipped
    assert skipped.path == path
    assert skipped.reason.startswith("it is an 8-bit picture, stretched for the eye")
    assert "ortho_analytic_4b_sr" in skipped.reason


def test_a_scene_that_comes_again_in_another_order(tmp_path: Path, orders: tuple[Path, Path]) -> None:
    first = go([orders[1]], tmp_path / "store")
    copy = write_scene(tmp_path / "again", 2, COUNTS[2])
    second = go([copy], tmp_path / "store")
    assert second.new == frozenset()
    assert np.isin([one.id for one in second.observations], [one.id for one in first.observations]).all()
