"""From what a user points at to the acquisitions to count: finding, dating and grouping scenes.

Looking opens each file but reads no pixels. Nothing here stops at a bad file: what can't be used is
listed with its reason.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import shapely
from shapely.geometry.base import BaseGeometry

from aoi import AreaOfInterest
from aoi.errors import InputError
from aoi.files import real_path
from aoi.tables import FileTable, Row
from geo import Scene, open_scene
from geo.file_tree import FolderFileTree, is_unfinished, zip_member
from geo.filename_metadata import absurd, parse_time
from geo.image_files import images_at
from geo.sentinel2 import OCCUPANCY_PRODUCTS
from railwatch.config import SceneSettings
from railwatch.errors import ConfigError
from railwatch.pipeline.acquisitions import Candidate, Skipped, once_each
from railwatch.store.observation import Observation

__all__ = ["COARSEST_GSD_M", "Candidate", "Skipped", "find_scenes", "open_dated", "select"]

log = logging.getLogger(__name__)

COARSEST_GSD_M = 1.2
"""The coarsest ground sampling distance at which wagons are visible one by one, metres."""

# Sentinel-2 products are one scene each, however many images they hold.
_PRODUCT = re.compile(r"\.SAFE(\.zip)?$|^S2[A-D]_MSIL[12][AC]_.*\.zip$", re.IGNORECASE)
# Images that describe another image: usable-data masks, browse pictures, thumbnails.
_SIDECAR = re.compile(
    r"(_udm2?(_clip)?|[-_]browse|[-_]thumb(nail)?|[-_]quicklook|[-_]ql)\.\w+$|^(preview|icon|thumbnail|quicklook)[-_.]",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class DeclaredScene:
    """What a row says of a file; None where it says nothing.

    Attributes:
        when: Acquisition time, UTC.
        sensor: The sensor.
        gsd_m: Ground sampling distance in metres, for an image without a position.
    """

    when: datetime | None = None
    sensor: str | None = None
    gsd_m: float | None = None


Dates = FileTable[DeclaredScene]
"""Acquisition times that a user declares."""


def read_dates(path: Path) -> Dates:
    """Read acquisition times from a CSV file.

    The columns are ``file`` and ``datetime`` (ISO 8601; UTC unless it says otherwise; a date alone is
    midnight UTC), and optionally ``sensor`` and ``gsd_m``. `FileTable` says how a row names its file.

    Raises:
        ConfigError: If it can't be read, lacks a column, or a row isn't a time.
    """
    return FileTable.read(path, "datetime", _declared, ConfigError)


def _declared(row: Row) -> DeclaredScene:
    text = row["datetime"]
    found = parse_time(text)
    if found.when is None:
        if found.fault is None:
            raise ConfigError(f"{row.where}: {text!r} isn't a time such as 2023-10-05T02:15:00Z")
        raise ConfigError(f"{row.where}: the time {text!r} can't be used: {found.fault}")
    gsd_m = row.number("gsd_m") if row.get("gsd_m") else None
    if gsd_m is not None and gsd_m <= 0:
        raise ConfigError(f"{row.where}: gsd_m is {row['gsd_m']!r}, not a number of metres")
    return DeclaredScene(found.when, row.get("sensor") or None, gsd_m)


def find_scenes(
    paths: Iterable[Path],
    taken: Collection[Path] = frozenset(),
    trees: Mapping[Path, FolderFileTree] | None = None,
) -> tuple[list[Path], list[Skipped]]:
    """Find the scenes among files and, at any depth, in folders.

    Hidden and unfinished files, masks and thumbnails are passed over, and so are railwatch's own stores.

    Args:
        paths: Files and folders.
        taken: Files that others read, resolved: those of Sentinel-2 products. A SAFE folder or a zip stands
            for all in it.
        trees: The files in those of the folders that have been walked already.

    Returns:
        The scenes' paths, each once, sorted; and the given paths that aren't there or hold nothing.
    """
    found: dict[Path, Path] = {}
    skipped = []
    for path in paths:
        if path.is_dir() and not _PRODUCT.search(path.name):
            everything = _scenes_in((trees or {}).get(path) or FolderFileTree(path))
            inside = [one for one in everything if not _taken(one, taken)]
            if not everything and not any(one.is_relative_to(real_path(path)) for one in taken):
                skipped.append(Skipped(path, "the folder holds no images."))
        elif path.exists():
            inside = [] if _taken(path, taken) else _named(path)
        elif zip_member(path) is not None:
            inside = [path]
        else:
            inside = []
            skipped.append(Skipped(path, "there is no such file or folder."))
        for one in inside:
            found.setdefault(real_path(one), one)
    return sorted(found.values()), skipped


def _named(path: Path) -> list[Path]:
    """The images that a file named by itself holds: those of a zip, or itself whatever its ending."""
    if path.suffix.lower() == ".zip" and not _PRODUCT.search(path.name):
        return [one for one in images_at(path) if _is_scene(one.name) or one == path]
    return [path]


def _taken(path: Path, taken: Collection[Path]) -> bool:
    real = real_path(path)
    return real in taken or any(
        each in taken for each in real.parents if each.suffix.lower() == ".zip" or is_safe(each)
    )


def is_safe(folder: Path) -> bool:
    """Whether a folder is a product as ESA unpacks it, by its name: all that lies in it is the product's.

    Example:
        >>> is_safe(Path("S2A_MSIL2A_20231005T021001_N0509_R003_T52TFM_20231005T040000.SAFE"))
        True
    """
    return folder.suffix.lower() == ".safe"


def _scenes_in(tree: FolderFileTree) -> list[Path]:
    """The scenes in a folder, sorted; a Sentinel-2 product is one of them, whatever it holds."""
    found: set[Path] = set()
    inside: dict[str, bool] = {"": False}  # whether a folder is part of a product

    def part_of_product(folder: str) -> bool:
        if folder not in inside:
            above, _, name = folder.rpartition("/")
            inside[folder] = part_of_product(above) or _PRODUCT.search(name) is not None
        return inside[folder]

    for name in (*tree.folders, *tree.names):
        folder, _, last = name.rpartition("/")
        if part_of_product(folder):
            continue
        if _PRODUCT.search(last):
            found.add(tree.path / name)
        elif _is_scene(last):
            found.update(one for one in images_at(tree.path / name) if _is_scene(one.name))
    return sorted(found)


def _is_scene(name: str) -> bool:
    return not is_unfinished(name) and _SIDECAR.search(name) is None


def open_dated(path: Path, settings: SceneSettings, dates: Dates) -> Scene:
    """Open a scene with what the user declares about it.

    Raises:
        InputError: If it can't be opened.
    """
    declared = dates.of(path) or DeclaredScene()
    scene = open_scene(
        path,
        gsd_m=declared.gsd_m or settings.gsd_m,
        when=declared.when,
        sensor=declared.sensor,
        bands=settings.bands,
    )
    if settings.sensor is not None and scene.sensor == "unknown":
        scene = replace(scene, sensor=settings.sensor)
    return scene


def select(
    paths: Iterable[Path],
    area: AreaOfInterest,
    settings: SceneSettings,
    dates: Dates,
    stored: Sequence[Observation] = (),
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Candidate], list[Skipped]]:
    """Choose the scenes to count: those that show the area, each acquisition once.

    Files are of the same acquisition if their content is the same, if one is made of the other (a VRT
    and its parts), or if they come from the same sensor at the same second. Those that show other parts of
    the area (tiles, quarters, frames of one strip) are laid together; of those that show the same part the
    one that was counted before is kept, else the one that shows most of the area, else the finest.

    Args:
        paths: Files, as `find_scenes` gives them.
        area: In longitude and latitude.
        settings: How images are opened.
        dates: Declared times.
        stored: The observations of this area that the store holds.
        progress: Called with files done and files in all.

    Returns:
        The scenes by time, and the others with their reasons.
    """
    known = {one.scene: str(one.provenance["sha256"]) for one in stored if one.provenance.get("sha256")}
    candidates: list[Candidate] = []
    skipped: list[Skipped] = []
    listed = list(paths)
    for number, path in enumerate(listed):
        if progress is not None:
            progress(number, len(listed))
        try:
            candidates.append(_candidate(path, area, settings, dates, known))
        except _Unfit as unfit:
            skipped.append(Skipped(path, str(unfit), readable=True))
        except InputError as error:
            skipped.append(Skipped(path, without_path(error, path)))
        except Exception as error:
            log.debug("%s", path, exc_info=True)
            skipped.append(Skipped(path, unexpected(error)))
    kept, doubles = once_each(candidates, area, stored, known)
    return kept, [*skipped, *doubles]


class _Unfit(Exception):
    """A scene that can be read, but not counted for this area."""


def _candidate(
    path: Path, area: AreaOfInterest, settings: SceneSettings, dates: Dates, known: Mapping[str, str]
) -> Candidate:
    scene = _opened(path, settings, dates)
    if scene.gsd_m > COARSEST_GSD_M:
        raise _Unfit(
            f"{scene.gsd_m:.3g} m a pixel is too coarse to see wagons one by one, which takes "
            f"{COARSEST_GSD_M:g} m or finer, and how much track is occupied can be told from "
            f"{OCCUPANCY_PRODUCTS} alone."
        )
    if scene.datetime is None:
        why = "neither its tags nor its name tell when it was taken, and a time series needs that"
        raise _Unfit(f"{scene.time_fault or why}; declare it with --dates.")
    impossible = absurd(scene.datetime)
    if impossible is not None:
        raise _Unfit(f"its time, {scene.datetime.date()}, lies {impossible}; declare it with --dates.")
    ground = _ground(scene, area)
    scene.check_files()
    return Candidate(
        path=scene.path,
        id=scene.id,
        datetime=scene.datetime,
        sensor=scene.sensor,
        gsd_m=scene.gsd_m,
        # In degrees, but a share is the same in any units.
        shown=1.0 if ground is None else float(ground.area / area.boundary.area),
        files=tuple(sorted(real_path(file) for file in scene.source.files)),
        # The content of a scene that was counted before needn't be read again to know it.
        content=scene.sha256 if scene.id not in known else lambda: known[scene.id],
        scene=scene,
        ground=ground,
    )


def _ground(scene: Scene, area: AreaOfInterest) -> BaseGeometry | None:
    """What of an area a scene's raster covers; None for a scene without a position."""
    footprint = scene.footprint()
    if footprint is None:
        return None
    if scene.datum is not None and not scene.datum.tolerable:
        raise _Unfit(
            f"{scene.datum.sentence}, too far to say which wagons stand in the area; give it its right one "
            "(gdal_edit -a_srs)."
        )
    if not footprint.intersects(area.boundary):
        swapped = shapely.transform(area.boundary, lambda x, y: (y, x), interleaved=False)
        hint = (
            ", unless longitude and latitude of the area are exchanged"
            if footprint.intersects(swapped)
            else ""
        )
        raise _Unfit(f"it doesn't touch the area {area.name}{hint}.")
    return footprint.intersection(area.boundary)


def _opened(path: Path, settings: SceneSettings, dates: Dates) -> Scene:
    try:
        return open_dated(path, settings, dates)
    except InputError:
        if settings.gsd_m is not None or (dates.of(path) or DeclaredScene()).gsd_m is not None:
            raise
        # An image without position is refused for want of a scale; here it also is in want of a place.
        open_dated(path, replace(settings, gsd_m=1.0), dates)
        raise _Unfit(
            "it has no position on the map, so its wagons can't be placed in the area; with its metres a "
            "pixel (--gsd) all freight cars in it are counted, though not by zone or track, and "
            "'railwatch detect' counts them without a store."
        ) from None


def without_path(error: Exception, path: Path) -> str:
    """Return an error's sentence without the path before it, for a list that names the path anyway."""
    text = " ".join(str(error).split()).removeprefix(f"{path}: ")
    return text if text.endswith(".") else f"{text}."


def unexpected(error: Exception) -> str:
    """Return what to say of a fault that nobody foresaw."""
    return f"it failed unexpectedly ({type(error).__name__}: {' '.join(str(error).split())})."
