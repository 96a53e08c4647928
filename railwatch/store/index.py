"""All items of a store in one file: ``index.parquet``, a stac-geoparquet table, and ``collection.json``.

A store of 100,000 observations has as many small JSON files, which take minutes to read. The index holds
what they say, together with the size and the time of change of each file: a row is only believed as long as
its file has both, so that the index may be old, or missing, and nothing that was changed is overlooked. It
is written when a store has grown by enough.

Other readers (rustac, DuckDB, QGIS) find the columns of the stac-geoparquet specification 1.0; the
observation itself stands in ``railwatch:document``. ``collection.json`` links all items for STAC readers.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import pystac
import shapely

from aoi.files import replacing, write_bytes
from geo.file_tree import STORE_KEY
from railwatch.errors import said
from railwatch.store.observation import EXTENSIONS, FORMAT_VERSION, PREFIX, Observation, iso

__all__ = [
    "COLLECTION",
    "COLLECTION_ID",
    "INDEX",
    "Stamp",
    "json_text",
    "read_index",
    "read_stamps",
    "write_collection",
    "write_index",
]

log = logging.getLogger(__name__)

COLLECTION = "collection.json"
COLLECTION_ID = "railwatch-observations"
INDEX = "index.parquet"

Stamp = tuple[int, int]
"""Time of change (nanoseconds) and size (bytes) of an item's file."""

_FIELDS = tuple(one.name for one in fields(Observation))
# An index that was written with other fields isn't read, and made anew.
_FORM = f"2 {' '.join(_FIELDS)}".encode()
_GROUP = 5000
_SUMMARISED = ("aoi", "method", "sensor")
_SCALARS = ("aoi", "scene", "sensor", "method", "count", "count_low", "count_high", "abstained", "reason")


def write_index(path: Path, rows: Iterable[tuple[Stamp, Observation]]) -> int:
    """Write the index, whole or not at all.

    Args:
        path: The file.
        rows: Observations with the stamps of their files.

    Returns:
        The number of rows.

    Raises:
        OSError: It can't be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    ordered = sorted(rows, key=lambda row: (row[1].aoi, row[1].datetime, row[1].id))
    observations = [one for _, one in ordered]
    shapes = [None if one.geometry is None else _shape(json.dumps(one.geometry)) for one in observations]
    bounds = [None if shape is None else shape.bounds for shape in shapes]
    bbox = pa.struct([(name, pa.float64()) for name in ("xmin", "ymin", "xmax", "ymax")])
    text, link = pa.string(), pa.struct([("rel", pa.string()), ("href", pa.string()), ("type", pa.string())])
    number = len(ordered)
    columns: dict[str, pa.Array] = {
        "type": pa.array(["Feature"] * number, text),
        "stac_version": pa.array(["1.1.0"] * number, text),
        "stac_extensions": pa.array([list(EXTENSIONS)] * number, pa.list_(text)),
        "id": pa.array([one.id for one in observations], text),
        "geometry": pa.array(
            [None if shape is None else shapely.to_wkb(shape) for shape in shapes], pa.binary()
        ),
        "bbox": pa.array(
            [
                None if one is None else dict(zip(("xmin", "ymin", "xmax", "ymax"), one, strict=True))
                for one in bounds
            ],
            bbox,
        ),
        "links": pa.array(
            [
                [{"rel": "self", "href": f"./items/{one.id}/{one.id}.json", "type": "application/geo+json"}]
                for one in observations
            ],
            pa.list_(link),
        ),
        "assets": pa.array([{"item": None}] * number, pa.struct([("item", pa.struct([("href", text)]))])),
        "collection": pa.array([COLLECTION_ID] * number, text),
        "datetime": pa.array([one.datetime for one in observations], pa.timestamp("us", tz="UTC")),
    }
    for name in _SCALARS:
        columns[f"{PREFIX}{name}"] = pa.array([getattr(one, name) for one in observations])
    columns[f"{PREFIX}document"] = pa.array([_document(one) for one in observations], text)
    columns[f"{PREFIX}changed_ns"] = pa.array([stamp[0] for stamp, _ in ordered], pa.int64())
    columns[f"{PREFIX}bytes"] = pa.array([stamp[1] for stamp, _ in ordered], pa.int64())
    geo = {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {"geometry": {"encoding": "WKB", "geometry_types": []}},
    }
    metadata = {
        b"geo": json.dumps(geo).encode(),
        b"stac-geoparquet": json.dumps({"version": "1.0.0"}).encode(),
        b"railwatch:index_version": _FORM,
    }
    table = pa.table(columns).replace_schema_metadata(metadata)
    with replacing(path) as temporary:
        pq.write_table(table, temporary, row_group_size=_GROUP, compression="zstd")
    return number


@lru_cache(maxsize=10_000)
def _shape(text: str) -> Any:
    """A geometry, once for each area."""
    return shapely.from_geojson(text)


def _document(one: Observation) -> str:
    geometry = None if one.geometry is None else dict(one.geometry)
    return json.dumps(one.to_json() | {"geometry": geometry}, ensure_ascii=False, allow_nan=False)


def read_index(path: Path, aoi: str | None = None) -> Iterator[tuple[Stamp, Observation]]:
    """Read the index; nothing where there is none or it can't be read, since it follows from the items.

    Args:
        path: The file.
        aoi: Only the rows of this area; the parts of the file without any aren't read.

    Yields:
        Stamps and observations.
    """
    for document, changed, size in _rows(path, ("document", "changed_ns", "bytes"), aoi):
        try:
            yield (changed, size), _observation(json.loads(document))
        except (ValueError, KeyError, TypeError) as error:
            _complain(path, error)
            return


def read_stamps(path: Path) -> dict[str, Stamp]:
    """The stamp of each observation in the index by its id, without the observations; see `read_index`."""
    return {id: (changed, size) for id, changed, size in _rows(path, ("id", "changed_ns", "bytes"))}


def _rows(path: Path, names: Sequence[str], aoi: str | None = None) -> Iterator[tuple[Any, ...]]:
    """Some of the index's columns, row by row; nothing where there is none or it can't be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.exists():
        return
    columns = [name if name == "id" else f"{PREFIX}{name}" for name in names]
    try:
        known = pq.read_schema(path).metadata or {}
        if known.get(b"railwatch:index_version") != _FORM:
            return
        filters = None if aoi is None else [(f"{PREFIX}aoi", "=", aoi)]
        table = pq.read_table(path, columns=columns, filters=filters)
        rows = zip(*(table.column(name).to_pylist() for name in columns), strict=True)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        _complain(path, error)
        return
    yield from rows


def _complain(path: Path, error: Exception) -> None:
    log.warning("%s can't be read and is made anew: %s", path, said(error)[:200])


def _observation(document: Mapping[str, Any]) -> Observation:
    given = {name: document[name] for name in _FIELDS if name in document}
    given["datetime"] = datetime.fromisoformat(str(given["datetime"]))
    given["warnings"] = tuple(given["warnings"])
    return Observation(**given)


# ---- collection.json ------------------------------------------------------------------------------


def write_collection(path: Path, observations: list[Observation], areas: list[Path]) -> None:
    """Write the STAC Collection of some observations, with relative links to their items.

    Args:
        path: The file.
        observations: All of the store, oldest first.
        areas: Files of areas, relative to the store.

    Raises:
        OSError: It can't be written.
    """
    shapes = {json.dumps(one.geometry) for one in observations if one.geometry is not None}
    bounds = [-180.0, -90.0, 180.0, 90.0]
    if shapes:
        bounds = shapely.total_bounds(shapely.from_geojson(sorted(shapes))).tolist()
    times: list[datetime | None] = [one.datetime for one in observations] or [None]
    values = {name: sorted({str(getattr(one, name)) for one in observations}) for name in _SUMMARISED}
    collection = pystac.Collection(
        id=COLLECTION_ID,
        title="railwatch observations",
        description="Freight cars counted in rail yards on satellite imagery: one item per area and scene.",
        extent=pystac.Extent(pystac.SpatialExtent([bounds]), pystac.TemporalExtent([[times[0], times[-1]]])),
        license="other",
        keywords=["rail", "freight cars", "counts"],
        extra_fields={STORE_KEY: FORMAT_VERSION},
        summaries=pystac.Summaries({f"{PREFIX}{name}": found for name, found in values.items() if found}),
    )
    collection.add_link(pystac.Link("root", f"./{COLLECTION}", pystac.MediaType.JSON))
    for one in observations:
        link = pystac.Link("item", f"./items/{one.id}/{one.id}.json", pystac.MediaType.GEOJSON)
        link.extra_fields["datetime"] = iso(one.datetime)
        collection.add_link(link)
    for area in areas:
        asset = pystac.Asset(
            href=f"./{area.as_posix()}",
            title=f"The area {area.parent.name}, version {area.stem}",
            media_type=pystac.MediaType.GEOJSON,
            roles=["metadata"],
        )
        collection.add_asset(f"area-{area.parent.name}-{area.stem}", asset)
    write_bytes(path, json_text(collection.to_dict(include_self_link=False, transform_hrefs=False)))


def json_text(content: Mapping[str, Any]) -> bytes:
    """Return a JSON file's content as a store writes it."""
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
