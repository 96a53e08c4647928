"""Makes the Sentinel-2 samples anew: ``python -m sample_tiles.sentinel2.make [FOLDER]``.

One simulated yard of eight tracks on 26 dates, as small windows of real product forms (COGs with STAC items,
two dates as SAFE zips): ordinary dates, clouds, a veil and snow, one acquisition twice (processed again), and
in the end a build-up. Wagon designs are those that the simulator keeps for testing. The yard lies in the
middle of the Atlantic, so that nobody takes it for a real one.

The folder gets ``products/``, ``area.geojson`` and ``manifest.json``: what truly stands there on each date,
how the products were made, and the thresholds that ``railwatch validate`` holds the occupancy estimator to.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.crs import CRS

from aoi.files import write_text
from detector.simulators.procedural.spec import Consist
from detector.simulators.procedural.yards import Traffic, Yard, random_yard
from detector.simulators.sentinel2.products import cirrus, cumulus, write_item, write_safe
from detector.simulators.sentinel2.renderer import BANDS, AcquisitionConditions, CoarseYard, random_sky
from detector.wagons.categories import FREIGHT
from geo.ground_metric import apply_affine
from geo.sentinel2.chip import Chip

SEED = 20261130
EPSG, TILE = 32626, "26TNQ"
WEST_M, NORTH_M = 541_000.0, 4_971_000.0
LENGTH_M, GROUND_M, END_M = 1240.0, 320.0, 300.0
"""The scene along the tracks, the ground beside them, and that beyond the ends of the yard."""
_RIM_M = 9.0
_TRACKS = (7, 10)
_CLEAR, _PLANTS, _CLOUD, _CIRRUS, _SNOW = 5, 4, 9, 10, 11  # of the scene classification
_TO_LONLAT = Transformer.from_crs(EPSG, "OGC:CRS84", always_xy=True)

THRESHOLDS = {
    "occupancy_answered": 16,
    "occupancy_error_share": 0.6,
    "occupancy_interval_coverage": 0.75,
    "occupancy_hidden_answered": 0,
    "occupancy_build_up_seen": 1,
}
"""What the estimator must reach on these dates; `railwatch.selftest.validate` says how each is
measured.

They catch a broken estimator, with room for the small differences between machines: weights version 2 answer
17 dates with an error of 0.43 of the sum and 0.88 of the intervals right. How good it is on many yards is
another question: see docs/occupancy.md.
"""


@dataclass(frozen=True)
class YardDate:
    """One date of the series.

    Attributes:
        when: Start of the datatake, UTC.
        cars: Freight cars wanted in the yard, about.
        sky: "clear", "cloud", "veil" or "snow".
        form: "cog" or "safe".
    """

    when: datetime
    cars: int
    sky: str = "clear"
    form: str = "cog"


def _at(year: int, month: int, day: int) -> datetime:
    return datetime(year, month, day, 12, 41, 9, tzinfo=UTC)


DATES = (
    YardDate(_at(2023, 4, 12), 14),
    YardDate(_at(2023, 5, 2), 19),
    YardDate(_at(2023, 5, 27), 9),
    YardDate(_at(2023, 6, 21), 16, "cloud"),
    YardDate(_at(2023, 7, 6), 12),
    YardDate(_at(2023, 7, 31), 22, form="safe"),
    YardDate(_at(2023, 8, 20), 17),
    YardDate(_at(2023, 9, 9), 8),
    YardDate(_at(2023, 9, 24), 13),
    YardDate(_at(2023, 10, 4), 20),
    YardDate(_at(2023, 11, 3), 15, "veil"),
    YardDate(_at(2024, 1, 17), 11, "snow"),
    YardDate(_at(2024, 2, 26), 12),
    YardDate(_at(2024, 3, 12), 18),
    YardDate(_at(2024, 4, 6), 21),
    YardDate(_at(2024, 5, 1), 0),
    YardDate(_at(2024, 5, 31), 13),
    YardDate(_at(2024, 6, 25), 17, form="safe"),
    YardDate(_at(2024, 7, 20), 10),
    YardDate(_at(2024, 8, 9), 23),
    YardDate(_at(2024, 8, 29), 16, "cloud"),
    YardDate(_at(2024, 9, 13), 19),
    YardDate(_at(2024, 10, 3), 78),
    YardDate(_at(2024, 10, 8), 84),
    YardDate(_at(2024, 10, 13), 74),
    YardDate(_at(2024, 10, 23), 81),
)
TWICE = 7
"""Number of the date that lies there in two processing baselines."""


def make(folder: Path, dates: Sequence[YardDate] = DATES, seed: int = SEED) -> dict[str, Any]:
    """Make the products, the area and the manifest.

    Args:
        folder: Where to; made if it isn't there. Older products in it are removed.
        dates: The series.
        seed: Decides everything that ``dates`` leaves open.

    Returns:
        The manifest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    products = folder / "products"
    shutil.rmtree(products, ignore_errors=True)
    place = _Place.by_chance(seed)
    _write_json(folder / "area.geojson", place.area())
    listed = []
    for number, date in enumerate(dates):
        chip, cars, length_m = place.date(date, number)
        write = write_safe if date.form == "safe" else write_item
        paths = [write(products, chip, tile=TILE, baseline="05.11")]
        if number == TWICE:
            paths.append(write_item(products, chip, tile=TILE, baseline="05.10"))
        listed.append(
            {
                "products": [path.relative_to(folder).as_posix() for path in paths],
                "datetime": date.when.isoformat().replace("+00:00", "Z"),
                "sky": date.sky,
                "cars": cars,
                "occupied_m": round(length_m, 1),
            }
        )
    manifest = {
        "title": "Sentinel-2 samples: a simulated yard over two years, and a build-up",
        "made_by": {"command": "python -m sample_tiles.sentinel2.make", "seed": seed, "split": "test"},
        "area": "area.geojson",
        "dates": listed,
        "build_up": dates[-4].when.isoformat().replace("+00:00", "Z") if len(dates) >= 4 else None,
        "thresholds": THRESHOLDS,
    }
    _write_json(folder / "manifest.json", manifest)
    return manifest


@dataclass
class _Place:
    """The yard, where it lies, and what stands there."""

    coarse: CoarseYard
    traffic: Traffic
    outline: shapely.Polygon  # metres of the scene
    rng: np.random.Generator

    @classmethod
    def by_chance(cls, seed: int) -> _Place:
        """The first yard of a seed that has some tracks and isn't turned much against the grid."""
        for number in range(1000):
            rng = np.random.default_rng([seed, number])
            yard = random_yard(rng, "test", ground_m=GROUND_M, length_m=LENGTH_M)
            if _TRACKS[0] <= len(yard.paths) <= _TRACKS[1]:
                break
        # Cars stand in the yard and not on the lines that lead to it.
        own = [
            replace(
                p, clear=p.clear & (p.points[:, 0] > END_M + 15) & (p.points[:, 0] < LENGTH_M - END_M - 15)
            )
            for p in yard.paths
        ]
        lines = shapely.MultiLineString([p.points for p in own])
        middle = shapely.box(END_M, 0.0, LENGTH_M - END_M, 1e4)
        outline = shapely.simplify(lines.intersection(middle).buffer(_RIM_M, cap_style="flat"), 1.0)
        yard = replace(yard, paths=tuple(own))
        return cls(CoarseYard.random(yard, rng), Traffic(yard, rng, 18.0, 0.5), outline.convex_hull, rng)

    @property
    def yard(self) -> Yard:
        return self.coarse.yard

    @property
    def transform(self) -> Affine:
        return Affine(10.0, 0.0, WEST_M, 0.0, -10.0, NORTH_M)

    def date(self, date: YardDate, number: int) -> tuple[Chip, int, float]:
        """The acquisition, and the freight cars and metres of them that truly stand in the yard."""
        consists = self.traffic.next(float(date.cars))
        rng = np.random.default_rng([SEED, number])
        sky = replace(
            random_sky(rng, self.coarse.parameters, date.when), snow=0.9 if date.sky == "snow" else 0.0
        )
        image = self.coarse.render(consists, sky)
        image, classes = _overcast(image, date, rng)
        chip = Chip(
            id=f"sample-{number}",
            datetime=date.when,
            platform="Sentinel-2B" if number % 2 else "Sentinel-2A",
            relative_orbit=68,
            bands=BANDS,
            reflectance=image,
            transform=self.transform,
            crs=CRS.from_epsg(EPSG),
            scl=classes,
            sun_azimuth_deg=round(sky.sun_azimuth_deg, 3),
            sun_elevation_deg=round(sky.sun_elevation_deg, 3),
            level="L2A",
        )
        return chip, *self._truth(consists, sky)

    def _truth(self, consists: Sequence[Consist], sky: AcquisitionConditions) -> tuple[int, float]:
        cars = [w for c in consists for w in c.wagons if w.category == FREIGHT]
        inside = sum(bool(self.outline.contains(shapely.Point(w.x_m, w.y_m))) for w in cars)
        return inside, sum(end - start for _, start, end in self.traffic.pieces)

    def area(self) -> dict[str, Any]:
        """The yard as an area of interest."""
        tracks = [shapely.LineString(p.points).intersection(self.outline) for p in self.yard.paths]
        features = [self._feature("boundary", self.outline, {})]
        for number, line in enumerate(tracks, start=1):
            whole = line if line.geom_type == "LineString" else max(line.geoms, key=lambda one: one.length)
            features.append(self._feature("track", shapely.simplify(whole, 0.2), {"id": f"t{number}"}))
        return {
            "type": "FeatureCollection",
            "name": "sample-sidings",
            "title": "Sample sidings (simulated)",
            "sources": [{"title": "Drawn by sample_tiles.sentinel2.make; the yard doesn't exist"}],
            "features": features,
        }

    def _feature(self, role: str, shape: shapely.Geometry, properties: dict[str, Any]) -> dict[str, Any]:
        to_map = self.transform @ ~self.coarse.lattice.transform

        def placed(xy: NDArray[np.float64]) -> NDArray[np.float64]:
            east, north = apply_affine(to_map, xy).T
            return np.round(np.column_stack(_TO_LONLAT.transform(east, north)), 7)

        geometry = shapely.orient_polygons(shapely.transform(shape, placed))
        return {
            "type": "Feature",
            "properties": {"role": role, **properties},
            "geometry": json.loads(shapely.to_geojson(geometry)),
        }


def _overcast(
    image: NDArray[np.float32], date: YardDate, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The image under the date's sky, and its scene classification."""
    known = np.isfinite(image).all(axis=0)
    red, infrared = np.nan_to_num(image[2]), np.nan_to_num(image[3])
    plants = (infrared - red) / np.maximum(infrared + red, 0.02) > 0.4
    classes = np.where(plants, _PLANTS, _CLEAR).astype(np.uint8)
    filled = np.nan_to_num(image)
    if date.sky == "cloud":
        filled, cloud = cumulus(filled, rng, 0.65)
        classes[cloud] = _CLOUD
    elif date.sky == "veil":
        filled = cirrus(filled, rng, 0.3)
        classes[:] = _CIRRUS
    elif date.sky == "snow":
        classes[filled[0] > 0.35] = _SNOW
    classes[~known] = 0
    return np.where(known, filled, np.nan).astype(np.float32), classes


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def main(arguments: Sequence[str]) -> int:
    """Make the products in the folder given, or beside this file."""
    folder = Path(arguments[0]) if arguments else Path(__file__).parent
    manifest = make(folder)
    size = sum(path.stat().st_size for path in (folder / "products").rglob("*") if path.is_file())
    counts = " ".join(str(date["cars"]) for date in manifest["dates"])
    sys.stdout.write(
        f"{len(manifest['dates'])} dates, {size / 1e6:.1f} MB in {folder}; freight cars: {counts}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
