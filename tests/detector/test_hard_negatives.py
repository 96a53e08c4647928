"""Hard negatives: empty ground on which the detector sees wagons."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from painted import bright_wagons, bright_weights

from detector.training import tiles as mining
from detector.training.shards import LabelledTile, Shard, find_shards
from detector.training.tiles import hardest, hardness, make_hard_shards
from detector.wagons import weights
from detector.wagons.boxes import as_boxes
from detector.wagons.detector import WagonDetector

SIZE = (96, 160)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory) -> weights.Weights:
    """A network that takes every bright spot for a wagon."""
    torch.set_num_threads(1)
    return weights.load(bright_weights(tmp_path_factory.mktemp("weights")))


@pytest.fixture(scope="module")
def detector(loaded) -> WagonDetector:
    return WagonDetector(loaded, "cpu")


@pytest.fixture
def gullible(monkeypatch) -> None:
    """Tiles are kept on which that network sees dozens."""
    monkeypatch.setattr(mining, "MOST_SEEN", 1e9)


def tile(spots, boxes=()) -> LabelledTile:
    true = as_boxes(np.asarray(boxes, float).reshape(-1, 5))
    return LabelledTile(
        image=bright_wagons(list(spots), SIZE),
        boxes=true,
        category=np.zeros(len(true), int),
        ignored=np.zeros(len(true), bool),
        track=np.zeros((SIZE[0] // 4, SIZE[1] // 4), np.uint8),
        meta={"gsd_m": 0.5, "name": str(len(spots))},
    )


def test_more_false_boxes_are_harder(detector):
    none, one, two = (hardness(detector, tile(s)) for s in ([], [(42, 42)], [(42, 42), (82, 42)]))
    assert none == 0.0
    assert 0.0 < one < two


def test_the_hardest_come_first_and_wagons_are_passed_over(detector):
    spots = [(42, 42), (82, 42), (122, 42)]
    tiles = [tile(spots[:1]), tile([]), tile(spots), tile(spots, [[42, 42, 30, 6, 0]]), tile(spots[:2])]
    kept = hardest(detector, tiles, keep=2)
    assert [t.meta["name"] for t in kept] == ["3", "2"]
    assert kept[0].meta["hardness"] > kept[1].meta["hardness"] > 0.1
    assert [t.meta["name"] for t in hardest(detector, tiles, keep=9)] == ["3", "2", "1"]


def test_what_looks_like_a_whole_train_is_no_negative(detector, monkeypatch):
    spots = [(42, 42), (82, 42), (122, 42)]
    tiles = [tile(spots[:n]) for n in (1, 2, 3)]
    limit = (hardness(detector, tiles[1]) + hardness(detector, tiles[2])) / 2
    monkeypatch.setattr(mining, "MOST_SEEN", limit)
    assert [t.meta["name"] for t in hardest(detector, tiles, keep=9)] == ["2", "1"]


def test_shards_of_hard_negatives_are_empty_ground_and_repeatable(loaded, gullible, tmp_path):
    made = [
        make_hard_shards(tmp_path / name, 1, weights=loaded, seed=3, scenes=2, keep=4, device="cpu")
        for name in "ab"
    ]
    first, second = (Shard(find_shards(tmp_path / name)[0]) for name in "ab")
    assert made == [len(first), len(second)]
    assert 1 <= len(first) <= 4
    assert not len(first.boxes)
    assert all(m["split"] == "train" and m["hardness"] > 0 for m in first.meta)
    np.testing.assert_array_equal(first.images, second.images)
    # What is there is left alone.
    before = (tmp_path / "a" / "shard-00000.images.npy").stat().st_mtime_ns
    assert make_hard_shards(tmp_path / "a", 1, weights=loaded, seed=4, device="cpu") == 0
    assert (tmp_path / "a" / "shard-00000.images.npy").stat().st_mtime_ns == before


def test_hard_negatives_of_both_simulators(loaded, gullible, tmp_path):
    make_hard_shards(
        tmp_path, 1, weights=loaded, seed=3, scenes=40, keep=200, collage_share=0.5, device="cpu"
    )
    (path,) = find_shards(tmp_path)
    shard = Shard(path)
    drawn = [m.get("simulator", "main") for m in shard.meta]
    assert {"main", "collage"} == set(drawn)
    assert not len(shard.boxes)


def test_nothing_hard_writes_no_shard(loaded, tmp_path):
    judge = replace(loaded.judge, weight=0 * loaded.judge.weight, bias=np.float32([-9.0]))
    blind = replace(loaded, judge=judge)
    assert make_hard_shards(tmp_path, 1, weights=blind, seed=3, scenes=1, device="cpu") == 0
    assert not find_shards(tmp_path)
