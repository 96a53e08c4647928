"""Areas of interest laid on scenes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import shapely

from geo.errors import SceneError
from geo.scene import Scene

if TYPE_CHECKING:
    from aoi import AreaOfInterest


def area_in_pixels(scene: Scene, area: AreaOfInterest) -> shapely.Geometry:
    """An area's boundary in pixel coordinates of a scene.

    Raises:
        SceneError: The scene has no position, or the area doesn't touch it.
    """
    return _checked(scene, area, to_pixels(scene, _in_crs(scene, area).boundary))


def _in_crs(scene: Scene, area: AreaOfInterest) -> AreaOfInterest:
    if scene.crs is None:
        raise SceneError(f"{scene.path}: has no position, so the area {area.name} can't be laid on it")
    return area.to_crs(scene.crs)


def to_pixels(scene: Scene, geometry: shapely.Geometry) -> shapely.Geometry:
    """A geometry in the scene's CRS in its pixel coordinates."""
    return shapely.transform(geometry, scene.map_to_pixel)


def _checked(scene: Scene, area: AreaOfInterest, outline: shapely.Geometry) -> shapely.Geometry:
    if not outline.intersects(shapely.box(0, 0, scene.width, scene.height)):
        raise SceneError(f"{scene.path}: the area {area.name} doesn't touch the scene")
    return outline


def hidden_in_pixels(scene: Scene, area: AreaOfInterest) -> shapely.Geometry:
    """What an area's masks hide on the day of a scene, in its pixel coordinates; empty if nothing.

    Raises:
        SceneError: The scene has no position.
    """
    day = scene.datetime.date() if scene.datetime else None
    return to_pixels(scene, _in_crs(scene, area).hidden_on(day))
