"""A picture of about a metre over an area, which an archive may have cut into tiles, as one image."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.merge import merge
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from geo.catalogue.cog import Bounds, EmptyScene, tags_of, window_in, write_cog
from geo.catalogue.network import Network, RequestTally, redacted
from geo.catalogue.remote_image import measure_remote, open_remote
from geo.catalogue.remote_scene import RemoteScene
from geo.errors import SceneError

if TYPE_CHECKING:
    from aoi import AreaOfInterest

__all__ = ["cut_fine", "measure_fine"]

MARGIN_M = 100.0
"""Ground beside an area that is kept, metres."""

_LARGEST_PX = 120_000_000
_GEOGRAPHIC = CRS.from_epsg(4326)
_METRE_DEG = 1.0 / 111_320.0


def cut_fine(
    network: Network,
    scenes: Sequence[RemoteScene],
    area: AreaOfInterest,
    work: Path,
    image: Path,
    sign: Callable[[str], str],
    traffic: RequestTally,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the window of a picture and write it as one image.

    Args:
        network: Asks the server.
        scenes: The tiles; those in another coordinate system than the first one's are left out.
        area: In longitude and latitude.
        work: A folder for parts.
        image: The COG to write.
        sign: Gives links with valid tokens.
        traffic: Counts requests and bytes.

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
        return open_remote(
            network,
            _href(scene),
            work / f"tile{number}",
            _window_of(scene, bounds),
            sign=sign,
            traffic=traffic,
        )

    with ThreadPoolExecutor(min(len(scenes), network.connections)) as pool:
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


def measure_fine(
    network: Network,
    scene: RemoteScene,
    area: AreaOfInterest,
    work: Path,
    *,
    sign: Callable[[str], str],
) -> RequestTally | None:
    """Say what `cut_fine` would take of one tile, by its header; None for an image without a list of tiles.

    Raises:
        NetworkError: The header can't be had.
        SceneError: It has no position, or the area would be too many pixels of it.
    """
    return measure_remote(network, _href(scene), work / "tile", _window_of(scene, _around(area)), sign=sign)


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
