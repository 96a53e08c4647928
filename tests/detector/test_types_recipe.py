"""Training the types of freight cars: batches, odds and threshold, the whole recipe on few scenes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from painted import bright_wagons

from detector.errors import LabelError
from detector.training import types_recipe
from detector.training.calibrate_types import TYPE_OF, TypedScene, figures, fit_odds, type_numbers
from detector.training.config import TypesData, TypesRecipe, TypesTraining, read_recipe
from detector.training.shards import LabelledTile, track_map, write_shard
from detector.training.types_recipe import CutOuts
from detector.wagons.categories import NOT_TYPED, TYPES, UNKNOWN
from detector.wagons.type_network import TypeNetwork, TypeOdds

SETTINGS = TypesTraining(steps=2, batch_size=8, warmup_steps=1, threads=1, log_steps=1)


def tile(names: list[str]) -> LabelledTile:
    """A tile with a row of cars of these types."""
    centres = [(40.0 + 40 * k, 130.0) for k in range(len(names))]
    boxes = np.array([[x, y, 30, 6, 0] for x, y in centres])
    return LabelledTile(
        image=bright_wagons(centres, (288, 288)),
        boxes=boxes,
        category=np.zeros(len(names), np.int64),
        ignored=np.zeros(len(names), bool),
        track=track_map([np.array([[0.0, 130], [288.0, 130]])], (288, 288)),
        meta={"types": names, "gsd_m": 0.5},
    )


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    write_shard(tmp_path / "shard-00000", [tile(["tank", "tank", "coach"]), tile(["tub", "van", "heap"])])
    return tmp_path


def test_every_freight_car_of_the_simulators_has_a_type():
    from detector.simulators.collage.cutouts import WEIGHTS
    from detector.simulators.procedural.rolling_stock import FREIGHT_TYPES

    freight = {*FREIGHT_TYPES, *WEIGHTS} - {"carriage"}
    assert freight <= set(TYPE_OF)
    assert set(TYPE_OF.values()) == set(TYPES)
    assert type_numbers(["tank", "coach", "heap"]).tolist() == [TYPES.index("tank"), NOT_TYPED, 0]


def test_batches_are_seeded_and_hold_freight_cars_alone(shards):
    cuts = CutOuts(shards, SETTINGS)
    one, again, other = cuts.batch(3), CutOuts(shards, SETTINGS).batch(3), cuts.batch(4)
    assert one.planes.shape == (8, 4, 16, 48)
    assert (one.planes == again.planes).all()
    assert (one.type == again.type).all()
    assert not (one.planes == other.planes).all()
    seen = {int(kind) for step in range(12) for kind in cuts.batch(step).type}
    assert seen == {TYPES.index(name) for name in ("open", "covered", "tank")}


def test_shards_that_come_later_are_taken_up(shards):
    cuts = CutOuts(shards, SETTINGS)
    write_shard(shards / "shard-00001", [tile(["boxes", "deck"])])
    seen = {int(kind) for step in range(50, 62) for kind in cuts.batch(step).type}
    assert TYPES.index("flat_or_container") in seen


def test_nothing_to_learn_from_is_said(tmp_path):
    write_shard(tmp_path / "shard-00000", [tile(["coach"])])
    with pytest.raises(LabelError, match="no tile with a freight car"):
        CutOuts(tmp_path, SETTINGS)


def scenes(right: float, number: int = 60) -> list[TypedScene]:
    """Cars apart from one another, of which some look like another type, those a little less surely."""
    rng = np.random.default_rng(5)
    out = []
    for _ in range(number):
        true = rng.integers(len(TYPES), size=10)
        good = rng.random(10) < right
        looks = np.where(good, true, (true + 1) % len(TYPES))
        sure = np.where(good, rng.uniform(0.6, 0.99, 10), rng.uniform(0.4, 0.8, 10))
        logs = np.repeat(((1 - sure) / 3)[:, None], len(TYPES), axis=1)
        logs[np.arange(10), looks] = sure
        boxes = np.array([[0.0, 100.0 * k, 28, 6, 0] for k in range(10)])
        out.append(TypedScene(boxes, np.log(logs), true, 0.5))
    return out


def test_the_threshold_is_the_lowest_that_is_right_often_enough():
    given = scenes(0.8)
    odds = fit_odds(given, 0.95)
    found = figures(given, odds)
    assert found["right"] >= 0.95
    assert 0.4 < found["typed"] < 1
    lower = figures(given, odds._replace(threshold=odds.threshold - 0.02))
    assert lower["right"] < 0.95
    assert figures(given, odds._replace(threshold=0.0))["typed"] == 1.0


def test_figures_say_what_is_called_what():
    boxes = np.array([[0.0, 100.0 * k, 28, 6, 0] for k in range(3)])
    logs = np.log([[0.9, 0.05, 0.03, 0.02], [0.1, 0.8, 0.05, 0.05], [0.3, 0.25, 0.25, 0.2]])
    scene = TypedScene(boxes, logs, np.array([0, 2, NOT_TYPED]), 0.6)
    found = figures([scene], TypeOdds(1.0, 0.0, 0.5))
    assert (found["cars"], found["typed"], found["right"], found["no_car"]) == (2, 1.0, 0.5, 0.0)
    assert found["by_gsd"] == {"0.5 to 0.7 m": {"cars": 2, "typed": 1.0, "right": 0.5}}
    assert found["confusion"]["tank"] == {**dict.fromkeys((*TYPES, UNKNOWN), 0), "covered": 1}


def test_the_shipped_settings_are_those_of_types():
    recipe = read_recipe(Path(__file__).parents[2] / "configs" / "train-types.toml")
    assert isinstance(recipe, TypesRecipe)
    assert recipe.accuracy > 0.9


def test_the_whole_recipe_on_a_few_scenes(tmp_path, monkeypatch):
    monkeypatch.setattr(types_recipe, "SCENES", dict.fromkeys(types_recipe.KINDS, 1))
    data = TypesData(shards=1, check_shards=1, relief_scenes=1)
    recipe = TypesRecipe(data=data, train=replace(SETTINGS, steps=2))
    path = types_recipe.follow(recipe, tmp_path, device="cpu")
    network = TypeNetwork.load(path)
    assert network.card["figures"]["validation"]["cars"] > 0
    assert network.card["figures"]["relief"]["cars"] > 0
    assert list(network.odds) == network.card["type_odds"]
    assert network.card["settings"]["train"]["steps"] == 2
