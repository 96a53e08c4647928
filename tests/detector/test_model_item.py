"""The STAC item beside the weights."""

from __future__ import annotations

import json

import pystac
from painted import bright_weights
from pystac.extensions.mlm import MLMExtension, TaskType

from detector.training.model_item import model_item, write_wagon_item
from detector.wagons import weights


def parameters_of(loaded: weights.Weights) -> int:
    """What training fits: all of the network, and the judge's two layers without its standardisation."""
    judge = sum(v.size for k, v in loaded.judge.arrays().items() if k not in {"mean", "deviation"})
    return judge + sum(each.numel() for each in loaded.network.parameters())


def test_the_item_says_what_the_card_says(tmp_path):
    path = bright_weights(tmp_path, name="bright", version="3", trained="2026-11-22T10:00:00Z")
    loaded = weights.load(path)
    item = pystac.Item.from_dict(
        json.loads(write_wagon_item(loaded.card, path, loaded.network, loaded.judge).read_text("utf-8"))
    )
    assert (item.id, item.geometry) == ("railwatch-bright-3", None)
    described = MLMExtension.ext(item)
    assert described.tasks == [TaskType.OBJECT_DETECTION]
    assert described.framework == "PyTorch"
    assert described.total_parameters == parameters_of(loaded)
    assert described.input[0].input.shape == [-1, 3, -1, -1]
    assert [one["name"] for one in item.properties["mlm:output"][0]["classification:classes"]] == [
        "freight",
        "locomotive",
        "coach",
    ]
    asset = item.assets["weights"]
    assert asset.roles == ["mlm:model", "mlm:weights"]
    assert asset.extra_fields["file:checksum"] == f"1220{loaded.checksum}"
    assert asset.extra_fields["file:size"] == path.stat().st_size
    assert (path.parent / asset.href).samefile(path)


def test_the_shipped_item_belongs_to_the_shipped_weights():
    loaded = weights.load()
    wanted = model_item(loaded.card, loaded.path, parameters_of(loaded)).to_dict(
        include_self_link=False, transform_hrefs=False
    )
    assert json.loads(loaded.path.with_suffix(".stac.json").read_text("utf-8")) == json.loads(
        json.dumps(wanted)
    )
