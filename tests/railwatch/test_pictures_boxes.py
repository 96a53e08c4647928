from __future__ import annotations

import io
import tracemalloc
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from making import abstained, observation
from PIL import Image
from yards import NORTH, UTM, WEST, Yard, detections_of

from aoi import Mask
from geo import Scene, open_scene
from railwatch.pages.pictures import boxes as evidence
from railwatch.pages.pictures import scale_bar
from railwatch.pipeline.count_area import count_area

YARD = Yard()
ORANGE, BLUE, PURPLE = (230, 159, 0), (86, 180, 233), (204, 121, 167)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    path = tmp_path_factory.mktemp("yard") / "20231005_021500.tif"
    return open_scene(YARD.write(path, (12, 7, 5)))


def pixels(png: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    return np.asarray(image.convert("RGB")).astype(int)


def near(image: np.ndarray, colour: tuple[int, int, int], tolerance: int = 40) -> np.ndarray:
    return np.abs(image - np.array(colour)).max(axis=-1) < tolerance


def test_boxes_are_drawn_where_they_are(scene: Scene) -> None:
    found = detections_of(scene, YARD.boxes((1, 0, 0)))
    image = pixels(evidence.render(scene, found))
    zoom = image.shape[1] / scene.width
    rows, columns = np.nonzero(near(image, ORANGE)[: int(scene.height * zoom)])
    # The wagon is 14 x 3 m about (20 m, 20 m): its outline in pixels of the picture.
    expected = np.array([13.0, 27.0, 18.5, 21.5]) / 0.5 * zoom
    drawn = np.array([columns.min(), columns.max(), rows.min(), rows.max()])
    assert np.abs(drawn - expected).max() <= 3


def test_kinds_differ_in_colour(scene: Scene) -> None:
    found = detections_of(scene, YARD.boxes((3, 0, 0)), [0, 1, 2])
    image = pixels(evidence.render(scene, found))
    for colour in (ORANGE, BLUE, PURPLE):
        assert near(image, colour).sum() > 20
    bare = pixels(evidence.render(scene))
    for colour in (ORANGE, BLUE, PURPLE):
        assert near(bare, colour, 15).sum() == 0


def test_an_area_is_cropped_and_what_is_hidden_is_hatched(tmp_path: Path) -> None:
    large = Yard(width_m=1200.0, height_m=900.0, tracks_y_m=(400.0, 410.0, 420.0))
    scene = open_scene(large.write(tmp_path / "20231005.tif", (3, 0, 0)))
    area = YARD.area(masks=(Mask(shapely.box(100, 10, 200, 60), "canopy", start=date(2020, 1, 1)),))
    image = pixels(evidence.render(scene, None, area))
    height, width = image.shape[:2]
    # The area is 310 x 70 m of a scene of 1200 x 900 m; the caption comes below.
    assert width == 1600
    assert 300 < height < 600
    inside = image[: height - 120]
    assert near(inside, (255, 255, 255), 60).mean() > 0.01


@pytest.mark.parametrize("of", ["counted", "abstained", "nothing"])
def test_the_caption_says_what_is_known(scene: Scene, of: str) -> None:
    area = YARD.area()
    counted = count_area(detections_of(scene, YARD.boxes((2, 1, 0))), area, date(2023, 10, 5))
    words = {"counted": observation(hidden_fraction=0.1), "abstained": abstained(), "nothing": None}[of]
    caption = evidence._caption(scene, counted.detections, area, words)
    assert caption[0].startswith("Test yard  ·  2023-10-05 02:15 UTC")
    expected = {
        "counted": "10 freight cars (90% interval 8 to 13)",
        "abstained": "No count: Too little is seen.",
        "nothing": "3 freight cars (90% interval ",
    }[of]
    assert caption[1].startswith(expected)
    assert pixels(evidence.render(scene, counted.detections, area, words)).shape[1] == 1600


def test_the_caption_shows_where_on_earth_the_picture_is(scene: Scene) -> None:
    area = YARD.area()
    here = evidence._where(scene, area)
    assert here is not None
    image = pixels(evidence.render(scene, None, area))
    inset = near(image, (213, 94, 0), 12)  # the mark in the middle of the map, at the right of the caption
    rows, columns = np.nonzero(inset)
    assert 20 < len(rows) < 400
    assert rows.min() > 0.8 * image.shape[0]
    assert columns.min() > 0.9 * image.shape[1]


def test_an_image_without_position_is_drawn_whole(tmp_path: Path) -> None:
    path = tmp_path / "screenshot.png"
    Image.fromarray(np.full((120, 90, 3), 80, np.uint8)).save(path)
    scene = open_scene(path, gsd_m=0.5)
    found = detections_of(scene, np.array([[45.0, 60.0, 28.0, 6.0, 30.0]]))
    image = pixels(evidence.render(scene, found, YARD.area()))
    assert near(image, ORANGE).sum() > 20
    # Six times larger, and wide enough for its caption.
    assert image.shape[1] == 640
    assert image.shape[0] > 720


def test_the_image_is_shown_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "noise.png"
    noise = np.random.default_rng(0).integers(0, 255, (300, 1600, 3)).astype(np.uint8)
    Image.fromarray(noise // 32 * 32).save(path)
    image = pixels(evidence.render(open_scene(path, gsd_m=0.5)))
    assert (image[:250] == noise[:250] // 32 * 32).all()  # the scale bar is below


def test_a_busy_picture_stays_small(tmp_path: Path) -> None:
    path = tmp_path / "noise.png"
    noise = np.random.default_rng(0).integers(0, 255, (1600, 1600, 3)).astype(np.uint8)
    Image.fromarray(noise).save(path)
    picture = evidence.render(open_scene(path, gsd_m=0.5))
    assert len(picture) <= evidence.MAX_BYTES
    assert min(pixels(picture).shape[:2]) > 400


def test_memory_does_not_grow_with_the_scene(tmp_path: Path) -> None:
    peaks = {}
    for side in (10_000, 20_000):  # both are shown smaller than they are
        path = tmp_path / f"{side}.tif"
        # Tiles that were never written are zeros and take no room in the file.
        place = {"crs": UTM, "transform": Affine(0.5, 0, WEST, 0, -0.5, NORTH)}
        shape = {"width": side, "height": side, "count": 3, "dtype": "uint8"}
        with rasterio.open(path, "w", **shape, **place, tiled=True, sparse_ok=True) as raster:
            raster.write(np.full((3, 256, 256), 90, np.uint8), window=((0, 256), (0, 256)))
        scene = open_scene(path)
        tracemalloc.start()
        evidence.render(scene)
        peaks[side] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peaks[20_000] < 1.2 * peaks[10_000]


def test_titles_in_other_scripts_and_signs_do_no_harm(scene: Scene) -> None:
    from dataclasses import replace

    area = replace(YARD.area(), title="두만강역 $x_1^ & <b> " + "long " * 60)
    assert pixels(evidence.render(scene, None, area)).shape[1] == 1600


@pytest.mark.parametrize(
    ("metres", "expected"), [(1.0, 1.0), (4.9, 2.0), (50.0, 50.0), (999.0, 500.0), (0.7, 0.5)]
)
def test_scale_bars_are_round(metres: float, expected: float) -> None:
    assert scale_bar(metres)[0] == pytest.approx(expected)
