"""The one door for files: `open_scene` asks each format's opener in turn."""

from __future__ import annotations

import datetime as dt
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from rasterio.errors import RasterioError

from geo.errors import SceneError
from geo.raster import open_raster
from geo.rendering import Stretch
from geo.scene import OpenOptions, Scene

Opener = Callable[[Path, OpenOptions], Scene | None]
"""Opens a path as a scene; gives None if it isn't of its format, raises SceneError if it is but is broken."""

# A new format is one module with an opener and one line here. Order: the most particular first.
OPENERS: tuple[Opener, ...] = (open_raster,)


def open_scene(
    path: str | Path,
    *,
    gsd_m: float | None = None,
    when: dt.datetime | None = None,
    sensor: str | None = None,
    bands: Sequence[int] | None = None,
    stretch: Stretch | None = None,
    nodata: float | None = None,
    crs: str | int | None = None,
) -> Scene:
    """Open an image as a scene, reading its metadata only.

    An image has a position if it has both an affine transform and a coordinate reference system: inside it,
    or as a world file (.pgw, .jgw, .wld) with a .prj or .aux.xml beside it, or as a world file and ``crs``. A
    world file alone doesn't tell its units, so such an image counts as without position and needs ``gsd_m``.

    Args:
        path: A GeoTIFF, COG, VRT, MBTiles, JPEG, PNG or other image file.
        gsd_m: Ground sampling distance in metres, for an image without position. An image with one keeps its
            own.
        when: Acquisition time (without a time zone: UTC), instead of what the tags and the name say.
        sensor: The sensor, instead of what the tags and the name say.
        bands: The one or three bands to show (red, green, blue), from 1, instead of what the image says.
        stretch: How digital numbers become 8 bits, instead of the scene's robust percentiles.
        nodata: The number that means "nothing here", instead of what the image says.
        crs: The coordinate reference system of an image that has a transform, instead of what the image says.

    Raises:
        SceneError: In one sentence: the file is missing, empty, cut short, not an image, of complex numbers
            or without bands; it has no position and ``gsd_m`` is missing; an argument doesn't fit it.

    Example:
        >>> from importlib.resources import files
        >>> scene = open_scene(files("sample_tiles") / "sample-yard_20250918T103700Z.tif")
        >>> scene.crs.to_epsg(), round(scene.gsd_m, 3), scene.datetime.isoformat()
        (32631, 0.5, '2025-09-18T10:37:00+00:00')
    """
    location = Path(path)
    if when is not None:
        when = when.replace(tzinfo=dt.UTC) if when.tzinfo is None else when.astimezone(dt.UTC)
    options = OpenOptions(gsd_m, when, sensor, bands, stretch, nodata, crs)
    for opener in OPENERS:
        try:
            scene = opener(location, options)
        except (OSError, RasterioError, zipfile.BadZipFile, zlib.error, EOFError, OverflowError) as error:
            said = " ".join(str(error.__cause__ or error).split()).rstrip(".")
            raise SceneError(f"{location}: can't be read: it is cut short or damaged ({said})") from error
        if scene is not None:
            return scene
    raise SceneError(f"{location}: can't be read as an image")
