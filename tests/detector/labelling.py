"""Small images to label, labels made at random, and what it means for two to be the same."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import shapely
from affine import Affine
from hypothesis import strategies as st
from PIL import Image
from shapely import Polygon

from detector.labels import LabelledImage
from detector.wagons.boxes import box_corners
from detector.wagons.categories import CATEGORIES
from geo import Scene, open_scene

WIDTH, HEIGHT = 400, 300


@dataclass(frozen=True)
class Pictures:
    """Three images of 400 x 300: without position, in metres at a slant, in degrees (pixels not square)."""

    folder: Path

    @property
    def plain(self) -> Path:
        return self.folder / "plain.png"

    @property
    def metric(self) -> Path:
        return self.folder / "metric.tif"

    @property
    def degrees(self) -> Path:
        return self.folder / "degrees.tif"

    def scene(self, path: Path) -> Scene:
        return open_scene(path, gsd_m=0.5 if path == self.plain else None)


def make_pictures(folder: Path) -> Pictures:
    folder.mkdir(parents=True, exist_ok=True)
    made = Pictures(folder)
    pixels = np.random.default_rng(7).integers(40, 200, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(made.plain)
    cos, sin = 0.4 * math.cos(math.radians(12)), 0.4 * math.sin(math.radians(12))
    slanted = Affine(cos, -sin, 640_000, -sin, -cos, 4_700_000)
    write_tif(made.metric, pixels, "EPSG:32652", slanted)
    write_tif(made.degrees, pixels, "EPSG:4326", Affine(5e-6, 0, 130.6, 0, -4e-6, 42.4))
    return made


def write_tif(path: Path, pixels: np.ndarray, crs: str, transform: Affine, nodata: int | None = None) -> None:
    height, width, bands = pixels.shape
    profile = {"driver": "GTiff", "width": width, "height": height, "count": bands, "dtype": "uint8"}
    with rasterio.open(path, "w", **profile, crs=crs, transform=transform, nodata=nodata) as file:
        file.write(np.moveaxis(pixels, 2, 0))


def labelled(
    image: Path,
    boxes: list[list[float]],
    category: list[int] | None = None,
    ignored: list[bool] | None = None,
    *,
    gsd_m: float | None = 0.5,
    size_px: tuple[int, int] = (WIDTH, HEIGHT),
    areas: tuple[Polygon, ...] = (),
    seen: bool = True,
) -> LabelledImage:
    return LabelledImage(
        image=image,
        name=image.name,
        size_px=size_px,
        gsd_m=gsd_m,
        boxes=np.asarray(boxes, float).reshape(-1, 5),
        category=np.asarray(category or [0] * len(boxes)),
        ignored=np.asarray(ignored or [False] * len(boxes)),
        ignore_areas=areas,
        labelled=seen,
    )


@st.composite
def boxes(draw: st.DrawFn, *, inside: bool) -> list[float]:
    """A wagon, clearly longer than wide (which side is the axis is then no matter of taste).

    With ``inside`` it lies wholly within the image, else its centre does.
    """
    length = draw(st.floats(8, 90))
    width = draw(st.floats(2, 0.8 * length))
    angle = draw(st.floats(0, 179.999))
    margin = 65.0 if inside else 0.5
    x, y = draw(st.floats(margin, WIDTH - margin)), draw(st.floats(margin, HEIGHT - margin))
    return [x, y, length, width, angle]


@st.composite
def areas(draw: st.DrawFn) -> Polygon:
    """A rectangle, which every format can say."""
    x, y = draw(st.integers(5, 300)), draw(st.integers(5, 200))
    return shapely.box(x, y, x + draw(st.integers(5, 90)), y + draw(st.integers(5, 90)))


@st.composite
def label_sets(
    draw: st.DrawFn, *, inside: bool = False
) -> list[tuple[list[list[float]], list[int], list[bool]]]:
    """Boxes, categories and ignore flags of three images; an image without a box is common."""
    out = []
    for _ in range(3):
        drawn = draw(st.lists(boxes(inside=inside), max_size=4))
        n = len(drawn)
        category = draw(st.lists(st.integers(0, len(CATEGORIES) - 1), min_size=n, max_size=n))
        out.append((drawn, category, draw(st.lists(st.booleans(), min_size=n, max_size=n))))
    return out


def assert_same_boxes(found: np.ndarray, expected: np.ndarray, tolerance_px: float = 0.02) -> None:
    """Corner by corner, which also tells a box from its mirror image."""
    assert found.shape == expected.shape
    for a, b in zip(box_corners(found), box_corners(expected), strict=True):
        distance = np.linalg.norm(a[:, None] - b[None], axis=2).min(axis=1)
        assert distance.max() < tolerance_px, (a, b)
    assert (found[:, 2] >= found[:, 3] - tolerance_px).all()
    assert ((found[:, 4] >= 0) & (found[:, 4] < 180)).all()


def assert_same(
    found: list[LabelledImage], expected: list[LabelledImage], tolerance_px: float = 0.02
) -> None:
    assert [i.image.resolve() for i in found] == [i.image.resolve() for i in expected]
    for a, b in zip(found, expected, strict=True):
        assert (a.size_px, a.labelled) == (b.size_px, b.labelled)
        np.testing.assert_array_equal(a.category, b.category)
        np.testing.assert_array_equal(a.ignored, b.ignored)
        assert_same_boxes(a.boxes, b.boxes, tolerance_px)
        assert len(a.ignore_areas) == len(b.ignore_areas)
        for ours, theirs in zip(a.ignore_areas, b.ignore_areas, strict=True):
            assert ours.symmetric_difference(theirs).area < 0.01 * theirs.area
