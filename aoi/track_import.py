"""Putting track lines into an area file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shapely.geometry.base import BaseGeometry

from aoi import geodesy as ground
from aoi.area_import import area_document_of
from aoi.errors import AreaError
from aoi.io import (
    area_from_document,
    area_names,
    bundled_folder,
    find_area,
    is_area_file,
    read_document,
    write_document,
)
from aoi.model import AreaOfInterest, Source
from aoi.railway_lines import RailLine, Railways, clip, read_railways


@dataclass(frozen=True)
class TrackImport:
    """What an import did.

    Attributes:
        area: The area as written.
        out: The file that was written.
        base: The file that the tracks were put into.
        added: Tracks that came in.
        replaced: Tracks of the same origins that went out for them.
        kept: Tracks of other origins that stayed.
        length_m: Metres of track that came in.
        left_out: Lines left out by their state, such as abandoned.
        credits: The entries for these lines among the area's sources.
        unfiltered: Files that don't say which of their lines are railways: all were taken.
    """

    area: AreaOfInterest
    out: Path
    base: Path
    added: int
    replaced: int
    kept: int
    length_m: float
    left_out: Mapping[str, int]
    credits: tuple[Source, ...]
    unfiltered: tuple[Path, ...] = ()


def import_tracks(
    name_or_path: str | Path,
    files: Sequence[Path],
    *,
    out: Path | None = None,
    include: Collection[str] = (),
) -> TrackImport:
    """Reads railway lines from files and writes them into an area file.

    Lines that came earlier from the same origin (OpenStreetMap as a whole, or a file of the same name)
    are replaced; tracks of other origins stay, and so does everything else in the file.

    Args:
        name_or_path: A bundled area or an area file.
        files: Where the lines are, see `aoi.railway_lines.read_railways`. Give the extracts of both countries
            at once for an area on a border.
        out: The file to write. By default an area file is changed in place; a bundled area, which never
            is, goes to NAME.geojson in the current folder, and the file is added to if it is there.
        include: States of tracks to take beside working ones, see `aoi.osm.OPTIONAL_STATES`.

    Returns:
        What was done.

    Raises:
        AreaError: If the area or a file can't be read, no line lies in the area, or the area file can't be
            written. Nothing is written then.
    """
    read: list[Railways] = []

    def find(area: AreaOfInterest) -> Sequence[Railways]:
        read.extend(read_railways(path, area.boundary, include=include) for path in files)
        return read

    def nothing(area: AreaOfInterest) -> str:
        names = ", ".join(str(path) for path in files)
        what = "no working railway line" if all(found.filtered for found in read) else "no line"
        return f"{names}: {what} lies within the boundary of {area.name}"

    done = put_tracks(name_or_path, find, nothing, out=out)
    unfiltered = tuple(path for path, found in zip(files, read, strict=True) if not found.filtered)
    return replace(done, unfiltered=unfiltered)


def put_tracks(
    name_or_path: str | Path,
    find: Callable[[AreaOfInterest], Sequence[Railways]],
    nothing: Callable[[AreaOfInterest], str],
    *,
    out: Path | None = None,
) -> TrackImport:
    """Writes lines, wherever they come from, into an area file as its tracks.

    Args:
        name_or_path: A bundled area or an area file.
        find: Gives the lines and their origins for the area as it is; tracks of these origins are replaced.
        nothing: What to say when none of them lies in the area.
        out: The file to write, see `import_tracks`.

    Returns:
        What was done.

    Raises:
        AreaError: If the area can't be read, no line lies in it, or the area file can't be written. Nothing
            is written then.
    """
    base, target = _base_and_target(name_or_path, out)
    if base.exists() and not is_area_file(base) and area_document_of(base):
        raise AreaError(
            f"{base}: is an outline and no area file, which tracks could be put into: make one with "
            "'railwatch aoi new NAME --from FILE' first"
        )
    document = read_document(base)
    area = area_from_document(document, base)
    sets = find(area)
    changed, added, replaced = with_tracks(document, area.boundary, sets)
    if not added:
        raise AreaError(nothing(area))
    # what is written must load again
    new_area = area_from_document(changed, target)
    write_document(changed, target)
    left_out: Counter[str] = Counter()
    for railways in sets:
        left_out.update(railways.left_out)
    return TrackImport(
        area=new_area,
        out=target,
        base=base,
        added=len(added),
        replaced=replaced,
        kept=len(new_area.tracks) - len(added),
        length_m=sum(ground.length_m(line.line) for line in added),
        left_out=dict(sorted(left_out.items())),
        credits=tuple(Source(**railways.credit) for railways in sets),
    )


def _base_and_target(name_or_path: str | Path, out: Path | None) -> tuple[Path, Path]:
    """The file to put tracks into, and the file to write."""
    base, bundled = find_area(name_or_path)
    target = out if out is not None else base
    if bundled and out is None:
        target = Path(f"{name_or_path}.geojson")
        if target.exists():
            # a second import into one's own copy: go on with it, if it is one
            copy = area_from_document(read_document(target), target)
            if copy.name != str(name_or_path):
                raise AreaError(f"{target}: is another area ({copy.name}); say with --out where to write")
            base = target
    if target.resolve().parent == bundled_folder().resolve() and target.stem in area_names():
        raise AreaError(f"{target}: is a bundled area, which isn't changed; say with --out where to write")
    return base, target


def with_tracks(
    document: Mapping[str, Any], boundary: BaseGeometry, sets: Iterable[Railways]
) -> tuple[dict[str, Any], list[RailLine], int]:
    """An area document with lines put in as tracks; the document given is left as it is.

    Args:
        document: A valid area document.
        boundary: Its boundary; the lines are cut at it.
        sets: The lines and their origins. A line that two sets of one origin share comes in once.

    Returns:
        The new document, the lines as they came in, and how many tracks they replaced.
    """
    by_origin: dict[str, dict[str, list[RailLine]]] = {}
    credits: dict[str, list[Mapping[str, str]]] = {}
    for railways in sets:
        lines = by_origin.setdefault(railways.origin, {})
        fresh: dict[str, list[RailLine]] = {}
        for line in railways.lines:
            if line.id not in lines:
                fresh.setdefault(line.id, []).append(line)
        lines.update(fresh)
        credits.setdefault(railways.origin, []).append(railways.credit)
    clipped = {
        origin: [part for pieces in lines.values() for part in clip(pieces, boundary)]
        for origin, lines in by_origin.items()
    }
    arriving = {origin for origin, lines in clipped.items() if lines}
    kept = [feature for feature in document["features"] if _origin(feature) not in arriving]
    features = [
        *kept,
        *(_feature(line, origin) for origin, lines in clipped.items() for line in lines),
    ]
    sources = [entry for entry in document.get("sources") or [] if _origin_of_source(entry) not in arriving]
    sources.extend(
        {**credit, "origin": origin}
        for origin, entries in credits.items()
        for credit in entries
        if origin in arriving
    )
    members = {key: value for key, value in document.items() if key not in ("features", "sources")}
    changed = {**members, "sources": sources, "features": features}
    added = [line for lines in clipped.values() for line in lines]
    return changed, added, len(document["features"]) - len(kept)


def _feature(line: RailLine, origin: str) -> dict[str, Any]:
    properties: dict[str, Any] = {"role": "track", "id": line.id, "origin": origin}
    if line.gauge_mm is not None:
        properties["gauge_mm"] = line.gauge_mm
    return {
        "type": "Feature",
        "properties": {**line.properties, **properties},
        "geometry": {"type": "LineString", "coordinates": [list(position) for position in line.line.coords]},
    }


def _origin(feature: Mapping[str, Any]) -> object:
    properties = feature["properties"]
    return properties.get("origin") if properties.get("role") == "track" else None


def _origin_of_source(entry: object) -> object:
    return entry.get("origin") if isinstance(entry, Mapping) else None
