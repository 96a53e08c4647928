"""Planet's usable data mask (udm2) as the scene classification that the clear-sky rules know.

Eight bands: clear, snow, shadow, light haze, heavy haze, cloud (each 0 or 1), confidence (percent), and the
older mask of unusable pixels (bit 0: no image; bit 1: cloud; the others: a band is missing or suspect). Since
November 2023 (UDM2.1) there is one kind of haze, in the band of the light one
(https://docs.planet.com/data/imagery/udm/).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geo.grid import Grid
from geo.sentinel2.formats.raster_band import placed

__all__ = ["BANDS", "MASK", "classes_of"]

MASK = "UDM2"
"""Name of a usable data mask among the bands of a product."""
BANDS = 8
_UNUSABLE = 8
# Band to class of Sen2Cor's scene classification; later ones stand over earlier ones.
_CLASSES = {1: 5, 2: 11, 3: 3, 4: 10, 5: 9, 6: 9}
_NOTHING, _DEFECTIVE = 0, 1
_NO_IMAGE, _CLOUD = 1, 2  # bits of the older mask


def classes_of(path: str, grid: Grid) -> NDArray[np.uint8]:
    """Scene classification (H, W) on a grid, by the nearest pixel; 0 where there is no image.

    Args:
        path: Of the mask, as GDAL names it.
        grid: The cells.

    Raises:
        SceneError: It can't be read.
    """

    def band(index: int) -> NDArray[np.uint8]:
        values, _ = placed(path, index, grid.crs, grid.transform, grid.shape, nearest=True)
        return np.nan_to_num(values).astype(np.uint8)

    found = np.full(grid.shape, _NOTHING, np.uint8)
    for index, meaning in _CLASSES.items():
        found[band(index) > 0] = meaning
    unusable = band(_UNUSABLE)
    found[(unusable & ~np.uint8(_NO_IMAGE | _CLOUD)) > 0] = _DEFECTIVE
    found[(unusable & _NO_IMAGE) > 0] = _NOTHING
    return found
