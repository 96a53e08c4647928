"""Files of one acquisition: copies count once, parts are laid together, and what the store holds stays."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import shapely
from shapely.geometry.base import BaseGeometry

from aoi import AreaOfInterest
from aoi.errors import InputError
from aoi.files import real_path
from geo import Scene
from railwatch.store.observation import Observation, iso

__all__ = ["Candidate", "Skipped", "once_each"]

log = logging.getLogger(__name__)

# Two files that show the area alike but for so much of it show the same part.
_SAME_SHARE = 0.005
# A satellite sweeps over a yard in seconds; frames of one pass follow each other within this.
_ONE_PASS = timedelta(seconds=60)


@dataclass(frozen=True)
class Skipped:
    """An input that isn't counted.

    Attributes:
        path: The file or folder.
        reason: Why not, in one sentence.
        readable: Whether it is an image that could be opened.
        known: Whether it isn't counted because the store holds its count.
    """

    path: Path
    reason: str
    readable: bool = False
    known: bool = False

    def to_json(self) -> dict[str, str]:
        """Return it as in ``railwatch run --json``."""
        return {"path": str(self.path), "reason": self.reason}


@dataclass(frozen=True)
class Candidate:
    """A scene that shows the area and may be counted.

    Attributes:
        path: Its file, or the first one of several.
        id: The scene's id: name and fingerprint of the content.
        datetime: When it was taken, UTC.
        sensor: Its sensor, or ``unknown``.
        gsd_m: Ground sampling distance, metres.
        shown: Share (0-1) of the area inside the raster; 1 where it has no position.
        files: All files with its pixels, resolved.
        content: Gives the SHA-256 of its content; reads all of it when first asked.
        scene: The opened scene.
        ground: What of the area its raster covers, in longitude and latitude; None without a position.
        parts: The candidates that it was laid together from; empty for a single one.
        instead_of: The stored observation of a part of it that its count takes the place of, or None.
    """

    path: Path
    id: str
    datetime: datetime
    sensor: str
    gsd_m: float
    shown: float
    files: tuple[Path, ...]
    content: Callable[[], str]
    scene: Scene
    ground: BaseGeometry | None = None
    parts: tuple[Candidate, ...] = ()
    instead_of: Observation | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files as they were found: one, or those of all parts."""
        return tuple(part.path for part in self.parts) or (self.path,)


def once_each(
    candidates: Iterable[Candidate],
    area: AreaOfInterest,
    stored: Sequence[Observation],
    known: Mapping[str, str],
) -> tuple[list[Candidate], list[Skipped]]:
    """Make one candidate of each acquisition.

    Args:
        candidates: In any order.
        area: In longitude and latitude.
        stored: The observations of this area that the store holds.
        known: SHA-256 of the content by scene id, as far as the store knows it.

    Returns:
        The candidates by time, and the others with their reasons.
    """
    counted = {one.scene for one in stored if not one.abstained}
    ranked = sorted(candidates, key=lambda one: (one.id not in counted, -one.shown, one.gsd_m, one.path))
    skipped: list[Skipped] = []
    single = list(_without_copies(ranked, skipped))
    kept = []
    for same in _by(single, lambda one: (one.sensor, _second(one.datetime))):
        kept += _joined(same, area, known, skipped, "is the same acquisition as")
    passes = []
    for sensor in _by(kept, lambda one: one.sensor):
        for frames in _passes(sorted(sensor, key=lambda one: (one.datetime, one.id))):
            passes += _one_pass(frames, area, known, skipped)
    return _not_stored(passes, stored, skipped), skipped


def _leave(one: Candidate, reason: str, *, known: bool = False) -> Iterator[Skipped]:
    """All files of a candidate with the reason why they aren't counted."""
    for path in one.paths:
        yield Skipped(path, reason, readable=True, known=known)


def _without_copies(ranked: Sequence[Candidate], skipped: list[Skipped]) -> Iterator[Candidate]:
    """Leave out files with the content of another, and those that another is made of (a VRT)."""
    mosaics = {part: one for one in ranked if len(one.files) > 1 for part in one.files}
    kept: list[Candidate] = []
    for one in ranked:
        whole = mosaics.get(real_path(one.path))
        twin = next((other for other in kept if _alike(one, other)), None)
        if whole is not None and whole is not one:
            skipped += _leave(one, f"it is a part of {whole.path.name}, which is counted.")
        elif twin is not None:
            skipped += _leave(one, f"it has the same content as {twin.path.name}, and each counts once.")
        else:
            kept.append(one)
            yield one


def _joined(
    same: Sequence[Candidate],
    area: AreaOfInterest,
    known: Mapping[str, str],
    skipped: list[Skipped],
    what: str,
) -> list[Candidate]:
    """Make one candidate of files of one sensor and time: the best, with those that show other parts."""
    first, *others = same
    parts, doubles, unlaid = [first], [], []
    ground = first.ground
    for one in others:
        if ground is None or one.ground is None or not first.scene.like(one.scene):
            unlaid.append(one)
        elif _gain(one, ground, area) > _SAME_SHARE:
            parts.append(one)
            ground = shapely.union(ground, one.ground)
        else:
            doubles.append(one)
    if ground is not None and unlaid:
        # Other bands or another fineness: what shows more of the area is taken, however coarse it is.
        other = _joined(unlaid, area, known, [], what)[0] if unlaid[0].ground is not None else None
        if other is not None and other.shown > _fraction(ground, area) + _SAME_SHARE:
            for one in same:
                if one not in (other, *other.parts):
                    skipped += _leave(one, f"it {what} {other.path.name}, which shows more of the area.")
            return [other]
    try:
        best = first if len(parts) == 1 else _laid(parts, area, known)
    except InputError as error:
        log.warning("%s", error)
        best, doubles = first, [*doubles, *parts[1:]]
    for one in (*doubles, *unlaid):
        skipped += _leave(one, f"it {what} {best.path.name}, and each counts once.")
    return [best]


def _laid(parts: Sequence[Candidate], area: AreaOfInterest, known: Mapping[str, str]) -> Candidate:
    """Lay parts together.

    Raises:
        InputError: They can't be.
    """
    from geo.mosaic import mosaic  # few acquisitions lie in several files

    singles = [single for part in parts for single in (part.parts or (part,))]
    scene = mosaic([one.scene for one in singles], area)
    ground = shapely.union_all([one.ground for one in singles])

    def content() -> str:
        whole = "\n".join(one.content() for one in singles)
        return known.get(scene.id) or hashlib.sha256(whole.encode()).hexdigest()

    assert scene.datetime is not None  # each part has one
    return replace(
        parts[0],
        id=scene.id,
        datetime=scene.datetime,
        shown=_fraction(ground, area),
        files=tuple(sorted({file for one in singles for file in one.files})),
        content=content,
        scene=scene,
        ground=ground,
        parts=tuple(singles),
    )


def _passes(frames: Sequence[Candidate]) -> Iterator[list[Candidate]]:
    """Frames of one sensor, by time, cut where a minute or more lies between two."""
    run: list[Candidate] = []
    for one in frames:
        if run and one.datetime - run[-1].datetime > _ONE_PASS:
            yield run
            run = []
        run.append(one)
    if run:
        yield run


def _one_pass(
    frames: list[Candidate], area: AreaOfInterest, known: Mapping[str, str], skipped: list[Skipped]
) -> list[Candidate]:
    """Frames taken one after the other: one that shows all that any shows is an image, else a part."""
    grounds = [one.ground for one in frames if one.ground is not None]
    if len(frames) < 2 or len(grounds) < len(frames):
        return frames
    everything = _fraction(shapely.union_all(grounds), area)
    whole = [one for one in frames if one.shown > everything - _SAME_SHARE]
    if whole:
        for one in frames:
            if one not in whole:
                near = min(whole, key=lambda other: abs(other.datetime - one.datetime))
                skipped += _leave(
                    one, f"it is of the same pass as {near.path.name}, which shows more of the area."
                )
        return whole
    ranked = sorted(frames, key=lambda one: (-one.shown, one.gsd_m, one.path))
    return _joined(ranked, area, known, skipped, "is of the same pass as")


def _not_stored(
    candidates: Iterable[Candidate], stored: Sequence[Observation], skipped: list[Skipped]
) -> list[Candidate]:
    """Leave out what the store holds from another file, unless more of the area is shown now."""
    earlier: dict[tuple[str, str], Observation] = {}
    for one in stored:
        key = one.sensor, _second(one.datetime)
        if not one.abstained and one.method == "wagons":
            other = earlier.get(key)
            earlier[key] = one if other is None or one.clear_fraction >= other.clear_fraction else other
    kept = []
    for each in candidates:
        before = earlier.get((each.sensor, _second(each.datetime)))
        if before is None or before.scene == each.id or before.provenance.get("sha256") == each.content():
            kept.append(each)
        elif len(each.parts) > 1 and each.shown > before.clear_fraction + _SAME_SHARE:
            kept.append(replace(each, instead_of=before))
        else:
            file = before.provenance.get("file", before.scene)
            skipped += _leave(
                each, f"it is the same acquisition as {file}, which the store holds.", known=True
            )
    return sorted(kept, key=lambda one: (one.datetime, one.id, one.path))


def _by(candidates: Iterable[Candidate], key: Callable[[Candidate], object]) -> list[list[Candidate]]:
    """Groups with one key, each in the order given."""
    groups: dict[object, list[Candidate]] = {}
    for one in candidates:
        groups.setdefault(key(one), []).append(one)
    return list(groups.values())


def _gain(one: Candidate, ground: BaseGeometry, area: AreaOfInterest) -> float:
    """How much more of the area a candidate shows than some ground, as a share."""
    assert one.ground is not None
    return _fraction(one.ground.difference(ground), area)


def _fraction(ground: BaseGeometry, area: AreaOfInterest) -> float:
    # Both in degrees: the share is the same in any units.
    return float(ground.area / area.boundary.area)


def _alike(one: Candidate, other: Candidate) -> bool:
    # The end of an id is a fingerprint of the content, so that few files need to be read whole.
    if one.id.rpartition("-")[2] != other.id.rpartition("-")[2]:
        return False
    return one.content() == other.content()


def _second(when: datetime) -> str:
    return iso(when.replace(microsecond=0))
