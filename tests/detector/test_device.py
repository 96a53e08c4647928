"""Where the network runs, and in which precision."""

from __future__ import annotations

import pytest
import torch

from aoi.errors import InputError
from detector.backends import choose_device, fast_dtype


def test_auto_takes_what_there_is():
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "tpu", "", "mps"])
def test_an_unknown_device_is_refused(name):
    with pytest.raises(InputError, match="use auto, cpu or cuda"):
        choose_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_missing_cuda_device_is_said_so():
    with pytest.raises(InputError, match="no usable CUDA device; use --device cpu"):
        choose_device("cuda")


def test_bfloat16_only_where_it_is_fast():
    dtype = fast_dtype(torch.device("cpu"))
    assert dtype in {torch.bfloat16, torch.float32}
    a = torch.eye(8, dtype=dtype)
    torch.testing.assert_close(a @ a, a)
