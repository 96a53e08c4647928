"""The image that a reviewer looks at: the scene's cut about the area, with its position."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import rasterio
import shapely
from affine import Affine

from aoi import AreaOfInterest
from aoi.files import replacing
from geo import Scene, open_scene
from railwatch.errors import ReviewError
from railwatch.pipeline.find_scenes import find_scenes
from railwatch.store.observation import Observation

__all__ = ["find_scene", "write_cut"]

_MARGIN = 0.05
_LONGEST_PX = 12_000


def find_scene(paths: Iterable[str | Path], observation: Observation) -> Scene:
    """Return the scene that an observation was made of.

    Args:
        paths: Images, and folders that are searched at any depth.
        observation: Tells the content (SHA-256) that the scene must have.

    Raises:
        ReviewError: If none of them is that scene.
        SceneError: If a single file is given and can't be read.
    """
    given = [Path(path) for path in paths]
    found, skipped = find_scenes(given)
    if not found and skipped:
        raise ReviewError(f"{skipped[0].path}: {skipped[0].reason.rstrip('.')}")
    name = str(observation.provenance.get("file", ""))
    wanted = observation.provenance.get("sha256")
    # Those of the same name first: reading all of every other image may take long.
    for path in sorted(found, key=lambda one: (one.name != name, one)):
        try:
            scene = open_scene(path, when=observation.datetime)
            if scene.sha256() == wanted:
                return scene
        except Exception:
            if len(found) == 1:
                raise
    where = str(given[0]) if len(given) == 1 else f"the {len(found)} images given"
    raise ReviewError(f"{where}: not the scene {name or observation.scene} that {observation.id} was made of")


def write_cut(scene: Scene, area: AreaOfInterest, path: Path) -> Path:
    """Write the part of a scene about an area as a GeoTIFF, stretched as the detector saw it.

    Args:
        scene: With a position.
        area: In longitude and latitude.
        path: The file.

    Raises:
        SceneError: If the scene can't be read.
        OSError: If the file can't be written.
    """
    window = _window(scene, area)
    image, valid = scene.read(window, max_px=_LONGEST_PX)
    height, width = image.shape[:2]
    scale = max(1.0, max(window[2] - window[0], window[3] - window[1]) / _LONGEST_PX)
    # Written out, because affine changes the operator that composes transforms between its versions.
    a, b, c, d, e, f = tuple(scene.transform)[:6]
    left, top = window[:2]
    transform = Affine(
        a * scale, b * scale, a * left + b * top + c, d * scale, e * scale, d * left + e * top + f
    )
    with (
        replacing(path) as temporary,
        rasterio.open(
            temporary,
            "w",
            driver="GTiff",
            width=width,
            height=height,
            count=4,
            dtype="uint8",
            crs=scene.crs,
            transform=transform,
            photometric="RGB",
            alpha="YES",
            tiled=True,
            compress="deflate",
        ) as raster,
    ):
        raster.write(np.moveaxis(image, 2, 0), indexes=[1, 2, 3])
        raster.write(valid.astype(np.uint8) * 255, indexes=4)
        if max(width, height) > 2048:
            raster.build_overviews([2, 4, 8], rasterio.enums.Resampling.average)
    return path


def _window(scene: Scene, area: AreaOfInterest) -> tuple[int, int, int, int]:
    outline = shapely.transform(area.to_crs(scene.crs).boundary, scene.map_to_pixel)
    left, top, right, bottom = outline.bounds
    margin = _MARGIN * max(right - left, bottom - top)
    window = (
        max(0, int(np.floor(left - margin))),
        max(0, int(np.floor(top - margin))),
        min(scene.width, int(np.ceil(right + margin))),
        min(scene.height, int(np.ceil(bottom + margin))),
    )
    if window[0] >= window[2] or window[1] >= window[3]:
        raise ReviewError(f"{scene.path}: doesn't show the area {area.name}")
    return window
