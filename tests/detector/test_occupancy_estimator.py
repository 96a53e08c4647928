"""From an image to an estimate, with a network that has learned nothing: what must hold whatever it says."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import shapely
import torch
from affine import Affine
from rasterio.crs import CRS
from stored_yards import CARD, PITCH_M, untrained_weights

from detector.errors import WeightsError
from detector.intervals import Z90
from detector.occupancy import weights
from detector.occupancy.estimate import FigureInterval, Pitch
from detector.occupancy.estimator import WIDEST_WITHOUT_TRACKS_M, OccupancyEstimator, _uninformative
from detector.occupancy.inputs import inputs_of
from detector.occupancy.network import OccupancyNet
from geo.grid import Grid
from geo.sentinel2.chip import Chip
from geo.sentinel2.clear_sky import ClearSkyAssessment
from geo.sentinel2.composite import composite
from geo.sentinel2.coregistration import Registration
from geo.sentinel2.site import Site, draw_polygon, draw_tracks, frame_of
from geo.sentinel2.time_series import DatedImage, PastDate

CAUSES = {"texture", "drift", "contrast", "shadow", "registration", "pitch", "unexplained", "total"}


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def estimator(tmp_path_factory) -> OccupancyEstimator:
    return OccupancyEstimator.load(untrained_weights(tmp_path_factory.mktemp("weights")), "cpu")


def site_of(outline=None, *, tracks: bool = True, zones: bool = True) -> Site:
    """Three tracks of 400 m in a field of 1.2 by 0.9 km."""
    outline = outline or shapely.box(40.0, 40.0, 82.0, 46.0)
    lines = [shapely.LineString([(41.0, y), (81.0, y)]) for y in (42.0, 43.0, 44.0)] if tracks else []
    frame = frame_of(outline, lines or [shapely.LineString([(40, 43), (82, 43)])])
    grid = Grid((90, 120), Affine(10.0, 0.0, 5e5, 0.0, -10.0, 4.7e6), CRS.from_epsg(32652))
    boundary = draw_polygon(outline, frame)
    west, south, east, north = outline.bounds
    middle = (west + east) / 2
    halves = {
        "west": draw_polygon(shapely.box(west, south, middle, north), frame),
        "east": draw_polygon(shapely.box(middle, south, east, north), frame),
    }
    return Site("siding", grid, frame, boundary, draw_tracks(lines, frame), tracks, halves if zones else {})


def image_of(
    site: Site, *, seed: int = 0, history: int = 12, hidden: slice | None = None, **changes
) -> DatedImage:
    """An image whose figures are drawn by chance."""
    rng = np.random.default_rng(seed)
    h, w = site.frame.shape
    usual = 0.12 + 0.02 * rng.standard_normal((4, h, w))
    past = [(usual + 0.005 * rng.standard_normal((4, h, w))).astype(np.float32) for _ in range(history)]
    current = (usual + 0.01 * rng.standard_normal((4, h, w)) + 0.04 * site.tracks.mean(axis=0)).astype(
        np.float32
    )
    if hidden is not None:
        current[:, :, hidden] = np.nan
    seen = np.isfinite(current).all(axis=0)
    none = np.zeros_like(seen)
    when = dt.datetime(2024, 6, 1, 2, tzinfo=dt.UTC)
    chip = Chip(
        "S2A-1",
        when,
        "Sentinel-2A",
        61,
        ("B02",),
        np.zeros((1, 90, 120), np.float32),
        site.grid.transform,
        site.grid.crs,
    )
    values = {
        "id": "S2A-1",
        "datetime": when,
        "chip": chip,
        "reason": None,
        "clear_sky": ClearSkyAssessment(
            seen, none, none, none, float(seen[site.inside].mean()), 0.0, 0.0, None
        ),
        "registration": Registration(
            1.0, -0.5, 0.6, True, (1.0,) * 4, (0.0,) * 4, (0.005,) * 4, ((0.0, 0.0),) * 4
        ),
        "history": tuple(f"S2A-0{k}" for k in range(history)),
        "current": current,
        "background": composite(past),
        "past": tuple(PastDate(one, (0.1, -0.4)) for one in past),
        "sun": (0.3, -0.8),
        "history_sun": (0.2, -0.7),
    }
    return DatedImage(**(values | changes))


def test_an_estimate_is_whole(estimator):
    site = site_of()
    image = image_of(site)
    found = estimator.estimate(image, site)
    for interval in (found.length, found.count, *found.zones.values(), *found.zone_lengths.values()):
        assert 0 <= interval.low <= interval.value <= interval.high
    assert found.count.value == pytest.approx(found.length.value / PITCH_M)
    assert found.pitch == Pitch(PITCH_M, 1.0)
    assert found.used_tracks
    # The density holds exactly what the length holds, and zones that cover the boundary share it out.
    assert found.density.shape == site.frame.shape
    assert found.density.sum() == pytest.approx(found.length.value, rel=1e-4)
    assert (found.density[site.region == 0] == 0).all()
    assert sum(z.value for z in found.zones.values()) == pytest.approx(found.count.value, rel=1e-3)
    assert sum(z.value for z in found.zone_lengths.values()) == pytest.approx(found.length.value, rel=1e-3)
    assert set(found.budget) == CAUSES
    assert all(np.isfinite(sd) and sd >= 0 for sd in found.budget.values())
    assert found.budget["total"] == pytest.approx((found.count.high - found.count.low) / (2 * Z90))
    parts = sum(found.budget[name] ** 2 for name in CAUSES - {"total", "unexplained"})
    assert parts + found.budget["unexplained"] ** 2 >= found.budget["total"] ** 2 - 1e-6
    document = json.loads(json.dumps(found.to_json()))
    assert document["count"] == [round(v, 1) for v in found.count]
    assert set(document["budget"]) == CAUSES


def test_equal_images_give_equal_estimates(estimator):
    site = site_of()
    one, two = (estimator.estimate(image_of(site), site) for _ in range(2))
    assert one.count == two.count
    assert one.budget == two.budget
    length, count = estimator.intervals(image_of(site), site)
    assert tuple(count) == pytest.approx(tuple(one.count), rel=1e-5)
    assert tuple(length) == pytest.approx(tuple(one.length), rel=1e-5)


def test_an_image_that_must_not_be_answered_isnt(estimator):
    site = site_of()
    for image in (
        image_of(site, reason="Clouds cover the yard."),
        image_of(site, background=None),
        image_of(site, current=None),
    ):
        with pytest.raises(ValueError, match="S2A-1"):
            estimator.estimate(image, site)
        with pytest.raises(ValueError, match="S2A-1"):
            estimator.intervals(image, site)
    with pytest.raises(ValueError, match="has no background to compare with"):
        inputs_of(image_of(site, background=None), site)


def test_a_declared_pitch_sets_the_count_and_its_width(estimator):
    site = site_of()
    image = image_of(site)
    usual = estimator.estimate(image, site)
    long = estimator.estimate(image, site, pitch=Pitch(20.0, 1.0))
    assert long.length.value == usual.length.value
    assert long.count.value == pytest.approx(usual.length.value / 20)
    vague = estimator.estimate(image, site, pitch=Pitch(15.0, 5.0))
    assert vague.count.value == usual.count.value
    assert vague.count.high > usual.count.high
    assert vague.count.low <= usual.count.low
    assert vague.budget["pitch"] == pytest.approx(vague.count.value / 3)


def test_tracks_may_be_left_out(estimator):
    site = site_of()
    image = image_of(site)
    known, blind = estimator.estimate(image, site), estimator.estimate(image, site, tracks=False)
    assert not blind.used_tracks
    assert known.count != blind.count
    assert any("no track lines" in w for w in blind.warnings)
    assert not any("no track lines" in w for w in known.warnings)
    bare = site_of(tracks=False)
    assert not estimator.estimate(image_of(bare), bare).used_tracks


def test_only_ground_near_the_tracks_has_a_say(estimator):
    """Where tracks are known, a boundary that holds half the town makes no difference."""
    wide = site_of(shapely.box(20.0, 22.0, 100.0, 70.0), zones=False)
    plain = image_of(wide)
    changed = plain.current.copy()
    changed[:, :4], changed[:, -4:] = 0.5, 0.5
    found = estimator.estimate(plain, wide)
    other = estimator.estimate(replace(plain, current=changed), wide)
    assert other.count.value == pytest.approx(found.count.value, rel=1e-5)


def test_hidden_parts_are_said_and_widen_the_upper_end(estimator):
    site = site_of()
    whole = estimator.estimate(image_of(site), site)
    w = site.frame.shape[1]
    part = estimator.estimate(image_of(site, hidden=slice(w // 2 - 4, w // 2 + 4)), site)
    assert not any("can't be seen" in s for s in whole.warnings)
    assert any(s.startswith("1") and "of the yard can't be seen" in s for s in part.warnings)
    assert part.count.high - part.count.value > 1.1 * (whole.count.high - whole.count.value) * (
        part.count.value / whole.count.value
    )


def test_counts_above_the_trusted_range_are_lower_bounds(tmp_path):
    estimator = OccupancyEstimator.load(untrained_weights(tmp_path, trusted_to=0.5), "cpu")
    site = site_of()
    found = estimator.estimate(image_of(site), site)
    assert found.at_least
    assert found.trusted_to == 0.5
    assert any("lower bound" in s for s in found.warnings)


def test_warnings(tmp_path):
    site = site_of()
    torch.manual_seed(0)
    path = tmp_path / "w.safetensors"
    weights.save(path, OccupancyNet(), CARD)
    found = OccupancyEstimator.load(path, "cpu").estimate(
        image_of(site, sun=None, warnings=("A sentence of the image.",)), site
    )
    assert any("where the sun stood" in s for s in found.warnings)
    assert "A sentence of the image." not in found.warnings  # whoever holds the image has it already
    assert all(s.endswith(".") for s in found.warnings)


def test_an_uncertain_place_widens_the_interval_and_may_leave_nothing(estimator):
    site = site_of()

    def at(residual_m):
        place = replace(image_of(site).registration, residual_m=residual_m)
        return estimator.estimate(image_of(site, registration=place), site)

    usual, known, uncertain = at(0.5), at(2.0), at(5.0)
    assert known.count == usual.count  # what the calibration yards held, too
    assert uncertain.count.value == usual.count.value
    assert uncertain.count.low <= usual.count.low
    assert uncertain.count.high > usual.count.high
    assert any("lies uncertain by 5.0 m" in s for s in uncertain.warnings)
    assert not any("uncertain" in s for s in known.warnings)
    assert uncertain.uninformative is None


def test_an_answer_as_wide_as_the_yard_is_none():
    site = replace(site_of())
    site.__dict__["track_m"] = 300.0
    wide = FigureInterval(150.0, 0.0, 320.0)
    assert _uninformative(wide, site, 1.9) is None
    assert "anything from none to all of the 300 m of track" in (_uninformative(wide, site, 3.0) or "")
    assert _uninformative(FigureInterval(150.0, 40.0, 320.0), site, 3.0) is None
    assert _uninformative(FigureInterval(150.0, 0.0, 290.0), site, 3.0) is None


def test_a_wide_boundary_without_tracks_is_refused(estimator):
    far = shapely.box(20, 20, 100, 20 + WIDEST_WITHOUT_TRACKS_M / 10 + 3)
    sentence = estimator.refusal(site_of(far, tracks=False))
    assert sentence is not None
    assert "The area siding has no track lines and is 3" in sentence
    assert "railwatch aoi tracks" in sentence
    assert estimator.refusal(site_of(far)) is None
    assert estimator.refusal(site_of(tracks=False)) is None


def test_an_empty_track_map_and_no_zones(estimator):
    site = site_of(zones=False)
    assert estimator.estimate(image_of(site), site).zones == {}


# ------------------------------------------------------------------------------------- weights file


def test_weights_come_back_as_they_were_written(tmp_path):
    path = untrained_weights(tmp_path)
    loaded = weights.load(path)
    assert loaded.card["name"] == "untrained"
    assert (loaded.pitch, loaded.trusted_to) == (Pitch(PITCH_M, 1.0), 150.0)
    assert loaded.count.at == (1.0, 50.0)
    torch.manual_seed(0)
    ours = OccupancyNet().eval()
    planes, region = torch.randn(1, 31, 16, 24), torch.ones(1, 16, 24)
    with torch.inference_mode():
        assert loaded.network(planes, region).length_m == pytest.approx(
            ours(planes, region).length_m.numpy(), rel=0.02
        )
    estimator = OccupancyEstimator.load(path, "cpu")
    assert (estimator.name, estimator.version) == ("untrained", "7")
    card = json.loads(path.with_suffix(".json").read_text())
    assert estimator.checksum == loaded.checksum == card["sha256"]


@pytest.mark.parametrize("missing", ["pitch_m", "length_stretch", "count_stretch", "trusted_to"])
def test_a_card_that_lacks_something_is_refused(tmp_path, missing):
    torch.manual_seed(0)
    path = tmp_path / "poor.safetensors"
    weights.save(path, OccupancyNet(), {k: v for k, v in CARD.items() if k != missing})
    with pytest.raises(
        WeightsError, match=rf"poor\.safetensors: its tensors or its card don't fit.*{missing}"
    ):
        weights.load(path)


def test_files_that_are_no_occupancy_weights_are_refused(tmp_path):
    with pytest.raises(WeightsError, match="no such weights file"):
        weights.load(tmp_path / "nowhere.safetensors")
    path = untrained_weights(tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError):
        weights.load(path)
    from safetensors.torch import save_file

    from detector.tensor_file import save_tensors

    save_tensors(tmp_path / "other.safetensors", {"a": np.zeros(1)}, {}, "railwatch-wagon-1")
    with pytest.raises(WeightsError, match="not railwatch occupancy weights"):
        weights.load(tmp_path / "other.safetensors")
    save_tensors(tmp_path / "bare.safetensors", {"network.a": np.zeros(1)}, dict(CARD), weights.FORMAT)
    with pytest.raises(WeightsError, match="don't fit this version"):
        weights.load(tmp_path / "bare.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "alone.safetensors")
    with pytest.raises(WeightsError, match="the card"):
        weights.load(tmp_path / "alone.safetensors")


def test_ten_metres_are_answered_without_the_wagon_network():
    from importlib.resources import files

    sources = [
        one.read_text(encoding="utf-8") for one in files("detector.occupancy").iterdir() if one.is_file()
    ]
    assert len(sources) > 5
    assert not any("detector.wagons" in text for text in sources)
    assert "detector.wagons" not in files("detector").joinpath("tensor_file.py").read_text(encoding="utf-8")


def test_the_shipped_weights_load_and_figures_that_are_missing_are_null(tmp_path):
    assert OccupancyEstimator.load(device="cpu").version == "2.1"
    path = untrained_weights(tmp_path, figures={"validation": [{"true": "0", "to_bound": float("nan")}]})
    assert weights.load_head(path).card["figures"]["validation"][0]["to_bound"] is None


# ------------------------------------------------------------------------------------ without torch


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    from detector.training.convert_occupancy import convert_occupancy

    path = untrained_weights(tmp_path_factory.mktemp("converted"))
    network = weights.load(path).network
    torch.manual_seed(1)  # a fresh network doesn't listen to the past yet
    torch.nn.init.normal_(network.comparison.result.weight, std=0.05)
    torch.nn.init.normal_(network.comparison.choice.weight, std=0.5)
    weights.save(path, network, dict(CARD))
    convert_occupancy(weights.load(path))
    return path


@pytest.mark.parametrize("history", [0, 6])
def test_openvino_answers_as_torch_does(converted, history):
    """Also a date whose background is there and whose past dates aren't."""
    site = site_of()
    image = image_of(site)
    if not history:
        image = replace(image, past=())
    by_torch, by_openvino = (
        OccupancyEstimator.load(converted, "cpu", name).estimate(image, site)
        for name in ("torch", "openvino")
    )
    assert by_openvino.length == pytest.approx(by_torch.length, rel=2e-3)
    np.testing.assert_allclose(by_openvino.density, by_torch.density, atol=0.01)
    assert by_openvino.budget == pytest.approx(by_torch.budget, rel=0.05, abs=0.02)


def test_the_shipped_form_is_of_the_shipped_weights():
    from detector.occupancy.weights import OpenVinoOccupancy, TorchOccupancy, load_runner
    from detector.training.convert_occupancy import LIMIT, largest_difference

    head, run = load_runner(device="cpu")
    assert isinstance(run, OpenVinoOccupancy)
    assert largest_difference(TorchOccupancy(weights.load(head.path).network, "cpu"), run) < LIMIT


def test_a_site_is_answered_without_torch():
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from detector.occupancy.estimator import OccupancyEstimator\n"
        "print(OccupancyEstimator.load(device='cpu').backend)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "openvino float32\n", done.stderr
