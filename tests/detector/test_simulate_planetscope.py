"""Simulated PlanetScope scenes: the yard of the 10 m renderer on finer pixels, in real product form."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from detector.simulators.procedural.yards import random_yard
from detector.simulators.sentinel2.planetscope import PIXEL_M, conditions_of, render_fine, write_scene
from detector.simulators.sentinel2.renderer import CoarseYard
from geo.grid import Grid
from geo.sentinel2.constellation import PLANETSCOPE
from geo.sentinel2.formats.find import find_products

WHEN = dt.datetime(2023, 6, 1, 2, 10, 1, tzinfo=dt.UTC)
CORNER = Affine(10, 0, 500_000, 0, -10, 4_700_000)


@pytest.fixture(scope="module")
def yard() -> CoarseYard:
    rng = np.random.default_rng(5)
    return CoarseYard.random(random_yard(rng, "train", ground_m=60.0, length_m=500.0), rng)


def test_a_scene_is_read_as_sentinel2_would_have_seen_it(tmp_path: Path, yard: CoarseYard) -> None:
    """Averaged to 10 m cells a scene is what the 10 m renderer draws with the spread of both together."""
    sky = conditions_of(np.random.default_rng(1), yard.parameters, WHEN)
    sky = replace(sky, noise=0.0, shift_m=(0.0, 0.0), band_shift_m=((0.0, 0.0),) * 4, fwhm_m=(6.5,) * 4)
    image = render_fine(yard, (), sky)
    fine = Affine(PIXEL_M, 0, CORNER.c, 0, -PIXEL_M, CORNER.f)
    write_scene(tmp_path, image, fine, CRS.from_epsg(32652), sky, satellite="24a1")
    (product,), refusals = find_products([tmp_path])
    assert refusals == []
    assert product.platform == "simulated PlanetScope 24a1"
    chip = product.read(Grid(yard.lattice.shape, CORNER, CRS.from_epsg(32652)))
    spread = float(np.hypot(6.5, PLANETSCOPE.spread_m))
    expected = yard.render((), replace(sky, fwhm_m=(spread,) * 4))
    inner = (slice(None), slice(4, -4), slice(4, -4))
    known = np.isfinite(chip.reflectance[inner]) & np.isfinite(expected[inner])
    error = (chip.reflectance - expected)[inner][known]
    assert known.mean() > 0.2
    assert np.sqrt(np.mean(error**2)) < 0.1 * np.std(expected[inner][known])


def test_satellites_differ_in_hour_and_colours(yard: CoarseYard) -> None:
    rng = np.random.default_rng(2)
    skies = [conditions_of(rng, yard.parameters, WHEN) for _ in range(40)]
    assert np.std([one.sun_azimuth_deg for one in skies]) > 5.0
    assert np.std([one.gain[0] / one.gain[3] for one in skies]) > 0.02
    assert all(4.0 < fwhm < 9.5 for one in skies for fwhm in one.fwhm_m)


@pytest.mark.parametrize(("hidden", "meaning"), [("veil", 10), ("clear", 5)])
def test_the_mask_says_what_hides(tmp_path: Path, yard: CoarseYard, hidden: str, meaning: int) -> None:
    sky = conditions_of(np.random.default_rng(3), yard.parameters, WHEN)
    image = render_fine(yard, (), sky)
    fine = Affine(PIXEL_M, 0, CORNER.c, 0, -PIXEL_M, CORNER.f)
    write_scene(tmp_path, image, fine, CRS.from_epsg(32652), sky, hidden=hidden, eight=True)
    ((product,), _) = find_products([tmp_path])
    scl = product.read(Grid(yard.lattice.shape, CORNER, CRS.from_epsg(32652))).scl
    assert scl is not None
    assert set(np.unique(scl)) <= {0, meaning}
