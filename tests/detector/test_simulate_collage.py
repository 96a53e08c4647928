"""The second simulator of pictures: what its labels say is what is painted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.simulators.collage.canvas import PX_M, Canvas, Vehicle, photograph, rectangle, ribbon
from detector.simulators.collage.cutouts import VEHICLES, WEIGHTS, Cutout, cutout, random_paint
from detector.simulators.collage.scene import KINDS, random_collage
from detector.training.tiles import to_tile
from detector.wagons.categories import COACH, FREIGHT, LOCOMOTIVE

SIDE_M = 40.0


def canvas(lean: tuple[float, float] = (0.0, 0.0)) -> Canvas:
    """A black square without anything."""
    side = round(SIDE_M / PX_M)
    return Canvas(
        rgb=np.zeros((side, side, 3), np.float32),
        hidden=np.zeros((side, side), bool),
        lean=np.array(lean),
        sun_elevation_deg=45.0,
        shade=np.full(3, 0.5, np.float32),
        shadow=np.array([1.0, 0.0]),
        kind="yard",
    )


def white(length_m: float = 14.0, width_m: float = 3.0) -> Cutout:
    shape = (round(width_m / 0.1), round(length_m / 0.1))
    return Cutout(np.ones((*shape, 3), np.float32), np.ones(shape, np.float32), 4.0, FREIGHT, "van")


def parked(
    on: Canvas, *, x: float = 20.0, y: float = 20.0, angle: float = 0.0, piece: Cutout | None = None
) -> Vehicle:
    piece = piece or white()
    vehicle = Vehicle(x, y, angle, *piece.size_m, piece.height_m, piece.category, piece.name)
    on.park(piece, vehicle)
    return vehicle


def centroid_m(painted: np.ndarray) -> np.ndarray:
    y, x = (
        np.average(np.arange(n), weights=painted.sum(axis=a))
        for a, n in ((1, len(painted)), (0, painted.shape[1]))
    )
    return (np.array([x, y]) + 0.5) * PX_M


@settings(max_examples=40, deadline=None)
@given(x=st.floats(10, 30), y=st.floats(10, 30), angle=st.floats(-180, 180), length=st.floats(6, 18))
def test_a_vehicle_is_painted_where_its_label_is(x: float, y: float, angle: float, length: float):
    scene = canvas()
    vehicle = parked(scene, x=x, y=y, angle=angle, piece=white(length))
    painted = scene.rgb[..., 0]
    assert centroid_m(painted) == pytest.approx([x, y], abs=0.05)
    assert painted.sum() * PX_M**2 == pytest.approx(vehicle.length_m * vehicle.width_m, rel=0.03)
    wanted = scene.area(rectangle(vehicle.centre, vehicle.length_m, vehicle.width_m, angle))
    assert (painted * wanted).sum() / painted.sum() > 0.93


def test_a_leaning_vehicle_is_labelled_at_half_its_height():
    scene = canvas(lean=(0.3, -0.2))
    parked(scene)
    assert centroid_m(scene.rgb[..., 0] > 0.95) == pytest.approx([20 + 0.3 * 4, 20 - 0.2 * 4], abs=0.05)
    # Side and roof together reach as far to both sides of the label.
    assert centroid_m(scene.rgb[..., 0] > 0.3) == pytest.approx([20.6, 19.6], abs=0.1)
    box = photograph(scene, np.random.default_rng(1), gsd_m=0.4).boxes[0]
    assert box[:2] * 0.4 == pytest.approx([20.6, 19.6], abs=0.02)
    assert box[2:4] * 0.4 == pytest.approx([14.0, 3.0], abs=0.05)


def test_a_vehicle_half_off_the_canvas_is_labelled_and_one_wholly_off_is_not():
    scene = canvas()
    parked(scene, x=0.0)
    parked(scene, x=-30.0)
    seen = photograph(scene, np.random.default_rng(1), gsd_m=0.5)
    assert len(seen.boxes) == 1
    assert seen.visibility[0] == pytest.approx(0.5, abs=0.05)


def test_what_hides_a_vehicle_lowers_its_visibility():
    scene = canvas()
    parked(scene)
    scene.block(rectangle(np.array([16.0, 20.0]), 8.0, 8.0, 0.0), 6.0, np.full(3, 0.4, np.float32))
    assert photograph(scene, np.random.default_rng(1)).visibility[0] == pytest.approx(0.5, abs=0.06)


def test_shadows_fall_away_from_the_sun_and_no_darker_where_two_overlap():
    scene = canvas()
    scene.rgb[:] = 0.8
    base = rectangle(np.array([10.0, 20.0]), 4.0, 4.0, 0.0)
    cast = scene.cast(base, 6.0)
    assert cast[:, 0].max() == pytest.approx(18.0)  # 45 degrees: as long as high
    assert cast[:, 0].min() == pytest.approx(8.0)
    scene.dim(cast, cast + np.array([1.0, 0.0]))
    row = scene.rgb[round(20 / PX_M), :, 0]
    assert row[round(14 / PX_M)] == pytest.approx(0.4, abs=0.01)
    assert row[round(25 / PX_M)] == pytest.approx(0.8)


def test_a_ribbon_lies_to_the_right_of_its_line():
    line = np.stack([np.linspace(0, 10, 11), np.zeros(11)], axis=1)
    shape = ribbon(line, 1.0, 3.0)
    # Going along x with y down, right is +y.
    assert shape[:, 1].min() == pytest.approx(1.0)
    assert shape[:, 1].max() == pytest.approx(3.0)


@pytest.mark.parametrize("kind", VEHICLES)
def test_cutouts_have_the_size_the_category_and_a_body(kind: str):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        paint = random_paint(rng, kind, np.full(3, 0.4, np.float32), 0.5)
        piece = cutout(rng, kind, paint)
        assert piece.size_m[0] == pytest.approx(paint.length_m, abs=0.06)
        assert 2.6 <= piece.size_m[1] <= 3.3
        assert piece.category == {"carriage": COACH, "unit": COACH, "engine": LOCOMOTIVE}.get(kind, FREIGHT)
        assert 1.0 < piece.height_m < 6.0
        assert piece.colour.min() >= 0
        assert piece.colour.max() <= 1
        assert np.isfinite(piece.colour).all()
        assert piece.solid.mean() > (0.35 if kind == "deck" else 0.6)


def test_two_of_one_string_are_of_one_design_and_not_the_same():
    paint = random_paint(np.random.default_rng(1), "hatches", np.full(3, 0.4, np.float32), 0.5)
    one, two = (cutout(np.random.default_rng(seed), "hatches", paint) for seed in (1, 2))
    other = cutout(
        np.random.default_rng(1),
        "hatches",
        random_paint(np.random.default_rng(2), "hatches", np.full(3, 0.4, np.float32), 0.5),
    )
    assert one.size_m == two.size_m
    assert one.height_m == two.height_m
    assert not np.array_equal(one.colour, two.colour)
    assert one.size_m != other.size_m


def test_equal_seeds_paint_equal_scenes():
    def scene(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return photograph(random_collage(rng, size_m=60.0), rng).image

    assert np.array_equal(scene(3), scene(3))
    assert scene(3).shape != scene(4).shape or not np.array_equal(scene(3), scene(4))


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_hold_what_they_say(kind: str):
    wagons = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        scene = random_collage(rng, size_m=100.0, kind=kind)
        assert scene.kind == kind
        assert bool(scene.tracks) == (kind != "no rail")
        wagons += len(scene.vehicles)
    assert (wagons > 0) == (kind in {"yard", "line", "passengers"})


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="harbour"):
        random_collage(np.random.default_rng(1), kind="harbour")


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_vehicles_stand_on_a_track_and_beside_each_other(seed: int):
    import shapely

    scene = random_collage(np.random.default_rng(seed), size_m=120.0, kind="yard")
    lines = shapely.MultiLineString([shapely.LineString(t) for t in scene.tracks])
    # Half a wagon's length of an arc of 180 m radius bows by 0.6 m from the line between its ends.
    assert all(lines.distance(shapely.Point(v.centre)) < 0.8 for v in scene.vehicles)
    bodies = [
        shapely.Polygon(rectangle(v.centre, v.length_m, v.width_m, v.angle_deg)) for v in scene.vehicles
    ]
    tree = shapely.STRtree(bodies)
    first, second = tree.query(bodies, predicate="intersects")
    overlap = [bodies[a].intersection(bodies[b]).area for a, b in zip(first, second, strict=True) if a < b]
    assert max(overlap, default=0.0) < 12.0  # where two tracks join


def test_a_picture_has_the_asked_for_distance_and_labels_in_its_pixels():
    rng = np.random.default_rng(11)
    scene = random_collage(rng, size_m=90.0, kind="yard")
    fine, coarse = (photograph(scene, np.random.default_rng(1), gsd_m=g) for g in (0.3, 0.9))
    assert fine.gsd_m == pytest.approx(0.3, rel=0.01)
    assert coarse.gsd_m == pytest.approx(0.9, rel=0.01)
    assert fine.image.shape[0] == pytest.approx(90 / 0.3, abs=1)
    assert fine.boxes[:, :4] * fine.gsd_m == pytest.approx(coarse.boxes[:, :4] * coarse.gsd_m)
    assert set(fine.meta) >= {"kind", "sun_elevation_deg", "off_nadir_deg"}
    tile = to_tile(coarse, 160)
    assert tile.image.shape == (160, 160, 3)
    assert len(tile.boxes) == len(coarse.boxes)
    assert (tile.track == 1).any()


def test_the_mixture_of_vehicles_is_one():
    assert sum(WEIGHTS.values()) == pytest.approx(1.0)
    assert sum(KINDS.values()) == pytest.approx(1.0)
    # Engines head trains, and multiple units are a fixed formation of their own.
    assert set(WEIGHTS) | {"engine", "unit"} == set(VEHICLES)
    assert math.isclose(min(low for _, low, *_ in VEHICLES.values()), 10.0)


def test_some_training_scenes_hold_long_strings_of_one_kind_in_one_dark_tone():
    size_m = 80.0

    def dark(split: str) -> int:
        found = 0
        for seed in range(30):
            scene = random_collage(np.random.default_rng(seed), split=split, size_m=size_m, kind="line")
            cars = [v for v in scene.vehicles if v.category == FREIGHT]
            if len(cars) < 6 or len({v.name for v in cars}) > 1:
                continue
            columns, rows = (np.array([v.centre for v in cars]).T / PX_M).astype(int)
            limit = len(scene.rgb) - 1
            tone = scene.rgb[np.clip(rows, 0, limit), np.clip(columns, 0, limit)].mean(axis=1)
            found += bool(np.median(tone) < 0.3)
        return found

    assert dark("train") >= dark("test") + 2
