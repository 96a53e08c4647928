"""The making of occupancy weights in miniature, and the settings that lead to it."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import as_file, files

import numpy as np
import pandas as pd
import pytest
import torch
from stored_yards import write_yard

from detector.errors import LabelError
from detector.occupancy import weights
from detector.occupancy.estimator import OccupancyEstimator
from detector.occupancy.inputs import CHANNELS
from detector.occupancy.network import OccupancyNet
from detector.training.config import OccupancyData, OccupancyRecipe, OccupancyTraining, read_recipe
from detector.training.loop import fit as fit_network
from detector.training.loop import load_average
from detector.training.occupancy_recipe import (
    OccupancyTask,
    calibration,
    calibration_of,
    follow,
    level,
    make_sites,
    write_weights,
)

SMALL = OccupancyTraining(steps=2, batch_size=2, warmup_steps=1, threads=1, log_steps=1)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def yards(tmp_path):
    folder = tmp_path / "sites"
    for number in range(2):
        write_yard(folder, "train", number)
    for number in range(3):
        write_yard(folder, "val", number, images=14)
    return folder


def settings_file(folder, text):
    path = folder / "settings.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_recipe_can_be_read():
    with as_file(files("configs") / "train-occupancy.toml") as path:
        found = read_recipe(path)
    assert (found.task, found.name) == ("occupancy", "occupancy")
    assert found.data.train_sites >= 100
    assert found.train.steps >= 1000


def test_settings_override_defaults(tmp_path):
    text = 'task = "occupancy"\nname = "mine"\n[data]\ntrain_sites = 3\n[train]\nsteps = 7\ntrackless = 0\n'
    found = read_recipe(settings_file(tmp_path, text))
    assert (found.name, found.data.train_sites, found.train.steps) == ("mine", 3, 7)
    assert found.train.trackless == 0.0
    assert found.data.check_sites == OccupancyData().check_sites


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task = ", "not a valid TOML file"),
        ("colour = 'x'", r"unknown key colour \(the keys at the top level are: task, name"),
        ("[data]\nshards = 1", r"unknown key data\.shards \(.*are: train_sites"),
        ("[train]\nlr = 1", r"unknown key train\.lr"),
        ("[data]\ntrain_sites = 'many'", r"data\.train_sites must be a whole number"),
        ("[data]\ntrain_sites = 0", r"data\.train_sites must be 1 or more"),
        ("[data]\ncheck_sites = 0", r"data\.check_sites must be 1 or more"),
        ("[data]\ndates = 5", r"data\.dates must be 6 or more"),
        ("[train]\nsteps = 0", r"train\.steps must be 1 or more"),
        ("data = 3", "data must be a table"),
        *(
            (f"[train]\n{key} = 0.5", rf"unknown key train\.{key}")
            for key in ("hard_share", "own_share", "view_px", "empty_redrawn")
        ),
    ],
)
def test_wrong_settings_are_refused_in_a_sentence(tmp_path, text, message):
    path = settings_file(tmp_path, f'task = "occupancy"\n{text}')
    with pytest.raises(LabelError, match=message) as caught:
        read_recipe(path)
    assert str(path) in str(caught.value)


def test_settings_that_cant_be_read(tmp_path):
    with pytest.raises(LabelError, match="no such settings file"):
        read_recipe(tmp_path / "nowhere.toml")


# ------------------------------------------------------------------------------------------ training


def train(folder, out, config, **options):
    return fit_network(OccupancyTask(folder, config), out, config, **options)


def test_a_training_learns_stops_and_goes_on(yards, tmp_path):
    steps = []
    config = replace(SMALL, steps=3)
    network = train(
        yards, tmp_path, config, device="cpu", progress=lambda done, total: steps.append((done, total))
    )
    assert steps == [(1, 3), (2, 3), (3, 3)]
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in log] == [1, 2, 3]
    assert {"total", "length", "cells", "stretches", "doubt", "lr", "seconds"} <= set(log[0])
    assert "held_out" in log[-1]
    assert all(np.isfinite(record["total"]) for record in log)
    assert not network.training
    kept = load_average(tmp_path / "checkpoint.pt", OccupancyNet())
    for name, value in network.state_dict().items():
        assert torch.equal(value.cpu(), kept.state_dict()[name]), name
    # Stopped after a step and taken up again, it comes to the same.
    other = tmp_path / "other"
    asked = []
    train(yards, other, config, device="cpu", stop=lambda: len(asked) > 1 or bool(asked.append(1)))
    assert len((other / "log.jsonl").read_text().splitlines()) == 2
    again = train(yards, other, config, device="cpu")
    for name, value in network.state_dict().items():
        assert torch.allclose(value.float(), again.state_dict()[name].float(), atol=1e-4), name


def test_a_training_without_yards_or_with_a_damaged_checkpoint_is_refused(yards, tmp_path):
    with pytest.raises(LabelError, match="no simulated sites here"):
        train(tmp_path / "empty", tmp_path / "run", SMALL, device="cpu")
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"damaged")
    with pytest.raises(LabelError, match="a damaged checkpoint; delete it to start afresh"):
        train(yards, tmp_path / "run", SMALL, device="cpu")
    with pytest.raises(LabelError, match="missing, damaged or not a checkpoint of ours"):
        load_average(tmp_path / "nowhere.pt", OccupancyNet())


# -------------------------------------------------------------------------------------- calibration


def test_answers_that_are_too_high_in_all_are_brought_down():
    torch.manual_seed(0)
    network = OccupancyNet().eval()
    planes, region = torch.randn(2, len(CHANNELS), 16, 16), torch.ones(2, 16, 16)
    with torch.inference_mode():
        before = network(planes, region)
    table = pd.DataFrame({"said": [150.0, 50.0], "below": 20.0, "above": 40.0, "length_m": [110.0, 50.0]})
    found = level(table, network)
    assert found["said"].tolist() == pytest.approx([120.0, 40.0])
    assert found["above"].tolist() == pytest.approx([32.0, 32.0])
    with torch.inference_mode():
        after = network(planes, region)
    for one, two in zip(before, after, strict=True):
        assert torch.allclose(0.8 * one, two, rtol=1e-5)
    assert "gain" in network.state_dict()
    nothing = level(table.assign(length_m=0.0), network)
    assert nothing["said"].tolist() == [150.0, 50.0]


def test_calibration_of_a_table():
    rng = np.random.default_rng(0)
    count = np.repeat(np.arange(2.0, 62.0), 4)
    site = np.arange(len(count)) % 12
    pitch = 14.0 + 0.2 * (site - 5.5)
    table = pd.DataFrame(
        {
            "site": site,
            "count": count,
            "length_m": count * pitch,
            "said": np.maximum(count * pitch + rng.normal(0, 20, len(count)), 1.0),
            "below": 30.0,
            "above": 30.0,
        }
    )
    found = calibration(table)
    assert found["pitch_m"] == pytest.approx([14.0, np.std(0.2 * np.arange(12), ddof=1)], abs=0.02)
    length, counts, mean = calibration_of(found)
    assert mean.mean_m == found["pitch_m"][0]
    assert len(length.at) == len(counts.at) >= 3
    assert found["trusted_to"] >= 50
    assert json.loads(json.dumps(found)) == found
    # A few cars on one site must do where there is nothing else.
    few = calibration(table[table["site"] == 3].head(3))
    assert few["pitch_m"][1] == 0
    with pytest.raises(LabelError, match="hold no freight cars at all"):
        calibration(table.assign(count=0.0))


def test_seeds_of_splits_stay_apart(tmp_path, monkeypatch):
    """The yards that one recipe is checked on aren't those that another one learns from."""
    import detector.training.occupancy_recipe as module

    made = []
    monkeypatch.setattr(
        module, "write_site", lambda folder, seed, number, split, dates: made.append((seed, split))
    )
    for split in ("train", "val", "test"):
        for seed in range(60):
            make_sites(tmp_path, split, 1, seed=seed)
    seeds = [seed for seed, _ in made]
    assert len(set(seeds)) == len(seeds)
    assert not set(seeds) & {31, 41, 51}  # those of the study
    assert [made[0][0], made[60][0], made[120][0]] == [1, 2, 3]


def test_a_share_of_the_yards_is_of_the_second_simulator(tmp_path, monkeypatch):
    import detector.training.occupancy_recipe as module

    made = []
    for name in ("write_site", "write_strip_site"):
        monkeypatch.setattr(module, name, lambda folder, seed, k, split, dates, n=name: made.append((k, n)))
    make_sites(tmp_path, "train", 40, strips=0.2)
    assert [k for k, _ in made] == list(range(40))
    assert sum(name == "write_strip_site" for _, name in made) == 8
    # Whoever goes on later makes the same.
    whole, made[:] = list(made), []
    for first in range(40):
        make_sites(tmp_path, "train", first + 1, first=first, strips=0.2)
    assert made == whole


# ------------------------------------------------------------------------------------------- a whole


def test_a_recipe_gives_weights_with_their_card(yards, tmp_path):
    recipe = OccupancyRecipe(
        name="trial",
        version="3",
        data=OccupancyData(train_sites=2, check_sites=3, first_sites=2),
        train=SMALL,
    )
    path = follow(recipe, tmp_path, device="cpu")  # all yards are there: nothing is simulated
    assert path == tmp_path / "trial.safetensors"
    assert (tmp_path / "curves.png").is_file()
    loaded = weights.load(path)
    card = loaded.card
    assert (card["name"], card["version"]) == ("trial", "3")
    assert card["settings"]["train"]["steps"] == 2
    assert card["training"]["steps"] == 2
    assert card["data"]["intervals"] == "3 further simulated yards, 42 images"
    assert card["figures"]["validation"][-1]["true"] == "all"
    assert card["trained"].endswith("Z")
    assert loaded.pitch.mean_m == pytest.approx(15.0, abs=0.1)
    assert OccupancyEstimator.load(path, "cpu").name == "trial"
    with pytest.raises(LabelError, match="simulated sites are missing"):
        write_weights(recipe, loaded.network, tmp_path / "nowhere", tmp_path)


def test_following_a_recipe_from_nothing(tmp_path):
    """A yard to learn from and one to check on, really simulated, by the worker process and here."""
    data = OccupancyData(train_sites=1, check_sites=1, dates=8)
    recipe = OccupancyRecipe(name="tiny", data=data, train=replace(SMALL, steps=1))
    steps = []
    path = follow(recipe, tmp_path, device="cpu", progress=lambda done, total: steps.append(done))
    assert steps == [1]
    assert sorted(p.name for p in (tmp_path / "sites").glob("*.npz")) == [
        "train-1-00000.npz",
        "val-2-00000.npz",
    ]
    assert weights.load_head(path).card["data"]["training"].startswith("1 simulated yards")


def test_a_simulator_that_finds_nothing_ends_in_a_sentence(tmp_path):
    data = OccupancyData(train_sites=1, check_sites=1, dates=6, first_sites=1)
    with pytest.raises(LabelError, match="no simulated sites here"):
        follow(OccupancyRecipe(data=data, train=SMALL), tmp_path, device="cpu")
