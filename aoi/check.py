"""From a GeoJSON document to an area, with everything on the way that can be wrong with it.

`check_document` never stops at the first fault: it collects all of them, so that a user mends a file in
one go. `aoi.io.load_area` raises on the first.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import shapely
from shapely import MultiPolygon, Polygon
from shapely.errors import ShapelyError
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from aoi import geodesy as ground
from aoi.model import AreaOfInterest, Mask, Source, Track, Zone

Level = Literal["error", "warning"]

ROLES = ("boundary", "track", "zone", "mask")
_POLYGONS = ("Polygon", "MultiPolygon")
_GEOMETRIES = {"boundary": _POLYGONS, "track": ("LineString",), "zone": _POLYGONS, "mask": _POLYGONS}

# Names under which files say what GeoJSON says by default.
_WGS84_NAMES = re.compile(r"(CRS:?84|EPSG:{1,2}4326)$", re.IGNORECASE)
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

# How far outside the boundary a vertex may lie: a line that was clipped to a slanted boundary and
# written with seven decimals ends a centimetre off it.
_TOLERANCE_DEG = 2e-7

_GAUGE_RANGE_MM = (300, 2200)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with an area file.

    Attributes:
        level: "error" when the file can't be used, "warning" when it can.
        message: One sentence without the file's name.
        feature: Which feature it is about, counted from 1; None for the file as a whole.
    """

    level: Level
    message: str
    feature: int | None = None

    def __str__(self) -> str:
        return self.message if self.feature is None else f"feature {self.feature}: {self.message}"


@dataclass(frozen=True)
class CheckResult:
    """What a check found.

    Attributes:
        area: The area; None when there is an error.
        problems: Errors and warnings in the order of the file.
    """

    area: AreaOfInterest | None
    problems: tuple[Problem, ...] = ()

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that keep the file from being used."""
        return tuple(problem for problem in self.problems if problem.level == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """The problems that don't."""
        return tuple(problem for problem in self.problems if problem.level == "warning")


def check_document(document: object, path: Path | None = None) -> CheckResult:
    """Checks a decoded GeoJSON document and makes an area of it.

    Args:
        document: What a JSON decoder gave.
        path: The file it came from; its stem stands in for a missing name.

    Returns:
        The area, when there is no error, and all problems.
    """
    return _Checker(path).run(document)


def slugify(text: str) -> str:
    """The text as a slug: lower-case letters and digits, runs of anything else as one hyphen."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


@dataclass(frozen=True)
class _AreaFeature:
    """A feature whose outer shape is right: a known role, properties and a usable geometry."""

    number: int
    role: str
    properties: Mapping[str, Any]
    geometry: BaseGeometry
    raw_id: object

    def label(self) -> str:
        name = self.properties.get("id") or self.properties.get("reason") or ""
        return f"the {self.role} {str(name)!r}" if name else f"the {self.role}"


class _Checker:
    """Collects the problems of one document."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.problems: list[Problem] = []
        self.foreign_crs = False

    def error(self, message: str, feature: int | None = None) -> None:
        self.problems.append(Problem("error", message, feature))

    def warn(self, message: str, feature: int | None = None) -> None:
        self.problems.append(Problem("warning", message, feature))

    # ----------------------------------------------------------------------------------------------

    def run(self, document: object) -> CheckResult:
        if not isinstance(document, Mapping) or document.get("type") != "FeatureCollection":
            kind = document.get("type") if isinstance(document, Mapping) else None
            found = f"a GeoJSON {kind}" if isinstance(kind, str) else "no GeoJSON object"
            self.error(f"is {found}, not a FeatureCollection")
            return CheckResult(None, tuple(self.problems))
        self._check_crs(document.get("crs"))
        name = self._name(document.get("name"))
        title = self._title(document.get("title"), name)
        sources = tuple(self._sources(document.get("sources")))
        raw_features = document.get("features")
        if not isinstance(raw_features, list):
            self.error("has no list of features")
            raw_features = []
        features = list(self._features(raw_features))
        boundary = self._boundary(features, raw_features)
        # positions in another CRS have been complained about once, which is enough
        inside = _inside_test(None if self.foreign_crs else boundary)
        tracks = tuple(self._tracks(features, inside))
        zones = tuple(self._zones(features, inside))
        masks = tuple(self._masks(features, boundary))
        area = None
        if boundary is not None and not any(problem.level == "error" for problem in self.problems):
            area = AreaOfInterest(name, title, boundary, tracks, zones, masks, sources, self.path)
            for doubt in doubts(area):
                self.warn(doubt)
        return CheckResult(area, tuple(self.problems))

    # -- the collection ----------------------------------------------------------------------------

    def _check_crs(self, crs: object) -> None:
        """GeoJSON has one reference system; older files may name it in a ``crs`` member, or another."""
        if crs is None:
            return
        properties = crs.get("properties") if isinstance(crs, Mapping) else None
        name = properties.get("name") if isinstance(properties, Mapping) else None
        if isinstance(name, str) and _WGS84_NAMES.search(name.strip()):
            return
        self.foreign_crs = True
        given = repr(name) if isinstance(name, str) else "in a form that can't be read"
        self.error(f"declares its CRS {given}, but an area is in WGS84: reproject it to EPSG:4326")

    def _name(self, name: object) -> str:
        stem = slugify(self.path.stem) if self.path else ""
        if name is not None and not isinstance(name, str):
            self.error("has a name that is no text")
            return stem
        if isinstance(name, str) and _SLUG.fullmatch(name):
            return name
        slug = slugify(name) if name else ""
        used = slug or stem
        if not used:
            self.error('has no name that can be made a slug: give it one, such as "name": "my-yard"')
        elif name:
            self.warn(f"has the name {name!r}, which is no slug: {used!r} is used")
        else:
            self.warn(f"has no name: {used!r} is used, after the file")
        return used

    def _title(self, title: object, name: str) -> str:
        if isinstance(title, str) and title.strip():
            return title.strip()
        if title is not None and not isinstance(title, str):
            self.error("has a title that is no text")
        else:
            self.warn("has no title: its name is used")
        return name.replace("-", " ").capitalize()

    def _sources(self, sources: object) -> Iterator[Source]:
        if sources is None or sources == []:
            self.warn("names no sources: a reader can't tell where the outlines come from")
            return
        if not isinstance(sources, list):
            self.error("has sources that are no list")
            return
        for position, entry in enumerate(sources, start=1):
            if isinstance(entry, str) and entry.strip():
                yield Source(entry.strip())
            elif isinstance(entry, Mapping) and _text(entry.get("title")):
                optional = {key: _text(entry.get(key)) for key in ("url", "licence", "used_for", "date")}
                yield Source(str(entry["title"]).strip(), **optional)
            else:
                self.error(f"has a source (number {position}) that is neither a text nor has a title")

    def _features(self, features: list[object]) -> Iterator[_AreaFeature]:
        for number, feature in enumerate(features, start=1):
            if not isinstance(feature, Mapping) or feature.get("type") != "Feature":
                self.error("is no GeoJSON Feature", number)
                continue
            properties = feature.get("properties")
            if not isinstance(properties, Mapping):
                properties = {}
            role = self._role(properties.get("role"), number)
            if role is None:
                continue
            geometry = self._geometry(feature.get("geometry"), role, number)
            if geometry is not None:
                yield _AreaFeature(number, role, properties, geometry, feature.get("id"))

    def _role(self, role: object, number: int) -> str | None:
        if role in ROLES:
            return str(role)
        known = ", ".join(ROLES[:-1]) + " or " + ROLES[-1]
        if role is None or role == "":
            self.error(f'has no role: set the property "role" to {known}', number)
        else:
            near = difflib.get_close_matches(str(role).lower(), ROLES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"a role is {known}"
            self.error(f"has the unknown role {role!r}: {hint}", number)
        return None

    # -- geometry ----------------------------------------------------------------------------------

    def _geometry(self, raw: object, role: str, number: int) -> BaseGeometry | None:
        """The geometry of a feature, two-dimensional and valid; None after a complaint."""
        wanted = _GEOMETRIES[role]
        kind = raw.get("type") if isinstance(raw, Mapping) else None
        if kind not in wanted:
            found = "none" if raw is None else repr(kind)
            hint = ": split it, one feature a line" if (role, kind) == ("track", "MultiLineString") else ""
            self.error(
                f"a {role} needs a {' or '.join(wanted)} as geometry, this one has {found}{hint}", number
            )
            return None
        try:
            geometry = shapely.force_2d(shape(raw))
        except (ShapelyError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
            self.error(f"has a broken geometry ({error})", number)
            return None
        if geometry.is_empty:
            self.error(f"the {role} has an empty geometry", number)
        elif not all(math.isfinite(value) for value in geometry.bounds):
            self.error(f"the {role} has coordinates that are no numbers", number)
        elif not self.foreign_crs and (complaint := _range_complaint(geometry)):
            self.error(f"the {role} {complaint}", number)
        elif not self.foreign_crs and geometry.bounds[2] - geometry.bounds[0] > 180:
            self.error(
                f"the {role} spans more than half of the Earth: it crosses the antimeridian (180 degrees), "
                "on one side of which an area has to lie",
                number,
            )
        elif not geometry.is_valid:
            self.error(f"the {role} is no valid {kind}: {_validity(geometry)}", number)
        else:
            return geometry
        return None

    def _boundary(
        self, features: list[_AreaFeature], raw_features: list[object]
    ) -> Polygon | MultiPolygon | None:
        boundaries = list(_of_role(features, "boundary"))
        if len(boundaries) > 1:
            numbers = " and ".join(str(feature.number) for feature in boundaries)
            self.error(
                f"has {len(boundaries)} boundaries (features {numbers}): make them one MultiPolygon feature"
            )
            return None
        if boundaries:
            return boundaries[0].geometry
        # a boundary that has been complained about already is not also missing
        if not any(_role_of(feature) == "boundary" for feature in raw_features):
            self.error('has no boundary: give the outline of the place the property "role": "boundary"')
        return None

    def _complain_outside(self, feature: _AreaFeature, boundary: BaseGeometry) -> None:
        swapped = shapely.transform(feature.geometry, lambda x, y: (y, x), interleaved=False)
        if boundary.intersects(swapped):
            detail = "has latitude and longitude exchanged: GeoJSON wants longitude first"
        elif not boundary.intersects(feature.geometry):
            detail = "lies outside the boundary"
        else:
            detail = f"reaches {_overshoot_m(feature.geometry, boundary):.0f} m outside the boundary"
        self.error(f"{feature.label()} {detail}", feature.number)

    # -- the roles ---------------------------------------------------------------------------------

    def _tracks(self, features: list[_AreaFeature], inside: _Inside) -> Iterator[Track]:
        seen: dict[str, int] = {}
        for feature in _of_role(features, "track"):
            identity = self._identity(feature, seen)
            gauge = self._gauge(feature)
            self._check_uncertainty(feature)
            self._check_inside(feature, inside)
            if identity is not None:
                yield Track(identity, feature.geometry, gauge, feature.properties)

    def _zones(self, features: list[_AreaFeature], inside: _Inside) -> Iterator[Zone]:
        seen: dict[str, int] = {}
        for feature in _of_role(features, "zone"):
            identity = self._identity(feature, seen)
            title = _text(feature.properties.get("title"))
            if title is None:
                self.warn(f"{feature.label()} has no title: its id is used", feature.number)
            self._check_uncertainty(feature)
            self._check_inside(feature, inside)
            if identity is not None:
                yield Zone(identity, title or identity, feature.geometry, feature.properties)

    def _masks(self, features: list[_AreaFeature], boundary: BaseGeometry | None) -> Iterator[Mask]:
        for feature in _of_role(features, "mask"):
            reason = _text(feature.properties.get("reason"))
            if reason is None:
                self.error(
                    'the mask has no reason: say in the property "reason" what hides the ground',
                    feature.number,
                )
            start = self._date(feature, "from")
            end = self._date(feature, "to")
            if start is not None and end is not None and end < start:
                self.error(f"the mask ends ({end}) before it starts ({start})", feature.number)
            self._check_uncertainty(feature)
            if boundary is not None and not boundary.intersects(feature.geometry):
                self.warn(f"{feature.label()} lies outside the boundary and hides nothing", feature.number)
            yield Mask(feature.geometry, reason or "", start, end, feature.properties)

    def _identity(self, feature: _AreaFeature, seen: dict[str, int]) -> str | None:
        """The feature's id as text: from its properties, or where GeoJSON has a place for it."""
        raw = next(
            (one for one in (feature.properties.get("id"), feature.raw_id) if one not in (None, "")), None
        )
        if raw is None:
            self.error(f"the {feature.role} has no id", feature.number)
            return None
        if isinstance(raw, bool) or not isinstance(raw, str | int):
            self.error(
                f"the {feature.role} has an id that is neither text nor a whole number", feature.number
            )
            return None
        identity = str(raw)
        if identity in seen:
            self.error(
                f"the {feature.role} id {identity!r} is taken already, by feature {seen[identity]}",
                feature.number,
            )
            return None
        seen[identity] = feature.number
        return identity

    def _gauge(self, feature: _AreaFeature) -> int | None:
        raw = feature.properties.get("gauge_mm")
        if raw is None:
            return None
        low, high = _GAUGE_RANGE_MM
        is_number = isinstance(raw, int | float) and not isinstance(raw, bool)
        if not is_number or not low <= raw <= high or raw != int(raw):
            self.error(
                f"{feature.label()} has the gauge_mm {raw!r}: a gauge is a whole number of millimetres from "
                f"{low} to {high}",
                feature.number,
            )
            return None
        return int(raw)

    def _date(self, feature: _AreaFeature, member: str) -> date | None:
        raw = feature.properties.get(member)
        if raw is None or raw == "":
            return None
        try:
            if isinstance(raw, str) and _ISO_DATE.fullmatch(raw):
                return date.fromisoformat(raw)
        except ValueError:
            pass  # the pattern is right but there is no such day
        self.error(
            f"{feature.label()} has {member!r} = {raw!r}, which is no date like 2024-12-03", feature.number
        )
        return None

    def _check_uncertainty(self, feature: _AreaFeature) -> None:
        raw = feature.properties.get("uncertainty_m")
        if raw is None:
            return
        if isinstance(raw, bool) or not isinstance(raw, int | float) or not 0 <= raw < math.inf:
            self.error(
                f"{feature.label()} has the uncertainty_m {raw!r}, which is no distance", feature.number
            )

    def _check_inside(self, feature: _AreaFeature, inside: _Inside) -> None:
        boundary, test = inside
        if boundary is not None and not test(feature.geometry):
            self._complain_outside(feature, boundary)


def _of_role(features: list[_AreaFeature], role: str) -> Iterator[_AreaFeature]:
    return (feature for feature in features if feature.role == role)


_Inside = tuple[BaseGeometry | None, Callable[[BaseGeometry], bool]]


def _inside_test(boundary: BaseGeometry | None) -> _Inside:
    """The boundary, and a fast test whether it covers a geometry (to within a centimetre or two)."""
    if boundary is None:
        return None, lambda geometry: True
    grown = boundary.buffer(_TOLERANCE_DEG, join_style="mitre")
    shapely.prepare(grown)
    return boundary, lambda geometry: bool(grown.covers(geometry))


def _overshoot_m(geometry: BaseGeometry, boundary: BaseGeometry) -> float:
    """How far the farthest point of a geometry is from a boundary, in metres."""
    plane = ground.local_metres(boundary)
    outside = shapely.transform(geometry.difference(boundary), plane.transform, interleaved=False)
    home = shapely.transform(boundary, plane.transform, interleaved=False)
    return float(shapely.distance(home, shapely.points(shapely.get_coordinates(outside))).max())


def _range_complaint(geometry: BaseGeometry) -> str | None:
    """What is wrong with coordinates that are no longitude and latitude, or None."""
    west, south, east, north = geometry.bounds
    if west >= -180 and east <= 180 and south >= -90 and north <= 90:
        return None
    x, y = shapely.get_coordinates(geometry)[0]
    example = f"has coordinates such as ({x:g}, {y:g})"
    if west >= -360 and east <= 360 and south >= -90 and north <= 90:
        return f"{example}, beyond 180 degrees: longitudes east of the antimeridian are negative"
    if west >= -90 and east <= 90 and south >= -180 and north <= 180:
        return f"{example}, with latitude and longitude exchanged: GeoJSON wants longitude first"
    return f"{example}, which are no degrees: reproject the file to WGS84 (EPSG:4326)"


def _validity(geometry: BaseGeometry) -> str:
    """Why a geometry isn't valid and where, in plain words."""
    reason = str(shapely.is_valid_reason(geometry))
    found = re.fullmatch(r"(.+?)\[(\S+) (\S+)\]", reason)
    if not found:
        return reason
    fault, x, y = found.groups()
    words = {
        "Self-intersection": "its outline crosses itself",
        "Ring Self-intersection": "its outline touches itself",
    }
    return f"{words.get(fault, fault.lower())} at ({float(x):.6f}, {float(y):.6f})"


def _text(value: object) -> str | None:
    """A text that says something, or None."""
    return value.strip() if isinstance(value, str) and value.strip() else None


def _role_of(feature: object) -> object:
    properties = feature.get("properties") if isinstance(feature, Mapping) else None
    return properties.get("role") if isinstance(properties, Mapping) else None


# The largest rail yards of the world cover some 10 km2.
_LARGE_AREA_M2 = 1000e6
_SMALL_AREA_M2 = 10_000.0
_OVERLAP_M2 = 1.0
# Track centres are at least 3.6 m apart, but meet at every switch: two lines this close to each other
# over this length are one track drawn twice.
_SAME_TRACK_M = 2.0
_SAME_TRACK_LENGTH_M = 60.0


def doubts(area: AreaOfInterest) -> Iterator[str]:
    """Looks an area over for what is allowed but odd.

    Args:
        area: A valid area in WGS84.

    Yields:
        One sentence a doubt, without the file's name: an odd size, overlapping zones, tracks drawn
        twice.
    """
    yield from _odd_size(area.boundary)
    yield from _overlapping(area.zones)
    yield from _drawn_twice(area.tracks)


def _odd_size(boundary: BaseGeometry) -> Iterator[str]:
    area_m2 = ground.area_m2(boundary)
    if area_m2 > _LARGE_AREA_M2:
        yield f"has a boundary of {area_m2 / 1e6:,.0f} km2, which is more than a rail yard"
    elif area_m2 < _SMALL_AREA_M2:
        yield f"has a boundary of {area_m2:,.0f} m2, which is less than a rail yard"


def _overlapping(zones: tuple[Zone, ...]) -> Iterator[str]:
    for zone, other in combinations(zones, 2):
        shared = _polygons(zone.polygon.intersection(other.polygon))
        if not shared.is_empty and ground.area_m2(shared) > _OVERLAP_M2:
            yield f"has zones {zone.id!r} and {other.id!r} overlap: a wagon there counts in both"


def _drawn_twice(tracks: tuple[Track, ...]) -> Iterator[str]:
    if len(tracks) < 2:
        return
    plane = ground.local_metres(shapely.GeometryCollection([track.line for track in tracks]))
    lines = [shapely.transform(track.line, plane.transform, interleaved=False) for track in tracks]
    near = shapely.STRtree(lines).query(lines, predicate="dwithin", distance=_SAME_TRACK_M)
    for first, second in sorted((int(a), int(b)) for a, b in near.T if a < b):
        shared_m = lines[first].intersection(lines[second].buffer(_SAME_TRACK_M)).length
        if shared_m >= _SAME_TRACK_LENGTH_M:
            yield (
                f"has tracks {tracks[first].id!r} and {tracks[second].id!r} within {_SAME_TRACK_M:g} m of "
                f"each other over {shared_m:.0f} m: probably one track drawn twice"
            )


def _polygons(geometry: BaseGeometry) -> MultiPolygon:
    """The polygons of any geometry."""
    return MultiPolygon([part for part in shapely.get_parts(geometry) if isinstance(part, Polygon)])
