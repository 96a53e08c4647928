"""The third simulator: its labels lie on its wagons, its shadows away from the sun."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.simulators.relief import PX_M, Body, Relief, look_at, random_relief, wagon
from detector.wagons.categories import FREIGHT

SIDE_M = 40.0


def plain(level: float = 0.05) -> Relief:
    size = round(SIDE_M / PX_M)
    return Relief("trains", np.zeros((size, size), np.float32), np.full((size, size, 3), level, np.float32))


def slab(length_m: float = 14.0, height_m: float = 4.0) -> Body:
    def surface(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.full_like(u, height_m), np.full((*u.shape, 3), 0.9, np.float32)

    return Body(length_m, 3.0, surface, FREIGHT, "slab")


@settings(max_examples=30, deadline=None)
@given(x=st.floats(12, 28), y=st.floats(12, 28), angle=st.floats(-180, 180), length=st.floats(6, 18))
def test_a_body_stands_where_its_label_is(x: float, y: float, angle: float, length: float):
    relief = plain()
    relief.put(slab(length), x, y, angle)
    there = relief.height > 3
    rows, columns = np.nonzero(there)
    # A body is drawn in whole pixels, so that its middle may lie half a pixel off.
    middle = [(columns.mean() + 0.5) * PX_M, (rows.mean() + 0.5) * PX_M]
    assert middle == pytest.approx([x, y], abs=PX_M / 2)
    assert there.sum() * PX_M**2 == pytest.approx(3 * length, rel=0.1)
    assert relief.boxes == [(x, y, length, 3.0, angle, 4.0)]
    # Its long axis is the label's.
    t = math.radians(angle)
    u = (columns - columns.mean()) * math.cos(t) + (rows - rows.mean()) * math.sin(t)
    assert np.ptp(u) * PX_M == pytest.approx(length, abs=0.5)


def test_the_higher_of_two_bodies_is_seen():
    relief = plain()
    relief.put(slab(height_m=4.0), 20, 20, 0)
    relief.put(slab(height_m=2.0), 20, 20, 90)
    assert relief.height[80, 80] == 4.0
    assert relief.height[80 - 20, 80] == 2.0


def test_a_picture_shows_wagons_light_and_shadows_dark_on_a_side():
    relief = plain(0.3)
    relief.colour[:20] = 0.95  # sets the exposure
    relief.put(slab(), 20, 20, 0)
    for seed in range(5):
        seen = look_at(relief, np.random.default_rng(seed), gsd_m=0.4)
        assert seen.gsd_m == pytest.approx(0.4)
        x, y = (round(v) for v in seen.boxes[0, :2])
        grey = seen.image.mean(axis=2)
        ground = np.median(grey)
        assert grey[y, x] > ground + 20
        assert grey.min() < ground - 20


def test_all_designs_are_bodies_of_their_size():
    names = set()
    for seed in range(40):
        body = wagon(np.random.default_rng(seed))()
        names.add(body.name)
        relief = plain()
        relief.put(body, 20, 20, 30)
        high = relief.height > 0.9
        assert 0.55 < high.sum() * PX_M**2 / (body.length_m * body.width_m) <= 1.05
        assert 1.0 < relief.height.max() < 5.6
        assert relief.colour.min() >= 0.01 - 1e-6
        assert relief.colour.max() <= 0.95 + 1e-6
        assert 10 <= body.length_m <= 28
    assert names == {"tub", "load", "box", "barrel", "saddle", "crates"}


def test_wagons_stand_on_tracks_and_empty_scenes_have_none():
    rng = np.random.default_rng(4)
    full = random_relief(rng, size_m=80.0, kind="trains")
    assert full.tracks
    assert full.boxes
    points = np.concatenate(full.tracks)
    for x, y, *_ in full.boxes:
        if min(x, y) > -20 and max(x, y) < 100:
            assert np.hypot(*(points - [x, y]).T).min() < 1.6
    assert not random_relief(rng, size_m=60.0, kind="tracks").boxes
    bare = random_relief(rng, size_m=60.0, kind="no rail")
    assert not bare.boxes
    assert not bare.tracks


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="harbour"):
        random_relief(np.random.default_rng(1), kind="harbour")
