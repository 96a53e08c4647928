"""The store: a folder of observations that is also a static STAC Collection.

Layout::

    STORE/collection.json                     links, extent, format version; rebuilt from the items
    STORE/index.parquet                       all items in one file; see `railwatch.store.index`
    STORE/items/<id>/<id>.json                one STAC Item an observation
    STORE/items/<id>/detections.parquet       its boxes (GeoParquet), when there are any to keep
    STORE/items/<id>/evidence.png             its picture (or .webp)
    STORE/items/<id>/image.webp               the same ground without drawings, where wagons were outlined
    STORE/areas/<name>/                       its versions and settings; see `railwatch.store.areas`
    STORE/chips/                              pixels of Sentinel-2 acquisitions; see `railwatch.store.chips`
    STORE/charts/                             drawings of the last run
    STORE/reports/                            its page, one an area

An item's folder is written under a temporary name, flushed, and renamed into place, so a kill at any
moment leaves the whole item or none. No lock guards the items: an item's name is the digest of the work
that made it, so two processes that write the same name write the same result, and the second one finds
the folder taken and drops its own. ``collection.json`` is only an index for other STAC readers, and any
process can rebuild it; railwatch itself lists the folder, so a stale index never hides an observation.

An item that can't be read (a disk fault, an edit gone wrong) is named in `Store.damaged` and in a
warning, and doesn't stop the rest; when the work is done again, the damaged folder is set aside under
``items/.damaged-...`` and never deleted.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import filelock
import pystac
import shapely

from aoi.files import fsync_folder, sweep, temporary_beside, write_bytes
from geo.file_tree import STORE_KEY
from railwatch.errors import StoreError, said
from railwatch.store.areas import area_files, keep_area
from railwatch.store.georeference import georeference_of
from railwatch.store.index import (
    COLLECTION,
    COLLECTION_ID,
    INDEX,
    json_text,
    read_index,
    read_stamps,
    write_collection,
    write_index,
)
from railwatch.store.observation import FORMAT_VERSION, PREFIX, Observation, current, slug
from railwatch.store.remote import Mirror, as_url, shown

if TYPE_CHECKING:
    import geopandas as gpd

    from aoi import AreaOfInterest
    from detector.wagons.detections import Detections
    from railwatch.config import RunConfig

__all__ = ["DETECTIONS", "EVIDENCE", "IMAGE", "Fault", "Store"]

log = logging.getLogger(__name__)

T = TypeVar("T")

DETECTIONS = "detections"
EVIDENCE = "evidence"
IMAGE = "image"
PRODUCTS = ".products.json"
"""What the metadata of Sentinel-2 products said. It is about this machine's folders, and so it begins with a
dot: a store behind a URL doesn't get it."""
_PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"

ASIDE = ".damaged-"
_LOCK_PATIENCE_S = 60
_WORTH_AN_INDEX = 400
MULTIHASH_SHA256 = "1220"  # the file extension wants multihashes: code 0x12, 32 bytes

_MEDIA = {
    ".parquet": "application/vnd.apache.parquet",
    ".png": "image/png",
    ".webp": "image/webp",
}


@dataclass(frozen=True)
class Fault:
    """Something in a store that is damaged.

    Attributes:
        path: The file or folder.
        reason: What is wrong with it, in half a sentence.
        aside: Where it was set aside; None where it wasn't.
    """

    path: Path
    reason: str
    aside: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        aside = None if self.aside is None else str(self.aside)
        return {"path": str(self.path), "reason": self.reason, "set_aside": aside}


@dataclass
class Store:
    """A folder of observations; make one with `Store.open`.

    Of a store behind a URL the items' JSON is brought here when it is opened or listed; pictures and boxes
    when they are asked for; the pixels of Sentinel-2 dates by `pull`. What is made here goes there by `push`.

    Attributes:
        path: The folder.
        damaged: The items that the last listing couldn't read.
        mirror: Between the folder and the URL that it stands for, or None.
    """

    path: Path
    damaged: tuple[Fault, ...] = ()
    mirror: Mirror | None = None
    _read: dict[str, tuple[tuple[int, int], Observation]] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, path: str | Path, create: bool = True, *, tidy: bool = True) -> Store:
        """Open a store.

        Args:
            path: The folder, or an fsspec URL such as ``s3://bucket/store``.
            create: Make it if it isn't there.
            tidy: Remove what killed writers have left.

        Raises:
            StoreError: If there is none and ``create`` is false, the path is taken by something else, a
                newer railwatch wrote it, or it can't be read or made.
        """
        url = as_url(path)
        if url is None:
            store = cls(Path(path))
            store._prepare(create=create, tidy=tidy)
            return store
        mirror = Mirror.open(url)
        mirror.pull([COLLECTION])
        known = (mirror.folder / COLLECTION).exists()
        if not known and not create:
            raise StoreError(f"There is no store at {shown(url)}; 'railwatch run' makes one.")
        mirror.pull(["items"], endings=(".json",))
        mirror.pull(["areas"])
        store = cls(mirror.folder, mirror=mirror)
        store._prepare(create=True, tidy=tidy)
        if not known:
            store.push()
        return store

    def _prepare(self, *, create: bool, tidy: bool) -> None:
        """Make the folder if it isn't there, and check that it is a store that this railwatch knows."""
        with _explained(self.path, "open"):
            if self.path.exists() and not self.path.is_dir():
                raise StoreError(f"{self.path} is a file, so it can't be a store.")
            if not (self.path / COLLECTION).exists() and not self._items.is_dir():
                if not create:
                    raise StoreError(f"There is no store at {self.path}; 'railwatch run' makes one.")
                self._items.mkdir(parents=True)
                self.refresh()
            self._check_version()
            for folder in (self.path, self._items, self.charts, self.reports) if tidy else ():
                sweep(folder)

    @property
    def location(self) -> str:
        """What a user calls it: its path, or its URL."""
        return str(self.path) if self.mirror is None else self.mirror.url

    def pull(self) -> None:
        """Bring here what others have made, items and pixels, where the store lies elsewhere.

        Raises:
            StoreError: It can't be read.
        """
        if self.mirror is not None:
            self.mirror.pull(["items"], endings=(".json",))
            self.mirror.pull(["areas", "chips", "alerts.json", "watch.json"])

    def push(self) -> None:
        """Put there what was made here, where the store lies elsewhere.

        Raises:
            StoreError: It can't be written.
        """
        if self.mirror is not None:
            self.mirror.push()

    @property
    def charts(self) -> Path:
        """The folder for the drawings of a run."""
        return self.path / "charts"

    @property
    def reports(self) -> Path:
        """The folder for the pages of a run, one an area."""
        return self.path / "reports"

    def has(self, id: str) -> bool:
        """Return whether an observation is there and readable."""
        return self.get(id) is not None

    def get(self, id: str) -> Observation | None:
        """Return an observation by its id, or None when it isn't there or can't be read."""
        try:
            return self._observation(id)
        except (OSError, ValueError):
            return None

    def observations(self, aoi: str | None = None, *, superseded: bool = False) -> list[Observation]:
        """Return the observations, oldest first.

        Args:
            aoi: Only those of this area.
            superseded: Also those made again since with another model, area or settings; a time series
                wants each scene once, so they are left out by default (see `observation.current`).

        Returns:
            Sorted by time, then id.

        Raises:
            StoreError: If the folder can't be listed.
        """
        if self.mirror is not None:
            self.mirror.pull(["items"], endings=(".json",))
        found = self._all(aoi)
        if aoi is not None:
            found = [observation for observation in found if observation.aoi == aoi]
        return found if superseded else current(found)

    def item(self, id: str) -> pystac.Item:
        """Return the STAC Item of an observation, with its assets.

        Raises:
            StoreError: If there is none, or it can't be read.
        """
        return self._understood(id, _item_from)

    def _understood(self, id: str, read: Callable[[Path], T]) -> T:
        """What a reader makes of an observation's file.

        Raises:
            StoreError: If there is none, or it can't be read.
        """
        path = self._item_path(id)
        try:
            return read(path)
        except FileNotFoundError:
            raise StoreError(f"The store {self.path} has no observation {id}.") from None
        except (OSError, ValueError) as error:
            raise StoreError(f"{path} can't be read: {said(error)}.") from error

    def asset(self, id: str, name: str) -> Path | None:
        """Return the file of an asset (`DETECTIONS`, `EVIDENCE`), or None if the observation has none.

        Raises:
            StoreError: If there is no such observation.
        """
        # As plain JSON: an item takes ten times as long, and a page asks for the pictures of all.
        given: Any = self._understood(id, _json_from)
        for key in ("assets", name, "href"):
            given = given.get(key) if isinstance(given, Mapping) else None
        if not isinstance(given, str):
            return None
        # An item may come from somebody else: its assets lie in its own folder and nowhere else, and a link
        # doesn't make another place of it.
        path = self._items / id / Path(given).name
        if self.mirror is not None and not path.exists():
            self.mirror.pull([f"items/{id}/{path.name}"])
        if not path.is_file():
            return None
        if path.resolve() != self._items.resolve() / id / path.name:
            log.warning("%s is left out: it is a link out of the store", path)
            return None
        return path

    def detections(self, id: str) -> gpd.GeoDataFrame | None:
        """Return the boxes behind an observation in their scene's CRS, or None if none were kept.

        Raises:
            StoreError: If there is no such observation, or its file can't be read.
        """
        import geopandas as gpd
        import pyarrow as pa

        path = self.asset(id, DETECTIONS)
        if path is None:
            return None
        try:
            return gpd.read_parquet(path)
        # Arrow and shapely raise many kinds, all of which mean the same here
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException, shapely.GEOSException) as error:
            raise StoreError(f"{path} can't be read: {said(error)}.") from error

    def readable_detections(self, id: str) -> gpd.GeoDataFrame | None:
        """Return the boxes of an observation; None, with a warning, where they are damaged.

        One file that a disk has spoilt doesn't keep the others from being exported or drawn.

        Raises:
            StoreError: If there is no such observation.
        """
        try:
            return self.detections(id)
        except StoreError as error:
            if not self.has(id):
                raise
            log.warning("the boxes of %s are left out: %s", id, error)
            return None

    def add(
        self,
        observation: Observation,
        *,
        detections: Detections | None = None,
        evidence: bytes | None = None,
        image: bytes | None = None,
        refresh: bool = True,
    ) -> bool:
        """Keep an observation with its boxes and its picture: all of it or nothing.

        Args:
            observation: What to keep. If its id is there already, nothing is written.
            detections: The boxes behind it.
            evidence: A PNG or WebP picture.
            image: The same without drawings: all of the evidence's ground above its caption.
            refresh: Bring the index up to date; who adds many does so now and then with `refresh`.

        Returns:
            Whether it was written; False if it was there already.

        Raises:
            StoreError: If it can't be written. What was stored before is untouched.
        """
        if self.has(observation.id):
            return False
        with _explained(self.path, "write to"):
            self._items.mkdir(parents=True, exist_ok=True)
            folder = self._items / observation.id
            temporary = temporary_beside(folder)
            try:
                temporary.mkdir()
                _write_item(temporary, observation, detections, evidence, image)
                written = self._place(temporary, folder)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        if written and refresh:
            try:
                self.refresh()
            except StoreError as error:  # only an index: the observation itself is there and whole
                log.warning("%s", error)
        return written

    def review(
        self,
        corrected: Observation,
        *,
        detections: Detections | None = None,
        evidence: bytes | None = None,
        image: bytes | None = None,
    ) -> bool:
        """Keep a reviewer's count beside the machine's observation, never over it.

        Args:
            corrected: An observation of method ``reviewed`` whose ``review_of`` names one in this store.
            detections: The boxes as the reviewer left them.
            evidence: A PNG or WebP picture of what the reviewer saw.
            image: The same without drawings.

        Returns:
            Whether it was written; False if it was there already.

        Raises:
            StoreError: If it isn't a review, or the observation that it corrects isn't here.
        """
        if corrected.review_of is None:
            raise StoreError(f"The observation {corrected.id} doesn't say which one it corrects.")
        if not self.has(corrected.review_of):
            raise StoreError(f"The store {self.path} has no observation {corrected.review_of} to correct.")
        return self.add(corrected, detections=detections, evidence=evidence, image=image)

    def keep_area(self, area: AreaOfInterest, config: RunConfig) -> tuple[str, ...]:
        """Keep an area and the settings of a run, so that nobody needs to give them again.

        Args:
            area: In longitude and latitude.
            config: The settings.

        Returns:
            A sentence for each difference from what was kept before.

        Raises:
            StoreError: If it can't be written, or what was kept can't be read.
        """
        written, said = keep_area(self.path, area, config)
        if written:
            self.refresh()
        return said

    def refresh(self) -> None:
        """Write ``collection.json`` anew from the items.

        Raises:
            StoreError: If it can't be written. The items are untouched.
        """
        with _explained(self.path, "write to"), self._index_lock():
            observations = self._all()
            self._index(observations)
            areas = [path.relative_to(self.path) for path in area_files(self.path)]
            write_collection(self.path / COLLECTION, observations, areas)

    @property
    def _items(self) -> Path:
        return self.path / "items"

    def _item_path(self, id: str) -> Path:
        return self._items / id / f"{id}.json"

    def _all(self, aoi: str | None = None) -> list[Observation]:
        """Read every item; what can't be read is kept in `damaged` and named in a warning."""
        found, damaged = [], []
        # An id begins with the name of its area; those of areas with longer names are sorted out later.
        start = "" if aoi is None else f"{slug(aoi)}-"
        wanted = [id for id in self._ids() if id.startswith(start)]
        if not self._read and len(wanted) >= _WORTH_AN_INDEX:
            self._read = {one.id: (stamp, one) for stamp, one in read_index(self.path / INDEX, aoi)}
        for id in wanted:
            try:
                found.append(self._observation(id))
            except (OSError, ValueError) as error:
                damaged.append(Fault(self._item_path(id), said(error)))
        for one in damaged:
            if one not in self.damaged:
                log.warning("%s is left out: %s", one.path, one.reason)
        self.damaged = tuple(damaged)
        return sorted(found, key=lambda one: (one.datetime, one.id))

    def _index(self, observations: Sequence[Observation]) -> None:
        """Write the index anew when many items aren't in it."""
        if len(observations) < _WORTH_AN_INDEX:
            return
        path = self.path / INDEX
        indexed = read_stamps(path) if path.exists() else {}
        stamps = {id: known[0] for id, known in self._read.items()}
        missing = sum(indexed.get(one.id) != stamps.get(one.id) for one in observations)
        if missing >= max(_WORTH_AN_INDEX // 4, len(observations) // 50):
            write_index(path, ((stamps[one.id], one) for one in observations if one.id in stamps))

    def _ids(self) -> list[str]:
        with _explained(self.path, "read"):
            if not self._items.is_dir():
                return []
            return sorted(
                entry.name
                for entry in os.scandir(self._items)
                if entry.is_dir() and not entry.name.startswith(".")
            )

    def _observation(self, id: str) -> Observation:
        """Read one observation; an item never changes once it is in place, so it is read only once."""
        path = self._item_path(id)
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode) or path.parent.is_symlink():
            raise ValueError("it is a link out of the store")
        stamp = (status.st_mtime_ns, status.st_size)
        known = self._read.get(id)
        if known is not None and known[0] == stamp:
            return known[1]
        observation = Observation.from_item(_item_from(path))
        if observation.id != id:
            raise ValueError(f"its id is {observation.id}, not its folder's name")
        self._read[id] = (stamp, observation)
        return observation

    def _place(self, temporary: Path, folder: Path) -> bool:
        """Rename a finished item folder to its final name; False if another process was first."""
        for _ in range(3):
            try:
                temporary.rename(folder)
            except OSError:
                if not folder.exists():
                    raise
                if self.has(folder.name):
                    return False
                # It's there, and it can't be read: it makes room, but isn't thrown away.
                aside = self._items / f"{ASIDE}{folder.name}-{secrets.token_hex(4)}"
                with suppress(FileNotFoundError):  # another process did this just now
                    folder.rename(aside)
                    log.warning("%s couldn't be read and was set aside as %s", folder, aside.name)
            else:
                fsync_folder(self._items)
                return True
        raise StoreError(f"{folder} is in the way and can't be moved.")

    def _check_version(self) -> None:
        path = self.path / COLLECTION
        try:
            content = json.loads(path.read_bytes())
        except FileNotFoundError:
            content = None
        except (ValueError, RecursionError):
            log.warning("%s isn't valid JSON; it is only an index, and is made anew from the items", path)
            content = None
        if content is None:
            newest = max((_item_version(self._item_path(id)) for id in self._ids()), default=FORMAT_VERSION)
        else:
            given = content.get(STORE_KEY) if isinstance(content, dict) else None
            if not isinstance(given, int):
                raise StoreError(f"{path} is there, but railwatch didn't write it; choose another folder.")
            newest = given
        if newest > FORMAT_VERSION:
            raise StoreError(
                f"The store {self.path} was written by a newer railwatch (format {newest}; this one knows "
                f"format {FORMAT_VERSION}); please upgrade railwatch."
            )

    @contextmanager
    def _index_lock(self) -> Iterator[None]:
        """Let one process at a time rebuild the index, so that the last one to do it has seen all items.

        Some network file systems have no locks. Then the index may miss an item until the next rebuild,
        which no reader of ours minds.
        """
        lock = filelock.FileLock(self.path / ".collection.lock", timeout=_LOCK_PATIENCE_S)
        try:
            lock.acquire()
        except (filelock.Timeout, NotImplementedError) as error:
            log.warning("%s is written without its lock: %s", self.path / COLLECTION, said(error))
        try:
            yield
        finally:
            lock.release()


def _write_item(
    folder: Path,
    observation: Observation,
    detections: Detections | None,
    evidence: bytes | None,
    image: bytes | None,
) -> None:
    """Write an item's files into a folder and flush them."""
    item = observation.to_item()
    if detections is not None:
        path = folder / f"{DETECTIONS}.parquet"
        detections.write(path)
        item.add_asset(DETECTIONS, _asset(path, "Boxes of the wagons", ["data"]))
    if evidence is not None:
        path = folder / f"{EVIDENCE}{_picture_suffix(evidence)}"
        write_bytes(path, evidence)
        asset = _asset(path, "What was counted, drawn on the image", ["overview"])
        georeference = georeference_of(evidence)
        if georeference is not None:
            asset.extra_fields |= georeference.stac_fields()
            item.stac_extensions.append(_PROJECTION)
        item.add_asset(EVIDENCE, asset)
    if image is not None:
        path = folder / f"{IMAGE}{_picture_suffix(image)}"
        write_bytes(path, image)
        item.add_asset(IMAGE, _asset(path, "The image without drawings", ["visual"]))
    for relation in ("root", "parent", "collection"):
        item.add_link(pystac.Link(relation, f"../../{COLLECTION}", pystac.MediaType.JSON))
    if observation.review_of is not None:
        other = f"../{observation.review_of}/{observation.review_of}.json"
        item.add_link(pystac.Link("derived_from", other, pystac.MediaType.GEOJSON))
    item.collection_id = COLLECTION_ID
    text = json_text(item.to_dict(include_self_link=False, transform_hrefs=False))
    write_bytes(folder / f"{observation.id}.json", text)
    fsync_folder(folder)


def _asset(path: Path, title: str, roles: list[str]) -> pystac.Asset:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return pystac.Asset(
        href=f"./{path.name}",
        title=title,
        media_type=_MEDIA[path.suffix],
        roles=roles,
        extra_fields={"file:checksum": MULTIHASH_SHA256 + digest, "file:size": path.stat().st_size},
    )


def _picture_suffix(picture: bytes) -> str:
    if picture.startswith(b"\x89PNG\r\n\x1a\n"):
        return ".png"
    if picture[:4] == b"RIFF" and picture[8:12] == b"WEBP":
        return ".webp"
    raise ValueError("the evidence picture is neither PNG nor WebP")


def _json_from(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except RecursionError:
        raise ValueError("it isn't JSON that can be read: it is nested too deep") from None
    if not isinstance(content, dict):
        raise ValueError("it isn't a JSON object")
    return content


def _item_from(path: Path) -> pystac.Item:
    content = _json_from(path)
    try:
        return pystac.Item.from_dict(content)
    except Exception as error:  # pystac and dateutil raise a dozen kinds for what isn't an Item
        raise ValueError(f"it isn't a STAC Item ({said(error)})") from error


def _item_version(path: Path) -> int:
    try:
        version = json.loads(path.read_bytes())["properties"][f"{PREFIX}version"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return FORMAT_VERSION
    return version if isinstance(version, int) else FORMAT_VERSION


@contextmanager
def _explained(path: Path, verb: str) -> Iterator[None]:
    """Turn the system's refusal to read or write into one sentence."""
    try:
        yield
    except OSError as error:
        why = f"{said(error)}; what it holds is untouched."
        raise StoreError(f"Can't {verb} the store {path}: {why}") from error
