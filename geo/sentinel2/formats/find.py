"""From what a user points at to the products in it that are answered at 10 m: each once, however reached."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from aoi.files import real_path
from geo.errors import Refusal, SceneError
from geo.file_tree import FileTree, FolderFileTree, ZipFileTree, below, joined
from geo.sentinel2.formats.metadata_cache import MetadataCache, Opened
from geo.sentinel2.formats.product_names import DECLARATION, SceneFiles, aws_roots, safe_roots, strips
from geo.sentinel2.formats.recognise import recognised

if TYPE_CHECKING:
    from geo.sentinel2.formats.product import Product

log = logging.getLogger(__name__)

_ZIP_NAME = re.compile(r"(^|[_-])S2[A-D]_|\.SAFE|sentinel-?2", re.IGNORECASE)
# How far above a file its product's folder may be: X.SAFE/GRANULE/<tile>/IMG_DATA/R10m/<file>.
_DEPTH = 6
# What is known best comes first: ESA's XML, a publisher's item, a folder on AWS's pattern, a declaration.
_TRUST = {"SAFE": 0, "STAC": 1, "AWS": 2, "PSScene": 3, "export": 4}


def find_products(
    paths: Iterable[Path],
    trees: Mapping[Path, FolderFileTree] | None = None,
    cache: MetadataCache | None = None,
) -> tuple[list[Product], list[Refusal]]:
    """Find the products of Sentinel-2 and PlanetScope among files and, at any depth, in folders and zips.

    A product may be named itself, by a folder around it, or by any file in it. What is neither's (or isn't
    there) is passed over. Nothing is raised for a bad product, and nothing is fetched.

    Args:
        paths: Files and folders.
        trees: The files in those of the folders that have been walked already.
        cache: What was opened before; what is opened now is kept in it.

    Returns:
        The products, each once, by path; and what is theirs but can't be used, with the reasons.
    """
    kept = MetadataCache() if cache is None else cache
    found = Opened()
    shallow: dict[Path, Opened] = {}
    for path in paths:
        if not path.exists():
            continue
        root = _enclosing(path)
        if root is not None:
            found.add(_scan(FolderFileTree(root), kept))
        elif path.is_dir():
            found.add(_scan((trees or {}).get(path) or FolderFileTree(path), kept))
        elif path.suffix.lower() == ".zip":
            found.add(_scan_zip(path, kept))
        else:
            folder = path.parent
            if folder not in shallow:
                shallow[folder] = _scan(FolderFileTree(folder, deep=False), kept)
            found.add(_about(shallow[folder], path))
    kept.save()
    return _settled(found)


def _about(found: Opened, path: Path) -> Opened:
    """What of it has to do with one file."""
    real = real_path(path)

    def concerns(one: Product | Refusal) -> bool:
        return real in {real_path(file) for file in one.files} or real_path(one.path) == real

    return Opened(list(filter(concerns, found.products)), list(filter(concerns, found.refusals)))


def _settled(found: Opened) -> tuple[list[Product], list[Refusal]]:
    """Each once, and no pixels twice."""
    products = {(real_path(one.path), one.part): one for one in reversed(found.products)}
    refusals = {(real_path(one.path), one.reason): one for one in reversed(found.refusals)}
    kept: list[Product] = []
    owners: dict[tuple[str, int], Product] = {}
    doubtful: set[int] = set()
    for one in sorted(products.values(), key=_rank):
        pixels = {(str(real_path(Path(band.path))), band.index) for band in one.bands.values()}
        owner = next((owners[each] for each in sorted(pixels) if each in owners), None)
        if owner is None:
            kept.append(one)
            owners.update(dict.fromkeys(pixels, one))
        elif owner.kind == one.kind and owner.acquisition != one.acquisition:
            # Two dates can't have the same pixels, and nothing tells which one has them.
            doubtful |= {id(owner), id(one)}
            for each, other in ((owner, one), (one, owner)):
                reason = f"names the same image files as {other.name} of another date."
                refusals[real_path(each.path), reason] = Refusal(each.path, reason, each.files)
        else:
            log.debug("%s: has the pixels of %s", one.path, owner.path)
    # An image that nothing explains where it lies may be explained elsewhere.
    explained = {real_path(Path(band.path)) for one in kept for band in one.bands.values()}
    unexplained = (one for one in refusals.values() if real_path(one.path) not in explained)
    return (
        sorted((one for one in kept if id(one) not in doubtful), key=lambda one: (str(one.path), one.part)),
        sorted(unexplained, key=lambda one: (str(one.path), one.reason)),
    )


def _rank(product: Product) -> tuple[int, str, str]:
    return _TRUST[product.kind], str(product.path), product.part


def _enclosing(path: Path) -> Path | None:
    """The product's folder that a file or folder lies in or is, None if it doesn't."""
    place = path if path.is_dir() else path.parent
    for folder in [place, *place.absolute().parents][:_DEPTH]:
        try:
            names = tuple(one.name for one in folder.iterdir())
        except OSError:
            continue
        if safe_roots((*names, f"{folder.name}/x")).keys() & {"", folder.name} or aws_roots(names):
            return folder
    return None


def _scan(tree: FileTree, cache: MetadataCache) -> Opened:
    """All products in a folder or a zip."""
    found = Opened()
    names, taken = tree.names, found.taken
    for root, xml in sorted(safe_roots(names).items()):
        inside = below(names, root)
        found.add(cache.opened(tree, f"SAFE {root}", inside, partial(_opened_safe, root=root, xml=xml)))
        taken.update(joined(root, name) for name in inside)
    rest = [name for name in names if name not in taken]
    for scenes in strips(rest):
        inside = tuple(file.name for one in scenes for file in one.files)
        strip = f"PSScene {joined(scenes[0].folder, scenes[0].id)}"
        found.add(cache.opened(tree, strip, inside, partial(_opened_strip, scenes=scenes), contents=True))
        taken.update(inside)
    rest = [name for name in rest if name not in taken]
    for name in rest:
        if name.lower().endswith(".json"):
            found.add(cache.opened(tree, f"item {name}", (), partial(_opened_item, name=name)))
    rest = [name for name in rest if name not in taken]
    for root in aws_roots(rest):
        inside = below(names, root)
        found.add(cache.opened(tree, f"AWS {root}", inside, partial(_opened_aws, root=root)))
        taken.update(joined(root, name) for name in inside)
    rest = [name for name in rest if name not in taken]
    images = [name for name in rest if not name.lower().endswith(".zip")]
    given = (*images, f"../{DECLARATION}")  # one above counts, too
    found.add(cache.opened(tree, "exports", given, partial(_opened_exports, names=images), contents=True))
    for name in rest:
        if not name.lower().endswith(".zip"):
            continue
        if isinstance(tree, FolderFileTree):
            found.add(_scan_zip(tree.file(name), cache))
        elif _ZIP_NAME.search(name):
            reason = f"holds the zip {name.rpartition('/')[2]} inside the zip: unpack the outer one first."
            found.refusals.append(Refusal(tree.path, reason, (tree.path,)))
    return found


# A format's reader is imported when its files are there: most folders hold images alone.
def _opened_safe(tree: FileTree, root: str, xml: str | None) -> Opened:
    from geo.sentinel2.formats.safe import open_safe

    return Opened(*open_safe(tree, root, xml))


def _opened_strip(tree: FileTree, scenes: Sequence[SceneFiles]) -> Opened:
    from geo.sentinel2.formats.planetscope import open_strip

    return Opened(*open_strip(tree, scenes))


def _opened_item(tree: FileTree, name: str) -> Opened:
    from geo.sentinel2.formats.stac_item import open_items

    taken: set[str] = set()
    return Opened(*open_items(tree, [name], taken), taken)


def _opened_aws(tree: FileTree, root: str) -> Opened:
    from geo.sentinel2.formats.safe import open_aws

    return Opened(*open_aws(tree, root))


def _opened_exports(tree: FileTree, names: Sequence[str]) -> Opened:
    images = recognised(tree, names)
    if not images and not any(name.rpartition("/")[2] == DECLARATION for name in names):
        return Opened()
    from geo.sentinel2.formats.export import open_exports

    return Opened(*open_exports(tree, names, images))


def _scan_zip(path: Path, cache: MetadataCache) -> Opened:
    def scan(tree: FileTree) -> Opened:
        inside = _scan(ZipFileTree(path), MetadataCache())
        return Opened(inside.products, inside.refusals)

    folder = FolderFileTree(path.parent)
    try:
        return cache.opened(folder, f"zip {path.name}", (path.name,), scan, contents=True)
    except SceneError as error:
        if _ZIP_NAME.search(path.name):
            return Opened(refusals=[Refusal.of(path, error, (path,))])
        log.debug("%s", error)
    return Opened()
