"""Count a correction by the machine's rules and keep it beside the machine's count."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyproj
import shapely
from affine import Affine
from numpy.typing import NDArray

from aoi import AreaOfInterest
from aoi.io import area_from_document
from detector.wagons.categories import UNKNOWN
from detector.wagons.detections import Detections, frame_of
from geo import Scene
from geo.boxes import map_to_boxes
from geo.ground_metric import apply_affine
from railwatch.errors import ReviewError
from railwatch.history.record import count_interval
from railwatch.pages.pictures import boxes as evidence
from railwatch.pipeline.count_area import AreaCount, count_area
from railwatch.review.corrections import (
    CATEGORIES,
    Changes,
    Corrected,
    Corrections,
    area_in,
    compared,
    read_corrections,
    size_of,
)
from railwatch.review.find import area_of, find_observation, find_scene, latest_review, reviewed_by_hand
from railwatch.review.geopackage import pixel_transform
from railwatch.store.observation import Observation, geometry_json, interval_json, iso, observation_id
from railwatch.store.store import Store
from railwatch.version import __version__

__all__ = ["Applied", "apply_review", "set_count"]


@dataclass(frozen=True)
class Applied:
    """A review that was kept.

    Attributes:
        observation: The reviewed observation.
        machine: The one that it corrects.
        changes: What was done to the boxes, or None for a count without boxes.
        written: False if the same review was the last word already.
        supersedes: Id of the earlier review that it replaces as the last word, if any.
    """

    observation: Observation
    machine: Observation
    changes: Changes | None
    written: bool
    supersedes: str | None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "observation": self.observation.to_json(),
            "review_of": self.machine.id,
            "changes": None if self.changes is None else self.changes.to_json(),
            "written": self.written,
            "supersedes": self.supersedes,
        }


@dataclass(frozen=True)
class _Signature:
    """Who says so, when and why."""

    reviewer: str
    reason: str | None
    day: date

    @classmethod
    def of(cls, reviewer: str | None, reason: str | None, day: date | None) -> _Signature:
        name = " ".join((reviewer or "").split())
        if not name:
            raise ReviewError("who reviewed it? Give --reviewer NAME")
        today = datetime.now(UTC).date()
        if day is not None and day > today:
            raise ReviewError(f"a review of {day} lies in the future")
        return cls(name, " ".join((reason or "").split()) or None, day or today)

    def to_json(self) -> dict[str, Any]:
        return {"reviewer": self.reviewer, "reason": self.reason, "date": self.day.isoformat()}


def apply_review(
    store: Store,
    path: str | Path,
    *,
    reviewer: str | None,
    reason: str | None = None,
    day: date | None = None,
    observation: str | None = None,
    aoi: str | Path | None = None,
    scenes: Iterable[str | Path] = (),
) -> Applied:
    """Count the corrected boxes and keep the count.

    Args:
        store: Where the machine's observation is.
        path: The corrected GeoPackage, or GeoJSON.
        reviewer: Who corrected it.
        reason: Why, in a sentence.
        day: When; today by default.
        observation: Which one, for a file that doesn't tell.
        aoi: The area's file; by default what the export carries.
        scenes: Images or folders with the scene; then the review gets an evidence picture of its own.

    Raises:
        ReviewError: If the file isn't a review, a box in it makes no sense, or the reviewer isn't named.
        StoreError: If the store can't be written. What it holds stays.
    """
    signature = _Signature.of(reviewer, reason, day)
    corrections = read_corrections(path)
    id = observation or corrections.observation
    if id is None:
        raise ReviewError(f"{path}: doesn't say which observation it corrects; give --observation ID")
    machine = reviewed_by_hand(find_observation(store, id), store)
    area = _area(store, corrections, machine, aoi)
    given = list(scenes)
    scene = find_scene(given, machine) if given else None
    stored = store.detections(machine.id)
    corrected = compared(corrections, stored, area)
    detections = _detections(corrected, corrections, machine, stored, scene)
    counted = count_area(detections, area, machine.datetime.date())
    count = counted.total.count
    low, high = count_interval(count)
    marked = counted.detections.frame.assign(
        box=corrected.boxes["box"].to_numpy(), note=corrected.boxes["note"].to_numpy(object)
    )
    content = {
        "boxes": [
            [str(category), shapely.to_wkt(shape, rounding_precision=6)]
            for category, shape in zip(marked["category"], marked.geometry, strict=True)
        ]
    }
    values: dict[str, Any] = {
        "count": float(count),
        "count_low": low,
        "count_high": high,
        "occupied_length_m": round(counted.length_m, 1),
        # Boxes of older stores have no types.
        "count_by_type": counted.by_type if stored is not None and "car_type" in stored else None,
        "zones": {name: _interval(one.count) for name, one in counted.zones.items()},
        "tracks": {name: _interval(one.count) for name, one in counted.tracks.items()},
        "warnings": _warnings(counted, machine, area),
    }
    details = {"kind": "boxes", "changes": corrected.changes.to_json()}
    return _kept(
        store,
        machine,
        signature,
        values,
        details,
        content,
        changes=corrected.changes,
        detections=replace(detections, frame=marked),
        scene=scene,
        area=area,
    )


def set_count(
    store: Store,
    id: str,
    count: float,
    *,
    reviewer: str | None,
    reason: str | None = None,
    low: float | None = None,
    high: float | None = None,
    day: date | None = None,
    at_least: bool = False,
    zones: Mapping[str, float] | None = None,
) -> Applied:
    """Keep a count made by eye, without boxes.

    Args:
        store: Where the machine's observation is.
        id: Its id, or the beginning of it.
        count: Freight cars in the area.
        reviewer: Who counted.
        reason: Why, in a sentence.
        low: Lower end of what the reviewer holds possible (90%); by default a reviewer's usual error.
        high: Upper end.
        day: When; today by default.
        at_least: Whether there may have been more.
        zones: Freight cars of zones, by their ids.

    Raises:
        ReviewError: If there is no such observation, the reviewer isn't named or the numbers contradict.
        StoreError: If the store can't be written. What it holds stays.
    """
    signature = _Signature.of(reviewer, reason, day)
    machine = reviewed_by_hand(find_observation(store, id), store)
    if not math.isfinite(count) or count < 0:
        raise ReviewError(f"a count of {count:g} freight cars can't be")
    usual_low, usual_high = count_interval(count)
    low = min(usual_low, count) if low is None else low
    high = max(usual_high, count) if high is None else high
    if not 0 <= low <= count <= high or not math.isfinite(high):
        raise ReviewError(f"the count {count:g} doesn't lie between --low {low:g} and --high {high:g}")
    numbers: dict[str, Any] = interval_json(count, low, high)
    if at_least:
        numbers["lower_bound"] = True
    if zones:
        numbers["zones"] = {name: _interval(value) for name, value in zones.items()}
    return _kept(store, machine, signature, numbers, {"kind": "count"}, numbers)


def _interval(count: float) -> dict[str, float]:
    return interval_json(count, *count_interval(count))


def _area(
    store: Store, corrections: Corrections, machine: Observation, aoi: str | Path | None
) -> AreaOfInterest:
    document = area_in(corrections.facts) if aoi is None else None
    if document is None:
        return area_of(store, machine, aoi)
    area = area_from_document(document, corrections.path)
    if area.name != machine.aoi:
        raise ReviewError(f"{corrections.path}: carries the area {area.name}, not {machine.aoi}")
    return area


def _detections(
    corrected: Corrected,
    corrections: Corrections,
    machine: Observation,
    stored: gpd.GeoDataFrame | None,
    scene: Scene | None,
) -> Detections:
    """The corrected boxes in the form that the counting takes; a reviewer's box has the score 1."""
    boxes = corrected.boxes
    if scene is not None and scene.crs is not None:
        boxes = boxes.to_crs(scene.crs)
    gsd_m = float(machine.provenance.get("gsd_m") or (scene.gsd_m if scene else 0.0))
    azimuth = boxes["azimuth_deg"].to_numpy(np.float64)
    if len(boxes) and pyproj.CRS(boxes.crs).is_projected:
        azimuth = np.array([size_of(shape)[2] for shape in boxes.geometry])
    whole = frame_of(
        list(boxes.geometry),
        boxes.crs,
        score=np.ones(len(boxes)),
        category=np.array([CATEGORIES.index(name) for name in boxes["category"]], np.int64),
        length_m=boxes["length_m"].to_numpy(np.float64),
        width_m=boxes["width_m"].to_numpy(np.float64),
        azimuth_deg=azimuth,
        pixel_box=_pixel_boxes(boxes, scene, stored, corrections.facts),
        image=str(machine.provenance.get("file", "")),
        gsd_m=gsd_m,
    )
    nothing = whole.iloc[:0].copy()
    if stored is not None:  # what the machine measured and nobody touched stays as it was
        for row in np.flatnonzero(boxes["box"].notna()):
            source = stored.iloc[int(boxes["box"].iloc[row]) - 1]
            if whole.at[row, "category"] == "freight":
                whole.at[row, "car_type"] = source.get("car_type") or UNKNOWN
            if not boxes["touched"].iloc[row]:
                for name in ("length_m", "width_m", "azimuth_deg"):
                    whole.loc[row, name] = float(source[name])
                whole.at[row, "pixel_box"] = [float(value) for value in source["pixel_box"]]
    return Detections(
        frame=whole,
        below_threshold=nothing,
        scene_id=machine.scene,
        gsd_m=gsd_m,
        valid_fraction=machine.clear_fraction,
    )


def _pixel_boxes(
    boxes: gpd.GeoDataFrame, scene: Scene | None, stored: gpd.GeoDataFrame | None, facts: Mapping[str, str]
) -> NDArray[np.float64]:
    """Boxes in the scene's pixels, (N, 5); NaN where nothing tells how the scene lies."""
    if not len(boxes):
        return np.zeros((0, 5))
    if scene is not None and scene.georeferenced:
        return np.asarray(map_to_boxes(scene, boxes.geometry.to_numpy()), np.float64)
    transform = pixel_transform(stored)
    if transform is None and facts.get("pixel_to_map"):
        transform = tuple(json.loads(facts["pixel_to_map"]))
    if transform is None:
        return np.full((len(boxes), 5), np.nan)
    back = ~Affine(*transform[:6])
    rows = []
    for shape in boxes.geometry:
        corners = np.asarray(shapely.minimum_rotated_rectangle(shape).exterior.coords)[:4, :2]
        pixels = apply_affine(back, corners)
        sides = np.diff(pixels[:3], axis=0)
        lengths = np.hypot(sides[:, 0], sides[:, 1])
        along = sides[int(lengths.argmax())]
        angle = np.degrees(np.arctan2(along[1], along[0])) % 180.0
        rows.append([*pixels.mean(axis=0), lengths.max(), lengths.min(), angle])
    return np.array(rows, np.float64)


def _warnings(counted: AreaCount, machine: Observation, area: AreaOfInterest) -> tuple[str, ...]:
    found = list(counted.warnings)
    if machine.hidden_fraction:
        found.append(
            f"{machine.hidden_fraction:.0%} of the area is hidden by masks: boxes there aren't counted, so "
            "the true count may be higher."
        )
    if machine.provenance.get("area") not in (None, area.digest):
        found.append(
            "The area has changed since the machine counted: this review counts by the newer outline, and "
            "the two counts aren't of quite the same ground."
        )
    return tuple(found)


def _kept(
    store: Store,
    machine: Observation,
    signature: _Signature,
    values: Mapping[str, Any],
    details: Mapping[str, Any],
    content: Mapping[str, Any],
    *,
    changes: Changes | None = None,
    detections: Detections | None = None,
    scene: Scene | None = None,
    area: AreaOfInterest | None = None,
) -> Applied:
    """Keep a review, unless the last review of that observation says just the same."""
    said = {"by": signature.to_json(), **content}
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
    last = latest_review(store, machine)
    if last is not None and _review_of(last).get("content") == digest:
        return Applied(last, machine, changes, False, _review_of(last).get("supersedes"))
    supersedes = None if last is None else last.id
    # The one before is part of the key: who goes back to an earlier view says something new.
    key = {"review_of": machine.id, "content": digest, "supersedes": supersedes}
    kept = {name: machine.provenance.get(name) for name in ("file", "sha256", "gsd_m")}
    provenance = {
        **{name: value for name, value in kept.items() if value is not None},
        "area": area.digest if area is not None else machine.provenance.get("area"),
        "area_limitations": machine.provenance.get("area_limitations", []),
        "code_version": __version__,
        "created": iso(datetime.now(UTC)),
        "review": {
            **signature.to_json(),
            **details,
            "machine_count": machine.count,
            "supersedes": supersedes,
            "content": digest,
        },
    }
    id = observation_id(aoi=machine.aoi, when=machine.datetime, method="reviewed", key=key)
    reviewed = Observation(
        id=id,
        aoi=machine.aoi,
        scene=machine.scene,
        datetime=machine.datetime,
        sensor=machine.sensor,
        method="reviewed",
        clear_fraction=machine.clear_fraction,
        hidden_fraction=machine.hidden_fraction,
        provenance=provenance,
        geometry=geometry_json(area.boundary) if area is not None else machine.geometry,
        review_of=machine.id,
        **values,
    )
    picture = image = None
    if scene is not None and detections is not None:
        picture = evidence.render(scene, detections, area, reviewed)
        image = evidence.without_drawings(scene, picture, area)
    store.review(reviewed, detections=detections, evidence=picture, image=image)
    return Applied(reviewed, machine, changes, True, supersedes)


def _review_of(observation: Observation) -> Mapping[str, Any]:
    review = observation.provenance.get("review")
    return review if isinstance(review, Mapping) else {}
