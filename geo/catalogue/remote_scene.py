"""One acquisition as an archive offers it, and which of several offers of it to read."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from geo.catalogue.stac_search import footprint, time_of
from geo.errors import SceneError
from geo.sentinel2.acquisition import same_acquisition
from geo.sentinel2.formats.product import Clock, acquisition_id
from geo.sentinel2.formats.product_names import TEN_METRE_BANDS
from geo.sentinel2.formats.stac_item import ItemMetadata, item_metadata

if TYPE_CHECKING:
    from aoi import AreaOfInterest
    from geo.catalogue.profiles import Collection


_LEVELS = {"L2A": 0, "L1C": 1}
_SAME_SHARE = 0.01
_WHOLE_SHARE = 0.99  # so much of an area on one tile is enough
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class RemoteScene:
    """One item of an archive that can be read.

    Attributes:
        item: Its JSON.
        collection: Where it was found.
        platform: "Sentinel-2A", "WorldView-3", ...
        datetime: UTC; see ``clock``.
        clock: As of `geo.sentinel2.formats.product.Product`.
        relative_orbit: Of Sentinel-2, or None.
        shown: Fraction (0 to 1) of the area's boundary that the item says it shows.
        edge_deg: How far inside the item's footprint the area lies, degrees; negative where it is cut.
        metadata: Of a Sentinel-2 item.
        image: Name of the asset to read, of a fine item.
    """

    item: Mapping[str, Any] = field(repr=False)
    collection: Collection
    platform: str
    datetime: dt.datetime
    clock: Clock
    relative_orbit: int | None
    shown: float
    edge_deg: float
    metadata: ItemMetadata | None = field(default=None, repr=False)
    image: str | None = None

    @property
    def id(self) -> str:
        """The archive's id, made printable: for sentences."""
        text = str(self.item.get("id", ""))
        return "".join(one if one.isprintable() else "?" for one in text)[:200]

    @property
    def acquisition(self) -> str:
        """Id by platform, time and orbit: S2A_20231005T021001_R003."""
        if self.metadata is not None:
            return acquisition_id(self.platform, self.datetime, self.relative_orbit, self.clock)
        return f"{self.platform}_{self.datetime:%Y%m%dT%H%M%S}"

    @property
    def stem(self) -> str:
        """A name for its files, made of what is understood of it and never of an archive's own text."""
        parts = [self.acquisition]
        if self.metadata is not None:
            parts += [self.metadata.tile or "", self.metadata.level]
        return _UNSAFE.sub("-", "_".join(part for part in parts if part)).strip(".-") or "scene"

    @property
    def attribution(self) -> str:
        """What has to stand beside a picture of it."""
        return self.collection.attribution.format(year=self.datetime.year)


@dataclass(frozen=True)
class LeftOut:
    """An item that isn't read.

    Attributes:
        id: The archive's.
        reason: Why not, in one sentence.
    """

    id: str
    reason: str


def scenes_of(
    items: Sequence[Mapping[str, Any]], collections: Sequence[Collection], area: AreaOfInterest
) -> tuple[list[RemoteScene], list[LeftOut]]:
    """Understand items.

    Args:
        items: As `geo.catalogue.stac_search.search` gives them.
        collections: That were searched, in the order of preference.
        area: In longitude and latitude.

    Returns:
        The scenes, and the items that can't be understood.
    """
    by_id = {one.id: one for one in collections}
    scenes, left = [], []
    for item in items:
        collection = by_id.get(str(item.get("collection")))
        if collection is None and "*" in by_id:
            # of a catalogue without collections that we know
            named = str(item["properties"].get("platform")).lower().startswith("sentinel-2")
            collection = by_id["sentinel-2-l2a" if named else "*"]
        name = str(item.get("id", ""))
        try:
            if collection is None:
                raise SceneError("is of a collection that nobody asked for")
            read = _sentinel2 if collection.kind == "sentinel-2" else _fine
            scenes.append(read(item, collection, *_place(item, area)))
        except SceneError as error:
            left.append(LeftOut(name, f"it {error}."))
        except Exception as error:  # an item may be odd in any way, and must not stop the rest
            left.append(LeftOut(name, f"it can't be understood ({type(error).__name__})."))
    return scenes, left


def _place(item: Mapping[str, Any], area: AreaOfInterest) -> tuple[float, float]:
    shape = footprint(item)
    if shape is None:
        raise SceneError("doesn't say where it lies")
    fraction = float(shape.intersection(area.boundary).area / area.boundary.area)
    edge = float(shape.boundary.distance(area.boundary)) if shape.contains(area.boundary) else fraction - 1.0
    return fraction, edge


def _sentinel2(item: Mapping[str, Any], collection: Collection, shown: float, edge: float) -> RemoteScene:
    metadata = item_metadata(item)
    assets = metadata.assets if _whole(metadata.assets) else metadata.originals
    if not _whole(assets):
        missing = [band for band in TEN_METRE_BANDS if band not in assets]
        raise SceneError(f"has no image of {', '.join(missing)}")
    return RemoteScene(
        item,
        collection,
        metadata.platform,
        metadata.datetime,
        metadata.clock,
        metadata.relative_orbit,
        shown,
        edge,
        metadata,
    )


def _whole(assets: Mapping[str, Any]) -> bool:
    return all(band in assets for band in TEN_METRE_BANDS)


def _fine(item: Mapping[str, Any], collection: Collection, shown: float, edge: float) -> RemoteScene:
    properties, assets = item["properties"], item["assets"]
    image = next(
        (name for name in collection.assets if isinstance((assets.get(name) or {}).get("href"), str)), None
    )
    if image is None:
        raise SceneError(f"has no image under the names {', '.join(collection.assets)}")
    when = time_of(item)
    if when is None:
        raise SceneError("doesn't say when it was taken")
    when = when.replace(microsecond=0)
    platform = str(properties.get("platform") or collection.sensor or collection.id)
    return RemoteScene(
        item, collection, _UNSAFE.sub("-", platform)[:40], when, "datatake", None, shown, edge, None, image
    )


def choose(
    scenes: Sequence[RemoteScene], collections: Sequence[Collection]
) -> tuple[list[tuple[RemoteScene, ...]], list[LeftOut]]:
    """Choose what to read of each acquisition: by what the items say, before a byte of pixels is read.

    The best item is the one that shows most of the area, then level 2A before 1C, then the archive's better
    collection, then the newest processing baseline, then the one in whose middle the area lies. A fine image
    that was cut into tiles is read from all of them.

    Args:
        scenes: In any order.
        collections: In the order of preference.

    Returns:
        The scenes to read, by time: one each, or the tiles of one; and those that are left out.
    """
    preference = {one.id: number for number, one in enumerate(collections)}

    def rank(one: RemoteScene) -> tuple[Any, ...]:
        data = one.metadata
        baseline = tuple(-int(part) for part in (data.baseline or "0").split(".")) if data else ()
        generated = data.generated.timestamp() if data and data.generated else 0.0
        return (
            -round(one.shown / _SAME_SHARE),
            _LEVELS.get(data.level, 2) if data else 0,
            preference.get(one.collection.id, len(preference)),
            baseline,
            -round(one.edge_deg, 3),
            -generated,
            one.id,
        )

    chosen: list[tuple[RemoteScene, ...]] = []
    left: list[LeftOut] = []
    for together in same_acquisition(sorted(scenes, key=lambda one: one.id)):
        best, *others = sorted(together, key=rank)
        taken = [best]
        if best.metadata is None and best.shown < _WHOLE_SHARE:
            taken += [one for one in others if one.metadata is None and one.shown > 0.0]
        chosen.append(tuple(taken))
        left += [LeftOut(one.id, _reason(one, best)) for one in others if one not in taken]
    return sorted(chosen, key=lambda one: (one[0].datetime, one[0].id)), left


def _reason(one: RemoteScene, best: RemoteScene) -> str:
    same = f"it is the same acquisition as {best.id}, which"
    if round(one.shown / _SAME_SHARE) < round(best.shown / _SAME_SHARE):
        return f"{same} shows more of the area."
    if one.metadata is not None and best.metadata is not None:
        if one.metadata.level != best.metadata.level:
            return f"{same} is of level {best.metadata.level[1:]}."
        if one.collection.id != best.collection.id:
            return f"{same} is of the better collection {best.collection.id}."
        if one.metadata.baseline != best.metadata.baseline:
            return f"{same} has the newer processing baseline {best.metadata.baseline}."
    return f"{same} shows the area further from its edge."
