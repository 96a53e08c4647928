"""Read corrected boxes back, hold them to sense, and say what the reviewer changed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import shapely
from numpy.typing import NDArray

from aoi import AreaOfInterest
from aoi.gdal import list_layers, read_vector
from aoi.geodesy import local_metres
from railwatch.errors import ReviewError

__all__ = [
    "AREA_LAYERS",
    "BOXES",
    "FACTS",
    "FORMAT",
    "GEOMETRY",
    "Changes",
    "Corrected",
    "Corrections",
    "compared",
    "read_corrections",
]

BOXES = "boxes"
"""The layer to correct."""

FACTS = "facts"
"""The table that says which observation it is, in two columns ``key`` and ``value``."""

AREA_LAYERS = ("boundary", "zones", "tracks", "masks")
"""The layers of the area, to look at."""

GEOMETRY = "geom"
"""Name of the geometry column of all layers."""

FORMAT = 1
"""Version of this layout. A reader refuses higher ones."""


CATEGORIES = ("freight", "locomotive", "coach")

_LENGTH_M = (4.0, 40.0)
_WIDTH_M = (1.0, 6.0)
# A box saved by a GIS and not touched comes back to within rounding; one moved by a hand does not.
_SAME_OVERLAP = 0.98
_NOT_OURS = "isn't a review that 'railwatch review export' wrote"


@dataclass(frozen=True)
class Corrections:
    """A corrected file as it was read.

    Attributes:
        path: The file.
        boxes: One row a feature, in the file's CRS; columns ``keep``, ``category``, ``note`` and ``box``
            are filled in where they were missing.
        facts: What the export said of the observation; empty for GeoJSON.
    """

    path: Path
    boxes: gpd.GeoDataFrame
    facts: Mapping[str, str]

    @property
    def observation(self) -> str | None:
        """Id of the observation that was corrected, if the file tells."""
        if self.facts.get("observation"):
            return self.facts["observation"]
        if "observation" in self.boxes:
            named = sorted({str(name) for name in self.boxes["observation"].dropna() if str(name)})
            if len(named) > 1:
                raise ReviewError(
                    f"{self.path}: holds boxes of {len(named)} observations; review them singly"
                )
            return named[0] if named else None
        return None


@dataclass(frozen=True)
class Changes:
    """What a reviewer did to the machine's boxes, freight and others.

    Attributes:
        kept: Left as they were.
        moved: With another outline.
        relabelled: With another category.
        removed: Deleted, or no longer marked as standing there.
        added: Drawn by the reviewer.
    """

    kept: int = 0
    moved: int = 0
    relabelled: int = 0
    removed: int = 0
    added: int = 0

    @property
    def sentence(self) -> str:
        """The same in words, such as ``2 added, 1 removed, 40 kept``."""
        said = [f"{number} {name}" for name, number in asdict(self).items() if number]
        return ", ".join(said) if said else "no boxes"

    def to_json(self) -> dict[str, int]:
        """Return it as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Corrected:
    """The boxes that the reviewer says stand there.

    Attributes:
        boxes: The kept rows of the file, in the CRS of the machine's boxes where there are any; columns
            ``category``, ``note``, ``box`` (number of the machine's box, NA for a new one), ``length_m``,
            ``width_m``, ``azimuth_deg`` and ``touched`` (added or moved).
        changes: Against the machine's.
    """

    boxes: gpd.GeoDataFrame
    changes: Changes


def read_corrections(path: str | Path) -> Corrections:
    """Read a corrected GeoPackage or GeoJSON file.

    Raises:
        ReviewError: If it can't be read, isn't a review, or a box isn't a polygon or makes no sense.
    """
    path = Path(path)
    if not path.exists():
        raise ReviewError(f"{path}: there is no such file")
    if path.is_dir():
        raise ReviewError(f"{path}: is a folder, not a review")
    suffix = path.suffix.lower()
    if suffix not in (".gpkg", ".geojson", ".json"):
        raise ReviewError(f"{path}: can't be read as a review; use the .gpkg of the export, or GeoJSON")
    facts: Mapping[str, str] = {}
    try:
        if suffix == ".gpkg":
            layers = {name for name, _ in list_layers(path)}
            if not {BOXES, FACTS} <= layers:
                raise ReviewError(f"{path}: {_NOT_OURS}")
            facts = _facts(path)
            boxes = read_vector(path, layer=BOXES, fid_as_index=True)
        else:
            boxes = read_vector(path)
            boxes.index += 1
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, sqlite3.Error, OSError) as error:
        raise ReviewError(f"{path}: can't be read ({_first_line(error)})") from error
    if suffix != ".gpkg" and not isinstance(boxes, gpd.GeoDataFrame):
        raise ReviewError(f"{path}: holds no outlines")
    if suffix != ".gpkg" and not {"category", "observation"} & set(boxes.columns):
        raise ReviewError(f"{path}: {_NOT_OURS}: no feature has the property 'category' or 'observation'")
    return Corrections(path, _checked(path, boxes), facts)


def compared(corrections: Corrections, machine: gpd.GeoDataFrame | None, area: AreaOfInterest) -> Corrected:
    """Set the corrected boxes against the machine's.

    Args:
        corrections: As read.
        machine: The machine's boxes as stored, or None.
        area: Gives the plane in which lengths are measured.

    Raises:
        ReviewError: If a box is no size for a wagon, or one that was drawn or moved lies outside the area.
    """
    kept = corrections.boxes[corrections.boxes["keep"]].reset_index(names="feature")
    if machine is not None and machine.crs is not None:
        kept = kept.to_crs(machine.crs)
    plane = local_metres(area.boundary).target_crs
    ground = np.asarray(kept.geometry.to_crs(plane).to_numpy(), dtype=object)
    before = _before(machine, plane)
    state = [_state(row, shape, before) for row, shape in zip(kept.itertuples(), ground, strict=True)]
    # A copied box brings its number along: the first is the machine's, any other is new.
    numbers: set[int] = set()
    for position, (what, number) in enumerate(state):
        if what != "added" and number in numbers:
            state[position] = ("added", None)
        elif number is not None:
            numbers.add(number)
    words = [what for what, _ in state]
    kept["box"] = pd.array([number for _, number in state], dtype="Int32")
    kept["touched"] = np.isin(words, ("added", "moved"))
    sizes = [size_of(shape) for shape in ground]
    for column, name in enumerate(("length_m", "width_m", "azimuth_deg")):
        kept[name] = np.array([size[column] for size in sizes], np.float64)
    _check_sizes(corrections.path, kept)
    _check_place(corrections.path, kept, area)
    total = 0 if machine is None else len(machine)
    counts = {name: words.count(name) for name in ("kept", "moved", "relabelled", "added")}
    return Corrected(kept, Changes(**counts, removed=total - len(numbers)))


def _facts(path: Path) -> dict[str, str]:
    table = read_vector(path, layer=FACTS)
    if not {"key", "value"} <= set(table.columns):
        raise ReviewError(f"{path}: {_NOT_OURS}")
    facts = {str(key): str(value) for key, value in zip(table["key"], table["value"], strict=True)}
    version = facts.get("format", "")
    if not version.isdigit() or not facts.get("observation"):
        raise ReviewError(f"{path}: {_NOT_OURS}")
    if int(version) > FORMAT:
        raise ReviewError(
            f"{path}: was exported by a newer railwatch (format {version}, known {FORMAT}); please upgrade"
        )
    return facts


def _checked(path: Path, boxes: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Fill in what a hand needn't type, and refuse what can't be a box."""
    frame = boxes.copy()
    count = len(frame)
    for name in ("keep", "category", "note", "box"):
        if name not in frame:
            frame[name] = pd.Series([None] * count, dtype=object, index=frame.index)
    frame["keep"] = [_flag(value) for value in frame["keep"]]
    frame["category"] = [_word(value) or "freight" for value in frame["category"]]
    frame["note"] = pd.Series(
        [_word(value) or None for value in frame["note"]], dtype=object, index=frame.index
    )
    frame["box"] = pd.array([_number(value) for value in frame["box"]], dtype="Int32")
    shapes: list[Any] = []
    for feature, keep, category, shape in zip(
        frame.index, frame["keep"], frame["category"], frame.geometry, strict=True
    ):
        where = f"{path}: box {feature}"
        if not keep:
            shapes.append(shape)
            continue
        if category not in CATEGORIES:
            raise ReviewError(f"{where} has the category {category!r}; known are {', '.join(CATEGORIES)}")
        shapes.append(_outline(shape, where))
    return gpd.GeoDataFrame(frame.drop(columns=frame.geometry.name), geometry=shapes, crs=frame.crs)


def _outline(shape: Any, where: str) -> Any:
    if shape is None or shape.is_empty:
        raise ReviewError(f"{where} has no outline; draw it, or delete the feature")
    if shape.geom_type == "MultiPolygon" and len(shape.geoms) == 1:
        shape = shape.geoms[0]
    if shape.geom_type != "Polygon":
        raise ReviewError(f"{where} is a {shape.geom_type}, not one polygon; draw one box a car")
    if not shape.is_valid:
        reason = shapely.is_valid_reason(shape).partition("[")[0].strip().lower()
        raise ReviewError(f"{where} has an invalid outline ({reason}); draw it anew")
    return shapely.force_2d(shape)


def _before(machine: gpd.GeoDataFrame | None, plane: Any) -> dict[int, tuple[Any, str]]:
    """The machine's boxes by number: outline in metres, category."""
    if machine is None:
        return {}
    shapes = machine.geometry.to_crs(plane)
    return {
        number: (shape, str(category))
        for number, (shape, category) in enumerate(zip(shapes, machine["category"], strict=True), start=1)
    }


def _state(row: Any, shape: Any, before: Mapping[int, tuple[Any, str]]) -> tuple[str, int | None]:
    number = None if pd.isna(row.box) else int(row.box)
    if number is None or number not in before:
        return "added", None
    old, category = before[number]
    union = shapely.union(shape, old).area
    if union <= 0 or shapely.intersection(shape, old).area / union < _SAME_OVERLAP:
        return "moved", number
    return ("kept" if category == row.category else "relabelled"), number


def size_of(shape: Any) -> tuple[float, float, float]:
    """Return length, width and azimuth (degrees) of the smallest rectangle about an outline."""
    corners = np.asarray(shapely.minimum_rotated_rectangle(shape).exterior.coords)[:3]
    sides: NDArray[np.float64] = np.diff(corners, axis=0)
    lengths = np.hypot(sides[:, 0], sides[:, 1])
    along = sides[int(lengths.argmax())]
    azimuth = float(np.degrees(np.arctan2(along[0], along[1])) % 180.0)
    return float(lengths.max()), float(lengths.min()), azimuth


def _check_sizes(path: Path, boxes: gpd.GeoDataFrame) -> None:
    for row in boxes[boxes["touched"]].itertuples():
        for what, value, (least, most) in (
            ("long", row.length_m, _LENGTH_M),
            ("wide", row.width_m, _WIDTH_M),
        ):
            if not least <= value <= most:
                raise ReviewError(
                    f"{path}: box {row.feature} is {value:.1f} m {what}, and a wagon is {least:g} to "
                    f"{most:g}; draw one box a car"
                )


def _check_place(path: Path, boxes: gpd.GeoDataFrame, area: AreaOfInterest) -> None:
    drawn = boxes[boxes["touched"]]
    if not len(drawn):
        return
    centres = np.asarray(shapely.centroid(drawn.geometry.to_crs("OGC:CRS84").to_numpy()))
    outside = ~shapely.covers(area.boundary, centres)
    if outside.any():
        first = centres[outside][0]
        number = int(outside.sum())
        noun = "box that you drew or moved lies" if number == 1 else "boxes that you drew or moved lie"
        raise ReviewError(
            f"{path}: {number} {noun} outside the area {area.name} (box "
            f"{drawn['feature'].to_numpy()[outside][0]} at {first.y:.5f} N {first.x:.5f} E); move it in, or "
            "delete it"
        )


def _flag(value: Any) -> bool:
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return True
    if isinstance(value, str):
        return value.strip().lower() not in ("false", "f", "no", "n", "0")
    return bool(value)


def _word(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _number(value: Any) -> int | None:
    try:
        return None if pd.isna(value) else int(value)
    except (TypeError, ValueError):
        return None


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0].rstrip(".") if text else type(error).__name__


def area_in(facts: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the area's document that an export carries, or None."""
    try:
        document = json.loads(facts.get("area", ""))
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
