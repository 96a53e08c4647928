"""Whether a yard is clear on a date: no cloudy or snowy date answered, no clear one thrown away."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from clear_scenes import BANDS, CLOUD, FROST, RUST, SHAPE, SNOW, WHITE, Place, blobs, texture
from numpy.typing import NDArray

from geo.sentinel2.clear_sky import ClearSkyAssessment, ClearSkyThresholds, assess

SEEDS = range(6)


def judge(
    place: Place, planes: NDArray[Any], *, green: float = 0.5, alone: bool = False, **more: Any
) -> ClearSkyAssessment:
    """A date against the place's past."""
    background, spread = (None, None) if alone else place.past(green=green)
    values: dict[str, Any] = {"background": background, "spread": spread, "scl": None} | more
    scl = values.pop("scl")
    bands = values.pop("bands", BANDS)
    if len(bands) == 4 and background is not None:
        values |= {"background": background[:4], "spread": spread[:4] if spread is not None else None}
    return assess(bands, planes[: len(bands)], scl, place.inside, place.ring, **values)


def under(planes: NDArray[Any], opacity: NDArray[Any], spectrum: NDArray[Any] = CLOUD) -> NDArray[Any]:
    return planes * (1 - opacity) + spectrum[:, None, None] * opacity


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("day", "haze"),
    [
        ({}, 0.0),
        ({"fill": 0.0}, 0.0),
        ({"fill": 1.0, "wagon": WHITE}, 0.0),
        ({"fill": 1.0, "wagon": np.full(5, 0.03, np.float32)}, 0.0),
        ({"wet": 0.4}, 0.0),
        ({"green": 0.0}, 0.0),
        ({"green": 1.0}, 0.0),
        ({"stubble": 0.7}, 0.0),
        ({}, 0.04),
    ],
    ids=["usual", "empty", "white wagons", "black wagons", "wet", "bare", "grown", "harvest", "haze"],
)
def test_clear_dates_are_kept(seed: int, day: dict[str, Any], haze: float) -> None:
    place = Place(seed, azimuth_deg=30.0 * seed)
    rng = np.random.default_rng([seed, 2])
    planes = place.seen(rng, place.day(rng, **day), haze)
    for more in ({}, {"scl": place.scl(planes)}, {"alone": True}, {"alone": True, "scl": place.scl(planes)}):
        found = judge(place, planes, **more)
        assert found.reason is None
        assert found.clear_fraction > 0.9
        assert found.ring_cloud_fraction < 0.1
        assert found.snow_fraction < 0.05


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("said", ["right", "wrong", "nothing"])
@pytest.mark.parametrize("alone", [False, True], ids=["with a past", "without"])
def test_clouds_are_refused(seed: int, said: str, alone: bool) -> None:
    place = Place(seed, azimuth_deg=30.0 * seed)
    rng = np.random.default_rng([seed, 3])
    opacity = blobs(rng, rng.uniform(0.4, 0.9), rng.uniform(6, 20), rng.uniform(1, 4))
    planes = place.seen(rng, under(place.day(rng), opacity))
    scl = None if said == "nothing" else place.scl(place.day(rng))
    if scl is not None and said == "right":
        scl[opacity > 0.3] = 9
    found = judge(place, planes, scl=scl, alone=alone)
    assert found.reason is not None
    assert "loud" in found.reason
    assert found.reason.endswith(".")
    assert found.cloud[opacity > 0.6].mean() > 0.9
    assert found.usable[opacity > 0.6].mean() < 0.05


@pytest.mark.parametrize("seed", SEEDS)
def test_thin_cloud_shows_against_the_past(seed: int) -> None:
    place = Place(seed)
    rng = np.random.default_rng([seed, 4])
    opacity = 0.25 * blobs(rng, 0.5, 14, 4)
    found = judge(place, place.seen(rng, under(place.day(rng), opacity)))
    assert found.reason is not None
    assert found.cloud[opacity > 0.2].mean() > 0.7


@pytest.mark.parametrize("seed", SEEDS)
def test_a_cloud_is_carried_on_over_the_yard(seed: int) -> None:
    # White wagons and cloud alike are bright; the cloud lies on both sides of the yard as well.
    place = Place(seed, azimuth_deg=25.0 * seed)
    rng = np.random.default_rng([seed, 5])
    opacity = np.clip(0.9 - np.abs(place.along - 15) / 40, 0, 0.9)
    found = judge(place, place.seen(rng, under(place.day(rng, fill=1.0, wagon=RUST), opacity)))
    assert found.cloud[place.inside & (np.abs(place.along - 15) < 20)].mean() > 0.95
    assert found.reason is not None


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("depth", [0.5, 0.7])
def test_shadow_without_its_cloud(seed: int, depth: float) -> None:
    place = Place(seed, azimuth_deg=30.0 * seed)
    rng = np.random.default_rng([seed, 6])
    shade = np.clip((25 - np.abs(place.along)) / 3 + 0.5, 0, 1)
    sky = np.array([0.8, 0.9, 0.95, 1.0, 1.0])[:, None, None]
    found = judge(place, place.seen(rng, place.day(rng) * (1 - depth * shade * sky)))
    assert found.reason is not None
    assert found.shadow[place.inside & (shade == 1)].mean() > 0.9
    assert found.cloud.mean() < 0.02


@pytest.mark.parametrize("seed", SEEDS)
def test_shadow_over_everything(seed: int) -> None:
    place = Place(seed)
    rng = np.random.default_rng([seed, 7])
    found = judge(place, place.seen(rng, place.day(rng) * 0.4))
    assert found.reason is not None
    assert "shadow" in found.reason


def test_shadow_that_only_the_classification_knows() -> None:
    place = Place(0)
    rng = np.random.default_rng(8)
    planes = place.seen(rng, place.day(rng, green=0.7) * 0.68)
    scl = np.full(SHAPE, 3, np.uint8)
    assert judge(place, planes, green=0.7).reason is None
    assert judge(place, planes, green=0.7, scl=scl).reason is not None
    assert judge(place, planes, scl=scl, alone=True).reason is not None
    # Said of a date that is as bright as ever, it isn't believed.
    assert judge(place, place.seen(rng, place.day(rng)), scl=scl).reason is None


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("spectrum", "cover"),
    [(SNOW, 1.0), (SNOW, 0.85), (SNOW, 0.35), (FROST, 1.0)],
    ids=["snow", "most", "melting", "frost"],
)
def test_snow_is_refused(seed: int, spectrum: NDArray[Any], cover: float) -> None:
    place = Place(seed)
    rng = np.random.default_rng([seed, 9])
    lying = 0.9 * (np.ones(SHAPE) if cover == 1 else blobs(rng, cover, 2.5, 0.7))
    planes = place.seen(rng, under(place.day(rng, green=0.1), lying, spectrum))
    for bands in (BANDS, BANDS[:4]):
        found = judge(place, planes, green=0.1, bands=bands)
        assert found.reason is not None
        assert found.usable.mean() < 1.1 - 0.8 * cover
        if spectrum is SNOW and (len(bands) == 5 or cover > 0.5):
            assert "Snow lies on" in found.reason
            assert found.snow_fraction > 0.8 * cover
    if spectrum is SNOW:
        assert judge(place, planes, alone=True).reason is not None


def test_little_snow_is_marked_and_said_by_the_classification_alone() -> None:
    place = Place(1)
    rng = np.random.default_rng(10)
    planes = place.seen(rng, under(place.day(rng, green=0.1), 0.3 * np.ones(SHAPE), SNOW))[:4]
    scl = np.full(SHAPE, 5, np.uint8)
    scl[:20] = 11
    found = judge(place, planes, green=0.1, scl=scl, bands=BANDS[:4], alone=True)
    assert found.snow[:20].all()
    assert found.reason is not None
    assert found.reason.startswith("Snow lies on 2")
    # Called snow but no brighter than ever: roofs and salt.
    clear = place.seen(rng, place.day(rng))
    assert judge(place, clear, scl=scl).snow.mean() < 0.01


def test_gaps_count_against_the_area_and_not_against_the_sky() -> None:
    place = Place(2)
    rng = np.random.default_rng(11)
    planes = place.seen(rng, place.day(rng))
    planes[:, :, :60] = np.nan
    found = judge(place, planes)
    assert found.reason is not None
    assert "has data" in found.reason
    assert not found.usable[:, :60].any()
    assert found.ring_cloud_fraction < 0.1
    planes[:, :, :] = np.nan
    found = judge(place, planes)
    assert (found.clear_fraction, found.ring_cloud_fraction, found.snow_fraction) == (0.0, 0.0, 0.0)
    assert found.reason == "Only 0% of the area has data on this date."


def test_no_data_and_saturation_in_the_classification_and_in_the_numbers() -> None:
    place = Place(3)
    rng = np.random.default_rng(12)
    planes = place.seen(rng, place.day(rng))
    scl = np.full(SHAPE, 5, np.uint8)
    scl[0], scl[1], planes[2, 2] = 0, 1, 6.5
    found = judge(place, planes, scl=scl)
    assert not found.usable[:3].any()
    assert found.usable[3:].mean() > 0.95
    assert found.reason is None


def test_low_sun() -> None:
    place = Place(4)
    rng = np.random.default_rng(13)
    planes = place.seen(rng, place.day(rng))
    assert judge(place, planes, sun_elevation_deg=23.0).reason is None
    low = judge(place, planes, sun_elevation_deg=9.5).reason
    assert low is not None
    assert low.startswith("The sun stands 9.5 degrees above the horizon")
    assert (
        judge(place, planes, sun_elevation_deg=9.5, rules=ClearSkyThresholds(min_sun_elevation_deg=9)).reason
        is None
    )


def test_haze_is_measured_and_refused_when_it_hides() -> None:
    place = Place(5)
    rng = np.random.default_rng(14)
    day = place.day(rng)
    clear, light = (judge(place, place.seen(rng, day, haze)) for haze in (0.0, 0.04))
    assert light.haze - clear.haze == pytest.approx(0.04, abs=0.015)
    assert clear.contrast == pytest.approx(1.0, abs=0.15)
    veil = judge(
        place, place.seen(rng, under(day, np.full(SHAPE, 0.2))), rules=ClearSkyThresholds(min_contrast=0.9)
    )
    assert clear.contrast is not None
    assert veil.contrast is not None
    assert veil.contrast == pytest.approx(0.8 * clear.contrast, abs=0.1)
    assert veil.reason is not None
    assert "of the contrast" in veil.reason or "Cloud" in veil.reason
    assert judge(place, place.seen(rng, under(day, np.full(SHAPE, 0.7)))).reason is not None


def test_top_of_atmosphere_among_surface_reflectance() -> None:
    place = Place(6)
    rng = np.random.default_rng(15)
    air = np.array([0.075, 0.04, 0.02, 0.008, 0.002])[:, None, None]
    planes = place.seen(rng, 0.93 * place.day(rng) + air)
    for more in ({}, {"alone": True}):
        assert judge(place, planes, **more).reason is None
    cloudy = place.seen(rng, 0.93 * under(place.day(rng), blobs(rng, 0.6, 12)) + air)
    for more in ({}, {"alone": True}):
        assert judge(place, cloudy, **more).reason is not None


@pytest.mark.parametrize("seed", SEEDS)
def test_shadow_under_the_light_of_the_air_is_no_water(seed: int) -> None:
    # At the top of the atmosphere shadow is dark in the infrared and bluish, as water is.
    place = Place(seed)
    rng = np.random.default_rng([seed, 21])
    air = np.array([0.075, 0.04, 0.02, 0.008, 0.002])[:, None, None]
    shade = np.clip((25 - np.abs(place.along)) / 3 + 0.5, 0, 1)
    planes = place.seen(rng, 0.93 * place.day(rng, green=0.0) * (1 - 0.75 * shade) + air)
    background, spread = place.past(green=0.0)
    found = judge(place, planes, background=0.93 * background + air, spread=spread)
    assert found.shadow[place.ring & (shade == 1)].mean() > 0.8
    assert found.reason is not None


def test_the_grid_may_lie_any_way_and_the_bands_too() -> None:
    place = Place(7)
    rng = np.random.default_rng(16)
    opacity = blobs(rng, 0.2, 10)
    planes = place.seen(rng, under(place.day(rng), opacity))
    background, spread = place.past()
    one = assess(BANDS, planes, None, place.inside, place.ring, background=background, spread=spread)
    order = [4, 2, 0, 3, 1]

    def turned(stack: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(np.rot90(stack, axes=(-2, -1)))

    other = assess(
        tuple(BANDS[i] for i in order),
        turned(planes[order]),
        None,
        turned(place.inside),
        turned(place.ring),
        background=turned(background[order]),
        spread=turned(spread[order]),
    )
    assert (turned(one.cloud) != other.cloud).mean() < 0.002
    assert (turned(one.usable) != other.usable).mean() < 0.002
    assert one.clear_fraction == pytest.approx(other.clear_fraction, abs=0.01)


def test_backgrounds_with_gaps_and_without_the_infrared() -> None:
    place = Place(8)
    rng = np.random.default_rng(17)
    background, spread = place.past()
    background[4:], spread[4:] = np.nan, np.nan
    background[:, 30:40, 20:50] = np.nan
    clear = place.seen(rng, place.day(rng))
    cloudy = place.seen(rng, under(place.day(rng), blobs(rng, 0.7, 12)))
    assert judge(place, clear, background=background, spread=spread).reason is None
    assert judge(place, cloudy, background=background, spread=spread).reason is not None
    background[:] = np.nan
    assert judge(place, clear, background=background, spread=None).reason is None
    assert judge(place, cloudy, background=background, spread=None).reason is not None


def test_an_area_that_fills_the_picture_is_judged_by_itself() -> None:
    place = Place(9)
    rng = np.random.default_rng(18)
    place.inside, place.ring = np.ones(SHAPE, bool), np.zeros(SHAPE, bool)
    assert judge(place, place.seen(rng, place.day(rng))).reason is None
    assert judge(place, place.seen(rng, under(place.day(rng), blobs(rng, 0.7, 12)))).reason is not None


def test_rules_can_be_set() -> None:
    place = Place(10)
    rng = np.random.default_rng(19)
    opacity = 0.9 * (np.hypot(place.along + 55, place.across) < 25)
    planes = place.seen(rng, under(place.day(rng), opacity))
    found = judge(place, planes)
    share = found.ring_cloud_fraction
    assert found.reason is None
    assert 0.03 < share < 0.25
    strict = judge(place, planes, rules=ClearSkyThresholds(max_ring_cloud_fraction=0.5 * share))
    assert strict.reason == f"Cloud or snow covers {100 * share:.0f}% of the ground around the area."
    wide = judge(place, planes, rules=ClearSkyThresholds(buffer_m=100))
    assert wide.usable.sum() < found.usable.sum()


def test_wet_patches_are_no_shadow() -> None:
    for seed in SEEDS:
        place = Place(seed)
        rng = np.random.default_rng([seed, 20])
        patch = np.clip(0.21 + 0.12 * texture(rng, 10), 0, 0.42)
        found = judge(place, place.seen(rng, place.day(rng, green=0.1) * (1 - patch)), green=0.1)
        assert found.reason is None
        assert found.clear_fraction > 0.9


def test_misuse_is_told() -> None:
    planes = np.zeros((4, 5, 6), np.float32)
    mask = np.ones((5, 6), bool)
    with pytest.raises(ValueError, match="the bands B08 are missing"):
        assess(BANDS[:3], planes[:3], None, mask, mask)
    with pytest.raises(ValueError, match="background has the shape"):
        assess(BANDS[:4], planes, None, mask, mask, background=planes[:3])
    with pytest.raises(ValueError, match=r"must have the shape \(5, 6\)"):
        assess(BANDS[:4], planes, np.zeros((2, 2), np.uint8), mask, mask)
    with pytest.raises(ValueError, match="no pixel is inside"):
        assess(BANDS[:4], planes, None, ~mask, mask)
