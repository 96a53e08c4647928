"""Products as they were opened before, so that an archive that hasn't changed is listed without reading it.

Opening a product reads its XML or item and the header of an image, some milliseconds each. What came of it
is kept by the place of the product, beside size and time of modification of every file that was asked for
and the names of those around it. Where one of them differs the product is read again. What couldn't be used
is never kept: it is read anew each time, since what was wrong may be mended without a trace in the files.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError

from aoi.files import real_path, write_bytes
from geo.errors import Refusal
from geo.file_tree import FileTree, FolderFileTree
from geo.sentinel2.formats.raster_band import Band

if TYPE_CHECKING:
    from geo.sentinel2.formats.product import Product


log = logging.getLogger(__name__)

_VERSION = 3
_MOST_PARTS = 20_000
_HERE = "<tree>"  # stands for the tree's own path, so that the file doesn't tell where folders lie
# Fields of a product that JSON keeps as they are.
_PLAIN = (
    *("part", "kind", "level", "platform", "clock", "relative_orbit", "baseline", "tile", "acquisition"),
    *("sun_azimuth_deg", "sun_elevation_deg"),
)
Stamp = tuple[int, int] | None


@dataclass
class Opened:
    """What came of a tree, or of a part of it.

    Attributes:
        products: Those that can be used.
        refusals: Those that can't.
        taken: Names of files that belong to them and that nobody else shall take up.
    """

    products: list[Product] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)

    def add(self, other: Opened) -> None:
        """Put another part's to it."""
        self.products += other.products
        self.refusals += other.refusals
        self.taken |= other.taken


class _WatchedTree(FolderFileTree):
    """A folder that remembers which files were asked for, as they were just before."""

    asked: dict[str, Stamp]

    def __init__(self, tree: FolderFileTree) -> None:
        vars(self).update(vars(tree), asked={})  # what was walked needn't be walked again

    def has(self, name: str) -> bool:
        self.note(name)
        return super().has(name)

    def read(self, name: str) -> bytes:
        self.note(name)
        return super().read(name)

    def gdal(self, name: str) -> str:
        self.note(name)
        return super().gdal(name)

    def note(self, name: str) -> None:
        if name not in self.asked:
            self.asked[name] = _stamp(self.path / name)


class MetadataCache:
    """What was opened before, in a file.

    Args:
        file: Where it is kept; without one nothing is. One that is damaged, or by another version, counts as
            empty.
        made_by: Version of the program: what another one has opened is read again.
    """

    def __init__(self, file: Path | None = None, made_by: str = "") -> None:
        self.file = file
        self._made_by = f"{_VERSION} {made_by}"
        self._known: dict[str, Any] = {} if file is None else self._read(file)
        self._used: dict[str, Any] = {}
        self._changed = False

    def opened(
        self,
        tree: FileTree,
        part: str,
        names: Iterable[str],
        work: Callable[[FileTree], Opened],
        *,
        contents: bool = False,
    ) -> Opened:
        """What a part of a tree holds: as it was opened before, or by opening it now.

        Args:
            tree: The files.
            part: Tells the parts of a tree from each other.
            names: Those that the part is made of or is chosen among; another name there is another part.
            work: Opens it; whatever it asks the tree for is remembered.
            contents: Whether all of ``names`` must be unchanged, and not only those that were asked for.
        """
        if self.file is None or not isinstance(tree, FolderFileTree):
            return work(tree)  # a zip is a part of the folder that it lies in
        listed = tuple(names)
        key = _digest(f"{real_path(tree.path)}\n{tree.deep} {part}")
        digest = _digest("\n".join(listed))
        entry = self._known.get(key)
        if entry is not None:
            found = _unchanged(entry, digest, tree)
            if found is not None:
                self._used[key] = entry
                return found
        watched = _WatchedTree(tree)
        if contents:
            for name in listed:
                watched.note(name)
        result = work(watched)
        if result.refusals:
            return result
        said = {
            "names": digest,
            "files": watched.asked,
            "taken": sorted(result.taken),
            "products": [_to_json(one, str(tree.path)) for one in result.products],
        }
        self._used[key] = said
        self._changed = True
        return result

    def save(self) -> None:
        """Keep what was used; a folder that can't be written to costs a reading the next time, no more."""
        if self.file is None or not self._changed:
            return
        # Other folders' products may be wanted the next time.
        kept = {**self._known, **self._used}
        if len(kept) > _MOST_PARTS:
            kept = self._used
        try:
            write_bytes(self.file, json.dumps({"made_by": self._made_by, "parts": kept}).encode())
        except OSError as error:
            log.debug("%s can't be written: %s", self.file, error)

    def _read(self, file: Path) -> dict[str, Any]:
        try:
            content = json.loads(file.read_bytes())
            if content["made_by"] != self._made_by:
                return {}
            return dict(content["parts"])
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            log.debug("%s can't be used and is made anew: %s", file, error)
            return {}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:32]


def _stamp(path: Path) -> Stamp:
    """Size and time of modification of a file; None where there is none."""
    try:
        about = path.stat()
    except (OSError, ValueError):
        return None
    return about.st_size, about.st_mtime_ns


def _unchanged(entry: Mapping[str, Any], digest: str, tree: FileTree) -> Opened | None:
    """What is kept of a part, None if its files have changed or the entry is damaged."""
    try:
        if entry["names"] != digest:
            return None
        for name, known in entry["files"].items():
            now = _stamp(tree.path / name)
            if (None if now is None else list(now)) != (None if known is None else list(known)):
                return None
        products = [_from_json(one, str(tree.path)) for one in entry["products"]]
        return Opened(products, [], {str(name) for name in entry["taken"]})
    except (KeyError, TypeError, ValueError, AttributeError, CRSError) as error:
        log.debug("an entry of %s is damaged: %s", tree.path, error)
        return None


def _to_json(product: Product, top: str) -> dict[str, Any]:
    """A product as plain JSON values, its paths relative to the tree's."""

    def short(path: object) -> str:
        return str(path).replace(top, _HERE)

    def band(one: Band | None) -> list[Any] | None:
        if one is None:
            return None
        return [one.name, short(one.path), one.index, one.scale, one.offset, list(one.nothing)]

    # Most files lie deep below the same few folders.
    folders: dict[str, list[str]] = {}
    for file in product.files:
        folders.setdefault(short(file.parent), []).append(file.name)
    return {
        **{name: getattr(product, name) for name in _PLAIN},
        "path": short(product.path),
        "datetime": product.datetime.isoformat(),
        "crs": product.crs.to_wkt(),
        "transform": list(product.transform)[:6],
        "shape": list(product.shape),
        "bands": [band(one) for one in product.bands.values()],
        "classes": band(product.classes),
        "generated": None if product.generated is None else product.generated.isoformat(),
        "files": folders,
        "provenance": {**product.provenance, "file": short(product.provenance.get("file", ""))},
        "frames": [_to_json(one, top) for one in product.frames],
    }


def _from_json(values: Mapping[str, Any], top: str) -> Product:
    """A product from plain JSON values."""
    from geo.sentinel2.formats.product import Product  # most folders hold none

    def whole(path: str) -> str:
        return path.replace(_HERE, top)

    def band(one: Sequence[Any]) -> Band:
        name, path, index, scale, offset, nothing = one
        return Band(name, whole(path), index, scale, offset, tuple(nothing))

    generated = values["generated"]
    folders = {Path(whole(folder)): names for folder, names in values["files"].items()}
    return Product(
        **{name: values[name] for name in _PLAIN},
        path=Path(whole(values["path"])),
        datetime=dt.datetime.fromisoformat(values["datetime"]),
        crs=_crs(values["crs"]),
        transform=Affine(*values["transform"]),
        shape=(int(values["shape"][0]), int(values["shape"][1])),
        bands={str(one[0]): band(one) for one in values["bands"]},
        classes=None if values["classes"] is None else band(values["classes"]),
        generated=None if generated is None else dt.datetime.fromisoformat(generated),
        files=tuple(folder / name for folder, names in folders.items() for name in names),
        provenance={**values["provenance"], "file": whole(values["provenance"]["file"])},
        frames=tuple(_from_json(one, top) for one in values["frames"]),
    )


@lru_cache(maxsize=64)
def _crs(text: str) -> CRS:
    return CRS.from_wkt(text)
