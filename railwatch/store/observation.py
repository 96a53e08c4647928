"""What one scene says about one area: the value that the store keeps and verdicts are made of.

An `Observation` is written as a STAC Item (version 1.1). Where a STAC standard has a field, it is used:
``datetime``, ``created``, ``gsd`` and ``title`` (common metadata), ``processing:software`` (processing
extension: railwatch and the model with their versions), ``file:checksum`` and ``file:size`` (file
extension, on the assets) and ``mlm:name`` (the model's name as the machine-learning-model extension
spells it). The geometry is the area's boundary. Everything else has the prefix ``railwatch:``:

=====================================  =====================================================================
``railwatch:version``                  version of these fields (an integer, `FORMAT_VERSION`)
``railwatch:aoi``                      name of the area of interest
``railwatch:scene``                    id of the scene
``railwatch:sensor``                   the sensor, as the scene names it
``railwatch:method``                   ``wagons``, ``occupancy``, ``reviewed`` or ``published``
``railwatch:count``                    freight cars in the area; null when abstained
``railwatch:count_low``, ``_high``     90% interval of the count
``railwatch:count_by_type``            freight cars of each type, such as ``{"open": 12, "unknown": 3}``; null
                                       where types aren't told (may be absent)
``railwatch:occupied_length_m``        track length under counted cars, metres; also ``_low_m``, ``_high_m``
``railwatch:clear_fraction``           share (0-1) of the visible area that has valid, clear pixels
``railwatch:hidden_fraction``          share (0-1) of the area under masks (such as a canopy) on that day
``railwatch:abstained``                true when no count is given; ``railwatch:reason`` then says why
``railwatch:lower_bound``              true where count and length are the least there can be (may be absent)
``railwatch:warnings``                 sentences that a reader of the count should know
``railwatch:zones``                    per zone id: ``{"count", "count_low", "count_high"}``
``railwatch:tracks``                   per track id: the same
``railwatch:provenance``               file, sha256, gsd_m, model, settings, area and code that made it; for a
                                       observation of ten metres also ``acquisition``, ``occupancy`` (the
                                       estimate with its error budget), ``registration``, ``clear`` and
                                       ``history``
``railwatch:review_of``                id of the observation that a reviewer corrected, else null
=====================================  =====================================================================
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Literal, cast, get_args

import pystac
import shapely
import shapely.geometry

from railwatch import words

Method = Literal["wagons", "occupancy", "reviewed", "published"]
METHODS: tuple[str, ...] = get_args(Method)

FORMAT_VERSION = 1
"""Version of the item fields. A reader refuses items with a higher one."""
UNNAMED_SENSOR = "unknown"
"""What a scene says that doesn't name its sensor; see `geo.Scene`."""
IMPORTED_SENSOR = "unnamed image"
"""What a person's count says that names none."""

PREFIX = "railwatch:"
EXTENSIONS = (
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
)

# Fields that came later: items of older stores don't have them.
_LATER = frozenset({"lower_bound", "count_by_type"})

# The first satellite, and the last year of times in nanoseconds, which tables have.
_FIRST_YEAR, _LAST_YEAR = 1957, 2200

_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What one scene says about one area.

    Attributes:
        id: Stable, safe as a file name; see `observation_id`.
        aoi: Name of the area.
        scene: Id of the scene.
        datetime: Time of the scene, UTC.
        sensor: The sensor, as the scene names it.
        method: How the count was made.
        count: Freight cars in the area, or None when abstained.
        count_low: Lower end of the 90% interval.
        count_high: Upper end of the 90% interval.
        count_by_type: Freight cars of each type (`detector.wagons.categories.TYPE_NAMES`), which add up to
            the count; None where types aren't told.
        lower_bound: True where count and length are the least there can be: above the range in which they
            can be trusted.
        occupied_length_m: Length of track under counted cars, metres.
        occupied_length_low_m: Lower end of its 90% interval.
        occupied_length_high_m: Upper end of its 90% interval.
        clear_fraction: Share (0-1) of the visible area with valid pixels.
        hidden_fraction: Share (0-1) of the area under masks active on that day.
        abstained: True when no count is given.
        reason: Why not, if abstained.
        warnings: Sentences that a reader of the count should know.
        zones: Zone id to ``{"count", "count_low", "count_high"}``.
        tracks: Track id to the same.
        provenance: File, hash, model, settings, area and code behind the number (plain JSON values).
        geometry: The area's boundary as GeoJSON (WGS84), or None.
        review_of: Id of the observation that this one corrects (method ``reviewed``), or None: a person's
            count of an image that no machine has counted corrects nothing.

    Raises:
        ValueError: If the values contradict each other.
    """

    id: str
    aoi: str
    scene: str
    datetime: datetime
    sensor: str
    method: Method
    count: float | None
    count_low: float | None
    count_high: float | None
    clear_fraction: float
    occupied_length_m: float | None = None
    occupied_length_low_m: float | None = None
    occupied_length_high_m: float | None = None
    hidden_fraction: float = 0.0
    abstained: bool = False
    reason: str | None = None
    warnings: tuple[str, ...] = ()
    zones: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    tracks: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    geometry: Mapping[str, Any] | None = None
    review_of: str | None = None
    lower_bound: bool = False
    count_by_type: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        if not _SAFE_ID.fullmatch(self.id):
            raise ValueError(f"the observation id {self.id!r} isn't safe as a file name")
        if self.method not in METHODS:
            raise ValueError(f"unknown method {self.method!r} (known: {', '.join(METHODS)})")
        if self.datetime.tzinfo is None:
            raise ValueError("the time has no time zone")
        if not _FIRST_YEAR <= self.datetime.year <= _LAST_YEAR:
            raise ValueError(f"the year {self.datetime.year} can't be: the first satellite flew in 1957")
        object.__setattr__(self, "datetime", self.datetime.astimezone(UTC))
        if self.abstained and (self.count is not None or not self.reason):
            raise ValueError("an abstained observation has a reason and no count")
        low, count, high = self.count_low, self.count, self.count_high
        present = [value for value in (low, count, high) if value is not None]
        if any(not math.isfinite(value) or value < 0 for value in present) or present != sorted(present):
            raise ValueError(f"the count {count} doesn't lie in its interval {low} to {high}")
        for name in ("clear_fraction", "hidden_fraction"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} {getattr(self, name)} isn't between 0 and 1")
        if self.lower_bound and self.count is None:
            raise ValueError("a lower bound needs a count")
        if self.review_of is not None and self.method != "reviewed":
            raise ValueError("only a reviewed observation names the one it corrects")

    @property
    def created(self) -> str:
        """When the observation was made (ISO 8601, UTC), or an empty string."""
        return str(self.provenance.get("created", ""))

    @property
    def sensor_named(self) -> str:
        """The sensor, or an empty text where the scene doesn't name one."""
        return "" if self.sensor in (UNNAMED_SENSOR, IMPORTED_SENSOR) else self.sensor

    @property
    def headline(self) -> str:
        """The observation in half a line, such as ``73 freight cars (66 to 80)``.

        An observation of ten metres measures length, so that comes first: ``1,020 m of track occupied (840 to
        1,210), 70 freight cars (50 to 92)``.
        """
        if self.count is None:
            return "no count"
        bound = "at least " if self.lower_bound else ""
        noun = words.noun(self.count)
        cars = f"{bound}{self.count:.0f} {noun}{words.within(self.count_low, self.count_high)}"
        if self.method != "occupancy" or self.occupied_length_m is None:
            return cars
        between = words.within(self.occupied_length_low_m, self.occupied_length_high_m)
        return f"{bound}{words.metres(self.occupied_length_m)} of track occupied{between}, {cars}"

    def to_json(self) -> dict[str, Any]:
        """Return the observation as plain JSON values: the shape of ``railwatch run --json``."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "geometry"}
        values["datetime"] = iso(self.datetime)
        values["warnings"] = list(self.warnings)
        for name in ("zones", "tracks"):
            values[name] = {key: dict(value) for key, value in values[name].items()}
        if self.count_by_type is not None:
            values["count_by_type"] = dict(self.count_by_type)
        values["provenance"] = dict(self.provenance)
        return values

    def to_item(self) -> pystac.Item:
        """Return the observation as a STAC Item (without assets and links: those are the store's)."""
        properties: dict[str, Any] = {
            f"{PREFIX}{name}": value
            for name, value in self.to_json().items()
            if name not in ("id", "datetime")
        }
        properties[f"{PREFIX}version"] = FORMAT_VERSION
        properties["title"] = f"{self.aoi}, {self.datetime:%Y-%m-%d}: {self.headline}"
        properties["processing:software"] = self._software()
        for name, key in (("created", "created"), ("gsd", "gsd_m"), ("mlm:name", "model")):
            if self.provenance.get(key):
                properties[name] = self.provenance[key]
        bbox = None
        if self.geometry is not None:
            bbox = list(shapely.geometry.shape(dict(self.geometry)).bounds)
        return pystac.Item(
            id=self.id,
            geometry=None if self.geometry is None else dict(self.geometry),
            bbox=bbox,
            datetime=self.datetime,
            properties=properties,
            stac_extensions=list(EXTENSIONS),
        )

    @classmethod
    def from_item(cls, item: pystac.Item) -> Observation:
        """Read an observation back from its STAC Item.

        Raises:
            ValueError: If the item isn't one that railwatch wrote, was written by a newer version, or its
                fields are missing or contradict each other.
        """
        properties = item.properties
        version = properties.get(f"{PREFIX}version")
        if not isinstance(version, int):
            raise ValueError(f"it has no {PREFIX}version, so railwatch didn't write it")
        if version > FORMAT_VERSION:
            raise ValueError(
                f"it was written by a newer railwatch (format {version}, known {FORMAT_VERSION})"
            )
        if item.datetime is None:
            raise ValueError("it has no datetime")
        given: dict[str, Any] = {"id": item.id, "datetime": item.datetime, "geometry": item.geometry}
        for entry in fields(cls):
            key = f"{PREFIX}{entry.name}"
            if entry.name in given or (key not in properties and entry.name in _LATER):
                continue
            if key not in properties:
                raise ValueError(f"it has no {key}")
            given[entry.name] = properties[key]
        _check_types(given)
        _check_contents(given)
        given["warnings"] = tuple(given["warnings"])
        return cls(**given)

    def _software(self) -> dict[str, str]:
        software = {"railwatch": str(self.provenance.get("code_version", "unknown"))}
        if self.provenance.get("model"):
            software[str(self.provenance["model"])] = str(self.provenance.get("model_version", "unknown"))
        return software


_NUMBERS = (
    "count",
    "count_low",
    "count_high",
    "occupied_length_m",
    "occupied_length_low_m",
    "occupied_length_high_m",
)


def _check_types(values: Mapping[str, Any]) -> None:
    """Hold values read from a file to their types, because a dataclass doesn't."""
    expected: dict[str, tuple[type, ...]] = {
        **dict.fromkeys(("aoi", "scene", "sensor", "method"), (str,)),
        **dict.fromkeys(_NUMBERS, (int, float, type(None))),
        **dict.fromkeys(("clear_fraction", "hidden_fraction"), (int, float)),
        **dict.fromkeys(("zones", "tracks", "provenance"), (dict,)),
        **dict.fromkeys(("reason", "review_of"), (str, type(None))),
        "count_by_type": (dict, type(None)),
        **dict.fromkeys(("abstained", "lower_bound"), (bool,)),
        "warnings": (list,),
    }
    for name, types in expected.items():
        if name not in values:  # a later field: see `_LATER`
            continue
        value = values[name]
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise ValueError(f"its {PREFIX}{name} is a {type(value).__name__}")


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _check_contents(values: Mapping[str, Any]) -> None:
    """Hold what lies inside lists and mappings to what is read out of them."""
    if not all(isinstance(one, str) for one in values["warnings"]):
        raise ValueError(f"its {PREFIX}warnings aren't sentences")
    for name in _NUMBERS:
        number = values[name]
        if number is not None and not math.isfinite(number):
            raise ValueError(f"its {PREFIX}{name} is {number}")
    for name in ("zones", "tracks"):
        for place, numbers in values[name].items():
            if (
                not isinstance(numbers, dict)
                or "count" not in numbers
                or not all(map(_finite, numbers.values()))
            ):
                raise ValueError(f"its {PREFIX}{name} has no count of {place!r}")
    by_type = values.get("count_by_type") or {}
    if not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in by_type.values()):
        raise ValueError(f"its {PREFIX}count_by_type holds what is no number of cars")
    provenance = values["provenance"]
    for name, types in _PROVENANCE.items():
        value = provenance.get(name)
        if value is not None and (not isinstance(value, types) or isinstance(value, bool)):
            raise ValueError(f"its {PREFIX}provenance has a {name} that is a {type(value).__name__}")
    limitations = provenance.get("area_limitations", [])
    if not isinstance(limitations, list) or not all(isinstance(one, str) for one in limitations):
        raise ValueError(f"its {PREFIX}provenance has area_limitations that aren't sentences")
    geometry = values["geometry"]
    if geometry is not None:
        try:
            shape = shapely.geometry.shape(geometry)
            sound = shape.geom_type in {"Polygon", "MultiPolygon"} and not shape.is_empty
            west, south, east, north = shape.bounds
        except Exception as error:  # shapely raises half a dozen kinds for what isn't GeoJSON
            raise ValueError(f"its geometry isn't one ({error})") from error
        if not sound or not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
            raise ValueError("its geometry isn't an outline on the Earth")


_PROVENANCE: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(
        (
            "file",
            "sha256",
            "model",
            "model_version",
            "model_checksum",
            "settings",
            "area",
            "code_version",
            "created",
            "acquisition",
        ),
        (str,),
    ),
    **dict.fromkeys(("gsd_m", "threshold"), (int, float)),
    **dict.fromkeys(("review", "occupancy", "registration", "clear", "history"), (dict,)),
    "acquisition_aliases": (list,),
}


def observation_id(*, aoi: str, when: datetime, method: str, key: Mapping[str, Any]) -> str:
    """Return the id of the work described by ``key``: the same work always has the same id.

    The id reads ``<area>-<time>-<method>-<digest>``, such as
    ``tumangang-20231005t021500z-wagons-1f0c9a7be2d4``. The digest covers everything that could change the
    result, so that a changed setting, area or model is other work and an equal one is the same.

    Args:
        aoi: Name of the area.
        when: Time of the scene.
        method: The counting method.
        key: Plain JSON values: content hashes of the scene, the area, the settings and the model.

    Returns:
        Lower case, safe as a file name on every system.
    """
    described = {"aoi": aoi, "when": iso(when), "method": method, **key}
    canonical = json.dumps(described, sort_keys=True, ensure_ascii=True, allow_nan=False)
    digest = hashlib.sha256(canonical.encode()).hexdigest()[:12]
    return f"{slug(aoi)}-{when.astimezone(UTC):%Y%m%dt%H%M%Sz}-{slug(method)}-{digest}"


def slug(text: str) -> str:
    """Return text as lower-case ASCII letters, digits and hyphens: at most 60, and never empty."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii_text.lower()).strip("-")[:60].strip("-") or "x"


def iso(when: datetime) -> str:
    """Return a time as ISO 8601 in UTC with a Z."""
    return when.astimezone(UTC).isoformat().replace("+00:00", "Z")


def current(
    observations: Iterable[Observation], prefer: Iterable[str] = (), *, reviewed: bool = False
) -> list[Observation]:
    """Return what is now held to be true: one observation for each area, scene and method.

    A store keeps the results of older models and settings beside the newer ones. A time series must
    count each scene once, so of several machine observations the one made last is taken. Reviewed ones
    stay beside the machine's, unless ``reviewed`` lets them stand in for what they correct.

    Args:
        observations: Any observations.
        prefer: Ids that win over newer work (those of the run in hand).
        reviewed: Drop the machine observations that a reviewer has corrected.

    Returns:
        Sorted by time, then id.
    """
    preferred = set(prefer)
    everything = latest_reviews(observations)
    names = _names(everything)
    chosen: dict[tuple[str, ...], Observation] = {}
    for observation in everything:
        place = (*_acquisition(observation, names), observation.method)
        other = chosen.get(place)
        if other is None or _rank(other, preferred) < _rank(observation, preferred):
            chosen[place] = observation
    kept = list(chosen.values())
    if reviewed:
        corrected = {_acquisition(one, names) for one in kept if one.method == "reviewed"}
        kept = [one for one in kept if one.method == "reviewed" or _acquisition(one, names) not in corrected]
    return sorted(kept, key=lambda one: (one.datetime, one.id))


def latest_reviews(observations: Iterable[Observation]) -> list[Observation]:
    """Return observations without the reviews that a later one says it supersedes.

    What a review supersedes is written in it; when it was made is only what a clock said, and clocks differ
    and are set back. Reviews that supersede one another in a circle all stay.
    """
    everything = list(observations)
    reviews = {one.id: one for one in everything if one.method == "reviewed"}

    def before(one: Observation) -> Observation | None:
        review = one.provenance.get("review")
        other = reviews.get(str(review.get("supersedes"))) if isinstance(review, Mapping) else None
        return other if other is not None and other.review_of == one.review_of else None

    superseded: set[str] = set()
    for one in reviews.values():
        chain = [one.id]
        while (other := before(reviews[chain[-1]])) is not None and other.id not in chain:
            chain.append(other.id)
        if other is None:  # else it goes round in a circle
            superseded.update(chain[1:])
    return [one for one in everything if one.id not in superseded]


def _names(observations: Iterable[Observation]) -> dict[tuple[str, str], str]:
    """Return by area and former name of an acquisition (a vaguer product's): its name now."""
    names: dict[tuple[str, str], str] = {}
    for one in observations:
        aliases = one.provenance.get("acquisition_aliases")
        if isinstance(aliases, list):
            names |= {(one.aoi, str(alias)): str(one.provenance.get("acquisition")) for alias in aliases}
    return names


def _acquisition(observation: Observation, names: Mapping[tuple[str, str], str]) -> tuple[str, str]:
    """Return what makes two observations look at the same thing: the area and the acquisition.

    An acquisition is known by its name where it has several products, else by its content.
    """
    given = observation.provenance
    content = str(
        given.get("acquisition") or given.get("sha256") or f"{observation.scene} {iso(observation.datetime)}"
    )
    for _ in range(len(names)):
        if (observation.aoi, content) not in names:
            break
        content = names[observation.aoi, content]
    return (observation.aoi, content)


def _rank(observation: Observation, preferred: set[str]) -> tuple[bool, int, str, str]:
    # What a longer archive says stands, even where another process, which had seen less of it, was slower.
    archive = observation.provenance.get("archive", 0)
    seen = archive if isinstance(archive, int) else 0
    return (observation.id in preferred, seen, observation.created, observation.id)


def interval_json(count: float, low: float, high: float) -> dict[str, float]:
    """Return a zone's or track's count as it is stored."""
    return {"count": float(count), "count_low": float(low), "count_high": float(high)}


def geometry_json(geometry: shapely.Geometry) -> dict[str, Any]:
    """Return a shapely geometry as plain GeoJSON with lists, so that it survives a round trip."""
    return cast(dict[str, Any], json.loads(shapely.to_geojson(geometry)))
