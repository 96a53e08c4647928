"""One product answered on 10 m cells: what it is, where its pixels lie, and their reflectance on a grid."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import shapely
import shapely.geometry
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.features import rasterize
from rasterio.warp import transform_geom

from geo.errors import SceneError
from geo.grid import Grid
from geo.ground_metric import apply_affine
from geo.sentinel2.chip import Chip, boundary_in, chip_grid
from geo.sentinel2.constellation import SIMULATED, constellation_of
from geo.sentinel2.formats.product_names import SWIR_BAND, TEN_METRE_BANDS
from geo.sentinel2.formats.raster_band import MASK, Band, Header, averaged, classes_of, on_grid

if TYPE_CHECKING:
    from aoi import AreaOfInterest

QUANTIFICATION = 10_000.0
"""What every processing baseline divides numbers by; used only where the XML that says so is missing."""
EIGHT_BITS = (
    "is an 8-bit picture, stretched for the eye: reflectance, which the work at 10 m needs, can't be had "
    "from it"
)
"""Why pictures are refused."""

Kind = Literal["SAFE", "AWS", "STAC", "export", "PSScene"]
Clock = Literal["datatake", "tile", "day"]


@dataclass(frozen=True)
class Product:
    """One product as it lies on disk, opened as far as its metadata.

    Attributes:
        path: The SAFE folder, the zip, the STAC item, the folder on AWS's pattern, or the exported image.
        part: What of it, where one path holds several: a granule, the date of a declaration; "" otherwise.
        kind: How its numbers are known: "SAFE" and "AWS" by ESA's XML, "STAC" by an item, "export" by a
            declaration or by well-known habits, "PSScene" by Planet's names and metadata.
        level: "L1C", "L2A" or "unknown"; of PlanetScope "SR" (surface reflectance) or "TOA".
        platform: "Sentinel-2A" and so on; "Sentinel-2" where the unit isn't told; "simulated Sentinel-2A"
            where the product says that it is simulated; "PlanetScope 2427".
        datetime: UTC: the start of the datatake where it is known, which is the same for all tiles of a pass
            and for all products of a tile; see ``clock``.
        clock: What ``datetime`` is: the start of the "datatake", the time that the "tile" was seen at (up to
            half an hour later), or just the "day".
        relative_orbit: 1 to 143, or None.
        baseline: Processing baseline such as "05.09", or None.
        tile: MGRS tile such as "52TFN", or None.
        crs: Of the 10 m bands.
        transform: Of the 10 m bands.
        shape: Rows and columns of the 10 m bands.
        bands: By name: B02, B03, B04, B08, and B11 where there is one.
        classes: The scene classification, or Planet's usable data mask, or None.
        sun_azimuth_deg: Clockwise from north, or None.
        sun_elevation_deg: Above the horizon, or None.
        generated: UTC time of processing, or None.
        files: All files on disk that it is made of: pixels and metadata.
        provenance: Product, tile, offset and quantification applied, and what was decided why; JSON-ready.
        acquisition: Id of the acquisition: given by platform, time and relative orbit, or taken from the
            product of the same acquisition that knows them best.
        frames: The further scenes of its strip, seconds later: where this one has no pixels theirs are used.
    """

    path: Path
    part: str
    kind: Kind
    level: str
    platform: str
    datetime: dt.datetime
    clock: Clock
    relative_orbit: int | None
    baseline: str | None
    tile: str | None
    crs: CRS
    transform: Affine
    shape: tuple[int, int]
    bands: Mapping[str, Band]
    classes: Band | None = None
    sun_azimuth_deg: float | None = None
    sun_elevation_deg: float | None = None
    generated: dt.datetime | None = None
    files: tuple[Path, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    acquisition: str = ""
    frames: tuple[Product, ...] = ()

    def __post_init__(self) -> None:
        """Give the acquisition its id, and hold what is given to what can be written as JSON."""
        if not self.acquisition:
            object.__setattr__(
                self,
                "acquisition",
                acquisition_id(self.platform, self.datetime, self.relative_orbit, self.clock),
            )
        json.dumps(self.provenance)

    @property
    def name(self) -> str:
        """For sentences: the path's last part, and the part of it."""
        return f"{self.path.name} ({self.part})" if self.part else self.path.name

    @cached_property
    def footprint(self) -> shapely.Polygon:
        """The raster's outline in map coordinates."""
        rows, columns = self.shape
        corners = [(0, 0), (columns, 0), (columns, rows), (0, rows)]
        return shapely.Polygon(apply_affine(self.transform, corners))

    def shown(self, area: AreaOfInterest) -> float:
        """Share (0 to 1) of an area's boundary that lies inside the raster; see `filled` for its pixels."""
        boundary = boundary_in(self.crs, area)
        if boundary is None:
            return 0.0
        outlines = [self.footprint]
        for one in self.frames:
            with suppress(RasterioError):
                outlines.append(shapely.geometry.shape(transform_geom(one.crs, self.crs, one.footprint)))
        return float(boundary.intersection(shapely.union_all(outlines)).area / boundary.area)

    def edge_distance_m(self, area: AreaOfInterest) -> float:
        """Metres of raster beyond an area on the side where there are fewest; negative where it is cut."""
        boundary = boundary_in(self.crs, area)
        if boundary is None:
            return -float("inf")
        west, south, east, north = boundary.bounds
        left, bottom, right, top = self.footprint.bounds
        return float(min(west - left, right - east, south - bottom, top - north))

    def filled(self, area: AreaOfInterest) -> float:
        """Share (0 to 1) of an area's boundary that has data in band B04; reads that band around the area.

        A raster that covers an area may be empty there: beside the swath, or in the other half of a tile that
        was processed in two.

        Raises:
            SceneError: The band can't be read.
        """
        grid = chip_grid(area, margin_m=0.0)
        boundary = boundary_in(grid.crs, area)
        if boundary is None:
            return 0.0
        inside = rasterize([boundary], grid.shape, transform=grid.transform, all_touched=True).astype(bool)
        values, _ = self._reflectance("B04", grid)
        return float(np.isfinite(values)[inside].mean()) if inside.any() else 0.0

    def read(self, grid: Grid) -> Chip:
        """Reflectance on a grid; each band is read once, and only its window.

        Finer pixels are averaged (see `geo.sentinel2.constellation`). Where the product's own 10 m
        pixels are those of the grid they are copied; where they aren't (another UTM zone, an export on
        another lattice) they are brought to it by the cubic kernel, which the provenance says. B11 (20 m) is
        brought to 10 m by the cubic kernel, the scene classification by the nearest pixel.

        Args:
            grid: Around the area.

        Returns:
            The pixels; NaN (0 in the classification) where the product has none.

        Raises:
            SceneError: A band can't be read.
        """
        planes, resampled = [], []
        for name in self.bands:
            plane, copied = self._reflectance(name, grid)
            planes.append(plane)
            if not copied:
                resampled.append(name)
        classes = self._classes(grid)
        return Chip(
            id=self.acquisition,
            datetime=self.datetime,
            platform=self.platform,
            relative_orbit=self.relative_orbit,
            bands=tuple(self.bands),
            reflectance=np.stack(planes),
            transform=grid.transform,
            crs=grid.crs,
            scl=classes,
            sun_azimuth_deg=self.sun_azimuth_deg,
            sun_elevation_deg=self.sun_elevation_deg,
            level=self.level,
            baseline=self.baseline,
            provenance={**self.provenance, "resampled": [name for name in resampled if name != SWIR_BAND]},
        )

    def _reflectance(self, name: str, grid: Grid) -> tuple[NDArray[np.float32], bool]:
        """One band on a grid, and whether the pixels are plain copies; with what only further frames show."""
        band, spread_m = self.bands[name], constellation_of(self.platform).spread_m
        with self._readable(name):
            if spread_m:
                numbers, copied = averaged(band, grid, spread_m), False
            else:
                numbers, copied = on_grid(band, grid)
        values = band.reflectance(numbers)
        for one in self.frames:
            missing = np.isnan(values)
            if missing.any():
                values[missing] = one._reflectance(name, grid)[0][missing]
        return values, copied

    def _classes(self, grid: Grid) -> NDArray[np.uint8] | None:
        """The classification on a grid, 0 where there is no image; None where a scene has none."""
        found, band = None, self.classes
        if band is not None:
            with self._readable(band.name):
                if band.name == MASK:
                    found = classes_of(band.path, grid)
                else:
                    numbers, _ = on_grid(band, grid, nearest=True)
                    found = np.nan_to_num(numbers, nan=0.0).astype(np.uint8)
        for one in self.frames:
            more = one._classes(grid)
            if found is not None and more is not None:
                found = np.where(found == 0, more, found)
        return found

    @contextmanager
    def _readable(self, name: str) -> Iterator[None]:
        try:
            yield
        except SceneError as error:
            raise SceneError(
                f"{self.path}: band {name} can't be read: its file is missing, cut short or damaged"
            ) from error


def build_product(
    header: Header,
    *,
    path: Path,
    kind: Kind,
    tile: str | None,
    baseline: str | None,
    bands: Mapping[str, Band],
    sun: tuple[float | None, float | None],
    about: Mapping[str, Any],
    decisions: Sequence[str],
    **known: Any,
) -> Product:
    """Put a product together, whatever its metadata came from: SAFE, AWS's folders, STAC items, others.

    Args:
        header: Of a 10 m band, which has a position: its grid is the product's.
        path: See `Product`.
        kind: See `Product`.
        tile: See `Product`.
        baseline: See `Product`.
        bands: By name, in any order.
        sun: Azimuth and elevation, degrees; None where they aren't told.
        about: What the provenance tells beside path, kind, tile, baseline and decisions.
        decisions: What was decided why, sentences.
        known: Further fields of `Product`.
    """
    assert header.crs is not None  # whoever opened it refused files without
    return Product(
        path=path,
        kind=kind,
        tile=tile,
        baseline=baseline,
        crs=header.crs,
        transform=header.transform,
        shape=header.shape,
        bands={name: bands[name] for name in (*TEN_METRE_BANDS, SWIR_BAND) if name in bands},
        sun_azimuth_deg=sun[0],
        sun_elevation_deg=sun[1],
        provenance={
            "file": str(path),
            "kind": kind,
            "tile": tile,
            "baseline": baseline,
            **about,
            "decisions": list(decisions),
        },
        **known,
    )


def acquisition_id(platform: str, when: dt.datetime, relative_orbit: int | None, clock: Clock) -> str:
    """The id of an acquisition: S2A_20231005T021001_R003."""
    sensor = constellation_of(platform)
    unit = platform.removeprefix(SIMULATED).replace(sensor.name, sensor.short).replace(" ", "_")
    moment = f"{when:%Y%m%d}" if clock == "day" else f"{when:%Y%m%dT%H%M%S}"
    return f"{unit}_{moment}" + (f"_R{relative_orbit:03d}" if relative_orbit is not None else "")


def lacking(missing: Sequence[str]) -> str:
    """For a sentence: that bands are missing."""
    named = missing[0] if len(missing) == 1 else f"{', '.join(missing[:-1])} and {missing[-1]}"
    plural = "s" if len(missing) > 1 else ""
    return f"lacks the band{plural} {named}: the work at 10 m needs B02, B03, B04 and B08"
