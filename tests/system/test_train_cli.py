"""`railwatch train`: from settings and labels to weights that `detect` takes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from painted import bright_wagons, bright_weights
from PIL import Image

from detector.training.shards import LabelledTile, track_map, write_shard
from detector.wagons.boxes import as_boxes


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


def tile(seed: int) -> LabelledTile:
    rng = np.random.default_rng(seed)
    boxes = as_boxes([[rng.uniform(30, 130), 30 + 20 * k, 30, 6, 0] for k in range(3)])
    image = bright_wagons([tuple(b[:2]) for b in boxes], (160, 160))
    track = track_map([np.array([[0.0, b[1]], [160.0, b[1]]]) for b in boxes], (160, 160))
    return LabelledTile(
        image, boxes, np.zeros(3, int), np.zeros(3, bool), track, {"gsd_m": 0.5, "kind": "yard"}
    )


@pytest.fixture
def prepared(tmp_path) -> Path:
    """A training whose tiles are there already, so that nothing has to be simulated."""
    out = tmp_path / "run"
    write_shard(out / "shards" / "shard-00000", [tile(k) for k in range(3)])
    write_shard(out / "check" / "shard-00000", [tile(k) for k in range(10, 12)])
    return out


def settings(folder: Path, steps: int = 2, **top: str) -> Path:
    path = folder / "settings.toml"
    head = "".join(f'{k} = "{v}"\n' for k, v in {"name": "mine", "version": "2", **top}.items())
    data = "[data]\nshards = 1\nfirst_shards = 1\ncheck_shards = 1\n"
    fit = "[train]\nbatch_size = 1\nview_px = 64\nthreads = 1\nwarmup_steps = 1\nlog_steps = 1\n"
    path.write_text(f"{head}{data}{fit}steps = {steps}\n")
    return path


def test_settings_become_weights_that_detect_takes(railwatch, prepared, tmp_path):
    done = railwatch("train", "--config", settings(tmp_path), "--out", prepared, "--device", "cpu", "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    weights = Path(document["weights"])
    assert weights == prepared / "mine.safetensors"
    card = json.loads(weights.with_suffix(".json").read_text())
    assert card["sha256"] == document["sha256"]
    assert document["figures"]["validation"]["pictures"] == 2
    assert (prepared / "curves.png").is_file()
    # The same command with more steps goes on.
    done = railwatch(
        "train", "--config", settings(tmp_path), "--out", prepared, "--device", "cpu", "--steps", 3
    )
    assert done.code == 0, done.err
    assert str(weights) in done.out
    assert json.loads(weights.with_suffix(".json").read_text())["training"]["steps"] == 3
    assert [json.loads(line)["step"] for line in (prepared / "log.jsonl").read_text().splitlines()] == [
        1,
        2,
        3,
    ]
    Image.fromarray(bright_wagons([(42, 42)])).save(tmp_path / "yard.png")
    found = railwatch("detect", tmp_path / "yard.png", "--gsd", 0.5, "--weights", weights, "--json")
    assert found.code == 0, found.err
    assert json.loads(found.out)["images"][0]["gsd_m"] == 0.5


def test_fine_tuning_on_ones_own_labels(railwatch, prepared, tmp_path):
    Image.fromarray(bright_wagons([(42, 42), (82, 42)])).save(tmp_path / "yard.png")
    features = [
        {
            "type": "Feature",
            "geometry": None,
            "properties": {"image": "yard.png", "category": "freight", "pixel_box": [x, 42, 30, 6, 0]},
        }
        for x in (42, 82)
    ]
    labels = tmp_path / "labels.geojson"
    labels.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    start = bright_weights(tmp_path)
    config = settings(tmp_path, steps=1, start=str(start))
    done = railwatch(
        *("train", "--config", config, "--labels", labels, "--gsd", 0.5, "--out", prepared, "--device", "cpu")
    )
    assert done.code == 0, done.err
    assert (prepared / "own" / "shard-00000.labels.npz").is_file()
    assert (prepared / "mine.safetensors").is_file()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[train]\nstepps = 3\n", "unknown key train.stepps"),
        ("[train]\nsteps = 'x'\n", "train.steps must be a whole number"),
        ("not toml at all", "not a valid TOML file"),
        ("[data]\nshards = 0\n", "neither simulated shards"),
        ("start = 'old.safetensors'\n", "old.safetensors: no such weights file"),
        ("[data]\nbackgrounds = 'nowhere'\n", "nowhere: no such folder"),
    ],
)
def test_settings_that_cannot_work_end_in_a_sentence(railwatch, tmp_path, text, message):
    path = tmp_path / "settings.toml"
    path.write_text(text)
    done = railwatch("train", "--config", path, "--out", tmp_path / "run", "--device", "cpu")
    assert done.code == 2
    assert message in done.error


def test_missing_files_end_in_a_sentence(railwatch, tmp_path):
    done = railwatch("train", "--config", tmp_path / "nowhere.toml", "--out", tmp_path / "run")
    assert done.code == 2
    assert "nowhere.toml" in done.error
    config = settings(tmp_path)
    done = railwatch(
        "train", "--config", config, "--labels", tmp_path / "labels.geojson", "--out", tmp_path / "run"
    )
    assert done.code == 2
    assert "labels.geojson" in done.error


def test_a_damaged_checkpoint_ends_in_a_sentence(railwatch, prepared, tmp_path):
    (prepared / "checkpoint.pt").write_bytes(b"PK\x03\x04 but no more")
    done = railwatch("train", "--config", settings(tmp_path), "--out", prepared, "--device", "cpu")
    assert done.code == 2
    assert "checkpoint.pt: a damaged checkpoint; delete it" in done.error


def test_a_damaged_shard_ends_in_a_sentence(railwatch, prepared, tmp_path):
    (prepared / "shards" / "shard-00000.labels.npz").write_bytes(b"PK\x03\x04 but no more")
    done = railwatch("train", "--config", settings(tmp_path), "--out", prepared, "--device", "cpu")
    assert done.code == 2
    assert "shard-00000: not a whole training shard" in done.error
