from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo import resample as module
from geo import resample_image
from geo.resample import Axis, Resampler, Window


def run(
    numbers: npt.NDArray[Any], valid: npt.NDArray[np.bool_], scale: tuple[float, float], window: Window
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """A window of a resampled array, put together from its pieces."""
    height, width = valid.shape
    resampler = Resampler(Axis(scale[0], width), Axis(scale[1], height))
    shape = window[3] - window[1], window[2] - window[0]
    out, known = np.zeros((len(numbers), *shape), np.float32), np.zeros(shape, np.bool_)

    def read(area: Window) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        x0, y0, x1, y1 = area
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        return numbers[:, y0:y1, x0:x1], valid[y0:y1, x0:x1]

    for piece in resampler.pieces(read, window):
        h, w = piece.planes[0].shape
        place = slice(piece.top, piece.top + h), slice(piece.left, piece.left + w)
        for band, plane in enumerate(piece.planes):
            out[(band, *place)] = plane
        known[place] = True if piece.valid is None else piece.valid
    return out, known


def brute_force_area(
    plane: npt.NDArray[Any], valid: npt.NDArray[np.bool_], scale: float, x: int, y: int
) -> float:
    """The mean over an output pixel by its definition."""
    total = weight = 0.0
    for row in range(plane.shape[0]):
        for column in range(plane.shape[1]):
            overlap_x = min(column + 1, (x + 1) * scale) - max(column, x * scale)
            overlap_y = min(row + 1, (y + 1) * scale) - max(row, y * scale)
            if overlap_x > 0 and overlap_y > 0 and valid[row, column]:
                total += overlap_x * overlap_y * plane[row, column]
                weight += overlap_x * overlap_y
    return total / weight


@pytest.mark.parametrize("scale", [1.25, 5 / 3, 2.0, 3.7])
def test_shrinking_is_the_mean_over_the_pixel(scale: float) -> None:
    rng = np.random.default_rng(3)
    plane = rng.uniform(0, 255, (13, 11))
    valid = rng.random((13, 11)) > 0.2
    side = int(9 / scale)
    out, known = run(plane[None], valid, (scale, scale), (0, 0, side, side))
    assert known.any()
    for y, x in np.argwhere(known):
        assert out[0, y, x] == pytest.approx(brute_force_area(plane, valid, scale, x, y), rel=1e-5)


@pytest.mark.parametrize("factor", [2, 5])
def test_shrinking_by_a_whole_number_is_what_opencv_does(factor: int) -> None:
    image = np.random.default_rng(4).integers(0, 256, (60, 40, 3), dtype=np.uint8)
    expected = cv2.resize(image, (40 // factor, 60 // factor), interpolation=cv2.INTER_AREA)
    ours = resample_image(image, 0.1, 0.1 * factor)
    assert ours.shape == expected.shape
    assert np.abs(ours.astype(int) - expected).max() <= 1


def test_enlarging_is_keys_cubic() -> None:
    image = np.random.default_rng(5).uniform(0, 1, (20, 30)).astype(np.float32)
    ours = resample_image(image, 1.0, 0.5)
    assert ours.shape == (40, 60)
    # A cubic with a = -1/2 reproduces quadratics away from the edges.
    x = np.arange(30) + 0.5
    quadratic = np.tile((0.3 * x**2 - 2 * x + 1).astype(np.float32), (20, 1))
    fine = (np.arange(60) + 0.5) / 2
    inner = slice(6, 54)
    assert resample_image(quadratic, 1.0, 0.5)[10, inner] == pytest.approx(
        (0.3 * fine**2 - 2 * fine + 1)[inner], abs=1e-3
    )
    assert resample_image(np.full((8, 8), 7.0), 1.0, 0.3) == pytest.approx(7.0)


def test_scale_one_copies() -> None:
    image = np.random.default_rng(6).integers(0, 256, (9, 8, 3), dtype=np.uint8)
    assert (resample_image(image, 0.5, 0.5) == image).all()


def test_each_axis_has_its_own_scale() -> None:
    image = np.random.default_rng(7).uniform(0, 255, (40, 30))
    out = resample_image(image, (0.25, 1.0), 0.5)
    assert out.shape == (80, 15)
    assert out.mean() == pytest.approx(image.mean(), rel=0.02)


def test_integers_are_rounded_and_clipped() -> None:
    image = np.zeros((10, 10), np.uint8)
    image[:, 5:] = 255
    out = resample_image(image, 1.0, 0.4)  # a cubic overshoots at the step
    assert out.dtype == np.uint8
    assert out.min() == 0
    assert out.max() == 255


scales = st.one_of(st.sampled_from([0.5, 0.8, 1.25, 5 / 3, 2.0]), st.floats(0.3, 4.0))


@given(
    data=st.data(),
    scale_x=scales,
    scale_y=scales,
    seed=st.integers(0, 99),
    gaps=st.sampled_from([0.0, 0.02, 0.5]),
)
def test_a_pixel_is_the_same_whichever_window_it_is_read_in(
    data: st.DataObject, scale_x: float, scale_y: float, seed: int, gaps: float
) -> None:
    rng = np.random.default_rng(seed)
    numbers = rng.integers(0, 4000, (2, 37, 53)).astype(np.uint16)
    valid = rng.random((37, 53)) >= gaps
    width, height = Axis(scale_x, 53).out_size, Axis(scale_y, 37).out_size
    whole, known = run(numbers, valid, (scale_x, scale_y), (0, 0, width, height))
    x0, y0 = data.draw(st.integers(-3, width - 1)), data.draw(st.integers(-3, height - 1))
    x1, y1 = (
        data.draw(st.integers(max(x0, 0) + 1, width + 3)),
        data.draw(st.integers(max(y0, 0) + 1, height + 3)),
    )
    part, part_known = run(numbers, valid, (scale_x, scale_y), (x0, y0, x1, y1))
    inside = np.zeros(part_known.shape, np.bool_)
    inside[max(0, -y0) : height - y0, max(0, -x0) : width - x0] = True
    window = slice(max(y0, 0), min(y1, height)), slice(max(x0, 0), min(x1, width))
    shape = window[0].stop - window[0].start, window[1].stop - window[1].start
    assert (part_known[inside].reshape(shape) == known[window]).all()
    assert not part_known[~inside].any()
    for band in range(2):
        # Bit for bit: not "nearly".
        assert (part[band][inside].reshape(shape) == whole[(band, *window)]).all()


@given(scale=scales, seed=st.integers(0, 99))
def test_pieces_of_any_size_give_the_same_pixels(scale: float, seed: int) -> None:
    numbers = np.random.default_rng(seed).uniform(0, 1, (1, 41, 17)).astype(np.float32)
    valid = np.ones((41, 17), np.bool_)
    window = (0, 0, Axis(scale, 17).out_size, Axis(scale, 41).out_size)
    whole, _ = run(numbers, valid, (scale, scale), window)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK_SOURCE_PIXELS", 40)
        chunked, _ = run(numbers, valid, (scale, scale), window)
    assert (whole == chunked).all()


def test_half_an_output_pixel_must_be_valid() -> None:
    valid = np.ones((4, 4), np.bool_)
    valid[0, :3] = False  # three quarters of the upper half of the first pixel and of half the second
    _, known = run(np.ones((1, 4, 4)), valid, (2.0, 2.0), (0, 0, 2, 2))
    assert known.tolist() == [[True, True], [True, True]]
    valid[1, 0] = False
    out, known = run(np.ones((1, 4, 4)), valid, (2.0, 2.0), (0, 0, 2, 2))
    assert known.tolist() == [[False, True], [True, True]]
    assert out[0].tolist() == [[0, 1], [1, 1]]


@given(scale=scales, seed=st.integers(0, 50))
def test_what_is_invalid_never_shines_through(scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    valid = rng.random((23, 29)) > 0.3
    numbers = np.where(valid, 100.0, 1e6)[None]
    window = (0, 0, Axis(scale, 29).out_size, Axis(scale, 23).out_size)
    out, known = run(numbers, valid, (scale, scale), window)
    assert out[0][known] == pytest.approx(100.0, rel=1e-3)
    assert (out[0][~known] == 0).all()
