"""`railwatch evaluate`: the detector against labels, the verdicts against simulated histories."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from aoi.files import write_text
from railwatch.cli import _common, _tables
from railwatch.cli._options import (
    CarefulOption,
    DeviceOption,
    JsonOption,
    LabelledImagesOption,
    WeightsOption,
)

# What people are shown, and how it is called; the files and the JSON hold more, under their own names.
HEADINGS = {
    "pictures": "pictures",
    "true": "wagons",
    "recall_0.3": "recall",
    "precision_0.3": "precision",
    "f1_0.3": "F1",
    "f1_0.5": "F1 at IoU 0.5",
    "ap_0.3": "AP30",
    "ap_0.5": "AP50",
    "count_bias": "count bias",
    "count_mae": "mean count error",
    "count_wape": "count WAPE",
    "interval_coverage": "counts in their interval",
    "false_per_km2": "false boxes per km2",
    "false_per_empty_km2": "false boxes per km2 without wagons",
}
# Of a group, so much as fits a terminal.
GROUP_HEADINGS = {
    **{key: HEADINGS[key] for key in ("pictures", "true", "recall_0.3", "precision_0.3", "f1_0.3", "ap_0.5")},
    "count_wape": "WAPE",
    "false_per_km2": "false/km2",
}


class _WagonsFirst(TyperGroup):
    """`railwatch evaluate LABELS` is short for `railwatch evaluate wagons LABELS`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in {"--help", "-h"}:
            args = ["wagons", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_WagonsFirst,
    no_args_is_help=True,
    help="Score the [bold]detector against labels[/bold] (wagons), the occupancy estimator on simulated "
    "yards, or the verdicts against simulated histories.",
)


@app.command()
def wagons(
    labels: Annotated[
        list[Path] | None,
        typer.Argument(help="Label files or folders of them (see docs/labels.md).", metavar="LABELS"),
    ] = None,
    images: LabelledImagesOption = None,
    gsd: Annotated[
        float | None,
        typer.Option(
            "--gsd", help="Ground sampling distance in metres, where images don't say.", metavar="METRES"
        ),
    ] = None,
    gsd_file: Annotated[
        Path | None, typer.Option("--gsd-file", help="CSV with columns file and gsd_m.", metavar="CSV")
    ] = None,
    negatives: Annotated[
        Path | None,
        typer.Option("--negatives", help="Folder of images without any rail vehicle.", metavar="DIR"),
    ] = None,
    scenes: Annotated[
        int, typer.Option("--scenes", min=0, help="Simulated scenes to score on, without labels.")
    ] = 0,
    split: Annotated[
        str, typer.Option("--split", help="Of the simulated scenes: train, val or test.")
    ] = "test",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the simulated scenes.")] = 7,
    simulator: Annotated[
        str,
        typer.Option(
            "--simulator",
            help="Who draws the scenes: main, collage, solids, or relief (which nothing learns from).",
        ),
    ] = "main",
    backgrounds: Annotated[
        Path | None,
        typer.Option(
            "--backgrounds", help="Rail-free pictures as ground of simulated scenes.", metavar="DIR"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write tables (CSV, Markdown) and the failure sheet here.", metavar="DIR"),
    ] = None,
    careful: CarefulOption = False,
    minimum_f1: Annotated[
        float | None,
        typer.Option("--minimum-f1", min=0, max=1, help="Exit with 1 if F1 at IoU 0.3 is lower."),
    ] = None,
    weights: WeightsOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Precision, recall, average precision, count errors and false alarms, in all and by group."""
    if not labels and negatives is None and not scenes:
        _common.fail("nothing to score on: name label files, --negatives DIR or --scenes N")
    from detector.labels import read_labels
    from detector.simulators import SIMULATORS
    from railwatch.cli.detect import distance_table

    if simulator not in SIMULATORS:
        _common.fail(f"--simulator {simulator}: must be one of {', '.join(SIMULATORS)}")
    if split not in {"train", "val", "test"}:
        _common.fail(f"--split {split}: must be train, val or test")
    if out is not None and out.exists() and not out.is_dir():
        _common.fail(f"{out}: is a file, not a folder")
    distances = distance_table(gsd_file).by_path() if gsd_file is not None else None
    labelled = []
    for source in labels or []:
        labelled += read_labels(source, images=images, gsd_m=gsd, gsd_table=distances)
    if negatives is not None:
        labelled += read_labels(negatives, gsd_m=gsd, gsd_table=distances, format="negatives")
    # After what may be refused: they take seconds to import.
    from detector.training.evaluate_wagons import Case, failure_sheet, on_images, on_simulated, tables
    from detector.wagons.detector import WagonDetector

    detector = WagonDetector.load(weights, device)
    cases: list[Case] = []
    skipped: list[dict[str, str]] = []
    with _common.progress("scoring") as report:
        if labelled:
            cases += on_images(detector, labelled, skipped=skipped, careful=careful, progress=report)
        if scenes:
            cases += on_simulated(
                detector,
                scenes,
                split=split,
                seed=seed,
                backgrounds=backgrounds,
                simulator=simulator,
                careful=careful,
                progress=report,
            )
    if not cases:
        reasons = "; ".join(s["reason"] for s in skipped[:3])
        _common.fail(f"none of the {len(skipped)} images could be used: {reasons}")
    result = tables(cases, detector.threshold)
    written: dict[str, str] = {}
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for name, table in result.items():
            write_text(out / f"{name}.csv", table.to_csv(index=False))
        write_text(out / "tables.md", _markdown(result))
        sheet = failure_sheet(cases, detector.threshold, out / "failures.png")
        written = {"tables": str(out / "tables.md")} | ({"failures": str(sheet)} if sheet else {})
    figures = result["all"].iloc[0].to_dict()
    if as_json:
        groups = {k: t.to_dict("records") for k, t in result.items() if k != "all"}
        document = {"threshold": detector.threshold, "figures": figures, "groups": groups, "skipped": skipped}
        _common.emit_json(document | {"written": written})
    else:
        rows = [[words, _cell(figures[key])] for key, words in HEADINGS.items() if key in figures]
        _tables.table(["all pictures", f"at threshold {detector.threshold:.2f}, IoU 0.3"], rows)
        for name, table in result.items():
            if name != "all":
                shown = [key for key in GROUP_HEADINGS if key in table.columns]
                rows = [[_cell(v) for v in row] for row in table[[name, *shown]].itertuples(index=False)]
                _tables.table([f"by {name}", *(GROUP_HEADINGS[key] for key in shown)], rows)
        for item in skipped:
            _common.say(f"skipped: {item['reason']}")
        for path in written.values():
            _common.say(f"written: {path}")
    if minimum_f1 is not None and not figures["f1_0.3"] >= minimum_f1:
        _common.below_threshold()


@app.command()
def occupancy(
    out: Annotated[
        Path,
        typer.Option("--out", help="Folder of the simulated yards, the page and the picture.", metavar="DIR"),
    ],
    sites: Annotated[int, typer.Option("--sites", min=3, help="Simulated yards, 34 dates each.")] = 100,
    events: Annotated[
        int, typer.Option("--events", min=1, help="Yards that fill from 20 to 73 freight cars.")
    ] = 40,
    skies: Annotated[
        int, typer.Option("--skies", min=1, help="Yards seen under cloud, shadow and snow.")
    ] = 30,
    strips: Annotated[int, typer.Option("--strips", min=1, help="Yards of the second simulator.")] = 30,
    ground: Annotated[
        list[Path] | None,
        typer.Option(
            "--ground",
            help="Real 10 m pictures (blue, green, red, near infrared) to lay further yards on.",
            metavar="FILE",
        ),
    ] = None,
    weights: WeightsOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Errors by true count, coverage, detection and build-ups of Sentinel-2 occupancy on simulated yards.

    The yards are of other seeds and wagon designs than those learned from. A hundred of them take about ten
    minutes on one core. The exit code is 1 if a target is missed.
    """
    from detector.occupancy.estimator import OccupancyEstimator
    from detector.training.evaluate_occupancy import evaluate, read_ground
    from detector.training.occupancy_scores import HEADINGS as FIGURES
    from detector.training.occupancy_scores import missed_targets, write_study

    if out.exists() and not out.is_dir():
        _common.fail(f"{out}: is a file, not a folder")
    grounds = [read_ground(path) for path in ground or []]
    estimator = OccupancyEstimator.load(weights, device)
    with _common.progress("simulating") as report:
        study = evaluate(
            estimator,
            out / "sites",
            sites=sites,
            events=events,
            skies=skies,
            strips=strips,
            grounds=grounds,
            progress=report,
        )
    written = write_study(study, out)
    missed = missed_targets(study)
    if as_json:
        tables = {name: table.to_dict("records") for name, table in study.tables.items()}
        _common.emit_json(
            {
                "figures": study.figures,
                "tables": tables,
                "missed": missed,
                "written": [str(path) for path in written],
            }
        )
    else:
        rows = [[words, _cell(study.figures[key])] for key, words in FIGURES.items() if key in study.figures]
        _tables.table(["figure", "value"], rows)
        for name, table in study.tables.items():
            rows = [[_cell(v) for v in row] for row in table.itertuples(index=False)]
            _tables.table([column.replace("_", " ") for column in table.columns], rows, title=name)
        for sentence in missed:
            _common.say(f"missed: {sentence}")
        for path in written:
            _common.say(f"written: {path}")
    if missed:
        _common.below_threshold()


@app.command()
def verdicts(
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write the page, the figure and the numbers here.", metavar="DIR"),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A few seconds, to see that it runs; the figures mean little.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Of the simulated histories; that of the published study.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """False alarms a year and power of the verdicts on simulated histories, beside simpler rules.

    The whole study takes a quarter of an hour on one core. The exit code is 1 if it misses the targets.
    """
    from dataclasses import replace

    from railwatch.studies.verdict_page import meets_targets, tables, write_study
    from railwatch.studies.verdict_study import StudyPlan, run_study

    plan = StudyPlan.quick() if quick else StudyPlan()
    with _common.progress("simulating") as report:
        study = run_study(replace(plan, seed=seed) if seed is not None else plan, progress=report)
    written: list[Path] = []
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        written = write_study(study, out)
    missed = meets_targets(study)
    if as_json:
        rows = study.to_dict("records")
        _common.emit_json({"rows": rows, "missed": missed, "written": [str(path) for path in written]})
    else:
        _common.say(tables(study))
        for sentence in missed:
            _common.say(f"missed: {sentence}")
        for path in written:
            _common.say(f"written: {path}")
    if missed and not quick:
        _common.below_threshold()


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return value


def _markdown(result: dict[str, Any]) -> str:
    parts = []
    for name, table in result.items():
        head = "| " + " | ".join(table.columns) + " |"
        rule = "|" + "---|" * len(table.columns)
        rows = ["| " + " | ".join(str(_cell(v)) for v in row) + " |" for row in table.itertuples(index=False)]
        parts.append("\n".join([f"## {name}", "", head, rule, *rows, ""]))
    return "\n".join(parts)
