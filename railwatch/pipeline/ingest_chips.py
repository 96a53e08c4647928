"""From Sentinel-2 products to the acquisitions of an area: each one once, its pixels kept in the store.

Products of one acquisition come in different runs, from different publishers, in any order. What the store
holds is grouped with what is given, so that the same product is chosen in the end whichever came first.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affine import Affine
from rasterio.crs import CRS

from aoi.errors import InputError
from geo.sentinel2.acquisition import Acquisition, group
from geo.sentinel2.constellation import CONSTELLATIONS, Constellation, constellation_of
from geo.sentinel2.formats.product import Product
from geo.sentinel2.formats.raster_band import Band
from railwatch.errors import StoreError
from railwatch.pipeline.find_scenes import Skipped, unexpected, without_path
from railwatch.store.chips import CLASSES, OFFSET, SCALE, ChipStore, StoredChip
from railwatch.store.observation import iso

if TYPE_CHECKING:
    from aoi import AreaOfInterest
    from geo.sentinel2.chip import Chip

__all__ = ["Date", "by_constellation", "described", "gather", "state_of"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Date:
    """One acquisition of an area, with its pixels in the store.

    Attributes:
        kept: Its chip.
        aliases: Ids that the same acquisition went by in products that know less of it.
        given: Whether one of its products is among the inputs; else it comes from the store alone.
    """

    kept: StoredChip
    aliases: tuple[str, ...]
    given: bool


def by_constellation(products: Sequence[Product]) -> list[tuple[Constellation, list[Product]]]:
    """Products by the kind of their sensor, which each have chips and a history of their own."""
    found = [
        (sensor, [one for one in products if constellation_of(one.platform) is sensor])
        for sensor in CONSTELLATIONS
    ]
    return [(sensor, own) for sensor, own in found if own]


def gather(
    products: Sequence[Product],
    area: AreaOfInterest,
    chips: ChipStore,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[Date], list[Skipped]]:
    """Keep the best product of every acquisition, and return all that the store then has of the area.

    Args:
        products: Those given, in any order, all of one sensor.
        area: In longitude and latitude.
        chips: Of the area and the sensor.
        progress: Told of every acquisition.

    Returns:
        The dates, oldest first, and the products that weren't taken, with the reason.

    Raises:
        StoreError: If a chip can't be written.
    """
    skipped: list[Skipped] = []
    stored = _stored(chips)
    asked: dict[str, Product] = {}
    for product in products:
        if product.shown(area) <= 0.0:
            skipped.append(Skipped(product.path, f"it doesn't touch the area {area.name}.", readable=True))
            continue
        twin = asked.setdefault(state_of(described(product)), product)
        if twin is not product:
            reason = f"it is the same product as {twin.path}, and each counts once."
            skipped.append(Skipped(product.path, reason, readable=True))
    new = {_key(one): one for state, one in asked.items() if state not in stored}
    # A file that was written anew in place stands for what the store had of it.
    renewed = {_place_of(described(one)) for one in new.values()}
    held = {_key(one): kept for one, kept in stored.values() if _place_of(kept.product) not in renewed}
    given = {_key(stored[state][0]) for state in asked if state in stored} | set(new)
    # The store holds each acquisition once: only what may be of one with a new product is grouped again.
    near = [one for one, _ in stored.values() if _key(one) in held and _near(one, new.values())]
    apart = held.keys() - {_key(one) for one in near}
    dates = [Date(held[key], tuple(_aliases(held[key])), key in given) for key in apart]
    acquisitions = group([*new.values(), *near], area)
    for number, acquisition in enumerate(acquisitions):
        progress(number, len(acquisitions))
        dates += _date(acquisition, new, held, given, chips, skipped)
    progress(len(acquisitions), len(acquisitions))
    before = {kept.content for _, kept in stored.values()}
    dates = _mended(_apart(dates, before, new.values(), skipped), before, chips)
    return sorted(dates, key=lambda one: (one.kept.datetime, one.kept.id)), skipped


_Key = tuple[Path, str]


@lru_cache(maxsize=20_000)
def _remembered(kept: StoredChip) -> tuple[str, Product]:
    """A chip's product and the state that it was in: asked of all chips of an area with every scene."""
    return state_of(kept.product), _product(kept)


_NEAR = dt.timedelta(days=1, hours=12)


def _near(one: Product, others: Iterable[Product]) -> bool:
    """Whether a product may be of one acquisition with one of others, of which some tell but the day."""
    return any(abs(one.datetime - other.datetime) <= _NEAR for other in others)


def _key(product: Product) -> _Key:
    return product.path, product.part


def _stored(chips: ChipStore) -> dict[str, tuple[Product, StoredChip]]:
    """The chips of the store as products, by the state that these were in.

    A kill may leave a chip beside the one that took its place: that one knows the other's name.
    """
    found: dict[str, tuple[Product, StoredChip]] = {}
    ordered = sorted(chips.kept(), key=lambda one: (len(_aliases(one)), one.datetime, one.id))
    replaced: set[str] = set()
    for kept in reversed(ordered):
        if kept.id in replaced:
            continue
        replaced |= set(_aliases(kept))
        try:
            state, product = _remembered(kept)
            found.setdefault(state, (product, kept))
        except (KeyError, TypeError, ValueError) as error:
            log.warning("%s is left out: it doesn't say what product it is of (%s)", kept.path, error)
    return found


def _date(
    acquisition: Acquisition,
    new: Mapping[_Key, Product],
    held: Mapping[_Key, StoredChip],
    given: set[_Key],
    chips: ChipStore,
    skipped: list[Skipped],
) -> list[Date]:
    """Take the best product that can be read; empty if none can."""
    members = acquisition.candidates()
    names = {held[key].id for one in members if (key := _key(one)) in held}
    names |= {alias for one in members if (key := _key(one)) in held for alias in _aliases(held[key])}
    aliases = sorted(names - {acquisition.id})
    failed: set[_Key] = set()
    taken: StoredChip | None = None
    for product in members:
        key = _key(product)
        try:
            if key not in held:
                taken = chips.add(_read(product, chips), described(product, new[key], aliases))
            else:
                taken = _agreed(held[key], product, aliases, chips)
        except StoreError:
            raise
        except InputError as error:
            failed.add(key)
            skipped.append(Skipped(product.path, without_path(error, product.path)))
        except Exception as error:  # one product must not end a night's work
            log.debug("%s", product.path, exc_info=True)
            failed.add(key)
            skipped.append(Skipped(product.path, unexpected(error)))
        else:
            break
    for product, reason in acquisition.others:
        key = _key(product)
        if key not in held and key not in failed:
            skipped.append(Skipped(product.path, reason, readable=True))
    if taken is None:
        return []
    for one in members:
        loser = held.get(_key(one))
        if loser is not None and loser.path != taken.path:
            loser.path.unlink(missing_ok=True)
    return [Date(taken, tuple(aliases), any(_key(one) in given for one in members))]


def _apart(
    dates: Sequence[Date], before: set[str], new: Iterable[Product], skipped: list[Skipped]
) -> list[Date]:
    """Leave out new dates that have the same pixels: a copy, and nothing tells which day is the image's.

    Args:
        dates: All of them.
        before: Contents of the chips that the store held before this call.
        new: The products that were read now.
        skipped: Gets those left out.
    """
    twins: dict[str, list[Date]] = {}
    for one in dates:
        if one.kept.content not in before and one.kept.pixels:
            twins.setdefault(one.kept.pixels, []).append(one)
    paths = {one.path.name: one.path for one in new}
    gone: set[str] = set()
    for alike in (each for each in twins.values() if len(each) > 1):
        for one in alike:
            other = next(each for each in alike if each is not one)
            name = str(one.kept.product["name"])
            reason = (
                f"it has the same pixels as {other.kept.product['name']} of {other.kept.datetime.date()}, "
                "and nothing tells which of the two days is the image's."
            )
            skipped.append(Skipped(paths.get(name, Path(name)), reason))
            one.kept.path.unlink(missing_ok=True)
            gone.add(one.kept.content)
    return [one for one in dates if one.kept.content not in gone]


def _mended(dates: Sequence[Date], before: set[str], chips: ChipStore) -> list[Date]:
    """Let an image that is now said to be of another date leave the one that it was said to be of.

    Args:
        dates: All of them.
        before: Contents of the chips that the store held before this call.
        chips: The store's.
    """
    fresh = {one.kept.pixels: one for one in dates if one.kept.content not in before and one.kept.pixels}
    kept = []
    for one in dates:
        now = fresh.get(one.kept.pixels)
        if now is None or now is one or one.kept.content not in before:
            kept.append(one)
            continue
        aliases = sorted({*now.aliases, one.kept.id, *one.aliases} - {now.kept.id})
        chip = chips.read_one(now.kept)
        renamed = Date(
            chips.add(chip, dict(now.kept.product) | {"aliases": aliases}), tuple(aliases), now.given
        )
        one.kept.path.unlink(missing_ok=True)
        fresh[one.kept.pixels] = renamed
        log.warning(
            "%s is now said to be of %s, and no longer of %s", now.kept.path.name, now.kept.id, one.kept.id
        )
    return [fresh.get(one.kept.pixels, one) if one.kept.content not in before else one for one in kept]


def _read(product: Product, chips: ChipStore) -> Chip:
    """The pixels of a product. Folders of whoever read it are nobody else's business."""
    chip = product.read(chips.grid)
    given = {
        name: Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
        for name, value in chip.provenance.items()
    }
    return replace(chip, provenance=given)


def _agreed(kept: StoredChip, product: Product, aliases: Sequence[str], chips: ChipStore) -> StoredChip:
    """A chip of the store under the name that its acquisition has by now."""
    if (kept.id, kept.datetime) == (product.acquisition, product.datetime):
        return kept
    chip = replace(
        chips.read_one(kept),
        id=product.acquisition,
        datetime=product.datetime,
        platform=product.platform,
        relative_orbit=product.relative_orbit,
    )
    said = {
        "datetime": iso(product.datetime),
        "clock": product.clock,
        "platform": product.platform,
        "relative_orbit": product.relative_orbit,
        "aliases": list(aliases),
    }
    return chips.add(chip, dict(kept.product) | said)


def _aliases(kept: StoredChip) -> list[str]:
    given = kept.product.get("aliases", [])
    return [str(one) for one in given] if isinstance(given, list) else []


# ---- what a chip remembers of its product ----------------------------------------------------------


def described(product: Product, own: Product | None = None, aliases: Sequence[str] = ()) -> dict[str, Any]:
    """What tells a product from others and places it among those of its acquisition, JSON-ready.

    Args:
        product: With the time and platform that all products of its acquisition agree on.
        own: The same with what it says itself.
        aliases: Ids that the acquisition went by before.
    """
    return {
        "name": product.path.name,
        **{name: getattr(product, name) for name in _AS_THEY_ARE},
        "datetime": iso(product.datetime),
        "stated": iso((own or product).datetime),
        "generated": None if product.generated is None else iso(product.generated),
        "crs": product.crs.to_wkt() if product.crs.to_epsg() is None else f"EPSG:{product.crs.to_epsg()}",
        "transform": list(product.transform)[:6],
        "shape": list(product.shape),
        "bands": {name: [band.scale, band.offset] for name, band in sorted(product.bands.items())},
        "bytes": _size(product.files),
        "aliases": list(aliases),
    }


def _size(files: Sequence[Path]) -> int:
    total = 0
    for file in files:
        with suppress(OSError):
            total += file.stat().st_size
    return total


_AS_THEY_ARE = ("part", "kind", "level", "platform", "clock", "relative_orbit", "baseline", "tile")
_PLACE = ("name", "part", "kind", "level", "stated", "tile", "baseline", "crs", "transform", "shape")


def _place_of(said: Mapping[str, Any]) -> str:
    """What stays when a product is written anew in its place."""
    return repr([said[name] for name in _PLACE])


def state_of(said: Mapping[str, Any]) -> str:
    """What changes with anything that its pixels depend on."""
    return repr([said[name] for name in (*_PLACE, "generated", "bands", "bytes")])


def _product(kept: StoredChip) -> Product:
    """A chip of the store as the product that it was read from, for taking its place among others.

    Raises:
        KeyError, TypeError, ValueError: It doesn't say enough.
    """
    said, header = kept.product, kept.chip
    names = list(header["bands"])
    bands = {
        name: Band(name, str(kept.path), number, SCALE, OFFSET)
        for number, name in enumerate(names, start=1)
        if name != CLASSES
    }
    generated = said["generated"]
    return Product(
        path=kept.path.with_suffix("") / str(said["name"]),
        **{name: said[name] for name in _AS_THEY_ARE},
        datetime=dt.datetime.fromisoformat(said["datetime"]),
        crs=CRS.from_user_input(said["crs"]),
        transform=Affine(*said["transform"]),
        shape=(int(said["shape"][0]), int(said["shape"][1])),
        bands=bands,
        classes=Band(CLASSES, str(kept.path), len(names)) if CLASSES in names else None,
        sun_azimuth_deg=header["sun_azimuth_deg"],
        sun_elevation_deg=header["sun_elevation_deg"],
        generated=None if generated is None else dt.datetime.fromisoformat(generated),
        provenance=dict(header["provenance"]),
        acquisition=kept.id,
    )
