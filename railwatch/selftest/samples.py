"""The bundled sample tiles: pictures of a simulated yard with what is truly on them."""

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

__all__ = ["SampleTile", "Samples", "bundled"]


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
        path = folder / "manifest.json"
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            tiles = tuple(_tile(folder, entry) for entry in manifest["tiles"])
            return cls(
                title=manifest["title"],
                area=load_area(folder / manifest["area"]),
                tiles=tuple(sorted(tiles, key=lambda tile: tile.datetime)),
                thresholds={str(name): float(value) for name, value in manifest["thresholds"].items()},
            )
        except FileNotFoundError as error:
            raise InputError(f"{error.filename}: this part of the sample tiles is missing.") from error
        except (OSError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path}: isn't a manifest of sample tiles ({error}).") from error


@contextmanager
def bundled() -> Iterator[Samples]:
    """Give the sample tiles that come with railwatch, as files while the block runs."""
    with resources.as_file(resources.files("sample_tiles")) as folder:
        yield Samples.read(folder)


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
