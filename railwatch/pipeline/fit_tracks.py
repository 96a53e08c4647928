"""Track lines for an area where nobody has drawn them: fitted to images, or to what a store remembers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from aoi import AreaOfInterest
from aoi.errors import InputError
from aoi.railway_lines import RailLine, Railways
from aoi.track_import import TrackImport, put_tracks
from geo import Scene, SceneError, open_scene
from geo.tracks import CentreLine, PlaneGrid, TrackObservation, combine, fit_centre_lines
from geo.tracks.polylines import angles, axis_difference, beside, resampled, runs
from railwatch.errors import StoreError
from railwatch.pipeline import Progress, Silent
from railwatch.pipeline.find_scenes import Skipped, without_path
from railwatch.store.observation import current, iso
from railwatch.store.store import Store

if TYPE_CHECKING:
    from detector.wagons.detector import WagonDetector

__all__ = ["FITTED", "FittedTrack", "TrackFit", "TrackSource", "tracks_from_images", "tracks_from_store"]

log = logging.getLogger(__name__)

FITTED = "fitted"
"""The origin of fitted tracks: a later fit, of images or of a store, replaces those of an earlier one."""

# Pieces of lines that a boundary or a track that is there already leaves over are no tracks.
_SHORTEST_M = 20.0
# A fitted line this near to a track that is there already, and in its direction, is that track.
_SAME_TRACK_M = 3.0
_SAME_WAY_DEG = 10.0
# A line is drawn with as few points as keep it this near.
_STRAIGHT_M = 0.05


@dataclass(frozen=True)
class TrackSource:
    """An image or an observation that tracks were fitted to.

    Attributes:
        name: File name of the image, or id of the observation.
        datetime: When it was taken (ISO 8601, UTC), or None if nothing tells it.
        moved_m: How far it was moved to lie over the others, metres.
    """

    name: str
    datetime: str | None
    moved_m: float

    def to_json(self) -> dict[str, Any]:
        """Return it as it stands in area files and in ``--json``."""
        return {"name": self.name, "datetime": self.datetime, "moved_m": round(self.moved_m, 1)}


@dataclass(frozen=True)
class FittedTrack:
    """A line that was fitted, and its parts within the boundary in longitude and latitude."""

    id: str
    line: CentreLine
    course: tuple[shapely.LineString, ...]


@dataclass(frozen=True)
class TrackFit:
    """What a fit did.

    Attributes:
        done: What was written.
        tracks: The lines, the longest first.
        observations: What they were fitted to.
        skipped: Images that couldn't be used.
        known_m: Metres of fitted line left out, because a track of another origin runs there.
    """

    done: TrackImport
    tracks: tuple[FittedTrack, ...]
    sources: tuple[TrackSource, ...]
    skipped: tuple[Skipped, ...]
    known_m: float


def tracks_from_images(
    name_or_path: str | Path,
    images: Sequence[Path],
    detector: WagonDetector,
    *,
    out: Path | None = None,
    progress: Progress | None = None,
) -> TrackFit:
    """Fit track lines to images of an area and write them into its file.

    Args:
        name_or_path: A bundled area or an area file.
        images: Images with a position, of 1.2 m a pixel or finer. Several of different days show more than
            one: wagons stand elsewhere, and what only one of them shows is believed less.
        detector: The wagon detector.
        out: The file to write, see `aoi.track_import.import_tracks`.
        progress: Told of every image.

    Raises:
        InputError: If no image can be used (of a single one: why), no track is found, or the area file can't
            be read or written. Nothing is written then.
    """
    report = progress or Silent()
    fit = _AreaFit("wagons and track surface on images", "image", detector.name, detector.version)

    def gather(area: AreaOfInterest, grid: PlaneGrid) -> None:
        from detector.wagons.track_map import look_for_tracks

        known: dict[str, Path] = {}
        for number, path in enumerate(images):
            report.label(path.name)
            report(number, len(images))
            try:
                scene = _opened(path)
                if (content := scene.sha256()) in known:
                    raise SceneError(f"{path}: is the same image as {known[content]}")
                with report.bar("tiles") as tiles:
                    seen = look_for_tracks(detector, scene, area, grid, progress=tiles)
            except InputError as error:
                if len(images) == 1:
                    raise
                fit.skipped.append(Skipped(path, without_path(error, path)))
                continue
            known[content] = path
            fit.add(seen, path.name, None if scene.datetime is None else iso(scene.datetime))
        report(len(images), len(images))
        report.label("fitting lines")
        if not fit.observations:
            reasons = "; ".join(f"{one.path}: {one.reason}" for one in fit.skipped[:3])
            raise InputError(f"none of the {len(images)} images could be used: {reasons}")

    names = str(images[0]) if len(images) == 1 else f"{images[0]} and {len(images) - 1} more"
    return fit.write(name_or_path, gather, names, out)


def tracks_from_store(name_or_path: str | Path, store: Store, *, out: Path | None = None) -> TrackFit:
    """Fit track lines to the wagons that a store remembers of an area, over all its observations.

    Without images there is no map of where a track is empty: lines are found where wagons stood.

    Args:
        name_or_path: A bundled area or an area file.
        store: Where the observations are.
        out: The file to write, see `aoi.track_import.import_tracks`.

    Raises:
        StoreError: If the store holds no boxes of this area, or can't be read.
        AreaError: If no track is found, or the area file can't be read or written. Nothing is written then.
    """
    fit = _AreaFit("wagons of the observations in a store", "observation")

    def gather(area: AreaOfInterest, grid: PlaneGrid) -> None:
        from detector.wagons.track_map import MARGIN_M, sightings_of

        around = grid.shape_in_frame(area.boundary).buffer(MARGIN_M)
        # a reviewer's boxes stand in for those that they correct
        for one in current(store.observations(area.name, superseded=True), reviewed=True):
            boxes = None if one.abstained else store.readable_detections(one.id)
            if boxes is None or boxes.crs is None:
                continue
            sightings = sightings_of(boxes, grid)
            inside = shapely.covers(around, shapely.points(sightings.xy))
            fit.add(TrackObservation(sightings.take(np.asarray(inside, np.bool_))), one.id, iso(one.datetime))
        if not fit.observations:
            raise StoreError(
                f"The store {store.path} holds no wagons of {area.name}; 'railwatch run' looks for them."
            )

    return fit.write(name_or_path, gather, str(store.path), out)


class _AreaFit:
    """The observations of one fit, and the way from them to the area file."""

    def __init__(self, method: str, noun: str, *detector: str):
        self.method, self.noun, self.detector = method, noun, " ".join(detector)
        self.observations: list[TrackObservation] = []
        self.names: list[tuple[str, str | None]] = []
        self.skipped: list[Skipped] = []

    def add(self, observation: TrackObservation, name: str, when: str | None) -> None:
        """Take up an observation."""
        self.observations.append(observation)
        self.names.append((name, when))

    def write(
        self,
        name_or_path: str | Path,
        gather: Callable[[AreaOfInterest, PlaneGrid], None],
        source: str,
        out: Path | None,
    ) -> TrackFit:
        """Gather the observations, fit the lines and write them."""
        tracks: list[FittedTrack] = []
        sources: list[TrackSource] = []
        known = [0.0]

        def find(area: AreaOfInterest) -> Sequence[Railways]:
            grid = PlaneGrid.around(area)
            gather(area, grid)
            evidence = combine(grid, self.observations)
            sources.extend(
                TrackSource(name, when, moved)
                for (name, when), moved in zip(self.names, evidence.moved_m, strict=True)
            )
            lines = fit_centre_lines(evidence)
            found, known[0] = _placed(lines, area, grid)
            tracks.extend(found)
            return [self._railways(tracks, sources)]

        def nothing(area: AreaOfInterest) -> str:
            if known[0]:
                return f"{source}: no track of {area.name} to be seen beside those that its file has already"
            return (
                f"{source}: no track can be made out in the boundary of {area.name}; {self.noun}s of more "
                "days, with wagons on its tracks, would help"
            )

        done = put_tracks(name_or_path, find, nothing, out=out)
        return TrackFit(done, tuple(tracks), tuple(sources), tuple(self.skipped), known[0])

    def _railways(self, tracks: Sequence[FittedTrack], sources: Sequence[TrackSource]) -> Railways:
        dates = sorted(source.datetime[:10] for source in sources if source.datetime)
        number = f"1 {self.noun}" if len(sources) == 1 else f"{len(sources)} {self.noun}s"
        credit = {
            "title": f"Fitted by railwatch to {number}",
            "used_for": f"track lines, from {self.method}",
        }
        if dates:
            credit["date"] = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
        lines = tuple(
            RailLine(track.id, part, None, self._evidence(track.line, sources))
            for track in tracks
            for part in track.course
        )
        return Railways(FITTED, credit, lines, {})

    def _evidence(self, line: CentreLine, sources: Sequence[TrackSource]) -> dict[str, Any]:
        """What a reader of the file is told about a track."""
        told: dict[str, Any] = {
            "method": f"fitted to {self.method}",
            f"{self.noun}s": [source.to_json() for source in sources],
            f"{self.noun}s_with_wagons": len(line.observations),
            "sightings": line.sightings,
            "occupied_share": round(line.occupied_share, 2),
            "bridged_share": round(line.bridged_share, 2),
            "uncertainty_m": round(line.uncertainty_m, 1),
        }
        if line.likelihood is not None:
            told["track_likelihood"] = round(line.likelihood, 2)
        if line.scatter_m is not None:
            told["scatter_m"] = round(line.scatter_m, 2)
        if self.detector:
            told["detector"] = self.detector
        return told


def _opened(path: Path) -> Scene:
    """An image, which must have a position.

    Raises:
        SceneError: If it can't be opened or has none.
    """
    try:
        return open_scene(path)
    except SceneError:
        # without a position an image opens if its scale is given; then that was what it lacked
        scene = open_scene(path, gsd_m=0.5)
    raise SceneError(f"{scene.path}: has no position, so tracks can't be laid on the map from it")


def _placed(
    lines: Sequence[CentreLine], area: AreaOfInterest, grid: PlaneGrid
) -> tuple[list[FittedTrack], float]:
    """Lines cut at the boundary and out of the way of tracks of other origins; and metres cut for these."""
    boundary = grid.shape_in_frame(area.boundary)
    others = [track for track in area.tracks if track.properties.get("origin") != FITTED]
    drawn = [
        (resampled(shapely.get_coordinates(grid.shape_in_frame(track.line)))[0], track.uncertainty_m or 0.0)
        for track in others
    ]
    taken = {track.id for track in others}
    found: list[FittedTrack] = []
    known = 0.0
    number = 0
    for line in lines:
        own = [part for part in _without(line.xy, drawn) if len(part) > 1]
        inside = [piece for part in own for piece in _inside(part, boundary)]
        before = sum(piece.length for piece in _inside(line.xy, boundary))
        course = tuple(
            shapely.transform(piece.simplify(_STRAIGHT_M), grid.lonlat)
            for piece in inside
            if piece.length >= _SHORTEST_M
        )
        known += max(0.0, before - sum(piece.length for piece in inside))
        if not course:
            continue
        number += 1
        while f"fitted-{number}" in taken:
            number += 1
        found.append(FittedTrack(f"fitted-{number}", line, course))
    return found, known


def _inside(xy: np.ndarray, boundary: shapely.Geometry) -> list[shapely.LineString]:
    parts = shapely.get_parts(shapely.LineString(xy).intersection(boundary))
    return [part for part in parts if isinstance(part, shapely.LineString)]


def _without(xy: np.ndarray, drawn: Sequence[tuple[np.ndarray, float]]) -> list[np.ndarray]:
    """The stretches of a line along which no track is drawn yet."""
    free = np.ones(len(xy), bool)
    way = angles(xy)
    for other, doubt in drawn:
        near, number, _ = beside(other, xy, _SAME_TRACK_M + doubt)
        turned = np.abs(axis_difference(way[near], angles(other)[number]))
        free[near[turned < np.radians(_SAME_WAY_DEG)]] = False
    return [xy[first:last] for first, last in runs(free)]
