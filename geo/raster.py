"""Images that GDAL reads as they lie: GeoTIFF, COG, VRT, MBTiles, JPEG, PNG and their like."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterioWindow

from geo.bands import choose_bands
from geo.errors import SceneError
from geo.filename_metadata import acquisition_time, sensor_name
from geo.pixels import RawPixels
from geo.resample import Window
from geo.scene import OpenOptions, Scene, scene_id
from geo.sentinel2.formats.product_names import parse_product_name

log = logging.getLogger(__name__)

# What may be opened. A list, because GDAL would also "open" descriptions of web services, and nothing here
# may reach for the network by itself.
DRIVERS = (
    "GTiff",
    "VRT",
    "MBTiles",
    "JPEG",
    "PNG",
    "JP2OpenJPEG",
    "WEBP",
    "BMP",
    "GIF",
    "HFA",
    "ENVI",
    "NITF",
    "GPKG",
)

# GDAL keeps decoded blocks in a cache shared by the whole process, by default 5% of the machine's memory. 128
# MB hold a row of tiles of most images, so that a halo isn't decoded twice, and stay the same on any machine.
_GDAL_OPTIONS = {
    "GDAL_CACHEMAX": 128,
    # A JPEG cut short is an error, not a grey area.
    "GDAL_ERROR_ON_LIBJPEG_WARNING": True,
    # The short cut for reading a whole PNG at once doesn't notice that the file has been cut short.
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": False,
}
# Floating-point numbers beyond this measure nothing: they are infinities or the large numbers that stand for
# nodata, which a file and its metadata don't always spell alike.
_ABSURD = 1e30
# An image of at least this many pixels in whole-width strips is slow to read by window, which is worth
# saying.
_LARGE = 25_000_000
# Python's warning filters belong to the process. Only images without position need to touch them, one at a
# time.
_warning_filters = threading.Lock()


def open_raster(path: Path, options: OpenOptions) -> Scene | None:
    """Open any image that GDAL reads as a file.

    The last opener asked: what it can't read is not an image.

    Raises:
        SceneError: The file can't be read as an image, or can't be placed and no ground sampling distance was
            given.
    """
    with _dataset(path) as image:
        _check_pixels(path, image)
        source = _source(path, image, options)
        crs, transform = _position(path, image, options)
        gsd_m = options.gsd_m
        if crs is None and gsd_m is None:
            raise SceneError(_unplaced(path, image))
        tags = {**image.tags(), **image.tags(ns="IMAGERY")}
        when = options.when or acquisition_time(path.stem, tags, image.tags().get("TIFFTAG_DATETIME"))
        _advise(path, image)
        return Scene.build(
            path=path,
            id=scene_id(path, [Path(name) for name in source.parts]),
            datetime=when,
            sensor=options.sensor or sensor_name(path.stem, tags),
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


@dataclass(frozen=True)
class RasterSource:
    """The pixels of one file that GDAL reads.

    Attributes:
        path: The file.
        bands: Indexes of the bands to show, from 1: one or three.
        palette: Whether the one band holds indexes into a colour table.
        alpha: Index of the alpha band, if any: a pixel of alpha 0 is invalid.
        mask: Whether the file has a mask of its own (inside or beside it).
        nodata: The number that means "nothing here" if all shown bands hold it; None if there is none that
            they can hold.
        floating: Whether the numbers are floating-point, so that there may be infinities and not-a-numbers.
        positioned: Whether the file has an affine transform of its own.
        parts: The files that the pixels come from.
    """

    path: Path
    bands: tuple[int, ...]
    palette: bool
    alpha: int | None
    mask: bool
    nodata: float | None
    floating: bool
    positioned: bool
    parts: tuple[str, ...]

    @property
    def channels(self) -> int:
        """Number of planes that reading gives."""
        return 3 if self.palette else len(self.bands)

    @property
    def gapless(self) -> bool:
        """Whether every pixel is known to be valid without reading it."""
        return not (self.palette or self.alpha or self.mask or self.floating) and self.nodata is None

    @contextmanager
    def open(self) -> Iterator[RasterReader]:
        """Open a handle of its own."""
        with _dataset(self.path, quiet=self.positioned) as image:
            yield RasterReader(self, image)

    def files(self) -> tuple[str, ...]:
        """The files that the pixels come from, the main one first."""
        return self.parts


@dataclass
class RasterReader:
    """An open handle on a `RasterSource`, for one thread."""

    source: RasterSource
    image: DatasetReader

    def read(self, window: Window, shape: tuple[int, int] | None = None) -> RawPixels:
        """Read a window that lies inside the image; see `geo.pixels.PixelReader`."""
        source = self.source
        x0, y0, x1, y1 = window
        area = RasterioWindow(x0, y0, x1 - x0, y1 - y0)
        indexes = [*source.bands, *([source.alpha] if source.alpha else [])]
        height, width = shape or (y1 - y0, x1 - x0)
        try:
            numbers = self.image.read(indexes, window=area, out_shape=(len(indexes), height, width))
            valid = np.ones((height, width), np.bool_)
            if source.mask:
                valid &= self.image.read_masks(source.bands[0], window=area, out_shape=(height, width)) > 0
        except (RasterioError, OSError) as error:
            log.debug("%s: %s", source.path, _first_line(error))
            file = "the file is" if len(source.parts) == 1 else "a file that it refers to is missing,"
            raise SceneError(
                f"{source.path}: pixels can't be read around column {x0}, row {y0}: "
                f"{file} cut short or damaged"
            ) from error
        if source.alpha:
            valid &= numbers[-1] > 0
            numbers = numbers[:-1]
        if source.floating:
            known = np.abs(numbers) < _ABSURD  # false for not-a-number too
            if not known.all():
                valid &= known.all(axis=0)
                numbers = np.where(known, numbers, 0)
        if source.nodata is not None:
            # One black channel is a colour; all of them black is a hole.
            nodata = numbers.dtype.type(source.nodata)
            seen = numbers[0] != nodata
            for plane in numbers[1:]:
                seen |= plane != nodata
            valid &= seen
        if source.palette:
            table = _colour_table(self.image, source.bands[0])
            colours = table[np.clip(numbers[0], 0, len(table) - 1)]
            valid &= colours[..., 3] > 0
            numbers = np.ascontiguousarray(np.moveaxis(colours[..., :3], -1, 0))
        return numbers, valid


def _colour_table(image: DatasetReader, band: int) -> npt.NDArray[np.uint8]:
    entries = image.colormap(band)
    table = np.zeros((max(entries) + 1, 4), np.uint8)
    for index, colour in entries.items():
        table[index] = colour
    return table


@contextmanager
def _dataset(path: Path, quiet: bool = False) -> Iterator[DatasetReader]:
    """An open image, with GDAL set up in this thread.

    Args:
        path: The file.
        quiet: Whether the image is known to have a position, so that rasterio won't warn of having none.
    """
    with rasterio.Env(**_GDAL_OPTIONS):
        try:
            image = _open(path, quiet)
        except (RasterioError, OSError) as error:
            raise SceneError(_unreadable(path)) from error
        with image:
            yield image


def _open(path: Path, quiet: bool) -> DatasetReader:
    if quiet:
        return DatasetReader(str(path), driver=list(DRIVERS))
    with _warning_filters, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return DatasetReader(str(path), driver=list(DRIVERS))


def _unreadable(path: Path) -> str:
    if not path.exists():
        return f"{path}: there is no such file"
    if parse_product_name(path.name) is not None and (path.is_dir() or path.suffix.lower() == ".zip"):
        return (
            f"{path}: is a whole Sentinel-2 product and no image; single wagons can't be seen at 10 m, but "
            "railwatch run estimates from it how much of an area's tracks is occupied"
        )
    if path.is_dir():
        return f"{path}: is a folder, not an image"
    if path.stat().st_size == 0:
        return f"{path}: the file is empty"
    return f"{path}: can't be read as an image: it is cut short, damaged or in a format that isn't an image"


def _first_line(error: Exception) -> str:
    cause = error.__cause__ or error
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0].rstrip(".")


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


def _source(path: Path, image: DatasetReader, options: OpenOptions) -> RasterSource:
    interpretations = list(image.colorinterp)
    alpha = next((i for i, item in enumerate(interpretations, start=1) if item is ColorInterp.alpha), None)
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
        bands = choose_bands([item.name for item in interpretations], image.descriptions, path.stem)
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
    return RasterSource(
        path=path,
        bands=bands,
        palette=palette,
        alpha=alpha,
        mask=MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags,
        nodata=_holdable(_declared_nodata(image, bands, options), dtype),
        floating=np.issubdtype(dtype, np.floating),
        positioned=image.transform != Affine.identity(),
        parts=_parts(path, image),
    )


def _parts(path: Path, image: DatasetReader) -> tuple[str, ...]:
    """The files with pixels: all that a VRT names, else the file itself (its sidecars come and go)."""
    if image.driver != "VRT":
        return (str(path),)
    others = (name for name in image.files if Path(name) != path and not name.endswith((".aux.xml", ".ovr")))
    return (str(path), *sorted(others))


def _declared_nodata(image: DatasetReader, bands: tuple[int, ...], options: OpenOptions) -> float | None:
    declared = options.nodata if options.nodata is not None else image.nodatavals[bands[0] - 1]
    return None if declared is None else float(declared)


def _holdable(nodata: float | None, dtype: np.dtype[Any]) -> float | None:
    """Nodata as a number that bands of a type can hold and that needs looking for, else None."""
    if nodata is None or not abs(nodata) < _ABSURD:
        return None
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return nodata if nodata.is_integer() and limits.min <= nodata <= limits.max else None
    return nodata


def _position(path: Path, image: DatasetReader, options: OpenOptions) -> tuple[CRS | None, Affine]:
    """The CRS and transform, or (None, identity) for an image without both: half a position is none."""
    transform = image.transform
    if transform == Affine.identity():
        return None, Affine.identity()
    try:
        crs = CRS.from_user_input(options.crs) if options.crs is not None else image.crs or _sidecar_crs(path)
    except CRSError as error:
        raise SceneError(
            f"{path}: the coordinate reference system can't be understood ({_first_line(error)})"
        ) from error
    return (crs, transform) if crs else (None, Affine.identity())


def _sidecar_crs(path: Path) -> CRS | None:
    """The CRS of an ESRI .prj file beside an image with a world file."""
    sidecar = path.with_suffix(".prj")
    return CRS.from_wkt(sidecar.read_text(encoding="utf-8", errors="replace")) if sidecar.is_file() else None


def _unplaced(path: Path, image: DatasetReader) -> str:
    if image.transform != Affine.identity():
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
