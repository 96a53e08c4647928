"""A wagon network whose layers answer as before although their weights and inputs have 8 bits.

Rounding each weight to the nearest step keeps the weights, not the answers: errors of neighbouring weights
add up where their inputs go together, and each layer is shown what the layers before it got wrong. So the
layers are fitted one after the other: given its inputs as they arrive by now, rounded to 8 bits, each layer
gets the weights with which it answers most nearly as the trained one did (linear least squares, drawn to the
trained weights), and these are rounded up or down so that the answer changes least, one weight after the
other, which is the aim of M. Nagel et al., "Up or down? Adaptive rounding for post-training quantization",
ICML 2020. What is left of a shift goes into the bias.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from detector.wagons.network import WagonNet, fused

__all__ = ["on_steps", "rounded_weights"]

LEVELS = 127
"""Steps of a weight to either side of 0."""

FIRST_LEVELS = 63
"""The same in the first layer. Processors without VNNI add two products in 16 bits, which a picture, unlike
what later layers see, fills: of 0 to 255 times 63 two just fit."""

EXACT = ("place_head.1",)
"""Layers that stay in single precision: the one that says where wagons are. A hundredth of the work, and an
eighth of what 8 bits change in the odds of a box."""

_PULL = 0.05  # how strongly a layer is drawn to its trained weights: share of the mean square of an input
_SWEEPS = 3
_INPUT_LEVELS = 255

Hook = Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...] | None]


class _Reached(Exception):
    """The layer that was asked about has been reached; what comes after it needn't be computed."""


class _Taught(NamedTuple):
    """What the trained network shows of a layer.

    Attributes:
        low: Least input, at most 0.
        high: Largest input.
        answers: What it answers, a picture a time.
    """

    low: float
    high: float
    answers: list[Tensor]

    def rounded(self, given: Tensor) -> Tensor:
        """Inputs on 8-bit steps of the range."""
        step = max(self.high - self.low, 1e-12) / _INPUT_LEVELS
        zero = round(-self.low / step)
        return (torch.clamp(torch.round(given / step) + zero, 0, _INPUT_LEVELS) - zero) * step


def on_steps(network: WagonNet, pictures: Sequence[NDArray[np.uint8]]) -> WagonNet:
    """A copy for inference, normalisation folded in, whose weights lie on 8-bit steps.

    Those of the first layer lie on 7-bit ones, and those of `EXACT` on none.

    Args:
        network: The trained network.
        pictures: ``(1, H, W, 3)`` at 0.5 m, sides multiples of 32, such as it is going to see.
    """
    trained, copy = fused(network), fused(network)
    taught = _taught(trained, pictures)
    layers = dict(zip(taught, _in_order(copy, pictures[0]), strict=True))
    exact = [copy.get_submodule(name) for name in EXACT]
    rounding = []
    for number, (original, layer) in enumerate(layers.items()):
        lesson = taught[original]
        levels = None if layer in exact else LEVELS if number else FIRST_LEVELS
        _fit(copy, layer, lesson, pictures, levels)
        lesson.answers.clear()
        if levels is None:
            continue

        def hook(_: nn.Module, given: tuple[Tensor, ...], lesson: _Taught = lesson) -> tuple[Tensor]:
            return (lesson.rounded(given[0]),)

        rounding.append(layer.register_forward_pre_hook(hook))
    for one in rounding:
        one.remove()
    return copy


@contextmanager
def _watched(layers: Sequence[nn.Conv2d], hook: Hook) -> Iterator[None]:
    hooks = [layer.register_forward_pre_hook(hook) for layer in layers]
    try:
        yield
    finally:
        for one in hooks:
            one.remove()


def _show(network: WagonNet, picture: NDArray[np.uint8]) -> None:
    with torch.inference_mode():
        network(torch.from_numpy(picture).permute(0, 3, 1, 2).float() / 255)


def _in_order(network: WagonNet, picture: NDArray[np.uint8]) -> list[nn.Conv2d]:
    """The convolutions in the order in which they run."""
    order: list[nn.Conv2d] = []

    def hook(layer: nn.Module, _: tuple[Tensor, ...]) -> None:
        order.append(cast(nn.Conv2d, layer))

    with _watched([one for one in network.modules() if isinstance(one, nn.Conv2d)], hook):
        _show(network, picture)
    return order


def _taught(trained: WagonNet, pictures: Sequence[NDArray[np.uint8]]) -> dict[nn.Conv2d, _Taught]:
    """What the trained network shows of each layer, in the order in which they run."""
    layers = _in_order(trained, pictures[0])
    found = {layer: _Taught(0.0, 0.0, []) for layer in layers}

    def hook(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        one = found[cast(nn.Conv2d, layer)]
        low, high = (float(value) for value in given[0].aminmax())
        found[cast(nn.Conv2d, layer)] = _Taught(min(one.low, low), max(one.high, high), one.answers)

    def answered(layer: nn.Module, _: tuple[Tensor, ...], answer: Tensor) -> None:
        found[cast(nn.Conv2d, layer)].answers.append(answer[0].flatten(1).clone())

    hooks = [layer.register_forward_hook(answered) for layer in layers]
    with _watched(layers, hook):
        for picture in pictures:
            _show(trained, picture)
    for one in hooks:
        one.remove()
    return found


def _fit(
    network: WagonNet,
    layer: nn.Conv2d,
    lesson: _Taught,
    pictures: Sequence[NDArray[np.uint8]],
    levels: int | None,
) -> None:
    """Give a layer the weights on steps and the bias with which it answers as it was taught.

    Without ``levels`` neither its weights nor its inputs are rounded.
    """
    given: list[Tensor] = []

    def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        given.append(inputs[0].clone() if levels is None else lesson.rounded(inputs[0]))
        raise _Reached

    with _watched([layer], hook):
        for picture in pictures:
            with suppress(_Reached):
                _show(network, picture)
    outputs, size = len(layer.weight), layer.weight[0].numel()
    square, product = torch.zeros(size + 1, size + 1).double(), torch.zeros(outputs, size + 1).double()
    places = 0
    for inputs, answer in zip(given, lesson.answers, strict=True):
        patches = functional.unfold(
            inputs,
            cast(tuple[int, int], layer.kernel_size),
            padding=cast(tuple[int, int], layer.padding),
            stride=cast(tuple[int, int], layer.stride),
        )[0]
        patches = torch.cat([patches, torch.ones(1, patches.shape[1])])
        square += (patches @ patches.T).double()
        product += (answer @ patches.T).double()
        places += patches.shape[1]
    joint, cross = (square / places).numpy(), (product / places).numpy()
    mean, answer_mean = joint[:size, size], cross[:, size]
    spread = joint[:size, :size] - mean[:, None] * mean
    spread += np.eye(size) * (_PULL * np.diag(spread).mean() + 1e-12)
    before = layer.weight.detach().double().numpy().reshape(outputs, size)
    pull = spread[0, 0] - (joint[0, 0] - mean[0] ** 2)
    wanted = np.linalg.solve(spread, (cross[:, :size] - answer_mean[:, None] * mean + pull * before).T).T
    weight = wanted if levels is None else rounded_weights(wanted, spread, levels)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight.reshape(layer.weight.shape)))
        layer.bias = nn.Parameter(torch.from_numpy(answer_mean - weight @ mean).float())


def rounded_weights(
    weight: NDArray[np.float64], product: NDArray[np.float64], levels: int = LEVELS
) -> NDArray[np.float64]:
    """Weights on steps, each row's largest ``levels`` steps from 0, by which answers change least.

    Args:
        weight: ``(outputs, n)``.
        product: ``(n, n)`` mean products of the inputs with each other, positive definite.
        levels: Steps to either side of 0.

    Example:
        Two inputs that nearly always go together: what one weight loses the other gains.

        >>> together = np.array([[1, 0, 0], [0, 1.01, 1], [0, 1, 1.01]])
        >>> weight = np.array([[12.7, 0.04, 0.04]])
        >>> rounded_weights(weight, np.eye(3)).round(2).tolist()
        [[12.7, 0.0, 0.0]]
        >>> rounded_weights(weight, together).round(2).tolist()
        [[12.7, 0.1, 0.0]]
    """
    largest = np.abs(weight).max(axis=1)
    step = np.where(largest > 0, largest, 1.0) / levels
    level = np.rint(weight / step[:, None])
    fixed = np.abs(level) >= levels  # the largest set the steps and stay where they are
    below = np.floor(weight / step[:, None])
    error = level * step[:, None] - weight
    slope = error @ product
    curvature = np.diag(product)
    for _ in range(_SWEEPS):
        moved = False
        for column in np.argsort(-curvature, kind="stable"):
            best = weight[:, column] + error[:, column] - slope[:, column] / curvature[column]
            wanted = np.clip(np.rint(best / step), below[:, column] - 1, below[:, column] + 2)
            wanted = np.clip(wanted, -levels, levels)
            change = np.where(fixed[:, column], 0.0, wanted - level[:, column])
            if change.any():
                moved = True
                level[:, column] += change
                error[:, column] += change * step
                slope += (change * step)[:, None] * product[column]
        if not moved:
            break
    return np.asarray(level * step[:, None])
