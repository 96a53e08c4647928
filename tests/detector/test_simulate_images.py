"""One way to ask any simulator for pictures."""

from __future__ import annotations

import numpy as np
import pytest

from detector.simulators import SIMULATORS, pictures


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_equal_states_give_equal_pictures_and_others_do_not(simulator: str):
    def drawn(seed: int) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)
        seen = pictures(rng, simulator=simulator, size_m=50.0, gsd_m=[0.5, 0.7])
        assert [p.gsd_m for p in seen] == pytest.approx([0.5, 0.7], rel=0.02)
        return [p.image for p in seen]

    one, two, other = drawn(3), drawn(3), drawn(4)
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert not np.array_equal(one[0], other[0])


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_what_everybody_asks_of_a_picture_is_said(simulator: str):
    (seen,) = pictures(np.random.default_rng(5), simulator=simulator, split="val", size_m=60.0)
    assert set(seen.meta) >= {
        "kind",
        "split",
        "sensor",
        "sun_elevation_deg",
        "off_nadir_deg",
        "real_background",
    }
    assert seen.meta["split"] == "val"
    assert seen.meta["kind"] in SIMULATORS[simulator]
    assert len(seen.boxes) == len(seen.category) == len(seen.wagon_type) == len(seen.visibility)
    assert len(seen.tracks) == len(seen.track_gauge)


def test_an_unknown_simulator_is_refused():
    with pytest.raises(ValueError, match="known are main, collage, solids, relief"):
        pictures(np.random.default_rng(1), simulator="brush")
