"""Files as GDAL opens them: which drivers may, set up how, and what is said of a file that none reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from aoi.gdal import RefusedFileError, open_raster
from geo.errors import SceneError
from geo.file_formats import foreign_format, header_beside
from geo.sentinel2.formats.product_names import parse_product_name
from geo.zipped import zip_member

# Those that are made of other files.
MOSAICS = ("VRT", "DIMAP", "TIL")

_GDAL_OPTIONS = {
    # A JPEG cut short is an error, not a grey area.
    "GDAL_ERROR_ON_LIBJPEG_WARNING": True,
    # The short cut for reading a whole PNG at once doesn't notice that the file has been cut short.
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": False,
    # A raw file (ENVI, .bil) shorter than its header says is an error, not black ground.
    "RAW_CHECK_FILE_SIZE": True,
}


@contextmanager
def opened(path: Path, *, quiet: bool = False, placed: bool = True) -> Iterator[DatasetReader]:
    """An open image, with GDAL set up in this thread.

    Args:
        path: The file.
        quiet: Whether the image is known to have a position, so that rasterio won't warn of having none.
        placed: Whether its position is wanted. Without, PROJ opens no database for this thread, which takes
            longer than to open the image.
    """
    options = _GDAL_OPTIONS if placed else {**_GDAL_OPTIONS, "GDAL_GEOREF_SOURCES": "NONE"}
    member = zip_member(path)
    name = path if member is None else member.gdal
    with ExitStack() as stack:
        try:
            image = stack.enter_context(open_raster(name, options=options, quiet=quiet and placed))
        except RefusedFileError as error:
            raise SceneError(str(error)) from error
        except (RasterioError, OSError) as error:
            raise SceneError(_unreadable(path)) from error
        yield image


def _unreadable(path: Path) -> str:
    if zip_member(path) is not None:
        return (
            f"{path}: can't be read as an image: it is cut short, damaged or in a format that isn't an image"
        )
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
    known = foreign_format(path)
    if known is not None:
        return f"{path}: {known}"
    header = header_beside(path)
    if header is not None:
        return f"{path}: the file is cut short or damaged: it holds less than its header {header} says"
    return f"{path}: can't be read as an image: it is cut short, damaged or in a format that isn't an image"


def first_line(error: Exception) -> str:
    """What GDAL said, for the middle of a sentence."""
    cause = error.__cause__ or error
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0].rstrip(".")
