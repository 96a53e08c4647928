"""From simulated scenes to training tiles."""

from __future__ import annotations

import numpy as np
import pytest

from detector.simulators import Rendered, random_scene, render
from detector.training import tiles as prepare
from detector.training.config import TILE_PX
from detector.training.losses import IGNORED
from detector.training.shards import Shard, find_shards
from detector.training.tiles import make_shards, simulate_tiles, to_tile


def rendered(gsd_m: float, side: int, boxes=((60.0, 40.0, 36.0, 7.0, 20.0),), **meta) -> Rendered:
    """A made-up rendering, white from row 40 on."""
    image = np.zeros((side, side, 3), np.uint8)
    image[40:] = 255
    n = len(boxes)
    return Rendered(
        image=image,
        gsd_m=gsd_m,
        boxes=np.asarray(boxes, float).reshape(-1, 5),
        category=np.arange(n) % 3,
        wagon_type=["tank"] * n,
        visibility=np.linspace(1.0, 0.2, n) if n > 1 else np.ones(n),
        tracks=[np.array([[0.0, 40.0], [side, 40.0]])],
        track_gauge=[1520],
        meta={"kind": "yard", **meta},
    )


@pytest.mark.parametrize(("gsd_m", "side"), [(0.3, 480), (0.5, 288), (0.8, 180), (1.05, 137)])
def test_a_tile_is_at_half_a_metre_with_its_labels(gsd_m, side):
    tile = to_tile(rendered(gsd_m, side))
    scale = gsd_m / 0.5
    assert tile.image.shape == (TILE_PX, TILE_PX, 3)
    assert tile.track.shape == (TILE_PX // 4, TILE_PX // 4)
    np.testing.assert_allclose(tile.boxes, [[60 * scale, 40 * scale, 36 * scale, 7 * scale, 20]])
    # The edge in the picture lies where the labels say.
    grey = tile.image[:, 100, 0].astype(float)
    edge = np.interp(127.5, grey[: int(60 * scale)], np.arange(int(60 * scale)) + 0.5)
    assert edge == pytest.approx(40 * scale, abs=0.6)
    row = int(40 * scale // 4)
    assert tile.track[row - 1 : row + 2, 20].any()
    assert tile.meta["gsd_m"] == gsd_m
    assert tile.meta["types"] == ["tank"]


def test_a_small_picture_is_continued_at_its_border():
    tile = to_tile(rendered(0.5, 200))
    np.testing.assert_array_equal(tile.image[100, 200:], np.repeat(tile.image[100, 199:200], 88, axis=0))


def test_a_picture_can_keep_its_own_size():
    tile = to_tile(rendered(0.5, 200), None)
    assert tile.image.shape == (192, 192, 3)
    assert tile.track.shape == (48, 48)


def test_hidden_wagons_are_ignored():
    boxes = [(60.0, 40.0 + 20 * k, 36.0, 7.0, 20.0) for k in range(5)]
    tile = to_tile(rendered(0.5, 288, boxes))
    assert tile.ignored.tolist() == [False, False, False, False, True]
    assert tile.category.tolist() == [0, 1, 2, 0, 1]


def test_a_scene_without_wagons():
    tile = to_tile(rendered(0.5, 288, ()))
    assert tile.boxes.shape == (0, 5)
    assert tile.ignored.shape == (0,)


def test_tracks_nobody_has_drawn_are_unknown():
    tile = to_tile(rendered(0.5, 288, track_labels_complete=False))
    assert set(np.unique(tile.track)) == {1, IGNORED}


def test_simulated_wagons_stand_on_their_tracks():
    rng = np.random.default_rng(3)
    spec = random_scene(rng, split="train", kind="yard")
    tile = to_tile(render(spec, rng, gsd_m=0.5))
    inside = ((tile.boxes[:, :2] > 8) & (tile.boxes[:, :2] < TILE_PX - 8)).all(axis=1)
    column, row = (tile.boxes[inside, :2] // 4).astype(int).T
    assert len(row) > 3
    near = [tile.track[r - 1 : r + 2, c - 1 : c + 2].any() for r, c in zip(row, column, strict=True)]
    assert np.mean(near) > 0.9


def test_the_same_seed_gives_the_same_tiles():
    first, second = (simulate_tiles(5, 0, 1, split="val", backgrounds=None) for _ in range(2))
    assert len(first) == 2  # two sensors
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.boxes, b.boxes)
        assert a.meta["split"] == "val"
    assert not np.array_equal(first[0].image, first[1].image)
    other = simulate_tiles(6, 0, 1, split="val", backgrounds=None, views=1)
    assert not np.array_equal(first[0].image, other[0].image)


def test_shards_are_made_once(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "SCENES_A_SHARD", 1)
    steps = []
    made = make_shards(tmp_path, 2, seed=1, views=1, progress=lambda done, total: steps.append((done, total)))
    assert made == 2
    assert steps == [(1, 2), (2, 2)]
    assert [p.name for p in find_shards(tmp_path)] == ["shard-00000", "shard-00001"]
    before = [Shard(p)[0].image.copy() for p in find_shards(tmp_path)]
    assert not np.array_equal(*before)
    # Again, with one more: only that one is made.
    assert make_shards(tmp_path, 3, seed=1, views=1) == 1
    assert make_shards(tmp_path, 1, seed=1, views=1, first=7) == 1
    assert len(find_shards(tmp_path)) == 4
    np.testing.assert_array_equal(Shard(find_shards(tmp_path)[0])[0].image, before[0])


def test_tiles_can_be_of_wanted_kinds():
    found = simulate_tiles(5, 0, 4, split="train", backgrounds=None, views=1, kinds=["open", "empty_line"])
    assert {t.meta["kind"] for t in found} == {"open", "empty_line"}
    assert not any(len(t.boxes) for t in found)


def test_a_share_of_the_scenes_is_drawn_by_the_collage():
    tiles = simulate_tiles(5, 0, 12, split="train", backgrounds=None, views=1, collage_share=0.5)
    drawn = [t.meta.get("simulator") == "collage" for t in tiles]
    assert 2 <= sum(drawn) <= 10
    # The coarse end of the distances is drawn there, too.
    coarse = simulate_tiles(
        5, 0, 6, split="train", backgrounds=None, views=1, collage_share=1.0, coarse_share=1.0
    )
    assert all(0.64 < t.meta["gsd_m"] < 1.07 for t in coarse)
