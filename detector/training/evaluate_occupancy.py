"""The proof: occupancy answers on simulated yards that nothing was fitted to."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from detector.errors import LabelError
from detector.occupancy.estimate import calibration_of
from detector.occupancy.estimator import OccupancyEstimator
from detector.occupancy.weights import load
from detector.simulators.sentinel2.independent import StripYard
from detector.simulators.sentinel2.products import cirrus, cumulus, shadow_only
from detector.simulators.sentinel2.renderer import random_sky
from detector.training import occupancy_scores as scores
from detector.training.occupancy_recipe import make_sites
from detector.training.occupancy_samples import stored_sites
from detector.training.occupancy_scores import BY_COUNT, BY_COUNT_BLIND, SECOND_SIMULATOR, Study, answers
from detector.training.occupancy_sites import (
    Series,
    SimulatedSite,
    clear_dates,
    simulate_series,
    strip_series,
)
from geo.sentinel2.clear_sky import assess
from geo.sentinel2.time_series import dated_images

Progress = Callable[[int, int], Any]

_EVENT_IMAGES = 6
_USUAL_IMAGES = 34
_EVENT_SEED, _SKY_SEED, _GROUND_SEED, _STRIP_SEED, _STRIP_EVENT_SEED = 31, 41, 51, 61, 71
_ROOM_M = 1800.0  # of track, for 73 cars with gaps


def evaluate(
    estimator: OccupancyEstimator,
    folder: Path,
    *,
    sites: int = 100,
    events: int = 40,
    skies: int = 30,
    strips: int = 30,
    grounds: Sequence[NDArray[np.float32]] = (),
    progress: Progress | None = None,
) -> Study:
    """Measure an estimator.

    Args:
        estimator: With its calibration.
        folder: Where simulated sites of the split "test" lie, or are put.
        sites: How many sites of 34 dates.
        events: How many sites for the build-up from 20 to 73 cars.
        skies: How many sites for clouds, shadows and snow.
        strips: How many sites of the second simulator.
        grounds: (4, H, W) real reflectances; a third as many sites are laid on them as a second test world.
        progress: Called with steps done and in all.
    """
    report = progress or (lambda done, total: None)
    total = sites + events + skies + 2 * strips + 3
    for k in range(sites):
        make_sites(folder, "test", k + 1, first=k)
        report(k, total)
    stored = stored_sites(folder, "test")[:sites]
    length, count, pitch = calibration_of(estimator.card)
    network = load(estimator.weights.path).network
    table = scores.intervals(answers(stored, network), length, count, pitch)
    report(sites + 1, total)
    blind = scores.intervals(answers(stored, network, tracks=False), length, count, pitch)
    report(sites + 2, total)
    enough = table[table["dates"] >= 10]
    blind_enough = blind[blind["dates"] >= 10]
    tables = {
        BY_COUNT: scores.by_count(enough),
        BY_COUNT_BLIND: scores.by_count(blind_enough),
        "By past images": scores.grouped(table, _cut(table["dates"], (5, 10, 20, 30, 31)), "past images"),
        **{
            heading: scores.grouped(enough, _cut(enough[column].abs(), edges), name)
            for heading, column, edges, name in _GROUPS
        },
        "Seen against an empty yard (one false alarm in twenty)": scores.detection(enough),
    }
    figures = {f"with_tracks_{k}": v for k, v in scores.slope(enough).items()}
    figures |= {f"boundary_alone_{k}": v for k, v in scores.slope(blind_enough).items()}
    figures["looks"] = float(len(enough))
    figures["sites"] = float(len(stored))
    figures |= _by_site(enough)
    for name, yards, number, done in (
        ("build_up", _filling, events, sites + 2),
        ("second_simulator_build_up", _filling_strips, strips, sites + events + 2),
    ):
        found = build_up(estimator, itertools.islice(yards(number), number), report, done, total)
        figures |= {f"{name}_{k}": v for k, v in found.items()}
    refused = refusals(skies, report, sites + events + strips + 2, total)
    strange = on_strips(estimator, strips, report, sites + events + skies + strips + 2, total)
    tables[SECOND_SIMULATOR] = scores.by_count(strange)
    figures |= {f"second_simulator_{k}": v for k, v in scores.slope(strange).items()}
    if grounds:
        tables["On real ground, tracks known, 10 or more past images"] = scores.by_count(
            on_grounds(estimator, grounds, max(3, sites // 3))
        )
    tables["Skies that must not be answered, and clear ones that must"] = refused
    report(total, total)
    return Study(figures, tables, enough)


_GROUPS: tuple[tuple[str, str, tuple[float, ...], str], ...] = (
    (
        "By the shadow across the tracks of a metre of height",
        "shadow_across",
        (0, 0.3, 0.6, 1.0, 9),
        "metres",
    ),
    ("By the sun", "sun_elevation_deg", (0, 25, 35, 45, 55, 90), "degrees"),
    ("By wetness of the ground", "wet", (0, 0.15, 0.5, 1.01), "wetness"),
    ("By the registration's standard error", "residual_m", (0, 0.4, 0.8, 1.2, 2.01), "metres"),
)


def _cut(values: pd.Series, edges: tuple[float, ...]) -> pd.Series:
    return pd.cut(values, list(edges), right=False)


def _by_site(table: pd.DataFrame) -> dict[str, float]:
    """How much yards differ beside dates."""
    error = (table["cars"] - table["count"]).rename("error")
    by_site = error.groupby(table["site"])
    inside = ((table["cars_low"] <= table["count"]) & (table["count"] <= table["cars_high"])).astype(float)
    coverage = inside.groupby(table["site"]).mean()
    return {
        "between_site_sd": float(by_site.mean().std()),
        "within_site_sd": float((error - by_site.transform("mean")).std()),
        "site_coverage_p10": float(coverage.quantile(0.1)),
        "sites_covered_below_0.8": float((coverage < 0.8).mean()),
    }


def _filling(yards: int) -> Iterator[Series]:
    """Yards of about 20 cars that fill to about 73."""
    for k in range(1, 4 * yards + 1):
        if SimulatedSite.random(_EVENT_SEED, k, "test").coarse.yard.capacity_m < _ROOM_M:
            continue  # a yard that can't hold 73 cars
        levels = _levels(k)
        yield simulate_series(_EVENT_SEED, k, "test", dates=len(levels), targets=levels.__getitem__)


def _filling_strips(yards: int) -> Iterator[Series]:
    """The same of the second simulator."""
    for k in range(1, 4 * yards + 1):
        yard = StripYard.random(_STRIP_EVENT_SEED, k)
        if len(yard.track_m) * yard.length_m >= _ROOM_M:
            levels = _levels(k)
            yield strip_series(_STRIP_EVENT_SEED, k, dates=len(levels), targets=levels.__getitem__)


def _levels(number: int) -> list[float]:
    """How many cars are to stand in a yard, date by date."""
    rng = np.random.default_rng([_EVENT_SEED, number])
    return [
        float(np.clip(rng.normal(19.4, 7.2), 4, 40)) if i < _USUAL_IMAGES else rng.normal(73, 4)
        for i in range(_USUAL_IMAGES + _EVENT_IMAGES)
    ]


def build_up(
    estimator: OccupancyEstimator, yards: Iterable[Series], report: Progress, done: int, total: int
) -> dict[str, float]:
    """How soon yards that fill are seen to at one false alarm a year."""
    usual: dict[int, list[float]] = {}
    event: dict[int, list[float]] = {}
    for number, series in enumerate(yards):
        cars = {
            index: estimator.intervals(image, series.site)[1].value
            for index, image in enumerate(series.images)
            if image.reason is None
        }
        before = [c for i, c in cars.items() if 10 <= i < _USUAL_IMAGES]
        after = [c for i, c in cars.items() if i >= _USUAL_IMAGES]
        if before and after:
            usual[number], event[number] = before, after
        report(done + number + 1, total)
    return scores.build_up(usual, event)


def on_grounds(
    estimator: OccupancyEstimator, grounds: Sequence[NDArray[np.float32]], sites: int
) -> pd.DataFrame:
    """Answers to yards whose surroundings are real pictures: textures that no simulator drew."""
    rows: list[dict[str, float]] = []
    for k in range(sites):
        series = simulate_series(_GROUND_SEED, k, "test", dates=24, picture=grounds[k % len(grounds)])
        rows += _rows(estimator, k, series)
    return pd.DataFrame(rows)


def on_strips(
    estimator: OccupancyEstimator, sites: int, report: Progress, done: int, total: int
) -> pd.DataFrame:
    """Answers to yards of the second simulator: simpler ones, more like those of our feasibility study."""
    rows: list[dict[str, float]] = []
    for k in range(sites):
        series = strip_series(_STRIP_SEED, k)
        rows += _rows(estimator, k, series)
        report(done + k, total)
    return pd.DataFrame(rows)


def _rows(estimator: OccupancyEstimator, number: int, series: Series) -> list[dict[str, float]]:
    """Answers beside truth, of the images of a site with enough history."""
    rows = []
    for image, truth in zip(series.images, series.truths, strict=True):
        if image.reason is None and len(image.history) >= 10:
            length, count = estimator.intervals(image, series.site)
            rows.append(
                {
                    "site": number,
                    "count": truth.count,
                    "length_m": truth.length_m,
                    "cars": count.value,
                    "cars_low": count.low,
                    "cars_high": count.high,
                    "length_low": length.low,
                    "length_high": length.high,
                }
            )
    return rows


def read_ground(path: Path) -> NDArray[np.float32]:
    """A real picture to lay yards on: GeoTIFF of blue, green, red and near infrared in that order.

    Returns:
        (4, H, W) reflectance; integers are taken for ten-thousandths.

    Raises:
        LabelError: It can't be read or has fewer than four bands.
    """
    from rasterio.errors import RasterioError

    from aoi.gdal import open_raster

    try:
        with open_raster(path) as image:
            if image.count < 4:
                raise LabelError(f"{path}: blue, green, red and near infrared are needed, it has fewer bands")
            values = image.read((1, 2, 3, 4)).astype(np.float32)
            scale = 1e-4 if np.dtype(image.dtypes[0]).kind in "ui" else 1.0
            return np.asarray(values * scale, dtype=np.float32)
    except (RasterioError, OSError) as error:
        raise LabelError(f"{path}: can't be read as an image") from error


class _StudyDates(NamedTuple):
    name: str
    change: Callable[[NDArray[np.float32], np.random.Generator], NDArray[np.float32]]
    snow: float


_SKIES = (
    _StudyDates("clear", lambda image, rng: image, 0.0),
    _StudyDates("clear a date later", lambda image, rng: image, 0.0),
    _StudyDates("cumulus over half", lambda image, rng: cumulus(image, rng, 0.5)[0], 0.0),
    _StudyDates("cumulus over a fifth", lambda image, rng: cumulus(image, rng, 0.2)[0], 0.0),
    _StudyDates("cirrus", lambda image, rng: cirrus(image, rng, 0.25), 0.0),
    _StudyDates("shadow of clouds out of sight", lambda image, rng: shadow_only(image, rng, 0.5), 0.0),
    _StudyDates("snow", lambda image, rng: image, 0.9),
    _StudyDates("melting snow", lambda image, rng: image, 0.45),
)


def refusals(sites: int, report: Progress, done: int, total: int) -> pd.DataFrame:
    """How often each kind of sky is answered, without a scene classification to help.

    Wherever the clouds lie: those that leave the yard clear may be answered, so that only skies that hide it
    for certain (snow) must come to 0.
    """
    tally = {sky.name: [0, 0] for sky in _SKIES}
    for k in range(sites):
        simulated = SimulatedSite.random(_SKY_SEED, k, "test")
        site = simulated.site
        rng = np.random.default_rng([_SKY_SEED, k])
        chips = []
        when = clear_dates(rng, 12 + len(_SKIES), years=1.5)
        plain = {}
        for index, date in enumerate(when):
            consists = simulated.traffic.next()
            sky = random_sky(rng, simulated.coarse.parameters, date)
            kind = _SKIES[index - 12] if index >= 12 else None
            if kind is not None:
                sky = replace(sky, snow=kind.snow)
            chip = simulated.chip(sky, consists, index)
            if kind is not None:
                plain[chip.id] = kind
                known = np.isfinite(chip.reflectance).all(axis=0)
                image = kind.change(np.nan_to_num(chip.reflectance), rng)
                image[:, ~known] = np.nan
                chip = replace(chip, reflectance=image)
            chips.append(chip)
        for dated in dated_images(chips, site, judge=assess):
            if dated.id in plain:
                tally[plain[dated.id].name][0] += 1
                tally[plain[dated.id].name][1] += dated.reason is None
        report(done + k, total)
    return pd.DataFrame(
        [{"sky": name, "looks": n, "answered": answered / max(n, 1)} for name, (n, answered) in tally.items()]
    )
