"""Sentinel-2 and PlanetScope dates of an area answered one by one, each against its sensor's own past.

A date's answer follows from its pixels, the area, the settings, the model and the clear dates before it,
and its id is the digest of just these. So the same work has the same id whatever order files and runs came
in; a scene that comes in the middle of the archive gives the dates after it new ids and new answers, and
leaves the old ones beside them as superseded (`railwatch.store.observation.current`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from aoi.files import write_bytes
from geo.sentinel2.chip import PIXEL_M, Chip, ChipOnDisk
from geo.sentinel2.constellation import Constellation
from geo.sentinel2.site import Site
from geo.sentinel2.time_series import DatedImage, KnownShift, dated_images
from railwatch.errors import StoreError, said
from railwatch.pages.pictures.occupancy import render
from railwatch.pipeline import Model, hidden_warning, key_of, provenance_of
from railwatch.pipeline.count_area import hidden_fraction
from railwatch.pipeline.find_scenes import Skipped, unexpected
from railwatch.pipeline.ingest_chips import Date, by_constellation, gather
from railwatch.store.chips import ChipStore, StoredChip
from railwatch.store.observation import Observation, geometry_json, observation_id

if TYPE_CHECKING:
    from aoi import AreaOfInterest
    from detector.occupancy.estimate import FigureInterval, OccupancyEstimate, Pitch
    from geo.sentinel2.formats.product import Product
    from railwatch.config import RunConfig
    from railwatch.store.store import Store

__all__ = ["METHOD", "Answered", "Estimator", "answer"]

log = logging.getLogger(__name__)

METHOD = "occupancy"
_ROUNDS = 5  # while other processes write, the archive may grow as it is being answered
_SAVE_EVERY_S = 20.0
_BACKLOG = 2  # dates that wait to be answered: each holds its pixels


class Estimator(Model, Protocol):
    """What says how much of a yard is occupied; `detector.occupancy.OccupancyEstimator` is one."""

    @property
    def pitch(self) -> Pitch:
        """The track length a car that counts rest on unless another one is declared."""

    def estimate(self, image: DatedImage, site: Site, *, pitch: Pitch | None = None) -> OccupancyEstimate:
        """Answer an image that may be answered."""

    def refusal(self, site: Site) -> str | None:
        """Return a sentence why nothing can be said about a place at all, or None."""


@dataclass(frozen=True)
class Answered:
    """What came of an area's Sentinel-2 products.

    Attributes:
        observations: Of the given acquisitions, and of others whose answer changed with them; by time.
        new: Ids of those made now.
        skipped: Products that weren't taken, and dates that failed.
        renewed: How many dates that had an answer got another one.
    """

    observations: tuple[Observation, ...] = ()
    new: frozenset[str] = frozenset()
    skipped: tuple[Skipped, ...] = ()
    renewed: int = 0


def answer(
    products: Sequence[Product],
    area: AreaOfInterest,
    config: RunConfig,
    store: Store,
    load: Callable[[], Estimator],
    *,
    reading: Callable[[int, int], None] = lambda done, total: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Answered:
    """Keep the pixels of the products and answer every date that has no answer yet.

    Args:
        products: In any order.
        area: In longitude and latitude.
        config: The settings.
        store: Where pixels, answers and what is known between dates are kept.
        load: Gives the estimator when it is needed.
        reading: Told of every acquisition that is read.
        progress: Told of every date that is looked at.

    Raises:
        StoreError: If the store can't be written. What it holds stays.
        SceneError: If the area lies where Sentinel-2 doesn't go.
        WeightsError: If the estimator's weights can't be used.
    """
    site, loaded = Site.of(area), cache(load)
    left_out: list[Skipped] = []
    found: list[Answered] = []
    for sensor, own in by_constellation(products):
        chips = ChipStore.of(store.path, area, site.grid, sensor)
        dates, skipped = gather(own, area, chips, reading)
        left_out += skipped
        if dates:
            job = _AreaJob(area, config, store, site, chips, sensor, loaded())
            found.append(_series(job, dates, progress))
    observations = [one for series in found for one in series.observations]
    return Answered(
        observations=tuple(sorted(observations, key=lambda one: (one.datetime, one.id))),
        new=frozenset[str]().union(*(series.new for series in found)),
        skipped=(*left_out, *(one for series in found for one in series.skipped)),
        renewed=sum(series.renewed for series in found),
    )


def _series(job: _AreaJob, dates: Sequence[Date], progress: Callable[[int, int], None]) -> Answered:
    """Answer the dates of one sensor."""
    area, chips = job.area, job.chips
    given = {one.kept.id for one in dates if one.given}
    had = {one.scene for one in job.store.observations(area.name, superseded=True) if one.method == METHOD}
    for _ in range(_ROUNDS):
        job.run(dates, progress)
        # Another process may have brought in dates meanwhile, which its answers and ours then don't know of.
        now, _ = gather((), area, chips)
        if [one.kept.content for one in now] == [one.kept.content for one in dates]:
            break
        dates = now
    shown = [one for one in job.answers.values() if one.scene in given or one.id in job.new]
    return Answered(
        observations=tuple(sorted(shown, key=lambda one: (one.datetime, one.id))),
        new=frozenset(one.id for one in shown if one.id in job.new),
        skipped=tuple(job.failed.values()),
        renewed=sum(one.id in job.new and one.scene in had for one in shown),
    )


# ---- what is known between runs --------------------------------------------------------------------


@dataclass(frozen=True)
class _Known:
    """What is known of a date.

    Attributes:
        content: Digest of its chip.
        history: Digest of the dates that its answer may rest on; see `_Chain`.
        known_shift: Where it lies, and whether it may stand in the history of others.
    """

    content: str
    history: str
    known_shift: KnownShift


def _read_history(path: Path) -> list[_Known]:
    """Read what is known of dates, oldest first; empty where it can't be read: it follows from the chips."""
    try:
        given = json.loads(path.read_bytes())
        return [
            _Known(str(one["content"]), str(one["history"]), KnownShift.from_json(one["placement"]))
            for one in given["dates"]
        ]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s can't be read and is made anew: %s", path, error)
        return []


def _write_history(path: Path, entries: Sequence[_Known]) -> None:
    """Write what is known of dates, whole or not at all.

    Raises:
        StoreError: If it can't be written.
    """
    dates = [
        {"content": one.content, "history": one.history, "placement": one.known_shift.to_json()}
        for one in entries
    ]
    try:
        write_bytes(path, json.dumps({"version": 1, "dates": dates}).encode())
    except OSError as error:
        raise StoreError(f"{path} can't be written: {said(error)}.") from error


class _Chain:
    """Digests of what the answers of dates rest on, taken one after the other.

    A date that may not stand in the history of others (clouds) leaves no trace in those of later dates: their
    answers don't change with it.
    """

    def __init__(self) -> None:
        self._before = hashlib.sha256(b"railwatch history 2").hexdigest()

    def digest(self, content: str) -> str:
        """Return the digest of the next date with all accepted ones before it."""
        return hashlib.sha256(f"{self._before} {content}".encode()).hexdigest()

    def take(self, known: _Known) -> None:
        """Go on to the date after this one."""
        if known.known_shift.accepted:
            self._before = known.history


# ---- answering -------------------------------------------------------------------------------------


class _UnreadableChip(Exception):
    """A chip whose pixels can't be read; the others go on without it."""

    def __init__(self, content: str, message: str) -> None:
        super().__init__(message)
        self.content = content


@dataclass
class _AreaJob:
    """The work on one area.

    Attributes:
        sensor: Whose dates these are.
        answers: By acquisition, of all dates of the last pass.
        new: Ids of the answers that were made.
        failed: By acquisition, dates that couldn't be answered for a reason that nobody foresaw.
    """

    area: AreaOfInterest
    config: RunConfig
    store: Store
    site: Site
    chips: ChipStore
    sensor: Constellation
    estimator: Estimator
    answers: dict[str, Observation] = field(default_factory=dict)
    new: set[str] = field(default_factory=set)
    failed: dict[str, Skipped] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The file of what is known between runs; tracks shape the frame, so each area file has its own."""
        return self.chips.path / f"looks-{self.area.digest[:12]}.json"

    def run(self, dates: Sequence[Date], progress: Callable[[int, int], None]) -> None:
        """Answer all dates that have no answer with the history that there now is."""
        self.answers, self.failed = {}, {}
        known, chain = _unchanged(_read_history(self.path), dates)
        hindcast = self.config.occupancy.hindcast
        everything = hashlib.sha256(" ".join(one.kept.content for one in dates).encode()).hexdigest()

        def id_of(number: int) -> str:
            return self._id(dates[number], everything if hindcast else known[number].history)

        missing = set(range(len(known), len(dates)))
        for number in range(len(known)):
            stored = self.store.get(id_of(number))
            if stored is None:
                missing.add(number)
            else:
                self.answers[dates[number].kept.id] = stored
        if hindcast and missing:
            missing = set(range(len(dates)))
        progress(len(dates) - len(missing), len(dates))
        if not missing:
            return
        kept = {one.content: one for one in self.chips.kept()}
        there = [one for one in dates if one.kept.content in kept]
        if len(there) < len(dates):
            self.run(there, progress)  # some have just been replaced or can't be read, which a warning says
            return
        chips = [self._on_disk(kept[one.kept.content]) for one in dates]
        place = {one.kept.id: number for number, one in enumerate(dates)}
        before, saved, done = len(known), time.monotonic(), len(dates) - len(missing)
        lost: str | None = None
        pending: deque[Future[None]] = deque()
        # A date is laid over the others while the one before it is answered: the network leaves a core free.
        answering = ThreadPoolExecutor(1, thread_name_prefix="answering")

        def settle(left: int) -> None:
            nonlocal done
            while len(pending) > left:
                pending.popleft().result()
                done += 1
                progress(done, len(dates))

        try:
            for image in dated_images(
                chips,
                self.site,
                hindcast=hindcast,
                known={one.known_shift.id: one.known_shift for one in known},
                wanted=lambda chip: place[chip.id] in missing,
                prior_sd_m=self.sensor.prior_sd_m,
            ):
                number = place[image.id]
                if number == len(known) and image.known_shift is not None:
                    content = dates[number].kept.content
                    known.append(_Known(content, chain.digest(content), image.known_shift))
                    chain.take(known[-1])
                id, history = id_of(number), known[number].history
                pending.append(answering.submit(self._answer, image, dates, number, id, history))
                settle(_BACKLOG)
                if time.monotonic() - saved > _SAVE_EVERY_S and len(known) > before:
                    settle(0)
                    _write_history(self.path, known)
                    self.store.refresh()
                    before, saved = len(known), time.monotonic()
            settle(0)
        except _UnreadableChip as error:
            log.warning("%s", error)
            lost = error.content
        finally:
            answering.shutdown(wait=True, cancel_futures=True)
            if len(known) > before:
                _write_history(self.path, known)
            if self.new:
                self.store.refresh()
        if lost is not None:
            self.run([one for one in dates if one.kept.content != lost], progress)

    def _on_disk(self, kept: StoredChip) -> ChipOnDisk:
        """A chip of the store, whose pixels are read when they are needed."""

        def read() -> Chip:
            try:
                return self.chips.read_one(kept)
            except StoreError as error:
                raise _UnreadableChip(kept.content, f"{error} It is left out.") from error

        return ChipOnDisk(
            kept.id,
            kept.datetime,
            self.chips.grid,
            kept.chip["sun_azimuth_deg"],
            kept.chip["sun_elevation_deg"],
            kept.content,
            read,
        )

    def _id(self, date: Date, history: str) -> str:
        key = key_of(date.kept.content, self.estimator, self.area, self.config.occupancy_digest)
        key["history"] = history
        return observation_id(aoi=self.area.name, when=date.kept.datetime, method=METHOD, key=key)

    def _answer(self, image: DatedImage, dates: Sequence[Date], number: int, id: str, history: str) -> None:
        date = dates[number]
        stored = self.store.get(id)
        if stored is None:
            try:
                stored, estimate = self._observation(image, dates, number, id, history)
                picture = render(image, self.site, self.area, stored, estimate)
            except Exception as error:  # one date must not end a night's work
                log.debug("%s", date.kept.path, exc_info=True)
                self.failed[date.kept.id] = Skipped(date.kept.path, unexpected(error), readable=True)
                return
            self.store.add(stored, evidence=picture, refresh=False)
            self.new.add(id)
        self.answers[date.kept.id] = stored

    def _observation(
        self, image: DatedImage, dates: Sequence[Date], number: int, id: str, history: str
    ) -> tuple[Observation, OccupancyEstimate | None]:
        date = dates[number]
        day = image.datetime.date()
        hidden = hidden_fraction(self.area, day)
        clear = image.clear_fraction if math.isfinite(image.clear_fraction) else 0.0
        reason = self._reason(image, hidden, clear)
        values: dict[str, Any] = dict.fromkeys(("count", "count_low", "count_high"))
        values |= {"abstained": True, "reason": reason, "warnings": image.warnings}
        estimate = None
        if reason is None:
            estimate = self.estimator.estimate(image, self.site, pitch=self._pitch())
            if estimate.uninformative is None:
                masked = hidden_warning(self.area, day, f"{hidden:.0%}") if hidden else ()
                values = _values(estimate) | {"warnings": (*image.warnings, *estimate.warnings, *masked)}
            else:
                values["reason"], estimate = estimate.uninformative, None
        observation = Observation(
            id=id,
            aoi=self.area.name,
            scene=image.id,
            datetime=image.datetime,
            sensor=self.sensor.named(image.chip.platform),
            method="occupancy",
            clear_fraction=round(min(1.0, max(0.0, clear)), 4),
            hidden_fraction=round(hidden, 4),
            provenance=self._provenance(image, dates, date, history, estimate),
            geometry=geometry_json(self.area.boundary),
            **values,
        )
        return observation, estimate

    def _reason(self, image: DatedImage, hidden: float, clear: float) -> str | None:
        """Return why a date isn't answered, or None."""
        wanted = self.config.occupancy.min_clear_fraction
        if hidden >= 1.0:
            return "All of the area is hidden on that day."
        if image.reason is not None:
            return image.reason
        refusal = self.estimator.refusal(self.site)
        if refusal is not None:
            return refusal
        if clear < wanted:
            return f"Only {clear:.0%} of the area is clear; the settings ask for {wanted:.0%}."
        return None

    def _pitch(self) -> Pitch | None:
        """Return the pitch of the settings, completed by that of the weights; None leaves it to these."""
        mean, sd = self.config.occupancy.pitch_mean_m, self.config.occupancy.pitch_sd_m
        if mean is None and sd is None:
            return None
        from detector.occupancy.estimate import Pitch

        own = self.estimator.pitch
        return Pitch(own.mean_m if mean is None else mean, own.sd_m if sd is None else sd)

    def _provenance(
        self,
        image: DatedImage,
        dates: Sequence[Date],
        date: Date,
        history: str,
        estimate: OccupancyEstimate | None,
    ) -> dict[str, Any]:
        kept = date.kept
        when = {one.kept.id: one.kept.datetime.date().isoformat() for one in dates}
        days = sorted(when[id] for id in image.history)
        place, clear = image.registration, image.clear_sky
        provenance: dict[str, Any] = {
            "acquisition": kept.id,
            "acquisition_aliases": list(date.aliases),
            "file": str(kept.product["name"]),
            "sha256": kept.content,
            "gsd_m": image.chip.provenance.get("gsd_m", PIXEL_M),
            "level": image.chip.level,
            "baseline": image.chip.baseline,
            "relative_orbit": image.chip.relative_orbit,
            "pixels": dict(image.chip.provenance),
            "chip": kept.path.relative_to(self.store.path).as_posix(),
            "history": {
                "dates": len(image.history),
                "first": days[0] if days else None,
                "last": days[-1] if days else None,
                "hindcast": self.config.occupancy.hindcast,
                "ids": list(image.history),
                "digest": history,
            },
            "archive": len(dates),
            "registration": None
            if place is None
            else {
                "dx_m": _finite(place.dx_m, 2),
                "dy_m": _finite(place.dy_m, 2),
                "residual_m": _finite(place.residual_m, 2),
                "converged": place.converged,
            },
            "clear": {
                name: _finite(getattr(clear, name), 4)
                for name in ("clear_fraction", "snow_fraction", "ring_cloud_fraction")
            },
            **provenance_of(self.estimator, self.area, self.config.occupancy_digest),
        }
        if estimate is not None:
            provenance["occupancy"] = estimate.to_json()
        return provenance


def _unchanged(known: Sequence[_Known], dates: Sequence[Date]) -> tuple[list[_Known], _Chain]:
    """What is known of the dates up to the first that isn't where it was before, and the digests up to it."""
    chain = _Chain()
    kept: list[_Known] = []
    for one, date in zip(known, dates, strict=False):
        content = date.kept.content
        if (one.content, one.history) != (content, chain.digest(content)):
            break
        kept.append(one)
        chain.take(one)
    return kept, chain


def _values(estimate: OccupancyEstimate) -> dict[str, Any]:
    """Return the figures of an estimate as those of an observation."""
    zones: dict[str, dict[str, float]] = {}
    for id, cars in estimate.zones.items():
        zones[id] = _figures("count", cars)
        if id in estimate.zone_lengths:
            zones[id] |= _figures("occupied_length", estimate.zone_lengths[id], "_m")
    return {
        **_figures("count", estimate.count),
        **_figures("occupied_length", estimate.length, "_m"),
        "lower_bound": estimate.at_least,
        "zones": zones,
    }


def _figures(name: str, interval: FigureInterval, unit: str = "") -> dict[str, float]:
    """Return value, low and high as an observation has them: to a tenth, not below 0 and in order."""
    low, value, high = (
        max(0.0, round(float(one), 1)) for one in (interval.low, interval.value, interval.high)
    )
    return {
        f"{name}{unit}": value,
        f"{name}_low{unit}": min(low, value),
        f"{name}_high{unit}": max(value, high),
    }


def _finite(value: float, digits: int) -> float | None:
    return round(float(value), digits) if math.isfinite(value) else None
