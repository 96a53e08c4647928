"""Weights on 8-bit steps: nearer in the answers than the nearest steps are."""

from __future__ import annotations

import numpy as np
import torch

from detector.training.rounding import EXACT, FIRST_LEVELS, LEVELS, on_steps, rounded_weights
from detector.wagons.network import WagonNet


def test_answers_change_less_than_by_the_nearest_steps():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 40)) + 0.3 * rng.normal(size=(400, 40))
    weight = rng.normal(size=(8, 40))
    step = np.abs(weight).max(axis=1, keepdims=True) / LEVELS
    rounded = rounded_weights(weight, inputs.T @ inputs / len(inputs))
    levels = rounded / step
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-6)
    assert np.abs(levels).max() <= LEVELS + 1e-6
    ours, nearest = (
        ((inputs @ (one - weight).T) ** 2).mean() for one in (rounded, np.rint(weight / step) * step)
    )
    assert ours < 0.5 * nearest


def test_a_network_on_steps_answers_as_the_trained_one():
    torch.manual_seed(0)
    trained = WagonNet((4, 8, 8, 8, 8), 8).eval()
    for module in trained.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (1, 96, 96, 3), dtype=np.uint8) for _ in range(3)]
    stepped = on_steps(trained, pictures[:2])
    for name, layer in stepped.named_modules():
        if isinstance(layer, torch.nn.Conv2d) and not name.startswith("pyramid.layer_blocks."):
            largest = layer.weight.detach().abs().amax(dim=(1, 2, 3), keepdim=True)
            levels = layer.weight.detach() / largest * (FIRST_LEVELS if name == "stem.0.0" else LEVELS)
            assert ((levels - levels.round()).abs().max() < 1e-3) == (name not in EXACT), name
    unseen = torch.from_numpy(pictures[2]).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        for ours, theirs in zip(stepped(unseen), trained(unseen), strict=True):
            assert (ours - theirs).abs().mean() < 0.1 * theirs.std() + 0.01
