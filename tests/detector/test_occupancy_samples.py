"""What the occupancy network sees and learns from: planes, mirrored and cut samples, batches."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_yards import stored_yard, write_yard

from detector.errors import LabelError
from detector.occupancy.inputs import CHANNELS, FIRST_MASK, bent, make_inputs, past_planes, straight
from detector.occupancy.network import OccupancyNet, Past
from detector.training.occupancy_samples import (
    FIGURES,
    Batches,
    Sample,
    cut,
    sample_of,
    stored_sites,
    turned,
    weathered,
    with_gaps,
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def yard(tmp_path_factory):
    return stored_yard(tmp_path_factory.mktemp("yards"))


def given_planes(**changes):
    rng = np.random.default_rng(0)
    h, w = 6, 9
    values = {
        "current": rng.uniform(0.05, 0.3, (4, h, w)).astype(np.float32),
        "low": np.full((4, h, w), 0.10, np.float32),
        "median": np.full((4, h, w), 0.12, np.float32),
        "high": np.full((4, h, w), 0.15, np.float32),
        "tracks": rng.uniform(0, 1, (4, h, w)).astype(np.float32),
        "region": rng.uniform(0, 1, (h, w)).astype(np.float32),
        "has_tracks": True,
        "shadow": (0.4, -0.9),
        "past_shadow": (0.1, -0.2),
        "dates": 15,
    }
    return values | changes


def given_past(k=3, seed=1):
    stack = np.random.default_rng(seed).uniform(0.05, 0.3, (k, 4, 6, 9)).astype(np.float32)
    stack[0, 2, 1, 1] = np.nan
    return stack, [(0.3, -0.6), None, (9.0, 0.1)][:k]


def sample(values=None, cells=None):
    values = values or given_planes()
    one = make_inputs(**values, past=past_planes(*given_past(), values["median"]))
    cells = np.arange(54, dtype=np.float32).reshape(6, 9) if cells is None else cells
    return Sample(one.planes, one.region, cells, one.past)


def channel(inputs, name):
    return inputs.planes[CHANNELS.index(name)]


def test_planes_are_in_the_order_of_their_names():
    values = given_planes()
    found = make_inputs(**values)
    assert found.planes.shape == (len(CHANNELS), 6, 9)
    assert found.planes.dtype == np.float32
    assert len(set(CHANNELS)) == len(CHANNELS) == 31
    for b, (band, mean) in enumerate(
        zip(("B02", "B03", "B04", "B08"), (0.10, 0.12, 0.14, 0.20), strict=True)
    ):
        expected = (values["current"][b] - mean) * 10
        assert channel(found, f"current_{band}") == pytest.approx(expected, abs=1e-5)
        assert channel(found, f"median_{band}") == pytest.approx((0.12 - mean) * 10, abs=1e-5)
        assert channel(found, f"low_{band}") == pytest.approx(-0.6, abs=1e-5)
        assert channel(found, f"high_{band}") == pytest.approx(0.9, abs=1e-5)
        change = (values["current"][b] - 0.12) * 30
        small = np.abs(change) < 1
        assert channel(found, f"difference_{band}")[small] == pytest.approx(change[small], abs=1e-5)
        large = channel(found, f"difference_{band}")[~small]
        assert np.abs(large) == pytest.approx(2 * np.sqrt(np.abs(change[~small])) - 1, abs=1e-5)
    for q, name in enumerate(("upper_left", "upper_right", "lower_left", "lower_right")):
        assert (channel(found, f"track_{name}") == values["tracks"][q]).all()
    assert (channel(found, "boundary") == values["region"]).all()
    for name, value in (
        ("has_tracks", 1.0),
        ("shadow_along", 0.2),
        ("shadow_across", -0.45),
        ("past_shadow_along", 0.05),
        ("past_shadow_across", -0.1),
        ("history", math.log(0.5)),
    ):
        assert channel(found, name) == pytest.approx(value, abs=1e-6)


def test_what_isnt_known_is_zero_everywhere_and_nothing_is_not_a_number():
    values = given_planes()
    values["current"][1, 2, 3] = np.nan
    values["median"][0, 4, 4] = np.nan
    found = make_inputs(**values)
    assert not found.known[2, 3]
    assert not found.known[4, 4]
    assert found.known.sum() == 6 * 9 - 2
    assert np.isfinite(found.planes).all()
    assert (found.planes[:20, ~found.known] == 0).all()
    assert (found.region == values["region"]).all()
    blank = make_inputs(**given_planes(current=np.full((4, 6, 9), np.nan, np.float32)))
    assert not blank.known.any()
    assert (blank.planes[:20] == 0).all()


def test_extremes_are_bounded():
    bright = make_inputs(**given_planes(current=np.full((4, 6, 9), 40.0, np.float32)))
    assert np.abs(bright.planes[:20]).max() <= 6
    low = make_inputs(**given_planes(shadow=(50.0, -50.0), past_shadow=None, dates=0))
    assert channel(low, "shadow_along")[0, 0] == 2
    assert channel(low, "shadow_across")[0, 0] == -2
    assert channel(low, "past_shadow_across")[0, 0] == 0
    assert np.isfinite(low.planes).all()


def test_past_dates_are_differences_from_the_median():
    stack, suns = given_past()
    median = np.full((4, 6, 9), 0.12, np.float32)
    found = past_planes(stack, suns, median)
    assert found.change.shape == (3, 4, 6, 9)
    assert not found.known[0, 1, 1]
    assert found.known.sum() == 3 * 54 - 1
    assert (found.change[0, :, 1, 1] == 0).all()
    assert found.change[1] == pytest.approx((stack[1] - 0.12) * 30, abs=1e-4)
    assert found.shadow == pytest.approx(np.array([[0.15, -0.3], [0.0, 0.0], [2.0, 0.05]]))
    bright = past_planes(np.full((1, 4, 6, 9), 5.0, np.float32), [None], median)
    assert bent(torch.from_numpy(bright.change)).max() == pytest.approx(6.0)
    none = past_planes(None, [], median)
    assert none.change.shape == (0, 4, 6, 9)
    assert Past.of([none, none]) is None


@given(st.floats(-12, 12))
def test_what_is_bent_is_straightened(value):
    one = torch.tensor(value, dtype=torch.float64)
    assert float(straight(bent(one))) == pytest.approx(value, abs=1e-9)


def test_a_stored_image_has_the_dates_before_it(yard):
    def past(row, numbers=None):
        return sample_of(yard, row, **({} if numbers is None else {"past": lambda before: numbers}))

    assert len(past(0).past.shadow) == 5  # those without enough history of their own
    found = past(3)
    assert found.past.change.shape == (8, 4, 34, 60)
    median = np.asarray(yard.images[3, 8:12], np.float32)
    for k in range(3):
        expected = (np.asarray(yard.images[k, :4], np.float32) - median) * 30
        assert found.past.change[5 + k] == pytest.approx(expected, abs=1e-4)
    assert found.past.shadow[0].tolist() == pytest.approx([0.1, -0.25])
    assert found.past.shadow[5].tolist() == pytest.approx([0.0, -0.35])
    assert found.past.known.all()
    some = past(3, [-1, 2, 6])
    assert np.array_equal(some.past.change, found.past.change[[2, 6]])
    # Bands mixed anew are mixed on all dates alike.
    swap = np.eye(4, dtype=np.float32)[[1, 0, 2, 3]]
    mixed = sample_of(yard, 3, paint=swap)
    assert mixed.past.change == pytest.approx(found.past.change[:, [1, 0, 2, 3]], abs=1e-3)


def test_a_stored_image_becomes_a_sample(yard):
    assert yard.figure("count").shape == (8,)
    assert yard.figures.shape == (8, len(FIGURES))
    with_tracks, without = sample_of(yard, 3), sample_of(yard, 3, tracks=False)
    assert with_tracks.planes.shape == (len(CHANNELS), 34, 60)
    assert with_tracks.cells.sum() == pytest.approx(yard.figure("length_m")[3], rel=0.01)
    ten = CHANNELS.index("track_upper_left")
    assert with_tracks.planes[ten : ten + 4].any()
    assert not without.planes[ten : ten + 4].any()
    assert without.planes[CHANNELS.index("has_tracks")].max() == 0
    assert (without.region == yard.boundary).all()


@given(st.booleans(), st.booleans(), st.integers(0, 7))
@settings(max_examples=12)
def test_a_mirrored_yard_is_what_the_mirrored_yard_would_give(along, across, row):
    """Mirroring the reflectances, masks and sun first, and making planes of them then, is the same."""
    values = given_planes(current=np.random.default_rng(row).uniform(0.05, 0.3, (4, 6, 9)).astype(np.float32))
    one = sample(values)
    found = turned(one, along=along, across=across)

    def flip(x):
        x = x[..., ::-1] if along else x
        return x[..., ::-1, :] if across else x

    order = np.arange(4).reshape(2, 2)
    order = (order[:, ::-1] if along else order)[:: -1 if across else 1].ravel()
    signs = (-1 if along else 1, -1 if across else 1)
    mirrored = make_inputs(
        **{
            **values,
            **{name: flip(values[name]) for name in ("current", "low", "median", "high", "region")},
            "tracks": flip(values["tracks"])[order],
            "shadow": tuple(s * v for s, v in zip(signs, values["shadow"], strict=True)),
            "past_shadow": tuple(s * v for s, v in zip(signs, values["past_shadow"], strict=True)),
        }
    )
    stack, suns = given_past()
    turned_suns = [sun and (signs[0] * sun[0], signs[1] * sun[1]) for sun in suns]
    past = past_planes(flip(stack), turned_suns, flip(values["median"]))
    assert all(np.array_equal(a, b) for a, b in zip(found.past, past, strict=True))
    assert np.array_equal(found.planes, mirrored.planes)
    assert np.array_equal(found.region, mirrored.region)
    assert np.array_equal(found.cells, flip(one.cells))
    back = turned(found, along=along, across=across)
    assert np.array_equal(back.planes, one.planes)


@given(st.integers(4, 12), st.integers(4, 16), st.integers(0, 99))
@settings(max_examples=30)
def test_cutting_and_filling_keep_values_and_places(height, width, seed):
    cells = np.arange(1, 55, dtype=np.float32).reshape(6, 9)
    one = sample(cells=cells)
    found = cut(one, (height, width), np.random.default_rng(seed))
    assert found.planes.shape == (len(CHANNELS), height, width)
    assert found.region.shape == found.cells.shape == (height, width)
    # Every cell that is there holds what it held, all fields at one place; what was filled is 0.
    where = {float(v): at for at, v in np.ndenumerate(cells)}
    there = 0
    for at, value in np.ndenumerate(found.cells):
        if value:
            there += 1
            r, c = where[float(value)]
            assert (found.planes[(slice(None), *at)] == one.planes[:, r, c]).all()
            assert found.region[at] == one.region[r, c]
            assert (found.past.change[(..., *at)] == one.past.change[..., r, c]).all()
            assert (found.past.known[(..., *at)] == one.past.known[..., r, c]).all()
        else:
            assert found.region[at] == 0
            assert not found.past.known[(..., *at)].any()
            assert (found.planes[(slice(0, 25), *at)] == 0).all()
    assert there == min(height, 6) * min(width, 9)
    constant = CHANNELS.index("has_tracks")
    for plane, whole in zip(found.planes[constant:], one.planes[constant:], strict=True):
        assert (plane == whole[0, 0]).all()


def test_ground_that_wasnt_seen_holds_nothing():
    changed = None
    for seed in range(40):
        one = sample(cells=np.ones((6, 9), np.float32))
        found = with_gaps(one, np.random.default_rng(seed))
        gone = (found.planes[:FIRST_MASK] == 0).all(axis=0)
        assert (found.cells[gone] == 0).all()
        assert (found.cells[~gone] == 1).all()
        assert np.array_equal(found.planes[FIRST_MASK:], one.planes[FIRST_MASK:])
        assert np.array_equal(found.region, one.region)
        assert (found.past.change[~np.broadcast_to(found.past.known[:, None], (3, 4, 6, 9))] == 0).all()
        assert not (found.past.known & ~one.past.known).any()
        if gone.any():
            changed = gone
    assert changed is not None
    assert (sample().planes[:FIRST_MASK] != 0).any()


def test_weather_changes_dates_smoothly_and_each_by_itself():
    values = np.full((60, 4, 20, 30), 0.2, np.float32)
    found = weathered(values, np.random.default_rng(3))
    assert found.dtype == np.float32
    assert (values == 0.2).all()  # what was given is left alone
    changed = np.array([not np.array_equal(one, values[0]) for one in found])
    assert 0.2 < changed.mean() < 0.6
    assert len({one.tobytes() for one in found[changed]}) == changed.sum()
    assert 0.1 < found.min() < found.max() < 0.35
    # Neighbouring cells and bands change alike.
    patches = found[changed] / 0.2 - 1
    steps = np.diff(patches, axis=-1).std()
    assert steps < 0.5 * (patches - patches.mean(axis=(2, 3), keepdims=True)).std()
    assert np.corrcoef(patches[:, 0].ravel(), patches[:, 3].ravel())[0, 1] > 0.8


def test_batches_are_seeded_go_on_and_take_up_new_sites(tmp_path):
    with pytest.raises(LabelError, match="no simulated sites here"):
        Batches(tmp_path, batch_size=2, size=(16, 32), seed=1).batch(0)
    for number in range(2):
        write_yard(tmp_path, "train", number)
    write_yard(tmp_path, "val", 9)
    (tmp_path / "train-1-00007.part.npz").write_bytes(b"being written")

    def draw(start: int, number: int, **more):
        batches = Batches(tmp_path, batch_size=3, size=(16, 32), seed=1, **more)
        return batches, [batches.batch(step) for step in range(start, start + number)]

    batches, first = draw(0, 4)
    assert [site.path.name for site in batches.sites] == ["train-1-00000.npz", "train-1-00001.npz"]
    _, again = draw(0, 4)
    _, later = draw(2, 2)
    for one, two in zip(first, again, strict=True):
        assert torch.equal(one.planes, two.planes)
        assert torch.equal(one.cells, two.cells)
        assert torch.equal(one.past.change, two.past.change)
        assert one.past.known.shape[2:] == one.cells.shape[1:]
    assert torch.equal(first[2].planes, later[0].planes)  # a resumed training sees what it would have seen
    assert first[0].planes.shape == (3, len(CHANNELS), 16, 32)
    assert not torch.equal(first[0].planes, first[1].planes)
    flag = CHANNELS.index("has_tracks")
    assert all((b.planes[:, flag] == 0).all() for b in draw(0, 3, trackless=1.0)[1])
    assert all((b.planes[:, flag] == 1).all() for b in draw(0, 3, trackless=0.0)[1])
    assert [site.path.name for site in stored_sites(tmp_path, "val")] == ["val-2-00009.npz"]


def test_the_network_takes_any_size_and_answers_by_its_region():
    torch.manual_seed(1)
    network = OccupancyNet().eval()
    planes = torch.randn(2, len(CHANNELS), 18, 29)
    region = torch.zeros(2, 18, 29)
    region[:, 5:9, 4:20] = 1.0
    with torch.inference_mode():
        said = network(planes, region)
        none = network(planes, torch.zeros_like(region))
    assert said.density.shape == (2, 18, 29)
    assert (said.density >= 0).all()
    assert said.length_m == pytest.approx((said.density * region).sum(dim=(1, 2)).numpy(), rel=1e-5)
    assert (said.below_m > 0).all()
    assert (said.above_m > 0).all()
    assert (none.length_m == 0).all()
    assert torch.isfinite(none.above_m).all()


def some_past(k=4, size=(18, 29), seed=0):
    torch.manual_seed(seed)
    known = torch.rand(2, k, *size) > 0.1
    known[1, -1] = False  # a date that only one of the two has
    change = torch.randn(2, k, 4, *size) * known[:, :, None]
    return Past(change, known, torch.randn(2, k, 2))


def woken(network):
    """A network that listens to the past, which a fresh one doesn't."""
    torch.nn.init.normal_(network.comparison.result.weight, std=0.05)
    torch.nn.init.normal_(network.comparison.choice.weight, std=0.5)
    return network


def test_a_fresh_network_begins_as_if_there_were_no_past():
    torch.manual_seed(1)
    network = OccupancyNet().eval()
    planes, region = torch.randn(2, len(CHANNELS), 18, 29), torch.ones(2, 18, 29)
    with torch.inference_mode():
        alone, compared = network(planes, region), network(planes, region, some_past())
    assert torch.equal(alone.density, compared.density)


def test_the_past_counts_whatever_its_order_and_only_where_it_was_seen():
    torch.manual_seed(1)
    network = woken(OccupancyNet().eval())
    planes, region, past = torch.randn(2, len(CHANNELS), 18, 29), torch.ones(2, 18, 29), some_past()
    with torch.inference_mode():
        alone, said = network(planes, region), network(planes, region, past)
        assert not torch.allclose(alone.density, said.density)
        order = [2, 0, 3, 1]
        mixed = network(planes, region, Past(*(one[:, order] for one in past)))
        assert torch.allclose(mixed.density, said.density, atol=1e-4)
        # A date that isn't there is as good as room left over.
        fewer = network(planes[1:], region[1:], Past(*(one[1:, :3] for one in past)))
        assert torch.allclose(fewer.density, said.density[1:], atol=1e-4)
        none = network(planes, region, past._replace(known=torch.zeros_like(past.known)))
        assert torch.allclose(none.density, alone.density, atol=1e-5)


def test_how_sure_it_is_doesnt_bend_what_it_says():
    network = woken(OccupancyNet())
    past = some_past(size=(16, 16))
    said = network(torch.randn(2, len(CHANNELS), 16, 16), torch.ones(2, 16, 16), past)
    (said.below_m + said.above_m).sum().backward()
    touched = {
        name for name, p in network.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0
    }
    assert touched
    assert all(name.startswith("doubt.") for name in touched)
