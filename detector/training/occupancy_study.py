"""The study of the occupancy estimator as a page and a picture."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd

from aoi.files import replacing, write_text
from detector.training.evaluate_occupancy import BY_COUNT, BY_COUNT_BLIND, Study, to_markdown

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
