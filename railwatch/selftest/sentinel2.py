"""The bundled Sentinel-2 products, and what the occupancy estimator must reach on them.

They go the way of every product: found, read, answered against the yard's own past, judged. Measured are

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

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aoi import AreaOfInterest, load_area
from aoi.errors import InputError
from railwatch.config import load_config
from railwatch.pipeline.run import Progress, RunResult, run
from railwatch.pipeline.sentinel2 import Estimator
from railwatch.selftest.validate import Measured, measures_of
from railwatch.store.store import Store

__all__ = [
    "ProductSamples",
    "SampleEstimate",
    "Sentinel2Validation",
    "SimulatedDate",
    "bundled_products",
    "run_on",
    "validate_occupancy",
]

CLEAR = "clear"
_ALARMS = frozenset({"elevated", "unprecedented"})


@dataclass(frozen=True)
class SimulatedDate:
    """One date of the series.

    Attributes:
        datetime: Start of the datatake, UTC.
        sky: ``clear``, ``cloud``, ``veil`` or ``snow``.
        cars: Freight cars that truly stand in the yard.
        occupied_m: Track that they take, metres.
    """

    datetime: datetime
    sky: str
    cars: int
    occupied_m: float


@dataclass(frozen=True)
class ProductSamples:
    """A set of sample products.

    Attributes:
        title: What they show.
        area: Their yard.
        products: The folder with the products.
        dates: By time.
        build_up: The first date of the build-up.
        thresholds: What an estimator must reach on them, by name.
    """

    title: str
    area: AreaOfInterest
    products: Path
    dates: tuple[SimulatedDate, ...]
    build_up: datetime
    thresholds: Mapping[str, float]

    @classmethod
    def read(cls, folder: Path) -> ProductSamples:
        """Read a folder that ``python -m sample_tiles.sentinel2.make`` wrote.

        Raises:
            InputError: If something is missing or isn't what was written.
        """
        path = folder / "manifest.json"
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            for entry in manifest["dates"]:
                for product in entry["products"]:
                    if not (folder / product).exists():
                        raise InputError(f"{folder / product}: this part of the samples is missing.")
            return cls(
                title=str(manifest["title"]),
                area=load_area(folder / manifest["area"]),
                products=folder / "products",
                dates=tuple(
                    SimulatedDate(
                        datetime.fromisoformat(entry["datetime"]),
                        str(entry["sky"]),
                        int(entry["cars"]),
                        float(entry["occupied_m"]),
                    )
                    for entry in manifest["dates"]
                ),
                build_up=datetime.fromisoformat(manifest["build_up"]),
                thresholds={str(name): float(value) for name, value in manifest["thresholds"].items()},
            )
        except FileNotFoundError as error:
            raise InputError(f"{error.filename}: this part of the samples is missing.") from error
        except (OSError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path}: isn't a manifest of Sentinel-2 samples ({error}).") from error


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


@contextmanager
def bundled_products() -> Iterator[ProductSamples]:
    """Give the sample products that come with railwatch, as files while the block runs."""
    with resources.as_file(resources.files("sample_tiles") / "sentinel2") as folder:
        yield ProductSamples.read(folder)


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
    figures = _figures(samples, dates)
    unknown = set(samples.thresholds) - set(figures)
    if unknown:
        raise InputError(f"The samples' manifest has unknown thresholds: {', '.join(sorted(unknown))}.")
    return Sentinel2Validation(
        model=f"{estimator.name} {estimator.version}",
        dates=dates,
        measures=measures_of(figures, samples.thresholds),
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


def _figures(samples: ProductSamples, dates: Sequence[SampleEstimate]) -> dict[str, float]:
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
        "occupancy_hidden_answered": float(sum(one.count is not None for one in dates if one.sky != CLEAR)),
        "occupancy_build_up_seen": float(seen),
    }
