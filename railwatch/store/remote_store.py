"""A store behind an fsspec URL, by a mirror on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from railwatch.errors import StoreError
from railwatch.store.remote import Mirror, shown
from railwatch.store.store import COLLECTION, Store

if TYPE_CHECKING:
    from railwatch.store.observation import Observation

__all__ = ["RemoteStore"]


@dataclass
class RemoteStore(Store):
    """A store behind a URL; make one with `Store.open`.

    The items' JSON is brought here when the store is opened or listed; pictures and boxes when they are asked
    for; the pixels of Sentinel-2 dates by `pull`. What is made here is put there by `push`.

    Attributes:
        mirror: The folder here and the URL.
    """

    mirror: Mirror | None = None

    @classmethod
    def open_url(cls, url: str, create: bool = True) -> RemoteStore:
        """Open a store; see `Store.open`.

        Raises:
            StoreError: If it can't be reached, there is none and ``create`` is false, or a newer railwatch
                wrote it.
        """
        mirror = Mirror.open(url)
        mirror.pull([COLLECTION])
        known = (mirror.folder / COLLECTION).exists()
        if not known and not create:
            raise StoreError(f"There is no store at {shown(url)}; 'railwatch run' makes one.")
        mirror.pull(["items"], endings=(".json",))
        mirror.pull(["areas"])
        store = cls(mirror.folder, mirror=mirror)
        store.prepare(create=True)
        if not known:
            store.push()
        return store

    @property
    def location(self) -> str:
        """The URL."""
        return self._there.url

    @property
    def _there(self) -> Mirror:
        if self.mirror is None:
            raise StoreError(f"The store at {self.path} has lost its URL.")
        return self.mirror

    def observations(self, aoi: str | None = None, *, superseded: bool = False) -> list[Observation]:
        """Return the observations that are there by now; see `Store.observations`."""
        self._there.pull(["items"], endings=(".json",))
        return super().observations(aoi, superseded=superseded)

    def asset(self, id: str, name: str) -> Path | None:
        """Return the file of an asset, which is brought here; see `Store.asset`."""
        asset = self.item(id).assets.get(name)
        if asset is None:
            return None
        return self._there.fetch(f"items/{id}/{Path(asset.href).name}")

    def pull(self) -> None:
        """Bring here what others have made: items and pixels."""
        self._there.pull(["items"], endings=(".json",))
        self._there.pull(["areas", "chips", "alerts.json", "watch.json"])

    def push(self) -> None:
        """Put there what was made here."""
        self._there.push()
