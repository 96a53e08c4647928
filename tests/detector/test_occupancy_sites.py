"""Simulated yards over the years: what is said to be true is what stands there, and what is kept of it."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import shapely
import torch
from stored_yards import PITCH_M, stored_yard, untrained_weights

from detector.occupancy.estimate import calibration_of
from detector.occupancy.network import OccupancyNet
from detector.occupancy.weights import load
from detector.simulators.sentinel2.renderer import random_sky
from detector.training import occupancy_scores as scores
from detector.training.evaluate_occupancy import read_ground
from detector.training.occupancy_samples import FIGURES, StoredSite, sample_of
from detector.training.occupancy_scores import answers
from detector.training.occupancy_sites import SimulatedSite, clear_dates, everything_clear, write_site
from detector.wagons.categories import FREIGHT
from geo.ground_metric import apply_affine
from geo.sentinel2.site import draw_polygon

SEED, NUMBER = 5, 17  # a small yard


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def simulated() -> SimulatedSite:
    return SimulatedSite.random(SEED, NUMBER, "test")


def test_the_truth_is_what_stands_inside(simulated):
    site, yard = simulated.site, simulated.coarse.yard
    to_pixels = ~simulated.coarse.lattice.transform
    seen = set()
    for target in (0.0, 12.0, 40.0):
        consists = simulated.traffic.next(target)
        truth = simulated.truth(simulated.traffic.pieces, consists)
        freight = [w for c in consists for w in c.wagons if w.category == FREIGHT]
        inside = sum(
            bool(simulated.outline.contains(shapely.Point(*apply_affine(to_pixels, [(w.x_m, w.y_m)])[0])))
            for w in freight
        )
        assert truth.count == inside
        seen.add(truth.count)
        assert truth.cells.shape == site.frame.shape
        assert truth.cells.sum() == pytest.approx(truth.length_m, rel=1e-4)
        if target == 0:
            assert truth.count == truth.length_m == 0
            continue
        # Cars take their bodies' length and a little for couplers; those at the edge count by parts.
        bodies = sum(w.length_m for w in freight)
        assert 0.6 * bodies < truth.length_m <= 1.35 * bodies + 20
        assert truth.cells[site.boundary == 0].sum() == pytest.approx(0.0, abs=3.0)
        # Occupied cells lie on the tracks that the estimators see.
        assert truth.cells[site.region == 0].sum() < 0.02 * truth.length_m
        assert truth.cells.max() <= 10.5 * math.ceil(10 / 4.5) * 1.5
    assert len(seen) == 3
    assert yard.split == "test"


def test_a_site_is_drawn_from_its_seed(simulated):
    again = SimulatedSite.random(SEED, NUMBER, "test")
    assert again.site.frame == simulated.site.frame
    assert np.array_equal(again.site.tracks, simulated.site.tracks)
    assert again.name == "sim-5-17"
    site = simulated.site
    assert site.has_tracks
    assert site.boundary.sum() == pytest.approx(simulated.outline.area, rel=0.1)
    assert np.array_equal(site.boundary, draw_polygon(simulated.outline, site.frame))


def test_a_chip_lies_on_the_grid_of_its_site(simulated):
    sky = random_sky(
        np.random.default_rng(1), simulated.coarse.parameters, clear_dates(np.random.default_rng(1), 1)[0]
    )
    chip = simulated.chip(sky, (), 4)
    assert chip.id == "sim-5-17-004"
    assert chip.shape == simulated.site.grid.shape
    assert chip.transform == simulated.site.grid.transform
    assert chip.datetime == sky.when
    assert 0.3 < chip.valid.mean() <= 1.0


def test_dates_are_those_of_satellites():
    days = clear_dates(np.random.default_rng(2), 20, years=1.0)
    assert len(days) == 20
    assert days == sorted(days)
    gaps = np.diff([d.timestamp() for d in days]) / 86400
    assert gaps.min() >= 2.5
    assert (days[-1] - days[0]).days < 366
    assert all(d.tzinfo is not None for d in days)
    assert len(clear_dates(np.random.default_rng(0), 300, years=0.2)) == 300


def test_every_pixel_of_a_simulated_clear_date_is_clear():
    values = np.full((4, 3, 3), 0.2, np.float32)
    values[1, 0, 0] = np.nan
    found = everything_clear(("B02",), values, None, np.ones((3, 3), bool))
    assert found.usable.sum() == 8
    assert found.clear_fraction == pytest.approx(8 / 9)
    assert found.reason is None


def test_what_is_written_can_be_learned_from(tmp_path):
    kept = write_site(tmp_path, SEED, NUMBER, "test", dates=8)
    assert 1 <= kept <= 3  # the first five dates only serve as history
    assert write_site(tmp_path, SEED, NUMBER, "test", dates=8) == 0
    site = StoredSite.open(tmp_path / "test-5-00017.npz")
    assert site.images.shape[:2] == (kept, 17)
    assert site.figure("dates").tolist() == list(range(5, 5 + kept))
    assert (site.figure("residual_m") < 2).all()
    assert (site.figure("sun_elevation_deg") >= 14).all()
    assert not (tmp_path / "test-5-00017.part.npz").exists()
    sample = sample_of(site, 0)
    assert np.isfinite(sample.planes).all()
    assert sample.cells.sum() == pytest.approx(site.figure("length_m")[0], rel=0.02, abs=1.0)
    # The dates that only serve as history are kept as such.
    assert site.early_sun.shape == (5, 2)
    assert site.early().shape == (5, 4, *site.region.shape)
    assert sample.past.change.shape == (5, 4, *site.region.shape)
    # Too few dates leave nothing.
    assert write_site(tmp_path, SEED, 13, "test", dates=3) == 0
    assert not (tmp_path / "test-5-00013.npz").exists()


def test_answers_are_one_table_of_all_images(tmp_path):
    sites = [stored_yard(tmp_path, number) for number in range(2)]
    torch.manual_seed(0)
    network = OccupancyNet().eval()
    steps = []
    found = answers(sites, network, progress=lambda done, total: steps.append((done, total)))
    assert len(found) == 16
    assert set(FIGURES) | {"site", "row", "said", "below", "above"} == set(found.columns)
    assert steps[-1] == (2, 2)
    for column in ("said", "below", "above"):
        assert (found[column] > 0).all()
    some = answers(sites, network, rows=lambda site: [1, 3])
    assert some["row"].tolist() == [1, 3, 1, 3]
    same = found[found["row"].isin([1, 3])]["said"].to_numpy()
    assert some["said"].to_numpy() == pytest.approx(same, rel=1e-4)
    blind = answers(sites, network, tracks=False)
    assert not np.allclose(blind["said"], found["said"])
    # With the calibration of a card they become cars with intervals.
    made = scores.intervals(found, *calibration_of(load(untrained_weights(tmp_path)).card))
    assert made["cars"].to_numpy() == pytest.approx(found["said"].to_numpy() / PITCH_M)
    assert (made["cars_low"] <= made["cars"]).all()
    assert (made["cars"] <= made["cars_high"]).all()
    assert isinstance(scores.by_count(made), pd.DataFrame)


def test_real_pictures_as_ground(tmp_path):
    import rasterio
    from rasterio.transform import from_origin

    from detector.errors import LabelError

    def write(name, values):
        path = tmp_path / name
        profile = {"driver": "GTiff", "count": len(values), "height": 30, "width": 40, "dtype": values.dtype}
        with rasterio.open(path, "w", transform=from_origin(5e5, 5e6, 10, 10), crs=32633, **profile) as image:
            image.write(values)
        return path

    numbers = np.full((4, 30, 40), 1200, np.uint16)
    assert read_ground(write("numbers.tif", numbers)) == pytest.approx(0.12)
    shares = np.full((5, 30, 40), 0.3, np.float32)
    found = read_ground(write("shares.tif", shares))
    assert found.shape == (4, 30, 40)
    assert found == pytest.approx(0.3)
    with pytest.raises(LabelError, match=r"few\.tif: blue, green, red and near infrared are needed"):
        read_ground(write("few.tif", numbers[:3]))
    (tmp_path / "broken.tif").write_bytes(b"no image")
    with pytest.raises(LabelError, match=r"broken\.tif: can't be read as an image"):
        read_ground(tmp_path / "broken.tif")
