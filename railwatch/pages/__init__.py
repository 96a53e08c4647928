"""What people read: charts, reports, pictures, claims and exports."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from aoi.errors import InputError
from aoi.files import write_bytes

Format = Literal["gpkg", "geoparquet", "csv", "xlsx", "geojson"]
What = Literal["observations", "detections"]

FORMATS: dict[Format, tuple[str, ...]] = {
    "gpkg": (".gpkg",),
    "geoparquet": (".parquet", ".geoparquet"),
    "csv": (".csv",),
    "xlsx": (".xlsx",),
    "geojson": (".geojson", ".json"),
}
"""The formats of an export and the endings of their files, known before anything heavy is imported."""


def write_page(path: Path, content: bytes, error: type[InputError]) -> Path:
    """Write a file into a folder that is made if it isn't there, whole or not at all.

    Raises:
        InputError: Of the kind given, if it can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content)
    except OSError as fault:
        raise error(f"{path} can't be written ({fault.strerror or fault})") from fault
    return path
