"""Laying dates over each other: displacements and light that are known are found again."""

from __future__ import annotations

import math

import numpy as np
import pytest
from dated_ground import SHAPE, ground, site, with_wagons
from hypothesis import given, settings
from hypothesis import strategies as st

from geo.sentinel2.coregistration import Registration, register
from geo.sentinel2.site import Site, TrackAlignedBands

SITE = site()
STABLE = ~SITE.yard
TENTH_OF_A_PIXEL_M = 1.0


def reference(image=None):
    return TrackAlignedBands.of(ground(1) if image is None else image).sample(SITE.frame)[0]


def noisy(image, seed=0, sd=0.002):
    return (image + np.random.default_rng(seed).standard_normal(image.shape) * sd).astype(np.float32)


def off_m(found: Registration, shift_px: tuple[float, float]) -> float:
    return math.hypot(found.dx_m - 10 * shift_px[0], found.dy_m - 10 * shift_px[1])


@given(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5), st.integers(0, 99))
@settings(max_examples=8)
def test_known_displacements_are_found(dx, dy, seed):
    found = register(TrackAlignedBands.of(noisy(ground(1, (dx, dy)), seed)), SITE.frame, reference(), STABLE)
    assert found.converged
    assert off_m(found, (dx, dy)) < TENTH_OF_A_PIXEL_M
    assert found.residual_m < 2
    assert found.gain == pytest.approx((1,) * 4, abs=0.05)


@pytest.mark.parametrize("angle", [0.0, 33.0, 120.0])
def test_in_any_frame(angle):
    import shapely

    from geo.sentinel2.site import draw_polygon, draw_tracks, frame_of

    outline = shapely.affinity.rotate(shapely.box(36, 34, 68, 40), angle, origin=(52, 37))
    line = shapely.affinity.rotate(shapely.LineString([(37, 37), (67, 37)]), angle, origin=(52, 37))
    frame = frame_of(outline, [line])
    one = Site("x", SITE.grid, frame, draw_polygon(outline, frame), draw_tracks([line], frame), True)
    planes = TrackAlignedBands.of(noisy(ground(1, (0.8, -0.6))))
    found = register(planes, frame, TrackAlignedBands.of(ground(1)).sample(frame)[0], ~one.yard)
    assert found.converged
    assert off_m(found, (0.8, -0.6)) < TENTH_OF_A_PIXEL_M


def test_gain_and_offset_of_each_band_are_found_and_taken_out():
    gain, offset = np.array([0.9, 1.1, 1.05, 0.95]), np.array([0.02, -0.01, 0.0, 0.015])
    image = ground(1, (0.3, 0.4)) * gain[:, None, None] + offset[:, None, None]
    found = register(
        TrackAlignedBands.of(noisy(image.astype(np.float32), sd=0.001)), SITE.frame, reference(), STABLE
    )
    assert found.converged
    assert off_m(found, (0.3, 0.4)) < TENTH_OF_A_PIXEL_M
    assert found.gain == pytest.approx(gain, abs=0.04)
    values, known = TrackAlignedBands.of(image.astype(np.float32)).sample(
        SITE.frame, found.dx_m / 10, found.dy_m / 10
    )
    rest = (found.level(values) - reference())[:, known]
    assert np.abs(np.median(rest, axis=1)).max() < 0.002
    assert rest.std() < 0.004


def test_bands_that_lie_beside_each_other_are_laid_over_each_other():
    beside = [(0.12, 0.0), (-0.1, 0.08), (0.0, -0.12), (0.05, 0.05)]
    image = np.stack([ground(1, (0.4 + x, -0.3 + y))[b] for b, (x, y) in enumerate(beside)])
    found = register(TrackAlignedBands.of(noisy(image)), SITE.frame, reference(), STABLE)
    assert found.converged
    for (x, y), (east, south) in zip(beside, found.band_shift_m, strict=True):
        away = math.hypot(found.dx_m + east - 10 * (0.4 + x), found.dy_m + south - 10 * (-0.3 + y))
        assert away < TENTH_OF_A_PIXEL_M / 2
    # What is sampled there is the composite again, and better than with one place for all.
    planes = TrackAlignedBands.of(image.astype(np.float32))
    rest = (found.level(found.sample(planes, SITE.frame)[0]) - reference())[:, STABLE]
    alike = (found.level(planes.sample(SITE.frame, *found.displacement_px())[0]) - reference())[:, STABLE]
    assert np.nanstd(rest) < 0.6 * np.nanstd(alike)


def test_wagons_that_come_and_go_dont_pull():
    before = with_wagons(ground(1), [(0, 31, 70), (2, 31, 72)])
    after = with_wagons(ground(1, (0.5, 0.2)), [(1, 33, 60)])
    found = register(TrackAlignedBands.of(noisy(after)), SITE.frame, reference(before), STABLE)
    assert found.converged
    assert off_m(found, (0.5, 0.2)) < TENTH_OF_A_PIXEL_M


def test_ground_that_changes_doesnt_pull():
    image = ground(1, (-0.6, 0.4))
    image[:, 44:50, 25:80] = image[:, 44:50, 25:80] * 0.5 + 0.2  # a strip beside the yard is built over
    found = register(TrackAlignedBands.of(noisy(image)), SITE.frame, reference(), STABLE)
    assert found.converged
    assert off_m(found, (-0.6, 0.4)) < TENTH_OF_A_PIXEL_M


def test_a_wrong_start_is_overcome():
    found = register(
        TrackAlignedBands.of(noisy(ground(1, (1.8, -1.2)))),
        SITE.frame,
        reference(),
        STABLE,
        start_m=(5.0, 5.0),
    )
    assert found.converged
    assert off_m(found, (1.8, -1.2)) < TENTH_OF_A_PIXEL_M


def test_ground_without_features_gives_no_place():
    flat = noisy(np.full((4, *SHAPE), 0.15, np.float32))
    other = noisy(np.full((4, *SHAPE), 0.15, np.float32), seed=1)
    found = register(TrackAlignedBands.of(flat), SITE.frame, reference(other), STABLE)
    assert not found.converged or found.residual_m > 2
    clean = np.full((4, *SHAPE), 0.15, np.float32)
    assert not register(TrackAlignedBands.of(clean), SITE.frame, reference(clean), STABLE).converged


def test_another_place_gives_no_place():
    found = register(TrackAlignedBands.of(noisy(ground(8))), SITE.frame, reference(), STABLE)
    assert not found.converged or found.residual_m > 2


def test_too_little_ground_gives_no_place():
    few = np.zeros_like(STABLE)
    few[:10, :10] = True
    found = register(TrackAlignedBands.of(ground(1)), SITE.frame, reference(), few)
    assert not found.converged
    assert math.isinf(found.residual_m)


def test_the_first_date_is_its_own_measure():
    first = Registration.first(4)
    values = ground(2)
    assert first.converged
    assert (first.level(values) == values).all()


def test_more_ground_makes_a_place_surer():
    wide = SITE.surroundings
    assert wide.shape == tuple(n + 2 * SITE.rim for n in SITE.frame.shape)
    # The yard's own cells are a window of it.
    assert wide.centres()[:, *SITE.core] == pytest.approx(SITE.frame.centres())
    planes = TrackAlignedBands.of(noisy(ground(1, (0.3, 0.2), contrast=0.3), sd=0.01))
    composite = TrackAlignedBands.of(ground(1, contrast=0.3)).sample(wide)[0]
    near = register(planes, SITE.frame, composite[:, *SITE.core], STABLE)
    far = register(planes, wide, composite, SITE.around(STABLE, fill=True))
    assert near.converged
    assert far.converged
    assert far.residual_m < near.residual_m
    assert off_m(far, (0.3, 0.2)) < 2 * far.residual_m


def test_where_the_ground_shows_little_the_products_geolocation_is_what_is_known():
    planes = TrackAlignedBands.of(noisy(ground(1, (0.2, 0.1), contrast=0.02), sd=0.01))
    composite = TrackAlignedBands.of(ground(1, contrast=0.02)).sample(SITE.frame)[0]
    for prior_sd_m in (2.0, 4.0):
        found = register(planes, SITE.frame, composite, STABLE, prior_sd_m=prior_sd_m)
        assert not found.converged or found.residual_m <= 2**0.5 * prior_sd_m
