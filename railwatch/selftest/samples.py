"""The bundled samples: tiles and Sentinel-2 products of simulated yards, with what is truly on them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aoi import AreaOfInterest, load_area
from aoi.errors import InputError


@dataclass(frozen=True)
class SampleTile:
    """One tile with its truth.

    Attributes:
        path: The GeoTIFF.
        datetime: When it was taken, UTC.
        count: Freight cars in the yard on that day.
        shown: Share (0-1) of the tile that the image shows.
        boxes: ``(N, 5)`` pixel boxes of all rail vehicles.
        category: ``(N,)`` ``freight``, ``locomotive`` or ``coach``.
        inside: ``(N,)`` whether the vehicle's centre is in the yard.
        visible: ``(N,)`` whether enough of it shows.
    """

    path: Path
    datetime: datetime
    count: int
    shown: float
    boxes: NDArray[np.float64]
    category: tuple[str, ...]
    inside: NDArray[np.bool_]
    visible: NDArray[np.bool_]


@dataclass(frozen=True)
class Samples:
    """A set of sample tiles.

    Attributes:
        title: What they show.
        area: Their yard.
        tiles: By time.
        thresholds: What a detector must reach on them, by the names of `railwatch.selftest.validate`.
    """

    title: str
    area: AreaOfInterest
    tiles: tuple[SampleTile, ...]
    thresholds: Mapping[str, float]

    @classmethod
    def read(cls, folder: Path) -> Samples:
        """Read a folder that ``python -m sample_tiles.make`` wrote.

        Raises:
            InputError: If something is missing, or a tile isn't the one that the manifest describes.
        """
        with _manifest(folder, "sample tiles") as manifest:
            tiles = tuple(_tile(folder, entry) for entry in manifest["tiles"])
            return cls(
                title=manifest["title"],
                area=load_area(folder / manifest["area"]),
                tiles=tuple(sorted(tiles, key=lambda tile: tile.datetime)),
                thresholds={str(name): float(value) for name, value in manifest["thresholds"].items()},
            )


@dataclass(frozen=True)
class SimulatedDate:
    """One date of the series.

    Attributes:
        datetime: Start of the datatake, UTC.
        sky: ``clear``, ``cloud``, ``veil`` or ``snow``.
        cars: Freight cars that truly stand in the yard.
        occupied_m: Track that they take, metres.
    """

    datetime: datetime
    sky: str
    cars: int
    occupied_m: float


@dataclass(frozen=True)
class ProductSamples:
    """A set of sample products.

    Attributes:
        title: What they show.
        area: Their yard.
        products: The folder with the products.
        dates: By time.
        build_up: The first date of the build-up.
        thresholds: What an estimator must reach on them, by name.
    """

    title: str
    area: AreaOfInterest
    products: Path
    dates: tuple[SimulatedDate, ...]
    build_up: datetime
    thresholds: Mapping[str, float]

    @classmethod
    def read(cls, folder: Path) -> ProductSamples:
        """Read a folder that ``python -m sample_tiles.sentinel2.make`` wrote.

        Raises:
            InputError: If something is missing or isn't what was written.
        """
        with _manifest(folder, "samples", "Sentinel-2 samples") as manifest:
            for entry in manifest["dates"]:
                for product in entry["products"]:
                    if not (folder / product).exists():
                        raise InputError(f"{folder / product}: this part of the samples is missing.")
            return cls(
                title=str(manifest["title"]),
                area=load_area(folder / manifest["area"]),
                products=folder / "products",
                dates=tuple(
                    SimulatedDate(
                        datetime.fromisoformat(entry["datetime"]),
                        str(entry["sky"]),
                        int(entry["cars"]),
                        float(entry["occupied_m"]),
                    )
                    for entry in manifest["dates"]
                ),
                build_up=datetime.fromisoformat(manifest["build_up"]),
                thresholds={str(name): float(value) for name, value in manifest["thresholds"].items()},
            )


@contextmanager
def bundled() -> Iterator[Samples]:
    """Give the sample tiles that come with railwatch, as files while the block runs."""
    with resources.as_file(resources.files("sample_tiles")) as folder:
        yield Samples.read(folder)


@contextmanager
def bundled_products() -> Iterator[ProductSamples]:
    """Give the sample products that come with railwatch, as files while the block runs."""
    with resources.as_file(resources.files("sample_tiles") / "sentinel2") as folder:
        yield ProductSamples.read(folder)


@contextmanager
def _manifest(folder: Path, what: str, full: str | None = None) -> Iterator[dict[str, Any]]:
    """Give a folder's manifest; what is missing or wrong while it is read becomes a sentence."""
    path = folder / "manifest.json"
    try:
        yield json.loads(path.read_text(encoding="utf-8"))
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{error.filename}: this part of the {what} is missing.") from error
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: isn't a manifest of {full or what} ({error}).") from error


def _tile(folder: Path, entry: Mapping[str, Any]) -> SampleTile:
    path = folder / entry["file"]
    if hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
        raise InputError(f"{path}: isn't the tile that its manifest describes.")
    boxes = entry["boxes"]
    return SampleTile(
        path=path,
        datetime=datetime.fromisoformat(entry["datetime"]),
        count=int(entry["count"]),
        shown=float(entry["shown"]),
        boxes=np.array([box["pixel_box"] for box in boxes], np.float64).reshape(-1, 5),
        category=tuple(str(box["category"]) for box in boxes),
        inside=np.array([box["inside"] for box in boxes], bool),
        visible=np.array([box["visible"] for box in boxes], bool),
    )
