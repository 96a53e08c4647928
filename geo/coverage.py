"""Areas of interest laid on scenes, and how much of one a scene really shows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import shapely
from affine import Affine
from rasterio.features import geometry_mask

from aoi.errors import AreaError
from geo.errors import SceneError
from geo.scene import Scene

if TYPE_CHECKING:
    from aoi import AreaOfInterest

# A fraction is read from at most this many pixels each way: good to a thousandth, at a fixed cost.
_MAX_PX = 2048
_STRIP_PX = 256


def area_in_pixels(scene: Scene, area: AreaOfInterest) -> shapely.Geometry:
    """An area's boundary in pixel coordinates of a scene.

    Raises:
        SceneError: The scene has no position, or the area doesn't touch it.
    """
    outline = _to_pixels(scene, _in_crs(scene, area).boundary)
    raster = shapely.box(0, 0, scene.width, scene.height)
    if not (np.isfinite(outline.bounds).all() and outline.intersects(raster)):
        raise SceneError(f"{scene.path}: the area {area.name} doesn't touch the scene")
    return outline


def hidden_in_pixels(scene: Scene, area: AreaOfInterest) -> shapely.Geometry:
    """What an area's masks hide on the day of a scene, in its pixel coordinates; empty if nothing.

    Raises:
        SceneError: The scene has no position.
    """
    day = scene.datetime.date() if scene.datetime else None
    return _to_pixels(scene, _in_crs(scene, area).hidden_on(day))


def _in_crs(scene: Scene, area: AreaOfInterest) -> AreaOfInterest:
    if scene.crs is None:
        raise SceneError(f"{scene.path}: has no position, so the area {area.name} can't be laid on it")
    try:
        return area.to_crs(scene.crs)
    except AreaError as error:
        # The scene's CRS reaches as far as the scene: an area beyond its reach is elsewhere on Earth.
        raise SceneError(f"{scene.path}: the area {area.name} doesn't touch the scene") from error


def _to_pixels(scene: Scene, geometry: shapely.Geometry) -> shapely.Geometry:
    return shapely.transform(geometry, scene.map_to_pixel)


def valid_fraction(scene: Scene, area: AreaOfInterest | None = None) -> float:
    """The share of an area of interest (by its boundary) in which a scene has valid pixels.

    Parts of the area outside the scene and parts under a mask that is active on the scene's day (a canopy)
    count as unseen. Read by nearest neighbour at 2048 pixels or less each way, a strip at a time.

    Args:
        scene: The scene.
        area: The area, or None for the whole raster.

    Returns:
        0 to 1.

    Raises:
        SceneError: The area doesn't touch the scene, or pixels can't be read.

    Example:
        >>> from importlib.resources import files
        >>> from aoi import load_area
        >>> from geo import open_scene
        >>> folder = files("sample_tiles")
        >>> scene = open_scene(folder / "sample-yard_20250918T103700Z.tif")
        >>> valid_fraction(scene, load_area(folder / "area.geojson"))
        1.0
    """
    raster = shapely.box(0, 0, scene.width, scene.height)
    outline = raster if area is None else area_in_pixels(scene, area)
    inside = outline.intersection(raster)
    if area is not None:
        inside = inside.difference(hidden_in_pixels(scene, area))
    fraction = float(inside.area / outline.area)
    if fraction == 0 or scene.source.gapless:
        return fraction
    left, top = (math.floor(value) for value in inside.bounds[:2])
    right, bottom = (
        min(math.ceil(inside.bounds[2]), scene.width),
        min(math.ceil(inside.bounds[3]), scene.height),
    )
    step = max(1, math.ceil(max(right - left, bottom - top) / _MAX_PX))
    seen = known = 0
    with scene.open_pixels() as reader:
        for y in range(top, bottom, _STRIP_PX * step):
            end = min(y + _STRIP_PX * step, bottom)
            shape = math.ceil((end - y) / step), math.ceil((right - left) / step)
            _, valid = reader.read((left, y, right, end), shape)
            scale = Affine((right - left) / shape[1], 0, left, 0, (end - y) / shape[0], y)
            wanted = ~geometry_mask([inside], shape, scale, all_touched=True)
            seen += int((valid & wanted).sum())
            known += int(wanted.sum())
    return fraction * seen / known
