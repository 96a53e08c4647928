"""Hold the detectors to what they must reach on the bundled samples.

The tiles go the way of every scene: opened, cut, detected, counted for the area. Measured are

=============================  ==============================================================================
``recall``                     share of the rail vehicles in the yard that a box was drawn on (at least)
``precision``                  share of the boxes in the yard that are on a rail vehicle (at least)
``count_error_share``          sum of the errors of the freight counts over the sum of the counts (at most)
``count_worst_error_share``    the largest error of one tile, as a share of its count, or of 10 if that
                               is more (at most)
``interval_coverage``          share of the tiles whose true count lies in the 90% interval (at least)
=============================  ==============================================================================

A box is on a vehicle if they overlap by at least `MINIMUM_IOU` (intersection over union), one to one.
Tiles that show less than `LEAST_SHOWN` of the yard are left out, as a run abstains from them.

The Sentinel-2 products go the way of every product: found, read, answered against the yard's own past,
judged. Measured are

================================  ===========================================================================
``occupancy_answered``            dates that got a figure (at least)
``occupancy_error_share``         sum of the errors of the counts over the sum of the counts (at most)
``occupancy_interval_coverage``   share of the answered dates whose true count lies in the 90% interval (at
                                  least)
``occupancy_hidden_answered``     dates under clouds, a veil or snow that got a figure (at most)
``occupancy_build_up_seen``       1 if the build-up is called elevated or unprecedented by its second image
                                  and no date before it is, else 0 (at least)
================================  ===========================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from aoi.errors import InputError
from detector.training.metrics import Scored, judge_picture
from detector.wagons.categories import CATEGORIES
from geo import Scene, open_scene
from railwatch.config import load_config
from railwatch.pipeline import Progress
from railwatch.pipeline.count_area import count_area
from railwatch.pipeline.run import Detector, RunResult, run
from railwatch.pipeline.sentinel2 import Estimator
from railwatch.selftest.samples import ProductSamples, Samples, SampleTile
from railwatch.store.observation import iso
from railwatch.store.store import Store

if TYPE_CHECKING:
    from detector.wagons.detections import Detections


MINIMUM_IOU = 0.3
_ALARMS = frozenset({"elevated", "unprecedented"})
LEAST_SHOWN = 0.5

_AT_MOST = frozenset(
    {"count_error_share", "count_worst_error_share", "occupancy_error_share", "occupancy_hidden_answered"}
)


@dataclass(frozen=True)
class TileResult:
    """One tile.

    Attributes:
        file: Its name.
        datetime: When it was taken, ISO 8601.
        truth: Freight cars in the yard.
        count: Counted.
        count_low: Lower end of the 90% interval.
        count_high: Upper end.
        vehicles: Rail vehicles in the yard.
        boxes: Boxes drawn in the yard.
        hits: Boxes on vehicles.
    """

    file: str
    datetime: str
    truth: int
    count: int
    count_low: int
    count_high: int
    vehicles: int
    boxes: int
    hits: int


@dataclass(frozen=True)
class Measure:
    """One figure and its threshold."""

    name: str
    value: float
    threshold: float

    @property
    def passed(self) -> bool:
        """Whether the figure is as good as its threshold or better."""
        return self.value <= self.threshold if self.name in _AT_MOST else self.value >= self.threshold

    @property
    def wanted(self) -> str:
        """The threshold in words."""
        return f"at {'most' if self.name in _AT_MOST else 'least'} {self.threshold:g}"


def measures_of(
    figures: Mapping[str, float], thresholds: Mapping[str, float], whose: str
) -> tuple[Measure, ...]:
    """Each figure that has a threshold, beside it; InputError if a threshold is none of the figures."""
    unknown = set(thresholds) - set(figures)
    if unknown:
        raise InputError(f"The {whose} manifest has unknown thresholds: {', '.join(sorted(unknown))}.")
    return tuple(Measure(name, figures[name], threshold) for name, threshold in thresholds.items())


@dataclass(frozen=True)
class Measured:
    """Figures of a model, each beside its threshold."""

    model: str
    measures: tuple[Measure, ...]

    @property
    def passed(self) -> bool:
        """Whether every figure reaches its threshold."""
        return all(measure.passed for measure in self.measures)

    def to_json(self) -> dict[str, Any]:
        """Return it as ``railwatch validate --json`` prints it."""
        return {
            "passed": self.passed,
            "model": self.model,
            "measures": [asdict(one) | {"passed": one.passed} for one in self.measures],
        }


@dataclass(frozen=True)
class Validation(Measured):
    """What came out, tile by tile and in all."""

    tiles: tuple[TileResult, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as ``railwatch validate --json`` prints it."""
        return super().to_json() | {"tiles": [asdict(tile) for tile in self.tiles]}


def validate(
    samples: Samples, detector: Detector, progress: Callable[[int, int], None] | None = None
) -> Validation:
    """Run a detector on sample tiles and compare with the truth.

    Args:
        samples: The tiles.
        detector: The detector.
        progress: Called with tiles done and tiles in all.

    Raises:
        InputError: If a threshold isn't one of the figures, or a tile can't be read.
    """
    results = []
    chosen = [tile for tile in samples.tiles if tile.shown >= LEAST_SHOWN]
    for number, tile in enumerate(chosen):
        results.append(_judge(tile, samples, detector))
        if progress is not None:
            progress(number + 1, len(chosen))
    return Validation(
        model=f"{detector.name} {detector.version}",
        tiles=tuple(results),
        measures=measures_of(_figures(results), samples.thresholds, "sample tiles'"),
    )


def _judge(tile: SampleTile, samples: Samples, detector: Detector) -> TileResult:
    scene = open_scene(tile.path)
    detections = detector.detect(scene, samples.area)
    counted = count_area(detections, samples.area, tile.datetime.date()).total
    scored = Scored(
        name=tile.path.name,
        boxes=_pixel_boxes(detections),
        probability=detections.frame["score"].to_numpy(np.float64),
        category=_numbers(detections.frame["category"]),
        true_boxes=tile.boxes,
        true_category=_numbers(tile.category),
        ignored=~(tile.inside & tile.visible),
        size_px=(scene.width, scene.height),
        gsd_m=scene.gsd_m,
        ignore_areas=(_outside(scene, samples),),
    )
    judged = judge_picture(scored, MINIMUM_IOU)
    return TileResult(
        file=tile.path.name,
        datetime=iso(tile.datetime),
        truth=tile.count,
        count=counted.count,
        count_low=counted.low,
        count_high=counted.high,
        vehicles=judged.true,
        boxes=len(judged.hit),
        hits=int(judged.hit.sum()),
    )


def _figures(results: Sequence[TileResult]) -> dict[str, float]:
    truth = np.array([one.truth for one in results], float)
    error = np.abs(np.array([one.count for one in results], float) - truth)
    hits = sum(one.hits for one in results)
    covered = [one.count_low <= one.truth <= one.count_high for one in results]
    return {
        "recall": _fraction(hits, sum(one.vehicles for one in results)),
        "precision": _fraction(hits, sum(one.boxes for one in results)),
        "count_error_share": _fraction(float(error.sum()), float(truth.sum())),
        "count_worst_error_share": float((error / np.maximum(truth, 10.0)).max(initial=0.0)),
        "interval_coverage": _fraction(sum(covered), len(covered)),
    }


def _fraction(part: float, whole: float) -> float:
    """Return a fraction; 0 where the whole is 0, as the precision of a detector that draws no box."""
    return round(part / whole, 4) if whole else 0.0


def _pixel_boxes(detections: Detections) -> NDArray[np.float64]:
    return np.array(detections.frame["pixel_box"].to_list(), np.float64).reshape(-1, 5)


def _numbers(categories: Sequence[str]) -> NDArray[np.int64]:
    return np.array([CATEGORIES.index(name) for name in categories], np.int64)


def _outside(scene: Scene, samples: Samples) -> shapely.Geometry:
    """Return what of the tile isn't the yard, in pixels: nobody asked for boxes there."""
    boundary = shapely.transform(samples.area.to_crs(scene.crs).boundary, scene.map_to_pixel)
    return shapely.box(-1e4, -1e4, scene.width + 1e4, scene.height + 1e4).difference(boundary)


# ---- Sentinel-2 ----


@dataclass(frozen=True)
class SampleEstimate:
    """One date with what came out.

    Attributes:
        datetime: ISO 8601.
        sky: Of the date.
        truth: Freight cars truly there.
        count: Estimated, or None.
        count_low: Lower end of the 90% interval.
        count_high: Upper end.
        verdict: The word.
        reason: Why there is no figure.
    """

    datetime: str
    sky: str
    truth: int
    count: float | None
    count_low: float | None
    count_high: float | None
    verdict: str
    reason: str | None


@dataclass(frozen=True)
class Sentinel2Validation(Measured):
    """What came out, date by date and in all."""

    dates: tuple[SampleEstimate, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as ``railwatch validate --json`` prints it under ``sentinel2``."""
        return super().to_json() | {"dates": [asdict(one) for one in self.dates]}


def run_on(
    samples: ProductSamples,
    store: Path,
    *,
    estimator: Estimator | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Answer and judge the sample products with the bundled settings for Sentinel-2.

    Args:
        samples: The products.
        store: Folder of the store; made if it isn't there.
        estimator: The occupancy estimator; the shipped one by default.
        progress: Told of every date.

    Raises:
        StoreError: If the store can't be written.
    """
    config = load_config("sentinel2").override(title=samples.area.title, baseline__use_published=False)
    return run(
        [samples.products], samples.area, config, Store.open(store), estimator=estimator, progress=progress
    )


def validate_occupancy(
    samples: ProductSamples, estimator: Estimator, progress: Progress | None = None
) -> Sentinel2Validation:
    """Answer the sample products and compare with the truth.

    Args:
        samples: The products.
        estimator: The estimator.
        progress: Told of every date.

    Raises:
        InputError: If a threshold isn't one of the figures.
    """
    with TemporaryDirectory() as folder:
        done = run_on(samples, Path(folder) / "store", estimator=estimator, progress=progress)
    dates = estimates(samples, done)
    return Sentinel2Validation(
        model=f"{estimator.name} {estimator.version}",
        dates=dates,
        measures=measures_of(_occupancy_figures(samples, dates), samples.thresholds, "samples'"),
    )


def estimates(samples: ProductSamples, done: RunResult) -> tuple[SampleEstimate, ...]:
    """What a run said of each date, beside the truth."""
    said = {one.datetime: one for one in done.observations}
    words = {one.record.when: one.verdict for one in done.verdicts}
    found = []
    for date in samples.dates:
        one = said.get(date.datetime)
        found.append(
            SampleEstimate(
                datetime=date.datetime.isoformat().replace("+00:00", "Z"),
                sky=date.sky,
                truth=date.cars,
                count=None if one is None else one.count,
                count_low=None if one is None else one.count_low,
                count_high=None if one is None else one.count_high,
                verdict=words.get(date.datetime, "cannot say"),
                reason="it wasn't found" if one is None else one.reason,
            )
        )
    return tuple(found)


def _occupancy_figures(samples: ProductSamples, dates: Sequence[SampleEstimate]) -> dict[str, float]:
    answered = [
        (one.truth, one.count, one.count_low, one.count_high) for one in dates if one.count is not None
    ]
    whole = [(t, c, low, high) for t, c, low, high in answered if low is not None and high is not None]
    error = sum(abs(count - truth) for truth, count, _, _ in whole)
    total = sum(truth for truth, _, _, _ in whole)
    covered = sum(low <= truth <= high for truth, _, low, high in whole)
    when = [datetime.fromisoformat(one.datetime) for one in dates]
    before = [one.verdict for one, day in zip(dates, when, strict=True) if day < samples.build_up]
    after = [one.verdict for one, day in zip(dates, when, strict=True) if day >= samples.build_up]
    seen = bool(_ALARMS & set(after[:2])) and not _ALARMS & set(before)
    return {
        "occupancy_answered": float(len(whole)),
        "occupancy_error_share": round(error / total, 4) if total else 1.0,
        "occupancy_interval_coverage": round(covered / len(whole), 4) if whole else 0.0,
        "occupancy_hidden_answered": float(sum(one.count is not None for one in dates if one.sky != "clear")),
        "occupancy_build_up_seen": float(seen),
    }
