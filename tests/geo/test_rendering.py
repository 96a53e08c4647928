from __future__ import annotations

import numpy as np
import pytest

from geo import Stretch


def test_eight_bits_for_the_eye_are_left_alone() -> None:
    sample = np.tile(np.arange(60, 130, dtype=np.uint8), (3, 10))
    stretch = Stretch.robust(sample)
    assert stretch.is_identity
    assert stretch.rule == "identity"
    plane = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert stretch.apply(plane, 0) is plane


def test_a_sliver_of_eight_bits_is_stretched_but_not_without_end() -> None:
    stretch = Stretch.robust(np.tile(np.arange(100, 140, dtype=np.uint8), (3, 1000)))
    assert not stretch.is_identity
    assert stretch.limits(0) == (100.0, 139.0)
    narrow = Stretch.robust(np.tile(np.arange(100, 105, dtype=np.uint8), (3, 1000)))
    assert narrow.limits(1) == (86.0, 118.0)


def test_more_than_eight_bits_are_stretched_band_by_band_between_percentiles() -> None:
    sample = np.stack([np.linspace(0, 1000, 10_001), np.linspace(2000, 4000, 10_001)]).astype(np.uint16)
    sample[:, :50] = 60_000  # a few wild pixels don't matter
    stretch = Stretch.robust(sample)
    assert stretch.low == pytest.approx((14, 2028), abs=3)
    assert stretch.high == pytest.approx((995, 3990), abs=4)
    assert stretch.rule == "percentile 1-99"
    out = stretch.apply(np.array([[0, 500, 2000]], np.uint16), 0)
    assert out.dtype == np.uint8
    assert out[0, 0] == 0
    assert abs(int(out[0, 1]) - 126) <= 2
    assert out[0, 2] == 255


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("value", [0, 1, 117])
def test_a_band_of_one_value_is_mid_grey(dtype: str, value: int) -> None:
    sample = np.full((1, 50), value, dtype)
    out = Stretch.robust(sample).apply(sample, 0)
    assert ((out == 127) | (out == 128)).all()


def test_declared_limits() -> None:
    stretch = Stretch.fixed(0, 3000)
    assert stretch.apply(np.array([-5.0, 0.0, 1500.0, 9999.0], np.float32), 2).tolist() == [0, 0, 128, 255]
    with pytest.raises(ValueError, match="less than"):
        Stretch.fixed(10, 10)
    with pytest.raises(ValueError, match="as many"):
        Stretch((0.0, 0.0), (1.0,))
    with pytest.raises(ValueError, match="doesn't fit 3"):
        Stretch((0.0, 0.0), (1.0, 1.0)).check_bands(3)


def test_of_any_number_of_pixels_the_percentiles_are_those_of_numpy() -> None:
    # More of one number than single precision counts to, in a sliver of levels that is stretched.
    dark = np.full((1, (1 << 24) + 5), 90, np.uint8)
    sample = np.concatenate([dark, np.tile(np.arange(100, 130, dtype=np.uint8), 30_000)[None]], axis=1)
    low, high = np.percentile(sample, (1, 99))
    stretch = Stretch.robust(sample)
    middle = (stretch.low[0] + stretch.high[0]) / 2
    assert (middle, stretch.high[0] - stretch.low[0]) == ((low + high) / 2, max(high - low, 32))
