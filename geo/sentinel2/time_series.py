"""One place seen many times: each date against the clear dates before it.

A date may use earlier dates only, unless hindcast asks for both sides. Everything follows from the set of
acquisitions and their times: neither the order in which files lie in a folder nor the order in which they
came in changes an answer.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import logging
import math
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geo.sentinel2.chip import Chip, ChipSource
from geo.sentinel2.clear_sky import ClearSkyAssessment, assess
from geo.sentinel2.composite import (
    LEAST_HISTORY,
    MOST_COMPARED,
    MOST_HISTORY,
    Composite,
    choose_history,
    composite,
)
from geo.sentinel2.coregistration import PRIOR_SD_M, Registration, register
from geo.sentinel2.site import Site, TrackAlignedBands, sample_nearest, shadow_of_a_metre

log = logging.getLogger(__name__)

BANDS = ("B02", "B03", "B04", "B08")
Judge = Callable[..., ClearSkyAssessment]
"""Says what of a date is clear; takes what `geo.sentinel2.clear_sky.assess` takes."""
LARGEST_RESIDUAL_M = 2.0
"""Standard error of the registration beyond which a date doesn't stand in the history of others, metres.

It is answered all the same: the estimator's interval allows for the error."""

_UNLIKE = 2.5  # times the usual change of the ground beside the tracks, from which an image is warned of
_LEAST_PRIOR_M = 2.0
_UNSTABLE_CLASSES = (3, 8, 9, 10, 11)  # of the scene classification: shadow, clouds, cirrus, snow
_GRAIN_M = 0.5  # the place of a stack is set in steps of this, so that it seldom moves
_KEPT_BYTES = 64 << 20  # of resampled dates held in memory: those of a background, as its place moves
_WORTH_THREADS = 4  # dates to be resampled at once


@dataclass(frozen=True)
class KnownShift:
    """What is kept of a date, so that a new one costs one pass.

    Attributes:
        id: Of the chip.
        chain: Digest of this date and of all that its place rests on; another history is another shift.
        registration: Its place and light.
        accepted: Whether it may stand in the history of others.
        begins: Whether it stands alone: nothing came before it, or what came didn't fit and was given up.
        usable: What of it is clear, packed; empty unless accepted.
    """

    id: str
    chain: str
    registration: Registration
    accepted: bool
    begins: bool = False
    usable: str = field(default="", repr=False)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> KnownShift:
        """From plain JSON values.

        Raises:
            KeyError, TypeError: They aren't a known shift's.
        """
        raw = dict(values["registration"])
        for name in ("gain", "offset", "noise"):
            raw[name] = tuple(float(one) for one in raw[name])
        raw["band_shift_m"] = tuple((float(east), float(south)) for east, south in raw["band_shift_m"])
        flags = {name: bool(values[name]) for name in ("accepted", "begins")}
        return cls(
            id=str(values["id"]),
            chain=str(values["chain"]),
            registration=Registration(**raw),
            usable=str(values["usable"]),
            **flags,
        )


class PastDate(NamedTuple):
    """One of the dates of a background.

    Attributes:
        reflectance: (4, h, w) where the background stands and in its light; NaN where unknown or not clear.
        sun: Shadow of a metre of height, metres (along, across); None where the product doesn't tell.
    """

    reflectance: NDArray[np.float32]
    sun: tuple[float, float] | None


@dataclass(frozen=True)
class DatedImage:
    """One date against its background, in the yard's frame.

    Attributes:
        id: Of the chip.
        datetime: UTC.
        chip: The chip.
        reason: Why this date must not be answered, a sentence; None if it may.
        clear_sky: What of it is clear.
        registration: Its place and light, or None where it wasn't laid over the others.
        history: Ids of the dates in its background, oldest first.
        current: (4, h, w) reflectance under the background's light; NaN where unknown or not clear.
        background: The composite, or None where there is none.
        past: Those of the background's dates that are nearest by season and age, oldest first.
        sun: Shadow of a metre of height, metres (along, across); None where the product doesn't tell.
        history_sun: The same, mean over the history.
        known_shift: What to keep.
        warnings: Sentences for whoever reads the estimate.
    """

    id: str
    datetime: dt.datetime
    chip: Chip = field(repr=False)
    reason: str | None
    clear_sky: ClearSkyAssessment = field(repr=False)
    registration: Registration | None
    history: tuple[str, ...]
    current: NDArray[np.float32] | None = field(repr=False, default=None)
    background: Composite | None = field(repr=False, default=None)
    past: tuple[PastDate, ...] = field(repr=False, default=())
    sun: tuple[float, float] | None = None
    history_sun: tuple[float, float] | None = None
    known_shift: KnownShift | None = field(repr=False, default=None)
    warnings: tuple[str, ...] = ()

    @property
    def clear_fraction(self) -> float:
        """Share of the area that is clear."""
        return self.clear_sky.clear_fraction


@dataclass(frozen=True)
class _HistoryDate:
    """A date that may stand in a history."""

    chip: ChipSource
    usable: NDArray[np.bool_]
    registration: Registration
    sun: tuple[float, float] | None


@dataclass(frozen=True)
class _WideComposite:
    """A background with the ground around it, by which dates are laid over each other.

    Attributes:
        core: On the yard's frame.
        median: (bands, h, w) on its surroundings.
        spread: The same.
    """

    core: Composite
    median: NDArray[np.float32]
    spread: NDArray[np.float32]


class _Stack:
    """The accepted dates of a place, resampled where they lie.

    Dates that aren't accepted leave no trace: the answers of later ones don't change with them.
    """

    def __init__(self, site: Site, judge: Judge, prior_sd_m: float) -> None:
        self.site, self.judge, self.prior_sd_m = site, judge, prior_sd_m
        self.kept: list[_HistoryDate] = []
        self._root = _place_digest(site)
        self._samples: dict[tuple[str, float, float], NDArray[np.float32]] = {}
        each = 4 * len(BANDS) * math.prod(site.surroundings.shape)
        self._most_samples = max(MOST_HISTORY, _KEPT_BYTES // max(each, 1))

    def digest(self, chip: ChipSource) -> str:
        """What the place of the next date rests on."""
        return hashlib.sha256(f"{self._root} {chip.digest}".encode()).hexdigest()

    def take(self, known_shift: KnownShift, one: _HistoryDate) -> None:
        """Let an accepted date join."""
        if known_shift.begins:
            self.kept.clear()
        self.kept.append(one)
        self._root = known_shift.chain

    def middle(self, rows: Sequence[int]) -> tuple[float, float]:
        """Where some dates lie on average, metres: a date's place is off by metres, their mean by less."""
        if not rows:
            return 0.0, 0.0
        east, south = np.median(self._places(rows), axis=0)
        return round(east / _GRAIN_M) * _GRAIN_M, round(south / _GRAIN_M) * _GRAIN_M

    def _places(self, rows: Sequence[int]) -> NDArray[np.float64]:
        found = (self.kept[i].registration for i in rows)
        return np.array([(one.dx_m, one.dy_m) for one in found])

    def background(self, rows: Sequence[int], middle: tuple[float, float]) -> _WideComposite:
        """The composite of some dates, placed at their middle."""
        self._sample_together([self.kept[i] for i in rows], middle)
        whole = composite([self._sample(self.kept[i], middle) for i in rows])
        return _WideComposite(whole.window(*self.site.core), whole.median, whole.spread)

    def usual_error(self, rows: Sequence[int], middle: tuple[float, float]) -> float:
        """How far dates of this place lie from its middle, standard deviation an axis, metres."""
        if len(rows) < LEAST_HISTORY:
            return self.prior_sd_m
        own = 1.4826 * float(np.median(np.abs(self._places(rows) - middle)))
        return min(max(own, _LEAST_PRIOR_M), self.prior_sd_m)

    def past(
        self, when: dt.datetime, rows: Sequence[int], middle: tuple[float, float]
    ) -> tuple[PastDate, ...]:
        """The nearest of some dates one by one, placed at their middle."""
        nearest = choose_history(when, [self.kept[i].chip.datetime for i in rows], most=MOST_COMPARED)
        return tuple(
            PastDate(self._sample(one, middle)[:, *self.site.core], one.sun)
            for one in (self.kept[rows[k]] for k in nearest)
        )

    def sun(self, rows: Sequence[int]) -> tuple[float, float] | None:
        known = [sun for i in rows if (sun := self.kept[i].sun) is not None]
        if not known:
            return None
        along, across = np.mean(known, axis=0)
        return float(along), float(across)

    def _sample(self, one: _HistoryDate, middle: tuple[float, float]) -> NDArray[np.float32]:
        key = (one.chip.id, *middle)
        values = self._samples.pop(key, None)
        if values is None:
            values = self._resampled(one, middle)
        self._samples[key] = values  # what was used last goes last
        if len(self._samples) > self._most_samples:
            self._samples.pop(next(iter(self._samples)))
        return values

    def _resampled(self, one: _HistoryDate, middle: tuple[float, float]) -> NDArray[np.float32]:
        chip = one.chip.load()
        return _around(chip, _planes(chip), self.site, one.registration, middle, one.usable)

    def _sample_together(self, dates: Sequence[_HistoryDate], middle: tuple[float, float]) -> None:
        """Sample several dates that aren't held, on as many cores as there are.

        All are missing after a restart, and where the middle has moved.
        """
        missing = [one for one in dates if (one.chip.id, *middle) not in self._samples]
        if len(missing) < _WORTH_THREADS:
            return
        with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="sampling") as pool:
            found = pool.map(lambda one: self._resampled(one, middle), missing)
            self._samples |= {
                (one.chip.id, *middle): values for one, values in zip(missing, found, strict=True)
            }


def dated_images(
    chips: Sequence[ChipSource],
    site: Site,
    *,
    hindcast: bool = False,
    known: Mapping[str, KnownShift] | None = None,
    wanted: Callable[[ChipSource], bool] = lambda chip: True,
    judge: Judge = assess,
    prior_sd_m: float = PRIOR_SD_M,
) -> Iterator[DatedImage]:
    """Lay dates over each other and set each against its background.

    Args:
        chips: Acquisitions of the site, in any order, each once; those on disk are read when they are needed.
        site: The place; every chip lies on its grid.
        hindcast: Let dates after a date stand in its background too.
        known: Placements of an earlier call, by chip id: dates whose history is unchanged aren't laid out
            again.
        wanted: Which dates to give; all others only serve as history.
        judge: Says what of a date is clear.
        prior_sd_m: How far a date usually lies from the others before looking, metres an axis.

    Yields:
        The images, oldest first.

    Raises:
        ValueError: A chip doesn't lie on the site's grid.
    """
    for chip in chips:
        if chip.shape != site.grid.shape or not chip.transform.almost_equals(site.grid.transform):
            raise ValueError(f"{chip.id} doesn't lie on the grid of {site.name}")
    ordered = sorted(chips, key=lambda chip: (chip.datetime, chip.id))
    stack = _Stack(site, judge, prior_sd_m)
    forward: dict[str, DatedImage] = {}
    for chip in ordered:
        chain = stack.digest(chip)
        earlier = (known or {}).get(chip.id)
        if earlier is not None and earlier.chain != chain:
            earlier = None
        if earlier is not None and not wanted(chip):
            if not earlier.accepted:
                continue
            usable = _unpack(earlier.usable, site.frame.shape)
            if usable is not None:
                stack.take(earlier, _HistoryDate(chip, usable, earlier.registration, _sun(chip, site)))
                continue
        image = _dated_image(chip, stack, chain, earlier)
        if not wanted(chip):
            continue
        if not hindcast:
            yield image
            continue
        forward[chip.id] = replace(image, chip=_without_pixels(image.chip), past=())
        if len(image.history) >= LEAST_HISTORY and image.reason is None:  # will be made anew
            forward[chip.id] = replace(forward[chip.id], current=None, background=None)
    for chip in ordered:
        if chip.id in forward:
            yield _both_sides(replace(forward.pop(chip.id), chip=chip.load()), stack)


def _without_pixels(chip: Chip) -> Chip:
    """A chip that takes no memory, for a date that waits for those after it."""
    nothing = np.broadcast_to(np.float32(np.nan), chip.reflectance.shape)
    return replace(chip, reflectance=nothing, scl=None)


def _planes(chip: Chip) -> TrackAlignedBands:
    return TrackAlignedBands.of(np.stack([chip.band(name) for name in BANDS]))


def _place_digest(site: Site) -> str:
    """Of what a site's dates are laid out by."""
    about = f"railwatch looks 6 {site.frame.shape} {tuple(site.frame.transform)} {site.grid.shape} {site.rim}"
    return hashlib.sha256(about.encode() + site.yard.tobytes() + site.inside.tobytes()).hexdigest()


def _pack(mask: NDArray[np.bool_]) -> str:
    return base64.b64encode(zlib.compress(np.packbits(mask).tobytes())).decode()


def _unpack(text: str, shape: tuple[int, int]) -> NDArray[np.bool_] | None:
    """A mask from its packed form; None where it isn't one of that shape."""
    try:
        bits = np.unpackbits(np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8))
    except (ValueError, zlib.error):
        return None
    size = shape[0] * shape[1]
    return bits[:size].astype(np.bool_).reshape(shape) if 0 <= len(bits) - size < 8 else None


def _dated_image(source: ChipSource, stack: _Stack, chain: str, earlier: KnownShift | None) -> DatedImage:
    """One date against those already in the stack, which it joins if it is good enough."""
    site = stack.site
    chip = source.load()
    planes = _planes(chip)
    rows = choose_history(chip.datetime, [one.chip.datetime for one in stack.kept])
    first = Registration.first(len(BANDS))
    alone = _assess(chip, planes, stack, (0.0, 0.0), first, None)
    nothing = DatedImage(
        id=chip.id,
        datetime=chip.datetime,
        chip=chip,
        reason=alone.reason,
        clear_sky=alone,
        registration=None,
        history=tuple(stack.kept[i].chip.id for i in rows),
        sun=_sun(chip, site),
        known_shift=KnownShift(chip.id, chain, first, False),
    )
    # Bright ground that is always there looks like cloud until there is a past to know it by: one date that
    # passed by itself is enough, since no cloud stays where it was.
    if alone.reason is not None and not stack.kept:
        return nothing
    middle = stack.middle(rows)
    found, background, clear_sky = first, None, alone
    if rows:
        background = stack.background(rows, middle)
        if earlier is not None and earlier.accepted and not earlier.begins:
            found = earlier.registration
        else:
            found = _place(chip, planes, stack, background, alone.usable, rows, middle)
        fault = _misplaced(found, middle)
        if fault is None:
            clear_sky = _assess(chip, planes, stack, middle, found, background.core)
        if len(stack.kept) == 1 and (fault or clear_sky.reason) is not None:
            # Nothing has proved the one before right: if it was bad, it would turn away all that follow.
            rows, middle, found, background, clear_sky = [], (0.0, 0.0), first, None, alone
        elif fault is not None:
            return replace(nothing, reason=alone.reason or fault, registration=found)
    accepted = clear_sky.reason is None and found.residual_m <= LARGEST_RESIDUAL_M
    known_shift = KnownShift(
        chip.id, chain, found, accepted, not rows, _pack(clear_sky.usable) if accepted else ""
    )
    if accepted:
        stack.take(known_shift, _HistoryDate(source, clear_sky.usable, found, nothing.sun))
    return replace(
        _against(nothing, planes, stack, rows, middle, background, found, clear_sky),
        known_shift=known_shift,
    )


def _against(
    image: DatedImage,
    planes: TrackAlignedBands,
    stack: _Stack,
    rows: Sequence[int],
    middle: tuple[float, float],
    background: _WideComposite | None,
    found: Registration,
    clear_sky: ClearSkyAssessment,
) -> DatedImage:
    """An image with the background that was made of some dates, and its own values under that one's light."""
    values = found.level(found.sample(planes, stack.site.frame, middle)[0])
    values[:, ~clear_sky.usable] = np.nan
    return replace(
        image,
        reason=clear_sky.reason or _too_few(len(rows)),
        clear_sky=clear_sky,
        registration=found,
        history=tuple(stack.kept[i].chip.id for i in rows),
        background=None if background is None else background.core,
        past=stack.past(image.datetime, rows, middle),
        current=values,
        history_sun=stack.sun(rows),
        warnings=_unlike(found, stack, rows),
    )


def _too_few(dates: int) -> str | None:
    if dates >= LEAST_HISTORY:
        return None
    return (
        f"There are too few clear earlier dates to compare with: {LEAST_HISTORY} are needed, there "
        f"{'is' if dates == 1 else 'are'} {dates or 'none'}."
    )


def _unlike(found: Registration, stack: _Stack, rows: Sequence[int]) -> tuple[str, ...]:
    """Say it where even the ground beside the tracks has changed far more than it usually does."""
    each = (float(np.mean(stack.kept[i].registration.noise)) for i in rows)
    usual = [value for value in each if value > 0]  # the first date was laid over nothing
    if len(usual) < LEAST_HISTORY:
        return ()
    ratio = float(np.mean(found.noise)) / float(np.median(usual))
    if ratio < _UNLIKE:
        return ()
    return (
        f"The ground beside the tracks differs from the earlier dates by {ratio:.1f} times the usual "
        "(wetness, haze, works): the interval may be too narrow.",
    )


def _both_sides(image: DatedImage, stack: _Stack) -> DatedImage:
    """An image against dates before and after it."""
    own = next((one for one in stack.kept if one.chip.id == image.id), None)
    if own is None:
        return image
    others = [i for i, one in enumerate(stack.kept) if one.chip.id != image.id]
    chosen = choose_history(image.datetime, [stack.kept[i].chip.datetime for i in others])
    rows = [others[i] for i in chosen]
    if len(rows) < LEAST_HISTORY:
        return image
    chip = image.chip
    planes = _planes(chip)
    middle = stack.middle(rows)
    background = stack.background(rows, middle)
    found = own.registration
    if len(image.history) < LEAST_HISTORY:
        # Laid over too little at its time: there is better now.
        found = _place(chip, planes, stack, background, own.usable, rows, middle)
    fault = _misplaced(found, middle)
    if fault is not None:
        history = tuple(stack.kept[i].chip.id for i in rows)
        return replace(image, reason=fault, registration=found, history=history)
    clear_sky = _assess(chip, planes, stack, middle, found, background.core)
    return _against(image, planes, stack, rows, middle, background, found, clear_sky)


def _around(
    chip: Chip,
    planes: TrackAlignedBands,
    site: Site,
    place: Registration,
    middle: tuple[float, float],
    usable: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """A date's values on the yard's surroundings; NaN where unknown or not clear."""
    values = place.level(place.sample(planes, site.surroundings, middle)[0])
    clear = _clear_around(chip, site, place.displacement_px(middle))
    clear[site.core] &= usable
    values[:, ~clear] = np.nan
    return values


def _clear_around(chip: Chip, site: Site, displacement_px: tuple[float, float]) -> NDArray[np.bool_]:
    """(h, w) of the surroundings: what no scene classification calls cloud, shadow or snow."""
    if chip.scl is None:
        return np.ones(site.surroundings.shape, np.bool_)
    return ~np.isin(sample_nearest(chip.scl, site.surroundings, *displacement_px), _UNSTABLE_CLASSES)


def _place(
    chip: Chip,
    planes: TrackAlignedBands,
    stack: _Stack,
    background: _WideComposite,
    usable: NDArray[np.bool_],
    rows: Sequence[int],
    middle: tuple[float, float],
) -> Registration:
    """Register against a composite that stands at the stack's middle."""
    site = stack.site
    clear = _clear_around(chip, site, (0.0, 0.0))
    found = register(
        planes,
        site.surroundings,
        background.median,
        clear & site.around(usable & ~site.yard, fill=True),
        spread=background.spread if len(rows) >= LEAST_HISTORY else None,
        near=site.around(usable & ~site.yard, fill=False),
        prior_sd_m=stack.usual_error(rows, middle),
    )
    # The composite's cells show what lies `middle` beside them on the grid.
    return replace(found, dx_m=found.dx_m + middle[0], dy_m=found.dy_m + middle[1])


def _misplaced(found: Registration, middle: tuple[float, float]) -> str | None:
    if not found.converged:
        return "The image could not be laid over the earlier ones: too little stable ground looks the same."
    if math.hypot(found.dx_m - middle[0], found.dy_m - middle[1]) > 40.0:
        return "The image lies more than 40 m beside the earlier ones."
    return None


def _assess(
    chip: Chip,
    planes: TrackAlignedBands,
    stack: _Stack,
    middle: tuple[float, float],
    place: Registration,
    background: Composite | None,
) -> ClearSkyAssessment:
    dx, dy = place.displacement_px(middle)
    bands: tuple[str, ...] = BANDS
    site = stack.site
    raw = place.sample(planes, site.frame, middle)[0]
    swir: list[NDArray[np.float32]] = []
    if "B11" in chip.bands:
        bands = (*BANDS, "B11")
        swir = [TrackAlignedBands.of(chip.band("B11")[None]).sample(site.frame, dx, dy)[0]]
    classes = None if chip.scl is None else sample_nearest(chip.scl, site.frame, dx, dy)

    def judged(values: NDArray[np.float32]) -> ClearSkyAssessment:
        return stack.judge(
            bands,
            np.concatenate([values, *swir]),
            classes,
            site.inside,
            site.ring,
            background=None if background is None else _as_many(background.median, len(bands)),
            spread=None if background is None else _as_many(background.spread, len(bands)),
            sun_elevation_deg=chip.sun_elevation_deg,
        )

    found = judged(place.level(raw))
    if background is None or found.reason is not None:
        return found
    # Gain and offset take an even veil or shadow away, which is no reason to believe what lies under it.
    unlevelled = judged(raw)
    return found if unlevelled.reason is None else unlevelled


def _as_many(planes: NDArray[np.float32], bands: int) -> NDArray[np.float32]:
    """Bands (bands, h, w), unknown in the bands that backgrounds don't hold."""
    more = np.full((bands - len(planes), *planes.shape[1:]), np.nan, np.float32)
    return np.concatenate([planes, more])


def _sun(chip: ChipSource, site: Site) -> tuple[float, float] | None:
    if chip.sun_azimuth_deg is None or chip.sun_elevation_deg is None:
        return None
    return shadow_of_a_metre(site.frame, chip.sun_azimuth_deg, chip.sun_elevation_deg)
