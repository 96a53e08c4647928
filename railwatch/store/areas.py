"""What a store keeps of its areas: their geometry in every version, their titles, their settings.

::

    STORE/areas/<name>/<digest>.geojson    the area; a file a version, named by its digest's first 16 digits
    STORE/areas/<name>/settings.json       the version in force, the title, the settings of the last run

So whoever looks back on a store needs neither the area's file nor the settings again, and gets the same
verdicts as the run that wrote it. An item of the store names its area's digest, so the version that a count
was made with is always found. Nothing here names a path of the machine that wrote it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from aoi import AreaOfInterest
from aoi.errors import AreaError, InputError
from aoi.files import write_bytes
from aoi.io import area_document, area_from_document, load_area, read_document
from railwatch.config import RunConfig, load_config
from railwatch.errors import StoreError, said
from railwatch.store.observation import iso
from railwatch.store.remote import folder_here

__all__ = [
    "AREAS",
    "ChosenSettings",
    "StoredArea",
    "area_files",
    "area_version",
    "choose_settings",
    "differences",
    "keep_area",
    "kept_settings",
    "stored_areas",
]

log = logging.getLogger(__name__)

AREAS = "areas"
_SETTINGS = "settings.json"
_VERSION = 1
_VERSION_KEY = "railwatch:settings_version"
_DIGITS = 16

# What concerns the machine of a run and not the store: paths, speed, the device.
_NOT_KEPT = frozenset(
    {
        "aoi",
        "store",
        "detector.weights",
        "detector.device",
        "detector.batch_size",
        "occupancy.weights",
        "occupancy.device",
    }
)


@dataclass(frozen=True)
class StoredArea:
    """What a store keeps of one of its areas.

    Attributes:
        name: The area's name.
        title: For people: that of the settings, else that of the area.
        area: The version in force, in longitude and latitude.
        config: The settings of the last run; paths and the device are those of the defaults.
    """

    name: str
    title: str
    area: AreaOfInterest
    config: RunConfig


def stored_areas(store: Path) -> dict[str, StoredArea]:
    """Return what a store keeps of its areas, by name; nothing for a store of an older railwatch.

    Args:
        store: The store's folder.

    Raises:
        StoreError: If the folder can't be listed, a newer railwatch wrote a part, or a part is damaged.
    """
    found = {}
    for path in _listed(store / AREAS):
        if (path / _SETTINGS).is_file():
            found[path.name] = _read(path)
    return found


def area_version(store: Path, name: str, digest: str | None) -> AreaOfInterest | None:
    """Return the version of an area that a count was made with, or None if the store doesn't keep it.

    Args:
        store: The store's folder.
        name: The area's name.
        digest: As an observation's provenance names it; None for the version in force.

    Raises:
        StoreError: If the part is there and can't be read.
    """
    folder = store / AREAS / name
    if digest is None:
        return _read(folder).area if (folder / _SETTINGS).is_file() else None
    path = _version_path(folder, digest)
    return _area(path) if path.is_file() else None


def area_files(store: Path) -> list[Path]:
    """Return the files of all versions of all areas, sorted."""
    return [path for folder in _listed(store / AREAS) for path in sorted(folder.glob("*.geojson"))]


def keep_area(store: Path, area: AreaOfInterest, config: RunConfig) -> tuple[bool, tuple[str, ...]]:
    """Keep an area and the settings of a run, and say what differs from what was kept before.

    The version that was in force stays beside the new one.

    Args:
        store: The store's folder.
        area: In longitude and latitude.
        config: The settings.

    Returns:
        Whether anything was written, and a sentence for each difference from what was kept before.

    Raises:
        StoreError: If it can't be written.
    """
    folder = store / AREAS / area.name
    before = _read(folder) if (folder / _SETTINGS).is_file() else None
    news: list[str] = []
    if before is not None:
        news += [f"{one}; from now on the store keeps the new value." for one in differences(before, config)]
        if before.area.digest != area.digest:
            news.append(
                f"The area {area.name} has changed since the last run: from now on the new one is "
                "counted, and the store keeps both."
            )
    content = {
        _VERSION_KEY: _VERSION,
        "aoi": area.name,
        "area": area.digest,
        "title": config.title or area.title,
        "settings": kept_settings(config),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = _write(_version_path(folder, area.digest), area_document(area))
        # The time alone is no reason to write: a run without news leaves the store as it is.
        if before is None or _without_time(folder / _SETTINGS) != content:
            written = _write(folder / _SETTINGS, content | {"saved": iso(datetime.now(UTC))})
    except OSError as error:
        raise StoreError(f"{folder}: can't be written: {said(error)}.") from error
    return written, tuple(news)


def kept_settings(config: RunConfig) -> dict[str, Any]:
    """Return the settings that a store keeps, as the tables of a settings file."""
    return _pruned(config.to_table(), "")


def differences(kept: StoredArea, given: RunConfig, tables: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return a clause for each setting that differs from what a store keeps.

    Args:
        kept: What the store keeps.
        given: The settings in hand.
        tables: Only those of these tables; all by default.

    Returns:
        Such as ``lookback_years is 3, and 5 in the store's settings``.
    """
    before = dict(_flat(kept_settings(kept.config)))
    now = dict(_flat(kept_settings(given)))
    found = []
    for name in sorted(before.keys() | now.keys()):
        if tables and name.partition(".")[0] not in tables:
            continue
        if before.get(name) != now.get(name):
            found.append(f"{name} is {_said(now.get(name))}, and {_said(before.get(name))} in the store")
    return tuple(found)


@dataclass(frozen=True)
class ChosenSettings:
    """The settings of a command that looks back on a store.

    Attributes:
        config: For the command as a whole: those of its one area, if it is about one.
        areas: By area, where the store keeps something of it.
        kept: What the store keeps, by area; only of the areas that the command is about.
        notes: A sentence for each area in which the verdicts rest on other settings than the store's.
    """

    config: RunConfig
    areas: Mapping[str, RunConfig] = field(default_factory=dict)
    kept: Mapping[str, StoredArea] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def choose_settings(
    config: str | Path | RunConfig | None = None,
    *,
    store: str | Path | None = None,
    aoi: str | Path | None = None,
    **overrides: object,
) -> ChosenSettings:
    """Return the settings for looking back on a store: those of its last run, but for what is given here.

    Args:
        config: A settings file, a bundled name, or settings; it takes the place of the kept settings.
        store: The store's folder; by default that of the settings file.
        aoi: The area, as the command line takes it; by default that of the settings file, else all.
        overrides: As `RunConfig.override` takes them.

    Raises:
        ConfigError: If the settings can't be read or a value isn't allowed.
        StoreError: If what the store keeps can't be read.
    """
    read = config if isinstance(config, RunConfig) else load_config(config)
    given = read.override(aoi=None if aoi is None else str(aoi), store=store)
    paths = {"aoi": given.aoi, "store": given.store}
    everything = stored_areas(folder_here(given.store, [AREAS])) if given.store is not None else {}
    name = None if given.aoi is None else _area_name(given.aoi, everything)
    kept = {key: one for key, one in everything.items() if name is None or key == name}
    areas = {
        key: (given if config is not None else one.config).override(**paths, **overrides)
        for key, one in kept.items()
    }
    notes = []
    for key, one in kept.items():
        clauses = differences(one, areas[key], ("baseline",))
        if clauses:
            notes.append(
                f"{key}: {'; '.join(clauses)}: verdicts may differ from those of the store's own pages."
            )
    chosen = next(iter(areas.values())) if len(areas) == 1 else given.override(**overrides)
    return ChosenSettings(chosen, areas, kept, tuple(notes))


def _area_name(aoi: str, kept: Mapping[str, StoredArea]) -> str:
    """The name of the area that an option means; a file that can't be read is somebody else's to refuse."""
    if aoi in kept:
        return aoi
    try:
        return load_area(aoi).name
    except AreaError:
        return aoi


def _said(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _pruned(table: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {
        key: _pruned(value, f"{prefix}{key}.") if isinstance(value, Mapping) else _plain(value)
        for key, value in table.items()
        if f"{prefix}{key}" not in _NOT_KEPT
    }


def _with_days(table: Mapping[str, Any]) -> dict[str, Any]:
    """The tables as TOML would give them: JSON has no days."""
    parsed = {key: dict(value) if isinstance(value, Mapping) else value for key, value in table.items()}
    baseline = parsed.get("baseline", {})
    if isinstance(baseline.get("not_before"), str):
        baseline["not_before"] = date.fromisoformat(baseline["not_before"])
    return parsed


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | list) else str(value)


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StoreError(f"{folder}: can't be read: {error.strerror}.") from error


def _version_path(folder: Path, digest: str) -> Path:
    return folder / f"{digest[:_DIGITS]}.geojson"


def _read(folder: Path) -> StoredArea:
    path = folder / _SETTINGS
    try:
        content = json.loads(path.read_bytes())
        version = content[_VERSION_KEY]
        name, digest, title = (str(content[key]) for key in ("aoi", "area", "title"))
        table = _with_days(content["settings"])
    except OSError as error:
        raise StoreError(f"{path}: can't be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{path}: isn't what railwatch wrote; remove it, and the next run writes it anew."
        ) from error
    if version > _VERSION:
        raise StoreError(f"{path}: was written by a newer railwatch; please upgrade railwatch.")
    try:
        config = RunConfig.from_table(table, str(path))
    except InputError as error:
        raise StoreError(str(error)) from error
    return StoredArea(name, title, _area(_version_path(folder, digest)), config)


def _area(path: Path) -> AreaOfInterest:
    try:
        return area_from_document(read_document(path), path)
    except AreaError as error:
        raise StoreError(str(error)) from error


def _write(path: Path, content: Mapping[str, Any]) -> bool:
    """Write a JSON file, unless it holds just that; return whether it was written."""
    text = (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
    if path.is_file() and path.read_bytes() == text:
        return False
    write_bytes(path, text)
    return True


def _without_time(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_bytes())
    return {key: value for key, value in content.items() if key != "saved"}
