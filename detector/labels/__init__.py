"""Labels of your own: read and written in the formats people keep them in.

`read_labels` reads GeoJSON, GeoPackage, Shapefile, COCO, Pascal VOC, YOLO, DOTA, Label Studio and our strings
of wagons into `LabelledImage`; `write_labels` writes them.
`detector.training.label_tiles` cuts them into tiles.
"""

from detector.labels.image import LabelledImage
from detector.labels.names import SYNONYMS
from detector.labels.reading import READERS, WRITERS, read_labels, write_labels

__all__ = ["READERS", "SYNONYMS", "WRITERS", "LabelledImage", "read_labels", "write_labels"]
