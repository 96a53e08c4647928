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
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import rasterio
import shapely
from rasterio.warp import transform_bounds

from geo.catalogue.cog import EmptyScene
from geo.catalogue.cut_fine import cut_fine, measure_fine
from geo.catalogue.cut_sentinel2 import cut_sentinel2, measure_sentinel2
from geo.catalogue.network import Network, RequestTally, redacted
from geo.catalogue.remote_scene import RemoteScene
from geo.sentinel2.formats.stac_item import FETCHED

if TYPE_CHECKING:
    from aoi import AreaOfInterest

__all__ = ["Cut", "EmptyScene", "cut_scene", "measure_scene", "sweep", "window_key"]

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
    traffic = RequestTally()
    first = scenes[0]
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=_WORK, dir=folder) as name:
        work = Path(name)
        image = work / f"{first.stem}.tif"
        if first.metadata is not None:
            asset, more = cut_sentinel2(network, first, first.metadata, area, work, image, sign, traffic)
        else:
            asset, more = cut_fine(network, scenes, area, work, image, sign, traffic)
        document = _item(first, area, asset, more, image)
        item = work / f"{first.stem}.json"
        item.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        kept = Cut(
            folder / item.name, folder / image.name, image.stat().st_size + item.stat().st_size, traffic
        )
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
        return measure_sentinel2(network, scene, scene.metadata, area, folder, sign=sign)
    return measure_fine(network, scene, area, folder, sign=sign)


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
