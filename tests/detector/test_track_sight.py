"""Which parts of an area's tracks an image shows."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
import rasterio.warp
from hypothesis import given
from hypothesis import strategies as st
from rasterio.transform import from_origin
from shapely import LineString, box, transform

from aoi import AreaOfInterest, Track
from aoi.geodesy import local_metres
from detector.wagons.decode import STRIDE, Maps
from detector.wagons.detector import WagonDetector
from detector.wagons.track_sight import STEP_M, RailwayWatch, TrackSight
from geo import Scene, TileGrid, open_scene, tiles
from railwatch.selftest.samples import bundled

SIZE = (400, 1200)  # 200 by 600 m


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    path = tmp_path_factory.mktemp("scene") / "noise.tif"
    pixels = np.random.default_rng(4).integers(1, 255, (3, *SIZE), dtype=np.uint8)
    pixels[:, :, 1000:] = 0
    with rasterio.open(
        path, "w", driver="GTiff", width=SIZE[1], height=SIZE[0], count=3, dtype="uint8", nodata=0,
        crs="EPSG:32652", transform=from_origin(500_000, 4_700_000, 0.5, 0.5),
    ) as out:  # fmt: skip
        out.write(pixels)
    return open_scene(path)


def area_of(scene: Scene, *tracks: tuple[float, float, float, float]) -> AreaOfInterest:
    """An area of the whole scene; tracks as x0, y0, x1, y1 in metres from its upper left corner."""
    outline = scene.footprint()
    assert outline is not None

    def lonlat(x0: float, y0: float, x1: float, y1: float) -> LineString:
        corners = scene.pixel_to_map([(x0 * 2, y0 * 2), (x1 * 2, y1 * 2)])
        to = rasterio.warp.transform(scene.crs, "OGC:CRS84", *corners.T)
        return LineString(np.column_stack(to))

    lines = tuple(Track(f"t{n}", lonlat(*track)) for n, track in enumerate(tracks, start=1))
    return AreaOfInterest("place", "Place", outline, lines)


def looked(scene: Scene, area: AreaOfInterest | None, *, from_x_m: float, to_x_m: float) -> RailwayWatch:
    """As if the network saw railway from one column to another, at 100 m from the top."""
    grid = TileGrid.over(scene, core_px=320, halo_px=32, align_px=32)
    watch = RailwayWatch(scene, grid, area)
    for tile in tiles(scene, grid):
        h, w = (side // STRIDE for side in tile.image.shape[:2])
        logit = np.full((1, 1, h, w), -8.0, np.float32)
        x = (np.arange(w) + 0.5) * STRIDE * 0.5 + tile.window[0] * 0.5
        y = (np.arange(h) + 0.5) * STRIDE * 0.5 + tile.window[1] * 0.5
        logit[0, 0, (np.abs(y - 100.0) < 2.0)[:, None] & ((x >= from_x_m) & (x < to_x_m))[None]] = 3.0
        nothing = np.full_like(logit, -8.0)
        two = np.repeat(nothing, 2, axis=1)
        watch.take(tile, Maps(nothing, two, two, two, np.repeat(nothing, 3, axis=1), nothing, logit))
    return watch


def test_what_is_seen_of_each_track(scene: Scene) -> None:
    area = area_of(scene, (20, 101, 420, 101), (20, 140, 420, 140))
    sight = looked(scene, area, from_x_m=0, to_x_m=200).tracks()
    assert sight is not None
    first = sight.track == 0
    assert sight.seen[first].mean() == pytest.approx((200 + 6 - 20) / 400, abs=0.02)
    assert not sight.seen[~first].any()
    assert sight.unseen_m(~first) == pytest.approx(400, abs=2 * STEP_M)


def test_points_without_pixels_or_beyond_the_boundary_say_nothing(scene: Scene) -> None:
    area = area_of(scene, (300, 100, 590, 100))
    to_plane = local_metres(area.boundary)
    half = transform(area.boundary, lambda xy: np.column_stack(to_plane.transform(*xy.T)))
    west, south, _, north = half.bounds
    cut = transform(
        box(west, south, west + 450, north),
        lambda xy: np.column_stack(to_plane.transform(*xy.T, direction="INVERSE")),
    )
    everything = looked(scene, area, from_x_m=0, to_x_m=600).tracks()
    assert everything is not None
    assert len(everything.seen) * STEP_M == pytest.approx(200, abs=2 * STEP_M)  # valid up to 500 m
    assert everything.share == 1.0
    inside = looked(
        scene, AreaOfInterest("place", "Place", cut, area.tracks), from_x_m=0, to_x_m=600
    ).tracks()
    assert inside is not None
    assert len(inside.seen) * STEP_M == pytest.approx(150, abs=3 * STEP_M)


def test_railway_is_found_without_tracks_to_look_for(scene: Scene) -> None:
    assert not looked(scene, None, from_x_m=10, to_x_m=12).found
    watch = looked(scene, None, from_x_m=0, to_x_m=300)
    assert watch.found
    assert watch.tracks() is None


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_share_and_length_tell_the_same(seen: list[bool]) -> None:
    flags = np.array(seen)
    sight = TrackSight(np.zeros((len(seen), 2)), np.zeros(len(seen), np.int64), flags)
    assert sight.share is not None
    assert sight.unseen_m() == pytest.approx((1 - sight.share) * len(seen) * STEP_M)


def test_the_network_sees_the_sample_yard_and_not_through_a_cloud(tmp_path: Path) -> None:
    detector = WagonDetector.load(device="cpu")
    with bundled() as samples:
        path = samples.tiles[0].path
        clear = detector.detect(open_scene(path), samples.area)
        with rasterio.open(path) as image:
            profile, shape = image.profile, (image.count, image.height, image.width)
        rng = np.random.default_rng(3)
        billows = cv2.GaussianBlur(rng.standard_normal(shape[1:], dtype=np.float32), (0, 0), 12.0)
        white = np.clip(225 + 12 * billows / billows.std() + rng.normal(0, 1.5, shape), 0, 255)
        with rasterio.open(
            tmp_path / "cloud.tif", "w", driver="GTiff", dtype="uint8",
            **{key: profile[key] for key in ("count", "width", "height", "crs", "transform")},
        ) as out:  # fmt: skip
            out.write(white.astype(np.uint8))
        hidden = detector.detect(open_scene(tmp_path / "cloud.tif"), samples.area)
    assert clear.tracks is not None
    assert hidden.tracks is not None
    assert clear.tracks.share is not None
    assert clear.tracks.share > 0.95
    assert hidden.tracks.share == 0.0
    assert clear.railway
    assert not hidden.railway
    assert any("no railway is seen" in text for text in hidden.warnings)
    assert not clear.warnings
