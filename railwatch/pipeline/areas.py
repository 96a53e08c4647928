"""One area, or a folder of many."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from aoi import AreaOfInterest, load_area
from aoi.errors import AreaError

__all__ = ["load_areas"]


def load_areas(name_or_path: str | Path) -> list[AreaOfInterest]:
    """Load the area that a name or a file means, or all of a folder of area files.

    Args:
        name_or_path: A bundled name, a GeoJSON file, or a folder of them.

    Returns:
        The areas, by the names of their files.

    Raises:
        AreaError: One can't be found or trusted, the folder holds none, or two have the same name.

    Example:
        >>> [area.name for area in load_areas("tumangang")]
        ['tumangang']
    """
    folder = Path(name_or_path)
    if not folder.is_dir():
        return [load_area(name_or_path)]
    files = sorted(path for path in folder.glob("*.geojson") if not path.name.startswith("."))
    if not files:
        raise AreaError(f"{folder}: the folder holds no area files (.geojson)")
    areas = [load_area(path) for path in files]
    twice = [name for name, number in Counter(one.name for one in areas).items() if number > 1]
    if twice:
        raise AreaError(f"{folder}: several of its files name their area {twice[0]}; names tell areas apart")
    return areas
