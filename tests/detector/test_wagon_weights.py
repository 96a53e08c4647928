"""The weights file: what is saved comes back, what isn't ours is refused by name."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from painted import bright_net, bright_weights, heat_judge
from safetensors.torch import save_file

from detector.errors import WeightsError
from detector.training.calibrate_wagons import RescorerNet, untrained
from detector.wagons import weights
from detector.wagons.detector import WagonDetector
from detector.wagons.network import WagonNet


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def saved(tmp_path) -> Path:
    """A whole weights file with its card."""
    return bright_weights(tmp_path, threshold=0.4)


def refusal(path: Path) -> str:
    """The sentence that refuses a file; it names the file."""
    with pytest.raises(WeightsError) as caught:
        weights.load(path)
    message = str(caught.value)
    assert path.stem in message
    assert "\n" not in message
    return message


def test_what_is_saved_comes_back(tmp_path):
    torch.manual_seed(3)
    network, judge = WagonNet().eval(), untrained(seed=3)
    path = tmp_path / "new" / "w.safetensors"
    checksum = weights.save(path, network, judge, {"name": "trial", "version": "7", "threshold": 0.41})
    loaded = weights.load(path)
    assert loaded.checksum == checksum == hashlib.sha256(path.read_bytes()).hexdigest()
    assert loaded.card["name"] == "trial"
    assert loaded.card["sha256"] == checksum
    assert loaded.path == path
    assert not loaded.network.training
    for name, value in network.state_dict().items():
        back = loaded.network.state_dict()[name]
        if value.ndim == 4:  # convolutions are kept in half precision
            torch.testing.assert_close(back, value.half().float(), rtol=0, atol=0)
        else:
            assert torch.equal(back, value), name
    for name, value in judge.arrays().items():
        np.testing.assert_array_equal(loaded.judge.arrays()[name], value)


def test_half_precision_leaves_the_answer_alone(tmp_path):
    torch.manual_seed(3)
    network = WagonNet().eval()
    weights.save(tmp_path / "w.safetensors", network, heat_judge(), {})
    loaded = weights.load(tmp_path / "w.safetensors").network
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        for ours, theirs in zip(network(image), loaded(image), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0.02, atol=0.02)


def test_the_file_is_small_and_readable(saved):
    assert saved.stat().st_size < 15_000_000
    card = json.loads(saved.with_suffix(".json").read_text(encoding="utf-8"))
    assert card["format"] == weights.FORMAT
    assert list(saved.parent.glob("*.part")) == []


def test_a_saved_detector_is_the_same_detector(saved):
    detector = WagonDetector.load(saved, "cpu")
    assert (detector.name, detector.version, detector.threshold) == ("bright", "1", 0.4)
    assert detector.checksum == hashlib.sha256(saved.read_bytes()).hexdigest()


def test_saving_twice_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        weights.save(tmp_path / f"{name}.safetensors", bright_net(), heat_judge(), {})
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_a_missing_file(tmp_path):
    assert "no such weights file" in refusal(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".onnx", ""])
def test_other_formats_are_not_even_opened(tmp_path, suffix):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    path = tmp_path / f"weights{suffix}"
    path.write_bytes(pickle.dumps(Trap()))
    assert "only .safetensors weights are read" in refusal(path)
    assert not (tmp_path / "sprung").exists()


def test_a_missing_card(saved):
    saved.with_suffix(".json").unlink()
    assert "the card bright.json that belongs beside it is missing" in refusal(saved)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '"words"', "\xff\xfe"])
def test_a_damaged_card(saved, text):
    saved.with_suffix(".json").write_bytes(text.encode("latin-1"))
    assert "card" in refusal(saved)


def test_another_checksum(saved):
    card = saved.with_suffix(".json")
    card.write_text(json.dumps(json.loads(card.read_text()) | {"sha256": "0" * 64}))
    assert "checksum differs" in refusal(saved)


def test_one_changed_bit_is_noticed(saved):
    data = bytearray(saved.read_bytes())
    data[-100] ^= 1
    saved.write_bytes(data)
    assert "checksum differs" in refusal(saved)


@pytest.mark.parametrize("kept", [0, 4, 100, 20_000, -1])
def test_a_truncated_file(saved, kept):
    saved.write_bytes(saved.read_bytes()[:kept])
    assert "damaged or not a safetensors file" in refusal(saved)


def test_text_in_place_of_weights(saved):
    saved.write_text("these are no weights\n" * 100)
    assert "damaged or not a safetensors file" in refusal(saved)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"format": "railwatch-wagon-9"}])
def test_foreign_safetensors(saved, metadata):
    save_file({"weight": torch.zeros(3)}, saved, metadata=metadata)
    assert "not railwatch wagon weights" in refusal(saved)


@pytest.mark.parametrize("drop", ["network.stem.0.0.weight", "judge.layers.0.weight"])
def test_weights_of_another_network(tmp_path, drop):
    tensors = {f"network.{k}": v for k, v in WagonNet().state_dict().items()}
    tensors |= {f"judge.{k}": v for k, v in RescorerNet().state_dict().items()}
    del tensors[drop]
    path = tmp_path / "other.safetensors"
    save_file(tensors, path, metadata={"format": weights.FORMAT})
    card = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    path.with_suffix(".json").write_text(json.dumps(card))
    assert "don't fit" in refusal(path)
    tensors[drop] = torch.zeros(2, 2)
    save_file(tensors, path, metadata={"format": weights.FORMAT})
    card = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    path.with_suffix(".json").write_text(json.dumps(card))
    assert "don't fit" in refusal(path)


@pytest.mark.parametrize(
    "card", [{"threshold": "high"}, {"count_model": {"magic": 1}}, {"count_model": 3}, {"gsd_range_m": [1]}]
)
def test_a_card_with_wrong_figures(tmp_path, card):
    path = bright_weights(tmp_path, **card)
    with pytest.raises(WeightsError, match=r"bright\.safetensors: its card"):
        WagonDetector.load(path, "cpu")
