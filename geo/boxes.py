"""Oriented boxes between pixels and the map: the one affine path for corners, lengths and azimuths.

A pixel box is [cx, cy, length_px, width_px, angle_deg]: pixel-corner origin, x right, y down, the angle of
the long axis clockwise from +x as seen on the image, in [0, 180).

Where pixels are square on the ground (nearly every image), a pixel box is a rectangle on the ground. Where
they aren't (degrees), its axis and its area are kept: the ground's rectangle has the ground length of the
axis and the box's ground area. The way back follows the same rule, so that both are exact inverses.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import shapely

from geo.ground_metric import FloatArray
from geo.scene import Scene


class MapBoxes(NamedTuple):
    """Boxes on the map.

    Attributes:
        polygons: (N,) shapely Polygons in the scene's CRS (in pixel coordinates without position); the
            corners in the order front left, front right, back right, back left as seen along the axis on the
            image.
        length_m: (N,) along the axis, in metres on the ground.
        width_m: (N,) across it.
        azimuth_deg: (N,) of the axis, clockwise from grid north, in [0, 180).
    """

    polygons: npt.NDArray[np.object_]
    length_m: FloatArray
    width_m: FloatArray
    azimuth_deg: FloatArray


def as_boxes(boxes: npt.ArrayLike) -> FloatArray:
    """Pixel boxes as float64 (N, 5), also when there are none."""
    return np.asarray(boxes, np.float64).reshape(-1, 5)


def box_corners(boxes: npt.ArrayLike) -> FloatArray:
    """The corners of pixel boxes in pixels, (N, 4, 2), in the order of `MapBoxes.polygons`."""
    array = as_boxes(boxes)
    along = 0.5 * array[:, 2:3] * _direction(array[:, 4])
    across = 0.5 * array[:, 3:4] * _direction(array[:, 4] + 90.0)
    return _around(array[:, :2], along, across)


def boxes_to_map(scene: Scene, boxes: npt.ArrayLike) -> MapBoxes:
    """Pixel boxes on the map, with their sizes on the ground.

    Args:
        scene: The scene.
        boxes: (N, 5) boxes in the scene's pixels.

    Example:
        >>> from importlib.resources import files
        >>> from geo import open_scene
        >>> scene = open_scene(files("sample_tiles") / "sample-yard_20250918T103700Z.tif")
        >>> box = boxes_to_map(scene, [[100, 100, 30, 6, 0]])  # centre, length, width, angle
        >>> round(float(box.length_m[0]), 1), round(float(box.azimuth_deg[0]))
        (15.0, 90)
    """
    array = as_boxes(boxes)
    ground = scene.ground_metrics().jacobian(array[:, :2])
    axis = np.einsum("nij,nj->ni", ground, array[:, 2:3] * _direction(array[:, 4]))
    length_m = np.hypot(axis[:, 0], axis[:, 1])
    pixel_area = np.abs(np.linalg.det(ground))
    width_m = array[:, 3] * array[:, 2] * pixel_area / np.where(length_m > 0, length_m, 1.0)
    azimuth = np.degrees(np.arctan2(axis[:, 0], axis[:, 1]))
    unit = axis / np.where(length_m > 0, length_m, 1.0)[:, None]
    # The right-hand side on the image: clockwise on the ground too, unless the image is mirrored.
    side = np.column_stack([unit[:, 1], -unit[:, 0]]) * -np.sign(np.linalg.det(ground))[:, None]
    back = np.linalg.inv(ground)
    along = np.einsum("nij,nj->ni", back, axis / 2)
    across = np.einsum("nij,nj->ni", back, side * (width_m / 2)[:, None])
    corners = _around(array[:, :2], along, across)
    placed = scene.pixel_to_map(corners).reshape(corners.shape)
    polygons = np.asarray(shapely.polygons(placed), dtype=object).reshape(-1)
    return MapBoxes(polygons, length_m, width_m, _half_turn(azimuth))


def map_to_boxes(scene: Scene, polygons: npt.ArrayLike) -> FloatArray:
    """Polygons on the map as pixel boxes: the inverse of `boxes_to_map`.

    A four-sided polygon is taken as the rectangle with its axis; of any other polygon the smallest enclosing
    rectangle on the ground is taken. The longer side is the axis.

    Args:
        scene: The scene.
        polygons: (N,) shapely Polygons in the scene's CRS (in pixel coordinates without position).

    Returns:
        (N, 5) boxes in the scene's pixels.
    """
    shapes = np.asarray(polygons, dtype=object).reshape(-1)
    corners = np.zeros((len(shapes), 4, 2))
    for row, shape in enumerate(shapes):
        pixels = scene.map_to_pixel(shapely.get_coordinates(shape.exterior)[:-1])
        corners[row] = pixels if len(pixels) == 4 else _enclosing(scene, pixels)
    centre = corners.mean(axis=1)
    along = (corners[:, 0] + corners[:, 1] - corners[:, 2] - corners[:, 3]) / 2
    across = (corners[:, 1] + corners[:, 2] - corners[:, 3] - corners[:, 0]) / 2
    ground = scene.ground_metrics().jacobian(centre)
    swap = _ground_length(ground, across) > _ground_length(ground, along)
    axis = np.where(swap[:, None], across, along)
    area = np.abs(along[:, 0] * across[:, 1] - along[:, 1] * across[:, 0])
    length = np.hypot(axis[:, 0], axis[:, 1])
    width = area / np.where(length > 0, length, 1.0)
    angle = np.degrees(np.arctan2(axis[:, 1], axis[:, 0]))
    return np.column_stack([centre, length, width, _half_turn(angle)])


def scale_boxes(boxes: npt.ArrayLike, scale_xy: tuple[float, float]) -> FloatArray:
    """Pixel boxes on another grid of pixels.

    Args:
        boxes: (N, 5) boxes.
        scale_xy: New pixels per old pixel along x and y. Where they differ, axis and area are kept.
    """
    array = as_boxes(boxes).copy()
    scale = np.asarray(scale_xy, np.float64)
    axis = array[:, 2:3] * _direction(array[:, 4]) * scale
    length = np.hypot(axis[:, 0], axis[:, 1])
    width = array[:, 2] * array[:, 3] * scale.prod() / np.where(length > 0, length, 1.0)
    angle = np.degrees(np.arctan2(axis[:, 1], axis[:, 0]))
    return np.column_stack([array[:, :2] * scale, length, width, _half_turn(angle)])


def _direction(angle_deg: FloatArray) -> FloatArray:
    """Unit vectors (N, 2) in pixels, x right, y down."""
    radians = np.radians(angle_deg)
    return np.column_stack([np.cos(radians), np.sin(radians)])


def _half_turn(angle_deg: FloatArray) -> FloatArray:
    """Angles of axes in [0, 180)."""
    turned = np.mod(angle_deg, 180.0)
    return np.where(turned >= 180.0, 0.0, turned)


def _around(centre: FloatArray, along: FloatArray, across: FloatArray) -> FloatArray:
    return np.stack(
        [centre + along - across, centre + along + across, centre - along + across, centre - along - across],
        1,
    )


def _ground_length(ground: FloatArray, vectors: FloatArray) -> FloatArray:
    metres = np.einsum("nij,nj->ni", ground, vectors)
    length: FloatArray = np.hypot(metres[:, 0], metres[:, 1])
    return length


def _enclosing(scene: Scene, pixels: FloatArray) -> FloatArray:
    """Corners in pixels of the smallest rectangle on the ground around some points in pixels."""
    ground = scene.ground_metrics().jacobian(pixels.mean(axis=0)[None])[0]
    rectangle = shapely.oriented_envelope(shapely.MultiPoint(pixels @ ground.T))
    corners: FloatArray = shapely.get_coordinates(rectangle)[:4] @ np.linalg.inv(ground).T
    return corners
