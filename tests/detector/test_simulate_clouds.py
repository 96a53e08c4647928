"""Clouds over an image: as much as asked for, bright where they are, dark where their shadows fall."""

from __future__ import annotations

import numpy as np
import pytest

from detector.simulators.sentinel2.products import cirrus, cumulus, shadow_only


def ground(size: int = 90) -> np.ndarray:
    levels = np.array([0.08, 0.10, 0.12, 0.25], np.float32)[:, None, None]
    grain = np.random.default_rng(0).standard_normal((4, size, size)) * 0.01
    return (levels + grain).astype(np.float32)


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("cover", [0.1, 0.4, 0.8])
def test_cumulus_covers_its_share_and_is_white(cover):
    image, cloud = cumulus(ground(), rng(), cover)
    assert image.dtype == np.float32
    assert cloud.mean() == pytest.approx(cover, abs=0.08)
    core = image[:3, cloud].mean()
    assert core > 0.35
    assert np.ptp(image[:3, cloud].mean(axis=1)) < 0.05  # white
    assert image[:3, ~cloud].mean() < core / 2


def test_clouds_throw_their_shadows_where_they_are_told():
    before = ground()
    image, cloud = cumulus(before, rng(3), 0.2, shadow_px=(9.0, -6.0))
    where = np.zeros_like(cloud)
    where[:-6, 9:] = cloud[6:, :-9]
    shaded = where & ~cloud
    lit = ~where & ~cloud
    ratio = image / before
    assert ratio[:, shaded].mean() < 0.8
    assert np.median(ratio[:, lit]) == pytest.approx(1.0, abs=0.02)
    assert ratio[3, shaded].mean() < ratio[0, shaded].mean()  # skylight is blue


def test_a_veil_brightens_and_flattens():
    before = ground()
    thin, thick = cirrus(before, rng(), 0.05), cirrus(before, rng(), 0.3)
    assert before.mean() < thin.mean() < thick.mean()
    assert (thick <= 1.0).all()
    # Every pixel lies between the ground and the veil's own light.
    assert (thin >= before - 1e-6).all()
    none = cirrus(before, rng(), 0.0)
    assert none == pytest.approx(before, abs=1e-6)


def test_shadows_without_their_clouds_only_darken():
    before = ground()
    image = shadow_only(before, rng(), 0.4)
    assert (image <= before + 1e-6).all()
    assert (image < 0.8 * before).all(axis=0).mean() == pytest.approx(0.35, abs=0.12)


def test_equal_seeds_give_equal_clouds():
    one, mask = cumulus(ground(), rng(4), 0.3)
    two, again = cumulus(ground(), rng(4), 0.3)
    assert np.array_equal(one, two)
    assert np.array_equal(mask, again)
    assert not np.array_equal(one, cumulus(ground(), rng(5), 0.3)[0])
