"""A small yard seen by Sentinel-2 many times, and a tiny estimator that needs no training."""

from __future__ import annotations

import datetime as dt
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer

from aoi import AreaOfInterest, Track, Zone
from detector.occupancy.estimate import FigureInterval, OccupancyEstimate, Pitch
from geo.sentinel2.site import Site
from geo.sentinel2.time_series import DatedImage

_PRODUCTS = Path(__file__).resolve().parent.parent / "geo" / "sentinel2_products.py"
_spec = importlib.util.spec_from_file_location("sentinel2_products", _PRODUCTS)
assert _spec is not None
assert _spec.loader is not None
products = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(products)

UTM = "EPSG:32652"
WEST, NORTH = 467_000.0, 4_696_000.0
SHAPE = (150, 180)
TRANSFORM = Affine(10, 0, WEST, 0, -10, NORTH)
TRACKS_Y_M = (720.0, 735.0, 750.0)
FIRST_X_M, LAST_X_M = 600.0, 1200.0
START = dt.datetime(2023, 4, 3, 2, 10, 1, tzinfo=dt.UTC)
PITCH = Pitch(14.0, 1.0)


def area(name: str = "siding", *, tracks: bool = True) -> AreaOfInterest:
    """The yard: three tracks of 600 m, two zones."""
    back = Transformer.from_crs(UTM, "OGC:CRS84", always_xy=True)

    def place(geometry: shapely.Geometry) -> Any:
        moved = shapely.transform(geometry, lambda xy: xy * (1, -1) + (WEST, NORTH))
        return shapely.transform(moved, lambda x, y: back.transform(x, y), interleaved=False)

    top, bottom = TRACKS_Y_M[0] - 35, TRACKS_Y_M[-1] + 35
    middle = (FIRST_X_M + LAST_X_M) / 2
    return AreaOfInterest(
        name=name,
        title="Siding of the tests",
        boundary=place(shapely.box(FIRST_X_M - 20, top, LAST_X_M + 20, bottom)),
        tracks=tuple(
            Track(f"t{number}", place(shapely.LineString([(FIRST_X_M, y), (LAST_X_M, y)])))
            for number, y in enumerate(TRACKS_Y_M, start=1)
        )
        if tracks
        else (),
        zones=(
            Zone("west", "West", place(shapely.box(FIRST_X_M - 20, top, middle, bottom))),
            Zone("east", "East", place(shapely.box(middle, top, LAST_X_M + 20, bottom))),
        ),
    )


def write_area(path: Path, given: AreaOfInterest | None = None) -> Path:
    """The area as a file that the command line takes."""
    one = given or area()
    features: list[dict[str, Any]] = [_feature(one.boundary, role="boundary")]
    features += [_feature(track.line, role="track", id=track.id) for track in one.tracks]
    features += [_feature(zone.polygon, role="zone", id=zone.id, title=zone.title) for zone in one.zones]
    document = {
        "type": "FeatureCollection",
        "name": one.name,
        "title": one.title,
        "sources": ["made up for a test"],
        "features": features,
    }
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def _feature(shape: shapely.Geometry, **properties: Any) -> dict[str, Any]:
    geometry = json.loads(shapely.to_geojson(shape))
    return {"type": "Feature", "properties": properties, "geometry": geometry}


def planes(wagons: int, number: int, *, cloudy: bool = False) -> dict[str, NDArray[np.float32]]:
    """Reflectances of one date: the countryside, a little noise of the date's own, wagons on the tracks."""
    base = products.countryside(SHAPE, seed=3)
    noise = np.random.default_rng(100 + number)
    standing = np.zeros(SHAPE, np.float32)
    left = wagons
    for y in TRACKS_Y_M:
        here = min(left, int((LAST_X_M - FIRST_X_M) / PITCH.mean_m))
        left -= here
        along = np.clip(FIRST_X_M + here * PITCH.mean_m - np.arange(SHAPE[1]) * 10.0, 0.0, 10.0)
        along[: int(FIRST_X_M // 10)] = 0.0
        standing[int(y // 10)] += (along / 10.0 * 0.3).astype(np.float32)
    found = {}
    for band, plane in base.items():
        seen = plane * (1 - standing) + 0.35 * standing
        if cloudy:
            rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
            seen = np.where((rows + columns) % 100 < 80, 0.55 + 0.02 * noise.normal(size=SHAPE), seen)
        found[band] = (seen + noise.normal(0.0, 0.002, SHAPE)).clip(0.002).astype(np.float32)
    return found


def classes(*, cloudy: bool = False) -> NDArray[np.uint8]:
    """The scene classification of a date."""
    return np.full(SHAPE, 9 if cloudy else 5, np.uint8)


def when(number: int) -> dt.datetime:
    """Start of the datatake of a date: every five days."""
    return START + dt.timedelta(days=5 * number)


def write(
    folder: Path, number: int, wagons: int = 0, *, how: str = "zip", cloudy: bool = False, **more: Any
) -> Path:
    """One date as a product: "zip", "safe", "cog" (Earth Search) or "c1".

    Args:
        folder: Where to.
        number: Of the date.
        wagons: On the tracks.
        how: What kind of product.
        cloudy: Whether clouds cover it.
        **more: For the writer.
    """
    given = (folder, planes(wagons, number, cloudy=cloudy), TRANSFORM, UTM, when(number))
    scl = classes(cloudy=cloudy)
    if how in ("zip", "safe"):
        return Path(products.write_safe(*given, zipped=how == "zip", scl=scl, **more))
    return Path(products.write_stac(*given, flavour="earth-search" if how == "cog" else how, scl=scl, **more))


class BrightEstimator:
    """Sums what has become brighter along the tracks: about right for these scenes. It needs no training."""

    name, version, checksum, pitch = "bright tracks", "1", "2" * 64, PITCH

    def __init__(self, *, most: float = 90.0) -> None:
        self.most = most
        self.asked: list[str] = []

    def refusal(self, site: Site) -> str | None:
        return None if site.has_tracks else f"The area {site.name} has no track lines."

    def estimate(self, image: DatedImage, site: Site, *, pitch: Pitch | None = None) -> OccupancyEstimate:
        assert image.reason is None
        assert image.current is not None
        assert image.background is not None
        self.asked.append(image.id)
        used = pitch or PITCH
        rise = np.nan_to_num(image.current - image.background.median)[:3].mean(axis=0)
        rise = np.where(rise > 0.006, rise, 0.0)
        density = (rise * site.region / 0.09 * 10.0).astype(np.float32)
        length = float(density.sum())
        sd = 20.0 + 0.1 * length
        spread = 1.645 * sd

        def cars(metres: float, wide: float) -> FigureInterval:
            return FigureInterval(
                metres / used.mean_m, max(metres - wide, 0.0) / used.mean_m, (metres + wide) / used.mean_m
            )

        zones = {name: float((density * share).sum()) for name, share in site.zones.items()}
        return OccupancyEstimate(
            length=FigureInterval(length, max(length - spread, 0.0), length + spread),
            count=cars(length, spread),
            at_least=length / used.mean_m > self.most,
            trusted_to=self.most,
            zones={name: cars(metres, spread) for name, metres in zones.items()},
            zone_lengths={
                name: FigureInterval(metres, max(metres - spread, 0.0), metres + spread)
                for name, metres in zones.items()
            },
            pitch=used,
            budget={"texture": sd / used.mean_m, "pitch": length / used.mean_m * used.sd_m / used.mean_m},
            density=density,
            warnings=("A made-up warning.",) if length > 600 else (),
        )
