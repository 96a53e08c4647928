"""Scenes and tiles: where the pixels are.

`open_scene` opens an image lazily as a `Scene`; `TileGrid.over` cuts it into tiles at the detector's ground
sampling distance and `tiles` reads them; `boxes_to_map` carries oriented boxes to the map and the ground;
`valid_fraction` says how much of an area was seen.
"""

from geo.boxes import MapBoxes, box_corners, boxes_to_map, map_to_boxes, scale_boxes
from geo.coverage import valid_fraction
from geo.errors import SceneError
from geo.ground_metric import GroundMetric
from geo.opening import open_scene
from geo.rendering import Stretch
from geo.resample import resample_image
from geo.scene import Scene
from geo.tiles import Tile, TileGrid, TileSpec, tiles

__all__ = [
    "GroundMetric",
    "MapBoxes",
    "Scene",
    "SceneError",
    "Stretch",
    "Tile",
    "TileGrid",
    "TileSpec",
    "box_corners",
    "boxes_to_map",
    "map_to_boxes",
    "open_scene",
    "resample_image",
    "scale_boxes",
    "tiles",
    "valid_fraction",
]
