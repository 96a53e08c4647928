"""The bands of a remote Sentinel-2 scene over an area, as one image on the scene's own 10 m grid."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from geo.catalogue.cog import BESIDE_PX, EmptyScene, tags_of, window_in, write_cog
from geo.catalogue.network import RequestTally
from geo.catalogue.remote_image import Fetcher
from geo.catalogue.remote_scene import RemoteScene
from geo.errors import SceneError
from geo.grid import Grid
from geo.sentinel2.chip import chip_grid
from geo.sentinel2.formats.find import find_products
from geo.sentinel2.formats.product import Product
from geo.sentinel2.formats.product_names import CLASSES, SWIR_BAND, TEN_METRE_BANDS
from geo.sentinel2.formats.raster_band import Band, on_grid
from geo.sentinel2.formats.stac_item import Asset, ItemMetadata

if TYPE_CHECKING:
    from aoi import AreaOfInterest


_SAMPLE_PX = 512
"""Rows and columns of the sample by which offsets are decided."""


def cut_sentinel2(
    fetcher: Fetcher,
    scene: RemoteScene,
    metadata: ItemMetadata,
    area: AreaOfInterest,
    work: Path,
    image: Path,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the bands and write them as one image.

    Args:
        fetcher: Fetches images.
        scene: The scene.
        metadata: What its item says.
        area: In longitude and latitude.
        work: A folder for parts.
        image: The COG to write.

    Returns:
        The image's asset, without its link, and further properties of its item.

    Raises:
        NetworkError: A file can't be had.
        SceneError: It isn't what the item says, or the offset of its numbers can't be told.
        EmptyScene: It has no pixel in the area.
    """
    grid = chip_grid(area)
    wanted = _wanted(metadata)
    window_of = _window_of(scene, grid)
    parts = work / "parts"
    parts.mkdir()

    def bring(asset: Asset) -> tuple[Asset, Path]:
        sample_px = _sampled(metadata, asset)
        return asset, fetcher.fetch(asset.href, parts / asset.band, window_of, sample_px)

    with ThreadPoolExecutor(min(len(wanted), fetcher.network.connections)) as pool:
        local = _all_or_first_fault(pool, bring, wanted)
    product = _product(scene, local, parts)
    crop = _crop_of(product, grid)
    read = [*product.bands.values(), *([] if product.classes is None else [product.classes])]
    planes = []
    for band in read:
        numbers, _ = on_grid(band, crop, nearest=band.name == CLASSES)
        valid = np.isfinite(numbers)
        # 0 and 65535 mean that there is nothing: a kernel's overshoot must not.
        least = 0 if band.name == CLASSES else 1
        planes.append(np.where(valid, np.rint(numbers).clip(least, 65534), 0).astype(np.uint16))
    if not any(plane.any() for plane in planes[: len(TEN_METRE_BANDS)]):
        raise EmptyScene("it has no pixel in the area")
    bands = [_band_entry(band) for band in read]
    write_cog(image, np.stack(planes), crop.crs, crop.transform, nodata=0, bands=bands, tags=tags_of(scene))
    asset = {
        "bands": bands,
        "proj:code": f"EPSG:{crop.crs.to_epsg()}",
        "proj:shape": list(crop.shape),
        "proj:transform": list(crop.transform)[:6],
    }
    reasons = "; ".join(str(one) for one in product.provenance["decisions"])
    return asset, {"fetch:publisher": metadata.publisher, "fetch:offset_decision": reasons}


def measure_sentinel2(
    fetcher: Fetcher, scene: RemoteScene, metadata: ItemMetadata, area: AreaOfInterest, work: Path
) -> RequestTally | None:
    """Say what `cut_sentinel2` would take, by the headers; None for images without a list of tiles.

    Raises:
        NetworkError: A header can't be had.
        SceneError: It isn't what the item says.
    """
    window_of = _window_of(scene, chip_grid(area))
    total = RequestTally()
    for asset in _wanted(metadata):
        one = fetcher.measure(asset.href, work / asset.band, window_of, _sampled(metadata, asset))
        if one is None:
            return None
        total += one
    return total


def _wanted(metadata: ItemMetadata) -> list[Asset]:
    """The images to read: the publisher's, or ESA's own where those aren't all there."""
    assets = metadata.originals if _originals(metadata) else metadata.assets
    return [assets[band] for band in (*TEN_METRE_BANDS, SWIR_BAND, CLASSES) if band in assets]


def _originals(metadata: ItemMetadata) -> bool:
    return not all(band in metadata.assets for band in TEN_METRE_BANDS)


def _sampled(metadata: ItemMetadata, asset: Asset) -> int | None:
    """Size of the sample that the offset is decided by, where that takes one."""
    return _SAMPLE_PX if metadata.doubtful and not _originals(metadata) and asset.band != SWIR_BAND else None


def _window_of(scene: RemoteScene, grid: Grid) -> Callable[[DatasetReader], Window | None]:
    declared = _declared_crs(scene.item)

    def window_of(opened: DatasetReader) -> Window | None:
        if opened.crs is None or (declared is not None and opened.crs != declared):
            said = "none" if opened.crs is None else f"EPSG:{opened.crs.to_epsg()}"
            raise SceneError(
                f"{scene.id}: its image has the coordinate system {said}, and not that of its item"
            )
        return window_in(opened, grid.crs, grid.bounds)

    return window_of


def _all_or_first_fault(
    pool: Executor, work: Callable[[Asset], tuple[Asset, Path]], wanted: Sequence[Asset]
) -> list[tuple[Asset, Path]]:
    futures = [pool.submit(work, one) for one in wanted]
    try:
        return [one.result() for one in futures]
    except BaseException:
        for one in futures:
            one.cancel()
        raise


def _product(scene: RemoteScene, local: Sequence[tuple[Asset, Path]], folder: Path) -> Product:
    """Open the fetched parts as the reader of products opens an item with its images beside it."""
    item = dict(scene.item)
    item["assets"] = {
        asset.key: {**scene.item["assets"][asset.key], "href": f"./{path.name}"} for asset, path in local
    }
    path = folder / "item.json"
    path.write_text(json.dumps({"stac_version": "1.0.0", **item}), encoding="utf-8")
    products, refusals = find_products([path])
    if not products:
        reason = refusals[0].reason.rstrip(".") if refusals else "isn't a Sentinel-2 item"
        raise SceneError(f"{scene.id}: {reason.replace(str(path), '').strip(': ')}")
    return products[0]


def _band_entry(band: Band) -> dict[str, Any]:
    entry = {"name": band.name, "nodata": 0, "data_type": "uint16"}
    if band.name == CLASSES:
        return entry
    common = {"B02": "blue", "B03": "green", "B04": "red", "B08": "nir", "B11": "swir16"}
    return entry | {
        "eo:common_name": common[band.name],
        "raster:scale": band.scale,
        "raster:offset": round(band.offset, 9),
    }


def _crop_of(product: Product, grid: Grid) -> Grid:
    """The window that is kept, on the product's own 10 m grid."""
    if product.crs == grid.crs:
        west, south, east, north = grid.bounds
        beside = 0
    else:
        west, south, east, north = transform_bounds(grid.crs, product.crs, *grid.bounds, densify_pts=21)
        beside = BESIDE_PX
    t = product.transform
    left, top = (
        math.floor((west - t.c) / t.a + 1e-6) - beside,
        math.floor((north - t.f) / t.e + 1e-6) - beside,
    )
    right, bottom = (
        math.ceil((east - t.c) / t.a - 1e-6) + beside,
        math.ceil((south - t.f) / t.e - 1e-6) + beside,
    )
    transform = Affine(t.a, 0.0, t.c + left * t.a, 0.0, t.e, t.f + top * t.e)
    return Grid((bottom - top, right - left), transform, product.crs)


def _declared_crs(item: Mapping[str, Any]) -> CRS | None:
    said = item["properties"].get("proj:code") or item["properties"].get("proj:epsg")
    if said is None:
        return None
    try:
        return CRS.from_user_input(said if isinstance(said, int) else str(said))
    except (RasterioError, ValueError) as error:
        raise SceneError(f"names the coordinate system {str(said)[:40]}, which nobody knows") from error
