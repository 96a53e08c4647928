from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine
from geo_images import area_at, placed, texture, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geo import Scene, SceneError, Tile, TileGrid, open_scene, tiles

GSD_M = 0.4


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """300 x 200 pixels at 0.4 m, with a hole: 240 x 160 work pixels."""
    numbers = texture(200, 300)
    numbers[:, 60:140, 100:190] = 0
    path = tmp_path_factory.mktemp("tiles") / "yard.tif"
    return open_scene(
        write(path, numbers, nodata=0, tiled=True, blockxsize=64, blockysize=64, **placed(GSD_M))
    )


def mosaic(scene: Scene, grid: TileGrid) -> tuple[np.ndarray, np.ndarray]:
    """The work raster, put together from cores; every pixel must be written at most once."""
    image = np.zeros((grid.height, grid.width, 3), np.uint8)
    times = np.zeros((grid.height, grid.width), int)
    valid = np.zeros((grid.height, grid.width), np.bool_)
    for tile in tiles(scene, grid):
        x0, y0, x1, y1 = tile.core
        left, top = tile.window[:2]
        part = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
        image[y0:y1, x0:x1], valid[y0:y1, x0:x1] = tile.image[part], tile.valid[part]
        times[y0:y1, x0:x1] += 1
    assert times.max() == 1
    return image, valid


tilings = st.builds(
    lambda align, core, halo, x, y: {
        "align_px": align,
        "core_px": align * core,
        "halo_px": align * halo,
        "origin": (align * x, align * y),
    },
    st.sampled_from([1, 8, 32]),
    st.integers(1, 12).filter(lambda core: core > 0),
    st.integers(0, 3),
    st.integers(-9, 9),
    st.integers(-9, 9),
).filter(lambda tiling: tiling["core_px"] >= 24)


@settings(max_examples=60)
@given(tiling=tilings, width=st.integers(1, 400), height=st.integers(1, 400))
def test_cores_partition_the_raster(tiling: dict, width: int, height: int) -> None:
    grid = grid_of(width, height, tiling)
    owner = np.full((height, width), -1)
    for index, spec in enumerate(grid):
        assert spec.index == index
        x0, y0, x1, y1 = spec.core
        assert x0 < x1
        assert y0 < y1
        assert (owner[y0:y1, x0:x1] == -1).all()
        owner[y0:y1, x0:x1] = index
        halo = tiling["halo_px"]
        assert spec.window[0] <= max(0, x0 - halo)
        assert spec.window[1] <= max(0, y0 - halo)
        assert spec.window[2] >= min(width, x1 + halo)
        assert spec.window[3] >= min(height, y1 + halo)
        assert (spec.window[2] - spec.window[0], spec.window[3] - spec.window[1]) == grid.window_px
        assert spec.window[0] % tiling["align_px"] == 0
        assert grid.window_px[0] % tiling["align_px"] == 0
    assert (owner >= 0).all()
    assert len(grid) == owner.max() + 1


def grid_of(width: int, height: int, tiling: dict) -> TileGrid:
    """A grid over a raster that only has a size."""
    return TileGrid.over(bare_scene(width, height), **tiling)


def bare_scene(width: int, height: int) -> Scene:
    return Scene.build(
        path=Path("bare.png"),
        crs=None,
        transform=Affine.identity(),
        width=width,
        height=height,
        given_gsd_m=0.5,
        id="bare",
        datetime=None,
        sensor="unknown",
        count=3,
        dtype="uint8",
        bands=(1, 2, 3),
        nodata=None,
        declared_stretch=None,
        source=None,
    )


def owners(grid: TileGrid, x: float, y: float) -> list[int]:
    """The tiles whose cores hold a point, in work pixels of the whole scene."""
    return [one.index for one in grid if one.core[0] <= x < one.core[2] and one.core[1] <= y < one.core[3]]


@settings(max_examples=60)
@given(tiling=tilings, x=st.floats(-20, 420), y=st.floats(-20, 420))
def test_each_point_has_one_owner(tiling: dict, x: float, y: float) -> None:
    grid = grid_of(400, 310, tiling)
    found = owners(grid, x, y)
    if 0 <= x < 400 and 0 <= y < 310:
        assert len(found) == 1
    else:
        assert found == []


@given(width=st.integers(1, 9000), core=st.sampled_from([448, 832, 2048]), halo=st.sampled_from([32, 96]))
def test_windows_show_no_more_than_they_must(width: int, core: int, halo: int) -> None:
    grid = grid_of(width, 40, {"core_px": core, "halo_px": halo})
    assert grid.window_px[1] == 64
    assert grid.window_px[0] <= core + 2 * halo
    shown, needed = len(grid) * grid.window_px[0], width + 2 * halo * (len(grid) - 1)
    assert needed <= shown < needed + 32 * (len(grid) + 1)
    assert grid[0].window[0] == 0
    if len(grid) > 1:  # with one window less they would be too long
        assert needed - 2 * halo > (len(grid) - 1) * (core + 2 * halo) - 32


def test_windows_of_an_area_end_with_its_halo(scene: Scene) -> None:
    # 106 to 134 work pixels across and 73 to 95 down; then to multiples of 32, and 32 more around.
    area = area_at(scene, shapely.box(132.5, 91.5, 167.5, 118.5))
    (spec,) = TileGrid.over(scene, halo_px=32, area=area)
    assert spec.core == (106, 73, 135, 95)
    assert spec.window == (64, 32, 192, 128)


def test_a_grid_is_a_sequence(scene: Scene) -> None:
    grid = TileGrid.over(scene, core_px=64, halo_px=0)
    assert (grid.width, grid.height) == (241, 161)  # UTM here is 1.8e-4 short: a sliver of a pixel more
    assert len(grid) == 12
    assert [spec.index for spec in grid] == list(range(12))
    assert grid[-1] == grid[11]
    assert grid[5].core[:2] == (grid[1].core[0], grid[4].core[1])
    for outside in (12, -13):
        with pytest.raises(IndexError):
            grid[outside]


def test_sizes_must_be_multiples_of_the_stride(scene: Scene) -> None:
    for wrong in ({"core_px": 100}, {"halo_px": 20}, {"origin": (1, 0)}, {"core_px": 0}, {"halo_px": -32}):
        with pytest.raises(ValueError, match="multiples of 32"):
            TileGrid.over(scene, **wrong)


@settings(max_examples=25)
@given(tiling=tilings)
def test_pixels_do_not_depend_on_the_tiling(scene: Scene, tiling: dict) -> None:
    whole, valid = mosaic(scene, TileGrid.over(scene))
    image, known = mosaic(scene, TileGrid.over(scene, **tiling))
    assert (image == whole).all()
    assert (known == valid).all()


def test_halos_show_what_the_neighbours_own(scene: Scene) -> None:
    grid = TileGrid.over(scene, core_px=64, halo_px=64)
    whole, valid = mosaic(scene, TileGrid.over(scene))
    for tile in tiles(scene, grid):
        x0, y0, x1, y1 = tile.window
        inner = max(x0, 0), max(y0, 0), min(x1, grid.width), min(y1, grid.height)
        part = slice(inner[1] - y0, inner[3] - y0), slice(inner[0] - x0, inner[2] - x0)
        assert (tile.image[part] == whole[inner[1] : inner[3], inner[0] : inner[2]]).all()
        beyond = np.ones(tile.valid.shape, np.bool_)
        beyond[part] = ~valid[inner[1] : inner[3], inner[0] : inner[2]]
        assert not tile.valid[beyond].any()
        assert (tile.image[beyond] == 0).all()


def test_tiles_without_a_valid_pixel_are_skipped(scene: Scene) -> None:
    grid = TileGrid.over(scene, core_px=32, halo_px=32)
    seen = [tile.index for tile in tiles(scene, grid)]
    assert seen == sorted(seen)
    # The hole covers work pixels 80 to 152 across and 48 to 112 down: one core is empty, its halo isn't.
    assert set(range(len(grid))) - set(seen) == set(owners(grid, 100, 70))


@pytest.mark.parametrize(("width", "height"), [(1, 1), (7, 5), (31, 90), (33, 64), (400, 3)])
def test_scenes_smaller_than_a_tile(tmp_path: Path, width: int, height: int) -> None:
    numbers = texture(height, width)
    numbers[:, 0, 0] = (1, 255, 100)
    scene = open_scene(write(tmp_path / "x.tif", numbers, **placed(0.5)))
    grid = TileGrid.over(scene)
    assert len(grid) == 1
    assert (width <= grid.window_px[0] < width + 32, grid.window_px[0] % 32) == (True, 0)
    image, valid = mosaic(scene, grid)
    assert valid.all()
    expected = scene.stretch.apply(np.moveaxis(numbers, 0, -1), 0) if scene.stretch.is_identity else None
    assert expected is None or (image == expected).all()


def test_a_scene_near_the_wanted_resolution_is_copied(tmp_path: Path) -> None:
    numbers = texture(40, 40)
    near = open_scene(write(tmp_path / "near.tif", numbers, **placed(0.5)))
    assert near.gsd_m != 0.5
    assert TileGrid.over(near).scale_xy == (1.0, 1.0)
    assert (mosaic(near, TileGrid.over(near))[0] == np.moveaxis(numbers, 0, -1)).all()
    far = open_scene(write(tmp_path / "far.tif", numbers, **placed(0.49)))
    assert TileGrid.over(far).scale_xy[0] == pytest.approx(0.5 / 0.49, rel=1e-3)


def test_grey_is_repeated_and_bands_keep_their_stretch(tmp_path: Path) -> None:
    ramp = np.linspace(1000, 3000, 64 * 64).reshape(1, 64, 64).astype("uint16")
    grey = open_scene(write(tmp_path / "grey.tif", ramp, **placed(0.5)))
    tile = next(tiles(grey, TileGrid.over(grey)))
    assert (tile.image == tile.image[..., :1]).all()
    assert tile.image[tile.valid].min() == 0
    assert tile.image[tile.valid].max() == 255
    colour = open_scene(
        write(tmp_path / "c.tif", np.concatenate([ramp, ramp * 3, ramp + 9000]), **placed(0.5))
    )
    tile = next(tiles(colour, TileGrid.over(colour)))
    assert np.abs(tile.image.astype(int) - tile.image[..., :1]).max() <= 1


def test_degrees_become_square_on_the_ground(tmp_path: Path) -> None:
    place = {"crs": "EPSG:4326", "transform": Affine(4.5e-6, 0, 130.6, 0, -4.5e-6, 42.42)}
    scene = open_scene(write(tmp_path / "x.tif", texture(100, 100), **place))
    grid = TileGrid.over(scene)
    assert grid.width == pytest.approx(100 * scene.gsd_xy_m[0] / 0.5, abs=1)
    assert grid.height == pytest.approx(100, abs=1)
    boxes = np.array([[30.0, 40.0, 28.0, 6.0, 45.0]])
    there = grid.work_to_source(boxes)
    assert there[0, 2] > 28
    assert grid.source_to_work(there) == pytest.approx(boxes)


outlines = st.lists(
    st.tuples(st.floats(-120, 420), st.floats(-120, 320)), min_size=3, max_size=7, unique=True
).map(lambda points: shapely.MultiPoint(points).convex_hull)


@settings(max_examples=40, suppress_health_check=[HealthCheck.filter_too_much])
@given(outline=outlines, core=st.sampled_from([32, 64, 96]), x=st.integers(-3, 3))
def test_an_area_is_covered_wholly_and_nothing_else(
    scene: Scene, outline: shapely.Geometry, core: int, x: int
) -> None:
    raster = shapely.box(0, 0, scene.width, scene.height)
    if outline.area < 1e-3 or not outline.buffer(-1e-3).intersects(raster):
        return
    area = area_at(scene, outline)
    grid = TileGrid.over(scene, core_px=core, halo_px=0, area=area, origin=(32 * x, 0))
    scale = np.array(grid.scale_xy)
    in_work = shapely.transform(outline, lambda xy: xy / scale)
    cores = shapely.union_all([shapely.box(*spec.core) for spec in grid])
    whole = shapely.box(0, 0, grid.width, grid.height)
    # Edges bend by less than a thousandth of a pixel between the map and longitude, latitude.
    assert in_work.buffer(-1e-3).intersection(whole).difference(cores).area < 1e-6
    assert all(in_work.buffer(1e-3).intersects(shapely.box(*spec.core)) for spec in grid)
    assert [spec.index for spec in grid] == list(range(len(grid)))
    for spec in grid:
        centre = (spec.core[0] + spec.core[2]) / 2, (spec.core[1] + spec.core[3]) / 2
        assert owners(grid, *centre) == [spec.index]


def test_outside_the_area_nobody_owns(scene: Scene) -> None:
    grid = TileGrid.over(scene, core_px=32, halo_px=0, area=area_at(scene, shapely.box(5, 5, 20, 20)))
    assert len(grid) == 1
    assert owners(grid, 10, 10) == [0]
    assert owners(grid, 100, 100) == []


def test_an_area_elsewhere(scene: Scene, tmp_path: Path) -> None:
    elsewhere = area_at(scene, shapely.box(-500, -500, -400, -400), name="elsewhere")
    with pytest.raises(SceneError, match=r"yard\.tif: the area elsewhere doesn't touch the scene"):
        TileGrid.over(scene, area=elsewhere)
    # On the other side of the Earth, where the scene's map may not even be defined.
    for crs, transform in (
        ("EPSG:32721", Affine(0.5, 0, 500_000, 0, -0.5, 6_000_000)),
        ("EPSG:3031", Affine(0.5, 0, 0, 0, -0.5, 0)),
        ("EPSG:2056", Affine(0.5, 0, 2_600_000, 0, -0.5, 1_200_000)),
    ):
        far = open_scene(write(tmp_path / "far.tif", texture(20, 20), crs=crs, transform=transform))
        with pytest.raises(SceneError, match=r"far\.tif: the area elsewhere doesn't touch the scene"):
            TileGrid.over(far, area=elsewhere)


def test_an_area_on_an_image_without_position(scene: Scene, tmp_path: Path) -> None:
    area = area_at(scene, shapely.box(0, 0, 9, 9))
    picture = open_scene(write(tmp_path / "x.png", texture(20, 20), driver="PNG"), gsd_m=0.5)
    with pytest.raises(SceneError, match=r"x\.png: has no position, so the area yard can't be laid on it"):
        TileGrid.over(picture, area=area)


def test_resolution_is_that_of_the_area(tmp_path: Path) -> None:
    # Five degrees of latitude in Web Mercator: 8 % between top and bottom.
    place = {"crs": "EPSG:3857", "transform": Affine(500, 0, 14_500_000, 0, -500, 5_500_000)}
    scene = open_scene(write(tmp_path / "x.tif", texture(1400, 40, 1), **place))
    north = area_at(scene, shapely.box(5, 5, 9, 9))
    south = area_at(scene, shapely.box(5, 1390, 9, 1394))
    scales = [TileGrid.over(scene, gsd_m=500, area=area).scale_xy[0] for area in (north, None, south)]
    assert scales[0] > scales[1] > scales[2]
    y = scene.ground_metrics().gsd_xy_at((7, 7))[0]
    assert scales[0] == pytest.approx(500 / y, rel=1e-4)


def test_the_reader_ends_with_its_consumer(scene: Scene) -> None:
    before = threading.active_count()
    reading = tiles(scene, TileGrid.over(scene, core_px=32), ahead=1)
    assert isinstance(next(reading), Tile)
    assert threading.active_count() == before + 1
    reading.close()
    assert threading.active_count() == before
    for _ in tiles(scene, TileGrid.over(scene)):
        pass
    assert threading.active_count() == before


def test_two_readers_at_once(scene: Scene) -> None:
    grid = TileGrid.over(scene, core_px=64)
    for one, other in zip(tiles(scene, grid), tiles(scene, grid), strict=True):
        assert one.index == other.index
        assert (one.image == other.image).all()


def test_what_goes_wrong_in_the_thread_reaches_the_consumer(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tif", texture(40, 40), **placed())
    scene = open_scene(path)
    assert scene.stretch.is_identity
    path.unlink()
    with pytest.raises(SceneError, match=r"x\.tif: there is no such file"):
        list(tiles(scene, TileGrid.over(scene)))


def test_an_area_without_valid_pixels_gives_no_tiles(scene: Scene) -> None:
    grid = TileGrid.over(scene, core_px=32, halo_px=0, area=area_at(scene, shapely.box(122, 82, 155, 118)))
    assert len(grid) == 1
    assert list(tiles(scene, grid)) == []


def test_fine_imagery_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = texture(400, 600)
    scene = open_scene(write(tmp_path / "x.tif", numbers, **placed(0.05)))
    whole, _ = mosaic(scene, TileGrid.over(scene))
    monkeypatch.setattr("geo.resample.CHUNK_SOURCE_PIXELS", 5000)
    pieces, _ = mosaic(scene, TileGrid.over(scene))
    assert (whole == pieces).all()
    assert np.abs(whole[1:-1, 1:-1].mean() - numbers.mean()) < 2


def test_many_shifts_of_a_fixed_lattice_agree_with_each_other(scene: Scene) -> None:
    """What the network relies on: windows of shifted tilings start at multiples of its stride."""
    for shift in range(-96, 97, 32):
        for spec in TileGrid.over(scene, core_px=96, origin=(shift, -shift)):
            assert spec.window[0] % 32 == 0
            assert spec.window[1] % 32 == 0
