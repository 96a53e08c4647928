"""What people read: charts, reports, pictures, claims and exports."""

from __future__ import annotations

from typing import Literal

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
