"""Where wagons can be written to; checked before the work, and before anything heavy is imported."""

from __future__ import annotations

import os
from pathlib import Path

from aoi.errors import InputError

WRITERS = (".geojson", ".json", ".gpkg", ".parquet", ".geoparquet")


def check_target(path: str | Path) -> Path:
    """Refuse a file that wagons can't be written to: for before the work rather than after it.

    Raises:
        InputError: The ending isn't one of WRITERS, or the folder is missing or can't be written to.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in WRITERS:
        raise InputError(
            f"{path}: can't write {suffix or 'a file without an ending'}; use one of {', '.join(WRITERS)}"
        )
    folder = path.absolute().parent
    if not folder.is_dir():
        raise InputError(f"{path}: the folder {folder} doesn't exist")
    if path.is_dir():
        raise InputError(f"{path}: is a folder, not a file")
    if not os.access(folder, os.W_OK):
        raise InputError(f"{path}: the folder {folder} is read-only")
    return path
