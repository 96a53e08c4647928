"""Is a store sound? Every item, its files with their hashes, every chip, and what killed writers left.

Looking changes nothing. Repairing deletes nothing that was stored: what is damaged is set aside under a
hidden name (``.damaged-...``) beside its place, so that the next run makes it anew where it can; temporary
files of writers that have ended are removed, and the index is made anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aoi.files import sweep
from railwatch.errors import StoreError
from railwatch.store.index import COLLECTION
from railwatch.store.store import ASIDE, DETECTIONS, MULTIHASH_SHA256, Fault, Store

__all__ = ["StoreCheck", "check_store"]

log = logging.getLogger(__name__)


@dataclass
class StoreCheck:
    """What a check found.

    Attributes:
        path: The store.
        items: Observations that are sound.
        chips: Sentinel-2 acquisitions that are sound.
        faults: What is damaged.
        swept: Temporary files and folders that were removed.
        repaired: Whether what is damaged was set aside.
    """

    path: Path
    repaired: bool
    items: int = 0
    chips: int = 0
    faults: list[Fault] = field(default_factory=list)
    swept: list[Path] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether nothing damaged is left in its place."""
        return all(one.aside is not None for one in self.faults)

    def to_json(self) -> dict[str, Any]:
        """Return it as ``railwatch store check --json`` prints it."""
        return {
            "store": str(self.path),
            "sound": self.sound,
            "items": self.items,
            "chips": self.chips,
            "damaged": [one.to_json() for one in self.faults],
            "swept": [str(path) for path in self.swept],
            "repaired": self.repaired,
        }


def check_store(path: str | Path, *, repair: bool = False) -> StoreCheck:
    """Read all of a store and say what is damaged.

    Args:
        path: The store's folder.
        repair: Set what is damaged aside, remove what killed writers left, and make the index anew.

    Raises:
        StoreError: There is no store, a newer railwatch wrote it, or nothing can be set aside in it.
    """
    store = Store.open(path, create=False, tidy=repair)
    found = StoreCheck(store.path, repair)
    _check_items(store, found)
    _check_chips(store, found)
    _check_index(store, found)
    if repair:
        folders = (store.path, store.path / "items", store.charts, store.reports)
        for folder in (*folders, *sorted((store.path / "chips").glob("*"))):
            found.swept += sweep(folder)
        store.refresh()
    return found


def _check_items(store: Store, found: StoreCheck) -> None:
    known = {one.id for one in store.observations(superseded=True)}
    for one in store.damaged:
        _take(found, one.path.parent, one.reason)
    for id in sorted(known):
        faults = list(_asset_faults(store, id))
        for path, reason in faults:
            _take(found, path, reason)
        found.items += not faults
    for review in store.observations(superseded=True):
        if review.review_of is not None and review.review_of not in known:
            reason = f"it corrects {review.review_of}, which isn't here"
            found.faults.append(Fault(store.path / "items" / review.id, reason))


def _asset_faults(store: Store, id: str) -> Iterator[tuple[Path, str]]:
    """The files of an item that aren't what it says of them."""
    for name, asset in sorted(store.item(id).assets.items()):
        path = store.path / "items" / id / Path(asset.href).name
        if not path.exists():
            if not any(path.parent.glob(f"{ASIDE}*{path.name}")):
                yield path, "it is missing"
            continue
        if store.asset(id, name) is None:
            yield path, "it is a link out of the store"
            continue
        try:
            content = path.read_bytes()
        except OSError as error:
            yield path, f"it can't be read ({error.strerror})"
            continue
        said = str(asset.extra_fields.get("file:checksum", ""))
        if said and said != MULTIHASH_SHA256 + hashlib.sha256(content).hexdigest():
            yield path, "its content isn't what was written (its hash differs)"
        elif name == DETECTIONS:
            try:
                store.detections(id)
            except StoreError as error:
                yield path, str(error).removeprefix(f"{path} ")


def _check_chips(store: Store, found: StoreCheck) -> None:
    folders = sorted((store.path / "chips").glob("*"))
    if not folders:
        return
    from railwatch.store.chips import chip_fault

    for folder in folders:
        for path in sorted(folder.glob("[!.]*.tif")):
            fault = chip_fault(path)
            if fault is None:
                found.chips += 1
            else:
                _take(found, path, fault)
        for path in sorted(folder.glob("[!.]*.json")):
            if not _is_json(path):
                _take(found, path, "it isn't JSON; it is made anew from the chips")


def _check_index(store: Store, found: StoreCheck) -> None:
    path = store.path / COLLECTION
    if not path.is_file():
        found.faults.append(Fault(path, "the index is missing", path if found.repaired else None))
        return
    try:
        links = [one["href"] for one in json.loads(path.read_bytes())["links"] if one["rel"] == "item"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        found.faults.append(Fault(path, "the index isn't JSON", path if found.repaired else None))
        return
    held = {f"./items/{one.id}/{one.id}.json" for one in store.observations(superseded=True)}
    if set(links) != held:
        log.info("%s is behind the items by %d", path, len(held ^ set(links)))


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return True


def _take(found: StoreCheck, path: Path, reason: str) -> None:
    """Note a fault, and set it aside if the store is to be repaired."""
    aside = None
    if found.repaired and (path.exists() or path.is_symlink()):
        aside = path.with_name(f"{ASIDE}{secrets.token_hex(4)}-{path.name}")
        try:
            path.rename(aside)
        except OSError as error:
            raise StoreError(f"{path} can't be set aside ({error.strerror}).") from error
    found.faults.append(Fault(path, reason, aside))
