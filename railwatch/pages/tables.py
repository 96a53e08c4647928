"""The counts and boxes of a store as flat tables: one schema for every file that a person or program reads.

Counts, one row an observation or published count (`COUNT_COLUMNS`):

=================================  ==========================================================================
``id``, ``aoi``, ``scene``         as in the store
``datetime``                       UTC, ISO 8601 in CSV
``sensor``, ``method``             as in the store; a published count's method is ``published``
``count``, ``_low``, ``_high``     freight cars with the 90% interval; empty when abstained
``count_open`` ...                 freight cars of each type, "unknown" last; empty where types aren't told
``occupied_length_m``              track length under counted cars, with ``_low_m`` and ``_high_m``
``filtered_count``, ``_low``,      an image of ten metres combined with those before it, see
``_high``                          `railwatch.history.combined`; empty for other methods
``clear_fraction``                 share (0-1) of the visible area that is seen
``hidden_fraction``                share (0-1) of the area under masks
``abstained``, ``reason``          whether and why there is no count
``lower_bound``                    whether count and length are the least there can be
``warnings``                       joined by a bar
``review_of``                      id of the observation that a reviewer corrected
``file`` ... ``code_version``      what made the number: see `railwatch.store.observation`; ``area`` is the
                                   digest of the area's geometry
``date``                           the day (UTC), which spreadsheets take as a date
``title``                          the area's name for people
``kind``                           ``count``, ``range``, ``at least``, ``at most``, ``ceiling``, ``missing``
``until``                          end of the period that a published ceiling is about
``source``, ``url``                who says so, and where a published count was read
``verdict``, ``confirmed``,        what the history says to it, as ``railwatch compare`` has it: whether a
``rule``                           second image agrees, and whether one image or several together say so
``history_max`` ... ``expected``   the verdict's figures, see docs/verdicts.md
``lon``, ``lat``                   the middle of the area in degrees (EPSG:4326)
``zone_<id>``, ``track_<id>``      freight cars of each zone and track (one column each, after the others)
``geometry``                       the area's boundary, EPSG:4326, x longitude, y latitude (not in CSV)
=================================  ==========================================================================

Boxes, one row a box (`DETECTION_COLUMNS`): ``observation``, ``aoi``, ``datetime``, then ``category``,
``car_type`` (of a freight car, one of `TYPE_NAMES`), ``score``, ``length_m``, ``width_m``, ``azimuth_deg``,
``track``, ``counted``, ``image``, ``gsd_m``, the pixel box as ``pixel_cx``, ``pixel_cy``, ``pixel_length``,
``pixel_width``, ``pixel_angle_deg``, then ``date``, ``type`` (the category in words), ``zone``, the
``verdict`` on its date, ``lon`` and ``lat`` of its middle, and the rectangle in EPSG:4326.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from aoi.tables import guarded
from detector.wagons.categories import TYPE_NAMES
from railwatch.history import from_observation
from railwatch.history.combined import COLUMNS as FILTERED
from railwatch.history.combined import filtered
from railwatch.history.record import stored_method
from railwatch.store.areas import area_version
from railwatch.store.observation import Observation, iso

if TYPE_CHECKING:
    from railwatch.history import Record, Verdict
    from railwatch.history.sources import Sources
    from railwatch.store.store import Store


EPSG_4326 = "EPSG:4326"

_PROVENANCE = (
    "file", "sha256", "gsd_m", "model", "model_version", "model_checksum", "settings", "area",
    "code_version",
)  # fmt: skip
COUNTS_BY_TYPE = tuple(f"count_{name}" for name in TYPE_NAMES)
_OBSERVED = (
    "id", "aoi", "scene", "datetime", "sensor", "method", "count", "count_low", "count_high",
    *COUNTS_BY_TYPE, "occupied_length_m", "occupied_length_low_m", "occupied_length_high_m", *FILTERED,
    "clear_fraction", "hidden_fraction", "abstained", "lower_bound", "reason", "warnings", "review_of",
)  # fmt: skip
_FIGURES = (
    "history_max", "history_n", "probability_record", "probability_exceedance", "q_exceedance",
    "expected_low", "expected_high",
)  # fmt: skip
COUNT_COLUMNS = (
    *_OBSERVED, *_PROVENANCE, "date", "title", "kind", "until", "source", "url", "verdict", "confirmed",
    "rule", *_FIGURES, "lon", "lat",
)  # fmt: skip
"""The columns of counts, in order; those of zones and tracks follow."""

_WHOLE = ("count", "count_low", "count_high", *COUNTS_BY_TYPE, "history_max", "history_n")
_NUMBERS = (
    *_OBSERVED[_OBSERVED.index("count"):_OBSERVED.index("abstained")], *_FIGURES, "gsd_m", "lon", "lat",
)  # fmt: skip
_FLAGS = ("abstained", "lower_bound", "confirmed")
_TIMES = ("datetime", "until")

_PIXEL_BOX = ("pixel_cx", "pixel_cy", "pixel_length", "pixel_width", "pixel_angle_deg")
_BOX_COLUMNS = (
    "category", "car_type", "score", "length_m", "width_m", "azimuth_deg", "track", "counted", "image",
    "gsd_m",
)  # fmt: skip
DETECTION_COLUMNS = (
    "observation", "aoi", "datetime", *_BOX_COLUMNS, *_PIXEL_BOX, "date", "type", "zone", "verdict",
    "lon", "lat",
)  # fmt: skip
_TYPES = {"freight": "freight car", "locomotive": "locomotive", "coach": "passenger coach"}
_TEXTS = ("observation", "aoi", "category", "car_type", "track", "image", "date", "type", "zone", "verdict")


def counts_table(sources: Sources) -> gpd.GeoDataFrame:
    """Return the observations of a store as a flat table; see the module's documentation for its columns.

    Args:
        sources: The store's history.
    """
    verdicts = {one.record.id: one for one in sources.verdicts()}
    rows: list[dict[str, Any]] = []
    geometry: list[Any] = []
    for name in sources.names:
        settings = sources.settings_of(name)
        own = [one for one in sources.observations if one.aoi == name]
        combined = filtered(own, settings)
        for one in own:
            row = count_row(
                from_observation(one, settings),
                one,
                verdicts.get(one.id),
                title=sources.titles[name],
                combined=combined[one.id].columns() if one.id in combined else {},
            )
            rows.append(row)
            geometry.append(_shape(one))
    order = sorted(range(len(rows)), key=lambda number: (rows[number]["datetime"], rows[number]["id"]))
    table = typed_counts([rows[number] for number in order])
    shapes = gpd.GeoSeries([geometry[number] for number in order], crs=EPSG_4326)
    return gpd.GeoDataFrame(table, geometry=shapes, crs=EPSG_4326)


def count_row(
    record: Record,
    observation: Observation | None,
    verdict: Verdict | None,
    *,
    title: str,
    url: str | None = None,
    combined: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Return one count as values by column: an observation of our own or a published count.

    Args:
        record: What was said about the place.
        observation: Our own observation behind it, if it is ours.
        verdict: What the history says to it, if it was judged.
        title: The area's name for people.
        url: Where a published count was read.
        combined: What the images up to it say together, of ten metres.
    """
    row: dict[str, Any] = dict.fromkeys(COUNT_COLUMNS)
    row |= {
        "id": record.id,
        "aoi": record.aoi,
        "datetime": record.when,
        "date": record.when.date(),
        "method": stored_method(record.method),
        "count": record.value,
        "count_low": record.low,
        "count_high": record.high,
        "reason": record.reason,
        "title": title,
        "kind": record.kind,
        "until": record.until if record.until != record.when else None,
        "source": record.source,
        "url": url,
    }
    if observation is not None:
        given = observation.to_json()
        row |= {name: given[name] for name in _OBSERVED if name in given and name != "datetime"}
        row |= {name: observation.provenance.get(name) for name in _PROVENANCE}
        row |= {f"count_{name}": cars for name, cars in (observation.count_by_type or {}).items()}
        row["warnings"] = " | ".join(observation.warnings)
        shape = _shape(observation)
        if shape is not None:
            row["lon"], row["lat"] = round(shape.centroid.x, 6), round(shape.centroid.y, 6)
        row |= {f"zone_{name}": zone.get("count") for name, zone in observation.zones.items()}
        row |= {f"track_{name}": track.get("count") for name, track in observation.tracks.items()}
    if combined:
        row |= combined
    if verdict is not None:
        figures = verdict.to_json()
        row |= {"verdict": verdict.verdict, "confirmed": verdict.confirmed, "rule": verdict.rule}
        row |= {name: figures[name] for name in _FIGURES}
    return row


def columns_of(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the columns of some rows of counts, in order: those of zones and tracks last, by id."""
    places = {name for row in rows for name in row} - set(COUNT_COLUMNS)
    return [*COUNT_COLUMNS, *sorted(places, key=lambda name: (name[0] == "t", name))]


def typed_counts(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows of counts as a table whose columns have a type each, whole numbers as such."""
    columns = columns_of(rows)
    table = pd.DataFrame(rows, columns=columns)
    for name in columns:
        if name in _TIMES:
            table[name] = pd.to_datetime(table[name], utc=True).astype("datetime64[us, UTC]")
        elif name in _FLAGS:
            table[name] = table[name].astype("boolean")
        elif name in _NUMBERS or name not in COUNT_COLUMNS:
            table[name] = _number(table[name], whole=name in _WHOLE or name not in COUNT_COLUMNS)
        else:
            table[name] = table[name].astype("string")
    return table


def _number(values: pd.Series[Any], *, whole: bool) -> pd.Series[Any]:
    """The values as whole numbers where all of them are, else as what they are."""
    plain = values.astype(np.float64)
    if whole and (plain.isna() | (plain == plain.round())).all():
        return plain.astype("Int64")
    return plain


def _shape(observation: Observation) -> Any:
    return None if observation.geometry is None else shapely.from_geojson(json.dumps(observation.geometry))


def csv_text(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, decimal: str = ".") -> str:
    """Return rows as CSV (RFC 4180), with times in ISO 8601 and whole numbers without a decimal point.

    Text that a spreadsheet would run as a formula is given a leading apostrophe.

    Args:
        rows: Values by column.
        columns: Which, and in which order.
        decimal: The decimal sign; with a comma a semicolon stands between the cells.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\r\n", delimiter=";" if decimal == "," else ",")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([cell(row.get(name), decimal) for name in columns])
    return stream.getvalue()


def cell(value: Any, decimal: str = ".") -> str:
    """Return a value as the text of a cell."""
    if pd.isna(value):
        return ""
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, int | float | np.number):
        return f"{value:.10g}".replace(".", decimal)
    if hasattr(value, "tzinfo") and hasattr(value, "isoformat"):
        return iso(value)
    text = str(value)
    return guarded(text)


def detections_table(
    store: Store, observations: Sequence[Observation], verdicts: Mapping[str, str] | None = None
) -> gpd.GeoDataFrame:
    """Return the boxes behind observations as one flat table, in EPSG:4326.

    Args:
        store: The store that holds them.
        observations: Whose boxes.
        verdicts: The word for each observation, by id.

    Raises:
        StoreError: If the boxes of an observation can't be read.
    """
    parts = []
    for one in observations:
        frame = store.readable_detections(one.id)
        if frame is None or frame.empty:
            continue
        moved = frame if frame.crs is None else frame.to_crs(EPSG_4326)
        boxes = np.array(frame["pixel_box"].to_list(), np.float64).reshape(-1, 5)
        middles = shapely.centroid(moved.geometry.to_numpy())
        columns: dict[str, Any] = {
            "observation": one.id,
            "aoi": one.aoi,
            "datetime": pd.Timestamp(one.datetime),
            **{name: frame.get(name) for name in _BOX_COLUMNS},
            **dict(zip(_PIXEL_BOX, boxes.T, strict=True)),
            "date": one.datetime.date().isoformat(),
            "type": [_TYPES.get(str(kind), str(kind)) for kind in frame["category"]],
            "zone": _zones(store, one, middles),
            "verdict": (verdicts or {}).get(one.id),
            "lon": np.round(shapely.get_x(middles), 7),
            "lat": np.round(shapely.get_y(middles), 7),
        }
        geometry = gpd.GeoSeries(moved.geometry.to_numpy(), crs=EPSG_4326, index=frame.index)
        parts.append(gpd.GeoDataFrame(columns, index=frame.index, geometry=geometry, crs=EPSG_4326))
    if not parts:
        empty = pd.DataFrame({name: pd.Series(dtype=_dtype(name)) for name in DETECTION_COLUMNS})
        return gpd.GeoDataFrame(empty, geometry=gpd.GeoSeries([], crs=EPSG_4326), crs=EPSG_4326)
    table = gpd.GeoDataFrame(pd.concat(parts, ignore_index=True), crs=EPSG_4326)
    for name in DETECTION_COLUMNS:
        table[name] = table[name].astype(_dtype(name))
    return table


def _zones(store: Store, observation: Observation, middles: Any) -> list[str | None]:
    """The zone in which each box lies, several joined by a semicolon; none where the store has no zones."""
    area = area_version(store.path, observation.aoi, observation.provenance.get("area"))
    zones = area.zones if area is not None else ()
    inside = [(zone.id, shapely.contains(zone.polygon, middles)) for zone in zones]
    found = [";".join(id for id, held in inside if held[number]) for number in range(len(middles))]
    return [text or None for text in found]


def _dtype(column: str) -> str:
    """Return the type of a detections column, the same whether or not there are any rows."""
    if column == "datetime":
        return "datetime64[us, UTC]"
    if column == "counted":
        return "bool"
    return "string" if column in _TEXTS else "float64"
