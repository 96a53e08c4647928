"""Which observation is meant, which one counts, by which area."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

import shapely.geometry

from aoi import AreaOfInterest, area_names, load_area
from railwatch.errors import ReviewError
from railwatch.store.areas import area_version
from railwatch.store.observation import Observation, current, latest_reviews
from railwatch.store.store import Store

__all__ = ["area_of", "find_observation", "latest_review", "preferred", "reviewed_by_hand"]


def preferred(observations: Iterable[Observation]) -> list[Observation]:
    """Return what the history is told with: the reviewer's word where there is one, else the machine's.

    Of several reviews of a scene the last one counts; the others stay in the store.

    Args:
        observations: Any observations.

    Returns:
        One observation a scene and method, sorted by time, then id.
    """
    return current(observations, reviewed=True)


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
