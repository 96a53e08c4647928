"""Area files: finding, reading and writing them."""

from __future__ import annotations

import difflib
import json
import logging
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import shapely.geometry

from aoi.area_import import area_document_of, bbox_document, has_roles, is_bbox
from aoi.check import CheckResult, Problem, check_document, slugify
from aoi.errors import AreaError, InputError
from aoi.files import parse_json, read_bytes, write_text
from aoi.model import AreaOfInterest

_log = logging.getLogger(__name__)

_SUFFIX = ".geojson"
# A position in indented JSON, over several lines: [\n  130.6,\n  42.4\n]. JSON writes a line break inside
# a text as \n, so a real one never stands in a text and the pattern can't match there.
_TALL_POSITION = re.compile(r"\[\n\s*(-?[\d.eE+-]+),\n\s*(-?[\d.eE+-]+)(?:,\n\s*(-?[\d.eE+-]+))?\n\s*\]")


def area_names() -> list[str]:
    """The names of the bundled areas, sorted."""
    return sorted(path.stem for path in bundled_folder().iterdir() if path.suffix == _SUFFIX)


def bundled_folder() -> Path:
    """The folder of the bundled areas; a wheel is unpacked on installation, so it is one on disk."""
    return Path(str(resources.files("aoi")))


def find_area(name_or_path: str | Path) -> tuple[Path, bool]:
    """The file of an area.

    A bare name that a bundled area has means that area, even where a file of that name lies in the
    current folder; anything else is a path.

    Args:
        name_or_path: A bundled name or a file.

    Returns:
        The file, and whether it is a bundled one.

    Raises:
        AreaError: If there is neither.
    """
    names = area_names()
    if str(name_or_path) in names:
        return bundled_folder() / f"{name_or_path}{_SUFFIX}", True
    path = Path(name_or_path)
    if path.exists():
        return path, False
    if path.suffix or len(path.parts) > 1:
        raise AreaError(f"{path}: there is no such file")
    near = difflib.get_close_matches(str(path), names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"bundled areas are {', '.join(names)}"
    raise AreaError(f"there is no area called {str(path)!r} and no such file; {hint}")


def read_document(path: Path) -> dict[str, Any]:
    """The JSON object in an area file, as it is.

    Raises:
        AreaError: If the file can't be read or holds no JSON object.
    """
    document = parse_json(read_bytes(path, AreaError), path, AreaError)
    if not isinstance(document, dict):
        raise AreaError(f"{path}: is no GeoJSON object, not a FeatureCollection")
    return document


def is_area_file(path: Path) -> bool:
    """Whether a file is an area file as it is, and not an outline in another format."""
    try:
        return has_roles(read_document(path))
    except AreaError:
        return False


def check_area(name_or_path: str | Path) -> CheckResult:
    """Everything that is wrong with an area file, a file that can't be read included.

    Args:
        name_or_path: A bundled name or a file.

    Returns:
        The area, when there is no error, and all problems.
    """
    try:
        path, document = _found(name_or_path)
    except InputError as error:
        return CheckResult(None, (Problem("error", str(error).removeprefix(f"{name_or_path}: ")),))
    return check_document(document, path)


def load_area(name_or_path: str | Path) -> AreaOfInterest:
    """Loads an area.

    Args:
        name_or_path: A bundled name (see `area_names`), a file of any vector format (see
            `aoi.area_import`), or a box, "W,S,E,N" in degrees.

    Returns:
        The area, its geometry in WGS84 longitude and latitude.

    Raises:
        AreaError: At the first fault of the file.

    Example:
        >>> load_area("tumangang").title
        'Tumangang rail facility, North Korea'
    """
    path, document = _found(name_or_path)
    return area_from_document(document, path)


def _found(name_or_path: str | Path) -> tuple[Path, dict[str, Any]]:
    """The file of an area (a box has none: a name made of it) and its document."""
    if isinstance(name_or_path, str) and is_bbox(name_or_path):
        return Path(name_or_path), bbox_document(name_or_path)
    path, bundled = find_area(name_or_path)
    return path, read_document(path) if bundled else area_document_of(path)


def new_area(
    name: str, *, source: Path | None = None, bbox: str | None = None, out: Path | None = None
) -> tuple[AreaOfInterest, Path]:
    """Makes an area file of a file of any vector format, or of a box.

    Args:
        name: The area's name, a slug.
        source: The file; see `aoi.area_import.area_document_of`.
        bbox: "W,S,E,N" in degrees, instead of a file.
        out: The file to write; NAME.geojson in the current folder by default.

    Returns:
        The area and the file that was written.

    Raises:
        AreaError: The name is no slug or a bundled area's, nothing can be made of the source, or the file
            exists or can't be written.
    """
    if slugify(name) != name or not name:
        hint = f", such as {slugify(name)!r}" if slugify(name) else ""
        raise AreaError(f"{name!r} is no name for an area: lower-case letters, digits and hyphens{hint}")
    if name in area_names():
        raise AreaError(f"{name!r} is the name of a bundled area: give it another one")
    if (source is None) == (bbox is None):
        raise AreaError("an area is made of a file (--from FILE) or of a box (--bbox W,S,E,N)")
    target = out or Path(f"{name}{_SUFFIX}")
    if target.exists():
        raise AreaError(f"{target}: exists already: remove it, or say with --out where to write")
    if bbox is not None:
        document = bbox_document(bbox, name)
    else:
        assert source is not None
        if not source.exists():
            raise AreaError(f"{source}: there is no such file")
        document = area_document_of(source, name)
    area = area_from_document(document, source or target)
    write_document(document, target)
    return area, target


def area_from_document(document: Mapping[str, Any], path: Path) -> AreaOfInterest:
    """Makes an area of a decoded document.

    Raises:
        AreaError: At the first fault; the message names the path.
    """
    result = check_document(document, path)
    if result.area is None:
        raise AreaError(f"{path}: {result.errors[0]}")
    for warning in result.warnings:
        _log.info("%s: %s", path, warning)
    return result.area


def area_document(area: AreaOfInterest) -> dict[str, Any]:
    """An area as the GeoJSON document that `area_from_document` reads back, with the same digest.

    Args:
        area: In longitude and latitude.

    Returns:
        A FeatureCollection: the boundary, then tracks, zones and masks with all their properties.
    """
    features: list[dict[str, Any]] = []

    def add(geometry: Any, **properties: Any) -> None:
        kept = {key: value for key, value in properties.items() if value is not None}
        shape = shapely.geometry.mapping(geometry)
        features.append({"type": "Feature", "properties": kept, "geometry": shape})

    add(area.boundary, role="boundary")
    for track in area.tracks:
        own = {**track.properties, "role": "track", "id": track.id, "gauge_mm": track.gauge_mm}
        add(track.line, **own)
    for zone in area.zones:
        add(zone.polygon, **{**zone.properties, "role": "zone", "id": zone.id, "title": zone.title})
    for mask in area.masks:
        days = {
            key: day.isoformat() for key, day in (("from", mask.start), ("to", mask.end)) if day is not None
        }
        add(mask.polygon, **{**mask.properties, "role": "mask", "reason": mask.reason, **days})
    sources = [
        {
            key: value
            for key in ("title", "url", "licence", "used_for", "date")
            if (value := getattr(source, key))
        }
        for source in area.sources
    ]
    return {
        "type": "FeatureCollection",
        "name": area.name,
        "title": area.title,
        "sources": sources,
        "features": features,
    }


def write_document(document: Mapping[str, Any], path: Path) -> None:
    """Writes an area file: indented, a position a line, whole or not at all.

    Args:
        document: The GeoJSON object.
        path: The file; replaced if it exists.

    Raises:
        AreaError: If the file can't be written.
    """
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    text = _TALL_POSITION.sub(lambda found: f"[{', '.join(filter(None, found.groups()))}]", text)
    try:
        write_text(path, text + "\n")
    except OSError as error:
        raise AreaError(f"{path}: can't be written ({error.strerror})") from error
