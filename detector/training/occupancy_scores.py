"""What the occupancy network says of stored images, how good that is, and the study as a page.

Errors by true count, slope, coverage, detection, a yard's build-up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from aoi.files import replacing, write_text
from detector.occupancy.estimate import ConformalScaling, Pitch
from detector.occupancy.network import OccupancyNet, Past
from detector.training.occupancy_samples import FIGURES, StoredSite, sample_of

BANDS = ((0, 0), (1, 5), (6, 20), (21, 50), (51, 100), (101, 150), (151, 400))
BOUNDS = {(1, 5): 4.2, (6, 20): 5.4, (21, 50): 9.3, (51, 100): 9.7, (101, 150): 15.5}
"""Root-mean-square errors, in cars, that our feasibility study derived for a linear estimator that knows
neither which tracks are occupied nor the contrast: an order of magnitude, not a strict bound."""

IMAGES_A_YEAR = 70.0
"""Clear images a year of one place: the build-up is judged at one false alarm a year."""


def intervals(
    table: pd.DataFrame, length: ConformalScaling, count: ConformalScaling, pitch: Pitch
) -> pd.DataFrame:
    """Add the calibrated figures to raw answers.

    Returns:
        The table with ``cars``, ``cars_low``, ``cars_high`` and ``length_low``, ``length_high`` (metres).
    """
    cars = table["said"] / pitch.mean_m
    lower, upper = length.factors(cars.to_numpy())
    below, above = count.factors(cars.to_numpy())
    return table.assign(
        cars=cars,
        cars_low=np.maximum(cars - below * table["below"] / pitch.mean_m, 0.0),
        cars_high=cars + above * table["above"] / pitch.mean_m,
        length_low=np.maximum(table["said"] - lower * table["below"], 0.0),
        length_high=table["said"] + upper * table["above"],
    )


def by_count(table: pd.DataFrame, column: str = "cars") -> pd.DataFrame:
    """Errors by true count, a row a band and one for all."""
    rows = []
    for low, high in (*BANDS, (0, 10_000)):
        part = table[(table["count"] >= low) & (table["count"] <= high)]
        if part.empty:
            continue
        error = part[column] - part["count"]
        row: dict[str, object] = {
            "true": "all" if high == 10_000 else "0" if high == 0 else f"{low} to {high}",
            "looks": len(part),
            "mean": part[column].mean(),
            "bias": error.mean(),
            "rmse": math.sqrt((error**2).mean()),
            "mae": error.abs().mean(),
        }
        if column == "cars":
            inside = (part["cars_low"] <= part["count"]) & (part["count"] <= part["cars_high"])
            metres = (part["length_low"] <= part["length_m"]) & (part["length_m"] <= part["length_high"])
            row |= {
                "coverage": inside.mean(),
                "length_coverage": metres.mean(),
                "width": (part["cars_high"] - part["cars_low"]).mean(),
                "to_bound": row["rmse"] / BOUNDS[low, high] if (low, high) in BOUNDS else float("nan"),  # type: ignore[operator]
            }
        rows.append(row)
    return pd.DataFrame(rows)


def slope(table: pd.DataFrame, column: str = "cars", most: float = 150.0) -> dict[str, float]:
    """Least-squares line of answer on truth up to a count, and the correlation over all."""
    part = table[table["count"] <= most]
    rate, start = np.polyfit(part["count"], part[column], 1)
    by_site = [
        float(np.polyfit(one["count"], one[column], 1)[0])
        for _, one in part.groupby("site")
        if one["count"].max() - one["count"].min() >= 15
    ]
    low, middle, high = np.quantile(by_site, (0.1, 0.5, 0.9)) if by_site else (math.nan,) * 3
    return {
        "slope": float(rate),
        "intercept": float(start),
        "correlation": float(np.corrcoef(table["count"], table[column])[0, 1]),
        "site_slope_p10": float(low),
        "site_slope_median": float(middle),
        "site_slope_p90": float(high),
    }


def grouped(table: pd.DataFrame, by: pd.Series, name: str) -> pd.DataFrame:
    """Errors by anything, a row a group."""
    rows = []
    for value, part in table.groupby(by, observed=True):
        error = part["cars"] - part["count"]
        inside = (part["cars_low"] <= part["count"]) & (part["count"] <= part["cars_high"])
        rows.append(
            {
                name: str(value),
                "looks": len(part),
                "bias": error.mean(),
                "rmse": math.sqrt((error**2).mean()),
                "coverage": inside.mean(),
            }
        )
    return pd.DataFrame(rows)


def detection(table: pd.DataFrame, column: str = "cars") -> pd.DataFrame:
    """How often a yard that isn't empty is seen not to be, at one false alarm in twenty empty images."""
    empty = table.loc[table["count"] == 0, column]
    if len(empty) < 20:
        return pd.DataFrame()
    threshold = float(np.quantile(empty, 0.95))
    edges = (1, 3, 6, 9, 13, 18, 26, 41, 81)
    rows = []
    for low, high in pairwise(edges):
        part = table[(table["count"] >= low) & (table["count"] < high)]
        if len(part):
            rows.append(
                {
                    "true": f"{low} to {high - 1}",
                    "looks": len(part),
                    "threshold": threshold,
                    "seen": float((part[column] > threshold).mean()),
                }
            )
    return pd.DataFrame(rows)


def build_up(usual: Mapping[int, Sequence[float]], event: Mapping[int, Sequence[float]]) -> dict[str, float]:
    """How well a build-up is seen at one false alarm a year.

    Args:
        usual: By site, answers to looks at its usual level.
        event: By site, answers to the looks after the build-up, in order of time.

    Returns:
        Threshold in cars; the share of single images and of sites within three images that pass it; the same
        with a threshold of each site's own, relative to its usual images.
    """
    level = 1.0 - 1.0 / IMAGES_A_YEAR
    pooled = np.concatenate([np.asarray(v, float) for v in usual.values()])
    threshold = float(np.quantile(pooled, level))
    single = np.concatenate([np.asarray(v, float) for v in event.values()]) > threshold
    three = [bool((np.asarray(v, float)[:3] > threshold).any()) for v in event.values()]
    middle = {site: float(np.median(v)) for site, v in usual.items()}
    rise = np.concatenate([np.asarray(v, float) - middle[s] for s, v in usual.items()])
    own = float(np.quantile(rise, level))
    relative = np.concatenate([np.asarray(v, float) - middle[s] for s, v in event.items()]) > own
    relative_three = [bool((np.asarray(v, float)[:3] - middle[s] > own).any()) for s, v in event.items()]
    return {
        "usual_looks": float(len(pooled)),
        "event_looks": float(len(single)),
        "threshold": threshold,
        "seen_in_one_look": float(single.mean()),
        "seen_within_three": float(np.mean(three)),
        "rise_threshold": own,
        "rise_seen_in_one_look": float(relative.mean()),
        "rise_seen_within_three": float(np.mean(relative_three)),
    }


_BATCH = 8


@torch.inference_mode()
def answers(
    sites: Sequence[StoredSite],
    network: OccupancyNet,
    *,
    tracks: bool = True,
    device: str = "cpu",
    rows: Callable[[StoredSite], Sequence[int]] | None = None,
    progress: Callable[[int, int], Any] | None = None,
) -> pd.DataFrame:
    """Raw answers to the images of stored sites.

    Args:
        sites: Simulated sites.
        network: The network.
        tracks: Whether the track lines are shown.
        device: Where the network runs.
        rows: Which images of a site; all by default.
        progress: Called with sites done and in all.

    Returns:
        A row an image: ``site`` (a number), ``row``, the columns of `FIGURES`, and in metres ``said``,
        ``below`` and ``above``.
    """
    found = []
    for number, site in enumerate(sites):
        if progress is not None:
            progress(number, len(sites))
        chosen = list(range(len(site.images))) if rows is None else list(rows(site))
        for start in range(0, len(chosen), _BATCH):
            part = chosen[start : start + _BATCH]
            samples = [sample_of(site, row, tracks=tracks) for row in part]
            planes = torch.from_numpy(np.stack([s.planes for s in samples])).to(device)
            region = torch.from_numpy(np.stack([s.region for s in samples])).to(device)
            past = Past.of([s.past for s in samples])
            said = network(planes, region, past and past.to(device))
            lengths = [x.double().cpu().numpy() for x in (said.length_m, said.below_m, said.above_m)]
            for k, row in enumerate(part):
                values = dict(zip(FIGURES, site.figures[row].tolist(), strict=True))
                values |= {"site": number, "row": row}
                values |= dict(zip(("said", "below", "above"), (float(x[k]) for x in lengths), strict=True))
                found.append(values)
    if progress is not None:
        progress(len(sites), len(sites))
    return pd.DataFrame(found)


BY_COUNT = "By true count, tracks known, 10 or more past images"
BY_COUNT_BLIND = "Boundary alone, 10 or more past images"

SECOND_SIMULATOR = "Yards of the second simulator, tracks known, 10 or more past images"


@dataclass(frozen=True)
class Study:
    """Everything that was measured.

    Attributes:
        figures: Single figures by name.
        tables: Tables by heading.
        points: A row an image: truth and answers, for charts.
    """

    figures: dict[str, float]
    tables: dict[str, pd.DataFrame]
    points: pd.DataFrame


HEADINGS = {
    "with_tracks_slope": "slope of answer on truth, 0 to 150 cars",
    "with_tracks_correlation": "correlation",
    "with_tracks_site_slope_p10": "slope of single yards, 10th percentile",
    "with_tracks_site_slope_median": "slope of single yards, median",
    "boundary_alone_slope": "slope with the boundary alone",
    "second_simulator_slope": "slope on yards of the second simulator",
    "second_simulator_correlation": "correlation on yards of the second simulator",
    "between_site_sd": "yards differ by (standard deviation of a yard's mean error, cars)",
    "within_site_sd": "dates of a yard differ by (cars)",
    "site_coverage_p10": "interval coverage of single yards, 10th percentile",
    "build_up_threshold": "build-up 20 to 73: threshold at one false alarm a year (cars)",
    "build_up_seen_in_one_look": "... seen in one image",
    "build_up_seen_within_three": "... seen within three images",
    "build_up_rise_seen_in_one_look": "... seen in one image, against the yard's own usual level",
    "build_up_rise_seen_within_three": "... seen within three images, against the yard's own usual level",
    "second_simulator_build_up_threshold": "build-up 20 to 73 on yards of the second simulator: threshold",
    "second_simulator_build_up_seen_in_one_look": "... seen in one image",
    "second_simulator_build_up_seen_within_three": "... seen within three images",
}


def page(study: Study) -> str:
    """The study as Markdown: single figures, then each table."""
    parts = ["| figure | value |", "|---|---:|"]
    for name, words in HEADINGS.items():
        value = study.figures.get(name, math.nan)
        if not math.isnan(value):
            parts.append(f"| {words} | {value:.2f} |")
    for heading, table in study.tables.items():
        if len(table):
            parts += ["", f"### {heading}", "", to_markdown(table)]
    return "\n".join(parts) + "\n"


def draw(points: pd.DataFrame, path: Path) -> None:
    """Answer against truth, a dot an image, with means by truth and the line where both are equal."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    axes = figure.subplots()
    most = float(max(points["count"].max(), points["cars"].quantile(0.999))) * 1.02
    axes.plot([0, most], [0, most], color="#888888", lw=1, label="equal")
    axes.scatter(points["count"], points["cars"], s=4, alpha=0.25, color="#0a5c96", lw=0, label="an image")
    edges = [0, 1, 6, 13, 21, 36, 51, 76, 101, 126, 151, 201, 251, 301]
    middle = points.groupby(np.digitize(points["count"], edges))[["count", "cars"]].agg(["mean", "std"])
    axes.errorbar(
        middle[("count", "mean")],
        middle[("cars", "mean")],
        yerr=middle[("cars", "std")],
        fmt="o",
        ms=4,
        color="#b8430a",
        capsize=2,
        label="mean and standard deviation",
    )
    axes.set(xlabel="freight cars that stand there", ylabel="freight cars by occupancy")
    axes.set(xlim=(0, most), ylim=(0, most), title="Simulated yards that nothing was fitted to")
    axes.legend(frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)


def write_study(study: Study, out: Path) -> list[Path]:
    """Write the page, the picture and the table of all images into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / "occupancy-study.md", out / "occupancy-study.png", out / "occupancy-looks.csv"]
    write_text(paths[0], page(study))
    draw(study.points, paths[1])
    write_text(paths[2], study.points.to_csv(index=False, float_format="%.4g"))
    return paths


def missed_targets(study: Study) -> list[str]:
    """What of the targets set before the work isn't reached, a sentence each."""
    known, blind = (
        {str(row["true"]): row for row in study.tables[name].to_dict("records")}
        for name in (BY_COUNT, BY_COUNT_BLIND)
    )
    missed = []

    def check(ok: bool, sentence: str) -> None:
        if not ok:
            missed.append(sentence)

    limits = {"1 to 5": 2, "6 to 20": 2, "21 to 50": 5, "51 to 100": 10, "101 to 150": 10}
    ratios = {"1 to 5": 1.0, "6 to 20": 1.0, "21 to 50": 1.5, "51 to 100": 2.0, "101 to 150": 2.0}
    if "0" in known:
        mean = float(known["0"]["mean"])
        check(mean <= 2, f"an empty yard is answered with {mean:.1f} cars on average")
    for band, row in known.items():
        coverage = float(row["coverage"])
        check(coverage >= 0.85, f"coverage {coverage:.2f} at {band} cars")
        if band not in limits:
            continue
        bias, limit = float(row["bias"]), limits[band]
        check(abs(bias) <= limit, f"bias {bias:+.1f} at {band} cars, beyond {limit}")
        for rows, most, how in ((known, ratios[band], ""), (blind, 1.5 * ratios[band], "boundary alone: ")):
            ratio = float(rows[band]["to_bound"]) if band in rows else 0.0
            check(ratio <= most, f"{how}error {ratio:.2f} times the bound at {band} cars, above {most:g}")
    overall = float(known["all"]["coverage"])
    check(0.87 <= overall <= 0.93, f"coverage {overall:.2f} over all")
    slope = study.figures["with_tracks_slope"]
    check(0.9 <= slope <= 1.1, f"slope {slope:.2f}")
    one, three = study.figures["build_up_seen_in_one_look"], study.figures["build_up_seen_within_three"]
    check(one >= 0.93, f"a build-up to 73 is seen in one image with probability {one:.2f}, below 0.93")
    check(three >= 0.99, f"... within three images with {three:.2f}, below 0.99")
    return missed


def to_markdown(table: pd.DataFrame) -> str:
    """A table for a page."""
    shown = table.rename(columns={"looks": "images"})
    for name in shown.columns:
        if shown[name].dtype.kind == "f":
            digits = 2 if any(w in name for w in ("coverage", "seen", "answered", "to_bound")) else 1
            shown[name] = [("" if np.isnan(v) else f"{v:.{digits}f}") for v in shown[name]]
    head = "| " + " | ".join(c.replace("_", " ") for c in shown.columns) + " |"
    rule = "|" + "|".join("---" if i == 0 else "---:" for i in range(len(shown.columns))) + "|"
    rows = ["| " + " | ".join(str(v) for v in row) + " |" for row in shown.itertuples(index=False)]
    return "\n".join([head, rule, *rows])
