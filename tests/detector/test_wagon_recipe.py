"""A whole training from one settings file."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import pytest
import torch
from painted import bright_weights

from benchmarks import mean_of_weights
from detector.errors import LabelError, WeightsError
from detector.labels import LabelledImage, write_labels
from detector.training.config import WagonData, WagonRecipe, WagonTraining, read_recipe
from detector.training.shards import write_shard
from detector.training.tiles import simulate_tiles
from detector.training.wagon_recipe import follow, mean_of
from detector.wagons import weights
from detector.wagons.detector import WagonDetector
from detector.wagons.network import WagonNet

SMALL = WagonTraining(steps=2, batch_size=1, view_px=64, warmup_steps=1, threads=1, log_steps=1)


def recipe(**data) -> WagonRecipe:
    settings = {"shards": 1, "first_shards": 1, "check_shards": 1, **data}
    return WagonRecipe(name="trial", version="3", data=WagonData(**settings), train=SMALL)


@pytest.fixture
def prepared(tmp_path) -> Path:
    """A folder in which the simulator has been already, with shards of one scene."""
    for folder, split, seed in (("shards", "train", 1), ("check", "val", 10_001)):
        write_shard(
            tmp_path / "run" / folder / "shard-00000",
            simulate_tiles(seed, 0, 1, split=split, backgrounds=None, views=1),
        )
    return tmp_path / "run"


def settings_file(folder: Path, text: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["train-wagon.toml", "finetune-wagon.toml"])
def test_the_shipped_recipes_can_be_read(name):
    with as_file(files("configs") / name) as path:
        found = read_recipe(path)
    assert found.train.steps >= 100
    assert found.data.check_shards >= 2
    assert found.start in {"", "shipped"}


def test_settings_override_defaults(tmp_path):
    text = """
        name = "mine"
        start = "shipped"
        [data]
        labels = ["a.geojson"]
        [train]
        learning_rate = 1
        steps = 7
    """
    found = read_recipe(settings_file(tmp_path, text))
    assert (found.name, found.start, found.train.steps) == ("mine", "shipped", 7)
    assert found.data.labels == ("a.geojson",)
    assert found.train.learning_rate == 1.0
    assert isinstance(found.train.learning_rate, float)
    assert found.train.batch_size == WagonTraining().batch_size


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "not a valid TOML file"),
        ("title = 'x'", r"unknown key title \(the keys at the top level are: task, name"),
        ("[train]\nlr = 1", r"unknown key train\.lr \(the keys of \[train\] are: seed, steps"),
        ("[data]\ncolour = 1", r"unknown key data\.colour"),
        ("train = 3", "train must be a table"),
        ("[train]\nsteps = 'many'", r"train\.steps must be a whole number, not the text \"many\""),
        ("[train]\nsteps = true", r"train\.steps must be a whole number, not true"),
        ("[train]\nsteps = 1.5", r"train\.steps must be a whole number"),
        ("[train]\nsteps = 0", r"train\.steps must be 1 or more, not 0"),
        ("[train]\nlog_steps = 0", r"train\.log_steps must be 1 or more"),
        ("[train]\nview_px = 100", r"train\.view_px must be a multiple of 32"),
        ("[train]\nview_px = 320", r"train\.view_px must be between 32 and 288, not 320"),
        ("[data]\ncollage_share = 1.5", r"data\.collage_share must be between 0 and 1, not 1\.5"),
        ("[data]\ncoarse_share = -0.5", r"data\.coarse_share must be between 0 and 1, not -0\.5"),
        ("[data]\ncheck_shards = 0", r"data\.check_shards must be 1 or more"),
        ("[data]\nlabels = 'one.json'", r"data\.labels must be a list"),
        ("[train]\ntrackless = 0.5", r"unknown key train\.trackless"),
        ("task = 'ships'", "task must be"),
    ],
)
def test_wrong_settings_are_refused_in_a_sentence(tmp_path, text, message):
    path = settings_file(tmp_path, text)
    with pytest.raises(LabelError, match=message) as caught:
        read_recipe(path)
    assert str(path) in str(caught.value)


def test_settings_that_cannot_be_read(tmp_path):
    with pytest.raises(LabelError, match="no such settings file"):
        read_recipe(tmp_path / "nowhere.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LabelError, match="isn't text in UTF-8"):
        read_recipe(tmp_path / "binary.toml")


def test_a_recipe_gives_weights_with_their_card(prepared):
    steps = []
    path = follow(recipe(), prepared, device="cpu", progress=lambda done, total: steps.append((done, total)))
    assert path == prepared / "trial.safetensors"
    assert steps == [(1, 2), (2, 2)]
    loaded = weights.load(path)
    card = loaded.card
    assert (card["name"], card["version"]) == ("trial", "3")
    assert card["settings"]["train"]["steps"] == 2
    assert card["training"]["steps"] == 2
    assert card["trained"].endswith("Z")
    assert card["figures"]["validation"]["pictures"] == 1
    assert 0.2 <= card["threshold"] <= 0.8
    assert WagonDetector.load(path, "cpu").name == "trial"
    # Made longer, it goes on from the checkpoint.
    more = replace(recipe(), train=replace(SMALL, steps=3))
    steps.clear()
    follow(more, prepared, device="cpu", progress=lambda done, total: steps.append((done, total)))
    assert steps == [(3, 3)]
    assert weights.load(path).card["training"]["steps"] == 3


def test_fine_tuning_starts_from_weights_and_learns_from_own_labels(prepared, tmp_path):
    from painted import bright_wagons
    from PIL import Image

    Image.fromarray(bright_wagons([(42, 42), (82, 42)])).save(tmp_path / "yard.png")
    labels = write_labels(
        [
            LabelledImage(
                image=tmp_path / "yard.png",
                name="yard.png",
                size_px=(224, 160),
                gsd_m=0.5,
                boxes=np.array([[42.0, 42, 30, 6, 0], [82.0, 42, 30, 6, 0]]),
                category=np.zeros(2, int),
                ignored=np.zeros(2, bool),
            )
        ],
        tmp_path / "labels.geojson",
        "geojson",
    )
    start = bright_weights(tmp_path, origin="by hand")
    frozen = replace(SMALL, steps=1, learning_rate=0.0, final_learning_rate=0.0, own_share=1.0)
    plan = recipe(shards=0, labels=(str(labels),))
    path = follow(replace(plan, start=str(start), train=frozen), prepared, device="cpu")
    assert (prepared / "own" / "shard-00000.labels.npz").is_file()
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["origin"] == "by hand"  # what the old card said stays, unless it is new
    assert card["name"] == "trial"
    old, new = (weights.load(p).network.state_dict()["stem.0.0.weight"] for p in (start, path))
    assert np.allclose(old, new)


def test_nothing_to_learn_from(tmp_path):
    with pytest.raises(LabelError, match="neither simulated shards"):
        follow(recipe(shards=0), tmp_path, device="cpu")


def test_hard_negatives_are_mined_with_the_weights_it_starts_from(prepared, tmp_path):
    with pytest.raises(LabelError, match=r"data\.hard_shards needs weights to start from"):
        follow(recipe(hard_shards=1), prepared, device="cpu")
    # The shard is there already, as it is when a training goes on.
    hard = simulate_tiles(2, 0, 1, split="train", backgrounds=None, views=1, kinds=["open"])
    write_shard(prepared / "hard" / "shard-00000", hard)
    plan = replace(recipe(hard_shards=1), start=str(bright_weights(tmp_path)))
    path = follow(replace(plan, train=replace(SMALL, hard_share=1.0)), prepared, device="cpu")
    assert weights.load(path).card["settings"]["data"]["hard_shards"] == 1


def test_missing_inputs_are_named(tmp_path):
    with pytest.raises(LabelError, match="nowhere: no such folder of background pictures"):
        follow(recipe(backgrounds=str(tmp_path / "nowhere")), tmp_path / "run", device="cpu")
    with pytest.raises(WeightsError, match=r"old\.safetensors: no such weights file"):
        follow(replace(recipe(), start=str(tmp_path / "old.safetensors")), tmp_path / "run", device="cpu")
    with pytest.raises(LabelError, match=r"labels\.geojson"):
        follow(recipe(labels=(str(tmp_path / "labels.geojson"),)), tmp_path / "run", device="cpu")


def test_a_mean_lies_between_its_networks():
    torch.manual_seed(0)
    one, two = WagonNet(), WagonNet()
    mean = mean_of([(3.0, one), (1.0, two)]).state_dict()
    first, second = one.state_dict(), two.state_dict()
    for name, value in mean.items():
        if value.dtype.is_floating_point:
            assert torch.allclose(value, 0.75 * first[name] + 0.25 * second[name], atol=1e-6), name


def test_a_mean_of_weights_files_is_calibrated_and_written(prepared, tmp_path, monkeypatch, capsys):
    bright = bright_weights(tmp_path)
    settings = settings_file(tmp_path, f"start = '{bright}'\n[data]\ncheck_shards = 1")
    command = [
        "mean",
        str(prepared),
        f"{bright}=1",
        f"{bright}=3",
        "--config",
        str(settings),
        "--name",
        "both",
    ]
    monkeypatch.setattr("sys.argv", command)
    mean_of_weights.main()
    path = Path(capsys.readouterr().out.strip())
    assert path == prepared / "both.safetensors"
    old, new = (weights.load(p).network.state_dict()["stem.0.0.weight"] for p in (bright, path))
    assert np.allclose(old, new)
    assert "threshold" in weights.load(path).card


@pytest.mark.parametrize("shares", [(0.0, 0.0), (1.5, -0.5)])
def test_a_mean_needs_positive_shares(shares):
    network = WagonNet()
    with pytest.raises(ValueError, match="must be positive"):
        mean_of([(share, network) for share in shares])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("start_share = 0.5", "start_share needs weights to start from"),
        ('start = "shipped"\nstart_share = 1.5', r"start_share must be between 0 and 1, not 1\.5"),
    ],
)
def test_a_share_of_the_start_needs_one(tmp_path, text, message):
    path = tmp_path / "settings.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(LabelError, match=message):
        read_recipe(path)
