"""The store as flat tables for QGIS, pandas and spreadsheets.

Observations, one row each (`OBSERVATION_COLUMNS`):

=================================  ==========================================================================
``id``, ``aoi``, ``scene``         as in the store
``datetime``                       UTC, ISO 8601 in CSV
``sensor``, ``method``             as in the store
``count``, ``_low``, ``_high``     freight cars with the 90% interval; empty when abstained
``occupied_length_m``              track length under counted cars, with ``_low_m`` and ``_high_m``
``filtered_count``, ``_low``,      a look of ten metres combined with those before it, see
``_high``                          `railwatch.history.filter`; empty for other methods
``clear_fraction``                 share (0-1) of the visible area that is seen
``hidden_fraction``                share (0-1) of the area under masks
``abstained``, ``reason``          whether and why there is no count
``lower_bound``                    whether count and length are the least there can be
``warnings``                       joined by a bar
``review_of``                      id of the observation that a reviewer corrected
``file`` ... ``code_version``      what made the number: see `railwatch.store.observation`
``zone_<id>``, ``track_<id>``      freight cars of each zone and track (one column each, after the others)
``geometry``                       the area's boundary in longitude and latitude (not in CSV)
=================================  ==========================================================================

Detections, one row a box (`DETECTION_COLUMNS`): ``observation``, ``aoi``, ``datetime``, then ``category``,
``score``, ``length_m``, ``width_m``, ``azimuth_deg``, ``track``, ``counted``, ``image``, ``gsd_m``, the
pixel box as ``pixel_cx``, ``pixel_cy``, ``pixel_length``, ``pixel_width``, ``pixel_angle_deg``, and the
rectangle in longitude and latitude.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from aoi.files import replacing
from railwatch.errors import StoreError
from railwatch.history.filter import COLUMNS as FILTERED
from railwatch.history.filter import filtered
from railwatch.store.observation import Observation, iso
from railwatch.store.store import Store

__all__ = [
    "DETECTION_COLUMNS",
    "FORMATS",
    "OBSERVATION_COLUMNS",
    "detections_table",
    "export",
    "observations_table",
]

Format = Literal["gpkg", "geoparquet", "csv"]
What = Literal["observations", "detections"]

FORMATS: dict[Format, tuple[str, ...]] = {
    "gpkg": (".gpkg",),
    "geoparquet": (".parquet", ".geoparquet"),
    "csv": (".csv",),
}

_PROVENANCE = (
    "file",
    "sha256",
    "gsd_m",
    "model",
    "model_version",
    "model_checksum",
    "settings",
    "area",
    "code_version",
)
OBSERVATION_COLUMNS = (
    "id",
    "aoi",
    "scene",
    "datetime",
    "sensor",
    "method",
    "count",
    "count_low",
    "count_high",
    "occupied_length_m",
    "occupied_length_low_m",
    "occupied_length_high_m",
    *FILTERED,
    "clear_fraction",
    "hidden_fraction",
    "abstained",
    "lower_bound",
    "reason",
    "warnings",
    "review_of",
    *_PROVENANCE,
)
_NUMBERS = (
    *OBSERVATION_COLUMNS[OBSERVATION_COLUMNS.index("count") : OBSERVATION_COLUMNS.index("abstained")],
    "gsd_m",
)
_PIXEL_BOX = ("pixel_cx", "pixel_cy", "pixel_length", "pixel_width", "pixel_angle_deg")
_BOX_COLUMNS = (
    "category",
    "score",
    "length_m",
    "width_m",
    "azimuth_deg",
    "track",
    "counted",
    "image",
    "gsd_m",
)
DETECTION_COLUMNS = ("observation", "aoi", "datetime", *_BOX_COLUMNS, *_PIXEL_BOX)
_WGS84 = "OGC:CRS84"


def export(
    store: Store, path: str | Path, format: Format, *, aoi: str | None = None, what: What = "observations"
) -> int:
    """Write a store's observations or detections to one file.

    A GeoPackage gets both, as layers. An existing file is replaced, and only by a whole new one.

    Args:
        store: The store.
        path: The file.
        format: Its format.
        aoi: Only this area.
        what: Which table a CSV or GeoParquet file holds.

    Returns:
        The number of observations or detections written (of a GeoPackage: of observations).

    Raises:
        StoreError: If there is nothing to export, the file's name doesn't fit its format, or it can't be
            written.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS[format]:
        raise StoreError(f"{path}: the name of a {format} file ends in {' or '.join(FORMATS[format])}.")
    observations = store.observations(aoi)
    if not observations:
        whose = "" if aoi is None else f" of the area {aoi}"
        raise StoreError(f"The store {store.path} holds no observations{whose}: there is nothing to export.")
    if not path.absolute().parent.is_dir():
        raise StoreError(f"{path}: the folder {path.absolute().parent} doesn't exist.")
    tables = {}
    if what == "observations" or format == "gpkg":
        tables["observations"] = observations_table(observations)
    if what == "detections" or format == "gpkg":
        tables["detections"] = detections_table(store, observations)
    try:
        with replacing(path) as temporary:
            _write(tables, temporary, format)
    except OSError as error:
        raise StoreError(f"{path}: can't be written: {error.strerror or error}.") from error
    return len(tables[what])


def _write(tables: dict[str, gpd.GeoDataFrame], path: Path, format: Format) -> None:
    for name, table in tables.items():
        if format == "gpkg":
            table.to_file(path, layer=name, driver="GPKG", engine="pyogrio")
        elif format == "geoparquet":
            table.to_parquet(path)
        else:
            flat = pd.DataFrame(table.drop(columns="geometry"))
            flat["datetime"] = [iso(when.to_pydatetime()) for when in flat["datetime"]]
            flat.to_csv(path, index=False, lineterminator="\r\n", encoding="utf-8")


def observations_table(observations: Sequence[Observation]) -> gpd.GeoDataFrame:
    """Return observations as a flat table; see the module's documentation for its columns.

    Args:
        observations: At least one.
    """
    rows: list[dict[str, Any]] = []
    combined = filtered(observations)
    for one in observations:
        values = one.to_json()
        if one.id in combined:
            values |= combined[one.id].columns()
        row = {name: values.get(name, one.provenance.get(name)) for name in OBSERVATION_COLUMNS}
        row["datetime"] = pd.Timestamp(one.datetime)
        row["warnings"] = " | ".join(one.warnings)
        row |= {f"zone_{name}": zone["count"] for name, zone in one.zones.items()}
        row |= {f"track_{name}": track["count"] for name, track in one.tracks.items()}
        rows.append(row)
    table = pd.DataFrame(rows)
    places = sorted(set(table.columns) - set(OBSERVATION_COLUMNS), key=lambda name: (name[0] == "t", name))
    for name in (*_NUMBERS, *places):
        table[name] = table[name].astype(np.float64)
    for name in set(OBSERVATION_COLUMNS) - set(_NUMBERS) - {"datetime", "abstained", "lower_bound"}:
        table[name] = table[name].astype("string")
    geometry = [
        None if one.geometry is None else shapely.from_geojson(json.dumps(one.geometry))
        for one in observations
    ]
    ordered = table[[*OBSERVATION_COLUMNS, *places]]
    return gpd.GeoDataFrame(ordered, geometry=gpd.GeoSeries(geometry, crs=_WGS84), crs=_WGS84)


def detections_table(store: Store, observations: Sequence[Observation]) -> gpd.GeoDataFrame:
    """Return the boxes behind observations as one flat table in longitude and latitude.

    Raises:
        StoreError: If the boxes of an observation can't be read.
    """
    parts = []
    for one in observations:
        frame = store.detections(one.id)
        if frame is None or frame.empty:
            continue
        moved = frame if frame.crs is None else frame.to_crs(_WGS84)
        boxes = np.array(frame["pixel_box"].to_list(), np.float64).reshape(-1, 5)
        columns: dict[str, Any] = {
            "observation": one.id,
            "aoi": one.aoi,
            "datetime": pd.Timestamp(one.datetime),
            **{name: frame.get(name) for name in _BOX_COLUMNS},
            **dict(zip(_PIXEL_BOX, boxes.T, strict=True)),
        }
        geometry = gpd.GeoSeries(moved.geometry.to_numpy(), crs=_WGS84, index=frame.index)
        parts.append(gpd.GeoDataFrame(columns, index=frame.index, geometry=geometry, crs=_WGS84))
    if not parts:
        empty = pd.DataFrame({name: pd.Series(dtype=_dtype(name)) for name in DETECTION_COLUMNS})
        return gpd.GeoDataFrame(empty, geometry=gpd.GeoSeries([], crs=_WGS84), crs=_WGS84)
    table = gpd.GeoDataFrame(pd.concat(parts, ignore_index=True), crs=_WGS84)
    for name in DETECTION_COLUMNS:
        table[name] = table[name].astype(_dtype(name))
    return table


def _dtype(column: str) -> str:
    """Return the type of a detections column, the same whether or not there are any rows."""
    if column == "datetime":
        return "datetime64[us, UTC]"
    if column == "counted":
        return "bool"
    return "string" if column in ("observation", "aoi", "category", "track", "image") else "float64"
