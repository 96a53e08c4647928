"""Where a picture lies on the ground, kept inside the picture itself and told in its store's STAC item.

Pictures of one place but of different scenes show different stretches of ground at different scales. Two
of them can be laid over each other only if each says where its pixels are.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.PngImagePlugin import PngInfo

__all__ = ["KEYWORD", "Georeference", "georeference_of"]

KEYWORD = "railwatch:placement"
"""The keyword of the PNG's text that holds it."""


@dataclass(frozen=True)
class Georeference:
    """Where the image inside a picture lies; below the image a picture has its caption.

    Attributes:
        crs: ``EPSG:32652``, or WKT2 where there is no such code.
        transform: From picture pixels (corner origin, x right, y down) to the map: x = a u + b v + c,
            y = d u + e v + f, as (a, b, c, d, e, f).
        image: The image's left, top, right and lower edge in picture pixels.
        size: Width and height of the picture with its caption, in pixels.
    """

    crs: str
    transform: tuple[float, ...]
    image: tuple[float, ...]
    size: tuple[int, int]

    def png_info(self) -> PngInfo:
        """Return it as the text of a PNG file."""
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add_itxt(KEYWORD, json.dumps(asdict(self)))
        return info

    def stac_fields(self) -> dict[str, Any]:
        """Return it as fields of a STAC asset (projection extension 2.0)."""
        width, height = self.size
        crs = {"proj:code": self.crs} if self.crs.startswith("EPSG:") else {"proj:wkt2": self.crs}
        return crs | {
            "proj:shape": [height, width],
            "proj:transform": list(self.transform),
            "railwatch:image_box": list(self.image),
        }

    def on_ground(self, longitude: float, latitude: float) -> list[float]:
        """Return how the picture lies about a point on the ground.

        Args:
            longitude: Of the point, in degrees.
            latitude: Of the point, in degrees.

        Returns:
            The six numbers of `transform` for shares of the picture's width (both axes) to metres east and
            north of the point. Exact to about a metre over a few kilometres.

        Raises:
            ValueError: If the CRS isn't known, or the picture lies where it has no meaning.
        """
        from pyproj import Transformer
        from pyproj.exceptions import ProjError

        a, b, c, d, e, f = self.transform
        width = float(self.size[0])
        corners = [(c, f), (a * width + c, d * width + f), (b * width + c, e * width + f)]
        try:
            geographic = Transformer.from_crs(self.crs, "OGC:CRS84", always_xy=True)
            placed = [geographic.transform(*corner) for corner in corners]
        except ProjError as error:
            raise ValueError(str(error)) from error
        degree = math.pi / 180 * 6_371_008.8
        east = degree * math.cos(math.radians(latitude))
        (x, y), (x1, y1), (x2, y2) = [
            ((lon - longitude) * east, (lat - latitude) * degree) for lon, lat in placed
        ]
        numbers = [x1 - x, x2 - x, x, y1 - y, y2 - y, y]
        if not all(map(math.isfinite, numbers)) or abs(numbers[0] * numbers[4] - numbers[1] * numbers[3]) < 1:
            raise ValueError("the picture lies nowhere")
        return [round(number, 3) for number in numbers]


def georeference_of(picture: Image | bytes) -> Georeference | None:
    """Read where a picture lies.

    Args:
        picture: A picture opened by Pillow, or the content of its file.

    Returns:
        None if it doesn't say, or says nonsense (a store may come from anybody).
    """
    from PIL import Image

    if isinstance(picture, bytes):
        with Image.open(io.BytesIO(picture), formats=("PNG", "WEBP")) as opened:
            return georeference_of(opened)
    try:
        values: Any = json.loads(picture.info[KEYWORD])
        if not isinstance(values, Mapping) or not isinstance(values["crs"], str):
            return None
        transform = tuple(float(one) for one in values["transform"])
        image = tuple(float(one) for one in values["image"])
        width, height = (int(one) for one in values["size"])
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return None
    finite = all(map(math.isfinite, (*transform, *image)))
    if len(transform) != 6 or len(image) != 4 or not finite or (width, height) != picture.size:
        return None
    return Georeference(values["crs"], transform, image, (width, height))
