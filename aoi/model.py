"""The area of interest: a named place with its boundary, tracks, zones and masks.

Geometry is WGS84 longitude and latitude (``OGC:CRS84``) as read from a file; `AreaOfInterest.to_crs`
gives the same area in the coordinates of an image.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import pyproj
import shapely
from pyproj.exceptions import ProjError
from shapely import LineString, MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from aoi.errors import AreaError

WGS84 = "OGC:CRS84"
"""Longitude, latitude on WGS84, in this order: the only reference system of GeoJSON."""

# A straight edge on a map of degrees is no straight edge on a projected map. Edges are cut to this
# length before they are projected; what remains is under 2 cm at any latitude that has railways.
_LONGEST_EDGE_DEG = 0.01

# The digest sees a tenth of a millimetre and no more, so that a file written by another program, with
# other last digits, is still the same area.
_DIGEST_DECIMALS = 9


@dataclass(frozen=True)
class Source:
    """Where something in an area file comes from.

    Attributes:
        title: Who says it, or what it is called.
        url: Where to read it.
        licence: Terms of the data, where it has any.
        used_for: What of the area rests on it.
        date: When it was published or extracted, as written in the file.
    """

    title: str
    url: str | None = None
    licence: str | None = None
    used_for: str | None = None
    date: str | None = None

    def __str__(self) -> str:
        head = f"{self.title} ({self.date})" if self.date else self.title
        return ", ".join(part for part in (head, self.url, self.licence) if part)


class _Feature:
    """What tracks, zones and masks have in common."""

    properties: Mapping[str, Any]

    @property
    def uncertainty_m(self) -> float | None:
        """How far off it may lie, in metres, where the file says so."""
        value = self.properties.get("uncertainty_m")
        return None if value is None else float(value)


@dataclass(frozen=True)
class Track(_Feature):
    """The centre line of one track.

    Attributes:
        id: Unique among the area's tracks.
        line: Its course, in the area's CRS.
        gauge_mm: Rail gauge in millimetres where known; of a dual-gauge track the wider one.
        properties: All members of the feature's ``properties``, as read.
    """

    id: str
    line: LineString
    gauge_mm: int | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Zone(_Feature):
    """A part of the area that gets a count of its own.

    Attributes:
        id: Unique among the area's zones.
        title: For tables and charts.
        polygon: Its outline, in the area's CRS.
        properties: All members of the feature's ``properties``, as read.
    """

    id: str
    title: str
    polygon: Polygon | MultiPolygon
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Mask(_Feature):
    """Ground that can't be seen from above, such as the tracks under a canopy.

    Attributes:
        polygon: Its outline, in the area's CRS.
        reason: What hides the ground.
        start: First day on which it does; None for always before `end`.
        end: Last day on which it does; None for ever after `start`.
        properties: All members of the feature's ``properties``, as read.
    """

    polygon: Polygon | MultiPolygon
    reason: str
    start: date | None = None
    end: date | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)

    def active_on(self, day: date | None) -> bool:
        """Whether the ground is hidden on a day; both end days count, and an unknown day is hidden."""
        if day is None:
            return True
        return (self.start is None or self.start <= day) and (self.end is None or day <= self.end)


@dataclass(frozen=True)
class AreaOfInterest:
    """A place to watch.

    Attributes:
        name: A slug (lower-case letters, digits, hyphens); names files and store items.
        title: For headings.
        boundary: What belongs to the place.
        tracks: Track centre lines; may be empty.
        zones: Parts with a count of their own; may be empty.
        masks: Ground that can't be seen, some of it only from or until a day; may be empty.
        sources: Where the geometry comes from.
        path: The file it was read from.
        crs: The reference system of all geometry: ``OGC:CRS84`` as read.
    """

    name: str
    title: str
    boundary: Polygon | MultiPolygon
    tracks: tuple[Track, ...] = ()
    zones: tuple[Zone, ...] = ()
    masks: tuple[Mask, ...] = ()
    sources: tuple[Source, ...] = ()
    path: Path | None = None
    crs: str = WGS84
    _original: AreaOfInterest | None = field(default=None, repr=False, compare=False)

    def hidden_on(self, day: date | None) -> BaseGeometry:
        """The ground that can't be seen on a day.

        Args:
            day: The day; None for an image without a date, to which every mask applies.

        Returns:
            The union of the masks active that day, in the area's CRS; empty when there are none.
        """
        return shapely.union_all([mask.polygon for mask in self.masks if mask.active_on(day)])

    @property
    def limitations(self) -> tuple[str, ...]:
        """What can't be done with this area, one sentence each, for whoever reads its counts."""
        found = []
        if not self.tracks:
            found.append(
                f"{self.name} has no track lines: wagons are looked for all over the boundary, and none is "
                "given to a track."
            )
        for kind, items in (("track", self.tracks), ("zone", self.zones)):
            doubts = [item.uncertainty_m for item in items if item.uncertainty_m]
            if doubts:
                found.append(
                    f"The {kind}s of {self.name} may lie up to {max(doubts):g} m off: their counts are "
                    "indicative."
                )
        doubts = [mask.uncertainty_m for mask in self.masks if mask.uncertainty_m]
        if doubts:
            found.append(f"A mask of {self.name} may lie up to {max(doubts):g} m off what hides the wagons.")
        return tuple(found)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of everything in the area that bears on a count, as 64 hexadecimal digits.

        These are the name, every geometry, the ids, gauges and mask dates; not titles, sources,
        reasons or other properties, nor the order of features or where a ring starts. The area in
        another CRS has the digest of the original.
        """
        if self._original is not None:
            return self._original.digest
        content = {
            "format": "railwatch area 1",
            "crs": self.crs,
            "name": self.name,
            "boundary": _canonical(self.boundary),
            "tracks": sorted([track.id, track.gauge_mm, _canonical(track.line)] for track in self.tracks),
            "zones": sorted([zone.id, _canonical(zone.polygon)] for zone in self.zones),
            "masks": sorted(
                [_canonical(mask.polygon), str(mask.start), str(mask.end)] for mask in self.masks
            ),
        }
        text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_crs(self, crs: Any) -> AreaOfInterest:
        """The same area in another coordinate reference system.

        Args:
            crs: Anything that pyproj takes for one: an EPSG number, text, a pyproj or rasterio CRS.

        Returns:
            A new area with all geometry in x, y order of that CRS and the digest of this one.

        Raises:
            AreaError: If the CRS is unknown, or the area can't be expressed in it.
        """
        try:
            target = pyproj.CRS.from_user_input(crs)
            transformer, written, geographic = _way(self.crs, target.srs)
        except ProjError as error:
            raise AreaError(f"area {self.name} can't be brought to the CRS {crs!s}: {error}") from error

        def move(geometry: BaseGeometry) -> BaseGeometry:
            if geographic:
                geometry = shapely.segmentize(geometry, _LONGEST_EDGE_DEG)
            return shapely.transform(
                geometry, lambda x, y: transformer.transform(x, y, errcheck=True), interleaved=False
            )

        try:
            boundary = move(self.boundary)
            tracks = tuple(replace(track, line=move(track.line)) for track in self.tracks)
            zones = tuple(replace(zone, polygon=move(zone.polygon)) for zone in self.zones)
            masks = tuple(replace(mask, polygon=move(mask.polygon)) for mask in self.masks)
        except ProjError as error:
            raise AreaError(
                f"area {self.name} lies where the CRS {target.name!r} isn't defined: {error}"
            ) from error
        return replace(
            self,
            boundary=boundary,
            tracks=tracks,
            zones=zones,
            masks=masks,
            crs=written,
            _original=self._original or self,
        )


@lru_cache(64)
def _way(source: str, target: str) -> tuple[pyproj.Transformer, str, bool]:
    """From one CRS to another: the transformer, how the other is written, whether the one is geographic.

    A scene is asked for its areas a dozen times, and to find the way takes milliseconds.
    """
    one, other = pyproj.CRS.from_user_input(source), pyproj.CRS.from_user_input(target)
    return pyproj.Transformer.from_crs(one, other, always_xy=True), other.to_string(), one.is_geographic


def _canonical(geometry: BaseGeometry) -> list[Any]:
    """The coordinates of a geometry, rounded, independent of where its rings start and turn."""
    parts: Iterable[BaseGeometry] = getattr(geometry, "geoms", (geometry,))
    return sorted(_canonical_part(shapely.normalize(part)) for part in parts)


def _canonical_part(part: BaseGeometry) -> list[list[list[float]]]:
    rings = [part.exterior, *part.interiors] if isinstance(part, Polygon) else [part]
    return [
        # adding zero turns -0.0 into 0.0
        [[round(value, _DIGEST_DECIMALS) + 0.0 for value in point] for point in ring.coords]
        for ring in rings
    ]
