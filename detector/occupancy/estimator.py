"""From image to estimate: the network's answer, its calibrated interval, and where its width is from."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.intervals import Z90
from detector.occupancy.estimate import FigureInterval, OccupancyEstimate, Pitch
from detector.occupancy.inputs import CHANNELS, FIRST_MASK, Inputs, inputs_of
from detector.occupancy.weights import OccupancyHead, OccupancyRunner, RawAnswer, load_runner
from geo.sentinel2.chip import PIXEL_M
from geo.sentinel2.site import Site
from geo.sentinel2.time_series import DatedImage

F32 = NDArray[np.float32]

WIDEST_WITHOUT_TRACKS_M = 300.0
"""How wide a boundary without track lines may be: beyond, ground that is no yard decides the answer."""

_MARGIN_CELLS = 14  # as much as the yards show around them that the network has learned from
_CONTRAST_SD = 0.2  # how well a yard's mean contrast is known, relative
_SHADOW_SD = 0.2
_DRAWS = 3
_BUDGET_DATES = 2
_BANDS = 4
_USUAL_RESIDUAL_M = 2.0
"""Standard error of a place that the calibrated intervals hold already: more widens them."""


class OccupancyEstimator:
    """The shipped estimator, or one with other weights.

    Attributes:
        name: Of the weights.
        version: Of the weights.
        checksum: SHA-256 of the weights file.
        card: Data, training and figures.
        backend: What runs the network: "openvino float32".

    Args:
        weights: All of the weights but the network.
        run: What runs the network.
    """

    def __init__(self, weights: OccupancyHead, run: OccupancyRunner) -> None:
        self.card = weights.card
        self.name = str(weights.card.get("name", weights.path.stem))
        self.version = str(weights.card.get("version", "0"))
        self.checksum = weights.checksum
        self.weights = weights
        self.backend = run.name
        self._run = run

    @classmethod
    def load(
        cls, path: str | Path | None = None, device: str = "auto", backend: str = "auto"
    ) -> OccupancyEstimator:
        """Load the shipped weights, or those of a file.

        Args:
            path: A .safetensors file.
            device: auto, cpu or cuda.
            backend: auto, openvino or torch.

        Raises:
            WeightsError: They can't be used.
            InputError: The device or the backend isn't to be had.
        """
        return cls(*load_runner(path, device, backend))

    @property
    def pitch(self) -> Pitch:
        """The track length a car that counts rest on unless another one is declared."""
        return self.weights.pitch

    def refusal(self, site: Site) -> str | None:
        """Why a place can't be answered at all, a sentence; None if it can."""
        if site.has_tracks:
            return None
        rows = np.flatnonzero(site.inside.any(axis=1))
        width = len(rows) * PIXEL_M
        if width <= WIDEST_WITHOUT_TRACKS_M:
            return None
        return (
            f"The area {site.name} has no track lines and is {width:.0f} m wide: at 10 m a pixel wagons "
            "can't be told from other change on so much ground. Give it its tracks (railwatch aoi tracks), "
            f"or a boundary of at most {WIDEST_WITHOUT_TRACKS_M:.0f} m across."
        )

    def estimate(
        self, image: DatedImage, site: Site, *, pitch: Pitch | None = None, tracks: bool = True
    ) -> OccupancyEstimate:
        """Say how much of a yard is occupied.

        Args:
            image: One that may be answered.
            site: The place.
            pitch: Track length a car there; that of the weights if not given.
            tracks: Whether to use the track lines.

        Raises:
            ValueError: The image must not be answered.
        """
        if image.reason is not None or image.current is None or image.background is None:
            raise ValueError(f"{image.id} must not be answered: {image.reason}")
        given, window = _near(inputs_of(image, site, tracks=tracks))
        answer = self._run([given])
        density = np.zeros(site.frame.shape, np.float32)
        density[window] = answer.density[0] * given.region
        used = pitch or self.weights.pitch
        residual = image.registration.residual_m if image.registration else 0.0
        length, count = self._intervals(given, answer, used, residual)
        zones = {name: float((density * share).sum()) for name, share in site.shares.items()}
        budget = self._budget(given, answer, used, residual, count)
        at_least = count.value > self.weights.trusted_to
        return OccupancyEstimate(
            length=length,
            count=count,
            at_least=at_least,
            trusted_to=self.weights.trusted_to,
            zones={name: _part(count, metres / used.mean_m) for name, metres in zones.items()},
            zone_lengths={name: _part(length, metres) for name, metres in zones.items()},
            pitch=used,
            budget=budget,
            density=density,
            used_tracks=tracks and site.has_tracks,
            warnings=self._warnings(image, site, count, given, tracks),
            uninformative=_uninformative(length, site, residual),
        )

    def intervals(self, image: DatedImage, site: Site) -> tuple[FigureInterval, FigureInterval]:
        """Length and count alone, as `estimate` gives them, for series of many images.

        Raises:
            ValueError: The image must not be answered.
        """
        if image.reason is not None:
            raise ValueError(f"{image.id} must not be answered: {image.reason}")
        given, _ = _near(inputs_of(image, site))
        residual = image.registration.residual_m if image.registration else 0.0
        return self._intervals(given, self._run([given]), self.weights.pitch, residual)

    def raw(self, image: DatedImage, site: Site) -> RawAnswer:
        """What the network says of an image before calibration: what calibrations are fitted to.

        Raises:
            ValueError: The image has no background.
        """
        given, _ = _near(inputs_of(image, site))
        return self._run([given])

    # --------------------------------------------------------------------------------- the intervals

    def _intervals(
        self, given: Inputs, answer: RawAnswer, pitch: Pitch, residual_m: float
    ) -> tuple[FigureInterval, FigureInterval]:
        raw = float(answer.length_m[0]), float(answer.below_m[0]), float(answer.above_m[0])
        hidden = _hidden(given)
        length, count = (self._interval(*raw, pitch.mean_m, used) for used in (None, pitch))
        more = Z90 * self._displaced(given, answer, residual_m)
        if more:
            length, count = _widened(length, more), _widened(count, more / pitch.mean_m)
        return _allowing(length, hidden), _allowing(count, hidden)

    def _interval(
        self, length_m: float, below_m: float, above_m: float, pitch_m: float, pitch: Pitch | None
    ) -> FigureInterval:
        """The calibrated interval of the length (no pitch) or of the count."""
        stretch = self.weights.length if pitch is None else self.weights.count
        lower, upper = (float(f) for f in stretch.factors(length_m / pitch_m))
        if pitch is None:
            return FigureInterval(length_m, max(0.0, length_m - lower * below_m), length_m + upper * above_m)
        count = length_m / pitch_m
        # The pitch's own doubt, where the calibration sites' differs from the declared one.
        usual, own = self.weights.pitch.sd_m / self.weights.pitch.mean_m, pitch.sd_m / pitch.mean_m
        more = Z90 * count * math.sqrt(max(own**2 - usual**2, 0.0))
        return FigureInterval(
            count,
            max(0.0, count - math.hypot(lower * below_m / pitch_m, more)),
            count + math.hypot(upper * above_m / pitch_m, more),
        )

    def _displaced(self, given: Inputs, answer: RawAnswer, residual_m: float) -> float:
        """What an uncertain place adds to a length's standard deviation beyond what is calibrated, metres."""
        if residual_m <= _USUAL_RESIDUAL_M:
            return 0.0
        step = residual_m / math.sqrt(2.0) / PIXEL_M  # an axis
        beside = [_shifted(given, *by) for by in ((step, 0.0), (-step, 0.0), (0.0, step), (0.0, -step))]
        moved = self._run(beside).length_m - answer.length_m[0]
        # Phantom wagons come whichever way an image is moved: deviations count, not differences.
        whole = math.sqrt(float((moved**2).reshape(2, 2).mean(axis=1).sum()))
        return whole * math.sqrt(1.0 - (_USUAL_RESIDUAL_M / residual_m) ** 2)

    # ------------------------------------------------------------------------------- where width is from

    def _budget(
        self, given: Inputs, answer: RawAnswer, pitch: Pitch, residual_m: float, count: FigureInterval
    ) -> dict[str, float]:
        """Standard deviations in cars by cause: how the answer moves with the doubt in what it rests on.

        What the interval holds beyond them stands as ``unexplained``: yards that differ from those that the
        network has learned from. The interval itself doesn't rest on any of this, so that each cause is
        moved one way, by a standard deviation, and not both.
        """
        # Few past dates will do to see how the answer moves.
        given = given._replace(past=given.past.last(_BUDGET_DATES))
        change = slice(CHANNELS.index("difference_B02"), CHANNELS.index("difference_B02") + _BANDS)
        level = slice(0, _BANDS)
        beside = given.known & (given.region == 0)
        if beside.sum() < 50:
            beside = given.known
        rest = given.planes[change][:, beside]
        sd = rest.std(axis=1) if rest.size else np.zeros(_BANDS)

        def moved(difference: F32 | float, factor: float = 1.0) -> Inputs:
            planes = given.planes.copy()
            planes[change] = planes[change] * factor + difference
            # The plane of the date itself is scaled differently: a third of a difference.
            planes[level] = planes[level] + np.asarray(difference) / 3.0
            planes[:FIRST_MASK, ~given.known] = 0.0
            return given._replace(planes=planes)

        turned = given.planes.copy()
        for name in ("shadow_along", "shadow_across"):
            turned[CHANNELS.index(name)] *= 1.0 + _SHADOW_SD
        rng = np.random.default_rng(0)
        smooth = np.array(
            [float(cv2.GaussianBlur(p, (0, 0), 4.0)[beside].std()) for p in given.planes[change]]
        )
        grain = []
        for _ in range(_DRAWS):
            noise = rng.standard_normal((1, *given.region.shape)).astype(np.float32)
            noise = cv2.GaussianBlur(noise[0], (0, 0), 1.2)
            noise /= max(float(noise.std()), 1e-6)
            grain.append(moved((noise[None] * 0.5 * sd[:, None, None]).astype(np.float32)))
        step = max(residual_m, 0.3) / PIXEL_M
        drift = (0.5 * smooth[:, None, None]).astype(np.float32)
        batch = [
            given,
            moved(drift),
            moved(0.0, 1 + _CONTRAST_SD),
            given._replace(planes=turned),
            _shifted(given, step, 0.0),
            _shifted(given, 0.0, step),
            *grain,
        ]
        cars = self._run(batch).length_m / pitch.mean_m
        here = float(answer.length_m[0]) / pitch.mean_m
        drifted, contrast, shadow, along, across = (float(one) for one in np.abs(cars[1:6] - cars[0]))
        budget = {
            "texture": float(np.sqrt(np.mean((cars[6:] - cars[0]) ** 2))),
            "drift": drifted,
            "contrast": contrast,
            "shadow": shadow,
            "registration": math.hypot(along, across),
            "pitch": here * pitch.sd_m / pitch.mean_m,
        }
        total = (count.high - count.low) / (2 * Z90)
        explained = math.sqrt(sum(v * v for v in budget.values()))
        budget["unexplained"] = math.sqrt(max(total**2 - explained**2, 0.0))
        budget["total"] = total
        return budget

    def _warnings(
        self, image: DatedImage, site: Site, count: FigureInterval, given: Inputs, tracks: bool
    ) -> tuple[str, ...]:
        found = []
        if count.value > self.weights.trusted_to:
            found.append(
                f"Above {self.weights.trusted_to:.0f} freight cars the estimate is a lower bound: full yards "
                "are underestimated."
            )
        residual = image.registration.residual_m if image.registration else 0.0
        if residual > _USUAL_RESIDUAL_M:
            found.append(
                f"The image lies uncertain by {residual:.1f} m over the earlier ones: the interval is wider "
                "for it."
            )
        if not (tracks and site.has_tracks):
            found.append(
                "The area has no track lines: all change inside its boundary counts, which widens the "
                "interval; railwatch aoi tracks can add them."
            )
        if image.sun is None:
            found.append("The product doesn't tell where the sun stood: shadows can't be told from wagons.")
        hidden = _hidden(given)
        if hidden > 0.03:
            found.append(
                f"{hidden:.0%} of the yard can't be seen on this date: what stands there is missing from the "
                "figures, and their upper ends allow for it."
            )
        return tuple(found)


def _near(given: Inputs) -> tuple[Inputs, tuple[slice, slice]]:
    """The cells around the region, and where they lie: what is further off has no say."""
    region = given.region
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    h, w = region.shape
    if not len(rows):
        return given, (slice(0, h), slice(0, w))
    window = (
        slice(max(0, int(rows[0]) - _MARGIN_CELLS), min(h, int(rows[-1]) + 1 + _MARGIN_CELLS)),
        slice(max(0, int(columns[0]) - _MARGIN_CELLS), min(w, int(columns[-1]) + 1 + _MARGIN_CELLS)),
    )
    return (
        Inputs(given.planes[:, *window], region[window], given.known[window], given.past.window(*window)),
        window,
    )


def _shifted(given: Inputs, dx: float, dy: float) -> Inputs:
    """The date moved over its background, cells along and across."""
    planes = given.planes.copy()
    move = np.array([[1.0, 0.0, dx], [0.0, 1.0, dy]])
    h, w = given.region.shape
    first = CHANNELS.index("difference_B02")
    for index in (*range(_BANDS), *range(first, first + _BANDS)):
        planes[index] = cv2.warpAffine(
            planes[index], move, (w, h), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
    planes[:FIRST_MASK, ~given.known] = 0.0
    return given._replace(planes=planes)


def _widened(interval: FigureInterval, more: float) -> FigureInterval:
    """An interval with an independent doubt added to both sides."""
    low, value, high = interval.low, interval.value, interval.high
    return interval._replace(
        low=max(0.0, value - math.hypot(value - low, more)), high=value + math.hypot(high - value, more)
    )


def _uninformative(length: FigureInterval, site: Site, residual_m: float) -> str | None:
    """Why an answer from an uncertain place says nothing: it may be none of the tracks or all of them."""
    if residual_m <= _USUAL_RESIDUAL_M or site.track_m is None:
        return None
    if length.low > 0.05 * site.track_m or length.high < site.track_m:
        return None
    return (
        f"The image lies uncertain by {residual_m:.1f} m over the earlier ones, and so the answer would be "
        f"anything from none to all of the {site.track_m:.0f} m of track."
    )


def _hidden(given: Inputs) -> float:
    """Share of the region that can't be seen."""
    return 1.0 - float((given.region * given.known).sum()) / max(float(given.region.sum()), 1e-6)


def _allowing(seen: FigureInterval, hidden: float) -> FigureInterval:
    """An interval whose upper end allows for a hidden part of the yard that is as full as the rest."""
    return seen._replace(high=seen.high + seen.value * hidden / max(1.0 - hidden, 0.1))


def _part(whole: FigureInterval, value: float) -> FigureInterval:
    """The interval of a part: its doubt goes with the root of its share, as of independent pieces."""
    share = math.sqrt((value + 1e-9) / (whole.value + 1e-9)) if whole.value > 0 else 1.0
    share = min(max(share, 0.0), 1.0)
    return FigureInterval(
        value, max(0.0, value - share * (whole.value - whole.low)), value + share * (whole.high - whole.value)
    )
