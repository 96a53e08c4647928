"""Labels of your own: read and written in the formats people keep them in, cut into tiles.

`read_labels` reads GeoJSON, GeoPackage, Shapefile, COCO, Pascal VOC, YOLO, DOTA, Label Studio and our strings
of wagons into `LabelledImage`; `write_labels` writes them; `tiles_of` cuts training tiles, `whole_tile` gives
an image to score on.
"""

from detector.labels.image import LabelledImage
from detector.labels.names import SYNONYMS
from detector.labels.reading import READERS, WRITERS, read_labels, write_labels
from detector.training.label_tiles import ignore_areas, tiles_of, whole_tile

__all__ = [
    "READERS",
    "SYNONYMS",
    "WRITERS",
    "LabelledImage",
    "ignore_areas",
    "read_labels",
    "tiles_of",
    "whole_tile",
    "write_labels",
]
