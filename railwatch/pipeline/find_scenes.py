"""From what a user points at to the acquisitions to count: finding, dating and grouping scenes.

Looking opens each file but reads no pixels. Nothing here stops at a bad file: what can't be used is
listed with its reason.
"""

from __future__ import annotations

import csv
import logging
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from shapely import Polygon

from aoi import AreaOfInterest
from aoi.errors import InputError
from geo import Scene, open_scene
from railwatch.config import SceneSettings
from railwatch.errors import ConfigError
from railwatch.store.observation import Observation, iso
from railwatch.store.store import is_store

__all__ = ["COARSEST_GSD_M", "Candidate", "Dates", "Skipped", "find_scenes", "open_dated", "select"]

log = logging.getLogger(__name__)

COARSEST_GSD_M = 1.2
"""The coarsest ground sampling distance at which wagons are visible one by one, metres."""

SUFFIXES = frozenset(
    {".tif", ".tiff", ".vrt", ".mbtiles", ".jp2", ".j2k", ".img", ".ntf", ".png", ".jpg", ".jpeg", ".webp"}
)
"""Endings that are looked for in folders. A file that is named itself is tried whatever its ending."""

# Sentinel-2 products are one scene each, however many images they hold.
_PRODUCT = re.compile(r"\.SAFE(\.zip)?$|^S2[A-D]_MSIL[12][AC]_.*\.zip$", re.IGNORECASE)
# Images that describe another image: usable-data masks, browse pictures, thumbnails.
_SIDECAR = re.compile(
    r"(_udm2?|[-_]browse|[-_]thumb(nail)?|[-_]quicklook|[-_]ql)\.\w+$|^(preview|icon|thumbnail|quicklook)[-_.]",
    re.IGNORECASE,
)
_UNFINISHED = re.compile(r"^[.~]|~$|\.(part|partial|tmp|crdownload|download)$", re.IGNORECASE)


@dataclass(frozen=True)
class Skipped:
    """An input that isn't counted.

    Attributes:
        path: The file or folder.
        reason: Why not, in one sentence.
        readable: Whether it is an image that could be opened.
    """

    path: Path
    reason: str
    readable: bool = False

    def to_json(self) -> dict[str, str]:
        """Return it as in ``railwatch run --json``."""
        return {"path": str(self.path), "reason": self.reason}


@dataclass(frozen=True)
class Candidate:
    """A scene that shows the area and may be counted.

    Attributes:
        path: Its file.
        id: The scene's id: name and fingerprint of the content.
        datetime: When it was taken, UTC.
        sensor: Its sensor, or ``unknown``.
        gsd_m: Ground sampling distance, metres.
        shown: Share (0-1) of the area inside the raster.
        files: All files with its pixels, resolved.
        content: Gives the SHA-256 of its content; reads all of it when first asked.
    """

    path: Path
    id: str
    datetime: datetime
    sensor: str
    gsd_m: float
    shown: float
    files: tuple[Path, ...]
    content: Callable[[], str]


class Dates:
    """Acquisition times (and sensors) that a user declares in a CSV file.

    The columns are ``file`` and ``datetime`` (ISO 8601; UTC unless it says otherwise; a date alone is
    midnight UTC), and optionally ``sensor``. A file is named by its path, relative to the table's folder
    or to the current one, or by its name alone where the table has that name once.
    """

    def __init__(self, rows: Mapping[str, tuple[datetime, str | None]] | None = None) -> None:
        self._rows = rows or {}

    @classmethod
    def read(cls, path: Path) -> Dates:
        """Read the table.

        Raises:
            ConfigError: If it can't be read, lacks a column, or a row isn't a time.
        """
        try:
            with path.open(newline="", encoding="utf-8-sig") as stream:
                reader = csv.DictReader(stream)
                missing = {"file", "datetime"} - set(reader.fieldnames or ())
                rows = [] if missing else list(reader)
        except OSError as error:
            raise ConfigError(f"{path}: can't be read: {error.strerror}") from error
        except (UnicodeDecodeError, csv.Error) as error:
            raise ConfigError(f"{path}: isn't a CSV table in UTF-8: {error}") from error
        if missing:
            raise ConfigError(f"{path}: the table has no column {' and no '.join(sorted(missing))}")
        names = [Path(row["file"] or "").name for row in rows]
        found: dict[str, tuple[datetime, str | None]] = {}
        for number, (row, name) in enumerate(zip(rows, names, strict=True), start=2):
            if not row["file"]:
                raise ConfigError(f"{path}: line {number} names no file")
            entry = (_time(row["datetime"], f"{path}: line {number}"), row.get("sensor") or None)
            for base in (path.parent, Path()):
                found[str((base / row["file"]).resolve())] = entry
            if names.count(name) == 1:
                found[name] = entry
        return cls(found)

    def of(self, path: Path) -> tuple[datetime | None, str | None]:
        """Return the declared time and sensor of a file, None where there is none."""
        return self._rows.get(str(path.resolve()), self._rows.get(path.name, (None, None)))


def _time(text: str | None, where: str) -> datetime:
    try:
        when = datetime.fromisoformat((text or "").strip())
    except ValueError:
        raise ConfigError(f"{where}: {text!r} isn't a time such as 2023-10-05T02:15:00Z") from None
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def find_scenes(
    paths: Iterable[Path], taken: Collection[Path] = frozenset()
) -> tuple[list[Path], list[Skipped]]:
    """Find the scenes among files and, at any depth, in folders.

    Hidden and unfinished files, masks and thumbnails are passed over, and so are railwatch's own stores.

    Args:
        paths: Files and folders.
        taken: Files that others read, resolved: those of Sentinel-2 products.

    Returns:
        The scenes' paths, each once, sorted; and the given paths that aren't there or hold nothing.
    """
    found: dict[Path, Path] = {}
    skipped = []
    for path in paths:
        if path.is_dir() and not _PRODUCT.search(path.name):
            everything = sorted(_walk(path))
            inside = [one for one in everything if one.resolve() not in taken]
            if not everything and not any(one.is_relative_to(path.resolve()) for one in taken):
                skipped.append(Skipped(path, "the folder holds no images."))
        elif path.exists():
            inside = [] if path.resolve() in taken else [path]
        else:
            inside = []
            skipped.append(Skipped(path, "there is no such file or folder."))
        for one in inside:
            found.setdefault(one.resolve(), one)
    return sorted(found.values()), skipped


def _walk(top: Path) -> Iterator[Path]:
    """Find the scenes in a folder; links are followed, but no folder is entered twice."""
    seen: set[Path] = set()
    for name, folders, files in os.walk(top, followlinks=True):
        folder = Path(name)
        if folder.resolve() in seen or is_store(folder):
            folders.clear()
            continue
        seen.add(folder.resolve())
        yield from (folder / each for each in folders if _PRODUCT.search(each) and not each.startswith("."))
        folders[:] = sorted(
            each for each in folders if not _PRODUCT.search(each) and not each.startswith(".")
        )
        yield from (folder / each for each in files if _is_scene(each))


def _is_scene(name: str) -> bool:
    if _UNFINISHED.search(name) or _SIDECAR.search(name):
        return False
    return Path(name).suffix.lower() in SUFFIXES or _PRODUCT.search(name) is not None


def open_dated(path: Path, settings: SceneSettings, dates: Dates) -> Scene:
    """Open a scene with what the user declares about it.

    Raises:
        InputError: If it can't be opened.
    """
    when, sensor = dates.of(path)
    scene = open_scene(path, gsd_m=settings.gsd_m, when=when, sensor=sensor, bands=settings.bands)
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
    and its parts), or if they come from the same sensor at the same second; all of them show the area,
    so they overlap or are parts of one strip. The one that was counted before is kept, else the one that
    shows most of the area, else the finest.

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
            candidates.append(_look(path, area, settings, dates, known))
        except _Unfit as unfit:
            skipped.append(Skipped(path, str(unfit), readable=True))
        except InputError as error:
            skipped.append(Skipped(path, without_path(error, path)))
        except Exception as error:
            log.debug("%s", path, exc_info=True)
            skipped.append(Skipped(path, unexpected(error)))
    kept, doubles = _once_each(candidates, stored)
    return kept, [*skipped, *doubles]


class _Unfit(Exception):
    """A scene that can be read, but not counted for this area."""


def _look(
    path: Path, area: AreaOfInterest, settings: SceneSettings, dates: Dates, known: Mapping[str, str]
) -> Candidate:
    scene = _opened(path, settings, dates)
    footprint = scene.footprint()
    if footprint is None:
        raise _Unfit(
            "it has no position on the map, so its wagons can't be placed in the area; 'railwatch detect' "
            "counts them without one."
        )
    if scene.gsd_m > COARSEST_GSD_M:
        raise _Unfit(
            f"{scene.gsd_m:.3g} m a pixel is too coarse to see wagons one by one; counting needs "
            f"{COARSEST_GSD_M:g} m or finer."
        )
    if scene.datetime is None:
        raise _Unfit(
            "neither its tags nor its name tell when it was taken, and a time series needs that; declare it "
            "with --dates."
        )
    if not footprint.intersects(area.boundary):
        raise _Unfit(f"it doesn't touch the area {area.name}.")
    return Candidate(
        path=path,
        id=scene.id,
        datetime=scene.datetime,
        sensor=scene.sensor,
        gsd_m=scene.gsd_m,
        shown=_share(footprint, area),
        files=tuple(sorted(Path(name).resolve() for name in scene.source.files())),
        # The content of a scene that was counted before needn't be read again to know it.
        content=scene.sha256 if scene.id not in known else lambda: known[scene.id],
    )


def _opened(path: Path, settings: SceneSettings, dates: Dates) -> Scene:
    try:
        return open_dated(path, settings, dates)
    except InputError:
        if settings.gsd_m is not None:
            raise
        # An image without position is refused for want of a scale. Here the position is what is missed.
        try:
            return open_dated(path, replace(settings, gsd_m=1.0), dates)
        except InputError as error:
            fault = error
        raise fault from None


def _share(footprint: Polygon, area: AreaOfInterest) -> float:
    # Both in degrees: the share is the same in any units.
    return float(footprint.intersection(area.boundary).area / area.boundary.area)


def _once_each(
    candidates: Iterable[Candidate], stored: Sequence[Observation]
) -> tuple[list[Candidate], list[Skipped]]:
    """Keep one file of each acquisition."""
    counted = {one.scene for one in stored if not one.abstained}
    ranked = sorted(candidates, key=lambda one: (one.id not in counted, -one.shown, one.gsd_m, one.path))
    mosaics = {part: one for one in ranked if len(one.files) > 1 for part in one.files}
    earlier = {
        (one.sensor, _second(one.datetime)): one
        for one in stored
        if not one.abstained and one.method == "wagons"
    }
    kept: list[Candidate] = []
    skipped: list[Skipped] = []

    def leave(one: Candidate, reason: str) -> None:
        skipped.append(Skipped(one.path, reason, readable=True))

    for one in ranked:
        mosaic = mosaics.get(one.path.resolve())
        if mosaic is not None and mosaic is not one:
            leave(one, f"it is a part of {mosaic.path.name}, which is counted.")
            continue
        twin = next((other for other in kept if _same(one, other)), None)
        if twin is not None:
            what = "has the same content as" if _alike(one, twin) else "is the same acquisition as"
            leave(one, f"it {what} {twin.path.name}, and each counts once.")
            continue
        before = earlier.get((one.sensor, _second(one.datetime)))
        if before is not None and before.scene != one.id and before.provenance.get("sha256") != one.content():
            file = before.provenance.get("file", before.scene)
            leave(one, f"it is the same acquisition as {file}, which the store holds.")
            continue
        kept.append(one)
    return sorted(kept, key=lambda one: (one.datetime, one.id, one.path)), skipped


def _same(one: Candidate, other: Candidate) -> bool:
    same_look = one.sensor == other.sensor and _second(one.datetime) == _second(other.datetime)
    return same_look or _alike(one, other)


def _alike(one: Candidate, other: Candidate) -> bool:
    # The end of an id is a fingerprint of the content, so that few files need to be read whole.
    if one.id.rpartition("-")[2] != other.id.rpartition("-")[2]:
        return False
    return one.content() == other.content()


def _second(when: datetime) -> str:
    return iso(when.replace(microsecond=0))


def without_path(error: Exception, path: Path) -> str:
    """Return an error's sentence without the path before it, for a list that names the path anyway."""
    text = " ".join(str(error).split()).removeprefix(f"{path}: ")
    return text if text.endswith(".") else f"{text}."


def unexpected(error: Exception) -> str:
    """Return what to say of a fault that nobody foresaw."""
    return f"it failed unexpectedly ({type(error).__name__}: {' '.join(str(error).split())})."
