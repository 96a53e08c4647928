"""A window of a remote image as a local file that GDAL reads as if it were all there.

Of a TIFF the header is read first, then exactly the tiles that a window touches; they lie at their own
places in a sparse file, so nothing is decoded and written again. A JPEG 2000 file has no such list of
tiles: GDAL finds its way through it, and what it asks for is fetched as it asks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import rasterio
import tifffile
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from geo.catalogue.addresses import redacted
from geo.catalogue.network import Network, RequestTally
from geo.catalogue.range_file import Range, RangeFile
from geo.errors import NetworkError, SceneError

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_JP2 = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
_LONGEST_SIDE_PX = 400_000
_LARGEST_TILE_PX = 4096 * 4096
_LARGEST_TILE_BYTES = 64 * 2**20
_LARGEST_SAMPLE_BYTES = 24 * 2**20
_MOST_BANDS = 32
_MOST_PAGES = 32

WindowOf = Callable[[DatasetReader], Window | None]
"""Says, of an opened image, which pixels are wanted; None for none."""

# GDAL's locks and Python's own can wait for each other when GDAL calls back for bytes: one at a time.
_gdal_asks = threading.Lock()


@dataclass(frozen=True)
class Shape:
    """One resolution of a TIFF.

    Attributes:
        height: Rows.
        width: Columns.
        tile: Rows and columns of a tile; strips are as wide as the image.
        planes: Tiles stand one after the other for each band, or hold all bands.
        ranges: The bytes of every tile.
    """

    height: int
    width: int
    tile: tuple[int, int]
    planes: int
    ranges: Sequence[Range]

    def touched(self, window: Window) -> Iterator[Range]:
        """The bytes of the tiles that a window touches; a tile that was left out as empty has none."""
        rows, columns = -(-self.height // self.tile[0]), -(-self.width // self.tile[1])
        top, left = max(int(window.row_off), 0), max(int(window.col_off), 0)
        bottom = min(int(window.row_off + window.height), self.height)
        right = min(int(window.col_off + window.width), self.width)
        if top >= bottom or left >= right:
            return
        for plane in range(self.planes):
            for row in range(top // self.tile[0], (bottom - 1) // self.tile[0] + 1):
                for column in range(left // self.tile[1], (right - 1) // self.tile[1] + 1):
                    yield self.ranges[(plane * rows + row) * columns + column]


def _tiles(source: RangeFile, url: str, window_of: WindowOf, overview_px: int | None) -> list[Range]:
    """The bytes of a TIFF's tiles that a window touches, and of a sample from all over the image.

    The sample is read from the smallest overview with ``overview_px`` rows and columns, or from the image
    itself; None for no sample.

    Raises:
        NetworkError: It isn't a TIFF that can be read in parts, or its tiles are too large to be real.
        SceneError: GDAL can't open the image.
    """
    shapes = _shapes(source, url)
    try:
        # A thread of its own knows no drivers before it has entered an environment.
        with rasterio.Env(), DatasetReader(str(source.path), driver=["GTiff"]) as image:
            window = window_of(image)
    except RasterioError as error:
        raise SceneError(f"{url}: it can't be read as an image: {error}") from error
    wanted = [] if window is None else list(shapes[0].touched(window))
    if overview_px is not None:
        fits = [one for one in shapes if min(one.height, one.width) >= min(overview_px, shapes[0].height)]
        chosen = min(fits or shapes[:1], key=lambda one: one.height)
        sample = list(chosen.touched(Window(0, 0, chosen.width, chosen.height)))
        if sum(stop - start for start, stop in sample) > _LARGEST_SAMPLE_BYTES:
            raise NetworkError(f"{url}: it has no small overview, by which its numbers could be judged")
        wanted += sample
    if any(stop - start > _LARGEST_TILE_BYTES for start, stop in wanted):
        raise NetworkError(f"{url}: one of its tiles is too large to be real")
    return wanted


@dataclass(frozen=True)
class Fetcher:
    """Fetches windows of remote images.

    Attributes:
        network: Asks the servers.
        sign: Gives links with valid tokens.
        traffic: Counts requests and bytes.
    """

    network: Network
    sign: Callable[[str], str] = str
    traffic: RequestTally = field(default_factory=RequestTally)

    def fetch(self, url: str, path: Path, window_of: WindowOf, overview_px: int | None = None) -> Path:
        """Fetch a window of an image.

        Args:
            url: The image's link.
            path: The local file to make, without the ending.
            window_of: Which pixels are wanted.
            overview_px: Also fetch what a sample of so many rows and columns is read from.

        Returns:
            A local image of the same size, CRS and numbers, in which the wanted pixels can be read (a TIFF),
            or of the wanted pixels alone (from JPEG 2000).

        Raises:
            NetworkError: It can't be had, isn't an image, or isn't laid out for reading in parts.
            SceneError: It can't be decoded.
        """
        local, shown = path.with_suffix(".tif"), redacted(url)
        with RangeFile(self.network, url, local, sign=self.sign, traffic=self.traffic) as source:
            if _is_jpeg2000(source, shown):
                return _jpeg2000(source, shown, path.with_suffix(".jp2"), window_of)
            source.fetch(_tiles(source, shown, window_of, overview_px))
        return local

    def measure(
        self, url: str, path: Path, window_of: WindowOf, overview_px: int | None = None
    ) -> RequestTally | None:
        """Say what `fetch` would take, by the header alone; None for JPEG 2000 (no list of tiles)."""
        counted = RequestTally()
        local = path.with_suffix(".tif")
        with RangeFile(self.network, url, local, sign=self.sign, traffic=counted) as source:
            if _is_jpeg2000(source, redacted(url)):
                return None
            gaps = source.gaps(_tiles(source, redacted(url), window_of, overview_px))
        return counted + RequestTally(len(gaps), sum(stop - start for start, stop in gaps))


def _is_jpeg2000(source: RangeFile, url: str) -> bool:
    """Whether a file is JPEG 2000, and not a TIFF."""
    start = source.read(12) or b""
    source.seek(0)
    if start.startswith(_JP2):
        return True
    if not start.startswith(_TIFF):
        what = "a web page" if start.lstrip()[:1] == b"<" else "something else"
        raise NetworkError(f"{url}: it isn't an image but {what}")
    return False


def _shapes(source: RangeFile, url: str) -> list[Shape]:
    """All resolutions of a TIFF, the full one first; masks are left out."""
    try:
        with tifffile.TiffFile(cast(IO[bytes], source), name="remote.tif") as tiff:
            found = []
            for number, page in enumerate(tiff.pages):
                if number >= _MOST_PAGES:
                    break
                if number == 0 or _is_overview(page):
                    found.append(_shape(page, source, url))
            return found
    except (NetworkError, MemoryError):
        raise
    except Exception as error:  # a hostile header may upset the parser in any way
        raise NetworkError(f"{url}: its header can't be read as that of a TIFF") from error


def _is_overview(page: Any) -> bool:
    kind = page.tags.get("NewSubfileType")
    return kind is not None and int(kind.value) & 1 == 1 and not int(kind.value) & 4


def _shape(page: Any, source: RangeFile, url: str) -> Shape:
    height, width, bands = int(page.imagelength), int(page.imagewidth), int(page.samplesperpixel)
    tile = (
        (int(page.tilelength), int(page.tilewidth))
        if page.is_tiled
        else (int(page.rowsperstrip) if page.rowsperstrip else height, width)
    )
    sizes_fit = (
        0 < height <= _LONGEST_SIDE_PX
        and 0 < width <= _LONGEST_SIDE_PX
        and 0 < bands <= _MOST_BANDS
        and min(tile) > 0
        and tile[0] * tile[1] <= _LARGEST_TILE_PX * (1 if page.is_tiled else 4)
    )
    if not sizes_fit:
        raise NetworkError(f"{url}: an image of {width} x {height} pixels in such tiles can't be real")
    tile = (min(tile[0], height), tile[1])
    planes = bands if int(page.planarconfig) == 2 else 1
    offsets, counts = page.dataoffsets, page.databytecounts
    expected = -(-height // tile[0]) * -(-width // tile[1]) * planes
    if len(offsets) < expected or len(counts) < expected:
        raise NetworkError(f"{url}: its header lacks the places of its tiles")
    ranges = []
    for offset, count in zip(offsets[:expected], counts[:expected], strict=True):
        # GDAL looks at the bytes around a tile's own: COGs keep its size before it, and a repetition behind.
        stop = int(offset + count)
        whole = (max(int(offset) - 4, 0), max(min(stop + 4, source.length), stop))
        ranges.append(whole if count else (0, 0))
    return Shape(height, width, tile, planes, ranges)


class _Recorded:
    """A remote file as GDAL reads it; what goes wrong is kept, since GDAL forgets it."""

    def __init__(self, source: RangeFile, faults: list[Exception]) -> None:
        self._source, self._faults = source, faults
        source.seek(0)

    def read(self, size: int = -1) -> bytes:
        try:
            return self._source.read(size) or b""
        except Exception as error:
            self._faults.append(error)
            raise

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._source.seek(offset, whence)

    def tell(self) -> int:
        return self._source.tell()

    @property
    def size(self) -> int:
        return self._source.length

    def close(self) -> None:
        """The source is closed by its owner."""

    def __enter__(self) -> _Recorded:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _jpeg2000(source: RangeFile, url: str, name: Path, window_of: WindowOf) -> Path:
    """Cut a window out of a JPEG 2000 file, fetching what its decoder asks for."""
    local = name.with_suffix(".cut.tif")
    faults: list[Exception] = []

    def opener(path: str, mode: str = "rb", **_: Any) -> Any:
        if Path(path).name != name.name:
            raise FileNotFoundError(path)
        return _Recorded(source, faults)

    try:
        with (
            _gdal_asks,
            rasterio.Env(
                GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", GDAL_PAM_ENABLED="NO", GDAL_NUM_THREADS="1"
            ),
            rasterio.open(name.name, opener=opener, driver="JP2OpenJPEG") as image,
        ):
            if max(image.shape) > _LONGEST_SIDE_PX or image.count > _MOST_BANDS:
                raise NetworkError(f"{url}: an image of {image.width} x {image.height} pixels can't be real")
            window = window_of(image)
            if window is None:
                window = Window(0, 0, 1, 1)
            pixels = image.read(window=window)
            profile = {
                "driver": "GTiff",
                "count": image.count,
                "dtype": image.dtypes[0],
                "height": pixels.shape[1],
                "width": pixels.shape[2],
                "crs": image.crs,
                "transform": image.window_transform(window),
            }
    except RasterioError as error:
        if faults:
            raise faults[0] from error
        raise SceneError(f"{url}: it can't be read as an image: {error}") from error
    with rasterio.open(local, "w", **profile) as made:
        made.write(pixels)
    return local
