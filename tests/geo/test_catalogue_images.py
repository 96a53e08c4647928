"""Windows of remote images: their pixels, what they cost, and images that aren't what they say."""

from __future__ import annotations

import datetime as dt
import json
import struct

import numpy as np
import pytest
import rasterio
from affine import Affine
from local_archive import served
from range_server import range_server
from rasterio.windows import Window
from sentinel2_products import area_at, countryside, write_stac

from geo.catalogue.cog import EmptyScene
from geo.catalogue.cut import cut_scene, measure_scene, window_key
from geo.catalogue.network import Network, Policy, RequestTally
from geo.catalogue.profiles import Collection, profile_of
from geo.catalogue.remote_image import Fetcher
from geo.catalogue.remote_scene import choose, scenes_of
from geo.errors import NetworkError, SceneError, UnavailableError
from geo.sentinel2.chip import chip_grid
from geo.sentinel2.formats.find import find_products

UTM = "EPSG:32652"
TRANSFORM = Affine(10, 0, 467_000, 0, -10, 4_696_000)
SHAPE = (1200, 1200)
WHEN = dt.datetime(2023, 10, 5, 2, 10, 1, tzinfo=dt.UTC)
WINDOW = Window(500, 620, 130, 90)


def numbers(shape=SHAPE, seed=0, dtype="uint16"):
    return np.random.default_rng(seed).integers(1, 200 if dtype == "uint8" else 4000, shape).astype(dtype)


def write(path, values, **profile):
    count = 1 if values.ndim == 2 else len(values)
    given = {
        "driver": "COG", "blocksize": 256, "compress": "DEFLATE", "predictor": 2, "crs": UTM,
        "transform": TRANSFORM, "count": count, "height": values.shape[-2], "width": values.shape[-1],
        "dtype": values.dtype, **profile,
    }  # fmt: skip
    given = {name: value for name, value in given.items() if value is not None}
    with rasterio.open(path, "w", **given) as image:
        image.write(values if values.ndim == 3 else values[None])
    return path


@pytest.fixture(scope="module")
def served_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    write(folder / "cog.tif", numbers())
    write(folder / "jp2.jp2", numbers(), driver="JP2OpenJPEG", QUALITY=100, REVERSIBLE="YES",
          blocksize=None, compress=None, predictor=None, BLOCKXSIZE=256, BLOCKYSIZE=256)  # fmt: skip
    write(folder / "strips.tif", numbers(), driver="GTiff", tiled=False, blocksize=None, blockysize=64)
    write(folder / "big.tif", numbers(), driver="GTiff", tiled=True, blockxsize=128, blockysize=128,
          blocksize=None, BIGTIFF="YES", compress="LZW")  # fmt: skip
    write(
        folder / "large.tif",
        numbers((1600, 1600)),
        driver="GTiff",
        blocksize=None,
        compress=None,
        predictor=None,
    )
    content = bytearray((folder / "cog.tif").read_bytes())
    (folder / "short.tif").write_bytes(content[: len(content) // 3])
    (folder / "garbage.tif").write_bytes(b"II*\0" + struct.pack("<I", 8) + b"\xff" * 4000)
    (folder / "empty.tif").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def server(served_folder):
    with range_server(served_folder) as running:
        yield running


@pytest.fixture
def network(server):
    return Network(Policy(frozenset({server.host})), backoff_s=0.001, read_s=2.0, attempts=3)


def window_of(image):
    return WINDOW


@pytest.mark.parametrize(
    ("name", "requests", "fraction"),
    [("cog.tif", 2, 0.3), ("strips.tif", 2, 0.3), ("big.tif", 3, 0.2), ("jp2.jp2", 40, 0.9)],
)
def test_only_the_window_is_read(server, served_folder, network, tmp_path, name, requests, fraction):
    traffic = RequestTally()
    server.asked()
    path = Fetcher(network, traffic=traffic).fetch(f"{server.url}/{name}", tmp_path / "got", window_of)
    with rasterio.open(path) as image:
        window = None if name.endswith("jp2") else WINDOW
        got = image.read(1, window=window)
        crs = image.crs
    rows, columns = slice(620, 710), slice(500, 630)
    np.testing.assert_array_equal(got, numbers()[rows, columns])
    assert crs == UTM
    assert len(server.asked()) == traffic.requests <= requests
    assert traffic.bytes < fraction * (served_folder / name).stat().st_size
    if not name.endswith("jp2"):
        foreseen = Fetcher(network).measure(f"{server.url}/{name}", tmp_path / "other", window_of)
        assert (foreseen.requests, foreseen.bytes) == (traffic.requests, traffic.bytes)


@pytest.mark.parametrize(
    ("path", "kind", "said"),
    [
        ("none.tif", NetworkError, "it isn't there"),
        ("fault/html/cog.tif", NetworkError, "isn't an image but a web page"),
        ("fault/html-range/cog.tif", NetworkError, "isn't an image but a web page"),
        ("fault/norange/large.tif", NetworkError, "isn't read|doesn't know range requests"),
        ("fault/other/cog.tif", UnavailableError, "other bytes than it was asked for"),
        ("fault/packed/cog.tif", NetworkError, "packed|cut"),
        ("fault/cut/cog.tif", UnavailableError, "cut"),
        ("fault/private/cog.tif", NetworkError, "is refused"),
        ("short.tif", NetworkError, "beyond its end"),
        ("garbage.tif", NetworkError, "header"),
        ("empty.tif", NetworkError, "no such bytes|isn't an image"),
    ],
)
def test_images_that_are_not(server, network, tmp_path, path, kind, said):
    with pytest.raises(kind, match=said):
        Fetcher(network).fetch(f"{server.url}/{path}", tmp_path / "got", window_of)


@pytest.mark.parametrize("fault", ["cut1", "fails2", "busy1"])
def test_a_passing_fault_costs_a_request_and_no_pixel(server, network, tmp_path, fault):
    traffic = RequestTally()
    url = f"{server.url}/fault/{fault}/cog.tif"
    path = Fetcher(network, traffic=traffic).fetch(url, tmp_path / "got", window_of)
    with rasterio.open(path) as image:
        np.testing.assert_array_equal(image.read(1, window=WINDOW), numbers()[620:710, 500:630])
    assert traffic.retries == int(fault[-1])


def test_a_small_file_may_come_whole(tmp_path):
    write(tmp_path / "small.tif", numbers((200, 200)))
    with range_server(tmp_path) as server:
        network = Network(Policy(frozenset({server.host})))
        url = f"{server.url}/fault/norange/small.tif"
        path = Fetcher(network).fetch(url, tmp_path / "got", lambda image: Window(0, 0, 20, 20))
    with rasterio.open(path) as image:
        assert image.read(1).shape == (200, 200)


def test_a_header_that_asks_for_the_moon(tmp_path):
    """A few bytes that claim a tile of gigabytes are refused before anything is set aside for them."""
    values = (256, 1_000_000), (257, 1_000_000), (322, 900_000), (323, 900_000), (258, 16), (277, 1)
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(values)]
    entries += [struct.pack("<HHII", 324, 4, 1, 8), struct.pack("<HHII", 325, 4, 1, 100)]
    header = b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + struct.pack("<I", 0)
    (tmp_path / "moon.tif").write_bytes(header + b"\0" * 200)
    with range_server(tmp_path) as server:
        network = Network(Policy(frozenset({server.host})))
        with pytest.raises(NetworkError, match="can't be real"):
            Fetcher(network).fetch(f"{server.url}/moon.tif", tmp_path / "got", window_of)


# ---- whole scenes ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def area():
    return area_at((472_400, 4_689_300, 473_200, 4_689_700))


@pytest.fixture(scope="module")
def scene_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    planes = countryside(SHAPE, seed=2)
    classes = np.full(SHAPE, 5, np.uint8)
    made = {}
    for flavour in ("earth-search", "c1", "planetary-computer", "cdse"):
        made[flavour] = write_stac(folder, planes, TRANSFORM, UTM, WHEN, flavour=flavour, scl=classes)
    return folder, made


@pytest.mark.parametrize("flavour", ["earth-search", "c1", "planetary-computer", "cdse"])
def test_what_is_kept_reads_like_the_product(scene_folder, area, tmp_path, flavour):
    folder, made = scene_folder
    with range_server(folder) as server:
        item = served(made[flavour], folder, server)
        network = Network(Policy(frozenset({server.host})))
        scenes, odd = scenes_of([item], profile_of("earth-search").collections, area)
        assert not odd
        cut = cut_scene(network, scenes, area, tmp_path / "kept")
        if flavour != "cdse":
            foreseen = measure_scene(network, scenes[0], area, tmp_path)
            assert (foreseen.requests, foreseen.bytes) == (cut.traffic.requests, cut.traffic.bytes)
            # A header and up to three stretches of tiles (of 256 pixels here) a band, and a sample of those
            # whose offset is in doubt.
            assert cut.traffic.requests <= 6 * 4 + (5 if flavour == "earth-search" else 0)
            assert cut.traffic.bytes < 4_000_000
    assert cut.bytes < 300_000
    (whole,), _ = find_products([made[flavour]])
    (kept,), refused = find_products([cut.item])
    assert not refused
    grid = chip_grid(area)
    one, other = whole.read(grid), kept.read(grid)
    assert (one.id, one.datetime, one.bands, one.baseline) == (
        other.id, other.datetime, other.bands, other.baseline,
    )  # fmt: skip
    np.testing.assert_array_equal(one.scl, other.scl)
    # 20 m pixels are brought to 10 m before the numbers are rounded, the others are copies. Where the kernel
    # swings below the least number, which a publisher without an offset can't store, that is kept.
    least = kept.bands["B11"].scale + kept.bands["B11"].offset
    np.testing.assert_array_equal(one.reflectance[:4], other.reflectance[:4])
    np.testing.assert_allclose(np.maximum(one.reflectance[4], least), other.reflectance[4], atol=0.51e-4)
    assert whole.provenance["offset"] == kept.provenance["offset"]
    assert whole.provenance["decisions"] == kept.provenance["decisions"]
    text = cut.item.read_text()
    assert "token" not in text
    assert "Contains modified Copernicus Sentinel data 2023" in text


def test_an_offset_is_decided_on_the_whole_scene(tmp_path, area):
    """The area itself shows nothing dark; the lake beside it does, and only the whole scene has it."""
    planes = {name: np.full(SHAPE, 0.25, np.float32) for name in countryside(SHAPE, seed=2)}
    for plane in planes.values():
        plane[:200] = 0.004
    path = write_stac(tmp_path, planes, TRANSFORM, UTM, WHEN, flag=True, scl=np.full(SHAPE, 5, np.uint8))
    with range_server(tmp_path) as server:
        item = served(path, tmp_path, server)
        scenes, _ = scenes_of([item], profile_of("earth-search").collections, area)
        cut = cut_scene(Network(Policy(frozenset({server.host}))), scenes, area, tmp_path / "kept")
    (kept,), _ = find_products([cut.item])
    assert set(kept.provenance["offset"].values()) == {0.0}
    assert np.nanmax(np.abs(kept.read(chip_grid(area)).reflectance[:4] - 0.25)) < 1e-3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"proj:epsg": 32601}, "coordinate system EPSG:32652"),
        ({"proj:epsg": "nonsense"}, "which nobody knows"),
    ],
)
def test_a_scene_in_another_place_than_it_says(scene_folder, area, tmp_path, change, said):
    folder, made = scene_folder
    with range_server(folder) as server:
        item = served(made["c1"], folder, server, **change)
        scenes, _ = scenes_of([item], profile_of("earth-search").collections, area)
        with pytest.raises(SceneError, match=said):
            cut_scene(Network(Policy(frozenset({server.host}))), scenes, area, tmp_path / "kept")
    assert not list((tmp_path / "kept").iterdir())


@pytest.mark.parametrize(
    "href",
    ["../../etc/passwd", "file:///etc/passwd", "/etc/passwd", "https://169.254.169.254/a.tif", "s3://b/k"],
)
def test_hostile_links_and_ids_reach_nothing(scene_folder, area, tmp_path, href):
    folder, made = scene_folder
    with range_server(folder) as server:
        item = served(made["c1"], folder, server)
        item["id"] = "../../../escape\x1b[31m"
        item["assets"]["red"]["href"] = href
        scenes, _ = scenes_of([item], profile_of("earth-search").collections, area)
        assert ".." not in scenes[0].stem
        with pytest.raises(NetworkError, match=r"refused|can't be read"):
            cut_scene(Network(Policy(frozenset({server.host}))), scenes, area, tmp_path / "kept")
    assert [one.name for one in tmp_path.iterdir()] == ["kept"]


def test_a_scene_without_a_pixel_in_the_area(tmp_path, area):
    planes = {name: np.zeros(SHAPE, np.float32) for name in countryside(SHAPE, seed=2)}
    path = write_stac(tmp_path, planes, TRANSFORM, UTM, WHEN, flavour="c1", pixel_offset=0.0)
    for band in path.parent.glob("*.tif"):
        with rasterio.open(band, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as image:
            image.write(np.zeros(image.shape, image.dtypes[0]), 1)
    with range_server(tmp_path) as server:
        item = served(path, tmp_path, server)
        scenes, _ = scenes_of([item], profile_of("earth-search").collections, area)
        with pytest.raises(EmptyScene):
            cut_scene(Network(Policy(frozenset({server.host}))), scenes, area, tmp_path / "kept")


def test_a_picture_cut_into_tiles_becomes_one(tmp_path, area):
    """Two tiles of one aerial photo, each with half of the area, as NAIP and Maxar's open data have them."""
    west, _, east, north = area.to_crs(UTM).boundary.bounds
    left, top = np.floor(west) - 300.0, np.ceil(north) + 300.0
    pixels = numbers((4, 900, 1400), seed=5, dtype="uint8")
    half = round((west + east) / 2 - left)
    items = []
    with range_server(tmp_path) as server:
        for name, columns in (("a", slice(0, half)), ("b", slice(half, 1400))):
            transform = Affine(1, 0, left + columns.start, 0, -1, top)
            write(tmp_path / f"{name}.tif", pixels[:, :, columns], transform=transform)
            item = {
                "type": "Feature", "stac_version": "1.0.0", "id": name, "collection": "naip",
                "properties": {"datetime": "2023-06-01T00:00:00Z", "gsd": 0.6},
                "assets": {"image": {"href": f"{server.url}/{name}.tif"}},
            }  # fmt: skip
            with rasterio.open(tmp_path / f"{name}.tif") as image:
                item["bbox"] = list(rasterio.warp.transform_bounds(UTM, "OGC:CRS84", *image.bounds))
            items.append(item)
        naip = profile_of("planetary-computer").chosen(("naip",))
        scenes, _ = scenes_of(items, naip, area)
        (chosen,), _ = choose(scenes, naip)
        assert len(chosen) == 2
        cut = cut_scene(Network(Policy(frozenset({server.host}))), chosen, area, tmp_path / "kept")
    from geo import open_scene

    with rasterio.open(cut.image) as image:
        row, column = (round(one) for one in image.index(left + half + 0.5, top - 450.5))
        got = image.read()[:, row - 50 : row + 50, column - 50 : column + 50]
    np.testing.assert_array_equal(got, pixels[:, 400:500, half - 50 : half + 50])
    scene = open_scene(cut.image)
    assert scene.datetime == dt.datetime(2023, 6, 1, tzinfo=dt.UTC)
    assert scene.sensor == "NAIP"
    assert json.loads(cut.item.read_text())["properties"]["attribution"].startswith("NAIP, USDA")


def test_the_best_offer_of_an_acquisition(scene_folder, area):
    """Two collections, two tiles, two baselines of one image: one is read, and the others say why not."""
    folder, made = scene_folder
    with range_server(folder) as server:
        old, new = served(made["earth-search"], folder, server), served(made["c1"], folder, server)
        planetary = served(made["planetary-computer"], folder, server)
    newer = json.loads(json.dumps(new)) | {"id": "newer"}
    newer["properties"]["s2:processing_baseline"] = "05.11"
    beside = json.loads(json.dumps(newer)) | {"id": "beside"}
    west, south, east, north = area.boundary.bounds
    beside["geometry"] = None
    beside["bbox"] = [west - 1, south - 1, (west + east) / 2, north + 1]
    collections = profile_of("earth-search").collections
    scenes, odd = scenes_of([old, beside, new, newer, planetary], collections, area)
    assert not odd
    ((best,),), left = choose(scenes, collections)
    assert best.id == "newer"
    reasons = {one.id: one.reason for one in left}
    assert "better collection sentinel-2-c1-l2a" in reasons[old["id"]]
    assert "newer processing baseline 05.11" in reasons[new["id"]]
    assert "shows more of the area" in reasons["beside"]
    assert set(reasons) == {old["id"], new["id"], planetary["id"], "beside"}


def test_another_boundary_is_another_window(area):
    assert window_key(area) != window_key(area_at((472_410, 4_689_300, 473_200, 4_689_700)))


def test_odd_items_are_named_and_stop_nothing(area):
    collections = (Collection("c", "sentinel-2", "x"), Collection("f", "fine", "x", assets=("image",)))
    west, south, east, north = area.boundary.bounds
    base = {"type": "Feature", "collection": "c", "bbox": [west, south, east, north], "assets": {"a": {}}}
    odd = [
        base | {"id": "no-time", "properties": {}},
        base | {"id": "no-place", "bbox": None, "properties": {}},
        base | {"id": "text", "properties": {"datetime": 7}},
        base | {"id": "no-image", "collection": "f", "properties": {"datetime": "2023-01-01T00:00:00Z"}},
        base | {"id": "foreign", "collection": "other", "properties": {}},
    ]
    scenes, left = scenes_of(odd, collections, area)
    assert not scenes
    assert [one.id for one in left] == ["no-time", "no-place", "text", "no-image", "foreign"]
    assert all(one.reason.startswith("it ") and one.reason.endswith(".") for one in left)
