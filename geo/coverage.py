"""Areas of interest laid on scenes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely

from aoi.errors import AreaError
from geo.errors import SceneError
from geo.scene import Scene

if TYPE_CHECKING:
    from aoi import AreaOfInterest


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
