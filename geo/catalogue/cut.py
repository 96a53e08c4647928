"""An area's window of a remote scene, kept as one small COG with its STAC item.

The pixels of a Sentinel-2 scene keep their publisher's numbers and their own 10 m grid, and reach as far
beyond the area as `geo.sentinel2.chip.chip_grid` does, so that what is read of the copy is what would be read
of the product itself: 20 m bands are brought to 10 m here by the same kernel. The offset of the numbers is
decided here, where a sample of the whole scene can be had, and stands in the item with its reason
(`geo.sentinel2.formats.stac_item`).
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.merge import merge
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from geo.catalogue.addresses import redacted
from geo.catalogue.cog import Bounds, EmptyScene, tags_of, window_in, write_cog
from geo.catalogue.cut_sentinel2 import cut_sentinel2, measure_sentinel2
from geo.catalogue.network import Network, RequestTally
from geo.catalogue.remote_image import Fetcher
from geo.catalogue.remote_scene import RemoteScene
from geo.errors import SceneError
from geo.sentinel2.formats.stac_item import FETCHED

if TYPE_CHECKING:
    from aoi import AreaOfInterest


_KEPT = (
    "s2:", "sat:", "view:", "eo:", "grid:", "mgrs:", "processing:", "earthsearch:", "product:", "eopf:",
    "sentinel:", "sentinel2:",
)  # fmt: skip
_KEPT_NAMES = frozenset(
    {"datetime", "start_datetime", "end_datetime", "created", "platform", "constellation", "instruments",
     "gsd",     "title", "off_nadir", "view:off_nadir", "catalog_id", "naip:state", "naip:year", "license"}
)  # fmt: skip
_LONGEST_TEXT = 500
_WORK = ".fetch-"
_STALE_S = 24 * 3600.0


@dataclass(frozen=True)
class Cut:
    """What was kept of a scene.

    Attributes:
        item: The JSON file.
        image: The COG.
        bytes: Of both.
        traffic: Requests and bytes that it took.
    """

    item: Path
    image: Path
    bytes: int
    traffic: RequestTally


def window_key(area: AreaOfInterest) -> str:
    """What tells the windows of areas from one another: a boundary that was drawn anew has another one."""
    bounds = ",".join(f"{one:.7f}" for one in area.boundary.bounds)
    return hashlib.sha256(bounds.encode()).hexdigest()[:12]


def cut_scene(
    network: Network,
    scenes: Sequence[RemoteScene],
    area: AreaOfInterest,
    folder: Path,
    *,
    sign: Callable[[str], str] = str,
) -> Cut:
    """Fetch an area's window of a scene and keep it.

    Args:
        network: Asks the servers.
        scenes: The scene; several are tiles of one fine image.
        area: In longitude and latitude.
        folder: Where the two files are put, under names that begin with the scene's ``stem``: under other
            names first, so that there is a whole item or none.
        sign: Gives links with valid tokens.

    Returns:
        What was kept.

    Raises:
        NetworkError: A file can't be had.
        SceneError: It isn't what its item says.
        EmptyScene: It has no pixel in the area.
        OSError: The files can't be written.
    """
    fetcher, first = Fetcher(network, sign), scenes[0]
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=_WORK, dir=folder) as name:
        work = Path(name)
        image = work / f"{first.stem}.tif"
        if first.metadata is not None:
            asset, more = cut_sentinel2(fetcher, first, first.metadata, area, work, image)
        else:
            asset, more = cut_fine(fetcher, scenes, area, work, image)
        document = _item(first, area, asset, more, image)
        item = work / f"{first.stem}.json"
        item.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        size = image.stat().st_size + item.stat().st_size
        kept = Cut(folder / item.name, folder / image.name, size, fetcher.traffic)
        image.replace(kept.image)
        item.replace(kept.item)  # last: an item is there when its image is
    return kept


def measure_scene(
    network: Network,
    scene: RemoteScene,
    area: AreaOfInterest,
    folder: Path,
    *,
    sign: Callable[[str], str] = str,
) -> RequestTally | None:
    """Say what `cut_scene` would take, by the headers of a scene's images; no pixel is read.

    Returns:
        Requests and bytes; None for images without a list of tiles (JPEG 2000).

    Raises:
        NetworkError: A header can't be had.
        SceneError: It isn't what the item says.
    """
    if scene.metadata is not None:
        return measure_sentinel2(Fetcher(network, sign), scene, scene.metadata, area, folder)
    window_of = _window_of(scene, _around(area))
    return Fetcher(network, sign).measure(_href(scene), folder / "tile", window_of)


def _item(
    scene: RemoteScene, area: AreaOfInterest, asset: Mapping[str, Any], more: Mapping[str, Any], image: Path
) -> dict[str, Any]:
    """The item of what was kept: what the archive's says of the acquisition, and where it came from."""
    given = scene.item
    properties = {
        str(name): value
        for name, value in given["properties"].items()
        if (str(name).startswith(_KEPT) or name in _KEPT_NAMES) and _is_plain(value)
    }
    source = _self_link(given)
    code = asset.get("proj:code")
    properties |= {
        "proj:code": code,
        "attribution": scene.attribution,
        "fetch:item": scene.id,
        "fetch:collection": str(given.get("collection") or scene.collection.id)[:100],
        "fetch:area": area.name,
        "fetch:window": window_key(area),
        **more,
    }
    properties.setdefault("datetime", f"{scene.datetime:%Y-%m-%dT%H:%M:%S}Z")
    with rasterio.open(image) as opened:
        west, south, east, north = transform_bounds(opened.crs, "EPSG:4326", *opened.bounds, densify_pts=21)
    links = (
        [{"rel": "derived_from", "href": redacted(source), "type": "application/geo+json"}] if source else []
    )
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [
            "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
            "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
            "https://stac-extensions.github.io/file/v2.1.0/schema.json",
        ],
        "id": scene.stem,
        "geometry": json.loads(shapely.to_geojson(shapely.box(west, south, east, north))),
        "bbox": [west, south, east, north],
        "properties": properties,
        "links": links,
        "assets": {
            FETCHED: {
                "href": f"./{image.name}",
                "type": "image/tiff; application=geotiff; profile=cloud-optimized",
                "roles": ["data"],
                "file:size": image.stat().st_size,
                "file:checksum": "1220" + hashlib.sha256(image.read_bytes()).hexdigest(),
                **asset,
            }
        },
    }


def _self_link(item: Mapping[str, Any]) -> str:
    """Where an archive says that its item is, or ""."""
    for link in item.get("links") or ():
        if isinstance(link, Mapping) and link.get("rel") == "self" and isinstance(link.get("href"), str):
            return str(link["href"])
    return ""


def _is_plain(value: Any, depth: int = 0) -> bool:
    """Whether a value may be copied from an archive's item: short, and without links that hold tokens."""
    if isinstance(value, str):
        return len(value) <= _LONGEST_TEXT and "?" not in value
    if isinstance(value, list):
        return len(value) <= 20 and depth < 2 and all(_is_plain(one, depth + 1) for one in value)
    if isinstance(value, Mapping):
        return len(value) <= 20 and depth < 2 and all(_is_plain(one, depth + 1) for one in value.values())
    return value is None or isinstance(value, (bool, int, float))


def sweep(folder: Path) -> None:
    """Remove what processes that were killed a day ago or earlier left in a folder."""
    with suppress(OSError):
        for path in folder.glob(f"{_WORK}*"):
            if time.time() - path.stat().st_mtime > _STALE_S:
                shutil.rmtree(path, ignore_errors=True)


MARGIN_M = 100.0
"""Ground beside an area that is kept, metres."""

_LARGEST_PX = 120_000_000
_GEOGRAPHIC = CRS.from_epsg(4326)
_METRE_DEG = 1.0 / 111_320.0


def cut_fine(
    fetcher: Fetcher, scenes: Sequence[RemoteScene], area: AreaOfInterest, work: Path, image: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the window of a picture and write it as one image.

    Args:
        fetcher: Fetches images.
        scenes: The tiles; those in another coordinate system than the first one's are left out.
        area: In longitude and latitude.
        work: A folder for parts.
        image: The COG to write.

    Returns:
        The image's asset, without its link, and further properties of its item.

    Raises:
        NetworkError: A file can't be had.
        SceneError: It has no position, or the area would be too many pixels of it.
        EmptyScene: It has no pixel in the area.
    """
    bounds = _around(area)

    def bring(numbered: tuple[int, RemoteScene]) -> Path:
        number, scene = numbered
        return fetcher.fetch(_href(scene), work / f"tile{number}", _window_of(scene, bounds))

    with ThreadPoolExecutor(min(len(scenes), fetcher.network.connections)) as pool:
        paths = list(pool.map(bring, enumerate(scenes)))
    try:
        pixels, crs, transform, colours = _merged(paths, bounds)
    except RasterioError as error:
        raise SceneError(f"{scenes[0].id}: its pixels can't be read: {error}") from error
    if not pixels.any():
        raise EmptyScene("it has no pixel in the area")
    partly = bool((pixels == 0).all(axis=0).any())
    names = ["red", "green", "blue", "nir"][: len(pixels)] if len(pixels) >= 3 else ["grey"][: len(pixels)]
    bands = [{"name": name, "data_type": str(pixels.dtype)} for name in names]
    write_cog(
        image, pixels[: len(bands)], crs, transform,
        nodata=0 if partly else None, bands=bands, tags=tags_of(scenes[0]), colours=colours,
    )  # fmt: skip
    asset = {
        "bands": bands,
        "proj:code": f"EPSG:{crs.to_epsg()}" if crs.to_epsg() else None,
        "proj:shape": list(pixels.shape[1:]),
        "proj:transform": list(transform)[:6],
    }
    parts = [redacted(_href(one)) for one in scenes]
    return asset, {"fetch:images": parts}


def _around(area: AreaOfInterest) -> Bounds:
    """The area and some ground beside it, in degrees."""
    west, south, east, north = area.boundary.bounds
    high = MARGIN_M * _METRE_DEG
    wide = high / max(math.cos(math.radians((south + north) / 2)), 0.05)
    return west - wide, south - high, east + wide, north + high


def _href(scene: RemoteScene) -> str:
    return str(scene.item["assets"][scene.image]["href"])


def _window_of(scene: RemoteScene, bounds: Bounds) -> Callable[[DatasetReader], Window | None]:
    def window_of(opened: DatasetReader) -> Window | None:
        if opened.crs is None:
            raise SceneError(f"{scene.id}: its image has no position on the map")
        window = window_in(opened, _GEOGRAPHIC, bounds)
        if window is not None and window.width * window.height * opened.count > _LARGEST_PX:
            raise SceneError(f"{scene.id}: the area would be {window.width} x {window.height} pixels of it")
        return window

    return window_of


def _merged(paths: Sequence[Path], bounds: Bounds) -> tuple[NDArray[Any], CRS, Affine, tuple[Any, ...]]:
    """The window of tiles of one image, those in the first one's coordinates."""
    images = [rasterio.open(path, driver="GTiff") for path in paths]
    try:
        first = images[0]
        fitting = [one for one in images if one.crs == first.crs and one.dtypes == first.dtypes]
        count = min(first.count, 4)
        if len(fitting) == 1:
            window = window_in(first, _GEOGRAPHIC, bounds)
            if window is None:
                raise EmptyScene("it has no pixel in the area")
            pixels = first.read(list(range(1, count + 1)), window=window)
            return pixels, first.crs, first.window_transform(window), first.colorinterp[:count]
        target = transform_bounds(_GEOGRAPHIC, first.crs, *bounds, densify_pts=21)
        step = abs(first.transform.a)
        snapped = (
            math.floor(target[0] / step) * step, math.floor(target[1] / step) * step,
            math.ceil(target[2] / step) * step, math.ceil(target[3] / step) * step,
        )  # fmt: skip
        pixels, transform = merge(
            fitting, bounds=snapped, indexes=list(range(1, count + 1)), nodata=0, res=first.res
        )
        return pixels, first.crs, transform, first.colorinterp[:count]
    finally:
        for one in images:
            one.close()
