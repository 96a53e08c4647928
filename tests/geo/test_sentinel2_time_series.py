"""One place seen many times: what a date is compared with, and what it may not depend on."""

from __future__ import annotations

import datetime as dt
import json
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from affine import Affine
from dated_ground import SHAPE, all_clear, archive, chip, ground, site, with_wagons

from geo.sentinel2.chip import Chip, ChipOnDisk
from geo.sentinel2.clear_sky import assess
from geo.sentinel2.composite import LEAST_HISTORY
from geo.sentinel2.coregistration import PRIOR_SD_M
from geo.sentinel2.site import shadow_of_a_metre
from geo.sentinel2.time_series import BANDS, LARGEST_RESIDUAL_M, DatedImage, KnownShift, dated_images

SITE = site()
DATES = 9


@pytest.fixture(scope="module")
def chips():
    return archive(DATES)


@pytest.fixture(scope="module")
def seen(chips) -> list[DatedImage]:
    return list(dated_images(chips, SITE, judge=all_clear))


@pytest.fixture(scope="module")
def against(chips, seen):
    """Images of further dates, with what is known of those before them."""
    known = {dated.id: dated.known_shift for dated in seen}

    def image_of(*dates: Chip, judge: Any = all_clear) -> DatedImage:
        given = dated_images(
            [*chips, *dates], SITE, judge=judge, known=known, wanted=lambda one: one.id == dates[-1].id
        )
        return next(given)

    return image_of


def same(one: DatedImage, other: DatedImage) -> bool:
    def figures(dated: DatedImage):
        planes = () if dated.background is None else (dated.background.low, dated.background.median)
        return (dated.current, *planes)

    arrays = zip(figures(one), figures(other), strict=True)
    return (
        one.id == other.id
        and one.reason == other.reason
        and one.history == other.history
        and one.registration == other.registration
        and (one.sun, one.history_sun, one.warnings) == (other.sun, other.history_sun, other.warnings)
        and all((a is None and b is None) or np.array_equal(a, b, equal_nan=True) for a, b in arrays)
    )


def test_a_date_is_set_against_those_before_it(chips, seen):
    assert [dated.id for dated in seen] == [one.id for one in chips]
    for number, dated in enumerate(seen):
        assert dated.history == tuple(one.id for one in chips[:number])
        assert (dated.reason is None) == (number >= LEAST_HISTORY)
        assert dated.sun == pytest.approx(shadow_of_a_metre(SITE.frame, 150, 45))
    last = seen[-1]
    assert last.background.dates == DATES - 1
    assert last.current.shape == (4, *SITE.frame.shape) == last.background.median.shape
    assert last.history_sun == pytest.approx(last.sun)
    assert last.clear_fraction == 1.0
    # The dates of the background one by one, where it stands.
    assert [len(dated.past) for dated in seen] == list(range(DATES))
    assert all(one.sun == pytest.approx(last.sun) for one in last.past)
    middle = np.median(np.stack([one.reflectance for one in last.past]), axis=0)
    assert np.array_equal(middle, last.background.median, equal_nan=True)
    # Laid over each other and brought to one light, dates are alike but for wagons and noise.
    rest = (last.current - last.background.median)[:, SITE.ring]
    assert np.nanstd(rest) < 0.004
    assert "none" in seen[0].reason
    assert "there is 1" in seen[1].reason
    assert f"{LEAST_HISTORY} are needed, there are 3" in seen[3].reason


def test_wagons_show_where_they_stand():
    dates = [*archive(7)[:6], chip(6, with_wagons(ground(1), [(1, 36.0, 60.0)]))]
    dated = list(dated_images(dates, SITE, judge=all_clear))[-1]
    change = np.nan_to_num(dated.current - dated.background.median).mean(axis=0)
    x, y = SITE.frame.centres()
    there = (np.abs(y - 36.5) < 0.5) & (x > 40) & (x < 56)
    assert change[there].min() > 0.03
    assert np.abs(change[SITE.ring]).max() < 0.02


def test_the_order_of_files_changes_nothing(chips, seen):
    mixed = list(dated_images(chips[4:] + chips[3::-1], SITE, judge=all_clear))
    assert all(same(one, two) for one, two in zip(seen, mixed, strict=True))


def test_later_dates_change_nothing(chips, seen):
    early = list(dated_images(chips[:7], SITE, judge=all_clear))
    assert all(same(one, other) for one, other in zip(early, seen, strict=False))


def test_hindcast_uses_both_sides(chips, seen):
    both = list(dated_images(chips, SITE, hindcast=True, judge=all_clear))
    assert [dated.id for dated in both] == [one.id for one in chips]
    for dated in both:
        assert dated.reason is None
        assert dated.history == tuple(one.id for one in chips if one.id != dated.id)
        assert dated.registration.residual_m < 2
        assert dated.current is not None
    assert same(both[-1], seen[-1])
    # Only some of them are asked for.
    some = list(
        dated_images(chips, SITE, hindcast=True, judge=all_clear, wanted=lambda one: one.id == chips[1].id)
    )
    assert len(some) == 1
    assert same(some[0], both[1])
    few = list(dated_images(chips[:4], SITE, hindcast=True, judge=all_clear))
    assert all("too few" in dated.reason for dated in few)


@pytest.mark.parametrize("hindcast", [False, True])
def test_a_long_series_holds_few_dates_in_memory(chips, seen, hindcast):
    read_pixels: list[weakref.ref[np.ndarray]] = []

    def on_disk(one: Chip) -> ChipOnDisk:
        def read() -> Chip:
            copy = replace(one, reflectance=one.reflectance.copy())
            read_pixels.append(weakref.ref(copy.reflectance))
            return copy

        return ChipOnDisk(
            one.id, one.datetime, SITE.grid, one.sun_azimuth_deg, one.sun_elevation_deg, one.digest, read
        )

    most, found = 0, []
    for dated in dated_images([on_disk(one) for one in chips], SITE, hindcast=hindcast, judge=all_clear):
        most = max(most, sum(one() is not None for one in read_pixels))
        assert np.array_equal(dated.chip.reflectance, chips[len(found)].reflectance, equal_nan=True)
        found.append(dated.id)
    assert found == [one.id for one in chips]
    assert most <= 3


def test_hindcast_judges_a_date_by_what_came_after():
    """The first date has nothing to be compared with when it comes in; later its cloud shows."""
    cloudy = ground(1)
    cloudy[:, 33:41, 28:52] = 0.6

    def by_change(bands, reflectance, scl, inside, ring, *, background=None, **more):
        found = all_clear(bands, reflectance, scl, inside, ring)
        if background is None:
            return found
        changed = np.nan_to_num(reflectance[:4] - background[:4]).max(axis=0) > 0.3
        usable = found.usable & ~changed
        share = float(usable[inside].mean())
        return replace(found, usable=usable, clear_fraction=share, reason="Cloud." if share < 0.8 else None)

    dates = [chip(0, cloudy), *archive(7)[1:]]
    forward = list(dated_images(dates, SITE, judge=by_change))
    assert "too few" in forward[0].reason
    both = list(dated_images(dates, SITE, hindcast=True, judge=by_change))
    assert both[0].reason == "Cloud."
    assert both[1].reason is None


def test_known_shifts_give_the_same_images_without_laying_dates_out_again(chips, seen):
    known = {
        dated.id: KnownShift.from_json(json.loads(json.dumps(dated.known_shift.to_json()))) for dated in seen
    }
    assert known == {dated.id: dated.known_shift for dated in seen}
    again = list(dated_images(chips, SITE, judge=all_clear, known=known))
    assert all(same(one, other) for one, other in zip(again, seen, strict=True))
    judged = []

    def counting(*values, **more):
        judged.append(1)
        return all_clear(*values, **more)

    wanted = chips[-1].id
    last = list(dated_images(chips, SITE, judge=counting, known=known, wanted=lambda one: one.id == wanted))
    assert len(last) == 1
    assert same(last[0], seen[-1])
    # The wanted date alone: before it is laid out, then in the light of its past and as it is.
    assert len(judged) == 3


def test_shifts_of_another_history_arent_believed(chips, seen):
    known = {dated.id: dated.known_shift for dated in seen}
    other = [chip(0, ground(1), noise=0.002), *chips[1:]]
    fresh = list(dated_images(other, SITE, judge=all_clear))
    again = list(dated_images(other, SITE, judge=all_clear, known=known))
    assert all(same(one, two) for one, two in zip(fresh, again, strict=True))
    assert fresh[-1].known_shift.chain != known[chips[-1].id].chain
    # A mask that can't be read, or of another frame, is made anew.
    for text in ("AAAA", known[chips[0].id].usable[:-8]):
        broken = {id: replace(place, usable=text) for id, place in known.items()}
        last = list(
            dated_images(chips, SITE, judge=all_clear, known=broken, wanted=lambda one: one is chips[-1])
        )
        assert same(last[0], seen[-1])


def test_a_date_that_is_turned_away_leaves_no_trace(chips, seen):
    """Cloudy dates that come in late change neither the answers nor the shifts of the others."""

    def dark(*values, **more):
        found = all_clear(*values, **more)
        return replace(found, reason="It is dark.") if np.nanmean(values[1][:4]) < 0.05 else found

    extra = replace(chip(3, ground(1) * 0.2), id="S2A-late", datetime=chips[3].datetime + dt.timedelta(1))
    mixed = list(dated_images([*chips, extra], SITE, judge=dark))
    late = next(dated for dated in mixed if dated.id == "S2A-late")
    assert late.reason == "It is dark."
    assert not late.known_shift.accepted
    rest = [dated for dated in mixed if dated.id != "S2A-late"]
    assert all(same(one, two) for one, two in zip(rest, seen, strict=True))
    assert [dated.known_shift for dated in rest] == [dated.known_shift for dated in seen]
    # Known as turned away, it isn't looked at again.
    known = {dated.id: dated.known_shift for dated in mixed}
    wanted = chips[-1].id
    last = list(
        dated_images([*chips, extra], SITE, judge=dark, known=known, wanted=lambda one: one.id == wanted)
    )
    assert same(last[0], seen[-1])


def test_a_displaced_date_is_laid_back(against):
    moved = chip(DATES, with_wagons(ground(1, (1.5, -0.4)), [(0, 35.0, 55.0)]))
    plain = chip(DATES, with_wagons(ground(1), [(0, 35.0, 55.0)]))
    away = against(moved)
    home = against(plain)
    assert away.reason is None
    found = away.registration
    assert (found.dx_m, found.dy_m) == pytest.approx((15.0, -4.0), abs=1.0)
    rest = (away.current - home.current)[:, SITE.ring]
    assert np.sqrt(np.nanmean(rest**2)) < 0.006


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.full((4, *SHAPE), 0.2, np.float32), "could not be laid over|lies uncertain"),
        (ground(77), "could not be laid over|lies uncertain"),
        (ground(1, (6.0, 0.0)), "could not be laid over|lies uncertain|more than 40 m"),
    ],
    ids=["no features", "another place", "sixty metres off"],
)
def test_a_date_that_cant_be_placed_abstains(against, image, words):
    dated = against(chip(DATES, image))
    assert dated.reason is not None
    assert any(word in dated.reason for word in words.split("|"))
    assert dated.reason.endswith(".")
    assert not dated.known_shift.accepted
    assert dated.current is None


def test_an_uncertain_place_is_answered_but_no_ones_background(against):
    """Haze that leaves a trace of the ground: its place is hardly known, and it is answered all the same."""
    level = np.array([0.09, 0.11, 0.13, 0.17])[:, None, None]
    faint = (level + 0.25 * (ground(1) - level)).astype(np.float32)
    dated = against(chip(DATES, faint, noise=0.02))
    assert dated.reason is None
    assert dated.current is not None
    assert dated.registration.residual_m > LARGEST_RESIDUAL_M
    assert dated.registration.residual_m < 2**0.5 * PRIOR_SD_M
    assert not dated.known_shift.accepted


def test_chips_on_disk_are_read_when_they_are_needed(chips, seen):
    read = []

    def on_disk(one: Chip) -> ChipOnDisk:
        def load() -> Chip:
            read.append(one.id)
            return one

        sun = one.sun_azimuth_deg, one.sun_elevation_deg
        return ChipOnDisk(one.id, one.datetime, SITE.grid, *sun, one.digest, load)

    sources = [on_disk(one) for one in chips]
    found = list(dated_images(sources, SITE, judge=all_clear))
    assert [one.id for one in found] == [one.id for one in seen]
    assert all(same(one, other) for one, other in zip(found, seen, strict=True))
    read.clear()
    known = {one.id: one.known_shift for one in seen}
    (last,) = dated_images(
        sources, SITE, judge=all_clear, known=known, wanted=lambda one: one.id == chips[-1].id
    )
    assert same(last, seen[-1])
    assert set(read) <= {*last.history, last.id}


@pytest.mark.parametrize(
    "bad", [np.full((4, *SHAPE), 0.2, np.float32), ground(77)], ids=["plain", "elsewhere"]
)
def test_a_bad_first_date_doesnt_turn_away_all_that_follow(bad, chips):
    dates = [chip(0, bad, noise=0.002), *chips[1:7]]
    found = list(dated_images(dates, SITE, judge=all_clear))
    assert found[1].known_shift.begins
    assert found[1].history == ()
    assert found[-1].reason is None
    assert found[-1].history == tuple(one.id for one in chips[1:6])
    # Cached or not makes no difference.
    known = {dated.id: dated.known_shift for dated in found}
    last = list(dated_images(dates, SITE, judge=all_clear, known=known, wanted=lambda one: one is dates[-1]))
    assert same(last[0], found[-1])


def test_a_first_date_under_cloud_doesnt_make_all_that_follow_look_dark(chips):
    """The real judge's trap: what is darker than the background counts as shadow."""

    def shade(bands, reflectance, scl, inside, ring, *, background=None, **more):
        found = all_clear(bands, reflectance, scl, inside, ring)
        dark = background is not None and np.nanmedian(reflectance[:4] / background[:4]) < 0.6
        return replace(found, reason="Shadow.") if dark else found

    veiled = chip(0, ground(1, contrast=0.5) + 0.5)
    found = list(dated_images([veiled, *chips[1:7]], SITE, judge=shade))
    assert found[1].known_shift.begins
    assert found[-1].reason is None


def test_what_always_looks_like_cloud_is_known_by_its_past(against, chips):
    def bright(*values, background=None, **more):
        found = all_clear(*values, **more)
        return replace(found, reason="Cloud.") if background is None else found

    plain = chip(DATES, ground(1))
    assert against(plain, judge=bright).reason is None
    # Without a past it stays in doubt, and what can't be placed is what it looks like.
    assert next(dated_images([plain], SITE, judge=bright)).reason == "Cloud."
    assert against(chip(DATES, ground(77)), judge=bright).reason == "Cloud."


@pytest.mark.parametrize("proven", [0, 1])
def test_a_date_that_passes_by_itself_lets_light_ground_in(chips, proven):
    """Ground that passes for cloud on most dates: one that doesn't is enough to know it by."""
    middle = float(np.median(ground(1)[0]))

    def light(bands, reflectance, scl, inside, ring, *, background=None, **more):
        found = all_clear(bands, reflectance, scl, inside, ring)
        doubtful = background is None and np.nanmedian(reflectance[0]) > 0.95 * middle
        return replace(found, reason="Cloud.") if doubtful else found

    dark = [chip(number, 0.9 * ground(1), noise=0.002) for number in range(proven)]
    found = list(dated_images([*dark, *chips[proven:8]], SITE, judge=light))
    if proven == 0:
        assert [one.reason for one in found] == ["Cloud."] * 8
    else:
        assert [one.known_shift.accepted for one in found] == [True] * 8
        assert [one.reason is None for one in found] == [False] * LEAST_HISTORY + [True] * 3
        # What doesn't show that ground stays in doubt.
        other = list(dated_images([*dark, *chips[1:3], chip(3, ground(77))], SITE, judge=light))
        assert other[-1].reason == "Cloud."


def test_missing_pixels_are_unknown_and_too_many_abstain(against):
    corner = ground(1)
    corner[:, :, :40] = np.nan
    dated = against(chip(DATES, corner))
    assert "Too little" in dated.reason
    few = ground(1)
    few[:, 30:44, 70:] = np.nan
    dated = against(chip(DATES, few))
    assert dated.reason is None
    assert 0.8 < dated.clear_fraction < 1
    assert np.isnan(dated.current).any()
    assert np.isfinite(dated.background.median).all()
    # As history, it is unknown there only.
    more = against(chip(DATES, few), chip(DATES + 1, ground(1)))
    assert more.background.count.min() == DATES
    assert more.background.count.max() == DATES + 1
    nothing = chip(DATES, np.full((4, *SHAPE), np.nan, np.float32))
    assert against(nothing).reason is not None


def test_gain_of_a_date_is_taken_out(against):
    bright = against(chip(DATES, ground(1), gain=(1.1, 1.08, 1.05, 0.93)))
    assert bright.registration.gain == pytest.approx((1.1, 1.08, 1.05, 0.93), abs=0.08)
    rest = (bright.current - bright.background.median)[:, SITE.ring]
    assert np.abs(np.nanmedian(rest, axis=1)).max() < 0.002


def test_ground_that_changes_far_more_than_usual_is_said(against):
    wet = ground(1) + (ground(9) - ground(9).mean(axis=(1, 2), keepdims=True)) * 0.4
    dated = against(chip(DATES, wet.astype(np.float32)))
    if dated.reason is None:
        assert any("the usual" in sentence for sentence in dated.warnings)


def test_without_the_sun_there_is_no_shadow():
    dates = [replace(one, sun_azimuth_deg=None) for one in archive(6)]
    dated = list(dated_images(dates, SITE, judge=all_clear))[-1]
    assert dated.reason is None
    assert dated.sun is None
    assert dated.history_sun is None


def test_a_chip_on_another_grid_is_a_mistake(chips):
    small = replace(chips[1], reflectance=chips[1].reflectance[:, :50])
    with pytest.raises(ValueError, match="S2A-001 doesn't lie on the grid of siding"):
        list(dated_images([chips[0], small], SITE, judge=all_clear))
    beside = replace(chips[1], transform=Affine(10, 0, 500_010, 0, -10, 4_700_000))
    with pytest.raises(ValueError, match="doesn't lie on the grid"):
        list(dated_images([chips[0], beside], SITE, judge=all_clear))


def test_the_real_judge_turns_clouds_away_and_takes_clear_dates():
    dates = archive(9)
    image = ground(1)
    image[:, 10:, 20:90] = 0.62
    clouded = chip(9, image, noise=0.01)
    swir = [
        replace(
            one,
            bands=(*BANDS, "B11"),
            reflectance=np.concatenate([one.reflectance, one.reflectance[3:] + 0.05]),
            scl=np.full(SHAPE, 5, np.uint8),
        )
        for one in (*dates, clouded, chip(10, ground(1)))
    ]
    found = list(dated_images(swir, SITE, judge=assess))
    assert found[-1].reason is None
    assert found[-2].reason is not None
    assert found[-2].id not in found[-1].history
    assert len(found[-1].history) >= LEAST_HISTORY


def test_no_dates_no_dated_images():
    assert list(dated_images([], SITE)) == []


def test_shifts_that_arent_ones():
    with pytest.raises(KeyError):
        KnownShift.from_json({"id": "a"})
    with pytest.raises(TypeError):
        KnownShift.from_json({"id": "a", "chain": "b", "registration": None})
