"""From file to wagons: the same wagons whatever the tiling, the resolution and the system of coordinates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
import torch
from affine import Affine
from best_match import match_best
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from painted import PaintedNet, bright_wagons, bright_weights, paint, painted_detector
from PIL import Image
from pyproj import CRS, Geod, Transformer

from aoi import AreaOfInterest
from detector.errors import ResolutionError
from detector.wagons.boxes import as_boxes
from detector.wagons.decode import Candidates, owned_by
from detector.wagons.detector import HALO_PX, WagonDetector
from detector.wagons.weights import TorchMaps
from geo import Scene, SceneError, TileGrid, open_scene

EAST, NORTH = 632_000.0, 4_698_000.0
LON, LAT = 130.6, 42.42


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def detector() -> WagonDetector:
    return painted_detector()


def placing(kind: str, gsd_m: float) -> tuple[str, Affine]:
    """CRS and transform of an image near Tumangang with pixels of so many metres on the ground."""
    shrink = math.cos(math.radians(LAT))
    if kind == "utm":
        return "EPSG:32652", Affine(gsd_m, 0, EAST, 0, -gsd_m, NORTH)
    if kind == "rotated":
        cos, sin = gsd_m * math.cos(math.radians(27)), gsd_m * math.sin(math.radians(27))
        return "EPSG:32652", Affine(cos, sin, EAST, sin, -cos, NORTH)
    if kind == "web":
        x, y = Transformer.from_crs("OGC:CRS84", "EPSG:3857", always_xy=True).transform(LON, LAT)
        return "EPSG:3857", Affine(gsd_m / shrink, 0, x, 0, -gsd_m / shrink, y)
    assert kind == "degrees"
    # Degrees that are equal both ways: pixels are not square on the ground.
    degrees = gsd_m / 111_000 / math.sqrt(shrink)
    return "EPSG:4326", Affine(degrees, 0, LON, 0, -degrees, LAT)


@dataclass(frozen=True)
class Painted:
    """An image of painted wagons."""

    scene: Scene
    boxes: np.ndarray  # in work pixels


def image_of(folder: Path, boxes, size_px: tuple[int, int], kind: str, gsd_m: float, nodata=None) -> Painted:
    """Paint wagons into an image of so many work pixels (width, height); the boxes are in them too."""
    path = folder / f"{kind}-{gsd_m}.{'png' if kind == 'plain' else 'tif'}"

    def write(pixels: np.ndarray) -> Scene:
        if kind == "plain":
            Image.fromarray(pixels).save(path)
            return open_scene(path, gsd_m=gsd_m)
        crs, transform = placing(kind, gsd_m)
        profile = {"width": pixels.shape[1], "height": pixels.shape[0], "count": 3, "dtype": "uint8"}
        with rasterio.open(
            path, "w", "GTiff", crs=crs, transform=transform, nodata=nodata, **profile
        ) as file:
            file.write(np.moveaxis(pixels, 2, 0))
        return open_scene(path)

    # Only the opened image knows the size of its pixels on the ground.
    blank = write(np.zeros((8, 8, 3), np.uint8))
    scale = tuple(0.5 / gsd for gsd in blank.gsd_xy_m)
    width, height = (round(side * pixels) for side, pixels in zip(size_px, scale, strict=True))
    return Painted(write(paint(boxes, (height, width), scale)), as_boxes(boxes))


def yard(seed: int, size_px: tuple[int, int], angle: float) -> np.ndarray:
    """Strings of wagons on parallel tracks all over a place."""
    rng = np.random.default_rng(seed)
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    reach = float(np.hypot(*size_px))
    boxes = []
    for across in np.arange(-reach, reach, rng.uniform(12, 30)):
        along = -reach + rng.uniform(0, 60)
        while along < reach:
            length = rng.uniform(22, 54)
            along += length / 2
            x = size_px[0] / 2 + along * cos - across * sin
            y = size_px[1] / 2 + along * sin + across * cos
            if rng.random() < 0.7:
                boxes.append([x, y, length, 6.0, angle])
            along += length / 2 + rng.uniform(3, 8)
    boxes = as_boxes(boxes)
    # Centres clear of the image's own border.
    inside = ((boxes[:, :2] > 8) & (boxes[:, :2] < np.array(size_px) - 8)).all(axis=1)
    return boxes[inside]


def in_work_pixels(scene: Scene, frame) -> np.ndarray:
    return TileGrid.over(scene).source_to_work(as_boxes(frame["pixel_box"].tolist()))


def wagons(detector: WagonDetector, scene: Scene, grid: TileGrid, batch_size: int) -> np.ndarray:
    """Boxes of a given tiling, in work pixels, sorted by place."""
    parts = [owned_by(tile, c) for c, tile, _ in detector._tiles(scene, grid, batch_size, None)]
    boxes = detector.judge(Candidates.joined(parts), scene.gsd_m).boxes
    return boxes[np.lexsort(boxes[:, :2].round(3).T)]


@given(
    seed=st.integers(0, 1000),
    kind=st.sampled_from(["plain", "utm", "rotated", "web", "degrees"]),
    gsd_m=st.sampled_from([0.3, 0.5, 0.8]),
    size_px=st.tuples(st.integers(90, 420), st.integers(90, 420)),
    angle=st.floats(0, 179.9),
    core_px=st.sampled_from([64, 96, 160, 224, 768]),
    batch_size=st.integers(1, 5),
    origin=st.tuples(st.integers(-4, 4), st.integers(-4, 4)),
)
@settings(max_examples=16, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_same_wagons_whatever_the_tiling(
    detector, tmp_path, seed, kind, gsd_m, size_px, angle, core_px, batch_size, origin
):
    painted = image_of(tmp_path, yard(seed, size_px, angle), size_px, kind, gsd_m)
    scene, truth = painted.scene, painted.boxes
    whole = wagons(detector, scene, TileGrid.over(scene, core_px=1024, halo_px=HALO_PX), 1)
    shifted = TileGrid.over(scene, core_px=core_px, halo_px=HALO_PX, origin=(32 * origin[0], 32 * origin[1]))
    again = wagons(detector, scene, shifted, batch_size)
    np.testing.assert_allclose(again, whole, atol=1e-3)
    # And they are those that were painted, each once.
    assert len(whole) == len(truth)
    found = match_best(whole, truth, 0.35)
    assert len(found.true) == len(truth)
    distance = np.linalg.norm(whole[found.predicted, :2] - truth[found.true, :2], axis=1)
    assert distance.max(initial=0) < 3.5  # two pixels of 0.8 m


@pytest.mark.parametrize("tile_px", [64, 128, 320])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_detect_counts_the_same_with_any_tiles_and_batches(detector, tmp_path, tile_px, batch_size):
    painted = image_of(tmp_path, yard(5, (400, 300), 17.0), (400, 300), "utm", 0.5)
    usual = detector.detect(painted.scene)
    other = detector.detect(painted.scene, tile_px=tile_px, batch_size=batch_size)
    assert usual.count == other.count == len(painted.boxes) > 30
    assert (usual.count_low, usual.count_high) == (other.count_low, other.count_high)
    # The same table, row by row but for the order of equal scores.
    a, b = (d.frame.assign(x=d.frame["pixel_box"].str[0].round(3)) for d in (usual, other))
    a, b = (t.sort_values(["x", "score"], ignore_index=True) for t in (a, b))
    np.testing.assert_allclose(a["score"], b["score"], atol=1e-6)
    assert a.geometry.geom_equals_exact(b.geometry, 1e-3).all()


@pytest.mark.parametrize("core_px", [64, 96])
def test_a_wagon_on_the_border_of_two_tiles_is_one_wagon(detector, tmp_path, core_px):
    # Centres on and within a cell of the borders of the cores, also where four meet.
    edges = [core_px + shift for shift in (-3.9, -0.5, 0.0, 0.49, 3.9)]
    boxes = [[x, 40 + 24 * k, 30, 6, 0] for k, x in enumerate(edges)]
    boxes += [[250, core_px + 0.1, 30, 6, 90], [2 * core_px + 60.0, 2 * core_px, 40, 6, 45]]
    painted = image_of(tmp_path, boxes, (400, 300), "plain", 0.5)
    for tile_px in (core_px, 768):
        found = detector.detect(painted.scene, tile_px=tile_px)
        assert found.count == len(boxes)


@pytest.mark.parametrize("kind", ["utm", "rotated", "web", "degrees"])
@pytest.mark.parametrize("gsd_m", [0.3, 0.5, 0.8])
def test_lengths_and_azimuths_are_those_on_the_ground(detector, tmp_path, kind, gsd_m):
    angles = [0.0, 30.0, 90.0, 150.0]
    boxes = [[60 + 60 * k, 60.0 + 20 * (k % 2), 32.0 + 4 * k, 6.0, a] for k, a in enumerate(angles)]
    painted = image_of(tmp_path, boxes, (300, 140), kind, gsd_m)
    scene, frame = painted.scene, detector.detect(painted.scene).frame
    assert len(frame) == 4
    assert frame.crs == scene.crs
    geod = Geod(ellps="WGS84")
    to_earth = Transformer.from_crs(CRS(scene.crs), "OGC:CRS84", always_xy=True)
    for row in frame.itertuples():
        corners = shapely.get_coordinates(row.geometry)[:4]
        front, back = corners[:2].mean(axis=0), corners[2:].mean(axis=0)
        left, right = corners[[0, 3]].mean(axis=0), corners[[1, 2]].mean(axis=0)
        ends = np.column_stack(to_earth.transform(*np.array([front, back, left, right]).T))
        azimuth, _, length = geod.inv(*ends[1], *ends[0])
        width = geod.inv(*ends[2], *ends[3])[2]
        assert row.length_m == pytest.approx(length, rel=2e-3)
        assert row.width_m == pytest.approx(width, rel=2e-3)
        if kind in {"utm", "rotated"}:
            dx, dy = front - back
            azimuth = math.degrees(math.atan2(dx, dy))  # from grid north
        assert abs((row.azimuth_deg - azimuth + 90) % 180 - 90) < 0.05
        assert 0 <= row.azimuth_deg < 180
    # And they are those of the wagons painted: half a metre a work pixel.
    found = match_best(in_work_pixels(scene, frame), painted.boxes, 0.3)
    lengths = frame["length_m"].to_numpy()[found.predicted]
    np.testing.assert_allclose(lengths, painted.boxes[found.true, 2] / 2, rtol=0.1)


@pytest.mark.parametrize("kind", ["utm", "rotated", "web", "degrees"])
def test_pixel_boxes_and_polygons_are_one_and_the_same(detector, tmp_path, kind):
    painted = image_of(tmp_path, yard(2, (300, 200), 40.0), (300, 200), kind, 0.8)
    frame = detector.detect(painted.scene).frame
    for row in frame.itertuples():
        centre = painted.scene.pixel_to_map([row.pixel_box[:2]])[0]
        assert shapely.Point(centre).distance(row.geometry.centroid) < 1e-3 * math.sqrt(row.geometry.area)
        # The front edge lies half a length ahead of the centre along the angle.
        x, y, length, _, angle = row.pixel_box
        half = length / 2
        front = [x + half * math.cos(math.radians(angle)), y + half * math.sin(math.radians(angle))]
        edge = shapely.LineString(shapely.get_coordinates(row.geometry)[:2])
        here = shapely.Point(painted.scene.pixel_to_map([front])[0])
        assert here.distance(edge) < 0.01 * math.sqrt(row.geometry.area)


def test_an_image_without_position_has_boxes_without_geometry(detector, tmp_path):
    painted = image_of(tmp_path, [[60, 60, 40, 6, 30]], (200, 120), "plain", 0.8)
    found = detector.detect(painted.scene)
    assert found.frame.crs is None
    assert found.frame.geometry.isna().all()
    row = found.frame.iloc[0]
    assert row["azimuth_deg"] == pytest.approx(120, abs=3)  # image up is north
    assert row["length_m"] == pytest.approx(20, rel=0.1)
    assert row["gsd_m"] == 0.8
    assert row["image"] == painted.scene.path.name
    assert found.scene_id == painted.scene.id


@pytest.mark.parametrize("size_px", [(40, 30), (96, 33), (33, 96)])
def test_a_scene_smaller_than_a_tile(detector, tmp_path, size_px):
    box = [size_px[0] / 2, size_px[1] / 2, 24, 6, 0 if size_px[0] > size_px[1] else 90]
    painted = image_of(tmp_path, [box], size_px, "utm", 0.5)
    found = detector.detect(painted.scene)
    assert found.count == 1
    assert match_best(in_work_pixels(painted.scene, found.frame), painted.boxes, 0.6).iou.size == 1


def test_an_empty_scene_has_an_empty_table(detector, tmp_path):
    painted = image_of(tmp_path, [], (200, 120), "utm", 0.5)
    found = detector.detect(painted.scene)
    assert (found.count, found.count_low, len(found.frame), len(found.below_threshold)) == (0, 0, 0, 0)
    assert found.frame.crs == painted.scene.crs
    assert found.valid_fraction == 1.0
    assert not found.railway
    assert len(found.warnings) == 1  # that no railway is seen


def area_over(scene: Scene, outline: shapely.Geometry) -> AreaOfInterest:
    """An area given in pixels of a scene."""
    to_earth = Transformer.from_crs(CRS(scene.crs), "OGC:CRS84", always_xy=True)
    ring = shapely.transform(
        outline, lambda xy: np.column_stack(to_earth.transform(*scene.pixel_to_map(xy).T))
    )
    return AreaOfInterest(name="yard", title="Yard", boundary=ring)


@pytest.mark.parametrize("kind", ["utm", "rotated", "degrees"])
def test_an_area_partly_outside_the_scene(detector, tmp_path, kind):
    painted = image_of(tmp_path, yard(8, (500, 400), 65.0), (500, 400), kind, 0.5)
    scene = painted.scene
    outline = shapely.box(scene.width * 0.7, -40, scene.width * 1.3, scene.height * 0.4)
    found = detector.detect(scene, area_over(scene, outline), tile_px=64)
    inside = shapely.transform(outline, lambda xy: xy * np.array(scene.gsd_xy_m) / 0.5)
    wanted = painted.boxes[shapely.contains_xy(inside, painted.boxes[:, 0], painted.boxes[:, 1])]
    assert len(wanted) > 5
    work = in_work_pixels(scene, found.frame)
    assert len(match_best(work, wanted, 0.4).true) == len(wanted)
    # Tiles that the area doesn't touch aren't looked at.
    assert len(work) < 0.7 * len(painted.boxes)
    assert 0.3 < found.valid_fraction < 0.55
    assert any("of the area has valid pixels" in w for w in found.warnings)


def test_an_area_elsewhere_is_refused(detector, tmp_path):
    scene = image_of(tmp_path, [], (200, 120), "utm", 0.5).scene
    with pytest.raises(SceneError, match="doesn't touch"):
        detector.detect(scene, area_over(scene, shapely.box(5000, 5000, 6000, 6000)))


def test_wagons_under_nodata_are_not_seen(detector, tmp_path):
    boxes = [[60, 60, 40, 6, 0], [160, 60, 40, 6, 0]]
    scene = image_of(tmp_path, boxes, (220, 120), "utm", 0.5, nodata=255).scene
    with rasterio.open(scene.path, "r+") as file:
        pixels = file.read()
        pixels[:, :, 110:] = 255
        file.write(pixels)
    found = detector.detect(open_scene(scene.path))
    assert found.count == 1
    assert found.valid_fraction == pytest.approx(0.5, abs=0.01)
    assert any(w.startswith("only 50% of the image has valid pixels") for w in found.warnings)


def test_a_scene_without_a_valid_pixel_is_refused(detector, tmp_path):
    scene = image_of(tmp_path, [], (200, 120), "utm", 0.5, nodata=7).scene
    with rasterio.open(scene.path, "r+") as file:
        file.write(np.full_like(file.read(), 7))
    with pytest.raises(SceneError, match="no valid pixel"):
        detector.detect(open_scene(scene.path))


@pytest.mark.parametrize(
    ("gsd_m", "message"),
    [
        (10.0, "too coarse to see wagons one by one"),
        (1.5, "the detector needs 1.2 m or finer"),
        (3.0, "track is occupied can be told from series of Sentinel-2 products and PlanetScope's"),
        (0.05, "finer than the 0.1 m this detector knows"),
    ],
)
def test_a_resolution_at_which_wagons_cannot_be_seen_is_refused(detector, tmp_path, gsd_m, message):
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "x.png")
    with pytest.raises(ResolutionError, match=message) as caught:
        detector.detect(open_scene(tmp_path / "x.png", gsd_m=gsd_m))
    assert str(tmp_path / "x.png") in str(caught.value)


def test_an_unusual_resolution_widens_the_interval(detector, tmp_path):
    boxes = yard(3, (300, 200), 20.0)
    usual = detector.detect(image_of(tmp_path, boxes, (300, 200), "plain", 0.8).scene)
    coarse = detector.detect(image_of(tmp_path, boxes, (300, 200), "plain", 1.15).scene)
    assert usual.widening == 1.0
    assert coarse.widening > 1.1
    assert any("the interval is widened" in w for w in coarse.warnings)
    assert usual.warnings == ()


def test_a_careful_image_is_the_mean_of_four(detector, tmp_path):
    rng = np.random.default_rng(3)
    image = rng.integers(0, 255, (64, 96, 3), dtype=np.uint8)
    once = [
        detector.maps([np.ascontiguousarray(np.flip(image, a) if a else image)]).heatmap
        for a in ((), (0,), (1,), (0, 1))
    ]
    turns = ((), (0,), (1,), (0, 1))
    back = [np.flip(heatmap, tuple(x + 2 for x in a)) for heatmap, a in zip(once, turns, strict=True)]
    mean = sum(back) / 4
    careful = detector.maps([image], careful=True).heatmap
    assert careful == pytest.approx(mean, abs=1e-5)
    mirrored = detector.maps([np.ascontiguousarray(image[:, ::-1])], careful=True).heatmap
    assert np.flip(mirrored, 3) == pytest.approx(careful, abs=1e-5)


def test_the_threshold_parts_wagons_from_doubts(detector, tmp_path):
    scene = image_of(tmp_path, yard(3, (300, 200), 20.0), (300, 200), "utm", 0.5).scene
    usual = detector.detect(scene)
    strict = detector.detect(scene, threshold=0.9999)
    assert len(strict.frame) < len(usual.frame)
    assert len(strict.frame) + len(strict.below_threshold) == len(usual.frame) + len(usual.below_threshold)
    assert (strict.below_threshold["score"] < 0.9999).all()
    assert painted_detector(threshold=0.9999).detect(scene).count == strict.count


def test_wagons_come_best_first_and_twice_the_same(detector, tmp_path):
    scene = image_of(tmp_path, yard(4, (300, 200), 130.0), (300, 200), "utm", 0.5).scene
    first, second = detector.detect(scene), detector.detect(scene)
    assert first.frame["score"].is_monotonic_decreasing
    assert first.frame.drop(columns="geometry").equals(second.frame.drop(columns="geometry"))
    assert first.frame.geometry.geom_equals(second.frame.geometry).all()


def test_progress_reaches_the_end(detector, tmp_path):
    scene = image_of(tmp_path, [[60, 60, 40, 6, 0]], (300, 200), "utm", 0.5).scene
    steps = []
    detector.detect(scene, tile_px=64, progress=lambda done, total: steps.append((done, total)))
    assert steps == sorted(steps)
    assert steps[-1] == (len(TileGrid.over(scene, core_px=64, halo_px=HALO_PX)),) * 2


def test_noise_is_said_to_be_noise(tmp_path):
    class Loud(PaintedNet):
        """Sees a wagon in every cell: more of them than have room."""

        def forward(self, image):
            maps = super().forward(image)
            return maps._replace(heatmap=torch.full_like(maps.heatmap, 3.0))

    detector = painted_detector()
    detector._network = TorchMaps(Loud(), "cpu", torch.float32)
    scene = image_of(tmp_path, [], (300, 200), "plain", 0.5).scene
    found = detector.detect(scene)
    assert any("more candidates than wagons have room" in w for w in found.warnings)


def test_a_weights_file_detects_from_end_to_end(tmp_path):
    centres = [(42, 42), (82, 42), (122, 90)]
    Image.fromarray(bright_wagons(centres)).save(tmp_path / "yard.png")
    detector = WagonDetector.load(bright_weights(tmp_path), "cpu")
    assert detector.name == "bright"
    found = detector.detect(open_scene(tmp_path / "yard.png", gsd_m=0.5))
    assert found.count == 3
    places = sorted(tuple(np.round(b[:2])) for b in found.frame["pixel_box"])
    assert places == centres
    assert set(found.frame["category"]) == {"freight"}
    np.testing.assert_allclose(found.frame["length_m"], 15, rtol=0.01)
