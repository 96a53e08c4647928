"""Wagons one by one, on images of about a metre and finer."""

from __future__ import annotations

import os
from pathlib import Path

from aoi.errors import InputError

TILE_PX = 1952
"""Edge of a tile's core in work pixels unless one is asked for: with its halo a window of a large scene is
no larger than a scene of 2,048 pixels, which is looked at whole, so that memory is level above that."""

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
