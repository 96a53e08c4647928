"""The network: shapes, folding of batch normalisation, nothing from the net."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from painted import bright_net, bright_wagons

from detector.wagons.categories import CATEGORIES
from detector.wagons.decode import CHANNELS, STRIDE, Maps, decode, mirrored, split
from detector.wagons.network import WagonNet, fused


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


def unlike_new(network: WagonNet, seed: int = 0) -> WagonNet:
    """As after some training: statistics and scales of the normalisation that differ from 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor, low, high in (
                (module.running_mean, -0.3, 0.3),
                (module.running_var, 0.5, 2.0),
                (module.weight.data, 0.5, 1.5),
                (module.bias.data, -0.2, 0.2),
            ):
                tensor.uniform_(low, high, generator=generator)
    return network.eval()


@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 96), (160, 128)])
def test_every_cell_of_four_pixels_gets_an_answer(height, width):
    network = WagonNet().eval()
    with torch.inference_mode():
        maps = network(torch.rand(2, 3, height, width))
    channels = {
        "heatmap": 1,
        "offset": 2,
        "angle": 2,
        "size": 2,
        "category": len(CATEGORIES),
        "mask": 1,
        "track": 1,
    }
    assert set(channels) == set(maps._fields)
    for name, count in channels.items():
        values = getattr(maps, name)
        assert values.shape == (2, count, height // STRIDE, width // STRIDE), name
        assert values.dtype == torch.float32
        assert values.isfinite().all()


def test_a_new_network_expects_few_wagons_and_few_tracks():
    torch.manual_seed(0)
    with torch.inference_mode():
        maps = WagonNet().eval()(torch.rand(1, 3, 64, 64))
    assert maps.heatmap.sigmoid().max() < 0.1
    assert maps.track.sigmoid().max() < 0.3


@pytest.mark.parametrize(("widths", "channels"), [((32, 64, 128, 192, 256), 64), ((8, 16, 16, 24, 24), 16)])
def test_folding_the_normalisation_changes_nothing(widths, channels):
    torch.manual_seed(1)
    network = unlike_new(WagonNet(widths, channels))
    before = {k: v.clone() for k, v in network.state_dict().items()}
    lean = fused(network)
    image = torch.rand(1, 3, 96, 64)
    with torch.inference_mode():
        for ours, theirs in zip(network(image), lean(image), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in lean.modules())
    # The original is left as it was.
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_a_shift_by_whole_strides_shifts_the_answer():
    # What tiling rests on: the coarsest stage has a stride of 32 pixels.
    network = unlike_new(WagonNet((8, 16, 16, 24, 24), 16))
    image = torch.rand(1, 3, 512, 512)
    with torch.inference_mode():
        whole = network(image)
        part = network(image[:, :, 32:, 32:])
    # Far from all borders; the field of view of the coarse stages reaches some 150 pixels.
    inner = slice(50, 70)
    moved = slice(50 - 8, 70 - 8)
    torch.testing.assert_close(
        whole.heatmap[..., inner, inner], part.heatmap[..., moved, moved], rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("axes", [(2,), (3,), (2, 3)])
def test_no_side_of_a_cell_is_preferred(axes):
    # With windows that are mirror images of themselves the whole network is one: odd and even rows are alike.
    network = unlike_new(WagonNet((8, 16, 16, 24, 24), 16))
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.add_(module.weight.flip(axes)).div_(2)
    image = torch.rand(1, 3, 96, 160)
    with torch.inference_mode():
        here, there = network(image).heatmap, network(image.flip(axes)).heatmap.flip(axes)
    assert here.std() > 1e-3
    torch.testing.assert_close(there, here, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("axes", [(2,), (3,), (2, 3)])
def test_the_maps_of_a_mirror_image_say_the_same_boxes_mirrored(axes):
    rng = np.random.default_rng(3)
    h, w = 16, 24
    maps = Maps(*(rng.standard_normal((1, c, h, w)).astype(np.float32) for c in CHANNELS))
    twice = mirrored(mirrored(maps, *axes), *axes)
    assert all(np.array_equal(a, b) for a, b in zip(twice, maps, strict=True))
    (here,), _ = decode(maps, minimum_centre_score=0.3, maximum=100)
    (there,), _ = decode(mirrored(maps, *axes), minimum_centre_score=0.3, maximum=100)
    wanted = here.boxes.copy()
    if 3 in axes:
        wanted[:, 0], wanted[:, 4] = 4 * w - wanted[:, 0], -wanted[:, 4] % 180
    if 2 in axes:
        wanted[:, 1], wanted[:, 4] = 4 * h - wanted[:, 1], -wanted[:, 4] % 180
    assert len(wanted) > 10
    assert there.centre_logit == pytest.approx(here.centre_logit)
    assert there.boxes[:, :4] == pytest.approx(wanted[:, :4], abs=1e-3)
    assert (there.boxes[:, 4] - wanted[:, 4] + 90) % 180 == pytest.approx(90, abs=1e-2)
    # What surrounds a box is the same, too.
    assert there.features == pytest.approx(here.features, abs=1e-3)


def test_nothing_is_downloaded(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network asked for weights from the net")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    assert sum(p.numel() for p in WagonNet().parameters()) < 5_000_000


def test_weights_set_by_hand_find_bright_wagons():
    image = torch.from_numpy(bright_wagons([(42, 42), (122, 90)])).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        heatmap = bright_net()(image).heatmap.sigmoid()[0, 0]
    assert heatmap[10, 10] > 0.8
    assert heatmap[22, 30] > 0.8
    assert heatmap[22, 10] < 0.06


def test_the_maps_come_out_of_one_array_in_the_order_of_their_channels():
    whole = np.arange(12, dtype=np.float32)[None, :, None, None] * np.ones((2, 1, 3, 5), np.float32)
    maps = split(whole)
    assert [field.shape[1] for field in maps] == list(CHANNELS)
    np.testing.assert_array_equal(np.concatenate(maps, axis=1), whole)
