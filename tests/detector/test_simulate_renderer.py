"""The 10 m renderer: energy, places, shadows and the point spread are those that were asked for."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.simulators.procedural import layout
from detector.simulators.procedural.spec import Consist, SceneSpec, Surface, Wagon
from detector.simulators.procedural.yards import Yard, random_yard
from detector.simulators.sentinel2.renderer import (
    BANDS,
    CELL_M,
    AcquisitionConditions,
    CoarseYard,
    Ground,
    SiteParameters,
    lattice_over,
    on_picture,
    random_sky,
    roof_spectrum,
    sun_at,
)
from geo.ground_metric import apply_affine

SIZE_M = (400.0, 300.0)
BARE = (0.10, 0.12, 0.14, 0.18)
WHEN = dt.datetime(2023, 6, 1, 2, tzinfo=dt.UTC)
HIGH = 89.9
STILL = SiteParameters(45.0, 2.0, (11.0, 11.5, 12.0, 13.5), climate=0.0, change=0.0, patchiness=0.0)


def plain(turn_deg: float = 0.0, bare=BARE, offset_m=(3.0, 4.0)) -> CoarseYard:
    """A yard of bare even ground, its lattice turned."""
    spec = SceneSpec("yard", "test", 1, SIZE_M, Surface(("soil",)))
    mix = layout.random_mix(np.random.default_rng(0), (0.1, 0.1, 0.1), 0.0)
    shape = round(SIZE_M[1] / CELL_M), round(SIZE_M[0] / CELL_M)
    empty = np.zeros(shape, np.float32)
    level = np.broadcast_to(np.asarray(bare, np.float32)[:, None, None], (4, *shape)).copy()
    ground = Ground(level, empty, empty, empty, empty, ())
    return CoarseYard(
        Yard(spec, (), mix, "test", 190.0), STILL, ground, lattice_over(SIZE_M, turn_deg, offset_m)
    )


def sky(**changes) -> AcquisitionConditions:
    values = {
        "when": WHEN,
        "sun_azimuth_deg": 150.0,
        "sun_elevation_deg": HIGH,
        "wet": 0.0,
        "gain": (1.0,) * 4,
        "haze": (0.0,) * 4,
        "shift_m": (0.0, 0.0),
        "band_shift_m": ((0.0, 0.0),) * 4,
        "fwhm_m": STILL.fwhm_m,
        "snow": 0.0,
        "seed": 5,
    }
    return AcquisitionConditions(**(values | changes))


def wagon(x_m=200.0, y_m=150.0, angle_deg=0.0, **changes) -> Wagon:
    values = {
        "type": "box",
        "category": 0,
        "length_m": 14.0,
        "width_m": 3.0,
        "height_m": 4.0,
        "colour": (0.5, 0.45, 0.4),
        "material": "grey",
        "load": "none",
        "load_colour": (0.5, 0.5, 0.5),
        "style": 0,
        "seed": 3,
    }
    return Wagon(x_m=x_m, y_m=y_m, angle_deg=angle_deg, **(values | changes))


def change(yard: CoarseYard, wagons: list[Wagon], seen: AcquisitionConditions) -> np.ndarray:
    """What wagons change in an image, (4, rows, columns)."""
    full = yard.render((Consist(0, tuple(wagons)),), seen)
    return np.nan_to_num(full - yard.render((), seen)).astype(np.float64)


def centre(plane: np.ndarray) -> tuple[float, float]:
    """Centroid in pixels, corner origin; of a piece in the middle, away from noise."""
    rows, columns = np.mgrid[: plane.shape[0], : plane.shape[1]] + 0.5
    return float((plane * columns).sum() / plane.sum()), float((plane * rows).sum() / plane.sum())


@pytest.mark.parametrize("turn", [0.0, 37.0, -140.0])
@pytest.mark.parametrize("angle", [0.0, 25.0])
def test_a_roof_integrates_to_its_area_times_its_contrast(turn, angle):
    yard, one = plain(turn), wagon(angle_deg=angle)
    total = change(yard, [one], sky()).sum(axis=(1, 2)) * 100.0
    expected = 14.0 * 3.0 * (roof_spectrum(one) - np.array(BARE))
    assert total == pytest.approx(expected, rel=0.04, abs=0.3)
    many = [wagon(120.0 + 14.5 * k) for k in range(10)]
    total = change(yard, many, sky()).sum(axis=(1, 2)) * 100.0
    assert total == pytest.approx(10 * 14.0 * 3.0 * (roof_spectrum(one) - np.array(BARE)), rel=0.04, abs=1.0)


@pytest.mark.parametrize("turn", [0.0, 62.0, -110.0])
def test_a_wagon_shows_where_it_stands_and_moves_with_the_image(turn):
    yard = plain(turn)
    expected = apply_affine(~yard.lattice.transform, [(200.0, 150.0)])[0]
    still = change(yard, [wagon()], sky())
    moved = change(yard, [wagon()], sky(shift_m=(7.0, -4.0)))
    for band in range(4):
        assert centre(still[band]) == pytest.approx(expected, abs=0.1)
        # Displaced to the east and north, whichever way the scene lies.
        assert centre(moved[band]) == pytest.approx(expected + np.array([0.7, -0.4]), abs=0.1)
    bands = change(yard, [wagon()], sky(band_shift_m=((3.0, 0.0), (0.0, 0.0), (0.0, 0.0), (0.0, 3.0))))
    assert centre(bands[0]) == pytest.approx(expected + np.array([0.3, 0.0]), abs=0.1)
    assert centre(bands[3]) == pytest.approx(expected + np.array([0.0, 0.3]), abs=0.1)


def test_each_band_has_its_own_point_spread():
    widths = (8.0, 11.0, 14.0, 17.0)
    yard = plain()
    bright = wagon(colour=(0.9, 0.9, 0.9), length_m=12.0, width_m=12.0)
    found = change(yard, [bright], sky(fwhm_m=widths))
    rows, columns = np.mgrid[: found.shape[1], : found.shape[2]] + 0.5
    variance = []
    for plane in found:
        x, y = centre(plane)
        near = (np.hypot(columns - x, rows - y) < 4.5) * plane
        variance.append(float((near * (columns - x) ** 2).sum() / near.sum()))
    sigma = np.array(widths) / 2.3548 / 10.0
    grown = np.array(variance) - variance[0]
    assert grown == pytest.approx(sigma**2 - sigma[0] ** 2, rel=0.15, abs=0.01)


@given(st.floats(-180, 180), st.floats(90, 270))
@settings(max_examples=6)
def test_shadows_fall_away_from_the_sun(turn, azimuth):
    one = wagon(height_m=6.0)
    yard = plain(turn, bare=tuple(float(v) for v in roof_spectrum(one)))  # only the shadow shows
    seen = sky(sun_azimuth_deg=azimuth, sun_elevation_deg=30.0)
    dark = -change(yard, [one], seen)
    x, y = np.array(centre(dark[2])) - apply_affine(~yard.lattice.transform, [(200.0, 150.0)])[0]
    away = math.radians(azimuth + 180.0)
    assert math.hypot(x, y) > 0.2
    # East is right and north is up in the image: the bearing of the shadow.
    off = (math.degrees(math.atan2(x, -y)) - math.degrees(away) + 180) % 360 - 180
    assert abs(off) < 8
    assert dark[2].sum() > 0.03


def test_a_low_sun_throws_long_shadows_and_a_high_one_none():
    one = wagon()
    yard = plain(bare=tuple(float(v) for v in roof_spectrum(one)))
    sums = [-change(yard, [one], sky(sun_elevation_deg=e))[2].sum() for e in (HIGH, 60.0, 30.0, 15.0)]
    assert abs(sums[0]) < 0.005
    assert sums == sorted(sums)
    # Twice as long a shadow is twice as dark an image, but for what lies under the wagon itself.
    assert sums[3] == pytest.approx(
        sums[2] * math.tan(math.radians(30)) / math.tan(math.radians(15)), rel=0.25
    )


def test_equal_seeds_give_equal_images():
    yard = plain()
    first, second = yard.render((), sky()), yard.render((), sky())
    assert np.array_equal(first, second, equal_nan=True)
    other = yard.render((), sky(seed=6))
    assert not np.array_equal(first, other, equal_nan=True)
    level = np.nanmean(first, axis=(1, 2))
    assert level == pytest.approx(BARE, abs=0.006)
    noise = np.nanstd(first - other, axis=(1, 2)) / math.sqrt(2)
    assert (noise > 0.001).all()
    assert (noise < 0.006).all()
    assert np.nanmax(np.abs(first * 1e4 - np.round(first * 1e4))) < 1e-2  # steps of a ten-thousandth


def test_gain_and_haze_are_the_dates_own():
    yard = plain()
    clear, hazy = yard.render((), sky()), yard.render((), sky(gain=(0.9,) * 4, haze=(0.03, 0.02, 0.01, 0.0)))
    expected = 0.9 * np.nanmean(clear, axis=(1, 2)) + (0.03, 0.02, 0.01, 0.0)
    assert np.nanmean(hazy, axis=(1, 2)) == pytest.approx(expected, abs=0.004)


@given(st.floats(-180, 180), st.floats(0, 9.9), st.floats(0, 9.9))
@settings(max_examples=20)
def test_a_lattice_covers_its_scene(turn, x, y):
    lattice = lattice_over(SIZE_M, turn, (x, y))
    corners = apply_affine(~lattice.transform, [(0, 0), (SIZE_M[0], 0), (0, SIZE_M[1]), SIZE_M])
    assert corners.min() >= -1e-6
    assert (corners.max(axis=0) <= np.array(lattice.shape[::-1]) + 1e-6).all()
    assert lattice.transform.determinant == pytest.approx(100.0)
    assert (lattice.turn_deg - turn + 180) % 360 - 180 == pytest.approx(0.0, abs=1e-6)


def test_outside_the_scene_nothing_is_known():
    yard = plain(45.0)
    image = yard.render((), sky())
    assert image.shape == (4, *yard.lattice.shape)
    known = np.isfinite(image).all(axis=0)
    assert not known[0, 0]
    assert known.sum() * 100 == pytest.approx(SIZE_M[0] * SIZE_M[1], rel=0.15)


def test_loads_and_paints_decide_what_a_roof_reflects():
    dark, light = wagon(colour=(0.05, 0.05, 0.05)), wagon(colour=(0.7, 0.7, 0.7))
    assert (roof_spectrum(light) > roof_spectrum(dark)).all()
    assert (roof_spectrum(dark) == roof_spectrum(replace(dark, x_m=1.0))).all()  # its own, wherever it stands
    red = roof_spectrum(wagon(colour=(0.6, 0.1, 0.1)))
    assert red[2] > 1.5 * red[0]
    full = roof_spectrum(wagon(type="gondola", load="coal", load_colour=(0.04, 0.04, 0.04)))
    assert full[:3].mean() < 0.2


def test_snow_whitens_ground_and_roofs():
    yard = plain()
    white = yard.render((), sky(snow=1.0))
    assert np.nanmedian(white) > 0.6
    dark = wagon(colour=(0.05, 0.05, 0.05))
    bare, snowed = change(yard, [dark], sky()), change(yard, [dark], sky(snow=1.0))
    assert bare.shape == snowed.shape
    assert np.nanmedian(yard.render((), sky(snow=0.3))) < np.nanmedian(white)


def test_the_sun_of_the_satellites_hour():
    summer, winter = dt.datetime(2023, 6, 21, tzinfo=dt.UTC), dt.datetime(2023, 12, 21, tzinfo=dt.UTC)
    azimuth, elevation = sun_at(summer, 45.0)
    assert 120 < azimuth < 150  # the morning's south-east
    assert elevation == pytest.approx(63, abs=3)
    azimuth, elevation = sun_at(winter, 45.0)
    assert 155 < azimuth < 170
    assert elevation == pytest.approx(19, abs=3)
    assert (
        random_sky(np.random.default_rng(0), replace(STILL, latitude_deg=60.0), winter).sun_elevation_deg
        == 14
    )


def test_skies_of_a_site_keep_its_habits():
    rng = np.random.default_rng(4)
    skies = [random_sky(rng, replace(STILL, jitter_m=3.0), WHEN) for _ in range(300)]
    assert np.std([s.shift_m for s in skies]) == pytest.approx(3.0, rel=0.1)
    assert all(s.wet <= 0.15 for s in skies)
    assert np.mean([s.gain for s in skies]) == pytest.approx(1.0, abs=0.02)
    assert {len(s.gain) for s in skies} == {len(BANDS)}
    first, second = (random_sky(np.random.default_rng(8), STILL, WHEN) for _ in range(2))
    assert first == second


def test_a_drawn_yard_and_one_on_a_real_picture():
    yard = random_yard(np.random.default_rng(2), "test")
    site = CoarseYard.random(yard, np.random.default_rng(3))
    again = CoarseYard.random(yard, np.random.default_rng(3))
    assert np.array_equal(site.ground.bare, again.ground.bare)
    image = site.render((), sky())
    assert 0.01 < np.nanmedian(image) < 0.5
    assert site.scene((Consist(0, (wagon(),)),)).n_freight == 1
    picture = np.random.default_rng(1).uniform(0.3, 0.5, (4, 40, 60)).astype(np.float32)
    laid = on_picture(site.ground, yard, picture, np.random.default_rng(1))
    assert laid.bare.shape == site.ground.bare.shape
    assert 0.3 < np.median(laid.bare[:, :40]) < 0.5
    with pytest.raises(ValueError, match="20 pixels a side or more"):
        on_picture(site.ground, yard, picture[:, :10], np.random.default_rng(1))
