"""The one door for images: GeoTIFF, COG, VRT, MBTiles, JPEG, PNG and what else GDAL reads, as scenes."""

from __future__ import annotations

import datetime as dt
import logging
import math
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import CRSError, RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterioWindow

from aoi.gdal import raster_descriptions, raster_tags
from geo.errors import SceneError
from geo.file_tree import images_in_zip
from geo.filename_metadata import NameTime, acquisition_time, sensor_name
from geo.ground_metric import GroundMetric, is_local
from geo.image_files import ZIPPED_SUFFIXES, crs_beside, item_beside
from geo.raster_source import ABSURD, MOSAICS, RasterSource, first_line, is_mask, may_be_a_colour, opened
from geo.rendering import Stretch
from geo.scene import Scene, scene_id
from geo.sentinel2.formats.product_names import parse_product_name

log = logging.getLogger(__name__)

# An image of at least this many pixels in whole-width strips is slow to read by window, which is worth
# saying.
_LARGE = 25_000_000
# What a band that is called alpha is judged by: so many patches each way, of so many pixels.
_PATCHES, _PATCH_PX = 12, 64
# Names under which products describe their bands, lower case without separators: Sentinel-2 (B04, B4,
# B04_10m), Planet ("red"; SuperDove's second green is "green_i", which must not win over "green"), Maxar
# ("BAND_R").
_RED = frozenset({"red", "r", "b04", "b4", "bandr", "b0410m"})
_GREEN = frozenset({"green", "g", "b03", "b3", "bandg", "b0310m"})
_BLUE = frozenset({"blue", "b", "b02", "b2", "bandb", "b0210m"})

# Planet's analytic products of 4 bands are blue, green, red, near infrared and those of 8 bands coastal,
# blue, green I, green, yellow, red, red edge, near infrared; older files say so only in their name.
_PLANET_ANALYTIC = re.compile(r"analytic", re.IGNORECASE)
_PLANET_ORDER = {4: (3, 2, 1), 8: (6, 4, 2)}


@dataclass(frozen=True)
class OpenOptions:
    """What the caller of `open_scene` declares about an image; None means "as the image says"."""

    gsd_m: float | None = None
    when: dt.datetime | None = None
    sensor: str | None = None
    bands: Sequence[int] | None = None
    stretch: Stretch | None = None
    nodata: float | None = None
    crs: str | int | None = None


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
    try:
        return _opened_scene(location, options)
    except (OSError, RasterioError, zipfile.BadZipFile, zlib.error, EOFError, OverflowError) as error:
        said = " ".join(str(error.__cause__ or error).split()).rstrip(".")
        raise SceneError(f"{location}: can't be read: it is cut short or damaged ({said})") from error


def _opened_scene(path: Path, options: OpenOptions) -> Scene:
    path = _inside(path)
    with opened(path) as image:
        _check_pixels(path, image)
        crs, transform = _position(path, image, options)
        source = _source(path, image, options, crs, transform)
        gsd_m = options.gsd_m
        if crs is None and gsd_m is None:
            raise SceneError(_not_georeferenced(path, image))
        tags = {**raster_tags(image), **raster_tags(image, "IMAGERY")}
        time, sensor = _acquisition(path, tags, options)
        _advise(path, image)
        return Scene.build(
            path=path,
            id=scene_id(path, source.files),
            datetime=time.when,
            day_only=time.day_only,
            time_fault=time.fault,
            warnings=() if time.doubt is None else (time.doubt,),
            sensor=sensor,
            crs=crs,
            transform=transform,
            width=image.width,
            height=image.height,
            count=image.count,
            dtype=np.dtype(image.dtypes[source.bands[0] - 1]).name,
            bands=source.bands,
            nodata=_declared_nodata(image, source.bands, options),
            given_gsd_m=gsd_m,
            declared_stretch=options.stretch,
            source=source,
        )


def _inside(path: Path) -> Path:
    """The one image in a zip for the zip itself; any other path as it is."""
    if path.suffix.lower() != ".zip" or not path.is_file() or parse_product_name(path.name) is not None:
        return path
    found = images_in_zip(path, ZIPPED_SUFFIXES)
    if len(found) == 1:
        return found[0].path
    if not found:
        raise SceneError(f"{path}: can't be read as an image: it is a zip without one inside")
    raise SceneError(f"{path}: holds {len(found)} images: name one of them, such as {found[0].path}")


def _acquisition(path: Path, tags: Mapping[str, str], options: OpenOptions) -> tuple[NameTime, str]:
    """When and by what an image was taken: as declared, by an item beside it, by its tags or its name."""
    beside = item_beside(path) if options.when is None or options.sensor is None else None
    if options.when is not None:
        time = NameTime(options.when)
    elif beside is not None and (beside.time.when is not None or beside.time.fault is not None):
        time = beside.time
    else:
        time = acquisition_time(path.stem, tags)
    named = sensor_name(path.stem, tags)
    if named == "unknown" and beside is not None and beside.sensor is not None:
        named = beside.sensor
    return time, options.sensor or named


def _check_pixels(path: Path, image: DatasetReader) -> None:
    if image.count == 0:
        inside = len(image.subdatasets)
        hint = (
            f"holds {inside} images inside: give one of them as a file of its own"
            if inside
            else "has no bands"
        )
        raise SceneError(f"{path}: {hint}")
    if any(dtype.startswith("complex") for dtype in image.dtypes):
        raise SceneError(
            f"{path}: has complex numbers ({image.dtypes[0]}), which are radar data, not a picture"
        )


def _hole(
    path: Path, crs: CRS | None, transform: Affine, image: DatasetReader, options: OpenOptions
) -> tuple[float, float] | None:
    """Ground sampling distance across and down, by which holes are told from missing ground; None without."""
    if crs is None:
        return None if options.gsd_m is None else (options.gsd_m, options.gsd_m)
    middle = image.width / 2, image.height / 2
    gsd_xy_m = GroundMetric(path, crs, transform, (0.0, 0.0)).gsd_xy_at(middle)
    return gsd_xy_m if all(math.isfinite(gsd) and gsd > 0 for gsd in gsd_xy_m) else None


def _sample(path: Path, image: DatasetReader, band: int) -> npt.NDArray[Any]:
    """Numbers from all over a band: a pattern of patches, or all of a small one."""
    columns, rows = (
        range(0, size, max(_PATCH_PX, math.ceil(size / _PATCHES))) for size in (image.width, image.height)
    )
    try:
        found = [
            image.read(band, window=RasterioWindow(x, y, _PATCH_PX, _PATCH_PX)).ravel()
            for y in rows
            for x in columns
        ]
    except (RasterioError, OSError) as error:
        raise SceneError(f"{path}: pixels can't be read: the file is cut short or damaged") from error
    return np.concatenate(found)


def _source(
    path: Path, image: DatasetReader, options: OpenOptions, crs: CRS | None, transform: Affine
) -> RasterSource:
    interpretations = list(image.colorinterp)
    alpha = next((i for i, item in enumerate(interpretations, start=1) if item is ColorInterp.alpha), None)
    if alpha is not None and image.count > 1 and not is_mask(_sample(path, image, alpha)):
        log.info("%s: band %d is called alpha, but holds a picture: it isn't taken for a mask", path, alpha)
        interpretations[alpha - 1] = ColorInterp.undefined
        alpha = None
    palette = interpretations[0] is ColorInterp.palette
    if options.bands is not None:
        bands = tuple(options.bands)
        if len(bands) not in (1, 3) or not all(1 <= band <= image.count for band in bands):
            raise SceneError(
                f"{path}: bands {', '.join(map(str, bands))} can't be shown: "
                f"give one or three of 1 to {image.count}"
            )
        palette = palette and bands == (1,)
    elif palette:
        bands = (1,)
    else:
        bands = choose_bands([item.name for item in interpretations], raster_descriptions(image), path.stem)
    if not bands:
        raise SceneError(f"{path}: has only an alpha band, no picture")
    if options.stretch is not None:
        try:
            options.stretch.check_bands(3 if palette else len(bands))
        except ValueError as error:
            raise SceneError(f"{path}: {error}") from error
    alpha = alpha if alpha not in bands else None
    dtypes = {image.dtypes[index - 1] for index in (*bands, *([alpha] if alpha else []))}
    if len(dtypes) > 1:
        raise SceneError(f"{path}: its bands have different types ({', '.join(sorted(dtypes))})")
    dtype = np.dtype(dtypes.pop())
    flags = image.mask_flag_enums[bands[0] - 1]
    nodata = _holdable(_declared_nodata(image, bands, options), dtype)
    colour = may_be_a_colour(nodata, dtype) and not palette
    return RasterSource(
        path=path,
        bands=bands,
        palette=palette,
        alpha=alpha,
        mask=MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags,
        nodata=nodata,
        floating=np.issubdtype(dtype, np.floating),
        positioned=image.transform != Affine.identity(),
        self_contained=image.driver == "GTiff",
        files=_files(path, image),
        hole=_hole(path, crs, transform, image, options) if colour else None,
    )


def _files(path: Path, image: DatasetReader) -> tuple[Path, ...]:
    """The files with pixels: all that a VRT or an index of tiles names, else the file itself."""
    if image.driver not in MOSAICS:
        return (path,)
    others = (name for name in image.files if Path(name) != path and not name.endswith((".aux.xml", ".ovr")))
    return (path, *map(Path, sorted(others)))


def _declared_nodata(image: DatasetReader, bands: tuple[int, ...], options: OpenOptions) -> float | None:
    declared = options.nodata if options.nodata is not None else image.nodatavals[bands[0] - 1]
    return None if declared is None else float(declared)


def _holdable(nodata: float | None, dtype: np.dtype[Any]) -> float | None:
    """Nodata as a number that bands of a type can hold and that needs looking for, else None."""
    if nodata is None or not abs(nodata) < ABSURD:
        return None
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return nodata if nodata.is_integer() and limits.min <= nodata <= limits.max else None
    return nodata


def _position(path: Path, image: DatasetReader, options: OpenOptions) -> tuple[CRS | None, Affine]:
    """The CRS and transform, or (None, identity) for an image that lacks either of them."""
    transform = image.transform
    if transform == Affine.identity():
        return None, Affine.identity()
    try:
        crs = CRS.from_user_input(options.crs) if options.crs is not None else image.crs or crs_beside(path)
    except CRSError as error:
        raise SceneError(
            f"{path}: the coordinate reference system can't be understood ({first_line(error)})"
        ) from error
    return (crs, transform) if crs and not is_local(crs) else (None, Affine.identity())


def _not_georeferenced(path: Path, image: DatasetReader) -> str:
    if image.transform != Affine.identity() and image.crs and is_local(image.crs):
        fault = "has a local coordinate reference system, which has no known place on Earth"
        way_out = "georeference it"
    elif image.transform != Affine.identity():
        fault, way_out = "has a world file but no coordinate reference system", "add a .prj file"
    elif image.gcps[0] or image.rpcs:
        fault, way_out = "has only control points or sensor coefficients for a position", "orthorectify it"
    else:
        fault, way_out = "has no position on the map", "georeference it"
    return f"{path}: {fault}: {way_out}, or give its ground sampling distance in metres (--gsd)"


def _advise(path: Path, image: DatasetReader) -> None:
    """Say it when the layout makes reading by window slow."""
    whole_width = image.block_shapes[0][1] >= image.width
    if image.driver == "GTiff" and whole_width and image.width * image.height >= _LARGE:
        log.warning(
            "%s is stored in strips, which are slow to read by window; a tiled copy is faster "
            "(gdal_translate -of COG, or rio convert --co TILED=YES)",
            path,
        )


def choose_bands(
    interpretations: Sequence[str], descriptions: Sequence[str | None], stem: str = ""
) -> tuple[int, ...]:
    """Choose the bands to show.

    The first rule that applies decides: the bands' descriptions; their colour interpretation; Planet's band
    order where the file's name says "analytic"; the first three bands; the first band alone where there are
    fewer than three.

    Args:
        interpretations: GDAL's colour interpretation of each band, for example "red", "gray", "alpha".
        descriptions: The description of each band, or None.
        stem: The file's name without its ending.

    Returns:
        One or three band indexes, from 1, in the order red, green, blue.
    """
    names = [re.sub(r"[\W_]+", "", (text or "").lower()) for text in descriptions]
    # A description may be longer than a name: "B04 2023-10-05", "B4, central wavelength 665 nm".
    first_words = [re.split(r"[\s,;:(]+", (text or "").strip().lower())[0] for text in descriptions]
    for labels in (names, first_words, [text.lower() for text in interpretations]):
        found = [_first(labels, wanted) for wanted in (_RED, _GREEN, _BLUE)]
        if None not in found:
            return tuple(index for index in found if index is not None)
    colours = [i for i, text in enumerate(interpretations, start=1) if text.lower() != "alpha"]
    if _PLANET_ANALYTIC.search(stem) and len(colours) in _PLANET_ORDER:
        return tuple(colours[index - 1] for index in _PLANET_ORDER[len(colours)])
    return tuple(colours[:3]) if len(colours) >= 3 else tuple(colours[:1])


def _first(labels: Sequence[str], wanted: frozenset[str]) -> int | None:
    return next((index for index, label in enumerate(labels, start=1) if label in wanted), None)
