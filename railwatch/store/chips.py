"""The pixels of acquisitions over an area at 10 m, kept in the store as the history of later ones.

Layout, beside the observations of a store::

    STORE/chips/<area>-<grid>/<acquisition>.tif      one GeoTIFF an acquisition
    STORE/chips/<area>-<grid>/looks-<area>.json      where each date lies beside the others (see `History`)
    STORE/chips/<area>-<grid>-planetscope/           the same of PlanetScope, which has a history of its own

A chip's file is an ordinary GeoTIFF: bands with names, scale and offset (value * 0.0001 - 0.1 is
reflectance, 0 is no data), the scene classification as a last band, the time in GDAL's ``IMAGERY`` metadata,
and what else a `geo.sentinel2.chip.Chip` knows as JSON in the tag ``RAILWATCH_CHIP``. It is written under a
temporary name and renamed, so that a kill leaves the whole file or none.

What is answered is answered from these files and not from the products, so that a date gives the same numbers
today and in five years, when the product lies elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from aoi.files import replacing, sweep
from aoi.gdal import open_raster
from geo.grid import Grid
from geo.sentinel2.chip import PIXEL_M, Chip
from geo.sentinel2.constellation import SENTINEL2, Constellation
from railwatch.errors import StoreError, said
from railwatch.store.observation import iso, slug

if TYPE_CHECKING:
    from aoi import AreaOfInterest

__all__ = ["CHIPS", "CLASSES", "OFFSET", "SCALE", "ChipStore", "StoredChip", "chip_fault"]

log = logging.getLogger(__name__)

T = TypeVar("T")

CHIPS = "chips"
SCALE, OFFSET = 1e-4, -0.1
"""Of the stored numbers: those of ESA's own products since 2022, so that they go through unchanged."""
CLASSES = "SCL"
"""Name of the band with the scene classification."""

_TAG = "RAILWATCH_CHIP"
_VERSION = 1
_LARGEST = 65535
_AS_THEY_ARE = ("platform", "relative_orbit", "sun_azimuth_deg", "sun_elevation_deg", "level", "baseline")
"""Fields of a `Chip` that its file's header holds as they are."""
_UNREADABLE = (RasterioError, OSError, ValueError, KeyError, TypeError)


@dataclass(frozen=True)
class StoredChip:
    """A chip in the store, without its pixels.

    Attributes:
        path: Its file.
        id: Of the acquisition.
        datetime: UTC sensing time.
        content: SHA-256 of all that an answer can depend on: pixels, bands, time, sun.
        product: The product that it was read from, as `ChipStore.add` was told.
        chip: Everything else that a chip knows, as stored.
    """

    path: Path
    id: str
    datetime: datetime
    content: str
    product: Mapping[str, Any]
    chip: Mapping[str, Any]

    def __hash__(self) -> int:
        return hash((self.path, self.content))  # the mappings have none

    @property
    def pixels(self) -> str:
        """SHA-256 of the pixels alone, empty where there are none: two dates can't have the same."""
        return str(self.chip.get("pixels", ""))


@dataclass(frozen=True)
class ChipStore:
    """The chips of one area on one grid.

    Attributes:
        path: The folder.
        grid: That every chip in it lies on.
    """

    path: Path
    grid: Grid

    @classmethod
    def of(
        cls, store: Path, area: AreaOfInterest, grid: Grid, sensor: Constellation = SENTINEL2
    ) -> ChipStore:
        """The chips of an area; the folder needn't be there yet.

        Chips of another grid (the boundary was drawn anew) are taken over where they show the area, since
        their products may be gone.

        Args:
            store: The store's folder.
            area: The area.
            grid: Around it.
            sensor: Whose; each kind has a folder of its own.
        """
        own = "" if sensor is SENTINEL2 else f"-{slug(sensor.name)}"
        name = f"{slug(area.name)}-{_grid_digest(grid)}{own}"
        found = cls(store / CHIPS / name, grid)
        if not found.path.is_dir():
            found._take_over(sorted((store / CHIPS).glob(f"{slug(area.name)}-????????{own}")), area)
        sweep(found.path)
        return found

    def kept(self) -> list[StoredChip]:
        """The chips, oldest first; what can't be read is named in a warning and left out."""
        return sorted(self._each(_remembered), key=lambda one: (one.datetime, one.id))

    def read(self) -> list[tuple[StoredChip, Chip]]:
        """The chips with their pixels, oldest first; what can't be read is left out with a warning."""
        return sorted(self._each(_read), key=lambda one: (one[0].datetime, one[0].id))

    def _each(self, read: Callable[[Path], T]) -> Iterator[T]:
        for path in sorted(self.path.glob("[!.]*.tif")):
            try:
                yield read(path)
            except _UNREADABLE as error:
                log.warning("%s can't be read and is left out: %s", path, said(error))

    def read_one(self, kept: StoredChip) -> Chip:
        """Read the pixels of one chip.

        Raises:
            StoreError: If they can't be read.
        """
        try:
            return _read(kept.path)[1]
        except _UNREADABLE as error:
            raise StoreError(f"{kept.path} can't be read: {said(error)}.") from error

    def add(self, chip: Chip, product: Mapping[str, Any]) -> StoredChip:
        """Keep a chip, in place of another one of its acquisition.

        Args:
            chip: On this folder's grid.
            product: What tells its product from others, JSON-ready.

        Raises:
            StoreError: If it can't be written.
            ValueError: If it lies on another grid.
        """
        grid = self.grid
        if (chip.shape, chip.transform, chip.crs) != (grid.shape, grid.transform, grid.crs):
            raise ValueError(f"{chip.id} doesn't lie on the grid of {self.path.name}")
        path = self.path / f"{slug(chip.id)}-{hashlib.sha256(chip.id.encode()).hexdigest()[:8]}.tif"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # GDAL tells of a write that failed when it closes a file, or not at all: it is read back.
            with replacing(path, _read) as temporary:
                kept = _write(temporary, chip, product)
        except _UNREADABLE as error:
            raise StoreError(f"{path} can't be written: {said(error)}.") from error
        return replace(kept, path=path)

    def _take_over(self, others: list[Path], area: AreaOfInterest) -> None:
        bounds = area.to_crs(self.grid.crs).boundary.bounds
        for other in others:
            for path in sorted(other.glob("[!.]*.tif")):
                try:
                    kept, chip = _read(path)
                    moved = _moved(chip, self.grid, bounds)
                except _UNREADABLE as error:
                    log.warning("%s can't be taken over: %s", path, said(error))
                    continue
                if moved is not None:
                    self.add(moved, kept.product)


def chip_fault(path: Path) -> str | None:
    """What is wrong with a chip's file, in half a sentence; None for a sound one. All of it is read."""
    try:
        _read(path)
    except _UNREADABLE as error:
        return said(error)
    return None


def _moved(chip: Chip, grid: Grid, needed: tuple[float, float, float, float]) -> Chip | None:
    """A chip's pixels on another grid of the same lattice, or None if they don't show what is needed."""
    left, top = chip.transform.c, chip.transform.f
    right, bottom = left + chip.shape[1] * PIXEL_M, top - chip.shape[0] * PIXEL_M
    shows = left <= needed[0] and bottom <= needed[1] and right >= needed[2] and top >= needed[3]
    if chip.crs != grid.crs or not shows:
        return None
    column, row = round((grid.transform.c - left) / PIXEL_M), round((top - grid.transform.f) / PIXEL_M)

    def window(plane: NDArray[Any], fill: float) -> NDArray[Any]:
        out = np.full((*plane.shape[:-2], *grid.shape), fill, plane.dtype)
        rows = slice(max(row, 0), min(row + grid.shape[0], plane.shape[-2]))
        columns = slice(max(column, 0), min(column + grid.shape[1], plane.shape[-1]))
        inside = (
            slice(rows.start - row, rows.stop - row),
            slice(columns.start - column, columns.stop - column),
        )
        out[(..., *inside)] = plane[..., rows, columns]
        return out

    return replace(
        chip,
        reflectance=window(chip.reflectance, np.nan),
        scl=None if chip.scl is None else window(chip.scl, 0),
        transform=grid.transform,
    )


def _grid_digest(grid: Grid) -> str:
    said = f"{grid.crs.to_epsg()} {list(grid.transform)[:6]} {grid.shape}"
    return hashlib.sha256(said.encode()).hexdigest()[:8]


# ---- files ---------------------------------------------------------------------------------------


def _write(path: Path, chip: Chip, product: Mapping[str, Any]) -> StoredChip:
    numbers = np.rint((chip.reflectance.astype(np.float64) - OFFSET) / SCALE)
    planes = [np.where(np.isfinite(numbers), np.clip(numbers, 1, _LARGEST), 0).astype(np.uint16)]
    names = list(chip.bands)
    if chip.scl is not None:
        planes.append(chip.scl[None].astype(np.uint16))
        names.append(CLASSES)
    stack = np.concatenate(planes)
    said = {
        "version": _VERSION,
        "id": chip.id,
        "datetime": iso(chip.datetime),
        **{name: getattr(chip, name) for name in _AS_THEY_ARE},
        "bands": names,
        "provenance": dict(chip.provenance),
    }
    content = _content(said, names, stack)
    pixels = hashlib.sha256(np.ascontiguousarray(stack, "<u2").tobytes()).hexdigest() if stack.any() else ""
    header = said | {"content": content, "pixels": pixels, "product": dict(product)}
    count, height, width = stack.shape
    form = {"compress": "deflate", "predictor": 2, "zlevel": 9, "interleave": "band", "nodata": 0}
    size = {"count": count, "height": height, "width": width, "dtype": "uint16"}
    place = {"crs": chip.crs, "transform": chip.transform}
    with rasterio.open(path, "w", driver="GTiff", **size, **place, **form) as image:
        image.write(stack)
        image.descriptions = tuple(names)
        image.scales = tuple(1.0 if name == CLASSES else SCALE for name in names)
        image.offsets = tuple(0.0 if name == CLASSES else OFFSET for name in names)
        image.units = tuple("class" if name == CLASSES else "reflectance" for name in names)
        image.update_tags(**{_TAG: json.dumps(header, sort_keys=True, allow_nan=False)})
        image.update_tags(
            ns="IMAGERY",
            ACQUISITIONDATETIME=iso(chip.datetime).removesuffix("Z"),
            SATELLITEID=chip.platform,
        )
    return StoredChip(path, chip.id, chip.datetime, content, dict(product), header)


def _content(said: Mapping[str, Any], names: list[str], stack: NDArray[np.uint16]) -> str:
    """The digest of what an answer can depend on."""
    matters = {name: said[name] for name in ("id", "datetime", "sun_azimuth_deg", "sun_elevation_deg")}
    digest = hashlib.sha256(json.dumps([matters, names, stack.shape], sort_keys=True).encode())
    digest.update(np.ascontiguousarray(stack, "<u2").tobytes())
    return digest.hexdigest()


def _remembered(path: Path) -> StoredChip:
    """What a chip's file says of itself, read once in the state that it is in.

    A worker asks for all chips of an area with every scene that it adds to them.
    """
    about = path.stat()
    return _said_by(path, (about.st_size, about.st_mtime_ns, about.st_ino))


@lru_cache(maxsize=20_000)
def _said_by(path: Path, state: tuple[int, int, int]) -> StoredChip:
    with open_raster(path, drivers=("GTiff",)) as image:
        return _header(path, image)


def _header(path: Path, image: Any) -> StoredChip:
    """What a chip's file says of itself.

    Raises:
        ValueError, KeyError, TypeError: It isn't one that railwatch wrote.
    """
    text = image.tags().get(_TAG)
    if text is None:
        raise ValueError("it isn't a chip")
    said = json.loads(text)
    if said["version"] > _VERSION:
        raise ValueError("it was written by a newer railwatch")
    when = datetime.fromisoformat(said["datetime"])
    if when.tzinfo is None:
        raise ValueError("its time has no time zone")
    return StoredChip(path, str(said["id"]), when, str(said["content"]), dict(said["product"]), said)


def _read(path: Path) -> tuple[StoredChip, Chip]:
    with open_raster(path, drivers=("GTiff",)) as image:
        kept = _header(path, image)
        stack = image.read()
        names = list(image.descriptions)
        crs, transform = image.crs, Affine(*image.transform[:6])
    if _content(kept.chip, names, stack) != kept.content:
        raise ValueError("its pixels aren't those that were written")
    said = kept.chip
    scl = stack[-1].astype(np.uint8) if names[-1] == CLASSES else None
    numbers = stack if scl is None else stack[:-1]
    reflectance = (numbers.astype(np.float64) * SCALE + OFFSET).astype(np.float32)
    reflectance[numbers == 0] = np.nan
    return kept, Chip(
        id=kept.id,
        datetime=kept.datetime,
        bands=tuple(names if scl is None else names[:-1]),
        reflectance=reflectance,
        transform=transform,
        crs=crs,
        scl=scl,
        **{name: said[name] for name in _AS_THEY_ARE},
        provenance=dict(said["provenance"]),
    )
