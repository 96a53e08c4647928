"""What a review is about: the observation that is meant, its area, its scene and the cut of it to look at."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import rasterio
import shapely
import shapely.geometry
from affine import Affine

from aoi import AreaOfInterest, area_names, load_area
from aoi.files import replacing
from geo import Scene, open_scene
from railwatch.errors import ReviewError
from railwatch.pipeline.find_scenes import find_scenes
from railwatch.store.areas import area_version
from railwatch.store.observation import Observation, latest_reviews
from railwatch.store.store import Store

__all__ = [
    "area_of",
    "find_observation",
    "find_scene",
    "latest_review",
    "reviewed_by_hand",
    "write_cut",
]


def find_observation(store: Store, id: str) -> Observation:
    """Return an observation by its id, or by the beginning of it where only one begins so.

    Raises:
        ReviewError: If there is none, or several; the message names near ones.
    """
    found = store.get(id)
    if found is not None:
        return found
    known = sorted(one.id for one in store.observations(superseded=True))
    beginning = [name for name in known if id and name.startswith(id)]
    if len(beginning) == 1:
        only = store.get(beginning[0])
        if only is not None:
            return only
    if len(beginning) > 1:
        raise ReviewError(f"{len(beginning)} observations begin with {id!r}: {_few(beginning)}")
    near = difflib.get_close_matches(id, known, n=3, cutoff=0.5) or [name for name in known if id in name]
    if near:
        raise ReviewError(f"the store {store.path} has no observation {id!r}; did you mean {_few(near)}?")
    there = f"; it has {_few(known)}" if known else "; it is empty"
    raise ReviewError(f"the store {store.path} has no observation {id!r}{there}")


def _few(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def reviewed_by_hand(observation: Observation, store: Store) -> Observation:
    """Return the machine's observation behind a review, or the observation itself if it isn't one.

    Raises:
        ReviewError: If the store has lost the machine's.
    """
    if observation.review_of is None:
        return observation
    machine = store.get(observation.review_of)
    if machine is None:
        raise ReviewError(
            f"{observation.id} is a review of {observation.review_of}, which the store {store.path} "
            "no longer holds"
        )
    return machine


def latest_review(store: Store, machine: Observation) -> Observation | None:
    """Return the review that now stands in for a machine's observation, or None."""
    everything = latest_reviews(store.observations(machine.aoi, superseded=True))
    reviews = [one for one in everything if one.review_of == machine.id]
    return max(reviews, key=lambda one: (one.created, one.id), default=None)


def area_of(store: Store, observation: Observation, aoi: str | Path | None = None) -> AreaOfInterest:
    """Return the area of an observation: as given, else the version that it was counted by.

    A store of an older railwatch doesn't keep it: then the bundled area of its name, else its outline.

    Args:
        store: The store that holds the observation.
        observation: The machine's observation.
        aoi: A bundled name or an area file.

    Raises:
        AreaError: If the file can't be read.
        ReviewError: If it is another area, or if the observation was counted on tracks or in zones that
            only the area's file knows.
    """
    digest = observation.provenance.get("area")
    if aoi is None and digest is not None:
        kept = area_version(store.path, observation.aoi, str(digest))
        if kept is not None:
            return kept
    if aoi is None and observation.aoi in area_names():
        aoi = observation.aoi
    if aoi is not None:
        area = load_area(aoi)
        if area.name != observation.aoi:
            raise ReviewError(f"{observation.id} is an observation of {observation.aoi}, not of {area.name}")
        return area
    if observation.geometry is None or observation.tracks or observation.zones or observation.hidden_fraction:
        raise ReviewError(
            f"{observation.id} was counted by an area file that isn't bundled; give it with --aoi FILE, so "
            "that the correction is counted by the same rules"
        )
    outline = shapely.geometry.shape(dict(observation.geometry))
    return AreaOfInterest(name=observation.aoi, title=observation.aoi, boundary=outline)


_MARGIN = 0.05
_LONGEST_PX = 12_000


def find_scene(paths: Iterable[str | Path], observation: Observation) -> Scene:
    """Return the scene that an observation was made of.

    Args:
        paths: Images, and folders that are searched at any depth.
        observation: Tells the content (SHA-256) that the scene must have.

    Raises:
        ReviewError: If none of them is that scene.
        SceneError: If a single file is given and can't be read.
    """
    given = [Path(path) for path in paths]
    found, skipped = find_scenes(given)
    if not found and skipped:
        raise ReviewError(f"{skipped[0].path}: {skipped[0].reason.rstrip('.')}")
    name = str(observation.provenance.get("file", ""))
    wanted = observation.provenance.get("sha256")
    # Those of the same name first: reading all of every other image may take long.
    for path in sorted(found, key=lambda one: (one.name != name, one)):
        try:
            scene = open_scene(path, when=observation.datetime)
            if scene.sha256() == wanted:
                return scene
        except Exception:
            if len(found) == 1:
                raise
    where = str(given[0]) if len(given) == 1 else f"the {len(found)} images given"
    raise ReviewError(f"{where}: not the scene {name or observation.scene} that {observation.id} was made of")


def write_cut(scene: Scene, area: AreaOfInterest, path: Path) -> Path:
    """Write the part of a scene about an area as a GeoTIFF, stretched as the detector saw it.

    Args:
        scene: With a position.
        area: In longitude and latitude.
        path: The file.

    Raises:
        SceneError: If the scene can't be read.
        OSError: If the file can't be written.
    """
    window = _window(scene, area)
    image, valid = scene.read(window, max_px=_LONGEST_PX)
    height, width = image.shape[:2]
    scale = max(1.0, max(window[2] - window[0], window[3] - window[1]) / _LONGEST_PX)
    # Written out, because affine changes the operator that composes transforms between its versions.
    a, b, c, d, e, f = tuple(scene.transform)[:6]
    left, top = window[:2]
    transform = Affine(
        a * scale, b * scale, a * left + b * top + c, d * scale, e * scale, d * left + e * top + f
    )
    with (
        replacing(path) as temporary,
        rasterio.open(
            temporary,
            "w",
            driver="GTiff",
            width=width,
            height=height,
            count=4,
            dtype="uint8",
            crs=scene.crs,
            transform=transform,
            photometric="RGB",
            alpha="YES",
            tiled=True,
            compress="deflate",
        ) as raster,
    ):
        raster.write(np.moveaxis(image, 2, 0), indexes=[1, 2, 3])
        raster.write(valid.astype(np.uint8) * 255, indexes=4)
        if max(width, height) > 2048:
            raster.build_overviews([2, 4, 8], rasterio.enums.Resampling.average)
    return path


def _window(scene: Scene, area: AreaOfInterest) -> tuple[int, int, int, int]:
    outline = shapely.transform(area.to_crs(scene.crs).boundary, scene.map_to_pixel)
    left, top, right, bottom = outline.bounds
    margin = _MARGIN * max(right - left, bottom - top)
    window = (
        max(0, int(np.floor(left - margin))),
        max(0, int(np.floor(top - margin))),
        min(scene.width, int(np.ceil(right + margin))),
        min(scene.height, int(np.ceil(bottom + margin))),
    )
    if window[0] >= window[2] or window[1] >= window[3]:
        raise ReviewError(f"{scene.path}: doesn't show the area {area.name}")
    return window
