"""Training: it learns, it can be stopped at any moment and goes on as if it hadn't been."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from painted import bright_wagons
from PIL import Image
from stored_yards import write_yard

from detector.errors import LabelError
from detector.training.config import OccupancyTraining, WagonTraining
from detector.training.loop import AheadOfTime, draw_curves, fit, learning_rate, load_average, update_average
from detector.training.losses import WEIGHTS
from detector.training.occupancy_recipe import OccupancyTask
from detector.training.shards import LabelledTile, track_map, write_shard
from detector.training.wagon_recipe import Views, WagonTask
from detector.wagons.boxes import as_boxes
from detector.wagons.network import WagonNet

SETTINGS = WagonTraining(
    steps=6,
    batch_size=2,
    view_px=64,
    learning_rate=4e-3,
    warmup_steps=2,
    ema_decay=0.9,
    threads=1,
    log_steps=2,
)


def tiles(n: int, seed: int, light: int = 0) -> list[LabelledTile]:
    """Small tiles with a bright wagon each."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(n):
        x, y = rng.uniform(30, 66), rng.uniform(20, 76)
        image = bright_wagons([(x, y)], (96, 96)) // 2 + light
        track = track_map([np.array([[0.0, y], [96.0, y]])], (96, 96))
        boxes = as_boxes([[x, y, 30, 6, 0]])
        out.append(
            LabelledTile(image.astype(np.uint8), boxes, np.zeros(1, int), np.zeros(1, bool), track, {})
        )
    return out


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    write_shard(folder / "shard-00000", tiles(12, 0))
    write_shard(folder / "shard-00001", tiles(4, 1))
    return folder


def train(folders, out, config, *, check=None, **options):
    return fit(WagonTask(folders, config, check=check), out, config, **options)


def log_of(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_training_lowers_the_loss(shards, tmp_path):
    settings = replace(SETTINGS, steps=36, log_steps=6, batch_size=4)
    network = train([shards], tmp_path, settings, device="cpu")
    log = log_of(tmp_path)
    assert [line["step"] for line in log] == [6, 12, 18, 24, 30, 36]
    assert log[-1]["total"] < 0.7 * log[0]["total"]
    assert {*WEIGHTS, "total", "lr", "seconds", "cpu_s"} <= set(log[0])
    assert not network.training
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            network.state_dict().values(),
            load_average(tmp_path / "checkpoint.pt", WagonNet()).state_dict().values(),
            strict=True,
        )
    )
    with Image.open(tmp_path / "curves.png") as curves:
        assert curves.size[0] > 400
    # It has begun to see where wagons are, on a tile that it wasn't shown.
    fresh = tiles(1, 9)[0]
    with torch.inference_mode():
        maps = network(torch.from_numpy(fresh.image).permute(2, 0, 1)[None] / 255)
    track = torch.from_numpy(fresh.track == 1)
    assert maps.track[0, 0][track].mean() > maps.track[0, 0][~track].mean() + 0.5


def test_hard_negatives_are_drawn_by_their_share(shards, tmp_path):
    write_shard(tmp_path / "hard" / "shard-00000", tiles(2, 5, light=90))
    for share, low, high in ((0.0, 0.0, 0.0), (0.4, 0.2, 0.6), (1.0, 1.0, 1.0)):
        settings = replace(SETTINGS, batch_size=16, hard_share=share)
        views = Views([shards], settings, hard=tmp_path / "hard")
        views._search()
        rng = np.random.default_rng(4)
        drawn = [views._tile(rng).image.min() >= 90 for _ in range(80)]
        assert low <= np.mean(drawn) <= high


def test_empty_tiles_are_put_back_as_often_as_asked(tmp_path):
    full = tiles(6, 3)
    bare = [replace(t, boxes=as_boxes([]), category=t.category[:0], ignored=t.ignored[:0]) for t in full]
    write_shard(tmp_path / "shard-00000", full + bare)
    for share, expected in ((0.0, 0.5), (1.0, 0.25)):
        views = Views([tmp_path], replace(SETTINGS, empty_redrawn=share))
        views._search()
        rng = np.random.default_rng(4)
        empty = np.mean([not len(views._tile(rng).boxes) for _ in range(400)])
        assert empty == pytest.approx(expected, abs=0.08)


def test_a_stopped_training_goes_on_as_if_it_had_not_been(shards, tmp_path):
    straight = train([shards], tmp_path / "straight", SETTINGS, device="cpu")
    asked = []

    def after_three() -> bool:
        asked.append(1)
        return len(asked) > 3

    train([shards], tmp_path / "twice", SETTINGS, device="cpu", stop=after_three)
    assert torch.load(tmp_path / "twice" / "checkpoint.pt", weights_only=True)["step"] == 3
    steps = []
    again = train(
        [shards],
        tmp_path / "twice",
        SETTINGS,
        device="cpu",
        progress=lambda done, total: steps.append((done, total)),
    )
    assert steps == [(4, 6), (5, 6), (6, 6)]
    assert torch.load(tmp_path / "twice" / "checkpoint.pt", weights_only=True)["step"] == 6
    for (name, a), b in zip(straight.state_dict().items(), again.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, msg=name)


def test_a_finished_training_can_be_made_longer(shards, tmp_path):
    train([shards], tmp_path, replace(SETTINGS, steps=2), device="cpu")
    train([shards], tmp_path, replace(SETTINGS, steps=2), device="cpu")  # nothing left to do
    assert [line["step"] for line in log_of(tmp_path)] == [2]
    train([shards], tmp_path, replace(SETTINGS, steps=4), device="cpu")
    assert [line["step"] for line in log_of(tmp_path)] == [2, 4]


def test_after_a_kill_the_log_has_no_torn_or_doubled_lines(shards, tmp_path):
    train([shards], tmp_path, replace(SETTINGS, steps=2), device="cpu")
    log = tmp_path / "log.jsonl"
    # Killed after logging step 4, while logging step 6, with the checkpoint of step 2.
    log.write_text(log.read_text() + json.dumps({"step": 4, "lr": 0.1, "total": 9.9}) + '\n{"step": 6, "to')
    train([shards], tmp_path, replace(SETTINGS, steps=4), device="cpu")
    found = log_of(tmp_path)
    assert [line["step"] for line in found] == [2, 4]
    assert found[1]["total"] != 9.9


def occupancy_sites(folder: Path) -> Path:
    write_yard(folder, "train", 0)
    return folder


@pytest.mark.parametrize("detector", ["wagons", "occupancy"])
def test_a_training_killed_at_any_byte_of_its_log_goes_on_to_the_same_end(shards, tmp_path, detector):
    """Whatever of the log had reached the disk: the rest of the training doesn't hang on it."""
    if detector == "wagons":
        config = replace(SETTINGS, steps=2, log_steps=1)
        task = WagonTask([shards], config)
    else:
        config = OccupancyTraining(steps=2, batch_size=2, warmup_steps=1, threads=1, log_steps=1)
        task = OccupancyTask(occupancy_sites(tmp_path / "sites"), config)
    fit(task, tmp_path / "whole", replace(config, steps=1), device="cpu")
    log, checkpoint = ((tmp_path / "whole" / name).read_bytes() for name in ("log.jsonl", "checkpoint.pt"))
    torn = log + log.replace(b'"step": 1', b'"step": 2')
    for end in (*range(0, len(torn), 71), len(torn) - 1, len(torn)):
        out = tmp_path / "killed"
        out.mkdir(exist_ok=True)
        (out / "log.jsonl").write_bytes(torn[:end])
        (out / "checkpoint.pt").write_bytes(checkpoint)
        fit(task, out, config, device="cpu")
        steps = [line["step"] for line in log_of(out)]
        assert steps == ([1, 2] if end >= len(log) else [2] if end < len(log) - 1 else steps)
        assert torch.load(out / "checkpoint.pt", weights_only=True)["step"] == 2


def test_the_terms_of_the_log_keep_their_names(shards, tmp_path):
    # A training that older code began goes on in the same log, and cards of weights hold its last line.
    train([shards], tmp_path, replace(SETTINGS, steps=1, log_steps=1), device="cpu")
    terms = ["heat", "offset", "across", "angle", "size", "category", "mask", "track"]
    assert list(log_of(tmp_path)[0]) == ["step", "lr", "total", *terms, "seconds", "cpu_s"]


def test_the_held_out_score_is_taken_as_it_goes(shards, tmp_path):
    write_shard(tmp_path / "check" / "shard-00000", tiles(4, 8))
    config = replace(SETTINGS, steps=4, log_steps=1, score_steps=2)
    train([shards], tmp_path / "out", config, check=tmp_path / "check", device="cpu")
    scored = [(line["step"], line.get("held_out")) for line in log_of(tmp_path / "out")]
    assert [step for step, value in scored if value is not None] == [2, 4]
    assert all(value > 0 for _, value in scored if value is not None)
    # Without anything held out there is no score.
    train([shards], tmp_path / "without", config, check=tmp_path / "nowhere", device="cpu")
    assert not any("held_out" in line for line in log_of(tmp_path / "without"))


def test_a_loss_that_is_not_finite_ends_the_training_and_harms_nothing(shards, tmp_path):
    train([shards], tmp_path, replace(SETTINGS, steps=1), device="cpu")
    before = (tmp_path / "checkpoint.pt").read_bytes()

    class Broken(WagonTask):
        def losses(self, network, batch, device, dtype):
            terms = super().losses(network, batch, device, dtype)
            return terms | {"size": terms["size"] * float("nan")}

    with pytest.raises(LabelError, match="stopped at step 2, since size isn't finite"):
        fit(Broken([shards], SETTINGS), tmp_path, SETTINGS, device="cpu")
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_the_log_gives_means_also_of_a_shorter_last_stretch(shards, tmp_path):
    train([shards], tmp_path / "a", replace(SETTINGS, steps=3, log_steps=1), device="cpu")
    train([shards], tmp_path / "b", replace(SETTINGS, steps=3, log_steps=2), device="cpu")
    single, paired = ([line["total"] for line in log_of(tmp_path / name)] for name in ("a", "b"))
    assert paired[0] == pytest.approx((single[0] + single[1]) / 2, rel=1e-3)
    assert paired[1] == pytest.approx(single[2], rel=1e-3)


def test_it_can_start_from_other_weights(shards, tmp_path):
    torch.manual_seed(99)
    start = {k: v.clone() for k, v in WagonNet().state_dict().items()}
    frozen = replace(SETTINGS, steps=1, learning_rate=0.0, final_learning_rate=0.0, weight_decay=0.0)
    network = train([shards], tmp_path, frozen, device="cpu", start=start)
    assert torch.equal(network.stem[0][0].weight, start["stem.0.0.weight"])


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: b"no checkpoint at all" * 99,
        lambda data: pickle.dumps({"step": 3}),
    ],
    ids=["truncated", "empty", "text", "foreign"],
)
def test_a_damaged_checkpoint_is_said_in_a_sentence(shards, tmp_path, damage):
    train([shards], tmp_path, replace(SETTINGS, steps=1), device="cpu")
    checkpoint = tmp_path / "checkpoint.pt"
    checkpoint.write_bytes(damage(checkpoint.read_bytes()))
    for job in (
        lambda: train([shards], tmp_path, SETTINGS, device="cpu"),
        lambda: load_average(checkpoint, WagonNet()),
    ):
        with pytest.raises(LabelError, match=r"checkpoint\.pt: ") as caught:
            job()
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 250


def test_a_checkpoint_cannot_run_code(shards, tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"step": Trap()}, tmp_path / "checkpoint.pt")
    with pytest.raises(LabelError, match="damaged checkpoint"):
        train([shards], tmp_path, SETTINGS, device="cpu")
    assert not (tmp_path / "sprung").exists()


def test_nothing_to_train_on(tmp_path):
    with pytest.raises(LabelError, match="no training shards"):
        train([tmp_path / "nowhere"], tmp_path / "out", SETTINGS, device="cpu")


def test_batches_are_the_same_for_the_same_step(shards):
    first = iter(AheadOfTime(Views([shards], SETTINGS).batch))
    batches = [next(first) for _ in range(3)]
    again = next(iter(AheadOfTime(Views([shards], SETTINGS).batch, 2)))
    torch.testing.assert_close(again.image, batches[2].image)
    torch.testing.assert_close(again.targets.heatmap, batches[2].targets.heatmap)
    assert batches[0].image.shape == (2, 3, 64, 64)
    assert batches[0].image.dtype == torch.uint8
    assert not torch.equal(batches[0].image, batches[1].image)
    other = Views([shards], replace(SETTINGS, seed=2)).batch(0)
    assert not torch.equal(other.image, batches[0].image)


def test_shards_that_appear_meanwhile_are_taken_up(tmp_path):
    write_shard(tmp_path / "shard-00000", tiles(2, 0))
    views = Views([tmp_path], SETTINGS)
    stream = iter(AheadOfTime(views.batch))
    next(stream)
    assert len(views.shards) == 1
    write_shard(tmp_path / "shard-00001", tiles(2, 1))
    views._searched = -1e9  # as if a minute had passed
    for _ in range(4):  # three batches were made ahead, before the new shard was there
        next(stream)
    assert len(views.shards) == 2


@pytest.mark.parametrize(("share", "bright"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_own_tiles_have_their_share_of_the_views(shards, tmp_path, share, bright):
    write_shard(tmp_path / "shard-00000", tiles(2, 0, light=120))
    views = Views([shards], replace(SETTINGS, own_share=share), own=tmp_path)
    views._search()
    rng = np.random.default_rng(0)
    own = np.mean([views._tile(rng).image.min() > 100 for _ in range(200)])
    assert own == pytest.approx(bright, abs=0.12)


def test_own_tiles_alone_will_do(tmp_path):
    write_shard(tmp_path / "shard-00000", tiles(2, 0))
    batch = Views([], replace(SETTINGS, own_share=0.3), own=tmp_path).batch(0)
    assert batch.targets.heatmap.max() == 1


def test_the_learning_rate_warms_up_and_falls():
    settings = WagonTraining(steps=1000, warmup_steps=100, learning_rate=1.0, final_learning_rate=0.01)
    rates = [learning_rate(step, settings) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[99] == pytest.approx(1.0)
    assert max(rates) == pytest.approx(1.0)
    assert (np.diff(rates[:100]) > 0).all()
    assert (np.diff(rates[100:]) < 0).all()
    assert learning_rate(1000, settings) == pytest.approx(0.01)
    assert learning_rate(5000, settings) == pytest.approx(0.01)
    assert learning_rate(549, settings) == pytest.approx(0.505, abs=0.01)


def test_the_average_moves_towards_the_model():
    average, model = torch.nn.BatchNorm1d(3), torch.nn.BatchNorm1d(3)
    with torch.no_grad():
        model.weight.fill_(3.0)
        model.running_mean.fill_(2.0)
        model.num_batches_tracked.fill_(7)
    update_average(average, model, 0.75)
    assert average.weight.tolist() == pytest.approx([1.5] * 3)
    assert average.running_mean.tolist() == pytest.approx([0.5] * 3)
    assert int(average.num_batches_tracked) == 7


def test_curves_of_an_empty_log_are_none(tmp_path):
    (tmp_path / "log.jsonl").write_text("")
    draw_curves(tmp_path / "log.jsonl", tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()
