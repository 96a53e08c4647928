"""Training tiles on disk, and tracks drawn as maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from detector.errors import LabelError
from detector.training.losses import IGNORED
from detector.training.shards import LabelledTile, Shard, find_shards, track_map, write_shard
from detector.wagons.boxes import as_boxes


def tile(n: int, seed: int = 0) -> LabelledTile:
    rng = np.random.default_rng(seed)
    return LabelledTile(
        image=rng.integers(0, 255, (64, 64, 3), dtype=np.uint8),
        boxes=as_boxes(rng.uniform(10, 50, (n, 5))),
        category=rng.integers(0, 3, n),
        ignored=rng.random(n) < 0.5,
        track=rng.integers(0, 2, (16, 16)).astype(np.uint8),
        meta={"gsd_m": np.float64(0.4), "kind": "yard", "types": ["tank"] * n},
    )


@pytest.fixture
def shard(tmp_path) -> Path:
    path = tmp_path / "shard-00000"
    write_shard(path, [tile(3), tile(0, 1), tile(5, 2)])
    return path


def test_what_is_written_is_read(shard):
    back = Shard(shard)
    assert len(back) == 3
    for found, expected in zip(back, [tile(3), tile(0, 1), tile(5, 2)], strict=True):
        np.testing.assert_array_equal(found.image, expected.image)
        np.testing.assert_array_equal(found.boxes, expected.boxes)
        np.testing.assert_array_equal(found.category, expected.category)
        np.testing.assert_array_equal(found.ignored, expected.ignored)
        np.testing.assert_array_equal(found.track, expected.track)
        assert found.meta == {"gsd_m": 0.4, "kind": "yard", "types": expected.meta["types"]}
        assert found.boxes.shape[1] == 5
        assert found.ignored.dtype == bool


def test_images_stay_on_disk(shard):
    assert isinstance(Shard(shard).images, np.memmap)


def test_a_shard_of_empty_tiles(tmp_path):
    write_shard(tmp_path / "s", [tile(0), tile(0, 1)])
    assert [len(t.boxes) for t in Shard(tmp_path / "s")] == [0, 0]


def test_only_whole_shards_are_found(shard):
    write_shard(shard.with_name("shard-00001"), [tile(1)])
    np.save(shard.with_name("shard-00002.images.npy"), np.zeros((1, 64, 64, 3), np.uint8))
    # What is being written lies there under a hidden name, and gets its own at the end.
    (shard.parent / ".tmp-1-shard-00003.labels.npz").write_bytes(b"")
    assert [p.name for p in find_shards(shard.parent)] == ["shard-00000", "shard-00001"]
    assert find_shards(shard.parent / "nowhere") == []
    assert not list(shard.parent.glob("*part*"))


@pytest.mark.parametrize("kept", [0, 10, 400, -20])
@pytest.mark.parametrize("suffix", [".labels.npz", ".images.npy"])
def test_a_damaged_shard_is_named(shard, suffix, kept):
    file = shard.with_suffix(suffix)
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(LabelError, match="shard-00000: not a whole training shard"):
        Shard(shard)


@pytest.mark.parametrize("suffix", [".labels.npz", ".images.npy"])
def test_half_a_shard_is_named(shard, suffix):
    shard.with_suffix(suffix).unlink()
    with pytest.raises(LabelError, match="shard-00000: not a whole training shard"):
        Shard(shard)


def test_images_of_another_shard_are_noticed(shard):
    np.save(shard.with_suffix(".images.npy"), np.zeros((2, 64, 64, 3), np.uint8))
    with pytest.raises(LabelError, match="differ in number"):
        Shard(shard)


def test_a_track_is_three_metres_wide():
    cells = track_map([np.array([[0.0, 66.0], [128.0, 66.0]])], (128, 128))
    assert cells.shape == (32, 32)
    assert cells.dtype == np.uint8
    rows = np.flatnonzero(cells.any(axis=1))
    assert 16 in rows
    assert rows.min() >= 15
    assert rows.max() <= 17
    assert cells[16].min() == 1


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.0, 3.0])
def test_the_line_runs_through_the_middle_of_its_cells(shift):
    y = 64.0 + shift
    cells = track_map([np.array([[0.0, y], [128.0, y]])], (128, 128)).astype(float)
    middle = ((np.arange(32) + 0.5) * 4 * cells[:, 10]).sum() / cells[:, 10].sum()
    assert abs(middle - y) <= 2.01


def test_where_tracks_are_missing_nothing_is_said():
    line = np.array([[0.0, 64.0], [128.0, 64.0]])
    cells = track_map([line], (128, 128), complete=False)
    assert set(np.unique(cells)) == {1, IGNORED}
    assert (track_map([], (128, 128), complete=False) == IGNORED).all()
    assert (track_map([], (128, 128)) == 0).all()


def test_curves_and_lines_from_outside_are_drawn():
    bow = np.column_stack([64 + 50 * np.cos(np.linspace(0, 3, 40)), 64 + 50 * np.sin(np.linspace(0, 3, 40))])
    far = np.array([[-5000.0, -5000.0], [5000.0, 5000.0]])
    cells = track_map([bow, far], (128, 128))
    assert cells[28, 16] == 1
    assert cells[5, 5] == cells[20, 20] == 1
    assert cells[2, 29] == 0
