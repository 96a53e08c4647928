"""`railwatch train` and `railwatch evaluate occupancy`: the ways in, and how wrong ones are turned away."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch

_YARDS = Path(__file__).resolve().parent.parent / "detector" / "stored_yards.py"
_spec = importlib.util.spec_from_file_location("stored_yards", _YARDS)
assert _spec is not None
assert _spec.loader is not None
yards = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(yards)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


def settings(folder, text):
    path = folder / "settings.toml"
    path.write_text('task = "occupancy"\n' + text, encoding="utf-8")
    return path


def test_unknown_keys_of_an_occupancy_training_are_refused(railwatch, tmp_path):
    path = settings(tmp_path, "[data]\nshards = 3\n")
    done = railwatch("train", "--config", path, "--out", tmp_path / "run")
    assert done.code == 2
    assert (
        done.error == f"{path}: unknown key data.shards (the keys of [data] are: train_sites, check_sites, "
        "dates, strips, seed, first_sites)"
    )
    assert not (tmp_path / "run").exists()


def test_a_file_that_is_no_settings_file_is_refused(railwatch, tmp_path):
    (tmp_path / "settings.toml").write_text("task = ")
    done = railwatch("train", "--config", tmp_path / "settings.toml", "--out", tmp_path / "run")
    assert done.code == 2
    assert "not a valid TOML file" in done.error


def test_another_task_is_refused(railwatch, tmp_path):
    (tmp_path / "settings.toml").write_text('task = "ships"\n')
    done = railwatch("train", "--config", tmp_path / "settings.toml", "--out", tmp_path / "run")
    assert done.code == 2
    assert done.error.endswith('task must be "occupancy", "types" or "wagons", not \'ships\'')


@pytest.mark.parametrize(
    "options",
    [("--labels", "a.geojson"), ("--images", "folder"), ("--gsd", "0.5"), ("--backgrounds", "folder")],
)
def test_image_options_mean_nothing_to_an_occupancy_training(railwatch, tmp_path, options):
    done = railwatch("train", "--config", settings(tmp_path, ""), "--out", tmp_path / "run", *options)
    assert done.code == 2
    assert "learns from simulated yards alone: leave the image options out" in done.error


def test_a_tiny_training_by_the_command_line(railwatch, tmp_path):
    # The yards are there already, so that nothing has to be simulated.
    for split in ("train", "val"):
        yards.write_yard(tmp_path / "run" / "sites", split, 0)
    text = (
        'name = "tiny"\n[data]\ntrain_sites = 1\ncheck_sites = 1\n'
        "[train]\nbatch_size = 1\nthreads = 1\nwarmup_steps = 1\nsteps = 5\n"
    )
    out = tmp_path / "run"
    done = railwatch(
        "train", "--config", settings(tmp_path, text), "--out", out, "--steps", 1, "--device", "cpu", "--json"
    )
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["weights"] == str(out / "tiny.safetensors")
    card = json.loads((out / "tiny.json").read_text())
    assert card["sha256"] == document["sha256"]
    assert card["training"]["steps"] == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "--out"),
        (("--out", "x", "--sites", "1"), "--sites"),
        (("--out", "x", "--events", "0"), "--events"),
        (("--out", "x", "--skies", "0"), "--skies"),
        (("--out", "x", "labels.geojson"), "labels.geojson"),
    ],
)
def test_bad_usage_of_evaluate_occupancy(railwatch, options, words):
    done = railwatch("evaluate", "occupancy", *options)
    assert done.code == 2
    assert words in done.error


def test_evaluate_occupancy_names_what_it_cant_use(railwatch, tmp_path):
    (tmp_path / "file").write_text("x")
    done = railwatch("evaluate", "occupancy", "--out", tmp_path / "file")
    assert done.code == 2
    assert done.error.endswith("file: is a file, not a folder")
    done = railwatch(
        "evaluate", "occupancy", "--out", tmp_path / "new", "--weights", tmp_path / "no.safetensors"
    )
    assert done.code == 2
    assert done.error.endswith("no.safetensors: no such weights file")
    assert not (tmp_path / "new").exists()
