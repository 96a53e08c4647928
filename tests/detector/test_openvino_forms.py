"""Forms for OpenVINO: they answer as the weights do, and what is damaged or foreign is refused."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from painted import bright_net, bright_wagons, bright_weights

from aoi.errors import InputError
from detector import backends
from detector.backends import OpenVinoNetwork, choose, find, list_path
from detector.errors import WeightsError
from detector.training import quantise
from detector.training.shards import LabelledTile
from detector.wagons import weights
from detector.wagons.boxes import as_boxes
from detector.wagons.detector import WagonDetector
from detector.wagons.network import fused
from detector.wagons.weights import OpenVinoMaps, TorchMaps
from geo import open_scene

CENTRES = [(42, 42), (122, 90), (42, 122)]


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Weights of the network that sees bright spots, with their forms."""
    path = bright_weights(tmp_path_factory.mktemp("forms"), threshold=0.5)
    picture = bright_wagons(CENTRES)
    tile = LabelledTile(
        image=picture,
        boxes=as_boxes([[x, y, 30, 6, 0] for x, y in CENTRES]),
        category=np.zeros(3, np.int64),
        ignored=np.zeros(3, bool),
        track=np.zeros((picture.shape[0] // 4, picture.shape[1] // 4), np.uint8),
        meta={"gsd_m": 0.5},
    )
    quantise.quantise_wagons(weights.load(path), [picture] * 3, [tile])
    return path


@pytest.fixture
def copied(made, tmp_path) -> Path:
    for file in made.parent.iterdir():
        shutil.copy(file, tmp_path / file.name)
    return tmp_path / made.name


def test_a_form_draws_the_boxes_of_the_weights(made, tmp_path):
    from PIL import Image

    Image.fromarray(bright_wagons(CENTRES)).save(tmp_path / "yard.png")
    found = {}
    for backend in ("openvino", "torch"):
        detector = WagonDetector.load(made, "cpu", backend)
        assert detector.backend.startswith(backend)
        result = detector.detect(open_scene(tmp_path / "yard.png", gsd_m=0.5))
        found[backend] = sorted(tuple(np.round(box, 1)) for box in result.frame["pixel_box"])
        assert result.count == 3
    np.testing.assert_allclose(found["openvino"], found["torch"], atol=0.5)


def test_the_list_says_how_the_forms_compare(made):
    card = json.loads(list_path(made).read_text(encoding="utf-8"))
    assert card["format"] == backends.FORMAT
    assert card["weights_sha256"] == hashlib.sha256(made.read_bytes()).hexdigest()
    assert set(card["forms"]) == set(card["parity"]) == {"int8", "float32"}
    assert card["parity"]["float32"]["boxes"] == 3
    assert card["parity"]["float32"]["differing"] == 0
    assert card["parity"]["float32"]["equal"]


def test_single_precision_is_single_precision(made):
    forms = find(made, weights.load_head(made).checksum)
    image = np.random.default_rng(0).integers(0, 255, (1, 64, 96, 3), dtype=np.uint8)
    ours = OpenVinoMaps(forms["float32"]).maps(image)
    theirs = TorchMaps(fused(weights.load(made).network), "cpu", torch.float32).maps(image)
    for mine, reference in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, reference, rtol=0.01, atol=0.02)  # its numbers are kept as float16


def test_pictures_of_any_shape_go_through_one_network(made):
    forms = find(made, weights.load_head(made).checksum)
    network = OpenVinoMaps(forms["int8"])
    shapes = [(1, 64, 96), (2, 96, 64), (1, 64, 96), (1, 128, 128)]
    for shape in shapes:
        maps = network.maps(np.zeros((*shape, 3), np.uint8))
        assert maps.heatmap.shape == (shape[0], 1, shape[1] // 4, shape[2] // 4)
        assert maps.category.shape[1] == 3


def test_what_came_before_changes_no_answer(made):
    """A count must not depend on the images before it, nor on which process of several counts it."""
    form = find(made, weights.load_head(made).checksum)["int8"]
    draw = np.random.default_rng(0)
    images = [
        draw.integers(0, 255, (1, *shape, 3), dtype=np.uint8) for shape in ((64, 96), (96, 160), (64, 96))
    ]
    one_for_all = OpenVinoMaps(form)
    for image in images:
        for together, alone in zip(one_for_all.maps(image), OpenVinoMaps(form).maps(image), strict=True):
            np.testing.assert_array_equal(together, alone)


def test_a_network_made_ready_before_answers_the_same(made):
    forms = find(made, weights.load_head(made).checksum)
    image = np.random.default_rng(0).integers(0, 255, (1, 64, 96, 3), dtype=np.uint8)
    fixed = image.copy()
    fixed.setflags(write=False)
    ready, fresh = (OpenVinoMaps(forms["int8"]) for _ in range(2))
    ready.prepare()
    before = ready.maps(fixed)
    ready.maps(255 - image)  # which leaves alone what came before
    for one, other in zip(before, fresh.maps(image), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("ending", [".int8.xml", ".int8.bin"])
def test_a_changed_or_missing_form_is_refused(copied, ending):
    path = copied.with_suffix(ending)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    form = backends.Form(
        "int8",
        copied.with_suffix(".int8.xml"),
        copied.with_suffix(".int8.bin"),
        json.loads(list_path(copied).read_text())["forms"]["int8"]["sha256"],
    )
    with pytest.raises(WeightsError, match=r"bright\.int8.*checksum differs"):
        OpenVinoNetwork(form)
    path.unlink()
    with pytest.raises(WeightsError, match=r"bright\.int8.*can't be read"):
        OpenVinoNetwork(form)


def test_a_form_that_is_loaded_later_is_refused_by_the_first_picture(copied, tmp_path):
    from PIL import Image

    Image.fromarray(bright_wagons(CENTRES)).save(tmp_path / "yard.png")
    scene = open_scene(tmp_path / "yard.png", gsd_m=0.5)
    assert WagonDetector.load(copied, "cpu", "openvino", later=True).detect(scene).count == 3
    form = copied.with_suffix(".int8.bin")
    form.write_bytes(form.read_bytes()[:-1])
    detector = WagonDetector.load(copied, "cpu", "openvino", later=True)
    with pytest.raises(WeightsError, match="checksum differs"):
        detector.detect(scene)
    with pytest.raises(WeightsError, match="checksum differs"):
        WagonDetector.load(copied, "cpu", "openvino")


def test_numbers_that_are_no_numbers_are_refused(copied):
    path = copied.with_suffix(".float32.bin")
    # The largest tensor of half precision, by what the graph says of it.
    places = re.findall(
        r'element_type="f16" shape="[^"]*" offset="(\d+)" size="(\d+)"',
        copied.with_suffix(".float32.xml").read_text(),
    )
    offset, size = max(((int(a), int(b)) for a, b in places), key=lambda place: place[1])
    content = bytearray(path.read_bytes())
    content[offset + size // 2 : offset + size // 2 + 2] = np.float16(np.nan).tobytes()
    path.write_bytes(content)
    sums = {
        one.name: hashlib.sha256(one.read_bytes()).hexdigest()
        for one in (path, copied.with_suffix(".float32.xml"))
    }
    form = backends.Form("float32", copied.with_suffix(".float32.xml"), path, sums)
    with pytest.raises(WeightsError, match="aren't finite"):
        OpenVinoNetwork(form)


def test_text_in_place_of_a_graph_is_refused(copied):
    graph, numbers = copied.with_suffix(".int8.xml"), copied.with_suffix(".int8.bin")
    graph.write_text("<net><layers></layers>")
    sums = {one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in (graph, numbers)}
    with pytest.raises(WeightsError, match="OpenVINO can't read it"):
        OpenVinoNetwork(backends.Form("int8", graph, numbers, sums))


@pytest.mark.parametrize(
    "spoil", [lambda card: card.pop("forms"), lambda card: card.update(format="x"), lambda card: card.clear()]
)
def test_a_damaged_list_is_refused(copied, spoil: Callable[[dict], object]):
    card = json.loads(list_path(copied).read_text())
    spoil(card)
    list_path(copied).write_text(json.dumps(card))
    with pytest.raises(WeightsError, match="list of forms"):
        WagonDetector.load(copied, "cpu")


def test_forms_of_other_weights_are_left_alone(copied, caplog):
    newer = bright_net()
    with torch.no_grad():
        newer.place_head[-1].bias[0] += 0.5
    weights.save(copied, newer, weights.load_head(copied).judge, {"name": "newer"})
    detector = WagonDetector.load(copied, "cpu")
    assert detector.backend.startswith("torch")
    assert "made from other weights" in caplog.text
    with pytest.raises(InputError, match="railwatch quantise"):
        WagonDetector.load(copied, "cpu", "openvino")


def test_the_shipped_forms_are_the_shipped_weights(repository):
    path = repository / "detector" / "weights" / "wagon.safetensors"
    forms = find(path, hashlib.sha256(path.read_bytes()).hexdigest())
    assert forms, "make them with: railwatch quantise detector/weights/wagon.safetensors"
    for form in forms.values():
        form.read()
    parities = json.loads(list_path(path).read_text("utf-8"))["parity"]
    assert parities["float32"]["equal"]
    parity = parities[next(iter(forms))]
    assert abs(parity["f1"] - parity["f1_reference"]) < 0.003
    text = forms["int8"].graph.read_text()
    assert "/tmp/" not in text
    assert "/home/" not in text


def test_what_runs_is_chosen_by_what_is_there(monkeypatch):
    monkeypatch.setattr(backends, "gpu_seen", lambda: False)
    device, form = choose("auto", "auto", ("int8", "float32"), weights="w")
    assert device == "cpu"
    assert form is not None  # OpenVINO runs it
    assert choose("auto", "cpu", (), weights="w") == ("cpu", None)
    assert choose("torch", "cpu", ("int8",), weights="w") == ("cpu", None)
    monkeypatch.setattr(backends.platform, "machine", lambda: "arm64")
    assert choose("auto", "cpu", ("int8", "float32"), weights="w").form == "float32"
    monkeypatch.setattr(backends.platform, "machine", lambda: "AMD64")
    assert choose("auto", "cpu", ("int8", "float32"), weights="w").form == "int8"
    monkeypatch.setattr(backends, "gpu_seen", lambda: True)
    assert choose("auto", "auto", ("int8",), weights="w") == ("auto", None)
    assert choose("auto", "cpu", ("int8",), weights="w").form == "int8"
    assert choose("openvino", "auto", ("int8",), weights="w").form == "int8"
    assert choose("auto", "cuda:1", ("int8",), weights="w") == ("cuda:1", None)


@pytest.mark.parametrize(
    ("backend", "device", "message"),
    [
        ("openvino", "cuda", "runs on the CPU"),
        ("onnx", "auto", "no backend"),
        ("auto", "tpu", "not a device"),
        ("openvino", "cpu", "no form for OpenVINO"),
    ],
)
def test_what_is_not_to_be_had_is_refused(backend, device, message):
    with pytest.raises(InputError, match=message):
        choose(backend, device, (), weights="w.safetensors")


def test_importing_openvino_brings_no_telemetry():
    import subprocess
    import sys

    code = (
        "import sys; from detector.backends import import_openvino; import_openvino(); "
        "sys.exit(any(n.startswith(('openvino_telemetry', 'openvino.tools.ovc')) for n in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")
def test_a_gpu_answers_as_the_cpu_does(made):
    image = np.random.default_rng(0).integers(0, 255, (2, 64, 96, 3), dtype=np.uint8)
    network = fused(weights.load(made).network)
    there = TorchMaps(fused(network), "cuda").maps(image)
    here = TorchMaps(network, "cpu", torch.float32).maps(image)
    np.testing.assert_allclose(there.heatmap, here.heatmap, atol=0.2)
