"""Between a network of torch's and arrays by name, as weights files hold them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from detector.tensor_file import Arrays


def arrays_of(module: torch.nn.Module, beginning: str = "") -> Arrays:
    """The floating-point tensors of a module as arrays, their names after a beginning such as "network."."""
    return {
        beginning + name: values.detach().cpu().float().numpy()
        for name, values in module.state_dict().items()
        if values.dtype.is_floating_point
    }


def fill(module: torch.nn.Module, arrays: Mapping[str, NDArray[np.float32]], beginning: str = "") -> None:
    """Give a module its tensors, whose names begin with a prefix.

    Raises:
        KeyError, RuntimeError: One is missing or has another shape.
    """
    own = module.state_dict()
    # The counters of batch normalisation play no part in inference and aren't stored.
    state = {
        name: torch.tensor(arrays[beginning + name]) if values.dtype.is_floating_point else values
        for name, values in own.items()
    }
    module.load_state_dict(state)
